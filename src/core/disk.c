#include "core/disk.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdio.h>

#define GENTLE_BYTES ((uint64_t)2 << 20)

#define PATH_BYTES_MAX 4096

int qv_disk_open(struct qv_disk *d, const char *path, unsigned flags, struct qv_file **out,
                 struct qv_errmsg *msg)
{
    QV_ASSERT((flags & QV_OPEN_WRITE) || !(flags & (QV_OPEN_CREATE | QV_OPEN_TRUNC)));
    QV_ASSERT(!(flags & QV_OPEN_EXCL) || (flags & QV_OPEN_CREATE));
    *out = NULL;
    int err = d->ops->open(d, path, flags, out, msg);
    QV_ASSERT((err == 0) == (*out != NULL));
    return err;
}

static int counted(int err)
{
    if (err != 0)
        qv_disk_write_failed();
    return err;
}

int qv_disk_rename(struct qv_disk *d, const char *from, const char *to, struct qv_errmsg *msg)
{
    return counted(d->ops->rename(d, from, to, msg));
}

int qv_disk_unlink(struct qv_disk *d, const char *path, struct qv_errmsg *msg)
{
    return d->ops->unlink(d, path, msg);
}

int qv_disk_mkdir(struct qv_disk *d, const char *path, struct qv_errmsg *msg)
{
    return d->ops->mkdir(d, path, msg);
}

/* "a/b/c" -> "a/b"; "a" -> "."; "/a" -> "/". */
static int path_parent(const char *path, char out[PATH_BYTES_MAX])
{
    size_t n = strlen(path);
    if (n == 0 || n >= PATH_BYTES_MAX)
        return QV_ETOOBIG;
    while (n > 1 && path[n - 1] == '/')
        n--;
    while (n > 0 && path[n - 1] != '/')
        n--;
    while (n > 1 && path[n - 1] == '/')
        n--;
    memcpy(out, n == 0 ? "." : path, n == 0 ? 1 : n);
    out[n == 0 ? 1 : n] = '\0';
    return 0;
}

int qv_disk_mkdir_all(struct qv_disk *d, const char *path, struct qv_errmsg *msg)
{
    char part[PATH_BYTES_MAX];
    char parent[PATH_BYTES_MAX];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part)
        return qv_fail(msg, QV_ETOOBIG, "path of %zu bytes", n);
    for (size_t i = 1; i <= n; i++) {
        if (i < n && path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        int err = d->ops->mkdir(d, part, msg);
        if (err == QV_EEXISTS)
            continue;
        if (err == 0)
            err = path_parent(part, parent);
        if (err == 0)
            err = d->ops->sync_dir(d, parent, msg);
        if (err != 0)
            return err;
    }
    return 0;
}

int qv_disk_rmdir(struct qv_disk *d, const char *path, struct qv_errmsg *msg)
{
    return d->ops->rmdir(d, path, msg);
}

int qv_disk_list(struct qv_disk *d, const char *path, qv_disk_list_f fn, void *arg,
                 struct qv_errmsg *msg)
{
    return d->ops->list(d, path, fn, arg, msg);
}

int qv_disk_sync_dir(struct qv_disk *d, const char *path, struct qv_errmsg *msg)
{
    return counted(d->ops->sync_dir(d, path, msg));
}

int qv_disk_space(struct qv_disk *d, const char *path, struct qv_disk_space *out,
                  struct qv_errmsg *msg)
{
    return d->ops->space(d, path, out, msg);
}

int qv_file_pread(struct qv_file *f, uint64_t offset, void *p, size_t n, size_t *got,
                  struct qv_errmsg *msg)
{
    int err = f->disk->ops->pread(f, offset, p, n, got, msg);
    QV_ASSERT(err != 0 || *got <= n);
    return err;
}

int qv_file_pread_full(struct qv_file *f, uint64_t offset, void *p, size_t n, struct qv_errmsg *msg)
{
    size_t got = 0;
    int err = qv_file_pread(f, offset, p, n, &got, msg);
    if (err == 0 && got != n)
        err = qv_fail(msg, QV_EEOF, "%s ends at %llu, wanted %zu bytes at %llu", f->path,
                      (unsigned long long)offset + got, n, (unsigned long long)offset);
    return err;
}

static int file_refuse(struct qv_file *f, struct qv_errmsg *msg)
{
    return qv_fail(msg, QV_EIO, "%s: an earlier write or sync failed", f->path);
}

int qv_file_pwrite_full(struct qv_file *f, uint64_t offset, const void *p, size_t n,
                        struct qv_errmsg *msg)
{
    if (f->failed)
        return file_refuse(f, msg);
    int err = counted(f->disk->ops->pwrite(f, offset, p, n, msg));
    if (err != 0)
        f->failed = true; /* never back to false: a sync may run beside a write */
    return err;
}

