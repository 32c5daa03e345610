#include "cluster/placement.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "cluster/placement_private.h"

#include <math.h>
#include <string.h>

/* Of the largest placement: segments and covers of all points, or all ranges. */
#define ARENA_BYTES ((size_t)64 << 20)

int qv_placement_check(const struct qv_placement_spec *spec, struct qv_errmsg *msg)
{
    if ((unsigned)spec->strategy >= QV_PLACEMENT_STRATEGY_COUNT)
        return qv_fail(msg, QV_EINVAL, "placement: unknown strategy %u", (unsigned)spec->strategy);
    if (spec->shard_count < 1 || spec->shard_count > QV_PLACEMENT_SHARDS_MAX)
        return qv_fail(msg, QV_EINVAL, "placement: %u shards, not 1 to %u", spec->shard_count,
                       QV_PLACEMENT_SHARDS_MAX);
    for (uint32_t i = 1; i < spec->shard_count; i++)
        if (spec->shards[i] <= spec->shards[i - 1])
            return qv_fail(msg, QV_EINVAL, "placement: shard %u %s", spec->shards[i],
                           spec->shards[i] == spec->shards[i - 1] ? "is named twice"
                                                                  : "is not in ascending order");
    if (spec->shards[spec->shard_count - 1] == UINT32_MAX)
        return qv_fail(msg, QV_EINVAL, "placement: %u is no shard number", UINT32_MAX);
    int err = 0;
    if (spec->strategy == QV_PLACEMENT_RANGE)
        return qv_placement_range_check(spec, msg);
    if (spec->strategy != QV_PLACEMENT_HASH)
        err = qv_placement_ring_check(spec, msg);
    if (err == 0 && spec->strategy == QV_PLACEMENT_CLUSTER)
        err = qv_placement_cluster_check(spec, msg);
    return err;
}

struct qv_placement_spec qv_placement_spec_of_config(const struct qv_placement_config *config,
                                                     const uint32_t *shards, uint32_t count)
{
    static const struct qv_placement_range everything = {.shard = 0};
    struct qv_placement_spec spec = {.strategy = config->strategy,
                                     .shard_count = count,
                                     .shards = shards,
                                     .virtual_nodes = config->virtual_nodes,
                                     .range_count = config->range_count,
                                     .ranges = config->ranges};
    if (spec.strategy == QV_PLACEMENT_RANGE && spec.range_count == 0) {
        spec.range_count = 1;
        spec.ranges = &everything;
    }
    return spec;
}

/* ---- the value ---- */

/* The covers of all shards, cut from one list. */
static int fill_keys(struct qv_placement *p)
{
    const struct qv_segments *s = &p->segments;
    const uint32_t n = p->spec.shard_count;
    struct qv_interval *list = QV_ARENA_ARRAY(&p->arena, struct qv_interval, s->count);
    uint32_t *next = QV_ARENA_ARRAY(&p->arena, uint32_t, n + 1);
    p->keys = QV_ARENA_ARRAY(&p->arena, struct qv_cover, n);
    if (list == NULL || next == NULL || p->keys == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < s->count; i++)
        next[s->owners[i] + 1]++;
    for (uint32_t i = 0; i < n; i++) {
        next[i + 1] += next[i];
        p->keys[i] = (struct qv_cover){list + next[i], next[i + 1] - next[i]};
    }
    for (uint32_t i = 0; i < s->count; i++) {
        const uint64_t first = i == 0 ? 0 : s->lasts[i - 1] + 1;
        list[next[s->owners[i]]++] = (struct qv_interval){first, s->lasts[i]};
    }
    return 0;
}

static int fill_sets(struct qv_placement *p)
{
    const uint32_t n = p->spec.shard_count;
    int err = 0;
    p->sets = QV_ARENA_ARRAY(&p->arena, struct qv_key_set, n);
    if (p->sets == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < n && err == 0; i++) {
        if (p->spec.strategy == QV_PLACEMENT_CLUSTER)
            p->sets[i] = qv_key_set_all;
        else
            err = qv_placement_key_set(&p->arena, p, p->spec.shards[i], &p->sets[i]);
    }
    return err;
}

