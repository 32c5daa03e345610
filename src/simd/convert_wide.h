/* Private to src/simd: the wide middles of conversions. Each converts a whole number of registers
 * from the start and returns how many elements that was. */
#ifndef QV_SIMD_CONVERT_WIDE_H
#define QV_SIMD_CONVERT_WIDE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) || defined(__aarch64__)
size_t qv_convert_f32_to_f16_wide(const void *src, void *dst, size_t dim);
size_t qv_convert_f16_to_f32_wide(const void *src, void *dst, size_t dim);
#else
static inline size_t qv_convert_f32_to_f16_wide(const void *src, void *dst, size_t dim)
{
    (void)src, (void)dst, (void)dim;
    return 0;
}
static inline size_t qv_convert_f16_to_f32_wide(const void *src, void *dst, size_t dim)
{
    (void)src, (void)dst, (void)dim;
    return 0;
}
#endif

#endif
