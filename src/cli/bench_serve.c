/* quiver bench serve: the same searches in this process, over gRPC and over REST.
 *
 * The store is built once by a server with all cores, closed, and copied: a server reads one copy,
 * this process the other, so both walk the same graph. Then the server runs on cpu 0 with one
 * worker (its loops there too), the client on cpu 1, the loop in this process on cpu 0 while the
 * server idles. Requests are encoded before the clock runs; answers are compared with those of the
 * loop in an untimed pass, and only looked at for errors in the timed ones.
 *
 * A round is: in process, gRPC, in process, REST (the other way round every second time); a ratio
 * is the median over rounds of protocol / mean of the round's two in-process passes; ratio_aa is
 * the median of those two passes' ratio: what the machine's noise leaves of 1. Where others use cpu
 * 0 too, wall time flatters the server (its two threads get a larger share than one): the ratios of
 * CPU time a query are printed beside.
 *
 * With --tls a second server on cpu 0 reads a third copy and speaks TLS; each pass of a protocol is
 * followed by (or, every second time, follows) the same one over TLS. tls_ratio is the median over
 * rounds of gRPC over TLS / gRPC. */
#include "cli/bench_serve.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "cli/bench_inproc.h"
#include "cli/bench_kit.h"
#include "cli/bench_wire.h"
#include "cli/options.h"
#include "cli/vecfile.h"
#include "index/flat.h"
#include "net/throwaway_cert.h"
#include "simd/kernels.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define K 10u
#define NAME "bench"
#define ROUNDS_MAX 1000
#define FORMS 4 /* gRPC, REST, and both over TLS; a form is its number here */
#define FORM_REST 1
#define FORM_TLS 2
#define TRUTH_BATCH 32u
#define TRUTH_THREADS 2
#define SERVER_CPU 0
#define CLIENT_CPU 1

struct options {
    const char *data, *dir, *only;
    uint64_t ef, pairs, queries, in_flight;
    bool json, keep, tls;
};

struct rows {
    float *values;
    uint32_t n;
};

struct bench {
    struct options opt;
    struct rows base, query;
    uint32_t dim;
    float *bounds; /* distance of each query's true tenth */
    _Atomic uint32_t next;
    char dir[4096], server_dir[4128], local_dir[4128], tls_dir[4128], cert[4128];
    char commit[64];
    struct qv_bench_child child, tls_child;
    struct qv_client *clients[FORMS];
    struct qv_bench_inproc *local;
    struct qv_buf messages[2]; /* encoded queries, one after the other: gRPC, REST */
    size_t *ends[2];
    uint64_t *ids, *ids_wire; /* n * K */
    uint64_t start_ns;
    struct qv_errmsg msg;
};

struct round {
    double local[2], wire[FORMS]; /* seconds: in process; by form */
    double local_cpu, wire_cpu[FORMS];
};

static const char usage[] =
    "usage: quiver bench serve --data DIR [options]\n"
    "\n"
    "Compares searches through gRPC and REST with the same searches in process, one core each.\n"
    "\n"
    "  --data DIR     fashion.base.fbin and fashion.query.fbin, or the IDX files of\n"
    "                 dataset-fashion-mnist\n"
    "  --ef N         of the searches (default 16)\n"
    "  --pairs N      rounds (default 15)\n"
    "  --queries N    of a pass (default 5000)\n"
    "  --in-flight N  calls of the client at a time (default 64)\n"
    "  --dir DIR      where the stores are put; they stay there and are used again\n"
    "                 (default: a temporary directory in the present one)\n"
    "  --tls          also over TLS\n"
    "  --only P       grpc or rest: the other is left out (for profiles)\n"
    "  --json\n"
    "\n"
    "example: quiver bench serve --data /usr/share/datasets/fashion-mnist --ef 16 --json\n";

/* ---- data ---- */

