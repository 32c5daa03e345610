/* Negated inner product, NEON. */
#include "simd/neon.h"

#define STEP(x16, y16)                                                                             \
    do {                                                                                           \
        const struct qv_neon16 x = (x16);                                                          \
        const struct qv_neon16 y = (y16);                                                          \
        for (size_t k = 0; k < 4; ++k)                                                             \
            s.v[k] = vfmaq_f32(s.v[k], x.v[k], y.v[k]);                                            \
    } while (0)

#define DEFINE_DOT(dt, width)                                                                      \
    QV_ALWAYS_INLINE float dot_##dt(const uint8_t *a, const uint8_t *b, size_t dim)                \
    {                                                                                              \
        struct qv_neon16 s = qv_neon_zero();                                                       \
        QV_NEON_FLOATS(dt, STEP);                                                                  \
        return qv_finish_dot(qv_neon_fold(s));                                                     \
    }                                                                                              \
    QV_KERNEL_DEFINE(dot, dt, neon, dot_##dt, width, )

DEFINE_DOT(f32, 4)
DEFINE_DOT(f16, 2)

#define STEP_U8(x, y) sum = qv_neon_add_products(sum, x, y)

QV_ALWAYS_INLINE float dot_u8(const uint8_t *a, const uint8_t *b, size_t dim)
{
    uint32x4_t sum = vdupq_n_u32(0);
    QV_NEON_BYTES(STEP_U8);
    return qv_finish_dot((float)vaddvq_u32(sum));
}

QV_KERNEL_DEFINE(dot, u8, neon, dot_u8, 1, )
