/* Private to src/index: a packed graph's memory.
 *
 * Nodes are places 0 .. n - 1. Those of level l are the places below levels[l].n. A level's lists
 * stand one behind the other; a node's begins at first[place / 16] plus the degrees of those of its
 * sixteen that stand before it. All of it, codes included, is one run of memory: huge pages then
 * waste one page's rest, not one of each array. */
#ifndef QV_INDEX_PACK_GRAPH_H
#define QV_INDEX_PACK_GRAPH_H

#include "base/vmem.h"
#include "index/hnsw_walk.h"
#include "index/pack.h"
#include "index/pack_axes.h"
#include "index/pack_space.h"

#define QV_PACK_GROUP 16u
#define QV_PACK_DEGREE_MAX 255u

struct qv_pack_lists {
    uint32_t n;       /* nodes of this level */
    uint32_t *first;  /* by group: links that stand before its lists */
    uint8_t *degrees; /* by node, rounded up to whole groups */
    uint8_t *ids;     /* link_bytes each; 4 bytes behind them are readable */
};

struct qv_pack {
    struct qv_pack_params params;
    enum qv_metric metric;
    enum qv_dtype dtype;
    uint32_t dim, n;
    uint32_t link_bytes; /* 2, 3 or 4 */
    uint64_t links;
    uint32_t level_max;
    struct qv_pack_lists levels[QV_HNSW_LEVEL_MAX + 1];
    struct qv_pack_space walk;
    struct qv_pack_space rank; /* base NULL: none */
    struct qv_pack_axes *axes; /* NULL: the row itself is walked */
    uint8_t *slots;            /* by place, link_bytes each */
    struct qv_vmem mem;
    uint64_t link_total_bytes;
};

struct qv_pack_ctx {
    uint8_t *visited; /* visited[place] == epoch: met by this walk */
    uint32_t visited_n;
    uint8_t epoch;
    struct qv_hnsw_cands pool;
    uint32_t ids[2 * QV_PACK_DEGREE_MAX + 1];
    float dists[2 * QV_PACK_DEGREE_MAX + 1];
    uint32_t *ranked; /* ef of them */
    float *ranked_dists;
    uint32_t ranked_cap;
    float *elements; /* of a query: twice the largest dim */
    int8_t *planes;  /* of both sides and the axes */
    uint32_t dim_cap;
    struct qv_pack_side walk_side, rank_side;
    struct qv_hnsw_work work;
};

static inline uint32_t qv_pack_id_get(const uint8_t *ids, uint32_t bytes, size_t at)
{
    uint32_t v; /* little-endian: the low bytes come first */
    memcpy(&v, ids + at * bytes, sizeof v);
    return bytes == 4 ? v : v & ((1u << (8 * bytes)) - 1u);
}

/* Sum of the first n < 16 of 16 bytes. */
static inline uint32_t qv_pack_sum_bytes(const uint8_t *p, uint32_t n)
{
    const uint64_t pairs = UINT64_C(0x00FF00FF00FF00FF);
    uint64_t a;
    uint64_t b;
    memcpy(&a, p, 8);
    memcpy(&b, p + 8, 8);
    a = n < 8 ? a & ((UINT64_C(1) << (8 * n)) - 1) : a;
    b = n < 8 ? 0 : b & ((UINT64_C(1) << (8 * (n - 8))) - 1);
    const uint64_t s = (a & pairs) + (a >> 8 & pairs) + (b & pairs) + (b >> 8 & pairs);
    return (uint32_t)(s * UINT64_C(0x0001000100010001) >> 48);
}

/* Where in ids a node's list begins. */
static inline size_t qv_pack_list_begin(const struct qv_pack_lists *l, uint32_t place)
{
    const uint32_t group = place / QV_PACK_GROUP;
    return (size_t)l->first[group] +
           qv_pack_sum_bytes(l->degrees + (size_t)group * QV_PACK_GROUP, place % QV_PACK_GROUP);
}

/* Row elements as finite floats, of unit length for cosine. */
void qv_pack_row_floats(const struct qv_pack *p, const void *row, float *out);

/* The order of the nodes: slots by place, into out (n of them). Sets p->levels[].n and level_max.
 * QV_ENOMEM. */
int qv_pack_order_find(const struct qv_hnsw *h, struct qv_pack *p, uint32_t *slots) QV_MUST_USE;

#endif
