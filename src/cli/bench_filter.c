/* quiver bench filter: what a filter costs, in this process, bitmaps given: it measures the search
 * and the planner, not how a bitmap comes from payloads.
 *
 * A point is a selectivity, a kind of filter and an ef. Its recall@10 is over all queries, against
 * the true ten nearest of the rows that pass; that of the same search without a filter stands
 * beside it. Its times come from rounds that take turns: some queries without a filter, some as the
 * planner has it, and some by scan of what passes (by codes, in mode default). QPS are medians over
 * the rounds, `ratio` is the median over the rounds of QPS to max(scan, plain * sqrt(selectivity)).
 * Time is that of the thread on its processor: what others take meanwhile is not counted. */
#include "cli/bench_filter.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "cli/bench_commit.h"
#include "cli/bench_filter_set.h"
#include "cli/bench_kit.h"
#include "index/filter_plan.h"
#include "simd/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define K QV_FILTER_SET_K
#define RANKED_MAX 20u /* by the codes, of which the K nearest by the rows are answered */
#define EFS_MAX 8
#define ROUNDS_MAX 1000

struct options {
    struct qv_filter_set_options set;
    const char *mode, *efs, *force;
    uint64_t queries, m, ef_construct, threads, pairs, sels;
    bool json;
    uint32_t ef[EFS_MAX];
    uint32_t ef_count;
};

struct bench {
    struct options opt;
    struct qv_filter_set set;
    struct qv_hnsw_ctx *ctx;
    enum qv_plan_way forced;
    bool first;
    struct worst {
        double ratio, gap;
        char ratio_at[64], gap_at[64];
    } worst[QV_FILTER_KINDS];
};

static const char usage[] =
    "usage: quiver bench filter --base FILE --query FILE [options]\n"
    "\n"
    "Searches the rows of --base under filters that let 100 to 0.01 % of them pass, drawn at\n"
    "random, near the query and far from it, and prints what the planner chose, its recall@10 "
    "and\n"
    "QPS beside those of the search without a filter and of a scan of what passes.\n"
    "\n"
    "  --base FILE, --query FILE  .fbin, .u8bin or IDX of equal type and dimension\n"
    "  --metric M         l2 (default), cosine, dot\n"
    "  --mode MODE        default: codes of 8 bits; rows\n"
    "  --ef LIST          default 32,128\n"
    "  --queries N        use the first N only (default 5000)\n"
    "  --pairs N          rounds that are timed, each point (default 15)\n"
    "  --first N          selectivities only, of 100, 50, 10, 5, 1, 0.5, 0.1, 0.01 %\n"
    "  --cache DIR        keeps graph and truth there\n"
    "  --m N, --ef-construct N, --threads N  of the graph (default 16, 100, 1)\n"
    "  --plan WAY         scan, bridges or check instead of the planner's\n"
    "  --json             one JSON object instead of a table\n"
    "\n"
    "example: quiver bench filter --base fashion.base.fbin --query fashion.query.fbin "
    "--json\n";

/* ---- one search ---- */

static qv_dist_batch_f ranker(const struct bench *b)
{
    return qv_simd_dist_batch(b->set.metric, b->set.dtype);
}

/* The K nearest by the rows of n hits by the codes, in their place. */
static uint32_t rank_by_rows(const struct bench *b, const void *query, struct qv_hnsw_hit *hits,
                             uint32_t n)
{
    uint32_t slots[RANKED_MAX];
    float dists[RANKED_MAX];
    for (uint32_t i = 0; i < n; i++)
        slots[i] = hits[i].slot;
    ranker(b)(query, b->set.rows.base, b->set.rows.stride_bytes, slots, n, b->set.dim, dists);
    for (uint32_t i = 0; i < n; i++) {
        const struct qv_hnsw_hit hit = {.slot = slots[i], .dist = dists[i]};
        uint32_t at = i;
        for (; at > 0 && hits[at - 1].dist > hit.dist; at--)
            hits[at] = hits[at - 1];
        hits[at] = hit;
    }
    return n < K ? n : K;
}

