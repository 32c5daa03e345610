/* The inside of net/client.h. Private to net.
 *
 * A call is in exactly one place: posted (sent by another thread, under the mutex), waiting (for a
 * connection with room), or on a connection. Everything but `posted` belongs to the loop's thread.
 */
#ifndef QV_NET_CLIENT_CONN_H
#define QV_NET_CLIENT_CONN_H

#include "net/client.h"
#include "net/outq.h"
#include "net/tls.h"
#include "net/url.h"

#include <pthread.h>
#include <uv.h>

struct qv_client_conn;
struct qv_client_h1;
struct qv_client_h2;

struct qv_client_slot {
    uint32_t name, value; /* offsets into the call's buffer */
};

struct qv_client_call {
    struct qv_client *client;
    struct qv_client_conn *conn;        /* NULL while posted or waiting */
    struct qv_client_call *prev, *next; /* of the list it is in */
    struct qv_client_call *free_next;
    /* request */
    struct qv_buf head; /* method NUL path NUL content type NUL, then name NUL value NUL ... */
    uint32_t path_at, type_at, headers_at;
    uint32_t n_headers;
    bool grpc, has_type, is_head;
    struct qv_bytes body; /* borrowed */
    uint32_t front_at;    /* gRPC: what the message begins with, in head */
    uint32_t front_bytes;
    char timeout_text[16];
    size_t body_sent_bytes; /* gRPC: prefix included */
    bool begun;             /* some of it may have left */
    uint64_t sent_ns, deadline_ns;
    qv_client_done_f *done;
    qv_client_message_f *on_message; /* NULL: one answer */
    void *arg;
    uint64_t id;
    bool keep_open;
    int32_t stream_id;
    /* answer */
    int status, grpc_status; /* grpc_status < 0: none came */
    struct qv_buf fields;    /* name NUL value NUL ... */
    struct qv_client_slot *slots;
    struct qv_net_header *headers;
    uint32_t n_slots, cap_slots;
    struct qv_buf answer; /* of a stream: the message that is not complete */
    bool too_big, broken; /* broken: what came is no gRPC */
};

struct qv_client_list {
    struct qv_client_call *first, *last;
    uint32_t n;
};

enum qv_client_state { QV_CLIENT_CLOSED, QV_CLIENT_CONNECTING, QV_CLIENT_OPEN, QV_CLIENT_CLOSING };

struct qv_client_conn {
    struct qv_client *client;
    enum qv_client_state state;
    bool draining; /* GOAWAY, or the last answer said close: takes no new calls */
    bool writing, write_failed;
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    uint64_t connect_by_ns;
    uint64_t heard_ns, ping_ns; /* last byte received; ping under way since, 0: none */
    struct qv_outq out;
    struct qv_tls *tls;  /* NULL: none; the connection is OPEN when its handshake is over */
    size_t sealed_bytes; /* of out: encrypted and not all sent yet */
    size_t writing_bytes;
    struct qv_client_list calls; /* oldest first */
    struct qv_client_h1 *h1;
    struct qv_client_h2 *h2;
};

struct qv_client {
    struct qv_client_config config; /* defaults filled in; url NULL */
    struct qv_url url;
    char authority[300];
    char prefix[1024]; /* "" or "/path" without a slash at its end */
    struct sockaddr_storage address;
    uv_loop_t *uv; /* own, or the caller's */
    uv_loop_t own;
    unsigned n_handles; /* with a loop of the caller's: not closed yet */
    uv_async_t async;
    uv_timer_t timer;
    uint32_t tick_ms; /* 0: the timer is stopped */
    uint64_t now_ns;
    struct qv_client_conn *conns;
    struct qv_client_list waiting;
    struct qv_client_call *free_calls;
    unsigned n_free_calls;
    uint32_t n_calls;   /* waiting or on a connection */
    uint32_t n_endless; /* of them: without a deadline */
    bool stop, closing, settling;
    struct qv_tls_ctx *tls; /* NULL: plain http */
    bool tls_borrowed;
    char why[200]; /* see qv_client_why */
    char *read_buf;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards posted, cancels, quit */
    struct qv_client_call *posted_first, *posted_last;
    uint64_t *cancels;
    uint32_t n_cancels, cap_cancels;
    bool quit;
};

/* client.c */
void qv_client_list_add(struct qv_client_list *list, struct qv_client_call *call);
void qv_client_list_remove(struct qv_client_list *list, struct qv_client_call *call);
/* Ends a call: err, or what its answer fields say. Calls back. */
void qv_client_finish(struct qv_client_call *call, int err);
/* One handle more, or one less, of a caller's loop; the last one frees the client. */
void qv_client_hold(struct qv_client *client);
void qv_client_let_go(struct qv_client *client);
/* Gives waiting calls to connections and flushes; the end of every event. */
void qv_client_settle(struct qv_client *client);
void qv_client_add_field(struct qv_client_call *call, const char *name, size_t name_len,
                         const char *value, size_t value_len);
void qv_client_begin_field(struct qv_client_call *call);
void qv_client_begin_field_value(struct qv_client_call *call);
/* Adds to the answer's body; sets too_big past the limit. A stream's whole messages are given to
 * its callback; sets broken where they are none. */
void qv_client_add_body(struct qv_client_call *call, const void *p, size_t n);
const char *qv_client_method(const struct qv_client_call *call);
const char *qv_client_path(const struct qv_client_call *call);

/* client_conn.c */
void qv_client_conn_open(struct qv_client_conn *conn);
/* Ends its calls (err for those begun, QV_EUNAVAILABLE for the others) and closes the socket. */
void qv_client_conn_close(struct qv_client_conn *conn, int err);
void qv_client_conn_flush(struct qv_client_conn *conn);
bool qv_client_conn_has_room(const struct qv_client_conn *conn);
void qv_client_conn_submit(struct qv_client_conn *conn, struct qv_client_call *call);
void qv_client_conn_tick(struct qv_client_conn *conn);

/* client_http1.c; the feeders give 0, or an error that ends the connection */
struct qv_client_h1 *qv_client_h1_create(struct qv_client_conn *conn);
void qv_client_h1_destroy(struct qv_client_h1 **h1);
void qv_client_h1_submit(struct qv_client_h1 *h1, struct qv_client_call *call);
int qv_client_h1_feed(struct qv_client_h1 *h1, const char *p, size_t n);
void qv_client_h1_eof(struct qv_client_h1 *h1);

/* client_http2.c */
struct qv_client_h2 *qv_client_h2_create(struct qv_client_conn *conn);
void qv_client_h2_destroy(struct qv_client_h2 **h2);
int qv_client_h2_submit(struct qv_client_h2 *h2, struct qv_client_call *call);
int qv_client_h2_feed(struct qv_client_h2 *h2, const char *p, size_t n);
int qv_client_h2_fill(struct qv_client_h2 *h2);
/* QV_EPROTO when the session is over. */
int qv_client_h2_ping(struct qv_client_h2 *h2);
void qv_client_h2_cancel(struct qv_client_h2 *h2, struct qv_client_call *call);
bool qv_client_h2_ended(const struct qv_client_h2 *h2);

#endif
