#include "index/pack_axes.h"

#include "base/mem.h"
#include "base/rng.h"
#include "simd/kernels.h"

#include <math.h>
#include <string.h>

#define ROUNDS 12
#define SPARE 16u /* directions iterated beside those wanted: they converge faster */
#define CENTRE 128.0f

static double dot(const float *a, const float *b, uint32_t n)
{
    return -(double)qv_simd_dist(QV_METRIC_DOT, QV_DTYPE_F32)(a, b, n);
}

static void add_scaled(float *to, const float *from, float factor, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        to[i] += factor * from[i];
}

/* moments: dim x dim, of the sample less its mean. */
static void find_moments(const struct qv_pack_sample *s, const float *mean, float *row,
                         float *moments)
{
    memset(moments, 0, (size_t)s->dim * s->dim * sizeof *moments);
    for (uint32_t i = 0; i < s->n; i++) {
        for (uint32_t j = 0; j < s->dim; j++)
            row[j] = (s->rows[(size_t)i * s->dim + j] - mean[j]) / (float)s->n;
        for (uint32_t j = 0; j < s->dim; j++) {
            const float x = s->rows[(size_t)i * s->dim + j] - mean[j];
            if (x != 0) /* the upper half: it is symmetric */
                add_scaled(moments + (size_t)j * s->dim + j, row + j, x, s->dim - j);
        }
    }
    for (uint32_t j = 1; j < s->dim; j++)
        for (uint32_t k = 0; k < j; k++)
            moments[(size_t)j * s->dim + k] = moments[(size_t)k * s->dim + j];
}

/* Gram and Schmidt, in order: the first n of v become orthonormal. */
static void make_orthonormal(float *v, uint32_t n, uint32_t dim)
{
    for (uint32_t i = 0; i < n; i++) {
        float *x = v + (size_t)i * dim;
        for (uint32_t j = 0; j < i; j++)
            add_scaled(x, v + (size_t)j * dim, (float)-dot(x, v + (size_t)j * dim, dim), dim);
        const double length = sqrt(dot(x, x, dim));
        const float by = length > 1e-30 ? (float)(1 / length) : 0.0f;
        for (uint32_t k = 0; k < dim; k++)
            x[k] *= by;
    }
}

static void iterate(const float *moments, float *v, float *next, uint32_t n, uint32_t dim)
{
    struct qv_rng rng;
    qv_rng_init(&rng, 1);
    for (size_t i = 0; i < (size_t)n * dim; i++)
        v[i] = qv_rng_gauss(&rng);
    for (int round = 0; round < ROUNDS; round++) {
        make_orthonormal(v, n, dim);
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < dim; j++)
                next[(size_t)i * dim + j] =
                    (float)dot(moments + (size_t)j * dim, v + (size_t)i * dim, dim);
        memcpy(v, next, (size_t)n * dim * sizeof *v);
    }
    make_orthonormal(v, n, dim);
}

static void round_axis(struct qv_pack_axes *a, uint32_t i, const float *axis)
{
    float low = INFINITY;
    float high = -INFINITY;
    for (uint32_t j = 0; j < a->dim; j++) {
        low = fminf(low, axis[j]);
        high = fmaxf(high, axis[j]);
    }
    const float step = (high - low) / 255.0f;
    for (uint32_t j = 0; j < a->dim; j++)
        a->rows[i * a->stride + j] =
            (uint8_t)(step > 0 ? fminf((axis[j] - low) / step + 0.5f, 255.0f) : 0.0f);
    a->per_sum[i] = low;
    a->per_product[i] = step;
}

static struct qv_pack_axes *axes_create(uint32_t dim, uint32_t axes)
{
    struct qv_pack_axes *a = qv_mem_calloc(1, sizeof *a);
    a->dim = dim;
    a->axes = axes;
    a->stride = ((size_t)dim + 63) & ~(size_t)63;
    a->rows = qv_mem_try_aligned(QV_CACHE_LINE, axes * a->stride + QV_CODES_BEHIND);
    a->per_sum = qv_mem_try_calloc(axes, sizeof(float));
    a->per_product = qv_mem_try_calloc(axes, sizeof(float));
    a->mean = qv_mem_try_calloc(axes, sizeof(float));
    a->all = qv_mem_try_calloc(axes, sizeof(uint32_t));
    a->middle = qv_mem_try_calloc(dim, sizeof(float));
    a->bytes =
        sizeof *a + axes * (a->stride + 3 * sizeof(float) + sizeof(uint32_t)) + dim * sizeof(float);
    if (a->rows == NULL || a->per_sum == NULL || a->per_product == NULL || a->mean == NULL ||
        a->all == NULL || a->middle == NULL)
        qv_pack_axes_destroy(&a);
    return a;
}

