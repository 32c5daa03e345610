#include "index/hnsw_link.h"

#include "base/qv_assert.h"

#include <string.h>

/* Lists are short and nearly sorted (they are stored nearest first): insertion sort. */
static void sort_cands(qv_cand *c, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        qv_cand x = c[i];
        uint32_t at = i;
        for (; at > 0 && c[at - 1] > x; at--)
            c[at] = c[at - 1];
        c[at] = x;
    }
}

void qv_link_rank(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot,
                  const qv_slot *others, uint32_t n, qv_cand *out)
{
    const struct qv_hnsw_codes *c = &h->codes;
    QV_ASSERT(n <= QV_HNSW_M0_MAX + 1);
    c->dist_batch(qv_code_row(h, slot), c->rows.base, c->rows.stride_bytes, others, n, c->dim,
                  ctx->dists);
    ctx->work.distances += n;
    for (uint32_t i = 0; i < n; i++)
        out[i] = qv_cand_make(ctx->dists[i], others[i]);
    sort_cands(out, n);
}

/* Is cand nearer to something chosen than to the node that chooses? */
static bool is_covered(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_cand cand,
                       const qv_cand *chosen, uint32_t n)
{
    const uint8_t *row = qv_code_row(h, qv_cand_slot(cand));
    const float limit = qv_cand_dist(cand);
    for (uint32_t i = 0; i < n; i++) {
        ctx->work.distances++;
        if (h->codes.dist(row, qv_code_row(h, qv_cand_slot(chosen[i])), h->codes.dim) < limit)
            return true;
    }
    return false;
}

uint32_t qv_link_select(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot,
                        const qv_cand *near, uint32_t n, uint32_t max, qv_cand *out)
{
    if (n <= max) {
        memmove(out, near, n * sizeof *near);
        return n;
    }
    const uint8_t *own = qv_code_row(h, slot);
    const uint32_t equal_max = max / 4 > 0 ? max / 4 : 1;
    uint32_t equal = 0;
    bool maybe_equal = true; /* equal rows come first: until one differs */
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n && kept < max; i++) {
        qv_cand c = near[i];
        const uint8_t *row = qv_code_row(h, qv_cand_slot(c));
        if (i + 1 < n)
            __builtin_prefetch(qv_code_row(h, qv_cand_slot(near[i + 1])), 0, 3);
        maybe_equal = maybe_equal && memcmp(row, own, h->codes.row_bytes) == 0;
        if (maybe_equal && equal++ >= equal_max)
            continue;
        if (!is_covered(h, ctx, c, out, kept))
            out[kept++] = c;
    }
    return kept;
}

bool qv_link_append(struct qv_hnsw *h, qv_slot from, qv_slot to, uint32_t level)
{
    if (!qv_in_claim(h, to, level))
        return false;
    bool done = false;
    qv_node_lock(h, from);
    if (qv_node_state(h, from) == QV_NODE_LINKED) {
        _Atomic uint32_t *list = qv_list(h, from, level);
        uint32_t cap = qv_list_cap(h, level);
        uint32_t n = 0;
        while (n < cap && qv_list_get(list, n) != QV_SLOT_NONE && qv_list_get(list, n) != to)
            n++;
        done = n < cap && qv_list_get(list, n) == QV_SLOT_NONE;
        if (done)
            qv_list_put(list, n, to);
    }
    qv_node_unlock(h, from);
    if (!done)
        (void)qv_in_drop(h, to, level);
    return done;
}

void qv_link_remove(struct qv_hnsw *h, qv_slot from, qv_slot to, uint32_t level)
{
    bool gone = false;
    qv_node_lock(h, from);
    if (qv_state_in_graph(qv_node_state(h, from))) {
        _Atomic uint32_t *list = qv_list(h, from, level);
        uint32_t cap = qv_list_cap(h, level);
        uint32_t at = cap;
        uint32_t n = 0;
        for (; n < cap && qv_list_get(list, n) != QV_SLOT_NONE; n++)
            at = qv_list_get(list, n) == to ? n : at;
        gone = at < cap;
        if (gone)
            qv_list_cut(list, at, n);
    }
    qv_node_unlock(h, from);
    if (gone)
        (void)qv_in_drop(h, to, level);
}

