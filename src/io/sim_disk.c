/* The simulated disk. Invariants:
 *  1. Bytes of an image behind its size are zero, in both images.
 *  2. A sector in which the images differ is dirty, or a failed sync forgot it.
 *  3. vol_names is what applying `pending`, in order, to dur_names gives. */
#include "io/sim_disk.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "base/rng.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SECTOR 512u

struct image {
    uint8_t *data;
    uint64_t size;
    uint64_t cap; /* a multiple of 4096 */
};

struct inode {
    struct image vol;
    struct image dur;
    uint8_t *dirty; /* a byte a sector of vol.cap */
    uint64_t dirty_cap;
    int memfd; /* -1 until it is mapped; then vol.data is a mapping of it */
    unsigned handles;
    bool size_dirty;
};

struct name {
    char *path;
    struct inode *inode; /* NULL: a directory */
};

struct names {
    struct name *v;
    size_t n, cap;
};

/* A directory operation not synced yet: `add` (may be NULL) becomes inode, `del` (may be NULL)
 * goes. */
struct pending {
    char *add;
    char *del;
    struct inode *inode;
};

struct sim_disk {
    struct qv_disk head;
    struct qv_rng rng;
    struct names vol_names;
    struct names dur_names;
    struct pending *pending;
    size_t pending_n, pending_cap;
    struct inode **inodes;
    size_t inode_n, inode_cap;
    uint64_t capacity;
    uint64_t used;
    uint64_t epoch; /* handles of an older one are stale */
    uint64_t die_after;
    bool dead;
    unsigned fail_ops;
    char fail_part[128];
    uint64_t fail_n, fail_count;
    int fail_err;
    struct qv_sim_disk_counts counts;
};

struct sim_file {
    struct qv_file head;
    struct inode *inode;
    uint64_t epoch;
    bool writable;
};

static struct sim_disk *disk_of(struct qv_disk *d)
{
    return (struct sim_disk *)d;
}

static struct sim_file *file_of(struct qv_file *f)
{
    return (struct sim_file *)f;
}

static int sim_fail(struct qv_errmsg *msg, int err, const char *op, const char *path)
{
    return qv_fail(msg, err, "%s %s: %s (simulated)", op, path, qv_err_text(err));
}

/* ---- names ---- */

static size_t names_find(const struct names *t, const char *path)
{
    size_t i = 0;
    while (i < t->n && strcmp(t->v[i].path, path) != 0)
        i++;
    return i;
}

static void names_set(struct names *t, const char *path, struct inode *inode)
{
    size_t i = names_find(t, path);
    if (i == t->n) {
        if (t->n == t->cap) {
            t->cap = t->cap == 0 ? 16 : t->cap * 2;
            t->v = qv_mem_realloc(t->v, t->cap * sizeof *t->v);
        }
        t->v[t->n++].path = qv_mem_strdup(path);
    }
    QV_ASSERT(t->v != NULL && i < t->n);
    t->v[i].inode = inode;
}

static void names_remove(struct names *t, const char *path)
{
    size_t i = names_find(t, path);
    if (i == t->n)
        return;
    qv_mem_free(t->v[i].path);
    t->v[i] = t->v[--t->n];
}

static void names_clear(struct names *t)
{
    for (size_t i = 0; i < t->n; i++)
        qv_mem_free(t->v[i].path);
    qv_mem_free(t->v);
    *t = (struct names){0};
}

static void names_copy(struct names *to, const struct names *from)
{
    names_clear(to);
    for (size_t i = 0; i < from->n; i++)
        names_set(to, from->v[i].path, from->v[i].inode);
}

static size_t dir_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? 0 : (size_t)(slash - path);
}

static bool in_dir(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    if (n == 1 && dir[0] == '.')
        n = 0;
    return dir_length(path) == n && memcmp(path, dir, n) == 0;
}

static void apply(struct names *t, const struct pending *p)
{
    if (p->del != NULL) {
        size_t i = names_find(t, p->del);
        if (i < t->n && (p->add == NULL || t->v[i].inode == p->inode))
            names_remove(t, p->del);
    }
    if (p->add != NULL)
        names_set(t, p->add, p->inode);
}

