/* Contents are an array of entries sorted by key; a change makes a new array that shares the
 * entries (reference counts), so that a snapshot is a reference. A flush writes "QVSIMKV\n", u64
 * count, count x { u32 key bytes, u32 value bytes, key, value }, u64 XXH3-64 of all before. Slow
 * and plain: the twin is to be right, not fast. */
#include "io/sim_kv.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "QVSIMKV\n"
#define PATH_BYTES 4096
#define FILE_BYTES_MAX ((size_t)1 << 30)

struct entry {
    atomic_uint refs;
    uint32_t key_n, value_n;
    uint8_t bytes[]; /* key, value */
};

struct table {
    atomic_uint refs;
    size_t n;
    struct entry *v[];
};

struct sim_driver {
    struct qv_kv_driver head;
    struct qv_disk *disk;
};

struct sim_kv {
    struct qv_kv head;
    struct qv_disk *disk;
    char path[PATH_BYTES];
    char dir[PATH_BYTES];
    struct table *now;
    uint64_t disk_bytes;
    bool failed; /* a flush failed: no more of them, and no writes, until it is reopened */
    bool read_only;
};

struct qv_kv_snapshot {
    struct table *table;
};

struct sim_iter {
    struct qv_kv_iter head;
    struct table *table;
    size_t at, end;
    size_t lower;
};

static struct sim_kv *sim_of(struct qv_kv *kv)
{
    return (struct sim_kv *)kv;
}

static struct qv_bytes entry_key(const struct entry *e)
{
    return (struct qv_bytes){e->bytes, e->key_n};
}

static void entry_release(void *owner)
{
    struct entry *e = owner;
    if (atomic_fetch_sub(&e->refs, 1) == 1)
        qv_mem_free(e);
}

static struct entry *entry_create(struct qv_bytes key, struct qv_bytes value)
{
    struct entry *e = qv_mem_alloc(sizeof *e + key.n + value.n);
    atomic_init(&e->refs, 1);
    e->key_n = (uint32_t)key.n;
    e->value_n = (uint32_t)value.n;
    memcpy(e->bytes, key.p, key.n);
    if (value.n > 0)
        memcpy(e->bytes + key.n, value.p, value.n);
    return e;
}

static struct table *table_create(size_t n)
{
    struct table *t = qv_mem_alloc(sizeof *t + n * sizeof(struct entry *));
    atomic_init(&t->refs, 1);
    t->n = 0;
    return t;
}

static struct table *table_hold(struct table *t)
{
    atomic_fetch_add(&t->refs, 1);
    return t;
}

static void table_release(struct table *t)
{
    if (t == NULL || atomic_fetch_sub(&t->refs, 1) > 1)
        return;
    for (size_t i = 0; i < t->n; i++)
        entry_release(t->v[i]);
    qv_mem_free(t);
}

static int key_compare(struct qv_bytes a, struct qv_bytes b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return c != 0 ? c : a.n < b.n ? -1 : a.n > b.n;
}

