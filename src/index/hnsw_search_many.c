/* Several searches in turns on one thread. A search alone waits for memory twice a hop: for the
 * list of the node it expands, and for the rows of the neighbours that are new. Here each search is
 * a lane that asks for the next of these and gives the turn to the other lanes; when it comes round
 * again, what it asked for is there. A hop is a microsecond's work, so few lanes cover a miss; more
 * of them only push each other's rows out.
 *
 *   DOWN    greedily through the upper levels
 *   BEAM    level 1 with ef / 8 (why: qv_hnsw_walk_approach)
 *   BASE    level 0 with ef
 *
 * A lane goes the way of qv_hnsw_search without a filter, step for step, so its hits are the same
 * where the graph is at rest. What a lane has seen is a small hash set and not a byte a slot: eight
 * of these would not stay in the second level of cache where one does.
 *
 * Queries that need another walk (a filter, dead nodes about) are searched alone. */
#include "index/hnsw_search_many.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "index/hnsw_search.h"
#include "index/hnsw_step.h"

#define LANES 2u     /* 4: 4 % slower, 8: 6 % (sift, ef 76) */
#define EF_MAX 1024u /* beyond it a hash set is larger than the marks it saves */
#define SEEN_MIN 256u
#define SEEN_PER_EF 64u /* about twice what a walk of that breadth sees */

struct seen { /* slots; open addressing, at most half full */
    qv_slot *at;
    uint32_t cap; /* of at */
    uint32_t shift, mask, n;
};

enum phase { DOWN, BEAM, BASE };

struct qv_hnsw_lane {
    const struct qv_hnsw_query *query; /* NULL: the lane is free */
    struct qv_hnsw_found *found;
    const struct qv_hnsw_codes *space;
    const void *row; /* as space has it */
    uint8_t *code;   /* what row points to where space is codes */
    size_t code_bytes;
    enum phase phase;
    bool fetched;   /* ids are the neighbours of what is expanded, their rows under way */
    uint32_t level; /* under way */
    uint32_t ef;    /* of this level; of the search on the way down */
    uint32_t at;    /* every candidate of the pool before it is expanded */
    uint32_t n;     /* of ids */
    qv_hnsw_cand best;
    struct qv_hnsw_cands pool;
    struct seen seen;
    qv_slot ids[QV_HNSW_STEP_EXPAND * QV_HNSW_M0_MAX + 1];
    float dists[QV_HNSW_STEP_EXPAND * QV_HNSW_M0_MAX + 1];
};

void qv_hnsw_lanes_destroy(struct qv_hnsw_lane **lanes)
{
    for (uint32_t i = 0; *lanes != NULL && i < LANES; i++) {
        qv_mem_free((*lanes)[i].code);
        qv_mem_free((*lanes)[i].pool.at);
        qv_mem_free((*lanes)[i].seen.at);
    }
    qv_mem_free(*lanes);
    *lanes = NULL;
}

/* ---- what was seen ---- */

/* Empty, with room for what a walk of breadth ef sees. */
static int seen_clear(struct seen *s, uint32_t ef)
{
    uint32_t size = SEEN_MIN;
    uint32_t shift = 32 - 8;
    while (size < ef * SEEN_PER_EF) {
        size *= 2;
        shift--;
    }
    if (size > s->cap) {
        qv_mem_free(s->at);
        s->at = qv_mem_try_aligned(QV_CACHE_LINE, size * sizeof *s->at);
        s->cap = s->at == NULL ? 0 : size;
        if (s->at == NULL)
            return QV_ENOMEM;
    }
    s->shift = shift;
    s->mask = size - 1;
    s->n = 0;
    memset(s->at, 0xFF, size * sizeof *s->at); /* QV_SLOT_NONE */
    return 0;
}

static uint32_t seen_hash(const struct seen *s, qv_slot slot)
{
    return slot * UINT32_C(2654435769) >> s->shift;
}

static int seen_grow(struct seen *s)
{
    struct seen to = {0};
    int err = seen_clear(&to, (s->mask + 1) * 2 / SEEN_PER_EF);
    for (uint32_t i = 0; i <= s->mask && err == 0; i++) {
        if (s->at[i] == QV_SLOT_NONE)
            continue;
        uint32_t at = seen_hash(&to, s->at[i]);
        while (to.at[at] != QV_SLOT_NONE)
            at = (at + 1) & to.mask;
        to.at[at] = s->at[i];
        to.n++;
    }
    if (err != 0)
        return err;
    qv_mem_free(s->at);
    *s = to;
    return 0;
}

/* Adds the slot; 1 where it is new. Whether it is, is a coin's throw: it is counted and not
 * branched on. That another slot is in its place is rare. */
static inline uint32_t seen_add(struct seen *s, qv_slot slot)
{
    uint32_t at = seen_hash(s, slot);
    qv_slot was = s->at[at];
    while (__builtin_expect((was != QV_SLOT_NONE) & (was != slot), 0)) {
        at = (at + 1) & s->mask;
        was = s->at[at];
    }
    s->at[at] = slot;
    return was != slot ? 1 : 0;
}

