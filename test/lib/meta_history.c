#include "meta_history.h"

#include "base/mem.h"

#include "suite.h"

#include <stdlib.h>

#define PREFIX "p/"

static void client_step(struct qv_timer *timer);
static void observer_step(struct qv_timer *timer);

static unsigned key_number(const char *key)
{
    assert_int_equal(strncmp(key, PREFIX "k", 3), 0);
    unsigned n = (unsigned)(key[3] - '0');
    assert_true(n < MH_KEYS && key[4] == '\0');
    return n;
}

static uint64_t value_of(struct qv_bytes v)
{
    char text[24];
    assert_true(v.n < sizeof text);
    memcpy(text, v.p, v.n);
    text[v.n] = '\0';
    return strtoull(text, NULL, 10);
}

static struct mh_state state_of(const struct qv_meta_entry *entries, uint32_t count)
{
    struct mh_state s = {.known = true};
    for (uint32_t i = 0; i < count; i++) {
        unsigned k = key_number(entries[i].key);
        assert_true(i == 0 || strcmp(entries[i - 1].key, entries[i].key) < 0);
        s.keys[k].mod = entries[i].mod_revision;
        s.keys[k].value = value_of(entries[i].value);
    }
    return s;
}

/* ---- clients ---- */

static void client_later(struct mh_client *c)
{
    qv_env_timer_start(c->meta->env, &c->timer, qv_rng_below(&c->rng, c->h->pause_ns_max));
}

static void op_end(struct mh_client *c, int err, uint64_t revision)
{
    struct mh *h = c->h;
    struct mh_op *op = c->op;
    c->op = NULL;
    op->finished = true;
    op->err = err;
    op->revision = revision;
    if ((err == 0 || err == QV_ESTALE) && revision > h->acked)
        h->acked = revision;
    if (err == 0)
        *(op->list ? &h->lists_ok : &h->done_ok) += 1;
    h->done_stale += err == QV_ESTALE;
    h->done_unknown += err == QV_EUNKNOWN;
    h->done_away += err == QV_EUNAVAILABLE;
    if (err != 0 && err != QV_ESTALE && err != QV_EUNKNOWN && err != QV_EUNAVAILABLE)
        fail_msg("%s: %s", qv_err_name(err), op->list ? c->list.msg.text : c->txn.msg.text);
    client_later(c);
}

static void on_listed(struct qv_meta_listing *l, int err)
{
    struct mh_client *c = l->arg;
    if (err == 0)
        c->seen = c->op->seen = state_of(l->entries, l->count);
    op_end(c, err, l->revision);
}

static void on_txn(struct qv_meta_txn *t, int err)
{
    struct mh_client *c = t->arg;
    for (uint32_t i = 0; err == 0 && i < c->op->change_count; i++) {
        unsigned k = c->op->changes[i].key;
        c->seen.keys[k].value = c->op->changes[i].value;
        c->seen.keys[k].mod = c->op->changes[i].value == 0 ? 0 : t->revision;
    }
    op_end(c, err, t->revision);
}

static const char *key_text(struct mh_client *c, unsigned slot, unsigned key)
{
    snprintf(c->keys[slot], sizeof c->keys[slot], PREFIX "k%u", key);
    return c->keys[slot];
}

static void add_compares(struct mh_client *c, struct mh_op *op)
{
    op->compare_count = (uint32_t)qv_rng_below(&c->rng, 3);
    for (unsigned i = 0; i < op->compare_count; i++) {
        unsigned k = (unsigned)qv_rng_below(&c->rng, MH_KEYS);
        struct qv_meta_compare *m = &c->compares[i];
        *m =
            (struct qv_meta_compare){.key = key_text(c, i, k), .mod_revision = c->seen.keys[k].mod};
        m->kind = m->mod_revision == 0 && qv_rng_below(&c->rng, 2) ? QV_META_ABSENT : QV_META_MOD;
        op->compares[i].what = m->mod_revision;
        if (i == 0 && c->seen.keys[k].value != 0 && qv_rng_below(&c->rng, 3) == 0) {
            int n = snprintf(c->compare_value, sizeof c->compare_value, "%llu",
                             (unsigned long long)c->seen.keys[k].value);
            m->kind = QV_META_VALUE;
            m->value = (struct qv_bytes){(const uint8_t *)c->compare_value, (size_t)n};
            op->compares[i].what = c->seen.keys[k].value;
        }
        op->compares[i].key = k;
        op->compares[i].kind = m->kind;
    }
}

