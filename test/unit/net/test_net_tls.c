/* TLS: sessions in memory, handshakes good and bad, reload, client certificates, resumption, and
 * what is no TLS at all. (test_net_server_tls is test_net_server with TLS in between.) */
#include "net_fixture.h"
#include "suite.h"
#include "tls_fixture.h"

#include "base/mem.h"
#include "base/rng.h"
#include "net/throwaway_cert.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct echo_server server;
static struct qv_tls_ctx *ctx;

static void start(bool verify_client, uint32_t header_timeout_ms)
{
    struct qv_net_server_config config;
    ctx = tls_server_ctx(verify_client);
    qv_net_server_config_init(&config);
    config.tls = ctx;
    config.limits.header_timeout_ms = header_timeout_ms;
    echo_server_start(&server, &config);
    snprintf(server.url, sizeof server.url, "https://127.0.0.1:%u", server.port);
}

static void stop(void)
{
    echo_server_stop(&server, 1000);
    qv_tls_ctx_destroy(&ctx);
}

static struct qv_net_stats stats_now(void)
{
    struct qv_net_stats stats;
    qv_net_server_stats(server.net, &stats);
    return stats;
}

/* The counters are the loop's: what was done on a socket shows a little later. */
static void wait_failures(uint64_t want)
{
    for (int i = 0; i < 5000 && stats_now().tls_failures < want; i++)
        usleep(1000);
    assert_int_equal(stats_now().tls_failures, want);
}

/* ---- in memory ------------------------------------------------------------------------------ */

struct side {
    struct qv_tls *tls;
    struct qv_rng rng; /* of what it gets */
    size_t got;
};

static void take_plain(void *arg, const void *p, size_t n)
{
    struct side *s = arg;
    const uint8_t *bytes = p;
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != (uint8_t)qv_rng_u64(&s->rng))
            fail_msg("byte %zu differs", s->got + i);
    }
    s->got += n;
}

/* Moves some of what a has pending to b, in pieces. */
static void pump(struct qv_rng *rng, struct side *a, struct side *b)
{
    struct qv_bytes bytes = qv_tls_pending(a->tls);
    if (bytes.n == 0)
        return;
    size_t n = 1 + qv_rng_below(rng, bytes.n);
    size_t piece = 1 + qv_rng_below(rng, n);
    assert_int_equal(qv_tls_feed(b->tls, bytes.p, piece, take_plain, b), 0);
    if (n > piece) /* the first feed may have made b write: a's bytes are where they were */
        assert_int_equal(qv_tls_feed(b->tls, bytes.p + piece, n - piece, take_plain, b), 0);
    qv_tls_sent(a->tls, n);
}

static size_t seal_random(struct qv_rng *rng, struct qv_rng *bytes, struct side *a)
{
    struct qv_outq q;
    size_t taken = 0;
    qv_outq_init(&q);
    size_t runs = 1 + qv_rng_below(rng, 6);
    for (size_t i = 0; i < runs; i++) {
        size_t n = qv_rng_below(rng, 2) == 0 ? qv_rng_below(rng, 100) : qv_rng_below(rng, 50000);
        struct qv_buf b;
        qv_buf_init(&b, 0);
        struct qv_rng ahead = *bytes;
        for (size_t k = 0; k < n; k++)
            qv_buf_u8(&b, (uint8_t)qv_rng_u64(&ahead));
        *bytes = ahead;
        if (qv_rng_below(rng, 2) == 0)
            qv_outq_seal(&q);
        qv_outq_take(&q, &b);
        qv_buf_close(&b);
    }
    while (q.bytes > 0) {
        size_t one;
        assert_int_equal(qv_tls_seal_queue(a->tls, &q, 1 + qv_rng_below(rng, 70000), &one), 0);
        assert_true(one > 0);
        qv_outq_sent(&q, one);
        taken += one;
    }
    qv_outq_close(&q);
    return taken;
}

