#include "request_equal.h"

/* Each function looks at one thing after the other and leaves with the name of what differs. */
#define SAME(what, x)                                                                              \
    do {                                                                                           \
        if (!(x))                                                                                  \
            return what;                                                                           \
    } while (0)
#define DEEPER(x)                                                                                  \
    do {                                                                                           \
        const char *differs = (x);                                                                 \
        if (differs != NULL)                                                                       \
            return differs;                                                                        \
    } while (0)
#define EQUAL(field) SAME(#field, a->field == b->field)

static bool same_bytes(const void *a, const void *b, size_t n)
{
    return n == 0 || memcmp(a, b, n) == 0;
}

static bool same_doc(struct qv_doc a, struct qv_doc b)
{
    return (a.p == NULL) == (b.p == NULL) && a.n == b.n && same_bytes(a.p, b.p, a.n);
}

static bool same_f64(double a, double b)
{
    return same_bytes(&a, &b, sizeof a);
}

static bool same_f32(float a, float b)
{
    return same_bytes(&a, &b, sizeof a);
}

static bool same_ids(const struct qv_id *a, const struct qv_id *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!qv_id_equal(&a[i], &b[i]))
            return false;
    }
    return true;
}

static bool same_strs(const struct qv_str *a, const struct qv_str *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!qv_str_equal(a[i], b[i]))
            return false;
    }
    return true;
}

const char *request_differ_path(const struct qv_path *a, const struct qv_path *b)
{
    SAME("path.count", a->count == b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        const struct qv_path_step *x = &a->steps[i], *y = &b->steps[i];
        SAME("path.kind", x->kind == y->kind);
        SAME("path.key", x->kind != QV_STEP_KEY || qv_str_equal(x->key, y->key));
        SAME("path.index", x->kind != QV_STEP_INDEX || x->index == y->index);
    }
    return NULL;
}

static const char *differ_paths(const struct qv_path *a, const struct qv_path *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        DEEPER(request_differ_path(&a[i], &b[i]));
    return NULL;
}

const char *request_differ_vec(const struct qv_vec *a, const struct qv_vec *b)
{
    SAME("vec.kind", a->kind == b->kind);
    SAME("vec.dim", a->dim == b->dim);
    SAME("vec.rows", a->rows == b->rows);
    const size_t n = (size_t)a->dim * a->rows * sizeof(float);
    SAME("vec.values", same_bytes(a->values, b->values, n));
    SAME("vec.indices", a->kind != QV_VEC_SPARSE || same_bytes(a->indices, b->indices, n));
    return NULL;
}

static const char *differ_named(const struct qv_named_vec *a, const struct qv_named_vec *b,
                                uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        SAME("vec.name", qv_str_equal(a[i].name, b[i].name));
        DEEPER(request_differ_vec(&a[i].vec, &b[i].vec));
    }
    return NULL;
}

/* ---- filters ---- */

static bool same_match(const struct qv_match *a, const struct qv_match *b)
{
    return a->type == b->type && qv_match_compare(a, b) == 0;
}

static bool same_range(const struct qv_range *a, const struct qv_range *b)
{
    return a->has_lt == b->has_lt && a->has_gt == b->has_gt && a->has_lte == b->has_lte &&
           a->has_gte == b->has_gte && (!a->has_lt || same_f64(a->lt, b->lt)) &&
           (!a->has_gt || same_f64(a->gt, b->gt)) && (!a->has_lte || same_f64(a->lte, b->lte)) &&
           (!a->has_gte || same_f64(a->gte, b->gte));
}

static bool same_times(const struct qv_datetime_range *a, const struct qv_datetime_range *b)
{
    return a->has_lt == b->has_lt && a->has_gt == b->has_gt && a->has_lte == b->has_lte &&
           a->has_gte == b->has_gte && (!a->has_lt || a->lt == b->lt) &&
           (!a->has_gt || a->gt == b->gt) && (!a->has_lte || a->lte == b->lte) &&
           (!a->has_gte || a->gte == b->gte);
}

