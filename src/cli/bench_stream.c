/* quiver bench stream: a graph over the first rows of a set; each round removes a tenth of them,
 * the oldest, and inserts as many new ones into their slots, while another thread searches without
 * a pause. After each round: recall at a fixed ef, the graph's memory, its check, and what searches
 * took, under the changes and then without. Beside it a graph of the same rows is built anew by the
 * same insertions, in a process of its own, so that its memory can be told.
 *
 * A slot is used again when no search is under way that began before it was unlinked: what a
 * shard's epochs vouch for is here one counter of the searching thread. */
#include "cli/bench_stream.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "cli/bench_build.h"
#include "cli/bench_commit.h"
#include "cli/bench_kit.h"
#include "cli/bench_set.h"
#include "cli/options.h"

#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TENTH 10u
#define BATCH 100u        /* removals that are repaired together */
#define TIMES_MAX 200000u /* of searches, a round */

struct options {
    const char *base, *query, *metric;
    uint64_t n, rounds, ef, queries;
    bool bulk, json;
};

struct fresh {
    double recall;
    long long memory;
    int err;
};

struct round {
    double recall, p95_us, p95_quiet_us, seconds;
    long long memory;
    struct fresh fresh;
    uint32_t unreachable;
    bool check_ok;
};

struct bench {
    struct options opt;
    struct qv_bench_set set;
    struct qv_rows rows; /* by slot */
    float *row_mem;
    uint32_t live, next; /* rows in the graph; the next new one in the set */
    float *bounds;
    struct qv_hnsw *h;
    struct qv_hnsw_ctx *ctx;
    double *times;
    long long before;          /* anonymous memory without a graph */
    _Atomic uint64_t searches; /* begun and ended: odd while one is under way */
    _Atomic bool stop;
    uint32_t timed;
    uint64_t start_ns;
    struct qv_errmsg msg;
};

static const char usage[] =
    "usage: quiver bench stream --base FILE --query FILE [options]\n"
    "\n"
    "Replaces a tenth of a graph's rows a round while it is searched, and compares with a graph\n"
    "built anew.\n"
    "\n"
    "  --base FILE, --query FILE  .fbin\n"
    "  --metric M    l2 (default), cosine\n"
    "  --rounds N    (default 10)\n"
    "  --n N         use the first N rows of the file; 10 of each 10 + rounds are in the graph\n"
    "  --ef N        (default 100)\n"
    "  --queries N   (default 5000)\n"
    "  --bulk        the first graph, and those built anew, from all rows at once\n"
    "  --json\n"
    "\n"
    "example: quiver bench stream --base sift.base.fbin --query sift.query.fbin --rounds 10\n";

static long long anon_bytes(void)
{
    char line[256];
    long long kb = 0;
    (void)malloc_trim(0);
    FILE *f = fopen("/proc/self/status", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "RssAnon:", 8) == 0)
            kb = strtoll(line + 8, NULL, 10);
    if (f != NULL)
        (void)fclose(f);
    return kb * 1024;
}

/* ---- building ---- */

static int build(const struct bench *b, struct qv_hnsw **out)
{
    const struct qv_hnsw_params p = qv_bench_set_params(&b->set, b->live);
    int err = qv_hnsw_create(&p, &b->rows, out, NULL);
    if (err != 0)
        return err;
    if (b->opt.bulk)
        return qv_bench_build_at_once(*out, b->live, 1);
    struct qv_bench_progress progress = {
        .label = "stream: build", .total = b->live, .start_ns = qv_bench_now_ns()};
    for (uint32_t i = 0; i < b->live && err == 0; i++) {
        err = qv_hnsw_insert(*out, b->ctx, i, 0);
        if (i % 1000 == 0)
            qv_bench_progress_tell(&progress, i);
    }
    return err;
}

static struct qv_bench_asker asker_of(const struct bench *b, const struct qv_hnsw *h,
                                      struct qv_hnsw_ctx *ctx)
{
    return (struct qv_bench_asker){
        .set = &b->set, .rows = &b->rows, .h = h, .ctx = ctx, .ef = (uint32_t)b->opt.ef};
}

