/* Log lines about single requests: those that took long, and those that failed on our side. One
 * structured line each, with the request's id; at most ten a second, and how many were left out is
 * said in the next one. Any thread. */
#ifndef QV_SERVER_REQUEST_LOG_H
#define QV_SERVER_REQUEST_LOG_H

#include "server/op.h"

#include <stdatomic.h>

struct qv_request_log {
    uint64_t slow_ns;            /* 0: none is slow */
    atomic_uint_fast64_t second; /* the one that is being counted */
    atomic_uint told, left_out;
};

void qv_request_log_init(struct qv_request_log *log, uint64_t slow_ms);
/* An operation ended with err after so many ns; its call is still there. */
void qv_request_log_note(struct qv_request_log *log, const struct qv_op *op, int err, uint64_t ns);

#endif
