/* Calls, requests and connections of the simulated network. */
#include "base/mem.h"
#include "base/qv_assert.h"
#include "io/sim_net_internal.h"

#include <stdio.h>
#include <string.h>

#define SIM_NET_PEERS_MAX 4096u
#define SIM_NET_DEADLINE_NS (60 * QV_NS_PER_S) /* where a call has none */
#define SIM_NET_ARENA_BYTES ((size_t)64 << 20)
#define SIM_NET_BACKOFF_MAX 20u /* times retry_ns */
#define SIM_NET_RTT_SHARE 8u    /* of a new round trip in the mean: one in so many */

static struct sim_host *host_of(struct qv_peers *peers)
{
    return (struct sim_host *)peers;
}

static uint64_t now_of(const struct sim_host *h)
{
    return qv_sim_now_ns(h->net->sim);
}

static unsigned lane_of(uint8_t priority)
{
    return priority >= QV_PEER_REPAIR;
}

/* ---- calls ---------------------------------------------------------------------------------- */

void qv_sim_net_out_unref(struct sim_out *out)
{
    if (--out->refs == 0)
        qv_mem_free(out);
}

/* Out of the list and its peer's counters; whose done is still to be called. */
static struct qv_peer_call *out_detach(struct sim_out *out)
{
    struct sim_host *h = out->host;
    struct qv_peer_call *call = out->call;
    QV_ASSERT(!out->ended && call != NULL);
    out->ended = true;
    qv_env_timer_stop(h->net->env, &out->timer);
    if (out->prev != NULL)
        out->prev->next = out->next;
    else
        h->outs = out->next;
    if (out->next != NULL)
        out->next->prev = out->prev;
    else
        h->outs_last = out->prev;
    if (out->peer != NULL) {
        out->peer->calls[out->priority]--;
        out->peer->bytes[out->priority] -= out->bytes;
        out->peer = NULL;
    }
    call->impl = NULL;
    out->call = NULL;
    return call;
}

static void out_finish(struct sim_out *out, const struct qv_peer_answer *answer)
{
    struct qv_peer_call *call = out_detach(out);
    call->done(call, answer);
    qv_sim_net_out_unref(out);
}

static void out_fail(struct sim_out *out, int err, const char *text)
{
    struct qv_peer_answer answer = {.err = err, .may_have_run = out->sent, .text = text};
    out_finish(out, &answer);
}

/* Ends it by an event of its own. */
static void out_fail_later(struct sim_out *out, int err, const char *text)
{
    if (out->end_err != 0)
        return;
    out->end_err = err;
    snprintf(out->text, sizeof out->text, "%s", text);
    qv_env_timer_start(out->host->net->env, &out->timer, 0);
}

static void send_cancel(struct sim_out *out)
{
    struct sim_msg m = {.kind = MSG_CANCEL,
                        .from = out->host->index,
                        .to = out->peer->at,
                        .epoch = out->epoch,
                        .out = out};
    qv_sim_net_transmit(out->host->net, &m, lane_of(out->priority));
}

static void on_out_timer(struct qv_timer *timer)
{
    struct sim_out *out = timer->arg;
    if (out->end_err != 0) {
        out_fail(out, out->end_err, out->text);
        return;
    }
    if (out->sent)
        send_cancel(out);
    out_fail(out, QV_ETIMEOUT, "the deadline passed");
}

static void out_transmit(struct sim_out *out)
{
    struct sim_host *h = out->host;
    struct sim_peer *peer = out->peer;
    const struct qv_peer_call *call = out->call;
    struct qv_peer_envelope e = {.protocol = peer->known.protocol,
                                 .feature_level = h->self.feature_level,
                                 .from = h->self.id,
                                 .from_incarnation = h->self.incarnation,
                                 .to = call->to,
                                 .to_incarnation = call->to_incarnation,
                                 .method = call->method,
                                 .priority = call->priority,
                                 .left_ns = out->timer.due_ns - now_of(h),
                                 .tenant = call->tenant,
                                 .trace = {call->trace[0], call->trace[1]},
                                 .body = call->body};
    uint8_t head[QV_PEER_HEAD_BYTES_MAX];
    memcpy(e.cluster, h->self.cluster, sizeof e.cluster);
    size_t n = qv_peer_envelope_encode(&e, head);
    struct sim_blob *blob = qv_sim_net_blob(head, n, call->body);
    out->sent = true;
    out->epoch = peer->epoch;
    peer->known.sent_messages++;
    peer->known.sent_bytes += call->body.n;
    struct sim_msg m = {.kind = MSG_REQUEST,
                        .from = h->index,
                        .to = peer->at,
                        .epoch = peer->epoch,
                        .blob = blob,
                        .out = out};
    qv_sim_net_transmit(h->net, &m, lane_of(out->priority));
    qv_sim_net_blob_unref(blob);
}

