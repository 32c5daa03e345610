#include "io/disk_posix.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct posix_file {
    struct qv_file head;
    int fd;
};

static struct posix_file *posix_of(struct qv_file *f)
{
    return (struct posix_file *)f;
}

static int posix_fail(struct qv_errmsg *msg, int errnum, const char *op, const char *path)
{
    char text[128];
    return qv_fail(msg, qv_err_from_errno(errnum), "%s %s: %s", op, path,
                   strerror_r(errnum, text, sizeof text));
}

static int posix_open(struct qv_disk *d, const char *path, unsigned flags, struct qv_file **out,
                      struct qv_errmsg *msg)
{
    int how = (flags & QV_OPEN_WRITE) ? O_RDWR : O_RDONLY;
    how |= (flags & QV_OPEN_CREATE) ? O_CREAT : 0;
    how |= (flags & QV_OPEN_EXCL) ? O_EXCL : 0;
    how |= (flags & QV_OPEN_TRUNC) ? O_TRUNC : 0;
    how |= (flags & QV_OPEN_PLAIN) ? O_NOFOLLOW | O_NONBLOCK : 0; /* a pipe would wait */
    int fd;
    do
        fd = open(path, how | O_CLOEXEC, 0640);
    while (fd < 0 && errno == EINTR);
    if (fd < 0 && (flags & QV_OPEN_PLAIN) && (errno == ELOOP || errno == ENXIO))
        return posix_fail(msg, ENOENT, "open", path);
    if (fd < 0)
        return posix_fail(msg, errno, "open", path);
    struct stat st;
    if ((flags & QV_OPEN_PLAIN) && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        return posix_fail(msg, ENOENT, "open", path);
    }
    struct posix_file *f = qv_mem_calloc(1, sizeof *f);
    f->head.disk = d;
    f->head.path = qv_mem_strdup(path);
    f->fd = fd;
    *out = &f->head;
    return 0;
}

static int posix_rename(struct qv_disk *d, const char *from, const char *to, struct qv_errmsg *msg)
{
    (void)d;
    return rename(from, to) == 0 ? 0 : posix_fail(msg, errno, "rename", from);
}

static int posix_unlink(struct qv_disk *d, const char *path, struct qv_errmsg *msg)
{
    (void)d;
    return unlink(path) == 0 ? 0 : posix_fail(msg, errno, "unlink", path);
}

static int posix_mkdir(struct qv_disk *d, const char *path, struct qv_errmsg *msg)
{
    (void)d;
    return mkdir(path, 0750) == 0 ? 0 : posix_fail(msg, errno, "mkdir", path);
}

static int posix_rmdir(struct qv_disk *d, const char *path, struct qv_errmsg *msg)
{
    (void)d;
    return rmdir(path) == 0 ? 0 : posix_fail(msg, errno, "rmdir", path);
}

static int posix_list(struct qv_disk *d, const char *path, qv_disk_list_f fn, void *arg,
                      struct qv_errmsg *msg)
{
    (void)d;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return posix_fail(msg, errno, "list", path);
    int err = 0;
    for (;;) {
        errno = 0;
        struct dirent *e = readdir(dir);
        if (e == NULL) {
            err = errno == 0 ? 0 : posix_fail(msg, errno, "list", path);
            break;
        }
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        bool is_dir = e->d_type == DT_DIR;
        struct stat st;
        if (e->d_type == DT_UNKNOWN)
            is_dir = fstatat(dirfd(dir), e->d_name, &st, 0) == 0 && S_ISDIR(st.st_mode);
        if (!fn(arg, e->d_name, is_dir))
            break;
    }
    closedir(dir);
    return err;
}

static int posix_sync_dir(struct qv_disk *d, const char *path, struct qv_errmsg *msg)
{
    (void)d;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return posix_fail(msg, errno, "open", path);
    int err = fsync(fd) == 0 ? 0 : posix_fail(msg, errno, "sync", path);
    close(fd);
    return err;
}

