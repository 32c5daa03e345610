/* IEEE 754 binary16 in plain C, the same bits on every ISA and compiler: what stores and reads
 * vectors of halves rests on it. Any thread. */
#ifndef QV_BASE_HALF_H
#define QV_BASE_HALF_H

#include <stdint.h>
#include <string.h>

/* One IEEE 754 binary16 as float: exact; a signalling NaN comes out quiet, as hardware does it.
 * Shifted into place, a half reads as a float 2^-112 times its value, denormals included; Inf and
 * NaN apart, since their exponent must become the largest. Without branches, so that a compiler can
 * make vectors of it. */
static inline float qv_half_to_f32(uint16_t h)
{
    const uint32_t largest = 31u << 23; /* the exponent of Inf and NaN, shifted */
    const uint32_t magnitude = (uint32_t)(h & 0x7FFFu) << 13;
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    /* All ones where it is so: the sign of a difference. */
    const uint32_t is_special = (uint32_t)((int32_t)(largest - 1 - magnitude) >> 31);
    const uint32_t is_nan = (uint32_t)((int32_t)(largest - magnitude) >> 31);
    const uint32_t special = magnitude | 0x7F800000u | (is_nan & 0x400000u);
    uint32_t bits;
    float v;

    memcpy(&v, &magnitude, sizeof v);
    v *= 0x1p112f;
    memcpy(&bits, &v, sizeof bits);
    bits = (bits & ~is_special) | (special & is_special) | sign;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* Rounds the low bits of value away, to nearest, ties to even. */
static inline uint32_t qv_half_shift_rounding(uint32_t value, unsigned bits)
{
    const uint32_t half = 1u << (bits - 1);
    const uint32_t rest = value & ((1u << bits) - 1u);
    const uint32_t kept = value >> bits;
    return kept + (rest > half || (rest == half && (kept & 1u) != 0) ? 1u : 0u);
}

/* One float as binary16: to nearest, ties to even; beyond 65,504 (rounded) Inf; denormals kept; a
 * NaN stays one, quiet, with the upper bits of its payload. */
static inline uint16_t qv_half_from_f32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t sign = (bits >> 16) & 0x8000u;
    const uint32_t magnitude = bits & 0x7FFFFFFFu;
    uint32_t half;

    if (magnitude > 0x7F800000u) { /* NaN: quiet, upper payload */
        half = 0x7E00u | (magnitude >> 13 & 0x1FFu);
    } else if (magnitude >= 0x47800000u) { /* 2^16 and up */
        half = 0x7C00u;
    } else if (magnitude >= 0x38800000u) { /* normal in half: 2^-14 and up; a carry goes to Inf */
        half = qv_half_shift_rounding(magnitude - 0x38000000u, 13);
    } else if (magnitude >= 0x33000000u) { /* denormal in half: from 2^-25, which rounds to even */
        const uint32_t mantissa = (magnitude & 0x7FFFFFu) | 0x800000u;
        half = qv_half_shift_rounding(mantissa, 126 - (magnitude >> 23));
    } else {
        half = 0;
    }
    return (uint16_t)(sign | half);
}

#endif
