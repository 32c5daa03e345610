/* The parts of net that are only text and bytes: gRPC framing, timeouts, messages, URLs, the output
 * queue. */
#include "net_fixture.h"
#include "suite.h"

#include "base/mem.h"
#include "base/rng.h"
#include "net/gzip.h"
#include "net/outq.h"
#include "net/status.h"
#include "net/url.h"

#include <string.h>

#define SEED 20240611u

static void test_grpc_frame(void **state)
{
    uint8_t b[16] = {0};
    struct qv_bytes out;
    (void)state;
    qv_grpc_put_prefix(b, 3, false);
    memcpy(b + 5, "abc", 3);
    assert_int_equal(qv_grpc_unframe((struct qv_bytes){b, 8}, 100, &out), 0);
    assert_int_equal(out.n, 3);
    assert_ptr_equal(out.p, b + 5);
    assert_int_equal(qv_grpc_unframe((struct qv_bytes){b, 8}, 2, &out), QV_ETOOBIG);
    assert_int_equal(qv_grpc_unframe((struct qv_bytes){b, 7}, 100, &out), QV_EPROTO);
    assert_int_equal(qv_grpc_unframe((struct qv_bytes){b, 9}, 100, &out), QV_EPROTO);
    assert_int_equal(qv_grpc_unframe((struct qv_bytes){b, 4}, 100, &out), QV_EPROTO);
    assert_int_equal(qv_grpc_unframe((struct qv_bytes){NULL, 0}, 100, &out), QV_EPROTO);
    b[0] = 1;
    assert_int_equal(qv_grpc_unframe((struct qv_bytes){b, 8}, 100, &out), QV_ENOTIMPL);
    b[0] = 2;
    assert_int_equal(qv_grpc_unframe((struct qv_bytes){b, 8}, 100, &out), QV_EPROTO);
    memset(b, 0xFF, sizeof b);
    b[0] = 0;
    assert_int_equal(qv_grpc_unframe((struct qv_bytes){b, 8}, 100, &out), QV_ETOOBIG);
}

/* "hello hello hello" by gzip -9n */
static const uint8_t hello_gz[] = {0x1F, 0x8B, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03,
                                   0xCB, 0x48, 0xCD, 0xC9, 0xC9, 0x57, 0xC8, 0x40, 0x90, 0x00,
                                   0x80, 0x88, 0xF9, 0xE5, 0x11, 0x00, 0x00, 0x00};

static void test_gunzip(void **state)
{
    struct qv_buf out;
    uint8_t b[sizeof hello_gz + 1];
    (void)state;
    qv_buf_init(&out, 0);
    memcpy(b, hello_gz, sizeof hello_gz);
    b[sizeof hello_gz] = 0;
    assert_int_equal(qv_gzip_unpack((struct qv_bytes){b, sizeof hello_gz}, 17, &out), 0);
    assert_int_equal(out.len, 17);
    assert_memory_equal(out.data, "hello hello hello", 17);
    qv_buf_clear(&out);
    assert_int_equal(qv_gzip_unpack((struct qv_bytes){b, sizeof hello_gz}, 16, &out), QV_ETOOBIG);
    for (size_t n = 0; n < sizeof hello_gz; n++) {
        qv_buf_clear(&out);
        assert_int_equal(qv_gzip_unpack((struct qv_bytes){b, n}, 100, &out), QV_EPROTO);
    }
    qv_buf_clear(&out);
    assert_int_equal(qv_gzip_unpack((struct qv_bytes){b, sizeof b}, 100, &out), QV_EPROTO);
    b[sizeof hello_gz - 6] ^= 1; /* in the checksum */
    qv_buf_clear(&out);
    assert_int_equal(qv_gzip_unpack((struct qv_bytes){b, sizeof hello_gz}, 100, &out), QV_EPROTO);
    qv_buf_close(&out);
}

