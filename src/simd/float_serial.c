/* Plain C kernels for f32 and f16 rows: the sums of simd/score.h in its order, so on a machine
 * with nothing wider, walk and score agree to the bit. */
#include "simd/batch.h"
#include "simd/kernel_list.h"
#include "simd/serial.h"

/* The loop over a row: whole groups of 16, then the tail into the first lanes. step(j) adds
 * element i + j of x and y to the partial sums of lane j. */
#define SUM_LANES(dt, step)                                                                        \
    size_t i = 0;                                                                                  \
    for (; i + QV_LANES <= dim; i += QV_LANES)                                                     \
        for (size_t j = 0; j < QV_LANES; ++j) {                                                    \
            const float x = qv_load1_##dt(a, i + j);                                               \
            const float y = qv_load1_##dt(b, i + j);                                               \
            step;                                                                                  \
        }                                                                                          \
    for (size_t j = 0; i + j < dim; ++j) {                                                         \
        const float x = qv_load1_##dt(a, i + j);                                                   \
        const float y = qv_load1_##dt(b, i + j);                                                   \
        step;                                                                                      \
    }

#define DEFINE_FLOAT_SERIAL(dt, width)                                                             \
    static inline float l2_##dt(const uint8_t *a, const uint8_t *b, size_t dim)                    \
    {                                                                                              \
        float s[QV_LANES] = {0};                                                                   \
        SUM_LANES(dt, const float d = x - y; s[j] += d * d)                                        \
        return qv_reduce_lanes(s);                                                                 \
    }                                                                                              \
    static inline float dot_##dt(const uint8_t *a, const uint8_t *b, size_t dim)                   \
    {                                                                                              \
        float s[QV_LANES] = {0};                                                                   \
        SUM_LANES(dt, s[j] += x * y)                                                               \
        return qv_finish_dot(qv_reduce_lanes(s));                                                  \
    }                                                                                              \
    static inline float cosine_##dt(const uint8_t *a, const uint8_t *b, size_t dim)                \
    {                                                                                              \
        float ab[QV_LANES] = {0};                                                                  \
        float aa[QV_LANES] = {0};                                                                  \
        float bb[QV_LANES] = {0};                                                                  \
        SUM_LANES(dt, ab[j] += x * y; aa[j] += x * x; bb[j] += y * y)                              \
        return qv_finish_cosine(qv_reduce_lanes(ab), qv_reduce_lanes(aa), qv_reduce_lanes(bb));    \
    }                                                                                              \
    static inline float l1_##dt(const uint8_t *a, const uint8_t *b, size_t dim)                    \
    {                                                                                              \
        float s[QV_LANES] = {0};                                                                   \
        SUM_LANES(dt, s[j] += fabsf(x - y))                                                        \
        return qv_reduce_lanes(s);                                                                 \
    }                                                                                              \
    QV_KERNEL_DEFINE(l2, dt, serial, l2_##dt, width, )                                             \
    QV_KERNEL_DEFINE(dot, dt, serial, dot_##dt, width, )                                           \
    QV_KERNEL_DEFINE(cosine, dt, serial, cosine_##dt, width, )                                     \
    QV_KERNEL_DEFINE(l1, dt, serial, l1_##dt, width, )

DEFINE_FLOAT_SERIAL(f32, 4)
DEFINE_FLOAT_SERIAL(f16, 2)
