#include "node/node_move.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "cluster/methods.h"
#include "cluster/rebalance.h"
#include "node/node_private.h"

#include <stdio.h>
#include <string.h>

#define TICK_NS (200 * QV_NS_PER_MS)
#define ASK_NS (2 * QV_NS_PER_S)
#define TARGET_AWAY_NS (3 * QV_NS_PER_S)
#define STUCK_NS (20 * QV_NS_PER_S)

enum waits_for { IDLE, ASKING_TARGET, CONFIRMING, ASKING_SOURCE, PROPOSING };

/* One slot on its way; made from the tree, forgotten with it. */
struct qv_node_moving {
    struct qv_node_moving *next;
    struct qv_node *n;
    uint8_t uuid[QV_UUID_BYTES];
    uint32_t shard, slot;
    struct qv_slot_place place; /* as in the tree */
    uint64_t epoch;             /* of that record */
    bool gone;                  /* not in the tree any more: freed when nothing is under way */
    enum waits_for waits;
    bool confirmed;         /* the old holder knows this step */
    uint64_t wanted;        /* BOTH: the old holder's position after it confirmed; 0: not asked */
    uint64_t away_since_ns; /* the target's; 0: it answers */
    uint64_t progress_ns;   /* when it was last further than before */
    struct qv_transfer_progress progress;
    char why[256];
    struct qv_peer_call call;
    uint8_t body[QV_UUID_BYTES + 16];
    struct qv_node_confirm confirm;
    struct qv_proposal proposal;
    struct qv_mirror_entry entry;
    char key[QV_TREE_KEY_BYTES];
    uint8_t value[QV_SHARD_SLOTS_MAX * 32 + 64];
};

static void advance(struct qv_node_moving *m);
static void maybe_closed(struct qv_node *n);

static bool elected(const struct qv_node *n)
{
    struct qv_membership_status s;
    if (n->cluster.membership == NULL)
        return false;
    qv_membership_status(n->cluster.membership, &s);
    return s.elected;
}

/* ---- the record's next step ---- */

static void proposed(struct qv_proposal *p, int err)
{
    struct qv_node_moving *m = p->arg;
    m->waits = IDLE;
    if (err != 0 && err != QV_ESTALE)
        (void)snprintf(m->why, sizeof m->why, "%.255s", p->msg.text);
    maybe_closed(m->n);
}

static void propose(struct qv_node_moving *m, struct qv_slot_place place)
{
    struct qv_node *n = m->n;
    const struct qv_topology *t = qv_membership_tree(n->cluster.membership);
    const struct qv_collection *c = qv_topology_by_uuid(t, m->uuid);
    const struct qv_shard_place *s = c != NULL ? qv_collection_shard(c, m->shard) : NULL;
    struct qv_buf b;
    if (s == NULL || s->epoch != m->epoch)
        return; /* the tree says so soon */
    struct qv_shard_place next = *s;
    next.slots[m->slot] = place;
    next.epoch = t->epoch + 1;
    qv_buf_init(&b, sizeof m->value);
    qv_tree_encode_shard(&b, &next);
    QV_ASSERT(!b.failed);
    memcpy(m->value, b.data, b.len);
    qv_tree_shard_key(m->uuid, m->shard, m->key);
    m->entry = (struct qv_mirror_entry){m->key, {m->value, b.len}};
    qv_buf_close(&b);
    m->proposal = (struct qv_proposal){.base = t->epoch,
                                       .changes = &m->entry,
                                       .count = 1,
                                       .deadline_ns = qv_env_mono_ns(n->env) + 5 * QV_NS_PER_S,
                                       .done = proposed,
                                       .arg = m};
    m->waits = PROPOSING;
    qv_membership_propose(n->cluster.membership, &m->proposal);
}

static void step_to(struct qv_node_moving *m, enum qv_step step)
{
    struct qv_slot_place place = m->place;
    place.step = (uint8_t)step;
    if (step == QV_STEP_NONE)
        place = (struct qv_slot_place){.holder = m->place.next};
    propose(m, place);
}

static void give_up(struct qv_node_moving *m, const char *why)
{
    QV_WARN("cluster", "shard %u does not move to node %016llx: %s", m->shard,
            (unsigned long long)m->place.next, why);
    propose(m, (struct qv_slot_place){.holder = m->place.holder});
}

/* ---- questions ---- */

