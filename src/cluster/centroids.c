#include "cluster/centroids_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "simd/convert.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- check ---- */

static bool all_finite(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return false;
    return true;
}

static int check_head(const struct qv_centroids_spec *s, struct qv_errmsg *msg)
{
    if ((unsigned)s->metric >= QV_METRIC_COUNT)
        return qv_fail(msg, QV_EINVAL, "centroids: unknown metric %u", (unsigned)s->metric);
    if (s->dim < 1 || s->dim > QV_SIMD_DIM_MAX - 1)
        return qv_fail(msg, QV_EINVAL, "centroids: dimension %u is not 1 to %u", s->dim,
                       QV_SIMD_DIM_MAX - 1);
    if (s->count < 1 || s->count > QV_CENTROIDS_MAX)
        return qv_fail(msg, QV_EINVAL, "centroids: %u of them, not 1 to %u", s->count,
                       QV_CENTROIDS_MAX);
    if ((uint64_t)s->count * (qv_centroids_width(s->metric, s->dim) + 3u) * sizeof(float) >
        QV_CENTROIDS_BYTES_MAX - 64)
        return qv_fail(msg, QV_EINVAL, "centroids: %u of %u dimensions are more than %u bytes",
                       s->count, s->dim, QV_CENTROIDS_BYTES_MAX);
    if (!isfinite(s->border) || s->border < 0 || s->border > QV_CENTROIDS_BORDER_MAX)
        return qv_fail(msg, QV_EINVAL, "centroids: a border of %g is not 0 to %g",
                       (double)s->border, (double)QV_CENTROIDS_BORDER_MAX);
    if (!isfinite(s->norm_max) || s->norm_max < 0 ||
        (s->metric != QV_METRIC_DOT && s->norm_max != 0))
        return qv_fail(msg, QV_EINVAL, "centroids: a longest norm of %g", (double)s->norm_max);
    return 0;
}

/* Parents come before children, so there is no circle and one pass knows all depths. */
static int check_tree(const struct qv_centroids_spec *s, uint8_t *depth, bool *inner,
                      struct qv_errmsg *msg)
{
    for (uint32_t i = 0; i < s->count; i++) {
        const uint32_t parent = s->parents[i];
        depth[i] = 0;
        if (parent == QV_CENTROID_NONE)
            continue;
        if (parent >= i)
            return qv_fail(msg, QV_EINVAL, "centroid %u: its parent %u does not come before it", i,
                           parent);
        depth[i] = (uint8_t)(depth[parent] + 1);
        inner[parent] = true;
        if (depth[i] > QV_CENTROIDS_DEPTH_MAX)
            return qv_fail(msg, QV_EINVAL, "centroid %u: deeper than %u", i,
                           QV_CENTROIDS_DEPTH_MAX);
    }
    for (uint32_t i = 0; i < s->count; i++)
        if (inner[i] != (s->shards[i] == QV_CENTROID_NONE))
            return qv_fail(msg, QV_EINVAL, "centroid %u: %s", i,
                           inner[i] ? "it has children and a shard" : "it has no shard");
    return 0;
}

int qv_centroids_check(const struct qv_centroids_spec *s, struct qv_errmsg *msg)
{
    int err = check_head(s, msg);
    if (err != 0)
        return err;
    const size_t width = qv_centroids_width(s->metric, s->dim);
    for (uint32_t i = 0; i < s->count; i++) {
        if (!all_finite(s->rows + i * width, width))
            return qv_fail(msg, QV_EINVAL, "centroid %u: a component is not a finite number", i);
        if (!isfinite(s->weights[i]) || s->weights[i] < 0)
            return qv_fail(msg, QV_EINVAL, "centroid %u: a weight of %g", i, (double)s->weights[i]);
    }
    uint8_t *depth = qv_mem_calloc(s->count, 2);
    bool *inner = (bool *)(depth + s->count);
    err = check_tree(s, depth, inner, msg);
    qv_mem_free(depth);
    return err;
}

/* ---- the value ---- */

static int compare_u32(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a;
    const uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void list_shards(struct qv_centroids *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->spec.count; i++)
        if (c->spec.shards[i] != QV_CENTROID_NONE)
            c->shards[n++] = c->spec.shards[i];
    qsort(c->shards, n, sizeof *c->shards, compare_u32);
    c->shard_count = 0;
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || c->shards[i] != c->shards[i - 1])
            c->shards[c->shard_count++] = c->shards[i];
    for (uint32_t i = 0; i < c->spec.count; i++) {
        c->leaf_shard[i] = QV_CENTROID_NONE;
        if (c->spec.shards[i] != QV_CENTROID_NONE) {
            const uint32_t *at = bsearch(&c->spec.shards[i], c->shards, c->shard_count,
                                         sizeof *c->shards, compare_u32);
            QV_ASSERT(at != NULL);
            c->leaf_shard[i] = (uint32_t)(at - c->shards);
        }
    }
}

