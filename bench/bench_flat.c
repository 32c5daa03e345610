/* Exact search: rows and bytes a second of a scan, by queries that share it; and what the top-k
 * collector costs beside a sorted array. JSON lines.
 *
 *     bench_flat [ROWS [DIM]]       default 60000 784
 */
#include "base/mem.h"
#include "base/rng.h"
#include "index/flat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { QUERIES_MAX = 32, K = 10, ROUNDS = 5, STREAM = 60000 };

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void bench_scan(const float *rows, uint32_t n, uint32_t dim, size_t count)
{
    uint64_t keys[QUERIES_MAX][K];
    const void *queries[QUERIES_MAX];
    struct qv_topk tops[QUERIES_MAX];
    const struct qv_flat flat = {
        .rows = {(const uint8_t *)rows, dim * sizeof(float)}, .dim = dim, .end = n};
    double best = 1e18;
    for (int round = 0; round < ROUNDS; ++round) {
        for (size_t q = 0; q < count; ++q) {
            queries[q] = rows + q * dim;
            qv_topk_init(&tops[q], keys[q], K);
        }
        const double start = now_ns();
        qv_flat_scan(&flat, queries, tops, count);
        const double ns = now_ns() - start;
        best = ns < best ? ns : best;
    }
    printf("{\"bench\":\"scan\",\"rows\":%u,\"dim\":%u,\"queries\":%zu,\"ms\":%.2f,"
           "\"ns_a_distance\":%.1f,\"row_gb_a_second\":%.2f}\n",
           n, dim, count, best / 1e6, best / n / (double)count,
           (double)n * dim * sizeof(float) / best);
}

/* The other way to keep the k nearest: an array in order, insertion from the end. */
static void sorted_push(uint64_t *keys, uint32_t *n, uint32_t k, uint64_t key)
{
    if (*n == k && key >= keys[k - 1])
        return;
    uint32_t at = *n < k ? (*n)++ : k - 1;
    for (; at > 0 && keys[at - 1] > key; --at)
        keys[at] = keys[at - 1];
    keys[at] = key;
}

static void bench_topk(uint32_t k, int descending)
{
    static uint64_t keys[1 << 16];
    static float dists[STREAM];
    static struct qv_topk_hit hits[1 << 16];
    double heap = 1e18;
    double sorted = 1e18;
    struct qv_rng rng;
    qv_rng_init(&rng, 3);
    for (uint32_t i = 0; i < STREAM; ++i)
        dists[i] = descending ? (float)(STREAM - i) : (float)qv_rng_unit(&rng);
    for (int round = 0; round < ROUNDS; ++round) {
        struct qv_topk top;
        uint32_t n = 0;
        double start = now_ns();
        qv_topk_init(&top, keys, k);
        for (uint32_t i = 0; i < STREAM; ++i)
            qv_topk_push(&top, dists[i], i);
        qv_topk_finish(&top, hits);
        double ns = now_ns() - start;
        heap = ns < heap ? ns : heap;
        start = now_ns();
        for (uint32_t i = 0; i < STREAM; ++i)
            sorted_push(keys, &n, k, qv_topk_key(dists[i], i));
        ns = now_ns() - start;
        sorted = ns < sorted ? ns : sorted;
    }
    printf("{\"bench\":\"topk\",\"k\":%u,\"order\":\"%s\",\"heap_ns\":%.2f,\"sorted_ns\":%.2f}\n",
           k, descending ? "worst" : "random", heap / STREAM, sorted / STREAM);
}

int main(int argc, char **argv)
{
    const uint32_t n = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 60000;
    const uint32_t dim = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 784;
    if (n < QUERIES_MAX || dim < 1 || dim > 4096 || argc > 3) {
        fprintf(stderr, "usage: bench_flat [ROWS (32 or more) [DIM (1..4096)]]\n");
        return 2;
    }
    float *rows = qv_mem_try_alloc((size_t)n * dim * sizeof *rows);
    if (rows == NULL) {
        fprintf(stderr, "bench_flat: no memory\n");
        return 1;
    }
    struct qv_rng rng;
    qv_rng_init(&rng, 1);
    for (size_t i = 0; i < (size_t)n * dim; ++i)
        rows[i] = (float)qv_rng_below(&rng, 256);
    for (size_t count = 1; count <= QUERIES_MAX; count *= 2)
        bench_scan(rows, n, dim, count);
    for (uint32_t k = 10; k <= 10000; k *= 10)
        for (int descending = 0; descending < 2; ++descending)
            if (!descending || k < 10000)
                bench_topk(k, descending);
    qv_mem_free(rows);
    return 0;
}
