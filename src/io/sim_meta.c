/* A request is a *flight*: a copy of it on its way to the store (a timer of the store's own node,
 * which no crash stops), and its answer on the way back (a timer of the asker's node). A flight
 * ends when both have: an asker that gave up or crashed leaves the first half to go on alone. */
#include "io/sim_meta.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#define SIM_DELAY_NS_MIN (200 * QV_NS_PER_US)
#define SIM_DELAY_NS_MAX (3 * QV_NS_PER_MS)
#define SIM_LATE_NS_MAX (10 * QV_NS_PER_S)

struct client;

struct flight {
    struct qv_sim_meta *store;
    struct flight *prev, *next; /* of the store's list */
    struct client *client;      /* NULL: nobody waits any more */
    struct qv_meta_call *call;  /* with client */
    struct qv_timer arrive;     /* the store's */
    struct qv_timer answer;     /* the client's: the answer, or the deadline */
    bool arrived;
    enum qv_meta_call_kind kind;
    uint64_t sent_ns;
    uint64_t known_cluster, known_revision;
    /* the request, copied */
    char *prefix;
    struct qv_meta_compare *compares;
    struct qv_meta_change *changes;
    uint32_t compare_count, change_count;
    uint64_t lease, ttl_ns;
    /* the answer */
    bool answered, done;
    int err;
    bool replaced;
    uint64_t cluster_id, revision;
    struct qv_meta_events events;
};

/* A lease in the store. */
struct grant {
    struct qv_sim_meta *store;
    struct grant *next;
    struct qv_timer timer;
    uint64_t id, ttl_ns;
    bool early;
};

/* A lease as a client holds it. */
struct held {
    struct client *client;
    struct qv_meta_lease *lease;
    struct qv_timer keep, end;
};

struct feed {
    struct client *client;
    struct qv_meta_watch *watch;
    struct qv_timer timer;
    uint64_t cluster_id;
};

struct client {
    struct qv_meta base; /* first */
    struct qv_sim_meta *store;
    struct client *next;
    struct qv_meta_calls watches; /* call.impl: feed */
    struct qv_meta_calls leases;  /* call.impl: held */
    bool away;                    /* by hand */
    uint64_t away_from_ns, away_to_ns;
};

struct qv_sim_meta {
    struct qv_sim *sim;
    struct qv_sim_node *node; /* of its own: crashes of others don't stop it */
    struct qv_env *env;
    struct qv_rng rng;
    struct qv_sim_meta_config config;
    struct qv_sim_meta_counts counts;
    struct qv_meta_tree tree, backup;
    uint64_t cluster_id;
    struct client *clients; /* in the order they were opened */
    struct flight *flights;
    struct grant *grants;
    struct qv_timer compactor;
};

static uint64_t now_ns(const struct qv_sim_meta *s)
{
    return qv_sim_now_ns(s->sim);
}

static bool chance(struct qv_sim_meta *s, double share)
{
    return share > 0 && qv_rng_unit(&s->rng) < share;
}

static uint64_t between(struct qv_sim_meta *s, uint64_t least, uint64_t most)
{
    return least + qv_rng_below(&s->rng, most - least + 1);
}

static uint64_t delay(struct qv_sim_meta *s)
{
    return between(s, s->config.delay_ns_min, s->config.delay_ns_max);
}

/* A time whose mean is `mean`. */
static uint64_t some_time(struct qv_sim_meta *s, uint64_t mean)
{
    return between(s, mean / 4, mean * 7 / 4);
}

/* Spells of being cut off follow one another; the next is drawn when the last is over. */
static bool is_away(struct client *c)
{
    struct qv_sim_meta *s = c->store;
    uint64_t now = now_ns(s);
    if (s->config.away_every_ns == 0)
        return c->away;
    if (now >= c->away_to_ns) {
        c->away_from_ns = now + some_time(s, s->config.away_every_ns);
        c->away_to_ns = c->away_from_ns + between(s, 1, s->config.away_ns_max);
        s->counts.spells++;
    }
    return c->away || now >= c->away_from_ns;
}

