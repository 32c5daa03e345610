/* The canonical score with AVX-512: one register is the sixteen lanes, multiplications and
 * additions stay apart (the build says -ffp-contract=off, which intrinsics obey too). A tail's
 * missing elements are zeros: they add +0, which changes no sum, since none is ever -0. */
#include "simd/avx512.h"
#include "simd/score_list.h"

#define ROWS QV_SCORE_ROWS

/* s[j] += s[j + w], w = 8, 4, 2, 1. */
QV_AVX512 QV_ALWAYS_INLINE float reduce_lanes(__m512 v)
{
    const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

QV_AVX512 QV_ALWAYS_INLINE __m512 add_square(__m512 s, __m512 x, __m512 y)
{
    const __m512 d = _mm512_sub_ps(x, y);
    return _mm512_add_ps(s, _mm512_mul_ps(d, d));
}

QV_AVX512 QV_ALWAYS_INLINE __m512 add_product(__m512 s, __m512 x, __m512 y)
{
    return _mm512_add_ps(s, _mm512_mul_ps(x, y));
}

QV_AVX512 QV_ALWAYS_INLINE __m512 add_distance(__m512 s, __m512 x, __m512 y)
{
    return _mm512_add_ps(s, _mm512_abs_ps(_mm512_sub_ps(x, y)));
}

/* One sum a row: add(s, x, y) is a step, finish(sum) the distance. */
#define DEFINE_SCORE(op, dt, add, finish)                                                          \
    QV_AVX512 QV_ALWAYS_INLINE void score_##op##_##dt(                                             \
        const uint8_t *query, const uint8_t *const *rows, size_t count, size_t dim, float *out)    \
    {                                                                                              \
        __m512 s[ROWS];                                                                            \
        size_t i = 0;                                                                              \
        for (size_t k = 0; k < count; ++k)                                                         \
            s[k] = _mm512_setzero_ps();                                                            \
        for (; i + 16 <= dim; i += 16) {                                                           \
            const __m512 x = qv_load16_##dt(query, i);                                             \
            for (size_t k = 0; k < count; ++k)                                                     \
                s[k] = add(s[k], x, qv_load16_##dt(rows[k], i));                                   \
        }                                                                                          \
        if (i < dim) {                                                                             \
            const __m512 x = qv_tail16_##dt(query, i, dim - i);                                    \
            for (size_t k = 0; k < count; ++k)                                                     \
                s[k] = add(s[k], x, qv_tail16_##dt(rows[k], i, dim - i));                          \
        }                                                                                          \
        for (size_t k = 0; k < count; ++k)                                                         \
            out[k] = qv_finish_nan(finish(reduce_lanes(s[k])));                                    \
    }                                                                                              \
    QV_SCORE_DEFINE(op, dt, avx512, score_##op##_##dt, QV_AVX512)

/* The query's own squares are summed once for all rows: their order is the same. */
#define DEFINE_COSINE(dt)                                                                          \
    QV_AVX512 QV_ALWAYS_INLINE void score_cosine_##dt(                                             \
        const uint8_t *query, const uint8_t *const *rows, size_t count, size_t dim, float *out)    \
    {                                                                                              \
        __m512 ab[ROWS];                                                                           \
        __m512 bb[ROWS];                                                                           \
        __m512 aa = _mm512_setzero_ps();                                                           \
        size_t i = 0;                                                                              \
        for (size_t k = 0; k < count; ++k)                                                         \
            ab[k] = bb[k] = _mm512_setzero_ps();                                                   \
        for (; i + 16 <= dim; i += 16) {                                                           \
            const __m512 x = qv_load16_##dt(query, i);                                             \
            aa = add_product(aa, x, x);                                                            \
            for (size_t k = 0; k < count; ++k) {                                                   \
                const __m512 y = qv_load16_##dt(rows[k], i);                                       \
                ab[k] = add_product(ab[k], x, y);                                                  \
                bb[k] = add_product(bb[k], y, y);                                                  \
            }                                                                                      \
        }                                                                                          \
        if (i < dim) {                                                                             \
            const __m512 x = qv_tail16_##dt(query, i, dim - i);                                    \
            aa = add_product(aa, x, x);                                                            \
            for (size_t k = 0; k < count; ++k) {                                                   \
                const __m512 y = qv_tail16_##dt(rows[k], i, dim - i);                              \
                ab[k] = add_product(ab[k], x, y);                                                  \
                bb[k] = add_product(bb[k], y, y);                                                  \
            }                                                                                      \
        }                                                                                          \
        const float query_squares = reduce_lanes(aa);                                              \
        for (size_t k = 0; k < count; ++k)                                                         \
            out[k] = qv_finish_nan(                                                                \
                qv_finish_cosine(reduce_lanes(ab[k]), query_squares, reduce_lanes(bb[k])));        \
    }                                                                                              \
    QV_SCORE_DEFINE(cosine, dt, avx512, score_cosine_##dt, QV_AVX512)

#define DEFINE_DTYPE(dt)                                                                           \
    DEFINE_SCORE(l2, dt, add_square, )                                                             \
    DEFINE_SCORE(dot, dt, add_product, qv_finish_dot)                                              \
    DEFINE_SCORE(l1, dt, add_distance, )                                                           \
    DEFINE_COSINE(dt)

DEFINE_DTYPE(f32)
DEFINE_DTYPE(f16)
DEFINE_DTYPE(u8)
