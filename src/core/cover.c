/* The three set operations are one sweep over the borders of both covers. */
#include "core/cover.h"

#include "base/qv_assert.h"

static const struct qv_interval everything = {0, UINT64_MAX};
const struct qv_cover qv_cover_all = {&everything, 1};
const struct qv_cover qv_cover_none = {NULL, 0};

bool qv_cover_check(const struct qv_cover *c, const char **reason)
{
    const char *why = c->count > QV_COVER_INTERVALS_MAX ? "too many intervals" : NULL;
    for (uint32_t i = 0; i < c->count && why == NULL; i++) {
        if (c->list[i].first > c->list[i].last)
            why = "an interval ends before it begins";
        else if (i > 0 &&
                 (c->list[i - 1].last == UINT64_MAX || c->list[i - 1].last + 1 >= c->list[i].first))
            why = "intervals touch, overlap or are not in order";
    }
    if (reason != NULL)
        *reason = why;
    return why == NULL;
}

bool qv_cover_holds(const struct qv_cover *c, uint64_t hash)
{
    uint32_t low = 0;
    uint32_t high = c->count;
    while (low < high) { /* the first that ends at or behind it */
        const uint32_t mid = low + (high - low) / 2;
        if (c->list[mid].last < hash)
            low = mid + 1;
        else
            high = mid;
    }
    return low < c->count && c->list[low].first <= hash;
}

bool qv_cover_equal(const struct qv_cover *a, const struct qv_cover *b)
{
    bool equal = a->count == b->count;
    for (uint32_t i = 0; i < a->count && equal; i++)
        equal = a->list[i].first == b->list[i].first && a->list[i].last == b->list[i].last;
    return equal;
}

double qv_cover_share(const struct qv_cover *c)
{
    uint64_t keys = 0; /* all of them is 0 again, but that is one interval */
    for (uint32_t i = 0; i < c->count; i++)
        keys += c->list[i].last - c->list[i].first + 1;
    if (c->count == 0)
        return 0.0;
    if (keys == 0)
        return 1.0;
    const double share = (double)keys / 18446744073709551616.0;
    return share < 1.0 ? share : 1.0 - 0x1p-53;
}

/* ---- set operations ---- */

/* Walks a cover's keys from 0 up: is `at` inside, and where does that next change. */
struct side {
    const struct qv_cover *cover;
    uint32_t next; /* the first interval that ends at or behind the present key */
};

/* *until: the last key for which the answer stays. */
static bool inside(struct side *s, uint64_t at, uint64_t *until)
{
    const struct qv_cover *c = s->cover;
    while (s->next < c->count && c->list[s->next].last < at)
        s->next++;
    *until = UINT64_MAX;
    if (s->next == c->count)
        return false;
    const struct qv_interval *i = &c->list[s->next];
    *until = at >= i->first ? i->last : i->first - 1;
    return at >= i->first;
}

enum operation { UNION, INTERSECT, SUBTRACT };

static bool keep(enum operation op, bool a, bool b)
{
    return op == UNION ? a || b : op == INTERSECT ? a && b : a && !b;
}

static int sweep(struct qv_arena *arena, enum operation op, const struct qv_cover *a,
                 const struct qv_cover *b, struct qv_cover *out)
{
    const uint64_t most = (uint64_t)a->count + b->count + 1;
    struct side left = {a, 0};
    struct side right = {b, 0};
    uint64_t at = 0;
    uint32_t n = 0;
    if (most > (uint64_t)2 * QV_COVER_INTERVALS_MAX + 1)
        return QV_ELIMIT;
    struct qv_interval *list = QV_ARENA_ARRAY(arena, struct qv_interval, most);
    if (list == NULL)
        return QV_ENOMEM;
    for (;;) {
        uint64_t end_a;
        uint64_t end_b;
        const bool in_a = inside(&left, at, &end_a);
        const bool in_b = inside(&right, at, &end_b);
        const uint64_t end = end_a < end_b ? end_a : end_b;
        if (keep(op, in_a, in_b)) {
            if (n > 0 && list[n - 1].last + 1 == at)
                list[n - 1].last = end;
            else
                list[n++] = (struct qv_interval){at, end};
            QV_ASSERT(n <= most);
        }
        if (end == UINT64_MAX)
            break;
        at = end + 1;
    }
    if (n > QV_COVER_INTERVALS_MAX)
        return QV_ELIMIT;
    *out = (struct qv_cover){list, n};
    return 0;
}

int qv_cover_union(struct qv_arena *arena, const struct qv_cover *a, const struct qv_cover *b,
                   struct qv_cover *out)
{
    return sweep(arena, UNION, a, b, out);
}

int qv_cover_intersect(struct qv_arena *arena, const struct qv_cover *a, const struct qv_cover *b,
                       struct qv_cover *out)
{
    return sweep(arena, INTERSECT, a, b, out);
}

int qv_cover_subtract(struct qv_arena *arena, const struct qv_cover *a, const struct qv_cover *b,
                      struct qv_cover *out)
{
    return sweep(arena, SUBTRACT, a, b, out);
}