/* from's full list and `to` compete for from's cells; under from's lock, `to` claimed. Slots that
 * lost their last link go to ctx->ids; returns how many. */
static uint32_t rechoose(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot from, qv_slot to,
                         uint32_t level, uint32_t n)
{
    const uint32_t cap = qv_list_cap(h, level);
    _Atomic uint32_t *list = qv_list(h, from, level);
    ctx->list[n] = to;
    qv_link_rank(h, ctx, from, ctx->list, n + 1, ctx->near);
    qv_cand kept_cands[QV_HNSW_M0_MAX];
    uint32_t kept = qv_link_select(h, ctx, from, ctx->near, n + 1, cap, kept_cands);
    /* Both are ascending: one pass tells what was left out. */
    uint32_t lost = 0;
    uint32_t next = 0;
    const uint32_t chosen = kept;
    for (uint32_t i = 0; i < n + 1; i++) {
        if (next < chosen && kept_cands[next] == ctx->near[i]) {
            next++;
            continue;
        }
        qv_slot slot = qv_cand_slot(ctx->near[i]);
        if (slot != to && kept < cap && qv_in_get(h, slot, level) <= 1)
            kept_cands[kept++] = ctx->near[i];
        else
            ctx->ids[lost++] = slot;
    }
    for (uint32_t i = 0; i < cap; i++)
        qv_list_put(list, i, i < kept ? qv_cand_slot(kept_cands[i]) : QV_SLOT_NONE);
    uint32_t orphans = 0;
    for (uint32_t i = 0; i < lost; i++) {
        qv_slot slot = ctx->ids[i];
        if (qv_in_drop(h, slot, level) == 0 && slot != to)
            ctx->ids[orphans++] = slot;
    }
    return orphans;
}

void qv_link_add(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot from, qv_slot to,
                 uint32_t level)
{
    QV_ASSERT(from != to);
    if (!qv_in_claim(h, to, level))
        return;
    uint32_t orphans = 0;
    bool stored = false;
    bool taken = false; /* the claim went into the list, or was dropped with it */
    qv_node_lock(h, from);
    if (qv_node_state(h, from) == QV_NODE_LINKED) {
        uint32_t n = qv_list_copy(h, from, level, ctx->list);
        for (uint32_t i = 0; i < n && !stored; i++)
            stored = ctx->list[i] == to;
        if (!stored) {
            taken = true;
            if (n < qv_list_cap(h, level))
                qv_list_put(qv_list(h, from, level), n, to);
            else
                orphans = rechoose(h, ctx, from, to, level, n);
        }
    }
    qv_node_unlock(h, from);
    if (!taken)
        (void)qv_in_drop(h, to, level);
    for (uint32_t i = 0; i < orphans; i++)
        (void)qv_link_append(h, to, ctx->ids[i], level);
}

/* ---- attaching what nothing links to ---- */

void qv_entry_offer(struct qv_hnsw *h, qv_slot slot)
{
    pthread_mutex_lock(&h->top_lock);
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_relaxed);
    uint32_t level = qv_node_level(h, slot);
    if (qv_node_state(h, slot) == QV_NODE_LINKED &&
        (entry == QV_ENTRY_NONE || qv_entry_level(entry) < level))
        atomic_store_explicit(&h->entry, qv_entry_pack(slot, level), memory_order_release);
    pthread_mutex_unlock(&h->top_lock);
}

qv_slot qv_entry_highest(const struct qv_hnsw *h, qv_slot but)
{
    uint32_t bound = atomic_load_explicit(&h->slot_bound, memory_order_acquire);
    qv_slot best = QV_SLOT_NONE;
    uint32_t best_rank = 0;
    for (qv_slot s = 0; s < bound; s++) {
        uint32_t word = qv_node_word(h, s);
        if (s == but || qv_word_state(word) != QV_NODE_LINKED)
            continue;
        uint32_t rank = qv_word_level(word) * 2 + (qv_live_get(h, s) ? 1 : 0) + 1;
        if (rank > best_rank) {
            best_rank = rank;
            best = s;
        }
    }
    return best;
}

