/* quiver bench threads: the same work by two threads on one graph, by two processes that share
 * nothing but the machine (the control: caches and memory have their limits too), and by one
 * process alone, in turn, several times. What counts is the ratio of the first to the second.
 *
 *   search  all queries, each thread or process from its own place on, for as long as one pass
 *           takes; searches a second, together
 *   build   a graph of the first rows from all at once: two threads one graph, two processes one
 *           each; rows a second, together
 *
 * Each thread and process has a core of its own, 0 or 1: a scheduler that puts two on one for a
 * while measures itself. Processes are forks: the graph they search is the same memory until
 * somebody writes, and nobody does. They begin together, at a time that is agreed on. */
#include "cli/bench_threads.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "cli/bench_build.h"
#include "cli/bench_commit.h"
#include "cli/bench_kit.h"
#include "cli/bench_set.h"
#include "cli/options.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAIRS_MAX 100u
#define START_NS 20000000ull /* to begin together */

struct options {
    const char *base, *query, *metric;
    uint64_t n, ef, queries, pairs, build_rows;
    bool json;
};

struct bench {
    struct options opt;
    struct qv_bench_set set;
    struct qv_rows rows;
    struct qv_hnsw *h;
    uint64_t start_ns;
    struct qv_errmsg msg;
};

struct worker {
    const struct bench *b;
    struct qv_hnsw_bulk *bulk;
    uint64_t begin_ns;
    uint32_t first; /* query */
    int cpu;        /* runs there, where there is one of that number */
    int err;
};

static const char usage[] =
    "usage: quiver bench threads --base FILE --query FILE [options]\n"
    "\n"
    "Searches and builds by two threads on one graph against two processes of one thread.\n"
    "\n"
    "  --base FILE, --query FILE  .fbin\n"
    "  --metric M       l2 (default), cosine\n"
    "  --n N            rows searched (default 200000)\n"
    "  --build-rows N   rows of a graph that is built (default 50000)\n"
    "  --ef N           (default 100)\n"
    "  --queries N      a pass (default 5000)\n"
    "  --pairs N        rounds, of which the median counts (default 15)\n"
    "  --json\n"
    "\n"
    "example: quiver bench threads --base sift.base.fbin --query sift.query.fbin --json\n";

static void wait_until(uint64_t ns)
{
    while (qv_bench_now_ns() < ns)
        (void)sched_yield();
}

/* ---- the work ---- */

static void *search_all(void *arg)
{
    const struct worker *w = arg;
    const struct bench *b = w->b;
    const int unpinned = qv_bench_pin(w->cpu); /* a machine of one core: all in turn */
    (void)unpinned;
    struct qv_hnsw_ctx *ctx = qv_hnsw_ctx_create();
    const struct qv_bench_asker asker = {
        .set = &b->set, .rows = &b->rows, .h = b->h, .ctx = ctx, .ef = (uint32_t)b->opt.ef};
    wait_until(w->begin_ns);
    for (uint32_t i = 0; i < b->set.queries; i++) {
        uint32_t hits;
        (void)qv_bench_set_ask(&asker, (w->first + i) % b->set.queries, 0, &hits);
    }
    qv_hnsw_ctx_destroy(&ctx);
    return NULL;
}

static void *build_steps(void *arg)
{
    struct worker *w = arg;
    struct qv_hnsw_ctx *ctx = qv_hnsw_ctx_create();
    enum qv_hnsw_step step = QV_HNSW_STEP_MORE;
    const int unpinned = qv_bench_pin(w->cpu);
    (void)unpinned;
    wait_until(w->begin_ns);
    while (w->err == 0 && step != QV_HNSW_STEP_DONE) {
        w->err = qv_hnsw_bulk_step(w->bulk, ctx, &step);
        if (step == QV_HNSW_STEP_WAIT)
            (void)sched_yield();
    }
    qv_hnsw_ctx_destroy(&ctx);
    return NULL;
}

/* By `count` threads of this process; the seconds it took. */
static double run_threads(void *(*loop)(void *), struct worker *workers, uint32_t count)
{
    pthread_t handles[2];
    for (uint32_t i = 1; i < count; i++) {
        int err = pthread_create(&handles[i], NULL, loop, &workers[i]);
        QV_ASSERT(err == 0);
    }
    (void)loop(&workers[0]);
    for (uint32_t i = 1; i < count; i++)
        (void)pthread_join(handles[i], NULL);
    return (double)(qv_bench_now_ns() - workers[0].begin_ns) * 1e-9;
}

