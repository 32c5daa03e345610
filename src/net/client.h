/* The other side of net/server.h: HTTP/1.1 keep-alive and gRPC or HTTP over HTTP/2, under TLS when
 * the URL says https, many calls in flight on few connections. Used by the commands, the benches
 * and, later, between nodes.
 *
 * A client owns one libuv loop. With own_thread its loop runs on a thread of its own and calls may
 * be sent from any thread; without, everything happens on the thread that created it, inside
 * qv_client_run or qv_client_call: the cheaper form for a bench.
 *
 * Every call sent gets its callback exactly once, in the loop's thread: with an answer, or with
 * err = QV_ETIMEOUT (its own timeout), QV_EUNAVAILABLE (never sent: safe to repeat), QV_EUNKNOWN
 * (the connection was lost after some of it was sent: it may have happened), QV_ECANCELED (client
 * destroyed, or qv_client_cancel), QV_EPROTO, QV_ETOOBIG (answer, or a message of a stream, over
 * response_bytes_max).
 *
 * With `loop` it lives on a loop of the caller's, with others, all on that loop's thread: the way
 * between nodes (net/peer_tcp.h).
 *
 * A lost connection is opened again for the calls that come after; calls are not repeated. SIGPIPE
 * must be ignored by the process. */
#ifndef QV_NET_CLIENT_H
#define QV_NET_CLIENT_H

#include "base/buf.h"
#include "base/err.h"
#include "net/server.h"
#include "net/url.h"

#include <stdbool.h>
#include <stdint.h>

struct sockaddr_storage;
struct uv_loop_s;
struct qv_client;

struct qv_client_config {
    const char *url;       /* borrows during create; http[s]://host:port[/path]: path = a prefix */
    const char *ca_path;   /* https: PEM of who may sign the server; NULL: whom the system trusts */
    const char *cert_path; /* https: a certificate to show, PEM, and its key; NULL: none */
    const char *key_path;
    bool http1;             /* HTTP/1.1; else HTTP/2 (needed for gRPC) */
    bool own_thread;        /* see above */
    struct uv_loop_s *loop; /* see above; borrowed until on_destroyed; NULL: one of its own */
    /* With loop: its last handle is closed, and the client gone. May be NULL. */
    void (*on_destroyed)(void *arg);
    /* A connection that stood is closed; qv_client_why says why. After the calls on it have ended.
     * May be NULL. */
    void (*on_lost)(void *arg);
    void *arg;                              /* of both */
    struct qv_tls_ctx *tls;                 /* https: borrowed, instead of the paths above */
    const struct sockaddr_storage *address; /* copied; where the URL's host is; NULL: looked up, and
                                               the thread waits for that */
    uint32_t keepalive_ms; /* HTTP/2: a ping after so long without a byte; 0: never */
    uint32_t dead_ms;      /* closed after so long without one, while a ping is under way [10000] */
    uint32_t connections;  /* [1] opened when first needed */
    uint32_t in_flight_max; /* [256; HTTP/1.1: 1] a connection; more wait in the client's queue */
    uint32_t connect_timeout_ms; /* [5000] */
    size_t response_bytes_max;   /* [256 MiB] */
};

typedef void qv_client_message_f(void *arg, struct qv_bytes message);

struct qv_client_request {
    const char *method;                  /* "GET", "POST"; gRPC: NULL */
    const char *path;                    /* "/collections?x=1"; gRPC "/qdrant.Points/Search" */
    bool grpc;                           /* frame body as one message; only without http1 */
    const char *content_type;            /* NULL = application/json when there is a body */
    const struct qv_net_header *headers; /* copied by send; lower-case names */
    size_t n_headers;
    struct qv_bytes head; /* gRPC: what the message begins with; copied by send */
    struct qv_bytes body; /* borrowed until the callback has returned; gRPC: the bare message */
    uint32_t timeout_ms;  /* [60000; a stream: none]; over gRPC also sent as grpc-timeout */
    /* gRPC: a stream of answers. Called in the loop's thread for each message as it comes, borrowed
     * during the call; done comes once, at the stream's end, with an empty body. */
    qv_client_message_f *on_message;
    bool keep_open; /* of a stream: the server sees no end of what is sent, as bidi methods need */
    uint64_t id;    /* for qv_client_cancel_id; 0: can't be canceled */
};

