/* core/meta.h on a file and as the simulator's twin: random histories, leases, watches, crashes. */
#include "suite.h"

#include <stdlib.h>

#include "base/mem.h"
#include "io/sim_disk.h"
#include "io/sim_meta.h"
#include "meta/meta_file.h"
#include "meta_history.h"
#include "storage/records_file.h"

#define MS QV_NS_PER_MS
#define S QV_NS_PER_S

struct world {
    struct qv_sim *sim;
    struct qv_disk *disk; /* of a file */
    struct qv_sim_meta *store;
    struct qv_sim_node *nodes[MH_CLIENTS_MAX];
    struct qv_meta *metas[MH_CLIENTS_MAX];
    unsigned count;
};

static const struct qv_sim_meta_config calm;

static struct qv_meta *open_file(struct world *w)
{
    struct qv_records *r;
    struct qv_meta *m;
    assert_int_equal(qv_records_file_open(w->disk, "/data/cluster", &r, NULL), 0);
    assert_int_equal(qv_meta_file_open(qv_sim_node_env(w->nodes[0]), r, &m, NULL), 0);
    return m;
}

/* config NULL: a file, of one node. */
static void world_open(struct world *w, const struct qv_sim_meta_config *config, unsigned count,
                       uint64_t seed)
{
    *w = (struct world){.count = count};
    w->sim = qv_sim_create(&(struct qv_sim_config){.seed = seed});
    if (config != NULL)
        w->store = qv_sim_meta_create(w->sim, config);
    w->disk = qv_sim_disk_create(seed, 0);
    assert_int_equal(qv_disk_mkdir_all(w->disk, "/data", NULL), 0);
    for (unsigned i = 0; i < count; i++) {
        w->nodes[i] = qv_sim_node_create(w->sim, w->disk, 0);
        w->metas[i] = config == NULL
                          ? open_file(w)
                          : qv_sim_meta_open(w->store, qv_sim_node_env(w->nodes[i]), NULL);
    }
}

static void world_close(struct world *w)
{
    for (unsigned i = 0; i < w->count; i++) {
        qv_meta_close(w->metas[i]);
        qv_sim_node_destroy(&w->nodes[i]);
    }
    qv_sim_meta_destroy(&w->store);
    qv_sim_disk_destroy(&w->disk);
    qv_sim_destroy(&w->sim);
}

/* ---- blocking calls, for tests that say one thing after another ---- */

struct answer {
    bool done;
    int err;
    uint64_t revision;
    uint32_t count;
    char text[512]; /* key=value@mod; ... */
    uint64_t at_ns;
};

static void put_text(struct answer *a, const struct qv_meta_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t n = strlen(a->text);
        snprintf(a->text + n, sizeof a->text - n, "%s%s%.*s@%llu;", entries[i].key,
                 entries[i].value.p == NULL ? "-" : "=", (int)entries[i].value.n,
                 entries[i].value.p == NULL ? "" : (const char *)entries[i].value.p,
                 (unsigned long long)entries[i].mod_revision);
    }
}

static void list_done(struct qv_meta_listing *l, int err)
{
    struct answer *a = l->arg;
    *a = (struct answer){.done = true, .err = err, .revision = l->revision, .count = l->count};
    if (err == 0)
        put_text(a, l->entries, l->count);
}

static void txn_done(struct qv_meta_txn *t, int err)
{
    struct answer *a = t->arg;
    *a = (struct answer){.done = true, .err = err, .revision = t->revision};
    if (err != 0)
        assert_true(t->msg.text[0] != '\0');
}

static void run_until(struct world *w, const bool *done)
{
    for (unsigned i = 0; !*done && i < 100000; i++)
        qv_sim_run_for(w->sim, MS);
    assert_true(*done);
}

static struct answer list(struct world *w, unsigned node, const char *prefix)
{
    struct answer a = {0};
    struct qv_meta_listing l = {.prefix = prefix, .done = list_done, .arg = &a};
    qv_meta_list(w->metas[node], &l);
    assert_false(a.done); /* never from inside */
    run_until(w, &a.done);
    return a;
}

static struct answer txn(struct world *w, unsigned node, struct qv_meta_txn t)
{
    struct answer a = {0};
    t.done = txn_done;
    t.arg = &a;
    qv_meta_txn(w->metas[node], &t);
    assert_false(a.done);
    run_until(w, &a.done);
    return a;
}

