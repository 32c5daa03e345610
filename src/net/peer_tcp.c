/* The owner's side: peers, calls, and what comes back from the two threads. */
#include "net/peer_tcp.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "net/peer_tcp_private.h"

#include <stdio.h>
#include <string.h>

#define PEERS_MAX 4096u
#define CALL_DEADLINE_NS (60 * QV_NS_PER_S) /* where a call has none */
#define LATER_PER_TURN                                                                             \
    8u               /* of repair and movement, before what is interactive is looked at again */
#define RTT_SHARE 8u /* of a new round trip in the mean: one in so many */

static struct qv_peer_tcp *tcp_of(struct qv_peers *peers)
{
    return (struct qv_peer_tcp *)peers;
}

/* ---- notes ---------------------------------------------------------------------------------- */

void qv_peer_notes_add(struct peer_notes *notes, struct peer_note *note)
{
    note->next = NULL;
    if (notes->last != NULL)
        notes->last->next = note;
    else
        notes->first = note;
    notes->last = note;
}

static struct peer_note *notes_take(struct peer_notes *notes)
{
    struct peer_note *note = notes->first;
    if (note == NULL)
        return NULL;
    notes->first = note->next;
    if (notes->first == NULL)
        notes->last = NULL;
    return note;
}

void qv_peer_give_back(struct qv_peer_tcp *t, struct peer_note *note)
{
    pthread_mutex_lock(&t->owner_mutex);
    qv_peer_notes_add(&t->to_owner, note);
    bool wake = !t->posted && !t->closing;
    t->posted = t->posted || wake;
    pthread_mutex_unlock(&t->owner_mutex);
    if (wake)
        qv_env_post(t->pub.env, &t->task);
}

/* ---- peers ---------------------------------------------------------------------------------- */

static struct peer_known *find_known(const struct qv_peer_tcp *t, uint64_t id, uint32_t *at)
{
    uint32_t low = 0, high = t->n_known;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (t->known[mid]->id < id)
            low = mid + 1;
        else
            high = mid;
    }
    if (at != NULL)
        *at = low;
    return low < t->n_known && t->known[low]->id == id ? t->known[low] : NULL;
}

static struct peer_link *link_create(struct qv_peer_tcp *t, uint64_t id, const char *host,
                                     uint16_t port)
{
    struct peer_link *link = qv_mem_calloc(1, sizeof *link);
    link->t = t;
    link->id = id;
    snprintf(link->host, sizeof link->host, "%s", host);
    link->port = port;
    link->forget = (struct peer_note){.kind = NOTE_FORGET, .what = link};
    return link;
}

static int tcp_set(struct qv_peers *peers, uint64_t id, const char *host, uint16_t port,
                   struct qv_errmsg *msg)
{
    struct qv_peer_tcp *t = tcp_of(peers);
    uint32_t at;
    struct peer_known *known = find_known(t, id, &at);
    if (id == 0 || port == 0 || host[0] == '\0' || strlen(host) > 255)
        return qv_fail(msg, QV_EINVAL, "no address of a peer: node %llu at '%.300s', port %u",
                       (unsigned long long)id, host, (unsigned)port);
    if (known != NULL && strcmp(known->link->host, host) == 0 && known->link->port == port)
        return 0;
    if (known != NULL) {
        qv_peer_out_note(t, &known->link->forget);
        known->state.connected = false;
    } else {
        if (t->n_known == PEERS_MAX)
            return qv_fail(msg, QV_ELIMIT, "%u peers are known, and no more can be", PEERS_MAX);
        if (t->n_known == t->cap_known) {
            t->cap_known = t->cap_known == 0 ? 8 : 2 * t->cap_known;
            t->known = qv_mem_realloc(t->known, t->cap_known * sizeof(struct peer_known *));
        }
        memmove(t->known + at + 1, t->known + at, (t->n_known - at) * sizeof(struct peer_known *));
        t->known[at] = known = qv_mem_calloc(1, sizeof *known);
        t->n_known++;
        known->id = id;
    }
    known->link = link_create(t, id, host, port);
    return 0;
}

static void tcp_remove(struct qv_peers *peers, uint64_t id)
{
    struct qv_peer_tcp *t = tcp_of(peers);
    uint32_t at;
    struct peer_known *known = find_known(t, id, &at);
    if (known == NULL)
        return;
    for (struct peer_out *out = t->outs; out != NULL; out = out->next) {
        if (out->known == known)
            out->known = NULL;
    }
    qv_peer_out_note(t, &known->link->forget);
    t->n_known--;
    memmove(t->known + at, t->known + at + 1, (t->n_known - at) * sizeof(struct peer_known *));
    qv_mem_free(known);
}

