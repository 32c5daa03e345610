/* Asks: one request, and the legs it is for. */
#include "wire/peer_codec.h"

#include "base/qv_assert.h"
#include "core/limits.h"
#include "wire/peer_codec_private.h"

#define TEXT_BYTES_MAX QV_REQUEST_BYTES_DEFAULT

/* On the wire, for ever. */
static const uint8_t kind_numbers[] = {
    [QV_ASK_SEARCH] = 1, [QV_ASK_FETCH] = 2, [QV_ASK_SCROLL] = 3,
    [QV_ASK_COUNT] = 4,  [QV_ASK_FACET] = 5, [QV_ASK_DIGESTS] = 6,
};
QV_STATIC_ASSERT(sizeof kind_numbers == QV_ASK_KIND_COUNT, "a kind without a number");

static const uint8_t query_numbers[] = {
    [QV_QUERY_VECTOR] = 1,   [QV_QUERY_ID] = 2,     [QV_QUERY_SCROLL] = 3,
    [QV_QUERY_ORDER_BY] = 4, [QV_QUERY_SAMPLE] = 5,
};
#define QUERY_KINDS (sizeof query_numbers)

/* ---- writing ---- */

static void put_opt_u64(struct qv_peer_out *o, uint32_t number, struct qv_opt_u64 v)
{
    if (v.has)
        qv_pb_put_u64(o->b, number, v.v);
}

static void put_opt_bool(struct qv_peer_out *o, uint32_t number, struct qv_opt_bool v)
{
    if (v.has)
        qv_pb_put_bool(o->b, number, v.v);
}

static void put_opt_f64(struct qv_peer_out *o, uint32_t number, struct qv_opt_f64 v)
{
    if (v.has)
        qv_pb_put_f64(o->b, number, v.v);
}

static void put_query(struct qv_peer_out *o, const struct qv_query *q)
{
    const size_t mark = qv_peer_begin(o, 7);
    QV_ASSERT((size_t)q->kind < QUERY_KINDS);
    qv_pb_put_u64(o->b, 1, query_numbers[q->kind]);
    if (q->kind == QV_QUERY_VECTOR)
        qv_peer_put_vec(o, 2, &q->vec);
    qv_peer_put_id(o, 3, &q->id);
    if (q->order_by != NULL)
        qv_peer_put_order_by(o, 4, q->order_by);
    qv_peer_put_str(o, 5, q->using_);
    qv_peer_put_filter(o, 6, q->filter);
    qv_peer_put_u64(o, 7, q->limit);
    qv_peer_put_u64(o, 8, q->offset);
    if (q->has_threshold)
        qv_pb_put_f32(o->b, 9, q->threshold);
    put_opt_u64(o, 10, q->hnsw_ef);
    qv_peer_put_bool(o, 11, q->exact);
    qv_peer_put_bool(o, 12, q->indexed_only);
    put_opt_bool(o, 13, q->quant_ignore);
    put_opt_bool(o, 14, q->quant_rescore);
    put_opt_f64(o, 15, q->quant_oversampling);
    put_opt_f64(o, 16, q->recall_target);
    qv_peer_put_bool(o, 17, q->explain);
    qv_peer_put_payload_select(o, 18, &q->with_payload);
    qv_peer_put_vector_select(o, 19, &q->with_vector);
    qv_peer_put_bool(o, 20, q->vec_stored);
    if (q->has_seed)
        qv_peer_put_fixed64(o, 21, q->seed);
    qv_peer_put_bool(o, 22, q->allow_partial);
    put_opt_u64(o, 23, q->n_probe);
    qv_peer_end(o, mark);
}

static void put_leg(struct qv_peer_out *o, const struct qv_leg *leg)
{
    const size_t mark = qv_peer_begin(o, 3);
    qv_pb_put_bytes(o->b, 1, leg->collection, sizeof leg->collection);
    qv_peer_put_u64(o, 2, leg->shard);
    qv_peer_put_u64(o, 3, leg->incarnation);
    qv_peer_put_u64(o, 4, leg->epoch);
    qv_peer_put_cover(o, 5, &leg->cover);
    if (leg->limit_count > 0) {
        const size_t list = qv_peer_begin(o, 6);
        for (uint32_t i = 0; i < leg->limit_count; i++)
            qv_pb_put_varint(o->b, leg->limits[i]);
        qv_peer_end(o, list);
    }
    qv_peer_put_ids(o, 7, leg->ids, leg->id_count);
    qv_peer_end(o, mark);
}

