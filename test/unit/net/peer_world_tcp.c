/* Real sockets: every node's env lives on one loop that the test turns; their threads are real. */
#include "peer_world.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "io/uv_env.h"
#include "net/peer_tcp.h"
#include "tls_fixture.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

struct tcp_world {
    struct peer_world pub; /* first */
    uv_loop_t loop;
    uv_timer_t turn; /* ends a turn in which nothing happens */
    struct qv_peer_tcp_config base[PEER_WORLD_NODES_MAX];
    struct qv_uv_env *envs[PEER_WORLD_NODES_MAX];
    struct qv_peer_tcp *nodes[PEER_WORLD_NODES_MAX];
};

static struct tcp_world *world_of(struct peer_world *w)
{
    return (struct tcp_world *)w;
}

static void world_start(struct peer_world *pub, unsigned i)
{
    struct tcp_world *w = world_of(pub);
    struct peer_world_node *node = &pub->nodes[i];
    struct qv_uv_env_config env = {.loop = &w->loop, .seed = 1 + i, .pin_cpu = -1};
    struct qv_errmsg msg = {""};
    int err = qv_uv_env_create(&env, &w->envs[i], &msg);
    QV_ASSERT(err == 0);
    struct qv_peer_tcp_config config = w->base[i];
    if (config.connect_timeout_ms == 0)
        config.connect_timeout_ms = 5000;
    config.env = qv_uv_env_env(w->envs[i]);
    config.self = node->self;
    config.port = node->port;
    config.limits = node->limits;
    config.retry_ms = 20;
    config.limits.calls_max[QV_PEER_REPAIR] = 20;
    config.limits.bytes_max[QV_PEER_REPAIR] = 4096;
    err = qv_peer_tcp_create(&config, &w->nodes[i], &msg);
    if (err != 0)
        fprintf(stderr, "%s\n", msg.text);
    QV_ASSERT(err == 0);
    node->peers = qv_peer_tcp_peers(w->nodes[i]);
    node->port = qv_peer_tcp_port(w->nodes[i]);
}

static void world_stop(struct peer_world *pub, unsigned i)
{
    struct tcp_world *w = world_of(pub);
    qv_peer_tcp_close(w->nodes[i]);
    qv_uv_env_destroy(&w->envs[i]);
    qv_peer_tcp_destroy(&w->nodes[i]);
    pub->nodes[i].peers = NULL;
}

static void on_turn(uv_timer_t *timer)
{
    (void)timer;
}

static void world_step(struct peer_world *pub)
{
    struct tcp_world *w = world_of(pub);
    uv_run(&w->loop, UV_RUN_ONCE);
}

static void world_destroy(struct peer_world *pub)
{
    struct tcp_world *w = world_of(pub);
    uv_close((uv_handle_t *)&w->turn, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    int rv = uv_loop_close(&w->loop);
    QV_ASSERT(rv == 0);
    qv_mem_free(w);
}

static const struct peer_world_ops tcp_ops = {
    .start = world_start,
    .stop = world_stop,
    .kill = world_stop,
    .step = world_step,
    .destroy = world_destroy,
};

struct peer_world *peer_world_tcp(unsigned n, uint64_t seed)
{
    struct tcp_world *w = qv_mem_calloc(1, sizeof *w);
    (void)seed;
    w->pub.ops = &tcp_ops;
    w->pub.is_real = true;
    w->pub.limit_ns = 60 * QV_NS_PER_S;
    uv_loop_init(&w->loop);
    uv_timer_init(&w->loop, &w->turn);
    uv_timer_start(&w->turn, on_turn, 1, 1);
    peer_world_init(&w->pub, n);
    for (unsigned i = 0; i < n; i++)
        snprintf(w->pub.nodes[i].host, sizeof w->pub.nodes[i].host, "127.0.0.1");
    return &w->pub;
}

struct qv_peer_tcp_config *peer_world_tcp_config(struct peer_world *w, unsigned i)
{
    return &world_of(w)->base[i];
}

struct peer_world *peer_world_tls(unsigned n, uint64_t seed)
{
    struct peer_world *w = peer_world_tcp(n, seed);
    for (unsigned i = 0; i < n; i++) {
        struct qv_peer_tcp_config *c = peer_world_tcp_config(w, i);
        c->cert_path = tls_files()->cert;
        c->key_path = tls_files()->key;
        c->ca_path = tls_files()->ca;
    }
    return w;
}
