/* A collection on a server, as the commands name it:
 * [http://]HOST[:PORT][/PREFIX][/collections]/NAME, port 6333 when none is given. One client for
 * REST and gRPC calls; every request carries the key.
 *
 * One thread: that which opened it. */
#ifndef QV_CLI_TARGET_H
#define QV_CLI_TARGET_H

#include "base/buf.h"
#include "net/client.h"

struct qv_target {
    char base[1400];      /* URL without the collection */
    char collection[256]; /* as it is called, not escaped */
    char key_text[512];   /* "" without one */
    struct qv_client *client;
};

/* text as above; key: NULL takes QUIVER_API_KEY, then QDRANT_API_KEY, from the environment.
 * Connects to nothing yet. QV_EINVAL names what is wrong and what is allowed. */
QV_MUST_USE int qv_target_open(const char *text, const char *key, struct qv_target *out,
                               struct qv_errmsg *msg);
void qv_target_close(struct qv_target *t); /* may be called twice */

/* The headers every request carries; *n of them. Borrowed until close. */
const struct qv_net_header *qv_target_headers(struct qv_target *t, struct qv_net_header slot[1],
                                              size_t *n);

/* One REST call on /collections/NAME + suffix, waited for. *out (may be NULL) gets the body of a
 * 2xx answer: close it. Otherwise msg has the server's words and the result is QV_ENOTFOUND (404),
 * QV_EEXISTS (409), QV_EAUTH (401, 403), QV_EBUSY (429), QV_EINVAL (other 4xx), QV_EUNAVAILABLE
 * (5xx, or no connection), or what the client reports. */
QV_MUST_USE int qv_target_call(struct qv_target *t, const char *method, const char *suffix,
                               struct qv_bytes body, struct qv_buf *out, struct qv_errmsg *msg);

struct qv_target_info {
    uint64_t points;
    uint64_t indexed; /* points times vectors */
    char status[16];  /* "green", "yellow", ... */
};
/* GET /collections/NAME. QV_ENOTFOUND: there is none. */
QV_MUST_USE int qv_target_read_info(struct qv_target *t, struct qv_target_info *out,
                                    struct qv_errmsg *msg);

#endif