static void put_opts(struct qv_peer_out *o, const struct qv_read_opts *opts)
{
    qv_peer_put_u64(o, 4, opts->timeout_ms);
    qv_peer_put_u64(o, 5, opts->consistency_factor);
}

static void put_scroll(struct qv_peer_out *o, const struct qv_scroll_req *req)
{
    put_opts(o, &req->opts);
    qv_peer_put_payload_select(o, 8, &req->with_payload);
    qv_peer_put_vector_select(o, 9, &req->with_vector);
    qv_peer_put_filter(o, 10, req->filter);
    if (req->order_by != NULL)
        qv_peer_put_order_by(o, 11, req->order_by);
    if (req->has_offset)
        qv_peer_put_id(o, 12, &req->offset);
    qv_peer_put_u64(o, 13, req->limit);
}

static void put_facet(struct qv_peer_out *o, const struct qv_facet_req *req)
{
    put_opts(o, &req->opts);
    qv_peer_put_filter(o, 10, req->filter);
    qv_peer_put_u64(o, 13, req->limit);
    qv_pb_put_str(o->b, 14, req->key);
    qv_peer_put_bool(o, 15, req->exact);
}

static void put_request(struct qv_peer_out *o, const struct qv_ask *ask)
{
    switch (ask->kind) {
    case QV_ASK_SEARCH:
        put_opts(o, &ask->req.query->opts);
        for (uint32_t i = 0; i < ask->req.query->query_count; i++)
            put_query(o, &ask->req.query->queries[i]);
        break;
    case QV_ASK_FETCH:
        put_opts(o, &ask->req.get->opts);
        qv_peer_put_payload_select(o, 8, &ask->req.get->with_payload);
        qv_peer_put_vector_select(o, 9, &ask->req.get->with_vector);
        break;
    case QV_ASK_SCROLL:
        put_scroll(o, ask->req.scroll);
        break;
    case QV_ASK_COUNT:
        put_opts(o, &ask->req.count->opts);
        qv_peer_put_filter(o, 10, ask->req.count->filter);
        qv_peer_put_bool(o, 15, ask->req.count->exact);
        break;
    case QV_ASK_FACET:
        put_facet(o, ask->req.facet);
        break;
    case QV_ASK_DIGESTS:
        break;
    case QV_ASK_KIND_COUNT:
        QV_UNREACHABLE();
    }
}

void qv_peer_encode_ask(struct qv_buf *b, const struct qv_ask *ask)
{
    struct qv_peer_out o = {b, b->len};
    QV_ASSERT(ask->kind < QV_ASK_KIND_COUNT && ask->leg_count <= QV_PEER_LEGS_MAX);
    qv_pb_put_u64(b, 1, QV_PEER_FEATURE_LEVEL);
    qv_pb_put_u64(b, 2, kind_numbers[ask->kind]);
    qv_peer_put_u64(&o, 6, ask->hops_left);
    put_request(&o, ask);
    for (uint32_t i = 0; i < ask->leg_count; i++)
        put_leg(&o, &ask->legs[i]);
}

/* ---- reading ---- */

static enum qv_query_kind query_kind(struct qv_peer_in *m)
{
    const uint64_t number = qv_peer_u64(m);
    for (size_t i = 0; i < QUERY_KINDS; i++) {
        if (query_numbers[i] == number)
            return (enum qv_query_kind)i;
    }
    qv_peer_fail_newer(m, "kind of query", number);
    return QV_QUERY_SCROLL;
}

static struct qv_opt_u64 opt_u64(struct qv_peer_in *m)
{
    return (struct qv_opt_u64){true, qv_peer_u64(m)};
}

static struct qv_opt_bool opt_bool(struct qv_peer_in *m)
{
    return (struct qv_opt_bool){true, qv_peer_bool(m)};
}

