/* Centroids from a sample: trained, retrained, split, measured. */
#include "base/mem.h"
#include "base/qv_assert.h"
#include "cluster/centroids_cells_private.h"
#include "cluster/centroids_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ITERATIONS 15u
#define BALANCE 1.1
#define SPLIT_BALANCE 1.05

/* ---- training ---- */

static int check_training(const struct qv_centroids_training *t, struct qv_errmsg *msg)
{
    if ((unsigned)t->metric >= QV_METRIC_COUNT || t->dim < 1 || t->dim >= QV_SIMD_DIM_MAX)
        return qv_fail(msg, QV_EINVAL, "training: metric %u, dimension %u", (unsigned)t->metric,
                       t->dim);
    if (t->shard_count < 1 || t->n < t->shard_count)
        return qv_fail(msg, QV_EINVAL, "training: %u shards from a sample of %u rows",
                       t->shard_count, t->n);
    if (t->shard_count > QV_CENTROIDS_MAX ||
        (uint64_t)t->n * t->shard_count > QV_CENTROIDS_TRAIN_FLOATS_MAX)
        return qv_fail(msg, QV_ELIMIT, "training: a sample of %u rows is too large for %u shards",
                       t->n, t->shard_count);
    for (uint32_t i = 0; i < t->shard_count; i++)
        if (t->shards[i] == QV_CENTROID_NONE || (i > 0 && t->shards[i] <= t->shards[i - 1]))
            return qv_fail(msg, QV_EINVAL, "training: shard numbers are not ascending");
    if (t->warm != NULL && (t->warm->spec.metric != t->metric || t->warm->spec.dim != t->dim))
        return qv_fail(msg, QV_EINVAL,
                       "training: the centroids before are of %u dimensions, "
                       "not %u, or of another metric",
                       t->warm->spec.dim, t->dim);
    return 0;
}

static float longest(const struct qv_centroids_training *t)
{
    double most = 0;
    if (t->metric != QV_METRIC_DOT)
        return 0;
    for (uint32_t i = 0; i < t->n; i++) {
        const float *row = t->sample + (size_t)i * t->dim;
        double sum = 0;
        for (uint32_t x = 0; x < t->dim; x++)
            sum += (double)row[x] * (double)row[x];
        most = fmax(most, sqrt(sum));
    }
    if (t->warm != NULL)
        most = fmax(most, (double)t->warm->spec.norm_max);
    return (float)most;
}

static uint32_t shard_index(const struct qv_centroids_training *t, uint32_t shard)
{
    for (uint32_t i = 0; i < t->shard_count; i++)
        if (t->shards[i] == shard)
            return i;
    return QV_CELL_NONE;
}

/* Centres are those of before; a shard's that has several leaves is the mean of its rows, one's
 * that has none a row far from all. */
static int begin_warm(const struct qv_centroids_training *t, struct qv_cells *cells, float *weights)
{
    const struct qv_centroids *warm = t->warm;
    float *scratch = qv_mem_try_calloc(qv_centroids_scratch(warm), sizeof *scratch);
    uint32_t *leaves = qv_mem_try_calloc(t->shard_count, sizeof *leaves);
    const bool whole = scratch != NULL && leaves != NULL;
    for (uint32_t i = 0; i < t->n && whole; i++) {
        struct qv_centroids_place p;
        qv_centroids_place(warm, t->sample + (size_t)i * t->dim, scratch, &p);
        cells->own[i] = shard_index(t, p.shards[0]);
    }
    if (whole)
        qv_cells_centre(cells);
    for (uint32_t i = 0; i < warm->spec.count && whole; i++) {
        const uint32_t at = shard_index(t, warm->spec.shards[i]);
        if (at == QV_CELL_NONE)
            continue;
        weights[at] =
            leaves[at] == 0 ? warm->leaf_weight[i] : fminf(weights[at], warm->leaf_weight[i]);
        leaves[at]++;
    }
    for (uint32_t i = 0; i < warm->spec.count && whole; i++) {
        const uint32_t at = shard_index(t, warm->spec.shards[i]);
        if (at != QV_CELL_NONE && leaves[at] == 1)
            memcpy(cells->centres + (size_t)at * cells->width, qv_centroids_row(warm, i),
                   cells->width * sizeof(float));
    }
    qv_mem_free(leaves);
    qv_mem_free(scratch);
    return whole ? 0 : QV_ENOMEM;
}