static bool same_ring(const struct qv_geo_ring *a, const struct qv_geo_ring *b)
{
    return a->count == b->count && same_bytes(a->points, b->points, a->count * sizeof *a->points);
}

static bool same_polygon(const struct qv_geo_polygon *a, const struct qv_geo_polygon *b)
{
    bool same = same_ring(&a->exterior, &b->exterior) && a->interior_count == b->interior_count &&
                same_bytes(&a->min, &b->min, sizeof a->min) &&
                same_bytes(&a->max, &b->max, sizeof a->max);
    for (uint32_t i = 0; same && i < a->interior_count; i++)
        same = same_ring(&a->interiors[i], &b->interiors[i]);
    return same;
}

static const char *differ_list(const struct qv_cond *a, const struct qv_cond *b)
{
    EQUAL(u.any.count);
    for (uint32_t i = 0; i < a->u.any.count; i++)
        SAME("u.any.items", same_match(&a->u.any.items[i], &b->u.any.items[i]));
    return NULL;
}

static const char *differ_value(const struct qv_cond *a, const struct qv_cond *b)
{
    switch (a->type) {
    case QV_COND_MATCH:
        SAME("u.match", same_match(&a->u.match, &b->u.match));
        break;
    case QV_COND_MATCH_ANY:
    case QV_COND_MATCH_EXCEPT:
        return differ_list(a, b);
    case QV_COND_RANGE:
    case QV_COND_VALUES_COUNT:
        SAME("u.range", same_range(&a->u.range, &b->u.range));
        break;
    case QV_COND_DATETIME_RANGE:
        SAME("u.times", same_times(&a->u.times, &b->u.times));
        break;
    case QV_COND_GEO_BOX:
        SAME("u.geo_box", same_bytes(&a->u.geo_box, &b->u.geo_box, sizeof a->u.geo_box));
        break;
    case QV_COND_GEO_RADIUS:
        SAME("u.circle", same_bytes(&a->u.geo_circle, &b->u.geo_circle, sizeof a->u.geo_circle));
        break;
    case QV_COND_GEO_POLYGON:
        SAME("u.polygon", same_polygon(a->u.geo_polygon, b->u.geo_polygon));
        break;
    case QV_COND_HAS_ID:
        EQUAL(u.has_id.count);
        SAME("u.has_id", same_ids(a->u.has_id.ids, b->u.has_id.ids, a->u.has_id.count));
        break;
    case QV_COND_SLICE:
        EQUAL(u.slice.total);
        EQUAL(u.slice.index);
        break;
    case QV_COND_NESTED:
    case QV_COND_FILTER:
        return request_differ_filter(a->u.filter, b->u.filter);
    case QV_COND_KEY_IS_EMPTY:
    case QV_COND_KEY_IS_NULL:
        EQUAL(u.want);
        break;
    case QV_COND_IS_EMPTY:
    case QV_COND_IS_NULL:
        break;
    default:
        SAME("u.text", qv_str_equal(a->u.text, b->u.text));
    }
    return NULL;
}

static const char *differ_conds(const struct qv_cond *a, const struct qv_cond *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        SAME("cond.type", a[i].type == b[i].type);
        SAME("cond.text_number", a[i].text_number == b[i].text_number);
        SAME("cond.key", qv_str_equal(a[i].key, b[i].key));
        DEEPER(request_differ_path(&a[i].path, &b[i].path));
        DEEPER(differ_value(&a[i], &b[i]));
    }
    return NULL;
}

const char *request_differ_filter(const struct qv_filter *a, const struct qv_filter *b)
{
    SAME("filter", (a == NULL) == (b == NULL));
    if (a == NULL)
        return NULL;
    EQUAL(must_count);
    EQUAL(should_count);
    EQUAL(must_not_count);
    EQUAL(min_should_count);
    EQUAL(has_min_should);
    EQUAL(min_should_min);
    EQUAL(text_conds);
    DEEPER(differ_conds(a->must, b->must, a->must_count));
    DEEPER(differ_conds(a->should, b->should, a->should_count));
    DEEPER(differ_conds(a->must_not, b->must_not, a->must_not_count));
    return differ_conds(a->min_should, b->min_should, a->min_should_count);
}

