/* Negated inner product, AVX2. */
#include "simd/avx2.h"

#define STEP(k, x, y) s##k = _mm256_fmadd_ps(x, y, s##k)

#define DEFINE_DOT(dt, width)                                                                      \
    QV_AVX2 QV_ALWAYS_INLINE float dot_##dt(const uint8_t *a, const uint8_t *b, size_t dim)        \
    {                                                                                              \
        QV_AVX2_ZERO4(s);                                                                          \
        QV_AVX2_FLOATS(dt, STEP);                                                                  \
        return qv_finish_dot(QV_AVX2_SUM4(s));                                                     \
    }                                                                                              \
    QV_KERNEL_DEFINE(dot, dt, avx2, dot_##dt, width, QV_AVX2)

DEFINE_DOT(f32, 4)
DEFINE_DOT(f16, 2)

#define STEP_U8(k, x, y) s##k = _mm256_add_epi32(s##k, _mm256_madd_epi16(x, y))

QV_AVX2 QV_ALWAYS_INLINE float dot_u8(const uint8_t *a, const uint8_t *b, size_t dim)
{
    __m256i s0 = _mm256_setzero_si256();
    __m256i s1 = _mm256_setzero_si256();
    QV_AVX2_WORDS(STEP_U8);
    return qv_finish_dot((float)qv_sum_u32(_mm256_add_epi32(s0, s1)));
}

QV_KERNEL_DEFINE(dot, u8, avx2, dot_u8, 1, QV_AVX2)
