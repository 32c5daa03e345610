#include "base/qv_assert.h"

#include "base/logger.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_ulong corrupt_count; /* counters for metrics; nothing reads them to decide */
static atomic_ulong disk_write_errors;

_Noreturn void qv_assert_fail(const char *expr, const char *file, int line, const char *func)
{
    (void)fprintf(stderr, "quiver: assertion failed: %s (%s:%d, %s)\n", expr, file, line, func);
    (void)fflush(stderr);
    abort();
}

int qv_corrupt_report(struct qv_errmsg *msg, const char *file, int line, const char *fmt, ...)
{
    struct qv_errmsg detail;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(detail.text, sizeof detail.text, fmt, ap);
    va_end(ap);
    atomic_fetch_add_explicit(&corrupt_count, 1, memory_order_relaxed);
    QV_DEBUG("corrupt", "%s [%s:%d]", detail.text, file, line);
    return qv_fail(msg, QV_ECORRUPT, "%s", detail.text);
}

void qv_disk_write_failed(void)
{
    atomic_fetch_add_explicit(&disk_write_errors, 1, memory_order_relaxed);
}

unsigned long qv_disk_write_errors(void)
{
    return atomic_load_explicit(&disk_write_errors, memory_order_relaxed);
}

unsigned long qv_corrupt_count(void)
{
    return atomic_load_explicit(&corrupt_count, memory_order_relaxed);
}
