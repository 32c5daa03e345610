/* A server connection without sockets: bytes in, bytes out, and a clock that the test turns. Used
 * by the unit tests and the fuzz targets of net. One thread. */
#ifndef QV_TEST_NET_MEMORY_H
#define QV_TEST_NET_MEMORY_H

#include "net/conn.h"

struct memory_conn {
    struct qv_net_shared shared;
    struct qv_net_core core;
    struct qv_conn *conn;
    struct qv_net_job *jobs, **jobs_end; /* offloaded: they run in the next pump */
    struct qv_buf out;                   /* everything the connection sent so far */
};

/* config: the handler is needed. */
void memory_conn_open(struct memory_conn *m, const struct qv_net_server_config *config);
/* Feeds (unless the connection wants no bytes now) and pumps. */
void memory_conn_feed(struct memory_conn *m, const void *p, size_t n);
/* Moves what is to be sent to out, until nothing moves. */
void memory_conn_pump(struct memory_conn *m);
/* Every call must be answered; asserts that nothing is left charged. */
void memory_conn_close(struct memory_conn *m);

#endif