static void add_changes(struct mh_client *c, struct mh_op *op)
{
    unsigned first = (unsigned)qv_rng_below(&c->rng, MH_KEYS);
    op->change_count = 1 + (uint32_t)qv_rng_below(&c->rng, 3);
    for (unsigned i = 0; i < op->change_count; i++) {
        unsigned k = (first + i) % MH_KEYS;
        c->changes[i] = (struct qv_meta_change){.key = key_text(c, 2 + i, k)};
        op->changes[i].key = k;
        op->changes[i].value = 0;
        if (qv_rng_below(&c->rng, 4) == 0)
            continue;
        op->changes[i].value = ++c->h->next_value;
        int n = snprintf(c->values[i], sizeof c->values[i], "%llu",
                         (unsigned long long)op->changes[i].value);
        c->changes[i].value = (struct qv_bytes){(const uint8_t *)c->values[i], (size_t)n};
    }
}

static void client_step(struct qv_timer *timer)
{
    struct mh_client *c = timer->arg;
    struct mh *h = c->h;
    if (h->stopping || h->op_count == MH_OPS_MAX)
        return;
    struct mh_op *op = c->op = &h->ops[h->op_count++];
    op->acked = h->acked;
    op->list = qv_rng_below(&c->rng, 10) < 3;
    if (op->list) {
        c->list = (struct qv_meta_listing){.prefix = PREFIX, .done = on_listed, .arg = c};
        qv_meta_list(c->meta, &c->list);
        return;
    }
    add_compares(c, op);
    add_changes(c, op);
    c->txn = (struct qv_meta_txn){.compares = c->compares,
                                  .changes = c->changes,
                                  .compare_count = op->compare_count,
                                  .change_count = op->change_count,
                                  .done = on_txn,
                                  .arg = c};
    qv_meta_txn(c->meta, &c->txn);
}

/* ---- the observer ---- */

static void know(struct mh *h, uint64_t revision, const struct mh_state *s)
{
    assert_true(revision >= h->first && revision - h->first < MH_REVISIONS_MAX);
    h->states[revision - h->first] = *s;
}

static void on_events(struct qv_meta_watch *w, const struct qv_meta_entry *events, uint32_t count,
                      uint64_t revision)
{
    struct mh_observer *o = w->arg;
    uint32_t i = 0;
    assert_true(revision >= o->at);
    o->batches += count > 0;
    for (uint64_t r = o->at + 1; r <= revision; r++) {
        for (; i < count && events[i].mod_revision == r; i++) {
            unsigned k = key_number(events[i].key);
            bool removed = events[i].value.p == NULL;
            assert_true(!removed || o->now.keys[k].mod != 0);
            assert_true(o->now.keys[k].mod != r);
            o->now.keys[k].mod = removed ? 0 : r;
            o->now.keys[k].value = removed ? 0 : value_of(events[i].value);
        }
        know(o->h, r, &o->now);
    }
    if (i != count)
        fail_msg("event %u of %u has revision %llu; given were %llu to %llu", i, count,
                 (unsigned long long)events[i].mod_revision, (unsigned long long)o->at + 1,
                 (unsigned long long)revision);
    o->at = revision;
}

static void on_ended(struct qv_meta_watch *w, int err)
{
    struct mh_observer *o = w->arg;
    if (err != QV_ESTALE && err != QV_ECANCELED)
        fail_msg("the watch ended with %s: %s", qv_err_name(err), w->msg.text);
    if (err == QV_ECANCELED)
        return;
    o->compacted++;
    qv_env_timer_start(o->meta->env, &o->timer, 0);
}

