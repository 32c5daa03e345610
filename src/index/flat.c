/* Exact search: see flat.h. Blocks of slots are collected first (all of them, or the bitmap's),
 * then scored for one query after the other while their rows are in the nearest cache. */
#include "index/flat.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "simd/score.h"

/* Slots of a block: the most, and the bytes of rows it aims at: they stay in the first-level cache
 * beside a query. 32 queries over 60,000 x 784 floats: 50 ns a distance, 57 with 128 KB. */
#define BLOCK_SLOTS_MAX 256u
#define BLOCK_BYTES ((size_t)32 << 10)

struct block {
    qv_slot slots[BLOCK_SLOTS_MAX];
    float dists[BLOCK_SLOTS_MAX];
    uint32_t n;
    uint32_t cap;
};

static uint32_t block_cap(const struct qv_flat *flat)
{
    const size_t row_bytes = flat->dim * qv_dtype_bytes(flat->dtype);
    const size_t fit = BLOCK_BYTES / row_bytes;
    return fit < 8 ? 8 : fit > BLOCK_SLOTS_MAX ? BLOCK_SLOTS_MAX : (uint32_t)fit;
}

/* Fills the block with the next slots from `at` on; returns where the next block begins. */
static qv_slot fill_all(const struct qv_flat *flat, qv_slot at, struct block *b)
{
    b->n = 0;
    while (at < flat->end && b->n < b->cap)
        b->slots[b->n++] = at++;
    return at;
}

/* The same for the slots whose bits are set, a word of the bitmap at a time. */
static qv_slot fill_marked(const struct qv_flat *flat, qv_slot at, struct block *b)
{
    b->n = 0;
    while (at < flat->end) {
        const qv_slot word_end = (at | 63u) + 1u; /* slots stop short of 2^31: no overflow */
        uint64_t word = flat->bits[at / 64] >> (at % 64);
        while (word != 0) {
            const qv_slot slot = at + (qv_slot)__builtin_ctzll(word);
            if (slot >= flat->end)
                return flat->end;
            if (b->n == b->cap)
                return slot;
            b->slots[b->n++] = slot;
            word &= word - 1;
        }
        at = word_end;
    }
    return flat->end;
}

static void score_block(const struct qv_flat *flat, const struct qv_scorer *scorer,
                        const void *query, struct block *b, struct qv_topk *top)
{
    const struct qv_gather gather = {flat->rows.base, flat->rows.stride_bytes, b->slots, b->n};
    qv_score_batch(scorer, query, &gather, b->dists);
    for (uint32_t i = 0; i < b->n; ++i)
        qv_topk_push(top, b->dists[i], b->slots[i]);
}

void qv_flat_scan(const struct qv_flat *flat, const void *const *queries, struct qv_topk *tops,
                  size_t count)
{
    struct qv_scorer scorer;
    struct block b;

    QV_ASSERT(flat->begin <= flat->end && flat->end <= QV_SLOTS_MAX);
    QV_ASSERT(flat->rows.stride_bytes >= flat->dim * qv_dtype_bytes(flat->dtype));
    qv_score_init(&scorer, flat->metric, flat->dtype, flat->dim);
    b.cap = block_cap(flat);
    for (qv_slot at = flat->begin; at < flat->end;) {
        at = flat->bits == NULL ? fill_all(flat, at, &b) : fill_marked(flat, at, &b);
        for (size_t q = 0; q < count && b.n != 0; ++q)
            score_block(flat, &scorer, queries[q], &b, &tops[q]);
    }
}

int qv_flat_search(const struct qv_flat *flat, const void *query, uint32_t k,
                   struct qv_topk_hit *hits, uint32_t *n_out)
{
    struct qv_topk top;

    *n_out = 0;
    uint64_t *keys = qv_mem_try_alloc((size_t)k * sizeof *keys);
    if (keys == NULL)
        return QV_ENOMEM;
    qv_topk_init(&top, keys, k);
    qv_flat_scan(flat, &query, &top, 1);
    *n_out = qv_topk_finish(&top, hits);
    qv_mem_free(keys);
    return QV_OK;
}
