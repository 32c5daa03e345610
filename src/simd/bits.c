/* Which kernel over bits runs, and the plain C ones. */
#include "simd/bits.h"

#include "base/qv_assert.h"
#include "simd/bits_list.h"

#include <string.h>

/* The last n <= 8 bytes of a row, zeros behind them. */
static inline uint64_t load_part(const uint8_t *p, size_t n)
{
    uint64_t word = 0;
    memcpy(&word, p, n);
    return word;
}

#define XOR(x, y) ((x) ^ (y))
#define AND(x, y) ((x) & (y))

#define DEFINE_SERIAL(op, combine)                                                                 \
    uint32_t qv_bits_##op##_serial(const void *a, const void *b, size_t bytes)                     \
    {                                                                                              \
        const uint8_t *x = (const uint8_t *)a;                                                     \
        const uint8_t *y = (const uint8_t *)b;                                                     \
        uint32_t sum = 0;                                                                          \
        size_t i = 0;                                                                              \
        for (; i + 8 <= bytes; i += 8)                                                             \
            sum +=                                                                                 \
                (uint32_t)__builtin_popcountll(combine(load_part(x + i, 8), load_part(y + i, 8))); \
        if (i < bytes)                                                                             \
            sum += (uint32_t)__builtin_popcountll(                                                 \
                combine(load_part(x + i, bytes - i), load_part(y + i, bytes - i)));                \
        return sum;                                                                                \
    }

DEFINE_SERIAL(hamming, XOR)
DEFINE_SERIAL(dot, AND)

#define KERNELS_OF_ISA(isa)                                                                        \
    {                                                                                              \
        [QV_BITS_HAMMING] = qv_bits_hamming_##isa, [QV_BITS_DOT] = qv_bits_dot_##isa,              \
    }

static const qv_bits_f kernels[QV_ISA_COUNT][QV_BITS_OP_COUNT] = {
    [QV_ISA_SERIAL] = KERNELS_OF_ISA(serial),
#ifdef __x86_64__
    [QV_ISA_AVX2] = KERNELS_OF_ISA(avx2),
    [QV_ISA_AVX512] = KERNELS_OF_ISA(avx512),
#endif
#ifdef __aarch64__
    [QV_ISA_NEON] = KERNELS_OF_ISA(neon),
#endif
};

#ifdef __x86_64__
/* An AVX-512 machine that counts bits in hardware besides. */
static const qv_bits_f kernels_vpopcntdq[QV_BITS_OP_COUNT] = KERNELS_OF_ISA(vpopcntdq);
#endif

qv_bits_f qv_simd_bits_isa(enum qv_isa isa, enum qv_bits_op op)
{
    QV_ASSERT((unsigned)isa < QV_ISA_COUNT && (unsigned)op < QV_BITS_OP_COUNT);
    if (!qv_isa_have(isa))
        return NULL;
#ifdef __x86_64__
    if (isa == QV_ISA_AVX512 && qv_isa_probe().vpopcntdq)
        return kernels_vpopcntdq[op];
#endif
    return kernels[isa][op];
}

qv_bits_f qv_simd_bits(enum qv_bits_op op)
{
    return qv_simd_bits_isa(qv_isa_in_force(), op);
}