/* ---- connections ---------------------------------------------------------------------------- */

static struct sim_peer *find_peer(const struct sim_host *h, uint64_t id, uint32_t *at)
{
    uint32_t low = 0, high = h->n_peers;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (h->peers[mid]->id < id)
            low = mid + 1;
        else
            high = mid;
    }
    if (at != NULL)
        *at = low;
    return low < h->n_peers && h->peers[low]->id == id ? h->peers[low] : NULL;
}

/* The connection is gone, or was not made: what waited or was sent ends. */
static void peer_down(struct sim_peer *peer, int err, const char *why)
{
    struct sim_host *h = peer->owner;
    struct qv_sim_net *net = h->net;
    bool was_up = peer->state == SIM_UP;
    peer->state = SIM_DOWN;
    peer->epoch = 0;
    peer->known.connected = false;
    peer->known.why_err = err;
    snprintf(peer->known.why, sizeof peer->known.why, "%s", why);
    qv_env_timer_stop(net->env, &peer->timer);
    if (was_up)
        peer->backoff_ns = 0; /* worth another try at once */
    uint64_t wait = peer->backoff_ns / 2 + qv_rng_below(&net->rng, peer->backoff_ns / 2 + 1);
    peer->retry_ns = now_of(h) + wait;
    uint64_t next = peer->backoff_ns == 0 ? net->config.retry_ns : 2 * peer->backoff_ns;
    uint64_t max = SIM_NET_BACKOFF_MAX * net->config.retry_ns;
    peer->backoff_ns = next < max ? next : max;
    for (struct sim_out *out = h->outs; out != NULL; out = out->next) {
        if (out->peer != peer || out->end_err != 0)
            continue;
        out->lost = out->sent;
        out_fail_later(out, out->sent ? QV_EUNKNOWN : err, why);
    }
}

static void on_peer_timer(struct qv_timer *timer)
{
    struct sim_peer *peer = timer->arg;
    if (peer->state == SIM_GREETING)
        peer_down(peer, QV_EUNAVAILABLE, "no answer to the greeting");
    else if (peer->state == SIM_UP && peer->heard_ns < peer->held_ns)
        peer_down(peer, QV_EUNAVAILABLE, "the connection was silent for too long");
}

static struct sim_host *host_at(const struct qv_sim_net *net, const char *host, uint16_t port)
{
    struct sim_host *found = NULL;
    for (uint32_t i = 0; i < net->n_hosts; i++) {
        struct sim_host *h = net->hosts[i];
        bool there = h->port == port && strcmp(h->host, host) == 0;
        if (there && (found == NULL || h->up))
            found = h;
    }
    return found;
}

static void say_hello(struct sim_host *h, uint64_t to, int err, const char *text, struct sim_msg *m)
{
    struct qv_peer_hello hello = {.from = h->self.id,
                                  .from_incarnation = h->self.incarnation,
                                  .to = to,
                                  .protocol_min = h->self.protocol_min,
                                  .protocol_max = h->self.protocol_max,
                                  .feature_level = h->self.feature_level,
                                  .err = err};
    uint8_t bytes[QV_PEER_HELLO_BYTES_MAX];
    memcpy(hello.cluster, h->self.cluster, sizeof hello.cluster);
    snprintf(hello.text, sizeof hello.text, "%s", text);
    size_t n = qv_peer_hello_encode(&hello, bytes);
    m->from = h->index;
    m->blob = qv_sim_net_blob(bytes, n, (struct qv_bytes){NULL, 0});
    qv_sim_net_transmit(h->net, m, 0);
    qv_sim_net_blob_unref(m->blob);
}