/* ---- requests ---- */

static const char *differ_payload_select(const struct qv_payload_select *a,
                                         const struct qv_payload_select *b)
{
    SAME("with_payload.mode", a->mode == b->mode);
    SAME("with_payload.paths", a->path_count == b->path_count);
    return differ_paths(a->paths, b->paths, a->path_count);
}

static const char *differ_vector_select(const struct qv_vector_select *a,
                                        const struct qv_vector_select *b)
{
    SAME("with_vector.mode", a->mode == b->mode);
    SAME("with_vector.names", a->name_count == b->name_count);
    SAME("with_vector.names", same_strs(a->names, b->names, a->name_count));
    return NULL;
}

static bool same_order_value(const struct qv_order_value *a, const struct qv_order_value *b)
{
    if (a->type != b->type)
        return false;
    return a->type == QV_ORDER_FLOAT ? same_f64(a->f, b->f)
                                     : a->type == QV_ORDER_NONE || a->i == b->i;
}

static const char *differ_order_by(const struct qv_order_by *a, const struct qv_order_by *b)
{
    SAME("order_by", (a == NULL) == (b == NULL));
    if (a == NULL)
        return NULL;
    SAME("order_by.key", qv_str_equal(a->key, b->key));
    EQUAL(desc);
    SAME("order_by.start_from", same_order_value(&a->start_from, &b->start_from));
    return request_differ_path(&a->path, &b->path);
}

static const char *differ_params(const struct qv_query *a, const struct qv_query *b)
{
    EQUAL(has_threshold);
    SAME("threshold", same_f32(a->threshold, b->threshold));
    EQUAL(hnsw_ef.has);
    EQUAL(hnsw_ef.v);
    EQUAL(exact);
    EQUAL(indexed_only);
    EQUAL(quant_ignore.has);
    EQUAL(quant_ignore.v);
    EQUAL(quant_rescore.has);
    EQUAL(quant_rescore.v);
    EQUAL(quant_oversampling.has);
    SAME("oversampling", same_f64(a->quant_oversampling.v, b->quant_oversampling.v));
    EQUAL(recall_target.has);
    SAME("recall_target", same_f64(a->recall_target.v, b->recall_target.v));
    EQUAL(explain);
    EQUAL(allow_partial);
    EQUAL(n_probe.has);
    EQUAL(n_probe.v);
    return NULL;
}

const char *request_differ_query(const struct qv_query *a, const struct qv_query *b)
{
    EQUAL(kind);
    if (a->kind == QV_QUERY_VECTOR)
        DEEPER(request_differ_vec(&a->vec, &b->vec));
    EQUAL(vec_stored);
    EQUAL(has_seed);
    EQUAL(seed);
    SAME("id", qv_id_equal(&a->id, &b->id));
    DEEPER(differ_order_by(a->order_by, b->order_by));
    SAME("using", qv_str_equal(a->using_, b->using_));
    DEEPER(request_differ_filter(a->filter, b->filter));
    EQUAL(limit);
    EQUAL(offset);
    DEEPER(differ_params(a, b));
    DEEPER(differ_payload_select(&a->with_payload, &b->with_payload));
    return differ_vector_select(&a->with_vector, &b->with_vector);
}

static const char *differ_points_in(const struct qv_point_in *a, const struct qv_point_in *b,
                                    uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        SAME("point.id", qv_id_equal(&a[i].id, &b[i].id));
        SAME("point.vec_count", a[i].vec_count == b[i].vec_count);
        DEEPER(differ_named(a[i].vecs, b[i].vecs, a[i].vec_count));
        SAME("point.payload", same_doc(a[i].payload, b[i].payload));
    }
    return NULL;
}

