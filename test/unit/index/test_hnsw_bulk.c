/* Graphs made from many rows at once: whole, good, the same for any number of threads, and graphs
 * like others afterwards. */
#include "hnsw_fixture.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "index/effort.h"
#include "index/flat.h"
#include "index/pack.h"
#include "simd/lvq.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#define SEED 2718u

static struct qv_hnsw_item *items_of(uint32_t n, uint32_t generation)
{
    struct qv_hnsw_item *items = qv_mem_alloc(n * sizeof *items);
    for (uint32_t i = 0; i < n; i++)
        items[i] = (struct qv_hnsw_item){.slot = i, .generation = generation};
    return items;
}

static void *step_loop(void *arg)
{
    struct qv_hnsw_ctx *ctx = qv_hnsw_ctx_create();
    enum qv_hnsw_step step = QV_HNSW_STEP_MORE;
    intptr_t err = 0;
    while (err == 0 && step != QV_HNSW_STEP_DONE) {
        err = qv_hnsw_bulk_step(arg, ctx, &step);
        if (step == QV_HNSW_STEP_WAIT)
            sched_yield();
    }
    qv_hnsw_ctx_destroy(&ctx);
    return (void *)err;
}

static int build(struct fixture *f, uint32_t n, uint32_t threads)
{
    struct qv_hnsw_item *items = items_of(n, 7);
    struct qv_hnsw_bulk *b;
    pthread_t handles[4];
    void *err = NULL;
    int first = qv_hnsw_bulk_create(f->h, items, n, &b);
    qv_mem_free(items);
    if (first != 0)
        return first;
    for (uint32_t i = 1; i < threads; i++)
        assert_int_equal(pthread_create(&handles[i], NULL, step_loop, b), 0);
    first = (int)(intptr_t)step_loop(b);
    for (uint32_t i = 1; i < threads; i++) {
        assert_int_equal(pthread_join(handles[i], &err), 0);
        first = first != 0 ? first : (int)(intptr_t)err;
    }
    qv_hnsw_bulk_destroy(&b);
    for (uint32_t i = 0; i < n && first == 0; i++)
        fixture_mark(f, i, true);
    return first;
}

static void open_coded(struct fixture *f, const struct qv_hnsw_params *p, uint32_t n, uint64_t seed)
{
    fixture_open(f, p->metric, p->dtype, n, p->dim, seed);
    struct qv_hnsw_params params = f->params;
    params.coding = p->coding;
    qv_hnsw_destroy(&f->h);
    assert_int_equal(qv_hnsw_create(&params, &f->rows, &f->h, NULL), 0);
    f->params = params;
}

/* Rows to length 1, as a shard keeps those of cosine collections. */
static void normalise(struct fixture *f)
{
    for (uint32_t i = 0; i < f->n + f->queries; i++) {
        float *row = (float *)(void *)(f->data + i * f->rows.stride_bytes);
        double sum = 0;
        for (uint32_t j = 0; j < f->params.dim; j++)
            sum += (double)row[j] * (double)row[j];
        for (uint32_t j = 0; j < f->params.dim; j++)
            row[j] = (float)(row[j] / sqrt(sum));
    }
}

/* Of graphs over codes, searched by the rows: the links are what is measured. */
static double recall_by_rows(struct fixture *f)
{
    const struct qv_flat flat = {.rows = f->rows,
                                 .metric = f->params.metric,
                                 .dtype = f->params.dtype,
                                 .dim = f->params.dim,
                                 .end = f->n};
    uint32_t good = 0;
    for (uint32_t q = 0; q < f->queries; q++) {
        struct qv_topk_hit exact[10];
        struct qv_hnsw_hit hits[10];
        uint32_t n;
        const struct qv_hnsw_query query = {
            .row = qv_rows_at(&f->rows, f->n + q), .k = 10, .ef = 100, .by_rows = true};
        assert_int_equal(qv_flat_search(&flat, query.row, 10, exact, &n), 0);
        assert_int_equal(qv_hnsw_search(f->h, f->ctx, &query, hits, &n), 0);
        for (uint32_t i = 0; i < n; i++)
            good += hits[i].dist <= exact[9].dist + 1e-5F * fabsf(exact[9].dist) + 1e-6F ? 1 : 0;
    }
    return good / 10.0 / f->queries;
}

