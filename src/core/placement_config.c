#include "core/placement_config.h"

static const char *const strategy_names[QV_PLACEMENT_STRATEGY_COUNT] = {"hash", "consistent_hash",
                                                                        "range", "cluster"};

const char *qv_placement_strategy_name(enum qv_placement_strategy s)
{
    return (unsigned)s < QV_PLACEMENT_STRATEGY_COUNT ? strategy_names[s] : NULL;
}

int qv_placement_strategy_parse(struct qv_str name, enum qv_placement_strategy *out,
                                struct qv_errmsg *msg)
{
    for (unsigned i = 0; i < QV_PLACEMENT_STRATEGY_COUNT; i++)
        if (qv_str_equal(name, qv_str_of(strategy_names[i]))) {
            *out = (enum qv_placement_strategy)i;
            return 0;
        }
    return qv_fail(msg, QV_EINVAL,
                   "placement: unknown strategy '%.*s'; there are hash, consistent_hash, range and "
                   "cluster",
                   name.n < 64 ? (int)name.n : 64, name.p);
}

/* Bounds of type 0 are none, whatever else stands in them. */
static bool same_bound(const struct qv_id *a, const struct qv_id *b)
{
    return a->type == 0 || b->type == 0 ? a->type == b->type : qv_id_equal(a, b);
}

bool qv_placement_config_equal(const struct qv_placement_config *a,
                               const struct qv_placement_config *b)
{
    if (a->strategy != b->strategy || a->virtual_nodes != b->virtual_nodes ||
        a->range_count != b->range_count)
        return false;
    for (uint32_t i = 0; i < a->range_count && a->ranges != b->ranges; i++) {
        const struct qv_placement_range *x = &a->ranges[i];
        const struct qv_placement_range *y = &b->ranges[i];
        if (x->shard != y->shard || !same_bound(&x->ids.from, &y->ids.from) ||
            !same_bound(&x->ids.to, &y->ids.to))
            return false;
    }
    return true;
}