static void pending_add(struct sim_disk *d, const char *add, const char *del, struct inode *inode)
{
    if (d->pending_n == d->pending_cap) {
        d->pending_cap = d->pending_cap == 0 ? 16 : d->pending_cap * 2;
        d->pending = qv_mem_realloc(d->pending, d->pending_cap * sizeof *d->pending);
    }
    struct pending *p = &d->pending[d->pending_n++];
    p->add = add != NULL ? qv_mem_strdup(add) : NULL;
    p->del = del != NULL ? qv_mem_strdup(del) : NULL;
    p->inode = inode;
    apply(&d->vol_names, p);
}

static void pending_free(struct pending *p)
{
    qv_mem_free(p->add);
    qv_mem_free(p->del);
}

/* ---- images ---- */

static void image_grow(struct inode *in, struct image *im, uint64_t bytes)
{
    if (bytes <= im->cap)
        return;
    uint64_t cap = im->cap == 0 ? 4096 : im->cap;
    while (cap < bytes)
        cap *= 2;
    if (im == &in->vol && in->memfd >= 0) {
        int r = ftruncate(in->memfd, (off_t)cap);
        QV_ASSERT(r == 0);
        im->data = mremap(im->data, im->cap, cap, MREMAP_MAYMOVE);
        QV_ASSERT(im->data != MAP_FAILED);
    } else {
        im->data = qv_mem_realloc(im->data, cap);
        memset(im->data + im->cap, 0, cap - im->cap);
    }
    im->cap = cap;
    if (im == &in->vol && cap / SECTOR > in->dirty_cap) {
        in->dirty = qv_mem_realloc(in->dirty, cap / SECTOR);
        memset(in->dirty + in->dirty_cap, 0, cap / SECTOR - in->dirty_cap);
        in->dirty_cap = cap / SECTOR;
    }
}

static void mark_dirty(struct inode *in, uint64_t from, uint64_t to)
{
    for (uint64_t s = from / SECTOR; s * SECTOR < to; s++)
        in->dirty[s] = 1;
}

static void image_set_size(struct inode *in, uint64_t size)
{
    uint64_t old = in->vol.size;
    image_grow(in, &in->vol, size);
    if (size < old) {
        memset(in->vol.data + size, 0, old - size);
        mark_dirty(in, size, old);
    }
    in->vol.size = size;
    in->size_dirty = in->size_dirty || size != old;
}

/* Sector s of the durable image becomes what the volatile one has. */
static void sector_save(struct inode *in, uint64_t s)
{
    image_grow(in, &in->dur, (s + 1) * SECTOR);
    memcpy(in->dur.data + s * SECTOR, in->vol.data + s * SECTOR, SECTOR);
}

static void durable_set_size(struct inode *in, uint64_t size)
{
    image_grow(in, &in->dur, size);
    if (size < in->dur.size)
        memset(in->dur.data + size, 0, in->dur.size - size);
    in->dur.size = size;
}

static void inode_save(struct inode *in)
{
    for (uint64_t s = 0; s < in->dirty_cap; s++) {
        if (in->dirty[s] && s * SECTOR < in->vol.size)
            sector_save(in, s);
        in->dirty[s] = 0;
    }
    durable_set_size(in, in->vol.size);
    /* a shrink and a growth in between: what lies behind the size then is zero on disk too */
    if (in->dur.cap > in->dur.size)
        memset(in->dur.data + in->dur.size, 0, in->dur.cap - in->dur.size);
    in->size_dirty = false;
}

static struct inode *inode_create(struct sim_disk *d)
{
    if (d->inode_n == d->inode_cap) {
        d->inode_cap = d->inode_cap == 0 ? 16 : d->inode_cap * 2;
        d->inodes = qv_mem_realloc(d->inodes, d->inode_cap * sizeof(struct inode *));
    }
    struct inode *in = qv_mem_calloc(1, sizeof *in);
    in->memfd = -1;
    d->inodes[d->inode_n++] = in;
    return in;
}

static void inode_free(struct inode *in)
{
    if (in->memfd >= 0) {
        munmap(in->vol.data, in->vol.cap);
        close(in->memfd);
    } else {
        qv_mem_free(in->vol.data);
    }
    qv_mem_free(in->dur.data);
    qv_mem_free(in->dirty);
    qv_mem_free(in);
}

static bool names_hold(const struct names *t, const struct inode *in)
{
    for (size_t i = 0; i < t->n; i++) {
        if (t->v[i].inode == in)
            return true;
    }
    return false;
}

