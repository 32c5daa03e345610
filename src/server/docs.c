#include "server/docs.h"

#include "server/rest.h"
#include "wire/not_served.h"
#include "wire/pb_method.h"

static void write_row(void *arg, const char *method, const char *path)
{
    qv_buf_printf(arg, "| %s | `%s` |\n", method, path);
}

static void write_served(struct qv_buf *b)
{
    qv_buf_str(b, "## Served: REST\n\n| method | path |\n| --- | --- |\n");
    qv_rest_each_route(write_row, b);
    qv_buf_str(b, "| GET | `/healthz` |\n| GET | `/livez` |\n| GET | `/readyz` |\n"
                  "\n## Served: gRPC\n\n| service | method |\n| --- | --- |\n");
#define X(id, service, method, message) qv_buf_str(b, "| `" service "` | `" method "` |\n");
    QV_PB_METHODS(X)
#undef X
    qv_buf_str(
        b, "| `grpc.health.v1.Health` | `Watch` (stream) |\n"
           "| `grpc.reflection.v1.ServerReflection` | `ServerReflectionInfo` (stream) |\n"
           "| `grpc.reflection.v1alpha.ServerReflection` | `ServerReflectionInfo` (stream) |\n");
}

void qv_docs_write_api(struct qv_buf *b)
{
    qv_buf_str(
        b, "# API\n\n"
           "Quiver serves the Qdrant API, version 1.19: its clients work by changing the URL. "
           "This page comes from the\ntables that the server itself runs on (`quiver help api`); "
           "a test holds it level with them.\n\n"
           "What the API knows and this version does not serve is never dropped in silence: it "
           "answers 501\n(gRPC: UNIMPLEMENTED) with `Not implemented: NAME`. Fields that the API "
           "does not know are ignored.\n\n");
    write_served(b);
    qv_buf_str(b,
               "\n## Not served yet: operations\n\n| name | REST | gRPC |\n| --- | --- | --- |\n");
    for (size_t i = 0; i < qv_not_served_operation_count; i++) {
        const struct qv_not_served_operation *o = &qv_not_served_operations[i];
        if (o->path[0] != '\0')
            qv_buf_printf(b, "| %s | %s `%s` | %s |\n", o->name, o->method, o->path, o->grpc);
        else
            qv_buf_printf(b, "| %s | | %s |\n", o->name, o->grpc);
    }
    qv_buf_str(b, "\n## Not served yet: parts of requests\n\n| name | where |\n| --- | --- |\n");
#define X(id, name, where) qv_buf_str(b, "| `" name "` | " where " |\n");
    QV_NOT_SERVED_FIELDS(X)
#undef X
    qv_buf_str(b,
               "\nIn `PUT /collections/{c}`, a `replication_factor` above 1 "
               "is not served yet. Sparse\nvectors and multivectors are stored and given back; "
               "searching them answers 501 `sparse vector search`\nand `multi vector search`.\n");
}

void qv_docs_write_metrics(struct qv_buf *b)
{
    qv_buf_str(b, "# Metrics\n\n"
                  "`GET /metrics` answers the Prometheus text format. This page comes from "
                  "`src/server/metrics.def`\n(`quiver help metrics`).\n\n"
                  "| name | type | what it is |\n| --- | --- | --- |\n");
#define METRIC(name, type, value, help) qv_buf_str(b, "| `" name "` | " type " | " help " |\n");
#include "server/metrics.def"
#undef METRIC
    qv_buf_str(b, "| `quiver_requests_total{op,outcome}` | counter | Requests answered, by "
                  "operation and outcome (ok, refused: 4xx, failed: 5xx). |\n"
                  "| `quiver_request_seconds{op}` | histogram | Time from the complete request to "
                  "its answer. |\n");
}
