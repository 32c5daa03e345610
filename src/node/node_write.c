#include "node/node_write.h"

#include "base/qv_assert.h"
#include "cluster/methods.h"
#include "node/node_private.h"
#include "wire/peer_codec.h"

#include <string.h>

/* A part takes from an arena of its own where there are several: their jobs run at once. */
#define PART_ARENA_BYTES ((size_t)64 << 20)
#define AGAIN_NS (50 * QV_NS_PER_MS)

struct qv_write_part {
    struct qv_write write; /* of a shard that lies here */
    struct qv_write_req req;
    struct qv_arena own;
    uint32_t *ops; /* its operations' places in the request; NULL: all of them */
    struct qv_node_write *whole;
    uint64_t node;              /* where it lies; 0: here */
    struct qv_node_write *next; /* of what is tried again */
    bool again;
};

struct qv_write_message {
    struct qv_node_write *whole;
    uint64_t node;
    struct qv_peer_call call;
    struct qv_buf body;
    uint32_t *parts; /* of its legs */
    uint32_t leg_count;
};

static void close_parts(struct qv_node_write *w)
{
    for (uint32_t i = 0; i < w->part_count; i++) {
        qv_arena_close(&w->parts[i].own);
        if (w->parts[i].write.shard != NULL)
            qv_shard_unref(w->parts[i].write.shard);
        w->parts[i].write.shard = NULL;
    }
    for (uint32_t i = 0; i < w->message_count; i++)
        qv_buf_close(&w->messages[i].body);
    qv_topology_unref(w->topology);
    w->topology = NULL;
}

/* ---- who owns what ---- */

struct split {
    struct qv_node_write *w;
    const struct qv_write_op *op;
    uint32_t *owner;  /* of each point or id of the op */
    uint32_t *counts; /* of the op, by shard */
};

static bool by_points(const struct qv_write_op *op)
{
    return op->type == QV_WRITE_UPSERT || op->type == QV_WRITE_UPDATE_VECTORS;
}

static const struct qv_id *nth_id(const struct qv_write_op *op, uint32_t i)
{
    return by_points(op) ? &op->points[i].id : &op->select.ids[i];
}

static uint32_t id_count(const struct qv_write_op *op)
{
    return by_points(op) ? op->point_count : op->select.id_count;
}

/* The op's points of one shard, in their order. */
static int share_of(const struct split *x, uint32_t shard, struct qv_write_op *out)
{
    struct qv_arena *arena = x->w->arena;
    uint32_t n = 0;
    *out = *x->op;
    if (by_points(x->op)) {
        struct qv_point_in *points = qv_arena_alloc(arena, x->counts[shard] * sizeof *points);
        if (points == NULL)
            return QV_ETOOBIG;
        for (uint32_t i = 0; i < x->op->point_count; i++) {
            if (x->owner[i] == shard)
                points[n++] = x->op->points[i];
        }
        out->points = points;
        out->point_count = n;
        return 0;
    }
    struct qv_id *ids = qv_arena_alloc(arena, x->counts[shard] * sizeof *ids);
    if (ids == NULL)
        return QV_ETOOBIG;
    for (uint32_t i = 0; i < x->op->select.id_count; i++) {
        if (x->owner[i] == shard)
            ids[n++] = x->op->select.ids[i];
    }
    out->select.ids = ids;
    out->select.id_count = n;
    return 0;
}

static void add_op(struct qv_write_part *part, const struct qv_write_op *op, uint32_t place)
{
    struct qv_write_op *ops = (struct qv_write_op *)(uintptr_t)part->req.ops;
    part->ops[part->req.op_count] = place;
    ops[part->req.op_count++] = *op;
}

