/* Several nodes over the simulator's metadata and network: they make themselves known, elect one,
 * and change the tree through it, while everything that can fail does. */
#include "suite.h"

#include "base/mem.h"
#include "cluster/membership.h"
#include "io/sim_disk.h"
#include "io/sim_meta.h"
#include "io/sim_net.h"

#include <stdio.h>

#define NODES 4
#define ROUNDS 30

static const uint8_t cluster_id[QV_CLUSTER_ID_BYTES] = {1, 2, 3};

struct member {
    struct world *w;
    uint64_t id, incarnation;
    struct qv_sim_node *node;
    struct qv_disk *disk;
    struct qv_meta *meta;
    struct qv_peers *peers;
    struct qv_membership *m;
    uint64_t epoch; /* shown */
    struct qv_buf copy;
    bool closed;
};

struct world {
    struct qv_sim *sim;
    struct qv_sim_meta *store;
    struct qv_sim_net *net;
    struct qv_rng rng;
    struct member members[NODES];
    uint32_t done, stale, unknown, failed;
};

static void changed(void *arg)
{
    struct member *x = arg;
    const struct qv_topology *t = qv_membership_tree(x->m);
    assert_true(t->epoch >= x->epoch);
    x->epoch = t->epoch;
    for (uint32_t i = 0; i < t->member_count; i++) {
        if (qv_peers_set(x->peers, t->members[i].id, t->members[i].host, t->members[i].peer_port,
                         NULL) != 0)
            fail();
    }
}

static void start(struct member *x, uint8_t role)
{
    struct qv_peer_self self = {.id = x->id, .incarnation = ++x->incarnation};
    struct qv_membership_config config = {
        .changed = changed, .arg = x, .copy = {x->copy.data, x->copy.len}};
    struct qv_errmsg msg;
    char host[16];
    snprintf(host, sizeof host, "n%u", (unsigned)x->id);
    memcpy(self.cluster, cluster_id, sizeof self.cluster);
    x->peers = qv_sim_net_join(x->w->net, x->node, &self, host, 6335);
    x->meta = qv_sim_meta_open(x->w->store, qv_sim_node_env(x->node), NULL);
    config.env = qv_sim_node_env(x->node);
    config.meta = x->meta;
    config.peers = x->peers;
    config.self = (struct qv_member){.id = x->id,
                                     .incarnation = x->incarnation,
                                     .role = role,
                                     .peer_port = 6335,
                                     .protocol_min = 1,
                                     .protocol_max = 1};
    snprintf(config.self.host, sizeof config.self.host, "%s", host);
    x->epoch = 0;
    assert_int_equal(qv_membership_open(&config, &x->m, &msg), 0);
}

static void crash(struct member *x)
{
    qv_buf_close(&x->copy);
    qv_buf_init(&x->copy, 0);
    qv_membership_copy(x->m, &x->copy);
    qv_sim_net_crash(x->w->net, x->id, QV_SIM_NET_KILLED);
    qv_sim_node_crash(x->node);
    qv_meta_abandon(x->meta); /* it still knows calls of the other's */
    qv_membership_abandon(&x->m);
}

static void was_closed(void *arg)
{
    ((struct member *)arg)->closed = true;
}

static void open_world(struct world *w, uint64_t seed, bool faults)
{
    struct qv_sim_config sim = {.seed = seed};
    struct qv_sim_meta_config meta = {0};
    struct qv_sim_net_config net = {.seed = seed};
    memset(w, 0, sizeof *w);
    if (faults) {
        meta = (struct qv_sim_meta_config){.lose_request = 0.02,
                                           .lose_answer = 0.02,
                                           .late_request = 0.01,
                                           .early_lease = 0.05,
                                           .watch_late_ns_max = 200 * QV_NS_PER_MS,
                                           .away_every_ns = 20 * QV_NS_PER_S,
                                           .away_ns_max = 6 * QV_NS_PER_S,
                                           .compact_every_ns = 15 * QV_NS_PER_S};
        net.loss = 0.01;
        net.duplicate = 0.02;
    }
    qv_rng_init(&w->rng, seed);
    w->sim = qv_sim_create(&sim);
    w->store = qv_sim_meta_create(w->sim, &meta);
    w->net = qv_sim_net_create(w->sim, &net);
    for (uint32_t i = 0; i < NODES; i++) {
        struct member *x = &w->members[i];
        x->w = w;
        x->id = 10 + i;
        qv_buf_init(&x->copy, 0);
        x->disk = qv_sim_disk_create(seed + i, 0);
        x->node = qv_sim_node_create(w->sim, x->disk, 0);
        start(x, i == 0 ? QV_ROLE_PROXY : QV_ROLE_ALL);
    }
}

