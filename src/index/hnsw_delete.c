/* Taking nodes out, in place.
 *
 * remove only clears the live mark. repair then unlinks: it looks for the nodes that link here
 * among the node's neighbours, theirs, and what a search for its own row meets, until the in-count
 * says that all are found; if some stay hidden it looks at every node. In each finder's list the
 * link is replaced by up to SUBSTITUTES of the node's own neighbours (the nearest ones that the
 * selection rule lets in), as in IP-DiskANN (Xu et al. 2025, arXiv 2502.13826), which searches only
 * and leaves what it does not find; the in-counts make it exact.The children of a node that leaves
 * go to its parent if there is room, else they are attached anew.
 * Measured on 60,000 rows of Fashion-MNIST, a third deleted: of 11 links to a node 0.46 are not
 * found among neighbours and theirs, 0.27 not by the search, 0.07 not by a search of 8
 * ef_construct; on 50,000 random rows of 32 dimensions 18, 2.8, 2.3 and 0.6. So a look at
 * everything is shared by the nodes of a batch.
 *
 * Repairs of different slots may run at once, beside inserts and searches. */
#include "index/hnsw_delete.h"

#include "base/qv_assert.h"

#include <sched.h>
#include <string.h>

#define SUBSTITUTES 3u
#define SUBSTITUTES_TRIED 8u
#define BATCH_MAX 1024u /* nodes that share one look at everything */

/* From so many slots on, a search of 8 ef_construct is cheaper than a look at everything (about 30
 * ns a node): it finds three in four of what a search of ef_construct leaves hidden. */
#define WIDE_SEARCH_SLOTS 100000u

int qv_hnsw_remove(struct qv_hnsw *h, qv_slot slot)
{
    if (slot >= atomic_load_explicit(&h->usable_slots, memory_order_acquire))
        return QV_ENOTFOUND;
    /* Counted first: a search that sees no dead node does not look at live marks on its way. */
    atomic_fetch_add_explicit(&h->dead_count, 1, memory_order_acq_rel);
    if (!qv_hnsw_live_clear(h, slot)) {
        atomic_fetch_sub_explicit(&h->dead_count, 1, memory_order_acq_rel);
        return QV_ENOTFOUND;
    }
    atomic_fetch_sub_explicit(&h->live_count, 1, memory_order_relaxed);
    return 0;
}

/* ---- one link replaced ---- */

/* The leaving node's neighbours that z does not have, into ctx->chosen. Dead ones are better than
 * none: the path through them holds until their own repair finds its way around. */
static uint32_t gather_substitutes(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                                   const struct qv_hnsw_leaving *p, qv_slot z, uint32_t n,
                                   bool live)
{
    uint32_t cands = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        bool not = p->out[i] == z || qv_hnsw_live_get(h, p->out[i]) != live ||
                   qv_hnsw_node_state(h, p->out[i]) != QV_HNSW_NODE_LINKED;
        for (uint32_t j = 0; j < n && !not ; j++)
            not = ctx->list[j] == p->out[i];
        if (!not )
            ctx->chosen[cands++] = p->out[i];
    }
    return cands;
}

/* Up to SUBSTITUTES of the leaving node's neighbours for z's list (n links in ctx->list), claimed,
 * into ctx->chosen. */
static uint32_t choose_substitutes(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                                   const struct qv_hnsw_leaving *p, qv_slot z, uint32_t n)
{
    uint32_t cands = gather_substitutes(h, ctx, p, z, n, true);
    if (cands == 0)
        cands = gather_substitutes(h, ctx, p, z, n, false);
    qv_hnsw_link_rank(h, ctx, z, ctx->chosen, cands, ctx->near);
    uint32_t got = 0;
    for (uint32_t i = 0; i < cands && i < SUBSTITUTES_TRIED && got < SUBSTITUTES; i++) {
        qv_slot w = qv_hnsw_cand_slot(ctx->near[i]);
        const uint8_t *row = qv_hnsw_code_row(h, w);
        bool covered = false;
        for (uint32_t j = 0; j < n + got && !covered; j++) {
            qv_slot other = j < n ? ctx->list[j] : ctx->chosen[j - n];
            if (qv_hnsw_node_state(h, other) != QV_HNSW_NODE_LINKED)
                continue; /* leaves too; after a load its row may not be there any more */
            ctx->work.distances++;
            covered = h->codes.dist(row, qv_hnsw_code_row(h, other), h->codes.dim) <
                      qv_hnsw_cand_dist(ctx->near[i]);
        }
        /* The first goes in even when covered, so that z's degree does not wear away. */
        bool fill = got == 0 && (i + 1 == cands || i + 1 == SUBSTITUTES_TRIED);
        if (fill)
            w = qv_hnsw_cand_slot(ctx->near[0]);
        if ((!covered || fill) && qv_hnsw_in_claim(h, w, p->level))
            ctx->chosen[got++] = w;
    }
    return got;
}

