#include "net/client_conn.h"

#include "base/qv_assert.h"

#include <stdio.h>
#include <string.h>

#define CLIENT_IOV_MAX 16u
#define CLIENT_READ_BYTES ((size_t)64 * 1024)
#define CLIENT_SEAL_BYTES ((size_t)64 * 1024) /* encrypted ahead of the socket */

bool qv_client_conn_has_room(const struct qv_client_conn *conn)
{
    if (conn->state == QV_CLIENT_CLOSING || conn->draining)
        return false;
    return conn->calls.n < conn->client->config.in_flight_max;
}

static void on_closed(uv_handle_t *handle)
{
    struct qv_client_conn *conn = handle->data;
    qv_outq_close(&conn->out);
    qv_tls_close(&conn->tls);
    conn->state = QV_CLIENT_CLOSED;
    conn->draining = conn->writing = conn->write_failed = false;
    conn->sealed_bytes = 0;
    qv_client_settle(conn->client);
    qv_client_let_go(conn->client);
}

void qv_client_conn_close(struct qv_client_conn *conn, int err)
{
    struct qv_client *client = conn->client;
    if (conn->state == QV_CLIENT_CLOSED || conn->state == QV_CLIENT_CLOSING)
        return;
    bool stood = conn->state == QV_CLIENT_OPEN;
    conn->state = QV_CLIENT_CLOSING;
    qv_client_h1_destroy(&conn->h1);
    qv_client_h2_destroy(&conn->h2);
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
    while (conn->calls.first != NULL) {
        struct qv_client_call *call = conn->calls.first;
        bool lost = err == QV_EUNKNOWN && !call->begun;
        qv_client_finish(call, lost ? QV_EUNAVAILABLE : err);
    }
    if (stood && !client->closing && client->config.on_lost != NULL)
        client->config.on_lost(client->config.arg);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct qv_client_conn *conn = handle->data;
    (void)suggested;
    *buf = uv_buf_init(conn->client->read_buf, CLIENT_READ_BYTES);
}

static int conn_feed(struct qv_client_conn *conn, const char *p, size_t n)
{
    return conn->h1 != NULL ? qv_client_h1_feed(conn->h1, p, n) : qv_client_h2_feed(conn->h2, p, n);
}

/* The handshake is over. */
static int conn_start_tls(struct qv_client_conn *conn)
{
    struct qv_client *client = conn->client;
    if (!client->config.http1 && !qv_tls_is_h2(conn->tls)) {
        snprintf(client->why, sizeof client->why, "TLS: the server speaks no HTTP/2");
        return QV_EUNAVAILABLE;
    }
    conn->state = QV_CLIENT_OPEN;
    return 0;
}

struct plain_sink {
    struct qv_client_conn *conn;
    int err;
};

static void on_plain(void *arg, const void *p, size_t n)
{
    struct plain_sink *sink = arg;
    struct qv_client_conn *conn = sink->conn;
    if (sink->err == 0 && conn->state == QV_CLIENT_CONNECTING)
        sink->err = conn_start_tls(conn);
    if (sink->err == 0 && conn->state == QV_CLIENT_OPEN)
        sink->err = conn_feed(conn, p, n);
}

static int conn_feed_tls(struct qv_client_conn *conn, const char *p, size_t n)
{
    struct qv_client *client = conn->client;
    struct plain_sink sink = {.conn = conn};
    int err = qv_tls_feed(conn->tls, p, n, on_plain, &sink);
    if (sink.err != 0)
        return sink.err;
    if (err != 0) { /* before the handshake is over no call has begun */
        snprintf(client->why, sizeof client->why, "TLS: %s", qv_tls_why(conn->tls));
        return conn->state == QV_CLIENT_CONNECTING ? QV_EUNAVAILABLE : QV_EUNKNOWN;
    }
    if (conn->state == QV_CLIENT_CONNECTING && qv_tls_is_open(conn->tls))
        return conn_start_tls(conn);
    return 0;
}

/* The server sends no more. */
static int conn_eof(struct qv_client_conn *conn)
{
    struct qv_client *client = conn->client;
    if (conn->state == QV_CLIENT_CONNECTING) {
        snprintf(client->why, sizeof client->why, "TLS: the server ended the handshake");
        return QV_EUNAVAILABLE;
    }
    if (conn->h1 != NULL)
        qv_client_h1_eof(conn->h1);
    return QV_EUNKNOWN;
}

