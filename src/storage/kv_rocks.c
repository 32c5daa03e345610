/* RocksDB behind core/kv.h. After a failed write or flush it refuses both until it is opened anew
 * (its C API has no Resume, and its flush never succeeds again: tried with room made on a full
 * disk). So qv_kv_reopen closes and opens it under its readers: they are counted, and it waits for
 * a moment without any.
 *
 * A store that is there is opened for reading only, which writes nothing: an open for writing costs
 * five syncs and renames, and a node with many collections starts by opening all of them. The first
 * write opens it for writing beside that; who came before goes on reading there. So that no file
 * goes under their feet, none is removed until the older one is closed: at the first write or flush
 * that finds no reader.
 *
 * What is set, and why:
 *  - WAL off: our log is the log. A batch lands in one memtable, so that a flush, ours or its own,
 *    writes whole batches.
 *  - Checksums verified on every block read (the default of ReadOptions) and paranoid_checks: after
 * a bad block the store refuses writes.
 *  - One LRU cache for blocks, indexes and filters of all stores: resident memory is bounded by the
 *    node, not by how many collections it has.
 *  - CURRENT missing or naming a missing MANIFEST while the directory is there is corruption, not
 *    "not found": RocksDB calls both an IO error. */
#include "storage/kv_rocks.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <errno.h>
#include <fcntl.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CACHE_BYTES_DEFAULT ((size_t)32 << 20)
#define WRITE_BUFFER_DEFAULT ((size_t)64 << 20)
#define OPEN_FILES_DEFAULT 256
#define BLOCK_BYTES 4096
#define BLOOM_BITS 10
#define MULTI_GET_MAX 4096
#define REOPEN_TRIES 5000 /* of a millisecond */
#define ALONE (INT32_MIN / 2)
#define PROBE_BYTES ((size_t)1 << 20) /* more than a new MANIFEST and its kin */

struct rocks_driver {
    struct qv_kv_driver head;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read;
    rocksdb_writeoptions_t *write;
    rocksdb_flushoptions_t *flush;
};

struct handle {
    rocksdb_t *db;
    rocksdb_column_family_handle_t *cf;
};

struct rocks {
    struct qv_kv head;
    struct rocks_driver *driver;
    _Atomic(struct handle *) now; /* NULL: a reopen failed, and so did one for reading only */
    struct handle *before;        /* the writer's: for reading only, readers may still be in it */
    char *dir;
    bool read_only;   /* `now` is */
    bool lazy;        /* the first write opens it for writing */
    atomic_int users; /* reads, iterators, snapshots; negative while it is being reopened */
};

struct qv_kv_snapshot {
    struct handle *handle; /* whose moment it is */
    const rocksdb_snapshot_t *snap;
    rocksdb_readoptions_t *read;
};

struct rocks_iter {
    struct qv_kv_iter head;
    rocksdb_iterator_t *it;
    rocksdb_readoptions_t *read;
    uint8_t *bounds; /* lower, then upper */
    bool fresh;      /* positioned, and its entry not given yet */
};

static struct rocks *rocks_of(struct qv_kv *kv)
{
    return (struct rocks *)kv;
}

static void doze(void)
{
    const struct timespec ms = {.tv_nsec = 1000000};
    (void)nanosleep(&ms, NULL);
}

/* Readers first, since they nest: one with an iterator may come in again. The handle is good until
 * leave. */
static int enter(struct rocks *r, struct handle **out, struct qv_errmsg *msg)
{
    while (atomic_fetch_add(&r->users, 1) < 0) {
        atomic_fetch_sub(&r->users, 1);
        doze();
    }
    *out = atomic_load(&r->now);
    if (*out != NULL)
        return 0;
    atomic_fetch_sub(&r->users, 1);
    return qv_fail(msg, QV_EIO, "%s could not be opened again after a failed write", r->dir);
}

static void leave(struct rocks *r)
{
    atomic_fetch_sub(&r->users, 1);
}

static int refuse(const struct rocks *r, struct qv_errmsg *msg)
{
    return qv_fail(msg, QV_EIO, "%s is open for reading only", r->dir);
}

