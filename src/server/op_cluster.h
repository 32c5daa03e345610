/* What a cluster tells of itself, and operations whose answer needs what other nodes say: asked on
 * the owner, answered on a worker. */
#ifndef QV_SERVER_OP_CLUSTER_H
#define QV_SERVER_OP_CLUSTER_H

#include "node/node_survey.h"
#include "server/op.h"

/* Does the op need a survey? op->topology is held. */
bool qv_op_is_survey(const struct qv_op *op);
/* Runs and answers it; or a cluster's operation on a node alone. On a worker. */
void qv_op_run_survey(struct qv_op *op);
/* Frees what its answer borrowed. NULL is fine. */
void qv_op_close_survey(struct qv_node_survey **s);

/* cluster_answer.c: results as JSON. */
void qv_cluster_write(struct qv_op *op, struct qv_buf *b);            /* GET /cluster */
void qv_cluster_write_status(struct qv_op *op, struct qv_buf *b);     /* GET /cluster/status */
void qv_cluster_write_telemetry(struct qv_op *op, struct qv_buf *b);  /* GET /cluster/telemetry */
void qv_cluster_write_collection(struct qv_op *op, struct qv_buf *b); /* .../{c}/cluster */

/* The last over gRPC: a CollectionClusterInfoResponse. */
void qv_cluster_answer_collection(struct qv_op *op, struct qv_buf *b, double seconds);

#endif
