/* io/sim_net.h: what every network between nodes must do (test/lib/peer_cases.c), then its faults:
 * each does what it says, and under any plan of them every call ends once, with an error that is
 * true. */
#include "io/sim_net.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "peer_cases.h"
#include "suite.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COUNT = 4 };

static peer_world_make_f *sim_world = peer_world_sim;

struct counter {
    unsigned runs;
};

static void on_count(void *arg, struct qv_peer_request *r)
{
    struct counter *c = arg;
    struct qv_buf out;
    c->runs++;
    qv_buf_init(&out, 0);
    qv_buf_append(&out, r->body.p, r->body.n);
    qv_peer_answer(r, 0, NULL, &out);
}

struct pair {
    struct peer_world *w;
    struct qv_sim_net *net;
    struct counter counter;
    struct peer_ask ask;
};

static void pair_open(struct pair *p)
{
    memset(p, 0, sizeof *p);
    p->w = peer_world_sim(2, 5);
    p->net = peer_world_sim_net(p->w);
    peer_world_start_all(p->w);
    qv_peers_serve(p->w->nodes[1].peers, COUNT, on_count, &p->counter);
    peer_ask_init(&p->ask, 101, COUNT, (struct qv_bytes){(const uint8_t *)"hello", 5});
    assert_int_equal(peer_world_ask(p->w, 0, &p->ask, QV_NS_PER_S), 0);
}

static void pair_close(struct pair *p)
{
    peer_ask_close(&p->ask);
    peer_world_destroy(&p->w);
}

static uint64_t asked_ns(struct pair *p, uint64_t for_ns)
{
    uint64_t from = peer_world_now(p->w);
    p->ask.done = false;
    p->ask.call.deadline_ns = from + for_ns;
    qv_peer_send(p->w->nodes[0].peers, &p->ask.call);
    while (!p->ask.done)
        qv_sim_step(peer_world_sim_sim(p->w));
    return peer_world_now(p->w) - from;
}

static void test_block(void **state)
{
    static const uint64_t a = 100, b = 101;
    struct qv_sim_net_fault f = {
        .kind = QV_SIM_NET_BLOCK, .from = &a, .n_from = 1, .to = &b, .n_to = 1};
    struct pair p;
    (void)state;
    pair_open(&p);
    /* shorter than a call: it arrives late */
    f.for_ns = 500 * QV_NS_PER_MS;
    qv_sim_net_fault(p.net, &f);
    uint64_t took = asked_ns(&p, 10 * QV_NS_PER_S);
    assert_int_equal(p.ask.err, 0);
    assert_true(took >= 500 * QV_NS_PER_MS && took < 900 * QV_NS_PER_MS);
    /* longer than a silent connection lives: nothing arrived, but who could know */
    f.for_ns = 0;
    qv_sim_net_fault(p.net, &f);
    p.counter.runs = 0;
    took = asked_ns(&p, 30 * QV_NS_PER_S);
    assert_int_equal(p.ask.err, QV_EUNKNOWN);
    assert_true(p.ask.may_have_run && took > 2 * QV_NS_PER_S && took < 4 * QV_NS_PER_S);
    asked_ns(&p, 30 * QV_NS_PER_S);
    assert_int_equal(p.ask.err, QV_EUNAVAILABLE);
    assert_false(p.ask.may_have_run);
    assert_int_equal(p.counter.runs, 0);
    qv_sim_net_heal(p.net);
    peer_world_run_for(p.w, 5 * QV_NS_PER_S);
    asked_ns(&p, QV_NS_PER_S);
    assert_int_equal(p.ask.err, 0);
    /* the other way: it runs, and the answer never comes */
    f.from = &b;
    f.to = &a;
    qv_sim_net_fault(p.net, &f);
    p.counter.runs = 0;
    asked_ns(&p, QV_NS_PER_S);
    assert_int_equal(p.ask.err, QV_ETIMEOUT);
    assert_int_equal(p.counter.runs, 1);
    pair_close(&p);
}

