/* Packed bits, AVX-512: by the table of bits_avx2.c, and by VPOPCNTDQ where the machine has it. */
#include "simd/avx512.h"
#include "simd/bits_list.h"

#define QV_VPOPCNTDQ __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")))

/* Ones in each of the eight 64-bit lanes. */
QV_AVX512 QV_ALWAYS_INLINE __m512i count_ones(__m512i v)
{
    const __m512i table =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m512i half = _mm512_set1_epi8(15);
    const __m512i low = _mm512_shuffle_epi8(table, _mm512_and_si512(v, half));
    const __m512i high =
        _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(v, 4), half));
    return _mm512_sad_epu8(_mm512_add_epi8(low, high), _mm512_setzero_si512());
}

/* attr: the ISA's target; ones(v): ones in each 64-bit lane. A tail is a masked load. */
#define DEFINE_AVX512(op, isa, attr, combine, ones)                                                \
    attr uint32_t qv_bits_##op##_##isa(const void *a, const void *b, size_t bytes)                 \
    {                                                                                              \
        const uint8_t *x = (const uint8_t *)a;                                                     \
        const uint8_t *y = (const uint8_t *)b;                                                     \
        __m512i sums = _mm512_setzero_si512();                                                     \
        size_t i = 0;                                                                              \
        for (; i + 64 <= bytes; i += 64)                                                           \
            sums = _mm512_add_epi64(                                                               \
                sums, ones(combine(_mm512_loadu_si512(x + i), _mm512_loadu_si512(y + i))));        \
        if (i < bytes) {                                                                           \
            const __mmask64 mask = ~UINT64_C(0) >> (64 - (bytes - i));                             \
            sums = _mm512_add_epi64(sums, ones(combine(_mm512_maskz_loadu_epi8(mask, x + i),       \
                                                       _mm512_maskz_loadu_epi8(mask, y + i))));    \
        }                                                                                          \
        return (uint32_t)_mm512_reduce_add_epi64(sums);                                            \
    }

DEFINE_AVX512(hamming, avx512, QV_AVX512, _mm512_xor_si512, count_ones)
DEFINE_AVX512(dot, avx512, QV_AVX512, _mm512_and_si512, count_ones)
DEFINE_AVX512(hamming, vpopcntdq, QV_VPOPCNTDQ, _mm512_xor_si512, _mm512_popcnt_epi64)
DEFINE_AVX512(dot, vpopcntdq, QV_VPOPCNTDQ, _mm512_and_si512, _mm512_popcnt_epi64)
