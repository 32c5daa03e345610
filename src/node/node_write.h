/* A write request over the shards of its collection: split by who owns its points, prepared and
 * submitted shard by shard, answered as one.
 *
 * Of every operation each shard gets its own points or ids; an operation by a filter goes to all.
 * Within a shard the operations keep their order; between shards they have none, and nothing is
 * atomic over several of them: a failure of one shard stops that shard's later operations only, and
 * the answer names the first operation that failed anywhere. */
#ifndef QV_NODE_NODE_WRITE_H
#define QV_NODE_NODE_WRITE_H

#include "node/node.h"

struct qv_node_write;
/* On the owner, once. err as in qv_write_done_f; results, failed_op and msg are set. */
typedef void (*qv_node_write_done_f)(struct qv_node_write *w, int err);

struct qv_write_part; /* one shard's share */

/* Embedded in the caller's call, valid until done; all zeros but for the first six to begin with.
 */
struct qv_node_write {
    struct qv_node *node;
    const struct qv_collection *collection; /* of a topology that is held until done */
    const struct qv_write_req *req;         /* borrowed until done */
    struct qv_arena *arena;                 /* the request's; taken from until done */
    qv_node_write_done_f done;
    void *arg;
    struct qv_write_result *results; /* one per op, in the arena */
    uint32_t failed_op;              /* on an error: which op */
    struct qv_errmsg msg;
    /* node's */
    struct qv_write_part *parts;
    uint32_t part_count, open;
    int err;
};

/* Splits the request and prepares every part. Any thread. Errors as qv_write_prepare; then nothing
 * is kept and done is not called. */
QV_MUST_USE int qv_node_write_prepare(struct qv_node_write *w);
/* Any thread. done is always called, later, on the owner. */
void qv_node_write_submit(struct qv_node_write *w);

#endif
