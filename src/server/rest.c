/* REST: routes, bodies and answers. A route is a method and a path pattern in which {} takes one
 * segment; the first is the collection, the second (if any) op->rest. */
#include "server/rest.h"

#include "base/qv_assert.h"
#include "base/utf8.h"
#include "server/api_status.h"
#include "server/edge.h"
#include "server/metrics.h"
#include "server/op_cluster.h"
#include "server/op_read.h"
#include "server/op_snapshot.h"
#include "server/upkeep.h"
#include "wire/json_answer.h"
#include "wire/json_request.h"
#include "wire/json_scan.h"
#include "wire/not_served.h"

#include <stdio.h>
#include <string.h>

#define JSON_TYPE "application/json"

struct route {
    const char *method;
    const char *pattern;
    enum qv_op_kind kind;
    enum qv_write_type write;
    bool reads; /* the read-only key may call it */
};

static const struct route routes[] = {
    {"GET", "/", QV_OP_SERVICE, 0, true},
    {"GET", "/telemetry", QV_OP_TELEMETRY, 0, true},
    {"GET", "/issues", QV_OP_ISSUES, 0, true},
    {"DELETE", "/issues", QV_OP_ISSUES_CLEAR, 0, false},
    {"GET", "/quotas", QV_OP_QUOTAS, 0, true},
    {"PUT", "/quotas", QV_OP_QUOTAS_SET, 0, false},
    {"GET", "/collections/{}/optimizations", QV_OP_OPTIMIZATIONS, 0, true},
    {"GET", "/cluster", QV_OP_CLUSTER, 0, true},
    {"GET", "/cluster/status", QV_OP_CLUSTER_STATUS, 0, true},
    {"GET", "/cluster/telemetry", QV_OP_CLUSTER_TELEMETRY, 0, true},
    {"POST", "/cluster/recover", QV_OP_CLUSTER_RECOVER, 0, false},
    {"DELETE", "/cluster/peer/{}", QV_OP_CLUSTER_REMOVE, 0, false},
    {"POST", "/cluster/peer/{}/drain", QV_OP_CLUSTER_DRAIN, 0, false},
    {"POST", "/cluster/peer/{}/fill", QV_OP_CLUSTER_FILL, 0, false},
    {"GET", "/collections/{}/cluster", QV_OP_COLLECTION_CLUSTER, 0, true},
    {"POST", "/collections/{}/cluster", QV_OP_CLUSTER_UPDATE, 0, false},
    {"GET", "/metrics", QV_OP_METRICS, 0, true},
    {"GET", "/logger", QV_OP_LOGGER_GET, 0, false},
    {"POST", "/logger", QV_OP_LOGGER_SET, 0, false},
    {"GET", "/collections", QV_OP_COLLECTION_LIST, 0, true},
    {"GET", "/collections/{}", QV_OP_COLLECTION_GET, 0, true},
    {"GET", "/collections/{}/exists", QV_OP_COLLECTION_EXISTS, 0, true},
    {"PUT", "/collections/{}", QV_OP_COLLECTION_CREATE, 0, false},
    {"DELETE", "/collections/{}", QV_OP_COLLECTION_DELETE, 0, false},
    {"PATCH", "/collections/{}", QV_OP_COLLECTION_UPDATE, 0, false},
    {"PUT", "/collections/{}/vectors/{}", QV_OP_VECTOR_CREATE, 0, false},
    {"DELETE", "/collections/{}/vectors/{}", QV_OP_VECTOR_DELETE, 0, false},
    {"POST", "/collections/aliases", QV_OP_ALIASES_UPDATE, 0, false},
    {"GET", "/collections/{}/aliases", QV_OP_ALIASES_OF, 0, true},
    {"GET", "/aliases", QV_OP_ALIASES_LIST, 0, true},
    {"PUT", "/collections/{}/index", QV_OP_INDEX_CREATE, 0, false},
    {"DELETE", "/collections/{}/index/{}", QV_OP_INDEX_DELETE, 0, false},
    {"PUT", "/collections/{}/points", QV_OP_WRITE, QV_WRITE_UPSERT, false},
    {"POST", "/collections/{}/points/delete", QV_OP_WRITE, QV_WRITE_DELETE, false},
    {"PUT", "/collections/{}/points/vectors", QV_OP_WRITE, QV_WRITE_UPDATE_VECTORS, false},
    {"POST", "/collections/{}/points/vectors/delete", QV_OP_WRITE, QV_WRITE_DELETE_VECTORS, false},
    {"POST", "/collections/{}/points/payload", QV_OP_WRITE, QV_WRITE_SET_PAYLOAD, false},
    {"PUT", "/collections/{}/points/payload", QV_OP_WRITE, QV_WRITE_OVERWRITE_PAYLOAD, false},
    {"POST", "/collections/{}/points/payload/delete", QV_OP_WRITE, QV_WRITE_DELETE_PAYLOAD, false},
    {"POST", "/collections/{}/points/payload/clear", QV_OP_WRITE, QV_WRITE_CLEAR_PAYLOAD, false},
    {"POST", "/collections/{}/points/batch", QV_OP_WRITE_BATCH, 0, false},
    {"POST", "/collections/{}/points", QV_OP_GET, 0, true},
    {"GET", "/collections/{}/points/{}", QV_OP_GET_ONE, 0, true},
    {"POST", "/collections/{}/points/scroll", QV_OP_SCROLL, 0, true},
    {"POST", "/collections/{}/points/count", QV_OP_COUNT, 0, true},
    {"POST", "/collections/{}/facet", QV_OP_FACET, 0, true},
    {"POST", "/collections/{}/points/query", QV_OP_QUERY, 0, true},
    {"POST", "/collections/{}/points/query/batch", QV_OP_QUERY_BATCH, 0, true},
    {"POST", "/collections/{}/points/search", QV_OP_SEARCH, 0, true},
    {"POST", "/collections/{}/points/search/batch", QV_OP_SEARCH_BATCH, 0, true},
    {"GET", "/collections/{}/snapshots", QV_OP_SNAPSHOT_LIST, 0, true},
    {"POST", "/collections/{}/snapshots", QV_OP_SNAPSHOT_CREATE, 0, false},
    {"GET", "/collections/{}/snapshots/{}", QV_OP_SNAPSHOT_GET, 0, true},
    {"DELETE", "/collections/{}/snapshots/{}", QV_OP_SNAPSHOT_DELETE, 0, false},
    {"PUT", "/collections/{}/snapshots/recover", QV_OP_SNAPSHOT_RECOVER, 0, false},
    {"POST", "/collections/{}/snapshots/upload", QV_OP_SNAPSHOT_UPLOAD, 0, false},
    {"GET", "/collections/{}/shards/{}/snapshots", QV_OP_SNAPSHOT_LIST, 0, true},
    {"POST", "/collections/{}/shards/{}/snapshots", QV_OP_SNAPSHOT_CREATE, 0, false},
    {"GET", "/collections/{}/shards/{}/snapshots/{}", QV_OP_SNAPSHOT_GET, 0, true},
    {"DELETE", "/collections/{}/shards/{}/snapshots/{}", QV_OP_SNAPSHOT_DELETE, 0, false},
    {"PUT", "/collections/{}/shards/{}/snapshots/recover", QV_OP_SNAPSHOT_RECOVER, 0, false},
    {"POST", "/collections/{}/shards/{}/snapshots/upload", QV_OP_SNAPSHOT_UPLOAD, 0, false},
    {"GET", "/collections/{}/shards/{}/snapshot", QV_OP_SNAPSHOT_STREAM, 0, true},
    {"GET", "/snapshots", QV_OP_SNAPSHOT_LIST, 0, true},
    {"POST", "/snapshots", QV_OP_SNAPSHOT_CREATE, 0, false},
    {"GET", "/snapshots/{}", QV_OP_SNAPSHOT_GET, 0, true},
    {"DELETE", "/snapshots/{}", QV_OP_SNAPSHOT_DELETE, 0, false},
};

