/* multipart/form-data (RFC 7578) over something that is read by offset, of any length: where is
 * the content of one field? Memory is bounded: one window. Any thread. */
#ifndef QV_WIRE_MULTIPART_H
#define QV_WIRE_MULTIPART_H

#include "base/err.h"
#include "core/doc.h"

#define QV_MULTIPART_BOUNDARY_MAX 70 /* RFC 2046 */

struct qv_multipart_source {
    /* Exactly n bytes at an offset; offset + n <= bytes. */
    int (*read)(void *arg, uint64_t offset, void *p, size_t n, struct qv_errmsg *msg);
    void *arg;
    uint64_t bytes;
};

struct qv_multipart_part {
    uint64_t offset;
    uint64_t bytes;
};

/* content_type: the request's header (NULL: none). field: the part's name. QV_EBADREQ: no
 * multipart, malformed, or no such field; else what read gives. */
QV_MUST_USE int qv_multipart_find(const struct qv_multipart_source *src, const char *content_type,
                                  const char *field, struct qv_multipart_part *out,
                                  struct qv_errmsg *msg);

#endif
