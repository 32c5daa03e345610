#include "meta/meta_etcd_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "net/url.h"

#include <stdio.h>

#define LOOK_NS QV_NS_PER_S        /* how often the connection is looked after */
#define QUIET_NS (3 * QV_NS_PER_S) /* without a word: it is asked */
#define WAIT_NS_MIN (50 * QV_NS_PER_MS)
#define WAIT_DOUBLINGS 6u /* 3.2 s at the most */
#define LOGINS_MAX 2u

static struct qv_meta_etcd *etcd_of(struct qv_meta *m)
{
    return (struct qv_meta_etcd *)m;
}

const char *qv_meta_etcd_failure(const struct qv_etcd_result *r)
{
    if (r->text[0] != '\0')
        return r->text;
    return r->err == QV_ETIMEOUT   ? "no answer in time"
           : r->err == QV_EPROTO   ? "what it says is not gRPC"
           : r->err == QV_ETOOBIG  ? "its answer is too large"
           : r->err == QV_EUNKNOWN ? "the connection was lost"
           : r->err != 0           ? "it can't be reached"
                                   : "it ended the call";
}

/* ---- the connection ---- */

static uint64_t next_wait_ns(struct qv_meta_etcd *e)
{
    uint32_t rounds = (e->failures - 1) / e->endpoint_count;
    uint64_t most = WAIT_NS_MIN << (rounds < WAIT_DOUBLINGS ? rounds : WAIT_DOUBLINGS);
    /* The first round goes quickly; then half of it is by chance, so that nodes spread. */
    if (rounds == 0)
        return qv_env_random_u64(e->base.env) % (WAIT_NS_MIN / 4);
    return most / 2 + qv_env_random_u64(e->base.env) % (most / 2);
}

void qv_meta_etcd_leave(struct qv_meta_etcd *e, int err, const char *text)
{
    if (e->state == QV_ETCD_WAITING)
        return;
    e->base.reachable = false;
    e->base.replaced = err == QV_ESTALE;
    (void)qv_fail(&e->base.why, err, "etcd at %s: %s", e->endpoints[e->endpoint], text);
    e->state = QV_ETCD_WAITING;
    e->probe_id = e->login_id = 0;
    qv_etcd_link_drop(e->link);
    qv_etcd_feeds_left(e);
    qv_etcd_holds_left(e);
    e->endpoint = (e->endpoint + 1) % e->endpoint_count;
    e->failures++;
    qv_env_timer_start(e->base.env, &e->timer, next_wait_ns(e));
    if (++e->tried < e->endpoint_count)
        return;
    e->tried = 0;
    if (err == QV_EUNAVAILABLE)
        return; /* it may be back within their deadlines */
    qv_etcd_ops_refuse(e, err);
    if (err == QV_ESTALE)
        qv_etcd_feeds_end(e, QV_ESTALE);
}

static void connect_next(struct qv_meta_etcd *e)
{
    e->state = QV_ETCD_OPENING;
    qv_etcd_link_open(e->link, e->endpoints[e->endpoint]);
}

static uint64_t send_now(struct qv_meta_etcd *e, const char *path, struct qv_buf *body,
                         uint32_t timeout_ms)
{
    bool login = strcmp(path, QV_ETCD_LOGIN_PATH) == 0;
    const struct qv_etcd_request r = {.path = path,
                                      .token = e->token == NULL || login ? "" : e->token,
                                      .timeout_ms = timeout_ms,
                                      .stream = timeout_ms == 0};
    if (body->failed) { /* no memory for a request of bounded size */
        qv_buf_close(body);
        return 0;
    }
    return qv_etcd_link_send(e->link, &r, body);
}

uint64_t qv_meta_etcd_send(struct qv_meta_etcd *e, const char *path, struct qv_buf *body,
                           uint32_t timeout_ms)
{
    if (e->state == QV_ETCD_READY)
        return send_now(e, path, body, timeout_ms);
    qv_buf_close(body);
    return 0;
}

static void send_probe(struct qv_meta_etcd *e)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    qv_etcd_put_range(
        &b, &(struct qv_etcd_range){.root = e->root, .prefix = "", .limit = 1, .keys_only = true});
    e->probe_revision = e->base.revision;
    e->probe_id = send_now(e, QV_ETCD_RANGE, &b, e->timeout_ms);
}

