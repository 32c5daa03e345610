#include "suite.h"

#include "base/rng.h"
#include "core/limits.h"
#include "wire/json_doc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void random_text(struct qv_rng *rng, struct qv_buf *b, bool key)
{
    static const char *const bits[] = {"a",  "b",  "key", "\xC3\xA9", "\xF0\x9F\x98\x80",
                                       "\"", "\\", "\n",  "\x01",     " "};
    size_t n = (size_t)qv_rng_below(rng, 4);
    qv_buf_clear(b);
    for (size_t i = 0; i < n; i++)
        qv_buf_str(b, bits[qv_rng_below(rng, 10)]);
    if (!key && qv_rng_below(rng, 8) == 0)
        qv_buf_u8(b, 0);
    if (b->len == 0)
        (void)qv_buf_reserve(b, 1);
}

static void random_value(struct qv_rng *rng, struct qv_buf *b, uint32_t depth)
{
    struct qv_buf text;
    double d;
    uint64_t bits;
    qv_buf_init(&text, 0);
    switch (qv_rng_below(rng, depth >= 5 ? 6 : 9)) {
    case 0:
        qv_doc_put_null(b);
        break;
    case 1:
        qv_doc_put_bool(b, qv_rng_below(rng, 2) == 0);
        break;
    case 2:
        qv_doc_put_int(b, (int64_t)(qv_rng_u64(rng) >> qv_rng_below(rng, 64)));
        break;
    case 3:
        bits = qv_rng_u64(rng);
        memcpy(&d, &bits, sizeof d);
        qv_doc_put_double(b, isfinite(d) ? d : 0.5);
        break;
    case 4:
        qv_doc_put_double(b, (double)qv_rng_below(rng, 100));
        break;
    case 5:
        random_text(rng, &text, false);
        qv_doc_put_str(b, (const char *)text.data, text.len);
        break;
    case 6: {
        size_t mark = qv_doc_begin_array(b);
        uint32_t n = (uint32_t)qv_rng_below(rng, 5);
        for (uint32_t i = 0; i < n; i++)
            random_value(rng, b, depth + 1);
        qv_doc_end_array(b, mark, n);
        break;
    }
    default: {
        size_t mark = qv_doc_begin_object(b);
        uint32_t n = (uint32_t)qv_rng_below(rng, qv_rng_below(rng, 20) == 0 ? 40 : 5);
        for (uint32_t i = 0; i < n; i++) {
            random_text(rng, &text, true);
            qv_buf_printf(&text, "%u", (i * 41) % n); /* distinct, not in order */
            qv_doc_put_key(b, (const char *)text.data, text.len);
            random_value(rng, b, depth + 1);
        }
        qv_doc_end_object(b, mark, n);
        break;
    }
    }
    qv_buf_close(&text);
}

static void test_documents_round_trip(void **state)
{
    (void)state;
    const uint64_t seed = 3;
    struct qv_rng rng;
    struct qv_buf doc;
    struct qv_buf text;
    struct qv_errmsg msg;
    struct qv_arena arena;
    printf("seed %llu\n", (unsigned long long)seed);
    qv_rng_init(&rng, seed);
    qv_buf_init(&doc, 0);
    qv_buf_init(&text, 0);
    qv_arena_init(&arena, 16 << 20);
    for (int i = 0; i < 20000; i++) {
        struct qv_doc back;
        qv_buf_clear(&doc);
        qv_buf_clear(&text);
        qv_arena_reset(&arena);
        random_value(&rng, &doc, 0);
        assert_int_equal(qv_doc_check(doc.data, doc.len, &msg), 0);
        qv_json_write_doc(&text, (struct qv_doc){doc.data, doc.len});
        int err = qv_json_read_doc((struct qv_bytes){text.data, text.len}, &arena, &back, &msg);
        if (err != 0)
            fail_msg("%.*s: %s", (int)text.len, (char *)text.data, msg.text);
        assert_int_equal(back.n, doc.len);
        assert_memory_equal(back.p, doc.data, doc.len);
    }
    qv_arena_close(&arena);
    qv_buf_close(&doc);
    qv_buf_close(&text);
}

