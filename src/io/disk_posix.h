/* core/disk.h over POSIX files. Reads and writes retry EINTR and short counts, nothing else. */
#ifndef QV_IO_DISK_POSIX_H
#define QV_IO_DISK_POSIX_H

#include "core/disk.h"

/* Gives. Any thread may use it. */
struct qv_disk *qv_disk_posix_create(void);
void qv_disk_posix_destroy(struct qv_disk **d); /* every file must be closed */

#endif
