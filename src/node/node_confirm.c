/* Confirmations: a node says that it has reached an epoch and done what it asks.
 *
 *   QV_PEER_CONFIRM   request u64 epoch; answer: nothing, or why it could not be done */
#include "node/node_cluster.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "cluster/methods.h"
#include "node/node_private.h"

#include <string.h>

/* ---- asked ---- */

struct qv_node_waiting {
    struct qv_node_waiting *next;
    struct qv_peer_request *request;
    uint64_t epoch;
};

static void answer(struct qv_node *n, struct qv_node_waiting *w)
{
    bool reached = n->topology->epoch >= w->epoch;
    qv_peer_answer(w->request, reached ? n->cluster.follow_err : QV_ETIMEOUT,
                   reached ? &n->cluster.follow_msg : NULL, NULL);
    qv_mem_free(w);
}

/* Who waits for what has come; and who reached the epoch and could not do it. */
void qv_node_confirm_settle(struct qv_node *n)
{
    struct qv_node_waiting **at = &n->cluster.waiting;
    while (*at != NULL) {
        struct qv_node_waiting *w = *at;
        if (n->topology->epoch < w->epoch && !w->request->canceled) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        answer(n, w);
    }
}

static void gave_up(struct qv_peer_request *r)
{
    qv_node_confirm_settle(r->user);
}

static void serve(void *arg, struct qv_peer_request *r)
{
    struct qv_node *n = arg;
    struct qv_rd rd;
    struct qv_errmsg msg = {""};
    qv_rd_init(&rd, r->body.p, r->body.n);
    uint64_t epoch = qv_rd_u64(&rd);
    if (rd.failed) {
        qv_peer_answer(r, QV_CORRUPT(&msg, "a request to confirm an epoch"), &msg, NULL);
        return;
    }
    struct qv_node_waiting *w = qv_mem_calloc(1, sizeof *w);
    *w = (struct qv_node_waiting){.next = n->cluster.waiting, .request = r, .epoch = epoch};
    n->cluster.waiting = w;
    r->user = n;
    r->on_cancel = gave_up;
    qv_membership_hint(n->cluster.membership, r->from, epoch);
    qv_node_confirm_settle(n);
}

void qv_node_confirm_serve(struct qv_node *n, bool on)
{
    qv_peers_serve(n->cluster.peers, QV_PEER_CONFIRM, on ? serve : NULL, n);
    while (!on && n->cluster.waiting != NULL) {
        struct qv_node_waiting *w = n->cluster.waiting;
        n->cluster.waiting = w->next;
        qv_peer_answer(w->request, QV_EUNAVAILABLE, NULL, NULL);
        qv_mem_free(w);
    }
}

void qv_node_confirm_forget(struct qv_node *n)
{
    while (n->cluster.waiting != NULL) {
        struct qv_node_waiting *w = n->cluster.waiting;
        n->cluster.waiting = w->next;
        qv_mem_free(w);
    }
}

/* ---- asking ---- */

#define AGAIN_NS (100 * QV_NS_PER_MS)

struct qv_node_confirm_one {
    struct qv_node_confirm *c;
    struct qv_peer_call call;
    struct qv_timer again;
    uint8_t body[8];
};

static void one_done(struct qv_node_confirm_one *one, int err, const char *text)
{
    struct qv_node_confirm *c = one->c;
    if (err != 0 && c->err == 0) {
        c->err = err;
        (void)qv_fail(&c->msg, err, "node %016llx: %s", (unsigned long long)one->call.to,
                      text[0] != '\0' ? text : qv_err_text(err));
    }
    if (--c->open != 0)
        return;
    qv_mem_free(c->list);
    c->done(c, c->err);
}

static void ask(struct qv_node_confirm_one *one);

static void again_due(struct qv_timer *timer)
{
    ask(timer->arg);
}

static void answered(struct qv_peer_call *call, const struct qv_peer_answer *a)
{
    struct qv_node_confirm_one *one = call->arg;
    struct qv_node *n = one->c->node;
    /* Asking again does no harm, and a node that comes back has something to confirm. */
    bool away = a->err == QV_EUNAVAILABLE || a->err == QV_EUNKNOWN || a->err == QV_EBUSY;
    if (!away || qv_env_mono_ns(n->env) + AGAIN_NS >= one->c->deadline_ns)
        one_done(one, a->err, a->text);
    else
        qv_env_timer_start(n->env, &one->again, AGAIN_NS);
}

static void ask(struct qv_node_confirm_one *one)
{
    struct qv_node *n = one->c->node;
    one->call.method = QV_PEER_CONFIRM;
    one->call.deadline_ns = one->c->deadline_ns;
    one->call.body = (struct qv_bytes){one->body, sizeof one->body};
    one->call.done = answered;
    one->call.arg = one;
    qv_peer_send(n->cluster.peers, &one->call);
}

void qv_node_confirm_start(struct qv_node_confirm *c)
{
    QV_ASSERT(c->count > 0 && c->count <= QV_NODE_CONFIRMS_MAX);
    c->err = 0;
    c->open = c->count;
    c->list = qv_mem_calloc(c->count, sizeof *c->list);
    for (uint32_t i = 0; i < c->count; i++) {
        struct qv_node_confirm_one *one = &c->list[i];
        one->c = c;
        one->call.to = c->ids[i];
        one->again = (struct qv_timer){.run = again_due, .arg = one};
        memcpy(one->body, &c->epoch, sizeof one->body);
        ask(one);
    }
}
