/* Packed bits, NEON. */
#include "simd/bits_list.h"
#include "simd/neon.h"

#define DEFINE_NEON(op, combine)                                                                   \
    uint32_t qv_bits_##op##_neon(const void *a, const void *b, size_t bytes)                       \
    {                                                                                              \
        const uint8_t *x = (const uint8_t *)a;                                                     \
        const uint8_t *y = (const uint8_t *)b;                                                     \
        uint32x4_t sums = vdupq_n_u32(0);                                                          \
        size_t i = 0;                                                                              \
        for (; i + 16 <= bytes; i += 16) {                                                         \
            const uint8x16_t ones = vcntq_u8(combine(vld1q_u8(x + i), vld1q_u8(y + i)));           \
            sums = vpadalq_u16(sums, vpaddlq_u8(ones));                                            \
        }                                                                                          \
        if (i < bytes) {                                                                           \
            const uint8x16_t ones = vcntq_u8(                                                      \
                combine(qv_tail16_bytes(x + i, bytes - i), qv_tail16_bytes(y + i, bytes - i)));    \
            sums = vpadalq_u16(sums, vpaddlq_u8(ones));                                            \
        }                                                                                          \
        return vaddvq_u32(sums);                                                                   \
    }

DEFINE_NEON(hamming, veorq_u8)
DEFINE_NEON(dot, vandq_u8)
