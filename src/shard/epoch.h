/* Epochs: how the owner of slots knows that no search can still stand on one.
 *
 * A reader enters before it looks at anything and leaves when it has copied what it answers. What
 * the owner unlinked at epoch e is free for reuse once every reader that was inside then has left:
 * once qv_epoch_oldest > e. Readers never wait and never fail. */
#ifndef QV_SHARD_EPOCH_H
#define QV_SHARD_EPOCH_H

#include <stdatomic.h>
#include <stdint.h>

#define QV_EPOCH_READERS_MAX 130 /* compute workers, plus two for callers outside the pool */

struct qv_epoch {
    atomic_uint_fast64_t now; /* starts at 1; moved by the owner */
    struct { /* a cache line apart, wherever the first begins: an aligned type would bind malloc */
        atomic_uint_fast64_t entered; /* 0 = outside */
        uint64_t note;                /* the reader's own, while it is inside */
        char apart[64 - sizeof(atomic_uint_fast64_t) - sizeof(uint64_t)];
    } readers[QV_EPOCH_READERS_MAX];
};

void qv_epoch_init(struct qv_epoch *e);
/* reader < QV_EPOCH_READERS_MAX, used by one thread at a time, not nested. */
void qv_epoch_enter(struct qv_epoch *e, unsigned reader);
void qv_epoch_leave(struct qv_epoch *e, unsigned reader);
/* Owner: the tag for what was unlinked just now, and a new epoch for readers to come. */
uint64_t qv_epoch_advance(struct qv_epoch *e);
/* Owner: everything tagged below this is out of every reader's sight. */
uint64_t qv_epoch_oldest(const struct qv_epoch *e);

#endif