static double recall_of(const struct bench *b, const struct qv_hnsw *h)
{
    uint64_t good = 0;
    const struct qv_bench_asker asker = asker_of(b, h, b->ctx);
    for (uint32_t q = 0; q < b->set.queries; q++) {
        uint32_t hits;
        (void)qv_bench_set_ask(&asker, q, b->bounds[q], &hits);
        good += hits;
    }
    return (double)good / ((double)b->set.queries * QV_BENCH_K);
}

/* In a child, which shares the rows: all it comes to own is the graph. */
static struct fresh build_anew(const struct bench *b)
{
    struct fresh f = {.err = QV_EIO};
    int ends[2];
    if (pipe(ends) != 0)
        return f;
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct qv_hnsw *h = NULL;
        const long long before = anon_bytes();
        f.err = build(b, &h);
        f.memory = anon_bytes() - before;
        f.recall = f.err == 0 ? recall_of(b, h) : 0;
        const ssize_t put = write(ends[1], &f, sizeof f);
        _exit(put == (ssize_t)sizeof f ? 0 : 1);
    }
    (void)close(ends[1]);
    const ssize_t got = pid > 0 ? read(ends[0], &f, sizeof f) : -1;
    (void)close(ends[0]);
    if (pid > 0)
        (void)waitpid(pid, NULL, 0);
    f.err = got == (ssize_t)sizeof f ? f.err : QV_EIO;
    return f;
}

/* ---- a round ---- */

static void *search_loop(void *arg)
{
    struct bench *b = arg;
    struct qv_hnsw_ctx *ctx = qv_hnsw_ctx_create();
    const struct qv_bench_asker asker = asker_of(b, b->h, ctx);
    b->timed = 0;
    for (uint32_t q = 0; !atomic_load(&b->stop); q = (q + 1) % b->set.queries) {
        uint32_t hits;
        atomic_fetch_add(&b->searches, 1);
        const double ns = qv_bench_set_ask(&asker, q, 0, &hits);
        atomic_fetch_add(&b->searches, 1);
        if (b->timed < TIMES_MAX)
            b->times[b->timed++] = ns;
    }
    qv_hnsw_ctx_destroy(&ctx);
    return NULL;
}

static void wait_for_search(struct bench *b)
{
    const uint64_t was = atomic_load(&b->searches);
    while (was % 2 == 1 && atomic_load(&b->searches) == was)
        (void)sched_yield();
}

/* n slots from `first` on get new rows. */
static int replace(struct bench *b, uint32_t first, uint32_t n)
{
    qv_slot slots[BATCH];
    uint32_t done = 0;
    int err = 0;
    for (uint32_t i = 0; i < n && err == 0; i++) {
        slots[i] = first + i;
        err = qv_hnsw_remove(b->h, slots[i]);
    }
    if (err == 0)
        err = qv_hnsw_repair_many(b->h, b->ctx, slots, n, &done);
    wait_for_search(b);
    for (uint32_t i = 0; i < n && err == 0; i++)
        err = qv_hnsw_release(b->h, slots[i]);
    for (uint32_t i = 0; i < n && err == 0; i++) {
        memcpy(b->row_mem + (size_t)slots[i] * b->set.dim,
               b->set.base + (size_t)b->next++ * b->set.dim, b->set.dim * sizeof(float));
        err = qv_hnsw_insert(b->h, b->ctx, slots[i], b->next);
    }
    return err;
}

