#include "peer_world.h"

#include "base/mem.h"
#include "io/sim_net.h"

#include <stdio.h>
#include <string.h>

#define STEP_NS (50 * QV_NS_PER_US)

struct sim_world {
    struct peer_world pub; /* first */
    struct qv_sim *sim;
    struct qv_sim_net *net;
    struct qv_sim_node *envs[PEER_WORLD_NODES_MAX];
};

static struct sim_world *world_of(struct peer_world *w)
{
    return (struct sim_world *)w;
}

struct qv_sim_net *peer_world_sim_net(struct peer_world *w)
{
    return world_of(w)->net;
}

struct qv_sim *peer_world_sim_sim(struct peer_world *w)
{
    return world_of(w)->sim;
}

static void world_start(struct peer_world *pub, unsigned i)
{
    struct sim_world *w = world_of(pub);
    struct peer_world_node *node = &pub->nodes[i];
    node->peers = qv_sim_net_join(w->net, w->envs[i], &node->self, node->host, node->port);
}

static void world_stop(struct peer_world *pub, unsigned i)
{
    qv_sim_net_leave(world_of(pub)->net, pub->nodes[i].self.id);
    pub->nodes[i].peers = NULL;
}

static void world_kill(struct peer_world *pub, unsigned i)
{
    struct sim_world *w = world_of(pub);
    qv_sim_net_crash(w->net, pub->nodes[i].self.id, QV_SIM_NET_KILLED);
    qv_sim_node_crash(w->envs[i]);
    pub->nodes[i].peers = NULL;
}

static void world_step(struct peer_world *pub)
{
    qv_sim_run_for(world_of(pub)->sim, STEP_NS);
}

static void world_destroy(struct peer_world *pub)
{
    struct sim_world *w = world_of(pub);
    qv_sim_net_destroy(&w->net);
    for (unsigned i = 0; i < pub->n; i++)
        qv_sim_node_destroy(&w->envs[i]);
    qv_sim_destroy(&w->sim);
    qv_mem_free(w);
}

static const struct peer_world_ops sim_ops = {
    .start = world_start,
    .stop = world_stop,
    .kill = world_kill,
    .step = world_step,
    .destroy = world_destroy,
};

struct peer_world *peer_world_sim(unsigned n, uint64_t seed)
{
    struct sim_world *w = qv_mem_calloc(1, sizeof *w);
    struct qv_sim_config sim = {.seed = seed};
    struct qv_sim_net_config net = {
        .seed = seed * 31 + 7,
        .limits = {.calls_max = {[QV_PEER_REPAIR] = 20}, .bytes_max = {[QV_PEER_REPAIR] = 4096}}};
    w->pub.ops = &sim_ops;
    w->pub.limit_ns = 100 * QV_NS_PER_S;
    w->sim = qv_sim_create(&sim);
    w->net = qv_sim_net_create(w->sim, &net);
    peer_world_init(&w->pub, n);
    for (unsigned i = 0; i < n; i++) {
        w->envs[i] = qv_sim_node_create(w->sim, NULL, 0);
        snprintf(w->pub.nodes[i].host, sizeof w->pub.nodes[i].host, "node-%u", i);
        w->pub.nodes[i].port = 6335;
    }
    return &w->pub;
}
