/* Exact search and its top-k collector against sorting everything. */
#include "base/mem.h"
#include "base/rng.h"
#include "index/flat.h"
#include "simd/convert.h"
#include "simd/score.h"
#include "suite.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#define SEED 5150u

static int by_key(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static float random_dist(struct qv_rng *rng)
{
    static const float odd[] = {NAN, -NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 1e-45f, -1e-45f};
    if (qv_rng_below(rng, 4) == 0)
        return odd[qv_rng_below(rng, 8)];
    return (float)(int)qv_rng_below(rng, 50) - 25.0f; /* ties */
}

/* Distances order as numbers do, NaN last, -0 as 0; and come back. */
static void keys_order_as_distances(void **state)
{
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, SEED);
    for (int round = 0; round < 20000; ++round) {
        const float a = random_dist(&rng);
        const float b = random_dist(&rng);
        const uint64_t ka = qv_topk_key(a, 7);
        const uint64_t kb = qv_topk_key(b, 7);
        assert_int_equal(ka < kb, isnan(b) ? !isnan(a) : a < b);
        assert_int_equal(qv_topk_key(a, 3) < qv_topk_key(a, 4), 1);
        assert_int_equal(qv_topk_key_slot(ka), 7);
        assert_true(isnan(a) ? isnan(qv_topk_key_dist(ka)) : qv_topk_key_dist(ka) == a);
        assert_true(ka < UINT64_MAX);
    }
}

static void topk_equals_a_full_sort(void **state)
{
    enum { N_MAX = 600 };
    static uint64_t all[N_MAX];
    static uint64_t room[N_MAX];
    static uint64_t room2[N_MAX];
    static struct qv_topk_hit hits[N_MAX];
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, SEED);
    for (int round = 0; round < 2000; ++round) {
        const uint32_t n = (uint32_t)qv_rng_below(&rng, N_MAX);
        const uint32_t k = 1 + (uint32_t)qv_rng_below(&rng, round % 2 == 0 ? 20 : N_MAX);
        struct qv_topk top;
        struct qv_topk other;
        qv_topk_init(&top, room, k);
        qv_topk_init(&other, room2, k);
        for (uint32_t i = 0; i < n; ++i) {
            const float d = random_dist(&rng);
            all[i] = qv_topk_key(d, i);
            qv_topk_push(qv_rng_below(&rng, 3) == 0 ? &other : &top, d, i);
        }
        qv_topk_merge(&top, &other);
        qsort(all, n, sizeof all[0], by_key);
        const uint32_t got = qv_topk_finish(&top, hits);
        assert_int_equal(got, n < k ? n : k);
        assert_int_equal(top.n, 0);
        for (uint32_t i = 0; i < got; ++i)
            assert_true(qv_topk_key(hits[i].dist, hits[i].slot) == all[i]);
    }
}

/* Rows behind one another, the last one's end at a faulting page; few different values, so that
 * distances tie. */
struct store {
    uint8_t *map;
    size_t map_bytes;
    struct qv_rows rows;
};

