/* Sessions with peers: looking up, connecting, greeting, and their end. On the calling thread. */
#include "base/mem.h"
#include "base/qv_assert.h"
#include "net/grpc.h"
#include "net/peer_tcp_private.h"

#include <stdio.h>
#include <string.h>

#define LINK_BACKOFF_MAX 30u /* times retry_ms */

void qv_peer_link_tell(struct peer_link *link, uint64_t incarnation, uint32_t feature_level)
{
    struct peer_news *news = qv_mem_calloc(1, sizeof *news);
    news->note.kind = NOTE_STATE;
    news->note.what = news;
    news->link = link;
    news->state.connected = link->state == LINK_UP;
    news->state.incarnation = incarnation;
    news->state.protocol = link->protocol;
    news->state.feature_level = feature_level;
    news->state.why_err = link->why_err;
    snprintf(news->state.why, sizeof news->state.why, "%s", link->why);
    qv_peer_give_back(link->t, &news->note);
}

/* A client can't be closed inside its own callback: it goes with the loop's next turn. */
static void reap(struct qv_peer_tcp *t, struct qv_client *client)
{
    if (t->n_reap == t->cap_reap) {
        t->cap_reap = t->cap_reap == 0 ? 8 : 2 * t->cap_reap;
        t->reap = qv_mem_realloc(t->reap, t->cap_reap * sizeof(struct qv_client *));
    }
    t->reap[t->n_reap++] = client;
    uv_async_send(&t->async);
}

void qv_peer_link_down(struct peer_link *link, int err, const char *why)
{
    struct qv_peer_tcp *t = link->t;
    bool was_up = link->state == LINK_UP;
    bool was_down = link->state == LINK_DOWN;
    link->state = LINK_DOWN;
    link->session[0] = '\0';
    link->why_err = err;
    snprintf(link->why, sizeof link->why, "%s", why);
    if (was_up) /* worth another try at once */
        link->backoff_ms = 0;
    if (!was_down) {
        uint64_t random = 0; /* jitter: a nonce's bits are as good as any */
        memcpy(&random, link->nonce, sizeof random);
        uint64_t half_ns = link->backoff_ms * QV_NS_PER_MS / 2;
        link->retry_ns = qv_peer_now_ns(t) + half_ns + (half_ns > 0 ? random % half_ns : 0);
        uint32_t max = LINK_BACKOFF_MAX * t->config.retry_ms;
        uint32_t next = link->backoff_ms == 0 ? t->config.retry_ms : 2 * link->backoff_ms;
        link->backoff_ms = next < max ? next : max;
    }
    for (unsigned lane = 0; lane < PEER_LANES; lane++) {
        if (link->clients[lane] != NULL)
            reap(t, link->clients[lane]); /* what it carries ends then */
        link->clients[lane] = NULL;
    }
    qv_peer_link_fail_queued(link, err, why);
    if (!was_down)
        qv_peer_link_tell(link, 0, 0);
}

static void on_lost(void *arg)
{
    struct peer_link *link = arg;
    if (link->state != LINK_UP || link->clients[0] == NULL)
        return;
    char why[QV_PEER_TEXT_BYTES_MAX];
    const char *said = qv_client_why(link->clients[0]);
    snprintf(why, sizeof why, "the connection was lost%s%s", said[0] != '\0' ? ": " : "", said);
    qv_peer_link_down(link, QV_EUNAVAILABLE, why);
}

static void on_destroyed(void *arg)
{
    struct peer_link *link = arg;
    struct qv_peer_tcp *t = link->t;
    link->n_clients--;
    qv_peer_link_free_if_done(link);
    if (t->ending)
        uv_async_send(&t->async);
}