static void every_kind_is_whole_and_found(void **state)
{
    static const struct {
        enum qv_metric metric;
        enum qv_dtype dtype;
        enum qv_hnsw_coding coding;
        bool unit;
    } kinds[] = {
        {QV_METRIC_L2, QV_DTYPE_F32, QV_HNSW_CODING_LVQ8, false},
        {QV_METRIC_L2, QV_DTYPE_F32, QV_HNSW_CODING_ROWS, false},
        {QV_METRIC_L2, QV_DTYPE_F16, QV_HNSW_CODING_ROWS, false},
        {QV_METRIC_L2, QV_DTYPE_U8, QV_HNSW_CODING_ROWS, false},
        {QV_METRIC_COSINE, QV_DTYPE_F32, QV_HNSW_CODING_LVQ10, false},
        {QV_METRIC_COSINE, QV_DTYPE_U8, QV_HNSW_CODING_ROWS, false},
        {QV_METRIC_DOT, QV_DTYPE_F32, QV_HNSW_CODING_LVQ8, true},
        {QV_METRIC_DOT, QV_DTYPE_F32, QV_HNSW_CODING_ROWS, true},
    };
    const uint32_t n = 4000 / FIXTURE_LESS;
    (void)state;
    printf("seed %u\n", SEED);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct fixture f;
        const struct qv_hnsw_params p = {.metric = kinds[i].metric,
                                         .dtype = kinds[i].dtype,
                                         .dim = 24,
                                         .coding = kinds[i].coding};
        open_coded(&f, &p, n, SEED + i);
        if (kinds[i].unit)
            normalise(&f);
        assert_int_equal(build(&f, n, 1), 0);
        assert_int_equal(fixture_check(&f), 0);
        assert_int_equal(qv_hnsw_stats(f.h).live, n);
        double recall = recall_by_rows(&f);
        printf("kind %zu: recall@10 %.4f\n", i, recall);
        assert_true(recall >= 0.98);
        fixture_close(&f);
    }
}

static void any_number_of_rows_makes_a_graph(void **state)
{
    static const uint32_t counts[] = {1, 2, 3, 17, 33, 400, 999, 1001, 1500};
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct fixture f;
        fixture_open(&f, QV_METRIC_L2, QV_DTYPE_F32, counts[i], 8, SEED + i);
        assert_int_equal(build(&f, counts[i], 1), 0);
        assert_int_equal(fixture_check(&f), 0);
        assert_true(counts[i] < 10 || fixture_recall(&f, 100, NULL) > 0.99);
        uint32_t generation;
        assert_int_equal(qv_hnsw_slot_state(f.h, counts[i] - 1, &generation), QV_HNSW_LIVE);
        assert_int_equal(generation, 7);
        fixture_close(&f);
    }
}

static void threads_make_the_same_bytes(void **state)
{
    const uint32_t n = 6000 / FIXTURE_LESS;
    struct qv_buf saved[3];
    (void)state;
    for (uint32_t threads = 1; threads <= 3; threads++) {
        struct fixture f;
        fixture_open(&f, QV_METRIC_L2, QV_DTYPE_F32, n, 16, SEED);
        assert_int_equal(build(&f, n, threads), 0);
        qv_buf_init(&saved[threads - 1], 0);
        assert_int_equal(qv_hnsw_save(f.h, fixture_write, &saved[threads - 1]), 0);
        fixture_close(&f);
    }
    for (uint32_t i = 1; i < 3; i++) {
        assert_int_equal(saved[i].len, saved[0].len);
        assert_memory_equal(saved[i].data, saved[0].data, saved[0].len);
    }
    for (uint32_t i = 0; i < 3; i++)
        qv_buf_close(&saved[i]);
}