static struct qv_opt_f64 opt_f64(struct qv_peer_in *m)
{
    return (struct qv_opt_f64){true, qv_peer_f64(m)};
}

/* Fields from 9 on: how to search. */
static void read_params(struct qv_peer_in *m, struct qv_query *q)
{
    switch (m->number) {
    case 9:
        q->has_threshold = true;
        q->threshold = qv_peer_f32(m);
        break;
    case 10:
        q->hnsw_ef = opt_u64(m);
        break;
    case 11:
        q->exact = qv_peer_bool(m);
        break;
    case 12:
        q->indexed_only = qv_peer_bool(m);
        break;
    case 13:
        q->quant_ignore = opt_bool(m);
        break;
    case 14:
        q->quant_rescore = opt_bool(m);
        break;
    case 15:
        q->quant_oversampling = opt_f64(m);
        break;
    case 16:
        q->recall_target = opt_f64(m);
        break;
    case 17:
        q->explain = qv_peer_bool(m);
        break;
    case 18:
        q->with_payload = qv_peer_payload_select(m);
        break;
    case 19:
        q->with_vector = qv_peer_vector_select(m);
        break;
    case 20:
        q->vec_stored = qv_peer_bool(m);
        break;
    case 21:
        q->has_seed = true;
        q->seed = qv_peer_fixed64(m);
        break;
    case 22:
        q->allow_partial = qv_peer_bool(m);
        break;
    case 23:
        q->n_probe = opt_u64(m);
        break;
    default:
        break;
    }
}

static void check_query(struct qv_peer_in *m, const struct qv_query *q, bool has_kind, bool has_vec)
{
    struct qv_errmsg why = {""};
    if (m->c->err != 0)
        return;
    if (!has_kind || (q->kind == QV_QUERY_VECTOR && !has_vec) ||
        (q->kind == QV_QUERY_ID && q->id.type == 0) ||
        (q->kind == QV_QUERY_ORDER_BY && q->order_by == NULL))
        qv_peer_fail(m, "a query lacks what its kind needs");
    else if (q->limit > QV_PEER_LIMIT_MAX || q->offset > QV_PEER_LIMIT_MAX - q->limit)
        qv_peer_fail(m, "limit and offset are too large");
    else if (qv_query_check_params(q, &why) != 0)
        qv_peer_fail(m, why.text);
}

static void read_query(struct qv_peer_in *m, struct qv_query *q)
{
    struct qv_peer_in in = qv_peer_sub(m, "Query");
    bool has_kind = false;
    bool has_vec = false;
    q->vec.rows = 1;
    while (qv_peer_next(&in)) {
        switch (in.number) {
        case 1:
            q->kind = query_kind(&in);
            has_kind = true;
            break;
        case 2:
            q->vec = qv_peer_vec(&in, true);
            has_vec = true;
            break;
        case 3:
            q->id = qv_peer_id(&in);
            break;
        case 4:
            q->order_by = qv_peer_order_by(&in);
            break;
        case 5:
            q->using_ = qv_peer_text(&in, TEXT_BYTES_MAX);
            break;
        case 6:
            q->filter = qv_peer_filter(&in);
            break;
        case 7:
            q->limit = qv_peer_u64(&in);
            break;
        case 8:
            q->offset = qv_peer_u64(&in);
            break;
        default:
            read_params(&in, q);
            break;
        }
    }
    check_query(&in, q, has_kind, has_vec);
}

static void read_limits(struct qv_peer_in *m, struct qv_leg *leg)
{
    const struct qv_bytes v = qv_peer_bytes(m);
    if (v.n > (size_t)QV_BATCH_OPS_MAX * 5) {
        qv_peer_fail(m, "too many limits");
        return;
    }
    struct qv_rd r = qv_pb_reader(v);
    uint32_t *limits = QV_PEER_ARRAY(m->c, uint32_t, v.n); /* one takes a byte at least */
    uint32_t n = 0;
    while (limits != NULL && qv_rd_left(&r) > 0) {
        const uint64_t limit = qv_pb_varint(&r);
        if (r.failed || limit > QV_PEER_LIMIT_MAX) {
            qv_peer_fail(m, "not limits");
            return;
        }
        limits[n++] = (uint32_t)limit;
    }
    leg->limits = limits;
    leg->limit_count = n;
}

