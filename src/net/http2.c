/* HTTP/2 and gRPC, server side, over nghttp2.
 *
 * nghttp2 keeps the frames, HPACK, windows and stream states; here streams become calls. Windows
 * are opened by what was consumed, not by what was received: a body is consumed when it was taken
 * into the call under the limits, or dropped. Floods (rapid reset, CONTINUATION, unread
 * acknowledgements, SETTINGS) are cut by nghttp2's own limits, set below.
 *
 * A stream's user data is its call, from the first header to the stream's end. */
#include "base/mem.h"
#include "base/qv_assert.h"
#include "net/conn.h"
#include "net/grpc.h"
#include "net/spool.h"
#include "net/status.h"

#include <nghttp2/nghttp2.h>

#include <string.h>

#define HTTP2_NS_PER_MS ((uint64_t)1000000)
#define HTTP2_STREAM_WINDOW (1 << 20)
#define HTTP2_CONN_WINDOW (16 << 20)
#define HTTP2_OUT_BYTES ((size_t)256 * 1024) /* pulled from nghttp2 ahead of the socket */
#define HTTP2_HEADERS_MAX 32u                /* of an answer */
#define HTTP2_GOAWAY_NS ((uint64_t)50 * HTTP2_NS_PER_MS) /* notice -> final GOAWAY */

/* A request answered before its end is reset (RFC 9113, 8.1), but not at once: some clients take
 * the reset for a failure when it comes right behind the answer (curl 7.88: error 92). */
#define HTTP2_RESET_NS ((uint64_t)1000 * HTTP2_NS_PER_MS)

/* Frames that move nothing (empty DATA, PRIORITY, WINDOW_UPDATE, PING: CVE-2019-9518 and its
 * kin) cost only time, but nobody needs thousands of them in a row. Each tick halves the count. */
#define HTTP2_IDLE_FRAMES_MAX 10000u

/* Streams that we reset for their frames (a window moved by 0, DATA behind the end, a stream over
 * the limit): as rapid reset, only that the peer makes us do it (CVE-2025-8671), and nghttp2 does
 * not count it. The bound and the rate are those of resets received, below. */
#define HTTP2_RESETS_MAX 1000u
#define HTTP2_RESETS_PER_TICK 8u /* of a quarter of a second */

/* Headers over the limit are answered with 431; so much more that they can only be a bomb (a byte
 * of HPACK may stand for 4 KB, and nghttp2 looks at each of those) ends the connection. */
#define HTTP2_HEAD_FACTOR 4u

struct qv_http2 {
    struct qv_conn *conn;
    nghttp2_session *session;
    uint64_t notice_ns; /* when the shutdown notice was queued; 0 = none */
    bool goaway_final;
    uint64_t moved_ns;    /* when bytes of an answer's body were last let go by the windows */
    unsigned resets;      /* sent, for an error */
    unsigned idle_frames; /* received since something last moved: a body, a request, an answer */
};

