/* Faults of the simulated network: a list of what is wrong between which nodes until when, looked
 * through for every message. */
#include "io/sim_net.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "io/sim_net_internal.h"

#include <string.h>

#define PLAN_GAP_NS (500 * QV_NS_PER_MS)
#define PLAN_LENGTH_NS (800 * QV_NS_PER_MS)

static bool is_in(const uint64_t *ids, uint32_t n, uint64_t id)
{
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] == id)
            return true;
    }
    return n == 0;
}

static bool concerns(const struct qv_sim_net_fault *f, uint64_t from, uint64_t to)
{
    if (is_in(f->from, f->n_from, from) && is_in(f->to, f->n_to, to))
        return true;
    return f->both_ways && is_in(f->from, f->n_from, to) && is_in(f->to, f->n_to, from);
}

static void fault_free(struct sim_fault *fault)
{
    union {
        const uint64_t *in;
        uint64_t *out;
    } from = {fault->f.from}, to = {fault->f.to}; /* const only to those who ask for a fault */
    qv_mem_free(from.out);
    qv_mem_free(to.out);
    qv_mem_free(fault);
}

struct sim_weather qv_sim_net_weather(struct qv_sim_net *net, const struct sim_host *from,
                                      const struct sim_host *to)
{
    struct sim_weather w = {.loss = net->config.loss,
                            .duplicate = net->config.duplicate,
                            .bytes_per_s = net->config.bytes_per_s};
    uint64_t now = qv_sim_now_ns(net->sim);
    for (struct sim_fault **at = &net->faults; *at != NULL;) {
        struct sim_fault *fault = *at;
        const struct qv_sim_net_fault *f = &fault->f;
        if (now >= fault->until_ns) {
            *at = fault->next;
            fault_free(fault);
            continue;
        }
        at = &fault->next;
        if (!concerns(f, from->self.id, to->self.id))
            continue;
        w.blocked = w.blocked || f->kind == QV_SIM_NET_BLOCK;
        w.delay_ns += f->kind == QV_SIM_NET_DELAY ? f->amount : 0;
        if (f->kind == QV_SIM_NET_LOSE && f->share > w.loss)
            w.loss = f->share;
        if (f->kind == QV_SIM_NET_DUPLICATE && f->share > w.duplicate)
            w.duplicate = f->share;
        if (f->kind == QV_SIM_NET_SLOW && f->amount < w.bytes_per_s)
            w.bytes_per_s = f->amount;
    }
    return w;
}

static const uint64_t *copy_ids(const uint64_t *ids, uint32_t n)
{
    if (n == 0)
        return NULL;
    uint64_t *copy = qv_mem_alloc(n * sizeof *copy);
    memcpy(copy, ids, n * sizeof *copy);
    return copy;
}

static void reset_between(struct qv_sim_net *net, const struct qv_sim_net_fault *f)
{
    for (uint32_t i = 0; i < net->n_hosts; i++) {
        for (uint32_t k = i + 1; k < net->n_hosts; k++) {
            uint64_t a = net->hosts[i]->self.id, b = net->hosts[k]->self.id;
            if (concerns(f, a, b) || concerns(f, b, a))
                qv_sim_net_reset(net->hosts[i], net->hosts[k]);
        }
    }
}

void qv_sim_net_fault(struct qv_sim_net *net, const struct qv_sim_net_fault *f)
{
    net->stats.faults[f->kind]++;
    if (f->kind == QV_SIM_NET_RESET) {
        reset_between(net, f);
        return;
    }
    struct sim_fault *fault = qv_mem_alloc(sizeof *fault);
    fault->f = *f;
    fault->f.from = copy_ids(f->from, f->n_from);
    fault->f.to = copy_ids(f->to, f->n_to);
    fault->until_ns = f->for_ns == 0 ? UINT64_MAX : qv_sim_now_ns(net->sim) + f->for_ns;
    fault->next = net->faults;
    net->faults = fault;
}

