/* Squared euclidean distance, AVX-512. */
#include "simd/avx512.h"

#define STEP(k, x, y)                                                                              \
    do {                                                                                           \
        const __m512 d = _mm512_sub_ps(x, y);                                                      \
        s##k = _mm512_fmadd_ps(d, d, s##k);                                                        \
    } while (0)

#define DEFINE_L2(dt, width)                                                                       \
    QV_AVX512 QV_ALWAYS_INLINE float l2_##dt(const uint8_t *a, const uint8_t *b, size_t dim)       \
    {                                                                                              \
        QV_AVX512_ZERO4(s);                                                                        \
        QV_AVX512_FLOATS(dt, STEP);                                                                \
        return QV_AVX512_SUM4(s);                                                                  \
    }                                                                                              \
    QV_KERNEL_DEFINE(l2, dt, avx512, l2_##dt, width, QV_AVX512)

DEFINE_L2(f32, 4)
DEFINE_L2(f16, 2)

#define STEP_U8(k, x, y)                                                                           \
    do {                                                                                           \
        const __m512i d = _mm512_sub_epi16(x, y);                                                  \
        s##k = _mm512_add_epi32(s##k, _mm512_madd_epi16(d, d));                                    \
    } while (0)

QV_AVX512 QV_ALWAYS_INLINE float l2_u8(const uint8_t *a, const uint8_t *b, size_t dim)
{
    __m512i s0 = _mm512_setzero_si512();
    __m512i s1 = _mm512_setzero_si512();
    QV_AVX512_WORDS(STEP_U8);
    return (float)qv_sum_u32(_mm512_add_epi32(s0, s1));
}

QV_KERNEL_DEFINE(l2, u8, avx512, l2_u8, 1, QV_AVX512)

/* VNNI multiplies unsigned by signed bytes. With d = |x - y|, d * d = d * (d - 128) + 128 * d: the
 * first product is in its range, and the sum of the d is one SAD. */
#define STEP_VNNI(x, y)                                                                            \
    do {                                                                                           \
        const __m512i u = (x);                                                                     \
        const __m512i v = (y);                                                                     \
        const __m512i d = _mm512_sub_epi8(_mm512_max_epu8(u, v), _mm512_min_epu8(u, v));           \
        products = _mm512_dpbusd_epi32(products, d, _mm512_xor_si512(d, flip));                    \
        sums = _mm512_add_epi64(sums, _mm512_sad_epu8(u, v));                                      \
    } while (0)

QV_AVX512VNNI QV_ALWAYS_INLINE float l2_u8_vnni(const uint8_t *a, const uint8_t *b, size_t dim)
{
    const __m512i flip = _mm512_set1_epi8((char)-128);
    __m512i products = _mm512_setzero_si512();
    __m512i sums = _mm512_setzero_si512();
    QV_AVX512_BYTES(STEP_VNNI);
    return (float)(qv_sum_u32(products) + 128u * (uint32_t)_mm512_reduce_add_epi64(sums));
}

QV_KERNEL_DEFINE(l2, u8, avx512vnni, l2_u8_vnni, 1, QV_AVX512VNNI)
