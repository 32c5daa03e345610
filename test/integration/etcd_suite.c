/* core/meta.h on a real etcd, one member and three: what every implementation does, histories under
 * killed and stopped members and compactions, leases, logins, TLS, a store that was put back, and
 * servers that answer anything but what they should.
 *
 *   etcd_suite [TEST]     ports: free ones, or from $QV_TEST_PORT on */
#include "suite.h"

#include "base/mem.h"
#include "io/uv_env.h"
#include "meta/meta_etcd.h"
#include "meta_history.h"
#include "meta_parts.h"
#include "net/client.h"
#include "net/throwaway_cert.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#define MEMBERS_MAX 3u

static char base_dir[64];
static unsigned roots;

/* ---- etcd's processes ---- */

struct member {
    pid_t pid; /* 0: not running */
    uint16_t port, peer_port;
    char dir[128], url[64], peer_url[64];
};

struct cluster {
    struct member members[MEMBERS_MAX];
    unsigned count;
    bool tls;
    char token[16];
    char ca[96], ca_key[96], cert[96], key[96];
};

static uint16_t free_port(void)
{
    static uint16_t next;
    const char *from = getenv("QV_TEST_PORT");
    for (;;) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof a;
        if (from != NULL && next == 0)
            next = (uint16_t)strtoul(from, NULL, 10);
        a.sin_port = htons(from != NULL ? next++ : 0);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        int one = 1;
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        bool bound = bind(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
                     getsockname(fd, (struct sockaddr *)&a, &n) == 0;
        close(fd);
        if (bound)
            return ntohs(a.sin_port);
    }
}

static void member_start(const struct cluster *c, unsigned i)
{
    struct member *m = (struct member *)&c->members[i];
    char all[256] = "";
    char name[8];
    snprintf(name, sizeof name, "m%u", i);
    for (unsigned k = 0; k < c->count; k++) {
        size_t n = strlen(all);
        snprintf(all + n, sizeof all - n, "%sm%u=%s", k == 0 ? "" : ",", k, c->members[k].peer_url);
    }
    m->pid = fork();
    assert_true(m->pid >= 0);
    if (m->pid > 0)
        return;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* it goes with this program, however that ends */
    char log[160];
    snprintf(log, sizeof log, "%s.log", m->dir);
    int fd = open(log, O_CREAT | O_WRONLY | O_APPEND, 0600);
    (void)dup2(fd, 1);
    (void)dup2(fd, 2);
    (void)setenv("ETCD_UNSUPPORTED_ARCH", "arm64", 0);
    const char *argv[64] = {"etcd",      "--name",
                            name,        "--data-dir",
                            m->dir,      "--listen-client-urls",
                            m->url,      "--advertise-client-urls",
                            m->url,      "--listen-peer-urls",
                            m->peer_url, "--initial-advertise-peer-urls",
                            m->peer_url, "--initial-cluster",
                            all,         "--initial-cluster-token",
                            c->token,    "--heartbeat-interval",
                            "50",        "--election-timeout",
                            "500",       "--logger",
                            "zap",       "--log-level",
                            "error"};
    if (c->tls) {
        unsigned n = 0;
        while (argv[n] != NULL)
            n++;
        argv[n++] = "--cert-file";
        argv[n++] = c->cert;
        argv[n++] = "--key-file";
        argv[n++] = c->key;
        argv[n++] = "--trusted-ca-file";
        argv[n++] = c->ca;
        argv[n] = "--client-cert-auth";
    }
    union {
        const char **in;
        char **out;
    } args = {argv};
    (void)execvp("etcd", args.out);
    _exit(127);
}

static void member_kill(struct member *m)
{
    if (m->pid == 0)
        return;
    (void)kill(m->pid, SIGKILL);
    (void)waitpid(m->pid, NULL, 0);
    m->pid = 0;
}

