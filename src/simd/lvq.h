/* Codes of 8 bits an element with a scale and an offset of the row's own (locally-adaptive vector
 * quantization: Aguerrebere et al., "Similarity search in the blink of an eye with compressed
 * indices", VLDB 2023; without their subtraction of the mean, which would tie codes to the data
 * that came first). element = offset + scale * code. Rows of whole numbers that span at most 255
 * are coded exactly.
 *
 * A code row is dim bytes, padded to 4, then struct qv_lvq_tail. The distance of two code rows is
 * that of what they decode to: smaller is closer, as in base/metric.h. L1 has no such form.
 * Kernels are symmetric, and have the types of simd/kernels.h: a query is encoded once. What
 * kernels of different ISAs return may differ in the last bits.
 *
 * Rows may start at any byte. Any thread. */
#ifndef QV_SIMD_LVQ_H
#define QV_SIMD_LVQ_H

#include "simd/kernels.h"

#include <stdbool.h>

struct qv_lvq_tail {
    float scale; /* >= 0 */
    float offset;
    float norm;   /* the sum of the squares of the decoded elements */
    uint32_t sum; /* of the codes */
};

/* Bytes of a code row: a multiple of 4. */
static inline size_t qv_lvq_row_bytes(size_t dim)
{
    return ((dim + 3) & ~(size_t)3) + sizeof(struct qv_lvq_tail);
}

/* Codes a row of the dtype; out has qv_lvq_row_bytes(dim). Elements that are not finite count as
 * 0, those beyond 1e38 as 1e38. Borrows both. */
void qv_lvq_encode(enum qv_dtype dtype, const void *row, size_t dim, uint8_t *out);
/* What the code stands for; out has dim. */
void qv_lvq_decode(const uint8_t *code, size_t dim, float *out);

/* Two bits more an element, kept apart from the code that walks compare: which fourth of the
 * code's step the element lies in (two levels, as in the paper). Four elements a byte, the first
 * in the lowest bits. Rows that are coded exactly have none: theirs may be zero, as fresh memory
 * is. */
static inline size_t qv_lvq_fine_bytes(size_t dim)
{
    return (dim + 3) / 4;
}
/* code: what encode made of the row. fine has qv_lvq_fine_bytes(dim). Borrows all. */
void qv_lvq_encode_fine(enum qv_dtype dtype, const void *row, size_t dim, const uint8_t *code,
                        uint8_t *fine);
/* What both stand for; out has dim. */
void qv_lvq_decode_fine(const uint8_t *code, const uint8_t *fine, size_t dim, float *out);

/* NULL for L1. */
qv_dist_f qv_lvq_dist(enum qv_metric metric);
qv_dist_batch_f qv_lvq_dist_batch(enum qv_metric metric);
/* The same for a named ISA; NULL also when this machine can't run it. */
qv_dist_f qv_lvq_dist_isa(enum qv_isa isa, enum qv_metric metric);
qv_dist_batch_f qv_lvq_dist_batch_isa(enum qv_isa isa, enum qv_metric metric);

#endif
