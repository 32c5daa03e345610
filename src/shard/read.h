/* Private to src/shard: what reading shares. All on reader threads, inside an epoch where slots are
 * passed. */
#ifndef QV_SHARD_READ_H
#define QV_SHARD_READ_H

#include "shard/shard_private.h"

/* A point picked for an answer. */
struct qv_pick {
    qv_slot slot;
    struct qv_id id;
    struct qv_version version;
    float score;
};

/* QV_EUNAVAILABLE with the reason when the shard is quarantined or dropped. */
QV_MUST_USE int qv_read_begin(struct qv_shard *s, unsigned reader, struct qv_errmsg *msg);
void qv_read_end(struct qv_shard *s, unsigned reader);

/* The point's record, decoded into the arena, and the slot whose rows belong to it; *found false
 * when it is gone meanwhile. */
QV_MUST_USE int qv_read_copy(struct qv_shard *s, struct qv_arena *arena, const struct qv_id *id,
                             qv_slot *slot, struct qv_copy *out, bool *found,
                             struct qv_errmsg *msg);
/* Does the copy match? */
QV_MUST_USE int qv_read_match(struct qv_shard *s, struct qv_arena *arena,
                              const struct qv_filter *filter, const struct qv_id *id,
                              const struct qv_copy *copy, bool *match);
/* Slots of [0, n) whose points match: a bitmap in the arena ((n + 63) / 64 words). */
QV_MUST_USE int qv_read_bitmap(struct qv_shard *s, struct qv_arena *arena,
                               const struct qv_filter *filter, uint32_t n, uint64_t **out,
                               struct qv_errmsg *msg);
/* Payload and vectors of the picks as asked for. */
QV_MUST_USE int qv_read_points(struct qv_shard *s, struct qv_arena *arena,
                               const struct qv_pick *picks, uint32_t n,
                               const struct qv_payload_select *with_payload,
                               const struct qv_vector_select *with_vector,
                               struct qv_points_out *out, struct qv_errmsg *msg);

#endif
