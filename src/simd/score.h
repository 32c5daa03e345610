/* The canonical distance: the same bits on every machine, ISA and compiler. Every score that leaves
 * a shard comes from here, so copies of a shard agree to the bit and a checker may recompute.
 *
 * Definition. Elements are widened to float exactly (f16 with its denormals, u8 as integers). Lane
 * j of sixteen starts at +0 and takes the elements j, j + 16, j + 32, ... in that order; each
 * difference, product and addition rounds to float on its own (to nearest even, no fused
 * multiply-add, denormals kept). Lanes fold as s[j] += s[j + w] for w = 8, 4, 2, 1. Then
 *     L2      s of (a - b) * (a - b)
 *     DOT     0 - s of a * b
 *     COSINE  1 - ab / (sqrt(aa) * sqrt(bb)), each sum as above and each step rounded to float;
 *             1 when aa or bb is zero
 *     L1      s of |a - b|
 * and any NaN becomes the quiet NaN 0x7FC00000. Plain C (score_serial.c) is the definition; the
 * wide forms compute the same and are tested to the bit against it and against a golden file.
 * The result of DOT and L1 with whole numbers is never -0.
 *
 * Changing this changes every stored digest of an answer: it is a format.
 *
 * Rows as in simd/kernels.h: any alignment, nothing read outside them. Any thread. The caller must
 * not have set flush-to-zero or another rounding mode. */
#ifndef QV_SIMD_SCORE_H
#define QV_SIMD_SCORE_H

#include "base/metric.h"
#include "simd/kernels.h"

#include <stddef.h>
#include <stdint.h>

float qv_score_dist(enum qv_metric metric, enum qv_dtype dtype, const void *a, const void *b,
                    size_t dim);

/* A chosen kernel: a value, freely copied, valid while the process lives. */
struct qv_scorer {
    const struct qv_score_kernel *kernel; /* static */
    enum qv_metric metric;
    enum qv_dtype dtype;
    size_t dim;
};

/* Rows anywhere in memory; everything borrowed for the call that takes it. */
struct qv_gather {
    const void *base;
    size_t stride_bytes;
    const uint32_t *slots; /* row i is at base + slots[i] * stride_bytes */
    size_t n;
};

void qv_score_init(struct qv_scorer *s, enum qv_metric metric, enum qv_dtype dtype, size_t dim);

/* The same with a named ISA's kernel, for tests and benchmarks: QV_EINVAL when this machine can't
 * run it. */
int qv_score_init_isa(struct qv_scorer *s, enum qv_isa isa, enum qv_metric metric,
                      enum qv_dtype dtype, size_t dim) QV_MUST_USE;

/* out[i] = the canonical distance of query and row i: the bits of qv_score_dist, but four rows at a
 * time and prefetched. */
void qv_score_batch(const struct qv_scorer *s, const void *query, const struct qv_gather *g,
                    float *out);

#endif
