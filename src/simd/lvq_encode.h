/* Private to src/simd: coding an f32 row, written so that a compiler makes vectors of it: whole
 * numbers where an order or a sum counts, no branch on an element. Each ISA compiles it for itself;
 * all give the same bytes, since no sum of floats depends on its order. */
#ifndef QV_SIMD_LVQ_ENCODE_H
#define QV_SIMD_LVQ_ENCODE_H

#include "simd/lvq.h"

#include <string.h>

#define QV_LVQ_LARGEST 1e38f
#define QV_LVQ_LARGEST_BITS 0x7E967699u /* of 1e38f: offset + 255 * scale stays finite below it */
#define QV_LVQ_INFINITE_BITS 0x7F800000u

/* The bits of an element as it counts: not finite 0, large cut off. */
static inline __attribute__((always_inline)) uint32_t qv_lvq_element_bits(const uint8_t *row,
                                                                          size_t i)
{
    uint32_t bits;
    memcpy(&bits, row + 4 * i, sizeof bits);
    const uint32_t size = bits & 0x7FFFFFFFu;
    const uint32_t sign = bits & 0x80000000u;
    const uint32_t cut = size > QV_LVQ_LARGEST_BITS ? QV_LVQ_LARGEST_BITS : size;
    return size >= QV_LVQ_INFINITE_BITS ? 0 : sign | cut;
}

static inline __attribute__((always_inline)) float qv_lvq_float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Sorts as the floats do; its own inverse. */
static inline __attribute__((always_inline)) int32_t qv_lvq_order(int32_t bits)
{
    return bits < 0 ? bits ^ 0x7FFFFFFF : bits;
}

/* The decoded row's squared length; squares: of the codes. Exact but for the last roundings. */
static inline __attribute__((always_inline)) float qv_lvq_norm(const struct qv_lvq_tail *t,
                                                               size_t dim, uint32_t squares)
{
    const double o = (double)t->offset;
    const double s = (double)t->scale;
    const double norm = (double)dim * o * o + 2 * o * s * t->sum + s * s * squares;
    return norm > 0 ? (float)norm : 0.0f;
}

static inline __attribute__((always_inline)) void qv_lvq_encode_f32_body(const uint8_t *row,
                                                                         size_t dim, uint8_t *out)
{
    int32_t least = INT32_MAX;
    int32_t most = INT32_MIN;
    for (size_t i = 0; i < dim; ++i) {
        const int32_t at = qv_lvq_order((int32_t)qv_lvq_element_bits(row, i));
        least = at < least ? at : least;
        most = at > most ? at : most;
    }
    const float low = qv_lvq_float_of((uint32_t)qv_lvq_order(least));
    const float high = qv_lvq_float_of((uint32_t)qv_lvq_order(most));
    bool exact = low >= -0x1p24f && low <= 0x1p24f && high - low <= 255.0f;
    uint32_t broken = 0;
    for (size_t i = 0; i < dim && exact; ++i) {
        const float x = qv_lvq_float_of(qv_lvq_element_bits(row, i));
        broken += (float)(int32_t)x != x ? 1u : 0u;
    }
    exact = exact && broken == 0;
    struct qv_lvq_tail t = {.scale = exact ? 1.0f : (high - low) / 255.0f, .offset = low};
    /* Bytes keep their own origin: no offset to add up, and sums that are whole numbers. */
    if (exact && low >= 0 && high <= 255.0f)
        t.offset = 0;
    const float inverse = t.scale > 0 ? 1.0f / t.scale : 0.0f;
    uint32_t sum = 0;
    uint32_t squares = 0;
    for (size_t i = 0; i < dim; ++i) {
        const float x = qv_lvq_float_of(qv_lvq_element_bits(row, i));
        float code = (x - t.offset) * inverse + 0.5f;
        code = code > 0.0f ? code : 0.0f; /* NaN: 0 */
        code = code < 255.0f ? code : 255.0f;
        const uint32_t whole = (uint32_t)(int32_t)code;
        out[i] = (uint8_t)whole;
        sum += whole;
        squares += whole * whole;
    }
    for (size_t i = dim; i < ((dim + 3) & ~(size_t)3); ++i)
        out[i] = 0;
    t.sum = sum;
    t.norm = qv_lvq_norm(&t, dim, squares);
    memcpy(out + ((dim + 3) & ~(size_t)3), &t, sizeof t);
}

#ifdef __x86_64__
void qv_lvq_encode_f32_avx2(const uint8_t *row, size_t dim, uint8_t *out);
#endif

#endif
