/* Server and client over real sockets on the loopback. */
#include "net_fixture.h"
#include "suite.h"

#include "base/mem.h"
#include "base/rng.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct echo_server server;

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static struct qv_client *client_open(const char *url, bool http1, bool own_thread)
{
    struct qv_client_config config = {
        .url = url, .ca_path = net_fixture_ca(), .http1 = http1, .own_thread = own_thread};
    struct qv_client *client;
    struct qv_errmsg msg;
    assert_int_equal(qv_client_create(&config, &client, &msg), 0);
    return client;
}

static uint8_t *random_bytes(size_t n, uint64_t seed)
{
    struct qv_rng rng;
    qv_rng_init(&rng, seed);
    uint8_t *p = qv_mem_alloc(n + 8);
    for (size_t i = 0; i < n; i += 8) {
        uint64_t v = qv_rng_u64(&rng);
        memcpy(p + i, &v, 8);
    }
    return p;
}

static void echo_size(struct qv_client *client, bool grpc, size_t n)
{
    uint8_t *body = random_bytes(n, n + 1);
    struct qv_client_request request = {
        .method = "POST", .path = grpc ? "/t.T/Later" : "/later", .grpc = grpc, .body = {body, n}};
    struct qv_client_answer answer;
    assert_int_equal(qv_client_call(client, &request, &answer), 0);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.grpc_status, 0);
    assert_int_equal(answer.body.len, n);
    if (n > 0)
        assert_memory_equal(answer.body.data, body, n);
    qv_client_answer_close(&answer);
    qv_mem_free(body);
}

static void echo_sizes(bool http1, bool grpc, bool own_thread)
{
    static const size_t sizes[] = {0,     1,     5,      3136,    16383,   16384,
                                   16385, 65536, 262145, 1048576, 8388608, 33554432};
    struct qv_net_server_config config;
    qv_net_server_config_init(&config);
    config.limits.body_bytes_max = (size_t)64 << 20;
    echo_server_start(&server, &config);
    struct qv_client *client = client_open(server.url, http1, own_thread);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        echo_size(client, grpc, sizes[i]);
    qv_client_destroy(&client);
    struct qv_net_stats stats;
    qv_net_server_stats(server.net, &stats);
    assert_int_equal(stats.calls_total, sizeof sizes / sizeof sizes[0]);
    assert_int_equal(stats.connections_total, 1);
    assert_int_equal(stats.protocol_errors, 0);
    echo_server_stop(&server, 1000);
}

static void test_echo_http1(void **state)
{
    (void)state;
    echo_sizes(true, false, false);
}

static void test_echo_http2(void **state)
{
    (void)state;
    echo_sizes(false, false, true);
}

static void test_echo_grpc(void **state)
{
    (void)state;
    echo_sizes(false, true, false);
}

/* ---- many in flight ------------------------------------------------------------------------- */

struct flight {
    struct qv_client *client;
    struct qv_rng rng;
    uint8_t *bytes;
    unsigned sent, done, bad, total;
    bool grpc;
};

struct flight_call {
    struct flight *flight;
    struct qv_bytes body;
    struct qv_net_header header;
};

static void flight_send(struct flight *f);

static void flight_done(void *arg, const struct qv_client_response *r)
{
    struct flight_call *c = arg;
    struct flight *f = c->flight;
    f->done++;
    if (r->err != 0 || r->status != 200 || r->body.n != c->body.n ||
        (c->body.n > 0 && memcmp(r->body.p, c->body.p, c->body.n) != 0))
        f->bad++;
    qv_mem_free(c);
    if (f->sent < f->total)
        flight_send(f);
}

