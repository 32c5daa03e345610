/* quiver bench target: recall_target on queries that are not in the graph.
 *
 * Builds the graph in this process, learns from a sample of its own rows (index/effort.h), then
 * asks the held-out queries: what recall each target reaches, and how fast that is against the
 * smallest fixed ef that reaches the target, and against the one that reaches the same recall. The
 * three are timed in turn, pass by pass; a ratio is the median of the passes' ratios. A hit is a
 * returned row not farther than the true tenth. */
#include "cli/bench_target.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "base/vmem.h"
#include "cli/bench_build.h"
#include "cli/bench_kit.h"
#include "cli/options.h"
#include "cli/vecfile.h"
#include "index/effort.h"
#include "simd/convert.h"
#include "simd/kernels.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define K QV_EFFORT_K
#define PAIRS_MAX 99
#define THREADS_MAX 64u
#define TARGETS 3u
#define EF_FIXED_MAX 4096u

static const double wanted[TARGETS] = {0.90, 0.95, 0.99};

struct options {
    const char *base, *query, *gt, *metric;
    uint64_t threads, pairs, samples, queries, ef_construct, seed;
    bool rows, insert, json;
};

struct bench {
    struct options opt;
    struct qv_rows rows, queries;
    struct qv_vmem rows_mem, queries_mem;
    enum qv_metric metric;
    uint32_t n, dim, q;
    float *bounds;
    struct qv_hnsw *h;
    struct qv_hnsw_ctx *ctx;
    struct qv_effort effort;
    double build_s, learn_s;
    _Atomic uint32_t next;
    _Atomic int failed;
    struct qv_errmsg msg;
};

struct result {
    double reached, expected, qps, qps_fixed, qps_same, ratio, ratio_same, distances_ratio;
    uint32_t fixed_ef, same_ef;
};

static const char usage[] =
    "usage: quiver bench target --base FILE --query FILE --gt FILE [options]\n"
    "\n"
    "Searches with a recall target: what they reach, and their QPS against a fixed ef.\n"
    "\n"
    "  --base FILE, --query FILE  .fbin; --gt FILE  .ibin, the true neighbours' row numbers\n"
    "  --metric M           l2 (default), cosine, dot\n"
    "  --threads N          that build (default 1); searches are timed on one\n"
    "  --pairs N            passes over the queries in turn (default 7)\n"
    "  --samples N          rows to learn from (default 2000)\n"
    "  --seed N             of the rows learned from (default 1)\n"
    "  --queries N          use the first N only\n"
    "  --ef-construct N     of the graph (default 100)\n"
    "  --insert             rows one after the other, not all at once\n"
    "  --rows               the graph compares rows, not codes of 8 bits\n"
    "  --json               one JSON object instead of a table\n"
    "\n"
    "example: quiver bench target --base glove.base.fbin --query glove.query.fbin \\\n"
    "             --gt glove.gt.ibin --metric cosine --json\n";

/* ---- input ---- */

static int copy_rows(struct bench *b, const struct qv_vecfile *f, uint32_t n, struct qv_vmem *mem,
                     struct qv_rows *out)
{
    const size_t row_bytes = (size_t)b->dim * sizeof(float);
    int err = qv_vmem_reserve(mem, n * row_bytes, true);
    if (err == 0)
        err = qv_vmem_grow(mem, n * row_bytes);
    if (err != 0)
        return qv_fail(&b->msg, err, "no memory for %u rows", n);
    for (uint32_t i = 0; i < n; i++) {
        memcpy(mem->base + i * row_bytes, qv_vecfile_row(f, i), row_bytes);
        if (strcmp(b->opt.metric, "cosine") == 0)
            qv_simd_normalise_f32((float *)(void *)(mem->base + i * row_bytes), b->dim);
    }
    *out = (struct qv_rows){.base = mem->base, .stride_bytes = row_bytes};
    return 0;
}