static struct qv_meta_change change(const char *key, const char *value, uint64_t lease)
{
    return (struct qv_meta_change){
        key, {(const uint8_t *)value, value == NULL ? 0 : strlen(value)}, lease};
}

static struct answer put(struct world *w, unsigned node, const char *key, const char *value,
                         uint64_t lease)
{
    struct qv_meta_change c = change(key, value, lease);
    return txn(w, node, (struct qv_meta_txn){.changes = &c, .change_count = 1});
}

struct seen {
    struct world *w;
    char text[2048];
    uint64_t revision;
    bool ended;
    int err;
    uint64_t at_ns;
};

static void on_events(struct qv_meta_watch *w, const struct qv_meta_entry *events, uint32_t count,
                      uint64_t revision)
{
    struct seen *s = w->arg;
    struct answer a = {0};
    put_text(&a, events, count);
    strncat(s->text, a.text, sizeof s->text - strlen(s->text) - 1);
    s->revision = revision;
    if (count > 0)
        s->at_ns = qv_sim_now_ns(s->w->sim);
}

static void on_ended(struct qv_meta_watch *w, int err)
{
    struct seen *s = w->arg;
    s->ended = true;
    s->err = err;
}

struct leased {
    struct world *w;
    bool granted, lost;
    int err, lost_err;
    uint64_t lost_ns;
};

static void on_granted(struct qv_meta_lease *l, int err)
{
    struct leased *s = l->arg;
    s->granted = true;
    s->err = err;
}

static void on_lost(struct qv_meta_lease *l, int err)
{
    struct leased *s = l->arg;
    s->lost = true;
    s->lost_err = err;
    s->lost_ns = qv_sim_now_ns(s->w->sim);
}

static void grant(struct world *w, unsigned node, uint32_t ttl_ms, struct qv_meta_lease *l,
                  struct leased *s)
{
    *s = (struct leased){.w = w};
    *l = (struct qv_meta_lease){.ttl_ms = ttl_ms, .granted = on_granted, .lost = on_lost, .arg = s};
    qv_meta_lease_grant(w->metas[node], l);
    run_until(w, &s->granted);
}

/* ---- the same on both ---- */

static void basics(struct world *w)
{
    struct qv_meta_change two[] = {change("a/1", "x", 0), change("a/2", "y", 0)};
    struct answer a = txn(w, 0, (struct qv_meta_txn){.changes = two, .change_count = 2});
    assert_int_equal(a.err, 0);
    uint64_t r = a.revision;
    assert_int_equal(put(w, 0, "b", "", 0).revision, r + 1);
    a = list(w, 0, "a/");
    assert_int_equal(a.revision, r + 1);
    assert_int_equal(a.count, 2);
    assert_int_equal(list(w, 0, "").count, 3);
    assert_int_equal(list(w, 0, "a/1x").count, 0);
    struct qv_meta_compare c = {.kind = QV_META_MOD, .key = "a/1", .mod_revision = r + 1};
    two[0] = change("a/1", NULL, 0);
    two[1] = change("c", NULL, 0);
    struct qv_meta_txn t = {.compares = &c, .compare_count = 1, .changes = two, .change_count = 2};
    a = txn(w, 0, t);
    assert_int_equal(a.err, QV_ESTALE);
    assert_int_equal(a.revision, r + 1);
    c.mod_revision = r;
    a = txn(w, 0, t);
    assert_int_equal(a.err, 0);
    assert_int_equal(a.revision, r + 2);
    two[0] = change("a/1", NULL, 0); /* nothing there any more: no new revision */
    a = txn(w, 0, (struct qv_meta_txn){.changes = two, .change_count = 2});
    assert_int_equal(a.err, 0);
    assert_int_equal(a.revision, r + 2);
}

