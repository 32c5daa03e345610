/* Scores as the API shows them, made from canonical distances, and the order of hits.
 *
 *   Cosine     1 - d; over rows kept at unit length the distance is DOT's, and the score -d: the
 * dot product of the normalised rows to the bit Dot        -d Euclid     sqrt(d) Manhattan  d
 *
 * For Cosine and Dot larger is better, for the others smaller. A NaN score is worse than every
 * other. Equal scores are ordered by id. Pure functions; any thread. */
#ifndef QV_CORE_RANK_H
#define QV_CORE_RANK_H

#include "core/config.h"
#include "core/id.h"
#include "core/version.h"

/* What the scores of one search are. A value. */
struct qv_ranking {
    enum qv_distance distance;
    bool unit_rows; /* Cosine: distances are DOT's over unit rows */
};

/* A point found, without its contents. */
struct qv_hit {
    struct qv_id id;
    struct qv_version version;
    float score;
    uint32_t list; /* set by qv_hits_merge: where it came from */
    uint32_t at;
};

static inline bool qv_rank_larger_is_better(enum qv_distance distance)
{
    return distance == QV_DISTANCE_COSINE || distance == QV_DISTANCE_DOT;
}

/* Distance as metric.h defines it -> score. Never -0. */
float qv_rank_score(const struct qv_ranking *r, float distance);

/* < 0 when a is better, > 0 when b is, 0 when equal (two NaN are). */
int qv_rank_compare_scores(const struct qv_ranking *r, float a, float b);
/* By score, then id: the order of an answer. */
int qv_rank_compare(const struct qv_ranking *r, const struct qv_hit *a, const struct qv_hit *b);

/* score_threshold: only what is better than it passes, not what equals it (the API's rule). */
bool qv_rank_passes(const struct qv_ranking *r, float score, float threshold);

#endif