static void wipe(const char *dir)
{
    char command[160];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

static void cluster_init(struct cluster *c, unsigned count, bool tls)
{
    static unsigned number;
    *c = (struct cluster){.count = count, .tls = tls};
    snprintf(c->token, sizeof c->token, "t%u", ++number);
    for (unsigned i = 0; i < count; i++) {
        struct member *m = &c->members[i];
        m->port = free_port();
        m->peer_port = free_port();
        snprintf(m->dir, sizeof m->dir, "%s/c%u-m%u", base_dir, number, i);
        snprintf(m->url, sizeof m->url, "http%s://127.0.0.1:%u", tls ? "s" : "", m->port);
        snprintf(m->peer_url, sizeof m->peer_url, "http://127.0.0.1:%u", m->peer_port);
    }
}

static void cluster_start(struct cluster *c)
{
    for (unsigned i = 0; i < c->count; i++)
        member_start(c, i);
}

static void cluster_stop(struct cluster *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        member_kill(&c->members[i]);
        wipe(c->members[i].dir);
    }
}

/* ---- a second client, for what ours never asks ---- */

static int ask(const char *url, const char *path, const uint8_t *body, size_t n)
{
    struct qv_client *client;
    struct qv_client_answer answer;
    struct qv_errmsg msg;
    const struct qv_client_config config = {.url = url};
    assert_int_equal(qv_client_create(&config, &client, &msg), 0);
    const struct qv_client_request r = {
        .path = path, .grpc = true, .body = {body, n}, .timeout_ms = 5000};
    int err = qv_client_call(client, &r, &answer);
    if (err == 0) {
        err = answer.grpc_status;
        qv_client_answer_close(&answer);
    }
    qv_client_destroy(&client);
    return err;
}

/* Fields 1, 2, ... as texts. */
static int ask_texts(const char *url, const char *path, const char *one, const char *two)
{
    uint8_t body[64];
    size_t n = 0;
    const char *texts[2] = {one, two};
    for (unsigned i = 0; i < 2; i++) {
        size_t len = texts[i] == NULL ? 0 : strlen(texts[i]);
        if (texts[i] == NULL)
            continue;
        body[n++] = (uint8_t)((i + 1) << 3 | 2);
        body[n++] = (uint8_t)len;
        memcpy(body + n, texts[i], len);
        n += len;
    }
    return ask(url, path, body, n);
}

static int compact(const char *url, uint64_t revision)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    qv_buf_u8(&b, 1 << 3);
    qv_buf_varint(&b, revision);
    int err = ask(url, "/etcdserverpb.KV/Compact", b.data, b.len);
    qv_buf_close(&b);
    return err;
}

/* ---- our side ---- */

struct world {
    struct mp mp; /* first */
    uv_loop_t loop;
    struct qv_uv_env *env;
    uv_timer_t timer;
    bool passed;
};

static void on_passed(uv_timer_t *t)
{
    *(bool *)t->data = true;
}

static void run(struct mp *mp, unsigned ms)
{
    struct world *w = (struct world *)mp;
    if (ms == 0) {
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
        return;
    }
    w->passed = false;
    w->timer.data = &w->passed;
    (void)uv_timer_start(&w->timer, on_passed, ms, 0);
    while (!w->passed)
        (void)uv_run(&w->loop, UV_RUN_ONCE);
}

static void world_open(struct world *w)
{
    *w = (struct world){.mp = {.run = run, .slow = true}};
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(uv_timer_init(&w->loop, &w->timer), 0);
    const struct qv_uv_env_config config = {.loop = &w->loop, .seed = 7, .pin_cpu = -1};
    assert_int_equal(qv_uv_env_create(&config, &w->env, NULL), 0);
}

static struct qv_meta *open_meta(struct world *w, const struct qv_meta_etcd_config *config)
{
    struct qv_meta *m = NULL;
    struct qv_errmsg msg;
    if (qv_meta_etcd_open(qv_uv_env_env(w->env), config, &m, &msg) != 0)
        fail_msg("%s", msg.text);
    return m;
}

/* `count` of them, each knowing every member, under a root of their own. */
static void open_metas(struct world *w, const struct cluster *c, unsigned count)
{
    const char *urls[MEMBERS_MAX];
    char root[32];
    snprintf(root, sizeof root, "/quiver/r%u/", ++roots);
    for (unsigned i = 0; i < c->count; i++)
        urls[i] = c->members[i].url;
    const struct qv_meta_etcd_config config = {
        .endpoints = urls, .endpoint_count = c->count, .root = root};
    for (w->mp.count = 0; w->mp.count < count; w->mp.count++)
        w->mp.metas[w->mp.count] = open_meta(w, &config);
}

static void close_metas(struct world *w)
{
    for (unsigned i = 0; i < w->mp.count; i++)
        qv_meta_close(w->mp.metas[i]);
    w->mp.count = 0;
}

