/* The shard's points by slot: columns that never move, and the hash from id to slot.
 *
 *   per slot: id 8 B (16 for a UUID), version 12 B, generation 4 B, state 1 B, a pointer to the
 *   record while it is newer than the last checkpoint 8 B, CRC32C of the row 4 B a vector, one bit
 *   a vector "live and has it". Resident only as far as touched.
 *
 * Writers: the shard's owner only, under the shard's lock (exclusive) where noted. Readers on any
 * thread: the id hash and records under the lock (shared); columns without, inside an epoch, for a
 * slot that they know to be in use (its live bit was seen, or the hash gave it).
 *
 * Invariants:
 *  1. The hash holds exactly the live ids; two slots never hold the same live id.
 *  2. A slot's id, generation and rows don't change from its publication until it is freed.
 *  3. live bit of vector v set => the slot is live and its row of v is written. */
#ifndef QV_SHARD_SLOT_TABLE_H
#define QV_SHARD_SLOT_TABLE_H

#include "base/slot.h"
#include "base/vmem.h"
#include "core/id.h"
#include "core/version.h"

#include <stdatomic.h>

enum qv_slot_state {
    QV_SLOT_FREE,
    QV_SLOT_LIVE,
    QV_SLOT_DEAD /* waiting until nothing refers to it any more */
};

/* What the owner knows of a slot's way into the graphs, in the upper bits of the state. */
#define QV_SLOT_STATE_MASK 0x0Fu
#define QV_SLOT_INDEXED 0x10u /* it is in the graphs of the vectors it has */
#define QV_SLOT_UUID 0x20u    /* its id is a UUID */
#define QV_SLOT_PENDING 0x40u /* in the ring: an insert job will come to it */
#define QV_SLOT_DAMAGED                                                                            \
    0x80u /* a row of it failed its checksum: answered by nobody (any thread)                      \
           */

struct qv_record { /* of one point, as the payload store keeps it; in an arena of the owner's */
    uint32_t bytes;
    uint8_t data[];
};

/* What there is a vector: columns never move, the list of them is replaced where it is full. */
struct qv_slot_columns {
    uint32_t room;
    struct qv_slot_columns *next; /* outgrown ones */
    struct {
        struct qv_vmem row_crc;
        struct qv_vmem live; /* bits */
    } by_vector[];
};

#define QV_SLOT_ANY_VECTOR UINT32_MAX /* instead of a vector: live at all */

struct qv_slot_table {
    struct qv_vmem id_lo, id_hi, clock, writer, generation, state, record;
    struct qv_vmem live_any; /* bits: live at all */
    struct qv_vmem hidden;   /* bits: not for readers; mean something while the owner says so */
    _Atomic(struct qv_slot_columns *) columns; /* by vector */
    struct qv_slot_columns *outgrown;          /* smaller ones that readers may still look into */
    atomic_uint vectors;
    uint32_t max_slots;
    atomic_uint high; /* no slot at or above it was ever used */
    uint32_t live_count;
    atomic_uint_fast64_t live_shared; /* copy of live_count for other threads */

    qv_slot *hash;      /* open addressing; QV_SLOT_NONE = empty */
    uint8_t *hash_tags; /* a byte of the id's hash by place; 0 = empty */
    uint32_t hash_mask;
    uint32_t hash_used;

    qv_slot *free_slots; /* a stack */
    uint32_t free_count, free_cap;
};

QV_MUST_USE int qv_slot_table_init(struct qv_slot_table *t, uint32_t vectors, uint32_t max_slots);
void qv_slot_table_close(struct qv_slot_table *t);

/* Columns for one more vector, with index t->vectors, which no point has; readers see it from then
 * on. Owner. QV_ENOMEM. */
QV_MUST_USE int qv_slot_table_add_vector(struct qv_slot_table *t);
/* No point has the vector any more. Exclusive lock. */
void qv_slot_table_clear_vector(struct qv_slot_table *t, uint32_t vector);

/* Room for n more live points: hash and columns. Exclusive lock. QV_ENOMEM, QV_ELIMIT (max_slots).
 * After it, n calls of take and publish can't fail. */
