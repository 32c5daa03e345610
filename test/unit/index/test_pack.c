/* Packed graphs: what a search of one returns, against the exact scan and the rows' own distances,
 * for every coding. */
#include "hnsw_fixture.h"

#include "index/pack.h"
#include "simd/kernels.h"

#include <math.h>
#include <string.h>

#define K 10u
#define SEED 31u

static const struct {
    const char *name;
    struct qv_pack_params params;
    float share; /* of the graph's own recall, at ef 100, of 1,200 clustered rows */
} codings[] = {
    {"8", {.walk = QV_PACK_BITS_8}, 0.96F},
    {"4", {.walk = QV_PACK_BITS_4}, 0.75F},
    {"4 ranked by 8", {.walk = QV_PACK_BITS_4, .rank = QV_PACK_BITS_8}, 0.96F},
    {"8, wide", {.walk = QV_PACK_BITS_8, .wide = true}, 0.96F},
    {"axes ranked by 8",
     {.walk = QV_PACK_BITS_8, .rank = QV_PACK_BITS_8, .axes = 16, .rank_min = 60},
     0.90F},
    {"axes ranked by axes",
     {.walk = QV_PACK_BITS_8, .rank = QV_PACK_BITS_8, .axes = 16, .rank_axes = 16, .rank_min = 60},
     0.90F},
};
#define CODINGS (sizeof codings / sizeof codings[0])

static void fill(struct fixture *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        fixture_insert(f, i, 1);
        fixture_mark(f, i, true);
    }
}

static float true_dist(const struct fixture *f, const void *query, qv_slot slot)
{
    return qv_simd_dist(f->params.metric, f->params.dtype)(query, qv_rows_at(&f->rows, slot),
                                                           f->params.dim);
}

/* The tenth nearest of the marked. */
static float bound_of(const struct fixture *f, const void *query)
{
    float best[K];
    uint32_t n = 0;
    for (uint32_t s = 0; s < f->n; s++) {
        if (!fixture_is_marked(f, s))
            continue;
        const float d = true_dist(f, query, s);
        if (n == K && d >= best[K - 1])
            continue;
        uint32_t at = n < K ? n++ : K - 1;
        for (; at > 0 && best[at - 1] > d; at--)
            best[at] = best[at - 1];
        best[at] = d;
    }
    return best[n - 1];
}

/* How far apart a distance and its coded form may be: by the codes' steps of the largest element.
 */
static float slack_of(const struct qv_pack_info *info, float d)
{
    return info->exact ? 1e-4F * (1 + fabsf(d)) : INFINITY;
}

static float recall_of(const struct fixture *f, const struct qv_pack *p, struct qv_pack_ctx *ctx,
                       uint32_t ef)
{
    const struct qv_pack_info info = qv_pack_info(p);
    uint32_t found = 0;
    for (uint32_t q = 0; q < f->queries; q++) {
        const void *row = qv_rows_at(&f->rows, f->n + q);
        const struct qv_pack_query query = {.row = row, .k = K, .ef = ef};
        struct qv_hnsw_hit hits[K];
        uint32_t n;
        assert_int_equal(qv_pack_search(p, ctx, &query, hits, &n), 0);
        assert_int_equal(n, K);
        const float bound = bound_of(f, row);
        for (uint32_t i = 0; i < n; i++) {
            const float d = true_dist(f, row, hits[i].slot);
            assert_true(fixture_is_marked(f, hits[i].slot));
            assert_true(i == 0 || hits[i].dist >= hits[i - 1].dist);
            for (uint32_t j = 0; j < i; j++)
                assert_int_not_equal(hits[i].slot, hits[j].slot);
            if (!(fabsf(hits[i].dist - d) <= slack_of(&info, d)))
                fail_msg("slot %u: %.9g, is %.9g", hits[i].slot, (double)hits[i].dist, (double)d);
            found += d <= bound + 1e-5F * fabsf(bound) ? 1 : 0;
        }
    }
    return (float)found / (float)(f->queries * K);
}

