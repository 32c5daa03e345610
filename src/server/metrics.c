#include "server/metrics.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "server/api_status.h"
#include "server/edge.h"
#include "wire/json_write.h"

#include <stdatomic.h>

/* Upper bounds of the latency buckets, in us; a last one without bound follows. */
static const uint64_t bucket_us[] = {50,    100,   250,   500,    1000,   2500,    5000,
                                     10000, 25000, 50000, 100000, 250000, 1000000, 5000000};
#define BUCKETS (sizeof bucket_us / sizeof bucket_us[0])

static const char *const op_names[QV_OP_KIND_COUNT] = {
    [QV_OP_SERVICE] = "service",
    [QV_OP_COLLECTION_LIST] = "collection_list",
    [QV_OP_COLLECTION_GET] = "collection_get",
    [QV_OP_COLLECTION_EXISTS] = "collection_exists",
    [QV_OP_COLLECTION_CREATE] = "collection_create",
    [QV_OP_COLLECTION_DELETE] = "collection_delete",
    [QV_OP_COLLECTION_UPDATE] = "collection_update",
    [QV_OP_VECTOR_CREATE] = "vector_create",
    [QV_OP_VECTOR_DELETE] = "vector_delete",
    [QV_OP_ALIASES_UPDATE] = "aliases_update",
    [QV_OP_ALIASES_OF] = "aliases_of",
    [QV_OP_ALIASES_LIST] = "aliases_list",
    [QV_OP_INDEX_CREATE] = "index_create",
    [QV_OP_INDEX_DELETE] = "index_delete",
    [QV_OP_WRITE] = "write",
    [QV_OP_WRITE_BATCH] = "write_batch",
    [QV_OP_GET] = "get",
    [QV_OP_GET_ONE] = "get_one",
    [QV_OP_SCROLL] = "scroll",
    [QV_OP_COUNT] = "count",
    [QV_OP_FACET] = "facet",
    [QV_OP_QUERY] = "query",
    [QV_OP_QUERY_BATCH] = "query_batch",
    [QV_OP_SEARCH] = "search",
    [QV_OP_SEARCH_BATCH] = "search_batch",
    [QV_OP_SNAPSHOT_LIST] = "snapshot_list",
    [QV_OP_SNAPSHOT_CREATE] = "snapshot_create",
    [QV_OP_SNAPSHOT_DELETE] = "snapshot_delete",
    [QV_OP_SNAPSHOT_GET] = "snapshot_get",
    [QV_OP_SNAPSHOT_STREAM] = "snapshot_stream",
    [QV_OP_SNAPSHOT_RECOVER] = "snapshot_recover",
    [QV_OP_SNAPSHOT_UPLOAD] = "snapshot_upload",
    [QV_OP_OPTIMIZATIONS] = "optimizations",
    [QV_OP_ISSUES] = "issues",
    [QV_OP_ISSUES_CLEAR] = "issues_clear",
    [QV_OP_QUOTAS] = "quotas",
    [QV_OP_QUOTAS_SET] = "quotas_set",
    [QV_OP_CLUSTER] = "cluster",
    [QV_OP_CLUSTER_STATUS] = "cluster_status",
    [QV_OP_CLUSTER_TELEMETRY] = "cluster_telemetry",
    [QV_OP_CLUSTER_RECOVER] = "cluster_recover",
    [QV_OP_COLLECTION_CLUSTER] = "collection_cluster",
    [QV_OP_CLUSTER_REMOVE] = "cluster_remove",
    [QV_OP_CLUSTER_DRAIN] = "cluster_drain",
    [QV_OP_CLUSTER_FILL] = "cluster_fill",
    [QV_OP_CLUSTER_UPDATE] = "cluster_update",
    [QV_OP_TELEMETRY] = "telemetry",
    [QV_OP_METRICS] = "metrics",
    [QV_OP_GRPC_HEALTH] = "grpc_health",
    [QV_OP_LOGGER_GET] = "logger_get",
    [QV_OP_LOGGER_SET] = "logger_set",
};

