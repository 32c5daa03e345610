/* Coding, the plain C kernels, and which kernel runs. */
#include "simd/lvq.h"

#include "base/half.h"
#include "base/qv_assert.h"
#include "simd/lvq_encode.h"
#include "simd/lvq_list.h"

#include <math.h>

_Static_assert((uint64_t)QV_SIMD_DIM_MAX * 255 * 255 <= UINT32_MAX, "sums of codes fit");

static float element_of(enum qv_dtype dtype, const uint8_t *row, size_t i)
{
    float x;
    uint16_t h;
    switch (dtype) {
    case QV_DTYPE_F32:
        memcpy(&x, row + 4 * i, sizeof x);
        break;
    case QV_DTYPE_F16:
        memcpy(&h, row + 2 * i, sizeof h);
        x = qv_half_to_f32(h);
        break;
    case QV_DTYPE_U8:
    case QV_DTYPE_COUNT:
    default:
        x = (float)row[i];
        break;
    }
    /* So far that offset + 255 * scale stays finite. */
    return !isfinite(x)          ? 0.0f
           : x > QV_LVQ_LARGEST  ? QV_LVQ_LARGEST
           : x < -QV_LVQ_LARGEST ? -QV_LVQ_LARGEST
                                 : x;
}

struct range {
    float low, high;
    bool whole; /* all are whole numbers */
};

static struct range range_of(enum qv_dtype dtype, const uint8_t *row, size_t dim)
{
    struct range r = {INFINITY, -INFINITY, true};
    for (size_t i = 0; i < dim; ++i) {
        const float x = element_of(dtype, row, i);
        r.low = x < r.low ? x : r.low;
        r.high = x > r.high ? x : r.high;
        r.whole = r.whole && x == truncf(x);
    }
    return r;
}

static void encode_f32(const uint8_t *row, size_t dim, uint8_t *out)
{
#ifdef __x86_64__
    const enum qv_isa isa = qv_isa_in_force();
    if (isa == QV_ISA_AVX2 || isa == QV_ISA_AVX512) {
        qv_lvq_encode_f32_avx2(row, dim, out);
        return;
    }
#endif
    qv_lvq_encode_f32_body(row, dim, out);
}

void qv_lvq_encode(enum qv_dtype dtype, const void *row, size_t dim, uint8_t *out)
{
    if (dtype == QV_DTYPE_F32) {
        encode_f32(row, dim, out);
        return;
    }
    const uint8_t *bytes = (const uint8_t *)row;
    const struct range r = range_of(dtype, bytes, dim);
    const bool exact = r.whole && fabsf(r.low) <= 0x1p24f && r.high - r.low <= 255.0f;
    struct qv_lvq_tail t = {.scale = exact ? 1.0f : (r.high - r.low) / 255.0f, .offset = r.low};
    /* Bytes keep their own origin: no offset to add up, and sums that are whole numbers. */
    if (exact && r.low >= 0 && r.high <= 255.0f)
        t.offset = 0;
    const float inverse = t.scale > 0 ? 1.0f / t.scale : 0.0f;
    uint32_t squares = 0;
    memset(out + (dim & ~(size_t)3), 0, ((dim + 3) & ~(size_t)3) - (dim & ~(size_t)3));
    for (size_t i = 0; i < dim; ++i) {
        const float code = (element_of(dtype, bytes, i) - t.offset) * inverse + 0.5f;
        out[i] = code >= 255.0f ? 255 : code > 0.0f ? (uint8_t)code : 0; /* NaN: 0 */
        t.sum += out[i];
        squares += (uint32_t)out[i] * out[i];
    }
    t.norm = qv_lvq_norm(&t, dim, squares);
    memcpy(out + ((dim + 3) & ~(size_t)3), &t, sizeof t);
}

void qv_lvq_decode(const uint8_t *code, size_t dim, float *out)
{
    const struct qv_lvq_tail t = qv_lvq_tail_of(code, dim);
    for (size_t i = 0; i < dim; ++i)
        out[i] = t.offset + t.scale * (float)code[i];
}

/* Whole numbers, which the code holds as they are. A row that only looks so goes without its two
 * bits. */
