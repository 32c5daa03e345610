#include "server/op.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "server/edge.h"
#include "server/metrics.h"
#include "server/op_cluster.h"
#include "server/op_read.h"
#include "server/op_snapshot.h"
#include "server/request_log.h"
#include "server/upkeep.h"

#include <string.h>

#define LAZY_NS 1000000ull

/* The clock of call->received_ns. */
static uint64_t now_ns(const struct qv_op *op)
{
    return qv_env_mono_ns(qv_node_env(qv_edge_node(op->edge)));
}

double qv_op_seconds(const struct qv_op *op)
{
    return (double)(now_ns(op) - op->start_ns) * 1e-9;
}

void qv_op_answer(struct qv_op *op, int err)
{
    const uint64_t ns = now_ns(op) - op->start_ns;
    qv_metrics_op(qv_edge_metrics(op->edge), op->kind, err, ns);
    qv_request_log_note(qv_edge_log(op->edge), op, err, ns);
    if (op->shard != NULL)
        qv_shard_unref(op->shard);
    op->shard = NULL;
    const struct qv_topology *topology = op->topology;
    if (op->grpc)
        qv_op_answer_grpc(op, err); /* gives the call, and with it the op, back */
    else
        qv_op_answer_rest(op, err);
    qv_topology_unref(topology);
}

/* ---- deadlines ---- */

static int stop_ask(void *ctx, struct qv_errmsg *msg)
{
    const struct qv_op *op = ctx;
    if (qv_call_cancelled(op->call))
        return qv_fail(msg, QV_ETIMEOUT, "the request was given up before its end");
    if (now_ns(op) >= op->call->deadline_ns)
        return qv_fail(msg, QV_ETIMEOUT, "the operation took longer than its timeout");
    return 0;
}

struct qv_read_opts *qv_op_read_opts(struct qv_op *op)
{
    switch (op->kind) {
    case QV_OP_GET:
    case QV_OP_GET_ONE:
        return &op->req.get.opts;
    case QV_OP_SCROLL:
        return &op->req.scroll.opts;
    case QV_OP_COUNT:
        return &op->req.count.opts;
    case QV_OP_FACET:
        return &op->req.facet.opts;
    case QV_OP_QUERY:
    case QV_OP_QUERY_BATCH:
    case QV_OP_SEARCH:
    case QV_OP_SEARCH_BATCH:
        return &op->req.query.opts;
    default:
        return NULL;
    }
}

/* The request's own timeout brings its deadline forward. */
static void set_deadline(struct qv_op *op)
{
    struct qv_read_opts *opts = qv_op_read_opts(op);
    op->stop = (struct qv_stop){stop_ask, op};
    if (opts != NULL) {
        opts->stop = &op->stop;
        op->timeout_ms = opts->timeout_ms;
    }
    if (op->kind == QV_OP_WRITE || op->kind == QV_OP_WRITE_BATCH) {
        op->req.write.stop = &op->stop;
        op->timeout_ms = op->req.write.timeout_ms;
    }
    if (op->timeout_ms != 0 && op->timeout_ms < UINT64_MAX / QV_NS_PER_MS / 2)
        qv_call_hurry(op->call, op->call->received_ns + op->timeout_ms * QV_NS_PER_MS);
}

/* ---- reads ---- */

static int run_queries(struct qv_op *op, unsigned worker)
{
    static const struct qv_coverage whole = {.share = 1.0, .asked = 1, .answered = 1};
    const struct qv_query_req *req = &op->req.query;
    op->out.lists = QV_ARENA_ARRAY(&op->call->arena, struct qv_points_out, req->query_count);
    if (op->out.lists == NULL)
        return QV_ETOOBIG;
    struct qv_query *queries =
        qv_arena_dup(&op->call->arena, req->queries, req->query_count * sizeof *queries);
    if (queries == NULL)
        return QV_ETOOBIG;
    for (uint32_t i = 0; i < req->query_count; i++)
        queries[i].stop = &op->stop;
    const struct qv_batch batch = {
        .arena = &op->call->arena, .queries = queries, .count = req->query_count};
    int err = qv_shard_query_batch(op->shard, worker, &batch, op->out.lists, &op->msg);
    for (uint32_t i = 0; i < req->query_count && err == 0; i++)
        op->out.lists[i].coverage = queries[i].allow_partial ? &whole : NULL;
    return err;
}

