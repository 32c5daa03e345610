/* One server connection as a machine over bytes: what came is fed in, what is to be sent is taken
 * out. No sockets, no clock, no threads: the socket loop (server.c) and the fuzzers drive it alike.
 * TLS stands between the owner and feed/iov and is not known here.
 *
 * struct qv_net_core is what the connections of one loop share. Everything here belongs to the
 * loop's thread, except `posted`, `posters` and what `shared` points to.
 *
 * The first bytes decide the protocol: the 24-byte HTTP/2 preface, or HTTP/1. */
#ifndef QV_NET_CONN_H
#define QV_NET_CONN_H

#include "net/call.h"
#include "net/outq.h"
#include "net/server.h"

#include <pthread.h>

#define QV_CONN_BUDGET_TEXT "Rate limiting exceeded: too many bytes of requests are held"

struct qv_http1;
struct qv_http2;

/* Over all loops of a server. */
struct qv_net_shared {
    atomic_size_t buffered_bytes;
    atomic_uint connections;
    atomic_uint calls; /* in the handler's hands */
};

/* Written by the loop's thread, read by any. */
struct qv_net_counters {
    atomic_uint_fast64_t connections_total, connections_refused, calls_total, calls_cancelled,
        refused_total, protocol_errors, bytes_in, bytes_out, wakes, writes, tls_handshakes,
        tls_resumed, tls_failures;
};

/* Work that is none for the loop: disk and compression. run happens on another thread, then done on
 * the loop's, never from inside the offload. */
struct qv_net_job {
    void (*run)(struct qv_net_job *job);
    void (*done)(struct qv_net_job *job);
    void *arg;
    struct qv_net_core *core; /* offload's */
    struct qv_net_job *next;  /* the owner's */
};

struct qv_net_core {
    struct qv_net_limits limits; /* no zeros left */
    qv_net_handler_f *handler;
    qv_net_headers_f *on_headers;
    void *ctx;
    bool cors;
    bool draining; /* shutting down: answers close their connections */
    struct qv_net_shared *shared;
    pthread_t thread;
    void (*wake)(void *arg); /* from any thread: call qv_net_core_drain_posted soon */
    void *wake_arg;
    /* The owner's: job->run on a pool of threads, later qv_net_core_job_done here. */
    void (*offload)(struct qv_net_core *core, struct qv_net_job *job);
    uint64_t now_ns; /* set by the owner before it calls in */
    char date[32];   /* IMF-fixdate, or "" for no date header; the owner keeps it */
    struct qv_net_counters counters;
    struct qv_buf scratch; /* where an HTTP/1 head is put together */

    struct qv_conn *conns; /* doubly linked */
    struct qv_conn *dirty; /* singly linked: have output, or became ready to close */
    struct qv_call_priv *active;
    struct qv_call_priv *free_calls;
    unsigned n_free_calls, n_active;
    unsigned n_handed; /* given to the handler and not back yet */
    unsigned n_jobs;   /* under way: the core must stay */

    _Atomic(struct qv_call_priv *) posted; /* answered elsewhere, newest first */
    atomic_bool woken;                     /* wake was called and the stack not looked at since */
    atomic_uint posters;                   /* threads inside a reply that may still call wake */
};

enum qv_conn_kind { QV_CONN_SNIFF, QV_CONN_HTTP1, QV_CONN_HTTP2 };

struct qv_conn {
    struct qv_net_core *core;
    struct qv_conn *prev, *next, *dirty_next;
    bool is_dirty;
    enum qv_conn_kind kind;
    struct qv_http1 *http1;
    struct qv_http2 *http2;
    struct qv_outq out;
    struct qv_call_priv *first_call, *last_call;
    uint32_t n_calls, n_waiting;
    size_t reply_bytes; /* bodies of answers not yet in out */
    bool eof;           /* the peer sends no more */
    bool finishing;     /* nothing more is taken in; close when out is empty */
    bool lingering;     /* finishing, with the peer still sending: half-close, then read and drop */
    bool broken;        /* close at once */
    bool goaway;
    uint64_t active_ns; /* last time bytes came or went, or a call ended */
    uint64_t moved_ns;  /* last time output moved, or began */
    uint64_t eof_ns;
    uint64_t sniff_ns; /* the first byte came */
    uint8_t sniffed[24];
    size_t n_sniffed;
    char peer[56];
    uint16_t local_port;
    size_t writing_bytes; /* the owner's: given to the system, not yet sent */
    void *owner;          /* the owner's */
};

/* limits' zeros become the defaults. */
void qv_net_core_init(struct qv_net_core *core, const struct qv_net_server_config *config,
                      struct qv_net_shared *shared);
/* No connection, no handed call and no job is left (asserted). */
void qv_net_core_close(struct qv_net_core *core);
/* Takes what other threads answered to the connections. */
void qv_net_core_drain_posted(struct qv_net_core *core);
/* Loop thread: gives an answered call to its connection, or drops it when that is gone. */
void qv_net_core_apply(struct qv_call_priv *call);
/* Loop thread. The job stays where it is until its done. */
void qv_net_core_offload(struct qv_net_core *core, struct qv_net_job *job);
/* The owner, on the loop thread: the job has run. It may be gone after. */
void qv_net_core_job_done(struct qv_net_job *job);
/* Deadlines of calls, then timeouts of connections. */
void qv_net_core_tick_calls(struct qv_net_core *core);
void qv_net_core_tick_conns(struct qv_net_core *core);