/* Drops what nothing refers to any more and counts the space anew. */
static void collect(struct sim_disk *d)
{
    d->used = 0;
    for (size_t i = 0; i < d->inode_n; i++) {
        struct inode *in = d->inodes[i];
        bool live = in->handles > 0 || names_hold(&d->vol_names, in);
        if (live)
            d->used += in->vol.size;
        bool held = live || names_hold(&d->dur_names, in);
        for (size_t k = 0; k < d->pending_n && !held; k++)
            held = d->pending[k].inode == in;
        if (held)
            continue;
        inode_free(in);
        d->inodes[i--] = d->inodes[--d->inode_n];
    }
}

/* ---- faults ---- */

/* Counts an operation; an error when it is to fail. *happens: it takes effect all the same. */
static int fault(struct sim_disk *d, unsigned op, const char *path, bool *happens,
                 struct qv_errmsg *msg)
{
    *happens = true;
    d->counts.ops++;
    if (d->dead) {
        *happens = false;
        return sim_fail(msg, QV_EIO, "dead disk", path);
    }
    if (d->die_after > 0 && --d->die_after == 0) {
        d->dead = true;
        *happens = qv_rng_below(&d->rng, 2) == 0;
        return sim_fail(msg, QV_EIO, "dying disk", path);
    }
    if (d->fail_n == 0 || !(d->fail_ops & op) || strstr(path, d->fail_part) == NULL)
        return 0;
    if (d->fail_n > 1) {
        d->fail_n--;
        return 0;
    }
    if (d->fail_count == 0)
        return 0;
    d->fail_count--;
    if (d->fail_err == QV_ENOSPC)
        d->counts.errors_space++;
    else
        d->counts.errors_io++;
    *happens = false;
    return sim_fail(msg, d->fail_err, "fault on", path);
}

static int handle_check(struct sim_disk *d, struct qv_file *f, struct qv_errmsg *msg)
{
    return file_of(f)->epoch == d->epoch ? 0 : sim_fail(msg, QV_EIO, "stale handle", f->path);
}

static int space_check(struct sim_disk *d, uint64_t more, const char *path, struct qv_errmsg *msg)
{
    if (d->capacity == 0 || d->used + more <= d->capacity)
        return 0;
    d->counts.errors_space++;
    return sim_fail(msg, QV_ENOSPC, "write", path);
}

/* ---- operations ---- */

static int sim_open(struct qv_disk *disk, const char *path, unsigned flags, struct qv_file **out,
                    struct qv_errmsg *msg)
{
    struct sim_disk *d = disk_of(disk);
    bool happens;
    int err = fault(d, QV_SIM_OP_NAME, path, &happens, msg);
    if (err != 0)
        return err;
    size_t i = names_find(&d->vol_names, path);
    struct inode *in = i < d->vol_names.n ? d->vol_names.v[i].inode : NULL;
    if (i < d->vol_names.n && in == NULL)
        return sim_fail(msg, QV_EIO, "open a directory", path);
    if (in != NULL && (flags & QV_OPEN_EXCL))
        return sim_fail(msg, QV_EEXISTS, "open", path);
    if (in == NULL) {
        char dir[4096];
        size_t n = dir_length(path);
        snprintf(dir, sizeof dir, "%.*s", (int)n, path);
        bool has_dir = n == 0 || names_find(&d->vol_names, dir) < d->vol_names.n;
        if (!(flags & QV_OPEN_CREATE) || !has_dir)
            return sim_fail(msg, QV_ENOTFOUND, "open", path);
        in = inode_create(d);
        pending_add(d, path, NULL, in);
    }
    if (flags & QV_OPEN_TRUNC)
        image_set_size(in, 0);
    struct sim_file *f = qv_mem_calloc(1, sizeof *f);
    f->head.disk = disk;
    f->head.path = qv_mem_strdup(path);
    f->inode = in;
    f->epoch = d->epoch;
    f->writable = (flags & QV_OPEN_WRITE) != 0;
    in->handles++;
    collect(d);
    *out = &f->head;
    return 0;
}

static int sim_rename(struct qv_disk *disk, const char *from, const char *to, struct qv_errmsg *msg)
{
    struct sim_disk *d = disk_of(disk);
    bool happens;
    int err = fault(d, QV_SIM_OP_NAME, from, &happens, msg);
    size_t i = names_find(&d->vol_names, from);
    if (err == 0 && (i == d->vol_names.n || d->vol_names.v[i].inode == NULL))
        return sim_fail(msg, QV_ENOTFOUND, "rename", from);
    if (happens && i < d->vol_names.n) {
        pending_add(d, to, from, d->vol_names.v[i].inode);
        collect(d);
    }
    return err;
}

