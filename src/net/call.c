#include "net/call.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "net/conn.h"
#include "net/grpc.h"
#include "net/gzip.h"
#include "net/spool.h"
#include "net/unpack.h"
#include "net/url.h"

#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define CALL_POOL_MAX 0u /* freed at once: a use after the release shows */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CALL_POOL_MAX 0u
#endif
#endif
#ifndef CALL_POOL_MAX
#define CALL_POOL_MAX 512u
#endif
#define CALL_EXTRA_MAX 16u
#define CALL_KEEP_BODY_BYTES ((size_t)64 * 1024) /* larger buffers aren't kept in the pool */
#define CALL_RESERVE_BYTES ((size_t)1024 * 1024) /* most that an announced length may reserve */
#define CALL_MESSAGE_BYTES_MAX ((size_t)1024)

/* ---- life ----------------------------------------------------------------------------------- */

struct qv_call_priv *qv_call_acquire(struct qv_net_core *core)
{
    struct qv_call_priv *call = core->free_calls;
    if (call != NULL) {
        core->free_calls = call->next;
        core->n_free_calls--;
    } else {
        call = qv_mem_try_calloc(1, sizeof *call);
        if (call == NULL)
            return NULL;
        call->core = core;
        /* Room for the pseudo headers and NULs beside the header bytes themselves. */
        qv_buf_init(&call->head, core->limits.header_bytes_max * 2 + 4096);
        qv_buf_init(&call->body, 0);
        qv_buf_init(&call->reply_extra, 0);
        qv_buf_init(&call->reply_message, 0);
        qv_buf_init(&call->reply_head, 0);
        qv_buf_init(&call->reply_body, 0);
        qv_buf_init(&call->out, 0);
        qv_arena_init(&call->pub.arena, core->limits.arena_bytes_max);
    }
    call->next = NULL;
    call->state = QV_CALL_RECEIVING;
    call->method_at = UINT32_MAX;
    call->path_at = UINT32_MAX;
    call->pub.spool_fd = -1;
    atomic_store_explicit(&call->pub.cancelled, false, memory_order_relaxed);
    return call;
}

static void call_keep_small(struct qv_buf *b)
{
    if (b->cap > CALL_KEEP_BODY_BYTES)
        qv_buf_close(b);
    qv_buf_clear(b);
}

/* What one request left behind: everything but the buffers and the arena's block. */
static void call_reset(struct qv_call_priv *call)
{
    struct qv_arena arena = call->pub.arena;
    memset(&call->pub, 0, sizeof call->pub);
    qv_arena_reset(&arena);
    call->pub.arena = arena;
    call->conn = NULL;
    call->stream_id = 0;
    call->head_method = call->keep_alive = call->http10 = call->continue_due = false;
    call->has_origin = call->complete = call->head_done = call->head_too_big = false;
    call->end_sent = call->over_budget = call->reply_head_sent = false;
    call->packed = call->reply_packed = call->reply_varies = false;
    call->started_ns = 0;
    call->n_slots = 0;
    call->head_bytes = 0;
    call->on_message = NULL;
    call->stream_ended = false;
    call->reply_is_grpc = false;
    call->reply_status = 0;
    call->reply_type = NULL;
    call->n_extra = 0;
    call->reply_sent_bytes = 0;
    call->spool_unconsumed = 0;
    call->mark_bytes = 0;
    QV_ASSERT(call->reply_counted_bytes == 0);
    call_keep_small(&call->head);
    call_keep_small(&call->body);
    call_keep_small(&call->reply_extra);
    call_keep_small(&call->reply_message);
    call_keep_small(&call->reply_head);
    call_keep_small(&call->reply_body);
    call_keep_small(&call->out);
}

void qv_call_release(struct qv_call_priv *call)
{
    struct qv_net_core *core = call->core;
    if (call->charged_bytes > 0)
        atomic_fetch_sub_explicit(&core->shared->buffered_bytes, call->charged_bytes,
                                  memory_order_relaxed);
    call->charged_bytes = 0;
    qv_spool_release(&call->spool);
    qv_unpack_release(&call->unpack);
    qv_filebody_release(&call->reply_file, core);
    if (core->n_free_calls + 1 > CALL_POOL_MAX) {
        qv_call_free(call);
        return;
    }
    call_reset(call);
    call->next = core->free_calls;
    core->free_calls = call;
    core->n_free_calls++;
}

