/* A k-way merge: a heap of cursors over lists, behind a pass that finds each id's newest copy. */
#include "query/merge.h"

#include "base/hash.h"
#include "base/qv_assert.h"

#include <stdlib.h>
#include <string.h>

/* ---- orders ---- */

struct qv_merge_order qv_merge_order_of_query(const struct qv_query *q,
                                              const struct qv_collection_config *config)
{
    struct qv_merge_order o = {.by = QV_MERGE_SCORE};
    const struct qv_vector_config *vc = NULL;
    switch (q->kind) {
    case QV_QUERY_VECTOR:
    case QV_QUERY_ID:
        vc = qv_config_vector(config, q->using_);
        if (vc != NULL) /* unknown: no shard gives a hit */
            o.ranking.distance = vc->distance;
        break;
    case QV_QUERY_SCROLL:
        o.by = QV_MERGE_ID;
        break;
    case QV_QUERY_ORDER_BY:
        o.by = QV_MERGE_VALUE;
        o.desc = q->order_by->desc;
        break;
    case QV_QUERY_SAMPLE:
        QV_ASSERT(q->has_seed);
        o.by = QV_MERGE_CHANCE;
        o.seed = q->seed;
        break;
    }
    return o;
}

struct qv_merge_order qv_merge_order_of_scroll(const struct qv_scroll_req *req)
{
    if (req->order_by == NULL)
        return (struct qv_merge_order){.by = QV_MERGE_ID};
    return (struct qv_merge_order){.by = QV_MERGE_VALUE, .desc = req->order_by->desc};
}

/* What decides a place: a hit's, or a bound's. */
struct key {
    float score;
    struct qv_order_value value;
    struct qv_id id;
};

static int compare_values(const struct qv_order_value *a, const struct qv_order_value *b)
{
    if (a->type != QV_ORDER_FLOAT && b->type != QV_ORDER_FLOAT)
        return (a->i > b->i) - (a->i < b->i);
    const double x = a->type == QV_ORDER_FLOAT ? a->f : (double)a->i;
    const double y = b->type == QV_ORDER_FLOAT ? b->f : (double)b->i;
    return (x > y) - (x < y);
}

/* < 0: a stands before b in an answer. */
static int compare(const struct qv_merge_order *o, const struct key *a, const struct key *b)
{
    int c = 0;
    switch (o->by) {
    case QV_MERGE_SCORE:
        c = qv_rank_compare_scores(&o->ranking, a->score, b->score);
        break;
    case QV_MERGE_VALUE:
        c = compare_values(&a->value, &b->value);
        break;
    case QV_MERGE_CHANCE: {
        const int64_t x = qv_sample_chance(o->seed, &a->id);
        const int64_t y = qv_sample_chance(o->seed, &b->id);
        c = (x > y) - (x < y);
        break;
    }
    case QV_MERGE_ID:
        break;
    }
    if (c == 0)
        c = qv_id_compare(&a->id, &b->id);
    return o->by == QV_MERGE_VALUE && o->desc ? -c : c;
}

static struct key key_of(const struct qv_point_out *p)
{
    return (struct key){p->score, p->order_value, p->id};
}

/* ---- the newest copy of each id ---- */

struct place {
    const struct qv_point_out *newest; /* NULL: free */
    uint32_t list;
};

struct places {
    struct place *slots; /* open addressing */
    uint32_t mask;
};

static int places_init(struct places *t, struct qv_arena *arena, uint64_t hits)
{
    uint32_t size = 16;
    if (hits > QV_HITS_MAX)
        return QV_ELIMIT;
    while (size < 2 * hits)
        size *= 2;
    t->mask = size - 1;
    t->slots = QV_ARENA_ARRAY(arena, struct place, size);
    return t->slots != NULL ? 0 : QV_ENOMEM;
}

static struct place *place_of(const struct places *t, const struct qv_id *id)
{
    uint32_t at = (uint32_t)qv_hash_mix(id->lo ^ qv_hash_mix(id->hi + id->type)) & t->mask;
    while (t->slots[at].newest != NULL && !qv_id_equal(&t->slots[at].newest->id, id))
        at = (at + 1) & t->mask;
    return &t->slots[at];
}

