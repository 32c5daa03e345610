/* Covers: which part of a collection's keys something answers for, as intervals of the 64-bit key
 * hash (core/id.h). A leg names the cover it asks for, an answer the cover it searched, and what a
 * read has seen is the union of those.
 *
 * A value: intervals ascending, disjoint and not touching (the only form a set of keys has), in
 * whatever memory its maker chose. The empty cover has none. Pure functions; any thread. */
#ifndef QV_CORE_COVER_H
#define QV_CORE_COVER_H

#include "base/arena.h"

struct qv_interval {
    uint64_t first, last; /* both included; first <= last */
};

struct qv_cover {
    const struct qv_interval *list;
    uint32_t count;
};

#define QV_COVER_INTERVALS_MAX                                                                     \
    (1u << 17) /* of one cover: 1,024 shards of 100 virtual nodes each                             \
                */

extern const struct qv_cover qv_cover_all;  /* every key */
extern const struct qv_cover qv_cover_none; /* no key */

/* Is it in the one form? For covers from outside. */
bool qv_cover_check(const struct qv_cover *c, const char **reason);
bool qv_cover_holds(const struct qv_cover *c, uint64_t hash); /* O(log n) */
bool qv_cover_equal(const struct qv_cover *a, const struct qv_cover *b);
/* Share of all keys, 0 .. 1: exactly 1 only for every key, exactly 0 only for none. */
double qv_cover_share(const struct qv_cover *c);

/* Results are in the arena (or are an operand's own list). out may be an operand. O(n + m).
 * QV_ENOMEM; QV_ELIMIT above QV_COVER_INTERVALS_MAX. */
QV_MUST_USE int qv_cover_union(struct qv_arena *arena, const struct qv_cover *a,
                               const struct qv_cover *b, struct qv_cover *out);
QV_MUST_USE int qv_cover_intersect(struct qv_arena *arena, const struct qv_cover *a,
                                   const struct qv_cover *b, struct qv_cover *out);
QV_MUST_USE int qv_cover_subtract(struct qv_arena *arena, const struct qv_cover *a,
                                  const struct qv_cover *b, struct qv_cover *out);

#endif
