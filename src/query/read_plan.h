/* The plan of a read: which shards are asked, for which part of the keys, for how much. Pure:
 * a view of the topology and a request in, legs out; nothing is kept, nothing else is read.
 *
 * How much: where keys are spread by hash, the k best of a query lie in a shard by a binomial
 * distribution; each shard is asked for the smallest k' with which all shards together are enough
 * with probability QV_READ_PLAN_ENOUGH. When an answer's bound shows that it was not, the gatherer
 * asks that shard on. Elsewhere (ranges of ids, centroids) the k best may lie in one shard: k' = k,
 * and what is expected to be there twice. */
#ifndef QV_QUERY_READ_PLAN_H
#define QV_QUERY_READ_PLAN_H

#include "core/key_set.h"
#include "core/shard_ops.h"

#define QV_READ_PLAN_ENOUGH 0.999

/* Who can answer for a shard. */
struct qv_candidate {
    uint64_t node;
    uint64_t p95_ns; /* of its answers; 0: not known, and no hedge */
};

struct qv_view_shard {
    uint32_t number;
    uint64_t incarnation;
    uint64_t epoch;
    struct qv_cover cover;
    const struct qv_key_set *keys; /* the points that may lie there; NULL: those of the cover */
    uint64_t points;               /* about; what coverage weighs where covers don't tell */
    const struct qv_candidate *candidates; /* the best first; none: nobody can answer */
    uint32_t candidate_count;
};

/* What a read sees of a collection. Borrows everything; held by its maker until the read ends. */
struct qv_view {
    uint8_t collection[16];
    const struct qv_collection_config *config;
    const struct qv_view_shard *shards;
    uint32_t shard_count;
    bool by_hash;          /* covers are disjoint, together all keys */
    double twice;          /* share of the points that stand in two shards */
    double enough;         /* wanted instead of QV_READ_PLAN_ENOUGH; 0: that */
    const void *placement; /* nearest's */
    /* The n indexes of the shards that are nearest to the query's vector, the nearest first;
     * returns how many. NULL: the placement can't tell, every shard is asked. */
    uint32_t (*nearest)(const void *placement, const struct qv_query *q, uint32_t n, uint32_t *out);
};

enum qv_read_kind { QV_READ_QUERY, QV_READ_GET, QV_READ_SCROLL, QV_READ_COUNT, QV_READ_FACET };

/* What is read; borrows it. */
struct qv_read_what {
    enum qv_read_kind kind;
    union {
        const struct qv_query_req *query;
        const struct qv_get_req *get;
        const struct qv_scroll_req *scroll;
        const struct qv_count_req *count;
        const struct qv_facet_req *facet;
    } req;
};

struct qv_read_plan {
    enum qv_ask_kind kind;
    struct qv_leg *legs; /* in the arena */
    uint32_t *shards;    /* of each leg: its index in the view */
    uint32_t leg_count;
};

/* The smallest k' <= k with P(more than k' of k lie in a part of that share) <= miss. Above 1,000
 * by Bernstein's inequality, which is at or above it. */
uint32_t qv_read_plan_share_k(uint32_t k, double share, double miss);

/* How many points of a query have to be known in order before its answer is: limit and offset, one
 * more for the point that a query by id leaves out. */
uint32_t qv_read_plan_wanted(const struct qv_query *q);

/* The legs of a read. Queries by id are planned as by the vector that is looked up before.
 * QV_ENOMEM.
 */
QV_MUST_USE int qv_read_plan_make(const struct qv_view *view, const struct qv_read_what *what,
                                  struct qv_arena *arena, struct qv_read_plan *out);
/* The legs that fetch ids from whoever owns them. */
QV_MUST_USE int qv_read_plan_fetch(const struct qv_view *view, const struct qv_id *ids,
                                   uint32_t count, struct qv_arena *arena,
                                   struct qv_read_plan *out);
/* May the shard hold a point of that id? */
bool qv_read_plan_may_hold(const struct qv_view *view, uint32_t shard, const struct qv_id *id);
/* A leg to a shard that asks for nothing yet. */
struct qv_leg qv_read_plan_leg(const struct qv_view *view, uint32_t shard);

#endif
