/* core/meta.h on a file and as the simulator's twin: random histories, mp_leases, mp_watches,
 * crashes. */
#include "suite.h"

#include <stdlib.h>

#include "base/mem.h"
#include "io/sim_disk.h"
#include "io/sim_meta.h"
#include "meta/meta_file.h"
#include "meta_history.h"
#include "meta_parts.h"
#include "storage/records_file.h"

#define MS QV_NS_PER_MS
#define S QV_NS_PER_S

struct world {
    struct mp mp; /* first */
    struct qv_sim *sim;
    struct qv_disk *disk; /* of a file */
    struct qv_sim_meta *store;
    struct qv_sim_node *nodes[MH_CLIENTS_MAX];
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

static void run(struct mp *mp, unsigned ms)
{
    struct world *w = (struct world *)mp;
    if (ms == 0)
        qv_sim_run(w->sim, 2);
    else
        qv_sim_run_for(w->sim, ms * MS);
}

/* config NULL: a file, of one node. */
static void world_open(struct world *w, const struct qv_sim_meta_config *config, unsigned count,
                       uint64_t seed)
{
    *w = (struct world){.mp = {.count = count, .run = run}};
    w->sim = qv_sim_create(&(struct qv_sim_config){.seed = seed});
    if (config != NULL)
        w->store = qv_sim_meta_create(w->sim, config);
    w->disk = qv_sim_disk_create(seed, 0);
    assert_int_equal(qv_disk_mkdir_all(w->disk, "/data", NULL), 0);
    for (unsigned i = 0; i < count; i++) {
        w->nodes[i] = qv_sim_node_create(w->sim, w->disk, 0);
        w->mp.metas[i] = config == NULL
                             ? open_file(w)
                             : qv_sim_meta_open(w->store, qv_sim_node_env(w->nodes[i]), NULL);
    }
}

static void world_close(struct world *w)
{
    for (unsigned i = 0; i < w->mp.count; i++) {
        qv_meta_close(w->mp.metas[i]);
        qv_sim_node_destroy(&w->nodes[i]);
    }
    qv_sim_meta_destroy(&w->store);
    qv_sim_disk_destroy(&w->disk);
    qv_sim_destroy(&w->sim);
}

static void test_file(void **state)
{
    (void)state;
    static void (*const parts[])(struct mp *) = {mp_basics, mp_limits, mp_watches, mp_leases,
                                                 mp_close_with_requests};
    struct world w;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        world_open(&w, NULL, 1, i + 1);
        parts[i](&w.mp);
        world_close(&w);
    }
}

static void test_twin(void **state)
{
    (void)state;
    static void (*const parts[])(struct mp *) = {mp_basics, mp_limits, mp_watches, mp_leases,
                                                 mp_close_with_requests};
    struct world w;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        world_open(&w, &calm, 2, i + 1);
        parts[i](&w.mp);
        world_close(&w);
    }
}

/* ---- the file alone ---- */

static void test_file_reopens(void **state)
{
    (void)state;
    struct world w;
    struct qv_meta_lease l;
    struct mp_leased s;
    world_open(&w, NULL, 1, 9);
    mp_put(&w.mp, 0, "kept", "v", 0);
    mp_grant(&w.mp, 0, 1000, &l, &s);
    struct mp_answer before = mp_put(&w.mp, 0, "leased", "v", l.id);
    qv_meta_close(w.mp.metas[0]);
    assert_true(s.lost);
    w.mp.metas[0] = open_file(&w);
    struct mp_answer a = mp_list(&w.mp, 0, "");
    assert_int_equal(a.revision, before.revision + 1);
    assert_string_equal(a.text, "kept=v@2;");
    struct mp_seen old = {.w = &w.mp};
    struct qv_meta_watch watch = {.prefix = "",
                                  .from = a.revision,
                                  .events = mp_on_events,
                                  .ended = mp_on_ended,
                                  .arg = &old};
    qv_meta_watch_start(w.mp.metas[0], &watch);
    mp_run_until(&w.mp, &old.ended);
    assert_int_equal(old.err, QV_ESTALE); /* the removal is not in memory */
    world_close(&w);
}

