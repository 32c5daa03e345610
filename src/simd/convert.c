/* Conversions and normalisation: see convert.h. The wide forms live in convert_avx2.c. */
#include "simd/convert.h"

#include "base/qv_assert.h"
#include "simd/convert_wide.h"
#include "simd/kernels.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

_Static_assert(FLT_EVAL_METHOD == 0, "each operation must round to its own type");

/* Rounds the low bits of value away, to nearest, ties to even. */
static uint32_t shift_rounding(uint32_t value, unsigned bits)
{
    const uint32_t half = 1u << (bits - 1);
    const uint32_t rest = value & ((1u << bits) - 1u);
    const uint32_t kept = value >> bits;
    return kept + (rest > half || (rest == half && (kept & 1u) != 0) ? 1u : 0u);
}

uint16_t qv_f32_to_f16(float x)
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
        half = shift_rounding(magnitude - 0x38000000u, 13);
    } else if (magnitude >= 0x33000000u) { /* denormal in half: from 2^-25, which rounds to even */
        const uint32_t mantissa = (magnitude & 0x7FFFFFu) | 0x800000u;
        half = shift_rounding(mantissa, 126 - (magnitude >> 23));
    } else {
        half = 0;
    }
    return (uint16_t)(sign | half);
}

static bool have_avx2(void)
{
    return qv_simd_isa() >= QV_ISA_AVX2;
}

void qv_simd_f32_to_f16(const float *src, uint16_t *dst, size_t dim)
{
    size_t i = have_avx2() ? qv_convert_f32_to_f16_avx2(src, dst, dim) : 0;
    for (; i < dim; ++i) {
        float x;
        memcpy(&x, (const uint8_t *)src + i * sizeof x, sizeof x);
        const uint16_t h = qv_f32_to_f16(x);
        memcpy((uint8_t *)dst + i * sizeof h, &h, sizeof h);
    }
}

void qv_simd_f16_to_f32(const uint16_t *src, float *dst, size_t dim)
{
    size_t i = have_avx2() ? qv_convert_f16_to_f32_avx2(src, dst, dim) : 0;
    for (; i < dim; ++i) {
        uint16_t h;
        memcpy(&h, (const uint8_t *)src + i * sizeof h, sizeof h);
        const float x = qv_f16_to_f32(h);
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
