/* The operation log: one per node and disk, shared by its shards, so that one sync makes the
 * changes of all of them durable. Formats, invariants and the tail rule: storage/log_format.h and
 * docs/formats.md; the algorithm: storage/README.md.
 *
 * A log sequence number (lsn) is a position in one endless stream of bytes. It only grows, a record
 * keeps its lsn for ever (also when its block had to move to another segment), and "everything
 * below lsn" is what a checkpoint names and what release takes.
 *
 * Life: open (replays), then append / commit / release, then close. Everything here is called on
 * the owner thread of env; writing and syncing run as QV_JOB_LOG jobs. At open the disk is used
 * directly.
 *
 * What append promises nothing about until commit's callback says so: an appended record may be in
 * the log after a crash or not. Records become durable in lsn order, so that a hole is never seen.
 */
#ifndef QV_STORAGE_LOG_H
#define QV_STORAGE_LOG_H

#include "base/buf.h"
#include "core/env.h"
#include "core/limits.h"
#include "core/version.h"

typedef uint64_t qv_lsn;

#define QV_LOG_PARTS_MAX 16
#define QV_LOG_FROM_OLDEST UINT64_MAX /* replay_from: whatever is still there */

struct qv_log;

/* What the log knows of a change; the change's own bytes are opaque to it. */
struct qv_log_record {
    uint32_t shard;      /* the node's number for it; never used again */
    uint32_t generation; /* of the shard's configuration, which says how to read the change */
    struct qv_version version;
    uint64_t prev_clock; /* clock of the same writer's previous change in this shard; 0 = none */
    uint8_t type;        /* the shard's kind of change */
};

/* A record of the log during replay: everything borrowed for the call. lsn_end: the position behind
 * it; a state that has applied it and all before it is "at lsn_end". A result other than 0 ends the
 * open with that result. */
typedef int (*qv_log_replay_f)(void *arg, const struct qv_log_record *rec, struct qv_bytes change,
                               qv_lsn lsn, qv_lsn lsn_end);

/* A place that was durable once and can't be read: bit rot, not a torn tail. */
struct qv_log_damage {
    const char *file; /* borrowed for the call */
    uint64_t offset;  /* in the file */
    qv_lsn from, to;  /* records in [from, to) are lost; to = 0: unknown, up to the log's end */
    const char *what;
};
/* 0: the caller has put aside (quarantined) every shard that may have records there: go on behind
 * it. Anything else ends the open with that result. Nothing is ever truncated. */
typedef int (*qv_log_damage_f)(void *arg, const struct qv_log_damage *damage);

struct qv_log_config {
    uint64_t segment_bytes; /* 0: 64 MiB; a multiple of 4096 */
    size_t group_bytes;     /* buffer of one group commit; 0: 4 MiB */
    unsigned group_count;   /* buffers: one being written, the rest pending; 0: 4; at least 2 */
    unsigned spare_max;     /* released segments kept for reuse; 0: 4 */
    qv_lsn replay_from;     /* every record at or above it is replayed */
    qv_lsn durable_to;      /* the newest position any checkpoint names: below it all was durable */
    qv_log_replay_f on_record; /* may be NULL */
    qv_log_damage_f on_damage; /* NULL: damage ends the open with QV_ECORRUPT */
    void *arg;
};

/* Opens or creates the log in dir (made when missing), replays it, moves what isn't known to be
 * durable into a fresh segment and syncs that. QV_ECORRUPT names file and offset. Blocks. env is
 * borrowed. Gives; end with qv_log_close. */
QV_MUST_USE int qv_log_open(struct qv_env *env, const char *dir, const struct qv_log_config *config,
                            struct qv_log **out, struct qv_errmsg *msg);

/* Adds a record to the open group: one copy of its parts, no I/O. *out (may be NULL) is the
 * position BEHIND the record: what to wait for, and "applied up to". QV_EBUSY: all buffers are
 * full, try again after the next completion; QV_ETOOBIG; or the error that stopped the log. The sum
 * of the parts is at most QV_RECORD_BYTES_MAX. */
QV_MUST_USE int qv_log_append(struct qv_log *log, const struct qv_log_record *rec,
                              const struct qv_bytes *parts, size_t part_count, qv_lsn *out);

/* One who waits; embedded in the caller's struct, valid until done ran. err 0: everything appended
 * before the commit is durable. QV_EUNKNOWN: its write was begun and failed, so the last record
 * appended before the commit may be there after a restart, or not. Any other error: that record was
 * never written, and never will be. done is called in commit order, never from inside
 * qv_log_commit. */
struct qv_log_waiter {
    void (*done)(struct qv_log_waiter *w, int err);
    void *arg;
    qv_lsn lsn;                 /* set by commit: durable up to here when done says 0 */
    struct qv_log_waiter *next; /* log's */
};
/* Makes everything appended so far durable and then calls w->done. Waiters that come while a write
 * is in flight share the next one. Never fails: on a stopped log done gets the error. */
void qv_log_commit(struct qv_log *log, struct qv_log_waiter *w);

/* Called whenever buffers became free again after an append gave QV_EBUSY. One listener. */
void qv_log_on_room(struct qv_log *log, void (*fn)(void *arg), void *arg);

/* Nothing below lsn is needed any more: the checkpoints that say so ARE DURABLE. Segments wholly
 * below it are recycled in the background. A smaller lsn than before changes nothing. */
void qv_log_release(struct qv_log *log, qv_lsn lsn);

/* The node's clock may run up to `clock`: durable with the next commit, never goes back. What open
 * found is qv_log_clock. */
void qv_log_reserve_clock(struct qv_log *log, uint64_t clock);
uint64_t
qv_log_clock(const struct qv_log *log); /* reserved; durable after a commit that followed */

