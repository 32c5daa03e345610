/* A filter by what the payload indexes know: two bitmaps, the slots that match for certain and
 * those that may. All of it under one hold of the indexes' lock, so that it is told of each point
 * as it was at one moment. Conditions without an index say nothing: none for certain, all maybe. */
#include "shard/read.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <string.h>

struct bounds {
    uint64_t *lower, *upper; /* one allocation */
};

struct eval {
    struct qv_shard *s;
    const struct qv_filter_binding *binding;
    const struct qv_live *live;
    size_t words;
};

static int eval_filter(const struct eval *e, const struct qv_filter *f, struct bounds *out);

static int bounds_init(const struct eval *e, struct bounds *b)
{
    b->lower = qv_mem_try_calloc(2 * e->words, sizeof *b->lower);
    b->upper = b->lower + e->words;
    return b->lower == NULL ? QV_ENOMEM : 0;
}

static void bounds_fill(const struct eval *e, struct bounds *b, bool lower, bool upper)
{
    memset(b->lower, lower ? 0xFF : 0, e->words * sizeof *b->lower);
    memset(b->upper, upper ? 0xFF : 0, e->words * sizeof *b->upper);
}

static bool same_path(const struct qv_path *a, const struct qv_path *b)
{
    bool same = a->count == b->count;
    for (uint32_t i = 0; same && i < a->count; i++) {
        const struct qv_path_step *x = &a->steps[i];
        const struct qv_path_step *y = &b->steps[i];
        same = x->kind == y->kind && (x->kind != QV_STEP_KEY || qv_str_equal(x->key, y->key)) &&
               (x->kind != QV_STEP_INDEX || x->index == y->index);
    }
    return same;
}

static void set_slot(const struct bounds *b, qv_slot slot)
{
    b->lower[slot / 64] |= 1ull << (slot & 63);
    b->upper[slot / 64] |= 1ull << (slot & 63);
}

/* A point that moves meanwhile is asked for by its id afterwards, whatever is told here. */
static void has_id(const struct eval *e, const struct qv_cond *c, struct bounds *out)
{
    pthread_rwlock_rdlock(&e->s->lock);
    for (uint32_t i = 0; i < c->u.has_id.count; i++) {
        const qv_slot slot = qv_slot_table_find(&e->s->slots, &c->u.has_id.ids[i]);
        if (slot != QV_SLOT_NONE && slot < e->live->n)
            set_slot(out, slot);
    }
    pthread_rwlock_unlock(&e->s->lock);
}

static void slice(const struct eval *e, const struct qv_cond *c, struct bounds *out)
{
    for (qv_slot slot = 0; slot < e->live->n; slot++) {
        if (!(e->live->all[slot / 64] >> (slot & 63) & 1))
            continue;
        const struct qv_id id = qv_slot_table_id(&e->s->slots, slot);
        if (qv_filter_slice_hash(&id) % c->u.slice.total == c->u.slice.index)
            set_slot(out, slot);
    }
}

static void by_index(const struct eval *e, const struct qv_cond *c, struct bounds *out)
{
    const struct qv_shard_fields *f = &e->s->fields;
    struct qv_field_answer answer = {.n = e->live->n, .lower = out->lower, .upper = out->upper};
    for (uint32_t i = 0; i < f->count; i++) {
        if (same_path(qv_field_index_path(f->list[i]), &c->path) &&
            qv_field_index_ask(f->list[i], c, e->binding, &answer))
            return;
    }
    bounds_fill(e, out, false, true);
}

static int eval_cond(const struct eval *e, const struct qv_cond *c, struct bounds *out)
{
    if (c->type == QV_COND_FILTER)
        return eval_filter(e, c->u.filter, out);
    int err = bounds_init(e, out);
    if (err != 0)
        return err;
    switch (c->type) {
    case QV_COND_HAS_ID:
        has_id(e, c, out);
        return 0;
    case QV_COND_SLICE:
        slice(e, c, out);
        return 0;
    case QV_COND_HAS_VECTOR:
    case QV_COND_NESTED:
        bounds_fill(e, out, false, true);
        return 0;
    default:
        by_index(e, c, out);
        return 0;
    }
}

