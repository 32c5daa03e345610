/* Calls from peers. The listening thread checks who calls, and hands over to the owner of env; the
 * owner gives requests to handlers and answers them. */
#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "net/grpc.h"
#include "net/peer_tcp_private.h"

#include <stdio.h>
#include <string.h>

#define IN_TIMEOUT_MS (3600u * 1000) /* of a request that names no deadline */
#define IN_IDLE_MS (3600u * 1000)    /* callers keep their connections */
#define IN_CALLS_MAX 16384u
#define IN_STREAMS 256u
#define IN_BUFFERED_BYTES ((size_t)1 << 30)
#define IN_UNSENT_BYTES ((size_t)16 << 20)

/* ---- the listening thread ------------------------------------------------------------------- */

static void reply_err(struct qv_call *call, const struct qv_peer_self *self, uint32_t protocol,
                      int err, const char *text)
{
    struct qv_peer_envelope e = {.protocol = protocol != 0 ? protocol : self->protocol_max,
                                 .feature_level = self->feature_level,
                                 .from = self->id,
                                 .from_incarnation = self->incarnation,
                                 .err = err,
                                 .refused = true};
    uint8_t head[QV_PEER_HEAD_BYTES_MAX];
    snprintf(e.text, sizeof e.text, "%s", text);
    size_t n = qv_peer_envelope_encode(&e, head);
    qv_call_reply_grpc_parts(call, (struct qv_bytes){head, n}, NULL);
}

/* Whether the session shown is one that we gave, and whose. */
static bool session_is_good(struct qv_peer_tcp *t, const char *text, struct qv_peer_pair *who)
{
    if (text == NULL)
        return false;
    size_t n = strlen(text);
    struct peer_session *s = &t->sessions[qv_hash_64(text, n) % PEER_SESSIONS];
    if (n == QV_PEER_SESSION_TEXT - 1 &&
        qv_peer_auth_equal((const uint8_t *)s->text, (const uint8_t *)text, n)) {
        *who = s->who;
        return true;
    }
    if (!qv_peer_auth_check(t->secret, t->key, &t->self, text, who))
        return false;
    memcpy(s->text, text, n + 1);
    s->who = *who;
    return true;
}

static bool is_path(const struct qv_call *call, const char *path)
{
    return strlen(path) == call->path_len && memcmp(path, call->path, call->path_len) == 0;
}

/* Who may not call is told before its body is read. */
static void on_headers(void *ctx, struct qv_call *call)
{
    struct qv_peer_tcp *t = ctx;
    if (!call->is_grpc) {
        qv_call_reply(call, 404, NULL, NULL, 0, NULL);
    } else if (is_path(call, PEER_ASK_PATH)) {
        struct qv_peer_pair *who = QV_ARENA_NEW(&call->arena, struct qv_peer_pair);
        const char *session = qv_call_header(call, PEER_SESSION_HEADER);
        if (t->secret[0] == '\0')
            return;
        if (who != NULL && session_is_good(t, session, who))
            call->user = who;
        else
            qv_call_reply_grpc(call, QV_GRPC_UNAUTHENTICATED, "no session of this node", NULL);
    } else if (!is_path(call, PEER_GREET_PATH)) {
        qv_call_reply_grpc(call, QV_GRPC_UNIMPLEMENTED, "no such method", NULL);
    }
}

static void greet(struct qv_peer_tcp *t, struct qv_call *call)
{
    const struct qv_peer_self *self = &t->self;
    struct qv_peer_hello hello;
    struct qv_errmsg msg = {""};
    uint32_t version;
    int err = qv_peer_hello_decode(call->message, &hello, &msg);
    struct qv_peer_hello back = {.from = self->id,
                                 .from_incarnation = self->incarnation,
                                 .to = hello.from,
                                 .protocol_min = self->protocol_min,
                                 .protocol_max = self->protocol_max,
                                 .feature_level = self->feature_level};
    memcpy(back.cluster, self->cluster, sizeof back.cluster);
    if (err == 0)
        err = qv_peer_hello_check(&hello, self, (struct qv_peer_meeting){hello.to, self->id},
                                  &version, &msg);
    if (t->secret[0] != '\0') {
        struct qv_peer_pair who = {hello.from, hello.from_incarnation, self->id, self->incarnation};
        qv_peer_auth_nonce(t->key, who, hello.nonce, back.nonce);
        qv_peer_auth_proof(t->secret, QV_PEER_AUTH_CALLED, who, hello.nonce, back.nonce,
                           back.proof);
    }
    back.err = err;
    snprintf(back.text, sizeof back.text, "%.*s", (int)sizeof back.text - 1, msg.text);
    uint8_t bytes[QV_PEER_HELLO_BYTES_MAX];
    size_t n = qv_peer_hello_encode(&back, bytes);
    qv_call_reply_grpc_parts(call, (struct qv_bytes){bytes, n}, NULL);
}

