/* Certificates for tests and benches, made when they are needed and never stored in the tree:
 * P-256, PEM files. A server of users' own gets its certificate from them. */
#ifndef QV_NET_THROWAWAY_CERT_H
#define QV_NET_THROWAWAY_CERT_H

#include "base/err.h"

#include <stdbool.h>

struct qv_throwaway_cert {
    const char *name;        /* common name */
    const char *alt_names;   /* as OpenSSL writes them: "DNS:localhost,IP:127.0.0.1"; NULL: none */
    bool ca;                 /* may sign others */
    long begin_sec, end_sec; /* when it is valid, from now; both 0: from an hour ago, for a day */
    const char *issuer_cert_path; /* who signs it; NULL: itself */
    const char *issuer_key_path;
};

/* Writes certificate and key, over what is there. QV_EIO, QV_EINVAL. */
int qv_throwaway_cert_make(const struct qv_throwaway_cert *cert, const char *cert_path,
                           const char *key_path, struct qv_errmsg *msg) QV_MUST_USE;

#endif
