/* Products of a query with codes, AVX2. Codes of 4 bits times signed bytes fit the pairs of
 * VPMADDUBSW; codes of 8 bits are widened. */
#include "simd/avx2.h"
#include "simd/codes_list.h"

QV_AVX2 QV_ALWAYS_INLINE float fold(__m256i low, __m256i high)
{
    const __m256 f =
        _mm256_fmadd_ps(_mm256_cvtepi32_ps(high), _mm256_set1_ps(128.0f), _mm256_cvtepi32_ps(low));
    return qv_sum_f32(f);
}

QV_AVX2 QV_ALWAYS_INLINE __m256i load32(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* sum + the products of 32 codes below 16 and 32 signed bytes. */
QV_AVX2 QV_ALWAYS_INLINE __m256i add4(__m256i sum, __m256i codes, const int8_t *plane)
{
    const __m256i pairs = _mm256_maddubs_epi16(codes, load32(plane));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

QV_AVX2 QV_ALWAYS_INLINE float product4(const struct qv_codes_query *q, const uint8_t *row,
                                        size_t steps, bool wide)
{
    const __m256i half = _mm256_set1_epi8(15);
    __m256i low = _mm256_setzero_si256();
    __m256i high = low;
    for (size_t i = 0; i < steps; ++i) {
        for (size_t j = 0; j < 64; j += 32) {
            const __m256i v = load32(row + 64 * i + j);
            const __m256i a = _mm256_and_si256(v, half);
            const __m256i b = _mm256_and_si256(_mm256_srli_epi16(v, 4), half);
            low = add4(low, a, q->low + 128 * i + j);
            low = add4(low, b, q->low + 128 * i + 64 + j);
            if (wide) {
                high = add4(high, a, q->high + 128 * i + j);
                high = add4(high, b, q->high + 128 * i + 64 + j);
            }
        }
    }
    return wide ? fold(low, high) : (float)(int32_t)qv_sum_u32(low);
}

/* sum + the products of 16 codes, widened, and 16 signed bytes. */
QV_AVX2 QV_ALWAYS_INLINE __m256i add8(__m256i sum, __m256i codes, const int8_t *plane)
{
    const __m256i x = _mm256_cvtepi8_epi16(qv_load16((const uint8_t *)plane));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(codes, x));
}

QV_AVX2 QV_ALWAYS_INLINE float product8(const struct qv_codes_query *q, const uint8_t *row,
                                        size_t steps, bool wide)
{
    __m256i low0 = _mm256_setzero_si256();
    __m256i low1 = low0;
    __m256i high0 = low0;
    __m256i high1 = low0;
    for (size_t i = 0; i < 64 * steps; i += 32) {
        const __m256i a = qv_load16_wide(row + i);
        const __m256i b = qv_load16_wide(row + i + 16);
        low0 = add8(low0, a, q->low + i);
        low1 = add8(low1, b, q->low + i + 16);
        if (wide) {
            high0 = add8(high0, a, q->high + i);
            high1 = add8(high1, b, q->high + i + 16);
        }
    }
    const __m256i low = _mm256_add_epi32(low0, low1);
    return wide ? fold(low, _mm256_add_epi32(high0, high1)) : (float)(int32_t)qv_sum_u32(low);
}

QV_CODES_DEFINE(4, avx2, product4, QV_AVX2)
QV_CODES_DEFINE(8, avx2, product8, QV_AVX2)
