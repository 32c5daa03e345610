#include "suite.h"

#include "doc_gen.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>

/* Walks everything a document holds; gives the number of values and adds up its bytes. */
static size_t walk(struct qv_doc d, size_t *bytes)
{
    struct qv_doc_iter it;
    struct qv_doc value;
    struct qv_str key = {NULL, 0};
    size_t n = 1;
    enum qv_doc_type t = qv_doc_type(d);

    *bytes += t == QV_DOC_ARRAY || t == QV_DOC_OBJECT ? 9 : d.n;
    if (t != QV_DOC_ARRAY && t != QV_DOC_OBJECT)
        return n;
    qv_doc_iter_init(&it, d);
    while (qv_doc_next(&it, t == QV_DOC_OBJECT ? &key : NULL, &value)) {
        *bytes += t == QV_DOC_OBJECT ? 4 + key.n : 0;
        n += walk(value, bytes);
    }
    return n;
}

/* The same document with the pairs of every object in another order. */
static void put_turned(struct qv_buf *b, struct qv_doc d, struct qv_rng *rng)
{
    struct qv_doc_iter it;
    struct qv_doc value[16];
    struct qv_str key[16];
    uint32_t n = 0;
    enum qv_doc_type t = qv_doc_type(d);

    if (t != QV_DOC_ARRAY && t != QV_DOC_OBJECT) {
        qv_doc_put_doc(b, d);
        return;
    }
    qv_doc_iter_init(&it, d);
    while (qv_doc_next(&it, &key[n], &value[n]))
        n++;
    size_t mark = t == QV_DOC_ARRAY ? qv_doc_begin_array(b) : qv_doc_begin_object(b);
    uint32_t turn = t == QV_DOC_OBJECT && n > 0 ? (uint32_t)qv_rng_below(rng, n) : 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t j = (i + turn) % n;
        if (t == QV_DOC_OBJECT)
            qv_doc_put_key(b, key[j].p, key[j].n);
        put_turned(b, value[j], rng);
    }
    if (t == QV_DOC_ARRAY)
        qv_doc_end_array(b, mark, n);
    else
        qv_doc_end_object(b, mark, n);
}

static void test_random_documents(void **state)
{
    (void)state;
    const uint64_t seed = 20240601;
    struct qv_rng rng;
    struct qv_errmsg msg;
    print_message("seed %llu\n", (unsigned long long)seed);
    qv_rng_init(&rng, seed);
    for (int i = 0; i < 3000; i++) {
        struct qv_buf b;
        struct qv_buf turned;
        size_t bytes = 0;
        qv_buf_init(&b, 0);
        qv_buf_init(&turned, 0);
        doc_gen_random(&b, &rng, 5);
        struct qv_doc d = doc_gen_view(&b);
        assert_int_equal(qv_doc_check(d.p, d.n, &msg), 0);
        assert_true(walk(d, &bytes) >= 1);
        assert_int_equal(bytes, d.n);
        put_turned(&turned, d, &rng);
        assert_int_equal(qv_doc_check(turned.data, turned.len, &msg), 0);
        assert_true(qv_doc_equal(d, doc_gen_view(&turned)));
        for (size_t n = 0; n < d.n; n++)
            assert_int_equal(qv_doc_check(d.p, n, &msg), QV_ECORRUPT);
        qv_buf_u8(&b, 0);
        assert_int_equal(qv_doc_check(b.data, b.len, &msg), QV_ECORRUPT);
        qv_buf_close(&b);
        qv_buf_close(&turned);
    }
}

