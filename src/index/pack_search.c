/* Searching a packed graph: down the levels greedily, best-first over level 0, then the nearest
 * ranked by the better codes. The walk is that of hnsw_walk.c over other memory. */
#include "index/hnsw_step.h"
#include "index/pack_graph.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#define PREFETCH_ROW_MAX ((size_t)256) /* longer rows are asked for a few ahead, by the kernel */
#define EXPAND 2u

struct qv_pack_ctx *qv_pack_ctx_create(void)
{
    return qv_mem_calloc(1, sizeof(struct qv_pack_ctx));
}

void qv_pack_ctx_destroy(struct qv_pack_ctx **ctx)
{
    if (*ctx == NULL)
        return;
    qv_mem_free((*ctx)->visited);
    qv_mem_free((*ctx)->pool.at);
    qv_mem_free((*ctx)->ranked);
    qv_mem_free((*ctx)->ranked_dists);
    qv_mem_free((*ctx)->elements);
    qv_mem_free((*ctx)->planes);
    qv_mem_free(*ctx);
    *ctx = NULL;
}

struct qv_hnsw_work qv_pack_ctx_work(const struct qv_pack_ctx *ctx)
{
    return ctx->work;
}

/* ---- scratch ---- */

static size_t planes_bytes(uint32_t dim)
{
    return 2 * qv_codes_plane_bytes(QV_CODES_4, dim); /* the wider of both */
}

static int reserve_dim(struct qv_pack_ctx *ctx, uint32_t dim)
{
    if (dim <= ctx->dim_cap)
        return 0;
    qv_mem_free(ctx->elements);
    qv_mem_free(ctx->planes);
    ctx->dim_cap = 0;
    ctx->elements = qv_mem_try_alloc(2 * (size_t)dim * sizeof(float));
    ctx->planes = qv_mem_try_aligned(QV_CACHE_LINE, 3 * planes_bytes(dim));
    if (ctx->elements == NULL || ctx->planes == NULL)
        return QV_ENOMEM;
    ctx->dim_cap = dim;
    return 0;
}

static int reserve_ranked(struct qv_pack_ctx *ctx, uint32_t n)
{
    if (n <= ctx->ranked_cap)
        return 0;
    qv_mem_free(ctx->ranked);
    qv_mem_free(ctx->ranked_dists);
    ctx->ranked_cap = 0;
    ctx->ranked = qv_mem_try_alloc(n * sizeof(uint32_t));
    ctx->ranked_dists = qv_mem_try_alloc(n * sizeof(float));
    if (ctx->ranked == NULL || ctx->ranked_dists == NULL)
        return QV_ENOMEM;
    ctx->ranked_cap = n;
    return 0;
}

static int begin(const struct qv_pack *p, struct qv_pack_ctx *ctx, uint32_t ef)
{
    if (p->n > ctx->visited_n) {
        uint8_t *v = qv_mem_try_realloc(ctx->visited, p->n);
        if (v == NULL)
            return QV_ENOMEM;
        memset(v + ctx->visited_n, 0, p->n - ctx->visited_n);
        ctx->visited = v;
        ctx->visited_n = p->n;
    }
    if (++ctx->epoch == 0) {
        memset(ctx->visited, 0, ctx->visited_n);
        ctx->epoch = 1;
    }
    int err = qv_hnsw_cands_reserve(&ctx->pool, ef + 1);
    if (err == 0)
        err = reserve_ranked(ctx, ef);
    return err == 0 ? reserve_dim(ctx, p->dim) : err;
}

/* The query as both spaces see it. */
static void encode(const struct qv_pack *p, struct qv_pack_ctx *ctx, const void *row)
{
    float *x = ctx->elements;
    float *y = x + p->dim;
    int8_t *planes = ctx->planes;
    const size_t step = planes_bytes(p->dim);
    qv_pack_row_floats(p, row, x);
    if (p->axes != NULL)
        qv_pack_axes_project(p->axes, x, planes + 2 * step, y);
    qv_pack_space_encode_query(&p->walk, p->axes != NULL ? y : x, planes, &ctx->walk_side);
    if (p->rank.base != NULL)
        qv_pack_space_encode_query(&p->rank, p->params.rank_axes != 0 ? y + p->params.axes : x,
                                   planes + step, &ctx->rank_side);
}

/* ---- walk ---- */

static size_t prefetch_of(const struct qv_pack *p)
{
    return p->walk.stride <= PREFETCH_ROW_MAX ? 0 : p->walk.stride;
}

/* A row of one line into the first level of cache. Longer ones into the second, where a request
 * holds none of the few line fill buffers: the list that is next needs one. (us a query, to the
 * other way: sift, 128 bytes, 0.95; glove, 64 bytes, 1.01.) */