static void note_list(struct places *t, const struct qv_points_out *list, uint32_t number)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct qv_point_out *p = &list->points[i];
        struct place *place = place_of(t, &p->id);
        if (place->newest == NULL || qv_version_compare(p->version, place->newest->version) > 0)
            *place = (struct place){p, number};
    }
}

/* ---- lists ---- */

struct cursor {
    const struct qv_points_out *points;
    uint32_t list, at;
    struct key key; /* of the point it is at */
};

struct merge {
    const struct qv_merge *m;
    struct places places;
    struct cursor *heap; /* the first on top */
    uint32_t count;
};

static void sift_down(struct merge *x, uint32_t at)
{
    const struct cursor moved = x->heap[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= x->count)
            break;
        if (child + 1 < x->count &&
            compare(&x->m->order, &x->heap[child + 1].key, &x->heap[child].key) < 0)
            child++;
        if (compare(&x->m->order, &x->heap[child].key, &moved.key) >= 0)
            break;
        x->heap[at] = x->heap[child];
        at = child;
    }
    x->heap[at] = moved;
}

static int advance(struct merge *x)
{
    struct cursor *top = &x->heap[0];
    const struct key last = top->key;
    if (++top->at == top->points->count) {
        *top = x->heap[--x->count];
    } else {
        top->key = key_of(&top->points->points[top->at]);
        if (compare(&x->m->order, &last, &top->key) > 0)
            return QV_EPROTO;
    }
    if (x->count > 0)
        sift_down(x, 0);
    return 0;
}

static int merge_init(struct merge *x, struct qv_arena *arena, uint64_t *total)
{
    const struct qv_merge *m = x->m;
    *total = 0;
    for (uint32_t i = 0; i < m->count; i++)
        *total += m->lists[i] == NULL ? 0 : m->lists[i]->points.count;
    int err = places_init(&x->places, arena, *total);
    x->heap = QV_ARENA_ARRAY(arena, struct cursor, m->count);
    if (err != 0 || x->heap == NULL)
        return err != 0 ? err : QV_ENOMEM;
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->lists[i] == NULL || m->lists[i]->points.count == 0)
            continue;
        const struct qv_points_out *points = &m->lists[i]->points;
        note_list(&x->places, points, i);
        x->heap[x->count++] = (struct cursor){points, i, 0, key_of(&points->points[0])};
    }
    for (uint32_t i = x->count / 2; i > 0; i--)
        sift_down(x, i - 1);
    return 0;
}

/* Is the cursor's point one that is given: its id's newest copy, and not the excepted one? */
static bool counts(const struct merge *x, const struct cursor *c)
{
    if (x->m->except != NULL && qv_id_equal(&c->key.id, x->m->except))
        return false;
    return place_of(&x->places, &c->key.id)->list == c->list;
}

/* The first n that count; fewer when there are no more. */
static int take(struct merge *x, struct qv_point_out *points, uint32_t n, uint32_t *taken)
{
    int err = 0;
    *taken = 0;
    while (x->count > 0 && *taken < n && err == 0) {
        const struct cursor *top = &x->heap[0];
#ifdef QV_MUTANT_MERGE_DROPS_TIES
        if (*taken > 0 && points[*taken - 1].score == top->key.score &&
            x->m->order.by == QV_MERGE_SCORE)
            goto next;
#endif
        if (counts(x, top))
            points[(*taken)++] = top->points->points[top->at];
#ifdef QV_MUTANT_MERGE_DROPS_TIES
    next:
#endif
        err = advance(x);
    }
    return err;
}

/* A list is lacking when its bound stands before the last that is needed, or that is not there.
 * at_bound: what it left out may stand at its bound. */
static void find_lacking(const struct qv_merge *m, const struct key *last, bool at_bound,
                         bool *lacking)
{
    for (uint32_t i = 0; i < m->count; i++) {
        lacking[i] = false;
        if (m->lists[i] == NULL || m->lists[i]->bound.all)
            continue;
        const struct qv_bound *b = &m->lists[i]->bound;
        const struct key bound = {b->score, b->order_value, b->id};
        lacking[i] = last == NULL || compare(&m->order, &bound, last) < (at_bound ? 1 : 0);
    }
}

