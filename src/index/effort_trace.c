/* Learning: the sample, and what is made of it. */
#include "base/mem.h"
#include "base/qv_assert.h"
#include "base/rng.h"
#include "index/effort_private.h"
#include "index/flat.h"
#include "index/hnsw_search.h"

#include <math.h>
#include <stdlib.h>

#define LADDER 33u       /* breadths 10 .. 2,560, four an octave */
#define FIRSTS 6u        /* of them, where a score may be taken */
#define STEP_MAX 32u     /* queries that share a scan */
#define SAMPLES_MIN 100u /* fewer teach nothing */
#define RIDGE 1e-3
#define MARGIN_SIGMAS 0.5 /* of the sample's own error, that the target is raised by */

static const uint32_t first_steps[FIRSTS] = {0, 2, 4, 6, 8, 10}; /* 10, 14, 20, 28, 40, 57 */
static const float targets[QV_EFFORT_PLANS] = {0.5F,  0.7F,  0.8F,  0.85F, 0.9F,  0.93F,
                                               0.95F, 0.97F, 0.98F, 0.99F, 0.999F};

struct sample {
    uint8_t hits[LADDER];  /* of QV_EFFORT_K, by the walk of each breadth */
    uint32_t cost[LADDER]; /* distances */
    float features[FIRSTS][QV_EFFORT_FEATURES];
};

struct qv_effort_trace {
    struct qv_rng rng;
    uint32_t wanted, count, tries;
    uint32_t rows; /* of the graph, at the last step */
    struct sample *samples;
};

static uint32_t ladder(uint32_t step)
{
    static const double fourths[4] = {1.0, 1.18920711, 1.41421356, 1.68179283};
    return (uint32_t)(QV_EFFORT_K * fourths[step % 4] * (double)(1u << step / 4) + 0.5);
}

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

struct asked { /* one row as a query, on its way down the ladder */
    const struct qv_hnsw *h;
    const void *row;
    struct sample *sample;
    float bound; /* distance of its true k-th */
    uint32_t step;
};

static uint32_t hits_of(const struct asked *a, const struct qv_hnsw_stage *stage)
{
    const struct qv_hnsw *h = a->h;
    uint32_t n = 0;
    const float bound = a->bound + 1e-6F * fabsf(a->bound); /* kernels differ so much */
    for (uint32_t i = 0; i < stage->n && n < QV_EFFORT_K; i++)
        n += h->rows.dist(a->row, qv_rows_at(&h->rows.rows, stage->hits[i].slot), h->rows.dim) <=
             bound;
    return n;
}

static uint32_t next_step(void *arg, const struct qv_hnsw_stage *stage)
{
    struct asked *a = arg;
    struct sample *s = a->sample;
    uint32_t hits =
        a->step > 0 && s->hits[a->step - 1] == QV_EFFORT_K ? QV_EFFORT_K : hits_of(a, stage);
    s->hits[a->step] = (uint8_t)hits;
    s->cost[a->step] = (uint32_t)stage->distances;
    for (uint32_t f = 0; f < FIRSTS; f++)
        if (first_steps[f] == a->step)
            qv_effort_features(stage, s->features[f]);
    a->step++;
    return a->step < LADDER ? ladder(a->step) : stage->ef;
}

