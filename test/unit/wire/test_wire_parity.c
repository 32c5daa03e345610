/* The two protocols say the same: a random gRPC message, written down as JSON field by field by
 * plain code here, is read by both halves into the same filter, payload, configuration. */
#include "suite.h"

#include "pb_gen.h"
#include "proto/quiver_points.pb-c.h"
#include "wire/json_answer.h"
#include "wire/json_doc.h"
#include "wire/json_request.h"
#include "wire/json_write.h"
#include "wire/pb_answer.h"
#include "wire/pb_guard.h"
#include "wire/pb_out.h"
#include "wire/pb_parts.h"
#include "wire/pb_request.h"

#include <stdlib.h>

struct world {
    struct qv_arena arena;
    struct qv_buf body, json;
    struct qv_errmsg msg;
    struct qv_rng rng;
};

static int setup(void **state)
{
    static struct world w;
    const char *env = getenv("SEED");
    uint64_t seed = env != NULL ? strtoull(env, NULL, 0) : 20240607u;
    memset(&w, 0, sizeof w);
    printf("SEED=%llu\n", (unsigned long long)seed);
    qv_rng_init(&w.rng, seed);
    qv_arena_init(&w.arena, (size_t)64 << 20);
    qv_buf_init(&w.body, 0);
    qv_buf_init(&w.json, 0);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    qv_arena_close(&w->arena);
    qv_buf_close(&w->body);
    qv_buf_close(&w->json);
    return 0;
}

static struct qv_bytes bytes_of(const struct qv_buf *b)
{
    return (struct qv_bytes){b->data, b->len};
}

/* ---- protobuf messages as JSON ---- */

static void json_filter(struct qv_buf *b, const QvPb__Filter *f);

static struct qv_str text_of(const char *s)
{
    return qv_str_of(s == NULL ? "" : s);
}

static void json_match(struct qv_buf *b, const QvPb__Match *m)
{
    static const char *const words[] = {
        [4] = "text",   [5] = "any",    [6] = "any",       [7] = "except",
        [8] = "except", [9] = "phrase", [10] = "text_any", [11] = "prefix"};
    const QvPb__RepeatedStrings *s = m->keywords;
    const QvPb__RepeatedIntegers *n = m->integers;
    const char *texts[] = {[4] = m->text, [9] = m->phrase, [10] = m->text_any, [11] = m->prefix};
    switch ((unsigned)m->match_value_case) {
    case 4:
    case 9:
    case 10:
    case 11:
        qv_buf_printf(b, "{\"%s\":", words[m->match_value_case]);
        qv_json_write_str(b, text_of(texts[m->match_value_case]));
        break;
    case 1:
        qv_buf_str(b, "{\"value\":");
        qv_json_write_str(b, text_of(m->keyword));
        break;
    case 2:
        qv_buf_printf(b, "{\"value\":%lld", (long long)m->integer);
        break;
    case 3:
        qv_buf_printf(b, "{\"value\":%s", m->boolean ? "true" : "false");
        break;
    default:
        qv_buf_printf(b, "{\"%s\":[", words[m->match_value_case]);
        bool strings = m->match_value_case == 5 || m->match_value_case == 8;
        for (size_t i = 0; i < (strings ? s->n_strings : n->n_integers); i++) {
            qv_buf_str(b, i > 0 ? "," : "");
            if (strings)
                qv_json_write_str(b, text_of(s->strings[i]));
            else
                qv_buf_printf(b, "%lld", (long long)n->integers[i]);
        }
        qv_buf_str(b, "]");
    }
    qv_buf_str(b, "}");
}

