/* gRPC: methods, messages and answers. */
#include "server/rpc.h"

#include "base/qv_assert.h"
#include "net/grpc.h"
#include "server/api_status.h"
#include "server/descriptors.h"
#include "server/edge.h"
#include "server/op_cluster.h"
#include "server/op_read.h"
#include "server/op_snapshot.h"
#include "wire/pb_answer.h"
#include "wire/pb_request.h"

#include <string.h>

static const struct {
    enum qv_op_kind kind;
    bool reads;
} methods[QV_PB_CALL_COUNT] = {
    [QV_PB_HEALTH] = {QV_OP_SERVICE, true},
    [QV_PB_GRPC_HEALTH] = {QV_OP_GRPC_HEALTH, true},
    [QV_PB_COLLECTION_GET] = {QV_OP_COLLECTION_GET, true},
    [QV_PB_COLLECTION_LIST] = {QV_OP_COLLECTION_LIST, true},
    [QV_PB_COLLECTION_CREATE] = {QV_OP_COLLECTION_CREATE, false},
    [QV_PB_COLLECTION_DELETE] = {QV_OP_COLLECTION_DELETE, false},
    [QV_PB_COLLECTION_EXISTS] = {QV_OP_COLLECTION_EXISTS, true},
    [QV_PB_COLLECTION_CLUSTER] = {QV_OP_COLLECTION_CLUSTER, true},
    [QV_PB_COLLECTION_UPDATE] = {QV_OP_COLLECTION_UPDATE, false},
    [QV_PB_VECTOR_CREATE] = {QV_OP_VECTOR_CREATE, false},
    [QV_PB_VECTOR_DELETE] = {QV_OP_VECTOR_DELETE, false},
    [QV_PB_ALIASES_UPDATE] = {QV_OP_ALIASES_UPDATE, false},
    [QV_PB_ALIASES_OF] = {QV_OP_ALIASES_OF, true},
    [QV_PB_ALIASES_LIST] = {QV_OP_ALIASES_LIST, true},
    [QV_PB_SNAPSHOT_CREATE] = {QV_OP_SNAPSHOT_CREATE, false},
    [QV_PB_SNAPSHOT_LIST] = {QV_OP_SNAPSHOT_LIST, true},
    [QV_PB_SNAPSHOT_DELETE] = {QV_OP_SNAPSHOT_DELETE, false},
    [QV_PB_FULL_SNAPSHOT_CREATE] = {QV_OP_SNAPSHOT_CREATE, false},
    [QV_PB_FULL_SNAPSHOT_LIST] = {QV_OP_SNAPSHOT_LIST, true},
    [QV_PB_FULL_SNAPSHOT_DELETE] = {QV_OP_SNAPSHOT_DELETE, false},
    [QV_PB_UPSERT] = {QV_OP_WRITE, false},
    [QV_PB_DELETE] = {QV_OP_WRITE, false},
    [QV_PB_UPDATE_VECTORS] = {QV_OP_WRITE, false},
    [QV_PB_DELETE_VECTORS] = {QV_OP_WRITE, false},
    [QV_PB_SET_PAYLOAD] = {QV_OP_WRITE, false},
    [QV_PB_OVERWRITE_PAYLOAD] = {QV_OP_WRITE, false},
    [QV_PB_DELETE_PAYLOAD] = {QV_OP_WRITE, false},
    [QV_PB_CLEAR_PAYLOAD] = {QV_OP_WRITE, false},
    [QV_PB_UPDATE_BATCH] = {QV_OP_WRITE_BATCH, false},
    [QV_PB_CREATE_INDEX] = {QV_OP_INDEX_CREATE, false},
    [QV_PB_DELETE_INDEX] = {QV_OP_INDEX_DELETE, false},
    [QV_PB_GET] = {QV_OP_GET, true},
    [QV_PB_SCROLL] = {QV_OP_SCROLL, true},
    [QV_PB_COUNT] = {QV_OP_COUNT, true},
    [QV_PB_FACET] = {QV_OP_FACET, true},
    [QV_PB_SEARCH] = {QV_OP_SEARCH, true},
    [QV_PB_SEARCH_BATCH] = {QV_OP_SEARCH_BATCH, true},
    [QV_PB_QUERY] = {QV_OP_QUERY, true},
    [QV_PB_QUERY_BATCH] = {QV_OP_QUERY_BATCH, true},
};

