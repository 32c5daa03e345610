#include "io/kill_disk.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum kill_op {
    KILL_OPEN = 1,
    KILL_RENAME = 2,
    KILL_UNLINK = 4,
    KILL_WRITE = 8,
    KILL_SYNC = 16,
    KILL_SYNC_DIR = 32,
    KILL_ALLOCATE = 64,
    KILL_READ = 128,
    KILL_ANY = 255
};

enum kill_when { KILL_BEFORE, KILL_HALF, KILL_AFTER, KILL_NEVER /* it fails instead */ };

struct kill_disk {
    struct qv_disk head; /* first */
    struct qv_disk *inner;
    unsigned ops;
    char part[256];
    atomic_ullong left; /* operations until the one; 0: it is past */
    enum kill_when when;
    int errnum;            /* NEVER: as which the operations fail */
    atomic_ullong to_fail; /* NEVER: how many more of them */
    uint64_t from_ms;      /* of the monotonic clock */
};

struct kill_file {
    struct qv_file head; /* first */
    struct qv_file *inner;
};

static struct kill_disk *disk_of(struct qv_disk *d)
{
    return (struct kill_disk *)d;
}

static struct qv_file *inner_of(struct qv_file *f)
{
    return ((struct kill_file *)f)->inner;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void die(void)
{
    raise(SIGKILL);
    for (;;)
        ; /* the signal takes the process before this line is felt */
}

/* Is this operation the one? Dies at once where it must not happen any more. */
static bool strikes(struct kill_disk *d, enum kill_op op, const char *path)
{
    if (d->when == KILL_NEVER || !(d->ops & op) || strstr(path, d->part) == NULL ||
        now_ms() < d->from_ms)
        return false;
    unsigned long long left = atomic_load(&d->left);
    while (left > 0 && !atomic_compare_exchange_weak(&d->left, &left, left - 1))
        ;
    if (left != 1)
        return false;
    if (d->when == KILL_BEFORE)
        die();
    return true;
}

/* With a disk that fails: does this one? The N-th, and those behind it until COUNT have. */
static int refused(struct kill_disk *d, enum kill_op op, const char *path, struct qv_errmsg *msg)
{
    static const char *const names[] = {"open", "rename", "unlink",   "write",
                                        "sync", "sync",   "allocate", "read"};
    char why[128];
    unsigned name = 0;
    if (d->when != KILL_NEVER || !(d->ops & op) || strstr(path, d->part) == NULL ||
        now_ms() < d->from_ms)
        return 0;
    unsigned long long left = atomic_load(&d->left);
    while (left > 1 && !atomic_compare_exchange_weak(&d->left, &left, left - 1))
        ;
    if (left > 1)
        return 0;
    unsigned long long n = atomic_load(&d->to_fail);
    while (n > 0 && !atomic_compare_exchange_weak(&d->to_fail, &n, n - 1))
        ;
    if (n == 0)
        return 0;
    while ((1u << name) != (unsigned)op)
        name++;
    return qv_fail(msg, qv_err_from_errno(d->errnum), "%s %s: %s (planned)", names[name], path,
                   strerror_r(d->errnum, why, sizeof why));
}

static int pass(bool struck, int err)
{
    if (struck)
        die();
    return err;
}

static int kill_open(struct qv_disk *disk, const char *path, unsigned flags, struct qv_file **out,
                     struct qv_errmsg *msg)
{
    struct kill_disk *d = disk_of(disk);
    struct qv_file *inner;
    int no = refused(d, KILL_OPEN, path, msg);
    if (no != 0)
        return no;
    bool struck = strikes(d, KILL_OPEN, path);
    int err = pass(struck, qv_disk_open(d->inner, path, flags, &inner, msg));
    if (err != 0)
        return err;
    struct kill_file *f = qv_mem_calloc(1, sizeof *f);
    f->head.disk = disk;
    f->head.path = inner->path;
    f->inner = inner;
    *out = &f->head;
    return 0;
}

static int kill_rename(struct qv_disk *disk, const char *from, const char *to,
                       struct qv_errmsg *msg)
{
    struct kill_disk *d = disk_of(disk);
    int no = refused(d, KILL_RENAME, to, msg);
    if (no != 0)
        return no;
    bool struck = strikes(d, KILL_RENAME, to);
    return pass(struck, qv_disk_rename(d->inner, from, to, msg));
}

static int kill_unlink(struct qv_disk *disk, const char *path, struct qv_errmsg *msg)
{
    struct kill_disk *d = disk_of(disk);
    int no = refused(d, KILL_UNLINK, path, msg);
    if (no != 0)
        return no;
    bool struck = strikes(d, KILL_UNLINK, path);
    return pass(struck, qv_disk_unlink(d->inner, path, msg));
}

static int kill_mkdir(struct qv_disk *disk, const char *path, struct qv_errmsg *msg)
{
    return qv_disk_mkdir(disk_of(disk)->inner, path, msg);
}

static int kill_rmdir(struct qv_disk *disk, const char *path, struct qv_errmsg *msg)
{
    return qv_disk_rmdir(disk_of(disk)->inner, path, msg);
}

static int kill_list(struct qv_disk *disk, const char *path, qv_disk_list_f fn, void *arg,
                     struct qv_errmsg *msg)
{
    return qv_disk_list(disk_of(disk)->inner, path, fn, arg, msg);
}

static int kill_sync_dir(struct qv_disk *disk, const char *path, struct qv_errmsg *msg)
{
    struct kill_disk *d = disk_of(disk);
    int no = refused(d, KILL_SYNC_DIR, path, msg);
    if (no != 0)
        return no;
    bool struck = strikes(d, KILL_SYNC_DIR, path);
    return pass(struck, qv_disk_sync_dir(d->inner, path, msg));
}

static int kill_space(struct qv_disk *disk, const char *path, struct qv_disk_space *out,
                      struct qv_errmsg *msg)
{
    return qv_disk_space(disk_of(disk)->inner, path, out, msg);
}

static int kill_pread(struct qv_file *f, uint64_t offset, void *p, size_t n, size_t *got,
                      struct qv_errmsg *msg)
{
    int no = refused(disk_of(f->disk), KILL_READ, f->path, msg);
    if (no != 0)
        return no;
    bool struck = strikes(disk_of(f->disk), KILL_READ, f->path);
    return pass(struck, qv_file_pread(inner_of(f), offset, p, n, got, msg));
}

static int kill_pwrite(struct qv_file *f, uint64_t offset, const void *p, size_t n,
                       struct qv_errmsg *msg)
{
    struct kill_disk *d = disk_of(f->disk);
    int no = refused(d, KILL_WRITE, f->path, msg);
    if (no != 0)
        return no;
    bool struck = strikes(d, KILL_WRITE, f->path);
    if (struck && d->when == KILL_HALF)
        n /= 2;
    return pass(struck, qv_file_pwrite_full(inner_of(f), offset, p, n, msg));
}

static int kill_sync(struct qv_file *f, struct qv_errmsg *msg)
{
    int no = refused(disk_of(f->disk), KILL_SYNC, f->path, msg);
    if (no != 0)
        return no;
    bool struck = strikes(disk_of(f->disk), KILL_SYNC, f->path);
    return pass(struck, qv_file_sync(inner_of(f), msg));
}

static int kill_size(struct qv_file *f, uint64_t *out, struct qv_errmsg *msg)
{
    return qv_file_size(inner_of(f), out, msg);
}

static int kill_next_data(struct qv_file *f, uint64_t offset, uint64_t *out, struct qv_errmsg *msg)
{
    bool struck = strikes(disk_of(f->disk), KILL_READ, f->path);
    return pass(struck, qv_file_next_data(inner_of(f), offset, out, msg));
}

static int kill_truncate(struct qv_file *f, uint64_t size, struct qv_errmsg *msg)
{
    int no = refused(disk_of(f->disk), KILL_ALLOCATE, f->path, msg);
    if (no != 0)
        return no;
    bool struck = strikes(disk_of(f->disk), KILL_ALLOCATE, f->path);
    return pass(struck, qv_file_truncate(inner_of(f), size, msg));
}

static int kill_allocate(struct qv_file *f, uint64_t offset, uint64_t n, struct qv_errmsg *msg)
{
    int no = refused(disk_of(f->disk), KILL_ALLOCATE, f->path, msg);
    if (no != 0)
        return no;
    bool struck = strikes(disk_of(f->disk), KILL_ALLOCATE, f->path);
    return pass(struck, qv_file_allocate(inner_of(f), offset, n, msg));
}

static int kill_map(struct qv_file *f, uint64_t offset, size_t n, void *at, const uint8_t **out,
                    struct qv_errmsg *msg)
{
    return qv_file_map(inner_of(f), offset, n, at, out, msg);
}

static void kill_unmap(struct qv_disk *disk, const uint8_t *p, size_t n)
{
    qv_disk_unmap(disk_of(disk)->inner, p, n);
}

static void kill_close(struct qv_file *f)
{
    qv_file_close(inner_of(f));
    qv_mem_free(f);
}

static const struct qv_disk_ops kill_ops = {
    .open = kill_open,
    .rename = kill_rename,
    .unlink = kill_unlink,
    .mkdir = kill_mkdir,
    .rmdir = kill_rmdir,
    .list = kill_list,
    .sync_dir = kill_sync_dir,
    .space = kill_space,
    .pread = kill_pread,
    .pwrite = kill_pwrite,
    .sync = kill_sync,
    .size = kill_size,
    .next_data = kill_next_data,
    .truncate = kill_truncate,
    .allocate = kill_allocate,
    .map = kill_map,
    .unmap = kill_unmap,
    .close = kill_close,
};

/* ---- the specification ---- */

static bool word_is(const char *p, size_t n, const char *word)
{
    return strlen(word) == n && memcmp(p, word, n) == 0;
}

static unsigned parse_op(const char *p, size_t n)
{
    static const struct {
        const char *name;
        unsigned op;
    } names[] = {{"open", KILL_OPEN},         {"rename", KILL_RENAME}, {"unlink", KILL_UNLINK},
                 {"write", KILL_WRITE},       {"sync", KILL_SYNC},     {"sync_dir", KILL_SYNC_DIR},
                 {"allocate", KILL_ALLOCATE}, {"read", KILL_READ},     {"any", KILL_ANY}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (word_is(p, n, names[i].name))
            return names[i].op;
    }
    return 0;
}

static bool parse_when(struct kill_disk *d, const char *p, size_t n)
{
    d->when = word_is(p, n, "before") ? KILL_BEFORE
              : word_is(p, n, "half") ? KILL_HALF
                                      : KILL_AFTER;
    return d->when != KILL_AFTER || word_is(p, n, "after");
}

static bool parse(struct kill_disk *d, const char *spec)
{
    const char *part = strchr(spec, ':');
    const char *count = part != NULL ? strchr(part + 1, ':') : NULL;
    const char *when = count != NULL ? strchr(count + 1, ':') : NULL;
    char *end;
    if (when == NULL || (size_t)(count - part - 1) >= sizeof d->part)
        return false;
    const char *delay = strchr(when + 1, ':');
    size_t when_n = delay != NULL ? (size_t)(delay - when - 1) : strlen(when + 1);
    d->ops = parse_op(spec, (size_t)(part - spec));
    memcpy(d->part, part + 1, (size_t)(count - part - 1));
    unsigned long long n = strtoull(count + 1, &end, 10);
    atomic_init(&d->left, n);
    bool ok = d->ops != 0 && end == when && n >= 1 && parse_when(d, when + 1, when_n);
    if (ok && delay != NULL) {
        unsigned long long ms = strtoull(delay + 1, &end, 10);
        ok = *end == '\0' && end != delay + 1 && ms < 1000000000;
        d->from_ms = now_ms() + ms;
    }
    return ok;
}

static bool parse_errno(struct kill_disk *d, const char *p, size_t n)
{
    static const struct {
        const char *name;
        int errnum;
    } names[] = {{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EROFS", EROFS}, {"EDQUOT", EDQUOT}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (word_is(p, n, names[i].name))
            d->errnum = names[i].errnum;
    }
    return d->errnum != 0;
}

/* OP:PART:N:ERRNO[:COUNT[:MS]] */
static bool parse_fault(struct kill_disk *d, const char *spec)
{
    const char *field[6];
    size_t len[6];
    unsigned n = 0;
    char *end;
    for (const char *p = spec; p != NULL && n < 6; n++) {
        const char *colon = strchr(p, ':');
        field[n] = p;
        len[n] = colon != NULL ? (size_t)(colon - p) : strlen(p);
        p = colon != NULL ? colon + 1 : NULL;
    }
    if (n < 4 || len[1] >= sizeof d->part)
        return false;
    d->ops = parse_op(field[0], len[0]);
    memcpy(d->part, field[1], len[1]);
    unsigned long long first = strtoull(field[2], &end, 10);
    bool ok = d->ops != 0 && end == field[2] + len[2] && first >= 1;
    unsigned long long count = n > 4 ? strtoull(field[4], &end, 10) : 1;
    ok = ok && (n <= 4 || (end == field[4] + len[4] && count >= 1));
    unsigned long long ms = n > 5 ? strtoull(field[5], &end, 10) : 0;
    ok = ok && (n <= 5 || (*end == '\0' && end != field[5] && ms < 1000000000));
    d->when = KILL_NEVER;
    d->from_ms = now_ms() + ms;
    atomic_init(&d->left, first);
    atomic_init(&d->to_fail, count);
    return ok && parse_errno(d, field[3], len[3]);
}

int qv_fault_disk_create(struct qv_disk *inner, const char *spec, struct qv_disk **out,
                         struct qv_errmsg *msg)
{
    struct kill_disk *d = qv_mem_calloc(1, sizeof *d);
    d->head.ops = &kill_ops;
    d->inner = inner;
    if (!parse_fault(d, spec)) {
        qv_mem_free(d);
        return qv_fail(msg, QV_EINVAL,
                       "QUIVER_FAULT_AT: '%.100s' is not OP:PART:N:ERRNO[:COUNT[:MS]]", spec);
    }
    *out = &d->head;
    return 0;
}

int qv_kill_disk_create(struct qv_disk *inner, const char *spec, struct qv_disk **out,
                        struct qv_errmsg *msg)
{
    struct kill_disk *d = qv_mem_calloc(1, sizeof *d);
    d->head.ops = &kill_ops;
    d->inner = inner;
    if (!parse(d, spec)) {
        qv_mem_free(d);
        return qv_fail(msg, QV_EINVAL, "QUIVER_KILL_AT: '%.100s' is not OP:PART:N:WHEN[:MS]", spec);
    }
    *out = &d->head;
    return 0;
}

void qv_kill_disk_destroy(struct qv_disk **d)
{
    if (*d == NULL)
        return;
    qv_mem_free(*d);
    *d = NULL;
}