static void test_grpc_timeout(void **state)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {{"1n", 1},
                {"5u", 5000},
                {"250m", 250000000},
                {"10S", 10000000000},
                {"2M", 120000000000},
                {"1H", 3600000000000},
                {"0S", 0},
                {"99999999S", 99999999000000000},
                {"99999999H", UINT64_MAX}};
    static const char *const bad[] = {"",    "S",   "1",    "123456789S", "1s", "-1S",
                                      "1 S", "1SS", "1.5S", "0x1S",       "S1", " 1S"};
    uint64_t ns;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(qv_grpc_parse_timeout(good[i].text, &ns), 0);
        assert_true(ns == good[i].ns);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(qv_grpc_parse_timeout(bad[i], &ns), QV_EBADREQ);
    struct qv_rng rng;
    qv_rng_init(&rng, SEED);
    for (int i = 0; i < 20000; i++) {
        char text[16];
        uint64_t want = qv_rng_u64(&rng) >> qv_rng_below(&rng, 64);
        qv_grpc_format_timeout(want, text);
        assert_int_equal(qv_grpc_parse_timeout(text, &ns), 0);
        /* rounded up, by less than a part in 10^4 where the number is large */
        if (ns < want || ns - want > want / 1000 + 1)
            fail_msg("seed %u: %s for %llu", SEED, text, (unsigned long long)want);
    }
}

static void test_grpc_message(void **state)
{
    struct qv_rng rng;
    struct qv_buf b;
    (void)state;
    qv_rng_init(&rng, SEED);
    qv_buf_init(&b, 0);
    for (int i = 0; i < 5000; i++) {
        char text[64];
        char back[64 * 3 + 1];
        size_t n = qv_rng_below(&rng, sizeof text);
        for (size_t k = 0; k < n; k++)
            text[k] = (char)(1 + qv_rng_below(&rng, 255));
        qv_buf_clear(&b);
        qv_grpc_encode_message(&b, text, n);
        for (size_t k = 0; k < b.len; k++)
            assert_true(b.data[k] >= 0x20 && b.data[k] <= 0x7E);
        if (n > 0) /* no header value may begin or end with a space */
            assert_true(b.data[0] != ' ' && b.data[b.len - 1] != ' ');
        qv_grpc_decode_message((const char *)b.data, b.len, back);
        assert_int_equal(strlen(back), n);
        assert_memory_equal(back, text, n);
    }
    char out[32];
    qv_grpc_decode_message("50%", 3, out);
    assert_string_equal(out, "50%");
    qv_grpc_decode_message("%zz%4", 5, out);
    assert_string_equal(out, "%zz%4");
    qv_buf_close(&b);
}

static void test_grpc_types(void **state)
{
    (void)state;
    assert_true(qv_grpc_is_content_type("application/grpc"));
    assert_true(qv_grpc_is_content_type("application/grpc+proto"));
    assert_true(qv_grpc_is_content_type("Application/gRPC; charset=utf-8"));
    assert_false(qv_grpc_is_content_type("application/grpc-web"));
    assert_false(qv_grpc_is_content_type("application/grpc-web+proto"));
    assert_false(qv_grpc_is_content_type("application/grpc+json"));
    assert_false(qv_grpc_is_content_type("application/json"));
    assert_string_equal(qv_grpc_status_name(8), "RESOURCE_EXHAUSTED");
    assert_string_equal(qv_grpc_status_name(99), "UNKNOWN");
    assert_int_equal(qv_grpc_from_http(503), QV_GRPC_UNAVAILABLE);
}

static void test_url(void **state)
{
    struct qv_url u;
    struct qv_errmsg msg;
    static const char *const bad[] = {"",
                                      "localhost:6333",
                                      "httpsx://a",
                                      "http://",
                                      "http://:80",
                                      "http://a:",
                                      "http://a:0",
                                      "http://a:65536",
                                      "http://a:8x",
                                      "http://u:p@a/",
                                      "http://[::1",
                                      "http://[::1]8",
                                      "http://a b/",
                                      "http://a/b c",
                                      "http://a/\r\nx"};
    (void)state;
    assert_int_equal(qv_url_parse("http://localhost:6333", &u, &msg), 0);
    assert_string_equal(u.host, "localhost");
    assert_int_equal(u.port, 6333);
    assert_string_equal(u.path, "/");
    assert_int_equal(qv_url_parse("HTTP://[::1]:7/a/b?c=d#e", &u, &msg), 0);
    assert_string_equal(u.host, "::1");
    assert_int_equal(u.port, 7);
    assert_string_equal(u.path, "/a/b?c=d");
    assert_int_equal(qv_url_parse("http://h?x=1", &u, &msg), 0);
    assert_int_equal(u.port, 80);
    assert_string_equal(u.path, "/?x=1");
    assert_false(u.tls);
    assert_int_equal(qv_url_parse("HTTPS://h", &u, &msg), 0);
    assert_true(u.tls && u.port == 443);
    assert_int_equal(qv_url_parse("https://[::1]:8/", &u, &msg), 0);
    assert_true(u.tls && u.port == 8);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        msg.text[0] = '\0';
        if (qv_url_parse(bad[i], &u, &msg) != QV_EINVAL || msg.text[0] == '\0')
            fail_msg("'%s' was taken", bad[i]);
    }
}

