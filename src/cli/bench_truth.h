/* What `quiver bench index` judges answers by: a hit is a returned row not farther from the query
 * than the true tenth, so that of equal rows any will do.
 *
 * Kept a query: the distance of the true tenth, and the numbers of up to 16 rows that are not
 * farther. Where more may be (many equal rows, or a file of truths that ends at the tenth), a
 * returned row that is not among them is read from the base file again and measured. The file is
 * mapped for that time only, so that it does not count as the index's memory.
 *
 * Threads: compute may run on any number at once; everything else on one. */
#ifndef QV_CLI_BENCH_TRUTH_H
#define QV_CLI_BENCH_TRUTH_H

#include "base/err.h"
#include "base/metric.h"
#include "index/rows_view.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define QV_CLI_BENCH_K 10u

/* What is asked about. */
struct qv_cli_bench_rows {
    const char *path;             /* of the rows; borrowed until close */
    struct qv_rows rows, queries; /* borrowed: rows until the truth is known, queries until close */
    enum qv_metric metric;
    enum qv_dtype dtype;
    bool unit;     /* rows were scaled to unit length after they were read */
    uint32_t n, q; /* rows and queries, >= 1 */
    uint32_t dim;
};

struct qv_cli_bench_truth {
    struct qv_cli_bench_rows set;
    float *bounds;         /* a query: what a hit's distance is at most */
    uint32_t *near;        /* a query: 16 rows, QV_SLOT_NONE where there are fewer */
    bool *whole;           /* a query: near holds every row within the bound */
    _Atomic uint32_t next; /* query that nobody computes yet */
};

/* Copies set. An exit code: 0, or 1 without memory, which was said. Close in either case. */
QV_MUST_USE int qv_cli_bench_truth_open(struct qv_cli_bench_truth *t,
                                        const struct qv_cli_bench_rows *set);
/* From a file of true neighbours, nearest first. An exit code; 2: it does not fit, which was said.
 */
QV_MUST_USE int qv_cli_bench_truth_read(struct qv_cli_bench_truth *t, const char *path);
/* By exact search; returns when no query is left to begin. */
void qv_cli_bench_truth_compute(struct qv_cli_bench_truth *t);
/* The hits among found, QV_CLI_BENCH_K a query (QV_SLOT_NONE where fewer were returned), of the
 * queries from <= i < to. An exit code; 2: the base file is not what it was. */
QV_MUST_USE int qv_cli_bench_truth_hits(const struct qv_cli_bench_truth *t, uint32_t from,
                                        uint32_t to, const uint32_t *found, uint64_t *hits);
void qv_cli_bench_truth_close(struct qv_cli_bench_truth *t); /* zeros are closed too */

#endif
