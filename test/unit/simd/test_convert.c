/* Conversions and normalisation, exhaustively where 16 bits allow it. */
#include "rows.h"
#include "simd/kernels.h"
#include "suite.h"

#include <stdlib.h>

#define SEED 31337u

static float float_of(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

enum { ROW = 1003 };

/* The hardware's conversions and the plain C agree on any bit pattern, NaNs included. */
static void wide_conversions_are_the_plain_ones(void **state)
{
    struct qv_rng rng;
    static float f[ROW];
    static float wide_f[ROW + 1];
    static uint16_t h[ROW];
    static uint16_t wide_h[ROW + 1];
    (void)state;
    qv_rng_init(&rng, SEED);
    QV_FOR_EACH_ISA(isa)
    {
        assert_int_equal(qv_simd_select(qv_simd_isa_name((enum qv_isa)isa), NULL), QV_OK);
        for (int round = 0; round < 400; ++round) {
            const size_t dim = (size_t)qv_rng_below(&rng, ROW + 1);
            for (size_t i = 0; i < dim; ++i) {
                uint32_t bits = (uint32_t)qv_rng_u64(&rng);
                if (round % 2 == 0) /* near the range of halves */
                    bits = (bits & 0x807FFFFFu) | (uint32_t)(100 + qv_rng_below(&rng, 45)) << 23;
                f[i] = float_of(bits);
                h[i] = (uint16_t)qv_rng_u64(&rng);
            }
            wide_h[dim] = 0x1234;
            wide_f[dim] = 1234.0f;
            qv_simd_f32_to_f16(f, wide_h, dim);
            qv_simd_f16_to_f32(h, wide_f, dim);
            for (size_t i = 0; i < dim; ++i) {
                assert_int_equal(wide_h[i], qv_half_from_f32(f[i]));
                assert_int_equal(bits_of(wide_f[i]), bits_of(qv_half_to_f32(h[i])));
            }
            assert_int_equal(wide_h[dim], 0x1234);
            assert_true(wide_f[dim] == 1234.0f);
        }
    }
    assert_int_equal(qv_simd_select(NULL, NULL), QV_OK);
}

static void bytes_are_cut_and_clamped(void **state)
{
    static const struct {
        float in;
        uint8_t out;
    } cases[] = {{0, 0},        {-0.0f, 0},  {0.99f, 0},      {1, 1},         {1.5f, 1},
                 {254.9f, 254}, {255, 255},  {255.5f, 255},   {256, 255},     {1e30f, 255},
                 {-1, 0},       {-1e30f, 0}, {INFINITY, 255}, {-INFINITY, 0}, {NAN, 0},
                 {-0.5f, 0},    {1e-40f, 0}, {127.999f, 127}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        uint8_t out = 77;
        qv_simd_f32_to_u8(&cases[i].in, &out, 1);
        assert_int_equal(out, cases[i].out);
    }
    for (uint32_t b = 0; b < 256; ++b) {
        const uint8_t in = (uint8_t)b;
        uint8_t back;
        float f;
        qv_simd_u8_to_f32(&in, &f, 1);
        assert_true(f == (float)b);
        qv_simd_from_f32(QV_DTYPE_U8, &f, &back, 1);
        assert_int_equal(back, b);
    }
}

static void dtypes_go_to_their_conversion(void **state)
{
    const float in[3] = {1.25f, -3.7f, 300.0f};
    float back[3];
    uint8_t row[12];
    (void)state;
    qv_simd_from_f32(QV_DTYPE_F32, in, row, 3);
    qv_simd_to_f32(QV_DTYPE_F32, row, back, 3);
    assert_memory_equal(in, back, sizeof in);
    qv_simd_from_f32(QV_DTYPE_F16, in, row, 3);
    qv_simd_to_f32(QV_DTYPE_F16, row, back, 3);
    assert_true(back[0] == 1.25f && back[1] == -3.69921875f && back[2] == 300.0f);
    qv_simd_from_f32(QV_DTYPE_U8, in, row, 3);
    qv_simd_to_f32(QV_DTYPE_U8, row, back, 3);
    assert_true(back[0] == 1.0f && back[1] == 0.0f && back[2] == 255.0f);
}

/* Against a transcription in which every step is stored: no compiler may sum in another order. */
static void normalised_rows_have_unit_length(void **state)
{
    struct qv_rng rng;
    float row[300];
    float again[300];
    (void)state;
    qv_rng_init(&rng, SEED);
    for (int round = 0; round < 3000; ++round) {
        const size_t dim = 1 + (size_t)qv_rng_below(&rng, 300);
        const int scale = (int)qv_rng_below(&rng, 250) - 140; /* into the denormals */
        volatile double squares = 0;
        float before[300];
        for (size_t i = 0; i < dim; ++i) {
            before[i] = row[i] = ldexpf(qv_rng_gauss(&rng), scale);
            const volatile double square = (double)row[i] * (double)row[i];
            squares = squares + square;
        }
        qv_simd_normalise_f32(row, dim);
        if (squares == 0 || fabs(squares - 1) <= 1e-6) {
            assert_memory_equal(row, before, dim * sizeof row[0]);
            continue;
        }
        const volatile double length = sqrt(squares);
        double sum = 0;
        for (size_t i = 0; i < dim; ++i) {
            const volatile double quotient = (double)before[i] / length;
            assert_int_equal(bits_of(row[i]), bits_of((float)quotient));
            sum += (double)row[i] * (double)row[i];
        }
        assert_true(fabs(sum - 1) <= 1e-6);
        memcpy(again, row, sizeof row);
        qv_simd_normalise_f32(again, dim);
        assert_memory_equal(again, row, dim * sizeof row[0]);
    }
}

static void rows_without_direction_stay(void **state)
{
    const float cases[][3] = {{0, 0, 0}, {-0.0f, 0, 0}, {NAN, 1, 2}, {1, INFINITY, 2}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        float row[3];
        memcpy(row, cases[i], sizeof row);
        qv_simd_normalise_f32(row, 3);
        assert_memory_equal(row, cases[i], sizeof row);
    }
    float near_unit[2] = {1.0f + 0x1p-22f, 0}; /* squared length 1 + 4.8e-7: is one already */
    qv_simd_normalise_f32(near_unit, 2);
    assert_true(near_unit[0] == 1.0f + 0x1p-22f);
    float not_unit[2] = {1.0f + 0x1p-19f, 0};
    qv_simd_normalise_f32(not_unit, 2);
    assert_true(not_unit[0] == 1.0f);
    float huge[2] = {3e38f, 3e38f};
    qv_simd_normalise_f32(huge, 2);
    assert_true(fabsf(huge[0] - 0.70710678f) < 1e-7f && huge[0] == huge[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wide_conversions_are_the_plain_ones),
        cmocka_unit_test(bytes_are_cut_and_clamped),
        cmocka_unit_test(dtypes_go_to_their_conversion),
        cmocka_unit_test(normalised_rows_have_unit_length),
        cmocka_unit_test(rows_without_direction_stay),
    };
    printf("seed %u\n", SEED);
    return RUN_SUITE(tests);
}