static void peer_connect(struct sim_peer *peer)
{
    struct sim_host *h = peer->owner;
    struct qv_sim_net *net = h->net;
    struct sim_host *to = host_at(net, peer->host, peer->port);
    net->stats.connects++;
    if (to == NULL) {
        peer_down(peer, QV_EUNAVAILABLE, "nobody has that address");
        return;
    }
    peer->state = SIM_GREETING;
    peer->epoch = ++net->epochs;
    peer->at = to->index;
    qv_env_timer_start(net->env, &peer->timer, net->config.connect_timeout_ns);
    struct sim_msg m = {.kind = MSG_HELLO, .to = to->index, .epoch = peer->epoch, .peer = peer->id};
    say_hello(h, peer->id, 0, "", &m);
}

static void on_hello(struct sim_msg *m)
{
    struct sim_host *h = m->net->hosts[m->to];
    const struct sim_host *from = m->net->hosts[m->from];
    struct qv_peer_hello hello;
    struct qv_errmsg msg = {""};
    uint32_t version;
    int err =
        qv_peer_hello_decode((struct qv_bytes){m->blob->wire + 5, m->blob->bytes}, &hello, &msg);
    if (err == 0 && strcmp(h->secret, from->secret) != 0)
        err = qv_fail(&msg, QV_EAUTH, "the nodes do not share a secret");
    if (err == 0)
        err = qv_peer_hello_check(&hello, &h->self, (struct qv_peer_meeting){hello.to, h->self.id},
                                  &version, &msg);
    struct sim_msg back = {
        .kind = MSG_HELLO_ANSWER, .to = m->from, .epoch = m->epoch, .peer = m->peer};
    say_hello(h, hello.from, err, msg.text, &back);
}

static void flush(struct sim_host *h, struct sim_peer *peer)
{
    for (unsigned priority = 0; priority < QV_PEER_PRIORITY_COUNT; priority++) {
        for (struct sim_out *out = h->outs; out != NULL; out = out->next) {
            if (out->peer == peer && !out->sent && out->end_err == 0 && out->priority == priority)
                out_transmit(out);
        }
    }
}

static void on_hello_answer(struct sim_msg *m)
{
    struct sim_host *h = m->net->hosts[m->to];
    struct sim_peer *peer = find_peer(h, m->peer, NULL);
    struct qv_peer_hello hello;
    struct qv_errmsg msg = {""};
    uint32_t version = 0;
    if (peer == NULL || peer->epoch != m->epoch || peer->state != SIM_GREETING)
        return;
    int err =
        qv_peer_hello_decode((struct qv_bytes){m->blob->wire + 5, m->blob->bytes}, &hello, &msg);
    if (err == 0 && hello.err != 0)
        err = qv_fail(&msg, hello.err, "%s", hello.text);
    if (err == 0)
        err = qv_peer_hello_check(&hello, &h->self, (struct qv_peer_meeting){peer->id, hello.from},
                                  &version, &msg);
    if (err != 0) {
        peer_down(peer, err, msg.text);
        return;
    }
    qv_env_timer_stop(m->net->env, &peer->timer);
    peer->state = SIM_UP;
    peer->backoff_ns = 0;
    peer->known.connected = true;
    peer->known.incarnation = hello.from_incarnation;
    peer->known.protocol = version;
    peer->known.feature_level = hello.feature_level;
    peer->known.why_err = 0;
    peer->known.why[0] = '\0';
    flush(h, peer);
}

static struct sim_peer *peer_of_msg(const struct sim_msg *m)
{
    /* the connection's maker sent the hello, the request, the cancel; and is sent the rest */
    bool back = m->kind == MSG_ANSWER || m->kind == MSG_HELLO_ANSWER;
    struct sim_host *maker = m->net->hosts[back ? m->to : m->from];
    for (uint32_t i = 0; i < maker->n_peers; i++) {
        if (maker->peers[i]->epoch == m->epoch && m->epoch != 0)
            return maker->peers[i];
    }
    return NULL;
}

bool qv_sim_net_is_open(const struct sim_msg *m)
{
    return peer_of_msg(m) != NULL;
}

