/* Changes: from whoever makes them to the controller, one transaction each.
 *
 *   QV_PEER_PROPOSE  request  u64 base, u64 name, u32 count, count x {u16 key bytes, u32 value
 *                             bytes (UINT32_MAX: the key goes), key, value}
 *                    answer   u64 epoch; errors: QV_ESTALE, QV_EUNAVAILABLE (not the controller,
 *                             or no metadata), QV_EUNKNOWN, ...
 *   QV_PEER_TREE     request  u64: answer only if you know a newer epoch
 *                    answer   the records (qv_mirror_encode), or nothing */
#include "cluster/membership_private.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#define RETRY_NS (100 * QV_NS_PER_MS)
#define KEY_GOES UINT32_MAX

enum proposal_state {
    WAITING,  /* for a controller, or its turn */
    SENT,     /* to the controller; or an order here */
    DONE_SEEN /* done at epoch; the tree is not there yet */
};

/* A peer's proposal, or one of this node, at the controller. */
struct qv_order {
    struct qv_order *next;
    struct qv_peer_request *request; /* NULL: of this node */
    struct qv_proposal *own;
    uint64_t base, name;
    uint32_t count;
    struct qv_mirror_entry *changes;
    char *keys;
};

/* ---- transactions ---- */

void qv_epoch_txn_fill(struct qv_membership *m, struct qv_epoch_txn *t, bool fenced)
{
    const uint32_t n = t->txn.change_count;
    QV_ASSERT(n + 2 <= QV_META_CHANGES_MAX);
    t->next = t->base + 1;
    const struct qv_bytes base = {(const uint8_t *)&t->base, sizeof t->base};
    t->compares[0] =
        t->base == 0
            ? (struct qv_meta_compare){.kind = QV_META_ABSENT, .key = QV_TREE_EPOCH}
            : (struct qv_meta_compare){.kind = QV_META_VALUE, .key = QV_TREE_EPOCH, .value = base};
    t->compares[1] = (struct qv_meta_compare){
        .kind = QV_META_MOD, .key = QV_TREE_CONTROLLER, .mod_revision = m->elected_revision};
    t->changes[n] = (struct qv_meta_change){.key = QV_TREE_EPOCH,
                                            .value = {(const uint8_t *)&t->next, sizeof t->next}};
    t->changes[n + 1] = (struct qv_meta_change){
        .key = QV_TREE_CHANGE, .value = {(const uint8_t *)&t->name, sizeof t->name}};
    t->txn.compares = t->compares;
    t->txn.compare_count = fenced ? 2 : 1;
    t->txn.changes = t->changes;
    t->txn.change_count = n + 2;
}

/* ---- orders, at the controller ---- */

static void order_free(struct qv_order *o)
{
    qv_mem_free(o->changes);
    qv_mem_free(o->keys);
    qv_mem_free(o);
}

static void own_ordered(struct qv_membership *m, struct qv_proposal *p, int err,
                        const struct qv_errmsg *msg);

static void order_end(struct qv_membership *m, struct qv_order *o, int err,
                      const struct qv_errmsg *msg)
{
    struct qv_buf body;
    uint64_t epoch = o->base + 1;
    if (o->request != NULL) {
        qv_buf_init(&body, 0);
        if (err == 0)
            qv_buf_u64(&body, epoch);
        qv_peer_answer(o->request, err, msg, &body);
        qv_buf_close(&body);
    } else if (o->own != NULL) {
        own_ordered(m, o->own, err, msg);
    }
    order_free(o);
}

static void work_done(struct qv_meta_txn *t, int err)
{
    struct qv_membership *m = t->arg;
    struct qv_order *o = m->orders;
    struct qv_errmsg msg = t->msg;
    QV_ASSERT(m->work.busy && o != NULL);
    m->work.busy = false;
    m->orders = o->next;
    /* What was lost may be there all the same: the asker will see its name, or ask again. */
    order_end(m, o, err, &msg);
    if (!m->closing)
        qv_membership_pump(m);
}