static int sim_unlink(struct qv_disk *disk, const char *path, struct qv_errmsg *msg)
{
    struct sim_disk *d = disk_of(disk);
    bool happens;
    int err = fault(d, QV_SIM_OP_NAME, path, &happens, msg);
    size_t i = names_find(&d->vol_names, path);
    if (err == 0 && (i == d->vol_names.n || d->vol_names.v[i].inode == NULL))
        return sim_fail(msg, QV_ENOTFOUND, "unlink", path);
    if (happens && i < d->vol_names.n) {
        pending_add(d, NULL, path, d->vol_names.v[i].inode);
        collect(d);
    }
    return err;
}

static int sim_mkdir(struct qv_disk *disk, const char *path, struct qv_errmsg *msg)
{
    struct sim_disk *d = disk_of(disk);
    bool happens;
    int err = fault(d, QV_SIM_OP_NAME, path, &happens, msg);
    if (err != 0)
        return err;
    if (names_find(&d->vol_names, path) < d->vol_names.n || strcmp(path, "/") == 0 ||
        strcmp(path, ".") == 0)
        return sim_fail(msg, QV_EEXISTS, "mkdir", path);
    names_set(&d->vol_names, path, NULL);
    names_set(&d->dur_names, path, NULL);
    return 0;
}

static int sim_rmdir(struct qv_disk *disk, const char *path, struct qv_errmsg *msg)
{
    struct sim_disk *d = disk_of(disk);
    bool happens;
    int err = fault(d, QV_SIM_OP_NAME, path, &happens, msg);
    if (err != 0)
        return err;
    size_t i = names_find(&d->vol_names, path);
    if (i == d->vol_names.n || d->vol_names.v[i].inode != NULL)
        return sim_fail(msg, QV_ENOTFOUND, "rmdir", path);
    for (size_t k = 0; k < d->vol_names.n; k++) {
        if (in_dir(d->vol_names.v[k].path, path))
            return sim_fail(msg, QV_EIO, "rmdir of a full directory", path);
    }
    names_remove(&d->vol_names, path);
    names_remove(&d->dur_names, path);
    return 0;
}

static int sim_list(struct qv_disk *disk, const char *path, qv_disk_list_f fn, void *arg,
                    struct qv_errmsg *msg)
{
    struct sim_disk *d = disk_of(disk);
    bool happens;
    int err = fault(d, QV_SIM_OP_READ, path, &happens, msg);
    if (err != 0)
        return err;
    if (strcmp(path, ".") != 0 && names_find(&d->vol_names, path) == d->vol_names.n)
        return sim_fail(msg, QV_ENOTFOUND, "list", path);
    size_t n = d->vol_names.n; /* the listener may remove what it is told of */
    struct name *names = qv_mem_alloc((n + 1) * sizeof *names);
    for (size_t i = 0; i < n; i++) {
        names[i] = d->vol_names.v[i];
        names[i].path = qv_mem_strdup(names[i].path);
    }
    bool on = true;
    for (size_t i = 0; i < n; i++) {
        const char *slash = strrchr(names[i].path, '/');
        if (on && in_dir(names[i].path, path))
            on = fn(arg, slash != NULL ? slash + 1 : names[i].path, names[i].inode == NULL);
        qv_mem_free(names[i].path);
    }
    qv_mem_free(names);
    return 0;
}

static int sim_sync_dir(struct qv_disk *disk, const char *path, struct qv_errmsg *msg)
{
    struct sim_disk *d = disk_of(disk);
    bool happens;
    int err = fault(d, QV_SIM_OP_NAME, path, &happens, msg);
    if (err != 0)
        return err;
    size_t kept = 0;
    for (size_t i = 0; i < d->pending_n; i++) {
        struct pending *p = &d->pending[i];
        if (in_dir(p->add != NULL ? p->add : p->del, path)) {
            apply(&d->dur_names, p);
            pending_free(p);
        } else {
            d->pending[kept++] = *p;
        }
    }
    d->pending_n = kept;
    collect(d);
    return 0;
}

