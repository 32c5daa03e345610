/* Ranges of ids: checks, look-up, splitting, joining, and when to. */
#include "cluster/placement_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdlib.h>
#include <string.h>

#define SPLIT_ROWS UINT64_C(10000000)
#define SPLIT_ROWS_MIN UINT64_C(10000)
#define SPLIT_REQUESTS 2000.0
#define OBSERVATIONS 6u
#define MERGE_PATIENCE 4u
#define MERGE_PART 3u

static const struct qv_id lowest = {.type = QV_ID_NUM};

int qv_id_range_compare_from(const struct qv_id *a, const struct qv_id *b)
{
    return qv_id_compare(a->type == 0 ? &lowest : a, b->type == 0 ? &lowest : b);
}

int qv_id_range_compare_to(const struct qv_id *a, const struct qv_id *b)
{
    if (a->type == 0 || b->type == 0)
        return (a->type == 0) - (b->type == 0);
    return qv_id_compare(a, b);
}

/* ---- check ---- */

static bool is_bound(const struct qv_id *id)
{
    if (id->type == 0 || id->type == QV_ID_NUM)
        return id->hi == 0 && (id->type != 0 || id->lo == 0);
    return id->type == QV_ID_UUID;
}

/* Where two neighbours meet. */
static int check_border(const struct qv_id *to, const struct qv_id *from, uint32_t i,
                        struct qv_errmsg *msg)
{
    char text[QV_ID_TEXT_MAX];
    const int order = to->type == 0 ? 1 : qv_id_range_compare_from(to, from);
    if (order == 0)
        return 0;
    (void)qv_id_format(from->type == 0 ? &lowest : from, text);
    return qv_fail(msg, QV_EINVAL, "placement: ranges %u and %u %s at id %s", i, i + 1,
                   order > 0 ? "overlap" : "leave a gap", text);
}

static int check_range(const struct qv_placement_spec *spec, uint32_t i, struct qv_errmsg *msg)
{
    const struct qv_id_range *r = &spec->ranges[i].ids;
    if (!is_bound(&r->from) || !is_bound(&r->to))
        return qv_fail(msg, QV_EINVAL, "placement: range %u: a bound is no id", i);
    if (r->to.type != 0 && qv_id_range_compare_from(&r->from, &r->to) >= 0)
        return qv_fail(msg, QV_EINVAL, "placement: range %u ends before it begins", i);
    if (i == 0)
        return qv_id_range_compare_from(&r->from, &lowest) == 0
                   ? 0
                   : qv_fail(msg, QV_EINVAL, "placement: no range holds the lowest ids");
    if (qv_id_range_compare_from(&spec->ranges[i - 1].ids.from, &r->from) > 0)
        return qv_fail(msg, QV_EINVAL, "placement: ranges %u and %u are not in order", i - 1, i);
    return check_border(&spec->ranges[i - 1].ids.to, &r->from, i - 1, msg);
}