static void probe(struct qv_meta_etcd *e)
{
    e->state = QV_ETCD_PROBING;
    send_probe(e);
}

static void login(struct qv_meta_etcd *e)
{
    struct qv_buf b;
    e->state = QV_ETCD_LOGIN;
    qv_buf_init(&b, 0);
    qv_etcd_put_login(&b, e->user, e->password);
    e->login_id = send_now(e, QV_ETCD_LOGIN_PATH, &b, e->timeout_ms);
}

static void forget_token(struct qv_meta_etcd *e)
{
    qv_mem_free(e->token);
    e->token = NULL;
}

int qv_meta_etcd_login_again(struct qv_meta_etcd *e)
{
    if (e->user == NULL || ++e->logins > LOGINS_MAX)
        return QV_EAUTH;
    if (e->state == QV_ETCD_READY || e->state == QV_ETCD_PROBING) {
        forget_token(e);
        e->probe_id = 0;
        login(e);
    }
    return 0;
}

static void on_opened(void *arg, int err, const char *text)
{
    struct qv_meta_etcd *e = arg;
    QV_ASSERT(e->state == QV_ETCD_OPENING);
    if (err != 0)
        qv_meta_etcd_leave(e, QV_EUNAVAILABLE, text);
    else if (e->user != NULL && e->token == NULL)
        login(e);
    else
        probe(e);
}

int qv_meta_etcd_heard(struct qv_meta_etcd *e, const struct qv_etcd_answer *a,
                       uint64_t known_revision)
{
    char text[160];
    e->heard_ns = qv_env_mono_ns(e->base.env);
    if (e->base.cluster_id != 0 && a->cluster_id != e->base.cluster_id) {
        snprintf(text, sizeof text,
                 "this is another store: its cluster id is %016llx, known is %016llx",
                 (unsigned long long)a->cluster_id, (unsigned long long)e->base.cluster_id);
    } else if (a->revision != 0 && a->revision < known_revision) {
        snprintf(text, sizeof text,
                 "this store was put back: it is at revision %llu, known is %llu",
                 (unsigned long long)a->revision, (unsigned long long)known_revision);
    } else {
        e->base.cluster_id = a->cluster_id;
        if (a->revision > e->base.revision)
            e->base.revision = a->revision;
        return 0;
    }
    qv_meta_etcd_leave(e, QV_ESTALE, text);
    return QV_ESTALE;
}

static void on_login(struct qv_meta_etcd *e, const struct qv_etcd_result *r)
{
    struct qv_arena arena;
    struct qv_etcd_answer a;
    struct qv_errmsg msg;
    int err;
    if (r->err != 0) {
        qv_meta_etcd_leave(e, QV_EUNAVAILABLE, qv_meta_etcd_failure(r));
        return;
    }
    enum qv_etcd_verdict v = qv_etcd_judge(r->grpc_status, r->text, &err);
    if (v == QV_ETCD_REFUSED && strstr(r->text, "authentication is not enabled") != NULL) {
        probe(e); /* as etcd's own clients do */
        return;
    }
    if (v != QV_ETCD_DONE) {
        qv_meta_etcd_leave(e, v == QV_ETCD_REFUSED ? QV_EAUTH : QV_EUNAVAILABLE,
                           qv_meta_etcd_failure(r));
        return;
    }
    qv_arena_init(&arena, QV_ETCD_ANSWER_BYTES_MAX);
    err = qv_etcd_get(&(struct qv_etcd_asked){QV_ETCD_IS_LOGIN, "", ""}, r->body, &arena, &a, &msg);
    if (err == 0)
        e->token = qv_mem_strdup(a.token);
    qv_arena_close(&arena);
    if (err == 0)
        probe(e);
    else
        qv_meta_etcd_leave(e, QV_EUNAVAILABLE, msg.text);
}

static void become_ready(struct qv_meta_etcd *e)
{
    e->state = QV_ETCD_READY;
    e->failures = e->tried = e->logins = 0;
    e->base.reachable = true;
    e->base.replaced = false;
    e->base.why.text[0] = '\0';
    qv_env_timer_start(e->base.env, &e->timer, LOOK_NS);
    qv_etcd_holds_send(e);
    qv_etcd_feeds_send(e);
    qv_etcd_ops_send(e);
}

