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
    uint32_t number;      /* vector's number */
    struct qv_str key;    /* payload key */
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

/* One change of one point; parts sorted by (kind, number, key), distinct; their versions are the
 * change's. Borrows everything. */
struct qv_change {
    uint8_t type;
    struct qv_id id;
    uint32_t part_count;
    struct qv_part *parts;
};

/* A copy of a point. Parts sorted as above; only parts newer than what hides them are kept:
 * vectors at or above base, payload keys at or above max(base, floor). */
struct qv_copy {
    struct qv_version base; /* version of the last put or delete; NONE when only sets are known */
    bool alive;             /* base is a put */
    struct qv_version floor; /* last payload replacement or clearing; >= base always (normal form) */
    uint32_t part_count;
    struct qv_part *parts;
};

/* The copy that a change alone makes, at `version`. Borrows the change's parts (their versions are
 * set). */
void qv_copy_of_change(const struct qv_change *c, struct qv_version version, struct qv_copy *out);

/* The join. Parts of the result are in the arena, values borrowed from a and b. QV_ENOMEM. */
QV_MUST_USE int qv_copy_join(struct qv_arena *arena, const struct qv_copy *a,
                             const struct qv_copy *b, struct qv_copy *out);

/* 64 bits over the versions (not values) of base, floor and parts: equal digests, equal copies. */
uint64_t qv_copy_digest(const struct qv_copy *c);
struct qv_version qv_copy_newest(const struct qv_copy *c); /* newest version in it */
bool qv_copy_visible(const struct qv_copy *c);             /* alive */
/* Finds a visible part (not absent); NULL when there is none. */
const struct qv_part *qv_copy_find(const struct qv_copy *c, uint8_t kind, uint32_t number,
                                   struct qv_str key);

/* ---- encodings ---- (docs/formats.md gives the bytes)
 *
 * Change: type u8, id (canonical), varint part count, parts { kind u8 | state u8 << 4; vector:
 * varint number, payload: varint n + key; INLINE: varint n + value }.
 * Copy: flags u8 (alive, has floor, ...), base, [floor], varint part count, parts as above with
 * their version where it differs from the base. */
void qv_change_encode(struct qv_buf *b, const struct qv_change *c);
/* Decodes and checks one change at the reader (docs, vectors, order, limits); parts in the arena,
 * values borrowed from the input. QV_ECORRUPT with a reason. */
QV_MUST_USE int qv_change_decode(struct qv_rd *r, struct qv_arena *arena, struct qv_change *out,
                                 struct qv_errmsg *msg);
void qv_copy_encode(struct qv_buf *b, const struct qv_copy *c);
QV_MUST_USE int qv_copy_decode(struct qv_rd *r, struct qv_arena *arena, struct qv_copy *out,
                               struct qv_errmsg *msg);

/* The payload of a copy as one object (visible payload parts in key order), appended to out. */
void qv_copy_payload(const struct qv_copy *c, struct qv_buf *out);

#endif
