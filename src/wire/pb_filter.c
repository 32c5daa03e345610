/* Filters. A FieldCondition may carry several predicates at once; as in that API they are
 * alternatives, which becomes a sub-filter with `should`. */
#include "wire/pb_geo.h"

#include "base/qv_assert.h"
#include "core/limits.h"

#define FIELD_PREDICATES_MAX 9u

static int one_condition(struct qv_pb_ctx *c, const QvPb__Condition *m, struct qv_cond *out);
static int one_filter(struct qv_pb_ctx *c, const QvPb__Filter *m, struct qv_filter **out);

static int set_key(struct qv_pb_ctx *c, const char *key, struct qv_cond *out)
{
    out->key = qv_pb_str(key);
    return qv_pb_path(c, out->key, &out->path);
}

static int strings_any(struct qv_pb_ctx *c, const QvPb__RepeatedStrings *m, enum qv_cond_type type,
                       struct qv_cond *out)
{
    int err = qv_pb_check_count(c, "match", m->n_strings, QV_FILTER_LIST_MAX);
    if (err != 0)
        return err;
    struct qv_match *items = QV_PB_ARRAY(c, struct qv_match, m->n_strings);
    if (items == NULL)
        return QV_ETOOBIG;
    for (size_t i = 0; i < m->n_strings; i++)
        items[i] = (struct qv_match){.type = QV_MATCH_STRING, .s = qv_pb_str(m->strings[i])};
    out->type = type;
    out->u.any.items = items;
    out->u.any.count = (uint32_t)m->n_strings;
    return 0;
}

static int integers_any(struct qv_pb_ctx *c, const QvPb__RepeatedIntegers *m,
                        enum qv_cond_type type, struct qv_cond *out)
{
    int err = qv_pb_check_count(c, "match", m->n_integers, QV_FILTER_LIST_MAX);
    if (err != 0)
        return err;
    struct qv_match *items = QV_PB_ARRAY(c, struct qv_match, m->n_integers);
    if (items == NULL)
        return QV_ETOOBIG;
    for (size_t i = 0; i < m->n_integers; i++)
        items[i] = (struct qv_match){.type = QV_MATCH_INT, .i = m->integers[i]};
    out->type = type;
    out->u.any.items = items;
    out->u.any.count = (uint32_t)m->n_integers;
    return 0;
}

static int set_text(enum qv_cond_type type, const char *text, struct qv_cond *out)
{
    out->type = type;
    out->u.text = qv_pb_str(text);
    return 0;
}

static int set_match(struct qv_pb_ctx *c, const QvPb__Match *m, struct qv_cond *out)
{
    out->type = QV_COND_MATCH;
    switch (m->match_value_case) {
    case QV_PB__MATCH__MATCH_VALUE_KEYWORD:
        out->u.match = (struct qv_match){.type = QV_MATCH_STRING, .s = qv_pb_str(m->keyword)};
        return 0;
    case QV_PB__MATCH__MATCH_VALUE_INTEGER:
        out->u.match = (struct qv_match){.type = QV_MATCH_INT, .i = m->integer};
        return 0;
    case QV_PB__MATCH__MATCH_VALUE_BOOLEAN:
        out->u.match = (struct qv_match){.type = QV_MATCH_BOOL, .b = m->boolean != 0};
        return 0;
    case QV_PB__MATCH__MATCH_VALUE_KEYWORDS:
        return strings_any(c, m->keywords, QV_COND_MATCH_ANY, out);
    case QV_PB__MATCH__MATCH_VALUE_INTEGERS:
        return integers_any(c, m->integers, QV_COND_MATCH_ANY, out);
    case QV_PB__MATCH__MATCH_VALUE_EXCEPT_KEYWORDS:
        return strings_any(c, m->except_keywords, QV_COND_MATCH_EXCEPT, out);
    case QV_PB__MATCH__MATCH_VALUE_EXCEPT_INTEGERS:
        return integers_any(c, m->except_integers, QV_COND_MATCH_EXCEPT, out);
    case QV_PB__MATCH__MATCH_VALUE_TEXT:
        return set_text(QV_COND_MATCH_TEXT, m->text, out);
    case QV_PB__MATCH__MATCH_VALUE_TEXT_ANY:
        return set_text(QV_COND_MATCH_TEXT_ANY, m->text_any, out);
    case QV_PB__MATCH__MATCH_VALUE_PHRASE:
        return set_text(QV_COND_MATCH_PHRASE, m->phrase, out);
    case QV_PB__MATCH__MATCH_VALUE_PREFIX:
        return set_text(QV_COND_MATCH_PREFIX, m->prefix, out);
    default:
        return qv_fail(c->msg, QV_EINVAL, "an empty match condition");
    }
}

