/* A node's part in its cluster: it makes itself known, follows the metadata, proposes changes, and
 * stands for election as the controller, through which every change goes.
 *
 *   metadata --list, watch--> mirror --> tree --> changed()
 *   a change: proposal --> controller: one transaction {epoch is still the one it was made from, I
 *   am still elected} -> records, epoch + 1 --> watch --> every node's tree
 *
 * Invariants
 *  1. The tree that is shown never goes back: an epoch lower than one that was shown is refused and
 *     reported (a restored store), until an operator decides.
 *  2. A proposal is done at most once however often it is sent: it names the epoch that it was made
 *     from, and its transaction compares it.
 *  3. With the metadata away, or no controller, the last tree stays; proposals wait for their
 *     deadline. A node that is behind a peer gets its records from there.
 *
 * On the env's owner, all of it. */
#ifndef QV_CLUSTER_MEMBERSHIP_H
#define QV_CLUSTER_MEMBERSHIP_H

#include "cluster/mirror.h"
#include "core/meta.h"
#include "core/peer.h"

#define QV_CONTROLLER_LEASE_MS 3000u
#define QV_PROPOSAL_CHANGES_MAX (QV_META_CHANGES_MAX - 2) /* beside epoch and change */

struct qv_membership;

struct qv_membership_config {
    struct qv_env *env;     /* borrowed, as all below */
    struct qv_meta *meta;   /* but this: closed by qv_membership_close */
    struct qv_peers *peers; /* QV_PEER_PROPOSE and QV_PEER_TREE are served here */
    struct qv_member self;
    struct qv_bytes copy;           /* qv_membership_copy's, of the last run; n 0: none. Not kept */
    const struct qv_topology *tree; /* what that copy makes, with a reference of its own taken: what
                                       is shown first. NULL: none */
    /* A newer tree is shown: qv_membership_tree. */
    void (*changed)(void *arg);
    void *arg;
};

/* Begins; everything else happens later. QV_ECORRUPT: the copy can't be read. Gives. */
QV_MUST_USE int qv_membership_open(const struct qv_membership_config *config,
                                   struct qv_membership **out, struct qv_errmsg *msg);
/* Proposals under way end with QV_ECANCELED, the metadata is closed, then closed(arg) is called,
 * perhaps from inside; nothing of it is called any more. The peers must be open until then. */
void qv_membership_close(struct qv_membership *m, void (*closed)(void *arg), void *arg);
/* Frees without a callback, what a crash leaves (simulator): after qv_sim_node_crash. The metadata
 * is the caller's again. */
void qv_membership_abandon(struct qv_membership **m);

/* The newest tree; borrowed until the next change. Epoch 0 before the first. */
const struct qv_topology *qv_membership_tree(const struct qv_membership *m);
/* Appends the records of that tree: for the next start. */
void qv_membership_copy(const struct qv_membership *m, struct qv_buf *b);
/* Did the store answer with this run's registration in it? Before, nothing new is promised. */
bool qv_membership_joined(const struct qv_membership *m);

struct qv_membership_status {
    bool reachable;      /* the metadata */
    bool elected;        /* this node is the controller */
    uint64_t controller; /* 0: none known */
    uint64_t epoch;
    uint32_t waiting; /* proposals of this node under way */
    char why[256];    /* what is wrong; "": nothing */
};
void qv_membership_status(const struct qv_membership *m, struct qv_membership_status *out);

/* A peer spoke of an epoch: if it is newer and does not come by the metadata soon, it is asked. */
void qv_membership_hint(struct qv_membership *m, uint64_t peer, uint64_t epoch);

struct qv_proposal;
/* 0: it is in the tree that is shown now, at `epoch`. QV_ESTALE: the tree is another by now (shown
 * already): make the change anew. QV_ETIMEOUT, QV_EUNAVAILABLE: not done. QV_EUNKNOWN: may have
 * been done. QV_EAUTH, QV_ENOSPC, ...: what the store says. */
typedef void (*qv_proposal_done_f)(struct qv_proposal *p, int err);

/* A change of the metadata; embedded in the caller's struct until done. */
struct qv_proposal {
    uint64_t base;                         /* epoch of the tree it was made from */
    const struct qv_mirror_entry *changes; /* distinct keys, not epoch or change; borrowed */
    uint32_t count;                        /* 1 .. QV_PROPOSAL_CHANGES_MAX */
    uint64_t deadline_ns;                  /* mono */
    qv_proposal_done_f done;
    void *arg;
    struct qv_errmsg msg;
    uint64_t epoch; /* after 0 */
    /* membership's */
    struct qv_membership *m;
    struct qv_proposal *prev, *next;
    struct qv_peer_call call;
    struct qv_buf body;
    uint64_t name; /* chance's, the record "change" */
    uint32_t gaps; /* of the membership, when it began */
    uint8_t state;
    bool doubtful; /* one attempt may have been done */
};
void qv_membership_propose(struct qv_membership *m, struct qv_proposal *p);

#endif