/* ---- watches ---- */

static void feed_soon(struct feed *f)
{
    struct qv_sim_meta *s = f->client->store;
    uint64_t late = s->config.watch_late_ns_max;
    if (!qv_env_timer_active(&f->timer))
        qv_env_timer_start(f->client->base.env, &f->timer,
                           delay(s) + (late == 0 || chance(s, 0.5) ? 0 : between(s, 0, late)));
}

static void tell_watches(struct qv_sim_meta *s)
{
    for (struct client *c = s->clients; c != NULL; c = c->next) {
        for (struct qv_meta_call *w = c->watches.first; w != NULL; w = w->next)
            feed_soon(w->impl);
    }
}

static void feed_free(struct feed *f)
{
    qv_env_timer_stop(f->client->base.env, &f->timer);
    qv_meta_calls_remove(&f->client->watches, &f->watch->call);
    f->watch->call.meta = NULL;
    f->watch->call.impl = NULL;
    qv_mem_free(f);
}

static void feed_end(struct feed *f, int err)
{
    struct qv_meta_watch *w = f->watch;
    feed_free(f);
    w->ended(w, err);
}

/* The store that answers is not the one that was known, or went back. */
static bool is_replaced(const struct qv_sim_meta *s, uint64_t cluster_id, uint64_t revision)
{
    return cluster_id != 0 && (cluster_id != s->cluster_id || revision > s->tree.revision);
}

static int say_replaced(struct qv_meta *m, struct qv_errmsg *msg)
{
    m->replaced = true;
    return qv_fail(msg, QV_ESTALE, "the metadata store is another one, or was put back");
}

static void feed_run(struct qv_timer *timer)
{
    struct feed *f = timer->arg;
    struct client *c = f->client;
    struct qv_sim_meta *s = c->store;
    struct qv_meta_watch *w = f->watch;
    struct qv_meta_events e;
    if (w->call.err != 0) {
        feed_end(f, w->call.err);
        return;
    }
    if (is_away(c)) {
        qv_env_timer_start(c->base.env, timer, between(s, QV_NS_PER_MS, 100 * QV_NS_PER_MS));
        return;
    }
    if (f->cluster_id == 0)
        f->cluster_id = s->cluster_id;
    if (is_replaced(s, f->cluster_id, w->from - 1)) {
        feed_end(f, say_replaced(&c->base, &w->msg));
        return;
    }
    if (w->from > s->tree.revision)
        return;
    if (w->from < s->tree.compacted) {
        s->counts.watches_compacted++;
        feed_end(f, qv_fail(&w->msg, QV_ESTALE, "revision %llu was compacted",
                            (unsigned long long)w->from));
        return;
    }
    uint64_t to = chance(s, 0.5) ? s->tree.revision : between(s, w->from, s->tree.revision);
    qv_meta_tree_events(&s->tree, w->prefix, w->from, to, &e);
    w->from = to + 1;
    if (to < s->tree.revision)
        feed_soon(f);
    bool progress = e.count == 0 && chance(s, 0.25);
    s->counts.batches += e.count > 0;
    s->counts.progress += progress;
    if (e.count > 0 || progress)
        w->events(w, e.entries, e.count, to);
    qv_meta_events_close(&e);
}

/* ---- the store ---- */

static void changed(struct qv_sim_meta *s, const struct qv_meta_change *changes, uint32_t count)
{
    uint64_t before = s->tree.revision;
    qv_meta_tree_apply(&s->tree, changes, count);
    if (s->tree.revision != before)
        tell_watches(s);
}

static struct grant *grant_find(struct qv_sim_meta *s, uint64_t id)
{
    struct grant *g = s->grants;
    while (g != NULL && g->id != id)
        g = g->next;
    return g;
}

/* The lease goes, and its keys with it. */
static void grant_end(struct grant *g)
{
    struct qv_sim_meta *s = g->store;
    struct grant **at = &s->grants;
    struct qv_meta_change *bound;
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    qv_env_timer_stop(s->env, &g->timer);
    uint32_t n = qv_meta_tree_bound(&s->tree, g->id, &bound);
    changed(s, bound, n);
    qv_mem_free(bound);
    qv_mem_free(g);
}

