/* Private to src/server: the REST side. */
#ifndef QV_SERVER_REST_H
#define QV_SERVER_REST_H

#include "server/op.h"

/* Routes and starts, or answers at once. Loop thread. */
void qv_rest_handle(struct qv_edge *edge, struct qv_call *call);
/* May a read-only key make this call? */
bool qv_rest_reads(const struct qv_call *call);
/* Answers with an error before the body is read (401, 403). */
void qv_rest_refuse(struct qv_call *call, int err, const char *text);

/* Every route served, in the order of its table. */
void qv_rest_each_route(void (*visit)(void *arg, const char *method, const char *path), void *arg);

/* on_headers, for paths that may be of snapshots. */
void qv_rest_prepare_snapshot(struct qv_edge *edge, struct qv_call *call);

#endif