static struct qv_call_priv *stream_call(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

/* ---- requests ------------------------------------------------------------------------------- */

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
    struct qv_http2 *h = arg;
    if (hd->type == NGHTTP2_HEADERS || ++h->idle_frames <= HTTP2_IDLE_FRAMES_MAX)
        return 0;
    int rv = nghttp2_session_terminate_session(session, NGHTTP2_ENHANCE_YOUR_CALM);
    return rv == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct qv_http2 *h = arg;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct qv_call_priv *call = qv_conn_begin_call(h->conn);
    if (call == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    call->stream_id = frame->hd.stream_id;
    if (nghttp2_session_set_stream_user_data(session, call->stream_id, call) != 0) {
        qv_conn_drop_call(call);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg)
{
    struct qv_http2 *h = arg;
    (void)flags;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* trailers of a request mean nothing to us */
    struct qv_call_priv *call = stream_call(session, frame->hd.stream_id);
    if (call == NULL)
        return 0;
    call->head_bytes += name_len + value_len + 32;
    if (!call->head_too_big && !qv_call_charge(call, name_len + value_len))
        call->over_budget = call->head_too_big = true;
    if (call->head_bytes > h->conn->core->limits.header_bytes_max)
        call->head_too_big = true;
    if (call->head_bytes / HTTP2_HEAD_FACTOR > h->conn->core->limits.header_bytes_max)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    const char *v = (const char *)value;
    if (name[0] != ':') {
        qv_call_add_header(call, (const char *)name, name_len, v, value_len);
    } else if (name_len == 7 && memcmp(name, ":method", 7) == 0) {
        qv_call_set_method(call, v, value_len);
    } else if (name_len == 5 && memcmp(name, ":path", 5) == 0) {
        qv_call_add_path(call, v, value_len);
        qv_call_add_bytes(call, "", 1);
    } else if (name_len == 10 && memcmp(name, ":authority", 10) == 0) {
        qv_call_add_header(call, "host", 4, v, value_len);
    }
    return 0;
}

/* content-length, or SIZE_MAX without one; nghttp2 has checked that it is a number. */
static size_t announced_bytes(const struct qv_call_priv *call)
{
    const char *s = qv_call_header(&call->pub, "content-length");
    if (s == NULL || *s == '\0')
        return SIZE_MAX;
    size_t n = 0;
    for (; *s >= '0' && *s <= '9'; s++) {
        if (n > (SIZE_MAX - 10) / 10)
            return SIZE_MAX - 1;
        n = n * 10 + (size_t)(*s - '0');
    }
    return n;
}

static void stream_begin(struct qv_call_priv *call);
static void stream_take(struct qv_call_priv *call, const uint8_t *data, size_t n);
static void stream_no_more(struct qv_call_priv *call);

static void http2_handle_head(struct qv_call_priv *call)
{
    int err = qv_call_finish_head(call);
    if (err == QV_EBUSY) {
        qv_conn_refuse_err(call, err);
    } else if (err == QV_ETOOBIG) {
        qv_conn_refuse(call, 431, "Bad request: the headers are too large");
    } else if (err != 0) {
        qv_conn_refuse(call, 400, "Bad request: malformed HTTP request");
    } else if (qv_conn_check_head(call, announced_bytes(call))) {
        qv_conn_dispatch(call);
    } else {
        call->head_done = true;
        if (call->on_message != NULL)
            stream_begin(call);
        call->started_ns = call->core->now_ns; /* from here on: of the body */
    }
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    (void)arg;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct qv_call_priv *call = stream_call(session, frame->hd.stream_id);
    if (call == NULL)
        return 0;
    bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (end)
        call->complete = true;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        http2_handle_head(call);
    if (end && call->state == QV_CALL_RECEIVING && call->on_message != NULL)
        stream_no_more(call);
    else if (end && call->state == QV_CALL_RECEIVING)
        qv_conn_hand_over(call);
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                         const uint8_t *data, size_t n, void *arg)
{
    struct qv_http2 *h = arg;
    (void)flags;
    h->idle_frames = 0;
    struct qv_call_priv *call = stream_call(session, stream_id);
    if (call != NULL && call->state == QV_CALL_RECEIVING && call->on_message != NULL) {
        stream_take(call, data, n);
    } else if (call != NULL && call->state == QV_CALL_RECEIVING) {
        int err = qv_call_add_body(call, data, n);
        if (err != 0)
            qv_conn_refuse_err(call, err);
    }
    /* The windows move on for what is taken: what holds a sender back is the server's budget. An
     * unwanted body gets no more of its stream's window. */
    bool wanted = call != NULL && call->state == QV_CALL_RECEIVING;
    if (wanted && call->spool != NULL) { /* qv_http2_spooled opens them */
        call->spool_unconsumed += (uint32_t)n;
        return 0;
    }
    int rv = wanted ? nghttp2_session_consume(session, stream_id, n)
                    : nghttp2_session_consume_connection(session, n);
    return nghttp2_is_fatal(rv) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                           void *arg)
{
    (void)error_code;
    (void)arg;
    struct qv_call_priv *call = stream_call(session, stream_id);
    if (call == NULL)
        return 0;
    nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    if (call->spool_unconsumed > 0)
        nghttp2_session_consume_connection(session, call->spool_unconsumed);
    if (call->state == QV_CALL_ANSWERED)
        qv_conn_end_call(call);
    else
        qv_conn_drop_call(call);
    return 0;
}

/* An answer that nghttp2 can't send (headers beyond its own bound) would leave the stream open. */
static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error,
                             void *arg)
{
    (void)error;
    (void)arg;
    if (frame->hd.type == NGHTTP2_HEADERS && stream_call(session, frame->hd.stream_id) != NULL)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_INTERNAL_ERROR);
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct qv_http2 *h = arg;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR)
            qv_conn_protocol_error(h->conn);
        return 0;
    }
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
        ++h->resets == HTTP2_RESETS_MAX)
        nghttp2_session_terminate_session(session, NGHTTP2_ENHANCE_YOUR_CALM);
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    h->idle_frames = 0;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
        return 0;
    struct qv_call_priv *call = stream_call(session, frame->hd.stream_id);
    if (call != NULL && !call->complete) {
        call->end_sent = true;
        call->started_ns = h->conn->core->now_ns; /* from here on: until it is reset */
    }
    return 0;
}

