/* Private to src/cluster: a membership's fields, and what its files share. */
#ifndef QV_CLUSTER_MEMBERSHIP_PRIVATE_H
#define QV_CLUSTER_MEMBERSHIP_PRIVATE_H

#include "cluster/membership.h"
#include "cluster/methods.h"

#define QV_CHANGES_SEEN 64u

/* One transaction of this node as controller, or for its own record. */
struct qv_epoch_txn {
    struct qv_meta_txn txn;
    struct qv_meta_compare compares[2];
    struct qv_meta_change changes[QV_META_CHANGES_MAX];
    uint64_t base, next, name; /* epochs, and the change's name: the bytes of their records */
    uint64_t self;
    bool busy;
};

struct qv_membership {
    struct qv_env *env;
    struct qv_meta *meta;
    struct qv_peers *peers;
    struct qv_member self;
    void (*changed)(void *arg);
    void *arg;

    struct qv_mirror *mirror;  /* the metadata's, folded */
    struct qv_mirror *adopted; /* a peer's that was newer; NULL: none */
    const struct qv_topology *tree;
    uint64_t refused_epoch;  /* 1 + the store's, lower than the tree's; 0: all is well */
    struct qv_errmsg broken; /* the records can't be read */

    /* following */
    struct qv_meta_listing listing;
    struct qv_meta_watch watch;
    struct qv_timer again; /* list again */
    bool listed, listing_busy, watching;
    uint32_t failures;

    /* names of the newest changes, as they were watched: was mine among them? */
    uint64_t seen[QV_CHANGES_SEEN];
    uint32_t seen_at;
    uint32_t gaps; /* lists that came between: the ring may lack some */

    /* registration and election */
    struct qv_epoch_txn own;
    char own_key[QV_TREE_KEY_BYTES];
    uint8_t own_value[512];
    struct qv_meta_lease lease;
    struct qv_meta_txn campaign;
    struct qv_meta_compare campaign_compare;
    struct qv_meta_change campaign_change;
    struct qv_timer election;
    bool registered, lease_held, lease_busy, campaigning;
    uint64_t elected_revision; /* of the record "controller"; 0: not elected */

    /* proposals */
    struct qv_proposal *first;
    struct qv_timer retry;
    struct qv_order *orders; /* of peers, at this controller; waiting for or in the transaction */
    struct qv_epoch_txn work;
    struct qv_peer_call ask; /* for a tree */
    uint8_t ask_body[8];
    uint64_t ask_epoch;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* Shows the tree of a mirror when it is newer than the one shown. */
void qv_membership_show(struct qv_membership *m, struct qv_mirror *mirror);
bool qv_membership_saw(const struct qv_membership *m, uint64_t name);

/* membership_elect.c */
void qv_membership_elect(struct qv_membership *m); /* after each fold; does what is next */
void qv_membership_elect_stop(struct qv_membership *m);

/* membership_propose.c */
void qv_membership_serve(struct qv_membership *m);
void qv_membership_pump(struct qv_membership *m); /* after each fold or election */
void qv_membership_propose_stop(struct qv_membership *m);
void qv_membership_drop_orders(struct qv_membership *m);
/* Frees it once nothing of it is under way. */
void qv_membership_maybe_closed(struct qv_membership *m);
/* Fills t for the changes under base -> base + 1. fenced: only while this node is elected. */
void qv_epoch_txn_fill(struct qv_membership *m, struct qv_epoch_txn *t, bool fenced);

#endif
