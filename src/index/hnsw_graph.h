/* Private to src/index: the memory of a graph. Columns by slot, link lists, node locks, in-counts,
 * the entry point. Knows nothing of distances beyond keeping the kernels.
 *
 * Lists. A node has m0 cells on level 0 and m on each level above, all in columns that never move.
 * A list fills from the front and ends at the first QV_SLOT_NONE. Cells are atomic words: a reader
 * takes no lock and may, while a list is rewritten, see a link twice or miss one, never a slot that
 * was not linked from here. Writers of a list hold the node's lock. Nobody holds two node locks.
 *
 * In-counts. Each level of a node counts the links to it, so that a repair knows when it has found
 * them all, and pruning knows when it would cut a node off. A link is counted before it is stored
 * and uncounted after it is gone. Rules:
 *   1. A link to w is counted ("claimed") under w's lock, only while w is LINKED.
 *   2. w becomes UNLINKING under its lock: from then the count only falls.
 *   3. w becomes UNLINKED when all its counts are 0 and it is not the entry. From then the links
 *      that it still has, for searches that stand on it, are not counted.
 *
 * Parents. Pruning by distance alone cuts nodes and whole groups off, above all where many rows are
 * equal. So each node but the first has a parent: a node whose link to it on level 0 no pruning
 * drops. The parents form a tree from the entry point over all nodes, hence every node is
 * reachable.
 *   4. parent[y] = x is set under x's lock, when x's list gets its link to y; it changes only under
 *      x's lock, or when x leaves.
 * Strict while nodes are only inserted; repairs and concurrent moves of the entry keep it as far as
 * a search sees (hnsw_delete.c), check() counts what was lost, a load puts it right.
 *
 * Lock order: top_lock, then one node lock, or grow_lock. */
#ifndef QV_INDEX_HNSW_GRAPH_H
#define QV_INDEX_HNSW_GRAPH_H

#include "base/vmem.h"
#include "index/hnsw.h"
#include "simd/kernels.h"

#include <pthread.h>
#include <stdatomic.h>

#define QV_HNSW_LEVEL_MAX 15u

enum qv_hnsw_node_state { /* public states: LINKED is LIVE or DEAD by the live mark; UNLINKING is
                             DEAD */
                          QV_HNSW_NODE_FREE,
                          QV_HNSW_NODE_LINKING,
                          QV_HNSW_NODE_LINKED,
                          QV_HNSW_NODE_UNLINKING,
                          QV_HNSW_NODE_UNLINKED
};

struct qv_hnsw_node {
    _Atomic uint32_t word;       /* bit 0 lock; 1..3 state, guarded by the lock; 8..11 level */
    _Atomic uint32_t generation; /* written while LINKING */
    _Atomic uint32_t upper;      /* first of its level blocks; written while LINKING or FREE */
    _Atomic uint32_t in0;        /* links to it on level 0 */
    _Atomic uint32_t parent;     /* see above; QV_SLOT_NONE: none */
};
_Static_assert(sizeof(struct qv_hnsw_node) == 20, "a node's column entry");

/* What a walk compares: the caller's rows, or codes of ours. */
struct qv_hnsw_codes {
    struct qv_rows rows;
    size_t dim;
    size_t row_bytes;
    qv_dist_f dist;
    qv_dist_batch_f dist_batch;
};

struct qv_hnsw {
    struct qv_hnsw_params params;
    struct qv_hnsw_codes codes; /* what walks and links compare */
    struct qv_hnsw_codes rows;  /* the caller's; the same where there are no codes */
    struct qv_vmem codes_mem;   /* base NULL: there are none */
    struct qv_vmem fine_mem;    /* what codes leave out (simd/lvq.h); base NULL: not kept */
    _Atomic bool rounded;       /* some code is not exactly its row */

    /* columns; bases never move */
    _Atomic uint32_t *links0;   /* m0 cells a slot */
    struct qv_hnsw_node *nodes; /* one a slot */
    _Atomic uint64_t *live;     /* one bit a slot */
    _Atomic uint32_t *upper;    /* blocks of 1 in-count + m cells, one a level above 0 */
    struct qv_vmem links0_mem, nodes_mem, live_mem, upper_mem;

    _Atomic uint64_t entry;        /* qv_hnsw_entry_pack; written under top_lock */
    _Atomic uint32_t usable_slots; /* columns are usable up to here; under grow_lock */
    _Atomic uint32_t slot_bound;   /* above every slot ever inserted */
    _Atomic uint32_t live_count;
    _Atomic uint32_t dead_count; /* DEAD: live mark off, not yet UNLINKED */

