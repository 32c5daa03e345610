/* Placement: which shard a key belongs to, and which shards a query has to ask.
 *
 * One immutable value behind four strategies:
 *
 *   HASH             shard i of n owns the i-th of n equal intervals of the key hash
 *   CONSISTENT_HASH  a ring: `virtual_nodes` points a shard, each key belongs to the next point
 *   RANGE            ordered ranges of ids (canonical order: numbers before UUIDs)
 *   CLUSTER          rows lie with the nearest centroid (cluster/centroids.h); what an id tells is
 *                    its *home*, a shard found by the ring of CONSISTENT_HASH, which stamps every
 *                    change of the id and knows where its rows lie
 *
 * The key hash is qv_id_key_hash. Shard numbers are never used again, so a shard's points on the
 * ring are its own for ever, and two nodes that make a placement of one spec agree on every key:
 * there is nothing random, no order of a hash table and no floating point whose bits depend on the
 * machine in it.
 *
 * A value is reference-counted; everything but making it is pure. Any thread. */
#ifndef QV_CLUSTER_PLACEMENT_H
#define QV_CLUSTER_PLACEMENT_H

#include "cluster/centroids.h"
#include "core/placement_config.h"

#define QV_PLACEMENT_SHARDS_MAX 4096u
#define QV_PLACEMENT_POINTS_MAX (1u << 17) /* of a ring: shards x virtual nodes */

/* What a placement is made of; borrowed while it is made. */
struct qv_placement_spec {
    enum qv_placement_strategy strategy;
    uint32_t shard_count;                    /* 1 .. QV_PLACEMENT_SHARDS_MAX */
    const uint32_t *shards;                  /* ascending */
    uint32_t virtual_nodes;                  /* the rings' (CLUSTER's homes too); 0: the default */
    uint32_t range_count;                    /* RANGE: all ids, in order, without gap or overlap; */
    const struct qv_placement_range *ranges; /* each shard has one or more */
    const struct qv_centroids *centroids;    /* CLUSTER: of exactly these shards */
    uint32_t dim;                            /* CLUSTER: of the vectors; 0: not compared */
};

/* Is it one a placement can be made of? For specs from outside. QV_EINVAL; msg is one line that
 * names what is wrong. */
QV_MUST_USE int qv_placement_check(const struct qv_placement_spec *spec, struct qv_errmsg *msg);

/* What a collection of that configuration and with those shards is divided by. Borrows both. */
struct qv_placement_spec qv_placement_spec_of_config(const struct qv_placement_config *config,
                                                     const uint32_t *shards, uint32_t count);

struct qv_placement;

/* Checks and copies the spec (of centroids it takes a reference). Gives a reference. QV_EINVAL,
 * QV_ENOMEM. Cost: a ring's points are sorted, 1 ms for 64 shards of 100. Memory: 28 bytes a point
 * of the ring or range. */
QV_MUST_USE int qv_placement_create(const struct qv_placement_spec *spec,
                                    const struct qv_placement **out, struct qv_errmsg *msg);
void qv_placement_ref(const struct qv_placement *p);
void qv_placement_unref(const struct qv_placement *p); /* NULL is fine */
/* What it was made of, with the default in place of 0. Borrowed from p. */
const struct qv_placement_spec *qv_placement_spec_of(const struct qv_placement *p);
/* Was it made of a spec that says the same? */
bool qv_placement_is_of(const struct qv_placement *p, const struct qv_placement_spec *spec);
/* Covers are disjoint, together all keys, and tell who holds a point: HASH, CONSISTENT_HASH. */
bool qv_placement_by_hash(const struct qv_placement *p);

/* The shard an id belongs to (CLUSTER: its home). O(1) for HASH, else O(log points). */
uint32_t qv_placement_owner(const struct qv_placement *p, const struct qv_id *id);
/* The same as a place in the spec's shards. */
uint32_t qv_placement_owner_at(const struct qv_placement *p, const struct qv_id *id);
bool qv_placement_owns(const struct qv_placement *p, uint32_t shard, const struct qv_id *id);
/* The key hashes of the ids that belong to the shard (CLUSTER: whose home it is); all under RANGE,
 * which does not divide by hash; none for a shard that p does not have. Borrowed from p. */
const struct qv_cover *qv_placement_keys(const struct qv_placement *p, uint32_t shard);

/* The ids that belong to the shard (CLUSTER: whose home it is); none for a shard that p does not
 * have. Its lists are p's or the arena's. QV_ENOMEM. */
QV_MUST_USE int qv_placement_key_set(struct qv_arena *arena, const struct qv_placement *p,
                                     uint32_t shard, struct qv_key_set *out);

/* The points that may lie in the shard at that place of the spec's: those that belong to it; under
 * CLUSTER any. Borrowed from p. */
const struct qv_key_set *qv_placement_holds(const struct qv_placement *p, uint32_t at);

/* ---- whom to ask ---- */

enum qv_placement_ask {
    QV_PLACEMENT_ASK_ALL,    /* filters, counts, searches where nothing narrows them */
    QV_PLACEMENT_ASK_IDS,    /* a range of ids: RANGE narrows */
    QV_PLACEMENT_ASK_NEAREST /* rows near a vector: CLUSTER narrows */
};

