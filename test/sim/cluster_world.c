#include "cluster_world.h"
#include "node/node_move.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DIR_NAME "node"
#define STEP_NS (10 * QV_NS_PER_MS)

void cw_fail(struct cluster_world *w, const char *checker, const char *fmt, ...)
{
    va_list args;
    if (w->checker != NULL)
        return; /* the first finding counts */
    va_start(args, fmt);
    (void)vsnprintf(w->wrong, sizeof w->wrong, fmt, args);
    va_end(args);
    w->checker = checker;
}

static uint64_t below(struct cluster_world *w, uint64_t n)
{
    return qv_rng_below(&w->rng, n);
}

/* ---- nodes ---- */

static struct qv_node_config node_config(struct cw_node *n)
{
    return (struct qv_node_config){.env = qv_sim_node_env(n->sim),
                                   .kv = n->kv,
                                   .dir = DIR_NAME,
                                   .segment_bytes = 1 << 18,
                                   .checkpoint_bytes = 1 << 16,
                                   .checkpoint_ms = 20000};
}

static void founded(struct qv_founding *f, int err)
{
    struct cw_node *n = f->arg;
    n->founding_busy = false;
    n->founding_err = err;
    n->founded = true;
}

/* The node's process begins: who it is, and what it asks the metadata before anything else. */
static void begin(struct cw_node *n)
{
    struct qv_node_config config = node_config(n);
    struct qv_errmsg msg = {""};
    n->back_ns = 0;
    n->life++;
    if (qv_node_identify(&config, n->role, &n->identity, &msg) != 0) {
        cw_fail(n->w, "start", "node %s: %s", n->host, msg.text);
        return;
    }
    if (n->role == QV_ROLE_PROXY) { /* chance's name would differ from run to run of one binary */
        n->identity.id = 1000 + n->id * 100 + n->life;
        n->identity.incarnation = 1;
    }
    n->meta = qv_sim_meta_open(n->w->store, qv_sim_node_env(n->sim), NULL);
    n->founded = false;
    n->founding_busy = true;
    n->founding =
        (struct qv_founding){.env = qv_sim_node_env(n->sim),
                             .meta = n->meta,
                             .want_writer = n->role != QV_ROLE_PROXY && n->identity.writer == 0,
                             .done = founded,
                             .arg = n};
    qv_founding_start(&n->founding);
}

static bool knows_cluster(const struct cw_node *n)
{
    static const uint8_t none[QV_CLUSTER_ID_BYTES];
    return memcmp(n->identity.cluster, none, sizeof none) != 0;
}

/* The metadata has answered, or has not and is not needed: the node opens. */
static void go_on(struct cw_node *n)
{
    struct qv_node_config config = node_config(n);
    struct qv_peer_self self = {.id = n->identity.id, .incarnation = n->identity.incarnation};
    struct qv_errmsg msg = {""};
    if (n->founding_err == 0) {
        memcpy(n->identity.cluster, n->founding.cluster, sizeof n->identity.cluster);
        if (n->founding.want_writer)
            n->identity.writer = n->founding.writer;
        if (n->role != QV_ROLE_PROXY && qv_node_found(&config, &n->identity, &msg) != 0)
            cw_fail(n->w, "start", "node %s: %s", n->host, msg.text);
    } else if (!knows_cluster(n) || n->founding.want_writer) {
        n->founded = false;
        n->founding_busy = true;
        qv_founding_start(&n->founding);
        return;
    }
    memcpy(self.cluster, n->identity.cluster, sizeof self.cluster);
    n->peers = qv_sim_net_join(n->w->net, n->sim, &self, n->host, 6335);
    struct qv_node_cluster_config cluster = {.meta = n->meta,
                                             .peers = n->peers,
                                             .self = {.id = self.id,
                                                      .incarnation = self.incarnation,
                                                      .role = n->role,
                                                      .peer_port = 6335,
                                                      .protocol_min = 1,
                                                      .protocol_max = 1},
                                             .writer = n->identity.writer};
    (void)snprintf(cluster.self.host, sizeof cluster.self.host, "%s", n->host);
    config.cluster = &cluster;
    if (qv_node_open(&config, &n->node, &msg) != 0)
        cw_fail(n->w, "start", "node %s: %s", n->host, msg.text);
    n->founded = false;
    n->w->branches->starts++;
}

static void crash(struct cw_node *n, bool power)
{
    struct cluster_world *w = n->w;
    if (n->node != NULL)
        qv_sim_net_crash(w->net, n->identity.id, power ? QV_SIM_NET_POWER_OFF : QV_SIM_NET_KILLED);
    qv_sim_node_crash(n->sim);
    cw_forget_ops(w, n);
    qv_meta_abandon(n->meta); /* it still knows calls of the node's */
    if (n->node != NULL)
        qv_node_abandon(n->node);
    n->node = NULL;
    n->meta = NULL;
    n->founding_busy = false;
    n->founded = false;
    if (power)
        qv_sim_disk_crash(n->disk);
    if (power)
        w->branches->powers_off++;
    else
        w->branches->processes_killed++;
    n->back_ns = qv_sim_now_ns(w->sim) + 1 + below(w, 20 * QV_NS_PER_S);
}