static void limits(struct world *w)
{
    static uint8_t big[QV_META_VALUE_BYTES_MAX + 1];
    char key[QV_META_KEY_BYTES_MAX + 2];
    memset(key, 'k', sizeof key);
    key[sizeof key - 1] = '\0';
    memset(big, 'v', sizeof big);
    assert_int_equal(put(w, 0, key, "v", 0).err, QV_ELIMIT);
    key[QV_META_KEY_BYTES_MAX] = '\0';
    struct qv_meta_change c[QV_META_CHANGES_MAX + 1] = {{.key = key, .value = {big, sizeof big}}};
    struct qv_meta_txn t = {.changes = c, .change_count = 1};
    assert_int_equal(txn(w, 0, t).err, QV_ETOOBIG);
    c[0].value.n--;
    assert_int_equal(txn(w, 0, t).err, 0);
    c[1] = (struct qv_meta_change){.key = "other", .value = c[0].value};
    t.change_count = 2;
    assert_int_equal(txn(w, 0, t).err, QV_ETOOBIG);
    c[0] = c[1] = change("k", "v", 0);
    assert_int_equal(txn(w, 0, t).err, QV_EINVAL);
    t.change_count = QV_META_CHANGES_MAX + 1;
    assert_int_equal(txn(w, 0, t).err, QV_ELIMIT);
    assert_int_equal(put(w, 0, "", "v", 0).err, QV_EINVAL);
    assert_int_equal(put(w, 0, "k", "v", 77).err, QV_ENOTFOUND);
    struct qv_meta_watch watch = {.prefix = "", .from = 0, .events = on_events, .ended = on_ended};
    struct seen s = {.w = w};
    watch.arg = &s;
    qv_meta_watch_start(w->metas[0], &watch);
    run_until(w, &s.ended);
    assert_int_equal(s.err, QV_EINVAL);
    struct qv_meta_lease l;
    struct leased ls;
    grant(w, 0, 0, &l, &ls);
    assert_int_equal(ls.err, QV_EINVAL);
}

static void watches(struct world *w)
{
    uint64_t r = list(w, 0, "").revision;
    struct seen all = {.w = w}, some = {.w = w}, later = {.w = w};
    struct qv_meta_watch a = {
        .prefix = "", .from = r + 1, .events = on_events, .ended = on_ended, .arg = &all};
    struct qv_meta_watch b = {
        .prefix = "x/", .from = r + 1, .events = on_events, .ended = on_ended, .arg = &some};
    struct qv_meta_watch c = {
        .prefix = "x/", .from = r + 2, .events = on_events, .ended = on_ended, .arg = &later};
    char want[128];
    qv_meta_watch_start(w->metas[0], &a);
    qv_meta_watch_start(w->metas[0], &b);
    assert_int_equal(put(w, 0, "x/1", "one", 0).revision, r + 1);
    assert_int_equal(put(w, 0, "y", "two", 0).revision, r + 2);
    qv_meta_watch_start(w->metas[0], &c);
    assert_int_equal(put(w, 0, "x/1", NULL, 0).revision, r + 3);
    qv_sim_run_for(w->sim, 2 * S);
    snprintf(want, sizeof want, "x/1=one@%llu;y=two@%llu;x/1-@%llu;", (unsigned long long)r + 1,
             (unsigned long long)r + 2, (unsigned long long)r + 3);
    assert_string_equal(all.text, want);
    snprintf(want, sizeof want, "x/1=one@%llu;x/1-@%llu;", (unsigned long long)r + 1,
             (unsigned long long)r + 3);
    assert_string_equal(some.text, want);
    snprintf(want, sizeof want, "x/1-@%llu;", (unsigned long long)r + 3);
    assert_string_equal(later.text, want);
    qv_meta_watch_stop(w->metas[0], &a);
    qv_meta_watch_stop(w->metas[0], &a);
    assert_int_equal(put(w, 0, "x/2", "z", 0).err, 0);
    qv_sim_run_for(w->sim, 2 * S);
    assert_int_equal(all.revision, r + 3);
    assert_true(some.revision == r + 4);
    qv_meta_watch_stop(w->metas[0], &b);
    qv_meta_watch_stop(w->metas[0], &c);
    assert_false(all.ended || some.ended || later.ended);
}

static void leases(struct world *w)
{
    struct qv_meta_lease l;
    struct leased s;
    grant(w, 0, 3000, &l, &s);
    assert_int_equal(s.err, 0);
    assert_int_equal(put(w, 0, "leased", "v", l.id).err, 0);
    for (unsigned i = 0; i < 40; i++) {
        qv_sim_run_for(w->sim, S);
        assert_true(qv_meta_lease_holds(w->metas[0], &l));
    }
    assert_int_equal(list(w, 0, "leased").count, 1);
    qv_meta_lease_revoke(w->metas[0], &l);
    assert_false(qv_meta_lease_holds(w->metas[0], &l));
    run_until(w, &s.lost);
    assert_int_equal(s.lost_err, 0);
    assert_int_equal(list(w, 0, "leased").count, 0);
}

