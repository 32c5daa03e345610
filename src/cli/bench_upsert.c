/* quiver bench upsert: batches of new points over gRPC to a server with default settings on the
 * same cores, several in flight, no graph (hnsw_config.m = 0), wait = false: every acknowledged
 * batch is durable in the log. The batches are encoded before the clock runs; only their ids are
 * changed, so a server sees points it never had. Rows are seeded noise.
 *
 * The clock runs from the first send to the last acknowledgement. At the end the server's count of
 * points must be what was acknowledged. */
#include "cli/bench_upsert.h"

#include "base/mem.h"
#include "base/rng.h"
#include "cli/bench_kit.h"
#include "cli/bench_wire.h"
#include "cli/options.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAME "bench"
#define SEED 7
#define IN_FLIGHT_MAX 64

struct options {
    const char *dir;
    uint64_t dim, batch, seconds, in_flight;
    bool json;
};

struct bench;

struct slot {
    struct bench *b;
    struct qv_buf message;
    uint32_t *ids_at;
};

struct bench {
    struct options opt;
    struct slot slots[IN_FLIGHT_MAX];
    struct qv_bench_child child;
    struct qv_client *client;
    uint64_t next_id, acked, failed;
    uint64_t start_ns, send_ns, until_ns, last_ack_ns;
    double *latency_us;
    size_t latency_count, latency_cap;
    char dir[4096];
    char commit[64];
    struct qv_errmsg msg;
};

static const char usage[] =
    "usage: quiver bench upsert [options]\n"
    "\n"
    "Durable upserts a second of a server with default settings, no graph.\n"
    "\n"
    "  --dim N        (default 128)\n"
    "  --batch N      points of a request (default 1000)\n"
    "  --seconds N    (default 20)\n"
    "  --in-flight N  requests at a time (default 8)\n"
    "  --dir DIR      where the data is put while it runs (default: the present directory)\n"
    "  --json\n"
    "\n"
    "example: quiver bench upsert --dim 128 --batch 1000 --seconds 20 --json\n";

static void send_batch(struct slot *slot);

static void batch_done(void *arg, const struct qv_client_response *r)
{
    struct slot *slot = arg;
    struct bench *b = slot->b;
    if (r->err != 0 || r->grpc_status != 0) {
        if (b->failed++ == 0)
            qv_fail(&b->msg, QV_EIO, "upsert: %s",
                    r->err != 0 ? qv_err_text(r->err) : r->grpc_message);
        return;
    }
    b->acked += b->opt.batch;
    b->last_ack_ns = qv_bench_now_ns();
    if (b->latency_count == b->latency_cap) {
        b->latency_cap = b->latency_cap != 0 ? b->latency_cap * 2 : 4096;
        b->latency_us = qv_mem_realloc(b->latency_us, b->latency_cap * sizeof *b->latency_us);
    }
    b->latency_us[b->latency_count++] = (double)r->latency_ns * 1e-3;
    if (b->last_ack_ns < b->until_ns)
        send_batch(slot);
}

static void send_batch(struct slot *slot)
{
    struct bench *b = slot->b;
    for (uint64_t i = 0; i < b->opt.batch; i++)
        qv_bench_set_id(slot->message.data + slot->ids_at[i], b->next_id++);
    struct qv_client_request request = {.path = "/qdrant.Points/Upsert",
                                        .grpc = true,
                                        .body = {slot->message.data, slot->message.len}};
    int err = qv_client_send(b->client, &request, batch_done, slot);
    if (err != 0 && b->failed++ == 0)
        qv_fail(&b->msg, err, "upsert: %s", qv_err_text(err));
}

static void encode_batches(struct bench *b)
{
    struct qv_rng rng;
    float *rows = qv_mem_alloc(b->opt.batch * b->opt.dim * sizeof *rows);
    qv_rng_init(&rng, SEED);
    for (uint64_t s = 0; s < b->opt.in_flight; s++) {
        struct slot *slot = &b->slots[s];
        for (uint64_t i = 0; i < b->opt.batch * b->opt.dim; i++)
            rows[i] = qv_rng_gauss(&rng);
        slot->b = b;
        slot->ids_at = qv_mem_alloc(b->opt.batch * sizeof *slot->ids_at);
        qv_buf_init(&slot->message, 0);
        const struct qv_bench_points points = {.first_id = QV_BENCH_ID_FIRST,
                                               .rows = rows,
                                               .count = (uint32_t)b->opt.batch,
                                               .dim = (uint32_t)b->opt.dim};
        qv_bench_put_upsert(&slot->message, NAME, &points, slot->ids_at);
    }
    qv_mem_free(rows);
}

static int create_collection(struct bench *b)
{
    struct qv_buf text;
    char body[256];
    snprintf(body, sizeof body,
             "{\"vectors\":{\"size\":%llu,\"distance\":\"Euclid\"},\"hnsw_config\":{\"m\":0}}",
             (unsigned long long)b->opt.dim);
    int err = qv_bench_rest(b->client, "PUT", "/collections/" NAME, body, &text, &b->msg);
    qv_buf_close(&text);
    return err;
}

static int read_fsyncs(struct bench *b, double *out)
{
    struct qv_buf text;
    (void)nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL); /* renewed every 100 ms */
    int err = qv_bench_rest(b->client, "GET", "/metrics", NULL, &text, &b->msg);
    *out = err == 0 ? qv_bench_number_of(&text, "quiver_log_syncs_total") : 0;
    qv_buf_close(&text);
    return err;
}

