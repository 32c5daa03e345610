/* gzip, both ways, and who wants it. Bounded, since 32 KB may stand for 32 MB. Any thread. */
#ifndef QV_NET_GZIP_H
#define QV_NET_GZIP_H

#include "base/buf.h"

#include <stdbool.h>

/* Appends the content of the one gzip member that `in` is. QV_ETOOBIG when that is more than limit
 * bytes (out then holds no more than limit and a step); QV_EPROTO when it is malformed, cut short
 * or followed by something; QV_ENOMEM. */
QV_MUST_USE int qv_gzip_unpack(struct qv_bytes in, size_t limit, struct qv_buf *out);

/* Appends one gzip member with `in` as its content, packed fast rather than small. QV_ETOOBIG when
 * it would not be smaller than `in`, QV_ENOMEM; out is then as it was. */
QV_MUST_USE int qv_gzip_pack(struct qv_bytes in, struct qv_buf *out);

/* Does an Accept-Encoding (or grpc-accept-encoding) value ask for gzip? "gzip;q=0" does not. NULL
 * is fine: no. */
bool qv_gzip_is_accepted(const char *accept);

/* A Content-Encoding value: 1 gzip, 0 none ("identity"), QV_ENOTIMPL any other. */
int qv_gzip_content_encoding(const char *value);

#endif