void qv_call_free(struct qv_call_priv *call)
{
    qv_arena_close(&call->pub.arena);
    qv_buf_close(&call->head);
    qv_buf_close(&call->body);
    qv_buf_close(&call->reply_extra);
    qv_buf_close(&call->reply_message);
    qv_buf_close(&call->reply_head);
    qv_buf_close(&call->reply_body);
    qv_buf_close(&call->out);
    qv_mem_free(call->slots);
    qv_mem_free(call->headers);
    qv_mem_free(call);
}

/* ---- building the head ---------------------------------------------------------------------- */

void qv_call_add_bytes(struct qv_call_priv *call, const char *s, size_t n)
{
    if (call->head_too_big)
        return;
    qv_buf_append(&call->head, s, n);
    if (call->head.failed)
        call->head_too_big = true;
}

void qv_call_set_method(struct qv_call_priv *call, const char *s, size_t n)
{
    qv_call_add_bytes(call, "", 1); /* ends what came before */
    call->method_at = (uint32_t)call->head.len;
    qv_call_add_bytes(call, s, n);
    qv_call_add_bytes(call, "", 1);
}

void qv_call_add_path(struct qv_call_priv *call, const char *s, size_t n)
{
    if (call->path_at == UINT32_MAX)
        call->path_at = (uint32_t)call->head.len;
    qv_call_add_bytes(call, s, n);
}

void qv_call_begin_name(struct qv_call_priv *call)
{
    qv_call_add_bytes(call, "", 1); /* ends the path or the value before */
    if (call->n_slots >= call->core->limits.header_count_max)
        call->head_too_big = true;
    if (call->head_too_big)
        return;
    if (call->n_slots == call->cap_slots) {
        uint32_t cap = call->cap_slots == 0 ? 16 : call->cap_slots * 2;
        call->slots = qv_mem_realloc(call->slots, cap * sizeof *call->slots);
        call->headers = qv_mem_realloc(call->headers, cap * sizeof *call->headers);
        call->cap_slots = cap;
    }
    struct qv_call_slot *slot = &call->slots[call->n_slots++];
    slot->name = (uint32_t)call->head.len;
    slot->value = UINT32_MAX;
}

bool qv_call_name_is_empty(const struct qv_call_priv *call)
{
    return call->n_slots == 0 || call->slots[call->n_slots - 1].name == call->head.len;
}

void qv_call_begin_value(struct qv_call_priv *call)
{
    qv_call_add_bytes(call, "", 1);
    if (!call->head_too_big && call->n_slots > 0)
        call->slots[call->n_slots - 1].value = (uint32_t)call->head.len;
}

void qv_call_add_header(struct qv_call_priv *call, const char *name, size_t name_len,
                        const char *value, size_t value_len)
{
    qv_call_begin_name(call);
    qv_call_add_bytes(call, name, name_len);
    qv_call_begin_value(call);
    qv_call_add_bytes(call, value, value_len);
}

static enum qv_net_method method_parse(const char *name)
{
    static const struct {
        const char *name;
        enum qv_net_method method;
    } table[] = {{"GET", QV_NET_GET},        {"HEAD", QV_NET_HEAD},   {"POST", QV_NET_POST},
                 {"PUT", QV_NET_PUT},        {"PATCH", QV_NET_PATCH}, {"DELETE", QV_NET_DELETE},
                 {"OPTIONS", QV_NET_OPTIONS}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(table[i].name, name) == 0)
            return table[i].method;
    }
    return QV_NET_METHOD_OTHER;
}

/* Absolute form ("http://host/path"): what follows the authority. */
static char *target_strip_authority(char *target)
{
    if (strncmp(target, "http://", 7) != 0 && strncmp(target, "https://", 8) != 0)
        return target;
    char *rest = strchr(target, ':') + 3;
    rest += strcspn(rest, "/?");
    if (*rest != '/')
        *--rest = '/'; /* "http://host?x": over the end of the authority */
    return rest;
}

