/* Exact search: every row of a range is scored with the canonical kernel (simd/score.h), so the
 * result is the same to the bit on every machine, and its distances may leave the shard.
 *
 * A scan adds to top-k collectors that the caller owns: a range can be cut into parts (to look at a
 * deadline between them, or to share it among threads and merge), and rows that no graph holds yet
 * can be added to what a graph gave.
 *
 * Cost: one pass over the rows that the bitmap leaves, at memory speed; a batch of queries shares
 * the pass block by block, so that a row comes from memory once.
 *
 * Threads: any number, each with its own collectors; rows and bitmap are only read. Neither may
 * change during a call, except rows whose bits are clear. */
#ifndef QV_INDEX_FLAT_H
#define QV_INDEX_FLAT_H

#include "base/err.h"
#include "base/metric.h"
#include "index/rows_view.h"
#include "index/topk.h"

/* What is searched; borrows rows and bitmap for the calls that take it. */
struct qv_flat {
    struct qv_rows rows;
    enum qv_metric metric;
    enum qv_dtype dtype;
    uint32_t dim;  /* 1 .. QV_SIMD_DIM_MAX */
    qv_slot begin; /* the slots begin .. end - 1 */
    qv_slot end;   /* >= begin */
    /* Bit s % 64 of word s / 64 set: slot s may be a hit; words up to that of end - 1 are read.
     * NULL: all may. */
    const uint64_t *bits;
};

/* Adds the range's rows to tops[i] for queries[i], i < count. A query is a row of the dtype. */
void qv_flat_scan(const struct qv_flat *flat, const void *const *queries, struct qv_topk *tops,
                  size_t count);

/* One query: hits (room for k) by (distance, slot), nearest first; *n_out of them. k >= 1.
 * QV_ENOMEM. */
int qv_flat_search(const struct qv_flat *flat, const void *query, uint32_t k,
                   struct qv_topk_hit *hits, uint32_t *n_out) QV_MUST_USE;

#endif
