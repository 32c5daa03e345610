/* The k nearest of a stream of (distance, slot), bounded: a binary max-heap of 64-bit keys.
 *
 * A key sorts as (distance, slot): the distance's bits made monotonic above the slot. NaN sorts
 * last, -0 is 0. One integer compare orders two candidates, ties included, so a result does not
 * depend on the order in which candidates came.
 *
 * Rejected: an array in order with insertion from the end. ns a candidate over 60,000 of them, heap
 * (final sort included) against that, in random order: k 10 1.1/1.1, k 100 1.4/1.6, k 1000 5.8/19;
 * each nearer than the last: k 10 6.2/7.2, k 100 24/53, k 1000 44/502 (bench/bench_flat.c).
 *
 * Not locked: one thread at a time. */
#ifndef QV_INDEX_TOPK_H
#define QV_INDEX_TOPK_H

#include "base/err.h"
#include "base/slot.h"

#include <stdint.h>
#include <string.h>

struct qv_topk_hit {
    qv_slot slot;
    float dist;
};

struct qv_topk {
    uint64_t *keys; /* borrowed; room for k; keys[0] is the worst kept */
    uint32_t k;     /* >= 1 */
    uint32_t n;     /* <= k */
};

static inline uint64_t qv_topk_key(float dist, qv_slot slot)
{
    uint32_t bits;
    dist += 0.0f; /* -0 becomes 0 */
    memcpy(&bits, &dist, sizeof bits);
    if (dist != dist)
        bits = 0x7FFFFFFFu;
    bits = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
    return (uint64_t)bits << 32 | slot;
}

static inline qv_slot qv_topk_key_slot(uint64_t key)
{
    return (qv_slot)key;
}

static inline float qv_topk_key_dist(uint64_t key)
{
    uint32_t bits = (uint32_t)(key >> 32);
    float dist;
    bits = (bits & 0x80000000u) != 0 ? bits & 0x7FFFFFFFu : ~bits;
    memcpy(&dist, &bits, sizeof dist);
    return dist;
}

/* keys: room for k, borrowed until the last use of t. */
void qv_topk_init(struct qv_topk *t, uint64_t *keys, uint32_t k);

void qv_topk_insert(struct qv_topk *t, uint64_t key); /* what qv_topk_push does when it keeps */

/* A key is kept only below this: the worst of k, or all while there are fewer. */
static inline uint64_t qv_topk_bound(const struct qv_topk *t)
{
    return t->n < t->k ? UINT64_MAX : t->keys[0];
}

/* O(1) for what is too far, O(log k) for what is kept. A slot must not be pushed twice. */
static inline void qv_topk_push(struct qv_topk *t, float dist, qv_slot slot)
{
    const uint64_t key = qv_topk_key(dist, slot);
    if (key < qv_topk_bound(t))
        qv_topk_insert(t, key);
}

/* Adds what another one kept (parts of one scan). */
void qv_topk_merge(struct qv_topk *t, const struct qv_topk *other);

/* Writes the hits by (distance, slot), nearest first; hits has room for k. Returns how many. t is
 * empty afterwards. */
uint32_t qv_topk_finish(struct qv_topk *t, struct qv_topk_hit *hits);

#endif
