/* Private to src/simd: the batched form of a kernel over gathered rows. The kernel is inlined into
 * the loop.
 *
 * The rows of a walk are anywhere in memory, so each is prefetched some rows ahead of its use; of a
 * long row only the beginning, since the processor's own prefetcher follows from there and asking
 * for more fills its queues. ns a row from DRAM, AVX-512 l2, 4 KB pages (bench_kernels, min):
 *
 *     rows ahead, lines    f32 128   u8 128   f16 784   f32 784   u8 784
 *     none (single calls)       93       82       402       352      284
 *     4, whole rows             83       44       360       352      162
 *     8, whole rows             85       37       370       406      154
 *     8, 4 lines                76       37       297       281      167
 *     8, 12 lines               83       37       275       293      152
 */
#ifndef QV_SIMD_BATCH_H
#define QV_SIMD_BATCH_H

#include "base/mem.h"

#include <stddef.h>
#include <stdint.h>

#define QV_BATCH_AHEAD 8
#define QV_PREFETCH_LINES_MAX 12

static inline __attribute__((always_inline)) void qv_prefetch_row(const uint8_t *row, size_t bytes)
{
    if (bytes > QV_PREFETCH_LINES_MAX * QV_CACHE_LINE)
        bytes = QV_PREFETCH_LINES_MAX * QV_CACHE_LINE;
    for (size_t at = 0; at < bytes; at += QV_CACHE_LINE)
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
