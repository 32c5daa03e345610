#include "index/hnsw_link.h"

#include "base/qv_assert.h"

#include <string.h>

#define ANCESTORS_MAX 512u

/* Lists are short and nearly sorted (they are stored nearest first): insertion sort. */
static void sort_cands(qv_hnsw_cand *c, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        qv_hnsw_cand x = c[i];
        uint32_t at = i;
        for (; at > 0 && c[at - 1] > x; at--)
            c[at] = c[at - 1];
        c[at] = x;
    }
}

void qv_hnsw_link_rank(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot,
                       const qv_slot *others, uint32_t n, qv_hnsw_cand *out)
{
    const struct qv_hnsw_codes *c = &h->codes;
    QV_ASSERT(n <= QV_HNSW_M0_MAX + 1);
    c->dist_batch(qv_hnsw_code_row(h, slot), c->rows.base, c->rows.stride_bytes, others, n, c->dim,
                  ctx->dists);
    ctx->work.distances += n;
    for (uint32_t i = 0; i < n; i++)
        out[i] = qv_hnsw_cand_make(ctx->dists[i], others[i]);
    sort_cands(out, n);
}

/* Is cand nearer to something chosen than to the node that chooses? */
static bool is_covered(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_hnsw_cand cand,
                       const qv_hnsw_cand *chosen, uint32_t n)
{
    const uint8_t *row = qv_hnsw_code_row(h, qv_hnsw_cand_slot(cand));
    const float limit = qv_hnsw_cand_dist(cand);
    for (uint32_t i = 0; i < n; i++) {
        ctx->work.distances++;
        if (h->codes.dist(row, qv_hnsw_code_row(h, qv_hnsw_cand_slot(chosen[i])), h->codes.dim) <
            limit)
            return true;
    }
    return false;
}

uint32_t qv_hnsw_link_select(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                             const struct qv_hnsw_cands *near, uint32_t max, qv_hnsw_cand *out)
{
    const uint32_t n = near->n;
    if (n <= max) {
        memmove(out, near->at, n * sizeof *out);
        return n;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n && kept < max; i++) {
        qv_hnsw_cand c = near->at[i];
        if (i + 1 < n)
            __builtin_prefetch(qv_hnsw_code_row(h, qv_hnsw_cand_slot(near->at[i + 1])), 0, 3);
        if (!is_covered(h, ctx, c, out, kept))
            out[kept++] = c;
    }
    return kept;
}

bool qv_hnsw_link_append(struct qv_hnsw *h, qv_slot from, qv_slot to, uint32_t level)
{
    QV_ASSERT(from != to);
    if (!qv_hnsw_in_claim(h, to, level))
        return false;
    bool done = false;
    qv_hnsw_node_lock(h, from);
    if (qv_hnsw_node_state(h, from) == QV_HNSW_NODE_LINKED) {
        _Atomic uint32_t *list = qv_hnsw_list(h, from, level);
        uint32_t cap = qv_hnsw_list_cap(h, level);
        uint32_t n = 0;
        while (n < cap && qv_hnsw_list_get(list, n) != QV_SLOT_NONE &&
               qv_hnsw_list_get(list, n) != to)
            n++;
        done = n < cap && qv_hnsw_list_get(list, n) == QV_SLOT_NONE;
        if (done)
            qv_hnsw_list_put(list, n, to);
    }
    qv_hnsw_node_unlock(h, from);
    if (!done)
        (void)qv_hnsw_in_drop(h, to, level);
    return done;
}

/* May from's link to `slot` not be dropped? On level 0 its children; above, where nothing promises
 * that all is reachable, the last link to a node. */
static bool is_protected(const struct qv_hnsw *h, qv_slot from, qv_slot slot, uint32_t level)
{
    return level == 0 ? qv_hnsw_parent_get(h, slot) == from : qv_hnsw_in_get(h, slot, level) <= 1;
}

/* from's full list and `to` compete for from's cells; under from's lock, `to` claimed. Whoever
 * loses is uncounted. */
