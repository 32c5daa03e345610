/* Legs of reads that other nodes ask of the shards here (QV_PEER_READ; wire/peer_codec.h): decoded,
 * answered by this node's own leaf, encoded on a worker, since answers may be large. */
#include "node/node_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "cluster/methods.h"
#include "wire/peer_codec.h"

#include <string.h>

#define LEG_ARENA_BYTES ((size_t)256 << 20)

struct served_read {
    struct qv_node *n;
    struct qv_peer_request *request;
    struct qv_ask ask;
    struct qv_leg_answer *answers;
    struct qv_buf body;
    struct qv_job job;
};

static void finish(struct served_read *x, int err, const struct qv_errmsg *msg)
{
    qv_peer_answer(x->request, err, msg, &x->body);
    for (uint32_t i = 0; i < x->ask.leg_count && x->answers != NULL; i++) {
        if (x->answers[i].release != NULL)
            x->answers[i].release(&x->answers[i]);
        qv_arena_close(&x->answers[i].arena);
    }
    qv_buf_close(&x->body);
    qv_mem_free(x->answers);
    qv_node_serve_end(x->n);
    qv_mem_free(x);
}

static void encode(struct qv_job *job, unsigned worker)
{
    struct served_read *x = job->arg;
    (void)worker;
    qv_peer_encode_answers(&x->body, &x->ask, NULL);
}

static void encoded(struct qv_job *job)
{
    struct served_read *x = job->arg;
    struct qv_errmsg msg = {""};
    int err = 0;
    if (x->body.failed) {
        err = qv_fail(&msg, QV_ETOOBIG, "the answer is too large for a message between nodes");
        qv_buf_close(&x->body);
    }
    finish(x, err, &msg);
}

/* A leg that its asker knows more of than this node: it will not be stale for long. */
static void learn(struct served_read *x)
{
    uint64_t newer = 0;
    for (uint32_t i = 0; i < x->ask.leg_count; i++) {
        if (x->ask.legs[i].epoch > newer)
            newer = x->ask.legs[i].epoch;
    }
    if (x->n->cluster.membership != NULL)
        qv_membership_hint(x->n->cluster.membership, x->request->from, newer);
}

static void answered(struct qv_ask *ask)
{
    struct served_read *x = ask->arg;
    x->request->on_cancel = NULL;
    learn(x);
    x->job = (struct qv_job){.run = encode, .done = encoded, .arg = x};
    if (qv_env_submit(x->n->env, QV_JOB_INTERACTIVE, &x->job) != 0) {
        encode(&x->job, 0);
        encoded(&x->job);
    }
}

static void gave_up(struct qv_peer_request *r)
{
    struct served_read *x = r->user;
    x->n->leaf.ops->cancel(&x->n->leaf, &x->ask);
}

static void serve_read(void *arg, struct qv_peer_request *r)
{
    struct served_read *x = qv_mem_calloc(1, sizeof *x);
    struct qv_errmsg msg = {""};
    x->n = arg;
    x->request = r;
    qv_node_serve_begin(x->n);
    qv_buf_init(&x->body, QV_PEER_BODY_BYTES_MAX);
    int err = qv_peer_decode_ask(r->body, r->arena, &x->ask, &msg);
    struct qv_leg_answer **list = NULL;
    if (err == 0) {
        list = QV_ARENA_ARRAY(r->arena, struct qv_leg_answer *, x->ask.leg_count);
        err = list == NULL ? QV_ENOMEM : 0;
    }
    if (err != 0) {
        x->ask.leg_count = 0;
        finish(x, err, &msg);
        return;
    }
    x->answers = qv_mem_calloc(x->ask.leg_count, sizeof *x->answers);
    for (uint32_t i = 0; i < x->ask.leg_count; i++) {
        qv_arena_init(&x->answers[i].arena, LEG_ARENA_BYTES);
        list[i] = &x->answers[i];
    }
    x->ask.answers = list;
    x->ask.deadline_ns = r->deadline_ns;
    x->ask.done = answered;
    x->ask.arg = x;
    r->user = x;
    r->on_cancel = gave_up;
    x->n->leaf.ops->start(&x->n->leaf, &x->ask);
}

void qv_node_serve_reads(struct qv_node *n, bool on)
{
    qv_peers_serve(n->cluster.peers, QV_PEER_READ, on ? serve_read : NULL, n);
}
