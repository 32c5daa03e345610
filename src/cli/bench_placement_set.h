/* The data set of `quiver bench placement`: DIR/NAME.base.fbin, NAME.query.fbin and NAME.gt.ibin,
 * as `make bench-data` writes them. One thread opens and closes; reading rows is for any. */
#ifndef QV_CLI_BENCH_PLACEMENT_SET_H
#define QV_CLI_BENCH_PLACEMENT_SET_H

#include "base/metric.h"
#include "cli/vecfile.h"

#define QV_PLACEMENT_BENCH_K 10u

struct qv_placement_set {
    char name[64];
    char base_path[512];
    struct qv_vecfile base, query, truth;
    enum qv_metric metric;
    uint32_t n, dim, queries;
};

/* name: NULL: the one set that is there. metric: NULL: the one by which the true neighbours are in
 * order. QV_EINVAL, what opening a file gives. Close in any case. */
QV_MUST_USE int qv_placement_set_open(const char *dir, const char *name, const char *metric,
                                      struct qv_placement_set *out, struct qv_errmsg *msg);
void qv_placement_set_close(struct qv_placement_set *s);
const char *qv_placement_set_metric_name(const struct qv_placement_set *s);

/* The row as floats; QV_EINVAL: it has a NaN or an infinity. */
QV_MUST_USE int qv_placement_set_row(const struct qv_placement_set *s, uint32_t row, float *out,
                                     struct qv_errmsg *msg);
/* Number of the i-th nearest row, i < QV_PLACEMENT_BENCH_K. */
uint32_t qv_placement_set_true(const struct qv_placement_set *s, uint32_t query, uint32_t i);

#endif
