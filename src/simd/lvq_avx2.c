/* LVQ codes, AVX2. */
#include "simd/avx2.h"
#include "simd/lvq_encode.h"
#include "simd/lvq_list.h"

#define STEP(k, x, y) s##k = _mm256_add_epi32(s##k, _mm256_madd_epi16(x, y))

QV_AVX2 QV_ALWAYS_INLINE uint32_t product_avx2(const uint8_t *a, const uint8_t *b, size_t dim,
                                               uint32_t sum)
{
    __m256i s0 = _mm256_setzero_si256();
    __m256i s1 = _mm256_setzero_si256();
    (void)sum;
    QV_AVX2_WORDS(STEP);
    return qv_sum_u32(_mm256_add_epi32(s0, s1));
}

QV_LVQ_DEFINE(avx2, product_avx2, QV_AVX2)

QV_AVX2 void qv_lvq_encode_f32_avx2(const uint8_t *row, size_t dim, uint8_t *out)
{
    qv_lvq_encode_f32_body(row, dim, out);
}
