/* Making itself known, and the election of the controller.
 *
 * The controller is who wrote the record "controller" under a lease of its own; every transaction
 * it makes compares the revision of that write, so that one who does not know yet that he lost the
 * lease changes nothing. A proxy's record goes with its lease, too: it has nothing to come back
 * for. */
#include "cluster/membership_private.h"

#include "base/logger.h"
#include "base/qv_assert.h"

#define REST_NS (200 * QV_NS_PER_MS)

static void elect_later(struct qv_membership *m, uint64_t delay_ns)
{
    if (!m->closing && !qv_env_timer_active(&m->election))
        qv_env_timer_start(m->env, &m->election, delay_ns + qv_env_random_u64(m->env) % REST_NS);
}

/* ---- its own record ---- */

static bool is_known(const struct qv_membership *m)
{
    const struct qv_member *at = qv_topology_member(m->tree, m->self.id);
    return at != NULL && at->incarnation == m->self.incarnation;
}

static void own_done(struct qv_meta_txn *t, int err)
{
    struct qv_membership *m = t->arg;
    m->own.busy = false;
    if (err != 0 && err != QV_ESTALE && err != QV_EUNKNOWN && err != QV_EUNAVAILABLE && !m->closing)
        QV_WARN("cluster", "this node can't make itself known: %s", t->msg.text);
    if (err != 0)
        elect_later(m, REST_NS); /* the watch brings what was newer, or it is tried again */
}

/* Its state (draining) is the cluster's word, not its own. */
static void make_known(struct qv_membership *m)
{
    const struct qv_member *at = qv_topology_member(m->tree, m->self.id);
    struct qv_member self = m->self;
    char key[QV_TREE_KEY_BYTES];
    struct qv_buf b;
    if (m->own.busy || (m->self.role == QV_ROLE_PROXY && !m->lease_held))
        return;
    if (at != NULL)
        self.state = at->state;
    qv_tree_member_key(self.id, key);
    qv_buf_init(&b, 0);
    qv_tree_encode_member(&b, &self);
    QV_ASSERT(b.len <= sizeof m->own_value && sizeof key == sizeof m->own_key);
    memcpy(m->own_value, b.data, b.len);
    memcpy(m->own_key, key, sizeof key);
    m->own.changes[0] = (struct qv_meta_change){
        .key = m->own_key,
        .value = {m->own_value, b.len},
        .lease = self.role == QV_ROLE_PROXY ? m->lease.id : 0,
    };
    qv_buf_close(&b);
    m->own.base = qv_mirror_epoch(m->mirror);
    m->own.name = qv_env_random_u64(m->env);
    m->own.txn = (struct qv_meta_txn){.change_count = 1, .done = own_done, .arg = m};
    m->own.busy = true;
    qv_epoch_txn_fill(m, &m->own, false);
    qv_meta_txn(m->meta, &m->own.txn);
}

/* ---- lease ---- */

static void lease_granted(struct qv_meta_lease *l, int err)
{
    struct qv_membership *m = l->arg;
    m->lease_busy = false;
    m->lease_held = err == 0;
    if (err == 0)
        qv_membership_elect(m);
    else
        elect_later(m, REST_NS);
}

static void lease_lost(struct qv_meta_lease *l, int err)
{
    struct qv_membership *m = l->arg;
    m->lease_held = false;
    if (m->elected_revision != 0)
        QV_INFO("cluster", "not the controller any more: %s", err != 0 ? l->msg.text : "resigned");
    m->elected_revision = 0;
    elect_later(m, REST_NS);
    qv_membership_pump(m);
}

static void ask_lease(struct qv_membership *m)
{
    m->lease = (struct qv_meta_lease){
        .ttl_ms = QV_CONTROLLER_LEASE_MS, .granted = lease_granted, .lost = lease_lost, .arg = m};
    m->lease_busy = true;
    qv_meta_lease_grant(m->meta, &m->lease);
}

/* ---- election ---- */

static void campaign_done(struct qv_meta_txn *t, int err)
{
    struct qv_membership *m = t->arg;
    m->campaigning = false;
    if (err == 0 && m->lease_held) {
        m->elected_revision = t->revision;
        QV_INFO("cluster", "elected as the controller");
        qv_membership_pump(m);
    } else if (err != QV_ESTALE) {
        elect_later(m, REST_NS);
    }
}

static void campaign(struct qv_membership *m)
{
    const struct qv_bytes self = {(const uint8_t *)&m->self.id, sizeof m->self.id};
    /* Its own name there: of an attempt whose answer was lost, or of its last life. */
    m->campaign_compare =
        qv_mirror_controller(m->mirror) == m->self.id
            ? (struct qv_meta_compare){.kind = QV_META_VALUE,
                                       .key = QV_TREE_CONTROLLER,
                                       .value = self}
            : (struct qv_meta_compare){.kind = QV_META_ABSENT, .key = QV_TREE_CONTROLLER};
    m->campaign_change = (struct qv_meta_change){
        .key = QV_TREE_CONTROLLER,
        .value = self,
        .lease = m->lease.id,
    };
    m->campaign = (struct qv_meta_txn){.compares = &m->campaign_compare,
                                       .compare_count = 1,
                                       .changes = &m->campaign_change,
                                       .change_count = 1,
                                       .done = campaign_done,
                                       .arg = m};
    m->campaigning = true;
    qv_meta_txn(m->meta, &m->campaign);
}

static void election_due(struct qv_timer *timer)
{
    qv_membership_elect(timer->arg);
}

void qv_membership_elect(struct qv_membership *m)
{
    if (m->election.run == NULL)
        m->election = (struct qv_timer){.run = election_due, .arg = m};
    if (m->closing || !m->listed || m->refused_epoch != 0)
        return;
    bool known = is_known(m);
    if (known != m->registered) {
        m->registered = known;
        m->changed(m->arg);
    }
    if (!known)
        make_known(m);
    if (!m->lease_held && !m->lease_busy && m->lease.call.meta == NULL)
        ask_lease(m);
    if (m->lease_held && m->elected_revision == 0 && !m->campaigning && m->registered &&
        (qv_mirror_get(m->mirror, QV_TREE_CONTROLLER).p == NULL ||
         qv_mirror_controller(m->mirror) == m->self.id))
        campaign(m);
}

void qv_membership_elect_stop(struct qv_membership *m)
{
    qv_env_timer_stop(m->env, &m->election);
    if (m->lease_held && m->elected_revision != 0)
        qv_meta_lease_revoke(m->meta, &m->lease); /* the next one need not wait for its end */
}
