/* Bodies of the REST API -> requests (core/api.h).
 *
 * Every reader: borrows body for as long as the result is used, puts the rest of the result into
 * the arena, fills *out completely (what a query string gives, see qv_json_read_params, keeps its
 * default), and returns, with a text in msg to which the caller adds what stands before it,
 *
 *   QV_EFORMAT      the bytes are not that body        400 "Format error in JSON body: TEXT"
 *   QV_EVALIDATION  a value out of bounds              422 "Validation error in JSON body: [TEXT]"
 *   QV_EINVAL       a meaning that can't be            400 "Wrong input: TEXT"
 *   QV_EBADREQ      likewise                           400 "Bad request: TEXT"
 *   QV_ENOTIMPL     known to the API, not served       501 TEXT ("Not implemented: NAME", whole)
 *   QV_ETOOBIG      the arena or a limit is full       413 TEXT
 *
 * On an error *out is not to be used. Fields the API does not know are ignored, null stands for an
 * absent optional field, of equal keys the last one counts. An empty body is a format error. Any
 * thread; an arena and a msg for each.
 *
 * What the API knows and we don't serve is in wire/not_served.h. */
#ifndef QV_WIRE_JSON_REQUEST_H
#define QV_WIRE_JSON_REQUEST_H

#include "core/api.h"

/* PUT /collections/{c}. Vectors get numbers 0.. in the order given (dense, then sparse),
 * next_number follows; qv_config_check has passed. */
QV_MUST_USE int qv_json_read_create_collection(struct qv_bytes body, struct qv_arena *a,
                                               struct qv_collection_config *out,
                                               struct qv_errmsg *msg);

/* PATCH /collections/{c}. */
QV_MUST_USE int qv_json_read_update_collection(struct qv_bytes body, struct qv_arena *a,
                                               struct qv_config_diff *out, struct qv_errmsg *msg);
/* PUT /collections/{c}/vectors/{name}: its kind and what can't be changed later. */
QV_MUST_USE int qv_json_read_vector_name(struct qv_bytes body, struct qv_arena *a,
                                         struct qv_str name, struct qv_vector_spec *out,
                                         struct qv_errmsg *msg);

/* PUT /quotas. */
QV_MUST_USE int qv_json_read_quota(struct qv_bytes body, struct qv_arena *a, struct qv_quota *out,
                                   struct qv_errmsg *msg);
/* POST /collections/{}/cluster. */
QV_MUST_USE int qv_json_read_cluster_update(struct qv_bytes body, struct qv_arena *a,
                                            struct qv_cluster_update *out, struct qv_errmsg *msg);

/* POST /collections/aliases. Names are as given. */
QV_MUST_USE int qv_json_read_aliases(struct qv_bytes body, struct qv_arena *a,
                                     struct qv_alias_req *out, struct qv_errmsg *msg);

/* PUT /collections/{c}/index. out->number is 0: the caller assigns it. */
QV_MUST_USE int qv_json_read_field_index(struct qv_bytes body, struct qv_arena *a,
                                         struct qv_payload_index *out, struct qv_errmsg *msg);

/* The body of one change:
 *   UPSERT             PUT  points            {"points": [..]} or {"batch": {..}}
 *   DELETE             POST points/delete     {"points": [ids]} or {"filter": ..}
 *   UPDATE_VECTORS     PUT  points/vectors
 *   DELETE_VECTORS     POST points/vectors/delete
 *   SET_PAYLOAD        POST points/payload
 *   OVERWRITE_PAYLOAD  PUT  points/payload
 *   DELETE_PAYLOAD     POST points/payload/delete
 *   CLEAR_PAYLOAD      POST points/payload/clear
 * Vectors are as given: whether they fit the collection is checked where it is known. */
QV_MUST_USE int qv_json_read_write(enum qv_write_type type, struct qv_bytes body,
                                   struct qv_arena *a, struct qv_write_op *out,
                                   struct qv_errmsg *msg);
/* POST points/batch; out->wait and the rest come from the query string. */
QV_MUST_USE int qv_json_read_batch(struct qv_bytes body, struct qv_arena *a,
                                   struct qv_write_req *out, struct qv_errmsg *msg);

/* POST points. */
QV_MUST_USE int qv_json_read_get(struct qv_bytes body, struct qv_arena *a, struct qv_get_req *out,
                                 struct qv_errmsg *msg);
QV_MUST_USE int qv_json_read_scroll(struct qv_bytes body, struct qv_arena *a,
                                    struct qv_scroll_req *out, struct qv_errmsg *msg);
QV_MUST_USE int qv_json_read_count(struct qv_bytes body, struct qv_arena *a,
                                   struct qv_count_req *out, struct qv_errmsg *msg);
/* POST facet. */
QV_MUST_USE int qv_json_read_facet(struct qv_bytes body, struct qv_arena *a,
                                   struct qv_facet_req *out, struct qv_errmsg *msg);

/* POST points/query, points/query/batch, points/search, points/search/batch. */
enum qv_json_query_form {
    QV_JSON_QUERY,
    QV_JSON_QUERY_BATCH,
    QV_JSON_SEARCH,
    QV_JSON_SEARCH_BATCH
};
QV_MUST_USE int qv_json_read_query(enum qv_json_query_form form, struct qv_bytes body,
                                   struct qv_arena *a, struct qv_query_req *out,
                                   struct qv_errmsg *msg);

/* A filter alone (a JSON object), sealed. For tests, fuzzing and the command line. */
QV_MUST_USE int qv_json_read_filter(struct qv_bytes body, struct qv_arena *a,
                                    const struct qv_filter **out, struct qv_errmsg *msg);

/* PUT .../snapshots/recover: location, checksum, api_key; priority is checked, and says nothing to
 * a node that is alone. Leaves the other fields of out as they are. */
QV_MUST_USE int qv_json_read_recover(struct qv_bytes body, struct qv_arena *a,
                                     struct qv_snapshot_req *out, struct qv_errmsg *msg);
/* The values that priority may have. */
bool qv_json_is_priority(struct qv_str s);

/* The id in a path, e.g. GET points/{id}: digits or a UUID. QV_EINVAL. */
QV_MUST_USE int qv_json_read_path_id(const char *text, size_t n, struct qv_id *out,
                                     struct qv_errmsg *msg);

/* What a query string may say, over all operations. Parameters it does not know are ignored. */
struct qv_json_params {
    bool wait;                                   /* wait=true; default false */
    enum qv_ordering ordering;                   /* default weak */
    struct qv_read_opts read;                    /* timeout (given in seconds), consistency */
    uint64_t timeout_ms;                         /* the same timeout, for writes; 0: none given */
    uint64_t details_level;                      /* of telemetry; default 0 */
    bool with_queued, with_completed, with_idle; /* with=.., of optimizations */
};
/* query: what follows '?', raw. QV_EBADREQ; QV_EVALIDATION for a timeout of 0. */
QV_MUST_USE int qv_json_read_params(const char *query, size_t n, struct qv_json_params *out,
                                    struct qv_errmsg *msg);

#endif
