/* An ordered store of bytes by key, for what a checkpoint holds: payloads, versions, ids.
 *
 * Real: storage/kv_rocks.h over RocksDB without its own log; its twin for the simulator:
 * io/sim_kv.h. Both pass one conformance suite (test/unit/storage/test_kv.c).
 *
 * Durability: a batch is applied whole or not at all and is visible at once; it is durable after
 * qv_kv_flush, and then so is every batch before it. A crash before the flush loses batches from
 * the last one backwards, never a part of one (a store may also have flushed by itself). The
 * caller's log is the log.
 *
 * After a failed write or flush the store takes no more of either, whatever the disk does: reads go
 * on. qv_kv_reopen gives up what is not durable and makes it writable again.
 *
 * Bytes that fail their checksum give QV_ECORRUPT (reported through QV_CORRUPT), never other data;
 * after that the store must be given up: later calls may fail the same way.
 *
 * Threads: get, multi_get, snapshots, iterators and sizes on any thread at once; write and flush by
 * one thread at a time. All calls block on the disk. Keys 1 .. 1024 bytes, ordered as bytes
 * (memcmp, then length); values 0 .. 64 MiB. */
#ifndef QV_CORE_KV_H
#define QV_CORE_KV_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define QV_KV_KEY_BYTES_MAX 1024u
#define QV_KV_VALUE_BYTES_MAX (64u << 20)

struct qv_kv;
struct qv_kv_driver;

/* A list of puts and deletes, applied in order. Plain data: usable with every store.
 * Format inside: u8 op, u32 key bytes, u32 value bytes, key, value. */
struct qv_kv_batch {
    struct qv_buf ops;
    uint64_t count;
};
enum qv_kv_op { QV_KV_PUT = 1, QV_KV_DELETE = 2, QV_KV_DELETE_RANGE = 3 };

void qv_kv_batch_init(struct qv_kv_batch *b);
void qv_kv_batch_close(struct qv_kv_batch *b);
void qv_kv_batch_clear(struct qv_kv_batch *b);
/* Copies. Without memory or beyond the limits the batch is failed and its write gives QV_ENOMEM. */
void qv_kv_batch_put(struct qv_kv_batch *b, struct qv_bytes key, struct qv_bytes value);
void qv_kv_batch_delete(struct qv_kv_batch *b, struct qv_bytes key);
/* from <= key < to */
void qv_kv_batch_delete_range(struct qv_kv_batch *b, struct qv_bytes from, struct qv_bytes to);
/* Walks a batch: false at its end. Borrowed from the batch. */
bool qv_kv_batch_next(const struct qv_kv_batch *b, size_t *pos, enum qv_kv_op *op,
                      struct qv_bytes *key, struct qv_bytes *value);

/* A value read from the store; owns its bytes until qv_kv_value_close (which a zeroed one
 * survives). p == NULL: no such key. */
struct qv_kv_value {
    const uint8_t *p;
    size_t n;
    void *owner;                  /* the store's */
    void (*release)(void *owner); /* the store's */
};
static inline void qv_kv_value_close(struct qv_kv_value *v)
{
    if (v->release != NULL)
        v->release(v->owner);
    *v = (struct qv_kv_value){0};
}

struct qv_kv_snapshot; /* a moment's contents: iteration while batches go on */
struct qv_kv_iter;

struct qv_kv_ops {
    int (*write)(struct qv_kv *kv, const struct qv_kv_batch *b, struct qv_errmsg *msg);
    int (*flush)(struct qv_kv *kv, struct qv_errmsg *msg);
    int (*get)(struct qv_kv *kv, const struct qv_kv_snapshot *snap, struct qv_bytes key,
               struct qv_kv_value *out, struct qv_errmsg *msg);
    int (*multi_get)(struct qv_kv *kv, const struct qv_kv_snapshot *snap, size_t n,
                     const struct qv_bytes *keys, struct qv_kv_value *out, struct qv_errmsg *msg);
    int (*snapshot)(struct qv_kv *kv, struct qv_kv_snapshot **out);
    void (*snapshot_release)(struct qv_kv *kv, struct qv_kv_snapshot *snap);
    int (*iter_open)(struct qv_kv *kv, const struct qv_kv_snapshot *snap, struct qv_bytes lower,
                     struct qv_bytes upper, struct qv_kv_iter **out);
    void (*iter_seek)(struct qv_kv_iter *it, struct qv_bytes key);
    int (*iter_next)(struct qv_kv_iter *it, struct qv_bytes *key, struct qv_bytes *value,
                     struct qv_errmsg *msg);
    void (*iter_close)(struct qv_kv_iter *it);
    uint64_t (*disk_bytes)(struct qv_kv *kv);
    int (*verify)(struct qv_kv *kv, struct qv_errmsg *msg);
    int (*reopen)(struct qv_kv *kv, struct qv_errmsg *msg);
    int (*checkpoint)(struct qv_kv *kv, const char *dir, struct qv_errmsg *msg);
    void (*close)(struct qv_kv *kv);
};
struct qv_kv {
    const struct qv_kv_ops *ops;
};
struct qv_kv_iter {
    struct qv_kv *kv;
};

/* Opens stores; one driver a node (its caches are shared by all its stores). */
struct qv_kv_driver {
    int (*open)(struct qv_kv_driver *d, const char *dir, bool create, struct qv_kv **out,
                struct qv_errmsg *msg);
    int (*open_read_only)(struct qv_kv_driver *d, const char *dir, struct qv_kv **out,
                          struct qv_errmsg *msg);
    int (*destroy)(struct qv_kv_driver *d, const char *dir, struct qv_errmsg *msg);
};

