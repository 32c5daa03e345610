#include "core/api.h"

#include "base/hash.h"
#include "core/limits.h"

#include <math.h>

int qv_query_check_params(const struct qv_query *q, struct qv_errmsg *msg)
{
    double over = q->quant_oversampling.v, target = q->recall_target.v;
    if (q->hnsw_ef.has && q->hnsw_ef.v > QV_EF_MAX)
        return qv_fail(msg, QV_EVALIDATION,
                       "params.hnsw_ef: value %llu invalid, must be %u or smaller",
                       (unsigned long long)q->hnsw_ef.v, QV_EF_MAX);
    if (q->quant_oversampling.has && !(over >= 1.0 && isfinite(over)))
        return qv_fail(msg, QV_EVALIDATION,
                       "params.quantization.oversampling: value %g invalid, must be 1.0 or larger",
                       over);
    if (q->recall_target.has && !(target > 0.0 && target <= 1.0))
        return qv_fail(msg, QV_EVALIDATION,
                       "params.quiver.recall_target: value %g invalid, must be above 0, at most 1",
                       target);
    if (q->n_probe.has && q->n_probe.v == 0)
        return qv_fail(msg, QV_EVALIDATION,
                       "params.quiver.n_probe: value 0 invalid, must be 1 or larger");
    return 0;
}

int64_t qv_sample_chance(uint64_t seed, const struct qv_id *id)
{
    return (int64_t)qv_hash_mix(qv_id_key_hash(id) ^ seed);
}

void qv_plan_add(struct qv_plan_out *sum, const struct qv_plan_out *p)
{
    sum->points += p->points;
    sum->passing += p->passing;
    sum->passing_min += p->passing_min;
    sum->passing_max += p->passing_max;
    sum->payloads_read += p->payloads_read;
    sum->ranked += p->ranked;
    sum->distances += p->distances;
    sum->hops += p->hops;
    sum->bridges += p->bridges;
    sum->waiting += p->waiting;
    for (int i = 0; i < QV_PLAN_COSTS; i++)
        sum->cost_us[i] += p->cost_us[i];
}
