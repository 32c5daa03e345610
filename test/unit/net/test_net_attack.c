/* Peers that mean harm, in memory and with a clock of the test's: floods, dribbles, stalls, bombs.
 * Each is ended, within its time and before it costs much; a good peer that looks alike is not. */
#include "net_fixture.h"
#include "net_peer.h"
#include "suite.h"

#include "base/rng.h"

#include <nghttp2/nghttp2.h>

#include <string.h>

#define SECOND ((uint64_t)1000000000)
#define POST "POST /echo HTTP/1.1\r\nHost: a\r\n"

/* ---- floods --------------------------------------------------------------------------------- */

static void put_frame(struct qv_buf *b, uint8_t type, uint8_t flags, uint32_t stream, const void *p,
                      size_t n)
{
    uint8_t head[9] = {(uint8_t)(n >> 16),
                       (uint8_t)(n >> 8),
                       (uint8_t)n,
                       type,
                       flags,
                       (uint8_t)(stream >> 24),
                       (uint8_t)(stream >> 16),
                       (uint8_t)(stream >> 8),
                       (uint8_t)stream};
    qv_buf_append(b, head, 9);
    qv_buf_append(b, p, n);
}

/* GET / with literal path /echo: method 2, scheme 6, path literal, authority literal. */
static const uint8_t get_block[] = {0x82, 0x86, 0x04, 5, '/', 'e', 'c', 'h', 'o', 0x01, 1, 'a'};

static const uint8_t post_block[] = {0x83, 0x86, 0x04, 5, '/', 'e', 'c', 'h', 'o', 0x01, 1, 'a'};