static void on_expired(struct qv_timer *timer)
{
    struct grant *g = timer->arg;
    if (g->early)
        g->store->counts.leases_early++;
    else
        g->store->counts.leases_expired++;
    grant_end(g);
}

/* etcd ends a lease when its time is over, or somewhat later. */
static void grant_renew(struct grant *g)
{
    struct qv_sim_meta *s = g->store;
    uint64_t ns = g->ttl_ns + between(s, 0, g->ttl_ns / 4);
    g->early = chance(s, s->config.early_lease);
    qv_env_timer_start(s->env, &g->timer, g->early ? between(s, 0, g->ttl_ns) : ns);
}

static void grant_add(struct qv_sim_meta *s, struct flight *f)
{
    struct grant *g = qv_mem_calloc(1, sizeof *g);
    do
        g->id = qv_rng_u64(&s->rng) >> 2 | 1;
    while (grant_find(s, g->id) != NULL);
    *g = (struct grant){.store = s, .next = s->grants, .id = g->id, .ttl_ns = f->ttl_ns};
    g->timer.run = on_expired;
    g->timer.arg = g;
    s->grants = g;
    s->counts.leases++;
    grant_renew(g);
    f->lease = g->id;
}

static int store_txn(struct qv_sim_meta *s, struct flight *f)
{
    s->counts.txns++;
    if (!qv_meta_tree_holds(&s->tree, f->compares, f->compare_count)) {
        s->counts.stale++;
        return QV_ESTALE;
    }
    for (uint32_t i = 0; i < f->change_count; i++) {
        const struct qv_meta_change *c = &f->changes[i];
        if (c->value.p != NULL && c->lease != 0 && grant_find(s, c->lease) == NULL)
            return QV_ENOTFOUND;
    }
    if (qv_meta_tree_count_after(&s->tree, f->changes, f->change_count) > QV_META_KEYS_MAX)
        return QV_ELIMIT;
    changed(s, f->changes, f->change_count);
    return 0;
}

static int store_lease(struct qv_sim_meta *s, struct flight *f)
{
    struct grant *g = grant_find(s, f->lease);
    if (g == NULL)
        return QV_ENOTFOUND;
    if (f->kind == QV_META_CALL_REVOKE)
        grant_end(g);
    else if (!g->early)
        grant_renew(g);
    return 0;
}

static int store_do(struct qv_sim_meta *s, struct flight *f)
{
    switch (f->kind) {
    case QV_META_CALL_LIST:
        s->counts.lists++;
        qv_meta_tree_list(&s->tree, f->prefix, &f->events);
        return 0;
    case QV_META_CALL_TXN:
        return store_txn(s, f);
    case QV_META_CALL_GRANT:
        grant_add(s, f);
        return 0;
    case QV_META_CALL_HELD:
    case QV_META_CALL_REVOKE:
        return store_lease(s, f);
    case QV_META_CALL_WATCH:
        break;
    }
    QV_ASSERT(f->kind != QV_META_CALL_WATCH);
    return QV_EINTERNAL;
}

/* ---- flights ---- */

static void flight_free(struct flight *f)
{
    if (f->prev != NULL)
        f->prev->next = f->next;
    else
        f->store->flights = f->next;
    if (f->next != NULL)
        f->next->prev = f->prev;
    qv_env_timer_stop(f->store->env, &f->arrive);
    for (uint32_t i = 0; i < f->compare_count + f->change_count; i++) {
        bool compare = i < f->compare_count;
        union {
            const void *in;
            void *out;
        } key = {compare ? f->compares[i].key : f->changes[i - f->compare_count].key};
        qv_mem_free(key.out);
    }
    qv_mem_free(f->compares);
    qv_mem_free(f->changes);
    qv_mem_free(f->prefix);
    qv_meta_events_close(&f->events);
    qv_mem_free(f);
}