void qv_sim_net_stuck(const struct sim_msg *m)
{
    struct sim_peer *peer = m->kind == MSG_RESET ? NULL : peer_of_msg(m);
    if (peer == NULL || peer->state != SIM_UP)
        return;
    if (qv_env_timer_active(&peer->timer) && peer->heard_ns < peer->held_ns)
        return; /* held since before */
    peer->held_ns = now_of(peer->owner);
    qv_env_timer_start(m->net->env, &peer->timer, m->net->config.dead_ns);
}

void qv_sim_net_refused(const struct sim_msg *m)
{
    if (m->kind != MSG_HELLO && m->kind != MSG_REQUEST)
        return;
    struct sim_msg back = {.kind = MSG_RESET, .from = m->to, .to = m->from, .epoch = m->epoch};
    qv_sim_net_transmit(m->net, &back, 0);
}

/* ---- requests ------------------------------------------------------------------------------- */

static void in_free(struct sim_in *in)
{
    struct sim_host *h = in->host;
    qv_env_timer_stop(h->net->env, &in->timer);
    if (in->prev != NULL)
        in->prev->next = in->next;
    else
        h->ins = in->next;
    if (in->next != NULL)
        in->next->prev = in->prev;
    qv_sim_net_blob_unref(in->blob);
    qv_sim_net_out_unref(in->out);
    qv_arena_close(&in->arena);
    qv_mem_free(in);
}

static void in_cancel(struct sim_in *in)
{
    if (in->pub.canceled)
        return;
    in->pub.canceled = true;
    if (in->pub.on_cancel != NULL)
        in->pub.on_cancel(&in->pub);
}

static void on_in_deadline(struct qv_timer *timer)
{
    in_cancel(timer->arg);
}

/* Cancels what `epoch` brought; out NULL: all of it. A handler may answer meanwhile, any of them.
 */
static void cancel_ins(struct sim_host *h, uint64_t epoch, const struct sim_out *out)
{
    struct sim_in *in = h->ins;
    while (in != NULL) {
        bool mine = out != NULL ? in->out == out : in->out->epoch == epoch;
        if (mine && !in->pub.canceled) {
            in_cancel(in);
            in = h->ins; /* again from the front: each is cancelled once */
        } else {
            in = in->next;
        }
    }
}

static void send_answer(struct sim_host *h, struct sim_out *out, struct qv_peer_envelope *e)
{
    uint8_t head[QV_PEER_HEAD_BYTES_MAX];
    e->from = h->self.id;
    e->from_incarnation = h->self.incarnation;
    e->feature_level = h->self.feature_level;
    size_t n = qv_peer_envelope_encode(e, head);
    struct sim_msg m = {.kind = MSG_ANSWER,
                        .from = h->index,
                        .to = out->host->index,
                        .epoch = out->epoch,
                        .blob = qv_sim_net_blob(head, n, e->body),
                        .out = out};
    qv_sim_net_transmit(h->net, &m, lane_of(out->priority));
    qv_sim_net_blob_unref(m.blob);
}

static void on_request(struct sim_msg *m)
{
    struct sim_host *h = m->net->hosts[m->to];
    struct qv_peer_envelope e, back = {0};
    struct qv_errmsg msg = {""};
    if (m->out->lost && qv_rng_below(&m->net->rng, 2) == 0)
        return; /* it was in the air when the connection broke */
    struct qv_bytes bytes = {m->blob->wire + 5, m->blob->bytes};
    int err = qv_peer_envelope_decode(bytes, &e, &msg);
    if (err == 0)
        err = qv_peer_envelope_check(&e, &h->self, &msg);
    if (err == 0 && h->handlers[e.method].run == NULL)
        err = qv_fail(&msg, QV_ENOTIMPL, "no such method: %u", (unsigned)e.method);
    if (err != 0) {
        back.err = err;
        back.refused = true;
        back.protocol = e.protocol != 0 ? e.protocol : h->self.protocol_max;
        snprintf(back.text, sizeof back.text, "%s", msg.text);
        send_answer(h, m->out, &back);
        return;
    }
    struct sim_in *in = qv_mem_calloc(1, sizeof *in);
    qv_arena_init(&in->arena, SIM_NET_ARENA_BYTES);
    in->host = h;
    in->protocol = e.protocol;
    in->out = m->out;
    in->out->refs++;
    in->blob = m->blob;
    in->blob->refs++;
    in->next = h->ins;
    if (in->next != NULL)
        in->next->prev = in;
    h->ins = in;
    in->timer = (struct qv_timer){.run = on_in_deadline, .arg = in};
    in->pub = (struct qv_peer_request){.peers = &h->pub,
                                       .from = e.from,
                                       .from_incarnation = e.from_incarnation,
                                       .from_feature_level = e.feature_level,
                                       .method = e.method,
                                       .priority = e.priority,
                                       .deadline_ns = now_of(h) + e.left_ns,
                                       .tenant = e.tenant,
                                       .trace = {e.trace[0], e.trace[1]},
                                       .body = e.body,
                                       .arena = &in->arena};
    qv_env_timer_start(m->net->env, &in->timer, e.left_ns);
    h->handlers[e.method].run(h->handlers[e.method].arg, &in->pub);
}