#define ROUTE_COUNT (sizeof routes / sizeof routes[0])

void qv_rest_each_route(void (*visit)(void *arg, const char *method, const char *path), void *arg)
{
    for (size_t i = 0; i < ROUTE_COUNT; i++)
        visit(arg, routes[i].method, routes[i].pattern);
}

/* ---- matching ---- */

/* The next segment of a path, doubled slashes skipped; false at the end. */
static bool next_segment(const char **p, const char *end, struct qv_str *out)
{
    while (*p < end && **p == '/')
        (*p)++;
    out->p = *p;
    while (*p < end && **p != '/')
        (*p)++;
    out->n = (size_t)(*p - out->p);
    return out->n > 0;
}

/* Does the path match the pattern? captured has room for 3. */
static bool path_matches(const char *pattern, const char *path, size_t n, struct qv_str *captured)
{
    const char *pe = pattern + strlen(pattern);
    const char *end = path + n;
    struct qv_str want;
    struct qv_str have;
    int captures = 0;
    for (;;) {
        bool more_pattern = next_segment(&pattern, pe, &want);
        bool more_path = next_segment(&path, end, &have);
        if (more_pattern != more_path)
            return false;
        if (!more_path)
            return true;
        if (want.n == 2 && memcmp(want.p, "{}", 2) == 0) {
            if (captures < 3)
                captured[captures++] = have;
        } else if (!qv_str_equal(want, have)) {
            return false;
        }
    }
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static int check_text(struct qv_str s, struct qv_errmsg *msg)
{
    return qv_utf8_valid(s.p, s.n) ? 0 : qv_fail(msg, QV_EBADREQ, "the path is not UTF-8");
}

/* %XX decoded, in the call's arena. QV_EBADREQ on a broken escape, a NUL or bad UTF-8. */
static int decode_segment(struct qv_call *call, struct qv_str *s, struct qv_errmsg *msg)
{
    if (s->n == 0)
        return 0;
    if (memchr(s->p, '%', s->n) == NULL)
        return check_text(*s, msg);
    char *out = qv_arena_alloc(&call->arena, s->n);
    size_t n = 0;
    if (out == NULL)
        return QV_ETOOBIG;
    for (size_t i = 0; i < s->n; i++) {
        if (s->p[i] != '%') {
            out[n++] = s->p[i];
            continue;
        }
        int high = i + 2 < s->n ? hex(s->p[i + 1]) : -1;
        int low = i + 2 < s->n ? hex(s->p[i + 2]) : -1;
        if (high < 0 || low < 0 || (high == 0 && low == 0))
            return qv_fail(msg, QV_EBADREQ, "the path holds a wrong escape");
        out[n++] = (char)(high * 16 + low);
        i += 2;
    }
    *s = (struct qv_str){out, n};
    return check_text(*s, msg);
}

static const struct route *find_route(const struct qv_call *call, struct qv_str *captured,
                                      bool *other_method)
{
    *other_method = false;
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (!path_matches(routes[i].pattern, call->path, call->path_len, captured))
            continue;
        const char *method = call->method == QV_NET_HEAD ? "GET" : call->method_name;
        if (strcmp(routes[i].method, method) == 0)
            return &routes[i];
        *other_method = true;
    }
    return NULL;
}

