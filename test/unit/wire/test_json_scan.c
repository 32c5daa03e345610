#include "suite.h"

#include "base/rng.h"
#include "wire/json_scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* y: must be read, n: must be refused, in the manner of the well-known JSON test suites. */
static const struct {
    char verdict;
    const char *text;
    size_t n; /* 0: strlen */
} cases[] = {
    {'y', "[]", 0},
    {'y', "[ ]", 0},
    {'y', "[[]   ]", 0},
    {'y', "[\"\"]", 0},
    {'y', "[\"a\"]", 0},
    {'y', "[false]", 0},
    {'y', "[null, 1, \"1\", {}]", 0},
    {'y', "[1\n]", 0},
    {'y', " [1]", 0},
    {'y', "[1,null,null,null,2]", 0},
    {'y', "[2] ", 0},
    {'y', "\t\r\n [2] \t\r\n", 0},
    {'y', "[123e65]", 0},
    {'y', "[0e+1]", 0},
    {'y', "[0e1]", 0},
    {'y', "[ 4]", 0},
    {'y', "[-0.000000000000000000000000000000000000000000000000000000000000000000000000000001]", 0},
    {'y', "[20e1]", 0},
    {'y', "[-0]", 0},
    {'y', "[-123]", 0},
    {'y', "[1E22]", 0},
    {'y', "[1E-2]", 0},
    {'y', "[1E+2]", 0},
    {'y', "[123.456e78]", 0},
    {'y', "[123.456789]", 0},
    {'y', "{\"asd\":\"sdf\", \"dfg\":\"fgh\"}", 0},
    {'y', "{\"a\":\"b\",\"a\":\"c\"}", 0},
    {'y', "{\"a\":\"b\",\"a\":\"b\"}", 0},
    {'y', "{}", 0},
    {'y', "{\"\":0}", 0},
    {'y', "{\"a\":[]}", 0},
    {'y', "{\"title\":\"\\u041f\\u043e\\u043b\\u0442\\u043e\\u0440\\u0430\" }", 0},
    {'y', "{\n\"a\": \"b\"\n}", 0},
    {'y', "[\"\\u0060\\u012a\\u12AB\"]", 0},
    {'y', "[\"\\uD801\\udc37\"]", 0},
    {'y', "[\"\\ud83d\\ude39\\ud83d\\udc8d\"]", 0},
    {'y', "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]", 0},
    {'y', "[\"\\\\u0000\"]", 0},
    {'y', "[\"\\\"\"]", 0},
    {'y', "[\"a/*b*/c/*d//e\"]", 0},
    {'y', "[\"\\\\a\"]", 0},
    {'y', "[\"\\u0012\"]", 0},
    {'y', "[\"\\u0000\"]", 0},
    {'y', "[\"\\uFFFF\"]", 0},
    {'y', "[\"\xF4\x8F\xBF\xBF\"]", 0},
    {'y', "[\"\xEF\xBF\xBF\"]", 0},
    {'y', "[\"\xE2\x80\xA8\"]", 0},
    {'y', "[\"\x7F\"]", 0},
    {'y', "[\"\\u200B\\uFDD0\\uFFFE\"]", 0},
    {'y', "\" \"", 0},
    {'y', "false", 0},
    {'y', "42", 0},
    {'y', "-0.1", 0},
    {'y', "null", 0},
    {'y', "\"asd\"", 0},
    {'y', "true", 0},
    {'y', "\"\"", 0},
    {'n', "", 0},
    {'n', " ", 0},
    {'n', "[1 true]", 0},
    {'n', "[a\xE5]", 0},
    {'n', "[\"\": 1]", 0},
    {'n', "[\"\"],", 0},
    {'n', "[,1]", 0},
    {'n', "[1,,2]", 0},
    {'n', "[\"x\",,]", 0},
    {'n', "[\"x\"]]", 0},
    {'n', "[\"\",]", 0},
    {'n', "[\"x\"", 0},
    {'n', "[x", 0},
    {'n', "[3[4]]", 0},
    {'n', "[\xFF]", 0},
    {'n', "[1:2]", 0},
    {'n', "[,]", 0},
    {'n', "[-]", 0},
    {'n', "[   , \"\"]", 0},
    {'n', "[\"a\",\n4\n,1,", 0},
    {'n', "[1,]", 0},
    {'n', "[\"\va\"\\f]", 0},
    {'n', "[*]", 0},
    {'n', "[\"\"", 0},
    {'n', "[1,\n1\n,1", 0},
    {'n', "[{}", 0},
    {'n', "[fals]", 0},
    {'n', "[nul]", 0},
    {'n', "[tru]", 0},
    {'n', "nulL", 0},
    {'n', "123\0", 4},
    {'n', "[++1234]", 0},
    {'n', "[+1]", 0},
    {'n', "[+Inf]", 0},
    {'n', "[-01]", 0},
    {'n', "[-1.0.]", 0},
    {'n', "[-2.]", 0},
    {'n', "[-NaN]", 0},
    {'n', "[.-1]", 0},
    {'n', "[.2e-3]", 0},
    {'n', "[0.1.2]", 0},
    {'n', "[0.3e+]", 0},
    {'n', "[0.3e]", 0},
    {'n', "[0.e1]", 0},
    {'n', "[0e]", 0},
    {'n', "[0E+]", 0},
    {'n', "[1.0e+]", 0},
    {'n', "[1eE2]", 0},
    {'n', "[1 000.0]", 0},
    {'n', "[2.e+3]", 0},
    {'n', "[Inf]", 0},
    {'n', "[NaN]", 0},
    {'n', "[Infinity]", 0},
    {'n', "[-Infinity]", 0},
    {'n', "[\xEF\xBC\x91]", 0},
    {'n', "[1+2]", 0},
    {'n', "[0x1]", 0},
    {'n', "[0x42]", 0},
    {'n', "[-foo]", 0},
    {'n', "[- 1]", 0},
    {'n', "[-012]", 0},
    {'n', "[-.123]", 0},
    {'n', "[1ea]", 0},
    {'n', "[1.]", 0},
    {'n', "[.123]", 0},
    {'n', "[1.2a-3]", 0},
    {'n', "[012]", 0},
    {'n', "[00]", 0},
    {'n', "[\"x\", truth]", 0},
    {'n', "{[: \"x\"}\n", 0},
    {'n', "{\"x\", null}", 0},
    {'n', "{\"x\"::\"b\"}", 0},
    {'n', "{\"a\":\"a\" 123}", 0},
    {'n', "{key: 'value'}", 0},
    {'n', "{\"a\" b}", 0},
    {'n', "{:\"b\"}", 0},
    {'n', "{\"a\"", 0},
    {'n', "{\"a\":", 0},
    {'n', "{\"a\":1", 0},
    {'n', "{1:1}", 0},
    {'n', "{null:null,null:null}", 0},
    {'n', "{\"id\":0,,,,,}", 0},
    {'n', "{'a':0}", 0},
    {'n', "{\"id\":0,}", 0},
    {'n', "{\"a\":\"b\"}/**/", 0},
    {'n', "{\"a\":\"b\"}#", 0},
    {'n', "{\"a\":\"b\",,\"c\":\"d\"}", 0},
    {'n', "{a: \"b\"}", 0},
    {'n', "{\"a\":\"a", 0},
    {'n', "{ \"foo\" : \"bar\", \"a\" }", 0},
    {'n', "{\"a\\u0000b\":1}", 0}, /* ours: no NUL in a name */
    {'n', "[\"\\uD800\\\"]", 0},
    {'n', "[\"\\uD800\\u\"]", 0},
    {'n', "[\"\\uD800\\u1\"]", 0},
    {'n', "[\"\\uD800\\u1x\"]", 0},
    {'n', "[\"\\uD800\"]", 0},
    {'n', "[\"\\uDC00\"]", 0},
    {'n', "[\"\\uD888\\u1234\"]", 0},
    {'n', "[\xC3\xA9]", 0},
    {'n', "[\"\\\0\"]", 6},
    {'n', "[\"\\x00\"]", 0},
    {'n', "[\"\\\\\\\"]", 0},
    {'n', "[\"\\\t\"]", 0},
    {'n', "[\"\\a\"]", 0},
    {'n', "[\"\\u00A\"]", 0},
    {'n', "[\"\\uqqqq\"]", 0},
    {'n', "[\"\\\xE5\"]", 0},
    {'n', "[\"a\0a\"]", 7},
    {'n', "[\"new\nline\"]", 0},
    {'n', "[\"\t\"]", 0},
    {'n', "\"\\UA66D\"", 0},
    {'n', "[\"\xC0\xAF\"]", 0},         /* overlong */
    {'n', "[\"\xE0\x80\xAF\"]", 0},     /* overlong */
    {'n', "[\"\xED\xA0\x80\"]", 0},     /* a surrogate */
    {'n', "[\"\xF4\x90\x80\x80\"]", 0}, /* above U+10FFFF */
    {'n', "[\"\xE9\"]", 0},
    {'n', "[\"\x81\"]", 0},
    {'n', "[\"plain and long enough for a word, then \xFF\"]", 0},
    {'n', "<.>", 0},
    {'n', "[1]x", 0},
    {'n', "{}}", 0},
    {'n', "\xEF\xBB\xBF{}", 0}, /* a byte order mark */
    {'n', "[\xE2\x81\xA0]", 0},
    {'n', "[", 0},
    {'n', "[\"a", 0},
    {'n', "[\"\\", 0},
    {'n', "[\"\\u", 0},
    {'n', "{", 0},
    {'n', "]", 0},
    {'n', "{]", 0},
    {'n', "{\"\":", 0},
    {'n', "'a'", 0},
    {'n', "[\f]", 0},
    {'n', "[1]\v", 0},
};