void qv_hnsw_leaving_replace(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, struct qv_hnsw_leaving *p,
                             qv_slot z)
{
    if (z == p->slot || qv_hnsw_list_find(h, z, p->level, p->slot) == qv_hnsw_list_cap(h, p->level))
        return;
    uint32_t n = qv_hnsw_list_copy(h, z, p->level, ctx->list);
    uint32_t subs = choose_substitutes(h, ctx, p, z, n);
    bool gone = false;
    uint32_t used = 0;
    qv_hnsw_node_lock(h, z);
    enum qv_hnsw_node_state state = qv_hnsw_node_state(h, z);
    if (qv_hnsw_state_in_graph(state)) {
        _Atomic uint32_t *list = qv_hnsw_list(h, z, p->level);
        const uint32_t cap = qv_hnsw_list_cap(h, p->level);
        n = qv_hnsw_list_copy(h, z, p->level, ctx->list);
        uint32_t at = qv_hnsw_list_find(h, z, p->level, p->slot);
        gone = at < cap;
        if (gone)
            qv_hnsw_list_cut(list, at, n--);
        for (; gone && state == QV_HNSW_NODE_LINKED && used < subs && n < cap; used++) {
            if (qv_hnsw_list_find(h, z, p->level, ctx->chosen[used]) < cap)
                break; /* someone was faster: what is left is given back */
            qv_hnsw_list_put(list, n++, ctx->chosen[used]);
        }
    }
    qv_hnsw_node_unlock(h, z);
    if (gone)
        (void)qv_hnsw_in_drop(h, p->slot, p->level);
    if (gone && n == 0 && p->level == 0 && p->starved->n < QV_HNSW_STARVED_MAX)
        p->starved->slots[p->starved->n++] = z;
    for (uint32_t i = used; i < subs; i++)
        (void)qv_hnsw_in_drop(h, ctx->chosen[i], p->level);
}

void qv_hnsw_leaving_feed(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                          struct qv_hnsw_starved *starved)
{
    for (uint32_t i = 0; i < starved->n; i++) {
        if (qv_hnsw_node_state(h, starved->slots[i]) != QV_HNSW_NODE_LINKED)
            continue;
        int err = qv_hnsw_link_feed(h, ctx, starved->slots[i]);
        QV_ASSERT(err == 0); /* the repair has grown the context to what this takes */
    }
    starved->n = 0;
}

uint32_t qv_hnsw_leaving_bridge(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot z,
                                uint32_t level, bool marked_only, struct qv_hnsw_starved *starved)
{
    qv_slot links[QV_HNSW_M0_MAX];
    qv_slot out[QV_HNSW_M0_MAX];
    uint32_t n = qv_hnsw_list_copy(h, z, level, links);
    uint32_t bridged = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (marked_only && !qv_hnsw_walk_seen(ctx, links[i]))
            continue;
        if (qv_hnsw_node_state(h, links[i]) != QV_HNSW_NODE_UNLINKING)
            continue;
        struct qv_hnsw_leaving p = {
            .slot = links[i], .level = level, .out = out, .starved = starved};
        p.n = qv_hnsw_list_copy(h, links[i], level, out);
        qv_hnsw_leaving_replace(h, ctx, &p, z);
        bridged++;
    }
    return bridged;
}