static void store_init(struct store *s, struct qv_rng *rng, enum qv_dtype dtype, uint32_t dim,
                       uint32_t n)
{
    const size_t row = dim * qv_dtype_bytes(dtype);
    const size_t stride = row + (size_t)qv_rng_below(rng, 5);
    const size_t bytes = n == 0 ? 0 : stride * (n - 1) + row;
    const size_t page = 4096;
    float values[64];

    s->map_bytes = (bytes + page - 1) / page * page + page;
    s->map = (uint8_t *)mmap(NULL, s->map_bytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(s->map != MAP_FAILED);
    assert_int_equal(mprotect(s->map + s->map_bytes - page, page, PROT_NONE), 0);
    uint8_t *base = s->map + s->map_bytes - page - bytes;
    s->rows = (struct qv_rows){base, stride};
    for (uint32_t r = 0; r < n; ++r) {
        for (uint32_t i = 0; i < dim; ++i)
            values[i] = (float)qv_rng_below(rng, 4);
        qv_simd_from_f32(dtype, values, base + r * stride, dim);
    }
}

static bool bit(const uint64_t *bits, uint32_t i)
{
    return bits == NULL || (bits[i / 64] >> (i % 64) & 1) != 0;
}

/* The keys of the range's rows, sorted; returns how many. */
static uint32_t sort_all(const struct qv_flat *f, const void *query, uint64_t *keys)
{
    uint32_t n = 0;
    for (qv_slot s = f->begin; s < f->end; ++s)
        if (bit(f->bits, s))
            keys[n++] = qv_topk_key(
                qv_score_dist(f->metric, f->dtype, query, qv_rows_at(&f->rows, s), f->dim), s);
    qsort(keys, n, sizeof keys[0], by_key);
    return n;
}

enum { ROWS_MAX = 1500, QUERIES_MAX = 7, K_MAX = 40 };

static void random_bits(struct qv_rng *rng, uint64_t *bits)
{
    const uint64_t kind = qv_rng_below(rng, 4);
    for (size_t w = 0; w < (ROWS_MAX + 63) / 64; ++w) {
        const uint64_t r = qv_rng_u64(rng);
        bits[w] = kind == 0   ? r
                  : kind == 1 ? r & qv_rng_u64(rng) & qv_rng_u64(rng) & qv_rng_u64(rng)
                  : kind == 2 ? (qv_rng_below(rng, 3) == 0 ? UINT64_MAX : 0)
                              : 0;
    }
}

static void check_hits(const struct qv_topk_hit *hits, uint32_t n, uint32_t k,
                       const uint64_t *sorted, uint32_t total)
{
    assert_int_equal(n, total < k ? total : k);
    for (uint32_t i = 0; i < n; ++i)
        assert_true(qv_topk_key(hits[i].dist, hits[i].slot) == sorted[i]);
}

/* One random store: a search, a batch of queries, and a scan in parts, all equal to the sort. */
static void check_store(struct qv_rng *rng, enum qv_metric metric, enum qv_dtype dtype)
{
    static uint64_t sorted[ROWS_MAX];
    static uint64_t room[QUERIES_MAX][K_MAX];
    uint64_t bits[(ROWS_MAX + 63) / 64];
    struct qv_topk_hit hits[K_MAX];
    const void *queries[QUERIES_MAX];
    struct qv_topk tops[QUERIES_MAX];
    struct store s;
    const uint32_t n = 1 + (uint32_t)qv_rng_below(rng, ROWS_MAX);
    const uint32_t dim = 1 + (uint32_t)qv_rng_below(rng, 40);
    const uint32_t k = 1 + (uint32_t)qv_rng_below(rng, K_MAX);
    const size_t count = 1 + (size_t)qv_rng_below(rng, QUERIES_MAX);
    uint32_t got;

    store_init(&s, rng, dtype, dim, n);
    random_bits(rng, bits);
    struct qv_flat f = {.rows = s.rows, .metric = metric, .dtype = dtype, .dim = dim};
    f.end = (qv_slot)qv_rng_below(rng, n + 1);
    f.begin = (qv_slot)qv_rng_below(rng, f.end + 1);
    f.bits = qv_rng_below(rng, 3) == 0 ? NULL : bits;

    for (size_t q = 0; q < count; ++q) {
        queries[q] = qv_rows_at(&s.rows, (qv_slot)qv_rng_below(rng, n));
        qv_topk_init(&tops[q], room[q], k);
    }
    struct qv_flat part = f;
    part.end = f.begin + (f.end - f.begin) / 3;
    qv_flat_scan(&part, queries, tops, count);
    part.begin = part.end;
    part.end = f.end;
    qv_flat_scan(&part, queries, tops, count);
    for (size_t q = 0; q < count; ++q) {
        const uint32_t total = sort_all(&f, queries[q], sorted);
        assert_int_equal(qv_flat_search(&f, queries[q], k, hits, &got), QV_OK);
        check_hits(hits, got, k, sorted, total);
        got = qv_topk_finish(&tops[q], hits);
        check_hits(hits, got, k, sorted, total);
    }
    munmap(s.map, s.map_bytes);
}

static void scans_equal_a_full_sort(void **state)
{
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, SEED);
    QV_FOR_EACH_ISA(isa)
    {
        assert_int_equal(qv_simd_select(qv_simd_isa_name((enum qv_isa)isa), NULL), QV_OK);
        for (int round = 0; round < 60; ++round)
            check_store(&rng, (enum qv_metric)qv_rng_below(&rng, QV_METRIC_COUNT),
                        (enum qv_dtype)qv_rng_below(&rng, QV_DTYPE_COUNT));
    }
    assert_int_equal(qv_simd_select(NULL, NULL), QV_OK);
}

static void empty_ranges_have_no_hits(void **state)
{
    const float row[2] = {1, 2};
    struct qv_topk_hit hits[3];
    uint32_t n = 9;
    struct qv_flat f = {.rows = {(const uint8_t *)row, sizeof row}, .dim = 2};
    (void)state;
    assert_int_equal(qv_flat_search(&f, row, 3, hits, &n), QV_OK);
    assert_int_equal(n, 0);
    f.end = 1;
    assert_int_equal(qv_flat_search(&f, row, 3, hits, &n), QV_OK);
    assert_int_equal(n, 1);
    assert_true(hits[0].slot == 0 && hits[0].dist == 0.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_order_as_distances),
        cmocka_unit_test(topk_equals_a_full_sort),
        cmocka_unit_test(scans_equal_a_full_sort),
        cmocka_unit_test(empty_ranges_have_no_hits),
    };
    printf("seed %u\n", SEED);
    return RUN_SUITE(tests);
}
