#include "net/client_conn.h"

#include "base/qv_assert.h"

#include <string.h>

#define CLIENT_IOV_MAX 16u
#define CLIENT_READ_BYTES ((size_t)64 * 1024)

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
    conn->state = QV_CLIENT_CLOSED;
    conn->draining = conn->writing = false;
    qv_client_settle(conn->client);
}

void qv_client_conn_close(struct qv_client_conn *conn, int err)
{
    if (conn->state == QV_CLIENT_CLOSED || conn->state == QV_CLIENT_CLOSING)
        return;
    conn->state = QV_CLIENT_CLOSING;
    qv_client_h1_destroy(&conn->h1);
    qv_client_h2_destroy(&conn->h2);
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
    while (conn->calls.first != NULL) {
        struct qv_client_call *call = conn->calls.first;
        bool lost = err == QV_EUNKNOWN && !call->begun;
        qv_client_finish(call, lost ? QV_EUNAVAILABLE : err);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct qv_client_conn *conn = handle->data;
    (void)suggested;
    *buf = uv_buf_init(conn->client->read_buf, CLIENT_READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct qv_client_conn *conn = stream->data;
    struct qv_client *client = conn->client;
    if (n == 0 || conn->state != QV_CLIENT_OPEN)
        return;
    client->now_ns = uv_hrtime();
    int err = 0;
    if (n < 0) {
        if (conn->h1 != NULL)
            qv_client_h1_eof(conn->h1);
        err = QV_EUNKNOWN;
    } else if (conn->h1 != NULL) {
        err = qv_client_h1_feed(conn->h1, buf->base, (size_t)n);
    } else {
        err = qv_client_h2_feed(conn->h2, buf->base, (size_t)n);
    }
    if (err != 0)
        qv_client_conn_close(conn, err);
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
        qv_client_conn_close(conn, QV_EUNAVAILABLE);
        qv_client_settle(client);
        return;
    }
    conn->state = QV_CLIENT_OPEN;
    uv_tcp_nodelay(&conn->tcp, 1);
    uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
    qv_client_settle(client);
}

void qv_client_conn_open(struct qv_client_conn *conn)
{
    struct qv_client *client = conn->client;
    QV_ASSERT(conn->state == QV_CLIENT_CLOSED);
    uv_tcp_init(&client->uv, &conn->tcp);
    conn->tcp.data = conn;
    conn->connect.data = conn;
    conn->write.data = conn;
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

static void on_written(uv_write_t *req, int status)
{
    struct qv_client_conn *conn = req->data;
    conn->writing = false;
    if (conn->state != QV_CLIENT_OPEN)
        return;
    conn->client->now_ns = uv_hrtime();
    if (status < 0) {
        /* What the peer said before it went may still be readable: the read side ends it. */
        conn->write_failed = true;
        return;
    }
    qv_outq_sent(&conn->out, conn->writing_bytes);
    qv_client_settle(conn->client);
}

/* False when the socket takes no more now. */
static bool conn_send(struct qv_client_conn *conn)
{
    struct qv_out_iov iov[CLIENT_IOV_MAX];
    uv_buf_t bufs[CLIENT_IOV_MAX];
    size_t total = 0;
    unsigned n = (unsigned)qv_outq_iov(&conn->out, iov, CLIENT_IOV_MAX);
    for (unsigned i = 0; i < n; i++) {
        bufs[i] = uv_buf_init((char *)iov[i].p, (unsigned)iov[i].n);
        total += iov[i].n;
    }
    int rv = uv_try_write((uv_stream_t *)&conn->tcp, bufs, n);
    if (rv < 0 && rv != UV_EAGAIN) {
        conn->write_failed = true; /* see on_written */
        return false;
    }
    size_t sent = rv > 0 ? (size_t)rv : 0;
    qv_outq_sent(&conn->out, sent);
    if (sent == total)
        return true;
    n = (unsigned)qv_outq_iov(&conn->out, iov, CLIENT_IOV_MAX);
    conn->writing_bytes = 0;
    for (unsigned i = 0; i < n; i++) {
        bufs[i] = uv_buf_init((char *)iov[i].p, (unsigned)iov[i].n);
        conn->writing_bytes += iov[i].n;
    }
    qv_outq_seal(&conn->out);
    conn->writing = true;
    if (uv_write(&conn->write, (uv_stream_t *)&conn->tcp, bufs, n, on_written) != 0) {
        conn->writing = false;
        conn->write_failed = true;
    }
    return false;
}

void qv_client_conn_flush(struct qv_client_conn *conn)
{
    if (conn->state != QV_CLIENT_OPEN)
        return;
    for (;;) {
        if (conn->h2 != NULL && qv_client_h2_fill(conn->h2) != 0) {
            qv_client_conn_close(conn, QV_EPROTO);
            return;
        }
        if (conn->writing || conn->write_failed || conn->out.bytes == 0 || !conn_send(conn))
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

void qv_client_conn_tick(struct qv_client_conn *conn)
{
    uint64_t now_ns = conn->client->now_ns;
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