/* ---- finding who links here ---- */

static bool is_linked_to(const struct qv_hnsw *h, qv_slot slot)
{
    for (uint32_t l = 0; l <= qv_hnsw_node_level(h, slot); l++)
        if (qv_hnsw_in_get(h, slot, l) > 0)
            return true;
    return false;
}

static void replace_near(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, struct qv_hnsw_leaving *p)
{
    qv_slot second[QV_HNSW_M0_MAX];
    for (uint32_t i = 0; i < p->n; i++)
        qv_hnsw_leaving_replace(h, ctx, p, p->out[i]);
    for (uint32_t i = 0; i < p->n && qv_hnsw_in_get(h, p->slot, p->level) > 0; i++) {
        uint32_t n = qv_hnsw_list_copy(h, p->out[i], p->level, second);
        for (uint32_t j = 0; j < n; j++)
            if (qv_hnsw_walk_visit(ctx, second[j]))
                qv_hnsw_leaving_replace(h, ctx, p, second[j]);
    }
}

static int replace_by_search(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, struct qv_hnsw_leaving *p,
                             uint32_t ef)
{
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
    if (entry == QV_HNSW_ENTRY_NONE || qv_hnsw_entry_level(entry) < p->level)
        return 0;
    int err = qv_hnsw_walk_begin(h, ctx);
    if (err != 0)
        return err;
    const uint8_t *row = qv_hnsw_code_row(h, p->slot);
    qv_hnsw_cand start = qv_hnsw_walk_descend(h, ctx, row, entry, p->level);
    const struct qv_hnsw_walk walk = {.row = row, .level = p->level, .ef = ef};
    err = qv_hnsw_walk_level(h, ctx, &walk, start);
    if (err != 0)
        return err;
    for (uint32_t i = 0; i < ctx->pool.n && qv_hnsw_in_get(h, p->slot, p->level) > 0; i++)
        qv_hnsw_leaving_replace(h, ctx, p, qv_hnsw_cand_slot(ctx->pool.at[i]));
    return 0;
}

/* Does z's list lead to a marked slot (or to `only`, if it is the only one)? */
static bool leads_to_marked(const struct qv_hnsw *h, const struct qv_hnsw_ctx *ctx, qv_slot z,
                            uint32_t level, qv_slot only)
{
    const _Atomic uint32_t *list = qv_hnsw_list(h, z, level);
    const uint32_t cap = qv_hnsw_list_cap(h, level);
    for (uint32_t i = 0; i < cap; i++) {
        qv_slot to = qv_hnsw_list_get(list, i);
        if (to == QV_SLOT_NONE)
            return false;
        if (only != QV_SLOT_NONE ? to == only : qv_hnsw_walk_seen(ctx, to))
            return true;
    }
    return false;
}

/* Everyone's lists, for all slots of a batch that something still links to. Links claimed before a
 * node began to leave may still be on their way into a list, so the counts decide when it is over.
 */
static int replace_everywhere(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, const qv_slot *slots,
                              uint32_t n, struct qv_hnsw_starved *starved)
{
    for (;;) {
        int err = qv_hnsw_walk_begin(h, ctx);
        if (err != 0)
            return err;
        uint32_t marked = 0;
        qv_slot only = QV_SLOT_NONE;
        for (uint32_t i = 0; i < n; i++) {
            bool linked = slots[i] != QV_SLOT_NONE && is_linked_to(h, slots[i]);
            if (linked && slots[i] >= ctx->visited_slots)
                return QV_ENOMEM; /* the marks could not grow to it */
            if (!linked)
                continue;
            (void)qv_hnsw_walk_visit(ctx, slots[i]);
            only = marked++ == 0 ? slots[i] : QV_SLOT_NONE;
        }
        if (marked == 0)
            return 0;
        ctx->work.full_scans++;
        uint32_t bound = atomic_load_explicit(&h->slot_bound, memory_order_acquire);
        for (qv_slot z = 0; z < bound && (marked > 1 || is_linked_to(h, only)); z++) {
            uint32_t word = qv_hnsw_node_word(h, z);
            if (!qv_hnsw_state_in_graph(qv_hnsw_word_state(word)))
                continue;
            for (uint32_t l = 0; l <= qv_hnsw_word_level(word); l++)
                if (leads_to_marked(h, ctx, z, l, only))
                    (void)qv_hnsw_leaving_bridge(h, ctx, z, l, true, starved);
        }
        sched_yield();
    }
}