static void reply_error(struct qv_call *call, int err, const struct qv_errmsg *msg)
{
    static const char json[] = "Validation error in JSON body: ";
    static const char body[] = "Validation error in body: ";
    char text[1024];
    qv_api_status_text(err, msg, text, sizeof text);
    if (strncmp(text, json, strlen(json)) == 0) { /* the body is none */
        memmove(text + strlen(body), text + strlen(json), strlen(text + strlen(json)) + 1);
        memcpy(text, body, strlen(body));
    }
    qv_call_reply_grpc(call, qv_api_status(err).grpc, text, NULL);
}

bool qv_rpc_has_service(const char *name, size_t n)
{
    for (size_t i = 0; i < qv_descriptor_service_count; i++) {
        if (strlen(qv_descriptor_services[i]) == n &&
            memcmp(qv_descriptor_services[i], name, n) == 0)
            return true;
    }
    return n == 0; /* the server as a whole */
}

static int health(struct qv_op *op, struct qv_buf *b)
{
    if (qv_rpc_has_service(op->rest.p, op->rest.n)) {
        qv_pb_answer_grpc_health(b, true);
        return 0;
    }
    return qv_fail(&op->msg, QV_ENOTFOUND, "unknown service");
}

static void write_snapshot_answer(struct qv_op *op, struct qv_buf *b, double seconds)
{
    if (op->kind == QV_OP_SNAPSHOT_LIST)
        qv_pb_answer_snapshots(b, &op->out.snapshots, seconds);
    else if (op->kind == QV_OP_SNAPSHOT_CREATE)
        qv_pb_answer_snapshot(b, op->out.snapshot.made, seconds);
    else
        qv_pb_answer_snapshot_deleted(b, seconds);
}

static void write_points_answer(struct qv_op *op, struct qv_buf *b, double seconds)
{
    switch (op->kind) {
    case QV_OP_WRITE:
        qv_pb_answer_update(b, &op->write.results[0], seconds);
        break;
    case QV_OP_WRITE_BATCH:
        qv_pb_answer_updates(b, op->write.results, op->req.write.op_count, seconds);
        break;
    case QV_OP_GET:
        qv_pb_answer_records(b, &op->out.points, seconds);
        break;
    case QV_OP_SCROLL:
        qv_pb_answer_scroll(b, &op->out.scroll, seconds);
        break;
    case QV_OP_COUNT:
        qv_pb_answer_count(b, op->out.count, seconds);
        break;
    case QV_OP_FACET:
        qv_pb_answer_facet(b, &op->out.facet, seconds);
        break;
    case QV_OP_QUERY:
    case QV_OP_SEARCH:
        qv_pb_answer_hits(b, &op->out.lists[0], seconds);
        break;
    case QV_OP_QUERY_BATCH:
    case QV_OP_SEARCH_BATCH:
        qv_pb_answer_hits_batch(b, op->out.lists, op->req.query.query_count, seconds);
        break;
    default:
        QV_UNREACHABLE();
    }
}

static int write_answer(struct qv_op *op, struct qv_buf *b, double seconds)
{
    const struct qv_edge_config *settings = qv_edge_settings(op->edge);
    if (qv_op_is_snapshot(op->kind)) {
        write_snapshot_answer(op, b, seconds);
        return 0;
    }
    switch (op->kind) {
    case QV_OP_SERVICE:
        qv_pb_answer_health(b, "qdrant - vector search engine", settings->api_version,
                            settings->commit);
        return 0;
    case QV_OP_GRPC_HEALTH:
        return health(op, b);
    case QV_OP_COLLECTION_LIST:
        qv_pb_answer_collections(b, op->out.names.names, op->out.names.count, seconds);
        return 0;
    case QV_OP_COLLECTION_GET:
        qv_pb_answer_collection(b, &op->out.info, seconds);
        return 0;
    case QV_OP_COLLECTION_EXISTS:
        qv_pb_answer_exists(b, op->out.done, seconds);
        return 0;
    case QV_OP_COLLECTION_CLUSTER:
        qv_cluster_answer_collection(op, b, seconds);
        return 0;
    case QV_OP_COLLECTION_CREATE:
    case QV_OP_COLLECTION_DELETE:
    case QV_OP_COLLECTION_UPDATE:
    case QV_OP_ALIASES_UPDATE:
        qv_pb_answer_done(b, op->out.done, seconds);
        return 0;
    case QV_OP_ALIASES_OF:
    case QV_OP_ALIASES_LIST:
        qv_pb_answer_aliases(b, &op->out.aliases, seconds);
        return 0;
    case QV_OP_VECTOR_CREATE:
    case QV_OP_VECTOR_DELETE:
    case QV_OP_INDEX_CREATE:
    case QV_OP_INDEX_DELETE:
        qv_pb_answer_update(b, &op->out.result, seconds);
        return 0;
    default:
        write_points_answer(op, b, seconds);
        return 0;
    }
}

