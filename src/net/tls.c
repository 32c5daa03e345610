#include "net/tls.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define TLS_RECORD_BYTES 16384u
#define TLS_IOV_MAX 16u
#define TLS_TICKETS 1u /* after a handshake: our clients keep one connection */

struct qv_tls_ctx {
    struct qv_tls_config config; /* strings owned */
    BIO_METHOD *memory;
    pthread_mutex_t mutex;
    SSL_CTX *ssl; /* guarded by mutex; replaced by a reload */
};

struct qv_tls {
    SSL *ssl;
    struct qv_bytes in;    /* of the feed under way, what OpenSSL has not taken */
    struct qv_buf out;     /* written by OpenSSL */
    struct qv_buf sending; /* given out by qv_tls_pending */
    size_t sent_bytes;     /* of sending */
    bool open, ended, failed;
    char why[160];
};

/* ---- OpenSSL's view of a session: bytes in memory, without copies of their own --------------- */

static int memory_read(BIO *bio, char *to, size_t max, size_t *n)
{
    struct qv_tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *n = t->in.n < max ? t->in.n : max;
    if (*n == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(to, t->in.p, *n);
    t->in.p += *n;
    t->in.n -= *n;
    return 1;
}

static int memory_write(BIO *bio, const char *from, size_t n, size_t *written)
{
    struct qv_tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    qv_buf_append(&t->out, from, n);
    *written = t->out.failed ? 0 : n;
    return !t->out.failed;
}

static long memory_ctrl(BIO *bio, int command, long number, void *p)
{
    (void)bio;
    (void)number;
    (void)p;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *memory_create(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "quiver");
    if (m != NULL && BIO_meth_set_read_ex(m, memory_read) &&
        BIO_meth_set_write_ex(m, memory_write) && BIO_meth_set_ctrl(m, memory_ctrl))
        return m;
    BIO_meth_free(m);
    return NULL;
}

/* ---- contexts ------------------------------------------------------------------------------- */

/* A key that is encrypted must fail: the default asks on the terminal. */
static int no_password(char *out, int max, int for_writing, void *arg)
{
    (void)out;
    (void)max;
    (void)for_writing;
    (void)arg;
    return -1;
}

static int fail_file(struct qv_errmsg *msg, const char *what, const char *path)
{
    unsigned long e = ERR_peek_error(); /* the first is the cause */
    bool in_system = ERR_SYSTEM_ERROR(e) || ERR_GET_REASON(e) == ERR_R_SYS_LIB;
    const char *why = in_system ? strerror(errno) : ERR_reason_error_string(e);
    ERR_clear_error();
    return qv_fail(msg, QV_EINVAL, "%s %s: %s", what, path, why != NULL ? why : "can't be used");
}

/* h2 before http/1.1, whatever the client prefers; a client that asks for neither is refused, one
 * that doesn't ask is served by its first bytes. */
static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\2h2\10http/1.1";
    unsigned char *chosen = NULL;
    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int load_files(SSL_CTX *ssl, const struct qv_tls_config *c, struct qv_errmsg *msg)
{
    if (c->cert_path != NULL) {
        if (SSL_CTX_use_certificate_chain_file(ssl, c->cert_path) != 1)
            return fail_file(msg, "certificate", c->cert_path);
        if (SSL_CTX_use_PrivateKey_file(ssl, c->key_path, SSL_FILETYPE_PEM) != 1 ||
            SSL_CTX_check_private_key(ssl) != 1)
            return fail_file(msg, "key", c->key_path);
    }
    bool verify = !c->server || c->verify_client;
    if (verify && c->ca_path != NULL && SSL_CTX_load_verify_file(ssl, c->ca_path) != 1)
        return fail_file(msg, "CA certificate", c->ca_path);
    if (c->server && verify) {
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(c->ca_path);
        if (names == NULL)
            return fail_file(msg, "CA certificate", c->ca_path);
        SSL_CTX_set_client_CA_list(ssl, names);
    }
    if (!c->server && c->ca_path == NULL && SSL_CTX_set_default_verify_paths(ssl) != 1)
        return fail_file(msg, "CA certificates", "of the system");
    return 0;
}

static bool set_up(SSL_CTX *ssl, const struct qv_tls_config *c)
{
    static const unsigned char h2[] = "\2h2";
    static const unsigned char http1[] = "\10http/1.1";
    static const unsigned char name[] = "quiver";
    SSL_CTX_set_default_passwd_cb(ssl, no_password);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(ssl,
                       !c->server         ? SSL_VERIFY_PEER
                       : c->verify_client ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                                          : SSL_VERIFY_NONE,
                       NULL);
    /* AES-128 first: as safe as 256 for traffic, and a fifth cheaper. */
    if (SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(ssl, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                      "TLS_CHACHA20_POLY1305_SHA256") != 1 ||
        SSL_CTX_set_cipher_list(ssl, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                     "ECDHE+AESGCM:ECDHE+CHACHA20") != 1)
        return false;
    if (!c->server)
        return (c->http1 ? SSL_CTX_set_alpn_protos(ssl, http1, sizeof http1 - 1)
                         : SSL_CTX_set_alpn_protos(ssl, h2, sizeof h2 - 1)) == 0;
    SSL_CTX_set_alpn_select_cb(ssl, select_protocol, NULL);
    return SSL_CTX_set_session_id_context(ssl, name, sizeof name - 1) == 1 &&
           SSL_CTX_set_num_tickets(ssl, TLS_TICKETS) == 1;
}

static int load(const struct qv_tls_config *c, SSL_CTX **out, struct qv_errmsg *msg)
{
    errno = 0;
    ERR_clear_error();
    SSL_CTX *ssl = SSL_CTX_new(c->server ? TLS_server_method() : TLS_client_method());
    if (ssl == NULL || !set_up(ssl, c)) {
        SSL_CTX_free(ssl);
        ERR_clear_error();
        return qv_fail(msg, QV_ENOMEM, "OpenSSL can't be set up");
    }
    int err = load_files(ssl, c, msg);
    if (err != 0) {
        SSL_CTX_free(ssl);
        return err;
    }
    *out = ssl;
    return 0;
}

static char *copy(const char *s)
{
    return s == NULL ? NULL : qv_mem_strdup(s);
}

/* The strings are ours: const only to those who fill in a config. */
static void free_copy(const char *s)
{
    union {
        const char *in;
        char *out;
    } u = {s};
    qv_mem_free(u.out);
}

int qv_tls_ctx_create(const struct qv_tls_config *config, struct qv_tls_ctx **out,
                      struct qv_errmsg *msg)
{
    *out = NULL;
    if ((config->cert_path == NULL) != (config->key_path == NULL) ||
        (config->server && config->cert_path == NULL))
        return qv_fail(msg, QV_EINVAL, "TLS needs a certificate and its key");
    if (config->verify_client && config->ca_path == NULL)
        return qv_fail(msg, QV_EINVAL, "verifying clients needs a CA certificate");
    struct qv_tls_ctx *ctx = qv_mem_calloc(1, sizeof *ctx);
    ctx->config = *config;
    ctx->config.cert_path = copy(config->cert_path);
    ctx->config.key_path = copy(config->key_path);
    ctx->config.ca_path = copy(config->ca_path);
    pthread_mutex_init(&ctx->mutex, NULL);
    ctx->memory = memory_create();
    int err = ctx->memory == NULL ? qv_fail(msg, QV_ENOMEM, "OpenSSL can't be set up")
                                  : load(&ctx->config, &ctx->ssl, msg);
    if (err != 0)
        qv_tls_ctx_destroy(&ctx);
    *out = ctx;
    return err;
}

int qv_tls_ctx_reload(struct qv_tls_ctx *ctx, struct qv_errmsg *msg)
{
    SSL_CTX *fresh = NULL;
    int err = load(&ctx->config, &fresh, msg);
    if (err != 0)
        return err;
    pthread_mutex_lock(&ctx->mutex);
    SSL_CTX *old = ctx->ssl;
    ctx->ssl = fresh;
    pthread_mutex_unlock(&ctx->mutex);
    SSL_CTX_free(old); /* its sessions hold it too */
    return 0;
}

void qv_tls_ctx_destroy(struct qv_tls_ctx **pctx)
{
    struct qv_tls_ctx *ctx = *pctx;
    *pctx = NULL;
    if (ctx == NULL)
        return;
    SSL_CTX_free(ctx->ssl);
    BIO_meth_free(ctx->memory);
    pthread_mutex_destroy(&ctx->mutex);
    free_copy(ctx->config.cert_path);
    free_copy(ctx->config.key_path);
    free_copy(ctx->config.ca_path);
    qv_mem_free(ctx);
}

/* ---- a session ------------------------------------------------------------------------------ */

/* Who the server must be. An address is no name: certificates list it apart, and SNI has none. */
static bool expect_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1)
        return true;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 &&
           SSL_set_tlsext_host_name(ssl, host) == 1;
}

