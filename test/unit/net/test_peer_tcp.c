/* net/peer_tcp.h: what every network between nodes must do (test/lib/peer_cases.c), plain and under
 * TLS; then what only sockets and processes can do to it: a process killed or stopped, certificates
 * that nobody signed, garbage from either side. */
#include "net/peer_tcp.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "peer_cases.h"
#include "suite.h"
#include "tls_fixture.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static peer_world_make_f *tcp_world = peer_world_tcp;
static peer_world_make_f *tls_world = peer_world_tls;

#define LARGE_BYTES ((size_t)8 << 20)

enum { ECHO = 1, SLEEP = 2 };

static void on_echo(void *arg, struct qv_peer_request *r)
{
    struct qv_buf out;
    (void)arg;
    qv_buf_init(&out, 0);
    qv_buf_append(&out, r->body.p, r->body.n);
    qv_peer_answer(r, 0, NULL, &out);
}

/* ---- another process ------------------------------------------------------------------------ */

static void on_sleep(void *arg, struct qv_peer_request *r)
{
    (void)arg; /* never answered; says that it is there */
    (void)r;
    _Exit(write(STDOUT_FILENO, "s", 1) == 1 ? pause() : 1);
}

/* The child: node 100 of its own world, until it is killed. */
static int child_main(void)
{
    struct peer_world *w = peer_world_tcp(1, 1);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
    peer_world_start_all(w);
    qv_peers_serve(w->nodes[0].peers, ECHO, on_echo, NULL);
    qv_peers_serve(w->nodes[0].peers, SLEEP, on_sleep, NULL);
    if (write(STDOUT_FILENO, &w->nodes[0].port, sizeof w->nodes[0].port) < 0)
        return 1;
    for (;;)
        w->ops->step(w);
}

struct child {
    pid_t pid;
    int out;
    uint16_t port;
};