static void on_probe(struct qv_meta_etcd *e, const struct qv_etcd_result *r)
{
    struct qv_arena arena;
    struct qv_etcd_answer a;
    struct qv_errmsg msg;
    int why;
    enum qv_etcd_verdict v =
        r->err != 0 ? QV_ETCD_UNKNOWN : qv_etcd_judge(r->grpc_status, r->text, &why);
    if (v == QV_ETCD_LOG_IN && qv_meta_etcd_login_again(e) == 0)
        return;
    if (v != QV_ETCD_DONE) {
        qv_meta_etcd_leave(e,
                           v == QV_ETCD_LOG_IN    ? QV_EAUTH
                           : v == QV_ETCD_REFUSED ? why
                                                  : QV_EUNAVAILABLE,
                           qv_meta_etcd_failure(r));
        return;
    }
    qv_arena_init(&arena, QV_ETCD_ANSWER_BYTES_MAX);
    int err = qv_etcd_get(&(struct qv_etcd_asked){QV_ETCD_IS_RANGE, e->root, ""}, r->body, &arena,
                          &a, &msg);
    if (err != 0)
        qv_meta_etcd_leave(e, QV_EUNAVAILABLE, msg.text);
    else if (qv_meta_etcd_heard(e, &a, e->probe_revision) == 0 && e->state == QV_ETCD_PROBING)
        become_ready(e);
    qv_arena_close(&arena);
}

static void on_timer(struct qv_timer *timer)
{
    struct qv_meta_etcd *e = timer->arg;
    if (e->state == QV_ETCD_WAITING) {
        connect_next(e);
        return;
    }
    if (e->state == QV_ETCD_READY && e->probe_id == 0 &&
        qv_env_mono_ns(e->base.env) - e->heard_ns > QUIET_NS)
        send_probe(e);
    qv_env_timer_start(e->base.env, &e->timer, LOOK_NS);
}

static void on_message(void *arg, uint64_t id, struct qv_bytes body)
{
    qv_etcd_feeds_message(arg, id, body);
}

static void on_done(void *arg, const struct qv_etcd_result *r)
{
    struct qv_meta_etcd *e = arg;
    if (r->id == e->login_id) {
        e->login_id = 0;
        on_login(e, r);
    } else if (r->id == e->probe_id) {
        e->probe_id = 0;
        on_probe(e, r);
    } else if (!qv_etcd_holds_done(e, r) && !qv_etcd_feeds_done(e, r)) {
        (void)qv_etcd_ops_done(e, r); /* or of nobody any more */
    }
}

/* ---- the interface ---- */

static void etcd_list(struct qv_meta *m, struct qv_meta_listing *l)
{
    qv_etcd_op_begin(etcd_of(m), &l->call, QV_META_CALL_LIST, qv_meta_check_listing(l));
}

static void etcd_txn(struct qv_meta *m, struct qv_meta_txn *t)
{
    qv_etcd_op_begin(etcd_of(m), &t->call, QV_META_CALL_TXN, qv_meta_check_txn(t));
}

static void etcd_watch_start(struct qv_meta *m, struct qv_meta_watch *w)
{
    qv_etcd_feed_begin(etcd_of(m), w);
}

static void etcd_watch_stop(struct qv_meta *m, struct qv_meta_watch *w)
{
    qv_etcd_feed_stop(etcd_of(m), w);
}

static void etcd_lease_grant(struct qv_meta *m, struct qv_meta_lease *l)
{
    l->id = 0;
    qv_etcd_op_begin(etcd_of(m), &l->call, QV_META_CALL_GRANT, qv_meta_check_lease(l));
}

static void etcd_lease_revoke(struct qv_meta *m, struct qv_meta_lease *l)
{
    struct qv_meta_etcd *e = etcd_of(m);
    QV_ASSERT(l->call.meta == m && l->call.kind == QV_META_CALL_HELD);
    qv_etcd_hold_release(e, l);
    l->end_boot_ns = 0;
    qv_etcd_op_begin(e, &l->call, QV_META_CALL_REVOKE, 0);
}

static void etcd_free(struct qv_meta_etcd *e)
{
    qv_etcd_link_destroy(&e->link);
    for (uint32_t i = 0; i < e->endpoint_count; i++)
        qv_mem_free(e->endpoints[i]);
    qv_mem_free(e->root);
    qv_mem_free(e->user);
    qv_mem_free(e->password);
    qv_mem_free(e->token);
    qv_mem_free(e);
}

