/* One API request on its way through the node, whatever protocol it came by.
 *
 *   loop thread   route: which operation, for which collection; admission (queue full: 429)
 *   worker        decode -> run; a read is answered here
 *   owner         collections are changed, writes ordered; they are answered there
 *
 * REST and gRPC fill the same struct and encode from it: what an operation does is written once, in
 * op_run.c. Lives in its call's arena, from the handler to the answer. */
#ifndef QV_SERVER_OP_H
#define QV_SERVER_OP_H

#include "base/logger.h"
#include "core/api.h"
#include "core/env.h"
#include "net/server.h"
#include "node/node_cluster.h"
#include "node/node_read.h"
#include "node/node_write.h"
#include "wire/json_request.h"

struct qv_edge;

enum qv_op_kind {
    QV_OP_SERVICE, /* GET /, HealthCheck */
    QV_OP_COLLECTION_LIST,
    QV_OP_COLLECTION_GET,
    QV_OP_COLLECTION_EXISTS,
    QV_OP_COLLECTION_CREATE,
    QV_OP_COLLECTION_DELETE,
    QV_OP_COLLECTION_UPDATE,
    QV_OP_VECTOR_CREATE,
    QV_OP_VECTOR_DELETE,
    QV_OP_ALIASES_UPDATE,
    QV_OP_ALIASES_OF, /* of one collection */
    QV_OP_ALIASES_LIST,
    QV_OP_INDEX_CREATE,
    QV_OP_INDEX_DELETE,
    QV_OP_WRITE,       /* one change */
    QV_OP_WRITE_BATCH, /* points/batch */
    QV_OP_GET,
    QV_OP_GET_ONE,
    QV_OP_SCROLL,
    QV_OP_COUNT,
    QV_OP_FACET,
    QV_OP_QUERY, /* points/query */
    QV_OP_QUERY_BATCH,
    QV_OP_SEARCH, /* points/search: the older form of the answer */
    QV_OP_SEARCH_BATCH,
    QV_OP_SNAPSHOT_LIST,
    QV_OP_SNAPSHOT_CREATE,
    QV_OP_SNAPSHOT_DELETE,
    QV_OP_SNAPSHOT_GET,    /* download */
    QV_OP_SNAPSHOT_STREAM, /* made, sent and removed */
    QV_OP_SNAPSHOT_RECOVER,
    QV_OP_SNAPSHOT_UPLOAD,
    QV_OP_OPTIMIZATIONS,
    QV_OP_ISSUES,
    QV_OP_ISSUES_CLEAR,
    QV_OP_QUOTAS,
    QV_OP_QUOTAS_SET,
    QV_OP_CLUSTER, /* to COLLECTION_CLUSTER: op_cluster.h */
    QV_OP_CLUSTER_STATUS,
    QV_OP_CLUSTER_TELEMETRY,
    QV_OP_CLUSTER_RECOVER,
    QV_OP_COLLECTION_CLUSTER,
    QV_OP_CLUSTER_REMOVE, /* a node that holds nothing */
    QV_OP_CLUSTER_DRAIN,  /* a node's shards go elsewhere */
    QV_OP_CLUSTER_FILL,   /* it may hold shards again */
    QV_OP_CLUSTER_UPDATE, /* a collection's shards */
    QV_OP_TELEMETRY,
    QV_OP_METRICS,
    QV_OP_GRPC_HEALTH,
    QV_OP_LOGGER_GET,
    QV_OP_LOGGER_SET,
    QV_OP_KIND_COUNT
};

struct qv_op {
    struct qv_edge *edge;
    struct qv_call *call;
    enum qv_op_kind kind;
    bool grpc;
    bool accepted; /* the work goes on: 202 */
    uint64_t start_ns;
    uint64_t timeout_ms;      /* asked for by the request; 0: none */
    struct qv_stop stop;      /* its deadline, or the client has gone */
    uint64_t retry_s;         /* an error 429: when to come again; 0: soon */
    struct qv_str collection; /* decoded name */
    struct qv_str third;      /* REST: the third captured segment (snapshot of a shard), decoded */
    struct qv_str rest;       /* REST: the last captured segment (point id, field name), decoded */
    enum qv_write_type write_type; /* REST, QV_OP_WRITE: which body */
    struct qv_json_params params;  /* REST: what the query string says */
    int pb_call;                   /* gRPC: enum qv_pb_call */

    union {
        struct qv_collection_config *config; /* COLLECTION_CREATE */
        struct qv_quota quota;               /* QUOTAS_SET */
        struct qv_config_diff diff;          /* COLLECTION_UPDATE */
        struct {
            struct qv_str name;
            struct qv_vector_spec spec; /* VECTOR_CREATE */
        } vector;
        struct qv_alias_req aliases;      /* ALIASES_UPDATE */
        struct qv_cluster_update cluster; /* CLUSTER_UPDATE */
        struct qv_payload_index index;    /* INDEX_CREATE, INDEX_DELETE (field) */
        struct qv_write_req write;
        struct qv_get_req get;
        struct qv_scroll_req scroll;
        struct qv_count_req count;
        struct qv_facet_req facet;
        struct qv_query_req query;
        uint64_t member;             /* CLUSTER_REMOVE */
        enum qv_log_level log_level; /* LOGGER_SET */
        struct qv_snapshot_req snapshot;
    } req;

    union {
        bool done; /* create, delete, exists */
        struct {
            struct qv_str *names;
            uint32_t count;
        } names;
        struct qv_aliases_out aliases;
        struct qv_collection_info info;
        struct qv_shard_info shard; /* OPTIMIZATIONS */
        struct qv_points_out points;
        struct qv_points_out *lists; /* one per query */
        struct qv_scroll_out scroll;
        struct qv_facet_out facet;
        uint64_t count;
        struct qv_write_result result; /* of index operations */
        struct qv_snapshots_out snapshots;
        struct {
            struct qv_snapshot_desc *made; /* CREATE, STREAM */
            int fd;                        /* GET, STREAM: open */
        } snapshot;
    } out;

    const struct qv_topology *topology; /* held while out refers to it */
    struct qv_shard *shard;             /* likewise */
    struct qv_job job;
    uint64_t held_since_ns; /* answers before this one wait for it since then; 0: none */
    struct qv_task task;
    struct qv_node_write write;
    struct qv_node_change change;
    struct qv_node_read *read;     /* over several shards; held while out refers to it */
    struct qv_node_survey *survey; /* of other nodes; likewise */
    struct qv_errmsg msg;
};

/* Decodes the call into op->req, by protocol: rest.c, rpc.c. On a worker. */
QV_MUST_USE int qv_op_decode_rest(struct qv_op *op);
QV_MUST_USE int qv_op_decode_grpc(struct qv_op *op);

/* What the op, a read of points, may take beside what is read; NULL: it is none. */
struct qv_read_opts *qv_op_read_opts(struct qv_op *op);

/* op_strict.c: what the collection's strict mode and its rates say of a decoded op. Its shard (of
 * those that have one) and topology are held. On a worker. QV_EBADREQ, QV_EBUSY. */
QV_MUST_USE int qv_op_strict(struct qv_op *op);

/* Queues the op; answers 429 when the queue is full. Loop thread. */
void qv_op_start(struct qv_op *op);

/* Encodes and sends the answer (err 0) or the error; gives the call back. Any thread, once. */
void qv_op_answer(struct qv_op *op, int err);
void qv_op_answer_rest(struct qv_op *op, int err);
void qv_op_answer_grpc(struct qv_op *op, int err);

double qv_op_seconds(const struct qv_op *op);

#endif