static void world_close(struct world *w)
{
    close_metas(w);
    uv_close((uv_handle_t *)&w->timer, NULL);
    qv_uv_env_destroy(&w->env);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
}

static void wait_reachable(struct world *w, unsigned meta)
{
    for (unsigned i = 0; i < 1000 && !w->mp.metas[meta]->reachable; i++)
        run(&w->mp, 20);
    if (!w->mp.metas[meta]->reachable)
        fail_msg("%s", w->mp.metas[meta]->why.text);
}

/* ---- what every implementation does ---- */

static void test_parts(void **state)
{
    (void)state;
    static void (*const parts[])(struct mp *) = {mp_basics, mp_limits, mp_watches, mp_leases,
                                                 mp_close_with_requests};
    struct cluster c;
    struct world w;
    cluster_init(&c, 1, false);
    cluster_start(&c);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        world_open(&w);
        open_metas(&w, &c, 2);
        wait_reachable(&w, 0);
        parts[i](&w.mp);
        world_close(&w);
    }
    cluster_stop(&c);
}

/* Many keys, some large: pages of every size, at one revision. */
static void test_pages(void **state)
{
    (void)state;
    static uint8_t value[300000];
    struct cluster c;
    struct world w;
    char keys[100][16];
    uint64_t revision = 0;
    memset(value, 'v', sizeof value);
    cluster_init(&c, 1, false);
    cluster_start(&c);
    world_open(&w);
    open_metas(&w, &c, 1);
    wait_reachable(&w, 0);
    for (unsigned batch = 0; batch < 30; batch++) {
        struct qv_meta_change changes[100];
        for (unsigned i = 0; i < 100; i++) {
            snprintf(keys[i], sizeof keys[i], "k%05u", i * 30 + batch);
            changes[i] = mp_change(keys[i], "small", 0);
        }
        if (batch % 2 == 0)
            changes[batch].value = (struct qv_bytes){value, sizeof value};
        struct mp_answer a =
            mp_txn(&w.mp, 0, (struct qv_meta_txn){.changes = changes, .change_count = 100});
        assert_int_equal(a.err, 0);
        revision = a.revision;
    }
    struct mp_answer a = mp_list(&w.mp, 0, "");
    assert_int_equal(a.err, 0);
    assert_int_equal(a.count, 3000);
    assert_int_equal(a.revision, revision);
    assert_int_equal(mp_list(&w.mp, 0, "k000").count, 100);
    world_close(&w);
    cluster_stop(&c);
}

/* ---- histories ---- */

static void history_end(struct world *w, struct mh *h)
{
    mh_stop(h);
    for (unsigned i = 0; i < 2000 && !(mh_idle(h) && mh_level(h)); i++)
        run(&w->mp, 20);
    assert_true(mh_idle(h) && mh_level(h));
    print_message("done %u, refused %u, unknown %u, away %u, lists %u; batches %u, compacted %u\n",
                  h->done_ok, h->done_stale, h->done_unknown, h->done_away, h->lists_ok,
                  h->observer.batches, h->observer.compacted);
    assert_true(h->done_ok > 50 && h->done_stale > 5 && h->lists_ok > 20);
    mh_check(h);
    qv_meta_watch_stop(w->mp.metas[0], &h->observer.watch);
    mh_free(h);
}

static void test_history_one_member(void **state)
{
    (void)state;
    struct cluster c;
    struct world w;
    cluster_init(&c, 1, false);
    cluster_start(&c);
    world_open(&w);
    open_metas(&w, &c, 4);
    wait_reachable(&w, 0);
    struct mh *h = mh_create(w.mp.metas, 4, 1);
    for (unsigned i = 0; i < 3; i++) {
        run(&w.mp, 1500);
        member_kill(&c.members[0]);
        run(&w.mp, 700);
        member_start(&c, 0);
        for (unsigned k = 0; k < 4; k++)
            wait_reachable(&w, k);
    }
    run(&w.mp, 1000);
    history_end(&w, h);
    world_close(&w);
    cluster_stop(&c);
}