    pthread_mutex_t top_lock; /* the entry point; held through an insert that raises it */

    pthread_mutex_t grow_lock;                  /* the rest of this struct */
    uint32_t upper_used;                        /* blocks ever taken from the front */
    uint32_t upper_blocks_max;                  /* blocks reserved */
    uint32_t upper_free[QV_HNSW_LEVEL_MAX + 1]; /* by level: first free run, chained */
};

/* ---- entry point: slot and level in one word ---- */

#define QV_HNSW_ENTRY_NONE UINT64_MAX

static inline uint64_t qv_hnsw_entry_pack(qv_slot slot, uint32_t level)
{
    return (uint64_t)level << 32 | slot;
}
static inline qv_slot qv_hnsw_entry_slot(uint64_t entry)
{
    return (qv_slot)entry;
}
static inline uint32_t qv_hnsw_entry_level(uint64_t entry)
{
    return (uint32_t)(entry >> 32);
}

/* ---- nodes ---- */

#define QV_HNSW_NODE_LOCK 1u
#define QV_HNSW_NODE_STATE_SHIFT 1
#define QV_HNSW_NODE_STATE_MASK (7u << QV_HNSW_NODE_STATE_SHIFT)
#define QV_HNSW_NODE_LEVEL_SHIFT 8
#define QV_HNSW_NODE_LEVEL_MASK (15u << QV_HNSW_NODE_LEVEL_SHIFT)

static inline uint32_t qv_hnsw_node_word(const struct qv_hnsw *h, qv_slot slot)
{
    return atomic_load_explicit(&h->nodes[slot].word, memory_order_acquire);
}
static inline enum qv_hnsw_node_state qv_hnsw_word_state(uint32_t word)
{
    return (enum qv_hnsw_node_state)((word & QV_HNSW_NODE_STATE_MASK) >> QV_HNSW_NODE_STATE_SHIFT);
}
static inline uint32_t qv_hnsw_word_level(uint32_t word)
{
    return (word & QV_HNSW_NODE_LEVEL_MASK) >> QV_HNSW_NODE_LEVEL_SHIFT;
}
static inline enum qv_hnsw_node_state qv_hnsw_node_state(const struct qv_hnsw *h, qv_slot slot)
{
    return qv_hnsw_word_state(qv_hnsw_node_word(h, slot));
}
static inline uint32_t qv_hnsw_node_level(const struct qv_hnsw *h, qv_slot slot)
{
    return qv_hnsw_word_level(qv_hnsw_node_word(h, slot));
}

/* May this node's lists be read and changed by others: is it in the graph? */
static inline bool qv_hnsw_state_in_graph(enum qv_hnsw_node_state s)
{
    return s == QV_HNSW_NODE_LINKED || s == QV_HNSW_NODE_UNLINKING;
}

/* A short spin, then yields. Held for one list rewrite at most. */
void qv_hnsw_node_lock(struct qv_hnsw *h, qv_slot slot);
void qv_hnsw_node_unlock(struct qv_hnsw *h, qv_slot slot);
void qv_hnsw_node_set_state(struct qv_hnsw *h, qv_slot slot,
                            enum qv_hnsw_node_state to); /* under its lock */

/* FREE -> LINKING with lists empty, counts 0. QV_EEXISTS, QV_ELIMIT, QV_ENOMEM. A level that no
 * block is left for becomes 0. Sets *level to what it got. */
int qv_hnsw_node_claim_slot(struct qv_hnsw *h, qv_slot slot, uint32_t generation,
                            uint32_t *level) QV_MUST_USE;
/* LINKING -> LINKED, live, counted. Its lists are complete. */
void qv_hnsw_node_enter(struct qv_hnsw *h, qv_slot slot);
/* Empties the lists and gives the level blocks back; any state -> FREE. Owner of the slot only. */
void qv_hnsw_node_free_slot(struct qv_hnsw *h, qv_slot slot);

/* The level of a node by seed, slot and generation: P(level >= l) = m^-l. Integers only, so that
 * every machine draws the same. */
uint32_t qv_hnsw_node_draw_level(const struct qv_hnsw_params *params, qv_slot slot,
                                 uint32_t generation);

