#include "request_gen.h"

#include "base/qv_assert.h"
#include "doc_gen.h"

#include <math.h>

#define ARRAY(g, type, n) ((type *)taken(qv_arena_calloc((g)->arena, (n) + 1, sizeof(type))))

static void *taken(void *p)
{
    QV_ASSERT(p != NULL);
    return p;
}

static uint32_t below(const struct request_gen *g, uint32_t n)
{
    return (uint32_t)qv_rng_below(g->rng, n);
}

bool request_gen_chance(const struct request_gen *g, unsigned per_cent)
{
    return below(g, 100) < per_cent;
}

uint64_t request_gen_u64(const struct request_gen *g)
{
    switch (below(g, 5)) {
    case 0:
        return 0;
    case 1:
        return below(g, 300);
    case 2:
        return UINT64_MAX - below(g, 2);
    case 3:
        return (uint64_t)1 << below(g, 64);
    default:
        return qv_rng_u64(g->rng);
    }
}

static int64_t any_i64(const struct request_gen *g)
{
    return (int64_t)request_gen_u64(g);
}

static double any_f64(const struct request_gen *g)
{
    static const double some[] = {0.0, -0.0, 1.5, -3.25, 1e308, 5e-324, 0.1};
    return request_gen_chance(g, 50) ? some[below(g, 7)] : qv_rng_unit(g->rng) * 1e6 - 5e5;
}

static float any_f32(const struct request_gen *g, bool any_bits)
{
    static const float some[] = {0.0f, -0.0f, 1.0f, 1e-45f, 3.4e38f};
    static const uint32_t odd[] = {0x7F800000u, 0xFF800000u, 0x7FC00001u, 0xFFFFFFFFu};
    float v = request_gen_chance(g, 20) ? some[below(g, 5)] : qv_rng_gauss(g->rng);
    if (any_bits && request_gen_chance(g, 10))
        memcpy(&v, &odd[below(g, 4)], sizeof v);
    return v;
}

struct qv_str request_gen_text(const struct request_gen *g)
{
    static const char *const some[] = {"", "a", "red coat", "köln", "日本語", "\xF0\x9F\x8F\xB9"};
    if (request_gen_chance(g, 10))
        return (struct qv_str){"nul\0in it", 9};
    return qv_str_of(some[below(g, 6)]);
}

struct qv_id request_gen_id(const struct request_gen *g)
{
    if (request_gen_chance(g, 70))
        return qv_id_num(request_gen_u64(g));
    return (struct qv_id){qv_rng_u64(g->rng), request_gen_u64(g), QV_ID_UUID};
}

struct qv_id *request_gen_ids(const struct request_gen *g, uint32_t max, uint32_t *count)
{
    *count = below(g, max + 1);
    struct qv_id *ids = ARRAY(g, struct qv_id, *count);
    for (uint32_t i = 0; i < *count; i++)
        ids[i] = request_gen_id(g);
    return *count > 0 ? ids : NULL;
}

struct qv_path request_gen_path(const struct request_gen *g, struct qv_str *text)
{
    static const char *const heads[] = {"a", "color", "\"with space\"", "\"\"", "ключ", "a-b_7"};
    static const char *const tails[] = {".b", "[]", "[0]", "[4294967295]", ".\"x.y\"", ".c"};
    struct qv_path path;
    struct qv_buf b;
    qv_buf_init(&b, 0);
    qv_buf_str(&b, heads[below(g, 6)]);
    for (uint32_t i = below(g, 4); i > 0; i--)
        qv_buf_str(&b, tails[below(g, 6)]);
    const struct qv_str s = {taken(qv_arena_strndup(g->arena, (const char *)b.data, b.len)), b.len};
    qv_buf_close(&b);
    const int err = qv_path_parse(g->arena, s, &path, NULL);
    QV_ASSERT(err == 0);
    if (text != NULL)
        *text = s;
    return path;
}

static struct qv_doc keep_doc(const struct request_gen *g, struct qv_buf *b)
{
    const struct qv_doc d = {taken(qv_arena_dup(g->arena, b->data, b->len)), b->len};
    qv_buf_close(b);
    return d;
}

struct qv_doc request_gen_object(const struct request_gen *g)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    doc_gen_random_object(&b, g->rng, 3);
    return keep_doc(g, &b);
}

