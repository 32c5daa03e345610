/* Private to src/simd: from sums to a distance, the same plain C for every ISA. */
#ifndef QV_SIMD_FINISH_H
#define QV_SIMD_FINISH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* 0 - x and not -x: a product of zero is +0 on every path. */
static inline float qv_finish_dot(float ab)
{
    return 0.0f - ab;
}

/* Two correctly rounded roots, one product, one quotient, one difference: nothing a compiler may
 * reorder. A row without length has no direction: its cosine is 0 with everything. */
static inline float qv_finish_cosine(float ab, float aa, float bb)
{
    if (aa == 0.0f || bb == 0.0f)
        return 1.0f;
    return 1.0f - ab / (sqrtf(aa) * sqrtf(bb));
}

/* For integer sums: squared lengths of u8 rows multiply exactly in double. */
static inline float qv_finish_cosine_u32(uint32_t ab, uint32_t aa, uint32_t bb)
{
    if (aa == 0 || bb == 0)
        return 1.0f;
    return (float)(1.0 - (double)ab / sqrt((double)aa * (double)bb));
}

/* One NaN: which operand's payload and sign survive an operation differs by compiler and ISA. */
static inline float qv_finish_nan(float x)
{
    const uint32_t quiet = 0x7FC00000u;
    if (x != x)
        memcpy(&x, &quiet, sizeof x);
    return x;
}

#endif
