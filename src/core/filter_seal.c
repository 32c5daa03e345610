/* What a filter must be before it is evaluated, and what it asks of a point. */
#include "core/filter.h"

#include <math.h>
#include <stdlib.h>

static int compare_matches(const void *a, const void *b)
{
    return qv_match_compare(a, b);
}

static int compare_ids(const void *a, const void *b)
{
    return qv_id_compare(a, b);
}

/* ---- seal ---- */

struct seal {
    struct qv_errmsg *msg;
    uint32_t conds;
    uint32_t text_conds;
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

static int seal_slice(struct seal *x, const struct qv_cond *c)
{
    if (c->u.slice.index < c->u.slice.total)
        return 0;
    return qv_fail(x->msg, QV_EVALIDATION, "filter.slice.index: must be less than total (%u)",
                   c->u.slice.total);
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
    case QV_COND_MATCH_TEXT:
    case QV_COND_MATCH_TEXT_ANY:
    case QV_COND_MATCH_PHRASE:
        c->text_number = x->text_conds++;
        return 0;
    case QV_COND_GEO_POLYGON:
        return qv_geo_polygon_seal((struct qv_geo_polygon *)(uintptr_t)c->u.geo_polygon, x->msg);
    case QV_COND_SLICE:
        return seal_slice(x, c);
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
    int err = seal_filter(&x, f, 1);
    f->text_conds = x.text_conds;
    return err;
}

/* ---- what it needs ---- */

static bool conds_need_payload(const struct qv_cond *conds, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const enum qv_cond_type t = conds[i].type;
        if (t == QV_COND_HAS_ID || t == QV_COND_HAS_VECTOR || t == QV_COND_SLICE)
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