static int skip_whole(const void *text, size_t n, struct qv_errmsg *msg)
{
    struct qv_arena arena;
    struct qv_json j;
    qv_arena_init(&arena, 1 << 20);
    qv_json_init(&j, (struct qv_bytes){text, n}, &arena, msg);
    qv_json_skip(&j);
    int err = qv_json_finish(&j);
    qv_arena_close(&arena);
    return err;
}

static void test_grammar(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct qv_errmsg msg;
        size_t n = cases[i].n != 0 ? cases[i].n : strlen(cases[i].text);
        /* A copy of exactly its size, so that the sanitizer sees a read behind it. */
        char *text = malloc(n == 0 ? 1 : n);
        memcpy(text, cases[i].text, n);
        int err = skip_whole(text, n, &msg);
        free(text);
        if ((err == 0) != (cases[i].verdict == 'y'))
            fail_msg("case %zu: %s: %d %s", i, cases[i].text, err, msg.text);
        if (err != 0)
            assert_int_equal(err, QV_EFORMAT);
    }
}

static void check_message(const char *text, const char *want)
{
    struct qv_errmsg msg;
    assert_int_equal(skip_whole(text, strlen(text), &msg), QV_EFORMAT);
    assert_string_equal(msg.text, want);
}

static void test_messages_name_the_place(void **state)
{
    (void)state;
    check_message("{\"a\": 1 x}", "expected `,` or `}` at line 1 column 9");
    check_message("{\"a\": 1,\n \"b\" 2}", "expected `:` at line 2 column 6");
    check_message("[1, 2", "EOF while parsing a list at line 1 column 5");
    check_message("{\"a\"", "EOF while parsing an object at line 1 column 4");
    check_message("", "EOF while parsing a value at line 1 column 0");
    check_message("[1,]", "trailing comma at line 1 column 4");
    check_message("{} {}", "trailing characters at line 1 column 4");
    check_message("{1: 2}", "key must be a string at line 1 column 2");
    check_message("\n\n[nope]", "expected ident at line 3 column 3");
    check_message("[01]", "invalid number at line 1 column 3");
    check_message("\"abc", "EOF while parsing a string at line 1 column 4");
    check_message("[\"\\q\"]", "invalid escape at line 1 column 4");
    check_message("[?]", "expected value at line 1 column 2");
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    static char text[20001];
    struct qv_errmsg msg;
    for (size_t depth = 1; depth <= 10000; depth = depth < 100 ? depth + 1 : depth * 10) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        int err = skip_whole(text, 2 * depth, &msg);
        assert_int_equal(err, depth <= QV_JSON_DEPTH_MAX ? 0 : QV_EFORMAT);
        if (err != 0)
            assert_non_null(strstr(msg.text, "recursion limit exceeded"));
    }
    for (size_t i = 0; i < 20000; i += 5)
        memcpy(text + i, "{\"a\":", 5);
    assert_int_equal(skip_whole(text, 20000, &msg), QV_EFORMAT);
    assert_non_null(strstr(msg.text, "recursion limit exceeded"));
}