static void test_kinds(void **state)
{
    struct qv_sim_net_fault f = {.both_ways = true};
    struct qv_sim_net_stats stats;
    struct pair p;
    (void)state;
    pair_open(&p);
    f.kind = QV_SIM_NET_LOSE;
    f.share = 1;
    qv_sim_net_fault(p.net, &f);
    asked_ns(&p, QV_NS_PER_S);
    assert_int_equal(p.ask.err, QV_ETIMEOUT);
    qv_sim_net_heal(p.net);
    f.kind = QV_SIM_NET_DUPLICATE;
    qv_sim_net_fault(p.net, &f);
    p.counter.runs = 0;
    unsigned times = p.ask.times;
    asked_ns(&p, QV_NS_PER_S);
    peer_world_run_for(p.w, QV_NS_PER_S);
    assert_int_equal(p.counter.runs, 2); /* one answer counts */
    assert_int_equal(p.ask.times, times + 1);
    qv_sim_net_heal(p.net);
    f.kind = QV_SIM_NET_DELAY;
    f.amount = 50 * QV_NS_PER_MS;
    qv_sim_net_fault(p.net, &f);
    assert_true(asked_ns(&p, QV_NS_PER_S) > 100 * QV_NS_PER_MS);
    qv_sim_net_heal(p.net);
    f.kind = QV_SIM_NET_SLOW;
    f.amount = 100000;
    qv_sim_net_fault(p.net, &f);
    uint8_t *body = qv_mem_calloc(1, 100000); /* a second there, a second back */
    p.ask.call.body = (struct qv_bytes){body, 100000};
    uint64_t took = asked_ns(&p, 10 * QV_NS_PER_S);
    assert_true(took > 2 * QV_NS_PER_S && took < 2200 * QV_NS_PER_MS);
    qv_mem_free(body);
    qv_sim_net_heal(p.net);
    struct qv_sim_net_pair there = qv_sim_net_traffic(p.net, 100, 101);
    struct qv_sim_net_pair back = qv_sim_net_traffic(p.net, 101, 100);
    qv_sim_net_stats(p.net, &stats);
    assert_true(there.bytes > 100000 && there.messages >= 6);
    assert_int_equal(there.messages + back.messages, stats.messages);
    assert_int_equal(there.bytes + back.bytes, stats.bytes);
    assert_true(stats.lost == 1 && stats.duplicated == 1 && stats.connects == 1);
    assert_int_equal(qv_sim_net_traffic(p.net, 100, 7).messages, 0);
    pair_close(&p);
}

static void test_power_off(void **state)
{
    struct pair p;
    (void)state;
    pair_open(&p);
    qv_sim_net_crash(p.net, 101, QV_SIM_NET_POWER_OFF);
    p.w->nodes[1].peers = NULL;
    asked_ns(&p, 30 * QV_NS_PER_S); /* silence, not a reset */
    assert_int_equal(p.ask.err, QV_EUNKNOWN);
    asked_ns(&p, 30 * QV_NS_PER_S);
    assert_int_equal(p.ask.err, QV_EUNAVAILABLE);
    pair_close(&p);
}

/* ---- random lives under random faults ------------------------------------------------------- */

enum { NODES = 4, ASKS = 60 };

struct life {
    struct peer_world *w;
    struct qv_rng rng;
    unsigned runs[ASKS]; /* of the present call: how often a handler was given it */
    struct peer_ask asks[ASKS];
    unsigned sent[ASKS];
    bool forgotten[ASKS]; /* its node crashed under it */
    uint64_t number[ASKS];
    uint64_t answered, unknown, never;
};

struct body {
    uint64_t slot, number;
};

static void on_life(void *arg, struct qv_peer_request *r)
{
    struct life *l = arg;
    struct body b;
    struct qv_buf out;
    memcpy(&b, r->body.p, sizeof b);
    if (b.number == l->number[b.slot])
        l->runs[b.slot]++;
    qv_buf_init(&out, 0);
    qv_buf_append(&out, &b, sizeof b);
    qv_peer_answer(r, 0, NULL, &out);
}

/* What an end says is true. */
static void check_end(struct life *l, unsigned i)
{
    struct peer_ask *a = &l->asks[i];
    struct body b;
    if (l->forgotten[i])
        return;
    assert_int_equal(a->times, l->sent[i]);
    if (a->err == 0) {
        memcpy(&b, a->body.data, sizeof b);
        assert_true(b.slot == i && b.number == l->number[i]);
        assert_true(l->runs[i] >= 1);
        l->answered++;
    }
    if (!a->may_have_run) {
        assert_int_equal(l->runs[i], 0);
        l->never++;
    }
    if (a->err == QV_EUNKNOWN || a->err == QV_ETIMEOUT || a->err == QV_ECANCELED)
        l->unknown++;
    else
        assert_true(a->err == 0 || !a->may_have_run);
}

