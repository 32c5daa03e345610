#include "tls_fixture.h"

#include "net/throwaway_cert.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static struct tls_files files;
static atomic_uint relays;

static void remove_files(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", files.dir);
    if (system(command) != 0)
        fprintf(stderr, "%s stays\n", files.dir);
}

static void make(const char *name, bool ca, const char *alt_names, const char *cert,
                 const char *key)
{
    struct qv_errmsg msg;
    struct qv_throwaway_cert c = {.name = name, .ca = ca, .alt_names = alt_names};
    if (!ca) {
        c.issuer_cert_path = files.ca;
        c.issuer_key_path = files.ca_key;
    }
    if (qv_throwaway_cert_make(&c, cert, key, &msg) != 0)
        fail_msg("%s", msg.text);
}

const struct tls_files *tls_files(void)
{
    if (files.dir[0] != '\0')
        return &files;
    snprintf(files.dir, sizeof files.dir, "/tmp/quiver-tls-XXXXXX");
    if (mkdtemp(files.dir) == NULL)
        fail_msg("no directory");
    (void)atexit(remove_files);
#define PATH(field, name) snprintf(files.field, sizeof files.field, "%s/" name, files.dir)
    PATH(ca, "ca.pem");
    PATH(ca_key, "ca.key");
    PATH(cert, "cert.pem");
    PATH(key, "cert.key");
    PATH(client, "client.pem");
    PATH(client_key, "client.key");
    PATH(other_ca, "other.pem");
    PATH(other_ca_key, "other.key");
#undef PATH
    make("Test CA", true, NULL, files.ca, files.ca_key);
    make("Other CA", true, NULL, files.other_ca, files.other_ca_key);
    make("server", false, "DNS:localhost,IP:127.0.0.1,IP:::1", files.cert, files.key);
    make("client", false, NULL, files.client, files.client_key);
    return &files;
}

struct qv_tls_ctx *tls_server_ctx(bool verify_client)
{
    const struct tls_files *f = tls_files();
    struct qv_tls_config config = {.server = true,
                                   .cert_path = f->cert,
                                   .key_path = f->key,
                                   .ca_path = f->ca,
                                   .verify_client = verify_client};
    struct qv_tls_ctx *ctx;
    struct qv_errmsg msg;
    if (qv_tls_ctx_create(&config, &ctx, &msg) != 0)
        fail_msg("%s", msg.text);
    return ctx;
}

/* ---- the relay ------------------------------------------------------------------------------ */

struct relay {
    int fd;    /* the socket, TLS on it */
    int plain; /* our end of the pair */
    SSL *ssl;
};

struct direction {
    char bytes[16384];
    size_t n, at;
    bool ended; /* the source has; at == n: passed on */
};

/* Reads from TLS into d; false when it would wait. */
static void pull_tls(struct relay *r, struct direction *d)
{
    if (d->ended || d->at < d->n)
        return;
    ERR_clear_error();
    int rv = SSL_read(r->ssl, d->bytes, sizeof d->bytes);
    d->at = 0;
    d->n = rv > 0 ? (size_t)rv : 0;
    int why = rv > 0 ? SSL_ERROR_NONE : SSL_get_error(r->ssl, rv);
    d->ended = rv <= 0 && why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE;
}

static void pull_plain(struct relay *r, struct direction *d)
{
    if (d->ended || d->at < d->n)
        return;
    ssize_t rv = recv(r->plain, d->bytes, sizeof d->bytes, MSG_DONTWAIT);
    d->at = 0;
    d->n = rv > 0 ? (size_t)rv : 0;
    d->ended = rv == 0 || (rv < 0 && errno != EAGAIN);
}

/* False when the other side is gone. */
static bool push_tls(struct relay *r, struct direction *d)
{
    while (d->at < d->n) {
        ERR_clear_error();
        int rv = SSL_write(r->ssl, d->bytes + d->at, (int)(d->n - d->at));
        if (rv <= 0) {
            int why = SSL_get_error(r->ssl, rv);
            return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
        }
        d->at += (size_t)rv;
    }
    return true;
}

static bool push_plain(struct relay *r, struct direction *d)
{
    while (d->at < d->n) {
        ssize_t rv = send(r->plain, d->bytes + d->at, d->n - d->at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (rv < 0)
            return errno == EAGAIN;
        d->at += (size_t)rv;
    }
    return true;
}

static void relay_run(struct relay *r)
{
    static _Thread_local struct direction out, in; /* from the test, from the server */
    bool out_told = false, in_told = false, out_lost = false;
    out = (struct direction){.n = 0};
    in = (struct direction){.n = 0};
    for (;;) {
        pull_plain(r, &out);
        if (!out_lost && !push_tls(r, &out))
            out_lost = true;
        if (out_lost)
            out.at = out.n; /* read and dropped, so that the test is not held up */
        if (out.ended && out.at == out.n && !out_told) {
            out_told = true;
            SSL_shutdown(r->ssl);
            shutdown(r->fd, SHUT_WR);
        }
        pull_tls(r, &in);
        bool test_gone = !push_plain(r, &in);
        if (in.ended && in.at == in.n && !in_told) {
            in_told = true;
            shutdown(r->plain, SHUT_WR);
        }
        if (test_gone || (out_told && in_told))
            return;
        struct pollfd p[2] = {{.fd = r->fd}, {.fd = r->plain}};
        bool in_full = in.at < in.n;
        bool out_full = out.at < out.n;
        p[0].events = (short)((in.ended || in_full ? 0 : POLLIN) | (out_full ? POLLOUT : 0));
        p[1].events = (short)((out.ended || out_full ? 0 : POLLIN) | (in_full ? POLLOUT : 0));
        if (p[0].events == 0)
            p[0].fd = -1; /* or its hang-up is told for ever */
        poll(p, 2, SSL_pending(r->ssl) > 0 && !in_full ? 0 : 50);
    }
}

static void *relay_main(void *arg)
{
    struct relay *r = arg;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    r->ssl = SSL_new(ctx);
    SSL_set_mode(r->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_set_fd(r->ssl, r->fd);
    SSL_set_connect_state(r->ssl);
    (void)fcntl(r->fd, F_SETFL, O_NONBLOCK);
    relay_run(r);
    SSL_free(r->ssl);
    SSL_CTX_free(ctx);
    close(r->fd);
    close(r->plain);
    free(r);
    atomic_fetch_sub(&relays, 1);
    return NULL;
}

int tls_relay(int fd)
{
    int pair[2];
    pthread_t thread;
    struct timeval tv = {.tv_sec = 20};
    struct relay *r = calloc(1, sizeof *r);
    if (r == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        fail_msg("no relay");
    (void)setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    r->fd = fd;
    r->plain = pair[1];
    atomic_fetch_add(&relays, 1);
    if (pthread_create(&thread, NULL, relay_main, r) != 0)
        fail_msg("no thread");
    pthread_detach(thread);
    return pair[0];
}

void tls_relays_wait(void)
{
    for (int i = 0; i < 10000 && atomic_load(&relays) > 0; i++)
        usleep(1000);
}
