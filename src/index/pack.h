/* A packed graph: a read-only copy of a graph that is smaller, or faster, than one that changes.
 * It needs neither the graph nor the rows once it is made.
 *
 * What it changes. Nodes are numbered anew, those of high levels first and then in the order of a
 * walk over the links, so that neighbours share pages. Lists hold as many links as there are, in
 * 2, 3 or 4 bytes each, a byte of degree a node and four bytes a sixteen of them. In-counts,
 * parents, locks and spare cells are gone. The walk compares one kind of code, and the nearest it
 * found may be ranked by another:
 *
 *   walk   8 or 4 bits an element (simd/codes.h), of the row or of its projection on the axes
 *          along which the rows differ most;
 *   rank   8 or 4 bits an element of the row itself, or of further axes, which add to the walk's
 *          distance.
 *
 * Rows of whole numbers that span at most 255 are coded exactly in 8 bits: distances are then the
 * rows' own. A query is kept in 15 bits an element, whatever the rows are in.
 *
 * It can't be changed: what is inserted or removed later is not in it. Whoever keeps one beside a
 * graph that changes makes it anew.
 *
 * Threads: searches at once, each with a context of its own; make and destroy are the owner's. */
#ifndef QV_INDEX_PACK_H
#define QV_INDEX_PACK_H

#include "index/hnsw.h"

struct qv_pack;     /* a packed graph */
struct qv_pack_ctx; /* one thread's scratch, for any number of them */

enum qv_pack_bits { QV_PACK_BITS_NONE, QV_PACK_BITS_4, QV_PACK_BITS_8 };

struct qv_pack_params {
    enum qv_pack_bits walk; /* 4 or 8 */
    enum qv_pack_bits rank;
    uint32_t axes;      /* elements of the projection that is walked; 0: the row itself */
    uint32_t rank_axes; /* rank codes so many axes behind those; 0: the row itself */
    uint32_t rank_min;  /* candidates ranked: max of this and ef / 2, ef of a projection; 0 = 20 */
    bool wide;          /* 4 bytes a link */
};

enum qv_pack_goal { QV_PACK_COMPACT, QV_PACK_SPEED };

/* What serves a goal for the graph's rows. Looks at all of them. */
struct qv_pack_params qv_pack_choose(const struct qv_hnsw *h, enum qv_pack_goal goal);

/* Packs the live nodes of a graph at rest. QV_EINVAL (not l2, dot or cosine; params that don't go
 * together), QV_ENOMEM, QV_ENOTFOUND (no live node). Reads the rows. Gives *out. */
int qv_pack_make(const struct qv_hnsw *h, const struct qv_pack_params *params, struct qv_pack **out,
                 struct qv_errmsg *msg) QV_MUST_USE;
void qv_pack_destroy(struct qv_pack **p); /* NULL is fine; sets NULL */

struct qv_pack_info {
    struct qv_pack_params params; /* as made: what was 0 is set, what needs no rank has none */
    uint32_t nodes;
    uint64_t links;
    bool exact; /* distances are the rows' own */
    uint64_t walk_bytes, rank_bytes, link_bytes, all_bytes;
};
struct qv_pack_info qv_pack_info(const struct qv_pack *p);

struct qv_pack_ctx *qv_pack_ctx_create(void);       /* gives; never NULL */
void qv_pack_ctx_destroy(struct qv_pack_ctx **ctx); /* NULL is fine; sets NULL */
struct qv_hnsw_work qv_pack_ctx_work(const struct qv_pack_ctx *ctx);

/* hits: room for k; *n_out of them by (dist, slot) ascending, as qv_hnsw_search. row: dim elements
 * of the graph's dtype; borrowed. QV_EINVAL (k, ef), QV_ENOMEM. */
struct qv_pack_query {
    const void *row;
    uint32_t k, ef;
};
int qv_pack_search(const struct qv_pack *p, struct qv_pack_ctx *ctx,
                   const struct qv_pack_query *query, struct qv_hnsw_hit *hits,
                   uint32_t *n_out) QV_MUST_USE;

#endif
