/* An HTTP/2 client (nghttp2) against a server connection in memory. */
#ifndef QV_TEST_NET_PEER_H
#define QV_TEST_NET_PEER_H

#include "net_fixture.h"

#include <nghttp2/nghttp2.h>

struct peer {
    nghttp2_session *session;
    struct memory_conn m;
    struct qv_buf to_server;
    unsigned answers, resets, goaways;
    uint32_t last_reset;
    char status[8], grpc_status[8];
    char encoding[16]; /* content-encoding or grpc-encoding */
    char vary[32];
    size_t body_bytes;
    struct qv_buf body; /* its first 1 MiB */
    size_t fed;         /* of m.out */
};

/* What a request's body is read from. */
struct source {
    const uint8_t *p;
    size_t n, at;
    bool hold; /* never ends */
};

/* config: its handler is echo_handle; NULL = defaults. */
void peer_open(struct peer *peer, const struct qv_net_server_config *config);
void peer_close(struct peer *peer);
/* Both ways until nothing moves. */
void peer_pump(struct peer *peer);
/* extra_name: NULL, or one more header. source: until the stream ends. */
int32_t peer_post(struct peer *peer, const char *path, const char *type, const char *extra_name,
                  const char *extra_value, struct source *source);

#endif
