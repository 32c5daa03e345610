/* Point ids: an unsigned 64-bit number or a UUID.
 *
 * Canonical bytes: one type byte, then 8 (number) or 16 (UUID) big-endian bytes. They are the key
 * in the payload store, they order ids (numbers before UUIDs) for scroll and range placement, and
 * their XXH3-64 (seed 0) is the key hash that placements use, for ever. */
#ifndef QV_CORE_ID_H
#define QV_CORE_ID_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum qv_id_type { QV_ID_NUM = 1, QV_ID_UUID = 2 };

struct qv_id {
    uint64_t hi; /* UUID: its first 8 bytes as a big-endian number; number: 0 */
    uint64_t lo; /* UUID: its last 8 bytes; number: the number */
    uint8_t type;
};

#define QV_ID_BYTES_MAX 17
#define QV_ID_TEXT_MAX 37 /* a UUID with dashes, or 20 digits, and the NUL */

static inline struct qv_id qv_id_num(uint64_t n)
{
    return (struct qv_id){.hi = 0, .lo = n, .type = QV_ID_NUM};
}

static inline bool qv_id_equal(const struct qv_id *a, const struct qv_id *b)
{
    return a->lo == b->lo && a->hi == b->hi && a->type == b->type;
}

int qv_id_compare(const struct qv_id *a, const struct qv_id *b); /* <0, 0, >0; canonical order */

/* Canonical bytes; returns how many (9 or 17). */
size_t qv_id_encode(const struct qv_id *id, uint8_t out[QV_ID_BYTES_MAX]);
/* Reads one canonical id from p[0..n); *used = its length. QV_ECORRUPT on an unknown type or too
 * few bytes (does not count as corruption by itself: the caller knows whose bytes they are). */
QV_MUST_USE int qv_id_decode(const uint8_t *p, size_t n, struct qv_id *out, size_t *used);

uint64_t qv_id_key_hash(const struct qv_id *id);

/* UUID with or without dashes, braces or "urn:uuid:" (as that API accepts), any case.
 * QV_EINVAL otherwise. text need not be NUL-terminated. */
QV_MUST_USE int qv_id_parse_uuid(const char *text, size_t n, struct qv_id *out);
/* A number's digits or a dashed lower-case UUID, NUL-terminated; returns the length. */
size_t qv_id_format(const struct qv_id *id, char out[QV_ID_TEXT_MAX]);

#endif
