/* quiver bench open: a store of n points with a finished graph is closed, its pages are taken out
 * of the page cache, and a server is started on it. The clock runs from before exec to the last
 * answer of a set of queries; the answers must be those from before closing. Then once more, warm.
 *
 * Data: seeded clusters (a thousand gaussians), so that a graph has something to find; a row
 * depends on its number only. */
#include "cli/bench_open.h"

#include "base/mem.h"
#include "base/rng.h"
#include "cli/bench_kit.h"
#include "cli/bench_wire.h"
#include "cli/options.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "bench"
#define K 10u
#define CLUSTERS 1000u
#define SPREAD 0.35F
#define SEED_CENTRES 11
#define SEED_ROWS 1000003ull
#define SEED_QUERIES 2000003ull

struct options {
    const char *dir;
    uint64_t n, dim, queries;
    bool json;
};

struct bench {
    struct options opt;
    float *centres;
    float *query_rows;
    uint64_t *before, *after; /* queries * K ids */
    struct qv_bench_child child;
    struct qv_client *client;
    uint64_t start_ns, bytes;
    double build_s, cold_ms, warm_ms, cpu_ms;
    bool same;
    char dir[4096];
    char commit[64];
    struct qv_errmsg msg;
};

static const char usage[] =
    "usage: quiver bench open [options]\n"
    "\n"
    "From starting a server to the right answers, on a store that is not in memory.\n"
    "\n"
    "  --n N        points (default 1000000)\n"
    "  --dim N      (default 128)\n"
    "  --queries N  answers that are compared (default 100)\n"
    "  --dir DIR    keeps the store there, and uses the one of an earlier run of equal n and dim\n"
    "  --json\n"
    "\n"
    "example: quiver bench open --n 1000000 --dim 128 --json\n";

static void make_row(const struct bench *b, uint64_t seed, float *out)
{
    struct qv_rng rng;
    qv_rng_init(&rng, seed);
    const float *centre = b->centres + qv_rng_below(&rng, CLUSTERS) * b->opt.dim;
    for (uint64_t i = 0; i < b->opt.dim; i++)
        out[i] = centre[i] + SPREAD * qv_rng_gauss(&rng);
}

static void fill_rows(void *arg, uint64_t first, uint32_t count, float *out)
{
    const struct bench *b = arg;
    for (uint32_t i = 0; i < count; i++)
        make_row(b, SEED_ROWS + first + i, out + i * b->opt.dim);
}

static void make_data(struct bench *b)
{
    struct qv_rng rng;
    b->centres = qv_mem_alloc(CLUSTERS * b->opt.dim * sizeof(float));
    b->query_rows = qv_mem_alloc(b->opt.queries * b->opt.dim * sizeof(float));
    b->before = qv_mem_calloc(b->opt.queries * K, sizeof *b->before);
    b->after = qv_mem_calloc(b->opt.queries * K, sizeof *b->after);
    qv_rng_init(&rng, SEED_CENTRES);
    for (uint64_t i = 0; i < CLUSTERS * b->opt.dim; i++)
        b->centres[i] = qv_rng_gauss(&rng);
    for (uint64_t i = 0; i < b->opt.queries; i++)
        make_row(b, (SEED_QUERIES << 20) + i, b->query_rows + i * b->opt.dim);
}

/* ---- asking ---- */

struct asked {
    struct bench *b;
    uint64_t *ids;
    uint64_t query;
};

static void answered(void *arg, const struct qv_client_response *r)
{
    struct asked *a = arg;
    uint32_t n = 0;
    if (r->err != 0 || r->grpc_status != 0 ||
        qv_bench_read_hits(r->body, a->ids + a->query * K, K, &n) != 0 || n != K)
        qv_fail(&a->b->msg, QV_EIO, "query %llu: %s", (unsigned long long)a->query,
                r->err != 0 ? qv_err_text(r->err) : r->grpc_message);
}