static void close_with_requests(struct world *w)
{
    struct answer a = {0}, b = {0};
    struct seen s = {.w = w};
    struct qv_meta_lease lease;
    struct leased ls;
    grant(w, 0, 3000, &lease, &ls);
    struct qv_meta_change c = change("late", "v", 0);
    struct qv_meta_listing l = {.prefix = "", .done = list_done, .arg = &a};
    struct qv_meta_txn t = {.changes = &c, .change_count = 1, .done = txn_done, .arg = &b};
    struct qv_meta_watch watch = {
        .prefix = "", .from = 1, .events = on_events, .ended = on_ended, .arg = &s};
    qv_meta_watch_start(w->metas[0], &watch);
    qv_meta_txn(w->metas[0], &t);
    qv_sim_run(w->sim, 2);
    qv_meta_list(w->metas[0], &l);
    strcpy(t.msg.text, "-");
    if (!s.ended)
        strcpy(watch.msg.text, "-");
    qv_meta_close(w->metas[0]);
    w->metas[0] = NULL;
    assert_true(a.done && b.done && s.ended && ls.lost);
    assert_int_equal(a.err, QV_ECANCELED);
    assert_true(b.err == QV_EUNKNOWN || b.err == QV_ECANCELED || b.err == 0);
    qv_sim_run_for(w->sim, 10 * S);
}

static void test_file(void **state)
{
    (void)state;
    static void (*const parts[])(struct world *) = {basics, limits, watches, leases,
                                                    close_with_requests};
    struct world w;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        world_open(&w, NULL, 1, i + 1);
        parts[i](&w);
        world_close(&w);
    }
}

static void test_twin(void **state)
{
    (void)state;
    static void (*const parts[])(struct world *) = {basics, limits, watches, leases,
                                                    close_with_requests};
    struct world w;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        world_open(&w, &calm, 2, i + 1);
        parts[i](&w);
        world_close(&w);
    }
}

/* ---- the file alone ---- */

static void test_file_reopens(void **state)
{
    (void)state;
    struct world w;
    struct qv_meta_lease l;
    struct leased s;
    world_open(&w, NULL, 1, 9);
    put(&w, 0, "kept", "v", 0);
    grant(&w, 0, 1000, &l, &s);
    struct answer before = put(&w, 0, "leased", "v", l.id);
    qv_meta_close(w.metas[0]);
    assert_true(s.lost);
    w.metas[0] = open_file(&w);
    struct answer a = list(&w, 0, "");
    assert_int_equal(a.revision, before.revision + 1);
    assert_string_equal(a.text, "kept=v@2;");
    struct seen old = {.w = &w};
    struct qv_meta_watch watch = {
        .prefix = "", .from = a.revision, .events = on_events, .ended = on_ended, .arg = &old};
    qv_meta_watch_start(w.metas[0], &watch);
    run_until(&w, &old.ended);
    assert_int_equal(old.err, QV_ESTALE); /* the removal is not in memory */
    world_close(&w);
}

static void test_file_full_disk(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL, 1, 10);
    assert_int_equal(put(&w, 0, "k", "v", 0).err, 0);
    qv_sim_disk_fail(w.disk, QV_SIM_OP_WRITE, "cluster", 1, 1, QV_ENOSPC);
    assert_int_equal(put(&w, 0, "k", "w", 0).err, QV_ENOSPC);
    qv_sim_disk_fail(w.disk, QV_SIM_OP_SYNC, "cluster", 1, 1, QV_EIO);
    assert_int_equal(put(&w, 0, "k", "w", 0).err, QV_EUNKNOWN);
    assert_string_equal(list(&w, 0, "").text, "k=v@2;");
    assert_int_equal(put(&w, 0, "k", "x", 0).err, 0);
    world_close(&w);
}

/* ---- the twin alone ---- */

