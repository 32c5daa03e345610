/* Private to src/simd: the kernels over packed bits. */
#ifndef QV_SIMD_BITS_LIST_H
#define QV_SIMD_BITS_LIST_H

#include <stddef.h>
#include <stdint.h>

#define QV_BITS_DECLARE(isa)                                                                       \
    uint32_t qv_bits_hamming_##isa(const void *a, const void *b, size_t bytes);                    \
    uint32_t qv_bits_dot_##isa(const void *a, const void *b, size_t bytes);

QV_BITS_DECLARE(serial)
#ifdef __x86_64__
QV_BITS_DECLARE(avx2)
QV_BITS_DECLARE(avx512)
QV_BITS_DECLARE(vpopcntdq)
#endif
#ifdef __aarch64__
QV_BITS_DECLARE(neon)
#endif

#endif
