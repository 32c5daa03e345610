/* The network face of a node: HTTP/1.1, HTTP/2 (prior knowledge, or ALPN under TLS) and gRPC on
 * every port.
 *
 * A server owns `loops` threads, each with one libuv loop; every loop listens on every port
 * (SO_REUSEPORT where there is more than one). A request is given to the handler once it is
 * complete, as a struct qv_call, on the loop thread that read it. The handler answers it at once or
 * later, from any thread, exactly once: qv_call_reply or qv_call_reply_grpc. Answers posted from
 * other threads are collected: many answers cost one wake of the loop and one write a connection.
 * On a shared core a wake displaces the thread that answers; one that will answer the next call
 * right after this one sets call->lazy first: then this answer leaves with the next one that is
 * not, or after 25 ms.
 *
 * Invariants:
 *  1. Every call given to the handler is answered by it exactly once, even when it is cancelled or
 *     past its deadline; the answer ends the caller's right to touch the call.
 *  2. Answers on an HTTP/1.1 connection leave in the order of their requests.
 *  3. No connection, request or answer grows memory beyond the limits below.
 *  4. Until the answer the call belongs to the handler (one thread at a time); net touches only
 *     `cancelled`.
 *
 * What net answers by itself (JSON envelope, or the gRPC status that corresponds): 400 malformed
 * request, 408 too slow or past its deadline, 413 body over the limit, 415 a body compressed by
 * anything but gzip, 417 unknown Expect, 429 too
 * many requests or bytes (with Retry-After), 431 headers too large, 500 and 507 a body that can't
 * be spooled, 503 while shutting down, gRPC 4 DEADLINE_EXCEEDED, 8 RESOURCE_EXHAUSTED, 12
 * UNIMPLEMENTED (a message compressed by anything but gzip), 13.
 *
 * gzip: a request may come with Content-Encoding: gzip (HTTP) or as a compressed gRPC message; it
 * is unpacked before the handler sees it, under the same limits. An answer of pack_bytes_min or
 * more is packed where Accept-Encoding or grpc-accept-encoding asks for it, by the thread that
 * answers. Not so what is spooled or comes from a file.
 *
 * SIGPIPE must be ignored by the process: libuv writes without MSG_NOSIGNAL. */
#ifndef QV_NET_SERVER_H
#define QV_NET_SERVER_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define QV_NET_PORTS_MAX 4
#define QV_NET_LOOPS_MAX 64
#define QV_NET_REQUEST_ID_BYTES_MAX 128

struct qv_call;
struct qv_net_server;
struct qv_tls_ctx;

/* Name in lower case. Strings end with NUL. */
struct qv_net_header {
    const char *name;
    const char *value;
};

enum qv_net_method {
    QV_NET_GET,
    QV_NET_HEAD,
    QV_NET_POST,
    QV_NET_PUT,
    QV_NET_PATCH,
    QV_NET_DELETE,
    QV_NET_OPTIONS,
    QV_NET_METHOD_OTHER
};

/* Runs on the loop thread with a complete request. Takes the call: it must be answered once. */
typedef void qv_net_handler_f(void *ctx, struct qv_call *call);

/* Runs on the loop thread when a request's headers are there and before its body is read; body and
 * message are still empty. May answer the call at once (401, 403, 404): then the handler is never
 * called for it and the body is drained or the connection closed. Otherwise it must not keep it. */
typedef void qv_net_headers_f(void *ctx, struct qv_call *call);

