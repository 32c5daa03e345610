/* The heap of topk.h: keys[0] is the greatest; the children of i are 2i + 1 and 2i + 2. */
#include "index/topk.h"

#include "base/qv_assert.h"

void qv_topk_init(struct qv_topk *t, uint64_t *keys, uint32_t k)
{
    QV_ASSERT(k >= 1 && keys != NULL);
    *t = (struct qv_topk){keys, k, 0};
}

/* Moves key down from the top of keys[0..n), whose top is free. */
static void sift_down(uint64_t *keys, uint32_t n, uint64_t key)
{
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n)
            break;
        if (child + 1 < n && keys[child + 1] > keys[child])
            ++child;
        if (keys[child] <= key)
            break;
        keys[at] = keys[child];
        at = child;
    }
    keys[at] = key;
}

static void sift_up(uint64_t *keys, uint32_t at, uint64_t key)
{
    while (at != 0) {
        const uint32_t parent = (at - 1) / 2;
        if (keys[parent] >= key)
            break;
        keys[at] = keys[parent];
        at = parent;
    }
    keys[at] = key;
}

void qv_topk_insert(struct qv_topk *t, uint64_t key)
{
    if (t->n < t->k)
        sift_up(t->keys, t->n++, key);
    else if (key < t->keys[0])
        sift_down(t->keys, t->n, key);
}

void qv_topk_merge(struct qv_topk *t, const struct qv_topk *other)
{
    QV_ASSERT(t != other);
    for (uint32_t i = 0; i < other->n; ++i)
        qv_topk_insert(t, other->keys[i]);
}

uint32_t qv_topk_finish(struct qv_topk *t, struct qv_topk_hit *hits)
{
    const uint32_t n = t->n;
    /* Heap sort's second half: the worst goes last. */
    for (uint32_t left = n; left != 0; --left) {
        const uint64_t worst = t->keys[0];
        sift_down(t->keys, left - 1, t->keys[left - 1]);
        hits[left - 1] = (struct qv_topk_hit){qv_topk_key_slot(worst), qv_topk_key_dist(worst)};
    }
    t->n = 0;
    return n;
}
