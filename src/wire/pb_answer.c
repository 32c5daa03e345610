/* Field numbers are those of proto/quiver_answer.proto; test_pb_answer reads everything back with
 * the code generated from it. */
#include "wire/pb_answer.h"

#include "wire/pb_out.h"
#include "wire/pb_value.h"

static void put_id(struct qv_buf *b, uint32_t number, const struct qv_id *id)
{
    size_t mark = qv_pb_begin(b, number);
    if (id->type == QV_ID_NUM) {
        qv_pb_put_u64(b, 1, id->lo);
    } else {
        char text[QV_ID_TEXT_MAX];
        size_t n = qv_id_format(id, text);
        qv_pb_put_bytes(b, 2, text, n);
    }
    qv_pb_end(b, mark);
}

/* ---- vectors ---- */

static void put_floats(struct qv_buf *b, uint32_t number, const float *v, size_t n)
{
    if (n > 0)
        qv_pb_put_bytes(b, number, v, n * sizeof *v);
}

static void put_indices(struct qv_buf *b, uint32_t number, const uint32_t *v, size_t n)
{
    if (n == 0)
        return;
    size_t mark = qv_pb_begin(b, number);
    for (size_t i = 0; i < n; i++)
        qv_pb_put_varint(b, v[i]);
    qv_pb_end(b, mark);
}

/* The content of a VectorOutput, in both forms. */
static void put_vec(struct qv_buf *b, const struct qv_vec *v)
{
    size_t mark, row;
    size_t n = (size_t)v->dim * (v->kind == QV_VEC_MULTI ? v->rows : 1);
    put_floats(b, 1, v->values, n);
    switch (v->kind) {
    case QV_VEC_DENSE:
        mark = qv_pb_begin(b, 101);
        put_floats(b, 1, v->values, n);
        qv_pb_end(b, mark);
        break;
    case QV_VEC_SPARSE:
        mark = qv_pb_begin(b, 2);
        put_indices(b, 1, v->indices, n);
        qv_pb_end(b, mark);
        mark = qv_pb_begin(b, 102);
        put_floats(b, 1, v->values, n);
        put_indices(b, 2, v->indices, n);
        qv_pb_end(b, mark);
        break;
    case QV_VEC_MULTI:
        qv_pb_put_u64(b, 3, v->rows);
        mark = qv_pb_begin(b, 103);
        for (uint32_t i = 0; i < v->rows; i++) {
            row = qv_pb_begin(b, 1);
            put_floats(b, 1, v->values + (size_t)i * v->dim, v->dim);
            qv_pb_end(b, row);
        }
        qv_pb_end(b, mark);
        break;
    }
}

static void put_vectors(struct qv_buf *b, uint32_t number, const struct qv_point_out *p)
{
    if (!p->has_vecs)
        return;
    size_t mark = qv_pb_begin(b, number);
    if (p->vecs_unnamed) {
        if (p->vec_count > 0) {
            size_t one = qv_pb_begin(b, 1);
            put_vec(b, &p->vecs[0].vec);
            qv_pb_end(b, one);
        }
        qv_pb_end(b, mark);
        return;
    }
    size_t named = qv_pb_begin(b, 2);
    for (uint32_t i = 0; i < p->vec_count; i++) {
        size_t entry = qv_pb_begin(b, 1);
        qv_pb_put_str(b, 1, p->vecs[i].name);
        size_t value = qv_pb_begin(b, 2);
        put_vec(b, &p->vecs[i].vec);
        qv_pb_end(b, value);
        qv_pb_end(b, entry);
    }
    qv_pb_end(b, named);
    qv_pb_end(b, mark);
}

/* ---- points ---- */

static void put_order_value(struct qv_buf *b, uint32_t number, const struct qv_order_value *v)
{
    if (v->type == QV_ORDER_NONE)
        return;
    size_t mark = qv_pb_begin(b, number);
    if (v->type == QV_ORDER_FLOAT)
        qv_pb_put_f64(b, 2, v->f);
    else
        qv_pb_put_u64(b, 1, (uint64_t)v->i);
    qv_pb_end(b, mark);
}

