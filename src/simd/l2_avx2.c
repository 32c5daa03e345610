/* Squared euclidean distance, AVX2. */
#include "simd/avx2.h"

#define STEP(k, x, y)                                                                              \
    do {                                                                                           \
        const __m256 d = _mm256_sub_ps(x, y);                                                      \
        s##k = _mm256_fmadd_ps(d, d, s##k);                                                        \
    } while (0)

#define DEFINE_L2(dt, width)                                                                       \
    QV_AVX2 QV_ALWAYS_INLINE float l2_##dt(const uint8_t *a, const uint8_t *b, size_t dim)         \
    {                                                                                              \
        QV_AVX2_ZERO4(s);                                                                          \
        QV_AVX2_FLOATS(dt, STEP);                                                                  \
        return QV_AVX2_SUM4(s);                                                                    \
    }                                                                                              \
    QV_KERNEL_DEFINE(l2, dt, avx2, l2_##dt, width, QV_AVX2)

DEFINE_L2(f32, 4)
DEFINE_L2(f16, 2)

#define STEP_U8(k, x, y)                                                                           \
    do {                                                                                           \
        const __m256i d = _mm256_sub_epi16(x, y);                                                  \
        s##k = _mm256_add_epi32(s##k, _mm256_madd_epi16(d, d));                                    \
    } while (0)

QV_AVX2 QV_ALWAYS_INLINE float l2_u8(const uint8_t *a, const uint8_t *b, size_t dim)
{
    __m256i s0 = _mm256_setzero_si256();
    __m256i s1 = _mm256_setzero_si256();
    QV_AVX2_WORDS(STEP_U8);
    return (float)qv_sum_u32(_mm256_add_epi32(s0, s1));
}

QV_KERNEL_DEFINE(l2, u8, avx2, l2_u8, 1, QV_AVX2)
