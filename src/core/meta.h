/* Cluster metadata: a small ordered store of records by key, changed by compare-and-set.
 *
 * Which collections and shards there are, and where: never points, progress, load or liveness. On
 * one node it is a file (meta/meta_file.h); in a cluster etcd's v3 API stands behind the same
 * calls. Every change is one transaction that compares the epoch it was made from, so that a
 * repeated attempt after an unknown outcome can't do harm.
 *
 * Keys: at most 256 bytes, values at most 1 MiB, 10,000 keys. Calls block. One thread at a time. */
#ifndef QV_CORE_META_H
#define QV_CORE_META_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define QV_META_KEY_BYTES_MAX 256u
#define QV_META_VALUE_BYTES_MAX (1u << 20)
#define QV_META_KEYS_MAX 10000u

struct qv_meta;

struct qv_meta_change {
    const char *key;
    struct qv_bytes value; /* p == NULL: remove the key */
};

typedef int (*qv_meta_visit_f)(void *arg, const char *key, struct qv_bytes value);

struct qv_meta_ops {
    int (*txn)(struct qv_meta *m, uint64_t epoch, const struct qv_meta_change *changes, size_t n,
               struct qv_errmsg *msg);
    int (*list)(struct qv_meta *m, const char *prefix, qv_meta_visit_f visit, void *arg);
    void (*close)(struct qv_meta *m);
};

struct qv_meta {
    const struct qv_meta_ops *ops;
    uint64_t epoch; /* of the newest transaction known here; +1 with each */
};

/* Applies all changes and moves the epoch on, or nothing: QV_ESTALE when the epoch is not `epoch`
 * any more. 0: durable. */
QV_MUST_USE static inline int qv_meta_txn(struct qv_meta *m, uint64_t epoch,
                                          const struct qv_meta_change *changes, size_t n,
                                          struct qv_errmsg *msg)
{
    return m->ops->txn(m, epoch, changes, n, msg);
}
/* Every key that begins with prefix, ascending; borrowed for the call. A result of visit other than
 * 0 ends the walk, which returns it. */
QV_MUST_USE static inline int qv_meta_list(struct qv_meta *m, const char *prefix,
                                           qv_meta_visit_f visit, void *arg)
{
    return m->ops->list(m, prefix, visit, arg);
}
static inline void qv_meta_close(struct qv_meta *m) /* takes m; NULL is fine */
{
    if (m != NULL)
        m->ops->close(m);
}

#endif
