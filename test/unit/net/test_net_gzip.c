/* gzip both ways: packed requests, bombs, answers packed where asked for. */
#include "net_fixture.h"
#include "net_peer.h"
#include "suite.h"

#include "base/mem.h"
#include "base/rng.h"
#include "net/gzip.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD                                                                                       \
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n"

/* JSON-like text of n bytes; text of another seed is another one. */
static void text_of(struct qv_buf *b, size_t n, uint64_t seed)
{
    struct qv_rng rng;
    qv_rng_init(&rng, seed);
    qv_buf_init(b, 0);
    while (b->len < n)
        qv_buf_printf(b, "{\"id\":%u,\"score\":0.%u},", (unsigned)qv_rng_below(&rng, 99999),
                      (unsigned)qv_rng_below(&rng, 9999999));
    b->len = n;
}

static struct qv_buf packed_of(const struct qv_buf *plain)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    assert_int_equal(qv_gzip_pack((struct qv_bytes){plain->data, plain->len}, &b), 0);
    return b;
}

static void test_round_trip(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SANITIZED_LESS(400); seed++) {
        struct qv_rng rng;
        struct qv_buf plain, packed, again;
        qv_rng_init(&rng, seed);
        size_t n = (size_t)1 << qv_rng_below(&rng, 19);
        text_of(&plain, n + qv_rng_below(&rng, n + 1), seed);
        if (qv_rng_below(&rng, 4) == 0) { /* from somewhere on, noise */
            for (size_t i = qv_rng_below(&rng, plain.len); i < plain.len; i++)
                plain.data[i] = (uint8_t)qv_rng_u64(&rng);
        }
        qv_buf_init(&packed, 0);
        qv_buf_init(&again, 0);
        int err = qv_gzip_pack((struct qv_bytes){plain.data, plain.len}, &packed);
        if (err == 0) {
            struct qv_bytes in = {packed.data, packed.len};
            assert_true(packed.len < plain.len);
            assert_int_equal(qv_gzip_unpack(in, plain.len, &again), 0);
            assert_int_equal(again.len, plain.len);
            assert_memory_equal(again.data, plain.data, plain.len);
            assert_int_equal(qv_gzip_unpack(in, plain.len - 1, &again), QV_ETOOBIG);
        } else { /* noise, or too little */
            assert_int_equal(err, QV_ETOOBIG);
            assert_int_equal(packed.len, 0);
        }
        qv_buf_close(&plain);
        qv_buf_close(&packed);
        qv_buf_close(&again);
    }
}

static void test_accepted(void **state)
{
    static const struct {
        const char *value;
        bool wanted;
    } rows[] = {{NULL, false},
                {"", false},
                {"gzip", true},
                {"GZIP", true},
                {"x-gzip", true},
                {"deflate, gzip", true},
                {"identity,deflate,gzip", true},
                {"gzip;q=0", false},
                {"gzip; q=0.000", false},
                {"gzip;q=0.001", true},
                {"gzip ; q=0 , br", false},
                {"gzip;Q=0", false},
                {"gzip;q=1.0, identity;q=0.5", true},
                {"gzip;x=y;q=0", false},
                {"br;q=1, gzip;q=0.8, *;q=0.1", true},
                {"*", true},
                {"*;q=0", false},
                {"*, gzip;q=0", false},
                {"gzip;q=0, *", false},
                {"identity", false},
                {"gzipped", false},
                {"br, gzi", false},
                {",,;;,", false},
                {"gzip;q=", true},
                {"gzip;", true}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (qv_gzip_is_accepted(rows[i].value) != rows[i].wanted)
            fail_msg("'%s'", rows[i].value != NULL ? rows[i].value : "(none)");
    }
    assert_int_equal(qv_gzip_content_encoding("gzip"), 1);
    assert_int_equal(qv_gzip_content_encoding("X-GZIP"), 1);
    assert_int_equal(qv_gzip_content_encoding("identity"), 0);
    assert_int_equal(qv_gzip_content_encoding(""), 0);
    assert_int_equal(qv_gzip_content_encoding("br"), QV_ENOTIMPL);
    assert_int_equal(qv_gzip_content_encoding("gzip, gzip"), QV_ENOTIMPL);
}

