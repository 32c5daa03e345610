/* Calls to peers: the thread that writes them and reads their answers. Everything here runs on it,
 * but what its header says otherwise. */
#include "base/mem.h"
#include "base/qv_assert.h"
#include "net/grpc.h"
#include "net/peer_tcp_private.h"

#include <stdio.h>
#include <string.h>

#define OUT_TICK_MS 10u

/* ---- queues --------------------------------------------------------------------------------- */

static void queue_add(struct peer_queue *q, struct peer_out *out)
{
    out->queue_next = NULL;
    out->queue_prev = q->last;
    if (q->last != NULL)
        q->last->queue_next = out;
    else
        q->first = out;
    q->last = out;
    q->n++;
}

static void queue_remove(struct peer_queue *q, struct peer_out *out)
{
    if (out->queue_prev != NULL)
        out->queue_prev->queue_next = out->queue_next;
    else
        q->first = out->queue_next;
    if (out->queue_next != NULL)
        out->queue_next->queue_prev = out->queue_prev;
    else
        q->last = out->queue_prev;
    q->n--;
}

static unsigned lane_of(const struct peer_out *out)
{
    return out->priority >= QV_PEER_REPAIR;
}

static struct peer_queue *queue_of(struct peer_out *out)
{
    return out->queued ? &out->link->queues[out->priority] : &out->link->lanes[lane_of(out)];
}

uint64_t qv_peer_now_ns(struct qv_peer_tcp *t)
{
    return qv_env_mono_ns(t->pub.env); /* any thread */
}

/* ---- ends ----------------------------------------------------------------------------------- */

static void out_end(struct peer_out *out, int err, const char *text)
{
    QV_ASSERT(!out->ended);
    queue_remove(queue_of(out), out);
    out->ended = true;
    out->under_way = NULL;
    out->err = err;
    snprintf(out->text, sizeof out->text, "%.*s", (int)sizeof out->text - 1, text);
    out->back.kind = NOTE_END;
    out->back.what = out;
    qv_peer_give_back(out->t, &out->back);
}

void qv_peer_link_fail_queued(struct peer_link *link, int err, const char *why)
{
    for (unsigned i = 0; i < QV_PEER_PRIORITY_COUNT; i++) {
        while (link->queues[i].first != NULL)
            out_end(link->queues[i].first, err, why);
    }
}

/* An answer of net's own over there, or of something that is no node: never a handler's. */
static void out_end_status(struct peer_out *out, const struct qv_client_response *r)
{
    struct peer_link *link = out->link;
    switch (r->grpc_status) {
    case QV_GRPC_UNAUTHENTICATED: /* it was started again, and does not know our session */
        out_end(out, QV_EUNAVAILABLE, "the peer knows no such session: it was started again");
        if (link->state == LINK_UP)
            qv_peer_link_down(link, QV_EUNAVAILABLE, "the peer was started again");
        return;
    case QV_GRPC_RESOURCE_EXHAUSTED:
        out_end(out, QV_EBUSY, "the peer takes no more now");
        return;
    case QV_GRPC_DEADLINE_EXCEEDED:
        out->may_have_run = true;
        out_end(out, QV_ETIMEOUT, "the deadline passed");
        return;
    case QV_GRPC_UNAVAILABLE:
        out_end(out, QV_EUNAVAILABLE, "the peer is shutting down");
        return;
    case QV_GRPC_UNIMPLEMENTED:
        out_end(out, QV_EPROTO, "no Quiver node answers there");
        return;
    case QV_GRPC_ABORTED: /* a handler had it when that node began to shut down */
        out->may_have_run = true;
        out_end(out, QV_EUNKNOWN, "the peer is shutting down");
        return;
    default:
        out->may_have_run = true;
        out_end(out, QV_EPROTO, r->grpc_message[0] != '\0' ? r->grpc_message : "an odd answer");
    }
}

