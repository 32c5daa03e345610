/* The canonical score with AVX2: two registers are the sixteen lanes, multiplications and additions
 * stay apart. A tail of 8 elements or more fills the low register and part of the high one; what
 * is missing adds +0, which changes no sum, since none is ever -0. */
#include "simd/avx2.h"
#include "simd/score_list.h"

#define ROWS QV_SCORE_ROWS

/* The lanes 0..7 and 8..15. */
struct lanes {
    __m256 low;
    __m256 high;
};

/* Sixteen elements, or the n < 16 that a row still has. */
#define DEFINE_LOAD(dt)                                                                            \
    QV_AVX2 QV_ALWAYS_INLINE struct lanes load_##dt(const uint8_t *row, size_t i)                  \
    {                                                                                              \
        return (struct lanes){qv_load8_##dt(row, i), qv_load8_##dt(row, i + 8)};                   \
    }                                                                                              \
    QV_AVX2 QV_ALWAYS_INLINE struct lanes tail_##dt(const uint8_t *row, size_t i, size_t n)        \
    {                                                                                              \
        if (n < 8)                                                                                 \
            return (struct lanes){qv_tail8_##dt(row, i, n), _mm256_setzero_ps()};                  \
        return (struct lanes){qv_load8_##dt(row, i), qv_tail8_##dt(row, i + 8, n - 8)};            \
    }

DEFINE_LOAD(f32)
DEFINE_LOAD(f16)
DEFINE_LOAD(u8)

QV_AVX2 QV_ALWAYS_INLINE struct lanes zero_lanes(void)
{
    return (struct lanes){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

/* s[j] += s[j + w], w = 8, 4, 2, 1. */
QV_AVX2 QV_ALWAYS_INLINE float reduce_lanes(struct lanes s)
{
    return qv_sum_f32(_mm256_add_ps(s.low, s.high));
}

QV_AVX2 QV_ALWAYS_INLINE struct lanes add_square(struct lanes s, struct lanes x, struct lanes y)
{
    const __m256 low = _mm256_sub_ps(x.low, y.low);
    const __m256 high = _mm256_sub_ps(x.high, y.high);
    s.low = _mm256_add_ps(s.low, _mm256_mul_ps(low, low));
    s.high = _mm256_add_ps(s.high, _mm256_mul_ps(high, high));
    return s;
}

QV_AVX2 QV_ALWAYS_INLINE struct lanes add_product(struct lanes s, struct lanes x, struct lanes y)
{
    s.low = _mm256_add_ps(s.low, _mm256_mul_ps(x.low, y.low));
    s.high = _mm256_add_ps(s.high, _mm256_mul_ps(x.high, y.high));
    return s;
}

QV_AVX2 QV_ALWAYS_INLINE struct lanes add_distance(struct lanes s, struct lanes x, struct lanes y)
{
    s.low = _mm256_add_ps(s.low, qv_abs8(_mm256_sub_ps(x.low, y.low)));
    s.high = _mm256_add_ps(s.high, qv_abs8(_mm256_sub_ps(x.high, y.high)));
    return s;
}

/* One sum a row: add(s, x, y) is a step, finish(sum) the distance. */
#define DEFINE_SCORE(op, dt, add, finish)                                                          \
    QV_AVX2 QV_ALWAYS_INLINE void score_##op##_##dt(                                               \
        const uint8_t *query, const uint8_t *const *rows, size_t count, size_t dim, float *out)    \
    {                                                                                              \
        struct lanes s[ROWS];                                                                      \
        size_t i = 0;                                                                              \
        for (size_t k = 0; k < count; ++k)                                                         \
            s[k] = zero_lanes();                                                                   \
        for (; i + 16 <= dim; i += 16) {                                                           \
            const struct lanes x = load_##dt(query, i);                                            \
            for (size_t k = 0; k < count; ++k)                                                     \
                s[k] = add(s[k], x, load_##dt(rows[k], i));                                        \
        }                                                                                          \
        if (i < dim) {                                                                             \
            const struct lanes x = tail_##dt(query, i, dim - i);                                   \
            for (size_t k = 0; k < count; ++k)                                                     \
                s[k] = add(s[k], x, tail_##dt(rows[k], i, dim - i));                               \
        }                                                                                          \
        for (size_t k = 0; k < count; ++k)                                                         \
            out[k] = qv_finish_nan(finish(reduce_lanes(s[k])));                                    \
    }                                                                                              \
    QV_SCORE_DEFINE(op, dt, avx2, score_##op##_##dt, QV_AVX2)

/* Sums the squares of one row; then, two rows at a time, what the query and they give: four rows'
 * sums don't fit in sixteen registers. */
#define DEFINE_COSINE(dt)                                                                          \
    QV_AVX2 QV_ALWAYS_INLINE void cosine_pair_##dt(                                                \
        const uint8_t *query, const uint8_t *const *rows, size_t count, size_t dim, float *out)    \
    {                                                                                              \
        struct lanes ab[2];                                                                        \
        struct lanes bb[2];                                                                        \
        struct lanes aa = zero_lanes();                                                            \
        size_t i = 0;                                                                              \
        for (size_t k = 0; k < count; ++k)                                                         \
            ab[k] = bb[k] = zero_lanes();                                                          \
        for (; i + 16 <= dim; i += 16) {                                                           \
            const struct lanes x = load_##dt(query, i);                                            \
            aa = add_product(aa, x, x);                                                            \
            for (size_t k = 0; k < count; ++k) {                                                   \
                const struct lanes y = load_##dt(rows[k], i);                                      \
                ab[k] = add_product(ab[k], x, y);                                                  \
                bb[k] = add_product(bb[k], y, y);                                                  \
            }                                                                                      \
        }                                                                                          \
        if (i < dim) {                                                                             \
            const struct lanes x = tail_##dt(query, i, dim - i);                                   \
            aa = add_product(aa, x, x);                                                            \
            for (size_t k = 0; k < count; ++k) {                                                   \
                const struct lanes y = tail_##dt(rows[k], i, dim - i);                             \
                ab[k] = add_product(ab[k], x, y);                                                  \
                bb[k] = add_product(bb[k], y, y);                                                  \
            }                                                                                      \
        }                                                                                          \
        const float query_squares = reduce_lanes(aa);                                              \
        for (size_t k = 0; k < count; ++k)                                                         \
            out[k] = qv_finish_nan(                                                                \
                qv_finish_cosine(reduce_lanes(ab[k]), query_squares, reduce_lanes(bb[k])));        \
    }                                                                                              \
    QV_AVX2 QV_ALWAYS_INLINE void score_cosine_##dt(                                               \
        const uint8_t *query, const uint8_t *const *rows, size_t count, size_t dim, float *out)    \
    {                                                                                              \
        if (count == 1) {                                                                          \
            cosine_pair_##dt(query, rows, 1, dim, out);                                            \
            return;                                                                                \
        }                                                                                          \
        for (size_t k = 0; k < count; k += 2)                                                      \
            cosine_pair_##dt(query, rows + k, 2, dim, out + k);                                    \
    }                                                                                              \
    QV_SCORE_DEFINE(cosine, dt, avx2, score_cosine_##dt, QV_AVX2)

#define DEFINE_DTYPE(dt)                                                                           \
    DEFINE_SCORE(l2, dt, add_square, )                                                             \
    DEFINE_SCORE(dot, dt, add_product, qv_finish_dot)                                              \
    DEFINE_SCORE(l1, dt, add_distance, )                                                           \
    DEFINE_COSINE(dt)

_Static_assert(ROWS % 2 == 0, "cosine takes rows in pairs");

DEFINE_DTYPE(f32)
DEFINE_DTYPE(f16)
DEFINE_DTYPE(u8)