int qv_file_sync_gently(struct qv_file *f, struct qv_errmsg *msg)
{
    uint64_t size = 0;
    if (f->failed)
        return file_refuse(f, msg);
    int err = f->disk->ops->write_back == NULL ? 0 : qv_file_size(f, &size, msg);
    for (uint64_t at = 0; at < size && err == 0; at += GENTLE_BYTES)
        err = counted(f->disk->ops->write_back(f, at, GENTLE_BYTES, msg));
    if (err != 0) {
        f->failed = true; /* what the kernel dropped is unknown, as after a sync */
        return err;
    }
    return qv_file_sync(f, msg);
}

int qv_file_sync(struct qv_file *f, struct qv_errmsg *msg)
{
    if (f->failed)
        return file_refuse(f, msg);
    int err = counted(f->disk->ops->sync(f, msg));
    if (err != 0)
        f->failed = true; /* never back to false: a sync may run beside a write */
    return err;
}

int qv_file_size(struct qv_file *f, uint64_t *out, struct qv_errmsg *msg)
{
    return f->disk->ops->size(f, out, msg);
}

int qv_file_next_data(struct qv_file *f, uint64_t offset, uint64_t *out, struct qv_errmsg *msg)
{
    int err = f->disk->ops->next_data(f, offset, out, msg);
    QV_ASSERT(err != 0 || *out >= offset);
    return err;
}

int qv_file_truncate(struct qv_file *f, uint64_t size, struct qv_errmsg *msg)
{
    if (f->failed)
        return file_refuse(f, msg);
    return counted(f->disk->ops->truncate(f, size, msg));
}

int qv_file_allocate(struct qv_file *f, uint64_t offset, uint64_t n, struct qv_errmsg *msg)
{
    if (f->failed)
        return file_refuse(f, msg);
    return counted(f->disk->ops->allocate(f, offset, n, msg));
}

int qv_file_map(struct qv_file *f, uint64_t offset, size_t n, void *at, const uint8_t **out,
                struct qv_errmsg *msg)
{
    QV_ASSERT(offset % 4096 == 0 && n > 0 && (uintptr_t)at % 4096 == 0);
    uint64_t size = 0;
    int err = f->disk->ops->size(f, &size, msg);
    if (err != 0)
        return err;
    if (offset > size || n > size - offset)
        return qv_fail(msg, QV_EEOF, "%s has %llu bytes, can't map %zu at %llu", f->path,
                       (unsigned long long)size, n, (unsigned long long)offset);
    return f->disk->ops->map(f, offset, n, at, out, msg);
}

void qv_disk_unmap(struct qv_disk *d, const uint8_t *p, size_t n)
{
    if (p != NULL)
        d->ops->unmap(d, p, n);
}

void qv_file_close(struct qv_file *f)
{
    if (f != NULL)
        f->disk->ops->close(f);
}

int qv_disk_read_file(struct qv_disk *d, const char *path, size_t limit, struct qv_buf *out,
                      struct qv_errmsg *msg)
{
    struct qv_file *f = NULL;
    uint64_t size = 0;
    int err = qv_disk_open(d, path, QV_OPEN_READ, &f, msg);
    if (err != 0)
        return err;
    err = qv_file_size(f, &size, msg);
    if (err == 0 && size > limit)
        err = qv_fail(msg, QV_ETOOBIG, "%s has %llu bytes, limit %zu", path,
                      (unsigned long long)size, limit);
    if (err == 0) {
        uint8_t *p = qv_buf_reserve(out, (size_t)size);
        if (p == NULL)
            err = qv_fail(msg, QV_ENOMEM, "no memory for %llu bytes of %s",
                          (unsigned long long)size, path);
        else
            err = qv_file_pread_full(f, 0, p, (size_t)size, msg);
        if (err == 0)
            out->len += (size_t)size;
    }
    qv_file_close(f);
    return err;
}

int qv_disk_replace_file(struct qv_disk *d, const char *path, const void *p, size_t n,
                         struct qv_errmsg *msg)
{
    char tmp[PATH_BYTES_MAX + 8];
    char dir[PATH_BYTES_MAX];
    struct qv_file *f = NULL;
    int err = path_parent(path, dir);
    if (err != 0)
        return qv_fail(msg, err, "path of %zu bytes", strlen(path));
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    err = qv_disk_open(d, tmp, QV_OPEN_WRITE | QV_OPEN_CREATE | QV_OPEN_TRUNC, &f, msg);
    if (err != 0)
        return err;
    err = n == 0 ? 0 : qv_file_pwrite_full(f, 0, p, n, msg);
    if (err == 0)
        err = qv_file_sync(f, msg);
    qv_file_close(f);
    if (err == 0)
        err = qv_disk_rename(d, tmp, path, msg);
    if (err == 0)
        err = qv_disk_sync_dir(d, dir, msg);
    return err;
}
