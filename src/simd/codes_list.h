/* Private to src/simd: the kernels over codes, made from the product of a query with one row. */
#ifndef QV_SIMD_CODES_LIST_H
#define QV_SIMD_CODES_LIST_H

#include "simd/batch.h"
#include "simd/codes.h"

#define QV_CODES_DECLARE(isa)                                                                      \
    void qv_codes_products4_##isa(const struct qv_codes_query *query,                              \
                                  const struct qv_codes_rows *rows, const uint32_t *slots,         \
                                  size_t n, float *out);                                           \
    void qv_codes_products8_##isa(const struct qv_codes_query *query,                              \
                                  const struct qv_codes_rows *rows, const uint32_t *slots,         \
                                  size_t n, float *out);

QV_CODES_DECLARE(serial)
#ifdef __x86_64__
QV_CODES_DECLARE(avx2)
QV_CODES_DECLARE(avx512vnni)
#endif
#ifdef __aarch64__
QV_CODES_DECLARE(neon)
#endif

/* What a query's elements less shift are like. */
struct qv_codes_extent {
    float largest; /* magnitude */
    float sum, squares;
    bool whole;  /* all of them whole numbers */
    bool narrow; /* all from -128 to 127 */
};

#define QV_CODES_NARROW_LOW (-128.0f)
#define QV_CODES_NARROW_HIGH 127.0f

typedef struct qv_codes_extent (*qv_codes_look_f)(const float *query, size_t dim, float shift);
/* (query - shift) * inverse to the nearest whole number, in two planes, or in low alone. */
typedef void (*qv_codes_round_f)(const float *query, size_t n, float shift, float inverse,
                                 int8_t *low, int8_t *high);

struct qv_codes_extent qv_codes_look_serial(const float *query, size_t dim, float shift);
void qv_codes_round_serial(const float *query, size_t n, float shift, float inverse, int8_t *low,
                           int8_t *high);
#ifdef __x86_64__
struct qv_codes_extent qv_codes_look_avx2(const float *query, size_t dim, float shift);
void qv_codes_round_avx2(const float *query, size_t n, float shift, float inverse, int8_t *low,
                         int8_t *high);
#endif

/* The loop over rows around product(query, row, steps, wide), a static inline kernel. */
#define QV_CODES_LOOP(product, steps, wide)                                                        \
    for (size_t i = 0; i < n; ++i) {                                                               \
        if (i + QV_BATCH_AHEAD < n)                                                                \
            qv_prefetch_row(rows->base + (size_t)slots[i + QV_BATCH_AHEAD] * rows->stride,         \
                            rows->prefetch_bytes);                                                 \
        out[i] = product(query, rows->base + (size_t)slots[i] * rows->stride, steps, wide);        \
    }

/* Widths of one and two steps have loops of their own: the query stays in registers. */
#define QV_CODES_DEFINE(width, isa, product, attr)                                                 \
    attr void qv_codes_products##width##_##isa(const struct qv_codes_query *query,                 \
                                               const struct qv_codes_rows *rows,                   \
                                               const uint32_t *slots, size_t n, float *out)        \
    {                                                                                              \
        for (size_t i = 0; i < n && i < QV_BATCH_AHEAD; ++i)                                       \
            qv_prefetch_row(rows->base + (size_t)slots[i] * rows->stride, rows->prefetch_bytes);   \
        if (query->high != NULL && query->steps == 1) {                                            \
            QV_CODES_LOOP(product, 1, true)                                                        \
        } else if (query->high != NULL && query->steps == 2) {                                     \
            QV_CODES_LOOP(product, 2, true)                                                        \
        } else if (query->high != NULL) {                                                          \
            QV_CODES_LOOP(product, query->steps, true)                                             \
        } else if (query->steps == 2) {                                                            \
            QV_CODES_LOOP(product, 2, false)                                                       \
        } else {                                                                                   \
            QV_CODES_LOOP(product, query->steps, false)                                            \
        }                                                                                          \
    }

#endif
