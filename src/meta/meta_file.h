/* core/meta.h on a node's records file: a node that is alone needs no second process.
 *
 * Each key is one record: u64 revision of its last change, u64 lease, value. The store's revision
 * is the records' epoch + 1, so one transaction is one rewrite of the file, in a job. The history
 * for watches is kept in memory, the last 1,000 revisions at least; what was before the open is
 * compacted. Leases are held as long as the process lives; a key whose lease was an earlier
 * process's is removed at the open. */
#ifndef QV_META_META_FILE_H
#define QV_META_META_FILE_H

#include "core/meta.h"
#include "core/records.h"

/* Blocks. records: taken, also on an error; nothing else may write them. QV_ECORRUPT: a record that
 * is none of ours. Gives. */
QV_MUST_USE int qv_meta_file_open(struct qv_env *env, struct qv_records *records,
                                  struct qv_meta **out, struct qv_errmsg *msg);

#endif