static int run_get_one(struct qv_op *op, unsigned worker)
{
    char text[QV_ID_TEXT_MAX];
    int err =
        qv_shard_get(op->shard, worker, &op->call->arena, &op->req.get, &op->out.points, &op->msg);
    if (err == 0 && op->out.points.count == 0) {
        qv_id_format(&op->req.get.ids[0], text);
        return qv_fail(&op->msg, QV_ENOTFOUND, "Point with id %s does not exists!", text);
    }
    return err;
}

static int run_list(struct qv_op *op)
{
    const struct qv_topology *t = op->topology;
    op->out.names.names = QV_ARENA_ARRAY(&op->call->arena, struct qv_str, t->count);
    if (op->out.names.names == NULL)
        return QV_ETOOBIG;
    for (uint32_t i = 0; i < t->count; i++)
        op->out.names.names[i] = t->collections[i]->name;
    op->out.names.count = t->count;
    return 0;
}

static int run_aliases(struct qv_op *op)
{
    const struct qv_topology *t = op->topology;
    op->out.aliases = t->aliases;
    if (op->kind == QV_OP_ALIASES_LIST)
        return 0;
    const struct qv_collection *c = qv_topology_find(t, op->collection);
    struct qv_alias *list = QV_ARENA_ARRAY(&op->call->arena, struct qv_alias, t->aliases.count);
    if (list == NULL)
        return QV_ETOOBIG;
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->aliases.count && c != NULL; i++) {
        if (qv_str_equal(t->aliases.list[i].collection, c->name))
            list[n++] = t->aliases.list[i];
    }
    op->out.aliases = (struct qv_aliases_out){list, n};
    return 0;
}

static int run_collection_info(struct qv_op *op, unsigned worker)
{
    const struct qv_collection *c = qv_topology_find(op->topology, op->collection);
    if (c == NULL)
        return qv_node_missing(op->collection, &op->msg);
    return qv_node_collection_info(qv_edge_node(op->edge), c, worker, &op->call->arena,
                                   &op->out.info, &op->msg);
}

static int run_optimizations(struct qv_op *op)
{
    const struct qv_collection *c = qv_topology_find(op->topology, op->collection);
    if (c == NULL)
        return qv_node_missing(op->collection, &op->msg);
    qv_node_shard_info(qv_edge_node(op->edge), c, &op->out.shard);
    return 0;
}

static int run_read(struct qv_op *op, unsigned worker)
{
    struct qv_arena *arena = &op->call->arena;
    qv_upkeep_note_filters(op);
    switch (op->kind) {
    case QV_OP_COLLECTION_LIST:
        return run_list(op);
    case QV_OP_COLLECTION_GET:
        return run_collection_info(op, worker);
    case QV_OP_ALIASES_OF:
    case QV_OP_ALIASES_LIST:
        return run_aliases(op);
    case QV_OP_OPTIMIZATIONS:
        return run_optimizations(op);
    case QV_OP_ISSUES_CLEAR:
        qv_upkeep_clear_issues(op);
        op->out.done = true;
        return 0;
    case QV_OP_COLLECTION_EXISTS:
        op->out.done = qv_topology_find(op->topology, op->collection) != NULL;
        return 0;
    case QV_OP_GET:
        return qv_shard_get(op->shard, worker, arena, &op->req.get, &op->out.points, &op->msg);
    case QV_OP_GET_ONE:
        return run_get_one(op, worker);
    case QV_OP_SCROLL:
        return qv_shard_scroll(op->shard, worker, arena, &op->req.scroll, &op->out.scroll,
                               &op->msg);
    case QV_OP_COUNT:
        return qv_shard_count(op->shard, worker, arena, &op->req.count, &op->out.count, &op->msg);
    case QV_OP_FACET:
        return qv_shard_facet(op->shard, worker, arena, &op->req.facet, &op->out.facet, &op->msg);
    case QV_OP_QUERY:
    case QV_OP_QUERY_BATCH:
    case QV_OP_SEARCH:
    case QV_OP_SEARCH_BATCH:
        return run_queries(op, worker);
    case QV_OP_LOGGER_SET:
        QV_INFO("serve", "log level %s, by %s", qv_logger_level_name(op->req.log_level),
                op->call->peer);
        qv_logger_set_level(op->req.log_level);
        return 0;
    default:
        return 0; /* service, telemetry, metrics, health: all in the encoding */
    }
}

