/* Some nodes that send each other messages, simulated or over real sockets, behind one face: what
 * both must do is tested by the same cases (peer_cases.h). One thread owns all their envs. */
#ifndef QV_TEST_PEER_WORLD_H
#define QV_TEST_PEER_WORLD_H

#include "core/peer.h"

#define PEER_WORLD_NODES_MAX 4u

struct peer_world_node {
    struct qv_peer_self self; /* node i: id 100 + i, incarnation 1; may be changed before a start */
    struct qv_peer_limits limits;
    struct qv_peers *peers; /* NULL: not running */
    char host[64];
    uint16_t port; /* stays over restarts */
};

struct peer_world;
struct peer_world_ops {
    void (*start)(struct peer_world *w, unsigned i);
    void (*stop)(struct peer_world *w, unsigned i);
    void (*kill)(struct peer_world *w, unsigned i); /* without a word */
    void (*step)(struct peer_world *w);             /* a few events, or at most some ms */
    void (*destroy)(struct peer_world *w);
};

struct peer_world {
    const struct peer_world_ops *ops;
    unsigned n;
    bool is_real;      /* threads and sockets: slow, and never twice the same */
    uint64_t limit_ns; /* how long a wait may take before the test fails */
    struct peer_world_node nodes[PEER_WORLD_NODES_MAX];
};

/* n nodes that are not started; told apart only by their ids. */
typedef struct peer_world *peer_world_make_f(unsigned n, uint64_t seed);
/* test/lib/peer_world_sim.c, test/unit/net/peer_world_tcp.c */
struct peer_world *peer_world_sim(unsigned n, uint64_t seed);
struct peer_world *peer_world_tcp(unsigned n, uint64_t seed);
struct peer_world *peer_world_tls(unsigned n, uint64_t seed);

/* What node i is started with, but for what the world itself fills in. */
struct qv_peer_tcp_config *peer_world_tcp_config(struct peer_world *w, unsigned i);

struct qv_sim_net *peer_world_sim_net(struct peer_world *w);
struct qv_sim *peer_world_sim_sim(struct peer_world *w);

void peer_world_init(struct peer_world *w, unsigned n);
/* Starts all and makes each known to each, itself too. */
void peer_world_start_all(struct peer_world *w);
void peer_world_introduce(struct peer_world *w, unsigned i, unsigned to);
void peer_world_destroy(struct peer_world **w);
/* Steps until *flag; fails the test when it takes too long. */
void peer_world_wait(struct peer_world *w, const bool *flag);
void peer_world_run_for(struct peer_world *w, uint64_t ns);
uint64_t peer_world_now(struct peer_world *w);

/* A call and how it ended. */
struct peer_ask {
    struct qv_peer_call call;
    bool done;
    unsigned times;
    int err;
    bool remote, may_have_run;
    uint64_t incarnation;
    char text[QV_PEER_TEXT_BYTES_MAX];
    struct qv_buf body;
};
void peer_ask_init(struct peer_ask *ask, uint64_t to, uint16_t method, struct qv_bytes body);
void peer_ask_close(struct peer_ask *ask);
/* Sends with so much time, waits for the end and gives its error. */
int peer_world_ask(struct peer_world *w, unsigned from, struct peer_ask *ask, uint64_t for_ns);

#endif