/* The call stays valid while this runs; the request in it may have been answered already. */
static void on_cancel(struct qv_call *call)
{
    struct peer_in *in = call->user;
    struct qv_peer_tcp *t = in->t;
    pthread_mutex_lock(&t->owner_mutex);
    bool goes = !in->answered && !t->closing;
    if (goes) {
        in->hanging_up = true;
        qv_peer_notes_add(&t->to_owner, &in->hang_up);
    }
    bool wake = goes && !t->posted;
    t->posted = t->posted || goes;
    pthread_mutex_unlock(&t->owner_mutex);
    if (wake)
        qv_env_post(t->pub.env, &t->task);
}

/* False: closing; the owner looks no more. */
static bool hand_over(struct peer_in *in)
{
    struct qv_peer_tcp *t = in->t;
    pthread_mutex_lock(&t->owner_mutex);
    bool open = !t->closing;
    if (open)
        qv_peer_notes_add(&t->to_owner, &in->asked);
    bool wake = open && !t->posted;
    t->posted = t->posted || open;
    pthread_mutex_unlock(&t->owner_mutex);
    if (wake)
        qv_env_post(t->pub.env, &t->task);
    return open;
}

static void ask(struct qv_peer_tcp *t, struct qv_call *call)
{
    const struct qv_peer_pair *who = call->user;
    struct qv_peer_envelope *e = QV_ARENA_NEW(&call->arena, struct qv_peer_envelope);
    struct peer_in *in = QV_ARENA_NEW(&call->arena, struct peer_in);
    struct qv_errmsg msg = {""};
    QV_ASSERT(e != NULL && in != NULL); /* the arena is as good as empty */
    int err = qv_peer_envelope_decode(call->message, e, &msg);
    if (err == 0)
        err = qv_peer_envelope_check(e, &t->self, &msg);
    if (err == 0 && who != NULL &&
        (who->caller != e->from || who->caller_incarnation != e->from_incarnation))
        err = qv_fail(&msg, QV_EAUTH, "the session is another node's");
    if (err != 0) {
        reply_err(call, &t->self, e->protocol, err, msg.text);
        return;
    }
    uint64_t due_ns = call->deadline_ns;
    if (e->left_ns != 0 && e->left_ns < due_ns - call->received_ns)
        due_ns = call->received_ns + e->left_ns;
    in->t = t;
    in->call = call;
    in->protocol = e->protocol;
    in->pub = (struct qv_peer_request){.peers = &t->pub,
                                       .from = e->from,
                                       .from_incarnation = e->from_incarnation,
                                       .from_feature_level = e->feature_level,
                                       .method = e->method,
                                       .priority = e->priority,
                                       .deadline_ns = due_ns,
                                       .tenant = e->tenant,
                                       .trace = {e->trace[0], e->trace[1]},
                                       .body = e->body,
                                       .arena = &call->arena};
    in->asked = (struct peer_note){.kind = NOTE_ASKED, .what = in};
    in->hang_up = (struct peer_note){.kind = NOTE_HANG_UP, .what = in};
    call->user = in;
    call->on_cancel = on_cancel;
    if (hand_over(in))
        return;
    call->on_cancel = NULL;
    qv_call_reply_grpc(call, QV_GRPC_UNAVAILABLE, "shutting down", NULL);
}

static void on_call(void *ctx, struct qv_call *call)
{
    struct qv_peer_tcp *t = ctx;
    if (is_path(call, PEER_GREET_PATH))
        greet(t, call);
    else
        ask(t, call);
}

int qv_peer_in_start(struct qv_peer_tcp *t, struct qv_errmsg *msg)
{
    struct qv_net_server_config config;
    qv_net_server_config_init(&config);
    config.host = t->config.host;
    config.ports[0] = t->config.port;
    config.n_ports = 1;
    config.tls = t->server_tls;
    config.handler = on_call;
    config.on_headers = on_headers;
    config.ctx = t;
    config.limits.body_bytes_max = QV_PEER_BODY_BYTES_MAX + 2 * QV_PEER_HEAD_BYTES_MAX;
    config.limits.request_timeout_ms = IN_TIMEOUT_MS;
    config.limits.idle_timeout_ms = IN_IDLE_MS;
    config.limits.calls_max = IN_CALLS_MAX;
    config.limits.streams_max = IN_STREAMS;
    config.limits.buffered_bytes_max = IN_BUFFERED_BYTES;
    config.limits.unsent_bytes_max = IN_UNSENT_BYTES;
    return qv_net_server_create(&config, &t->server, msg);
}

