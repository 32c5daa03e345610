/* Learning: the sample. */
#include "base/mem.h"
#include "base/qv_assert.h"
#include "index/effort_private.h"
#include "index/flat.h"
#include "index/hnsw_walk.h"

#include <math.h>

#define STEP_MAX 32u /* queries that share a scan */

struct qv_effort_trace *qv_effort_trace_create(uint32_t samples, uint64_t seed)
{
    struct qv_effort_trace *t = qv_mem_calloc(1, sizeof *t);
    qv_rng_init(&t->rng, seed);
    t->wanted = samples;
    t->samples = qv_mem_calloc(samples, sizeof *t->samples);
    return t;
}

void qv_effort_trace_destroy(struct qv_effort_trace **t)
{
    if (*t == NULL)
        return;
    qv_mem_free((*t)->samples);
    qv_mem_free(*t);
    *t = NULL;
}

/* ---- the sample ---- */

struct asked { /* one row as a query, on its way up the ladder */
    const struct qv_hnsw *h;
    const void *row;
    struct qv_effort_sample *sample;
    float bound; /* distance of its true k-th */
    uint32_t ranked;
    uint32_t rung;
    uint32_t next_hop; /* of the rung before */
};

static uint32_t hits_of(const struct asked *a, const struct qv_hnsw_stage *stage)
{
    const struct qv_hnsw *h = a->h;
    uint32_t n = 0;
    const float bound = a->bound + 1e-6F * fabsf(a->bound); /* kernels differ so much */
    for (uint32_t i = 0; i < stage->n && i < a->ranked && n < QV_EFFORT_K; i++) {
        const qv_slot slot = qv_hnsw_cand_slot(stage->cands[i]);
        n += h->rows.dist(a->row, qv_rows_at(&h->rows.rows, slot), h->rows.dim) <= bound;
    }
    return n;
}

static uint32_t next_rung(void *arg, const struct qv_hnsw_stage *stage)
{
    struct asked *a = arg;
    struct qv_effort_sample *s = a->sample;
    const bool same = a->rung > 0 && stage->next_hop == a->next_hop;
    s->hits[a->rung] = same ? s->hits[a->rung - 1] : (uint8_t)hits_of(a, stage);
    s->cost[a->rung] = (uint32_t)stage->distances;
    qv_effort_features(stage, s->features[a->rung]);
    a->next_hop = stage->next_hop;
    a->rung++;
    return a->rung < QV_EFFORT_RUNGS ? qv_effort_rung(a->rung) : 0;
}

/* A walk to the ladder's end; false: it gave nothing (the row is the entry point, or dead nodes
 * wait for repair). */
static int ask(struct asked *a, struct qv_hnsw_ctx *ctx, qv_slot slot, bool *good)
{
    struct qv_hnsw_hit hits[QV_EFFORT_RANKED];
    uint32_t n;
    a->ranked = qv_hnsw_has_codes(a->h) ? QV_EFFORT_RANKED : QV_EFFORT_K;
    const struct qv_hnsw_query query = {.row = a->row, .k = a->ranked, .ef = qv_effort_rung(0)};
    const struct qv_hnsw_stages stages = {.ef_max = qv_effort_rung(QV_EFFORT_RUNGS - 1) + 1,
                                          .next = next_rung,
                                          .arg = a,
                                          .without = slot,
                                          .ef_else = qv_effort_rung(0)};
    int err = qv_hnsw_search_stages(a->h, ctx, &query, &stages, hits, &n);
    *good = a->rung == QV_EFFORT_RUNGS;
    return err;
}

static uint32_t draw(struct qv_effort_trace *t, const struct qv_hnsw *h, qv_slot *slots, uint32_t n)
{
    const uint32_t bound = atomic_load_explicit(&h->slot_bound, memory_order_acquire);
    uint32_t got = 0;
    for (uint32_t tries = 0; bound > 0 && tries < 20 * n && got < n; tries++) {
        qv_slot slot = (qv_slot)qv_rng_below(&t->rng, bound);
        if (qv_hnsw_live_get(h, slot))
            slots[got++] = slot;
    }
    return got;
}

/* The distances of the true k-th of each; a row is not its own neighbour. */
static int scan(const struct qv_hnsw *h, const qv_slot *slots, uint32_t n, float *bounds)
{
    const uint32_t end = atomic_load_explicit(&h->slot_bound, memory_order_acquire);
    const size_t words = ((size_t)end + 63) / 64;
    uint64_t keys[STEP_MAX][QV_EFFORT_K + 1];
    struct qv_topk tops[STEP_MAX];
    const void *queries[STEP_MAX];
    uint64_t *bits = qv_mem_try_calloc(words, sizeof *bits);
    if (bits == NULL)
        return QV_ENOMEM;
    for (size_t w = 0; w < words; w++)
        bits[w] = atomic_load_explicit(&h->live[w], memory_order_relaxed);
    if (end % 64 != 0)
        bits[words - 1] &= (UINT64_C(1) << end % 64) - 1;
    for (uint32_t i = 0; i < n; i++) {
        qv_topk_init(&tops[i], keys[i], QV_EFFORT_K + 1);
        queries[i] = qv_rows_at(&h->rows.rows, slots[i]);
    }
    const struct qv_flat flat = {.rows = h->rows.rows,
                                 .metric = h->params.metric,
                                 .dtype = h->params.dtype,
                                 .dim = h->params.dim,
                                 .end = end,
                                 .bits = bits};
    qv_flat_scan(&flat, queries, tops, n);
    for (uint32_t i = 0; i < n; i++) {
        struct qv_topk_hit found[QV_EFFORT_K + 1];
        uint32_t count = qv_topk_finish(&tops[i], found);
        uint32_t others = 0;
        bounds[i] = 0.0F;
        for (uint32_t j = 0; j < count && others < QV_EFFORT_K; j++) {
            if (found[j].slot == slots[i])
                continue;
            bounds[i] = found[j].dist;
            others++;
        }
    }
    qv_mem_free(bits);
    return 0;
}

int qv_effort_trace_step(struct qv_effort_trace *t, const struct qv_hnsw *h,
                         struct qv_hnsw_ctx *ctx, uint32_t n, bool *done)
{
    qv_slot slots[STEP_MAX];
    float bounds[STEP_MAX];
    *done = true;
    if (!qv_hnsw_has_rows(h))
        return QV_EINVAL;
    n = n < STEP_MAX ? n : STEP_MAX;
    n = n < t->wanted - t->count ? n : t->wanted - t->count;
    t->rows = atomic_load_explicit(&h->live_count, memory_order_relaxed);
    t->tries += n;
    *done = n == 0 || t->rows <= QV_EFFORT_RANKED || t->tries > 2 * t->wanted;
    if (*done)
        return 0;
    n = draw(t, h, slots, n);
    int err = n == 0 ? 0 : scan(h, slots, n, bounds);
    for (uint32_t i = 0; i < n && err == 0; i++) {
        struct asked a = {.h = h,
                          .row = qv_rows_at(&h->rows.rows, slots[i]),
                          .sample = &t->samples[t->count],
                          .bound = bounds[i]};
        bool good;
        err = ask(&a, ctx, slots[i], &good);
        t->count += err == 0 && good;
    }
    return err;
}