static bool tcp_state(struct qv_peers *peers, uint64_t id, struct qv_peer_state *out)
{
    const struct peer_known *known = find_known(tcp_of(peers), id, NULL);
    if (known == NULL)
        return false;
    *out = known->state;
    for (unsigned i = 0; i < QV_PEER_PRIORITY_COUNT; i++) {
        out->calls += known->calls[i];
        out->bytes += known->bytes[i];
    }
    return true;
}

static void tcp_serve(struct qv_peers *peers, uint16_t method, qv_peer_handler_f *handler,
                      void *arg)
{
    struct qv_peer_tcp *t = tcp_of(peers);
    QV_ASSERT(method < QV_PEER_METHODS_MAX);
    t->handlers[method].run = handler;
    t->handlers[method].arg = arg;
}

static void take_state(struct qv_peer_tcp *t, struct peer_news *news)
{
    struct peer_known *known = find_known(t, news->link->id, NULL);
    if (known != NULL && known->link == news->link) {
        struct qv_peer_state *s = &known->state;
        s->connected = news->state.connected;
        s->why_err = news->state.why_err;
        memcpy(s->why, news->state.why, sizeof s->why);
        if (news->state.connected) {
            s->incarnation = news->state.incarnation;
            s->protocol = news->state.protocol;
            s->feature_level = news->state.feature_level;
        }
    }
    qv_mem_free(news);
}

/* ---- calls ---------------------------------------------------------------------------------- */

static void out_free_if_done(struct peer_out *out)
{
    if (!out->over || (out->canceling && !out->acked))
        return;
    qv_buf_close(&out->answer);
    qv_mem_free(out);
}

static void count_answer(struct peer_out *out)
{
    struct peer_known *known = out->known;
    if (known == NULL)
        return;
    known->calls[out->priority]--;
    known->bytes[out->priority] -= out->bytes;
    if (out->incarnation == 0)
        return;
    struct qv_peer_state *s = &known->state;
    uint64_t rtt = qv_env_mono_ns(out->t->pub.env) - out->begun_ns;
    s->rtt_ns = s->rtt_ns == 0 ? rtt : s->rtt_ns - s->rtt_ns / RTT_SHARE + rtt / RTT_SHARE;
    s->received_messages++;
    s->received_bytes += out->body.n;
}

static void take_end(struct peer_out *out)
{
    struct qv_peer_tcp *t = out->t;
    struct qv_peer_call *call = out->call;
    if (out->prev != NULL)
        out->prev->next = out->next;
    else
        t->outs = out->next;
    if (out->next != NULL)
        out->next->prev = out->prev;
    count_answer(out);
    if (t->closed && out->err != 0 && !out->remote)
        out->err = QV_ECANCELED;
    struct qv_peer_answer answer = {.err = out->err,
                                    .remote = out->remote,
                                    .may_have_run = out->may_have_run,
                                    .incarnation = out->incarnation,
                                    .text = out->text,
                                    .body = out->body};
    call->impl = NULL;
    call->done(call, &answer);
    out->over = true;
    out_free_if_done(out);
}

/* Ends it by way of the owner's own notes. */
static void out_refuse(struct peer_out *out, int err, const char *text)
{
    out->err = err;
    snprintf(out->text, sizeof out->text, "%s", text);
    out->back = (struct peer_note){.kind = NOTE_END, .what = out};
    qv_peer_give_back(out->t, &out->back);
}

static bool out_admit(struct peer_out *out, const struct peer_known *known)
{
    const struct qv_peer_limits *limits = &out->t->config.limits;
    uint8_t priority = out->priority;
    if (out->bytes > QV_PEER_BODY_BYTES_MAX)
        out_refuse(out, QV_ETOOBIG, "the request is too large");
    else if (known == NULL)
        out_refuse(out, QV_EUNAVAILABLE, "the peer is not known");
    else if (known->calls[priority] >= limits->calls_max[priority] ||
             out->bytes > limits->bytes_max[priority] - known->bytes[priority])
        out_refuse(out, QV_EBUSY, "too much is under way to the peer");
    else if (out->deadline_ns <= out->begun_ns)
        out_refuse(out, QV_ETIMEOUT, "the deadline passed");
    else
        return true;
    return false;
}