QV_PREFETCHES void prefetch_row(const struct qv_pack *p, uint32_t place)
{
    const uint8_t *row = p->walk.base + (size_t)place * p->walk.stride;
    if (p->walk.stride <= QV_CACHE_LINE) {
        __builtin_prefetch(row, 0, 3);
        __builtin_prefetch(row + p->walk.stride - 1, 0, 3);
        return;
    }
    for (size_t at = 0; at < p->walk.stride; at += QV_CACHE_LINE)
        __builtin_prefetch(row + at, 0, 2);
    __builtin_prefetch(row + p->walk.stride - 1, 0, 2);
    if (p->walk.biases != NULL)
        __builtin_prefetch(p->walk.biases + place, 0, 2);
}

static void compare(const struct qv_pack *p, struct qv_pack_ctx *ctx, uint32_t n)
{
    qv_pack_space_compare(&p->walk, &ctx->walk_side, prefetch_of(p), ctx->ids, n, ctx->dists);
    ctx->work.distances += n;
}

static uint32_t copy_list(const struct qv_pack *p, const struct qv_pack_lists *l, uint32_t place,
                          uint32_t *out)
{
    const size_t begin_at = qv_pack_list_begin(l, place);
    const uint32_t n = l->degrees[place];
    for (uint32_t i = 0; i < n; i++)
        out[i] = qv_pack_id_get(l->ids, p->link_bytes, begin_at + i);
    return n;
}

static qv_hnsw_cand descend(const struct qv_pack *p, struct qv_pack_ctx *ctx)
{
    ctx->ids[0] = 0; /* of the highest level */
    compare(p, ctx, 1);
    qv_hnsw_cand best = qv_hnsw_cand_make(ctx->dists[0], 0);
    for (uint32_t level = p->level_max; level > 0; level--) {
        for (;;) {
            const qv_hnsw_cand from = best;
            const uint32_t n = copy_list(p, &p->levels[level], qv_hnsw_cand_slot(from), ctx->ids);
            compare(p, ctx, n);
            ctx->work.hops++;
            for (uint32_t i = 0; i < n; i++) {
                const qv_hnsw_cand c = qv_hnsw_cand_make(ctx->dists[i], ctx->ids[i]);
                best = c < best ? c : best;
            }
            if (best == from)
                break;
        }
    }
    return best;
}

/* Adds the neighbours of a place not met before to ctx->ids, which has n; now they are met. Without
 * a branch on who was: half of them were, in no order that a processor could foresee. */
static uint32_t collect_unseen(const struct qv_pack *p, struct qv_pack_ctx *ctx, uint32_t place,
                               uint32_t n)
{
    const struct qv_pack_lists *l = &p->levels[0];
    const uint32_t bytes = p->link_bytes;
    const uint8_t *ids = l->ids + qv_pack_list_begin(l, place) * bytes;
    const uint32_t degree = l->degrees[place];
    const uint32_t mask = bytes == 4 ? UINT32_MAX : (1u << (8 * bytes)) - 1u;
    const uint8_t epoch = ctx->epoch;
    uint8_t *visited = ctx->visited;
    const uint32_t before = n;
    for (uint32_t i = 0; i < degree; i++, ids += bytes) {
        uint32_t id;
        memcpy(&id, ids, sizeof id);
        id &= mask;
        ctx->ids[n] = id;
        n += visited[id] != epoch ? 1 : 0;
        visited[id] = epoch;
    }
    if (p->walk.stride <= PREFETCH_ROW_MAX)
        for (uint32_t i = before; i < n; i++)
            prefetch_row(p, ctx->ids[i]);
    ctx->work.hops++;
    return n;
}

QV_PREFETCHES void prefetch_list(const struct qv_pack *p, uint32_t place)
{
    const struct qv_pack_lists *l = &p->levels[0];
    const uint8_t *ids = l->ids + qv_pack_list_begin(l, place) * p->link_bytes;
    __builtin_prefetch(ids, 0, 3);
    __builtin_prefetch(ids + QV_CACHE_LINE, 0, 3);
}

/* Puts c into the sorted pool of at most ef, which it is near enough for; returns its place. */
static inline uint32_t pool_put(struct qv_hnsw_cands *pool, uint32_t ef, qv_hnsw_cand c)
{
    uint32_t at = 0;
    uint32_t n = pool->n;
    while (n > 0) {
        const uint32_t half = n / 2;
        const bool above = pool->at[at + half] < c;
        at = above ? at + half + 1 : at;
        n = above ? n - half - 1 : half;
    }
    memmove(&pool->at[at + 1], &pool->at[at], (size_t)(pool->n - at) * sizeof c);
    pool->at[at] = c;
    pool->n = pool->n < ef ? pool->n + 1 : ef;
    return at;
}