/* ---- numbers ---- */

struct reader {
    struct qv_arena arena;
    struct qv_json j;
    struct qv_errmsg msg;
};

static void open_text(struct reader *r, const char *text, size_t n)
{
    qv_arena_init(&r->arena, 64 << 20);
    qv_json_init(&r->j, (struct qv_bytes){(const uint8_t *)text, n}, &r->arena, &r->msg);
}

static int close_text(struct reader *r)
{
    int err = qv_json_finish(&r->j);
    qv_arena_close(&r->arena);
    return err;
}

static void check_f32(const char *text)
{
    struct reader r;
    float want = strtof(text, NULL);
    open_text(&r, text, strlen(text));
    float got = qv_json_f32(&r.j);
    int err = close_text(&r);
    if (isinf(want)) {
        assert_int_equal(err, QV_EFORMAT);
        return;
    }
    if (err != 0 || memcmp(&want, &got, sizeof got) != 0)
        fail_msg("%s: %d %.9g, want %.9g", text, err, (double)got, (double)want);
}

static void check_f64(const char *text)
{
    struct reader r;
    double want = strtod(text, NULL);
    open_text(&r, text, strlen(text));
    double got = qv_json_f64(&r.j);
    int err = close_text(&r);
    if (isinf(want)) {
        assert_int_equal(err, QV_EFORMAT);
        return;
    }
    if (err != 0 || memcmp(&want, &got, sizeof got) != 0)
        fail_msg("%s: %d %.17g, want %.17g", text, err, got, want);
}

