#include "cli/bench_set.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "cli/bench_kit.h"
#include "cli/vecfile.h"
#include "index/flat.h"
#include "simd/convert.h"
#include "simd/kernels.h"

#include <math.h>
#include <string.h>

#define RANKED 20u /* by the codes, of which the nearest by the rows are answered */

struct matrix {
    float *at;
    uint32_t n, dim;
};

static int read_rows(const char *path, bool unit, uint32_t n_max, struct matrix *out,
                     struct qv_errmsg *msg)
{
    struct qv_vecfile f = {0};
    int err = qv_vecfile_open(path, &f, msg);
    if (err != 0)
        return err;
    if (f.type != QV_VECFILE_F32) {
        qv_vecfile_close(&f);
        return qv_fail(msg, QV_EINVAL, "%s: not a file of f32", path);
    }
    out->n = f.rows < n_max ? f.rows : n_max;
    out->dim = f.dim;
    const size_t row_bytes = (size_t)f.dim * sizeof(float);
    out->at = qv_mem_try_aligned(QV_CACHE_LINE, out->n * row_bytes);
    if (out->at == NULL)
        err = qv_fail(msg, QV_ENOMEM, "no memory for %u rows", out->n);
    for (uint32_t i = 0; i < out->n && err == 0; i++) {
        float *row = out->at + (size_t)i * f.dim;
        memcpy(row, qv_vecfile_row(&f, i), row_bytes);
        if (unit)
            qv_simd_normalise_f32(row, f.dim);
    }
    qv_vecfile_close(&f);
    return err;
}

int qv_bench_set_open(const struct qv_bench_set_files *files, struct qv_bench_set *out,
                      struct qv_errmsg *msg)
{
    const bool cosine = strcmp(files->metric, "cosine") == 0;
    struct matrix base = {0};
    struct matrix query = {0};
    *out = (struct qv_bench_set){.metric = cosine ? QV_METRIC_DOT : QV_METRIC_L2};
    if (!cosine && strcmp(files->metric, "l2") != 0)
        return qv_fail(msg, QV_EINVAL, "--metric is '%s'; allowed: l2, cosine", files->metric);
    int err = read_rows(files->base, cosine, files->n_max, &base, msg);
    if (err == 0)
        err = read_rows(files->query, cosine, files->queries_max, &query, msg);
    if (err == 0 && base.dim != query.dim)
        err = qv_fail(msg, QV_EINVAL, "%s and %s differ in dimension (%u, %u)", files->base,
                      files->query, base.dim, query.dim);
    out->base = base.at;
    out->query = query.at;
    out->n = base.n;
    out->dim = base.dim;
    out->queries = query.n;
    if (err != 0)
        qv_bench_set_close(out);
    return err;
}

void qv_bench_set_close(struct qv_bench_set *s)
{
    qv_mem_free(s->base);
    qv_mem_free(s->query);
    *s = (struct qv_bench_set){0};
}

struct qv_hnsw_params qv_bench_set_params(const struct qv_bench_set *s, uint32_t slots)
{
    struct qv_hnsw_params p = qv_hnsw_params_default(s->metric, QV_DTYPE_F32, s->dim);
    p.max_slots = slots;
    p.coding = QV_HNSW_CODING_LVQ8;
    return p;
}

void qv_bench_set_truth(const struct qv_bench_set *s, const struct qv_rows *rows, uint32_t n,
                        float *bounds)
{
    const struct qv_flat flat = {
        .rows = *rows, .metric = s->metric, .dtype = QV_DTYPE_F32, .dim = s->dim, .end = n};
    for (uint32_t q = 0; q < s->queries; q++) {
        struct qv_topk_hit hits[QV_BENCH_K];
        uint32_t found = 0;
        int err = qv_flat_search(&flat, s->query + (size_t)q * s->dim, QV_BENCH_K, hits, &found);
        QV_ASSERT(err == 0 && found > 0);
        bounds[q] = hits[found - 1].dist;
    }
}

double qv_bench_set_ask(const struct qv_bench_asker *a, uint32_t q, float bound, uint32_t *hits)
{
    struct qv_hnsw_hit found[RANKED];
    uint32_t slots[RANKED];
    float dists[RANKED];
    uint32_t n = 0;
    const struct qv_hnsw_query query = {.row = a->set->query + (size_t)q * a->set->dim,
                                        .k = a->ef < RANKED ? a->ef : RANKED,
                                        .ef = a->ef};
    const uint64_t start = qv_bench_now_ns();
    int err = qv_hnsw_search(a->h, a->ctx, &query, found, &n);
    QV_ASSERT(err == 0);
    for (uint32_t i = 0; i < n; i++)
        slots[i] = found[i].slot;
    qv_simd_dist_batch(a->set->metric, QV_DTYPE_F32)(
        query.row, a->rows->base, a->rows->stride_bytes, slots, n, a->set->dim, dists);
    const uint64_t end = qv_bench_now_ns();
    const float limit = bound + 1e-6F * fabsf(bound); /* kernels differ so much */
    *hits = 0;
    for (uint32_t i = 0; i < n; i++)
        *hits += dists[i] <= limit ? 1 : 0;
    *hits = *hits < QV_BENCH_K ? *hits : QV_BENCH_K;
    return (double)(end - start);
}
