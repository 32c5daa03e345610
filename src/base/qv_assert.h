/* Assertions: a failed one is our bug and ends the process; they stay on in release builds.
 * What the world can cause is an error, never an assertion. */
#ifndef QV_BASE_ASSERT_H
#define QV_BASE_ASSERT_H

#include "base/err.h"

_Noreturn void qv_assert_fail(const char *expr, const char *file, int line, const char *func);

#define QV_ASSERT(expr)                                                                            \
    (__builtin_expect(!!(expr), 1) ? (void)0 : qv_assert_fail(#expr, __FILE__, __LINE__, __func__))

#define QV_UNREACHABLE() qv_assert_fail("unreachable", __FILE__, __LINE__, __func__)

#define QV_STATIC_ASSERT(expr, why) _Static_assert(expr, why)

/* The only way to report bad bytes from disk or a peer: counted (qv_corrupt_count), and returns
 * QV_ECORRUPT after filling msg. Which line of ours found it is in the log, at level debug: users
 * see the text. */
#ifdef __clang_analyzer__ /* it can't see that the result is an error */
#define QV_CORRUPT(msg, ...)                                                                       \
    qv_fail_is(QV_ECORRUPT, qv_corrupt_report(msg, __FILE__, __LINE__, __VA_ARGS__))
#else
#define QV_CORRUPT(msg, ...) qv_corrupt_report(msg, __FILE__, __LINE__, __VA_ARGS__)
#endif

int qv_corrupt_report(struct qv_errmsg *msg, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
unsigned long qv_corrupt_count(void);
/* The disk failed a write, a sync, an allocation or a change of names: counted. */
void qv_disk_write_failed(void);
unsigned long qv_disk_write_errors(void);

#endif
