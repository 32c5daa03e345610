/* Conversions and normalisation: see convert.h. The wide forms live in convert_avx2.c and
 * convert_neon.c. */
#include "simd/convert.h"

#include "base/half.h"
#include "base/qv_assert.h"
#include "simd/convert_wide.h"
#include "simd/kernels.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

_Static_assert(FLT_EVAL_METHOD == 0, "each operation must round to its own type");

static bool have_wide(void)
{
    return qv_simd_isa() != QV_ISA_SERIAL;
}

void qv_simd_f32_to_f16(const float *src, uint16_t *dst, size_t dim)
{
    size_t i = have_wide() ? qv_convert_f32_to_f16_wide(src, dst, dim) : 0;
    for (; i < dim; ++i) {
        float x;
        memcpy(&x, (const uint8_t *)src + i * sizeof x, sizeof x);
        const uint16_t h = qv_half_from_f32(x);
        memcpy((uint8_t *)dst + i * sizeof h, &h, sizeof h);
    }
}

void qv_simd_f16_to_f32(const uint16_t *src, float *dst, size_t dim)
{
    size_t i = have_wide() ? qv_convert_f16_to_f32_wide(src, dst, dim) : 0;
    for (; i < dim; ++i) {
        uint16_t h;
        memcpy(&h, (const uint8_t *)src + i * sizeof h, sizeof h);
        const float x = qv_half_to_f32(h);
        memcpy((uint8_t *)dst + i * sizeof x, &x, sizeof x);
    }
}

void qv_simd_f32_to_u8(const float *src, uint8_t *dst, size_t dim)
{
    for (size_t i = 0; i < dim; ++i) {
        float x;
        memcpy(&x, (const uint8_t *)src + i * sizeof x, sizeof x);
        dst[i] = x >= 255.0f ? 255 : x >= 0.0f ? (uint8_t)x : 0; /* NaN compares false */
    }
}

void qv_simd_u8_to_f32(const uint8_t *src, float *dst, size_t dim)
{
    for (size_t i = 0; i < dim; ++i) {
        const float x = (float)src[i];
        memcpy((uint8_t *)dst + i * sizeof x, &x, sizeof x);
    }
}

void qv_simd_from_f32(enum qv_dtype dtype, const float *src, void *dst, size_t dim)
{
    switch (dtype) {
    case QV_DTYPE_F32:
        memcpy(dst, src, dim * sizeof *src);
        return;
    case QV_DTYPE_F16:
        qv_simd_f32_to_f16(src, (uint16_t *)dst, dim);
        return;
    case QV_DTYPE_U8:
        qv_simd_f32_to_u8(src, (uint8_t *)dst, dim);
        return;
    case QV_DTYPE_COUNT:
        break;
    }
    QV_UNREACHABLE();
}

void qv_simd_to_f32(enum qv_dtype dtype, const void *src, float *dst, size_t dim)
{
    switch (dtype) {
    case QV_DTYPE_F32:
        memcpy(dst, src, dim * sizeof *dst);
        return;
    case QV_DTYPE_F16:
        qv_simd_f16_to_f32((const uint16_t *)src, dst, dim);
        return;
    case QV_DTYPE_U8:
        qv_simd_u8_to_f32((const uint8_t *)src, dst, dim);
        return;
    case QV_DTYPE_COUNT:
        break;
    }
    QV_UNREACHABLE();
}

void qv_simd_normalise_f32(float *row, size_t dim)
{
    double squares = 0;
    for (size_t i = 0; i < dim; ++i)
        squares += (double)row[i] * (double)row[i];
    /* A sum that is NaN or Inf fails the first comparison. */
    if (!(squares <= DBL_MAX) || squares == 0 || fabs(squares - 1.0) <= 1e-6)
        return;
    const double length = sqrt(squares);
    for (size_t i = 0; i < dim; ++i)
        row[i] = (float)((double)row[i] / length);
}
