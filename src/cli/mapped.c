#include "cli/mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int qv_mapped_open(const char *path, struct qv_bytes *out, struct qv_errmsg *msg)
{
    struct stat st;
    *out = (struct qv_bytes){NULL, 0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return qv_fail(msg, qv_err_from_errno(errno), "%s: %s", path, strerror(errno));
    int err = 0;
    if (fstat(fd, &st) != 0)
        err = qv_fail(msg, qv_err_from_errno(errno), "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode) || st.st_size == 0)
        err = qv_fail(msg, QV_EINVAL, "%s: not a file with something in it", path);
    if (err == 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            err = qv_fail(msg, QV_ENOMEM, "%s: can't be mapped: %s", path, strerror(errno));
        else
            *out = (struct qv_bytes){p, (size_t)st.st_size};
    }
    (void)close(fd);
    return err;
}

void qv_mapped_close(struct qv_bytes *map)
{
    if (map->n > 0)
        (void)munmap((void *)(uintptr_t)map->p, map->n);
    *map = (struct qv_bytes){NULL, 0};
}