/* ---- vectors ---- */

struct qv_vec request_gen_vec(const struct request_gen *g, bool any_bits)
{
    struct qv_vec v = {.kind = (enum qv_vec_kind)below(g, 3), .rows = 1};
    v.dim = below(g, g->dim_max) + (v.kind != QV_VEC_SPARSE);
    if (v.kind == QV_VEC_MULTI)
        v.rows = 1 + below(g, 4);
    const size_t n = (size_t)v.dim * v.rows;
    float *values = ARRAY(g, float, n);
    uint32_t *indices = ARRAY(g, uint32_t, n);
    for (size_t i = 0; i < n; i++) {
        values[i] = any_f32(g, any_bits);
        indices[i] = (i > 0 ? indices[i - 1] + 1 : 0) + below(g, 1000);
    }
    v.values = values;
    v.indices = v.kind == QV_VEC_SPARSE ? indices : NULL;
    return v;
}

struct qv_named_vec *request_gen_named(const struct request_gen *g, bool any_bits, uint32_t *count)
{
    static const char *const names[] = {"", "image", "text", "größe"};
    const uint32_t first = below(g, 4);
    *count = below(g, 4);
    struct qv_named_vec *vecs = ARRAY(g, struct qv_named_vec, *count);
    for (uint32_t i = 0; i < *count; i++) {
        vecs[i].name = qv_str_of(names[(first + i) % 4]);
        vecs[i].vec = request_gen_vec(g, any_bits);
    }
    return *count > 0 ? vecs : NULL;
}

struct qv_cover request_gen_cover(const struct request_gen *g)
{
    if (request_gen_chance(g, 20))
        return qv_cover_none;
    if (request_gen_chance(g, 20))
        return qv_cover_all;
    const uint32_t n = 1 + below(g, 5);
    struct qv_interval *list = ARRAY(g, struct qv_interval, n);
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t base = UINT64_MAX / n * i;
        list[i].first = base + below(g, 1000);
        list[i].last = list[i].first + qv_rng_below(g->rng, UINT64_MAX / n - 2000);
    }
    return (struct qv_cover){list, n};
}

/* ---- filters ---- */

static struct qv_filter *any_filter(const struct request_gen *g, unsigned depth);

static struct qv_match any_match(const struct request_gen *g, uint32_t type)
{
    if (type == 0)
        return (struct qv_match){.type = QV_MATCH_STRING, .s = request_gen_text(g)};
    if (type == 1)
        return (struct qv_match){.type = QV_MATCH_INT, .i = any_i64(g)};
    return (struct qv_match){.type = QV_MATCH_BOOL, .b = request_gen_chance(g, 50)};
}

static void any_list(const struct request_gen *g, struct qv_cond *c)
{
    const uint32_t type = below(g, 2);
    const uint32_t n = below(g, 6);
    struct qv_match *items = ARRAY(g, struct qv_match, n);
    for (uint32_t i = 0; i < n; i++)
        items[i] = any_match(g, type);
    c->u.any.items = items;
    c->u.any.count = n;
}

static struct qv_range any_range(const struct request_gen *g)
{
    struct qv_range r = {.has_lt = request_gen_chance(g, 50),
                         .has_gt = request_gen_chance(g, 50),
                         .has_lte = request_gen_chance(g, 50),
                         .has_gte = request_gen_chance(g, 50)};
    r.lt = any_f64(g);
    r.gt = any_f64(g);
    r.lte = any_f64(g);
    r.gte = any_f64(g);
    return r;
}

static struct qv_datetime_range any_times(const struct request_gen *g)
{
    struct qv_datetime_range r = {.has_lt = request_gen_chance(g, 50),
                                  .has_gt = request_gen_chance(g, 50),
                                  .has_lte = request_gen_chance(g, 50),
                                  .has_gte = request_gen_chance(g, 50)};
    r.lt = any_i64(g);
    r.gt = any_i64(g);
    r.lte = any_i64(g);
    r.gte = any_i64(g);
    return r;
}

static struct qv_geo_point any_place(const struct request_gen *g)
{
    return (struct qv_geo_point){qv_rng_unit(g->rng) * 360 - 180, qv_rng_unit(g->rng) * 180 - 90};
}

