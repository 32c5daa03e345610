/* A transfer: what moves between two nodes when a shard, or some of its keys, changes hands.
 * DESIGN.md section 5; the steps around it are CONSISTENCY.md's section 6.
 *
 *   manifest   the source takes its state at one position (a pin) and writes it down as chunks,
 *              each with its hash. A whole shard: its files, with the graph, so that nobody indexes
 *              again. Some keys: their rows, for a shard that exists
 *   chunks     the target asks for those it lacks, as fast as it is allowed, and keeps each durably
 *   install    the target makes the shard of them (rows are taken in chunk by chunk)
 *   feed       from the position on, every change that the source applies. *full at p*: the target
 *              has everything up to p
 *
 * The target drives; both ends keep what is needed to go on after a crash of either, on their own
 * disks, through struct qv_transfer_host. A chunk that was kept is not asked for again. What the
 * source wrote down outlives its process; when it was lost before it was complete, nothing of it
 * had been sent.
 *
 * The transfer's id is in every message: an end that does not know it, or has given it up, refuses
 * with QV_ESTALE, so nothing late of an earlier transfer counts.
 *
 * Pure step machines on the owner of the env: no files, sockets or clocks but through env, peers
 * and host. Nothing calls back from inside a call. */
#ifndef QV_REPL_TRANSFER_H
#define QV_REPL_TRANSFER_H

#include "core/key_set.h"
#include "core/peer.h"

#define QV_TRANSFER_CHUNK_BYTES ((size_t)1 << 20)
#define QV_TRANSFER_CHUNKS_MAX (1u << 22) /* 4 TiB */

/* What moves where; names nothing by a name. */
struct qv_transfer_spec {
    uint64_t id;            /* the record's; never used again, not 0 */
    uint8_t collection[16]; /* uuid */
    uint32_t from_shard;    /* numbers in the collection; equal when a whole shard moves */
    uint32_t to_shard;
    uint64_t from_node, to_node;
    bool whole;              /* the target has no shard yet; keys are all */
    struct qv_key_set keys;  /* what moves; borrowed: copied by who keeps the spec */
    struct qv_key_set *kept; /* of who keeps it: NULL otherwise */
};

/* Everything the two ends need of their node, by callback. Each call ends exactly once through
 * io->done, later, on the owner; one at a time for each transfer and end, but `take`, which may
 * wait beside another. */
struct qv_transfer_io {
    void (*done)(struct qv_transfer_io *io, int err);
    void *arg;
    struct qv_buf bytes; /* in or out; the caller's, initialised */
    uint64_t position;   /* in or out */
    uint32_t chunk;      /* in */
    struct qv_errmsg msg;
};

struct qv_transfer_host;
struct qv_transfer_host_ops {
    /* ---- the source's ---- */
    /* May this transfer be served, as far as the node knows the topology? 0; QV_ESTALE: it is not,
     * or not any more; QV_EBUSY: not known yet. */
    int (*allowed)(struct qv_transfer_host *h, const struct qv_transfer_spec *spec);
    /* The manifest (bytes) and the position it stands for; what was written down before a crash, or
     * made now. Opens the feed from `position` in (0: from the manifest's own). QV_ESTALE: the log
     * does not reach there any more: what was written down has been removed, begin anew. */
    void (*prepare)(struct qv_transfer_host *h, const struct qv_transfer_spec *spec,
                    struct qv_transfer_io *io);
    void (*read_chunk)(struct qv_transfer_host *h, uint64_t id, struct qv_transfer_io *io);
    /* Changes behind `position` in; position out: up to where. Waits until there are some, or until
     * stop_taking (QV_ECANCELED). */
    void (*take)(struct qv_transfer_host *h, uint64_t id, size_t bytes_max,
                 struct qv_transfer_io *io);
    void (*stop_taking)(struct qv_transfer_host *h, uint64_t id);
    /* Where the source is: what it has acknowledged is at or below. 0: it is not in service. */
    uint64_t (*position)(struct qv_transfer_host *h, uint64_t id);
    void (*confirm)(struct qv_transfer_host *h, uint64_t id, uint64_t position);
    /* The chunks are not needed any more: the target has installed them. */
    void (*drop_chunks)(struct qv_transfer_host *h, uint64_t id);
    /* Nothing of it is left here: files, feed. err: for the writes that wait for the feed. */
    void (*end_source)(struct qv_transfer_host *h, uint64_t id, int err);

