/* Filters. An object of conditions is read key by key into a struct and judged when it ends, since
 * its kind shows only in which keys it has. Where one field condition says several things (match
 * and range, say) any of them suffices, as the API's servers have it. */
#include "wire/json_parts.h"
#include "wire/json_request.h"

#include "base/qv_assert.h"

struct cond_list {
    struct qv_cond *items;
    uint32_t count;
    uint32_t cap;
};

#define FIELD_CONDS_MAX 8

/* What one object said. */
struct cond_object {
    bool has_key;
    struct qv_str key;
    struct qv_path path;
    struct qv_cond fields[FIELD_CONDS_MAX]; /* about the key */
    uint32_t field_count;
    struct qv_cond alone; /* a condition that stands alone: has_id, nested, ... */
    bool has_alone;
    struct qv_filter filter; /* its clauses */
    bool has_unknown;
};

static void read_filter(struct qv_json *j, struct qv_filter *out);
static void read_condition(struct qv_json *j, struct qv_cond *out);

static const struct qv_filter *keep_filter(struct qv_json *j, const struct qv_filter *f)
{
    const struct qv_filter *out = j->err != 0 ? NULL : qv_arena_dup(j->arena, f, sizeof *f);
    if (out == NULL && j->err == 0)
        qv_json_fail_full(j);
    return out;
}

static void add_condition(struct qv_json *j, struct cond_list *list)
{
    struct qv_cond cond = {0};
    read_condition(j, &cond);
    list->items = qv_json_grow(j, list->items, list->count, &list->cap,
                               QV_JSON_LIST(cond, QV_FILTER_CONDS_MAX, "conditions"));
    if (list->items != NULL)
        list->items[list->count++] = cond;
}

/* One condition, a list of them, or null. */
static struct cond_list read_conditions(struct qv_json *j)
{
    struct cond_list list = {0};
    if (qv_json_null(j))
        return list;
    if (qv_json_peek(j) == QV_JSON_OBJECT) {
        add_condition(j, &list);
        return list;
    }
    qv_json_begin_array(j);
    while (qv_json_next_item(j))
        add_condition(j, &list);
    return list;
}

static void read_min_should(struct qv_json *j, struct qv_filter *f)
{
    struct cond_list list = {0};
    struct qv_str key;
    bool has_conditions = false;
    bool has_min = false;
    f->has_min_should = !qv_json_null(j);
    f->min_should = NULL;
    f->min_should_count = 0;
    f->min_should_min = 0;
    if (!f->has_min_should)
        return;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "conditions")) {
            list = read_conditions(j);
            has_conditions = true;
        } else if (qv_str_is(key, "min_count")) {
            uint64_t n = qv_json_u64(j);
            f->min_should_min = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
            has_min = true;
        } else {
            qv_json_skip(j);
        }
    }
    if (!has_conditions || !has_min)
        qv_json_fail_missing(j, has_conditions ? "min_count" : "conditions");
    f->min_should = list.items;
    f->min_should_count = list.count;
}

/* A clause of a filter; false when the key is none (nothing is read then). */
static bool filter_clause(struct qv_json *j, struct qv_str key, struct qv_filter *f)
{
    struct cond_list list;
    if (qv_str_is(key, "must")) {
        list = read_conditions(j);
        f->must = list.items;
        f->must_count = list.count;
    } else if (qv_str_is(key, "should")) {
        list = read_conditions(j);
        f->should = list.items;
        f->should_count = list.count;
    } else if (qv_str_is(key, "must_not")) {
        list = read_conditions(j);
        f->must_not = list.items;
        f->must_not_count = list.count;
    } else if (qv_str_is(key, "min_should")) {
        read_min_should(j, f);
    } else {
        return false;
    }
    return true;
}

/* ---- conditions on a key ---- */

/* Types that one key of the object may say. */
static enum qv_cond_type kind_of(enum qv_cond_type type)
{
    if (type <= QV_COND_MATCH_PREFIX)
        return QV_COND_MATCH;
    return type == QV_COND_DATETIME_RANGE ? QV_COND_RANGE : type;
}

static struct qv_cond *add_field(struct cond_object *o, enum qv_cond_type type)
{
    for (uint32_t i = 0; i < o->field_count; i++) {
        if (kind_of(o->fields[i].type) ==
            kind_of(type)) { /* the key stands twice: the last counts */
            o->fields[i] = (struct qv_cond){.type = type};
            return &o->fields[i];
        }
    }
    QV_ASSERT(o->field_count < FIELD_CONDS_MAX);
    o->fields[o->field_count] = (struct qv_cond){.type = type};
    return &o->fields[o->field_count++];
}