/* Adds one operation to the parts that it concerns. */
static int split_op(struct qv_node_write *w, uint32_t place)
{
    const struct qv_write_op *op = &w->req->ops[place];
    const uint32_t n = id_count(op);
    struct split x = {.w = w,
                      .op = op,
                      .owner = qv_arena_alloc(w->arena, (n + 1) * sizeof *x.owner),
                      .counts = QV_ARENA_ARRAY(w->arena, uint32_t, w->part_count)};
    if (x.owner == NULL || x.counts == NULL)
        return QV_ETOOBIG;
    if (!by_points(op) && op->select.filter != NULL) {
        for (uint32_t i = 0; i < w->part_count; i++)
            add_op(&w->parts[i], op, place);
        return 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        x.owner[i] = qv_collection_owner(w->collection, nth_id(op, i));
        x.counts[x.owner[i]]++;
    }
    if (n == 0) { /* what it lacks is for a shard to say */
        add_op(&w->parts[0], op, place);
        return 0;
    }
    for (uint32_t i = 0; i < w->part_count; i++) {
        struct qv_write_op share;
        if (x.counts[i] == 0)
            continue;
        int err = share_of(&x, i, &share);
        if (err != 0)
            return err;
        add_op(&w->parts[i], &share, place);
    }
    return 0;
}

/* ---- ends ---- */

static uint32_t place_of(const struct qv_write_part *part, uint32_t op)
{
    return part->ops != NULL ? part->ops[op] : op;
}

static void try_again(struct qv_node_write *w);

/* Of what may have been done and of what was not, the request's end is the worse. */
static bool is_worse(const struct qv_node_write *w, int err, uint32_t op)
{
    if (w->err == 0 || (w->err == QV_EUNKNOWN) != (err == QV_EUNKNOWN))
        return w->err != QV_EUNKNOWN;
    return op < w->failed_op;
}

static void note_failure(struct qv_node_write *w, int err, uint32_t op, const struct qv_errmsg *msg)
{
    if (!is_worse(w, err, op))
        return;
    w->err = err;
    w->failed_op = op;
    w->msg = *msg;
}

static void note_results(struct qv_write_part *part, const struct qv_write_result *results)
{
    for (uint32_t i = 0; i < part->req.op_count; i++) {
        struct qv_write_result *all = &part->whole->results[place_of(part, i)];
        if (results[i].operation_id > all->operation_id)
            all->operation_id = results[i].operation_id;
        all->completed = all->completed && results[i].completed;
    }
}

/* It was certainly not done, and may be at another place or time. */
static bool may_try_again(const struct qv_node_write *w, int err)
{
#ifdef QV_MUTANT_RETRY_UNKNOWN
    if (err == QV_EUNKNOWN)
        err = QV_EUNAVAILABLE;
#endif
    return (err == QV_ESTALE || err == QV_EUNAVAILABLE) && qv_node_in_cluster(w->node) &&
           qv_env_mono_ns(w->node->env) + AGAIN_NS < w->deadline_ns;
}

static void part_ended(struct qv_write_part *part, int err, uint32_t failed_op,
                       const struct qv_errmsg *msg)
{
    if (err == 0)
        return;
    part->again = may_try_again(part->whole, err);
    if (!part->again)
        note_failure(part->whole, err, place_of(part, failed_op), msg);
}

/* The last of what was under way has ended. */
static void settle(struct qv_node_write *w)
{
    bool again = false;
    for (uint32_t i = 0; i < w->part_count; i++)
        again = again || w->parts[i].again;
    if (again) {
        try_again(w);
        return;
    }
    close_parts(w);
    w->done(w, w->err);
}

static void part_done(struct qv_write *write, int err)
{
    struct qv_write_part *part = write->arg;
    struct qv_node_write *w = part->whole;
    part_ended(part, err, write->failed_op, &write->msg);
    if (err == 0)
        note_results(part, write->results);
    if (--w->open == 0)
        settle(w);
}

/* ---- another attempt (owner) ---- */

static void next_done(struct qv_node_write *next, int err)
{
    struct qv_write_part *part = next->arg;
    struct qv_node_write *w = part->whole;
    part->again = false;
    if (err != 0)
        note_failure(w, err, place_of(part, next->failed_op), &next->msg);
    else
        note_results(part, next->results);
    if (--w->open == 0)
        settle(w);
}