static int run_round(struct bench *b, uint32_t number, struct round *out)
{
    const uint32_t count = b->live / TENTH;
    pthread_t searcher;
    *out = (struct round){0};
    atomic_store(&b->stop, false);
    const uint64_t start = qv_bench_now_ns();
    int err = pthread_create(&searcher, NULL, search_loop, b);
    QV_ASSERT(err == 0);
    struct qv_bench_progress progress = {
        .label = "stream: changes", .total = count, .start_ns = qv_bench_now_ns()};
    for (uint32_t i = 0; i < count && err == 0; i += BATCH) {
        const uint32_t n = count - i < BATCH ? count - i : BATCH;
        err = replace(b, number % TENTH * count + i, n);
        qv_bench_progress_tell(&progress, i);
    }
    atomic_store(&b->stop, true);
    (void)pthread_join(searcher, NULL);
    if (err != 0)
        return qv_fail(&b->msg, err, "round %u: %s", number + 1, qv_err_text(err));
    out->seconds = (double)(qv_bench_now_ns() - start) * 1e-9;
    out->p95_us = qv_bench_quantile(b->times, b->timed, 0.95) / 1e3;
    struct qv_hnsw_check_report report;
    out->check_ok = qv_hnsw_check(b->h, &report, &b->msg) == 0;
    out->unreachable = report.unreachable;
    qv_bench_set_truth(&b->set, &b->rows, b->live, b->bounds);
    out->memory = anon_bytes() - b->before;
    out->recall = recall_of(b, b->h);
    uint32_t hits;
    const struct qv_bench_asker asker = asker_of(b, b->h, b->ctx);
    for (uint32_t q = 0; q < b->set.queries; q++)
        b->times[q] = qv_bench_set_ask(&asker, q, 0, &hits);
    out->p95_quiet_us = qv_bench_quantile(b->times, b->set.queries, 0.95) / 1e3;
    out->fresh = build_anew(b);
    return out->fresh.err == 0 ? 0 : qv_fail(&b->msg, out->fresh.err, "the graph built anew");
}

/* ---- the whole ---- */

static void print_round(const struct bench *b, uint32_t number, const struct round *r)
{
    if (b->opt.json) {
        printf("%s\n {\"recall\":%.5f,\"recall_fresh\":%.5f,\"recall_loss\":%.5f,"
               "\"memory_bytes\":%lld,\"memory_fresh_bytes\":%lld,\"memory_ratio\":%.4f,"
               "\"p95_us\":%.1f,\"p95_quiet_us\":%.1f,\"p95_ratio\":%.3f,\"check_ok\":%s,"
               "\"unreachable\":%u,\"changes_per_s\":%.1f}",
               number == 0 ? "" : ",", r->recall, r->fresh.recall, r->fresh.recall - r->recall,
               r->memory, r->fresh.memory, (double)r->memory / (double)r->fresh.memory, r->p95_us,
               r->p95_quiet_us, r->p95_us / r->p95_quiet_us, r->check_ok ? "true" : "false",
               r->unreachable, (double)b->live / TENTH / r->seconds);
    } else {
        if (number == 0)
            printf("%5s %8s %8s %9s %9s %9s %9s %6s\n", "round", "recall", "fresh", "MB", "fresh",
                   "p95_us", "quiet", "check");
        printf("%5u %8.4f %8.4f %9.1f %9.1f %9.1f %9.1f %6s\n", number + 1, r->recall,
               r->fresh.recall, (double)r->memory / 1e6, (double)r->fresh.memory / 1e6, r->p95_us,
               r->p95_quiet_us, r->check_ok ? "ok" : "FAILED");
    }
    (void)fflush(stdout);
}