static void fail_session(struct qv_tls *t)
{
    unsigned long e = ERR_peek_last_error();
    long verdict = SSL_get_verify_result(t->ssl);
    const char *why = ERR_reason_error_string(e);
    if (ERR_GET_REASON(e) == SSL_R_CERTIFICATE_VERIFY_FAILED && verdict != X509_V_OK)
        snprintf(t->why, sizeof t->why, "%s: %s", why, X509_verify_cert_error_string(verdict));
    else
        snprintf(t->why, sizeof t->why, "%s", why != NULL ? why : "the connection is broken");
    t->failed = true;
    ERR_clear_error();
}

/* False when the session can't go on. */
static bool shake_hands(struct qv_tls *t)
{
    ERR_clear_error();
    int rv = SSL_do_handshake(t->ssl);
    if (rv == 1) {
        t->open = true;
        return true;
    }
    if (SSL_get_error(t->ssl, rv) == SSL_ERROR_WANT_READ && !t->out.failed)
        return true;
    fail_session(t);
    return false;
}

struct qv_tls *qv_tls_open(struct qv_tls_ctx *ctx, const char *host)
{
    struct qv_tls *t = qv_mem_try_calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    qv_buf_init(&t->out, 0);
    qv_buf_init(&t->sending, 0);
    ERR_clear_error();
    pthread_mutex_lock(&ctx->mutex);
    t->ssl = SSL_new(ctx->ssl);
    pthread_mutex_unlock(&ctx->mutex);
    BIO *bio = t->ssl != NULL ? BIO_new(ctx->memory) : NULL;
    if (bio != NULL) {
        BIO_set_data(bio, t);
        BIO_set_init(bio, 1);
        SSL_set_bio(t->ssl, bio, bio);
    }
    if (bio == NULL || (host != NULL && !expect_host(t->ssl, host))) {
        qv_tls_close(&t);
        ERR_clear_error();
        return NULL;
    }
    if (ctx->config.server) {
        SSL_set_accept_state(t->ssl);
    } else {
        SSL_set_connect_state(t->ssl);
        (void)shake_hands(t); /* its first flight; a failure shows in the feed */
    }
    return t;
}