static struct qv_geo_ring any_ring(const struct request_gen *g)
{
    const uint32_t n = QV_GEO_RING_POINTS_MIN + below(g, 5);
    struct qv_geo_point *p = ARRAY(g, struct qv_geo_point, n);
    for (uint32_t i = 0; i < n; i++)
        p[i] = any_place(g);
    p[n - 1] = p[0];
    return (struct qv_geo_ring){p, n};
}

static const struct qv_geo_polygon *any_polygon(const struct request_gen *g)
{
    struct qv_geo_polygon *polygon = ARRAY(g, struct qv_geo_polygon, 1);
    struct qv_geo_ring *rings = ARRAY(g, struct qv_geo_ring, 3);
    polygon->exterior = any_ring(g);
    polygon->interior_count = below(g, 3);
    polygon->interiors = rings;
    for (uint32_t i = 0; i < polygon->interior_count; i++)
        rings[i] = any_ring(g);
    return polygon;
}

static void any_area(const struct request_gen *g, struct qv_cond *c)
{
    if (c->type == QV_COND_GEO_BOX)
        c->u.geo_box = (struct qv_geo_box){any_place(g), any_place(g)};
    else if (c->type == QV_COND_GEO_RADIUS)
        c->u.geo_circle = (struct qv_geo_circle){any_place(g), any_f64(g)};
    else
        c->u.geo_polygon = any_polygon(g);
}

static bool has_key(enum qv_cond_type t)
{
    return t != QV_COND_HAS_ID && t != QV_COND_HAS_VECTOR && t != QV_COND_SLICE &&
           t != QV_COND_FILTER;
}

static void any_cond(const struct request_gen *g, enum qv_cond_type type, unsigned depth,
                     struct qv_cond *c)
{
    c->type = type;
    if (has_key(type) || (type == QV_COND_FILTER && request_gen_chance(g, 30)))
        c->path = request_gen_path(g, &c->key);
    switch (type) {
    case QV_COND_MATCH:
        c->u.match = any_match(g, below(g, 3));
        break;
    case QV_COND_MATCH_ANY:
    case QV_COND_MATCH_EXCEPT:
        any_list(g, c);
        break;
    case QV_COND_RANGE:
    case QV_COND_VALUES_COUNT:
        c->u.range = any_range(g);
        break;
    case QV_COND_DATETIME_RANGE:
        c->u.times = any_times(g);
        break;
    case QV_COND_GEO_BOX:
    case QV_COND_GEO_RADIUS:
    case QV_COND_GEO_POLYGON:
        any_area(g, c);
        break;
    case QV_COND_HAS_ID:
        c->u.has_id.ids = request_gen_ids(g, 6, &c->u.has_id.count);
        break;
    case QV_COND_SLICE:
        c->u.slice.total = 1 + below(g, UINT32_MAX);
        c->u.slice.index = below(g, c->u.slice.total);
        break;
    case QV_COND_NESTED:
    case QV_COND_FILTER:
        c->u.filter = any_filter(g, depth - 1);
        break;
    case QV_COND_KEY_IS_EMPTY:
    case QV_COND_KEY_IS_NULL:
        c->u.want = request_gen_chance(g, 50);
        break;
    case QV_COND_IS_EMPTY:
    case QV_COND_IS_NULL:
        break;
    default: /* texts, and HAS_VECTOR's name */
        c->u.text = request_gen_text(g);
    }
}

static const struct qv_cond *any_conds(const struct request_gen *g, unsigned depth, uint32_t *count)
{
    *count = request_gen_chance(g, 50) ? 0 : 1 + below(g, 3);
    struct qv_cond *list = ARRAY(g, struct qv_cond, *count);
    for (uint32_t i = 0; i < *count; i++) {
        enum qv_cond_type type = (enum qv_cond_type)below(g, QV_COND_TYPES);
        while (depth <= 1 && (type == QV_COND_NESTED || type == QV_COND_FILTER))
            type = (enum qv_cond_type)below(g, QV_COND_TYPES);
        any_cond(g, type, depth, &list[i]);
    }
    return *count > 0 ? list : NULL;
}

