/* Answers about points, and the small ones. Collections are json_config.c. */
#include "wire/json_answer.h"

#include "base/utf8.h"
#include "wire/json_doc.h"
#include "wire/json_write.h"

#include <math.h>

void qv_json_begin_answer(struct qv_buf *b)
{
    qv_buf_str(b, "{\"result\":");
}

/* Seconds to the nanosecond. */
static void write_seconds(struct qv_buf *b, double seconds)
{
    double ns = seconds > 0 && seconds < 1e6 ? rint(seconds * 1e9) : 0.0;
    qv_json_write_f64(b, ns / 1e9);
}

void qv_json_end_answer(struct qv_buf *b, bool accepted, double seconds)
{
    qv_buf_str(b, accepted ? ",\"status\":\"accepted\",\"time\":" : ",\"status\":\"ok\",\"time\":");
    write_seconds(b, seconds);
    qv_buf_append(b, "}", 1);
}

/* Text that may hold anything (a client's bytes, cut): what is no UTF-8 becomes '?'. */
static void write_any_text(struct qv_buf *b, const char *text)
{
    size_t n = strlen(text);
    char fixed[sizeof((struct qv_errmsg *)0)->text];
    if (qv_utf8_valid(text, n)) {
        qv_json_write_str(b, (struct qv_str){text, n});
        return;
    }
    n = n > sizeof fixed ? sizeof fixed : n;
    for (size_t i = 0; i < n; i++)
        fixed[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
    qv_json_write_str(b, (struct qv_str){fixed, n});
}

void qv_json_write_error(struct qv_buf *b, const char *text, double seconds)
{
    qv_buf_str(b, "{\"status\":{\"error\":");
    write_any_text(b, text);
    qv_buf_str(b, "},\"time\":");
    write_seconds(b, seconds);
    qv_buf_append(b, "}", 1);
}

void qv_json_write_true(struct qv_buf *b, bool v)
{
    qv_json_write_bool(b, v);
}

void qv_json_write_id(struct qv_buf *b, const struct qv_id *id)
{
    char text[QV_ID_TEXT_MAX];
    if (id->type == QV_ID_NUM) {
        qv_json_write_u64(b, id->lo);
        return;
    }
    size_t n = qv_id_format(id, text);
    qv_json_write_str(b, (struct qv_str){text, n});
}

/* ---- points ---- */

void qv_json_write_vec(struct qv_buf *b, const struct qv_vec *v)
{
    switch (v->kind) {
    case QV_VEC_DENSE:
        qv_json_write_floats(b, v->values, v->dim);
        break;
    case QV_VEC_SPARSE:
        qv_buf_str(b, "{\"indices\":[");
        for (uint32_t i = 0; i < v->dim; i++) {
            if (i != 0)
                qv_buf_append(b, ",", 1);
            qv_json_write_u64(b, v->indices[i]);
        }
        qv_buf_str(b, "],\"values\":");
        qv_json_write_floats(b, v->values, v->dim);
        qv_buf_append(b, "}", 1);
        break;
    case QV_VEC_MULTI:
        qv_buf_append(b, "[", 1);
        for (uint32_t i = 0; i < v->rows; i++) {
            if (i != 0)
                qv_buf_append(b, ",", 1);
            qv_json_write_floats(b, v->values + (size_t)i * v->dim, v->dim);
        }
        qv_buf_append(b, "]", 1);
        break;
    }
}

static void write_vectors(struct qv_buf *b, const struct qv_point_out *p)
{
    if (p->vecs_unnamed && p->vec_count == 1 && p->vecs[0].name.n == 0) {
        qv_json_write_vec(b, &p->vecs[0].vec);
        return;
    }
    qv_buf_append(b, "{", 1);
    for (uint32_t i = 0; i < p->vec_count; i++) {
        if (i != 0)
            qv_buf_append(b, ",", 1);
        qv_json_write_str(b, p->vecs[i].name);
        qv_buf_append(b, ":", 1);
        qv_json_write_vec(b, &p->vecs[i].vec);
    }
    qv_buf_append(b, "}", 1);
}

static void write_point(struct qv_buf *b, const struct qv_point_out *p, bool scored)
{
    qv_buf_str(b, "{\"id\":");
    qv_json_write_id(b, &p->id);
    if (scored) {
        qv_buf_str(b, ",\"version\":");
        qv_json_write_u64(b, p->version.clock);
        qv_buf_str(b, ",\"score\":");
        qv_json_write_f32(b, p->score);
    }
    if (p->payload.p != NULL) {
        qv_buf_str(b, ",\"payload\":");
        qv_json_write_doc(b, p->payload);
    }
    if (p->has_vecs) {
        qv_buf_str(b, ",\"vector\":");
        write_vectors(b, p);
    }
    if (p->order_value.type != QV_ORDER_NONE) {
        qv_buf_str(b, ",\"order_value\":");
        if (p->order_value.type == QV_ORDER_FLOAT)
            qv_json_write_f64(b, p->order_value.f);
        else
            qv_json_write_i64(b, p->order_value.i);
    }
    qv_buf_append(b, "}", 1);
}

static void write_points(struct qv_buf *b, const struct qv_points_out *points, bool scored)
{
    qv_buf_append(b, "[", 1);
    for (uint32_t i = 0; i < points->count; i++) {
        if (i != 0)
            qv_buf_append(b, ",", 1);
        write_point(b, &points->points[i], scored);
    }
    qv_buf_append(b, "]", 1);
}

void qv_json_write_record(struct qv_buf *b, const struct qv_point_out *p)
{
    write_point(b, p, false);
}

void qv_json_write_records(struct qv_buf *b, const struct qv_points_out *points)
{
    write_points(b, points, false);
}

void qv_json_write_scroll(struct qv_buf *b, const struct qv_scroll_out *out)
{
    qv_buf_str(b, "{\"points\":");
    write_points(b, &out->points, false);
    qv_buf_str(b, ",\"next_page_offset\":");
    if (out->has_next)
        qv_json_write_id(b, &out->next);
    else
        qv_buf_str(b, "null");
    qv_buf_append(b, "}", 1);
}

static void write_member(struct qv_buf *b, const char *name, uint64_t v)
{
    qv_buf_str(b, name);
    qv_json_write_u64(b, v);
}

static void write_plan_filter(struct qv_buf *b, const struct qv_plan_out *p)
{
    qv_buf_str(b, ",\"filter\":{\"by\":");
    qv_json_write_text(b, p->filter_by);
    write_member(b, ",\"points\":", p->points);
    write_member(b, ",\"passing\":", p->passing);
    write_member(b, ",\"passing_min\":", p->passing_min);
    write_member(b, ",\"passing_max\":", p->passing_max);
    write_member(b, ",\"payloads_read\":", p->payloads_read);
    qv_buf_append(b, "}", 1);
}

static void write_one_plan(struct qv_buf *b, const struct qv_plan_out *p)
{
    static const char *const costs[] = {
        [QV_COST_PLAIN] = ",\"expected_us\":{\"plain\":",
        [QV_COST_SCAN] = ",\"scan\":",
        [QV_COST_BRIDGES] = ",\"bridges\":",
        [QV_COST_CHECK] = ",\"check\":",
    };
    qv_buf_str(b, "{\"way\":");
    qv_json_write_text(b, p->way);
    qv_buf_str(b, ",\"answered\":");
    qv_json_write_text(b, p->answered);
    qv_buf_str(b, ",\"why\":");
    qv_json_write_text(b, p->why);
    if (p->filter_by != NULL)
        write_plan_filter(b, p);
    write_member(b, ",\"ef\":", p->ef);
    write_member(b, ",\"ranked\":", p->ranked);
    write_member(b, ",\"work\":{\"distances\":", p->distances);
    write_member(b, ",\"hops\":", p->hops);
    write_member(b, ",\"bridges\":", p->bridges);
    write_member(b, ",\"waiting\":", p->waiting);
    qv_buf_append(b, "}", 1);
    for (int i = 0; i < QV_PLAN_COSTS && p->planned; i++) {
        qv_buf_str(b, costs[i]);
        qv_json_write_f64(b, p->cost_us[i]);
    }
    if (p->planned)
        qv_buf_append(b, "}", 1);
}

/* What each shard did. */
static void write_plan_legs(struct qv_buf *b, const struct qv_plan_out *p)
{
    for (uint32_t i = 0; i < p->leg_count; i++) {
        const struct qv_plan_leg_out *leg = &p->legs[i];
        write_member(b, i == 0 ? ",\"shards\":[{\"shard\":" : ",{\"shard\":", leg->shard);
        write_member(b, ",\"asked\":", leg->asked);
        if (leg->asked_on != 0)
            write_member(b, ",\"asked_on\":", leg->asked_on);
        write_member(b, ",\"given\":", leg->given);
        qv_buf_str(b, ",\"plan\":");
        write_one_plan(b, leg->plan);
        qv_buf_str(b, "}}");
    }
    if (p->leg_count > 0)
        qv_buf_append(b, "]", 1);
}

static void write_plan(struct qv_buf *b, const struct qv_plan_out *p)
{
    write_one_plan(b, p);
    write_plan_legs(b, p);
    qv_buf_append(b, "}", 1);
}

/* Shards that were to be read, and what of their keys was. */
static void write_coverage(struct qv_buf *b, const struct qv_coverage *c)
{
    qv_buf_str(b, "\"coverage\":{\"share\":");
    qv_json_write_f64(b, c->share);
    write_member(b, ",\"shards\":", c->asked);
    write_member(b, ",\"answered\":", c->answered);
    qv_buf_str(b, ",\"missing\":[");
    for (uint32_t i = 0; i < c->asked - c->answered; i++)
        write_member(b, i == 0 ? "" : ",", c->missing[i]);
    qv_buf_str(b, "]}");
}

static bool has_quiver(const struct qv_points_out *points)
{
    return (points->explain && points->plan != NULL) || points->coverage != NULL;
}

/* Our own part of a result: {"plan":..,"coverage":..}; false: nothing was asked for. */
static bool write_quiver(struct qv_buf *b, const char *before, const struct qv_points_out *points)
{
    const bool plan = points->explain && points->plan != NULL;
    if (!has_quiver(points))
        return false;
    qv_buf_str(b, before);
    qv_buf_str(b, plan ? "{\"plan\":" : "{");
    if (plan)
        write_plan(b, points->plan);
    if (points->coverage != NULL) {
        qv_buf_str(b, plan ? "," : "");
        write_coverage(b, points->coverage);
    }
    qv_buf_append(b, "}", 1);
    return true;
}

void qv_json_write_hits(struct qv_buf *b, const struct qv_points_out *points)
{
    write_points(b, points, true);
    (void)write_quiver(b, ",\"quiver\":", points); /* a list has no place for it: beside it */
}

/* Beside the lists of a batch: one for each, null where none was asked for; nothing where none was
 * at all. */
static void write_quivers(struct qv_buf *b, const struct qv_points_out *lists, uint32_t count)
{
    bool any = false;
    for (uint32_t i = 0; i < count; i++)
        any = any || has_quiver(&lists[i]);
    for (uint32_t i = 0; i < count && any; i++) {
        qv_buf_str(b, i == 0 ? ",\"quiver\":[" : ",");
        if (!write_quiver(b, "", &lists[i]))
            qv_buf_str(b, "null");
    }
    if (any)
        qv_buf_append(b, "]", 1);
}

void qv_json_write_hits_batch(struct qv_buf *b, const struct qv_points_out *lists, uint32_t count)
{
    qv_buf_append(b, "[", 1);
    for (uint32_t i = 0; i < count; i++) {
        if (i != 0)
            qv_buf_append(b, ",", 1);
        write_points(b, &lists[i], true);
    }
    qv_buf_append(b, "]", 1);
    write_quivers(b, lists, count);
}

void qv_json_write_query(struct qv_buf *b, const struct qv_points_out *points)
{
    qv_buf_str(b, "{\"points\":");
    write_points(b, points, true);
    (void)write_quiver(b, ",\"quiver\":", points);
    qv_buf_append(b, "}", 1);
}

void qv_json_write_query_batch(struct qv_buf *b, const struct qv_points_out *lists, uint32_t count)
{
    qv_buf_append(b, "[", 1);
    for (uint32_t i = 0; i < count; i++) {
        if (i != 0)
            qv_buf_append(b, ",", 1);
        qv_json_write_query(b, &lists[i]);
    }
    qv_buf_append(b, "]", 1);
}

void qv_json_write_count(struct qv_buf *b, uint64_t count)
{
    qv_buf_str(b, "{\"count\":");
    qv_json_write_u64(b, count);
    qv_buf_append(b, "}", 1);
}

void qv_json_write_facet(struct qv_buf *b, const struct qv_facet_out *out)
{
    qv_buf_str(b, "{\"hits\":[");
    for (uint32_t i = 0; i < out->count; i++) {
        qv_buf_str(b, i == 0 ? "{\"value\":" : ",{\"value\":");
        qv_json_write_doc(b, out->hits[i].value);
        qv_buf_str(b, ",\"count\":");
        qv_json_write_u64(b, out->hits[i].count);
        qv_buf_append(b, "}", 1);
    }
    qv_buf_str(b, "]}");
}

void qv_json_write_update(struct qv_buf *b, const struct qv_write_result *r)
{
    qv_buf_str(b, "{\"operation_id\":");
    qv_json_write_u64(b, r->operation_id);
    qv_buf_str(b, r->completed ? ",\"status\":\"completed\"}" : ",\"status\":\"acknowledged\"}");
}

void qv_json_write_updates(struct qv_buf *b, const struct qv_write_result *r, uint32_t count)
{
    qv_buf_append(b, "[", 1);
    for (uint32_t i = 0; i < count; i++) {
        if (i != 0)
            qv_buf_append(b, ",", 1);
        qv_json_write_update(b, &r[i]);
    }
    qv_buf_append(b, "]", 1);
}

/* ---- the small ones ---- */

void qv_json_write_collections(struct qv_buf *b, const struct qv_str *names, uint32_t count)
{
    qv_buf_str(b, "{\"collections\":[");
    for (uint32_t i = 0; i < count; i++) {
        qv_buf_str(b, i == 0 ? "{\"name\":" : ",{\"name\":");
        qv_json_write_str(b, names[i]);
        qv_buf_append(b, "}", 1);
    }
    qv_buf_str(b, "]}");
}

void qv_json_write_exists(struct qv_buf *b, bool exists)
{
    qv_buf_str(b, exists ? "{\"exists\":true}" : "{\"exists\":false}");
}

void qv_json_write_service(struct qv_buf *b, const char *api_version, const char *commit,
                           const char *version)
{
    qv_buf_str(b, "{\"title\":\"qdrant - vector search engine\",\"version\":");
    qv_json_write_text(b, api_version);
    qv_buf_str(b, ",\"commit\":");
    qv_json_write_text(b, commit);
    qv_buf_str(b, ",\"engine\":\"quiver\",\"engine_version\":");
    qv_json_write_text(b, version);
    qv_buf_append(b, "}", 1);
}