static void set_range(const QvPb__Range *m, struct qv_cond *out)
{
    out->type = QV_COND_RANGE;
    out->u.range = (struct qv_range){.lt = m->lt,
                                     .gt = m->gt,
                                     .lte = m->lte,
                                     .gte = m->gte,
                                     .has_lt = m->has_lt,
                                     .has_gt = m->has_gt,
                                     .has_lte = m->has_lte,
                                     .has_gte = m->has_gte};
}

static void set_values_count(const QvPb__ValuesCount *m, struct qv_cond *out)
{
    out->type = QV_COND_VALUES_COUNT;
    out->u.range = (struct qv_range){.lt = (double)m->lt,
                                     .gt = (double)m->gt,
                                     .lte = (double)m->lte,
                                     .gte = (double)m->gte,
                                     .has_lt = m->has_lt,
                                     .has_gt = m->has_gt,
                                     .has_lte = m->has_lte,
                                     .has_gte = m->has_gte};
}

/* is_empty and is_null given as a bool beside the key. */
static void set_flag(enum qv_cond_type type, bool want, struct qv_cond *out)
{
    out->type = type;
    out->u.want = want;
}

/* Predicates of m into list (room for FIELD_PREDICATES_MAX), each with the key already set. */
static int list_predicates(struct qv_pb_ctx *c, const QvPb__FieldCondition *m, struct qv_cond *list,
                           uint32_t *count)
{
    uint32_t n = 0;
    int err = m->match != NULL ? set_match(c, m->match, &list[n++]) : 0;
    if (err == 0 && m->range != NULL && m->datetime_range != NULL)
        err = qv_fail(c->msg, QV_EINVAL, "range and datetime_range exclude each other");
    if (err == 0 && m->datetime_range != NULL)
        err = qv_pb_datetime_range(c, m->datetime_range, &list[n++]);
    if (err == 0 && m->geo_bounding_box != NULL)
        err = qv_pb_geo_box(c, m->geo_bounding_box, &list[n++]);
    if (err == 0 && m->geo_radius != NULL)
        err = qv_pb_geo_radius(c, m->geo_radius, &list[n++]);
    if (err == 0 && m->geo_polygon != NULL)
        err = qv_pb_geo_polygon(c, m->geo_polygon, &list[n++]);
    if (m->range != NULL)
        set_range(m->range, &list[n++]);
    if (m->values_count != NULL)
        set_values_count(m->values_count, &list[n++]);
    if (m->has_is_empty)
        set_flag(QV_COND_KEY_IS_EMPTY, m->is_empty != 0, &list[n++]);
    if (m->has_is_null)
        set_flag(QV_COND_KEY_IS_NULL, m->is_null != 0, &list[n++]);
    *count = n;
    QV_ASSERT(n <= FIELD_PREDICATES_MAX);
    if (err == 0 && n == 0)
        return qv_fail(c->msg, QV_EVALIDATION,
                       "filter: At least one field condition must be specified");
    return err;
}

static int field_condition(struct qv_pb_ctx *c, const QvPb__FieldCondition *m, struct qv_cond *out)
{
    struct qv_cond *list = QV_PB_ARRAY(c, struct qv_cond, FIELD_PREDICATES_MAX);
    struct qv_filter *f = QV_PB_ARRAY(c, struct qv_filter, 1);
    uint32_t n = 0;
    if (list == NULL || f == NULL)
        return QV_ETOOBIG;
    int err = set_key(c, m->key, &list[0]);
    for (uint32_t i = 1; i < FIELD_PREDICATES_MAX; i++)
        list[i] = list[0];
    if (err == 0)
        err = list_predicates(c, m, list, &n);
    if (err != 0)
        return err;
    *out = list[0];
    if (n == 1)
        return 0;
    f->should = list;
    f->should_count = n;
    out->type = QV_COND_FILTER;
    out->u.filter = f;
    return 0;
}

static int has_id_condition(struct qv_pb_ctx *c, const QvPb__HasIdCondition *m, struct qv_cond *out)
{
    out->type = QV_COND_HAS_ID;
    int err = qv_pb_check_count(c, "has_id", m->n_has_id, QV_FILTER_LIST_MAX);
    return err != 0
               ? err
               : qv_pb_ids(c, m->has_id, m->n_has_id, &out->u.has_id.ids, &out->u.has_id.count);
}

static int sub_filter(struct qv_pb_ctx *c, enum qv_cond_type type, const QvPb__Filter *m,
                      struct qv_cond *out)
{
    struct qv_filter *f = NULL;
    int err = one_filter(c, m, &f);
    out->type = type;
    out->u.filter = f;
    return err;
}

