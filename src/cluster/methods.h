/* What nodes ask of each other (core/peer.h): the numbers of the methods, for ever. */
#ifndef QV_CLUSTER_METHODS_H
#define QV_CLUSTER_METHODS_H

enum qv_peer_method {
    QV_PEER_PROPOSE = 1, /* a change of the metadata, to the controller: cluster/membership.h */
    QV_PEER_TREE = 2,    /* the records, of a node that may know newer ones */
    QV_PEER_CONFIRM = 3, /* wait until you have done what the tree of an epoch asks of you */
    QV_PEER_READ = 4,    /* legs of a read: wire/peer_read.h */
    QV_PEER_WRITE = 5,   /* a shard's share of a write */
    QV_PEER_INFO = 6,    /* what the shards here say of themselves */
    /* a transfer's target of its source: repl/transfer.h */
    QV_PEER_TRANSFER_BEGIN = 7, /* the manifest */
    QV_PEER_TRANSFER_CHUNK = 8,
    QV_PEER_TRANSFER_FEED = 9, /* confirms, and waits for changes */
    QV_PEER_TRANSFER_END = 10,
    QV_PEER_MOVE = 11 /* how far an end of a transfer is */
};

#endif
