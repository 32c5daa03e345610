/* How a packed graph numbers its nodes: the entry point first, then by level, high ones first, and
 * on a level in the order of a breadth-first walk over level 0, so that who is near in the graph is
 * near in memory. */
#include "index/pack_graph.h"

#include "base/mem.h"

struct order {
    const struct qv_hnsw *h;
    uint32_t *queue; /* slots as the walk meets them */
    uint32_t n, cap;
    uint64_t *met; /* a bit a slot */
};

static bool is_live(const struct qv_hnsw *h, qv_slot slot)
{
    return qv_hnsw_slot_state(h, slot, NULL) == QV_HNSW_LIVE;
}

static void meet(struct order *o, qv_slot slot)
{
    const uint64_t bit = UINT64_C(1) << (slot & 63);
    if (o->n == o->cap || (o->met[slot >> 6] & bit) != 0 || !is_live(o->h, slot))
        return;
    o->met[slot >> 6] |= bit;
    o->queue[o->n++] = slot;
}

static void walk_breadth(struct order *o, uint32_t bound)
{
    qv_slot list[QV_HNSW_M0_MAX];
    uint32_t at = 0;
    uint64_t entry = atomic_load_explicit(&o->h->entry, memory_order_acquire);
    if (entry != QV_HNSW_ENTRY_NONE)
        meet(o, qv_hnsw_entry_slot(entry));
    for (qv_slot next = 0; next < bound; next++) { /* from each that no earlier walk met */
        for (; at < o->n; at++) {
            const uint32_t count = qv_hnsw_list_copy(o->h, o->queue[at], 0, list);
            for (uint32_t i = 0; i < count; i++)
                meet(o, list[i]);
        }
        meet(o, next);
    }
}

/* Stable, by level, high ones first. */
static void sort_by_level(const struct qv_hnsw *h, struct qv_pack *p, const uint32_t *queue,
                          uint32_t *slots)
{
    uint32_t at = 0;
    p->level_max = 0;
    for (uint32_t level = QV_HNSW_LEVEL_MAX + 1; level-- > 0;) {
        for (uint32_t i = 0; i < p->n; i++)
            if (qv_hnsw_node_level(h, queue[i]) == level)
                slots[at++] = queue[i];
        p->levels[level].n = at;
        if (at > 0 && p->level_max == 0)
            p->level_max = level;
    }
}

int qv_pack_order_find(const struct qv_hnsw *h, struct qv_pack *p, uint32_t *slots)
{
    const uint32_t bound = qv_hnsw_stats(h).slot_bound;
    struct order o = {.h = h, .cap = p->n};
    o.queue = qv_mem_try_alloc(((size_t)p->n + 1) * sizeof *o.queue);
    o.met = qv_mem_try_calloc((size_t)bound / 64 + 1, sizeof *o.met);
    int err = o.queue == NULL || o.met == NULL ? QV_ENOMEM : 0;
    if (err == 0) {
        walk_breadth(&o, bound);
        p->n = o.n;
        sort_by_level(h, p, o.queue, slots);
    }
    qv_mem_free(o.queue);
    qv_mem_free(o.met);
    return err;
}