static void test_file_full_disk(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL, 1, 10);
    assert_int_equal(mp_put(&w.mp, 0, "k", "v", 0).err, 0);
    qv_sim_disk_fail(w.disk, QV_SIM_OP_WRITE, "cluster", 1, 1, QV_ENOSPC);
    assert_int_equal(mp_put(&w.mp, 0, "k", "w", 0).err, QV_ENOSPC);
    qv_sim_disk_fail(w.disk, QV_SIM_OP_SYNC, "cluster", 1, 1, QV_EIO);
    assert_int_equal(mp_put(&w.mp, 0, "k", "w", 0).err, QV_EUNKNOWN);
    assert_string_equal(mp_list(&w.mp, 0, "").text, "k=v@2;");
    assert_int_equal(mp_put(&w.mp, 0, "k", "x", 0).err, 0);
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
        struct mp_leased s;
        world_open(&w, &calm, 2, seed);
        mp_grant(&w.mp, 0, 2000, &l, &s);
        struct mp_answer a = mp_put(&w.mp, 0, "leased", "v", l.id);
        struct mp_seen seen = {.w = &w.mp};
        struct qv_meta_watch watch = {.prefix = "leased",
                                      .from = a.revision + 1,
                                      .events = mp_on_events,
                                      .ended = mp_on_ended,
                                      .arg = &seen};
        qv_meta_watch_start(w.mp.metas[1], &watch);
        qv_sim_run_for(w.sim, seed * 137 * MS);
        assert_false(s.lost);
        qv_sim_meta_set_away(w.store, w.mp.metas[0], true);
        mp_run_until(&w.mp, &s.lost);
        assert_int_equal(s.lost_err, QV_ETIMEOUT);
        assert_string_equal(seen.text, "");
        qv_sim_run_for(w.sim, 3 * S);
        assert_true(seen.at_ns > s.lost_ns);
        qv_sim_meta_set_away(w.store, NULL, false);
        mp_grant(&w.mp, 0, 2000, &l, &s); /* the struct is the caller's again */
        assert_int_equal(s.err, 0);
        qv_sim_meta_end_leases(w.store); /* an operator */
        mp_run_until(&w.mp, &s.lost);
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
        r = mp_put(&w.mp, 0, "k", "v", 0).revision;
    qv_sim_meta_compact(w.store, r - 1);
    for (unsigned i = 0; i < 2; i++) {
        struct mp_seen s = {.w = &w.mp};
        struct qv_meta_watch watch = {.prefix = "",
                                      .from = r - 2 + i,
                                      .events = mp_on_events,
                                      .ended = mp_on_ended,
                                      .arg = &s};
        qv_meta_watch_start(w.mp.metas[0], &watch);
        qv_sim_run_for(w.sim, S);
        assert_int_equal(s.ended, i == 0);
        assert_int_equal(s.err, i == 0 ? QV_ESTALE : 0);
        qv_meta_watch_stop(w.mp.metas[0], &watch);
    }
    world_close(&w);
}

static void test_store_put_back(void **state)
{
    (void)state;
    for (unsigned other = 0; other < 2; other++) {
        struct world w;
        world_open(&w, &calm, 1, 4 + other);
        mp_put(&w.mp, 0, "k", "v", 0);
        qv_sim_meta_backup(w.store);
        uint64_t r = mp_put(&w.mp, 0, "k", "w", 0).revision;
        struct mp_seen s = {.w = &w.mp};
        struct qv_meta_watch watch = {
            .prefix = "", .from = r + 1, .events = mp_on_events, .ended = mp_on_ended, .arg = &s};
        qv_meta_watch_start(w.mp.metas[0], &watch);
        qv_sim_run_for(w.sim, S);
        qv_sim_meta_restore(w.store, other == 1);
        assert_int_equal(mp_put(&w.mp, 0, "k", "x", 0).err, QV_ESTALE);
        assert_true(w.mp.metas[0]->replaced);
        assert_int_equal(mp_list(&w.mp, 0, "").err, QV_ESTALE);
        mp_run_until(&w.mp, &s.ended);
        assert_int_equal(s.err, QV_ESTALE);
        struct qv_meta known = *w.mp.metas[0];
        qv_meta_close(w.mp.metas[0]);
        w.mp.metas[0] = qv_sim_meta_open(w.store, qv_sim_node_env(w.nodes[0]), &known);
        assert_int_equal(mp_list(&w.mp, 0, "").err, QV_ESTALE); /* remembered over a restart */
        qv_meta_close(w.mp.metas[0]);
        w.mp.metas[0] = qv_sim_meta_open(w.store, qv_sim_node_env(w.nodes[0]), NULL);
        assert_string_equal(mp_list(&w.mp, 0, "").text, "k=v@2;"); /* adopted */
        world_close(&w);
    }
}

static void test_crash_mid_write(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct world w;
        bool is_file = seed % 2;
        struct mp_answer a = {0};
        world_open(&w, is_file ? NULL : &calm, 1, seed);
        struct mp_answer first = mp_put(&w.mp, 0, "k", "before", 0);
        struct qv_meta_change c = mp_change("k", "after", 0);
        struct qv_meta_txn t = {.changes = &c, .change_count = 1, .done = mp_txn_done, .arg = &a};
        qv_meta_txn(w.mp.metas[0], &t);
        qv_sim_run(w.sim, 1 + seed % 4);
        bool acked = a.done;
        qv_sim_node_crash(w.nodes[0]);
        qv_meta_abandon(w.mp.metas[0]);
        qv_sim_run_for(w.sim, S);
        w.mp.metas[0] =
            is_file ? open_file(&w) : qv_sim_meta_open(w.store, qv_sim_node_env(w.nodes[0]), NULL);
        struct mp_answer now = mp_list(&w.mp, 0, "");
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
    struct mh *h = mh_create(w.mp.metas, count, seed);
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
    qv_meta_watch_stop(w.mp.metas[0], &h->observer.watch);
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