static int start_next(struct qv_write_part *part, const struct qv_topology *t)
{
    struct qv_node_write *w = part->whole;
    const struct qv_collection *c = qv_topology_by_uuid(t, w->collection->uuid);
    struct qv_node_write *next = QV_ARENA_NEW(w->arena, struct qv_node_write);
    if (c == NULL)
        return qv_node_missing(w->collection->name, &w->msg);
    if (next == NULL)
        return QV_ETOOBIG;
    *next = (struct qv_node_write){.node = w->node,
                                   .collection = c,
                                   .req = part->ops != NULL ? &part->req : w->req,
                                   .arena = w->arena,
                                   .deadline_ns = w->deadline_ns,
                                   .done = next_done,
                                   .arg = part};
    qv_topology_ref(t);
    next->topology = t;
    int err = qv_node_write_prepare(next);
    if (err != 0) {
        w->msg = next->msg;
        return err;
    }
    part->next = next;
    return 0;
}

static void again_due(struct qv_timer *timer)
{
    struct qv_node_write *w = timer->arg;
    const struct qv_topology *t = qv_node_topology(w->node);
    w->open = 1; /* this call */
    for (uint32_t i = 0; i < w->part_count; i++) {
        struct qv_write_part *part = &w->parts[i];
        if (!part->again)
            continue;
        struct qv_errmsg before = w->msg;
        int err = start_next(part, t);
        if (err == 0) {
            w->open++;
            continue;
        }
        struct qv_errmsg why = w->msg;
        w->msg = before;
        part->again = false;
        note_failure(w, err, place_of(part, 0), &why);
    }
    qv_topology_unref(t);
    for (uint32_t i = 0; i < w->part_count; i++) {
        if (w->parts[i].again)
            qv_node_write_submit(w->parts[i].next);
    }
    if (--w->open == 0)
        settle(w);
}

static void try_again(struct qv_node_write *w)
{
    w->again = (struct qv_timer){.run = again_due, .arg = w};
    qv_env_timer_start(w->node->env, &w->again, AGAIN_NS);
}

/* ---- elsewhere ---- */

static void end_leg(struct qv_write_part *part, const struct qv_peer_write_answer *a)
{
    struct qv_errmsg msg = {""};
    int err = a->err;
    if (err != 0)
        (void)qv_fail(&msg, err, "%.*s", (int)(a->text.n < 400 ? a->text.n : 400), a->text.p);
    else if (a->result_count != part->req.op_count)
        err = qv_fail(&msg, QV_EPROTO, "an answer to %u operations has %u results",
                      part->req.op_count, a->result_count);
    part_ended(part, err, a->failed_op < part->req.op_count ? a->failed_op : 0, &msg);
    if (err == 0)
        note_results(part, a->results);
}

static int read_answers(struct qv_write_message *m, struct qv_bytes body, struct qv_errmsg *msg)
{
    struct qv_node_write *w = m->whole;
    struct qv_peer_write_answer *answers =
        QV_ARENA_ARRAY(w->arena, struct qv_peer_write_answer, m->leg_count);
    if (answers == NULL)
        return QV_ENOMEM;
    int err = qv_peer_decode_write_answers(body, m->leg_count, w->arena, answers, msg);
    for (uint32_t i = 0; i < m->leg_count && err == 0; i++) {
        if (answers[i].err == QV_ESTALE)
            qv_membership_hint(w->node->cluster.membership, m->node, answers[i].epoch);
        end_leg(&w->parts[m->parts[i]], &answers[i]);
    }
    return err;
}

/* What the transport says of a message is said of each leg. A failure after the request may have
 * been given to its handler is an unknown outcome, whatever it is called. */
