#include "query/leaf_remote.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "cluster/methods.h"
#include "wire/peer_codec.h"

struct qv_remote_ask {
    struct qv_remote_leaf *leaf;
    struct qv_ask *ask;
    struct qv_remote_ask *prev, *next;
    struct qv_peer_call call;
    struct qv_buf body;
    uint64_t start_ns;
};

static void fail_all(struct qv_ask *ask, int err, const char *text)
{
    for (uint32_t i = 0; i < ask->leg_count; i++) {
        ask->answers[i]->err = err;
        (void)qv_fail(&ask->answers[i]->msg, err, "%s", text);
    }
}

/* What a message's end means for a read, which does no harm twice: whatever did not come back is
 * not to be had there now. */
static int read_error(int err)
{
    switch (err) {
    case QV_EUNKNOWN:
    case QV_EAUTH:
    case QV_EFORBIDDEN:
    case QV_EPROTO:
    case QV_ENOTIMPL:
        return QV_EUNAVAILABLE;
    default:
        return err;
    }
}

static void note_latency(struct qv_remote_leaf *l, uint64_t ns)
{
    l->latency_ns = l->latency_ns == 0 ? ns : l->latency_ns - l->latency_ns / 8 + ns / 8;
}

static void tell_newer(struct qv_remote_leaf *l, const struct qv_ask *ask)
{
    uint64_t epoch = 0;
    for (uint32_t i = 0; i < ask->leg_count; i++) {
        if (ask->answers[i]->err == QV_ESTALE && ask->answers[i]->epoch > epoch)
            epoch = ask->answers[i]->epoch;
    }
    if (epoch != 0 && l->newer != NULL)
        l->newer(l->arg, l->leaf.node, epoch);
}

static void unlink_ask(struct qv_remote_ask *r)
{
    struct qv_remote_leaf *l = r->leaf;
    if (r->prev != NULL)
        r->prev->next = r->next;
    else
        l->asks = r->next;
    if (r->next != NULL)
        r->next->prev = r->prev;
    l->outstanding--;
}

static void answered(struct qv_peer_call *call, const struct qv_peer_answer *a)
{
    struct qv_remote_ask *r = call->arg;
    struct qv_remote_leaf *l = r->leaf;
    struct qv_ask *ask = r->ask;
    struct qv_errmsg msg = {""};
    unlink_ask(r);
    if (a->err == 0) {
        int err = qv_peer_decode_answers(a->body, ask, NULL, &msg);
        if (err != 0)
            fail_all(ask, read_error(err), msg.text);
        note_latency(l, qv_env_mono_ns(l->peers->env) - r->start_ns);
        tell_newer(l, ask);
    } else {
        fail_all(ask, read_error(a->err), a->text);
    }
    qv_buf_close(&r->body);
    qv_mem_free(r);
    ask->leaf = NULL;
    ask->done(ask);
}

static uint8_t priority_of(const struct qv_ask *ask)
{
    return ask->kind == QV_ASK_SEARCH && ask->req.query->query_count > 1 ? QV_PEER_BATCH
                                                                         : QV_PEER_INTERACTIVE;
}

static void start(struct qv_leaf *leaf, struct qv_ask *ask)
{
    struct qv_remote_leaf *l = (struct qv_remote_leaf *)leaf;
    struct qv_remote_ask *r = qv_mem_calloc(1, sizeof *r);
    *r = (struct qv_remote_ask){.leaf = l, .ask = ask, .next = l->asks};
    if (l->asks != NULL)
        l->asks->prev = r;
    l->asks = r;
    l->outstanding++;
    ask->leaf = r;
    qv_buf_init(&r->body, QV_PEER_BODY_BYTES_MAX);
    qv_peer_encode_ask(&r->body, ask);
    r->start_ns = qv_env_mono_ns(l->peers->env);
    /* A body that has failed is refused by the other side's decoder: nothing of it is sent. */
    r->call = (struct qv_peer_call){.to = leaf->node,
                                    .method = QV_PEER_READ,
                                    .priority = priority_of(ask),
                                    .deadline_ns = ask->deadline_ns,
                                    .body = {r->body.data, r->body.failed ? 0 : r->body.len},
                                    .done = answered,
                                    .arg = r};
    qv_peer_send(l->peers, &r->call);
}

static void cancel(struct qv_leaf *leaf, struct qv_ask *ask)
{
    struct qv_remote_leaf *l = (struct qv_remote_leaf *)leaf;
    struct qv_remote_ask *r = ask->leaf;
    if (r != NULL)
        qv_peer_cancel(l->peers, &r->call);
}

static void describe(struct qv_leaf *leaf, struct qv_leaf_state *out)
{
    const struct qv_remote_leaf *l = (const struct qv_remote_leaf *)leaf;
    *out = (struct qv_leaf_state){
        .kind = "remote", .outstanding = l->outstanding, .latency_ns = l->latency_ns};
}

static const struct qv_shard_ops remote_ops = {
    .start = start, .cancel = cancel, .describe = describe};

void qv_remote_leaf_init(struct qv_remote_leaf *l, struct qv_peers *peers, uint64_t node)
{
    *l = (struct qv_remote_leaf){.leaf = {.ops = &remote_ops, .node = node}, .peers = peers};
}

void qv_remote_leaf_forget(struct qv_remote_leaf *l)
{
    while (l->asks != NULL) {
        struct qv_remote_ask *r = l->asks;
        l->asks = r->next;
        qv_buf_close(&r->body);
        qv_mem_free(r);
    }
    l->outstanding = 0;
}
