#include "net_peer.h"

#include "suite.h"

#include <string.h>

static ssize_t peer_out(nghttp2_session *session, const uint8_t *p, size_t n, int flags, void *arg)
{
    struct peer *peer = arg;
    (void)session;
    (void)flags;
    qv_buf_append(&peer->to_server, p, n);
    return (ssize_t)n;
}

/* nghttp2 ends names and values with a NUL. */
static void keep(const uint8_t *name, const uint8_t *value, size_t value_len, const char *wanted,
                 char *to, size_t max)
{
    if (strcmp((const char *)name, wanted) == 0 && value_len < max)
        memcpy(to, value, value_len + 1);
}

static int peer_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                       size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                       void *arg)
{
    struct peer *peer = arg;
    (void)session;
    (void)frame;
    (void)flags;
    keep(name, value, value_len, ":status", peer->status, sizeof peer->status);
    keep(name, value, value_len, "grpc-status", peer->grpc_status, sizeof peer->grpc_status);
    keep(name, value, value_len, "content-encoding", peer->encoding, sizeof peer->encoding);
    keep(name, value, value_len, "grpc-encoding", peer->encoding, sizeof peer->encoding);
    keep(name, value, value_len, "vary", peer->vary, sizeof peer->vary);
    (void)name_len;
    return 0;
}

static int peer_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct peer *peer = arg;
    (void)session;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        peer->goaways++;
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        peer->resets++;
        peer->last_reset = frame->rst_stream.error_code;
    }
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        peer->answers++;
    return 0;
}

static int peer_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p,
                     size_t n, void *arg)
{
    struct peer *peer = arg;
    (void)session;
    (void)flags;
    (void)id;
    if (peer->body.len + n < 1 << 20)
        qv_buf_append(&peer->body, p, n);
    peer->body_bytes += n;
    return 0;
}

void peer_open(struct peer *peer, const struct qv_net_server_config *config)
{
    nghttp2_session_callbacks *cb;
    memset(peer, 0, sizeof *peer);
    echo_conn_open(&peer->m, config);
    qv_buf_init(&peer->to_server, 0);
    assert_int_equal(nghttp2_session_callbacks_new(&cb), 0);
    nghttp2_session_callbacks_set_send_callback(cb, peer_out);
    nghttp2_session_callbacks_set_on_header_callback(cb, peer_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, peer_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, peer_data);
    assert_int_equal(nghttp2_session_client_new(&peer->session, cb, peer), 0);
    nghttp2_session_callbacks_del(cb);
    assert_int_equal(nghttp2_submit_settings(peer->session, 0, NULL, 0), 0);
}

void peer_close(struct peer *peer)
{
    nghttp2_session_del(peer->session);
    qv_buf_close(&peer->to_server);
    qv_buf_close(&peer->body);
    memory_conn_close(&peer->m);
}

void peer_pump(struct peer *peer)
{
    for (;;) {
        assert_int_equal(nghttp2_session_send(peer->session), 0);
        size_t n = peer->to_server.len;
        if (n > 0) {
            memory_conn_feed(&peer->m, peer->to_server.data, n);
            qv_buf_clear(&peer->to_server);
        }
        memory_conn_pump(&peer->m);
        size_t back = peer->m.out.len - peer->fed;
        if (back > 0)
            assert_int_equal(
                nghttp2_session_mem_recv(peer->session, peer->m.out.data + peer->fed, back), back);
        qv_buf_clear(&peer->m.out);
        peer->fed = 0;
        if (n == 0 && back == 0)
            return;
    }
}

#define NV(name, value)                                                                            \
    {                                                                                              \
        (uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, strlen(value), 0                  \
    }

static ssize_t source_read(nghttp2_session *session, int32_t id, uint8_t *to, size_t max,
                           uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct source *s = source->ptr;
    (void)session;
    (void)id;
    (void)arg;
    size_t n = s->n - s->at < max ? s->n - s->at : max;
    if (n == 0 && s->hold)
        return NGHTTP2_ERR_DEFERRED;
    memcpy(to, s->p + s->at, n);
    s->at += n;
    if (s->at == s->n && !s->hold)
        *flags = NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

int32_t peer_post(struct peer *peer, const char *path, const char *type, const char *extra_name,
                  const char *extra_value, struct source *source)
{
    nghttp2_nv nv[] = {NV(":method", "POST"),
                       NV(":scheme", "http"),
                       NV(":authority", "a"),
                       NV(":path", path),
                       NV("content-type", type),
                       NV("te", "trailers"),
                       NV("x", "")};
    size_t n = 6;
    if (extra_name != NULL) {
        nv[6].name = (uint8_t *)(uintptr_t)extra_name;
        nv[6].namelen = strlen(extra_name);
        nv[6].value = (uint8_t *)(uintptr_t)extra_value;
        nv[6].valuelen = strlen(extra_value);
        n = 7;
    }
    nghttp2_data_provider data = {.source.ptr = source, .read_callback = source_read};
    int32_t id = nghttp2_submit_request(peer->session, NULL, nv, n, &data, NULL);
    assert_true(id > 0);
    return id;
}
