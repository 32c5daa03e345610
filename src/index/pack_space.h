/* Private to src/index: rows coded for one-sided comparison, and a query against them.
 *
 * A coded row is its codes (simd/codes.h) and up to three floats {scale, offset, bias}: behind
 * them, but of whole rows apart, since 128 codes then fill two cache lines. It stands for offset +
 * scale * code. With q the query less what `low` and `centre` say,
 *
 *   l2    distance = |q|^2 + bias - 2 q.x      bias = |x|^2 - |e|^2, e what the code is off by:
 *                                              the part of its error that no query changes
 *   dot   distance = -q.x
 *
 * scale and offset are the least squares fit of the row by its codes, so that e is at right angles
 * to what is decoded. Rows of whole numbers that span at most 255 are kept as they are, less the
 * lowest of all. */
#ifndef QV_INDEX_PACK_SPACE_H
#define QV_INDEX_PACK_SPACE_H

#include "base/metric.h"
#include "index/rows_view.h"
#include "simd/codes.h"

struct qv_pack_space {
    enum qv_codes_width width;
    bool l2;           /* else dot */
    bool whole;        /* scale 1, offset 0: not kept */
    uint32_t dim;      /* elements coded */
    float low;         /* of whole rows: the least element of all, taken from each */
    float centre;      /* of whole rows under l2: taken from the query, so that it fits a plane */
    size_t code_bytes; /* of a row */
    size_t stride;     /* with its floats; may be raised before rows are coded */
    uint8_t *base;     /* borrowed; QV_CODES_BEHIND bytes more than its rows */
    float *biases;     /* of whole rows under l2, by row; else NULL. Borrowed */
    qv_codes_products_f products;
};

/* whole: rows of whole numbers from low to low + 255, coded in 8 bits. base is the caller's to set,
 * and biases where qv_pack_space_bias_bytes says so. */
struct qv_pack_space qv_pack_space_make(enum qv_codes_width width, bool l2, uint32_t dim,
                                        bool whole, float low);

/* Of a row, apart from it. */
static inline size_t qv_pack_space_bias_bytes(const struct qv_pack_space *s)
{
    return s->whole && s->l2 ? sizeof(float) : 0;
}

struct qv_pack_row {
    const float *elements; /* finite */
    double rest;           /* squared length of what is not among them */
    uint8_t *codes;        /* scratch, a byte an element */
};

/* Codes a row into place i. */
void qv_pack_space_encode(const struct qv_pack_space *s, qv_slot i, const struct qv_pack_row *row);

/* A query as a space compares it. */
struct qv_pack_side {
    struct qv_codes_query query;
    float constant;    /* added to each distance */
    float per_offset;  /* times a row's offset */
    float per_product; /* times a row's scale and the product */
};

/* elements: s->dim finite floats. planes: 2 * qv_codes_plane_bytes. Borrows planes.
 */
void qv_pack_space_encode_query(const struct qv_pack_space *s, const float *elements,
                                int8_t *planes, struct qv_pack_side *out);

/* dists[i] = distance of the row at slots[i]; prefetch: bytes of each row to ask for ahead. */
void qv_pack_space_compare(const struct qv_pack_space *s, const struct qv_pack_side *side,
                           size_t prefetch, const uint32_t *slots, size_t n, float *dists);

#endif