/* Each member in turn, so the leader too, is killed or stopped; another client compacts. */
static void test_history_three_members(void **state)
{
    (void)state;
    struct cluster c;
    struct world w;
    cluster_init(&c, 3, false);
    cluster_start(&c);
    world_open(&w);
    open_metas(&w, &c, 5);
    wait_reachable(&w, 0);
    struct mh *h = mh_create(w.mp.metas, 5, 2);
    for (unsigned i = 0; i < 6; i++) {
        struct member *m = &c.members[i % 3];
        run(&w.mp, 800);
        if (i < 3) {
            member_kill(m);
            run(&w.mp, 1500);
            member_start(&c, i % 3);
        } else {
            (void)kill(m->pid, SIGSTOP);
            run(&w.mp, 2500);
            (void)kill(m->pid, SIGCONT);
        }
        if (w.mp.metas[1]->revision > 40)
            (void)compact(c.members[(i + 1) % 3].url, w.mp.metas[1]->revision - 5);
    }
    run(&w.mp, 2000);
    history_end(&w, h);
    world_close(&w);
    cluster_stop(&c);
}

static void test_compacted(void **state)
{
    (void)state;
    struct cluster c;
    struct world w;
    cluster_init(&c, 1, false);
    cluster_start(&c);
    world_open(&w);
    open_metas(&w, &c, 1);
    wait_reachable(&w, 0);
    uint64_t r = 0;
    for (unsigned i = 0; i < 20; i++)
        r = mp_put(&w.mp, 0, "k", "v", 0).revision;
    assert_int_equal(compact(c.members[0].url, r - 3), 0);
    struct mp_seen s = {.w = &w.mp};
    struct qv_meta_watch watch = {
        .prefix = "", .from = r - 4, .events = mp_on_events, .ended = mp_on_ended, .arg = &s};
    qv_meta_watch_start(w.mp.metas[0], &watch);
    mp_run_until(&w.mp, &s.ended);
    assert_int_equal(s.err, QV_ESTALE);
    assert_false(w.mp.metas[0]->replaced);
    s = (struct mp_seen){.w = &w.mp};
    watch.from = r - 3;
    qv_meta_watch_start(w.mp.metas[0], &watch);
    run(&w.mp, 300);
    assert_false(s.ended);
    assert_int_equal(s.revision, r);
    qv_meta_watch_stop(w.mp.metas[0], &watch);
    world_close(&w);
    cluster_stop(&c);
}

/* ---- leases ---- */

static void test_leases(void **state)
{
    (void)state;
    struct cluster c;
    struct world w;
    struct qv_meta_lease l;
    struct mp_leased s;
    cluster_init(&c, 3, false);
    cluster_start(&c);
    world_open(&w);
    open_metas(&w, &c, 2);
    wait_reachable(&w, 0);
    mp_grant(&w.mp, 0, 4000, &l, &s);
    assert_int_equal(s.err, 0);
    assert_int_equal(mp_put(&w.mp, 0, "leased", "v", l.id).err, 0);
    for (unsigned i = 0; i < 3; i++) { /* it outlives every member once */
        member_kill(&c.members[i]);
        run(&w.mp, 2500);
        assert_true(qv_meta_lease_holds(w.mp.metas[0], &l));
        member_start(&c, i);
        run(&w.mp, 1500);
    }
    assert_false(s.lost);
    assert_int_equal(mp_list(&w.mp, 1, "leased").count, 1);
    for (unsigned i = 0; i < 3; i++)
        (void)kill(c.members[i].pid, SIGSTOP);
    uint64_t end = l.end_boot_ns;
    mp_run_until(&w.mp, &s.lost);
    assert_int_equal(s.lost_err, QV_ETIMEOUT);
    assert_true(qv_env_boot_ns(w.mp.metas[0]->env) >= end);
    for (unsigned i = 0; i < 3; i++)
        (void)kill(c.members[i].pid, SIGCONT);
    struct mp_answer a = {.count = 1};
    for (unsigned i = 0; i < 100 && (a.err != 0 || a.count == 1); i++) {
        run(&w.mp, 200);
        a = mp_list(&w.mp, 1, "leased");
    }
    assert_int_equal(a.err, 0);
    assert_int_equal(a.count, 0);
    mp_grant(&w.mp, 0, 2000, &l, &s);
    assert_int_equal(s.err, 0);
    uint8_t revoke[16] = {1 << 3};
    struct qv_buf b;
    qv_buf_init(&b, 0);
    qv_buf_varint(&b, l.id);
    memcpy(revoke + 1, b.data, b.len);
    assert_int_equal(ask(c.members[0].url, "/etcdserverpb.Lease/LeaseRevoke", revoke, 1 + b.len),
                     0);
    qv_buf_close(&b);
    mp_run_until(&w.mp, &s.lost);
    assert_int_equal(s.lost_err, QV_ENOTFOUND);
    world_close(&w);
    cluster_stop(&c);
}