void qv_op_answer_grpc(struct qv_op *op, int err)
{
    struct qv_buf *b = qv_call_out(op->call);
    if (err == 0) {
        qv_buf_clear(b);
        err = write_answer(op, b, qv_op_seconds(op));
        if (err == 0 && b->failed)
            err = qv_fail(&op->msg, QV_ENOMEM, "no memory for the answer");
    }
    qv_op_close_spread(&op->read);
    qv_op_close_survey(&op->survey);
    if (err != 0)
        reply_error(op->call, err, &op->msg);
    else
        qv_call_reply_grpc(op->call, QV_GRPC_OK, NULL, b);
}

int qv_op_decode_grpc(struct qv_op *op)
{
    struct qv_pb_request *r = QV_ARENA_NEW(&op->call->arena, struct qv_pb_request);
    if (r == NULL)
        return QV_ETOOBIG;
    int err = qv_pb_request_decode((enum qv_pb_call)op->pb_call, op->call->message,
                                   &op->call->arena, r, &op->msg);
    if (err != 0)
        return err;
    op->collection = r->collection;
    op->timeout_ms = r->timeout_ms;
    switch (op->kind) {
    case QV_OP_GRPC_HEALTH:
        op->rest = r->u.service;
        break;
    case QV_OP_COLLECTION_CREATE:
        op->req.config = r->u.config;
        break;
    case QV_OP_COLLECTION_UPDATE:
        op->req.diff = r->u.diff;
        break;
    case QV_OP_VECTOR_CREATE:
    case QV_OP_VECTOR_DELETE:
        op->req.vector.name = r->u.vector.name;
        op->req.vector.spec = r->u.vector.spec;
        break;
    case QV_OP_ALIASES_UPDATE:
        op->req.aliases = r->u.aliases;
        break;
    case QV_OP_INDEX_CREATE:
    case QV_OP_INDEX_DELETE:
        op->req.index = r->u.index.index;
        op->timeout_ms = r->u.index.timeout_ms;
        break;
    case QV_OP_WRITE:
    case QV_OP_WRITE_BATCH:
        op->req.write = r->u.write;
        break;
    case QV_OP_SNAPSHOT_LIST:
    case QV_OP_SNAPSHOT_CREATE:
    case QV_OP_SNAPSHOT_DELETE:
        op->req.snapshot = r->u.snapshot;
        op->req.snapshot.scope.collection = r->collection;
        break;
    case QV_OP_GET:
        op->req.get = r->u.get;
        break;
    case QV_OP_SCROLL:
        op->req.scroll = r->u.scroll;
        break;
    case QV_OP_COUNT:
        op->req.count = r->u.count;
        break;
    case QV_OP_FACET:
        op->req.facet = r->u.facet;
        break;
    case QV_OP_SEARCH:
    case QV_OP_SEARCH_BATCH:
    case QV_OP_QUERY:
    case QV_OP_QUERY_BATCH:
        op->req.query = r->u.query;
        break;
    default:
        break;
    }
    return 0;
}

bool qv_rpc_reads(const struct qv_call *call)
{
    enum qv_pb_call method;
    return qv_pb_method_find(call->path, call->path_len, &method, NULL) != 0 ||
           methods[method].reads;
}

void qv_rpc_handle(struct qv_edge *edge, struct qv_call *call)
{
    struct qv_errmsg msg = {""};
    enum qv_pb_call method;
    int err = qv_pb_method_find(call->path, call->path_len, &method, &msg);
    if (err == QV_ENOTFOUND)
        err = qv_fail(&msg, QV_ENOTIMPL, "Not implemented: %.200s", call->path);
    struct qv_op *op = err == 0 ? QV_ARENA_NEW(&call->arena, struct qv_op) : NULL;
    if (err == 0 && op == NULL)
        err = QV_ENOMEM;
    if (err != 0) {
        reply_error(call, err, &msg);
        return;
    }
    op->edge = edge;
    op->call = call;
    op->grpc = true;
    op->kind = methods[method].kind;
    op->pb_call = (int)method;
    qv_op_start(op);
}

void qv_rpc_refuse(struct qv_call *call, int err, const char *text)
{
    struct qv_errmsg msg;
    qv_fail(&msg, err, "%s", text);
    reply_error(call, err, &msg);
}
