/* The connection machine fed from memory: what it takes, what it refuses, what it says; the same
 * for every way of cutting the bytes. */
#include "net_fixture.h"
#include "net_peer.h"
#include "suite.h"

#include "base/mem.h"
#include "base/rng.h"

#include <string.h>

#define SEED 77u
#define P "POST /echo HTTP/1.1\r\nHost: a\r\n"
#define G "GET /info HTTP/1.1\r\nHost: a\r\n"

/* Feeds all of it in pieces of at most `piece` bytes (0: random ones); then the end. Gives the
 * output as text, owned by the caller. */
static char *talk(const char *in, size_t n, size_t piece, uint64_t seed)
{
    struct memory_conn m;
    struct qv_rng rng;
    qv_rng_init(&rng, seed);
    echo_conn_open(&m, NULL);
    for (size_t at = 0; at < n;) {
        size_t max = piece != 0 ? piece : 1 + qv_rng_below(&rng, 40);
        size_t step = n - at < max ? n - at : max;
        memory_conn_feed(&m, in + at, step);
        at += step;
    }
    qv_conn_eof(m.conn);
    memory_conn_pump(&m);
    assert_true(qv_conn_done(m.conn));
    qv_buf_u8(&m.out, 0);
    char *out = qv_mem_strdup((const char *)m.out.data);
    memory_conn_close(&m);
    return out;
}

struct row {
    const char *name;
    const char *in;
    const char *statuses; /* of the answers, in order */
};

/* "200 400": the status codes in the text, in order. */
static void statuses_of(const char *text, char *out, size_t max)
{
    size_t n = 0;
    out[0] = '\0';
    for (const char *p = text; (p = strstr(p, "HTTP/1.1 ")) != NULL; p += 9) {
        if (n + 5 < max) {
            memcpy(out + n, p + 9, 3);
            out[n + 3] = ' ';
            n += 4;
        }
    }
    out[n > 0 ? n - 1 : 0] = '\0';
}

