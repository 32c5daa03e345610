/* Half precision by NEON, four at a time: the same bits as the plain C. */
#include "simd/convert_wide.h"

#include "simd/neon.h"

size_t qv_convert_f32_to_f16_wide(const void *src, void *dst, size_t dim)
{
    size_t i = 0;
    for (; i + 4 <= dim; i += 4) {
        const float32x4_t x = vreinterpretq_f32_u8(vld1q_u8((const uint8_t *)src + 4 * i));
        vst1_u8((uint8_t *)dst + 2 * i, vreinterpret_u8_f16(vcvt_f16_f32(x)));
    }
    return i;
}

size_t qv_convert_f16_to_f32_wide(const void *src, void *dst, size_t dim)
{
    size_t i = 0;
    for (; i + 4 <= dim; i += 4) {
        const float16x4_t h = vreinterpret_f16_u8(vld1_u8((const uint8_t *)src + 2 * i));
        vst1q_u8((uint8_t *)dst + 4 * i, vreinterpretq_u8_f32(vcvt_f32_f16(h)));
    }
    return i;
}