static void closed(void *arg, int err)
{
    struct cw_node *n = arg;
    if (err != 0)
        cw_fail(n->w, "close", "node %s: %s", n->host, qv_err_text(err));
    n->node = NULL;
}

/* An orderly end. */
static void shut(struct cw_node *n)
{
    if (n->node == NULL)
        return;
    qv_node_close(n->node, closed, n);
    for (int i = 0; i < 600 && n->node != NULL; i++)
        qv_sim_run_for(n->w->sim, 100 * QV_NS_PER_MS);
    if (n->node != NULL)
        cw_fail(n->w, "close", "node %s does not end", n->host);
    qv_sim_net_leave(n->w->net, n->identity.id);
}

/* ---- the world ---- */

static struct qv_sim_meta_config faulty_meta(void)
{
    return (struct qv_sim_meta_config){.lose_request = 0.01,
                                       .lose_answer = 0.01,
                                       .late_request = 0.005,
                                       .early_lease = 0.02,
                                       .watch_late_ns_max = 300 * QV_NS_PER_MS,
                                       .away_every_ns = 60 * QV_NS_PER_S,
                                       .away_ns_max = 10 * QV_NS_PER_S,
                                       .compact_every_ns = 30 * QV_NS_PER_S};
}

void cw_open(struct cluster_world *w, const struct cw_config *config, struct cw_branches *branches)
{
    struct qv_sim_config sim = {.seed = config->seed};
    struct qv_sim_net_config net = {.seed = config->seed ^ 0x6e6574};
    const struct qv_sim_meta_config meta =
        config->faults ? faulty_meta() : (struct qv_sim_meta_config){0};
    memset(w, 0, sizeof *w);
    w->config = *config;
    w->branches = branches;
    qv_rng_init(&w->rng, config->seed);
    w->sim = qv_sim_create(&sim);
    w->store = qv_sim_meta_create(w->sim, &meta);
    w->net = qv_sim_net_create(w->sim, &net);
    for (uint32_t i = 0; i < CW_KEYS; i++) {
        w->keys[i].writes = qv_mem_calloc(CW_WRITES_MAX, sizeof *w->keys[i].writes);
        w->keys[i].count = 1;
        w->keys[i].writes[0].acked_ns = 1;
    }
    for (uint32_t i = 0; i < config->nodes; i++) {
        struct cw_node *n = &w->nodes[i];
        n->w = w;
        n->id = i + 1;
        n->role = i < config->proxies ? QV_ROLE_PROXY : i % 2 == 0 ? QV_ROLE_ALL : QV_ROLE_SHARD;
        (void)snprintf(n->host, sizeof n->host, "n%u", i + 1);
        n->disk = qv_sim_disk_create(config->seed * 64 + i, 0);
        n->sim = qv_sim_node_create(w->sim, n->disk, (int64_t)below(w, 20 * QV_NS_PER_MS));
        n->kv = qv_sim_kv_create(n->disk);
        begin(n);
    }
    for (int i = 0; i < 2000; i++) { /* all up and joined */
        bool all = true;
        cw_tend(w);
        qv_sim_run_for(w->sim, STEP_NS);
        for (uint32_t k = 0; k < config->nodes; k++)
            all = all && w->nodes[k].node != NULL;
        if (all && i > 500)
            break;
    }
    cw_make_collection(w);
}

/* Nodes that are on their way, or whose time has come. */
void cw_tend(struct cluster_world *w)
{
    for (uint32_t i = 0; i < w->config.nodes; i++) {
        struct cw_node *n = &w->nodes[i];
        if (n->node == NULL && n->founded)
            go_on(n);
        else if (n->back_ns != 0 && qv_sim_now_ns(w->sim) >= n->back_ns)
            begin(n);
    }
}

/* Which shards are on their way, as the first node that is up knows. Gives how many. */
static uint32_t look_at_moves(struct cluster_world *w)
{
    uint32_t moving = 0;
    uint32_t i = 0;
    while (i < w->config.nodes && w->nodes[i].node == NULL)
        i++;
    if (i == w->config.nodes)
        return 0;
    const struct qv_topology *t = qv_node_topology(w->nodes[i].node);
    const struct qv_collection *c = qv_topology_find(t, qv_str_of("c"));
    for (uint32_t k = 0; c != NULL && k < c->shard_count; k++) {
        const struct qv_slot_place now = c->shards[k].slots[0];
        struct qv_slot_place *was = &w->places[k];
        w->branches->moves_begun += now.transfer != 0 && now.transfer != was->transfer;
        w->branches->moves_done += was->holder != 0 && now.holder != was->holder;
        w->branches->moves_taken_back +=
            was->transfer != 0 && now.transfer == 0 && now.holder == was->holder;
        moving += now.step != QV_STEP_NONE;
        *was = now;
    }
    qv_topology_unref(t);
    return moving;
}