static bool is_whole(const struct qv_lvq_tail *t)
{
    return t->scale == 1.0f && t->offset == truncf(t->offset);
}

void qv_lvq_encode_fine(enum qv_dtype dtype, const void *row, size_t dim, const uint8_t *code,
                        uint8_t *fine)
{
    const struct qv_lvq_tail t = qv_lvq_tail_of(code, dim);
    const float inverse = t.scale > 0 ? 4.0f / t.scale : 0.0f;
    memset(fine, 0, qv_lvq_fine_bytes(dim));
    if (is_whole(&t))
        return;
    for (size_t i = 0; i < dim; ++i) {
        const float x = element_of(dtype, (const uint8_t *)row, i);
        const float at = (x - t.offset) * inverse - 4.0f * (float)code[i] + 2.0f;
        const unsigned fourth = at >= 3.0f ? 3 : at > 0.0f ? (unsigned)at : 0; /* NaN: 0 */
        fine[i / 4] = (uint8_t)(fine[i / 4] | fourth << (i % 4 * 2));
    }
}

void qv_lvq_decode_fine(const uint8_t *code, const uint8_t *fine, size_t dim, float *out)
{
    const struct qv_lvq_tail t = qv_lvq_tail_of(code, dim);
    if (is_whole(&t)) {
        qv_lvq_decode(code, dim, out);
        return;
    }
    const float offset = t.offset - 0.375f * t.scale; /* the middle of the lowest fourth */
    const float fourth = 0.25f * t.scale;
    for (size_t i = 0; i < dim; ++i) {
        const int steps = 4 * code[i] + (fine[i / 4] >> (i % 4 * 2) & 3);
        out[i] = offset + fourth * (float)steps;
    }
}

static inline uint32_t product_serial(const uint8_t *a, const uint8_t *b, size_t dim, uint32_t sum)
{
    uint32_t products = 0;
    (void)sum;
    for (size_t i = 0; i < dim; ++i)
        products += (uint32_t)a[i] * (uint32_t)b[i];
    return products;
}

QV_LVQ_DEFINE(serial, product_serial, )

struct kernel {
    qv_dist_f one;
    qv_dist_batch_f batch;
};

#define KERNELS_OF_ISA(isa)                                                                        \
    {                                                                                              \
        [QV_METRIC_L2] = {qv_lvq_l2_##isa, qv_lvq_l2_##isa##_batch},                               \
        [QV_METRIC_DOT] = {qv_lvq_dot_##isa, qv_lvq_dot_##isa##_batch},                            \
        [QV_METRIC_COSINE] = {qv_lvq_cosine_##isa, qv_lvq_cosine_##isa##_batch},                   \
    }

static const struct kernel kernels[QV_ISA_COUNT][QV_METRIC_COUNT] = {
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
static const struct kernel kernels_vnni[QV_METRIC_COUNT] = KERNELS_OF_ISA(avx512vnni);
#endif

static struct kernel find_kernel(enum qv_isa isa, enum qv_metric metric)
{
    QV_ASSERT((unsigned)isa < QV_ISA_COUNT);
    QV_ASSERT((unsigned)metric < QV_METRIC_COUNT);
    if (!qv_isa_have(isa))
        return (struct kernel){NULL, NULL};
#ifdef __x86_64__
    if (isa == QV_ISA_AVX512 && qv_isa_probe().vnni)
        return kernels_vnni[metric];
#endif
    return kernels[isa][metric];
}

qv_dist_f qv_lvq_dist_isa(enum qv_isa isa, enum qv_metric metric)
{
    return find_kernel(isa, metric).one;
}

qv_dist_batch_f qv_lvq_dist_batch_isa(enum qv_isa isa, enum qv_metric metric)
{
    return find_kernel(isa, metric).batch;
}

qv_dist_f qv_lvq_dist(enum qv_metric metric)
{
    return qv_lvq_dist_isa(qv_isa_in_force(), metric);
}

qv_dist_batch_f qv_lvq_dist_batch(enum qv_metric metric)
{
    return qv_lvq_dist_batch_isa(qv_isa_in_force(), metric);
}
