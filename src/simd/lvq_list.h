/* Private to src/simd: kernels over LVQ codes, made from an inner product of bytes. */
#ifndef QV_SIMD_LVQ_LIST_H
#define QV_SIMD_LVQ_LIST_H

#include "simd/batch.h"
#include "simd/finish.h"
#include "simd/lvq.h"

#include <string.h>

#define QV_LVQ_DECLARE(isa)                                                                        \
    float qv_lvq_l2_##isa(const void *a, const void *b, size_t dim);                               \
    float qv_lvq_dot_##isa(const void *a, const void *b, size_t dim);                              \
    float qv_lvq_cosine_##isa(const void *a, const void *b, size_t dim);                           \
    void qv_lvq_l2_##isa##_batch(const void *query, const void *base, size_t stride,               \
                                 const uint32_t *slots, size_t n, size_t dim, float *out);         \
    void qv_lvq_dot_##isa##_batch(const void *query, const void *base, size_t stride,              \
                                  const uint32_t *slots, size_t n, size_t dim, float *out);        \
    void qv_lvq_cosine_##isa##_batch(const void *query, const void *base, size_t stride,           \
                                     const uint32_t *slots, size_t n, size_t dim, float *out);

QV_LVQ_DECLARE(serial)
#ifdef __x86_64__
QV_LVQ_DECLARE(avx2)
QV_LVQ_DECLARE(avx512)
QV_LVQ_DECLARE(avx512vnni)
#endif
#ifdef __aarch64__
QV_LVQ_DECLARE(neon)
#endif

static inline __attribute__((always_inline)) struct qv_lvq_tail qv_lvq_tail_of(const uint8_t *code,
                                                                               size_t dim)
{
    struct qv_lvq_tail t;
    memcpy(&t, code + ((dim + 3) & ~(size_t)3), sizeof t);
    return t;
}

/* The inner product of what is decoded, from that of the codes: with x = ox + sx * a,
 * x . y = dim ox oy + ox sy sum(b) + oy sx sum(a) + sx sy (a . b). */
static inline __attribute__((always_inline)) float
qv_lvq_product(const struct qv_lvq_tail *x, const struct qv_lvq_tail *y, uint32_t codes, size_t dim)
{
    const float px = x->scale * (float)x->sum;
    const float py = y->scale * (float)y->sum;
    const float offsets = (float)dim * x->offset * y->offset;
    return offsets + (x->offset * py + y->offset * px) + x->scale * y->scale * (float)codes;
}

static inline __attribute__((always_inline)) float qv_lvq_finish_l2(const struct qv_lvq_tail *x,
                                                                    const struct qv_lvq_tail *y,
                                                                    uint32_t codes, size_t dim)
{
    const float d = (x->norm + y->norm) - 2.0f * qv_lvq_product(x, y, codes, dim);
    return d > 0.0f ? d : 0.0f; /* rounding may leave equal rows below it */
}

static inline __attribute__((always_inline)) float qv_lvq_finish_dot(const struct qv_lvq_tail *x,
                                                                     const struct qv_lvq_tail *y,
                                                                     uint32_t codes, size_t dim)
{
    return qv_finish_dot(qv_lvq_product(x, y, codes, dim));
}

static inline __attribute__((always_inline)) float qv_lvq_finish_cosine(const struct qv_lvq_tail *x,
                                                                        const struct qv_lvq_tail *y,
                                                                        uint32_t codes, size_t dim)
{
    return qv_finish_cosine(qv_lvq_product(x, y, codes, dim), x->norm, y->norm);
}

/* Defines the kernels of an ISA from product(a, b, dim, sum_of_a), the static inner product of two
 * rows of bytes, modulo 2^32. */
#define QV_LVQ_DEFINE_OP(op, isa, product, attr)                                                   \
    attr static inline __attribute__((always_inline)) float lvq_##op##_##isa(                      \
        const uint8_t *a, const uint8_t *b, size_t dim)                                            \
    {                                                                                              \
        const struct qv_lvq_tail x = qv_lvq_tail_of(a, dim);                                       \
        const struct qv_lvq_tail y = qv_lvq_tail_of(b, dim);                                       \
        return qv_lvq_finish_##op(&x, &y, product(a, b, dim, x.sum), dim);                         \
    }                                                                                              \
    attr float qv_lvq_##op##_##isa(const void *a, const void *b, size_t dim)                       \
    {                                                                                              \
        return lvq_##op##_##isa((const uint8_t *)a, (const uint8_t *)b, dim);                      \
    }                                                                                              \
    attr void qv_lvq_##op##_##isa##_batch(const void *query, const void *base, size_t stride,      \
                                          const uint32_t *slots, size_t n, size_t dim, float *out) \
    {                                                                                              \
        const uint8_t *rows = (const uint8_t *)base;                                               \
        const size_t row_bytes = qv_lvq_row_bytes(dim);                                            \
        for (size_t i = 0; i < n && i < QV_BATCH_AHEAD; ++i)                                       \
            qv_prefetch_row(rows + (size_t)slots[i] * stride, row_bytes);                          \
        for (size_t i = 0; i < n; ++i) {                                                           \
            if (i + QV_BATCH_AHEAD < n)                                                            \
                qv_prefetch_row(rows + (size_t)slots[i + QV_BATCH_AHEAD] * stride, row_bytes);     \
            out[i] =                                                                               \
                lvq_##op##_##isa((const uint8_t *)query, rows + (size_t)slots[i] * stride, dim);   \
        }                                                                                          \
    }

#define QV_LVQ_DEFINE(isa, product, attr)                                                          \
    QV_LVQ_DEFINE_OP(l2, isa, product, attr)                                                       \
    QV_LVQ_DEFINE_OP(dot, isa, product, attr)                                                      \
    QV_LVQ_DEFINE_OP(cosine, isa, product, attr)

#endif
