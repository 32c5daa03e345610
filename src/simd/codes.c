/* Coding of rows and queries, the plain C kernels, and which kernel runs. */
#include "simd/codes.h"

#include "base/qv_assert.h"
#include "simd/codes_list.h"

#include <math.h>
#include <string.h>

#define BLOCK 128u /* elements of a block of 4 bits */
#define WIDE_MAX 16000.0f

_Static_assert((int64_t)QV_CODES_DIM_MAX * 255 * 128 <= INT32_MAX, "sums of products fit");

static size_t steps_of(enum qv_codes_width width, size_t dim)
{
    return width == QV_CODES_8 ? (dim + 63) / 64 : (dim + BLOCK - 1) / BLOCK;
}

size_t qv_codes_row_bytes(enum qv_codes_width width, size_t dim)
{
    return width == QV_CODES_8 ? dim : dim / BLOCK * 64 + (dim % BLOCK + 1) / 2;
}

size_t qv_codes_plane_bytes(enum qv_codes_width width, size_t dim)
{
    return steps_of(width, dim) * (width == QV_CODES_8 ? 64 : BLOCK);
}

/* Where an element of a row of 4 bits is: its byte; *high says which half. */
static size_t byte_of(size_t dim, size_t i, bool *high)
{
    const size_t block = i / BLOCK;
    const size_t left = dim - block * BLOCK;
    const size_t half = left >= BLOCK ? BLOCK / 2 : (left + 1) / 2;
    const size_t at = i % BLOCK;
    *high = at >= half;
    return block * (BLOCK / 2) + (*high ? at - half : at);
}

void qv_codes_pack(enum qv_codes_width width, const uint8_t *codes, size_t dim, uint8_t *out)
{
    if (width == QV_CODES_8) {
        memcpy(out, codes, dim);
        return;
    }
    memset(out, 0, qv_codes_row_bytes(width, dim));
    for (size_t i = 0; i < dim; ++i) {
        bool high;
        const size_t at = byte_of(dim, i, &high);
        QV_ASSERT(codes[i] < 16);
        out[at] = (uint8_t)(out[at] | codes[i] << (high ? 4 : 0));
    }
}

void qv_codes_unpack(enum qv_codes_width width, const uint8_t *row, size_t dim, uint8_t *codes)
{
    for (size_t i = 0; i < dim; ++i) {
        bool high = false;
        const size_t at = width == QV_CODES_8 ? i : byte_of(dim, i, &high);
        codes[i] = width == QV_CODES_8 ? row[at] : (uint8_t)(high ? row[at] >> 4 : row[at] & 15);
    }
}

struct qv_codes_extent qv_codes_look_serial(const float *query, size_t dim, float shift)
{
    struct qv_codes_extent e = {.whole = true, .narrow = true};
    for (size_t i = 0; i < dim; ++i) {
        const float x = query[i] - shift;
        const float size = fabsf(x);
        e.largest = size > e.largest ? size : e.largest;
        e.whole = e.whole && x == truncf(x);
        e.narrow = e.narrow && x >= QV_CODES_NARROW_LOW && x <= QV_CODES_NARROW_HIGH;
        e.sum += x;
        e.squares += x * x;
    }
    return e;
}

void qv_codes_round_serial(const float *query, size_t n, float shift, float inverse, int8_t *low,
                           int8_t *high)
{
    for (size_t i = 0; i < n; ++i) {
        const int32_t v = (int32_t)lrintf((query[i] - shift) * inverse);
        const int32_t top = high == NULL ? 0 : (v + 64) >> 7;
        low[i] = (int8_t)(v - 128 * top);
        if (high != NULL)
            high[i] = (int8_t)top;
    }
}