/* ---- the entry point ---- */

/* After this the slot is not the entry. */
static void move_entry(struct qv_hnsw *h, qv_slot slot)
{
    /* The lock also where it is not: another repair may just be handing the entry over to this
     * slot, having seen it LINKED. */
    pthread_mutex_lock(&h->top_lock);
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_relaxed);
    if (entry != QV_HNSW_ENTRY_NONE && qv_hnsw_entry_slot(entry) == slot) {
        uint32_t level = qv_hnsw_entry_level(entry);
        qv_slot to = QV_SLOT_NONE;
        const _Atomic uint32_t *list = qv_hnsw_list(h, slot, level);
        for (uint32_t i = 0; i < qv_hnsw_list_cap(h, level) && to == QV_SLOT_NONE; i++) {
            qv_slot s = qv_hnsw_list_get(list, i);
            if (s == QV_SLOT_NONE)
                break;
            if (qv_hnsw_node_state(h, s) == QV_HNSW_NODE_LINKED && qv_hnsw_live_get(h, s))
                to = s;
        }
        if (to == QV_SLOT_NONE)
            to = qv_hnsw_entry_highest(h, slot);
        entry = to == QV_SLOT_NONE ? QV_HNSW_ENTRY_NONE
                                   : qv_hnsw_entry_pack(to, qv_hnsw_node_level(h, to));
        if (to != QV_SLOT_NONE)
            qv_hnsw_parent_set(h, to, QV_SLOT_NONE);
        atomic_store_explicit(&h->entry, entry, memory_order_release);
    }
    pthread_mutex_unlock(&h->top_lock);
}

/* ---- repair ---- */

static int begin_leaving(struct qv_hnsw *h, qv_slot slot)
{
    if (slot >= atomic_load_explicit(&h->usable_slots, memory_order_acquire))
        return QV_ENOTFOUND;
    qv_hnsw_node_lock(h, slot);
    enum qv_hnsw_node_state state = qv_hnsw_node_state(h, slot);
    bool dead = qv_hnsw_state_in_graph(state) && !qv_hnsw_live_get(h, slot);
    if (dead)
        qv_hnsw_node_set_state(h, slot, QV_HNSW_NODE_UNLINKING); /* again, after a QV_ENOMEM */
    qv_hnsw_node_unlock(h, slot);
    return dead ? 0 : QV_ENOTFOUND;
}

/* Replaces the links to the node that can be found near it. */
static int unlink_level(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot, uint32_t level,
                        struct qv_hnsw_starved *starved)
{
    qv_slot out[QV_HNSW_M0_MAX];
    struct qv_hnsw_leaving p = {.slot = slot, .level = level, .out = out, .starved = starved};
    qv_hnsw_node_lock(h, slot);
    p.n = qv_hnsw_list_copy(h, slot, level, out);
    qv_hnsw_node_unlock(h, slot);
    if (qv_hnsw_in_get(h, slot, level) == 0)
        return 0;
    int err = qv_hnsw_walk_begin(h, ctx);
    if (err != 0)
        return err;
    replace_near(h, ctx, &p);
    uint32_t ef = h->params.ef_construct;
    if (qv_hnsw_in_get(h, slot, level) > 0)
        err = replace_by_search(h, ctx, &p, ef);
    if (err == 0 && qv_hnsw_in_get(h, slot, level) > 0 &&
        atomic_load_explicit(&h->slot_bound, memory_order_relaxed) > WIDE_SEARCH_SLOTS)
        err = replace_by_search(h, ctx, &p, ef > QV_HNSW_EF_MAX / 8 ? QV_HNSW_EF_MAX : ef * 8);
    return err;
}

