/* Products of a query with codes, AVX-512 with VNNI. Rows are the unsigned side, the query the
 * signed one. */
#include "simd/avx512.h"
#include "simd/codes_list.h"

QV_AVX512VNNI QV_ALWAYS_INLINE float fold(__m512i low, __m512i high)
{
    const __m512 f =
        _mm512_fmadd_ps(_mm512_cvtepi32_ps(high), _mm512_set1_ps(128.0f), _mm512_cvtepi32_ps(low));
    return _mm512_reduce_add_ps(f);
}

QV_AVX512VNNI QV_ALWAYS_INLINE __m512i load_plane(const int8_t *p)
{
    return _mm512_loadu_si512((const void *)p);
}

/* Two chains a plane hide the latency of a product. */
QV_AVX512VNNI QV_ALWAYS_INLINE float product8(const struct qv_codes_query *q, const uint8_t *row,
                                              size_t steps, bool wide)
{
    __m512i low0 = _mm512_setzero_si512();
    __m512i low1 = low0;
    __m512i high0 = low0;
    __m512i high1 = low0;
    size_t i = 0;
    for (; i + 2 <= steps; i += 2) {
        const __m512i a = qv_load64(row + 64 * i);
        const __m512i b = qv_load64(row + 64 * i + 64);
        low0 = _mm512_dpbusd_epi32(low0, a, load_plane(q->low + 64 * i));
        low1 = _mm512_dpbusd_epi32(low1, b, load_plane(q->low + 64 * i + 64));
        if (wide) {
            high0 = _mm512_dpbusd_epi32(high0, a, load_plane(q->high + 64 * i));
            high1 = _mm512_dpbusd_epi32(high1, b, load_plane(q->high + 64 * i + 64));
        }
    }
    if (i < steps) {
        const __m512i a = qv_load64(row + 64 * i);
        low0 = _mm512_dpbusd_epi32(low0, a, load_plane(q->low + 64 * i));
        if (wide)
            high0 = _mm512_dpbusd_epi32(high0, a, load_plane(q->high + 64 * i));
    }
    const __m512i low = _mm512_add_epi32(low0, low1);
    if (!wide)
        return (float)_mm512_reduce_add_epi32(low);
    return fold(low, _mm512_add_epi32(high0, high1));
}

QV_AVX512VNNI QV_ALWAYS_INLINE float product4(const struct qv_codes_query *q, const uint8_t *row,
                                              size_t steps, bool wide)
{
    const __m512i half = _mm512_set1_epi8(15);
    __m512i low0 = _mm512_setzero_si512();
    __m512i low1 = low0;
    __m512i high0 = low0;
    __m512i high1 = low0;
    for (size_t i = 0; i < steps; ++i) {
        const __m512i v = qv_load64(row + 64 * i);
        const __m512i a = _mm512_and_si512(v, half);
        const __m512i b = _mm512_and_si512(_mm512_srli_epi16(v, 4), half);
        low0 = _mm512_dpbusd_epi32(low0, a, load_plane(q->low + 128 * i));
        low1 = _mm512_dpbusd_epi32(low1, b, load_plane(q->low + 128 * i + 64));
        if (wide) {
            high0 = _mm512_dpbusd_epi32(high0, a, load_plane(q->high + 128 * i));
            high1 = _mm512_dpbusd_epi32(high1, b, load_plane(q->high + 128 * i + 64));
        }
    }
    const __m512i low = _mm512_add_epi32(low0, low1);
    if (!wide)
        return (float)_mm512_reduce_add_epi32(low);
    return fold(low, _mm512_add_epi32(high0, high1));
}

QV_CODES_DEFINE(4, avx512vnni, product4, QV_AVX512VNNI)
QV_CODES_DEFINE(8, avx512vnni, product8, QV_AVX512VNNI)