/* Takes RocksDB's text. */
static int rocks_fail(const struct rocks *r, char *text, struct qv_errmsg *msg)
{
    int err = QV_EIO;
    QV_ASSERT(text != NULL);
    if (strstr(text, "Corruption") == NULL)
        qv_disk_write_failed();
    if (strstr(text, "Corruption") != NULL)
        err = QV_CORRUPT(msg, "%s: %s", r->dir, text);
    else if (strstr(text, "No space left") != NULL || strstr(text, "File too large") != NULL ||
             strstr(text, "quota exceeded") != NULL)
        err = qv_fail(msg, QV_ENOSPC, "%s: %s", r->dir, text);
    else if (strstr(text, "Memory limit") != NULL)
        err = qv_fail(msg, QV_ENOMEM, "%s: %s", r->dir, text);
    else
        err = qv_fail(msg, QV_EIO, "%s: %s", r->dir, text);
    rocksdb_free(text);
    return err;
}

static void handle_close(struct handle *h)
{
    if (h == NULL)
        return;
    rocksdb_column_family_handle_destroy(h->cf);
    rocksdb_close(h->db);
    qv_mem_free(h);
}

/* RocksDB's text, or NULL. */
static char *handle_open(const struct rocks *r, bool read_only, struct handle **out)
{
    const char *names[] = {"default"};
    const rocksdb_options_t *options[] = {r->driver->options};
    char *text = NULL;
    struct handle *h = qv_mem_calloc(1, sizeof *h);
    h->db = read_only ? rocksdb_open_for_read_only_column_families(r->driver->options, r->dir, 1,
                                                                   names, options, &h->cf, 0, &text)
                      : rocksdb_open_column_families(r->driver->options, r->dir, 1, names, options,
                                                     &h->cf, &text);
    *out = text == NULL ? h : NULL;
    if (text != NULL)
        qv_mem_free(h);
    return text;
}

static char *db_open(struct rocks *r, bool read_only)
{
    struct handle *h = NULL;
    char *text = handle_open(r, read_only, &h);
    atomic_store(&r->now, h);
    r->read_only = read_only;
    return text;
}

/* What was open for reading only, once nobody is in it. Writer. */
static void close_before(struct rocks *r)
{
    int none = 0;
    char *text = NULL;
    if (r->before == NULL || !atomic_compare_exchange_strong(&r->users, &none, ALONE))
        return;
    handle_close(r->before);
    r->before = NULL;
    atomic_fetch_sub(&r->users, ALONE);
    rocksdb_enable_file_deletions(atomic_load(&r->now)->db, 0, &text);
    rocksdb_free(text);
}

/* An open writes some files: is there room for them, and does the disk take them? */
static int probe(const struct rocks *r, struct qv_errmsg *msg)
{
    char path[4096];
    char why[128];
    const char *what = NULL;
    int n = snprintf(path, sizeof path, "%s/probe.tmp", r->dir);
    if (n < 0 || n >= (int)sizeof path)
        return qv_fail(msg, QV_ETOOBIG, "path of %zu bytes", strlen(r->dir));
    uint8_t *bytes = qv_mem_try_calloc(1, PROBE_BYTES);
    if (bytes == NULL)
        return qv_fail(msg, QV_ENOMEM, "no memory to probe %s", r->dir);
    errno = 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0)
        what = "open";
    else if (write(fd, bytes, PROBE_BYTES) != (ssize_t)PROBE_BYTES)
        what = "write";
    else if (fdatasync(fd) != 0)
        what = "sync";
    int errnum = errno != 0 ? errno : ENOSPC; /* a short write */
    if (fd >= 0)
        (void)close(fd);
    (void)unlink(path);
    qv_mem_free(bytes);
    return what == NULL ? 0
                        : qv_fail(msg, qv_err_from_errno(errnum), "%s %s: %s", what, path,
                                  strerror_r(errnum, why, sizeof why));
}