/* ---- answers -------------------------------------------------------------------------------- */

/* The name and the value are literals, or live as long as the call: nothing is copied. */
static void nv_set(nghttp2_nv *nv, const char *name, size_t name_len, const char *value,
                   size_t value_len)
{
    /* nghttp2 takes pointers to bytes it doesn't change */
    union {
        const char *in;
        uint8_t *out;
    } n = {name}, v = {value};
    nv->name = n.out;
    nv->namelen = name_len;
    nv->value = v.out;
    nv->valuelen = value_len;
    nv->flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
}

static size_t nv_add_extra(nghttp2_nv *nv, size_t n, const struct qv_call_priv *call)
{
    const char *s = (const char *)call->reply_extra.data;
    for (uint32_t i = 0; i < call->n_extra; i++) {
        size_t name_len = strlen(s);
        const char *value = s + name_len + 1;
        size_t value_len = strlen(value);
        if (n < HTTP2_HEADERS_MAX)
            nv_set(&nv[n++], s, name_len, value, value_len);
        s = value + value_len + 1;
    }
    return n;
}

#define NV(nv, name, value, value_len) nv_set(&(nv), name, sizeof(name) - 1, value, value_len)

/* grpc-status, grpc-message and the extra ones. */
static size_t nv_add_trailers(nghttp2_nv *nv, size_t n, const struct qv_call_priv *call)
{
    static const char *const digits[] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                         "9", "10", "11", "12", "13", "14", "15", "16"};
    const char *status = digits[call->reply_status];
    NV(nv[n], "grpc-status", status, strlen(status));
    n++;
    if (call->reply_message.len > 0 && !call->reply_message.failed) {
        NV(nv[n], "grpc-message", (const char *)call->reply_message.data, call->reply_message.len);
        n++;
    }
    return nv_add_extra(nv, n, call);
}

