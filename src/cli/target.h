/* A collection on a server, as the commands name it:
 * [http[s]://]HOST[:PORT][/PREFIX][/collections]/NAME, port 6333 when none is given. One client for
 * REST and gRPC calls; every request carries the key.
 *
 * One thread: that which opened it. */
#ifndef QV_CLI_TARGET_H
#define QV_CLI_TARGET_H

#include "base/buf.h"
#include "net/client.h"

/* How a server is spoken to: what every command takes. */
struct qv_target_access {
    const char *api_key; /* NULL takes QUIVER_API_KEY, then QDRANT_API_KEY, from the environment */
    const char *ca;      /* https: PEM of who may sign the server; NULL: whom the system trusts */
    const char *cert, *key; /* https: a certificate to show and its key, PEM; NULL: none */
};

/* For the options of a command: rows of its table, lines of its help, and what takes them. */
enum qv_target_option {
    QV_TARGET_API_KEY = 1024,
    QV_TARGET_CA,
    QV_TARGET_CERT,
    QV_TARGET_KEY,
    QV_TARGET_OPTION_END
};
#define QV_TARGET_OPTIONS                                                                          \
    {"api-key", required_argument, NULL, QV_TARGET_API_KEY},                                       \
        {"ca", required_argument, NULL, QV_TARGET_CA},                                             \
        {"cert", required_argument, NULL, QV_TARGET_CERT},                                         \
    {                                                                                              \
        "key", required_argument, NULL, QV_TARGET_KEY                                              \
    }
#define QV_TARGET_HELP                                                                             \
    "  --api-key KEY      (default: QUIVER_API_KEY)\n"                                             \
    "  --ca FILE          https://: who may sign the server's certificate, PEM (default: whom "    \
    "the\n"                                                                                        \
    "                     system trusts)\n"                                                        \
    "  --cert FILE, --key FILE  https://: a certificate to show to the server, and its key\n"
/* True when the option is one of those. */
bool qv_target_take_option(struct qv_target_access *access, int option, const char *value);

struct qv_target {
    char base[1400];      /* URL without the collection */
    char collection[256]; /* as it is called, not escaped */
    char key_text[512];   /* "" without one */
    struct qv_client *client;
    uint64_t patience_ms; /* see qv_target_call; 0 after open */
    uint64_t repeats;     /* calls that were sent once more */
    bool met;             /* a server answered or took a connection */
};

/* text as above. Connects to nothing yet. QV_EINVAL names what is wrong and what is allowed. */
QV_MUST_USE int qv_target_open(const char *text, const struct qv_target_access *access,
                               struct qv_target *out, struct qv_errmsg *msg);
/* A server alone, [http[s]://]HOST[:PORT][/PREFIX]: for qv_target_get. */
QV_MUST_USE int qv_target_open_server(const char *text, const struct qv_target_access *access,
                                      struct qv_target *out, struct qv_errmsg *msg);
void qv_target_close(struct qv_target *t); /* may be called twice */

/* The headers every request carries; *n of them. Borrowed until close. */
const struct qv_net_header *qv_target_headers(struct qv_target *t, struct qv_net_header slot[1],
                                              size_t *n);

/* One REST call on /collections/NAME + suffix, waited for. *out (may be NULL) gets the body of a
 * 2xx answer: close it. Otherwise msg has the server's words and the result is QV_ENOTFOUND (404),
 * QV_EEXISTS (409), QV_EAUTH (401, 403), QV_EBUSY (429), QV_EINVAL (other 4xx), QV_EUNAVAILABLE
 * (5xx, or no connection), or what the client reports.
 *
 * With patience_ms the call is sent again, at growing distances, while the server is too busy
 * (429), starting (503), away after it was met, or its answer got lost: for callers whose calls may
 * happen twice. Where t->repeats grew, "exists" and "not found" may be this call's own doing. */
QV_MUST_USE int qv_target_call(struct qv_target *t, const char *method, const char *suffix,
                               struct qv_bytes body, struct qv_buf *out, struct qv_errmsg *msg);

/* GET path, as qv_target_call otherwise, once. */
QV_MUST_USE int qv_target_get(struct qv_target *t, const char *path, struct qv_buf *out,
                              struct qv_errmsg *msg);

struct qv_target_info {
    uint64_t points;
    uint64_t indexed; /* points times vectors */
    char status[16];  /* "green", "yellow", ... */
    bool no_graph;    /* the collection is configured to have none: m is 0 */
};
/* GET /collections/NAME. QV_ENOTFOUND: there is none. */
QV_MUST_USE int qv_target_read_info(struct qv_target *t, struct qv_target_info *out,
                                    struct qv_errmsg *msg);

#endif