static void tcp_send(struct qv_peers *peers, struct qv_peer_call *call)
{
    struct qv_peer_tcp *t = tcp_of(peers);
    struct peer_known *known = find_known(t, call->to, NULL);
    struct peer_out *out = qv_mem_calloc(1, sizeof *out);
    QV_ASSERT(!t->closed && call->impl == NULL && call->done != NULL);
    QV_ASSERT(call->method < QV_PEER_METHODS_MAX && call->priority < QV_PEER_PRIORITY_COUNT);
    call->impl = out;
    out->t = t;
    out->call = call;
    out->priority = call->priority;
    out->bytes = call->body.n;
    out->begun_ns = qv_env_mono_ns(t->pub.env);
    out->deadline_ns =
        call->deadline_ns != 0 ? call->deadline_ns : out->begun_ns + CALL_DEADLINE_NS;
    out->next = t->outs;
    if (out->next != NULL)
        out->next->prev = out;
    t->outs = out;
    if (!out_admit(out, known))
        return;
    out->known = known;
    known->calls[out->priority]++;
    known->bytes[out->priority] += out->bytes;
    known->state.sent_messages++;
    known->state.sent_bytes += out->bytes;
    out->link = known->link;
    out->send = (struct peer_note){.kind = NOTE_SEND, .what = out};
    qv_peer_out_note(t, &out->send);
}

static void tcp_cancel(struct qv_peers *peers, struct qv_peer_call *call)
{
    struct peer_out *out = call->impl;
    if (out->link == NULL || out->canceling)
        return;
    out->canceling = true;
    out->cancel = (struct peer_note){.kind = NOTE_CANCEL, .what = out};
    qv_peer_out_note(tcp_of(peers), &out->cancel);
}

/* ---- what comes back ------------------------------------------------------------------------ */

static void take_note(struct qv_peer_tcp *t, struct peer_note *note)
{
    switch (note->kind) {
    case NOTE_END:
        take_end(note->what);
        break;
    case NOTE_ACK: {
        struct peer_out *out = note->what;
        out->acked = true;
        out_free_if_done(out);
        break;
    }
    case NOTE_GONE:
        qv_mem_free(note->what);
        break;
    case NOTE_STATE:
        take_state(t, note->what);
        break;
    case NOTE_ASKED: {
        const struct peer_in *in = note->what;
        qv_peer_notes_add(&t->waiting[in->pub.priority], note);
        break;
    }
    case NOTE_HANG_UP:
        qv_peer_in_hang_up(note->what);
        break;
    case NOTE_SEND:
    case NOTE_CANCEL:
    case NOTE_FORGET:
    default:
        QV_UNREACHABLE();
    }
}

static void take_notes(struct qv_peer_tcp *t)
{
    pthread_mutex_lock(&t->owner_mutex);
    struct peer_note *note = t->to_owner.first;
    t->to_owner = (struct peer_notes){NULL, NULL};
    pthread_mutex_unlock(&t->owner_mutex);
    while (note != NULL) {
        struct peer_note *next = note->next; /* before it is used again, or freed */
        take_note(t, note);
        note = next;
    }
}

/* Requests go to their handlers class by class; what is not urgent in small portions. */
static bool handle_waiting(struct qv_peer_tcp *t)
{
    bool left = false;
    for (unsigned i = 0; i < QV_PEER_PRIORITY_COUNT; i++) {
        struct peer_note *note;
        unsigned n = 0;
        while ((i < QV_PEER_REPAIR || n < LATER_PER_TURN) &&
               (note = notes_take(&t->waiting[i])) != NULL) {
            qv_peer_in_take(note->what);
            n++;
        }
        left = left || t->waiting[i].first != NULL;
    }
    return left;
}

static void on_task(struct qv_task *task)
{
    struct qv_peer_tcp *t = task->arg;
    pthread_mutex_lock(&t->owner_mutex);
    t->posted = false;
    pthread_mutex_unlock(&t->owner_mutex);
    if (t->closed)
        return;
    take_notes(t);
    if (!handle_waiting(t))
        return;
    pthread_mutex_lock(&t->owner_mutex);
    bool wake = !t->posted;
    t->posted = true;
    pthread_mutex_unlock(&t->owner_mutex);
    if (wake)
        qv_env_post(t->pub.env, &t->task);
}

/* ---- create, close -------------------------------------------------------------------------- */

static const struct qv_peers_ops tcp_ops = {
    .set = tcp_set,
    .remove = tcp_remove,
    .state = tcp_state,
    .serve = tcp_serve,
    .send = tcp_send,
    .cancel = tcp_cancel,
    .answer = qv_peer_in_answer,
};

static uint32_t or_default(uint32_t v, uint32_t d)
{
    return v != 0 ? v : d;
}

