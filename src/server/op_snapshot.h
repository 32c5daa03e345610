/* Operations on snapshots: decoding REST's, running them, answering downloads. */
#ifndef QV_SERVER_OP_SNAPSHOT_H
#define QV_SERVER_OP_SNAPSHOT_H

#include "server/op.h"

static inline bool qv_op_is_snapshot(enum qv_op_kind kind)
{
    return kind >= QV_OP_SNAPSHOT_LIST && kind <= QV_OP_SNAPSHOT_UPLOAD;
}

/* On a worker. */
QV_MUST_USE int qv_op_decode_snapshot(struct qv_op *op);
/* On a worker, once decoded; answers, now or later. */
void qv_op_run_snapshot(struct qv_op *op);
/* GET, STREAM: the file as the answer. */
void qv_op_answer_snapshot_file(struct qv_op *op);
/* on_headers, for these kinds only: the time they may take; an upload's body goes to a file. */
void qv_op_prepare_snapshot(struct qv_edge *edge, struct qv_call *call, bool upload);

#endif