/* 0 in any field means the default in brackets. */
struct qv_net_limits {
    size_t body_bytes_max;       /* [32 MiB] per request; beyond it 413 */
    size_t message_bytes_max;    /* [body_bytes_max] per gRPC message; RESOURCE_EXHAUSTED */
    size_t header_bytes_max;     /* [64 KiB] request line and headers of a request; 431 */
    uint32_t header_count_max;   /* [128] */
    uint32_t streams_max;        /* [256] HTTP/2 streams, or pipelined requests, a connection */
    uint32_t connections_max;    /* [10000] over all loops; beyond it a new one is closed at once */
    uint32_t calls_max;          /* [4096] requests in the handler's hands, all loops; 429 */
    size_t buffered_bytes_max;   /* [512 MiB] request bodies held, all connections; 429 */
    size_t unsent_bytes_max;     /* [1 MiB] of a connection's output; beyond it it isn't read */
    size_t arena_bytes_max;      /* [64 MiB] call->arena */
    size_t pack_bytes_min;       /* [1024] answers from here on are packed where asked for */
    uint32_t request_timeout_ms; /* [60000] complete request -> answer; 408 / DEADLINE_EXCEEDED */
    uint32_t header_timeout_ms;  /* [10000] first byte -> end of headers; 408; TLS handshakes */
    uint32_t body_timeout_ms;    /* [10000] for each 64 KiB of a body, or its end; 408 */
    uint32_t idle_timeout_ms;    /* [75000] keep-alive with nothing in flight; closed */
    uint32_t write_timeout_ms;   /* [30000] output that doesn't move; closed */
};

struct qv_net_server_config {
    const char *host;                 /* borrows during create; address; NULL = "127.0.0.1" */
    uint16_t ports[QV_NET_PORTS_MAX]; /* 0 = any free one, see qv_net_server_port */
    uint32_t n_ports;                 /* 1 .. QV_NET_PORTS_MAX */
    uint32_t loops;                   /* threads; 0 = 1 */
    int cpu;                          /* pin loop i to CPU cpu + i; negative = don't pin */
    bool cors;                        /* answer preflights, add access-control-* headers */
    struct qv_tls_ctx *tls; /* every port speaks TLS; NULL = none. Borrowed until destroy returns */
    struct qv_net_limits limits;
    qv_net_handler_f *handler;
    qv_net_headers_f *on_headers; /* may be NULL */
    void *ctx;                    /* borrowed by both, until destroy returns */
};

/* Fills *config with defaults: 127.0.0.1, no ports yet, one loop, not pinned, default limits. */
void qv_net_server_config_init(struct qv_net_server_config *config);

/* Binds every port, starts the loops. QV_EINVAL wrong config, QV_EBUSY a port is taken, QV_EIO.
 * Gives *out; end with qv_net_server_destroy. */
int qv_net_server_create(const struct qv_net_server_config *config, struct qv_net_server **out,
                         struct qv_errmsg *msg) QV_MUST_USE;

/* The port that ports[i] became. */
uint16_t qv_net_server_port(const struct qv_net_server *server, uint32_t i);

/* Begins a graceful end and returns at once: stop accepting, GOAWAY / Connection: close, finish the
 * calls in flight, and after drain_ms cut what is left. Any thread, and (the flag and one write to
 * an eventfd are all it does) a signal handler. Later calls can only shorten the drain. */
void qv_net_server_shutdown(struct qv_net_server *server, uint32_t drain_ms);

/* shutdown(0) when none was asked for, waits until every loop has ended and every call given to the
 * handler was answered (so keep the workers running until it returns), frees. NULL is fine; sets
 * *server to NULL. Not from a loop thread. */
void qv_net_server_destroy(struct qv_net_server **server);

/* Waits until the loops have ended after a shutdown; destroy is still to be called. */
void qv_net_server_wait(struct qv_net_server *server);

/* Counters since start, a consistent enough snapshot; any thread. */
struct qv_net_stats {
    uint64_t connections_open, connections_total, connections_refused;
    uint64_t calls_total;     /* given to the handler */
    uint64_t calls_in_flight; /* in its hands now */
    uint64_t calls_cancelled; /* the client went away or the deadline passed first */
    uint64_t refused_total;   /* answered by net or on_headers before the handler */
    uint64_t protocol_errors; /* connections cut for breaking a protocol or flooding */
    uint64_t bytes_in, bytes_out;
    uint64_t wakes, writes;               /* of the loops; system calls that sent bytes */
    uint64_t tls_handshakes, tls_resumed; /* done; those of them that a ticket made short */
    uint64_t tls_failures; /* connections cut for a bad or late handshake, or a bad record */
    uint64_t buffered_bytes;
};
void qv_net_server_stats(const struct qv_net_server *server, struct qv_net_stats *out);