static int take_bounds(struct bench *b, const struct qv_vecfile *gt)
{
    qv_dist_f dist = qv_simd_dist(b->metric, QV_DTYPE_F32);
    if (gt->type != QV_VECFILE_I32 || gt->rows < b->q || gt->dim < K)
        return qv_fail(&b->msg, QV_EINVAL, "%s: %u rows of %u; needed: %u of %u or more", b->opt.gt,
                       gt->rows, gt->dim, b->q, K);
    b->bounds = qv_mem_alloc(b->q * sizeof *b->bounds);
    for (uint32_t i = 0; i < b->q; i++) {
        uint32_t id;
        memcpy(&id, qv_vecfile_row(gt, i) + (K - 1) * sizeof id, sizeof id);
        if (id >= b->n)
            return qv_fail(&b->msg, QV_EINVAL, "%s: neighbour %u; rows: %u", b->opt.gt, id, b->n);
        float d = dist(qv_rows_at(&b->queries, i), qv_rows_at(&b->rows, id), b->dim);
        b->bounds[i] = d + 1e-6F * fabsf(d); /* kernels differ so much */
    }
    return 0;
}

static int load_input(struct bench *b)
{
    struct qv_vecfile files[3] = {{0}, {0}, {0}};
    const char *names[3] = {b->opt.base, b->opt.query, b->opt.gt};
    const char *m = b->opt.metric;
    int err = 0;
    if (strcmp(m, "l2") != 0 && strcmp(m, "cosine") != 0 && strcmp(m, "dot") != 0)
        return qv_fail(&b->msg, QV_EINVAL, "--metric is '%s'; allowed: l2, cosine, dot", m);
    b->metric = strcmp(m, "l2") == 0 ? QV_METRIC_L2 : QV_METRIC_DOT;
    for (int i = 0; i < 3 && err == 0; i++)
        err = names[i] == NULL ? qv_fail(&b->msg, QV_EINVAL, "--base, --query and --gt are needed")
                               : qv_vecfile_open(names[i], &files[i], &b->msg);
    if (err == 0 && (files[0].type != QV_VECFILE_F32 || files[1].type != QV_VECFILE_F32 ||
                     files[0].dim != files[1].dim))
        err = qv_fail(&b->msg, QV_EINVAL, "--base and --query: f32 of one dimension are needed");
    if (err == 0) {
        b->n = files[0].rows;
        b->dim = files[0].dim;
        b->q = files[1].rows < b->opt.queries ? files[1].rows : (uint32_t)b->opt.queries;
        err = copy_rows(b, &files[0], b->n, &b->rows_mem, &b->rows);
    }
    if (err == 0)
        err = copy_rows(b, &files[1], b->q, &b->queries_mem, &b->queries);
    if (err == 0)
        err = take_bounds(b, &files[2]);
    for (int i = 0; i < 3; i++)
        qv_vecfile_close(&files[i]);
    return err;
}

/* ---- build and learn ---- */

static void *insert_loop(void *arg)
{
    struct bench *b = arg;
    struct qv_hnsw_ctx *ctx = qv_hnsw_ctx_create();
    struct qv_bench_progress progress = {
        .label = "linking", .total = b->n, .start_ns = qv_bench_now_ns()};
    for (;;) {
        uint32_t row = atomic_fetch_add(&b->next, 1);
        if (row >= b->n || atomic_load(&b->failed) != 0)
            break;
        int err = qv_hnsw_insert(b->h, ctx, row, 0);
        if (err != 0)
            atomic_store(&b->failed, err);
        if (row % 4096 == 0)
            qv_bench_progress_tell(&progress, row);
    }
    qv_hnsw_ctx_destroy(&ctx);
    return NULL;
}

static int insert_all(struct bench *b)
{
    pthread_t threads[THREADS_MAX];
    uint32_t started = 0;
    while (started + 1 < b->opt.threads &&
           pthread_create(&threads[started], NULL, insert_loop, b) == 0)
        started++;
    (void)insert_loop(b);
    for (uint32_t i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL);
    return atomic_exchange(&b->failed, 0);
}