static void life_crash(struct life *l, unsigned node)
{
    struct peer_world_node *n = &l->w->nodes[node];
    for (unsigned i = node; i < ASKS; i += NODES)
        l->forgotten[i] = l->forgotten[i] || l->asks[i].call.impl != NULL;
    if (qv_rng_below(&l->rng, 2) == 0) {
        l->w->ops->kill(l->w, node);
    } else {
        qv_sim_net_crash(peer_world_sim_net(l->w), n->self.id, QV_SIM_NET_POWER_OFF);
        n->peers = NULL;
    }
    n->self.incarnation++;
}

static void life_start(struct life *l, unsigned node)
{
    l->w->ops->start(l->w, node);
    for (unsigned k = 0; k < NODES; k++)
        peer_world_introduce(l->w, node, k);
    qv_peers_serve(l->w->nodes[node].peers, COUNT, on_life, l);
    for (unsigned i = node; i < ASKS; i += NODES) {
        l->sent[i] = l->asks[i].times;
    }
}

static void life_act(struct life *l)
{
    unsigned i = (unsigned)qv_rng_below(&l->rng, ASKS);
    struct peer_ask *a = &l->asks[i];
    struct qv_peers *peers = l->w->nodes[i % NODES].peers;
    if (qv_rng_below(&l->rng, 400) == 0) {
        if (peers != NULL)
            life_crash(l, i % NODES);
        else
            life_start(l, i % NODES);
    } else if (peers != NULL && a->call.impl == NULL) {
        if (a->times > 0)
            check_end(l, i);
        l->runs[i] = 0;
        l->forgotten[i] = false;
        struct body b = {i, ++l->number[i]};
        uint8_t *p = (uint8_t *)(uintptr_t)a->call.body.p;
        memcpy(p, &b, sizeof b);
        a->call.to = 100 + qv_rng_below(&l->rng, NODES);
        a->call.priority = (uint8_t)qv_rng_below(&l->rng, QV_PEER_PRIORITY_COUNT);
        a->call.deadline_ns = peer_world_now(l->w) + 1 + qv_rng_below(&l->rng, 6 * QV_NS_PER_S);
        qv_peer_send(peers, &a->call);
        l->sent[i]++;
    } else if (peers != NULL && qv_rng_below(&l->rng, 20) == 0) {
        qv_peer_cancel(peers, &a->call);
    }
}

static bool life_has_ended(const struct life *l)
{
    for (unsigned i = 0; i < ASKS; i++) {
        if (l->asks[i].call.impl != NULL)
            return false;
    }
    return true;
}

static void life_run(uint64_t seed, struct qv_sim_net_stats *sum, struct life *total)
{
    struct life *l = qv_mem_calloc(1, sizeof *l);
    struct body bodies[ASKS];
    struct qv_sim_net_stats stats;
    qv_rng_init(&l->rng, seed);
    l->w = peer_world_sim(NODES, seed);
    peer_world_start_all(l->w);
    struct qv_sim_net *net = peer_world_sim_net(l->w);
    struct qv_sim_net_plan plan = {.until_ns = 40 * QV_NS_PER_S};
    qv_sim_net_plan(net, &plan);
    for (unsigned i = 0; i < NODES; i++)
        qv_peers_serve(l->w->nodes[i].peers, COUNT, on_life, l);
    for (unsigned i = 0; i < ASKS; i++)
        peer_ask_init(&l->asks[i], 0, COUNT, (struct qv_bytes){(uint8_t *)&bodies[i], 16});
    for (unsigned round = 0; round < 8000; round++) {
        life_act(l);
        qv_sim_run_for(peer_world_sim_sim(l->w), qv_rng_below(&l->rng, 10 * QV_NS_PER_MS));
    }
    qv_sim_net_heal(net);
    while (!life_has_ended(l))
        qv_sim_step(peer_world_sim_sim(l->w));
    for (unsigned i = 0; i < ASKS; i++) {
        if (l->asks[i].times > 0)
            check_end(l, i);
        peer_ask_close(&l->asks[i]);
    }
    qv_sim_net_stats(net, &stats);
    for (unsigned k = 0; k < QV_SIM_NET_FAULT_COUNT; k++)
        sum->faults[k] += stats.faults[k];
    sum->messages += stats.messages;
    sum->lost += stats.lost;
    sum->duplicated += stats.duplicated;
    sum->held += stats.held;
    sum->overtaken += stats.overtaken;
    sum->resets += stats.resets;
    total->answered += l->answered;
    total->unknown += l->unknown;
    total->never += l->never;
    for (unsigned i = 0; i < NODES; i++) {
        if (l->w->nodes[i].peers == NULL) /* the world destroys what runs */
            life_start(l, i);
    }
    peer_world_destroy(&l->w);
    qv_mem_free(l);
}

