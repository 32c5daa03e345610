#include "core/key_set.h"

#include "base/mem.h"
#include "base/qv_assert.h"

static const struct qv_interval everything = {0, UINT64_MAX};
const struct qv_key_set qv_key_set_all = {.keys = {&everything, 1}};
const struct qv_key_set qv_key_set_none = {.keys = {NULL, 0}};

/* ---- ranges of ids ---- */

bool qv_id_range_holds(const struct qv_id_range *r, const struct qv_id *id)
{
    return (r->from.type == 0 || qv_id_compare(&r->from, id) <= 0) &&
           (r->to.type == 0 || qv_id_compare(id, &r->to) < 0);
}

/* Does a end at or before the place where b begins? */
static bool range_before(const struct qv_id_range *a, const struct qv_id_range *b)
{
    return a->to.type != 0 && b->from.type != 0 && qv_id_compare(&a->to, &b->from) <= 0;
}

static bool range_empty(const struct qv_id_range *r)
{
    return r->to.type != 0 && r->from.type != 0 && qv_id_compare(&r->from, &r->to) >= 0;
}

static bool range_within(const struct qv_id_range *a, const struct qv_id_range *b)
{
    bool from = b->from.type == 0 || (a->from.type != 0 && qv_id_compare(&b->from, &a->from) <= 0);
    bool to = b->to.type == 0 || (a->to.type != 0 && qv_id_compare(&a->to, &b->to) <= 0);
    return from && to;
}

static bool bound_equal(const struct qv_id *a, const struct qv_id *b)
{
    return a->type == b->type && (a->type == 0 || qv_id_equal(a, b));
}

/* ---- sets ---- */

bool qv_key_set_check(const struct qv_key_set *s, const char **reason)
{
    const char *why = NULL;
    if (!qv_cover_check(&s->keys, &why)) {
        if (reason != NULL)
            *reason = why;
        return false;
    }
    if (s->range_count > QV_KEY_SET_RANGES_MAX)
        why = "too many ranges of ids";
    else if (!s->some_ids && s->range_count > 0)
        why = "ranges of ids where every id is meant";
    for (uint32_t i = 0; i < s->range_count && why == NULL; i++) {
        const struct qv_id_range *r = &s->ranges[i];
        if (r->from.type > QV_ID_UUID || r->to.type > QV_ID_UUID)
            why = "a bound that is no id";
        else if (range_empty(r))
            why = "an empty range of ids";
        else if (i > 0 && !range_before(&s->ranges[i - 1], r))
            why = "ranges of ids overlap or are not in order";
    }
    if (reason != NULL)
        *reason = why;
    return why == NULL;
}

bool qv_key_set_is_all(const struct qv_key_set *s)
{
    return !s->some_ids && qv_cover_equal(&s->keys, &qv_cover_all);
}

bool qv_key_set_holds(const struct qv_key_set *s, const struct qv_id *id, uint64_t hash)
{
    if (!qv_cover_holds(&s->keys, hash))
        return false;
    if (!s->some_ids)
        return true;
    uint32_t low = 0;
    uint32_t high = s->range_count;
    while (low < high) { /* the first that ends behind it */
        uint32_t mid = low + (high - low) / 2;
        const struct qv_id *to = &s->ranges[mid].to;
        if (to->type != 0 && qv_id_compare(to, id) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low < s->range_count && qv_id_range_holds(&s->ranges[low], id);
}

bool qv_key_set_has(const struct qv_key_set *s, const struct qv_id *id)
{
    return qv_key_set_holds(s, id, qv_id_key_hash(id));
}

bool qv_key_set_equal(const struct qv_key_set *a, const struct qv_key_set *b)
{
    bool equal = qv_cover_equal(&a->keys, &b->keys) && a->some_ids == b->some_ids &&
                 a->range_count == b->range_count;
    for (uint32_t i = 0; i < a->range_count && equal; i++)
        equal = bound_equal(&a->ranges[i].from, &b->ranges[i].from) &&
                bound_equal(&a->ranges[i].to, &b->ranges[i].to);
    return equal;
}

static bool cover_within(const struct qv_cover *a, const struct qv_cover *b)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < a->count; i++) { /* an interval of a lies in one of b: none touch */
        while (at < b->count && b->list[at].last < a->list[i].last)
            at++;
        if (at == b->count || b->list[at].first > a->list[i].first)
            return false;
    }
    return true;
}