/* Puts `to` into from's list on level 0, in the place of the last link that others have too when it
 * is full. The one put out is returned in *out (QV_SLOT_NONE: none). */
static bool force_link(struct qv_hnsw *h, qv_slot from, qv_slot to, bool any, qv_slot *out)
{
    *out = QV_SLOT_NONE;
    if (qv_link_append(h, from, to, 0))
        return true;
    if (!qv_in_claim(h, to, 0))
        return false;
    bool done = false;
    qv_node_lock(h, from);
    if (qv_node_state(h, from) == QV_NODE_LINKED) {
        _Atomic uint32_t *list = qv_list(h, from, 0);
        uint32_t at = qv_list_cap(h, 0);
        while (at > 0 && !done) {
            qv_slot was = qv_list_get(list, --at);
            if (was == to)
                break;
            if (was == QV_SLOT_NONE || (!any && qv_in_get(h, was, 0) < 2))
                continue;
            *out = was;
            qv_list_put(list, at, to);
            done = true;
        }
    }
    qv_node_unlock(h, from);
    if (!done)
        (void)qv_in_drop(h, to, 0);
    if (*out != QV_SLOT_NONE)
        (void)qv_in_drop(h, *out, 0);
    return done;
}

/* Links of its own for a node that has none, from the pool of a walk around it. */
static void fill_list(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot)
{
    qv_cand picks[QV_HNSW_M_MAX];
    for (uint32_t i = 0; i < ctx->pool.n; i++)
        ctx->pool.at[i] &= ~QV_CAND_EXPANDED;
    uint32_t n = qv_link_select(h, ctx, slot, ctx->pool.at, ctx->pool.n, h->params.m, picks);
    for (uint32_t i = 0; i < n; i++)
        (void)qv_link_append(h, slot, qv_cand_slot(picks[i]), 0);
}

int qv_link_attach(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot)
{
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
    if (entry == QV_ENTRY_NONE) {
        qv_entry_offer(h, slot);
        entry = atomic_load_explicit(&h->entry, memory_order_acquire);
    }
    if (entry == QV_ENTRY_NONE)
        return 0;
    if (qv_entry_slot(entry) == slot) {
        /* Every search begins here: links out are all it needs. */
        qv_slot other = QV_SLOT_NONE;
        if (qv_list_get(qv_list(h, slot, 0), 0) == QV_SLOT_NONE)
            other = qv_entry_highest(h, slot);
        if (other == QV_SLOT_NONE)
            return 0;
        entry = qv_entry_pack(other, 0);
    }
    int err = qv_walk_begin(h, ctx);
    if (err != 0)
        return err;
    const uint8_t *row = qv_code_row(h, slot);
    qv_cand start = qv_walk_descend(h, ctx, row, entry, 0);
    if (qv_cand_slot(start) == slot) /* upper levels know it: begin beside it */
        start = qv_walk_descend(h, ctx, row, qv_entry_pack(qv_entry_slot(entry), 0), 0);
    (void)qv_walk_visit(ctx, slot);
    err = qv_walk_level(h, ctx, row, start, 0, h->params.ef_construct, NULL);
    if (err != 0)
        return err;
    if (qv_list_get(qv_list(h, slot, 0), 0) == QV_SLOT_NONE)
        fill_list(h, ctx, slot);
    qv_slot out;
    for (uint32_t i = 0; i < ctx->pool.n; i++)
        if (force_link(h, qv_cand_slot(ctx->pool.at[i]), slot, false, &out))
            return 0;
    /* Every list near is full of links that are their targets' only ones: slot takes one over. */
    for (uint32_t i = 0; i < ctx->pool.n; i++) {
        if (force_link(h, qv_cand_slot(ctx->pool.at[i]), slot, true, &out)) {
            if (out != QV_SLOT_NONE && qv_in_get(h, out, 0) == 0 &&
                !qv_link_append(h, slot, out, 0)) {
                qv_slot pushed;
                (void)force_link(h, slot, out, false, &pushed);
            }
            return 0;
        }
    }
    return 0;
}
