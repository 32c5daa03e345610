/* Evaluation of filters on stored documents. The rules are filter.h's and docs/filters.md's; they
 * were read off the behaviour of the API's own servers without payload indexes.
 * test/lib/naive_filter.c says the same a second time, independently. */
#include "core/filter.h"

#include "base/hash.h"
#include "base/qv_assert.h"
#include "core/datetime.h"
#include "core/text_match.h"
#include "text/letters.h"

#include <stdlib.h>

/* What conditions are looked at on: the point, or an element of an array inside NESTED. */
struct scope {
    const struct qv_filter_point *point;
    struct qv_doc object;
    bool nested;
};

static bool match_filter(const struct qv_filter *f, const struct scope *s);

int qv_match_compare(const struct qv_match *a, const struct qv_match *b)
{
    if (a->type != b->type)
        return a->type < b->type ? -1 : 1;
    switch (a->type) {
    case QV_MATCH_STRING:
        return qv_str_compare(a->s, b->s);
    case QV_MATCH_INT:
        return a->i < b->i ? -1 : a->i > b->i;
    case QV_MATCH_BOOL:
        return (int)a->b - (int)b->b;
    }
    QV_UNREACHABLE();
}

static int compare_matches(const void *a, const void *b)
{
    return qv_match_compare(a, b);
}

static int compare_ids(const void *a, const void *b)
{
    return qv_id_compare(a, b);
}

/* ---- one value ---- */

/* A value as something to match; false for what can't be matched (null, doubles, containers). */
static bool as_match(struct qv_doc v, struct qv_match *out)
{
    switch (qv_doc_type(v)) {
    case QV_DOC_STRING:
        *out = (struct qv_match){.type = QV_MATCH_STRING, .s = qv_doc_str(v)};
        return true;
    case QV_DOC_INT:
        *out = (struct qv_match){.type = QV_MATCH_INT, .i = qv_doc_int(v)};
        return true;
    case QV_DOC_FALSE:
    case QV_DOC_TRUE:
        *out = (struct qv_match){.type = QV_MATCH_BOOL, .b = qv_doc_bool(v)};
        return true;
    default:
        return false;
    }
}

static bool value_in_list(struct qv_doc v, const struct qv_cond *c)
{
    struct qv_match m;
    if (c->u.any.count == 0 || !as_match(v, &m))
        return false;
    return bsearch(&m, c->u.any.items, c->u.any.count, sizeof m, compare_matches) != NULL;
}

static bool number_in_range(double x, const struct qv_range *r)
{
    return (!r->has_lt || x < r->lt) && (!r->has_gt || x > r->gt) && (!r->has_lte || x <= r->lte) &&
           (!r->has_gte || x >= r->gte);
}

static bool time_in_range(struct qv_doc v, const struct qv_datetime_range *r)
{
    int64_t t;
    return qv_doc_type(v) == QV_DOC_STRING && qv_datetime_parse(qv_doc_str(v), &t) &&
           (!r->has_lt || t < r->lt) && (!r->has_gt || t > r->gt) && (!r->has_lte || t <= r->lte) &&
           (!r->has_gte || t >= r->gte);
}

static bool is_number(struct qv_doc v)
{
    return qv_doc_type(v) == QV_DOC_INT || qv_doc_type(v) == QV_DOC_DOUBLE;
}

bool qv_filter_place(struct qv_doc v, struct qv_geo_point *out)
{
    struct qv_doc lon;
    struct qv_doc lat;
    if (qv_doc_type(v) != QV_DOC_OBJECT || !qv_doc_find(v, qv_str_of("lon"), &lon) ||
        !qv_doc_find(v, qv_str_of("lat"), &lat) || !is_number(lon) || !is_number(lat))
        return false;
    *out = (struct qv_geo_point){.lon = qv_doc_double(lon), .lat = qv_doc_double(lat)};
    return qv_geo_point_valid(*out);
}