void qv_pack_axes_destroy(struct qv_pack_axes **a)
{
    if (*a == NULL)
        return;
    qv_mem_free((*a)->rows);
    qv_mem_free((*a)->per_sum);
    qv_mem_free((*a)->per_product);
    qv_mem_free((*a)->mean);
    qv_mem_free((*a)->all);
    qv_mem_free((*a)->middle);
    qv_mem_free(*a);
    *a = NULL;
}

static void find_mean(const struct qv_pack_sample *s, float *mean)
{
    memset(mean, 0, s->dim * sizeof *mean);
    if (!s->l2)
        return;
    for (uint32_t i = 0; i < s->n; i++)
        add_scaled(mean, s->rows + (size_t)i * s->dim, 1.0f / (float)s->n, s->dim);
}

/* Of the sample's squared length, what lies along the axes. */
static double share_kept(const float *moments, const float *v, uint32_t axes, uint32_t dim,
                         float *scratch)
{
    double all = 0;
    double kept = 0;
    for (uint32_t j = 0; j < dim; j++)
        all += (double)moments[(size_t)j * dim + j];
    for (uint32_t i = 0; i < axes; i++) {
        const float *axis = v + (size_t)i * dim;
        for (uint32_t j = 0; j < dim; j++)
            scratch[j] = (float)dot(moments + (size_t)j * dim, axis, dim);
        kept += dot(scratch, axis, dim);
    }
    return all > 0 ? kept / all : 1;
}

int qv_pack_axes_find(const struct qv_pack_sample *sample, uint32_t axes, struct qv_pack_axes **out,
                      double *share)
{
    const uint32_t dim = sample->dim;
    const uint32_t n = axes + SPARE < dim ? axes + SPARE : dim;
    struct qv_pack_axes *a = axes_create(dim, axes);
    /* moments, two sets of directions, a row, the mean, planes of a query */
    float *work = qv_mem_try_alloc(
        ((size_t)dim * dim + 2 * (size_t)n * dim + 4 * (size_t)dim + 64) * sizeof *work);
    if (a == NULL || work == NULL) {
        qv_pack_axes_destroy(&a);
        qv_mem_free(work);
        return QV_ENOMEM;
    }
    float *v = work + (size_t)dim * dim;
    float *next = v + (size_t)n * dim;
    float *row = next + (size_t)n * dim;
    float *mean = row + dim;
    find_mean(sample, mean);
    find_moments(sample, mean, row, work);
    iterate(work, v, next, n, dim);
    for (uint32_t i = 0; i < axes; i++) {
        round_axis(a, i, v + (size_t)i * dim);
        a->all[i] = i;
    }
    a->centre = sample->bytes ? CENTRE : 0;
    memcpy(a->middle, mean, dim * sizeof *mean);
    a->mean_squares = dot(mean, mean, dim);
    *share = share_kept(work, v, axes, dim, row);
    qv_pack_axes_project(a, mean, (int8_t *)(mean + dim), next); /* a->mean is zero still */
    memcpy(a->mean, next, axes * sizeof *next);
    qv_mem_free(work);
    *out = a;
    return 0;
}

double qv_pack_axes_mean_product(const struct qv_pack_axes *a, const float *elements)
{
    return dot(a->middle, elements, a->dim);
}

void qv_pack_axes_project(const struct qv_pack_axes *a, const float *elements, int8_t *planes,
                          float *out)
{
    struct qv_codes_query q;
    const struct qv_codes_rows rows = {a->rows, a->stride, 0};
    qv_codes_encode_query(QV_CODES_8, elements, a->dim, a->centre, planes, &q);
    qv_codes_products(QV_CODES_8)(&q, &rows, a->all, a->axes, out);
    for (uint32_t i = 0; i < a->axes; i++)
        out[i] = q.sum * a->per_sum[i] + q.scale * a->per_product[i] * out[i] - a->mean[i];
}