/* A decimal of up to 45 digits with a point and an exponent at random places. */
static void random_decimal(struct qv_rng *rng, char *out)
{
    size_t n = 1 + (size_t)qv_rng_below(rng, qv_rng_below(rng, 4) == 0 ? 45 : 20);
    size_t point = (size_t)qv_rng_below(rng, n + 1);
    char *p = out;
    if (qv_rng_below(rng, 2) == 0)
        *p++ = '-';
    if (point == 0)
        *p++ = '0';
    for (size_t i = 0; i < n; i++) {
        if (i == point)
            *p++ = '.';
        char c = (char)('0' + qv_rng_below(rng, 10));
        if (i == 0 && point > 1 && c == '0')
            c = '7';
        *p++ = c;
    }
    *p = '\0';
    if (qv_rng_below(rng, 2) == 0)
        snprintf(p, 16, "%c%+d", qv_rng_below(rng, 2) == 0 ? 'e' : 'E',
                 (int)qv_rng_below(rng, 100) - 60);
}

static void test_decimals_are_correctly_rounded(void **state)
{
    (void)state;
    const uint64_t seed = 20260101;
    struct qv_rng rng;
    char text[96];
    printf("seed %llu\n", (unsigned long long)seed);
    qv_rng_init(&rng, seed);
    for (int i = 0; i < 300000; i++) {
        random_decimal(&rng, text);
        check_f32(text);
        check_f64(text);
    }
    for (int i = 0; i < 300000; i++) { /* what Python and C print for a float */
        uint32_t bits = (uint32_t)qv_rng_u64(&rng);
        float f;
        memcpy(&f, &bits, sizeof f);
        if (!isfinite(f))
            continue;
        snprintf(text, sizeof text, i % 2 != 0 ? "%.17g" : "%.9g", (double)f);
        check_f32(text);
        check_f64(text);
    }
}

/* The midpoint of two neighbouring floats, exactly, and one last place to either side of it: where
 * rounding twice goes wrong. */
static void test_float_midpoints(void **state)
{
    (void)state;
    struct qv_rng rng;
    char text[200];
    qv_rng_init(&rng, 7);
    for (int i = 0; i < 100000; i++) {
        uint32_t bits = (uint32_t)qv_rng_u64(&rng);
        uint64_t wide;
        float f;
        memcpy(&f, &bits, sizeof f);
        float next = nextafterf(f, INFINITY);
        if (!isfinite(f) || !isfinite(next))
            continue;
        double mid = ((double)f + (double)next) / 2;
        memcpy(&wide, &mid, sizeof wide);
        wide += qv_rng_below(&rng, 3) - 1;
        memcpy(&mid, &wide, sizeof mid);
        snprintf(text, sizeof text, "%.*g", (int)(15 + qv_rng_below(&rng, 40)), mid);
        check_f32(text);
    }
}