static void check_codings(enum qv_metric metric, enum qv_dtype dtype)
{
    struct fixture f;
    struct qv_errmsg msg;
    fixture_open(&f, metric, dtype, 1200 / FIXTURE_LESS, 32, SEED);
    fill(&f);
    struct qv_pack_ctx *ctx = qv_pack_ctx_create();
    const float whole = (float)fixture_recall(&f, 100, NULL);
    for (size_t c = 0; c < CODINGS; c++) {
        struct qv_pack *p;
        assert_int_equal(qv_pack_make(f.h, &codings[c].params, &p, &msg), 0);
        const struct qv_pack_info info = qv_pack_info(p);
        assert_int_equal(info.nodes, f.n);
        assert_true(info.exact == (dtype == QV_DTYPE_U8 && metric != QV_METRIC_COSINE &&
                                   info.params.rank_axes == 0 &&
                                   (codings[c].params.rank == QV_PACK_BITS_8 ||
                                    codings[c].params.walk == QV_PACK_BITS_8)));
        const float recall = recall_of(&f, p, ctx, 100);
        if (recall < codings[c].share * whole)
            fail_msg("metric %d, dtype %d, %s: recall %.3f of %.3f (seed %u)", (int)metric,
                     (int)dtype, codings[c].name, (double)recall, (double)whole, SEED);
        qv_pack_destroy(&p);
        assert_null(p);
    }
    qv_pack_ctx_destroy(&ctx);
    fixture_close(&f);
}

static void all_codings_find_what_is_near(void **state)
{
    (void)state;
    for (int metric = 0; metric < QV_METRIC_L1; metric++)
        for (int dtype = 0; dtype < QV_DTYPE_COUNT; dtype++)
            check_codings((enum qv_metric)metric, (enum qv_dtype)dtype);
}

/* The distance that a coding gives is near the rows' own: 8 bits are off by less than a step an
 * element at right angles to the row would. */
static void distances_are_near(void **state)
{
    (void)state;
    struct fixture f;
    struct qv_errmsg msg;
    struct qv_pack *p;
    fixture_open(&f, QV_METRIC_L2, QV_DTYPE_F32, 400, 48, SEED + 1);
    fill(&f);
    struct qv_pack_ctx *ctx = qv_pack_ctx_create();
    const struct qv_pack_params params = {.walk = QV_PACK_BITS_8};
    assert_int_equal(qv_pack_make(f.h, &params, &p, &msg), 0);
    for (uint32_t q = 0; q < f.queries; q++) {
        const void *row = qv_rows_at(&f.rows, f.n + q);
        const struct qv_pack_query query = {.row = row, .k = K, .ef = 50};
        struct qv_hnsw_hit hits[K];
        uint32_t n;
        assert_int_equal(qv_pack_search(p, ctx, &query, hits, &n), 0);
        for (uint32_t i = 0; i < n; i++) {
            const float d = true_dist(&f, row, hits[i].slot);
            assert_true(fabsf(hits[i].dist - d) <= 0.01F * (d + 1));
        }
    }
    qv_pack_destroy(&p);
    qv_pack_ctx_destroy(&ctx);
    fixture_close(&f);
}

/* Only live nodes are packed, and they still find each other. */
static void the_dead_are_left_behind(void **state)
{
    (void)state;
    struct fixture f;
    struct qv_errmsg msg;
    struct qv_pack *p;
    fixture_open(&f, QV_METRIC_L2, QV_DTYPE_F32, 900, 16, SEED + 2);
    fill(&f);
    for (uint32_t s = 0; s < f.n; s += 3) {
        if (s % 2 == 0)
            fixture_delete(&f, s);
        else
            assert_int_equal(qv_hnsw_remove(f.h, s), 0);
        fixture_mark(&f, s, false);
    }
    struct qv_pack_ctx *ctx = qv_pack_ctx_create();
    const struct qv_pack_params params = {.walk = QV_PACK_BITS_8};
    assert_int_equal(qv_pack_make(f.h, &params, &p, &msg), 0);
    assert_int_equal(qv_pack_info(p).nodes, 600);
    assert_true(recall_of(&f, p, ctx, 100) >= 0.93F);
    qv_pack_destroy(&p);
    qv_pack_ctx_destroy(&ctx);
    fixture_close(&f);
}