/* From the chunk that is there; when there is none, the stream sleeps until the next one is. */
static ssize_t read_file(struct qv_http2 *h, struct qv_call_priv *call, uint8_t *to, size_t max,
                         uint32_t *flags)
{
    struct qv_filebody *file = call->reply_file;
    struct qv_bytes chunk = qv_filebody_ready(file);
    if (file->err != 0)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (chunk.n == 0) {
        file->deferred = true;
        qv_filebody_pull(file, call);
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t n = chunk.n < max ? chunk.n : max;
    memcpy(to, chunk.p, n);
    call->started_ns = h->moved_ns = call->core->now_ns;
    qv_filebody_took(file, n);
    if (file->unsent == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

/* What comes before a gRPC answer's body: the prefix, and the head where there is one. */
static size_t read_front(struct qv_call_priv *call, uint8_t *to, size_t max)
{
    uint8_t prefix[QV_GRPC_PREFIX_BYTES];
    size_t at = call->reply_sent_bytes, n = 0;
    qv_grpc_put_prefix(prefix, call->reply_head.len + call->reply_body.len, call->reply_packed);
    for (; n < max && at + n < sizeof prefix; n++)
        to[n] = prefix[at + n];
    size_t skip = at + n - sizeof prefix; /* of the head; meant only when the prefix is out */
    if (n < max && skip < call->reply_head.len) {
        size_t m = call->reply_head.len - skip < max - n ? call->reply_head.len - skip : max - n;
        memcpy(to + n, call->reply_head.data + skip, m);
        n += m;
    }
    call->reply_sent_bytes += n;
    return n;
}

/* The answer's bytes: for gRPC the prefix, the head, the message, then trailers instead of the end.
 */
static ssize_t read_reply(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t max,
                          uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct qv_call_priv *call = source->ptr;
    struct qv_http2 *h = arg;
    size_t front = call->reply_is_grpc ? QV_GRPC_PREFIX_BYTES + call->reply_head.len : 0;
    size_t total = front + call->reply_body.len;
    size_t n = 0;
    if (call->reply_file != NULL)
        return read_file(h, call, to, max, flags);
    if (call->reply_sent_bytes < front)
        n = read_front(call, to, max);
    size_t m = call->reply_sent_bytes < front ? 0 : total - call->reply_sent_bytes;
    if (m > max - n)
        m = max - n;
    if (m > 0) {
        memcpy(to + n, call->reply_body.data + (call->reply_sent_bytes - front), m);
        call->reply_sent_bytes += m;
        call->reply_counted_bytes -= m;
        call->started_ns = h->moved_ns = call->core->now_ns;
        h->conn->reply_bytes -= m;
    }
    if (call->reply_sent_bytes == total) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (call->reply_is_grpc) {
            nghttp2_nv nv[HTTP2_HEADERS_MAX];
            size_t count = nv_add_trailers(nv, 0, call);
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            if (nghttp2_submit_trailer(session, stream_id, nv, count) != 0)
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
    }
    return (ssize_t)(n + m);
}

static size_t nv_add_request_id(nghttp2_nv *nv, size_t n, const struct qv_call_priv *call)
{
    const char *id = call->pub.request_id;
    if (id[0] == '\0')
        return n;
    NV(nv[n], "x-request-id", id, strlen(id));
    nv[n].flags |= NGHTTP2_NV_FLAG_NO_INDEX; /* never the same twice */
    return n + 1;
}

static size_t nv_fill_http(nghttp2_nv *nv, struct qv_call_priv *call, char *status, char *length)
{
    size_t n = 0;
    const char *date = call->core->date;
    NV(nv[n], ":status", status, qv_status_format_u64((uint64_t)call->reply_status, status));
    n++;
    if (call->reply_type != NULL) {
        NV(nv[n], "content-type", call->reply_type, strlen(call->reply_type));
        n++;
    }
    if (call->reply_status != 204 && call->reply_status != 304) {
        NV(nv[n], "content-length", length,
           qv_status_format_u64(qv_call_reply_bytes(call), length));
        n++;
    }
    if (*date != '\0') {
        NV(nv[n], "date", date, strlen(date));
        nv[n++].flags = NGHTTP2_NV_FLAG_NONE; /* it changes every second: copied */
    }
    if (call->reply_packed) {
        NV(nv[n], "content-encoding", "gzip", 4);
        n++;
    }
    if (call->reply_varies) {
        NV(nv[n], "vary", "accept-encoding", 15);
        n++;
    }
    if (call->has_origin) {
        NV(nv[n], "access-control-allow-origin", "*", 1);
        n++;
    }
    n = nv_add_request_id(nv, n, call);
    return nv_add_extra(nv, n, call);
}

void qv_http2_answered(struct qv_http2 *h, struct qv_call_priv *call)
{
    nghttp2_nv nv[HTTP2_HEADERS_MAX];
    char status[QV_STATUS_U64_BYTES];
    char length[QV_STATUS_U64_BYTES];
    nghttp2_data_provider data = {.source.ptr = call, .read_callback = read_reply};
    bool with_body;
    size_t n = 0;
    if (call->reply_is_grpc) {
        NV(nv[0], ":status", "200", 3);
        NV(nv[1], "content-type", "application/grpc", 16);
        n = 2;
        if (call->reply_packed) {
            NV(nv[n], "grpc-encoding", "gzip", 4);
            n++;
        }
        n = nv_add_request_id(nv, n, call);
        with_body = call->reply_status == QV_GRPC_OK;
        if (!with_body)
            n = nv_add_trailers(nv, n, call);
    } else {
        n = nv_fill_http(nv, call, status, length);
        nv[0].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
        for (size_t i = 1; i < n; i++) {
            if (nv[i].value == (uint8_t *)length)
                nv[i].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
        }
        with_body = qv_call_reply_bytes(call) > 0 && !call->head_method &&
                    call->reply_status != 204 && call->reply_status != 304;
    }
    call->started_ns = call->core->now_ns; /* from here on: since the windows let some of it go */
    int rv = nghttp2_submit_response(h->session, call->stream_id, nv, n, with_body ? &data : NULL);
    if (rv != 0)
        h->conn->broken = true;
}

void qv_http2_replace(struct qv_http2 *h, struct qv_call_priv *old, struct qv_call_priv *now)
{
    QV_ASSERT(old->stream_id == now->stream_id);
    int rv = nghttp2_session_set_stream_user_data(h->session, old->stream_id, now);
    QV_ASSERT(rv == 0);
}

/* ---- streams: calls whose messages are answered one by one ---------------------------------- */

static ssize_t read_stream(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t max,
                           uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct qv_call_priv *call = source->ptr;
    struct qv_http2 *h = arg;
    size_t left = call->reply_body.len - call->reply_sent_bytes;
    size_t n = left < max ? left : max;
    if (n == 0 && !call->stream_ended)
        return NGHTTP2_ERR_DEFERRED;
    if (n > 0)
        memcpy(to, call->reply_body.data + call->reply_sent_bytes, n);
    call->reply_sent_bytes += n;
    call->started_ns = h->moved_ns = call->core->now_ns;
    if (n < left)
        return (ssize_t)n;
    qv_buf_clear(&call->reply_body);
    call->reply_sent_bytes = 0;
    if (call->stream_ended) {
        nghttp2_nv nv[HTTP2_HEADERS_MAX];
        size_t count = nv_add_trailers(nv, 0, call);
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(session, stream_id, nv, count) != 0)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return (ssize_t)n;
}

static void stream_resume(struct qv_call_priv *call)
{
    struct qv_conn *conn = call->conn;
    (void)nghttp2_session_resume_data(conn->http2->session,
                                      call->stream_id); /* not deferred: fine */
    qv_conn_mark_dirty(conn);
}

static void stream_begin(struct qv_call_priv *call)
{
    struct qv_conn *conn = call->conn;
    nghttp2_nv nv[3];
    nghttp2_data_provider data = {.source.ptr = call, .read_callback = read_stream};
    NV(nv[0], ":status", "200", 3);
    NV(nv[1], "content-type", "application/grpc", 16);
    size_t n = nv_add_request_id(nv, 2, call);
    call->reply_is_grpc = true;
    if (nghttp2_submit_response(conn->http2->session, call->stream_id, nv, n, &data) != 0)
        conn->broken = true;
}

/* From here on it is a call that is answered, and its answer is what lies in reply_body. */
static void stream_end(struct qv_call_priv *call, int status, const char *text)
{
    call->stream_ended = true;
    call->state = QV_CALL_ANSWERED;
    call->reply_status = status;
    if (text != NULL)
        qv_grpc_encode_message(&call->reply_message, text, strlen(text));
    call->started_ns = call->core->now_ns;
    qv_call_uncharge(call, call->body.len);
    qv_buf_clear(&call->body);
    stream_resume(call);
}

static void stream_give(struct qv_call_priv *call, struct qv_bytes message)
{
    struct qv_net_core *core = call->core;
    size_t unsent = call->reply_body.len - call->reply_sent_bytes;
    if (unsent > QV_NET_STREAM_UNSENT_BYTES_MAX) {
        stream_end(call, QV_GRPC_RESOURCE_EXHAUSTED, "the answers are not read");
        return;
    }
    if (call->reply_sent_bytes > 0) { /* what is sent makes room */
        memmove(call->reply_body.data, call->reply_body.data + call->reply_sent_bytes, unsent);
        call->reply_body.len = unsent;
        call->reply_sent_bytes = 0;
    }
    int status = call->on_message(core->ctx, &call->pub, message, &call->reply_body);
    if (call->reply_body.failed) {
        qv_buf_clear(&call->reply_body);
        call->reply_sent_bytes = 0;
        stream_end(call, QV_GRPC_RESOURCE_EXHAUSTED, "out of memory");
    } else if (status != QV_NET_STREAM_ON) {
        stream_end(call, status, NULL);
    } else {
        stream_resume(call);
    }
}

/* Whole messages at the front of the body go to on_message; the rest waits for more. */
static void stream_take(struct qv_call_priv *call, const uint8_t *data, size_t n)
{
    size_t at = 0;
    if (!qv_call_charge(call, n)) {
        qv_call_uncharge(call, n);
        stream_end(call, QV_GRPC_RESOURCE_EXHAUSTED, QV_CONN_BUDGET_TEXT);
        return;
    }
    qv_buf_append(&call->body, data, n);
    if (call->body.failed) {
        call->conn->broken = true;
        return;
    }
    call->pub.received_ns = call->core->now_ns;
    while (call->body.len - at >= QV_GRPC_PREFIX_BYTES) {
        const uint8_t *p = call->body.data + at;
        size_t bytes = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | (size_t)p[4];
        if (p[0] != 0) {
            stream_end(call, p[0] == 1 ? QV_GRPC_UNIMPLEMENTED : QV_GRPC_INTERNAL,
                       "messages of a stream are not compressed");
            return;
        }
        if (bytes > QV_NET_STREAM_MESSAGE_BYTES_MAX) {
            stream_end(call, QV_GRPC_RESOURCE_EXHAUSTED, "the message is over the size limit");
            return;
        }
        if (call->body.len - at - QV_GRPC_PREFIX_BYTES < bytes)
            break;
        stream_give(call, (struct qv_bytes){p + QV_GRPC_PREFIX_BYTES, bytes});
        if (call->state != QV_CALL_RECEIVING)
            return;
        at += QV_GRPC_PREFIX_BYTES + bytes;
    }
    memmove(call->body.data, call->body.data + at, call->body.len - at);
    call->body.len -= at;
    qv_call_uncharge(call, at);
}

static void stream_no_more(struct qv_call_priv *call)
{
    if (call->body.len > 0)
        stream_end(call, QV_GRPC_INTERNAL, "the last message is cut off");
    else
        stream_give(call, (struct qv_bytes){NULL, 0});
}

/* ---- the session ---------------------------------------------------------------------------- */

static int session_open(struct qv_http2 *h, nghttp2_session_callbacks *cb, nghttp2_option *option)
{
    nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_frame_not_send);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_stream_reset_rate_limit(option, 1000, 33);
    nghttp2_option_set_max_continuations(option, 8);
    nghttp2_option_set_max_outbound_ack(option, 1000);
    nghttp2_option_set_max_settings(option, 32);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_server_fallback_rfc7540_priorities(option, 0);
    return nghttp2_session_server_new2(&h->session, cb, h, option);
}

struct qv_http2 *qv_http2_create(struct qv_conn *conn)
{
    const struct qv_net_limits *limits = &conn->core->limits;
    nghttp2_session_callbacks *cb = NULL;
    nghttp2_option *option = NULL;
    struct qv_http2 *h = qv_mem_try_calloc(1, sizeof *h);
    if (h == NULL)
        return NULL;
    h->conn = conn;
    int rv = nghttp2_session_callbacks_new(&cb);
    if (rv == 0)
        rv = nghttp2_option_new(&option);
    if (rv == 0)
        rv = session_open(h, cb, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits->streams_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->header_bytes_max},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1}};
    if (rv == 0)
        rv = nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings,
                                     sizeof settings / sizeof settings[0]);
    if (rv == 0)
        rv = nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0,
                                                   HTTP2_CONN_WINDOW);
    if (rv != 0)
        qv_http2_destroy(&h);
    return h;
}

