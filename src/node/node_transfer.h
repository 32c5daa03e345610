/* Transfers of shards to and from this node: the host of repl/transfer.h, and who starts and ends
 * them as the topology says.
 *
 *   <dir>/transfers/<id>/spec       what moves (a BEGIN's bytes, hash behind); the source's only
 *                        manifest   of the chunks; written last: with it the state is complete
 *                        data       the chunks: a snapshot file of one shard (storage/snapshot.h)
 *                        held       the source's: u64 position that its log is held from
 *
 * Source: the state is written down from a pin in slices on the IO threads. The log is held from
 * the state's position by a feed of its own, which goes on in steps of some MiB once the target has
 * installed, and only after `held` says so on the disk: so after a restart the feed that the target
 * takes from can be opened wherever the target is.
 *
 * Target: a chunk is kept when its bytes are synced; after a restart the data are read and compared
 * with the manifest, so nothing else is written for a chunk. The shard is built of the data beside
 * everything else, taken over by the store, recorded, and only then are the data removed. What it
 * has of the feed is its coverage of the stream that bears the transfer's id.
 *
 * Positions are those of the source's log, plus one (0 says "none").
 *
 * QV_PEER_MOVE   request: collection's uuid, u32 shard, u32 side (1 target, 0 source), u64
 * transfer; answer: u64 position (target: full at; 0: not yet), u8 stage, u64 bytes done, u64
 * bytes, u64 bytes per s, u64 ms left, u16 length and text of why it waits. QV_ENOTFOUND: it is not
 * known here
 *
 * On the owner. */
#ifndef QV_NODE_NODE_TRANSFER_H
#define QV_NODE_NODE_TRANSFER_H

#include "node/node_private.h"
#include "repl/transfer.h"

/* Before the store is opened: which positions its log must reach back to; 0: none. */
QV_MUST_USE int qv_node_transfer_log_from(struct qv_node *n, uint64_t *out, struct qv_errmsg *msg);
/* The store is open, the peers are known, the tree is the last run's. */
void qv_node_transfer_open(struct qv_node *n);
/* The tree is another: what it says is begun, required, finished, ended. */
void qv_node_transfer_changed(struct qv_node *n);
void qv_node_transfer_close(struct qv_node *n, void (*closed)(void *arg), void *arg);
void qv_node_transfer_forget(struct qv_node *n); /* of a crash */

#endif
