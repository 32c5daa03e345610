/* A binary heap of started timers, earliest first; equal times in the order they were started. */
#ifndef QV_IO_TIMER_HEAP_H
#define QV_IO_TIMER_HEAP_H

#include "core/env.h"

struct qv_timer_heap {
    struct qv_timer **v; /* v[0] is the earliest */
    uint32_t n, cap;
    uint64_t order;
};

void qv_timer_heap_close(struct qv_timer_heap *h); /* timers still in it become stopped */
/* Starts (or moves) t. */
void qv_timer_heap_start(struct qv_timer_heap *h, struct qv_timer *t, uint64_t due_ns);
void qv_timer_heap_stop(struct qv_timer_heap *h, struct qv_timer *t); /* fine when not started */
static inline struct qv_timer *qv_timer_heap_first(const struct qv_timer_heap *h)
{
    return h->n > 0 ? h->v[0] : NULL;
}

#endif