static void test_any_faults(void **state)
{
    struct qv_sim_net_stats sum = {0};
    static struct life total;
    (void)state;
    const char *one = getenv("QV_SEED");
    unsigned runs = SANITIZED_LESS(60);
    for (uint64_t seed = 1; seed <= runs; seed++)
        life_run(one != NULL ? strtoull(one, NULL, 10) : seed, &sum, &total);
    printf("%llu messages, %llu lost, %llu twice, %llu held, %llu overtaken, %llu resets; "
           "%llu answered, %llu unknown, %llu never ran\n",
           (unsigned long long)sum.messages, (unsigned long long)sum.lost,
           (unsigned long long)sum.duplicated, (unsigned long long)sum.held,
           (unsigned long long)sum.overtaken, (unsigned long long)sum.resets,
           (unsigned long long)total.answered, (unsigned long long)total.unknown,
           (unsigned long long)total.never);
    for (unsigned k = 0; k < QV_SIM_NET_FAULT_COUNT; k++)
        assert_true(sum.faults[k] > 0);
    assert_true(sum.lost > 0 && sum.duplicated > 0 && sum.held > 0 && sum.overtaken > 0);
    assert_true(total.answered > 0 && total.unknown > 0 && total.never > 0);
}

/* ---- the same seed, the same run; and what it costs ------------------------------------------ */

struct ring {
    struct qv_peer_call call;
    struct qv_peers *peers;
    uint64_t left, sum;
    uint8_t body[256];
};

static void on_ring(struct qv_peer_call *call, const struct qv_peer_answer *answer)
{
    struct ring *r = call->arg;
    QV_ASSERT(answer->err == 0);
    r->sum = r->sum * 31 + qv_env_mono_ns(r->peers->env);
    if (--r->left > 0)
        qv_peer_send(r->peers, call);
}

static uint64_t rings(uint64_t calls, uint64_t *messages, double *cpu_s)
{
    struct counter counter = {0};
    struct ring rings[16] = {0};
    struct peer_world *w = peer_world_sim(4, 11);
    struct qv_sim_net_stats stats;
    uint64_t sum = 0;
    peer_world_start_all(w);
    for (unsigned i = 0; i < 4; i++)
        qv_peers_serve(w->nodes[i].peers, COUNT, on_count, &counter);
    clock_t from = clock();
    for (unsigned i = 0; i < 16; i++) {
        struct ring *r = &rings[i];
        r->peers = w->nodes[i % 4].peers;
        r->left = calls / 16;
        r->call = (struct qv_peer_call){.to = 100 + (i + 1 + i / 4) % 4,
                                        .method = COUNT,
                                        .body = {r->body, sizeof r->body},
                                        .done = on_ring,
                                        .arg = r};
        qv_peer_send(r->peers, &r->call);
    }
    while (qv_sim_step(peer_world_sim_sim(w)))
        ;
    *cpu_s = (double)(clock() - from) / CLOCKS_PER_SEC;
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(rings[i].left, 0);
        sum = sum * 31 + rings[i].sum;
    }
    qv_sim_net_stats(peer_world_sim_net(w), &stats);
    *messages = stats.messages;
    peer_world_destroy(&w);
    return sum;
}

static void test_replay(void **state)
{
    uint64_t messages, again;
    double cpu_s;
    (void)state;
    uint64_t calls = SANITIZED_LESS(48000);
    uint64_t one = rings(calls, &messages, &cpu_s);
    printf("%llu messages in %.3f CPU seconds\n", (unsigned long long)messages, cpu_s);
    assert_true(rings(calls, &again, &cpu_s) == one);
    assert_int_equal(again, messages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PEER_CASES(&sim_world),
        cmocka_unit_test(test_block),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_power_off),
        cmocka_unit_test(test_any_faults),
        cmocka_unit_test(test_replay),
    };
    return RUN_SUITE(tests);
}