static void read_leg(struct qv_peer_in *m, struct qv_leg *leg)
{
    struct qv_peer_in in = qv_peer_sub(m, "Leg");
    bool has_collection = false;
    while (qv_peer_next(&in)) {
        switch (in.number) {
        case 1:
            qv_peer_uuid(&in, leg->collection);
            has_collection = true;
            break;
        case 2:
            leg->shard = qv_peer_u32(&in, UINT32_MAX);
            break;
        case 3:
            leg->incarnation = qv_peer_u64(&in);
            break;
        case 4:
            leg->epoch = qv_peer_u64(&in);
            break;
        case 5:
            leg->cover = qv_peer_cover(&in);
            break;
        case 6:
            read_limits(&in, leg);
            break;
        case 7:
            qv_peer_ids(&in, QV_BATCH_POINTS_MAX, &leg->ids, &leg->id_count);
            break;
        default:
            break;
        }
    }
    if (!has_collection)
        qv_peer_fail(&in, "a leg names no collection");
}

/* The fields of all kinds. */
struct ask_fields {
    enum qv_ask_kind kind; /* KIND_COUNT: not given */
    struct qv_leg *legs;
    uint32_t leg_count;
    struct qv_query *queries;
    uint32_t query_count;
    struct qv_read_opts opts;
    uint8_t hops_left;
    struct qv_payload_select with_payload;
    struct qv_vector_select with_vector;
    const struct qv_filter *filter;
    const struct qv_order_by *order_by;
    bool has_offset;
    struct qv_id offset;
    uint64_t limit;
    struct qv_str key;
    struct qv_path path;
    bool exact;
};

static void read_kind(struct qv_peer_in *m, struct ask_fields *f)
{
    const uint64_t number = qv_peer_u64(m);
    f->kind = 0;
    while (f->kind < QV_ASK_KIND_COUNT && kind_numbers[f->kind] != number)
        f->kind++;
    if (f->kind == QV_ASK_KIND_COUNT)
        qv_peer_fail_newer(m, "kind of ask", number);
}

static void read_one_leg(struct qv_peer_in *m, struct ask_fields *f)
{
    if (f->legs == NULL)
        f->legs = QV_PEER_ARRAY(m->c, struct qv_leg, 1 + qv_peer_count(m, 3, QV_PEER_LEGS_MAX - 1));
    if (f->legs != NULL && m->c->err == 0)
        read_leg(m, &f->legs[f->leg_count++]);
}

static void read_one_query(struct qv_peer_in *m, struct ask_fields *f)
{
    if (f->queries == NULL)
        f->queries =
            QV_PEER_ARRAY(m->c, struct qv_query, 1 + qv_peer_count(m, 7, QV_BATCH_OPS_MAX - 1));
    if (f->queries != NULL && m->c->err == 0)
        read_query(m, &f->queries[f->query_count++]);
}

/* Fields from 8 on. */
static void read_rest(struct qv_peer_in *m, struct ask_fields *f)
{
    switch (m->number) {
    case 8:
        f->with_payload = qv_peer_payload_select(m);
        break;
    case 9:
        f->with_vector = qv_peer_vector_select(m);
        break;
    case 10:
        f->filter = qv_peer_filter(m);
        break;
    case 11:
        f->order_by = qv_peer_order_by(m);
        break;
    case 12:
        f->has_offset = true;
        f->offset = qv_peer_id(m);
        break;
    case 13:
        f->limit = qv_peer_u64(m);
        if (f->limit > QV_PEER_LIMIT_MAX)
            qv_peer_fail(m, "the limit is too large");
        break;
    case 14:
        f->path = qv_peer_path(m, &f->key);
        break;
    case 15:
        f->exact = qv_peer_bool(m);
        break;
    default:
        break;
    }
}