/* string, integer or boolean; nothing else can be matched */
static struct qv_match read_match_value(struct qv_json *j, bool bool_too)
{
    struct qv_match m = {.type = QV_MATCH_STRING};
    enum qv_json_type type = qv_json_peek(j);
    if (type == QV_JSON_STRING) {
        m.s = qv_json_string(j);
    } else if (type == QV_JSON_BOOL && bool_too) {
        m.type = QV_MATCH_BOOL;
        m.b = qv_json_bool(j);
    } else if (type == QV_JSON_NUMBER) {
        struct qv_json_number n = qv_json_number(j);
        m.type = QV_MATCH_INT;
        m.i = n.i;
        if (!n.is_int)
            qv_json_fail_at(j, j->p - 1,
                            "data did not match any variant of untagged enum ValueVariants");
    } else {
        qv_json_fail_type(j, bool_too ? "a string, an integer or a boolean"
                                      : "a string or an integer");
    }
    return m;
}

static void read_match_list(struct qv_json *j, struct qv_cond *cond)
{
    struct qv_match *items = NULL;
    uint32_t cap = 0;
    uint32_t n = 0;
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        struct qv_match m = read_match_value(j, false);
        items =
            qv_json_grow(j, items, n, &cap, QV_JSON_LIST(m, QV_FILTER_LIST_MAX, "values to match"));
        if (items == NULL)
            return;
        if (n > 0 && items[0].type != m.type)
            qv_json_fail_at(j, j->p - 1,
                            "data did not match any variant of untagged enum AnyVariants");
        items[n++] = m;
    }
    cond->u.any.items = items;
    cond->u.any.count = n;
}

/* The text conditions of `match`; false when the key is none (nothing is read then). */
static bool match_text(struct qv_json *j, struct qv_str key, struct cond_object *o)
{
    static const struct {
        const char *key;
        enum qv_cond_type type;
    } texts[] = {{"text", QV_COND_MATCH_TEXT},
                 {"text_any", QV_COND_MATCH_TEXT_ANY},
                 {"phrase", QV_COND_MATCH_PHRASE},
                 {"prefix", QV_COND_MATCH_PREFIX}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (!qv_str_is(key, texts[i].key))
            continue;
        add_field(o, texts[i].type)->u.text = qv_json_string(j);
        return true;
    }
    return false;
}

static void read_match(struct qv_json *j, struct cond_object *o)
{
    struct qv_str key;
    bool found = false;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (match_text(j, key, o)) {
            found = true;
            continue;
        }
        if (qv_str_is(key, "value"))
            add_field(o, QV_COND_MATCH)->u.match = read_match_value(j, true);
        else if (qv_str_is(key, "any"))
            read_match_list(j, add_field(o, QV_COND_MATCH_ANY));
        else if (qv_str_is(key, "except"))
            read_match_list(j, add_field(o, QV_COND_MATCH_EXCEPT));
        else
            qv_json_skip(j);
        found =
            found || qv_str_is(key, "value") || qv_str_is(key, "any") || qv_str_is(key, "except");
    }
    if (!found)
        qv_json_fail_at(j, j->p > j->start ? j->p - 1 : j->p,
                        "data did not match any variant of untagged enum Match");
}

static void read_bound(struct qv_json *j, bool counts, double *v, bool *has)
{
    *has = !qv_json_null(j);
    if (*has)
        *v = counts ? (double)qv_json_u64(j) : qv_json_f64(j);
}

/* Is a bound of the range at j a string? Then all of them are times. Reads nothing. */
static bool range_of_times(struct qv_json *j)
{
    struct qv_json_mark m = qv_json_mark(j);
    struct qv_str key;
    bool times = false;
    if (qv_json_peek(j) != QV_JSON_OBJECT)
        return false;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        bool bound = qv_str_is(key, "lt") || qv_str_is(key, "gt") || qv_str_is(key, "lte") ||
                     qv_str_is(key, "gte");
        times = times || (bound && qv_json_peek(j) == QV_JSON_STRING);
        qv_json_skip(j);
    }
    if (j->err == 0)
        qv_json_restore(j, m);
    return times;
}

/* counts: of values (whole numbers), else of numbers. */
static void read_range(struct qv_json *j, bool counts, struct qv_range *r)
{
    struct qv_str key;
    *r = (struct qv_range){0};
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "lt"))
            read_bound(j, counts, &r->lt, &r->has_lt);
        else if (qv_str_is(key, "gt"))
            read_bound(j, counts, &r->gt, &r->has_gt);
        else if (qv_str_is(key, "lte"))
            read_bound(j, counts, &r->lte, &r->has_lte);
        else if (qv_str_is(key, "gte"))
            read_bound(j, counts, &r->gte, &r->has_gte);
        else
            qv_json_skip(j);
    }
}

/* ---- conditions that stand alone ---- */

