#include "index/hnsw_walk_filtered.h"

#include "base/qv_assert.h"
#include "index/hnsw_step.h"
#include "simd/links.h"

#include <math.h>

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

#define EXPAND QV_HNSW_FILTERED_EXPAND /* nodes expanded in a step: they wait together */
#define SEEDS 16u                      /* rows that pass, from anywhere, that a walk begins with */
#define SEEDS_FAR 256u                 /* where too little passes about the query */
#define PASSING_MAX (EXPAND * QV_HNSW_M0_MAX) /* of a step, and what one list adds */
#define PASSING_ROOM (QV_HNSW_NEAR_MAX - SEEDS_FAR - QV_LINKS_SLACK)
#define FAILING_MAX (QV_HNSW_NEAR_MAX - QV_HNSW_M0_MAX - QV_LINKS_SLACK)
#define BRIDGES 4u          /* lists read before what they hold is marked */
#define BRIDGE_AHEAD 12u    /* lists that are prefetched */
#define SHARE_MIN 0.01F     /* bounds the reach; a scan is cheaper below */
#define LISTS_OF_SHARE 2.0F /* lists read a hop: twice what is expected to be needed */
#define LISTS_MIN 4.0F
#define ABOUT_PASSING 16.0F /* looks about the start at so many rows that should pass; */
#define ABOUT_LISTS 200u    /* in at most so many lists; */
/* Of so many, those that do: from here on down the query is far from what passes, and below the
 * other quite. Between, some walks find nothing at all without more breadth, and only by it. */
#define FAR_FROM 0.8F
#define FAR_QUITE 0.5F
#define FAR_LISTS 4u
#define FAR_VISITS 1.25 /* of a node of the pool, of its links and what it takes to find them */
#define FAR_THIN 0.25F
#define FAR_BROAD 64u
#define FAR_EF 5.0F /* breadth beside: so many roots of it, fewer where less than half passes, */
#define FAR_EF_SHARE 0.38F /* and so much of it each time that less than half passes, by halves */
/* Where the walk ends among rows that differ so little in distance, to what they are farther than
 * the nearest that fails, it may have met any clump of many: nothing there leads to a nearer one.
 */
#define FAR_SPREAD 0.16F
_Static_assert(PASSING_MAX + QV_HNSW_M0_MAX <= PASSING_ROOM, "a list more than is enough");

struct bridging {
    uint32_t level;
    uint32_t ef;
    float share; /* of all that passes */
    bool far;    /* next to nothing does about the query */
    /* of each node expanded */
    uint32_t passing; /* enough of them; 0: as many as it has links */
    uint32_t lists;   /* may be read */
    uint32_t met;     /* links looked at, and it is enough */
    bool all_live;    /* what was linked when it began; what went since is dropped at the end */
    qv_links_split_f split;
    struct qv_links_filter filter;
};

/* A neighbourhood under way. */
struct gather {
    struct qv_links_parts parts; /* ctx->ids, seen now; ctx->failing, seen or not */
    uint32_t met;                /* links looked at */
    uint32_t compared;           /* of ctx->ids, have their distance */
    /* of ctx->failing: stepped over; that are ready to be, behind those; looked at */
    uint32_t done, ready, looked;
};

static bool bit_passes(const struct qv_hnsw *h, const struct qv_hnsw_query *q, qv_slot slot)
{
    return slot < q->bitmap_slots && (q->bitmap[slot >> 6] >> (slot & 63) & 1) != 0 &&
           qv_hnsw_live_get(h, slot);
}

/* Adds the neighbours of n nodes that were not seen; of those that fail, as many as there is room.
 * Lists first and marks after, so that no list waits for another; a row met twice is dropped. */
static void gather_lists(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, const struct bridging *b,
                         const qv_slot *slots, uint32_t n, struct gather *g)
{
    const uint32_t cap = qv_hnsw_list_cap(h, b->level);
    const uint32_t before = g->parts.passing_count;
    for (uint32_t i = 0; i < n; i++) {
        g->met += b->split(qv_hnsw_list(h, slots[i], b->level), cap, &b->filter, &g->parts);
        if (g->parts.failing_count > FAILING_MAX)
            g->parts.failing_count = FAILING_MAX;
    }
    uint32_t to = before;
    for (uint32_t i = before; i < g->parts.passing_count; i++) {
        const qv_slot slot = ctx->ids[i];
        ctx->ids[to] = slot;
        const bool live = b->all_live || qv_hnsw_live_get(h, slot);
        to += ctx->visited[slot] != ctx->epoch && live ? 1 : 0;
        ctx->visited[slot] = ctx->epoch;
    }
    g->parts.passing_count = to;
    qv_hnsw_step_prefetch_rows(ctx, before, to);
}

/* Distances of what was gathered and has none yet. */
static void gather_compare(struct qv_hnsw_ctx *ctx, const void *row, struct gather *g)
{
    const struct qv_hnsw_codes *c = ctx->space;
    const uint32_t n = g->parts.passing_count - g->compared;
    c->dist_batch(row, c->rows.base, c->rows.stride_bytes, ctx->ids + g->compared, n, c->dim,
                  ctx->dists + g->compared);
    ctx->work.distances += n;
    g->compared = g->parts.passing_count;
}

