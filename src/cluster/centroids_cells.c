#include "cluster/centroids_cells_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <math.h>
#include <string.h>

#define BALANCE_ROUNDS 300u

int qv_cells_init(struct qv_cells *c, const float *rows, uint32_t n, uint32_t width, uint32_t k)
{
    QV_ASSERT(n > 0 && k > 0);
    *c = (struct qv_cells){.rows = rows, .n = n, .width = width, .k = k};
    qv_score_init(&c->scorer, QV_METRIC_L2, QV_DTYPE_F32, width);
    const uint32_t most = n > k ? n : k;
    c->centres = qv_mem_try_calloc((size_t)k * width, sizeof(float));
    c->weights = qv_mem_try_calloc(k, sizeof(float));
    c->d = qv_mem_try_calloc((size_t)n * k, sizeof(float));
    c->own = qv_mem_try_calloc(n, sizeof(uint32_t));
    c->size = qv_mem_try_calloc(k, sizeof(uint32_t));
    c->sums = qv_mem_try_calloc((size_t)k * width, sizeof(double));
    c->all = qv_mem_try_calloc(most, sizeof(uint32_t));
    if (c->centres == NULL || c->weights == NULL || c->d == NULL || c->own == NULL ||
        c->size == NULL || c->sums == NULL || c->all == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < most; i++)
        c->all[i] = i;
    return 0;
}

void qv_cells_close(struct qv_cells *c)
{
    qv_mem_free(c->centres);
    qv_mem_free(c->weights);
    qv_mem_free(c->d);
    qv_mem_free(c->own);
    qv_mem_free(c->size);
    qv_mem_free(c->sums);
    qv_mem_free(c->all);
    *c = (struct qv_cells){0};
}

static const float *row_of(const struct qv_cells *c, uint32_t i)
{
    return c->rows + (size_t)i * c->width;
}

static float *centre_of(const struct qv_cells *c, uint32_t j)
{
    return c->centres + (size_t)j * c->width;
}

/* ---- k-means++ ---- */

/* A row with probability proportional to its nearest[]; any when all are 0. */
static uint32_t draw(const struct qv_cells *c, const float *nearest, struct qv_rng *rng)
{
    double sum = 0;
    for (uint32_t i = 0; i < c->n; i++)
        sum += (double)nearest[i];
    double left = qv_rng_unit(rng) * sum;
    if (!(sum > 0) || !isfinite(sum))
        return (uint32_t)qv_rng_below(rng, c->n);
    uint32_t last = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        if (!(nearest[i] > 0))
            continue;
        last = i;
        left -= (double)nearest[i];
        if (left < 0)
            break;
    }
    return last;
}

void qv_cells_seed(struct qv_cells *c, struct qv_rng *rng)
{
    const struct qv_gather rows = {
        .base = c->rows, .stride_bytes = c->width * sizeof(float), .slots = c->all, .n = c->n};
    float *nearest = c->d; /* n x k: room for two columns, or for one of one */
    float *fresh = c->k > 1 ? c->d + c->n : c->d;
    uint32_t chosen = (uint32_t)qv_rng_below(rng, c->n);
    memset(c->weights, 0, c->k * sizeof *c->weights);
    for (uint32_t j = 0; j < c->k; j++) {
        if (j > 0)
            chosen = draw(c, nearest, rng);
        memcpy(centre_of(c, j), row_of(c, chosen), c->width * sizeof(float));
        qv_score_batch(&c->scorer, centre_of(c, j), &rows, j == 0 ? nearest : fresh);
        for (uint32_t i = 0; j > 0 && i < c->n; i++)
            nearest[i] = fminf(nearest[i], fresh[i]);
    }
}

/* ---- iterations ---- */

void qv_cells_reseed(struct qv_cells *c, uint32_t cell)
{
    uint32_t farthest = 0;
    float most = -1;
    for (uint32_t i = 0; i < c->n; i++) {
        const uint32_t own = c->own[i];
        if (own == QV_CELL_NONE || c->size[own] < 2)
            continue;
        const float d =
            qv_score_dist(QV_METRIC_L2, QV_DTYPE_F32, row_of(c, i), centre_of(c, own), c->width);
        if (d > most) {
            most = d;
            farthest = i;
        }
    }
    if (c->own[farthest] != QV_CELL_NONE)
        c->size[c->own[farthest]]--;
    c->own[farthest] = cell;
    c->size[cell] = 1;
    memcpy(centre_of(c, cell), row_of(c, farthest), c->width * sizeof(float));
}