/* Nobody waits for it any more. */
static void flight_leave(struct flight *f)
{
    qv_env_timer_stop(f->client->base.env, &f->answer);
    f->client = NULL;
    f->call = NULL;
    if (f->arrived)
        flight_free(f);
}

static void on_arrive(struct qv_timer *timer)
{
    struct flight *f = timer->arg;
    struct qv_sim_meta *s = f->store;
    f->arrived = true;
    if (f->client != NULL && is_away(f->client))
        return;
    if (is_replaced(s, f->known_cluster, f->known_revision)) {
        f->replaced = true;
        f->err = QV_ESTALE;
    } else {
        f->err = store_do(s, f);
        f->done = true;
    }
    f->cluster_id = s->cluster_id;
    f->revision = s->tree.revision;
    if (f->client == NULL) {
        s->counts.done_late++;
        flight_free(f);
        return;
    }
    if (chance(s, s->config.lose_answer))
        return;
    f->answered = true;
    uint64_t back = delay(s);
    uint64_t left = f->answer.due_ns - now_ns(s);
    if (back < left)
        qv_env_timer_start(f->client->base.env, &f->answer, back);
    else
        f->answered = false;
}

static void lease_lost(struct held *h, int err);
static void on_keep(struct qv_timer *timer);
static void on_end(struct qv_timer *timer);

static int errtext(struct qv_errmsg *msg, int err)
{
    return err == 0 ? 0
                    : qv_fail(msg, err, "%s",
                              err == QV_ESTALE      ? "the metadata has changed"
                              : err == QV_ENOTFOUND ? "the lease has ended"
                              : err == QV_EUNKNOWN  ? "the metadata store did not answer: it may "
                                                      "have happened"
                                                    : "the metadata store is away");
}

static void hold(struct client *c, struct qv_meta_lease *l, const struct flight *f)
{
    struct held *h = qv_mem_calloc(1, sizeof *h);
    *h = (struct held){.client = c, .lease = l};
    h->keep = (struct qv_timer){.run = on_keep, .arg = h};
    h->end = (struct qv_timer){.run = on_end, .arg = h};
    l->id = f->lease;
    l->call.kind = QV_META_CALL_HELD;
    l->call.meta = &c->base;
    l->call.impl = h;
    l->end_boot_ns = qv_meta_lease_end_ns(f->sent_ns, f->ttl_ns);
    qv_meta_calls_add(&c->leases, &l->call);
    uint64_t now = now_ns(c->store);
    qv_env_timer_start(c->base.env, &h->keep, f->ttl_ns / 3);
    qv_env_timer_start(c->base.env, &h->end, l->end_boot_ns > now ? l->end_boot_ns - now : 0);
    l->granted(l, 0);
}

/* An answer to a keep-alive. */
static void kept(const struct flight *f, struct qv_meta_lease *l, int err)
{
    struct held *h = l->call.impl;
    if (err == QV_ENOTFOUND) {
        lease_lost(h, QV_ENOTFOUND);
    } else if (err == 0) {
        uint64_t end = qv_meta_lease_end_ns(f->sent_ns, f->ttl_ns);
        if (end <= l->end_boot_ns)
            return;
        l->end_boot_ns = end;
        qv_env_timer_start(h->client->base.env, &h->end, end - now_ns(h->client->store));
    }
}

/* Gives the answer, or what is known without one. The flight's call may be gone afterwards. */
static void deliver(struct flight *f, struct client *c, struct qv_meta_call *call, int err)
{
    if (f->kind == QV_META_CALL_LIST) {
        struct qv_meta_listing *l = (struct qv_meta_listing *)call;
        if (err == 0) {
            l->entries = f->events.entries;
            l->count = f->events.count;
            l->revision = f->revision;
        }
        call->meta = NULL;
        l->done(l, f->replaced ? say_replaced(&c->base, &l->msg) : errtext(&l->msg, err));
    } else if (f->kind == QV_META_CALL_TXN) {
        struct qv_meta_txn *t = (struct qv_meta_txn *)call;
        t->revision = f->revision;
        call->meta = NULL;
        t->done(t, f->replaced ? say_replaced(&c->base, &t->msg) : errtext(&t->msg, err));
    } else if (f->kind == QV_META_CALL_HELD) {
        kept(f, (struct qv_meta_lease *)call, err);
    } else if (f->kind == QV_META_CALL_GRANT && err == 0) {
        hold(c, (struct qv_meta_lease *)call, f);
    } else {
        struct qv_meta_lease *l = (struct qv_meta_lease *)call;
        call->meta = NULL;
        l->id = 0;
        (void)errtext(&l->msg, err);
        if (f->kind == QV_META_CALL_GRANT)
            l->granted(l, err);
        else
            l->lost(l, err == QV_ENOTFOUND ? 0 : err);
    }
}

