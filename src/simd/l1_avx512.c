/* Manhattan distance, AVX-512. */
#include "simd/avx512.h"

#define STEP(k, x, y) s##k = _mm512_add_ps(s##k, _mm512_abs_ps(_mm512_sub_ps(x, y)))

#define DEFINE_L1(dt, width)                                                                       \
    QV_AVX512 QV_ALWAYS_INLINE float l1_##dt(const uint8_t *a, const uint8_t *b, size_t dim)       \
    {                                                                                              \
        QV_AVX512_ZERO4(s);                                                                        \
        QV_AVX512_FLOATS(dt, STEP);                                                                \
        return QV_AVX512_SUM4(s);                                                                  \
    }                                                                                              \
    QV_KERNEL_DEFINE(l1, dt, avx512, l1_##dt, width, QV_AVX512)

DEFINE_L1(f32, 4)
DEFINE_L1(f16, 2)

#define STEP_U8(x, y) sums = _mm512_add_epi64(sums, _mm512_sad_epu8(x, y))

QV_AVX512 QV_ALWAYS_INLINE float l1_u8(const uint8_t *a, const uint8_t *b, size_t dim)
{
    __m512i sums = _mm512_setzero_si512();
    QV_AVX512_BYTES(STEP_U8);
    return (float)(uint32_t)_mm512_reduce_add_epi64(sums);
}

QV_KERNEL_DEFINE(l1, u8, avx512, l1_u8, 1, QV_AVX512)
