/* The pool is kept in order only as far as the breadth under way needs it: to keep 600 in order for
 * a walk that stops at 80 doubles its time (glove: 139 us instead of 72). What does not fit lies in
 * a heap without order, from which the pool is filled up when the breadth grows past it. */
#include "index/hnsw_stages.h"

#include "base/qv_assert.h"
#include "index/hnsw_search.h"
#include "index/hnsw_step.h"

#include <stdlib.h>

/* The rest is bounded: what is farther than so many times the pool is forgotten. A candidate's
 * place only falls while others are found, so few of these would have been expanded. */
#define REST_POOLS 4u
#define REST_MIN 256u

struct run {
    const struct qv_hnsw *h;
    struct qv_hnsw_ctx *ctx;
    const struct qv_hnsw_query *query;
    const void *row;  /* as the walk compares it */
    uint32_t ef;      /* expand while the next is among so many nearest */
    uint32_t keep;    /* so many are in order */
    uint32_t at;      /* every candidate before it is expanded */
    qv_hnsw_cand far; /* nothing from here on is remembered */
    uint32_t hops, near_hop, next_hop, placed;
};

/* ---- the rest ---- */

#define SAMPLE 15u

/* The place of a key that about `want` of n are below: of a sample, a little above that share. */
static uint32_t pivot_place(const qv_hnsw_cand *a, uint32_t n, uint32_t want)
{
    uint32_t places[SAMPLE];
    const uint32_t count = n < 2 * SAMPLE ? 1 : SAMPLE;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t place = (uint32_t)(((uint64_t)n * (2 * i + 1)) / (2 * count));
        uint32_t at = i;
        for (; at > 0 && a[places[at - 1]] > a[place]; at--)
            places[at] = places[at - 1];
        places[at] = place;
    }
    const uint32_t at = (uint32_t)((uint64_t)count * want / n) + 1;
    return places[at < count ? at : count - 1];
}

/* Puts the `want` smallest first, in any order. */
static void select_first(qv_hnsw_cand *a, uint32_t n, uint32_t want)
{
    while (want > 0 && want < n) {
        const uint32_t place = pivot_place(a, n, want);
        const qv_hnsw_cand pivot = a[place];
        uint32_t low = 0;
        a[place] = a[n - 1];
        for (uint32_t i = 0; i + 1 < n; i++) { /* which side is a coin's throw: no branch */
            const qv_hnsw_cand c = a[i];
            a[i] = a[low];
            a[low] = c;
            low += c < pivot ? 1 : 0;
        }
        a[n - 1] = a[low];
        a[low] = pivot;
        if (want <= low) {
            n = low;
        } else {
            a += low + 1;
            n -= low + 1;
            want -= low + 1;
        }
    }
}

static int by_key(const void *a, const void *b)
{
    const qv_hnsw_cand x = *(const qv_hnsw_cand *)a;
    const qv_hnsw_cand y = *(const qv_hnsw_cand *)b;
    return (x > y) - (x < y);
}

#define SORT_BY_HAND 128u

static void sort(qv_hnsw_cand *a, uint32_t n)
{
    if (n > SORT_BY_HAND) {
        qsort(a, n, sizeof *a, by_key);
        return;
    }
    for (uint32_t i = 1; i < n; i++) {
        const qv_hnsw_cand c = a[i];
        uint32_t at = i;
        for (; at > 0 && a[at - 1] > c; at--)
            a[at] = a[at - 1];
        a[at] = c;
    }
}

/* Makes the pool `keep` wide and fills it from the rest. */
static int widen(struct run *r, uint32_t keep)
{
    struct qv_hnsw_cands *pool = &r->ctx->pool;
    struct qv_hnsw_cands *rest = &r->ctx->heap;
    int err = qv_hnsw_cands_reserve(pool, keep);
    if (err != 0)
        return err;
    r->keep = keep;
    if (rest->n == 0) /* at the beginning it has no memory yet */
        return 0;
    const uint32_t most = REST_POOLS * keep > REST_MIN ? REST_POOLS * keep : REST_MIN;
    if (rest->n > most + most / 2) {
        select_first(rest->at, rest->n, most);
        for (uint32_t i = most; i < rest->n; i++)
            r->far = rest->at[i] < r->far ? rest->at[i] : r->far;
        rest->n = most;
    }
    const uint32_t room = keep - pool->n;
    const uint32_t n = rest->n < room ? rest->n : room;
    select_first(rest->at, rest->n, n);
    sort(rest->at, n);
    QV_ASSERT(n == 0 || pool->n == 0 || rest->at[0] > pool->at[pool->n - 1]);
    memcpy(pool->at + pool->n, rest->at, n * sizeof *rest->at);
    memmove(rest->at, rest->at + n, (rest->n - n) * sizeof *rest->at);
    pool->n += n;
    rest->n -= n;
    return 0;
}

/* Takes c up; its place in the pool, or what is not below r->keep. The rest has room. */
static inline uint32_t take_up(struct run *r, qv_hnsw_cand c)
{
    struct qv_hnsw_cands *pool = &r->ctx->pool;
    struct qv_hnsw_cands *rest = &r->ctx->heap;
    if (pool->n == r->keep) {
        const qv_hnsw_cand last = pool->at[pool->n - 1];
        const qv_hnsw_cand out = c > last ? c : last;
        rest->at[rest->n] = out;
        rest->n += out < r->far ? 1 : 0;
        if (out == c)
            return r->keep;
    }
    return qv_hnsw_step_keep(pool, r->keep, c);
}

