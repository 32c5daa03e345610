#include "net/client.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "net/client_conn.h"
#include "net/grpc.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define CLIENT_TICK_MS 10u
#define CLIENT_POOL_MAX 1024u
#define CLIENT_READ_BYTES ((size_t)64 * 1024)
#define CLIENT_FIELDS_BYTES_MAX ((size_t)256 * 1024)
#define CLIENT_FIELDS_MAX 256u
#define CLIENT_KEEP_BYTES ((size_t)256 * 1024)

/* ---- calls ---------------------------------------------------------------------------------- */

void qv_client_list_add(struct qv_client_list *list, struct qv_client_call *call)
{
    call->next = NULL;
    call->prev = list->last;
    if (list->last != NULL)
        list->last->next = call;
    else
        list->first = call;
    list->last = call;
    list->n++;
}

void qv_client_list_remove(struct qv_client_list *list, struct qv_client_call *call)
{
    if (call->prev != NULL)
        call->prev->next = call->next;
    else
        list->first = call->next;
    if (call->next != NULL)
        call->next->prev = call->prev;
    else
        list->last = call->prev;
    call->prev = call->next = NULL;
    QV_ASSERT(list->n > 0);
    list->n--;
}

static struct qv_client_call *call_create(struct qv_client *client)
{
    struct qv_client_call *call = NULL;
    if (!client->config.own_thread && client->free_calls != NULL) {
        call = client->free_calls;
        client->free_calls = call->free_next;
        client->n_free_calls--;
        return call;
    }
    call = qv_mem_calloc(1, sizeof *call);
    call->client = client;
    qv_buf_init(&call->head, 0);
    qv_buf_init(&call->fields, CLIENT_FIELDS_BYTES_MAX);
    qv_buf_init(&call->answer, client->config.response_bytes_max);
    return call;
}

static void call_free(struct qv_client_call *call)
{
    qv_buf_close(&call->head);
    qv_buf_close(&call->fields);
    qv_buf_close(&call->answer);
    qv_mem_free(call->slots);
    qv_mem_free(call->headers);
    qv_mem_free(call);
}

static void call_release(struct qv_client_call *call)
{
    struct qv_client *client = call->client;
    if (client->config.own_thread || client->n_free_calls >= CLIENT_POOL_MAX) {
        call_free(call);
        return;
    }
    struct qv_client_call empty = {.client = client,
                                   .head = call->head,
                                   .fields = call->fields,
                                   .answer = call->answer,
                                   .slots = call->slots,
                                   .headers = call->headers,
                                   .cap_slots = call->cap_slots};
    *call = empty;
    qv_buf_clear(&call->head);
    qv_buf_clear(&call->fields);
    if (call->answer.cap > CLIENT_KEEP_BYTES)
        qv_buf_close(&call->answer);
    qv_buf_clear(&call->answer);
    call->free_next = client->free_calls;
    client->free_calls = call;
    client->n_free_calls++;
}

const char *qv_client_method(const struct qv_client_call *call)
{
    return (const char *)call->head.data;
}

const char *qv_client_path(const struct qv_client_call *call)
{
    return (const char *)call->head.data + call->path_at;
}

static bool is_clean(const char *s)
{
    return s[strcspn(s, "\r\n")] == '\0';
}

static void put_z(struct qv_buf *b, const char *s)
{
    qv_buf_append(b, s, strlen(s) + 1);
}

