#include "app/cluster_start.h"

#include "base/logger.h"
#include "base/mem.h"
#include "cluster/founding.h"
#include "meta/meta_etcd.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define AGAIN_MS 1000
#define TELL_EVERY 10 /* attempts */
#define LOOK_NS 100000000
#define HOST_BYTES 256

bool qv_cluster_start_is_proxy(const struct qv_settings *s)
{
    return s->cluster_enabled && strcmp(s->cluster_role, "proxy") == 0;
}

static uint8_t role_of(const struct qv_settings *s)
{
    return strcmp(s->cluster_role, "proxy") == 0   ? QV_ROLE_PROXY
           : strcmp(s->cluster_role, "shard") == 0 ? QV_ROLE_SHARD
                                                   : QV_ROLE_ALL;
}

/* ---- settings ---- */

int qv_cluster_start_check(const struct qv_settings *s, struct qv_errmsg *msg)
{
    if (strlen(s->cluster_zone) >= QV_MEMBER_ZONE_BYTES_MAX)
        return qv_fail(msg, QV_EINVAL, "cluster.zone: '%.80s...' is not allowed: %u bytes are",
                       s->cluster_zone, QV_MEMBER_ZONE_BYTES_MAX - 1);
    if (strlen(s->cluster_advertise) >= QV_MEMBER_HOST_BYTES_MAX ||
        strpbrk(s->cluster_advertise, "/ \t") != NULL)
        return qv_fail(msg, QV_EINVAL,
                       "cluster.advertise: '%.100s' is not allowed: a host's name or address is",
                       s->cluster_advertise);
    if (s->metadata_prefix[0] != '/' || s->metadata_prefix[strlen(s->metadata_prefix) - 1] != '/' ||
        strlen(s->metadata_prefix) >= QV_META_ETCD_ROOT_BYTES_MAX)
        return qv_fail(msg, QV_EINVAL,
                       "cluster.metadata.prefix: '%.100s' is not allowed: a path that begins and "
                       "ends with / is",
                       s->metadata_prefix);
    return 0;
}

