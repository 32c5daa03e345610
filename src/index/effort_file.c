/* What was learned, as bytes. All little-endian:
 *
 *   u32 version, of the walk and its features too: what another has learned is of no use
 *   u32 coding, m, m0, ef_construct of the graph it was learned on
 *   u32 samples (> 0), u32 rows
 *   f32 weights, QV_EFFORT_FEATURES for each rung but the last
 *   for each of QV_EFFORT_GOALS targets, ascending: f32 target, f32 expected, u32 fixed breadth,
 *     f32 cuts, one for each rung but the last
 *
 * Valid if and only if the length is right, no number is NaN, weights are finite, targets and what
 * is expected lie in [0, 1], targets ascend, fixed is 1 .. QV_HNSW_EF_MAX. Checksums are around it
 * (storage/statefile.h). */
#include "base/qv_assert.h"
#include "index/effort_private.h"

#include <math.h>

#define VERSION 1u

static void put_float(struct qv_buf *b, float v)
{
    qv_buf_append(b, &v, sizeof v);
}

static float get_float(struct qv_rd *r)
{
    const uint32_t bits = qv_rd_u32(r);
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static void graph_words(const struct qv_hnsw *h, uint32_t words[4])
{
    const struct qv_hnsw_params *p = qv_hnsw_get_params(h);
    words[0] = (uint32_t)p->coding;
    words[1] = p->m;
    words[2] = p->m0;
    words[3] = p->ef_construct;
}

void qv_effort_encode(const struct qv_effort *e, const struct qv_hnsw *h, struct qv_buf *out)
{
    uint32_t words[4];
    graph_words(h, words);
    qv_buf_u32(out, VERSION);
    for (uint32_t i = 0; i < 4; i++)
        qv_buf_u32(out, words[i]);
    qv_buf_u32(out, e->samples);
    qv_buf_u32(out, e->rows);
    for (uint32_t j = 0; j + 1 < QV_EFFORT_RUNGS; j++)
        for (uint32_t k = 0; k < QV_EFFORT_FEATURES; k++)
            put_float(out, e->weights[j][k]);
    for (uint32_t g = 0; g < QV_EFFORT_GOALS; g++) {
        put_float(out, e->goals[g].target);
        put_float(out, e->goals[g].expected);
        qv_buf_u32(out, e->goals[g].fixed);
        for (uint32_t j = 0; j + 1 < QV_EFFORT_RUNGS; j++)
            put_float(out, e->goals[g].cuts[j]);
    }
}

/* Fields in their ranges; the cursor tells whether there were enough. */
static bool read_goal(struct qv_rd *r, float above, struct qv_effort_goal *out)
{
    out->target = get_float(r);
    out->expected = get_float(r);
    out->fixed = qv_rd_u32(r);
    bool good = out->target > above && out->target <= 1.0F && out->expected >= 0.0F &&
                out->expected <= 1.0F && out->fixed > 0 && out->fixed <= QV_HNSW_EF_MAX;
    for (uint32_t j = 0; j + 1 < QV_EFFORT_RUNGS; j++) {
        out->cuts[j] = get_float(r);
        good = good && !isnan(out->cuts[j]);
    }
    return good;
}

int qv_effort_decode(struct qv_bytes bytes, const struct qv_hnsw *h, struct qv_effort *out,
                     struct qv_errmsg *msg)
{
    struct qv_rd r;
    uint32_t words[4];
    bool same = true;
    *out = (struct qv_effort){0};
    qv_rd_init(&r, bytes.p, bytes.n);
    const uint32_t version = qv_rd_u32(&r);
    graph_words(h, words);
    for (uint32_t i = 0; i < 4; i++)
        same = (qv_rd_u32(&r) == words[i]) && same;
    if (r.failed)
        return QV_CORRUPT(msg, "what recall targets have learned: %zu bytes", bytes.n);
    if (version != VERSION || !same)
        return qv_fail(msg, QV_EINVAL, "learned on another graph, or by another version (%u)",
                       version);
    struct qv_effort e = {.samples = qv_rd_u32(&r), .rows = qv_rd_u32(&r)};
    bool good = e.samples > 0;
    for (uint32_t j = 0; j + 1 < QV_EFFORT_RUNGS; j++)
        for (uint32_t k = 0; k < QV_EFFORT_FEATURES; k++) {
            e.weights[j][k] = get_float(&r);
            good = good && isfinite(e.weights[j][k]);
        }
    float above = 0.0F;
    for (uint32_t g = 0; g < QV_EFFORT_GOALS; g++) {
        good = read_goal(&r, above, &e.goals[g]) && good;
        above = e.goals[g].target;
    }
    if (!good || r.failed || qv_rd_left(&r) != 0)
        return QV_CORRUPT(msg, "what recall targets have learned is out of range, or %zu bytes",
                          bytes.n);
    *out = e;
    return 0;
}