/* Any pieces in any order both ways: what was sealed here comes out there, in order. */
static void test_sessions_random(void **state)
{
    (void)state;
    struct qv_tls_ctx *server_ctx = tls_server_ctx(false);
    struct qv_tls_config config = {.ca_path = tls_files()->ca};
    struct qv_tls_ctx *client_ctx;
    struct qv_errmsg msg;
    assert_int_equal(qv_tls_ctx_create(&config, &client_ctx, &msg), 0);
    for (uint64_t seed = 1; seed <= SANITIZED_LESS(60); seed++) {
        struct qv_rng rng, sent[2];
        struct side side[2] = {{.tls = qv_tls_open(client_ctx, "localhost")},
                               {.tls = qv_tls_open(server_ctx, NULL)}};
        size_t total[2] = {0, 0};
        printf("seed %llu\n", (unsigned long long)seed);
        qv_rng_init(&rng, seed);
        for (uint64_t i = 0; i < 2; i++) {
            qv_rng_init(&sent[i], seed * 2 + i);
            qv_rng_init(&side[1 - i].rng, seed * 2 + i);
        }
        for (int step = 0; step < 400; step++) {
            size_t i = qv_rng_below(&rng, 2);
            if (qv_tls_is_open(side[i].tls) && qv_rng_below(&rng, 20) == 0)
                total[i] += seal_random(&rng, &sent[i], &side[i]);
            if (qv_rng_below(&rng, 30) == 0)
                qv_tls_trim(side[i].tls);
            pump(&rng, &side[i], &side[1 - i]);
        }
        while (qv_tls_pending(side[0].tls).n + qv_tls_pending(side[1].tls).n > 0) {
            pump(&rng, &side[0], &side[1]);
            pump(&rng, &side[1], &side[0]);
        }
        for (size_t i = 0; i < 2; i++) {
            assert_true(qv_tls_is_open(side[i].tls) && qv_tls_is_h2(side[i].tls));
            assert_int_equal(side[1 - i].got, total[i]);
        }
        qv_tls_end(side[0].tls);
        while (qv_tls_pending(side[0].tls).n > 0)
            pump(&rng, &side[0], &side[1]);
        assert_true(qv_tls_is_ended(side[1].tls) && !qv_tls_is_cut(side[1].tls));
        qv_tls_close(&side[0].tls);
        qv_tls_close(&side[1].tls);
    }
    qv_tls_ctx_destroy(&client_ctx);
    qv_tls_ctx_destroy(&server_ctx);
}

/* One flipped bit anywhere after the handshake ends the session, and nothing wrong comes out. */
static void test_flipped_bits(void **state)
{
    (void)state;
    struct qv_tls_ctx *server_ctx = tls_server_ctx(false);
    struct qv_tls_config config = {.ca_path = tls_files()->ca};
    struct qv_tls_ctx *client_ctx;
    assert_int_equal(qv_tls_ctx_create(&config, &client_ctx, NULL), 0);
    for (uint64_t seed = 1; seed <= SANITIZED_LESS(60); seed++) {
        struct qv_rng rng, sent;
        struct side side[2] = {{.tls = qv_tls_open(client_ctx, "127.0.0.1")},
                               {.tls = qv_tls_open(server_ctx, NULL)}};
        printf("seed %llu\n", (unsigned long long)seed);
        qv_rng_init(&rng, seed);
        while (qv_tls_pending(side[0].tls).n + qv_tls_pending(side[1].tls).n > 0) {
            pump(&rng, &side[0], &side[1]);
            pump(&rng, &side[1], &side[0]);
        }
        qv_rng_init(&sent, seed);
        qv_rng_init(&side[1].rng, seed);
        (void)seal_random(&rng, &sent, &side[0]);
        struct qv_bytes bytes = qv_tls_pending(side[0].tls);
        if (bytes.n > 0) {
            uint8_t *copy = qv_mem_alloc(bytes.n);
            memcpy(copy, bytes.p, bytes.n);
            copy[qv_rng_below(&rng, bytes.n)] ^= (uint8_t)(1u << qv_rng_below(&rng, 8));
            int err = qv_tls_feed(side[1].tls, copy, bytes.n, take_plain, &side[1]);
            assert_true(err == QV_EPROTO || qv_tls_is_cut(side[1].tls));
            assert_true(err == 0 || qv_tls_why(side[1].tls)[0] != '\0');
            qv_mem_free(copy);
        }
        qv_tls_close(&side[0].tls);
        qv_tls_close(&side[1].tls);
    }
    qv_tls_ctx_destroy(&client_ctx);
    qv_tls_ctx_destroy(&server_ctx);
}