/* The first write since it was opened. The first that an open writes is a line of RocksDB's diary
 * (LOG): where that meets a full disk, its next line ends the process (an assertion, on in Debian's
 * build); so it is tried out before. */
static int upgrade(struct rocks *r, struct qv_errmsg *msg)
{
    struct handle *h = NULL;
    int err = probe(r, msg);
    if (err != 0) {
        qv_disk_write_failed();
        return err;
    }
    char *text = handle_open(r, false, &h);
    if (text == NULL)
        rocksdb_disable_file_deletions(h->db, &text);
    if (text != NULL) {
        handle_close(h);
        return rocks_fail(r, text, msg);
    }
    QV_ASSERT(r->before == NULL && r->read_only);
    r->before = atomic_load(&r->now);
    atomic_store(&r->now, h);
    r->read_only = false;
    return 0;
}

static int ready_to_write(struct rocks *r, struct qv_errmsg *msg)
{
    int err = r->lazy ? upgrade(r, msg) : 0;
    r->lazy = false; /* one that failed is tried again by a reopen */
    if (err == 0 && (atomic_load(&r->now) == NULL || r->read_only))
        err = refuse(r, msg);
    if (err == 0)
        close_before(r);
    return err;
}

static const char *chars(struct qv_bytes b)
{
    return b.n > 0 ? (const char *)b.p : "";
}

static int rocks_write(struct qv_kv *kv, const struct qv_kv_batch *b, struct qv_errmsg *msg)
{
    struct rocks *r = rocks_of(kv);
    struct qv_bytes key;
    struct qv_bytes value;
    enum qv_kv_op op;
    size_t pos = 0;
    char *text = NULL;
    if (b->ops.failed)
        return qv_fail(msg, QV_ENOMEM, "%s: the batch could not be gathered", r->dir);
    int err = ready_to_write(r, msg);
    if (err != 0)
        return err;
    rocksdb_writebatch_t *wb = rocksdb_writebatch_create();
    while (qv_kv_batch_next(b, &pos, &op, &key, &value)) {
        if (op == QV_KV_PUT)
            rocksdb_writebatch_put(wb, chars(key), key.n, chars(value), value.n);
        else if (op == QV_KV_DELETE)
            rocksdb_writebatch_delete(wb, chars(key), key.n);
        else
            rocksdb_writebatch_delete_range(wb, chars(key), key.n, chars(value), value.n);
    }
    rocksdb_write(atomic_load(&r->now)->db, r->driver->write, wb, &text);
    rocksdb_writebatch_destroy(wb);
    return text != NULL ? rocks_fail(r, text, msg) : 0;
}

static int rocks_flush(struct qv_kv *kv, struct qv_errmsg *msg)
{
    struct rocks *r = rocks_of(kv);
    char *text = NULL;
    if (r->lazy) /* nothing was written since it was opened */
        return 0;
    int err = ready_to_write(r, msg);
    if (err != 0)
        return err;
    rocksdb_flush(atomic_load(&r->now)->db, r->driver->flush, &text);
    return text != NULL ? rocks_fail(r, text, msg) : 0;
}

static void value_release(void *owner)
{
    rocksdb_pinnableslice_destroy(owner);
}

/* Takes p, which may be NULL. */
static void value_set(struct qv_kv_value *out, rocksdb_pinnableslice_t *p)
{
    *out = (struct qv_kv_value){0};
    if (p == NULL)
        return;
    out->p = (const uint8_t *)rocksdb_pinnableslice_value(p, &out->n);
    if (out->p == NULL)
        out->p = (const uint8_t *)"";
    out->owner = p;
    out->release = value_release;
}

static int rocks_get(struct qv_kv *kv, const struct qv_kv_snapshot *snap, struct qv_bytes key,
                     struct qv_kv_value *out, struct qv_errmsg *msg)
{
    struct rocks *r = rocks_of(kv);
    char *text = NULL;
    *out = (struct qv_kv_value){0};
    struct handle *h = NULL;
    int err = enter(r, &h, msg);
    if (err != 0)
        return err;
    rocksdb_pinnableslice_t *p =
        rocksdb_get_pinned(snap != NULL ? snap->handle->db : h->db,
                           snap != NULL ? snap->read : r->driver->read, chars(key), key.n, &text);
    leave(r);
    if (text != NULL)
        return rocks_fail(r, text, msg);
    value_set(out, p);
    return 0;
}

