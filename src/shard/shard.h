/* A shard: the points of one part of a collection on this node, with their graphs, rows, payloads
 * and versions. DESIGN.md section 4 is its design; docs/formats.md has its bytes.
 *
 * Who does what on which thread
 *   owner     (the store's env) orders, stamps, logs and applies changes, and runs the steps of
 * index and checkpoint: the only writer of the shard's state. readers   (compute workers, with
 * their worker index) search, get, scroll, count. They wait for nobody but, for the id hash and
 * records, a short shared lock. jobs      insert into and repair graphs (many at once), write
 * checkpoints (one a shard).
 *
 * Invariants
 *  1. A change is durable in the log before it is applied, applied before it is acknowledged.
 *  2. An acknowledged point is found by the next search: what the graph does not hold yet is
 * scanned (pending ring), and a point that moves to another slot during a search is followed.
 *  3. A row that the last durable checkpoint refers to is not overwritten: dead slots wait for the
 *     next durable checkpoint, and for every reader that was inside (epochs).
 *  4. Everything read from disk was verified: rows by the CRC in the slot columns, at the open and
 *     again when one is answered, all else by the checksum of its file. A row or payload that fails
 *     is named and never answered; a shard of which more fails is quarantined: named, refused.
 */
#ifndef QV_SHARD_SHARD_H
#define QV_SHARD_SHARD_H

#include "core/api.h"
#include "core/env.h"
#include "storage/log.h"

struct qv_shard;
struct qv_shard_keys;
struct qv_store;

/* What the metadata says of a shard. */
struct qv_shard_spec {
    uint32_t number;     /* node-wide, never used again: names it in the log */
    uint8_t uuid[16];    /* its identity */
    uint32_t generation; /* of the configuration */
    const struct qv_collection_config *config; /* borrowed; outlives the shard or its next config */
    const struct qv_shard_keys *keys;          /* shard_keys.h; copied; NULL: all */
};

/* ---- writes ---- */

struct qv_write;
/* On the owner, once. err 0: every op is durable and applied (wait: and indexed); results are set.
 * Otherwise msg says what happened; results of the ops before the failed one are set. */
typedef void (*qv_write_done_f)(struct qv_write *w, int err);

struct qv_group; /* shard's */

/* One write request on its way; embedded in the caller's call, valid until done. */
struct qv_write {
    const struct qv_write_req *req; /* borrowed until done */
    struct qv_arena *arena;         /* the request's; the shard takes from it until done */
    struct qv_shard *shard;
    qv_write_done_f done;
    void *arg;
    struct qv_write_result *results; /* one per op, in the arena; set by prepare */
    uint32_t failed_op;              /* on an error: which op */
    struct qv_errmsg msg;
    /* the shard's */
    const struct qv_collection_config *config; /* that it was prepared for */
    struct qv_task task;
    struct qv_prepared *prepared; /* one per op */
    uint32_t next_op;
    uint32_t groups_open;
    bool begun;   /* something of it is in the log */
    bool stamped; /* every op is in the log */
    int err;
    size_t bytes;      /* what it holds while it waits */
    uint64_t wait_pos; /* ring position that must be indexed */
    qv_lsn feed_pos;   /* what feeds must have confirmed */
    uint64_t feed_ns;  /* waits for them since then */
    struct qv_write *next;
};

/* Checks the request against the shard's configuration, converts and encodes what does not depend
 * on the present state. Any thread; the caller holds a reference to the shard. QV_EINVAL,
 * QV_EBADREQ, QV_ENOTFOUND (vector names), QV_ENOMEM with the API's text in w->msg. */
QV_MUST_USE int qv_write_prepare(struct qv_write *w);
/* The same checks for a shard that lies elsewhere: nothing is kept but what the arena holds. Any
 * thread. */
QV_MUST_USE int qv_write_check(const struct qv_collection_config *config,
                               const struct qv_write_req *req, struct qv_arena *arena,
                               uint32_t *failed_op, struct qv_errmsg *msg);
/* Hands a prepared write to the owner; any thread. done is always called, later. */
void qv_write_submit(struct qv_write *w);

/* ---- reads ---- (compute workers; reader = worker index) */

QV_MUST_USE int qv_shard_query(struct qv_shard *s, unsigned reader, struct qv_arena *arena,
                               const struct qv_query *q, struct qv_points_out *out,
                               struct qv_errmsg *msg);
/* Several queries; those that only walk the same graph do so in turns, on this one thread. Each
 * answer is that of the query alone; an error is that of the first query that fails. */
struct qv_batch {
    struct qv_arena *arena;
    const struct qv_query *queries; /* borrowed */
    uint32_t count;
};
QV_MUST_USE int qv_shard_query_batch(struct qv_shard *s, unsigned reader,
                                     const struct qv_batch *batch, struct qv_points_out *out,
                                     struct qv_errmsg *msg);
QV_MUST_USE int qv_shard_get(struct qv_shard *s, unsigned reader, struct qv_arena *arena,
                             const struct qv_get_req *req, struct qv_points_out *out,
                             struct qv_errmsg *msg);
QV_MUST_USE int qv_shard_scroll(struct qv_shard *s, unsigned reader, struct qv_arena *arena,
                                const struct qv_scroll_req *req, struct qv_scroll_out *out,
                                struct qv_errmsg *msg);
QV_MUST_USE int qv_shard_count(struct qv_shard *s, unsigned reader, struct qv_arena *arena,
                               const struct qv_count_req *req, uint64_t *out,
                               struct qv_errmsg *msg);
QV_MUST_USE int qv_shard_facet(struct qv_shard *s, unsigned reader, struct qv_arena *arena,
                               const struct qv_facet_req *req, struct qv_facet_out *out,
                               struct qv_errmsg *msg);
/* The ids that match, in the arena. */
struct qv_matching {
    struct qv_id *ids;
    uint32_t count;
};
QV_MUST_USE int qv_shard_matching(struct qv_shard *s, unsigned reader, struct qv_arena *arena,
                                  const struct qv_count_req *req, struct qv_matching *out,
                                  struct qv_errmsg *msg);

struct qv_shard_info {
    uint64_t points;
    uint64_t indexed_vectors;
    uint64_t pending;     /* rows that wait for the graph */
    uint64_t dirty_bytes; /* records newer than the last checkpoint */
    uint64_t disk_bytes;
    uint64_t vector_bytes;        /* of the live points, about */
    uint64_t payload_bytes;       /* records as stored, about */
    uint64_t payload_index_bytes; /* of memory, about */
    uint64_t checkpoints;
    int err; /* why it is quarantined or read-only; 0: healthy */
    char reason[256];
    /* Each "" while there is nothing to tell: */
    char log_reason[256]; /* why the node's log takes no writes */
    char damage[256];  /* what failed its checksum and is not answered, the rest being in service */
    char failing[256]; /* why checkpoints fail: writes go on, the log grows */
};
void qv_shard_info(struct qv_shard *s, struct qv_shard_info *out); /* any thread */
uint32_t qv_shard_number(const struct qv_shard *s);
/* Takes cost out of what a minute allows: core/strict.h. Any thread. QV_EBUSY: msg says why,
 * *retry_s when there will be enough (0: never). */
QV_MUST_USE int qv_shard_take_rate(struct qv_shard *s, bool write, uint64_t per_minute,
                                   uint64_t cost, uint64_t *retry_s, struct qv_errmsg *msg);

/* References keep a dropped shard's memory until its last reader is done. Any thread. */
void qv_shard_ref(struct qv_shard *s);
void qv_shard_unref(struct qv_shard *s);

#endif
