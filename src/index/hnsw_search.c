#include "index/hnsw_search.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "index/hnsw_step.h"
#include "simd/convert.h"
#include "simd/lvq.h"

#include <math.h>

int qv_hnsw_search_code(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                        const struct qv_hnsw_query *query, const void **row)
{
    *row = query->row;
    if (!qv_hnsw_has_codes(h) || query->by_rows) {
        if (!qv_hnsw_has_rows(h))
            return QV_EINVAL;
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
    ctx->space = &h->codes;
    qv_lvq_encode(h->params.dtype, query->row, h->codes.dim, ctx->code);
    *row = ctx->code;
    return 0;
}

uint32_t qv_hnsw_row_bytes(const struct qv_hnsw *h, bool by_rows)
{
    return (uint32_t)(by_rows ? h->rows.row_bytes : h->codes.row_bytes);
}

/* Do hits of a query by the codes stand in the order of the rows? */
static bool is_exact(const struct qv_hnsw *h, const void *row)
{
    return !atomic_load_explicit(&h->rounded, memory_order_acquire) &&
           qv_hnsw_code_is_exact(h, row);
}

/* The row as well as codes know it. */
static void decode(const struct qv_hnsw *h, qv_slot slot, float *out)
{
    const size_t dim = h->codes.dim;
    const uint8_t *code = qv_rows_at(&h->codes.rows, slot);
    if (h->fine_mem.base == NULL)
        qv_lvq_decode(code, dim, out);
    else
        qv_lvq_decode_fine(code, h->fine_mem.base + (size_t)slot * qv_lvq_fine_bytes(dim), dim,
                           out);
}

int qv_hnsw_rank(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, const void *row,
                 struct qv_hnsw_hit *hits, uint32_t n)
{
    const size_t dim = h->codes.dim;
    if (!qv_hnsw_has_codes(h) || is_exact(h, row))
        return 0;
    if (ctx->decoded_floats < 2 * dim) {
        qv_mem_free(ctx->decoded);
        ctx->decoded = qv_mem_try_aligned(QV_CACHE_LINE, 2 * dim * sizeof *ctx->decoded);
        ctx->decoded_floats = ctx->decoded == NULL ? 0 : 2 * dim;
    }
    if (ctx->decoded == NULL)
        return QV_ENOMEM;
    const qv_dist_f dist = qv_simd_dist(h->params.metric, QV_DTYPE_F32);
    float *query = ctx->decoded;
    qv_simd_to_f32(h->params.dtype, row, query, dim);
    for (uint32_t i = 0; i < n; i++) {
        decode(h, hits[i].slot, query + dim);
        const struct qv_hnsw_hit hit = {.slot = hits[i].slot,
                                        .dist = dist(query, query + dim, dim)};
        uint32_t at = i;
        for (; at > 0 && hits[at - 1].dist > hit.dist; at--)
            hits[at] = hits[at - 1];
        hits[at] = hit;
    }
    return 0;
}

static bool in_bitmap(const struct qv_hnsw_query *query, qv_slot slot)
{
    return slot < query->bitmap_slots && (query->bitmap[slot >> 6] >> (slot & 63) & 1) != 0;
}

uint32_t qv_hnsw_search_take(const struct qv_hnsw *h, const struct qv_hnsw_cands *pool, uint32_t k,
                             struct qv_hnsw_hit *hits)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < pool->n && n < k; i++) {
        qv_slot slot = qv_hnsw_cand_slot(pool->at[i]);
        if (!qv_hnsw_live_get(h, slot)) /* removed while we walked */
            continue;
        hits[n++] = (struct qv_hnsw_hit){.slot = slot, .dist = qv_hnsw_cand_dist(pool->at[i])};
    }
    return n;
}

/* Drops from the pool of a plain walk what does not pass. Is what is left as much as ef asks? */
static bool check_pool(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                       const struct qv_hnsw_query *query, uint32_t ef, uint32_t walked)
{
    const bool full = ctx->pool.n == walked;
    uint32_t n = 0;
    for (uint32_t i = 0; i < ctx->pool.n; i++) {
        const qv_slot slot = qv_hnsw_cand_slot(ctx->pool.at[i]);
        if (in_bitmap(query, slot) && qv_hnsw_live_get(h, slot))
            ctx->pool.at[n++] = ctx->pool.at[i];
    }
    ctx->pool.n = n;
    return !full || n >= ef;
}

/* How broad a plain walk must be for ef of its pool to pass: a little above what is expected. */
static uint32_t check_ef(const struct qv_hnsw_query *query, uint32_t ef)
{
    if (query->way != QV_HNSW_WAY_CHECK)
        return ef;
    const float share = query->share > 0.1F ? query->share : 0.1F;
    const float broad = (float)ef / share;
    const float spread = broad - (float)ef; /* 0 where all pass */
    const float to = broad + 2 * sqrtf(spread) + 0.5F;
    return to < (float)QV_HNSW_EF_MAX ? (uint32_t)to : QV_HNSW_EF_MAX;
}