static inline qv_slot qv_hnsw_parent_get(const struct qv_hnsw *h, qv_slot slot)
{
    return atomic_load_explicit(&h->nodes[slot].parent, memory_order_relaxed);
}
static inline void qv_hnsw_parent_set(struct qv_hnsw *h, qv_slot slot, qv_slot parent)
{
    atomic_store_explicit(&h->nodes[slot].parent, parent, memory_order_relaxed);
}
/* First come: the parent of a node that has none. */
static inline void qv_hnsw_parent_offer(struct qv_hnsw *h, qv_slot slot, qv_slot parent)
{
    uint32_t none = QV_SLOT_NONE;
    (void)atomic_compare_exchange_strong_explicit(&h->nodes[slot].parent, &none, parent,
                                                  memory_order_relaxed, memory_order_relaxed);
}

static inline bool qv_hnsw_live_get(const struct qv_hnsw *h, qv_slot slot)
{
    uint64_t w = atomic_load_explicit(&h->live[slot >> 6], memory_order_relaxed);
    return (w >> (slot & 63) & 1) != 0;
}
void qv_hnsw_live_set(struct qv_hnsw *h, qv_slot slot);
bool qv_hnsw_live_clear(struct qv_hnsw *h, qv_slot slot); /* was it set? */

/* ---- lists ---- */

static inline uint32_t qv_hnsw_list_cap(const struct qv_hnsw *h, uint32_t level)
{
    return level == 0 ? h->params.m0 : h->params.m;
}

static inline _Atomic uint32_t *qv_hnsw_upper_block(const struct qv_hnsw *h, qv_slot slot,
                                                    uint32_t level)
{
    uint32_t first = atomic_load_explicit(&h->nodes[slot].upper, memory_order_relaxed);
    return h->upper + ((size_t)first + level - 1) * (h->params.m + 1);
}

/* The cells of a node's list; the node has this level. */
static inline _Atomic uint32_t *qv_hnsw_list(const struct qv_hnsw *h, qv_slot slot, uint32_t level)
{
    if (level == 0)
        return h->links0 + (size_t)slot * h->params.m0;
    return qv_hnsw_upper_block(h, slot, level) + 1;
}

static inline _Atomic uint32_t *qv_hnsw_in_count(const struct qv_hnsw *h, qv_slot slot,
                                                 uint32_t level)
{
    return level == 0 ? &h->nodes[slot].in0 : qv_hnsw_upper_block(h, slot, level);
}

static inline qv_slot qv_hnsw_list_get(const _Atomic uint32_t *list, uint32_t at)
{
    /* acquire: what the linking thread wrote of the node (row, lists) is seen by who follows. */
    return atomic_load_explicit(&list[at], memory_order_acquire);
}
static inline void qv_hnsw_list_put(_Atomic uint32_t *list, uint32_t at, qv_slot slot)
{
    atomic_store_explicit(&list[at], slot, memory_order_release);
}

/* Copies a list; room for the level's capacity. Returns the number of links. */
uint32_t qv_hnsw_list_copy(const struct qv_hnsw *h, qv_slot slot, uint32_t level, qv_slot *out);
/* Cell of `to` in the list of `from`, or the capacity when it is not there. */
uint32_t qv_hnsw_list_find(const struct qv_hnsw *h, qv_slot from, uint32_t level, qv_slot to);
/* Takes cell `at` out of a list of n links (the last takes its place). Under the node's lock. */
void qv_hnsw_list_cut(_Atomic uint32_t *list, uint32_t at, uint32_t n);

/* Counts a link to slot, if it may still be linked to (rule 1). */
bool qv_hnsw_in_claim(struct qv_hnsw *h, qv_slot slot, uint32_t level);
/* Uncounts one; returns what is left. */
uint32_t qv_hnsw_in_drop(struct qv_hnsw *h, qv_slot slot, uint32_t level);
static inline uint32_t qv_hnsw_in_get(const struct qv_hnsw *h, qv_slot slot, uint32_t level)
{
    return atomic_load_explicit(qv_hnsw_in_count(h, slot, level), memory_order_acquire);
}

/* ---- whole graph ---- */

/* May rows be read? Not after qv_hnsw_drop_rows. */
static inline bool qv_hnsw_has_rows(const struct qv_hnsw *h)
{
    return h->rows.rows.base != NULL;
}

/* Makes the slot's code from its row, where there are codes. Before it is linked. */
void qv_hnsw_code_make(struct qv_hnsw *h, qv_slot slot);
/* Is this row one of f32 that are all whole numbers of 0 .. 255? Those are coded exactly. */
bool qv_hnsw_code_is_exact(const struct qv_hnsw *h, const void *row);

/* Makes the columns usable for `slot`. */
int qv_hnsw_graph_grow(struct qv_hnsw *h, qv_slot slot) QV_MUST_USE;

#endif