static int search_by(const struct bench *b, uint32_t threads, uint64_t begin, uint32_t cpu,
                     double *seconds)
{
    struct worker w[2];
    for (uint32_t i = 0; i < threads; i++)
        w[i] = (struct worker){.b = b,
                               .begin_ns = begin,
                               .first = (cpu + i) * (b->set.queries / 2),
                               .cpu = (int)(cpu + i)};
    *seconds = run_threads(search_all, w, threads);
    return 0;
}

static int build_by(const struct bench *b, uint32_t threads, uint64_t begin, uint32_t cpu,
                    double *seconds)
{
    const uint32_t n =
        (uint32_t)b->opt.build_rows < b->set.n ? (uint32_t)b->opt.build_rows : b->set.n;
    const struct qv_hnsw_params p = qv_bench_set_params(&b->set, n);
    struct qv_hnsw_item *items = qv_mem_try_calloc(n, sizeof *items);
    struct qv_hnsw_bulk *bulk = NULL;
    struct qv_hnsw *h = NULL;
    int err = items == NULL ? QV_ENOMEM : qv_hnsw_create(&p, &b->rows, &h, NULL);
    for (uint32_t i = 0; i < n && err == 0; i++)
        items[i].slot = i;
    if (err == 0)
        err = qv_hnsw_bulk_create(h, items, n, &bulk);
    if (err == 0) {
        struct worker w[2];
        for (uint32_t i = 0; i < threads; i++)
            w[i] = (struct worker){.b = b, .bulk = bulk, .begin_ns = begin, .cpu = (int)(cpu + i)};
        *seconds = run_threads(build_steps, w, threads);
        err = w[0].err;
    }
    qv_hnsw_bulk_destroy(&bulk);
    qv_hnsw_destroy(&h);
    qv_mem_free(items);
    return err;
}

typedef int work_f(const struct bench *b, uint32_t threads, uint64_t begin, uint32_t cpu,
                   double *seconds);

/* ---- two processes ---- */

/* The longer of both. */
static int by_processes(const struct bench *b, work_f *work, double *seconds)
{
    const uint64_t begin = qv_bench_now_ns() + START_NS;
    int ends[2];
    int err = pipe(ends) == 0 ? 0 : QV_EIO;
    pid_t pids[2] = {-1, -1};
    (void)fflush(NULL);
    for (uint32_t i = 0; i < 2 && err == 0; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            double mine = 0;
            const int failed = work(b, 1, begin, i, &mine);
            mine = failed == 0 ? mine : -1;
            _exit(write(ends[1], &mine, sizeof mine) == (ssize_t)sizeof mine ? 0 : 1);
        }
        err = pids[i] > 0 ? 0 : QV_EIO;
    }
    *seconds = 0;
    if (err == 0 || pids[0] > 0)
        (void)close(ends[1]);
    for (uint32_t i = 0; i < 2 && err == 0; i++) {
        double theirs;
        if (read(ends[0], &theirs, sizeof theirs) != (ssize_t)sizeof theirs || theirs < 0)
            err = QV_EIO;
        else
            *seconds = theirs > *seconds ? theirs : *seconds;
    }
    for (uint32_t i = 0; i < 2; i++)
        if (pids[i] > 0)
            (void)waitpid(pids[i], NULL, 0);
    (void)close(ends[0]);
    return err;
}

struct scaling {
    double shared[PAIRS_MAX];  /* two threads to two processes */
    double control[PAIRS_MAX]; /* two processes to one */
    double again[PAIRS_MAX];   /* two processes to two processes */
    uint32_t n;
};

/* Work a second is what is done over seconds: two processes do twice what one does; two threads
 * that search too, two that build do it once. */
static int measure(struct bench *b, work_f *work, double thread_work, struct scaling *out)
{
    struct qv_bench_progress progress = {
        .label = "threads: rounds", .total = b->opt.pairs, .start_ns = qv_bench_now_ns()};
    for (uint32_t i = 0; i < b->opt.pairs; i++) {
        double one = 0;
        double threads = 0;
        double first = 0;
        double second = 0;
        int err = by_processes(b, work, &first);
        if (err == 0)
            err = work(b, 2, qv_bench_now_ns() + START_NS, 0, &threads);
        if (err == 0)
            err = by_processes(b, work, &second);
        if (err == 0)
            err = work(b, 1, qv_bench_now_ns() + START_NS, 0, &one);
        if (err != 0)
            return qv_fail(&b->msg, err, "%s", qv_err_text(err));
        const double two = (first + second) / 2;
        out->shared[i] = (thread_work / threads) / (2 / two);
        out->control[i] = (2 / two) / (1 / one);
        out->again[i] = first / second;
        out->n = i + 1;
        qv_bench_progress_tell(&progress, i + 1);
    }
    return 0;
}