static void message_done(struct qv_peer_call *call, const struct qv_peer_answer *a)
{
    struct qv_write_message *m = call->arg;
    struct qv_node_write *w = m->whole;
    struct qv_errmsg msg = {""};
    int err = a->err;
    if (err == 0)
        err = read_answers(m, a->body, &msg);
    else
        (void)qv_fail(&msg, err, "node %016llx: %s", (unsigned long long)m->node,
                      a->text[0] != '\0' ? a->text : qv_err_text(err));
    if (err == QV_EBUSY || (err != 0 && !a->may_have_run && !a->remote))
        err = err == QV_EAUTH || err == QV_EFORBIDDEN || err == QV_EPROTO || err == QV_ETOOBIG
                  ? err
                  : QV_EUNAVAILABLE;
    else if (err != 0 && !a->remote)
        err = qv_fail(&msg, QV_EUNKNOWN, "node %016llx did not answer: outcome unknown",
                      (unsigned long long)m->node);
    for (uint32_t i = 0; i < m->leg_count && err != 0; i++)
        part_ended(&w->parts[m->parts[i]], err, 0, &msg);
    if (--w->open == 0)
        settle(w);
}

static struct qv_write_message *message_to(struct qv_node_write *w, uint64_t node)
{
    for (uint32_t i = 0; i < w->message_count; i++) {
        if (w->messages[i].node == node)
            return &w->messages[i];
    }
    struct qv_write_message *m = &w->messages[w->message_count];
    m->parts = QV_ARENA_ARRAY(w->arena, uint32_t, w->part_count);
    if (m->parts == NULL)
        return NULL;
    m->whole = w;
    m->node = node;
    qv_buf_init(&m->body, QV_PEER_BODY_BYTES_MAX);
    w->message_count++;
    return m;
}

static const struct qv_write_req *req_of(const struct qv_write_part *part)
{
    return part->ops != NULL ? &part->req : part->whole->req;
}

static int encode_message(struct qv_node_write *w, struct qv_write_message *m)
{
    struct qv_peer_write msg = {.leg_count = m->leg_count,
                                .wait = w->req->wait,
                                .ordering = w->req->ordering,
                                .timeout_ms = w->req->timeout_ms};
    struct qv_peer_write_leg *legs =
        QV_ARENA_ARRAY(w->arena, struct qv_peer_write_leg, m->leg_count);
    if (legs == NULL)
        return QV_ETOOBIG;
    for (uint32_t i = 0; i < m->leg_count; i++) {
        const struct qv_shard_place *s = &w->collection->shards[m->parts[i]];
        const struct qv_write_req *req = req_of(&w->parts[m->parts[i]]);
        legs[i] = (struct qv_peer_write_leg){.shard = s->number,
                                             .incarnation = s->incarnation,
                                             .epoch = s->epoch,
                                             .ops = req->ops,
                                             .op_count = req->op_count};
        memcpy(legs[i].collection, w->collection->uuid, sizeof legs[i].collection);
    }
    msg.legs = legs;
    qv_peer_encode_write(&m->body, &msg);
    return m->body.failed ? qv_fail(&w->msg, QV_ETOOBIG,
                                    "the request is too large for a message "
                                    "between nodes")
                          : 0;
}

static int encode_messages(struct qv_node_write *w)
{
    int err = 0;
    w->messages = QV_ARENA_ARRAY(w->arena, struct qv_write_message, w->part_count);
    if (w->messages == NULL)
        return QV_ETOOBIG;
    for (uint32_t i = 0; i < w->part_count; i++) {
        if (w->parts[i].req.op_count == 0 || w->parts[i].node == 0)
            continue;
        struct qv_write_message *m = message_to(w, w->parts[i].node);
        if (m == NULL)
            return QV_ETOOBIG;
        m->parts[m->leg_count++] = i;
    }
    for (uint32_t i = 0; i < w->message_count && err == 0; i++)
        err = encode_message(w, &w->messages[i]);
    return err;
}

static void send_messages(struct qv_task *task)
{
    struct qv_node_write *w = task->arg;
    const uint32_t count = w->message_count; /* done comes later, never from inside */
    for (uint32_t i = 0; i < count; i++) {
        struct qv_write_message *m = &w->messages[i];
        m->call = (struct qv_peer_call){.to = m->node,
                                        .method = QV_PEER_WRITE,
                                        .deadline_ns = w->deadline_ns,
                                        .body = {m->body.data, m->body.len},
                                        .done = message_done,
                                        .arg = m};
        qv_peer_send(w->node->cluster.peers, &m->call);
    }
}

/* ---- the whole ---- */

