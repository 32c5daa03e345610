/* Private to src/index: what searches share. */
#ifndef QV_INDEX_HNSW_SEARCH_H
#define QV_INDEX_HNSW_SEARCH_H

#include "index/hnsw_walk.h"

/* The query as the walk compares it, in *row; valid until the context's next search. After
 * qv_hnsw_walk_begin. QV_ENOMEM. */
int qv_hnsw_search_code(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                        const struct qv_hnsw_query *query, const void **row) QV_MUST_USE;

/* The first k of an ascending pool that are live; returns how many. */
uint32_t qv_hnsw_search_take(const struct qv_hnsw *h, const struct qv_hnsw_cands *pool, uint32_t k,
                             struct qv_hnsw_hit *hits);

#endif