/* ---- another store ---- */

static void test_put_back(void **state)
{
    (void)state;
    for (unsigned other = 0; other < 2; other++) {
        struct cluster c;
        struct world w;
        cluster_init(&c, 1, false);
        cluster_start(&c);
        world_open(&w);
        open_metas(&w, &c, 1);
        wait_reachable(&w, 0);
        for (unsigned i = 0; i < 5; i++)
            assert_int_equal(mp_put(&w.mp, 0, "k", "v", 0).err, 0);
        struct qv_meta known = *w.mp.metas[0];
        struct mp_seen s = {.w = &w.mp};
        struct qv_meta_watch watch = {.prefix = "",
                                      .from = known.revision + 1,
                                      .events = mp_on_events,
                                      .ended = mp_on_ended,
                                      .arg = &s};
        qv_meta_watch_start(w.mp.metas[0], &watch);
        member_kill(&c.members[0]);
        wipe(c.members[0].dir);
        if (other)
            strcpy(c.token, "another");
        member_start(&c, 0);
        mp_run_until(&w.mp, &s.ended);
        assert_int_equal(s.err, QV_ESTALE);
        assert_true(w.mp.metas[0]->replaced);
        assert_non_null(strstr(w.mp.metas[0]->why.text, other ? "another store" : "put back"));
        assert_int_equal(mp_put(&w.mp, 0, "k", "w", 0).err, QV_ESTALE);
        assert_int_equal(mp_list(&w.mp, 0, "").err, QV_ESTALE);
        close_metas(&w);
        const char *url = c.members[0].url;
        struct qv_meta_etcd_config config = {.endpoints = &url,
                                             .endpoint_count = 1,
                                             .root = "/quiver/adopt/",
                                             .known_cluster_id = known.cluster_id,
                                             .known_revision = known.revision};
        w.mp.metas[w.mp.count++] = open_meta(&w, &config);
        assert_int_equal(mp_list(&w.mp, 0, "").err, QV_ESTALE); /* remembered */
        config.known_cluster_id = config.known_revision = 0;
        qv_meta_close(w.mp.metas[0]);
        w.mp.metas[0] = open_meta(&w, &config);
        assert_int_equal(mp_list(&w.mp, 0, "").err, 0); /* adopted */
        world_close(&w);
        cluster_stop(&c);
    }
}

/* ---- logins and TLS ---- */

static void enable_auth(const char *url)
{
    assert_int_equal(ask_texts(url, "/etcdserverpb.Auth/UserAdd", "root", "secret"), 0);
    assert_int_equal(ask_texts(url, "/etcdserverpb.Auth/RoleAdd", "root", NULL), 0);
    assert_int_equal(ask_texts(url, "/etcdserverpb.Auth/UserGrantRole", "root", "root"), 0);
    assert_int_equal(ask_texts(url, "/etcdserverpb.Auth/UserAdd", "nobody", "x"), 0);
    assert_int_equal(ask_texts(url, "/etcdserverpb.Auth/AuthEnable", NULL, NULL), 0);
}