/* ---- a call ------------------------------------------------------------------------------- */

/* Read-only for the handler, except arena. Every pointer is borrowed until the answer. */
struct qv_call {
    enum qv_net_method method;
    const char *method_name; /* "PROPFIND" for QV_NET_METHOD_OTHER */
    const char *path;        /* raw: not decoded, no query; begins with '/', or is "*" */
    size_t path_len;
    const char *query; /* raw, after '?'; "" when there is none */
    size_t query_len;
    const struct qv_net_header *headers; /* names in lower case; pseudo headers are not here */
    size_t n_headers;
    struct qv_bytes body;    /* contiguous; de-chunked */
    bool is_grpc;            /* application/grpc over HTTP/2 POST: answer with qv_call_reply_grpc */
    bool is_h2;              /* came over HTTP/2 */
    struct qv_bytes message; /* is_grpc: the one message of the request, inside body */
    uint64_t received_ns;    /* monotonic (CLOCK_MONOTONIC): when the request was complete */
    uint64_t deadline_ns;    /* same clock: the sooner of grpc-timeout and request_timeout_ms */
    uint32_t timeout_ms;     /* on_headers may set it, instead of request_timeout_ms; 0 = that */
    int spool_fd;            /* the body is in this file (qv_call_spool), else -1; the call's */
    uint64_t spool_bytes;    /* its length */
    char peer[56];           /* "127.0.0.1:4711", "[::1]:4711" */
    uint16_t local_port;     /* the port it came to */
    struct qv_arena arena;   /* the handler's, for the life of the call */
    void *user;              /* the handler's; NULL at first */
    bool keep_plain;         /* the handler's: the answering thread is not to compress */
    /* Set by on_headers, printable ASCII: goes with every answer as x-request-id. "": none. */
    char request_id[QV_NET_REQUEST_ID_BYTES_MAX + 1];
    /* The handler's, set before it returns: called on the loop thread when the call is cancelled,
     * once and unless its answer has arrived there; the call stays valid while it runs. NULL: none.
     */
    void (*on_cancel)(struct qv_call *call);
    bool lazy;             /* the handler's: the answer may wait for the next one, see below */
    atomic_bool cancelled; /* see qv_call_cancelled */
};

/* Value of the first header with this name (given in lower case), or NULL. O(n_headers). */
const char *qv_call_header(const struct qv_call *call, const char *name);

/* Parameter of the query string, decoded, in the call's arena. 0 and the first one with this name;
 * QV_ENOTFOUND; QV_EBADREQ when its escapes are wrong or hold a NUL; QV_ENOMEM. "a" and "a=" both
 * give "". */
int qv_call_query_param(struct qv_call *call, const char *name, const char **out) QV_MUST_USE;

/* The client went away or the deadline passed: the answer will be dropped, so work may stop. It
 * must still be answered. Any thread. */
static inline bool qv_call_cancelled(const struct qv_call *call)
{
    return atomic_load_explicit(&call->cancelled, memory_order_relaxed);
}

/* Brings the deadline forward to deadline_ns, if that is sooner: from then on net answers in the
 * handler's place and the call is cancelled. The thread that has the call. */
static inline void qv_call_hurry(struct qv_call *call, uint64_t deadline_ns)
{
    if (deadline_ns < call->deadline_ns)
        __atomic_store_n(&call->deadline_ns, deadline_ns, __ATOMIC_RELAXED);
}

/* A buffer of the call's own whose memory is reused from call to call: build the answer's body in
 * it and hand it to a reply, and no allocation happens. Empty at first. */
struct qv_buf *qv_call_out(struct qv_call *call);

/* Only inside on_headers: the body of this request is to go to a file without a name in dir instead
 * of memory, with a bound of its own instead of body_bytes_max (413 beyond it). The handler then
 * gets an empty body, spool_fd (read and write; closed with the call: dup it to keep it) and
 * spool_bytes. Writing happens on libuv's thread pool; a sender that is faster than the disk is
 * held back (HTTP/1 is not read, HTTP/2 windows stay closed). A write that fails is answered by
 * net: 507 when the disk is full, else 500. QV_EINVAL for a gRPC call; QV_ENOMEM; QV_ENOTFOUND,
 * QV_ENOSPC or QV_EIO when the file can't be made: then nothing has changed. */
