/* Private to src/simd: what the AVX-512 kernels share (F, BW, DQ, VL; VNNI in functions that say
 * so). Tails are masked loads: what a mask leaves out is not read and counts as zero. */
#ifndef QV_SIMD_AVX512_H
#define QV_SIMD_AVX512_H

#include "simd/batch.h"
#include "simd/finish.h"
#include "simd/kernel_list.h"

#include <immintrin.h>

#define QV_AVX512 __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")))
#define QV_AVX512VNNI                                                                              \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define QV_ALWAYS_INLINE static inline __attribute__((always_inline))

/* Sixteen elements from element i on, as float. */
QV_AVX512 QV_ALWAYS_INLINE __m512 qv_load16_f32(const uint8_t *row, size_t i)
{
    return _mm512_loadu_ps(row + 4 * i);
}

QV_AVX512 QV_ALWAYS_INLINE __m512 qv_load16_f16(const uint8_t *row, size_t i)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(row + 2 * i)));
}

QV_AVX512 QV_ALWAYS_INLINE __m512 qv_load16_u8(const uint8_t *row, size_t i)
{
    const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(row + i));
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(v));
}

/* The last n < 16 of them, the rest zero. */
QV_AVX512 QV_ALWAYS_INLINE __mmask16 qv_mask16(size_t n)
{
    return (__mmask16)((1u << n) - 1u);
}

QV_AVX512 QV_ALWAYS_INLINE __m512 qv_tail16_f32(const uint8_t *row, size_t i, size_t n)
{
    return _mm512_maskz_loadu_ps(qv_mask16(n), row + 4 * i);
}

QV_AVX512 QV_ALWAYS_INLINE __m512 qv_tail16_f16(const uint8_t *row, size_t i, size_t n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(qv_mask16(n), row + 2 * i));
}

QV_AVX512 QV_ALWAYS_INLINE __m512 qv_tail16_u8(const uint8_t *row, size_t i, size_t n)
{
    const __m128i v = _mm_maskz_loadu_epi8(qv_mask16(n), row + i);
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(v));
}

/* 64 bytes, and the last n < 64 of a row. */
QV_AVX512 QV_ALWAYS_INLINE __m512i qv_load64(const uint8_t *p)
{
    return _mm512_loadu_si512((const void *)p);
}

QV_AVX512 QV_ALWAYS_INLINE __m512i qv_tail64(const uint8_t *p, size_t n)
{
    return _mm512_maskz_loadu_epi8(((uint64_t)1 << n) - 1u, p);
}

/* 32 bytes widened to 16 bits, and the last n < 32 of a row. */
QV_AVX512 QV_ALWAYS_INLINE __m512i qv_load32_wide(const uint8_t *p)
{
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

QV_AVX512 QV_ALWAYS_INLINE __m512i qv_tail32_wide(const uint8_t *p, size_t n)
{
    return _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(((uint32_t)1 << n) - 1u, p));
}

/* The lanes' sum, modulo 2^32. */
QV_AVX512 QV_ALWAYS_INLINE uint32_t qv_sum_u32(__m512i v)
{
    return (uint32_t)_mm512_reduce_add_epi32(v);
}

/* Walks two rows by sixteen elements over four sets of partial sums: step(k, x, y) adds to set k.
 * Four chains hide the latency of an addition. */
#define QV_AVX512_FLOATS(dt, step)                                                                 \
    size_t i = 0;                                                                                  \
    for (; i + 64 <= dim; i += 64) {                                                               \
        step(0, qv_load16_##dt(a, i), qv_load16_##dt(b, i));                                       \
        step(1, qv_load16_##dt(a, i + 16), qv_load16_##dt(b, i + 16));                             \
        step(2, qv_load16_##dt(a, i + 32), qv_load16_##dt(b, i + 32));                             \
        step(3, qv_load16_##dt(a, i + 48), qv_load16_##dt(b, i + 48));                             \
    }                                                                                              \
    if (i + 32 <= dim) {                                                                           \
        step(0, qv_load16_##dt(a, i), qv_load16_##dt(b, i));                                       \
        step(1, qv_load16_##dt(a, i + 16), qv_load16_##dt(b, i + 16));                             \
        i += 32;                                                                                   \
    }                                                                                              \
    if (i + 16 <= dim) {                                                                           \
        step(2, qv_load16_##dt(a, i), qv_load16_##dt(b, i));                                       \
        i += 16;                                                                                   \
    }                                                                                              \
    if (i < dim)                                                                                   \
    step(3, qv_tail16_##dt(a, i, dim - i), qv_tail16_##dt(b, i, dim - i))

#define QV_AVX512_ZERO4(s)                                                                         \
    __m512 s##0 = _mm512_setzero_ps();                                                             \
    __m512 s##1 = _mm512_setzero_ps();                                                             \
    __m512 s##2 = _mm512_setzero_ps();                                                             \
    __m512 s##3 = _mm512_setzero_ps()

#define QV_AVX512_SUM4(s)                                                                          \
    _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s##0, s##1), _mm512_add_ps(s##2, s##3)))

/* Walks two rows by 64 bytes; step(x, y) takes them. */
#define QV_AVX512_BYTES(step)                                                                      \
    size_t i = 0;                                                                                  \
    for (; i + 64 <= dim; i += 64)                                                                 \
        step(qv_load64(a + i), qv_load64(b + i));                                                  \
    if (i < dim)                                                                                   \
    step(qv_tail64(a + i, dim - i), qv_tail64(b + i, dim - i))

/* Walks two rows by 32 bytes widened to 16 bits, over two sets of sums. */
#define QV_AVX512_WORDS(step)                                                                      \
    size_t i = 0;                                                                                  \
    for (; i + 64 <= dim; i += 64) {                                                               \
        step(0, qv_load32_wide(a + i), qv_load32_wide(b + i));                                     \
        step(1, qv_load32_wide(a + i + 32), qv_load32_wide(b + i + 32));                           \
    }                                                                                              \
    if (i + 32 <= dim) {                                                                           \
        step(0, qv_load32_wide(a + i), qv_load32_wide(b + i));                                     \
        i += 32;                                                                                   \
    }                                                                                              \
    if (i < dim)                                                                                   \
    step(1, qv_tail32_wide(a + i, dim - i), qv_tail32_wide(b + i, dim - i))

#endif