static int read_rows(const char *dir, const char *const *names, uint32_t max, uint32_t *dim,
                     struct rows *out, struct qv_errmsg *msg)
{
    struct qv_vecfile f;
    char path[4096];
    int err = QV_ENOTFOUND;
    for (int i = 0; err != 0 && names[i] != NULL; i++) {
        snprintf(path, sizeof path, "%.3900s/%s", dir, names[i]);
        if (access(path, R_OK) == 0)
            err = qv_vecfile_open(path, &f, msg);
        else
            qv_fail(msg, err, "%s: no %s", dir, names[0]);
    }
    if (err != 0)
        return err;
    *dim = f.dim;
    out->n = f.rows < max ? f.rows : max;
    out->values = qv_mem_alloc((size_t)out->n * f.dim * sizeof(float));
    for (size_t i = 0; i < (size_t)out->n * f.dim; i++)
        out->values[i] =
            f.type == QV_VECFILE_U8 ? (float)f.data[i] : ((const float *)(const void *)f.data)[i];
    err = f.type == QV_VECFILE_I32 ? qv_fail(msg, QV_EINVAL, "%s: no vectors", path) : 0;
    qv_vecfile_close(&f);
    return err;
}

static int read_data(struct bench *b)
{
    static const char *const base[] = {"fashion.base.fbin", "train-images-idx3-ubyte.gz",
                                       "train-images-idx3-ubyte", NULL};
    static const char *const query[] = {"fashion.query.fbin", "t10k-images-idx3-ubyte.gz",
                                        "t10k-images-idx3-ubyte", NULL};
    uint32_t dim = 0;
    int err = read_rows(b->opt.data, base, UINT32_MAX, &b->dim, &b->base, &b->msg);
    if (err == 0)
        err = read_rows(b->opt.data, query, (uint32_t)b->opt.queries, &dim, &b->query, &b->msg);
    if (err == 0 && (dim != b->dim || b->base.n < K))
        err = qv_fail(&b->msg, QV_EINVAL, "%s: base and queries don't fit", b->opt.data);
    return err;
}

static void *truth_loop(void *arg)
{
    struct bench *b = arg;
    const struct qv_flat flat = {
        .rows = {.base = (const uint8_t *)b->base.values, .stride_bytes = (size_t)b->dim * 4},
        .metric = QV_METRIC_L2,
        .dtype = QV_DTYPE_F32,
        .dim = b->dim,
        .end = b->base.n};
    uint64_t keys[TRUTH_BATCH][K];
    for (;;) {
        struct qv_topk tops[TRUTH_BATCH];
        const void *queries[TRUTH_BATCH];
        uint32_t from = atomic_fetch_add(&b->next, TRUTH_BATCH);
        if (from >= b->query.n)
            return NULL;
        uint32_t n = b->query.n - from < TRUTH_BATCH ? b->query.n - from : TRUTH_BATCH;
        for (uint32_t i = 0; i < n; i++) {
            tops[i] = (struct qv_topk){.keys = keys[i], .k = K};
            queries[i] = b->query.values + (size_t)(from + i) * b->dim;
        }
        qv_flat_scan(&flat, queries, tops, n);
        for (uint32_t i = 0; i < n; i++) /* the heap's root is the farthest kept */
            b->bounds[from + i] = qv_topk_key_dist(tops[i].keys[0]);
    }
}

static void compute_truth(struct bench *b)
{
    pthread_t thread;
    b->bounds = qv_mem_calloc(b->query.n, sizeof *b->bounds);
    fprintf(stderr, "exact neighbours of %u queries ...\n", b->query.n);
    int err = pthread_create(&thread, NULL, truth_loop, b);
    (void)truth_loop(b);
    if (err == 0)
        (void)pthread_join(thread, NULL);
}

static double recall(const struct bench *b, const uint64_t *ids)
{
    qv_dist_f dist = qv_simd_dist(QV_METRIC_L2, QV_DTYPE_F32);
    uint64_t hits = 0;
    for (size_t i = 0; i < (size_t)b->query.n * K; i++) {
        const float *q = b->query.values + i / K * b->dim;
        if (ids[i] >= b->base.n)
            continue;
        float d = dist(q, b->base.values + (size_t)ids[i] * b->dim, b->dim);
        hits += d <= b->bounds[i / K] * (1 + 1e-6F) ? 1 : 0; /* kernels differ so much */
    }
    return (double)hits / ((double)b->query.n * K);
}

/* ---- the stores ---- */