/* The first order's transaction; those behind it wait, and most are stale by then. */
static void work(struct qv_membership *m)
{
    struct qv_order *o = m->orders;
    if (o == NULL || m->work.busy)
        return;
    if (m->elected_revision == 0 || !qv_meta_lease_holds(m->meta, &m->lease)) {
        struct qv_errmsg msg = {""};
        m->orders = o->next;
        order_end(m, o, qv_fail(&msg, QV_EUNAVAILABLE, "not the controller any more"), &msg);
        work(m);
        return;
    }
    for (uint32_t i = 0; i < o->count; i++)
        m->work.changes[i] =
            (struct qv_meta_change){.key = o->changes[i].key, .value = o->changes[i].value};
    m->work.base = o->base;
    m->work.name = o->name;
    m->work.txn = (struct qv_meta_txn){.change_count = o->count, .done = work_done, .arg = m};
    m->work.busy = true;
    qv_epoch_txn_fill(m, &m->work, true);
    qv_meta_txn(m->meta, &m->work.txn);
}

static void order_add(struct qv_membership *m, struct qv_order *o)
{
    struct qv_order **at = &m->orders;
    while (*at != NULL)
        at = &(*at)->next;
    *at = o;
    work(m);
}

/* ---- a peer's proposal ---- */

static bool take_change(struct qv_rd *rd, char key[QV_META_KEY_BYTES_MAX + 1],
                        struct qv_mirror_entry *e)
{
    size_t n = qv_rd_u16(rd);
    uint32_t bytes = qv_rd_u32(rd);
    const uint8_t *text = qv_rd_take(rd, n);
    e->key = key;
    e->value = (struct qv_bytes){NULL, 0};
    if (bytes != KEY_GOES) {
        e->value.n = bytes;
        e->value.p = qv_rd_take(rd, bytes);
    }
    if (rd->failed || text == NULL || n == 0 || n > QV_META_KEY_BYTES_MAX ||
        memchr(text, 0, n) != NULL || e->value.n > QV_META_VALUE_BYTES_MAX)
        return false;
    memcpy(key, text, n);
    key[n] = '\0';
    return strcmp(key, QV_TREE_EPOCH) != 0 && strcmp(key, QV_TREE_CHANGE) != 0 &&
           strcmp(key, QV_TREE_CONTROLLER) != 0 && strcmp(key, QV_TREE_CLUSTER) != 0 &&
           strcmp(key, QV_TREE_WRITERS) != 0;
}

/* The values stay the request's. NULL: the bytes are no proposal. */
static struct qv_order *decode_order(struct qv_peer_request *r)
{
    struct qv_order *o = qv_mem_calloc(1, sizeof *o);
    struct qv_rd rd;
    qv_rd_init(&rd, r->body.p, r->body.n);
    o->request = r;
    o->base = qv_rd_u64(&rd);
    o->name = qv_rd_u64(&rd);
    o->count = qv_rd_u32(&rd);
    bool sound = !rd.failed && o->count > 0 && o->count <= QV_PROPOSAL_CHANGES_MAX;
    if (sound) {
        o->changes = qv_mem_calloc(o->count, sizeof *o->changes);
        o->keys = qv_mem_alloc(o->count * (size_t)(QV_META_KEY_BYTES_MAX + 1));
    }
    for (uint32_t i = 0; i < o->count && sound; i++)
        sound = take_change(&rd, o->keys + i * (size_t)(QV_META_KEY_BYTES_MAX + 1), &o->changes[i]);
    if (sound && qv_rd_left(&rd) == 0)
        return o;
    order_free(o);
    return NULL;
}

static void serve_propose(void *arg, struct qv_peer_request *r)
{
    struct qv_membership *m = arg;
    struct qv_errmsg msg = {""};
    if (m->elected_revision == 0) {
        qv_peer_answer(r, qv_fail(&msg, QV_EUNAVAILABLE, "this node is not the controller"), &msg,
                       NULL);
        return;
    }
    struct qv_order *o = decode_order(r);
    if (o == NULL)
        qv_peer_answer(r,
                       QV_CORRUPT(&msg, "a proposal of node %016llx", (unsigned long long)r->from),
                       &msg, NULL);
    else
        order_add(m, o);
}

static void serve_tree(void *arg, struct qv_peer_request *r)
{
    struct qv_membership *m = arg;
    struct qv_buf body;
    struct qv_rd rd;
    qv_rd_init(&rd, r->body.p, r->body.n);
    uint64_t known = qv_rd_u64(&rd);
    qv_buf_init(&body, QV_PEER_BODY_BYTES_MAX);
    if (!rd.failed && m->tree->epoch > known)
        qv_membership_copy(m, &body);
    qv_peer_answer(r, 0, NULL, &body);
    qv_buf_close(&body);
}

