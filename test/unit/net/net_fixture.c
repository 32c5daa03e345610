#include "net_fixture.h"

#include "suite.h"
#include "tls_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* ---- the handler ---------------------------------------------------------------------------- */

static void answer_echo(struct qv_call *call)
{
    struct qv_buf *out = qv_call_out(call);
    struct qv_bytes in = call->is_grpc ? call->message : call->body;
    qv_buf_append(out, in.p, in.n);
    if (call->is_grpc)
        qv_call_reply_grpc(call, QV_GRPC_OK, NULL, out);
    else
        qv_call_reply(call, 200, "application/octet-stream", NULL, 0, out);
}

static void answer_info(struct qv_call *call)
{
    struct qv_buf *out = qv_call_out(call);
    const char *x = NULL;
    int err = qv_call_query_param(call, "x", &x);
    qv_buf_printf(out, "%s %s query=%s x=%s body=%zu h2=%d host=%s n=%zu", call->method_name,
                  call->path, call->query, err == 0 ? x : "-", call->body.n, call->is_h2,
                  qv_call_header(call, "host") ? qv_call_header(call, "host") : "-",
                  call->n_headers);
    struct qv_net_header extra = {"x-info", "yes"};
    qv_call_reply(call, 200, "text/plain", &extra, 1, out);
}

static void answer_big(struct qv_call *call)
{
    const char *text = NULL;
    size_t n = qv_call_query_param(call, "n", &text) == 0 ? strtoull(text, NULL, 10) : 0;
    struct qv_buf body;
    qv_buf_init(&body, 0);
    uint8_t *p = qv_buf_reserve(&body, n);
    for (size_t i = 0; i < n && p != NULL; i++)
        p[i] = (uint8_t)(i * 7 + (i >> 9));
    body.len = p != NULL ? n : 0;
    qv_call_reply(call, 200, "application/octet-stream", NULL, 0, &body);
    qv_buf_close(&body);
}

static void to_worker(struct echo_server *s, struct qv_call *call)
{
    pthread_mutex_lock(&s->mutex);
    s->queue[s->tail++ % 4096] = call;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->mutex);
}

void echo_handle(void *ctx, struct qv_call *call)
{
    struct echo_server *s = ctx;
    if (s != NULL)
        atomic_fetch_add(&s->handled, 1);
    if (s != NULL && (strcmp(call->path, "/later") == 0 || strcmp(call->path, "/t.T/Later") == 0))
        to_worker(s, call);
    else if (strcmp(call->path, "/echo") == 0 || strcmp(call->path, "/t.T/Echo") == 0)
        answer_echo(call);
    else if (strcmp(call->path, "/info") == 0)
        answer_info(call);
    else if (strcmp(call->path, "/big") == 0)
        answer_big(call);
    else if (call->is_grpc && strcmp(call->path, "/t.T/Missing") == 0)
        qv_call_reply_grpc(call, QV_GRPC_NOT_FOUND, "Not found: 50 % of caf\xC3\xA9!", NULL);
    else if (call->is_grpc)
        qv_call_reply_grpc(call, QV_GRPC_UNIMPLEMENTED, "no such method", NULL);
    else
        qv_call_reply(call, 404, NULL, NULL, 0, NULL);
}

static void on_headers(void *ctx, struct qv_call *call)
{
    struct echo_server *s = ctx;
    const char *key = qv_call_header(call, "x-key");
    if (!s->refuse_unauthorized || (key != NULL && strcmp(key, "yes") == 0))
        return;
    struct qv_buf *out = qv_call_out(call);
    qv_buf_str(out, "no key");
    if (call->is_grpc)
        qv_call_reply_grpc(call, QV_GRPC_UNAUTHENTICATED, "no key", NULL);
    else
        qv_call_reply(call, 401, "text/plain", NULL, 0, out);
}