static struct qv_filter *any_filter(const struct request_gen *g, unsigned depth)
{
    struct qv_filter *f = ARRAY(g, struct qv_filter, 1);
    f->must = any_conds(g, depth, &f->must_count);
    f->should = any_conds(g, depth, &f->should_count);
    f->must_not = any_conds(g, depth, &f->must_not_count);
    f->has_min_should = request_gen_chance(g, 20);
    if (f->has_min_should) {
        f->min_should = any_conds(g, depth, &f->min_should_count);
        f->min_should_min = below(g, 4);
    }
    return f;
}

static struct qv_filter *sealed(const struct request_gen *g, struct qv_filter *f)
{
    struct qv_errmsg msg;
    const int err = qv_filter_seal(f, g->arena, &msg);
    QV_ASSERT(err == 0);
    return f;
}

struct qv_filter *request_gen_filter(const struct request_gen *g)
{
    return sealed(g, any_filter(g, g->filter_depth));
}

struct qv_filter *request_gen_filter_of(const struct request_gen *g, enum qv_cond_type type)
{
    struct qv_filter *f = ARRAY(g, struct qv_filter, 1);
    struct qv_cond *c = ARRAY(g, struct qv_cond, 1);
    any_cond(g, type, g->filter_depth, c);
    f->must = c;
    f->must_count = 1;
    return sealed(g, f);
}

/* ---- requests ---- */

static const struct qv_filter *maybe_filter(const struct request_gen *g)
{
    return request_gen_chance(g, 50) ? request_gen_filter(g) : NULL;
}

static struct qv_path *any_paths(const struct request_gen *g, uint32_t *count)
{
    *count = below(g, 4);
    struct qv_path *paths = ARRAY(g, struct qv_path, *count);
    for (uint32_t i = 0; i < *count; i++)
        paths[i] = request_gen_path(g, NULL);
    return paths;
}

static struct qv_str *any_names(const struct request_gen *g, uint32_t *count)
{
    *count = below(g, 4);
    struct qv_str *names = ARRAY(g, struct qv_str, *count);
    for (uint32_t i = 0; i < *count; i++)
        names[i] = request_gen_text(g);
    return names;
}

static struct qv_payload_select any_payload_select(const struct request_gen *g)
{
    struct qv_payload_select s = {.mode = (enum qv_select_mode)below(g, 4)};
    if (s.mode == QV_SELECT_INCLUDE || s.mode == QV_SELECT_EXCLUDE)
        s.paths = any_paths(g, &s.path_count);
    return s;
}

static struct qv_vector_select any_vector_select(const struct request_gen *g)
{
    struct qv_vector_select s = {.mode = (enum qv_select_mode)below(g, 3)};
    if (s.mode == QV_SELECT_INCLUDE)
        s.names = any_names(g, &s.name_count);
    return s;
}

static struct qv_order_value any_order_value(const struct request_gen *g)
{
    const uint32_t type = below(g, 4);
    struct qv_order_value v = {.type = (enum qv_order_type)type};
    if (type == QV_ORDER_FLOAT)
        v.f = any_f64(g);
    else if (type != QV_ORDER_NONE)
        v.i = any_i64(g);
    return v;
}

static const struct qv_order_by *any_order_by(const struct request_gen *g)
{
    struct qv_order_by *by = ARRAY(g, struct qv_order_by, 1);
    by->path = request_gen_path(g, &by->key);
    by->desc = request_gen_chance(g, 50);
    by->start_from = any_order_value(g);
    return by;
}

static struct qv_opt_bool maybe_bool(const struct request_gen *g)
{
    const bool has = request_gen_chance(g, 40);
    return (struct qv_opt_bool){has, has && request_gen_chance(g, 50)};
}