/* ---- a client of OpenSSL's own -------------------------------------------------------------- */

struct raw {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
};

static void raw_open(struct raw *r, int version)
{
    r->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(r->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_security_level(r->ctx, 0); /* so that old versions are offered at all */
    if (version != 0) {
        SSL_CTX_set_min_proto_version(r->ctx, version);
        SSL_CTX_set_max_proto_version(r->ctx, version);
    }
    r->ssl = SSL_new(r->ctx);
    r->fd = raw_connect_tcp(server.port);
    SSL_set_fd(r->ssl, r->fd);
}

static void raw_close(struct raw *r)
{
    SSL_free(r->ssl);
    SSL_CTX_free(r->ctx);
    close(r->fd);
    ERR_clear_error();
}

/* One request; true when the answer is 200. */
static bool raw_ask(struct raw *r)
{
    static const char request[] = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";
    char out[1024];
    int n = SSL_write(r->ssl, request, sizeof request - 1);
    n = n > 0 ? SSL_read(r->ssl, out, sizeof out - 1) : 0;
    out[n > 0 ? n : 0] = '\0';
    return strncmp(out, "HTTP/1.1 200 ", 13) == 0;
}

static void test_versions(void **state)
{
    static const struct {
        int version;
        bool good;
    } table[] = {{TLS1_VERSION, false},
                 {TLS1_1_VERSION, false},
                 {TLS1_2_VERSION, true},
                 {TLS1_3_VERSION, true}};
    uint64_t failures = 0;
    (void)state;
    start(false, 0);
    for (size_t i = 0; i < 4; i++) {
        struct raw r;
        raw_open(&r, table[i].version);
        bool good = SSL_connect(r.ssl) == 1 && raw_ask(&r);
        assert_int_equal(good, table[i].good);
        raw_close(&r);
        failures += !table[i].good;
    }
    wait_failures(failures);
    assert_int_equal(stats_now().tls_handshakes, 2);
    stop();
}

static void test_alpn(void **state)
{
    static const struct {
        const char *offer;
        const char *want; /* NULL: refused */
    } table[] = {{"\2h2", "h2"},
                 {"\10http/1.1", "http/1.1"},
                 {"\10http/1.1\2h2", "h2"},
                 {"\6spdy/3\10http/1.1", "http/1.1"},
                 {"\6spdy/3", NULL},
                 {"", ""}};
    (void)state;
    start(false, 0);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const unsigned char *p = NULL;
        unsigned n = 0;
        struct raw r;
        raw_open(&r, 0);
        if (table[i].offer[0] != '\0')
            SSL_set_alpn_protos(r.ssl, (const unsigned char *)table[i].offer,
                                (unsigned)strlen(table[i].offer));
        int rv = SSL_connect(r.ssl);
        assert_int_equal(rv == 1, table[i].want != NULL);
        SSL_get0_alpn_selected(r.ssl, &p, &n);
        if (table[i].want != NULL) {
            assert_int_equal(n, strlen(table[i].want));
            assert_true(n == 0 || memcmp(p, table[i].want, n) == 0);
        }
        raw_close(&r);
    }
    wait_failures(1);
    stop();
}

static void test_resumption(void **state)
{
    (void)state;
    start(false, 0);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct raw r;
        raw_open(&r, version);
        assert_int_equal(SSL_connect(r.ssl), 1);
        assert_true(raw_ask(&r)); /* the ticket comes with the answer */
        SSL_SESSION *ticket = SSL_get1_session(r.ssl);
        SSL_shutdown(r.ssl);
        raw_close(&r);
        raw_open(&r, version);
        SSL_set_session(r.ssl, ticket);
        assert_int_equal(SSL_connect(r.ssl), 1);
        assert_true(raw_ask(&r));
        if (!SSL_session_reused(r.ssl))
            fail_msg("%s is not resumed", SSL_get_version(r.ssl));
        SSL_SESSION_free(ticket);
        raw_close(&r);
    }
    assert_int_equal(stats_now().tls_handshakes, 4);
    assert_int_equal(stats_now().tls_resumed, 2);
    stop();
}