static int ask_all(struct bench *b, uint64_t *ids)
{
    struct asked *asked = qv_mem_calloc(b->opt.queries, sizeof *asked);
    struct qv_buf message;
    int err = 0;
    qv_buf_init(&message, 0);
    size_t *ends = qv_mem_calloc(b->opt.queries + 1, sizeof *ends);
    for (uint64_t i = 0; i < b->opt.queries; i++) {
        qv_bench_put_query(&message, NAME, b->query_rows + i * b->opt.dim, (uint32_t)b->opt.dim, K,
                           0);
        ends[i + 1] = message.len;
    }
    b->msg.text[0] = '\0';
    for (uint64_t i = 0; i < b->opt.queries && err == 0; i++) {
        asked[i] = (struct asked){.b = b, .ids = ids, .query = i};
        struct qv_client_request request = {
            .path = "/qdrant.Points/Query",
            .grpc = true,
            .body = {message.data + ends[i], ends[i + 1] - ends[i]}};
        err = qv_client_send(b->client, &request, answered, &asked[i]);
    }
    qv_client_run(b->client);
    qv_mem_free(asked);
    qv_mem_free(ends);
    qv_buf_close(&message);
    if (err == 0 && b->msg.text[0] != '\0')
        err = QV_EIO;
    return err;
}

/* ---- the store ---- */

static int start(struct bench *b)
{
    const struct qv_bench_child_config config = {
        .dir = b->dir, .cpu = -1, .settings = {"service.request_timeout_sec=3600"}};
    int err = qv_bench_child_start(&config, &b->child, &b->msg);
    struct qv_client_config client = {.url = b->child.url};
    return err == 0 ? qv_client_create(&client, &b->client, &b->msg) : err;
}

static int stop(struct bench *b)
{
    qv_client_destroy(&b->client);
    return qv_bench_child_stop(&b->child, &b->msg);
}

static int fill_store(struct bench *b)
{
    struct qv_buf text;
    char body[128];
    snprintf(body, sizeof body, "{\"vectors\":{\"size\":%llu,\"distance\":\"Euclid\"}}",
             (unsigned long long)b->opt.dim);
    int err = qv_bench_rest(b->client, "PUT", "/collections/" NAME, body, &text, &b->msg);
    qv_buf_close(&text);
    struct qv_bench_load load = {.client = b->client,
                                 .collection = NAME,
                                 .n = b->opt.n,
                                 .dim = (uint32_t)b->opt.dim,
                                 .batch = 1000,
                                 .in_flight = 4,
                                 .fill = fill_rows,
                                 .arg = b,
                                 .label = "loading"};
    if (err == 0)
        err = qv_bench_load_run(&load, &b->msg);
    return err == 0 ? qv_bench_wait_green(b->client, NAME, b->opt.n, &b->msg) : err;
}

/* An earlier run's store has what is asked for? */
static int has_store(struct bench *b, bool *out)
{
    struct qv_buf text;
    struct qv_errmsg unused;
    int err = qv_bench_rest(b->client, "GET", "/collections/" NAME, NULL, &text, &unused);
    *out = err == 0 && qv_bench_number_of(&text, "size") == (double)b->opt.dim &&
           qv_bench_number_of(&text, "points_count") == (double)b->opt.n;
    qv_buf_close(&text);
    return err != 0 || *out
               ? 0
               : qv_fail(&b->msg, QV_EINVAL, "%s holds another collection: delete it", b->dir);
}

static int build(struct bench *b)
{
    bool has = false;
    int err = start(b);
    if (err == 0)
        err = has_store(b, &has);
    uint64_t t = qv_bench_now_ns();
    if (err == 0 && !has)
        err = fill_store(b);
    b->build_s = (double)(qv_bench_now_ns() - t) * 1e-9;
    if (err == 0) {
        qv_bench_commit(b->client, b->commit, sizeof b->commit);
        err = ask_all(b, b->before);
    }
    return err == 0 ? stop(b) : err;
}

