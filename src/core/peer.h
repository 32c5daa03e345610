/* Messages between nodes, for code that has no sockets: requests and their answers as encoded
 * bytes. Real: net/peer_tcp.h (gRPC on the peers' port). Simulated: io/sim_net.h.
 *
 * Everything here is called, and calls back, on the owner of the node's env. Nothing calls back
 * from inside a call into it: an end that is known at once comes as a task of its own.
 *
 * A call ends exactly once, by its done. What its error says:
 *
 *   0                 the handler answered, and the answer is there
 *   QV_EUNAVAILABLE   never given to the handler: not known, not reachable, not that node any more
 *   QV_EBUSY          never given to the handler: too much is under way to this peer in this class,
 *                     or the peer itself refused to take more
 *   QV_EAUTH          never given: wrong secret or certificate, here or there
 *   QV_EFORBIDDEN     never given: the peer belongs to another cluster
 *   QV_EPROTO         no protocol version in common, or bytes that are no message of ours
 *   QV_EUNKNOWN       the connection was lost while the call was under way: it may have happened
 *   QV_ETIMEOUT       the deadline passed
 *   QV_ECANCELED      qv_peer_cancel, or this node is shutting down
 *   QV_ETOOBIG        the body, or the answer's, is over the limit
 *   any other         the handler's own, with its text and what body it added
 *
 * `remote` tells the handler's own errors from these, and `may_have_run` whether the handler may
 * have been given the request: only where it is false may a change be sent again as it is.
 *
 * A handler must bear to be given the same request twice: the simulator makes it happen. */
#ifndef QV_CORE_PEER_H
#define QV_CORE_PEER_H

#include "base/arena.h"
#include "base/buf.h"
#include "core/env.h"

#define QV_CLUSTER_ID_BYTES 16
#define QV_PEER_BODY_BYTES_MAX ((size_t)64 * 1024 * 1024) /* of a request or an answer */
#define QV_PEER_TEXT_BYTES_MAX 400u                       /* of an error, the NUL included */
#define QV_PEER_METHODS_MAX 256u                          /* methods are 0 .. this - 1 */

/* What this build speaks. A node speaks its own version and the one before. */
#define QV_PEER_PROTOCOL 1u
/* The newest thing that it can read in messages and on disk; see DESIGN's feature level. */
#define QV_PEER_FEATURE_LEVEL 1u

/* In this order at every queue: what is interactive is sent, and given to its handler, first. */
enum qv_peer_priority {
    QV_PEER_INTERACTIVE,
    QV_PEER_BATCH,
    QV_PEER_REPAIR,
    QV_PEER_MOVEMENT,
    QV_PEER_PRIORITY_COUNT
};

struct qv_peers;
struct qv_peer_call;

/* Borrowed during the callback. */
struct qv_peer_answer {
    int err;
    bool remote;          /* err is the handler's own */
    bool may_have_run;    /* the request may have been given to the handler, now or later */
    uint64_t incarnation; /* of the peer; 0: it did not answer */
    const char *text;     /* why; "" without an error, never NULL */
    struct qv_bytes body; /* at a multiple of 16 */
};

/* A request under way. The caller's, who fills in the upper half and keeps it, and body's bytes,
 * until done has been called. May be used again from inside done. */
struct qv_peer_call {
    uint64_t to;             /* peer's id */
    uint64_t to_incarnation; /* only this life of it; 0: whatever it is in */
    uint16_t method;
    uint8_t priority;     /* enum qv_peer_priority */
    uint64_t deadline_ns; /* qv_env_mono_ns; 0: none but the implementation's (60 s) */
    uint64_t tenant;      /* 0: none */
    uint64_t trace[2];    /* W3C trace id, high and low; 0, 0: none */
    struct qv_bytes body;
    void (*done)(struct qv_peer_call *call, const struct qv_peer_answer *answer);
    void *arg;  /* the caller's */
    void *impl; /* the implementation's while the call is under way, else NULL */
};

/* A request received. Everything is borrowed until the answer, which must come exactly once, from
 * inside the handler or later, cancelled or not. */
struct qv_peer_request {
    struct qv_peers *peers;
    uint64_t from, from_incarnation;
    uint32_t from_feature_level;
    uint16_t method;
    uint8_t priority;
    uint64_t deadline_ns; /* our qv_env_mono_ns; never 0 */
    uint64_t tenant, trace[2];
    struct qv_bytes body;   /* at a multiple of 16 */
    struct qv_arena *arena; /* the handler's, bounded, until the answer */
    /* The caller went away, gave up, or its deadline passed: the answer will be dropped. When the
     * handler has set on_cancel it is called once, at that time, unless the answer was given. */
    bool canceled;
    void (*on_cancel)(struct qv_peer_request *request); /* the handler's */
    void *user;                                         /* the handler's */
};

typedef void qv_peer_handler_f(void *arg, struct qv_peer_request *request);