/* Borrowed during the callback. */
struct qv_client_response {
    int err;         /* 0: there is an answer, whatever its status */
    int status;      /* HTTP */
    int grpc_status; /* gRPC calls: 0 .. 16; made from the HTTP status when there is none */
    const char *grpc_message;            /* decoded; "" when there is none */
    const struct qv_net_header *headers; /* trailers too */
    size_t n_headers;
    struct qv_bytes body; /* gRPC: the bare message */
    uint64_t latency_ns;  /* send -> answer, queueing in the client included */
    bool sent;            /* some of the request may have left; with err and not: safe to repeat */
    struct qv_buf *buf;   /* what body is in: may be taken over whole, leaving it empty */
    const char *why;      /* with err: why the last connection could not be made, or "" */
};

typedef void qv_client_done_f(void *arg, const struct qv_client_response *response);

/* All zero is a good start; url is needed. QV_EINVAL wrong url or config, QV_EIO. Gives *out. */
int qv_client_create(const struct qv_client_config *config, struct qv_client **out,
                     struct qv_errmsg *msg) QV_MUST_USE;

/* Ends every call in flight with QV_ECANCELED, closes, frees; sets *client to NULL; NULL is fine.
 * Not from a callback. With loop: on its thread; the memory goes when the loop has run. */
void qv_client_destroy(struct qv_client **client);

/* Why the last connection could not be made, "" before: a refused certificate, say. Without
 * own_thread only. Valid until the loop runs again. */
const char *qv_client_why(const struct qv_client *client);

/* Queues a call. QV_EINVAL for a request that can't be one; then done isn't called. From any thread
 * with own_thread, else from the creating thread only; also from inside a callback. */
int qv_client_send(struct qv_client *client, const struct qv_client_request *request,
                   qv_client_done_f *done, void *arg) QV_MUST_USE;

struct qv_client_call;

/* The same, without own_thread, and gives the call: to be cancelled until its callback. */
int qv_client_send_call(struct qv_client *client, const struct qv_client_request *request,
                        qv_client_done_f *done, void *arg, struct qv_client_call **out) QV_MUST_USE;
/* Ends it with QV_ECANCELED, from inside this call; over HTTP/2 the server learns of it. Not from
 * its own callback. */
void qv_client_cancel(struct qv_client_call *call);
/* With loop: gives what was sent to connections; after sends that no callback made. */
void qv_client_flush(struct qv_client *client);
/* With own_thread, from any thread: ends the calls sent with this id, which get QV_ECANCELED. Fine
 * when there is none any more. */
void qv_client_cancel_id(struct qv_client *client, uint64_t id);

/* Without own_thread: runs the loop until no call is in flight or qv_client_stop was called from a
 * callback. */
void qv_client_run(struct qv_client *client);
void qv_client_stop(struct qv_client *client);

/* An answer that outlives its callback. */
struct qv_client_answer {
    int status;
    int grpc_status;
    char grpc_message[256]; /* cut */
    struct qv_buf body;     /* owned: free with qv_client_answer_close */
    char content_type[64];
    uint64_t latency_ns;
};

/* Sends and waits. 0 and *out filled, or the err of the callback (then *out is empty). Not from a
 * callback. Without own_thread it also runs the other calls in flight while it waits. */
int qv_client_call(struct qv_client *client, const struct qv_client_request *request,
                   struct qv_client_answer *out) QV_MUST_USE;
void qv_client_answer_close(struct qv_client_answer *answer);

/* Value of a header of an answer (name in lower case), or NULL. */
const char *qv_client_header(const struct qv_client_response *response, const char *name);

#endif