QV_MUST_USE int qv_slot_table_reserve(struct qv_slot_table *t, uint32_t n);
/* A free slot, the lowest unused one when none was freed. */
qv_slot qv_slot_table_take(struct qv_slot_table *t);
/* Gives back a taken slot that was never published. */
void qv_slot_table_give_back(struct qv_slot_table *t, qv_slot slot);
/* Makes the slot the one of its id: columns first, then the hash, then the live bits (release).
 * present: bit v = has vector v. Returns the slot that held the id before (now dead, its live bits
 * cleared), or QV_SLOT_NONE. Exclusive lock. */
qv_slot qv_slot_table_publish(struct qv_slot_table *t, qv_slot slot, const struct qv_id *id,
                              struct qv_version version, const uint8_t *present);
/* Takes a live slot's id out of the hash, clears its live bits; it is dead then. Exclusive lock. */
void qv_slot_table_kill(struct qv_slot_table *t, qv_slot slot);
/* Dead -> free: its generation moves on, take may give it again. */
void qv_slot_table_free(struct qv_slot_table *t, qv_slot slot);

/* A hint that the id will be looked up soon. Shared lock, or the owner. */
void qv_slot_table_prefetch(const struct qv_slot_table *t, const struct qv_id *id);

/* Shared lock (or the owner). QV_SLOT_NONE when the id is not live. */
qv_slot qv_slot_table_find(const struct qv_slot_table *t, const struct qv_id *id);

struct qv_id qv_slot_table_id(const struct qv_slot_table *t, qv_slot slot);
struct qv_version qv_slot_table_version(const struct qv_slot_table *t, qv_slot slot);
void qv_slot_table_set_version(struct qv_slot_table *t, qv_slot slot, struct qv_version v);

static inline uint32_t qv_slot_table_high(const struct qv_slot_table *t)
{
    return atomic_load_explicit(&((struct qv_slot_table *)(uintptr_t)t)->high,
                                memory_order_acquire);
}
static inline uint32_t *qv_slot_table_generation(const struct qv_slot_table *t, qv_slot slot)
{
    return (uint32_t *)(void *)t->generation.base + slot;
}
static inline _Atomic uint8_t *qv_slot_table_state(const struct qv_slot_table *t, qv_slot slot)
{
    return (_Atomic uint8_t *)(void *)t->state.base + slot;
}
static inline struct qv_record **qv_slot_table_record(const struct qv_slot_table *t, qv_slot slot)
{
    return (struct qv_record **)(void *)t->record.base + slot;
}
static inline uint32_t *qv_slot_table_row_crc(const struct qv_slot_table *t, uint32_t vector,
                                              qv_slot slot)
{
    const struct qv_slot_columns *c = atomic_load_explicit(
        &((struct qv_slot_table *)(uintptr_t)t)->columns, memory_order_acquire);
    return (uint32_t *)(void *)c->by_vector[vector].row_crc.base + slot;
}
bool qv_slot_table_is_live(const struct qv_slot_table *t, uint32_t vector, qv_slot slot);
/* Copies the live bits of slots [0, n) into out ((n + 63) / 64 words). Any thread. */
void qv_slot_table_copy_live(const struct qv_slot_table *t, uint32_t vector, uint32_t n,
                             uint64_t *out);

/* Hidden slots: live, and not for readers. Set: under the exclusive lock. Any thread reads. */
void qv_slot_table_hide(struct qv_slot_table *t, qv_slot slot, bool hidden);
bool qv_slot_table_is_hidden(const struct qv_slot_table *t, qv_slot slot);
void qv_slot_table_set_hidden(struct qv_slot_table *t, const uint64_t *bits, uint32_t n);
/* Takes them from the bits of slots [0, n). */
void qv_slot_table_drop_hidden(const struct qv_slot_table *t, uint32_t n, uint64_t *bits);

/* For a load: sets a slot's columns as they were (state included) without touching hash or live
 * bits; then, once all are set, rebuild fills hash, live bits and free list. present_of gives the
 * presence bytes of a slot. Owner, before any reader. QV_ECORRUPT when two live slots hold one id.
 */
void qv_slot_table_restore(struct qv_slot_table *t, qv_slot slot, const struct qv_id *id,
                           struct qv_version version, uint32_t generation, bool live);
QV_MUST_USE int qv_slot_table_rebuild(struct qv_slot_table *t, uint32_t high,
                                      const uint8_t *(*present_of)(void *arg, qv_slot slot),
                                      void *arg, struct qv_errmsg *msg);

/* Invariants 1 and 3. QV_ECORRUPT with the reason. */
QV_MUST_USE int qv_slot_table_check(const struct qv_slot_table *t, struct qv_errmsg *msg);

#endif