static void out_end_answered(struct peer_out *out, const struct qv_client_response *r)
{
    const struct qv_peer_self *self = &out->t->self;
    struct qv_peer_envelope e;
    struct qv_errmsg msg;
    int err = qv_peer_envelope_decode(r->body, &e, &msg);
    if (err == 0)
        err = qv_peer_envelope_check_answer(&e, self, out->link->id, &msg);
    if (err != 0) {
        out->may_have_run = true;
        out_end(out, err, msg.text);
        return;
    }
    out->answer = *r->buf; /* the whole of it: body lies inside */
    qv_buf_init(r->buf, out->answer.limit);
    out->body = e.body;
    out->incarnation = e.from_incarnation;
    out->remote = e.err != 0 && !e.refused;
    out->may_have_run = !e.refused;
    out_end(out, e.err, e.text);
}

static void on_response(void *arg, const struct qv_client_response *r)
{
    struct peer_out *out = arg;
    struct peer_link *link = out->link;
    bool lost = link->clients[lane_of(out)] == NULL; /* the client is being closed with its link */
    int err = r->err;
    if (err == 0 && r->grpc_status == QV_GRPC_OK) {
        out_end_answered(out, r);
    } else if (err == 0) {
        out_end_status(out, r);
    } else {
        if (err == QV_ECANCELED && lost)
            err = r->sent ? QV_EUNKNOWN : QV_EUNAVAILABLE;
        out->may_have_run = r->sent && err != QV_EUNAVAILABLE;
        out_end(out, err,
                err == QV_ETIMEOUT             ? "the deadline passed"
                : err == QV_ECANCELED          ? "canceled"
                : err == QV_ETOOBIG            ? "the answer is too large"
                : err == QV_EPROTO             ? "bytes that are no answer"
                : link->why[0] != '\0' && lost ? link->why
                                               : "the connection was lost");
    }
    if (link->state == LINK_UP)
        qv_peer_link_pump(link);
}

/* ---- sending -------------------------------------------------------------------------------- */

static int out_submit(struct peer_out *out, struct qv_client *client)
{
    struct peer_link *link = out->link;
    const struct qv_peer_self *self = &out->t->self;
    const struct qv_peer_call *call = out->call;
    uint64_t left_ns = out->deadline_ns - qv_peer_now_ns(out->t);
    struct qv_peer_envelope e = {.protocol = link->protocol,
                                 .feature_level = self->feature_level,
                                 .from = self->id,
                                 .from_incarnation = self->incarnation,
                                 .to = call->to,
                                 .to_incarnation = call->to_incarnation,
                                 .method = call->method,
                                 .priority = call->priority,
                                 .left_ns = left_ns,
                                 .tenant = call->tenant,
                                 .trace = {call->trace[0], call->trace[1]},
                                 .body = call->body};
    uint8_t head[QV_PEER_HEAD_BYTES_MAX];
    memcpy(e.cluster, self->cluster, sizeof e.cluster);
    uint64_t ms = left_ns / QV_NS_PER_MS + 1;
    struct qv_net_header session = {PEER_SESSION_HEADER, link->session};
    struct qv_client_request request = {.path = PEER_ASK_PATH,
                                        .grpc = true,
                                        .headers = &session,
                                        .n_headers = link->session[0] != '\0',
                                        .head = {head, qv_peer_envelope_encode(&e, head)},
                                        .body = call->body,
                                        .timeout_ms = ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX};
    return qv_client_send_call(client, &request, on_response, out, &out->under_way);
}

/* The next one of a lane, and none that is late. */
static struct peer_out *lane_next(struct peer_link *link, unsigned lane)
{
    uint64_t now_ns = qv_peer_now_ns(link->t);
    for (unsigned i = 2 * lane; i < 2 * lane + 2; i++) {
        while (link->queues[i].first != NULL) {
            struct peer_out *out = link->queues[i].first;
            if (out->deadline_ns > now_ns)
                return out;
            out_end(out, QV_ETIMEOUT, "the deadline passed before it could be sent");
        }
    }
    return NULL;
}

