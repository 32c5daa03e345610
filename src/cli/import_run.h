/* The pump of `quiver import`: reads points, keeps several batches in flight as gRPC upserts,
 * repeats what may be repeated, and knows up to where everything is acknowledged.
 *
 * A put may be repeated whatever became of it, so a batch is sent again after "too busy" (429),
 * "unavailable" (503), a lost connection and a timeout, with growing pauses, until it has failed
 * for retry_ms. Batches overlap: where one input names an id twice, the later line wins for certain
 * only with one batch in flight. One thread. */
#ifndef QV_CLI_IMPORT_RUN_H
#define QV_CLI_IMPORT_RUN_H

#include "cli/import_state.h"
#include "cli/progress.h"
#include "cli/source.h"
#include "cli/target.h"

#define QV_IMPORT_IN_FLIGHT_MAX 256u

struct qv_import_run {
    /* given; borrowed for the run */
    struct qv_target *target;
    struct qv_source *source; /* at the first point to send */
    const struct qv_import_state *state;
    uint32_t batch;     /* points; fewer where they are large */
    uint32_t in_flight; /* batches, <= QV_IMPORT_IN_FLIGHT_MAX */
    uint32_t retry_ms;
    struct qv_progress *progress;
    /* results */
    uint64_t acked;       /* points from the beginning of the source that are all acknowledged */
    uint64_t sent_points; /* acknowledged in this run */
    uint64_t bytes;       /* of acknowledged messages */
    uint64_t batches;
    uint64_t retries;
};

/* 0: everything is acknowledged. Otherwise msg says why not; `acked` holds in any case. */
QV_MUST_USE int qv_import_run(struct qv_import_run *x, struct qv_errmsg *msg);

#endif
