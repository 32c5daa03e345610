#include "wire/pb_method.h"

#include "base/qv_assert.h"
#include "proto/quiver_change.pb-c.h"
#include "proto/quiver_health.pb-c.h"
#include "proto/quiver_points.pb-c.h"
#include "wire/not_served.h"

#include <stdbool.h>
#include <string.h>

struct method {
    const char *path;
    const ProtobufCMessageDescriptor *message;
};

static const struct method methods[QV_PB_CALL_COUNT] = {
#define X(id, service, method, message) {"/" service "/" method, &message##__descriptor},
    QV_PB_METHODS(X)
#undef X
};

static bool same_text(const char *p, size_t n, const char *text)
{
    return strlen(text) == n && memcmp(p, text, n) == 0;
}

int qv_pb_method_find(const char *path, size_t n, enum qv_pb_call *out, struct qv_errmsg *msg)
{
    for (int i = 0; i < QV_PB_CALL_COUNT; i++) {
        if (same_text(path, n, methods[i].path)) {
            *out = (enum qv_pb_call)i;
            return 0;
        }
    }
    static const char prefix[] = "/qdrant.";
    size_t skip = sizeof prefix - 1;
    for (size_t i = 0; n > skip && i < qv_not_served_operation_count; i++) {
        const struct qv_not_served_operation *op = &qv_not_served_operations[i];
        if (memcmp(path, prefix, skip) == 0 && same_text(path + skip, n - skip, op->grpc))
            return qv_fail(msg, QV_ENOTIMPL, "Not implemented: %s", op->name);
    }
    return qv_fail(msg, QV_ENOTFOUND, "unknown method %.*s", (int)(n < 200 ? n : 200), path);
}

const char *qv_pb_method_path(enum qv_pb_call call)
{
    QV_ASSERT((unsigned)call < QV_PB_CALL_COUNT);
    return methods[call].path;
}

const ProtobufCMessageDescriptor *qv_pb_method_message(enum qv_pb_call call)
{
    QV_ASSERT((unsigned)call < QV_PB_CALL_COUNT);
    return methods[call].message;
}