void qv_membership_serve(struct qv_membership *m)
{
    qv_peers_serve(m->peers, QV_PEER_PROPOSE, serve_propose, m);
    qv_peers_serve(m->peers, QV_PEER_TREE, serve_tree, m);
}

/* ---- this node's proposals ---- */

static void unlink_proposal(struct qv_membership *m, struct qv_proposal *p)
{
    if (p->prev != NULL)
        p->prev->next = p->next;
    else
        m->first = p->next;
    if (p->next != NULL)
        p->next->prev = p->prev;
    qv_buf_close(&p->body);
}

static void finish(struct qv_membership *m, struct qv_proposal *p, int err)
{
    unlink_proposal(m, p);
    p->done(p, err);
}

/* An attempt has ended. */
static void attempt_ended(struct qv_membership *m, struct qv_proposal *p, int err,
                          bool may_have_run, const char *text)
{
    p->state = WAITING;
    p->doubtful = p->doubtful || (err != 0 && may_have_run);
    if (err == 0) {
        p->epoch = p->base + 1;
        p->state = DONE_SEEN;
        if (m->tree->epoch >= p->epoch)
            finish(m, p, 0);
        return;
    }
    if (text[0] != '\0')
        (void)qv_fail(&p->msg, err, "%s", text);
    if (err == QV_ESTALE || err == QV_EUNAVAILABLE || err == QV_EUNKNOWN || err == QV_ETIMEOUT ||
        err == QV_EBUSY || err == QV_ECANCELED)
        return; /* the pump decides, by what is known then */
    finish(m, p, err);
}

static void own_ordered(struct qv_membership *m, struct qv_proposal *p, int err,
                        const struct qv_errmsg *msg)
{
    attempt_ended(m, p, err, err == QV_EUNKNOWN, msg != NULL ? msg->text : "");
}

static void answered(struct qv_peer_call *call, const struct qv_peer_answer *answer)
{
    struct qv_proposal *p = call->arg;
    struct qv_membership *m = p->m;
    bool doubt = answer->remote ? answer->err == QV_EUNKNOWN : answer->may_have_run;
    attempt_ended(m, p, answer->err, doubt, answer->text);
    if (m->closing)
        qv_membership_propose_stop(m);
    else if (!qv_env_timer_active(&m->retry)) /* another attempt waits for its time */
        qv_env_timer_start(m->env, &m->retry, RETRY_NS);
    qv_membership_maybe_closed(m);
}

static void encode(struct qv_proposal *p)
{
    qv_buf_init(&p->body, QV_PEER_BODY_BYTES_MAX);
    qv_buf_u64(&p->body, p->base);
    qv_buf_u64(&p->body, p->name);
    qv_buf_u32(&p->body, p->count);
    for (uint32_t i = 0; i < p->count; i++) {
        const struct qv_mirror_entry *e = &p->changes[i];
        qv_buf_u16(&p->body, (uint16_t)strlen(e->key));
        qv_buf_u32(&p->body, e->value.p != NULL ? (uint32_t)e->value.n : KEY_GOES);
        qv_buf_append(&p->body, e->key, strlen(e->key));
        if (e->value.p != NULL)
            qv_buf_append(&p->body, e->value.p, e->value.n);
    }
}

static void order_own(struct qv_membership *m, struct qv_proposal *p)
{
    struct qv_order *o = qv_mem_calloc(1, sizeof *o);
    o->own = p;
    o->base = p->base;
    o->name = p->name;
    o->count = p->count;
    o->changes = qv_mem_calloc(p->count, sizeof *o->changes);
    memcpy(o->changes, p->changes, p->count * sizeof *o->changes);
    order_add(m, o);
}

static void attempt(struct qv_membership *m, struct qv_proposal *p)
{
    uint64_t controller = qv_mirror_controller(m->mirror);
    if (m->elected_revision != 0) {
        p->state = SENT;
        order_own(m, p);
    } else if (controller != 0 && controller != m->self.id) {
        p->state = SENT;
        if (p->body.len == 0)
            encode(p);
        p->call = (struct qv_peer_call){.to = controller,
                                        .method = QV_PEER_PROPOSE,
                                        .deadline_ns = p->deadline_ns,
                                        .body = {p->body.data, p->body.len},
                                        .done = answered,
                                        .arg = p};
        qv_peer_send(m->peers, &p->call);
    }
}