void request_gen_query(const struct request_gen *g, struct qv_query *out)
{
    *out = (struct qv_query){.kind = (enum qv_query_kind)below(g, 5), .vec = {.rows = 1}};
    if (out->kind == QV_QUERY_VECTOR)
        out->vec = request_gen_vec(g, false);
    if (out->kind == QV_QUERY_ID)
        out->id = request_gen_id(g);
    if (out->kind == QV_QUERY_ORDER_BY)
        out->order_by = any_order_by(g);
    out->vec_stored = request_gen_chance(g, 20);
    out->has_seed = request_gen_chance(g, 20);
    out->seed = out->has_seed ? request_gen_u64(g) : 0;
    out->using_ = request_gen_text(g);
    out->filter = maybe_filter(g);
    out->limit = below(g, 1000);
    out->offset = below(g, 3) * below(g, 1000);
    out->has_threshold = request_gen_chance(g, 30);
    out->threshold = out->has_threshold ? any_f32(g, true) : 0;
    if (request_gen_chance(g, 50))
        out->hnsw_ef = (struct qv_opt_u64){true, below(g, QV_EF_MAX)};
    out->exact = request_gen_chance(g, 30);
    out->indexed_only = request_gen_chance(g, 30);
    out->quant_ignore = maybe_bool(g);
    out->quant_rescore = maybe_bool(g);
    if (request_gen_chance(g, 30))
        out->quant_oversampling = (struct qv_opt_f64){true, 1.0 + qv_rng_unit(g->rng)};
    if (request_gen_chance(g, 30))
        out->recall_target = (struct qv_opt_f64){true, 1.0 - qv_rng_unit(g->rng) / 2};
    out->explain = request_gen_chance(g, 30);
    out->allow_partial = request_gen_chance(g, 30);
    if (request_gen_chance(g, 30))
        out->n_probe = (struct qv_opt_u64){true, request_gen_u64(g) | 1};
    out->with_payload = any_payload_select(g);
    out->with_vector = any_vector_select(g);
}

static struct qv_point_in *any_points(const struct request_gen *g, bool payloads, uint32_t *count)
{
    *count = below(g, 5);
    struct qv_point_in *points = ARRAY(g, struct qv_point_in, *count);
    for (uint32_t i = 0; i < *count; i++) {
        points[i].id = request_gen_id(g);
        points[i].vecs = request_gen_named(g, false, &points[i].vec_count);
        if (payloads && request_gen_chance(g, 70))
            points[i].payload = request_gen_object(g);
    }
    return points;
}

void request_gen_write_op(const struct request_gen *g, struct qv_write_op *out)
{
    *out = (struct qv_write_op){.type = (enum qv_write_type)below(g, 8)};
    const bool upsert = out->type == QV_WRITE_UPSERT;
    if (upsert)
        out->update_mode = (enum qv_update_mode)below(g, 3);
    if (upsert || out->type == QV_WRITE_UPDATE_VECTORS) {
        out->points = any_points(g, upsert, &out->point_count);
        out->update_filter = maybe_filter(g);
        return;
    }
    if (request_gen_chance(g, 50))
        out->select.ids = request_gen_ids(g, 8, &out->select.id_count);
    else
        out->select.filter = request_gen_filter(g);
    if (out->type == QV_WRITE_DELETE_VECTORS)
        out->names = any_names(g, &out->name_count);
    if (out->type == QV_WRITE_DELETE_PAYLOAD)
        out->keys = any_paths(g, &out->key_count);
    if (out->type == QV_WRITE_SET_PAYLOAD || out->type == QV_WRITE_OVERWRITE_PAYLOAD)
        out->payload = request_gen_object(g);
    out->has_key = out->type == QV_WRITE_SET_PAYLOAD && request_gen_chance(g, 50);
    if (out->has_key)
        out->key = request_gen_path(g, NULL);
}

static struct qv_read_opts any_opts(const struct request_gen *g)
{
    struct qv_read_opts opts = {.timeout_ms = request_gen_u64(g)};
    if (request_gen_chance(g, 50))
        opts.consistency_factor = QV_CONSISTENCY_ALL - below(g, 3);
    return opts;
}

static void any_queries(const struct request_gen *g, struct qv_ask *out)
{
    struct qv_query_req *req = ARRAY(g, struct qv_query_req, 1);
    const uint32_t n = 1 + below(g, 4);
    struct qv_query *queries = ARRAY(g, struct qv_query, n);
    for (uint32_t i = 0; i < n; i++)
        request_gen_query(g, &queries[i]);
    *req = (struct qv_query_req){queries, n, any_opts(g)};
    out->req.query = req;
}

