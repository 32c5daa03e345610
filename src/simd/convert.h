/* Conversions between the element types of dense vectors, and normalisation: done once, where a
 * vector enters (what would differ by machine must not be done twice). Each gives the same bits on
 * every ISA and compiler. Source and destination are borrowed, may be unaligned, must not overlap.
 * Any thread. */
#ifndef QV_SIMD_CONVERT_H
#define QV_SIMD_CONVERT_H

#include "base/metric.h"

#include <stddef.h>
#include <stdint.h>

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