void qv_peer_link_pump(struct peer_link *link)
{
    for (unsigned lane = 0; lane < PEER_LANES && link->state == LINK_UP; lane++) {
        struct peer_out *out;
        bool any = false;
        while (link->lanes[lane].n < PEER_WINDOW && (out = lane_next(link, lane)) != NULL) {
            struct qv_client *client = qv_peer_link_client(link, lane);
            if (client == NULL || out_submit(out, client) != 0) {
                out_end(out, QV_EUNAVAILABLE, "no connection can be made");
                continue;
            }
            queue_remove(&link->queues[out->priority], out);
            out->queued = false;
            queue_add(&link->lanes[lane], out);
            any = true;
        }
        if (any)
            qv_client_flush(link->clients[lane]);
    }
}

/* ---- notes from the owner ------------------------------------------------------------------- */

static void link_begin(struct qv_peer_tcp *t, struct peer_link *link)
{
    for (const struct peer_link *l = t->links; l != NULL; l = l->next) {
        if (l == link)
            return;
    }
    link->next = t->links;
    if (link->next != NULL)
        link->next->prev = link;
    t->links = link;
}

void qv_peer_link_free_if_done(struct peer_link *link)
{
    struct qv_peer_tcp *t = link->t;
    if (!link->forgotten || link->n_clients > 0 || link->looking_up)
        return;
    if (link->prev != NULL)
        link->prev->next = link->next;
    else if (t->links == link)
        t->links = link->next;
    if (link->next != NULL)
        link->next->prev = link->prev;
    link->gone.kind = NOTE_GONE;
    link->gone.what = link;
    qv_peer_give_back(t, &link->gone);
}

static void take_send(struct qv_peer_tcp *t, struct peer_out *out)
{
    struct peer_link *link = out->link;
    link_begin(t, link);
    out->queued = true;
    queue_add(&link->queues[out->priority], out);
    if (link->state == LINK_UP)
        qv_peer_link_pump(link);
    else if (link->state == LINK_DOWN && qv_peer_now_ns(t) >= link->retry_ns)
        qv_peer_link_connect(link);
    else if (link->state == LINK_DOWN)
        out_end(out, link->why_err, link->why);
}

static void take_cancel(struct qv_peer_tcp *t, struct peer_out *out)
{
    if (!out->ended && out->queued)
        out_end(out, QV_ECANCELED, "canceled");
    else if (!out->ended && out->under_way != NULL) {
        struct qv_client *client = out->link->clients[lane_of(out)];
        qv_client_cancel(out->under_way); /* ends it */
        if (client != NULL)
            qv_client_flush(client);
    }
    out->cancel.kind = NOTE_ACK;
    qv_peer_give_back(t, &out->cancel);
}

static void take_forget(struct peer_link *link)
{
    link_begin(link->t, link);
    link->forgotten = true;
    qv_peer_link_down(link, QV_EUNAVAILABLE, "the peer was removed, or moved");
    qv_peer_link_free_if_done(link);
}

static void net_end(struct qv_peer_tcp *t);

static void on_tick(uv_timer_t *timer)
{
    struct qv_peer_tcp *t = timer->data;
    uint64_t now_ns = qv_peer_now_ns(t);
    bool any = false;
    for (struct peer_link *link = t->links; link != NULL; link = link->next) {
        for (unsigned i = 0; i < QV_PEER_PRIORITY_COUNT; i++) {
            for (struct peer_out *out = link->queues[i].first; out != NULL;) {
                struct peer_out *next = out->queue_next;
                if (out->deadline_ns <= now_ns)
                    out_end(out, QV_ETIMEOUT, "the deadline passed before it could be sent");
                out = next;
            }
            any = any || link->queues[i].n > 0;
        }
        bool opening = link->state == LINK_LOOKING_UP || link->state == LINK_GREETING;
        if (opening && now_ns > link->connect_by_ns)
            qv_peer_link_down(link, QV_EUNAVAILABLE, "no answer to the greeting");
        any = any || opening;
    }
    if (!any)
        uv_timer_stop(timer);
    t->ticking = any;
}

