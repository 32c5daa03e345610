/* Strict mode: the bounds of a collection (core/strict.h) put to one operation. */
#include "server/op.h"

#include "core/strict.h"
#include "io/memory_use.h"
#include "server/edge.h"

static void usage_of(struct qv_op *op, const struct qv_strict *s, struct qv_strict_usage *out)
{
    struct qv_shard_info info = {0};
    *out = (struct qv_strict_usage){0};
    if (!qv_strict_needs_usage(s))
        return;
    const struct qv_collection *c = qv_topology_find(op->topology, op->collection);
    if (c != NULL)
        qv_node_shard_info(qv_edge_node(op->edge), c, &info);
    out->points = info.points;
    out->vector_bytes = info.vector_bytes;
    out->payload_bytes = info.payload_bytes;
    if (s->max_resident_memory_percent.has)
        out->memory_percent = qv_memory_use_percent();
}

static int check(struct qv_op *op, const struct qv_collection_config *c)
{
    struct qv_strict_usage usage;
    switch (op->kind) {
    case QV_OP_QUERY:
    case QV_OP_QUERY_BATCH:
    case QV_OP_SEARCH:
    case QV_OP_SEARCH_BATCH:
        return qv_strict_queries(c, &op->req.query, &op->msg);
    case QV_OP_SCROLL:
        return qv_strict_scroll(c, &op->req.scroll, &op->msg);
    case QV_OP_COUNT:
        return qv_strict_count(c, &op->req.count, &op->msg);
    case QV_OP_FACET:
        return qv_strict_facet(c, &op->req.facet, &op->msg);
    case QV_OP_WRITE:
    case QV_OP_WRITE_BATCH:
        usage_of(op, &c->strict, &usage);
        return qv_strict_writes(c, &op->req.write, &usage, &op->msg);
    case QV_OP_INDEX_CREATE:
        usage_of(op, &c->strict, &usage);
        return qv_strict_index(c, op->req.index.field, &usage, &op->msg);
    default:
        return 0;
    }
}

static uint64_t read_cost(const struct qv_op *op)
{
    switch (op->kind) {
    case QV_OP_SCROLL:
        return qv_strict_read_cost(&op->req.scroll.filter, 1);
    case QV_OP_COUNT:
        return qv_strict_read_cost(&op->req.count.filter, 1);
    case QV_OP_FACET:
        return qv_strict_read_cost(&op->req.facet.filter, 1);
    case QV_OP_GET:
    case QV_OP_GET_ONE:
        return op->req.get.id_count == 0 ? 1 : op->req.get.id_count;
    default:
        return qv_strict_query_cost(&op->req.query);
    }
}

static int take_rate(struct qv_op *op, const struct qv_strict *s)
{
    bool write = op->kind == QV_OP_WRITE || op->kind == QV_OP_WRITE_BATCH;
    const struct qv_opt_u64 *limit = write ? &s->write_rate_limit : &s->read_rate_limit;
    if (op->shard == NULL || !limit->has)
        return 0;
    uint64_t cost = write ? qv_strict_write_cost(&op->req.write) : read_cost(op);
    return qv_shard_take_rate(op->shard, write, limit->v, cost, &op->retry_s, &op->msg);
}

int qv_op_strict(struct qv_op *op)
{
    const struct qv_collection *c = qv_topology_find(op->topology, op->collection);
    if (c == NULL || !c->config->strict.enabled.has || !c->config->strict.enabled.v)
        return 0;
    int err = qv_strict_timeout(c->config, op->timeout_ms, &op->msg);
    if (err == 0)
        err = check(op, c->config);
    return err != 0 ? err : take_rate(op, &c->config->strict);
}