static int compare_u32(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a;
    const uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Every range of a shard there is, every shard with a range. */
static int check_shards(const struct qv_placement_spec *spec, struct qv_errmsg *msg)
{
    bool *has = qv_mem_calloc(spec->shard_count, sizeof *has);
    int err = 0;
    for (uint32_t i = 0; i < spec->range_count && err == 0; i++) {
        const uint32_t *at = bsearch(&spec->ranges[i].shard, spec->shards, spec->shard_count,
                                     sizeof *spec->shards, compare_u32);
        if (at == NULL)
            err = qv_fail(msg, QV_EINVAL, "placement: range %u is of shard %u, which there is not",
                          i, spec->ranges[i].shard);
        else
            has[at - spec->shards] = true;
    }
    for (uint32_t s = 0; s < spec->shard_count && err == 0; s++)
        if (!has[s])
            err = qv_fail(msg, QV_EINVAL, "placement: shard %u has no range", spec->shards[s]);
    qv_mem_free(has);
    return err;
}

int qv_placement_range_check(const struct qv_placement_spec *spec, struct qv_errmsg *msg)
{
    if (spec->range_count < 1 || spec->range_count > QV_PLACEMENT_RANGES_MAX)
        return qv_fail(msg, QV_EINVAL, "placement: %u ranges, not 1 to %u", spec->range_count,
                       QV_PLACEMENT_RANGES_MAX);
    for (uint32_t i = 0; i < spec->range_count; i++) {
        int err = check_range(spec, i, msg);
        if (err != 0)
            return err;
    }
    if (spec->ranges[spec->range_count - 1].ids.to.type != 0)
        return qv_fail(msg, QV_EINVAL, "placement: no range holds the highest ids");
    return check_shards(spec, msg);
}

/* ---- look-up ---- */

/* The last range that begins at or before the id. */
static uint32_t range_of(const struct qv_placement_spec *spec, const struct qv_id *id)
{
    uint32_t low = 0;
    uint32_t high = spec->range_count - 1;
    while (low < high) {
        const uint32_t mid = low + (high - low + 1) / 2;
        if (qv_id_range_compare_from(&spec->ranges[mid].ids.from, id) <= 0)
            low = mid;
        else
            high = mid - 1;
    }
    QV_ASSERT(qv_id_range_holds(&spec->ranges[low].ids, id));
    return low;
}

uint32_t qv_placement_range_owner(const struct qv_placement_spec *spec, const struct qv_id *id)
{
    return spec->ranges[range_of(spec, id)].shard;
}

int qv_placement_range_legs(const struct qv_placement *p, struct qv_arena *arena,
                            const struct qv_id_range *ids, const struct qv_placement_leg **legs,
                            uint32_t *count)
{
    const struct qv_placement_spec *s = &p->spec;
    bool *asked = QV_ARENA_ARRAY(arena, bool, s->shard_count);
    struct qv_placement_leg *out = QV_ARENA_ARRAY(arena, struct qv_placement_leg, s->shard_count);
    if (asked == NULL || out == NULL)
        return QV_ENOMEM;
    *legs = out;
    *count = 0;
    if (ids->to.type != 0 && qv_id_range_compare_from(&ids->from, &ids->to) >= 0)
        return 0; /* no id at all */
    uint32_t i = range_of(s, ids->from.type == 0 ? &lowest : &ids->from);
    for (; i < s->range_count; i++) {
        if (ids->to.type != 0 && qv_id_range_compare_from(&s->ranges[i].ids.from, &ids->to) >= 0)
            break;
        asked[qv_placement_index(p, s->ranges[i].shard)] = true;
    }
    for (i = 0; i < s->shard_count; i++)
        if (asked[i])
            out[(*count)++] = (struct qv_placement_leg){
                .shard = s->shards[i], .cover = qv_cover_all, .bound = -__builtin_inff()};
    return 0;
}

int qv_placement_range_set(struct qv_arena *arena, const struct qv_placement_spec *spec,
                           uint32_t shard, struct qv_key_set *out)
{
    struct qv_id_range *list = QV_ARENA_ARRAY(arena, struct qv_id_range, spec->range_count);
    uint32_t n = 0;
    if (list == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < spec->range_count; i++) {
        if (spec->ranges[i].shard != shard)
            continue;
        if (i > 0 && spec->ranges[i - 1].shard == shard)
            list[n - 1].to = spec->ranges[i].ids.to;
        else
            list[n++] = spec->ranges[i].ids;
    }
    const bool all = n == 1 && list[0].from.type == 0 && list[0].to.type == 0;
    *out = n == 0 ? qv_key_set_none : qv_key_set_all;
    if (n > 0 && !all) {
        out->some_ids = true;
        out->range_count = n;
        out->ranges = list;
    }
    return 0;
}

/* ---- splitting and joining ---- */

struct edit {
    struct qv_placement_spec spec;
    uint32_t *shards;
    struct qv_placement_range *ranges;
};

static void edit_open(struct edit *e, const struct qv_placement_spec *from)
{
    e->spec = *from;
    e->shards = qv_mem_calloc(from->shard_count + 1, sizeof *e->shards);
    e->ranges = qv_mem_calloc(from->range_count + 1, sizeof *e->ranges);
    memcpy(e->shards, from->shards, from->shard_count * sizeof *e->shards);
    memcpy(e->ranges, from->ranges, from->range_count * sizeof *e->ranges);
    e->spec.shards = e->shards;
    e->spec.ranges = e->ranges;
}

static int edit_close(struct edit *e, const struct qv_placement **out, struct qv_errmsg *msg)
{
    int err = qv_placement_create(&e->spec, out, msg);
    qv_mem_free(e->shards);
    qv_mem_free(e->ranges);
    return err;
}

int qv_placement_split_range(const struct qv_placement *p, const struct qv_id *key, uint32_t shard,
                             const struct qv_placement **out, struct qv_errmsg *msg)
{
    const struct qv_placement_spec *s = &p->spec;
    struct edit e;
    if (s->strategy != QV_PLACEMENT_RANGE)
        return qv_fail(msg, QV_EINVAL, "placement: only ranges are split at a key");
    if (qv_placement_index(p, shard) < s->shard_count)
        return qv_fail(msg, QV_EINVAL, "placement: shard %u is there already", shard);
    if (key->type == 0 || !is_bound(key))
        return qv_fail(msg, QV_EINVAL, "placement: the key to split at is no id");
    const uint32_t at = range_of(s, key);
    if (qv_id_range_compare_from(&s->ranges[at].ids.from, key) == 0)
        return qv_fail(msg, QV_EINVAL, "placement: the key is the first of its range");
    edit_open(&e, s);
    memmove(e.ranges + at + 1, e.ranges + at, (s->range_count - at) * sizeof *e.ranges);
    e.ranges[at].ids.to = *key;
    e.ranges[at + 1].ids.from = *key;
    e.ranges[at + 1].shard = shard;
    e.shards[s->shard_count] = shard;
    e.spec.range_count++;
    e.spec.shard_count++;
    qsort(e.shards, e.spec.shard_count, sizeof *e.shards, compare_u32);
    return edit_close(&e, out, msg);
}

static uint32_t ranges_of(const struct qv_placement_range *list, uint32_t n, uint32_t shard)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++)
        found += list[i].shard == shard;
    return found;
}

