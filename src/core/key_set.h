/* Which points of a collection: those whose key hash is in `keys` and whose id is in `ids`. What a
 * shard owns, what a transfer moves and what a purge keeps are such sets. Placements by hash use
 * the one half, placements by range of ids the other.
 *
 * A value in whatever memory its maker chose; a copy of one's own is one block. Pure functions; any
 * thread. */
#ifndef QV_CORE_KEY_SET_H
#define QV_CORE_KEY_SET_H

#include "base/buf.h"
#include "core/cover.h"
#include "core/id.h"

/* Ids from <= id < to in canonical order. A bound of type 0 is none: below the lowest, above the
 * highest. */
struct qv_id_range {
    struct qv_id from, to;
};

bool qv_id_range_holds(const struct qv_id_range *r, const struct qv_id *id);

#define QV_KEY_SET_RANGES_MAX (1u << 16)

struct qv_key_set {
    struct qv_cover keys;
    bool some_ids; /* only those of the ranges; false: any id, and there are no ranges */
    uint32_t range_count;
    const struct qv_id_range *ranges; /* ascending, disjoint, none empty */
};

extern const struct qv_key_set qv_key_set_all;
extern const struct qv_key_set qv_key_set_none;

/* Is it in that form? For sets from outside. */
bool qv_key_set_check(const struct qv_key_set *s, const char **reason);
bool qv_key_set_is_all(const struct qv_key_set *s);
/* O(log n); hash is qv_id_key_hash(id). */
bool qv_key_set_holds(const struct qv_key_set *s, const struct qv_id *id, uint64_t hash);
bool qv_key_set_has(const struct qv_key_set *s, const struct qv_id *id);
bool qv_key_set_equal(const struct qv_key_set *a, const struct qv_key_set *b);
/* Is every point of a one of b? True is certain; of ranges that several of b's hold together it may
 * say false. */
bool qv_key_set_within(const struct qv_key_set *a, const struct qv_key_set *b);

/* A copy in one block; free with qv_mem_free. Gives; NULL: no memory. */
struct qv_key_set *qv_key_set_dup(const struct qv_key_set *s);

/* Bytes: docs/formats.md, "A set of keys". The decoder checks everything; lists are in the arena.
 * QV_ECORRUPT, QV_ENOMEM. */
void qv_key_set_encode(struct qv_buf *b, const struct qv_key_set *s);
QV_MUST_USE int qv_key_set_decode(struct qv_rd *r, struct qv_arena *arena, struct qv_key_set *out,
                                  struct qv_errmsg *msg);

#endif