/* ---- requests ------------------------------------------------------------------------------- */

/* A request of HTTP/1 with this packed body; wanted is a part of the answer. */
static void http1_row(const struct qv_buf *packed, size_t body_max, const char *wanted,
                      const struct qv_buf *echo)
{
    char head[200];
    struct memory_conn m;
    struct qv_net_server_config config;
    qv_net_server_config_init(&config);
    config.limits.body_bytes_max = body_max;
    echo_conn_open(&m, &config);
    snprintf(head, sizeof head, HEAD, packed->len);
    memory_conn_feed(&m, head, strlen(head));
    memory_conn_feed(&m, packed->data, packed->len);
    memory_conn_feed(&m, "GET /info HTTP/1.1\r\nHost: a\r\n\r\n", 31);
    memory_conn_pump(&m);
    qv_buf_u8(&m.out, 0);
    if (strstr((char *)m.out.data, wanted) == NULL)
        fail_msg("wanted %s, got %.300s", wanted, (char *)m.out.data);
    if (echo != NULL)
        assert_non_null(memmem(m.out.data, m.out.len, echo->data, echo->len));
    /* The connection goes on. */
    assert_non_null(memmem(m.out.data, m.out.len, "GET /info", 9));
    memory_conn_close(&m);
}

static void test_http1_requests(void **state)
{
    struct qv_buf plain, packed;
    (void)state;
    static const size_t sizes[] = {400, 3000, 60000, 900000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        text_of(&plain, sizes[i], i);
        packed = packed_of(&plain);
        http1_row(&packed, sizes[i], "HTTP/1.1 200 ", &plain);
        http1_row(&packed, sizes[i] - 1, "HTTP/1.1 413 ", NULL);
        packed.data[packed.len - 5] ^= 1;
        http1_row(&packed, sizes[i], "HTTP/1.1 400 ", NULL);
        packed.data[packed.len - 5] ^= 1;
        packed.len -= 3;
        http1_row(&packed, sizes[i], "HTTP/1.1 400 ", NULL);
        packed.data[0] = 'x';
        http1_row(&packed, sizes[i], "HTTP/1.1 400 ", NULL);
        qv_buf_close(&plain);
        qv_buf_close(&packed);
    }
    qv_buf_init(&packed, 0); /* no body at all */
    http1_row(&packed, 10, "HTTP/1.1 200 ", NULL);
}

/* A bomb a thousand times the limit takes no more memory than the limit. */
static void test_bomb(void **state)
{
    struct qv_buf plain, packed;
    (void)state;
    qv_buf_init(&plain, 0);
    size_t n = (size_t)64 << 20;
    memset(qv_buf_reserve(&plain, n), '0', n);
    plain.len = n;
    packed = packed_of(&plain);
    assert_true(packed.len < n / 200);
    http1_row(&packed, (size_t)1 << 20, "HTTP/1.1 413 ", NULL);
    qv_buf_clear(&plain);
    assert_int_equal(qv_gzip_unpack((struct qv_bytes){packed.data, packed.len}, 100000, &plain),
                     QV_ETOOBIG);
    assert_true(plain.len <= 100000 + 65536);
    qv_buf_close(&plain);
    qv_buf_close(&packed);
}

static void encoding_row(const char *headers, const char *wanted)
{
    char head[300];
    struct memory_conn m;
    echo_conn_open(&m, NULL);
    snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: a\r\n%sContent-Length: 2\r\n\r\nhi",
             headers);
    memory_conn_feed(&m, head, strlen(head));
    qv_buf_u8(&m.out, 0);
    if (strstr((char *)m.out.data, wanted) == NULL)
        fail_msg("%s: wanted %s, got %s", headers, wanted, (char *)m.out.data);
    memory_conn_close(&m);
}

static void test_encodings(void **state)
{
    (void)state;
    encoding_row("", "HTTP/1.1 200 ");
    encoding_row("Content-Encoding: identity\r\n", "HTTP/1.1 200 ");
    encoding_row("Content-Encoding: br\r\n", "HTTP/1.1 415 ");
    encoding_row("Content-Encoding: br\r\n", "accept-encoding: gzip\r\n");
    encoding_row("Content-Encoding: gzip, gzip\r\n", "HTTP/1.1 415 ");
    encoding_row("Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", "HTTP/1.1 415 ");
    encoding_row("Content-Encoding: gzip\r\n", "HTTP/1.1 400 ");
}