static void list_children(struct qv_centroids *c)
{
    const uint32_t n = c->spec.count;
    uint32_t *start = c->child_start; /* of parent p: start[p + 1], of the roots: start[0] */
    memset(start, 0, (n + 2) * sizeof *start);
    for (uint32_t i = 0; i < n; i++)
        start[(uint32_t)(c->spec.parents[i] + 1) + 1]++; /* NONE + 1 is 0 */
    for (uint32_t i = 0; i <= n; i++)
        start[i + 1] += start[i];
    for (uint32_t i = n; i-- > 0;) /* from the last, so that start[] comes to where lists begin */
        c->child_list[--start[(uint32_t)(c->spec.parents[i] + 1) + 1]] = i;
    memmove(start, start + 1, (n + 1) * sizeof *start);
    start[n + 1] = n;
}

static void fill_pairs(struct qv_centroids *c)
{
    const uint32_t n = c->spec.count;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++) {
            float d = 0;
            if (c->spec.parents[i] == c->spec.parents[j] && i != j)
                qv_score_batch(&c->scorer, qv_centroids_row(c, i),
                               &(struct qv_gather){.base = c->spec.rows,
                                                   .stride_bytes = c->width * sizeof(float),
                                                   .slots = &j,
                                                   .n = 1},
                               &d);
            c->pairs[(size_t)i * n + j] = sqrtf(d);
        }
}

static bool copy_arrays(struct qv_centroids *c, const struct qv_centroids_spec *s)
{
    struct qv_arena *a = &c->arena;
    const uint32_t n = s->count;
    const bool pairs = n <= QV_CENTROIDS_PAIRS_MAX;
    c->spec.rows = qv_arena_dup(a, s->rows, (size_t)n * c->width * sizeof(float));
    c->spec.weights = qv_arena_dup(a, s->weights, n * sizeof(float));
    c->spec.parents = qv_arena_dup(a, s->parents, n * sizeof(uint32_t));
    c->spec.shards = qv_arena_dup(a, s->shards, n * sizeof(uint32_t));
    c->all = QV_ARENA_ARRAY(a, uint32_t, n);
    c->child_start = QV_ARENA_ARRAY(a, uint32_t, n + 2);
    c->child_list = QV_ARENA_ARRAY(a, uint32_t, n);
    c->leaf_weight = QV_ARENA_ARRAY(a, float, n);
    c->leaf_shard = QV_ARENA_ARRAY(a, uint32_t, n);
    c->shards = QV_ARENA_ARRAY(a, uint32_t, n);
    c->pairs = pairs ? QV_ARENA_ARRAY(a, float, (size_t)n *n) : NULL;
    return !a->failed;
}

int qv_centroids_create(const struct qv_centroids_spec *spec, const struct qv_centroids **out,
                        struct qv_errmsg *msg)
{
    int err = qv_centroids_check(spec, msg);
    if (err != 0)
        return err;
    struct qv_centroids *c = qv_mem_calloc(1, sizeof *c);
    atomic_init(&c->refs, 1);
    qv_arena_init(&c->arena, 2 * (size_t)QV_CENTROIDS_BYTES_MAX);
    c->spec = *spec;
    c->width = qv_centroids_width(spec->metric, spec->dim);
    if (!copy_arrays(c, spec)) {
        qv_centroids_unref(c);
        return qv_fail(msg, QV_ENOMEM, "no memory for %u centroids", spec->count);
    }
    qv_score_init(&c->scorer, QV_METRIC_L2, QV_DTYPE_F32, c->width);
    for (uint32_t i = 0; i < spec->count; i++) {
        const uint32_t parent = c->spec.parents[i];
        c->all[i] = i;
        c->leaf_weight[i] = c->spec.weights[i];
        if (parent != QV_CENTROID_NONE)
            c->leaf_weight[i] += c->leaf_weight[parent];
    }
    list_shards(c);
    list_children(c);
    if (c->pairs != NULL)
        fill_pairs(c);
    *out = c;
    return 0;
}

static struct qv_centroids *writable(const struct qv_centroids *c)
{
    return (struct qv_centroids *)(uintptr_t)c;
}

void qv_centroids_ref(const struct qv_centroids *c)
{
    atomic_fetch_add(&writable(c)->refs, 1);
}

void qv_centroids_unref(const struct qv_centroids *c)
{
    if (c == NULL || atomic_fetch_sub(&writable(c)->refs, 1) != 1)
        return;
    qv_arena_close(&writable(c)->arena);
    qv_mem_free(writable(c));
}

const struct qv_centroids_spec *qv_centroids_spec_of(const struct qv_centroids *c)
{
    return &c->spec;
}

