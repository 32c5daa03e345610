/* Which shards a query needs: their order, and what rules them out.
 *
 * Bounds are of a rounded world: a distance that simd/score.h computes is off by at most
 * (width / 16 + 8) units in the last place of its value, and so is the comparison that once placed
 * the row. Every bound is lowered by several times that. */
#include "cluster/centroids_private.h"

#include "base/qv_assert.h"

#include <math.h>
#include <stdlib.h>

struct ruling {
    const struct qv_centroids *c;
    const struct qv_centroids_extent *extent;
    const float *d; /* squared distances to the nodes */
    float *bounds;  /* a node, in the mapped space */
    double unit;    /* rounding of a squared distance, relative */
};

/* How far q is from where the node's power is below that of each of its siblings. */
static double half_spaces(const struct ruling *r, uint32_t node)
{
    const struct qv_centroids *c = r->c;
    const uint32_t parent = (uint32_t)(c->spec.parents[node] + 1);
    const double own = (double)r->d[node] + (double)c->spec.weights[node];
    double most = 0;
    for (uint32_t i = c->child_start[parent]; i < c->child_start[parent + 1]; i++) {
        const uint32_t other = c->child_list[i];
        const double apart = (double)c->pairs[(size_t)node * c->spec.count + other];
        const double theirs = (double)r->d[other] + (double)c->spec.weights[other];
        if (other == node || !(apart > 0) || own <= theirs)
            continue;
        const double ahead = own - theirs - 8 * r->unit * (own + theirs);
        if (ahead > most * 2 * apart)
            most = ahead / (2 * apart);
    }
    return most * (1 - 4 * r->unit);
}

/* Fills bounds: parents come before children, so what rules out a node rules out what is below. */
static void rule(const struct ruling *r)
{
    const struct qv_centroids *c = r->c;
    const bool cells = r->extent->settled && c->pairs != NULL;
    for (uint32_t i = 0; i < c->spec.count; i++) {
        double bound = 0;
        const uint32_t parent = c->spec.parents[i];
        if (parent != QV_CENTROID_NONE)
            bound = (double)r->bounds[parent];
        if (cells)
            bound = fmax(bound, half_spaces(r, i));
        if (r->extent->radii != NULL && c->spec.shards[i] != QV_CENTROID_NONE) {
            const double reach = sqrt((double)r->d[i]) * (1 - 4 * r->unit) -
                                 (double)r->extent->radii[i] * (1 + 4 * r->unit);
            bound = fmax(bound, reach);
        }
        r->bounds[i] = isfinite(bound) ? (float)(bound * (1 - 0x1p-22)) : 0;
    }
}

/* A distance in the mapped space as the metric's distance, lowered for its rounding; the least that
 * a distance can be where nothing is ruled out. */
static float to_metric(const struct qv_centroids *c, const struct qv_centroids_extent *extent,
                       double query_norm, double b)
{
    const double unit = ((double)c->width / 16 + 16) * 0x1p-23;
    if (!(b > 0))
        return -INFINITY;
    switch (c->spec.metric) {
    case QV_METRIC_L2:
        return (float)(b * b * (1 - 4 * unit));
    case QV_METRIC_COSINE:
        return (float)(b * b / 2 - 8 * unit);
    case QV_METRIC_L1:
        return (float)(b * (1 - 4 * unit));
    default:
        break;
    }
    QV_ASSERT(c->spec.metric == QV_METRIC_DOT);
    /* |x' - q'|^2 = |x|^2 (or M^2, whichever is more) + M^2 - 2 (x . q) M / |q| >= b^2 */
    const double m = (double)c->spec.norm_max;
    const double x = fmax(m, (double)extent->norm_max * (1 + unit));
    const double most = (x * x + m * m - b * b) / 2 * query_norm / m;
    return (float)(-most - 8 * unit * x * query_norm);
}

static double query_norm_of(const struct qv_centroids_spec *spec, const float *query)
{
    double sum = 0;
    for (uint32_t i = 0; spec->metric == QV_METRIC_DOT && i < spec->dim; i++)
        sum += (double)query[i] * (double)query[i];
    return sqrt(sum);
}

static int compare_ranks(const void *a, const void *b)
{
    const struct qv_centroids_rank *x = a;
    const struct qv_centroids_rank *y = b;
    if (x->power != y->power)
        return x->power < y->power ? -1 : 1;
    return x->shard < y->shard ? -1 : x->shard > y->shard;
}

void qv_centroids_rank(const struct qv_centroids *c, const float *query,
                       const struct qv_centroids_extent *extent, float *scratch,
                       struct qv_centroids_rank *out)
{
    float *d = scratch + c->width;
    float *bounds = d + c->spec.count;
    const bool directed = qv_centroids_map_query(&c->spec, query, scratch);
    qv_centroids_distances(c, scratch, d);
    const struct ruling r = {.c = c,
                             .extent = extent,
                             .d = d,
                             .bounds = bounds,
                             .unit = ((double)c->width / 16 + 16) * 0x1p-24};
    rule(&r);
    const bool known = directed && (c->spec.metric != QV_METRIC_DOT || extent->norm_max > 0);
    for (uint32_t s = 0; s < c->shard_count; s++)
        out[s] =
            (struct qv_centroids_rank){.shard = c->shards[s], .power = INFINITY, .bound = INFINITY};
    for (uint32_t i = 0; i < c->spec.count; i++) { /* a shard: the least of its leaves */
        if (c->spec.shards[i] == QV_CENTROID_NONE)
            continue;
        struct qv_centroids_rank *o = &out[c->leaf_shard[i]];
        o->power = fminf(o->power, d[i] + c->leaf_weight[i]);
        o->bound = fminf(o->bound, bounds[i]);
    }
    const double norm = query_norm_of(&c->spec, query);
    for (uint32_t s = 0; s < c->shard_count; s++)
        out[s].bound = known ? to_metric(c, extent, norm, (double)out[s].bound) : -INFINITY;
    qsort(out, c->shard_count, sizeof *out, compare_ranks);
}
