/* LVQ codes, AVX-512, with VNNI where the machine has it. */
#include "simd/avx512.h"
#include "simd/lvq_list.h"

#define STEP(k, x, y) s##k = _mm512_add_epi32(s##k, _mm512_madd_epi16(x, y))

QV_AVX512 QV_ALWAYS_INLINE uint32_t product_avx512(const uint8_t *a, const uint8_t *b, size_t dim,
                                                   uint32_t sum)
{
    __m512i s0 = _mm512_setzero_si512();
    __m512i s1 = _mm512_setzero_si512();
    (void)sum;
    QV_AVX512_WORDS(STEP);
    return qv_sum_u32(_mm512_add_epi32(s0, s1));
}

QV_LVQ_DEFINE(avx512, product_avx512, QV_AVX512)

/* a . b = a . (b - 128) + 128 * sum(a): the first product is VNNI's unsigned by signed. Four chains
 * hide its latency. */
QV_AVX512VNNI QV_ALWAYS_INLINE uint32_t product_vnni(const uint8_t *a, const uint8_t *b, size_t dim,
                                                     uint32_t sum)
{
    const __m512i flip = _mm512_set1_epi8((char)-128);
    __m512i s0 = _mm512_setzero_si512();
    __m512i s1 = _mm512_setzero_si512();
    __m512i s2 = _mm512_setzero_si512();
    __m512i s3 = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + 256 <= dim; i += 256) {
        s0 = _mm512_dpbusd_epi32(s0, qv_load64(a + i), _mm512_xor_si512(qv_load64(b + i), flip));
        s1 = _mm512_dpbusd_epi32(s1, qv_load64(a + i + 64),
                                 _mm512_xor_si512(qv_load64(b + i + 64), flip));
        s2 = _mm512_dpbusd_epi32(s2, qv_load64(a + i + 128),
                                 _mm512_xor_si512(qv_load64(b + i + 128), flip));
        s3 = _mm512_dpbusd_epi32(s3, qv_load64(a + i + 192),
                                 _mm512_xor_si512(qv_load64(b + i + 192), flip));
    }
    for (; i + 64 <= dim; i += 64) {
        s0 = _mm512_dpbusd_epi32(s0, qv_load64(a + i), _mm512_xor_si512(qv_load64(b + i), flip));
        const __m512i rotate = s0;
        s0 = s1;
        s1 = s2;
        s2 = s3;
        s3 = rotate;
    }
    if (i < dim)
        s0 = _mm512_dpbusd_epi32(s0, qv_tail64(a + i, dim - i),
                                 _mm512_xor_si512(qv_tail64(b + i, dim - i), flip));
    const __m512i all = _mm512_add_epi32(_mm512_add_epi32(s0, s1), _mm512_add_epi32(s2, s3));
    return qv_sum_u32(all) + 128u * sum;
}

QV_LVQ_DEFINE(avx512vnni, product_vnni, QV_AVX512VNNI)