/* What is known of a proposal that waits: 0 to go on, or its end. */
static int judge(const struct qv_membership *m, const struct qv_proposal *p)
{
    if (p->state == SENT)
        return 0;
    if (qv_env_mono_ns(m->env) >= p->deadline_ns)
        return p->state == DONE_SEEN || p->doubtful ? QV_EUNKNOWN : QV_ETIMEOUT;
    if (m->tree->epoch == p->base || p->state == DONE_SEEN)
        return 0;
    if (!p->doubtful)
        return QV_ESTALE;
    return m->gaps != p->gaps ? QV_EUNKNOWN : QV_ESTALE; /* its name would have been seen */
}

static bool settle(struct qv_membership *m, struct qv_proposal *p)
{
    if (p->state == DONE_SEEN && m->tree->epoch >= p->epoch) {
        finish(m, p, 0);
        return true;
    }
    if (p->state == WAITING && m->tree->epoch > p->base && qv_membership_saw(m, p->name)) {
        p->epoch = m->tree->epoch;
        finish(m, p, 0);
        return true;
    }
    int err = judge(m, p);
    if (err == 0)
        return false;
    if (err == QV_ETIMEOUT && p->msg.text[0] == '\0')
        (void)qv_fail(&p->msg, err, "%s",
                      m->meta->reachable ? "no controller answered in time"
                                         : "the cluster's metadata can't be reached");
    if (err == QV_EUNKNOWN)
        (void)qv_fail(&p->msg, err, "the change may have been made: outcome unknown");
    finish(m, p, err);
    return true;
}

static void retry_due(struct qv_timer *timer)
{
    qv_membership_pump(timer->arg);
}

void qv_membership_pump(struct qv_membership *m)
{
    work(m);
    for (struct qv_proposal *p = m->first; p != NULL;) {
        struct qv_proposal *next = p->next;
        if (!settle(m, p) && p->state == WAITING && m->tree->epoch == p->base)
            attempt(m, p);
        p = next;
    }
    if (m->first != NULL && !m->closing)
        qv_env_timer_start(m->env, &m->retry, RETRY_NS);
}

void qv_membership_propose(struct qv_membership *m, struct qv_proposal *p)
{
    QV_ASSERT(p->count > 0 && p->count <= QV_PROPOSAL_CHANGES_MAX && !m->closing);
    if (m->retry.run == NULL)
        m->retry = (struct qv_timer){.run = retry_due, .arg = m};
    p->m = m;
    p->name = qv_env_random_u64(m->env) | 1;
    p->state = WAITING;
    p->doubtful = false;
    p->gaps = m->gaps;
    p->msg.text[0] = '\0';
    qv_buf_init(&p->body, 0);
    p->prev = NULL;
    p->next = m->first;
    if (m->first != NULL)
        m->first->prev = p;
    m->first = p;
    qv_env_timer_start(m->env, &m->retry, 0); /* never from inside this call */
}

void qv_membership_drop_orders(struct qv_membership *m)
{
    while (m->orders != NULL) {
        struct qv_order *o = m->orders;
        m->orders = o->next;
        order_free(o);
    }
}

/* Ends what can end now; what is on its way to a peer ends when its call has. */
void qv_membership_propose_stop(struct qv_membership *m)
{
    qv_env_timer_stop(m->env, &m->retry);
    qv_peer_cancel(m->peers, &m->ask);
    qv_peers_serve(m->peers, QV_PEER_PROPOSE, NULL, NULL);
    qv_peers_serve(m->peers, QV_PEER_TREE, NULL, NULL);
    while (m->orders != NULL && !m->work.busy) {
        struct qv_order *o = m->orders;
        m->orders = o->next;
        order_end(m, o, QV_ECANCELED, NULL);
    }
    for (struct qv_proposal *p = m->first; p != NULL;) {
        struct qv_proposal *next = p->next;
        if (p->state == SENT)
            qv_peer_cancel(m->peers, &p->call);
        else
            finish(m, p, QV_ECANCELED);
        p = next;
    }
}
