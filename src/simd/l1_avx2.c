/* Manhattan distance, AVX2. */
#include "simd/avx2.h"

#define STEP(k, x, y) s##k = _mm256_add_ps(s##k, qv_abs8(_mm256_sub_ps(x, y)))

#define DEFINE_L1(dt, width)                                                                       \
    QV_AVX2 QV_ALWAYS_INLINE float l1_##dt(const uint8_t *a, const uint8_t *b, size_t dim)         \
    {                                                                                              \
        QV_AVX2_ZERO4(s);                                                                          \
        QV_AVX2_FLOATS(dt, STEP);                                                                  \
        return QV_AVX2_SUM4(s);                                                                    \
    }                                                                                              \
    QV_KERNEL_DEFINE(l1, dt, avx2, l1_##dt, width, QV_AVX2)

DEFINE_L1(f32, 4)
DEFINE_L1(f16, 2)

QV_AVX2 QV_ALWAYS_INLINE float l1_u8(const uint8_t *a, const uint8_t *b, size_t dim)
{
    __m256i sums = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 32 <= dim; i += 32) {
        const __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(a + i));
        const __m256i y = _mm256_loadu_si256((const __m256i *)(const void *)(b + i));
        sums = _mm256_add_epi64(sums, _mm256_sad_epu8(x, y));
    }
    __m128i rest = _mm_setzero_si128();
    if (i + 16 <= dim) {
        rest = _mm_sad_epu8(qv_load16(a + i), qv_load16(b + i));
        i += 16;
    }
    if (i < dim)
        rest = _mm_add_epi64(
            rest, _mm_sad_epu8(qv_load_part(a + i, dim - i), qv_load_part(b + i, dim - i)));
    /* Each 64-bit lane holds less than 2^32: their upper halves are zero. */
    return (float)qv_sum_u32(_mm256_add_epi64(sums, _mm256_zextsi128_si256(rest)));
}

QV_KERNEL_DEFINE(l1, u8, avx2, l1_u8, 1, QV_AVX2)
