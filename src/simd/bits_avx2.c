/* Packed bits, AVX2: bits are counted by a table of sixteen entries, looked up for both halves of
 * each byte (Mula, Kurz, Lemire: Faster Population Counts Using AVX2 Instructions, 2018). */
#include "simd/avx2.h"
#include "simd/bits_list.h"

QV_AVX2 QV_ALWAYS_INLINE __m256i load32(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* Ones in each of the four 64-bit lanes. */
QV_AVX2 QV_ALWAYS_INLINE __m256i count_ones(__m256i v)
{
    const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1,
                                           2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i half = _mm256_set1_epi8(15);
    const __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(v, half));
    const __m256i high =
        _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), half));
    return _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256());
}

/* The last n < 32 bytes, zeros behind them. */
QV_AVX2 QV_ALWAYS_INLINE __m256i tail32(const uint8_t *p, size_t n)
{
    uint8_t bytes[32] = {0};
    memcpy(bytes, p, n);
    return load32(bytes);
}

#define DEFINE_AVX2(op, combine)                                                                   \
    QV_AVX2 uint32_t qv_bits_##op##_avx2(const void *a, const void *b, size_t bytes)               \
    {                                                                                              \
        const uint8_t *x = (const uint8_t *)a;                                                     \
        const uint8_t *y = (const uint8_t *)b;                                                     \
        __m256i sums = _mm256_setzero_si256();                                                     \
        size_t i = 0;                                                                              \
        for (; i + 32 <= bytes; i += 32)                                                           \
            sums = _mm256_add_epi64(sums, count_ones(combine(load32(x + i), load32(y + i))));      \
        if (i < bytes)                                                                             \
            sums = _mm256_add_epi64(                                                               \
                sums, count_ones(combine(tail32(x + i, bytes - i), tail32(y + i, bytes - i))));    \
        return qv_sum_u32(sums); /* each lane is below 2^32 */                                     \
    }

DEFINE_AVX2(hamming, _mm256_xor_si256)
DEFINE_AVX2(dot, _mm256_and_si256)
