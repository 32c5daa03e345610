#include "shard/epoch.h"

#include "base/qv_assert.h"

void qv_epoch_init(struct qv_epoch *e)
{
    atomic_init(&e->now, 1);
    for (unsigned i = 0; i < QV_EPOCH_READERS_MAX; i++)
        atomic_init(&e->readers[i].entered, 0);
}

void qv_epoch_enter(struct qv_epoch *e, unsigned reader)
{
    QV_ASSERT(reader < QV_EPOCH_READERS_MAX);
    QV_ASSERT(atomic_load_explicit(&e->readers[reader].entered, memory_order_relaxed) == 0);
    /* seq_cst on both sides: either the owner sees this reader, or the reader sees everything the
     * owner unlinked before it looked. */
    atomic_store(&e->readers[reader].entered, atomic_load(&e->now));
    atomic_thread_fence(memory_order_seq_cst);
}

void qv_epoch_leave(struct qv_epoch *e, unsigned reader)
{
    QV_ASSERT(reader < QV_EPOCH_READERS_MAX);
    atomic_store_explicit(&e->readers[reader].entered, 0, memory_order_release);
}

uint64_t qv_epoch_advance(struct qv_epoch *e)
{
    return atomic_fetch_add(&e->now, 1);
}

uint64_t qv_epoch_oldest(const struct qv_epoch *e)
{
    uint64_t oldest = atomic_load(&e->now);
    for (unsigned i = 0; i < QV_EPOCH_READERS_MAX; i++) {
        uint64_t entered = atomic_load(&e->readers[i].entered);
        if (entered != 0 && entered < oldest)
            oldest = entered;
    }
    return oldest;
}
