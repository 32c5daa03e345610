/* The gRPC calls that are served: one table of path, request type and what it decodes to. */
#ifndef QV_WIRE_PB_METHOD_H
#define QV_WIRE_PB_METHOD_H

#include "base/err.h"

#include <protobuf-c/protobuf-c.h>

/* X(id, service, method, message): message is the C name of the request. */
#define QV_PB_METHODS(X)                                                                           \
    X(HEALTH, "qdrant.Qdrant", "HealthCheck", qv_pb__health_check_request)                         \
    X(GRPC_HEALTH, "grpc.health.v1.Health", "Check", qv_pb_grpc__health_check_request)             \
    X(COLLECTION_GET, "qdrant.Collections", "Get", qv_pb__get_collection_info_request)             \
    X(COLLECTION_LIST, "qdrant.Collections", "List", qv_pb__list_collections_request)              \
    X(COLLECTION_CREATE, "qdrant.Collections", "Create", qv_pb__create_collection)                 \
    X(COLLECTION_DELETE, "qdrant.Collections", "Delete", qv_pb__delete_collection)                 \
    X(COLLECTION_EXISTS, "qdrant.Collections", "CollectionExists",                                 \
      qv_pb__collection_exists_request)                                                            \
    X(COLLECTION_CLUSTER, "qdrant.Collections", "CollectionClusterInfo",                           \
      qv_pb__collection_cluster_info_request)                                                      \
    X(COLLECTION_UPDATE, "qdrant.Collections", "Update", qv_pb__update_collection)                 \
    X(ALIASES_UPDATE, "qdrant.Collections", "UpdateAliases", qv_pb__change_aliases)                \
    X(ALIASES_OF, "qdrant.Collections", "ListCollectionAliases",                                   \
      qv_pb__list_collection_aliases_request)                                                      \
    X(ALIASES_LIST, "qdrant.Collections", "ListAliases", qv_pb__list_aliases_request)              \
    X(SNAPSHOT_CREATE, "qdrant.Snapshots", "Create", qv_pb__create_snapshot_request)               \
    X(SNAPSHOT_LIST, "qdrant.Snapshots", "List", qv_pb__list_snapshots_request)                    \
    X(SNAPSHOT_DELETE, "qdrant.Snapshots", "Delete", qv_pb__delete_snapshot_request)               \
    X(FULL_SNAPSHOT_CREATE, "qdrant.Snapshots", "CreateFull", qv_pb__create_full_snapshot_request) \
    X(FULL_SNAPSHOT_LIST, "qdrant.Snapshots", "ListFull", qv_pb__list_full_snapshots_request)      \
    X(FULL_SNAPSHOT_DELETE, "qdrant.Snapshots", "DeleteFull", qv_pb__delete_full_snapshot_request) \
    X(UPSERT, "qdrant.Points", "Upsert", qv_pb__upsert_points)                                     \
    X(DELETE, "qdrant.Points", "Delete", qv_pb__delete_points)                                     \
    X(UPDATE_VECTORS, "qdrant.Points", "UpdateVectors", qv_pb__update_point_vectors)               \
    X(DELETE_VECTORS, "qdrant.Points", "DeleteVectors", qv_pb__delete_point_vectors)               \
    X(SET_PAYLOAD, "qdrant.Points", "SetPayload", qv_pb__set_payload_points)                       \
    X(OVERWRITE_PAYLOAD, "qdrant.Points", "OverwritePayload", qv_pb__set_payload_points)           \
    X(DELETE_PAYLOAD, "qdrant.Points", "DeletePayload", qv_pb__delete_payload_points)              \
    X(CLEAR_PAYLOAD, "qdrant.Points", "ClearPayload", qv_pb__clear_payload_points)                 \
    X(UPDATE_BATCH, "qdrant.Points", "UpdateBatch", qv_pb__update_batch_points)                    \
    X(CREATE_INDEX, "qdrant.Points", "CreateFieldIndex", qv_pb__create_field_index_collection)     \
    X(DELETE_INDEX, "qdrant.Points", "DeleteFieldIndex", qv_pb__delete_field_index_collection)     \
    X(VECTOR_CREATE, "qdrant.Points", "CreateVectorName", qv_pb__create_vector_name_request)       \
    X(VECTOR_DELETE, "qdrant.Points", "DeleteVectorName", qv_pb__delete_vector_name_request)       \
    X(GET, "qdrant.Points", "Get", qv_pb__get_points)                                              \
    X(SCROLL, "qdrant.Points", "Scroll", qv_pb__scroll_points)                                     \
    X(COUNT, "qdrant.Points", "Count", qv_pb__count_points)                                        \
    X(FACET, "qdrant.Points", "Facet", qv_pb__facet_counts)                                        \
    X(SEARCH, "qdrant.Points", "Search", qv_pb__search_points)                                     \
    X(SEARCH_BATCH, "qdrant.Points", "SearchBatch", qv_pb__search_batch_points)                    \
    X(QUERY, "qdrant.Points", "Query", qv_pb__query_points)                                        \
    X(QUERY_BATCH, "qdrant.Points", "QueryBatch", qv_pb__query_batch_points)

enum qv_pb_call {
#define X(id, service, method, message) QV_PB_##id,
    QV_PB_METHODS(X)
#undef X
        QV_PB_CALL_COUNT
};

/* "/qdrant.Points/Upsert" -> its call. QV_ENOTIMPL ("Not implemented: NAME") for a call that the
 * API has and we don't serve, QV_ENOTFOUND for any other path. path need not be NUL-terminated. */
QV_MUST_USE int qv_pb_method_find(const char *path, size_t n, enum qv_pb_call *out,
                                  struct qv_errmsg *msg);

const char *qv_pb_method_path(enum qv_pb_call call); /* "/qdrant.Points/Upsert"; static */
const ProtobufCMessageDescriptor *qv_pb_method_message(enum qv_pb_call call);

#endif
