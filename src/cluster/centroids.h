/* Centroids: how the placement `cluster` divides rows by what they are near to.
 *
 * Space. Rows and queries are mapped so that nearer means nearer in L2:
 *   L2, L1   as they are (|a - b|_1 >= |a - b|_2, so a bound in L2 is one in L1)
 *   COSINE   to unit length
 *   DOT      to (x, sqrt(M^2 - |x|^2)), queries to (q M / |q|, 0), where M is `norm_max`, the norm
 *            of the longest row (Bachrach et al., RecSys 2014): one element more
 *
 * A tree. Every node has a centroid c and a weight w >= 0; a row x goes to the root with the least
 * power d(x, c)^2 + w, from there to the least of its children, and so on down to a leaf, which
 * names a shard. Weights (a power diagram) are what balances: a crowded cell has a larger one. A
 * split gives a leaf two children, so that no row of another cell moves. Ties go to the lower
 * number. Distances are canonical (simd/score.h): every machine places a row alike.
 *
 * Border rows may lie in two shards: the second is that of the leaf of least power (weights summed
 * from the root) in another shard, if sqrt(that power) <= (1 + border) sqrt(the first's). This is
 * the closure of SPANN (Chen et al., NeurIPS 2021) in power distance, without its rule against
 * redundant copies (second and first centroid nearer than row and second): with as few centroids as
 * there are shards it drops 99.6 % of the copies on SIFT, 84 % on GloVe.
 *
 * A value: immutable, reference-counted, any thread. */
#ifndef QV_CLUSTER_CENTROIDS_H
#define QV_CLUSTER_CENTROIDS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/metric.h"
#include "base/sha256.h"

#define QV_CENTROIDS_MAX 8192u             /* nodes of a tree */
#define QV_CENTROIDS_BYTES_MAX (64u << 20) /* of a blob */
#define QV_CENTROIDS_DEPTH_MAX 64u         /* splits of splits */
#define QV_CENTROID_NONE UINT32_MAX        /* no parent, no shard */
#define QV_CENTROIDS_BORDER_MAX 4.0F

/* What centroids are made of; arrays of `count`, borrowed. */
struct qv_centroids_spec {
    enum qv_metric metric;
    uint32_t dim;            /* of the vectors */
    uint32_t count;          /* nodes, parents before their children */
    const float *rows;       /* count x qv_centroids_width, in the mapped space */
    const float *weights;    /* >= 0 */
    const uint32_t *parents; /* QV_CENTROID_NONE: a root */
    const uint32_t *shards;  /* of a leaf; QV_CENTROID_NONE: it has children */
    float norm_max;          /* DOT: M; else 0 */
    float border;            /* 0: every row lies in one shard */
};

static inline uint32_t qv_centroids_width(enum qv_metric metric, uint32_t dim)
{
    return dim + (metric == QV_METRIC_DOT ? 1 : 0);
}

/* For specs from outside: QV_EINVAL, and msg is one line that names what is wrong. */
QV_MUST_USE int qv_centroids_check(const struct qv_centroids_spec *spec, struct qv_errmsg *msg);

struct qv_centroids;

/* Checks and copies. Gives a reference. QV_EINVAL, QV_ENOMEM. */
QV_MUST_USE int qv_centroids_create(const struct qv_centroids_spec *spec,
                                    const struct qv_centroids **out, struct qv_errmsg *msg);
void qv_centroids_ref(const struct qv_centroids *c);
void qv_centroids_unref(const struct qv_centroids *c); /* NULL is fine */
const struct qv_centroids_spec *qv_centroids_spec_of(const struct qv_centroids *c); /* borrowed */
/* The shards that leaves name, ascending, each once; borrowed. */
const uint32_t *qv_centroids_shards(const struct qv_centroids *c, uint32_t *count);

/* ---- where a row lies ---- */

/* Floats of scratch that place and rank need; one thread at a time uses it. */
size_t qv_centroids_scratch(const struct qv_centroids *c);

struct qv_centroids_place {
    uint32_t count;     /* 1, or 2 for a border row */
    uint32_t shards[2]; /* the first is the row's own */
    uint32_t leaves[2]; /* the nodes */
    float distances[2]; /* in the mapped space, to the leaf's centroid: what radii are made of */
    float norm;         /* DOT: the row's; else 0 */
};

/* vector: dim finite floats, borrowed. Cost: one distance a node, then its way down. */
void qv_centroids_place(const struct qv_centroids *c, const float *vector, float *scratch,
                        struct qv_centroids_place *out);

/* ---- which shards a query needs ---- */

/* What is known of the rows that are there. Zeros: nothing, and nothing is ruled out. */
struct qv_centroids_extent {
    const float *radii; /* a node: no row of that leaf, first or second, is farther from the
                         * centroid (leaves without rows: 0). NULL: not known */
    float norm_max;     /* DOT: no row is longer; 0: not known. Without it nothing is ruled out */
    bool settled;       /* every row lies where qv_centroids_place puts it: nothing moves */
};