static bool flood(unsigned frames, void (*make)(struct qv_buf *b, unsigned i))
{
    struct memory_conn m;
    struct qv_buf b;
    qv_buf_init(&b, 0);
    echo_conn_open(&m, NULL);
    qv_buf_str(&b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    put_frame(&b, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
    memory_conn_feed(&m, b.data, b.len);
    unsigned i = 0;
    for (; i < frames && !qv_conn_done(m.conn); i++) {
        qv_buf_clear(&b);
        make(&b, i);
        memory_conn_feed(&m, b.data, b.len);
    }
    bool cut = qv_conn_done(m.conn);
    assert_int_equal(m.core.counters.protocol_errors > 0, cut);
    assert_true(m.conn->n_calls <= 1); /* one whose head never ended */
    memory_conn_close(&m);
    qv_buf_close(&b);
    return cut;
}

static void make_reset(struct qv_buf *b, unsigned i)
{
    static const uint8_t cancel[4] = {0, 0, 0, 8};
    put_frame(b, NGHTTP2_HEADERS, 4, 2 * i + 1, get_block, sizeof get_block);
    put_frame(b, NGHTTP2_RST_STREAM, 0, 2 * i + 1, cancel, 4);
}

static void make_continuation(struct qv_buf *b, unsigned i)
{
    static const uint8_t header[] = {0x00, 1, 'x', 1, 'y'};
    if (i == 0)
        put_frame(b, NGHTTP2_HEADERS, 0, 1, get_block, sizeof get_block);
    else
        put_frame(b, NGHTTP2_CONTINUATION, 0, 1, header, sizeof header);
}

static void make_settings(struct qv_buf *b, unsigned i)
{
    uint8_t many[6 * 64] = {0};
    (void)i;
    put_frame(b, NGHTTP2_SETTINGS, 0, 0, many, sizeof many);
}

static void make_even_stream(struct qv_buf *b, unsigned i)
{
    put_frame(b, NGHTTP2_HEADERS, 5, 2 * i + 2, get_block, sizeof get_block);
}

static void make_huge_frame(struct qv_buf *b, unsigned i)
{
    static uint8_t big[20000];
    (void)i;
    put_frame(b, NGHTTP2_DATA, 0, 1, big, sizeof big);
}

static void make_empty_data(struct qv_buf *b, unsigned i)
{
    if (i == 0)
        put_frame(b, NGHTTP2_HEADERS, 4, 1, get_block, sizeof get_block);
    put_frame(b, NGHTTP2_DATA, 0, 1, NULL, 0);
}

static void make_priority(struct qv_buf *b, unsigned i)
{
    static const uint8_t priority[5] = {0, 0, 0, 0, 16};
    put_frame(b, NGHTTP2_PRIORITY, 0, 2 * i + 1, priority, 5);
}

static void make_window(struct qv_buf *b, unsigned i)
{
    static const uint8_t one[4] = {0, 0, 0, 1};
    (void)i;
    put_frame(b, NGHTTP2_WINDOW_UPDATE, 0, 0, one, 4);
}

static void make_zero_window(struct qv_buf *b, unsigned i)
{
    static const uint8_t zero[4] = {0};
    put_frame(b, NGHTTP2_HEADERS, 4, 2 * i + 1, post_block, sizeof post_block);
    put_frame(b, NGHTTP2_WINDOW_UPDATE, 0, 2 * i + 1, zero, 4);
}

/* The server is made to reset: more bytes than were announced. */
static void make_long_body(struct qv_buf *b, unsigned i)
{
    static const uint8_t length[] = {0x0F, 13, 1, '1'}; /* content-length: 1 */
    uint8_t block[sizeof post_block + sizeof length];
    memcpy(block, post_block, sizeof post_block);
    memcpy(block + sizeof post_block, length, sizeof length);
    put_frame(b, NGHTTP2_HEADERS, 4, 2 * i + 1, block, sizeof block);
    put_frame(b, NGHTTP2_DATA, 1, 2 * i + 1, "12", 2);
}

static void make_overflow(struct qv_buf *b, unsigned i)
{
    static const uint8_t most[4] = {0x7F, 0xFF, 0xFF, 0xFF};
    (void)i;
    put_frame(b, NGHTTP2_WINDOW_UPDATE, 0, 0, most, 4);
}

static void make_good(struct qv_buf *b, unsigned i)
{
    put_frame(b, NGHTTP2_HEADERS, 5, 2 * i + 1, get_block, sizeof get_block);
}

static void test_floods(void **state)
{
    (void)state;
    assert_true(flood(5000, make_reset));
    assert_true(flood(100, make_continuation));
    assert_true(flood(10, make_settings));
    assert_true(flood(10, make_even_stream));
    assert_true(flood(10, make_huge_frame));
    assert_true(flood(20000, make_empty_data));
    assert_true(flood(20000, make_priority));
    assert_true(flood(20000, make_window));
    assert_true(flood(5, make_overflow));
    assert_true(flood(5, make_zero_window));
    assert_true(flood(3000, make_long_body));
    assert_false(flood(900, make_long_body));
    assert_false(flood(9000, make_window));
    assert_false(flood(30000, make_good));
}

/* Acknowledgements that nobody reads don't pile up. */
static void test_ping_flood(void **state)
{
    struct memory_conn m;
    struct qv_buf b;
    (void)state;
    qv_buf_init(&b, 0);
    echo_conn_open(&m, NULL);
    qv_buf_str(&b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    put_frame(&b, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
    for (int i = 0; i < 100000 && !m.conn->finishing && !m.conn->broken; i++) {
        put_frame(&b, NGHTTP2_PING, 0, 0, "12345678", 8);
        if (qv_conn_wants_read(m.conn))
            qv_conn_feed(m.conn, b.data, b.len);
        qv_conn_fill(m.conn); /* nothing is taken out: the peer doesn't read */
        qv_buf_clear(&b);
    }
    assert_true(m.conn->out.bytes < 1000000);
    memory_conn_pump(&m);
    assert_true(qv_conn_done(m.conn));
    memory_conn_close(&m);
    qv_buf_close(&b);
}

/* ---- dribbles ------------------------------------------------------------------------------- */

static void pass(struct memory_conn *m, uint64_t ns)
{
    m->core.now_ns += ns;
    qv_net_core_tick_calls(&m->core);
    qv_net_core_tick_conns(&m->core);
    memory_conn_pump(m);
}

/* Sends `first`, then `again` once a second; gives the seconds until the connection ends or
 * answers, and in *out what it said. */
static unsigned dribble(const char *first, const char *again, size_t n, const char *wanted)
{
    struct memory_conn m;
    echo_conn_open(&m, NULL);
    memory_conn_feed(&m, first, strlen(first));
    unsigned seconds = 0;
    while (m.out.len == 0 && !qv_conn_done(m.conn) && seconds < 1000) {
        pass(&m, SECOND);
        seconds++;
        if (!qv_conn_done(m.conn) && m.out.len == 0 && n > 0)
            memory_conn_feed(&m, again, n);
    }
    qv_buf_u8(&m.out, 0);
    if (strstr((char *)m.out.data, wanted) == NULL)
        fail_msg("'%s' then '%s': %s", first, again, (char *)m.out.data);
    pass(&m, 3 * SECOND); /* it lingers no longer than that */
    pass(&m, 100 * SECOND);
    assert_true(qv_conn_done(m.conn));
    memory_conn_close(&m);
    return seconds;
}

static void dribbles(const char *first, const char *again, const char *wanted, unsigned from,
                     unsigned to)
{
    unsigned seconds = dribble(first, again, strlen(again), wanted);
    if (seconds < from || seconds > to)
        fail_msg("'%s' then '%s': ended after %u s, not %u to %u", first, again, seconds, from, to);
}

static void test_http1_dribbles(void **state)
{
    (void)state;
    dribbles("", "", "", 75, 80);
    dribbles("P", "", "", 10, 12);
    dribbles("PRI * HTTP/2.0\r\n", "", "", 10, 12);
    dribbles("G", "G", "HTTP/1.1 400 ", 0, 9); /* soon no method any more */
    dribbles("GET /", "x", "HTTP/1.1 408 ", 10, 12);
    dribbles("GET / HTTP/1.1\r\nHost: a\r\n", "x: y\r\n", "HTTP/1.1 408 ", 10, 12);
    dribbles(POST "Content-Length: 100000\r\n\r\n", "x", "HTTP/1.1 408 ", 10, 12);
    dribbles(POST "Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", "HTTP/1.1 408 ", 10, 12);
    dribbles(POST "Transfer-Encoding: chunked\r\n\r\n1;", "x", "HTTP/1.1 408 ", 10, 12);
    dribbles(POST "Transfer-Encoding: chunked\r\n\r\n0\r\n", "x: y\r\n", "HTTP/1.1 408 ", 10, 12);
    dribbles("", "\r\n", "HTTP/1.1 400 ", 500, 520); /* not for ever */
}

/* Much, then a stop: what came before buys no time. */
static void test_http1_stop(void **state)
{
    static char body[65536];
    struct memory_conn m;
    (void)state;
    echo_conn_open(&m, NULL);
    static const char head[] = POST "Content-Length: 33000000\r\n\r\n";
    memory_conn_feed(&m, head, sizeof head - 1);
    memset(body, 'x', sizeof body);
    for (int i = 0; i < 400; i++) {
        if (i % 100 == 0)
            pass(&m, 9 * SECOND); /* moves in between */
        memory_conn_feed(&m, body, sizeof body);
    }
    assert_int_equal(m.out.len, 0);
    pass(&m, 1 * SECOND);
    pass(&m, 9 * SECOND);
    assert_int_equal(m.out.len, 0);
    pass(&m, 2 * SECOND);
    qv_buf_u8(&m.out, 0);
    assert_non_null(strstr((char *)m.out.data, "HTTP/1.1 408 "));
    memory_conn_close(&m);
}

static void http1_fills(const char *first, const char *again, unsigned times, const char *wanted)
{
    struct memory_conn m;
    echo_conn_open(&m, NULL);
    memory_conn_feed(&m, first, strlen(first));
    for (unsigned i = 0; i < times && m.out.len == 0; i++)
        memory_conn_feed(&m, again, strlen(again));
    qv_buf_u8(&m.out, 0);
    if (wanted == NULL ? m.out.len != 1 : strstr((char *)m.out.data, wanted) == NULL)
        fail_msg("'%s' and many '%s': %s", first, again, (char *)m.out.data);
    assert_true(atomic_load(&m.shared.buffered_bytes) < 300000);
    memory_conn_close(&m);
}

/* Bytes that make neither a request nor a body come to an end. */
static void test_http1_padding(void **state)
{
    (void)state;
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
    http1_fills("", "\r\n\r\n\r\n\r\n", 1000, "HTTP/1.1 400 ");
    http1_fills("\r\n\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n", 1, "HTTP/1.1 200 ");
    http1_fills(CHUNKED "1;", "extension=padding;", 1000000, "HTTP/1.1 400 ");
    http1_fills(CHUNKED, "1;x=123456789012345678901234567890\r\na\r\n", 1000000, "HTTP/1.1 400 ");
    http1_fills(CHUNKED, "1\r\na\r\n", 200000, NULL);
    http1_fills(CHUNKED "00000000", "00000000", 1000000, "HTTP/1.1 400 ");
}

/* ---- HTTP/2 that stalls --------------------------------------------------------------------- */

static void h2_begin(struct memory_conn *m, const struct qv_net_server_config *config)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    echo_conn_open(m, config);
    qv_buf_str(&b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    put_frame(&b, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
    memory_conn_feed(m, b.data, b.len);
    qv_buf_close(&b);
}

static void h2_feed(struct memory_conn *m, uint8_t type, uint8_t flags, uint32_t stream,
                    const void *p, size_t n)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    put_frame(&b, type, flags, stream, p, n);
    memory_conn_feed(m, b.data, b.len);
    qv_buf_close(&b);
}

/* Is there a frame of this type on this stream in what was sent? */
static bool h2_was_sent(const struct memory_conn *m, uint8_t type, uint32_t stream)
{
    for (size_t at = 0; at + 9 <= m->out.len;) {
        const uint8_t *p = m->out.data + at;
        size_t n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        if (p[3] == type && p[8] == (stream & 0xFF) && p[7] == stream >> 8)
            return true;
        at += 9 + n;
    }
    return false;
}

static unsigned seconds_until_done(struct memory_conn *m, unsigned max)
{
    unsigned seconds = 0;
    for (; seconds < max && !qv_conn_done(m->conn); seconds++) {
        h2_feed(m, NGHTTP2_PING, 0, 0, "12345678", 8); /* a peer that seems to live */
        pass(m, SECOND);
    }
    return seconds;
}

static void test_http2_dribbles(void **state)
{
    struct memory_conn m;
    (void)state;
    h2_begin(&m, NULL); /* a head that does not end */
    h2_feed(&m, NGHTTP2_HEADERS, 0, 1, get_block, sizeof get_block);
    unsigned seconds = 0;
    for (; seconds < 100 && !qv_conn_done(m.conn); seconds++)
        pass(&m, SECOND);
    assert_in_range(seconds, 10, 12);
    memory_conn_close(&m);

    h2_begin(&m, NULL); /* a body of a byte a second */
    h2_feed(&m, NGHTTP2_HEADERS, 4, 1, post_block, sizeof post_block);
    for (seconds = 0; seconds < 100 && !h2_was_sent(&m, NGHTTP2_HEADERS, 1); seconds++) {
        h2_feed(&m, NGHTTP2_DATA, 0, 1, "x", 1);
        pass(&m, SECOND);
    }
    assert_in_range(seconds, 10, 12);
    assert_false(qv_conn_done(m.conn));
    memory_conn_close(&m);

    h2_begin(&m, NULL); /* nothing at all */
    for (seconds = 0; seconds < 200 && !qv_conn_done(m.conn); seconds++)
        pass(&m, SECOND);
    assert_in_range(seconds, 75, 80);
    memory_conn_close(&m);
}

static void big_answer(void *ctx, struct qv_call *call)
{
    size_t n = *(size_t *)ctx;
    struct qv_buf *out = qv_call_out(call);
    uint8_t *p = qv_buf_reserve(out, n);
    memset(p, 'x', n);
    out->len = n;
    qv_call_reply(call, 200, "text/plain", NULL, 0, out);
}

/* Answers that the windows hold back are not kept for ever, whatever else the peer says. */
static void test_http2_stalls(void **state)
{
    static const uint8_t small[6] = {0, 4, 0, 0, 0, 10}; /* windows of 10 bytes */
    static const uint8_t wide[4] = {0, 0x10, 0, 0};
    struct memory_conn m;
    size_t n = 20000;
    (void)state;
    h2_begin(&m, NULL); /* the stream's window */
    m.core.handler = big_answer;
    m.core.ctx = &n;
    h2_feed(&m, NGHTTP2_SETTINGS, 0, 0, small, sizeof small);
    h2_feed(&m, NGHTTP2_HEADERS, 5, 1, get_block, sizeof get_block);
    assert_false(h2_was_sent(&m, NGHTTP2_RST_STREAM, 1));
    seconds_until_done(&m, 29);
    assert_false(h2_was_sent(&m, NGHTTP2_RST_STREAM, 1));
    seconds_until_done(&m, 4);
    assert_true(h2_was_sent(&m, NGHTTP2_RST_STREAM, 1));
    assert_int_equal(m.conn->n_calls, 0);
    assert_false(qv_conn_done(m.conn)); /* the connection is a good one */
    memory_conn_close(&m);

    n = 200000;
    h2_begin(&m, NULL); /* the connection's */
    m.core.handler = big_answer;
    m.core.ctx = &n;
    h2_feed(&m, NGHTTP2_HEADERS, 5, 1, get_block, sizeof get_block);
    h2_feed(&m, NGHTTP2_WINDOW_UPDATE, 0, 1, wide, 4);
    assert_in_range(seconds_until_done(&m, 100), 30, 33);
    memory_conn_close(&m);

    h2_begin(&m, NULL); /* it trickles, so it goes on */
    m.core.handler = big_answer;
    m.core.ctx = &n;
    h2_feed(&m, NGHTTP2_HEADERS, 5, 1, get_block, sizeof get_block);
    h2_feed(&m, NGHTTP2_WINDOW_UPDATE, 0, 1, wide, 4);
    for (int i = 0; i < 20; i++) {
        static const uint8_t one[4] = {0, 0, 0, 1};
        pass(&m, 20 * SECOND);
        h2_feed(&m, NGHTTP2_WINDOW_UPDATE, 0, 0, one, 4);
    }
    assert_false(qv_conn_done(m.conn));
    memory_conn_close(&m);
}

/* A kilobyte of indices that stands for megabytes of headers. */
static void test_hpack_bomb(void **state)
{
    static uint8_t block[16000];
    struct memory_conn m;
    struct qv_buf b;
    (void)state;
    h2_begin(&m, NULL);
    qv_buf_init(&b, 0);
    qv_buf_append(&b, get_block, sizeof get_block);
    qv_buf_append(&b, "\x40\x01x\x7f\xa1\x1e", 6); /* x, with 4,000 bytes, into the table */
    for (int i = 0; i < 4000; i++)
        qv_buf_u8(&b, 'a');
    h2_feed(&m, NGHTTP2_HEADERS, 5, 1, b.data, b.len);
    assert_true(h2_was_sent(&m, NGHTTP2_HEADERS, 1));
    qv_buf_clear(&b);
    memcpy(block, get_block, sizeof get_block);
    memset(block + sizeof get_block, 0xBF, sizeof block - sizeof get_block); /* entry 63 again */
    block[sizeof get_block] = 0xBE;
    h2_feed(&m, NGHTTP2_HEADERS, 1, 3, block, sizeof block);
    assert_true(qv_conn_done(m.conn));
    assert_true(atomic_load(&m.shared.buffered_bytes) < 200000);
    memory_conn_close(&m);
    qv_buf_close(&b);
}

/* ---- a slow handler ------------------------------------------------------------------------- */

struct held {
    struct qv_call *calls[1000];
    unsigned n;
};

static void hold(void *ctx, struct qv_call *call)
{
    struct held *held = ctx;
    held->calls[held->n++] = call;
}

/* While the handler holds as many as it may, no more are taken: HTTP/1 is not read, HTTP/2 streams
 * are refused, so that the client sends them again. */
static void test_slow_handler(void **state)
{
    static struct held held;
    struct memory_conn m;
    struct qv_net_server_config config;
    (void)state;
    qv_net_server_config_init(&config);
    config.limits.streams_max = 16;
    echo_conn_open(&m, &config);
    m.core.handler = hold;
    m.core.ctx = &held;
    unsigned fed = 0;
    for (; fed < 1000 && qv_conn_wants_read(m.conn); fed++)
        memory_conn_feed(&m, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
    assert_int_equal(held.n, 16);
    assert_in_range(fed, 16, 17);
    for (unsigned i = 0; i < 16; i++)
        qv_call_reply(held.calls[i], 204, NULL, NULL, 0, NULL);
    memory_conn_pump(&m);
    assert_true(qv_conn_wants_read(m.conn));
    while (held.n > 16)
        qv_call_reply(held.calls[--held.n], 204, NULL, NULL, 0, NULL);
    memory_conn_close(&m);

    held.n = 0;
    h2_begin(&m, &config);
    m.core.handler = hold;
    m.core.ctx = &held;
    for (uint32_t i = 0; i < 100; i++)
        h2_feed(&m, NGHTTP2_HEADERS, 5, 2 * i + 1, get_block, sizeof get_block);
    assert_int_equal(held.n, 16);
    assert_true(h2_was_sent(&m, NGHTTP2_RST_STREAM, 33));
    assert_false(h2_was_sent(&m, NGHTTP2_RST_STREAM, 31));
    for (unsigned i = 0; i < 16; i++)
        qv_call_reply(held.calls[i], 204, NULL, NULL, 0, NULL);
    memory_conn_pump(&m);
    h2_feed(&m, NGHTTP2_HEADERS, 5, 301, get_block, sizeof get_block);
    assert_int_equal(held.n, 17);
    qv_call_reply(held.calls[16], 204, NULL, NULL, 0, NULL);
    memory_conn_pump(&m);
    held.n = 0;
    h2_feed(&m, NGHTTP2_SETTINGS, 1, 0, NULL, 0); /* it knows the limit: now it is an error */
    for (uint32_t i = 0; i < 17 && !qv_conn_done(m.conn); i++)
        h2_feed(&m, NGHTTP2_HEADERS, 5, 2 * i + 401, get_block, sizeof get_block);
    assert_int_equal(held.n, 16);
    assert_true(h2_was_sent(&m, NGHTTP2_GOAWAY, 0));
    for (unsigned i = 0; i < 16; i++)
        qv_call_reply(held.calls[i], 204, NULL, NULL, 0, NULL);
    memory_conn_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floods),         cmocka_unit_test(test_ping_flood),
        cmocka_unit_test(test_http1_dribbles), cmocka_unit_test(test_http1_stop),
        cmocka_unit_test(test_http1_padding),  cmocka_unit_test(test_http2_dribbles),
        cmocka_unit_test(test_http2_stalls),   cmocka_unit_test(test_hpack_bomb),
        cmocka_unit_test(test_slow_handler)};
    return RUN_SUITE(tests);
}
