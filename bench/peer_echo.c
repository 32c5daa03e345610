/* What messages between nodes cost: round trips of an echo through net/peer_tcp.h over the
 * loopback, between two nodes of one process with threads of their own, against the floor of the
 * same bytes over a plain TCP socket in the same run (blocking threads, no framing).
 *
 *   peer_echo [--calls N] [--passes N] [--in-flight N] [--secret TEXT]
 *
 * For bodies of 512 B and 64 KiB, there and back: p50 and p99 of one call at a time, and calls a
 * second with N in flight (the floor: of one at a time). Passes of both in turns after a warm-up;
 * the median of the passes is printed as JSON. */
#include "base/mem.h"
#include "base/qv_assert.h"
#include "io/uv_env.h"
#include "net/peer_tcp.h"

#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PASSES_MAX 64
#define FLIGHT_MAX 256

enum { ECHO = 1 };

struct node {
    struct qv_uv_env *env;
    struct qv_peer_tcp *tcp;
    struct qv_peer_tcp_config config;
};

struct asker {
    struct qv_peer_call call;
    struct bench *b;
    uint64_t begun_ns;
};

struct bench {
    uint64_t calls, passes, in_flight;
    struct node nodes[2];
    uint8_t *body;
    size_t bytes;
    struct asker askers[FLIGHT_MAX];
    uint64_t left, under_way, n;
    uint64_t *took_ns;
    uint64_t width;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
};

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static double median(double *v, uint64_t n)
{
    for (uint64_t i = 1; i < n; i++) {
        for (uint64_t k = i; k > 0 && v[k] < v[k - 1]; k--) {
            double x = v[k];
            v[k] = v[k - 1];
            v[k - 1] = x;
        }
    }
    return v[n / 2];
}

struct pass {
    double p50_us, p99_us, calls_per_s;
};

static struct pass pass_of(uint64_t *took_ns, uint64_t n, uint64_t whole_ns)
{
    qsort(took_ns, n, sizeof *took_ns, by_size);
    const uint64_t half = n / 2, most = n * 99 / 100;
    return (struct pass){(double)took_ns[half] / 1e3, (double)took_ns[most] / 1e3,
                         (double)n * 1e9 / (double)whole_ns};
}

/* ---- the nodes ------------------------------------------------------------------------------ */

static void on_echo(void *arg, struct qv_peer_request *r)
{
    struct qv_buf out;
    (void)arg;
    qv_buf_init(&out, 0);
    qv_buf_append(&out, r->body.p, r->body.n);
    qv_peer_answer(r, 0, NULL, &out);
}

static void ask(struct asker *a)
{
    struct bench *b = a->b;
    b->left--;
    b->under_way++;
    a->begun_ns = now_ns();
    qv_peer_send(qv_peer_tcp_peers(b->nodes[0].tcp), &a->call);
}

static void on_done(struct qv_peer_call *call, const struct qv_peer_answer *answer)
{
    struct asker *a = call->arg;
    struct bench *b = a->b;
    if (answer->err != 0 || answer->body.n != b->bytes) {
        fprintf(stderr, "a call failed: %s\n", answer->text);
        exit(1);
    }
    b->took_ns[b->n++] = now_ns() - a->begun_ns;
    b->under_way--;
    if (b->left > 0) {
        ask(a);
    } else if (b->under_way == 0) {
        pthread_mutex_lock(&b->mutex);
        b->done = true;
        pthread_cond_signal(&b->cond);
        pthread_mutex_unlock(&b->mutex);
    }
}

static void begin(void *arg)
{
    struct bench *b = arg;
    for (uint64_t i = 0; i < b->width && b->left > 0; i++) {
        struct asker *a = &b->askers[i];
        a->b = b;
        a->call = (struct qv_peer_call){
            .to = 2, .method = ECHO, .body = {b->body, b->bytes}, .done = on_done, .arg = a};
        ask(a);
    }
}

static struct pass run(struct bench *b, uint64_t width, uint64_t calls)
{
    b->width = width;
    b->left = calls;
    b->n = 0;
    b->done = false;
    uint64_t from = now_ns();
    qv_uv_env_call(b->nodes[0].env, begin, b);
    pthread_mutex_lock(&b->mutex);
    while (!b->done)
        pthread_cond_wait(&b->cond, &b->mutex);
    pthread_mutex_unlock(&b->mutex);
    return pass_of(b->took_ns, b->n, now_ns() - from);
}

static void node_open(void *arg)
{
    struct node *node = arg;
    struct qv_errmsg msg;
    node->config.env = qv_uv_env_env(node->env);
    if (qv_peer_tcp_create(&node->config, &node->tcp, &msg) != 0) {
        fprintf(stderr, "%s\n", msg.text);
        exit(2);
    }
    qv_peers_serve(qv_peer_tcp_peers(node->tcp), ECHO, on_echo, NULL);
}

static void introduce(void *arg)
{
    struct bench *b = arg;
    int err = qv_peers_set(qv_peer_tcp_peers(b->nodes[0].tcp), 2, "127.0.0.1",
                           qv_peer_tcp_port(b->nodes[1].tcp), NULL);
    QV_ASSERT(err == 0);
}

static void node_close(void *arg)
{
    qv_peer_tcp_close(((struct node *)arg)->tcp);
}

/* ---- the floor ------------------------------------------------------------------------------ */

struct floor_echo {
    int listen_fd;
    size_t bytes;
};

