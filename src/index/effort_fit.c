/* Learning: what the sample teaches. The scores' weights first, rung by rung; then, for each
 * target, the price and the cuts that follow from it. */
#include "base/mem.h"
#include "base/qv_assert.h"
#include "index/effort_private.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define F QV_EFFORT_FEATURES
#define LAST (QV_EFFORT_RUNGS - 1) /* rung: there is none to go on to */
#define SAMPLES_MIN 100u           /* fewer teach nothing */
#define RIDGE 2.0                  /* on weights of features of spread 1 */
#define NEWTON_STEPS 8u
#define SHARE_MIN 1e-4 /* of hits to come, that a regression begins from */
#define ROUNDS 2u      /* of cuts: the second for those who get there under the first */
#define PRICE_STEPS 14u
#define PRICE_MIN 1e-8    /* hits a distance */
#define MARGIN_SIGMAS 0.5 /* of the sample's own error, that the target is raised by */
#define FIXED_RUNG_MIN 4u /* breadth 10 */
#define GO_ON (-FLT_MAX)  /* a cut that nobody is below */
#define NOBODY FLT_MAX    /* a cut that all are below */

static const float targets[QV_EFFORT_GOALS] = {0.5F,  0.7F,  0.8F,  0.85F, 0.9F,  0.93F,
                                               0.95F, 0.97F, 0.98F, 0.99F, 0.999F};

/* ---- scores ---- */

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

/* Features brought to mean 0 and spread 1, and what is foretold of each. */
struct regression {
    uint32_t n;
    double (*x)[F];
    double *y; /* the share of hits still to come */
    double mean[F], spread[F];
};

static void prepare(const struct qv_effort_trace *t, uint32_t rung, struct regression *r)
{
    memset(r->mean, 0, sizeof r->mean);
    memset(r->spread, 0, sizeof r->spread);
    r->n = t->count;
    for (uint32_t i = 0; i < r->n; i++) {
        const struct qv_effort_sample *s = &t->samples[i];
        uint8_t most = s->hits[rung];
        for (uint32_t j = rung + 1; j < QV_EFFORT_RUNGS; j++)
            most = s->hits[j] > most ? s->hits[j] : most;
        r->y[i] = (double)(most - s->hits[rung]) / QV_EFFORT_K;
        for (uint32_t k = 0; k < F; k++) {
            r->x[i][k] = (double)s->features[rung][k];
            r->mean[k] += r->x[i][k] / r->n;
        }
    }
    for (uint32_t i = 0; i < r->n; i++)
        for (uint32_t k = 0; k < F; k++)
            r->spread[k] += pow(r->x[i][k] - r->mean[k], 2) / r->n;
    for (uint32_t k = 0; k < F; k++)
        r->spread[k] = r->spread[k] > 1e-20 ? sqrt(r->spread[k]) : 1.0;
    for (uint32_t i = 0; i < r->n; i++) {
        r->x[i][0] = 1.0;
        for (uint32_t k = 1; k < F; k++)
            r->x[i][k] = (r->x[i][k] - r->mean[k]) / r->spread[k];
    }
}

/* One step of Newton's towards the logistic regression with a ridge. */
static void newton(const struct regression *r, double b[F])
{
    double a[F][F] = {{0}};
    double g[F] = {0};
    for (uint32_t i = 0; i < r->n; i++) {
        const double *x = r->x[i];
        double z = 0;
        for (uint32_t k = 0; k < F; k++)
            z += b[k] * x[k];
        const double p = 1 / (1 + exp(-z));
        const double bend = p * (1 - p) + SHARE_MIN;
        for (uint32_t k = 0; k < F; k++) {
            g[k] += (r->y[i] - p) * x[k];
            for (uint32_t l = 0; l <= k; l++)
                a[k][l] += bend * x[k] * x[l];
        }
    }
    for (uint32_t k = 0; k < F; k++)
        for (uint32_t l = k + 1; l < F; l++)
            a[k][l] = a[l][k];
    for (uint32_t k = 1; k < F; k++) {
        a[k][k] += RIDGE;
        g[k] -= RIDGE * b[k];
    }
    solve(a, g);
    for (uint32_t k = 0; k < F; k++)
        b[k] += g[k];
}

static void fit_rung(const struct regression *r, float weights[F])
{
    double share = 0;
    double b[F] = {0};
    for (uint32_t i = 0; i < r->n; i++)
        share += r->y[i] / r->n;
    share = fmin(fmax(share, SHARE_MIN), 1 - SHARE_MIN);
    b[0] = log(share / (1 - share));
    for (uint32_t i = 0; i < NEWTON_STEPS; i++)
        newton(r, b);
    double first = b[0];
    for (uint32_t k = 1; k < F; k++) {
        weights[k] = (float)(b[k] / r->spread[k]);
        first -= b[k] / r->spread[k] * r->mean[k];
    }
    weights[0] = (float)first;
    for (uint32_t k = 0; k < F; k++)
        weights[k] = isfinite(weights[k]) ? weights[k] : 0.0F;
}

/* ---- cuts ---- */

struct scored {
    float score;
    uint32_t sample;
};

struct fit {
    const struct qv_effort_trace *t;
    struct scored *scored[LAST]; /* of each rung, by score */
    uint8_t *before, *after;     /* the rung where a sample stops, under the old cuts and the new */
};

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a;
    const struct scored *y = b;
    if (x->score != y->score)
        return x->score > y->score ? 1 : -1;
    return (x->sample > y->sample) - (x->sample < y->sample);
}

