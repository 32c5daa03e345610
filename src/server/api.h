/* The API's front: the network server's handler, routing to operations, authentication. */
#ifndef QV_SERVER_API_H
#define QV_SERVER_API_H

#include "net/server.h"
#include "server/node.h"

struct qv_api;
struct qv_metrics;

struct qv_api_config {
    struct qv_node *node;          /* borrowed */
    const char *api_key;           /* NULL or "": open; copied */
    const char *read_only_api_key; /* copied */
    const char *version;           /* ours; a literal */
    const char *api_version;       /* of the API we serve; a literal */
    const char *commit;            /* 40 characters; a literal */
};

struct qv_api *qv_api_create(const struct qv_api_config *config); /* gives */
void qv_api_destroy(struct qv_api **api); /* after the network server is gone */

/* For struct qv_net_server_config; ctx is the api. */
void qv_api_handle(void *ctx, struct qv_call *call);
void qv_api_headers(void *ctx, struct qv_call *call);
/* The network server, for its counters in /metrics; may be set after both exist. */
void qv_api_set_net(struct qv_api *api, const struct qv_net_server *net);

struct qv_node *qv_api_node(struct qv_api *api);
struct qv_metrics *qv_api_metrics(struct qv_api *api);
const struct qv_api_config *qv_api_settings(const struct qv_api *api);
const struct qv_net_server *qv_api_net(const struct qv_api *api);

#endif