static void count_unknown(struct qv_sim_meta *s, const struct flight *f, int err)
{
    if (err == QV_EUNKNOWN && f->kind == QV_META_CALL_TXN)
        *(f->done ? &s->counts.unknown_done : &s->counts.unknown_not_done) += 1;
    s->counts.unavailable += err == QV_EUNAVAILABLE;
}

static void on_answer(struct qv_timer *timer)
{
    struct flight *f = timer->arg;
    struct client *c = f->client;
    struct qv_meta_call *call = f->call;
    int err = call->err != 0 && f->kind != QV_META_CALL_HELD ? call->err
              : f->answered                                  ? f->err
              : f->kind == QV_META_CALL_LIST || f->err != 0  ? QV_EUNAVAILABLE
                                                             : QV_EUNKNOWN;
    bool heard = f->answered && call->err == 0;
    bool finished = f->arrived;
    count_unknown(c->store, f, err);
    f->client = NULL;
    f->call = NULL;
    c->base.reachable = heard;
    if (heard && !f->replaced) {
        c->base.replaced = false;
        c->base.cluster_id = f->cluster_id;
        if (f->revision > c->base.revision)
            c->base.revision = f->revision;
    }
    if (!heard)
        (void)errtext(&c->base.why, QV_EUNAVAILABLE);
    deliver(f, c, call, err);
    if (finished)
        flight_free(f);
}

static struct flight *flight_make(struct client *c, struct qv_meta_call *call,
                                  enum qv_meta_call_kind kind)
{
    struct qv_sim_meta *s = c->store;
    struct flight *f = qv_mem_calloc(1, sizeof *f);
    *f = (struct flight){.store = s,
                         .next = s->flights,
                         .client = c,
                         .call = call,
                         .kind = kind,
                         .sent_ns = now_ns(s),
                         .known_cluster = c->base.cluster_id,
                         .known_revision = c->base.revision};
    if (s->flights != NULL)
        s->flights->prev = f;
    s->flights = f;
    f->arrive = (struct qv_timer){.run = on_arrive, .arg = f};
    f->answer = (struct qv_timer){.run = on_answer, .arg = f};
    return f;
}

static void flight_send(struct flight *f, uint32_t timeout_ms)
{
    struct qv_sim_meta *s = f->store;
    struct qv_env *env = f->client->base.env;
    uint64_t timeout_ns = (timeout_ms == 0 ? QV_META_TIMEOUT_MS : timeout_ms) * QV_NS_PER_MS;
    if (f->call->err != 0 && f->kind != QV_META_CALL_HELD) { /* it can't be asked */
        f->arrived = true;
        qv_env_timer_start(env, &f->answer, 0);
    } else if (is_away(f->client) && chance(s, 0.5)) { /* known not to have left */
        f->arrived = true;
        f->err = QV_EUNAVAILABLE;
        qv_env_timer_start(env, &f->answer, between(s, 0, timeout_ns));
    } else {
        qv_env_timer_start(env, &f->answer, timeout_ns);
        if (chance(s, s->config.lose_request))
            f->arrived = true;
        else
            qv_env_timer_start(s->env, &f->arrive,
                               chance(s, s->config.late_request) ? between(s, 0, SIM_LATE_NS_MAX)
                                                                 : delay(s));
    }
}

/* ---- leases ---- */