static int sim_space(struct qv_disk *disk, const char *path, struct qv_disk_space *out,
                     struct qv_errmsg *msg)
{
    (void)path;
    (void)msg;
    struct sim_disk *d = disk_of(disk);
    out->total_bytes = d->capacity != 0 ? d->capacity : (uint64_t)1 << 50;
    out->free_bytes = out->total_bytes > d->used ? out->total_bytes - d->used : 0;
    return 0;
}

static int sim_pread(struct qv_file *f, uint64_t offset, void *p, size_t n, size_t *got,
                     struct qv_errmsg *msg)
{
    struct sim_disk *d = disk_of(f->disk);
    struct inode *in = file_of(f)->inode;
    bool happens;
    int err = handle_check(d, f, msg);
    if (err == 0)
        err = fault(d, QV_SIM_OP_READ, f->path, &happens, msg);
    if (err != 0)
        return err;
    uint64_t left = offset < in->vol.size ? in->vol.size - offset : 0;
    *got = n < left ? n : (size_t)left;
    if (*got > 0)
        memcpy(p, in->vol.data + offset, *got);
    return 0;
}

static int sim_pwrite(struct qv_file *f, uint64_t offset, const void *p, size_t n,
                      struct qv_errmsg *msg)
{
    struct sim_disk *d = disk_of(f->disk);
    struct inode *in = file_of(f)->inode;
    bool happens = true;
    QV_ASSERT(file_of(f)->writable);
    int err = handle_check(d, f, msg);
    if (err != 0)
        return err;
    bool was_dead = d->dead;
    err = fault(d, QV_SIM_OP_WRITE, f->path, &happens, msg);
    if (was_dead)
        return err;
    if (!happens)
        n = (size_t)qv_rng_below(&d->rng, n + 1); /* a part of it got there */
    uint64_t more = offset + n > in->vol.size ? offset + n - in->vol.size : 0;
    if (err == 0)
        err = space_check(d, more, f->path, msg);
    if (err == QV_ENOSPC || n == 0)
        return err;
    if (more > 0) {
        image_set_size(in, offset + n);
        d->used += more;
    }
    memcpy(in->vol.data + offset, p, n);
    mark_dirty(in, offset, offset + n);
    return err;
}

static int sim_sync(struct qv_file *f, struct qv_errmsg *msg)
{
    struct sim_disk *d = disk_of(f->disk);
    struct inode *in = file_of(f)->inode;
    bool happens;
    int err = handle_check(d, f, msg);
    if (err != 0)
        return err;
    bool was_dead = d->dead;
    err = fault(d, QV_SIM_OP_SYNC, f->path, &happens, msg);
    if (err == 0)
        inode_save(in);
    else if (!was_dead && !d->dead && in->dirty_cap > 0)
        memset(in->dirty, 0, in->dirty_cap); /* the kernel forgets */
    return err;
}

static int sim_size(struct qv_file *f, uint64_t *out, struct qv_errmsg *msg)
{
    int err = handle_check(disk_of(f->disk), f, msg);
    *out = err == 0 ? file_of(f)->inode->vol.size : 0;
    return err;
}

static int sim_next_data(struct qv_file *f, uint64_t offset, uint64_t *out, struct qv_errmsg *msg)
{
    const struct image *im = &file_of(f)->inode->vol;
    int err = handle_check(disk_of(f->disk), f, msg);
    *out = offset;
    while (err == 0 && *out < im->size) {
        uint64_t word = 1;
        if (*out % 8 == 0 && *out + 8 <= im->size)
            memcpy(&word, im->data + *out, 8);
        if (word == 0)
            *out += 8;
        else if (im->data[*out] == 0)
            (*out)++;
        else
            break;
    }
    return err;
}

static int sim_truncate(struct qv_file *f, uint64_t size, struct qv_errmsg *msg)
{
    struct sim_disk *d = disk_of(f->disk);
    struct inode *in = file_of(f)->inode;
    bool happens;
    int err = handle_check(d, f, msg);
    if (err == 0)
        err = fault(d, QV_SIM_OP_ALLOCATE, f->path, &happens, msg);
    if (err == 0 && size > in->vol.size)
        err = space_check(d, size - in->vol.size, f->path, msg);
    if (err != 0)
        return err;
    image_set_size(in, size);
    collect(d);
    return 0;
}

