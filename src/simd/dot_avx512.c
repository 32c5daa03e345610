/* Negated inner product, AVX-512. */
#include "simd/avx512.h"

#define STEP(k, x, y) s##k = _mm512_fmadd_ps(x, y, s##k)

#define DEFINE_DOT(dt, width)                                                                      \
    QV_AVX512 QV_ALWAYS_INLINE float dot_##dt(const uint8_t *a, const uint8_t *b, size_t dim)      \
    {                                                                                              \
        QV_AVX512_ZERO4(s);                                                                        \
        QV_AVX512_FLOATS(dt, STEP);                                                                \
        return qv_finish_dot(QV_AVX512_SUM4(s));                                                   \
    }                                                                                              \
    QV_KERNEL_DEFINE(dot, dt, avx512, dot_##dt, width, QV_AVX512)

DEFINE_DOT(f32, 4)
DEFINE_DOT(f16, 2)

#define STEP_U8(k, x, y) s##k = _mm512_add_epi32(s##k, _mm512_madd_epi16(x, y))

QV_AVX512 QV_ALWAYS_INLINE float dot_u8(const uint8_t *a, const uint8_t *b, size_t dim)
{
    __m512i s0 = _mm512_setzero_si512();
    __m512i s1 = _mm512_setzero_si512();
    QV_AVX512_WORDS(STEP_U8);
    return qv_finish_dot((float)qv_sum_u32(_mm512_add_epi32(s0, s1)));
}

QV_KERNEL_DEFINE(dot, u8, avx512, dot_u8, 1, QV_AVX512)

/* x * y = x * (y - 128) + 128 * x, as in l2_avx512.c. */
#define STEP_VNNI(x, y)                                                                            \
    do {                                                                                           \
        const __m512i u = (x);                                                                     \
        products = _mm512_dpbusd_epi32(products, u, _mm512_xor_si512(y, flip));                    \
        sums = _mm512_add_epi64(sums, _mm512_sad_epu8(u, _mm512_setzero_si512()));                 \
    } while (0)

QV_AVX512VNNI QV_ALWAYS_INLINE float dot_u8_vnni(const uint8_t *a, const uint8_t *b, size_t dim)
{
    const __m512i flip = _mm512_set1_epi8((char)-128);
    __m512i products = _mm512_setzero_si512();
    __m512i sums = _mm512_setzero_si512();
    QV_AVX512_BYTES(STEP_VNNI);
    return qv_finish_dot(
        (float)(qv_sum_u32(products) + 128u * (uint32_t)_mm512_reduce_add_epi64(sums)));
}

QV_KERNEL_DEFINE(dot, u8, avx512vnni, dot_u8_vnni, 1, QV_AVX512VNNI)
