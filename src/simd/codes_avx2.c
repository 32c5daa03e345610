/* Products of a query with codes, AVX2. Codes of 4 bits times signed bytes fit the pairs of
 * VPMADDUBSW; codes of 8 bits are widened. */
#include "simd/avx2.h"
#include "simd/codes_list.h"

QV_AVX2 QV_ALWAYS_INLINE float fold(__m256i low, __m256i high)
{
    const __m256 f =
        _mm256_fmadd_ps(_mm256_cvtepi32_ps(high), _mm256_set1_ps(128.0f), _mm256_cvtepi32_ps(low));
    return qv_sum_f32(f);
}

QV_AVX2 QV_ALWAYS_INLINE __m256i load32(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* sum + the products of 32 codes below 16 and 32 signed bytes. */
QV_AVX2 QV_ALWAYS_INLINE __m256i add4(__m256i sum, __m256i codes, const int8_t *plane)
{
    const __m256i pairs = _mm256_maddubs_epi16(codes, load32(plane));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

QV_AVX2 QV_ALWAYS_INLINE float product4(const struct qv_codes_query *q, const uint8_t *row,
                                        size_t steps, bool wide)
{
    const __m256i half = _mm256_set1_epi8(15);
    __m256i low = _mm256_setzero_si256();
    __m256i high = low;
    for (size_t i = 0; i < steps; ++i) {
        for (size_t j = 0; j < 64; j += 32) {
            const __m256i v = load32(row + 64 * i + j);
            const __m256i a = _mm256_and_si256(v, half);
            const __m256i b = _mm256_and_si256(_mm256_srli_epi16(v, 4), half);
            low = add4(low, a, q->low + 128 * i + j);
            low = add4(low, b, q->low + 128 * i + 64 + j);
            if (wide) {
                high = add4(high, a, q->high + 128 * i + j);
                high = add4(high, b, q->high + 128 * i + 64 + j);
            }
        }
    }
    return wide ? fold(low, high) : (float)(int32_t)qv_sum_u32(low);
}

/* sum + the products of 16 codes, widened, and 16 signed bytes. */
QV_AVX2 QV_ALWAYS_INLINE __m256i add8(__m256i sum, __m256i codes, const int8_t *plane)
{
    const __m256i x = _mm256_cvtepi8_epi16(qv_load16((const uint8_t *)plane));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(codes, x));
}

QV_AVX2 QV_ALWAYS_INLINE float product8(const struct qv_codes_query *q, const uint8_t *row,
                                        size_t steps, bool wide)
{
    __m256i low0 = _mm256_setzero_si256();
    __m256i low1 = low0;
    __m256i high0 = low0;
    __m256i high1 = low0;
    for (size_t i = 0; i < 64 * steps; i += 32) {
        const __m256i a = qv_load16_wide(row + i);
        const __m256i b = qv_load16_wide(row + i + 16);
        low0 = add8(low0, a, q->low + i);
        low1 = add8(low1, b, q->low + i + 16);
        if (wide) {
            high0 = add8(high0, a, q->high + i);
            high1 = add8(high1, b, q->high + i + 16);
        }
    }
    const __m256i low = _mm256_add_epi32(low0, low1);
    return wide ? fold(low, _mm256_add_epi32(high0, high1)) : (float)(int32_t)qv_sum_u32(low);
}

QV_CODES_DEFINE(4, avx2, product4, QV_AVX2)
QV_CODES_DEFINE(8, avx2, product8, QV_AVX2)

/* ---- queries ---- */

QV_AVX2 struct qv_codes_extent qv_codes_look_avx2(const float *query, size_t dim, float shift)
{
    const __m256 by = _mm256_set1_ps(shift);
    __m256 largest = _mm256_setzero_ps();
    __m256 sum = largest;
    __m256 squares = largest;
    __m256 odd = largest; /* lanes that met what is not whole */
    __m256 least = largest;
    __m256 most = largest;
    size_t i = 0;
    for (; i + 8 <= dim; i += 8) {
        const __m256 x = _mm256_sub_ps(_mm256_loadu_ps(query + i), by);
        const __m256 whole = _mm256_round_ps(x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
        largest = _mm256_max_ps(largest, qv_abs8(x));
        odd = _mm256_or_ps(odd, _mm256_cmp_ps(x, whole, _CMP_NEQ_UQ));
        least = _mm256_min_ps(least, x);
        most = _mm256_max_ps(most, x);
        sum = _mm256_add_ps(sum, x);
        squares = _mm256_fmadd_ps(x, x, squares);
    }
    struct qv_codes_extent e = qv_codes_look_serial(query + i, dim - i, shift);
    float lanes[3][8];
    _mm256_storeu_ps(lanes[0], largest);
    _mm256_storeu_ps(lanes[1], least);
    _mm256_storeu_ps(lanes[2], most);
    for (size_t j = 0; j < 8; ++j) {
        e.largest = lanes[0][j] > e.largest ? lanes[0][j] : e.largest;
        e.narrow =
            e.narrow && lanes[1][j] >= QV_CODES_NARROW_LOW && lanes[2][j] <= QV_CODES_NARROW_HIGH;
    }
    e.whole = e.whole && _mm256_movemask_ps(odd) == 0;
    e.sum += qv_sum_f32(sum);
    e.squares += qv_sum_f32(squares);
    return e;
}

/* Eight values of 16 bits in eight bytes, saturated. */
QV_AVX2 QV_ALWAYS_INLINE void store_bytes(int8_t *to, __m256i v)
{
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64((__m128i *)(void *)to, _mm_packs_epi16(words, words));
}

QV_AVX2 void qv_codes_round_avx2(const float *query, size_t n, float shift, float inverse,
                                 int8_t *low, int8_t *high)
{
    const __m256 by = _mm256_set1_ps(shift);
    const __m256 times = _mm256_set1_ps(inverse);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256 x = _mm256_sub_ps(_mm256_loadu_ps(query + i), by);
        const __m256i v = _mm256_cvtps_epi32(_mm256_mul_ps(x, times));
        if (high == NULL) {
            store_bytes(low + i, v);
            continue;
        }
        const __m256i top = _mm256_srai_epi32(_mm256_add_epi32(v, _mm256_set1_epi32(64)), 7);
        store_bytes(low + i, _mm256_sub_epi32(v, _mm256_slli_epi32(top, 7)));
        store_bytes(high + i, top);
    }
    qv_codes_round_serial(query + i, n - i, shift, inverse, low + i,
                          high == NULL ? NULL : high + i);
}