const char *request_differ_write_op(const struct qv_write_op *a, const struct qv_write_op *b)
{
    EQUAL(type);
    EQUAL(point_count);
    DEEPER(differ_points_in(a->points, b->points, a->point_count));
    EQUAL(update_mode);
    DEEPER(request_differ_filter(a->update_filter, b->update_filter));
    EQUAL(select.id_count);
    SAME("select.ids", same_ids(a->select.ids, b->select.ids, a->select.id_count));
    DEEPER(request_differ_filter(a->select.filter, b->select.filter));
    EQUAL(name_count);
    SAME("names", same_strs(a->names, b->names, a->name_count));
    SAME("payload", same_doc(a->payload, b->payload));
    EQUAL(has_key);
    DEEPER(request_differ_path(&a->key, &b->key));
    EQUAL(key_count);
    return differ_paths(a->keys, b->keys, a->key_count);
}

static const char *differ_opts(const struct qv_read_opts *a, const struct qv_read_opts *b)
{
    EQUAL(timeout_ms);
    EQUAL(consistency_factor);
    return NULL;
}

static const char *differ_queries(const struct qv_query_req *a, const struct qv_query_req *b)
{
    EQUAL(query_count);
    for (uint32_t i = 0; i < a->query_count; i++)
        DEEPER(request_differ_query(&a->queries[i], &b->queries[i]));
    return differ_opts(&a->opts, &b->opts);
}

static const char *differ_get(const struct qv_get_req *a, const struct qv_get_req *b)
{
    DEEPER(differ_payload_select(&a->with_payload, &b->with_payload));
    DEEPER(differ_vector_select(&a->with_vector, &b->with_vector));
    return differ_opts(&a->opts, &b->opts);
}

static const char *differ_scroll(const struct qv_scroll_req *a, const struct qv_scroll_req *b)
{
    DEEPER(request_differ_filter(a->filter, b->filter));
    DEEPER(differ_order_by(a->order_by, b->order_by));
    EQUAL(has_offset);
    SAME("offset", qv_id_equal(&a->offset, &b->offset));
    EQUAL(limit);
    DEEPER(differ_payload_select(&a->with_payload, &b->with_payload));
    DEEPER(differ_vector_select(&a->with_vector, &b->with_vector));
    return differ_opts(&a->opts, &b->opts);
}

static const char *differ_count(const struct qv_count_req *a, const struct qv_count_req *b)
{
    DEEPER(request_differ_filter(a->filter, b->filter));
    EQUAL(exact);
    return differ_opts(&a->opts, &b->opts);
}

static const char *differ_facet_req(const struct qv_facet_req *a, const struct qv_facet_req *b)
{
    SAME("facet.key", qv_str_equal(a->key, b->key));
    DEEPER(request_differ_path(&a->path, &b->path));
    DEEPER(request_differ_filter(a->filter, b->filter));
    EQUAL(limit);
    EQUAL(exact);
    return differ_opts(&a->opts, &b->opts);
}

static const char *differ_leg(const struct qv_leg *a, const struct qv_leg *b)
{
    SAME("collection", same_bytes(a->collection, b->collection, sizeof a->collection));
    EQUAL(shard);
    EQUAL(incarnation);
    EQUAL(epoch);
    SAME("cover", qv_cover_equal(&a->cover, &b->cover));
    EQUAL(limit_count);
    SAME("limits", same_bytes(a->limits, b->limits, a->limit_count * sizeof *a->limits));
    EQUAL(id_count);
    SAME("leg.ids", same_ids(a->ids, b->ids, a->id_count));
    return NULL;
}

static const char *differ_request(const struct qv_ask *a, const struct qv_ask *b)
{
    switch (a->kind) {
    case QV_ASK_SEARCH:
        return differ_queries(a->req.query, b->req.query);
    case QV_ASK_FETCH:
        return differ_get(a->req.get, b->req.get);
    case QV_ASK_SCROLL:
        return differ_scroll(a->req.scroll, b->req.scroll);
    case QV_ASK_COUNT:
        return differ_count(a->req.count, b->req.count);
    case QV_ASK_FACET:
        return differ_facet_req(a->req.facet, b->req.facet);
    default:
        return NULL;
    }
}

