/* core/peer.h made real: gRPC (service quiver.internal.v1.Peers) over our HTTP/2 server and client
 * on the peers' port, plain or under TLS.
 *
 * Threads. The owner of env sends and handles. One thread writes and reads all calls made from
 * here, one all calls made to here; both hand over to the owner through one list each way and one
 * wake. No lock is held while anything is called back.
 *
 * To each peer go at most two connections: one for what is interactive and batch, one for repair
 * and movement, so that a large chunk never stands before a search. The first call opens and
 * greets; while that has just failed calls end at once, and the next try waits for a time that
 * grows from retry_ms to 30 times that, with jitter. A connection that gives no byte for
 * keepalive_ms is pinged, and closed when that brings nothing for dead_ms.
 *
 * Bodies are not copied on their way out before they become frames, and not on the way in after
 * they were frames. */
#ifndef QV_NET_PEER_TCP_H
#define QV_NET_PEER_TCP_H

#include "core/peer.h"

struct qv_peer_tcp;

/* Strings are copied. 0 means the default in brackets. */
struct qv_peer_tcp_config {
    struct qv_env *env; /* borrowed until close */
    struct qv_peer_self self;
    const char *host; /* to listen on; NULL: 127.0.0.1 */
    uint16_t port;    /* 0: any free one */
    /* TLS, all three or none: this node's certificate, shown to both who calls and who is called,
     * and who must have signed the others'. A called node's must name the host it is known under.
     */
    const char *cert_path, *key_path, *ca_path;
    struct qv_peer_limits limits;
    uint32_t connect_timeout_ms; /* [1000] connection, TLS and greeting together */
    uint32_t retry_ms;           /* [100] */
    uint32_t keepalive_ms;       /* [1000] */
    uint32_t dead_ms;            /* [2000] */
};

/* Listens. On env's owner, or before env runs anything. QV_EINVAL, QV_EBUSY: the port is taken.
 * Gives *out. */
QV_MUST_USE int qv_peer_tcp_create(const struct qv_peer_tcp_config *config,
                                   struct qv_peer_tcp **out, struct qv_errmsg *msg);
struct qv_peers *qv_peer_tcp_peers(struct qv_peer_tcp *t); /* borrowed, until close */
uint16_t qv_peer_tcp_port(const struct qv_peer_tcp *t);
/* Reads the certificate files again, for connections that open from now on. Any thread. */
QV_MUST_USE int qv_peer_tcp_reload(struct qv_peer_tcp *t, struct qv_errmsg *msg);

/* On env's owner, not from a callback of this; waits for the calling thread: calls under way end
 * with QV_ECANCELED, from inside this call; requests that are not answered are forgotten:
 * qv_peer_answer must not be called for them any more. */
void qv_peer_tcp_close(struct qv_peer_tcp *t);
/* After the close, when env has run what was posted before it (or is gone). NULL is fine; sets *t
 * to NULL. */
void qv_peer_tcp_destroy(struct qv_peer_tcp **t);

#endif
