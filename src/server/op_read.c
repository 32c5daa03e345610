#include "server/op_read.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "server/edge.h"
#include "server/upkeep.h"

bool qv_op_is_spread(const struct qv_op *op)
{
    if (op->kind != QV_OP_GET && op->kind != QV_OP_GET_ONE &&
        (op->kind < QV_OP_SCROLL || op->kind > QV_OP_SEARCH_BATCH))
        return false;
    const struct qv_collection *c = qv_topology_find(op->topology, op->collection);
    return c != NULL && (c->shard_count > 1 || op->shard == NULL);
}

static struct qv_read_what what_of(const struct qv_op *op)
{
    switch (op->kind) {
    case QV_OP_GET:
    case QV_OP_GET_ONE:
        return (struct qv_read_what){QV_READ_GET, {.get = &op->req.get}};
    case QV_OP_SCROLL:
        return (struct qv_read_what){QV_READ_SCROLL, {.scroll = &op->req.scroll}};
    case QV_OP_COUNT:
        return (struct qv_read_what){QV_READ_COUNT, {.count = &op->req.count}};
    case QV_OP_FACET:
        return (struct qv_read_what){QV_READ_FACET, {.facet = &op->req.facet}};
    default:
        return (struct qv_read_what){QV_READ_QUERY, {.query = &op->req.query}};
    }
}

static int take_result(struct qv_op *op, const struct qv_read_result *result)
{
    char text[QV_ID_TEXT_MAX];
    switch (op->kind) {
    case QV_OP_GET_ONE:
        if (result->out.points.count == 0) {
            qv_id_format(&op->req.get.ids[0], text);
            return qv_fail(&op->msg, QV_ENOTFOUND, "Point with id %s does not exists!", text);
        }
        op->out.points = result->out.points;
        return 0;
    case QV_OP_GET:
        op->out.points = result->out.points;
        return 0;
    case QV_OP_SCROLL:
        op->out.scroll = result->out.scroll;
        return 0;
    case QV_OP_COUNT:
        op->out.count = result->out.count;
        return 0;
    case QV_OP_FACET:
        op->out.facet = result->out.facet;
        return 0;
    default:
        op->out.lists = result->out.lists;
        return 0;
    }
}

static void read_done(struct qv_node_read *r, int err, bool on_owner)
{
    struct qv_op *op = r->arg;
    if (err == 0)
        err = take_result(op, &r->read.result);
    else
        op->msg = r->read.msg;
    op->call->keep_plain = on_owner;
    qv_op_answer(op, err);
}

void qv_op_run_spread(struct qv_op *op)
{
    struct qv_node_read *r = qv_mem_calloc(1, sizeof *r);
    qv_upkeep_note_filters(op);
    QV_ASSERT(op->read == NULL);
    op->read = r;
    r->node = qv_edge_node(op->edge);
    r->collection = qv_topology_find(op->topology, op->collection);
    r->what = what_of(op);
    r->stop = op->stop;
    r->deadline_ns = op->call->deadline_ns;
    r->done = read_done;
    r->arg = op;
    qv_node_read_start(r);
}

void qv_op_close_spread(struct qv_node_read **r)
{
    if (*r == NULL)
        return;
    qv_node_read_close(*r);
    qv_mem_free(*r);
    *r = NULL;
}
