/* Shards that change hands: the controller's side. CONSISTENCY.md, "A slot changes hands": every
 * step is one change of the shard's record, taken when what it waits for is there.
 *
 *   follow      -> both       the target has copied the shard and is sent its changes
 *   both        -> new reads  the old holder has confirmed `both`, and the target is full up to
 *                             where the old holder was after that
 *   new reads   -> done       the old holder has confirmed `new reads`: nothing is read there
 *
 * follow and both can be given up: when the target fails for good, or at both is away for 3 s. The
 * steps stand in the tree, so who is elected next goes on where they are; nothing else is kept.
 * On the owner. */
#ifndef QV_NODE_NODE_MOVE_H
#define QV_NODE_NODE_MOVE_H

#include "node/node_cluster.h"
#include "repl/transfer.h"

/* What an end says of a transfer: QV_PEER_MOVE. */
struct qv_move_state {
    uint64_t position; /* source: where the shard is; target: full at, 0: not yet */
    struct qv_transfer_progress progress; /* target */
};

/* One slot on its way, as this node, being the controller, sees it. */
struct qv_move_status {
    uint8_t uuid[QV_UUID_BYTES];
    uint32_t shard;
    uint64_t transfer, from, to;
    uint8_t step;
    uint64_t bytes_done, bytes_total, bytes_per_s, eta_ms;
    char why[256]; /* what it waits for */
};

/* Asks for a slot's move, on any node: the answer comes when it stands in the tree, not when it is
 * done. QV_NODE_MOVE changes of node_cluster.h carry it. */
struct qv_node_move_req {
    struct qv_str collection;
    uint32_t shard;
    uint64_t from, to; /* from 0: whoever holds it */
};

/* Those of the tree; *count in: room, out: how many there are. */
void qv_node_moves(struct qv_node *n, struct qv_move_status *out, uint32_t *count);

#endif