/* Makes some of what failed ready: seen now, so that no list is read twice, and its list under
 * way. */
static void ready_behind(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, uint32_t level,
                         struct gather *g)
{
    while (g->ready - g->done < BRIDGE_AHEAD && g->looked < g->parts.failing_count) {
        const qv_slot slot = ctx->failing[g->looked++];
        if (!qv_hnsw_walk_visit(ctx, slot))
            continue;
        ctx->failing[g->ready++] = slot;
        qv_hnsw_step_prefetch_list(h, slot, level);
    }
}

/* Steps over neighbours that fail, breadth first, until what passes behind them is enough. */
static void gather_behind(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                          const struct bridging *b, uint32_t enough, uint32_t lists,
                          struct gather *g)
{
    const uint32_t cap = qv_hnsw_list_cap(h, b->level);
    while (g->parts.passing_count < enough && g->met < b->met) {
        const uint32_t room = (PASSING_ROOM - g->parts.passing_count) / cap;
        uint32_t n = g->ready - g->done < BRIDGES ? g->ready - g->done : BRIDGES;
        n = n < lists ? n : lists;
        n = n < room ? n : room;
        if (n == 0)
            break;
        gather_lists(h, ctx, b, ctx->failing + g->done, n, g);
        ctx->work.bridges += n;
        g->done += n;
        lists -= n;
        ready_behind(h, ctx, b->level, g);
    }
    for (uint32_t i = g->done; i < g->ready; i++)
        ctx->visited[ctx->failing[i]] = 0; /* never an epoch: another node may step over it */
}

/* ctx->ids and dists = what passes near n nodes: their neighbours and, while those do not reach far
 * enough, what lies behind the neighbours that fail. */
static struct gather gather_passing(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                                    const void *row, const struct bridging *b, const qv_slot *slots,
                                    uint32_t n)
{
    struct gather g = {.parts = {.passing = ctx->ids, .failing = ctx->failing}};
    gather_lists(h, ctx, b, slots, n, &g);
    ctx->work.hops += n;
    uint32_t enough = b->passing == 0 ? g.met : b->passing * n;
    enough = enough < PASSING_MAX ? enough : PASSING_MAX;
    if (g.parts.passing_count < enough) {
        ready_behind(h, ctx, b->level, &g);
        gather_compare(ctx, row, &g); /* while the lists come */
        gather_behind(h, ctx, b, enough, b->lists * n, &g);
    }
    gather_compare(ctx, row, &g);
    return g;
}

/* Adds up to n members of the bitmap, anywhere in it. */
static void sample(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, const struct qv_hnsw_query *q,
                   uint32_t n, struct gather *g)
{
    const uint32_t words = (q->bitmap_slots + 63) / 64;
    const uint32_t step = words / n + 1;
    const uint32_t before = g->parts.passing_count;
    for (uint32_t w = step / 2; w < words && n > 0; w += step, n--) {
        uint32_t from = w;
        uint32_t end = from + step < words ? from + step : words;
        while (from < end && q->bitmap[from] == 0)
            from++;
        if (from == end)
            continue;
        qv_slot slot = from * 64 + (uint32_t)__builtin_ctzll(q->bitmap[from]);
        if (slot < ctx->visited_slots && bit_passes(h, q, slot) && qv_hnsw_walk_visit(ctx, slot))
            ctx->ids[g->parts.passing_count++] = slot;
    }
    qv_hnsw_step_prefetch_rows(ctx, before, g->parts.passing_count);
}

static struct bridging bridging_of(const struct qv_hnsw *h, const struct qv_hnsw_ctx *ctx,
                                   const struct qv_hnsw_walk *walk)
{
    const float share = walk->filter->share > SHARE_MIN ? walk->filter->share : SHARE_MIN;
    const float lists = LISTS_OF_SHARE / share;
    const uint32_t slots = walk->filter->bitmap_slots;
    return (struct bridging){
        .level = walk->level,
        .ef = walk->ef,
        .share = share,
        .lists = (uint32_t)(lists > LISTS_MIN ? lists : LISTS_MIN),
        .met = UINT32_MAX,
        .all_live = atomic_load_explicit(&h->dead_count, memory_order_acquire) == 0,
        .split = qv_simd_links_split(),
        .filter = {.bits = walk->filter->bitmap,
                   .seen = ctx->visited,
                   .bound = slots < ctx->visited_slots ? slots : ctx->visited_slots,
                   .epoch = ctx->epoch}};
}

/* What a walk far from its query takes beside: what it seeks lies at the rim of what passes, where
 * links are fewer, and no two of it need lie near each other. how: 0 .. 1, quite far. */