int qv_hnsw_search(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                   const struct qv_hnsw_query *query, struct qv_hnsw_hit *hits, uint32_t *n_out)
{
    *n_out = 0;
    uint32_t ef = query->ef > query->k ? query->ef : query->k;
    if (query->k == 0 || ef > QV_HNSW_EF_MAX)
        return QV_EINVAL;
    QV_ASSERT(query->way == QV_HNSW_WAY_WIDE || (query->bitmap != NULL && query->accept == NULL));
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
    if (entry == QV_HNSW_ENTRY_NONE)
        return 0;
    /* Without dead nodes and without a filter everything met may be returned: the cheap walk.
     * A node removed before this call is counted in dead_count until nothing links to it. */
    const bool check = query->way == QV_HNSW_WAY_CHECK;
    const bool plain = query->bitmap == NULL && query->accept == NULL &&
                       atomic_load_explicit(&h->dead_count, memory_order_acquire) == 0;
    int err = qv_hnsw_walk_begin(h, ctx);
    if (err != 0)
        return err;
    const void *row;
    err = qv_hnsw_search_code(h, ctx, query, &row);
    if (err != 0)
        return err;
    /* A walk over bridges begins from elsewhere too: it can do with half the beam. */
    const uint32_t beam = query->way == QV_HNSW_WAY_BRIDGES ? ef / 2 : ef;
    qv_hnsw_cand start = qv_hnsw_walk_approach(h, ctx, row, entry, beam);
    const uint64_t done = ctx->work.distances + ctx->work.bridges;
    const struct qv_hnsw_walk walk = {.row = row,
                                      .level = 0,
                                      .ef = check_ef(query, ef),
                                      .filter = plain || check ? NULL : query,
                                      .work_max =
                                          query->visits_max == 0 ? 0 : done + query->visits_max};
    err = qv_hnsw_walk_level(h, ctx, &walk, start);
    if (err == 0 && check && !check_pool(h, ctx, query, ef, walk.ef))
        err = QV_ELIMIT;
    if (err == 0)
        *n_out = qv_hnsw_search_take(h, &ctx->pool, query->k, hits);
    return err;
}

#define SCAN_ASK (1u << 16) /* slots between two looks at whether to go on */

/* Rows that are under way while as many before them are compared: memory is what a scan waits for,
 * and the kernel's own look ahead is short. */
#define SCAN_AHEAD 128u
_Static_assert(2 * SCAN_AHEAD + 64 <= QV_HNSW_NEAR_MAX, "and a word of the bitmap");

/* Compares the first n slots of ctx->ids and keeps the k nearest in the pool. */
static void scan_block(struct qv_hnsw_ctx *ctx, const void *row, uint32_t k, uint32_t n)
{
    qv_hnsw_step_compare(ctx, row, n);
    (void)qv_hnsw_step_keep_all(ctx, k, n);
}

/* The slots of word w of the bitmap that are live. */
static uint64_t scan_word(const struct qv_hnsw *h, const struct qv_hnsw_query *query, uint32_t w)
{
    uint64_t bits = query->bitmap[w];
    if (bits == 0)
        return 0;
    if (w == query->bitmap_slots / 64)
        bits &= (UINT64_C(1) << (query->bitmap_slots & 63)) - 1;
    /* acquire: what was written of a node before it went live (row, code) is seen */
    return bits & atomic_load_explicit(&h->live[w], memory_order_acquire);
}

int qv_hnsw_scan(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                 const struct qv_hnsw_query *query, struct qv_hnsw_hit *hits, uint32_t *n_out)
{
    const void *row;
    *n_out = 0;
    QV_ASSERT(query->bitmap != NULL);
    if (query->k == 0 || query->k > QV_HNSW_EF_MAX)
        return QV_EINVAL;
    int err = qv_hnsw_search_code(h, ctx, query, &row);
    if (err == 0)
        err = qv_hnsw_cands_reserve(&ctx->pool, query->k);
    if (err != 0)
        return err;
    uint32_t bound = atomic_load_explicit(&h->slot_bound, memory_order_acquire);
    bound = query->bitmap_slots < bound ? query->bitmap_slots : bound;
    ctx->pool.n = 0;
    uint32_t n = 0;
    uint32_t asked = 0; /* of n, are under way */
    for (uint32_t w = 0; w * 64 < bound; w++) {
        if (w % (SCAN_ASK / 64) == 0 && query->stop != NULL &&
            (err = query->stop(query->stop_arg)) != 0)
            return err;
        for (uint64_t bits = scan_word(h, query, w); bits != 0; bits &= bits - 1)
            ctx->ids[n++] = w * 64 + (uint32_t)__builtin_ctzll(bits);
        if (n - asked >= SCAN_AHEAD) {
            qv_hnsw_step_prefetch_rows(ctx, asked, n);
            scan_block(ctx, row, query->k, asked);
            n -= asked;
            memmove(ctx->ids, ctx->ids + asked, n * sizeof *ctx->ids);
            asked = n;
        }
    }
    scan_block(ctx, row, query->k, n);
    *n_out = qv_hnsw_search_take(h, &ctx->pool, query->k, hits);
    return 0;
}
