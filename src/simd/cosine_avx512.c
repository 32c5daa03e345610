/* One minus the cosine, AVX-512: one pass for the inner product and both squared lengths. */
#include "simd/avx512.h"

#define STEP(k, x, y)                                                                              \
    do {                                                                                           \
        const __m512 u = (x);                                                                      \
        const __m512 v = (y);                                                                      \
        ab##k = _mm512_fmadd_ps(u, v, ab##k);                                                      \
        aa##k = _mm512_fmadd_ps(u, u, aa##k);                                                      \
        bb##k = _mm512_fmadd_ps(v, v, bb##k);                                                      \
    } while (0)

#define DEFINE_COSINE(dt, width)                                                                   \
    QV_AVX512 QV_ALWAYS_INLINE float cosine_##dt(const uint8_t *a, const uint8_t *b, size_t dim)   \
    {                                                                                              \
        QV_AVX512_ZERO4(ab);                                                                       \
        QV_AVX512_ZERO4(aa);                                                                       \
        QV_AVX512_ZERO4(bb);                                                                       \
        QV_AVX512_FLOATS(dt, STEP);                                                                \
        return qv_finish_cosine(QV_AVX512_SUM4(ab), QV_AVX512_SUM4(aa), QV_AVX512_SUM4(bb));       \
    }                                                                                              \
    QV_KERNEL_DEFINE(cosine, dt, avx512, cosine_##dt, width, QV_AVX512)

DEFINE_COSINE(f32, 4)
DEFINE_COSINE(f16, 2)

#define STEP_U8(k, x, y)                                                                           \
    do {                                                                                           \
        const __m512i u = (x);                                                                     \
        const __m512i v = (y);                                                                     \
        ab##k = _mm512_add_epi32(ab##k, _mm512_madd_epi16(u, v));                                  \
        aa##k = _mm512_add_epi32(aa##k, _mm512_madd_epi16(u, u));                                  \
        bb##k = _mm512_add_epi32(bb##k, _mm512_madd_epi16(v, v));                                  \
    } while (0)

QV_AVX512 QV_ALWAYS_INLINE float cosine_u8(const uint8_t *a, const uint8_t *b, size_t dim)
{
    __m512i ab0 = _mm512_setzero_si512();
    __m512i ab1 = _mm512_setzero_si512();
    __m512i aa0 = _mm512_setzero_si512();
    __m512i aa1 = _mm512_setzero_si512();
    __m512i bb0 = _mm512_setzero_si512();
    __m512i bb1 = _mm512_setzero_si512();
    QV_AVX512_WORDS(STEP_U8);
    return qv_finish_cosine_u32(qv_sum_u32(_mm512_add_epi32(ab0, ab1)),
                                qv_sum_u32(_mm512_add_epi32(aa0, aa1)),
                                qv_sum_u32(_mm512_add_epi32(bb0, bb1)));
}

QV_KERNEL_DEFINE(cosine, u8, avx512, cosine_u8, 1, QV_AVX512)

/* x * y = x * (y - 128) + 128 * x, as in l2_avx512.c; the sum of x serves x * x too. */
#define STEP_VNNI(x, y)                                                                            \
    do {                                                                                           \
        const __m512i u = (x);                                                                     \
        const __m512i v = (y);                                                                     \
        const __m512i u_signed = _mm512_xor_si512(u, flip);                                        \
        const __m512i v_signed = _mm512_xor_si512(v, flip);                                        \
        ab = _mm512_dpbusd_epi32(ab, u, v_signed);                                                 \
        aa = _mm512_dpbusd_epi32(aa, u, u_signed);                                                 \
        bb = _mm512_dpbusd_epi32(bb, v, v_signed);                                                 \
        a_sums = _mm512_add_epi64(a_sums, _mm512_sad_epu8(u, zero));                               \
        b_sums = _mm512_add_epi64(b_sums, _mm512_sad_epu8(v, zero));                               \
    } while (0)

QV_AVX512VNNI QV_ALWAYS_INLINE float cosine_u8_vnni(const uint8_t *a, const uint8_t *b, size_t dim)
{
    const __m512i flip = _mm512_set1_epi8((char)-128);
    const __m512i zero = _mm512_setzero_si512();
    __m512i ab = zero;
    __m512i aa = zero;
    __m512i bb = zero;
    __m512i a_sums = zero;
    __m512i b_sums = zero;
    QV_AVX512_BYTES(STEP_VNNI);
    const uint32_t a_part = 128u * (uint32_t)_mm512_reduce_add_epi64(a_sums);
    const uint32_t b_part = 128u * (uint32_t)_mm512_reduce_add_epi64(b_sums);
    return qv_finish_cosine_u32(qv_sum_u32(ab) + a_part, qv_sum_u32(aa) + a_part,
                                qv_sum_u32(bb) + b_part);
}

QV_KERNEL_DEFINE(cosine, u8, avx512vnni, cosine_u8_vnni, 1, QV_AVX512VNNI)
