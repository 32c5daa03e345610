#include "cli/bench_placement_set.h"

#include "base/mem.h"
#include "simd/score.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define BASE_END ".base.fbin"
#define METRIC_QUERIES 50u /* whose neighbours tell the metric */

static const struct {
    const char *name;
    enum qv_metric metric;
} metrics[] = {{"l2", QV_METRIC_L2}, {"cosine", QV_METRIC_COSINE}, {"dot", QV_METRIC_DOT}};

#define METRICS (sizeof metrics / sizeof metrics[0])

const char *qv_placement_set_metric_name(const struct qv_placement_set *s)
{
    for (size_t i = 0; i < METRICS; i++)
        if (metrics[i].metric == s->metric)
            return metrics[i].name;
    return "";
}

int qv_placement_set_row(const struct qv_placement_set *s, uint32_t row, float *out,
                         struct qv_errmsg *msg)
{
    return qv_vecfile_read_f32(&s->base, s->base_path, row, out, msg);
}

uint32_t qv_placement_set_true(const struct qv_placement_set *s, uint32_t query, uint32_t i)
{
    uint32_t row;
    memcpy(&row, qv_vecfile_row(&s->truth, query) + i * sizeof row, sizeof row);
    return row;
}

/* ---- finding files ---- */

static int find_name(const char *dir, struct qv_placement_set *s, struct qv_errmsg *msg)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return qv_fail(msg, QV_EINVAL, "%s: no such folder", dir);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        const size_t n = strlen(e->d_name);
        const size_t end = strlen(BASE_END);
        if (n <= end || strcmp(e->d_name + n - end, BASE_END) != 0)
            continue;
        if (s->name[0] != '\0' || n - end > 60) {
            (void)closedir(d);
            return qv_fail(msg, QV_EINVAL, "%s holds several sets: choose one with --set NAME",
                           dir);
        }
        memcpy(s->name, e->d_name, n - end);
    }
    (void)closedir(d);
    return s->name[0] != '\0'
               ? 0
               : qv_fail(msg, QV_EINVAL, "%s: no NAME%s; `make bench-data DIR=` writes one", dir,
                         BASE_END);
}

static int open_files(const char *dir, struct qv_placement_set *s, struct qv_errmsg *msg)
{
    char path[512];
    snprintf(s->base_path, sizeof s->base_path, "%.380s/%.60s.base.fbin", dir, s->name);
    int err = qv_vecfile_open(s->base_path, &s->base, msg);
    if (err == 0) {
        snprintf(path, sizeof path, "%.380s/%.60s.query.fbin", dir, s->name);
        err = qv_vecfile_open(path, &s->query, msg);
    }
    if (err == 0) {
        snprintf(path, sizeof path, "%.380s/%.60s.gt.ibin", dir, s->name);
        err = qv_vecfile_open(path, &s->truth, msg);
    }
    return err;
}

static int check_files(struct qv_placement_set *s, struct qv_errmsg *msg)
{
    if (s->base.type == QV_VECFILE_I32 || s->query.type == QV_VECFILE_I32 ||
        s->base.dim != s->query.dim || s->base.dim >= QV_SIMD_DIM_MAX)
        return qv_fail(msg, QV_EINVAL, "%s: rows and queries are of %u and %u dimensions", s->name,
                       s->base.dim, s->query.dim);
    if (s->truth.type != QV_VECFILE_I32 || s->truth.dim < QV_PLACEMENT_BENCH_K ||
        s->truth.rows != s->query.rows)
        return qv_fail(msg, QV_EINVAL, "%s: %u true neighbours of %u queries, not %u of %u",
                       s->name, s->truth.dim, s->truth.rows, QV_PLACEMENT_BENCH_K, s->query.rows);
    s->n = s->base.rows;
    s->dim = s->base.dim;
    s->queries = s->query.rows;
    for (uint32_t q = 0; q < s->queries; q++)
        for (uint32_t i = 0; i < QV_PLACEMENT_BENCH_K; i++)
            if (qv_placement_set_true(s, q, i) >= s->n)
                return qv_fail(msg, QV_EINVAL, "%s: query %u has a true neighbour beyond the rows",
                               s->name, q);
    return 0;
}

/* ---- the metric ---- */

static bool in_order(const struct qv_placement_set *s, enum qv_metric metric, float *query,
                     float *row)
{
    bool good = true;
    for (uint32_t q = 0; q < s->queries && q < METRIC_QUERIES && good; q++) {
        float before = -__builtin_inff();
        good = qv_vecfile_read_f32(&s->query, s->name, q, query, NULL) == 0;
        for (uint32_t i = 0; i < QV_PLACEMENT_BENCH_K && good; i++) {
            good = qv_placement_set_row(s, qv_placement_set_true(s, q, i), row, NULL) == 0;
            const float d = good ? qv_score_dist(metric, QV_DTYPE_F32, query, row, s->dim) : before;
            const float slack = 1e-4F * (1 + (before < 0 ? -before : before));
            good = good && (i == 0 || d >= before - slack);
            before = d;
        }
    }
    return good;
}

static int find_metric(struct qv_placement_set *s, const char *metric, struct qv_errmsg *msg)
{
    float *rows = qv_mem_calloc(2 * (size_t)s->dim, sizeof *rows);
    size_t at = 0;
    for (; at < METRICS; at++)
        if (metric != NULL ? strcmp(metric, metrics[at].name) == 0
                           : in_order(s, metrics[at].metric, rows, rows + s->dim))
            break;
    qv_mem_free(rows);
    if (at == METRICS)
        return metric != NULL
                   ? qv_fail(msg, QV_EINVAL, "--metric is l2, cosine or dot")
                   : qv_fail(msg, QV_EINVAL,
                             "%s: its true neighbours are in order by no metric: --metric",
                             s->name);
    s->metric = metrics[at].metric;
    return 0;
}

int qv_placement_set_open(const char *dir, const char *name, const char *metric,
                          struct qv_placement_set *out, struct qv_errmsg *msg)
{
    *out = (struct qv_placement_set){0};
    int err = 0;
    if (strlen(dir) > 380 || (name != NULL && strlen(name) > 60))
        return qv_fail(msg, QV_EINVAL, "--set or --data is too long");
    if (name == NULL)
        err = find_name(dir, out, msg);
    else
        memcpy(out->name, name, strlen(name));
    if (err == 0)
        err = open_files(dir, out, msg);
    if (err == 0)
        err = check_files(out, msg);
    return err == 0 ? find_metric(out, metric, msg) : err;
}

void qv_placement_set_close(struct qv_placement_set *s)
{
    qv_vecfile_close(&s->base);
    qv_vecfile_close(&s->query);
    qv_vecfile_close(&s->truth);
}
