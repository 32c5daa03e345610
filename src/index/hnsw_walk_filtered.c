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

/* Has the walk done what it was allowed? */
static bool spent(const struct qv_hnsw_ctx *ctx, const struct qv_hnsw_walk *walk)
{
    return walk->work_max != 0 && ctx->work.distances + ctx->work.bridges >= walk->work_max;
}

/* As the plain walk, but what to expand and what to return are two things: the pool holds only what
 * passes, and its last bounds the expansion once it is full. */
static int walk_wide(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                     const struct qv_hnsw_walk *walk, qv_hnsw_cand start)
{
    const uint32_t level = walk->level;
    const uint32_t ef = walk->ef;
    struct qv_hnsw_cands *pool = &ctx->pool;
    ctx->heap.n = 0;
    int err = heap_push(&ctx->heap, start);
    if (err != 0)
        return err;
    if (passes(h, walk->filter, qv_hnsw_cand_slot(start)))
        (void)qv_hnsw_step_keep(pool, ef, start);
    while (ctx->heap.n > 0) {
        qv_hnsw_cand c = heap_pop(&ctx->heap);
        if (pool->n == ef && c > pool->at[ef - 1])
            break;
        if (spent(ctx, walk))
            return QV_ELIMIT;
        uint32_t n = qv_hnsw_step_collect(h, ctx, qv_hnsw_cand_slot(c), level, 0);
        if (ctx->heap.n > 0)
            qv_hnsw_step_prefetch_list(h, qv_hnsw_cand_slot(ctx->heap.at[0]), level);
        qv_hnsw_step_compare(ctx, walk->row, n);
        for (uint32_t i = 0; i < n; i++) {
            qv_hnsw_cand near = qv_hnsw_cand_make(ctx->dists[i], ctx->ids[i]);
            if (pool->n == ef && near > pool->at[ef - 1])
                continue;
            err = heap_push(&ctx->heap, near);
            if (err != 0)
                return err;
            if (passes(h, walk->filter, ctx->ids[i]))
                (void)qv_hnsw_step_keep(pool, ef, near);
        }
    }
    return 0;
}

/* ---- bridges ---- */

#define SEEDS 16u     /* rows that pass, from anywhere, that a walk begins with */
#define SEEDS_FAR 64u /* where nothing passes about the query */
#define GATHER_MAX (QV_HNSW_M0_MAX - SEEDS_FAR) /* of a neighbourhood */
#define BRIDGE_AHEAD 8u                         /* lists that are prefetched */
#define SHARE_MIN 0.01F                         /* bounds the reach; a scan is cheaper below */
#define LISTS_OF_SHARE 2.0F /* lists read a hop: twice what is expected to be needed */
#define LISTS_MIN 4.0F
#define ABOUT_PASSING 16.0F /* looks about the start at so many rows that should pass; */
#define FAR_SHARE 0.5F      /* fewer than this of them do: the query is far from what passes */
#define FAR_LISTS 4u
#define FAR_EF 2u

static bool bit_passes(const struct qv_hnsw *h, const struct qv_hnsw_query *q, qv_slot slot)
{
    return slot < q->bitmap_slots && (q->bitmap[slot >> 6] >> (slot & 63) & 1) != 0 &&
           qv_hnsw_live_get(h, slot);
}

/* A neighbourhood under way. */
struct gather {
    uint32_t passing; /* in ctx->ids, now seen */
    uint32_t failing; /* in ctx->list, not seen */
    uint32_t met;     /* links looked at */
};

/* When to stop stepping over what fails. */
struct reach {
    uint32_t passing; /* enough of them; 0: as many as the node has links */
    uint32_t met;
    uint32_t lists; /* may be read */
};

/* Adds the neighbours of slot that were not seen. Most of what it meets fails, and whether it was
 * seen is any one's guess: no branch asks for that alone. */
static void gather_list(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                        const struct qv_hnsw_walk *walk, qv_slot slot, struct gather *g)
{
    const _Atomic uint32_t *list = qv_hnsw_list(h, slot, walk->level);
    const uint32_t cap = qv_hnsw_list_cap(h, walk->level);
    const uint64_t *bits = walk->filter->bitmap;
    const uint32_t bound = walk->filter->bitmap_slots;
    uint32_t failing = g->failing;
    uint32_t i = 0;
    for (; i < cap; i++) {
        qv_slot to = qv_hnsw_list_get(list, i);
        if (to == QV_SLOT_NONE)
            break;
        if (to >= bound || to >= ctx->visited_slots)
            continue;
        const uint32_t pass = (uint32_t)(bits[to >> 6] >> (to & 63)) & 1;
        const uint32_t unseen = ctx->visited[to] != ctx->epoch;
        ctx->list[failing] = to;
        failing += unseen & ~pass & (failing < GATHER_MAX);
        if ((pass & unseen) != 0 && g->passing < GATHER_MAX && qv_hnsw_live_get(h, to)) {
            ctx->visited[to] = ctx->epoch;
            ctx->ids[g->passing++] = to;
        }
    }
    g->failing = failing;
    g->met += i;
}

/* ctx->ids = what passes near slot: its neighbours and, while those do not reach far enough, what
 * lies behind the neighbours that fail, breadth first. */
