/* What the net suites share: an echo server with a worker thread, raw sockets, and the same handler
 * behind a connection without sockets. */
#ifndef QV_TEST_NET_FIXTURE_H
#define QV_TEST_NET_FIXTURE_H

#include "net/client.h"
#include "net/grpc.h"
#include "net/server.h"
#include "net_memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Paths: /echo, /t.T/Echo answer at once with the body; /later, /t.T/Later from the worker, after
 * header x-delay-ms; /big?n=N gives N bytes; /t.T/Missing NOT_FOUND with a text; /t.T/... else
 * UNIMPLEMENTED; /info describes the request; anything else 404. */
struct echo_server {
    struct qv_net_server *net;
    uint16_t port;
    char url[64];
    pthread_t worker;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct qv_call *queue[4096]; /* a ring, guarded by mutex */
    unsigned head, tail;
    bool quit;
    atomic_uint cancelled_seen; /* calls whose flag the worker saw */
    atomic_uint handled;
    bool refuse_unauthorized; /* on_headers asks for x-key: yes */
    struct qv_tls_ctx *tls;   /* of a suite built with NET_OVER_TLS */
};

#ifdef NET_OVER_TLS
#define NET_SCHEME "https"
#else
#define NET_SCHEME "http"
#endif
const char *net_fixture_ca(void); /* for clients; NULL without TLS */

/* config: its handler, ctx, n_ports are set here; NULL = defaults. */
void echo_server_start(struct echo_server *s, const struct qv_net_server_config *config);
void echo_server_stop(struct echo_server *s, uint32_t drain_ms);
void echo_handle(void *ctx, struct qv_call *call); /* without a worker: ctx may be NULL */

int raw_connect(uint16_t port); /* blocking, 20 s timeouts; NET_OVER_TLS: a relay's */
int raw_connect_tcp(uint16_t port);
void raw_send(int fd, const void *p, size_t n);
void raw_send_str(int fd, const char *s);
/* Reads until EOF, an error, or max bytes; gives how many; adds a NUL (room for max + 1). */
size_t raw_read_all(int fd, char *out, size_t max);
/* Reads until `until` appears, or as raw_read_all. */
size_t raw_read_until(int fd, char *out, size_t max, const char *until);

/* memory_conn_open with echo_handle, and defaults where config is NULL. */
void echo_conn_open(struct memory_conn *m, const struct qv_net_server_config *config);

#endif
