/* Private to the placements: the value as it lies in memory, and what each strategy brings. */
#ifndef QV_CLUSTER_PLACEMENT_PRIVATE_H
#define QV_CLUSTER_PLACEMENT_PRIVATE_H

#include "cluster/placement.h"

#include <stdatomic.h>

/* The hash space cut into segments, each of one shard; those next to each other are of two. A
 * segment begins behind the one before. */
struct qv_segments {
    uint32_t count;
    const uint64_t *lasts;  /* ascending, the last UINT64_MAX */
    const uint32_t *owners; /* places in the spec's shards */
};

struct qv_placement {
    struct qv_placement_spec spec; /* its arrays are in the arena */
    atomic_uint refs;
    struct qv_segments segments; /* none under RANGE */
    struct qv_cover *keys;       /* of each shard; none under RANGE */
    struct qv_key_set *sets;     /* what each may hold */
    struct qv_arena arena;
};

/* CLUSTER's homes too. */
static inline bool qv_placement_has_segments(const struct qv_placement *p)
{
    return p->spec.strategy != QV_PLACEMENT_RANGE;
}

/* Place of a shard's number in the spec's list; shard_count: it is not there. */
uint32_t qv_placement_index(const struct qv_placement *p, uint32_t shard);

/* placement_hash.c */
QV_MUST_USE int qv_placement_hash_segments(struct qv_arena *arena, uint32_t shard_count,
                                           struct qv_segments *out);
uint32_t qv_placement_hash_owner(uint32_t shard_count, uint64_t hash);

/* placement_ring.c */
QV_MUST_USE int qv_placement_ring_check(const struct qv_placement_spec *spec,
                                        struct qv_errmsg *msg);
QV_MUST_USE int qv_placement_ring_segments(struct qv_arena *arena,
                                           const struct qv_placement_spec *spec,
                                           struct qv_segments *out);
uint32_t qv_placement_ring_owner(const struct qv_segments *s, uint64_t hash);

/* placement_range.c */
QV_MUST_USE int qv_placement_range_check(const struct qv_placement_spec *spec,
                                         struct qv_errmsg *msg);
uint32_t qv_placement_range_owner(const struct qv_placement_spec *spec, const struct qv_id *id);
/* < 0, 0, > 0; a `from` of type 0 is the lowest id. */
int qv_id_range_compare_from(const struct qv_id *a, const struct qv_id *b);
/* The same of `to`, whose type 0 is above every id. */
int qv_id_range_compare_to(const struct qv_id *a, const struct qv_id *b);
/* none: no range is the shard's. */
QV_MUST_USE int qv_placement_range_set(struct qv_arena *arena, const struct qv_placement_spec *spec,
                                       uint32_t shard, struct qv_key_set *out);
QV_MUST_USE int qv_placement_range_legs(const struct qv_placement *p, struct qv_arena *arena,
                                        const struct qv_id_range *ids,
                                        const struct qv_placement_leg **legs, uint32_t *count);

/* placement_cluster.c */
QV_MUST_USE int qv_placement_cluster_check(const struct qv_placement_spec *spec,
                                           struct qv_errmsg *msg);
QV_MUST_USE int qv_placement_cluster_legs(const struct qv_placement *p, struct qv_arena *arena,
                                          const struct qv_placement_query *query,
                                          const struct qv_placement_leg **legs, uint32_t *count);

#endif
