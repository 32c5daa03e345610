/* LVQ codes: what they keep, and kernels against the decoded rows. */
#include "rows.h"
#include "simd/lvq.h"
#include "suite.h"

#define SEED 8128u

static const enum qv_metric metrics[] = {QV_METRIC_L2, QV_METRIC_DOT, QV_METRIC_COSINE};

/* What is off by half a step at most is off by an eighth with two bits more, and a rounding of
 * floats. */
static void codes_are_near(void **state)
{
    static uint8_t row[4 * 4096];
    static uint8_t code[4096 + 64];
    static uint8_t fine[1024 + 1];
    static float decoded[4096];
    static float finer[4096];
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, SEED);
    for (int dtype = 0; dtype < QV_DTYPE_COUNT; ++dtype) {
        FOR_EACH_DIM(dim)
        {
            fill_row(&rng, (enum qv_dtype)dtype, (enum content)qv_rng_below(&rng, 3), row, dim);
            qv_lvq_encode((enum qv_dtype)dtype, row, dim, code);
            qv_lvq_decode(code, dim, decoded);
            fine[qv_lvq_fine_bytes(dim)] = 0xA5;
            qv_lvq_encode_fine((enum qv_dtype)dtype, row, dim, code, fine);
            qv_lvq_decode_fine(code, fine, dim, finer);
            assert_int_equal(fine[qv_lvq_fine_bytes(dim)], 0xA5);
            double low = INFINITY;
            double high = -INFINITY;
            for (size_t i = 0; i < dim; ++i) {
                const double x = element((enum qv_dtype)dtype, row, i);
                low = x < low ? x : low; /* fmin twice in a loop breaks gcc 12 for ARM */
                high = x > high ? x : high;
            }
            const double step = (high - low) / 255;
            for (size_t i = 0; i < dim; ++i) {
                const double off = fabs(decoded[i] - element((enum qv_dtype)dtype, row, i));
                const double rest = fabs(finer[i] - element((enum qv_dtype)dtype, row, i));
                const double rounding = fmax(fabs(low), fabs(high)) * 0x1p-22;
                assert_true(off <= step * 0.501 + rounding);
                assert_true(rest <= step * 0.1255 + rounding);
                assert_true(dtype != QV_DTYPE_U8 || (off == 0 && rest == 0));
            }
        }
    }
}

static void whole_numbers_are_kept(void **state)
{
    static const uint8_t untouched[25];
    uint8_t code[256];
    float row[100];
    float decoded[100];
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, SEED);
    for (int round = 0; round < 200; ++round) {
        const float origin = (float)(int64_t)qv_rng_below(&rng, 2000) - 1000.0f;
        for (size_t i = 0; i < 100; ++i)
            row[i] = origin + (float)qv_rng_below(&rng, 256);
        qv_lvq_encode(QV_DTYPE_F32, row, 100, code);
        qv_lvq_decode(code, 100, decoded);
        assert_memory_equal(row, decoded, sizeof row);
        qv_lvq_decode_fine(code, untouched, 100, decoded);
        assert_memory_equal(row, decoded, sizeof row);
    }
}

static void odd_rows_have_codes(void **state)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, 3.4e38f, -3.4e38f, 1e-45f, 0.0f};
    uint8_t code[256];
    uint8_t fine[9];
    float row[33];
    float decoded[33];
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, SEED);
    for (int round = 0; round < 500; ++round) {
        for (size_t i = 0; i < 33; ++i)
            row[i] = qv_rng_below(&rng, 3) == 0 ? odd[qv_rng_below(&rng, 7)] : 0.5f;
        qv_lvq_encode(QV_DTYPE_F32, row, 33, code);
        qv_lvq_decode(code, 33, decoded);
        for (size_t i = 0; i < 33; ++i)
            assert_true(isfinite(decoded[i]));
        qv_lvq_encode_fine(QV_DTYPE_F32, row, 33, code, fine);
        qv_lvq_decode_fine(code, fine, 33, decoded);
        for (size_t i = 0; i < 33; ++i)
            assert_true(isfinite(decoded[i]));
    }
}

/* Every ISA's kernels, single and batched, against the double distance of the decoded rows, with
 * rows against faulting pages. */
