/* quiver bench index: recall@10 against QPS of the graph in this process, no server between.
 *
 * Rows are copied out of the input file first (and the file unmapped), so that memory is what an
 * index holds: rows, links, marks; where codes are walked the rows, and in the modes that pack the
 * graph the graph too, are given back before the first query. Cosine is dot over rows of unit
 * length, as a shard does it. A pass asks every query once, in order; `passes`
 * passes an ef after one that warms up. qps is the median pass; p50 and p99 are over all calls;
 * p99_min_of_passes is over each query's fastest call, which is what a deterministic workload costs
 * when nothing else runs. What a hit is: cli/bench_truth.h. */
#include "cli/bench_index.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "base/vmem.h"
#include "cli/bench_build.h"
#include "cli/bench_index_serve.h"
#include "cli/bench_memory.h"
#include "cli/bench_truth.h"
#include "cli/vecfile.h"
#include "index/hnsw.h"
#include "index/pack.h"
#include "simd/convert.h"
#include "simd/kernels.h"

#include <float.h>
#include <limits.h>
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EFS_MAX 64
#define THREADS_MAX QV_BENCH_BUILD_THREADS_MAX
#define PASSES_MAX 1000
#define K QV_CLI_BENCH_K
#define RANKED_MAX 20u /* by the codes, then by the query as it is against them */

struct options {
    const char *base, *query, *gt, *metric, *mode, *build;
    uint32_t efs[EFS_MAX];
    uint32_t ef_count;
    uint32_t threads, passes, queries_max, m, ef_construct;
    bool json, serve;
};

struct bench {
    const struct options *opt;
    struct qv_rows rows, queries;
    struct qv_vmem rows_mem, queries_mem;
    enum qv_metric metric;
    enum qv_dtype dtype;
    uint32_t n, dim, q;
    struct qv_cli_bench_truth truth;
    struct qv_pack_ctx *pack_ctxs[THREADS_MAX];
    double *ns;            /* passes * q: time of each call */
    uint32_t *found;       /* by query: K slots, QV_SLOT_NONE where fewer were returned */
    struct qv_hnsw *h;     /* or, in the modes that pack it, */
    struct qv_pack *pack;  /* this alone */
    _Atomic uint32_t next; /* row to insert */
    _Atomic int failed;
    double build_s, build_cpu_s;
    struct qv_cli_bench_memory before;
};