/* ---- a lane's turns ---- */

/* Into the second level of cache: what is asked for there holds none of the few line fill buffers
 * of the first while it waits, and the other lanes need those. From there the kernel asks, some
 * rows ahead. (sift: 1.26 times searches one by one that don't; 1.12 since they do; into the first
 * level 1.09.) */
QV_PREFETCHES void prefetch_rows(const struct qv_hnsw_lane *l)
{
    const struct qv_hnsw_codes *c = l->space;
    for (uint32_t i = 0; i < l->n; i++) {
        const uint8_t *row = c->rows.base + (size_t)l->ids[i] * c->rows.stride_bytes;
        for (size_t at = 0; at < c->row_bytes; at += QV_CACHE_LINE)
            __builtin_prefetch(row + at, 0, 2);
    }
}

/* Adds the neighbours of slot not seen before to ids. */
static int collect(const struct qv_hnsw *h, struct qv_hnsw_lane *l, qv_slot slot)
{
    const uint32_t cap = qv_hnsw_list_cap(h, l->level);
    const _Atomic uint32_t *list = qv_hnsw_list(h, slot, l->level);
    const uint32_t before = l->n;
    int err = 0;
    while (err == 0 && l->seen.n + cap > l->seen.mask / 2)
        err = seen_grow(&l->seen);
    if (err != 0)
        return err;
    for (uint32_t i = 0; i < cap; i++) {
        const qv_slot to = qv_hnsw_list_get(list, i);
        if (to == QV_SLOT_NONE)
            break;
        l->ids[l->n] = to;
        l->n += seen_add(&l->seen, to);
    }
    l->seen.n += l->n - before;
    return 0;
}

/* The neighbours of what is to be expanded, their rows asked for. */
static int fetch(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, struct qv_hnsw_lane *l)
{
    l->fetched = true;
    l->n = 0;
    if (l->phase == DOWN) {
        ctx->work.hops++;
        l->n = qv_hnsw_list_copy(h, qv_hnsw_cand_slot(l->best), l->level, l->ids);
        prefetch_rows(l);
        return 0;
    }
    for (uint32_t i = 0; i < QV_HNSW_STEP_EXPAND && l->at < l->pool.n; i++) {
        const qv_slot slot = qv_hnsw_cand_slot(l->pool.at[l->at]);
        ctx->work.hops++;
        l->pool.at[l->at] |= QV_HNSW_CAND_EXPANDED;
        int err = collect(h, l, slot);
        if (err != 0)
            return err;
        l->at = qv_hnsw_step_next(&l->pool, l->at + 1);
    }
    prefetch_rows(l);
    return 0;
}

static void compare(struct qv_hnsw_ctx *ctx, struct qv_hnsw_lane *l)
{
    const struct qv_hnsw_codes *c = l->space;
    c->dist_batch(l->row, c->rows.base, c->rows.stride_bytes, l->ids, l->n, c->dim, l->dists);
    ctx->work.distances += l->n;
}

static int begin_level(struct qv_hnsw_lane *l, enum phase phase, uint32_t ef)
{
    l->phase = phase;
    l->level = phase == BEAM ? 1 : 0;
    l->ef = ef;
    l->at = 0;
    l->pool.n = 0;
    int err = qv_hnsw_cands_reserve(&l->pool, ef);
    if (err == 0)
        err = seen_clear(&l->seen, ef);
    if (err != 0)
        return err;
    (void)seen_add(&l->seen, qv_hnsw_cand_slot(l->best));
    l->seen.n = 1;
    (void)qv_hnsw_step_keep(&l->pool, ef, l->best);
    return 0;
}

static uint32_t query_ef(const struct qv_hnsw_query *q)
{
    return q->ef > q->k ? q->ef : q->k;
}

/* Is level 1 searched with a beam? Else greedily, as those above. */
static bool has_beam(const struct qv_hnsw_query *q)
{
    return query_ef(q) / QV_HNSW_APPROACH_SHARE > 1;
}

/* After a greedy step: on from a nearer node, or a level down. */
static int go_down(struct qv_hnsw_lane *l)
{
    const qv_hnsw_cand from = l->best;
    for (uint32_t i = 0; i < l->n; i++) {
        qv_hnsw_cand c = qv_hnsw_cand_make(l->dists[i], l->ids[i]);
        l->best = c < l->best ? c : l->best;
    }
    if (l->best == from)
        l->level--;
    if (l->level == 0)
        return begin_level(l, BASE, query_ef(l->query));
    if (l->level == 1 && l->best == from && has_beam(l->query))
        return begin_level(l, BEAM, query_ef(l->query) / QV_HNSW_APPROACH_SHARE);
    return 0;
}

static void keep(struct qv_hnsw_lane *l)
{
    uint32_t at = l->at;
    for (uint32_t i = 0; i < l->n; i++) {
        uint32_t placed =
            qv_hnsw_step_keep(&l->pool, l->ef, qv_hnsw_cand_make(l->dists[i], l->ids[i]));
        at = placed < at ? placed : at;
    }
    l->at = qv_hnsw_step_next(&l->pool, at);
}