static int open_tls(struct qv_peer_tcp *t, struct qv_errmsg *msg)
{
    const struct qv_peer_tcp_config *c = &t->config;
    struct qv_tls_config tls = {
        .cert_path = c->cert_path, .key_path = c->key_path, .ca_path = c->ca_path};
    if (c->cert_path == NULL && c->key_path == NULL && c->ca_path == NULL)
        return 0;
    if (c->cert_path == NULL || c->key_path == NULL || c->ca_path == NULL)
        return qv_fail(msg, QV_EINVAL,
                       "TLS between nodes needs a certificate, its key and a CA certificate");
    int err = qv_tls_ctx_create(&tls, &t->client_tls, msg);
    tls.server = true;
    tls.verify_client = true;
    return err == 0 ? qv_tls_ctx_create(&tls, &t->server_tls, msg) : err;
}

int qv_peer_tcp_create(const struct qv_peer_tcp_config *config, struct qv_peer_tcp **out,
                       struct qv_errmsg *msg)
{
    *out = NULL;
    if (config->self.secret != NULL && strlen(config->self.secret) > 255)
        return qv_fail(msg, QV_EINVAL, "the secret between nodes has more than 255 bytes");
    struct qv_peer_tcp *t = qv_mem_calloc(1, sizeof *t);
    struct qv_peer_tcp_config *c = &t->config;
    *c = *config;
    c->connect_timeout_ms = or_default(c->connect_timeout_ms, 1000);
    c->retry_ms = or_default(c->retry_ms, 100);
    c->keepalive_ms = or_default(c->keepalive_ms, 1000);
    c->dead_ms = or_default(c->dead_ms, 2000);
    qv_peer_limits_fill(&c->limits);
    t->pub.ops = &tcp_ops;
    t->pub.env = config->env;
    t->self = config->self;
    qv_peer_self_fill(&t->self);
    snprintf(t->secret, sizeof t->secret, "%s", t->self.secret != NULL ? t->self.secret : "");
    t->self.secret = t->secret;
    t->task = (struct qv_task){.run = on_task, .arg = t};
    qv_peer_auth_random(t->key, sizeof t->key);
    pthread_mutex_init(&t->owner_mutex, NULL);
    pthread_mutex_init(&t->net_mutex, NULL);
    int err = open_tls(t, msg);
    if (err == 0)
        err = qv_peer_out_start(t, msg);
    if (err == 0 && (err = qv_peer_in_start(t, msg)) != 0)
        qv_peer_out_stop(t);
    c->host = c->cert_path = c->key_path = c->ca_path = NULL; /* were borrowed */
    if (err != 0) {
        t->closed = true;
        qv_peer_tcp_destroy(&t);
    }
    *out = t;
    return err;
}

struct qv_peers *qv_peer_tcp_peers(struct qv_peer_tcp *t)
{
    return &t->pub;
}

uint16_t qv_peer_tcp_port(const struct qv_peer_tcp *t)
{
    return qv_net_server_port(t->server, 0);
}

int qv_peer_tcp_reload(struct qv_peer_tcp *t, struct qv_errmsg *msg)
{
    if (t->server_tls == NULL)
        return 0;
    int err = qv_tls_ctx_reload(t->server_tls, msg);
    return err == 0 ? qv_tls_ctx_reload(t->client_tls, msg) : err;
}

/* From `closing` on the listening thread hands over nothing new; what came before is in the notes.
 */
void qv_peer_tcp_close(struct qv_peer_tcp *t)
{
    QV_ASSERT(!t->closed);
    pthread_mutex_lock(&t->owner_mutex);
    t->closing = true;
    pthread_mutex_unlock(&t->owner_mutex);
    qv_net_server_shutdown(t->server, 0);
    t->closed = true;
    while (t->n_known > 0)
        tcp_remove(&t->pub, t->known[t->n_known - 1]->id);
    qv_peer_out_stop(t);
    take_notes(t);
    QV_ASSERT(t->outs == NULL);
    for (unsigned i = 0; i < QV_PEER_PRIORITY_COUNT; i++) {
        struct peer_note *note;
        while ((note = notes_take(&t->waiting[i])) != NULL)
            qv_peer_in_refuse(note->what);
    }
    while (t->ins != NULL)
        qv_peer_in_refuse(t->ins);
    qv_net_server_destroy(&t->server);
}

void qv_peer_tcp_destroy(struct qv_peer_tcp **pt)
{
    struct qv_peer_tcp *t = *pt;
    *pt = NULL;
    if (t == NULL)
        return;
    QV_ASSERT(t->closed);
    qv_tls_ctx_destroy(&t->server_tls);
    qv_tls_ctx_destroy(&t->client_tls);
    qv_mem_free(t->known);
    pthread_mutex_destroy(&t->owner_mutex);
    pthread_mutex_destroy(&t->net_mutex);
    qv_mem_free(t);
}
