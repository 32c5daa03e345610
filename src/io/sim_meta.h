/* core/meta.h's twin for the simulator: one store that the nodes of a world share, in simulated
 * time, that fails in the ways etcd does and promises no more:
 *   - requests and answers take time, are lost, or arrive long after their caller has given up, so
 *     that an outcome is unknown in all three ways (done, not done, done later);
 *   - a node, or all, is cut off from the store for a while;
 *   - watches are late, give several revisions at once, and are compacted;
 *   - leases end early, and are lost where they can't be kept alive in time.
 * The store itself never forgets what it acknowledged, unless it is put back (qv_sim_meta_restore).
 * Everything follows from the world's seed. */
#ifndef QV_IO_SIM_META_H
#define QV_IO_SIM_META_H

#include "core/meta.h"
#include "core/meta_tree.h"
#include "io/sim_env.h"

struct qv_sim_meta;

struct qv_sim_meta_config {
    uint64_t delay_ns_min, delay_ns_max; /* one way; 0, 0: 0.2 to 3 ms */
    /* Shares, 0 to 1. */
    double lose_request, lose_answer;
    double late_request;        /* arrives up to 10 s late */
    double early_lease;         /* is ended by the store before its time */
    uint64_t watch_late_ns_max; /* beside the delay */
    uint64_t away_every_ns;     /* mean time between two spells of a node; 0: none */
    uint64_t away_ns_max;       /* how long a spell is at most */
    uint64_t compact_every_ns;  /* mean; 0: never. To somewhere before the newest revision */
};

/* How often what happened, so that a test can say what it has seen. */
struct qv_sim_meta_counts {
    uint64_t lists, txns, stale, unknown_done, unknown_not_done, done_late, unavailable;
    uint64_t spells, compactions, watches_compacted, batches, progress;
    uint64_t leases, leases_expired, leases_early, leases_lost;
};

/* sim must outlive it. Gives. */
struct qv_sim_meta *qv_sim_meta_create(struct qv_sim *sim, const struct qv_sim_meta_config *config);
void qv_sim_meta_destroy(struct qv_sim_meta **s); /* every qv_meta on it must be closed */

/* A node's side of it. env: of a node of the same world. Gives; a crash of the node is followed by
 * qv_meta_abandon. known: what the node knew of the store, NULL for nothing. */
struct qv_meta *qv_sim_meta_open(struct qv_sim_meta *s, struct qv_env *env,
                                 const struct qv_meta *known);

void qv_sim_meta_set_config(struct qv_sim_meta *s, const struct qv_sim_meta_config *config);
void qv_sim_meta_set_away(struct qv_sim_meta *s, struct qv_meta *m, bool away); /* NULL: all */
void qv_sim_meta_compact(struct qv_sim_meta *s, uint64_t revision); /* at most the present one */
void qv_sim_meta_end_leases(struct qv_sim_meta *s);                 /* all, at once */
/* An operator's backup, and putting it back; another cluster id when `other`. */
void qv_sim_meta_backup(struct qv_sim_meta *s);
void qv_sim_meta_restore(struct qv_sim_meta *s, bool other);

/* The truth, for checkers; borrowed. */
const struct qv_meta_tree *qv_sim_meta_tree(const struct qv_sim_meta *s);
const struct qv_sim_meta_counts *qv_sim_meta_counts(const struct qv_sim_meta *s);

#endif