void qv_http2_destroy(struct qv_http2 **ph)
{
    struct qv_http2 *h = *ph;
    *ph = NULL;
    if (h == NULL)
        return;
    nghttp2_session_del(h->session); /* calls no callbacks; the calls were dropped before */
    qv_mem_free(h);
}

void qv_http2_feed(struct qv_http2 *h, const uint8_t *p, size_t n)
{
    ssize_t used = nghttp2_session_mem_recv(h->session, p, n);
    if (used >= 0) {
        QV_ASSERT((size_t)used == n);
        return;
    }
    /* Flooded, or no HTTP/2 at all: what is queued still goes out, then the connection ends. */
    qv_conn_protocol_error(h->conn);
    h->conn->finishing = true;
}

void qv_http2_fill(struct qv_http2 *h)
{
    struct qv_conn *conn = h->conn;
    qv_conn_resume_waiting(conn);
    while (conn->out.bytes < HTTP2_OUT_BYTES && !conn->out.failed) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(h->session, &p);
        if (n < 0)
            conn->broken = true;
        if (n <= 0)
            break;
        qv_outq_append(&conn->out, p, (size_t)n);
    }
}

void qv_http2_spooled(struct qv_http2 *h, struct qv_call_priv *call, size_t n)
{
    size_t due = n < call->spool_unconsumed ? n : call->spool_unconsumed;
    call->spool_unconsumed -= (uint32_t)due;
    /* Where the body isn't wanted any more, the other streams still are. */
    int rv = call->state == QV_CALL_RECEIVING
                 ? nghttp2_session_consume(h->session, call->stream_id, due)
                 : nghttp2_session_consume_connection(h->session, due);
    if (nghttp2_is_fatal(rv))
        h->conn->broken = true;
}

