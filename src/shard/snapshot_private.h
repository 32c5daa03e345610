/* Private to src/shard: a pin's fields, and the stream of slots that both ways of a snapshot walk
 * along. */
#ifndef QV_SHARD_SNAPSHOT_PRIVATE_H
#define QV_SHARD_SNAPSHOT_PRIVATE_H

#include "shard/checkpoint.h"
#include "shard/shard_snapshot.h"

struct qv_shard_pin {
    struct qv_shard *shard; /* a reference */
    uint64_t seq;           /* the capture; slots that died after it stay */
    struct qv_checkpoint_record rec;
    const struct qv_collection_config *config;
    struct qv_kv_snapshot *kv;
    qv_lsn position; /* the shard was there: nothing of it lies between rec.lsn and this */
    struct qv_shard_pin *next;
};

#define QV_SNAPSHOT_HEAD_FORMAT 1u
#define QV_SNAPSHOT_SLOTS_VERSION 1u
#define QV_SNAPSHOT_GRAPH_VERSION 1u

/* Copies a slots file's payload from read to write, and notes on the way which slots have which
 * vectors. All zeros, then the first five fields set, is its start. */
struct qv_slot_stream {
    int (*read)(void *arg, void *p, size_t n, struct qv_errmsg *msg);
    int (*write)(void *arg, const void *p, size_t n, struct qv_errmsg *msg);
    void *arg;
    uint32_t vectors;
    uint64_t bytes; /* of the payload */

    uint64_t at; /* bytes copied */
    bool begun;
    uint32_t high, next; /* slots; the first that was not copied */
    uint32_t live;       /* seen */
    size_t stride;
    uint8_t *present; /* owned: stride bytes a slot */
};

/* About bytes_max more; *done at the end. QV_ECORRUPT, QV_ENOMEM. */
QV_MUST_USE int qv_slot_stream_step(struct qv_slot_stream *st, uint64_t bytes_max, bool *done,
                                    struct qv_errmsg *msg);
void qv_slot_stream_close(struct qv_slot_stream *st);
static inline bool qv_slot_stream_has(const struct qv_slot_stream *st, uint32_t vector,
                                      qv_slot slot)
{
    return st->present[slot * st->stride + vector / 8] >> (vector & 7) & 1;
}

#endif