bool qv_rest_reads(const struct qv_call *call)
{
    struct qv_str captured[3];
    bool other;
    const struct route *r = find_route(call, captured, &other);
    if (r != NULL)
        return r->reads;
    return call->method == QV_NET_GET || call->method == QV_NET_HEAD;
}

/* ---- answers ---- */

static void reply_error_later(struct qv_call *call, int err, const struct qv_errmsg *msg,
                              double seconds, uint64_t retry_s)
{
    char after[24];
    char text[1024];
    const struct qv_net_header retry = {"retry-after", after};
    snprintf(after, sizeof after, "%llu", (unsigned long long)(retry_s == 0 ? 1 : retry_s));
    struct qv_buf *b = qv_call_out(call);
    struct qv_api_status status = qv_api_status(err);
    qv_api_status_text(err, msg, text, sizeof text);
    qv_buf_clear(b);
    qv_json_write_error(b, text, seconds);
    qv_call_reply(call, status.http, JSON_TYPE, &retry, status.http == 429, b);
}

static void reply_error(struct qv_call *call, int err, const struct qv_errmsg *msg, double seconds)
{
    reply_error_later(call, err, msg, seconds, 0);
}

static void write_snapshot_result(struct qv_op *op, struct qv_buf *b)
{
    if (op->kind == QV_OP_SNAPSHOT_LIST)
        qv_json_write_snapshots(b, &op->out.snapshots);
    else if (op->kind == QV_OP_SNAPSHOT_CREATE && !op->accepted)
        qv_json_write_snapshot(b, op->out.snapshot.made);
    else
        qv_json_write_true(b, true);
}