const uint32_t *qv_centroids_shards(const struct qv_centroids *c, uint32_t *count)
{
    *count = c->shard_count;
    return c->shards;
}

/* ---- the mapped space ---- */

static double norm_of(const float *v, uint32_t dim)
{
    double sum = 0;
    for (uint32_t i = 0; i < dim; i++)
        sum += (double)v[i] * (double)v[i];
    return sqrt(sum);
}

float qv_centroids_map_row(const struct qv_centroids_spec *spec, const float *vector, float *out)
{
    memcpy(out, vector, spec->dim * sizeof *out);
    if (spec->metric == QV_METRIC_COSINE)
        qv_simd_normalise_f32(out, spec->dim);
    if (spec->metric != QV_METRIC_DOT)
        return 0;
    const double norm = norm_of(vector, spec->dim);
    const double left = (double)spec->norm_max * (double)spec->norm_max - norm * norm;
    out[spec->dim] = left > 0 ? (float)sqrt(left) : 0;
    return (float)norm;
}

bool qv_centroids_map_query(const struct qv_centroids_spec *spec, const float *query, float *out)
{
    memcpy(out, query, spec->dim * sizeof *out);
    if (spec->metric != QV_METRIC_COSINE && spec->metric != QV_METRIC_DOT)
        return true;
    const double norm = norm_of(query, spec->dim);
    if (spec->metric == QV_METRIC_COSINE) {
        qv_simd_normalise_f32(out, spec->dim);
        return norm > 0 && isfinite(norm);
    }
    out[spec->dim] = 0;
    if (!(norm > 0) || !(spec->norm_max > 0))
        return false;
    for (uint32_t i = 0; i < spec->dim; i++)
        out[i] = (float)((double)query[i] / norm * (double)spec->norm_max);
    return true;
}

/* ---- where a row lies ---- */

size_t qv_centroids_scratch(const struct qv_centroids *c)
{
    return (size_t)c->width + 2 * (size_t)c->spec.count;
}

void qv_centroids_distances(const struct qv_centroids *c, const float *mapped, float *d)
{
    const struct qv_gather g = {.base = c->spec.rows,
                                .stride_bytes = c->width * sizeof(float),
                                .slots = c->all,
                                .n = c->spec.count};
    qv_score_batch(&c->scorer, mapped, &g, d);
}

uint32_t qv_centroids_descend(const struct qv_centroids *c, const float *d)
{
    uint32_t at = QV_CENTROID_NONE;
    do {
        const uint32_t *child = c->child_list + c->child_start[(uint32_t)(at + 1)];
        const uint32_t *end = c->child_list + c->child_start[(uint32_t)(at + 1) + 1];
        QV_ASSERT(child < end);
        at = *child;
        float least = d[at] + c->spec.weights[at];
        for (child++; child < end; child++) {
            const float power = d[*child] + c->spec.weights[*child];
            if (power < least) {
                least = power;
                at = *child;
            }
        }
    } while (c->spec.shards[at] == QV_CENTROID_NONE);
    return at;
}

/* The leaf of least power in another shard; QV_CENTROID_NONE: there is no other shard. */
static uint32_t nearest_elsewhere(const struct qv_centroids *c, const float *d, uint32_t shard)
{
    uint32_t found = QV_CENTROID_NONE;
    float least = INFINITY;
    for (uint32_t i = 0; i < c->spec.count; i++) {
        if (c->spec.shards[i] == QV_CENTROID_NONE || c->spec.shards[i] == shard)
            continue;
        const float power = d[i] + c->leaf_weight[i];
        if (power < least) {
            least = power;
            found = i;
        }
    }
    return found;
}

void qv_centroids_place(const struct qv_centroids *c, const float *vector, float *scratch,
                        struct qv_centroids_place *out)
{
    float *d = scratch + c->width;
    *out = (struct qv_centroids_place){.count = 1};
    out->norm = qv_centroids_map_row(&c->spec, vector, scratch);
    qv_centroids_distances(c, scratch, d);
    const uint32_t first = qv_centroids_descend(c, d);
    out->leaves[0] = first;
    out->shards[0] = c->spec.shards[first];
    out->distances[0] = sqrtf(d[first]);
    const uint32_t second =
        c->spec.border > 0 ? nearest_elsewhere(c, d, out->shards[0]) : QV_CENTROID_NONE;
    if (second == QV_CENTROID_NONE)
        return;
    const float reach = (1 + c->spec.border) * (1 + c->spec.border);
    if (d[second] + c->leaf_weight[second] > reach * (d[first] + c->leaf_weight[first]))
        return;
    out->count = 2;
    out->leaves[1] = second;
    out->shards[1] = c->spec.shards[second];
    out->distances[1] = sqrtf(d[second]);
}
