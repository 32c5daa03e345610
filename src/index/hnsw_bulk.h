/* Private to src/index: a graph from many rows at once (qv_hnsw_bulk_* of hnsw.h). hnsw_bulk.c has
 * the phases, hnsw_bulk_group.c finds candidates, hnsw_bulk_link.c makes links of them.
 *
 * Rows are known by rank: nodes of higher levels first, within a level in the order of a hash. So
 * the nodes that have a level are the ranks 0 .. members - 1, any prefix of a level's ranks is a
 * random sample, and rank 0 is the entry point. */
#ifndef QV_INDEX_HNSW_BULK_H
#define QV_INDEX_HNSW_BULK_H

#include "index/hnsw_link.h"
#include "simd/lvq_panel.h"

#define QV_HNSW_BULK_UNIT 64u  /* rows of a unit of work, where it is by rows */
#define QV_HNSW_BULK_BLOCK 48u /* and where they are compared with leaders */

/* The nearest that a row has met, ascending: keys are qv_hnsw_cand of (distance, rank). */
struct qv_hnsw_bulk_pool {
    qv_hnsw_cand *keys; /* room for `per` a rank */
    uint16_t *n;
    uint32_t per;
};

/* A group of rows that are all compared with each other: members[first], [first + step], ... */
struct qv_hnsw_bulk_group {
    uint32_t first, step, n;
};

/* What a thread works with; grown on use. */
struct qv_hnsw_bulk_scratch {
    struct qv_hnsw_bulk_scratch *next; /* in the list of those that are free */
    struct qv_lvq_panel group;
    struct qv_lvq_panel block;
    uint32_t *members; /* of the group, and the places of their codes */
    uint32_t *places;
    uint32_t *below;
    float *dists;

    uint32_t cands_cap;
    qv_hnsw_cand *cands;
    qv_hnsw_cand *sorted;
    uint32_t *ids;
    uint32_t *at;
    uint8_t *covered;
    float *pairs;
};

enum qv_hnsw_bulk_phase {
    QV_HNSW_BULK_CODE,   /* codes, hashes */
    QV_HNSW_BULK_ASSIGN, /* each row to the nearest leaders; this and the next three a level */
    QV_HNSW_BULK_MEET,   /* all against all in each group: candidates */
    QV_HNSW_BULK_PICK,   /* candidates -> links */
    QV_HNSW_BULK_MERGE,  /* links and links back -> lists */
    QV_HNSW_BULK_ENTER,  /* parents; the nodes are live */
    QV_HNSW_BULK_ATTACH, /* what no link leads to, and rows that others equal; one unit */
    QV_HNSW_BULK_OVER
};

struct qv_hnsw_bulk {
    struct qv_hnsw *h;
    uint32_t given; /* rows handed in */
    uint32_t n;     /* of them, ranked; the rest equal one of these and are inserted at the end */
    struct qv_hnsw_bulk_row {
        uint64_t hash; /* of the code; later what ranks by */
        qv_slot slot;
        uint32_t generation;
    } * rows;         /* by rank, then the others; in order of hash before */
    uint32_t claimed; /* the first so many of rows have their slots */
    uint32_t members_at[QV_HNSW_LEVEL_MAX + 1]; /* nodes that have a level */
    uint32_t picks, near;                       /* links a row makes; candidates it keeps */
    float one; /* added to distances: what makes the dot product of rows of length 1 positive */

    qv_slot low, high;  /* of the rows' slots */
    uint8_t *own_codes; /* by slot less low; NULL: the graph's own, by slot */
    const uint8_t *codes;
    size_t code_stride;
    enum qv_metric metric; /* of the panels */

    /* the level under work */
    uint32_t level, members, leaders;
    struct qv_lvq_panel leader_panel;
    uint32_t *assigned; /* FANOUT a rank */
    uint32_t *grouped;  /* the same, by leader */
    struct qv_hnsw_bulk_group *groups;
    uint32_t group_count;
    struct qv_hnsw_bulk_pool pool, links;
    qv_hnsw_cand *back;        /* links to each rank, from back_at[rank] */
    uint32_t *back_at;         /* members + 2 */
    _Atomic uint64_t *parents; /* (distance, rank) of the best; UINT64_MAX: none */

    pthread_mutex_t lock; /* the rest */
    enum qv_hnsw_bulk_phase phase;
    uint32_t units, given_out, done;
    int err;
    struct qv_hnsw_bulk_scratch *scratch;
};

/* Where a rank's code is in codes. */
static inline uint32_t qv_hnsw_bulk_place(const struct qv_hnsw_bulk *b, uint32_t rank)
{
    return b->rows[rank].slot - (b->own_codes != NULL ? b->low : 0);
}

/* ---- candidates (hnsw_bulk_group.c) ---- */

/* Leaders of the level, and room for what follows. QV_ENOMEM. */
int qv_hnsw_bulk_lead(struct qv_hnsw_bulk *b) QV_MUST_USE;
/* Unit `unit` of ASSIGN. QV_ENOMEM. */
int qv_hnsw_bulk_assign(struct qv_hnsw_bulk *b, struct qv_hnsw_bulk_scratch *s,
                        uint32_t unit) QV_MUST_USE;
/* Groups of what was assigned. QV_ENOMEM. */
int qv_hnsw_bulk_gather(struct qv_hnsw_bulk *b) QV_MUST_USE;
/* All of a group meet. QV_ENOMEM. */
int qv_hnsw_bulk_meet(struct qv_hnsw_bulk *b, struct qv_hnsw_bulk_scratch *s,
                      uint32_t group) QV_MUST_USE;

/* ---- links (hnsw_bulk_link.c) ---- */

int qv_hnsw_bulk_pick(struct qv_hnsw_bulk *b, struct qv_hnsw_bulk_scratch *s,
                      uint32_t unit) QV_MUST_USE;
/* The links back of what was picked. QV_ENOMEM. */
int qv_hnsw_bulk_turn(struct qv_hnsw_bulk *b) QV_MUST_USE;
int qv_hnsw_bulk_merge(struct qv_hnsw_bulk *b, struct qv_hnsw_bulk_scratch *s,
                       uint32_t unit) QV_MUST_USE;
/* Parents, so that they lead to rank 0 wherever links do; *left = ranks that no link leads to, at
 * most. QV_ENOMEM. */
int qv_hnsw_bulk_root(struct qv_hnsw_bulk *b, uint32_t *left) QV_MUST_USE;

void qv_hnsw_bulk_scratch_close(struct qv_hnsw_bulk_scratch *s);

#endif