static int build(struct bench *b)
{
    struct qv_hnsw_params p = qv_hnsw_params_default(b->metric, QV_DTYPE_F32, b->dim);
    p.ef_construct = (uint32_t)b->opt.ef_construct;
    p.max_slots = b->n;
    p.coding = b->opt.rows ? QV_HNSW_CODING_ROWS : QV_HNSW_CODING_LVQ8;
    int err = qv_hnsw_create(&p, &b->rows, &b->h, &b->msg);
    if (err != 0)
        return err;
    uint64_t begin = qv_bench_now_ns();
    err =
        b->opt.insert ? QV_ENOTIMPL : qv_bench_build_at_once(b->h, b->n, (uint32_t)b->opt.threads);
    if (err == QV_ENOTIMPL)
        err = insert_all(b);
    b->build_s = (double)(qv_bench_now_ns() - begin) / 1e9;
    return err == 0 ? 0 : qv_fail(&b->msg, err, "build: %s", qv_err_text(err));
}

static int learn(struct bench *b)
{
    struct qv_effort_trace *t = qv_effort_trace_create((uint32_t)b->opt.samples, b->opt.seed);
    struct qv_bench_progress progress = {
        .label = "learning", .total = b->opt.samples, .start_ns = qv_bench_now_ns()};
    bool done = false;
    int err = 0;
    for (uint32_t i = 0; !done && err == 0; i += 32) {
        err = qv_effort_trace_step(t, b->h, b->ctx, 32, &done);
        qv_bench_progress_tell(&progress, i < b->opt.samples ? i : b->opt.samples);
    }
    qv_effort_trace_fit(t, &b->effort);
    b->learn_s = (double)(qv_bench_now_ns() - progress.start_ns) / 1e9;
    qv_effort_trace_destroy(&t);
    if (err == 0 && b->effort.samples == 0)
        err = qv_fail(&b->msg, QV_EINVAL, "too few rows to learn from");
    return err;
}

/* ---- searches ---- */

struct pass {
    double recall, seconds;
    uint64_t distances;
};

/* The K nearest by the rows of n hits by the codes, in their place. */
static uint32_t rank(const struct bench *b, const void *row, struct qv_hnsw_hit *hits, uint32_t n)
{
    qv_dist_f dist = qv_simd_dist(b->metric, QV_DTYPE_F32);
    for (uint32_t i = 0; i < n; i++) {
        struct qv_hnsw_hit h = hits[i];
        h.dist = dist(row, qv_rows_at(&b->rows, h.slot), b->dim);
        uint32_t at = i;
        for (; at > 0 && hits[at - 1].dist > h.dist; at--)
            hits[at] = hits[at - 1];
        hits[at] = h;
    }
    return n < K ? n : K;
}

/* All queries once: by the plan, or (NULL) with one ef. */
static int run_pass(struct bench *b, const struct qv_effort_plan *plan, uint32_t ef,
                    struct pass *out)
{
    const uint32_t ranked = qv_hnsw_has_codes(b->h) ? QV_EFFORT_RANKED : K;
    const uint64_t before = qv_hnsw_ctx_work(b->ctx).distances;
    uint64_t hits = 0;
    int err = 0;
    uint64_t begin = qv_bench_now_ns();
    for (uint32_t i = 0; i < b->q && err == 0; i++) {
        struct qv_hnsw_hit found[QV_EFFORT_RANKED];
        uint32_t n = 0;
        struct qv_hnsw_query query = {.row = qv_rows_at(&b->queries, i), .k = ranked, .ef = ef};
        query.k = plan == NULL && ef < ranked ? (ef < K ? K : ef) : ranked;
        const struct qv_effort_query planned = {.query = query, .plan = plan, .k = K};
        err = plan != NULL ? qv_effort_search(b->h, b->ctx, &planned, found, &n)
                           : qv_hnsw_search(b->h, b->ctx, &query, found, &n);
        n = rank(b, query.row, found, n);
        for (uint32_t j = 0; j < n; j++)
            hits += found[j].dist <= b->bounds[i];
    }
    out->seconds = (double)(qv_bench_now_ns() - begin) / 1e9;
    out->recall = (double)hits / ((double)b->q * K);
    out->distances = qv_hnsw_ctx_work(b->ctx).distances - before;
    return err;
}

