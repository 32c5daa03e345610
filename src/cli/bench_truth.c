#include "cli/bench_truth.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "cli/vecfile.h"
#include "index/flat.h"
#include "simd/convert.h"
#include "simd/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define K QV_CLI_BENCH_K
#define NEAR_MAX 16u
#define BATCH 32u

/* Two kernels' distances differ by less, relative to what they sum up. */
#define TOLERANCE 1e-6F

static int fail(const struct qv_errmsg *msg)
{
    fprintf(stderr, "quiver bench index: %s\n", msg->text);
    return 2;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

int qv_cli_bench_truth_open(struct qv_cli_bench_truth *t, const struct qv_cli_bench_rows *set)
{
    const size_t cells = (size_t)set->q * NEAR_MAX;
    QV_ASSERT(set->n > 0 && set->q > 0 && set->dim > 0);
    *t = (struct qv_cli_bench_truth){.set = *set};
    t->bounds = qv_mem_try_calloc(set->q, sizeof *t->bounds);
    t->near = qv_mem_try_calloc(cells, sizeof *t->near);
    t->whole = qv_mem_try_calloc(set->q, sizeof *t->whole);
    if (t->bounds == NULL || t->near == NULL || t->whole == NULL) {
        fprintf(stderr, "quiver bench index: no memory for %u queries\n", set->q);
        return 1;
    }
    for (size_t i = 0; i < cells; i++)
        t->near[i] = QV_SLOT_NONE;
    return 0;
}

void qv_cli_bench_truth_close(struct qv_cli_bench_truth *t)
{
    qv_mem_free(t->bounds);
    qv_mem_free(t->near);
    qv_mem_free(t->whole);
    *t = (struct qv_cli_bench_truth){0};
}

static float distance(const struct qv_cli_bench_rows *set, uint32_t query, const void *row)
{
    return qv_simd_dist(set->metric, set->dtype)(qv_rows_at(&set->queries, query), row, set->dim);
}

/* The bound of a query whose tenth is that row. Sums of a dot product may cancel to almost nothing,
 * so that its error follows the lengths of the two. */
static float bound_of(const struct qv_cli_bench_rows *set, uint32_t query, const void *tenth)
{
    const float dist = distance(set, query, tenth);
    float scale = fabsf(dist);
    if (set->metric == QV_METRIC_COSINE)
        scale += 1;
    if (set->metric == QV_METRIC_DOT) {
        const void *q = qv_rows_at(&set->queries, query);
        const qv_dist_f dot = qv_simd_dist(QV_METRIC_DOT, set->dtype);
        scale += sqrtf(fabsf(dot(q, q, set->dim))) * sqrtf(fabsf(dot(tenth, tenth, set->dim)));
    }
    return dist + TOLERANCE * scale;
}

/* ids: the nearest `count` of the query, nearest first. */
static void keep(struct qv_cli_bench_truth *t, uint32_t query, const uint32_t *ids, uint32_t count)
{
    const struct qv_cli_bench_rows *set = &t->set;
    const uint32_t tenth = ids[least(K, set->n) - 1];
    t->bounds[query] = bound_of(set, query, qv_rows_at(&set->rows, tenth));
    t->whole[query] = count == set->n;
    for (uint32_t j = 0; j < count; j++) {
        if (distance(set, query, qv_rows_at(&set->rows, ids[j])) <= t->bounds[query])
            t->near[(size_t)query * NEAR_MAX + j] = ids[j];
        else
            t->whole[query] = true;
    }
}

/* ---- from a file ---- */

static int check_file(const struct qv_cli_bench_truth *t, const struct qv_vecfile *gt,
                      const char *path)
{
    const uint32_t k = least(K, t->set.n);
    if (gt->type == QV_VECFILE_I32 && gt->rows >= t->set.q && gt->dim >= k)
        return 0;
    fprintf(stderr, "quiver bench index: %s holds %u rows of %u%s; needed: %u of %u or more\n",
            path, gt->rows, gt->dim, gt->type == QV_VECFILE_I32 ? "" : " that are not row numbers",
            t->set.q, k);
    return 2;
}

static int read_query(struct qv_cli_bench_truth *t, const struct qv_vecfile *gt, uint32_t query,
                      const char *path)
{
    uint32_t ids[NEAR_MAX] = {0};
    const uint32_t count = least(least(gt->dim, NEAR_MAX), t->set.n);
    memcpy(ids, qv_vecfile_row(gt, query), count * sizeof *ids);
    for (uint32_t j = 0; j < count; j++) {
        if (ids[j] >= t->set.n) {
            fprintf(stderr,
                    "quiver bench index: %s: neighbour %u of query %u is row %d; rows: %u\n", path,
                    j, query, (int)ids[j], t->set.n);
            return 2;
        }
        for (uint32_t i = 0; i < j; i++) {
            if (ids[i] != ids[j])
                continue;
            fprintf(stderr,
                    "quiver bench index: %s: neighbours %u and %u of query %u are both row %u\n",
                    path, i, j, query, ids[j]);
            return 2;
        }
    }
    keep(t, query, ids, count);
    return 0;
}

int qv_cli_bench_truth_read(struct qv_cli_bench_truth *t, const char *path)
{
    struct qv_vecfile gt;
    struct qv_errmsg msg;
    uint32_t unordered = 0;
    if (qv_vecfile_open(path, &gt, &msg) != 0)
        return fail(&msg);
    int err = check_file(t, &gt, path);
    for (uint32_t i = 0; i < t->set.q && err == 0; i++) {
        err = read_query(t, &gt, i, path);
        if (err == 0)
            unordered += t->near[(size_t)i * NEAR_MAX] == QV_SLOT_NONE ? 1 : 0;
    }
    if (err == 0 && unordered > 0)
        fprintf(stderr,
                "quiver bench index: warning: %s: the first of %u queries is farther than the "
                "tenth; is it of this metric?\n",
                path, unordered);
    qv_vecfile_close(&gt);
    return err;
}

/* ---- by exact search ---- */

static int by_key(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void keep_found(struct qv_cli_bench_truth *t, uint32_t query, const struct qv_topk *top)
{
    uint32_t ids[NEAR_MAX] = {0};
    QV_ASSERT(top->n <= NEAR_MAX && top->n >= least(K, t->set.n));
    qsort(top->keys, top->n, sizeof *top->keys, by_key);
    for (uint32_t j = 0; j < top->n; j++)
        ids[j] = qv_topk_key_slot(top->keys[j]);
    keep(t, query, ids, top->n);
}

void qv_cli_bench_truth_compute(struct qv_cli_bench_truth *t)
{
    const struct qv_cli_bench_rows *set = &t->set;
    const struct qv_flat flat = {.rows = set->rows,
                                 .metric = set->metric,
                                 .dtype = set->dtype,
                                 .dim = set->dim,
                                 .begin = 0,
                                 .end = set->n};
    uint64_t keys[BATCH][NEAR_MAX];
    struct qv_topk tops[BATCH];
    const void *queries[BATCH];
    for (;;) {
        const uint32_t from = atomic_fetch_add(&t->next, BATCH);
        if (from >= set->q)
            return;
        const uint32_t n = least(set->q - from, BATCH);
        for (uint32_t i = 0; i < n; i++) {
            tops[i] = (struct qv_topk){.keys = keys[i], .k = least(set->n, NEAR_MAX)};
            queries[i] = qv_rows_at(&set->queries, from + i);
        }
        qv_flat_scan(&flat, queries, tops, n);
        for (uint32_t i = 0; i < n; i++)
            keep_found(t, from + i, &tops[i]);
    }
}

/* ---- judging ---- */

/* Rows of the base file, opened when the first is asked for. */
struct reader {
    const struct qv_cli_bench_rows *set;
    struct qv_vecfile file;
    void *row; /* aligned, of unit length where that is so; NULL: not open */
};

static int open_reader(struct reader *r)
{
    struct qv_errmsg msg;
    if (qv_vecfile_open(r->set->path, &r->file, &msg) != 0)
        return fail(&msg);
    const bool bytes = r->file.type == QV_VECFILE_U8;
    if (r->file.rows != r->set->n || r->file.dim != r->set->dim ||
        bytes != (r->set->dtype == QV_DTYPE_U8)) {
        fprintf(stderr, "quiver bench index: %s changed meanwhile\n", r->set->path);
        return 2;
    }
    r->row = qv_mem_alloc(r->set->dim * qv_dtype_bytes(r->set->dtype));
    return 0;
}

static int is_near(struct reader *r, const struct qv_cli_bench_truth *t, uint32_t query,
                   uint32_t slot, bool *out)
{
    const struct qv_cli_bench_rows *set = r->set;
    const int err = r->row == NULL ? open_reader(r) : 0;
    if (err != 0)
        return err;
    QV_ASSERT(slot < set->n);
    memcpy(r->row, qv_vecfile_row(&r->file, slot), set->dim * qv_dtype_bytes(set->dtype));
    if (set->unit)
        qv_simd_normalise_f32(r->row, set->dim);
    *out = distance(set, query, r->row) <= t->bounds[query];
    return 0;
}

static bool is_listed(const struct qv_cli_bench_truth *t, uint32_t query, uint32_t slot)
{
    const uint32_t *near = &t->near[(size_t)query * NEAR_MAX];
    bool found = false;
    for (uint32_t j = 0; j < NEAR_MAX; j++)
        found |= near[j] == slot;
    return found;
}

int qv_cli_bench_truth_hits(const struct qv_cli_bench_truth *t, uint32_t from, uint32_t to,
                            const uint32_t *found, uint64_t *hits)
{
    struct reader reader = {.set = &t->set};
    int err = 0;
    *hits = 0;
    for (uint32_t i = from; i < to && err == 0; i++) {
        for (uint32_t j = 0; j < K && err == 0; j++) {
            const uint32_t slot = found[(size_t)i * K + j];
            if (slot == QV_SLOT_NONE)
                continue;
            bool near = is_listed(t, i, slot);
            if (!near && !t->whole[i])
                err = is_near(&reader, t, i, slot, &near);
            *hits += near ? 1 : 0;
        }
    }
    qv_mem_free(reader.row);
    qv_vecfile_close(&reader.file);
    return err;
}
