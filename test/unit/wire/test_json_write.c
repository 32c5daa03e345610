#include "suite.h"

#include "base/rng.h"
#include "wire/json_scan.h"
#include "wire/json_write.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void check_f64(double v)
{
    char text[QV_JSON_NUMBER_MAX + 1];
    size_t n = qv_json_format_f64(v, text);
    assert_true(n <= QV_JSON_NUMBER_MAX);
    text[n] = '\0';
    double back = strtod(text, NULL);
    if (memcmp(&back, &v, sizeof v) != 0)
        fail_msg("%.17g printed as %s", v, text);
}

static void check_f32(float v)
{
    char text[QV_JSON_NUMBER_MAX + 1];
    size_t n = qv_json_format_f32(v, text);
    assert_true(n <= QV_JSON_NUMBER_MAX);
    text[n] = '\0';
    float back = strtof(text, NULL);
    if (memcmp(&back, &v, sizeof v) != 0)
        fail_msg("%.9g printed as %s", (double)v, text);
}

/* Significant digits of a decimal text. */
static int digits_of(const char *text)
{
    int n = 0;
    int zeros = 0;
    for (; *text != '\0' && *text != 'e'; text++) {
        if (*text < '0' || *text > '9' || (n == 0 && *text == '0'))
            continue;
        if (*text == '0') {
            zeros++;
        } else {
            n += zeros + 1;
            zeros = 0;
        }
    }
    return n;
}

static void test_doubles_round_trip(void **state)
{
    (void)state;
    struct qv_rng rng;
    qv_rng_init(&rng, 11);
    printf("seed 11\n");
    for (uint64_t exponent = 0; exponent < 2047; exponent++) {
        for (int i = 0; i < 200; i++) {
            uint64_t fraction = qv_rng_u64(&rng) >> 12;
            if (i < 4)
                fraction = i == 0 ? 0 : i == 1 ? 1 : i == 2 ? ~0ull >> 12 : ~0ull >> 13;
            uint64_t bits = exponent << 52 | fraction;
            double v;
            memcpy(&v, &bits, sizeof v);
            check_f64(i % 2 != 0 ? v : -v);
        }
    }
}

static void test_floats_round_trip(void **state)
{
    (void)state;
    struct qv_rng rng;
    qv_rng_init(&rng, 12);
    printf("seed 12\n");
    for (uint32_t exponent = 0; exponent < 255; exponent++) {
        for (int i = 0; i < 2000; i++) {
            uint32_t fraction = (uint32_t)(qv_rng_u64(&rng) >> 41);
            if (i < 4)
                fraction = i == 0 ? 0 : i == 1 ? 1 : i == 2 ? 0x7FFFFF : 0x3FFFFF;
            uint32_t bits = exponent << 23 | fraction;
            float v;
            memcpy(&v, &bits, sizeof v);
            check_f32(i % 2 != 0 ? v : -v);
        }
    }
}

