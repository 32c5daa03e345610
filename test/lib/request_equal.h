/* Are requests and answers the same in core's terms? NULL, or the name of the first thing that
 * differs. Floats and documents are compared by their bits; of a union what its type uses; stops,
 * deadlines and callbacks are not looked at. */
#ifndef QV_TEST_REQUEST_EQUAL_H
#define QV_TEST_REQUEST_EQUAL_H

#include "core/shard_ops.h"

const char *request_differ_path(const struct qv_path *a, const struct qv_path *b);
const char *request_differ_vec(const struct qv_vec *a, const struct qv_vec *b);
const char *request_differ_filter(const struct qv_filter *a, const struct qv_filter *b);
const char *request_differ_query(const struct qv_query *a, const struct qv_query *b);
const char *request_differ_write_op(const struct qv_write_op *a, const struct qv_write_op *b);
const char *request_differ_ask(const struct qv_ask *a, const struct qv_ask *b);
const char *request_differ_points(const struct qv_points_out *a, const struct qv_points_out *b);
const char *request_differ_answer(const struct qv_ask *ask, const struct qv_leg_answer *a,
                                  const struct qv_leg_answer *b);

#endif