static void any_scroll(const struct request_gen *g, struct qv_ask *out)
{
    struct qv_scroll_req *req = ARRAY(g, struct qv_scroll_req, 1);
    req->filter = maybe_filter(g);
    req->order_by = request_gen_chance(g, 30) ? any_order_by(g) : NULL;
    req->has_offset = request_gen_chance(g, 50);
    if (req->has_offset)
        req->offset = request_gen_id(g);
    req->limit = below(g, 1000);
    req->with_payload = any_payload_select(g);
    req->with_vector = any_vector_select(g);
    req->opts = any_opts(g);
    out->req.scroll = req;
}

static void any_request(const struct request_gen *g, struct qv_ask *out)
{
    struct qv_get_req *get = ARRAY(g, struct qv_get_req, 1);
    struct qv_count_req *count = ARRAY(g, struct qv_count_req, 1);
    struct qv_facet_req *facet = ARRAY(g, struct qv_facet_req, 1);
    switch (out->kind) {
    case QV_ASK_SEARCH:
        any_queries(g, out);
        break;
    case QV_ASK_FETCH:
        *get = (struct qv_get_req){.with_payload = any_payload_select(g),
                                   .with_vector = any_vector_select(g),
                                   .opts = any_opts(g)};
        out->req.get = get;
        break;
    case QV_ASK_SCROLL:
        any_scroll(g, out);
        break;
    case QV_ASK_COUNT:
        *count = (struct qv_count_req){maybe_filter(g), request_gen_chance(g, 50), any_opts(g)};
        out->req.count = count;
        break;
    case QV_ASK_FACET:
        facet->path = request_gen_path(g, &facet->key);
        facet->filter = maybe_filter(g);
        facet->limit = below(g, 100);
        facet->exact = request_gen_chance(g, 50);
        facet->opts = any_opts(g);
        out->req.facet = facet;
        break;
    case QV_ASK_DIGESTS:
    case QV_ASK_KIND_COUNT:
        break;
    }
}

static void any_leg(const struct request_gen *g, const struct qv_ask *ask, struct qv_leg *leg)
{
    for (size_t i = 0; i < sizeof leg->collection; i++)
        leg->collection[i] = (uint8_t)qv_rng_u64(g->rng);
    leg->shard = below(g, UINT32_MAX);
    leg->incarnation = request_gen_u64(g);
    leg->epoch = request_gen_u64(g);
    leg->cover = request_gen_cover(g);
    if (ask->kind == QV_ASK_SEARCH)
        leg->limit_count = ask->req.query->query_count;
    else if (ask->kind == QV_ASK_SCROLL || ask->kind == QV_ASK_FACET)
        leg->limit_count = 1;
    uint32_t *limits = ARRAY(g, uint32_t, leg->limit_count);
    for (uint32_t i = 0; i < leg->limit_count; i++)
        limits[i] = below(g, QV_LIMIT_MAX);
    leg->limits = leg->limit_count > 0 ? limits : NULL;
    if (ask->kind == QV_ASK_FETCH)
        leg->ids = request_gen_ids(g, 20, &leg->id_count);
}

void request_gen_ask(const struct request_gen *g, struct qv_ask *out)
{
    *out = (struct qv_ask){.kind = (enum qv_ask_kind)below(g, QV_ASK_KIND_COUNT)};
    any_request(g, out);
    out->hops_left = (uint8_t)below(g, 256);
    out->leg_count = 1 + below(g, 5);
    struct qv_leg *legs = ARRAY(g, struct qv_leg, out->leg_count);
    for (uint32_t i = 0; i < out->leg_count; i++)
        any_leg(g, out, &legs[i]);
    out->legs = legs;
}

/* ---- answers ---- */

static const struct qv_plan_out *any_plan(const struct request_gen *g)
{
    struct qv_plan_out *p = ARRAY(g, struct qv_plan_out, 1);
    uint64_t *const counts[] = {&p->points, &p->passing,       &p->passing_min, &p->passing_max,
                                &p->ef,     &p->payloads_read, &p->ranked,      &p->distances,
                                &p->hops,   &p->bridges,       &p->waiting};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        *counts[i] = request_gen_u64(g);
    p->way = "bridges";
    p->answered = request_gen_chance(g, 50) ? "scan" : "bridges";
    p->why = "";
    p->filter_by = request_gen_chance(g, 50) ? "index" : NULL;
    p->planned = request_gen_chance(g, 50);
    for (size_t i = 0; p->planned && i < QV_PLAN_COSTS; i++)
        p->cost_us[i] = any_f64(g);
    return p;
}

