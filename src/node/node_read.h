/* A read of a collection's points, over all of its shards: the view, the machine of src/query, and
 * this node's shards as its leaf. Collections of one shard don't come this way: they are read on
 * the worker that decoded the request (src/server/op_run.c). */
#ifndef QV_NODE_NODE_READ_H
#define QV_NODE_NODE_READ_H

#include "node/node.h"
#include "query/reader.h"

struct qv_node_read;
/* Once, on a compute worker, where what was read may be encoded; on the owner when the workers'
 * queue is full. err 0: r->read.result; otherwise r->read.msg says why. */
typedef void (*qv_node_read_done_f)(struct qv_node_read *r, int err, bool on_owner);

/* All zeros but for the first six to begin with; valid until closed. */
struct qv_node_read {
    struct qv_node *node;
    const struct qv_collection *collection; /* of a topology that is held until closed */
    struct qv_read_what what;               /* borrowed until closed */
    struct qv_stop stop;                    /* asked on workers and the owner */
    uint64_t deadline_ns;                   /* mono */
    qv_node_read_done_f done;
    void *arg;
    /* the node's */
    struct qv_arena arena; /* the view's */
    struct qv_view view;
    struct qv_read read;
    struct qv_view newer;      /* what a leaf knew a newer record for */
    struct qv_node_held *held; /* the trees of newer views: legs borrow from each */
    struct qv_task task;
    struct qv_job job;
    int err;
};

/* Any thread. done is always called, later. */
void qv_node_read_start(struct qv_node_read *r);
/* After done: frees the result. Any thread. */
void qv_node_read_close(struct qv_node_read *r);

#endif