struct ask {
    uint32_t sel, ef;
    enum qv_filter_kind kind;
    enum qv_plan_way way; /* PLAIN: without the filter */
    bool planned;         /* way is not read */
};

static uint32_t search(struct bench *b, const struct ask *ask, uint32_t query,
                       struct qv_hnsw_hit *hits, struct qv_plan_report *report)
{
    const bool codes = qv_hnsw_has_codes(b->set.graph);
    uint32_t n = 0;
    int err;
    struct qv_plan_query p = {.query = {.row = qv_rows_at(&b->set.queries, query),
                                        .k = !codes || ask->ef < K  ? K
                                             : ask->ef < RANKED_MAX ? ask->ef
                                                                    : RANKED_MAX,
                                        .ef = ask->ef},
                              .passing = b->set.members[ask->sel],
                              .forced = ask->planned ? b->forced : ask->way};
    if (!ask->planned && ask->way == QV_PLAN_PLAIN) {
        err = qv_hnsw_search(b->set.graph, b->ctx, &p.query, hits, &n);
    } else {
        p.query.bitmap = qv_filter_set_bits(&b->set, ask->sel, ask->kind, query);
        p.query.bitmap_slots = b->set.n;
        err = qv_plan_search(b->set.graph, b->ctx, &p, hits, &n, report);
    }
    QV_ASSERT(err == 0);
    return codes ? rank_by_rows(b, p.query.row, hits, n) : n;
}

/* ---- recall ---- */

struct quality {
    double recall;
    double distances, bridges; /* a query */
    double gave_up;            /* share of the queries */
    uint32_t ways[QV_PLAN_WAYS];
};

static void measure_recall(struct bench *b, const struct ask *ask, struct quality *out)
{
    uint64_t hit = 0;
    uint64_t want = 0;
    uint64_t gave_up = 0;
    const struct qv_hnsw_work before = qv_hnsw_ctx_work(b->ctx);
    const bool plain = !ask->planned && ask->way == QV_PLAN_PLAIN;
    *out = (struct quality){0};
    for (uint32_t i = 0; i < b->set.q; i++) {
        struct qv_hnsw_hit hits[RANKED_MAX];
        struct qv_plan_report report = {.plan = {.way = QV_PLAN_PLAIN}};
        const float t = plain ? b->set.bounds[0][0][i] : b->set.bounds[ask->sel][ask->kind][i];
        const float bound = t + 1e-6F * fabsf(t); /* kernels differ so much */
        uint32_t n = search(b, ask, i, hits, &report);
        for (uint32_t j = 0; j < n; j++)
            hit += hits[j].dist <= bound ? 1 : 0;
        const uint32_t members = plain ? b->set.n : b->set.members[ask->sel];
        want += members < K ? members : K;
        gave_up += report.answered != report.plan.way ? 1 : 0;
        out->ways[report.plan.way]++;
    }
    const struct qv_hnsw_work now = qv_hnsw_ctx_work(b->ctx);
    out->recall = (double)hit / (double)want;
    out->distances = (double)(now.distances - before.distances) / b->set.q;
    out->bridges = (double)(now.bridges - before.bridges) / b->set.q;
    out->gave_up = (double)gave_up / b->set.q;
}

/* ---- time ---- */

/* Of this thread: what others take of the processor meanwhile is not counted. */
static uint64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Seconds a query, over `count` queries from `*at` on. */
static double time_block(struct bench *b, const struct ask *ask, uint32_t *at, uint32_t count)
{
    struct qv_hnsw_hit hits[RANKED_MAX];
    const uint64_t start = cpu_ns();
    for (uint32_t i = 0; i < count; i++)
        (void)search(b, ask, (*at + i) % b->set.q, hits, NULL);
    const uint64_t end = cpu_ns();
    *at = (*at + count) % b->set.q;
    return (double)(end - start) * 1e-9 / count;
}

