#include "suite.h"

#include "base/rng.h"
#include "query/read_plan.h"

#include <math.h>
#include <string.h>

/* P(Binomial(k, p) > x) by its definition. */
static double tail(uint32_t k, double p, uint32_t x)
{
    double sum = 0.0;
    for (uint32_t i = x + 1; i <= k; i++)
        sum += exp(lgamma(k + 1.0) - lgamma(i + 1.0) - lgamma(k - i + 1.0) + i * log(p) +
                   (k - i) * log1p(-p));
    return sum;
}

static void test_share_k_is_the_smallest_that_is_enough(void **state)
{
    (void)state;
    struct qv_rng rng;
    qv_rng_init(&rng, 20261123);
    for (int i = 0; i < 3000; i++) {
        const uint32_t k = 1 + (uint32_t)qv_rng_below(&rng, i % 2 == 0 ? 40 : 1000);
        const double share = 0.001 + 0.998 * qv_rng_unit(&rng);
        const double miss = pow(10.0, -1.0 - 6.0 * qv_rng_unit(&rng));
        const uint32_t got = qv_read_plan_share_k(k, share, miss);
        assert_true(got >= 1 && got <= k);
        if (tail(k, share, got) > miss * 1.000001 + 1e-13)
            fail_msg("k %u share %g miss %g: %u is too few", k, share, miss, got);
        if (got > 1 && tail(k, share, got - 1) < miss * 0.999999 - 1e-13)
            fail_msg("k %u share %g miss %g: %u is more than needed", k, share, miss, got);
    }
}

static void test_share_k_of_large_k_is_enough(void **state)
{
    (void)state;
    struct qv_rng rng;
    qv_rng_init(&rng, 20261124);
    for (int i = 0; i < 200; i++) {
        const uint32_t k = 1001 + (uint32_t)qv_rng_below(&rng, 5000);
        const double share = 0.001 + 0.998 * qv_rng_unit(&rng);
        const uint32_t got = qv_read_plan_share_k(k, share, 1e-4);
        assert_true(got >= 1 && got <= k);
        assert_true(tail(k, share, got) <= 1e-4);
        /* and within some standard deviations of what lies there on average */
        assert_true(got <= k * share + 8.0 * sqrt(k * share * (1 - share)) + 20.0);
    }
}

static void test_share_k_of_borders(void **state)
{
    (void)state;
    assert_int_equal(qv_read_plan_share_k(0, 0.5, 0.001), 0);
    assert_int_equal(qv_read_plan_share_k(10, 0.0, 0.001), 1);
    assert_int_equal(qv_read_plan_share_k(10, 1.0, 0.001), 10);
    assert_int_equal(qv_read_plan_share_k(QV_LIMIT_MAX, 1.0, 0.001), QV_LIMIT_MAX);
    assert_true(qv_read_plan_share_k(QV_LIMIT_MAX, 0.25, 0.001) < QV_LIMIT_MAX / 3);
    assert_int_equal(qv_read_plan_share_k(1, 0.5, 0.001), 1);
}

/* n shards of equal intervals. */
static void make_view(struct qv_view *v, struct qv_view_shard *shards, struct qv_interval *covers,
                      uint32_t n, bool by_hash)
{
    memset(v, 0, sizeof *v);
    memset(shards, 0, n * sizeof *shards);
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t step = UINT64_MAX / n;
        covers[i] = (struct qv_interval){i == 0 ? 0 : i * step + 1,
                                         i + 1 == n ? UINT64_MAX : (i + 1) * step};
        shards[i].number = 10 + i;
        shards[i].epoch = 100 + i;
        shards[i].cover = by_hash ? (struct qv_cover){&covers[i], 1} : qv_cover_all;
    }
    *v = (struct qv_view){.shards = shards, .shard_count = n, .by_hash = by_hash, .twice = 0.25};
}

static uint32_t nearest_two(const void *placement, const struct qv_query *q, uint32_t n,
                            uint32_t *out)
{
    (void)placement;
    (void)q;
    assert_int_equal(n, 2);
    out[0] = 3;
    out[1] = 1;
    return 2;
}

static void test_legs_of_queries(void **state)
{
    (void)state;
    struct qv_view v;
    struct qv_view_shard shards[4];
    struct qv_interval covers[4];
    struct qv_read_plan p;
    struct qv_arena arena;
    struct qv_query queries[2] = {{.kind = QV_QUERY_VECTOR, .limit = 100, .offset = 20},
                                  {.kind = QV_QUERY_ID, .limit = 10}};
    const struct qv_query_req req = {.queries = queries, .query_count = 2};
    const struct qv_read_what what = {.kind = QV_READ_QUERY, .req.query = &req};
    qv_arena_init(&arena, 1 << 20);

    make_view(&v, shards, covers, 4, true);
    assert_int_equal(qv_read_plan_make(&v, &what, &arena, &p), 0);
    assert_int_equal(p.leg_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(p.legs[i].shard, 10 + i);
        assert_int_equal(p.legs[i].epoch, 100 + i);
        assert_int_equal(p.legs[i].limit_count, 2);
        assert_true(p.legs[i].limits[0] >= 40 && p.legs[i].limits[0] <= 60); /* of 120 */
        assert_true(p.legs[i].limits[1] >= 7 && p.legs[i].limits[1] <= 10);  /* of 11 */
    }

    make_view(&v, shards, covers, 4, false);
    v.nearest = nearest_two;
    queries[1].n_probe = (struct qv_opt_u64){true, 2};
    assert_int_equal(qv_read_plan_make(&v, &what, &arena, &p), 0);
    assert_int_equal(p.leg_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(p.legs[i].limits[0], 150); /* a quarter may be there twice */
        assert_int_equal(p.legs[i].limits[1], i % 2 == 1 ? 14 : 0);
    }
    queries[0].n_probe = (struct qv_opt_u64){true, 2};
    assert_int_equal(qv_read_plan_make(&v, &what, &arena, &p), 0);
    assert_int_equal(p.leg_count, 2); /* the others are not asked at all */
    assert_int_equal(p.legs[0].shard, 11);
    assert_int_equal(p.legs[1].shard, 13);
    qv_arena_close(&arena);
}

