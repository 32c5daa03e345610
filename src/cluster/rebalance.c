#include "cluster/rebalance.h"

#include <string.h>

/* Where a slot will be when what is under way is done. */
static uint64_t goes_to(const struct qv_slot_place *p)
{
    return p->next != 0 ? p->next : p->holder;
}

static bool may_hold(const struct qv_member *m)
{
    return m->role != QV_ROLE_PROXY && m->state == QV_MEMBER_ACTIVE;
}

struct walk {
    const struct qv_topology *t;
    uint32_t collection, shard, slot;
};

/* The next slot of the tree, in its order; NULL at the end. */
static const struct qv_slot_place *walk_next(struct walk *w, const struct qv_collection **c,
                                             const struct qv_shard_place **s)
{
    while (w->collection < w->t->count) {
        *c = w->t->collections[w->collection];
        if (w->shard == (*c)->shard_count) {
            w->collection++;
            w->shard = 0;
            continue;
        }
        *s = &(*c)->shards[w->shard];
        if (w->slot == (*s)->slot_count) {
            w->shard++;
            w->slot = 0;
            continue;
        }
        return &(*s)->slots[w->slot++];
    }
    return NULL;
}

uint32_t qv_rebalance_load(const struct qv_topology *t, uint64_t id)
{
    struct walk w = {.t = t};
    const struct qv_collection *c;
    const struct qv_shard_place *s;
    const struct qv_slot_place *p;
    uint32_t n = 0;
    while ((p = walk_next(&w, &c, &s)) != NULL)
        n += goes_to(p) == id;
    return n;
}

static bool holds(const struct qv_shard_place *s, uint64_t id)
{
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (s->slots[i].holder == id || s->slots[i].next == id)
            return true;
    }
    return false;
}

/* The least loaded that has no copy of the shard; 0: there is none. */
static uint64_t target_for(const struct qv_topology *t, const struct qv_shard_place *s)
{
    uint64_t best = 0;
    uint32_t least = 0;
    for (uint32_t i = 0; i < t->member_count; i++) {
        if (!may_hold(&t->members[i]) || holds(s, t->members[i].id))
            continue;
        uint32_t load = qv_rebalance_load(t, t->members[i].id);
        if (best == 0 || load < least) {
            best = t->members[i].id;
            least = load;
        }
    }
    return best;
}

static uint32_t moving(const struct qv_topology *t)
{
    struct walk w = {.t = t};
    const struct qv_collection *c;
    const struct qv_shard_place *s;
    const struct qv_slot_place *p;
    uint32_t n = 0;
    while ((p = walk_next(&w, &c, &s)) != NULL)
        n += p->step != QV_STEP_NONE;
    return n;
}

static void set_move(struct qv_rebalance_move *out, const struct qv_collection *c,
                     const struct qv_shard_place *s, const struct qv_slot_place *p, uint64_t to)
{
    memcpy(out->uuid, c->uuid, sizeof out->uuid);
    out->shard = s->number;
    out->slot = (uint32_t)(p - s->slots);
    out->from = p->holder;
    out->to = to;
}

static bool drain_next(const struct qv_topology *t, struct qv_rebalance_move *out)
{
    struct walk w = {.t = t};
    const struct qv_collection *c;
    const struct qv_shard_place *s;
    const struct qv_slot_place *p;
    while ((p = walk_next(&w, &c, &s)) != NULL) {
        const struct qv_member *m = qv_topology_member(t, p->holder);
        if (p->step != QV_STEP_NONE || m == NULL || m->state != QV_MEMBER_DRAINING)
            continue;
        uint64_t to = target_for(t, s);
        if (to != 0) {
            set_move(out, c, s, p, to);
            return true;
        }
    }
    return false;
}

/* How many slots of a collection a node has or is getting. */
static uint32_t share_of(const struct qv_collection *c, uint64_t id)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->shard_count; i++) {
        for (uint32_t k = 0; k < c->shards[i].slot_count; k++)
            n += goes_to(&c->shards[i].slots[k]) == id;
    }
    return n;
}

static bool balance_next(const struct qv_topology *t, struct qv_rebalance_move *out)
{
    uint64_t most = 0;
    uint64_t least = 0;
    uint32_t high = 0;
    uint32_t low = UINT32_MAX;
    for (uint32_t i = 0; i < t->member_count; i++) {
        if (!may_hold(&t->members[i]))
            continue;
        uint32_t load = qv_rebalance_load(t, t->members[i].id);
        if (most == 0 || load > high) {
            most = t->members[i].id;
            high = load;
        }
        if (least == 0 || load < low) {
            least = t->members[i].id;
            low = load;
        }
    }
    if (most == least || high < low + 2)
        return false;
    struct walk w = {.t = t};
    const struct qv_collection *c;
    const struct qv_shard_place *s;
    const struct qv_slot_place *p;
    uint32_t best = 0;
    while ((p = walk_next(&w, &c, &s)) != NULL) {
        if (p->step != QV_STEP_NONE || p->holder != most || holds(s, least))
            continue;
        uint32_t more = share_of(c, most) + QV_SHARDS_MAX * QV_SHARD_SLOTS_MAX - share_of(c, least);
        if (best == 0 || more > best) {
            set_move(out, c, s, p, least);
            best = more;
        }
    }
    return best != 0;
}

bool qv_rebalance_next(const struct qv_topology *t, bool balance, struct qv_rebalance_move *out)
{
    if (moving(t) >= QV_MOVES_AT_ONCE)
        return false;
    return drain_next(t, out) || (balance && balance_next(t, out));
}