/* ---- collections (owner) ---- */

static void change_done(struct qv_node_change *x, int err)
{
    struct qv_op *op = x->arg;
    if (err != 0)
        op->msg = x->msg;
    op->out.result = (struct qv_write_result){.completed = true};
    if (op->kind == QV_OP_COLLECTION_CREATE || op->kind == QV_OP_COLLECTION_UPDATE ||
        op->kind == QV_OP_ALIASES_UPDATE ||
        (op->kind >= QV_OP_CLUSTER_REMOVE && op->kind <= QV_OP_CLUSTER_UPDATE))
        op->out.done = true;
    if (op->kind == QV_OP_COLLECTION_DELETE)
        op->out.done = x->existed;
    qv_op_answer(op, err);
}

/* What a change waits for is told before the request's time is over. */
#define TELL_NS (250 * QV_NS_PER_MS)

static struct qv_node_change change_of(struct qv_op *op)
{
    const uint64_t deadline_ns = op->call->deadline_ns;
    struct qv_node_change x = {.node = qv_edge_node(op->edge),
                               .name = op->collection,
                               .deadline_ns = deadline_ns > TELL_NS ? deadline_ns - TELL_NS : 0,
                               .done = change_done,
                               .arg = op};
    switch (op->kind) {
    case QV_OP_COLLECTION_CREATE:
        x.kind = QV_NODE_CREATE;
        x.config = op->req.config;
        break;
    case QV_OP_COLLECTION_DELETE:
        x.kind = QV_NODE_DELETE;
        break;
    case QV_OP_COLLECTION_UPDATE:
        x.kind = QV_NODE_UPDATE;
        x.diff = &op->req.diff;
        break;
    case QV_OP_VECTOR_CREATE:
        x.kind = QV_NODE_CREATE_VECTOR;
        x.vector = &op->req.vector.spec;
        break;
    case QV_OP_VECTOR_DELETE:
        x.kind = QV_NODE_DELETE_VECTOR;
        x.field = op->req.vector.name;
        break;
    case QV_OP_ALIASES_UPDATE:
        x.kind = QV_NODE_ALIASES;
        x.aliases = &op->req.aliases;
        break;
    case QV_OP_INDEX_CREATE:
    case QV_OP_INDEX_DELETE:
        x.kind = QV_NODE_SET_INDEX;
        x.field = op->req.index.field;
        x.index = op->kind == QV_OP_INDEX_CREATE ? &op->req.index : NULL;
        break;
    case QV_OP_CLUSTER_REMOVE:
        x.kind = QV_NODE_REMOVE_PEER;
        x.move.from = op->req.member;
        break;
    case QV_OP_CLUSTER_DRAIN:
    case QV_OP_CLUSTER_FILL:
        x.kind = QV_NODE_DRAIN;
        x.move.from = op->req.member;
        x.move.to = op->kind == QV_OP_CLUSTER_DRAIN;
        break;
    case QV_OP_CLUSTER_UPDATE:
        x.kind = op->req.cluster.kind == QV_CLUSTER_MOVE_SHARD ? QV_NODE_MOVE : QV_NODE_ABORT_MOVE;
        x.move.shard = (uint32_t)op->req.cluster.shard;
        x.move.from = op->req.cluster.from;
        x.move.to = op->req.cluster.to;
        break;
    default:
        QV_UNREACHABLE();
    }
    return x;
}