static void flight_send(struct flight *f)
{
    static const char *const delays[] = {"0", "0", "0", "1"};
    bool later = qv_rng_below(&f->rng, 2) == 0;
    size_t at = qv_rng_below(&f->rng, 1000);
    size_t n = qv_rng_below(&f->rng, 20) == 0 ? qv_rng_below(&f->rng, 200000)
                                              : qv_rng_below(&f->rng, 4000);
    struct flight_call *c = qv_mem_alloc(sizeof *c);
    c->flight = f;
    c->body = (struct qv_bytes){f->bytes + at, n};
    c->header.name = "x-delay-ms";
    c->header.value = delays[qv_rng_below(&f->rng, 4)];
    struct qv_client_request request = {.method = "POST",
                                        .path = f->grpc ? (later ? "/t.T/Later" : "/t.T/Echo")
                                                        : (later ? "/later" : "/echo"),
                                        .grpc = f->grpc,
                                        .headers = &c->header,
                                        .n_headers = 1,
                                        .body = c->body};
    f->sent++;
    assert_int_equal(qv_client_send(f->client, &request, flight_done, c), 0);
}

static void fly(bool http1, uint32_t connections, uint32_t in_flight, uint32_t loops)
{
    struct qv_net_server_config config;
    qv_net_server_config_init(&config);
    config.loops = loops;
    echo_server_start(&server, &config);
    struct qv_client_config cc = {.url = server.url,
                                  .ca_path = net_fixture_ca(),
                                  .http1 = http1,
                                  .connections = connections,
                                  .in_flight_max = in_flight};
    struct flight f = {.total = 2000, .grpc = !http1};
    qv_rng_init(&f.rng, 42);
    f.bytes = random_bytes(201000, 7);
    assert_int_equal(qv_client_create(&cc, &f.client, NULL), 0);
    for (unsigned i = 0; i < connections * in_flight; i++)
        flight_send(&f);
    qv_client_run(f.client);
    assert_int_equal(f.done, f.total);
    assert_int_equal(f.bad, 0);
    qv_client_destroy(&f.client);
    echo_server_stop(&server, 1000);
    qv_mem_free(f.bytes);
}

static void test_flight_grpc(void **state)
{
    (void)state;
    fly(false, 1, 64, 1);
    fly(false, 3, 100, 2);
}

static void test_flight_pipelined(void **state)
{
    (void)state;
    fly(true, 1, 32, 1);
    fly(true, 8, 1, 2);
}

/* ---- statuses ------------------------------------------------------------------------------- */

static int grpc_status_of(struct qv_client *client, const char *path, char *text, uint32_t timeout)
{
    static const struct qv_net_header slow = {"x-delay-ms", "400"};
    struct qv_client_request request = {.path = path,
                                        .grpc = true,
                                        .body = {(const uint8_t *)"x", 1},
                                        .headers = &slow,
                                        .n_headers = timeout != 0,
                                        .timeout_ms = timeout};
    struct qv_client_answer answer;
    int err = qv_client_call(client, &request, &answer);
    if (err != 0)
        return err;
    snprintf(text, 256, "%s", answer.grpc_message);
    int status = answer.grpc_status;
    qv_client_answer_close(&answer);
    return status;
}

static void test_grpc_statuses(void **state)
{
    char text[256];
    (void)state;
    echo_server_start(&server, NULL);
    struct qv_client *client = client_open(server.url, false, false);
    assert_int_equal(grpc_status_of(client, "/t.T/Missing", text, 0), QV_GRPC_NOT_FOUND);
    assert_string_equal(text, "Not found: 50 % of caf\xC3\xA9!");
    assert_int_equal(grpc_status_of(client, "/t.T/Nope", text, 0), QV_GRPC_UNIMPLEMENTED);
    assert_int_equal(grpc_status_of(client, "/t.T/Echo", text, 0), QV_GRPC_OK);
    assert_int_equal(grpc_status_of(client, "/t.T/Later", text, 30), QV_ETIMEOUT);
    assert_int_equal(grpc_status_of(client, "/t.T/Echo", text, 0), QV_GRPC_OK);
    qv_client_destroy(&client);
    echo_server_stop(&server, 1000);
    assert_int_equal(atomic_load(&server.cancelled_seen), 1);
}

