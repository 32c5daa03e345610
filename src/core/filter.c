/* Evaluation of filters on stored documents. The rules are filter.h's and docs/filters.md's; they
 * were read off the behaviour of the API's own servers without payload indexes.
 * test/lib/naive_filter.c says the same a second time, independently. */
#include "core/filter.h"

#include "base/qv_assert.h"

#include <math.h>
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

/* MATCH, MATCH_ANY, MATCH_EXCEPT, RANGE on a value that is not an array, or is one in an array. */
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
    case QV_COND_RANGE:
        return (t == QV_DOC_INT || t == QV_DOC_DOUBLE) &&
               number_in_range(qv_doc_double(v), &c->u.range);
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
    bool hit;
};

static bool check_value(const struct qv_cond *c, const struct scope *s, struct qv_doc v)
{
    switch (c->type) {
    case QV_COND_MATCH:
    case QV_COND_MATCH_ANY:
    case QV_COND_MATCH_EXCEPT:
    case QV_COND_RANGE:
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
    case QV_COND_FILTER:
        break;
    }
    QV_UNREACHABLE();
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
    const size_t reached = qv_path_walk(s->object, &c->path, visit, &k);
    if (c->type == QV_COND_IS_EMPTY)
        return !k.hit;
    if (reached == 0 && c->type == QV_COND_KEY_IS_EMPTY)
        return c->u.want;
    if (reached == 0 && c->type == QV_COND_KEY_IS_NULL)
        return !c->u.want;
    return k.hit;
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

/* ---- seal ---- */

struct seal {
    struct qv_errmsg *msg;
    uint32_t conds;
};

static int seal_filter(struct seal *x, struct qv_filter *f, uint32_t depth);

static int refuse(struct seal *x, const struct qv_cond *c, const char *why)
{
    int shown = (int)(c->key.n < 200 ? c->key.n : 200);
    return qv_fail(x->msg, QV_EINVAL, "condition on '%.*s': %s", shown,
                   c->key.p != NULL ? c->key.p : "", why);
}

static int seal_list(struct seal *x, struct qv_cond *c)
{
    struct qv_match *items = (struct qv_match *)(uintptr_t)c->u.any.items;
    const uint32_t count = c->u.any.count;
    if (count > QV_FILTER_LIST_MAX)
        return refuse(x, c, "too many values in a list");
    for (uint32_t i = 0; i < count; i++) {
        if (items[i].type == QV_MATCH_BOOL || items[i].type != items[0].type)
            return refuse(x, c, "a list holds either strings or integers");
    }
    if (count > 1)
        qsort(items, count, sizeof *items, compare_matches);
    return 0;
}

static int seal_ids(struct seal *x, struct qv_cond *c)
{
    struct qv_id *ids = (struct qv_id *)(uintptr_t)c->u.has_id.ids;
    if (c->u.has_id.count > QV_FILTER_LIST_MAX)
        return refuse(x, c, "too many ids");
    if (c->u.has_id.count > 1)
        qsort(ids, c->u.has_id.count, sizeof *ids, compare_ids);
    return 0;
}

static int seal_range(struct seal *x, const struct qv_cond *c)
{
    const struct qv_range *r = &c->u.range;
    if ((r->has_lt && isnan(r->lt)) || (r->has_gt && isnan(r->gt)) ||
        (r->has_lte && isnan(r->lte)) || (r->has_gte && isnan(r->gte)))
        return refuse(x, c, "a bound is not a number");
    return 0;
}

static int seal_cond(struct seal *x, struct qv_cond *c, uint32_t depth)
{
    if (++x->conds > QV_FILTER_CONDS_MAX)
        return qv_fail(x->msg, QV_EINVAL, "a filter has at most %d conditions",
                       QV_FILTER_CONDS_MAX);
    switch (c->type) {
    case QV_COND_MATCH_ANY:
    case QV_COND_MATCH_EXCEPT:
        return seal_list(x, c);
    case QV_COND_RANGE:
    case QV_COND_VALUES_COUNT:
        return seal_range(x, c);
    case QV_COND_HAS_ID:
        return seal_ids(x, c);
    case QV_COND_NESTED:
    case QV_COND_FILTER:
        return seal_filter(x, (struct qv_filter *)(uintptr_t)c->u.filter, depth + 1);
    default:
        return 0;
    }
}

static int seal_conds(struct seal *x, const struct qv_cond *conds, uint32_t count, uint32_t depth)
{
    struct qv_cond *c = (struct qv_cond *)(uintptr_t)conds;
    int err = 0;
    for (uint32_t i = 0; i < count && err == 0; i++)
        err = seal_cond(x, &c[i], depth);
    return err;
}

static int seal_filter(struct seal *x, struct qv_filter *f, uint32_t depth)
{
    if (depth > QV_FILTER_DEPTH_MAX)
        return qv_fail(x->msg, QV_EINVAL, "a filter nests at most %d deep", QV_FILTER_DEPTH_MAX);
    int err = seal_conds(x, f->must, f->must_count, depth);
    if (err == 0)
        err = seal_conds(x, f->should, f->should_count, depth);
    if (err == 0)
        err = seal_conds(x, f->must_not, f->must_not_count, depth);
    if (err == 0)
        err = seal_conds(x, f->min_should, f->min_should_count, depth);
    return err;
}

int qv_filter_seal(struct qv_filter *f, struct qv_arena *a, struct qv_errmsg *msg)
{
    struct seal x = {.msg = msg};
    (void)a;
    return seal_filter(&x, f, 1);
}

/* ---- what it needs ---- */

static bool conds_need_payload(const struct qv_cond *conds, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const enum qv_cond_type t = conds[i].type;
        if (t == QV_COND_HAS_ID || t == QV_COND_HAS_VECTOR)
            continue;
        if (t != QV_COND_FILTER || qv_filter_needs_payload(conds[i].u.filter))
            return true;
    }
    return false;
}

bool qv_filter_needs_payload(const struct qv_filter *f)
{
    return f != NULL && (conds_need_payload(f->must, f->must_count) ||
                         conds_need_payload(f->should, f->should_count) ||
                         conds_need_payload(f->must_not, f->must_not_count) ||
                         conds_need_payload(f->min_should, f->min_should_count));
}
