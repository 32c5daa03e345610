/* Shards by their centroids: who is near a query (cluster/centroids.h). Homes of ids are the
 * ring's. */
#include "cluster/placement_private.h"

int qv_placement_cluster_check(const struct qv_placement_spec *spec, struct qv_errmsg *msg)
{
    if (spec->centroids == NULL)
        return qv_fail(msg, QV_EINVAL, "placement: cluster needs centroids");
    uint32_t count;
    const uint32_t *named = qv_centroids_shards(spec->centroids, &count);
    const uint32_t dim = qv_centroids_spec_of(spec->centroids)->dim;
    uint32_t i = 0;
    if (spec->dim != 0 && spec->dim != dim)
        return qv_fail(msg, QV_EINVAL, "placement: centroids of %u dimensions for vectors of %u",
                       dim, spec->dim);
    for (; i < count && i < spec->shard_count && named[i] == spec->shards[i]; i++) {
    }
    if (i < count && (i == spec->shard_count || named[i] < spec->shards[i]))
        return qv_fail(msg, QV_EINVAL, "placement: a centroid of shard %u, which there is not",
                       named[i]);
    if (i < spec->shard_count)
        return qv_fail(msg, QV_EINVAL, "placement: shard %u has no centroid", spec->shards[i]);
    return 0;
}

int qv_placement_cluster_legs(const struct qv_placement *p, struct qv_arena *arena,
                              const struct qv_placement_query *query,
                              const struct qv_placement_leg **legs, uint32_t *count)
{
    const struct qv_centroids *c = p->spec.centroids;
    const uint32_t n = p->spec.shard_count;
    const uint32_t asked = query->n_probe == 0 || query->n_probe > n ? n : query->n_probe;
    if (query->dim != qv_centroids_spec_of(c)->dim)
        return QV_EINVAL;
    float *scratch = QV_ARENA_ARRAY(arena, float, qv_centroids_scratch(c));
    struct qv_centroids_rank *ranks = QV_ARENA_ARRAY(arena, struct qv_centroids_rank, n);
    struct qv_placement_leg *out = QV_ARENA_ARRAY(arena, struct qv_placement_leg, asked);
    if (scratch == NULL || ranks == NULL || out == NULL)
        return QV_ENOMEM;
    qv_centroids_rank(c, query->vector, &query->extent, scratch, ranks);
    for (uint32_t i = 0; i < asked; i++)
        out[i] = (struct qv_placement_leg){
            .shard = ranks[i].shard, .cover = qv_cover_all, .bound = ranks[i].bound};
    *legs = out;
    *count = asked;
    return 0;
}