static void put_hit(struct qv_buf *b, uint32_t number, const struct qv_point_out *p)
{
    size_t mark = qv_pb_begin(b, number);
    put_id(b, 1, &p->id);
    if (p->payload.p != NULL)
        qv_pb_map_write(b, 2, p->payload);
    qv_pb_put_f32(b, 3, p->score);
    qv_pb_put_u64(b, 5, p->version.clock);
    put_vectors(b, 6, p);
    put_order_value(b, 8, &p->order_value);
    qv_pb_end(b, mark);
}

static void put_record(struct qv_buf *b, uint32_t number, const struct qv_point_out *p)
{
    size_t mark = qv_pb_begin(b, number);
    put_id(b, 1, &p->id);
    if (p->payload.p != NULL)
        qv_pb_map_write(b, 2, p->payload);
    put_vectors(b, 4, p);
    put_order_value(b, 6, &p->order_value);
    qv_pb_end(b, mark);
}

static void put_text(struct qv_buf *b, uint32_t number, const char *text)
{
    qv_pb_put_str(b, number, qv_str_of(text));
}

static void put_plan_filter(struct qv_buf *b, const struct qv_plan_out *p)
{
    const size_t mark = qv_pb_begin(b, 4);
    put_text(b, 1, p->filter_by);
    qv_pb_put_u64(b, 2, p->points);
    qv_pb_put_u64(b, 3, p->passing);
    qv_pb_put_u64(b, 4, p->passing_min);
    qv_pb_put_u64(b, 5, p->passing_max);
    qv_pb_put_u64(b, 6, p->payloads_read);
    qv_pb_end(b, mark);
}

static void put_plan(struct qv_buf *b, const struct qv_plan_out *p);

/* A leg's plan has no legs of its own here: as deep as one coordinator. */
static void put_plan_leg(struct qv_buf *b, const struct qv_plan_leg_out *leg)
{
    struct qv_plan_out plan = *leg->plan;
    plan.leg_count = 0;
    const size_t mark = qv_pb_begin(b, 9);
    qv_pb_put_u64(b, 1, leg->shard);
    qv_pb_put_u64(b, 2, leg->asked);
    if (leg->asked_on != 0)
        qv_pb_put_u64(b, 3, leg->asked_on);
    qv_pb_put_u64(b, 4, leg->given);
    const size_t inner = qv_pb_begin(b, 5);
    put_plan(b, &plan);
    qv_pb_end(b, inner);
    qv_pb_end(b, mark);
}

static void put_coverage(struct qv_buf *b, const struct qv_coverage *c)
{
    const size_t mark = qv_pb_begin(b, 2);
    qv_pb_put_f64(b, 1, c->share);
    qv_pb_put_u64(b, 2, c->asked);
    qv_pb_put_u64(b, 3, c->answered);
    for (uint32_t i = 0; i < c->asked - c->answered; i++)
        qv_pb_put_u64(b, 4, c->missing[i]);
    qv_pb_end(b, mark);
}

static void put_plan(struct qv_buf *b, const struct qv_plan_out *p)
{
    put_text(b, 1, p->way);
    put_text(b, 2, p->answered);
    put_text(b, 3, p->why);
    if (p->filter_by != NULL)
        put_plan_filter(b, p);
    qv_pb_put_u64(b, 5, p->ef);
    qv_pb_put_u64(b, 6, p->ranked);
    const size_t work = qv_pb_begin(b, 7);
    qv_pb_put_u64(b, 1, p->distances);
    qv_pb_put_u64(b, 2, p->hops);
    qv_pb_put_u64(b, 3, p->bridges);
    qv_pb_put_u64(b, 4, p->waiting);
    qv_pb_end(b, work);
    for (uint32_t i = 0; i < p->leg_count; i++)
        put_plan_leg(b, &p->legs[i]);
    if (!p->planned)
        return;
    const size_t costs = qv_pb_begin(b, 8);
    for (uint32_t i = 0; i < QV_PLAN_COSTS; i++)
        qv_pb_put_f64(b, i + 1, p->cost_us[i]);
    qv_pb_end(b, costs);
}

