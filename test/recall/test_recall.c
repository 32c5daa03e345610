/* Recall@10 on real vectors (Debian's dataset-fashion-mnist, the first 20,000 of them) has a floor
 * for every way a graph comes to be: built by one thread, by two, from all rows at once, over
 * codes, by each metric that has angles; after a fifth of it was removed and repaired, after its
 * slots were used again, after a save and a load. Exact search is the reference; a hit is a
 * returned row that is no farther than the true tenth. */
#include "suite.h"

#include "base/buf.h"
#include "base/mem.h"
#include "index/flat.h"
#include "index/hnsw.h"
#include "simd/convert.h"

#include <math.h>
#include <pthread.h>
#include <string.h>
#include <zlib.h>

#define ROWS 20000u
#define QUERIES 500u
#define DIM 784u
#define K 10u
#define FOLDER "/usr/share/datasets/fashion-mnist/"

static float *base, *queries;
static enum qv_metric metric = QV_METRIC_L2;
static float exact[QUERIES]; /* distance of the true tenth, among live rows */

static float *read_images(const char *path, uint32_t n)
{
    uint8_t *bytes = qv_mem_alloc((size_t)n * DIM);
    float *out = qv_mem_alloc((size_t)n * DIM * sizeof *out);
    uint8_t head[16];
    gzFile f = gzopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(gzread(f, head, sizeof head), sizeof head);
    assert_int_equal(gzread(f, bytes, n * DIM), (int)(n * DIM));
    gzclose(f);
    for (size_t i = 0; i < (size_t)n * DIM; i++)
        out[i] = (float)bytes[i];
    qv_mem_free(bytes);
    return out;
}

static struct qv_rows rows_view(void)
{
    return (struct qv_rows){.base = (const uint8_t *)base, .stride_bytes = DIM * sizeof(float)};
}

static void find_exact(const uint64_t *live)
{
    struct qv_flat flat = {.rows = rows_view(),
                           .metric = metric,
                           .dtype = QV_DTYPE_F32,
                           .dim = DIM,
                           .end = ROWS,
                           .bits = live};
    for (uint32_t q = 0; q < QUERIES; q++) {
        struct qv_topk_hit hits[K];
        uint32_t n;
        assert_int_equal(qv_flat_search(&flat, queries + (size_t)q * DIM, K, hits, &n), 0);
        assert_int_equal(n, K);
        exact[q] = hits[K - 1].dist;
    }
}

static double recall(const struct qv_hnsw *h, uint32_t ef)
{
    struct qv_hnsw_ctx *ctx = qv_hnsw_ctx_create();
    uint32_t good = 0;
    for (uint32_t q = 0; q < QUERIES; q++) {
        struct qv_hnsw_query query = {.row = queries + (size_t)q * DIM, .k = K, .ef = ef};
        query.by_rows = true;
        struct qv_hnsw_hit hits[K];
        uint32_t n;
        assert_int_equal(qv_hnsw_search(h, ctx, &query, hits, &n), 0);
        for (uint32_t i = 0; i < n; i++)
            good +=
                hits[i].dist <= exact[q] + fabsf(exact[q]) * 1e-6f; /* kernels round differently */
    }
    qv_hnsw_ctx_destroy(&ctx);
    return (double)good / (QUERIES * K);
}

static void expect_floors(const struct qv_hnsw *h, const char *when)
{
    static const struct {
        uint32_t ef;
        double floor;
    } floors[] = {{16, 0.95}, {50, 0.985}, {100, 0.99}};
    for (size_t i = 0; i < sizeof floors / sizeof floors[0]; i++) {
        double got = recall(h, floors[i].ef);
        printf("%s, ef %u: recall@10 %.4f, floor %.3f\n", when, floors[i].ef, got, floors[i].floor);
        assert_true(got >= floors[i].floor);
    }
}

struct builder {
    struct qv_hnsw *h;
    uint32_t first, step;
};

