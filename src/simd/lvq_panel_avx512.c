/* Panels of LVQ codes, AVX-512 with VNNI. Six rows of one panel against 32 of the other: twelve
 * sums in registers, each lane one pair. VNNI multiplies unsigned by signed bytes: b . a = b . (a -
 * 128) + 128 sum(b). */
#include "simd/avx512.h"
#include "simd/lvq_panel_list.h"

#include <string.h>

#define ROWS 6u
#define HALF 16u

#define EACH_ROW(do)                                                                               \
    do                                                                                             \
    (0) do(1) do(2) do(3) do(4) do(5)

struct side {
    const uint8_t *packed0, *packed1; /* of 16 rows each */
    const float *terms;               /* of the first */
    const uint32_t *sums;
    size_t cap;
};

QV_AVX512VNNI QV_ALWAYS_INLINE __m512i spread4(const uint8_t *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm512_set1_epi32(word);
}

/* norm + constant + offset * x + (scale * sum) * y + scale * z * products */
QV_AVX512VNNI QV_ALWAYS_INLINE void finish(const struct side *b, size_t half, __m512i products,
                                           const float *row, float *out)
{
    const float *at = b->terms + half * HALF;
    const __m512 norm = _mm512_loadu_ps(at);
    const __m512 offset = _mm512_loadu_ps(at + b->cap);
    const __m512 part = _mm512_loadu_ps(at + 2 * b->cap);
    const __m512 scale = _mm512_loadu_ps(at + 3 * b->cap);
    __m512 d = _mm512_add_ps(norm, _mm512_set1_ps(row[0]));
    d = _mm512_fmadd_ps(offset, _mm512_set1_ps(row[1]), d);
    d = _mm512_fmadd_ps(part, _mm512_set1_ps(row[2]), d);
    d = _mm512_fmadd_ps(_mm512_mul_ps(scale, _mm512_set1_ps(row[3])), _mm512_cvtepu32_ps(products),
                        d);
    _mm512_storeu_ps(out + half * HALF, _mm512_max_ps(d, _mm512_setzero_ps()));
}

QV_AVX512VNNI static void tile6(const uint8_t *const rows[ROWS], const struct side *b, size_t bytes,
                                const float (*factors)[4], float *const outs[ROWS])
{
    const __m512i sum0 = _mm512_loadu_si512((const void *)b->sums);
    const __m512i sum1 = _mm512_loadu_si512((const void *)(b->sums + HALF));
#define START(r) __m512i s##r##0 = sum0, s##r##1 = sum1;
    EACH_ROW(START)
    for (size_t i = 0; i < bytes; i += 4) {
        const __m512i b0 = qv_load64(b->packed0 + i * HALF);
        const __m512i b1 = qv_load64(b->packed1 + i * HALF);
#define STEP(r)                                                                                    \
    {                                                                                              \
        const __m512i a = spread4(rows[r] + i);                                                    \
        s##r##0 = _mm512_dpbusd_epi32(s##r##0, b0, a);                                             \
        s##r##1 = _mm512_dpbusd_epi32(s##r##1, b1, a);                                             \
    }
        EACH_ROW(STEP)
    }
#define FINISH(r)                                                                                  \
    finish(b, 0, s##r##0, factors[r], outs[r]);                                                    \
    finish(b, 1, s##r##1, factors[r], outs[r]);
    EACH_ROW(FINISH)
}

void qv_lvq_panel_distances_vnni(const struct qv_lvq_panel *a, const struct qv_lvq_panel *b,
                                 const struct qv_lvq_tile *tile)
{
    const float sign = a->metric == QV_METRIC_COSINE ? -1.0f : -2.0f;
    const size_t bytes = a->row_bytes;
    for (uint32_t i = 0; i < tile->a_n; i += ROWS) {
        const uint8_t *rows[ROWS];
        float *outs[ROWS];
        float factors[ROWS][4];
        for (uint32_t r = 0; r < ROWS; r++) {
            const uint32_t at = i + r < tile->a_n ? i + r : tile->a_n - 1; /* the last again */
            const float *t = a->terms + tile->a_first + at;
            const float offset = t[a->cap];
            rows[r] = a->rows + (tile->a_first + at) * bytes;
            outs[r] = tile->out + at * tile->out_stride;
            factors[r][0] = a->metric == QV_METRIC_COSINE ? 1.0f : t[0];
            factors[r][1] = sign * ((float)a->dim * offset + t[2 * (size_t)a->cap]);
            factors[r][2] = sign * offset;
            factors[r][3] = sign * t[3 * (size_t)a->cap];
        }
        for (uint32_t j = 0; j < tile->b_n; j += 2 * HALF) {
            const uint32_t first = tile->b_first + j;
            const struct side side = {.packed0 = b->packed + first * bytes,
                                      .packed1 = b->packed + (first + HALF) * bytes,
                                      .terms = b->terms + first,
                                      .sums = b->sums + first,
                                      .cap = b->cap};
            tile6(rows, &side, bytes, (const float(*)[4])factors, outs);
            for (uint32_t r = 0; r < ROWS; r++)
                outs[r] += 2 * HALF;
        }
    }
}

/* Compressed in the register and stored whole: a compressing store is microcode on some. */
QV_AVX512 uint32_t qv_lvq_panel_below_avx512(const float *d, uint32_t n, float bound, uint32_t *out)
{
    const __m512 limit = _mm512_set1_ps(bound);
    const __m512i step = _mm512_set1_epi32((int)HALF);
    __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i += HALF) {
        __mmask16 m = _mm512_cmp_ps_mask(_mm512_loadu_ps(d + i), limit, _CMP_LT_OQ);
        if (i + HALF > n)
            m &= qv_mask16(n - i);
        _mm512_storeu_si512((void *)(out + found), _mm512_maskz_compress_epi32(m, at));
        found += (uint32_t)__builtin_popcount(m);
        at = _mm512_add_epi32(at, step);
    }
    return found;
}