static bool is_any(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

/* Under which name the others reach this node. */
static void advertised(const struct qv_settings *s, char out[HOST_BYTES])
{
    const char *host = s->cluster_advertise[0] != '\0' ? s->cluster_advertise : s->p2p_host;
    if (!is_any(host))
        snprintf(out, HOST_BYTES, "%s", host);
    else if (gethostname(out, HOST_BYTES) != 0)
        snprintf(out, HOST_BYTES, "127.0.0.1");
    out[HOST_BYTES - 1] = '\0';
}

/* ---- the metadata ---- */

/* Cuts a copy of the list at its commas and blanks. */
static int split_endpoints(char *list, const char **out, uint32_t *count, struct qv_errmsg *msg)
{
    *count = 0;
    for (char *p; (p = strsep(&list, ", \t")) != NULL;) {
        if (p[0] == '\0')
            continue;
        if (*count == QV_META_ETCD_ENDPOINTS_MAX)
            return qv_fail(msg, QV_EINVAL, "cluster.metadata.endpoints: more than %u",
                           QV_META_ETCD_ENDPOINTS_MAX);
        out[(*count)++] = p;
    }
    return *count > 0 ? 0 : qv_fail(msg, QV_EINVAL, "cluster.metadata.endpoints: none is given");
}

static const char *or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

static int open_metadata(struct qv_cluster_start *x, struct qv_errmsg *msg)
{
    const struct qv_settings *s = x->settings;
    const char *endpoints[QV_META_ETCD_ENDPOINTS_MAX];
    struct qv_errmsg why = {""};
    struct qv_meta_etcd_config config = {.endpoints = endpoints,
                                         .root = s->metadata_prefix,
                                         .user = or_null(s->metadata_user),
                                         .password = or_null(s->metadata_password),
                                         .ca = or_null(s->metadata_ca_cert),
                                         .cert = or_null(s->metadata_cert),
                                         .key = or_null(s->metadata_key)};
    char *list = qv_mem_strdup(s->metadata_endpoints);
    int err = split_endpoints(list, endpoints, &config.endpoint_count, msg);
    if (err == 0) {
        err = qv_meta_etcd_open(qv_uv_env_env(x->env), &config, &x->meta, &why);
        if (err != 0)
            (void)qv_fail(msg, err, "cluster.metadata: %s", why.text);
    }
    qv_mem_free(list);
    return err;
}

struct begin {
    struct qv_cluster_start *x;
    struct qv_errmsg *msg;
    int err;
};

static void begin_task(void *arg)
{
    struct begin *b = arg;
    struct qv_cluster_start *x = b->x;
    b->err = qv_node_identify(x->node, role_of(x->settings), &x->identity, b->msg);
    if (b->err == 0)
        b->err = open_metadata(x, b->msg);
}

/* ---- founding ---- */

struct asking {
    struct qv_cluster_start *x;
    struct qv_founding founding;
    pthread_mutex_t lock; /* done, err */
    pthread_cond_t cond;
    bool done;
    int err;
};

static void founded(struct qv_founding *f, int err)
{
    struct asking *a = f->arg;
    pthread_mutex_lock(&a->lock);
    a->done = true;
    a->err = err;
    pthread_cond_signal(&a->cond);
    pthread_mutex_unlock(&a->lock);
}

static bool in_cluster(const struct qv_node_identity *id)
{
    static const uint8_t none[QV_CLUSTER_ID_BYTES];
    return memcmp(id->cluster, none, sizeof none) != 0;
}

static void ask_task(void *arg)
{
    struct asking *a = arg;
    struct qv_cluster_start *x = a->x;
    a->founding = (struct qv_founding){.env = qv_uv_env_env(x->env),
                                       .meta = x->meta,
                                       .want_writer = x->identity.writer == 0 &&
                                                      role_of(x->settings) != QV_ROLE_PROXY,
                                       .only_look = in_cluster(&x->identity),
                                       .done = founded,
                                       .arg = a};
    qv_founding_start(&a->founding);
}

/* One attempt: the store's answer, or that it gave none in its time. */
static int ask_once(struct asking *a)
{
    a->done = false;
    qv_uv_env_call(a->x->env, ask_task, a);
    pthread_mutex_lock(&a->lock);
    while (!a->done)
        pthread_cond_wait(&a->cond, &a->lock);
    pthread_mutex_unlock(&a->lock);
    return a->err;
}

static bool told_to_stop(void)
{
    sigset_t set;
    return sigpending(&set) == 0 &&
           (sigismember(&set, SIGTERM) == 1 || sigismember(&set, SIGINT) == 1);
}

/* False: told to stop. */
static bool rest(unsigned ms)
{
    const struct timespec look = {.tv_nsec = LOOK_NS};
    for (unsigned slept = 0; slept < ms && !told_to_stop(); slept += LOOK_NS / 1000000)
        (void)nanosleep(&look, NULL);
    return !told_to_stop();
}

static bool is_away(int err)
{
    return err == QV_EUNAVAILABLE || err == QV_EUNKNOWN || err == QV_ETIMEOUT || err == QV_EBUSY;
}

static int ask_until_told(struct asking *a, struct qv_errmsg *msg)
{
    struct qv_cluster_start *x = a->x;
    const bool known = in_cluster(&x->identity) &&
                       (x->identity.writer != 0 || role_of(x->settings) == QV_ROLE_PROXY);
    for (unsigned n = 0;; n++) {
        int err = ask_once(a);
        const char *why = a->founding.msg.text;
        if (!is_away(err))
            return err == 0 ? 0 : qv_fail(msg, err, "the cluster's metadata: %s", why);
        if (known) {
            QV_WARN("cluster", "the metadata at %s is away (%s): starting from what was known",
                    x->settings->metadata_endpoints, why);
            return err;
        }
        if (n % TELL_EVERY == 0)
            QV_WARN("cluster", "the metadata at %s is away (%s): a first start waits for it",
                    x->settings->metadata_endpoints, why);
        if (!rest(AGAIN_MS))
            return qv_fail(msg, QV_ECANCELED, "told to stop before the metadata answered");
    }
}

static int check_cluster(struct qv_cluster_start *x, const struct qv_founding *f, int err,
                         struct qv_errmsg *msg)
{
    const char *endpoints = x->settings->metadata_endpoints;
    if (err == QV_ENOTFOUND)
        return qv_fail(msg, QV_EINVAL,
                       "%s belongs to a cluster, and there is none under '%s' at %s",
                       x->settings->storage_path, x->settings->metadata_prefix, endpoints);
    if (err != 0)
        return is_away(err) ? 0 : err;
    if (in_cluster(&x->identity) && memcmp(x->identity.cluster, f->cluster, sizeof f->cluster) != 0)
        return qv_fail(msg, QV_EINVAL, "%s belongs to another cluster than '%s' at %s",
                       x->settings->storage_path, x->settings->metadata_prefix, endpoints);
    memcpy(x->identity.cluster, f->cluster, sizeof f->cluster);
    if (f->want_writer)
        x->identity.writer = f->writer;
    return 0;
}

static void keep_task(void *arg)
{
    struct begin *b = arg;
    b->err = qv_node_found(b->x->node, &b->x->identity, b->msg);
}

static int ask_cluster(struct qv_cluster_start *x, struct qv_errmsg *msg)
{
    struct asking a = {.x = x, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    int err = ask_until_told(&a, msg);
    err = check_cluster(x, &a.founding, err, msg);
    pthread_cond_destroy(&a.cond);
    pthread_mutex_destroy(&a.lock);
    return err;
}

int qv_cluster_start_found(struct qv_cluster_start *x, struct qv_errmsg *msg)
{
    struct begin b = {.x = x, .msg = msg};
    qv_uv_env_call(x->env, begin_task, &b);
    if (b.err == 0)
        b.err = ask_cluster(x, msg);
    if (b.err == 0 && role_of(x->settings) != QV_ROLE_PROXY)
        qv_uv_env_call(x->env, keep_task, &b);
    return b.err;
}

/* ---- peers ---- */

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "localhost") == 0;
}