static int prepare(struct bench *b)
{
    const struct options *o = &b->opt;
    if (o->base == NULL || o->query == NULL)
        return qv_fail(&b->msg, QV_EINVAL, "--base and --query are needed; --help tells more");
    const struct qv_bench_set_files files = {.base = o->base,
                                             .query = o->query,
                                             .metric = o->metric,
                                             .n_max = (uint32_t)o->n,
                                             .queries_max = (uint32_t)o->queries};
    int err = qv_bench_set_open(&files, &b->set, &b->msg);
    if (err != 0)
        return err;
    b->live = (uint32_t)((uint64_t)b->set.n * TENTH / (TENTH + o->rounds) / TENTH * TENTH);
    if (b->live < TENTH * TENTH)
        return qv_fail(&b->msg, QV_EINVAL, "%u rows are too few", b->set.n);
    b->next = b->live;
    const size_t bytes = (size_t)b->live * b->set.dim * sizeof(float);
    const uint32_t times = b->set.queries > TIMES_MAX ? b->set.queries : TIMES_MAX;
    b->row_mem = qv_mem_try_aligned(QV_CACHE_LINE, bytes);
    b->bounds = qv_mem_try_calloc(b->set.queries, sizeof *b->bounds);
    b->times = qv_mem_try_calloc(times, sizeof *b->times);
    if (b->row_mem == NULL || b->bounds == NULL || b->times == NULL)
        return qv_fail(&b->msg, QV_ENOMEM, "no memory for %u rows", b->live);
    memcpy(b->row_mem, b->set.base, bytes);
    memset(b->times, 1, times * sizeof *b->times); /* resident before memory is told */
    b->rows = (struct qv_rows){.base = (const uint8_t *)b->row_mem,
                               .stride_bytes = b->set.dim * sizeof(float)};
    b->ctx = qv_hnsw_ctx_create();
    b->before = anon_bytes();
    err = build(b, &b->h);
    return err == 0 ? 0 : qv_fail(&b->msg, err, "the first graph");
}

static double median_p95_ratio(const struct round *rounds, uint32_t n)
{
    double ratios[1000];
    for (uint32_t i = 0; i < n; i++)
        ratios[i] = rounds[i].p95_us / rounds[i].p95_quiet_us;
    return qv_bench_quantile(ratios, n, 0.5);
}

static int run(struct bench *b)
{
    struct round *rounds = qv_mem_calloc(b->opt.rounds, sizeof *rounds);
    const uint32_t n = (uint32_t)b->opt.rounds;
    int err = prepare(b);
    if (err == 0 && b->opt.json)
        printf("{\"rounds\":[");
    for (uint32_t i = 0; i < n && err == 0; i++) {
        err = run_round(b, i, &rounds[i]);
        if (err == 0)
            print_round(b, i, &rounds[i]);
    }
    if (err == 0 && b->opt.json) {
        printf("],\n \"n\":%u,\"ef\":%u,\"p95_ratio_median\":%.3f,", b->live, (unsigned)b->opt.ef,
               median_p95_ratio(rounds, n));
        qv_bench_print_head(qv_bench_commit_own(), b->start_ns);
        printf("}\n");
    }
    qv_mem_free(rounds);
    return err;
}

int qv_cli_bench_stream(int argc, char **argv)
{
    struct bench *b = qv_mem_calloc(1, sizeof *b);
    b->opt =
        (struct options){.metric = "l2", .n = UINT32_MAX, .rounds = 10, .ef = 100, .queries = 5000};
    b->start_ns = qv_bench_now_ns();
    const struct qv_bench_option table[] = {
        {"--base", QV_BENCH_TEXT, &b->opt.base, 0, 0},
        {"--query", QV_BENCH_TEXT, &b->opt.query, 0, 0},
        {"--metric", QV_BENCH_TEXT, &b->opt.metric, 0, 0},
        {"--n", QV_BENCH_NUMBER, &b->opt.n, 1, UINT32_MAX},
        {"--rounds", QV_BENCH_NUMBER, &b->opt.rounds, 1, 1000},
        {"--ef", QV_BENCH_NUMBER, &b->opt.ef, QV_BENCH_K, QV_HNSW_EF_MAX},
        {"--queries", QV_BENCH_NUMBER, &b->opt.queries, 1, 1000000},
        {"--bulk", QV_BENCH_FLAG, &b->opt.bulk, 0, 0},
        {"--json", QV_BENCH_FLAG, &b->opt.json, 0, 0},
    };
    int err = qv_bench_read_options(usage, table, sizeof table / sizeof table[0], argc, argv);
    if (err == 0)
        err = qv_cli_end("bench stream", run(b), &b->msg);
    qv_hnsw_destroy(&b->h);
    qv_hnsw_ctx_destroy(&b->ctx);
    qv_bench_set_close(&b->set);
    qv_mem_free(b->row_mem);
    qv_mem_free(b->bounds);
    qv_mem_free(b->times);
    qv_mem_free(b);
    return err < 0 ? 0 : err;
}