static int call_cut_target(struct qv_call_priv *call, char *target)
{
    target = target_strip_authority(target);
    bool star = strcmp(target, "*") == 0 && call->pub.method == QV_NET_OPTIONS;
    if (target[0] != '/' && !star)
        return QV_EBADREQ;
    for (const char *c = target; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || (unsigned char)*c == 0x7F)
            return QV_EBADREQ;
    }
    char *query = strchr(target, '?');
    call->pub.path = target;
    if (query != NULL) {
        *query = '\0';
        call->pub.path_len = (size_t)(query - target);
        call->pub.query = query + 1;
    } else {
        call->pub.path_len = strlen(target);
        call->pub.query = target + call->pub.path_len;
    }
    call->pub.query_len = strlen(call->pub.query);
    return 0;
}

int qv_call_finish_head(struct qv_call_priv *call)
{
    qv_call_add_bytes(call, "", 1);
    if (call->over_budget)
        return QV_EBUSY;
    if (call->head_too_big)
        return QV_ETOOBIG;
    if (call->method_at == UINT32_MAX || call->path_at == UINT32_MAX)
        return QV_EBADREQ;
    char *head = (char *)call->head.data;
    for (uint32_t i = 0; i < call->n_slots; i++) {
        QV_ASSERT(call->slots[i].value != UINT32_MAX);
        call->headers[i].name = head + call->slots[i].name;
        call->headers[i].value = head + call->slots[i].value;
    }
    call->pub.headers = call->headers;
    call->pub.n_headers = call->n_slots;
    call->pub.method_name = head + call->method_at;
    call->pub.method = method_parse(call->pub.method_name);
    call->head_method = call->pub.method == QV_NET_HEAD;
    int err = call_cut_target(call, head + call->path_at);
    if (err != 0)
        return err;
    if (call->pub.is_h2 && call->pub.method == QV_NET_POST) {
        const char *type = qv_call_header(&call->pub, "content-type");
        call->pub.is_grpc = type != NULL && qv_grpc_is_content_type(type);
    }
    call->has_origin = call->core->cors && qv_call_header(&call->pub, "origin") != NULL;
    return 0;
}

/* ---- the body ------------------------------------------------------------------------------- */

void qv_call_reserve(struct qv_call_priv *call, size_t bytes)
{
    if (qv_buf_reserve(&call->body, bytes < CALL_RESERVE_BYTES ? bytes : CALL_RESERVE_BYTES) ==
        NULL)
        call->body.failed = false; /* only a wish */
}

/* Makes room for what the sender announces, as far as that is safe to believe. */
static void call_reserve_body(struct qv_call_priv *call, const uint8_t *p, size_t n)
{
    size_t want = 0;
    if (call->pub.is_grpc && n >= QV_GRPC_PREFIX_BYTES) {
        want = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | (size_t)p[4];
        want += QV_GRPC_PREFIX_BYTES;
    }
    if (want > n)
        qv_call_reserve(call, want);
}

bool qv_call_charge(struct qv_call_priv *call, size_t n)
{
    size_t max = call->core->limits.buffered_bytes_max;
    size_t before =
        atomic_fetch_add_explicit(&call->core->shared->buffered_bytes, n, memory_order_relaxed);
    call->charged_bytes += n;
    return before <= max && n <= max - before;
}

void qv_call_discharge(struct qv_call_priv *call, size_t n)
{
    QV_ASSERT(n <= call->charged_bytes);
    call->charged_bytes -= n;
    atomic_fetch_sub_explicit(&call->core->shared->buffered_bytes, n, memory_order_relaxed);
}

uint64_t qv_call_body_bytes(const struct qv_call_priv *call)
{
    return call->spool != NULL ? call->spool->bytes : call->body.len;
}

uint64_t qv_call_reply_bytes(const struct qv_call_priv *call)
{
    return call->reply_file != NULL ? call->reply_file->unsent : call->reply_body.len;
}