static int check_count(struct bench *b)
{
    struct qv_buf text;
    int err = qv_bench_rest(b->client, "POST", "/collections/" NAME "/points/count",
                            "{\"exact\":true}", &text, &b->msg);
    double count = err == 0 ? qv_bench_number_of(&text, "count") : 0;
    qv_buf_close(&text);
    if (err == 0 && (uint64_t)count != b->acked)
        err = qv_fail(&b->msg, QV_EIO, "%llu points were acknowledged and %.0f are there",
                      (unsigned long long)b->acked, count);
    return err;
}

static void print_results(struct bench *b, double fsyncs, double cpu_s)
{
    double seconds = (double)(b->last_ack_ns - b->send_ns) * 1e-9;
    double rate = (double)b->acked / seconds;
    double p50 = qv_bench_quantile(b->latency_us, b->latency_count, 0.5);
    double p99 = qv_bench_quantile(b->latency_us, b->latency_count, 0.99);
    if (!b->opt.json) {
        printf("%.0f vectors/s (%llu x %llu in %.1f s, %.0f fsyncs), batch p50 %.0f us, p99 %.0f "
               "us; server cpu %.2f us a vector\n",
               rate, (unsigned long long)b->acked, (unsigned long long)b->opt.dim, seconds, fsyncs,
               p50, p99, cpu_s * 1e6 / (double)b->acked);
        return;
    }
    printf("{");
    qv_bench_print_head(b->commit, b->start_ns);
    printf(",\"dim\":%llu,\"batch\":%llu,\"in_flight\":%llu,\"vectors_per_s\":%.1f,"
           "\"p50_us\":%.1f,\"p99_us\":%.1f,\"fsyncs\":%.0f,\"acked\":%llu,"
           "\"server_cpu_us_per_vector\":%.3f}\n",
           (unsigned long long)b->opt.dim, (unsigned long long)b->opt.batch,
           (unsigned long long)b->opt.in_flight, rate, p50, p99, fsyncs,
           (unsigned long long)b->acked, cpu_s * 1e6 / (double)b->acked);
}

static int measure(struct bench *b)
{
    double before;
    double after;
    int err = create_collection(b);
    if (err == 0)
        err = read_fsyncs(b, &before);
    if (err != 0)
        return err;
    uint64_t cpu = qv_bench_child_cpu_ns(&b->child);
    b->send_ns = qv_bench_now_ns();
    b->until_ns = b->send_ns + b->opt.seconds * 1000000000u;
    b->next_id = QV_BENCH_ID_FIRST;
    for (uint64_t i = 0; i < b->opt.in_flight; i++)
        send_batch(&b->slots[i]);
    qv_client_run(b->client);
    cpu = qv_bench_child_cpu_ns(&b->child) - cpu;
    if (b->failed != 0)
        return QV_EIO;
    err = read_fsyncs(b, &after);
    if (err == 0)
        err = check_count(b);
    if (err == 0)
        print_results(b, after - before, (double)cpu * 1e-9);
    return err;
}

static int run(struct bench *b)
{
    struct qv_bench_child_config config = {.dir = b->dir, .cpu = -1};
    struct qv_client_config client = {.url = b->child.url};
    snprintf(b->dir, sizeof b->dir, "%.4000s/quiver-bench-XXXXXX",
             b->opt.dir != NULL ? b->opt.dir : ".");
    if (mkdtemp(b->dir) == NULL) {
        b->dir[0] = '\0';
        return qv_fail(&b->msg, QV_EINVAL, "no directory can be made in %s",
                       b->opt.dir != NULL ? b->opt.dir : ".");
    }
    int err = qv_bench_child_start(&config, &b->child, &b->msg);
    if (err == 0)
        err = qv_client_create(&client, &b->client, &b->msg);
    if (err == 0) {
        qv_bench_commit(b->client, b->commit, sizeof b->commit);
        encode_batches(b);
        err = measure(b);
    }
    qv_client_destroy(&b->client);
    if (err == 0)
        err = qv_bench_child_stop(&b->child, &b->msg);
    return err;
}

int qv_cli_bench_upsert(int argc, char **argv)
{
    struct bench *b = qv_mem_calloc(1, sizeof *b);
    b->opt = (struct options){.dim = 128, .batch = 1000, .seconds = 20, .in_flight = 8};
    b->start_ns = qv_bench_now_ns();
    const struct qv_bench_option table[] = {
        {"--dim", QV_BENCH_NUMBER, &b->opt.dim, 1, 65536},
        {"--batch", QV_BENCH_NUMBER, &b->opt.batch, 1, 10000},
        {"--seconds", QV_BENCH_NUMBER, &b->opt.seconds, 1, 3600},
        {"--in-flight", QV_BENCH_NUMBER, &b->opt.in_flight, 1, IN_FLIGHT_MAX},
        {"--dir", QV_BENCH_TEXT, &b->opt.dir, 0, 0},
        {"--json", QV_BENCH_FLAG, &b->opt.json, 0, 0},
    };
    int err = qv_bench_read_options(usage, table, sizeof table / sizeof table[0], argc, argv);
    if (err == 0) {
        (void)signal(SIGPIPE, SIG_IGN);
        err = run(b);
        err = qv_cli_end("bench upsert", err, &b->msg);
    }
    qv_client_destroy(&b->client);
    qv_bench_child_kill(&b->child);
    if (b->dir[0] != '\0')
        qv_bench_remove_dir(b->dir);
    for (int i = 0; i < IN_FLIGHT_MAX; i++) {
        qv_buf_close(&b->slots[i].message);
        qv_mem_free(b->slots[i].ids_at);
    }
    qv_mem_free(b->latency_us);
    qv_mem_free(b);
    return err < 0 ? 0 : err;
}
