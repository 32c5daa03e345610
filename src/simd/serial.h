/* Private to src/simd: the distances in plain C, in the order that simd/score.h defines: sixteen
 * partial sums, lane j taking the elements j, j + 16, ..., folded 16 -> 8 -> 4 -> 2 -> 1. Nothing
 * here may be contracted or reassociated: the build says -ffp-contract=off and has no fast-math.
 *
 * The loops over lanes are apart, one a sum, because compilers turn those into vectors and a loop
 * over three sums not (cosine of 128 floats with gcc 12: 148 ns against 46). A tail's missing
 * elements are zeros: they add +0, which changes no sum, since none is ever -0. */
#ifndef QV_SIMD_SERIAL_H
#define QV_SIMD_SERIAL_H

#include "base/half.h"
#include "simd/finish.h"

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

_Static_assert(FLT_EVAL_METHOD == 0, "sums must round to float at every step");

#define QV_LANES 16
#define QV_SERIAL_INLINE static inline __attribute__((always_inline))

/* Lane j = element i + j of an unaligned row, exactly, as float; from n on zero. */
QV_SERIAL_INLINE void qv_load_lanes_f32(const uint8_t *row, size_t i, size_t n, float *lanes)
{
    memcpy(lanes, row + 4 * i, 4 * n);
    memset(lanes + n, 0, 4 * (QV_LANES - n));
}

QV_SERIAL_INLINE void qv_load_lanes_f16(const uint8_t *row, size_t i, size_t n, float *lanes)
{
    uint16_t halves[QV_LANES] = {0};
    memcpy(halves, row + 2 * i, 2 * n);
    for (size_t j = 0; j < QV_LANES; ++j)
        lanes[j] = qv_half_to_f32(halves[j]);
}

QV_SERIAL_INLINE void qv_load_lanes_u8(const uint8_t *row, size_t i, size_t n, float *lanes)
{
    uint8_t bytes[QV_LANES] = {0};
    memcpy(bytes, row + i, n);
    for (size_t j = 0; j < QV_LANES; ++j)
        lanes[j] = (float)bytes[j];
}

QV_SERIAL_INLINE void qv_add_squares(float *s, const float *x, const float *y)
{
    for (size_t j = 0; j < QV_LANES; ++j) {
        const float d = x[j] - y[j];
        s[j] += d * d;
    }
}

QV_SERIAL_INLINE void qv_add_products(float *s, const float *x, const float *y)
{
    for (size_t j = 0; j < QV_LANES; ++j)
        s[j] += x[j] * y[j];
}

QV_SERIAL_INLINE void qv_add_distances(float *s, const float *x, const float *y)
{
    for (size_t j = 0; j < QV_LANES; ++j)
        s[j] += fabsf(x[j] - y[j]);
}

QV_SERIAL_INLINE float qv_fold_lanes(float *s)
{
    for (size_t width = QV_LANES / 2; width != 0; width /= 2)
        for (size_t j = 0; j < width; ++j)
            s[j] += s[j + width];
    return s[0];
}

/* Runs step with x and y the next lanes of rows a and b: whole groups, then the tail. */
#define QV_SERIAL_ROWS(dt, step)                                                                   \
    float x[QV_LANES];                                                                             \
    float y[QV_LANES];                                                                             \
    size_t i = 0;                                                                                  \
    for (; i + QV_LANES <= dim; i += QV_LANES) {                                                   \
        qv_load_lanes_##dt(a, i, QV_LANES, x);                                                     \
        qv_load_lanes_##dt(b, i, QV_LANES, y);                                                     \
        step;                                                                                      \
    }                                                                                              \
    if (i < dim) {                                                                                 \
        qv_load_lanes_##dt(a, i, dim - i, x);                                                      \
        qv_load_lanes_##dt(b, i, dim - i, y);                                                      \
        step;                                                                                      \
    }

/* qv_serial_<operation>_<dtype>(a, b, dim): the defined sums, before a NaN is made canonical. */
#define QV_SERIAL_DEFINE(dt)                                                                       \
    QV_SERIAL_INLINE float qv_serial_l2_##dt(const uint8_t *a, const uint8_t *b, size_t dim)       \
    {                                                                                              \
        float s[QV_LANES] = {0};                                                                   \
        QV_SERIAL_ROWS(dt, qv_add_squares(s, x, y))                                                \
        return qv_fold_lanes(s);                                                                   \
    }                                                                                              \
    QV_SERIAL_INLINE float qv_serial_dot_##dt(const uint8_t *a, const uint8_t *b, size_t dim)      \
    {                                                                                              \
        float s[QV_LANES] = {0};                                                                   \
        QV_SERIAL_ROWS(dt, qv_add_products(s, x, y))                                               \
        return qv_finish_dot(qv_fold_lanes(s));                                                    \
    }                                                                                              \
    QV_SERIAL_INLINE float qv_serial_cosine_##dt(const uint8_t *a, const uint8_t *b, size_t dim)   \
    {                                                                                              \
        float ab[QV_LANES] = {0};                                                                  \
        float aa[QV_LANES] = {0};                                                                  \
        float bb[QV_LANES] = {0};                                                                  \
        QV_SERIAL_ROWS(dt, qv_add_products(ab, x, y); qv_add_products(aa, x, x);                   \
                       qv_add_products(bb, y, y))                                                  \
        return qv_finish_cosine(qv_fold_lanes(ab), qv_fold_lanes(aa), qv_fold_lanes(bb));          \
    }                                                                                              \
    QV_SERIAL_INLINE float qv_serial_l1_##dt(const uint8_t *a, const uint8_t *b, size_t dim)       \
    {                                                                                              \
        float s[QV_LANES] = {0};                                                                   \
        QV_SERIAL_ROWS(dt, qv_add_distances(s, x, y))                                              \
        return qv_fold_lanes(s);                                                                   \
    }

#endif