static const struct row rows[] = {
    {"plain", G "\r\n", "200"},
    {"two in one", G "\r\n" G "\r\n", "200 200"},
    {"body", P "Content-Length: 3\r\n\r\nabc" G "\r\n", "200 200"},
    {"chunked", P "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" G "\r\n", "200 200"},
    {"chunk extension and trailer",
     P "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n" G "\r\n", "200 200"},
    {"leading empty lines", "\r\n\r\n" G "\r\n", "200"},
    {"1.0 closes", "GET /info HTTP/1.0\r\n\r\n" G "\r\n", "200"},
    {"1.0 keep-alive", "GET /info HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" G "\r\n", "200 200"},
    {"close", G "Connection: close\r\n\r\n" G "\r\n", "200"},
    {"absolute form", "GET http://b/info?x=1 HTTP/1.1\r\nHost: a\r\n\r\n", "200"},
    {"HEAD", "HEAD /info HTTP/1.1\r\nHost: a\r\n\r\n" G "\r\n", "200 200"},
    {"unknown method", "PROPFIND /info HTTP/1.1\r\nHost: a\r\n\r\n", "200"},
    {"upgrade is ignored", G "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n" G "\r\n",
     "200 200"},
    {"h2c upgrade is ignored",
     G "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
     "200"},
    {"continue not waited for", P "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
     "100 200"},
    /* what must not pass */
    {"space before colon", "GET /info HTTP/1.1\r\nHost : a\r\n\r\n", "400"},
    {"tab before colon", G "X\t: a\r\n\r\n", "400"},
    {"folded", G "X: a\r\n b\r\n\r\n" G "\r\n", "400"},
    {"folded with tab", G "X: a\r\n\tb\r\n\r\n", "400"},
    {"folded empty first", G "X:\r\n b\r\n\r\n", "400"},
    {"folded blank", G "X: a\r\n \r\n\r\n", "400"},
    {"folded length", P "Content-Length:\r\n 3\r\n\r\nabc", "400"},
    {"folded coding", P "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", "400"},
    {"first header folded", "GET /info HTTP/1.1\r\n Host: a\r\n\r\n", "400"},
    {"bare LF", "GET /info HTTP/1.1\nHost: a\n\n", "400"},
    {"bare LF in a header", "GET /info HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", "400"},
    {"bare CR in a header", G "X: a\rb\r\n\r\n", "400"},
    {"length and chunked", P "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nabc",
     "400"},
    {"chunked and length", P "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\nabc",
     "400"},
    {"two lengths", P "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "400"},
    {"two equal lengths", P "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "400"},
    {"length list", P "Content-Length: 3, 3\r\n\r\nabc", "400"},
    {"signed length", P "Content-Length: +3\r\n\r\nabc", "400"},
    {"negative length", P "Content-Length: -3\r\n\r\nabc", "400"},
    {"hex length", P "Content-Length: 0x3\r\n\r\nabc", "400"},
    {"empty length", P "Content-Length:\r\n\r\nabc", "400"},
    {"huge length", P "Content-Length: 99999999999999999999999\r\n\r\n", "400"},
    {"large length", P "Content-Length: 99999999999\r\n\r\n", "413"},
    {"gzip coding", P "Transfer-Encoding: gzip\r\n\r\n", "501"},
    {"gzip, chunked", P "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"},
    {"chunked twice", P "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "400"},
    {"chunked in two lines",
     P "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
    {"identity", P "Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc", "400"},
    {"xchunked", P "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "501"},
    {"chunked in 1.0", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
    {"chunk size with space", P "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n", "400"},
    {"chunk size with sign", P "Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n", "400"},
    {"chunk size with 0x", P "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", "400"},
    {"chunk size with LF", P "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", "400"},
    {"chunk longer than said", P "Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n", "400"},
    {"chunk size overflow",
     P "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n", "400"},
    {"no host", "GET /info HTTP/1.1\r\n\r\n", "400"},
    {"two hosts", G "Host: b\r\n\r\n", "400"},
    {"HTTP/2.0 in the line", "GET /info HTTP/2.0\r\nHost: a\r\n\r\n", "505"},
    {"HTTP/0.9 in the line", "GET /info HTTP/0.9\r\nHost: a\r\n\r\n", "505"},
    {"HTTP/1.2", "GET /info HTTP/1.2\r\nHost: a\r\n\r\n", "400"},
    {"no version", "GET /info\r\n\r\n", "505"},
    {"nonsense", "hello there\r\n\r\n", "400"},
    {"TLS hello", "\x16\x03\x01\x02", "400"},
    {"relative target", "GET info HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
    {"CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
    {"two spaces, as RFC 9112 allows", "GET  /info HTTP/1.1\r\nHost: a\r\n\r\n", "200"},
    {"empty name", G ": x\r\n\r\n", "400"},
    {"bad name", G "X(y): x\r\n\r\n", "400"},
    {"expectation", G "Expect: tea\r\n\r\n", "417"},
    {"cut off", P "Content-Length: 30\r\n\r\nabc", "400"},
    {"cut off in the head", "GET /info HTTP/1.1\r\nHos", "400"},
    {"good, then bad", G "\r\n" G "X : y\r\n\r\n" G "\r\n", "200 400"},
};

/* Every row, whole, byte by byte and in random pieces. */
static void test_http1_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t n = strlen(rows[i].in);
        for (unsigned way = 0; way < 12; way++) {
            char got[64];
            size_t piece = way == 0 ? n : way == 1 ? 1 : way == 2 ? 2 : 0;
            char *out = talk(rows[i].in, n, piece, SEED + way);
            statuses_of(out, got, sizeof got);
            /* When the body comes with the head there is nobody to tell to go on, or there is: both
             * are right (RFC 9110, 10.1.1). */
            const char *want = rows[i].statuses;
            if (strcmp(got, want) != 0)
                fail_msg("row '%s', way %u (seed %u): %s instead of %s\n%s", rows[i].name, way,
                         SEED, got, want, out);
            qv_mem_free(out);
        }
    }
}

static void test_http1_nul(void **state)
{
    static const char in[] = "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n";
    static const char value[] = G "X: a\0b\r\n\r\n";
    char got[64];
    (void)state;
    char *out = talk(in, sizeof in - 1, 5, 0);
    statuses_of(out, got, sizeof got);
    assert_string_equal(got, "400");
    qv_mem_free(out);
    out = talk(value, sizeof value - 1, 5, 0);
    statuses_of(out, got, sizeof got);
    assert_string_equal(got, "400");
    qv_mem_free(out);
}

/* What the handler is told. */
static void test_http1_facts(void **state)
{
    (void)state;
    char *out =
        talk("GET /a%20b/info?y=1&x=q%2Br+s HTTP/1.1\r\nHOST:  example  \r\n\r\n", 66, 0, 3);
    assert_non_null(strstr(out, "HTTP/1.1 404 "));
    qv_mem_free(out);
    static const char in[] =
        "GET /info?y=1&x=q%2Br+s HTTP/1.1\r\nHOST:  example \t \r\nEmpty:\r\n\r\n";
    out = talk(in, sizeof in - 1, 0, 3);
    assert_non_null(strstr(out, "GET /info query=y=1&x=q%2Br+s x=q+r s body=0 h2=0 host=example "
                                "n=2"));
    assert_non_null(strstr(out, "x-info: yes\r\n"));
    qv_mem_free(out);
    out = talk("HEAD /info HTTP/1.1\r\nHost: a\r\n\r\n", 32, 0, 3);
    assert_non_null(strstr(out, "content-length: 4"));
    assert_null(strstr(out, "query="));
    qv_mem_free(out);
}

static void test_http1_limits(void **state)
{
    static char in[300000];
    char got[64];
    (void)state;
    int n = snprintf(in, sizeof in, "%s", G);
    for (int i = 0; i < 200; i++)
        n += snprintf(in + n, sizeof in - (size_t)n, "x-%d: y\r\n", i);
    n += snprintf(in + n, sizeof in - (size_t)n, "\r\n");
    char *out = talk(in, (size_t)n, 1000, 0);
    statuses_of(out, got, sizeof got);
    assert_string_equal(got, "431");
    qv_mem_free(out);
    n = snprintf(in, sizeof in, "%sx: ", G);
    memset(in + n, 'a', 250000); /* and no end in sight */
    out = talk(in, (size_t)n + 250000, 1000, 0);
    statuses_of(out, got, sizeof got);
    assert_string_equal(got, "431");
    qv_mem_free(out);
    n = snprintf(in, sizeof in, "GET /");
    memset(in + n, 'a', 250000);
    out = talk(in, (size_t)n + 250000, 1000, 0);
    statuses_of(out, got, sizeof got);
    assert_string_equal(got, "431");
    qv_mem_free(out);
    n = snprintf(in, sizeof in, "%sTransfer-Encoding: chunked\r\n\r\n0\r\nx: ", P);
    memset(in + n, 'a', 250000); /* a trailer without an end */
    out = talk(in, (size_t)n + 250000, 1000, 0);
    statuses_of(out, got, sizeof got);
    assert_string_equal(got, "400");
    qv_mem_free(out);
}

static void test_cors(void **state)
{
    struct qv_net_server_config config;
    struct memory_conn m;
    (void)state;
    qv_net_server_config_init(&config);
    config.cors = true;
    echo_conn_open(&m, &config);
    static const char in[] =
        "OPTIONS /echo HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\n"
        "Access-Control-Request-Method: PUT\r\n"
        "Access-Control-Request-Headers: api-key, x\r\n\r\n" G "Origin: http://b\r\n\r\n" G "\r\n";
    memory_conn_feed(&m, in, sizeof in - 1);
    qv_buf_u8(&m.out, 0);
    char *text = (char *)m.out.data;
    assert_non_null(strstr(text, "access-control-allow-headers: api-key, x\r\n"));
    char *second = strstr(text + 1, "HTTP/1.1 200");
    char *third = strstr(second + 1, "HTTP/1.1 200");
    assert_true(strstr(second, "access-control-allow-origin: *\r\n") < third);
    assert_null(strstr(third, "access-control"));
    memory_conn_close(&m);
}

/* ---- HTTP/2 --------------------------------------------------------------------------------- */

static void grpc_row(const char *name, const uint8_t *body, size_t n, const char *extra_name,
                     const char *extra_value, const char *want)
{
    struct peer peer;
    struct source source = {.p = body, .n = n};
    struct qv_net_server_config config;
    qv_net_server_config_init(&config);
    config.limits.message_bytes_max = 1000;
    peer_open(&peer, &config);
    peer_post(&peer, "/t.T/Echo", "application/grpc", extra_name, extra_value, &source);
    peer_pump(&peer);
    if (strcmp(peer.grpc_status, want) != 0 || strcmp(peer.status, "200") != 0)
        fail_msg("row '%s': status %s, grpc-status %s instead of %s", name, peer.status,
                 peer.grpc_status, want);
    peer_close(&peer);
}

static void test_grpc_rows(void **state)
{
    static uint8_t body[3000];
    (void)state;
    qv_grpc_put_prefix(body, 3, false);
    grpc_row("good", body, 8, NULL, NULL, "0");
    grpc_row("good, with time", body, 8, "grpc-timeout", "10S", "0");
    grpc_row("wrong timeout", body, 8, "grpc-timeout", "soon", "13");
    grpc_row("no message", body, 0, NULL, NULL, "13");
    grpc_row("half a prefix", body, 3, NULL, NULL, "13");
    grpc_row("half a message", body, 7, NULL, NULL, "13");
    grpc_row("two messages", body, 16, NULL, NULL, "13");
    qv_grpc_put_prefix(body, 1001, false);
    grpc_row("too large", body, 1006, NULL, NULL, "8");
    grpc_row("announced too large", body, 1005, NULL, NULL, "8");
    body[0] = 1;
    body[4] = 3;
    body[3] = 0;
    grpc_row("compressed", body, 8, NULL, NULL, "12");
    body[0] = 7;
    grpc_row("unknown flag", body, 8, NULL, NULL, "13");
    char big[70001];
    memset(big, 'x', sizeof big - 1);
    big[60000] = '\0';
    qv_grpc_put_prefix(body, 3, false);
    grpc_row("long header", body, 8, "x-long", big, "0");
}

static void test_http2_header_list(void **state)
{
    struct peer peer;
    struct qv_net_server_config config;
    static uint8_t body[8];
    char big[3000];
    (void)state;
    qv_net_server_config_init(&config);
    config.limits.header_bytes_max = 2048;
    peer_open(&peer, &config);
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    struct source source = {.p = body, .n = 8};
    /* The client library keeps to the peer's SETTINGS once it has them: sent before that. */
    peer_post(&peer, "/echo", "text/plain", "x-long", big, &source);
    peer_pump(&peer);
    assert_string_equal(peer.status, "431");
    peer_close(&peer);
}

/* An answer before the request's end: the answer comes whole, then the stream is reset, and the
 * connection goes on. */
static void test_http2_early(void **state)
{
    struct peer peer;
    struct qv_net_server_config config;
    static uint8_t body[100000];
    (void)state;
    qv_net_server_config_init(&config);
    config.limits.body_bytes_max = 1000;
    peer_open(&peer, &config);
    struct source endless = {.p = body, .n = sizeof body, .hold = true};
    peer_post(&peer, "/echo", "text/plain", NULL, NULL, &endless);
    peer_pump(&peer);
    assert_string_equal(peer.status, "413");
    assert_int_equal(peer.answers, 1);
    assert_int_equal(peer.resets, 0);
    peer.m.core.now_ns += 2000000000u;
    qv_net_core_tick_conns(&peer.m.core);
    peer_pump(&peer);
    assert_int_equal(peer.resets, 1);
    assert_int_equal(peer.last_reset, NGHTTP2_NO_ERROR);
    for (int i = 0; i < 300; i++) { /* more than the connection's window in all, were it leaked */
        struct source again = {.p = body, .n = sizeof body, .hold = true};
        int32_t id = peer_post(&peer, "/echo", "text/plain", NULL, NULL, &again);
        peer_pump(&peer);
        assert_int_equal(again.at, sizeof body);
        nghttp2_submit_rst_stream(peer.session, 0, id, NGHTTP2_CANCEL);
        peer_pump(&peer);
    }
    struct source good = {.p = body, .n = 900};
    peer.answers = 0;
    peer_post(&peer, "/echo", "text/plain", NULL, NULL, &good);
    peer_pump(&peer);
    assert_string_equal(peer.status, "200");
    assert_int_equal(peer.answers, 1);
    peer_close(&peer);
}

static void test_http2_slow_body(void **state)
{
    struct peer peer;
    static uint8_t body[10];
    (void)state;
    peer_open(&peer, NULL);
    struct source endless = {.p = body, .n = sizeof body, .hold = true};
    peer_post(&peer, "/t.T/Echo", "application/grpc", NULL, NULL, &endless);
    peer_pump(&peer);
    assert_int_equal(peer.answers, 0);
    peer.m.core.now_ns += 11000000000u;
    qv_net_core_tick_conns(&peer.m.core);
    peer_pump(&peer);
    assert_string_equal(peer.grpc_status, "4");
    peer_close(&peer);
}

/* ---- unread answers -------------------------------------------------------------------------- */

/* Answers that nobody reads hold back the requests behind them, not the memory. */
static void test_unread_answers(void **state)
{
    struct peer peer;
    static uint8_t body[5];
    struct source none[300];
    (void)state;
    peer_open(&peer, NULL);
    peer_pump(&peer);
    /* The peer's windows hold 64 KB in all and are never opened: answers of 1 MB stay. */
    nghttp2_session_set_local_window_size(peer.session, 0, 0, 65535);
    for (int i = 0; i < 200; i++) {
        none[i] = (struct source){.p = body, .n = 5};
        peer_post(&peer, "/big?n=1000000", "text/plain", NULL, NULL, &none[i]);
    }
    assert_int_equal(nghttp2_session_send(peer.session), 0);
    memory_conn_feed(&peer.m, peer.to_server.data, peer.to_server.len);
    qv_buf_clear(&peer.to_server);
    assert_true(peer.m.conn->reply_bytes < 4000000);
    assert_true(peer.m.conn->n_waiting > 150);
    assert_true(peer.m.out.len < 100000);
    peer_pump(&peer); /* now it reads */
    assert_int_equal(peer.answers, 200);
    assert_int_equal(peer.body_bytes, 200000000);
    peer_close(&peer);
}

/* The same for HTTP/1: the requests behind are set aside, and answered once there is room. */
static void test_unread_pipeline(void **state)
{
    struct memory_conn m;
    struct qv_buf in;
    (void)state;
    qv_buf_init(&in, 0);
    for (int i = 0; i < 200; i++)
        qv_buf_str(&in, "GET /big?n=100000 HTTP/1.1\r\nHost: a\r\n\r\n");
    echo_conn_open(&m, NULL);
    qv_conn_feed(m.conn, in.data, in.len);
    qv_conn_fill(m.conn);
    assert_true(m.conn->out.bytes > 1000000 && m.conn->out.bytes < 1300000);
    assert_false(qv_conn_wants_read(m.conn));
    assert_int_equal(m.conn->n_calls, 0);
    memory_conn_pump(&m);
    assert_true(m.out.len > 200u * 100000 && m.out.len < 200u * 100200);
    assert_true(qv_conn_wants_read(m.conn));
    memory_conn_close(&m);
    qv_buf_close(&in);
}

static void hold(void *ctx, struct qv_call *call)
{
    *(struct qv_call **)ctx = call;
}

/* The client's own deadline: answered by net when it passes; the handler's answer is dropped. */
static void test_grpc_deadline(void **state)
{
    struct peer peer;
    struct qv_call *held = NULL;
    uint8_t body[5] = {0};
    (void)state;
    peer_open(&peer, NULL);
    peer.m.core.handler = hold;
    peer.m.core.ctx = &held;
    struct source source = {.p = body, .n = 5};
    peer_post(&peer, "/t.T/Echo", "application/grpc", "grpc-timeout", "50m", &source);
    peer_pump(&peer);
    assert_non_null(held);
    assert_int_equal(held->deadline_ns - held->received_ns, 50000000);
    peer.m.core.now_ns += 49000000;
    qv_net_core_tick_calls(&peer.m.core);
    peer_pump(&peer);
    assert_int_equal(peer.answers, 0);
    assert_false(qv_call_cancelled(held));
    peer.m.core.now_ns += 2000000;
    qv_net_core_tick_calls(&peer.m.core);
    peer_pump(&peer);
    assert_string_equal(peer.grpc_status, "4");
    assert_int_equal(peer.answers, 1);
    assert_true(qv_call_cancelled(held));
    qv_call_reply_grpc(held, 0, NULL, NULL);
    peer_pump(&peer);
    assert_int_equal(peer.answers, 1);
    assert_int_equal(peer.m.core.n_handed, 0);
    peer_close(&peer);
}

/* Refused by the announced length, before any of the body is there. */
static void test_announced_length(void **state)
{
    struct peer peer;
    static uint8_t body[5];
    (void)state;
    peer_open(&peer, NULL);
    struct source endless = {.p = body, .n = 5, .hold = true};
    peer_post(&peer, "/t.T/Echo", "application/grpc", "content-length", "99999999999", &endless);
    peer_pump(&peer);
    assert_string_equal(peer.grpc_status, "8");
    peer_post(&peer, "/echo", "text/plain", "content-length", "99999999999", &endless);
    peer_pump(&peer);
    assert_string_equal(peer.status, "413");
    peer_close(&peer);
}

/* Random streams of requests with random cuts: no answer is lost, all come in order. */
static void test_pipeline_property(void **state)
{
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, SEED);
    for (int round = 0; round < 200; round++) {
        struct qv_buf in;
        struct qv_buf want;
        unsigned n = 1 + (unsigned)qv_rng_below(&rng, 30);
        qv_buf_init(&in, 0);
        qv_buf_init(&want, 0);
        for (unsigned i = 0; i < n; i++) {
            bool chunked = qv_rng_below(&rng, 2) == 0;
            size_t len = qv_rng_below(&rng, 200);
            char text[256];
            for (size_t k = 0; k < len; k++)
                text[k] = (char)('a' + qv_rng_below(&rng, 26));
            qv_buf_printf(&in, "POST /echo HTTP/1.1\r\nHost: a\r\n");
            if (chunked) {
                qv_buf_str(&in, "Transfer-Encoding: chunked\r\n\r\n");
                for (size_t at = 0; at < len;) {
                    size_t step = 1 + qv_rng_below(&rng, len - at);
                    qv_buf_printf(&in, "%zx\r\n", step);
                    qv_buf_append(&in, text + at, step);
                    qv_buf_str(&in, "\r\n");
                    at += step;
                }
                qv_buf_str(&in, "0\r\n\r\n");
            } else {
                qv_buf_printf(&in, "Content-Length: %zu\r\n\r\n", len);
                qv_buf_append(&in, text, len);
            }
            qv_buf_printf(&want,
                          "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n"
                          "content-length: %zu\r\n\r\n",
                          len);
            qv_buf_append(&want, text, len);
        }
        qv_buf_u8(&want, 0);
        char *out = talk((const char *)in.data, in.len, 0, (uint64_t)round);
        if (strcmp(out, (const char *)want.data) != 0)
            fail_msg("seed %u, round %d:\n%s\ninstead of\n%s", SEED, round, out,
                     (const char *)want.data);
        qv_mem_free(out);
        qv_buf_close(&in);
        qv_buf_close(&want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http1_rows),
        cmocka_unit_test(test_http1_nul),
        cmocka_unit_test(test_http1_facts),
        cmocka_unit_test(test_http1_limits),
        cmocka_unit_test(test_cors),
        cmocka_unit_test(test_pipeline_property),
        cmocka_unit_test(test_grpc_rows),
        cmocka_unit_test(test_http2_header_list),
        cmocka_unit_test(test_http2_early),
        cmocka_unit_test(test_http2_slow_body),
        cmocka_unit_test(test_unread_answers),
        cmocka_unit_test(test_announced_length),
        cmocka_unit_test(test_unread_pipeline),
        cmocka_unit_test(test_grpc_deadline),
    };
    return RUN_SUITE(tests);
}
