#include "server/op_cluster.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "server/edge.h"

static bool of_collection(enum qv_op_kind kind)
{
    return kind == QV_OP_COLLECTION_GET || kind == QV_OP_OPTIMIZATIONS ||
           kind == QV_OP_COLLECTION_CLUSTER;
}

bool qv_op_is_survey(const struct qv_op *op)
{
    if (op->kind >= QV_OP_CLUSTER && op->kind <= QV_OP_COLLECTION_CLUSTER)
        return true;
    return of_collection(op->kind) && qv_node_in_cluster(qv_edge_node(op->edge));
}

static int take_result(struct qv_op *op)
{
    switch (op->kind) {
    case QV_OP_COLLECTION_GET:
        return qv_node_survey_collection(op->survey, &op->call->arena, &op->out.info, &op->msg);
    case QV_OP_OPTIMIZATIONS:
        qv_node_survey_sum(op->survey, &op->out.shard);
        return 0;
    default:
        return 0; /* in the encoding */
    }
}

static void survey_done(struct qv_node_survey *s, bool on_owner)
{
    struct qv_op *op = s->arg;
    op->call->keep_plain = on_owner;
    qv_op_answer(op, take_result(op));
}

/* Of a node alone only what its clients ask to find out that it is. */
static int answer_alone(struct qv_op *op)
{
    if (op->kind == QV_OP_CLUSTER || op->kind == QV_OP_COLLECTION_CLUSTER)
        return 0;
    return qv_fail(&op->msg, QV_EMETHOD, "This node is not one of a cluster");
}

void qv_op_run_survey(struct qv_op *op)
{
    struct qv_node *n = qv_edge_node(op->edge);
    const struct qv_collection *c = NULL;
    int err = 0;
    if (of_collection(op->kind)) {
        c = qv_topology_find(op->topology, op->collection);
        err = c == NULL ? qv_node_missing(op->collection, &op->msg) : 0;
    }
    if (err == 0 && !qv_node_in_cluster(n))
        err = answer_alone(op);
    if (err != 0 || !qv_node_in_cluster(n) || op->kind == QV_OP_CLUSTER_RECOVER) {
        op->out.done = true;
        qv_op_answer(op, err);
        return;
    }
    QV_ASSERT(op->survey == NULL);
    op->survey = qv_mem_calloc(1, sizeof *op->survey);
    op->survey->node = n;
    op->survey->topology = op->topology;
    op->survey->collection = c;
    op->survey->fields = op->kind == QV_OP_COLLECTION_GET;
    op->survey->quiet = op->kind == QV_OP_CLUSTER;
    op->survey->deadline_ns = op->call->deadline_ns;
    op->survey->done = survey_done;
    op->survey->arg = op;
    qv_node_survey_start(op->survey);
}

void qv_op_close_survey(struct qv_node_survey **s)
{
    if (*s == NULL)
        return;
    qv_node_survey_close(*s);
    qv_mem_free(*s);
    *s = NULL;
}
