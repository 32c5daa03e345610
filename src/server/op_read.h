/* Reads of collections of several shards: asked on the owner, answered on a worker. */
#ifndef QV_SERVER_OP_READ_H
#define QV_SERVER_OP_READ_H

#include "server/op.h"

/* Is it a read of points of a collection that has several shards? op->topology is held. */
bool qv_op_is_spread(const struct qv_op *op);
/* Runs and answers it. On a worker. */
void qv_op_run_spread(struct qv_op *op);
/* Frees what its answer borrowed. NULL is fine. */
void qv_op_close_spread(struct qv_node_read **r);

#endif