static void close_world(struct world *w)
{
    qv_sim_net_heal(w->net);
    for (uint32_t i = 0; i < NODES; i++) {
        qv_membership_close(w->members[i].m, was_closed, &w->members[i]);
        qv_sim_run_for(w->sim, 20 * QV_NS_PER_S);
        assert_true(w->members[i].closed);
        qv_sim_net_leave(w->net, w->members[i].id);
    }
    for (uint32_t i = 0; i < NODES; i++) {
        qv_sim_node_destroy(&w->members[i].node);
        qv_sim_disk_destroy(&w->members[i].disk);
        qv_buf_close(&w->members[i].copy);
    }
    qv_sim_net_destroy(&w->net);
    qv_sim_meta_destroy(&w->store);
    qv_sim_destroy(&w->sim);
}

/* ---- changes: a counter in each node's zone; what is acknowledged must be there ---- */

struct change {
    struct qv_proposal p;
    struct world *w;
    struct member *at;
    uint32_t number;
    char key[32];
    struct qv_mirror_entry entry;
    bool over;
    int err;
};

static void change_done(struct qv_proposal *p, int err)
{
    struct change *c = p->arg;
    c->over = true;
    c->err = err;
    c->w->done += err == 0;
    c->w->stale += err == QV_ESTALE;
    c->w->unknown += err == QV_EUNKNOWN;
    c->w->failed += err != 0 && err != QV_ESTALE && err != QV_EUNKNOWN;
    if (err == 0)
        assert_true(qv_membership_tree(c->at->m)->epoch >= p->epoch);
}

static void propose(struct world *w, struct member *x, struct change *c, uint32_t number)
{
    *c = (struct change){.w = w, .at = x, .number = number};
    snprintf(c->key, sizeof c->key, "test/%u", number);
    c->entry = (struct qv_mirror_entry){c->key, {(const uint8_t *)&c->number, sizeof number}};
    c->p = (struct qv_proposal){.base = qv_membership_tree(x->m)->epoch,
                                .changes = &c->entry,
                                .count = 1,
                                .deadline_ns = qv_sim_now_ns(w->sim) + 10 * QV_NS_PER_S,
                                .done = change_done,
                                .arg = c};
    qv_membership_propose(x->m, &c->p);
}

static bool is_there(struct world *w, const struct change *c)
{
    return qv_meta_tree_find(qv_sim_meta_tree(w->store), c->key) != NULL;
}

static void test_a_quiet_cluster(void **state)
{
    (void)state;
    struct world w;
    struct change c;
    uint32_t elected = 0;
    open_world(&w, 1, false);
    qv_sim_run_for(w.sim, 10 * QV_NS_PER_S);
    for (uint32_t i = 0; i < NODES; i++) {
        struct qv_membership_status s;
        const struct qv_topology *t = qv_membership_tree(w.members[i].m);
        qv_membership_status(w.members[i].m, &s);
        elected += s.elected;
        assert_int_equal(t->member_count, NODES);
        assert_int_equal(t->members[0].role, QV_ROLE_PROXY);
        assert_true(qv_membership_joined(w.members[i].m));
        assert_true(s.controller != 0 && s.reachable);
        assert_string_equal(s.why, "");
    }
    assert_int_equal(elected, 1);
    for (uint32_t i = 0; i < NODES; i++) {
        propose(&w, &w.members[i], &c, i);
        qv_sim_run_for(w.sim, QV_NS_PER_S);
        assert_true(c.over);
        assert_int_equal(c.err, 0);
        assert_true(is_there(&w, &c));
    }
    c.p.base = 1; /* made from a tree of long ago */
    qv_membership_propose(w.members[1].m, &c.p);
    qv_sim_run_for(w.sim, QV_NS_PER_S);
    assert_int_equal(c.err, QV_ESTALE);
    close_world(&w);
}

