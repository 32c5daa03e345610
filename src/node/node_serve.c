/* Shares of writes that other nodes send to the shards here (QV_PEER_WRITE; wire/peer_codec.h).
 *
 * Each leg names the shard's incarnation and the epoch of its record as the sender knows it. A leg
 * under another epoch is refused, and says ours: if the sender is behind it learns, if we are we
 * do. Decoded and prepared on a worker, ordered by the shard's owner, answered when the last leg
 * has ended. */
#include "node/node_cluster.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "cluster/methods.h"
#include "node/node_private.h"
#include "wire/peer_codec.h"

#include <stdatomic.h>
#include <string.h>

#define LEG_ARENA_BYTES ((size_t)64 << 20)

struct served;

struct served_leg {
    struct served *whole;
    struct qv_write write;
    struct qv_write_req req;
    struct qv_arena arena;
    struct qv_peer_write_answer answer;
    bool under_way;
};

struct served {
    struct qv_node *n;
    struct qv_peer_request *request;
    struct qv_job job;
    struct qv_peer_write msg;
    struct served_leg *legs;
    uint32_t leg_count, open;
    uint64_t deadline_ns;
    atomic_bool canceled;
    struct qv_stop stop;
    int err;
    struct qv_errmsg text;
};

static int stop_ask(void *ctx, struct qv_errmsg *msg)
{
    struct served *x = ctx;
    if (atomic_load(&x->canceled) || qv_env_mono_ns(x->n->env) >= x->deadline_ns)
        return qv_fail(msg, QV_ETIMEOUT, "the request was given up before its end");
    return 0;
}

static void gave_up(struct qv_peer_request *r)
{
    struct served *x = r->user;
    atomic_store(&x->canceled, true);
}

/* ---- answers (owner) ---- */

static void finish(struct served *x)
{
    struct qv_buf body;
    struct qv_peer_write_answer *answers = NULL;
    qv_buf_init(&body, QV_PEER_BODY_BYTES_MAX);
    if (x->err == 0)
        answers = QV_ARENA_ARRAY(x->request->arena, struct qv_peer_write_answer, x->leg_count);
    if (x->err == 0 && answers == NULL)
        x->err = QV_EUNKNOWN; /* what was done can't be told */
    for (uint32_t i = 0; i < x->leg_count && x->err == 0; i++)
        answers[i] = x->legs[i].answer;
    if (x->err == 0)
        qv_peer_encode_write_answers(&body, answers, x->leg_count);
    qv_peer_answer(x->request, x->err, &x->text, &body);
    qv_buf_close(&body);
    for (uint32_t i = 0; i < x->leg_count; i++) {
        qv_arena_close(&x->legs[i].arena);
        if (x->legs[i].write.shard != NULL)
            qv_shard_unref(x->legs[i].write.shard);
    }
    qv_mem_free(x->legs);
    qv_node_serve_end(x->n);
    qv_mem_free(x);
}

static void leg_done(struct qv_write *w, int err)
{
    struct served_leg *leg = w->arg;
    struct served *x = leg->whole;
    leg->answer.err = err;
    leg->answer.failed_op = w->failed_op;
    leg->answer.text = qv_str_of(w->msg.text);
    leg->answer.results = w->results;
    leg->answer.result_count = w->results == NULL ? 0 : err == 0 ? leg->req.op_count : w->failed_op;
    if (--x->open == 0)
        finish(x);
}

/* ---- legs (worker) ---- */

static void refuse(struct served_leg *leg, int err, const char *text)
{
    leg->answer.err = err;
    leg->answer.text = qv_str_of(text);
}