struct qv_centroids_rank {
    uint32_t shard;
    float power; /* of its nearest leaf */
    float bound; /* a row there is not nearer to the query than this (a distance, base/metric.h) */
};

/* All shards, nearest first (by power, then number), into out[shard count]. Bounds are -INFINITY
 * where nothing rules the shard out. They allow for rounding, and come from
 *   radii    d(q, c) - radius
 *   settled  how far q is from the half space of the rows for which a node is nearer than each of
 *            its siblings, for every node on the way to the leaf (up to QV_CENTROIDS_PAIRS_MAX
 * nodes). Rows whose second shard this is don't count: they are found in their first. Cost: one
 * distance a node, with `settled` a few ns a pair of siblings. */
#define QV_CENTROIDS_PAIRS_MAX 512u
void qv_centroids_rank(const struct qv_centroids *c, const float *query,
                       const struct qv_centroids_extent *extent, float *scratch,
                       struct qv_centroids_rank *out);

/* ---- as bytes ---- */

/* u32 magic "QVCT", u32 version, u32 metric, u32 dim, u32 count, f32 norm_max, f32 border, then
 * rows, weights, parents, shards as in the spec, u32 CRC32C of all before. Little-endian. One spec
 * has one encoding, so equal centroids have equal names. */
void qv_centroids_encode(const struct qv_centroids *c, struct qv_buf *out);
/* Is it what encode writes? QV_ECORRUPT (bytes spoiled), QV_EINVAL (another version, or a spec that
 * qv_centroids_check refuses). */
QV_MUST_USE int qv_centroids_check_blob(struct qv_bytes blob, struct qv_errmsg *msg);
/* Gives a reference. The same errors, and QV_ENOMEM. */
QV_MUST_USE int qv_centroids_decode(struct qv_bytes blob, const struct qv_centroids **out,
                                    struct qv_errmsg *msg);
/* A blob's name: SHA-256 of its bytes, in hex. */
void qv_centroids_name(struct qv_bytes blob, char out[QV_SHA256_TEXT]);

/* ---- made from a sample ---- */

struct qv_centroids_training {
    enum qv_metric metric;
    uint32_t dim;
    const float *sample; /* n x dim, finite, borrowed */
    uint32_t n;          /* at least the number of shards */
    const uint32_t *shards;
    uint32_t shard_count; /* one centroid each */
    uint64_t seed;
    uint32_t iterations; /* of Lloyd's; 0: 15 */
    double balance;      /* largest over mean cell, on the sample, aimed at; 0: 1.1 */
    double storage_max;  /* border rows lie twice up to this many rows a row; 0 or 1: none do */
    /* Retraining: begins at the cells of these (of this metric and dimension) in place of
     * k-means++; a shard that they do not have begins at a row of the largest cell. */
    const struct qv_centroids *warm;
};

/* On the sample. */
struct qv_centroids_report {
    double max_over_mean;
    double storage_factor;
    double moved_share;   /* rows whose first shard is another than under warm; 0 without */
    double mean_distance; /* to the own centroid, mapped */
    uint32_t iterations;
};

#define QV_CENTROIDS_TRAIN_FLOATS_MAX (1u << 27) /* n x shards: what is held of distances */

/* k-means++ (Arthur & Vassilvitskii 2007), Lloyd's iterations, then weights: a crowded cell's grows
 * until the largest holds balance x mean rows. The same seed and sample give the same bytes on
 * every machine. A job of its own: n x shards x dim x iterations x 0.4 ns. Gives a reference.
 * QV_EINVAL, QV_ELIMIT, QV_ENOMEM. */
QV_MUST_USE int qv_centroids_train(const struct qv_centroids_training *training,
                                   const struct qv_centroids **out,
                                   struct qv_centroids_report *report, struct qv_errmsg *msg);

/* What a sample would be told by these centroids, moved_share against before (NULL: 0). */
QV_MUST_USE int qv_centroids_measure(const struct qv_centroids *c,
                                     const struct qv_centroids *before, const float *sample,
                                     uint32_t n, struct qv_centroids_report *out);

/* The centroids in which half of the shard's rows belong to to_shard, which they do not name yet:
 * a leaf gets two children, of several leaves some change their shard. No other row's first shard
 * changes. sample: rows of that shard (others are passed over). QV_EINVAL: no such shard, or
 * to_shard has a leaf, fewer than two different rows; QV_ELIMIT: nodes or depth. */
struct qv_centroids_split {
    uint32_t shard, to_shard;
    const float *sample; /* n x dim, finite */
    uint32_t n;
    uint64_t seed;
};
QV_MUST_USE int qv_centroids_split(const struct qv_centroids *c,
                                   const struct qv_centroids_split *split,
                                   const struct qv_centroids **out, struct qv_errmsg *msg);

#endif
