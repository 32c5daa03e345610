/* What moves between two placements: their divisions of the keys are swept together, and what
 * changes its shard is collected by (from, to). */
#include "cluster/placement_private.h"

#include "base/qv_assert.h"

#include <math.h>
#include <stdlib.h>

/* ---- hash kinds ---- */

struct piece {
    uint32_t from, to;
    struct qv_interval keys;
};

static int compare_pieces(const void *a, const void *b)
{
    const struct piece *x = a;
    const struct piece *y = b;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    if (x->to != y->to)
        return x->to < y->to ? -1 : 1;
    return x->keys.first < y->keys.first ? -1 : x->keys.first > y->keys.first;
}

static uint32_t cut_pieces(const struct qv_placement *a, const struct qv_placement *b,
                           struct piece *out)
{
    const struct qv_segments *x = &a->segments;
    const struct qv_segments *y = &b->segments;
    uint32_t n = 0;
    uint32_t i = 0;
    uint32_t j = 0;
    uint64_t first = 0;
    for (;;) {
        const uint64_t last = x->lasts[i] < y->lasts[j] ? x->lasts[i] : y->lasts[j];
        const uint32_t from = a->spec.shards[x->owners[i]];
        const uint32_t to = b->spec.shards[y->owners[j]];
        if (from != to)
            out[n++] = (struct piece){from, to, {first, last}};
        if (last == UINT64_MAX)
            return n;
        first = last + 1;
        i += x->lasts[i] == last;
        j += y->lasts[j] == last;
    }
}

/* Pieces of one pair become one move. */
static uint32_t collect(const struct piece *pieces, uint32_t n, struct qv_interval *keys,
                        struct qv_placement_move *moves)
{
    uint32_t count = 0;
    uint32_t used = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct piece *p = &pieces[i];
        const bool opens = i == 0 || pieces[i - 1].from != p->from || pieces[i - 1].to != p->to;
        if (opens)
            moves[count++] =
                (struct qv_placement_move){.from = p->from, .to = p->to, .keys.list = keys + used};
        struct qv_cover *cover = &moves[count - 1].keys;
        /* at a border one of the two placements changes its shard: no two of a pair touch */
        QV_ASSERT(opens || keys[used - 1].last + 1 < p->keys.first);
        keys[used++] = p->keys;
        cover->count++;
    }
    return count;
}

static double share_of(const struct piece *pieces, uint32_t n)
{
    uint64_t keys = 0; /* all of them is 0 again */
    for (uint32_t i = 0; i < n; i++)
        keys += pieces[i].keys.last - pieces[i].keys.first + 1;
    if (n == 0)
        return 0;
    return keys == 0 ? 1 : (double)keys * 0x1p-64;
}

static int hash_moves(struct qv_arena *arena, const struct qv_placement *a,
                      const struct qv_placement *b, struct qv_placement_moves *out)
{
    const size_t most = (size_t)a->segments.count + b->segments.count;
    struct piece *pieces = QV_ARENA_ARRAY(arena, struct piece, most);
    if (pieces == NULL)
        return QV_ENOMEM;
    const uint32_t n = cut_pieces(a, b, pieces);
    qsort(pieces, n, sizeof *pieces, compare_pieces);
    uint32_t pairs = 0;
    for (uint32_t i = 0; i < n; i++)
        pairs += i == 0 || pieces[i - 1].from != pieces[i].from || pieces[i - 1].to != pieces[i].to;
    struct qv_interval *keys = QV_ARENA_ARRAY(arena, struct qv_interval, n);
    struct qv_placement_move *moves = QV_ARENA_ARRAY(arena, struct qv_placement_move, pairs);
    if (keys == NULL || moves == NULL)
        return QV_ENOMEM;
    out->share = share_of(pieces, n);
    out->count = collect(pieces, n, keys, moves);
    out->list = moves;
    QV_ASSERT(out->count == pairs);
    return 0;
}

/* ---- ranges ---- */