static void test_url_escapes(void **state)
{
    char out[64];
    size_t n;
    struct qv_buf b;
    struct qv_rng rng;
    (void)state;
    assert_int_equal(qv_url_decode("a%2Fb+c", 7, false, out, &n), 0);
    assert_string_equal(out, "a/b+c");
    assert_int_equal(qv_url_decode("a%2fb+c", 7, true, out, &n), 0);
    assert_string_equal(out, "a/b c");
    assert_int_equal(qv_url_decode("%", 1, false, out, &n), QV_EBADREQ);
    assert_int_equal(qv_url_decode("%1", 2, false, out, &n), QV_EBADREQ);
    assert_int_equal(qv_url_decode("%0g", 3, false, out, &n), QV_EBADREQ);
    assert_int_equal(qv_url_decode("a%00", 4, false, out, &n), QV_EBADREQ);
    qv_rng_init(&rng, SEED);
    qv_buf_init(&b, 0);
    for (int i = 0; i < 2000; i++) {
        char text[20];
        char back[64];
        size_t len = qv_rng_below(&rng, sizeof text);
        for (size_t k = 0; k < len; k++)
            text[k] = (char)(1 + qv_rng_below(&rng, 255));
        qv_buf_clear(&b);
        qv_url_encode(&b, text, len);
        assert_true(b.len < sizeof back);
        assert_int_equal(qv_url_decode((const char *)b.data, b.len, true, back, &n), 0);
        assert_int_equal(n, len);
        assert_memory_equal(back, text, len);
    }
    qv_buf_close(&b);
}

/* Random appends, takes, seals and partial sends: the bytes come out in order, and what was given
 * out before a seal stays where it was. */
static void test_outq(void **state)
{
    struct qv_rng rng;
    struct qv_outq q;
    uint64_t in = 0;
    uint64_t out = 0;
    (void)state;
    qv_rng_init(&rng, SEED);
    qv_outq_init(&q);
    static uint8_t bytes[70000];
    for (int step = 0; step < 20000; step++) {
        uint64_t what = qv_rng_below(&rng, 8);
        size_t n = qv_rng_below(&rng, what == 0 ? 60000 : 600);
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)((in + i) * 31 >> 3);
        if (what == 0) {
            struct qv_buf b;
            qv_buf_init(&b, 0);
            qv_buf_append(&b, bytes, n);
            qv_outq_take(&q, &b);
            assert_int_equal(b.len, 0);
            qv_buf_close(&b);
            in += n;
        } else if (what < 4) {
            qv_outq_append(&q, bytes, n);
            in += n;
        } else {
            struct qv_out_iov iov[5];
            size_t parts = qv_outq_iov(&q, iov, 5);
            size_t total = 0;
            qv_outq_seal(&q);
            if (what == 4) { /* more comes while it is being written */
                qv_outq_append(&q, "", 0);
            }
            for (size_t p = 0; p < parts; p++) {
                for (size_t i = 0; i < iov[p].n; i++)
                    assert_int_equal(iov[p].p[i], (uint8_t)((out + total + i) * 31 >> 3));
                total += iov[p].n;
            }
            size_t sent = qv_rng_below(&rng, total + 1);
            qv_outq_sent(&q, sent);
            out += sent;
        }
        assert_int_equal(q.bytes, in - out);
        assert_false(q.failed);
    }
    qv_outq_close(&q);
}

static void test_numbers(void **state)
{
    char out[QV_STATUS_U64_BYTES];
    (void)state;
    assert_int_equal(qv_status_format_u64(0, out), 1);
    assert_memory_equal(out, "0", 1);
    assert_int_equal(qv_status_format_u64(UINT64_MAX, out), 20);
    assert_memory_equal(out, "18446744073709551615", 20);
    assert_string_equal(qv_status_reason(507), "Insufficient Storage");
    assert_string_equal(qv_status_reason(299), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grpc_frame),   cmocka_unit_test(test_gunzip),
        cmocka_unit_test(test_grpc_timeout), cmocka_unit_test(test_grpc_message),
        cmocka_unit_test(test_grpc_types),   cmocka_unit_test(test_url),
        cmocka_unit_test(test_url_escapes),  cmocka_unit_test(test_outq),
        cmocka_unit_test(test_numbers),
    };
    return RUN_SUITE(tests);
}