static void check_becomes(const char *text, const char *want)
{
    struct qv_arena arena;
    struct qv_doc d;
    struct qv_errmsg msg;
    struct qv_buf out;
    qv_arena_init(&arena, 1 << 20);
    qv_buf_init(&out, 0);
    int err =
        qv_json_read_doc((struct qv_bytes){(const uint8_t *)text, strlen(text)}, &arena, &d, &msg);
    if (err != 0)
        fail_msg("%s: %s", text, msg.text);
    assert_int_equal(qv_doc_check(d.p, d.n, &msg), 0);
    qv_json_write_doc(&out, d);
    qv_buf_u8(&out, 0);
    assert_string_equal((char *)out.data, want);
    qv_buf_close(&out);
    qv_arena_close(&arena);
}

static void test_equal_keys_keep_the_last(void **state)
{
    (void)state;
    check_becomes("{\"a\":1,\"a\":2}", "{\"a\":2}");
    check_becomes("{\"b\":0,\"a\":1,\"c\":{\"x\":1,\"x\":[]},\"a\":2,\"b\":3}",
                  "{\"c\":{\"x\":[]},\"a\":2,\"b\":3}");
    check_becomes("{\"a\":1,\"\\u0061\":2}", "{\"a\":2}");
    char text[4096];
    char *p = text;
    *p++ = '{';
    for (int i = 0; i < 100; i++)
        p += snprintf(p, 32, "%s\"k%d\":%d", i == 0 ? "" : ",", i % 3, i);
    snprintf(p, 8, "}");
    check_becomes(text, "{\"k1\":97,\"k2\":98,\"k0\":99}");
}

static void test_numbers_keep_their_kind(void **state)
{
    (void)state;
    check_becomes("[1,-1,1.0,1e2,0.1,9223372036854775807,9223372036854775808,-0]",
                  "[1,-1,1.0,100.0,0.1,9223372036854775807,9.223372036854776e18,-0.0]");
}

static void test_depth_and_size(void **state)
{
    (void)state;
    static char text[20 << 20];
    struct qv_arena arena;
    struct qv_doc d;
    struct qv_errmsg msg;
    qv_arena_init(&arena, 256 << 20);
    for (size_t depth = 60; depth < 70; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        int err = qv_json_read_doc((struct qv_bytes){(uint8_t *)text, 2 * depth}, &arena, &d, &msg);
        assert_int_equal(err, depth <= QV_DOC_DEPTH_MAX ? 0 : QV_EFORMAT);
        if (err == 0)
            assert_int_equal(qv_doc_check(d.p, d.n, &msg), 0);
    }
    memset(text, 'x', sizeof text);
    text[0] = '"';
    text[sizeof text - 1] = '"';
    assert_int_equal(
        qv_json_read_doc((struct qv_bytes){(uint8_t *)text, sizeof text}, &arena, &d, &msg),
        QV_ETOOBIG);
    assert_null(d.p);
    text[QV_PAYLOAD_BYTES_MAX - 64] = '"';
    assert_int_equal(qv_json_read_doc((struct qv_bytes){(uint8_t *)text, QV_PAYLOAD_BYTES_MAX - 63},
                                      &arena, &d, &msg),
                     0);
    /* many small members, each worth more than its text */
    char *p = text;
    *p++ = '[';
    while (p < text + sizeof text - 4) {
        memcpy(p, "1,", 2);
        p += 2;
    }
    memcpy(p, "1]", 2);
    assert_int_equal(qv_json_read_doc((struct qv_bytes){(uint8_t *)text, (size_t)(p + 2 - text)},
                                      &arena, &d, &msg),
                     QV_ETOOBIG);
    qv_arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents_round_trip),
        cmocka_unit_test(test_equal_keys_keep_the_last),
        cmocka_unit_test(test_numbers_keep_their_kind),
        cmocka_unit_test(test_depth_and_size),
    };
    return RUN_SUITE(tests);
}
