/* The API's front: the network server's handler, routing to operations, authentication. */
#ifndef QV_SERVER_EDGE_H
#define QV_SERVER_EDGE_H

#include "net/server.h"
#include "node/node.h"

struct qv_edge;
struct qv_metrics;
struct qv_request_log;

struct qv_upkeep;

struct qv_edge_config {
    struct qv_node *node;          /* borrowed */
    const char *api_key;           /* NULL or "": open; copied */
    const char *read_only_api_key; /* copied */
    uint64_t slow_query_ms;        /* such requests are logged; 0: none */
    const char *version;           /* ours; a literal */
    const char *api_version;       /* of the API we serve; a literal */
    const char *commit;            /* 40 characters; a literal */
    uint64_t snapshot_bytes_max;   /* of an upload or download */
    uint32_t snapshot_timeout_ms;  /* of operations on snapshots */
};

struct qv_edge *qv_edge_create(const struct qv_edge_config *config); /* gives */
void qv_edge_destroy(struct qv_edge **edge); /* after the network server is gone */
/* Ends downloads, waits for them; after the network server has shut down, before the node closes.
 */
void qv_edge_stop(struct qv_edge *edge);

/* For struct qv_net_server_config; ctx is the edge. */
void qv_edge_handle(void *ctx, struct qv_call *call);
void qv_edge_headers(void *ctx, struct qv_call *call);
/* The network server, for its counters in /metrics; may be set after both exist. */
void qv_edge_set_net(struct qv_edge *edge, const struct qv_net_server *net);

struct qv_node *qv_edge_node(struct qv_edge *edge);
struct qv_metrics *qv_edge_metrics(struct qv_edge *edge);
struct qv_request_log *qv_edge_log(struct qv_edge *edge);
struct qv_upkeep *qv_edge_upkeep(struct qv_edge *edge);
const struct qv_edge_config *qv_edge_settings(const struct qv_edge *edge);
atomic_int *qv_edge_fetches(struct qv_edge *edge); /* how many are under way */
const atomic_bool *qv_edge_stopping(const struct qv_edge *edge);
const struct qv_net_server *qv_edge_net(const struct qv_edge *edge);

#endif
