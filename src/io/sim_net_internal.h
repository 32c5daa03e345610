/* The inside of io/sim_net.h. Private to io.
 *
 * Hosts stay for ever, so that an index names one; everything else is counted or in a list. The
 * timers of all of it belong to a node of the net's own: a crash of a node forgets nothing here by
 * itself, qv_sim_net_crash does. */
#ifndef QV_IO_SIM_NET_INTERNAL_H
#define QV_IO_SIM_NET_INTERNAL_H

#include "core/peer_envelope.h"
#include "io/sim_net.h"

#define SIM_NET_LANES 2u /* as the real one: interactive and batch, repair and movement */

/* A message's bytes, laid out as on the wire: gRPC's prefix, head, body. */
struct sim_blob {
    uint32_t refs;
    size_t bytes;   /* of the message */
    uint8_t wire[]; /* at a multiple of 16 */
};

struct sim_peer {
    uint64_t id;
    char host[256];
    uint16_t port;
    enum { SIM_DOWN, SIM_GREETING, SIM_UP } state;
    uint64_t epoch; /* of its connection, unique in the net; 0: none */
    uint32_t at;    /* index of the host that answered there */
    uint64_t retry_ns, backoff_ns;
    uint64_t held_ns, heard_ns;
    struct qv_timer timer; /* greeting: until it is given up; up: until silence ends it */
    struct sim_host *owner;
    uint32_t calls[QV_PEER_PRIORITY_COUNT];
    size_t bytes[QV_PEER_PRIORITY_COUNT];
    struct qv_peer_state known; /* what qv_peers_state gives, but calls and bytes */
};

struct sim_link {
    struct qv_sim_net_pair sent;
    uint64_t busy_ns[SIM_NET_LANES], last_ns[SIM_NET_LANES];
};

struct sim_host {
    struct qv_peers pub; /* first */
    struct qv_sim_net *net;
    uint32_t index;
    struct qv_peer_self self;
    char secret[256];
    char host[256];
    uint16_t port;
    bool up, dark;           /* dark: powered off */
    struct sim_peer **peers; /* ascending by id */
    uint32_t n_peers, cap_peers;
    struct sim_link *links; /* by index of the other host */
    uint32_t n_links;
    struct {
        qv_peer_handler_f *run;
        void *arg;
    } handlers[QV_PEER_METHODS_MAX];
    struct sim_out *outs, *outs_last;
    struct sim_in *ins;
};

/* A call under way. Counted: its list, each message that belongs to it, each request it became. */
struct sim_out {
    uint32_t refs;
    bool ended, sent, lost; /* lost: its connection was, after it was sent */
    struct sim_host *host;
    struct sim_peer *peer; /* NULL: none, or ended */
    uint64_t epoch;
    struct qv_peer_call *call;
    struct sim_out *prev, *next;
    struct qv_timer timer; /* the deadline; or, end_err != 0, the end */
    int end_err;
    char text[QV_PEER_TEXT_BYTES_MAX];
    uint64_t begun_ns;
    uint8_t priority;
    size_t bytes;
};

/* A request in a handler's hands. */
struct sim_in {
    struct qv_peer_request pub; /* first */
    struct sim_host *host;
    struct sim_out *out;
    struct sim_blob *blob;
    struct qv_arena arena;
    uint32_t protocol;     /* that it came in: the answer goes in the same */
    struct qv_timer timer; /* its deadline */
    struct sim_in *prev, *next;
};

enum sim_msg_kind { MSG_HELLO, MSG_HELLO_ANSWER, MSG_REQUEST, MSG_ANSWER, MSG_CANCEL, MSG_RESET };

struct sim_msg {
    struct qv_timer timer;
    struct qv_sim_net *net;
    enum sim_msg_kind kind;
    uint32_t from, to; /* hosts */
    uint64_t epoch;    /* of the connection */
    uint64_t peer;     /* hello's: the id that was meant */
    struct sim_blob *blob;
    struct sim_out *out; /* of request, answer, cancel */
    struct sim_msg *prev, *next;
};

struct sim_fault {
    struct qv_sim_net_fault f; /* its arrays are ours */
    uint64_t until_ns;
    struct sim_fault *next;
};

struct qv_sim_net {
    struct qv_sim *sim;
    struct qv_sim_node *node;
    struct qv_env *env;
    struct qv_rng rng;
    struct qv_sim_net_config config; /* no zeros left */
    struct sim_host **hosts;
    uint32_t n_hosts;
    uint64_t epochs;
    struct sim_msg *msgs;
    struct sim_fault *faults;
    struct qv_timer plan_timer;
    struct qv_sim_net_plan plan;
    struct qv_sim_net_stats stats;
};

/* What the faults make of messages between two hosts now. */
struct sim_weather {
    bool blocked;
    double loss, duplicate;
    uint64_t delay_ns;
    uint64_t bytes_per_s;
};
struct sim_weather qv_sim_net_weather(struct qv_sim_net *net, const struct sim_host *from,
                                      const struct sim_host *to);
void qv_sim_net_close_faults(struct qv_sim_net *net);

/* sim_net.c: messages */
struct sim_host *qv_sim_net_host(const struct qv_sim_net *net, uint64_t id);
uint64_t qv_sim_net_spread(struct qv_rng *rng, uint64_t mean); /* exponential, about */
struct sim_blob *qv_sim_net_blob(const uint8_t *head, size_t n, struct qv_bytes body);
void qv_sim_net_blob_unref(struct sim_blob *blob);
/* Fills in m's copy and sends it; takes a reference to blob and out. */
void qv_sim_net_transmit(struct qv_sim_net *net, const struct sim_msg *m, unsigned lane);
void qv_sim_net_msg_free(struct sim_msg *m);

/* sim_net_call.c: calls, requests, connections */
extern const struct qv_peers_ops qv_sim_net_ops;
void qv_sim_net_arrive(struct sim_msg *m); /* on a host that is up */
/* Held up, or to a host that is off: the connection may be found dead. */
void qv_sim_net_stuck(const struct sim_msg *m);
bool qv_sim_net_is_open(const struct sim_msg *m); /* its connection still stands */
void qv_sim_net_refused(const struct sim_msg *m); /* nobody listens there */
void qv_sim_net_out_unref(struct sim_out *out);
/* Connections between the two, either way. */
void qv_sim_net_reset(struct sim_host *a, struct sim_host *b);
/* All calls end at once with err, or are forgotten (err 0), and so are all requests and peers. */
void qv_sim_net_clear(struct sim_host *h, int err);

#endif