static struct gather gather_passing(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                                    const struct qv_hnsw_walk *walk, qv_slot slot,
                                    struct reach reach)
{
    struct gather g = {0};
    gather_list(h, ctx, walk, slot, &g);
    ctx->work.hops++;
    const uint32_t enough = reach.passing == 0 ? g.met : reach.passing;
    for (uint32_t i = 0; i < BRIDGE_AHEAD && i < g.failing && g.passing < enough; i++)
        qv_hnsw_step_prefetch_list(h, ctx->list[i], walk->level);
    for (uint32_t at = 0; at < g.failing && reach.lists > 0; at++) {
        if (g.passing >= enough || g.met >= reach.met)
            break;
        if (at + BRIDGE_AHEAD < g.failing)
            qv_hnsw_step_prefetch_list(h, ctx->list[at + BRIDGE_AHEAD], walk->level);
        if (!qv_hnsw_walk_visit(ctx, ctx->list[at]))
            continue;
        gather_list(h, ctx, walk, ctx->list[at], &g);
        ctx->work.bridges++;
        reach.lists--;
    }
    return g;
}

/* Up to n members of the bitmap, anywhere in it, into ctx->ids from `at` on. */
static uint32_t sample(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                       const struct qv_hnsw_query *q, uint32_t at, uint32_t n)
{
    const uint32_t words = (q->bitmap_slots + 63) / 64;
    const uint32_t step = words / n + 1;
    for (uint32_t w = step / 2; w < words && n > 0; w += step, n--) {
        uint32_t from = w;
        uint32_t end = from + step < words ? from + step : words;
        while (from < end && q->bitmap[from] == 0)
            from++;
        if (from == end)
            continue;
        qv_slot slot = from * 64 + (uint32_t)__builtin_ctzll(q->bitmap[from]);
        if (slot < ctx->visited_slots && bit_passes(h, q, slot) && qv_hnsw_walk_visit(ctx, slot))
            ctx->ids[at++] = slot;
    }
    return at;
}

static uint32_t keep_all(struct qv_hnsw_ctx *ctx, const struct qv_hnsw_walk *walk, uint32_t ef,
                         uint32_t n)
{
    uint32_t first = ef;
    qv_hnsw_step_compare(ctx, walk->row, n);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t placed =
            qv_hnsw_step_keep(&ctx->pool, ef, qv_hnsw_cand_make(ctx->dists[i], ctx->ids[i]));
        first = placed < first ? placed : first;
    }
    return first;
}

struct bridging {
    uint32_t ef;
    struct reach reach; /* of each hop */
};

/* Where the walk begins: what passes about `start`, and some of what passes anywhere, for where the
 * query lies far from all that passes. What is sought lies then at the rim of what passes, where
 * links are fewer: the walk gets broader and reaches farther. False: that would cost more than the
 * walk may. */
static bool begin_bridges(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                          const struct qv_hnsw_walk *walk, qv_hnsw_cand start, struct bridging *b)
{
    const float share = walk->filter->share > SHARE_MIN ? walk->filter->share : SHARE_MIN;
    const float lists = LISTS_OF_SHARE / share;
    const struct reach about = {.passing = GATHER_MAX,
                                .met = (uint32_t)(ABOUT_PASSING / share),
                                .lists = (uint32_t)(LISTS_OF_SHARE / SHARE_MIN)};
    *b = (struct bridging){
        .ef = walk->ef,
        .reach = {.met = UINT32_MAX, .lists = (uint32_t)(lists > LISTS_MIN ? lists : LISTS_MIN)}};
    if (bit_passes(h, walk->filter, qv_hnsw_cand_slot(start)))
        (void)qv_hnsw_step_keep(&ctx->pool, b->ef, start);
    struct gather g = gather_passing(h, ctx, walk, qv_hnsw_cand_slot(start), about);
    const bool far = (float)g.passing < (float)g.met * share * FAR_SHARE;
    if (far) {
        b->reach.lists *= FAR_LISTS;
        b->reach.passing = h->params.m0;
        b->ef = b->ef < QV_HNSW_EF_MAX / FAR_EF ? b->ef * FAR_EF : QV_HNSW_EF_MAX;
        const double visits = 1.5 * b->ef * (h->params.m0 + 1.0 / share);
        if (walk->work_max != 0 &&
            (double)(ctx->work.distances + ctx->work.bridges) + visits > (double)walk->work_max)
            return false;
    }
    (void)keep_all(ctx, walk, b->ef,
                   sample(h, ctx, walk->filter, g.passing, far ? SEEDS_FAR : SEEDS));
    return true;
}

/* The plain walk over the graph of what passes, whose links are made as they are asked for. */
static int walk_bridges(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                        const struct qv_hnsw_walk *walk, qv_hnsw_cand start)
{
    struct qv_hnsw_cands *pool = &ctx->pool;
    struct bridging b;
    int err = qv_hnsw_cands_reserve(pool, FAR_EF * walk->ef);
    if (err != 0)
        return err;
    if (!begin_bridges(h, ctx, walk, start, &b))
        return QV_ELIMIT;
    for (uint32_t at = 0; at < pool->n;) {
        qv_slot slot = qv_hnsw_cand_slot(pool->at[at]);
        pool->at[at] |= QV_HNSW_CAND_EXPANDED;
        if (spent(ctx, walk))
            return QV_ELIMIT;
        struct gather g = gather_passing(h, ctx, walk, slot, b.reach);
        at = qv_hnsw_step_next(pool, at + 1);
        if (at < pool->n)
            qv_hnsw_step_prefetch_list(h, qv_hnsw_cand_slot(pool->at[at]), walk->level);
        uint32_t placed = keep_all(ctx, walk, b.ef, g.passing);
        at = qv_hnsw_step_next(pool, placed < at ? placed : at);
    }
    return 0;
}

int qv_hnsw_walk_filtered(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                          const struct qv_hnsw_walk *walk, qv_hnsw_cand start)
{
    const struct qv_hnsw_query *q = walk->filter;
    if (q->way == QV_HNSW_WAY_BRIDGES && q->bitmap != NULL && q->accept == NULL)
        return walk_bridges(h, ctx, walk, start);
    return walk_wide(h, ctx, walk, start);
}
