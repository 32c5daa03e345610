/* The other side of a feed: changes that another shard applied, taken under their own versions.
 *
 * A batch is checked whole, then logged here, made durable, applied like what the log's own replay
 * gives (joined by version: a change that is older than what is here changes nothing), then
 * confirmed. Its order among other batches of the same *stream* matters: a batch begins where what
 * is here ends. Coverage is kept by stream, in the log's records and in checkpoints: after a
 * restart it says up to which of the stream's positions this shard holds everything.
 *
 * A stream is one source's series of positions (a transfer's feed, its rows): the caller's number,
 * never used again. Streams are forgotten with qv_shard_forget_stream, or the shard.
 *
 * Keys that the shard does not keep (shard_keys.h) are passed over. On the owner. */
#ifndef QV_SHARD_SHARD_REPLAY_H
#define QV_SHARD_SHARD_REPLAY_H

#include "base/arena.h"
#include "shard/shard.h"

#define QV_STREAMS_MAX 64u /* of one shard */

/* One batch on its way; embedded in the caller's struct, valid until done. */
struct qv_replay {
    struct qv_shard *shard;
    uint64_t stream;       /* not 0 */
    uint64_t from, to;     /* positions: what was there before, what is there with it */
    struct qv_bytes bytes; /* as qv_feed_take gave them; borrowed until done. n == 0: no changes,
                              the stream goes on at `to` */
    /* On the owner, later. 0: durable and applied, the stream is covered up to `to` (or was).
     * QV_ESTALE: the stream is covered only up to `covered`, below from; or a change is from
     * further ahead than a clock may be. QV_EBUSY: the shard's configuration is older than a
     * change's: try again. QV_ECORRUPT: not a batch. QV_EUNKNOWN, QV_ENOSPC, QV_EIO: as for writes;
     * what the batch holds may be given again. */
    void (*done)(struct qv_replay *r, int err);
    void *arg;
    uint64_t covered; /* set */
    struct qv_errmsg msg;
    /* the shard's */
    struct qv_task task;
    struct qv_arena arena;
    struct qv_replay_group *unlogged;
    uint32_t open; /* groups in the log, not applied */
    bool checked;
    int err;
    struct qv_replay *next;
};

void qv_shard_replay(struct qv_shard *s, struct qv_replay *r);

/* False: nothing is known of the stream: its first batch begins at 0. */
bool qv_shard_coverage(const struct qv_shard *s, uint64_t stream, uint64_t *position);
void qv_shard_forget_stream(struct qv_shard *s, uint64_t stream);

/* Is it a batch? Fills reason (may be NULL). For tests and fuzzing. */
bool qv_batch_check(struct qv_bytes bytes, const char **reason);

#endif
