/* A search that decides on the way how far it goes: it walks with a small breadth first, shows what
 * that found, and goes on from there with the breadth it is told. What it expands is what one
 * search with the last breadth would: a best-first walk that remembers more than it expands does
 * the same steps, and stops later. So k may be above the breadth: hits come from what is kept.
 *
 * Threads: as qv_hnsw_search. */
#ifndef QV_INDEX_HNSW_STAGES_H
#define QV_INDEX_HNSW_STAGES_H

#include "index/hnsw.h"

#define QV_HNSW_STAGE_NEAR 10u /* of the nearest, whose changes are told */
#define QV_HNSW_STAGE_NEXT 20u

/* What a breadth has found. */
struct qv_hnsw_stage {
    uint32_t ef;           /* the walk of this breadth is done */
    uint32_t n;            /* > 0 */
    const uint64_t *cands; /* the n nearest, in order: qv_hnsw_cand of hnsw_walk.h. Some may have
                              been removed meanwhile; those of a later stage are elsewhere */
    uint64_t distances;    /* compared so far by this search */
    uint32_t hops;         /* nodes expanded on level 0 so far */
    uint32_t near_hop;     /* of them, the one that last changed the QV_HNSW_STAGE_NEAR nearest */
    uint32_t next_hop;     /* or the QV_HNSW_STAGE_NEXT nearest */
    uint32_t placed;       /* came among the ef nearest since the stage before */
};

/* The breadth to go on with, at most ef_max; not above stage->ef: enough. */
typedef uint32_t qv_hnsw_next_f(void *arg, const struct qv_hnsw_stage *stage);

struct qv_hnsw_stages {
    uint32_t ef_max; /* query->ef .. QV_HNSW_EF_MAX */
    qv_hnsw_next_f *next;
    void *arg;
    qv_slot without;  /* as if this slot were not there; QV_SLOT_NONE: none */
    uint32_t ef_else; /* with a filter, or while dead nodes wait for repair, next is not asked: a
                         plain search of this breadth */
};

/* As qv_hnsw_search, query->ef being the first breadth. */
int qv_hnsw_search_stages(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                          const struct qv_hnsw_query *query, const struct qv_hnsw_stages *stages,
                          struct qv_hnsw_hit *hits, uint32_t *n_out) QV_MUST_USE;

#endif