/* A flipped bit is refused, or gives a document that can be walked to its last byte. */
static void test_flipped_bits(void **state)
{
    (void)state;
    struct qv_rng rng;
    int refused = 0;
    qv_rng_init(&rng, 77);
    for (int i = 0; i < 2000; i++) {
        struct qv_buf b;
        qv_buf_init(&b, 0);
        doc_gen_random_object(&b, &rng, 4);
        for (int k = 0; k < 20; k++) {
            size_t bit = (size_t)qv_rng_below(&rng, b.len * 8);
            b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            size_t bytes = 0;
            if (qv_doc_check(b.data, b.len, NULL) != 0)
                refused++;
            else if (walk(doc_gen_view(&b), &bytes) > 0)
                assert_int_equal(bytes, b.len);
            b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        qv_buf_close(&b);
    }
    assert_true(refused > 10000);
}

static void test_inequality(void **state)
{
    (void)state;
    const char *all[] = {
        "null",       "true",      "false",     "1",         "1.0",       "2",
        "\"1\"",      "\"\"",      "[]",        "[1]",       "[1,2]",     "[2,1]",
        "[1.0]",      "{}",        "{\"a\":1}", "{\"a\":2}", "{\"b\":1}", "{\"a\":1,\"b\":2}",
        "{\"a\":[]}", "{\"a\":{}}"};
    const size_t n = sizeof all / sizeof *all;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            struct qv_buf a = doc_gen_new(all[i]);
            struct qv_buf b = doc_gen_new(all[j]);
            assert_int_equal(qv_doc_equal(doc_gen_view(&a), doc_gen_view(&b)), i == j);
            qv_buf_close(&a);
            qv_buf_close(&b);
        }
    }
}

/* Nested `depth` arrays deep around a null. */
static void put_nested(struct qv_buf *b, unsigned depth)
{
    size_t marks[100];
    for (unsigned i = 0; i < depth; i++)
        marks[i] = qv_doc_begin_array(b);
    qv_doc_put_null(b);
    for (unsigned i = depth; i > 0; i--)
        qv_doc_end_array(b, marks[i - 1], 1);
}

static void test_depth(void **state)
{
    (void)state;
    struct qv_errmsg msg;
    for (unsigned depth = QV_DOC_DEPTH_MAX - 1; depth <= QV_DOC_DEPTH_MAX + 1; depth++) {
        struct qv_buf b;
        qv_buf_init(&b, 0);
        put_nested(&b, depth);
        assert_int_equal(qv_doc_check(b.data, b.len, &msg),
                         depth <= QV_DOC_DEPTH_MAX ? 0 : QV_ECORRUPT);
        assert_int_equal(qv_doc_check_member(b.data, b.len, &msg),
                         depth < QV_DOC_DEPTH_MAX ? 0 : QV_ECORRUPT);
        qv_buf_close(&b);
    }
}

static void put_keys(struct qv_buf *b, const uint32_t *keys, uint32_t n)
{
    size_t mark = qv_doc_begin_object(b);
    for (uint32_t i = 0; i < n; i++) {
        qv_doc_put_key(b, (const char *)&keys[i], 2); /* 14 bits in two ASCII bytes */
        qv_doc_put_int(b, i);
    }
    qv_doc_end_object(b, mark, n);
}

/* Few and many keys, in order and not, with and without one that stands twice. */
static void test_distinct_keys(void **state)
{
    (void)state;
    static uint32_t keys[5000];
    struct qv_errmsg msg;
    struct qv_rng rng;
    qv_rng_init(&rng, 5);
    for (uint32_t n = 2; n <= 5000; n = n < 20 ? n + 1 : n * 3) {
        for (uint32_t i = 0; i < n; i++)
            keys[i] = (i & 0x7F) | (i & 0x3F80) << 1;
        for (int pass = 0; pass < 6; pass++) {
            const bool twice = pass % 2 == 1;
            if (pass >= 2) {
                for (uint32_t i = n - 1; i > 0; i--) {
                    uint32_t j = (uint32_t)qv_rng_below(&rng, i + 1);
                    uint32_t k = keys[i];
                    keys[i] = keys[j];
                    keys[j] = k;
                }
            }
            const uint32_t saved = keys[0];
            if (twice)
                keys[0] = keys[1 + qv_rng_below(&rng, n - 1)];
            struct qv_buf b;
            qv_buf_init(&b, 0);
            put_keys(&b, keys, n);
            assert_int_equal(qv_doc_check(b.data, b.len, &msg), twice ? QV_ECORRUPT : 0);
            qv_buf_close(&b);
            keys[0] = saved;
        }
    }
}