static int call_fill(struct qv_client_call *call, const struct qv_client_request *request)
{
    const struct qv_client_config *config = &call->client->config;
    const char *method = request->grpc ? "POST" : request->method;
    if (method == NULL || request->path == NULL || request->path[0] != '/' ||
        (request->grpc && config->http1) || (request->head.n > 0 && !request->grpc) ||
        request->path[strcspn(request->path, " \r\n")] != '\0')
        return QV_EINVAL;
    struct qv_buf *b = &call->head;
    put_z(b, method);
    call->path_at = (uint32_t)b->len;
    qv_buf_str(b, call->client->prefix);
    put_z(b, request->path);
    call->type_at = (uint32_t)b->len;
    const char *type = request->grpc                   ? "application/grpc"
                       : request->content_type != NULL ? request->content_type
                       : request->body.n > 0           ? "application/json"
                                                       : NULL;
    call->has_type = type != NULL;
    put_z(b, type != NULL ? type : "");
    call->headers_at = (uint32_t)b->len;
    for (size_t i = 0; i < request->n_headers; i++) {
        if (!is_clean(request->headers[i].name) || !is_clean(request->headers[i].value))
            return QV_EINVAL;
        put_z(b, request->headers[i].name);
        put_z(b, request->headers[i].value);
    }
    call->n_headers = (uint32_t)request->n_headers;
    call->front_at = (uint32_t)b->len;
    call->front_bytes = (uint32_t)request->head.n;
    qv_buf_append(b, request->head.p, request->head.n);
    call->grpc = request->grpc;
    call->is_head = strcmp(method, "HEAD") == 0;
    call->body = request->body;
    call->on_message = request->on_message;
    call->keep_open = request->keep_open;
    call->id = request->id;
    call->sent_ns = uv_hrtime();
    call->deadline_ns = UINT64_MAX;
    call->timeout_text[0] = '\0';
    if (request->timeout_ms != 0 || request->on_message == NULL) {
        uint64_t timeout_ms = request->timeout_ms == 0 ? 60000 : request->timeout_ms;
        call->deadline_ns = call->sent_ns + timeout_ms * 1000000u;
        qv_grpc_format_timeout(timeout_ms * 1000000u, call->timeout_text);
    }
    call->grpc_status = -1;
    if ((request->on_message != NULL && !request->grpc) ||
        (request->keep_open && request->on_message == NULL))
        return QV_EINVAL;
    return b->failed || request->body.n > UINT32_MAX ? QV_EINVAL : 0;
}

/* ---- answers -------------------------------------------------------------------------------- */

void qv_client_begin_field(struct qv_client_call *call)
{
    qv_buf_u8(&call->fields, 0);
    if (call->fields.failed || call->n_slots >= CLIENT_FIELDS_MAX) {
        call->too_big = true;
        return;
    }
    if (call->n_slots == call->cap_slots) {
        uint32_t cap = call->cap_slots == 0 ? 16 : call->cap_slots * 2;
        call->slots = qv_mem_realloc(call->slots, cap * sizeof *call->slots);
        call->headers = qv_mem_realloc(call->headers, cap * sizeof *call->headers);
        call->cap_slots = cap;
    }
    call->slots[call->n_slots].name = call->slots[call->n_slots].value = (uint32_t)call->fields.len;
    call->n_slots++;
}

void qv_client_begin_field_value(struct qv_client_call *call)
{
    qv_buf_u8(&call->fields, 0);
    if (!call->too_big && call->n_slots > 0)
        call->slots[call->n_slots - 1].value = (uint32_t)call->fields.len;
}

void qv_client_add_field(struct qv_client_call *call, const char *name, size_t name_len,
                         const char *value, size_t value_len)
{
    qv_client_begin_field(call);
    qv_buf_append(&call->fields, name, name_len);
    qv_client_begin_field_value(call);
    qv_buf_append(&call->fields, value, value_len);
}