struct multi {
    const char **keys;
    size_t *lengths;
    rocksdb_pinnableslice_t **values;
    char **errs;
};

static int multi_some(struct rocks *r, const struct handle *h, const struct qv_kv_snapshot *snap,
                      struct multi *m, size_t n, struct qv_errmsg *msg)
{
    int err = 0;
    rocksdb_batched_multi_get_cf(h->db, snap != NULL ? snap->read : r->driver->read, h->cf, n,
                                 m->keys, m->lengths, m->values, m->errs, false);
    for (size_t i = 0; i < n; i++) {
        if (m->errs[i] == NULL)
            continue;
        if (err == 0)
            err = rocks_fail(r, m->errs[i], msg);
        else
            rocksdb_free(m->errs[i]);
        m->values[i] = NULL;
    }
    return err;
}

static int rocks_multi_get(struct qv_kv *kv, const struct qv_kv_snapshot *snap, size_t n,
                           const struct qv_bytes *keys, struct qv_kv_value *out,
                           struct qv_errmsg *msg)
{
    size_t most = n < MULTI_GET_MAX ? n : MULTI_GET_MAX;
    struct multi m = {
        .keys = qv_mem_alloc(most * sizeof *m.keys),
        .lengths = qv_mem_alloc(most * sizeof *m.lengths),
        .values = qv_mem_alloc(most * sizeof(rocksdb_pinnableslice_t *)),
        .errs = qv_mem_alloc(most * sizeof *m.errs),
    };
    size_t done = 0;
    struct handle *h = NULL;
    int err = enter(rocks_of(kv), &h, msg);
    bool inside = err == 0;
    if (inside && snap != NULL)
        h = snap->handle;
    while (done < n && err == 0) {
        size_t part = n - done < most ? n - done : most;
        for (size_t i = 0; i < part; i++) {
            m.keys[i] = chars(keys[done + i]);
            m.lengths[i] = keys[done + i].n;
            m.values[i] = NULL;
            m.errs[i] = NULL;
        }
        err = multi_some(rocks_of(kv), h, snap, &m, part, msg);
        for (size_t i = 0; i < part; i++)
            value_set(&out[done + i], m.values[i]);
        done += part;
    }
    for (size_t i = 0; i < done && err != 0; i++)
        qv_kv_value_close(&out[i]);
    if (inside)
        leave(rocks_of(kv));
    qv_mem_free(m.keys);
    qv_mem_free(m.lengths);
    qv_mem_free(m.values);
    qv_mem_free(m.errs);
    return err;
}

static rocksdb_readoptions_t *read_options(void)
{
    rocksdb_readoptions_t *o = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(o, 1);
    return o;
}

static int rocks_snapshot(struct qv_kv *kv, struct qv_kv_snapshot **out)
{
    struct handle *h = NULL;
    int err = enter(rocks_of(kv), &h, NULL);
    if (err != 0)
        return err;
    struct qv_kv_snapshot *s = qv_mem_calloc(1, sizeof *s);
    s->handle = h;
    s->snap = rocksdb_create_snapshot(h->db);
    s->read = read_options();
    rocksdb_readoptions_set_snapshot(s->read, s->snap);
    *out = s;
    return 0;
}

static void rocks_snapshot_release(struct qv_kv *kv, struct qv_kv_snapshot *s)
{
    if (s == NULL)
        return;
    rocksdb_release_snapshot(s->handle->db, s->snap);
    rocksdb_readoptions_destroy(s->read);
    qv_mem_free(s);
    leave(rocks_of(kv));
}