static void rechoose(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot from, qv_slot to,
                     uint32_t level, uint32_t n)
{
    const uint32_t cap = qv_hnsw_list_cap(h, level);
    _Atomic uint32_t *list = qv_hnsw_list(h, from, level);
    qv_hnsw_cand chosen[QV_HNSW_M0_MAX];
    uint8_t keep[QV_HNSW_M0_MAX + 1];
    ctx->list[n] = to;
    qv_hnsw_link_rank(h, ctx, from, ctx->list, n + 1, ctx->near);
    const struct qv_hnsw_cands near = {.at = ctx->near, .n = n + 1};
    uint32_t kept = qv_hnsw_link_select(h, ctx, &near, cap, chosen);
    /* Both are ascending: one pass tells who was chosen. The protected come in beside them... */
    for (uint32_t i = 0, next = 0, most = kept; i < n + 1; i++) {
        qv_slot slot = qv_hnsw_cand_slot(ctx->near[i]);
        bool was_chosen = next < most && chosen[next] == ctx->near[i];
        next += was_chosen ? 1 : 0;
        keep[i] = was_chosen ? 1 : 0;
        if (slot != to && is_protected(h, from, slot, level)) {
            kept += was_chosen ? 0 : 1;
            keep[i] = 2;
        }
    }
    /* ... and the farthest of the others make room. */
    for (uint32_t i = n + 1; kept > cap; i--) {
        QV_ASSERT(i > 0);
        if (keep[i - 1] == 1) {
            keep[i - 1] = 0;
            kept--;
        }
    }
    uint32_t at = 0;
    for (uint32_t i = 0; i < n + 1; i++)
        if (keep[i] != 0)
            qv_hnsw_list_put(list, at++, qv_hnsw_cand_slot(ctx->near[i]));
    for (; at < cap; at++)
        qv_hnsw_list_put(list, at, QV_SLOT_NONE);
    for (uint32_t i = 0; i < n + 1; i++) {
        qv_slot slot = qv_hnsw_cand_slot(ctx->near[i]);
        if (keep[i] == 0)
            (void)qv_hnsw_in_drop(h, slot, level);
        else if (slot == to && level == 0)
            qv_hnsw_parent_offer(h, to, from);
    }
}

void qv_hnsw_link_add(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot from, qv_slot to,
                      uint32_t level)
{
    QV_ASSERT(from != to);
    if (!qv_hnsw_in_claim(h, to, level))
        return;
    bool have = false;
    bool counted = false; /* the claim went into the list, or was dropped with it */
    qv_hnsw_node_lock(h, from);
    if (qv_hnsw_node_state(h, from) == QV_HNSW_NODE_LINKED) {
        uint32_t n = qv_hnsw_list_copy(h, from, level, ctx->list);
        for (uint32_t i = 0; i < n && !have; i++)
            have = ctx->list[i] == to;
        if (!have && n < qv_hnsw_list_cap(h, level)) {
            counted = true;
            qv_hnsw_list_put(qv_hnsw_list(h, from, level), n, to);
            if (level == 0)
                qv_hnsw_parent_offer(h, to, from);
        } else if (!have) {
            counted = true;
            rechoose(h, ctx, from, to, level, n);
        }
    }
    qv_hnsw_node_unlock(h, from);
    if (!counted)
        (void)qv_hnsw_in_drop(h, to, level);
}

/* ---- attaching what nothing links to ---- */

qv_slot qv_hnsw_entry_highest(const struct qv_hnsw *h, qv_slot but)
{
    uint32_t bound = atomic_load_explicit(&h->slot_bound, memory_order_acquire);
    qv_slot best = QV_SLOT_NONE;
    uint32_t best_rank = 0;
    for (qv_slot s = 0; s < bound; s++) {
        uint32_t word = qv_hnsw_node_word(h, s);
        if (s == but || qv_hnsw_word_state(word) != QV_HNSW_NODE_LINKED)
            continue;
        uint32_t rank = qv_hnsw_word_level(word) * 2 + (qv_hnsw_live_get(h, s) ? 1 : 0) + 1;
        if (rank > best_rank) {
            best_rank = rank;
            best = s;
        }
    }
    return best;
}

bool qv_hnsw_link_adopt(struct qv_hnsw *h, qv_slot from, qv_slot to)
{
    QV_ASSERT(from != to);
    if (!qv_hnsw_in_claim(h, to, 0))
        return false;
    const uint32_t cap = qv_hnsw_list_cap(h, 0);
    _Atomic uint32_t *list = qv_hnsw_list(h, from, 0);
    bool done = false;
    bool counted = false;
    qv_slot out = QV_SLOT_NONE;
    qv_hnsw_node_lock(h, from);
    if (qv_hnsw_node_state(h, from) == QV_HNSW_NODE_LINKED) {
        uint32_t n = 0;
        uint32_t victim = cap;
        for (; n < cap && qv_hnsw_list_get(list, n) != QV_SLOT_NONE &&
               qv_hnsw_list_get(list, n) != to;
             n++)
            if (qv_hnsw_parent_get(h, qv_hnsw_list_get(list, n)) != from)
                victim = n;
        bool have = n < cap && qv_hnsw_list_get(list, n) == to;
        uint32_t at = n < cap ? n : victim;
        done = have || at < cap;
        counted = done && !have;
        if (counted) {
            out = qv_hnsw_list_get(list, at);
            qv_hnsw_list_put(list, at, to);
        }
        if (done)
            qv_hnsw_parent_set(h, to, from);
    }
    qv_hnsw_node_unlock(h, from);
    if (!counted)
        (void)qv_hnsw_in_drop(h, to, 0);
    if (out != QV_SLOT_NONE)
        (void)qv_hnsw_in_drop(h, out, 0);
    return done;
}

