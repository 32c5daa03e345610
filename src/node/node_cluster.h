/* A node in a cluster: what lies here follows the topology.
 *
 * The tree comes from cluster/membership.h. A shard whose slot names this node is made here when it
 * is new, follows its collection's configuration, and goes when the slot names others. The node's
 * own records (the file "meta") hold what it is and has, and the last tree:
 *
 *   cluster/node       version u16, id u64, incarnation u64, writer u32, cluster's id 16 bytes
 *   cluster/shards     version u16, count u32, count x {collection's uuid, number u32, store u32}
 *   cluster/followed   u64: the epoch up to which all was done that the tree asks
 *   cluster/copy/<i>   qv_membership_copy's bytes, in pieces
 *
 * A shard that the last tree already gave to this node and that is not here is not made anew: its
 * data were lost, and an empty shard would say that there never were any. It is reported.
 *
 * On the owner. */
#ifndef QV_NODE_NODE_CLUSTER_H
#define QV_NODE_NODE_CLUSTER_H

#include "node/node.h"

/* ---- confirmations ---- */

struct qv_node_confirm;
/* 0: every node asked has done what the epoch asks of it. Otherwise the first error, with text. */
typedef void (*qv_node_confirm_done_f)(struct qv_node_confirm *c, int err);

/* Asks nodes to reach an epoch and do what it asks of them; embedded in the caller's struct, zero
 * but for the first six, until done. */
struct qv_node_confirm {
    struct qv_node *node;
    uint64_t epoch;
    const uint64_t *ids; /* of nodes, this one perhaps among them; copied */
    uint32_t count;      /* at most QV_NODE_CONFIRMS_MAX */
    uint64_t deadline_ns;
    qv_node_confirm_done_f done;
    void *arg;
    struct qv_errmsg msg;
    /* node's */
    struct qv_node_confirm_one *list;
    uint32_t open;
    int err;
};
#define QV_NODE_CONFIRMS_MAX 1024u
void qv_node_confirm_start(struct qv_node_confirm *c);

/* ---- changes of collections, by any node ---- */

enum qv_node_change_kind {
    QV_NODE_CREATE,        /* config */
    QV_NODE_DELETE,        /* existed says whether there was one */
    QV_NODE_UPDATE,        /* diff */
    QV_NODE_CREATE_VECTOR, /* vector */
    QV_NODE_DELETE_VECTOR, /* field: the vector's name */
    QV_NODE_SET_INDEX,     /* field, index; NULL: removes it */
    QV_NODE_ALIASES,       /* aliases */
    QV_NODE_MOVE,          /* move: begins */
    QV_NODE_ABORT_MOVE,    /* move: what has not gone too far is taken back */
    QV_NODE_DRAIN,         /* move.from: what that node holds goes elsewhere; move.to 0: no more */
    QV_NODE_REMOVE_PEER    /* move.from: a node that holds nothing is forgotten */
};

/* A shard's way; by name, or, where that is empty, of the collection `uuid`. */
struct qv_node_move_to {
    uint32_t shard; /* its number */
    uint64_t from;  /* a member; 0: whoever holds it */
    uint64_t to;    /* a member; ABORT: 0 is any */
};

struct qv_node_change;
typedef void (*qv_node_change_done_f)(struct qv_node_change *x, int err);

/* Embedded in the caller's struct until done; what it refers to is borrowed. */
struct qv_node_change {
    struct qv_node *node;
    enum qv_node_change_kind kind;
    struct qv_str name; /* of the collection; not of the last two */
    const struct qv_collection_config *config;
    const struct qv_config_diff *diff;
    const struct qv_vector_spec *vector;
    struct qv_str field;
    const struct qv_payload_index *index;
    const struct qv_alias_req *aliases;
    struct qv_node_move_to move;
    uint64_t deadline_ns; /* mono */
    qv_node_change_done_f done;
    void *arg;
    bool existed;
    struct qv_errmsg msg;
    /* node's */
    struct qv_task task;
    struct qv_arena arena;
    struct qv_proposal proposal;
    struct qv_node_confirm confirm;
    struct qv_mirror_entry *entries;
    uint32_t entry_count;
    uint8_t uuid[QV_UUID_BYTES]; /* CREATE: of the new collection, the same at each attempt; MOVE,
                                    ABORT_MOVE without a name: given */
    int err;
};
/* Errors as the calls of node.h that do the same on a node alone; and QV_ETIMEOUT, QV_EUNAVAILABLE
 * (not done), QV_EUNKNOWN; of moves QV_EINVAL (no such shard or node, or it can't), QV_EEXISTS (it
 * is moving). Those of a cluster alone: QV_ENOTIMPL on a node alone. done is always called on the
 * owner, never from inside. Any thread. */
void qv_node_change_start(struct qv_node_change *x);

/* ---- telling ---- */

bool qv_node_in_cluster(const struct qv_node *n);
/* A node alone always is. One of a cluster: the tree that it follows names it, in this life or an
 * earlier one, and all that the tree asks of it is done. Any thread. */
bool qv_node_is_ready(struct qv_node *n);
uint64_t qv_node_id(const struct qv_node *n);                                     /* 0: alone */
void qv_node_cluster_status(struct qv_node *n, struct qv_membership_status *out); /* owner */

#endif