void qv_call_uncharge(struct qv_call_priv *call, size_t n)
{
    QV_ASSERT(n <= call->charged_bytes);
    atomic_fetch_sub_explicit(&call->core->shared->buffered_bytes, n, memory_order_relaxed);
    call->charged_bytes -= n;
}

int qv_call_add_body(struct qv_call_priv *call, const void *p, size_t n)
{
    const struct qv_net_limits *limits = &call->core->limits;
    if (call->spool != NULL)
        return qv_call_charge(call, n) ? qv_spool_add(call->spool, p, n) : QV_EBUSY;
    size_t limit = call->pub.is_grpc ? limits->message_bytes_max + QV_GRPC_PREFIX_BYTES
                                     : limits->body_bytes_max;
    if (n > limit || call->body.len > limit - n)
        return QV_ETOOBIG;
    if (!qv_call_charge(call, n))
        return QV_EBUSY;
    if (call->body.len == 0)
        call_reserve_body(call, p, n);
    qv_buf_append(&call->body, p, n);
    return call->body.failed ? QV_ENOMEM : 0;
}

/* A compressed gRPC message. gzip is the one encoding; QV_ENOTIMPL for another. */
static int call_find_packed(struct qv_call_priv *call, struct qv_bytes *packed)
{
    const char *encoding = qv_call_header(&call->pub, "grpc-encoding");
    if (encoding == NULL || strcmp(encoding, "gzip") != 0)
        return QV_ENOTIMPL;
    call->body.data[0] = 0; /* framed like any other */
    int err = qv_grpc_unframe(call->pub.body, call->core->limits.message_bytes_max, packed);
    return err == 0 && packed->n == 0 ? QV_EPROTO : err;
}

int qv_call_finish_body(struct qv_call_priv *call, struct qv_bytes *packed)
{
    struct qv_call *pub = &call->pub;
    struct qv_net_core *core = call->core;
    uint32_t ms = pub->timeout_ms != 0 ? pub->timeout_ms : core->limits.request_timeout_ms;
    *packed = (struct qv_bytes){0};
    pub->body = (struct qv_bytes){call->body.data, call->body.len};
    pub->received_ns = core->now_ns;
    pub->deadline_ns = core->now_ns + (uint64_t)ms * 1000000u;
    if (call->spool != NULL) {
        pub->spool_fd = call->spool->fd;
        pub->spool_bytes = call->spool->bytes;
    }
    if (!pub->is_grpc) {
        if (call->packed)
            *packed = pub->body;
        return 0;
    }
    const char *timeout = qv_call_header(pub, "grpc-timeout");
    if (timeout != NULL) {
        uint64_t ns;
        if (qv_grpc_parse_timeout(timeout, &ns) != 0)
            return QV_EBADREQ;
        if (ns < pub->deadline_ns - core->now_ns)
            pub->deadline_ns = core->now_ns + ns;
    }
    int err = qv_grpc_unframe(pub->body, core->limits.message_bytes_max, &pub->message);
    return err == QV_ENOTIMPL ? call_find_packed(call, packed) : err;
}

int qv_call_finish_plain(struct qv_call_priv *call)
{
    struct qv_call *pub = &call->pub;
    pub->body = (struct qv_bytes){call->body.data, call->body.len};
    if (!pub->is_grpc)
        return 0;
    QV_ASSERT(call->body.len >= QV_GRPC_PREFIX_BYTES);
    qv_grpc_put_prefix(call->body.data, call->body.len - QV_GRPC_PREFIX_BYTES, false);
    return qv_grpc_unframe(pub->body, call->core->limits.message_bytes_max, &pub->message);
}

void qv_call_stream(struct qv_call *pub, qv_net_stream_f *on_message)
{
    struct qv_call_priv *call = (struct qv_call_priv *)pub;
    QV_ASSERT(pub->is_grpc && call->state == QV_CALL_RECEIVING);
    call->on_message = on_message;
}

/* ---- what the handler calls ----------------------------------------------------------------- */

const char *qv_call_header(const struct qv_call *call, const char *name)
{
    for (size_t i = 0; i < call->n_headers; i++) {
        const char *have = call->headers[i].name;
        if (have[0] == name[0] && strcmp(have, name) == 0)
            return call->headers[i].value;
    }
    return NULL;
}