static void kernels_agree_with_what_is_decoded(void **state)
{
    static float x[4096];
    static float y[4096];
    static uint8_t row[4 * 4096];
    struct qv_rng rng;
    struct guarded ga;
    struct guarded gb;
    (void)state;
    qv_rng_init(&rng, SEED);
    guarded_init(&ga);
    guarded_init(&gb);
    QV_FOR_EACH_ISA(isa)
    {
        FOR_EACH_DIM(dim)
        {
            const size_t bytes = qv_lvq_row_bytes(dim);
            uint8_t *a = guarded_at_end(&ga, bytes);
            uint8_t *b = guarded_at_end(&gb, bytes);
            fill_row(&rng, QV_DTYPE_F32, CONTENT_GAUSS, row, dim);
            qv_lvq_encode(QV_DTYPE_F32, row, dim, a);
            fill_row(&rng, QV_DTYPE_F32, CONTENT_SPARSE, row, dim);
            qv_lvq_encode(QV_DTYPE_F32, row, dim, b);
            qv_lvq_decode(a, dim, x);
            qv_lvq_decode(b, dim, y);
            for (size_t m = 0; m < 3; ++m) {
                const struct reference want =
                    reference_dist(metrics[m], QV_DTYPE_F32, (uint8_t *)x, (uint8_t *)y, dim);
                const float got = qv_lvq_dist_isa((enum qv_isa)isa, metrics[m])(a, b, dim);
                const uint32_t slot = 0;
                float batched;
                qv_lvq_dist_batch_isa((enum qv_isa)isa, metrics[m])(a, b, bytes, &slot, 1, dim,
                                                                    &batched);
                assert_int_equal(bits_of(got), bits_of(batched));
                const double scale = metrics[m] == QV_METRIC_COSINE ? 60 : 60 * (double)(dim + 4);
                if (!(fabs(got - want.distance) <= scale * 0x1p-22))
                    fail_msg("%s %s dim %zu: %.9g, decoded %.9g (seed %u)",
                             metric_names[metrics[m]], qv_simd_isa_name((enum qv_isa)isa), dim, got,
                             want.distance, SEED);
            }
        }
    }
    guarded_close(&ga);
    guarded_close(&gb);
}

/* One element after the other gives the same bytes as all at once, on every ISA: rows of f16 and u8
 * are coded so, and the same numbers as f32 otherwise. */
static void every_isa_codes_alike(void **state)
{
    static uint8_t narrow[2 * 4096];
    static float wide[4096];
    static uint8_t want[4096 + 64];
    static uint8_t got[4096 + 64];
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, SEED);
    for (int round = 0; round < 4; ++round) {
        const enum qv_dtype dtype = round % 2 == 0 ? QV_DTYPE_F16 : QV_DTYPE_U8;
        FOR_EACH_DIM(dim)
        {
            fill_row(&rng, dtype, (enum content)qv_rng_below(&rng, 3), narrow, dim);
            for (size_t i = 0; i < dim; ++i)
                wide[i] = (float)element(dtype, narrow, i);
            qv_lvq_encode(dtype, narrow, dim, want);
            QV_FOR_EACH_ISA(isa)
            {
                if (qv_simd_select(qv_simd_isa_name((enum qv_isa)isa), NULL) != 0)
                    continue;
                memset(got, 0xA5, sizeof got);
                qv_lvq_encode(QV_DTYPE_F32, wide, dim, got);
                assert_memory_equal(got, want, qv_lvq_row_bytes(dim));
                assert_int_equal(got[qv_lvq_row_bytes(dim)], 0xA5);
            }
        }
    }
    assert_int_equal(qv_simd_select(NULL, NULL), 0);
}

static void manhattan_has_no_kernel(void **state)
{
    (void)state;
    assert_null(qv_lvq_dist(QV_METRIC_L1));
    assert_null(qv_lvq_dist_batch(QV_METRIC_L1));
    assert_non_null(qv_lvq_dist(QV_METRIC_L2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_near),
        cmocka_unit_test(whole_numbers_are_kept),
        cmocka_unit_test(odd_rows_have_codes),
        cmocka_unit_test(kernels_agree_with_what_is_decoded),
        cmocka_unit_test(every_isa_codes_alike),
        cmocka_unit_test(manhattan_has_no_kernel),
    };
    printf("best: %s, seed %u\n", qv_simd_isa_name(qv_simd_isa_best()), SEED);
    return RUN_SUITE(tests);
}
