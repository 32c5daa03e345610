/* The second half of `make run`: asks a server that holds Fashion-MNIST all its test pictures, over
 * gRPC, and compares with the exact answer.
 *
 *   run_demo --url URL --collection NAME --train F --train-labels F --test F --test-labels F
 *            --picture OUT.png [--queries N]
 *
 * Recall: over the first TRUTH_MAX queries; the exact answer is computed here, by a scan of the
 * training file for each; a hit is a returned row not farther than the true tenth. QPS: IN_FLIGHT
 * calls at a time, after a warm-up pass. Latencies: one call at a time, seen by the client. One
 * JSON object on stdout; words on stderr. */
#include "cli/picture.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "cli/bench_wire.h"
#include "cli/progress.h"
#include "cli/vecfile.h"
#include "index/topk.h"
#include "net/client.h"
#include "simd/kernels.h"

#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define K 10u
#define SIDE 28u
#define IN_FLIGHT 16u
#define TRUTH_MAX 5000u
#define TRUTH_BATCH 16u /* queries */
#define TRUTH_BLOCK 32u /* rows: they stay in the nearest cache */
#define THREADS_MAX 16
#define CLASSES 10u

#define MARGIN 16u
#define SCALE 3u
#define FRAME 3u
#define TILE (SIDE * SCALE + 2 * FRAME)
#define GAP 8u
#define LABEL_WIDTH 120u
#define HEAD 56u
#define PAPER 0x16181d
#define INK 0xd7dae0
#define SAME 0x3fa45b
#define OTHER 0xd0453e
#define QUERY 0xd7dae0

static const char *const class_names[CLASSES] = {"T-shirt", "Trouser", "Pullover", "Dress", "Coat",
                                                 "Sandal",  "Shirt",   "Sneaker",  "Bag",   "Boot"};

struct demo {
    const char *url, *collection, *picture;
    const char *paths[4]; /* train, train labels, test, test labels */
    struct qv_vecfile train, train_labels, test, test_labels;
    uint32_t queries, truths; /* the first truths have an exact answer */
    float *bounds;            /* by query: squared distance of the true tenth */
    uint64_t (*hits)[K];      /* by query */
    uint32_t *hit_counts;     /* by query */
    double *us;               /* by query: latency of the pass */

    struct qv_client *client;
    uint32_t next;        /* query to send */
    _Atomic uint32_t row; /* query to scan for */
    int failed;
    struct qv_errmsg msg;
};

/* ---- exact answers ---- */

/* Rows block by block, so that a block comes from memory once for all queries of a batch. The sums
 * of bytes are exact. */
static void scan_rows(const struct demo *d, uint32_t from, struct qv_topk *tops, uint32_t n)
{
    const qv_dist_batch_f dist = qv_simd_dist_batch(QV_METRIC_L2, QV_DTYPE_U8);
    uint32_t rows[TRUTH_BLOCK];
    float dists[TRUTH_BLOCK];
    for (uint32_t at = 0; at < d->train.rows; at += TRUTH_BLOCK) {
        uint32_t count = 0;
        while (count < TRUTH_BLOCK && at + count < d->train.rows) {
            rows[count] = at + count;
            count++;
        }
        for (uint32_t i = 0; i < n; i++) {
            dist(qv_vecfile_row(&d->test, from + i), d->train.data, d->train.stride_bytes, rows,
                 count, d->train.dim, dists);
            for (uint32_t k = 0; k < count; k++)
                qv_topk_push(&tops[i], dists[k], rows[k]);
        }
    }
}

static void *truth_loop(void *arg)
{
    struct demo *d = arg;
    uint64_t keys[TRUTH_BATCH][K];
    for (;;) {
        uint32_t from = atomic_fetch_add(&d->row, TRUTH_BATCH);
        if (from >= d->truths)
            return NULL;
        uint32_t n = d->truths - from < TRUTH_BATCH ? d->truths - from : TRUTH_BATCH;
        struct qv_topk tops[TRUTH_BATCH];
        for (uint32_t i = 0; i < n; i++)
            qv_topk_init(&tops[i], keys[i], K);
        scan_rows(d, from, tops, n);
        for (uint32_t i = 0; i < n; i++) /* the heap's root is the farthest kept */
            d->bounds[from + i] = qv_topk_key_dist(tops[i].keys[0]);
    }
}

