#include "index/hnsw_graph.h"

#include "base/mem.h"
#include "base/qv_assert.h"

struct checking {
    const struct qv_hnsw *h;
    struct qv_errmsg *msg;
    uint32_t bound;
    uint32_t *in0;       /* links counted to each slot on level 0 */
    uint32_t *in_upper;  /* and to each level block */
    uint32_t *last_from; /* who linked to a slot last: finds the second link of one list */
    struct qv_hnsw_check_report report;
};

static bool counts(enum qv_hnsw_node_state s)
{
    return qv_hnsw_state_in_graph(s);
}

static size_t block_of(const struct qv_hnsw *h, qv_slot slot, uint32_t level)
{
    return atomic_load_explicit(&h->nodes[slot].upper, memory_order_relaxed) + level - 1;
}

static int check_list(struct checking *c, qv_slot slot, uint32_t level)
{
    const struct qv_hnsw *h = c->h;
    const _Atomic uint32_t *list = qv_hnsw_list(h, slot, level);
    const uint32_t cap = qv_hnsw_list_cap(h, level);
    bool ended = false;
    for (uint32_t i = 0; i < cap; i++) {
        qv_slot to = qv_hnsw_list_get(list, i);
        if (to == QV_SLOT_NONE) {
            ended = true;
            continue;
        }
        if (ended)
            return QV_CORRUPT(c->msg, "slot %u level %u: a link behind the list's end", slot,
                              level);
        if (to >= c->bound)
            return QV_CORRUPT(c->msg, "slot %u level %u: link to %u, out of range", slot, level,
                              to);
        if (to == slot)
            return QV_CORRUPT(c->msg, "slot %u level %u: link to itself", slot, level);
        if (c->last_from[to] == slot)
            return QV_CORRUPT(c->msg, "slot %u level %u: two links to %u", slot, level, to);
        c->last_from[to] = slot;
        uint32_t word = qv_hnsw_node_word(h, to);
        if (!counts(qv_hnsw_word_state(word)))
            return QV_CORRUPT(c->msg, "slot %u level %u: link to %u, which is not in the graph",
                              slot, level, to);
        if (qv_hnsw_word_level(word) < level)
            return QV_CORRUPT(c->msg, "slot %u level %u: link to %u, which ends at level %u", slot,
                              level, to, qv_hnsw_word_level(word));
        if (level == 0)
            c->in0[to]++;
        else
            c->in_upper[block_of(h, to, level)]++;
    }
    for (uint32_t i = 0; i < cap; i++) {
        qv_slot to = qv_hnsw_list_get(list, i);
        if (to == QV_SLOT_NONE)
            break;
        c->last_from[to] = QV_SLOT_NONE;
        if (level == 0)
            c->report.links0++;
        else
            c->report.links_upper++;
    }
    return 0;
}

static int check_node(struct checking *c, qv_slot slot, uint32_t *live, uint32_t *dead)
{
    const struct qv_hnsw *h = c->h;
    uint32_t word = qv_hnsw_node_word(h, slot);
    enum qv_hnsw_node_state state = qv_hnsw_word_state(word);
    bool alive = qv_hnsw_live_get(h, slot);
    if ((word & QV_HNSW_NODE_LOCK) != 0)
        return QV_CORRUPT(c->msg, "slot %u is locked, the graph not at rest", slot);
    if (state > QV_HNSW_NODE_UNLINKED || state == QV_HNSW_NODE_LINKING)
        return QV_CORRUPT(c->msg, "slot %u: state %u in a graph at rest", slot, (unsigned)state);
    if (alive && state != QV_HNSW_NODE_LINKED)
        return QV_CORRUPT(c->msg, "slot %u is marked live in state %u", slot, (unsigned)state);
    if (!counts(state))
        return 0;
    c->report.nodes++;
    *live += alive ? 1 : 0;
    *dead += alive ? 0 : 1;
    for (uint32_t l = 0; l <= qv_hnsw_word_level(word); l++) {
        int err = 0;
        if (l > 0 && block_of(h, slot, l) >= h->upper_used)
            return QV_CORRUPT(c->msg, "slot %u: level block out of range", slot);
        err = check_list(c, slot, l);
        if (err != 0)
            return err;
    }
    return 0;
}

static int check_in_counts(struct checking *c)
{
    const struct qv_hnsw *h = c->h;
    for (qv_slot s = 0; s < c->bound; s++) {
        uint32_t word = qv_hnsw_node_word(h, s);
        if (qv_hnsw_word_state(word) == QV_HNSW_NODE_FREE)
            continue;
        for (uint32_t l = 0; l <= qv_hnsw_word_level(word); l++) {
            uint32_t have = l == 0 ? c->in0[s] : c->in_upper[block_of(h, s, l)];
            if (have != qv_hnsw_in_get(h, s, l))
                return QV_CORRUPT(c->msg, "slot %u level %u: %u links to it, counted %u", s, l,
                                  have, qv_hnsw_in_get(h, s, l));
        }
    }
    return 0;
}

