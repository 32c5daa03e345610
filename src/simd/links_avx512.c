/* Sixteen links at a time: marks and bits are gathered, what is wanted is compressed in registers
 * (compressing into memory is slow on Zen 4) and stored whole.
 *
 * The list is loaded by vectors though others may write it: each aligned cell of four bytes comes
 * whole on x86-64, and no load is reordered with an older one, so this is the acquire of the plain
 * kernel. Copying the cells one by one first and loading the copy takes back all that is gained: a
 * vector load waits for the narrow stores it overlaps. */
#include "simd/avx512.h"
#include "simd/links.h"

#if defined(__clang__) || defined(__SANITIZE_THREAD__)
#define NO_TSAN __attribute__((no_sanitize("thread")))
#else
#define NO_TSAN
#endif

#define LANES 16u

QV_AVX512 NO_TSAN uint32_t qv_links_split_avx512(const _Atomic uint32_t *list, uint32_t cap,
                                                 const struct qv_links_filter *filter,
                                                 struct qv_links_parts *parts)
{
    const __m512i none = _mm512_set1_epi32(-1);
    const __m512i bound = _mm512_set1_epi32((int)filter->bound);
    const __m512i epoch = _mm512_set1_epi32(filter->epoch);
    const __m512i low = _mm512_set1_epi32(31);
    uint32_t passing = parts->passing_count;
    uint32_t failing = parts->failing_count;
    uint32_t at = 0;
    for (; at < cap; at += LANES) {
        const __mmask16 there = (__mmask16)(cap - at >= LANES ? 0xFFFFu : (1u << (cap - at)) - 1);
        const __m512i to = _mm512_mask_loadu_epi32(none, there, (const void *)(list + at));
        const __mmask16 end = _mm512_cmpeq_epi32_mask(to, none);
        const uint32_t links = end == 0 ? LANES : (uint32_t)__builtin_ctz(end);
        const __mmask16 in =
            _mm512_mask_cmplt_epu32_mask((__mmask16)((1u << links) - 1), to, bound);
        const __m512i words = _mm512_mask_i32gather_epi32(
            _mm512_setzero_si512(), in, _mm512_srli_epi32(to, 5), filter->bits, 4);
        const __m512i bit = _mm512_sllv_epi32(_mm512_set1_epi32(1), _mm512_and_si512(to, low));
        const __mmask16 may = _mm512_mask_test_epi32_mask(in, words, bit);
        const __mmask16 fail = (__mmask16)(in & ~may);
        const __m512i marks = _mm512_and_si512(
            _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), may, to, filter->seen, 1),
            _mm512_set1_epi32(255));
        const __mmask16 pass = _mm512_mask_cmpneq_epi32_mask(may, marks, epoch);
        _mm512_storeu_si512(parts->passing + passing, _mm512_maskz_compress_epi32(pass, to));
        _mm512_storeu_si512(parts->failing + failing, _mm512_maskz_compress_epi32(fail, to));
        passing += (uint32_t)__builtin_popcount(pass);
        failing += (uint32_t)__builtin_popcount(fail);
        if (links < LANES) {
            at += links;
            break;
        }
    }
    parts->passing_count = passing;
    parts->failing_count = failing;
    return at < cap ? at : cap;
}