void qv_tls_close(struct qv_tls **ptls)
{
    struct qv_tls *t = *ptls;
    *ptls = NULL;
    if (t == NULL)
        return;
    SSL_free(t->ssl); /* and the BIO */
    qv_buf_close(&t->out);
    qv_buf_close(&t->sending);
    qv_mem_free(t);
}

int qv_tls_feed(struct qv_tls *t, const void *p, size_t n, qv_tls_plain_f *plain, void *arg)
{
    char bytes[TLS_RECORD_BYTES];
    if (t->failed)
        return QV_EPROTO;
    if (t->ended)
        return 0;
    t->in = (struct qv_bytes){p, n};
    if (!t->open && !shake_hands(t))
        return QV_EPROTO;
    if (!t->open)
        return 0;
    for (;;) {
        size_t got = 0;
        ERR_clear_error();
        int rv = SSL_read_ex(t->ssl, bytes, sizeof bytes, &got);
        if (rv == 1) {
            plain(arg, bytes, got);
            continue;
        }
        switch (SSL_get_error(t->ssl, rv)) {
        case SSL_ERROR_WANT_READ:
            QV_ASSERT(t->in.n == 0);
            if (!t->out.failed)
                return 0;
            break;
        case SSL_ERROR_ZERO_RETURN:
            t->ended = true;
            return 0;
        default:
            break;
        }
        fail_session(t);
        return QV_EPROTO;
    }
}