int qv_cluster_start_listen(struct qv_cluster_start *x, struct qv_errmsg *msg)
{
    const struct qv_settings *s = x->settings;
    const bool tls = s->p2p_tls;
    struct qv_errmsg why = {""};
    struct qv_peer_tcp_config config = {.env = qv_uv_env_env(x->env),
                                        .self = {.id = x->identity.id,
                                                 .incarnation = x->identity.incarnation,
                                                 .secret = s->p2p_secret},
                                        .host = s->p2p_host,
                                        .port = (uint16_t)s->p2p_port,
                                        .cert_path = tls ? s->tls_cert : NULL,
                                        .key_path = tls ? s->tls_key : NULL,
                                        .ca_path = tls ? s->tls_ca_cert : NULL};
    memcpy(config.self.cluster, x->identity.cluster, sizeof config.self.cluster);
    if (!tls && s->p2p_secret[0] == '\0' && !is_loopback(s->p2p_host))
        QV_WARN("cluster",
                "%s:%llu is open to everybody: set cluster.p2p.secret, or "
                "cluster.p2p.enable_tls",
                s->p2p_host, (unsigned long long)s->p2p_port);
    int err = qv_peer_tcp_create(&config, &x->peers, &why);
    if (err != 0)
        return qv_fail(msg, err, "cluster.p2p: %s", why.text);
    struct qv_member *self = &x->config.self;
    self->id = x->identity.id;
    self->incarnation = x->identity.incarnation;
    self->role = role_of(s);
    advertised(s, self->host);
    snprintf(self->zone, sizeof self->zone, "%s", s->cluster_zone);
    self->peer_port = qv_peer_tcp_port(x->peers);
    self->http_port = (uint16_t)s->http_port;
    self->grpc_port = (uint16_t)s->grpc_port;
    self->protocol_min = self->protocol_max = QV_PEER_PROTOCOL;
    self->feature_level = QV_PEER_FEATURE_LEVEL;
    x->config.meta = x->meta;
    x->config.peers = qv_peer_tcp_peers(x->peers);
    x->config.writer = x->identity.writer;
    x->node->cluster = &x->config;
    QV_INFO("cluster", "node %016llx, %s at %s:%u", (unsigned long long)self->id, s->cluster_role,
            self->host, self->peer_port);
    return 0;
}

void qv_cluster_start_opened(struct qv_cluster_start *x)
{
    x->meta = NULL;
}

void qv_cluster_start_reload(struct qv_cluster_start *x)
{
    struct qv_errmsg msg = {""};
    if (x->peers != NULL && x->settings->p2p_tls && qv_peer_tcp_reload(x->peers, &msg) != 0)
        QV_WARN("cluster", "the certificates stay as they are: %s", msg.text);
}

static void close_task(void *arg)
{
    struct qv_cluster_start *x = arg;
    if (x->peers != NULL)
        qv_peer_tcp_close(x->peers);
    qv_meta_close(x->meta);
    x->meta = NULL;
}

static void nothing(void *arg)
{
    (void)arg;
}

void qv_cluster_start_close(struct qv_cluster_start *x)
{
    if (x->env == NULL)
        return;
    qv_uv_env_call(x->env, close_task, x);
    qv_uv_env_call(x->env, nothing, x); /* what was posted before */
    qv_peer_tcp_destroy(&x->peers);
}