static void compute_truth(struct demo *d)
{
    pthread_t threads[THREADS_MAX];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int n = cores < 1 ? 1 : cores > THREADS_MAX ? THREADS_MAX : (int)cores;
    for (int i = 1; i < n; i++) {
        int err = pthread_create(&threads[i], NULL, truth_loop, d);
        QV_ASSERT(err == 0);
    }
    (void)truth_loop(d);
    for (int i = 1; i < n; i++)
        (void)pthread_join(threads[i], NULL);
}

static uint64_t distance(const uint8_t *a, const uint8_t *b, uint32_t dim)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < dim; i++) {
        int diff = (int)a[i] - (int)b[i];
        sum += (uint64_t)(diff * diff);
    }
    return sum;
}

static double compute_recall(const struct demo *d)
{
    uint64_t good = 0;
    for (uint32_t q = 0; q < d->truths; q++) {
        for (uint32_t i = 0; i < d->hit_counts[q]; i++) {
            const uint8_t *row = qv_vecfile_row(&d->train, (uint32_t)d->hits[q][i]);
            uint64_t dist = distance(qv_vecfile_row(&d->test, q), row, d->train.dim);
            good += (float)dist <= d->bounds[q];
        }
    }
    return (double)good / ((double)d->truths * K);
}

/* ---- searches ---- */

struct ask {
    struct demo *d;
    uint32_t query;
    struct qv_buf message;
};

static void send_next(struct ask *a);

static void on_hits(void *arg, const struct qv_client_response *r)
{
    struct ask *a = arg;
    struct demo *d = a->d;
    uint32_t n = 0;
    if (r->err != 0 || r->grpc_status != 0) {
        d->failed = qv_fail(&d->msg, QV_EUNAVAILABLE, "search %u: %s", a->query,
                            r->err != 0 ? qv_err_text(r->err) : r->grpc_message);
    } else if (qv_bench_read_hits(r->body, d->hits[a->query], K, &n) != 0) {
        d->failed = qv_fail(&d->msg, QV_EPROTO, "search %u: an answer that is none", a->query);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (d->hits[a->query][i] >= d->train.rows)
            d->failed = qv_fail(&d->msg, QV_EPROTO, "search %u: an unknown id %llu", a->query,
                                (unsigned long long)d->hits[a->query][i]);
    }
    d->hit_counts[a->query] = n;
    d->us[a->query] = (double)r->latency_ns / 1e3;
    send_next(a);
}

static void send_next(struct ask *a)
{
    struct demo *d = a->d;
    float row[SIDE * SIDE];
    if (d->failed != 0 || d->next == d->queries)
        return;
    a->query = d->next++;
    d->failed = qv_vecfile_read_f32(&d->test, d->paths[2], a->query, row, &d->msg);
    qv_buf_clear(&a->message);
    qv_bench_put_query(&a->message, d->collection, row, d->test.dim, K, 0);
    struct qv_client_request request = {
        .path = "/qdrant.Points/Query", .grpc = true, .body = {a->message.data, a->message.len}};
    if (d->failed == 0)
        d->failed = qv_client_send(d->client, &request, on_hits, a);
}

/* All queries, in_flight at a time; *seconds it took. */
static int run_pass(struct demo *d, uint32_t in_flight, double *seconds)
{
    struct ask asks[IN_FLIGHT] = {0};
    uint64_t from = qv_progress_now_ns();
    QV_ASSERT(in_flight <= IN_FLIGHT);
    d->next = 0;
    for (uint32_t i = 0; i < in_flight; i++) {
        asks[i].d = d;
        qv_buf_init(&asks[i].message, 0);
        send_next(&asks[i]);
    }
    qv_client_run(d->client);
    *seconds = (double)(qv_progress_now_ns() - from) / 1e9;
    for (uint32_t i = 0; i < in_flight; i++)
        qv_buf_close(&asks[i].message);
    return d->failed;
}