static void lease_lost(struct held *h, int err)
{
    struct client *c = h->client;
    struct qv_meta_lease *l = h->lease;
    for (struct flight *f = c->store->flights, *next; f != NULL; f = next) {
        next = f->next;
        if (f->call == &l->call)
            flight_leave(f);
    }
    qv_env_timer_stop(c->base.env, &h->keep);
    qv_env_timer_stop(c->base.env, &h->end);
    qv_meta_calls_remove(&c->leases, &l->call);
    qv_mem_free(h);
    l->call.impl = NULL;
    l->call.meta = NULL;
    if (err == 1) /* it is being revoked */
        return;
    l->id = 0;
    c->store->counts.leases_lost += err != QV_ECANCELED;
    (void)errtext(&l->msg, err == QV_ETIMEOUT ? QV_EUNAVAILABLE : err);
    l->lost(l, err);
}

static void on_end(struct qv_timer *timer)
{
    struct held *h = timer->arg;
    lease_lost(h, QV_ETIMEOUT);
}

static void on_keep(struct qv_timer *timer)
{
    struct held *h = timer->arg;
    struct flight *f = flight_make(h->client, &h->lease->call, QV_META_CALL_HELD);
    uint64_t ttl_ns = (uint64_t)h->lease->ttl_ms * QV_NS_PER_MS;
    f->lease = h->lease->id;
    f->ttl_ns = ttl_ns;
    flight_send(f, 0);
    qv_env_timer_start(h->client->base.env, &h->keep, ttl_ns / 3);
}

/* ---- the interface ---- */

static struct client *client_of(struct qv_meta *m)
{
    return (struct client *)m;
}

static struct flight *begin(struct qv_meta *m, struct qv_meta_call *c, enum qv_meta_call_kind kind,
                            int err)
{
    QV_ASSERT(c->meta == NULL);
    c->meta = m;
    c->kind = (uint8_t)kind;
    c->err = err;
    return flight_make(client_of(m), c, kind);
}

static void sim_list(struct qv_meta *m, struct qv_meta_listing *l)
{
    struct flight *f = begin(m, &l->call, QV_META_CALL_LIST, qv_meta_check_listing(l));
    f->prefix = qv_mem_strdup(l->prefix == NULL ? "" : l->prefix);
    flight_send(f, l->timeout_ms);
}

/* Key and value in one block that begins with the key. */
static const char *copy(const char *key, struct qv_bytes *value)
{
    size_t n = strlen(key) + 1;
    char *out = qv_mem_alloc(n + value->n);
    memcpy(out, key, n);
    if (value->n > 0)
        memcpy(out + n, value->p, value->n);
    if (value->p != NULL)
        value->p = (const uint8_t *)out + n;
    return out;
}

static void sim_txn(struct qv_meta *m, struct qv_meta_txn *t)
{
    struct flight *f = begin(m, &t->call, QV_META_CALL_TXN, qv_meta_check_txn(t));
    if (t->call.err == 0) {
        f->compares = qv_mem_calloc(t->compare_count + 1, sizeof *f->compares);
        f->changes = qv_mem_calloc(t->change_count + 1, sizeof *f->changes);
        for (; f->compare_count < t->compare_count; f->compare_count++) {
            struct qv_meta_compare *c = &f->compares[f->compare_count];
            *c = t->compares[f->compare_count];
            c->key = copy(c->key, &c->value);
        }
        for (; f->change_count < t->change_count; f->change_count++) {
            struct qv_meta_change *c = &f->changes[f->change_count];
            *c = t->changes[f->change_count];
            c->key = copy(c->key, &c->value);
        }
    }
    flight_send(f, t->timeout_ms);
}

static void sim_watch_start(struct qv_meta *m, struct qv_meta_watch *w)
{
    struct client *c = client_of(m);
    struct feed *f = qv_mem_calloc(1, sizeof *f);
    QV_ASSERT(w->call.meta == NULL);
    *f = (struct feed){.client = c, .watch = w, .cluster_id = m->cluster_id};
    f->timer = (struct qv_timer){.run = feed_run, .arg = f};
    w->call.meta = m;
    w->call.kind = QV_META_CALL_WATCH;
    w->call.err = qv_meta_check_watch(w);
    w->call.impl = f;
    qv_meta_calls_add(&c->watches, &w->call);
    feed_soon(f);
}

