/* Private to src/simd: the batched form of a kernel over gathered rows.
 *
 * The rows of a walk are anywhere in memory, so each is prefetched whole, a few rows ahead of its
 * use. The kernel is inlined into the loop. */
#ifndef QV_SIMD_BATCH_H
#define QV_SIMD_BATCH_H

#include <stddef.h>
#include <stdint.h>

#define QV_LINE_BYTES 64

/* Rows in flight: enough to hide one DRAM trip, few enough for the line fill buffers. */
#define QV_BATCH_AHEAD 4

static inline __attribute__((always_inline)) void qv_prefetch_row(const uint8_t *row, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += QV_LINE_BYTES)
        __builtin_prefetch(row + at, 0, 3);
}

/* fn: a static inline kernel; width: bytes of an element; attr: the ISA's target attribute. */
#define QV_BATCH_BODY(fn, width)                                                                   \
    {                                                                                              \
        const uint8_t *rows = (const uint8_t *)base;                                               \
        const size_t row_bytes = dim * (width);                                                    \
        for (size_t i = 0; i < n && i < QV_BATCH_AHEAD; ++i)                                       \
            qv_prefetch_row(rows + (size_t)slots[i] * stride, row_bytes);                          \
        for (size_t i = 0; i < n; ++i) {                                                           \
            if (i + QV_BATCH_AHEAD < n)                                                            \
                qv_prefetch_row(rows + (size_t)slots[i + QV_BATCH_AHEAD] * stride, row_bytes);     \
            out[i] = fn(query, rows + (size_t)slots[i] * stride, dim);                             \
        }                                                                                          \
    }

/* Defines the two exported forms of the static kernel fn. */
#define QV_KERNEL_DEFINE(op, dt, isa, fn, width, attr)                                             \
    attr float qv_##op##_##dt##_##isa(const void *a, const void *b, size_t dim)                    \
    {                                                                                              \
        return fn((const uint8_t *)a, (const uint8_t *)b, dim);                                    \
    }                                                                                              \
    attr void qv_##op##_##dt##_##isa##_batch(const void *query, const void *base, size_t stride,   \
                                             const uint32_t *slots, size_t n, size_t dim,          \
                                             float *out) QV_BATCH_BODY(fn, width)

#endif