int qv_call_query_param(struct qv_call *call, const char *name, const char **out)
{
    size_t name_len = strlen(name);
    for (const char *p = call->query; *p != '\0';) {
        size_t n = strcspn(p, "&");
        size_t key_len = strcspn(p, "=&");
        const char *next = p[n] == '&' ? p + n + 1 : p + n;
        char *key = qv_arena_alloc(&call->arena, n + 1);
        if (key == NULL)
            return QV_ENOMEM;
        size_t got;
        bool match = qv_url_decode(p, key_len, true, key, &got) == 0 && got == name_len &&
                     memcmp(key, name, got) == 0;
        if (match) {
            size_t skip = key_len < n ? key_len + 1 : n;
            if (qv_url_decode(p + skip, n - skip, true, key, &got) != 0)
                return QV_EBADREQ;
            *out = key;
            return 0;
        }
        p = next;
    }
    return QV_ENOTFOUND;
}

int qv_call_spool(struct qv_call *pub, const char *dir, uint64_t bytes_max)
{
    struct qv_call_priv *call = (struct qv_call_priv *)pub;
    QV_ASSERT(call->state == QV_CALL_RECEIVING && call->body.len == 0 && call->spool == NULL);
    if (pub->is_grpc)
        return QV_EINVAL;
    return qv_spool_create(call, dir, bytes_max, &call->spool);
}

struct qv_buf *qv_call_out(struct qv_call *call)
{
    return &((struct qv_call_priv *)call)->out;
}

static void call_copy_extra(struct qv_call_priv *call, const struct qv_net_header *extra, size_t n)
{
    QV_ASSERT(n <= CALL_EXTRA_MAX);
    for (size_t i = 0; i < n; i++) {
        QV_ASSERT(strpbrk(extra[i].value, "\r\n") == NULL);
        QV_ASSERT(strpbrk(extra[i].name, "\r\n: ") == NULL && extra[i].name[0] != '\0');
        qv_buf_append(&call->reply_extra, extra[i].name, strlen(extra[i].name) + 1);
        qv_buf_append(&call->reply_extra, extra[i].value, strlen(extra[i].value) + 1);
    }
    call->n_extra = (uint32_t)n;
    if (call->reply_extra.failed) {
        call->n_extra = 0;
        qv_buf_clear(&call->reply_extra);
    }
}

/* Moves body into the call; false when its making had failed. */
static bool call_take_body(struct qv_call_priv *call, struct qv_buf *body)
{
    if (body == NULL)
        return true;
    bool good = !body->failed;
    if (good) {
        struct qv_buf mine = call->reply_body;
        call->reply_body = *body;
        *body = mine;
        size_t limit = body->limit;
        body->limit = call->reply_body.limit;
        call->reply_body.limit = limit;
    }
    qv_buf_clear(body);
    return good;
}

/* Packs the answer where the client asks for it and it is worth it. Not on the loop, and not where
 * the handler has said that this thread has better things to do. */
static void call_pack(struct qv_call_priv *call)
{
    struct qv_call *pub = &call->pub;
    size_t min = call->core->limits.pack_bytes_min;
    struct qv_buf packed;
    call->reply_varies = !pub->is_grpc && call->reply_body.len >= min;
    if (call->reply_body.len < min || pub->keep_plain ||
        pthread_equal(call->core->thread, pthread_self()) ||
        !qv_gzip_is_accepted(
            qv_call_header(pub, pub->is_grpc ? "grpc-accept-encoding" : "accept-encoding")))
        return;
    qv_buf_init(&packed, 0);
    struct qv_bytes plain = {call->reply_body.data, call->reply_body.len};
    if (qv_gzip_pack(plain, &packed) == 0) {
        struct qv_buf was = call->reply_body;
        call->reply_body = packed;
        packed = was;
        call->reply_packed = true;
    }
    qv_buf_close(&packed);
}