static bool place_in_area(struct qv_doc v, const struct qv_cond *c)
{
    struct qv_geo_point p;
    if (!qv_filter_place(v, &p))
        return false;
    if (c->type == QV_COND_GEO_BOX)
        return qv_geo_box_contains(&c->u.geo_box, p);
    if (c->type == QV_COND_GEO_RADIUS)
        return qv_geo_circle_contains(&c->u.geo_circle, p);
    return qv_geo_polygon_contains(c->u.geo_polygon, p);
}

static bool holds_text(struct qv_str s, struct qv_str part)
{
    return part.n == 0 || (s.n >= part.n && memmem(s.p, s.n, part.p, part.n) != NULL);
}

/* One of the words of `words`, between white space, is somewhere in s. */
static bool holds_a_word(struct qv_str s, struct qv_str words)
{
    const uint8_t *p = (const uint8_t *)words.p;
    const uint8_t *end = p + words.n;
    const uint8_t *from = p;
    while (p <= end) {
        int32_t c = ' ';
        const size_t n = p < end ? qv_letter_read(p, end, &c) : 1;
        if (qv_letter_is_space(c)) {
            const struct qv_str word = {(const char *)from, (size_t)(p - from)};
            if (word.n > 0 && holds_text(s, word))
                return true;
            from = p + n;
        }
        p += n > 0 ? n : 1;
    }
    return false;
}

static bool check_string(const struct qv_cond *c, struct qv_str s)
{
    const struct qv_str text = c->u.text;
    if (c->type == QV_COND_MATCH_TEXT_ANY)
        return holds_a_word(s, text);
    if (c->type == QV_COND_MATCH_PREFIX)
        return s.n >= text.n && (text.n == 0 || memcmp(s.p, text.p, text.n) == 0);
    return holds_text(s, text);
}

/* Conditions that look at one value, on one that is not an array, or is one in an array. */
static bool check_scalar(const struct qv_cond *c, struct qv_doc v)
{
    struct qv_match m;
    const enum qv_doc_type t = qv_doc_type(v);
    switch (c->type) {
    case QV_COND_MATCH:
        return as_match(v, &m) && qv_match_compare(&m, &c->u.match) == 0;
    case QV_COND_MATCH_ANY:
        return value_in_list(v, c);
    case QV_COND_MATCH_EXCEPT:
        return t != QV_DOC_NULL && !value_in_list(v, c);
    case QV_COND_MATCH_TEXT:
    case QV_COND_MATCH_TEXT_ANY:
    case QV_COND_MATCH_PHRASE:
    case QV_COND_MATCH_PREFIX:
        return t == QV_DOC_STRING && check_string(c, qv_doc_str(v));
    case QV_COND_DATETIME_RANGE:
        return time_in_range(v, &c->u.times);
    case QV_COND_GEO_BOX:
    case QV_COND_GEO_RADIUS:
    case QV_COND_GEO_POLYGON:
        return place_in_area(v, c);
    case QV_COND_RANGE:
        return is_number(v) && number_in_range(qv_doc_double(v), &c->u.range);
    default:
        QV_UNREACHABLE();
    }
}

static bool check_scalars(const struct qv_cond *c, struct qv_doc v)
{
    struct qv_doc_iter it;
    struct qv_doc element;
    if (qv_doc_type(v) != QV_DOC_ARRAY)
        return check_scalar(c, v);
    qv_doc_iter_init(&it, v);
    while (qv_doc_next(&it, NULL, &element)) {
        if (check_scalar(c, element))
            return true;
    }
    return false;
}

static bool value_is_empty(struct qv_doc v)
{
    const enum qv_doc_type t = qv_doc_type(v);
    return t == QV_DOC_NULL || (t == QV_DOC_ARRAY && qv_doc_count(v) == 0);
}