/* The first place whose key is not below `key`. */
static size_t table_find(const struct table *t, struct qv_bytes key)
{
    size_t lo = 0;
    size_t hi = t->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (key_compare(entry_key(t->v[mid]), key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct entry *table_get(const struct table *t, struct qv_bytes key)
{
    size_t i = table_find(t, key);
    return i < t->n && key_compare(entry_key(t->v[i]), key) == 0 ? t->v[i] : NULL;
}

static void table_remove(struct table *t, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        entry_release(t->v[i]);
    memmove(&t->v[from], &t->v[to], (t->n - to) * sizeof(struct entry *));
    t->n -= to - from;
}

static void table_apply(struct table *t, enum qv_kv_op op, struct qv_bytes key,
                        struct qv_bytes value)
{
    size_t i = table_find(t, key);
    bool there = i < t->n && key_compare(entry_key(t->v[i]), key) == 0;
    if (op == QV_KV_DELETE_RANGE) {
        size_t end = table_find(t, value);
        if (end > i)
            table_remove(t, i, end);
    } else {
        if (there)
            table_remove(t, i, i + 1);
        if (op == QV_KV_PUT) {
            memmove(&t->v[i + 1], &t->v[i], (t->n - i) * sizeof(struct entry *));
            t->v[i] = entry_create(key, value);
            t->n++;
        }
    }
}

static int refused(const struct sim_kv *s, struct qv_errmsg *msg)
{
    return s->read_only ? qv_fail(msg, QV_EIO, "%s is open for reading only", s->dir)
           : s->failed  ? qv_fail(msg, QV_EIO, "%s: an earlier flush failed", s->dir)
                        : 0;
}

static int sim_write(struct qv_kv *kv, const struct qv_kv_batch *b, struct qv_errmsg *msg)
{
    struct sim_kv *s = sim_of(kv);
    struct qv_bytes key;
    struct qv_bytes value;
    enum qv_kv_op op;
    size_t pos = 0;
    if (b->ops.failed)
        return qv_fail(msg, QV_ENOMEM, "%s: the batch could not be gathered", s->dir);
    if (refused(s, msg) != 0)
        return QV_EIO;
    struct table *t = table_create(s->now->n + (size_t)b->count);
    for (size_t i = 0; i < s->now->n; i++) {
        t->v[i] = s->now->v[i];
        atomic_fetch_add(&t->v[i]->refs, 1);
    }
    t->n = s->now->n;
    while (qv_kv_batch_next(b, &pos, &op, &key, &value))
        table_apply(t, op, key, value);
    table_release(s->now);
    s->now = t;
    return 0;
}

static int sim_flush_to(struct sim_kv *s, const char *path, struct qv_errmsg *msg)
{
    struct qv_buf b;
    qv_buf_init(&b, FILE_BYTES_MAX);
    qv_buf_append(&b, MAGIC, 8);
    qv_buf_u64(&b, s->now->n);
    for (size_t i = 0; i < s->now->n; i++) {
        const struct entry *e = s->now->v[i];
        qv_buf_u32(&b, e->key_n);
        qv_buf_u32(&b, e->value_n);
        qv_buf_append(&b, e->bytes, (size_t)e->key_n + e->value_n);
    }
    if (!b.failed)
        qv_buf_u64(&b, qv_hash_64(b.data, b.len));
    int err = b.failed ? qv_fail(msg, QV_ENOMEM, "%s: too large", path)
                       : qv_disk_replace_file(s->disk, path, b.data, b.len, msg);
    if (err == 0)
        s->disk_bytes = b.len;
    qv_buf_close(&b);
    return err;
}

static int sim_flush(struct qv_kv *kv, struct qv_errmsg *msg)
{
    struct sim_kv *s = sim_of(kv);
    int err = refused(s, msg);
    if (err == 0)
        err = sim_flush_to(s, s->path, msg);
    s->failed = s->failed || err != 0;
    return err;
}

static int sim_get(struct qv_kv *kv, const struct qv_kv_snapshot *snap, struct qv_bytes key,
                   struct qv_kv_value *out, struct qv_errmsg *msg)
{
    struct entry *e = table_get(snap != NULL ? snap->table : sim_of(kv)->now, key);
    (void)msg;
    *out = (struct qv_kv_value){0};
    if (e != NULL) {
        atomic_fetch_add(&e->refs, 1);
        out->p = e->bytes + e->key_n;
        out->n = e->value_n;
        out->owner = e;
        out->release = entry_release;
    }
    return 0;
}

static int sim_multi_get(struct qv_kv *kv, const struct qv_kv_snapshot *snap, size_t n,
                         const struct qv_bytes *keys, struct qv_kv_value *out,
                         struct qv_errmsg *msg)
{
    int err = 0;
    for (size_t i = 0; i < n && err == 0; i++)
        err = sim_get(kv, snap, keys[i], &out[i], msg);
    return err;
}

static int sim_snapshot(struct qv_kv *kv, struct qv_kv_snapshot **out)
{
    *out = qv_mem_alloc(sizeof **out);
    (*out)->table = table_hold(sim_of(kv)->now);
    return 0;
}

static void sim_snapshot_release(struct qv_kv *kv, struct qv_kv_snapshot *snap)
{
    (void)kv;
    if (snap != NULL)
        table_release(snap->table);
    qv_mem_free(snap);
}

static int sim_iter_open(struct qv_kv *kv, const struct qv_kv_snapshot *snap, struct qv_bytes lower,
                         struct qv_bytes upper, struct qv_kv_iter **out)
{
    struct sim_iter *it = qv_mem_calloc(1, sizeof *it);
    it->head.kv = kv;
    it->table = table_hold(snap != NULL ? snap->table : sim_of(kv)->now);
    it->lower = lower.n > 0 ? table_find(it->table, lower) : 0;
    it->end = upper.n > 0 ? table_find(it->table, upper) : it->table->n;
    it->at = it->lower;
    *out = &it->head;
    return 0;
}

static void sim_iter_seek(struct qv_kv_iter *iter, struct qv_bytes key)
{
    struct sim_iter *it = (struct sim_iter *)iter;
    size_t i = table_find(it->table, key);
    it->at = i > it->lower ? i : it->lower;
}

static int sim_iter_next(struct qv_kv_iter *iter, struct qv_bytes *key, struct qv_bytes *value,
                         struct qv_errmsg *msg)
{
    struct sim_iter *it = (struct sim_iter *)iter;
    (void)msg;
    if (it->at >= it->end)
        return QV_EEOF;
    const struct entry *e = it->table->v[it->at++];
    *key = entry_key(e);
    *value = (struct qv_bytes){e->bytes + e->key_n, e->value_n};
    return 0;
}

static void sim_iter_close(struct qv_kv_iter *iter)
{
    struct sim_iter *it = (struct sim_iter *)iter;
    table_release(it->table);
    qv_mem_free(it);
}

static uint64_t sim_disk_bytes(struct qv_kv *kv)
{
    return sim_of(kv)->disk_bytes;
}

/* The file's contents as a table; gives. */
static int table_load(struct sim_kv *s, struct table **out, struct qv_errmsg *msg)
{
    struct qv_buf b;
    struct qv_rd rd;
    qv_buf_init(&b, FILE_BYTES_MAX);
    int err = qv_disk_read_file(s->disk, s->path, FILE_BYTES_MAX, &b, msg);
    if (err != 0) {
        qv_buf_close(&b);
        return err;
    }
    s->disk_bytes = b.len;
    uint64_t hash = 0;
    if (b.len >= 24)
        memcpy(&hash, b.data + b.len - 8, 8);
    if (b.len < 24 || hash != qv_hash_64(b.data, b.len - 8) || memcmp(b.data, MAGIC, 8) != 0) {
        qv_buf_close(&b);
        return QV_CORRUPT(msg, "%s: checksum", s->path);
    }
    qv_rd_init(&rd, b.data + 8, b.len - 16);
    uint64_t count = qv_rd_u64(&rd);
    bool sane = count <= b.len / 8;
    struct table *t = table_create(sane ? (size_t)count : 0);
    for (uint64_t i = 0; i < count && sane; i++) {
        struct qv_bytes key = {.n = qv_rd_u32(&rd)};
        struct qv_bytes value = {.n = qv_rd_u32(&rd)};
        key.p = qv_rd_take(&rd, key.n);
        value.p = qv_rd_take(&rd, value.n);
        sane = !rd.failed;
        if (sane)
            t->v[t->n++] = entry_create(key, value);
    }
    qv_buf_close(&b);
    if (!sane) {
        table_release(t);
        return QV_CORRUPT(msg, "%s: malformed", s->path);
    }
    *out = t;
    return 0;
}

static int sim_verify(struct qv_kv *kv, struct qv_errmsg *msg)
{
    struct table *t = NULL;
    int err = table_load(sim_of(kv), &t, msg);
    table_release(t);
    return err == QV_ENOTFOUND ? 0 : err; /* nothing was flushed yet */
}

static int sim_reopen(struct qv_kv *kv, struct qv_errmsg *msg)
{
    struct sim_kv *s = sim_of(kv);
    struct table *t = NULL;
    int err = table_load(s, &t, msg);
    if (err != 0)
        return err;
    struct table *before = s->now;
    s->now = t;
    err = sim_flush_to(s, s->path, msg); /* what a failed flush left may be no more than cached */
    if (err != 0) {
        s->now = before;
        table_release(t);
        return err;
    }
    table_release(before);
    s->failed = false;
    s->read_only = false;
    return 0;
}

static int path_set(struct sim_kv *s, const char *dir, struct qv_errmsg *msg)
{
    int n = snprintf(s->path, sizeof s->path, "%s/data.kv", dir);
    if (n < 0 || n >= (int)sizeof s->path)
        return qv_fail(msg, QV_ETOOBIG, "path of %zu bytes", strlen(dir));
    snprintf(s->dir, sizeof s->dir, "%s", dir);
    return 0;
}

static int sim_checkpoint(struct qv_kv *kv, const char *dir, struct qv_errmsg *msg)
{
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s/data.kv", dir);
    if (n < 0 || n >= (int)sizeof path)
        return qv_fail(msg, QV_ETOOBIG, "path of %zu bytes", strlen(dir));
    int err = qv_disk_mkdir(sim_of(kv)->disk, dir, msg);
    return err != 0 ? err : sim_flush_to(sim_of(kv), path, msg);
}

static void sim_close(struct qv_kv *kv)
{
    table_release(sim_of(kv)->now);
    qv_mem_free(kv);
}

static const struct qv_kv_ops sim_ops = {
    .write = sim_write,
    .flush = sim_flush,
    .get = sim_get,
    .multi_get = sim_multi_get,
    .snapshot = sim_snapshot,
    .snapshot_release = sim_snapshot_release,
    .iter_open = sim_iter_open,
    .iter_seek = sim_iter_seek,
    .iter_next = sim_iter_next,
    .iter_close = sim_iter_close,
    .disk_bytes = sim_disk_bytes,
    .verify = sim_verify,
    .reopen = sim_reopen,
    .checkpoint = sim_checkpoint,
    .close = sim_close,
};

static int driver_open(struct qv_kv_driver *driver, const char *dir, bool create,
                       struct qv_kv **out, struct qv_errmsg *msg)
{
    struct sim_driver *d = (struct sim_driver *)driver;
    struct sim_kv *s = qv_mem_calloc(1, sizeof *s);
    s->head.ops = &sim_ops;
    s->disk = d->disk;
    *out = NULL;
    int err = path_set(s, dir, msg);
    if (err == 0 && create)
        err = qv_disk_mkdir_all(d->disk, dir, msg);
    if (err == 0)
        err = table_load(s, &s->now, msg);
    if (err == QV_ENOTFOUND && create) {
        s->now = table_create(0);
        err = sim_flush_to(s, s->path,
                           msg); /* an empty store is there from now on, as RocksDB's is */
    }
    if (err != 0) {
        table_release(s->now);
        qv_mem_free(s);
        return err;
    }
    *out = &s->head;
    return 0;
}

static int driver_open_read_only(struct qv_kv_driver *driver, const char *dir, struct qv_kv **out,
                                 struct qv_errmsg *msg)
{
    int err = driver_open(driver, dir, false, out, msg);
    if (err == 0)
        sim_of(*out)->read_only = true;
    return err;
}

static int driver_destroy(struct qv_kv_driver *driver, const char *dir, struct qv_errmsg *msg)
{
    struct sim_driver *d = (struct sim_driver *)driver;
    struct sim_kv s;
    char tmp[PATH_BYTES + 8];
    int err = path_set(&s, dir, msg);
    if (err != 0)
        return err;
    snprintf(tmp, sizeof tmp, "%s.tmp", s.path);
    err = qv_disk_unlink(d->disk, tmp, msg);
    if (err == 0 || err == QV_ENOTFOUND)
        err = qv_disk_unlink(d->disk, s.path, msg);
    if (err == 0 || err == QV_ENOTFOUND)
        err = qv_disk_rmdir(d->disk, dir, msg);
    return err == QV_ENOTFOUND ? 0 : err;
}

struct qv_kv_driver *qv_sim_kv_create(struct qv_disk *disk)
{
    struct sim_driver *d = qv_mem_calloc(1, sizeof *d);
    d->head.open = driver_open;
    d->head.open_read_only = driver_open_read_only;
    d->head.destroy = driver_destroy;
    d->disk = disk;
    return &d->head;
}

void qv_sim_kv_destroy(struct qv_kv_driver **d)
{
    qv_mem_free(*d);
    *d = NULL;
}