const char *request_differ_ask(const struct qv_ask *a, const struct qv_ask *b)
{
    EQUAL(kind);
    EQUAL(hops_left);
    EQUAL(leg_count);
    for (uint32_t i = 0; i < a->leg_count; i++)
        DEEPER(differ_leg(&a->legs[i], &b->legs[i]));
    return differ_request(a, b);
}

/* ---- answers ---- */

static bool same_text(const char *a, const char *b)
{
    return (a == NULL) == (b == NULL) && (a == NULL || strcmp(a, b) == 0);
}

static const char *differ_plan(const struct qv_plan_out *a, const struct qv_plan_out *b)
{
    SAME("plan", (a == NULL) == (b == NULL));
    if (a == NULL)
        return NULL;
    SAME("way", same_text(a->way, b->way));
    SAME("answered", same_text(a->answered, b->answered));
    SAME("why", same_text(a->why, b->why));
    SAME("filter_by", same_text(a->filter_by, b->filter_by));
    EQUAL(points);
    EQUAL(passing);
    EQUAL(passing_min);
    EQUAL(passing_max);
    EQUAL(payloads_read);
    EQUAL(ef);
    EQUAL(ranked);
    EQUAL(distances);
    EQUAL(hops);
    EQUAL(bridges);
    EQUAL(waiting);
    EQUAL(planned);
    SAME("cost_us", same_bytes(a->cost_us, b->cost_us, sizeof a->cost_us));
    return NULL;
}

static const char *differ_point(const struct qv_point_out *a, const struct qv_point_out *b)
{
    SAME("point.id", qv_id_equal(&a->id, &b->id));
    SAME("point.version", qv_version_compare(a->version, b->version) == 0);
    SAME("point.score", same_f32(a->score, b->score));
    SAME("point.payload", same_doc(a->payload, b->payload));
    EQUAL(vec_count);
    EQUAL(vecs_unnamed);
    EQUAL(has_vecs);
    SAME("point.order_value", same_order_value(&a->order_value, &b->order_value));
    return differ_named(a->vecs, b->vecs, a->vec_count);
}

const char *request_differ_points(const struct qv_points_out *a, const struct qv_points_out *b)
{
    SAME("points.count", a->count == b->count);
    EQUAL(explain);
    EQUAL(more);
    for (uint32_t i = 0; i < a->count; i++)
        DEEPER(differ_point(&a->points[i], &b->points[i]));
    return differ_plan(a->plan, b->plan);
}

static const char *differ_leg_list(const struct qv_leg_list *a, const struct qv_leg_list *b)
{
    EQUAL(bound.all);
    SAME("bound.score", same_f32(a->bound.score, b->bound.score));
    SAME("bound.order_value", same_order_value(&a->bound.order_value, &b->bound.order_value));
    SAME("bound.id", qv_id_equal(&a->bound.id, &b->bound.id));
    return request_differ_points(&a->points, &b->points);
}

static const char *differ_facet(const struct qv_facet_out *a, const struct qv_facet_out *b)
{
    SAME("facet.count", a->count == b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        SAME("facet.value", same_doc(a->hits[i].value, b->hits[i].value));
        SAME("facet.count", a->hits[i].count == b->hits[i].count);
    }
    return NULL;
}

const char *request_differ_answer(const struct qv_ask *ask, const struct qv_leg_answer *a,
                                  const struct qv_leg_answer *b)
{
    EQUAL(err);
    EQUAL(epoch);
    SAME("cover", qv_cover_equal(&a->cover, &b->cover));
    if (a->err != 0) {
        SAME("msg", same_text(a->msg.text, b->msg.text));
        return NULL;
    }
    EQUAL(digest_known);
    EQUAL(digest);
    EQUAL(count);
    EQUAL(facet_all);
    for (uint32_t i = 0; ask->kind == QV_ASK_SEARCH && i < ask->req.query->query_count; i++)
        DEEPER(differ_leg_list(&a->lists[i], &b->lists[i]));
    DEEPER(differ_leg_list(&a->scroll, &b->scroll));
    DEEPER(request_differ_points(&a->fetch, &b->fetch));
    return differ_facet(&a->facet, &b->facet);
}
