#include "query/read_plan.h"

#include "base/qv_assert.h"

#include <math.h>
#include <string.h>

#define FACET_MIN 100u /* values asked of a shard, whatever the limit: counts differ by shard */
#define EXACT_K 1000u  /* up to here the tail is summed up, above it is bounded */

/* ---- how much ---- */

/* P(Binomial(k, p) <= x) for growing x, until it is enough. */
static uint32_t by_sum(uint32_t k, double p, double miss)
{
    const double odds = log(p) - log1p(-p);
    double log_term = k * log1p(-p);
    double sum = exp(log_term);
    uint32_t x = 0;
    while (x < k && 1.0 - sum > miss) {
        log_term += log((double)(k - x) / (x + 1)) + odds;
        sum += exp(log_term);
        x++;
    }
    return x;
}

uint32_t qv_read_plan_share_k(uint32_t k, double share, double miss)
{
    QV_ASSERT(miss > 0.0 && miss < 1.0);
    if (k == 0 || share <= 0.0)
        return k == 0 ? 0 : 1;
    if (share >= 1.0)
        return k;
    uint32_t found;
    if (k <= EXACT_K) {
        found = by_sum(k, share, miss);
    } else {
        const double mean = k * share;
        const double a = -log(miss);
        const double over = a / 3 + sqrt(a * a / 9 + 2 * a * mean * (1 - share));
        found = mean + over < k ? (uint32_t)ceil(mean + over) : k;
    }
    return found == 0 ? 1 : found;
}

uint32_t qv_read_plan_wanted(const struct qv_query *q)
{
    QV_ASSERT(q->limit <= QV_LIMIT_MAX && q->offset <= QV_LIMIT_MAX);
    return (uint32_t)(q->limit + q->offset) + (q->kind == QV_QUERY_ID);
}

static uint32_t clamp_k(uint64_t k)
{
    return k == 0 ? 1 : k > QV_LIMIT_MAX ? QV_LIMIT_MAX : (uint32_t)k;
}

/* What a shard is asked for that k may lie in. */
static uint32_t leg_k(const struct qv_view *view, const struct qv_cover *cover, uint32_t k)
{
    const double enough = view->enough > 0.0 ? view->enough : QV_READ_PLAN_ENOUGH;
    const double miss = (1.0 - enough) / view->shard_count;
    if (!view->by_hash)
        return clamp_k(k + (uint64_t)ceil(k * view->twice));
    return clamp_k(qv_read_plan_share_k(k, qv_cover_share(cover), miss));
}

/* ---- legs ---- */

struct qv_leg qv_read_plan_leg(const struct qv_view *view, uint32_t shard)
{
    const struct qv_view_shard *s = &view->shards[shard];
    struct qv_leg leg = {
        .shard = s->number, .incarnation = s->incarnation, .epoch = s->epoch, .cover = s->cover};
    QV_ASSERT(shard < view->shard_count);
    memcpy(leg.collection, view->collection, sizeof leg.collection);
    return leg;
}

static int plan_init(struct qv_read_plan *p, enum qv_ask_kind kind, const struct qv_view *view,
                     struct qv_arena *arena)
{
    *p = (struct qv_read_plan){.kind = kind};
    p->legs = QV_ARENA_ARRAY(arena, struct qv_leg, view->shard_count);
    p->shards = QV_ARENA_ARRAY(arena, uint32_t, view->shard_count);
    return p->legs != NULL && p->shards != NULL ? 0 : QV_ENOMEM;
}

static struct qv_leg *add_leg(struct qv_read_plan *p, const struct qv_view *view, uint32_t shard)
{
    p->shards[p->leg_count] = shard;
    p->legs[p->leg_count] = qv_read_plan_leg(view, shard);
    return &p->legs[p->leg_count++];
}

/* Is no id from `first` on in any of the shard's ranges? */
static bool ends_before(const struct qv_view_shard *s, const struct qv_id *first)
{
    if (first == NULL || s->keys == NULL || !s->keys->some_ids || s->keys->range_count == 0)
        return false;
    const struct qv_id *to = &s->keys->ranges[s->keys->range_count - 1].to;
    return to->type != 0 && qv_id_compare(to, first) <= 0;
}

/* Every shard, asked for one list of k; in a scroll from `first` on by id, those that have such. */
static int plan_list(const struct qv_view *view, uint64_t k, const struct qv_id *first,
                     struct qv_arena *arena, struct qv_read_plan *p)
{
    uint32_t *limits = QV_ARENA_ARRAY(arena, uint32_t, view->shard_count);
    if (limits == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < view->shard_count; i++) {
        if (ends_before(&view->shards[i], first))
            continue;
        struct qv_leg *leg = add_leg(p, view, i);
        limits[i] = p->kind == QV_ASK_FACET ? clamp_k(k < FACET_MIN / 4 ? FACET_MIN : 4 * k)
                                            : leg_k(view, &leg->cover, clamp_k(k + 1));
        leg->limits = &limits[i];
        leg->limit_count = 1;
    }
    return 0;
}

/* ---- queries ---- */