static int posix_space(struct qv_disk *d, const char *path, struct qv_disk_space *out,
                       struct qv_errmsg *msg)
{
    (void)d;
    struct statvfs st;
    if (statvfs(path, &st) != 0)
        return posix_fail(msg, errno, "statvfs", path);
    out->total_bytes = (uint64_t)st.f_blocks * st.f_frsize;
    out->free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

static int posix_pread(struct qv_file *f, uint64_t offset, void *p, size_t n, size_t *got,
                       struct qv_errmsg *msg)
{
    size_t done = 0;
    while (done < n) {
        ssize_t r = pread(posix_of(f)->fd, (uint8_t *)p + done, n - done, (off_t)(offset + done));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return posix_fail(msg, errno, "read", f->path);
        if (r == 0)
            break;
        done += (size_t)r;
    }
    *got = done;
    return 0;
}

static int posix_pwrite(struct qv_file *f, uint64_t offset, const void *p, size_t n,
                        struct qv_errmsg *msg)
{
    size_t done = 0;
    while (done < n) {
        ssize_t r =
            pwrite(posix_of(f)->fd, (const uint8_t *)p + done, n - done, (off_t)(offset + done));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return posix_fail(msg, errno, "write", f->path);
        done += (size_t)r;
    }
    return 0;
}

/* Not repeated on EINTR either: what the kernel dropped by then is unknown. */
static int posix_sync(struct qv_file *f, struct qv_errmsg *msg)
{
    return fdatasync(posix_of(f)->fd) == 0 ? 0 : posix_fail(msg, errno, "sync", f->path);
}

static int posix_write_back(struct qv_file *f, uint64_t offset, uint64_t n, struct qv_errmsg *msg)
{
    const unsigned all =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (sync_file_range(posix_of(f)->fd, (off_t)offset, (off_t)n, all) == 0 || errno == ENOSYS)
        return 0;
    return posix_fail(msg, errno, "sync", f->path);
}

static int posix_size(struct qv_file *f, uint64_t *out, struct qv_errmsg *msg)
{
    struct stat st;
    if (fstat(posix_of(f)->fd, &st) != 0)
        return posix_fail(msg, errno, "stat", f->path);
    *out = (uint64_t)st.st_size;
    return 0;
}

static int posix_next_data(struct qv_file *f, uint64_t offset, uint64_t *out, struct qv_errmsg *msg)
{
    off_t r = lseek(posix_of(f)->fd, (off_t)offset, SEEK_DATA);
    if (r >= 0) {
        *out = (uint64_t)r;
        return 0;
    }
    if (errno != ENXIO) { /* the file system can't say */
        *out = offset;
        return 0;
    }
    uint64_t size = 0;
    int err = posix_size(f, &size, msg);
    *out = size > offset ? size : offset;
    return err;
}

static int posix_truncate(struct qv_file *f, uint64_t size, struct qv_errmsg *msg)
{
    if (ftruncate(posix_of(f)->fd, (off_t)size) != 0)
        return posix_fail(msg, errno, "truncate", f->path);
    return 0;
}

/* fallocate, and not posix_fallocate: glibc's fallback writes a byte into every block, which costs
 * as much as writing zeros and is still no allocation on a copy-on-write file system. Where the
 * file system has none, zeros are written behind the end. */
static int posix_allocate(struct qv_file *f, uint64_t offset, uint64_t n, struct qv_errmsg *msg)
{
    static const uint8_t zeros[1 << 16];
    int r;
    do
        r = fallocate(posix_of(f)->fd, 0, (off_t)offset, (off_t)n);
    while (r != 0 && errno == EINTR);
    if (r == 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return posix_fail(msg, errno, "allocate", f->path);
    uint64_t size = 0;
    int err = posix_size(f, &size, msg);
    for (uint64_t at = size; err == 0 && at < offset + n;) {
        size_t part = offset + n - at < sizeof zeros ? (size_t)(offset + n - at) : sizeof zeros;
        err = posix_pwrite(f, at, zeros, part, msg);
        at += part;
    }
    return err;
}

static int posix_map(struct qv_file *f, uint64_t offset, size_t n, void *at, const uint8_t **out,
                     struct qv_errmsg *msg)
{
    int flags = MAP_SHARED | (at != NULL ? MAP_FIXED : 0);
    void *p = mmap(at, n, PROT_READ, flags, posix_of(f)->fd, (off_t)offset);
    if (p == MAP_FAILED)
        return posix_fail(msg, errno, "map", f->path);
    *out = p;
    return 0;
}

static void posix_unmap(struct qv_disk *d, const uint8_t *p, size_t n)
{
    (void)d;
    int r = munmap((void *)(uintptr_t)p, n);
    QV_ASSERT(r == 0);
}

static void posix_close(struct qv_file *f)
{
    close(posix_of(f)->fd);
    qv_mem_free((void *)(uintptr_t)f->path);
    qv_mem_free(f);
}

static const struct qv_disk_ops posix_ops = {
    .open = posix_open,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .mkdir = posix_mkdir,
    .rmdir = posix_rmdir,
    .list = posix_list,
    .sync_dir = posix_sync_dir,
    .space = posix_space,
    .pread = posix_pread,
    .pwrite = posix_pwrite,
    .sync = posix_sync,
    .write_back = posix_write_back,
    .size = posix_size,
    .next_data = posix_next_data,
    .truncate = posix_truncate,
    .allocate = posix_allocate,
    .map = posix_map,
    .unmap = posix_unmap,
    .close = posix_close,
};

struct qv_disk *qv_disk_posix_create(void)
{
    struct qv_disk *d = qv_mem_calloc(1, sizeof *d);
    d->ops = &posix_ops;
    return d;
}

void qv_disk_posix_destroy(struct qv_disk **d)
{
    qv_mem_free(*d);
    *d = NULL;
}