/* The smallest ef of one for all that reaches the recall; EF_FIXED_MAX: none below. */
static int find_fixed(struct bench *b, double recall, uint32_t *out)
{
    uint32_t low = K - 1;
    uint32_t high = K;
    struct pass p = {0};
    int err = run_pass(b, NULL, high, &p);
    while (err == 0 && p.recall < recall && high < EF_FIXED_MAX) {
        low = high;
        high *= 2;
        err = run_pass(b, NULL, high, &p);
    }
    while (err == 0 && high - low > 1 + low / 100) {
        uint32_t mid = (low + high) / 2;
        err = run_pass(b, NULL, mid, &p);
        if (p.recall < recall)
            low = mid;
        else
            high = mid;
    }
    *out = high;
    return err;
}

static int measure(struct bench *b, double target, struct result *out)
{
    struct qv_effort_plan planned;
    const struct qv_effort_plan *plan = &planned;
    struct pass passes[3][PAIRS_MAX] = {0};
    double v[PAIRS_MAX];
    struct pass first;
    uint32_t pairs = (uint32_t)b->opt.pairs;
    if (!qv_effort_plan(&b->effort, target, &planned))
        return qv_fail(&b->msg, QV_EINTERNAL, "nothing was learned");
    int err = run_pass(b, plan, 0, &first); /* warms up, too */
    if (err == 0)
        err = find_fixed(b, target, &out->fixed_ef);
    if (err == 0)
        err = find_fixed(b, first.recall, &out->same_ef);
    for (uint32_t i = 0; i < pairs && err == 0; i++) {
        err = run_pass(b, plan, 0, &passes[0][i]);
        if (err == 0)
            err = run_pass(b, NULL, out->fixed_ef, &passes[1][i]);
        if (err == 0)
            err = run_pass(b, NULL, out->same_ef, &passes[2][i]);
    }
    if (err != 0)
        return qv_fail(&b->msg, err, "search: %s", qv_err_text(err));
    out->reached = first.recall;
    out->expected = (double)plan->goal.expected;
    out->distances_ratio = (double)passes[2][0].distances / (double)passes[0][0].distances;
    double *qps[3] = {&out->qps, &out->qps_fixed, &out->qps_same};
    for (int s = 0; s < 3; s++) {
        for (uint32_t i = 0; i < pairs; i++)
            v[i] = b->q / passes[s][i].seconds;
        *qps[s] = qv_bench_quantile(v, pairs, 0.5);
    }
    for (uint32_t i = 0; i < pairs; i++)
        v[i] = passes[1][i].seconds / passes[0][i].seconds;
    out->ratio = qv_bench_quantile(v, pairs, 0.5);
    for (uint32_t i = 0; i < pairs; i++)
        v[i] = passes[2][i].seconds / passes[0][i].seconds;
    out->ratio_same = qv_bench_quantile(v, pairs, 0.5);
    return 0;
}

