/* Following the metadata: list, watch, fold, show. */
#include "cluster/membership_private.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdio.h>

#define AGAIN_NS_MIN (100 * QV_NS_PER_MS)
#define AGAIN_NS_MAX (2 * QV_NS_PER_S)
#define HINT_TIMEOUT_NS (2 * QV_NS_PER_S)

static void list_again(struct qv_membership *m, uint64_t delay_ns);

/* ---- trees ---- */

void qv_membership_show(struct qv_membership *m, struct qv_mirror *mirror)
{
    const struct qv_topology *next;
    uint64_t epoch = qv_mirror_epoch(mirror);
    if (epoch >= m->tree->epoch && mirror == m->mirror)
        m->refused_epoch = 0;
    bool newer = epoch > m->tree->epoch;
    if (!newer && (mirror != m->mirror || epoch != m->tree->epoch || !qv_mirror_is_dirty(mirror)))
        return;
    m->broken.text[0] = '\0';
    int err = qv_mirror_tree(mirror, m->tree, &next, &m->broken);
    if (err != 0) {
        QV_ERROR("cluster", "%s", m->broken.text[0] != '\0' ? m->broken.text : qv_err_text(err));
        return;
    }
    qv_topology_unref(m->tree);
    m->tree = next;
    m->changed(m->arg);
}

bool qv_membership_saw(const struct qv_membership *m, uint64_t name)
{
    for (uint32_t i = 0; i < QV_CHANGES_SEEN; i++) {
        if (m->seen[i] == name)
            return true;
    }
    return false;
}

static void note_change(struct qv_membership *m, struct qv_bytes value)
{
    uint64_t name = 0;
    if (value.n == sizeof name)
        memcpy(&name, value.p, sizeof name);
    m->seen[m->seen_at++ % QV_CHANGES_SEEN] = name;
}

/* After every fold: what waits for it. */
static void folded(struct qv_membership *m)
{
    qv_membership_show(m, m->mirror);
    if (m->closing)
        return;
    qv_membership_elect(m);
    qv_membership_pump(m);
}

/* ---- watch ---- */

static void watch_events(struct qv_meta_watch *w, const struct qv_meta_entry *events,
                         uint32_t count, uint64_t revision)
{
    struct qv_membership *m = w->arg;
    (void)revision;
    for (uint32_t i = 0; i < count; i++) {
        const struct qv_mirror_entry e = {events[i].key, events[i].value};
        qv_mirror_put(m->mirror, &e);
        if (strcmp(e.key, QV_TREE_CHANGE) == 0)
            note_change(m, e.value);
    }
    if (count > 0)
        folded(m);
}

static void watch_ended(struct qv_meta_watch *w, int err)
{
    struct qv_membership *m = w->arg;
    m->watching = false;
    if (!m->closing)
        list_again(m, err == QV_ESTALE && !m->meta->replaced ? 0 : AGAIN_NS_MAX);
}

/* ---- list ---- */

static void fold_listing(struct qv_membership *m, const struct qv_meta_listing *l)
{
    struct qv_mirror_entry *list = qv_mem_calloc(l->count + 1u, sizeof *list);
    for (uint32_t i = 0; i < l->count; i++)
        list[i] = (struct qv_mirror_entry){l->entries[i].key, l->entries[i].value};
    qv_mirror_replace(m->mirror, list, l->count);
    qv_mem_free(list);
    note_change(m, qv_mirror_get(m->mirror, QV_TREE_CHANGE));
    m->gaps++;
    /* A list is what the store holds now: nothing older than what was shown may be there. */
    if (qv_mirror_epoch(m->mirror) < m->tree->epoch)
        m->refused_epoch = qv_mirror_epoch(m->mirror) + 1;
}

static void list_done(struct qv_meta_listing *l, int err)
{
    struct qv_membership *m = l->arg;
    m->listing_busy = false;
    if (m->closing)
        return;
    if (err != 0) {
        uint64_t delay = AGAIN_NS_MIN << (m->failures < 5 ? m->failures : 5);
        m->failures++;
        list_again(m, delay < AGAIN_NS_MAX ? delay : AGAIN_NS_MAX);
        return;
    }
    m->failures = 0;
    m->listed = true;
    fold_listing(m, l);
    m->watch = (struct qv_meta_watch){.prefix = "",
                                      .from = l->revision + 1,
                                      .events = watch_events,
                                      .ended = watch_ended,
                                      .arg = m};
    m->watching = true;
    qv_meta_watch_start(m->meta, &m->watch);
    folded(m);
}

static void list_now(struct qv_timer *timer)
{
    struct qv_membership *m = timer->arg;
    if (m->listing_busy || m->watching)
        return;
    m->listing = (struct qv_meta_listing){.prefix = "", .done = list_done, .arg = m};
    m->listing_busy = true;
    qv_meta_list(m->meta, &m->listing);
}

static void list_again(struct qv_membership *m, uint64_t delay_ns)
{
    uint64_t jitter = delay_ns != 0 ? qv_env_random_u64(m->env) % (delay_ns / 4 + 1) : 0;
    qv_env_timer_start(m->env, &m->again, delay_ns + jitter);
}

/* ---- trees of peers ---- */

