/* Answers (core/api.h) -> JSON bodies of the REST API, appended to a qv_buf.
 *
 * An answer is qv_json_begin_answer, one of the writers of a result, qv_json_end_answer. A writer
 * never fails; a full buffer sets b->failed, looked at once at the end. Optional fields that have
 * no value are left out, where the API's servers print them as null so do we. Any thread. */
#ifndef QV_WIRE_JSON_ANSWER_H
#define QV_WIRE_JSON_ANSWER_H

#include "core/api.h"

/* {"result": RESULT ,"status":"ok","time":0.001} ; accepted: status "accepted" (202). */
void qv_json_begin_answer(struct qv_buf *b);
void qv_json_end_answer(struct qv_buf *b, bool accepted, double seconds);
/* The whole body of a failure: {"status":{"error":TEXT},"time":0.001}. text: valid UTF-8, or is
 * repaired. */
void qv_json_write_error(struct qv_buf *b, const char *text, double seconds);

void qv_json_write_true(struct qv_buf *b, bool v); /* create, delete, ...: true or false */
void qv_json_write_id(struct qv_buf *b, const struct qv_id *id);
/* A vector in its own form: [..], [[..]], {"indices","values"}. */
void qv_json_write_vec(struct qv_buf *b, const struct qv_vec *v);

/* Records: id, payload, vector. get many, get one, scroll. */
void qv_json_write_record(struct qv_buf *b, const struct qv_point_out *p);
void qv_json_write_records(struct qv_buf *b, const struct qv_points_out *points); /* [..] */
void qv_json_write_scroll(struct qv_buf *b, const struct qv_scroll_out *out);

/* Scored points: also version and score. Where it was asked for, the plan: in the result of a query
 * ("quiver": {"plan": {..}}), beside the list or lists that are the result of a search. */
void qv_json_write_hits(struct qv_buf *b, const struct qv_points_out *points); /* search: [..] */
void qv_json_write_hits_batch(struct qv_buf *b, const struct qv_points_out *lists, uint32_t count);
void qv_json_write_query(struct qv_buf *b,
                         const struct qv_points_out *points); /* {"points":[..]} */
void qv_json_write_query_batch(struct qv_buf *b, const struct qv_points_out *lists, uint32_t count);

void qv_json_write_count(struct qv_buf *b, uint64_t count);
void qv_json_write_facet(struct qv_buf *b, const struct qv_facet_out *out);
/* operation_id and status; of a batch: [..] */
void qv_json_write_update(struct qv_buf *b, const struct qv_write_result *r);
void qv_json_write_updates(struct qv_buf *b, const struct qv_write_result *r, uint32_t count);

void qv_json_write_collections(struct qv_buf *b, const struct qv_str *names, uint32_t count);
void qv_json_write_aliases(struct qv_buf *b, const struct qv_aliases_out *aliases);
void qv_json_write_snapshot(struct qv_buf *b, const struct qv_snapshot_desc *d);
void qv_json_write_snapshots(struct qv_buf *b, const struct qv_snapshots_out *out);
void qv_json_write_quota(struct qv_buf *b, const struct qv_quota *q); /* as it is stored, too */
void qv_json_write_quota_status(struct qv_buf *b, const struct qv_quota *q,
                                const struct qv_quota_usage *usage);
void qv_json_write_exists(struct qv_buf *b, bool exists);
/* The full echo, defaults filled in as the API's servers fill them. */
void qv_json_write_collection(struct qv_buf *b, const struct qv_collection_info *info);
/* GET /: the whole body, without an envelope. */
void qv_json_write_service(struct qv_buf *b, const char *api_version, const char *commit,
                           const char *version);

/* ---- the configuration as the metadata file keeps it ----
 *
 * The body of create-collection that makes it, plus "number" in every vector, "next_number",
 * "generation" and "payload_indexes". Written and read back it is the same value, defaults unset as
 * they were. */
void qv_json_config_write(struct qv_buf *b, const struct qv_collection_config *c,
                          uint64_t generation);
/* Borrows text, the rest is in the arena. QV_EFORMAT, QV_EVALIDATION, QV_ETOOBIG. */
QV_MUST_USE int qv_json_config_read(struct qv_bytes text, struct qv_arena *a,
                                    struct qv_collection_config *out, uint64_t *generation,
                                    struct qv_errmsg *msg);

#endif