/* What comes after finds nothing unusual: deletions, repairs, insertions. */
static void the_graph_lives_on(void **state)
{
    const uint32_t n = 3000 / FIXTURE_LESS;
    struct fixture f;
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, SEED);
    fixture_open(&f, QV_METRIC_L2, QV_DTYPE_F32, n, 16, SEED);
    assert_int_equal(build(&f, n - 100, 2), 0);
    for (uint32_t i = n - 100; i < n; i++)
        fixture_insert(&f, i, 1);
    for (uint32_t i = 0; i < n / 2; i++) {
        qv_slot slot = (qv_slot)qv_rng_below(&rng, n);
        if (fixture_is_marked(&f, slot)) {
            fixture_delete(&f, slot);
        } else {
            fixture_new_row(&f, slot, SEED + i);
            fixture_insert(&f, slot, i);
        }
    }
    assert_true(fixture_check(&f) <= 1);
    double recall = fixture_recall(&f, 100, NULL);
    printf("after %u changes: recall@10 %.4f\n", n / 2, recall);
    assert_true(recall > 0.98);
    fixture_close(&f);
}

static void equal_rows_are_found_all(void **state)
{
    const uint32_t n = 2000;
    struct fixture f;
    (void)state;
    fixture_open(&f, QV_METRIC_L2, QV_DTYPE_F32, n, 8, SEED);
    for (uint32_t i = 0; i < 60; i++) /* below one in 16 */
        memcpy(f.data + (n - 1 - i) * f.rows.stride_bytes, f.data + (i / 20) * f.rows.stride_bytes,
               8 * sizeof(float));
    assert_int_equal(build(&f, n, 1), 0);
    assert_int_equal(fixture_check(&f), 0);
    assert_true(fixture_recall(&f, 100, NULL) > 0.98);
    fixture_close(&f);
}

/* Rows without a direction among those of length 1. */
static void odd_rows_come_along(void **state)
{
    const uint32_t n = 1000;
    struct fixture f;
    (void)state;
    fixture_open(&f, QV_METRIC_DOT, QV_DTYPE_F32, n, 8, SEED);
    normalise(&f);
    memset(f.data + 3 * f.rows.stride_bytes, 0, 8 * sizeof(float));
    memset(f.data + 77 * f.rows.stride_bytes, 0, 8 * sizeof(float));
    assert_int_equal(build(&f, n, 1), 0);
    assert_int_equal(fixture_check(&f), 0);
    assert_int_equal(qv_hnsw_stats(f.h).live, n);
    assert_true(recall_by_rows(&f) > 0.98);
    fixture_close(&f);
}

/* What it refuses leaves the graph empty, for insertions. */
static void what_is_refused_can_be_inserted(void **state)
{
    const uint32_t n = 500;
    struct fixture f;
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        fixture_open(&f,
                     kind == 0   ? QV_METRIC_L1
                     : kind == 1 ? QV_METRIC_DOT
                                 : QV_METRIC_L2,
                     QV_DTYPE_F32, n, 8, SEED);
        for (uint32_t i = 0; kind == 2 && i < n / 2; i++)
            memcpy(f.data + i * f.rows.stride_bytes, f.data, 8 * sizeof(float));
        assert_int_equal(build(&f, n, 1), QV_ENOTIMPL);
        for (uint32_t i = 0; i < n; i++)
            fixture_insert(&f, i, 1);
        (void)fixture_check(&f);
        assert_int_equal(build(&f, n, 1), kind == 0 ? QV_ENOTIMPL : QV_EEXISTS);
        fixture_close(&f);
    }
    struct qv_hnsw_bulk *b;
    struct qv_hnsw_item item = {.slot = n};
    fixture_open(&f, QV_METRIC_L2, QV_DTYPE_F32, n, 8, SEED);
    assert_int_equal(qv_hnsw_bulk_create(f.h, &item, 1, &b), QV_ELIMIT);
    fixture_close(&f);
}