static void go_far(const struct qv_hnsw *h, struct bridging *b, float how)
{
    const float halves = b->share < 0.5F ? log2f(0.5F / b->share) : 0;
    const float root = FAR_EF * sqrtf((float)b->ef * (b->share < 0.5F ? 2 * b->share : 1));
    const float more = (float)b->ef * FAR_EF_SHARE * halves + root;
    const float ef = (float)b->ef + how * more;
    b->far = true;
    b->lists = (uint32_t)((float)b->lists * (1 + how * (FAR_LISTS - 1)));
    b->passing = h->params.m0;
    b->ef = ef < (float)QV_HNSW_EF_MAX ? (uint32_t)ef : QV_HNSW_EF_MAX;
}

/* How far the query is from what passes, 0 .. 1, from how much passes about it. */
static float how_far(const struct gather *g, float share)
{
    const float met = (float)g->parts.passing_count / ((float)g->met * share);
    return met >= FAR_FROM ? 0 : met <= FAR_QUITE ? 1 : (FAR_FROM - met) / (FAR_FROM - FAR_QUITE);
}

/* Did a walk that is far end where nothing tells nearer from farther? */
static bool is_lost(const struct qv_hnsw_cands *pool, const struct bridging *b, qv_hnsw_cand start)
{
    if (!b->far || pool->n < 2)
        return false;
    const float first = qv_hnsw_cand_dist(pool->at[0]);
    const float last = qv_hnsw_cand_dist(pool->at[pool->n - 1]);
    return last - first < FAR_SPREAD * (first - qv_hnsw_cand_dist(start));
}

/* Where the walk begins: what passes about `start`, and some of what passes anywhere, for where the
 * query lies far from all that passes. QV_ELIMIT: the walk would cost more than it may. QV_ENOMEM.
 */
static int begin_bridges(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                         const struct qv_hnsw_walk *walk, qv_hnsw_cand start, struct bridging *b)
{
    struct bridging about = *b;
    about.passing = PASSING_MAX;
    about.met = (uint32_t)(ABOUT_PASSING / b->share);
    about.lists = ABOUT_LISTS;
    if (bit_passes(h, walk->filter, qv_hnsw_cand_slot(start)))
        (void)qv_hnsw_step_keep(&ctx->pool, b->ef, start);
    const qv_slot slot = qv_hnsw_cand_slot(start);
    struct gather g = gather_passing(h, ctx, walk->row, &about, &slot, 1);
    const float how = how_far(&g, b->share);
    if (how > 0) {
        go_far(h, b, how);
        /* What such a walk misses where little passes, breadth doesn't find: sift, 10 %, ef 200,
         * 0.9901 unfiltered: 0.9689 at 1.65 times the breadth, 0.9778 at 2.5. So the broader it
         * is to be, the sooner it is a scan. */
        const bool broad = b->share < FAR_THIN && walk->ef > FAR_BROAD;
        const double dearer = broad ? 1 + how * ((double)walk->ef / FAR_BROAD - 1) : 1;
        const double visits = FAR_VISITS * b->ef * (h->params.m0 + 1.0 / b->share) * dearer;
        if (walk->work_max != 0 &&
            (double)(ctx->work.distances + ctx->work.bridges) + visits > (double)walk->work_max)
            return QV_ELIMIT;
    }
    int err = qv_hnsw_cands_reserve(&ctx->pool, b->ef);
    if (err != 0)
        return err;
    sample(h, ctx, walk->filter, SEEDS + (uint32_t)(how * (float)(SEEDS_FAR - SEEDS)), &g);
    gather_compare(ctx, walk->row, &g);
    (void)qv_hnsw_step_keep_all(ctx, b->ef, g.compared);
    return 0;
}

/* The plain walk over the graph of what passes, whose links are made as they are asked for. */
static int walk_bridges(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                        const struct qv_hnsw_walk *walk, qv_hnsw_cand start)
{
    struct qv_hnsw_cands *pool = &ctx->pool;
    struct bridging b = bridging_of(h, ctx, walk);
    int err = begin_bridges(h, ctx, walk, start, &b);
    for (uint32_t at = 0; at < pool->n && err == 0;) {
        qv_slot slots[EXPAND];
        uint32_t n = 0;
        for (; n < EXPAND && at < pool->n; at = qv_hnsw_step_next(pool, at + 1)) {
            slots[n++] = qv_hnsw_cand_slot(pool->at[at]);
            pool->at[at] |= QV_HNSW_CAND_EXPANDED;
        }
        if (spent(ctx, walk))
            return QV_ELIMIT;
        const struct gather g = gather_passing(h, ctx, walk->row, &b, slots, n);
        const uint32_t placed = qv_hnsw_step_keep_all(ctx, b.ef, g.compared);
        at = qv_hnsw_step_next(pool, placed < at ? placed : at);
        qv_hnsw_step_prefetch_next(h, pool, at, b.level);
    }
    return err == 0 && walk->work_max != 0 && is_lost(pool, &b, start) ? QV_ELIMIT : err;
}

int qv_hnsw_walk_filtered(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                          const struct qv_hnsw_walk *walk, qv_hnsw_cand start)
{
    const struct qv_hnsw_query *q = walk->filter;
    if (q->way == QV_HNSW_WAY_BRIDGES && q->bitmap != NULL && q->accept == NULL)
        return walk_bridges(h, ctx, walk, start);
    return walk_wide(h, ctx, walk, start);
}
