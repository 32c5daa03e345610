/* Errors as data.
 *
 * Every fallible function returns 0 or a negative QV_E* code and gives results through
 * out-parameters. One table declares name, class and default text; whether an error may be
 * retried is its class, not a judgement made at the call site. The edge maps codes to HTTP and
 * gRPC statuses (server/status.c); nothing below the edge knows either protocol.
 */
#ifndef QV_BASE_ERR_H
#define QV_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

/* X(name, number, class, text)
 * number: what stands for it in messages between nodes; never changed, never used again.
 * TRANSIENT: the same request may succeed later, unchanged.
 * PERMANENT: it will not; the caller must change something.
 * FATAL: this process or this piece of data can't be trusted with it any more. */
#define QV_ERRORS(X)                                                                               \
    X(EINVAL, 1, PERMANENT, "wrong input")                                                         \
    X(EBADREQ, 2, PERMANENT, "bad request")                                                        \
    X(EFORMAT, 3, PERMANENT, "format error")                                                       \
    X(EVALIDATION, 4, PERMANENT, "validation error")                                               \
    X(EAUTH, 5, PERMANENT, "no credentials")                                                       \
    X(EFORBIDDEN, 6, PERMANENT, "forbidden")                                                       \
    X(ENOTFOUND, 7, PERMANENT, "not found")                                                        \
    X(EEXISTS, 8, PERMANENT, "already exists")                                                     \
    X(ETOOBIG, 9, PERMANENT, "too large")                                                          \
    X(ELIMIT, 10, PERMANENT, "limit exceeded")                                                     \
    X(ENOTIMPL, 11, PERMANENT, "not implemented")                                                  \
    X(EMETHOD, 12, PERMANENT, "method not allowed here")                                           \
    X(EPROTO, 13, PERMANENT, "protocol error")                                                     \
    X(ETIMEOUT, 14, TRANSIENT, "timeout")                                                          \
    X(EBUSY, 15, TRANSIENT, "busy")                                                                \
    X(ECANCELED, 16, TRANSIENT, "canceled")                                                        \
    X(ESTALE, 17, TRANSIENT, "stale")                                                              \
    X(EUNAVAILABLE, 18, TRANSIENT, "unavailable")                                                  \
    X(EUNKNOWN, 19, TRANSIENT, "outcome unknown")                                                  \
    X(ENOSPC, 20, TRANSIENT, "storage full")                                                       \
    X(ENOMEM, 21, TRANSIENT, "out of memory")                                                      \
    X(EEOF, 22, PERMANENT, "end of data")                                                          \
    X(EIO, 23, FATAL, "input/output error")                                                        \
    X(ECORRUPT, 24, FATAL, "corrupt data")                                                         \
    X(EINTERNAL, 25, FATAL, "internal error")

enum qv_err {
    QV_OK = 0,
    QV_ERR_BASE = -1000, /* keeps our codes apart from -errno */
#define X(name, number, class, text) QV_##name,
    QV_ERRORS(X)
#undef X
        QV_ERR_END
};

enum qv_err_class { QV_CLASS_OK, QV_CLASS_TRANSIENT, QV_CLASS_PERMANENT, QV_CLASS_FATAL };

/* Static strings; never NULL. An unknown code gives "unknown error". */
const char *qv_err_name(int err);
const char *qv_err_text(int err);
enum qv_err_class qv_err_class(int err);

/* An error's number, 0 for none; what is not in the table goes as EINTERNAL. */
unsigned qv_err_number(int err);
/* And back. A number that this build does not know, from a newer node, gives what its class (as it
 * was sent) asks of the reader: TRANSIENT QV_EUNKNOWN (nothing is said of the outcome), PERMANENT
 * QV_EPROTO, else QV_EINTERNAL. */
int qv_err_from_number(unsigned number, unsigned class);

/* -errno of a failed system call -> our code (ENOSPC, EDQUOT -> QV_ENOSPC, ENOENT -> QV_ENOTFOUND,
 * EROFS, EIO and the rest -> QV_EIO). errnum is positive. */
int qv_err_from_errno(int errnum);

/* Detail for a person: caller-owned, filled on failure. May be NULL wherever one is taken. */
struct qv_errmsg {
    char text[512];
};

/* Fills msg (when not NULL) and returns err, so that `return qv_fail(msg, QV_EINVAL, "...")` reads
 * as one step. Long texts are cut at a UTF-8 boundary. */
int qv_fail(struct qv_errmsg *msg, int err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#ifdef __clang_analyzer__ /* it can't see that the result is err, and so never 0 for an error */
static inline int qv_fail_is(int err, int result)
{
    (void)result;
    return err;
}
#define qv_fail(msg, err, ...) qv_fail_is(err, (qv_fail)(msg, err, __VA_ARGS__))
#endif

#define QV_MUST_USE __attribute__((warn_unused_result))

#endif