void qv_cells_centre(struct qv_cells *c)
{
    memset(c->sums, 0, (size_t)c->k * c->width * sizeof *c->sums);
    memset(c->size, 0, c->k * sizeof *c->size);
    for (uint32_t i = 0; i < c->n; i++) {
        if (c->own[i] == QV_CELL_NONE)
            continue;
        double *sum = c->sums + (size_t)c->own[i] * c->width;
        const float *row = row_of(c, i);
        c->size[c->own[i]]++;
        for (uint32_t x = 0; x < c->width; x++)
            sum[x] += (double)row[x];
    }
    for (uint32_t j = 0; j < c->k; j++)
        for (uint32_t x = 0; c->size[j] > 0 && x < c->width; x++)
            centre_of(c, j)[x] = (float)(c->sums[(size_t)j * c->width + x] / c->size[j]);
    for (uint32_t j = 0; j < c->k; j++)
        if (c->size[j] == 0)
            qv_cells_reseed(c, j);
}

void qv_cells_measure(struct qv_cells *c)
{
    const struct qv_gather centres = {
        .base = c->centres, .stride_bytes = c->width * sizeof(float), .slots = c->all, .n = c->k};
    for (uint32_t i = 0; i < c->n; i++)
        qv_score_batch(&c->scorer, row_of(c, i), &centres, c->d + (size_t)i * c->k);
}

double qv_cells_assign(struct qv_cells *c)
{
    uint32_t largest = 0;
    memset(c->size, 0, c->k * sizeof *c->size);
    for (uint32_t i = 0; i < c->n; i++) {
        const float *d = c->d + (size_t)i * c->k;
        uint32_t at = 0;
        float least = d[0] + c->weights[0];
        for (uint32_t j = 1; j < c->k; j++) {
            const float power = d[j] + c->weights[j];
            if (power < least) {
                least = power;
                at = j;
            }
        }
        c->own[i] = at;
        c->size[at]++;
    }
    for (uint32_t j = 0; j < c->k; j++)
        largest = c->size[j] > largest ? c->size[j] : largest;
    return (double)largest * c->k / c->n;
}

/* The mean squared distance to the own centre. */
static double spread(const struct qv_cells *c)
{
    double sum = 0;
    for (uint32_t i = 0; i < c->n; i++)
        sum += (double)c->d[(size_t)i * c->k + c->own[i]];
    return sum / c->n;
}

uint32_t qv_cells_iterate(struct qv_cells *c, uint32_t iterations)
{
    uint32_t done = 0;
    qv_cells_measure(c);
    (void)qv_cells_assign(c);
    double before = spread(c);
    while (done < iterations) {
        qv_cells_centre(c);
        qv_cells_measure(c);
        (void)qv_cells_assign(c);
        done++;
        const double now = spread(c);
        if (!(now < before * (1 - 1e-5)))
            break;
        before = now;
    }
    return done;
}

/* ---- weights ---- */

static void shift_weights(struct qv_cells *c, const double *w)
{
    double least = INFINITY;
    for (uint32_t j = 0; j < c->k; j++)
        least = fmin(least, w[j]);
    for (uint32_t j = 0; j < c->k; j++)
        c->weights[j] = (float)fmin(w[j] - least, 1e30);
}

/* One round: each weight goes up where its cell is crowded and down where it is empty, by a step
 * that grows while the direction stays and shrinks when it turns (Rprop: what a weight has to be is
 * of the size of distances between cells, which are orders of magnitude apart in clustered data).
 */
static void step_weights(const struct qv_cells *c, double *w, double *steps, int8_t *signs)
{
    for (uint32_t j = 0; j < c->k; j++) {
        const double excess = (double)c->size[j] * c->k / c->n - 1;
        const int8_t sign = (int8_t)((excess > 0) - (excess < 0));
        if (sign != 0 && signs[j] != 0)
            steps[j] *= sign == signs[j] ? 1.3 : 0.5;
        signs[j] = sign;
        w[j] += steps[j] * fmin(fmax(4 * excess, -1), 1);
    }
}

void qv_cells_balance(struct qv_cells *c, double balance)
{
    double *w = qv_mem_calloc(3 * (size_t)c->k, sizeof *w);
    double *best = w + c->k;
    double *steps = best + c->k;
    int8_t *signs = qv_mem_calloc(c->k, sizeof *signs);
    double least = INFINITY;
    double now = qv_cells_assign(c);
    const double scale = spread(c);
    for (uint32_t j = 0; j < c->k; j++) {
        w[j] = (double)c->weights[j];
        steps[j] = scale / 50;
    }
    for (uint32_t round = 0; round < BALANCE_ROUNDS && isfinite(scale); round++) {
        if (now < least) {
            least = now;
            memcpy(best, w, c->k * sizeof *w);
        }
        if (now <= balance)
            break;
        step_weights(c, w, steps, signs);
        shift_weights(c, w);
        now = qv_cells_assign(c);
    }
    shift_weights(c, best);
    (void)qv_cells_assign(c);
    qv_mem_free(signs);
    qv_mem_free(w);
}