static void test_extreme_numbers(void **state)
{
    (void)state;
    static char huge[100010];
    static const char *const texts[] = {
        "3.4028235e38",
        "3.4028236e38",
        "3.40282357e38",
        "-3.5e38",
        "1e39",
        "1e308",
        "1.7976931348623157e308",
        "1.8e308",
        "-1e309",
        "1e-45",
        "7e-46",
        "7.1e-46",
        "1.1754944e-38",
        "1.1754943e-38",
        "5e-324",
        "2e-324",
        "1e-400",
        "0e999999999999",
        "-0",
        "-0.0",
        "1e999999999999",
        "1e-999999999999",
        "18446744073709551615",
        "18446744073709551616",
        "9007199254740993",
        "16777217",
        "0.1e1",
        "123456789012345678901234567890",
        "1.00000005960464477539062500",
        "1.0000000596046447753906250000000000000000000000000000000000001"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        check_f32(texts[i]);
        check_f64(texts[i]);
    }
    memset(huge, '7', 100000);
    check_f64(huge); /* overflows */
    memset(huge, '0', 100000);
    huge[1] = '.';
    check_f64(huge);
    memcpy(huge + 90000, "17", 2);
    check_f64(huge);
    memcpy(huge + 100000, "e90000", 7);
    check_f64(huge);
    check_f32(huge);
}

static void test_integers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_int, is_uint;
        int64_t i;
        uint64_t u64; /* of qv_json_u64, where ok */
        bool ok;
    } t[] = {
        {"0", true, false, 0, 0, true},
        {"-1", true, false, -1, 0, false},
        {"9223372036854775807", true, false, INT64_MAX, INT64_MAX, true},
        {"9223372036854775808", false, true, 0, 9223372036854775808u, true},
        {"-9223372036854775808", true, false, INT64_MIN, 0, false},
        {"-9223372036854775809", false, false, 0, 0, false},
        {"18446744073709551615", false, true, 0, UINT64_MAX, true},
        {"18446744073709551616", false, false, 0, 0, false},
        {"99999999999999999999999", false, false, 0, 0, false},
        {"1.0", false, false, 0, 0, false},
        {"1e3", false, false, 0, 0, false},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        struct reader r;
        open_text(&r, t[i].text, strlen(t[i].text));
        struct qv_json_number n = qv_json_number(&r.j);
        assert_int_equal(close_text(&r), 0);
        assert_int_equal(n.is_int, t[i].is_int);
        assert_int_equal(n.is_uint, t[i].is_uint);
        assert_true(n.i == t[i].i);
        assert_true(n.d == strtod(t[i].text, NULL));
        open_text(&r, t[i].text, strlen(t[i].text));
        uint64_t u = qv_json_u64(&r.j);
        assert_int_equal(close_text(&r) == 0, t[i].ok);
        assert_true(u == t[i].u64);
    }
}

static void test_float_arrays(void **state)
{
    (void)state;
    struct reader r;
    uint32_t n = 0;
    const char *text = " [ 1 , -2.5,3e2 ] ";
    open_text(&r, text, strlen(text));
    const float *v = qv_json_floats(&r.j, 3, &n);
    assert_int_equal(n, 3);
    assert_true(v[0] == 1.0f && v[1] == -2.5f && v[2] == 300.0f);
    assert_int_equal(close_text(&r), 0);

    open_text(&r, text, strlen(text));
    assert_null(qv_json_floats(&r.j, 2, &n));
    assert_int_equal(close_text(&r), QV_EFORMAT);

    open_text(&r, "[]", 2);
    assert_null(qv_json_floats(&r.j, 2, &n));
    assert_int_equal(close_text(&r), 0);

    static const char *const bad[] = {"[1,]",    "[,1]",   "[1 2]",      "[1",    "[",    "[null]",
                                      "[NaN]",   "[1e39]", "[\"a\"]",    "[[1]]", "[01]", "[1,",
                                      "[1.5.5]", "[-]",    "[Infinity]", "{}",    "1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        open_text(&r, bad[i], strlen(bad[i]));
        assert_null(qv_json_floats(&r.j, 10, &n));
        assert_int_equal(n, 0);
        assert_int_equal(close_text(&r), QV_EFORMAT);
    }
}

