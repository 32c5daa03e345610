/* One process at a time works on a directory: a lock on DIR/lock that ends with its holder. */
#ifndef QV_IO_DIR_LOCK_H
#define QV_IO_DIR_LOCK_H

#include "base/err.h"

/* Locks dir, which must exist; *fd is the lock: qv_dir_unlock. QV_EBUSY: another has it (another
 * open of this process included), QV_EIO. *fd is -1 on failure. */
QV_MUST_USE int qv_dir_lock(const char *dir, int *fd, struct qv_errmsg *msg);
void qv_dir_unlock(int *fd); /* fine when it is -1; sets it so */

/* Removes it with all that is in it, as far as that goes; links are not followed. */
void qv_dir_remove_tree(const char *dir);

#endif