/* The length that a message's prefix tells, or a reason to end the stream. */
static size_t stream_message_bytes(struct qv_client_call *call, const uint8_t *prefix)
{
    size_t n = (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 |
               (size_t)prefix[4];
    if (prefix[0] != 0)
        call->broken = true; /* compressed, which was not offered, or nothing known */
    else if (n > call->client->config.response_bytes_max)
        call->too_big = true;
    return n;
}

static void stream_give_messages(struct qv_client_call *call)
{
    struct qv_buf *b = &call->answer;
    size_t at = 0;
    while (b->len - at >= QV_GRPC_PREFIX_BYTES) {
        size_t n = stream_message_bytes(call, b->data + at);
        if (call->broken || call->too_big || b->len - at - QV_GRPC_PREFIX_BYTES < n)
            break;
        at += QV_GRPC_PREFIX_BYTES;
        call->on_message(call->arg, (struct qv_bytes){b->data + at, n});
        at += n;
    }
    if (at == 0)
        return;
    memmove(b->data, b->data + at, b->len - at);
    b->len -= at;
}

void qv_client_add_body(struct qv_client_call *call, const void *p, size_t n)
{
    if (call->on_message != NULL && (call->status != 200 || call->broken || call->too_big))
        return; /* a page that says why, perhaps: the status is enough */
    qv_buf_append(&call->answer, p, n);
    if (call->answer.failed)
        call->too_big = true;
    else if (call->on_message != NULL)
        stream_give_messages(call);
}

const char *qv_client_header(const struct qv_client_response *response, const char *name)
{
    for (size_t i = 0; i < response->n_headers; i++) {
        if (strcasecmp(response->headers[i].name, name) == 0)
            return response->headers[i].value;
    }
    return NULL;
}

/* gRPC: the status, its text, and the message out of its frame. */
static int response_fill_grpc(struct qv_client_call *call, struct qv_client_response *r)
{
    const char *status = qv_client_header(r, "grpc-status");
    const char *text = qv_client_header(r, "grpc-message");
    if (text != NULL) {
        size_t n = strlen(text);
        char *out = (char *)qv_buf_reserve(&call->head, n + 1); /* the request is over */
        if (out != NULL) {
            qv_grpc_decode_message(text, n, out);
            r->grpc_message = out;
        }
    }
    if (status == NULL) {
        r->grpc_status = (int)qv_grpc_from_http(r->status);
        return 0;
    }
    unsigned value = 0;
    size_t digits = 0;
    for (; status[digits] >= '0' && status[digits] <= '9' && digits < 3; digits++)
        value = value * 10 + (unsigned)(status[digits] - '0');
    r->grpc_status =
        digits == 0 || status[digits] != '\0' || value > 16 ? QV_GRPC_UNKNOWN : (int)value;
    if (r->grpc_status != QV_GRPC_OK)
        return 0;
    if (call->on_message != NULL)
        return call->answer.len == 0 ? 0 : QV_EPROTO; /* ends within a message */
    return qv_grpc_unframe(r->body, UINT32_MAX, &r->body);
}

void qv_client_finish(struct qv_client_call *call, int err)
{
    struct qv_client *client = call->client;
    if (call->conn != NULL)
        qv_client_list_remove(&call->conn->calls, call);
    else
        qv_client_list_remove(&client->waiting, call);
    QV_ASSERT(client->n_calls > 0);
    client->n_calls--;
    client->n_endless -= call->deadline_ns == UINT64_MAX;
    struct qv_client_response r = {.grpc_message = "", .why = client->why};
    if (call->too_big && err == 0)
        err = QV_ETOOBIG;
    else if (call->broken && err == 0)
        err = QV_EPROTO;
    if (err == 0) {
        qv_buf_u8(&call->fields, 0);
        for (uint32_t i = 0; i < call->n_slots && !call->fields.failed; i++) {
            call->headers[i].name = (const char *)call->fields.data + call->slots[i].name;
            call->headers[i].value = (const char *)call->fields.data + call->slots[i].value;
        }
        r.status = call->status;
        r.headers = call->headers;
        r.n_headers = call->fields.failed ? 0 : call->n_slots;
        if (call->on_message == NULL)
            r.body = (struct qv_bytes){call->answer.data, call->answer.len};
        if (call->grpc)
            err = response_fill_grpc(call, &r);
    }
    r.err = err;
    r.sent = call->begun;
    r.buf = &call->answer;
    r.latency_ns = uv_hrtime() - call->sent_ns;
    call->done(call->arg, &r);
    call_release(call);
}

/* ---- the loop ------------------------------------------------------------------------------- */

static struct qv_client_conn *pick_conn(struct qv_client *client)
{
    struct qv_client_conn *best = NULL;
    for (uint32_t i = 0; i < client->config.connections; i++) {
        struct qv_client_conn *conn = &client->conns[i];
        if (qv_client_conn_has_room(conn) && (best == NULL || conn->calls.n < best->calls.n))
            best = conn;
    }
    return best;
}

static void on_tick(uv_timer_t *timer)
{
    struct qv_client *client = timer->data;
    client->now_ns = uv_hrtime();
    for (struct qv_client_call *call = client->waiting.first; call != NULL;) {
        struct qv_client_call *next = call->next;
        if (call->deadline_ns <= client->now_ns)
            qv_client_finish(call, QV_ETIMEOUT);
        call = next;
    }
    for (uint32_t i = 0; i < client->config.connections; i++)
        qv_client_conn_tick(&client->conns[i]);
    qv_client_settle(client);
}

/* Without calls only what keeps connections alive is looked after. */
static uint32_t client_idle_tick_ms(const struct qv_client *client)
{
    if (client->config.keepalive_ms == 0)
        return 0;
    for (uint32_t i = 0; i < client->config.connections; i++) {
        if (client->conns[i].state == QV_CLIENT_OPEN)
            return client->config.keepalive_ms / 4 + 1;
    }
    return 0;
}

/* Of a call, or of a connection that is being made. */
static bool client_has_deadlines(const struct qv_client *client)
{
    QV_ASSERT(client->conns != NULL);
    if (client->n_calls > client->n_endless)
        return true;
    for (uint32_t i = 0; i < client->config.connections; i++) {
        if (client->conns[i].state == QV_CLIENT_CONNECTING)
            return true;
    }
    return false;
}

void qv_client_settle(struct qv_client *client)
{
    if (client->settling || client->closing)
        return;
    client->settling = true;
    struct qv_client_conn *conn;
    do {
        while (client->waiting.first != NULL && (conn = pick_conn(client)) != NULL) {
            struct qv_client_call *call = client->waiting.first;
            qv_client_list_remove(&client->waiting, call);
            qv_client_conn_submit(conn, call);
        }
        for (uint32_t i = 0; i < client->config.connections; i++)
            qv_client_conn_flush(&client->conns[i]);
    } while (client->waiting.first != NULL && pick_conn(client) != NULL);
    client->settling = false;
    uint32_t tick_ms = client_has_deadlines(client) ? CLIENT_TICK_MS : client_idle_tick_ms(client);
    if (tick_ms != client->tick_ms && tick_ms > 0)
        uv_timer_start(&client->timer, on_tick, tick_ms, tick_ms);
    else if (tick_ms == 0 && client->tick_ms > 0)
        uv_timer_stop(&client->timer);
    client->tick_ms = tick_ms;
}

static void client_fail_all(struct qv_client *client, int err)
{
    for (uint32_t i = 0; i < client->config.connections; i++)
        qv_client_conn_close(&client->conns[i], err);
    while (client->waiting.first != NULL)
        qv_client_finish(client->waiting.first, err);
}

static void client_add(struct qv_client *client, struct qv_client_call *call)
{
    qv_client_list_add(&client->waiting, call);
    client->n_calls++;
    client->n_endless += call->deadline_ns == UINT64_MAX;
}

static void list_cancel(struct qv_client_list *list, uint64_t id)
{
    for (struct qv_client_call *call = list->first, *next; call != NULL; call = next) {
        next = call->next;
        if (call->id != id)
            continue;
        if (call->conn != NULL && call->conn->h2 != NULL)
            qv_client_h2_cancel(call->conn->h2, call);
        qv_client_finish(call, QV_ECANCELED);
    }
}

static void client_cancel(struct qv_client *client, uint64_t id)
{
    list_cancel(&client->waiting, id);
    for (uint32_t i = 0; i < client->config.connections; i++) {
        if (client->conns[i].h2 != NULL)
            list_cancel(&client->conns[i].calls, id);
    }
}

/* Takes what other threads sent. True when the client is being destroyed. */
static bool client_take_posted(struct qv_client *client)
{
    pthread_mutex_lock(&client->mutex);
    struct qv_client_call *call = client->posted_first;
    client->posted_first = client->posted_last = NULL;
    uint64_t *cancels = client->cancels;
    uint32_t n_cancels = client->n_cancels;
    client->cancels = NULL;
    client->n_cancels = client->cap_cancels = 0;
    bool quit = client->quit;
    pthread_mutex_unlock(&client->mutex);
    while (call != NULL) {
        struct qv_client_call *next = call->next;
        client_add(client, call);
        call = next;
    }
    for (uint32_t i = 0; i < n_cancels; i++)
        client_cancel(client, cancels[i]);
    qv_mem_free(cancels);
    return quit;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void client_shut(struct qv_client *client)
{
    client->closing = true;
    client_fail_all(client, QV_ECANCELED);
    if (client->config.loop == NULL)
        uv_walk(client->uv, close_handle, NULL);
}

static void on_async(uv_async_t *async)
{
    struct qv_client *client = async->data;
    client->now_ns = uv_hrtime();
    if (client_take_posted(client))
        client_shut(client);
    else
        qv_client_settle(client);
}

static void *client_main(void *arg)
{
    struct qv_client *client = arg;
    uv_run(client->uv, UV_RUN_DEFAULT);
    return NULL;
}

/* ---- create, destroy ------------------------------------------------------------------------ */

static int client_resolve(struct qv_client *client, struct qv_errmsg *msg)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)client->url.port);
    int rv = getaddrinfo(client->url.host, port, &hints, &list);
    if (rv != 0 || list == NULL || list->ai_addrlen > sizeof client->address)
        return qv_fail(msg, QV_EINVAL, "host '%s': %s", client->url.host, gai_strerror(rv));
    const struct addrinfo *best = list;
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        if (a->ai_family == AF_INET) { /* "localhost" first names ::1, where few listen */
            best = a;
            break;
        }
    }
    memcpy(&client->address, best->ai_addr, best->ai_addrlen);
    freeaddrinfo(list);
    return 0;
}

