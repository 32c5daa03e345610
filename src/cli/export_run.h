/* The pump of `quiver export`: who comes next is asked page by page, ids only, which is quick; the
 * points of the pages are fetched several at a time and written in order.
 *
 * A point that is deleted between the two questions is left out, one that is changed comes as it is
 * then: an export of a collection that is being written to is no snapshot of one moment. Repeats
 * what failed for a passing reason, with growing pauses, for retry_ms. One thread. */
#ifndef QV_CLI_EXPORT_RUN_H
#define QV_CLI_EXPORT_RUN_H

#include "cli/export_sink.h"
#include "cli/progress.h"
#include "cli/target.h"

#define QV_EXPORT_IN_FLIGHT_MAX 64u

struct qv_export_run {
    /* given; borrowed for the run */
    struct qv_target *target;
    struct qv_export_sink *sink; /* its `next` is where to begin; "" : at the first point */
    const char *filter;          /* JSON object, checked; NULL: all */
    uint32_t batch;              /* points a page */
    uint32_t in_flight;          /* pages, <= QV_EXPORT_IN_FLIGHT_MAX */
    uint32_t retry_ms;
    struct qv_progress *progress;
    /* results */
    uint64_t pages;
    uint64_t retries;
};

/* 0: everything is in the sink. Otherwise msg says why not, and what the sink holds is whole. */
QV_MUST_USE int qv_export_run(struct qv_export_run *x, struct qv_errmsg *msg);

#endif