struct qv_placement_query {
    enum qv_placement_ask ask;
    struct qv_id_range ids; /* ASK_IDS */
    const float *vector;    /* ASK_NEAREST: as the client gave it, finite */
    uint32_t dim;
    uint32_t n_probe;                  /* so many shards, the nearest first; 0: all of them */
    struct qv_centroids_extent extent; /* what is known of the rows; zeros: nothing */
};

struct qv_placement_leg {
    uint32_t shard;
    struct qv_cover cover; /* what the shard answers for; every key where its strategy does not
                            * divide by hash. Borrowed from the placement */
    float bound; /* no row there is nearer than this (a distance, base/metric.h); -INFINITY:
                  * not known */
};

/* The legs are in the arena: nearest first where CLUSTER narrows, else ascending by shard. Under
 * the hash kinds their covers are disjoint and together everything. QV_EINVAL: a vector of another
 * dimension than the centroids'; QV_ENOMEM. */
QV_MUST_USE int qv_placement_cover(const struct qv_placement *p, struct qv_arena *arena,
                                   const struct qv_placement_query *query,
                                   const struct qv_placement_leg **legs, uint32_t *count);

/* May the leg's shard still hold a row of the answer, given the distance of the k-th hit so far
 * (INFINITY: there are fewer)? Legs are nearest first but not ordered by bound: ask for each. Ties
 * are kept. */
static inline bool qv_placement_leg_matters(const struct qv_placement_leg *leg, float kth)
{
    return !(leg->bound > kth);
}

/* ---- what moves ---- */

/* The keys of `ids` whose hash is in `keys` go from one shard to another. */
struct qv_placement_move {
    uint32_t from, to;
    struct qv_id_range ids;
    struct qv_cover keys;
};

struct qv_placement_moves {
    double
        share; /* of the hash space, both of the hash kinds (CLUSTER: of homes): exact but for the
                * last rounding. NAN where one of the two is RANGE: ids are not spread evenly */
    uint32_t count;
    const struct qv_placement_move *list; /* ascending by from, to, then ids: disjoint */
};

/* Between hash kinds a pair of shards has one move; between RANGEs a run of ids has one; between a
 * hash kind and RANGE there is one for each range and shard. Which rows go where between two sets
 * of centroids only their vectors tell (qv_centroids_place). In the arena. QV_ENOMEM. */
QV_MUST_USE int qv_placement_moves(struct qv_arena *arena, const struct qv_placement *before,
                                   const struct qv_placement *after,
                                   struct qv_placement_moves *out);

/* The keys of a move; borrows it. */
struct qv_key_set qv_placement_move_set(const struct qv_placement_move *move);

/* ---- ranges that grow ---- */

/* The placement in which `shard`, new to p, has the ids from `key` up to the end of the range that
 * holds the key. QV_EINVAL: not RANGE, a shard p has already, a key at the very beginning of its
 * range (nothing would be left). Gives a reference. */
QV_MUST_USE int qv_placement_split_range(const struct qv_placement *p, const struct qv_id *key,
                                         uint32_t shard, const struct qv_placement **out,
                                         struct qv_errmsg *msg);
/* The placement in which the neighbouring ranges of `from` have gone to `into`, and `from` is gone.
 * QV_EINVAL: not RANGE, a shard that p does not have, ranges that do not touch. */
QV_MUST_USE int qv_placement_merge_ranges(const struct qv_placement *p, uint32_t into,
                                          uint32_t from, const struct qv_placement **out,
                                          struct qv_errmsg *msg);

/* The key that halves a sample of a range's ids, given in any order (they are sorted in place):
 * ids below it stay. QV_ENOTFOUND: fewer than two different ids. */
QV_MUST_USE int qv_placement_split_key(struct qv_id *sample, size_t n, struct qv_id *out);

struct qv_range_load {
    uint64_t rows;
    double requests_per_s;
};

/* When a range is to be split or joined to its neighbour. Zeros: the defaults. */
struct qv_range_policy {
    uint64_t split_rows;         /* more rows: split. Default 10 million */
    double split_requests_per_s; /* more requests: split. Default 2,000 */
    uint32_t observations;       /* so many in a row before anything is done. Default 6 */
    uint64_t split_rows_min;     /* a hot range of fewer rows is left: its heat is in few keys.
                                  * Default 10,000 */
};

enum qv_range_advice { QV_RANGE_STAY, QV_RANGE_SPLIT, QV_RANGE_MERGE };

/* How long a range has been what it is; zeros at first, kept by whoever observes. */
struct qv_range_watch {
    uint32_t over, under;
};

/* A pure step: one observation of a range and of its neighbour (NULL: there is none to join).
 * SPLIT after `observations` in a row above a limit; MERGE after four times as many in which both
 * together are below a third of every limit. Between the two nothing happens, so the halves of a
 * split (half a limit each, together a whole one) are not joined again, and what was joined is not
 * split. Advice resets the watch. */
enum qv_range_advice qv_range_watch_step(const struct qv_range_policy *policy,
                                         const struct qv_range_load *load,
                                         const struct qv_range_load *neighbour,
                                         struct qv_range_watch *watch);

#endif
