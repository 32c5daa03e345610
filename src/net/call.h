/* A call with what net keeps about it. Private to net.
 *
 * Life: created by a protocol when a request begins (RECEIVING); complete and held back because the
 * connection has too much to send (WAITING); in the handler's hands (HANDED); answered, its answer
 * not yet wholly given to the connection (ANSWERED); then back to the core's pool. A call whose
 * connection is gone, or whose place was taken by an answer of net's own (its deadline passed), is
 * detached: conn is NULL, and its answer will be dropped.
 *
 * While HANDED everything in it belongs to the handler except: conn, stream_id, the links and state
 * (loop thread), cancelled (atomic). A reply fills the reply_* fields in the answering thread and
 * then gives the call back through the core's stack of posted calls. */
#ifndef QV_NET_CALL_H
#define QV_NET_CALL_H

#include "net/server.h"

struct qv_net_core;
struct qv_conn;
struct qv_spool;
struct qv_filebody;
struct qv_unpack;

enum qv_call_state { QV_CALL_RECEIVING, QV_CALL_WAITING, QV_CALL_HANDED, QV_CALL_ANSWERED };

/* Offsets into head: the buffer may move while it grows. */
struct qv_call_slot {
    uint32_t name, value;
};

struct qv_call_priv {
    struct qv_call pub; /* first: a struct qv_call * is one of these */
    struct qv_net_core *core;
    struct qv_conn *conn;
    struct qv_call_priv *conn_prev, *conn_next;     /* the connection's calls, oldest first */
    struct qv_call_priv *active_prev, *active_next; /* the core's WAITING and HANDED calls */
    struct qv_call_priv *next;                      /* posted, or free */
    enum qv_call_state state;
    int32_t stream_id; /* HTTP/2 */

    /* request */
    bool head_method;    /* HEAD: the answer's body is not sent */
    bool keep_alive;     /* HTTP/1 */
    bool http10;         /* HTTP/1.0: say keep-alive aloud */
    bool continue_due;   /* HTTP/1: owes a "100 Continue" */
    bool has_origin;     /* CORS headers go into the answer */
    bool head_done;      /* HTTP/2: the head is there, the body is being read */
    bool end_sent;       /* HTTP/2: answered and sent, before the request's end */
    bool complete;       /* the whole request was read */
    bool packed;         /* HTTP: the body comes as gzip */
    bool over_budget;    /* the head doesn't fit into the server's budget: 429 */
    bool head_too_big;   /* answered with 431 once the headers end */
    uint64_t started_ns; /* first byte */
    struct qv_buf head;  /* every string of the head, each with its NUL */
    struct qv_call_slot *slots;
    struct qv_net_header *headers;
    uint32_t n_slots, cap_slots;
    uint32_t method_at, path_at; /* offsets into head; UINT32_MAX = not seen */
    size_t head_bytes;
    struct qv_buf body;
    size_t charged_bytes;      /* of the server's budget for request bodies */
    struct qv_spool *spool;    /* where the body goes instead */
    uint32_t spool_unconsumed; /* HTTP/2: of the windows, not yet written */
    struct qv_unpack *unpack;  /* the body is being unpacked there */
    uint64_t mark_bytes;       /* of the body, when its timeout began anew */

    /* a stream: see qv_call_stream; its answers are in reply_body from reply_sent_bytes on */
    qv_net_stream_f *on_message;
    bool stream_ended; /* the status is known: sent behind what is in reply_body */

    /* answer */
    bool reply_is_grpc;
    int reply_status; /* HTTP, or gRPC */
    const char *reply_type;
    struct qv_buf reply_extra; /* name NUL value NUL ... */
    uint32_t n_extra;
    struct qv_buf reply_message; /* gRPC: percent-encoded */
    struct qv_buf reply_head;    /* gRPC: what the message begins with */
    struct qv_buf reply_body;
    struct qv_filebody *reply_file; /* instead of reply_body */
    bool reply_packed;              /* reply_body is gzip */
    bool reply_varies;              /* it might have been, for another client */
    bool reply_head_sent;           /* HTTP/1 */
    size_t reply_sent_bytes;        /* HTTP/2: prefix included */
    size_t reply_counted_bytes;     /* of conn->reply_bytes */
    struct qv_buf out;              /* see qv_call_out */
};

/* From the pool or fresh; NULL without memory. Empty, RECEIVING, not in any list. */
struct qv_call_priv *qv_call_acquire(struct qv_net_core *core);
/* Back to the pool; in no list any more. */
void qv_call_release(struct qv_call_priv *call);
/* For real: the core is closing. */
void qv_call_free(struct qv_call_priv *call);

/* Building the head. A name is lowered. When the limits are passed head_too_big is set and the rest
 * is dropped. Values may come in pieces. */
void qv_call_set_method(struct qv_call_priv *call, const char *s, size_t n);
void qv_call_add_path(struct qv_call_priv *call, const char *s, size_t n);
void qv_call_add_header(struct qv_call_priv *call, const char *name, size_t name_len,
                        const char *value, size_t value_len);
void qv_call_begin_name(struct qv_call_priv *call);
bool qv_call_name_is_empty(const struct qv_call_priv *call);
void qv_call_begin_value(struct qv_call_priv *call);
void qv_call_add_bytes(struct qv_call_priv *call, const char *s, size_t n);
/* Makes pub's pointers. QV_EBADREQ for a target that is none, QV_ETOOBIG past the limits. */
int qv_call_finish_head(struct qv_call_priv *call) QV_MUST_USE;

/* Makes room for an announced body, as far as that is safe to believe. */
void qv_call_reserve(struct qv_call_priv *call, size_t bytes);
/* Takes n bytes of the server's budget until the release; false when it is used up. */
bool qv_call_charge(struct qv_call_priv *call, size_t n) QV_MUST_USE;
/* Gives some back before. */
void qv_call_discharge(struct qv_call_priv *call, size_t n);
/* The body's bytes so far. */
uint64_t qv_call_body_bytes(const struct qv_call_priv *call);
/* The answer's body: how many bytes. */
uint64_t qv_call_reply_bytes(const struct qv_call_priv *call);
/* Gives back n bytes of what was charged. */
void qv_call_uncharge(struct qv_call_priv *call, size_t n);
/* Adds to the body under the limits. QV_ETOOBIG, QV_EBUSY (server's budget), QV_ENOMEM, what
 * writing to the spool gave. */
int qv_call_add_body(struct qv_call_priv *call, const void *p, size_t n) QV_MUST_USE;

/* Sets deadline_ns, makes body and, for gRPC, message; or gives what is to be unpacked first
 * (packed->n > 0: qv_call_finish_plain when that is done). The error of qv_grpc_unframe. */
int qv_call_finish_body(struct qv_call_priv *call, struct qv_bytes *packed) QV_MUST_USE;
/* Makes body and message from what was unpacked. */
int qv_call_finish_plain(struct qv_call_priv *call) QV_MUST_USE;

#endif
