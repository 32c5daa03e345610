/* HTTP/1.1, client side, over llhttp: answers come in the order of the requests. */
#include "net/client_conn.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "net/status.h"

#include <llhttp.h>

#include <string.h>

struct qv_client_h1 {
    struct qv_client_conn *conn;
    llhttp_t parser;
    bool in_name;
    bool complete; /* an answer is there: the parser is paused */
    bool keep_alive;
};

static struct qv_client_call *current(struct qv_client_h1 *h)
{
    return h->conn->calls.first;
}

static int on_begin(llhttp_t *parser)
{
    struct qv_client_h1 *h = parser->data;
    h->in_name = false;
    return current(h) == NULL ? -1 : 0; /* an answer to nothing */
}

static int on_field(llhttp_t *parser, const char *at, size_t n)
{
    struct qv_client_h1 *h = parser->data;
    struct qv_client_call *call = current(h);
    if (!h->in_name)
        qv_client_begin_field(call);
    h->in_name = true;
    qv_buf_append(&call->fields, at, n);
    return 0;
}

static int on_field_complete(llhttp_t *parser)
{
    struct qv_client_h1 *h = parser->data;
    qv_client_begin_field_value(current(h));
    h->in_name = false;
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t n)
{
    struct qv_client_h1 *h = parser->data;
    qv_buf_append(&current(h)->fields, at, n);
    return 0;
}

static int on_headers(llhttp_t *parser)
{
    struct qv_client_h1 *h = parser->data;
    struct qv_client_call *call = current(h);
    call->status = parser->status_code;
    h->keep_alive = llhttp_should_keep_alive(parser) != 0;
    return call->is_head ? 1 : 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t n)
{
    struct qv_client_h1 *h = parser->data;
    qv_client_add_body(current(h), at, n);
    return current(h)->too_big ? -1 : 0;
}

static int on_complete(llhttp_t *parser)
{
    struct qv_client_h1 *h = parser->data;
    h->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t client_h1_settings = {
    .on_message_begin = on_begin,
    .on_header_field = on_field,
    .on_header_field_complete = on_field_complete,
    .on_header_value = on_value,
    .on_headers_complete = on_headers,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

struct qv_client_h1 *qv_client_h1_create(struct qv_client_conn *conn)
{
    struct qv_client_h1 *h = qv_mem_calloc(1, sizeof *h);
    h->conn = conn;
    llhttp_init(&h->parser, HTTP_RESPONSE, &client_h1_settings);
    h->parser.data = h;
    return h;
}

void qv_client_h1_destroy(struct qv_client_h1 **ph)
{
    qv_mem_free(*ph);
    *ph = NULL;
}

void qv_client_h1_submit(struct qv_client_h1 *h, struct qv_client_call *call)
{
    struct qv_outq *out = &h->conn->out;
    const char *head = (const char *)call->head.data;
    const char *s = head + call->headers_at;
    char digits[QV_STATUS_U64_BYTES];
    qv_outq_str(out, qv_client_method(call));
    qv_outq_str(out, " ");
    qv_outq_str(out, qv_client_path(call));
    qv_outq_str(out, " HTTP/1.1\r\nhost: ");
    qv_outq_str(out, h->conn->client->authority);
    if (call->has_type) {
        qv_outq_str(out, "\r\ncontent-type: ");
        qv_outq_str(out, head + call->type_at);
    }
    if (call->body.n > 0 || call->has_type) {
        qv_outq_str(out, "\r\ncontent-length: ");
        qv_outq_append(out, digits, qv_status_format_u64(call->body.n, digits));
    }
    for (uint32_t i = 0; i < call->n_headers; i++) {
        qv_outq_str(out, "\r\n");
        qv_outq_str(out, s);
        s += strlen(s) + 1;
        qv_outq_str(out, ": ");
        qv_outq_str(out, s);
        s += strlen(s) + 1;
    }
    qv_outq_str(out, "\r\n\r\n");
    qv_outq_append(out, call->body.p, call->body.n);
    call->begun = true;
}

/* The answer of the first call is whole. */
static int h1_complete(struct qv_client_h1 *h)
{
    struct qv_client_conn *conn = h->conn;
    struct qv_client_call *call = current(h);
    h->complete = false;
    if (call->status < 200) { /* 100 Continue and its kin: the real one follows */
        if (call->status == 101)
            return QV_EPROTO;
        qv_buf_clear(&call->fields);
        call->n_slots = 0;
        return 0;
    }
    if (!h->keep_alive)
        conn->draining = true;
    qv_client_finish(call, 0);
    return 0;
}

int qv_client_h1_feed(struct qv_client_h1 *h, const char *p, size_t n)
{
    struct qv_client_conn *conn = h->conn;
    size_t at = 0;
    while (at < n) {
        llhttp_errno_t rv = llhttp_execute(&h->parser, p + at, n - at);
        if (rv != HPE_OK && rv != HPE_PAUSED)
            return current(h) != NULL && current(h)->too_big ? QV_ETOOBIG : QV_EPROTO;
        if (rv == HPE_OK)
            return 0;
        at = (size_t)(llhttp_get_error_pos(&h->parser) - p);
        llhttp_resume(&h->parser);
        if (!h->complete)
            continue;
        int err = h1_complete(h);
        if (err != 0)
            return err;
        if (conn->h1 != h || conn->draining)
            return conn->h1 == h ? QV_EUNKNOWN : 0; /* the rest of its calls are lost */
    }
    return 0;
}

void qv_client_h1_eof(struct qv_client_h1 *h)
{
    if (current(h) != NULL && llhttp_finish(&h->parser) == HPE_PAUSED && h->complete)
        h1_complete(h);
}
