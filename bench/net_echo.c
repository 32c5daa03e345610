/* What the transport costs: calls a second and CPU a call of an echo through net/server.h and
 * net/client.h over the loopback.
 *
 *   net_echo [--http1] [--worker] [--in-flight N] [--connections N] [--request BYTES]
 *            [--work-us N] [--reply BYTES] [--seconds S] [--passes N] [--server-cpu N]
 * [--client-cpu N]
 *
 * --work-us: what a call costs the server beside the transport, in thread CPU.
 *
 * The server's loop (and, with --worker, one worker that answers) is pinned to one cpu, the client
 * to another or the same. CPU of the server = of the process less that of the client's thread. One
 * warm-up pass, then N; prints the min and the median as JSON. */
#include "base/mem.h"
#include "net/client.h"
#include "net/server.h"

#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define PASSES_MAX 64

struct options {
    bool http1, worker;
    unsigned in_flight, connections, passes, work_us;
    size_t request_bytes, reply_bytes;
    double seconds;
    int server_cpu, client_cpu;
};

struct bench {
    struct options options;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct qv_call *queue[65536];
    unsigned head, tail;
    bool quit;
    struct qv_client *client;
    uint8_t *request, *reply;
    uint64_t calls, bad, end_ns;
    uint64_t *latencies_ns;
    uint64_t n_latencies, cap_latencies;
};

struct pass {
    double calls_per_s, server_us, client_us, p50_us, p99_us;
};

static uint64_t clock_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (cpu >= 0 && pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0)
        fprintf(stderr, "net_echo: can't pin to cpu %d\n", cpu);
}

static void answer(struct bench *b, struct qv_call *call)
{
    struct qv_buf *out = qv_call_out(call);
    uint64_t until_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) + b->options.work_us * 1000u;
    while (b->options.work_us > 0 && clock_ns(CLOCK_THREAD_CPUTIME_ID) < until_ns)
        ;
    qv_buf_append(out, b->reply, b->options.reply_bytes);
    if (call->is_grpc)
        qv_call_reply_grpc(call, 0, NULL, out);
    else
        qv_call_reply(call, 200, "application/json", NULL, 0, out);
}

static void handler(void *ctx, struct qv_call *call)
{
    struct bench *b = ctx;
    if (!b->options.worker) {
        answer(b, call);
        return;
    }
    pthread_mutex_lock(&b->mutex);
    bool wake = b->head == b->tail;
    b->queue[b->tail++ % 65536] = call;
    pthread_mutex_unlock(&b->mutex);
    if (wake)
        pthread_cond_signal(&b->cond);
}

static void *worker_main(void *arg)
{
    struct bench *b = arg;
    struct qv_call *batch[256];
    pin(b->options.server_cpu);
    for (;;) {
        unsigned n = 0;
        pthread_mutex_lock(&b->mutex);
        while (b->head == b->tail && !b->quit)
            pthread_cond_wait(&b->cond, &b->mutex);
        while (b->head != b->tail && n < 256)
            batch[n++] = b->queue[b->head++ % 65536];
        pthread_mutex_unlock(&b->mutex);
        if (n == 0)
            return NULL;
        for (unsigned i = 0; i < n; i++)
            answer(b, batch[i]);
    }
}

static void send_one(struct bench *b);

static void done(void *arg, const struct qv_client_response *r)
{
    struct bench *b = arg;
    if (r->err != 0 || r->status != 200 || r->grpc_status != 0 ||
        r->body.n != b->options.reply_bytes)
        b->bad++;
    b->calls++;
    if (b->n_latencies < b->cap_latencies)
        b->latencies_ns[b->n_latencies++] = r->latency_ns;
    if (clock_ns(CLOCK_MONOTONIC) < b->end_ns)
        send_one(b);
}

static void send_one(struct bench *b)
{
    struct qv_client_request request = {.method = "POST",
                                        .path = "/qdrant.Points/Search",
                                        .grpc = !b->options.http1,
                                        .body = {b->request, b->options.request_bytes}};
    if (qv_client_send(b->client, &request, done, b) != 0)
        b->bad++;
}

static int by_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static struct pass run_pass(struct bench *b)
{
    struct pass p = {0};
    b->calls = b->n_latencies = 0;
    uint64_t from = clock_ns(CLOCK_MONOTONIC);
    uint64_t process = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t thread = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    b->end_ns = from + (uint64_t)(b->options.seconds * 1e9);
    for (unsigned i = 0; i < b->options.in_flight; i++)
        send_one(b);
    qv_client_run(b->client);
    double wall = (double)(clock_ns(CLOCK_MONOTONIC) - from);
    double client = (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - thread);
    double all = (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - process);
    double n = (double)b->calls;
    qsort(b->latencies_ns, b->n_latencies, sizeof *b->latencies_ns, by_u64);
    p.calls_per_s = n / wall * 1e9;
    p.client_us = client / n / 1e3;
    p.server_us = (all - client) / n / 1e3;
    if (b->n_latencies > 0) {
        p.p50_us = (double)b->latencies_ns[b->n_latencies / 2] / 1e3;
        p.p99_us = (double)b->latencies_ns[b->n_latencies * 99 / 100] / 1e3;
    }
    return p;
}

static int by_rate(const void *a, const void *b)
{
    double x = ((const struct pass *)a)->calls_per_s;
    double y = ((const struct pass *)b)->calls_per_s;
    return x < y ? -1 : x > y;
}

static void print_pass(const char *name, const struct pass *p)
{
    printf("\"%s\": {\"calls_per_s\": %.0f, \"server_cpu_us\": %.2f, \"client_cpu_us\": %.2f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f}",
           name, p->calls_per_s, p->server_us, p->client_us, p->p50_us, p->p99_us);
}

