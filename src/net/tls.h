/* TLS as a machine over bytes: ciphertext is fed in, plaintext comes out of a callback; plaintext
 * is sealed, ciphertext is taken out. OpenSSL over memory: no sockets, no clock, no threads. The
 * socket owners (server.c's peers, client_conn.c) hold one session a connection and put it between
 * the socket and their protocol machine, which knows nothing of it.
 *
 * TLS 1.2 and later, ALPN h2 and http/1.1, no renegotiation, no compression, no early data.
 * Sessions resume by stateless tickets (of the same context between two reloads).
 *
 * Invariants:
 *  1. A feed takes all it is given: what is left of an unfinished record stays with the session.
 *  2. Bytes given by qv_tls_pending keep their address until qv_tls_sent has passed them, whatever
 *     is fed or sealed meanwhile.
 *  3. After an error of qv_tls_feed or qv_tls_seal a session only gives what is pending (an alert).
 *
 * A context may be used and reloaded by any thread; a session belongs to one. */
#ifndef QV_NET_TLS_H
#define QV_NET_TLS_H

#include "base/buf.h"
#include "base/err.h"
#include "net/outq.h"

#include <stdbool.h>
#include <stddef.h>

struct qv_tls_ctx;
struct qv_tls;

/* PEM files; every string is copied. */
struct qv_tls_config {
    bool server;
    const char
        *cert_path;       /* chain, leaf first; a server needs it, a client may show one; or NULL */
    const char *key_path; /* not encrypted; goes with cert_path */
    const char *ca_path;  /* who may sign the peer; client: NULL = those the system trusts */
    bool verify_client;   /* server: clients must show a certificate that ca_path signed */
    bool http1;           /* client: ALPN http/1.1, else h2 */
};

/* Reads the files. QV_EINVAL: msg names the file, and why. Gives *out. */
int qv_tls_ctx_create(const struct qv_tls_config *config, struct qv_tls_ctx **out,
                      struct qv_errmsg *msg) QV_MUST_USE;
/* Reads the files again, for the sessions that open from now on; those under way keep what they
 * have. On QV_EINVAL the old ones stay in use. */
int qv_tls_ctx_reload(struct qv_tls_ctx *ctx, struct qv_errmsg *msg) QV_MUST_USE;
/* After the last session is closed. NULL is fine; sets *ctx to NULL. */
void qv_tls_ctx_destroy(struct qv_tls_ctx **ctx);

/* host: of a client: the name or address that the server's certificate must be for; NULL on a
 * server. A client's first bytes are pending at once. NULL without memory. */
struct qv_tls *qv_tls_open(struct qv_tls_ctx *ctx, const char *host);
void qv_tls_close(struct qv_tls **tls); /* NULL is fine; sets *tls to NULL */

typedef void qv_tls_plain_f(void *arg, const void *p, size_t n);

/* Takes n bytes from the peer; plaintext goes to plain, in runs of at most 16 KiB. The callback
 * must not touch the session. QV_EPROTO: a bad handshake or record, see qv_tls_why. */
int qv_tls_feed(struct qv_tls *tls, const void *p, size_t n, qv_tls_plain_f *plain,
                void *arg) QV_MUST_USE;
/* Encrypts; only when the handshake is over. QV_EPROTO, QV_ENOMEM. */
int qv_tls_seal(struct qv_tls *tls, const void *p, size_t n) QV_MUST_USE;
/* Encrypts from the front of a queue, at most max bytes of it, which stay there; small runs are
 * gathered to whole records. *taken: how many. */
int qv_tls_seal_queue(struct qv_tls *tls, const struct qv_outq *q, size_t max,
                      size_t *taken) QV_MUST_USE;
/* Queues the notice that we send no more. */
void qv_tls_end(struct qv_tls *tls);

/* What is to be sent next; empty when nothing is. */
struct qv_bytes qv_tls_pending(struct qv_tls *tls);
void qv_tls_sent(struct qv_tls *tls, size_t n); /* n <= what the last pending gave */
/* Gives back the buffers of a session that has nothing under way. */
void qv_tls_trim(struct qv_tls *tls);

bool qv_tls_is_open(const struct qv_tls *tls);  /* the handshake is over */
bool qv_tls_is_ended(const struct qv_tls *tls); /* the peer said that it sends no more */
bool qv_tls_is_cut(const struct qv_tls *tls);   /* a part of a record is there */
bool qv_tls_is_resumed(const struct qv_tls *tls);
bool qv_tls_is_h2(const struct qv_tls *tls); /* what ALPN agreed on */
/* Why a feed or seal failed; "" before. Valid as long as the session. */
const char *qv_tls_why(const struct qv_tls *tls);

#endif