struct qv_client *qv_peer_link_client(struct peer_link *link, unsigned lane)
{
    struct qv_peer_tcp *t = link->t;
    char url[320];
    if (link->clients[lane] != NULL)
        return link->clients[lane];
    bool v6 = strchr(link->host, ':') != NULL;
    snprintf(url, sizeof url, v6 ? "%s://[%s]:%u" : "%s://%s:%u",
             t->client_tls != NULL ? "https" : "http", link->host, (unsigned)link->port);
    struct qv_client_config config = {.url = url,
                                      .loop = &t->loop,
                                      .on_destroyed = on_destroyed,
                                      .on_lost = lane == 0 ? on_lost : NULL,
                                      .arg = link,
                                      .tls = t->client_tls,
                                      .address = &link->address,
                                      .in_flight_max = PEER_WINDOW,
                                      .connect_timeout_ms = t->config.connect_timeout_ms,
                                      .keepalive_ms = t->config.keepalive_ms,
                                      .dead_ms = t->config.dead_ms,
                                      .response_bytes_max =
                                          QV_PEER_BODY_BYTES_MAX + 2 * QV_PEER_HEAD_BYTES_MAX};
    struct qv_errmsg msg;
    if (qv_client_create(&config, &link->clients[lane], &msg) != 0) {
        link->clients[lane] = NULL;
        snprintf(link->why, sizeof link->why, "%.*s", (int)sizeof link->why - 1, msg.text);
        return NULL;
    }
    link->n_clients++;
    return link->clients[lane];
}

/* ---- greeting ------------------------------------------------------------------------------- */

static int check_proof(struct peer_link *link, const struct qv_peer_hello *hello,
                       struct qv_errmsg *msg)
{
    static const uint8_t none[QV_PEER_PROOF_BYTES];
    const struct qv_peer_self *self = &link->t->self;
    struct qv_peer_pair who = {self->id, self->incarnation, hello->from, hello->from_incarnation};
    uint8_t proof[QV_PEER_PROOF_BYTES];
    bool proven = memcmp(hello->proof, none, sizeof none) != 0;
    if (link->t->secret[0] == '\0' && !proven)
        return 0;
    if (link->t->secret[0] == '\0')
        return qv_fail(msg, QV_EAUTH, "the peer asks for a secret, and none is set here");
    qv_peer_auth_proof(link->t->secret, QV_PEER_AUTH_CALLED, who, link->nonce, hello->nonce, proof);
    if (!proven || !qv_peer_auth_equal(proof, hello->proof, sizeof proof))
        return qv_fail(msg, QV_EAUTH, "the nodes do not share a secret");
    qv_peer_auth_proof(link->t->secret, QV_PEER_AUTH_CALLER, who, link->nonce, hello->nonce, proof);
    qv_peer_auth_format(who, link->nonce, proof, link->session);
    return 0;
}

static int check_greeting(struct peer_link *link, struct qv_bytes body, struct qv_peer_hello *hello,
                          struct qv_errmsg *msg)
{
    uint32_t version = 0;
    int err = qv_peer_hello_decode(body, hello, msg);
    if (err == 0)
        err = check_proof(link, hello, msg); /* before what it says counts for anything */
    if (err == 0 && hello->err != 0)
        err = qv_fail(msg, hello->err, "%s", hello->text);
    if (err == 0)
        err = qv_peer_hello_check(hello, &link->t->self,
                                  (struct qv_peer_meeting){link->id, hello->from}, &version, msg);
    link->protocol = version;
    return err;
}

static void on_greeted(void *arg, const struct qv_client_response *r)
{
    struct peer_link *link = arg;
    struct qv_peer_hello hello;
    struct qv_errmsg msg = {""};
    if (link->state != LINK_GREETING)
        return; /* given up meanwhile */
    if (r->err != 0) {
        const char *why = link->clients[0] != NULL ? qv_client_why(link->clients[0]) : "";
        bool tls = strncmp(why, "TLS:", 4) == 0;
        qv_peer_link_down(link, tls ? QV_EAUTH : QV_EUNAVAILABLE,
                          why[0] != '\0' ? why : "no answer to the greeting");
        return;
    }
    if (r->grpc_status != QV_GRPC_OK) {
        qv_peer_link_down(link, QV_EPROTO, "no Quiver node answers there");
        return;
    }
    int err = check_greeting(link, r->body, &hello, &msg);
    if (err != 0) {
        qv_peer_link_down(link, err, msg.text);
        return;
    }
    link->state = LINK_UP;
    link->backoff_ms = 0;
    link->why_err = 0;
    link->why[0] = '\0';
    qv_peer_link_tell(link, hello.from_incarnation, hello.feature_level);
    qv_peer_link_pump(link);
}