static const char *grpc_packed(struct peer *peer, const struct qv_buf *packed, size_t max)
{
    struct qv_net_server_config config;
    struct qv_buf body;
    uint8_t prefix[QV_GRPC_PREFIX_BYTES];
    qv_net_server_config_init(&config);
    config.limits.message_bytes_max = max;
    qv_buf_init(&body, 0);
    qv_grpc_put_prefix(prefix, packed->len, true);
    qv_buf_append(&body, prefix, sizeof prefix);
    qv_buf_append(&body, packed->data, packed->len);
    peer_open(peer, &config);
    struct source source = {.p = body.data, .n = body.len};
    peer_post(peer, "/t.T/Echo", "application/grpc", "grpc-encoding", "gzip", &source);
    peer_pump(peer);
    qv_buf_close(&body);
    return peer->grpc_status;
}

static void test_grpc_requests(void **state)
{
    struct peer peer;
    struct qv_buf plain, packed;
    static const size_t sizes[] = {400, 9000, 200000};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        text_of(&plain, sizes[i], i);
        packed = packed_of(&plain);
        assert_string_equal(grpc_packed(&peer, &packed, sizes[i]), "0");
        assert_int_equal(peer.body.len, sizes[i] + 5);
        assert_memory_equal(peer.body.data + 5, plain.data, sizes[i]);
        peer_close(&peer);
        assert_string_equal(grpc_packed(&peer, &packed, sizes[i] - 1), "8");
        peer_close(&peer);
        packed.len--;
        assert_string_equal(grpc_packed(&peer, &packed, sizes[i]), "13");
        peer_close(&peer);
        packed.len = 0;
        assert_string_equal(grpc_packed(&peer, &packed, sizes[i]), "13");
        peer_close(&peer);
        qv_buf_close(&plain);
        qv_buf_close(&packed);
    }
}

/* The client goes away while its body is being unpacked. */
static void test_gone_while_unpacking(void **state)
{
    struct qv_buf plain, packed;
    struct memory_conn m;
    char head[200];
    (void)state;
    text_of(&plain, 100000, 1);
    packed = packed_of(&plain);
    echo_conn_open(&m, NULL);
    snprintf(head, sizeof head, HEAD, packed.len);
    qv_conn_feed(m.conn, head, strlen(head));
    qv_conn_feed(m.conn, packed.data, packed.len);
    assert_int_equal(m.core.n_jobs, 1);
    qv_conn_cancel_calls(m.conn);
    memory_conn_close(&m);
    qv_buf_close(&plain);
    qv_buf_close(&packed);
}

/* ---- answers -------------------------------------------------------------------------------- */

struct elsewhere {
    struct qv_call *call;
    bool keep_plain;
};

static void hold(void *ctx, struct qv_call *call)
{
    ((struct elsewhere *)ctx)->call = call;
}

static void *answer_main(void *arg)
{
    struct elsewhere *e = arg;
    e->call->keep_plain = e->keep_plain;
    struct qv_buf *out = qv_call_out(e->call);
    struct qv_bytes in = e->call->is_grpc ? e->call->message : e->call->body;
    qv_buf_append(out, in.p, in.n);
    if (e->call->is_grpc)
        qv_call_reply_grpc(e->call, 0, NULL, out);
    else
        qv_call_reply(e->call, 200, "application/json", NULL, 0, out);
    return NULL;
}