static int find_next(struct merge *x, struct qv_merge_next *next)
{
    const struct qv_merge *m = x->m;
    QV_ASSERT(m->order.by == QV_MERGE_ID);
    while (x->count > 0 && !counts(x, &x->heap[0])) { /* of one that was given */
        int err = advance(x);
        if (err != 0)
            return err;
    }
    *next = (struct qv_merge_next){.has = false};
    if (x->count > 0)
        *next = (struct qv_merge_next){true, x->heap[0].key.id};
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->lists[i] == NULL || m->lists[i]->bound.all)
            continue;
        const struct qv_id *id = &m->lists[i]->bound.id;
        if (!next->has || qv_id_compare(id, &next->id) < 0)
            *next = (struct qv_merge_next){true, *id};
    }
    return 0;
}

int qv_merge_lists(const struct qv_merge *m, struct qv_arena *arena, struct qv_points_out *out,
                   bool *lacking, struct qv_merge_next *next)
{
    struct merge x = {.m = m};
    uint64_t total = 0;
    uint32_t taken;
    memset(out, 0, sizeof *out);
    int err = merge_init(&x, arena, &total);
    if (err != 0)
        return err;
    const uint64_t need = (uint64_t)m->skip + m->limit;
    const uint32_t most = need < total ? (uint32_t)need : (uint32_t)total;
    struct qv_point_out *points = QV_ARENA_ARRAY(arena, struct qv_point_out, most);
    if (points == NULL)
        return QV_ENOMEM;
    err = take(&x, points, most, &taken);
    if (err != 0)
        return err;
    if (lacking != NULL) {
        struct key last;
        if (taken > 0)
            last = key_of(&points[taken - 1]);
        if (need == 0)
            memset(lacking, 0, m->count * sizeof *lacking);
        else
            find_lacking(m, taken < need ? NULL : &last, next != NULL, lacking);
    }
    if (next != NULL)
        err = find_next(&x, next);
    const uint32_t skip = m->skip < taken ? m->skip : taken;
    out->points = points + skip;
    out->count = taken - skip;
    return err;
}

/* ---- points by id ---- */

int qv_merge_points(const struct qv_id *want, uint32_t count,
                    const struct qv_points_out *const *lists, uint32_t list_count,
                    struct qv_arena *arena, struct qv_points_out *out)
{
    struct places places;
    uint64_t total = 0;
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < list_count; i++)
        total += lists[i] == NULL ? 0 : lists[i]->count;
    int err = places_init(&places, arena, total);
    out->points = QV_ARENA_ARRAY(arena, struct qv_point_out, count);
    if (err != 0 || out->points == NULL)
        return err != 0 ? err : QV_ENOMEM;
    for (uint32_t i = 0; i < list_count; i++) {
        if (lists[i] != NULL)
            note_list(&places, lists[i], i);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct place *place = place_of(&places, &want[i]);
        if (place->newest != NULL)
            out->points[out->count++] = *place->newest;
    }
    return 0;
}

/* ---- facets ---- */

static int type_rank(struct qv_doc d)
{
    const enum qv_doc_type t = qv_doc_type(d);
    return t == QV_DOC_STRING ? 2 : t == QV_DOC_INT ? 1 : 0;
}

static int compare_docs(struct qv_doc a, struct qv_doc b)
{
    const int type = type_rank(a);
    if (type != type_rank(b))
        return type - type_rank(b);
    if (type == 2)
        return qv_str_compare(qv_doc_str(a), qv_doc_str(b));
    if (type == 1)
        return (qv_doc_int(a) > qv_doc_int(b)) - (qv_doc_int(a) < qv_doc_int(b));
    return (int)qv_doc_bool(a) - (int)qv_doc_bool(b);
}

/* A value's count in one list; added up: its counts in all of them. */
struct tally {
    struct qv_facet_hit hit;
    uint32_t list;
    uint64_t may; /* at most so many more, in lists that left it out */
};