static void fill_rows(void *arg, uint64_t first, uint32_t count, float *out)
{
    const struct bench *b = arg;
    memcpy(out, b->base.values + (size_t)first * b->dim, (size_t)count * b->dim * sizeof(float));
}

static const struct qv_bench_child *child_of(const struct bench *b, int form)
{
    return form & FORM_TLS ? &b->tls_child : &b->child;
}

static int open_client(struct bench *b, int form)
{
    const bool http1 = (form & FORM_REST) != 0;
    const uint32_t in_flight = (uint32_t)b->opt.in_flight;
    struct qv_client_config config = {.url = child_of(b, form)->url,
                                      .ca_path = form & FORM_TLS ? b->cert : NULL,
                                      .http1 = http1,
                                      .connections = http1 ? (in_flight < 32 ? in_flight : 32) : 1,
                                      .in_flight_max = http1 ? 1 : in_flight};
    return qv_client_create(&config, &b->clients[form], &b->msg);
}

static int fill_store(struct bench *b)
{
    struct qv_buf text;
    char body[256];
    int err = open_client(b, 0);
    if (err != 0)
        return err;
    snprintf(body, sizeof body, "{\"vectors\":{\"size\":%u,\"distance\":\"Euclid\"}}", b->dim);
    err = qv_bench_rest(b->clients[0], "PUT", "/collections/" NAME, body, &text, &b->msg);
    qv_buf_close(&text);
    struct qv_bench_load load = {.client = b->clients[0],
                                 .collection = NAME,
                                 .n = b->base.n,
                                 .dim = b->dim,
                                 .batch = 500,
                                 .in_flight = 4,
                                 .fill = fill_rows,
                                 .arg = b,
                                 .label = "loading"};
    if (err == 0)
        err = qv_bench_load_run(&load, &b->msg);
    if (err == 0)
        err = qv_bench_wait_green(b->clients[0], NAME, b->base.n, &b->msg);
    qv_client_destroy(&b->clients[0]);
    return err;
}

static int build_stores(struct bench *b)
{
    struct qv_bench_child_config config = {.dir = b->server_dir, .cpu = -1};
    int err = 0;
    snprintf(b->server_dir, sizeof b->server_dir, "%s/server", b->dir);
    snprintf(b->local_dir, sizeof b->local_dir, "%s/local", b->dir);
    snprintf(b->tls_dir, sizeof b->tls_dir, "%s/tls", b->dir);
    snprintf(b->cert, sizeof b->cert, "%s/cert.pem", b->dir);
    if (access(b->local_dir, R_OK) != 0) { /* not from an earlier run */
        err = qv_bench_child_start(&config, &b->child, &b->msg);
        if (err == 0)
            err = fill_store(b);
        if (err == 0)
            err = qv_bench_child_stop(&b->child, &b->msg);
        if (err == 0)
            err = qv_bench_copy_dir(b->server_dir, b->local_dir, &b->msg);
    }
    if (err == 0 && b->opt.tls && access(b->tls_dir, R_OK) != 0)
        err = qv_bench_copy_dir(b->local_dir, b->tls_dir, &b->msg);
    return err;
}

/* ---- passes over the wire ---- */

struct wire_pass {
    struct bench *b;
    int form;
    bool keep_ids;
    uint32_t next, bad;
};

struct wire_slot {
    struct wire_pass *pass;
    uint32_t query;
};

static void send_query(struct wire_slot *slot);

static void query_done(void *arg, const struct qv_client_response *r)
{
    struct wire_slot *slot = arg;
    struct wire_pass *p = slot->pass;
    uint64_t *ids = p->b->ids_wire + (size_t)slot->query * K;
    uint32_t n = 0;
    bool ok = r->err == 0 && r->status == 200 && r->grpc_status == 0 && r->body.n > 0;
    if (ok && p->keep_ids)
        ok = (p->form & FORM_REST ? qv_bench_read_hits_json(r->body, ids, K, &n)
                                  : qv_bench_read_hits(r->body, ids, K, &n)) == 0;
    p->bad += ok ? 0 : 1;
    send_query(slot);
}

