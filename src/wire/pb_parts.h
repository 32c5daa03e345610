/* Parts that many requests share: ids, vectors, filters, selectors, consistency. Each takes an
 * unpacked message that passed the guard. Results live in the arena and borrow the message. Private
 * to the protobuf half of wire. */
#ifndef QV_WIRE_PB_PARTS_H
#define QV_WIRE_PB_PARTS_H

#include "core/api.h"
#include "proto/quiver_points.pb-c.h"
#include "wire/pb_value.h"

/* Text that may be absent; borrows. */
struct qv_str qv_pb_str(const char *s);
/* An array of n zeroed elements in the arena, at least one; NULL and msg when it is full. */
void *qv_pb_array(struct qv_pb_ctx *c, size_t n, size_t bytes);
#define QV_PB_ARRAY(c, type, n) ((type *)qv_pb_array((c), (n), sizeof(type)))
/* Sets a limit's error where n exceeds max. */
QV_MUST_USE int qv_pb_check_count(struct qv_pb_ctx *c, const char *what, size_t n, size_t max);
/* Seconds (0 when absent) as milliseconds; 0 given is an error. */
QV_MUST_USE int qv_pb_timeout(struct qv_pb_ctx *c, bool has, uint64_t seconds, uint64_t *ms);

QV_MUST_USE int qv_pb_id(struct qv_pb_ctx *c, const QvPb__PointId *m, struct qv_id *out);
QV_MUST_USE int qv_pb_ids(struct qv_pb_ctx *c, QvPb__PointId *const *m, size_t n,
                          const struct qv_id **out, uint32_t *count);

/* f32 values that are all finite? */
bool qv_pb_all_finite(const float *v, size_t n);
QV_MUST_USE int qv_pb_dense(struct qv_pb_ctx *c, const float *v, size_t n, struct qv_vec *out);
/* Indices are sorted here; equal ones are an error. */
QV_MUST_USE int qv_pb_sparse(struct qv_pb_ctx *c, const float *values, size_t n_values,
                             const uint32_t *indices, size_t n_indices, struct qv_vec *out);
QV_MUST_USE int qv_pb_multi(struct qv_pb_ctx *c, const QvPb__MultiDenseVector *m,
                            struct qv_vec *out);
QV_MUST_USE int qv_pb_vectors(struct qv_pb_ctx *c, const QvPb__Vectors *m,
                              const struct qv_named_vec **out, uint32_t *count);

/* Seals the tree. NULL in, NULL out. */
QV_MUST_USE int qv_pb_filter(struct qv_pb_ctx *c, const QvPb__Filter *m,
                             const struct qv_filter **out);

/* A payload path; keys borrow text. */
QV_MUST_USE int qv_pb_path(struct qv_pb_ctx *c, struct qv_str text, struct qv_path *out);
QV_MUST_USE int qv_pb_paths(struct qv_pb_ctx *c, char *const *text, size_t n,
                            const struct qv_path **out, uint32_t *count);
QV_MUST_USE int qv_pb_names(struct qv_pb_ctx *c, char *const *text, size_t n,
                            const struct qv_str **out, uint32_t *count);
/* absent: what no selector at all means. */
QV_MUST_USE int qv_pb_payload_select(struct qv_pb_ctx *c, const QvPb__WithPayloadSelector *m,
                                     enum qv_select_mode absent, struct qv_payload_select *out);
QV_MUST_USE int qv_pb_vector_select(struct qv_pb_ctx *c, const QvPb__WithVectorsSelector *m,
                                    struct qv_vector_select *out);
QV_MUST_USE int qv_pb_point_select(struct qv_pb_ctx *c, const QvPb__PointsSelector *m,
                                   struct qv_point_select *out);

QV_MUST_USE int qv_pb_consistency(struct qv_pb_ctx *c, const QvPb__ReadConsistency *m,
                                  uint32_t *out);
QV_MUST_USE int qv_pb_ordering(struct qv_pb_ctx *c, const QvPb__WriteOrdering *m,
                               enum qv_ordering *out);

#endif
