/* A node's own records: a small ordered store of values by key, changed by compare-and-set.
 *
 * Which collections and shards this node has, its numbers, its quotas: what it must know at its
 * start, before anything else answers. A file (storage/records_file.h). What a cluster agrees on is
 * not here but in core/meta.h. Every change is one transaction that compares the epoch it was made
 * from, so that a repeated attempt can't do harm.
 *
 * Keys: at most 256 bytes, values a little over 1 MiB, 10,000 keys. Calls block. One thread at a
 * time. */
#ifndef QV_CORE_RECORDS_H
#define QV_CORE_RECORDS_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define QV_RECORDS_KEY_BYTES_MAX 256u
#define QV_RECORDS_VALUE_BYTES_MAX ((1u << 20) + 64) /* a mebibyte and what is kept beside it */
#define QV_RECORDS_KEYS_MAX 10000u

struct qv_records;

struct qv_records_change {
    const char *key;
    struct qv_bytes value; /* p == NULL: remove the key */
};

typedef int (*qv_records_visit_f)(void *arg, const char *key, struct qv_bytes value);

struct qv_records_ops {
    int (*txn)(struct qv_records *r, uint64_t epoch, const struct qv_records_change *changes,
               size_t n, struct qv_errmsg *msg);
    int (*list)(struct qv_records *r, const char *prefix, qv_records_visit_f visit, void *arg);
    void (*close)(struct qv_records *r);
};

struct qv_records {
    const struct qv_records_ops *ops;
    uint64_t epoch; /* of the newest transaction known here; +1 with each */
};

/* Applies all changes and moves the epoch on, or nothing: QV_ESTALE when the epoch is not `epoch`
 * any more. 0: durable. */
QV_MUST_USE static inline int qv_records_txn(struct qv_records *r, uint64_t epoch,
                                             const struct qv_records_change *changes, size_t n,
                                             struct qv_errmsg *msg)
{
    return r->ops->txn(r, epoch, changes, n, msg);
}
/* Every key that begins with prefix, ascending; borrowed for the call. A result of visit other than
 * 0 ends the walk, which returns it. */
QV_MUST_USE static inline int qv_records_list(struct qv_records *r, const char *prefix,
                                              qv_records_visit_f visit, void *arg)
{
    return r->ops->list(r, prefix, visit, arg);
}
static inline void qv_records_close(struct qv_records *r) /* takes r; NULL is fine */
{
    if (r != NULL)
        r->ops->close(r);
}

#endif