static void send_query(struct wire_slot *slot)
{
    struct wire_pass *p = slot->pass;
    struct bench *b = p->b;
    const int form = p->form & FORM_REST;
    if (p->next == b->query.n)
        return;
    slot->query = p->next++;
    size_t begin = slot->query > 0 ? b->ends[form][slot->query - 1] : 0;
    struct qv_client_request request = {
        .method = form == FORM_REST ? "POST" : NULL,
        .path = form == FORM_REST ? "/collections/" NAME "/points/query" : "/qdrant.Points/Query",
        .grpc = form != FORM_REST,
        .body = {b->messages[form].data + begin, b->ends[form][slot->query] - begin}};
    if (qv_client_send(b->clients[p->form], &request, query_done, slot) != 0)
        p->bad++;
}

static const char *const form_names[FORMS] = {"gRPC", "REST", "gRPC over TLS", "REST over TLS"};

/* Seconds; QV_EIO when an answer was wrong. */
static int wire_pass(struct bench *b, int form, bool keep_ids, double *seconds, double *cpu_us)
{
    struct wire_slot *slots = qv_mem_calloc(b->opt.in_flight, sizeof *slots);
    struct wire_pass p = {.b = b, .form = form, .keep_ids = keep_ids};
    uint64_t cpu = qv_bench_child_cpu_ns(child_of(b, form));
    uint64_t t = qv_bench_now_ns();
    for (uint64_t i = 0; i < b->opt.in_flight; i++) {
        slots[i].pass = &p;
        send_query(&slots[i]);
    }
    qv_client_run(b->clients[form]);
    *seconds = (double)(qv_bench_now_ns() - t) * 1e-9;
    *cpu_us = (double)(qv_bench_child_cpu_ns(child_of(b, form)) - cpu) / (1e3 * b->query.n);
    qv_mem_free(slots);
    if (p.bad > 0)
        return qv_fail(&b->msg, QV_EIO, "%u of %u %s queries failed", p.bad, b->query.n,
                       form_names[form]);
    return 0;
}

static int local_pass(struct bench *b, uint64_t *ids, double *seconds, double *cpu_us)
{
    struct qv_bench_pass pass = {.rows = b->query.values,
                                 .n = b->query.n,
                                 .dim = b->dim,
                                 .limit = K,
                                 .ef = (uint32_t)b->opt.ef,
                                 .ids = ids};
    int err = qv_bench_inproc_pass(b->local, &pass, &b->msg);
    *seconds = (double)pass.wall_ns * 1e-9;
    *cpu_us = (double)pass.cpu_ns / (1e3 * b->query.n);
    return err;
}

static void encode_queries(struct bench *b)
{
    for (int form = 0; form < 2; form++) {
        qv_buf_init(&b->messages[form], 0);
        b->ends[form] = qv_mem_alloc(b->query.n * sizeof *b->ends[form]);
        for (uint32_t i = 0; i < b->query.n; i++) {
            const float *row = b->query.values + (size_t)i * b->dim;
            if (form == 0)
                qv_bench_put_query(&b->messages[form], NAME, row, b->dim, K, (uint32_t)b->opt.ef);
            else
                qv_bench_put_query_json(&b->messages[form], row, b->dim, K, (uint32_t)b->opt.ef);
            b->ends[form][i] = b->messages[form].len;
        }
    }
}

static int same_answers(struct bench *b, const char *what)
{
    uint32_t differ = 0;
    for (uint32_t i = 0; i < b->query.n; i++)
        differ +=
            memcmp(b->ids + (size_t)i * K, b->ids_wire + (size_t)i * K, K * sizeof *b->ids) != 0;
    if (differ > 0)
        return qv_fail(&b->msg, QV_EIO, "%u of %u answers over %s differ from those in process",
                       differ, b->query.n, what);
    return 0;
}

/* Warms both up, and compares what they answer. */
static int check_answers(struct bench *b)
{
    double unused[2];
    b->ids = qv_mem_calloc((size_t)b->query.n * K, sizeof *b->ids);
    b->ids_wire = qv_mem_calloc((size_t)b->query.n * K, sizeof *b->ids_wire);
    int err = local_pass(b, b->ids, &unused[0], &unused[1]);
    for (int form = 0; form < FORMS && err == 0; form++) {
        if (b->clients[form] == NULL)
            continue;
        err = wire_pass(b, form, true, &unused[0], &unused[1]);
        if (err == 0)
            err = same_answers(b, form_names[form]);
    }
    return err;
}

