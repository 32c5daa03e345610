/* Merging lists of hits: what a shard does with its graph and the rows beside it, a node with its
 * shards, a coordinator with its legs. */
#ifndef QV_CORE_HITS_H
#define QV_CORE_HITS_H

#include "core/rank.h"

#include "base/arena.h"

/* Borrows its hits. */
struct qv_hits {
    struct qv_hit *hits;
    uint32_t count;
};

#define QV_HITS_MAX (1u << 24) /* in all lists of one merge */

/* The k best of the lists, each in rank order, into *out (hits in the arena; list and at say where
 * each came from). An id stands once: of several hits the one of the newest version counts,
 * wherever it ranks (an older one is a ghost: its vector is not the point's any more), of equal
 * versions the better ranked. Equal input gives equal output whatever the order of lists, but for
 * list and at. O(n) to know the newest + O(k log lists). QV_EPROTO when a list is not in order as
 * far as it was read, QV_ELIMIT above QV_HITS_MAX, QV_ENOMEM. */
QV_MUST_USE int qv_hits_merge(struct qv_arena *arena, const struct qv_ranking *ranking,
                              const struct qv_hits *lists, uint32_t list_count, uint32_t k,
                              struct qv_hits *out);

#endif
