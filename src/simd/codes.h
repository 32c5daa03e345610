/* Rows of 4 or 8 bits an element under a query of more: the kernels of packed graphs, where rows
 * are coded once and a query is only ever compared with rows, so that it need not be rounded as
 * they are (simd/lvq.h has the symmetric kernels).
 *
 * A row of 8 bits is a byte an element. A row of 4 bits goes in blocks of 128 elements and 64
 * bytes: byte j of a block holds element j in its low half and element 64 + j in its high half, so
 * that one AND and one shift give 128 elements in order. The last block, of r elements, takes
 * (r + 1) / 2 bytes: byte j holds j and (r + 1) / 2 + j; what is missing is 0.
 *
 * A query is whole numbers of 15 bits, or of 8: value = 128 * high + low, each a signed byte of its
 * plane, laid out as the row's bytes meet them and zero where a row has no element. A kernel gives
 * the inner product of whole numbers, rounded to float only after sums of 32 bits.
 *
 * Kernels read up to QV_CODES_BEHIND bytes behind a row: they must be readable, what they hold does
 * not matter. Rows may start at any byte. Any thread. */
#ifndef QV_SIMD_CODES_H
#define QV_SIMD_CODES_H

#include "base/err.h"
#include "base/isa.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QV_CODES_BEHIND ((size_t)63)
#define QV_CODES_DIM_MAX 65536u

enum qv_codes_width { QV_CODES_4, QV_CODES_8, QV_CODES_WIDTH_COUNT };

/* Bytes of a row; of a plane of a query; dim 1 .. QV_CODES_DIM_MAX. */
size_t qv_codes_row_bytes(enum qv_codes_width width, size_t dim);
size_t qv_codes_plane_bytes(enum qv_codes_width width, size_t dim);

/* codes: dim of them, one a byte, below 16 for QV_CODES_4. out: a row. And back. */
void qv_codes_pack(enum qv_codes_width width, const uint8_t *codes, size_t dim, uint8_t *out);
void qv_codes_unpack(enum qv_codes_width width, const uint8_t *row, size_t dim, uint8_t *codes);

struct qv_codes_query {
    const int8_t *low;  /* a plane; borrowed */
    const int8_t *high; /* a plane, or NULL: all zero */
    uint32_t steps;     /* of 64 bytes of a row */
    float scale;        /* what the product is times, for the element's own unit */
    float sum;          /* of the elements less `shift` */
    float squares;      /* of the same */
};

/* Codes a query of dim finite elements, `shift` taken from each. planes: room for two. What are
 * then whole numbers from -128 to 127 take one plane and, up to 16,000 with two, are exact; others
 * are rounded to 1/16,000 of the largest. *out borrows planes. */
void qv_codes_encode_query(enum qv_codes_width width, const float *query, size_t dim, float shift,
                           int8_t *planes, struct qv_codes_query *out);

/* out[i] = the product of the query's whole numbers and the codes of the row at base + slots[i] *
 * stride, i < n. Prefetches rows ahead of their use, prefetch_bytes of each. */
struct qv_codes_rows {
    const uint8_t *base;
    size_t stride;
    size_t prefetch_bytes;
};
typedef void (*qv_codes_products_f)(const struct qv_codes_query *query,
                                    const struct qv_codes_rows *rows, const uint32_t *slots,
                                    size_t n, float *out);

/* The fastest of the ISA in force; never NULL. */
qv_codes_products_f qv_codes_products(enum qv_codes_width width);
/* The same for a named ISA; NULL when this machine can't run it. */
qv_codes_products_f qv_codes_products_isa(enum qv_isa isa, enum qv_codes_width width);

#endif
