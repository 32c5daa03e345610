/* A user's input file, mapped for reading. One that shrinks meanwhile ends the process (SIGBUS). */
#ifndef QV_CLI_MAPPED_H
#define QV_CLI_MAPPED_H

#include "base/buf.h"
#include "base/err.h"

/* *out is borrowed until qv_mapped_close. QV_EINVAL: not a regular file, or empty; QV_ENOTFOUND,
 * QV_EIO, QV_ENOMEM; msg names the file. */
QV_MUST_USE int qv_mapped_open(const char *path, struct qv_bytes *out, struct qv_errmsg *msg);
void qv_mapped_close(struct qv_bytes *map); /* may be called twice, and on zeros */

#endif