/* Sets of each shard what the query wants of it: limits[shard * stride]. */
static int query_limits(const struct qv_view *view, const struct qv_query *q,
                        struct qv_arena *arena, uint32_t *limits, uint32_t stride)
{
    const uint32_t k = qv_read_plan_wanted(q);
    const bool nearest = q->kind == QV_QUERY_VECTOR || q->kind == QV_QUERY_ID;
    uint32_t last_k = 0;
    double last_share = -1.0;
    if (nearest && q->n_probe.has && view->nearest != NULL && q->n_probe.v < view->shard_count) {
        uint32_t *chosen = QV_ARENA_ARRAY(arena, uint32_t, view->shard_count);
        if (chosen == NULL)
            return QV_ENOMEM;
        const uint32_t want = q->n_probe.v == 0 ? 1 : (uint32_t)q->n_probe.v;
        const uint32_t n = view->nearest(view->placement, q, want, chosen);
        for (uint32_t i = 0; i < n; i++) {
            QV_ASSERT(chosen[i] < view->shard_count);
            limits[chosen[i] * stride] = leg_k(view, &view->shards[chosen[i]].cover, k);
        }
        return 0;
    }
    for (uint32_t i = 0; i < view->shard_count; i++) {
        const double share = qv_cover_share(&view->shards[i].cover);
        if (share != last_share) /* most often all alike */
            last_k = leg_k(view, &view->shards[i].cover, k);
        last_share = share;
        limits[i * stride] = last_k;
    }
    return 0;
}

static int plan_queries(const struct qv_view *view, const struct qv_query_req *req,
                        struct qv_arena *arena, struct qv_read_plan *p)
{
    const uint32_t n = req->query_count;
    uint32_t *limits = qv_arena_calloc(arena, (size_t)view->shard_count * n, sizeof *limits);
    if (limits == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < n; i++) {
        int err = query_limits(view, &req->queries[i], arena, &limits[i], n);
        if (err != 0)
            return err;
    }
    for (uint32_t s = 0; s < view->shard_count; s++) {
        bool any = false;
        for (uint32_t i = 0; i < n && !any; i++)
            any = limits[(size_t)s * n + i] != 0;
        if (!any)
            continue;
        struct qv_leg *leg = add_leg(p, view, s);
        leg->limits = &limits[(size_t)s * n];
        leg->limit_count = n;
    }
    return 0;
}

/* ---- ids ---- */

static bool may_hold(const struct qv_view_shard *s, const struct qv_id *id, uint64_t hash)
{
    return s->keys != NULL ? qv_key_set_holds(s->keys, id, hash) : qv_cover_holds(&s->cover, hash);
}

bool qv_read_plan_may_hold(const struct qv_view *view, uint32_t shard, const struct qv_id *id)
{
    return may_hold(&view->shards[shard], id, qv_id_key_hash(id));
}

int qv_read_plan_fetch(const struct qv_view *view, const struct qv_id *ids, uint32_t count,
                       struct qv_arena *arena, struct qv_read_plan *out)
{
    int err = plan_init(out, QV_ASK_FETCH, view, arena);
    uint64_t *hashes = QV_ARENA_ARRAY(arena, uint64_t, count);
    if (err != 0 || hashes == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        hashes[i] = qv_id_key_hash(&ids[i]);
    for (uint32_t s = 0; s < view->shard_count; s++) {
        const struct qv_view_shard *shard = &view->shards[s];
        uint32_t n = 0;
        for (uint32_t i = 0; i < count; i++)
            n += may_hold(shard, &ids[i], hashes[i]);
        if (n == 0)
            continue;
        struct qv_id *own = QV_ARENA_ARRAY(arena, struct qv_id, n);
        if (own == NULL)
            return QV_ENOMEM;
        struct qv_leg *leg = add_leg(out, view, s);
        leg->ids = own;
        for (uint32_t i = 0; i < count; i++) {
            if (may_hold(shard, &ids[i], hashes[i]))
                own[leg->id_count++] = ids[i];
        }
    }
    return 0;
}

/* ---- a read ---- */

int qv_read_plan_make(const struct qv_view *view, const struct qv_read_what *what,
                      struct qv_arena *arena, struct qv_read_plan *out)
{
    static const enum qv_ask_kind kinds[] = {[QV_READ_QUERY] = QV_ASK_SEARCH,
                                             [QV_READ_GET] = QV_ASK_FETCH,
                                             [QV_READ_SCROLL] = QV_ASK_SCROLL,
                                             [QV_READ_COUNT] = QV_ASK_COUNT,
                                             [QV_READ_FACET] = QV_ASK_FACET};
    QV_ASSERT(view->shard_count >= 1 && view->shard_count <= QV_SHARDS_MAX);
    if (what->kind == QV_READ_GET)
        return qv_read_plan_fetch(view, what->req.get->ids, what->req.get->id_count, arena, out);
    int err = plan_init(out, kinds[what->kind], view, arena);
    if (err != 0)
        return err;
    switch (what->kind) {
    case QV_READ_QUERY:
        return plan_queries(view, what->req.query, arena, out);
    case QV_READ_SCROLL:
        return plan_list(view, what->req.scroll->limit,
                         what->req.scroll->order_by == NULL && what->req.scroll->has_offset
                             ? &what->req.scroll->offset
                             : NULL,
                         arena, out);
    case QV_READ_FACET:
        return plan_list(view, what->req.facet->limit, NULL, arena, out);
    default:
        for (uint32_t s = 0; s < view->shard_count; s++)
            (void)add_leg(out, view, s);
        return 0;
    }
}