static int open_once(struct bench *b, double *ms)
{
    uint64_t t = qv_bench_now_ns();
    int err = start(b);
    if (err == 0)
        err = ask_all(b, b->after);
    *ms = (double)(qv_bench_now_ns() - t) * 1e-6;
    b->cpu_ms = (double)qv_bench_child_cpu_ns(&b->child) * 1e-6;
    b->same = b->same && memcmp(b->before, b->after, b->opt.queries * K * sizeof *b->after) == 0;
    return err == 0 ? stop(b) : err;
}

static void print_results(const struct bench *b)
{
    if (!b->opt.json) {
        printf("%llu x %llu, %.0f MB: answers after %.0f ms cold, %.0f ms warm (%.0f ms of cpu); "
               "%s as before "
               "closing; built in %.0f s\n",
               (unsigned long long)b->opt.n, (unsigned long long)b->opt.dim,
               (double)b->bytes * 1e-6, b->cold_ms, b->warm_ms, b->cpu_ms,
               b->same ? "the same" : "NOT the same", b->build_s);
        return;
    }
    printf("{");
    qv_bench_print_head(b->commit, b->start_ns);
    printf(",\"n\":%llu,\"dim\":%llu,\"queries\":%llu,\"open_ms_cold\":%.1f,\"open_ms_warm\":%.1f,"
           "\"cpu_ms_warm\":%.1f,"
           "\"same_answers\":%s,\"bytes\":%llu,\"build_s\":%.1f}\n",
           (unsigned long long)b->opt.n, (unsigned long long)b->opt.dim,
           (unsigned long long)b->opt.queries, b->cold_ms, b->warm_ms, b->cpu_ms,
           b->same ? "true" : "false", (unsigned long long)b->bytes, b->build_s);
}

static int run(struct bench *b)
{
    if (b->opt.dir != NULL) {
        snprintf(b->dir, sizeof b->dir, "%.4000s", b->opt.dir);
        (void)mkdir(b->dir, 0755);
    } else {
        snprintf(b->dir, sizeof b->dir, "quiver-bench-XXXXXX");
        if (mkdtemp(b->dir) == NULL)
            return qv_fail(&b->msg, QV_EINVAL, "no directory can be made here");
    }
    make_data(b);
    b->same = true;
    int err = build(b);
    if (err != 0)
        return err;
    b->bytes = qv_bench_drop_caches(b->dir);
    err = open_once(b, &b->cold_ms);
    if (err == 0)
        err = open_once(b, &b->warm_ms);
    if (err == 0)
        print_results(b);
    return err;
}

int qv_cli_bench_open(int argc, char **argv)
{
    struct bench *b = qv_mem_calloc(1, sizeof *b);
    b->opt = (struct options){.n = 1000000, .dim = 128, .queries = 100};
    b->start_ns = qv_bench_now_ns();
    const struct qv_bench_option table[] = {
        {"--n", QV_BENCH_NUMBER, &b->opt.n, K, 100000000},
        {"--dim", QV_BENCH_NUMBER, &b->opt.dim, 1, 65536},
        {"--queries", QV_BENCH_NUMBER, &b->opt.queries, 1, 100000},
        {"--dir", QV_BENCH_TEXT, &b->opt.dir, 0, 0},
        {"--json", QV_BENCH_FLAG, &b->opt.json, 0, 0},
    };
    int err = qv_bench_read_options(usage, table, sizeof table / sizeof table[0], argc, argv);
    if (err == 0) {
        (void)signal(SIGPIPE, SIG_IGN);
        err = run(b);
        int code = qv_cli_end("bench open", err, &b->msg);
        err = code == 0 && !b->same ? 1 : code;
    }
    qv_client_destroy(&b->client);
    qv_bench_child_kill(&b->child);
    if (b->opt.dir == NULL && b->dir[0] != '\0')
        qv_bench_remove_dir(b->dir);
    qv_mem_free(b->centres);
    qv_mem_free(b->query_rows);
    qv_mem_free(b->before);
    qv_mem_free(b->after);
    qv_mem_free(b);
    return err < 0 ? 0 : err;
}