static void test_auth(void **state)
{
    (void)state;
    struct cluster c;
    struct world w;
    cluster_init(&c, 1, false);
    cluster_start(&c);
    world_open(&w);
    open_metas(&w, &c, 1);
    wait_reachable(&w, 0);
    close_metas(&w);
    const char *url = c.members[0].url;
    struct qv_meta_etcd_config config = {.endpoints = &url,
                                         .endpoint_count = 1,
                                         .root = "/quiver/auth/",
                                         .user = "root",
                                         .password = "secret"};
    w.mp.metas[w.mp.count++] = open_meta(&w, &config); /* logins are not on yet */
    assert_int_equal(mp_put(&w.mp, 0, "k", "v", 0).err, 0);
    enable_auth(url);
    assert_int_equal(mp_put(&w.mp, 0, "k", "v", 0).err, 0);
    struct mp_seen s = {.w = &w.mp};
    struct qv_meta_watch watch = {.prefix = "",
                                  .from = w.mp.metas[0]->revision + 1,
                                  .events = mp_on_events,
                                  .ended = mp_on_ended,
                                  .arg = &s};
    qv_meta_watch_start(w.mp.metas[0], &watch);
    member_kill(&c.members[0]); /* the token is gone with it */
    member_start(&c, 0);
    struct mp_answer a = {.err = 1};
    for (unsigned i = 0; i < 20 && a.err != 0; i++)
        a = mp_put(&w.mp, 0, "k", "again", 0);
    assert_int_equal(a.err, 0);
    run(&w.mp, 500);
    assert_true(s.revision >= a.revision && !s.ended);
    static const struct {
        const char *user, *password;
        int err;
    } rows[] = {{"root", "wrong", QV_EAUTH},
                {NULL, NULL, QV_EAUTH},
                {"nobody", "x", QV_EFORBIDDEN},
                {"none", "x", QV_EAUTH}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        config.user = rows[i].user;
        config.password = rows[i].password;
        w.mp.metas[1] = open_meta(&w, &config);
        w.mp.count = 2;
        assert_int_equal(mp_list(&w.mp, 1, "").err, rows[i].err);
        print_message("%s\n", w.mp.metas[1]->why.text);
        qv_meta_close(w.mp.metas[1]);
        w.mp.count = 1;
    }
    qv_meta_watch_stop(w.mp.metas[0], &watch);
    world_close(&w);
    cluster_stop(&c);
}

static void make_cert(bool ca, const struct cluster *c, const char *cert, const char *key)
{
    struct qv_errmsg msg;
    struct qv_throwaway_cert t = {.name = ca ? "ca" : "etcd", .ca = ca};
    if (!ca) {
        t.alt_names = "IP:127.0.0.1";
        t.issuer_cert_path = c->ca;
        t.issuer_key_path = c->ca_key;
    }
    if (qv_throwaway_cert_make(&t, cert, key, &msg) != 0)
        fail_msg("%s", msg.text);
}

static void test_tls(void **state)
{
    (void)state;
    struct cluster c;
    struct world w;
    char other[96], other_key[96];
    cluster_init(&c, 1, true);
    snprintf(c.ca, sizeof c.ca, "%s/ca.pem", base_dir);
    snprintf(c.ca_key, sizeof c.ca_key, "%s/ca.key", base_dir);
    snprintf(c.cert, sizeof c.cert, "%s/cert.pem", base_dir);
    snprintf(c.key, sizeof c.key, "%s/cert.key", base_dir);
    snprintf(other, sizeof other, "%s/other.pem", base_dir);
    snprintf(other_key, sizeof other_key, "%s/other.key", base_dir);
    make_cert(true, &c, c.ca, c.ca_key);
    make_cert(true, &c, other, other_key);
    make_cert(false, &c, c.cert, c.key);
    cluster_start(&c);
    world_open(&w);
    const char *url = c.members[0].url;
    struct qv_meta_etcd_config config = {.endpoints = &url,
                                         .endpoint_count = 1,
                                         .root = "/quiver/tls/",
                                         .ca = c.ca,
                                         .cert = c.cert,
                                         .key = c.key};
    w.mp.metas[w.mp.count++] = open_meta(&w, &config);
    wait_reachable(&w, 0);
    mp_basics(&w.mp);
    close_metas(&w);
    static const char *const why[] = {"certificate", "", "key"};
    for (unsigned i = 0; i < 3; i++) {
        struct qv_meta_etcd_config wrong = config;
        if (i == 0)
            wrong.ca = other; /* we don't trust it */
        else if (i == 1)
            wrong.cert = wrong.key = NULL; /* it doesn't trust us */
        else
            wrong.key = other_key;
        w.mp.metas[0] = open_meta(&w, &wrong);
        w.mp.count = 1;
        assert_int_equal(mp_list(&w.mp, 0, "").err, QV_EUNAVAILABLE);
        print_message("%s\n", w.mp.metas[0]->why.text);
        assert_non_null(strstr(w.mp.metas[0]->why.text, why[i]));
        close_metas(&w);
    }
    world_close(&w);
    cluster_stop(&c);
}

/* ---- between us and etcd, something that is not honest ---- */

enum way { HONEST, CLOSES, SILENT, NOISE, PAGE, FLIPS, HALF, WAYS };