#define JSON_BOUND(name, write)                                                                    \
    if (m->has_##name) {                                                                           \
        qv_json_write_key(b, &first, #name);                                                       \
        write(b, m->name);                                                                         \
    }

static void json_range(struct qv_buf *b, const QvPb__Range *m)
{
    bool first = true;
    qv_buf_str(b, "{");
    JSON_BOUND(gt, qv_json_write_f64)
    JSON_BOUND(gte, qv_json_write_f64)
    JSON_BOUND(lt, qv_json_write_f64)
    JSON_BOUND(lte, qv_json_write_f64)
    qv_buf_str(b, "}");
}

static void json_values_count(struct qv_buf *b, const QvPb__ValuesCount *m)
{
    bool first = true;
    qv_buf_str(b, "{");
    JSON_BOUND(gt, qv_json_write_u64)
    JSON_BOUND(gte, qv_json_write_u64)
    JSON_BOUND(lt, qv_json_write_u64)
    JSON_BOUND(lte, qv_json_write_u64)
    qv_buf_str(b, "}");
}

/* "+2023-02-08T.." in UTC, by the calendar's own rules, day by day from 1970. */
static void json_time(struct qv_buf *b, const QvPb__Timestamp *t)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t days = t->seconds / 86400 - (t->seconds % 86400 < 0);
    const int rest = (int)(t->seconds - days * 86400);
    int year = 1970;
    int month = 0;
    for (;;) {
        const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        const int length = month_days[month] + (month == 1 && leap);
        if (days >= 0 && days < length)
            break;
        if (days < 0) {
            year--;
            days += (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 366 : 365;
            continue;
        }
        days -= length;
        month = (month + 1) % 12;
        year += month == 0;
    }
    qv_buf_printf(b, "\"%04d-%02d-%02dT%02d:%02d:%02d.%09dZ\"", year, month + 1, (int)days + 1,
                  rest / 3600, rest / 60 % 60, rest % 60, t->nanos);
}

#define JSON_TIME(name)                                                                            \
    if (m->name != NULL) {                                                                         \
        qv_json_write_key(b, &first, #name);                                                       \
        json_time(b, m->name);                                                                     \
    }

static void json_times(struct qv_buf *b, const QvPb__DatetimeRange *m)
{
    bool first = true;
    qv_buf_str(b, "{");
    JSON_TIME(gt)
    JSON_TIME(gte)
    JSON_TIME(lt)
    JSON_TIME(lte)
    qv_buf_str(b, "}");
}

static void json_point(struct qv_buf *b, const char *before, const QvPb__GeoPoint *p)
{
    qv_buf_printf(b, "%s{\"lon\":%.17g,\"lat\":%.17g}", before, p->lon, p->lat);
}

static void json_ring(struct qv_buf *b, const char *before, const QvPb__GeoLineString *m)
{
    qv_buf_printf(b, "%s{\"points\":[", before);
    for (size_t i = 0; i < m->n_points; i++)
        json_point(b, i > 0 ? "," : "", m->points[i]);
    qv_buf_str(b, "]}");
}

static void json_areas(struct qv_buf *b, const QvPb__FieldCondition *m)
{
    if (m->geo_bounding_box != NULL) {
        json_point(b, ",\"geo_bounding_box\":{\"top_left\":", m->geo_bounding_box->top_left);
        json_point(b, ",\"bottom_right\":", m->geo_bounding_box->bottom_right);
        qv_buf_str(b, "}");
    }
    if (m->geo_radius != NULL) {
        json_point(b, ",\"geo_radius\":{\"center\":", m->geo_radius->center);
        qv_buf_printf(b, ",\"radius\":%.17g}", (double)m->geo_radius->radius);
    }
    if (m->geo_polygon != NULL) {
        json_ring(b, ",\"geo_polygon\":{\"exterior\":", m->geo_polygon->exterior);
        qv_buf_str(b, ",\"interiors\":[");
        for (size_t i = 0; i < m->geo_polygon->n_interiors; i++)
            json_ring(b, i > 0 ? "," : "", m->geo_polygon->interiors[i]);
        qv_buf_str(b, "]}");
    }
}

static void json_field(struct qv_buf *b, const QvPb__FieldCondition *m)
{
    qv_buf_str(b, "{\"key\":");
    qv_json_write_str(b, text_of(m->key));
    if (m->match != NULL) {
        qv_buf_str(b, ",\"match\":");
        json_match(b, m->match);
    }
    if (m->range != NULL) {
        qv_buf_str(b, ",\"range\":");
        json_range(b, m->range);
    }
    if (m->datetime_range != NULL) {
        qv_buf_str(b, ",\"range\":");
        json_times(b, m->datetime_range);
    }
    json_areas(b, m);
    if (m->values_count != NULL) {
        qv_buf_str(b, ",\"values_count\":");
        json_values_count(b, m->values_count);
    }
    if (m->has_is_empty)
        qv_buf_printf(b, ",\"is_empty\":%s", m->is_empty ? "true" : "false");
    if (m->has_is_null)
        qv_buf_printf(b, ",\"is_null\":%s", m->is_null ? "true" : "false");
    qv_buf_str(b, "}");
}

static void json_ids(struct qv_buf *b, const QvPb__HasIdCondition *m)
{
    qv_buf_str(b, "{\"has_id\":[");
    for (size_t i = 0; i < m->n_has_id; i++) {
        const QvPb__PointId *id = m->has_id[i];
        qv_buf_str(b, i > 0 ? "," : "");
        if (id->point_id_options_case == QV_PB__POINT_ID__POINT_ID_OPTIONS_NUM)
            qv_buf_printf(b, "%llu", (unsigned long long)id->num);
        else
            qv_json_write_str(b, text_of(id->uuid));
    }
    qv_buf_str(b, "]}");
}

/* {"word":{"key":key} and, when there is one, "filter":filter}}; for a lone key just that. */
static void json_keyed(struct qv_buf *b, const char *word, const char *key, const QvPb__Filter *f)
{
    qv_buf_printf(b, "{\"%s\":{\"key\":", word);
    qv_json_write_str(b, text_of(key));
    if (f != NULL) {
        qv_buf_str(b, ",\"filter\":");
        json_filter(b, f);
    }
    qv_buf_str(b, "}}");
}

static void json_condition(struct qv_buf *b, const QvPb__Condition *c)
{
    switch (c->condition_one_of_case) {
    case QV_PB__CONDITION__CONDITION_ONE_OF_FIELD:
        json_field(b, c->field);
        break;
    case QV_PB__CONDITION__CONDITION_ONE_OF_IS_EMPTY:
        json_keyed(b, "is_empty", c->is_empty->key, NULL);
        break;
    case QV_PB__CONDITION__CONDITION_ONE_OF_IS_NULL:
        json_keyed(b, "is_null", c->is_null->key, NULL);
        break;
    case QV_PB__CONDITION__CONDITION_ONE_OF_NESTED:
        json_keyed(b, "nested", c->nested->key, c->nested->filter);
        break;
    case QV_PB__CONDITION__CONDITION_ONE_OF_HAS_ID:
        json_ids(b, c->has_id);
        break;
    case QV_PB__CONDITION__CONDITION_ONE_OF_HAS_VECTOR:
        qv_buf_str(b, "{\"has_vector\":");
        qv_json_write_str(b, text_of(c->has_vector->has_vector));
        qv_buf_str(b, "}");
        break;
    case QV_PB__CONDITION__CONDITION_ONE_OF_SLICE:
        qv_buf_printf(b, "{\"slice\":{\"total\":%u,\"index\":%u}}", c->slice->total,
                      c->slice->index);
        break;
    default:
        json_filter(b, c->filter);
    }
}

static void json_conditions(struct qv_buf *b, QvPb__Condition *const *c, size_t n)
{
    qv_buf_str(b, "[");
    for (size_t i = 0; i < n; i++) {
        qv_buf_str(b, i > 0 ? "," : "");
        json_condition(b, c[i]);
    }
    qv_buf_str(b, "]");
}

/* All clauses, empty ones too: {} alone would not be a filter everywhere. */
static void json_filter(struct qv_buf *b, const QvPb__Filter *f)
{
    qv_buf_str(b, "{\"must\":");
    json_conditions(b, f->must, f->n_must);
    qv_buf_str(b, ",\"should\":");
    json_conditions(b, f->should, f->n_should);
    qv_buf_str(b, ",\"must_not\":");
    json_conditions(b, f->must_not, f->n_must_not);
    if (f->min_should != NULL) {
        qv_buf_str(b, ",\"min_should\":{\"conditions\":");
        json_conditions(b, f->min_should->conditions, f->min_should->n_conditions);
        qv_buf_printf(b, ",\"min_count\":%llu}", (unsigned long long)f->min_should->min_count);
    }
    qv_buf_str(b, "}");
}

static void json_value(struct qv_buf *b, const QvPb__Value *v);

static void json_struct(struct qv_buf *b, QvPb__Struct__FieldsEntry *const *e, size_t n)
{
    qv_buf_str(b, "{");
    for (size_t i = 0; i < n; i++) {
        qv_buf_str(b, i > 0 ? "," : "");
        qv_json_write_str(b, text_of(e[i]->key));
        qv_buf_str(b, ":");
        json_value(b, e[i]->value);
    }
    qv_buf_str(b, "}");
}

static void json_value(struct qv_buf *b, const QvPb__Value *v)
{
    switch (v == NULL ? QV_PB__VALUE__KIND__NOT_SET : v->kind_case) {
    case QV_PB__VALUE__KIND_DOUBLE_VALUE:
        qv_json_write_f64(b, v->double_value);
        break;
    case QV_PB__VALUE__KIND_INTEGER_VALUE:
        qv_buf_printf(b, "%lld", (long long)v->integer_value);
        break;
    case QV_PB__VALUE__KIND_STRING_VALUE:
        qv_json_write_str(b,
                          (struct qv_str){(const char *)v->string_value.data, v->string_value.len});
        break;
    case QV_PB__VALUE__KIND_BOOL_VALUE:
        qv_buf_str(b, v->bool_value ? "true" : "false");
        break;
    case QV_PB__VALUE__KIND_STRUCT_VALUE:
        json_struct(b, v->struct_value->fields, v->struct_value->n_fields);
        break;
    case QV_PB__VALUE__KIND_LIST_VALUE:
        qv_buf_str(b, "[");
        for (size_t i = 0; i < v->list_value->n_values; i++) {
            qv_buf_str(b, i > 0 ? "," : "");
            json_value(b, v->list_value->values[i]);
        }
        qv_buf_str(b, "]");
        break;
    default:
        qv_buf_str(b, "null");
    }
}

/* ---- core's filters, compared ---- */

static void same_filter(const struct qv_filter *a, const struct qv_filter *b);

static void same_bounds(const struct qv_range *a, const struct qv_range *b)
{
    assert_int_equal(a->has_lt, b->has_lt);
    assert_int_equal(a->has_gt, b->has_gt);
    assert_int_equal(a->has_lte, b->has_lte);
    assert_int_equal(a->has_gte, b->has_gte);
    assert_true(!a->has_lt || a->lt == b->lt);
    assert_true(!a->has_gt || a->gt == b->gt);
    assert_true(!a->has_lte || a->lte == b->lte);
    assert_true(!a->has_gte || a->gte == b->gte);
}

static void same_times(const struct qv_datetime_range *a, const struct qv_datetime_range *b)
{
    assert_int_equal(a->has_lt, b->has_lt);
    assert_int_equal(a->has_gt, b->has_gt);
    assert_int_equal(a->has_lte, b->has_lte);
    assert_int_equal(a->has_gte, b->has_gte);
    assert_true(!a->has_lt || a->lt == b->lt);
    assert_true(!a->has_gt || a->gt == b->gt);
    assert_true(!a->has_lte || a->lte == b->lte);
    assert_true(!a->has_gte || a->gte == b->gte);
}

static void same_point(struct qv_geo_point a, struct qv_geo_point b)
{
    assert_true(a.lon == b.lon && a.lat == b.lat);
}

static void same_ring(const struct qv_geo_ring *a, const struct qv_geo_ring *b)
{
    assert_int_equal(a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++)
        same_point(a->points[i], b->points[i]);
}

static void same_polygon(const struct qv_geo_polygon *a, const struct qv_geo_polygon *b)
{
    same_ring(&a->exterior, &b->exterior);
    assert_int_equal(a->interior_count, b->interior_count);
    for (uint32_t i = 0; i < a->interior_count; i++)
        same_ring(&a->interiors[i], &b->interiors[i]);
}

static unsigned met[QV_COND_TYPES]; /* how often each type was compared */

static void same_condition(const struct qv_cond *a, const struct qv_cond *b)
{
    assert_int_equal(a->type, b->type);
    assert_true(qv_str_equal(a->key, b->key) || a->type == QV_COND_FILTER);
    met[a->type]++;
    switch (a->type) {
    case QV_COND_MATCH:
        assert_int_equal(qv_match_compare(&a->u.match, &b->u.match), 0);
        break;
    case QV_COND_MATCH_ANY:
    case QV_COND_MATCH_EXCEPT:
        assert_int_equal(a->u.any.count, b->u.any.count);
        for (uint32_t i = 0; i < a->u.any.count; i++)
            assert_int_equal(qv_match_compare(&a->u.any.items[i], &b->u.any.items[i]), 0);
        break;
    case QV_COND_RANGE:
    case QV_COND_VALUES_COUNT:
        same_bounds(&a->u.range, &b->u.range);
        break;
    case QV_COND_MATCH_TEXT:
    case QV_COND_MATCH_TEXT_ANY:
    case QV_COND_MATCH_PHRASE:
    case QV_COND_MATCH_PREFIX:
        assert_true(qv_str_equal(a->u.text, b->u.text));
        break;
    case QV_COND_DATETIME_RANGE:
        same_times(&a->u.times, &b->u.times);
        break;
    case QV_COND_GEO_BOX:
        same_point(a->u.geo_box.top_left, b->u.geo_box.top_left);
        same_point(a->u.geo_box.bottom_right, b->u.geo_box.bottom_right);
        break;
    case QV_COND_GEO_RADIUS:
        same_point(a->u.geo_circle.center, b->u.geo_circle.center);
        assert_true(a->u.geo_circle.radius == b->u.geo_circle.radius);
        break;
    case QV_COND_GEO_POLYGON:
        same_polygon(a->u.geo_polygon, b->u.geo_polygon);
        break;
    case QV_COND_SLICE:
        assert_int_equal(a->u.slice.total, b->u.slice.total);
        assert_int_equal(a->u.slice.index, b->u.slice.index);
        break;
    case QV_COND_HAS_ID:
        assert_int_equal(a->u.has_id.count, b->u.has_id.count);
        for (uint32_t i = 0; i < a->u.has_id.count; i++)
            assert_true(qv_id_equal(&a->u.has_id.ids[i], &b->u.has_id.ids[i]));
        break;
    case QV_COND_HAS_VECTOR:
        assert_true(qv_str_equal(a->u.vector, b->u.vector));
        break;
    case QV_COND_NESTED:
    case QV_COND_FILTER:
        same_filter(a->u.filter, b->u.filter);
        break;
    case QV_COND_KEY_IS_EMPTY:
    case QV_COND_KEY_IS_NULL:
        assert_int_equal(a->u.want, b->u.want);
        break;
    case QV_COND_IS_EMPTY:
    case QV_COND_IS_NULL:
        break;
    }
}

/* A range of times without bounds can't be said in JSON, where it is one of numbers. */
static void forget_empty_times(const struct qv_cond *list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct qv_cond *c = (struct qv_cond *)(uintptr_t)&list[i];
        const struct qv_datetime_range *t = &c->u.times;
        if (c->type != QV_COND_DATETIME_RANGE || t->has_lt || t->has_gt || t->has_lte || t->has_gte)
            continue;
        c->type = QV_COND_RANGE;
        c->u.range = (struct qv_range){.has_lt = false};
    }
}

static void same_list(const struct qv_cond *a, uint32_t n, const struct qv_cond *b, uint32_t m)
{
    forget_empty_times(b, m);
    assert_int_equal(n, m);
    for (uint32_t i = 0; i < n; i++)
        same_condition(&a[i], &b[i]);
}

static void same_filter(const struct qv_filter *a, const struct qv_filter *b)
{
    same_list(a->must, a->must_count, b->must, b->must_count);
    same_list(a->must_not, a->must_not_count, b->must_not, b->must_not_count);
    same_list(a->min_should, a->min_should_count, b->min_should, b->min_should_count);
    assert_int_equal(a->has_min_should, b->has_min_should);
    assert_int_equal(a->min_should_min, b->min_should_min);
    /* Of several predicates on one key the order is free: it follows the fields here, the text
     * there. As many, then, and each of them on the other side. */
    assert_int_equal(a->should_count, b->should_count);
    forget_empty_times(b->should, b->should_count);
    for (uint32_t i = 0; i < a->should_count; i++) {
        uint32_t k = i;
        for (uint32_t j = 0; j < b->should_count && b->should[k].type != a->should[i].type; j++)
            k = j;
        same_condition(&a->should[i], &b->should[k]);
    }
}

/* must: one condition on a key: what random filters seldom hold. */
static void gen_lone_condition(const struct pb_gen *g, struct qv_buf *out)
{
    const size_t must = qv_pb_begin(out, 2);
    const size_t field = qv_pb_begin(out, 1);
    qv_pb_put_str(out, 1, qv_str_of("a[].b"));
    pb_gen_message(g, &qv_pb__field_condition__descriptor, out);
    qv_pb_end(out, field);
    qv_pb_end(out, must);
}

static void filters_mean_the_same(void **state)
{
    struct world *w = *state;
    unsigned compared = 0;
    for (int i = 0; i < 60000 && compared < 6000; i++) {
        struct pb_gen g = {.rng = &w->rng,
                           .depth_max = 2 + (unsigned)qv_rng_below(&w->rng, 5),
                           .repeat_max = 3,
                           .presence = 10 + (unsigned)qv_rng_below(&w->rng, 40)};
        struct qv_pb_ctx c = {.arena = &w->arena, .msg = &w->msg};
        const struct qv_filter *want, *got;
        ProtobufCMessage *m;
        qv_arena_reset(&w->arena);
        qv_buf_clear(&w->body);
        qv_buf_clear(&w->json);
        if (i % 2 == 0)
            pb_gen_message(&g, &qv_pb__filter__descriptor, &w->body);
        else
            gen_lone_condition(&g, &w->body);
        assert_int_equal(
            qv_pb_unpack(&qv_pb__filter__descriptor, bytes_of(&w->body), &w->arena, &m, &w->msg),
            0);
        if (qv_pb_filter(&c, (const QvPb__Filter *)m, &got) != 0)
            continue;
        json_filter(&w->json, (const QvPb__Filter *)m);
        int err = qv_json_read_filter(bytes_of(&w->json), &w->arena, &want, &w->msg);
        if (err != 0)
            print_error("%s\n%.*s\n", w->msg.text, (int)w->json.len, (char *)w->json.data);
        assert_int_equal(err, 0);
        same_filter(want, got);
        compared++;
    }
    printf("compared %u\n", compared);
    for (int t = 0; t < QV_COND_TYPES; t++) {
        if (met[t] < 5)
            fail_msg("condition type %d was compared %u times", t, met[t]);
    }
    assert_true(compared > 500);
}

/* ---- payloads ---- */

static void payloads_mean_the_same(void **state)
{
    struct world *w = *state;
    struct qv_pb_ctx c = {.arena = &w->arena, .msg = &w->msg};
    unsigned compared = 0;
    qv_buf_init(&c.scratch, 1u << 24);
    for (int i = 0; i < 3000; i++) {
        struct pb_gen g = {.rng = &w->rng, .depth_max = 8, .repeat_max = 5, .presence = 80};
        ProtobufCMessage *m;
        struct qv_doc got, want;
        qv_arena_reset(&w->arena);
        qv_buf_clear(&w->body);
        qv_buf_clear(&w->json);
        pb_gen_message(&g, &qv_pb__struct__descriptor, &w->body);
        assert_int_equal(
            qv_pb_unpack(&qv_pb__struct__descriptor, bytes_of(&w->body), &w->arena, &m, &w->msg),
            0);
        const QvPb__Struct *s = (const QvPb__Struct *)m;
        assert_int_equal(qv_pb_map_doc(&c, (ProtobufCMessage *const *)s->fields, s->n_fields, &got),
                         0);
        if (got.p == NULL)
            continue;
        json_struct(&w->json, s->fields, s->n_fields);
        assert_int_equal(qv_json_read_doc(bytes_of(&w->json), &w->arena, &want, &w->msg), 0);
        if (!qv_doc_equal(want, got))
            print_error("%.*s\n", (int)w->json.len, (char *)w->json.data);
        assert_true(qv_doc_equal(want, got));
        compared++;
    }
    assert_true(compared > 1000);
    qv_buf_close(&c.scratch);
}

/* ---- configurations: through the metadata file's form and back, the gRPC echo is the same ---- */

static void echo(struct qv_buf *out, const struct qv_collection_config *config)
{
    struct qv_collection_info info = {.config = config};
    qv_buf_clear(out);
    qv_pb_answer_collection(out, &info, 1);
    assert_false(out->failed);
}

static void configurations_mean_the_same(void **state)
{
    struct world *w = *state;
    struct qv_buf want, got;
    unsigned compared = 0;
    qv_buf_init(&want, 0);
    qv_buf_init(&got, 0);
    for (int i = 0; i < 20000; i++) {
        struct pb_gen g = {.rng = &w->rng,
                           .depth_max = 4,
                           .repeat_max = 2,
                           .presence = 5 + (unsigned)qv_rng_below(&w->rng, 50)};
        struct qv_pb_request req;
        struct qv_collection_config config;
        uint64_t generation;
        qv_arena_reset(&w->arena);
        qv_buf_clear(&w->body);
        qv_buf_clear(&w->json);
        pb_gen_message(&g, &qv_pb__create_collection__descriptor, &w->body);
        if (qv_pb_request_decode(QV_PB_COLLECTION_CREATE, bytes_of(&w->body), &w->arena, &req,
                                 NULL) != 0)
            continue;
        qv_json_config_write(&w->json, req.u.config, 7);
        int err = qv_json_config_read(bytes_of(&w->json), &w->arena, &config, &generation, &w->msg);
        if (err != 0)
            print_error("%s\n%.*s\n", w->msg.text, (int)w->json.len, (char *)w->json.data);
        assert_int_equal(err, 0);
        assert_int_equal(generation, 7);
        assert_int_equal(config.next_number, req.u.config->next_number);
        echo(&want, req.u.config);
        echo(&got, &config);
        if (want.len != got.len || memcmp(want.data, got.data, got.len) != 0)
            print_error("%.*s\n", (int)w->json.len, (char *)w->json.data);
        assert_int_equal(want.len, got.len);
        assert_memory_equal(want.data, got.data, got.len);
        compared++;
    }
    printf("compared %u\n", compared);
    assert_true(compared > 100);
    qv_buf_close(&want);
    qv_buf_close(&got);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(filters_mean_the_same),
        T(payloads_mean_the_same),
        T(configurations_mean_the_same),
    };
    return RUN_SUITE(tests);
}
