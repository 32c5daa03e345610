/* What nodes ask of each other's shards, as bytes: bodies of the messages of core/peer.h. The
 * messages are proto/quiver_internal_shard.proto's; docs/protocol-shards.md tells them.
 *
 * What is decoded equals what was encoded: floats to the bit, lists in their order, documents as
 * checked bytes, filters sealed. Not carried: stops and deadlines (the call's), what a kind or a
 * mode does not use, and of answers what a coordinator adds for the client (coverage, the plans of
 * legs): a leg's cover and lists say it.
 *
 * Encoders append to b and never fail; a full buffer, or a part of 256 MiB, sets b->failed. A
 * message should begin at a multiple of 4 in the reader's memory: its vectors are then used where
 * they lie, otherwise they are copied.
 *
 * Decoders take bytes from anywhere: bounded by the limits of core/limits.h and by the arena. They
 * borrow `in` where nothing else is said: keep it as long as the result. Fields that are not known
 * are passed over. Errors: QV_EPROTO (malformed, or over a limit), QV_ENOTIMPL (a newer node means
 * something that this one can't know), QV_ENOMEM (the arena). Texts name message and field.
 *
 * Any thread; no state. */
#ifndef QV_WIRE_PEER_CODEC_H
#define QV_WIRE_PEER_CODEC_H

#include "core/peer.h"
#include "core/shard_ops.h"

#define QV_PEER_LEGS_MAX 4096u                /* of one ask, of one write */
#define QV_PEER_LIMIT_MAX (4u * QV_LIMIT_MAX) /* limit + offset of a leg: k' may exceed k */

/* ---- reads ---- */

/* kind, legs, request, hops_left. */
void qv_peer_encode_ask(struct qv_buf *b, const struct qv_ask *ask);
/* Sets those; deadline_ns, stop, answers, done, arg, leaf are zero. Everything in the arena. */
QV_MUST_USE int qv_peer_decode_ask(struct qv_bytes in, struct qv_arena *arena, struct qv_ask *out,
                                   struct qv_errmsg *msg);

/* ask->answers. records (NULL: none): for each leg the shard's newer record, p == NULL where there
 * is none to send. */
void qv_peer_encode_answers(struct qv_buf *b, const struct qv_ask *ask,
                            const struct qv_bytes *records);
/* Into ask->answers, each with its own arena, which must be ready and keeps what belongs to it:
 * `in` is not borrowed. records (may be NULL): leg_count of them, p == NULL: none. On an error the
 * answers mean nothing. */
QV_MUST_USE int qv_peer_decode_answers(struct qv_bytes in, const struct qv_ask *ask,
                                       struct qv_bytes *records, struct qv_errmsg *msg);

/* ---- writes ---- */

/* One shard's part of a write. */
struct qv_peer_write_leg {
    uint8_t collection[16]; /* uuid */
    uint32_t shard;
    uint64_t incarnation;
    uint64_t epoch;
    const struct qv_write_op *ops; /* borrowed */
    uint32_t op_count;
};

struct qv_peer_write {
    const struct qv_peer_write_leg *legs; /* borrowed */
    uint32_t leg_count;
    bool wait;
    enum qv_ordering ordering;
    uint64_t timeout_ms; /* 0: none given */
};

void qv_peer_encode_write(struct qv_buf *b, const struct qv_peer_write *w);
QV_MUST_USE int qv_peer_decode_write(struct qv_bytes in, struct qv_arena *arena,
                                     struct qv_peer_write *out, struct qv_errmsg *msg);

struct qv_peer_write_answer {
    /* 0; QV_EUNKNOWN: it may have happened; QV_ESTALE: it did not, epoch says the newer one; any
     * other: the op `failed_op` did not happen, those before it did and have results */
    int err;
    struct qv_str text;
    uint64_t epoch;
    uint32_t failed_op;
    const struct qv_write_result *results;
    uint32_t result_count;
    struct qv_bytes record; /* the shard's newer record; p == NULL: none */
};

void qv_peer_encode_write_answers(struct qv_buf *b, const struct qv_peer_write_answer *answers,
                                  uint32_t count);
/* leg_count: of the write; any other number of answers is QV_EPROTO. In the arena. */
QV_MUST_USE int qv_peer_decode_write_answers(struct qv_bytes in, uint32_t leg_count,
                                             struct qv_arena *arena,
                                             struct qv_peer_write_answer *out,
                                             struct qv_errmsg *msg);

#endif
