/* Rows of packed bits: hamming distance and inner product. Each is exact, so every ISA returns the
 * same number. Rows may start at any byte; nothing outside them is read; bits that pad the last
 * byte must be zero in both rows (they count). Any thread. */
#ifndef QV_SIMD_BITS_H
#define QV_SIMD_BITS_H

#include "base/isa.h"

#include <stddef.h>
#include <stdint.h>

enum qv_bits_op {
    QV_BITS_HAMMING, /* bits that differ */
    QV_BITS_DOT,     /* bits that are one in both */
    QV_BITS_OP_COUNT
};

/* Rows of so many bytes, at most QV_BITS_BYTES_MAX; both are borrowed for the call. */
typedef uint32_t (*qv_bits_f)(const void *a, const void *b, size_t bytes);

#define QV_BITS_BYTES_MAX ((size_t)1 << 28)

/* The fastest of the ISA in force; never NULL. Look it up once, not per pair. */
qv_bits_f qv_simd_bits(enum qv_bits_op op);
/* The same for a named ISA (tests and benchmarks); NULL when this machine can't run it. */
qv_bits_f qv_simd_bits_isa(enum qv_isa isa, enum qv_bits_op op);

#endif