int qv_call_spool(struct qv_call *call, const char *dir, uint64_t bytes_max) QV_MUST_USE;

/* Answers and gives the call back; any thread, once. status 200 .. 599. content_type: borrows for
 * ever (a literal), NULL only when there is no body. extra: copied, at most 16, may be NULL; names
 * in lower case, values without CR, LF or NUL (asserted); not content-length, connection,
 * transfer-encoding. body: takes its bytes and leaves it empty; NULL or empty = none; it may be
 * qv_call_out(call). A body with `failed` set becomes 500. On a HEAD request the length is sent and
 * the body is not. On a gRPC call this sends a plain HTTP answer (clients map 401 and 503
 * themselves): only for what happens before gRPC. */
void qv_call_reply(struct qv_call *call, int status, const char *content_type,
                   const struct qv_net_header *extra, size_t n_extra, struct qv_buf *body);

/* Bytes [offset, offset + bytes) of an open file. */
struct qv_net_file {
    int fd;
    uint64_t offset, bytes;
};

/* The same with a part of a file as the body. Takes file->fd (it is closed, also where nothing is
 * sent); borrows the struct. It is read by offset on libuv's thread pool, a chunk at a time, only
 * as fast as the client takes it. A file that turns out to be shorter, or can't be read, cuts the
 * connection (HTTP/2: the stream), and the log says so. Not for gRPC calls (asserted). */
void qv_call_reply_file(struct qv_call *call, int status, const char *content_type,
                        const struct qv_net_header *extra, size_t n_extra,
                        const struct qv_net_file *file);

/* The same for a gRPC call (asserted). grpc_status 0 sends the message (body; NULL or empty = a
 * message of zero bytes) and trailers; any other is trailers-only and body is dropped.
 * grpc_message: UTF-8, copied, percent-encoded by net, cut to 1024 bytes; NULL = none. The 5-byte
 * prefix is net's: body holds the bare message. */
void qv_call_reply_grpc(struct qv_call *call, int grpc_status, const char *grpc_message,
                        struct qv_buf *body);

/* The same with trailing metadata (the rules of `extra`; not grpc-*). */
void qv_call_reply_grpc_extra(struct qv_call *call, int grpc_status, const char *grpc_message,
                              const struct qv_net_header *extra, size_t n_extra,
                              struct qv_buf *body);

#define QV_NET_REPLY_HEAD_BYTES_MAX ((size_t)4096)

/* An answer with grpc-status 0 whose message is head (copied) and behind it body, which is not
 * copied. Never compressed. */
void qv_call_reply_grpc_parts(struct qv_call *call, struct qv_bytes head, struct qv_buf *body);

/* ---- a gRPC call that is a stream ----------------------------------------------------------- */

#define QV_NET_STREAM_ON (-1)
#define QV_NET_STREAM_MESSAGE_BYTES_MAX ((size_t)64 * 1024)  /* of a request; beyond it status 8 */
#define QV_NET_STREAM_UNSENT_BYTES_MAX ((size_t)1024 * 1024) /* of answers not read; status 8 */

/* Runs on the loop thread for each message of the request, and with message.p == NULL when the
 * client sends no more. Appends answers to out, each framed (qv_grpc_put_prefix). Gives a gRPC
 * status to end the stream with, or QV_NET_STREAM_ON. For what is small and quick: there is no
 * back-pressure but the bounds above, and no deadline. The message is borrowed. */
typedef int qv_net_stream_f(void *ctx, struct qv_call *call, struct qv_bytes message,
                            struct qv_buf *out);

/* From on_headers, on a gRPC call that is not answered: its messages go to on_message one by one,
 * and the handler is never called for it. ctx: the server's. When the server shuts down its streams
 * end with UNAVAILABLE. */
void qv_call_stream(struct qv_call *call, qv_net_stream_f *on_message);

#endif
