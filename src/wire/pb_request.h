/* gRPC requests -> core/api.h.
 *
 * qv_pb_request_decode guards the bytes (wire/pb_guard.h), unpacks and converts them. The result
 * lives in the arena and borrows body (float arrays that happen to be aligned, strings): keep both
 * until the call is answered. Texts of errors carry no prefix but "Not implemented: NAME"
 * (wire/not_served.h). Fields unknown to the API are ignored. Any thread.
 *
 * Defaults that differ from REST, as that API has them: Get answers no payload unless asked,
 * Scroll does. */
#ifndef QV_WIRE_PB_REQUEST_H
#define QV_WIRE_PB_REQUEST_H

#include "core/api.h"
#include "wire/pb_method.h"

struct qv_pb_index_req {           /* CREATE_INDEX, DELETE_INDEX */
    struct qv_payload_index index; /* number unset; DELETE_INDEX: only field */
    bool wait;
    enum qv_ordering ordering;
    uint64_t timeout_ms; /* 0: none given */
};

struct qv_pb_vector_req {       /* VECTOR_CREATE, VECTOR_DELETE */
    struct qv_vector_spec spec; /* VECTOR_CREATE */
    struct qv_str name;
    uint64_t timeout_ms; /* 0: none given */
};

struct qv_pb_request {
    enum qv_pb_call call;
    struct qv_str collection; /* empty where the call has none; else checked to be not empty */
    uint64_t timeout_ms;      /* of a call on a collection as a whole; 0: none given */
    union {
        struct qv_collection_config *config; /* COLLECTION_CREATE */
        struct qv_config_diff diff;          /* COLLECTION_UPDATE */
        struct qv_pb_vector_req vector;
        struct qv_alias_req aliases; /* ALIASES_UPDATE */
        struct qv_write_req write;   /* UPSERT .. CLEAR_PAYLOAD, UPDATE_BATCH */
        struct qv_pb_index_req index;
        struct qv_get_req get;
        struct qv_scroll_req scroll;
        struct qv_count_req count;
        struct qv_facet_req facet;
        struct qv_query_req query;       /* SEARCH .. QUERY_BATCH */
        struct qv_str service;           /* GRPC_HEALTH */
        struct qv_snapshot_req snapshot; /* SNAPSHOT_.., FULL_SNAPSHOT_..: name */
    } u;
};

/* QV_EBADREQ (malformed), QV_EINVAL, QV_EVALIDATION, QV_ENOTIMPL, QV_ETOOBIG, QV_ENOMEM. */
QV_MUST_USE int qv_pb_request_decode(enum qv_pb_call call, struct qv_bytes body,
                                     struct qv_arena *arena, struct qv_pb_request *out,
                                     struct qv_errmsg *msg);

#endif
