/* A feed: what a shard applies, in the order of its log, for one who follows it.
 *
 * A position is a place in this node's log. "At position p" has every change of the shard that ends
 * at or below p, and no other. What a pin holds is such a state (qv_shard_pin_position), and a feed
 * from there on gives the rest: so whoever took the pinned state, then every batch in order, is
 * equal to the shard.
 *
 * Changes are given as they were logged: a record is {type, configuration generation, version,
 * previous clock of its writer, position, bytes}. Purges are not among them. A feed of some keys
 * only gives the changes of those; its positions go on all the same.
 *
 * Memory is bounded: the newest changes are kept up to memory_bytes; who is behind them is served
 * from the log, which is held at what was confirmed last (qv_feed_confirm) for as long as the feed
 * is open. So a subscriber may be slow, or away. After a restart of this node the feed is opened
 * again at a position that the subscriber has, with struct qv_store_config.log_from at the lowest
 * of those.
 *
 * `required` (the mode *both*): a write is answered only when every required feed has confirmed it.
 * When that takes longer than its limit, `late` is called, once until it has caught up; the writes
 * go on waiting until the owner decides: qv_feed_require(false) answers them (it gave the
 * subscriber up), qv_feed_close with an error ends them with QV_EUNKNOWN.
 *
 * Batch bytes: docs/formats.md, "A batch of changes". Everything on the owner. */
#ifndef QV_SHARD_SHARD_FEED_H
#define QV_SHARD_SHARD_FEED_H

#include "core/key_set.h"
#include "shard/shard.h"

struct qv_feed;

struct qv_feed_config {
    qv_lsn from;                      /* the subscriber is at this position */
    size_t memory_bytes;              /* 0: 4 MiB */
    const struct qv_key_set *keys;    /* copied; NULL: all */
    void (*late)(void *arg, int err); /* QV_ETIMEOUT: see above. NULL: nobody asks */
    void *arg;
};

/* Gives. QV_ESTALE: the log does not reach back to `from`: the subscriber has to begin anew;
 * QV_EUNAVAILABLE: the shard is quarantined, dropped, or closing; QV_ENOMEM. The caller holds a
 * reference to the shard until the close. */
QV_MUST_USE int qv_feed_open(struct qv_shard *s, const struct qv_feed_config *config,
                             struct qv_feed **out, struct qv_errmsg *msg);
/* Ends it: the one who takes gets QV_ECANCELED; writes that wait for it are answered (err 0) or
 * end with QV_EUNKNOWN. Takes; NULL is fine. */
void qv_feed_close(struct qv_feed **f, int err);

/* One batch, asked for by who embeds this; valid until done. */
struct qv_feed_take {
    qv_lsn from;      /* the subscriber has everything up to here: at least what was confirmed */
    size_t bytes_max; /* about; one record may be larger */
    void (*done)(struct qv_feed_take *t, int err);
    void *arg;
    qv_lsn to;           /* set: everything above `from` and up to here is in the batch */
    uint32_t records;    /* set; 0: none of them concerns the keys */
    struct qv_buf bytes; /* the caller's, initialised; appended to */
    struct qv_errmsg msg;
};

/* done, later, once there is something behind `from`. One at a time. Errors: QV_ECANCELED (closed,
 * or qv_feed_stop_taking), QV_ECORRUPT, QV_EIO (the log can't be read), QV_EUNAVAILABLE. */
void qv_feed_take(struct qv_feed *f, struct qv_feed_take *t);
/* Ends a take that waits, with QV_ECANCELED (later); one that has come further ends with what it
 * has, be it only a position behind changes of other keys. */
void qv_feed_stop_taking(struct qv_feed *f);
/* The subscriber has everything up to `to`, durably. Less than before changes nothing. */
void qv_feed_confirm(struct qv_feed *f, qv_lsn to);
qv_lsn qv_feed_confirmed(const struct qv_feed *f);
/* From the next answer on. timeout_ns: after which `late` is called; 0: never. */
void qv_feed_require(struct qv_feed *f, bool required, uint64_t timeout_ns);

/* The shard is at this position: what is acknowledged is at or below it. */
qv_lsn qv_shard_position(const struct qv_shard *s);

#endif