static int by_value(const void *pa, const void *pb)
{
    const struct tally *a = pa;
    const struct tally *b = pb;
    const int c = compare_docs(a->hit.value, b->hit.value);
    return c != 0 ? c : (a->list > b->list) - (a->list < b->list);
}

/* Most frequent first; equal counts by value. */
static int by_count(const void *pa, const void *pb)
{
    const struct tally *a = pa;
    const struct tally *b = pb;
    if (a->hit.count != b->hit.count)
        return a->hit.count > b->hit.count ? -1 : 1;
    return compare_docs(a->hit.value, b->hit.value);
}

/* The most that a value which the list left out can have there. */
static uint64_t left_out(const struct qv_merge_facets *m, uint32_t list)
{
    const struct qv_facet_out *f = m->lists[list];
    if (f == NULL || m->all[list] || f->count == 0)
        return 0;
    return f->hits[f->count - 1].count;
}

/* Adds up runs of one value; returns how many values. */
static uint32_t add_up(const struct qv_merge_facets *m, struct tally *t, uint32_t n)
{
    uint64_t most = 0;
    uint32_t values = 0;
    for (uint32_t i = 0; i < m->count; i++)
        most += left_out(m, i);
    for (uint32_t i = 0; i < n;) {
        struct tally sum = {.hit = {t[i].hit.value, 0}, .may = most};
        const uint32_t first = i;
        for (; i < n && compare_docs(t[i].hit.value, t[first].hit.value) == 0; i++) {
            sum.hit.count += t[i].hit.count;
            sum.may -= left_out(m, t[i].list);
        }
        t[values++] = sum;
    }
    return values;
}

/* Are the first `limit` of the n values known: every count whole, and none of the others, nor one
 * that no list told, able to reach them? */
static bool is_settled(const struct qv_merge_facets *m, const struct tally *t, uint32_t n)
{
    uint64_t unseen = 0;
    for (uint32_t i = 0; i < m->count; i++)
        unseen += left_out(m, i);
    const uint32_t top = n < m->limit ? n : m->limit;
    for (uint32_t i = 0; i < top; i++) {
        if (t[i].may != 0)
            return false;
    }
    if (unseen == 0)
        return true;
    if (top < m->limit)
        return false;
    const uint64_t least = t[top - 1].hit.count;
    for (uint32_t i = top; i < n; i++) { /* one that is whole is in its place already */
        if (t[i].may != 0 && t[i].hit.count + t[i].may >= least)
            return false;
    }
    return unseen < least;
}

int qv_merge_facets(const struct qv_merge_facets *m, struct qv_arena *arena,
                    struct qv_facet_out *out, bool *lacking)
{
    uint64_t total = 0;
    uint32_t n = 0;
    memset(out, 0, sizeof *out);
    QV_ASSERT(m->limit >= 1);
    for (uint32_t i = 0; i < m->count; i++)
        total += m->lists[i] == NULL ? 0 : m->lists[i]->count;
    if (total > QV_HITS_MAX)
        return QV_ELIMIT;
    struct tally *all = QV_ARENA_ARRAY(arena, struct tally, total);
    if (all == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < m->count; i++) {
        for (uint32_t k = 0; m->lists[i] != NULL && k < m->lists[i]->count; k++)
            all[n++] = (struct tally){.hit = m->lists[i]->hits[k], .list = i};
    }
    if (n > 1)
        qsort(all, n, sizeof *all, by_value);
    n = add_up(m, all, n);
    if (n > 1)
        qsort(all, n, sizeof *all, by_count);
    const bool settled = is_settled(m, all, n);
    for (uint32_t i = 0; i < m->count && lacking != NULL; i++)
        lacking[i] = !settled && m->lists[i] != NULL && !m->all[i];
    out->count = n < m->limit ? n : m->limit;
    out->hits = QV_ARENA_ARRAY(arena, struct qv_facet_hit, out->count);
    if (out->hits == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < out->count; i++)
        out->hits[i] = all[i].hit;
    return 0;
}