static void quota_task(struct qv_task *task)
{
    struct qv_op *op = task->arg;
    int err = qv_node_set_quota(qv_edge_node(op->edge), &op->req.quota, &op->msg);
    op->out.done = true;
    qv_op_answer(op, err);
}

/* ---- writes ---- */

static void write_done(struct qv_node_write *w, int err)
{
    struct qv_op *op = w->arg;
    op->call->keep_plain = true; /* on the owner */
    if (err != 0) {
        op->msg = w->msg;
        if (op->kind == QV_OP_WRITE_BATCH && err != QV_ENOMEM)
            qv_fail(&op->msg, err, "%s (operation %u of the batch; those before it are done)",
                    w->msg.text[0] ? w->msg.text : qv_err_text(err), w->failed_op);
    }
    qv_op_answer(op, err);
}

static void run_write(struct qv_op *op)
{
    struct qv_node_write *w = &op->write;
    w->req = &op->req.write;
    w->arena = &op->call->arena;
    w->node = qv_edge_node(op->edge);
    w->collection = qv_topology_find(op->topology, op->collection);
    w->deadline_ns = op->call->deadline_ns;
    w->done = write_done;
    w->arg = op;
    w->msg.text[0] = '\0';
    int err =
        w->collection != NULL ? qv_node_write_prepare(w) : qv_node_missing(op->collection, &w->msg);
    if (err != 0) {
        op->msg = w->msg;
        qv_op_answer(op, err);
        return;
    }
    qv_node_write_submit(w);
}

/* ---- dispatch ---- */

static bool needs_shard(enum qv_op_kind kind)
{
    return kind >= QV_OP_WRITE && kind <= QV_OP_SEARCH_BATCH;
}

static void op_job(struct qv_job *job, unsigned worker);

/* Quotas hold for it. */
static bool consumes(enum qv_op_kind kind)
{
    return kind == QV_OP_WRITE || kind == QV_OP_WRITE_BATCH || kind == QV_OP_COLLECTION_CREATE ||
           kind == QV_OP_VECTOR_CREATE;
}

/* A read is answered by its job. */
static bool is_read(enum qv_op_kind kind)
{
    return kind == QV_OP_GET || kind == QV_OP_GET_ONE ||
           (kind >= QV_OP_COUNT && kind <= QV_OP_SEARCH_BATCH);
}

/* An answer waits for the next one when this worker turns to that at once: on a shared core each
 * wake of a network loop displaces the worker. Searches on one core: 1.5 wakes and 11 us a query
 * without, 0.2 and 1 us with it. Not beyond LAZY_NS: the next answer may take long. */
static void maybe_wait_for_next(struct qv_op *op)
{
    const struct qv_job *next = op->job.next;
    if (next == NULL || next->run != op_job)
        return;
    struct qv_op *other = next->arg;
    uint64_t now = now_ns(op);
    uint64_t since = op->held_since_ns != 0 ? op->held_since_ns : now;
    if (!is_read(other->kind) || now - since > LAZY_NS)
        return;
    other->held_since_ns = since;
    op->call->lazy = true;
}

static bool searches(enum qv_op_kind kind)
{
    return kind >= QV_OP_QUERY && kind <= QV_OP_SEARCH_BATCH;
}

/* Which shards are the nearest only centroids tell. */
static int check_probes(struct qv_op *op, const struct qv_collection *c)
{
    const struct qv_query_req *req = &op->req.query;
    if (!searches(op->kind) || c->config->placement.strategy == QV_PLACEMENT_CLUSTER)
        return 0;
    for (uint32_t i = 0; i < req->query_count; i++) {
        if (req->queries[i].n_probe.has)
            return qv_fail(
                &op->msg, QV_EINVAL,
                "params.quiver.n_probe: the collection's placement, %s, has no centroids",
                qv_placement_strategy_name(c->config->placement.strategy));
    }
    return 0;
}