    /* ---- the target's ---- */
    /* What is here of the transfer: bytes: its manifest and which chunks (as keep_manifest and
     * keep_chunk left them: qv_transfer_state_*), empty: nothing; position: up to where it is
     * covered, 0: not installed. */
    void (*recall)(struct qv_transfer_host *h, const struct qv_transfer_spec *spec,
                   struct qv_transfer_io *io);
    /* bytes: the manifest; durable when done. Takes the place of an earlier one and its chunks. */
    void (*keep_manifest)(struct qv_transfer_host *h, const struct qv_transfer_spec *spec,
                          struct qv_transfer_io *io);
    /* bytes: verified; durable when done. Of rows: taken into the shard. */
    void (*keep_chunk)(struct qv_transfer_host *h, uint64_t id, struct qv_transfer_io *io);
    /* All chunks are here: makes the shard, at position in. QV_ECORRUPT: they are not sound. */
    void (*install)(struct qv_transfer_host *h, uint64_t id, struct qv_transfer_io *io);
    /* bytes: the changes from `chunk`'s... see take; position: where they begin in, up to where the
     * shard has everything out. */
    void (*replay)(struct qv_transfer_host *h, uint64_t id, uint64_t to, struct qv_transfer_io *io);
    /* Nothing of it is left here: chunks, state, a shard that was made for it, rows that came. */
    void (*discard)(struct qv_transfer_host *h, uint64_t id, struct qv_transfer_io *io);
};

struct qv_transfer_host {
    const struct qv_transfer_host_ops *ops;
};

/* ---- the ends ---- */

enum qv_transfer_stage {
    QV_TRANSFER_ASKING, /* for the manifest: the source may still be writing it */
    QV_TRANSFER_COPYING,
    QV_TRANSFER_INSTALLING,
    QV_TRANSFER_FOLLOWING, /* the feed */
    QV_TRANSFER_FAILED,
    QV_TRANSFER_ENDED,
    QV_TRANSFER_STAGE_COUNT
};
const char *qv_transfer_stage_name(enum qv_transfer_stage stage);

struct qv_transfer_progress {
    enum qv_transfer_stage stage;
    uint64_t bytes_done, bytes_total; /* of the chunks */
    uint64_t bytes_per_s;             /* decayed mean of the last 10 s */
    uint64_t eta_ms;                  /* of the copying; UINT64_MAX: not known */
    uint64_t position;                /* full at; 0: not yet */
    uint64_t source_position;         /* as last heard */
    uint64_t chunks_received;         /* by this process, repeated ones too */
    int err;                          /* why it failed, or why it waits now; 0 */
    char why[256];
};

struct qv_transfer_config {
    struct qv_env *env; /* borrowed, as all pointers */
    struct qv_peers *peers;
    struct qv_transfer_host *host;
    uint64_t bytes_per_s; /* cap of the chunks this node asks for, over all transfers; 0: none */
};

/* A node's ends of all transfers: serves its peers' methods. Gives. */
struct qv_transfers *qv_transfers_create(const struct qv_transfer_config *config);
/* Asks and answers nothing more; when no call and no host's callback is under way any more, it is
 * freed and `closed` is called: on the owner, never from inside. What is on disk stays. Takes. */
void qv_transfers_close(struct qv_transfers **t, void (*closed)(void *arg), void *arg);
/* As a crash: without a word to peers and host, whose callbacks never come any more. NULL is fine.
 */
void qv_transfers_destroy(struct qv_transfers **t);
void qv_transfers_set_rate(struct qv_transfers *t, uint64_t bytes_per_s);

/* Called on the owner, never from inside a call, when something of a transfer has changed that its
 * owner may wait for: full, failed, ended. */
typedef void qv_transfer_changed_f(void *arg, uint64_t id);

/* Begins, or goes on after a restart. spec is copied. changed may be NULL. QV_EEXISTS, QV_ELIMIT.
 */
QV_MUST_USE int qv_transfer_start(struct qv_transfers *t, const struct qv_transfer_spec *spec,
                                  qv_transfer_changed_f *changed, void *arg);
/* The target gives up: nothing of it stays here; the source is told, and learns it from the
 * topology if that fails. Progress says ENDED when it is done. Unknown: fine. */
void qv_transfer_abort(struct qv_transfers *t, uint64_t id);
/* The hand-over is done: the target keeps what it has and stops following. */
void qv_transfer_finish(struct qv_transfers *t, uint64_t id);
/* False: no such transfer ends here as a target. */
bool qv_transfer_get_progress(const struct qv_transfers *t, uint64_t id,
                              struct qv_transfer_progress *out);
/* Its target end is ENDED or FAILED and is forgotten here (not on disk). */
void qv_transfer_forget(struct qv_transfers *t, uint64_t id);

/* The source's node knows that it is over (done or aborted): nothing of it stays here. Unknown:
 * the host is asked to remove what a crash may have left. err: for writes that wait. */
void qv_transfer_source_end(struct qv_transfers *t, uint64_t id, int err);

#endif
