/* quiver bench batch: the same queries on one thread one after the other (qv_hnsw_search) and in
 * batches whose searches take turns (qv_hnsw_search_many), pass by pass in turn; what each finds is
 * ranked by the rows. What counts is the median of the passes' ratios of CPU time. Both must find
 * the same. */
#include "cli/bench_batch.h"

#include "base/mem.h"
#include "cli/bench_build.h"
#include "cli/bench_commit.h"
#include "cli/bench_kit.h"
#include "cli/bench_set.h"
#include "cli/options.h"
#include "cli/vecfile.h"
#include "simd/kernels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PAIRS_MAX 100u
#define BATCH_MAX 1000u
#define RANKED 20u /* by the codes, of which the nearest by the rows are answered */

struct options {
    const char *base, *query, *gt, *metric;
    uint64_t ef, queries, pairs, batch;
    bool json;
};

struct bench {
    struct options opt;
    struct qv_bench_set set;
    struct qv_rows rows;
    struct qv_hnsw *h;
    struct qv_hnsw_ctx *ctx;
    struct qv_hnsw_query *asked; /* all of them */
    struct qv_hnsw_found *single, *batched;
    double single_s[PAIRS_MAX], batch_s[PAIRS_MAX], ratios[PAIRS_MAX];
    double work; /* distances a search */
    uint64_t start_ns;
    struct qv_errmsg msg;
};

static const char usage[] =
    "usage: quiver bench batch --base FILE --query FILE --gt FILE [options]\n"
    "\n"
    "Searches in batches against searches one after the other, on one thread.\n"
    "\n"
    "  --base FILE, --query FILE  .fbin; --gt FILE  .ibin, the true neighbours' row numbers\n"
    "  --metric M       l2 (default), cosine\n"
    "  --ef N           (default 76)\n"
    "  --batch N        queries a batch (default 100)\n"
    "  --queries N      a pass (default 5000)\n"
    "  --pairs N        passes of each kind, of which the median counts (default 15)\n"
    "  --json\n"
    "\n"
    "example: quiver bench batch --base sift.base.fbin --query sift.query.fbin \\\n"
    "             --gt sift.gt.ibin --json\n";

static void rank(const struct bench *b, const struct qv_hnsw_query *q, struct qv_hnsw_found *f)
{
    uint32_t slots[RANKED];
    float dists[RANKED];
    for (uint32_t i = 0; i < f->n; i++)
        slots[i] = f->hits[i].slot;
    qv_simd_dist_batch(b->set.metric, QV_DTYPE_F32)(q->row, b->rows.base, b->rows.stride_bytes,
                                                    slots, f->n, b->set.dim, dists);
    for (uint32_t i = 0; i < f->n; i++)
        f->hits[i].dist = dists[i];
}

/* ---- passes ---- */

/* Of this thread: what else runs on the core does not count. */
static double cpu_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int pass_single(struct bench *b, double *seconds)
{
    const double start = cpu_s();
    for (uint32_t q = 0; q < b->set.queries; q++) {
        int err = qv_hnsw_search(b->h, b->ctx, &b->asked[q], b->single[q].hits, &b->single[q].n);
        if (err != 0)
            return err;
        rank(b, &b->asked[q], &b->single[q]);
    }
    *seconds = cpu_s() - start;
    return 0;
}

static int pass_batches(struct bench *b, double *seconds)
{
    const uint32_t batch = (uint32_t)b->opt.batch;
    const double start = cpu_s();
    for (uint32_t q = 0; q < b->set.queries; q += batch) {
        const uint32_t n = b->set.queries - q < batch ? b->set.queries - q : batch;
        int err = qv_hnsw_search_many(b->h, b->ctx, &b->asked[q], n, &b->batched[q]);
        if (err != 0)
            return err;
        for (uint32_t i = q; i < q + n; i++)
            rank(b, &b->asked[i], &b->batched[i]);
    }
    *seconds = cpu_s() - start;
    return 0;
}

/* The slots, in their order. */
static bool found_same(const struct bench *b)
{
    for (uint32_t q = 0; q < b->set.queries; q++) {
        if (b->single[q].n != b->batched[q].n)
            return false;
        for (uint32_t i = 0; i < b->single[q].n; i++)
            if (b->single[q].hits[i].slot != b->batched[q].hits[i].slot)
                return false;
    }
    return true;
}

