/* Private to the centroids: the value as it lies in memory. */
#ifndef QV_CLUSTER_CENTROIDS_PRIVATE_H
#define QV_CLUSTER_CENTROIDS_PRIVATE_H

#include "cluster/centroids.h"
#include "simd/score.h"

#include <stdatomic.h>

struct qv_centroids {
    struct qv_centroids_spec spec; /* its arrays are in the arena */
    atomic_uint refs;
    uint32_t width;
    struct qv_scorer scorer; /* L2 of the mapped space */
    uint32_t *all;           /* 0 .. count - 1: the slots of a batch */
    uint32_t *child_start;   /* count + 2: children of node i are child_list[child_start[i + 1] ..
                              * child_start[i + 2]), the roots those of -1 */
    uint32_t *child_list;    /* ascending a parent */
    float *leaf_weight;      /* from the root down, summed */
    uint32_t *leaf_shard;    /* a leaf's place in shards */
    float *pairs;            /* count x count distances of siblings; NULL above the limit */
    uint32_t shard_count;
    uint32_t *shards;
    struct qv_arena arena;
};

/* vector (dim floats) into the mapped space (width floats); gives its norm under DOT, else 0. */
float qv_centroids_map_row(const struct qv_centroids_spec *spec, const float *vector, float *out);
/* The same for a query. false: a query of no direction (zeros), which rules nothing out. */
bool qv_centroids_map_query(const struct qv_centroids_spec *spec, const float *query, float *out);

static inline const float *qv_centroids_row(const struct qv_centroids *c, uint32_t node)
{
    return c->spec.rows + (size_t)node * c->width;
}

/* d[i] = squared distance of a mapped vector to node i. */
void qv_centroids_distances(const struct qv_centroids *c, const float *mapped, float *d);
/* The leaf that the tree leads to, by these distances. */
uint32_t qv_centroids_descend(const struct qv_centroids *c, const float *d);

#endif