void qv_hnsw_entry_offer(struct qv_hnsw *h, qv_slot slot)
{
    pthread_mutex_lock(&h->top_lock);
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_relaxed);
    uint32_t level = qv_hnsw_node_level(h, slot);
    if (qv_hnsw_node_state(h, slot) == QV_HNSW_NODE_LINKED &&
        (entry == QV_HNSW_ENTRY_NONE || qv_hnsw_entry_level(entry) < level)) {
        if (entry != QV_HNSW_ENTRY_NONE)
            (void)qv_hnsw_link_adopt(h, slot, qv_hnsw_entry_slot(entry));
        qv_hnsw_parent_set(h, slot, QV_SLOT_NONE);
        atomic_store_explicit(&h->entry, qv_hnsw_entry_pack(slot, level), memory_order_release);
    }
    pthread_mutex_unlock(&h->top_lock);
}

/* Do the parents of `from` lead to the entry point without passing `below`? */
static bool is_rooted(const struct qv_hnsw *h, qv_slot from, qv_slot below, uint64_t entry)
{
    for (uint32_t i = 0; i < ANCESTORS_MAX && from != QV_SLOT_NONE && from != below; i++) {
        if (from == qv_hnsw_entry_slot(entry))
            return true;
        from = qv_hnsw_parent_get(h, from);
    }
    return false;
}

bool qv_hnsw_link_adopt_if_room(struct qv_hnsw *h, qv_slot parent, qv_slot slot)
{
    (void)qv_hnsw_link_append(h, parent, slot, 0);
    bool have = false;
    qv_hnsw_node_lock(h, parent);
    if (qv_hnsw_node_state(h, parent) == QV_HNSW_NODE_LINKED)
        have = qv_hnsw_list_find(h, parent, 0, slot) < qv_hnsw_list_cap(h, 0);
    if (have)
        qv_hnsw_parent_set(h, slot, parent);
    qv_hnsw_node_unlock(h, parent);
    return have;
}

/* Where from's list is full of its children: `to` takes the place of one of them and becomes its
 * parent. */
static bool adopt_between(struct qv_hnsw *h, qv_slot from, qv_slot to)
{
    qv_slot child = qv_hnsw_list_get(qv_hnsw_list(h, from, 0), qv_hnsw_list_cap(h, 0) - 1);
    if (child == QV_SLOT_NONE || child == to || qv_hnsw_parent_get(h, child) != from)
        return false;
    if (!qv_hnsw_link_adopt(h, to, child))
        return false;
    bool done = false;
    bool claimed = qv_hnsw_in_claim(h, to, 0);
    qv_hnsw_node_lock(h, from);
    uint32_t at = qv_hnsw_list_find(h, from, 0, child);
    if (claimed && qv_hnsw_node_state(h, from) == QV_HNSW_NODE_LINKED &&
        at < qv_hnsw_list_cap(h, 0) &&
        qv_hnsw_list_find(h, from, 0, to) == qv_hnsw_list_cap(h, 0)) {
        qv_hnsw_list_put(qv_hnsw_list(h, from, 0), at, to);
        qv_hnsw_parent_set(h, to, from);
        done = true;
    } else if (at < qv_hnsw_list_cap(h, 0)) {
        qv_hnsw_parent_set(h, child, from);
    }
    qv_hnsw_node_unlock(h, from);
    if (done || claimed)
        (void)qv_hnsw_in_drop(h, done ? child : to, 0);
    return done;
}

