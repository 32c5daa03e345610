/* A set of vectors in memory for the benches of the index alone: f32 rows, of unit length for
 * cosine; who is nearest; one search as a collection in default mode does it. */
#ifndef QV_CLI_BENCH_SET_H
#define QV_CLI_BENCH_SET_H

#include "base/err.h"
#include "index/hnsw.h"

#define QV_BENCH_K 10u

struct qv_bench_set {
    enum qv_metric metric; /* DOT of unit rows for cosine */
    uint32_t n, dim, queries;
    float *base;
    float *query;
};

struct qv_bench_set_files {
    const char *base, *query;    /* .fbin */
    const char *metric;          /* "l2", "cosine" */
    uint32_t n_max, queries_max; /* the first so many */
};

/* QV_EINVAL, QV_ENOMEM, what opening a file gives. */
int qv_bench_set_open(const struct qv_bench_set_files *files, struct qv_bench_set *out,
                      struct qv_errmsg *msg) QV_MUST_USE;
void qv_bench_set_close(struct qv_bench_set *s); /* may be called twice */

struct qv_hnsw_params qv_bench_set_params(const struct qv_bench_set *s, uint32_t slots);

/* bounds[q] = the distance of query q's true tenth among rows 0 .. n - 1. */
void qv_bench_set_truth(const struct qv_bench_set *s, const struct qv_rows *rows, uint32_t n,
                        float *bounds);

/* Who asks what; all borrowed. */
struct qv_bench_asker {
    const struct qv_bench_set *set;
    const struct qv_rows *rows;
    const struct qv_hnsw *h;
    struct qv_hnsw_ctx *ctx;
    uint32_t ef;
};

/* Searches the graph for query q, ranks by the rows. hits: how many of the nearest QV_BENCH_K are
 * within bound. Gives the ns it took. */
double qv_bench_set_ask(const struct qv_bench_asker *a, uint32_t q, float bound, uint32_t *hits);

#endif