static void *insert_some(void *arg)
{
    const struct builder *b = arg;
    struct qv_hnsw_ctx *ctx = qv_hnsw_ctx_create();
    for (uint32_t slot = b->first; slot < ROWS; slot += b->step) {
        if (qv_hnsw_insert(b->h, ctx, slot, 1) != 0)
            break;
    }
    qv_hnsw_ctx_destroy(&ctx);
    return NULL;
}

static struct qv_hnsw *build(uint32_t threads)
{
    struct qv_hnsw_params params = qv_hnsw_params_default(metric, QV_DTYPE_F32, DIM);
    struct qv_rows rows = rows_view();
    struct qv_hnsw *h;
    pthread_t thread[2];
    struct builder b[2];
    params.max_slots = ROWS;
    assert_int_equal(qv_hnsw_create(&params, &rows, &h, NULL), 0);
    for (uint32_t i = 0; i < threads; i++) {
        b[i] = (struct builder){.h = h, .first = i, .step = threads};
        assert_int_equal(pthread_create(&thread[i], NULL, insert_some, &b[i]), 0);
    }
    for (uint32_t i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(qv_hnsw_stats(h).live, ROWS);
    return h;
}

static void test_built_by_one_thread(void **state)
{
    (void)state;
    struct qv_hnsw *h = build(1);
    find_exact(NULL);
    expect_floors(h, "one thread");
    qv_hnsw_destroy(&h);
}

static void remove_fifth(struct qv_hnsw *h, uint64_t *live)
{
    struct qv_hnsw_ctx *ctx = qv_hnsw_ctx_create();
    memset(live, 0xFF, ROWS / 64 * 8 + 8);
    for (uint32_t slot = 3; slot < ROWS; slot += 5) {
        assert_int_equal(qv_hnsw_remove(h, slot), 0);
        live[slot / 64] &= ~(1ull << (slot & 63));
    }
    for (uint32_t slot = 3; slot < ROWS; slot += 5)
        assert_int_equal(qv_hnsw_repair(h, ctx, slot), 0);
    qv_hnsw_ctx_destroy(&ctx);
}

static void use_again(struct qv_hnsw *h)
{
    struct qv_hnsw_ctx *ctx = qv_hnsw_ctx_create();
    for (uint32_t slot = 3; slot < ROWS; slot += 5) {
        assert_int_equal(qv_hnsw_release(h, slot), 0);
        assert_int_equal(qv_hnsw_insert(h, ctx, slot, 2), 0);
    }
    qv_hnsw_ctx_destroy(&ctx);
}

static int append(void *arg, const void *bytes, size_t n)
{
    qv_buf_append(arg, bytes, n);
    return 0;
}

static int take(void *arg, void *bytes, size_t n, size_t *got)
{
    struct qv_rd *rd = arg;
    *got = qv_rd_left(rd) < n ? qv_rd_left(rd) : n;
    memcpy(bytes, qv_rd_take(rd, *got), *got);
    return 0;
}

static struct qv_hnsw *saved_and_loaded(struct qv_hnsw *h)
{
    struct qv_hnsw_params params = qv_hnsw_params_default(metric, QV_DTYPE_F32, DIM);
    struct qv_rows rows = rows_view();
    struct qv_hnsw *out;
    struct qv_buf file;
    struct qv_rd rd;
    params.max_slots = ROWS;
    qv_buf_init(&file, 0);
    assert_int_equal(qv_hnsw_save(h, append, &file), 0);
    qv_rd_init(&rd, file.data, file.len);
    struct qv_hnsw_source source = {.read = take, .read_arg = &rd};
    assert_int_equal(qv_hnsw_load(&params, &rows, &source, &out, NULL, NULL), 0);
    qv_buf_close(&file);
    return out;
}

static void test_built_by_two_and_changed(void **state)
{
    (void)state;
    static uint64_t live[ROWS / 64 + 1];
    struct qv_hnsw *h = build(2);
    find_exact(NULL);
    expect_floors(h, "two threads");
    remove_fifth(h, live);
    find_exact(live);
    expect_floors(h, "a fifth removed");
    use_again(h);
    find_exact(NULL);
    expect_floors(h, "slots used again");
    struct qv_hnsw *loaded = saved_and_loaded(h);
    qv_hnsw_destroy(&h);
    expect_floors(loaded, "saved and loaded");
    qv_hnsw_destroy(&loaded);
}

static struct qv_hnsw *build_at_once(enum qv_hnsw_coding coding)
{
    struct qv_hnsw_params params = qv_hnsw_params_default(metric, QV_DTYPE_F32, DIM);
    struct qv_rows rows = rows_view();
    struct qv_hnsw_ctx *ctx = qv_hnsw_ctx_create();
    struct qv_hnsw_item *items = qv_mem_alloc(ROWS * sizeof *items);
    enum qv_hnsw_step step = QV_HNSW_STEP_MORE;
    struct qv_hnsw_bulk *bulk;
    struct qv_hnsw *h;
    params.max_slots = ROWS;
    params.coding = coding;
    for (uint32_t i = 0; i < ROWS; i++)
        items[i] = (struct qv_hnsw_item){.slot = i, .generation = 1};
    assert_int_equal(qv_hnsw_create(&params, &rows, &h, NULL), 0);
    assert_int_equal(qv_hnsw_bulk_create(h, items, ROWS, &bulk), 0);
    while (step == QV_HNSW_STEP_MORE)
        assert_int_equal(qv_hnsw_bulk_step(bulk, ctx, &step), 0);
    qv_hnsw_bulk_destroy(&bulk);
    qv_hnsw_ctx_destroy(&ctx);
    qv_mem_free(items);
    assert_int_equal(qv_hnsw_stats(h).live, ROWS);
    return h;
}

static void test_built_at_once_and_changed(void **state)
{
    (void)state;
    static uint64_t live[ROWS / 64 + 1];
    struct qv_hnsw *h = build_at_once(QV_HNSW_CODING_LVQ8);
    find_exact(NULL);
    expect_floors(h, "at once, codes");
    remove_fifth(h, live);
    find_exact(live);
    expect_floors(h, "at once, a fifth removed");
    use_again(h);
    find_exact(NULL);
    expect_floors(h, "at once, slots used again");
    struct qv_hnsw *loaded = saved_and_loaded(h);
    qv_hnsw_destroy(&h);
    expect_floors(loaded, "at once, saved and loaded");
    qv_hnsw_destroy(&loaded);
    h = build_at_once(QV_HNSW_CODING_ROWS);
    expect_floors(h, "at once, rows");
    qv_hnsw_destroy(&h);
}

static void test_built_at_once_by_angles(void **state)
{
    (void)state;
    metric = QV_METRIC_COSINE;
    struct qv_hnsw *h = build_at_once(QV_HNSW_CODING_LVQ8);
    find_exact(NULL);
    expect_floors(h, "at once, cosine");
    qv_hnsw_destroy(&h);
    for (uint32_t i = 0; i < ROWS; i++)
        qv_simd_normalise_f32(base + (size_t)i * DIM, DIM);
    metric = QV_METRIC_DOT;
    h = build_at_once(QV_HNSW_CODING_LVQ8);
    find_exact(NULL);
    expect_floors(h, "at once, dot");
    qv_hnsw_destroy(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_built_by_one_thread), cmocka_unit_test(test_built_by_two_and_changed),
        cmocka_unit_test(test_built_at_once_and_changed),
        cmocka_unit_test(test_built_at_once_by_angles), /* leaves base of length 1 */
    };
    base = read_images(FOLDER "train-images-idx3-ubyte.gz", ROWS);
    queries = read_images(FOLDER "t10k-images-idx3-ubyte.gz", QUERIES);
    int result = RUN_SUITE(tests);
    qv_mem_free(base);
    qv_mem_free(queries);
    return result;
}