void qv_hnsw_leaving_finish(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot)
{
    qv_slot out[QV_HNSW_M0_MAX];
    qv_hnsw_node_lock(h, slot);
    qv_hnsw_node_set_state(h, slot, QV_HNSW_NODE_UNLINKED);
    qv_slot up = qv_hnsw_parent_get(h, slot);
    uint32_t n = 0;
    for (uint32_t l = qv_hnsw_node_level(h, slot) + 1; l-- > 0;) {
        n = qv_hnsw_list_copy(h, slot, l, out);
        for (uint32_t i = 0; i < n; i++) {
            (void)qv_hnsw_in_drop(h, out[i], l);
            if (l > 0 || qv_hnsw_parent_get(h, out[i]) != slot)
                out[i] = QV_SLOT_NONE;
            else
                qv_hnsw_parent_set(h, out[i], QV_SLOT_NONE);
        }
    }
    qv_hnsw_node_unlock(h, slot);
    atomic_fetch_sub_explicit(&h->dead_count, 1, memory_order_acq_rel);
    for (uint32_t i = 0; i < n; i++) {
        if (out[i] == QV_SLOT_NONE || qv_hnsw_node_state(h, out[i]) != QV_HNSW_NODE_LINKED)
            continue;
        if (up != QV_SLOT_NONE && up != out[i] && qv_hnsw_link_adopt_if_room(h, up, out[i]))
            continue; /* to its grandparent */
        int err = qv_hnsw_link_attach(h, ctx, out[i]);
        QV_ASSERT(err == 0); /* the repair has grown the context to what this takes */
    }
}

/* One node's part of a batch: it leaves, and what is found near it is repaired. */
static int leave(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot)
{
    struct qv_hnsw_starved starved = {0};
    int err = begin_leaving(h, slot);
    if (err != 0)
        return err;
    move_entry(h, slot);
    for (uint32_t l = 0; l <= qv_hnsw_node_level(h, slot) && err == 0; l++)
        err = unlink_level(h, ctx, slot, l, &starved);
    qv_hnsw_leaving_feed(h, ctx, &starved);
    return err;
}

static int repair_part(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, const qv_slot *slots, uint32_t n,
                       uint32_t *done)
{
    qv_slot leaving[BATCH_MAX];
    struct qv_hnsw_starved starved = {0};
    int err = 0;
    uint32_t left = 0;
    for (uint32_t i = 0; i < n && err == 0; i++) {
        err = leave(h, ctx, slots[i]);
        if (err == 0)
            leaving[left++] = slots[i];
        else if (err == QV_ENOTFOUND)
            err = 0;
    }
    if (err == 0)
        err = replace_everywhere(h, ctx, leaving, left, &starved);
    qv_hnsw_leaving_feed(h, ctx, &starved);
    for (uint32_t i = 0; i < left && err == 0; i++) {
        qv_hnsw_leaving_finish(h, ctx, leaving[i]);
        ++*done;
    }
    return err;
}

int qv_hnsw_repair_many(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, const qv_slot *slots,
                        uint32_t n, uint32_t *done)
{
    *done = 0;
    /* First the memory that attaching must not fail for. */
    int err = qv_hnsw_cands_reserve(&ctx->pool, h->params.ef_construct);
    if (err == 0)
        err = qv_hnsw_walk_begin(h, ctx);
    for (uint32_t at = 0; at < n && err == 0; at += BATCH_MAX)
        err = repair_part(h, ctx, slots + at, n - at < BATCH_MAX ? n - at : BATCH_MAX, done);
    return err;
}

int qv_hnsw_repair(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot)
{
    uint32_t done;
    int err = qv_hnsw_repair_many(h, ctx, &slot, 1, &done);
    return err == 0 && done == 0 ? QV_ENOTFOUND : err;
}

int qv_hnsw_release(struct qv_hnsw *h, qv_slot slot)
{
    if (slot >= atomic_load_explicit(&h->usable_slots, memory_order_acquire) ||
        qv_hnsw_node_state(h, slot) != QV_HNSW_NODE_UNLINKED)
        return QV_ENOTFOUND;
    qv_hnsw_node_free_slot(h, slot);
    return 0;
}
