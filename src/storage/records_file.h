/* core/records.h on one file: a node that is alone needs no second process.
 *
 *   file := magic "QMTA" u32, format u32, epoch u64, count u32,
 *           count x { key bytes u32, value bytes u32, key, value } ascending by key, CRC32C u32
 *
 * Rewritten whole by every transaction (tmp, sync, rename, sync of the directory): it holds a few
 * records a collection. */
#ifndef QV_STORAGE_RECORDS_FILE_H
#define QV_STORAGE_RECORDS_FILE_H

#include "core/disk.h"
#include "core/records.h"

/* Opens path, or begins an empty one at epoch 0. QV_ECORRUPT names the file; QV_ENOTIMPL: of a
 * newer version. disk is borrowed. Gives. */
QV_MUST_USE int qv_records_file_open(struct qv_disk *disk, const char *path,
                                     struct qv_records **out, struct qv_errmsg *msg);

#endif