static void test_no_renegotiation(void **state)
{
    (void)state;
    start(false, 0);
    struct raw r;
    raw_open(&r, TLS1_2_VERSION);
    assert_int_equal(SSL_connect(r.ssl), 1);
    assert_true(raw_ask(&r));
    SSL_renegotiate(r.ssl);
    assert_true(SSL_do_handshake(r.ssl) != 1 || !raw_ask(&r));
    raw_close(&r);
    raw_open(&r, 0);
    assert_true(SSL_connect(r.ssl) == 1 && raw_ask(&r));
    raw_close(&r);
    stop();
}

/* Thousands of key updates and empty records: no more is kept than the socket takes. */
static void test_key_updates(void **state)
{
    (void)state;
    start(false, 0);
    struct raw r;
    raw_open(&r, TLS1_3_VERSION);
    assert_int_equal(SSL_connect(r.ssl), 1);
    bool cut = false;
    for (int i = 0; i < 20000 && !cut; i++)
        cut = SSL_key_update(r.ssl, SSL_KEY_UPDATE_REQUESTED) != 1 || SSL_do_handshake(r.ssl) != 1;
    assert_true(cut || raw_ask(&r));
    raw_close(&r);
    raw_open(&r, 0);
    assert_true(SSL_connect(r.ssl) == 1 && raw_ask(&r));
    raw_close(&r);
    stop();
}

/* ---- reload --------------------------------------------------------------------------------- */

