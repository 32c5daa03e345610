/* Products of a query with codes, NEON. */
#include "simd/codes_list.h"
#include "simd/neon.h"

QV_ALWAYS_INLINE float fold(int32x4_t low, int32x4_t high)
{
    const float32x4_t f = vaddq_f32(vcvtq_f32_s32(low), vmulq_n_f32(vcvtq_f32_s32(high), 128.0f));
    return vaddvq_f32(f);
}

/* sum + the products of 16 codes below 16 and 16 signed bytes: pairs fit 16 bits. */
QV_ALWAYS_INLINE int32x4_t add4(int32x4_t sum, uint8x16_t codes, const int8_t *plane)
{
    const int8x16_t c = vreinterpretq_s8_u8(codes);
    const int8x16_t x = vld1q_s8(plane);
    sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(c), vget_low_s8(x)));
    return vpadalq_s16(sum, vmull_s8(vget_high_s8(c), vget_high_s8(x)));
}

QV_ALWAYS_INLINE float product4(const struct qv_codes_query *q, const uint8_t *row, size_t steps,
                                bool wide)
{
    int32x4_t low = vdupq_n_s32(0);
    int32x4_t high = low;
    for (size_t i = 0; i < steps; ++i) {
        for (size_t j = 0; j < 64; j += 16) {
            const uint8x16_t v = vld1q_u8(row + 64 * i + j);
            const uint8x16_t a = vandq_u8(v, vdupq_n_u8(15));
            const uint8x16_t b = vshrq_n_u8(v, 4);
            low = add4(add4(low, a, q->low + 128 * i + j), b, q->low + 128 * i + 64 + j);
            if (wide)
                high = add4(add4(high, a, q->high + 128 * i + j), b, q->high + 128 * i + 64 + j);
        }
    }
    return wide ? fold(low, high) : (float)vaddvq_s32(low);
}

QV_ALWAYS_INLINE int32x4_t add8(int32x4_t sum, uint8x16_t codes, const int8_t *plane)
{
    const int16x8_t a = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(codes)));
    const int16x8_t b = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(codes)));
    const int16x8_t x = vmovl_s8(vld1_s8(plane));
    const int16x8_t y = vmovl_s8(vld1_s8(plane + 8));
    sum = vmlal_s16(sum, vget_low_s16(a), vget_low_s16(x));
    sum = vmlal_s16(sum, vget_high_s16(a), vget_high_s16(x));
    sum = vmlal_s16(sum, vget_low_s16(b), vget_low_s16(y));
    return vmlal_s16(sum, vget_high_s16(b), vget_high_s16(y));
}

QV_ALWAYS_INLINE float product8(const struct qv_codes_query *q, const uint8_t *row, size_t steps,
                                bool wide)
{
    int32x4_t low = vdupq_n_s32(0);
    int32x4_t high = low;
    for (size_t i = 0; i < 64 * steps; i += 16) {
        const uint8x16_t v = vld1q_u8(row + i);
        low = add8(low, v, q->low + i);
        if (wide)
            high = add8(high, v, q->high + i);
    }
    return wide ? fold(low, high) : (float)vaddvq_s32(low);
}

QV_CODES_DEFINE(4, neon, product4, )
QV_CODES_DEFINE(8, neon, product8, )