#define BLOCK_S 0.012
#define BLOCK_QUERIES_MAX 400u

/* How many queries fill a round's turn. */
static uint32_t block_of(struct bench *b, const struct ask *ask)
{
    uint32_t at = 0;
    double s = time_block(b, ask, &at, 2);
    s = time_block(b, ask, &at, s < 1e-3 ? 16 : 2);
    const double n = BLOCK_S / s;
    return n < 3 ? 3 : n > BLOCK_QUERIES_MAX ? BLOCK_QUERIES_MAX : (uint32_t)n;
}

struct times {
    double qps, qps_plain, qps_scan, ratio;
};

static void measure_time(struct bench *b, const struct ask *ask, struct times *out)
{
    const struct ask plain = {.ef = ask->ef, .way = QV_PLAN_PLAIN};
    const struct ask scan = {
        .sel = ask->sel, .kind = ask->kind, .ef = ask->ef, .way = QV_PLAN_SCAN};
    const uint32_t blocks[3] = {block_of(b, &scan), block_of(b, &plain), block_of(b, ask)};
    const uint32_t rounds = (uint32_t)b->opt.pairs;
    uint32_t at[3] = {0, 0, 0};
    double *s[4];
    for (int i = 0; i < 4; i++)
        s[i] = qv_mem_alloc(rounds * sizeof *s[i]);
    const double root = sqrt(qv_filter_set_selectivity(ask->sel));
    for (uint32_t r = 0; r < rounds; r++) {
        s[0][r] = time_block(b, &scan, &at[0], blocks[0]);
        s[1][r] = time_block(b, &plain, &at[1], blocks[1]);
        s[2][r] = time_block(b, ask, &at[2], blocks[2]);
        s[3][r] = fmin(s[0][r], s[1][r] / root) / s[2][r];
    }
    *out = (struct times){.qps_scan = 1 / qv_bench_quantile(s[0], rounds, 0.5),
                          .qps_plain = 1 / qv_bench_quantile(s[1], rounds, 0.5),
                          .qps = 1 / qv_bench_quantile(s[2], rounds, 0.5),
                          .ratio = qv_bench_quantile(s[3], rounds, 0.5)};
    for (int i = 0; i < 4; i++)
        qv_mem_free(s[i]);
}

/* ---- points ---- */

struct point {
    struct ask ask;
    struct quality got, plain;
    struct times t;
    const char *plan;
};

static void keep_worst(struct bench *b, const struct point *p)
{
    char at[64];
    (void)snprintf(at, sizeof at, "%g %s ef %u", qv_filter_set_selectivity(p->ask.sel),
                   qv_filter_kind_name(p->ask.kind), p->ask.ef);
    struct worst *w = &b->worst[p->ask.kind];
    if (w->ratio_at[0] == 0 || p->t.ratio < w->ratio) {
        w->ratio = p->t.ratio;
        memcpy(w->ratio_at, at, sizeof at);
    }
    if (w->gap_at[0] == 0 || p->got.recall - p->plain.recall < w->gap) {
        w->gap = p->got.recall - p->plain.recall;
        memcpy(w->gap_at, at, sizeof at);
    }
}

static void print_worst(const struct bench *b)
{
    for (int kind = 0; kind < QV_FILTER_KINDS; kind++) {
        const struct worst *w = &b->worst[kind];
        const char *name = qv_filter_kind_name((enum qv_filter_kind)kind);
        if (b->opt.json)
            printf("%s\n  \"%s\":{\"ratio\":%.4f,\"ratio_at\":\"%s\",\"recall_gap\":%.5f,"
                   "\"recall_gap_at\":\"%s\"}",
                   kind == 0 ? "" : ",", name, w->ratio, w->ratio_at, w->gap, w->gap_at);
        else
            printf("worst: %.2f of max(scan, plain * sqrt(share)) at %s; recall %+.4f at %s\n",
                   w->ratio, w->ratio_at, w->gap, w->gap_at);
    }
}