/* TLS's alert, as far as the socket takes it at once. */
static void conn_say_why(struct qv_client_conn *conn)
{
    struct qv_bytes alert = {NULL, 0};
    if (conn->tls != NULL && !conn->writing)
        alert = qv_tls_pending(conn->tls);
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)alert.p, (unsigned)alert.n);
    if (alert.n > 0)
        (void)uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct qv_client_conn *conn = stream->data;
    struct qv_client *client = conn->client;
    if (n == 0 || (conn->state != QV_CLIENT_OPEN && conn->state != QV_CLIENT_CONNECTING))
        return;
    client->now_ns = uv_hrtime();
    conn->heard_ns = client->now_ns;
    conn->ping_ns = 0;
    int err;
    if (n < 0)
        err = conn_eof(conn);
    else if (conn->tls == NULL)
        err = conn_feed(conn, buf->base, (size_t)n);
    else
        err = conn_feed_tls(conn, buf->base, (size_t)n);
    if (err == 0 && conn->tls != NULL && qv_tls_is_ended(conn->tls))
        err = conn_eof(conn);
    if (err != 0) {
        conn_say_why(conn);
        qv_client_conn_close(conn, err);
    }
    qv_client_settle(client);
}

static void on_connected(uv_connect_t *req, int status)
{
    struct qv_client_conn *conn = req->data;
    struct qv_client *client = conn->client;
    if (conn->state != QV_CLIENT_CONNECTING)
        return;
    client->now_ns = uv_hrtime();
    if (status < 0) {
        snprintf(client->why, sizeof client->why, "%s", uv_strerror(status));
        qv_client_conn_close(conn, QV_EUNAVAILABLE);
        qv_client_settle(client);
        return;
    }
    if (client->tls == NULL) {
        conn->state = QV_CLIENT_OPEN;
    } else {
        conn->tls = qv_tls_open(client->tls, client->url.host);
        if (conn->tls == NULL)
            qv_client_conn_close(conn, QV_EUNAVAILABLE);
    }
    if (conn->state != QV_CLIENT_CLOSING) {
        uv_tcp_nodelay(&conn->tcp, 1);
        uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
    }
    qv_client_settle(client);
}

void qv_client_conn_open(struct qv_client_conn *conn)
{
    struct qv_client *client = conn->client;
    QV_ASSERT(conn->state == QV_CLIENT_CLOSED);
    uv_tcp_init(client->uv, &conn->tcp);
    qv_client_hold(client);
    conn->tcp.data = conn;
    conn->connect.data = conn;
    conn->write.data = conn;
    conn->heard_ns = uv_hrtime();
    conn->ping_ns = 0;
    conn->state = QV_CLIENT_CONNECTING;
    conn->connect_by_ns = uv_hrtime() + client->config.connect_timeout_ms * 1000000ull;
    if (client->config.http1)
        conn->h1 = qv_client_h1_create(conn);
    else
        conn->h2 = qv_client_h2_create(conn);
    int rv = uv_tcp_connect(&conn->connect, &conn->tcp, (const struct sockaddr *)&client->address,
                            on_connected);
    if (rv != 0)
        qv_client_conn_close(conn, QV_EUNAVAILABLE);
}

void qv_client_conn_submit(struct qv_client_conn *conn, struct qv_client_call *call)
{
    call->conn = conn;
    qv_client_list_add(&conn->calls, call);
    if (conn->state == QV_CLIENT_CLOSED)
        qv_client_conn_open(conn);
    if (call->conn != conn || conn->state == QV_CLIENT_CLOSING)
        return; /* it failed at once, and so did the call */
    if (conn->h1 != NULL)
        qv_client_h1_submit(conn->h1, call);
    else if (qv_client_h2_submit(conn->h2, call) != 0)
        qv_client_conn_close(conn, QV_EUNKNOWN);
}

/* n bytes went into the socket. */
static void conn_sent(struct qv_client_conn *conn, size_t n)
{
    if (conn->tls == NULL) {
        qv_outq_sent(&conn->out, n);
        return;
    }
    qv_tls_sent(conn->tls, n);
    if (qv_tls_pending(conn->tls).n > 0)
        return;
    qv_outq_sent(&conn->out, conn->sealed_bytes);
    conn->sealed_bytes = 0;
}

static void on_written(uv_write_t *req, int status)
{
    struct qv_client_conn *conn = req->data;
    conn->writing = false;
    if (conn->state != QV_CLIENT_OPEN && conn->state != QV_CLIENT_CONNECTING)
        return;
    conn->client->now_ns = uv_hrtime();
    if (status < 0) {
        /* What the peer said before it went may still be readable: the read side ends it. */
        conn->write_failed = true;
        return;
    }
    conn_sent(conn, conn->writing_bytes);
    qv_client_settle(conn->client);
}

/* The runs to be written next; under TLS what is queued is encrypted first. */
static unsigned conn_runs(struct qv_client_conn *conn, uv_buf_t *bufs, size_t *total)
{
    struct qv_out_iov iov[CLIENT_IOV_MAX];
    *total = 0;
    if (conn->tls != NULL) {
        struct qv_bytes bytes = qv_tls_pending(conn->tls);
        bufs[0] = uv_buf_init((char *)(uintptr_t)bytes.p, (unsigned)bytes.n);
        *total = bytes.n;
        return 1;
    }
    unsigned n = (unsigned)qv_outq_iov(&conn->out, iov, CLIENT_IOV_MAX);
    for (unsigned i = 0; i < n; i++) {
        bufs[i] = uv_buf_init((char *)iov[i].p, (unsigned)iov[i].n);
        *total += iov[i].n;
    }
    return n;
}

