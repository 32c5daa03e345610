/* Private to src/simd: what the NEON kernels share. Everything here is in the base instruction set
 * of 64-bit ARM (ARMv8.0-A), half precision conversions included, so nothing is asked at run time.
 * Tails are copied beside zeros: nothing outside a row is read. */
#ifndef QV_SIMD_NEON_H
#define QV_SIMD_NEON_H

#include "simd/batch.h"
#include "simd/finish.h"
#include "simd/kernel_list.h"

#include <arm_neon.h>
#include <stdbool.h>
#include <string.h>

#define QV_ALWAYS_INLINE static inline __attribute__((always_inline))

/* Sixteen elements of a row, as float: lanes 4k .. 4k + 3 in v[k]. */
struct qv_neon16 {
    float32x4_t v[4];
};

QV_ALWAYS_INLINE struct qv_neon16 qv_load16_f32(const uint8_t *row, size_t i)
{
    struct qv_neon16 x;
    for (size_t k = 0; k < 4; ++k)
        x.v[k] = vreinterpretq_f32_u8(vld1q_u8(row + 4 * i + 16 * k));
    return x;
}

QV_ALWAYS_INLINE struct qv_neon16 qv_load16_f16(const uint8_t *row, size_t i)
{
    struct qv_neon16 x;
    for (size_t k = 0; k < 4; ++k)
        x.v[k] = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(row + 2 * i + 8 * k)));
    return x;
}

QV_ALWAYS_INLINE struct qv_neon16 qv_widen16_u8(uint8x16_t bytes)
{
    const uint16x8_t low = vmovl_u8(vget_low_u8(bytes));
    const uint16x8_t high = vmovl_u8(vget_high_u8(bytes));
    return (struct qv_neon16){{vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))),
                               vcvtq_f32_u32(vmovl_u16(vget_high_u16(low))),
                               vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))),
                               vcvtq_f32_u32(vmovl_u16(vget_high_u16(high)))}};
}

QV_ALWAYS_INLINE struct qv_neon16 qv_load16_u8(const uint8_t *row, size_t i)
{
    return qv_widen16_u8(vld1q_u8(row + i));
}

/* The last n < 16 of them, the rest zero. */
#define QV_NEON_TAIL(dt, width)                                                                    \
    QV_ALWAYS_INLINE struct qv_neon16 qv_tail16_##dt(const uint8_t *row, size_t i, size_t n)       \
    {                                                                                              \
        uint8_t bytes[16 * (width)] = {0};                                                         \
        memcpy(bytes, row + (width)*i, (width)*n);                                                 \
        return qv_load16_##dt(bytes, 0);                                                           \
    }

QV_NEON_TAIL(f32, 4)
QV_NEON_TAIL(f16, 2)
QV_NEON_TAIL(u8, 1)

QV_ALWAYS_INLINE struct qv_neon16 qv_neon_zero(void)
{
    const float32x4_t zero = vdupq_n_f32(0.0f);
    return (struct qv_neon16){{zero, zero, zero, zero}};
}

/* The sixteen lanes folded 16 -> 8 -> 4 -> 2 -> 1, as simd/score.h has it. */
QV_ALWAYS_INLINE float qv_neon_fold(struct qv_neon16 s)
{
    const float32x4_t four = vaddq_f32(vaddq_f32(s.v[0], s.v[2]), vaddq_f32(s.v[1], s.v[3]));
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

/* Walks two rows by sixteen elements: step(x, y). */
#define QV_NEON_FLOATS(dt, step)                                                                   \
    size_t i = 0;                                                                                  \
    for (; i + 16 <= dim; i += 16)                                                                 \
        step(qv_load16_##dt(a, i), qv_load16_##dt(b, i));                                          \
    if (i < dim)                                                                                   \
    step(qv_tail16_##dt(a, i, dim - i), qv_tail16_##dt(b, i, dim - i))

QV_ALWAYS_INLINE uint8x16_t qv_tail16_bytes(const uint8_t *row, size_t n)
{
    uint8_t bytes[16] = {0};
    memcpy(bytes, row, n);
    return vld1q_u8(bytes);
}

/* The same for bytes as they are. */
#define QV_NEON_BYTES(step)                                                                        \
    size_t i = 0;                                                                                  \
    for (; i + 16 <= dim; i += 16)                                                                 \
        step(vld1q_u8(a + i), vld1q_u8(b + i));                                                    \
    if (i < dim)                                                                                   \
    step(qv_tail16_bytes(a + i, dim - i), qv_tail16_bytes(b + i, dim - i))

/* sum += the sixteen products, exactly. */
QV_ALWAYS_INLINE uint32x4_t qv_neon_add_products(uint32x4_t sum, uint8x16_t x, uint8x16_t y)
{
    sum = vpadalq_u16(sum, vmull_u8(vget_low_u8(x), vget_low_u8(y)));
    return vpadalq_u16(sum, vmull_u8(vget_high_u8(x), vget_high_u8(y)));
}

#endif
