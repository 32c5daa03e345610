/* Which shard should move next: a pure function of the tree.
 *
 * In this order: what lies on a node that is being drained goes to others; then, while one node has
 * at least two shards more than another, one of its shards goes there, of the collection that it
 * has most of. A slot that is moving counts where it goes. So a node that joins gets its part, one
 * that leaves is emptied, and the rest stays. */
#ifndef QV_CLUSTER_REBALANCE_H
#define QV_CLUSTER_REBALANCE_H

#include "cluster/topology.h"

#define QV_MOVES_AT_ONCE 2u /* in a cluster */

struct qv_rebalance_move {
    uint8_t uuid[QV_UUID_BYTES];
    uint32_t shard; /* its number */
    uint32_t slot;
    uint64_t from, to;
};

/* False: nothing has to move, or QV_MOVES_AT_ONCE slots are moving. balance false: only what is
 * being drained. */
bool qv_rebalance_next(const struct qv_topology *t, bool balance, struct qv_rebalance_move *out);

/* How many shards' slots a node has or is getting. */
uint32_t qv_rebalance_load(const struct qv_topology *t, uint64_t id);

#endif