static void net_tick(struct qv_peer_tcp *t)
{
    bool any = false;
    for (const struct peer_link *link = t->links; link != NULL && !any; link = link->next) {
        any = link->state == LINK_LOOKING_UP || link->state == LINK_GREETING;
        for (unsigned i = 0; i < QV_PEER_PRIORITY_COUNT; i++)
            any = any || link->queues[i].n > 0;
    }
    if (any && !t->ticking && !t->ending)
        uv_timer_start(&t->timer, on_tick, OUT_TICK_MS, OUT_TICK_MS);
    t->ticking = t->ticking || any;
}

static void on_async(uv_async_t *async)
{
    struct qv_peer_tcp *t = async->data;
    for (unsigned i = 0; i < t->n_reap; i++)
        qv_client_destroy(&t->reap[i]);
    t->n_reap = 0;
    pthread_mutex_lock(&t->net_mutex);
    struct peer_note *note = t->to_net.first;
    t->to_net = (struct peer_notes){NULL, NULL};
    bool quit = t->quit;
    pthread_mutex_unlock(&t->net_mutex);
    while (note != NULL) {
        struct peer_note *next = note->next; /* the note comes back, and may be gone */
        if (note->kind == NOTE_SEND)
            take_send(t, note->what);
        else if (note->kind == NOTE_CANCEL)
            take_cancel(t, note->what);
        else
            take_forget(note->what);
        note = next;
    }
    if (quit && !t->ending)
        net_end(t);
    net_tick(t);
    if (t->n_reap > 0)
        uv_async_send(async);
    else if (t->ending && t->links == NULL && !uv_is_closing((uv_handle_t *)async))
        uv_close((uv_handle_t *)async, NULL);
}

/* The owner has forgotten every peer before it asks for this: links only wait for their sockets. */
static void net_end(struct qv_peer_tcp *t)
{
    t->ending = true;
    uv_close((uv_handle_t *)&t->timer, NULL);
}

static void *net_main(void *arg)
{
    struct qv_peer_tcp *t = arg;
    uv_run(&t->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* ---- for the owner -------------------------------------------------------------------------- */

int qv_peer_out_start(struct qv_peer_tcp *t, struct qv_errmsg *msg)
{
    if (uv_loop_init(&t->loop) != 0)
        return qv_fail(msg, QV_EIO, "no event loop can be made");
    int rv = uv_async_init(&t->loop, &t->async, on_async);
    QV_ASSERT(rv == 0);
    t->async.data = t;
    uv_timer_init(&t->loop, &t->timer);
    t->timer.data = t;
    if (pthread_create(&t->thread, NULL, net_main, t) == 0) {
        pthread_setname_np(t->thread, "peers");
        return 0;
    }
    uv_close((uv_handle_t *)&t->async, NULL);
    uv_close((uv_handle_t *)&t->timer, NULL);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    uv_loop_close(&t->loop);
    return qv_fail(msg, QV_EIO, "no thread can be made");
}

void qv_peer_out_note(struct qv_peer_tcp *t, struct peer_note *note)
{
    pthread_mutex_lock(&t->net_mutex);
    bool wake = t->to_net.first == NULL;
    qv_peer_notes_add(&t->to_net, note);
    pthread_mutex_unlock(&t->net_mutex);
    if (wake)
        uv_async_send(&t->async);
}

void qv_peer_out_stop(struct qv_peer_tcp *t)
{
    pthread_mutex_lock(&t->net_mutex);
    t->quit = true;
    pthread_mutex_unlock(&t->net_mutex);
    uv_async_send(&t->async);
    pthread_join(t->thread, NULL);
    int rv = uv_loop_close(&t->loop);
    QV_ASSERT(rv == 0 && t->links == NULL);
    qv_mem_free(t->reap);
}
