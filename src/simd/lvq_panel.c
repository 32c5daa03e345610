#include "simd/lvq_panel.h"

#include "base/isa.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "simd/lvq_list.h"
#include "simd/lvq_panel_list.h"

#include <math.h>
#include <string.h>

#define WORD 4u /* bytes that one VNNI lane multiplies */
#define LANES 16u

static bool have_vnni(void)
{
#ifdef __x86_64__
    return qv_isa_in_force() == QV_ISA_AVX512 && qv_isa_probe().vnni;
#else
    return false;
#endif
}

static size_t padded(size_t dim)
{
    return (dim + WORD - 1) & ~(size_t)(WORD - 1);
}

int qv_lvq_panel_init(struct qv_lvq_panel *p, enum qv_metric metric, size_t dim, uint32_t cap)
{
    QV_ASSERT(metric == QV_METRIC_L2 || metric == QV_METRIC_COSINE);
    cap = (cap + QV_LVQ_PANEL_GROUP - 1) / QV_LVQ_PANEL_GROUP * QV_LVQ_PANEL_GROUP;
    *p = (struct qv_lvq_panel){.dim = dim, .metric = metric, .cap = cap};
    if (!have_vnni()) {
        p->dist = qv_lvq_dist(metric);
        p->row_bytes = qv_lvq_row_bytes(dim);
        p->rows = qv_mem_try_aligned(QV_CACHE_LINE, p->row_bytes * cap);
        return p->rows == NULL ? QV_ENOMEM : 0;
    }
    p->row_bytes = padded(dim);
    p->rows = qv_mem_try_aligned(QV_CACHE_LINE, p->row_bytes * cap);
    p->packed = qv_mem_try_aligned(QV_CACHE_LINE, p->row_bytes * cap);
    p->terms = qv_mem_try_aligned(QV_CACHE_LINE, sizeof(float) * 4 * cap);
    p->sums = qv_mem_try_aligned(QV_CACHE_LINE, sizeof(uint32_t) * cap);
    if (p->rows != NULL && p->packed != NULL && p->terms != NULL && p->sums != NULL)
        return 0;
    qv_lvq_panel_close(p);
    return QV_ENOMEM;
}

void qv_lvq_panel_close(struct qv_lvq_panel *p)
{
    qv_mem_free(p->rows);
    qv_mem_free(p->packed);
    qv_mem_free(p->terms);
    qv_mem_free(p->sums);
    *p = (struct qv_lvq_panel){0};
}

/* Row `at` of a VNNI panel; NULL: a row of zeros. */
static void fill_row(struct qv_lvq_panel *p, uint32_t at, const uint8_t *code)
{
    const size_t bytes = p->row_bytes;
    uint8_t *packed = p->packed + at / LANES * LANES * bytes + (size_t)(at % LANES) * WORD;
    uint8_t *row = p->rows + at * bytes;
    struct qv_lvq_tail t = {0};
    if (code != NULL) {
        t = qv_lvq_tail_of(code, p->dim);
        memcpy(row, code, bytes);
    } else {
        memset(row, 0, bytes);
    }
    for (size_t i = 0; i < bytes; i += WORD)
        memcpy(packed + i * LANES, row + i, WORD);
    for (size_t i = 0; i < bytes; i++)
        row[i] ^= 0x80u;
    /* Cosine is the dot of what is scaled to length 1; zero rows stay zero, at distance 1. */
    const bool cosine = p->metric == QV_METRIC_COSINE;
    const float unit = !cosine ? 1.0f : t.norm > 0 ? 1.0f / sqrtf(t.norm) : 0.0f;
    p->terms[at] = cosine ? 0.0f : t.norm;
    p->terms[p->cap + at] = t.offset * unit;
    p->terms[2 * (size_t)p->cap + at] = t.scale * (float)t.sum * unit;
    p->terms[3 * (size_t)p->cap + at] = t.scale * unit;
    p->sums[at] = 128u * t.sum;
}

void qv_lvq_panel_fill(struct qv_lvq_panel *p, const uint8_t *base, size_t stride,
                       const uint32_t *slots, uint32_t n)
{
    QV_ASSERT(n <= p->cap);
    p->n = n;
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *code = base + (size_t)slots[i] * stride;
        if (i + QV_BATCH_AHEAD < n)
            qv_prefetch_row(base + (size_t)slots[i + QV_BATCH_AHEAD] * stride, stride);
        if (p->dist == NULL)
            fill_row(p, i, code);
        else
            memcpy(p->rows + i * p->row_bytes, code, p->row_bytes);
    }
    for (uint32_t i = n; p->dist == NULL && i % QV_LVQ_PANEL_GROUP != 0; i++)
        fill_row(p, i, NULL);
}

void qv_lvq_panel_distances(const struct qv_lvq_panel *a, const struct qv_lvq_panel *b,
                            const struct qv_lvq_tile *tile)
{
    QV_ASSERT(tile->a_first + tile->a_n <= a->n && tile->b_first + tile->b_n <= b->n);
    QV_ASSERT(tile->b_first % QV_LVQ_PANEL_GROUP == 0 && a->dim == b->dim);
#ifdef __x86_64__
    if (a->dist == NULL) {
        qv_lvq_panel_distances_vnni(a, b, tile);
        return;
    }
#endif
    for (uint32_t i = 0; i < tile->a_n; i++)
        for (uint32_t j = 0; j < tile->b_n; j++)
            tile->out[i * tile->out_stride + j] =
                a->dist(a->rows + (tile->a_first + i) * a->row_bytes,
                        b->rows + (tile->b_first + j) * b->row_bytes, a->dim);
}

uint32_t qv_lvq_panel_below(const float *d, uint32_t n, float bound, uint32_t *out)
{
#ifdef __x86_64__
    if (have_vnni())
        return qv_lvq_panel_below_avx512(d, n, bound, out);
#endif
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++) {
        out[found] = i;
        found += d[i] < bound ? 1u : 0u;
    }
    return found;
}
