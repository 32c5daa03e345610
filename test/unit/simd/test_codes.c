/* Packed codes under a query of 15 bits: what a row keeps, what a query keeps, and every ISA's
 * products against exact sums. */
#include "rows.h"
#include "simd/codes.h"
#include "simd/kernels.h"
#include "suite.h"

#define SEED 1729u
#define DIM_MOST 4096u

static const enum qv_codes_width widths[] = {QV_CODES_4, QV_CODES_8};

static void random_codes(struct qv_rng *rng, enum qv_codes_width width, uint8_t *codes, size_t dim)
{
    const uint64_t most = width == QV_CODES_4 ? 15 : 255;
    const bool extreme = qv_rng_below(rng, 4) == 0;
    for (size_t i = 0; i < dim; ++i)
        codes[i] = (uint8_t)(extreme ? most * qv_rng_below(rng, 2) : qv_rng_below(rng, most + 1));
}

static void rows_come_back(void **state)
{
    static uint8_t codes[DIM_MOST];
    static uint8_t back[DIM_MOST];
    static uint8_t row[DIM_MOST + 1];
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, SEED);
    for (size_t w = 0; w < 2; ++w) {
        FOR_EACH_DIM(dim)
        {
            const size_t bytes = qv_codes_row_bytes(widths[w], dim);
            assert_int_equal(bytes, widths[w] == QV_CODES_8 ? dim : (dim + 1) / 2);
            random_codes(&rng, widths[w], codes, dim);
            row[bytes] = 77;
            qv_codes_pack(widths[w], codes, dim, row);
            assert_int_equal(row[bytes], 77);
            qv_codes_unpack(widths[w], row, dim, back);
            assert_memory_equal(codes, back, dim);
        }
    }
}

/* A query of each kind: one plane, two exact, two rounded. */
static void random_query(struct qv_rng *rng, unsigned kind, float *query, size_t dim)
{
    for (size_t i = 0; i < dim; ++i) {
        if (kind == 0)
            query[i] = (float)qv_rng_below(rng, 256) - 128.0f;
        else if (kind == 1)
            query[i] = (float)qv_rng_below(rng, 32001) - 16000.0f;
        else
            query[i] = random_f32(rng, CONTENT_GAUSS);
    }
}

static void check_products(qv_codes_products_f products, enum qv_codes_width width,
                           const struct qv_codes_query *q, const float *query, size_t dim,
                           const struct qv_codes_rows *rows)
{
    static uint8_t codes[DIM_MOST];
    static const uint32_t slots[] = {2, 0, 1, 2, 2, 1, 0, 0, 1, 2, 0};
    const size_t n = sizeof slots / sizeof slots[0];
    float out[sizeof slots / sizeof slots[0]];
    products(q, rows, slots, n, out);
    for (size_t i = 0; i < n; ++i) {
        double want = 0;
        double size = 0;
        qv_codes_unpack(width, rows->base + slots[i] * rows->stride, dim, codes);
        for (size_t j = 0; j < dim; ++j) {
            want += (double)query[j] * codes[j];
            size += fabs((double)query[j]) * codes[j];
        }
        const double got = (double)out[i] * (double)q->scale;
        double off = 16 * 0x1p-24 * size;
        if (q->scale != 1.0f)
            for (size_t j = 0; j < dim; ++j)
                off += 0.51 * (double)q->scale * codes[j];
        if (!(fabs(got - want) <= off))
            fail_msg("width %d, dim %zu: %.9g, is %.9g, off by at most %.3g (seed %u)", (int)width,
                     dim, got, want, off, SEED);
    }
}