#define QUIVER 1000 /* our own part of an answer */

static void put_quiver(struct qv_buf *b, const struct qv_points_out *points)
{
    const bool plan = points->explain && points->plan != NULL;
    if (!plan && points->coverage == NULL)
        return;
    const size_t mark = qv_pb_begin(b, QUIVER);
    if (plan) {
        const size_t inner = qv_pb_begin(b, 1);
        put_plan(b, points->plan);
        qv_pb_end(b, inner);
    }
    if (points->coverage != NULL)
        put_coverage(b, points->coverage);
    qv_pb_end(b, mark);
}

void qv_pb_answer_hits(struct qv_buf *b, const struct qv_points_out *points, double seconds)
{
    for (uint32_t i = 0; i < points->count; i++)
        put_hit(b, 1, &points->points[i]);
    qv_pb_put_f64(b, 2, seconds);
    put_quiver(b, points);
}

void qv_pb_answer_hits_batch(struct qv_buf *b, const struct qv_points_out *lists, uint32_t count,
                             double seconds)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t mark = qv_pb_begin(b, 1);
        for (uint32_t j = 0; j < lists[i].count; j++)
            put_hit(b, 1, &lists[i].points[j]);
        put_quiver(b, &lists[i]);
        qv_pb_end(b, mark);
    }
    qv_pb_put_f64(b, 2, seconds);
}

void qv_pb_answer_records(struct qv_buf *b, const struct qv_points_out *points, double seconds)
{
    for (uint32_t i = 0; i < points->count; i++)
        put_record(b, 1, &points->points[i]);
    qv_pb_put_f64(b, 2, seconds);
}

void qv_pb_answer_scroll(struct qv_buf *b, const struct qv_scroll_out *out, double seconds)
{
    if (out->has_next)
        put_id(b, 1, &out->next);
    for (uint32_t i = 0; i < out->points.count; i++)
        put_record(b, 2, &out->points.points[i]);
    qv_pb_put_f64(b, 3, seconds);
}

void qv_pb_answer_count(struct qv_buf *b, uint64_t count, double seconds)
{
    size_t mark = qv_pb_begin(b, 1);
    qv_pb_put_u64(b, 1, count);
    qv_pb_end(b, mark);
    qv_pb_put_f64(b, 2, seconds);
}

static void put_facet_value(struct qv_buf *b, struct qv_doc d)
{
    size_t mark = qv_pb_begin(b, 1);
    if (qv_doc_type(d) == QV_DOC_STRING)
        qv_pb_put_str(b, 1, qv_doc_str(d));
    else if (qv_doc_type(d) == QV_DOC_INT)
        qv_pb_put_u64(b, 2, (uint64_t)qv_doc_int(d));
    else
        qv_pb_put_bool(b, 3, qv_doc_bool(d));
    qv_pb_end(b, mark);
}

void qv_pb_answer_facet(struct qv_buf *b, const struct qv_facet_out *out, double seconds)
{
    for (uint32_t i = 0; i < out->count; i++) {
        size_t mark = qv_pb_begin(b, 1);
        put_facet_value(b, out->hits[i].value);
        qv_pb_put_u64(b, 2, out->hits[i].count);
        qv_pb_end(b, mark);
    }
    qv_pb_put_f64(b, 2, seconds);
}

/* ---- changes ---- */

#define STATUS_ACKNOWLEDGED 1u
#define STATUS_COMPLETED 2u