static bool is_wanted(const struct bench *b, int form)
{
    return b->clients[form] != NULL &&
           (b->opt.only == NULL || strcmp(b->opt.only, form & FORM_REST ? "rest" : "grpc") == 0);
}

static int run_round(struct bench *b, bool reversed, struct round *r)
{
    int err = 0;
    for (int i = 0; i < FORMS && err == 0; i++) {
        static const int order[FORMS] = {0, FORM_TLS, FORM_REST, FORM_REST | FORM_TLS};
        int form = order[reversed ? FORMS - 1 - i : i];
        double cpu;
        if (i % 2 == 0) {
            err = local_pass(b, NULL, &r->local[i / 2], &cpu);
            r->local_cpu = i == 0 ? cpu : (r->local_cpu + cpu) / 2;
        }
        if (err == 0 && is_wanted(b, form))
            err = wire_pass(b, form, false, &r->wire[form], &r->wire_cpu[form]);
    }
    return err;
}

/* ---- results ---- */

enum figure {
    LOCAL_QPS,
    QPS,                           /* + form */
    RATIO = QPS + FORMS,           /* + form: to in process */
    CPU = RATIO + FORMS,           /* + form: us a query */
    CPU_RATIO = CPU + FORMS,       /* + form */
    TLS_RATIO = CPU_RATIO + FORMS, /* + FORM_REST: over TLS to plain */
    TLS_CPU_RATIO = TLS_RATIO + 2,
    RATIO_AA = TLS_CPU_RATIO + 2,
    CPU_LOCAL,
    FIGURE_COUNT
};