/* Who this node is. Strings and arrays are copied. */
struct qv_peer_self {
    uint8_t cluster[QV_CLUSTER_ID_BYTES];
    uint64_t id;                         /* never 0 */
    uint64_t incarnation;                /* grows with every start of the process; never 0 */
    uint32_t protocol_min, protocol_max; /* 0: what QV_PEER_PROTOCOL says */
    uint32_t feature_level;              /* 0: QV_PEER_FEATURE_LEVEL */
    const char *secret;                  /* what all nodes share; NULL or "": none */
};

/* What may be under way to one peer in each class; one more is QV_EBUSY. 0: the default. */
struct qv_peer_limits {
    uint32_t calls_max[QV_PEER_PRIORITY_COUNT]; /* [1024, 1024, 256, 64] */
    size_t bytes_max[QV_PEER_PRIORITY_COUNT];   /* [128 MiB each] of bodies */
};

/* What is known of a peer. */
struct qv_peer_state {
    bool connected;         /* its greeting was answered, and the connection stands */
    uint64_t incarnation;   /* of its last greeting; 0: none yet */
    uint32_t protocol;      /* the version spoken with it */
    uint32_t feature_level; /* its own */
    uint32_t calls;         /* under way to it, queued ones too */
    uint64_t bytes;         /* bodies of those */
    uint64_t rtt_ns;        /* decayed mean of answered calls, handlers' time included; 0: none */
    uint64_t sent_messages, sent_bytes, received_messages, received_bytes; /* bodies, since set */
    int why_err;                      /* why it is not connected; 0: not tried, or connected */
    char why[QV_PEER_TEXT_BYTES_MAX]; /* the same for a person */
};

struct qv_peers_ops {
    int (*set)(struct qv_peers *peers, uint64_t id, const char *host, uint16_t port,
               struct qv_errmsg *msg);
    void (*remove)(struct qv_peers *peers, uint64_t id);
    bool (*state)(struct qv_peers *peers, uint64_t id, struct qv_peer_state *out);
    void (*serve)(struct qv_peers *peers, uint16_t method, qv_peer_handler_f *handler, void *arg);
    void (*send)(struct qv_peers *peers, struct qv_peer_call *call);
    void (*cancel)(struct qv_peers *peers, struct qv_peer_call *call);
    void (*answer)(struct qv_peer_request *request, int err, const struct qv_errmsg *msg,
                   struct qv_buf *body);
};

struct qv_peers {
    const struct qv_peers_ops *ops;
    struct qv_env *env; /* borrowed */
};

/* Makes a peer known, or gives it another address: what is under way to the old one ends as when
 * its connection is lost. host is copied: a name or an address; it is looked up at each connecting.
 * QV_EINVAL: id 0, port 0, a host of 0 or more than 255 bytes; QV_ELIMIT: 4,096 are known. */
QV_MUST_USE static inline int qv_peers_set(struct qv_peers *p, uint64_t id, const char *host,
                                           uint16_t port, struct qv_errmsg *msg)
{
    return p->ops->set(p, id, host, port, msg);
}

/* Forgets it; calls under way to it end as when its connection is lost. Unknown: fine. */
static inline void qv_peers_remove(struct qv_peers *p, uint64_t id)
{
    p->ops->remove(p, id);
}

/* False: not known. */
static inline bool qv_peers_state(struct qv_peers *p, uint64_t id, struct qv_peer_state *out)
{
    return p->ops->state(p, id, out);
}

/* Requests of this method go to the handler from now on; NULL: to none, and they are answered with
 * QV_ENOTIMPL. A node may call itself: `to` is its own id, and it must be set like any other. */
static inline void qv_peers_serve(struct qv_peers *p, uint16_t method, qv_peer_handler_f *handler,
                                  void *arg)
{
    p->ops->serve(p, method, handler, arg);
}

/* Sends. Every failure comes through done, never from inside this call. */
static inline void qv_peer_send(struct qv_peers *p, struct qv_peer_call *call)
{
    p->ops->send(p, call);
}

/* Asks for an early end: done still comes, soon, with QV_ECANCELED or with what was faster. Not
 * under way: fine. The handler over there learns of it. */
static inline void qv_peer_cancel(struct qv_peers *p, struct qv_peer_call *call)
{
    if (call->impl != NULL)
        p->ops->cancel(p, call);
}

/* Answers a request and ends the handler's right to touch it. err 0 or any QV_E*; msg: why (copied,
 * may be NULL). body: takes its bytes and leaves it empty; NULL: none; it goes along with an error
 * too. A body that has failed, or is over QV_PEER_BODY_BYTES_MAX, becomes QV_ETOOBIG. */
static inline void qv_peer_answer(struct qv_peer_request *request, int err,
                                  const struct qv_errmsg *msg, struct qv_buf *body)
{
    request->peers->ops->answer(request, err, msg, body);
}

#endif