static int client_configure(struct qv_client *client, const struct qv_client_config *config,
                            struct qv_errmsg *msg)
{
    client->config = *config;
    client->config.url = NULL;
    struct qv_client_config *c = &client->config;
    c->connections = c->connections == 0 ? 1 : c->connections;
    if (c->in_flight_max == 0)
        c->in_flight_max = c->http1 ? 1 : 256;
    c->connect_timeout_ms = c->connect_timeout_ms == 0 ? 5000 : c->connect_timeout_ms;
    if (c->response_bytes_max == 0)
        c->response_bytes_max = (size_t)256 << 20;
    c->dead_ms = c->dead_ms == 0 ? 10000 : c->dead_ms;
    QV_ASSERT(c->loop == NULL || !c->own_thread);
    if (config->url == NULL || c->connections > 1024)
        return qv_fail(msg, QV_EINVAL, "a client needs a URL and at most 1024 connections");
    int err = qv_url_parse(config->url, &client->url, msg);
    if (err != 0)
        return err;
    bool v6 = strchr(client->url.host, ':') != NULL;
    snprintf(client->authority, sizeof client->authority, v6 ? "[%s]:%u" : "%s:%u",
             client->url.host, (unsigned)client->url.port);
    size_t n = strcspn(client->url.path, "?");
    while (n > 0 && client->url.path[n - 1] == '/')
        n--;
    memcpy(client->prefix, client->url.path, n);
    client->prefix[n] = '\0';
    c->address = NULL; /* was borrowed */
    if (config->address == NULL)
        return client_resolve(client, msg);
    memcpy(&client->address, config->address, sizeof client->address);
    return 0;
}

