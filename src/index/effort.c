#include "index/effort_private.h"

#include "base/qv_assert.h"

#include <math.h>

const struct qv_effort_plan *qv_effort_plan(const struct qv_effort *e, double target)
{
    if (e->samples == 0)
        return NULL;
    uint32_t at = 0;
    while (at + 1 < QV_EFFORT_PLANS && (double)e->plans[at].target < target - 1e-6)
        at++;
    return &e->plans[at];
}

void qv_effort_features(const struct qv_hnsw_stage *stage, float out[QV_EFFORT_FEATURES])
{
    const uint32_t n = stage->n < QV_EFFORT_K ? stage->n : QV_EFFORT_K;
    const float nearest = n > 0 ? stage->hits[0].dist : 0.0F;
    const float kth = n > 0 ? stage->hits[n - 1].dist : 0.0F;
    const float gap = kth - nearest;
    out[0] = 1.0F;
    out[1] = nearest;
    out[2] = kth;
    out[3] = stage->last;
    out[4] = logf((float)(stage->distances + 1));
    out[5] = gap > 0.0F ? (stage->last - kth) / gap : 0.0F;
    out[5] = out[5] < 4.0F ? out[5] : 4.0F;
    for (uint32_t i = 0; i < QV_EFFORT_FEATURES; i++)
        out[i] = isfinite(out[i]) ? out[i] : 0.0F;
}

float qv_effort_score(const float weights[QV_EFFORT_FEATURES],
                      const float features[QV_EFFORT_FEATURES])
{
    float sum = 0.0F;
    for (uint32_t i = 0; i < QV_EFFORT_FEATURES; i++)
        sum += weights[i] * features[i];
    return sum;
}

uint32_t qv_effort_breadth(const struct qv_effort_plan *plan, const struct qv_hnsw_stage *stage)
{
    float features[QV_EFFORT_FEATURES];
    qv_effort_features(stage, features);
    const float score = qv_effort_score(plan->weights, features);
    uint32_t bin = 0;
    while (bin < QV_EFFORT_BINS - 1 && score >= plan->bounds[bin])
        bin++;
    return plan->ef[bin] > stage->ef ? plan->ef[bin] : stage->ef;
}

/* ---- a search ---- */

struct choice {
    const struct qv_effort_plan *plan;
    uint32_t more; /* breadth for results beyond QV_EFFORT_K */
    uint32_t ef_max;
};

#define MORE_EACH 3u /* breadth that a result beyond QV_EFFORT_K costs at equal recall */

static uint32_t choose(void *arg, const struct qv_hnsw_stage *stage)
{
    const struct choice *c = arg;
    uint32_t ef = qv_effort_breadth(c->plan, stage) + c->more;
    return ef < c->ef_max ? ef : c->ef_max;
}

int qv_effort_search(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                     const struct qv_effort_query *query, struct qv_hnsw_hit *hits, uint32_t *n_out)
{
    const struct qv_effort_plan *plan = query->plan;
    const uint32_t k = query->k;
    struct qv_hnsw_query q = query->query;
    uint32_t widest = plan->first > q.k ? plan->first : q.k;
    for (uint32_t i = 0; i < QV_EFFORT_BINS; i++)
        widest = plan->ef[i] > widest ? plan->ef[i] : widest;
    uint64_t more = k > QV_EFFORT_K ? (uint64_t)MORE_EACH * (k - QV_EFFORT_K) : 0;
    more = more < QV_HNSW_EF_MAX ? more : QV_HNSW_EF_MAX;
    uint64_t most = widest + more < QV_HNSW_EF_MAX ? widest + more : QV_HNSW_EF_MAX;
    uint64_t otherwise = plan->fixed + more < most ? plan->fixed + more : most;
    struct choice c = {.plan = plan, .more = (uint32_t)more, .ef_max = (uint32_t)most};
    const struct qv_hnsw_stages stages = {.ef_max = (uint32_t)most,
                                          .once = true,
                                          .next = choose,
                                          .arg = &c,
                                          .without = QV_SLOT_NONE,
                                          .ef_else = (uint32_t)otherwise};
    q.ef = plan->first;
    return qv_hnsw_search_stages(h, ctx, &q, &stages, hits, n_out);
}
