/* Recall@10 under updates and deletes that never end, on tight clusters: the data on which a search
 * that enters the wrong cluster loses its whole answer. One thread and fixed seeds, so the graphs
 * are the same in every run. */
#include "suite.h"

#include "base/mem.h"
#include "base/rng.h"
#include "index/flat.h"
#include "index/hnsw.h"

#include <string.h>

#define DIM 32u
#define IDS 3000u
#define CENTRES 20u
#define SLOTS 8192u
#define GATHERED 300u /* deletions repaired together */
#define ROUNDS 25
#define CHANGES 3000u
#define QUERIES 100u
#define K 10u

struct world {
    struct qv_rng rng;
    float centres[CENTRES][DIM];
    float *rows;
    struct qv_hnsw *h;
    struct qv_hnsw_ctx *ctx;
    qv_slot slot_of[IDS];
    qv_slot free_slots[SLOTS];
    uint32_t free_count;
    qv_slot dead[GATHERED];
    uint32_t dead_count;
    uint64_t live[SLOTS / 64 + 1];
    uint32_t generation;
};

static void draw(struct world *w, float *out)
{
    const float *centre = w->centres[qv_rng_below(&w->rng, CENTRES)];
    for (uint32_t i = 0; i < DIM; i++)
        out[i] = 3.0f * centre[i] + qv_rng_gauss(&w->rng);
}

static struct qv_rows view(const struct world *w)
{
    return (struct qv_rows){.base = (const uint8_t *)w->rows, .stride_bytes = DIM * sizeof(float)};
}

static void start(struct world *w, uint64_t seed)
{
    struct qv_hnsw_params p = qv_hnsw_params_default(QV_METRIC_L2, QV_DTYPE_F32, DIM);
    memset(w, 0, sizeof *w);
    qv_rng_init(&w->rng, seed);
    for (uint32_t c = 0; c < CENTRES; c++)
        for (uint32_t i = 0; i < DIM; i++)
            w->centres[c][i] = qv_rng_gauss(&w->rng);
    w->rows = qv_mem_alloc((size_t)SLOTS * DIM * sizeof(float));
    memset(w->slot_of, 0xFF, sizeof w->slot_of);
    for (uint32_t s = SLOTS; s-- > 0;)
        w->free_slots[w->free_count++] = s;
    p.max_slots = SLOTS;
    p.seed = seed;
    const struct qv_rows rows = view(w);
    assert_int_equal(qv_hnsw_create(&p, &rows, &w->h, NULL), 0);
    w->ctx = qv_hnsw_ctx_create();
}

static void end(struct world *w)
{
    qv_hnsw_ctx_destroy(&w->ctx);
    qv_hnsw_destroy(&w->h);
    qv_mem_free(w->rows);
}

static void repair(struct world *w)
{
    uint32_t done;
    assert_int_equal(qv_hnsw_repair_many(w->h, w->ctx, w->dead, w->dead_count, &done), 0);
    for (uint32_t i = 0; i < w->dead_count; i++) {
        assert_int_equal(qv_hnsw_release(w->h, w->dead[i]), 0);
        w->free_slots[w->free_count++] = w->dead[i];
    }
    w->dead_count = 0;
}

/* An update takes a new slot, as in a shard; one change in five is a deletion. */
static void change(struct world *w)
{
    qv_slot *slot = &w->slot_of[qv_rng_below(&w->rng, IDS)];
    const bool deletes = qv_rng_below(&w->rng, 5) == 0;
    if (*slot != QV_SLOT_NONE) {
        assert_int_equal(qv_hnsw_remove(w->h, *slot), 0);
        w->live[*slot / 64] &= ~(UINT64_C(1) << (*slot & 63));
        w->dead[w->dead_count++] = *slot;
        *slot = QV_SLOT_NONE;
    }
    if (!deletes) {
        *slot = w->free_slots[--w->free_count];
        draw(w, w->rows + (size_t)*slot * DIM);
        assert_int_equal(qv_hnsw_insert(w->h, w->ctx, *slot, ++w->generation), 0);
        w->live[*slot / 64] |= UINT64_C(1) << (*slot & 63);
    }
    if (w->dead_count == GATHERED)
        repair(w);
}

static uint32_t count_hits(struct world *w)
{
    const struct qv_flat flat = {.rows = view(w),
                                 .metric = QV_METRIC_L2,
                                 .dtype = QV_DTYPE_F32,
                                 .dim = DIM,
                                 .end = SLOTS,
                                 .bits = w->live};
    float row[DIM];
    struct qv_topk_hit exact[K];
    struct qv_hnsw_hit hits[K];
    uint32_t n;
    uint32_t found = 0;
    draw(w, row);
    assert_int_equal(qv_flat_search(&flat, row, K, exact, &n), 0);
    assert_int_equal(n, K);
    const struct qv_hnsw_query query = {.row = row, .k = K, .ef = 100};
    assert_int_equal(qv_hnsw_search(w->h, w->ctx, &query, hits, &n), 0);
    for (uint32_t i = 0; i < n; i++)
        found += hits[i].dist <= exact[K - 1].dist ? 1 : 0;
    return found;
}

static void test_clusters_stay_in_reach(void **state)
{
    static struct world w;
    uint64_t hits = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        start(&w, seed);
        for (int round = 0; round < ROUNDS; round++) {
            for (uint32_t i = 0; i < CHANGES; i++)
                change(&w);
            for (uint32_t q = 0; q < QUERIES; q++)
                hits += count_hits(&w);
        }
        end(&w);
    }
    const double recall = (double)hits / (2.0 * ROUNDS * QUERIES * K);
    printf("recall %.5f of %d searches\n", recall, 2 * ROUNDS * (int)QUERIES);
    assert_true(recall >= 0.9999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clusters_stay_in_reach),
    };
    return RUN_SUITE(tests);
}
