/* The canonical score's entry: which kernels, and the loop over gathered rows. */
#include "simd/score.h"

#include "base/qv_assert.h"
#include "simd/batch.h"
#include "simd/score_list.h"

struct qv_score_kernel {
    qv_score_rows_f one;
    qv_score_rows_f four;
};

#define KERNEL(op, dt, isa)                                                                        \
    {                                                                                              \
        qv_score_##op##_##dt##_##isa##_one, qv_score_##op##_##dt##_##isa##_four                    \
    }
#define KERNELS_OF_DTYPES(op, isa)                                                                 \
    {                                                                                              \
        [QV_DTYPE_F32] = KERNEL(op, f32, isa), [QV_DTYPE_F16] = KERNEL(op, f16, isa),              \
        [QV_DTYPE_U8] = KERNEL(op, u8, isa),                                                       \
    }
#define KERNELS_OF_ISA(isa)                                                                        \
    {                                                                                              \
        [QV_METRIC_L2] = KERNELS_OF_DTYPES(l2, isa),                                               \
        [QV_METRIC_DOT] = KERNELS_OF_DTYPES(dot, isa),                                             \
        [QV_METRIC_COSINE] = KERNELS_OF_DTYPES(cosine, isa),                                       \
        [QV_METRIC_L1] = KERNELS_OF_DTYPES(l1, isa),                                               \
    }

static const struct qv_score_kernel kernels[QV_ISA_COUNT][QV_METRIC_COUNT][QV_DTYPE_COUNT] = {
    [QV_ISA_SERIAL] = KERNELS_OF_ISA(serial),
#ifdef __x86_64__
    [QV_ISA_AVX2] = KERNELS_OF_ISA(avx2),
    [QV_ISA_AVX512] = KERNELS_OF_ISA(avx512),
#endif
#ifdef __aarch64__
    [QV_ISA_NEON] = KERNELS_OF_ISA(neon),
#endif
};

static const struct qv_score_kernel *find_kernel(enum qv_isa isa, enum qv_metric metric,
                                                 enum qv_dtype dtype)
{
    QV_ASSERT((unsigned)isa < QV_ISA_COUNT);
    QV_ASSERT((unsigned)metric < QV_METRIC_COUNT);
    QV_ASSERT((unsigned)dtype < QV_DTYPE_COUNT);
    return &kernels[isa][metric][dtype];
}

void qv_score_init(struct qv_scorer *s, enum qv_metric metric, enum qv_dtype dtype, size_t dim)
{
    QV_ASSERT(dim >= 1 && dim <= QV_SIMD_DIM_MAX);
    *s = (struct qv_scorer){find_kernel(qv_simd_isa(), metric, dtype), metric, dtype, dim};
}

int qv_score_init_isa(struct qv_scorer *s, enum qv_isa isa, enum qv_metric metric,
                      enum qv_dtype dtype, size_t dim)
{
    if (qv_simd_dist_isa(isa, metric, dtype) == NULL)
        return QV_EINVAL;
    QV_ASSERT(dim >= 1 && dim <= QV_SIMD_DIM_MAX);
    *s = (struct qv_scorer){find_kernel(isa, metric, dtype), metric, dtype, dim};
    return QV_OK;
}

float qv_score_dist(enum qv_metric metric, enum qv_dtype dtype, const void *a, const void *b,
                    size_t dim)
{
    const uint8_t *rows[1] = {(const uint8_t *)b};
    float out;
    find_kernel(qv_simd_isa(), metric, dtype)->one((const uint8_t *)a, rows, dim, &out);
    return out;
}

static const uint8_t *row_at(const struct qv_gather *g, size_t i)
{
    return (const uint8_t *)g->base + (size_t)g->slots[i] * g->stride_bytes;
}

/* Groups of four rows, the next group prefetched while one is summed. */
void qv_score_batch(const struct qv_scorer *s, const void *query, const struct qv_gather *g,
                    float *out)
{
    const size_t row_bytes = s->dim * qv_dtype_bytes(s->dtype);
    const uint8_t *rows[QV_SCORE_ROWS];
    size_t i = 0;

    for (; i + QV_SCORE_ROWS <= g->n; i += QV_SCORE_ROWS) {
        for (size_t r = 0; r < QV_SCORE_ROWS; ++r) {
            rows[r] = row_at(g, i + r);
            if (i + QV_SCORE_ROWS + r < g->n)
                qv_prefetch_row(row_at(g, i + QV_SCORE_ROWS + r), row_bytes);
        }
        s->kernel->four((const uint8_t *)query, rows, s->dim, out + i);
    }
    for (; i < g->n; ++i) {
        rows[0] = row_at(g, i);
        s->kernel->one((const uint8_t *)query, rows, s->dim, out + i);
    }
}