static void write_points_result(struct qv_op *op, struct qv_buf *b)
{
    switch (op->kind) {
    case QV_OP_WRITE:
        qv_json_write_update(b, &op->write.results[0]);
        break;
    case QV_OP_WRITE_BATCH:
        qv_json_write_updates(b, op->write.results, op->req.write.op_count);
        break;
    case QV_OP_GET:
        qv_json_write_records(b, &op->out.points);
        break;
    case QV_OP_GET_ONE:
        qv_json_write_record(b, &op->out.points.points[0]);
        break;
    case QV_OP_SCROLL:
        qv_json_write_scroll(b, &op->out.scroll);
        break;
    case QV_OP_COUNT:
        qv_json_write_count(b, op->out.count);
        break;
    case QV_OP_FACET:
        qv_json_write_facet(b, &op->out.facet);
        break;
    case QV_OP_QUERY:
        qv_json_write_query(b, &op->out.lists[0]);
        break;
    case QV_OP_QUERY_BATCH:
        qv_json_write_query_batch(b, op->out.lists, op->req.query.query_count);
        break;
    case QV_OP_SEARCH:
        qv_json_write_hits(b, &op->out.lists[0]);
        break;
    case QV_OP_SEARCH_BATCH:
        qv_json_write_hits_batch(b, op->out.lists, op->req.query.query_count);
        break;
    default:
        QV_UNREACHABLE();
    }
}

static void write_cluster_result(struct qv_op *op, struct qv_buf *b)
{
    switch (op->kind) {
    case QV_OP_CLUSTER:
        qv_cluster_write(op, b);
        break;
    case QV_OP_CLUSTER_STATUS:
        qv_cluster_write_status(op, b);
        break;
    case QV_OP_CLUSTER_TELEMETRY:
        qv_cluster_write_telemetry(op, b);
        break;
    default:
        qv_cluster_write_collection(op, b);
    }
}

static void write_result(struct qv_op *op, struct qv_buf *b)
{
    if (qv_op_is_snapshot(op->kind)) {
        write_snapshot_result(op, b);
        return;
    }
    switch (op->kind) {
    case QV_OP_COLLECTION_LIST:
        qv_json_write_collections(b, op->out.names.names, op->out.names.count);
        break;
    case QV_OP_COLLECTION_GET:
        qv_json_write_collection(b, &op->out.info);
        break;
    case QV_OP_COLLECTION_EXISTS:
        qv_json_write_exists(b, op->out.done);
        break;
    case QV_OP_COLLECTION_CREATE:
    case QV_OP_COLLECTION_DELETE:
    case QV_OP_COLLECTION_UPDATE:
    case QV_OP_ALIASES_UPDATE:
    case QV_OP_ISSUES_CLEAR:
    case QV_OP_QUOTAS_SET:
    case QV_OP_CLUSTER_RECOVER:
    case QV_OP_CLUSTER_REMOVE:
    case QV_OP_CLUSTER_DRAIN:
    case QV_OP_CLUSTER_FILL:
    case QV_OP_CLUSTER_UPDATE:
        qv_json_write_true(b, op->out.done);
        break;
    case QV_OP_ALIASES_OF:
    case QV_OP_ALIASES_LIST:
        qv_json_write_aliases(b, &op->out.aliases);
        break;
    case QV_OP_VECTOR_CREATE:
    case QV_OP_VECTOR_DELETE:
    case QV_OP_INDEX_CREATE:
    case QV_OP_INDEX_DELETE:
        qv_json_write_update(b, &op->out.result);
        break;
    case QV_OP_CLUSTER:
    case QV_OP_CLUSTER_STATUS:
    case QV_OP_CLUSTER_TELEMETRY:
    case QV_OP_COLLECTION_CLUSTER:
        write_cluster_result(op, b);
        break;
    case QV_OP_TELEMETRY:
        qv_metrics_write_telemetry(op->edge, op->params.details_level, b);
        break;
    case QV_OP_OPTIMIZATIONS:
        qv_upkeep_write_optimizations(op, b);
        break;
    case QV_OP_ISSUES:
        qv_upkeep_write_issues(op, b);
        break;
    case QV_OP_QUOTAS:
        qv_upkeep_write_quotas(op, b);
        break;
    case QV_OP_LOGGER_GET:
        qv_buf_printf(b, "{\"log_level\":\"%s\"}", qv_logger_level_name(qv_logger_level()));
        break;
    case QV_OP_LOGGER_SET:
        qv_json_write_true(b, true);
        break;
    default:
        write_points_result(op, b);
    }
}