static void *worker_main(void *arg)
{
    struct echo_server *s = arg;
    pthread_mutex_lock(&s->mutex);
    for (;;) {
        while (s->head == s->tail && !s->quit)
            pthread_cond_wait(&s->cond, &s->mutex);
        if (s->head == s->tail)
            break;
        struct qv_call *call = s->queue[s->head++ % 4096];
        pthread_mutex_unlock(&s->mutex);
        const char *delay = qv_call_header(call, "x-delay-ms");
        int left = delay != NULL ? atoi(delay) : 0;
        for (; left > 0 && !qv_call_cancelled(call); left--)
            usleep(1000);
        if (qv_call_cancelled(call))
            atomic_fetch_add(&s->cancelled_seen, 1);
        answer_echo(call);
        pthread_mutex_lock(&s->mutex);
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

/* ---- the server ----------------------------------------------------------------------------- */

void echo_server_start(struct echo_server *s, const struct qv_net_server_config *config)
{
    struct qv_net_server_config c;
    struct qv_errmsg msg = {""};
    if (s->net != NULL) /* a test that failed left it, with a worker on the condition below */
        echo_server_stop(s, 0);
    bool refuse = s->refuse_unauthorized;
    signal(SIGPIPE, SIG_IGN);
    qv_net_server_config_init(&c);
    if (config != NULL)
        c = *config;
    memset(s, 0, sizeof *s);
    s->refuse_unauthorized = refuse;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->cond, NULL);
    assert_int_equal(pthread_create(&s->worker, NULL, worker_main, s), 0);
    if (c.n_ports == 0)
        c.n_ports = 1;
    c.handler = echo_handle;
    c.on_headers = on_headers;
    c.ctx = s;
#ifdef NET_OVER_TLS
    s->tls = tls_server_ctx(false);
    c.tls = s->tls;
#endif
    int err = qv_net_server_create(&c, &s->net, &msg);
    if (err != 0)
        fail_msg("server: %s", msg.text);
    s->port = qv_net_server_port(s->net, 0);
    snprintf(s->url, sizeof s->url, NET_SCHEME "://127.0.0.1:%u", s->port);
}

void echo_server_stop(struct echo_server *s, uint32_t drain_ms)
{
    qv_net_server_shutdown(s->net, drain_ms);
    qv_net_server_destroy(&s->net);
    assert_null(s->net);
    tls_relays_wait();
    qv_tls_ctx_destroy(&s->tls);
    pthread_mutex_lock(&s->mutex);
    s->quit = true;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->worker, NULL);
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->mutex);
    s->refuse_unauthorized = false;
}

/* ---- raw sockets ---------------------------------------------------------------------------- */

const char *net_fixture_ca(void)
{
#ifdef NET_OVER_TLS
    return tls_files()->ca;
#else
    return NULL;
#endif
}

int raw_connect(uint16_t port)
{
#ifdef NET_OVER_TLS
    return tls_relay(raw_connect_tcp(port));
#else
    return raw_connect_tcp(port);
#endif
}

int raw_connect_tcp(uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval tv = {.tv_sec = 20};
    int one = 1;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv), 0);
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
    return fd;
}

void raw_send(int fd, const void *p, size_t n)
{
    const char *at = p;
    while (n > 0) {
        ssize_t w = send(fd, at, n, MSG_NOSIGNAL);
        if (w <= 0)
            return; /* the peer had enough: what it said is read after */
        at += w;
        n -= (size_t)w;
    }
}

void raw_send_str(int fd, const char *s)
{
    raw_send(fd, s, strlen(s));
}

size_t raw_read_until(int fd, char *out, size_t max, const char *until)
{
    size_t n = 0;
    out[0] = '\0';
    while (n < max) {
        ssize_t r = recv(fd, out + n, max - n, 0);
        if (r <= 0)
            break;
        n += (size_t)r;
        out[n] = '\0';
        if (until != NULL && strstr(out, until) != NULL)
            break;
    }
    return n;
}

size_t raw_read_all(int fd, char *out, size_t max)
{
    return raw_read_until(fd, out, max, NULL);
}

/* ---- memory --------------------------------------------------------------------------------- */

void echo_conn_open(struct memory_conn *m, const struct qv_net_server_config *config)
{
    struct qv_net_server_config c;
    qv_net_server_config_init(&c);
    if (config != NULL)
        c = *config;
    c.handler = echo_handle;
    memory_conn_open(m, &c);
}
