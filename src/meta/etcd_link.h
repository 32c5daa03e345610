/* One connection to one etcd server, used from env's owner.
 *
 * net/client.h does the network on a thread of its own; what it says is queued and handed over to
 * the owner in posted tasks, in order. Everything is called on the owner, and calls back there from
 * such tasks, never from inside a call. */
#ifndef QV_META_ETCD_LINK_H
#define QV_META_ETCD_LINK_H

#include "base/buf.h"
#include "core/env.h"

struct qv_etcd_link;

/* Files are PEM; NULL: none. Copied. */
struct qv_etcd_link_config {
    const char *ca, *cert, *key;
    uint32_t connect_timeout_ms;
    size_t answer_bytes_max; /* of one answer, or of one message of a stream */
};

/* How a call ended; borrowed during the callback. */
struct qv_etcd_result {
    uint64_t id;
    int err;          /* as of qv_client_response */
    bool begun;       /* with err: it may have reached the server */
    int grpc_status;  /* with err 0 */
    const char *text; /* the server's, or why there is no connection; "" when there is none */
    struct qv_bytes body;
};

struct qv_etcd_link_events {
    void (*opened)(void *arg, int err, const char *text); /* of qv_etcd_link_open */
    void (*message)(void *arg, uint64_t id, struct qv_bytes body);
    void (*done)(void *arg, const struct qv_etcd_result *r); /* once for each call */
};

struct qv_etcd_link *qv_etcd_link_create(struct qv_env *env,
                                         const struct qv_etcd_link_config *config,
                                         const struct qv_etcd_link_events *events, void *arg);
/* Drops, and frees when nothing is on its way any more; no callback comes after. */
void qv_etcd_link_destroy(struct qv_etcd_link **link);

/* Looks up the host in a job, then `opened`; the connection itself is made by the first call. Not
 * while it is open or opening; a drop ends that, `opened` is then not called. */
void qv_etcd_link_open(struct qv_etcd_link *link, const char *url);
/* Ends the connection: calls in flight end with QV_ECANCELED, later. Fine when there is none. */
void qv_etcd_link_drop(struct qv_etcd_link *link);

struct qv_etcd_request {
    const char *path;
    const char *token;   /* "" : none */
    uint32_t timeout_ms; /* 0: none, for a stream */
    bool stream;         /* answers come as messages; the request side stays open */
};
/* body: its bytes are taken, it is left empty. Gives the call's id, never 0. The link is open. */
uint64_t qv_etcd_link_send(struct qv_etcd_link *link, const struct qv_etcd_request *request,
                           struct qv_buf *body);
void qv_etcd_link_cancel(struct qv_etcd_link *link, uint64_t id);

#endif