static void on_observed(struct qv_meta_listing *l, int err)
{
    struct mh_observer *o = l->arg;
    if (err == QV_ECANCELED)
        return;
    if (err != 0) {
        qv_env_timer_start(o->meta->env, &o->timer, 50 * QV_NS_PER_MS);
        return;
    }
    if (!o->begun)
        o->h->first = l->revision;
    o->begun = true;
    assert_true(l->revision >= o->at);
    o->at = l->revision;
    o->now = state_of(l->entries, l->count);
    know(o->h, l->revision, &o->now);
    o->watch = (struct qv_meta_watch){.prefix = PREFIX,
                                      .from = l->revision + 1,
                                      .events = on_events,
                                      .ended = on_ended,
                                      .arg = o};
    qv_meta_watch_start(o->meta, &o->watch);
    for (unsigned i = 0; i < o->h->client_count; i++) {
        struct mh_client *c = &o->h->clients[i];
        if (c->meta != NULL && c->op == NULL && !qv_env_timer_active(&c->timer))
            client_later(c);
    }
}

static void observer_step(struct qv_timer *timer)
{
    struct mh_observer *o = timer->arg;
    o->list = (struct qv_meta_listing){.prefix = PREFIX, .done = on_observed, .arg = o};
    qv_meta_list(o->meta, &o->list);
}

/* ---- life ---- */

struct mh *mh_create(struct qv_meta **metas, unsigned count, uint64_t seed)
{
    struct mh *h = qv_mem_calloc(1, sizeof *h);
    struct qv_rng rng;
    qv_rng_init(&rng, seed);
    h->ops = qv_mem_calloc(MH_OPS_MAX, sizeof *h->ops);
    h->states = qv_mem_calloc(MH_REVISIONS_MAX, sizeof *h->states);
    h->client_count = count;
    h->pause_ns_max = 20 * QV_NS_PER_MS;
    for (unsigned i = 0; i < count; i++) {
        struct mh_client *c = &h->clients[i];
        *c = (struct mh_client){.h = h, .number = i, .meta = metas[i]};
        c->timer = (struct qv_timer){.run = client_step, .arg = c};
        qv_rng_init(&c->rng, qv_rng_u64(&rng));
    }
    h->observer = (struct mh_observer){.h = h, .meta = metas[0]};
    h->observer.timer = (struct qv_timer){.run = observer_step, .arg = &h->observer};
    qv_env_timer_start(metas[0]->env, &h->observer.timer, 0);
    return h;
}

void mh_stop(struct mh *h)
{
    h->stopping = true;
}

bool mh_idle(const struct mh *h)
{
    for (unsigned i = 0; i < h->client_count; i++) {
        if (h->clients[i].op != NULL)
            return false;
    }
    return true;
}

bool mh_level(const struct mh *h)
{
    return h->observer.begun && h->observer.watch.call.meta != NULL && h->observer.at >= h->acked;
}

void mh_detach(struct mh *h, unsigned client)
{
    struct mh_client *c = &h->clients[client];
    if (c->op != NULL) {
        c->op->finished = true;
        c->op->err = c->op->list ? QV_EUNAVAILABLE : QV_EUNKNOWN;
        c->op = NULL;
    }
    c->meta = NULL;
}

void mh_attach(struct mh *h, unsigned client, struct qv_meta *meta)
{
    h->clients[client].meta = meta;
    client_later(&h->clients[client]);
}

/* ---- the check ---- */

static const struct mh_state *at(const struct mh *h, uint64_t revision)
{
    if (revision < h->first || revision - h->first >= MH_REVISIONS_MAX ||
        !h->states[revision - h->first].known)
        return NULL;
    return &h->states[revision - h->first];
}

static bool compares_hold(const struct mh_op *op, const struct mh_state *s)
{
    for (uint32_t i = 0; i < op->compare_count; i++) {
        unsigned k = op->compares[i].key;
        uint64_t is = op->compares[i].kind == QV_META_VALUE ? s->keys[k].value : s->keys[k].mod;
        if (op->compares[i].kind == QV_META_ABSENT ? s->keys[k].mod != 0
                                                   : is != op->compares[i].what)
            return false;
    }
    return true;
}

