/* Private to src/index: the steps that walks over a level are made of: which neighbours are new,
 * how far they are, what is kept. */
#ifndef QV_INDEX_HNSW_STEP_H
#define QV_INDEX_HNSW_STEP_H

#include "base/mem.h"
#include "index/hnsw_walk.h"

/* Rows of up to so many bytes are asked for as soon as they are known; of longer ones the
 * beginning, and the rest by the kernel, a few rows ahead. Into the second level of cache: the line
 * fill buffers of the first are few, and the list that is next needs one (sift, ef 76: 109 us with
 * 128 bytes of each row into the first, 101 with whole rows, 97 with those into the second). */
#define QV_HNSW_STEP_AHEAD_MAX ((size_t)256)
#define QV_HNSW_STEP_AHEAD ((size_t)128)

/* ctx->dists[i] = distance of ctx->ids[i], i < n. */
static inline void qv_hnsw_step_compare(struct qv_hnsw_ctx *ctx, const void *row, uint32_t n)
{
    const struct qv_hnsw_codes *c = ctx->space;
    c->dist_batch(row, c->rows.base, c->rows.stride_bytes, ctx->ids, n, c->dim, ctx->dists);
    ctx->work.distances += n;
}

/* The rows of ctx->ids from place `from` up to `to` are under way. */
static inline void qv_hnsw_step_prefetch_rows(const struct qv_hnsw_ctx *ctx, uint32_t from,
                                              uint32_t to)
{
    const struct qv_hnsw_codes *c = ctx->space;
    const size_t bytes = c->row_bytes <= QV_HNSW_STEP_AHEAD_MAX ? c->row_bytes : QV_HNSW_STEP_AHEAD;
    for (uint32_t i = from; i < to; i++) {
        const uint8_t *row = c->rows.base + (size_t)ctx->ids[i] * c->rows.stride_bytes;
        for (size_t at = 0; at < bytes; at += QV_CACHE_LINE)
            __builtin_prefetch(row + at, 0, 2);
        __builtin_prefetch(row + bytes - 1, 0, 2);
    }
}

/* Adds the neighbours of slot not seen before to ctx->ids, which has n; now they are seen and their
 * rows under way. Returns how many there are then. Whether a neighbour is new is a coin's throw: it
 * is counted, not branched on. */
static inline uint32_t qv_hnsw_step_collect(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                                            qv_slot slot, uint32_t level, uint32_t n)
{
    const _Atomic uint32_t *list = qv_hnsw_list(h, slot, level);
    const uint32_t cap = qv_hnsw_list_cap(h, level);
    uint8_t *visited = ctx->visited;
    const uint8_t epoch = ctx->epoch;
    const uint32_t before = n;
    for (uint32_t i = 0; i < cap; i++) {
        const qv_slot to = qv_hnsw_list_get(list, i);
        if (to >= ctx->visited_slots) {
            if (to == QV_SLOT_NONE)
                break;
            continue; /* newer than this walk's marks: counts as seen */
        }
        ctx->ids[n] = to;
        n += visited[to] != epoch ? 1 : 0;
        visited[to] = epoch;
    }
    qv_hnsw_step_prefetch_rows(ctx, before, n);
    ctx->work.hops++;
    return n;
}

QV_PREFETCHES void qv_hnsw_step_prefetch_list(const struct qv_hnsw *h, qv_slot slot, uint32_t level)
{
    const char *p = (const char *)qv_hnsw_list(h, slot, level);
    for (size_t at = 0; at < (size_t)qv_hnsw_list_cap(h, level) * 4; at += 64)
        __builtin_prefetch(p + at, 0, 3);
}

/* The first place from `from` on that is not expanded yet; pool->n: there is none. */
static inline uint32_t qv_hnsw_step_next(const struct qv_hnsw_cands *pool, uint32_t from)
{
    while (from < pool->n && (pool->at[from] & QV_HNSW_CAND_EXPANDED) != 0)
        from++;
    return from;
}

/* What is to be expanded next, as it seems now: most often it is. */
QV_PREFETCHES void qv_hnsw_step_prefetch_next(const struct qv_hnsw *h,
                                              const struct qv_hnsw_cands *pool, uint32_t at,
                                              uint32_t level)
{
    for (uint32_t i = 0; i < QV_HNSW_STEP_EXPAND && at < pool->n; i++) {
        qv_hnsw_step_prefetch_list(h, qv_hnsw_cand_slot(pool->at[at]), level);
        at = qv_hnsw_step_next(pool, at + 1);
    }
}

/* First place in the sorted pool whose key is above c. */
static inline uint32_t qv_hnsw_step_place(const qv_hnsw_cand *pool, uint32_t n, qv_hnsw_cand c)
{
    uint32_t lo = 0;
    if (n == 0)
        return 0;
    while (n > 1) { /* which half is a coin's throw: no branch */
        const uint32_t half = n / 2;
        lo += pool[lo + half - 1] < c ? half : 0;
        n -= half;
    }
    return lo + (pool[lo] < c ? 1 : 0);
}

/* Puts c into the pool of at most ef; returns its place, or ef when it is too far. */
static inline uint32_t qv_hnsw_step_keep(struct qv_hnsw_cands *pool, uint32_t ef, qv_hnsw_cand c)
{
    if (pool->n == ef) {
        if (c >= pool->at[ef - 1])
            return ef;
        pool->n--;
    }
    uint32_t at = qv_hnsw_step_place(pool->at, pool->n, c);
    memmove(&pool->at[at + 1], &pool->at[at], (size_t)(pool->n - at) * sizeof c);
    pool->at[at] = c;
    pool->n++;
    return at;
}

/* Puts the first n of ctx->ids into the pool of at most ef, as qv_hnsw_step_keep each. Most are too
 * far: those cost a compare. Returns the first place that changed, or ef. */
static inline uint32_t qv_hnsw_step_keep_all(struct qv_hnsw_ctx *ctx, uint32_t ef, uint32_t n)
{
    struct qv_hnsw_cands *pool = &ctx->pool;
    uint32_t first = ef;
    float bound = pool->n == ef ? qv_hnsw_cand_dist(pool->at[ef - 1]) : INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        if (ctx->dists[i] > bound)
            continue;
        const uint32_t placed =
            qv_hnsw_step_keep(pool, ef, qv_hnsw_cand_make(ctx->dists[i], ctx->ids[i]));
        first = placed < first ? placed : first;
        bound = pool->n == ef ? qv_hnsw_cand_dist(pool->at[ef - 1]) : INFINITY;
    }
    return first;
}

#endif
