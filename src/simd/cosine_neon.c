/* One minus the cosine, NEON: one pass for the inner product and both squared lengths. */
#include "simd/neon.h"

#define STEP(x16, y16)                                                                             \
    do {                                                                                           \
        const struct qv_neon16 x = (x16);                                                          \
        const struct qv_neon16 y = (y16);                                                          \
        for (size_t k = 0; k < 4; ++k) {                                                           \
            ab.v[k] = vfmaq_f32(ab.v[k], x.v[k], y.v[k]);                                          \
            aa.v[k] = vfmaq_f32(aa.v[k], x.v[k], x.v[k]);                                          \
            bb.v[k] = vfmaq_f32(bb.v[k], y.v[k], y.v[k]);                                          \
        }                                                                                          \
    } while (0)

#define DEFINE_COSINE(dt, width)                                                                   \
    QV_ALWAYS_INLINE float cosine_##dt(const uint8_t *a, const uint8_t *b, size_t dim)             \
    {                                                                                              \
        struct qv_neon16 ab = qv_neon_zero();                                                      \
        struct qv_neon16 aa = qv_neon_zero();                                                      \
        struct qv_neon16 bb = qv_neon_zero();                                                      \
        QV_NEON_FLOATS(dt, STEP);                                                                  \
        return qv_finish_cosine(qv_neon_fold(ab), qv_neon_fold(aa), qv_neon_fold(bb));             \
    }                                                                                              \
    QV_KERNEL_DEFINE(cosine, dt, neon, cosine_##dt, width, )

DEFINE_COSINE(f32, 4)
DEFINE_COSINE(f16, 2)

#define STEP_U8(x16, y16)                                                                          \
    do {                                                                                           \
        const uint8x16_t x = (x16);                                                                \
        const uint8x16_t y = (y16);                                                                \
        ab = qv_neon_add_products(ab, x, y);                                                       \
        aa = qv_neon_add_products(aa, x, x);                                                       \
        bb = qv_neon_add_products(bb, y, y);                                                       \
    } while (0)

QV_ALWAYS_INLINE float cosine_u8(const uint8_t *a, const uint8_t *b, size_t dim)
{
    uint32x4_t ab = vdupq_n_u32(0);
    uint32x4_t aa = vdupq_n_u32(0);
    uint32x4_t bb = vdupq_n_u32(0);
    QV_NEON_BYTES(STEP_U8);
    return qv_finish_cosine_u32(vaddvq_u32(ab), vaddvq_u32(aa), vaddvq_u32(bb));
}

QV_KERNEL_DEFINE(cosine, u8, neon, cosine_u8, 1, )