static int begin_parts(struct qv_node_write *w)
{
    const uint32_t n = w->collection->shard_count;
    w->parts = QV_ARENA_ARRAY(w->arena, struct qv_write_part, n);
    w->results = QV_ARENA_ARRAY(w->arena, struct qv_write_result, w->req->op_count);
    if (w->parts == NULL || w->results == NULL)
        return QV_ETOOBIG;
    w->part_count = n;
    for (uint32_t i = 0; i < w->req->op_count; i++)
        w->results[i].completed = true;
    for (uint32_t i = 0; i < n; i++) {
        struct qv_write_part *part = &w->parts[i];
        part->whole = w;
        part->req = *w->req;
        part->node = qv_node_writer_of(w->node, &w->collection->shards[i]);
        qv_arena_init(&part->own, PART_ARENA_BYTES);
        if (n == 1)
            return 0; /* it gets the request as it is */
        part->req.op_count = 0;
        part->req.ops = QV_ARENA_ARRAY(w->arena, struct qv_write_op, w->req->op_count);
        part->ops = QV_ARENA_ARRAY(w->arena, uint32_t, w->req->op_count);
        if (part->req.ops == NULL || part->ops == NULL)
            return QV_ETOOBIG;
    }
    return 0;
}

static int prepare_here(struct qv_node_write *w, uint32_t i)
{
    struct qv_write_part *part = &w->parts[i];
    struct qv_write *write = &part->write;
    int err = qv_node_shard_at(w->node, w->collection, i, &write->shard, &w->msg);
    if (err != 0 && qv_node_in_cluster(w->node)) { /* it is being made, or has just gone */
        part->again = true;
        return 0;
    }
    if (err != 0)
        return err;
    write->req = req_of(part);
    write->arena = w->part_count == 1 ? w->arena : &part->own;
    write->done = part_done;
    write->arg = part;
    err = qv_write_prepare(write);
    if (err != 0) {
        w->msg = write->msg;
        w->failed_op = place_of(part, write->failed_op);
    }
    return err;
}

/* One node alone that refuses its part is enough; of several, the others would do theirs. */
static int check_elsewhere(struct qv_node_write *w, uint32_t i)
{
    struct qv_write_part *part = &w->parts[i];
    uint32_t failed_op = 0;
    if (w->part_count == 1)
        return 0;
    int err = qv_write_check(w->collection->config, req_of(part), &part->own, &failed_op, &w->msg);
    if (err != 0)
        w->failed_op = place_of(part, failed_op);
    qv_arena_reset(&part->own);
    return err;
}

int qv_node_write_prepare(struct qv_node_write *w)
{
    QV_ASSERT(w->collection->shard_count > 0 && w->req->op_count > 0);
    int err = begin_parts(w);
    for (uint32_t i = 0; i < w->req->op_count && err == 0 && w->part_count > 1; i++)
        err = split_op(w, i);
    for (uint32_t i = 0; i < w->part_count && err == 0; i++) {
        if (w->parts[i].req.op_count > 0)
            err = w->parts[i].node == 0 ? prepare_here(w, i) : check_elsewhere(w, i);
    }
    if (err == 0)
        err = encode_messages(w);
    if (err != 0)
        close_parts(w);
    return err;
}

static void settle_task(struct qv_task *task)
{
    settle(task->arg);
}

void qv_node_write_submit(struct qv_node_write *w)
{
    /* Counted before the first is on its way: its end may come at once, on the owner. */
    uint32_t here = 0;
    for (uint32_t i = 0; i < w->part_count; i++)
        here += w->parts[i].write.shard != NULL;
    const bool elsewhere = w->message_count > 0;
    w->open = here + w->message_count;
    if (w->open == 0 || elsewhere) { /* before the last part's end may take w away */
        w->task = (struct qv_task){.run = elsewhere ? send_messages : settle_task, .arg = w};
        if (here == 0 || elsewhere)
            qv_env_post(w->node->env, &w->task);
    }
    for (uint32_t i = 0; here > 0; i++) {
        if (w->parts[i].write.shard != NULL) {
            here--;
            qv_write_submit(&w->parts[i].write);
        }
    }
}