static int nested_condition(struct qv_pb_ctx *c, const QvPb__NestedCondition *m,
                            struct qv_cond *out)
{
    int err = set_key(c, m->key, out);
    if (err == 0 && m->filter == NULL)
        err = qv_fail(c->msg, QV_EINVAL, "a nested condition has no filter");
    return err != 0 ? err : sub_filter(c, QV_COND_NESTED, m->filter, out);
}

static int slice_condition(struct qv_pb_ctx *c, const QvPb__SliceCondition *m, struct qv_cond *out)
{
    out->type = QV_COND_SLICE;
    out->u.slice.total = m->total;
    out->u.slice.index = m->index;
    return m->total > 0 ? 0
                        : qv_fail(c->msg, QV_EVALIDATION, "filter.slice.total: must be at least 1");
}

static int one_condition(struct qv_pb_ctx *c, const QvPb__Condition *m, struct qv_cond *out)
{
    switch (m->condition_one_of_case) {
    case QV_PB__CONDITION__CONDITION_ONE_OF_FIELD:
        return field_condition(c, m->field, out);
    case QV_PB__CONDITION__CONDITION_ONE_OF_IS_EMPTY:
        out->type = QV_COND_IS_EMPTY;
        return set_key(c, m->is_empty->key, out);
    case QV_PB__CONDITION__CONDITION_ONE_OF_IS_NULL:
        out->type = QV_COND_IS_NULL;
        return set_key(c, m->is_null->key, out);
    case QV_PB__CONDITION__CONDITION_ONE_OF_HAS_ID:
        return has_id_condition(c, m->has_id, out);
    case QV_PB__CONDITION__CONDITION_ONE_OF_HAS_VECTOR:
        out->type = QV_COND_HAS_VECTOR;
        out->u.vector = qv_pb_str(m->has_vector->has_vector);
        return 0;
    case QV_PB__CONDITION__CONDITION_ONE_OF_NESTED:
        return nested_condition(c, m->nested, out);
    case QV_PB__CONDITION__CONDITION_ONE_OF_FILTER:
        return sub_filter(c, QV_COND_FILTER, m->filter, out);
    case QV_PB__CONDITION__CONDITION_ONE_OF_SLICE:
        return slice_condition(c, m->slice, out);
    default:
        return qv_fail(c->msg, QV_EINVAL, "a condition of a filter is empty");
    }
}

static int conditions(struct qv_pb_ctx *c, QvPb__Condition *const *m, size_t n,
                      const struct qv_cond **out, uint32_t *count)
{
    *out = NULL;
    *count = 0;
    if (n == 0)
        return 0;
    int err = qv_pb_check_count(c, "filter conditions", n, QV_FILTER_CONDS_MAX);
    if (err != 0)
        return err;
    struct qv_cond *list = QV_PB_ARRAY(c, struct qv_cond, n);
    if (list == NULL)
        return QV_ETOOBIG;
    for (size_t i = 0; i < n && err == 0; i++)
        err = one_condition(c, m[i], &list[i]);
    *out = list;
    *count = (uint32_t)n;
    return err;
}

static int min_should(struct qv_pb_ctx *c, const QvPb__MinShould *m, struct qv_filter *f)
{
    if (m == NULL)
        return 0;
    f->has_min_should = true;
    f->min_should_min = m->min_count > UINT32_MAX ? UINT32_MAX : (uint32_t)m->min_count;
    return conditions(c, m->conditions, m->n_conditions, &f->min_should, &f->min_should_count);
}

static int one_filter(struct qv_pb_ctx *c, const QvPb__Filter *m, struct qv_filter **out)
{
    struct qv_filter *f = QV_PB_ARRAY(c, struct qv_filter, 1);
    if (f == NULL)
        return QV_ETOOBIG;
    *out = f;
    int err = conditions(c, m->must, m->n_must, &f->must, &f->must_count);
    if (err == 0)
        err = conditions(c, m->should, m->n_should, &f->should, &f->should_count);
    if (err == 0)
        err = conditions(c, m->must_not, m->n_must_not, &f->must_not, &f->must_not_count);
    return err != 0 ? err : min_should(c, m->min_should, f);
}

int qv_pb_filter(struct qv_pb_ctx *c, const QvPb__Filter *m, const struct qv_filter **out)
{
    *out = NULL;
    if (m == NULL)
        return 0;
    struct qv_filter *f;
    int err = one_filter(c, m, &f);
    if (err != 0)
        return err;
    *out = f;
    return qv_filter_seal(f, c->arena, c->msg);
}
