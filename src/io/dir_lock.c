#include "io/dir_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

int qv_dir_lock(const char *dir, int *fd, struct qv_errmsg *msg)
{
    char path[4096];
    *fd = -1;
    int n = snprintf(path, sizeof path, "%s/lock", dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return qv_fail(msg, QV_EINVAL, "the path of the directory is too long");
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock < 0)
        return qv_fail(msg, QV_EIO, "%s: %s", path, strerror(errno));
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        close(lock);
        return qv_fail(msg, QV_EBUSY, "%s is in use by another process", dir);
    }
    *fd = lock;
    return 0;
}

void qv_dir_unlock(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path);
    return 0;
}

void qv_dir_remove_tree(const char *dir)
{
    (void)nftw(dir, remove_one, 16, FTW_PHYS | FTW_DEPTH);
}