/* Opens the store in dir. create: a missing one is made; otherwise QV_ENOTFOUND. QV_ECORRUPT names
 * the file. Gives; end with qv_kv_close. The driver must outlive it. */
QV_MUST_USE static inline int qv_kv_open(struct qv_kv_driver *d, const char *dir, bool create,
                                         struct qv_kv **out, struct qv_errmsg *msg)
{
    return d->open(d, dir, create, out, msg);
}
/* As open of a store that is there, without changing a byte of it. Writes and flushes are refused
 * until qv_kv_reopen. */
QV_MUST_USE static inline int qv_kv_open_read_only(struct qv_kv_driver *d, const char *dir,
                                                   struct qv_kv **out, struct qv_errmsg *msg)
{
    return d->open_read_only(d, dir, out, msg);
}
/* Removes a closed store with all its files; a missing one is fine. */
QV_MUST_USE static inline int qv_kv_destroy(struct qv_kv_driver *d, const char *dir,
                                            struct qv_errmsg *msg)
{
    return d->destroy(d, dir, msg);
}

QV_MUST_USE static inline int qv_kv_write(struct qv_kv *kv, const struct qv_kv_batch *b,
                                          struct qv_errmsg *msg)
{
    return kv->ops->write(kv, b, msg);
}
QV_MUST_USE static inline int qv_kv_flush(struct qv_kv *kv, struct qv_errmsg *msg)
{
    return kv->ops->flush(kv, msg);
}
/* snap NULL: the newest. out->p == NULL when there is no such key (a result of 0 all the same); an
 * empty value has p != NULL, n == 0. */
QV_MUST_USE static inline int qv_kv_get(struct qv_kv *kv, const struct qv_kv_snapshot *snap,
                                        struct qv_bytes key, struct qv_kv_value *out,
                                        struct qv_errmsg *msg)
{
    return kv->ops->get(kv, snap, key, out, msg);
}
/* out[i] as qv_kv_get; on an error none of out needs closing. Cheaper than n gets. */
QV_MUST_USE static inline int qv_kv_multi_get(struct qv_kv *kv, const struct qv_kv_snapshot *snap,
                                              size_t n, const struct qv_bytes *keys,
                                              struct qv_kv_value *out, struct qv_errmsg *msg)
{
    return kv->ops->multi_get(kv, snap, n, keys, out, msg);
}
/* Gives; release before the store is closed. */
QV_MUST_USE static inline int qv_kv_snapshot(struct qv_kv *kv, struct qv_kv_snapshot **out)
{
    return kv->ops->snapshot(kv, out);
}
static inline void qv_kv_snapshot_release(struct qv_kv *kv, struct qv_kv_snapshot *snap)
{
    kv->ops->snapshot_release(kv, snap);
}
/* Keys in [lower, upper) in order; an empty upper: no bound. Sees snap, or with NULL the contents
 * at this call. The bounds are copied. Gives; close before the store (and the snapshot) goes. */
QV_MUST_USE static inline int qv_kv_iter_open(struct qv_kv *kv, const struct qv_kv_snapshot *snap,
                                              struct qv_bytes lower, struct qv_bytes upper,
                                              struct qv_kv_iter **out)
{
    return kv->ops->iter_open(kv, snap, lower, upper, out);
}
/* The next step gives the first key >= key (and >= lower). */
static inline void qv_kv_iter_seek(struct qv_kv_iter *it, struct qv_bytes key)
{
    it->kv->ops->iter_seek(it, key);
}
/* QV_EEOF at the end. Key and value are borrowed until the next call on this iterator. */
QV_MUST_USE static inline int qv_kv_iter_next(struct qv_kv_iter *it, struct qv_bytes *key,
                                              struct qv_bytes *value, struct qv_errmsg *msg)
{
    return it->kv->ops->iter_next(it, key, value, msg);
}
static inline void qv_kv_iter_close(struct qv_kv_iter *it)
{
    if (it != NULL)
        it->kv->ops->iter_close(it);
}
/* Of its files, roughly; flushed data only. */
static inline uint64_t qv_kv_disk_bytes(struct qv_kv *kv)
{
    return kv->ops->disk_bytes(kv);
}
/* Reads everything and verifies every checksum: QV_ECORRUPT names the file. Slow. */
QV_MUST_USE static inline int qv_kv_verify(struct qv_kv *kv, struct qv_errmsg *msg)
{
    return kv->ops->verify(kv, msg);
}
/* After a failed write or flush: the store is what its files hold, and takes writes. Waits for
 * iterators and snapshots to be closed, some seconds at most (QV_EBUSY). On an error reads go on as
 * far as they can; ask again later. By the writing thread. */
QV_MUST_USE static inline int qv_kv_reopen(struct qv_kv *kv, struct qv_errmsg *msg)
{
    return kv->ops->reopen(kv, msg);
}
/* A copy of the flushed contents as a store of its own in dir (which must not exist), by hard links
 * where it can. Writes may go on. */
QV_MUST_USE static inline int qv_kv_checkpoint(struct qv_kv *kv, const char *dir,
                                               struct qv_errmsg *msg)
{
    return kv->ops->checkpoint(kv, dir, msg);
}
/* Takes kv; NULL is fine. Does not flush. */
static inline void qv_kv_close(struct qv_kv *kv)
{
    if (kv != NULL)
        kv->ops->close(kv);
}

#endif