static int rocks_iter_open(struct qv_kv *kv, const struct qv_kv_snapshot *snap,
                           struct qv_bytes lower, struct qv_bytes upper, struct qv_kv_iter **out)
{
    struct handle *h = NULL;
    int err = enter(rocks_of(kv), &h, NULL);
    *out = NULL;
    if (err != 0)
        return err;
    struct rocks_iter *it = qv_mem_calloc(1, sizeof *it);
    it->head.kv = kv;
    it->bounds = qv_mem_alloc(lower.n + upper.n + 1);
    it->read = read_options();
    rocksdb_readoptions_set_fill_cache(it->read, 0); /* a scan must not wash the cache out */
    if (snap != NULL)
        rocksdb_readoptions_set_snapshot(it->read, snap->snap);
    if (lower.n > 0) {
        memcpy(it->bounds, lower.p, lower.n);
        rocksdb_readoptions_set_iterate_lower_bound(it->read, (char *)it->bounds, lower.n);
    }
    if (upper.n > 0) {
        memcpy(it->bounds + lower.n, upper.p, upper.n);
        rocksdb_readoptions_set_iterate_upper_bound(it->read, (char *)it->bounds + lower.n,
                                                    upper.n);
    }
    it->it = rocksdb_create_iterator(snap != NULL ? snap->handle->db : h->db, it->read);
    rocksdb_iter_seek_to_first(it->it);
    it->fresh = true;
    *out = &it->head;
    return 0;
}

static void rocks_iter_seek(struct qv_kv_iter *iter, struct qv_bytes key)
{
    struct rocks_iter *it = (struct rocks_iter *)iter;
    rocksdb_iter_seek(it->it, chars(key), key.n);
    it->fresh = true;
}

static int rocks_iter_next(struct qv_kv_iter *iter, struct qv_bytes *key, struct qv_bytes *value,
                           struct qv_errmsg *msg)
{
    struct rocks_iter *it = (struct rocks_iter *)iter;
    if (!it->fresh && rocksdb_iter_valid(it->it))
        rocksdb_iter_next(it->it);
    it->fresh = false;
    if (!rocksdb_iter_valid(it->it)) {
        char *text = NULL;
        rocksdb_iter_get_error(it->it, &text);
        return text != NULL ? rocks_fail(rocks_of(iter->kv), text, msg) : QV_EEOF;
    }
    key->p = (const uint8_t *)rocksdb_iter_key(it->it, &key->n);
    value->p = (const uint8_t *)rocksdb_iter_value(it->it, &value->n);
    return 0;
}

static void rocks_iter_close(struct qv_kv_iter *iter)
{
    struct rocks_iter *it = (struct rocks_iter *)iter;
    rocksdb_iter_destroy(it->it);
    rocksdb_readoptions_destroy(it->read);
    qv_mem_free(it->bounds);
    leave(rocks_of(iter->kv));
    qv_mem_free(it);
}

static uint64_t rocks_disk_bytes(struct qv_kv *kv)
{
    uint64_t n = 0;
    struct handle *h = NULL;
    if (enter(rocks_of(kv), &h, NULL) != 0)
        return 0;
    if (rocksdb_property_int(h->db, "rocksdb.total-sst-files-size", &n) != 0)
        n = 0;
    leave(rocks_of(kv));
    return n;
}

/* A scan reads every data, index and range-delete block there is, whatever its level. */
static int rocks_verify(struct qv_kv *kv, struct qv_errmsg *msg)
{
    struct qv_kv_iter *it = NULL;
    struct qv_bytes none = {NULL, 0};
    struct qv_bytes key;
    struct qv_bytes value;
    int err = rocks_iter_open(kv, NULL, none, none, &it);
    while (err == 0)
        err = rocks_iter_next(it, &key, &value, msg);
    if (it != NULL)
        rocks_iter_close(it);
    return err == QV_EEOF ? 0 : err;
}

static int rocks_checkpoint(struct qv_kv *kv, const char *dir, struct qv_errmsg *msg)
{
    struct rocks *r = rocks_of(kv);
    char *text = NULL;
    struct handle *h = NULL;
    int err = enter(r, &h, msg);
    if (err != 0)
        return err;
    rocksdb_checkpoint_t *c = rocksdb_checkpoint_object_create(h->db, &text);
    if (text == NULL)
        rocksdb_checkpoint_create(c, dir, 0, &text);
    if (c != NULL)
        rocksdb_checkpoint_object_destroy(c);
    leave(r);
    return text != NULL ? rocks_fail(r, text, msg) : 0;
}

