/* The definition of the canonical score, in plain C: see score.h and serial.h. */
#include "simd/score_list.h"
#include "simd/serial.h"

QV_SERIAL_DEFINE(f32)
QV_SERIAL_DEFINE(f16)
QV_SERIAL_DEFINE(u8)

#define DEFINE_SCORE(op, dt)                                                                       \
    static inline void score_##op##_##dt(const uint8_t *query, const uint8_t *const *rows,         \
                                         size_t count, size_t dim, float *out)                     \
    {                                                                                              \
        for (size_t k = 0; k < count; ++k)                                                         \
            out[k] = qv_finish_nan(qv_serial_##op##_##dt(query, rows[k], dim));                    \
    }                                                                                              \
    QV_SCORE_DEFINE(op, dt, serial, score_##op##_##dt, )

#define DEFINE_DTYPE(dt)                                                                           \
    DEFINE_SCORE(l2, dt)                                                                           \
    DEFINE_SCORE(dot, dt)                                                                          \
    DEFINE_SCORE(cosine, dt)                                                                       \
    DEFINE_SCORE(l1, dt)

DEFINE_DTYPE(f32)
DEFINE_DTYPE(f16)
DEFINE_DTYPE(u8)