const char *qv_metrics_op_name(enum qv_op_kind kind)
{
    return op_names[kind];
}

struct op_counters {
    atomic_uint_fast64_t ok, refused, failed; /* 2xx; 4xx; 5xx */
    atomic_uint_fast64_t ns;
    atomic_uint_fast64_t buckets[BUCKETS + 1];
};

struct qv_metrics {
    struct op_counters ops[QV_OP_KIND_COUNT];
    uint64_t started_ns; /* boot clock */
};

struct qv_metrics *qv_metrics_create(uint64_t boot_ns)
{
    struct qv_metrics *m = qv_mem_calloc(1, sizeof *m);
    m->started_ns = boot_ns;
    return m;
}

void qv_metrics_destroy(struct qv_metrics **m)
{
    qv_mem_free(*m);
    *m = NULL;
}

static void add(atomic_uint_fast64_t *c, uint64_t n)
{
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

static uint64_t get(const atomic_uint_fast64_t *c)
{
    return atomic_load_explicit((atomic_uint_fast64_t *)(uintptr_t)c, memory_order_relaxed);
}

void qv_metrics_op(struct qv_metrics *m, enum qv_op_kind kind, int err, uint64_t ns)
{
    struct op_counters *c = &m->ops[kind];
    size_t bucket = 0;
    while (bucket < BUCKETS && ns > bucket_us[bucket] * 1000)
        bucket++;
    int status = err == 0 ? 200 : qv_api_status(err).http;
    add(status < 400 ? &c->ok : status < 500 ? &c->refused : &c->failed, 1);
    add(&c->ns, ns);
    add(&c->buckets[bucket], 1);
}

static double uptime(struct qv_edge *edge)
{
    uint64_t now = qv_env_boot_ns(qv_node_env(qv_edge_node(edge)));
    return (double)(now - qv_edge_metrics(edge)->started_ns) * 1e-9;
}

static void write_requests(const struct qv_metrics *m, struct qv_buf *b)
{
    qv_buf_str(b, "# HELP quiver_requests_total Requests answered, by operation and outcome.\n"
                  "# TYPE quiver_requests_total counter\n");
    for (int k = 0; k < QV_OP_KIND_COUNT; k++) {
        const struct op_counters *c = &m->ops[k];
        qv_buf_printf(b, "quiver_requests_total{op=\"%s\",outcome=\"ok\"} %llu\n", op_names[k],
                      (unsigned long long)get(&c->ok));
        qv_buf_printf(b, "quiver_requests_total{op=\"%s\",outcome=\"refused\"} %llu\n", op_names[k],
                      (unsigned long long)get(&c->refused));
        qv_buf_printf(b, "quiver_requests_total{op=\"%s\",outcome=\"failed\"} %llu\n", op_names[k],
                      (unsigned long long)get(&c->failed));
    }
    qv_buf_str(b, "# HELP quiver_request_seconds Time from the complete request to its answer.\n"
                  "# TYPE quiver_request_seconds histogram\n");
    for (int k = 0; k < QV_OP_KIND_COUNT; k++) {
        const struct op_counters *c = &m->ops[k];
        uint64_t total = 0;
        for (size_t i = 0; i < BUCKETS; i++) {
            total += get(&c->buckets[i]);
            qv_buf_printf(b, "quiver_request_seconds_bucket{op=\"%s\",le=\"%g\"} %llu\n",
                          op_names[k], (double)bucket_us[i] * 1e-6, (unsigned long long)total);
        }
        total += get(&c->buckets[BUCKETS]);
        qv_buf_printf(b, "quiver_request_seconds_bucket{op=\"%s\",le=\"+Inf\"} %llu\n", op_names[k],
                      (unsigned long long)total);
        qv_buf_printf(b, "quiver_request_seconds_sum{op=\"%s\"} %.9g\n", op_names[k],
                      (double)get(&c->ns) * 1e-9);
        qv_buf_printf(b, "quiver_request_seconds_count{op=\"%s\"} %llu\n", op_names[k],
                      (unsigned long long)total);
    }
}

static void write_metric(struct qv_buf *b, const char *name, const char *type, double value,
                         const char *help)
{
    qv_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name, type, name, value);
}

