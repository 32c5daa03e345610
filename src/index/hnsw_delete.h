/* Private to src/index: the steps by which a node leaves, shared by repair and load. */
#ifndef QV_INDEX_HNSW_DELETE_H
#define QV_INDEX_HNSW_DELETE_H

#include "index/hnsw_link.h"

#define QV_HNSW_STARVED_MAX 64u

/* Nodes left without any link of their own on level 0. More than fit are not helped. */
struct qv_hnsw_starved {
    uint32_t n;
    qv_slot slots[QV_HNSW_STARVED_MAX];
};

/* A node that leaves (UNLINKING), on one level. Its row is not read here: after a load it may be
 * gone. */
struct qv_hnsw_leaving {
    qv_slot slot;
    uint32_t level;
    uint32_t n;
    const qv_slot *out;              /* its links when it began to leave; borrowed */
    struct qv_hnsw_starved *starved; /* borrowed */
};

/* In z's list: the leaving node out, up to three of its neighbours in. Nothing if z has no such
 * link. */
void qv_hnsw_leaving_replace(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, struct qv_hnsw_leaving *p,
                             qv_slot z);

/* The links of z's list on a level that lead to leaving nodes, replaced; returns how many.
 * marked_only: only to slots visited in ctx's present walk. */
uint32_t qv_hnsw_leaving_bridge(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot z,
                                uint32_t level, bool marked_only, struct qv_hnsw_starved *starved);

/* Gives the starved new links. ctx must have walked this graph at ef_construct (no failure then).
 */
void qv_hnsw_leaving_feed(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                          struct qv_hnsw_starved *starved);

/* UNLINKING -> UNLINKED: its own links count no more; who has lost the last one on level 0 by that
 * is attached. ctx as above. */
void qv_hnsw_leaving_finish(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot);

#endif