/* Cut off, its holder learns that it may be over before the store ends it. */
static void test_lease_is_lost_in_time(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct world w;
        struct qv_meta_lease l;
        struct leased s;
        world_open(&w, &calm, 2, seed);
        grant(&w, 0, 2000, &l, &s);
        struct answer a = put(&w, 0, "leased", "v", l.id);
        struct seen seen = {.w = &w};
        struct qv_meta_watch watch = {.prefix = "leased",
                                      .from = a.revision + 1,
                                      .events = on_events,
                                      .ended = on_ended,
                                      .arg = &seen};
        qv_meta_watch_start(w.metas[1], &watch);
        qv_sim_run_for(w.sim, seed * 137 * MS);
        assert_false(s.lost);
        qv_sim_meta_set_away(w.store, w.metas[0], true);
        run_until(&w, &s.lost);
        assert_int_equal(s.lost_err, QV_ETIMEOUT);
        assert_string_equal(seen.text, "");
        qv_sim_run_for(w.sim, 3 * S);
        assert_true(seen.at_ns > s.lost_ns);
        qv_sim_meta_set_away(w.store, NULL, false);
        grant(&w, 0, 2000, &l, &s); /* the struct is the caller's again */
        assert_int_equal(s.err, 0);
        qv_sim_meta_end_leases(w.store); /* an operator */
        run_until(&w, &s.lost);
        assert_int_equal(s.lost_err, QV_ENOTFOUND);
        world_close(&w);
    }
}

static void test_watch_is_compacted(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &calm, 1, 3);
    uint64_t r = 0;
    for (unsigned i = 0; i < 5; i++)
        r = put(&w, 0, "k", "v", 0).revision;
    qv_sim_meta_compact(w.store, r - 1);
    for (unsigned i = 0; i < 2; i++) {
        struct seen s = {.w = &w};
        struct qv_meta_watch watch = {
            .prefix = "", .from = r - 2 + i, .events = on_events, .ended = on_ended, .arg = &s};
        qv_meta_watch_start(w.metas[0], &watch);
        qv_sim_run_for(w.sim, S);
        assert_int_equal(s.ended, i == 0);
        assert_int_equal(s.err, i == 0 ? QV_ESTALE : 0);
        qv_meta_watch_stop(w.metas[0], &watch);
    }
    world_close(&w);
}

static void test_store_put_back(void **state)
{
    (void)state;
    for (unsigned other = 0; other < 2; other++) {
        struct world w;
        world_open(&w, &calm, 1, 4 + other);
        put(&w, 0, "k", "v", 0);
        qv_sim_meta_backup(w.store);
        uint64_t r = put(&w, 0, "k", "w", 0).revision;
        struct seen s = {.w = &w};
        struct qv_meta_watch watch = {
            .prefix = "", .from = r + 1, .events = on_events, .ended = on_ended, .arg = &s};
        qv_meta_watch_start(w.metas[0], &watch);
        qv_sim_run_for(w.sim, S);
        qv_sim_meta_restore(w.store, other == 1);
        assert_int_equal(put(&w, 0, "k", "x", 0).err, QV_ESTALE);
        assert_true(w.metas[0]->replaced);
        assert_int_equal(list(&w, 0, "").err, QV_ESTALE);
        run_until(&w, &s.ended);
        assert_int_equal(s.err, QV_ESTALE);
        struct qv_meta known = *w.metas[0];
        qv_meta_close(w.metas[0]);
        w.metas[0] = qv_sim_meta_open(w.store, qv_sim_node_env(w.nodes[0]), &known);
        assert_int_equal(list(&w, 0, "").err, QV_ESTALE); /* remembered over a restart */
        qv_meta_close(w.metas[0]);
        w.metas[0] = qv_sim_meta_open(w.store, qv_sim_node_env(w.nodes[0]), NULL);
        assert_string_equal(list(&w, 0, "").text, "k=v@2;"); /* adopted */
        world_close(&w);
    }
}

static void test_crash_mid_write(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct world w;
        bool is_file = seed % 2;
        struct answer a = {0};
        world_open(&w, is_file ? NULL : &calm, 1, seed);
        struct answer first = put(&w, 0, "k", "before", 0);
        struct qv_meta_change c = change("k", "after", 0);
        struct qv_meta_txn t = {.changes = &c, .change_count = 1, .done = txn_done, .arg = &a};
        qv_meta_txn(w.metas[0], &t);
        qv_sim_run(w.sim, 1 + seed % 4);
        bool acked = a.done;
        qv_sim_node_crash(w.nodes[0]);
        qv_meta_abandon(w.metas[0]);
        qv_sim_run_for(w.sim, S);
        w.metas[0] =
            is_file ? open_file(&w) : qv_sim_meta_open(w.store, qv_sim_node_env(w.nodes[0]), NULL);
        struct answer now = list(&w, 0, "");
        if (now.revision == first.revision)
            assert_string_equal(now.text, "k=before@2;");
        else
            assert_string_equal(now.text, "k=after@3;");
        assert_true(!acked || now.revision == first.revision + 1);
        world_close(&w);
    }
}