int qv_placement_merge_ranges(const struct qv_placement *p, uint32_t into, uint32_t from,
                              const struct qv_placement **out, struct qv_errmsg *msg)
{
    const struct qv_placement_spec *s = &p->spec;
    struct edit e;
    if (s->strategy != QV_PLACEMENT_RANGE)
        return qv_fail(msg, QV_EINVAL, "placement: only ranges are joined");
    const uint32_t gone = qv_placement_index(p, from);
    if (into == from || gone == s->shard_count || qv_placement_index(p, into) == s->shard_count)
        return qv_fail(msg, QV_EINVAL, "placement: shards %u and %u are not two of this placement",
                       into, from);
    edit_open(&e, s);
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->range_count; i++) {
        struct qv_placement_range r = s->ranges[i];
        const bool joins = r.shard == from || r.shard == into;
        if (joins)
            r.shard = into;
        if (joins && n > 0 && e.ranges[n - 1].shard == into)
            e.ranges[n - 1].ids.to = r.ids.to;
        else
            e.ranges[n++] = r;
    }
    e.spec.range_count = n;
    e.spec.shard_count--;
    memmove(e.shards + gone, e.shards + gone + 1, (s->shard_count - gone) * sizeof *e.shards);
    if (ranges_of(e.ranges, n, into) > ranges_of(s->ranges, s->range_count, into)) {
        qv_mem_free(e.shards);
        qv_mem_free(e.ranges);
        return qv_fail(msg, QV_EINVAL, "placement: ranges of shards %u and %u do not touch", into,
                       from);
    }
    return edit_close(&e, out, msg);
}

static int compare_ids(const void *a, const void *b)
{
    return qv_id_compare(a, b);
}

int qv_placement_split_key(struct qv_id *sample, size_t n, struct qv_id *out)
{
    if (n < 2)
        return QV_ENOTFOUND;
    qsort(sample, n, sizeof *sample, compare_ids);
    size_t up = n / 2; /* the nearest place where one id differs from the one before */
    size_t down = n / 2;
    while (up < n && qv_id_equal(&sample[up], &sample[up - 1]))
        up++;
    while (down > 0 && qv_id_equal(&sample[down], &sample[down - 1]))
        down--;
    if (up == n && down == 0)
        return QV_ENOTFOUND;
    *out = down == 0 || (up < n && up - n / 2 < n / 2 - down) ? sample[up] : sample[down];
    return 0;
}

/* ---- when ---- */

static struct qv_range_policy with_defaults(const struct qv_range_policy *p)
{
    struct qv_range_policy out = *p;
    if (out.split_rows == 0)
        out.split_rows = SPLIT_ROWS;
    if (!(out.split_requests_per_s > 0))
        out.split_requests_per_s = SPLIT_REQUESTS;
    if (out.observations == 0)
        out.observations = OBSERVATIONS;
    if (out.split_rows_min == 0)
        out.split_rows_min = SPLIT_ROWS_MIN;
    return out;
}

enum qv_range_advice qv_range_watch_step(const struct qv_range_policy *policy,
                                         const struct qv_range_load *load,
                                         const struct qv_range_load *neighbour,
                                         struct qv_range_watch *watch)
{
    const struct qv_range_policy p = with_defaults(policy);
    const bool over = load->rows > p.split_rows || (load->requests_per_s > p.split_requests_per_s &&
                                                    load->rows >= p.split_rows_min);
    const bool under =
        neighbour != NULL && load->rows < p.split_rows && neighbour->rows < p.split_rows &&
        load->rows + neighbour->rows < p.split_rows / MERGE_PART &&
        load->requests_per_s + neighbour->requests_per_s < p.split_requests_per_s / MERGE_PART;
    watch->over = over ? watch->over + 1 : 0;
    watch->under = under ? watch->under + 1 : 0;
    if (watch->over < p.observations && watch->under / MERGE_PATIENCE < p.observations)
        return QV_RANGE_STAY;
    *watch = (struct qv_range_watch){0};
    return over ? QV_RANGE_SPLIT : QV_RANGE_MERGE;
}