/* The server's own deadline: answered in time although the handler is not. */
static void test_server_deadline(void **state)
{
    struct qv_net_server_config config;
    static const struct qv_net_header slow = {"x-delay-ms", "5000"};
    (void)state;
    qv_net_server_config_init(&config);
    config.limits.request_timeout_ms = 100;
    echo_server_start(&server, &config);
    for (int http1 = 0; http1 < 2; http1++) {
        struct qv_client *client = client_open(server.url, http1 == 1, false);
        struct qv_client_request request = {.method = "POST",
                                            .path = http1 ? "/later" : "/t.T/Later",
                                            .grpc = !http1,
                                            .headers = &slow,
                                            .n_headers = 1,
                                            .body = {(const uint8_t *)"x", 1}};
        struct qv_client_answer answer;
        uint64_t from = now_ms();
        assert_int_equal(qv_client_call(client, &request, &answer), 0);
        assert_true(now_ms() - from < 2000);
        if (http1)
            assert_int_equal(answer.status, 408);
        else
            assert_int_equal(answer.grpc_status, QV_GRPC_DEADLINE_EXCEEDED);
        qv_client_answer_close(&answer);
        echo_size(client, !http1, 100);
        qv_client_destroy(&client);
    }
    echo_server_stop(&server, 1000);
    assert_int_equal(atomic_load(&server.cancelled_seen), 2);
}

static void test_auth_hook(void **state)
{
    static const struct qv_net_header key = {"x-key", "yes"};
    (void)state;
    server.refuse_unauthorized = true;
    echo_server_start(&server, NULL);
    uint8_t *body = random_bytes(5000000, 1);
    for (int http1 = 0; http1 < 2; http1++) {
        struct qv_client *client = client_open(server.url, http1 == 1, false);
        for (int i = 0; i < 6; i++) {
            bool with_key = i % 2 == 1;
            struct qv_client_request request = {.method = "POST",
                                                .path = "/echo",
                                                .headers = &key,
                                                .n_headers = with_key ? 1 : 0,
                                                .body = {body, i < 2 ? 100 : 5000000}};
            struct qv_client_answer answer;
            assert_int_equal(qv_client_call(client, &request, &answer), 0);
            assert_int_equal(answer.status, with_key ? 200 : 401);
            qv_client_answer_close(&answer);
        }
        qv_client_destroy(&client);
    }
    qv_mem_free(body);
    echo_server_stop(&server, 1000);
    assert_int_equal(atomic_load(&server.handled), 6);
}

/* ---- raw HTTP/1 ----------------------------------------------------------------------------- */

static void exchange(const char *request, char *out, size_t max)
{
    int fd = raw_connect(server.port);
    raw_send_str(fd, request);
    shutdown(fd, SHUT_WR);
    raw_read_all(fd, out, max);
    close(fd);
}