/* The shard that the leg names, here and of the same epoch. */
static int find_shard(struct served_leg *leg, const struct qv_peer_write_leg *in,
                      const struct qv_topology *t)
{
    struct qv_node *n = leg->whole->n;
    const struct qv_collection *c = qv_topology_by_uuid(t, in->collection);
    const struct qv_shard_place *s = c != NULL ? qv_collection_shard(c, in->shard) : NULL;
    if (s == NULL || s->epoch != in->epoch || s->incarnation != in->incarnation) {
        leg->answer.epoch = s != NULL ? s->epoch : t->epoch;
        refuse(leg, QV_ESTALE, "the shard's record is another here");
        return QV_ESTALE;
    }
    if (qv_node_writer_of(n, s) != 0 ||
        qv_node_shard_at(n, c, (uint32_t)(s - c->shards), &leg->write.shard, NULL) != 0) {
        refuse(leg, QV_EUNAVAILABLE, "the shard is not here");
        return QV_EUNAVAILABLE;
    }
    return 0;
}

static void prepare_leg(struct served_leg *leg, const struct qv_peer_write_leg *in,
                        const struct qv_topology *t)
{
    struct served *x = leg->whole;
    if (find_shard(leg, in, t) != 0)
        return;
    leg->req = (struct qv_write_req){.ops = in->ops,
                                     .op_count = in->op_count,
                                     .wait = x->msg.wait,
                                     .ordering = x->msg.ordering,
                                     .timeout_ms = x->msg.timeout_ms,
                                     .stop = &x->stop};
    leg->write.req = &leg->req;
    leg->write.arena = &leg->arena;
    leg->write.done = leg_done;
    leg->write.arg = leg;
    int err = qv_write_prepare(&leg->write);
    if (err == 0) {
        leg->under_way = true;
        return;
    }
    leg->answer.failed_op = leg->write.failed_op;
    refuse(leg, err, leg->write.msg.text);
}

static void prepare_all(struct qv_job *job, unsigned worker)
{
    struct served *x = job->arg;
    (void)worker;
    x->err = qv_peer_decode_write(x->request->body, x->request->arena, &x->msg, &x->text);
    if (x->err != 0)
        return;
    const struct qv_topology *t = qv_node_topology(x->n);
    x->leg_count = x->msg.leg_count;
    x->legs = qv_mem_calloc(x->leg_count, sizeof *x->legs);
    for (uint32_t i = 0; i < x->leg_count; i++) {
        x->legs[i].whole = x;
        qv_arena_init(&x->legs[i].arena, LEG_ARENA_BYTES);
        prepare_leg(&x->legs[i], &x->msg.legs[i], t);
    }
    qv_topology_unref(t);
}

static void prepared(struct qv_job *job)
{
    struct served *x = job->arg;
    uint64_t newer = 0;
    x->open = 1; /* this call */
    for (uint32_t i = 0; i < x->leg_count; i++) {
        x->open += x->legs[i].under_way;
        if (x->legs[i].answer.err == QV_ESTALE && x->msg.legs[i].epoch > newer)
            newer = x->msg.legs[i].epoch;
    }
    if (newer != 0 && x->n->cluster.membership != NULL)
        qv_membership_hint(x->n->cluster.membership, x->request->from, newer);
    for (uint32_t i = 0; i < x->leg_count; i++) {
        if (x->legs[i].under_way)
            qv_write_submit(&x->legs[i].write);
    }
    if (--x->open == 0)
        finish(x);
}

static void serve_write(void *arg, struct qv_peer_request *r)
{
    struct served *x = qv_mem_calloc(1, sizeof *x);
    x->n = arg;
    qv_node_serve_begin(x->n);
    x->request = r;
    x->deadline_ns = r->deadline_ns;
    atomic_init(&x->canceled, false);
    x->stop = (struct qv_stop){stop_ask, x};
    x->job = (struct qv_job){.run = prepare_all, .done = prepared, .arg = x};
    r->user = x;
    r->on_cancel = gave_up;
    int err = qv_env_submit(x->n->env, QV_JOB_INTERACTIVE, &x->job);
    if (err != 0) {
        x->err = qv_fail(&x->text, QV_EBUSY, "too many requests are waiting");
        finish(x);
    }
}

void qv_node_serve(struct qv_node *n, bool on)
{
    qv_peers_serve(n->cluster.peers, QV_PEER_WRITE, on ? serve_write : NULL, n);
}
