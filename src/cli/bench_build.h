/* A graph from all rows at once, for the benches of the index alone. */
#ifndef QV_CLI_BENCH_BUILD_H
#define QV_CLI_BENCH_BUILD_H

#include "base/err.h"
#include "index/hnsw.h"

#define QV_BENCH_BUILD_THREADS_MAX 256u

/* Fills the empty graph with slots 0 .. n - 1 on `threads` threads, of which the caller's is one.
 * What qv_hnsw_bulk_create gives (QV_ENOTIMPL: such rows are to be inserted), QV_ENOMEM. After an
 * error the graph is empty. */
int qv_bench_build_at_once(struct qv_hnsw *h, uint32_t n, uint32_t threads) QV_MUST_USE;

#endif