static double clock_ns(clockid_t id)
{
    struct timespec t;
    (void)clock_gettime(id, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* ---- options ---- */

static const char usage[] =
    "usage: quiver bench index --base FILE --query FILE [options]\n"
    "\n"
    "Builds the graph over --base in this process and prints recall@10, QPS and latency for each "
    "ef.\n"
    "\n"
    "  --base FILE, --query FILE  .fbin, .u8bin or IDX of equal type and dimension\n"
    "  --gt FILE            .ibin, the true neighbours' row numbers, nearest first; without it "
    "they\n"
    "                       are computed here\n"
    "  --metric M           l2 (default), cosine, dot\n"
    "  --mode MODE          default: codes of 8 bits, two more to rank by (l2 rows of whole "
    "numbers\n"
    "                       from 0 to 255: bytes); the rows are given back after the build;\n"
    "                       rows: the rows alone;\n"
    "                       speed, compact: the graph packed, read-only, without the rows\n"
    "  --ef LIST            default 10,20,40,80,160\n"
    "  --build WAY          bulk (default): all rows at once; insert: one after the other\n"
    "  --threads N          for build and search (default 1)\n"
    "  --passes N           over the queries, each ef (default 9)\n"
    "  --queries N          use the first N only\n"
    "  --m N, --ef-construct N  of the graph (default 16, or 24 for speed; 100)\n"
    "  --json               one JSON object instead of a table\n"
    "  --serve              asks what standard input says, line by line, instead of --ef\n"
    "\n"
    "example: quiver bench index --base fashion.base.fbin --query fashion.query.fbin \\\n"
    "             --gt fashion.gt.ibin --metric l2 --ef 10,20,50,100 --json\n";

static int bad(const char *name, const char *value, const char *allowed)
{
    fprintf(stderr, "quiver bench index: %s is '%s'; allowed: %s\n", name, value, allowed);
    return 2;
}

static int parse_number(const char *name, const char *s, uint32_t max, uint32_t *out)
{
    char *end;
    unsigned long v = s[0] >= '0' && s[0] <= '9' ? strtoul(s, &end, 10) : 0;
    if (v == 0 || v > max || *end != 0) {
        fprintf(stderr, "quiver bench index: %s is '%s'; allowed: 1 to %u\n", name, s, max);
        return 2;
    }
    *out = (uint32_t)v;
    return 0;
}

static int parse_efs(const char *s, struct options *opt)
{
    opt->ef_count = 0;
    for (const char *p = s; *p != 0;) {
        char *end;
        unsigned long v = *p >= '0' && *p <= '9' ? strtoul(p, &end, 10) : 0;
        if (v == 0 || v > QV_HNSW_EF_MAX || (*end != 0 && *end != ',') ||
            opt->ef_count == EFS_MAX) {
            fprintf(stderr,
                    "quiver bench index: --ef is '%s'; allowed: up to %d numbers from 1 to %u, "
                    "with commas\n",
                    s, EFS_MAX, QV_HNSW_EF_MAX);
            return 2;
        }
        opt->efs[opt->ef_count++] = (uint32_t)v;
        p = *end == ',' ? end + 1 : end;
    }
    return opt->ef_count > 0 ? 0 : bad("--ef", s, "numbers with commas");
}

static int set_option(struct options *opt, const char *name, const char *value)
{
    struct {
        const char *name;
        const char **to;
    } texts[] = {{"--base", &opt->base},     {"--query", &opt->query}, {"--gt", &opt->gt},
                 {"--metric", &opt->metric}, {"--build", &opt->build}, {"--mode", &opt->mode}};
    struct {
        const char *name;
        uint32_t *to;
        uint32_t max;
    } numbers[] = {{"--threads", &opt->threads, THREADS_MAX},
                   {"--passes", &opt->passes, PASSES_MAX},
                   {"--queries", &opt->queries_max, UINT32_MAX},
                   {"--m", &opt->m, QV_HNSW_M_MAX},
                   {"--ef-construct", &opt->ef_construct, QV_HNSW_EF_MAX}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strcmp(name, texts[i].name) == 0) {
            *texts[i].to = value;
            return 0;
        }
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (strcmp(name, numbers[i].name) == 0)
            return parse_number(name, value, numbers[i].max, numbers[i].to);
    if (strcmp(name, "--ef") == 0)
        return parse_efs(value, opt);
    fprintf(stderr, "quiver bench index: unknown option '%s'; --help lists what there is\n", name);
    return 2;
}

static bool is_packed(const struct options *opt)
{
    return strcmp(opt->mode, "speed") == 0 || strcmp(opt->mode, "compact") == 0;
}

/* 0, an exit code, or -1: --help was printed. */
static int parse_options(int argc, char **argv, struct options *opt)
{
    *opt = (struct options){.metric = "l2",
                            .mode = "default",
                            .build = "bulk",
                            .efs = {10, 20, 40, 80, 160},
                            .ef_count = 5,
                            .threads = 1,
                            .passes = 9,
                            .queries_max = UINT32_MAX,
                            .m = 0,
                            .ef_construct = 100};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(usage, stdout);
            return -1;
        }
        if (strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "--serve") == 0) {
            *(argv[i][2] == 'j' ? &opt->json : &opt->serve) = true;
            continue;
        }
        if (i + 1 == argc && strncmp(argv[i], "--", 2) == 0)
            return bad(argv[i], "", "a value behind it");
        int err = set_option(opt, argv[i], i + 1 < argc ? argv[i + 1] : "");
        if (err != 0)
            return err;
        i++;
    }
    if (opt->base == NULL || opt->query == NULL) {
        fputs(usage, stderr);
        return 2;
    }
    if (strcmp(opt->mode, "default") != 0 && strcmp(opt->mode, "rows") != 0 && !is_packed(opt))
        return bad("--mode", opt->mode, "default, rows, speed or compact");
    if (opt->m == 0) /* fewer steps with more links each: what waits for memory waits less often */
        opt->m = strcmp(opt->mode, "speed") == 0 ? 24 : 16;
    if (strcmp(opt->build, "bulk") != 0 && strcmp(opt->build, "insert") != 0)
        return bad("--build", opt->build, "bulk or insert");
    return 0;
}