void qv_op_answer_rest(struct qv_op *op, int err)
{
    struct qv_call *call = op->call;
    const struct qv_edge_config *settings = qv_edge_settings(op->edge);
    struct qv_buf *b = qv_call_out(call);
    if (err != 0) {
        qv_op_close_spread(&op->read);
        qv_op_close_survey(&op->survey);
        reply_error_later(call, err, &op->msg, qv_op_seconds(op), op->retry_s);
        return;
    }
    if (op->kind == QV_OP_SNAPSHOT_GET || op->kind == QV_OP_SNAPSHOT_STREAM) {
        qv_op_answer_snapshot_file(op);
        return;
    }
    qv_buf_clear(b);
    if (op->kind == QV_OP_SERVICE) {
        qv_json_write_service(b, settings->api_version, settings->commit, settings->version);
    } else if (op->kind == QV_OP_METRICS) {
        qv_metrics_write(op->edge, b);
        qv_call_reply(call, 200, "text/plain; version=0.0.4", NULL, 0, b);
        return;
    } else {
        qv_json_begin_answer(b);
        write_result(op, b);
        qv_json_end_answer(b, op->accepted, qv_op_seconds(op));
    }
    qv_op_close_spread(&op->read); /* before the call is given back: a node that waits for its calls
                                      waits for the shards that are held, too */
    qv_op_close_survey(&op->survey);
    qv_call_reply(call, op->accepted ? 202 : 200, JSON_TYPE, NULL, 0, b);
}

/* ---- decoding (worker) ---- */

static int read_params(struct qv_op *op, struct qv_json_params *p)
{
    return qv_json_read_params(op->call->query, op->call->query_len, p, &op->msg);
}

static int decode_write(struct qv_op *op, const struct qv_json_params *p)
{
    struct qv_write_req *req = &op->req.write;
    int err;
    if (op->kind == QV_OP_WRITE_BATCH) {
        err = qv_json_read_batch(op->call->body, &op->call->arena, req, &op->msg);
    } else {
        struct qv_write_op *one = QV_ARENA_NEW(&op->call->arena, struct qv_write_op);
        if (one == NULL)
            return QV_ETOOBIG;
        err = qv_json_read_write(op->write_type, op->call->body, &op->call->arena, one, &op->msg);
        req->ops = one;
        req->op_count = 1;
    }
    req->wait = p->wait;
    req->ordering = p->ordering;
    req->timeout_ms = p->timeout_ms;
    return err;
}

static int decode_get_one(struct qv_op *op)
{
    struct qv_get_req *req = &op->req.get;
    struct qv_id *id = QV_ARENA_NEW(&op->call->arena, struct qv_id);
    memset(req, 0, sizeof *req);
    if (id == NULL)
        return QV_ETOOBIG;
    req->ids = id;
    req->id_count = 1;
    req->with_payload.mode = QV_SELECT_ALL;
    req->with_vector.mode = QV_SELECT_ALL;
    return qv_json_read_path_id(op->rest.p, op->rest.n, id, &op->msg);
}

static int decode_query(struct qv_op *op)
{
    static const enum qv_json_query_form forms[] = {
        [QV_OP_QUERY - QV_OP_QUERY] = QV_JSON_QUERY,
        [QV_OP_QUERY_BATCH - QV_OP_QUERY] = QV_JSON_QUERY_BATCH,
        [QV_OP_SEARCH - QV_OP_QUERY] = QV_JSON_SEARCH,
        [QV_OP_SEARCH_BATCH - QV_OP_QUERY] = QV_JSON_SEARCH_BATCH,
    };
    return qv_json_read_query(forms[op->kind - QV_OP_QUERY], op->call->body, &op->call->arena,
                              &op->req.query, &op->msg);
}