static void print_point(struct bench *b, const struct point *p)
{
    const double sel = qv_filter_set_selectivity(p->ask.sel);
    const char *kind = qv_filter_kind_name(p->ask.kind);
    if (!b->opt.json) {
        if (b->first)
            printf("%8s %-14s %5s %-8s %7s %7s %8s %8s %8s %6s %8s %8s %5s\n", "share", "filter",
                   "ef", "plan", "recall", "plain", "qps", "plain", "scan", "ratio", "dists",
                   "bridges", "gave");
        printf("%8g %-14s %5u %-8s %7.4f %+7.4f %8.0f %8.0f %8.0f %6.2f %8.0f %8.0f %5.2f\n", sel,
               kind, p->ask.ef, p->plan, p->got.recall, p->got.recall - p->plain.recall, p->t.qps,
               p->t.qps_plain, p->t.qps_scan, p->t.ratio, p->got.distances, p->got.bridges,
               p->got.gave_up);
    } else {
        printf("%s\n  {\"selectivity\":%g,\"correlation\":\"%s\",\"ef\":%u,\"plan\":\"%s\","
               "\"recall\":%.5f,\"recall_unfiltered\":%.5f,\"qps\":%.1f,\"qps_plain\":%.1f,"
               "\"qps_scan\":%.1f,\"ratio\":%.4f,\"distances\":%.1f,\"bridges\":%.1f,"
               "\"gave_up\":%.4f}",
               b->first ? "" : ",", sel, kind, p->ask.ef, p->plan, p->got.recall, p->plain.recall,
               p->t.qps, p->t.qps_plain, p->t.qps_scan, p->t.ratio, p->got.distances,
               p->got.bridges, p->got.gave_up);
    }
    b->first = false;
    (void)fflush(stdout);
}

static void measure_ef(struct bench *b, uint32_t ef)
{
    const struct ask plain = {.ef = ef, .way = QV_PLAN_PLAIN};
    struct quality unfiltered;
    measure_recall(b, &plain, &unfiltered);
    for (uint32_t sel = 0; sel < b->opt.sels; sel++) {
        for (int kind = 0; kind < QV_FILTER_KINDS; kind++) {
            struct point p = {
                .ask = {.sel = sel, .kind = (enum qv_filter_kind)kind, .ef = ef, .planned = true},
                .plain = unfiltered};
            measure_recall(b, &p.ask, &p.got);
            measure_time(b, &p.ask, &p.t);
            uint32_t most = 0;
            for (uint32_t w = 0; w < QV_PLAN_WAYS; w++)
                most = p.got.ways[w] > p.got.ways[most] ? w : most;
            p.plan = qv_plan_name((enum qv_plan_way)most);
            keep_worst(b, &p);
            print_point(b, &p);
        }
    }
}

/* ---- options ---- */

static int bad(const char *name, const char *value, const char *allowed)
{
    fprintf(stderr, "quiver bench filter: %s is '%s'; allowed: %s\n", name, value, allowed);
    return 2;
}

static int parse_efs(struct options *o)
{
    for (const char *p = o->efs; *p != 0;) {
        char *end;
        unsigned long v = *p >= '0' && *p <= '9' ? strtoul(p, &end, 10) : 0;
        if (v == 0 || v > QV_HNSW_EF_MAX || (*end != 0 && *end != ',') || o->ef_count == EFS_MAX)
            return bad("--ef", o->efs, "up to 8 numbers from 1 to 65536, with commas");
        o->ef[o->ef_count++] = (uint32_t)v;
        p = *end == ',' ? end + 1 : end;
    }
    return o->ef_count > 0 ? 0 : bad("--ef", o->efs, "numbers with commas");
}