qv_lsn qv_log_end(const struct qv_log *log);     /* behind the last appended record */
qv_lsn qv_log_durable(const struct qv_log *log); /* everything below is on disk */

/* The error that stopped writing (both the segment and its successor failed, or the disk is full),
 * or 0. Reads of state are not affected. */
int qv_log_error(const struct qv_log *log);
/* What failed, with its file and the system's reason; "" while it writes. Valid until the next call
 * on the log. */
const char *qv_log_reason(const struct qv_log *log);
/* Asks a stopped log to try a new segment, in the background: qv_log_error is 0 again once that is
 * allocated, written, synced and named. Nothing happens while a try is under way, or when the log
 * writes or closes. The caller decides how often. */
void qv_log_resume(struct qv_log *log);
/* Writes an empty block behind records that no later block testifies for (log_internal.h, invariant
 * 5), if nothing is being written: from then on a bad block among them is damage, never taken for a
 * torn end. Costs one small write and sync. */
void qv_log_settle(struct qv_log *log);

/* Closed segments of a log in use, read in the background for bits that flipped. The owner takes
 * one by one, a job reads it step by step, and the owner asks whether what was found counts. */
struct qv_log_verify {
    uint64_t seq;   /* of the segment */
    bool done;      /* nothing of it is left to read */
    uint64_t bytes; /* read so far */
    /* log_verify.c's */
    qv_lsn end, lsn;
    uint64_t offset, salt, segment_bytes;
    uint32_t prev_crc;
    char path[4096];
};
/* The oldest closed segment behind number `after` (0: of all) that a start would read; false: there
 * is none. Owner. */
bool qv_log_verify_next(const struct qv_log *log, uint64_t after, struct qv_log_verify *out);
/* Reads about bytes_max more. QV_ECORRUPT names file and offset. A job; blocks. */
QV_MUST_USE int qv_log_verify_step(struct qv_disk *disk, struct qv_log_verify *v,
                                   uint64_t bytes_max, struct qv_errmsg *msg);
/* Is the segment still one that a start would read? If not, what was found in it is nothing. Owner.
 */
bool qv_log_verify_counts(const struct qv_log *log, const struct qv_log_verify *v);

/* Records of one shard out of a log in use, for one who is behind: what it lacks is read back. The
 * owner finds the segment, a job reads in it; the caller holds the log (does not release it) at
 * `from`. Zeroed, then shard, from and to set, is its start; it remembers where it was. */
struct qv_log_read {
    uint32_t shard;
    qv_lsn from, to; /* wanted: records whose end is in (from, to]; step moves from */
    /* log_read.c's */
    uint64_t seq, at_seq; /* the segment to read; the one that the place below is in */
    qv_lsn end, lsn;      /* of what the segment holds; of the block at offset */
    uint64_t offset, salt, segment_bytes;
    char path[4096];
};
/* Finds where to go on from r->from; r->to must be durable. QV_EEOF: nothing is between;
 * QV_ENOTFOUND: the log has it not any more. Owner. */
QV_MUST_USE int qv_log_read_find(const struct qv_log *log, struct qv_log_read *r);
/* One record; borrowed for the call. 0: on; QV_EBUSY: stop before this one, it is given again. */
typedef int (*qv_log_read_f)(void *arg, const struct qv_log_record *rec, struct qv_bytes change,
                             qv_lsn lsn_end);
/* Reads about bytes_max of the segment that was found and gives what is wanted, in order; r->from
 * is behind it then. A job; blocks. QV_ECORRUPT names file and offset; or fn's. */
QV_MUST_USE int qv_log_read_step(struct qv_disk *disk, struct qv_log_read *r, uint64_t bytes_max,
                                 qv_log_read_f fn, void *arg, struct qv_errmsg *msg);

struct qv_log_stats {
    uint64_t records;
    uint64_t bytes; /* written, padding included */
    uint64_t syncs;
    uint64_t segments;         /* that hold records not released yet */
    uint64_t disk_bytes;       /* all files of the log */
    uint64_t segments_created; /* since open: allocated anew ... */
    uint64_t segments_reused;  /* ... or recycled */
    uint64_t write_failures;   /* writes or syncs that failed and moved to another segment */
    uint64_t stops;            /* times that writing stopped */
    bool stopped;              /* it is stopped now */
    uint64_t sync_ns_last;     /* write and sync of the last group */
    size_t pending_bytes;      /* appended, not durable */
};
void qv_log_get_stats(const struct qv_log *log, struct qv_log_stats *out);

/* Writes and syncs what is pending, marks the end and frees the log; then calls done. The owner
 * must go on running meanwhile. Takes log. */
void qv_log_close(struct qv_log *log, void (*done)(void *arg, int err), void *arg);
/* Frees without writing anything, as a crash would; only when no job of the log can run any more
 * (the simulator after a crash). */
void qv_log_abandon(struct qv_log *log);

/* What `quiver check` does: reads every segment of a stopped log, calling config's on_record and
 * on_damage; 0 when every byte that must be readable is. Writes nothing. */
struct qv_log_summary {
    uint64_t segments;
    uint64_t records;
    qv_lsn begin; /* the oldest lsn still there */
    qv_lsn end;
    uint64_t clock; /* reserved high-water mark */
    uint64_t damages;
    bool
        newest_bad; /* the note of the newest segment fails its checksum: nothing is lost by that */
};
QV_MUST_USE int qv_log_check(struct qv_disk *disk, const char *dir,
                             const struct qv_log_config *config, struct qv_log_summary *out,
                             struct qv_errmsg *msg);

#endif