/* ---- histories ---- */

static void add_counts(struct qv_sim_meta_counts *to, const struct qv_sim_meta_counts *c)
{
    to->txns += c->txns;
    to->stale += c->stale;
    to->unknown_done += c->unknown_done;
    to->unknown_not_done += c->unknown_not_done;
    to->done_late += c->done_late;
    to->unavailable += c->unavailable;
    to->spells += c->spells;
    to->watches_compacted += c->watches_compacted;
    to->batches += c->batches;
}

static void history(const struct qv_sim_meta_config *config, unsigned count, uint64_t seed,
                    uint64_t seconds, struct qv_sim_meta_counts *sum)
{
    struct world w;
    world_open(&w, config, count, seed);
    struct mh *h = mh_create(w.metas, count, seed);
    qv_sim_run_for(w.sim, seconds * S);
    mh_stop(h);
    qv_sim_run_for(w.sim, 30 * S); /* late requests arrive */
    if (w.store != NULL) {
        add_counts(sum, qv_sim_meta_counts(w.store));
        qv_sim_meta_set_config(w.store, &calm);
        qv_sim_run_for(w.sim, 20 * S);
    }
    assert_true(mh_idle(h) && mh_level(h));
    assert_true(h->done_ok > seconds && h->lists_ok > seconds / 4);
    mh_check(h);
    qv_meta_watch_stop(w.metas[0], &h->observer.watch);
    mh_free(h);
    world_close(&w);
}

static void test_history_file(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SANITIZED_LESS(30); seed++)
        history(NULL, 1, seed, 10, NULL);
}

static void test_history_twin(void **state)
{
    (void)state;
    struct qv_sim_meta_counts sum = {0};
    for (uint64_t seed = 1; seed <= SANITIZED_LESS(30); seed++)
        history(&calm, 3, seed, 10, &sum);
    assert_true(sum.txns > 0 && sum.stale > 0 && sum.batches > 0);
    assert_int_equal(sum.unknown_done + sum.unknown_not_done + sum.done_late, 0);
}

static const struct qv_sim_meta_config faulty = {
    .lose_request = 0.03,
    .lose_answer = 0.03,
    .late_request = 0.02,
    .early_lease = 0.05,
    .watch_late_ns_max = 500 * QV_NS_PER_MS,
    .away_every_ns = 5 * QV_NS_PER_S,
    .away_ns_max = 4 * QV_NS_PER_S,
    .compact_every_ns = 2 * QV_NS_PER_S,
};

static void test_history_faulty(void **state)
{
    (void)state;
    struct qv_sim_meta_counts sum = {0};
    uint64_t seeds = SANITIZED_LESS(60) + 4;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        if (getenv("QV_VERBOSE") != NULL)
            print_message("seed %llu\n", (unsigned long long)seed);
        history(&faulty, 4, seed, 30, &sum);
    }
    print_message("txns %llu stale %llu unknown: done %llu, not done %llu, done late %llu; away "
                  "%llu; spells %llu; compacted %llu\n",
                  (unsigned long long)sum.txns, (unsigned long long)sum.stale,
                  (unsigned long long)sum.unknown_done, (unsigned long long)sum.unknown_not_done,
                  (unsigned long long)sum.done_late, (unsigned long long)sum.unavailable,
                  (unsigned long long)sum.spells, (unsigned long long)sum.watches_compacted);
    assert_true(sum.unknown_done > 0 && sum.unknown_not_done > 0 && sum.done_late > 0);
    assert_true(sum.unavailable > 0 && sum.spells > 0 && sum.watches_compacted > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_twin),
        cmocka_unit_test(test_file_reopens),
        cmocka_unit_test(test_file_full_disk),
        cmocka_unit_test(test_lease_is_lost_in_time),
        cmocka_unit_test(test_watch_is_compacted),
        cmocka_unit_test(test_store_put_back),
        cmocka_unit_test(test_crash_mid_write),
        cmocka_unit_test(test_history_file),
        cmocka_unit_test(test_history_twin),
        cmocka_unit_test(test_history_faulty),
    };
    return RUN_SUITE(tests);
}