static struct qv_points_out any_points_out(const struct request_gen *g)
{
    struct qv_points_out out = {.count = below(g, 12), .explain = request_gen_chance(g, 30)};
    const bool scores = request_gen_chance(g, 70);
    const bool payloads = request_gen_chance(g, 50);
    const bool vecs = request_gen_chance(g, 50);
    const bool ordered = request_gen_chance(g, 20);
    out.points = ARRAY(g, struct qv_point_out, out.count);
    for (uint32_t i = 0; i < out.count; i++) {
        struct qv_point_out *p = &out.points[i];
        p->id = request_gen_id(g);
        p->version = (struct qv_version){request_gen_u64(g), below(g, UINT32_MAX)};
        p->score = scores ? any_f32(g, true) : 0;
        if (payloads && request_gen_chance(g, 90))
            p->payload = request_gen_object(g);
        p->has_vecs = vecs && request_gen_chance(g, 90);
        p->vecs_unnamed = vecs && request_gen_chance(g, 30);
        if (p->has_vecs)
            p->vecs = request_gen_named(g, true, &p->vec_count);
        if (ordered)
            p->order_value = any_order_value(g);
    }
    out.plan = request_gen_chance(g, 30) ? any_plan(g) : NULL;
    out.more = request_gen_chance(g, 30);
    return out;
}

static struct qv_leg_list any_leg_list(const struct request_gen *g)
{
    struct qv_leg_list list = {.points = any_points_out(g)};
    list.bound.all = request_gen_chance(g, 30);
    list.bound.score = any_f32(g, true);
    list.bound.order_value = any_order_value(g);
    if (request_gen_chance(g, 70))
        list.bound.id = request_gen_id(g);
    return list;
}

static struct qv_facet_out any_facet(const struct request_gen *g)
{
    struct qv_facet_out out = {.count = below(g, 8)};
    out.hits = ARRAY(g, struct qv_facet_hit, out.count);
    for (uint32_t i = 0; i < out.count; i++) {
        struct qv_buf b;
        const struct qv_str s = request_gen_text(g);
        qv_buf_init(&b, 0);
        if (request_gen_chance(g, 40))
            qv_doc_put_str(&b, s.p, s.n);
        else if (request_gen_chance(g, 50))
            qv_doc_put_int(&b, any_i64(g));
        else
            qv_doc_put_bool(&b, request_gen_chance(g, 50));
        out.hits[i].value = keep_doc(g, &b);
        out.hits[i].count = request_gen_u64(g);
    }
    return out;
}

void request_gen_answer(const struct request_gen *g, const struct qv_ask *ask,
                        struct qv_leg_answer *out)
{
    static const int errors[] = {QV_ESTALE, QV_EUNAVAILABLE, QV_EUNKNOWN, QV_ECORRUPT, QV_EINVAL};
    *out = (struct qv_leg_answer){.arena = out->arena};
    out->epoch = request_gen_u64(g);
    if (request_gen_chance(g, 20)) {
        out->err = qv_fail(&out->msg, errors[below(g, 5)], "why it is so: %u", below(g, 1000));
        return;
    }
    out->cover = request_gen_cover(g);
    const uint32_t n = ask->kind == QV_ASK_SEARCH ? ask->req.query->query_count : 0;
    if (n > 0)
        out->lists = ARRAY(g, struct qv_leg_list, n);
    for (uint32_t i = 0; i < n; i++)
        out->lists[i] = any_leg_list(g);
    if (ask->kind == QV_ASK_SCROLL)
        out->scroll = any_leg_list(g);
    if (ask->kind == QV_ASK_FETCH)
        out->fetch = any_points_out(g);
    if (ask->kind == QV_ASK_COUNT)
        out->count = request_gen_u64(g);
    if (ask->kind == QV_ASK_FACET)
        out->facet = any_facet(g);
    out->facet_all = ask->kind == QV_ASK_FACET && request_gen_chance(g, 50);
    out->digest_known = ask->kind == QV_ASK_DIGESTS || request_gen_chance(g, 30);
    out->digest = out->digest_known ? request_gen_u64(g) : 0;
}