static int parse(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {{"http1", no_argument, NULL, '1'},
                                          {"worker", no_argument, NULL, 'w'},
                                          {"in-flight", required_argument, NULL, 'f'},
                                          {"connections", required_argument, NULL, 'c'},
                                          {"request", required_argument, NULL, 'q'},
                                          {"reply", required_argument, NULL, 'r'},
                                          {"work-us", required_argument, NULL, 'u'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"passes", required_argument, NULL, 'p'},
                                          {"server-cpu", required_argument, NULL, 'S'},
                                          {"client-cpu", required_argument, NULL, 'C'},
                                          {NULL, 0, NULL, 0}};
    int c;
    *o = (struct options){.in_flight = 64,
                          .connections = 1,
                          .passes = 5,
                          .request_bytes = 3144,
                          .reply_bytes = 300,
                          .seconds = 1,
                          .server_cpu = 0,
                          .client_cpu = 1};
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        unsigned long v = optarg != NULL ? strtoul(optarg, NULL, 10) : 0;
        switch (c) {
        case '1':
            o->http1 = true;
            break;
        case 'w':
            o->worker = true;
            break;
        case 'f':
            o->in_flight = (unsigned)v;
            break;
        case 'c':
            o->connections = (unsigned)v;
            break;
        case 'q':
            o->request_bytes = v;
            break;
        case 'r':
            o->reply_bytes = v;
            break;
        case 'u':
            o->work_us = (unsigned)v;
            break;
        case 's':
            o->seconds = strtod(optarg, NULL);
            break;
        case 'p':
            o->passes = (unsigned)v;
            break;
        case 'S':
            o->server_cpu = atoi(optarg);
            break;
        case 'C':
            o->client_cpu = atoi(optarg);
            break;
        default:
            return 2;
        }
    }
    return o->passes < 1 || o->passes > PASSES_MAX || o->in_flight < 1 || o->connections < 1 ? 2
                                                                                             : 0;
}

static int bench_open(struct bench *b, struct qv_net_server **server, struct qv_errmsg *msg)
{
    struct qv_net_server_config config;
    char url[64];
    qv_net_server_config_init(&config);
    config.n_ports = 1;
    config.cpu = b->options.server_cpu;
    config.handler = handler;
    config.ctx = b;
    int err = qv_net_server_create(&config, server, msg);
    if (err != 0)
        return err;
    snprintf(url, sizeof url, "http://127.0.0.1:%u", qv_net_server_port(*server, 0));
    struct qv_client_config cc = {.url = url,
                                  .http1 = b->options.http1,
                                  .connections = b->options.connections,
                                  .in_flight_max =
                                      (b->options.in_flight + b->options.connections - 1) /
                                      b->options.connections};
    return qv_client_create(&cc, &b->client, msg);
}

int main(int argc, char **argv)
{
    static struct bench b;
    struct qv_net_server *server = NULL;
    struct qv_errmsg msg = {""};
    struct pass passes[PASSES_MAX];
    struct qv_net_stats stats;
    pthread_t worker;
    signal(SIGPIPE, SIG_IGN);
    if (parse(argc, argv, &b.options) != 0) {
        fprintf(stderr, "net_echo: wrong arguments, see the head of bench/net_echo.c\n");
        return 2;
    }
    const struct options *o = &b.options;
    pthread_mutex_init(&b.mutex, NULL);
    pthread_cond_init(&b.cond, NULL);
    b.request = qv_mem_calloc(1, o->request_bytes + 1);
    b.reply = qv_mem_calloc(1, o->reply_bytes + 1);
    b.cap_latencies = 4000000;
    b.latencies_ns = qv_mem_calloc(b.cap_latencies, sizeof *b.latencies_ns);
    if (pthread_create(&worker, NULL, worker_main, &b) != 0 || bench_open(&b, &server, &msg) != 0) {
        fprintf(stderr, "net_echo: %s\n", msg.text);
        return 2;
    }
    pin(o->client_cpu);
    run_pass(&b);
    for (unsigned i = 0; i < o->passes; i++)
        passes[i] = run_pass(&b);
    qsort(passes, o->passes, sizeof passes[0], by_rate);
    qv_net_server_stats(server, &stats);
    qv_client_destroy(&b.client);
    qv_net_server_destroy(&server);
    pthread_mutex_lock(&b.mutex);
    b.quit = true;
    pthread_cond_signal(&b.cond);
    pthread_mutex_unlock(&b.mutex);
    pthread_join(worker, NULL);
    printf("{\"schema\": \"quiver.net_echo.1\", \"transport\": \"%s\", \"worker\": %s, "
           "\"in_flight\": %u, \"connections\": %u, \"request_bytes\": %zu, \"reply_bytes\": %zu, "
           "\"passes\": %u, \"bad\": %llu, ",
           o->http1 ? "http1" : "grpc", o->worker ? "true" : "false", o->in_flight, o->connections,
           o->request_bytes, o->reply_bytes, o->passes, (unsigned long long)b.bad);
    print_pass("min", &passes[0]);
    printf(", ");
    print_pass("median", &passes[o->passes / 2]);
    printf(", \"calls_per_write\": %.2f, \"calls_per_wake\": %.2f}\n",
           (double)stats.calls_total / (double)(stats.writes + (stats.writes == 0)),
           (double)stats.calls_total / (double)(stats.wakes + (stats.wakes == 0)));
    qv_mem_free(b.request);
    qv_mem_free(b.reply);
    qv_mem_free(b.latencies_ns);
    return b.bad == 0 ? 0 : 1;
}
