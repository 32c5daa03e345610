/* A disk that kills its own process (SIGKILL) at one chosen operation: how the crash test reaches
 * every phase. Armed only by the environment variable QUIVER_KILL_AT (docs/HACKING.md):
 *
 *   QUIVER_KILL_AT=OP:PART:N:WHEN[:MS]
 *     OP    open, rename, unlink, write, sync, sync_dir, allocate (and truncate), read, any
 *     PART  text that the path must contain; empty: any path
 *     N     the N-th such operation, from 1
 *     WHEN  before, half (a write: its first half is done), after
 *     MS    counting begins so many milliseconds after the start; 0 when it is not given
 *
 * Threads: as the disk below; the operations of all threads are counted together. */
#ifndef QV_IO_KILL_DISK_H
#define QV_IO_KILL_DISK_H

#include "core/disk.h"

/* Gives a disk that passes everything on to inner (borrowed). QV_EINVAL: spec is none of the above.
 */
QV_MUST_USE int qv_kill_disk_create(struct qv_disk *inner, const char *spec, struct qv_disk **out,
                                    struct qv_errmsg *msg);
/* A disk whose operations fail, armed by QUIVER_FAULT_AT=OP:PART:N:ERRNO[:COUNT[:MS]]: OP, PART, N
 * and MS as above; ERRNO is EIO, ENOSPC, EROFS or EDQUOT; the N-th operation fails, and those after
 * it until COUNT (1) have. Nothing of a failed operation is done. What RocksDB does and reads
 * through a map do not pass here. */
QV_MUST_USE int qv_fault_disk_create(struct qv_disk *inner, const char *spec, struct qv_disk **out,
                                     struct qv_errmsg *msg);
void qv_kill_disk_destroy(struct qv_disk **d); /* NULL is fine; sets NULL; not inner */

#endif