void qv_sim_net_split(struct qv_sim_net *net, const uint64_t *ids, uint32_t n, uint64_t for_ns)
{
    uint64_t *rest = qv_mem_alloc((net->n_hosts + 1) * sizeof *rest);
    uint32_t n_rest = 0;
    for (uint32_t i = 0; i < net->n_hosts; i++) {
        if (n > 0 && !is_in(ids, n, net->hosts[i]->self.id))
            rest[n_rest++] = net->hosts[i]->self.id;
    }
    struct qv_sim_net_fault f = {.kind = QV_SIM_NET_BLOCK,
                                 .from = ids,
                                 .n_from = n,
                                 .to = rest,
                                 .n_to = n_rest,
                                 .both_ways = true,
                                 .for_ns = for_ns};
    if (n > 0 && n_rest > 0)
        qv_sim_net_fault(net, &f);
    qv_mem_free(rest);
}

static void clear_faults(struct qv_sim_net *net)
{
    while (net->faults != NULL) {
        struct sim_fault *next = net->faults->next;
        fault_free(net->faults);
        net->faults = next;
    }
}

void qv_sim_net_heal(struct qv_sim_net *net)
{
    qv_env_timer_stop(net->env, &net->plan_timer);
    clear_faults(net);
}

void qv_sim_net_close_faults(struct qv_sim_net *net)
{
    qv_sim_net_heal(net);
}

/* ---- plans ---------------------------------------------------------------------------------- */

static enum qv_sim_net_fault_kind draw_kind(struct qv_sim_net *net)
{
    for (;;) {
        uint32_t kind = (uint32_t)qv_rng_below(&net->rng, QV_SIM_NET_FAULT_COUNT);
        if (net->plan.kinds & 1u << kind)
            return (enum qv_sim_net_fault_kind)kind;
    }
}

/* One fault: between a random part of the nodes and the rest, one node and the rest, or two. */
static void strike(struct qv_sim_net *net)
{
    uint64_t *ids = qv_mem_alloc(2 * net->n_hosts * sizeof *ids);
    uint64_t *rest = ids + net->n_hosts;
    struct qv_sim_net_fault f = {.kind = draw_kind(net), .from = ids, .to = rest};
    uint32_t shape = (uint32_t)qv_rng_below(&net->rng, 3);
    uint32_t one = (uint32_t)qv_rng_below(&net->rng, net->n_hosts);
    uint32_t two = (one + 1 + (uint32_t)qv_rng_below(&net->rng, net->n_hosts - 1)) % net->n_hosts;
    for (uint32_t i = 0; i < net->n_hosts; i++) {
        bool mine = shape == 0 ? qv_rng_below(&net->rng, 2) != 0 : i == one;
        if (mine)
            ids[f.n_from++] = net->hosts[i]->self.id;
        else if (shape < 2 || i == two)
            rest[f.n_to++] = net->hosts[i]->self.id;
    }
    f.both_ways = qv_rng_below(&net->rng, 3) > 0;
    f.for_ns = 1 + qv_sim_net_spread(&net->rng, net->plan.length_ns_mean);
    f.share = 0.02 + 0.3 * qv_rng_unit(&net->rng);
    f.amount = f.kind == QV_SIM_NET_DELAY ? qv_rng_below(&net->rng, 200 * QV_NS_PER_MS)
                                          : 100000 + qv_rng_below(&net->rng, 10000000);
    if (f.n_from > 0 && f.n_to > 0)
        qv_sim_net_fault(net, &f);
    qv_mem_free(ids);
}

static void on_plan(struct qv_timer *timer)
{
    struct qv_sim_net *net = timer->arg;
    if (qv_sim_now_ns(net->sim) > net->plan.until_ns)
        return;
    if (net->n_hosts > 1)
        strike(net);
    qv_env_timer_start(net->env, timer, 1 + qv_sim_net_spread(&net->rng, net->plan.gap_ns_mean));
}

void qv_sim_net_plan(struct qv_sim_net *net, const struct qv_sim_net_plan *plan)
{
    net->plan = *plan;
    if (net->plan.gap_ns_mean == 0)
        net->plan.gap_ns_mean = PLAN_GAP_NS;
    if (net->plan.length_ns_mean == 0)
        net->plan.length_ns_mean = PLAN_LENGTH_NS;
    if (net->plan.kinds == 0)
        net->plan.kinds = (1u << QV_SIM_NET_FAULT_COUNT) - 1;
    QV_ASSERT((net->plan.kinds & ((1u << QV_SIM_NET_FAULT_COUNT) - 1)) != 0);
    net->plan_timer.run = on_plan;
    net->plan_timer.arg = net;
    qv_env_timer_start(net->env, &net->plan_timer,
                       1 + qv_sim_net_spread(&net->rng, net->plan.gap_ns_mean));
}