/* Echoes n bytes from another thread and looks at what came. */
static void answer_row(bool grpc, size_t n, const char *accept, bool keep_plain, bool packed)
{
    struct peer peer;
    struct elsewhere e = {.keep_plain = keep_plain};
    struct qv_buf plain, body, got;
    pthread_t thread;
    uint8_t prefix[QV_GRPC_PREFIX_BYTES];
    peer_open(&peer, NULL);
    peer.m.core.handler = hold;
    peer.m.core.ctx = &e;
    text_of(&plain, n, n);
    qv_buf_init(&body, 0);
    qv_buf_init(&got, 0);
    qv_grpc_put_prefix(prefix, n, false);
    if (grpc)
        qv_buf_append(&body, prefix, sizeof prefix);
    qv_buf_append(&body, plain.data, n);
    struct source source = {.p = body.data, .n = body.len};
    peer_post(&peer, grpc ? "/t.T/Echo" : "/echo", grpc ? "application/grpc" : "text/plain",
              accept == NULL ? NULL
              : grpc         ? "grpc-accept-encoding"
                             : "accept-encoding",
              accept, &source);
    peer_pump(&peer);
    assert_non_null(e.call);
    assert_int_equal(pthread_create(&thread, NULL, answer_main, &e), 0);
    pthread_join(thread, NULL);
    peer_pump(&peer);
    assert_int_equal(peer.answers, 1);
    assert_string_equal(peer.encoding, packed ? "gzip" : "");
    assert_string_equal(peer.vary, !grpc && n >= 1024 ? "accept-encoding" : "");
    size_t skip = grpc ? sizeof prefix : 0;
    struct qv_bytes back = {peer.body.data + skip, peer.body.len - skip};
    if (packed)
        assert_int_equal(qv_gzip_unpack(back, n, &got), 0);
    else
        qv_buf_append(&got, back.p, back.n);
    if (grpc)
        assert_int_equal(peer.body.data[0], packed);
    assert_int_equal(got.len, n);
    assert_memory_equal(got.data, plain.data, n);
    peer_close(&peer);
    qv_buf_close(&plain);
    qv_buf_close(&body);
    qv_buf_close(&got);
}

static void test_answers(void **state)
{
    (void)state;
    for (int grpc = 0; grpc < 2; grpc++) {
        answer_row(grpc, 1023, "gzip", false, false);
        answer_row(grpc, 1024, "gzip", false, true);
        answer_row(grpc, 500000, "identity,deflate,gzip", false, true);
        answer_row(grpc, 500000, "gzip;q=0", false, false);
        answer_row(grpc, 500000, "identity", false, false);
        answer_row(grpc, 500000, NULL, false, false);
        answer_row(grpc, 500000, "gzip", true, false);
    }
}

/* HTTP/1 through a server: the worker's answer is packed, the loop's is not. */
static void test_server(void **state)
{
    static struct echo_server server;
    static const char *const paths[] = {"/echo", "/later"};
    struct qv_buf plain, got;
    (void)state;
    text_of(&plain, 50000, 9);
    qv_buf_init(&got, 0);
    echo_server_start(&server, NULL);
    for (int i = 0; i < 2; i++) {
        static char out[200000];
        int fd = raw_connect(server.port);
        snprintf(out, sizeof out,
                 "POST %s HTTP/1.1\r\nHost: a\r\nAccept-Encoding: deflate, gzip;q=0.5\r\n"
                 "Connection: close\r\nContent-Length: %zu\r\n\r\n",
                 paths[i], plain.len);
        raw_send_str(fd, out);
        raw_send(fd, plain.data, plain.len);
        size_t n = raw_read_all(fd, out, sizeof out - 1);
        close(fd);
        char *body = memmem(out, n, "\r\n\r\n", 4);
        assert_non_null(body);
        body += 4;
        assert_non_null(memmem(out, (size_t)(body - out), "vary: accept-encoding\r\n", 23));
        bool packed = memmem(out, (size_t)(body - out), "content-encoding: gzip\r\n", 24) != NULL;
        assert_int_equal(packed, i);
        struct qv_bytes back = {(uint8_t *)body, n - (size_t)(body - out)};
        if (packed) {
            assert_int_equal(qv_gzip_unpack(back, plain.len, &got), 0);
            assert_int_equal(got.len, plain.len);
            assert_memory_equal(got.data, plain.data, plain.len);
        }
    }
    echo_server_stop(&server, 1000);
    qv_buf_close(&plain);
    qv_buf_close(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip),
                                       cmocka_unit_test(test_accepted),
                                       cmocka_unit_test(test_http1_requests),
                                       cmocka_unit_test(test_bomb),
                                       cmocka_unit_test(test_encodings),
                                       cmocka_unit_test(test_grpc_requests),
                                       cmocka_unit_test(test_gone_while_unpacking),
                                       cmocka_unit_test(test_answers),
                                       cmocka_unit_test(test_server)};
    return RUN_SUITE(tests);
}
