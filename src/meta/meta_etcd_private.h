/* The parts of meta_etcd: meta_etcd.c holds the connection and the interface, etcd_ops.c what is
 * asked and answered, etcd_feed.c watches, etcd_hold.c leases. */
#ifndef QV_META_META_ETCD_PRIVATE_H
#define QV_META_META_ETCD_PRIVATE_H

#include "core/meta_tree.h"
#include "meta/etcd_link.h"
#include "meta/etcd_wire.h"
#include "meta/meta_etcd.h"

enum qv_etcd_state {
    QV_ETCD_WAITING, /* for the next try; ended by the timer */
    QV_ETCD_OPENING, /* a job looks up the host */
    QV_ETCD_LOGIN,
    QV_ETCD_PROBING, /* by a linearizable read */
    QV_ETCD_READY,
};

struct qv_meta_etcd {
    struct qv_meta base; /* first */
    char *endpoints[QV_META_ETCD_ENDPOINTS_MAX];
    uint32_t endpoint_count;
    char *root, *user, *password;
    uint32_t timeout_ms;
    struct qv_etcd_link *link;
    enum qv_etcd_state state;
    uint32_t endpoint;           /* in use, or to be tried next */
    uint32_t failures;           /* in a row */
    uint32_t tried;              /* endpoints, in this round */
    struct qv_timer timer;       /* WAITING: the next try; READY: looks after the connection */
    uint64_t probe_id, login_id; /* 0: none in flight */
    uint64_t heard_ns;           /* when the endpoint last answered */
    uint64_t probe_revision;     /* known when the probe was sent */
    char *token;                 /* NULL: none */
    uint32_t logins;             /* since the last that helped */
    bool closing;
    struct qv_meta_calls ops;     /* call.impl: struct qv_etcd_op */
    struct qv_meta_calls watches; /* call.impl: struct qv_etcd_feed */
    struct qv_meta_calls leases;  /* call.impl: struct qv_etcd_held */
};

/* ---- meta_etcd.c ---- */

/* Leaves the endpoint; err is what requests that wait are told in the end. */
void qv_meta_etcd_leave(struct qv_meta_etcd *e, int err, const char *text);
/* The token is no longer good: gets another, then goes on. QV_EAUTH when that did not help. */
QV_MUST_USE int qv_meta_etcd_login_again(struct qv_meta_etcd *e);
/* Sends; 0 when the connection is not ready. timeout_ms 0: a stream. */
uint64_t qv_meta_etcd_send(struct qv_meta_etcd *e, const char *path, struct qv_buf *body,
                           uint32_t timeout_ms);
/* Takes note of an answer's header. QV_ESTALE: not the store that is known, or older than
 * known_revision; the endpoint has been left then. */
QV_MUST_USE int qv_meta_etcd_heard(struct qv_meta_etcd *e, const struct qv_etcd_answer *a,
                                   uint64_t known_revision);
/* Why a call of the link failed, for a person. */
const char *qv_meta_etcd_failure(const struct qv_etcd_result *r);

/* ---- etcd_ops.c ---- */

void qv_etcd_op_begin(struct qv_meta_etcd *e, struct qv_meta_call *c, enum qv_meta_call_kind kind,
                      int err);
void qv_etcd_ops_send(struct qv_meta_etcd *e);            /* it is ready */
void qv_etcd_ops_refuse(struct qv_meta_etcd *e, int err); /* those that wait; text: base.why */
bool qv_etcd_ops_done(struct qv_meta_etcd *e, const struct qv_etcd_result *r); /* false: not ours */
void qv_etcd_ops_close(struct qv_meta_etcd *e);

/* ---- etcd_feed.c ---- */

void qv_etcd_feed_begin(struct qv_meta_etcd *e, struct qv_meta_watch *w);
void qv_etcd_feed_stop(struct qv_meta_etcd *e, struct qv_meta_watch *w);
void qv_etcd_feeds_send(struct qv_meta_etcd *e);
void qv_etcd_feeds_left(struct qv_meta_etcd *e); /* the connection is gone */
void qv_etcd_feeds_end(struct qv_meta_etcd *e, int err);
void qv_etcd_feeds_message(struct qv_meta_etcd *e, uint64_t id, struct qv_bytes body);
bool qv_etcd_feeds_done(struct qv_meta_etcd *e, const struct qv_etcd_result *r);

/* ---- etcd_hold.c ---- */

/* From a grant: asked_boot_ns is when it was sent. */
void qv_etcd_hold_begin(struct qv_meta_etcd *e, struct qv_meta_lease *l, uint64_t asked_boot_ns,
                        uint64_t id, uint64_t ttl_s);
void qv_etcd_hold_release(struct qv_meta_etcd *e, struct qv_meta_lease *l); /* no callback */
void qv_etcd_holds_send(struct qv_meta_etcd *e);
void qv_etcd_holds_left(struct qv_meta_etcd *e);
bool qv_etcd_holds_done(struct qv_meta_etcd *e, const struct qv_etcd_result *r);
void qv_etcd_holds_close(struct qv_meta_etcd *e);

#endif