void qv_metrics_write(struct qv_edge *edge, struct qv_buf *b)
{
    struct qv_store_stats store;
    struct qv_net_stats net = {0};
    double up = uptime(edge);
    const struct qv_edge_config *settings = qv_edge_settings(edge);
    qv_node_stats(qv_edge_node(edge), &store);
    if (qv_edge_net(edge) != NULL)
        qv_net_server_stats(qv_edge_net(edge), &net);
    qv_buf_printf(b,
                  "# HELP app_info Information about the node.\n# TYPE app_info gauge\n"
                  "app_info{name=\"quiver\",version=\"%s\"} 1\n",
                  settings->version);
#define METRIC(name, type, value, help) write_metric(b, name, type, (double)(value), help);
#include "server/metrics.def"
#undef METRIC
    write_requests(qv_edge_metrics(edge), b);
}

static void write_collections(struct qv_edge *edge, const struct qv_topology *t, struct qv_buf *b)
{
    qv_buf_str(b, ",\"collections\":[");
    for (uint32_t i = 0; i < t->count; i++) {
        const struct qv_collection *c = t->collections[i];
        struct qv_shard_info info;
        qv_node_shard_info(qv_edge_node(edge), c, &info);
        qv_buf_str(b, i == 0 ? "{\"id\":" : ",{\"id\":");
        qv_json_write_str(b, c->name);
        qv_buf_printf(b,
                      ",\"points\":%llu,\"vectors\":%u,\"indexed_vectors\":%llu,"
                      "\"waiting_for_index\":%llu,\"payload_index_bytes\":%llu,"
                      "\"disk_bytes\":%llu,\"healthy\":%s}",
                      (unsigned long long)info.points,
                      c->config->vector_count + c->config->sparse_count,
                      (unsigned long long)info.indexed_vectors, (unsigned long long)info.pending,
                      (unsigned long long)info.payload_index_bytes,
                      (unsigned long long)info.disk_bytes, info.err == 0 ? "true" : "false");
    }
    qv_buf_str(b, "]");
}

void qv_metrics_write_telemetry(struct qv_edge *edge, uint64_t details_level, struct qv_buf *b)
{
    struct qv_store_stats store;
    const struct qv_edge_config *settings = qv_edge_settings(edge);
    const struct qv_metrics *m = qv_edge_metrics(edge);
    const struct qv_topology *t = qv_node_topology(qv_edge_node(edge));
    qv_node_stats(qv_edge_node(edge), &store);
    qv_buf_printf(b,
                  "{\"id\":\"quiver\",\"app\":{\"name\":\"quiver\",\"version\":\"%s\","
                  "\"uptime_seconds\":%.0f},\"collections\":{\"number_of_collections\":%u",
                  settings->version, uptime(edge), t->count);
    if (details_level > 0)
        write_collections(edge, t, b);
    qv_buf_printf(b, "},\"points\":%llu,\"requests\":{\"rest\":{\"responses\":{",
                  (unsigned long long)store.points);
    for (int k = 0; k < QV_OP_KIND_COUNT; k++) {
        const struct op_counters *c = &m->ops[k];
        uint64_t n = get(&c->ok) + get(&c->refused) + get(&c->failed);
        qv_buf_printf(
            b, "%s\"%s\":{\"count\":%llu,\"fail_count\":%llu,\"total_duration_micros\":%llu}",
            k > 0 ? "," : "", op_names[k], (unsigned long long)n,
            (unsigned long long)(n - get(&c->ok)), (unsigned long long)(get(&c->ns) / 1000));
    }
    qv_buf_str(b, "}}}}");
    qv_topology_unref(t);
}