/* ---- the whole ---- */

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
    b->rows = (struct qv_rows){.base = (const uint8_t *)b->set.base,
                               .stride_bytes = b->set.dim * sizeof(float)};
    const struct qv_hnsw_params p = qv_bench_set_params(&b->set, b->set.n);
    err = qv_hnsw_create(&p, &b->rows, &b->h, &b->msg);
    if (err == 0)
        err = qv_bench_build_at_once(b->h, b->set.n, 2);
    return err == 0 ? 0 : qv_fail(&b->msg, err, "the graph: %s", qv_err_text(err));
}

static int run(struct bench *b)
{
    struct scaling *search = qv_mem_calloc(1, sizeof *search);
    struct scaling *build = qv_mem_calloc(1, sizeof *build);
    int err = prepare(b);
    if (err == 0)
        err = measure(b, search_by, 2, search);
    if (err == 0)
        err = measure(b, build_by, 1, build);
    if (err == 0) {
        const double s = qv_bench_quantile(search->shared, search->n, 0.5);
        const double sc = qv_bench_quantile(search->control, search->n, 0.5);
        const double sa = qv_bench_quantile(search->again, search->n, 0.5);
        const double u = qv_bench_quantile(build->shared, build->n, 0.5);
        const double uc = qv_bench_quantile(build->control, build->n, 0.5);
        const double ua = qv_bench_quantile(build->again, build->n, 0.5);
        if (b->opt.json) {
            printf("{\"control_scaling\":%.4f,\"search_scaling\":%.4f,\"build_scaling\":%.4f,"
                   "\"control_scaling_build\":%.4f,\"aa_search\":%.4f,\"aa_build\":%.4f,",
                   sc, s, u, uc, sa, ua);
            qv_bench_print_head(qv_bench_commit_own(), b->start_ns);
            printf("}\n");
        } else {
            printf(
                "search: two threads do %.3f of two processes (which do %.2f of one; A/A %.3f)\n"
                "build:  two threads do %.3f of two processes (which do %.2f of one; A/A %.3f)\n",
                s, sc, sa, u, uc, ua);
        }
    }
    qv_mem_free(search);
    qv_mem_free(build);
    return err;
}

int qv_cli_bench_threads(int argc, char **argv)
{
    struct bench *b = qv_mem_calloc(1, sizeof *b);
    b->opt = (struct options){
        .metric = "l2", .n = 200000, .ef = 100, .queries = 5000, .pairs = 15, .build_rows = 50000};
    b->start_ns = qv_bench_now_ns();
    const struct qv_bench_option table[] = {
        {"--base", QV_BENCH_TEXT, &b->opt.base, 0, 0},
        {"--query", QV_BENCH_TEXT, &b->opt.query, 0, 0},
        {"--metric", QV_BENCH_TEXT, &b->opt.metric, 0, 0},
        {"--n", QV_BENCH_NUMBER, &b->opt.n, 100, UINT32_MAX},
        {"--build-rows", QV_BENCH_NUMBER, &b->opt.build_rows, 100, UINT32_MAX},
        {"--ef", QV_BENCH_NUMBER, &b->opt.ef, QV_BENCH_K, QV_HNSW_EF_MAX},
        {"--queries", QV_BENCH_NUMBER, &b->opt.queries, 2, 1000000},
        {"--pairs", QV_BENCH_NUMBER, &b->opt.pairs, 1, PAIRS_MAX},
        {"--json", QV_BENCH_FLAG, &b->opt.json, 0, 0},
    };
    int err = qv_bench_read_options(usage, table, sizeof table / sizeof table[0], argc, argv);
    if (err == 0)
        err = qv_cli_end("bench threads", run(b), &b->msg);
    qv_hnsw_destroy(&b->h);
    qv_bench_set_close(&b->set);
    qv_mem_free(b);
    return err < 0 ? 0 : err;
}
