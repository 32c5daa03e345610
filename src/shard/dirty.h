/* The changes of one checkpoint's time: which points have a newer record than the payload store,
 * and which ids went away. Owner writes (records under the shard's exclusive lock); a checkpoint
 * job reads a frozen one. */
#ifndef QV_SHARD_DIRTY_H
#define QV_SHARD_DIRTY_H

#include "base/buf.h"
#include "shard/slot_table.h"

struct qv_record_chunk;

struct qv_dirty_entry {
    qv_slot slot;
    struct qv_record *record; /* the point's newest when the slot's record pointer is this one */
};

struct qv_dirty {
    struct qv_record_chunk *chunks;
    size_t bytes; /* memory it stands for */
    struct qv_dirty_entry *entries;
    size_t count, cap;
    struct qv_id *dead; /* ids that were not there (any more) at some time of it */
    size_t dead_count, dead_cap;
    uint64_t since_ns; /* monotonic, of its first change; 0 = empty */
};

static inline bool qv_dirty_empty(const struct qv_dirty *d)
{
    return d->count == 0 && d->dead_count == 0;
}
/* A copy of the record's bytes; valid until the dirty set is closed. */
struct qv_record *qv_dirty_add(struct qv_dirty *d, qv_slot slot, struct qv_bytes bytes);
void qv_dirty_add_dead(struct qv_dirty *d, const struct qv_id *id);
/* Moves everything of from (the older) into into; from is empty then. */
void qv_dirty_take(struct qv_dirty *into, struct qv_dirty *from);
void qv_dirty_close(struct qv_dirty *d); /* frees; empty and usable again */

#endif