static void look_at_controllers(struct cluster_world *w)
{
    for (uint32_t i = 0; i < w->config.nodes; i++) {
        struct qv_membership_status s;
        if (w->nodes[i].node == NULL)
            continue;
        qv_node_cluster_status(w->nodes[i].node, &s);
        w->branches->metadata_away += !s.reachable;
        if (s.elected && w->nodes[i].identity.id != w->controller) {
            w->controller = w->nodes[i].identity.id;
            w->branches->controllers++;
        }
    }
}

static void maybe_crash(struct cluster_world *w)
{
    uint32_t i = (uint32_t)below(w, w->config.nodes);
    if (w->nodes[i].node != NULL)
        crash(&w->nodes[i], below(w, 2) == 0);
}

void cw_run(struct cluster_world *w, uint64_t ns)
{
    uint64_t end = qv_sim_now_ns(w->sim) + ns;
    if (w->config.faults)
        qv_sim_net_plan(w->net,
                        &(struct qv_sim_net_plan){.gap_ns_mean = 8 * QV_NS_PER_S,
                                                  .until_ns = end,
                                                  /* no request runs twice over TCP, and nothing
                                                     sends one again that may have run */
                                                  .kinds = ~(1u << QV_SIM_NET_DUPLICATE)});
    while (qv_sim_now_ns(w->sim) < end && w->checker == NULL) {
        qv_sim_run_for(w->sim, 1 + below(w, 60 * QV_NS_PER_MS));
        cw_tend(w);
        cw_client_step(w);
        (void)look_at_moves(w);
        if (below(w, 100) == 0)
            look_at_controllers(w);
        if (w->config.faults && below(w, 400) == 0)
            maybe_crash(w);
    }
}

/* What the controller says of a shard that is on its way for too long. */
static void tell_moves(struct cluster_world *w)
{
    for (uint32_t i = 0; i < w->config.nodes; i++) {
        struct qv_membership_status s;
        struct qv_move_status m = {0};
        uint32_t count = 1;
        if (w->nodes[i].node == NULL)
            continue;
        qv_node_cluster_status(w->nodes[i].node, &s);
        qv_node_moves(w->nodes[i].node, &m, &count);
        if (s.elected && count > 0)
            cw_fail(w, "ends", "shard %u is on its way still, step %u, %llx to %llx: %.300s",
                    m.shard, m.step, (unsigned long long)m.from, (unsigned long long)m.to, m.why);
    }
    cw_fail(w, "ends", "a shard is on its way still, and no controller knows of it");
}

void cw_settle(struct cluster_world *w)
{
    const struct qv_sim_meta_config calm = {0};
    qv_sim_net_heal(w->net);
    qv_sim_meta_set_config(w->store, &calm);
    for (uint32_t i = 0; i < w->config.nodes; i++) {
        if (w->nodes[i].back_ns != 0)
            w->nodes[i].back_ns = 1;
    }
    for (int i = 0; i < 12000 && w->checker == NULL; i++) {
        qv_sim_run_for(w->sim, STEP_NS);
        cw_tend(w);
        if (i > 6000 && !cw_busy(w) && look_at_moves(w) == 0)
            break;
    }
    if (w->checker == NULL && cw_busy(w))
        cw_fail(w, "ends", "an operation has not ended a minute after everything returned");
    if (w->checker == NULL && look_at_moves(w) != 0)
        tell_moves(w);
    for (uint32_t i = 0; i < w->config.nodes && w->checker == NULL; i++) {
        if (w->nodes[i].node == NULL)
            cw_fail(w, "start", "node %s is not up a minute after its return", w->nodes[i].host);
    }
    w->settled = true;
    if (w->checker == NULL)
        cw_read_all(w);
}

void cw_close(struct cluster_world *w)
{
    if (w->checker != NULL)
        return; /* what has failed may not be able to end: it stays as it is */
    for (uint32_t i = 0; i < w->config.nodes; i++) {
        struct cw_node *n = &w->nodes[i];
        if (n->node != NULL)
            shut(n);
        else if (n->meta != NULL)
            crash(n, false);
    }
    for (uint32_t i = 0; i < w->config.nodes; i++) {
        qv_sim_node_destroy(&w->nodes[i].sim);
        qv_sim_kv_destroy(&w->nodes[i].kv);
        qv_sim_disk_destroy(&w->nodes[i].disk);
    }
    for (uint32_t i = 0; i < CW_KEYS; i++)
        qv_mem_free(w->keys[i].writes);
    qv_sim_net_destroy(&w->net);
    qv_sim_meta_destroy(&w->store);
    qv_sim_destroy(&w->sim);
}
