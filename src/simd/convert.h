/* Conversions between the element types of dense vectors, and normalisation: done once, where a
 * vector enters (what would differ by machine must not be done twice). Each gives the same bits on
 * every ISA and compiler. Source and destination are borrowed, may be unaligned, must not overlap.
 * Any thread. */
#ifndef QV_SIMD_CONVERT_H
#define QV_SIMD_CONVERT_H

#include "base/metric.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* One IEEE 754 binary16 as float: exact; a signalling NaN comes out quiet, as hardware does it.
 * Shifted into place, a half reads as a float 2^-112 times its value, denormals included; Inf and
 * NaN apart, since their exponent must become the largest. Without branches, so that a compiler can
 * make vectors of it. */
static inline float qv_f16_to_f32(uint16_t h)
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

/* One float as binary16: to nearest, ties to even; beyond 65,504 (rounded) Inf; denormals kept; a
 * NaN stays one, quiet, with the upper bits of its payload. */
uint16_t qv_f32_to_f16(float x);

/* Rows of dim elements. */
void qv_simd_f32_to_f16(const float *src, uint16_t *dst, size_t dim);
void qv_simd_f16_to_f32(const uint16_t *src, float *dst, size_t dim);

/* Truncates towards zero and clamps to 0 .. 255; NaN becomes 0. */
void qv_simd_f32_to_u8(const float *src, uint8_t *dst, size_t dim);
void qv_simd_u8_to_f32(const uint8_t *src, float *dst, size_t dim);

/* A float row to the storage dtype (f32: copied), and back. dst has dim * qv_dtype_bytes(dtype). */
void qv_simd_from_f32(enum qv_dtype dtype, const float *src, void *dst, size_t dim);
void qv_simd_to_f32(enum qv_dtype dtype, const void *src, float *dst, size_t dim);

/* Scales the row to unit length in place: the squares summed in order in double, each element
 * divided in double and rounded once. Left untouched: a row of zeros, a row that holds NaN or Inf,
 * and one whose squared length is within 1e-6 of 1 already (so that normalising twice changes
 * nothing). */
void qv_simd_normalise_f32(float *row, size_t dim);

#endif