/* acc &= b, or acc &= not b. */
static void take_all(const struct eval *e, struct bounds *acc, const struct bounds *b, bool negate)
{
    for (size_t w = 0; w < e->words; w++) {
        acc->lower[w] &= negate ? ~b->upper[w] : b->lower[w];
        acc->upper[w] &= negate ? ~b->lower[w] : b->upper[w];
    }
}

static int eval_all(const struct eval *e, const struct qv_cond *conds, uint32_t count, bool negate,
                    struct bounds *acc)
{
    int err = 0;
    for (uint32_t i = 0; i < count && err == 0; i++) {
        struct bounds b = {NULL, NULL};
        err = eval_cond(e, &conds[i], &b);
        if (err == 0)
            take_all(e, acc, &b, negate);
        qv_mem_free(b.lower);
    }
    return err;
}

/* At least one of them. */
static int eval_some(const struct eval *e, const struct qv_cond *conds, uint32_t count,
                     struct bounds *acc)
{
    struct bounds some;
    int err = bounds_init(e, &some);
    for (uint32_t i = 0; i < count && err == 0; i++) {
        struct bounds b = {NULL, NULL};
        err = eval_cond(e, &conds[i], &b);
        for (size_t w = 0; w < e->words && err == 0; w++) {
            some.lower[w] |= b.lower[w];
            some.upper[w] |= b.upper[w];
        }
        qv_mem_free(b.lower);
    }
    if (err == 0)
        take_all(e, acc, &some, false);
    qv_mem_free(some.lower);
    return err;
}

/* A number of conditions: 1 and "all" are answered, what lies between is read. */
static int eval_min_should(const struct eval *e, const struct qv_filter *f, struct bounds *acc)
{
    if (!f->has_min_should || f->min_should_count == 0 || f->min_should_min == 0)
        return 0;
    if (f->min_should_min == 1)
        return eval_some(e, f->min_should, f->min_should_count, acc);
    if (f->min_should_min == f->min_should_count)
        return eval_all(e, f->min_should, f->min_should_count, false, acc);
    memset(acc->lower, 0, e->words * sizeof *acc->lower);
    return f->min_should_min > f->min_should_count
               ? 0
               : eval_some(e, f->min_should, f->min_should_count, acc);
}

static int eval_filter(const struct eval *e, const struct qv_filter *f, struct bounds *out)
{
    int err = bounds_init(e, out);
    if (err != 0)
        return err;
    bounds_fill(e, out, true, true);
    err = eval_all(e, f->must, f->must_count, false, out);
    if (err == 0)
        err = eval_all(e, f->must_not, f->must_not_count, true, out);
    if (err == 0 && f->should_count > 0)
        err = eval_some(e, f->should, f->should_count, out);
    return err != 0 ? err : eval_min_should(e, f, out);
}

int qv_read_bounds(struct qv_shard *s, const struct qv_bound_filter *filter,
                   const struct qv_live *live, uint64_t *lower, uint64_t *upper)
{
    const struct eval e = {
        .s = s, .binding = filter->binding, .live = live, .words = (size_t)live->n / 64 + 1};
    struct bounds b = {NULL, NULL};
    QV_ASSERT(filter->filter != NULL);
    pthread_rwlock_rdlock(&s->fields.lock);
    int err = eval_filter(&e, filter->filter, &b);
    pthread_rwlock_unlock(&s->fields.lock);
    for (size_t w = 0; w < e.words && err == 0; w++) {
        lower[w] = b.lower[w] & live->all[w];
        upper[w] = b.upper[w] & live->all[w];
        QV_ASSERT((lower[w] & ~upper[w]) == 0);
    }
    qv_mem_free(b.lower);
    return err;
}