void qv_http2_file_ready(struct qv_http2 *h, struct qv_call_priv *call)
{
    if (!call->reply_file->deferred)
        return;
    call->reply_file->deferred = false;
    int rv = nghttp2_session_resume_data(h->session, call->stream_id);
    if (nghttp2_is_fatal(rv))
        h->conn->broken = true;
}

bool qv_http2_wants_io(const struct qv_http2 *h)
{
    return nghttp2_session_want_read(h->session) || nghttp2_session_want_write(h->session);
}

void qv_http2_goaway(struct qv_http2 *h)
{
    h->notice_ns = h->conn->core->now_ns;
    if (nghttp2_submit_shutdown_notice(h->session) != 0)
        h->conn->broken = true;
}

static void http2_tick_goaway(struct qv_http2 *h, uint64_t now_ns)
{
    if (h->notice_ns == 0 || h->goaway_final || now_ns - h->notice_ns < HTTP2_GOAWAY_NS)
        return;
    h->goaway_final = true;
    int32_t last = nghttp2_session_get_last_proc_stream_id(h->session);
    if (nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0) != 0)
        h->conn->broken = true;
    qv_conn_mark_dirty(h->conn);
}

/* An answer that the peer's windows have held back for too long: it is not read, and would be held
 * for ever. The stream's own window: the stream ends; the connection's: all of it. */
