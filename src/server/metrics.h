/* Counters of the edge and the exposition of all metrics. */
#ifndef QV_SERVER_METRICS_H
#define QV_SERVER_METRICS_H

#include "base/buf.h"
#include "server/op.h"

struct qv_metrics;

struct qv_metrics *qv_metrics_create(uint64_t boot_ns /* now */); /* gives */
void qv_metrics_destroy(struct qv_metrics **m);

const char *qv_metrics_op_name(enum qv_op_kind kind);

/* An operation was answered. Any thread. */
void qv_metrics_op(struct qv_metrics *m, enum qv_op_kind kind, int err, uint64_t ns);

/* Prometheus text format, version 0.0.4. */
void qv_metrics_write(struct qv_edge *edge, struct qv_buf *b);
/* The result object of GET /telemetry; from details_level 1 on with a line a collection. */
void qv_metrics_write_telemetry(struct qv_edge *edge, uint64_t details_level, struct qv_buf *b);

#endif