static void rocks_free(struct rocks *r)
{
    qv_mem_free(r->dir);
    qv_mem_free(r);
}

static int rocks_reopen(struct qv_kv *kv, struct qv_errmsg *msg)
{
    struct rocks *r = rocks_of(kv);
    int none = 0;
    int tries = 0;
    int err = probe(r, msg);
    if (err != 0)
        return err;
    r->lazy = false;
    if (r->read_only && atomic_load(&r->now) != NULL) /* nobody has to wait */
        return upgrade(r, msg);
    while (!atomic_compare_exchange_strong(&r->users, &none, ALONE)) {
        if (++tries == REOPEN_TRIES)
            return qv_fail(msg, QV_EBUSY, "%s is being read all the time", r->dir);
        none = 0;
        doze();
    }
    handle_close(r->before);
    handle_close(atomic_load(&r->now));
    r->before = NULL;
    char *text = db_open(r, false);
    if (text != NULL) {
        err = rocks_fail(r, text, msg);
        text = db_open(r, true); /* reads go on */
        rocksdb_free(text);
    }
    atomic_fetch_sub(&r->users, ALONE);
    return err;
}

static void rocks_close(struct qv_kv *kv)
{
    struct rocks *r = rocks_of(kv);
    QV_ASSERT(atomic_load(&r->users) == 0);
    handle_close(r->before);
    handle_close(atomic_load(&r->now));
    rocks_free(r);
}

static const struct qv_kv_ops rocks_ops = {
    .write = rocks_write,
    .flush = rocks_flush,
    .get = rocks_get,
    .multi_get = rocks_multi_get,
    .snapshot = rocks_snapshot,
    .snapshot_release = rocks_snapshot_release,
    .iter_open = rocks_iter_open,
    .iter_seek = rocks_iter_seek,
    .iter_next = rocks_iter_next,
    .iter_close = rocks_iter_close,
    .disk_bytes = rocks_disk_bytes,
    .verify = rocks_verify,
    .reopen = rocks_reopen,
    .checkpoint = rocks_checkpoint,
    .close = rocks_close,
};

static int open_store(struct qv_kv_driver *driver, const char *dir, bool create, bool read_only,
                      struct qv_kv **out, struct qv_errmsg *msg)
{
    char current[4096];
    *out = NULL;
    int n = snprintf(current, sizeof current, "%s/CURRENT", dir);
    if (n < 0 || n >= (int)sizeof current)
        return qv_fail(msg, QV_ETOOBIG, "path of %zu bytes", strlen(dir));
    bool there = access(current, F_OK) == 0;
    if (!there && !create)
        return qv_fail(msg, QV_ENOTFOUND, "no key-value store in %s", dir);
    struct rocks *r = qv_mem_calloc(1, sizeof *r);
    r->head.ops = &rocks_ops;
    r->driver = (struct rocks_driver *)driver;
    r->dir = qv_mem_strdup(dir);
    atomic_init(&r->users, 0);
    r->lazy = there && !read_only;
    char *text = db_open(r, read_only || there);
    if (text == NULL) {
        *out = &r->head;
        return 0;
    }
    bool lost = there && strstr(text, "No such file") != NULL;
    if (lost) {
        int err = QV_CORRUPT(msg, "%s: %s", dir, text);
        rocksdb_free(text);
        rocks_free(r);
        return err;
    }
    int err = rocks_fail(r, text, msg);
    rocks_free(r);
    return err;
}

static int driver_open(struct qv_kv_driver *driver, const char *dir, bool create,
                       struct qv_kv **out, struct qv_errmsg *msg)
{
    return open_store(driver, dir, create, false, out, msg);
}