static bool value_holds_null(struct qv_doc v)
{
    struct qv_doc_iter it;
    struct qv_doc element;
    if (qv_doc_type(v) != QV_DOC_ARRAY)
        return qv_doc_type(v) == QV_DOC_NULL;
    qv_doc_iter_init(&it, v);
    while (qv_doc_next(&it, NULL, &element)) {
        if (qv_doc_type(element) == QV_DOC_NULL)
            return true;
    }
    return false;
}

static bool check_count(const struct qv_cond *c, struct qv_doc v)
{
    const enum qv_doc_type t = qv_doc_type(v);
    const uint32_t count = t == QV_DOC_ARRAY ? qv_doc_count(v) : t != QV_DOC_NULL;
    return number_in_range(count, &c->u.range);
}

static bool check_object(const struct qv_cond *c, const struct scope *s, struct qv_doc v)
{
    const struct scope inner = {.point = s->point, .object = v, .nested = true};
    return qv_doc_type(v) == QV_DOC_OBJECT && match_filter(c->u.filter, &inner);
}

/* NESTED: a path that ends in "[]" reaches the elements by itself. */
static bool check_nested(const struct qv_cond *c, const struct scope *s, struct qv_doc v)
{
    struct qv_doc_iter it;
    struct qv_doc element;
    if (c->path.steps[c->path.count - 1].kind == QV_STEP_ALL)
        return check_object(c, s, v);
    if (qv_doc_type(v) != QV_DOC_ARRAY)
        return false;
    qv_doc_iter_init(&it, v);
    while (qv_doc_next(&it, NULL, &element)) {
        if (check_object(c, s, element))
            return true;
    }
    return false;
}

/* ---- one condition ---- */

struct keyed {
    const struct qv_cond *cond;
    const struct scope *scope;
    struct qv_text_cond *text; /* with a text index */
    bool hit;
};

static bool check_value(const struct qv_cond *c, const struct scope *s, struct qv_doc v)
{
    switch (c->type) {
    case QV_COND_MATCH:
    case QV_COND_MATCH_ANY:
    case QV_COND_MATCH_EXCEPT:
    case QV_COND_MATCH_TEXT:
    case QV_COND_MATCH_TEXT_ANY:
    case QV_COND_MATCH_PHRASE:
    case QV_COND_MATCH_PREFIX:
    case QV_COND_RANGE:
    case QV_COND_DATETIME_RANGE:
    case QV_COND_GEO_BOX:
    case QV_COND_GEO_RADIUS:
    case QV_COND_GEO_POLYGON:
        return check_scalars(c, v);
    case QV_COND_VALUES_COUNT:
        return check_count(c, v);
    case QV_COND_IS_EMPTY: /* asked the other way round: does a value stand against it? */
        return !value_is_empty(v);
    case QV_COND_IS_NULL:
        return qv_doc_type(v) == QV_DOC_NULL;
    case QV_COND_KEY_IS_EMPTY:
        return value_is_empty(v) == c->u.want;
    case QV_COND_KEY_IS_NULL:
        return value_holds_null(v) == c->u.want;
    case QV_COND_NESTED:
        return check_nested(c, s, v);
    case QV_COND_HAS_ID:
    case QV_COND_HAS_VECTOR:
    case QV_COND_SLICE:
    case QV_COND_FILTER:
        break;
    }
    QV_UNREACHABLE();
}

/* With a text index: the strings at the path, arrays entered one level, are one text. */
static bool visit_text(void *ctx, struct qv_doc value)
{
    struct keyed *k = ctx;
    struct qv_doc_iter it;
    struct qv_doc element;
    if (qv_doc_type(value) == QV_DOC_STRING)
        k->hit = qv_text_cond_add(k->text, qv_doc_str(value));
    if (qv_doc_type(value) != QV_DOC_ARRAY)
        return !k->hit;
    qv_doc_iter_init(&it, value);
    while (!k->hit && qv_doc_next(&it, NULL, &element)) {
        if (qv_doc_type(element) == QV_DOC_STRING)
            k->hit = qv_text_cond_add(k->text, qv_doc_str(element));
    }
    return !k->hit;
}