static int compare_moves(const void *a, const void *b)
{
    const struct qv_placement_move *x = a;
    const struct qv_placement_move *y = b;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    if (x->to != y->to)
        return x->to < y->to ? -1 : 1;
    return qv_id_range_compare_from(&x->ids.from, &y->ids.from);
}

static int range_moves(struct qv_arena *arena, const struct qv_placement_spec *a,
                       const struct qv_placement_spec *b, struct qv_placement_moves *out)
{
    struct qv_placement_move *list =
        QV_ARENA_ARRAY(arena, struct qv_placement_move, (size_t)a->range_count + b->range_count);
    struct qv_id first = {0};
    uint32_t n = 0;
    uint32_t i = 0;
    uint32_t j = 0;
    if (list == NULL)
        return QV_ENOMEM;
    while (i < a->range_count && j < b->range_count) {
        const struct qv_placement_range *x = &a->ranges[i];
        const struct qv_placement_range *y = &b->ranges[j];
        const int order = qv_id_range_compare_to(&x->ids.to, &y->ids.to);
        const struct qv_id end = order <= 0 ? x->ids.to : y->ids.to;
        struct qv_placement_move *before = n > 0 ? &list[n - 1] : NULL;
        if (before != NULL && before->from == x->shard && before->to == y->shard &&
            before->ids.to.type != 0 && qv_id_equal(&before->ids.to, &first))
            before->ids.to = end;
        else if (x->shard != y->shard)
            list[n++] = (struct qv_placement_move){x->shard, y->shard, {first, end}, qv_cover_all};
        first = end;
        i += order <= 0;
        j += order >= 0;
    }
    qsort(list, n, sizeof *list, compare_moves);
    out->list = list;
    out->count = n;
    return 0;
}

/* ---- between the two ---- */

/* Each range has keys of every hash shard. */
static int mixed_moves(struct qv_arena *arena, const struct qv_placement *by_hash,
                       const struct qv_placement *by_range, bool to_ranges,
                       struct qv_placement_moves *out)
{
    const uint32_t shards = by_hash->spec.shard_count;
    const uint32_t ranges = by_range->spec.range_count;
    struct qv_placement_move *list =
        QV_ARENA_ARRAY(arena, struct qv_placement_move, (size_t)shards * ranges);
    uint32_t n = 0;
    if (list == NULL)
        return QV_ENOMEM;
    for (uint32_t r = 0; r < ranges; r++)
        for (uint32_t s = 0; s < shards; s++) {
            const struct qv_placement_range *range = &by_range->spec.ranges[r];
            const uint32_t shard = by_hash->spec.shards[s];
            if (shard == range->shard || by_hash->keys[s].count == 0)
                continue;
            list[n++] = (struct qv_placement_move){.from = to_ranges ? shard : range->shard,
                                                   .to = to_ranges ? range->shard : shard,
                                                   .ids = range->ids,
                                                   .keys = by_hash->keys[s]};
        }
    qsort(list, n, sizeof *list, compare_moves);
    out->list = list;
    out->count = n;
    return 0;
}

int qv_placement_moves(struct qv_arena *arena, const struct qv_placement *before,
                       const struct qv_placement *after, struct qv_placement_moves *out)
{
    const bool a = qv_placement_has_segments(before);
    const bool b = qv_placement_has_segments(after);
    *out = (struct qv_placement_moves){.share = NAN};
    if (a && b)
        return hash_moves(arena, before, after, out);
    if (!a && !b)
        return range_moves(arena, &before->spec, &after->spec, out);
    return a ? mixed_moves(arena, before, after, true, out)
             : mixed_moves(arena, after, before, false, out);
}

struct qv_key_set qv_placement_move_set(const struct qv_placement_move *move)
{
    struct qv_key_set set = {.keys = move->keys};
    if (move->ids.from.type != 0 || move->ids.to.type != 0) {
        set.some_ids = true;
        set.range_count = 1;
        set.ranges = &move->ids;
    }
    return set;
}