/* The id in /cluster/peer/{id}: the path's first captured segment. */
static int decode_member(struct qv_op *op)
{
    const struct qv_str s = op->collection;
    uint64_t id = 0;
    for (size_t i = 0; i < s.n; i++) {
        const unsigned digit = (unsigned)(s.p[i] - '0');
        if (digit > 9 || id > (UINT64_MAX - digit) / 10)
            return qv_fail(&op->msg, QV_EBADREQ, "a peer's id is a number");
        id = id * 10 + digit;
    }
    op->req.member = id;
    op->collection = (struct qv_str){"", 0};
    return 0;
}

/* {"log_level": "debug"}: other keys of the API's are about files and colours. */
static int decode_logger(struct qv_op *op)
{
    struct qv_json j;
    struct qv_str key;
    struct qv_str level = {"", 0};
    char text[16];
    qv_json_init(&j, op->call->body, &op->call->arena, &op->msg);
    qv_json_begin_object(&j);
    while (qv_json_next_key(&j, &key)) {
        if (qv_str_is(key, "log_level"))
            level = qv_json_string(&j);
        else
            qv_json_skip(&j);
    }
    int err = qv_json_finish(&j);
    if (err != 0)
        return err;
    (void)snprintf(text, sizeof text, "%.*s", (int)(level.n < 15 ? level.n : 15), level.p);
    if (qv_logger_parse_level(text, &op->req.log_level) != 0)
        return qv_fail(&op->msg, QV_EINVAL,
                       "log_level: '%s' is not allowed: error, warn, info or debug is", text);
    return 0;
}

static int decode_body(struct qv_op *op, const struct qv_json_params *params)
{
    struct qv_arena *arena = &op->call->arena;
    struct qv_bytes body = op->call->body;
    if (qv_op_is_snapshot(op->kind))
        return qv_op_decode_snapshot(op);
    switch (op->kind) {
    case QV_OP_COLLECTION_CREATE:
        op->req.config = QV_ARENA_NEW(arena, struct qv_collection_config);
        if (op->req.config == NULL)
            return QV_ETOOBIG;
        return qv_json_read_create_collection(body, arena, op->req.config, &op->msg);
    case QV_OP_QUOTAS_SET:
        return qv_json_read_quota(body, arena, &op->req.quota, &op->msg);
    case QV_OP_COLLECTION_UPDATE:
        return qv_json_read_update_collection(body, arena, &op->req.diff, &op->msg);
    case QV_OP_VECTOR_CREATE:
        op->req.vector.name = op->rest;
        return qv_json_read_vector_name(body, arena, op->rest, &op->req.vector.spec, &op->msg);
    case QV_OP_VECTOR_DELETE:
        op->req.vector.name = op->rest;
        return 0;
    case QV_OP_ALIASES_UPDATE:
        return qv_json_read_aliases(body, arena, &op->req.aliases, &op->msg);
    case QV_OP_INDEX_CREATE:
        return qv_json_read_field_index(body, arena, &op->req.index, &op->msg);
    case QV_OP_INDEX_DELETE:
        op->req.index.field = op->rest;
        return 0;
    case QV_OP_WRITE:
    case QV_OP_WRITE_BATCH:
        return decode_write(op, params);
    case QV_OP_GET:
        return qv_json_read_get(body, arena, &op->req.get, &op->msg);
    case QV_OP_GET_ONE:
        return decode_get_one(op);
    case QV_OP_SCROLL:
        return qv_json_read_scroll(body, arena, &op->req.scroll, &op->msg);
    case QV_OP_COUNT:
        return qv_json_read_count(body, arena, &op->req.count, &op->msg);
    case QV_OP_LOGGER_SET:
        return decode_logger(op);
    case QV_OP_CLUSTER_REMOVE:
    case QV_OP_CLUSTER_DRAIN:
    case QV_OP_CLUSTER_FILL:
        return decode_member(op);
    case QV_OP_CLUSTER_UPDATE:
        return qv_json_read_cluster_update(body, arena, &op->req.cluster, &op->msg);
    case QV_OP_FACET:
        return qv_json_read_facet(body, arena, &op->req.facet, &op->msg);
    case QV_OP_QUERY:
    case QV_OP_QUERY_BATCH:
    case QV_OP_SEARCH:
    case QV_OP_SEARCH_BATCH:
        return decode_query(op);
    default:
        return 0;
    }
}