/* ---- input ---- */

static int fail(const struct qv_errmsg *msg)
{
    fprintf(stderr, "quiver bench index: %s\n", msg->text);
    return 2;
}

static int choose_metric(struct bench *b, enum qv_vecfile_type type)
{
    const char *m = b->opt->metric;
    if (type != QV_VECFILE_F32 && type != QV_VECFILE_U8)
        return bad("--base", b->opt->base, "a file of f32 or u8");
    b->dtype = type == QV_VECFILE_U8 ? QV_DTYPE_U8 : QV_DTYPE_F32;
    if (strcmp(m, "l2") == 0)
        b->metric = QV_METRIC_L2;
    else if (strcmp(m, "dot") == 0)
        b->metric = QV_METRIC_DOT;
    else if (strcmp(m, "cosine") == 0)
        b->metric = b->dtype == QV_DTYPE_F32 ? QV_METRIC_DOT : QV_METRIC_COSINE;
    else
        return bad("--metric", m, "l2, cosine, dot");
    return 0;
}

/* Rows are brought to unit length when they are read, and compared by dot. */
static bool is_scaled(const struct bench *b)
{
    return strcmp(b->opt->metric, "cosine") == 0 && b->dtype == QV_DTYPE_F32;
}

/* Are the file's first n rows whole numbers from 0 to 255? It is mapped for this alone: what is
 * looked at here must not count as memory that was held before the index. */
static bool holds_bytes(const char *path, uint32_t n)
{
    struct qv_vecfile f;
    struct qv_errmsg msg;
    if (qv_vecfile_open(path, &f, &msg) != 0)
        return false;
    uint32_t other = 0;
    for (uint32_t i = 0; i < n && other == 0; i++) {
        const uint8_t *row = qv_vecfile_row(&f, i);
        for (uint32_t j = 0; j < f.dim; j++) { /* no branch: vectors */
            float x;
            memcpy(&x, row + 4 * (size_t)j, sizeof x);
            float c = x > 0.0F ? x : 0.0F;
            c = c < 255.0F ? c : 255.0F;
            other += (float)(int32_t)c != x ? 1u : 0u;
        }
    }
    qv_vecfile_close(&f);
    return other == 0;
}

/* Rows of such numbers are kept as bytes: what a collection of them is given with the datatype
 * "uint8". They are the codes then. */
static bool is_narrowed(const struct bench *b)
{
    return b->dtype == QV_DTYPE_F32 && b->metric == QV_METRIC_L2 &&
           strcmp(b->opt->mode, "rows") != 0 && holds_bytes(b->opt->query, b->q) &&
           holds_bytes(b->opt->base, b->n);
}

/* Copies n rows into memory of our own, which lives until the process ends or it is closed. */
/* Rows so long that no distance between two of them may overflow. */
static int check_length(const struct bench *b, const char *path, uint32_t at, const float *row,
                        struct qv_errmsg *msg)
{
    double squares = 0;
    for (uint32_t i = 0; i < b->dim; i++)
        squares += (double)row[i] * row[i];
    if (squares <= FLT_MAX / 4)
        return 0;
    return qv_fail(msg, QV_EINVAL,
                   "%s: row %u has length %g: distances would overflow; allowed: up to %g", path,
                   at, sqrt(squares), sqrt(FLT_MAX / 4));
}