static void confirmed(struct qv_node_confirm *c, int err)
{
    struct qv_node_moving *m = c->arg;
    m->waits = IDLE;
    m->confirmed = err == 0;
    if (err != 0)
        (void)snprintf(m->why, sizeof m->why, "%.255s", c->msg.text);
    advance(m);
}

static void confirm_old(struct qv_node_moving *m)
{
    m->confirm = (struct qv_node_confirm){.node = m->n,
                                          .epoch = m->epoch,
                                          .ids = &m->place.holder,
                                          .count = 1,
                                          .deadline_ns = qv_env_mono_ns(m->n->env) + ASK_NS,
                                          .done = confirmed,
                                          .arg = m};
    m->waits = CONFIRMING;
    qv_node_confirm_start(&m->confirm);
}

static int read_state(struct qv_bytes body, struct qv_move_state *out)
{
    struct qv_rd rd;
    memset(out, 0, sizeof *out);
    qv_rd_init(&rd, body.p, body.n);
    out->position = qv_rd_u64(&rd);
    out->progress.stage = (enum qv_transfer_stage)qv_rd_u8(&rd);
    out->progress.bytes_done = qv_rd_u64(&rd);
    out->progress.bytes_total = qv_rd_u64(&rd);
    out->progress.bytes_per_s = qv_rd_u64(&rd);
    out->progress.eta_ms = qv_rd_u64(&rd);
    size_t n = qv_rd_u16(&rd);
    const uint8_t *why = qv_rd_take(&rd, n);
    if (rd.failed || out->progress.stage >= QV_TRANSFER_STAGE_COUNT ||
        n >= sizeof out->progress.why)
        return QV_EPROTO;
    memcpy(out->progress.why, why, n);
    return 0;
}

static void state_came(struct qv_peer_call *call, const struct qv_peer_answer *a)
{
    struct qv_node_moving *m = call->arg;
    struct qv_move_state state;
    const bool target = m->waits == ASKING_TARGET;
    int err = a->err != 0 ? a->err : read_state(a->body, &state);
    m->waits = IDLE;
    if (err != 0) {
        (void)snprintf(m->why, sizeof m->why, "%s: %.200s", target ? "target" : "source",
                       a->text[0] != '\0' ? a->text : qv_err_text(err));
        if (target && m->away_since_ns == 0)
            m->away_since_ns = qv_env_mono_ns(m->n->env);
    } else if (target) {
        m->away_since_ns = 0;
        if (m->progress_ns == 0 || state.progress.stage != m->progress.stage ||
            state.progress.bytes_done != m->progress.bytes_done ||
            state.position != m->progress.position)
            m->progress_ns = qv_env_mono_ns(m->n->env);
        m->progress = state.progress;
        m->progress.position = state.position;
    } else {
        m->wanted = state.position;
    }
    advance(m);
}

static void ask(struct qv_node_moving *m, bool target)
{
    memcpy(m->body, m->uuid, QV_UUID_BYTES);
    memcpy(m->body + QV_UUID_BYTES, &m->shard, sizeof m->shard);
    uint32_t side = target;
    memcpy(m->body + QV_UUID_BYTES + 4, &side, sizeof side);
    memcpy(m->body + QV_UUID_BYTES + 8, &m->place.transfer, sizeof m->place.transfer);
    m->call = (struct qv_peer_call){.to = target ? m->place.next : m->place.holder,
                                    .method = QV_PEER_MOVE,
                                    .deadline_ns = qv_env_mono_ns(m->n->env) + ASK_NS,
                                    .body = {m->body, sizeof m->body},
                                    .done = state_came,
                                    .arg = m};
    m->waits = target ? ASKING_TARGET : ASKING_SOURCE;
    qv_peer_send(m->n->cluster.peers, &m->call);
}

/* ---- what each step waits for ---- */

static bool target_has_left(const struct qv_node_moving *m)
{
    return m->away_since_ns != 0 && qv_env_mono_ns(m->n->env) - m->away_since_ns >= TARGET_AWAY_NS;
}

/* It does not get on: the log was not kept where it stood, say, or it does not answer. What it has
 * is given up, and the move may be asked for again. */
static bool is_stuck(const struct qv_node_moving *m)
{
    return qv_env_mono_ns(m->n->env) - m->progress_ns >= STUCK_NS;
}

