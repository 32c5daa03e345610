/* Private to src/index: a thread's scratch, and the walks over a graph's links. Reads links and
 * compares codes; takes no locks and changes nothing.
 *
 * Candidates are 64-bit keys that sort as (distance, slot): the distance's bits made monotonic,
 * then the slot, then a mark in the lowest bit ("expanded"). One compare orders them, ties
 * included, so equal graphs give equal walks. */
#ifndef QV_INDEX_HNSW_WALK_H
#define QV_INDEX_HNSW_WALK_H

#include "index/hnsw_graph.h"

#include <math.h>
#include <string.h>

typedef uint64_t qv_hnsw_cand; /* a candidate's key */

#define QV_HNSW_CAND_EXPANDED UINT64_C(1)

/* Nodes that a plain walk expands in a step, the nearest not expanded yet: what one waits for from
 * memory the others wait for too, for a few distances more. us a query, one core: glove, ef 160:
 * 138, 122, 116 with one, two, three at once; sift, ef 76: 75.5, 70.1, 68.4. */
#define QV_HNSW_STEP_EXPAND 3u

/* What a step may meet: a plain one, its nodes' neighbours; one of a filtered walk, those of
 * QV_HNSW_FILTERED_EXPAND nodes, one list more, and some beside. */
#define QV_HNSW_FILTERED_EXPAND 4u
#define QV_HNSW_NEAR_MAX ((QV_HNSW_FILTERED_EXPAND + 1) * QV_HNSW_M0_MAX + 512)
_Static_assert(QV_HNSW_STEP_EXPAND <= QV_HNSW_FILTERED_EXPAND, "room for a plain step");

static inline qv_hnsw_cand qv_hnsw_cand_make(float dist, qv_slot slot)
{
    float d = dist != dist ? INFINITY : dist + 0.0F; /* NaN last; -0 is 0 */
    uint32_t u;
    memcpy(&u, &d, sizeof u);
    u = (u & 0x80000000u) != 0 ? ~u : u | 0x80000000u;
    return (uint64_t)u << 32 | (uint64_t)slot << 1;
}
static inline qv_slot qv_hnsw_cand_slot(qv_hnsw_cand c)
{
    return (qv_slot)((uint32_t)c >> 1);
}
static inline float qv_hnsw_cand_dist(qv_hnsw_cand c)
{
    uint32_t u = (uint32_t)(c >> 32);
    u = (u & 0x80000000u) != 0 ? u & 0x7FFFFFFFu : ~u;
    float d;
    memcpy(&d, &u, sizeof d);
    return d;
}
_Static_assert(QV_SLOTS_MAX <= (1u << 31), "a slot and the mark fit in the low word");

/* A growable array of candidates. */
struct qv_hnsw_cands {
    qv_hnsw_cand *at;
    uint32_t n;
    uint32_t cap;
};
int qv_hnsw_cands_reserve(struct qv_hnsw_cands *c,
                          uint32_t cap) QV_MUST_USE; /* QV_ENOMEM; keeps content */

struct qv_hnsw_lane; /* hnsw_search_many.c */

struct qv_hnsw_ctx {
    uint8_t *visited; /* visited[s] == epoch: seen in this walk */
    uint32_t visited_slots;
    uint8_t epoch;

    const struct qv_hnsw_codes *space; /* what this walk compares */
    uint8_t *code;                     /* of a search's query */
    size_t code_bytes;
    float *decoded; /* the query and a candidate while hits are ranked */
    size_t decoded_floats;

    struct qv_hnsw_cands pool;  /* a walk's result, ascending */
    struct qv_hnsw_cands heap;  /* filtered walk: what to expand, a min-heap */
    struct qv_hnsw_cands picks; /* insert: the links chosen on each level, m a level */

    /* the neighbourhood of the nodes expanded in a step */
    qv_slot ids[QV_HNSW_NEAR_MAX];
    float dists[QV_HNSW_NEAR_MAX];
    qv_slot failing[QV_HNSW_NEAR_MAX]; /* of them, what a filter refuses */
    qv_slot list[QV_HNSW_M0_MAX + 1];
    qv_hnsw_cand near[QV_HNSW_M0_MAX + 1];
    qv_slot chosen[QV_HNSW_M0_MAX + 1];

    struct qv_hnsw_lane *lanes; /* of qv_hnsw_search_many; NULL: not used yet */

    struct qv_hnsw_work work;
};

/* Starts a walk over the codes: marks sized to the graph, all unseen. QV_ENOMEM. */
int qv_hnsw_walk_begin(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx) QV_MUST_USE;

/* True once a walk for each slot; slots inserted after qv_hnsw_walk_begin may count as seen. */
static inline bool qv_hnsw_walk_visit(struct qv_hnsw_ctx *ctx, qv_slot slot)
{
    if (slot >= ctx->visited_slots || ctx->visited[slot] == ctx->epoch)
        return false;
    ctx->visited[slot] = ctx->epoch;
    return true;
}

static inline bool qv_hnsw_walk_seen(const struct qv_hnsw_ctx *ctx, qv_slot slot)
{
    return slot < ctx->visited_slots && ctx->visited[slot] == ctx->epoch;
}

struct qv_hnsw_walk {
    const void *row; /* what is sought, as ctx->space has it; borrowed */
    uint32_t level;
    uint32_t ef; /* >= 1 */
    /* NULL: every node counts. Else only live nodes that pass the query's bitmap and accept. */
    const struct qv_hnsw_query *filter;
    uint64_t work_max; /* 0, or QV_ELIMIT once ctx->work holds so many distances and bridges */
};

/* From `from` on level `top`, greedily down to the nearest node found on level `to` + 1 (or `from`
 * when top <= to). The result is where level `to` begins. */
qv_hnsw_cand qv_hnsw_walk_descend(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, const void *row,
                                  uint64_t entry, uint32_t to);

/* A beam of ef / this on level 1: about a tenth of the walk's distances. */
#define QV_HNSW_APPROACH_SHARE 8u

/* Where level 0 begins for a walk of breadth ef: as descend to 0, but level 1 is searched with a
 * beam of ef / 8. Greedy alone ends in the nearest local minimum of that level; between tight
 * clusters, after updates and deletes have thinned the links that cross, that can be the wrong
 * cluster, and then all of the answer is. (20 clusters of 150 points in 32 dimensions under 90,000
 * updates and deletes, ef 100: of 12,000 searches 19 lose tenths of their answer with a beam of
 * ef / 16, 2 with ef / 8, for 1.6 % more distances; test_churn.) Starts a walk of its own;
 * unvisited marks afterwards.
 */
qv_hnsw_cand qv_hnsw_walk_approach(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                                   const void *row, uint64_t entry, uint32_t ef);

/* Best-first over one level from `start`; ctx->pool holds the ef nearest nodes met that count, in
 * order. Those that do not are walked through. qv_hnsw_walk_begin before; slots already visited are
 * not met. QV_ENOMEM. */
int qv_hnsw_walk_level(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                       const struct qv_hnsw_walk *walk, qv_hnsw_cand start) QV_MUST_USE;

#endif
