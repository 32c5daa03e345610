/* Another node's shards as a leaf: an ask is one message (QV_PEER_READ, wire/peer_codec.h), its
 * answers are another. Owner only. */
#ifndef QV_QUERY_LEAF_REMOTE_H
#define QV_QUERY_LEAF_REMOTE_H

#include "core/peer.h"
#include "core/shard_ops.h"

/* Embedded; valid as long as asks are under way. */
struct qv_remote_leaf {
    struct qv_leaf leaf; /* first */
    struct qv_peers *peers;
    uint32_t outstanding;
    uint64_t latency_ns; /* decayed mean; 0: none yet */
    /* The node knew a newer record of a shard than the asker: its epoch. NULL: nobody asks. */
    void (*newer)(void *arg, uint64_t node, uint64_t epoch);
    void *arg;
    struct qv_remote_ask *asks; /* the leaf's: under way */
};

void qv_remote_leaf_init(struct qv_remote_leaf *l, struct qv_peers *peers, uint64_t node);
/* Frees what is under way without a callback: of a crash (simulator). */
void qv_remote_leaf_forget(struct qv_remote_leaf *l);

#endif