static void a_build_may_be_given_up_anywhere(void **state)
{
    const uint32_t n = 1500;
    struct qv_hnsw_item *items = items_of(n, 1);
    (void)state;
    uint32_t before = 0;
    for (uint32_t stop = 0, done = 0; done == 0; stop += 7) {
        struct fixture f;
        struct qv_hnsw_bulk *b;
        enum qv_hnsw_step step = QV_HNSW_STEP_MORE;
        fixture_open(&f, QV_METRIC_L2, QV_DTYPE_F32, n, 8, SEED);
        assert_int_equal(qv_hnsw_bulk_create(f.h, items, n, &b), 0);
        for (uint32_t i = 0; i < stop && step == QV_HNSW_STEP_MORE; i++)
            assert_int_equal(qv_hnsw_bulk_step(b, f.ctx, &step), 0);
        done = step == QV_HNSW_STEP_DONE;
        const uint32_t so_far = qv_hnsw_bulk_done(b); /* more work, no less is done */
        assert_true(so_far >= before && so_far <= n && (so_far == n) == (done != 0));
        before = so_far;
        qv_hnsw_bulk_destroy(&b);
        if (!done) {
            assert_int_equal(qv_hnsw_stats(f.h).live, 0);
            assert_int_equal(fixture_check(&f), 0);
            for (uint32_t i = 0; i < 50; i++)
                fixture_insert(&f, i, 2);
            assert_int_equal(fixture_check(&f), 0);
        }
        fixture_close(&f);
    }
    qv_mem_free(items);
}

/* Whole: rows that codes hold exactly, so that their order stands already. */
static void rank_and_compare(enum qv_hnsw_coding coding, bool whole)
{
    const uint32_t dim = 24;
    struct qv_hnsw_params p = qv_hnsw_params_default(QV_METRIC_L2, QV_DTYPE_F32, dim);
    struct fixture f;
    double off_codes = 0;
    double off_ranked = 0;
    p.coding = coding;
    open_coded(&f, &p, 1000, SEED);
    for (uint32_t i = 0; whole && i < (f.n + f.queries) * dim; i++)
        ((float *)(void *)f.data)[i] = (float)(qv_hash_mix(i) & 255);
    assert_int_equal(build(&f, f.n, 1), 0);
    for (uint32_t q = 0; q < f.queries; q++) {
        uint8_t code[64];
        uint8_t fine[6];
        float decoded[24];
        struct qv_hnsw_hit hits[20];
        struct qv_hnsw_hit before[20];
        uint32_t n;
        const struct qv_hnsw_query query = {.row = qv_rows_at(&f.rows, f.n + q), .k = 20, .ef = 50};
        assert_int_equal(qv_hnsw_search(f.h, f.ctx, &query, hits, &n), 0);
        memcpy(before, hits, sizeof hits);
        assert_int_equal(qv_hnsw_rank(f.h, f.ctx, query.row, hits, n), 0);
        if (whole)
            assert_memory_equal(before, hits, sizeof hits);
        for (uint32_t i = 0; i < n; i++) {
            const void *row = qv_rows_at(&f.rows, hits[i].slot);
            const qv_dist_f dist = qv_simd_dist(QV_METRIC_L2, QV_DTYPE_F32);
            qv_lvq_encode(QV_DTYPE_F32, row, dim, code);
            qv_lvq_encode_fine(QV_DTYPE_F32, row, dim, code, fine);
            if (coding == QV_HNSW_CODING_LVQ10)
                qv_lvq_decode_fine(code, fine, dim, decoded);
            else
                qv_lvq_decode(code, dim, decoded);
            const float want = dist(query.row, decoded, dim);
            assert_true(fabsf(hits[i].dist - want) <= 1e-5F * want);
            assert_true(i == 0 || hits[i - 1].dist <= hits[i].dist);
            off_ranked += fabsf(hits[i].dist - dist(query.row, row, dim));
            off_codes +=
                fabsf(before[i].dist - dist(query.row, qv_rows_at(&f.rows, before[i].slot), dim));
        }
    }
    /* The query's own error is gone: of two alike, 1 / sqrt(2) stays; of that a fourth with two
     * bits more. */
    if (!whole)
        assert_true(off_ranked < (coding == QV_HNSW_CODING_LVQ10 ? 0.22 : 0.85) * off_codes);
    fixture_close(&f);
}

static void ranking_takes_the_query_as_it_is(void **state)
{
    (void)state;
    rank_and_compare(QV_HNSW_CODING_LVQ8, false);
    rank_and_compare(QV_HNSW_CODING_LVQ8, true);
    rank_and_compare(QV_HNSW_CODING_LVQ10, false);
    rank_and_compare(QV_HNSW_CODING_LVQ10, true);
}

