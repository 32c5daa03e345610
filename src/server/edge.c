#include "server/edge.h"

#include "base/mem.h"
#include "server/metrics.h"
#include "server/reflection.h"
#include "server/request_log.h"
#include "server/rest.h"
#include "server/rpc.h"
#include "server/upkeep.h"

#include <string.h>
#include <time.h>

struct qv_edge {
    struct qv_edge_config config;
    char *api_key;
    char *read_only_api_key;
    const struct qv_net_server *net;
    struct qv_metrics *metrics;
    struct qv_request_log log;
    uint32_t id_prefix; /* of this process's requests */
    atomic_uint_fast32_t id_next;
    atomic_int fetches;
    atomic_bool stopping;
    struct qv_upkeep *upkeep;
};

struct qv_edge *qv_edge_create(const struct qv_edge_config *config)
{
    struct qv_edge *edge = qv_mem_calloc(1, sizeof *edge);
    edge->config = *config;
    edge->api_key = qv_mem_strdup(config->api_key != NULL ? config->api_key : "");
    edge->read_only_api_key =
        qv_mem_strdup(config->read_only_api_key != NULL ? config->read_only_api_key : "");
    edge->config.api_key = edge->api_key;
    edge->config.read_only_api_key = edge->read_only_api_key;
    qv_request_log_init(&edge->log, config->slow_query_ms);
    edge->id_prefix = (uint32_t)qv_env_random_u64(qv_node_env(config->node));
    atomic_init(&edge->id_next, 1);
    edge->metrics = qv_metrics_create(qv_env_boot_ns(qv_node_env(config->node)));
    edge->upkeep = qv_upkeep_create();
    return edge;
}

void qv_edge_destroy(struct qv_edge **edge)
{
    if (*edge == NULL)
        return;
    qv_metrics_destroy(&(*edge)->metrics);
    qv_upkeep_destroy(&(*edge)->upkeep);
    qv_mem_free((*edge)->api_key);
    qv_mem_free((*edge)->read_only_api_key);
    qv_mem_free(*edge);
    *edge = NULL;
}

void qv_edge_stop(struct qv_edge *edge)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    atomic_store(&edge->stopping, true);
    while (atomic_load(&edge->fetches) > 0)
        (void)nanosleep(&pause, NULL);
}

atomic_int *qv_edge_fetches(struct qv_edge *edge)
{
    return &edge->fetches;
}

const atomic_bool *qv_edge_stopping(const struct qv_edge *edge)
{
    return &edge->stopping;
}

void qv_edge_set_net(struct qv_edge *edge, const struct qv_net_server *net)
{
    edge->net = net;
}

struct qv_node *qv_edge_node(struct qv_edge *edge)
{
    return edge->config.node;
}

struct qv_metrics *qv_edge_metrics(struct qv_edge *edge)
{
    return edge->metrics;
}

struct qv_request_log *qv_edge_log(struct qv_edge *edge)
{
    return &edge->log;
}

struct qv_upkeep *qv_edge_upkeep(struct qv_edge *edge)
{
    return edge->upkeep;
}

const struct qv_edge_config *qv_edge_settings(const struct qv_edge *edge)
{
    return &edge->config;
}

const struct qv_net_server *qv_edge_net(const struct qv_edge *edge)
{
    return edge->net;
}

/* ---- keys ---- */

/* Compares in a time that depends on the given text's length only. */
static bool key_equal(const char *given, const char *key)
{
    size_t n = strlen(given);
    size_t m = strlen(key);
    unsigned char differ = n != m;
    for (size_t i = 0; i < n; i++)
        differ |= (unsigned char)(given[i] ^ (m > 0 ? key[i % m] : 0));
    return differ == 0;
}

static const char *given_key(const struct qv_call *call)
{
    const char *key = qv_call_header(call, "api-key");
    if (key != NULL)
        return key;
    const char *bearer = qv_call_header(call, "authorization");
    return bearer != NULL && strncasecmp(bearer, "Bearer ", 7) == 0 ? bearer + 7 : NULL;
}

/* Paths that monitors ask without a key. */
static bool is_open_path(const struct qv_call *call)
{
    static const char *const open[] = {"/", "/healthz", "/livez", "/readyz"};
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++) {
        if (strlen(open[i]) == call->path_len && memcmp(open[i], call->path, call->path_len) == 0)
            return true;
    }
    return call->method == QV_NET_OPTIONS;
}

static int check_key(const struct qv_edge *edge, const struct qv_call *call, const char **why)
{
    bool has_full = edge->api_key[0] != '\0';
    bool has_read = edge->read_only_api_key[0] != '\0';
    if ((!has_full && !has_read) || (!call->is_grpc && is_open_path(call)))
        return 0;
    const char *key = given_key(call);
    if (key == NULL) {
        *why = "Must provide an API key or an Authorization bearer token";
        return QV_EAUTH;
    }
    if (has_full && key_equal(key, edge->api_key))
        return 0;
    if (has_read && key_equal(key, edge->read_only_api_key)) {
        bool reads = call->is_grpc ? qv_rpc_reads(call) : qv_rest_reads(call);
        *why = "the read-only API key can't change anything";
        return reads ? 0 : QV_EFORBIDDEN;
    }
    *why = "Invalid API key or JWT";
    return QV_EAUTH;
}

/* ---- request ids ---- */

/* What the client calls its request, if that is a name; else one of ours. */
static void name_request(struct qv_edge *edge, struct qv_call *call)
{
    static const char digits[] = "0123456789abcdef";
    const char *given = qv_call_header(call, "x-request-id");
    size_t n = 0;
    if (given != NULL) {
        while (given[n] > ' ' && given[n] < 0x7F && n < QV_NET_REQUEST_ID_BYTES_MAX)
            n++;
        if (n > 0 && given[n] == '\0') {
            memcpy(call->request_id, given, n + 1);
            return;
        }
    }
    uint64_t id = (uint64_t)edge->id_prefix << 32 |
                  (uint32_t)atomic_fetch_add_explicit(&edge->id_next, 1, memory_order_relaxed);
    for (n = 16; n > 0; id >>= 4)
        call->request_id[--n] = digits[id & 15];
    call->request_id[16] = '\0';
}

/* Snapshots take their time. */
static void prepare_snapshot(struct qv_edge *edge, struct qv_call *call)
{
    if (call->is_grpc)
        call->timeout_ms = edge->config.snapshot_timeout_ms;
    else
        qv_rest_prepare_snapshot(edge, call);
}

void qv_edge_headers(void *ctx, struct qv_call *call)
{
    struct qv_edge *edge = ctx;
    name_request(edge, call);
    const char *why = "";
    int err = check_key(edge, call, &why);
    if (err == 0 && memmem(call->path, call->path_len, "napshot", strlen("napshot")) != NULL)
        prepare_snapshot(edge, call);
    if (err == 0) {
        qv_net_stream_f *stream = qv_reflection_find(call);
        if (stream != NULL)
            qv_call_stream(call, stream);
        return;
    }
    if (call->is_grpc)
        qv_rpc_refuse(call, err, why);
    else
        qv_rest_refuse(call, err, why);
}

void qv_edge_handle(void *ctx, struct qv_call *call)
{
    struct qv_edge *edge = ctx;
    if (call->is_grpc)
        qv_rpc_handle(edge, call);
    else
        qv_rest_handle(edge, call);
}