/* Rows of any alignment whose last ends as near to a faulting page as the contract allows. */
static void products_are_right(void **state)
{
    static float query[DIM_MOST];
    static int8_t planes[4 * DIM_MOST + 512];
    static uint8_t codes[DIM_MOST];
    struct qv_rng rng;
    struct guarded g;
    (void)state;
    qv_rng_init(&rng, SEED);
    guarded_init(&g);
    QV_FOR_EACH_ISA(isa)
    {
        for (size_t w = 0; w < 2; ++w) {
            FOR_EACH_DIM(dim)
            {
                const size_t stride = qv_codes_row_bytes(widths[w], dim) + 3;
                const size_t all = 2 * stride + stride - 3 + QV_CODES_BEHIND;
                uint8_t *base = guarded_at_end(&g, all);
                struct qv_codes_query q;
                for (size_t i = 0; i < all; ++i)
                    base[i] = (uint8_t)qv_rng_below(&rng, 256);
                for (size_t i = 0; i < 3; ++i) {
                    random_codes(&rng, widths[w], codes, dim);
                    qv_codes_pack(widths[w], codes, dim, base + i * stride);
                }
                random_query(&rng, (unsigned)(dim + w) % 3, query, dim);
                qv_codes_encode_query(widths[w], query, dim, 0, planes, &q);
                const struct qv_codes_rows rows = {base, stride, stride};
                check_products(qv_codes_products_isa((enum qv_isa)isa, widths[w]), widths[w], &q,
                               query, dim, &rows);
            }
        }
    }
    guarded_close(&g);
}

static void whole_numbers_are_exact(void **state)
{
    static int8_t planes[1024];
    uint8_t row[130 + QV_CODES_BEHIND];
    float query[130];
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, SEED);
    for (int round = 0; round < 300; ++round) {
        struct qv_codes_query q;
        double want = 0;
        double sum = 0;
        float got;
        const uint32_t slot = 0;
        const struct qv_codes_rows rows = {row, sizeof row, 0};
        for (size_t i = 0; i < 130; ++i) {
            query[i] = (float)qv_rng_below(&rng, 401) - (round % 2 == 0 ? 200.0f : 100.0f);
            row[i] = (uint8_t)qv_rng_below(&rng, 256);
            want += (double)query[i] * row[i];
            sum += (double)query[i];
        }
        qv_codes_encode_query(QV_CODES_8, query, 130, 0, planes, &q);
        assert_true(q.scale == 1.0f && (double)q.sum == sum);
        qv_codes_products(QV_CODES_8)(&q, &rows, &slot, 1, &got);
        assert_true((double)got == want);
    }
}

/* Both ways to code a query give the same planes. */
static void queries_are_the_same_on_all_machines(void **state)
{
    static float query[DIM_MOST];
    static int8_t planes[2][4 * DIM_MOST + 512];
    const enum qv_isa was = qv_isa_in_force();
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, SEED);
    FOR_EACH_DIM(dim)
    {
        const enum qv_codes_width width = widths[dim % 2];
        struct qv_codes_query q[2];
        const float shift = (float)(dim % 5) - 2.0f;
        random_query(&rng, (unsigned)(dim / 2) % 3, query, dim);
        for (size_t i = 0; i < dim; ++i)
            query[i] += shift;
        qv_isa_force(QV_ISA_SERIAL);
        qv_codes_encode_query(width, query, dim, shift, planes[0], &q[0]);
        qv_isa_force(was);
        qv_codes_encode_query(width, query, dim, shift, planes[1], &q[1]);
        assert_true((q[0].high == NULL) == (q[1].high == NULL) && q[0].scale == q[1].scale);
        assert_memory_equal(planes[0], planes[1],
                            qv_codes_plane_bytes(width, dim) * (q[0].high == NULL ? 1 : 2));
        assert_true(fabsf(q[0].sum - q[1].sum) <= 1e-5f * q[0].scale * 16000 * (float)dim);
        assert_true(fabsf(q[0].squares - q[1].squares) <= 1e-4f * q[0].squares);
    }
}

static void nothing_is_something(void **state)
{
    int8_t planes[256];
    const float tiny[3] = {1e-44f, -1e-45f, 0.0f};
    const float zero[3] = {0.0f, -0.0f, 0.0f};
    struct qv_codes_query q;
    (void)state;
    qv_codes_encode_query(QV_CODES_4, tiny, 3, 0, planes, &q);
    assert_true(isfinite(q.sum) && q.steps == 1);
    qv_codes_encode_query(QV_CODES_8, zero, 3, 0, planes, &q);
    assert_true(q.high == NULL && q.sum == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back),
        cmocka_unit_test(products_are_right),
        cmocka_unit_test(whole_numbers_are_exact),
        cmocka_unit_test(queries_are_the_same_on_all_machines),
        cmocka_unit_test(nothing_is_something),
    };
    printf("best: %s, seed %u\n", qv_simd_isa_name(qv_simd_isa_best()), SEED);
    return RUN_SUITE(tests);
}
