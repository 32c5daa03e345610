/* A node's first questions to the metadata, before it can speak to peers: which cluster is this
 * (founded by whoever asks first), and, once in the life of a data directory, a writer id: what the
 * versions of its changes carry, never given twice.
 *
 *   cluster   16 bytes, made once
 *   writers   u32: the last id that was given */
#ifndef QV_CLUSTER_FOUNDING_H
#define QV_CLUSTER_FOUNDING_H

#include "core/meta.h"
#include "core/peer.h"

struct qv_founding;
/* On the owner, once. Errors as core/meta.h's; QV_ELIMIT: 2^24 writers were given. */
typedef void (*qv_founding_done_f)(struct qv_founding *f, int err);

/* Embedded in the caller's struct, zero but for the first six, until done. */
struct qv_founding {
    struct qv_env *env;
    struct qv_meta *meta;
    bool want_writer;
    bool only_look; /* the cluster must be there: QV_ENOTFOUND, nothing is made */
    qv_founding_done_f done;
    void *arg;
    uint8_t cluster[QV_CLUSTER_ID_BYTES];
    uint32_t writer; /* where wanted */
    struct qv_errmsg msg;
    /* founding's */
    struct qv_meta_listing listing;
    struct qv_meta_txn txn;
    struct qv_meta_compare compare;
    struct qv_meta_change change;
    uint32_t last, next;
};
void qv_founding_start(struct qv_founding *f);

#endif
