/* Private to src/index: the walk that returns only what passes a filter. */
#ifndef QV_INDEX_HNSW_WALK_FILTERED_H
#define QV_INDEX_HNSW_WALK_FILTERED_H

#include "index/hnsw_walk.h"

/* Best-first over a level from `start`, which is marked as seen; walk->filter is there, ctx->pool
 * has room for walk->ef and is empty. ctx->pool holds the nearest met that pass. QV_ENOMEM. */
int qv_hnsw_walk_filtered(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                          const struct qv_hnsw_walk *walk, qv_hnsw_cand start) QV_MUST_USE;

#endif