struct middle {
    int listener;
    uint16_t port, to;
    char url[64];
    atomic_int way;
    atomic_bool quit;
    pthread_t thread;
    pthread_t threads[512];
    unsigned count;
    uint64_t seed;
};

struct passage {
    struct middle *m;
    int fd;
    uint64_t seed;
};

/* One way of a passage; false: over. */
static bool pass(struct passage *p, struct qv_rng *rng, int from, int to, bool answers)
{
    uint8_t buf[16384];
    int way = atomic_load(&p->m->way);
    ssize_t n = read(from, buf, sizeof buf);
    if (n <= 0)
        return false;
    if (way == SILENT)
        return true;
    if (answers && way == FLIPS && qv_rng_below(rng, 3) == 0)
        buf[qv_rng_below(rng, (uint64_t)n)] ^= (uint8_t)(1u << qv_rng_below(rng, 8));
    if (answers && way == HALF && qv_rng_below(rng, 6) == 0) {
        (void)!write(to, buf, (size_t)n / 2);
        return false;
    }
    return write(to, buf, (size_t)n) == n;
}

static void *passage_main(void *arg)
{
    struct passage *p = arg;
    struct qv_rng rng;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                            .sin_port = htons(p->m->to)};
    uint8_t noise[4096];
    static const char page[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    int way = atomic_load(&p->m->way);
    qv_rng_init(&rng, p->seed);
    int to = socket(AF_INET, SOCK_STREAM, 0);
    bool on = way != CLOSES && connect(to, (struct sockaddr *)&a, sizeof a) == 0;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)qv_rng_u64(&rng);
    if (way == NOISE || way == PAGE) {
        (void)!write(p->fd, way == NOISE ? (const void *)noise : page,
                     way == NOISE ? sizeof noise : sizeof page - 1);
        on = false;
    }
    while (on && !atomic_load(&p->m->quit)) {
        struct pollfd fds[2] = {{p->fd, POLLIN, 0}, {to, POLLIN, 0}};
        if (poll(fds, 2, 50) < 0)
            break;
        if (fds[0].revents != 0)
            on = pass(p, &rng, p->fd, to, false);
        if (on && fds[1].revents != 0)
            on = pass(p, &rng, to, p->fd, true);
    }
    close(to);
    close(p->fd);
    qv_mem_free(p);
    return NULL;
}

static void *middle_main(void *arg)
{
    struct middle *m = arg;
    while (!atomic_load(&m->quit)) {
        struct pollfd fd = {m->listener, POLLIN, 0};
        if (poll(&fd, 1, 50) <= 0)
            continue;
        struct passage *p = qv_mem_calloc(1, sizeof *p);
        *p = (struct passage){m, accept(m->listener, NULL, NULL), m->seed++};
        if (p->fd < 0 || m->count == 512 ||
            pthread_create(&m->threads[m->count], NULL, passage_main, p) != 0) {
            close(p->fd);
            qv_mem_free(p);
        } else {
            m->count++;
        }
    }
    return NULL;
}

