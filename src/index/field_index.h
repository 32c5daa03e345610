/* A payload index: what one path of a payload reaches, by slot, so that conditions on it are
 * answered without reading payloads.
 *
 *   flags    2 B a slot: what kinds of values there are (nothing, null, empty, many, others)
 *   value    8 B a slot, keyword, integer, bool, uuid, text: which entries of the dictionary it
 *            holds; of a text those are its tokens
 *   column   8 B a slot, integer, float, datetime: the number, or the microseconds, for ranges;
 *            16 B, geo: longitude and latitude
 *   entries  a value each: its bytes, and the slots that hold it (one slot inline, more: CRoaring)
 *
 * An answer is two bitmaps: `lower`, slots that hold the condition for certain, and `upper`, those
 * that may: what lies between is decided on the payload. Both are the same wherever the index holds
 * all that the condition asks about. Slots that nobody has described yet are in upper only, so an
 * index is of use, and right, while it is being built. Semantics are core/filter.h's.
 *
 * A slot keeps its description after its point's death, until it is described anew: whoever asks
 * looks at live slots only. Memory only: made again from the payloads at a start.
 *
 * Threads: one lock of the caller's; set and destroy exclusive, the rest shared. */
#ifndef QV_INDEX_FIELD_INDEX_H
#define QV_INDEX_FIELD_INDEX_H

#include "base/slot.h"
#include "core/api.h"
#include "core/config.h"
#include "core/filter.h"

struct qv_field_index;

/* For slots below max_slots; copies what it needs of declared. QV_ENOMEM; QV_EINVAL: a path that
 * can't be. */
QV_MUST_USE int qv_field_index_create(const struct qv_payload_index *declared, uint32_t max_slots,
                                      struct qv_field_index **out, struct qv_errmsg *msg);
void qv_field_index_destroy(struct qv_field_index **x); /* *x may be NULL; sets it NULL */

uint32_t qv_field_index_number(const struct qv_field_index *x); /* as declared */
const struct qv_path *qv_field_index_path(const struct qv_field_index *x);

/* Describes a slot: begin, every value that the path reaches, end. QV_ENOMEM: the slot is as if
 * never described. */
void qv_field_index_begin(struct qv_field_index *x);
void qv_field_index_add(struct qv_field_index *x, struct qv_doc value);
QV_MUST_USE int qv_field_index_end(struct qv_field_index *x, qv_slot slot);
bool qv_field_index_knows(const struct qv_field_index *x, qv_slot slot);
void qv_field_index_forget(struct qv_field_index *x, qv_slot slot); /* as if never described */

/* Slots [0, n) as bits; words behind n are not touched. */
struct qv_field_answer {
    uint32_t n;
    uint64_t *lower, *upper; /* (n + 63) / 64 words each, zeroed by the caller */
};
/* May the index answer the condition? Its key must be the index's path; binding: the filter's (NULL
 * where it has none), for what a text asks for. false: it says nothing and the answer is untouched.
 * Cost: 1 ns a slot and pass, at most three passes; of places near an area's latitudes 50 ns. */
bool qv_field_index_ask(const struct qv_field_index *x, const struct qv_cond *c,
                        const struct qv_filter_binding *binding, struct qv_field_answer *out);

/* The values by which a slot is ordered: integers, floats or times, as the index has them, each
 * once. false: they have to be read. */
typedef void (*qv_field_value_f)(void *ctx, const struct qv_order_value *value);
bool qv_field_index_values(const struct qv_field_index *x, qv_slot slot, qv_field_value_f f,
                           void *ctx);

/* How many slots of bits (of [0, n)) hold each value of the dictionary: calls f for those that any
 * does, in no order; a value is valid while the index is not changed. *known false: nothing was
 * told, for a slot of bits is not described, or there is no dictionary of values. QV_ENOMEM. */
typedef void (*qv_field_count_f)(void *ctx, struct qv_doc value, uint32_t count);
struct qv_field_counting {
    uint32_t n;
    const uint64_t *bits;
    qv_field_count_f f;
    void *ctx;
};
QV_MUST_USE int qv_field_index_count(const struct qv_field_index *x,
                                     const struct qv_field_counting *c, bool *known);

uint64_t qv_field_index_bytes(const struct qv_field_index *x); /* of memory, about */
/* Invariants, for tests: every entry's slots hold it and the other way round. NULL: they hold. */
const char *qv_field_index_check(const struct qv_field_index *x);

#endif
