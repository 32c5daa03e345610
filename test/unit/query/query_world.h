/* A collection spread over shards and nodes in the simulator, with leaves that are slow, fail,
 * answer late, know newer shards or lose their answers; and the oracle that reads go against: a
 * naive recursive search over the tree of shards, by brute force over all points. */
#ifndef QV_TEST_QUERY_WORLD_H
#define QV_TEST_QUERY_WORLD_H

#include "io/sim_env.h"
#include "query/reader.h"

#define WORLD_DIM 3u
#define WORLD_SHARDS_MAX 12u
#define WORLD_NODES_MAX 5u
#define WORLD_POINTS_MAX 400u

struct world_point {
    struct qv_id id;
    struct qv_version version;
    float vec[WORLD_DIM];
    int64_t values[3]; /* what ORDER_BY sorts by: value_count of them, distinct */
    uint32_t value_count;
    int64_t tag; /* what facets count */
};

struct world_shard {
    uint32_t number;
    uint64_t epoch;
    struct qv_cover cover;
    const struct world_point *points[WORLD_POINTS_MAX];
    uint32_t count;
    struct qv_candidate candidates[3];
    uint32_t candidate_count;
    struct qv_key_set keys[2]; /* by_keys: as the read sees them at first, and later */
};

/* A group of shards, or of groups: what a region or a ring's arc will be. */
struct world_tree {
    const struct world_shard *shard; /* a leaf */
    const struct world_tree *children[WORLD_SHARDS_MAX];
    uint32_t count;
};

struct world_faults {
    uint32_t fail_per_mille;  /* an attempt of a leg fails */
    uint32_t slow_per_mille;  /* a message takes longer than the read's deadline */
    uint32_t lost_per_mille;  /* is never answered, but to a cancel */
    uint32_t stale_per_mille; /* begins with old records */
    uint32_t split_per_mille; /* of stale ones: the shard is two by now */
    uint32_t dead_shards;     /* of them no node answers */
    uint64_t away_ns;         /* the first node can't be reached until then */
    bool by_keys;             /* views tell by sets of keys who holds what, not by covers */
    bool part;                /* answers of some legs name less than was asked */
    bool ghosts;              /* not by_hash: older copies of points stand in other shards */
};

struct world;
struct world_leaf {
    struct qv_leaf leaf;
    struct world *world;
};

struct world {
    uint64_t seed;
    struct qv_rng rng;
    struct qv_arena arena;
    struct qv_sim *sim;
    struct qv_sim_node *node;
    struct qv_read_host host;
    struct world_leaf leaves[WORLD_NODES_MAX];
    uint32_t leaf_count;
    struct qv_collection_config config;
    struct qv_vector_config vector;
    struct world_point points[WORLD_POINTS_MAX];
    uint32_t point_count;
    struct world_shard shards[2 * WORLD_SHARDS_MAX]; /* as they are */
    uint32_t shard_count;
    struct qv_view_shard seen[WORLD_SHARDS_MAX]; /* as the read sees them at first */
    struct qv_view view;
    struct qv_view newer;
    struct qv_view_shard newer_shards[2 * WORLD_SHARDS_MAX];
    struct qv_read *refreshing;
    uint32_t late_views; /* how often a refresh still finds the old one */
    struct qv_timer refresh_timer;
    struct world_faults faults;
    uint32_t dead[WORLD_SHARDS_MAX]; /* numbers */
    uint64_t faults_met, legs_asked, messages, cancels, stale_met, more_met;
};

/* by_hash false: points lie anywhere, some of them twice, once in an older version. */
void world_open(struct world *w, uint64_t seed, bool by_hash, const struct world_faults *faults);
void world_close(struct world *w);

/* A read, to its end; answers[] are its queries. Returns its result code. */
int world_read(struct world *w, struct qv_read *r, const struct qv_read_what *what,
               uint64_t timeout_ns);

bool world_is_missing(const struct qv_coverage *c, uint32_t shard);

/* ---- the oracle ---- */

/* Every point that the tree holds, once, in its newest version, but for shards that are missing
 * from the coverage (NULL: none). Into out (WORLD_POINTS_MAX). */
uint32_t oracle_points(const struct world_tree *t, const struct qv_coverage *missing,
                       const struct world_point **out);
/* A tree over the world's shards, of random shape. */
const struct world_tree *oracle_tree(struct world *w);

struct oracle_hit {
    struct qv_id id;
    struct qv_version version;
    float score;
    int64_t value;
};
/* The query's hits in order, offset and limit applied. */
uint32_t oracle_query(struct world *w, const struct qv_query *q, const struct qv_coverage *missing,
                      struct oracle_hit *out);

/* The values of the points with their counts, most frequent first. Into out (200). */
uint32_t oracle_facet(const struct world_point *const *points, uint32_t count,
                      struct qv_arena *arena, struct qv_facet_hit *out);

#endif