static struct middle *middle_open(uint16_t to, enum way way)
{
    struct middle *m = qv_mem_calloc(1, sizeof *m);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    m->to = to;
    m->port = free_port();
    m->seed = 1;
    atomic_store(&m->way, way);
    snprintf(m->url, sizeof m->url, "http://127.0.0.1:%u", m->port);
    a.sin_port = htons(m->port);
    m->listener = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    (void)setsockopt(m->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    assert_int_equal(bind(m->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(m->listener, 64), 0);
    assert_int_equal(pthread_create(&m->thread, NULL, middle_main, m), 0);
    return m;
}

static void middle_close(struct middle *m)
{
    atomic_store(&m->quit, true);
    (void)pthread_join(m->thread, NULL);
    for (unsigned i = 0; i < m->count; i++)
        (void)pthread_join(m->threads[i], NULL);
    close(m->listener);
    qv_mem_free(m);
}

/* Alone it is a clear error in time; beside an honest endpoint nobody notices. */
static void test_wrong_servers(void **state)
{
    (void)state;
    struct cluster c;
    struct world w;
    cluster_init(&c, 1, false);
    cluster_start(&c);
    world_open(&w);
    open_metas(&w, &c, 1);
    wait_reachable(&w, 0);
    close_metas(&w);
    for (int way = CLOSES; way <= PAGE; way++) {
        struct middle *m = middle_open(c.members[0].port, (enum way)way);
        const char *urls[2] = {m->url, c.members[0].url};
        struct qv_meta_etcd_config config = {
            .endpoints = urls, .endpoint_count = 1, .root = "/quiver/wrong/"};
        w.mp.metas[0] = open_meta(&w, &config);
        w.mp.count = 1;
        struct mp_answer a = mp_list(&w.mp, 0, "");
        assert_int_equal(a.err, QV_EUNAVAILABLE);
        a = mp_put(&w.mp, 0, "k", "v", 0);
        assert_int_equal(a.err, QV_EUNAVAILABLE); /* nothing was sent before it was probed */
        print_message("%s\n", w.mp.metas[0]->why.text);
        assert_non_null(strstr(w.mp.metas[0]->why.text, m->url));
        close_metas(&w);
        config.endpoint_count = 2;
        for (unsigned i = 0; i < 4; i++) {
            w.mp.metas[0] = open_meta(&w, &config);
            w.mp.count = 1;
            assert_int_equal(mp_list(&w.mp, 0, "").err, 0);
            close_metas(&w);
        }
        middle_close(m);
    }
    world_close(&w);
    cluster_stop(&c);
}

/* Flipped bits and cut answers: no crash, and with an honest server all is well again. */
static void test_flips(void **state)
{
    (void)state;
    struct cluster c;
    struct world w;
    struct qv_meta_lease l;
    struct mp_leased ls;
    cluster_init(&c, 1, false);
    cluster_start(&c);
    struct middle *m = middle_open(c.members[0].port, HONEST);
    world_open(&w);
    const char *url = m->url;
    struct qv_meta_etcd_config config = {
        .endpoints = &url, .endpoint_count = 1, .root = "/quiver/flips/", .timeout_ms = 200};
    w.mp.metas[w.mp.count++] = open_meta(&w, &config);
    wait_reachable(&w, 0);
    mp_grant(&w.mp, 0, 2000, &l, &ls);
    struct mp_seen s = {.w = &w.mp};
    struct qv_meta_watch watch = {
        .prefix = "", .from = 2, .events = mp_on_events, .ended = mp_on_ended, .arg = &s};
    qv_meta_watch_start(w.mp.metas[0], &watch);
    unsigned fine = 0, lost = 0;
    for (unsigned i = 0; i < 120; i++) {
        atomic_store(&m->way, i % 2 ? FLIPS : HALF);
        struct qv_meta_change change = mp_change("k", "v", 0);
        struct mp_answer a =
            mp_txn(&w.mp, 0,
                   (struct qv_meta_txn){.changes = &change, .change_count = 1, .timeout_ms = 100});
        *(a.err == 0 ? &fine : &lost) += 1;
        struct mp_answer b = {0};
        struct qv_meta_listing q = {
            .prefix = "", .timeout_ms = 100, .done = mp_list_done, .arg = &b};
        qv_meta_list(w.mp.metas[0], &q);
        mp_run_until(&w.mp, &b.done);
    }
    print_message("%u changes were answered, %u were not\n", fine, lost);
    assert_true(lost > 0);
    atomic_store(&m->way, HONEST);
    struct mp_answer a = {.err = 1};
    for (unsigned i = 0; i < 50 && a.err != 0; i++) {
        if (w.mp.metas[0]->replaced) { /* a flip in a cluster id or a revision, believed */
            qv_meta_close(w.mp.metas[0]);
            w.mp.metas[0] = open_meta(&w, &config);
        }
        a = mp_put(&w.mp, 0, "k", "v", 0);
    }
    assert_int_equal(a.err, 0);
    close_metas(&w);
    world_close(&w);
    middle_close(m);
    cluster_stop(&c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_history_one_member),
        cmocka_unit_test(test_history_three_members),
        cmocka_unit_test(test_compacted),
        cmocka_unit_test(test_leases),
        cmocka_unit_test(test_put_back),
        cmocka_unit_test(test_auth),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_wrong_servers),
        cmocka_unit_test(test_flips),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    snprintf(base_dir, sizeof base_dir, "/tmp/quiver-etcd-XXXXXX");
    if (mkdtemp(base_dir) == NULL || system("command -v etcd >/dev/null") != 0) {
        fprintf(stderr, "etcd_suite: etcd is missing: tools/setup cluster\n");
        return 2;
    }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    int result = RUN_SUITE(tests);
    wipe(base_dir);
    return result;
}
