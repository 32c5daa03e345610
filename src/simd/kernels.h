/* Distance kernels: row against row of one dtype, the fastest of the ISA in force.
 *
 * All kernels are symmetric; a query is converted to the storage dtype once, at the edge
 * (simd/convert.h). Distances are those of base/metric.h: smaller is closer; L2 is squared, DOT is
 * negated, COSINE is 1 - cos from the raw rows (1 when a row is zero, or so small that the sum
 * of its squares is), L1 is the sum of absolute differences. u8 sums are exact integers, rounded
 * once to float.
 *
 * What kernels of different ISAs return may differ in the last bits: they are for the walk. A
 * score that leaves a shard comes from simd/score.h, whose bits are the same everywhere.
 *
 * Rows may start at any byte; nothing before the row or past its last element is read. dim is in
 * elements, 1 .. QV_SIMD_DIM_MAX. NaN and Inf go through as IEEE 754 has it; denormals count.
 * Rows of unit length rank by DOT as they rank by COSINE, and DOT is the cheaper kernel.
 *
 * Threads: every function may be called from any thread; qv_simd_select before the others start.
 */
#ifndef QV_SIMD_KERNELS_H
#define QV_SIMD_KERNELS_H

#include "base/err.h"
#include "base/isa.h"
#include "base/metric.h"

#include <stddef.h>
#include <stdint.h>

/* 65,536 * 255 * 255 still fits in the 32 bits of the u8 sums. */
#define QV_SIMD_DIM_MAX 65536

/* Both rows are borrowed for the call. */
typedef float (*qv_dist_f)(const void *a, const void *b, size_t dim);

/* out[i] = distance(query, base + slots[i] * stride), i < n. Prefetches rows ahead of use, so the
 * caller collects slots first and calls once; n may be 0. Equal bits to n single calls of the same
 * ISA. stride is in bytes, at least a row. Everything is borrowed for the call. */
typedef void (*qv_dist_batch_f)(const void *query, const void *base, size_t stride,
                                const uint32_t *slots, size_t n, size_t dim, float *out);

/* The kernel in force for a pair; never NULL. Look it up once, not per distance. */
qv_dist_f qv_simd_dist(enum qv_metric metric, enum qv_dtype dtype);
qv_dist_batch_f qv_simd_dist_batch(enum qv_metric metric, enum qv_dtype dtype);

/* The same for a named ISA (tests and benchmarks); NULL when this machine can't run it. */
qv_dist_f qv_simd_dist_isa(enum qv_isa isa, enum qv_metric metric, enum qv_dtype dtype);
qv_dist_batch_f qv_simd_dist_batch_isa(enum qv_isa isa, enum qv_metric metric, enum qv_dtype dtype);

/* Chooses the ISA: NULL or "" = the best this machine has, else "serial", "avx2", "avx512" or
 * "neon" (the value of QUIVER_ISA). QV_EINVAL for an unknown name and for one this machine can't
 * run, with the names that are allowed in msg (may be NULL); the choice in force then stays. app
 * calls it once at start; without a call the best is in force. */
int qv_simd_select(const char *isa_or_null, struct qv_errmsg *msg) QV_MUST_USE;

enum qv_isa qv_simd_isa(void);                 /* in force */
enum qv_isa qv_simd_isa_best(void);            /* the best this machine has */
const char *qv_simd_isa_name(enum qv_isa isa); /* static; "serial", "avx2", ... */

#endif