static void sim_answer(struct qv_peer_request *request, int err, const struct qv_errmsg *msg,
                       struct qv_buf *body)
{
    struct sim_in *in = (struct sim_in *)request;
    struct qv_peer_envelope e = {.err = err, .protocol = in->protocol};
    if (msg != NULL)
        snprintf(e.text, sizeof e.text, "%.*s", (int)sizeof e.text - 1, msg->text);
    if (body != NULL && (body->failed || body->len > QV_PEER_BODY_BYTES_MAX)) {
        e.err = QV_ETOOBIG;
        snprintf(e.text, sizeof e.text, "the answer is too large");
    } else if (body != NULL) {
        e.body = (struct qv_bytes){body->data, body->len};
    }
    send_answer(in->host, in->out, &e);
    if (body != NULL)
        qv_buf_close(body);
    in_free(in);
}

static void on_answer(struct sim_msg *m)
{
    struct sim_out *out = m->out;
    struct qv_peer_envelope e;
    struct qv_errmsg msg = {""};
    if (out->ended || out->end_err != 0 || out->peer->epoch != m->epoch)
        return;
    struct sim_host *h = out->host;
    struct qv_peer_state *known = &out->peer->known;
    struct qv_bytes bytes = {m->blob->wire + 5, m->blob->bytes};
    int err = qv_peer_envelope_decode(bytes, &e, &msg);
    if (err == 0)
        err = qv_peer_envelope_check_answer(&e, &h->self, out->call->to, &msg);
    out->peer->heard_ns = now_of(h);
    if (err != 0) {
        out_fail(out, err, msg.text);
        return;
    }
    uint64_t rtt = now_of(h) - out->begun_ns;
    known->rtt_ns = known->rtt_ns == 0 ? rtt
                                       : known->rtt_ns - known->rtt_ns / SIM_NET_RTT_SHARE +
                                             rtt / SIM_NET_RTT_SHARE;
    known->received_messages++;
    known->received_bytes += e.body.n;
    struct qv_peer_answer answer = {.err = e.err,
                                    .remote = e.err != 0 && !e.refused,
                                    .may_have_run = !e.refused,
                                    .incarnation = e.from_incarnation,
                                    .text = e.text,
                                    .body = e.body};
    out_finish(out, &answer); /* the blob is the message's, which lives until this returns */
}

static void on_reset(struct sim_msg *m)
{
    struct sim_host *h = m->net->hosts[m->to];
    for (uint32_t i = 0; i < h->n_peers; i++) {
        struct sim_peer *peer = h->peers[i];
        if (peer->epoch == m->epoch && m->epoch != 0)
            peer_down(peer, QV_EUNAVAILABLE,
                      peer->state == SIM_GREETING ? "connection refused" : "connection reset");
    }
    cancel_ins(h, m->epoch, NULL);
}

