/* Private to src/simd: the canonical kernels of each ISA. One scores a row; four score four rows
 * against one query, each row's sums in the same order as alone, so that four chains of additions
 * hide each other's latency. */
#ifndef QV_SIMD_SCORE_LIST_H
#define QV_SIMD_SCORE_LIST_H

#include <stddef.h>
#include <stdint.h>

/* How many rows the widest form takes. */
#define QV_SCORE_ROWS 4

/* rows and out: QV_SCORE_ROWS of them in a `four`, the first in a `one`. */
typedef void (*qv_score_rows_f)(const uint8_t *query, const uint8_t *const *rows, size_t dim,
                                float *out);

#define QV_SCORE_DECLARE(op, dt, isa)                                                              \
    void qv_score_##op##_##dt##_##isa##_one(const uint8_t *query, const uint8_t *const *rows,      \
                                            size_t dim, float *out);                               \
    void qv_score_##op##_##dt##_##isa##_four(const uint8_t *query, const uint8_t *const *rows,     \
                                             size_t dim, float *out);

#define QV_SCORE_DECLARE_OPS(dt, isa)                                                              \
    QV_SCORE_DECLARE(l2, dt, isa)                                                                  \
    QV_SCORE_DECLARE(dot, dt, isa)                                                                 \
    QV_SCORE_DECLARE(cosine, dt, isa)                                                              \
    QV_SCORE_DECLARE(l1, dt, isa)

#define QV_SCORE_DECLARE_ISA(isa)                                                                  \
    QV_SCORE_DECLARE_OPS(f32, isa)                                                                 \
    QV_SCORE_DECLARE_OPS(f16, isa)                                                                 \
    QV_SCORE_DECLARE_OPS(u8, isa)

QV_SCORE_DECLARE_ISA(serial)
#ifdef __x86_64__
QV_SCORE_DECLARE_ISA(avx2)
QV_SCORE_DECLARE_ISA(avx512)
#endif
#ifdef __aarch64__
QV_SCORE_DECLARE_ISA(neon)
#endif

/* Defines the two forms of fn(query, rows, count, dim, out), a static function that is inlined
 * with a constant count. */
#define QV_SCORE_DEFINE(op, dt, isa, fn, attr)                                                     \
    attr void qv_score_##op##_##dt##_##isa##_one(const uint8_t *query, const uint8_t *const *rows, \
                                                 size_t dim, float *out)                           \
    {                                                                                              \
        fn(query, rows, 1, dim, out);                                                              \
    }                                                                                              \
    attr void qv_score_##op##_##dt##_##isa##_four(                                                 \
        const uint8_t *query, const uint8_t *const *rows, size_t dim, float *out)                  \
    {                                                                                              \
        fn(query, rows, QV_SCORE_ROWS, dim, out);                                                  \
    }

#endif