static int measure(struct bench *b)
{
    struct qv_bench_progress progress = {
        .label = "batch: passes", .total = b->opt.pairs, .start_ns = qv_bench_now_ns()};
    int err = pass_single(b, &b->single_s[0]); /* pages and caches are warm */
    const struct qv_hnsw_work before = qv_hnsw_ctx_work(b->ctx);
    if (err == 0)
        err = pass_batches(b, &b->batch_s[0]);
    b->work = (double)(qv_hnsw_ctx_work(b->ctx).distances - before.distances) / b->set.queries;
    for (uint32_t i = 0; i < b->opt.pairs && err == 0; i++) {
        err = pass_single(b, &b->single_s[i]);
        if (err == 0)
            err = pass_batches(b, &b->batch_s[i]);
        b->ratios[i] = b->single_s[i] / b->batch_s[i];
        qv_bench_progress_tell(&progress, i + 1);
    }
    if (err == 0 && !found_same(b))
        return qv_fail(&b->msg, QV_EINTERNAL, "batches find other rows than single searches");
    return err == 0 ? 0 : qv_fail(&b->msg, err, "search: %s", qv_err_text(err));
}

/* ---- the whole ---- */

static int prepare_queries(struct bench *b)
{
    const uint32_t n = b->set.queries;
    b->asked = qv_mem_try_calloc(n, sizeof *b->asked);
    b->single = qv_mem_try_calloc(n, sizeof *b->single);
    b->batched = qv_mem_try_calloc(n, sizeof *b->batched);
    struct qv_hnsw_hit *hits = qv_mem_try_calloc((size_t)n * 2 * RANKED, sizeof *hits);
    if (b->asked == NULL || b->single == NULL || b->batched == NULL || hits == NULL) {
        qv_mem_free(hits);
        return QV_ENOMEM;
    }
    for (uint32_t q = 0; q < n; q++) {
        b->asked[q] = (struct qv_hnsw_query){.row = b->set.query + (size_t)q * b->set.dim,
                                             .k = b->opt.ef < RANKED ? (uint32_t)b->opt.ef : RANKED,
                                             .ef = (uint32_t)b->opt.ef};
        b->single[q].hits = hits + (size_t)q * 2 * RANKED;
        b->batched[q].hits = b->single[q].hits + RANKED;
    }
    return 0;
}

static int build(struct bench *b)
{
    const struct qv_hnsw_params p = qv_bench_set_params(&b->set, b->set.n);
    int err = qv_hnsw_create(&p, &b->rows, &b->h, &b->msg);
    return err == 0 ? qv_bench_build_at_once(b->h, b->set.n, 1) : err;
}

static int prepare(struct bench *b)
{
    const struct options *o = &b->opt;
    if (o->base == NULL || o->query == NULL || o->gt == NULL)
        return qv_fail(&b->msg, QV_EINVAL,
                       "--base, --query and --gt are needed; --help tells more");
    const struct qv_bench_set_files files = {.base = o->base,
                                             .query = o->query,
                                             .metric = o->metric,
                                             .n_max = UINT32_MAX,
                                             .queries_max = (uint32_t)o->queries};
    int err = qv_bench_set_open(&files, &b->set, &b->msg);
    if (err != 0)
        return err;
    b->rows = (struct qv_rows){.base = (const uint8_t *)b->set.base,
                               .stride_bytes = b->set.dim * sizeof(float)};
    b->ctx = qv_hnsw_ctx_create();
    err = prepare_queries(b);
    if (err == 0)
        err = build(b);
    return err == 0 ? 0 : qv_fail(&b->msg, err, "the graph: %s", qv_err_text(err));
}