static void at_follow(struct qv_node_moving *m)
{
    if (m->progress.stage == QV_TRANSFER_FAILED)
        give_up(m, m->progress.why);
    else if (m->progress.stage == QV_TRANSFER_FOLLOWING && m->progress.position != 0)
        step_to(m, QV_STEP_BOTH);
    else if (is_stuck(m))
        give_up(m, m->progress.why[0] != '\0' ? m->progress.why : "it does not get on");
}

static void at_both(struct qv_node_moving *m)
{
    if (m->progress.stage == QV_TRANSFER_FAILED)
        give_up(m, m->progress.why);
    else if (target_has_left(m))
        give_up(m, "it has been away for 3 s");
    else if (!m->confirmed)
        confirm_old(m);
    else if (m->wanted == 0)
        ask(m, false);
    else if (m->progress.position >= m->wanted)
        step_to(m, QV_STEP_NEW_READS);
}

static void at_new_reads(struct qv_node_moving *m)
{
    if (!m->confirmed)
        confirm_old(m);
    else
        step_to(m, QV_STEP_NONE);
}

/* Does what is next, unless something is under way. */
static void advance(struct qv_node_moving *m)
{
    if (m->n->cluster.moves_closed != NULL) {
        maybe_closed(m->n);
        return;
    }
    if (m->waits != IDLE || m->gone || !elected(m->n))
        return;
    switch (m->place.step) {
    case QV_STEP_FOLLOW:
        at_follow(m);
        break;
    case QV_STEP_BOTH:
        at_both(m);
        break;
    case QV_STEP_NEW_READS:
        at_new_reads(m);
        break;
    default:
        break;
    }
}

/* ---- the list follows the tree ---- */

static struct qv_node_moving *find(struct qv_node *n, const uint8_t uuid[QV_UUID_BYTES],
                                   uint32_t shard, uint32_t slot)
{
    for (struct qv_node_moving *m = n->cluster.moving; m != NULL; m = m->next) {
        if (!m->gone && m->shard == shard && m->slot == slot &&
            memcmp(m->uuid, uuid, QV_UUID_BYTES) == 0)
            return m;
    }
    return NULL;
}

static void see_slot(struct qv_node *n, const struct qv_collection *c,
                     const struct qv_shard_place *s, uint32_t slot)
{
    const struct qv_slot_place *p = &s->slots[slot];
    struct qv_node_moving *m = find(n, c->uuid, s->number, slot);
    if (m != NULL && m->place.transfer != p->transfer) {
        m->gone = true;
        m = NULL;
    }
    if (m == NULL) {
        m = qv_mem_calloc(1, sizeof *m);
        m->n = n;
        memcpy(m->uuid, c->uuid, QV_UUID_BYTES);
        m->shard = s->number;
        m->slot = slot;
        m->progress_ns = qv_env_mono_ns(n->env);
        m->next = n->cluster.moving;
        n->cluster.moving = m;
    }
    if (m->epoch != s->epoch) { /* another step: what was asked for the last one is void */
        m->confirmed = false;
        m->wanted = 0;
    }
    m->place = *p;
    m->epoch = s->epoch;
}

static bool is_moving(const struct qv_topology *t, const struct qv_node_moving *m)
{
    const struct qv_collection *c = qv_topology_by_uuid(t, m->uuid);
    const struct qv_shard_place *s = c != NULL ? qv_collection_shard(c, m->shard) : NULL;
    return s != NULL && m->slot < s->slot_count && s->slots[m->slot].step != QV_STEP_NONE &&
           s->slots[m->slot].transfer == m->place.transfer;
}

static void forget_gone(struct qv_node *n, const struct qv_topology *t)
{
    for (struct qv_node_moving **at = &n->cluster.moving; *at != NULL;) {
        struct qv_node_moving *m = *at;
        m->gone = m->gone || !is_moving(t, m);
        if (m->gone && m->waits == IDLE) {
            *at = m->next;
            qv_mem_free(m);
        } else {
            at = &m->next;
        }
    }
}

/* ---- what moves next ---- */

static void begun(struct qv_node_change *x, int err)
{
    struct qv_node *n = x->arg;
    if (err != 0)
        QV_DEBUG("cluster", "a move could not begin: %s", x->msg.text);
    n->cluster.balancing = false;
    qv_mem_free(x);
    maybe_closed(n);
}