void qv_sim_net_arrive(struct sim_msg *m)
{
    switch (m->kind) {
    case MSG_HELLO:
        on_hello(m);
        break;
    case MSG_HELLO_ANSWER:
        on_hello_answer(m);
        break;
    case MSG_REQUEST:
        on_request(m);
        break;
    case MSG_ANSWER:
        on_answer(m);
        break;
    case MSG_CANCEL:
        cancel_ins(m->net->hosts[m->to], m->epoch, m->out);
        break;
    case MSG_RESET:
        on_reset(m);
        break;
    default:
        QV_UNREACHABLE();
    }
}

static void reset_one_way(struct sim_host *maker, struct sim_host *other)
{
    struct qv_sim_net *net = maker->net;
    for (uint32_t i = 0; i < maker->n_peers; i++) {
        struct sim_peer *peer = maker->peers[i];
        if (peer->epoch == 0 || peer->at != other->index || maker == other)
            continue;
        struct sim_msg m = {.kind = MSG_RESET, .epoch = peer->epoch};
        net->stats.resets++;
        m.from = other->index;
        m.to = maker->index;
        qv_sim_net_transmit(net, &m, 0);
        m.from = maker->index;
        m.to = other->index;
        qv_sim_net_transmit(net, &m, 0);
    }
}

void qv_sim_net_reset(struct sim_host *a, struct sim_host *b)
{
    reset_one_way(a, b);
    reset_one_way(b, a);
}

void qv_sim_net_clear(struct sim_host *h, int err)
{
    while (h->outs != NULL) {
        struct sim_out *out = h->outs;
        if (err != 0) {
            out_fail(out, err, "this node is shutting down");
        } else {
            (void)out_detach(out);
            qv_sim_net_out_unref(out);
        }
    }
    while (h->ins != NULL)
        in_free(h->ins);
    for (uint32_t i = 0; i < h->n_peers; i++) {
        qv_env_timer_stop(h->net->env, &h->peers[i]->timer);
        qv_mem_free(h->peers[i]);
    }
    h->n_peers = 0;
    memset(h->handlers, 0, sizeof h->handlers);
}

/* ---- core/peer.h ---------------------------------------------------------------------------- */

static int sim_set(struct qv_peers *peers, uint64_t id, const char *host, uint16_t port,
                   struct qv_errmsg *msg)
{
    struct sim_host *h = host_of(peers);
    uint32_t at;
    struct sim_peer *peer = find_peer(h, id, &at);
    if (id == 0 || port == 0 || host[0] == '\0' || strlen(host) > sizeof peer->host - 1)
        return qv_fail(msg, QV_EINVAL, "no address of a peer: node %llu at '%.300s', port %u",
                       (unsigned long long)id, host, (unsigned)port);
    if (peer != NULL && strcmp(peer->host, host) == 0 && peer->port == port)
        return 0;
    if (peer == NULL) {
        if (h->n_peers == SIM_NET_PEERS_MAX)
            return qv_fail(msg, QV_ELIMIT, "%u peers are known, and no more can be",
                           SIM_NET_PEERS_MAX);
        if (h->n_peers == h->cap_peers) {
            h->cap_peers = h->cap_peers == 0 ? 8 : 2 * h->cap_peers;
            h->peers = qv_mem_realloc(h->peers, h->cap_peers * sizeof(struct sim_peer *));
        }
        memmove(h->peers + at + 1, h->peers + at, (h->n_peers - at) * sizeof(struct sim_peer *));
        h->peers[at] = peer = qv_mem_calloc(1, sizeof *peer);
        h->n_peers++;
        peer->owner = h;
        peer->id = id;
        peer->timer = (struct qv_timer){.run = on_peer_timer, .arg = peer};
    } else {
        peer_down(peer, QV_EUNAVAILABLE, "the peer has another address now");
        peer->backoff_ns = peer->retry_ns = 0;
    }
    snprintf(peer->host, sizeof peer->host, "%s", host);
    peer->port = port;
    return 0;
}

static void sim_remove(struct qv_peers *peers, uint64_t id)
{
    struct sim_host *h = host_of(peers);
    uint32_t at;
    struct sim_peer *peer = find_peer(h, id, &at);
    if (peer == NULL)
        return;
    peer_down(peer, QV_EUNAVAILABLE, "the peer was removed");
    for (struct sim_out *out = h->outs; out != NULL; out = out->next) {
        if (out->peer == peer)
            out->peer = NULL;
    }
    h->n_peers--;
    memmove(h->peers + at, h->peers + at + 1, (h->n_peers - at) * sizeof(struct sim_peer *));
    qv_mem_free(peer);
}