static double quotient(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static double figure_of(const struct bench *b, const struct round *r, int f)
{
    const double local = (r->local[0] + r->local[1]) / 2;
    if (f == LOCAL_QPS)
        return quotient(b->query.n, local);
    if (f < RATIO)
        return quotient(b->query.n, r->wire[f - QPS]);
    if (f < CPU)
        return quotient(local, r->wire[f - RATIO]);
    if (f < CPU_RATIO)
        return r->wire_cpu[f - CPU];
    if (f < TLS_RATIO)
        return quotient(r->local_cpu, r->wire_cpu[f - CPU_RATIO]);
    if (f < TLS_CPU_RATIO)
        return quotient(r->wire[f - TLS_RATIO], r->wire[f - TLS_RATIO + FORM_TLS]);
    if (f < RATIO_AA)
        return quotient(r->wire_cpu[f - TLS_CPU_RATIO], r->wire_cpu[f - TLS_CPU_RATIO + FORM_TLS]);
    return f == RATIO_AA ? quotient(r->local[0], r->local[1]) : r->local_cpu;
}

static void print_json(const struct bench *b, const double *v, double recall_at_10)
{
    printf("{");
    qv_bench_print_head(b->commit, b->start_ns);
    printf(",\"n\":%u,\"dim\":%u,\"queries\":%u,\"ef\":%llu,\"pairs\":%llu,\"in_flight\":%llu,"
           "\"recall_at_10\":%.5f,\"inproc_qps\":%.1f,\"grpc_qps\":%.1f,\"rest_qps\":%.1f,"
           "\"grpc_ratio\":%.4f,\"rest_ratio\":%.4f,\"ratio_aa\":%.4f,"
           "\"grpc_cpu_ratio\":%.4f,\"rest_cpu_ratio\":%.4f",
           b->base.n, b->dim, b->query.n, (unsigned long long)b->opt.ef,
           (unsigned long long)b->opt.pairs, (unsigned long long)b->opt.in_flight, recall_at_10,
           v[LOCAL_QPS], v[QPS], v[QPS + FORM_REST], v[RATIO], v[RATIO + FORM_REST], v[RATIO_AA],
           v[CPU_RATIO], v[CPU_RATIO + FORM_REST]);
    if (b->opt.tls)
        printf(",\"tls_grpc_qps\":%.1f,\"tls_rest_qps\":%.1f,\"tls_ratio\":%.4f,"
               "\"tls_rest_ratio\":%.4f,\"tls_cpu_ratio\":%.4f",
               v[QPS + FORM_TLS], v[QPS + FORM_TLS + FORM_REST], v[TLS_RATIO],
               v[TLS_RATIO + FORM_REST], v[TLS_CPU_RATIO]);
    printf(",\"cpu_us_per_query\":{\"inproc\":%.2f,\"grpc_server\":%.2f,\"rest_server\":%.2f",
           v[CPU_LOCAL], v[CPU], v[CPU + FORM_REST]);
    if (b->opt.tls)
        printf(",\"tls_grpc_server\":%.2f,\"tls_rest_server\":%.2f", v[CPU + FORM_TLS],
               v[CPU + FORM_TLS + FORM_REST]);
    printf("}}\n");
}

static void print_results(const struct bench *b, const struct round *rounds)
{
    double v[FIGURE_COUNT];
    double one[ROUNDS_MAX];
    for (int f = 0; f < FIGURE_COUNT; f++) {
        for (uint64_t i = 0; i < b->opt.pairs; i++)
            one[i] = figure_of(b, &rounds[i], f);
        v[f] = qv_bench_quantile(one, b->opt.pairs, 0.5);
    }
    double r = recall(b, b->ids);
    if (b->opt.json) {
        print_json(b, v, r);
        return;
    }
    printf("recall@10 %.4f at ef %llu; medians of %llu rounds of %u queries, A/A %.3f\n"
           "%-13s %9s %7s %12s\n%-13s %9.0f %7.3f %12.2f\n",
           r, (unsigned long long)b->opt.ef, (unsigned long long)b->opt.pairs, b->query.n,
           v[RATIO_AA], "", "qps", "ratio", "cpu us/query", "in process", v[LOCAL_QPS], 1.0,
           v[CPU_LOCAL]);
    for (int form = 0; form < FORMS; form++) {
        if (b->clients[form] != NULL)
            printf("%-13s %9.0f %7.3f %12.2f\n", form_names[form], v[QPS + form], v[RATIO + form],
                   v[CPU + form]);
    }
    if (b->opt.tls)
        printf("TLS to plain: gRPC %.3f, REST %.3f\n", v[TLS_RATIO], v[TLS_RATIO + FORM_REST]);
}

/* Both servers on one cpu: the one that is not asked sleeps. */
static int start_servers(struct bench *b)
{
    static const char workers[] = "storage.performance.max_search_threads=1";
    static const char loops[] = "service.max_workers=1";
    struct qv_bench_child_config config = {
        .dir = b->server_dir, .cpu = SERVER_CPU, .settings = {workers, loops}};
    int err = qv_bench_child_start(&config, &b->child, &b->msg);
    if (err != 0 || !b->opt.tls)
        return err;
    char key[4200], cert_setting[4200], key_setting[4240];
    struct qv_throwaway_cert cert = {.name = "quiver bench", .alt_names = "IP:127.0.0.1"};
    snprintf(key, sizeof key, "%s.key", b->cert);
    snprintf(cert_setting, sizeof cert_setting, "tls.cert=%s", b->cert);
    snprintf(key_setting, sizeof key_setting, "tls.key=%s", key);
    config = (struct qv_bench_child_config){
        .dir = b->tls_dir,
        .cpu = SERVER_CPU,
        .settings = {workers, loops, "service.enable_tls=true", cert_setting, key_setting}};
    err = qv_throwaway_cert_make(&cert, b->cert, key, &b->msg);
    return err != 0 ? err : qv_bench_child_start(&config, &b->tls_child, &b->msg);
}

static int measure(struct bench *b)
{
    struct round *rounds = qv_mem_calloc(b->opt.pairs, sizeof *rounds);
    int err = qv_bench_inproc_open(b->local_dir, NAME, SERVER_CPU, &b->local, &b->msg);
    if (err == 0)
        err = start_servers(b);
    if (err == 0)
        err = qv_bench_pin(CLIENT_CPU);
    for (int form = 0; form < (b->opt.tls ? FORMS : FORM_TLS) && err == 0; form++)
        err = open_client(b, form);
    if (err == 0) {
        qv_bench_commit(b->clients[0], b->commit, sizeof b->commit);
        encode_queries(b);
        err = check_answers(b);
    }
    struct qv_bench_progress progress = {
        .label = "rounds", .total = b->opt.pairs, .start_ns = qv_bench_now_ns()};
    for (uint64_t i = 0; i < b->opt.pairs && err == 0; i++) {
        err = run_round(b, i % 2 == 1, &rounds[i]);
        qv_bench_progress_tell(&progress, i + 1);
    }
    if (err == 0)
        print_results(b, rounds);
    qv_mem_free(rounds);
    return err;
}

static int make_dir(struct bench *b)
{
    if (b->opt.dir != NULL) {
        snprintf(b->dir, sizeof b->dir, "%.4000s", b->opt.dir);
        (void)mkdir(b->dir, 0755); /* the server says so when it can't be written */
        return 0;
    }
    snprintf(b->dir, sizeof b->dir, "quiver-bench-XXXXXX");
    return mkdtemp(b->dir) != NULL ? 0 : qv_fail(&b->msg, QV_EIO, "no directory can be made here");
}

static void close_bench(struct bench *b)
{
    for (int form = 0; form < FORMS; form++)
        qv_client_destroy(&b->clients[form]);
    qv_bench_child_kill(&b->child);
    qv_bench_child_kill(&b->tls_child);
    qv_bench_inproc_close(&b->local);
    if (b->opt.dir == NULL && b->dir[0] != '\0')
        qv_bench_remove_dir(b->dir);
    for (int form = 0; form < 2; form++) {
        qv_buf_close(&b->messages[form]);
        qv_mem_free(b->ends[form]);
    }
    qv_mem_free(b->base.values);
    qv_mem_free(b->query.values);
    qv_mem_free(b->bounds);
    qv_mem_free(b->ids);
    qv_mem_free(b->ids_wire);
}

static int run(struct bench *b)
{
    int err = read_data(b);
    if (err == 0)
        err = make_dir(b);
    if (err == 0) {
        compute_truth(b);
        err = build_stores(b);
    }
    if (err == 0)
        err = measure(b);
    if (err == 0)
        err = qv_bench_child_stop(&b->child, &b->msg);
    if (err == 0)
        err = qv_bench_child_stop(&b->tls_child, &b->msg);
    return err;
}

int qv_cli_bench_serve(int argc, char **argv)
{
    struct bench *b = qv_mem_calloc(1, sizeof *b);
    b->opt = (struct options){.ef = 16, .pairs = 15, .queries = 5000, .in_flight = 64};
    b->start_ns = qv_bench_now_ns();
    const struct qv_bench_option table[] = {
        {"--data", QV_BENCH_TEXT, &b->opt.data, 0, 0},
        {"--dir", QV_BENCH_TEXT, &b->opt.dir, 0, 0},
        {"--only", QV_BENCH_TEXT, &b->opt.only, 0, 0},
        {"--ef", QV_BENCH_NUMBER, &b->opt.ef, 1, 65536},
        {"--pairs", QV_BENCH_NUMBER, &b->opt.pairs, 1, ROUNDS_MAX},
        {"--queries", QV_BENCH_NUMBER, &b->opt.queries, 1, 1000000},
        {"--in-flight", QV_BENCH_NUMBER, &b->opt.in_flight, 1, 256},
        {"--tls", QV_BENCH_FLAG, &b->opt.tls, 0, 0},
        {"--json", QV_BENCH_FLAG, &b->opt.json, 0, 0},
    };
    int err = qv_bench_read_options(usage, table, sizeof table / sizeof table[0], argc, argv);
    if (err == 0 && b->opt.data == NULL) {
        fputs(usage, stderr);
        err = 2;
    }
    if (err == 0) {
        (void)signal(SIGPIPE, SIG_IGN);
        err = run(b);
        err = qv_cli_end("bench serve", err, &b->msg);
        close_bench(b);
    }
    qv_mem_free(b);
    return err < 0 ? 0 : err;
}