int qv_tls_seal(struct qv_tls *t, const void *p, size_t n)
{
    if (t->failed)
        return QV_EPROTO;
    QV_ASSERT(t->open);
    if (n == 0)
        return 0;
    size_t written = 0;
    ERR_clear_error();
    int rv = SSL_write_ex(t->ssl, p, n, &written);
    if (t->out.failed) {
        t->failed = true;
        return QV_ENOMEM;
    }
    if (rv == 1) {
        QV_ASSERT(written == n); /* memory takes all */
        return 0;
    }
    fail_session(t);
    return QV_EPROTO;
}

int qv_tls_seal_queue(struct qv_tls *t, const struct qv_outq *q, size_t max, size_t *taken)
{
    struct qv_out_iov iov[TLS_IOV_MAX];
    uint8_t record[TLS_RECORD_BYTES];
    size_t gathered = 0;
    size_t total = 0;
    int err = 0;
    size_t n = qv_outq_iov(q, iov, TLS_IOV_MAX);
    for (size_t i = 0; i < n && total < max && err == 0;) {
        size_t room = sizeof record - gathered;
        if (gathered == 0 && (iov[i].n >= sizeof record || i + 1 == n)) {
            room = iov[i].n < max - total ? iov[i].n : max - total;
            err = qv_tls_seal(t, iov[i].p, room);
        } else {
            room = iov[i].n < room ? iov[i].n : room;
            memcpy(record + gathered, iov[i].p, room);
            gathered += room;
        }
        total += room;
        iov[i].p += room;
        iov[i].n -= room;
        i += iov[i].n == 0;
        if (err == 0 && gathered == sizeof record) {
            err = qv_tls_seal(t, record, gathered);
            gathered = 0;
        }
    }
    if (err == 0)
        err = qv_tls_seal(t, record, gathered);
    *taken = total;
    return err;
}

void qv_tls_end(struct qv_tls *t)
{
    ERR_clear_error();
    if (!t->failed && t->open)
        (void)SSL_shutdown(t->ssl); /* 0: the peer's own notice has not come; we don't wait */
    ERR_clear_error();
}

struct qv_bytes qv_tls_pending(struct qv_tls *t)
{
    if (t->sent_bytes == t->sending.len && t->out.len > 0 && !t->out.failed) {
        struct qv_buf empty = t->sending;
        t->sending = t->out;
        t->out = empty;
        qv_buf_clear(&t->out);
        t->sent_bytes = 0;
    }
    if (t->sent_bytes == t->sending.len)
        return (struct qv_bytes){NULL, 0};
    return (struct qv_bytes){t->sending.data + t->sent_bytes, t->sending.len - t->sent_bytes};
}

void qv_tls_sent(struct qv_tls *t, size_t n)
{
    QV_ASSERT(n <= t->sending.len - t->sent_bytes);
    t->sent_bytes += n;
}

void qv_tls_trim(struct qv_tls *t)
{
    if (t->out.len == 0)
        qv_buf_close(&t->out);
    if (t->sent_bytes == t->sending.len) {
        qv_buf_close(&t->sending);
        t->sent_bytes = 0;
    }
    (void)SSL_free_buffers(t->ssl); /* 0: a record is under way, and they stay */
}

bool qv_tls_is_open(const struct qv_tls *t)
{
    return t->open;
}

bool qv_tls_is_ended(const struct qv_tls *t)
{
    return t->ended;
}

bool qv_tls_is_cut(const struct qv_tls *t)
{
    return SSL_has_pending(t->ssl) == 1;
}

bool qv_tls_is_resumed(const struct qv_tls *t)
{
    return SSL_session_reused(t->ssl) == 1;
}

bool qv_tls_is_h2(const struct qv_tls *t)
{
    const unsigned char *p = NULL;
    unsigned n = 0;
    SSL_get0_alpn_selected(t->ssl, &p, &n);
    return n == 2 && memcmp(p, "h2", 2) == 0;
}

const char *qv_tls_why(const struct qv_tls *t)
{
    return t->why;
}
