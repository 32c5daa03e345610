/* The canonical score with NEON: four registers are the sixteen lanes, multiplications and
 * additions stay apart. What is missing from a tail adds +0, which changes no sum, since none is
 * ever -0. */
#include "simd/neon.h"
#include "simd/score_list.h"

QV_ALWAYS_INLINE struct qv_neon16 add_square(struct qv_neon16 s, struct qv_neon16 x,
                                             struct qv_neon16 y)
{
    for (size_t k = 0; k < 4; ++k) {
        const float32x4_t d = vsubq_f32(x.v[k], y.v[k]);
        s.v[k] = vaddq_f32(s.v[k], vmulq_f32(d, d));
    }
    return s;
}

QV_ALWAYS_INLINE struct qv_neon16 add_product(struct qv_neon16 s, struct qv_neon16 x,
                                              struct qv_neon16 y)
{
    for (size_t k = 0; k < 4; ++k)
        s.v[k] = vaddq_f32(s.v[k], vmulq_f32(x.v[k], y.v[k]));
    return s;
}

QV_ALWAYS_INLINE struct qv_neon16 add_distance(struct qv_neon16 s, struct qv_neon16 x,
                                               struct qv_neon16 y)
{
    for (size_t k = 0; k < 4; ++k)
        s.v[k] = vaddq_f32(s.v[k], vabdq_f32(x.v[k], y.v[k]));
    return s;
}

/* One sum a row: add(s, x, y) is a step, finish(sum) the distance. */
#define DEFINE_SCORE(op, dt, add, finish)                                                          \
    QV_ALWAYS_INLINE void score_##op##_##dt(const uint8_t *query, const uint8_t *const *rows,      \
                                            size_t count, size_t dim, float *out)                  \
    {                                                                                              \
        struct qv_neon16 s[QV_SCORE_ROWS];                                                         \
        size_t i = 0;                                                                              \
        for (size_t k = 0; k < count; ++k)                                                         \
            s[k] = qv_neon_zero();                                                                 \
        for (; i + 16 <= dim; i += 16) {                                                           \
            const struct qv_neon16 x = qv_load16_##dt(query, i);                                   \
            for (size_t k = 0; k < count; ++k)                                                     \
                s[k] = add(s[k], x, qv_load16_##dt(rows[k], i));                                   \
        }                                                                                          \
        if (i < dim) {                                                                             \
            const struct qv_neon16 x = qv_tail16_##dt(query, i, dim - i);                          \
            for (size_t k = 0; k < count; ++k)                                                     \
                s[k] = add(s[k], x, qv_tail16_##dt(rows[k], i, dim - i));                          \
        }                                                                                          \
        for (size_t k = 0; k < count; ++k)                                                         \
            out[k] = qv_finish_nan(finish(qv_neon_fold(s[k])));                                    \
    }                                                                                              \
    QV_SCORE_DEFINE(op, dt, neon, score_##op##_##dt, )

#define DEFINE_COSINE(dt)                                                                          \
    QV_ALWAYS_INLINE float cosine_row_##dt(const uint8_t *query, const uint8_t *row, size_t dim)   \
    {                                                                                              \
        struct qv_neon16 ab = qv_neon_zero();                                                      \
        struct qv_neon16 aa = qv_neon_zero();                                                      \
        struct qv_neon16 bb = qv_neon_zero();                                                      \
        for (size_t i = 0; i < dim; i += 16) {                                                     \
            const bool whole = i + 16 <= dim;                                                      \
            const struct qv_neon16 x =                                                             \
                whole ? qv_load16_##dt(query, i) : qv_tail16_##dt(query, i, dim - i);              \
            const struct qv_neon16 y =                                                             \
                whole ? qv_load16_##dt(row, i) : qv_tail16_##dt(row, i, dim - i);                  \
            ab = add_product(ab, x, y);                                                            \
            aa = add_product(aa, x, x);                                                            \
            bb = add_product(bb, y, y);                                                            \
        }                                                                                          \
        return qv_finish_nan(                                                                      \
            qv_finish_cosine(qv_neon_fold(ab), qv_neon_fold(aa), qv_neon_fold(bb)));               \
    }                                                                                              \
    QV_ALWAYS_INLINE void score_cosine_##dt(const uint8_t *query, const uint8_t *const *rows,      \
                                            size_t count, size_t dim, float *out)                  \
    {                                                                                              \
        for (size_t k = 0; k < count; ++k)                                                         \
            out[k] = cosine_row_##dt(query, rows[k], dim);                                         \
    }                                                                                              \
    QV_SCORE_DEFINE(cosine, dt, neon, score_cosine_##dt, )

#define DEFINE_DTYPE(dt)                                                                           \
    DEFINE_SCORE(l2, dt, add_square, )                                                             \
    DEFINE_SCORE(dot, dt, add_product, qv_finish_dot)                                              \
    DEFINE_SCORE(l1, dt, add_distance, )                                                           \
    DEFINE_COSINE(dt)

DEFINE_DTYPE(f32)
DEFINE_DTYPE(f16)
DEFINE_DTYPE(u8)