/* Every rule of the format, broken once. */
static void test_refusals(void **state)
{
    (void)state;
    const struct {
        const char *bytes;
        size_t n;
    } wrong[] = {
        {"", 0},
        {"\x08", 1},                                                /* tag */
        {"\x03\0\0\0\0\0\0\0", 8},                                  /* int cut */
        {"\x04\0\0\0\0\0\0\0", 8},                                  /* double cut */
        {"\x04\0\0\0\0\0\0\xF0\x7F", 9},                            /* Inf */
        {"\x04\0\0\0\0\0\0\xF8\x7F", 9},                            /* NaN */
        {"\x05\x02\0\0\0a", 6},                                     /* string cut */
        {"\x05\x02\0\0\0\xC3\x28", 7},                              /* not UTF-8 */
        {"\x06\x04\0\0", 4},                                        /* head cut */
        {"\x06\x05\0\0\0\0\0\0\0", 9},                              /* bytes too large */
        {"\x06\x04\0\0\0\x01\0\0\0", 9},                            /* element missing */
        {"\x06\x04\0\0\0\x01\0\0\0\0", 10},                         /* bytes too small */
        {"\x07\x0A\0\0\0\x01\0\0\0\x01\0\0\0a", 14},                /* value missing */
        {"\x07\x0A\0\0\0\x01\0\0\0\x01\0\0\0\xFF\0", 15},           /* key not UTF-8 */
        {"\x07\x04\0\0\0\xFF\xFF\xFF\xFF", 9},                      /* count */
        {"\x07\x10\0\0\0\x02\0\0\0\x01\0\0\0a\0\x01\0\0\0a\0", 21}, /* key twice */
    };
    struct qv_errmsg msg;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        msg.text[0] = '\0';
        assert_int_equal(qv_doc_check(wrong[i].bytes, wrong[i].n, &msg), QV_ECORRUPT);
        assert_true(strlen(msg.text) > 10);
    }
    assert_int_equal(qv_doc_check("\x05\x03\0\0\0a\0b", 8, &msg), 0); /* NUL is a character */
}

static void test_builders_fail_safe(void **state)
{
    (void)state;
    struct qv_buf b;
    qv_buf_init(&b, 20);
    size_t mark = qv_doc_begin_array(&b);
    qv_doc_put_str(&b, "twenty bytes and more", 21);
    qv_doc_end_array(&b, mark, 1);
    assert_true(b.failed);
    qv_buf_clear(&b);
    qv_doc_put_double(&b, (double)INFINITY);
    qv_doc_put_double(&b, (double)NAN);
    assert_int_equal(b.len, 2);
    assert_int_equal(qv_doc_type((struct qv_doc){b.data, 1}), QV_DOC_NULL);
    qv_buf_close(&b);
}

static void test_utf8(void **state)
{
    (void)state;
    const char *good[] = {"",
                          "plain",
                          "ümlaut",
                          "日本語テキスト",
                          "\xF0\x9F\x98\x80",
                          "\xEF\xBF\xBF",
                          "\xF4\x8F\xBF\xBF",
                          "\xED\x9F\xBF",
                          "\xEE\x80\x80",
                          "long ascii run then é",
                          "\xC2\x80"};
    const char *wrong[] = {"\x80",
                           "\xC0\x80",
                           "\xC1\xBF",
                           "\xE0\x80\x80",
                           "\xE0\x9F\xBF",
                           "\xED\xA0\x80",
                           "\xED\xBF\xBF",
                           "\xF0\x80\x80\x80",
                           "\xF0\x8F\xBF\xBF",
                           "\xF4\x90\x80\x80",
                           "\xF5\x80\x80\x80",
                           "\xFF",
                           "\xC3",
                           "\xE2\x82",
                           "\xF0\x9F\x98",
                           "ok then \xC3(",
                           "\xE2\x28\xA1",
                           "\xF0\x9F\x28\x80"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(qv_utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(qv_utf8_valid(wrong[i], strlen(wrong[i])));
    assert_true(qv_utf8_valid("a\0b", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_documents),   cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_inequality),         cmocka_unit_test(test_depth),
        cmocka_unit_test(test_distinct_keys),      cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_builders_fail_safe), cmocka_unit_test(test_utf8),
    };
    return RUN_SUITE(tests);
}
