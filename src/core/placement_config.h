/* How a collection's points are to be divided over its shards, as its configuration says it:
 * src/cluster/placement.h makes the division of this and of the shards there are; docs/placement.md
 * tells when to take which. */
#ifndef QV_CORE_PLACEMENT_CONFIG_H
#define QV_CORE_PLACEMENT_CONFIG_H

#include "base/str.h"
#include "core/key_set.h"

#define QV_PLACEMENT_VIRTUAL_NODES 100u       /* the default */
#define QV_PLACEMENT_VIRTUAL_NODES_MAX 10000u /* a shard */
#define QV_PLACEMENT_RANGES_MAX (1u << 16)

enum qv_placement_strategy {
    QV_PLACEMENT_HASH,
    QV_PLACEMENT_CONSISTENT_HASH,
    QV_PLACEMENT_RANGE,
    QV_PLACEMENT_CLUSTER,
    QV_PLACEMENT_STRATEGY_COUNT
};

/* "hash", "consistent_hash", "range", "cluster": as the API has them. NULL: no such strategy. */
const char *qv_placement_strategy_name(enum qv_placement_strategy s);
/* QV_EINVAL names those there are. */
QV_MUST_USE int qv_placement_strategy_parse(struct qv_str name, enum qv_placement_strategy *out,
                                            struct qv_errmsg *msg);

struct qv_placement_range {
    struct qv_id_range ids;
    uint32_t shard;
};

/* All zeros: HASH. */
struct qv_placement_config {
    enum qv_placement_strategy strategy;
    uint32_t virtual_nodes; /* CONSISTENT_HASH; 0: the default */
    uint32_t range_count;   /* RANGE; 0: shard 0 has everything */
    const struct qv_placement_range *ranges;
};

/* Do they say the same? */
bool qv_placement_config_equal(const struct qv_placement_config *a,
                               const struct qv_placement_config *b);

#endif