static void sim_watch_stop(struct qv_meta *m, struct qv_meta_watch *w)
{
    (void)m;
    if (w->call.meta != NULL)
        feed_free(w->call.impl);
}

static void sim_lease_grant(struct qv_meta *m, struct qv_meta_lease *l)
{
    struct flight *f = begin(m, &l->call, QV_META_CALL_GRANT, qv_meta_check_lease(l));
    f->ttl_ns = (uint64_t)l->ttl_ms * QV_NS_PER_MS;
    l->id = 0;
    flight_send(f, l->timeout_ms);
}

static void sim_lease_revoke(struct qv_meta *m, struct qv_meta_lease *l)
{
    QV_ASSERT(l->call.meta == m && l->call.kind == QV_META_CALL_HELD);
    lease_lost(l->call.impl, 1);
    struct flight *f = begin(m, &l->call, QV_META_CALL_REVOKE, 0);
    f->lease = l->id;
    l->end_boot_ns = 0;
    flight_send(f, l->timeout_ms);
}

/* Takes the client out of its store; its flights go on without it. */
static void client_free(struct client *c)
{
    struct client **at = &c->store->clients;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    qv_mem_free(c);
}

static void sim_close(struct qv_meta *m)
{
    struct client *c = client_of(m);
    struct qv_sim_meta *s = c->store;
    struct flight *f;
    while (c->watches.first != NULL)
        feed_end(c->watches.first->impl, QV_ECANCELED);
    while (c->leases.first != NULL)
        lease_lost(c->leases.first->impl, QV_ECANCELED);
    for (;;) {
        for (f = s->flights; f != NULL && f->client != c; f = f->next)
            ;
        if (f == NULL)
            break;
        struct qv_meta_call *call = f->call;
        struct flight fate = {.kind = f->kind};
        flight_leave(f);
        deliver(&fate, c, call, fate.kind == QV_META_CALL_TXN ? QV_EUNKNOWN : QV_ECANCELED);
    }
    client_free(c);
}

static void sim_abandon(struct qv_meta *m)
{
    struct client *c = client_of(m);
    for (struct qv_meta_call *w = c->watches.first; w != NULL; w = w->next)
        qv_mem_free(w->impl);
    for (struct qv_meta_call *l = c->leases.first; l != NULL; l = l->next)
        qv_mem_free(l->impl);
    for (struct flight *f = c->store->flights, *next; f != NULL; f = next) {
        next = f->next;
        if (f->client == c)
            flight_leave(f);
    }
    client_free(c);
}

static const struct qv_meta_ops sim_ops = {
    .list = sim_list,
    .txn = sim_txn,
    .watch_start = sim_watch_start,
    .watch_stop = sim_watch_stop,
    .lease_grant = sim_lease_grant,
    .lease_revoke = sim_lease_revoke,
    .close = sim_close,
    .abandon = sim_abandon,
};

/* ---- the world's side ---- */

static void on_compact(struct qv_timer *timer)
{
    struct qv_sim_meta *s = timer->arg;
    uint64_t newest = s->tree.revision;
    uint64_t first = s->tree.compacted < newest ? s->tree.compacted : newest;
    qv_sim_meta_compact(s, between(s, first, newest));
    qv_env_timer_start(s->env, timer, some_time(s, s->config.compact_every_ns));
}

void qv_sim_meta_set_config(struct qv_sim_meta *s, const struct qv_sim_meta_config *config)
{
    s->config = *config;
    if (s->config.delay_ns_max == 0) {
        s->config.delay_ns_min = SIM_DELAY_NS_MIN;
        s->config.delay_ns_max = SIM_DELAY_NS_MAX;
    }
    QV_ASSERT(s->config.delay_ns_min <= s->config.delay_ns_max);
    QV_ASSERT(s->config.away_every_ns == 0 || s->config.away_ns_max > 0);
    qv_env_timer_stop(s->env, &s->compactor);
    if (config->compact_every_ns != 0)
        qv_env_timer_start(s->env, &s->compactor, some_time(s, config->compact_every_ns));
}

