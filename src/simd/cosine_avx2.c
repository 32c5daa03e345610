/* One minus the cosine, AVX2: one pass for the inner product and both squared lengths. */
#include "simd/avx2.h"

#define STEP(k, x, y)                                                                              \
    do {                                                                                           \
        const __m256 u = (x);                                                                      \
        const __m256 v = (y);                                                                      \
        ab##k = _mm256_fmadd_ps(u, v, ab##k);                                                      \
        aa##k = _mm256_fmadd_ps(u, u, aa##k);                                                      \
        bb##k = _mm256_fmadd_ps(v, v, bb##k);                                                      \
    } while (0)

#define DEFINE_COSINE(dt, width)                                                                   \
    QV_AVX2 QV_ALWAYS_INLINE float cosine_##dt(const uint8_t *a, const uint8_t *b, size_t dim)     \
    {                                                                                              \
        QV_AVX2_ZERO4(ab);                                                                         \
        QV_AVX2_ZERO4(aa);                                                                         \
        QV_AVX2_ZERO4(bb);                                                                         \
        QV_AVX2_FLOATS(dt, STEP);                                                                  \
        return qv_finish_cosine(QV_AVX2_SUM4(ab), QV_AVX2_SUM4(aa), QV_AVX2_SUM4(bb));             \
    }                                                                                              \
    QV_KERNEL_DEFINE(cosine, dt, avx2, cosine_##dt, width, QV_AVX2)

DEFINE_COSINE(f32, 4)
DEFINE_COSINE(f16, 2)

#define STEP_U8(k, x, y)                                                                           \
    do {                                                                                           \
        const __m256i u = (x);                                                                     \
        const __m256i v = (y);                                                                     \
        ab##k = _mm256_add_epi32(ab##k, _mm256_madd_epi16(u, v));                                  \
        aa##k = _mm256_add_epi32(aa##k, _mm256_madd_epi16(u, u));                                  \
        bb##k = _mm256_add_epi32(bb##k, _mm256_madd_epi16(v, v));                                  \
    } while (0)

QV_AVX2 QV_ALWAYS_INLINE float cosine_u8(const uint8_t *a, const uint8_t *b, size_t dim)
{
    __m256i ab0 = _mm256_setzero_si256();
    __m256i ab1 = _mm256_setzero_si256();
    __m256i aa0 = _mm256_setzero_si256();
    __m256i aa1 = _mm256_setzero_si256();
    __m256i bb0 = _mm256_setzero_si256();
    __m256i bb1 = _mm256_setzero_si256();
    QV_AVX2_WORDS(STEP_U8);
    return qv_finish_cosine_u32(qv_sum_u32(_mm256_add_epi32(ab0, ab1)),
                                qv_sum_u32(_mm256_add_epi32(aa0, aa1)),
                                qv_sum_u32(_mm256_add_epi32(bb0, bb1)));
}

QV_KERNEL_DEFINE(cosine, u8, avx2, cosine_u8, 1, QV_AVX2)