static void copy_file(const char *from, const char *to)
{
    static char bytes[65536];
    FILE *f = fopen(from, "rb");
    size_t n = f != NULL ? fread(bytes, 1, sizeof bytes, f) : 0;
    if (f != NULL)
        fclose(f);
    f = fopen(to, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static long serial_of(SSL *ssl)
{
    X509 *x = SSL_get1_peer_certificate(ssl);
    long serial =
        x != NULL ? (long)X509_NAME_hash_ex(X509_get_subject_name(x), NULL, NULL, NULL) : 0;
    X509_free(x);
    return serial;
}

static void test_reload(void **state)
{
    char cert[128], key[128];
    struct qv_errmsg msg;
    const struct tls_files *f = tls_files();
    (void)state;
    snprintf(cert, sizeof cert, "%s/live.pem", f->dir);
    snprintf(key, sizeof key, "%s/live.key", f->dir);
    copy_file(f->cert, cert);
    copy_file(f->key, key);
    struct qv_tls_config config = {.server = true, .cert_path = cert, .key_path = key};
    struct qv_net_server_config net;
    assert_int_equal(qv_tls_ctx_create(&config, &ctx, &msg), 0);
    qv_net_server_config_init(&net);
    net.tls = ctx;
    echo_server_start(&server, &net);
    struct raw old, fresh;
    raw_open(&old, 0);
    assert_int_equal(SSL_connect(old.ssl), 1);
    long before = serial_of(old.ssl);
    /* A pair that doesn't fit, half a file, no file: refused, and nothing changes. */
    copy_file(f->client_key, key);
    assert_int_equal(qv_tls_ctx_reload(ctx, &msg), QV_EINVAL);
    assert_non_null(strstr(msg.text, key));
    assert_int_equal(truncate(cert, 100), 0);
    assert_int_equal(qv_tls_ctx_reload(ctx, &msg), QV_EINVAL);
    assert_non_null(strstr(msg.text, cert));
    assert_int_equal(unlink(cert), 0);
    assert_int_equal(qv_tls_ctx_reload(ctx, &msg), QV_EINVAL);
    if (strstr(msg.text, "No such file") == NULL)
        fail_msg("%s", msg.text);
    raw_open(&fresh, 0);
    assert_true(SSL_connect(fresh.ssl) == 1 && serial_of(fresh.ssl) == before);
    raw_close(&fresh);
    copy_file(f->client, cert);
    copy_file(f->client_key, key);
    assert_int_equal(qv_tls_ctx_reload(ctx, &msg), 0);
    raw_open(&fresh, 0);
    assert_true(SSL_connect(fresh.ssl) == 1 && serial_of(fresh.ssl) != before && raw_ask(&fresh));
    assert_true(raw_ask(&old)); /* goes on */
    raw_close(&fresh);
    raw_close(&old);
    stop();
}

/* ---- who is who ----------------------------------------------------------------------------- */

/* The error of one call by our client, and why. */
static int ask(struct qv_client_config *config, char *why, size_t n)
{
    struct qv_client *client;
    struct qv_errmsg msg;
    struct qv_client_answer answer;
    struct qv_client_request request = {.method = "GET", .path = "/echo"};
    why[0] = '\0';
    int err = qv_client_create(config, &client, &msg);
    if (err != 0) {
        snprintf(why, n, "%.200s", msg.text);
        return err;
    }
    err = qv_client_call(client, &request, &answer);
    if (err == 0) {
        assert_int_equal(answer.status, 200);
        qv_client_answer_close(&answer);
    }
    snprintf(why, n, "%s", qv_client_why(client));
    qv_client_destroy(&client);
    return err;
}

static void test_who_is_the_server(void **state)
{
    char why[256], url[64];
    const struct tls_files *f = tls_files();
    (void)state;
    start(false, 0);
    for (int http1 = 0; http1 < 2; http1++) {
        struct qv_client_config c = {.url = server.url, .ca_path = f->ca, .http1 = http1 == 1};
        assert_int_equal(ask(&c, why, sizeof why), 0);
        snprintf(url, sizeof url, "https://localhost:%u/", server.port);
        c.url = url;
        assert_int_equal(ask(&c, why, sizeof why), 0);
        c.ca_path = f->other_ca;
        assert_int_equal(ask(&c, why, sizeof why), QV_EUNAVAILABLE);
        assert_non_null(strstr(why, "certificate verify failed"));
        c.ca_path = NULL; /* the system doesn't know our CA */
        assert_int_equal(ask(&c, why, sizeof why), QV_EUNAVAILABLE);
        c.ca_path = f->ca;
        snprintf(url, sizeof url, "https://127.0.0.2:%u/", server.port);
        int err = ask(&c, why, sizeof why); /* listens on 127.0.0.1 only: no answer, or no match */
        assert_int_equal(err, QV_EUNAVAILABLE);
        c.url = server.url;
        c.ca_path = "/nowhere/ca.pem";
        assert_int_equal(ask(&c, why, sizeof why), QV_EINVAL);
        assert_non_null(strstr(why, "/nowhere/ca.pem"));
        snprintf(url, sizeof url, "http://127.0.0.1:%u", server.port);
        c.url = url;
        c.ca_path = f->ca;
        assert_int_equal(ask(&c, why, sizeof why), QV_EINVAL); /* certificates, and no TLS */
        c.ca_path = NULL;
        assert_int_not_equal(ask(&c, why, sizeof why), 0); /* plain HTTP on a TLS port */
    }
    stop();
}

/* A server whose certificate is for somebody else, expired, or not valid yet. */
static void test_wrong_certificates(void **state)
{
    static const struct {
        const char *alt_names;
        long begin_sec, end_sec;
        const char *why;
    } table[] = {{"DNS:elsewhere,IP:10.0.0.1", -60, 3600, "IP address mismatch"},
                 {"IP:127.0.0.1", -7200, -3600, "expired"},
                 {"IP:127.0.0.1", 3600, 7200, "not yet valid"},
                 {"IP:127.0.0.1", -3600, 3600, NULL}};
    char cert[128], key[128], why[256];
    const struct tls_files *f = tls_files();
    (void)state;
    snprintf(cert, sizeof cert, "%s/wrong.pem", f->dir);
    snprintf(key, sizeof key, "%s/wrong.key", f->dir);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct qv_throwaway_cert spec = {.name = "wrong",
                                         .alt_names = table[i].alt_names,
                                         .begin_sec = table[i].begin_sec,
                                         .end_sec = table[i].end_sec,
                                         .issuer_cert_path = f->ca,
                                         .issuer_key_path = f->ca_key};
        assert_int_equal(qv_throwaway_cert_make(&spec, cert, key, NULL), 0);
        struct qv_tls_config config = {.server = true, .cert_path = cert, .key_path = key};
        struct qv_net_server_config net;
        assert_int_equal(qv_tls_ctx_create(&config, &ctx, NULL), 0);
        qv_net_server_config_init(&net);
        net.tls = ctx;
        echo_server_start(&server, &net);
        snprintf(server.url, sizeof server.url, "https://127.0.0.1:%u", server.port);
        struct qv_client_config c = {.url = server.url, .ca_path = f->ca};
        int err = ask(&c, why, sizeof why);
        assert_int_equal(err, table[i].why == NULL ? 0 : QV_EUNAVAILABLE);
        if (table[i].why != NULL && strstr(why, table[i].why) == NULL)
            fail_msg("%s", why);
        stop();
    }
}

static void test_who_is_the_client(void **state)
{
    char why[256], cert[128], key[128];
    const struct tls_files *f = tls_files();
    (void)state;
    start(true, 0);
    struct qv_client_config c = {.url = server.url, .ca_path = f->ca};
    assert_int_not_equal(ask(&c, why, sizeof why), 0);
    wait_failures(1);
    c.cert_path = f->client;
    c.key_path = f->client_key;
    assert_int_equal(ask(&c, why, sizeof why), 0);
    snprintf(cert, sizeof cert, "%s/stranger.pem", f->dir);
    snprintf(key, sizeof key, "%s/stranger.key", f->dir);
    struct qv_throwaway_cert spec = {
        .name = "stranger", .issuer_cert_path = f->other_ca, .issuer_key_path = f->other_ca_key};
    assert_int_equal(qv_throwaway_cert_make(&spec, cert, key, NULL), 0);
    c.cert_path = cert;
    c.key_path = key;
    assert_int_not_equal(ask(&c, why, sizeof why), 0);
    wait_failures(2);
    assert_int_equal(atomic_load(&server.handled), 1);
    c.key_path = f->client_key; /* not its own */
    assert_int_equal(ask(&c, why, sizeof why), QV_EINVAL);
    stop();
}

/* ---- what is no TLS ------------------------------------------------------------------------- */

/* Bytes, then the end of the sender's side; what the server says is dropped, it must only close. */
static void send_and_wait(const void *p, size_t n, bool end)
{
    char out[4096];
    int fd = raw_connect_tcp(server.port);
    raw_send(fd, p, n);
    if (end)
        shutdown(fd, SHUT_WR);
    (void)raw_read_all(fd, out, sizeof out - 1);
    close(fd);
}

/* A client's whole first flight. */
static struct qv_bytes client_hello(struct qv_tls_ctx **client_ctx, struct qv_tls **tls)
{
    struct qv_tls_config config = {.ca_path = tls_files()->ca};
    assert_int_equal(qv_tls_ctx_create(&config, client_ctx, NULL), 0);
    *tls = qv_tls_open(*client_ctx, "localhost");
    return qv_tls_pending(*tls);
}

static void test_no_tls(void **state)
{
    static const char http[] = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    uint8_t noise[3000];
    uint64_t failures = 0;
    (void)state;
    start(false, 0);
    send_and_wait(http, sizeof http - 1, false);
    send_and_wait(preface, sizeof preface - 1, false);
    send_and_wait("", 0, true);
    failures = 3;
    struct qv_tls_ctx *client_ctx;
    struct qv_tls *tls;
    struct qv_bytes hello = client_hello(&client_ctx, &tls);
    for (uint64_t seed = 1; seed <= 40; seed++, failures++) {
        struct qv_rng rng;
        qv_rng_init(&rng, seed);
        size_t n = 1 + qv_rng_below(&rng, sizeof noise);
        for (size_t i = 0; i < n; i++)
            noise[i] = (uint8_t)qv_rng_u64(&rng);
        if (seed % 2 == 0) { /* a true beginning, then noise or nothing */
            size_t part = 1 + qv_rng_below(&rng, hello.n - 1);
            n = n < part ? part : n;
            memcpy(noise, hello.p, part);
            n = seed % 4 == 0 ? part : n;
        }
        send_and_wait(noise, n, true);
    }
    wait_failures(failures);
    qv_tls_close(&tls);
    qv_tls_ctx_destroy(&client_ctx);
    struct raw r;
    raw_open(&r, 0);
    assert_true(SSL_connect(r.ssl) == 1 && raw_ask(&r));
    raw_close(&r);
    stop();
}

/* A record cut in the middle by the end of the connection: nothing of it is taken. */
static void test_cut_record(void **state)
{
    (void)state;
    start(false, 0);
    for (int whole = 0; whole < 2; whole++) {
        struct raw r;
        raw_open(&r, 0);
        assert_true(SSL_connect(r.ssl) == 1 && raw_ask(&r));
        BIO *memory = BIO_new(BIO_s_mem());
        BIO *socket_bio = SSL_get_wbio(r.ssl);
        BIO_up_ref(socket_bio);
        SSL_set0_wbio(r.ssl, memory);
        assert_true(SSL_write(r.ssl, "GET /echo HTTP/1.1\r\n\r\n", 22) == 22);
        char *p;
        long n = BIO_get_mem_data(memory, &p);
        raw_send(r.fd, p, (size_t)n - (whole == 0 ? 5 : 0));
        shutdown(r.fd, SHUT_WR);
        char out[1024];
        n = SSL_read(r.ssl, out, sizeof out);
        assert_int_equal(n > 0, whole);
        wait_failures(1); /* the cut one; a whole request is answered without a farewell */
        SSL_set0_wbio(r.ssl, socket_bio);
        raw_close(&r);
    }
    stop();
}

/* Who connects and is silent, or stops in the handshake, is cut off. */
static void test_late_handshake(void **state)
{
    (void)state;
    start(false, 300);
    struct qv_tls_ctx *client_ctx;
    struct qv_tls *tls;
    struct qv_bytes hello = client_hello(&client_ctx, &tls);
    send_and_wait("", 0, false);
    send_and_wait(hello.p, hello.n, false);
    send_and_wait(hello.p, 20, false);
    wait_failures(3);
    qv_tls_close(&tls);
    qv_tls_ctx_destroy(&client_ctx);
    stop();
}

/* The other way round: a ClientHello on a plain port. */
static void test_tls_on_plain(void **state)
{
    char why[256];
    (void)state;
    echo_server_start(&server, NULL);
    char url[64];
    snprintf(url, sizeof url, "https://127.0.0.1:%u", server.port);
    struct qv_client_config c = {.url = url, .ca_path = tls_files()->ca};
    assert_int_equal(ask(&c, why, sizeof why), QV_EUNAVAILABLE);
    assert_non_null(strstr(why, "TLS"));
    c.url = server.url;
    c.ca_path = NULL;
    assert_int_equal(ask(&c, why, sizeof why), 0);
    echo_server_stop(&server, 1000);
}

static void test_config(void **state)
{
    const struct tls_files *f = tls_files();
    struct qv_tls_config bad[] = {
        {.server = true},
        {.server = true, .cert_path = f->cert},
        {.server = true, .cert_path = f->cert, .key_path = "/nowhere"},
        {.server = true, .cert_path = f->key, .key_path = f->key},
        {.server = true, .cert_path = f->cert, .key_path = f->client_key},
        {.server = true, .cert_path = f->cert, .key_path = f->key, .verify_client = true},
        {.server = true,
         .cert_path = f->cert,
         .key_path = f->key,
         .ca_path = f->key,
         .verify_client = true},
        {.key_path = f->key}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct qv_tls_ctx *c;
        struct qv_errmsg msg = {""};
        assert_int_equal(qv_tls_ctx_create(&bad[i], &c, &msg), QV_EINVAL);
        assert_null(c);
        assert_true(msg.text[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sessions_random),   cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_versions),          cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_resumption),        cmocka_unit_test(test_no_renegotiation),
        cmocka_unit_test(test_key_updates),       cmocka_unit_test(test_reload),
        cmocka_unit_test(test_who_is_the_server), cmocka_unit_test(test_wrong_certificates),
        cmocka_unit_test(test_who_is_the_client), cmocka_unit_test(test_no_tls),
        cmocka_unit_test(test_cut_record),        cmocka_unit_test(test_late_handshake),
        cmocka_unit_test(test_tls_on_plain),      cmocka_unit_test(test_config)};
    return RUN_SUITE(tests);
}