static bool match_text(const struct qv_cond *c, const struct scope *s, struct qv_text_cond *text)
{
    struct keyed k = {.cond = c, .scope = s, .text = text};
    qv_text_cond_begin(text);
    (void)qv_path_walk(s->object, &c->path, visit_text, &k);
    return k.hit;
}

static bool visit(void *ctx, struct qv_doc value)
{
    struct keyed *k = ctx;
    k->hit = check_value(k->cond, k->scope, value);
    return !k->hit; /* one is enough */
}

static bool match_key(const struct qv_cond *c, const struct scope *s)
{
    struct keyed k = {.cond = c, .scope = s};
    struct qv_text_cond *text =
        qv_cond_is_text(c->type) ? qv_text_cond_of(s->point->binding, c) : NULL;
    if (text != NULL)
        return match_text(c, s, text);
    const size_t reached = qv_path_walk(s->object, &c->path, visit, &k);
    if (c->type == QV_COND_IS_EMPTY)
        return !k.hit;
    if (reached == 0 && c->type == QV_COND_KEY_IS_EMPTY)
        return c->u.want;
    if (reached == 0 && c->type == QV_COND_KEY_IS_NULL)
        return !c->u.want;
    return k.hit;
}

/* A number is 8 little-endian bytes, a UUID its 16 in the order they are written. */
uint64_t qv_filter_slice_hash(const struct qv_id *id)
{
    uint8_t bytes[16];
    const bool uuid = id->type == QV_ID_UUID;
    for (unsigned i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(uuid ? id->hi >> (56 - 8 * i) : id->lo >> (8 * i));
        bytes[8 + i] = (uint8_t)(id->lo >> (56 - 8 * i));
    }
    return qv_hash_sip24(bytes, uuid ? 16 : 8);
}

static bool match_cond(const struct qv_cond *c, const struct scope *s)
{
    switch (c->type) {
    case QV_COND_HAS_ID:
        return !s->nested && c->u.has_id.count > 0 &&
               bsearch(&s->point->id, c->u.has_id.ids, c->u.has_id.count, sizeof(struct qv_id),
                       compare_ids) != NULL;
    case QV_COND_HAS_VECTOR:
        return !s->nested && s->point->has_vector != NULL &&
               s->point->has_vector(s->point->ctx, c->u.vector);
    case QV_COND_SLICE:
        return !s->nested &&
               qv_filter_slice_hash(&s->point->id) % c->u.slice.total == c->u.slice.index;
    case QV_COND_FILTER:
        return match_filter(c->u.filter, s);
    default:
        return match_key(c, s);
    }
}

/* ---- the tree ---- */

/* Do at least `want` of the conditions hold? */
static bool match_some(const struct qv_cond *conds, uint32_t count, uint32_t want,
                       const struct scope *s)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < count && held < want; i++)
        held += match_cond(&conds[i], s) ? 1 : 0;
    return held >= want;
}

static bool match_filter(const struct qv_filter *f, const struct scope *s)
{
    for (uint32_t i = 0; i < f->must_count; i++) {
        if (!match_cond(&f->must[i], s))
            return false;
    }
    for (uint32_t i = 0; i < f->must_not_count; i++) {
        if (match_cond(&f->must_not[i], s))
            return false;
    }
    if (f->should_count > 0 && !match_some(f->should, f->should_count, 1, s))
        return false;
    return !f->has_min_should || f->min_should_count == 0 ||
           match_some(f->min_should, f->min_should_count, f->min_should_min, s);
}

bool qv_filter_match(const struct qv_filter *f, const struct qv_filter_point *point)
{
    const struct scope s = {.point = point, .object = point->payload};
    QV_ASSERT(point->payload.p == NULL || qv_doc_type(point->payload) == QV_DOC_OBJECT);
    return f == NULL || match_filter(f, &s);
}
