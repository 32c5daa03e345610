/* Private to src/shard: batches of changes, as a feed gives them and a replay takes them, and the
 * log's records that both come from. docs/formats.md has the bytes.
 *
 * batch  := u8 format (1), records
 * record := u32 n, u8 kind, u32 generation, u64 clock, u32 writer, u64 prev clock, u64 position,
 *           body of n bytes
 * body   := CHANGES: u32 count, changes (core/point.h), all of one version;
 *           COPIES: u32 count, { id, copy }, each with its versions; the record's is the newest
 * In the log a CHANGES body is a record of type 1. What was replayed is one of type 2:
 * { u64 stream, u64 position, u8 kind (0: no body, the position alone), body }. */
#ifndef QV_SHARD_CHANGE_BATCH_H
#define QV_SHARD_CHANGE_BATCH_H

#include "core/key_set.h"
#include "core/point.h"
#include "storage/log.h"

#define QV_RECORD_TYPE_CHANGES 1
#define QV_RECORD_TYPE_REPLAY 2
#define QV_REPLAY_HEAD_BYTES 17u /* stream, position, kind */

enum qv_body_kind { QV_BODY_NONE, QV_BODY_CHANGES, QV_BODY_COPIES, QV_BODY_KIND_COUNT };

#define QV_BATCH_FORMAT 1u
#define QV_BATCH_RECORD_BYTES 37u /* of a record, before its body */

struct qv_batch_record {
    uint8_t kind;
    uint32_t generation;
    struct qv_version version;
    uint64_t prev_clock;
    uint64_t position; /* of the source, with it */
    struct qv_bytes body;
};

void qv_batch_begin(struct qv_buf *b);
void qv_batch_put(struct qv_buf *b, const struct qv_batch_record *r);
/* Of a batch whose format was read. QV_ECORRUPT; borrows. */
QV_MUST_USE int qv_batch_next(struct qv_rd *rd, struct qv_batch_record *out, struct qv_errmsg *msg);
/* Reads the format. QV_ECORRUPT, QV_ENOTIMPL. */
QV_MUST_USE int qv_batch_open(struct qv_rd *rd, struct qv_bytes bytes, struct qv_errmsg *msg);

/* What a log record of a shard holds. QV_ECORRUPT. */
struct qv_logged {
    uint64_t stream, position; /* of a replay; 0: the shard's own */
    uint8_t kind;
    struct qv_bytes body;
};
QV_MUST_USE int qv_logged_decode(uint8_t type, struct qv_bytes change, struct qv_logged *out,
                                 struct qv_errmsg *msg);

void qv_replay_head(uint64_t stream, uint64_t position, uint8_t kind,
                    uint8_t out[QV_REPLAY_HEAD_BYTES]);

/* One change or copy of a body: its id and its bytes. */
struct qv_body_item {
    struct qv_id id;
    struct qv_bytes bytes; /* COPIES: with the id */
    struct qv_change change;
    struct qv_copy copy; /* COPIES */
};
/* Behind the count. In the arena; borrows. QV_ECORRUPT, QV_ENOMEM. */
QV_MUST_USE int qv_body_next(struct qv_rd *rd, uint8_t kind, struct qv_arena *arena,
                             struct qv_body_item *out, struct qv_errmsg *msg);
/* Appends the batch record r with those of its body's items that are of the keys; nothing when none
 * is. keys NULL: all. The arena is scratch. QV_ECORRUPT, QV_ENOMEM. */
QV_MUST_USE int qv_batch_put_some(struct qv_buf *b, const struct qv_batch_record *r,
                                  const struct qv_key_set *keys, struct qv_arena *arena,
                                  struct qv_errmsg *msg);

#endif
