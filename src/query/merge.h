/* The answers of several legs as one. Pure functions on core types: the same lists in any order of
 * arrival give the same result (a list's place is its leg's, not its turn).
 *
 * An id counts once: of several copies the one of the newest version, of equal ones that of the
 * first list (they are the same). ORDER_BY gives a point once for each of its values: those of the
 * newest copy.
 *
 * Results are in the arena and borrow the points' contents from the lists. QV_ENOMEM, QV_ELIMIT
 * (more than QV_HITS_MAX hits), QV_EPROTO (a list that is not in order). */
#ifndef QV_QUERY_MERGE_H
#define QV_QUERY_MERGE_H

#include "core/hits.h"
#include "core/shard_ops.h"

enum qv_merge_by { QV_MERGE_SCORE, QV_MERGE_VALUE, QV_MERGE_ID, QV_MERGE_CHANCE };

/* The order of a list. */
struct qv_merge_order {
    enum qv_merge_by by;
    struct qv_ranking ranking; /* SCORE */
    bool desc;                 /* VALUE: values, and ids of equal values */
    uint64_t seed;             /* CHANCE */
};
struct qv_merge_order qv_merge_order_of_query(const struct qv_query *q,
                                              const struct qv_collection_config *config);
struct qv_merge_order qv_merge_order_of_scroll(const struct qv_scroll_req *req);

struct qv_merge {
    struct qv_merge_order order;
    const struct qv_leg_list *const *lists; /* NULL: that leg gave none */
    uint32_t count;
    uint32_t skip, limit;       /* of what is merged: to leave out at its head, to give */
    const struct qv_id *except; /* never given; NULL: none such */
};

/* Merges; lacking[i] (NULL: not asked for) tells of each list whether what it left out may belong
 * among the first skip + limit: it has to be asked on before the result is the true one. *next
 * (NULL: not asked for), by id only: the first id behind those given, and whether there is one. */
struct qv_merge_next {
    bool has;
    struct qv_id id;
};
QV_MUST_USE int qv_merge_lists(const struct qv_merge *m, struct qv_arena *arena,
                               struct qv_points_out *out, bool *lacking,
                               struct qv_merge_next *next);

/* Points by id: those of want that are in a list, in want's order, as often as they stand there. */
QV_MUST_USE int qv_merge_points(const struct qv_id *want, uint32_t count,
                                const struct qv_points_out *const *lists, uint32_t list_count,
                                struct qv_arena *arena, struct qv_points_out *out);

/* Facets: counts of a value are added. lacking[i]: a value that list left out may belong among the
 * first `limit`, or may be a part of a count that does. `all`: of each list, whether it left none
 * out. */
struct qv_merge_facets {
    const struct qv_facet_out *const *lists; /* NULL: that leg gave none */
    const bool *all;
    uint32_t count;
    uint32_t limit;
};
QV_MUST_USE int qv_merge_facets(const struct qv_merge_facets *m, struct qv_arena *arena,
                                struct qv_facet_out *out, bool *lacking);

#endif