static int sim_allocate(struct qv_file *f, uint64_t offset, uint64_t n, struct qv_errmsg *msg)
{
    uint64_t size = file_of(f)->inode->vol.size;
    if (offset + n > size)
        return sim_truncate(f, offset + n, msg);
    bool happens;
    int err = handle_check(disk_of(f->disk), f, msg);
    return err != 0 ? err : fault(disk_of(f->disk), QV_SIM_OP_ALLOCATE, f->path, &happens, msg);
}

static void inode_to_memfd(struct inode *in)
{
    int fd = memfd_create("quiver-sim", MFD_CLOEXEC);
    QV_ASSERT(fd >= 0);
    int r = ftruncate(fd, (off_t)in->vol.cap);
    QV_ASSERT(r == 0);
    uint8_t *p = mmap(NULL, in->vol.cap, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    QV_ASSERT(p != MAP_FAILED);
    memcpy(p, in->vol.data, in->vol.cap);
    qv_mem_free(in->vol.data);
    in->vol.data = p;
    in->memfd = fd;
}

static int sim_map(struct qv_file *f, uint64_t offset, size_t n, void *at, const uint8_t **out,
                   struct qv_errmsg *msg)
{
    struct sim_disk *d = disk_of(f->disk);
    struct inode *in = file_of(f)->inode;
    bool happens;
    int err = fault(d, QV_SIM_OP_READ, f->path, &happens, msg);
    if (err != 0)
        return err;
    if (in->memfd < 0)
        inode_to_memfd(in);
    int flags = MAP_SHARED | (at != NULL ? MAP_FIXED : 0);
    void *p = mmap(at, n, PROT_READ, flags, in->memfd, (off_t)offset);
    if (p == MAP_FAILED)
        return sim_fail(msg, QV_ENOMEM, "map", f->path);
    *out = p;
    return 0;
}

static void sim_unmap(struct qv_disk *d, const uint8_t *p, size_t n)
{
    (void)d;
    munmap((void *)(uintptr_t)p, n);
}

static void sim_close(struct qv_file *f)
{
    struct sim_disk *d = disk_of(f->disk);
    struct inode *in = file_of(f)->inode;
    QV_ASSERT(in->handles > 0);
    in->handles--;
    qv_mem_free((void *)(uintptr_t)f->path);
    qv_mem_free(f);
    collect(d);
}

static const struct qv_disk_ops sim_ops = {
    .open = sim_open,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .mkdir = sim_mkdir,
    .rmdir = sim_rmdir,
    .list = sim_list,
    .sync_dir = sim_sync_dir,
    .space = sim_space,
    .pread = sim_pread,
    .pwrite = sim_pwrite,
    .sync = sim_sync,
    .size = sim_size,
    .next_data = sim_next_data,
    .truncate = sim_truncate,
    .allocate = sim_allocate,
    .map = sim_map,
    .unmap = sim_unmap,
    .close = sim_close,
};

struct qv_disk *qv_sim_disk_create(uint64_t seed, uint64_t capacity_bytes)
{
    struct sim_disk *d = qv_mem_calloc(1, sizeof *d);
    d->head.ops = &sim_ops;
    d->capacity = capacity_bytes;
    qv_rng_init(&d->rng, seed);
    return &d->head;
}

void qv_sim_disk_destroy(struct qv_disk **disk)
{
    if (*disk == NULL)
        return;
    struct sim_disk *d = disk_of(*disk);
    for (size_t i = 0; i < d->pending_n; i++)
        pending_free(&d->pending[i]);
    qv_mem_free(d->pending);
    names_clear(&d->vol_names);
    names_clear(&d->dur_names);
    for (size_t i = 0; i < d->inode_n; i++) {
        QV_ASSERT(d->inodes[i]->handles == 0);
        inode_free(d->inodes[i]);
    }
    qv_mem_free(d->inodes);
    qv_mem_free(d);
    *disk = NULL;
}

static void inode_crash(struct sim_disk *d, struct inode *in)
{
    uint64_t keep = qv_rng_below(&d->rng, 5); /* of four quarters */
    uint64_t lost = 0;
    uint64_t kept = 0;
    for (uint64_t s = 0; s < in->dirty_cap; s++) {
        if (!in->dirty[s])
            continue;
        in->dirty[s] = 0;
        if (qv_rng_below(&d->rng, 4) < keep) {
            sector_save(in, s);
            kept++;
        } else {
            lost++;
        }
    }
    d->counts.sectors_lost += lost;
    d->counts.sectors_kept += kept;
    d->counts.writes_torn += lost > 0 && kept > 0;
    uint64_t size = in->dur.size;
    if (in->size_dirty && qv_rng_below(&d->rng, 2) == 0)
        size = in->vol.size;
    in->size_dirty = false;
    durable_set_size(in, size);
    if (in->dur.cap > size)
        memset(in->dur.data + size, 0, in->dur.cap - size);
    image_grow(in, &in->vol, in->dur.cap);
    if (in->vol.cap > 0)
        memset(in->vol.data, 0, in->vol.cap);
    if (in->dur.cap > 0)
        memcpy(in->vol.data, in->dur.data, in->dur.cap);
    in->vol.size = size;
}

static void disk_restart(struct sim_disk *d)
{
    d->epoch++;
    d->dead = false;
    d->die_after = 0;
    d->fail_n = 0;
    collect(d);
}

void qv_sim_disk_crash(struct qv_disk *disk)
{
    struct sim_disk *d = disk_of(disk);
    d->counts.crashes++;
    for (size_t i = 0; i < d->inode_n; i++)
        inode_crash(d, d->inodes[i]);
    uint64_t keep = qv_rng_below(&d->rng, 5);
    for (size_t i = 0; i < d->pending_n; i++) {
        if (qv_rng_below(&d->rng, 4) < keep) {
            apply(&d->dur_names, &d->pending[i]);
            d->counts.names_kept++;
        } else {
            d->counts.names_lost++;
        }
        pending_free(&d->pending[i]);
    }
    d->pending_n = 0;
    names_copy(&d->vol_names, &d->dur_names);
    disk_restart(d);
}

void qv_sim_disk_kill(struct qv_disk *d)
{
    disk_restart(disk_of(d));
}

void qv_sim_disk_fail(struct qv_disk *disk, unsigned ops, const char *part, uint64_t n,
                      uint64_t count, int err)
{
    struct sim_disk *d = disk_of(disk);
    d->fail_ops = ops;
    snprintf(d->fail_part, sizeof d->fail_part, "%s", part != NULL ? part : "");
    d->fail_n = n;
    d->fail_count = count;
    d->fail_err = err;
}

void qv_sim_disk_die_after(struct qv_disk *d, uint64_t n)
{
    disk_of(d)->die_after = n;
}

bool qv_sim_disk_is_dead(const struct qv_disk *d)
{
    return ((const struct sim_disk *)d)->dead;
}

void qv_sim_disk_set_capacity(struct qv_disk *d, uint64_t bytes)
{
    disk_of(d)->capacity = bytes;
}

uint64_t qv_sim_disk_used(const struct qv_disk *d)
{
    return ((const struct sim_disk *)d)->used;
}

int qv_sim_disk_flip(struct qv_disk *disk, const char *path, uint64_t offset, unsigned bit)
{
    struct sim_disk *d = disk_of(disk);
    size_t i = names_find(&d->vol_names, path);
    if (i == d->vol_names.n || d->vol_names.v[i].inode == NULL)
        return QV_ENOTFOUND;
    struct inode *in = d->vol_names.v[i].inode;
    if (offset >= in->vol.size)
        return QV_EINVAL;
    in->vol.data[offset] ^= (uint8_t)(1u << (bit & 7));
    if (offset < in->dur.size)
        in->dur.data[offset] ^= (uint8_t)(1u << (bit & 7));
    d->counts.flips++;
    return 0;
}

const char *qv_sim_disk_find(struct qv_disk *disk, const char *part, size_t n)
{
    struct sim_disk *d = disk_of(disk);
    const char *last = NULL;
    for (size_t k = 0; k <= n; k++) { /* the k-th smallest, by selection: few names */
        const char *best = NULL;
        for (size_t i = 0; i < d->vol_names.n; i++) {
            const char *p = d->vol_names.v[i].path;
            if (d->vol_names.v[i].inode == NULL || strstr(p, part) == NULL ||
                (last != NULL && strcmp(p, last) <= 0))
                continue;
            if (best == NULL || strcmp(p, best) < 0)
                best = p;
        }
        if (best == NULL)
            return NULL;
        last = best;
    }
    return last;
}

const struct qv_sim_disk_counts *qv_sim_disk_counts(const struct qv_disk *d)
{
    return &((const struct sim_disk *)d)->counts;
}