static int check_entry(struct checking *c)
{
    const struct qv_hnsw *h = c->h;
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
    if (entry == QV_HNSW_ENTRY_NONE)
        return c->report.nodes == 0
                   ? 0
                   : QV_CORRUPT(c->msg, "no entry point, but %u nodes", c->report.nodes);
    qv_slot slot = qv_hnsw_entry_slot(entry);
    if (slot >= c->bound || !counts(qv_hnsw_node_state(h, slot)))
        return QV_CORRUPT(c->msg, "the entry point %u is not in the graph", slot);
    if (qv_hnsw_node_level(h, slot) != qv_hnsw_entry_level(entry))
        return QV_CORRUPT(c->msg, "the entry point's level is %u, its node's %u",
                          qv_hnsw_entry_level(entry), qv_hnsw_node_level(h, slot));
    for (qv_slot s = 0; s < c->bound; s++) {
        uint32_t word = qv_hnsw_node_word(h, s);
        if (counts(qv_hnsw_word_state(word)) &&
            qv_hnsw_word_level(word) > qv_hnsw_entry_level(entry))
            return QV_CORRUPT(c->msg, "slot %u is on level %u, above the entry point's %u", s,
                              qv_hnsw_word_level(word), qv_hnsw_entry_level(entry));
    }
    return 0;
}

/* Live nodes that no path from the entry leads to. */
static int count_unreachable(struct checking *c)
{
    const struct qv_hnsw *h = c->h;
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
    if (entry == QV_HNSW_ENTRY_NONE)
        return 0;
    uint32_t *queue = qv_mem_try_alloc((size_t)c->bound * sizeof *queue);
    if (queue == NULL)
        return QV_ENOMEM;
    uint32_t *seen = c->last_from; /* all QV_SLOT_NONE by now */
    uint32_t n = 0;
    queue[n++] = qv_hnsw_entry_slot(entry);
    seen[queue[0]] = 0;
    for (uint32_t at = 0; at < n; at++) {
        const _Atomic uint32_t *list = qv_hnsw_list(h, queue[at], 0);
        for (uint32_t i = 0; i < h->params.m0; i++) {
            qv_slot to = qv_hnsw_list_get(list, i);
            if (to == QV_SLOT_NONE)
                break;
            if (seen[to] == QV_SLOT_NONE) {
                seen[to] = 0;
                queue[n++] = to;
            }
        }
    }
    for (qv_slot s = 0; s < c->bound; s++)
        if (qv_hnsw_live_get(h, s) && seen[s] == QV_SLOT_NONE)
            c->report.unreachable++;
    qv_mem_free(queue);
    return 0;
}

static int check_all(struct checking *c)
{
    uint32_t live = 0;
    uint32_t dead = 0;
    for (qv_slot s = 0; s < c->bound; s++) {
        int err = check_node(c, s, &live, &dead);
        if (err != 0)
            return err;
    }
    struct qv_hnsw_stats stats = qv_hnsw_stats(c->h);
    if (live != stats.live || dead != stats.dead)
        return QV_CORRUPT(c->msg, "%u live and %u dead nodes, counted %u and %u", live, dead,
                          stats.live, stats.dead);
    int err = check_in_counts(c);
    if (err == 0)
        err = check_entry(c);
    if (err == 0)
        err = count_unreachable(c);
    return err;
}

int qv_hnsw_check(const struct qv_hnsw *h, struct qv_hnsw_check_report *report,
                  struct qv_errmsg *msg)
{
    struct checking c = {.h = h, .msg = msg};
    c.bound = atomic_load_explicit(&h->slot_bound, memory_order_acquire);
    c.in0 = qv_mem_try_calloc((size_t)c.bound + 1, sizeof *c.in0);
    c.last_from = qv_mem_try_alloc(((size_t)c.bound + 1) * sizeof *c.last_from);
    c.in_upper = qv_mem_try_calloc((size_t)h->upper_used + 1, sizeof *c.in_upper);
    int err = QV_ENOMEM;
    if (c.in0 != NULL && c.last_from != NULL && c.in_upper != NULL) {
        for (uint32_t i = 0; i < c.bound; i++)
            c.last_from[i] = QV_SLOT_NONE;
        err = check_all(&c);
    }
    qv_mem_free(c.in0);
    qv_mem_free(c.last_from);
    qv_mem_free(c.in_upper);
    if (report != NULL)
        *report = c.report;
    return err;
}
