/* Private to src/simd: what the plain C kernels share. Sixteen partial sums, lane i taking the
 * elements i, i + 16, ..., folded 16 -> 8 -> 4 -> 2 -> 1: the order simd/score.h defines. */
#ifndef QV_SIMD_SERIAL_H
#define QV_SIMD_SERIAL_H

#include "simd/convert.h"
#include "simd/finish.h"

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

_Static_assert(FLT_EVAL_METHOD == 0, "sums must round to float at every step");

#define QV_LANES 16

/* Element i of an unaligned row, exactly, as float. */
static inline float qv_load1_f32(const uint8_t *row, size_t i)
{
    float v;
    memcpy(&v, row + i * sizeof v, sizeof v);
    return v;
}

static inline float qv_load1_f16(const uint8_t *row, size_t i)
{
    uint16_t v;
    memcpy(&v, row + i * sizeof v, sizeof v);
    return qv_f16_to_f32(v);
}

static inline float qv_load1_u8(const uint8_t *row, size_t i)
{
    return (float)row[i];
}

static inline float qv_reduce_lanes(float s[QV_LANES])
{
    for (size_t width = QV_LANES / 2; width != 0; width /= 2)
        for (size_t j = 0; j < width; ++j)
            s[j] += s[j + width];
    return s[0];
}

#endif
