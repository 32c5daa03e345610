/* Points: changes, copies and their join. CONSISTENCY.md section 2 is binding; docs/consistency.md
 * retells it. A point is what replaying its changes in version order gives; a copy is a
 * join-semilattice element, so that applying and joining are idempotent, commutative, associative.
 *
 * A change is one of
 *   PUT      the whole point: these parts and nothing else
 *   DELETE   the whole point
 *   SET      parts set, or marked absent (a payload key removed, a named vector removed)
 *   REPLACE  the payload is these parts (vectors stay)
 *   CLEAR    the payload is empty (vectors stay)
 * A part is a named vector (by number) or a top-level payload key. */
#ifndef QV_CORE_POINT_H
#define QV_CORE_POINT_H

#include "base/arena.h"
#include "base/buf.h"
#include "core/doc.h"
#include "core/id.h"
#include "core/version.h"

enum qv_part_kind { QV_PART_VECTOR, QV_PART_PAYLOAD }; /* order: vectors first, then keys */

enum qv_part_state {
    QV_PART_INLINE, /* value holds it */
    QV_PART_ABSENT, /* removed at `version` (a part tombstone) */
    QV_PART_IN_ROW  /* a dense vector whose elements are in the point's row, not here */
};

struct qv_part {
    uint8_t kind;
    uint8_t state;
    uint32_t number;   /* vector's number */
    struct qv_str key; /* payload key */
    struct qv_version version;
    struct qv_bytes value; /* payload: a checked doc value; vector: stored bytes; borrowed */
};

enum qv_change_type {
    QV_CHANGE_PUT = 1,
    QV_CHANGE_DELETE,
    QV_CHANGE_SET,
    QV_CHANGE_REPLACE,
    QV_CHANGE_CLEAR
};

/* Order of parts in a change and a copy: kind, then number, then key bytes. */
int qv_part_compare(const struct qv_part *a, const struct qv_part *b);
/* Sorts into that order; false when two are the same part. Already sorted: one pass. */
QV_MUST_USE bool qv_parts_sort(struct qv_part *parts, uint32_t count);

/* Named vectors and top-level payload keys of one change. A copy may hold more: changes that were
 * accepted one by one are joined whatever comes of it. */
#define QV_POINT_PARTS_MAX 65536u

/* One change of one point; parts sorted, distinct; their versions are the change's. What a type may
 * hold: PUT: INLINE parts; SET: INLINE or ABSENT; REPLACE: INLINE payload keys; DELETE, CLEAR:
 * none. Borrows everything. */
struct qv_change {
    uint8_t type;
    struct qv_id id;
    uint32_t part_count;
    struct qv_part *parts;
};

/* A copy of a point, always in normal form: floor >= base; parts sorted and distinct; only parts
 * that nothing hides: vectors at or above base, payload keys at or above floor. A copy that knows
 * nothing is all zeros. Borrows parts and what they point to. */
struct qv_copy {
    struct qv_version base;  /* of the last put or delete; NONE when only sets are known */
    bool alive;              /* base is a put */
    struct qv_version floor; /* of the last payload replacement or clearing, or base */
    uint32_t part_count;
    struct qv_part *parts;
};

/* The copy that a change alone makes, at `version` (not NONE). Borrows the change's parts and sets
 * their versions. */
void qv_copy_of_change(const struct qv_change *c, struct qv_version version, struct qv_copy *out);

/* The join: newest base, newest floor, newest of each part, then what those hide goes. Idempotent,
 * commutative, associative on copies of one point (a version names one change of it). Parts of the
 * result are in the arena, or a's or b's own where one side hides all of the other; values are
 * borrowed from a and b. Of one part at one version, IN_ROW wins over INLINE: they are the same
 * value, and the row is there already. out may be a or b. QV_ENOMEM. */
QV_MUST_USE int qv_copy_join(struct qv_arena *arena, const struct qv_copy *a,
                             const struct qv_copy *b, struct qv_copy *out);

/* 64 bits over the versions (not values) of base, floor and parts: equal digests, equal copies.
 * Parts at the base's version don't enter: the base names them. So the digest of a point that was
 * only put or deleted follows from its version alone. docs/formats-points.md gives the bytes. */
uint64_t qv_copy_digest(const struct qv_copy *c);
uint64_t qv_copy_digest_of_base(struct qv_version base, bool alive);

struct qv_version qv_copy_newest(const struct qv_copy *c); /* newest version in it; NONE if empty */
bool qv_copy_visible(const struct qv_copy *c);             /* alive */
/* Finds a part that is visible: of a living point, not absent. NULL when there is none. */
const struct qv_part *qv_copy_find(const struct qv_copy *c, uint8_t kind, uint32_t number,
                                   struct qv_str key);
/* Normal form? Otherwise false and why (a static string; reason may be NULL). */
bool qv_copy_check(const struct qv_copy *c, const char **reason);

/* ---- encodings ---- (docs/formats-points.md gives the bytes)
 *
 * Change: type u8, id (canonical), varint part count, parts.
 * Copy:   flags u8 (1 alive, 2 has base, 4 floor is above base), [base], [floor], varint part
 * count, parts; a version is clock u64, writer u32. Part:   u8: kind | state << 4 | 0x80 when its
 * version follows; [version: in a copy, where it is not the base's]; vector: varint number,
 * payload: varint n, n key bytes; INLINE: varint n, n bytes.
 *
 * Decoders check everything (documents, vectors, order, limits, normal form) and answer QV_ECORRUPT
 * with a reason, reported to nobody (the caller knows whose bytes they are), or QV_ENOMEM. Values
 * and keys are borrowed from the input, the parts are one allocation in the arena. */
void qv_change_encode(struct qv_buf *b, const struct qv_change *c);
QV_MUST_USE int qv_change_decode(struct qv_rd *r, struct qv_arena *arena, struct qv_change *out,
                                 struct qv_errmsg *msg);
void qv_copy_encode(struct qv_buf *b, const struct qv_copy *c);
QV_MUST_USE int qv_copy_decode(struct qv_rd *r, struct qv_arena *arena, struct qv_copy *out,
                               struct qv_errmsg *msg);

/* The payload of a copy as one object (visible payload parts in key order; empty for a dead point),
 * appended to out. */
void qv_copy_payload(const struct qv_copy *c, struct qv_buf *out);

#endif
