#include "index/hnsw_walk_filtered.h"

#include "base/qv_assert.h"
#include "index/hnsw_step.h"

static bool passes(const struct qv_hnsw *h, const struct qv_hnsw_query *q, qv_slot slot)
{
    if (!qv_hnsw_live_get(h, slot))
        return false;
    if (q->bitmap != NULL &&
        (slot >= q->bitmap_slots || (q->bitmap[slot >> 6] >> (slot & 63) & 1) == 0))
        return false;
    return q->accept == NULL || q->accept(q->accept_arg, slot);
}

static int heap_push(struct qv_hnsw_cands *heap, qv_hnsw_cand c)
{
    int err = qv_hnsw_cands_reserve(heap, heap->n + 1);
    if (err != 0)
        return err;
    uint32_t at = heap->n++;
    while (at > 0 && heap->at[(at - 1) / 2] > c) {
        heap->at[at] = heap->at[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->at[at] = c;
    return 0;
}

static qv_hnsw_cand heap_pop(struct qv_hnsw_cands *heap)
{
    QV_ASSERT(heap->n > 0);
    qv_hnsw_cand top = heap->at[0];
    qv_hnsw_cand last = heap->at[--heap->n];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= heap->n)
            break;
        if (child + 1 < heap->n && heap->at[child + 1] < heap->at[child])
            child++;
        if (heap->at[child] >= last)
            break;
        heap->at[at] = heap->at[child];
        at = child;
    }
    if (heap->n > 0)
        heap->at[at] = last;
    return top;
}

/* As the plain walk, but what to expand and what to return are two things: the pool holds only what
 * passes, and its last bounds the expansion once it is full. */
int qv_hnsw_walk_filtered(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                          const struct qv_hnsw_walk *walk, qv_hnsw_cand start)
{
    const uint32_t level = walk->level;
    const uint32_t ef = walk->ef;
    struct qv_hnsw_cands *pool = &ctx->pool;
    ctx->heap.n = 0;
    int failed = heap_push(&ctx->heap, start);
    if (failed != 0)
        return failed;
    if (passes(h, walk->filter, qv_hnsw_cand_slot(start)))
        (void)qv_hnsw_step_keep(pool, ef, start);
    while (ctx->heap.n > 0) {
        qv_hnsw_cand c = heap_pop(&ctx->heap);
        if (pool->n == ef && c > pool->at[ef - 1])
            break;
        uint32_t n = qv_hnsw_step_collect(h, ctx, qv_hnsw_cand_slot(c), level);
        if (ctx->heap.n > 0)
            qv_hnsw_step_prefetch_list(h, qv_hnsw_cand_slot(ctx->heap.at[0]), level);
        qv_hnsw_step_compare(ctx, walk->row, n);
        for (uint32_t i = 0; i < n; i++) {
            qv_hnsw_cand near = qv_hnsw_cand_make(ctx->dists[i], ctx->ids[i]);
            if (pool->n == ef && near > pool->at[ef - 1])
                continue;
            int err = heap_push(&ctx->heap, near);
            if (err != 0)
                return err;
            if (passes(h, walk->filter, ctx->ids[i]))
                (void)qv_hnsw_step_keep(pool, ef, near);
        }
    }
    return 0;
}