static void test_strings_are_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *want;
        size_t n;
    } t[] = {
        {"\"plain\"", "plain", 5},
        {"\"\\u0041\\n\\\"\\\\\\/\"", "A\n\"\\/", 5},
        {"\"\\ud83d\\ude00\"", "\xF0\x9F\x98\x80", 4},
        {"\"\\u00e9\\u20ac\"", "\xC3\xA9\xE2\x82\xAC", 5},
        {"\"a\\u0000b\"", "a\0b", 3},
        {"\"\\t01234567890123456789\\t\"", "\t01234567890123456789\t", 22},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        struct reader r;
        open_text(&r, t[i].text, strlen(t[i].text));
        struct qv_str s = qv_json_string(&r.j);
        assert_int_equal(s.n, t[i].n);
        assert_memory_equal(s.p, t[i].want, s.n);
        assert_int_equal(close_text(&r), 0);
    }
}

static void test_types_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *want;
    } t[] = {
        {"\"abc\"", "invalid type: string \"abc\", expected u64 at line 1 column 5"},
        {"1.5", "invalid type: floating point `1.5`, expected u64 at line 1 column 3"},
        {"true", "invalid type: boolean `true`, expected u64 at line 1 column 4"},
        {"null", "invalid type: null, expected u64 at line 1 column 4"},
        {"[1]", "invalid type: sequence, expected u64 at line 1 column 1"},
        {"{}", "invalid type: map, expected u64 at line 1 column 1"},
        {"-3", "invalid value: integer `-3`, expected u64 at line 1 column 2"},
        {"nil", "expected ident at line 1 column 2"},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        struct reader r;
        open_text(&r, t[i].text, strlen(t[i].text));
        assert_true(qv_json_u64(&r.j) == 0);
        assert_int_equal(qv_json_finish(&r.j), QV_EFORMAT);
        assert_string_equal(r.msg.text, t[i].want);
        qv_arena_close(&r.arena);
    }
}

static void test_one_key_is_found(void **state)
{
    const char *text = "{\"a\":[1,{\"b\":7}],\"b\":2,\"c\":null,\"b\":3}";
    struct qv_arena arena;
    struct qv_json j;
    struct qv_errmsg msg = {""};
    uint64_t sum = 0;
    (void)state;
    qv_arena_init(&arena, 1 << 16);
    qv_json_init(&j, (struct qv_bytes){(const uint8_t *)text, strlen(text)}, &arena, &msg);
    qv_json_begin_object(&j);
    while (qv_json_find_key(&j, "b"))
        sum = sum * 10 + qv_json_u64(&j);
    assert_int_equal(qv_json_finish(&j), 0);
    assert_int_equal(sum, 23); /* the inner one is not this object's */
    text = "{\"a\":tru,\"b\":2}";
    qv_json_init(&j, (struct qv_bytes){(const uint8_t *)text, strlen(text)}, &arena, &msg);
    qv_json_begin_object(&j);
    assert_false(qv_json_find_key(&j, "b"));
    assert_int_equal(qv_json_finish(&j), QV_EFORMAT);
    qv_arena_close(&arena);
}

static void test_full_arena_is_too_big(void **state)
{
    (void)state;
    struct qv_arena arena;
    struct qv_json j;
    struct qv_errmsg msg;
    uint32_t n;
    qv_arena_init(&arena, 64);
    qv_json_init(&j, (struct qv_bytes){(const uint8_t *)"[1,2,3]", 7}, &arena, &msg);
    assert_null(qv_json_floats(&j, 10, &n));
    assert_int_equal(qv_json_finish(&j), QV_ETOOBIG);
    qv_arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grammar),
        cmocka_unit_test(test_messages_name_the_place),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_decimals_are_correctly_rounded),
        cmocka_unit_test(test_float_midpoints),
        cmocka_unit_test(test_extreme_numbers),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_float_arrays),
        cmocka_unit_test(test_strings_are_decoded),
        cmocka_unit_test(test_types_are_named),
        cmocka_unit_test(test_one_key_is_found),
        cmocka_unit_test(test_full_arena_is_too_big),
    };
    return RUN_SUITE(tests);
}
