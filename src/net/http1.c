/* HTTP/1.1 and 1.0, server side, over llhttp.
 *
 * The parser is paused at the end of each head and of each message, so that everything but copying
 * happens outside its callbacks. What llhttp lets pass and we don't: a space before the colon,
 * folded header lines (found by a scan of the raw head), HTTP/2.0 in a request line, transfer
 * codings beside chunked, no or two Host headers.
 *
 * Requests on a connection are handled side by side up to streams_max; their answers leave in
 * order, because the connection's list of calls is in order and only its head is written. */
#include "base/mem.h"
#include "base/qv_assert.h"
#include "net/conn.h"
#include "net/spool.h"
#include "net/status.h"

#include <llhttp.h>

#include <string.h>
#include <strings.h>

#define HTTP1_NS_PER_MS ((uint64_t)1000000)
/* An unwanted body up to here is read and dropped to keep the connection. */
#define HTTP1_DRAIN_BYTES ((uint64_t)256 * 1024)
/* What chunked coding may add to a body: chunks of one byte are 6, long extensions are not. */
#define HTTP1_CHUNK_FACTOR 16u
#define HTTP1_CHUNK_BYTES ((uint64_t)64 * 1024)
#define HTTP1_BLANK_BYTES 1024u                     /* line ends between requests */
#define HTTP1_FILE_AHEAD_BYTES ((size_t)256 * 1024) /* of a file, moved ahead of the socket */

enum http1_part { PART_NONE, PART_NAME, PART_VALUE };
enum http1_event { EVENT_NONE, EVENT_HEAD, EVENT_MESSAGE };

struct qv_http1 {
    struct qv_conn *conn;
    llhttp_t parser;
    struct qv_call_priv *cur; /* the request being read; NULL between, and while one is dropped */
    enum http1_part part;
    enum http1_event event;
    bool in_head;
    bool last_was_lf; /* the head so far ends with LF */
    bool bad_head;
    bool dropping; /* the rest of the current message isn't wanted */
    bool last;     /* nothing is read after the current message */
    int body_err;
    size_t trailer_bytes;
    uint64_t raw_bytes; /* of the body, as it came */
    size_t blank_bytes; /* before a request's first */
    uint64_t body_from_ns;
    struct qv_buf stash; /* read, not yet parsed: the connection has enough to do */
    size_t stash_at;
};

/* ---- parser callbacks ----------------------------------------------------------------------- */

static int on_begin(llhttp_t *parser)
{
    struct qv_http1 *h = parser->data;
    QV_ASSERT(h->cur == NULL);
    h->cur = qv_conn_begin_call(h->conn);
    if (h->cur == NULL)
        return -1;
    h->part = PART_NONE;
    h->bad_head = false;
    h->trailer_bytes = 0;
    h->raw_bytes = 0;
    h->blank_bytes = 0;
    h->body_err = 0;
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t n)
{
    struct qv_http1 *h = parser->data;
    qv_call_add_path(h->cur, at, n);
    return 0;
}