static int client_open_tls(struct qv_client *client, struct qv_errmsg *msg)
{
    struct qv_client_config *c = &client->config;
    struct qv_tls_config tls = {.cert_path = c->cert_path,
                                .key_path = c->key_path,
                                .ca_path = c->ca_path,
                                .http1 = c->http1};
    bool files = c->cert_path != NULL || c->key_path != NULL || c->ca_path != NULL;
    c->cert_path = c->key_path = c->ca_path = NULL; /* were borrowed */
    if (client->url.tls && c->tls != NULL) {
        client->tls = c->tls;
        client->tls_borrowed = true;
        return 0;
    }
    if (client->url.tls)
        return qv_tls_ctx_create(&tls, &client->tls, msg);
    return files ? qv_fail(msg, QV_EINVAL, "certificates need an https:// URL") : 0;
}

int qv_client_create(const struct qv_client_config *config, struct qv_client **out,
                     struct qv_errmsg *msg)
{
    *out = NULL;
    struct qv_client *client = qv_mem_calloc(1, sizeof *client);
    int err = client_configure(client, config, msg);
    if (err == 0)
        err = client_open_tls(client, msg);
    client->uv = config->loop != NULL ? config->loop : &client->own;
    if (err == 0 && config->loop == NULL && uv_loop_init(client->uv) != 0)
        err = qv_fail(msg, QV_EIO, "no event loop can be made");
    if (err != 0) {
        if (!client->tls_borrowed)
            qv_tls_ctx_destroy(&client->tls);
        qv_mem_free(client);
        return err;
    }
    if (config->loop == NULL) {
        int rv = uv_async_init(client->uv, &client->async, on_async);
        QV_ASSERT(rv == 0);
    }
    client->async.data = client;
    uv_timer_init(client->uv, &client->timer);
    qv_client_hold(client);
    client->timer.data = client;
    pthread_mutex_init(&client->mutex, NULL);
    client->read_buf = qv_mem_alloc(CLIENT_READ_BYTES);
    client->conns = qv_mem_calloc(client->config.connections, sizeof *client->conns);
    for (uint32_t i = 0; i < client->config.connections; i++) {
        client->conns[i].client = client;
        qv_outq_init(&client->conns[i].out);
    }
    if (client->config.own_thread &&
        pthread_create(&client->thread, NULL, client_main, client) != 0) {
        client->config.own_thread = false;
        qv_client_destroy(&client);
        return qv_fail(msg, QV_EIO, "no thread can be made");
    }
    *out = client;
    return 0;
}

