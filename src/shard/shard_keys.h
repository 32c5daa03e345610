/* Which keys of its collection a shard answers for, takes writes of, and keeps.
 *
 *   reads   what searches, counts, scrolls, facets and point reads see; the rest is hidden from
 *           them, though it may be stored: what a shard is giving away until the last writes are
 *           through, what it is given before it is whole
 *   writes  what requests may change here: an id outside is refused with QV_ESTALE, a filter meets
 *           only these
 *   keep    what is stored. All else is *purged*: its rows, records and tombstones go, here and
 *           only here. A purge is no change: it has no version, is not logged, leaves no tombstone,
 *           and no feed tells it (a delete would reach those who own the points now)
 *
 * They are configuration: the owner of the shard gives them at the open (struct qv_shard_spec) and
 * whenever they change; nothing here stores them. A change is seen by readers at one moment. A read
 * that was under way meanwhile ends with QV_ESTALE, since it may have met both.
 *
 * Purging goes on in the background, in slices, and after a restart begins anew with what is still
 * there. It is durable with the next checkpoint; before that a replay of the log brings the points
 * back and they are purged again. So keys that were purged may be kept again only when the purge is
 * durable: otherwise the log would bring back what another shard has deleted since.
 *
 * Cost: where reads are everything (a shard that is whole) nothing is asked of a read but that.
 * Otherwise a bit a slot is taken from the live ones, and searches go by that bitmap like those
 * under a filter. A change of `reads` looks at each live id once, on the owner (20 ns each).
 *
 * On the owner, but for what says otherwise. */
#ifndef QV_SHARD_SHARD_KEYS_H
#define QV_SHARD_SHARD_KEYS_H

#include "core/key_set.h"
#include "shard/shard.h"

struct qv_shard_keys {
    struct qv_key_set reads, writes, keep; /* reads and writes within keep */
};

/* From now on; copied. Waiting writes are judged by them when their turn comes. QV_EBUSY: keep
 * grows while a purge is not durable: a checkpoint was asked for, try again. QV_EINVAL: not within
 * keep. QV_ENOMEM. */
QV_MUST_USE int qv_shard_set_keys(struct qv_shard *s, const struct qv_shard_keys *keys,
                                  struct qv_errmsg *msg);

struct qv_shard_purge {
    bool running;    /* points are left to purge */
    bool durable;    /* nothing is left, and no replay brings anything back */
    uint64_t purged; /* points and tombstones since the open */
};
void qv_shard_purge_state(const struct qv_shard *s, struct qv_shard_purge *out);

/* Grows with every change of what reads see. Any thread. */
uint64_t qv_shard_keys_seq(const struct qv_shard *s);

#endif
