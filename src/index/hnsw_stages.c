#include "index/hnsw_stages.h"

#include "base/qv_assert.h"
#include "index/hnsw_search.h"
#include "index/hnsw_step.h"

struct run {
    const struct qv_hnsw *h;
    struct qv_hnsw_ctx *ctx;
    const struct qv_hnsw_query *query;
    const void *row; /* as the walk compares it */
    uint32_t ef;     /* expand while the next is among so many nearest */
    uint32_t keep;   /* so many are remembered */
    uint32_t at;     /* every candidate before it is expanded */
};

static void walk(struct run *r)
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
        }
        qv_hnsw_step_prefetch_next(r->h, pool, at, 0);
        qv_hnsw_step_compare(ctx, r->row, n);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t placed =
                qv_hnsw_step_keep(pool, r->keep, qv_hnsw_cand_make(ctx->dists[i], ctx->ids[i]));
            at = placed < at ? placed : at;
        }
        r->at = qv_hnsw_step_next(pool, at);
    }
}

static uint32_t run_stages(struct run *r, const struct qv_hnsw_stages *stages,
                           struct qv_hnsw_hit *hits, uint64_t distances_before)
{
    const struct qv_hnsw_cands *pool = &r->ctx->pool;
    for (;;) {
        walk(r);
        uint32_t n = qv_hnsw_search_take(r->h, pool, r->query->k, hits);
        if (pool->n == 0 || r->ef >= stages->ef_max)
            return n;
        uint32_t last = (pool->n < r->ef ? pool->n : r->ef) - 1;
        const struct qv_hnsw_stage stage = {.ef = r->ef,
                                            .n = n,
                                            .hits = hits,
                                            .last = qv_hnsw_cand_dist(pool->at[last]),
                                            .distances = r->ctx->work.distances - distances_before};
        uint32_t ef = stages->next(stages->arg, &stage);
        QV_ASSERT(ef <= stages->ef_max);
        if (ef <= r->ef)
            return n;
        r->ef = ef;
        if (!stages->once)
            continue;
        r->keep = ef > r->query->k ? ef : r->query->k;
        r->ctx->pool.n = pool->n < r->keep ? pool->n : r->keep;
        walk(r);
        return qv_hnsw_search_take(r->h, pool, r->query->k, hits);
    }
}

int qv_hnsw_search_stages(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                          const struct qv_hnsw_query *query, const struct qv_hnsw_stages *stages,
                          struct qv_hnsw_hit *hits, uint32_t *n_out)
{
    *n_out = 0;
    const uint32_t first = query->ef;
    if (query->k == 0 || first == 0 || stages->ef_max > QV_HNSW_EF_MAX || first > stages->ef_max)
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
    struct run r = {.h = h, .ctx = ctx, .query = query, .ef = first};
    r.keep = stages->ef_max > query->k ? stages->ef_max : query->k;
    int err = qv_hnsw_walk_begin(h, ctx);
    if (err == 0)
        err = qv_hnsw_search_code(h, ctx, query, &r.row);
    if (err == 0)
        err = qv_hnsw_cands_reserve(&ctx->pool, r.keep);
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
    (void)qv_hnsw_walk_visit(ctx, qv_hnsw_cand_slot(start));
    (void)qv_hnsw_step_keep(&ctx->pool, r.keep, start);
    *n_out = run_stages(&r, stages, hits, before);
    return 0;
}