int qv_op_decode_rest(struct qv_op *op)
{
    int err = read_params(op, &op->params);
    if (err == 0)
        err = decode_body(op, &op->params);
    struct qv_read_opts *opts = qv_op_read_opts(op);
    if (err == 0 && opts != NULL)
        *opts = op->params.read;
    op->timeout_ms = op->params.timeout_ms;
    return err;
}

/* ---- the handler (loop thread) ---- */

static void reply_text(struct qv_call *call, int status, const char *text)
{
    struct qv_buf *b = qv_call_out(call);
    qv_buf_clear(b);
    qv_buf_str(b, text);
    qv_call_reply(call, status, "text/plain", NULL, 0, b);
}

static bool answer_health(struct qv_edge *edge, struct qv_call *call)
{
    struct qv_str none[3];
    if (path_matches("/healthz", call->path, call->path_len, none) ||
        path_matches("/livez", call->path, call->path_len, none)) {
        reply_text(call, 200, "healthz check passed");
        return true;
    }
    if (path_matches("/readyz", call->path, call->path_len, none)) {
        const bool ready = qv_node_is_ready(qv_edge_node(edge));
        reply_text(call, ready ? 200 : 503,
                   ready ? "all shards are ready" : "not a part of the cluster yet");
        return true;
    }
    return false;
}

static void answer_unrouted(struct qv_call *call, bool other_method)
{
    struct qv_str captured[3];
    struct qv_errmsg msg;
    for (size_t i = 0; i < qv_not_served_operation_count; i++) {
        const struct qv_not_served_operation *o = &qv_not_served_operations[i];
        if (strcmp(o->method, call->method_name) == 0 &&
            path_matches(o->path, call->path, call->path_len, captured)) {
            qv_fail(&msg, QV_ENOTIMPL, "Not implemented: %s", o->name);
            reply_error(call, QV_ENOTIMPL, &msg, 0);
            return;
        }
    }
    int shown = (int)(call->path_len < 200 ? call->path_len : 200);
    if (other_method) {
        qv_fail(&msg, QV_EMETHOD, "Method %s is not allowed here", call->method_name);
        reply_error(call, QV_EMETHOD, &msg, 0);
    } else {
        qv_fail(&msg, QV_ENOTFOUND, "no such path: %.*s", shown, call->path);
        reply_error(call, QV_ENOTFOUND, &msg, 0);
    }
}

void qv_rest_handle(struct qv_edge *edge, struct qv_call *call)
{
    struct qv_str captured[3] = {{"", 0}, {"", 0}, {"", 0}};
    struct qv_errmsg msg = {""};
    bool other_method;
    if (answer_health(edge, call))
        return;
    const struct route *r = find_route(call, captured, &other_method);
    if (r == NULL) {
        answer_unrouted(call, other_method);
        return;
    }
    struct qv_op *op = QV_ARENA_NEW(&call->arena, struct qv_op);
    int err = op == NULL ? QV_ENOMEM : decode_segment(call, &captured[0], &msg);
    if (err == 0)
        err = decode_segment(call, &captured[1], &msg);
    if (err == 0)
        err = decode_segment(call, &captured[2], &msg);
    if (err != 0) {
        reply_error(call, err, &msg, 0);
        return;
    }
    op->edge = edge;
    op->call = call;
    op->kind = r->kind;
    op->write_type = r->write;
    op->collection = captured[0];
    op->rest = captured[1];
    op->third = captured[2];
    qv_op_start(op);
}

void qv_rest_prepare_snapshot(struct qv_edge *edge, struct qv_call *call)
{
    struct qv_str captured[3];
    bool other;
    const struct route *r = find_route(call, captured, &other);
    if (r != NULL && qv_op_is_snapshot(r->kind))
        qv_op_prepare_snapshot(edge, call, r->kind == QV_OP_SNAPSHOT_UPLOAD);
}

void qv_rest_refuse(struct qv_call *call, int err, const char *text)
{
    struct qv_errmsg msg;
    if (err == QV_EAUTH) {
        reply_text(call, 401, text);
        return;
    }
    qv_fail(&msg, err, "%s", text);
    reply_error(call, err, &msg, 0);
}