static void read_ask(struct qv_peer_in *m, struct ask_fields *f)
{
    while (qv_peer_next(m)) {
        switch (m->number) {
        case 1:
            qv_peer_check_needs(m);
            break;
        case 2:
            read_kind(m, f);
            break;
        case 3:
            read_one_leg(m, f);
            break;
        case 4:
            f->opts.timeout_ms = qv_peer_u64(m);
            break;
        case 5:
            f->opts.consistency_factor = qv_peer_u32(m, UINT32_MAX);
            break;
        case 6:
            f->hops_left = (uint8_t)qv_peer_u32(m, UINT8_MAX);
            break;
        case 7:
            read_one_query(m, f);
            break;
        default:
            read_rest(m, f);
            break;
        }
    }
}

static void check_ask(struct qv_peer_in *m, const struct ask_fields *f)
{
    uint32_t limits = 0;
    if (f->kind == QV_ASK_SEARCH)
        limits = f->query_count;
    else if (f->kind == QV_ASK_SCROLL || f->kind == QV_ASK_FACET)
        limits = 1;
    if (f->kind == QV_ASK_KIND_COUNT)
        qv_peer_fail(m, "an ask without a kind");
    else if (f->kind == QV_ASK_FACET && f->path.count == 0)
        qv_peer_fail(m, "a facet without a key");
    for (uint32_t i = 0; i < f->leg_count; i++) {
        if (f->legs[i].limit_count != limits)
            qv_peer_fail(m, "a leg has not as many limits as there are queries");
    }
}

/* A copy in the arena; NULL and an error when it is full. */
static const void *keep(struct qv_peer_ctx *c, const void *req, size_t bytes)
{
    const void *copy = qv_arena_dup(c->arena, req, bytes);
    if (copy == NULL)
        qv_peer_fail_full(c);
    return copy;
}

/* What the kind wants of the fields. */
static void set_request(struct qv_peer_ctx *c, const struct ask_fields *f, struct qv_ask *out)
{
    const struct qv_query_req query = {f->queries, f->query_count, f->opts};
    const struct qv_get_req get = {
        .with_payload = f->with_payload, .with_vector = f->with_vector, .opts = f->opts};
    const struct qv_scroll_req scroll = {.filter = f->filter,
                                         .order_by = f->order_by,
                                         .has_offset = f->has_offset,
                                         .offset = f->offset,
                                         .limit = f->limit,
                                         .with_payload = f->with_payload,
                                         .with_vector = f->with_vector,
                                         .opts = f->opts};
    const struct qv_count_req count = {.filter = f->filter, .exact = f->exact, .opts = f->opts};
    const struct qv_facet_req facet = {.key = f->key,
                                       .path = f->path,
                                       .filter = f->filter,
                                       .limit = f->limit,
                                       .exact = f->exact,
                                       .opts = f->opts};
    switch (f->kind) {
    case QV_ASK_SEARCH:
        out->req.query = keep(c, &query, sizeof query);
        break;
    case QV_ASK_FETCH:
        out->req.get = keep(c, &get, sizeof get);
        break;
    case QV_ASK_SCROLL:
        out->req.scroll = keep(c, &scroll, sizeof scroll);
        break;
    case QV_ASK_COUNT:
        out->req.count = keep(c, &count, sizeof count);
        break;
    case QV_ASK_FACET:
        out->req.facet = keep(c, &facet, sizeof facet);
        break;
    case QV_ASK_DIGESTS:
    case QV_ASK_KIND_COUNT:
        break;
    }
}

int qv_peer_decode_ask(struct qv_bytes in, struct qv_arena *arena, struct qv_ask *out,
                       struct qv_errmsg *msg)
{
    struct qv_peer_ctx c = {.arena = arena, .msg = msg};
    struct qv_peer_in m = qv_peer_open(&c, in, "Ask");
    struct ask_fields f = {.kind = QV_ASK_KIND_COUNT};
    *out = (struct qv_ask){0};
    read_ask(&m, &f);
    if (c.err == 0)
        check_ask(&m, &f);
    if (c.err == 0)
        set_request(&c, &f, out);
    if (c.err != 0)
        return c.err;
    out->kind = f.kind;
    out->legs = f.legs;
    out->leg_count = f.leg_count;
    out->hops_left = f.hops_left;
    return 0;
}