static struct qv_cond *set_alone(struct cond_object *o, enum qv_cond_type type)
{
    o->has_alone = true;
    o->alone = (struct qv_cond){.type = type};
    return &o->alone;
}

/* The path at j, with its text for messages. */
static void read_key(struct qv_json *j, struct qv_str *key, struct qv_path *path)
{
    struct qv_json_mark m = qv_json_mark(j);
    *path = qv_json_path(j);
    if (j->err != 0)
        return;
    qv_json_restore(j, m);
    *key = qv_json_string(j);
}

/* {"key": ..}, and for nested also a filter. */
static void read_keyed(struct qv_json *j, struct qv_cond *cond)
{
    struct qv_str key;
    bool has_key = false;
    bool has_filter = false;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "key")) {
            read_key(j, &cond->key, &cond->path);
            has_key = true;
        } else if (cond->type == QV_COND_NESTED && qv_str_is(key, "filter")) {
            struct qv_filter f;
            read_filter(j, &f);
            cond->u.filter = keep_filter(j, &f);
            has_filter = true;
        } else {
            qv_json_skip(j);
        }
    }
    if (!has_key)
        qv_json_fail_missing(j, "key");
    if (cond->type == QV_COND_NESTED && !has_filter)
        qv_json_fail_missing(j, "filter");
}

/* is_empty, is_null: a bool beside a key, or an object that names the key. */
static void read_is(struct qv_json *j, struct cond_object *o, enum qv_cond_type type)
{
    if (qv_json_null(j))
        return;
    if (qv_json_peek(j) == QV_JSON_OBJECT) {
        read_keyed(j, set_alone(o, type));
        return;
    }
    bool empty = type == QV_COND_IS_EMPTY;
    struct qv_cond *cond = add_field(o, empty ? QV_COND_KEY_IS_EMPTY : QV_COND_KEY_IS_NULL);
    cond->u.want = qv_json_bool(j);
}

static void read_slice(struct qv_json *j, struct qv_cond *cond)
{
    struct qv_str key;
    bool has_total = false;
    bool has_index = false;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "total")) {
            cond->u.slice.total = qv_json_u32(j);
            has_total = true;
        } else if (qv_str_is(key, "index")) {
            cond->u.slice.index = qv_json_u32(j);
            has_index = true;
        } else {
            qv_json_skip(j);
        }
    }
    if (!has_total || !has_index)
        qv_json_fail_missing(j, has_total ? "index" : "total");
    else if (cond->u.slice.total == 0)
        qv_json_fail_at(j, j->p > j->start ? j->p - 1 : j->p,
                        "invalid value: integer `0`, expected a nonzero u32");
}

static bool alone_key(struct qv_json *j, struct qv_str key, struct cond_object *o)
{
    struct qv_cond *c;
    if (qv_str_is(key, "is_empty")) {
        read_is(j, o, QV_COND_IS_EMPTY);
    } else if (qv_str_is(key, "is_null")) {
        read_is(j, o, QV_COND_IS_NULL);
    } else if (qv_str_is(key, "has_id")) {
        c = set_alone(o, QV_COND_HAS_ID);
        c->u.has_id.ids = qv_json_ids(j, QV_FILTER_LIST_MAX, &c->u.has_id.count);
    } else if (qv_str_is(key, "has_vector")) {
        set_alone(o, QV_COND_HAS_VECTOR)->u.vector = qv_json_name(j);
    } else if (qv_str_is(key, "nested")) {
        read_keyed(j, set_alone(o, QV_COND_NESTED));
    } else if (qv_str_is(key, "slice")) {
        read_slice(j, set_alone(o, QV_COND_SLICE));
    } else {
        return false;
    }
    return true;
}

static void read_any_range(struct qv_json *j, struct cond_object *o)
{
    if (range_of_times(j))
        qv_json_datetime_range(j, &add_field(o, QV_COND_DATETIME_RANGE)->u.times);
    else
        read_range(j, false, &add_field(o, QV_COND_RANGE)->u.range);
}

/* A predicate of the key; false when the key is none (nothing is read then). */
static bool predicate_key(struct qv_json *j, struct qv_str key, struct cond_object *o)
{
    static const char *const predicates[] = {"match",      "range",       "values_count",
                                             "geo_radius", "geo_polygon", "geo_bounding_box"};
    bool is_one = false;
    for (size_t i = 0; i < sizeof predicates / sizeof predicates[0]; i++)
        is_one = is_one || qv_str_is(key, predicates[i]);
    if (!is_one || qv_json_null(j))
        return is_one;
    if (qv_str_is(key, "match"))
        read_match(j, o);
    else if (qv_str_is(key, "range"))
        read_any_range(j, o);
    else if (qv_str_is(key, "values_count"))
        read_range(j, true, &add_field(o, QV_COND_VALUES_COUNT)->u.range);
    else if (qv_str_is(key, "geo_radius"))
        qv_json_geo_circle(j, &add_field(o, QV_COND_GEO_RADIUS)->u.geo_circle);
    else if (qv_str_is(key, "geo_polygon"))
        add_field(o, QV_COND_GEO_POLYGON)->u.geo_polygon = qv_json_geo_polygon(j);
    else
        qv_json_geo_box(j, &add_field(o, QV_COND_GEO_BOX)->u.geo_box);
    return true;
}