static void score_all(struct fit *f, const struct qv_effort *e)
{
    for (uint32_t j = 0; j < LAST; j++) {
        for (uint32_t i = 0; i < f->t->count; i++)
            f->scored[j][i] = (struct scored){
                .score = qv_effort_score(e->weights[j], f->t->samples[i].features[j]), .sample = i};
        qsort(f->scored[j], f->t->count, sizeof **f->scored, by_score);
    }
}

/* Below which score stopping at the rung is worth more than going on to where `after` stops. */
static float cut_at(const struct fit *f, uint32_t rung, double price)
{
    const struct scored *s = f->scored[rung];
    const uint32_t n = f->t->count;
    double lost = 0; /* by stopping those passed so far */
    double least = -1e-9;
    float cut = GO_ON;
    for (uint32_t i = 0; i < n; i++) {
        if (f->before[s[i].sample] < rung)
            continue; /* does not get here */
        const struct qv_effort_sample *x = &f->t->samples[s[i].sample];
        const uint32_t to = f->after[s[i].sample];
        lost += (double)x->hits[to] - x->hits[rung] - price * (x->cost[to] - x->cost[rung]);
        if (lost < least) {
            least = lost;
            cut = i + 1 < n ? s[i].score / 2 + s[i + 1].score / 2 : NOBODY;
        }
    }
    return cut;
}

static void cut_all(struct fit *f, double price, float cuts[LAST])
{
    const uint32_t n = f->t->count;
    memset(f->before, LAST, n);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        memset(f->after, LAST, n);
        for (uint32_t j = LAST; j-- > 0;) {
            cuts[j] = cut_at(f, j, price);
            for (uint32_t i = 0; i < n && f->scored[j][i].score < cuts[j]; i++)
                f->after[f->scored[j][i].sample] = (uint8_t)j;
        }
        uint8_t *swap = f->before;
        f->before = f->after;
        f->after = swap;
    }
}

/* Of the sample, under the cuts last made. */
static double recall_of(const struct fit *f)
{
    uint64_t hits = 0;
    for (uint32_t i = 0; i < f->t->count; i++)
        hits += f->t->samples[i].hits[f->before[i]];
    return (double)hits / ((double)f->t->count * QV_EFFORT_K);
}

/* ---- targets ---- */

/* The sample's recall that the target asks for, a margin for its error included. */
static double wanted(const struct qv_effort_trace *t, float target)
{
    const double p = (double)target;
    const double all = (double)t->count * QV_EFFORT_K;
    const double deviation = 1.5 * sqrt(p * (1 - p) / all); /* hits of a query go together */
    const double most = p + (1 - p) / 2;
    const double aim = p + MARGIN_SIGMAS * deviation;
    return aim < most ? aim : most;
}

/* The highest price, at most *price, whose cuts give the recall; *price is it. */
static void fit_goal(struct fit *f, struct qv_effort_goal *goal, double *price)
{
    const double recall = wanted(f->t, goal->target);
    double low = log(PRICE_MIN);
    double high = log(*price);
    for (uint32_t i = 0; i < PRICE_STEPS; i++) {
        const double mid = (low + high) / 2;
        cut_all(f, exp(mid), goal->cuts);
        if (recall_of(f) >= recall)
            low = mid;
        else
            high = mid;
    }
    cut_all(f, exp(low), goal->cuts);
    goal->expected = (float)recall_of(f);
    *price = exp(high);
}

static uint32_t choose_fixed(const struct qv_effort_trace *t, float target)
{
    for (uint32_t j = FIXED_RUNG_MIN; j < LAST; j++) {
        uint64_t hits = 0;
        for (uint32_t i = 0; i < t->count; i++)
            hits += t->samples[i].hits[j];
        if ((double)hits >= wanted(t, target) * t->count * QV_EFFORT_K)
            return qv_effort_rung(j);
    }
    return qv_effort_rung(LAST);
}

static void fit_weights(const struct qv_effort_trace *t, struct qv_effort *out)
{
    struct regression r = {.x = qv_mem_alloc(t->count * sizeof *r.x),
                           .y = qv_mem_alloc(t->count * sizeof *r.y)};
    for (uint32_t j = 0; j < LAST; j++) {
        prepare(t, j, &r);
        fit_rung(&r, out->weights[j]);
    }
    qv_mem_free(r.x);
    qv_mem_free(r.y);
}

void qv_effort_trace_fit(const struct qv_effort_trace *t, struct qv_effort *out)
{
    *out = (struct qv_effort){.rows = t->rows};
    if (t->count < SAMPLES_MIN)
        return;
    fit_weights(t, out);
    struct fit f = {.t = t, .before = qv_mem_alloc(t->count), .after = qv_mem_alloc(t->count)};
    for (uint32_t j = 0; j < LAST; j++)
        f.scored[j] = qv_mem_alloc(t->count * sizeof *f.scored[j]);
    score_all(&f, out);
    double price = 1.0; /* nobody goes on for it */
    for (uint32_t g = 0; g < QV_EFFORT_GOALS; g++) {
        out->goals[g].target = targets[g];
        fit_goal(&f, &out->goals[g], &price);
        out->goals[g].fixed = choose_fixed(t, targets[g]);
    }
    for (uint32_t j = 0; j < LAST; j++)
        qv_mem_free(f.scored[j]);
    qv_mem_free(f.before);
    qv_mem_free(f.after);
    out->samples = t->count;
}