static void expect_refusals(struct fixture *f, qv_slot free_slot, const void *row)
{
    struct qv_hnsw_hit hits[10];
    uint32_t n;
    bool done;
    struct qv_errmsg msg;
    struct qv_pack *pack;
    struct qv_hnsw_bulk *bulk;
    struct qv_effort_trace *trace = qv_effort_trace_create(8, SEED);
    const struct qv_hnsw_item item = {.slot = free_slot};
    const struct qv_hnsw_query query = {
        .row = row, .k = 10, .ef = 50, .bitmap = f->bits, .bitmap_slots = f->n, .by_rows = true};
    const struct qv_pack_params params = qv_pack_choose(f->h, QV_PACK_COMPACT);
    assert_int_equal(qv_hnsw_search(f->h, f->ctx, &query, hits, &n), QV_EINVAL);
    assert_int_equal(n, 0);
    assert_int_equal(qv_hnsw_scan(f->h, f->ctx, &query, hits, &n), QV_EINVAL);
    assert_int_equal(qv_hnsw_insert(f->h, f->ctx, free_slot, 2), QV_EINVAL);
    assert_int_equal(qv_hnsw_slot_state(f->h, free_slot, NULL), QV_HNSW_FREE);
    assert_int_equal(qv_hnsw_bulk_create(f->h, &item, 1, &bulk), QV_EINVAL);
    assert_int_equal(qv_pack_make(f->h, &params, &pack, &msg), QV_EINVAL);
    assert_int_equal(qv_effort_trace_step(trace, f->h, f->ctx, 8, &done), QV_EINVAL);
    qv_effort_trace_destroy(&trace);
}

/* What codes answer they answer without the rows, and nothing else is answered. */
static void a_graph_goes_on_without_rows(void **state)
{
    (void)state;
    const uint32_t dim = 24;
    struct qv_hnsw_params p = qv_hnsw_params_default(QV_METRIC_L2, QV_DTYPE_F32, dim);
    struct fixture f;
    p.coding = QV_HNSW_CODING_LVQ8;
    open_coded(&f, &p, 1000, SEED);
    assert_int_equal(build(&f, f.n, 1), 0);
    const size_t bytes = f.queries * f.rows.stride_bytes;
    uint8_t *queries = qv_mem_alloc(bytes);
    memcpy(queries, qv_rows_at(&f.rows, f.n), bytes);
    struct qv_hnsw_hit before[100][10];
    uint32_t n;
    assert_true(f.queries <= 100);
    for (int round = 0; round < 2; round++) {
        for (uint32_t q = 0; q < f.queries; q++) {
            struct qv_hnsw_hit hits[10];
            const struct qv_hnsw_query query = {
                .row = queries + q * f.rows.stride_bytes, .k = 10, .ef = 50};
            assert_int_equal(qv_hnsw_search(f.h, f.ctx, &query, hits, &n), 0);
            assert_int_equal(n, 10);
            assert_int_equal(qv_hnsw_rank(f.h, f.ctx, query.row, hits, n), 0);
            if (round > 0)
                assert_memory_equal(before[q], hits, sizeof hits);
            memcpy(before[q], hits, sizeof hits);
        }
        if (round == 0)
            assert_int_equal(qv_hnsw_drop_rows(f.h), 0);
        qv_mem_free(f.data); /* whoever reads a row now is seen */
        f.data = NULL;
    }
    fixture_delete(&f, 7);
    assert_int_equal(fixture_check(&f), 0);
    expect_refusals(&f, 7, queries);
    qv_mem_free(queries);
    fixture_close(&f);

    p.coding = QV_HNSW_CODING_ROWS;
    open_coded(&f, &p, 100, SEED);
    assert_int_equal(qv_hnsw_drop_rows(f.h), QV_EINVAL);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_whole_and_found),
        cmocka_unit_test(any_number_of_rows_makes_a_graph),
        cmocka_unit_test(threads_make_the_same_bytes),
        cmocka_unit_test(the_graph_lives_on),
        cmocka_unit_test(equal_rows_are_found_all),
        cmocka_unit_test(odd_rows_come_along),
        cmocka_unit_test(what_is_refused_can_be_inserted),
        cmocka_unit_test(a_build_may_be_given_up_anywhere),
        cmocka_unit_test(ranking_takes_the_query_as_it_is),
        cmocka_unit_test(a_graph_goes_on_without_rows),
    };
    return RUN_SUITE(tests);
}
