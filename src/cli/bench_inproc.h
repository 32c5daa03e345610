/* A node opened in this process, its one compute worker pinned: what a search costs before any
 * protocol. Queries run as jobs of that worker, through the same qv_shard_query that the server
 * calls. Everything here is called from one other thread. */
#ifndef QV_CLI_BENCH_INPROC_H
#define QV_CLI_BENCH_INPROC_H

#include "base/err.h"

#include <stdint.h>

struct qv_bench_inproc;

/* Opens the store of dir (no server may run on it) for one collection. Gives. */
int qv_bench_inproc_open(const char *dir, const char *collection, int cpu,
                         struct qv_bench_inproc **out, struct qv_errmsg *msg) QV_MUST_USE;
/* Checkpoints and closes. NULL is fine; sets *x to NULL. */
void qv_bench_inproc_close(struct qv_bench_inproc **x);

struct qv_bench_pass {
    const float *rows; /* n queries of dim; borrowed */
    uint32_t n, dim, limit, ef;
    uint64_t *ids;    /* NULL, or n * limit for the answers, UINT64_MAX where there is none */
    uint64_t wall_ns; /* out */
    uint64_t cpu_ns;  /* out: of the worker */
};
/* Asks all queries once, in order. The first error of a query. */
int qv_bench_inproc_pass(struct qv_bench_inproc *x, struct qv_bench_pass *pass,
                         struct qv_errmsg *msg) QV_MUST_USE;

#endif
