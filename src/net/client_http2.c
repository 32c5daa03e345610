/* HTTP/2 and gRPC, client side, over nghttp2. A stream's user data is its call. */
#include "net/client_conn.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "net/grpc.h"
#include "net/status.h"

#include <nghttp2/nghttp2.h>

#include <string.h>

#define CLIENT_H2_STREAM_WINDOW (4 << 20)
#define CLIENT_H2_CONN_WINDOW (64 << 20)
#define CLIENT_H2_OUT_BYTES ((size_t)256 * 1024)
#define CLIENT_H2_HEADERS_MAX 48u

struct qv_client_h2 {
    struct qv_client_conn *conn;
    nghttp2_session *session;
};

static struct qv_client_call *stream_call(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg)
{
    (void)flags;
    (void)arg;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    struct qv_client_call *call = stream_call(session, frame->hd.stream_id);
    if (call == NULL)
        return 0;
    if (name_len == 7 && memcmp(name, ":status", 7) == 0 && value_len == 3) {
        call->status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0');
        return 0;
    }
    qv_client_add_field(call, (const char *)name, name_len, (const char *)value, value_len);
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                         const uint8_t *data, size_t n, void *arg)
{
    (void)flags;
    (void)arg;
    struct qv_client_call *call = stream_call(session, stream_id);
    if (call == NULL)
        return 0;
    qv_client_add_body(call, data, n);
    if (call->too_big || call->broken)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_CANCEL);
    return 0;
}

/* How long the message is in its frame, prefix and head included. */
static size_t total_bytes(const struct qv_client_call *call)
{
    return call->body.n + (call->grpc ? QV_GRPC_PREFIX_BYTES + call->front_bytes : 0);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct qv_client_h2 *h = arg;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        h->conn->draining = true;
    if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
        return 0;
    /* Answered: what the server doesn't want of the request need not be sent. */
    struct qv_client_call *call = stream_call(session, frame->hd.stream_id);
    if (call != NULL && (call->body_sent_bytes < total_bytes(call) || call->keep_open))
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_NO_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                           void *arg)
{
    (void)arg;
    struct qv_client_call *call = stream_call(session, stream_id);
    if (call == NULL)
        return 0;
    nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    int err = 0;
    if (call->too_big)
        err = QV_ETOOBIG;
    else if (call->broken || (error_code == NGHTTP2_NO_ERROR && call->status < 200))
        err = QV_EPROTO;
    else if (error_code == NGHTTP2_REFUSED_STREAM)
        err = QV_EUNAVAILABLE;
    else if (error_code != NGHTTP2_NO_ERROR)
        err = call->begun ? QV_EUNKNOWN : QV_EUNAVAILABLE;
    qv_client_finish(call, err);
    return 0;
}

static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error,
                             void *arg)
{
    (void)error;
    (void)arg;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    struct qv_client_call *call = stream_call(session, frame->hd.stream_id);
    if (call != NULL) {
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, NULL);
        qv_client_finish(call, QV_EUNAVAILABLE);
    }
    return 0;
}

static int session_open(struct qv_client_h2 *h)
{
    nghttp2_session_callbacks *cb = NULL;
    if (nghttp2_session_callbacks_new(&cb) != 0)
        return QV_ENOMEM;
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_frame_not_send);
    int rv = nghttp2_session_client_new(&h->session, cb, h);
    nghttp2_session_callbacks_del(cb);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, CLIENT_H2_STREAM_WINDOW}};
    if (rv == 0)
        rv = nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, 2);
    if (rv == 0)
        rv = nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0,
                                                   CLIENT_H2_CONN_WINDOW);
    return rv == 0 ? 0 : QV_ENOMEM;
}

struct qv_client_h2 *qv_client_h2_create(struct qv_client_conn *conn)
{
    struct qv_client_h2 *h = qv_mem_calloc(1, sizeof *h);
    h->conn = conn;
    int err = session_open(h);
    QV_ASSERT(err == 0);
    return h;
}

void qv_client_h2_destroy(struct qv_client_h2 **ph)
{
    struct qv_client_h2 *h = *ph;
    *ph = NULL;
    if (h == NULL)
        return;
    nghttp2_session_del(h->session);
    qv_mem_free(h);
}

/* Copies what of `part`, which lies `at` bytes into the message, comes next. */
static size_t read_part(struct qv_client_call *call, struct qv_bytes part, size_t at, uint8_t *to,
                        size_t max)
{
    size_t from = call->body_sent_bytes - at;
    if (call->body_sent_bytes < at || from >= part.n)
        return 0;
    size_t n = part.n - from < max ? part.n - from : max;
    memcpy(to, part.p + from, n);
    call->body_sent_bytes += n;
    return n;
}

static ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t max,
                         uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct qv_client_call *call = source->ptr;
    (void)session;
    (void)stream_id;
    (void)arg;
    uint8_t prefix[QV_GRPC_PREFIX_BYTES];
    size_t n = 0, at = 0;
    if (call->grpc) {
        struct qv_bytes front = {call->head.data + call->front_at, call->front_bytes};
        qv_grpc_put_prefix(prefix, front.n + call->body.n, false);
        n = read_part(call, (struct qv_bytes){prefix, sizeof prefix}, 0, to, max);
        n += read_part(call, front, sizeof prefix, to + n, max - n);
        at = sizeof prefix + front.n;
    }
    n += read_part(call, call->body, at, to + n, max - n);
    if (call->body_sent_bytes == total_bytes(call) && !call->keep_open)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return n == 0 && call->keep_open ? NGHTTP2_ERR_DEFERRED : (ssize_t)n;
}

/* Names and values live as long as the call. */
static size_t nv_add(nghttp2_nv *nv, size_t n, const char *name, const char *value)
{
    union {
        const char *in;
        uint8_t *out;
    } a = {name}, b = {value};
    if (n >= CLIENT_H2_HEADERS_MAX)
        return n;
    nv[n].name = a.out;
    nv[n].namelen = strlen(name);
    nv[n].value = b.out;
    nv[n].valuelen = strlen(value);
    nv[n].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
    return n + 1;
}

int qv_client_h2_submit(struct qv_client_h2 *h, struct qv_client_call *call)
{
    nghttp2_nv nv[CLIENT_H2_HEADERS_MAX];
    const char *head = (const char *)call->head.data;
    const char *s = head + call->headers_at;
    size_t n = nv_add(nv, 0, ":method", qv_client_method(call));
    n = nv_add(nv, n, ":scheme", h->conn->client->url.tls ? "https" : "http");
    n = nv_add(nv, n, ":authority", h->conn->client->authority);
    n = nv_add(nv, n, ":path", qv_client_path(call));
    if (call->has_type)
        n = nv_add(nv, n, "content-type", head + call->type_at);
    if (call->grpc) {
        n = nv_add(nv, n, "te", "trailers");
        if (call->timeout_text[0] != '\0')
            n = nv_add(nv, n, "grpc-timeout", call->timeout_text);
    }
    n = nv_add(nv, n, "user-agent", "quiver");
    for (uint32_t i = 0; i < call->n_headers; i++) {
        const char *value = s + strlen(s) + 1;
        n = nv_add(nv, n, s, value);
        s = value + strlen(value) + 1;
    }
    nghttp2_data_provider data = {.source.ptr = call, .read_callback = read_body};
    bool with_body = call->grpc || call->body.n > 0;
    int32_t id = nghttp2_submit_request(h->session, NULL, nv, n, with_body ? &data : NULL, call);
    if (id < 0)
        return QV_EPROTO;
    call->stream_id = id;
    return 0;
}

int qv_client_h2_feed(struct qv_client_h2 *h, const char *p, size_t n)
{
    ssize_t used = nghttp2_session_mem_recv(h->session, (const uint8_t *)p, n);
    return used < 0 ? QV_EPROTO : 0;
}

int qv_client_h2_fill(struct qv_client_h2 *h)
{
    struct qv_client_conn *conn = h->conn;
    while (conn->out.bytes < CLIENT_H2_OUT_BYTES) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(h->session, &p);
        if (n < 0)
            return QV_EPROTO;
        if (n == 0)
            return 0;
        /* From the frame's head on the peer may see the stream: 9 bytes, type at 3, id at 5. */
        if (n >= 9 && p[3] == NGHTTP2_HEADERS) {
            int32_t id = (int32_t)((uint32_t)(p[5] & 0x7F) << 24 | (uint32_t)p[6] << 16 |
                                   (uint32_t)p[7] << 8 | (uint32_t)p[8]);
            struct qv_client_call *call = stream_call(h->session, id);
            if (call != NULL)
                call->begun = true;
        }
        qv_outq_append(&conn->out, p, (size_t)n);
    }
    return 0;
}

int qv_client_h2_ping(struct qv_client_h2 *h)
{
    return nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL) == 0 ? 0 : QV_EPROTO;
}

void qv_client_h2_cancel(struct qv_client_h2 *h, struct qv_client_call *call)
{
    /* A stream that isn't open yet is taken out of the queue by the reset. */
    nghttp2_session_set_stream_user_data(h->session, call->stream_id, NULL);
    nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, call->stream_id, NGHTTP2_CANCEL);
}

bool qv_client_h2_ended(const struct qv_client_h2 *h)
{
    return !nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session);
}