static void test_ids_go_to_their_owners_only(void **state)
{
    (void)state;
    struct qv_view v;
    struct qv_view_shard shards[7];
    struct qv_interval covers[7];
    struct qv_id ids[500];
    struct qv_read_plan p;
    struct qv_arena arena;
    qv_arena_init(&arena, 1 << 20);
    make_view(&v, shards, covers, 7, true);
    for (uint32_t i = 0; i < 500; i++)
        ids[i] = qv_id_num(i);
    assert_int_equal(qv_read_plan_fetch(&v, ids, 500, &arena, &p), 0);
    assert_int_equal(p.leg_count, 7);
    uint32_t total = 0;
    for (uint32_t i = 0; i < p.leg_count; i++) {
        total += p.legs[i].id_count;
        for (uint32_t k = 0; k < p.legs[i].id_count; k++) {
            assert_true(qv_read_plan_may_hold(&v, p.shards[i], &p.legs[i].ids[k]));
            assert_true(k == 0 || p.legs[i].ids[k].lo > p.legs[i].ids[k - 1].lo);
        }
    }
    assert_int_equal(total, 500);
    assert_int_equal(qv_read_plan_fetch(&v, ids, 1, &arena, &p), 0);
    assert_int_equal(p.leg_count, 1);
    assert_int_equal(qv_read_plan_fetch(&v, ids, 0, &arena, &p), 0);
    assert_int_equal(p.leg_count, 0);
    qv_arena_close(&arena);
}

/* Three shards by ranges of ids: below 100, from 100 and from 200 on, where the first has the UUIDs
 * too. */
static void test_ranges_narrow(void **state)
{
    (void)state;
    static const struct qv_id uuid = {1, 2, QV_ID_UUID};
    static const struct qv_id_range first[2] = {{.to = {0, 100, QV_ID_NUM}},
                                                {.from = {0, 0, QV_ID_UUID}}};
    static const struct qv_id_range second[1] = {
        {.from = {0, 100, QV_ID_NUM}, .to = {0, 200, QV_ID_NUM}}};
    static const struct qv_id_range third[1] = {
        {.from = {0, 200, QV_ID_NUM}, .to = {0, 0, QV_ID_UUID}}};
    const struct qv_key_set keys[3] = {{qv_cover_all, true, 2, first},
                                       {qv_cover_all, true, 1, second},
                                       {qv_cover_all, true, 1, third}};
    struct qv_id ids[] = {qv_id_num(3), qv_id_num(250), uuid, qv_id_num(99), qv_id_num(200)};
    struct qv_view v;
    struct qv_view_shard shards[3];
    struct qv_interval covers[3];
    struct qv_read_plan p;
    struct qv_arena arena;
    struct qv_scroll_req scroll = {.limit = 10};
    const struct qv_read_what what = {.kind = QV_READ_SCROLL, .req.scroll = &scroll};
    qv_arena_init(&arena, 1 << 20);
    make_view(&v, shards, covers, 3, false);
    for (uint32_t i = 0; i < 3; i++)
        shards[i].keys = &keys[i];
    assert_int_equal(qv_read_plan_fetch(&v, ids, 5, &arena, &p), 0);
    assert_int_equal(p.leg_count, 2);
    assert_int_equal(p.legs[0].shard, 10);
    assert_int_equal(p.legs[0].id_count, 3);
    assert_true(qv_id_equal(&p.legs[0].ids[1], &uuid));
    assert_int_equal(p.legs[1].shard, 12);
    assert_int_equal(p.legs[1].id_count, 2);
    static const struct {
        struct qv_id from;
        uint32_t legs, shard;
    } scrolls[] = {{{0, 0, QV_ID_NUM}, 3, 11},
                   {{0, 199, QV_ID_NUM}, 3, 11},
                   {{0, 200, QV_ID_NUM}, 2, 12},
                   {{0, UINT64_MAX, QV_ID_NUM}, 2, 12},
                   {{0, 0, QV_ID_UUID}, 1, 0}};
    for (size_t i = 0; i < sizeof scrolls / sizeof scrolls[0]; i++) {
        scroll.has_offset = true;
        scroll.offset = scrolls[i].from;
        assert_int_equal(qv_read_plan_make(&v, &what, &arena, &p), 0);
        assert_int_equal(p.leg_count, scrolls[i].legs);
        assert_int_equal(p.legs[0].shard, 10); /* its last ids are the highest */
        if (p.leg_count > 1)
            assert_int_equal(p.legs[1].shard, scrolls[i].shard);
    }
    qv_arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_share_k_is_the_smallest_that_is_enough),
        cmocka_unit_test(test_share_k_of_large_k_is_enough),
        cmocka_unit_test(test_share_k_of_borders),
        cmocka_unit_test(test_legs_of_queries),
        cmocka_unit_test(test_ids_go_to_their_owners_only),
        cmocka_unit_test(test_ranges_narrow),
    };
    return RUN_SUITE(tests);
}
