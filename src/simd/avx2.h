/* Private to src/simd: what the AVX2 kernels share (AVX2, FMA, F16C). Tails of f32 rows are masked
 * loads, those of narrower rows are put together from loads inside the row; what is missing counts
 * as zero. */
#ifndef QV_SIMD_AVX2_H
#define QV_SIMD_AVX2_H

#include "simd/batch.h"
#include "simd/finish.h"
#include "simd/kernel_list.h"

#include <immintrin.h>
#include <string.h>

#define QV_AVX2 __attribute__((target("avx2,fma,f16c")))
#define QV_ALWAYS_INLINE static inline __attribute__((always_inline))

QV_ALWAYS_INLINE uint64_t qv_load_le64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

QV_ALWAYS_INLINE uint64_t qv_load_le32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The n < 16 bytes at p and zeros behind them; two overlapping loads cover each size. */
QV_AVX2 QV_ALWAYS_INLINE __m128i qv_load_part(const uint8_t *p, size_t n)
{
    uint64_t low = 0;
    uint64_t high = 0;
    if (n >= 8) {
        low = qv_load_le64(p);
        high = n > 8 ? qv_load_le64(p + n - 8) >> (8 * (16 - n)) : 0;
    } else if (n >= 4) {
        low = qv_load_le32(p) | (qv_load_le32(p + n - 4) << (8 * (n - 4)));
    } else if (n != 0) {
        low = (uint64_t)p[0] | (uint64_t)p[n / 2] << (8 * (n / 2)) |
              (uint64_t)p[n - 1] << (8 * (n - 1));
    }
    return _mm_set_epi64x((long long)high, (long long)low);
}

QV_AVX2 QV_ALWAYS_INLINE __m128i qv_load16(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* Eight elements from element i on, as float. */
QV_AVX2 QV_ALWAYS_INLINE __m256 qv_load8_f32(const uint8_t *row, size_t i)
{
    return _mm256_loadu_ps((const float *)(const void *)(row + 4 * i));
}

QV_AVX2 QV_ALWAYS_INLINE __m256 qv_load8_f16(const uint8_t *row, size_t i)
{
    return _mm256_cvtph_ps(qv_load16(row + 2 * i));
}

QV_AVX2 QV_ALWAYS_INLINE __m256 qv_load8_u8(const uint8_t *row, size_t i)
{
    const __m128i v = _mm_loadl_epi64((const __m128i *)(const void *)(row + i));
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(v));
}

/* The last n < 8 of them, the rest zero. */
QV_AVX2 QV_ALWAYS_INLINE __m256 qv_tail8_f32(const uint8_t *row, size_t i, size_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
    return _mm256_maskload_ps((const float *)(const void *)(row + 4 * i), mask);
}

QV_AVX2 QV_ALWAYS_INLINE __m256 qv_tail8_f16(const uint8_t *row, size_t i, size_t n)
{
    return _mm256_cvtph_ps(qv_load_part(row + 2 * i, 2 * n));
}

QV_AVX2 QV_ALWAYS_INLINE __m256 qv_tail8_u8(const uint8_t *row, size_t i, size_t n)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(qv_load_part(row + i, n)));
}

/* The absolute value of each lane. */
QV_AVX2 QV_ALWAYS_INLINE __m256 qv_abs8(__m256 v)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);
}

QV_AVX2 QV_ALWAYS_INLINE float qv_sum_f32(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_movehdup_ps(s));
    return _mm_cvtss_f32(s);
}

/* The lanes' sum, modulo 2^32. */
QV_AVX2 QV_ALWAYS_INLINE uint32_t qv_sum_u32(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1));
    return (uint32_t)_mm_cvtsi128_si32(s);
}

/* Sixteen bytes widened to 16 bits, and the last n < 16 of a row. */
QV_AVX2 QV_ALWAYS_INLINE __m256i qv_load16_wide(const uint8_t *p)
{
    return _mm256_cvtepu8_epi16(qv_load16(p));
}

QV_AVX2 QV_ALWAYS_INLINE __m256i qv_tail16_wide(const uint8_t *p, size_t n)
{
    return _mm256_cvtepu8_epi16(qv_load_part(p, n));
}

/* Walks two rows by eight elements over four sets of partial sums: step(k, x, y) adds to set k. */
#define QV_AVX2_FLOATS(dt, step)                                                                   \
    size_t i = 0;                                                                                  \
    for (; i + 32 <= dim; i += 32) {                                                               \
        step(0, qv_load8_##dt(a, i), qv_load8_##dt(b, i));                                         \
        step(1, qv_load8_##dt(a, i + 8), qv_load8_##dt(b, i + 8));                                 \
        step(2, qv_load8_##dt(a, i + 16), qv_load8_##dt(b, i + 16));                               \
        step(3, qv_load8_##dt(a, i + 24), qv_load8_##dt(b, i + 24));                               \
    }                                                                                              \
    if (i + 16 <= dim) {                                                                           \
        step(0, qv_load8_##dt(a, i), qv_load8_##dt(b, i));                                         \
        step(1, qv_load8_##dt(a, i + 8), qv_load8_##dt(b, i + 8));                                 \
        i += 16;                                                                                   \
    }                                                                                              \
    if (i + 8 <= dim) {                                                                            \
        step(2, qv_load8_##dt(a, i), qv_load8_##dt(b, i));                                         \
        i += 8;                                                                                    \
    }                                                                                              \
    if (i < dim)                                                                                   \
    step(3, qv_tail8_##dt(a, i, dim - i), qv_tail8_##dt(b, i, dim - i))

#define QV_AVX2_ZERO4(s)                                                                           \
    __m256 s##0 = _mm256_setzero_ps();                                                             \
    __m256 s##1 = _mm256_setzero_ps();                                                             \
    __m256 s##2 = _mm256_setzero_ps();                                                             \
    __m256 s##3 = _mm256_setzero_ps()

#define QV_AVX2_SUM4(s)                                                                            \
    qv_sum_f32(_mm256_add_ps(_mm256_add_ps(s##0, s##1), _mm256_add_ps(s##2, s##3)))

/* Walks two rows by sixteen bytes widened to 16 bits, over two sets of sums. */
#define QV_AVX2_WORDS(step)                                                                        \
    size_t i = 0;                                                                                  \
    for (; i + 32 <= dim; i += 32) {                                                               \
        step(0, qv_load16_wide(a + i), qv_load16_wide(b + i));                                     \
        step(1, qv_load16_wide(a + i + 16), qv_load16_wide(b + i + 16));                           \
    }                                                                                              \
    if (i + 16 <= dim) {                                                                           \
        step(0, qv_load16_wide(a + i), qv_load16_wide(b + i));                                     \
        i += 16;                                                                                   \
    }                                                                                              \
    if (i < dim)                                                                                   \
    step(1, qv_tail16_wide(a + i, dim - i), qv_tail16_wide(b + i, dim - i))

#endif
