/* Private to node_transfer*.c: the two sides' ends of what lies on this node. */
#ifndef QV_NODE_NODE_TRANSFER_PRIVATE_H
#define QV_NODE_NODE_TRANSFER_PRIVATE_H

#include "node/node_transfer.h"
#include "node/snapshots_private.h"
#include "repl/transfer_codec.h"
#include "shard/shard_feed.h"
#include "shard/shard_replay.h"

#define QV_NODE_TRANSFERS "transfers"
#define QV_TRANSFER_MANIFEST_BYTES_MAX ((size_t)56 << 20)
#define QV_TRANSFER_SPEC_BYTES_MAX ((size_t)4 << 20)

/* What serves a call of repl's: the io, and how its end comes later. */
struct qv_node_transfer_call {
    struct qv_transfer_io *io; /* NULL: none */
    struct qv_task task;
    int err;
};
void qv_node_transfer_end(struct qv_node *n, struct qv_node_transfer_call *c, int err);

struct qv_node_source {
    struct qv_node_source *next;
    struct qv_node *n;
    struct qv_transfer_spec spec;
    char dir[QV_SNAPSHOT_PATH_MAX];
    struct qv_shard *shard; /* a reference */
    struct qv_buf manifest; /* bytes; empty: the state is not written down */
    uint64_t position;      /* the manifest's */
    bool dropped;           /* the data are not there any more */
    bool required;          /* both or later: a write waits for the feed */
    struct qv_feed *hold;   /* holds the log */
    struct qv_feed *feed;   /* what the target takes */
    uint64_t held, holding; /* what `held` says, and what it is being made to say */
    struct qv_node_transfer_call call, take_call;
    struct qv_feed_take take;
    /* making the state */
    struct qv_slices slices;
    int phase;
    struct qv_shard_pin_req pin;
    struct qv_snapshot_writer *w;
    struct qv_shard_export *exp;
    bool slice_done;
    uint64_t hashed, data_bytes;
    struct qv_errmsg msg;
    /* jobs beside that */
    struct qv_job job;
    bool job_busy;
    uint32_t chunk;
    int job_err;
    bool over; /* goes with its files, when nothing is under way */
};

struct qv_node_target {
    struct qv_node_target *next;
    struct qv_node *n;
    struct qv_transfer_spec spec;
    char dir[QV_SNAPSHOT_PATH_MAX];
    struct qv_buf manifest;
    bool finishing, aborting, ended; /* ended: its files go, then it */
    struct qv_node_transfer_call call;
    struct qv_slices slices;
    int phase;
    bool slice_done, slicing;
    uint8_t *have;
    uint32_t at; /* chunk that is compared next */
    struct qv_snapshot_reader *r;
    struct qv_shard_import *im;
    const struct qv_collection *c; /* a reference: whose configuration the import reads */
    uint32_t store;
    uint64_t generation;
    struct qv_replay replay;
    struct qv_errmsg msg;
};

struct qv_node_transfers {
    struct qv_transfer_host host; /* first */
    struct qv_node *n;
    struct qv_transfers *repl;
    struct qv_node_source *sources;
    struct qv_node_target *targets;
    struct qv_timer retry; /* what could not be begun */
    uint32_t jobs;         /* under way that repl does not know of */
    bool closing;
    bool repl_closed;
    void (*closed)(void *arg);
    void *closed_arg;
};

void qv_node_transfer_dir(const struct qv_node *n, uint64_t id, char out[QV_SNAPSHOT_PATH_MAX]);
/* In a job; what is not there is fine. */
void qv_node_transfer_remove(struct qv_node *n, const char *dir);
void qv_node_transfer_job_ended(struct qv_node *n);
/* The slot that the transfer moves, when it goes on still; NULL: it does not. */
const struct qv_slot_place *qv_node_transfer_slot(const struct qv_node *n,
                                                  const struct qv_transfer_spec *spec);

/* node_transfer_source.c */
int qv_node_source_allowed(struct qv_transfer_host *h, const struct qv_transfer_spec *spec);
void qv_node_source_prepare(struct qv_transfer_host *h, const struct qv_transfer_spec *spec,
                            struct qv_transfer_io *io);
void qv_node_source_read_chunk(struct qv_transfer_host *h, uint64_t id, struct qv_transfer_io *io);
void qv_node_source_take(struct qv_transfer_host *h, uint64_t id, size_t bytes_max,
                         struct qv_transfer_io *io);
void qv_node_source_stop_taking(struct qv_transfer_host *h, uint64_t id);
uint64_t qv_node_source_position(struct qv_transfer_host *h, uint64_t id);
void qv_node_source_confirm(struct qv_transfer_host *h, uint64_t id, uint64_t position);
void qv_node_source_drop_chunks(struct qv_transfer_host *h, uint64_t id);
void qv_node_source_end(struct qv_transfer_host *h, uint64_t id, int err);
struct qv_node_source *qv_node_source_find(struct qv_node *n, uint64_t id);
/* What a directory holds of a source that goes on; QV_ENOTFOUND: nothing. Blocks. */
QV_MUST_USE int qv_node_source_recall(struct qv_node *n, uint64_t id, struct qv_errmsg *msg);
void qv_node_source_require(struct qv_node_source *s, bool required);
void qv_node_source_free(struct qv_node_source *s, int err, bool crash);

/* node_transfer_target.c */
void qv_node_target_recall(struct qv_transfer_host *h, const struct qv_transfer_spec *spec,
                           struct qv_transfer_io *io);
void qv_node_target_keep_manifest(struct qv_transfer_host *h, const struct qv_transfer_spec *spec,
                                  struct qv_transfer_io *io);
void qv_node_target_keep_chunk(struct qv_transfer_host *h, uint64_t id, struct qv_transfer_io *io);
void qv_node_target_install(struct qv_transfer_host *h, uint64_t id, struct qv_transfer_io *io);
void qv_node_target_replay(struct qv_transfer_host *h, uint64_t id, uint64_t to,
                           struct qv_transfer_io *io);
void qv_node_target_discard(struct qv_transfer_host *h, uint64_t id, struct qv_transfer_io *io);
struct qv_node_target *qv_node_target_find(struct qv_node *n, uint64_t id);
struct qv_node_target *qv_node_target_add(struct qv_node *n, const struct qv_transfer_spec *spec);
/* It is over: the files go, then it. */
void qv_node_target_end(struct qv_node_target *t);
void qv_node_target_free(struct qv_node_target *t, bool crash);

#endif
