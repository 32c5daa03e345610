/* A write request over the shards of its collection: split by who owns its points, prepared here or
 * sent to where the shard lies, answered as one.
 *
 * Of every operation each shard gets its own points or ids; an operation by a filter goes to all.
 * Within a shard the operations keep their order; between shards they have none, and nothing is
 * atomic over several of them: a failure of one shard stops that shard's later operations only, and
 * the answer names the first operation that failed anywhere. What every shard would refuse (a
 * vector of another size) is refused before anything is done.
 *
 * What was certainly not done (the shard lies elsewhere by now, its node is away) is tried again
 * until the deadline, from the tree as it is then; what may have been done never is:
 * QV_EUNKNOWN. */
#ifndef QV_NODE_NODE_WRITE_H
#define QV_NODE_NODE_WRITE_H

#include "node/node.h"

struct qv_node_write;
/* On the owner, once. err as in qv_write_done_f; results, failed_op and msg are set. */
typedef void (*qv_node_write_done_f)(struct qv_node_write *w, int err);

struct qv_write_part;    /* one shard's share */
struct qv_write_message; /* what goes to one node */

/* Embedded in the caller's call, valid until done; all zeros but for the first seven to begin
 * with. */
struct qv_node_write {
    struct qv_node *node;
    const struct qv_collection *collection; /* of a topology that is held until done */
    const struct qv_write_req *req;         /* borrowed until done */
    struct qv_arena *arena;                 /* the request's; taken from until done */
    uint64_t deadline_ns;                   /* mono; unused by a node alone */
    qv_node_write_done_f done;
    void *arg;
    struct qv_write_result *results; /* one per op, in the arena */
    uint32_t failed_op;              /* on an error: which op */
    struct qv_errmsg msg;
    /* node's */
    struct qv_write_part *parts;
    struct qv_write_message *messages;
    uint32_t part_count, message_count, open;
    int err;
    struct qv_task task;
    struct qv_timer again;
    const struct qv_topology *topology; /* of an attempt after the first: held */
};

/* Splits the request and prepares every part. Any thread. Errors as qv_write_prepare; then nothing
 * is kept and done is not called. */
QV_MUST_USE int qv_node_write_prepare(struct qv_node_write *w);
/* Any thread. done is always called, later, on the owner. */
void qv_node_write_submit(struct qv_node_write *w);

#endif