/* No decimal of fewer digits reads back: the C library's, digit by digit, is the reference. */
static void test_digits_are_fewest(void **state)
{
    (void)state;
    struct qv_rng rng;
    char text[64];
    qv_rng_init(&rng, 13);
    for (int i = 0; i < 50000; i++) {
        uint64_t bits = qv_rng_u64(&rng);
        uint32_t bits32 = (uint32_t)(bits >> 7);
        double v;
        float f;
        int want = 1;
        memcpy(&v, &bits, sizeof v);
        memcpy(&f, &bits32, sizeof f);
        if (isfinite(v)) {
            do {
                snprintf(text, sizeof text, "%.*e", want - 1, v);
            } while (strtod(text, NULL) != v && ++want < 18);
            text[qv_json_format_f64(v, text)] = '\0';
            assert_true(digits_of(text) <= want);
        }
        if (isfinite(f)) {
            want = 1;
            do {
                snprintf(text, sizeof text, "%.*e", want - 1, (double)f);
            } while (strtof(text, NULL) != f && ++want < 10);
            text[qv_json_format_f32(f, text)] = '\0';
            assert_true(digits_of(text) <= want);
        }
    }
}

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *f64;
        const char *f32; /* NULL: not a float */
    } t[] = {
        {0.0, "0.0", "0.0"},
        {-0.0, "-0.0", "-0.0"},
        {1.0, "1.0", "1.0"},
        {-1.5, "-1.5", "-1.5"},
        {100.0, "100.0", "100.0"},
        {120.25, "120.25", "120.25"},
        {0.0009765625, "0.0009765625", "0.0009765625"},
        {0.00001, "0.00001", NULL},
        {0.000001, "1e-6", NULL},
        {1e15, "1000000000000000.0", NULL},
        {1e16, "1e16", NULL},
        {123456789012345680.0, "1.2345678901234568e17", NULL},
        {5e-324, "5e-324", NULL},
        {1.7976931348623157e308, "1.7976931348623157e308", NULL},
        {16777216.0, "16777216.0", "16777216.0"},
    };
    char text[QV_JSON_NUMBER_MAX + 1];
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        text[qv_json_format_f64(t[i].v, text)] = '\0';
        assert_string_equal(text, t[i].f64);
        if (t[i].f32 != NULL) {
            text[qv_json_format_f32((float)t[i].v, text)] = '\0';
            assert_string_equal(text, t[i].f32);
        }
    }
    text[qv_json_format_f32(0.1f, text)] = '\0';
    assert_string_equal(text, "0.1");
    text[qv_json_format_f32(3.4028235e38f, text)] = '\0';
    assert_string_equal(text, "3.4028235e38");
    text[qv_json_format_f32(1e-45f, text)] = '\0';
    assert_string_equal(text, "1e-45");
}

static void test_strings_come_back(void **state)
{
    (void)state;
    struct qv_rng rng;
    struct qv_buf b;
    qv_rng_init(&rng, 14);
    qv_buf_init(&b, 0);
    for (int i = 0; i < 20000; i++) {
        char s[40];
        size_t n = (size_t)qv_rng_below(&rng, sizeof s);
        for (size_t k = 0; k < n; k++)
            s[k] = (char)qv_rng_below(&rng, 128);
        qv_buf_clear(&b);
        qv_json_write_str(&b, (struct qv_str){s, n});
        struct qv_arena arena;
        struct qv_json j;
        struct qv_errmsg msg;
        qv_arena_init(&arena, 4096);
        qv_json_init(&j, (struct qv_bytes){b.data, b.len}, &arena, &msg);
        struct qv_str back = qv_json_string(&j);
        assert_int_equal(qv_json_finish(&j), 0);
        assert_int_equal(back.n, n);
        assert_memory_equal(back.p, s, n);
        qv_arena_close(&arena);
    }
    qv_buf_close(&b);
}

static void test_integers_and_lists(void **state)
{
    (void)state;
    struct qv_buf b;
    const float v[] = {1.0f, -0.25f, NAN};
    bool first = true;
    qv_buf_init(&b, 0);
    qv_json_write_key(&b, &first, "a");
    qv_json_write_i64(&b, INT64_MIN);
    qv_json_write_key(&b, &first, "b");
    qv_json_write_u64(&b, UINT64_MAX);
    qv_json_write_key(&b, &first, "c");
    qv_json_write_floats(&b, v, 3);
    qv_json_write_f64(&b, INFINITY);
    qv_json_write_bool(&b, false);
    qv_json_write_floats(&b, v, 0);
    qv_buf_u8(&b, 0);
    assert_string_equal((char *)b.data, "\"a\":-9223372036854775808,\"b\":18446744073709551615,"
                                        "\"c\":[1.0,-0.25,null]nullfalse[]");
    qv_buf_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles_round_trip), cmocka_unit_test(test_floats_round_trip),
        cmocka_unit_test(test_digits_are_fewest),  cmocka_unit_test(test_forms),
        cmocka_unit_test(test_strings_come_back),  cmocka_unit_test(test_integers_and_lists),
    };
    return RUN_SUITE(tests);
}