struct qv_sim_meta *qv_sim_meta_create(struct qv_sim *sim, const struct qv_sim_meta_config *config)
{
    struct qv_sim_meta *s = qv_mem_calloc(1, sizeof *s);
    s->sim = sim;
    s->node = qv_sim_node_create(sim, NULL, 0);
    s->env = qv_sim_node_env(s->node);
    qv_rng_init(&s->rng, qv_rng_u64(qv_sim_rng(sim)));
    s->cluster_id = qv_rng_u64(&s->rng) | 1;
    qv_meta_tree_init(&s->tree, 1);
    s->tree.compacted = 1;
    s->compactor = (struct qv_timer){.run = on_compact, .arg = s};
    qv_sim_meta_set_config(s, config);
    return s;
}

void qv_sim_meta_destroy(struct qv_sim_meta **ps)
{
    struct qv_sim_meta *s = *ps;
    *ps = NULL;
    if (s == NULL)
        return;
    QV_ASSERT(s->clients == NULL);
    while (s->flights != NULL)
        flight_free(s->flights);
    while (s->grants != NULL) {
        struct grant *g = s->grants;
        s->grants = g->next;
        qv_env_timer_stop(s->env, &g->timer);
        qv_mem_free(g);
    }
    qv_meta_tree_close(&s->tree);
    qv_meta_tree_close(&s->backup);
    qv_sim_node_destroy(&s->node);
    qv_mem_free(s);
}

struct qv_meta *qv_sim_meta_open(struct qv_sim_meta *s, struct qv_env *env,
                                 const struct qv_meta *known)
{
    struct client *c = qv_mem_calloc(1, sizeof *c);
    struct client **at = &s->clients;
    c->base = (struct qv_meta){.ops = &sim_ops, .env = env};
    if (known != NULL) {
        c->base.cluster_id = known->cluster_id;
        c->base.revision = known->revision;
    }
    c->store = s;
    while (*at != NULL)
        at = &(*at)->next;
    *at = c;
    return &c->base;
}

void qv_sim_meta_set_away(struct qv_sim_meta *s, struct qv_meta *m, bool away)
{
    for (struct client *c = s->clients; c != NULL; c = c->next) {
        if (m == NULL || &c->base == m)
            c->away = away;
    }
}

void qv_sim_meta_compact(struct qv_sim_meta *s, uint64_t revision)
{
    s->counts.compactions++;
    qv_meta_tree_compact(&s->tree, revision);
}

void qv_sim_meta_end_leases(struct qv_sim_meta *s)
{
    while (s->grants != NULL) {
        s->counts.leases_early++;
        grant_end(s->grants);
    }
}

static void tree_copy(const struct qv_meta_tree *from, struct qv_meta_tree *to)
{
    qv_meta_tree_close(to);
    qv_meta_tree_init(to, from->revision);
    for (uint32_t i = 0; i < from->count; i++) {
        int err = qv_meta_tree_load(to, &from->items[i]->entry, NULL);
        QV_ASSERT(err == 0);
    }
}

void qv_sim_meta_backup(struct qv_sim_meta *s)
{
    tree_copy(&s->tree, &s->backup);
}

void qv_sim_meta_restore(struct qv_sim_meta *s, bool other)
{
    while (s->grants != NULL)
        grant_end(s->grants);
    tree_copy(&s->backup, &s->tree);
    if (other)
        s->cluster_id = qv_rng_u64(&s->rng) | 1;
    tell_watches(s);
}

const struct qv_meta_tree *qv_sim_meta_tree(const struct qv_sim_meta *s)
{
    return &s->tree;
}

const struct qv_sim_meta_counts *qv_sim_meta_counts(const struct qv_sim_meta *s)
{
    return &s->counts;
}
