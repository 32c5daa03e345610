#include "wire/not_served.h"

#include "base/qv_assert.h"

static const char *const not_served_names[] = {
#define X(id, name, where) name,
    QV_NOT_SERVED_FIELDS(X)
#undef X
};

const struct qv_not_served_operation qv_not_served_operations[] = {
#define X(name, method, path, grpc) {name, method, path, grpc},
    QV_NOT_SERVED_OPERATIONS(X)
#undef X
};
const size_t qv_not_served_operation_count =
    sizeof qv_not_served_operations / sizeof qv_not_served_operations[0];

const char *qv_not_served_name(enum qv_not_served what)
{
    QV_ASSERT((unsigned)what < QV_NOT_SERVED_COUNT);
    return not_served_names[what];
}

int qv_not_served_fail(enum qv_not_served what, struct qv_errmsg *msg)
{
    return qv_fail(msg, QV_ENOTIMPL, "Not implemented: %s", qv_not_served_name(what));
}