static void http2_tick_answer(struct qv_http2 *h, struct qv_call_priv *call, uint64_t now_ns)
{
    const uint64_t max_ns = h->conn->core->limits.write_timeout_ms * HTTP2_NS_PER_MS;
    if (call->reply_file != NULL && call->reply_file->busy) { /* held back by us */
        call->started_ns = now_ns;
        return;
    }
    if (now_ns - call->started_ns <= max_ns)
        return;
    if (nghttp2_session_get_stream_remote_window_size(h->session, call->stream_id) <= 0) {
        nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, call->stream_id, NGHTTP2_CANCEL);
        call->started_ns = now_ns;
        qv_conn_mark_dirty(h->conn);
    } else if (nghttp2_session_get_remote_window_size(h->session) <= 0 &&
               now_ns - h->moved_ns > max_ns) {
        h->conn->broken = true;
    }
}

void qv_http2_tick(struct qv_http2 *h, uint64_t now_ns)
{
    const struct qv_net_limits *limits = &h->conn->core->limits;
    http2_tick_goaway(h, now_ns);
    h->idle_frames /= 2;
    h->resets -= h->resets < HTTP2_RESETS_PER_TICK ? h->resets : HTTP2_RESETS_PER_TICK;
    struct qv_call_priv *call = h->conn->first_call;
    while (call != NULL) {
        struct qv_call_priv *next = call->conn_next;
        if (call->on_message != NULL && call->state == QV_CALL_RECEIVING) {
            if (h->conn->goaway)
                stream_end(call, QV_GRPC_UNAVAILABLE, "the server is shutting down");
        } else if (call->state == QV_CALL_RECEIVING && !call->complete) {
            bool held = call->spool != NULL && qv_spool_is_behind(call->spool);
            bool late = call->head_done ? qv_conn_body_is_late(call, &call->started_ns, held)
                                        : now_ns - call->started_ns >
                                              limits->header_timeout_ms * HTTP2_NS_PER_MS;
            if (late && call->head_done)
                qv_conn_refuse(call, 408, "Timeout: the request came too slowly");
            else if (late)
                h->conn->broken = true; /* between HEADERS and its CONTINUATION: no answer fits */
        } else if (call->end_sent && now_ns - call->started_ns > HTTP2_RESET_NS) {
            nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                      NGHTTP2_NO_ERROR);
            call->end_sent = false;
            qv_conn_mark_dirty(h->conn);
        } else if (call->state == QV_CALL_ANSWERED && !call->end_sent) {
            http2_tick_answer(h, call, now_ns);
        }
        call = next;
    }
}