static void put_update(struct qv_buf *b, const struct qv_write_result *r)
{
    size_t mark = qv_pb_begin(b, 1);
    qv_pb_put_u64(b, 1, r->operation_id);
    qv_pb_put_u64(b, 2, r->completed ? STATUS_COMPLETED : STATUS_ACKNOWLEDGED);
    qv_pb_end(b, mark);
}

void qv_pb_answer_update(struct qv_buf *b, const struct qv_write_result *r, double seconds)
{
    put_update(b, r);
    qv_pb_put_f64(b, 2, seconds);
}

void qv_pb_answer_updates(struct qv_buf *b, const struct qv_write_result *r, uint32_t count,
                          double seconds)
{
    for (uint32_t i = 0; i < count; i++)
        put_update(b, &r[i]);
    qv_pb_put_f64(b, 2, seconds);
}

/* ---- service and collections ---- */

void qv_pb_answer_health(struct qv_buf *b, const char *title, const char *version,
                         const char *commit)
{
    qv_pb_put_str(b, 1, qv_str_of(title));
    qv_pb_put_str(b, 2, qv_str_of(version));
    if (commit != NULL)
        qv_pb_put_str(b, 3, qv_str_of(commit));
}

void qv_pb_answer_grpc_health(struct qv_buf *b, bool serving)
{
    qv_pb_put_u64(b, 1, serving ? 1 : 2);
}

void qv_pb_answer_done(struct qv_buf *b, bool result, double seconds)
{
    qv_pb_put_bool(b, 1, result);
    qv_pb_put_f64(b, 2, seconds);
}

void qv_pb_answer_aliases(struct qv_buf *b, const struct qv_aliases_out *aliases, double seconds)
{
    for (uint32_t i = 0; i < aliases->count; i++) {
        size_t mark = qv_pb_begin(b, 1);
        qv_pb_put_str(b, 1, aliases->list[i].name);
        qv_pb_put_str(b, 2, aliases->list[i].collection);
        qv_pb_end(b, mark);
    }
    qv_pb_put_f64(b, 2, seconds);
}

void qv_pb_answer_exists(struct qv_buf *b, bool exists, double seconds)
{
    size_t mark = qv_pb_begin(b, 1);
    qv_pb_put_bool(b, 1, exists);
    qv_pb_end(b, mark);
    qv_pb_put_f64(b, 2, seconds);
}

void qv_pb_answer_collections(struct qv_buf *b, const struct qv_str *names, uint32_t count,
                              double seconds)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t mark = qv_pb_begin(b, 1);
        qv_pb_put_str(b, 1, names[i]);
        qv_pb_end(b, mark);
    }
    qv_pb_put_f64(b, 2, seconds);
}

static void put_snapshot(struct qv_buf *b, const struct qv_snapshot_desc *d)
{
    size_t mark = qv_pb_begin(b, 1);
    qv_pb_put_str(b, 1, qv_str_of(d->name));
    if (d->created_ms > 0) {
        size_t time = qv_pb_begin(b, 2);
        qv_pb_put_u64(b, 1, d->created_ms / 1000);
        qv_pb_put_u64(b, 2, d->created_ms % 1000 * 1000000);
        qv_pb_end(b, time);
    }
    qv_pb_put_u64(b, 3, d->size);
    if (d->checksum[0] != '\0')
        qv_pb_put_str(b, 4, qv_str_of(d->checksum));
    qv_pb_end(b, mark);
}

void qv_pb_answer_snapshot(struct qv_buf *b, const struct qv_snapshot_desc *d, double seconds)
{
    put_snapshot(b, d);
    qv_pb_put_f64(b, 2, seconds);
}

void qv_pb_answer_snapshots(struct qv_buf *b, const struct qv_snapshots_out *out, double seconds)
{
    for (uint32_t i = 0; i < out->count; i++)
        put_snapshot(b, &out->list[i]);
    qv_pb_put_f64(b, 2, seconds);
}

void qv_pb_answer_snapshot_deleted(struct qv_buf *b, double seconds)
{
    qv_pb_put_f64(b, 1, seconds);
}