static int by_double(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* ---- the picture ---- */

/* The first query of each class, in the order of the classes. */
static uint32_t first_of_class(const struct demo *d, uint32_t class)
{
    for (uint32_t i = 0; i < d->queries; i++) {
        if (*qv_vecfile_row(&d->test_labels, i) == class)
            return i;
    }
    return 0;
}

static void draw_tile(struct qv_picture *p, uint32_t x, uint32_t y, const uint8_t *image,
                      uint32_t frame)
{
    qv_picture_fill(p, x, y, TILE, TILE, frame);
    qv_picture_image(p, x + FRAME, y + FRAME, image, SIDE, SCALE);
}

static void draw_row(const struct demo *d, struct qv_picture *p, uint32_t line, uint32_t query)
{
    uint32_t y = HEAD + line * (TILE + GAP);
    uint8_t class = *qv_vecfile_row(&d->test_labels, query);
    if (class < CLASSES)
        qv_picture_text(p, MARGIN, y + TILE / 2 - 7, class_names[class], 2, INK);
    draw_tile(p, LABEL_WIDTH, y, qv_vecfile_row(&d->test, query), QUERY);
    for (uint32_t i = 0; i < d->hit_counts[query]; i++) {
        uint32_t row = (uint32_t)d->hits[query][i];
        bool same = *qv_vecfile_row(&d->train_labels, row) == class;
        draw_tile(p, LABEL_WIDTH + TILE + 3 * GAP + i * (TILE + GAP), y,
                  qv_vecfile_row(&d->train, row), same ? SAME : OTHER);
    }
}

static int draw_picture(struct demo *d)
{
    struct qv_picture p;
    const uint32_t nearest_x = LABEL_WIDTH + TILE + 3 * GAP;
    int err = qv_picture_create(nearest_x + K * (TILE + GAP) - GAP + MARGIN,
                                HEAD + CLASSES * (TILE + GAP) - GAP + MARGIN, PAPER, &p);
    if (err != 0)
        return qv_fail(&d->msg, err, "no memory for a picture");
    qv_picture_text(&p, LABEL_WIDTH, MARGIN + 8, "Query", 2, INK);
    qv_picture_text(&p, nearest_x, MARGIN + 8, "Its ten nearest   same class", 2, INK);
    qv_picture_fill(&p, nearest_x + 12 * 28 + 4, MARGIN + 8, 14, 14, SAME);
    qv_picture_text(&p, nearest_x + 12 * 31, MARGIN + 8, "another", 2, INK);
    qv_picture_fill(&p, nearest_x + 12 * 38 + 4, MARGIN + 8, 14, 14, OTHER);
    for (uint32_t i = 0; i < CLASSES; i++)
        draw_row(d, &p, i, first_of_class(d, i));
    err = qv_picture_write(&p, d->picture, &d->msg);
    qv_picture_destroy(&p);
    return err;
}

/* ---- the whole ---- */

static int open_input(struct demo *d)
{
    struct qv_vecfile *files[] = {&d->train, &d->train_labels, &d->test, &d->test_labels};
    for (int i = 0; i < 4; i++) {
        int err = qv_vecfile_open(d->paths[i], files[i], &d->msg);
        if (err != 0)
            return err;
        uint32_t dim = i % 2 == 0 ? SIDE * SIDE : 1;
        if (files[i]->type != QV_VECFILE_U8 || files[i]->dim != dim ||
            (i % 2 == 1 && files[i]->rows != files[i - 1]->rows))
            return qv_fail(&d->msg, QV_EINVAL,
                           "%s: %u rows of %u; pictures of 28 x 28 and one "
                           "label each are allowed",
                           d->paths[i], files[i]->rows, files[i]->dim);
    }
    if (d->queries == 0 || d->queries > d->test.rows)
        d->queries = d->test.rows;
    d->truths = d->queries < TRUTH_MAX ? d->queries : TRUTH_MAX;
    d->bounds = qv_mem_calloc(d->truths, sizeof *d->bounds);
    d->hits = qv_mem_calloc(d->queries, sizeof *d->hits);
    d->hit_counts = qv_mem_calloc(d->queries, sizeof *d->hit_counts);
    d->us = qv_mem_calloc(d->queries, sizeof *d->us);
    return 0;
}

static int run(struct demo *d)
{
    double warm_s = 0, loaded_s = 0, alone_s = 0;
    struct qv_client_config config = {.url = d->url};
    int err = open_input(d);
    if (err != 0)
        return err;
    uint64_t from = qv_progress_now_ns();
    fprintf(stderr, "exact answers of %u queries over %u rows ...\n", d->truths, d->train.rows);
    compute_truth(d);
    double truth_s = (double)(qv_progress_now_ns() - from) / 1e9;
    err = qv_client_create(&config, &d->client, &d->msg);
    if (err != 0)
        return err;
    fprintf(stderr, "searching ...\n");
    err = run_pass(d, IN_FLIGHT, &warm_s);
    double recall = err == 0 ? compute_recall(d) : 0;
    if (err == 0)
        err = run_pass(d, IN_FLIGHT, &loaded_s);
    if (err == 0)
        err = run_pass(d, 1, &alone_s);
    if (err == 0)
        err = draw_picture(d);
    if (err != 0)
        return err;
    qsort(d->us, d->queries, sizeof *d->us, by_double);
    printf("{\"n\":%u,\"dim\":%u,\"queries\":%u,\"truths\":%u,\"k\":%u,\"in_flight\":%u,\"recall_"
           "at_10\":%.5f,"
           "\"qps\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"truth_s\":%.2f,\"isa\":\"%s\"}\n",
           d->train.rows, d->train.dim, d->queries, d->truths, K, IN_FLIGHT, recall,
           d->queries / loaded_s, d->us[d->queries / 2], d->us[(size_t)(0.99 * d->queries)],
           truth_s, qv_simd_isa_name(qv_simd_isa()));
    return 0;
}

static int read_options(struct demo *d, int argc, char **argv)
{
    static const struct option options[] = {{"train", required_argument, NULL, 0},
                                            {"train-labels", required_argument, NULL, 1},
                                            {"test", required_argument, NULL, 2},
                                            {"test-labels", required_argument, NULL, 3},
                                            {"url", required_argument, NULL, 'u'},
                                            {"collection", required_argument, NULL, 'c'},
                                            {"picture", required_argument, NULL, 'p'},
                                            {"queries", required_argument, NULL, 'q'},
                                            {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c >= 0 && c < 4)
            d->paths[c] = optarg;
        else if (c == 'u')
            d->url = optarg;
        else if (c == 'c')
            d->collection = optarg;
        else if (c == 'p')
            d->picture = optarg;
        else if (c == 'q')
            d->queries = (uint32_t)strtoul(optarg, NULL, 10);
        else
            return 2;
    }
    bool whole = optind == argc && d->url != NULL && d->collection != NULL && d->picture != NULL;
    for (int i = 0; i < 4; i++)
        whole = whole && d->paths[i] != NULL;
    if (!whole)
        fprintf(stderr, "run_demo: --url --collection --train --train-labels --test --test-labels "
                        "--picture are needed\n");
    return whole ? 0 : 2;
}

int main(int argc, char **argv)
{
    struct demo d = {0};
    (void)signal(SIGPIPE, SIG_IGN);
    if (read_options(&d, argc, argv) != 0)
        return 2;
    int err = run(&d);
    if (err != 0)
        fprintf(stderr, "run_demo: %s\n", d.msg.text[0] != '\0' ? d.msg.text : qv_err_text(err));
    qv_client_destroy(&d.client);
    qv_vecfile_close(&d.train);
    qv_vecfile_close(&d.train_labels);
    qv_vecfile_close(&d.test);
    qv_vecfile_close(&d.test_labels);
    qv_mem_free(d.bounds);
    qv_mem_free(d.hits);
    qv_mem_free(d.hit_counts);
    qv_mem_free(d.us);
    return err == 0 ? 0 : 1;
}
