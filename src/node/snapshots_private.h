/* Private to src/node: what the files of snapshots share. */
#ifndef QV_NODE_SNAPSHOTS_PRIVATE_H
#define QV_NODE_SNAPSHOTS_PRIVATE_H

#include "node/node_private.h"
#include "node/snapshots.h"
#include "shard/shard_snapshot.h"

#define QV_SNAPSHOT_TMP ":tmp" /* no collection can have that name */
#define QV_SNAPSHOT_SLICE_BYTES ((uint64_t)4 << 20)

/* Parts that the node writes; the others are the shards' (shard/shard_snapshot.h). */
enum qv_node_part {
    /* u32 format, u32 name bytes, name, uuid, format 2: u32 shards and the number of each,
     * ascending; configuration JSON. Format 1: the one shard number 0. Its owner is the first
     * shard's, the others' are the next ones. */
    QV_NODE_PART_COLLECTION = 1,
    QV_NODE_PART_ALIASES = 2 /* the metadata's record of them (node_alias.c) */
};
#define QV_NODE_PART_FORMAT_ONE 1u /* what older versions read */
#define QV_NODE_PART_FORMAT 2u

/* The directory of a scope. QV_ETOOBIG. */
QV_MUST_USE int qv_snapshot_dir(const struct qv_node *n, const struct qv_snapshot_scope *scope,
                                char *out);
/* QV_ENOTIMPL unless all shards of the collection lie on this node. */
QV_MUST_USE int qv_snapshot_check_here(struct qv_node *n, const struct qv_collection *c,
                                       struct qv_errmsg *msg);
QV_MUST_USE int qv_snapshot_check_enabled(const struct qv_node *n, struct qv_errmsg *msg);

/* ---- slices: what both kinds of task run on ---- */

/* A job on the IO threads, again and again, not faster than the node's rate. */
struct qv_slices {
    struct qv_node *n;
    /* One slice; *bytes: what it moved, for the rate. In a job. */
    int (*slice)(void *arg, uint64_t *bytes);
    /* After it, on the owner: goes on with qv_slices_next, or not. */
    void (*after)(void *arg, int err);
    void *arg;
    struct qv_job job;
    struct qv_timer timer;
    uint64_t started_ns;
    uint64_t bytes;
    int err;
};
/* Owner. Runs slice, then after. */
void qv_slices_next(struct qv_slices *s);

/* Owner: counts tasks; QV_EBUSY, QV_EUNAVAILABLE. */
QV_MUST_USE int qv_snapshot_task_begin(struct qv_node *n, struct qv_errmsg *msg);
void qv_snapshot_task_end(struct qv_node *n);

#endif
