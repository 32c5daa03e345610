/* core/peer.h simulated: a network between the nodes of one qv_sim, with the same envelopes, checks
 * and errors as the real one, in simulated time and from one seed.
 *
 * What it imitates. A node's peers are reached at the addresses that other nodes joined under. The
 * first call to a peer connects and greets; calls wait for that, and while connecting has just
 * failed they end at once (QV_EUNAVAILABLE). A connection is lost when either process dies, is
 * reset, or stays silent for dead_ns while something is held up: calls that were sent end with
 * QV_EUNKNOWN, and whether their requests still arrive is chance. A message on a blocked link is
 * held and sent again until the connection is given up, so that it may arrive long after.
 *
 * What is worse than TCP, on purpose: messages of one connection overtake each other, requests
 * arrive twice, and single messages are lost without the connection (calls then end by their
 * deadline).
 *
 * One thread. Bodies are copied: a handler never sees memory of the caller's. */
#ifndef QV_IO_SIM_NET_H
#define QV_IO_SIM_NET_H

#include "core/peer.h"
#include "io/sim_env.h"

struct qv_sim_net;

/* 0 means the default in brackets; shares are of 1. */
struct qv_sim_net_config {
    uint64_t seed;
    uint64_t delay_ns_min;  /* [40 us] of a message */
    uint64_t delay_ns_mean; /* [60 us] of what is added to that, exponential */
    double tail_share;      /* [0.002] of messages take up to delay_ns_tail more, uniform */
    uint64_t delay_ns_tail; /* [20 ms] */
    uint64_t bytes_per_s;   /* [1.25e9] of each direction of each pair; messages queue */
    double overtake_share;  /* [0.05] of messages don't wait for those sent before; < 0: none */
    double loss, duplicate; /* shares of messages, of requests; [0] */
    uint64_t connect_timeout_ns; /* [1 s] */
    uint64_t retry_ns; /* [100 ms] after a failed connecting; doubles up to 20 times that */
    uint64_t dead_ns;  /* [3 s] of silence end a connection on which something is held */
    struct qv_peer_limits limits;
};

/* Borrows sim, which must outlive it. Gives. */
struct qv_sim_net *qv_sim_net_create(struct qv_sim *sim, const struct qv_sim_net_config *config);
/* Every node must have left. */
void qv_sim_net_destroy(struct qv_sim_net **net);

/* The node joins under an address, copied: a fresh process. Its peers are borrowed until it leaves
 * or crashes. At an address, or with an id, that has joined already: asserted. */
struct qv_peers *qv_sim_net_join(struct qv_sim_net *net, struct qv_sim_node *node,
                                 const struct qv_peer_self *self, const char *host, uint16_t port);
/* An orderly end: its calls end with QV_ECANCELED, from inside this call; requests whose handlers
 * have not answered are forgotten (qv_peer_answer must not be called for them any more). */
void qv_sim_net_leave(struct qv_sim_net *net, uint64_t id);

enum qv_sim_net_crash {
    QV_SIM_NET_KILLED,   /* the process: its host closes the connections, peers learn of it */
    QV_SIM_NET_POWER_OFF /* the host: silence */
};
/* To be called with qv_sim_node_crash, while the node's calls can still be touched: everything of
 * the node is forgotten without a callback. What it had sent may still arrive. It may join again,
 * with a greater incarnation. */
void qv_sim_net_crash(struct qv_sim_net *net, uint64_t id, enum qv_sim_net_crash how);

/* ---- faults --------------------------------------------------------------------------------- */

enum qv_sim_net_fault_kind {
    QV_SIM_NET_BLOCK,     /* nothing arrives; what is sent is held */
    QV_SIM_NET_LOSE,      /* share of messages */
    QV_SIM_NET_DUPLICATE, /* share of requests */
    QV_SIM_NET_DELAY,     /* amount ns are added */
    QV_SIM_NET_SLOW,      /* amount bytes a second, instead of more */
    QV_SIM_NET_RESET,     /* connections between them, once */
    QV_SIM_NET_FAULT_COUNT
};

/* On messages from any of `from` to any of `to`; n = 0: any node, but none to itself. */
struct qv_sim_net_fault {
    enum qv_sim_net_fault_kind kind;
    const uint64_t *from, *to; /* ids, copied */
    uint32_t n_from, n_to;
    bool both_ways;
    uint64_t for_ns; /* 0: until qv_sim_net_heal */
    double share;
    uint64_t amount;
};
void qv_sim_net_fault(struct qv_sim_net *net, const struct qv_sim_net_fault *fault);
/* The nodes of the list on one side, all others on the other, nothing between them. */
void qv_sim_net_split(struct qv_sim_net *net, const uint64_t *ids, uint32_t n, uint64_t for_ns);
/* Ends all faults, of a plan too; what was held goes on. */
void qv_sim_net_heal(struct qv_sim_net *net);

/* Faults at random times on random nodes, from the net's seed. */
struct qv_sim_net_plan {
    uint64_t gap_ns_mean;    /* [500 ms] between their beginnings */
    uint64_t length_ns_mean; /* [800 ms] */
    uint64_t until_ns;       /* of qv_sim_now_ns: none begins later */
    uint32_t kinds;          /* bits 1 << kind; 0: all */
};
void qv_sim_net_plan(struct qv_sim_net *net, const struct qv_sim_net_plan *plan);

/* ---- what happened -------------------------------------------------------------------------- */

struct qv_sim_net_pair {
    uint64_t messages, bytes; /* sent, envelopes included */
};
/* From one node to another since the net was made; zero for ids that never joined. */
struct qv_sim_net_pair qv_sim_net_traffic(const struct qv_sim_net *net, uint64_t from, uint64_t to);

struct qv_sim_net_stats {
    uint64_t messages, bytes; /* sent by all */
    uint64_t lost, duplicated, held, overtaken, resets, connects;
    uint64_t faults[QV_SIM_NET_FAULT_COUNT]; /* begun */
};
void qv_sim_net_stats(const struct qv_sim_net *net, struct qv_sim_net_stats *out);

#endif