static void tree_came(struct qv_peer_call *call, const struct qv_peer_answer *answer)
{
    struct qv_membership *m = call->arg;
    struct qv_errmsg msg = {""};
    if (m->closing) {
        qv_membership_maybe_closed(m);
        return;
    }
    if (answer->err != 0 || answer->body.n == 0)
        return;
    if (m->adopted == NULL)
        m->adopted = qv_mirror_create();
    if (qv_mirror_decode(m->adopted, answer->body, &msg) != 0) {
        QV_WARN("cluster", "node %016llx: %s", (unsigned long long)call->to, msg.text);
        return;
    }
    qv_membership_show(m, m->adopted);
    if (!m->closing)
        qv_membership_pump(m);
}

void qv_membership_hint(struct qv_membership *m, uint64_t peer, uint64_t epoch)
{
    if (epoch <= m->tree->epoch || m->ask.impl != NULL || m->closing)
        return;
    m->ask_epoch = m->tree->epoch;
    memcpy(m->ask_body, &m->ask_epoch, sizeof m->ask_body);
    m->ask = (struct qv_peer_call){.to = peer,
                                   .method = QV_PEER_TREE,
                                   .deadline_ns = qv_env_mono_ns(m->env) + HINT_TIMEOUT_NS,
                                   .body = {m->ask_body, sizeof m->ask_body},
                                   .done = tree_came,
                                   .arg = m};
    qv_peer_send(m->peers, &m->ask);
}

/* ---- the whole ---- */

int qv_membership_open(const struct qv_membership_config *config, struct qv_membership **out,
                       struct qv_errmsg *msg)
{
    struct qv_membership *m = qv_mem_calloc(1, sizeof *m);
    QV_ASSERT(config->self.id != 0);
    m->env = config->env;
    m->meta = config->meta;
    m->peers = config->peers;
    m->self = config->self;
    m->changed = config->changed;
    m->arg = config->arg;
    m->tree = config->tree != NULL ? config->tree : qv_topology_create(0);
    if (config->tree != NULL)
        qv_topology_ref(config->tree);
    m->mirror = qv_mirror_create();
    m->again = (struct qv_timer){.run = list_now, .arg = m};
    *out = m;
    if (config->copy.n != 0) {
        m->adopted = qv_mirror_create();
        int err = qv_mirror_decode(m->adopted, config->copy, msg);
        if (err != 0) {
            qv_membership_abandon(out);
            return err;
        }
        if (config->tree == NULL)
            qv_membership_show(m, m->adopted);
    }
    qv_membership_serve(m);
    list_again(m, 0);
    return 0;
}

void qv_membership_abandon(struct qv_membership **out)
{
    struct qv_membership *m = *out;
    if (m == NULL)
        return;
    qv_membership_drop_orders(m);
    qv_topology_unref(m->tree);
    qv_mirror_destroy(&m->mirror);
    qv_mirror_destroy(&m->adopted);
    qv_mem_free(m);
    *out = NULL;
}

const struct qv_topology *qv_membership_tree(const struct qv_membership *m)
{
    return m->tree;
}

void qv_membership_copy(const struct qv_membership *m, struct qv_buf *b)
{
    bool from_peer = m->adopted != NULL && qv_mirror_epoch(m->adopted) == m->tree->epoch &&
                     qv_mirror_epoch(m->mirror) != m->tree->epoch;
    qv_mirror_encode(from_peer ? m->adopted : m->mirror, b);
}

bool qv_membership_joined(const struct qv_membership *m)
{
    return m->registered;
}

void qv_membership_status(const struct qv_membership *m, struct qv_membership_status *out)
{
    *out = (struct qv_membership_status){.reachable = m->meta->reachable,
                                         .elected = m->elected_revision != 0,
                                         .controller = qv_mirror_controller(m->mirror),
                                         .epoch = m->tree->epoch};
    for (const struct qv_proposal *p = m->first; p != NULL; p = p->next)
        out->waiting++;
    if (m->meta->replaced)
        snprintf(out->why, sizeof out->why, "the metadata is not the store that is known: %.180s",
                 m->meta->why.text);
    else if (m->refused_epoch != 0)
        snprintf(out->why, sizeof out->why,
                 "the metadata is at epoch %llu, %llu was seen: an older state of it was put back",
                 (unsigned long long)m->refused_epoch - 1, (unsigned long long)m->tree->epoch);
    else if (m->broken.text[0] != '\0')
        snprintf(out->why, sizeof out->why, "%.255s", m->broken.text);
    else if (!m->meta->reachable)
        snprintf(out->why, sizeof out->why, "%.255s", m->meta->why.text);
}

void qv_membership_maybe_closed(struct qv_membership *m)
{
    if (!m->closing || m->meta != NULL || m->first != NULL || m->ask.impl != NULL)
        return;
    void (*closed)(void *arg) = m->closed;
    void *arg = m->closed_arg;
    qv_membership_abandon(&m);
    closed(arg);
}

void qv_membership_close(struct qv_membership *m, void (*closed)(void *arg), void *arg)
{
    struct qv_meta *meta = m->meta;
    m->closing = true;
    m->closed = closed;
    m->closed_arg = arg;
    if (m->watching)
        qv_meta_watch_stop(meta, &m->watch);
    qv_env_timer_stop(m->env, &m->again);
    qv_membership_elect_stop(m);
    qv_membership_propose_stop(m);
    qv_meta_close(meta);           /* ends what is still there, from inside */
    qv_membership_propose_stop(m); /* what that gave back */
    m->meta = NULL;
    qv_membership_maybe_closed(m);
}