static bool move(int fd, uint8_t *p, size_t n, bool out)
{
    while (n > 0) {
        ssize_t k = out ? send(fd, p, n, MSG_NOSIGNAL) : recv(fd, p, n, 0);
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

static void *floor_main(void *arg)
{
    struct floor_echo *f = arg;
    uint8_t *body = qv_mem_alloc(f->bytes);
    int one = 1, fd = accept(f->listen_fd, NULL, NULL);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    while (move(fd, body, f->bytes, false) && move(fd, body, f->bytes, true))
        ;
    close(fd);
    qv_mem_free(body);
    return NULL;
}

static struct pass run_floor(struct bench *b, uint64_t calls)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof a;
    struct floor_echo f = {.listen_fd = socket(AF_INET, SOCK_STREAM, 0), .bytes = b->bytes};
    pthread_t thread;
    uint8_t *in = qv_mem_alloc(b->bytes);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(f.listen_fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(f.listen_fd, 1) != 0 ||
        getsockname(f.listen_fd, (struct sockaddr *)&a, &n) != 0 ||
        pthread_create(&thread, NULL, floor_main, &f) != 0 ||
        connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        perror("the plain echo");
        exit(2);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    uint64_t whole = now_ns();
    for (uint64_t i = 0; i < calls; i++) {
        uint64_t from = now_ns();
        if (!move(fd, b->body, b->bytes, true) || !move(fd, in, b->bytes, false))
            exit(1);
        b->took_ns[i] = now_ns() - from;
    }
    whole = now_ns() - whole;
    close(fd);
    pthread_join(thread, NULL);
    close(f.listen_fd);
    qv_mem_free(in);
    return pass_of(b->took_ns, calls, whole);
}

static void measure(struct bench *b, size_t bytes, bool last)
{
    double v[8][PASSES_MAX];
    b->bytes = bytes;
    for (uint64_t i = 0; i <= b->passes; i++) { /* the first warms up */
        uint64_t at = i == 0 ? 0 : i - 1;
        struct pass plain = run_floor(b, b->calls);
        struct pass one = run(b, 1, b->calls);
        struct pass many = run(b, b->in_flight, b->calls);
        v[0][at] = one.p50_us;
        v[1][at] = one.p99_us;
        v[2][at] = one.calls_per_s;
        v[3][at] = many.calls_per_s;
        v[4][at] = plain.p50_us;
        v[5][at] = plain.p99_us;
        v[6][at] = plain.calls_per_s;
        v[7][at] = one.p50_us / plain.p50_us;
    }
    printf("  {\"bytes\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f, \"calls_per_s\": %.0f, "
           "\"calls_per_s_in_flight\": %.0f,\n   \"tcp_p50_us\": %.1f, \"tcp_p99_us\": %.1f, "
           "\"tcp_calls_per_s\": %.0f, \"p50_ratio\": %.2f}%s\n",
           bytes, median(v[0], b->passes), median(v[1], b->passes), median(v[2], b->passes),
           median(v[3], b->passes), median(v[4], b->passes), median(v[5], b->passes),
           median(v[6], b->passes), median(v[7], b->passes), last ? "" : ",");
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"calls", required_argument, NULL, 'c'},
                                          {"passes", required_argument, NULL, 'p'},
                                          {"in-flight", required_argument, NULL, 'f'},
                                          {"secret", required_argument, NULL, 's'},
                                          {NULL, 0, NULL, 0}};
    static struct bench b = {.calls = 5000, .passes = 5, .in_flight = 32};
    const char *secret = NULL;
    int c;
    while ((c = getopt_long(argc, argv, "", names, NULL)) >= 0) {
        if (c == 's')
            secret = optarg;
        else if (c != '?')
            *(c == 'c'   ? &b.calls
              : c == 'p' ? &b.passes
                         : &b.in_flight) = strtoull(optarg, NULL, 10);
        if (c == '?')
            return 2;
    }
    if (b.calls < 100 || b.passes < 1 || b.passes > PASSES_MAX || b.in_flight < 1 ||
        b.in_flight > FLIGHT_MAX) {
        fprintf(stderr, "peer_echo: a number is out of range\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    pthread_mutex_init(&b.mutex, NULL);
    pthread_cond_init(&b.cond, NULL);
    b.body = qv_mem_calloc(1, 65536);
    b.took_ns = qv_mem_calloc(b.calls, sizeof *b.took_ns);
    for (unsigned i = 0; i < 2; i++) {
        struct qv_uv_env_config env = {.pin_cpu = -1};
        struct qv_errmsg msg;
        b.nodes[i].config.self =
            (struct qv_peer_self){.id = i + 1, .incarnation = 1, .secret = secret};
        if (qv_uv_env_create(&env, &b.nodes[i].env, &msg) != 0)
            return 2;
        qv_uv_env_call(b.nodes[i].env, node_open, &b.nodes[i]);
    }
    qv_uv_env_call(b.nodes[0].env, introduce, &b);
    printf("{\"calls\": %llu, \"passes\": %llu, \"in_flight\": %llu, \"rows\": [\n",
           (unsigned long long)b.calls, (unsigned long long)b.passes,
           (unsigned long long)b.in_flight);
    measure(&b, 512, false);
    measure(&b, 65536, true);
    printf("]}\n");
    for (unsigned i = 0; i < 2; i++) {
        qv_uv_env_call(b.nodes[i].env, node_close, &b.nodes[i]);
        qv_uv_env_destroy(&b.nodes[i].env);
        qv_peer_tcp_destroy(&b.nodes[i].tcp);
    }
    qv_mem_free(b.body);
    qv_mem_free(b.took_ns);
    return 0;
}
