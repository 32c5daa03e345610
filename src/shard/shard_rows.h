/* Some of a shard's points as they stand in a pin, as batches of copies: what a split or a merge
 * moves into a shard that exists, or is new and empty. Each copy has the versions it has here and
 * its dense vectors with it; a replay (shard_replay.h) joins it with what is there.
 *
 * A batch's positions are places in the series of rows: the n-th point of the pin, in the order of
 * ids, is at n + 1. So the rows are a stream of their own, of which a target keeps its coverage; a
 * feed from the pin's position, of the same keys, is the next stream. Positions mean something for
 * one pin only: who has a part of its rows when it is gone begins anew with nothing (what was
 * deleted meanwhile would stay).
 *
 * A step blocks on the disk: call it in jobs, one at a time. */
#ifndef QV_SHARD_SHARD_ROWS_H
#define QV_SHARD_SHARD_ROWS_H

#include "core/key_set.h"
#include "shard/shard_snapshot.h"

struct qv_shard_rows;

/* From behind `from` on: 0, or a position up to which a batch was given. Borrows pin; copies keys.
 * Gives; NULL: no memory. */
struct qv_shard_rows *qv_shard_rows_create(struct qv_shard_pin *pin, const struct qv_key_set *keys,
                                           uint64_t from);
void qv_shard_rows_destroy(struct qv_shard_rows **r);
/* What a batch stands for: the points in (from, to]; done: there are no more. */
struct qv_rows_part {
    uint64_t from, to;
    bool done;
};
/* Appends a batch of about bytes_max to out, which is empty. QV_ENOTFOUND: the shard was dropped;
 * QV_ECORRUPT names what is damaged. */
QV_MUST_USE int qv_shard_rows_step(struct qv_shard_rows *r, size_t bytes_max, struct qv_buf *out,
                                   struct qv_rows_part *part, struct qv_errmsg *msg);

#endif
