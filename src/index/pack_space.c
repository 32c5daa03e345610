#include "index/pack_space.h"

#include "base/qv_assert.h"

#include <math.h>
#include <string.h>

#define CENTRE 128.0f

struct qv_pack_space qv_pack_space_make(enum qv_codes_width width, bool l2, uint32_t dim,
                                        bool whole, float low)
{
    QV_ASSERT(!whole || width == QV_CODES_8);
    const size_t floats = whole ? 0u : l2 ? 3u : 2u;
    const size_t code_bytes = qv_codes_row_bytes(width, dim);
    return (struct qv_pack_space){.width = width,
                                  .l2 = l2,
                                  .whole = whole,
                                  .dim = dim,
                                  .low = whole ? low : 0,
                                  .centre = whole && l2 ? CENTRE : 0,
                                  .code_bytes = code_bytes,
                                  .stride = code_bytes + 4 * floats,
                                  .products = qv_codes_products(width)};
}

static void encode_whole(const struct qv_pack_space *s, qv_slot i, const struct qv_pack_row *row)
{
    double squares = row->rest;
    double sum = 0;
    uint8_t *out = s->base + (size_t)i * s->stride;
    for (uint32_t j = 0; j < s->dim; j++) {
        const float x = row->elements[j] - s->low;
        QV_ASSERT(x >= 0 && x <= 255.0f);
        out[j] = (uint8_t)x;
        squares += (double)x * (double)x;
        sum += (double)x;
    }
    /* |q - x|^2 = |q|^2 + |x|^2 - 2 c sum(x) - 2 (q - c).x */
    const float bias = (float)(squares - 2 * (double)s->centre * sum);
    if (s->l2)
        s->biases[i] = bias;
}

struct fit {
    double scale, offset;
};

/* The row by its codes, least squares. */
static struct fit fit_row(const struct qv_pack_row *row, uint32_t dim)
{
    double sc = 0;
    double sx = 0;
    double scc = 0;
    double scx = 0;
    for (uint32_t j = 0; j < dim; j++) {
        const double c = row->codes[j];
        const double x = (double)row->elements[j];
        sc += c;
        sx += x;
        scc += c * c;
        scx += c * x;
    }
    const double across = dim * scc - sc * sc;
    struct fit f = {0, sx / dim};
    if (across > 0) {
        f.scale = (dim * scx - sc * sx) / across;
        f.offset = (sx - f.scale * sc) / dim;
    }
    return f;
}

static void quantise(const struct qv_pack_row *row, uint32_t dim, float levels)
{
    float low = INFINITY;
    float high = -INFINITY;
    for (uint32_t j = 0; j < dim; j++) {
        low = fminf(low, row->elements[j]);
        high = fmaxf(high, row->elements[j]);
    }
    const float step = (high - low) / levels;
    const float inverse = step >= 0x1p-126f ? 1.0f / step : 0.0f;
    for (uint32_t j = 0; j < dim; j++) {
        const float c = (row->elements[j] - low) * inverse + 0.5f;
        row->codes[j] = (uint8_t)(c < levels ? c : levels);
    }
}

void qv_pack_space_encode(const struct qv_pack_space *s, qv_slot i, const struct qv_pack_row *row)
{
    if (s->whole) {
        encode_whole(s, i, row);
        return;
    }
    uint8_t *out = s->base + (size_t)i * s->stride;
    quantise(row, s->dim, s->width == QV_CODES_8 ? 255.0f : 15.0f);
    const struct fit f = fit_row(row, s->dim);
    qv_codes_pack(s->width, row->codes, s->dim, out);
    double squares = row->rest;
    double errors = 0;
    float tail[3] = {(float)f.scale, (float)f.offset, 0};
    for (uint32_t j = 0; j < s->dim; j++) {
        const double x = (double)tail[1] + (double)tail[0] * row->codes[j];
        const double e = (double)row->elements[j] - x;
        squares += x * x;
        errors += e * e;
    }
    tail[2] = (float)(squares - errors);
    memcpy(out + s->code_bytes, tail, s->l2 ? sizeof tail : 2 * sizeof tail[0]);
}

void qv_pack_space_encode_query(const struct qv_pack_space *s, const float *elements,
                                int8_t *planes, struct qv_pack_side *out)
{
    /* l2 stays what it is when both sides are shifted; dot does not: there rows are, queries not.
     */
    const float shift = s->l2 ? s->low + s->centre : 0;
    qv_codes_encode_query(s->width, elements, s->dim, shift, planes, &out->query);
    const struct qv_codes_query *q = &out->query;
    const float factor = s->l2 ? -2.0f : -1.0f;
    out->constant = s->l2 ? q->squares + s->centre * (2 * q->sum + s->centre * (float)s->dim)
                          : -q->sum * s->low;
    out->per_offset = factor * q->sum;
    out->per_product = factor * q->scale;
}

void qv_pack_space_compare(const struct qv_pack_space *s, const struct qv_pack_side *side,
                           size_t prefetch, const uint32_t *slots, size_t n, float *dists)
{
    const struct qv_codes_rows rows = {s->base, s->stride, prefetch};
    const uint8_t *tails = s->base + s->code_bytes;
    float t[3];
    s->products(&side->query, &rows, slots, n, dists);
    if (s->whole && s->l2) {
        for (size_t i = 0; i < n; i++)
            dists[i] = side->constant + s->biases[slots[i]] + side->per_product * dists[i];
    } else if (s->whole) {
        for (size_t i = 0; i < n; i++)
            dists[i] = side->constant + side->per_product * dists[i];
    } else if (s->l2) {
        for (size_t i = 0; i < n; i++) {
            memcpy(t, tails + (size_t)slots[i] * s->stride, 12);
            dists[i] = side->constant + t[2] + side->per_offset * t[1] +
                       side->per_product * t[0] * dists[i];
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            memcpy(t, tails + (size_t)slots[i] * s->stride, 8);
            dists[i] =
                side->constant + side->per_offset * t[1] + side->per_product * t[0] * dists[i];
        }
    }
}