/* The lane's search is over: its hits. */
static void finish(const struct qv_hnsw *h, struct qv_hnsw_lane *l)
{
    struct qv_hnsw_found *f = l->found;
    f->n = qv_hnsw_search_take(h, &l->pool, l->query->k, f->hits);
    l->query = NULL;
}

/* One turn: what was asked for in the last is used, the next is asked for. */
static int turn(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, struct qv_hnsw_lane *l)
{
    int err = 0;
    if (!l->fetched)
        return fetch(h, ctx, l);
    l->fetched = false;
    compare(ctx, l);
    if (l->phase == DOWN) {
        err = go_down(l);
    } else {
        keep(l);
        if (l->at == l->pool.n && l->phase == BASE) {
            finish(h, l);
            return 0;
        }
        if (l->at == l->pool.n) {
            l->best = l->pool.at[0] & ~QV_HNSW_CAND_EXPANDED;
            err = begin_level(l, BASE, query_ef(l->query));
        }
    }
    if (err == 0 && l->phase == DOWN)
        qv_hnsw_step_prefetch_list(h, qv_hnsw_cand_slot(l->best), l->level);
    else if (err == 0)
        qv_hnsw_step_prefetch_next(h, &l->pool, l->at, l->level);
    return err;
}

/* ---- all of them ---- */

static int begin_search(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, struct qv_hnsw_lane *l,
                        uint64_t entry)
{
    ctx->space = &h->codes;
    int err = qv_hnsw_search_code(h, ctx, l->query, &l->row);
    if (err != 0)
        return err;
    l->space = ctx->space;
    if (l->row == ctx->code) { /* the next lane's goes there */
        if (l->code_bytes < l->space->row_bytes) {
            qv_mem_free(l->code);
            l->code = qv_mem_try_aligned(QV_CACHE_LINE, l->space->row_bytes);
            l->code_bytes = l->code == NULL ? 0 : l->space->row_bytes;
        }
        if (l->code == NULL)
            return QV_ENOMEM;
        memcpy(l->code, l->row, l->space->row_bytes);
        l->row = l->code;
    }
    l->fetched = false;
    l->phase = DOWN;
    l->level = qv_hnsw_entry_level(entry);
    l->ids[0] = qv_hnsw_entry_slot(entry);
    l->n = 1;
    compare(ctx, l);
    l->best = qv_hnsw_cand_make(l->dists[0], l->ids[0]);
    if (l->level == 0)
        return begin_level(l, BASE, query_ef(l->query));
    if (l->level == 1 && has_beam(l->query))
        return begin_level(l, BEAM, query_ef(l->query) / QV_HNSW_APPROACH_SHARE);
    return 0;
}

/* Lanes take plain walks. */
static bool needs_own_walk(const struct qv_hnsw *h, const struct qv_hnsw_query *q)
{
    return q->bitmap != NULL || q->accept != NULL || q->k == 0 || query_ef(q) > EF_MAX ||
           atomic_load_explicit(&h->dead_count, memory_order_acquire) != 0;
}

struct many {
    const struct qv_hnsw_query *queries;
    struct qv_hnsw_found *found;
    uint32_t n, taken;
};

/* Gives the lane the next query that is for lanes; those that are not are searched here. */
static int take_query(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, struct qv_hnsw_lane *l,
                      struct many *m)
{
    while (m->taken < m->n) {
        const uint32_t i = m->taken++;
        m->found[i].n = 0;
        const uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
        int err = 0;
        if (needs_own_walk(h, &m->queries[i])) {
            err = qv_hnsw_search(h, ctx, &m->queries[i], m->found[i].hits, &m->found[i].n);
        } else if (entry != QV_HNSW_ENTRY_NONE) {
            l->query = &m->queries[i];
            l->found = &m->found[i];
            return begin_search(h, ctx, l, entry);
        }
        if (err != 0)
            return err;
    }
    return 0;
}

int qv_hnsw_search_many(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                        const struct qv_hnsw_query *queries, uint32_t n,
                        struct qv_hnsw_found *found)
{
    struct many m = {.queries = queries, .n = n, .found = found};
    int err = 0;
    if (ctx->lanes == NULL)
        ctx->lanes = qv_mem_calloc(LANES, sizeof *ctx->lanes);
    uint32_t busy = LANES;
    while (busy > 0 && err == 0) {
        busy = 0;
        for (uint32_t i = 0; i < LANES && err == 0; i++) {
            struct qv_hnsw_lane *l = &ctx->lanes[i];
            if (l->query != NULL)
                err = turn(h, ctx, l);
            if (l->query == NULL && err == 0)
                err = take_query(h, ctx, l, &m);
            busy += l->query != NULL;
        }
    }
    for (uint32_t i = 0; i < LANES; i++)
        ctx->lanes[i].query = NULL;
    return err;
}