static void client_free(struct qv_client *client)
{
    QV_ASSERT(client->n_calls == 0);
    for (uint32_t i = 0; i < client->config.connections; i++)
        qv_outq_close(&client->conns[i].out);
    if (!client->tls_borrowed)
        qv_tls_ctx_destroy(&client->tls);
    while (client->free_calls != NULL) {
        struct qv_client_call *call = client->free_calls;
        client->free_calls = call->free_next;
        call_free(call);
    }
    pthread_mutex_destroy(&client->mutex);
    qv_mem_free(client->conns);
    qv_mem_free(client->cancels);
    qv_mem_free(client->read_buf);
    qv_mem_free(client);
}

void qv_client_hold(struct qv_client *client)
{
    client->n_handles++;
}

/* With a loop of its own the client is freed where that has ended. */
void qv_client_let_go(struct qv_client *client)
{
    if (--client->n_handles > 0 || client->config.loop == NULL)
        return;
    void (*on_destroyed)(void *arg) = client->config.on_destroyed;
    void *arg = client->config.arg;
    client_free(client);
    if (on_destroyed != NULL)
        on_destroyed(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    qv_client_let_go(handle->data);
}

void qv_client_destroy(struct qv_client **pclient)
{
    struct qv_client *client = *pclient;
    *pclient = NULL;
    if (client == NULL)
        return;
    if (client->config.own_thread) {
        pthread_mutex_lock(&client->mutex);
        client->quit = true;
        pthread_mutex_unlock(&client->mutex);
        uv_async_send(&client->async);
        pthread_join(client->thread, NULL);
    } else {
        client_shut(client);
        if (client->config.loop != NULL) {
            uv_close((uv_handle_t *)&client->timer, on_timer_closed);
            return; /* the last handle frees it */
        }
        uv_run(client->uv, UV_RUN_DEFAULT);
    }
    int rv = uv_loop_close(client->uv);
    QV_ASSERT(rv == 0);
    client_free(client);
}

const char *qv_client_why(const struct qv_client *client)
{
    return client->why;
}

int qv_client_send_call(struct qv_client *client, const struct qv_client_request *request,
                        qv_client_done_f *done, void *arg, struct qv_client_call **out)
{
    struct qv_client_call *call = call_create(client);
    *out = NULL;
    call->done = done;
    call->arg = arg;
    int err = call_fill(call, request);
    if (err != 0) {
        call_release(call);
        return err;
    }
    *out = call;
    if (!client->config.own_thread) {
        client_add(client, call);
        return 0;
    }
    pthread_mutex_lock(&client->mutex);
    bool wake = client->posted_first == NULL;
    call->next = NULL;
    if (client->posted_last != NULL)
        client->posted_last->next = call;
    else
        client->posted_first = call;
    client->posted_last = call;
    pthread_mutex_unlock(&client->mutex);
    if (wake)
        uv_async_send(&client->async);
    return 0;
}

int qv_client_send(struct qv_client *client, const struct qv_client_request *request,
                   qv_client_done_f *done, void *arg)
{
    struct qv_client_call *call;
    return qv_client_send_call(client, request, done, arg, &call);
}

void qv_client_cancel(struct qv_client_call *call)
{
    struct qv_client *client = call->client;
    QV_ASSERT(!client->config.own_thread);
    if (call->conn != NULL && call->conn->h2 != NULL)
        qv_client_h2_cancel(call->conn->h2, call);
    struct qv_client_conn *http1 = call->conn != NULL && call->conn->h1 != NULL ? call->conn : NULL;
    qv_client_finish(call, QV_ECANCELED);
    if (http1 != NULL) /* one request can't be taken back: see qv_client_conn_tick */
        qv_client_conn_close(http1, QV_EUNKNOWN);
}

void qv_client_flush(struct qv_client *client)
{
    client->now_ns = uv_hrtime();
    qv_client_settle(client);
}

void qv_client_cancel_id(struct qv_client *client, uint64_t id)
{
    QV_ASSERT(client->config.own_thread && id != 0);
    pthread_mutex_lock(&client->mutex);
    if (client->n_cancels == client->cap_cancels) {
        client->cap_cancels = client->cap_cancels == 0 ? 8 : client->cap_cancels * 2;
        client->cancels =
            qv_mem_realloc(client->cancels, client->cap_cancels * sizeof *client->cancels);
    }
    client->cancels[client->n_cancels++] = id;
    pthread_mutex_unlock(&client->mutex);
    uv_async_send(&client->async);
}

/* Nothing ran the loop for a while: a connection that the server closed meanwhile is seen first. */
static void client_catch_up(struct qv_client *client)
{
    client->settling = true; /* what is queued isn't given to a connection that may be gone */
    client->now_ns = uv_hrtime();
    uv_run(client->uv, UV_RUN_NOWAIT);
    client->settling = false;
    qv_client_settle(client);
}

void qv_client_run(struct qv_client *client)
{
    QV_ASSERT(!client->config.own_thread && client->config.loop == NULL);
    client->stop = false;
    client_catch_up(client);
    while (client->n_calls > 0 && !client->stop)
        uv_run(client->uv, UV_RUN_ONCE);
}

void qv_client_stop(struct qv_client *client)
{
    client->stop = true;
}

/* ---- blocking ------------------------------------------------------------------------------- */

struct client_wait {
    struct qv_client *client;
    struct qv_client_answer *answer;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
    int err;
};

static void on_answer(void *arg, const struct qv_client_response *r)
{
    struct client_wait *wait = arg;
    struct qv_client_answer *answer = wait->answer;
    int err = r->err;
    if (err == 0) {
        const char *type = qv_client_header(r, "content-type");
        answer->status = r->status;
        answer->grpc_status = r->grpc_status;
        answer->latency_ns = r->latency_ns;
        snprintf(answer->grpc_message, sizeof answer->grpc_message, "%s", r->grpc_message);
        snprintf(answer->content_type, sizeof answer->content_type, "%s", type ? type : "");
        qv_buf_append(&answer->body, r->body.p, r->body.n);
        if (answer->body.failed)
            err = QV_ENOMEM;
    }
    pthread_mutex_lock(&wait->mutex);
    wait->err = err;
    wait->done = true;
    pthread_cond_signal(&wait->cond);
    pthread_mutex_unlock(&wait->mutex);
}

int qv_client_call(struct qv_client *client, const struct qv_client_request *request,
                   struct qv_client_answer *out)
{
    QV_ASSERT(client->config.loop == NULL);
    struct client_wait wait = {.client = client, .answer = out};
    memset(out, 0, sizeof *out);
    qv_buf_init(&out->body, 0);
    pthread_mutex_init(&wait.mutex, NULL);
    pthread_cond_init(&wait.cond, NULL);
    int err = qv_client_send(client, request, on_answer, &wait);
    if (err == 0 && !client->config.own_thread) {
        client_catch_up(client);
        while (!wait.done)
            uv_run(client->uv, UV_RUN_ONCE);
    } else if (err == 0) {
        pthread_mutex_lock(&wait.mutex);
        while (!wait.done)
            pthread_cond_wait(&wait.cond, &wait.mutex);
        pthread_mutex_unlock(&wait.mutex);
    }
    pthread_cond_destroy(&wait.cond);
    pthread_mutex_destroy(&wait.mutex);
    err = err != 0 ? err : wait.err;
    if (err != 0)
        qv_client_answer_close(out);
    return err;
}

void qv_client_answer_close(struct qv_client_answer *answer)
{
    qv_buf_close(&answer->body);
    memset(answer, 0, sizeof *answer);
}
