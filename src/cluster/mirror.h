/* A copy of the metadata's records, and the tree that they make.
 *
 * A node folds what it lists and watches into its mirror, batch by batch, and gets the next tree,
 * which shares with the one before what did not change. The mirror is also what a node keeps on
 * disk to start from when the metadata is away, and what it gives to a peer that is behind.
 *
 * One thread. */
#ifndef QV_CLUSTER_MIRROR_H
#define QV_CLUSTER_MIRROR_H

#include "cluster/tree_record.h"

struct qv_mirror;

struct qv_mirror_entry {
    const char *key;
    struct qv_bytes value; /* p NULL: the key goes */
};

struct qv_mirror *qv_mirror_create(void); /* empty, epoch 0. Gives */
void qv_mirror_destroy(struct qv_mirror **m);

/* All it holds from now on: keys ascending. What differs from before is noted for the next tree. */
void qv_mirror_replace(struct qv_mirror *m, const struct qv_mirror_entry *entries, uint32_t count);
void qv_mirror_put(struct qv_mirror *m, const struct qv_mirror_entry *entry);

/* p NULL: there is none. Borrowed until the next change. */
struct qv_bytes qv_mirror_get(const struct qv_mirror *m, const char *key);
uint32_t qv_mirror_count(const struct qv_mirror *m);
/* The i-th, ascending by key; borrowed until the next change. */
struct qv_mirror_entry qv_mirror_at(const struct qv_mirror *m, uint32_t i);
/* Is there something that the last tree lacks? A record that goes with its lease has no epoch. */
bool qv_mirror_is_dirty(const struct qv_mirror *m);
uint64_t qv_mirror_epoch(const struct qv_mirror *m);      /* 0: not known */
uint64_t qv_mirror_controller(const struct qv_mirror *m); /* 0: none */

/* The tree of what it holds; unchanged parts are before's own. Gives a reference. QV_ECORRUPT names
 * the key: a record that can't be read, or a shard without a collection. Nothing is lost then: the
 * next call tries again. */
QV_MUST_USE int qv_mirror_tree(struct qv_mirror *m, const struct qv_topology *before,
                               const struct qv_topology **out, struct qv_errmsg *msg);

/* All of it as bytes, and back: { u32 count, count x { u16 key bytes, u32 value bytes, key, value }
 * }. QV_ECORRUPT: nothing was changed. */
void qv_mirror_encode(const struct qv_mirror *m, struct qv_buf *b);
QV_MUST_USE int qv_mirror_decode(struct qv_mirror *m, struct qv_bytes bytes, struct qv_errmsg *msg);

#endif