static void balance(struct qv_node *n, const struct qv_topology *t)
{
    struct qv_rebalance_move next;
    if (n->cluster.balancing || !qv_rebalance_next(t, n->cluster.rebalance, &next))
        return;
    struct qv_node_change *x = qv_mem_calloc(1, sizeof *x);
    *x = (struct qv_node_change){.node = n,
                                 .kind = QV_NODE_MOVE,
                                 .deadline_ns = qv_env_mono_ns(n->env) + 5 * QV_NS_PER_S,
                                 .done = begun,
                                 .arg = n};
    memcpy(x->uuid, next.uuid, sizeof x->uuid);
    x->move = (struct qv_node_move_to){.shard = next.shard, .from = next.from, .to = next.to};
    n->cluster.balancing = true;
    qv_node_change_start(x);
}

static void tick(struct qv_timer *timer)
{
    struct qv_node *n = timer->arg;
    const struct qv_topology *t = n->topology;
    qv_env_timer_start(n->env, timer, TICK_NS);
    forget_gone(n, t);
    if (!elected(n))
        return;
    for (struct qv_node_moving *m = n->cluster.moving; m != NULL; m = m->next) {
        if (!m->gone && m->waits == IDLE && m->place.step != QV_STEP_NEW_READS)
            ask(m, true); /* how far it is; the answer advances */
        else
            advance(m);
    }
    balance(n, t);
}

void qv_node_move_changed(struct qv_node *n)
{
    const struct qv_topology *t = n->topology;
    for (uint32_t i = 0; i < t->count; i++) {
        const struct qv_collection *c = t->collections[i];
        for (uint32_t k = 0; k < c->shard_count; k++) {
            for (uint32_t j = 0; j < c->shards[k].slot_count; j++) {
                if (c->shards[k].slots[j].step != QV_STEP_NONE)
                    see_slot(n, c, &c->shards[k], j);
            }
        }
    }
    forget_gone(n, t);
}

void qv_node_move_open(struct qv_node *n)
{
    n->cluster.move_timer = (struct qv_timer){.run = tick, .arg = n};
    qv_env_timer_start(n->env, &n->cluster.move_timer, TICK_NS);
}

/* Whatever is under way ends within its deadline. */
static void maybe_closed(struct qv_node *n)
{
    void (*closed)(struct qv_node * n) = n->cluster.moves_closed;
    if (closed == NULL || n->cluster.balancing)
        return;
    for (struct qv_node_moving *m = n->cluster.moving; m != NULL; m = m->next) {
        if (m->waits != IDLE)
            return;
    }
    n->cluster.moves_closed = NULL;
    qv_node_move_forget(n);
    closed(n);
}

void qv_node_move_close(struct qv_node *n, void (*closed)(struct qv_node *n))
{
    qv_env_timer_stop(n->env, &n->cluster.move_timer);
    n->cluster.moves_closed = closed;
    for (struct qv_node_moving *m = n->cluster.moving; m != NULL; m = m->next) {
        if (m->waits == ASKING_TARGET || m->waits == ASKING_SOURCE)
            qv_peer_cancel(n->cluster.peers, &m->call);
    }
    maybe_closed(n);
}

void qv_node_move_forget(struct qv_node *n)
{
    while (n->cluster.moving != NULL) {
        struct qv_node_moving *m = n->cluster.moving;
        n->cluster.moving = m->next;
        qv_mem_free(m);
    }
}

void qv_node_moves(struct qv_node *n, struct qv_move_status *out, uint32_t *count)
{
    uint32_t room = *count;
    *count = 0;
    for (struct qv_node_moving *m = n->cluster.moving; m != NULL; m = m->next) {
        if (m->gone)
            continue;
        if (*count < room) {
            struct qv_move_status *s = &out[*count];
            *s = (struct qv_move_status){.shard = m->shard,
                                         .transfer = m->place.transfer,
                                         .from = m->place.holder,
                                         .to = m->place.next,
                                         .step = m->place.step,
                                         .bytes_done = m->progress.bytes_done,
                                         .bytes_total = m->progress.bytes_total,
                                         .bytes_per_s = m->progress.bytes_per_s,
                                         .eta_ms = m->progress.eta_ms};
            memcpy(s->uuid, m->uuid, sizeof s->uuid);
            if (m->why[0] != '\0')
                memcpy(s->why, m->why, sizeof s->why);
            else
                (void)snprintf(s->why, sizeof s->why, "%s %.200s",
                               qv_transfer_stage_name(m->progress.stage), m->progress.why);
        }
        (*count)++;
    }
}