static void etcd_close(struct qv_meta *m)
{
    struct qv_meta_etcd *e = etcd_of(m);
    e->closing = true;
    qv_env_timer_stop(m->env, &e->timer);
    qv_etcd_ops_close(e);
    qv_etcd_feeds_end(e, QV_ECANCELED);
    qv_etcd_holds_close(e);
    etcd_free(e);
}

/* Etcd can't be part of a simulated world. */
static void etcd_abandon(struct qv_meta *m)
{
    etcd_close(m);
}

static const struct qv_meta_ops etcd_ops = {
    .list = etcd_list,
    .txn = etcd_txn,
    .watch_start = etcd_watch_start,
    .watch_stop = etcd_watch_stop,
    .lease_grant = etcd_lease_grant,
    .lease_revoke = etcd_lease_revoke,
    .close = etcd_close,
    .abandon = etcd_abandon,
};

/* ---- open ---- */

static int check_config(const struct qv_meta_etcd_config *c, struct qv_errmsg *msg)
{
    bool tls = c->ca != NULL || c->cert != NULL || c->key != NULL;
    size_t root_bytes = c->root == NULL ? 0 : strlen(c->root);
    if (c->endpoint_count == 0 || c->endpoint_count > QV_META_ETCD_ENDPOINTS_MAX)
        return qv_fail(msg, QV_EINVAL, "etcd: %u endpoints, 1 to %u are allowed", c->endpoint_count,
                       QV_META_ETCD_ENDPOINTS_MAX);
    if (root_bytes == 0 || root_bytes > QV_META_ETCD_ROOT_BYTES_MAX)
        return qv_fail(msg, QV_EINVAL, "etcd: a prefix of %zu bytes, 1 to %u are allowed",
                       root_bytes, QV_META_ETCD_ROOT_BYTES_MAX);
    if ((c->cert == NULL) != (c->key == NULL))
        return qv_fail(msg, QV_EINVAL, "etcd: a certificate and its key go together");
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        struct qv_url url;
        struct qv_errmsg why;
        if (qv_url_parse(c->endpoints[i], &url, &why) != 0)
            return qv_fail(msg, QV_EINVAL, "etcd endpoint %s: %.300s", c->endpoints[i], why.text);
        if (tls && !url.tls)
            return qv_fail(msg, QV_EINVAL, "etcd endpoint %s: certificates need https://",
                           c->endpoints[i]);
    }
    return 0;
}

int qv_meta_etcd_open(struct qv_env *env, const struct qv_meta_etcd_config *config,
                      struct qv_meta **out, struct qv_errmsg *msg)
{
    static const struct qv_etcd_link_events events = {
        .opened = on_opened, .message = on_message, .done = on_done};
    int err = check_config(config, msg);
    if (err != 0)
        return err;
    struct qv_meta_etcd *e = qv_mem_calloc(1, sizeof *e);
    e->base = (struct qv_meta){.ops = &etcd_ops,
                               .env = env,
                               .cluster_id = config->known_cluster_id,
                               .revision = config->known_revision};
    (void)qv_fail(&e->base.why, QV_EUNAVAILABLE, "etcd was not asked yet");
    for (; e->endpoint_count < config->endpoint_count; e->endpoint_count++)
        e->endpoints[e->endpoint_count] = qv_mem_strdup(config->endpoints[e->endpoint_count]);
    e->root = qv_mem_strdup(config->root);
    if (config->user != NULL && config->user[0] != '\0') {
        e->user = qv_mem_strdup(config->user);
        e->password = qv_mem_strdup(config->password == NULL ? "" : config->password);
    }
    e->timeout_ms = config->timeout_ms == 0 ? QV_META_TIMEOUT_MS / 2 : config->timeout_ms;
    const struct qv_etcd_link_config link = {.ca = config->ca,
                                             .cert = config->cert,
                                             .key = config->key,
                                             .connect_timeout_ms = e->timeout_ms,
                                             .answer_bytes_max = QV_ETCD_ANSWER_BYTES_MAX};
    e->link = qv_etcd_link_create(env, &link, &events, e);
    e->timer = (struct qv_timer){.run = on_timer, .arg = e};
    e->endpoint = (uint32_t)(qv_env_random_u64(env) % e->endpoint_count); /* nodes spread */
    connect_next(e);
    *out = &e->base;
    return 0;
}