/* ---- the owner ------------------------------------------------------------------------------ */

/* Ends it; no memory of it is touched after. status: a gRPC one instead of an answer, or 0. */
static void in_reply(struct peer_in *in, int status, struct qv_bytes head, struct qv_buf *body)
{
    struct qv_peer_tcp *t = in->t;
    struct qv_call *call = in->call;
    if (in->handed) {
        if (in->prev != NULL)
            in->prev->next = in->next;
        else
            t->ins = in->next;
        if (in->next != NULL)
            in->next->prev = in->prev;
        in->handed = false;
    }
    pthread_mutex_lock(&t->owner_mutex);
    in->answered = true;
    bool waits = in->hanging_up;
    pthread_mutex_unlock(&t->owner_mutex);
    if (waits)
        return; /* nobody waits for it: qv_peer_in_hang_up lets go */
    if (status != 0)
        qv_call_reply_grpc(call, status, NULL, NULL);
    else
        qv_call_reply_grpc_parts(call, head, body);
}

void qv_peer_in_answer(struct qv_peer_request *request, int err, const struct qv_errmsg *msg,
                       struct qv_buf *body)
{
    struct peer_in *in = (struct peer_in *)request;
    const struct qv_peer_self *self = &in->t->self;
    struct qv_peer_envelope e = {.protocol = in->protocol,
                                 .feature_level = self->feature_level,
                                 .from = self->id,
                                 .from_incarnation = self->incarnation,
                                 .err = err};
    uint8_t head[QV_PEER_HEAD_BYTES_MAX];
    QV_ASSERT(in->handed);
    if (msg != NULL)
        snprintf(e.text, sizeof e.text, "%.*s", (int)sizeof e.text - 1, msg->text);
    if (body != NULL && (body->failed || body->len > QV_PEER_BODY_BYTES_MAX)) {
        e.err = QV_ETOOBIG;
        snprintf(e.text, sizeof e.text, "the answer is too large");
        qv_buf_close(body);
    } else if (body != NULL) {
        e.body = (struct qv_bytes){body->data, body->len};
    }
    size_t n = qv_peer_envelope_encode(&e, head);
    in_reply(in, 0, (struct qv_bytes){head, n}, body);
    if (body != NULL)
        qv_buf_close(body);
}

void qv_peer_in_take(struct peer_in *in)
{
    struct qv_peer_tcp *t = in->t;
    const uint16_t method = in->pub.method;
    if (in->pub.canceled) { /* before anybody began with it */
        in_reply(in, QV_GRPC_CANCELLED, (struct qv_bytes){NULL, 0}, NULL);
        return;
    }
    if (t->handlers[method].run == NULL) {
        char text[64];
        snprintf(text, sizeof text, "no such method: %u", (unsigned)method);
        struct qv_peer_envelope e = {.protocol = in->protocol,
                                     .from = t->self.id,
                                     .from_incarnation = t->self.incarnation,
                                     .err = QV_ENOTIMPL,
                                     .refused = true};
        uint8_t head[QV_PEER_HEAD_BYTES_MAX];
        memcpy(e.text, text, sizeof text);
        size_t n = qv_peer_envelope_encode(&e, head);
        in_reply(in, 0, (struct qv_bytes){head, n}, NULL);
        return;
    }
    in->handed = true;
    in->next = t->ins;
    if (in->next != NULL)
        in->next->prev = in;
    t->ins = in;
    t->handlers[method].run(t->handlers[method].arg, &in->pub);
}

void qv_peer_in_hang_up(struct peer_in *in)
{
    struct qv_peer_tcp *t = in->t;
    pthread_mutex_lock(&t->owner_mutex);
    in->hanging_up = false;
    bool answered = in->answered;
    pthread_mutex_unlock(&t->owner_mutex);
    if (answered) {
        qv_call_reply_grpc(in->call, QV_GRPC_CANCELLED, NULL, NULL);
        return;
    }
    in->pub.canceled = true;
    if (in->handed && in->pub.on_cancel != NULL)
        in->pub.on_cancel(&in->pub);
}

/* ABORTED says that a handler had it: what it did stays done. */
void qv_peer_in_refuse(struct peer_in *in)
{
    in_reply(in, in->handed ? QV_GRPC_ABORTED : QV_GRPC_UNAVAILABLE, (struct qv_bytes){NULL, 0},
             NULL);
}