bool qv_key_set_within(const struct qv_key_set *a, const struct qv_key_set *b)
{
    if (a->keys.count == 0 || (a->some_ids && a->range_count == 0))
        return true;
    if (!cover_within(&a->keys, &b->keys))
        return false;
    if (!b->some_ids)
        return true;
    if (!a->some_ids)
        return false;
    uint32_t at = 0;
    for (uint32_t i = 0; i < a->range_count; i++) {
        while (at < b->range_count && !range_within(&a->ranges[i], &b->ranges[at]))
            at++;
        if (at == b->range_count)
            return false;
    }
    return true;
}

struct qv_key_set *qv_key_set_dup(const struct qv_key_set *s)
{
    const size_t covers = s->keys.count * sizeof(struct qv_interval);
    const size_t ranges = s->range_count * sizeof(struct qv_id_range);
    struct qv_key_set *copy = qv_mem_try_alloc(sizeof *copy + covers + ranges);
    if (copy == NULL)
        return NULL;
    struct qv_interval *list = (struct qv_interval *)(copy + 1);
    struct qv_id_range *ids = (struct qv_id_range *)(list + s->keys.count);
    *copy = *s;
    copy->keys.list = list;
    copy->ranges = ids;
    if (covers > 0)
        memcpy(list, s->keys.list, covers);
    if (ranges > 0)
        memcpy(ids, s->ranges, ranges);
    return copy;
}

/* ---- bytes ---- */

static void put_bound(struct qv_buf *b, const struct qv_id *id)
{
    uint8_t bytes[QV_ID_BYTES_MAX];
    if (id->type == 0)
        qv_buf_u8(b, 0);
    else
        qv_buf_append(b, bytes, qv_id_encode(id, bytes));
}

static void get_bound(struct qv_rd *r, struct qv_id *out)
{
    size_t used = 0;
    *out = (struct qv_id){0};
    if (qv_rd_left(r) > 0 && *r->p == 0) {
        (void)qv_rd_u8(r);
        return;
    }
    if (qv_id_decode(r->p, qv_rd_left(r), out, &used) != 0)
        r->failed = true;
    else
        (void)qv_rd_take(r, used);
}

void qv_key_set_encode(struct qv_buf *b, const struct qv_key_set *s)
{
    QV_ASSERT(qv_key_set_check(s, NULL));
    qv_buf_u32(b, s->keys.count);
    for (uint32_t i = 0; i < s->keys.count; i++) {
        qv_buf_u64(b, s->keys.list[i].first);
        qv_buf_u64(b, s->keys.list[i].last);
    }
    qv_buf_u8(b, s->some_ids);
    qv_buf_u32(b, s->range_count);
    for (uint32_t i = 0; i < s->range_count; i++) {
        put_bound(b, &s->ranges[i].from);
        put_bound(b, &s->ranges[i].to);
    }
}

static int bad(struct qv_errmsg *msg, const char *why)
{
    return qv_fail(msg, QV_ECORRUPT, "a set of keys: %s", why);
}

int qv_key_set_decode(struct qv_rd *r, struct qv_arena *arena, struct qv_key_set *out,
                      struct qv_errmsg *msg)
{
    const char *why = NULL;
    *out = qv_key_set_none;
    uint32_t n = qv_rd_u32(r);
    if (r->failed || n > qv_rd_left(r) / 16)
        return bad(msg, "cut short");
    struct qv_interval *list = QV_ARENA_ARRAY(arena, struct qv_interval, n);
    if (list == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        list[i] = (struct qv_interval){.first = qv_rd_u64(r), .last = qv_rd_u64(r)};
    uint8_t some = qv_rd_u8(r);
    uint32_t ranges = qv_rd_u32(r);
    if (r->failed || some > 1 || ranges > qv_rd_left(r) / 2)
        return bad(msg, "cut short");
    struct qv_id_range *ids = QV_ARENA_ARRAY(arena, struct qv_id_range, ranges);
    if (ids == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < ranges && !r->failed; i++) {
        get_bound(r, &ids[i].from);
        get_bound(r, &ids[i].to);
    }
    if (r->failed)
        return bad(msg, "cut short");
    *out = (struct qv_key_set){
        .keys = {list, n}, .some_ids = some != 0, .range_count = ranges, .ranges = ids};
    return qv_key_set_check(out, &why) ? 0 : bad(msg, why);
}