static int build(struct qv_placement *p, const struct qv_placement_spec *from)
{
    struct qv_placement_spec *s = &p->spec;
    s->shards = qv_arena_dup(&p->arena, from->shards, s->shard_count * sizeof *s->shards);
    if (s->shards == NULL)
        return QV_ENOMEM;
    s->ranges = NULL;
    if (s->strategy == QV_PLACEMENT_RANGE) {
        struct qv_placement_range *ranges =
            qv_arena_dup(&p->arena, from->ranges, s->range_count * sizeof *ranges);
        if (ranges == NULL)
            return QV_ENOMEM;
        ranges[0].ids.from = (struct qv_id){0}; /* however it was said */
        s->ranges = ranges;
        return 0;
    }
    int err = s->strategy == QV_PLACEMENT_HASH
                  ? qv_placement_hash_segments(&p->arena, s->shard_count, &p->segments)
                  : qv_placement_ring_segments(&p->arena, s, &p->segments);
    return err == 0 ? fill_keys(p) : err;
}

int qv_placement_create(const struct qv_placement_spec *spec, const struct qv_placement **out,
                        struct qv_errmsg *msg)
{
    int err = qv_placement_check(spec, msg);
    if (err != 0)
        return err;
    struct qv_placement *p = qv_mem_calloc(1, sizeof *p);
    atomic_init(&p->refs, 1);
    qv_arena_init(&p->arena, ARENA_BYTES);
    p->spec = *spec;
    if (p->spec.strategy != QV_PLACEMENT_RANGE)
        p->spec.range_count = 0;
    if (p->spec.strategy != QV_PLACEMENT_CLUSTER)
        p->spec.centroids = NULL;
    if (p->spec.virtual_nodes == 0)
        p->spec.virtual_nodes = QV_PLACEMENT_VIRTUAL_NODES;
    if (p->spec.centroids != NULL)
        qv_centroids_ref(p->spec.centroids);
    err = build(p, spec);
    if (err == 0)
        err = fill_sets(p);
    if (err != 0) {
        qv_placement_unref(p);
        return qv_fail(msg, err, "no memory for a placement of %u shards", spec->shard_count);
    }
    *out = p;
    return 0;
}

static struct qv_placement *writable(const struct qv_placement *p)
{
    return (struct qv_placement *)(uintptr_t)p;
}

void qv_placement_ref(const struct qv_placement *p)
{
    atomic_fetch_add(&writable(p)->refs, 1);
}

void qv_placement_unref(const struct qv_placement *p)
{
    if (p == NULL || atomic_fetch_sub(&writable(p)->refs, 1) != 1)
        return;
    qv_centroids_unref(p->spec.centroids);
    qv_arena_close(&writable(p)->arena);
    qv_mem_free(writable(p));
}

const struct qv_placement_spec *qv_placement_spec_of(const struct qv_placement *p)
{
    return &p->spec;
}

static uint32_t nodes_of(const struct qv_placement_spec *s)
{
    return s->virtual_nodes != 0 ? s->virtual_nodes : QV_PLACEMENT_VIRTUAL_NODES;
}

bool qv_placement_is_of(const struct qv_placement *p, const struct qv_placement_spec *spec)
{
    const struct qv_placement_spec *s = &p->spec;
    const bool ranges = s->strategy == QV_PLACEMENT_RANGE;
    const struct qv_placement_config a = {.range_count = s->range_count, .ranges = s->ranges};
    const struct qv_placement_config b = {.range_count = spec->range_count, .ranges = spec->ranges};
    if (s->strategy != spec->strategy || s->shard_count != spec->shard_count ||
        memcmp(s->shards, spec->shards, s->shard_count * sizeof *s->shards) != 0)
        return false;
    if (ranges)
        return qv_placement_config_equal(&a, &b);
    return s->strategy == QV_PLACEMENT_HASH ||
           (nodes_of(s) == nodes_of(spec) &&
            (s->strategy != QV_PLACEMENT_CLUSTER || s->centroids == spec->centroids));
}