static bool sim_state(struct qv_peers *peers, uint64_t id, struct qv_peer_state *out)
{
    const struct sim_peer *peer = find_peer(host_of(peers), id, NULL);
    if (peer == NULL)
        return false;
    *out = peer->known;
    out->calls = 0;
    out->bytes = 0;
    for (unsigned i = 0; i < QV_PEER_PRIORITY_COUNT; i++) {
        out->calls += peer->calls[i];
        out->bytes += peer->bytes[i];
    }
    return true;
}

static void sim_serve(struct qv_peers *peers, uint16_t method, qv_peer_handler_f *handler,
                      void *arg)
{
    struct sim_host *h = host_of(peers);
    QV_ASSERT(method < QV_PEER_METHODS_MAX);
    h->handlers[method].run = handler;
    h->handlers[method].arg = arg;
}

/* Whether it may go to the peer at all; fails it otherwise. */
static bool out_admit(struct sim_out *out, struct sim_peer *peer)
{
    const struct qv_peer_limits *limits = &out->host->net->config.limits;
    uint8_t priority = out->priority;
    if (out->bytes > QV_PEER_BODY_BYTES_MAX) {
        out_fail_later(out, QV_ETOOBIG, "the request is too large");
    } else if (peer == NULL) {
        out_fail_later(out, QV_EUNAVAILABLE, "the peer is not known");
    } else if (peer->calls[priority] >= limits->calls_max[priority] ||
               out->bytes > limits->bytes_max[priority] - peer->bytes[priority]) {
        out_fail_later(out, QV_EBUSY, "too much is under way to the peer");
    } else if (out->timer.due_ns <= now_of(out->host)) {
        out_fail_later(out, QV_ETIMEOUT, "the deadline passed");
    } else if (peer->state == SIM_DOWN && now_of(out->host) < peer->retry_ns) {
        out_fail_later(out, peer->known.why_err, peer->known.why);
    } else {
        return true;
    }
    return false;
}

static void sim_send(struct qv_peers *peers, struct qv_peer_call *call)
{
    struct sim_host *h = host_of(peers);
    struct sim_peer *peer = find_peer(h, call->to, NULL);
    struct sim_out *out = qv_mem_calloc(1, sizeof *out);
    uint64_t now = now_of(h);
    QV_ASSERT(h->up && call->impl == NULL && call->done != NULL);
    QV_ASSERT(call->method < QV_PEER_METHODS_MAX && call->priority < QV_PEER_PRIORITY_COUNT);
    call->impl = out;
    out->refs = 1;
    out->host = h;
    out->call = call;
    out->priority = call->priority;
    out->bytes = call->body.n;
    out->begun_ns = now;
    out->prev = h->outs_last;
    if (out->prev != NULL)
        out->prev->next = out;
    else
        h->outs = out;
    h->outs_last = out;
    uint64_t due = call->deadline_ns != 0 ? call->deadline_ns : now + SIM_NET_DEADLINE_NS;
    out->timer = (struct qv_timer){.run = on_out_timer, .arg = out};
    qv_env_timer_start(h->net->env, &out->timer, due > now ? due - now : 0);
    if (!out_admit(out, peer))
        return;
    out->peer = peer;
    peer->calls[out->priority]++;
    peer->bytes[out->priority] += out->bytes;
    if (peer->state == SIM_UP)
        out_transmit(out);
    else if (peer->state == SIM_DOWN)
        peer_connect(peer);
}

static void sim_cancel(struct qv_peers *peers, struct qv_peer_call *call)
{
    struct sim_out *out = call->impl;
    (void)peers;
    if (out->end_err != 0)
        return;
    if (out->sent)
        send_cancel(out);
    out_fail_later(out, QV_ECANCELED, "canceled");
}

const struct qv_peers_ops qv_sim_net_ops = {
    .set = sim_set,
    .remove = sim_remove,
    .state = sim_state,
    .serve = sim_serve,
    .send = sim_send,
    .cancel = sim_cancel,
    .answer = sim_answer,
};