/* NULL without memory. peer is copied. */
struct qv_conn *qv_conn_create(struct qv_net_core *core, const char *peer, uint16_t local_port,
                               void *owner);
/* Cuts its calls off (cancelled, detached) and frees it. NULL is fine; sets *conn to NULL. */
void qv_conn_destroy(struct qv_conn **conn);
/* Cancels and detaches every call: the peer is gone. After it the connection can only be
 * destroyed. */
void qv_conn_cancel_calls(struct qv_conn *conn);

void qv_conn_feed(struct qv_conn *conn, const void *p, size_t n);
void qv_conn_eof(struct qv_conn *conn);
bool qv_conn_wants_read(const struct qv_conn *conn);
/* Pulls output from the protocol into conn->out, up to a bound; call again as it drains. */
void qv_conn_fill(struct qv_conn *conn);
/* n bytes of conn->out went out. */
void qv_conn_sent(struct qv_conn *conn, size_t n);
/* Nothing left to do: the owner closes it. */
bool qv_conn_done(const struct qv_conn *conn);
/* Finish what is in flight, take nothing new. */
void qv_conn_begin_goaway(struct qv_conn *conn);

/* ---- for the protocols ---------------------------------------------------------------------- */

void qv_conn_mark_dirty(struct qv_conn *conn);
void qv_conn_protocol_error(struct qv_conn *conn);
/* A new call at the end of conn's list; NULL without memory. */
struct qv_call_priv *qv_conn_begin_call(struct qv_conn *conn);
/* Out of the lists, and released. */
void qv_conn_end_call(struct qv_call_priv *call);
/* Out of the lists, cancelled; released unless the handler has it. */
void qv_conn_drop_call(struct qv_call_priv *call);
/* The head is there: early answers (CORS preflight, 413 by announced length, on_headers). True when
 * the call is answered. announced_bytes: SIZE_MAX when unknown. */
bool qv_conn_check_head(struct qv_call_priv *call, size_t announced_bytes);
/* Passes an ANSWERED call of a live connection to its protocol; the call may be gone after. */
void qv_conn_dispatch(struct qv_call_priv *call);
/* The request is complete: to the handler, or into the waiting room. */
void qv_conn_hand_over(struct qv_call_priv *call);
/* Hands over what waited, as far as the connection's output allows. */
void qv_conn_resume_waiting(struct qv_conn *conn);
/* Answers a call that the handler doesn't have with an error of net's own, an HTTP status; a gRPC
 * call gets the gRPC status that corresponds. */
void qv_conn_refuse(struct qv_call_priv *call, int http_status, const char *text);
void qv_conn_refuse_err(struct qv_call_priv *call, int err);
/* n bytes of the call's spool were written, or its error is set. */
void qv_conn_spooled(struct qv_call_priv *call, size_t n);
/* What the call's unpacking gave: 0 and the plain body, or an error. */
void qv_conn_unpacked(struct qv_call_priv *call, int err);
/* The chunk of the answer's file is there, or its error is set. */
void qv_conn_file_ready(struct qv_call_priv *call);
/* A call whose body is being read is late: less than 64 KiB since its timeout began. *from_ns is
 * when it began, and moves on. held: the sender is held back by us. */
bool qv_conn_body_is_late(struct qv_call_priv *call, uint64_t *from_ns, bool held);

/* http1.c */
struct qv_http1 *qv_http1_create(struct qv_conn *conn);
void qv_http1_destroy(struct qv_http1 **http1);
void qv_http1_feed(struct qv_http1 *h, const uint8_t *p, size_t n);
void qv_http1_eof(struct qv_http1 *h);
bool qv_http1_wants_read(const struct qv_http1 *h);
void qv_http1_answered(struct qv_http1 *h, struct qv_call_priv *call);
/* The spool of a call can't be written: refused, whether its body is complete or not. */
void qv_http1_spool_failed(struct qv_http1 *h, struct qv_call_priv *call, int err);
void qv_http1_fill(struct qv_http1 *h);
void qv_http1_tick(struct qv_http1 *h, uint64_t now_ns);

/* http2.c */
struct qv_http2 *qv_http2_create(struct qv_conn *conn);
void qv_http2_destroy(struct qv_http2 **http2);
void qv_http2_feed(struct qv_http2 *h, const uint8_t *p, size_t n);
bool qv_http2_wants_io(const struct qv_http2 *h);
void qv_http2_answered(struct qv_http2 *h, struct qv_call_priv *call);
void qv_http2_replace(struct qv_http2 *h, struct qv_call_priv *old, struct qv_call_priv *now);
void qv_http2_fill(struct qv_http2 *h);
void qv_http2_spooled(struct qv_http2 *h, struct qv_call_priv *call, size_t n);
void qv_http2_file_ready(struct qv_http2 *h, struct qv_call_priv *call);
void qv_http2_goaway(struct qv_http2 *h);
void qv_http2_tick(struct qv_http2 *h, uint64_t now_ns);

#endif