static int compare_float(const void *a, const void *b)
{
    const float x = *(const float *)a;
    const float y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* The border at which so large a share of the rows lies in two cells. */
static int choose_border(const struct qv_cells *c, double share, float *out)
{
    const uint32_t wanted = (uint32_t)(fmin(share, 1.0) * c->n);
    *out = 0;
    if (wanted == 0 || c->k < 2)
        return 0;
    float *ratios = qv_mem_try_calloc(c->n, sizeof *ratios);
    if (ratios == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < c->n; i++) {
        const float *d = c->d + (size_t)i * c->k;
        const float first = d[c->own[i]] + c->weights[c->own[i]];
        float second = INFINITY;
        for (uint32_t j = 0; j < c->k; j++)
            if (j != c->own[i])
                second = fminf(second, d[j] + c->weights[j]);
        ratios[i] = first > 0 ? sqrtf(second / first) : second > 0 ? INFINITY : 1;
        if (!isfinite(ratios[i]))
            ratios[i] = INFINITY;
    }
    qsort(ratios, c->n, sizeof *ratios, compare_float);
    const float border = ratios[wanted - 1] - 1;
    *out = fminf(fmaxf(border, 0), QV_CENTROIDS_BORDER_MAX);
    qv_mem_free(ratios);
    return 0;
}

static int make_flat(const struct qv_centroids_training *t, const struct qv_cells *cells,
                     const struct qv_centroids_spec *head, const struct qv_centroids **out,
                     struct qv_errmsg *msg)
{
    struct qv_centroids_spec s = *head;
    uint32_t *parents = qv_mem_alloc(t->shard_count * sizeof *parents);
    for (uint32_t i = 0; i < t->shard_count; i++)
        parents[i] = QV_CENTROID_NONE;
    s.count = t->shard_count;
    s.rows = cells->centres;
    s.weights = cells->weights;
    s.parents = parents;
    s.shards = t->shards;
    int err = qv_centroids_create(&s, out, msg);
    qv_mem_free(parents);
    return err;
}

static int train_cells(const struct qv_centroids_training *t, struct qv_cells *cells,
                       uint32_t *iterations)
{
    struct qv_rng rng;
    qv_rng_init(&rng, t->seed);
    float *weights = qv_mem_try_calloc(t->shard_count, sizeof *weights);
    int err = weights == NULL ? QV_ENOMEM : 0;
    if (err == 0 && t->warm != NULL)
        err = begin_warm(t, cells, weights);
    else if (err == 0)
        qv_cells_seed(cells, &rng);
    if (err == 0) {
        *iterations = qv_cells_iterate(cells, t->iterations == 0 ? ITERATIONS : t->iterations);
        memcpy(cells->weights, weights, t->shard_count * sizeof *weights);
        qv_cells_balance(cells, t->balance > 0 ? t->balance : BALANCE);
    }
    qv_mem_free(weights);
    return err;
}

int qv_centroids_train(const struct qv_centroids_training *t, const struct qv_centroids **out,
                       struct qv_centroids_report *report, struct qv_errmsg *msg)
{
    struct qv_centroids_spec head = {.metric = t->metric, .dim = t->dim};
    struct qv_cells cells = {0};
    uint32_t iterations = 0;
    int err = check_training(t, msg);
    if (err != 0)
        return err;
    head.norm_max = longest(t);
    const uint32_t width = qv_centroids_width(t->metric, t->dim);
    float *mapped = qv_mem_try_calloc((size_t)t->n * width, sizeof *mapped);
    err = mapped == NULL ? QV_ENOMEM : 0;
    for (uint32_t i = 0; i < t->n && err == 0; i++)
        (void)qv_centroids_map_row(&head, t->sample + (size_t)i * t->dim,
                                   mapped + (size_t)i * width);
    if (err == 0)
        err = qv_cells_init(&cells, mapped, t->n, width, t->shard_count);
    if (err == 0)
        err = train_cells(t, &cells, &iterations);
    if (err == 0 && t->storage_max > 1)
        err = choose_border(&cells, t->storage_max - 1, &head.border);
    if (err == 0)
        err = make_flat(t, &cells, &head, out, msg);
    else
        (void)qv_fail(msg, err, "training: no memory for a sample of %u rows", t->n);
    qv_cells_close(&cells);
    qv_mem_free(mapped);
    if (err == 0) {
        err = qv_centroids_measure(*out, t->warm, t->sample, t->n, report);
        report->iterations = iterations;
        if (err != 0)
            qv_centroids_unref(*out);
    }
    return err;
}

int qv_centroids_measure(const struct qv_centroids *c, const struct qv_centroids *before,
                         const float *sample, uint32_t n, struct qv_centroids_report *out)
{
    const size_t floats = qv_centroids_scratch(c);
    const size_t floats_before = before != NULL ? qv_centroids_scratch(before) : 0;
    float *scratch = qv_mem_try_calloc(floats + floats_before, sizeof *scratch);
    uint32_t *held = qv_mem_try_calloc(c->shard_count, sizeof *held);
    double apart = 0;
    uint64_t copies = 0;
    uint64_t moved = 0;
    uint32_t most = 0;
    *out = (struct qv_centroids_report){0};
    for (uint32_t i = 0; i < n && scratch != NULL && held != NULL; i++) {
        const float *row = sample + (size_t)i * c->spec.dim;
        struct qv_centroids_place p;
        struct qv_centroids_place was;
        qv_centroids_place(c, row, scratch, &p);
        for (uint32_t j = 0; j < p.count; j++)
            held[c->leaf_shard[p.leaves[j]]]++;
        copies += p.count;
        apart += (double)p.distances[0];
        if (before != NULL) {
            qv_centroids_place(before, row, scratch + floats, &was);
            moved += was.shards[0] != p.shards[0];
        }
    }
    for (uint32_t s = 0; held != NULL && s < c->shard_count; s++)
        most = held[s] > most ? held[s] : most;
    const bool whole = scratch != NULL && held != NULL;
    qv_mem_free(scratch);
    qv_mem_free(held);
    if (!whole)
        return QV_ENOMEM;
    if (n > 0)
        *out = (struct qv_centroids_report){.max_over_mean =
                                                (double)most * c->shard_count / (double)copies,
                                            .storage_factor = (double)copies / n,
                                            .moved_share = (double)moved / n,
                                            .mean_distance = apart / n};
    return 0;
}

/* ---- splitting ---- */

struct splitting {
    const struct qv_centroids *c;
    const struct qv_centroids_split *split;
    float *rows;     /* mapped, of the shard */
    uint32_t n;      /* of them */
    uint32_t *count; /* a node: rows that came to it */
    uint32_t leaves; /* of the shard */
    uint32_t leaf;   /* one of them */
};

static int gather_rows(struct splitting *s)
{
    const struct qv_centroids *c = s->c;
    float *scratch = qv_mem_try_calloc(qv_centroids_scratch(c), sizeof *scratch);
    s->rows = qv_mem_try_calloc((size_t)s->split->n * c->width, sizeof *s->rows);
    s->count = qv_mem_try_calloc(c->spec.count, sizeof *s->count);
    const bool whole = scratch != NULL && s->rows != NULL && s->count != NULL;
    for (uint32_t i = 0; i < s->split->n && whole; i++) {
        float *mapped = s->rows + (size_t)s->n * c->width;
        (void)qv_centroids_map_row(&c->spec, s->split->sample + (size_t)i * c->spec.dim, mapped);
        qv_centroids_distances(c, mapped, scratch);
        const uint32_t leaf = qv_centroids_descend(c, scratch);
        if (c->spec.shards[leaf] != s->split->shard)
            continue;
        s->count[leaf]++;
        s->n++;
    }
    qv_mem_free(scratch);
    return whole ? 0 : QV_ENOMEM;
}

/* The tree with nodes added behind; arrays to be freed by free_spec. */
static void copy_spec(const struct qv_centroids *c, uint32_t more, struct qv_centroids_spec *out)
{
    const uint32_t n = c->spec.count + more;
    float *rows = qv_mem_calloc((size_t)n * (c->width + 3), sizeof *rows);
    float *weights = rows + (size_t)n * c->width;
    uint32_t *parents = (uint32_t *)(void *)(weights + n);
    uint32_t *shards = parents + n;
    memcpy(rows, c->spec.rows, (size_t)c->spec.count * c->width * sizeof *rows);
    memcpy(weights, c->spec.weights, c->spec.count * sizeof *weights);
    memcpy(parents, c->spec.parents, c->spec.count * sizeof *parents);
    memcpy(shards, c->spec.shards, c->spec.count * sizeof *shards);
    *out = c->spec;
    out->count = n;
    out->rows = rows;
    out->weights = weights;
    out->parents = parents;
    out->shards = shards;
}

/* The shard's only leaf gets two children. */
static int split_leaf(const struct splitting *s, struct qv_centroids_spec *spec,
                      struct qv_errmsg *msg)
{
    const struct qv_centroids *c = s->c;
    struct qv_cells cells = {0};
    struct qv_rng rng;
    qv_rng_init(&rng, s->split->seed);
    int err = qv_cells_init(&cells, s->rows, s->n, c->width, 2);
    if (err == 0) {
        qv_cells_seed(&cells, &rng);
        (void)qv_cells_iterate(&cells, ITERATIONS);
        qv_cells_balance(&cells, SPLIT_BALANCE);
        copy_spec(c, 2, spec);
        const uint32_t at = c->spec.count;
        memcpy((float *)(uintptr_t)spec->rows + (size_t)at * c->width, cells.centres,
               2 * (size_t)c->width * sizeof(float));
        memcpy((float *)(uintptr_t)spec->weights + at, cells.weights, 2 * sizeof(float));
        uint32_t *parents = (uint32_t *)(uintptr_t)spec->parents;
        uint32_t *shards = (uint32_t *)(uintptr_t)spec->shards;
        parents[at] = parents[at + 1] = s->leaf;
        shards[s->leaf] = QV_CENTROID_NONE;
        shards[at] = s->split->shard;
        shards[at + 1] = s->split->to_shard;
        if (cells.size[0] == 0 || cells.size[1] == 0)
            err = qv_fail(msg, QV_EINVAL, "split: the rows of shard %u can't be told apart",
                          s->split->shard);
    }
    qv_cells_close(&cells);
    return err;
}

struct side {
    double lean; /* nearer to one end, or to the other */
    uint32_t node;
};

static int compare_sides(const void *a, const void *b)
{
    const struct side *x = a;
    const struct side *y = b;
    if (x->lean != y->lean)
        return x->lean < y->lean ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

static double apart(const struct qv_centroids *c, uint32_t a, uint32_t b)
{
    return (double)qv_score_dist(QV_METRIC_L2, QV_DTYPE_F32, qv_centroids_row(c, a),
                                 qv_centroids_row(c, b), c->width);
}

/* The two ends: the leaf farthest from the first, and the one farthest from that. */
static uint32_t farthest_from(const struct qv_centroids *c, const struct side *sides, uint32_t n,
                              uint32_t node)
{
    uint32_t at = 0;
    for (uint32_t i = 1; i < n; i++)
        if (apart(c, node, sides[i].node) > apart(c, node, sides[at].node))
            at = i;
    return sides[at].node;
}

/* Of several leaves those nearer to one end go over, until half of the rows have. */
static void split_leaves(const struct splitting *s, struct qv_centroids_spec *spec)
{
    const struct qv_centroids *c = s->c;
    struct side *sides = qv_mem_calloc(s->leaves, sizeof *sides);
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->spec.count; i++)
        if (c->spec.shards[i] == s->split->shard)
            sides[n++].node = i;
    QV_ASSERT(n == s->leaves && n >= 2);
    const uint32_t one = farthest_from(c, sides, n, sides[0].node);
    const uint32_t other = farthest_from(c, sides, n, one);
    for (uint32_t i = 0; i < n; i++)
        sides[i].lean = apart(c, sides[i].node, one) - apart(c, sides[i].node, other);
    qsort(sides, n, sizeof *sides, compare_sides);
    copy_spec(c, 0, spec);
    uint64_t gone = 0;
    for (uint32_t i = 0; i + 1 < n; i++) { /* the last one stays */
        const uint64_t here = s->count[sides[i].node];
        if (i > 0 && 2 * gone + here > s->n)
            break;
        gone += here;
        ((uint32_t *)(uintptr_t)spec->shards)[sides[i].node] = s->split->to_shard;
    }
    qv_mem_free(sides);
}

static int check_split(struct splitting *s, struct qv_errmsg *msg)
{
    const struct qv_centroids *c = s->c;
    for (uint32_t i = 0; i < c->spec.count; i++) {
        if (c->spec.shards[i] == s->split->to_shard)
            return qv_fail(msg, QV_EINVAL, "split: shard %u has a centroid already",
                           s->split->to_shard);
        if (c->spec.shards[i] == s->split->shard) {
            s->leaves++;
            s->leaf = i;
        }
    }
    if (s->leaves == 0 || s->split->shard == QV_CENTROID_NONE)
        return qv_fail(msg, QV_EINVAL, "split: shard %u has no centroid", s->split->shard);
    if (s->leaves == 1 && c->spec.count + 2 > QV_CENTROIDS_MAX)
        return qv_fail(msg, QV_ELIMIT, "split: %u centroids are most", QV_CENTROIDS_MAX);
    return 0;
}

int qv_centroids_split(const struct qv_centroids *c, const struct qv_centroids_split *split,
                       const struct qv_centroids **out, struct qv_errmsg *msg)
{
    struct splitting s = {.c = c, .split = split};
    struct qv_centroids_spec spec = {0};
    int err = check_split(&s, msg);
    if (err != 0)
        return err;
    err = gather_rows(&s);
    if (err == 0 && s.n < 2)
        err =
            qv_fail(msg, QV_EINVAL, "split: %u rows of shard %u in the sample", s.n, split->shard);
    if (err == 0 && s.leaves == 1)
        err = split_leaf(&s, &spec, msg);
    else if (err == 0)
        split_leaves(&s, &spec);
    if (err == 0)
        err = qv_centroids_create(&spec, out, msg);
    qv_mem_free((void *)(uintptr_t)spec.rows);
    qv_mem_free(s.rows);
    qv_mem_free(s.count);
    return err;
}
