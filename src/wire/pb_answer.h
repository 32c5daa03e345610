/* Answers -> gRPC messages, appended to a qv_buf: the message alone, without gRPC's frame. Written
 * straight from core/api.h, no message object in between; a writer never fails, a full buffer sets
 * b->failed. seconds: the `time` of the answer. Any thread.
 *
 * A vector is given in both of the API's forms, the old (data, indices, vectors_count) and the new
 * (dense, sparse, multi_dense): clients of every age read one of them. */
#ifndef QV_WIRE_PB_ANSWER_H
#define QV_WIRE_PB_ANSWER_H

#include "core/api.h"

void qv_pb_answer_health(struct qv_buf *b, const char *title, const char *version,
                         const char *commit);
/* serving false: NOT_SERVING. A service that is not known is a NOT_FOUND of the call instead. */
void qv_pb_answer_grpc_health(struct qv_buf *b, bool serving);

/* Collections: Create, Delete. */
void qv_pb_answer_done(struct qv_buf *b, bool result, double seconds);
void qv_pb_answer_snapshot(struct qv_buf *b, const struct qv_snapshot_desc *d, double seconds);
void qv_pb_answer_snapshots(struct qv_buf *b, const struct qv_snapshots_out *out, double seconds);
void qv_pb_answer_snapshot_deleted(struct qv_buf *b, double seconds);
void qv_pb_answer_aliases(struct qv_buf *b, const struct qv_aliases_out *aliases, double seconds);
void qv_pb_answer_exists(struct qv_buf *b, bool exists, double seconds);
void qv_pb_answer_collections(struct qv_buf *b, const struct qv_str *names, uint32_t count,
                              double seconds);
void qv_pb_answer_collection(struct qv_buf *b, const struct qv_collection_info *info,
                             double seconds);

/* Points: every change and the two index calls; UpdateBatch. */
void qv_pb_answer_update(struct qv_buf *b, const struct qv_write_result *r, double seconds);
void qv_pb_answer_updates(struct qv_buf *b, const struct qv_write_result *r, uint32_t count,
                          double seconds);

void qv_pb_answer_hits(struct qv_buf *b, const struct qv_points_out *points,
                       double seconds); /* Search, Query */
void qv_pb_answer_hits_batch(struct qv_buf *b, const struct qv_points_out *lists, uint32_t count,
                             double seconds); /* SearchBatch, QueryBatch */
void qv_pb_answer_records(struct qv_buf *b, const struct qv_points_out *points,
                          double seconds); /* Get */
void qv_pb_answer_scroll(struct qv_buf *b, const struct qv_scroll_out *out, double seconds);
void qv_pb_answer_facet(struct qv_buf *b, const struct qv_facet_out *out, double seconds);
void qv_pb_answer_count(struct qv_buf *b, uint64_t count, double seconds);

#endif