/* Links of its own for a node that has none, from the pool of a walk around it. */
static void fill_list(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot)
{
    qv_hnsw_cand picks[QV_HNSW_M_MAX];
    for (uint32_t i = 0; i < ctx->pool.n; i++)
        ctx->pool.at[i] &= ~QV_HNSW_CAND_EXPANDED;
    uint32_t n = qv_hnsw_link_select(h, ctx, &ctx->pool, h->params.m, picks);
    for (uint32_t i = 0; i < n; i++)
        (void)qv_hnsw_link_append(h, slot, qv_hnsw_cand_slot(picks[i]), 0);
}

/* ctx->pool = the nodes around a slot, itself left out, by level 0 alone from `from`. */
static int walk_level0(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot, qv_slot from)
{
    int err = qv_hnsw_walk_begin(h, ctx);
    if (err != 0)
        return err;
    const uint8_t *row = qv_hnsw_code_row(h, slot);
    const struct qv_hnsw_walk walk = {.row = row, .level = 0, .ef = h->params.ef_construct};
    (void)qv_hnsw_walk_visit(ctx, slot);
    return qv_hnsw_walk_level(h, ctx, &walk,
                              qv_hnsw_walk_descend(h, ctx, row, qv_hnsw_entry_pack(from, 0), 0));
}

/* The same through the upper levels. *entry is where it began: QV_HNSW_ENTRY_NONE when there is
 * nobody else. */
static int walk_around(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot, uint64_t *entry)
{
    if (qv_hnsw_entry_slot(*entry) == slot) {
        qv_slot other = qv_hnsw_entry_highest(h, slot);
        *entry = other == QV_SLOT_NONE ? QV_HNSW_ENTRY_NONE : qv_hnsw_entry_pack(other, 0);
    }
    if (*entry == QV_HNSW_ENTRY_NONE)
        return 0;
    const uint8_t *row = qv_hnsw_code_row(h, slot);
    qv_slot from = qv_hnsw_cand_slot(qv_hnsw_walk_descend(h, ctx, row, *entry, 0));
    if (from == slot) /* upper levels know it: begin beside it */
        from = qv_hnsw_entry_slot(*entry);
    return walk_level0(h, ctx, slot, from);
}

int qv_hnsw_link_feed(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot)
{
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
    if (entry == QV_HNSW_ENTRY_NONE ||
        qv_hnsw_list_get(qv_hnsw_list(h, slot, 0), 0) != QV_SLOT_NONE)
        return 0;
    int err = walk_around(h, ctx, slot, &entry);
    if (err == 0 && entry != QV_HNSW_ENTRY_NONE)
        fill_list(h, ctx, slot);
    return err;
}

/* A parent for the slot from ctx->pool. One from the node's own tree would make a ring that hangs
 * on nothing. */
static bool adopt_by_pool(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot, uint64_t entry)
{
    for (uint32_t i = 0; i < ctx->pool.n; i++) {
        qv_slot from = qv_hnsw_cand_slot(ctx->pool.at[i]);
        if (is_rooted(h, from, slot, entry) && qv_hnsw_link_adopt(h, from, slot))
            return true;
    }
    for (uint32_t i = 0; i < ctx->pool.n; i++) {
        qv_slot from = qv_hnsw_cand_slot(ctx->pool.at[i]);
        if (is_rooted(h, from, slot, entry) && adopt_between(h, from, slot))
            return true;
    }
    return false;
}

int qv_hnsw_link_attach(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot)
{
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
    if (entry == QV_HNSW_ENTRY_NONE) {
        qv_hnsw_entry_offer(h, slot);
        entry = atomic_load_explicit(&h->entry, memory_order_acquire);
    }
    if (entry == QV_HNSW_ENTRY_NONE || qv_hnsw_entry_slot(entry) == slot)
        return qv_hnsw_link_feed(h, ctx,
                                 slot); /* every search begins here: it needs links out only */
    int err = walk_around(h, ctx, slot, &entry);
    if (err != 0)
        return err;
    if (qv_hnsw_list_get(qv_hnsw_list(h, slot, 0), 0) == QV_SLOT_NONE)
        fill_list(h, ctx, slot);
    if (adopt_by_pool(h, ctx, slot, entry))
        return 0;
    /* The upper levels led to nodes that the entry does not reach on level 0, or all lists there
     * are full of children: from the entry itself, then. */
    err = walk_level0(h, ctx, slot, qv_hnsw_entry_slot(entry));
    if (err != 0 || adopt_by_pool(h, ctx, slot, entry))
        return err;
    for (uint32_t i = 0; i < ctx->pool.n; i++)
        if (qv_hnsw_link_adopt(h, qv_hnsw_cand_slot(ctx->pool.at[i]), slot))
            return 0;
    return 0;
}
