/* Plain C kernels for u8 rows: exact integer sums (32 bits hold QV_SIMD_DIM_MAX elements). */
#include "simd/batch.h"
#include "simd/finish.h"
#include "simd/kernel_list.h"
#include "simd/kernels.h"

_Static_assert((uint64_t)QV_SIMD_DIM_MAX * 255 * 255 <= UINT32_MAX, "u8 sums fit in 32 bits");

static inline float l2_u8(const uint8_t *a, const uint8_t *b, size_t dim)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < dim; ++i) {
        const int32_t d = (int32_t)a[i] - (int32_t)b[i];
        sum += (uint32_t)(d * d);
    }
    return (float)sum;
}

static inline float dot_u8(const uint8_t *a, const uint8_t *b, size_t dim)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < dim; ++i)
        sum += (uint32_t)a[i] * (uint32_t)b[i];
    return qv_finish_dot((float)sum);
}

static inline float cosine_u8(const uint8_t *a, const uint8_t *b, size_t dim)
{
    uint32_t ab = 0;
    uint32_t aa = 0;
    uint32_t bb = 0;
    for (size_t i = 0; i < dim; ++i) {
        ab += (uint32_t)a[i] * (uint32_t)b[i];
        aa += (uint32_t)a[i] * (uint32_t)a[i];
        bb += (uint32_t)b[i] * (uint32_t)b[i];
    }
    return qv_finish_cosine_u32(ab, aa, bb);
}

static inline float l1_u8(const uint8_t *a, const uint8_t *b, size_t dim)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < dim; ++i)
        sum += (uint32_t)(a[i] > b[i] ? a[i] - b[i] : b[i] - a[i]);
    return (float)sum;
}

QV_KERNEL_DEFINE(l2, u8, serial, l2_u8, 1, )
QV_KERNEL_DEFINE(dot, u8, serial, dot_u8, 1, )
QV_KERNEL_DEFINE(cosine, u8, serial, cosine_u8, 1, )
QV_KERNEL_DEFINE(l1, u8, serial, l1_u8, 1, )