/* A walk to the ladder's end; false: it gave nothing (the row is the entry point). */
static int ask(struct asked *a, struct qv_hnsw_ctx *ctx, qv_slot slot, bool *good)
{
    struct qv_hnsw_hit hits[QV_EFFORT_RANKED];
    uint32_t n;
    const struct qv_hnsw_query query = {.row = a->row,
                                        .k = qv_hnsw_has_codes(a->h) ? QV_EFFORT_RANKED
                                                                     : QV_EFFORT_K,
                                        .ef = ladder(0)};
    const struct qv_hnsw_stages stages = {.ef_max = ladder(LADDER - 1) + 1,
                                          .next = next_step,
                                          .arg = a,
                                          .without = slot,
                                          .ef_else = ladder(0)};
    int err = qv_hnsw_search_stages(a->h, ctx, &query, &stages, hits, &n);
    *good = a->step > FIRSTS; /* else a graph with dead nodes, or smaller than a walk */
    for (; *good && a->step < LADDER; a->step++) {
        a->sample->hits[a->step] = a->sample->hits[a->step - 1];
        a->sample->cost[a->step] = a->sample->cost[a->step - 1];
    }
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

/* ---- what it teaches ---- */

#define F QV_EFFORT_FEATURES

/* Solves a x = b in place (a symmetric, made positive by the ridge); x in b. */
static void solve(double a[F][F], double b[F])
{
    for (uint32_t c = 0; c < F; c++) {
        uint32_t pivot = c;
        for (uint32_t r = c + 1; r < F; r++)
            pivot = fabs(a[r][c]) > fabs(a[pivot][c]) ? r : pivot;
        for (uint32_t k = 0; k < F; k++) {
            double x = a[c][k];
            a[c][k] = a[pivot][k];
            a[pivot][k] = x;
        }
        double y = b[c];
        b[c] = b[pivot];
        b[pivot] = y;
        if (fabs(a[c][c]) < 1e-12)
            continue;
        for (uint32_t r = 0; r < F; r++) {
            double by = r == c ? 0.0 : a[r][c] / a[c][c];
            for (uint32_t k = c; k < F; k++)
                a[r][k] -= by * a[c][k];
            b[r] -= by * b[c];
        }
    }
    for (uint32_t c = 0; c < F; c++)
        b[c] = fabs(a[c][c]) < 1e-12 ? 0.0 : b[c] / a[c][c];
}

/* The step at which a sample has all its hits: what a score foretells. */
static double wanted_step(const struct sample *s)
{
    uint32_t step = 0;
    while (step < LADDER && s->hits[step] < QV_EFFORT_K)
        step++;
    return step;
}

/* Least squares over features brought to mean 0 and spread 1. */
static void fit_score(const struct qv_effort_trace *t, uint32_t f, float weights[F])
{
    double mean[F] = {0};
    double spread[F] = {0};
    double a[F][F] = {{0}};
    double b[F] = {0};
    for (uint32_t i = 0; i < t->count; i++)
        for (uint32_t k = 1; k < F; k++)
            mean[k] += (double)t->samples[i].features[f][k] / t->count;
    for (uint32_t i = 0; i < t->count; i++)
        for (uint32_t k = 1; k < F; k++)
            spread[k] += pow((double)t->samples[i].features[f][k] - mean[k], 2) / t->count;
    for (uint32_t k = 0; k < F; k++)
        spread[k] = spread[k] > 0 ? sqrt(spread[k]) : 1.0;
    for (uint32_t i = 0; i < t->count; i++) {
        double x[F];
        for (uint32_t k = 0; k < F; k++)
            x[k] = ((double)t->samples[i].features[f][k] - mean[k]) / spread[k];
        for (uint32_t k = 0; k < F; k++) {
            b[k] += x[k] * wanted_step(&t->samples[i]);
            for (uint32_t l = 0; l < F; l++)
                a[k][l] += x[k] * x[l];
        }
    }
    for (uint32_t k = 1; k < F; k++)
        a[k][k] += RIDGE * t->count;
    solve(a, b);
    weights[0] = (float)b[0];
    for (uint32_t k = 1; k < F; k++) {
        weights[k] = (float)(b[k] / spread[k]);
        weights[0] -= (float)(b[k] / spread[k] * mean[k]);
    }
}

static int by_float(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Hits and distances of a bin's samples by breadth. */
struct sums {
    double hits[LADDER], cost[LADDER];
};

/* Bins of equal share of the samples. */
static void fit_bins(const struct qv_effort_trace *t, uint32_t f, struct qv_effort_plan *plan,
                     struct sums sums[QV_EFFORT_BINS])
{
    float *scores = qv_mem_alloc(t->count * sizeof *scores);
    float *sorted = qv_mem_alloc(t->count * sizeof *sorted);
    for (uint32_t i = 0; i < t->count; i++)
        sorted[i] = scores[i] = qv_effort_score(plan->weights, t->samples[i].features[f]);
    qsort(sorted, t->count, sizeof *sorted, by_float);
    for (uint32_t b = 1; b < QV_EFFORT_BINS; b++)
        plan->bounds[b - 1] = sorted[(uint64_t)t->count * b / QV_EFFORT_BINS];
    memset(sums, 0, QV_EFFORT_BINS * sizeof *sums);
    for (uint32_t i = 0; i < t->count; i++) {
        uint32_t bin = 0;
        while (bin < QV_EFFORT_BINS - 1 && scores[i] >= plan->bounds[bin])
            bin++;
        for (uint32_t j = 0; j < LADDER; j++) {
            sums[bin].hits[j] += t->samples[i].hits[j];
            sums[bin].cost[j] += t->samples[i].cost[j];
        }
    }
    qv_mem_free(scores);
    qv_mem_free(sorted);
}

/* From every bin's step `from` on, the step up that gains most hits a distance, until `hits` are
 * had. Returns the distances it costs; steps and *got as reached. */
static double climb(const struct sums *sums, uint32_t bins, uint32_t from, double hits,
                    uint32_t *steps, double *got)
{
    double have = 0;
    double cost = 0;
    for (uint32_t b = 0; b < bins; b++) {
        steps[b] = from;
        have += sums[b].hits[from];
        cost += sums[b].cost[from];
    }
    while (have < hits) {
        double best = 0;
        uint32_t bin = 0;
        uint32_t to = 0;
        for (uint32_t b = 0; b < bins; b++)
            for (uint32_t j = steps[b] + 1; j < LADDER; j++) {
                double more = sums[b].cost[j] - sums[b].cost[steps[b]];
                double gain = (sums[b].hits[j] - sums[b].hits[steps[b]]) / (more > 1 ? more : 1);
                if (gain > best) {
                    best = gain;
                    bin = b;
                    to = j;
                }
            }
        if (best <= 0)
            break; /* no breadth of the ladder finds more */
        have += sums[bin].hits[to] - sums[bin].hits[steps[bin]];
        cost += sums[bin].cost[to] - sums[bin].cost[steps[bin]];
        steps[bin] = to;
    }
    *got = have;
    return cost;
}

/* The target's hits in the sample, a margin for its error included. */
static double wanted_hits(const struct qv_effort_trace *t, float target)
{
    const double all = (double)t->count * QV_EFFORT_K;
    const double p = (double)target;
    const double deviation = 1.5 * sqrt(p * (1 - p) / all); /* hits of a query go together */
    const double most = p + (1 - p) / 2;
    const double aim = p + MARGIN_SIGMAS * deviation;
    return (aim < most ? aim : most) * all;
}

static void choose_fixed(const struct qv_effort_trace *t, struct qv_effort_plan *plan)
{
    struct sums all = {{0}, {0}};
    for (uint32_t i = 0; i < t->count; i++)
        for (uint32_t j = 0; j < LADDER; j++)
            all.hits[j] += t->samples[i].hits[j];
    uint32_t step = 0;
    while (step + 1 < LADDER && all.hits[step] < wanted_hits(t, plan->target))
        step++;
    plan->fixed = ladder(step);
}

void qv_effort_trace_fit(const struct qv_effort_trace *t, struct qv_effort *out)
{
    *out = (struct qv_effort){.rows = t->rows};
    if (t->count < SAMPLES_MIN)
        return;
    double costs[QV_EFFORT_PLANS];
    struct sums *sums = qv_mem_alloc(QV_EFFORT_BINS * sizeof *sums);
    for (uint32_t f = 0; f < FIRSTS; f++) {
        struct qv_effort_plan with = {.first = ladder(first_steps[f])};
        fit_score(t, f, with.weights);
        fit_bins(t, f, &with, sums);
        for (uint32_t p = 0; p < QV_EFFORT_PLANS; p++) {
            uint32_t steps[QV_EFFORT_BINS];
            double got;
            double cost = climb(sums, QV_EFFORT_BINS, first_steps[f], wanted_hits(t, targets[p]),
                                steps, &got);
            if (f > 0 && cost >= costs[p])
                continue;
            costs[p] = cost;
            with.target = targets[p];
            with.expected = (float)(got / ((double)t->count * QV_EFFORT_K));
            for (uint32_t b = 0; b < QV_EFFORT_BINS; b++)
                with.ef[b] = ladder(steps[b]);
            out->plans[p] = with;
        }
    }
    qv_mem_free(sums);
    for (uint32_t p = 0; p < QV_EFFORT_PLANS; p++)
        choose_fixed(t, &out->plans[p]);
    out->samples = t->count;
}
