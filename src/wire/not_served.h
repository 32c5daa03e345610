/* What the API knows and this release does not serve: one table, for both protocols, the server's
 * routes and docs/api.md. Nothing in it is ever dropped in silence: it answers QV_ENOTIMPL with
 * "Not implemented: NAME" (501, UNIMPLEMENTED). A row goes when the thing is served. */
#ifndef QV_WIRE_NOT_SERVED_H
#define QV_WIRE_NOT_SERVED_H

#include "base/err.h"

#include <stddef.h>

/* Parts of requests that are served otherwise.
 * X(id, name, where): name as the API writes it; where: the requests it may stand in. */
#define QV_NOT_SERVED_FIELDS(X)                                                                    \
    X(SHARD_KEY, "shard_key", "every request on points")                                           \
    X(PREFETCH, "prefetch", "query")                                                               \
    X(LOOKUP_FROM, "lookup_from", "query")                                                         \
    X(RECOMMEND, "recommend", "query")                                                             \
    X(DISCOVER, "discover", "query")                                                               \
    X(CONTEXT, "context", "query")                                                                 \
    X(FUSION, "fusion", "query")                                                                   \
    X(RRF, "rrf", "query")                                                                         \
    X(FORMULA, "formula", "query")                                                                 \
    X(RELEVANCE_FEEDBACK, "relevance_feedback", "query")                                           \
    X(MMR, "mmr", "query: nearest")                                                                \
    X(DOCUMENT, "document", "vectors (inference from text)")                                       \
    X(IMAGE, "image", "vectors (inference from an image)")                                         \
    X(OBJECT, "object", "vectors (inference from an object)")                                      \
    X(ACORN, "params.acorn", "query, search")                                                      \
    X(IDF, "params.idf", "query, search")                                                          \
    X(QUANT_PRODUCT, "quantization_config.product", "create collection")                           \
    X(QUANT_TURBO, "quantization_config.turbo", "create collection")                               \
    X(DATATYPE_TURBO4, "datatype turbo4", "create collection")                                     \
    X(MEMORY, "memory", "create collection: vectors, hnsw, quantization, sparse index, payload")   \
    X(PREVENT_UNOPTIMIZED, "optimizers_config.prevent_unoptimized", "create collection")           \
    X(SHARDING_CUSTOM, "sharding_method custom", "create collection")                              \
    X(INIT_FROM, "init_from", "create collection")                                                 \
    X(PLACEMENT_CLUSTER, "quiver.placement.strategy cluster", "create collection")                 \
    X(QUIVER_CHANGE, "quiver", "update collection")                                                \
    X(REPLICATE_SHARD, "replicate_shard", "update of a collection's cluster")                      \
    X(DROP_REPLICA, "drop_replica", "update of a collection's cluster")                            \
    X(CREATE_SHARDING_KEY, "create_sharding_key", "update of a collection's cluster")              \
    X(DROP_SHARDING_KEY, "drop_sharding_key", "update of a collection's cluster")                  \
    X(RESTART_TRANSFER, "restart_transfer", "update of a collection's cluster")                    \
    X(START_RESHARDING, "start_resharding", "update of a collection's cluster")                    \
    X(ABORT_RESHARDING, "abort_resharding", "update of a collection's cluster")                    \
    X(REPLICATE_POINTS, "replicate_points", "update of a collection's cluster")                    \
    X(QUIVER_REPLICATION, "quiver.replication", "create collection (but leader)")                  \
    X(QUIVER_REGIONS, "quiver.regions", "create collection")

/* Whole operations. X(name, method, path, grpc): {} stands for one segment of the path; grpc is
 * "Service/Method" in package qdrant; "" where there is none. */
#define QV_NOT_SERVED_OPERATIONS(X)                                                                \
    X("query_points_groups", "POST", "/collections/{}/points/query/groups", "Points/QueryGroups")  \
    X("search_points_groups", "POST", "/collections/{}/points/search/groups",                      \
      "Points/SearchGroups")                                                                       \
    X("recommend_points", "POST", "/collections/{}/points/recommend", "Points/Recommend")          \
    X("recommend_batch_points", "POST", "/collections/{}/points/recommend/batch",                  \
      "Points/RecommendBatch")                                                                     \
    X("recommend_points_groups", "POST", "/collections/{}/points/recommend/groups",                \
      "Points/RecommendGroups")                                                                    \
    X("discover_points", "POST", "/collections/{}/points/discover", "Points/Discover")             \
    X("discover_batch_points", "POST", "/collections/{}/points/discover/batch",                    \
      "Points/DiscoverBatch")                                                                      \
    X("search_matrix_pairs", "POST", "/collections/{}/points/search/matrix/pairs",                 \
      "Points/SearchMatrixPairs")                                                                  \
    X("search_matrix_offsets", "POST", "/collections/{}/points/search/matrix/offsets",             \
      "Points/SearchMatrixOffsets")                                                                \
    X("update_collection_cluster", "", "", "Collections/UpdateCollectionClusterSetup")             \
    X("list_shard_keys", "GET", "/collections/{}/shards", "Collections/ListShardKeys")             \
    X("create_shard_key", "PUT", "/collections/{}/shards", "Collections/CreateShardKey")           \
    X("delete_shard_key", "POST", "/collections/{}/shards/delete", "Collections/DeleteShardKey")   \
    X("list_metadata_keys", "GET", "/cluster/metadata/keys", "")                                   \
    X("get_metadata_key", "GET", "/cluster/metadata/keys/{}", "")                                  \
    X("set_metadata_key", "PUT", "/cluster/metadata/keys/{}", "")

enum qv_not_served {
#define X(id, name, where) QV_NOT_SERVED_##id,
    QV_NOT_SERVED_FIELDS(X)
#undef X
        QV_NOT_SERVED_COUNT
};

/* "prefetch"; a static text. */
const char *qv_not_served_name(enum qv_not_served what);
/* Fills msg with "Not implemented: NAME" and returns QV_ENOTIMPL. */
int qv_not_served_fail(enum qv_not_served what, struct qv_errmsg *msg);

struct qv_not_served_operation {
    const char *name;
    const char *method; /* "POST" */
    const char *path;   /* "/collections/{}/facet" */
    const char *grpc;   /* "Points/Facet", or "" */
};
/* The table above, constant. */
extern const struct qv_not_served_operation qv_not_served_operations[];
extern const size_t qv_not_served_operation_count;

#endif