void qv_codes_encode_query(enum qv_codes_width width, const float *query, size_t dim, float shift,
                           int8_t *planes, struct qv_codes_query *out)
{
    const size_t plane_bytes = qv_codes_plane_bytes(width, dim);
    qv_codes_round_f round = qv_codes_round_serial;
    qv_codes_look_f look = qv_codes_look_serial;
#ifdef __x86_64__
    if (qv_isa_in_force() == QV_ISA_AVX2 || qv_isa_in_force() == QV_ISA_AVX512) {
        round = qv_codes_round_avx2;
        look = qv_codes_look_avx2;
    }
#endif
    const struct qv_codes_extent e = look(query, dim, shift);
    const bool narrow = e.whole && e.narrow;
    const bool exact = e.whole && e.largest <= WIDE_MAX;
    /* So small that its 1/16,000 is no number: nothing is told apart by it. */
    const float scale = exact ? 1.0f : e.largest / WIDE_MAX;
    const float inverse = scale >= 0x1p-126f ? 1.0f / scale : 0.0f;
    int8_t *low = planes;
    int8_t *high = narrow ? NULL : planes + plane_bytes;
    memset(planes, 0, narrow ? plane_bytes : 2 * plane_bytes);
    if (width == QV_CODES_8) {
        round(query, dim, shift, inverse, low, high);
    } else {
        for (size_t i = 0; i < dim; i += BLOCK) {
            const size_t left = dim - i < BLOCK ? dim - i : BLOCK;
            const size_t half = (left + 1) / 2;
            round(query + i, half, shift, inverse, low + i, narrow ? NULL : high + i);
            round(query + i + half, left - half, shift, inverse, low + i + BLOCK / 2,
                  narrow ? NULL : high + i + BLOCK / 2);
        }
    }
    *out = (struct qv_codes_query){.low = low,
                                   .high = high,
                                   .steps = (uint32_t)steps_of(width, dim),
                                   .scale = scale,
                                   .sum = e.sum,
                                   .squares = e.squares};
}

/* ---- plain C ---- */

static inline float product8_serial(const struct qv_codes_query *q, const uint8_t *row,
                                    size_t steps, bool wide)
{
    int32_t low = 0;
    int32_t high = 0;
    for (size_t i = 0; i < 64 * steps; ++i) {
        low += q->low[i] * row[i];
        if (wide)
            high += q->high[i] * row[i];
    }
    return (float)low + 128.0f * (float)high;
}

static inline float product4_serial(const struct qv_codes_query *q, const uint8_t *row,
                                    size_t steps, bool wide)
{
    int32_t low = 0;
    int32_t high = 0;
    for (size_t i = 0; i < 64 * steps; ++i) {
        const size_t at = i + i / 64 * 64;
        const int32_t a = row[i] & 15;
        const int32_t b = row[i] >> 4;
        low += q->low[at] * a + q->low[at + 64] * b;
        if (wide)
            high += q->high[at] * a + q->high[at + 64] * b;
    }
    return (float)low + 128.0f * (float)high;
}

QV_CODES_DEFINE(4, serial, product4_serial, )
QV_CODES_DEFINE(8, serial, product8_serial, )

/* ---- choice ---- */

#define KERNELS_OF_ISA(isa)                                                                        \
    {                                                                                              \
        [QV_CODES_4] = qv_codes_products4_##isa, [QV_CODES_8] = qv_codes_products8_##isa           \
    }

static const qv_codes_products_f kernels[QV_ISA_COUNT][QV_CODES_WIDTH_COUNT] = {
    [QV_ISA_SERIAL] = KERNELS_OF_ISA(serial),
#ifdef __x86_64__
    [QV_ISA_AVX2] = KERNELS_OF_ISA(avx2),
    [QV_ISA_AVX512] = KERNELS_OF_ISA(avx2), /* without VNNI */
#endif
#ifdef __aarch64__
    [QV_ISA_NEON] = KERNELS_OF_ISA(neon),
#endif
};

#ifdef __x86_64__
static const qv_codes_products_f kernels_vnni[QV_CODES_WIDTH_COUNT] = KERNELS_OF_ISA(avx512vnni);
#endif

qv_codes_products_f qv_codes_products_isa(enum qv_isa isa, enum qv_codes_width width)
{
    QV_ASSERT((unsigned)isa < QV_ISA_COUNT && (unsigned)width < QV_CODES_WIDTH_COUNT);
    if (!qv_isa_have(isa))
        return NULL;
#ifdef __x86_64__
    if (isa == QV_ISA_AVX512 && qv_isa_probe().vnni)
        return kernels_vnni[width];
#endif
    return kernels[isa][width];
}

qv_codes_products_f qv_codes_products(enum qv_codes_width width)
{
    return qv_codes_products_isa(qv_isa_in_force(), width);
}