static void test_half_close(void **state)
{
    char out[4096];
    (void)state;
    echo_server_start(&server, NULL);
    exchange("POST /later HTTP/1.1\r\nHost: a\r\nx-delay-ms: 50\r\nContent-Length: 3\r\n\r\nabc",
             out, sizeof out - 1);
    assert_non_null(strstr(out, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(out, "\r\n\r\nabc"));
    /* Half a request, then nothing more. */
    exchange("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\nabc", out,
             sizeof out - 1);
    assert_non_null(strstr(out, "HTTP/1.1 400 "));
    echo_server_stop(&server, 1000);
    assert_int_equal(atomic_load(&server.cancelled_seen), 0);
}

static void test_expect_continue(void **state)
{
    char out[4096];
    (void)state;
    echo_server_start(&server, NULL);
    int fd = raw_connect(server.port);
    raw_send_str(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                     "Content-Length: 5\r\n\r\n");
    raw_read_until(fd, out, sizeof out - 1, "\r\n\r\n");
    assert_string_equal(out, "HTTP/1.1 100 Continue\r\n\r\n");
    raw_send_str(fd, "hello");
    raw_read_until(fd, out, sizeof out - 1, "hello");
    assert_non_null(strstr(out, "HTTP/1.1 200 OK"));
    /* Refused before the body is asked for. */
    raw_send_str(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                     "Content-Length: 99999999999\r\n\r\n");
    raw_read_all(fd, out, sizeof out - 1);
    assert_null(strstr(out, "100 Continue"));
    assert_non_null(strstr(out, "HTTP/1.1 413 "));
    close(fd);
    exchange("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: coffee\r\nContent-Length: 1\r\n\r\nx", out,
             sizeof out - 1);
    assert_non_null(strstr(out, "HTTP/1.1 417 "));
    echo_server_stop(&server, 1000);
}

/* 100 MB in chunks: refused at the limit, and the answer arrives although the sender goes on. */
static void test_chunked_flood(void **state)
{
    char out[4096];
    static char chunk[65536 + 16];
    (void)state;
    echo_server_start(&server, NULL);
    int fd = raw_connect(server.port);
    raw_send_str(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    memcpy(chunk, "10000\r\n", 7);
    memcpy(chunk + 7 + 65536, "\r\n", 2);
    for (int i = 0; i < 1600; i++)
        raw_send(fd, chunk, 65536 + 9);
    raw_read_all(fd, out, sizeof out - 1);
    close(fd);
    assert_non_null(strstr(out, "HTTP/1.1 413 "));
    assert_non_null(strstr(out, "connection: close"));
    struct qv_net_stats stats;
    qv_net_server_stats(server.net, &stats);
    assert_int_equal(stats.buffered_bytes, 0);
    echo_server_stop(&server, 1000);
    assert_int_equal(atomic_load(&server.handled), 0);
}

/* A peer that reads its 64 MiB slowly gets all of it, and the server isn't held up by it. */
static void test_slow_reader(void **state)
{
    static char buf[100000];
    (void)state;
    echo_server_start(&server, NULL);
    int fd = raw_connect(server.port);
    raw_send_str(fd, "GET /big?n=33554432 HTTP/1.1\r\nHost: a\r\n\r\n"
                     "GET /big?n=33554432 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    struct qv_client *client = client_open(server.url, true, false);
    size_t total = 0;
    for (unsigned turn = 0;; turn++) {
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        assert_true(n >= 0);
        if (n == 0)
            break;
        total += (size_t)n;
        if (turn % 64 == 0) {
            echo_size(client, false, 10);
            usleep(2000);
        }
    }
    assert_true(total > 2u * 33554432u && total < 2u * 33554432u + 1000);
    close(fd);
    qv_client_destroy(&client);
    echo_server_stop(&server, 1000);
}

/* A peer that asks for much and never reads is cut off. */
static void test_unread_is_cut(void **state)
{
    struct qv_net_server_config config;
    struct qv_net_stats stats;
    (void)state;
    qv_net_server_config_init(&config);
    config.limits.write_timeout_ms = 300;
    echo_server_start(&server, &config);
    int fd = raw_connect(server.port);
    raw_send_str(fd, "GET /big?n=33554432 HTTP/1.1\r\nHost: a\r\n\r\n");
    uint64_t from = now_ms();
    do {
        usleep(10000);
        qv_net_server_stats(server.net, &stats);
    } while (stats.connections_open > 0 || stats.calls_total == 0);
    assert_true(now_ms() - from < 5000);
    close(fd);
    echo_server_stop(&server, 1000);
}

/* One write of 32 MiB to a reader that takes seconds for it, but never stops: not a dead peer. */
static void test_slow_reader_is_served(void **state)
{
    (void)state;
    struct qv_net_server_config config;
    qv_net_server_config_init(&config);
    config.limits.write_timeout_ms = 600;
#if defined(NET_OVER_TLS) && defined(__SANITIZE_THREAD__)
    config.limits.write_timeout_ms = 10000; /* the relay in between is slower than that */
#endif
    echo_server_start(&server, &config);
    int fd = raw_connect(server.port);
    raw_send_str(fd, "GET /big?n=33554432 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    char *buf = qv_mem_alloc((size_t)1 << 20);
    size_t total = 0;
    for (ssize_t n = 1; n > 0;) {
        size_t want = (size_t)1 << 20;
        for (n = 1; n > 0 && want > 0; want -= (size_t)n) {
            n = recv(fd, buf, want, 0);
            total += n > 0 ? (size_t)n : 0;
            if (n <= 0)
                break;
        }
        struct timespec pause = {.tv_nsec = 60 * 1000000};
        nanosleep(&pause, NULL);
    }
    assert_true(total > 33554432);
    qv_mem_free(buf);
    close(fd);
    echo_server_stop(&server, 0);
}

static void test_ipv6(void **state)
{
    struct qv_net_server_config config;
    char url[64];
    (void)state;
    qv_net_server_config_init(&config);
    config.host = "::1";
    config.n_ports = 2;
    config.handler = echo_handle;
    struct qv_net_server *probe;
    if (qv_net_server_create(&config, &probe, NULL) != 0)
        skip(); /* a machine without IPv6 */
    qv_net_server_destroy(&probe);
    echo_server_start(&server, &config);
    for (uint32_t i = 0; i < 2; i++) {
        snprintf(url, sizeof url, NET_SCHEME "://[::1]:%u", qv_net_server_port(server.net, i));
        struct qv_client *client = client_open(url, i == 0, false);
        echo_size(client, i != 0, 1000);
        qv_client_destroy(&client);
    }
    echo_server_stop(&server, 1000);
}

static void wait_for(atomic_uint *value, unsigned want)
{
    for (int i = 0; i < 3000 && atomic_load(value) < want; i++)
        usleep(1000);
    assert_true(atomic_load(value) >= want);
}

/* The client resets its connection: the worker sees it and stops. */
static void test_reset_cancels(void **state)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    (void)state;
    echo_server_start(&server, NULL);
    int fd = raw_connect(server.port);
    raw_send_str(fd, "POST /later HTTP/1.1\r\nHost: a\r\nx-delay-ms: 20000\r\n"
                     "Content-Length: 3\r\n\r\nabc");
    wait_for(&server.handled, 1);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    close(fd);
    wait_for(&server.cancelled_seen, 1);
    /* Closed without a reset: after a grace time. */
    fd = raw_connect(server.port);
    raw_send_str(fd, "POST /later HTTP/1.1\r\nHost: a\r\nx-delay-ms: 20000\r\n"
                     "Content-Length: 3\r\n\r\nabc");
    wait_for(&server.handled, 2);
    close(fd);
    wait_for(&server.cancelled_seen, 2);
    echo_server_stop(&server, 1000);
}

static void test_slow_header_and_body(void **state)
{
    char out[4096];
    struct qv_net_server_config config;
    (void)state;
    qv_net_server_config_init(&config);
    config.limits.header_timeout_ms = 200;
    config.limits.body_timeout_ms = 200;
    config.limits.idle_timeout_ms = 600;
    echo_server_start(&server, &config);
    int fd = raw_connect(server.port);
    raw_send_str(fd, "GET /echo HTTP/1.1\r\nHo");
    raw_read_all(fd, out, sizeof out - 1);
    assert_non_null(strstr(out, "HTTP/1.1 408 "));
    close(fd);
    fd = raw_connect(server.port);
    raw_send_str(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    raw_read_all(fd, out, sizeof out - 1);
    assert_non_null(strstr(out, "HTTP/1.1 408 "));
    close(fd);
    fd = raw_connect(server.port); /* says nothing at all */
    uint64_t from = now_ms();
    assert_int_equal(raw_read_all(fd, out, sizeof out - 1), 0);
    assert_true(now_ms() - from < 5000);
    close(fd);
    fd = raw_connect(server.port); /* idle after one request */
    raw_send_str(fd, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    raw_read_all(fd, out, sizeof out - 1);
    assert_non_null(strstr(out, "HTTP/1.1 200 "));
    close(fd);
    echo_server_stop(&server, 1000);
}

static void test_budgets(void **state)
{
    char out[4096];
    struct qv_net_server_config config;
    (void)state;
    qv_net_server_config_init(&config);
    config.limits.buffered_bytes_max = 100000;
    config.limits.calls_max = 2;
    echo_server_start(&server, &config);
    int a = raw_connect(server.port);
    raw_send_str(a, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n");
    static char zeros[90000];
    raw_send(a, zeros, 80000);
    usleep(50000);
    char head[64];
    snprintf(head, sizeof head, "GET /echo HTTP/1.1\r\nHost: a\r\nx: ");
    int h = raw_connect(server.port); /* headers count too */
    raw_send_str(h, head);
    raw_send(h, memset(zeros, 'x', sizeof zeros), 30000);
    raw_read_all(h, out, sizeof out - 1);
    assert_non_null(strstr(out, "HTTP/1.1 429 "));
    close(h);
    int b = raw_connect(server.port);
    raw_send_str(b, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n");
    raw_send(b, zeros, 90000);
    raw_read_all(b, out, sizeof out - 1);
    assert_non_null(strstr(out, "HTTP/1.1 429 "));
    assert_non_null(strstr(out, "retry-after: 1\r\n"));
    close(b);
    raw_send(a, zeros, 10000);
    raw_read_until(a, out, sizeof out - 1, "\r\n\r\n");
    assert_non_null(strstr(out, "HTTP/1.1 200 "));
    close(a);
    int c = raw_connect(server.port);
    raw_send_str(c, "GET /later HTTP/1.1\r\nHost: a\r\nx-delay-ms: 300\r\n\r\n"
                    "GET /later HTTP/1.1\r\nHost: a\r\n\r\n"
                    "GET /later HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    raw_read_all(c, out, sizeof out - 1);
    char *second = strstr(out + 1, "HTTP/1.1 200 ");
    assert_non_null(second);
    assert_non_null(strstr(second, "HTTP/1.1 429 "));
    close(c);
    echo_server_stop(&server, 1000);
}

static void test_connections_max(void **state)
{
    char out[256];
    struct qv_net_server_config config;
    (void)state;
    qv_net_server_config_init(&config);
    config.limits.connections_max = 3;
    echo_server_start(&server, &config);
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = raw_connect(server.port);
        usleep(20000);
    }
    assert_int_equal(raw_read_all(fds[3], out, sizeof out - 1), 0);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    usleep(50000);
    int fd = raw_connect(server.port);
    raw_send_str(fd, "GET /echo HTTP/1.0\r\n\r\n");
    raw_read_all(fd, out, sizeof out - 1);
    assert_non_null(strstr(out, "HTTP/1.1 200 "));
    close(fd);
    echo_server_stop(&server, 1000);
}

/* ---- the end -------------------------------------------------------------------------------- */

struct last {
    unsigned good, refused, other;
};

static void last_done(void *arg, const struct qv_client_response *r)
{
    struct last *last = arg;
    if (r->err == 0 && r->status == 200 && r->grpc_status == 0)
        last->good++;
    else
        last->other++;
}

static void drain(bool http1)
{
    static const struct qv_net_header slow = {"x-delay-ms", "30"};
    struct last last = {0};
    echo_server_start(&server, NULL);
    struct qv_client *client = client_open(server.url, http1, true);
    struct qv_client_request request = {.method = "POST",
                                        .path = http1 ? "/later" : "/t.T/Later",
                                        .grpc = !http1,
                                        .headers = &slow,
                                        .n_headers = 1,
                                        .body = {(const uint8_t *)"abc", 3}};
    unsigned n = http1 ? 1 : 8;
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(qv_client_send(client, &request, last_done, &last), 0);
    wait_for(&server.handled, n);
    uint64_t from = now_ms();
    echo_server_stop(&server, 5000);
    assert_true(now_ms() - from < 4000);
    qv_client_destroy(&client);
    assert_int_equal(last.good, n);
    assert_int_equal(last.other, 0);
}

static void test_drain(void **state)
{
    (void)state;
    drain(false);
    drain(true);
}

/* The drain time is over before the work is: cut, and the worker's answer is dropped safely. */
static void test_cut(void **state)
{
    static const struct qv_net_header slow = {"x-delay-ms", "10000"};
    struct last last = {0};
    (void)state;
    echo_server_start(&server, NULL);
    struct qv_client *client = client_open(server.url, false, true);
    struct qv_client_request request = {.path = "/t.T/Later",
                                        .grpc = true,
                                        .headers = &slow,
                                        .n_headers = 1,
                                        .body = {(const uint8_t *)"abc", 3}};
    assert_int_equal(qv_client_send(client, &request, last_done, &last), 0);
    wait_for(&server.handled, 1);
    uint64_t from = now_ms();
    echo_server_stop(&server, 50);
    assert_true(now_ms() - from < 2000);
    qv_client_destroy(&client);
    assert_int_equal(last.other, 1);
    assert_int_equal(atomic_load(&server.cancelled_seen), 1);
}

static void test_port_taken(void **state)
{
    struct qv_net_server_config config;
    struct qv_net_server *other;
    struct qv_errmsg msg;
    (void)state;
    echo_server_start(&server, NULL);
    for (uint32_t loops = 1; loops < 3; loops++) {
        qv_net_server_config_init(&config);
        config.n_ports = 1;
        config.ports[0] = server.port;
        config.loops = loops;
        config.handler = echo_handle;
        assert_int_equal(qv_net_server_create(&config, &other, &msg), QV_EBUSY);
        assert_non_null(strstr(msg.text, "already in use"));
    }
    echo_server_stop(&server, 0);
}

static void test_client_errors(void **state)
{
    struct qv_client *client;
    struct qv_client_config config = {.url = "ftp://x"};
    struct qv_errmsg msg;
    struct qv_client_answer answer;
    (void)state;
    assert_int_equal(qv_client_create(&config, &client, &msg), QV_EINVAL);
    echo_server_start(&server, NULL);
    char url[64];
    snprintf(url, sizeof url, "%s", server.url);
    client = client_open(url, false, false);
    echo_size(client, true, 100);
    echo_server_stop(&server, 0);
    struct qv_client_request request = {.method = "GET", .path = "/"};
    assert_int_equal(qv_client_call(client, &request, &answer), QV_EUNAVAILABLE);
    request.path = "no slash";
    assert_int_equal(qv_client_call(client, &request, &answer), QV_EINVAL);
    qv_client_destroy(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo_http1),
        cmocka_unit_test(test_echo_http2),
        cmocka_unit_test(test_echo_grpc),
        cmocka_unit_test(test_flight_grpc),
        cmocka_unit_test(test_flight_pipelined),
        cmocka_unit_test(test_grpc_statuses),
        cmocka_unit_test(test_server_deadline),
        cmocka_unit_test(test_auth_hook),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_chunked_flood),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_unread_is_cut),
        cmocka_unit_test(test_slow_reader_is_served),
        cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_reset_cancels),
        cmocka_unit_test(test_slow_header_and_body),
        cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_connections_max),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_port_taken),
        cmocka_unit_test(test_client_errors),
    };
    return RUN_SUITE(tests);
}