/* Marks the nearest that were not expanded yet, at most EXPAND, from `at` on: their places into
 * out. Together, so that what one waits for from memory the other waits for too. */
static uint32_t take_nearest(struct qv_hnsw_cands *pool, uint32_t at, uint32_t *out)
{
    uint32_t n = 0;
    for (; at < pool->n && n < EXPAND; at++) {
        if ((pool->at[at] & QV_HNSW_CAND_EXPANDED) != 0)
            continue;
        out[n++] = qv_hnsw_cand_slot(pool->at[at]);
        pool->at[at] |= QV_HNSW_CAND_EXPANDED;
    }
    return n;
}

static void walk(const struct qv_pack *p, struct qv_pack_ctx *ctx, uint32_t ef, qv_hnsw_cand start)
{
    struct qv_hnsw_cands *pool = &ctx->pool;
    uint32_t at = 0;
    pool->n = 1;
    pool->at[0] = start;
    ctx->visited[qv_hnsw_cand_slot(start)] = ctx->epoch;
    while (at < pool->n) {
        uint32_t places[EXPAND];
        const uint32_t expanded = take_nearest(pool, at, places);
        uint32_t n = 0;
        for (uint32_t i = 0; i < expanded; i++)
            n = collect_unseen(p, ctx, places[i], n);
        at = qv_hnsw_step_next(pool, at);
        if (at < pool->n) /* most often the next to be expanded */
            prefetch_list(p, qv_hnsw_cand_slot(pool->at[at]));
        compare(p, ctx, n);
        for (uint32_t i = 0; i < n; i++) {
            const qv_hnsw_cand c = qv_hnsw_cand_make(ctx->dists[i], ctx->ids[i]);
            if (pool->n == ef && c >= pool->at[ef - 1])
                continue;
            const uint32_t placed = pool_put(pool, ef, c);
            if (placed <= at) { /* the next to be expanded, as it seems now */
                at = placed;
                prefetch_list(p, ctx->ids[i]);
            }
        }
        at = qv_hnsw_step_next(pool, at);
    }
}

/* ---- answer ---- */

/* The nearest of the pool by the better codes, in order, in its front. */
static uint32_t rank(const struct qv_pack *p, struct qv_pack_ctx *ctx, uint32_t ef)
{
    struct qv_hnsw_cands *pool = &ctx->pool;
    /* A projection misplaces more than a rounding does. */
    const uint32_t share = p->axes != NULL ? ef : ef / 2;
    uint32_t n = share > p->params.rank_min ? share : p->params.rank_min;
    n = n < pool->n ? n : pool->n;
    for (uint32_t i = 0; i < n; i++)
        ctx->ranked[i] = qv_hnsw_cand_slot(pool->at[i]);
    qv_pack_space_compare(&p->rank, &ctx->rank_side, p->rank.stride, ctx->ranked, n,
                          ctx->ranked_dists);
    for (uint32_t i = 0; i < n; i++) {
        float d = ctx->ranked_dists[i];
        if (p->params.rank_axes != 0)
            d += qv_hnsw_cand_dist(pool->at[i]);
        const qv_hnsw_cand c = qv_hnsw_cand_make(d, ctx->ranked[i]);
        uint32_t at = i;
        for (; at > 0 && pool->at[at - 1] > c; at--)
            pool->at[at] = pool->at[at - 1];
        pool->at[at] = c;
    }
    return n;
}

int qv_pack_search(const struct qv_pack *p, struct qv_pack_ctx *ctx,
                   const struct qv_pack_query *query, struct qv_hnsw_hit *hits, uint32_t *n_out)
{
    *n_out = 0;
    uint32_t ef = query->ef > query->k ? query->ef : query->k;
    if (query->k == 0 || ef > QV_HNSW_EF_MAX)
        return QV_EINVAL;
    if (p->rank.base != NULL && ef < p->params.rank_min)
        ef = p->params.rank_min;
    int err = begin(p, ctx, ef);
    if (err != 0)
        return err;
    encode(p, ctx, query->row);
    walk(p, ctx, ef, descend(p, ctx));
    uint32_t n = p->rank.base != NULL ? rank(p, ctx, ef) : ctx->pool.n;
    n = n < query->k ? n : query->k;
    for (uint32_t i = 0; i < n; i++) {
        const qv_hnsw_cand c = ctx->pool.at[i];
        const float d = qv_hnsw_cand_dist(c) + (p->metric == QV_METRIC_COSINE ? 1.0f : 0.0f);
        hits[i] = (struct qv_hnsw_hit){
            .slot = qv_pack_id_get(p->slots, p->link_bytes, qv_hnsw_cand_slot(c)), .dist = d};
    }
    *n_out = n;
    return 0;
}