static bool is_token(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static int on_field(llhttp_t *parser, const char *at, size_t n)
{
    struct qv_http1 *h = parser->data;
    if (!h->in_head) { /* a trailer: bounded, and dropped */
        h->trailer_bytes += n;
        return h->trailer_bytes > h->conn->core->limits.header_bytes_max ? -1 : 0;
    }
    if (h->part != PART_NAME)
        qv_call_begin_name(h->cur);
    h->part = PART_NAME;
    char lower[64];
    while (n > 0) {
        size_t m = n < sizeof lower ? n : sizeof lower;
        for (size_t i = 0; i < m; i++) {
            unsigned char c = (unsigned char)at[i];
            if (!is_token(c))
                h->bad_head = true;
            lower[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
        }
        qv_call_add_bytes(h->cur, lower, m);
        at += m;
        n -= m;
    }
    return 0;
}

static int on_field_complete(llhttp_t *parser)
{
    struct qv_http1 *h = parser->data;
    if (h->in_head) {
        if (h->part != PART_NAME || qv_call_name_is_empty(h->cur))
            h->bad_head = true;
        qv_call_begin_value(h->cur);
        h->part = PART_VALUE;
    }
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t n)
{
    struct qv_http1 *h = parser->data;
    if (!h->in_head) {
        h->trailer_bytes += n;
        return h->trailer_bytes > h->conn->core->limits.header_bytes_max ? -1 : 0;
    }
    qv_call_add_bytes(h->cur, at, n);
    return 0;
}

static int on_value_complete(llhttp_t *parser)
{
    struct qv_http1 *h = parser->data;
    struct qv_buf *head = h->in_head ? &h->cur->head : NULL;
    while (head != NULL && head->len > 0 &&
           (head->data[head->len - 1] == ' ' || head->data[head->len - 1] == '\t'))
        head->len--;
    return 0;
}

static int on_head_complete(llhttp_t *parser)
{
    struct qv_http1 *h = parser->data;
    h->event = EVENT_HEAD;
    return HPE_PAUSED;
}

static int on_body(llhttp_t *parser, const char *at, size_t n)
{
    struct qv_http1 *h = parser->data;
    if (h->dropping)
        return 0;
    h->body_err = qv_call_add_body(h->cur, at, n);
    return h->body_err == 0 ? 0 : -1;
}

static int on_message_complete(llhttp_t *parser)
{
    struct qv_http1 *h = parser->data;
    h->event = EVENT_MESSAGE;
    return HPE_PAUSED;
}

static const llhttp_settings_t http1_settings = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_field_complete = on_field_complete,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_head_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- life ----------------------------------------------------------------------------------- */

struct qv_http1 *qv_http1_create(struct qv_conn *conn)
{
    struct qv_http1 *h = qv_mem_try_calloc(1, sizeof *h);
    if (h == NULL)
        return NULL;
    h->conn = conn;
    h->in_head = true;
    qv_buf_init(&h->stash, 0);
    llhttp_init(&h->parser, HTTP_REQUEST, &http1_settings);
    h->parser.data = h;
    return h;
}

void qv_http1_destroy(struct qv_http1 **ph)
{
    struct qv_http1 *h = *ph;
    *ph = NULL;
    if (h == NULL)
        return;
    qv_buf_close(&h->stash);
    qv_mem_free(h);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* The connection has enough to do: its next request waits. */
static bool http1_must_wait(const struct qv_http1 *h)
{
    const struct qv_conn *conn = h->conn;
    const struct qv_net_limits *limits = &conn->core->limits;
    return conn->n_calls >= limits->streams_max ||
           conn->out.bytes + conn->reply_bytes > limits->unsent_bytes_max;
}

/* The stream of requests ends here: answer the current one, or one made for it, with an error. */
static void http1_fail(struct qv_http1 *h, int status, const char *text)
{
    struct qv_call_priv *call = h->cur;
    h->last = true;
    h->cur = NULL;
    h->in_head = false;
    qv_conn_protocol_error(h->conn);
    if (call == NULL && (h->dropping || h->conn->finishing))
        return; /* answered before */
    if (call == NULL)
        call = qv_conn_begin_call(h->conn);
    if (call == NULL) {
        h->conn->broken = true;
        return;
    }
    call->keep_alive = false;
    call->continue_due = false;
    qv_conn_refuse(call, status, text);
}

static void http1_fail_head(struct qv_http1 *h)
{
    if (h->cur->over_budget)
        http1_fail(h, 429, QV_CONN_BUDGET_TEXT);
    else
        http1_fail(h, 431, "Bad request: the headers are too large");
}

/* Counts the raw bytes of the head and looks for a folded line: LF, then a space or tab. */
static void http1_scan_head(struct qv_http1 *h, const uint8_t *p, size_t n)
{
    const uint8_t *end = p + n;
    if (n == 0)
        return;
    if (h->cur != NULL) {
        h->cur->head_bytes += n;
        if (!qv_call_charge(h->cur, n))
            h->cur->over_budget = true;
        if (h->cur->head_bytes > h->conn->core->limits.header_bytes_max)
            h->cur->head_too_big = true;
    } else {
        h->blank_bytes += n;
    }
    if (h->last_was_lf && (*p == ' ' || *p == '\t'))
        h->bad_head = true;
    for (const uint8_t *c = p; (c = memchr(c, '\n', (size_t)(end - c))) != NULL; c++) {
        if (c + 1 < end && (c[1] == ' ' || c[1] == '\t'))
            h->bad_head = true;
    }
    h->last_was_lf = end[-1] == '\n';
}

/* Checks that depend on several headers. 0 or the HTTP status that refuses. */
static int http1_check_headers(struct qv_http1 *h, struct qv_call_priv *call)
{
    unsigned hosts = 0;
    unsigned codings = 0;
    for (size_t i = 0; i < call->pub.n_headers; i++) {
        const struct qv_net_header *header = &call->pub.headers[i];
        if (strcmp(header->name, "host") == 0)
            hosts++;
        if (strcmp(header->name, "transfer-encoding") == 0) {
            codings++;
            if (strcasecmp(header->value, "chunked") != 0)
                return 501;
        }
    }
    if (h->parser.http_major != 1)
        return 505;
    if (hosts > 1 || (hosts == 0 && !call->http10))
        return 400;
    if (codings > 1 || (codings == 1 && call->http10))
        return 400;
    if (codings == 1 && (h->parser.flags & F_CONTENT_LENGTH) != 0)
        return 400;
    const char *expect = qv_call_header(&call->pub, "expect");
    if (expect == NULL || call->http10)
        return 0;
    if (strcasecmp(expect, "100-continue") != 0)
        return 417;
    call->continue_due = h->parser.content_length > 0 || (h->parser.flags & F_CHUNKED) != 0;
    return 0;
}

static const char *http1_refusal_text(int status)
{
    switch (status) {
    case 417:
        return "Bad request: unknown expectation";
    case 501:
        return "Not implemented: transfer codings other than chunked";
    case 505:
        return "Bad request: HTTP version not supported";
    default:
        return "Bad request: malformed HTTP request";
    }
}

/* The call is answered and its body isn't wanted. */
static void http1_answer_early(struct qv_http1 *h, struct qv_call_priv *call)
{
    bool chunked = (h->parser.flags & F_CHUNKED) != 0;
    if (chunked || h->parser.content_length > HTTP1_DRAIN_BYTES || call->continue_due)
        call->keep_alive = false;
    call->continue_due = false;
    h->last = !call->keep_alive;
    h->cur = NULL;
    h->dropping = true;
    qv_conn_dispatch(call);
}

static void http1_send_continue(struct qv_http1 *h)
{
    struct qv_call_priv *call = h->conn->first_call;
    if (call == NULL || call != h->cur || !call->continue_due)
        return;
    call->continue_due = false;
    qv_outq_str(&h->conn->out, "HTTP/1.1 100 Continue\r\n\r\n");
    qv_conn_mark_dirty(h->conn);
}

static void http1_handle_head(struct qv_http1 *h)
{
    struct qv_call_priv *call = h->cur;
    if (h->bad_head) {
        http1_fail(h, 400, "Bad request: malformed header line");
        return;
    }
    const char *method = llhttp_method_name(h->parser.method);
    qv_call_set_method(call, method, strlen(method));
    call->keep_alive = llhttp_should_keep_alive(&h->parser) != 0;
    call->http10 = h->parser.http_minor == 0;
    int err = qv_call_finish_head(call);
    if (err == QV_ETOOBIG || err == QV_EBUSY) {
        http1_fail_head(h);
        return;
    }
    int status = err != 0 ? 400 : http1_check_headers(h, call);
    if (status != 0) {
        http1_fail(h, status, http1_refusal_text(status));
        return;
    }
    h->in_head = false;
    h->body_from_ns = h->conn->core->now_ns;
    bool chunked = (h->parser.flags & F_CHUNKED) != 0;
    if (qv_conn_check_head(call, chunked ? SIZE_MAX : (size_t)h->parser.content_length)) {
        http1_answer_early(h, call);
        return;
    }
    if (!chunked && h->parser.content_length > 0 && call->spool == NULL)
        qv_call_reserve(call, (size_t)h->parser.content_length);
    http1_send_continue(h);
}

static void http1_handle_message(struct qv_http1 *h)
{
    struct qv_call_priv *call = h->cur;
    h->in_head = true;
    h->last_was_lf = false;
    h->cur = NULL;
    if (h->dropping) {
        h->dropping = false;
        return;
    }
    h->last = !call->keep_alive;
    call->continue_due = false;
    qv_conn_hand_over(call);
}

/* The rest of the body isn't wanted, so nothing after it can be read. */
static void http1_refuse_body(struct qv_http1 *h, struct qv_call_priv *call, int err)
{
    h->cur = NULL;
    h->last = true;
    call->keep_alive = false;
    call->continue_due = false;
    qv_conn_refuse_err(call, err);
}

static void http1_handle_error(struct qv_http1 *h)
{
    int err = h->body_err;
    if (err == 0) {
        if (h->cur != NULL && h->cur->head_too_big)
            http1_fail_head(h);
        else
            http1_fail(h, 400, "Bad request: malformed HTTP request");
        return;
    }
    http1_refuse_body(h, h->cur, err);
}

void qv_http1_spool_failed(struct qv_http1 *h, struct qv_call_priv *call, int err)
{
    if (call == h->cur)
        http1_refuse_body(h, call, err);
    else
        qv_conn_refuse_err(call, err); /* it was complete: what follows can still be read */
}

/* Nothing of what still comes is wanted. */
static bool http1_is_deaf(const struct qv_http1 *h)
{
    return h->conn->broken || h->conn->finishing || (h->last && h->cur == NULL);
}

/* Bytes without end that make neither a request nor a body. */
static bool http1_is_padded(const struct qv_http1 *h)
{
    if (h->in_head)
        return h->cur == NULL && h->blank_bytes > HTTP1_BLANK_BYTES;
    return h->cur != NULL &&
           h->raw_bytes > HTTP1_CHUNK_BYTES + HTTP1_CHUNK_FACTOR * qv_call_body_bytes(h->cur);
}

/* Gives how many bytes were used; fewer than n when the next request has to wait. */
static size_t http1_run(struct qv_http1 *h, const uint8_t *p, size_t n)
{
    size_t at = 0;
    h->event = EVENT_NONE;
    /* After a head the parser has a step to make even when there are no more bytes. */
    while (at < n || h->event == EVENT_HEAD) {
        if (http1_is_deaf(h))
            return n;
        if (h->cur == NULL && !h->dropping && http1_must_wait(h))
            return at;
        h->event = EVENT_NONE;
        bool head = h->in_head;
        const char *from = (const char *)p + at;
        llhttp_errno_t err = llhttp_execute(&h->parser, from, n - at);
        size_t used = err == HPE_OK ? n - at : (size_t)(llhttp_get_error_pos(&h->parser) - from);
        QV_ASSERT(used <= n - at);
        if (head)
            http1_scan_head(h, p + at, used);
        else
            h->raw_bytes += used;
        at += used;
        if (err == HPE_PAUSED_UPGRADE) { /* upgrades are ignored, as a server may */
            llhttp_resume_after_upgrade(&h->parser);
        } else if (err == HPE_PAUSED) {
            llhttp_resume(&h->parser);
            if (h->event == EVENT_HEAD)
                http1_handle_head(h);
            else
                http1_handle_message(h);
        } else if (err != HPE_OK) {
            http1_handle_error(h);
            return n;
        } else if (head && h->cur != NULL && (h->cur->head_too_big || h->cur->over_budget)) {
            http1_fail_head(h);
            return n;
        } else if (http1_is_padded(h)) {
            http1_fail(h, 400, "Bad request: malformed HTTP request");
            return n;
        }
    }
    return n;
}

void qv_http1_feed(struct qv_http1 *h, const uint8_t *p, size_t n)
{
    size_t used = h->stash.len > h->stash_at ? 0 : http1_run(h, p, n);
    if (used == n)
        return;
    qv_buf_append(&h->stash, p + used, n - used);
    if (h->stash.failed)
        h->conn->broken = true;
}

/* Goes on with what was set aside, when there is room for it. */
static void http1_resume(struct qv_http1 *h)
{
    while (h->stash.len > h->stash_at && !http1_must_wait(h)) {
        size_t used = http1_run(h, h->stash.data + h->stash_at, h->stash.len - h->stash_at);
        h->stash_at += used;
        if (used == 0)
            break;
    }
    if (h->stash_at == h->stash.len && h->stash.cap > 0) {
        h->stash_at = 0;
        qv_buf_close(&h->stash);
        if (h->conn->eof)
            qv_http1_eof(h);
    }
}

void qv_http1_eof(struct qv_http1 *h)
{
    if (h->stash.len > h->stash_at)
        return; /* asked again when that is parsed */
    if (h->cur != NULL)
        http1_fail(h, 400, "Bad request: the request is incomplete");
    h->last = true;
}

static bool http1_spool_is_full(const struct qv_http1 *h)
{
    return h->cur != NULL && h->cur->spool != NULL && qv_spool_is_full(h->cur->spool);
}

bool qv_http1_wants_read(const struct qv_http1 *h)
{
    if (http1_spool_is_full(h))
        return false;
    return h->stash.len == h->stash_at && !http1_must_wait(h);
}

/* ---- answering ------------------------------------------------------------------------------ */

static void put_str(struct qv_buf *b, const char *s)
{
    qv_buf_append(b, s, strlen(s));
}

static void put_extra(struct qv_buf *b, const struct qv_call_priv *call)
{
    const char *s = (const char *)call->reply_extra.data;
    for (uint32_t i = 0; i < call->n_extra; i++) {
        for (unsigned part = 0; part < 2; part++) {
            size_t n = strlen(s);
            qv_buf_append(b, s, n);
            qv_buf_append(b, part == 0 ? ": " : "\r\n", 2);
            s += n + 1;
        }
    }
}

static void http1_write(struct qv_http1 *h, struct qv_call_priv *call, bool keep)
{
    struct qv_conn *conn = h->conn;
    struct qv_buf *b = &conn->core->scratch;
    char digits[QV_STATUS_U64_BYTES];
    int status = call->reply_status;
    qv_buf_clear(b);
    put_str(b, "HTTP/1.1 ");
    qv_buf_append(b, digits, qv_status_format_u64((uint64_t)status, digits));
    put_str(b, " ");
    put_str(b, qv_status_reason(status));
    if (call->reply_type != NULL) {
        put_str(b, "\r\ncontent-type: ");
        put_str(b, call->reply_type);
    }
    if (status != 204 && status != 304) {
        put_str(b, "\r\ncontent-length: ");
        qv_buf_append(b, digits, qv_status_format_u64(qv_call_reply_bytes(call), digits));
    }
    if (conn->core->date[0] != '\0') {
        put_str(b, "\r\ndate: ");
        put_str(b, conn->core->date);
    }
    put_str(b, "\r\n");
    if (call->reply_packed)
        put_str(b, "content-encoding: gzip\r\n");
    if (call->reply_varies)
        put_str(b, "vary: accept-encoding\r\n");
    if (call->has_origin)
        put_str(b, "access-control-allow-origin: *\r\n");
    if (call->pub.request_id[0] != '\0') {
        put_str(b, "x-request-id: ");
        put_str(b, call->pub.request_id);
        put_str(b, "\r\n");
    }
    if (!keep)
        put_str(b, "connection: close\r\n");
    else if (call->http10)
        put_str(b, "connection: keep-alive\r\n");
    put_extra(b, call);
    put_str(b, "\r\n");
    if (b->failed) {
        conn->broken = true;
        return;
    }
    qv_outq_append(&conn->out, b->data, b->len);
    call->reply_head_sent = true;
    if (call->head_method || status == 204 || status == 304)
        qv_filebody_release(&call->reply_file, conn->core);
    else
        qv_outq_take(&conn->out, &call->reply_body);
}

/* Moves what is there of an answer's file; true when no more is to come. */
static bool http1_move_file(struct qv_http1 *h, struct qv_call_priv *call)
{
    struct qv_conn *conn = h->conn;
    struct qv_filebody *file = call->reply_file;
    if (file == NULL)
        return true;
    while (file->unsent > 0) {
        if (file->err != 0) { /* the length was said: nothing but a cut tells the client */
            conn->broken = true;
            return false;
        }
        struct qv_bytes chunk = qv_filebody_ready(file);
        if (chunk.n == 0)
            qv_filebody_pull(file, call);
        if (chunk.n == 0 || conn->out.bytes > HTTP1_FILE_AHEAD_BYTES ||
            conn->out.bytes > conn->core->limits.unsent_bytes_max)
            return false;
        qv_outq_append(&conn->out, chunk.p, chunk.n);
        qv_filebody_took(file, chunk.n);
    }
    return true;
}

/* Writes the answers that are at the head of the queue. */
static void http1_advance(struct qv_http1 *h)
{
    struct qv_conn *conn = h->conn;
    struct qv_call_priv *call;
    while ((call = conn->first_call) != NULL && call->state == QV_CALL_ANSWERED &&
           !conn->finishing) {
        bool only = call->conn_next == NULL && h->stash.len == h->stash_at;
        if (!call->reply_head_sent) {
            call->keep_alive = call->keep_alive && !(only && conn->goaway);
            http1_write(h, call, call->keep_alive);
        }
        if (conn->broken || !http1_move_file(h, call))
            break;
        bool keep = call->keep_alive;
        qv_conn_end_call(call);
        if (!keep) {
            conn->finishing = true;
            /* A peer that still sends would lose the answer to a reset. */
            conn->lingering = !conn->eof;
        }
    }
    http1_send_continue(h);
}

void qv_http1_answered(struct qv_http1 *h, struct qv_call_priv *call)
{
    QV_ASSERT(call->state == QV_CALL_ANSWERED);
    http1_advance(h);
}

void qv_http1_fill(struct qv_http1 *h)
{
    const struct qv_call_priv *first = h->conn->first_call;
    if (first != NULL && first->state == QV_CALL_ANSWERED && first->reply_head_sent)
        http1_advance(h);
    qv_conn_resume_waiting(h->conn);
    http1_resume(h);
}

void qv_http1_tick(struct qv_http1 *h, uint64_t now_ns)
{
    const struct qv_net_limits *limits = &h->conn->core->limits;
    struct qv_call_priv *call = h->cur;
    if (call == NULL)
        return;
    bool held = !qv_http1_wants_read(h);
    if (held)
        call->started_ns = now_ns;
    bool late = h->in_head ? now_ns - call->started_ns > limits->header_timeout_ms * HTTP1_NS_PER_MS
                           : qv_conn_body_is_late(call, &h->body_from_ns, held);
    if (late)
        http1_fail(h, 408, "Timeout: the request came too slowly");
}
