/* A compressed request, made plain before the handler sees it: off the loop, but for the smallest.
 *
 * Like a spool (net/spool.h) it outlives its call while its job is under way. While it is, the call
 * is complete and RECEIVING; qv_conn_unpacked goes on. Loop thread. */
#ifndef QV_NET_UNPACK_H
#define QV_NET_UNPACK_H

#include "net/conn.h"

struct qv_unpack {
    struct qv_net_job job;
    struct qv_call_priv *call; /* NULL: it let go */
    struct qv_buf body;        /* as it came */
    struct qv_bytes packed;    /* in body */
    size_t limit;              /* of what it unpacks to */
    struct qv_buf plain;
    int err;
};

/* Takes the call's body, whose part `packed` is a gzip member; calls qv_conn_unpacked, maybe at
 * once. QV_ENOMEM. */
int qv_unpack_begin(struct qv_call_priv *call, struct qv_bytes packed, size_t limit) QV_MUST_USE;
/* The call goes; *unpack becomes NULL. */
void qv_unpack_release(struct qv_unpack **unpack);

#endif