/* With the metadata away the tree stays, a change waits, and is done after its return. */
static void test_the_metadata_goes_and_comes(void **state)
{
    (void)state;
    struct world w;
    struct change c;
    open_world(&w, 2, false);
    qv_sim_run_for(w.sim, 10 * QV_NS_PER_S);
    qv_sim_meta_set_away(w.store, NULL, true);
    qv_sim_run_for(w.sim, 10 * QV_NS_PER_S);
    propose(&w, &w.members[2], &c, 1);
    c.p.deadline_ns = qv_sim_now_ns(w.sim) + 100 * QV_NS_PER_S;
    qv_sim_run_for(w.sim, 30 * QV_NS_PER_S);
    struct qv_membership_status s;
    qv_membership_status(w.members[2].m, &s);
    assert_false(s.reachable);
    assert_true(s.why[0] != '\0');
    assert_int_equal(s.waiting, 1);
    assert_int_equal(qv_membership_tree(w.members[2].m)->member_count, NODES);
    assert_false(c.over);
    qv_sim_meta_set_away(w.store, NULL, false);
    qv_sim_run_for(w.sim, 20 * QV_NS_PER_S);
    assert_true(c.over);
    assert_true(c.err == 0 ||
                c.err == QV_ESTALE); /* the proxy came anew before it: another epoch */
    close_world(&w);
}

/* Whatever fails: an acknowledged change is there, one that was refused is not, and at the end all
 * nodes show the same tree. */
static void one_stormy_run(uint64_t seed, uint32_t ends[4])
{
    struct world w;
    struct change *changes = qv_mem_calloc((size_t)ROUNDS * NODES, sizeof *changes);
    uint32_t n = 0;
    open_world(&w, seed, true);
    qv_sim_net_plan(w.net, &(struct qv_sim_net_plan){.until_ns = 60 * QV_NS_PER_S});
    for (uint32_t round = 0; round < ROUNDS; round++) {
        qv_sim_run_for(w.sim, qv_rng_below(&w.rng, 3 * QV_NS_PER_S));
        struct member *x = &w.members[qv_rng_below(&w.rng, NODES)];
        bool busy = false;
        for (uint32_t i = 0; i < n; i++)
            busy = busy || (changes[i].at == x && !changes[i].over);
        if (qv_rng_below(&w.rng, 5) == 0 && !busy) {
            crash(x);
            qv_sim_run_for(w.sim, qv_rng_below(&w.rng, 5 * QV_NS_PER_S));
            start(x, x == &w.members[0] ? QV_ROLE_PROXY : QV_ROLE_ALL);
        } else {
            propose(&w, x, &changes[n], n);
            n++;
        }
    }
    qv_sim_net_heal(w.net);
    qv_sim_meta_set_config(w.store, &(struct qv_sim_meta_config){0});
    qv_sim_run_for(w.sim, 60 * QV_NS_PER_S);
    for (uint32_t i = 0; i < n; i++) {
        assert_true(changes[i].over);
        if (changes[i].err == 0)
            assert_true(is_there(&w, &changes[i]));
        else if (changes[i].err != QV_EUNKNOWN)
            assert_false(is_there(&w, &changes[i]));
    }
    for (uint32_t i = 1; i < NODES; i++) {
        const struct qv_topology *t = qv_membership_tree(w.members[i].m);
        assert_int_equal(t->epoch, qv_membership_tree(w.members[0].m)->epoch);
        assert_int_equal(t->member_count, NODES);
    }
    ends[0] += w.done;
    ends[1] += w.stale;
    ends[2] += w.unknown;
    ends[3] += w.failed;
    close_world(&w);
    qv_mem_free(changes);
}

static void test_storms(void **state)
{
    (void)state;
    uint32_t ends[4] = {0};
    for (uint64_t seed = 1; seed <= 400; seed++) {
        fprintf(stderr, "seed %u\n", (unsigned)seed);
        one_stormy_run(seed, ends);
    }
    fprintf(stderr, "changes: %u done, %u stale, %u unknown, %u refused\n", ends[0], ends[1],
            ends[2], ends[3]);
    for (int i = 0; i < 3; i++)
        assert_true(ends[i] > 0); /* these ends were seen */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_quiet_cluster),
        cmocka_unit_test(test_the_metadata_goes_and_comes),
        cmocka_unit_test(test_storms),
    };
    return RUN_SUITE(tests);
}
