/* Every half widens to its value and comes back; halves are rounded to the nearest even. */
#include "suite.h"

#include "base/half.h"

#include <math.h>

static float float_of(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint32_t bits_of(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

/* The value of a finite half, from the definition of the format. */
static double half_value(uint16_t h)
{
    const int exponent = h >> 10 & 31;
    const double mantissa = h & 1023;
    const double magnitude =
        exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25);
    return (h & 0x8000) != 0 ? -magnitude : magnitude;
}

static void every_half_widens_exactly(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; ++h) {
        const float got = qv_half_to_f32((uint16_t)h);
        if ((h & 0x7FFF) > 0x7C00) { /* quiet, payload kept */
            assert_int_equal(bits_of(got), (h & 0x8000) << 16 | 0x7FC00000u | (h & 0x3FF) << 13);
        } else if ((h & 0x7FFF) == 0x7C00) {
            assert_true(isinf(got) && (got < 0) == (h >= 0x8000));
        } else {
            assert_true((double)got == half_value((uint16_t)h));
            assert_int_equal(bits_of(got) >> 31, h >> 15);
            assert_int_equal(qv_half_from_f32(got), h);
        }
    }
}

/* Between neighbours: the middle goes to the even one, everything else to the nearer. */
static void rounding_is_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7BFF; ++h) {
        const float low = qv_half_to_f32((uint16_t)h);
        const float high = qv_half_to_f32((uint16_t)(h + 1));
        const float middle = (low + high) / 2; /* exact in float */
        const uint32_t even = h % 2 == 0 ? h : h + 1;
        assert_int_equal(qv_half_from_f32(middle), even);
        assert_int_equal(qv_half_from_f32(-middle), even | 0x8000);
        assert_int_equal(qv_half_from_f32(nextafterf(middle, 0)), h);
        assert_int_equal(qv_half_from_f32(nextafterf(middle, INFINITY)), h + 1);
    }
    assert_int_equal(qv_half_from_f32(65519.996f), 0x7BFF);
    assert_int_equal(qv_half_from_f32(65520.0f), 0x7C00);
    assert_int_equal(qv_half_from_f32(3e38f), 0x7C00);
    assert_int_equal(qv_half_from_f32(-INFINITY), 0xFC00);
    assert_int_equal(qv_half_from_f32(0x1p-25f), 0);
    assert_int_equal(qv_half_from_f32(0x1.000002p-25f), 1);
    assert_int_equal(qv_half_from_f32(float_of(1)), 0);
    assert_int_equal(qv_half_from_f32(-0.0f), 0x8000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_widens_exactly),
        cmocka_unit_test(rounding_is_to_nearest_even),
    };
    return RUN_SUITE(tests);
}