/* False when the socket takes no more now. */
static bool conn_send(struct qv_client_conn *conn)
{
    uv_buf_t bufs[CLIENT_IOV_MAX];
    size_t total;
    unsigned n = conn_runs(conn, bufs, &total);
    int rv = uv_try_write((uv_stream_t *)&conn->tcp, bufs, n);
    if (rv < 0 && rv != UV_EAGAIN) {
        conn->write_failed = true; /* see on_written */
        return false;
    }
    size_t sent = rv > 0 ? (size_t)rv : 0;
    conn_sent(conn, sent);
    if (sent == total)
        return true;
    n = conn_runs(conn, bufs, &total);
    conn->writing_bytes = total;
    if (conn->tls == NULL)
        qv_outq_seal(&conn->out);
    conn->writing = true;
    if (uv_write(&conn->write, (uv_stream_t *)&conn->tcp, bufs, n, on_written) != 0) {
        conn->writing = false;
        conn->write_failed = true;
    }
    return false;
}

/* Makes ready what can be sent now; false when that is nothing. */
static bool conn_has_output(struct qv_client_conn *conn)
{
    if (conn->tls == NULL)
        return conn->out.bytes > 0;
    if (conn->state == QV_CLIENT_OPEN && conn->sealed_bytes == 0 && conn->out.bytes > 0 &&
        qv_tls_seal_queue(conn->tls, &conn->out, CLIENT_SEAL_BYTES, &conn->sealed_bytes) != 0)
        conn->write_failed = true;
    return qv_tls_pending(conn->tls).n > 0;
}

void qv_client_conn_flush(struct qv_client_conn *conn)
{
    if (conn->state == QV_CLIENT_CONNECTING && conn->tls != NULL) { /* the handshake's bytes */
        while (!conn->writing && !conn->write_failed && conn_has_output(conn) && conn_send(conn))
            ;
        return;
    }
    if (conn->state != QV_CLIENT_OPEN)
        return;
    for (;;) {
        if (conn->h2 != NULL && qv_client_h2_fill(conn->h2) != 0) {
            qv_client_conn_close(conn, QV_EPROTO);
            return;
        }
        if (conn->writing || conn->write_failed || !conn_has_output(conn) || !conn_send(conn))
            break;
    }
    if (conn->out.failed) {
        qv_client_conn_close(conn, QV_EUNKNOWN);
        return;
    }
    if (conn->draining && conn->h2 != NULL && conn->out.bytes == 0) {
        /* After a GOAWAY nghttp2 opens no stream: what hasn't begun never will, here. */
        for (struct qv_client_call *call = conn->calls.first; call != NULL;) {
            struct qv_client_call *next = call->next;
            if (!call->begun)
                qv_client_finish(call, QV_EUNAVAILABLE);
            call = next;
        }
    }
    if (conn->draining && conn->calls.n == 0)
        qv_client_conn_close(conn, QV_EUNAVAILABLE);
    else if (conn->h2 != NULL && qv_client_h2_ended(conn->h2))
        qv_client_conn_close(conn, QV_EUNKNOWN);
}

/* Asks a silent server whether it is there; true when it has been silent for too long. */
static bool conn_is_dead(struct qv_client_conn *conn)
{
    struct qv_client *client = conn->client;
    const uint64_t now_ns = client->now_ns, ms = 1000000;
    if (client->config.keepalive_ms == 0 || conn->h2 == NULL || conn->state != QV_CLIENT_OPEN)
        return false;
    if (conn->ping_ns != 0)
        return now_ns - conn->ping_ns > client->config.dead_ms * ms;
    if (now_ns - conn->heard_ns <= client->config.keepalive_ms * ms)
        return false;
    conn->ping_ns = now_ns;
    return qv_client_h2_ping(conn->h2) != 0;
}

void qv_client_conn_tick(struct qv_client_conn *conn)
{
    uint64_t now_ns = conn->client->now_ns;
    if (conn_is_dead(conn)) {
        snprintf(conn->client->why, sizeof conn->client->why, "nothing was heard for too long");
        qv_client_conn_close(conn, QV_EUNKNOWN);
        return;
    }
    if (conn->state == QV_CLIENT_CONNECTING && now_ns > conn->connect_by_ns) {
        qv_client_conn_close(conn, QV_EUNAVAILABLE);
        return;
    }
    for (struct qv_client_call *call = conn->calls.first; call != NULL;) {
        struct qv_client_call *next = call->next;
        if (call->deadline_ns > now_ns) {
            call = next;
            continue;
        }
        if (conn->h2 != NULL) {
            qv_client_h2_cancel(conn->h2, call);
            qv_client_finish(call, QV_ETIMEOUT);
            call = next;
            continue;
        }
        /* HTTP/1 can't take one request back: the connection goes, and what else was on it. */
        qv_client_finish(call, QV_ETIMEOUT);
        qv_client_conn_close(conn, QV_EUNKNOWN);
        return;
    }
}
