#include "index/hnsw_walk.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "index/hnsw_search_many.h"
#include "index/hnsw_step.h"
#include "index/hnsw_walk_filtered.h"
#include "simd/links.h"

#define VISITED_MIN 4096u

/* ---- scratch ---- */

struct qv_hnsw_ctx *qv_hnsw_ctx_create(void)
{
    return qv_mem_calloc(1, sizeof(struct qv_hnsw_ctx));
}

void qv_hnsw_ctx_destroy(struct qv_hnsw_ctx **ctx)
{
    if (*ctx == NULL)
        return;
    qv_mem_free((*ctx)->visited);
    qv_mem_free((*ctx)->code);
    qv_mem_free((*ctx)->decoded);
    qv_mem_free((*ctx)->pool.at);
    qv_mem_free((*ctx)->heap.at);
    qv_mem_free((*ctx)->picks.at);
    qv_hnsw_lanes_destroy(&(*ctx)->lanes);
    qv_mem_free(*ctx);
    *ctx = NULL;
}

struct qv_hnsw_work qv_hnsw_ctx_work(const struct qv_hnsw_ctx *ctx)
{
    return ctx->work;
}

int qv_hnsw_cands_reserve(struct qv_hnsw_cands *c, uint32_t cap)
{
    if (cap <= c->cap)
        return 0;
    uint32_t to = c->cap < UINT32_MAX / 2 && cap < 2 * c->cap ? 2 * c->cap : cap;
    qv_hnsw_cand *p = qv_mem_try_realloc(c->at, (size_t)to * sizeof *p);
    if (p == NULL)
        return QV_ENOMEM;
    c->at = p;
    c->cap = to;
    return 0;
}

int qv_hnsw_walk_begin(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx)
{
    uint32_t need = atomic_load_explicit(&h->usable_slots, memory_order_acquire);
    if (need > ctx->visited_slots) {
        uint32_t to = need > VISITED_MIN ? need : VISITED_MIN;
        uint8_t *p = qv_mem_try_realloc(ctx->visited, (size_t)to + QV_LINKS_SLACK);
        if (p == NULL && ctx->visited == NULL)
            return QV_ENOMEM;
        if (p != NULL) { /* else: the newest slots count as seen, this walk does without them */
            memset(p + ctx->visited_slots, 0, (size_t)to + QV_LINKS_SLACK - ctx->visited_slots);
            ctx->visited = p;
            ctx->visited_slots = to;
        }
    }
    ctx->space = &h->codes;
    if (++ctx->epoch == 0) {
        memset(ctx->visited, 0, ctx->visited_slots);
        ctx->epoch = 1;
    }
    return 0;
}

/* ---- walks ---- */

qv_hnsw_cand qv_hnsw_walk_descend(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, const void *row,
                                  uint64_t entry, uint32_t to)
{
    ctx->ids[0] = qv_hnsw_entry_slot(entry);
    qv_hnsw_step_compare(ctx, row, 1);
    qv_hnsw_cand best = qv_hnsw_cand_make(ctx->dists[0], ctx->ids[0]);
    for (uint32_t level = qv_hnsw_entry_level(entry); level > to; level--) {
        for (;;) {
            qv_hnsw_cand from = best;
            uint32_t n = qv_hnsw_list_copy(h, qv_hnsw_cand_slot(from), level, ctx->ids);
            qv_hnsw_step_compare(ctx, row, n);
            ctx->work.hops++;
            for (uint32_t i = 0; i < n; i++) {
                qv_hnsw_cand c = qv_hnsw_cand_make(ctx->dists[i], ctx->ids[i]);
                best = c < best ? c : best;
            }
            if (best == from)
                break;
        }
    }
    return best;
}

static void walk_plain(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                       const struct qv_hnsw_walk *walk)
{
    const uint32_t level = walk->level;
    const uint32_t ef = walk->ef;
    struct qv_hnsw_cands *pool = &ctx->pool;
    uint32_t at = 0;
    while (at < pool->n) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < QV_HNSW_STEP_EXPAND && at < pool->n; i++) {
            const qv_slot slot = qv_hnsw_cand_slot(pool->at[at]);
            pool->at[at] |= QV_HNSW_CAND_EXPANDED;
            n = qv_hnsw_step_collect(h, ctx, slot, level, n);
            at = qv_hnsw_step_next(pool, at + 1);
        }
        qv_hnsw_step_prefetch_next(h, pool, at, level);
        qv_hnsw_step_compare(ctx, walk->row, n);
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t placed =
                qv_hnsw_step_keep(pool, ef, qv_hnsw_cand_make(ctx->dists[i], ctx->ids[i]));
            if (placed <= at && placed < ef) { /* the next to be expanded, as it seems now */
                at = placed;
                qv_hnsw_step_prefetch_list(h, ctx->ids[i], level);
            }
        }
        at = qv_hnsw_step_next(pool, at);
    }
}

int qv_hnsw_walk_level(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                       const struct qv_hnsw_walk *walk, qv_hnsw_cand start)
{
    QV_ASSERT(walk->ef > 0);
    int err = qv_hnsw_cands_reserve(&ctx->pool, walk->ef);
    if (err != 0)
        return err;
    ctx->pool.n = 0;
    ctx->heap.n = 0;
    (void)qv_hnsw_walk_visit(ctx, qv_hnsw_cand_slot(start));
    if (walk->filter == NULL) {
        (void)qv_hnsw_step_keep(&ctx->pool, walk->ef, start);
        walk_plain(h, ctx, walk);
        return 0;
    }
    return qv_hnsw_walk_filtered(h, ctx, walk, start);
}

qv_hnsw_cand qv_hnsw_walk_approach(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                                   const void *row, uint64_t entry, uint32_t ef)
{
    const struct qv_hnsw_walk walk = {.row = row, .level = 1, .ef = ef / QV_HNSW_APPROACH_SHARE};
    if (walk.ef <= 1 || qv_hnsw_entry_level(entry) == 0)
        return qv_hnsw_walk_descend(h, ctx, row, entry, 0);
    qv_hnsw_cand start = qv_hnsw_walk_descend(h, ctx, row, entry, 1);
    if (qv_hnsw_walk_level(h, ctx, &walk, start) == 0 && ctx->pool.n > 0)
        start = ctx->pool.at[0] & ~QV_HNSW_CAND_EXPANDED;
    /* The marks are sized already: a new walk over them can't fail. */
    const struct qv_hnsw_codes *space = ctx->space;
    int err = qv_hnsw_walk_begin(h, ctx);
    ctx->space = space;
    return err == 0 ? start : qv_hnsw_walk_descend(h, ctx, row, entry, 0);
}
