/* gzip, one way: what a peer sent compressed. Bounded, since 32 KB may stand for 32 MB. Any thread.
 */
#ifndef QV_NET_GUNZIP_H
#define QV_NET_GUNZIP_H

#include "base/buf.h"

/* Appends the content of the one gzip member that `in` is. QV_ETOOBIG when that is more than limit
 * bytes (out then holds no more than limit and a step); QV_EPROTO when it is malformed, cut short
 * or followed by something; QV_ENOMEM. */
QV_MUST_USE int qv_gunzip(struct qv_bytes in, size_t limit, struct qv_buf *out);

#endif