static int driver_open_read_only(struct qv_kv_driver *driver, const char *dir, struct qv_kv **out,
                                 struct qv_errmsg *msg)
{
    return open_store(driver, dir, false, true, out, msg);
}

static int driver_destroy(struct qv_kv_driver *driver, const char *dir, struct qv_errmsg *msg)
{
    struct rocks_driver *d = (struct rocks_driver *)driver;
    char *text = NULL;
    if (access(dir, F_OK) != 0)
        return 0;
    rocksdb_destroy_db(d->options, dir, &text);
    int err = text != NULL ? qv_fail(msg, QV_EIO, "%s: %s", dir, text) : 0;
    rocksdb_free(text);
    if (err == 0 && access(dir, F_OK) == 0 && rmdir(dir) != 0)
        err = qv_fail(msg, QV_EIO, "%s holds files of somebody else", dir);
    return err;
}

static void table_set(struct rocks_driver *d)
{
    d->table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(d->table, d->cache);
    rocksdb_block_based_options_set_block_size(d->table, BLOCK_BYTES);
    rocksdb_block_based_options_set_format_version(d->table, 5);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(d->table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(d->table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(d->table, 1);
    rocksdb_block_based_options_set_filter_policy(d->table,
                                                  rocksdb_filterpolicy_create_bloom(BLOOM_BITS));
}

struct qv_kv_driver *qv_kv_rocks_create(const struct qv_kv_rocks_config *config)
{
    struct qv_kv_rocks_config c = config != NULL ? *config : (struct qv_kv_rocks_config){0};
    struct rocks_driver *d = qv_mem_calloc(1, sizeof *d);
    d->head.open = driver_open;
    d->head.open_read_only = driver_open_read_only;
    d->head.destroy = driver_destroy;
    rocksdb_lru_cache_options_t *lru = rocksdb_lru_cache_options_create();
    rocksdb_lru_cache_options_set_capacity(lru, c.cache_bytes != 0 ? c.cache_bytes
                                                                   : CACHE_BYTES_DEFAULT);
    rocksdb_lru_cache_options_set_num_shard_bits(lru, 2);
    d->cache = rocksdb_cache_create_lru_opts(lru);
    rocksdb_lru_cache_options_destroy(lru);
    table_set(d);
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_paranoid_checks(o, 1);
    rocksdb_options_set_block_based_table_factory(o, d->table);
    rocksdb_options_set_compression(o, rocksdb_lz4_compression);
    rocksdb_options_set_write_buffer_size(o, c.write_buffer_bytes != 0 ? c.write_buffer_bytes
                                                                       : WRITE_BUFFER_DEFAULT);
    rocksdb_options_set_max_write_buffer_number(o, 2);
    rocksdb_options_set_max_open_files(o, c.open_files_max != 0 ? c.open_files_max
                                                                : OPEN_FILES_DEFAULT);
    rocksdb_options_set_max_background_jobs(o, 2);
    rocksdb_options_set_level0_file_num_compaction_trigger(o, 8);
    rocksdb_options_set_skip_stats_update_on_db_open(o, 1);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    /* Its diary (LOG) gets what an open writes and nothing after that: one more line to a file that
     * met a full disk ends the process (an assertion, on in Debian's build). */
    rocksdb_options_set_info_log_level(o, 5);
    rocksdb_options_set_keep_log_file_num(o, 2);
    rocksdb_options_set_max_log_file_size(o, (size_t)1 << 20);
    d->options = o;
    d->read = read_options();
    d->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(d->write, 1);
    d->flush = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(d->flush, 1);
    return &d->head;
}

void qv_kv_rocks_destroy(struct qv_kv_driver **driver)
{
    struct rocks_driver *d = (struct rocks_driver *)*driver;
    if (d == NULL)
        return;
    rocksdb_flushoptions_destroy(d->flush);
    rocksdb_writeoptions_destroy(d->write);
    rocksdb_readoptions_destroy(d->read);
    rocksdb_options_destroy(d->options);
    rocksdb_block_based_options_destroy(d->table);
    rocksdb_cache_destroy(d->cache);
    qv_mem_free(d);
    *driver = NULL;
}
