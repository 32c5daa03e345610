/* Insertion: find neighbours on every level, write the node's own lists, then let others link to
 * it.
 *
 * Nothing is locked while neighbours are sought. The node becomes reachable by its first back link,
 * and by then its lists are complete on every level: a search that comes by it on a high level
 * never falls into an empty one below (the paper links level by level from the top).
 *
 * Who raises the entry's level, and who finds the graph empty, holds top_lock to its end, so that
 * no two build tops that don't know each other. */
#include "index/hnsw_link.h"

#include "base/qv_assert.h"

#include <string.h>

#define EQUALS_ASKED 8u

struct insertion {
    qv_slot slot;
    uint32_t level;
    uint32_t counts[QV_HNSW_LEVEL_MAX + 1]; /* picks on each level: ctx->picks.at[level * m ...] */
};

/* Where more rows equal to the node's own lie about than the walk looks at, all it found are such
 * rows and links among them lead nowhere else. Their elders' links do: those become candidates too.
 */
static void look_beyond_equals(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot,
                               uint32_t level)
{
    struct qv_hnsw_cands *pool = &ctx->pool;
    const qv_hnsw_cand last = pool->at[pool->n - 1];
    if (pool->n < h->params.ef_construct ||
        memcmp(qv_hnsw_code_row(h, slot), qv_hnsw_code_row(h, qv_hnsw_cand_slot(last)),
               h->codes.row_bytes) != 0)
        return;
    const uint32_t equals = pool->n < EQUALS_ASKED ? pool->n : EQUALS_ASKED;
    for (uint32_t i = 0; i < equals; i++) {
        uint32_t n = qv_hnsw_list_copy(h, qv_hnsw_cand_slot(pool->at[i]), level, ctx->list);
        qv_hnsw_link_rank(h, ctx, slot, ctx->list, n, ctx->near);
        uint32_t first = 0; /* that is farther than the equals */
        while (first < n && ctx->near[first] >> 32 <= last >> 32)
            first++;
        if (first == n)
            continue;
        for (pool->n = equals; first < n && pool->n < pool->cap; first++)
            pool->at[pool->n++] = ctx->near[first];
        return;
    }
}

/* ctx->picks: the links the node shall have on levels top .. 0. */
static int find_neighbours(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, struct insertion *ins,
                           uint64_t entry)
{
    const uint8_t *row = qv_hnsw_code_row(h, ins->slot);
    const uint32_t m = h->params.m;
    int err = qv_hnsw_cands_reserve(&ctx->picks, (ins->level + 1) * m);
    if (err != 0)
        return err;
    uint32_t top =
        qv_hnsw_entry_level(entry) < ins->level ? qv_hnsw_entry_level(entry) : ins->level;
    err = qv_hnsw_walk_begin(h, ctx);
    if (err != 0)
        return err;
    qv_hnsw_cand start = top == 0
                             ? qv_hnsw_walk_approach(h, ctx, row, entry, h->params.ef_construct)
                             : qv_hnsw_walk_descend(h, ctx, row, entry, top);
    for (uint32_t l = top + 1; l-- > 0;) {
        err = qv_hnsw_walk_begin(h, ctx);
        if (err != 0)
            return err;
        const struct qv_hnsw_walk walk = {.row = row, .level = l, .ef = h->params.ef_construct};
        err = qv_hnsw_walk_level(h, ctx, &walk, start);
        if (err != 0)
            return err;
        QV_ASSERT(ctx->pool.n > 0);
        for (uint32_t i = 0; i < ctx->pool.n; i++)
            ctx->pool.at[i] &= ~QV_HNSW_CAND_EXPANDED;
        start = ctx->pool.at[0];
        look_beyond_equals(h, ctx, ins->slot, l);
        ins->counts[l] = qv_hnsw_link_select(h, ctx, &ctx->pool, m, &ctx->picks.at[(size_t)l * m]);
    }
    return 0;
}

/* The node's own lists, of neighbours that still may be linked to. Nobody reads them yet. */
static void write_own_lists(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, struct insertion *ins)
{
    for (uint32_t l = 0; l <= ins->level; l++) {
        qv_hnsw_cand *picks = &ctx->picks.at[(size_t)l * h->params.m];
        _Atomic uint32_t *list = qv_hnsw_list(h, ins->slot, l);
        uint32_t n = 0;
        for (uint32_t i = 0; i < ins->counts[l]; i++) {
            if (!qv_hnsw_in_claim(h, qv_hnsw_cand_slot(picks[i]), l))
                continue;
            qv_hnsw_list_put(list, n, qv_hnsw_cand_slot(picks[i]));
            picks[n++] = picks[i];
        }
        ins->counts[l] = n;
    }
}

static int link_in(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, struct insertion *ins,
                   uint64_t entry)
{
    if (entry != QV_HNSW_ENTRY_NONE) {
        int err = find_neighbours(h, ctx, ins, entry);
        if (err != 0)
            return err;
        write_own_lists(h, ctx, ins);
    }
    qv_hnsw_node_enter(h, ins->slot);
    for (uint32_t l = 0; l <= ins->level; l++) {
        for (uint32_t i = 0; i < ins->counts[l]; i++) {
            qv_slot from = qv_hnsw_cand_slot(ctx->picks.at[(size_t)l * h->params.m + i]);
            qv_hnsw_link_add(h, ctx, from, ins->slot, l);
        }
    }
    return 0;
}

int qv_hnsw_insert(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot, uint32_t generation)
{
    struct insertion ins = {.slot = slot};
    if (slot >= h->params.max_slots)
        return QV_ELIMIT;
    if (!qv_hnsw_has_rows(h))
        return QV_EINVAL;
    ins.level = qv_hnsw_node_draw_level(&h->params, slot, generation);
    int err = qv_hnsw_node_claim_slot(h, slot, generation, &ins.level);
    if (err != 0)
        return err;
    qv_hnsw_code_make(h, slot);
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
    bool top = false;
    if (entry == QV_HNSW_ENTRY_NONE || qv_hnsw_entry_level(entry) < ins.level) {
        pthread_mutex_lock(&h->top_lock);
        entry = atomic_load_explicit(&h->entry, memory_order_acquire);
        top = entry == QV_HNSW_ENTRY_NONE || qv_hnsw_entry_level(entry) < ins.level;
        if (!top)
            pthread_mutex_unlock(&h->top_lock);
    }
    err = link_in(h, ctx, &ins, entry);
    if (top) {
        if (err == 0) {
            if (entry != QV_HNSW_ENTRY_NONE) /* the tree of parents gets a new root */
                (void)qv_hnsw_link_adopt(h, slot, qv_hnsw_entry_slot(entry));
            atomic_store_explicit(&h->entry, qv_hnsw_entry_pack(slot, ins.level),
                                  memory_order_release);
        }
        pthread_mutex_unlock(&h->top_lock);
    }
    if (err != 0) {
        qv_hnsw_node_free_slot(h, slot);
        return err;
    }
    /* All whom we knew may have left meanwhile, or had better links than us. */
    if (qv_hnsw_parent_get(h, slot) == QV_SLOT_NONE && !top) {
        err = qv_hnsw_link_attach(h, ctx, slot);
        QV_ASSERT(err == 0 ||
                  entry == QV_HNSW_ENTRY_NONE); /* its memory is what the walk above had */
    }
    entry = atomic_load_explicit(&h->entry, memory_order_acquire);
    if (entry == QV_HNSW_ENTRY_NONE ||
        qv_hnsw_entry_level(entry) < ins.level) /* a repair lowered it */
        qv_hnsw_entry_offer(h, slot);
    return 0;
}
