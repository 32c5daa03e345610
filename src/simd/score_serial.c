/* The definition of the canonical score, in plain C: see score.h. Nothing here may be contracted
 * or reassociated: the build says -ffp-contract=off and has no fast-math. */
#include "simd/score_list.h"
#include "simd/serial.h"

struct sums {
    float ab[QV_LANES];
    float aa[QV_LANES];
    float bb[QV_LANES];
};

/* Adds step(j), with x and y the elements i + j of the rows, for j < count. */
#define ADD_LANES(dt, count, step)                                                                 \
    for (size_t j = 0; j < (count); ++j) {                                                         \
        const float x = qv_load1_##dt(a, i + j);                                                   \
        const float y = qv_load1_##dt(b, i + j);                                                   \
        step;                                                                                      \
    }

#define ADD_ROWS(dt, step)                                                                         \
    size_t i = 0;                                                                                  \
    for (; i + QV_LANES <= dim; i += QV_LANES)                                                     \
        ADD_LANES(dt, QV_LANES, step)                                                              \
    ADD_LANES(dt, dim - i, step)

#define L2_STEP                                                                                    \
    const float d = x - y;                                                                         \
    s.ab[j] += d * d
#define DOT_STEP s.ab[j] += x * y
#define COSINE_STEP                                                                                \
    s.ab[j] += x * y;                                                                              \
    s.aa[j] += x * x;                                                                              \
    s.bb[j] += y * y
#define L1_STEP s.ab[j] += fabsf(x - y)

#define DEFINE_SCORE(op, dt, step, finish)                                                         \
    static inline void score_##op##_##dt(const uint8_t *a, const uint8_t *const *rows,             \
                                         size_t count, size_t dim, float *out)                     \
    {                                                                                              \
        for (size_t k = 0; k < count; ++k) {                                                       \
            const uint8_t *b = rows[k];                                                            \
            struct sums s = {{0}, {0}, {0}};                                                       \
            ADD_ROWS(dt, step)                                                                     \
            out[k] = qv_finish_nan(finish);                                                        \
        }                                                                                          \
    }                                                                                              \
    QV_SCORE_DEFINE(op, dt, serial, score_##op##_##dt, )

#define DEFINE_DTYPE(dt)                                                                           \
    DEFINE_SCORE(l2, dt, L2_STEP, qv_reduce_lanes(s.ab))                                           \
    DEFINE_SCORE(dot, dt, DOT_STEP, qv_finish_dot(qv_reduce_lanes(s.ab)))                          \
    DEFINE_SCORE(                                                                                  \
        cosine, dt, COSINE_STEP,                                                                   \
        qv_finish_cosine(qv_reduce_lanes(s.ab), qv_reduce_lanes(s.aa), qv_reduce_lanes(s.bb)))     \
    DEFINE_SCORE(l1, dt, L1_STEP, qv_reduce_lanes(s.ab))

DEFINE_DTYPE(f32)
DEFINE_DTYPE(f16)
DEFINE_DTYPE(u8)