bool qv_placement_by_hash(const struct qv_placement *p)
{
    return p->spec.strategy == QV_PLACEMENT_HASH ||
           p->spec.strategy == QV_PLACEMENT_CONSISTENT_HASH;
}

uint32_t qv_placement_index(const struct qv_placement *p, uint32_t shard)
{
    uint32_t low = 0;
    uint32_t high = p->spec.shard_count;
    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        if (p->spec.shards[mid] < shard)
            low = mid + 1;
        else
            high = mid;
    }
    return low < p->spec.shard_count && p->spec.shards[low] == shard ? low : p->spec.shard_count;
}

/* ---- keys ---- */

uint32_t qv_placement_owner_at(const struct qv_placement *p, const struct qv_id *id)
{
    if (p->spec.shard_count == 1)
        return 0;
    if (p->spec.strategy == QV_PLACEMENT_RANGE)
        return qv_placement_index(p, qv_placement_range_owner(&p->spec, id));
    const uint64_t hash = qv_id_key_hash(id);
    return p->spec.strategy == QV_PLACEMENT_HASH
               ? qv_placement_hash_owner(p->spec.shard_count, hash)
               : qv_placement_ring_owner(&p->segments, hash);
}

uint32_t qv_placement_owner(const struct qv_placement *p, const struct qv_id *id)
{
    return p->spec.shards[qv_placement_owner_at(p, id)];
}

const struct qv_key_set *qv_placement_holds(const struct qv_placement *p, uint32_t at)
{
    QV_ASSERT(at < p->spec.shard_count);
    return &p->sets[at];
}

bool qv_placement_owns(const struct qv_placement *p, uint32_t shard, const struct qv_id *id)
{
    return qv_placement_owner(p, id) == shard;
}

const struct qv_cover *qv_placement_keys(const struct qv_placement *p, uint32_t shard)
{
    const uint32_t at = qv_placement_index(p, shard);
    if (at == p->spec.shard_count)
        return &qv_cover_none;
    return qv_placement_has_segments(p) ? &p->keys[at] : &qv_cover_all;
}

int qv_placement_key_set(struct qv_arena *arena, const struct qv_placement *p, uint32_t shard,
                         struct qv_key_set *out)
{
    if (p->spec.strategy == QV_PLACEMENT_RANGE)
        return qv_placement_range_set(arena, &p->spec, shard, out);
    *out = (struct qv_key_set){.keys = *qv_placement_keys(p, shard)};
    return 0;
}

/* ---- whom to ask ---- */

int qv_placement_cover(const struct qv_placement *p, struct qv_arena *arena,
                       const struct qv_placement_query *query, const struct qv_placement_leg **legs,
                       uint32_t *count)
{
    const enum qv_placement_strategy strategy = p->spec.strategy;
    if (strategy == QV_PLACEMENT_RANGE && query->ask == QV_PLACEMENT_ASK_IDS)
        return qv_placement_range_legs(p, arena, &query->ids, legs, count);
    if (strategy == QV_PLACEMENT_CLUSTER && query->ask == QV_PLACEMENT_ASK_NEAREST)
        return qv_placement_cluster_legs(p, arena, query, legs, count);
    const bool whole = strategy == QV_PLACEMENT_RANGE || strategy == QV_PLACEMENT_CLUSTER;
    struct qv_placement_leg *out =
        QV_ARENA_ARRAY(arena, struct qv_placement_leg, p->spec.shard_count);
    if (out == NULL)
        return QV_ENOMEM;
    *legs = out;
    *count = 0;
    for (uint32_t i = 0; i < p->spec.shard_count; i++)
        if (whole || p->keys[i].count > 0)
            out[(*count)++] = (struct qv_placement_leg){.shard = p->spec.shards[i],
                                                        .cover = whole ? qv_cover_all : p->keys[i],
                                                        .bound = -INFINITY};
    return 0;
}