/* The collection's first shard; none where that lies elsewhere. */
static int find_shard(struct qv_op *op)
{
    struct qv_node *n = qv_edge_node(op->edge);
    const struct qv_collection *c = qv_topology_find(op->topology, op->collection);
    if (c == NULL)
        return qv_node_missing(op->collection, &op->msg);
    int err = check_probes(op, c);
    if (err != 0 || qv_node_reads_elsewhere(n, c))
        return err;
    return qv_node_shard_at(n, c, 0, &op->shard, &op->msg);
}

/* Decodes it, and says whether it may run. */
static int prepare(struct qv_op *op)
{
    struct qv_node *n = qv_edge_node(op->edge);
    int err = op->grpc ? qv_op_decode_grpc(op) : qv_op_decode_rest(op);
    if (err != 0)
        return err;
    set_deadline(op);
    op->topology = qv_node_topology(n);
    if (needs_shard(op->kind))
        err = find_shard(op);
    if (err == 0)
        err = qv_op_strict(op);
    if (err == 0 && qv_op_is_snapshot(op->kind) && qv_node_in_cluster(n))
        err = qv_fail(&op->msg, QV_ENOTIMPL, "Not implemented: snapshots in a cluster");
    if (err == 0 && consumes(op->kind))
        err = qv_upkeep_check_quota(op);
    return err;
}

static void op_job(struct qv_job *job, unsigned worker)
{
    struct qv_op *op = job->arg;
    struct qv_node *n = qv_edge_node(op->edge);
    /* The client went away, or the time is over: not begun. */
    if (qv_call_cancelled(op->call) || now_ns(op) >= op->call->deadline_ns) {
        qv_op_answer(op, qv_fail(&op->msg, QV_ETIMEOUT, "the request waited too long"));
        return;
    }
    int err = prepare(op);
    if (err != 0) {
        qv_op_answer(op, err);
        return;
    }
    switch (op->kind) {
    case QV_OP_QUOTAS_SET:
        op->task = (struct qv_task){.run = quota_task, .arg = op};
        qv_env_post(qv_node_env(n), &op->task);
        return;
    case QV_OP_COLLECTION_CREATE:
    case QV_OP_COLLECTION_DELETE:
    case QV_OP_COLLECTION_UPDATE:
    case QV_OP_VECTOR_CREATE:
    case QV_OP_VECTOR_DELETE:
    case QV_OP_ALIASES_UPDATE:
    case QV_OP_INDEX_CREATE:
    case QV_OP_INDEX_DELETE:
    case QV_OP_CLUSTER_REMOVE:
    case QV_OP_CLUSTER_DRAIN:
    case QV_OP_CLUSTER_FILL:
    case QV_OP_CLUSTER_UPDATE:
        op->change = change_of(op);
        qv_node_change_start(&op->change);
        return;
    case QV_OP_WRITE:
    case QV_OP_WRITE_BATCH:
        run_write(op);
        return;
    case QV_OP_SNAPSHOT_LIST:
    case QV_OP_SNAPSHOT_CREATE:
    case QV_OP_SNAPSHOT_DELETE:
    case QV_OP_SNAPSHOT_GET:
    case QV_OP_SNAPSHOT_STREAM:
    case QV_OP_SNAPSHOT_RECOVER:
    case QV_OP_SNAPSHOT_UPLOAD:
        qv_op_run_snapshot(op);
        return;
    default:
        if (qv_op_is_survey(op)) {
            qv_op_run_survey(op);
            return;
        }
        if (qv_op_is_spread(op)) {
            qv_op_run_spread(op);
            return;
        }
        err = run_read(op, worker);
        maybe_wait_for_next(op);
        qv_op_answer(op, err);
    }
}

void qv_op_start(struct qv_op *op)
{
    op->start_ns = op->call->received_ns;
    op->job = (struct qv_job){.run = op_job, .arg = op};
    int err = qv_env_submit(qv_node_env(qv_edge_node(op->edge)), QV_JOB_INTERACTIVE, &op->job);
    if (err != 0)
        qv_op_answer(op, qv_fail(&op->msg, QV_EBUSY, "too many requests are waiting"));
}
