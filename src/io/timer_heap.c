#include "io/timer_heap.h"

#include "base/mem.h"
#include "base/qv_assert.h"

static bool before(const struct qv_timer *a, const struct qv_timer *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void place(struct qv_timer_heap *h, uint32_t i, struct qv_timer *t)
{
    h->v[i] = t;
    t->heap_index = i + 1;
}

static void sift(struct qv_timer_heap *h, uint32_t i, struct qv_timer *t)
{
    while (i > 0 && before(t, h->v[(i - 1) / 2])) {
        place(h, i, h->v[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (;;) {
        uint32_t c = 2 * i + 1;
        if (c >= h->n)
            break;
        if (c + 1 < h->n && before(h->v[c + 1], h->v[c]))
            c++;
        if (!before(h->v[c], t))
            break;
        place(h, i, h->v[c]);
        i = c;
    }
    place(h, i, t);
}

void qv_timer_heap_start(struct qv_timer_heap *h, struct qv_timer *t, uint64_t due_ns)
{
    QV_ASSERT(t->run != NULL);
    qv_timer_heap_stop(h, t);
    t->due_ns = due_ns;
    t->order = h->order++;
    if (h->n == h->cap) {
        h->cap = h->cap == 0 ? 16 : h->cap * 2;
        h->v = qv_mem_realloc(h->v, h->cap * sizeof(struct qv_timer *));
    }
    h->n++;
    sift(h, h->n - 1, t);
}

void qv_timer_heap_stop(struct qv_timer_heap *h, struct qv_timer *t)
{
    if (t->heap_index == 0)
        return;
    uint32_t i = t->heap_index - 1;
    QV_ASSERT(i < h->n && h->v[i] == t);
    t->heap_index = 0;
    struct qv_timer *last = h->v[--h->n];
    if (last != t)
        sift(h, i, last);
}

void qv_timer_heap_close(struct qv_timer_heap *h)
{
    for (uint32_t i = 0; i < h->n; i++)
        h->v[i]->heap_index = 0;
    qv_mem_free(h->v);
    *h = (struct qv_timer_heap){0};
}