static int parse_options(int argc, char **argv, struct bench *b)
{
    struct options *o = &b->opt;
    *o = (struct options){.set = {.base = "", .query = "", .metric = "l2", .cache = ""},
                          .mode = "default",
                          .efs = "32,128",
                          .force = "",
                          .queries = 5000,
                          .m = 16,
                          .ef_construct = 100,
                          .threads = 1,
                          .pairs = 15,
                          .sels = QV_FILTER_SET_SELS};
    const struct qv_bench_option table[] = {
        {"--base", QV_BENCH_TEXT, &o->set.base, 0, 0},
        {"--query", QV_BENCH_TEXT, &o->set.query, 0, 0},
        {"--metric", QV_BENCH_TEXT, &o->set.metric, 0, 0},
        {"--cache", QV_BENCH_TEXT, &o->set.cache, 0, 0},
        {"--mode", QV_BENCH_TEXT, &o->mode, 0, 0},
        {"--ef", QV_BENCH_TEXT, &o->efs, 0, 0},
        {"--plan", QV_BENCH_TEXT, &o->force, 0, 0},
        {"--queries", QV_BENCH_NUMBER, &o->queries, 1, UINT32_MAX},
        {"--m", QV_BENCH_NUMBER, &o->m, QV_HNSW_M_MIN, QV_HNSW_M_MAX},
        {"--ef-construct", QV_BENCH_NUMBER, &o->ef_construct, 1, QV_HNSW_EF_MAX},
        {"--threads", QV_BENCH_NUMBER, &o->threads, 1, 64},
        {"--first", QV_BENCH_NUMBER, &o->sels, 1, QV_FILTER_SET_SELS},
        {"--pairs", QV_BENCH_NUMBER, &o->pairs, 1, ROUNDS_MAX},
        {"--json", QV_BENCH_FLAG, &o->json, 0, 0}};
    int err = qv_bench_read_options(usage, table, sizeof table / sizeof table[0], argc, argv);
    if (err != 0)
        return err;
    if (o->set.base[0] == 0 || o->set.query[0] == 0) {
        fputs(usage, stderr);
        return 2;
    }
    o->set.codes = strcmp(o->mode, "default") == 0;
    if (!o->set.codes && strcmp(o->mode, "rows") != 0)
        return bad("--mode", o->mode, "default or rows");
    for (int w = QV_PLAN_SCAN; w < QV_PLAN_WAYS; w++)
        if (strcmp(o->force, qv_plan_name((enum qv_plan_way)w)) == 0)
            b->forced = (enum qv_plan_way)w;
    if (o->force[0] != 0 && b->forced == QV_PLAN_PLAIN)
        return bad("--plan", o->force, "scan, bridges, check");
    o->set.queries_max = (uint32_t)o->queries;
    o->set.m = (uint32_t)o->m;
    o->set.ef_construct = (uint32_t)o->ef_construct;
    o->set.threads = (uint32_t)o->threads;
    return parse_efs(o);
}

int qv_cli_bench_filter(int argc, char **argv)
{
    struct bench b = {.first = true};
    int err = parse_options(argc, argv, &b);
    if (err != 0)
        return err < 0 ? 0 : err;
    const uint64_t start = qv_bench_now_ns();
    err = qv_filter_set_open(&b.opt.set, &b.set);
    if (err == 0) {
        b.ctx = qv_hnsw_ctx_create();
        if (b.opt.json)
            printf("{\"points\":[");
        for (uint32_t i = 0; i < b.opt.ef_count; i++)
            measure_ef(&b, b.opt.ef[i]);
        if (b.opt.json) {
            printf("],\n \"worst\":{");
            print_worst(&b);
            printf("},\n \"n\":%u,\"dim\":%u,\"queries\":%u,", b.set.n, b.set.dim, b.set.q);
            qv_bench_print_head(qv_bench_commit_own(), start);
            printf("}\n");
        } else {
            print_worst(&b);
        }
        qv_hnsw_ctx_destroy(&b.ctx);
    }
    qv_filter_set_close(&b.set);
    return err;
}