static void print_result(const struct bench *b, double target, const struct result *r, bool first)
{
    if (!b->opt.json) {
        if (first)
            printf("%7s %8s %8s %9s %9s %6s %6s %9s %6s %10s\n", "target", "reached", "sample",
                   "qps", "qps_fixed", "ef", "ratio", "same_ef", "ratio", "distances");
        printf("%7.2f %8.4f %8.4f %9.0f %9.0f %6u %6.3f %9u %6.3f %10.3f\n", target, r->reached,
               r->expected, r->qps, r->qps_fixed, r->fixed_ef, r->ratio, r->same_ef, r->ratio_same,
               r->distances_ratio);
        return;
    }
    printf("%s\n  {\"target\":%.2f,\"reached\":%.5f,\"short\":%.5f,\"expected\":%.5f,\"qps\":%.1f,"
           "\"qps_fixed_ef\":%.1f,\"fixed_ef\":%u,\"ratio\":%.4f,\"same_recall_ef\":%u,"
           "\"ratio_same_recall\":%.4f,\"distances_ratio_same_recall\":%.4f}",
           first ? "" : ",", target, r->reached, target - r->reached, r->expected, r->qps,
           r->qps_fixed, r->fixed_ef, r->ratio, r->same_ef, r->ratio_same, r->distances_ratio);
}

static int run(struct bench *b)
{
    int err = load_input(b);
    b->ctx = qv_hnsw_ctx_create();
    if (err == 0)
        err = build(b);
    if (err == 0)
        err = learn(b);
    if (err != 0)
        return err;
    if (b->opt.json)
        printf("{\"schema\":1,\"n\":%u,\"dim\":%u,\"queries\":%u,\"build_s\":%.2f,\"learn_s\":%.2f,"
               "\"samples\":%u,\"targets\":[",
               b->n, b->dim, b->q, b->build_s, b->learn_s, b->effort.samples);
    else
        printf("built in %.1f s, learned from %u rows in %.1f s\n", b->build_s, b->effort.samples,
               b->learn_s);
    for (uint32_t i = 0; i < TARGETS && err == 0; i++) {
        struct result r;
        err = measure(b, wanted[i], &r);
        if (err == 0)
            print_result(b, wanted[i], &r, i == 0);
        (void)fflush(stdout);
    }
    if (b->opt.json)
        printf("]}\n");
    return err;
}

int qv_cli_bench_target(int argc, char **argv)
{
    struct bench *b = qv_mem_calloc(1, sizeof *b);
    b->opt = (struct options){.metric = "l2",
                              .threads = 1,
                              .pairs = 7,
                              .samples = 2000,
                              .seed = 1,
                              .queries = UINT32_MAX,
                              .ef_construct = 100};
    const struct qv_bench_option table[] = {
        {"--base", QV_BENCH_TEXT, &b->opt.base, 0, 0},
        {"--query", QV_BENCH_TEXT, &b->opt.query, 0, 0},
        {"--gt", QV_BENCH_TEXT, &b->opt.gt, 0, 0},
        {"--metric", QV_BENCH_TEXT, &b->opt.metric, 0, 0},
        {"--threads", QV_BENCH_NUMBER, &b->opt.threads, 1, THREADS_MAX},
        {"--pairs", QV_BENCH_NUMBER, &b->opt.pairs, 1, PAIRS_MAX},
        {"--samples", QV_BENCH_NUMBER, &b->opt.samples, 100, 1000000},
        {"--seed", QV_BENCH_NUMBER, &b->opt.seed, 0, UINT32_MAX},
        {"--queries", QV_BENCH_NUMBER, &b->opt.queries, 1, UINT32_MAX},
        {"--ef-construct", QV_BENCH_NUMBER, &b->opt.ef_construct, 1, QV_HNSW_EF_MAX},
        {"--insert", QV_BENCH_FLAG, &b->opt.insert, 0, 0},
        {"--rows", QV_BENCH_FLAG, &b->opt.rows, 0, 0},
        {"--json", QV_BENCH_FLAG, &b->opt.json, 0, 0}};
    int err = qv_bench_read_options(usage, table, sizeof table / sizeof table[0], argc, argv);
    if (err == 0)
        err = qv_cli_end("bench target", run(b), &b->msg);
    qv_hnsw_destroy(&b->h);
    qv_hnsw_ctx_destroy(&b->ctx);
    qv_vmem_close(&b->rows_mem);
    qv_vmem_close(&b->queries_mem);
    qv_mem_free(b->bounds);
    qv_mem_free(b);
    return err < 0 ? 0 : err;
}