/* Gives an answered call back to its loop. */
static void call_post(struct qv_call_priv *call)
{
    struct qv_net_core *core = call->core;
    if (pthread_equal(core->thread, pthread_self())) {
        qv_net_core_apply(call);
        return;
    }
    /* From the push on another thread may free the call; `posters` keeps the core alive for the
     * wake. */
    const bool lazy = call->pub.lazy;
    atomic_fetch_add_explicit(&core->posters, 1, memory_order_relaxed);
    struct qv_call_priv *old = atomic_load_explicit(&core->posted, memory_order_relaxed);
    do {
        call->next = old;
    } while (!atomic_compare_exchange_weak(&core->posted, &old, call));
    if (!lazy && !atomic_exchange(&core->woken, true))
        core->wake(core->wake_arg);
    atomic_fetch_sub_explicit(&core->posters, 1, memory_order_release);
}

void qv_call_reply(struct qv_call *pub, int status, const char *content_type,
                   const struct qv_net_header *extra, size_t n_extra, struct qv_buf *body)
{
    struct qv_call_priv *call = (struct qv_call_priv *)pub;
    QV_ASSERT(status >= 200 && status <= 599);
    QV_ASSERT(content_type != NULL || body == NULL || body->len == 0 || body->failed);
    call->reply_is_grpc = false;
    call->reply_status = status;
    call->reply_type = content_type;
    call_copy_extra(call, extra, n_extra);
    if (!call_take_body(call, body)) {
        call->reply_status = 500;
        call->reply_type = NULL;
    }
    call_pack(call);
    call_post(call);
}

void qv_call_reply_file(struct qv_call *pub, int status, const char *content_type,
                        const struct qv_net_header *extra, size_t n_extra,
                        const struct qv_net_file *file)
{
    struct qv_call_priv *call = (struct qv_call_priv *)pub;
    QV_ASSERT(!pub->is_grpc && content_type != NULL && file->fd >= 0);
    call->reply_file = qv_filebody_create(file);
    if (call->reply_file == NULL)
        qv_call_reply(pub, 503, NULL, NULL, 0, NULL);
    else
        qv_call_reply(pub, status, content_type, extra, n_extra, NULL);
}

void qv_call_reply_grpc_extra(struct qv_call *pub, int grpc_status, const char *grpc_message,
                              const struct qv_net_header *extra, size_t n_extra,
                              struct qv_buf *body)
{
    struct qv_call_priv *call = (struct qv_call_priv *)pub;
    QV_ASSERT(pub->is_grpc);
    QV_ASSERT(grpc_status >= 0 && grpc_status <= 16);
    bool good = call_take_body(call, body);
    if (grpc_status == QV_GRPC_OK && (!good || call->reply_body.len > UINT32_MAX)) {
        grpc_status = QV_GRPC_RESOURCE_EXHAUSTED;
        grpc_message = "the answer is too large";
    }
    if (grpc_status != QV_GRPC_OK)
        qv_buf_clear(&call->reply_body);
    call->reply_is_grpc = true;
    call->reply_status = grpc_status;
    call_copy_extra(call, extra, n_extra);
    if (grpc_message != NULL)
        qv_grpc_encode_message(&call->reply_message, grpc_message,
                               strnlen(grpc_message, CALL_MESSAGE_BYTES_MAX));
    call_pack(call);
    call_post(call);
}

void qv_call_reply_grpc(struct qv_call *call, int grpc_status, const char *grpc_message,
                        struct qv_buf *body)
{
    qv_call_reply_grpc_extra(call, grpc_status, grpc_message, NULL, 0, body);
}

void qv_call_reply_grpc_parts(struct qv_call *pub, struct qv_bytes head, struct qv_buf *body)
{
    struct qv_call_priv *call = (struct qv_call_priv *)pub;
    QV_ASSERT(head.n <= QV_NET_REPLY_HEAD_BYTES_MAX);
    qv_buf_append(&call->reply_head, head.p, head.n);
    if (body != NULL && call->reply_head.failed)
        body->failed = true;
    pub->keep_plain = true; /* compressed, the parts would have to be one */
    qv_call_reply_grpc_extra(pub, QV_GRPC_OK, NULL, NULL, 0, body);
}