/* ---- the walk ---- */

static int walk(struct run *r)
{
    struct qv_hnsw_ctx *ctx = r->ctx;
    struct qv_hnsw_cands *pool = &ctx->pool;
    while (r->at < pool->n && r->at < r->ef) {
        uint32_t at = r->at;
        uint32_t n = 0;
        for (uint32_t i = 0; i < QV_HNSW_STEP_EXPAND && at < pool->n && at < r->ef; i++) {
            const qv_slot slot = qv_hnsw_cand_slot(pool->at[at]);
            pool->at[at] |= QV_HNSW_CAND_EXPANDED;
            n = qv_hnsw_step_collect(r->h, ctx, slot, 0, n);
            at = qv_hnsw_step_next(pool, at + 1);
            r->hops++;
        }
        qv_hnsw_step_prefetch_next(r->h, pool, at, 0);
        int err = qv_hnsw_cands_reserve(&ctx->heap, ctx->heap.n + n + 1);
        if (err != 0)
            return err;
        qv_hnsw_step_compare(ctx, r->row, n);
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t placed = take_up(r, qv_hnsw_cand_make(ctx->dists[i], ctx->ids[i]));
            if (placed >= r->keep)
                continue;
            r->near_hop = placed < QV_HNSW_STAGE_NEAR ? r->hops : r->near_hop;
            r->next_hop = placed < QV_HNSW_STAGE_NEXT ? r->hops : r->next_hop;
            r->placed += placed < r->ef ? 1 : 0;
            if (placed <= at) { /* the next to be expanded, as it seems now */
                at = placed;
                qv_hnsw_step_prefetch_list(r->h, ctx->ids[i], 0);
            }
        }
        r->at = qv_hnsw_step_next(pool, at);
    }
    return 0;
}

/* Wide enough for ef, half as much again, and for the hits. */
static uint32_t width(const struct run *r, uint32_t ef)
{
    const uint32_t keep = ef + ef / 2;
    return keep > r->query->k ? keep : r->query->k;
}

static int run_stages(struct run *r, const struct qv_hnsw_stages *stages, uint64_t distances_before)
{
    const struct qv_hnsw_cands *pool = &r->ctx->pool;
    for (;;) {
        int err = walk(r);
        if (err != 0 || pool->n == 0 || r->ef >= stages->ef_max)
            return err;
        const struct qv_hnsw_stage stage = {.ef = r->ef,
                                            .n = pool->n,
                                            .cands = pool->at,
                                            .distances = r->ctx->work.distances - distances_before,
                                            .hops = r->hops,
                                            .near_hop = r->near_hop,
                                            .next_hop = r->next_hop,
                                            .placed = r->placed};
        const uint32_t ef = stages->next(stages->arg, &stage);
        QV_ASSERT(ef <= stages->ef_max);
        if (ef <= r->ef)
            return 0;
        r->ef = ef;
        r->placed = 0;
        if (ef > r->keep)
            err = widen(r, width(r, ef));
        if (err != 0)
            return err;
    }
}

int qv_hnsw_search_stages(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                          const struct qv_hnsw_query *query, const struct qv_hnsw_stages *stages,
                          struct qv_hnsw_hit *hits, uint32_t *n_out)
{
    *n_out = 0;
    const uint32_t first = query->ef;
    if (query->k == 0 || query->k > QV_HNSW_EF_MAX || first == 0 ||
        stages->ef_max > QV_HNSW_EF_MAX || first > stages->ef_max)
        return QV_EINVAL;
    if (query->bitmap != NULL || query->accept != NULL ||
        atomic_load_explicit(&h->dead_count, memory_order_acquire) != 0) {
        struct qv_hnsw_query plain = *query;
        plain.ef = stages->ef_else;
        return qv_hnsw_search(h, ctx, &plain, hits, n_out);
    }
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
    if (entry == QV_HNSW_ENTRY_NONE)
        return 0;
    const uint64_t before = ctx->work.distances;
    struct run r = {.h = h, .ctx = ctx, .query = query, .ef = first, .far = UINT64_MAX};
    int err = qv_hnsw_walk_begin(h, ctx);
    if (err == 0)
        err = qv_hnsw_search_code(h, ctx, query, &r.row);
    if (err != 0)
        return err;
    qv_hnsw_cand start = qv_hnsw_walk_approach(h, ctx, r.row, entry, first);
    if (stages->without != QV_SLOT_NONE) {
        if (qv_hnsw_cand_slot(start) == stages->without)
            start = qv_hnsw_walk_descend(h, ctx, r.row, entry, qv_hnsw_entry_level(entry));
        if (qv_hnsw_cand_slot(start) == stages->without)
            return 0; /* it is the entry point itself */
        (void)qv_hnsw_walk_visit(ctx, stages->without);
    }
    ctx->pool.n = 0;
    ctx->heap.n = 0;
    err = widen(&r, width(&r, first));
    if (err != 0)
        return err;
    (void)qv_hnsw_walk_visit(ctx, qv_hnsw_cand_slot(start));
    (void)qv_hnsw_step_keep(&ctx->pool, r.keep, start);
    err = run_stages(&r, stages, before);
    if (err == 0)
        *n_out = qv_hnsw_search_take(h, &ctx->pool, query->k, hits);
    return err;
}
