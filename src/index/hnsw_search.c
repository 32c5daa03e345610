#include "index/hnsw_walk.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "simd/lvq.h"

/* The query as the walk compares it, in *row. QV_ENOMEM. */
static int code_query(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                      const struct qv_hnsw_query *query, const void **row)
{
    *row = query->row;
    if (!qv_hnsw_has_codes(h) || query->by_rows) {
        ctx->space = &h->rows;
        return 0;
    }
    if (ctx->code_bytes < h->codes.row_bytes) {
        qv_mem_free(ctx->code);
        ctx->code = qv_mem_try_aligned(QV_CACHE_LINE, h->codes.row_bytes);
        ctx->code_bytes = ctx->code == NULL ? 0 : h->codes.row_bytes;
    }
    if (ctx->code == NULL)
        return QV_ENOMEM;
    qv_lvq_encode(h->params.dtype, query->row, h->codes.dim, ctx->code);
    *row = ctx->code;
    return 0;
}

int qv_hnsw_search(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                   const struct qv_hnsw_query *query, struct qv_hnsw_hit *hits, uint32_t *n_out)
{
    *n_out = 0;
    uint32_t ef = query->ef > query->k ? query->ef : query->k;
    if (query->k == 0 || ef > QV_HNSW_EF_MAX)
        return QV_EINVAL;
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
    if (entry == QV_HNSW_ENTRY_NONE)
        return 0;
    /* Without dead nodes and without a filter everything met may be returned: the cheap walk.
     * A node removed before this call is counted in dead_count until nothing links to it. */
    bool plain = query->bitmap == NULL && query->accept == NULL &&
                 atomic_load_explicit(&h->dead_count, memory_order_acquire) == 0;
    int err = qv_hnsw_walk_begin(h, ctx);
    if (err != 0)
        return err;
    const void *row;
    err = code_query(h, ctx, query, &row);
    if (err != 0)
        return err;
    qv_hnsw_cand start = qv_hnsw_walk_approach(h, ctx, row, entry, ef);
    const struct qv_hnsw_walk walk = {
        .row = row, .level = 0, .ef = ef, .filter = plain ? NULL : query};
    err = qv_hnsw_walk_level(h, ctx, &walk, start);
    if (err != 0)
        return err;
    uint32_t n = 0;
    for (uint32_t i = 0; i < ctx->pool.n && n < query->k; i++) {
        qv_slot slot = qv_hnsw_cand_slot(ctx->pool.at[i]);
        if (!qv_hnsw_live_get(h, slot)) /* removed while we walked */
            continue;
        hits[n++] = (struct qv_hnsw_hit){.slot = slot, .dist = qv_hnsw_cand_dist(ctx->pool.at[i])};
    }
    *n_out = n;
    return 0;
}