static bool field_key(struct qv_json *j, struct qv_str key, struct cond_object *o)
{
    if (!qv_str_is(key, "key"))
        return predicate_key(j, key, o);
    read_key(j, &o->key, &o->path);
    o->has_key = true;
    return true;
}

/* ---- judging an object ---- */

/* A condition in the arena, its key set. */
static struct qv_cond *keep_field(struct qv_json *j, const struct cond_object *o, uint32_t i)
{
    struct qv_cond *c = QV_ARENA_NEW(j->arena, struct qv_cond);
    if (c == NULL) {
        qv_json_fail_full(j);
        return NULL;
    }
    *c = o->fields[i];
    c->key = o->key;
    c->path = o->path;
    return c;
}

static void judge_fields(struct qv_json *j, const struct cond_object *o, struct qv_cond *out)
{
    struct cond_list list = {0};
    if (o->field_count == 0) {
        qv_json_fail(j, QV_EVALIDATION, "filter: At least one field condition must be specified");
        return;
    }
    for (uint32_t i = 0; i < o->field_count; i++) {
        struct qv_cond *c = keep_field(j, o, i);
        list.items = qv_json_grow(j, list.items, list.count, &list.cap,
                                  QV_JSON_LIST(*c, FIELD_CONDS_MAX, "conditions"));
        if (c == NULL || list.items == NULL)
            return;
        list.items[list.count++] = *c;
    }
    if (list.count == 1) {
        *out = list.items[0];
        return;
    }
    struct qv_filter any = {.should = list.items, .should_count = list.count};
    out->type = QV_COND_FILTER;
    out->u.filter = keep_filter(j, &any);
}

static void judge(struct qv_json *j, const struct cond_object *o, struct qv_cond *out)
{
    if (j->err != 0)
        return;
    if (o->has_key) {
        judge_fields(j, o, out);
    } else if (o->has_alone) {
        *out = o->alone;
    } else if (o->field_count == 0 && !o->has_unknown) {
        out->type = QV_COND_FILTER;
        out->u.filter = keep_filter(j, &o->filter);
    } else {
        qv_json_fail_at(j, j->p - 1, "data did not match any variant of untagged enum Condition");
    }
}

static void read_condition(struct qv_json *j, struct qv_cond *out)
{
    struct cond_object o = {0};
    struct qv_str key;
    if (qv_json_peek(j) != QV_JSON_OBJECT) {
        qv_json_fail_type(j, "a condition");
        return;
    }
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (field_key(j, key, &o) || alone_key(j, key, &o))
            continue;
        if (!filter_clause(j, key, &o.filter)) {
            o.has_unknown = true;
            qv_json_skip(j);
        }
    }
    judge(j, &o, out);
}

/* Unknown keys are refused here, as the API does: a filter that lost a clause to a typing error
 * would match everything, and deletes take filters. */
static void read_filter(struct qv_json *j, struct qv_filter *out)
{
    struct qv_str key;
    *out = (struct qv_filter){0};
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (!filter_clause(j, key, out))
            qv_json_fail_at(j, j->p - 1,
                            "unknown field `%.*s`, expected one of `should`, `min_should`, `must`, "
                            "`must_not`",
                            key.n > 64 ? 0 : (int)key.n, key.p);
    }
}

const struct qv_filter *qv_json_filter(struct qv_json *j)
{
    struct qv_errmsg msg = {{0}};
    struct qv_filter *f;
    if (qv_json_null(j) || j->err != 0)
        return NULL;
    f = QV_ARENA_NEW(j->arena, struct qv_filter);
    if (f == NULL) {
        qv_json_fail_full(j);
        return NULL;
    }
    read_filter(j, f);
    if (j->err != 0)
        return NULL;
    qv_json_fail_below(j, qv_filter_seal(f, j->arena, &msg), &msg);
    return j->err == 0 ? f : NULL;
}

int qv_json_read_filter(struct qv_bytes body, struct qv_arena *a, const struct qv_filter **out,
                        struct qv_errmsg *msg)
{
    struct qv_json j;
    qv_json_init(&j, body, a, msg);
    *out = qv_json_filter(&j);
    int err = qv_json_finish(&j);
    if (err != 0)
        *out = NULL;
    return err;
}
