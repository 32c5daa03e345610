#include "core/rank.h"

#include <math.h>

float qv_rank_score(const struct qv_ranking *r, float distance)
{
    switch (r->distance) {
    case QV_DISTANCE_COSINE:
        return r->unit_rows ? 0.0f - distance : 1.0f - distance;
    case QV_DISTANCE_DOT:
        return 0.0f - distance; /* not -distance: a product of zero is +0 */
    case QV_DISTANCE_EUCLID:
        return sqrtf(distance);
    case QV_DISTANCE_MANHATTAN:
        break;
    }
    return distance;
}

int qv_rank_compare_scores(const struct qv_ranking *r, float a, float b)
{
    if (isnan(a) || isnan(b))
        return (isnan(a) ? 1 : 0) - (isnan(b) ? 1 : 0);
    if (a == b)
        return 0;
    return (a > b) == qv_rank_larger_is_better(r->distance) ? -1 : 1;
}

int qv_rank_compare(const struct qv_ranking *r, const struct qv_hit *a, const struct qv_hit *b)
{
    int c = qv_rank_compare_scores(r, a->score, b->score);
    return c != 0 ? c : qv_id_compare(&a->id, &b->id);
}

bool qv_rank_passes(const struct qv_ranking *r, float score, float threshold)
{
    return qv_rank_larger_is_better(r->distance) ? score > threshold : score < threshold;
}