static void link_greet(struct peer_link *link)
{
    struct qv_peer_tcp *t = link->t;
    const struct qv_peer_self *self = &t->self;
    struct qv_peer_hello hello = {.from = self->id,
                                  .from_incarnation = self->incarnation,
                                  .to = link->id,
                                  .protocol_min = self->protocol_min,
                                  .protocol_max = self->protocol_max,
                                  .feature_level = self->feature_level};
    uint8_t bytes[QV_PEER_HELLO_BYTES_MAX];
    memcpy(hello.cluster, self->cluster, sizeof hello.cluster);
    memcpy(hello.nonce, link->nonce, sizeof hello.nonce);
    struct qv_client_request request = {.path = PEER_GREET_PATH,
                                        .grpc = true,
                                        .head = {bytes, qv_peer_hello_encode(&hello, bytes)},
                                        .timeout_ms = t->config.connect_timeout_ms};
    struct qv_client_call *call;
    struct qv_client *client = qv_peer_link_client(link, 0);
    link->state = LINK_GREETING;
    if (client == NULL || qv_client_send_call(client, &request, on_greeted, link, &call) != 0)
        qv_peer_link_down(link, QV_EUNAVAILABLE, "no connection can be made");
    else
        qv_client_flush(client);
}

static void on_looked_up(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct peer_link *link = req->data;
    struct qv_peer_tcp *t = link->t;
    const struct addrinfo *best = list;
    link->looking_up = false;
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        if (a->ai_family == AF_INET) { /* "localhost" first names ::1, where few listen */
            best = a;
            break;
        }
    }
    if (link->state == LINK_LOOKING_UP && !link->forgotten) {
        char why[QV_PEER_TEXT_BYTES_MAX];
        snprintf(why, sizeof why, "host '%s': %s", link->host,
                 status != 0 ? uv_strerror(status) : "no address");
        if (status != 0 || best == NULL || best->ai_addrlen > sizeof link->address) {
            qv_peer_link_down(link, QV_EUNAVAILABLE, why);
        } else {
            memcpy(&link->address, best->ai_addr, best->ai_addrlen);
            link_greet(link);
        }
    }
    uv_freeaddrinfo(list);
    qv_peer_link_free_if_done(link);
    if (t->ending)
        uv_async_send(&t->async);
}

void qv_peer_link_connect(struct peer_link *link)
{
    struct qv_peer_tcp *t = link->t;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char port[8];
    int rv;
    qv_peer_auth_random(link->nonce, sizeof link->nonce);
    link->connect_by_ns = qv_peer_now_ns(t) + 2 * t->config.connect_timeout_ms * QV_NS_PER_MS;
    link->state = LINK_LOOKING_UP;
    if (uv_ip4_addr(link->host, link->port, (struct sockaddr_in *)&link->address) == 0 ||
        uv_ip6_addr(link->host, link->port, (struct sockaddr_in6 *)&link->address) == 0) {
        link_greet(link);
        return;
    }
    if (link->looking_up)
        return; /* a former look-up was given up, and still goes on: it serves as well */
    snprintf(port, sizeof port, "%u", (unsigned)link->port);
    link->lookup.data = link;
    rv = uv_getaddrinfo(&t->loop, &link->lookup, on_looked_up, link->host, port, &hints);
    link->looking_up = rv == 0;
    if (rv != 0)
        qv_peer_link_down(link, QV_EUNAVAILABLE, uv_strerror(rv));
}