static int copy_rows(struct bench *b, const struct qv_vecfile *f, uint32_t n, struct qv_vmem *mem,
                     struct qv_rows *out)
{
    const char *path = out == &b->rows ? b->opt->base : b->opt->query;
    struct qv_errmsg msg;
    const size_t row_bytes = b->dim * qv_dtype_bytes(b->dtype);
    if (qv_vmem_reserve(mem, n * row_bytes, true) != 0 || qv_vmem_grow(mem, n * row_bytes) != 0) {
        fprintf(stderr, "quiver bench index: no memory for %u rows\n", n);
        return 1;
    }
    float *wide = qv_mem_alloc(b->dim * sizeof *wide);
    int err = 0;
    for (uint32_t i = 0; i < n && err == 0; i++) {
        uint8_t *row = mem->base + i * row_bytes;
        if (f->type == QV_VECFILE_U8) {
            memcpy(row, qv_vecfile_row(f, i), row_bytes);
            continue;
        }
        err = qv_vecfile_read_f32(f, path, i, wide, &msg);
        if (err == 0 && b->metric != QV_METRIC_COSINE && !is_scaled(b))
            err = check_length(b, path, i, wide, &msg);
        if (err == 0 && is_scaled(b))
            qv_simd_normalise_f32(wide, b->dim);
        if (err == 0)
            qv_simd_from_f32(b->dtype, wide, row, b->dim);
    }
    qv_mem_free(wide);
    *out = (struct qv_rows){.base = mem->base, .stride_bytes = row_bytes};
    return err == 0 ? 0 : fail(&msg);
}

static int load_input(struct bench *b, struct qv_vecfile *base, struct qv_vecfile *query)
{
    struct qv_errmsg msg;
    if (qv_vecfile_open(b->opt->base, base, &msg) != 0)
        return fail(&msg);
    if (qv_vecfile_open(b->opt->query, query, &msg) != 0)
        return fail(&msg);
    int err = choose_metric(b, base->type);
    if (err != 0)
        return err;
    if (base->type != query->type || base->dim != query->dim) {
        fprintf(stderr, "quiver bench index: %s and %s differ in type or dimension (%u, %u)\n",
                b->opt->base, b->opt->query, base->dim, query->dim);
        return 2;
    }
    b->n = base->rows;
    b->dim = base->dim;
    b->q = query->rows < b->opt->queries_max ? query->rows : b->opt->queries_max;
    if (is_narrowed(b))
        b->dtype = QV_DTYPE_U8;
    err = copy_rows(b, query, b->q, &b->queries_mem, &b->queries);
    if (err != 0)
        return err;
    qv_vecfile_close(query);
    qv_cli_bench_memory_read(&b->before); /* from here on it is the index's */
    if (base->owned != NULL) {            /* unpacked input, given back below */
        b->before.rss -= (long long)((size_t)base->rows * base->dim);
        b->before.anon -= (long long)((size_t)base->rows * base->dim);
    }
    err = copy_rows(b, base, b->n, &b->rows_mem, &b->rows);
    qv_vecfile_close(base);
    return err;
}

/* ---- the truth ---- */

static void *compute_truth_loop(void *arg)
{
    struct bench *b = arg;
    qv_cli_bench_truth_compute(&b->truth);
    return NULL;
}

/* ---- build and search ---- */

static void run_threads(struct bench *b, void *(*loop)(void *))
{
    pthread_t threads[THREADS_MAX];
    const uint32_t count = b->opt->threads;
    atomic_store(&b->next, 0);
    for (uint32_t i = 1; i < count; i++) {
        int err = pthread_create(&threads[i], NULL, loop, b);
        QV_ASSERT(err == 0);
    }
    (void)loop(b);
    for (uint32_t i = 1; i < count; i++)
        (void)pthread_join(threads[i], NULL);
}

