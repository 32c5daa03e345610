#include "base/qv_assert.h"
#include "index/effort_private.h"
#include "index/hnsw_walk.h"

#include <math.h>

uint32_t qv_effort_rung(uint32_t rung)
{
    static const double fourths[4] = {1.0, 1.18920711, 1.41421356, 1.68179283};
    QV_ASSERT(rung < QV_EFFORT_RUNGS);
    return (uint32_t)(5.0 * fourths[rung % 4] * (double)(1u << rung / 4) + 0.5);
}

bool qv_effort_plan(const struct qv_effort *e, double target, struct qv_effort_plan *out)
{
    if (e->samples == 0)
        return false;
    uint32_t at = 0;
    while (at + 1 < QV_EFFORT_GOALS && (double)e->goals[at].target < target - 1e-6)
        at++;
    out->goal = e->goals[at];
    memcpy(out->weights, e->weights, sizeof out->weights);
    return true;
}

void qv_effort_features(const struct qv_hnsw_stage *stage, float out[QV_EFFORT_FEATURES])
{
    const uint32_t k = stage->n < QV_EFFORT_K ? stage->n : QV_EFFORT_K;
    const uint32_t ef = stage->n < stage->ef ? stage->n : stage->ef;
    const float hops = (float)stage->hops + 1.0F;
    float sum = 0.0F;
    QV_ASSERT(stage->n > 0);
    for (uint32_t i = 0; i < k; i++)
        sum += qv_hnsw_cand_dist(stage->cands[i]);
    out[0] = 1.0F;
    out[1] = qv_hnsw_cand_dist(stage->cands[0]);
    out[2] = qv_hnsw_cand_dist(stage->cands[k - 1]);
    out[3] = qv_hnsw_cand_dist(stage->cands[ef - 1]);
    out[4] = sum / (float)k;
    out[5] = (float)(stage->hops - stage->near_hop) / hops;
    out[6] = (float)(stage->hops - stage->next_hop) / hops;
    out[7] = logf((float)stage->placed + 1.0F);
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

/* ---- a search ---- */

struct climb {
    const struct qv_effort_plan *plan;
    uint32_t rung;
    uint32_t more; /* breadth for results beyond QV_EFFORT_K, added at the end */
    uint32_t ef_max;
    bool over;
};

#define MORE_EACH 3u /* breadth that a result beyond QV_EFFORT_K costs at equal recall */

static uint32_t next_rung(void *arg, const struct qv_hnsw_stage *stage)
{
    struct climb *c = arg;
    float features[QV_EFFORT_FEATURES];
    if (c->over)
        return 0;
    if (c->rung + 1 < QV_EFFORT_RUNGS) {
        qv_effort_features(stage, features);
        if (qv_effort_score(c->plan->weights[c->rung], features) >= c->plan->goal.cuts[c->rung])
            return qv_effort_rung(++c->rung);
    }
    c->over = true;
    return c->more < c->ef_max - stage->ef ? stage->ef + c->more : c->ef_max;
}

int qv_effort_search(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                     const struct qv_effort_query *query, struct qv_hnsw_hit *hits, uint32_t *n_out)
{
    const struct qv_effort_plan *plan = query->plan;
    const uint32_t k = query->k;
    const uint64_t more = k > QV_EFFORT_K ? (uint64_t)MORE_EACH * (k - QV_EFFORT_K) : 0;
    const uint64_t most = qv_effort_rung(QV_EFFORT_RUNGS - 1) + more;
    const uint64_t otherwise = plan->goal.fixed + more;
    struct climb c = {.plan = plan,
                      .more = more < QV_HNSW_EF_MAX ? (uint32_t)more : QV_HNSW_EF_MAX,
                      .ef_max = most < QV_HNSW_EF_MAX ? (uint32_t)most : QV_HNSW_EF_MAX};
    const struct qv_hnsw_stages stages = {
        .ef_max = c.ef_max,
        .next = next_rung,
        .arg = &c,
        .without = QV_SLOT_NONE,
        .ef_else = otherwise < QV_HNSW_EF_MAX ? (uint32_t)otherwise : QV_HNSW_EF_MAX};
    struct qv_hnsw_query q = query->query;
    q.ef = qv_effort_rung(0);
    return qv_hnsw_search_stages(h, ctx, &q, &stages, hits, n_out);
}
