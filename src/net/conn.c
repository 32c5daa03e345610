#include "net/conn.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "net/grpc.h"
#include "net/gzip.h"
#include "net/spool.h"
#include "net/unpack.h"

#include <stdio.h>
#include <string.h>

#define CONN_NS_PER_MS ((uint64_t)1000000)
/* A peer that closed its sending side may still want its answers; after this long with none its
 * calls are marked cancelled (they are still answered). */
#define CONN_HALF_CLOSED_NS ((uint64_t)1000 * CONN_NS_PER_MS)
#define CONN_LINGER_NS ((uint64_t)2000 * CONN_NS_PER_MS)
/* A body's timeout begins anew with each of these: a large one takes its time, but who stops is
 * cut, however much came before. */
#define CONN_BODY_STEP_BYTES ((uint64_t)64 * 1024)

static const char http2_preface[24] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static void count(atomic_uint_fast64_t *counter, uint64_t n)
{
    /* One writer: no read-modify-write needed. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* ---- core ----------------------------------------------------------------------------------- */

static void limits_fill(struct qv_net_limits *l)
{
#define DEFAULT(field, value) l->field = l->field == 0 ? (value) : l->field
    DEFAULT(body_bytes_max, (size_t)32 << 20);
    DEFAULT(message_bytes_max, l->body_bytes_max);
    DEFAULT(header_bytes_max, (size_t)64 << 10);
    DEFAULT(header_count_max, 128);
    DEFAULT(streams_max, 256);
    DEFAULT(connections_max, 10000);
    DEFAULT(calls_max, 4096);
    DEFAULT(buffered_bytes_max, (size_t)512 << 20);
    DEFAULT(unsent_bytes_max, (size_t)1 << 20);
    DEFAULT(arena_bytes_max, (size_t)64 << 20);
    DEFAULT(pack_bytes_min, 1024);
    DEFAULT(request_timeout_ms, 60000);
    DEFAULT(header_timeout_ms, 10000);
    DEFAULT(body_timeout_ms, 10000);
    DEFAULT(idle_timeout_ms, 75000);
    DEFAULT(write_timeout_ms, 30000);
#undef DEFAULT
}

void qv_net_core_init(struct qv_net_core *core, const struct qv_net_server_config *config,
                      struct qv_net_shared *shared)
{
    memset(core, 0, sizeof *core);
    core->limits = config->limits;
    limits_fill(&core->limits);
    core->handler = config->handler;
    core->on_headers = config->on_headers;
    core->ctx = config->ctx;
    core->cors = config->cors;
    core->shared = shared;
    core->thread = pthread_self();
}

void qv_net_core_close(struct qv_net_core *core)
{
    QV_ASSERT(core->conns == NULL && core->n_handed == 0 && core->active == NULL);
    QV_ASSERT(core->n_jobs == 0);
    while (core->free_calls != NULL) {
        struct qv_call_priv *call = core->free_calls;
        core->free_calls = call->next;
        qv_call_free(call);
    }
    core->n_free_calls = 0;
    qv_buf_close(&core->scratch);
}

void qv_net_core_drain_posted(struct qv_net_core *core)
{
    atomic_store(&core->woken, false); /* before the look: who comes after it wakes us again */
    struct qv_call_priv *call = atomic_exchange(&core->posted, NULL);
    struct qv_call_priv *in_order = NULL;
    while (call != NULL) {
        struct qv_call_priv *next = call->next;
        call->next = in_order;
        in_order = call;
        call = next;
    }
    while (in_order != NULL) {
        struct qv_call_priv *next = in_order->next;
        qv_net_core_apply(in_order);
        in_order = next;
    }
}

void qv_net_core_offload(struct qv_net_core *core, struct qv_net_job *job)
{
    job->core = core;
    job->next = NULL;
    core->n_jobs++;
    core->offload(core, job);
}

void qv_net_core_job_done(struct qv_net_job *job)
{
    QV_ASSERT(job->core->n_jobs > 0);
    job->core->n_jobs--;
    job->done(job);
}

static void active_add(struct qv_call_priv *call)
{
    struct qv_net_core *core = call->core;
    call->active_prev = NULL;
    call->active_next = core->active;
    if (core->active != NULL)
        core->active->active_prev = call;
    core->active = call;
    core->n_active++;
}

static void active_remove(struct qv_call_priv *call)
{
    struct qv_net_core *core = call->core;
    if (call->active_prev != NULL)
        call->active_prev->active_next = call->active_next;
    else
        core->active = call->active_next;
    if (call->active_next != NULL)
        call->active_next->active_prev = call->active_prev;
    QV_ASSERT(core->n_active > 0);
    core->n_active--;
}

void qv_conn_dispatch(struct qv_call_priv *call)
{
    struct qv_conn *conn = call->conn;
    QV_ASSERT(call->state == QV_CALL_ANSWERED);
    conn->active_ns = conn->core->now_ns;
    call->reply_counted_bytes = call->reply_body.len;
    conn->reply_bytes += call->reply_counted_bytes;
    if (conn->kind == QV_CONN_HTTP2)
        qv_http2_answered(conn->http2, call);
    else
        qv_http1_answered(conn->http1, call);
    qv_conn_mark_dirty(conn);
}

void qv_net_core_apply(struct qv_call_priv *call)
{
    struct qv_net_core *core = call->core;
    if (call->state == QV_CALL_RECEIVING) { /* from on_headers: qv_conn_check_head goes on */
        call->state = QV_CALL_ANSWERED;
        return;
    }
    QV_ASSERT(call->state == QV_CALL_HANDED && core->n_handed > 0);
    core->n_handed--;
    atomic_fetch_sub_explicit(&core->shared->calls, 1, memory_order_relaxed);
    if (call->conn == NULL) {
        qv_call_release(call);
        return;
    }
    active_remove(call);
    call->state = QV_CALL_ANSWERED;
    qv_conn_dispatch(call);
}

/* ---- lists ---------------------------------------------------------------------------------- */

static void conn_unlink_call(struct qv_call_priv *call)
{
    struct qv_conn *conn = call->conn;
    if (call->conn_prev != NULL)
        call->conn_prev->conn_next = call->conn_next;
    else
        conn->first_call = call->conn_next;
    if (call->conn_next != NULL)
        call->conn_next->conn_prev = call->conn_prev;
    else
        conn->last_call = call->conn_prev;
    call->conn_prev = call->conn_next = NULL;
    QV_ASSERT(conn->n_calls > 0);
    conn->n_calls--;
    QV_ASSERT(conn->reply_bytes >= call->reply_counted_bytes);
    conn->reply_bytes -= call->reply_counted_bytes;
    call->reply_counted_bytes = 0;
    call->conn = NULL;
}

struct qv_call_priv *qv_conn_begin_call(struct qv_conn *conn)
{
    struct qv_call_priv *call = qv_call_acquire(conn->core);
    if (call == NULL)
        return NULL;
    call->conn = conn;
    call->started_ns = conn->core->now_ns;
    memcpy(call->pub.peer, conn->peer, sizeof call->pub.peer);
    call->pub.local_port = conn->local_port;
    call->pub.is_h2 = conn->kind == QV_CONN_HTTP2;
    call->conn_next = NULL;
    call->conn_prev = conn->last_call;
    if (conn->last_call != NULL)
        conn->last_call->conn_next = call;
    else
        conn->first_call = call;
    conn->last_call = call;
    conn->n_calls++;
    return call;
}

void qv_conn_end_call(struct qv_call_priv *call)
{
    QV_ASSERT(call->state == QV_CALL_ANSWERED);
    conn_unlink_call(call);
    qv_call_release(call);
}

static void call_cancel(struct qv_call_priv *call)
{
    if (!atomic_exchange_explicit(&call->pub.cancelled, true, memory_order_relaxed))
        count(&call->core->counters.calls_cancelled, 1);
    else
        return;
    if (call->state == QV_CALL_HANDED && call->pub.on_cancel != NULL)
        call->pub.on_cancel(&call->pub);
}

void qv_conn_drop_call(struct qv_call_priv *call)
{
    if (call->state == QV_CALL_HANDED || call->state == QV_CALL_WAITING) {
        active_remove(call);
        call_cancel(call);
    }
    if (call->state == QV_CALL_WAITING)
        call->conn->n_waiting--;
    conn_unlink_call(call);
    if (call->state != QV_CALL_HANDED)
        qv_call_release(call);
}

void qv_conn_cancel_calls(struct qv_conn *conn)
{
    conn->broken = true; /* the protocols still point to them */
    while (conn->first_call != NULL)
        qv_conn_drop_call(conn->first_call);
}

/* ---- answers of net's own ------------------------------------------------------------------- */

static int grpc_status_of(int http_status)
{
    switch (http_status) {
    case 408:
        return QV_GRPC_DEADLINE_EXCEEDED;
    case 413:
    case 429:
    case 431:
        return QV_GRPC_RESOURCE_EXHAUSTED;
    case 501:
        return QV_GRPC_UNIMPLEMENTED;
    case 503:
        return QV_GRPC_UNAVAILABLE;
    default:
        return QV_GRPC_INTERNAL;
    }
}

static void add_extra(struct qv_call_priv *call, const char *name, const char *value)
{
    qv_buf_append(&call->reply_extra, name, strlen(name) + 1);
    qv_buf_append(&call->reply_extra, value, strlen(value) + 1);
    call->n_extra++;
}

static void refusal_fill(struct qv_call_priv *call, int http_status, const char *text)
{
    call->state = QV_CALL_ANSWERED;
    count(&call->core->counters.refused_total, 1);
    if (call->pub.is_grpc) {
        call->reply_is_grpc = true;
        call->reply_status = grpc_status_of(http_status);
        qv_grpc_encode_message(&call->reply_message, text, strlen(text));
        if (http_status == 501)
            add_extra(call, "grpc-accept-encoding", "identity,gzip");
        return;
    }
    call->reply_status = http_status;
    call->reply_type = "application/json";
    qv_buf_printf(&call->reply_body, "{\"status\":{\"error\":\"%s\"},\"time\":0.0}", text);
    if (http_status == 429)
        add_extra(call, "retry-after", "1");
}

void qv_conn_refuse(struct qv_call_priv *call, int http_status, const char *text)
{
    QV_ASSERT(call->state == QV_CALL_RECEIVING || call->state == QV_CALL_WAITING);
    if (call->state == QV_CALL_WAITING) {
        active_remove(call);
        call->conn->n_waiting--;
    }
    refusal_fill(call, http_status, text);
    qv_conn_dispatch(call);
}

void qv_conn_refuse_err(struct qv_call_priv *call, int err)
{
    switch (err) {
    case QV_ETOOBIG:
        qv_conn_refuse(call, 413, "Payload too large: the request is over the size limit");
        break;
    case QV_EBUSY:
        qv_conn_refuse(call, 429, QV_CONN_BUDGET_TEXT);
        break;
    case QV_ENOTIMPL:
        qv_conn_refuse(call, 501, "Not implemented: compressed messages");
        break;
    case QV_ENOMEM:
        qv_conn_refuse(call, 503, "Service unavailable: out of memory");
        break;
    case QV_ENOSPC:
        qv_conn_refuse(call, 507, "Storage full: no space left for the upload");
        break;
    case QV_EIO:
        qv_conn_refuse(call, 500, "Service internal error: the upload can't be written");
        break;
    default:
        qv_conn_refuse(call, 400, "Bad request: malformed request");
        break;
    }
}

static void preflight_fill(struct qv_call_priv *call)
{
    const char *asked = qv_call_header(&call->pub, "access-control-request-headers");
    call->state = QV_CALL_ANSWERED;
    call->reply_status = 200;
    add_extra(call, "access-control-allow-methods", "GET, POST, PUT, PATCH, DELETE, OPTIONS");
    add_extra(call, "access-control-allow-headers", asked != NULL ? asked : "*");
    add_extra(call, "access-control-max-age", "3600");
}

/* Notes a compressed body; false for one that can't be read. What gRPC does is inside the body. */
static bool head_encoding(struct qv_call_priv *call)
{
    unsigned codings = 0;
    if (call->pub.is_grpc)
        return true;
    for (size_t i = 0; i < call->pub.n_headers; i++) {
        const struct qv_net_header *header = &call->pub.headers[i];
        if (strcmp(header->name, "content-encoding") != 0)
            continue;
        int gzip = qv_gzip_content_encoding(header->value);
        codings += gzip != 0;
        if (gzip < 0 || codings > 1)
            return false;
    }
    call->packed = codings == 1;
    return !call->packed || call->spool == NULL;
}

bool qv_conn_check_head(struct qv_call_priv *call, size_t announced_bytes)
{
    struct qv_net_core *core = call->core;
    struct qv_call *pub = &call->pub;
    uint64_t bytes_max = core->limits.body_bytes_max;
    if (call->has_origin && pub->method == QV_NET_OPTIONS &&
        qv_call_header(pub, "access-control-request-method") != NULL) {
        preflight_fill(call);
        return true;
    }
    if (core->on_headers != NULL) {
        core->on_headers(core->ctx, pub);
        if (call->state == QV_CALL_ANSWERED) {
            count(&core->counters.refused_total, 1);
            return true;
        }
    }
    if (!head_encoding(call)) {
        refusal_fill(call, 415, "Unsupported media type: this content encoding is not supported");
        add_extra(call, "accept-encoding", call->spool != NULL ? "identity" : "gzip");
        return true;
    }
    if (call->spool != NULL)
        bytes_max = call->spool->bytes_max;
    if (announced_bytes != SIZE_MAX && announced_bytes > bytes_max) {
        refusal_fill(call, 413, "Payload too large: the request is over the size limit");
        return true;
    }
    return false;
}

/* ---- to the handler ------------------------------------------------------------------------- */

static void call_hand(struct qv_call_priv *call)
{
    struct qv_net_core *core = call->core;
    if (atomic_fetch_add_explicit(&core->shared->calls, 1, memory_order_relaxed) >=
        core->limits.calls_max) {
        atomic_fetch_sub_explicit(&core->shared->calls, 1, memory_order_relaxed);
        qv_conn_refuse(call, 429, "Rate limiting exceeded: too many requests are waiting");
        return;
    }
    if (call->state == QV_CALL_RECEIVING)
        active_add(call);
    else
        call->conn->n_waiting--;
    call->state = QV_CALL_HANDED;
    core->n_handed++;
    count(&core->counters.calls_total, 1);
    core->handler(core->ctx, &call->pub);
}

/* To the handler, or into the waiting room. */
static void call_admit(struct qv_call_priv *call)
{
    struct qv_conn *conn = call->conn;
    if (conn->reply_bytes > conn->core->limits.unsent_bytes_max) {
        call->state = QV_CALL_WAITING;
        conn->n_waiting++;
        active_add(call);
        return;
    }
    call_hand(call);
}

static size_t limit_of(const struct qv_call_priv *call)
{
    const struct qv_net_limits *limits = &call->core->limits;
    return call->pub.is_grpc ? limits->message_bytes_max : limits->body_bytes_max;
}

void qv_conn_hand_over(struct qv_call_priv *call)
{
    struct qv_conn *conn = call->conn;
    call->complete = true;
    if (call->spool != NULL && qv_spool_is_behind(call->spool))
        return; /* qv_conn_spooled comes back */
    struct qv_bytes packed;
    int err = qv_call_finish_body(call, &packed);
    conn->active_ns = conn->core->now_ns;
    if (err == 0 && packed.n > 0)
        err = qv_unpack_begin(call, packed, limit_of(call));
    if (err != 0)
        qv_conn_refuse_err(call, err);
    else if (packed.n == 0)
        call_admit(call);
}

void qv_conn_unpacked(struct qv_call_priv *call, int err)
{
    struct qv_conn *conn = call->conn;
    QV_ASSERT(conn != NULL && call->state == QV_CALL_RECEIVING && call->complete);
    if (conn->broken)
        return;
    qv_conn_mark_dirty(conn);
    if (err == 0)
        err = qv_call_finish_plain(call);
    if (err != 0)
        qv_conn_refuse_err(call, err);
    else
        call_admit(call);
}

void qv_conn_spooled(struct qv_call_priv *call, size_t n)
{
    struct qv_conn *conn = call->conn;
    struct qv_spool *spool = call->spool;
    QV_ASSERT(spool != NULL);
    qv_call_discharge(call, n);
    if (conn == NULL || conn->broken)
        return;
    if (conn->kind == QV_CONN_HTTP2)
        qv_http2_spooled(conn->http2, call, n);
    qv_conn_mark_dirty(conn);
    if (call->state != QV_CALL_RECEIVING)
        return; /* refused meanwhile */
    if (spool->err != 0 && conn->kind == QV_CONN_HTTP1)
        qv_http1_spool_failed(conn->http1, call, spool->err);
    else if (spool->err != 0)
        qv_conn_refuse_err(call, spool->err);
    else if (call->complete)
        qv_conn_hand_over(call);
}

void qv_conn_file_ready(struct qv_call_priv *call)
{
    struct qv_conn *conn = call->conn;
    if (conn == NULL || conn->broken)
        return;
    if (conn->kind == QV_CONN_HTTP2)
        qv_http2_file_ready(conn->http2, call);
    qv_conn_mark_dirty(conn);
}

bool qv_conn_body_is_late(struct qv_call_priv *call, uint64_t *from_ns, bool held)
{
    const struct qv_net_core *core = call->core;
    uint64_t bytes = qv_call_body_bytes(call);
    if (held || bytes - call->mark_bytes >= CONN_BODY_STEP_BYTES) {
        call->mark_bytes = bytes;
        *from_ns = core->now_ns;
        return false;
    }
    return core->now_ns - *from_ns > core->limits.body_timeout_ms * CONN_NS_PER_MS;
}

void qv_conn_resume_waiting(struct qv_conn *conn)
{
    const size_t limit = conn->core->limits.unsent_bytes_max;
    while (conn->n_waiting > 0 && conn->reply_bytes <= limit) {
        /* From the start each time: an answer given at once may end calls that follow. */
        struct qv_call_priv *call = conn->first_call;
        while (call->state != QV_CALL_WAITING)
            call = call->conn_next;
        call_hand(call);
    }
}

/* ---- the connection ------------------------------------------------------------------------- */

struct qv_conn *qv_conn_create(struct qv_net_core *core, const char *peer, uint16_t local_port,
                               void *owner)
{
    struct qv_conn *conn = qv_mem_try_calloc(1, sizeof *conn);
    if (conn == NULL)
        return NULL;
    conn->core = core;
    conn->owner = owner;
    conn->local_port = local_port;
    conn->active_ns = conn->moved_ns = core->now_ns;
    snprintf(conn->peer, sizeof conn->peer, "%s", peer);
    qv_outq_init(&conn->out);
    conn->next = core->conns;
    if (core->conns != NULL)
        core->conns->prev = conn;
    core->conns = conn;
    count(&core->counters.connections_total, 1);
    return conn;
}

void qv_conn_destroy(struct qv_conn **pconn)
{
    struct qv_conn *conn = *pconn;
    *pconn = NULL;
    if (conn == NULL)
        return;
    struct qv_net_core *core = conn->core;
    qv_conn_cancel_calls(conn);
    qv_http2_destroy(&conn->http2);
    qv_http1_destroy(&conn->http1);
    qv_outq_close(&conn->out);
    if (conn->is_dirty) {
        struct qv_conn **at = &core->dirty;
        while (*at != conn)
            at = &(*at)->dirty_next;
        *at = conn->dirty_next;
    }
    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        core->conns = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    qv_mem_free(conn);
}

void qv_conn_mark_dirty(struct qv_conn *conn)
{
    if (conn->is_dirty)
        return;
    conn->is_dirty = true;
    conn->dirty_next = conn->core->dirty;
    conn->core->dirty = conn;
}

void qv_conn_protocol_error(struct qv_conn *conn)
{
    count(&conn->core->counters.protocol_errors, 1);
}

/* Compares with the preface; decides as soon as the bytes can only be one of the two. */
static void conn_sniff(struct qv_conn *conn, const uint8_t **p, size_t *n)
{
    while (*n > 0 && conn->n_sniffed < sizeof http2_preface) {
        if (**p != (uint8_t)http2_preface[conn->n_sniffed]) {
            conn->kind = QV_CONN_HTTP1;
            break;
        }
        conn->sniffed[conn->n_sniffed++] = **p;
        (*p)++;
        (*n)--;
    }
    if (conn->n_sniffed == sizeof http2_preface)
        conn->kind = QV_CONN_HTTP2;
    if (conn->kind == QV_CONN_HTTP2) {
        conn->http2 = qv_http2_create(conn);
        conn->broken = conn->http2 == NULL;
    } else if (conn->kind == QV_CONN_HTTP1) {
        conn->http1 = qv_http1_create(conn);
        conn->broken = conn->http1 == NULL;
    } else {
        return;
    }
    if (conn->broken)
        return;
    if (conn->kind == QV_CONN_HTTP2)
        qv_http2_feed(conn->http2, conn->sniffed, conn->n_sniffed);
    else if (conn->n_sniffed > 0)
        qv_http1_feed(conn->http1, conn->sniffed, conn->n_sniffed);
}

void qv_conn_feed(struct qv_conn *conn, const void *data, size_t n)
{
    const uint8_t *p = data;
    count(&conn->core->counters.bytes_in, n);
    conn->active_ns = conn->core->now_ns;
    if (conn->kind == QV_CONN_SNIFF) {
        if (conn->n_sniffed == 0)
            conn->sniff_ns = conn->core->now_ns;
        conn_sniff(conn, &p, &n);
    }
    if (conn->broken || conn->lingering || n == 0)
        return;
    if (conn->kind == QV_CONN_HTTP2)
        qv_http2_feed(conn->http2, p, n);
    else if (conn->kind == QV_CONN_HTTP1)
        qv_http1_feed(conn->http1, p, n);
    qv_conn_mark_dirty(conn);
}

void qv_conn_eof(struct qv_conn *conn)
{
    conn->eof = true;
    conn->eof_ns = conn->core->now_ns;
    if (conn->kind == QV_CONN_HTTP1) {
        qv_http1_eof(conn->http1);
    } else {
        /* HTTP/2 has no half-close: a peer that stops sending can't open a window either. */
        conn->broken = true;
    }
    if (conn->lingering)
        conn->finishing = true;
    qv_conn_mark_dirty(conn);
}

bool qv_conn_wants_read(const struct qv_conn *conn)
{
    if (conn->eof || conn->broken)
        return false;
    if (conn->lingering)
        return true;
    if (conn->finishing || conn->out.bytes > conn->core->limits.unsent_bytes_max)
        return false;
    return conn->kind != QV_CONN_HTTP1 || qv_http1_wants_read(conn->http1);
}

void qv_conn_fill(struct qv_conn *conn)
{
    if (conn->broken)
        return;
    size_t before = conn->out.bytes;
    if (conn->kind == QV_CONN_HTTP2)
        qv_http2_fill(conn->http2);
    else if (conn->kind == QV_CONN_HTTP1)
        qv_http1_fill(conn->http1);
    if (conn->out.failed)
        conn->broken = true;
    if (before == 0 && conn->out.bytes > 0)
        conn->moved_ns = conn->core->now_ns;
}

void qv_conn_sent(struct qv_conn *conn, size_t n)
{
    count(&conn->core->counters.bytes_out, n);
    qv_outq_sent(&conn->out, n);
    conn->active_ns = conn->moved_ns = conn->core->now_ns;
}

bool qv_conn_done(const struct qv_conn *conn)
{
    if (conn->broken)
        return true;
    if (conn->out.bytes > 0)
        return false;
    if (conn->kind == QV_CONN_HTTP2)
        return conn->finishing || !qv_http2_wants_io(conn->http2);
    if (conn->finishing)
        return conn->eof || !conn->lingering;
    if (conn->n_calls > 0)
        return false;
    return conn->eof || conn->goaway;
}

void qv_conn_begin_goaway(struct qv_conn *conn)
{
    if (conn->goaway)
        return;
    conn->goaway = true;
    if (conn->kind == QV_CONN_HTTP2)
        qv_http2_goaway(conn->http2);
    qv_conn_mark_dirty(conn);
}

/* ---- time ----------------------------------------------------------------------------------- */

/* The deadline of a call passed: the client gets its answer from net, the handler's is dropped. */
static void call_expire(struct qv_call_priv *call)
{
    static const char text[] = "Timeout: the request was not answered before its deadline; "
                               "the outcome of a change is unknown";
    if (call->state == QV_CALL_WAITING) {
        qv_conn_refuse(call, 408, text);
        return;
    }
    struct qv_conn *conn = call->conn;
    struct qv_call_priv *stand_in = qv_conn_begin_call(conn);
    if (stand_in == NULL)
        return; /* no memory now: the next tick tries again */
    stand_in->stream_id = call->stream_id;
    stand_in->head_method = call->head_method;
    stand_in->keep_alive = call->keep_alive;
    stand_in->http10 = call->http10;
    stand_in->has_origin = call->has_origin;
    memcpy(stand_in->pub.request_id, call->pub.request_id, sizeof call->pub.request_id);
    stand_in->complete = true;
    stand_in->pub.is_grpc = call->pub.is_grpc;
    if (conn->kind == QV_CONN_HTTP2) {
        qv_http2_replace(conn->http2, call, stand_in);
    } else {
        /* Into the place of the old one: answers leave in order. */
        conn->last_call = stand_in->conn_prev;
        conn->last_call->conn_next = NULL;
        stand_in->conn_prev = call;
        stand_in->conn_next = call->conn_next;
        if (call->conn_next != NULL)
            call->conn_next->conn_prev = stand_in;
        else
            conn->last_call = stand_in;
        call->conn_next = stand_in;
    }
    qv_conn_drop_call(call);
    qv_conn_refuse(stand_in, 408, text);
}

void qv_net_core_tick_calls(struct qv_net_core *core)
{
    struct qv_call_priv *call = core->active;
    while (call != NULL) {
        struct qv_call_priv *next = call->active_next;
        if (__atomic_load_n(&call->pub.deadline_ns, __ATOMIC_RELAXED) <= core->now_ns)
            call_expire(call);
        call = next;
    }
}

static void conn_tick(struct qv_conn *conn)
{
    const struct qv_net_limits *limits = &conn->core->limits;
    uint64_t now = conn->core->now_ns;
    if (conn->broken)
        return;
    if (conn->out.bytes > 0) {
        if (now - conn->moved_ns > limits->write_timeout_ms * CONN_NS_PER_MS)
            conn->broken = true;
    } else if (conn->lingering) {
        if (now - conn->moved_ns > CONN_LINGER_NS)
            conn->broken = true;
    } else if (conn->kind == QV_CONN_SNIFF) {
        uint64_t from_ns = conn->n_sniffed > 0 ? conn->sniff_ns : conn->active_ns;
        uint64_t ms = conn->n_sniffed > 0 ? limits->header_timeout_ms : limits->idle_timeout_ms;
        if (now - from_ns > ms * CONN_NS_PER_MS)
            conn->broken = true;
    } else if (conn->n_calls == 0) {
        if (now - conn->active_ns > limits->idle_timeout_ms * CONN_NS_PER_MS)
            qv_conn_begin_goaway(conn);
        qv_outq_close(&conn->out);
    }
    if (conn->eof && now - conn->eof_ns > CONN_HALF_CLOSED_NS) {
        for (struct qv_call_priv *c = conn->first_call; c != NULL; c = c->conn_next) {
            if (c->state == QV_CALL_HANDED)
                call_cancel(c);
        }
    }
    if (conn->kind == QV_CONN_HTTP1)
        qv_http1_tick(conn->http1, now);
    else if (conn->kind == QV_CONN_HTTP2)
        qv_http2_tick(conn->http2, now);
    if (conn->broken || conn->goaway)
        qv_conn_mark_dirty(conn);
}

void qv_net_core_tick_conns(struct qv_net_core *core)
{
    for (struct qv_conn *conn = core->conns; conn != NULL; conn = conn->next)
        conn_tick(conn);
}
