#include "suite.h"

#include "base/rng.h"
#include "core/hits.h"

#include <math.h>
#include <stdlib.h>

#define ARENA_BYTES ((size_t)16 << 20)

static const struct qv_ranking dot = {QV_DISTANCE_DOT, false};
static const struct qv_ranking cosine = {QV_DISTANCE_COSINE, true};
static const struct qv_ranking euclid = {QV_DISTANCE_EUCLID, false};
static const struct qv_ranking manhattan = {QV_DISTANCE_MANHATTAN, false};

static void test_scores(void **state)
{
    (void)state;
    const struct qv_ranking raw = {QV_DISTANCE_COSINE, false};
    assert_true(qv_rank_score(&dot, -2.5f) == 2.5f);
    assert_true(qv_rank_score(&cosine, -0.75f) == 0.75f);
    assert_true(qv_rank_score(&raw, 0.25f) == 0.75f);
    assert_true(qv_rank_score(&euclid, 6.25f) == 2.5f);
    assert_true(qv_rank_score(&manhattan, 6.25f) == 6.25f);
    assert_false(signbit(qv_rank_score(&dot, 0.0f)));
    assert_false(signbit(qv_rank_score(&cosine, 0.0f)));
}

static void test_order_and_threshold(void **state)
{
    (void)state;
    const struct qv_ranking *all[] = {&dot, &cosine, &euclid, &manhattan};
    for (size_t i = 0; i < 4; i++) {
        const struct qv_ranking *r = all[i];
        const bool larger = i < 2;
        assert_int_equal(qv_rank_larger_is_better(r->distance), larger);
        assert_int_equal(qv_rank_compare_scores(r, 2, 1), larger ? -1 : 1);
        assert_int_equal(qv_rank_compare_scores(r, 1, 2), larger ? 1 : -1);
        assert_int_equal(qv_rank_compare_scores(r, 1, 1), 0);
        assert_int_equal(qv_rank_compare_scores(r, NAN, 1), 1);
        assert_int_equal(qv_rank_compare_scores(r, -INFINITY, NAN), -1);
        assert_int_equal(qv_rank_compare_scores(r, NAN, NAN), 0);
        assert_int_equal(qv_rank_passes(r, 2, 1), larger);
        assert_int_equal(qv_rank_passes(r, 1, 2), !larger);
        assert_false(qv_rank_passes(r, 1, 1));
        assert_false(qv_rank_passes(r, NAN, 1));
    }
    struct qv_hit a = {.id = qv_id_num(1), .score = 3};
    struct qv_hit b = {.id = qv_id_num(2), .score = 3};
    assert_true(qv_rank_compare(&dot, &a, &b) < 0 && qv_rank_compare(&euclid, &a, &b) < 0);
}

static const struct qv_ranking *sort_by;

static int compare_hits(const void *a, const void *b)
{
    return qv_rank_compare(sort_by, a, b);
}

/* The slow way: all hits in one array, ghosts out, sorted. */
static uint32_t naive_merge(const struct qv_hits *lists, uint32_t list_count, uint32_t k,
                            struct qv_hit *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < list_count; i++) {
        for (uint32_t j = 0; j < lists[i].count; j++) {
            const struct qv_hit *hit = &lists[i].hits[j];
            uint32_t at = 0;
            while (at < n && !qv_id_equal(&out[at].id, &hit->id))
                at++;
            int c = at == n ? 1 : qv_version_compare(hit->version, out[at].version);
            if (c > 0 || (c == 0 && qv_rank_compare(sort_by, hit, &out[at]) < 0))
                out[at] = *hit;
            n += at == n;
        }
    }
    qsort(out, n, sizeof *out, compare_hits);
    return n < k ? n : k;
}

static void random_lists(struct qv_rng *rng, struct qv_arena *a, struct qv_hits *lists, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        lists[i].count = (uint32_t)qv_rng_below(rng, 30);
        lists[i].hits = QV_ARENA_ARRAY(a, struct qv_hit, lists[i].count);
        for (uint32_t j = 0; j < lists[i].count; j++) {
            struct qv_hit *hit = &lists[i].hits[j];
            const uint64_t id = qv_rng_below(rng, 40);
            hit->id = id % 3 ? qv_id_num(id) : (struct qv_id){id, id * 7, QV_ID_UUID};
            hit->version = (struct qv_version){1 + qv_rng_below(rng, 3), 1};
            hit->score = qv_rng_below(rng, 50) == 0 ? NAN : (float)(int)qv_rng_below(rng, 12) - 6;
        }
        if (lists[i].count > 0)
            qsort(lists[i].hits, lists[i].count, sizeof *lists[i].hits, compare_hits);
    }
}

static bool same_hit(const struct qv_hit *a, const struct qv_hit *b)
{
    return qv_id_equal(&a->id, &b->id) && qv_version_compare(a->version, b->version) == 0 &&
           qv_rank_compare_scores(sort_by, a->score, b->score) == 0;
}

static void test_merge_is_the_naive_one(void **state)
{
    (void)state;
    const uint64_t seed = 4711;
    const struct qv_ranking *all[] = {&dot, &cosine, &euclid, &manhattan};
    struct qv_rng rng;
    struct qv_arena a;
    print_message("seed %llu\n", (unsigned long long)seed);
    qv_rng_init(&rng, seed);
    qv_arena_init(&a, ARENA_BYTES);
    for (int i = 0; i < 5000; i++) {
        struct qv_hits lists[8];
        struct qv_hit expected[8 * 30];
        struct qv_hits out;
        qv_arena_reset(&a);
        sort_by = all[qv_rng_below(&rng, 4)];
        const uint32_t n = (uint32_t)qv_rng_below(&rng, 9);
        const uint32_t k = (uint32_t)qv_rng_below(&rng, 60);
        random_lists(&rng, &a, lists, n);
        assert_int_equal(qv_hits_merge(&a, sort_by, lists, n, k, &out), 0);
        assert_int_equal(out.count, naive_merge(lists, n, k, expected));
        for (uint32_t j = 0; j < out.count; j++) {
            const struct qv_hit *hit = &out.hits[j];
            assert_true(same_hit(hit, &expected[j]));
            assert_true(same_hit(hit, &lists[hit->list].hits[hit->at]));
        }
    }
    qv_arena_close(&a);
}

static void test_merge_refuses(void **state)
{
    (void)state;
    struct qv_arena a;
    struct qv_hits out;
    struct qv_hit wrong[2] = {{.id = qv_id_num(1), .score = 1}, {.id = qv_id_num(2), .score = 2}};
    struct qv_hits list = {wrong, 2};
    qv_arena_init(&a, ARENA_BYTES);
    assert_int_equal(qv_hits_merge(&a, &dot, &list, 1, 10, &out), QV_EPROTO);
    assert_int_equal(out.count, 0);
    assert_int_equal(qv_hits_merge(&a, &euclid, &list, 1, 10, &out), 0);
    assert_int_equal(out.count, 2);
    list.count = QV_HITS_MAX + 1;
    assert_int_equal(qv_hits_merge(&a, &euclid, &list, 1, 10, &out), QV_ELIMIT);
    qv_arena_close(&a);
    qv_arena_init(&a, 64);
    list.count = 2;
    assert_int_equal(qv_hits_merge(&a, &euclid, &list, 1, 10, &out), QV_ENOMEM);
    qv_arena_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_order_and_threshold),
        cmocka_unit_test(test_merge_is_the_naive_one),
        cmocka_unit_test(test_merge_refuses),
    };
    return RUN_SUITE(tests);
}