/* A hit is a returned row not farther than the true tenth. */
static int recall_of(struct bench *b, double *out)
{
    struct qv_vecfile gt = {0};
    const qv_dist_f dist = qv_simd_dist(b->set.metric, QV_DTYPE_F32);
    uint64_t good = 0;
    int err = qv_vecfile_open(b->opt.gt, &gt, &b->msg);
    if (err == 0 && (gt.type != QV_VECFILE_I32 || gt.rows < b->set.queries || gt.dim < QV_BENCH_K))
        err = qv_fail(&b->msg, QV_EINVAL, "%s: needed: %u rows of %u numbers or more", b->opt.gt,
                      b->set.queries, QV_BENCH_K);
    for (uint32_t q = 0; q < b->set.queries && err == 0; q++) {
        uint32_t id;
        uint32_t hits = 0;
        memcpy(&id, qv_vecfile_row(&gt, q) + (QV_BENCH_K - 1) * sizeof id, sizeof id);
        if (id >= b->set.n) {
            err =
                qv_fail(&b->msg, QV_EINVAL, "%s: neighbour %u; rows: %u", b->opt.gt, id, b->set.n);
            break;
        }
        const float bound = dist(b->asked[q].row, qv_rows_at(&b->rows, id), b->set.dim);
        const float limit = bound + 1e-6F * fabsf(bound); /* kernels differ so much */
        for (uint32_t i = 0; i < b->batched[q].n; i++)
            hits += b->batched[q].hits[i].dist <= limit ? 1 : 0;
        good += hits < QV_BENCH_K ? hits : QV_BENCH_K;
    }
    qv_vecfile_close(&gt);
    *out = (double)good / ((double)b->set.queries * QV_BENCH_K);
    return err;
}

static int run(struct bench *b)
{
    double recall = 0;
    int err = prepare(b);
    if (err == 0)
        err = measure(b);
    if (err == 0)
        err = recall_of(b, &recall);
    if (err != 0)
        return err;
    const uint32_t pairs = (uint32_t)b->opt.pairs;
    const double n = b->set.queries;
    const double ratio = qv_bench_quantile(b->ratios, pairs, 0.5);
    const double single = n / qv_bench_quantile(b->single_s, pairs, 0.5);
    const double batch = n / qv_bench_quantile(b->batch_s, pairs, 0.5);
    if (b->opt.json) {
        printf("{\"ratio\":%.4f,\"ratio_min\":%.4f,\"ratio_max\":%.4f,\"recall\":%.5f,"
               "\"qps_single\":%.1f,\"qps_batch\":%.1f,\"distances\":%.1f,\"ef\":%u,\"batch\":%u,"
               "\"n\":%u,",
               ratio, b->ratios[0], b->ratios[pairs - 1], recall, single, batch, b->work,
               (unsigned)b->opt.ef, (unsigned)b->opt.batch, b->set.n);
        qv_bench_print_head(qv_bench_commit_own(), b->start_ns);
        printf("}\n");
    } else {
        printf("recall@10 %.4f, %.0f distances: %.0f searches a second one by one, %.0f in batches "
               "of %u: %.3f (%.3f to %.3f)\n",
               recall, b->work, single, batch, (unsigned)b->opt.batch, ratio, b->ratios[0],
               b->ratios[pairs - 1]);
    }
    return 0;
}

int qv_cli_bench_batch(int argc, char **argv)
{
    struct bench *b = qv_mem_calloc(1, sizeof *b);
    b->opt = (struct options){.metric = "l2", .ef = 76, .queries = 5000, .pairs = 15, .batch = 100};
    b->start_ns = qv_bench_now_ns();
    const struct qv_bench_option table[] = {
        {"--base", QV_BENCH_TEXT, &b->opt.base, 0, 0},
        {"--query", QV_BENCH_TEXT, &b->opt.query, 0, 0},
        {"--gt", QV_BENCH_TEXT, &b->opt.gt, 0, 0},
        {"--metric", QV_BENCH_TEXT, &b->opt.metric, 0, 0},
        {"--ef", QV_BENCH_NUMBER, &b->opt.ef, QV_BENCH_K, QV_HNSW_EF_MAX},
        {"--batch", QV_BENCH_NUMBER, &b->opt.batch, 1, BATCH_MAX},
        {"--queries", QV_BENCH_NUMBER, &b->opt.queries, 1, 1000000},
        {"--pairs", QV_BENCH_NUMBER, &b->opt.pairs, 1, PAIRS_MAX},
        {"--json", QV_BENCH_FLAG, &b->opt.json, 0, 0},
    };
    int err = qv_bench_read_options(usage, table, sizeof table / sizeof table[0], argc, argv);
    if (err == 0)
        err = qv_cli_end("bench batch", run(b), &b->msg);
    if (b->single != NULL)
        qv_mem_free(b->single[0].hits);
    qv_mem_free(b->asked);
    qv_mem_free(b->single);
    qv_mem_free(b->batched);
    qv_hnsw_ctx_destroy(&b->ctx);
    qv_hnsw_destroy(&b->h);
    qv_bench_set_close(&b->set);
    qv_mem_free(b);
    return err < 0 ? 0 : err;
}
