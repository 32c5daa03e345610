/* URLs of the form http[s]://host[:port][/path][?query] and percent escapes. Pure functions. */
#ifndef QV_NET_URL_H
#define QV_NET_URL_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Cut into place; every string ends with NUL. */
struct qv_url {
    char host[256];  /* without the brackets of an IPv6 address */
    bool tls;        /* https */
    uint16_t port;   /* 80, or 443, when none is given */
    char path[1024]; /* "/" when none is given; the query, if any, stays in it */
};

/* QV_EINVAL with a text that names what is wrong. Refuses user:password@ and other schemes. */
int qv_url_parse(const char *text, struct qv_url *out, struct qv_errmsg *msg) QV_MUST_USE;

/* Decodes %XX (and '+' as a space when plus is set) from in[0..n) to out, which has room for n + 1
 * bytes and may be in itself; adds a NUL. QV_EBADREQ for a broken escape or an encoded NUL. */
int qv_url_decode(const char *in, size_t n, bool plus, char *out, size_t *out_len) QV_MUST_USE;

/* Appends s with everything but unreserved characters (RFC 3986) escaped. */
void qv_url_encode(struct qv_buf *b, const char *s, size_t n);

#endif