static void *build_loop(void *arg)
{
    struct bench *b = arg;
    struct qv_hnsw_ctx *ctx = qv_hnsw_ctx_create();
    for (;;) {
        uint32_t row = atomic_fetch_add(&b->next, 1);
        if (row >= b->n || atomic_load(&b->failed) != 0)
            break;
        int err = qv_hnsw_insert(b->h, ctx, row, 0);
        if (err != 0)
            atomic_store(&b->failed, err);
    }
    qv_hnsw_ctx_destroy(&ctx);
    return NULL;
}

/* The graph and the rows make place for the packed graph; its time counts as the build's. */
static int pack(struct bench *b)
{
    const enum qv_pack_goal goal =
        strcmp(b->opt->mode, "speed") == 0 ? QV_PACK_SPEED : QV_PACK_COMPACT;
    struct qv_errmsg msg;
    double t = now_ns();
    double cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    const struct qv_pack_params params = qv_pack_choose(b->h, goal);
    if (qv_pack_make(b->h, &params, &b->pack, &msg) != 0)
        return fail(&msg);
    b->build_s += (now_ns() - t) / 1e9;
    b->build_cpu_s += (clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e9;
    qv_hnsw_destroy(&b->h);
    qv_vmem_close(&b->rows_mem);
    b->rows.base = NULL;
    for (uint32_t i = 0; i < b->opt->threads; i++)
        b->pack_ctxs[i] = qv_pack_ctx_create();
    return 0;
}

static int build(struct bench *b)
{
    struct qv_hnsw_params p = qv_hnsw_params_default(b->metric, b->dtype, b->dim);
    struct qv_errmsg msg;
    p.m = b->opt->m;
    p.ef_construct = b->opt->ef_construct;
    p.max_slots = b->n;
    p.coding = strcmp(b->opt->mode, "rows") == 0 ? QV_HNSW_CODING_ROWS : QV_HNSW_CODING_LVQ10;
    if (qv_hnsw_create(&p, &b->rows, &b->h, &msg) != 0)
        return fail(&msg);
    double t = now_ns();
    double cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    int err = strcmp(b->opt->build, "insert") == 0
                  ? QV_ENOTIMPL
                  : qv_bench_build_at_once(b->h, b->n, b->opt->threads);
    if (err == QV_ENOTIMPL)
        run_threads(b, build_loop);
    else
        atomic_store(&b->failed, err);
    b->build_s = (now_ns() - t) / 1e9;
    b->build_cpu_s = (clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e9;
    if (atomic_load(&b->failed) != 0) {
        fprintf(stderr, "quiver bench index: build: %s\n", qv_err_text(atomic_load(&b->failed)));
        return 1;
    }
    const int packed = is_packed(b->opt) ? pack(b) : 0;
    if (b->h != NULL &&
        qv_hnsw_has_codes(b->h)) { /* nothing is inserted any more: nobody reads the rows */
        int dropped = qv_hnsw_drop_rows(b->h);
        QV_ASSERT(dropped == 0);
        qv_vmem_close(&b->rows_mem);
        b->rows.base = NULL;
    }
    (void)malloc_trim(0); /* what the build gave back is not the index's */
    return packed;
}

struct pass {
    struct bench *b;
    struct qv_hnsw_ctx *ctx;
    struct qv_pack_ctx *pack_ctx;
    uint32_t from, to, ef;
    double *ns; /* of this pass, by query */
};

static void keep_found(struct bench *b, uint32_t query, const struct qv_hnsw_hit *hits, uint32_t n)
{
    for (uint32_t j = 0; j < K; j++)
        b->found[(size_t)query * K + j] = j < n ? hits[j].slot : QV_SLOT_NONE;
}

static void search_packed(struct pass *p)
{
    struct bench *b = p->b;
    for (uint32_t i = p->from; i < p->to; i++) {
        struct qv_hnsw_hit hits[K];
        uint32_t n = 0;
        const struct qv_pack_query query = {.row = qv_rows_at(&b->queries, i), .k = K, .ef = p->ef};
        double t = now_ns();
        int err = qv_pack_search(b->pack, p->pack_ctx, &query, hits, &n);
        p->ns[i] = now_ns() - t;
        QV_ASSERT(err == 0);
        keep_found(b, i, hits, n);
    }
}

static void *search_loop(void *arg)
{
    struct pass *p = arg;
    struct bench *b = p->b;
    if (b->pack != NULL) {
        search_packed(p);
        return NULL;
    }
    for (uint32_t i = p->from; i < p->to; i++) {
        struct qv_hnsw_hit hits[RANKED_MAX];
        uint32_t n = 0;
        struct qv_hnsw_query query = {.row = qv_rows_at(&b->queries, i), .k = K, .ef = p->ef};
        if (qv_hnsw_has_codes(b->h))
            query.k = p->ef < K ? K : p->ef < RANKED_MAX ? p->ef : RANKED_MAX;
        double t = now_ns();
        int err = qv_hnsw_search(b->h, p->ctx, &query, hits, &n);
        if (err == 0)
            err = qv_hnsw_rank(b->h, p->ctx, query.row, hits, n);
        p->ns[i] = now_ns() - t;
        QV_ASSERT(err == 0);
        keep_found(b, i, hits, n);
    }
    return NULL;
}

/* All queries once, shared among the threads; seconds. */
static double run_pass(struct bench *b, struct qv_hnsw_ctx **ctxs, uint32_t ef, double *ns)
{
    struct pass parts[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    const uint32_t n = b->opt->threads;
    for (uint32_t i = 0; i < n; i++)
        parts[i] = (struct pass){.b = b,
                                 .ctx = ctxs[i],
                                 .pack_ctx = b->pack_ctxs[i],
                                 .from = (uint32_t)((uint64_t)b->q * i / n),
                                 .to = (uint32_t)((uint64_t)b->q * (i + 1) / n),
                                 .ef = ef,
                                 .ns = ns};
    double t = now_ns();
    for (uint32_t i = 1; i < n; i++) {
        int err = pthread_create(&threads[i], NULL, search_loop, &parts[i]);
        QV_ASSERT(err == 0);
    }
    (void)search_loop(&parts[0]);
    for (uint32_t i = 1; i < n; i++)
        (void)pthread_join(threads[i], NULL);
    return (now_ns() - t) / 1e9;
}

/* ---- results ---- */

static int by_double(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *v, size_t n, double p)
{
    qsort(v, n, sizeof *v, by_double);
    size_t at = (size_t)(p * (double)n);
    return v[at < n ? at : n - 1];
}

struct asked {
    struct bench *b;
    struct qv_hnsw_ctx *ctx;
};

struct point {
    uint32_t ef;
    double recall, qps, p50_us, p99_us, p99_min_us;
    struct qv_cli_bench_memory memory;
};

static int measure(struct bench *b, struct qv_hnsw_ctx **ctxs, uint32_t ef, struct point *out)
{
    double seconds[PASSES_MAX];
    const uint32_t passes = b->opt->passes;
    struct qv_cli_bench_memory before;
    qv_cli_bench_memory_read(&before);
    (void)run_pass(b, ctxs, ef, b->ns); /* warms up */
    for (uint32_t i = 0; i < passes; i++)
        seconds[i] = run_pass(b, ctxs, ef, b->ns + (size_t)i * b->q);
    double *fastest = qv_mem_alloc(b->q * sizeof *fastest);
    for (uint32_t i = 0; i < b->q; i++) {
        fastest[i] = b->ns[i];
        for (uint32_t p = 1; p < passes; p++)
            if (b->ns[(size_t)p * b->q + i] < fastest[i])
                fastest[i] = b->ns[(size_t)p * b->q + i];
    }
    out->ef = ef;
    out->qps = b->q / quantile(seconds, passes, 0.5);
    out->p50_us = quantile(b->ns, (size_t)passes * b->q, 0.5) / 1e3;
    out->p99_us = quantile(b->ns, (size_t)passes * b->q, 0.99) / 1e3;
    out->p99_min_us = quantile(fastest, b->q, 0.99) / 1e3;
    qv_mem_free(fastest);
    qv_cli_bench_memory_read(&out->memory);
    out->memory.rss -= b->before.rss;
    out->memory.anon -= b->before.anon;
    out->memory.read -= before.read;
    uint64_t hits;
    const int err = qv_cli_bench_truth_hits(&b->truth, 0, b->q, b->found, &hits);
    out->recall = (double)hits / ((double)b->q * (b->n < K ? b->n : K));
    return err;
}

static void print_point(const struct bench *b, const struct point *p, bool first)
{
    if (!b->opt->json) {
        if (first)
            printf("%6s %10s %10s %9s %9s %9s %9s\n", "ef", "recall@10", "qps", "p50_us", "p99_us",
                   "p99min_us", "MB");
        printf("%6u %10.4f %10.0f %9.1f %9.1f %9.1f %9.1f\n", p->ef, p->recall, p->qps, p->p50_us,
               p->p99_us, p->p99_min_us, (double)p->memory.rss / 1e6);
        return;
    }
    printf("%s\n  {\"engine\":\"quiver\",\"mode\":\"%s\",\"ef\":%u,\"recall_at_10\":%.5f,"
           "\"qps\":%.1f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"p99_min_of_passes_us\":%.2f,"
           "\"memory_bytes\":%lld,\"memory_anon_bytes\":%lld,\"page_cache_bytes\":%lld,"
           "\"read_bytes\":%lld}",
           first ? "" : ",", b->opt->mode, p->ef, p->recall, p->qps, p->p50_us, p->p99_us,
           p->p99_min_us, p->memory.rss + p->memory.page_cache, p->memory.anon,
           p->memory.page_cache, p->memory.read);
}

static int print_results(struct bench *b)
{
    int err = 0;
    struct qv_hnsw_ctx *ctxs[THREADS_MAX];
    for (uint32_t i = 0; i < b->opt->threads; i++)
        ctxs[i] = qv_hnsw_ctx_create();
    if (b->opt->json)
        printf("{\"schema\":1,\"isa\":\"%s\",\"n\":%u,\"dim\":%u,\"queries\":%u,\"metric\":\"%s\","
               "\"threads\":%u,\"points\":[",
               qv_simd_isa_name(qv_simd_isa()), b->n, b->dim, b->q, b->opt->metric,
               b->opt->threads);
    else
        printf("built %u x %u in %.2f s, %.0f vectors/s (%s, %u threads)\n", b->n, b->dim,
               b->build_s, b->n / b->build_s, qv_simd_isa_name(qv_simd_isa()), b->opt->threads);
    for (uint32_t i = 0; i < b->opt->ef_count && err == 0; i++) {
        struct point p;
        err = measure(b, ctxs, b->opt->efs[i], &p);
        print_point(b, &p, i == 0);
        (void)fflush(stdout);
    }
    if (b->opt->json)
        printf("],\n \"build\":{\"seconds\":%.3f,\"cpu_seconds\":%.3f,\"vectors_per_s\":%.1f}}\n",
               b->build_s, b->build_cpu_s, b->n / b->build_s);
    for (uint32_t i = 0; i < b->opt->threads; i++)
        qv_hnsw_ctx_destroy(&ctxs[i]);
    return err;
}

/* ---- asked line by line ---- */

static void ask_range(void *arg, uint32_t ef, uint32_t from, uint32_t to, double *ns)
{
    struct asked *a = arg;
    struct pass p = {.b = a->b,
                     .ctx = a->ctx,
                     .pack_ctx = a->b->pack_ctxs[0],
                     .from = from,
                     .to = to,
                     .ef = ef,
                     .ns = ns};
    (void)search_loop(&p);
}

static int judge_range(void *arg, uint32_t from, uint32_t to, uint64_t *hits)
{
    const struct asked *a = arg;
    return qv_cli_bench_truth_hits(&a->b->truth, from, to, a->b->found, hits);
}

static void grown_memory(void *arg, struct qv_cli_bench_memory *out)
{
    const struct asked *a = arg;
    qv_cli_bench_memory_read(out);
    out->rss -= a->b->before.rss;
    out->anon -= a->b->before.anon;
}

static int serve(struct bench *b)
{
    struct asked a = {.b = b, .ctx = qv_hnsw_ctx_create()};
    printf("{\"ready\":true,\"engine\":\"quiver\",\"isa\":\"%s\",\"rows\":%u,"
           "\"dim\":%u,\"queries\":%u,\"loaded\":false,\"build_s\":%.3f,\"build_cpu_s\":%.3f}\n",
           qv_simd_isa_name(qv_simd_isa()), b->n, b->dim, b->q, b->build_s, b->build_cpu_s);
    (void)fflush(stdout);
    const struct qv_cli_bench_asked asked = {.ctx = &a,
                                             .queries = b->q,
                                             .ef_max = QV_HNSW_EF_MAX,
                                             .ask = ask_range,
                                             .judge = judge_range,
                                             .memory = grown_memory};
    const int err = qv_cli_bench_index_serve(&asked);
    qv_hnsw_ctx_destroy(&a.ctx);
    return err;
}

static int know_truth(struct bench *b)
{
    const struct qv_cli_bench_rows set = {.path = b->opt->base,
                                          .rows = b->rows,
                                          .queries = b->queries,
                                          .metric = b->metric,
                                          .dtype = b->dtype,
                                          .unit = is_scaled(b),
                                          .n = b->n,
                                          .q = b->q,
                                          .dim = b->dim};
    int err = qv_cli_bench_truth_open(&b->truth, &set);
    if (err == 0 && b->opt->gt != NULL)
        err = qv_cli_bench_truth_read(&b->truth, b->opt->gt);
    else if (err == 0)
        run_threads(b, compute_truth_loop);
    return err;
}

static int run(struct bench *b)
{
    b->found = qv_mem_try_calloc((size_t)b->q * K, sizeof *b->found);
    b->ns = qv_mem_try_calloc((size_t)b->q * b->opt->passes, sizeof *b->ns);
    if (b->found == NULL || b->ns == NULL) {
        fprintf(stderr, "quiver bench index: no memory for %u queries\n", b->q);
        return 1;
    }
    int err = know_truth(b);
    if (err == 0)
        err = build(b);
    if (err != 0)
        return err;
    return b->opt->serve ? serve(b) : print_results(b);
}

int qv_cli_bench_index(int argc, char **argv)
{
    struct options opt;
    int err = parse_options(argc, argv, &opt);
    if (err != 0)
        return err < 0 ? 0 : err;
    struct bench b = {.opt = &opt};
    struct qv_vecfile base = {0};
    struct qv_vecfile query = {0};
    err = load_input(&b, &base, &query);
    if (err == 0)
        err = run(&b);
    qv_vecfile_close(&base);
    qv_vecfile_close(&query);
    qv_hnsw_destroy(&b.h);
    qv_vmem_close(&b.rows_mem);
    qv_vmem_close(&b.queries_mem);
    qv_pack_destroy(&b.pack);
    for (uint32_t i = 0; i < opt.threads; i++)
        qv_pack_ctx_destroy(&b.pack_ctxs[i]);
    qv_cli_bench_truth_close(&b.truth);
    qv_mem_free(b.found);
    qv_mem_free(b.ns);
    return err;
}