static void odd_rows_are_packed(void **state)
{
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY, 3.4e38F, -1e30F, 1e-44F, 0.0F, 1.0F};
    struct fixture f;
    struct qv_errmsg msg;
    fixture_open(&f, QV_METRIC_L2, QV_DTYPE_F32, 64, 20, SEED + 3);
    float *x = (float *)(void *)f.data;
    for (uint32_t i = 0; i < 40 * 20; i++)
        x[i] = odd[(i * 7 + i / 13) % 8];
    fill(&f);
    struct qv_pack_ctx *ctx = qv_pack_ctx_create();
    for (size_t c = 0; c < CODINGS; c++) {
        struct qv_pack_params params = codings[c].params;
        struct qv_pack *p;
        params.axes = params.axes > 4 ? 4 : params.axes;
        params.rank_axes = params.rank_axes > 4 ? 4 : params.rank_axes;
        assert_int_equal(qv_pack_make(f.h, &params, &p, &msg), 0);
        for (uint32_t q = 0; q < f.n; q++) {
            const struct qv_pack_query query = {.row = qv_rows_at(&f.rows, q), .k = K, .ef = 2 * K};
            struct qv_hnsw_hit hits[K];
            uint32_t n;
            assert_int_equal(qv_pack_search(p, ctx, &query, hits, &n), 0);
            assert_true(n > 0 && hits[0].slot < f.n);
        }
        qv_pack_destroy(&p);
    }
    qv_pack_ctx_destroy(&ctx);
    fixture_close(&f);
}

static void refusals_say_why(void **state)
{
    (void)state;
    struct fixture f;
    struct qv_errmsg msg;
    struct qv_pack *p;
    struct qv_pack_ctx *ctx = qv_pack_ctx_create();
    struct qv_pack_params params = {.walk = QV_PACK_BITS_8};
    fixture_open(&f, QV_METRIC_L2, QV_DTYPE_F32, 8, 4, SEED);
    assert_int_equal(qv_pack_make(f.h, &params, &p, &msg), QV_ENOTFOUND);
    fill(&f);
    params.axes = 5;
    assert_int_equal(qv_pack_make(f.h, &params, &p, &msg), QV_EINVAL);
    params = (struct qv_pack_params){.walk = QV_PACK_BITS_8, .rank_axes = 2};
    assert_int_equal(qv_pack_make(f.h, &params, &p, &msg), QV_EINVAL);
    params = (struct qv_pack_params){.rank = QV_PACK_BITS_8};
    assert_int_equal(qv_pack_make(f.h, &params, &p, &msg), QV_EINVAL);
    params = qv_pack_choose(f.h, QV_PACK_COMPACT);
    assert_int_equal(qv_pack_make(f.h, &params, &p, &msg), 0);
    struct qv_hnsw_hit hits[20];
    uint32_t n;
    struct qv_pack_query query = {.row = f.data, .k = 20, .ef = 1};
    assert_int_equal(qv_pack_search(p, ctx, &query, hits, &n), 0);
    assert_int_equal(n, 8); /* all there are */
    query.k = 0;
    assert_int_equal(qv_pack_search(p, ctx, &query, hits, &n), QV_EINVAL);
    qv_pack_destroy(&p);
    fixture_close(&f);
    fixture_open(&f, QV_METRIC_L1, QV_DTYPE_F32, 8, 4, SEED);
    fill(&f);
    assert_int_equal(qv_pack_make(f.h, &params, &p, &msg), QV_EINVAL);
    fixture_close(&f);
    qv_pack_ctx_destroy(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_codings_find_what_is_near),
        cmocka_unit_test(distances_are_near),
        cmocka_unit_test(the_dead_are_left_behind),
        cmocka_unit_test(odd_rows_are_packed),
        cmocka_unit_test(refusals_say_why),
    };
    return RUN_SUITE(tests);
}
