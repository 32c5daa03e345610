#include "index/hnsw_walk.h"

#include "base/mem.h"
#include "base/qv_assert.h"

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
    qv_mem_free((*ctx)->pool.at);
    qv_mem_free((*ctx)->heap.at);
    qv_mem_free((*ctx)->picks.at);
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
        uint8_t *p = qv_mem_try_realloc(ctx->visited, to);
        if (p == NULL && ctx->visited == NULL)
            return QV_ENOMEM;
        if (p != NULL) { /* else: the newest slots count as seen, this walk does without them */
            memset(p + ctx->visited_slots, 0, to - ctx->visited_slots);
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

static void compare(struct qv_hnsw_ctx *ctx, const void *row, uint32_t n)
{
    const struct qv_hnsw_codes *c = ctx->space;
    c->dist_batch(row, c->rows.base, c->rows.stride_bytes, ctx->ids, n, c->dim, ctx->dists);
    ctx->work.distances += n;
}

/* ctx->ids = the neighbours of slot not seen before, now seen. */
static uint32_t collect_unseen(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot,
                               uint32_t level)
{
    const _Atomic uint32_t *list = qv_hnsw_list(h, slot, level);
    const uint32_t cap = qv_hnsw_list_cap(h, level);
    uint32_t n = 0;
    for (uint32_t i = 0; i < cap; i++) {
        qv_slot to = qv_hnsw_list_get(list, i);
        if (to == QV_SLOT_NONE)
            break;
        if (qv_hnsw_walk_visit(ctx, to))
            ctx->ids[n++] = to;
    }
    ctx->work.hops++;
    return n;
}

static void prefetch_list(const struct qv_hnsw *h, qv_slot slot, uint32_t level)
{
    const char *p = (const char *)qv_hnsw_list(h, slot, level);
    for (size_t at = 0; at < (size_t)qv_hnsw_list_cap(h, level) * 4; at += 64)
        __builtin_prefetch(p + at, 0, 3);
}

qv_hnsw_cand qv_hnsw_walk_descend(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, const void *row,
                                  uint64_t entry, uint32_t to)
{
    ctx->ids[0] = qv_hnsw_entry_slot(entry);
    compare(ctx, row, 1);
    qv_hnsw_cand best = qv_hnsw_cand_make(ctx->dists[0], ctx->ids[0]);
    for (uint32_t level = qv_hnsw_entry_level(entry); level > to; level--) {
        for (;;) {
            qv_hnsw_cand from = best;
            uint32_t n = qv_hnsw_list_copy(h, qv_hnsw_cand_slot(from), level, ctx->ids);
            compare(ctx, row, n);
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

/* First place in the sorted pool whose key is above c. */
static uint32_t pool_place(const qv_hnsw_cand *pool, uint32_t n, qv_hnsw_cand c)
{
    uint32_t lo = 0;
    while (n > 0) {
        uint32_t half = n / 2;
        if (pool[lo + half] < c) {
            lo += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return lo;
}

/* Puts c into the pool of at most ef; returns its place, or ef when it is too far. */
static inline uint32_t pool_put(struct qv_hnsw_cands *pool, uint32_t ef, qv_hnsw_cand c)
{
    if (pool->n == ef) {
        if (c >= pool->at[ef - 1])
            return ef;
        pool->n--;
    }
    uint32_t at = pool_place(pool->at, pool->n, c);
    memmove(&pool->at[at + 1], &pool->at[at], (size_t)(pool->n - at) * sizeof c);
    pool->at[at] = c;
    pool->n++;
    return at;
}

static uint32_t next_unexpanded(const struct qv_hnsw_cands *pool, uint32_t from)
{
    while (from < pool->n && (pool->at[from] & QV_HNSW_CAND_EXPANDED) != 0)
        from++;
    return from;
}

static void walk_plain(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                       const struct qv_hnsw_walk *walk)
{
    const uint32_t level = walk->level;
    const uint32_t ef = walk->ef;
    struct qv_hnsw_cands *pool = &ctx->pool;
    uint32_t at = 0;
    while (at < pool->n) {
        qv_slot slot = qv_hnsw_cand_slot(pool->at[at]);
        pool->at[at] |= QV_HNSW_CAND_EXPANDED;
        uint32_t n = collect_unseen(h, ctx, slot, level);
        at = next_unexpanded(pool, at + 1);
        if (at < pool->n) /* most often the next to be expanded */
            prefetch_list(h, qv_hnsw_cand_slot(pool->at[at]), level);
        compare(ctx, walk->row, n);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t placed = pool_put(pool, ef, qv_hnsw_cand_make(ctx->dists[i], ctx->ids[i]));
            at = placed < at ? placed : at;
        }
        at = next_unexpanded(pool, at);
    }
}

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
static int walk_filtered(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                         const struct qv_hnsw_walk *walk)
{
    const uint32_t level = walk->level;
    const uint32_t ef = walk->ef;
    struct qv_hnsw_cands *pool = &ctx->pool;
    while (ctx->heap.n > 0) {
        qv_hnsw_cand c = heap_pop(&ctx->heap);
        if (pool->n == ef && c > pool->at[ef - 1])
            break;
        uint32_t n = collect_unseen(h, ctx, qv_hnsw_cand_slot(c), level);
        if (ctx->heap.n > 0)
            prefetch_list(h, qv_hnsw_cand_slot(ctx->heap.at[0]), level);
        compare(ctx, walk->row, n);
        for (uint32_t i = 0; i < n; i++) {
            qv_hnsw_cand near = qv_hnsw_cand_make(ctx->dists[i], ctx->ids[i]);
            if (pool->n == ef && near > pool->at[ef - 1])
                continue;
            int err = heap_push(&ctx->heap, near);
            if (err != 0)
                return err;
            if (passes(h, walk->filter, ctx->ids[i]))
                (void)pool_put(pool, ef, near);
        }
    }
    return 0;
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
        (void)pool_put(&ctx->pool, walk->ef, start);
        walk_plain(h, ctx, walk);
        return 0;
    }
    err = heap_push(&ctx->heap, start);
    if (err != 0)
        return err;
    if (passes(h, walk->filter, qv_hnsw_cand_slot(start)))
        (void)pool_put(&ctx->pool, walk->ef, start);
    return walk_filtered(h, ctx, walk);
}

#define APPROACH_SHARE 8u /* of ef: about a tenth of the walk's distances */

qv_hnsw_cand qv_hnsw_walk_approach(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                                   const void *row, uint64_t entry, uint32_t ef)
{
    const struct qv_hnsw_walk walk = {.row = row, .level = 1, .ef = ef / APPROACH_SHARE};
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