static struct child child_start(void)
{
    struct child c = {0};
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    c.pid = fork();
    assert_true(c.pid >= 0);
    if (c.pid == 0) {
        (void)dup2(pipes[1], STDOUT_FILENO);
        execl("/proc/self/exe", "test_peer_tcp", "--child", (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    c.out = pipes[0];
    assert_int_equal(read(c.out, &c.port, sizeof c.port), sizeof c.port);
    return c;
}

static void child_kill(struct child *c)
{
    kill(c->pid, SIGKILL);
    assert_int_equal(waitpid(c->pid, NULL, 0), c->pid);
    close(c->out);
}

static void kill_or_stop(int sig)
{
    struct peer_world *w = peer_world_tcp(2, 1);
    struct child c = child_start();
    struct peer_ask ask, large;
    uint8_t *body = qv_mem_calloc(1, LARGE_BYTES);
    char there;
    w->nodes[0].self.id = 7;
    peer_world_tcp_config(w, 0)->keepalive_ms = 300;
    peer_world_tcp_config(w, 0)->dead_ms = 700;
    w->ops->start(w, 0);
    struct qv_peers *peers = w->nodes[0].peers;
    assert_int_equal(qv_peers_set(peers, 100, "localhost", c.port, NULL), 0);
    peer_ask_init(&ask, 100, ECHO, (struct qv_bytes){(const uint8_t *)"ping", 4});
    assert_int_equal(peer_world_ask(w, 0, &ask, 20 * QV_NS_PER_S), 0);
    assert_int_equal(ask.body.len, 4);
    ask.done = false;
    ask.call.method = SLEEP;
    qv_peer_send(peers, &ask.call);
    for (int n = 0; n != 1;) { /* the loop must turn until the request is there */
        struct timeval now = {0, 1000};
        fd_set set;
        w->ops->step(w);
        FD_ZERO(&set);
        FD_SET(c.out, &set);
        n = select(c.out + 1, &set, NULL, NULL, &now);
    }
    assert_int_equal(read(c.out, &there, 1), 1);
    kill(c.pid, sig);
    peer_ask_init(&large, 100, ECHO, (struct qv_bytes){body, LARGE_BYTES});
    qv_peer_send(peers, &large.call); /* more than sockets hold: nobody reads it */
    peer_world_wait(w, &ask.done);
    peer_world_wait(w, &large.done);
    assert_true(large.err == QV_EUNKNOWN || (sig == SIGKILL && large.err == QV_EUNAVAILABLE));
    assert_true(large.may_have_run == (large.err == QV_EUNKNOWN));
    peer_ask_close(&large);
    qv_mem_free(body);
    assert_int_equal(ask.err, QV_EUNKNOWN);
    assert_true(ask.may_have_run);
    ask.call.method = ECHO;
    if (sig == SIGKILL) {
        assert_int_equal(peer_world_ask(w, 0, &ask, 20 * QV_NS_PER_S), QV_EUNAVAILABLE);
        assert_false(ask.may_have_run);
    }
    peer_ask_close(&ask);
    child_kill(&c);
    peer_world_destroy(&w);
}

static void test_sigkill(void **state)
{
    (void)state;
    kill_or_stop(SIGKILL);
}

/* A process that stands still keeps its connections: only the pings find out. */
static void test_sigstop(void **state)
{
    (void)state;
    kill_or_stop(SIGSTOP);
}

/* ---- certificates --------------------------------------------------------------------------- */

/* Node 0 is right. 1 shows a certificate of another authority, 2 trusts another one, 3 speaks no
 * TLS. */
static void test_certificates(void **state)
{
    struct peer_world *w = peer_world_tls(4, 1);
    const struct tls_files *files = tls_files();
    struct peer_ask ask;
    (void)state;
    peer_world_tcp_config(w, 1)->cert_path = files->other_ca;
    peer_world_tcp_config(w, 1)->key_path = files->other_ca_key;
    peer_world_tcp_config(w, 2)->ca_path = files->other_ca;
    struct qv_peer_tcp_config *plain = peer_world_tcp_config(w, 3);
    plain->cert_path = plain->key_path = plain->ca_path = NULL;
    plain->connect_timeout_ms = 1000;
    peer_world_tcp_config(w, 0)->connect_timeout_ms = 1000;
    peer_world_start_all(w);
    for (unsigned i = 0; i < 4; i++)
        qv_peers_serve(w->nodes[i].peers, ECHO, on_echo, NULL);
    for (unsigned i = 1; i < 4; i++) {
        for (unsigned k = 0; k < 2; k++) {
            peer_ask_init(&ask, k == 0 ? 100 + i : 100, ECHO, (struct qv_bytes){NULL, 0});
            int err = peer_world_ask(w, k == 0 ? 0 : i, &ask, 20 * QV_NS_PER_S);
            print_message("node %u %s: %s: %s\n", i, k == 0 ? "called" : "calling",
                          qv_err_name(err), ask.text);
            assert_true(err == QV_EAUTH || (i == 3 && err == QV_EUNAVAILABLE));
            assert_false(ask.may_have_run);
            peer_ask_close(&ask);
        }
    }
    peer_world_destroy(&w);
}

static void test_bad_config(void **state)
{
    struct qv_peer_tcp_config c = {.self = {.id = 1, .incarnation = 1}, .cert_path = "x"};
    struct qv_peer_tcp *t;
    struct qv_errmsg msg;
    (void)state;
    assert_int_equal(qv_peer_tcp_create(&c, &t, &msg), QV_EINVAL);
    assert_null(t);
    c.key_path = c.ca_path = "/nowhere";
    assert_int_equal(qv_peer_tcp_create(&c, &t, &msg), QV_EINVAL);
    assert_non_null(strstr(msg.text, "x"));
}

/* ---- garbage -------------------------------------------------------------------------------- */

struct liar {
    int fd;
    uint16_t port;
    const char *says;
    size_t bytes;
    pthread_t thread;
};

static void *liar_main(void *arg)
{
    struct liar *l = arg;
    int fd;
    while ((fd = accept(l->fd, NULL, NULL)) >= 0) {
        char in[512];
        if (read(fd, in, sizeof in) > 0 && l->bytes > 0)
            (void)!send(fd, l->says, l->bytes, MSG_NOSIGNAL);
        if (l->bytes > 0)
            shutdown(fd, SHUT_WR);
        while (read(fd, in, sizeof in) > 0)
            ;
        close(fd);
    }
    return NULL;
}

static void liar_start(struct liar *l, const char *says, size_t bytes)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof a;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    l->fd = socket(AF_INET, SOCK_STREAM, 0);
    l->says = says;
    l->bytes = bytes;
    assert_int_equal(bind(l->fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(l->fd, 8), 0);
    assert_int_equal(getsockname(l->fd, (struct sockaddr *)&a, &n), 0);
    l->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&l->thread, NULL, liar_main, l), 0);
}

static void liar_stop(struct liar *l)
{
    shutdown(l->fd, SHUT_RDWR);
    pthread_join(l->thread, NULL);
    close(l->fd);
}

/* What is no node, or says nothing: an error in time, and nothing ran. */
static void test_liars(void **state)
{
    static const char settings[] = "\0\0\0\4\0\0\0\0\0\0\0\1\1\4\0\0\0\1\x88";
    static const struct {
        const char *says;
        size_t bytes;
    } lies[] = {{"SSH-2.0-OpenSSH_9.2p1\r\n", 23},
                {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 40},
                {settings, sizeof settings - 1}, /* HTTP/2: 200, and its end */
                {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12},
                {"", 0}};
    (void)state;
    for (unsigned i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct peer_world *w = peer_world_tcp(1, 1);
        struct liar l;
        struct peer_ask ask;
        peer_world_tcp_config(w, 0)->connect_timeout_ms = 300;
        w->ops->start(w, 0);
        liar_start(&l, lies[i].says, lies[i].bytes);
        assert_int_equal(qv_peers_set(w->nodes[0].peers, 9, "127.0.0.1", l.port, NULL), 0);
        peer_ask_init(&ask, 9, ECHO, (struct qv_bytes){NULL, 0});
        int err = peer_world_ask(w, 0, &ask, 20 * QV_NS_PER_S);
        assert_true(err == QV_EUNAVAILABLE || err == QV_EPROTO);
        assert_false(ask.may_have_run);
        assert_true(ask.text[0] != '\0');
        peer_ask_close(&ask);
        peer_world_destroy(&w);
        liar_stop(&l);
    }
}

static void send_raw(uint16_t port, const void *bytes, size_t n)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval soon = {2, 0};
    char in[256];
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    (void)!send(fd, bytes, n, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    while (read(fd, in, sizeof in) > 0)
        ;
    close(fd);
}

/* Garbage on the port: other callers are served as before. */
static void test_garbage(void **state)
{
    static const char *const texts[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense",
        "\x16\x03\x01\x02\x00\x01\x00\x01", "EHLO there\r\n", "\n\n\n\n"};
    struct peer_world *w = peer_world_tcp(2, 1);
    struct peer_ask ask;
    (void)state;
    peer_world_start_all(w);
    qv_peers_serve(w->nodes[1].peers, ECHO, on_echo, NULL);
    peer_ask_init(&ask, 101, ECHO, (struct qv_bytes){(const uint8_t *)"x", 1});
    for (unsigned i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        send_raw(w->nodes[1].port, texts[i], strlen(texts[i]));
        assert_int_equal(peer_world_ask(w, 0, &ask, 20 * QV_NS_PER_S), 0);
    }
    peer_ask_close(&ask);
    peer_world_destroy(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        PEER_CASES(&tcp_world),
        PEER_CASES(&tls_world),
        cmocka_unit_test(test_sigkill),
        cmocka_unit_test(test_sigstop),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_bad_config),
        cmocka_unit_test(test_liars),
        cmocka_unit_test(test_garbage),
    };
    signal(SIGPIPE, SIG_IGN);
    if (argc > 1 && strcmp(argv[1], "--child") == 0)
        return child_main();
    return RUN_SUITE(tests);
}
