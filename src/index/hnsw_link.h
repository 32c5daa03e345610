/* Private to src/index: which links a node gets, and changing lists while others read them. */
#ifndef QV_INDEX_HNSW_LINK_H
#define QV_INDEX_HNSW_LINK_H

#include "index/hnsw_walk.h"

/* Chooses at most max of `near`, the candidates for a node's links by ascending distance to it,
 * into out (room for max; may be near's own), ascending. All of them when they are at most max.
 * Else the paper's algorithm 4: a candidate stays when it is nearer to the node than to everything
 * chosen before it, so that links point into different directions. Returns how many. */
uint32_t qv_hnsw_link_select(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                             const struct qv_hnsw_cands *near, uint32_t max, qv_hnsw_cand *out);

/* Links from -> to on a level, choosing anew among all links when from's list is full, parent links
 * excepted. On level 0 the first to link to a node becomes its parent. Does nothing when either is
 * leaving the graph. Clobbers ctx's neighbourhood arrays. */
void qv_hnsw_link_add(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot from, qv_slot to,
                      uint32_t level);

/* Appends to `from`'s list if there is room and the link is new; false when it did not. */
bool qv_hnsw_link_append(struct qv_hnsw *h, qv_slot from, qv_slot to, uint32_t level);

/* Gives a linked node that has no links of its own on level 0 some. Walks the graph; clobbers ctx.
 * QV_ENOMEM. */
int qv_hnsw_link_feed(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot) QV_MUST_USE;

/* Makes `from` the parent of `to`, through a link that is there or put into a free cell of from's
 * list on level 0, or else into the place of the last link there that is nobody's parent link. */
bool qv_hnsw_link_adopt(struct qv_hnsw *h, qv_slot from, qv_slot to);
/* The same, but nothing makes room. */
bool qv_hnsw_link_adopt_if_room(struct qv_hnsw *h, qv_slot parent, qv_slot slot);

/* Gives a linked node a parent near it on level 0, and links of its own if it has none; makes it
 * the entry where there is none. Walks the graph; clobbers ctx. QV_ENOMEM. */
int qv_hnsw_link_attach(struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot) QV_MUST_USE;

/* Makes a linked node the entry if there is none or a lower one. Takes top_lock. */
void qv_hnsw_entry_offer(struct qv_hnsw *h, qv_slot slot);

/* The highest linked node other than `but`, live ones first; QV_SLOT_NONE when there is none.
 * Looks at every node. */
qv_slot qv_hnsw_entry_highest(const struct qv_hnsw *h, qv_slot but);

static inline const uint8_t *qv_hnsw_code_row(const struct qv_hnsw *h, qv_slot slot)
{
    return qv_rows_at(&h->codes.rows, slot);
}

/* Distances of n slots to a slot's row as candidates, ascending, into out (room for n). */
void qv_hnsw_link_rank(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx, qv_slot slot,
                       const qv_slot *others, uint32_t n, qv_hnsw_cand *out);

#endif
