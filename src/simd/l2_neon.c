/* Squared euclidean distance, NEON. */
#include "simd/neon.h"

#define STEP(x16, y16)                                                                             \
    do {                                                                                           \
        const struct qv_neon16 x = (x16);                                                          \
        const struct qv_neon16 y = (y16);                                                          \
        for (size_t k = 0; k < 4; ++k) {                                                           \
            const float32x4_t d = vsubq_f32(x.v[k], y.v[k]);                                       \
            s.v[k] = vfmaq_f32(s.v[k], d, d);                                                      \
        }                                                                                          \
    } while (0)

#define DEFINE_L2(dt, width)                                                                       \
    QV_ALWAYS_INLINE float l2_##dt(const uint8_t *a, const uint8_t *b, size_t dim)                 \
    {                                                                                              \
        struct qv_neon16 s = qv_neon_zero();                                                       \
        QV_NEON_FLOATS(dt, STEP);                                                                  \
        return qv_neon_fold(s);                                                                    \
    }                                                                                              \
    QV_KERNEL_DEFINE(l2, dt, neon, l2_##dt, width, )

DEFINE_L2(f32, 4)
DEFINE_L2(f16, 2)

#define STEP_U8(x, y)                                                                              \
    do {                                                                                           \
        const uint8x16_t d = vabdq_u8(x, y);                                                       \
        sum = qv_neon_add_products(sum, d, d);                                                     \
    } while (0)

QV_ALWAYS_INLINE float l2_u8(const uint8_t *a, const uint8_t *b, size_t dim)
{
    uint32x4_t sum = vdupq_n_u32(0);
    QV_NEON_BYTES(STEP_U8);
    return (float)vaddvq_u32(sum);
}

QV_KERNEL_DEFINE(l2, u8, neon, l2_u8, 1, )
