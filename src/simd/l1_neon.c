/* Manhattan distance, NEON. */
#include "simd/neon.h"

#define STEP(x16, y16)                                                                             \
    do {                                                                                           \
        const struct qv_neon16 x = (x16);                                                          \
        const struct qv_neon16 y = (y16);                                                          \
        for (size_t k = 0; k < 4; ++k)                                                             \
            s.v[k] = vaddq_f32(s.v[k], vabdq_f32(x.v[k], y.v[k]));                                 \
    } while (0)

#define DEFINE_L1(dt, width)                                                                       \
    QV_ALWAYS_INLINE float l1_##dt(const uint8_t *a, const uint8_t *b, size_t dim)                 \
    {                                                                                              \
        struct qv_neon16 s = qv_neon_zero();                                                       \
        QV_NEON_FLOATS(dt, STEP);                                                                  \
        return qv_neon_fold(s);                                                                    \
    }                                                                                              \
    QV_KERNEL_DEFINE(l1, dt, neon, l1_##dt, width, )

DEFINE_L1(f32, 4)
DEFINE_L1(f16, 2)

#define STEP_U8(x, y) sum = vpadalq_u16(sum, vpaddlq_u8(vabdq_u8(x, y)))

QV_ALWAYS_INLINE float l1_u8(const uint8_t *a, const uint8_t *b, size_t dim)
{
    uint32x4_t sum = vdupq_n_u32(0);
    QV_NEON_BYTES(STEP_U8);
    return (float)vaddvq_u32(sum);
}

QV_KERNEL_DEFINE(l1, u8, neon, l1_u8, 1, )