static bool moves(const struct mh_op *op, const struct mh_state *before)
{
    for (uint32_t i = 0; i < op->change_count; i++) {
        if (op->changes[i].value != 0 || before->keys[op->changes[i].key].mod != 0)
            return true;
    }
    return false;
}

/* The revision is this change, all of it and nothing else, under compares that held. */
static void check_stands(const struct mh *h, const struct mh_op *op, uint64_t revision)
{
    const struct mh_state *after = at(h, revision);
    const struct mh_state *before = at(h, revision - 1);
    if (after == NULL || before == NULL)
        return;
    assert_true(compares_hold(op, before));
    for (unsigned k = 0; k < MH_KEYS; k++) {
        const uint64_t *put = NULL;
        for (uint32_t i = 0; i < op->change_count; i++) {
            if (op->changes[i].key == k)
                put = &op->changes[i].value;
        }
        uint64_t value = put == NULL ? before->keys[k].value : *put;
        uint64_t mod = put == NULL ? before->keys[k].mod : *put == 0 ? 0 : revision;
        assert_int_equal(after->keys[k].value, value);
        assert_int_equal(after->keys[k].mod, mod);
    }
}

static void check_op(const struct mh *h, const struct mh_op *op)
{
    const struct mh_state *s = at(h, op->revision);
    if (op->err != 0 && op->err != QV_ESTALE)
        return;
    assert_true(op->revision >= op->acked);
    if (op->list) {
        if (s != NULL)
            assert_memory_equal(&op->seen.keys, &s->keys, sizeof s->keys);
    } else if (op->err == QV_ESTALE) {
        assert_true(s == NULL || !compares_hold(op, s));
    } else if (at(h, op->revision - 1) != NULL && s != NULL) {
        if (op->stands == 0 && !moves(op, s) && compares_hold(op, s))
            return; /* it had nothing to remove */
        assert_true(op->revision > op->acked);
        check_stands(h, op, op->revision);
    }
}

/* Whose change a value is. */
static struct mh_op *writer(struct mh *h, uint64_t value)
{
    for (unsigned i = 0; i < h->op_count; i++) {
        for (uint32_t k = 0; k < h->ops[i].change_count; k++) {
            if (h->ops[i].changes[k].value == value)
                return &h->ops[i];
        }
    }
    fail_msg("value %llu was written by nobody", (unsigned long long)value);
    return NULL;
}

static void check_revision(struct mh *h, uint64_t revision)
{
    const struct mh_state *s = at(h, revision);
    struct mh_op *op = NULL;
    if (s == NULL || at(h, revision - 1) == NULL)
        return;
    for (unsigned k = 0; k < MH_KEYS; k++) {
        if (s->keys[k].mod != revision)
            continue;
        struct mh_op *by = writer(h, s->keys[k].value);
        assert_true(op == NULL || op == by);
        op = by;
    }
    if (op == NULL)
        return; /* removals only, or not ours */
    op->stands++;
    assert_int_equal(op->stands, 1);
    assert_true(!op->finished || op->err == QV_EUNKNOWN ||
                (op->err == 0 && op->revision == revision));
    assert_true(revision > op->acked);
    check_stands(h, op, revision);
}

void mh_check(struct mh *h)
{
    for (uint64_t r = h->first; r < h->first + MH_REVISIONS_MAX; r++)
        check_revision(h, r);
    for (unsigned i = 0; i < h->op_count; i++) {
        if (h->ops[i].finished)
            check_op(h, &h->ops[i]);
    }
}

void mh_free(struct mh *h)
{
    for (unsigned i = 0; i < h->client_count; i++) {
        if (h->clients[i].meta != NULL)
            qv_env_timer_stop(h->clients[i].meta->env, &h->clients[i].timer);
    }
    qv_env_timer_stop(h->observer.meta->env, &h->observer.timer);
    qv_mem_free(h->ops);
    qv_mem_free(h->states);
    qv_mem_free(h);
}
