/* Private to src/shard: the shard's fields, and who guards each. */
#ifndef QV_SHARD_SHARD_PRIVATE_H
#define QV_SHARD_SHARD_PRIVATE_H

#include "base/vmem.h"
#include "core/point.h"
#include "core/strict.h"
#include "index/effort.h"
#include "index/hnsw.h"
#include "shard/change_batch.h"
#include "shard/dirty.h"
#include "shard/epoch.h"
#include "shard/ghosts.h"
#include "shard/shard.h"
#include "shard/shard_feed.h"
#include "shard/shard_fields.h"
#include "shard/shard_keys.h"
#include "shard/shard_replay.h"
#include "shard/slot_table.h"
#include "shard/store.h"
#include "storage/rowfile.h"

#include <pthread.h>

#define QV_SHARD_VECTORS_MAX QV_VECTORS_PER_POINT_MAX
#define QV_RECORD_NO_SLOT QV_SLOT_NONE
#define QV_DAMAGED_ROWS_MAX 1000u /* of a file; beyond it the shard is quarantined */

/* ---- writes under way ---- */

/* Changes of distinct ids that share one log record and one version. */
struct qv_group {
    struct qv_log_waiter waiter;
    struct qv_shard *shard;
    struct qv_write *write; /* NULL during replay */
    uint32_t op;
    struct qv_change *changes;
    struct qv_copy *copies; /* instead of changes, of which the ids count then; NULL: none */
    uint32_t count;
    struct qv_bytes bytes; /* encoded changes, without their count */
    struct qv_version version;
    qv_lsn end;
    uint64_t stream, position; /* of a replay; 0: the shard's own */
    uint8_t kind;              /* of a replay: enum qv_body_kind */
    uint32_t generation;       /* that it was logged under */
    struct qv_group *next;     /* in its prepared op */
};

struct qv_prepared {
    struct qv_group *groups; /* ready to stamp, in order */
    bool conditional;        /* depends on the present state: groups are made at its turn */
    const struct qv_id *ids; /* conditional: the points named, or those the filter found */
    uint32_t id_count;
    bool has_ids;
    struct qv_change *changes; /* UPDATE_VECTORS: the SET changes, by point; UPSERT: the PUTs */
    uint32_t change_count;
    bool checked;             /* the update_filter has been asked */
    struct qv_change pattern; /* the change that every id gets; its id is filled in */
};

/* ---- rows that wait for the graph ---- */

/* Slots in the order of their publication. Positions only grow; position p is at p & mask. A reader
 * takes `low` when it begins and `high` when its walk has ended, and scans what lies between: that
 * is everything that was not in the graph when it began, and everything published meanwhile. */
#define QV_PENDING_RING (1u << 17) /* > unindexed bound + the largest record */

struct qv_pending {
    _Atomic qv_slot *ring;
    uint8_t *done;            /* owner: by position, inserted */
    atomic_uint_fast64_t low; /* everything below is in the graphs (or dead) */
    atomic_uint_fast64_t high;
    uint64_t next; /* owner: first position no job has taken */
};

struct qv_limbo { /* a dead slot on its way to the free list */
    qv_slot slot;
    uint64_t epoch;      /* unlinked then */
    uint64_t checkpoint; /* the capture that must be durable */
};

#define QV_VECTOR_GONE UINT32_MAX /* the number of none */

enum qv_vector_life {
    QV_VECTOR_NONE,   /* a place for a new one */
    QV_VECTOR_IN,     /* in use */
    QV_VECTOR_LEAVING /* dropped: readers and jobs may still stand on its rows and graph */
};

/* A dense named vector: its rows and graph. Places never move; one is used again when nobody can
 * stand on what was there (shard_reshape.c). */
struct qv_shard_vector {
    const struct qv_vector_config *config; /* for what never changes: size, datatype, distance */
    enum qv_vector_life life;              /* owner */
    uint32_t id;                           /* its number, in the names of its files */
    atomic_uint number;                    /* the same; GONE: nothing is found here */
    enum qv_metric metric;                 /* of graph and score: COSINE over unit rows is DOT */
    bool normalise;
    uint32_t row_bytes;
    struct qv_rowfile *rows;
    struct qv_rows view;
    _Atomic(struct qv_hnsw *) graph; /* NULL: m = 0 */
    struct qv_hnsw *next;            /* with other parameters; jobs insert into both until it is
                                        complete. Owner, while no job runs */
    struct qv_hnsw *old;             /* replaced: readers that came before old_epoch may be in it */
    uint64_t old_epoch;              /* LEAVING: since then */
    struct qv_effort effort;         /* under the shard's lock */
    const struct qv_hnsw
        *effort_of;            /* owner: it was learned on this graph; NULL: nothing is known */
    atomic_bool effort_wanted; /* a search has asked for a recall */
    uint8_t *stage;            /* owner: rows of consecutive slots, one write */
    uint32_t stage_cap, stage_count;
    qv_slot stage_first;
};

enum qv_shard_state { QV_SHARD_OPEN, QV_SHARD_QUARANTINED, QV_SHARD_DROPPING };

/* A group that is durable in the log and could not be applied: the disk's fault. */
struct qv_stalled {
    struct qv_stalled *next;
    struct qv_version version;
    qv_lsn end;
    uint8_t type;
    uint32_t generation;
    size_t n;
    uint8_t bytes[]; /* the log record's */
};

/* shard_heal.c: back to work after the disk failed. */
struct qv_heal {
    struct qv_job job; /* copies a row file whose write or sync failed */
    bool running;
    uint32_t vector;
    struct qv_file *copy;
    int err;
    struct qv_errmsg msg;
    uint64_t wait_ns, next_ns; /* back-off of tries */
    uint64_t since_ns;         /* writes are refused since then; 0: they are not */
    struct qv_stalled *first, **last;
};

/* shard_effort.c: learning how wide to walk; owner, but for what its job reads and writes while it
 * runs. */
struct qv_shard_effort {
    struct qv_job job;
    bool running, done;
    uint32_t vector;
    struct qv_hnsw *graph;         /* the vector's, when it began */
    struct qv_effort_trace *trace; /* NULL: none is being made */
    struct qv_effort learned;      /* once it is done */
    int err;
    uint64_t next_ns; /* not before, after one that taught nothing */
};

/* shard_bulk.c: a new graph built from all rows at once; owner, but for the build itself, in which
 * jobs work. */
struct qv_shard_bulk {
    struct qv_hnsw_bulk *build; /* NULL: none. Set and cleared at rest */
    uint32_t vector;            /* whose `next` it fills */
    uint32_t jobs;              /* under way */
    uint32_t jobs_max;
    bool through; /* it is whole */
    int err;      /* or failed */
};

/* Up to where another shard's changes are applied here. */
struct qv_stream {
    uint64_t stream, position;
};

struct qv_checkpoint; /* one on its way */
struct qv_checkpoint_record;
struct qv_shard_pin;
struct qv_shard_pin_req;
struct index_job; /* one on its way */

struct qv_shard {
    struct qv_store *store;
    struct qv_env *env;
    uint32_t number;
    uint8_t uuid[16];
    char *dir;
    atomic_uint refs;
    _Atomic(const struct qv_collection_config *) config;
    uint32_t generation;
    atomic_int state; /* enum qv_shard_state */
    atomic_int err;   /* why it takes no writes; 0: it does */
    pthread_mutex_t reason_lock;
    char reason[256];        /* why it takes no writes, or is quarantined */
    struct qv_rate rates[2]; /* reads, writes; under reason_lock */
    char damage[256]; /* what was found flipped and is not answered; the rest is in service */
    atomic_uint_fast64_t damages; /* places found since the last scrub that found none */
    char failing[256];            /* why checkpoints fail; "" */

    pthread_rwlock_t lock; /* exclusive: the owner applying; shared: readers of hash and records */
    struct qv_slot_table slots;
    struct qv_vmem vectors_mem; /* QV_SHARD_VECTORS_MAX places */
    struct qv_shard_vector *vectors;
    atomic_uint vector_count; /* places in use or once used */
    struct qv_kv *kv;
    struct qv_epoch epoch;
    struct qv_pending pending;
    struct qv_vmem pending_mem;    /* its ring and marks */
    struct qv_shard_fields fields; /* payload indexes */

    /* owner only, from here on (dirty, frozen: written under the exclusive lock) */
    struct qv_dirty dirty;
    struct qv_dirty frozen; /* of the checkpoint under way */
    struct qv_ghosts ghosts;
    struct qv_version last_version; /* newest applied or stamped */
    qv_lsn applied_lsn;             /* every record of this shard below it is applied */
    qv_lsn checkpoint_lsn;          /* of the durable checkpoint */
    uint64_t prev_clock;            /* of this writer's last change here */
    uint64_t logged_clock;          /* of the last one that is durable in the log */

    struct qv_write *waiting, **waiting_tail; /* accepted, not stamped */
    uint32_t inflight;                        /* groups in the log, not applied */
    struct qv_write *wait_index, **wait_index_tail;
    struct qv_write *wait_feeds, **wait_feeds_tail; /* applied; some feed has not confirmed them */
    struct qv_feed *feeds;
    int handed_over; /* a required feed was closed with this: nothing is acknowledged any more */
    struct qv_replay *replays, **replays_tail; /* the first is under way */
    struct qv_stream *streams;                 /* up to where what was replayed is applied */
    uint32_t stream_count;
    struct qv_key_set *reads, *writes, *keep; /* NULL: every key */
    atomic_uint_fast64_t keys_seq;            /* of `reads` */
    atomic_bool hides;                        /* reads are not all: slots.hidden means something */
    struct {
        bool running, again;
        qv_slot at;
        uint64_t purged,
            unsaved;  /* points; since the last pass that met none, not in a checkpoint */
        uint64_t seq; /* captures begun when the last of them went */
    } purge;

    uint32_t index_jobs; /* under way */
    uint32_t repair_jobs;
    qv_slot *repair_queue;
    size_t repair_count, repair_cap;
    struct qv_limbo *limbo;
    size_t limbo_count, limbo_cap;
    atomic_uint_fast64_t backlog; /* unindexed points that found no place in the ring yet */
    qv_slot *backlog_slots;
    bool replaying;
    bool replaced; /* dropped, because another shard has its place; set before the state */
    void (*gone)(void *arg); /* dropped: told once it is freed */
    void *gone_arg;
    uint32_t restored_high; /* slots of the checkpoint that was opened */
    struct qv_scan *scan;   /* a filter of the first waiting write is being resolved */
    uint64_t inflight_rows;

    struct index_job *jobs; /* under way */
    struct qv_shard_effort effort;
    struct qv_shard_bulk bulk;

    /* graphs built anew beside the present ones: shard_reshape.c */
    bool reshape;               /* some place wants to be changed: no new checkpoint */
    bool resting;               /* and no new index jobs */
    bool rebuilding;            /* some vector has a `next` */
    qv_slot rebuild_at;         /* slots below it are in the ring, or were */
    qv_slot rebuild_end;        /* from here on points are published into the ring anyway */
    uint64_t rebuild_failed_ns; /* no memory for a new graph; 0: there was */
    uint64_t rebuild_mark;      /* ring position behind the last of them */
    atomic_uint_fast64_t rebuild_left;
    atomic_uint_fast64_t
        bulk_indexed; /* rows' worth of work done by `bulk`; 0: none is under way */

    struct qv_checkpoint *checkpoint;
    uint64_t graph_changes;        /* nodes linked or unlinked since the last capture */
    uint64_t capture_seq;          /* captures begun */
    uint64_t durable_seq;          /* captures durable */
    uint64_t file_number;          /* of the newest state files */
    uint64_t durable_file;         /* of the durable checkpoint; 0 = none */
    uint64_t checkpoint_failed_ns; /* when the last one failed; 0 = it did not */
    uint64_t checkpoint_failures;
    int checkpoint_err;                   /* of the last failure */
    struct qv_checkpoint_record *durable; /* of the durable checkpoint; NULL: none yet */
    const struct qv_collection_config *durable_config; /* it was made under */
    struct qv_shard_pin *pins;                         /* checkpoints that snapshots read */
    struct qv_shard_pin_req *pin_reqs, **pin_reqs_tail;
    bool store_failed; /* checkpoint jobs: the payload store takes nothing until it is reopened */
    uint64_t checkpoint_wait_ns; /* how long the disk is left alone after that */
    struct qv_heal heal;
    bool scrubbing;         /* a job of the scrubber is reading it */
    bool checkpoint_wanted; /* a file of the durable one is damaged */
    atomic_uint_fast64_t dirty_bytes_shared, checkpoints_shared;
};

/* store_scrub.c: where the pass is; owner, but for what its job reads and writes while it runs. */
#define QV_SCRUB_SUSPECTS 64u
enum qv_scrub_phase { QV_SCRUB_ROWS, QV_SCRUB_PAYLOADS, QV_SCRUB_FILES };
struct qv_scrub {
    struct qv_job job;
    bool running;
    struct qv_shard *shard; /* while it runs, with a reference */
    bool inside;            /* in the middle of shard `number` */
    uint32_t number, after_inside;
    uint32_t after; /* every shard up to it is done */
    enum qv_scrub_phase phase;
    uint32_t part; /* ROWS: vector; FILES: 0 slots, then vector + 1 */
    bool part_done;
    qv_slot slot; /* the next one */
    uint32_t key_n;
    uint8_t key[QV_KV_KEY_BYTES_MAX]; /* the last one read */
    char path[4096];
    uint64_t file_number;
    qv_slot suspects[QV_SCRUB_SUSPECTS];
    uint32_t suspect_n;
    uint32_t found;           /* in this shard, by this pass */
    struct qv_log_verify log; /* behind the last shard: the log's closed segments */
    bool in_log;              /* in the middle of log.seq */
    uint64_t bytes;           /* of the job */
    uint64_t debt;            /* read and not paid off by time */
    uint64_t paid_ns, rest_until_ns;
    int err;
    struct qv_errmsg msg;
};

struct qv_store {
    struct qv_store_config config;
    char *dir;
    struct qv_env *env;
    struct qv_log *log;
    struct qv_shard **shards; /* dropped ones too, until they are at rest */
    uint32_t shard_count, shard_cap;
    struct qv_clock clock;
    uint64_t clock_reserved;
    unsigned workers;
    struct qv_hnsw_ctx **ctx; /* by compute worker */
    uint64_t waiting_bytes;
    uint64_t checkpoints, checkpoint_failures;
    uint64_t writes_refused, writes_in_doubt; /* because of the disk */
    struct qv_scrub scrub;
    uint64_t scrub_bytes, scrub_passes, scrub_findings;
    uint64_t log_wait_ns, log_next_ns; /* back-off of a stopped log's tries */
    pthread_mutex_t text_lock;
    char log_reason[256]; /* why the log takes no writes; other threads read it under the lock */
    qv_lsn log_seen;      /* durable at the last tick */
    struct qv_timer timer;
    bool checking; /* `quiver check`: nothing is changed */
    bool log_full; /* appends wait until the log has room */

    struct qv_job release_job; /* makes `releasing` durable, then frees the log below it */
    bool release_running;
    qv_lsn releasing, released;
    int release_err;
    struct qv_errmsg replay_msg; /* why a record could not be applied at the open */
    uint64_t release_failed_ns;  /* when the last try failed; 0: it did not */

    struct qv_job reserve_job; /* store_reserve.c */
    bool reserve_running, reserved;
    int reserve_err;
    uint64_t reserve_next_ns;

    bool closing;
    bool log_closing;
    void (*closed)(void *arg, int err);
    void *closed_arg;
    int close_err;
    void (*checkpointed)(void *arg, int err);
    void *checkpointed_arg;
    bool checkpoint_all;
};

/* shard_apply.c */
/* Applies a group whose record is durable (or replayed). Owner. After an error nothing of it was
 * done; it can be tried again. */
QV_MUST_USE int qv_shard_apply(struct qv_shard *s, struct qv_group *g, struct qv_errmsg *msg);
/* Room for n more points: rows and columns. Owner. */
QV_MUST_USE int qv_shard_reserve(struct qv_shard *s, uint32_t n, struct qv_errmsg *msg);
/* The copy as it is here: from the dirty records, the payload store or the ghosts; *found false
 * when nothing is known. Decoded into the arena. Owner. */
QV_MUST_USE int qv_shard_load_copy(struct qv_shard *s, struct qv_arena *arena,
                                   const struct qv_id *id, struct qv_copy *out, bool *found,
                                   struct qv_errmsg *msg);

/* record.c: { u32 slot, u32 generation, copy } */
QV_MUST_USE int qv_record_decode(struct qv_bytes bytes, struct qv_arena *arena, qv_slot *slot,
                                 uint32_t *generation, struct qv_copy *out, struct qv_errmsg *msg);
void qv_record_encode(struct qv_buf *b, qv_slot slot, uint32_t generation,
                      const struct qv_copy *copy);

/* shard_index.c: everything on the owner */
void qv_shard_index_step(struct qv_shard *s);           /* starts jobs there is room for */
void qv_shard_retire(struct qv_shard *s, qv_slot slot); /* a slot that has just died */
void qv_shard_reclaim(struct qv_shard *s);              /* limbo -> free */
void qv_shard_discard_jobs(struct qv_shard *s);         /* none can run any more */
bool qv_shard_index_idle(const struct qv_shard *s);
void qv_shard_push_pending(struct qv_shard *s, qv_slot slot);
uint64_t qv_shard_pending(const struct qv_shard *s); /* any thread */

/* shard_effort.c */
void qv_shard_effort_step(struct qv_shard *s); /* owner: learns what searches have asked for */
/* At an open, once the vector's graph is there: takes what was learned before. */
void qv_shard_effort_load(struct qv_shard *s, uint32_t vector);
/* Removes its file. */
void qv_shard_effort_forget(struct qv_shard *s, uint32_t vector);
/* Copies the plan for the target; false: not known yet, it will be learned. Reader. */
bool qv_shard_effort_plan(struct qv_shard *s, uint32_t vector, double target,
                          struct qv_effort_plan *out);
/* The breadth meanwhile. */
uint32_t qv_shard_effort_unknown(double target);

/* shard_reshape.c; owner */
/* Fills places from the configuration; the shard has no other thread yet. */
QV_MUST_USE int qv_shard_init_vectors(struct qv_shard *s);
void qv_shard_close_vectors(struct qv_shard *s);
/* The graph that the configuration asks for: m 0 where it wants none. */
struct qv_hnsw_params qv_shard_graph_params(const struct qv_shard *s, uint32_t index);
QV_MUST_USE int qv_shard_open_rows(struct qv_shard *s, uint32_t index, bool create,
                                   struct qv_errmsg *msg);
/* Files and places for the vectors of config that the shard has not. On an error none is added. */
QV_MUST_USE int qv_shard_add_vectors(struct qv_shard *s, const struct qv_collection_config *config,
                                     struct qv_errmsg *msg);
/* The configuration as it is now: vectors that it does not name leave, graphs of other parameters
 * are built anew. */
void qv_shard_set_config(struct qv_shard *s, const struct qv_collection_config *config,
                         uint32_t generation);
/* Does what waits for rest, and brings rest about. */
void qv_shard_reshape_step(struct qv_shard *s);
/* Slots that the new graphs lack go into the ring, as there is room. */
void qv_shard_feed_rebuild(struct qv_shard *s);

/* Another dead slot to be unlinked from the graphs. */
void qv_shard_push_repair(struct qv_shard *s, qv_slot slot);

/* shard_bulk.c */
/* At rest: the vector's new, empty `next` from all rows at once, if there are enough of them. */
void qv_shard_bulk_begin(struct qv_shard *s, uint32_t vector);
/* At rest: gives up the build of the vector's `next`, if there is one. */
void qv_shard_bulk_discard(struct qv_shard *s, uint32_t vector);
/* Is the vector's `next` the build's alone? */
bool qv_shard_bulk_hides(const struct qv_shard *s, uint32_t vector);
/* And has it come to its end? Then, at rest, qv_shard_bulk_end makes it everybody's. */
bool qv_shard_bulk_over(const struct qv_shard *s, uint32_t vector);
void qv_shard_bulk_end(struct qv_shard *s);
bool qv_shard_bulk_wants_job(const struct qv_shard *s);
/* A job's work; on a worker. */
void qv_shard_bulk_run(struct qv_shard *s, struct qv_hnsw_ctx *ctx, enum qv_hnsw_step *step,
                       int *err);
void qv_shard_bulk_done(struct qv_shard *s, enum qv_hnsw_step step, int err);

/* shard_write.c */
void qv_shard_pump(struct qv_shard *s);         /* stamps what may be stamped; owner */
void qv_shard_finish_write(struct qv_write *w); /* answers it */
void qv_shard_indexed(struct qv_shard *s);      /* low has moved: answers waiting writes */
void qv_shard_end_index_waits(struct qv_shard *s);
void qv_shard_fail_waiting(struct qv_shard *s, int err, const char *why);
/* Which dense vector has this number; -1: none. */
int qv_shard_vector_index(const struct qv_shard *s, uint32_t number);
void qv_shard_settle_confirmed(struct qv_write *w); /* the feeds have it: on with its answer */
/* A log record; everything in the arena or borrowed. */
int qv_shard_decode_group(struct qv_shard *s, struct qv_arena *arena, uint8_t type,
                          struct qv_bytes bytes, struct qv_group *g,
                          struct qv_errmsg *msg) QV_MUST_USE;
/* Its body, of g->kind. */
QV_MUST_USE int qv_shard_decode_body(struct qv_shard *s, struct qv_arena *arena,
                                     struct qv_bytes body, struct qv_group *g,
                                     struct qv_errmsg *msg);
/* A group is durable in the log: it is applied now, or kept until the disk allows it (QV_EUNKNOWN).
 */
QV_MUST_USE int qv_shard_take_over(struct qv_group *g, struct qv_errmsg *msg);
bool qv_shard_must_slow(const struct qv_shard *s);                /* no more groups now */
void qv_shard_reserve_clock(struct qv_store *st, uint64_t clock); /* it is given or was seen */
/* A group was applied: `end` is the shard's position now. */
void qv_shard_applied(struct qv_shard *s, const struct qv_group *g);

/* shard_feed.c; owner */
void qv_feed_note(struct qv_shard *s, const struct qv_group *g); /* it was applied */
/* Must an answer of what is at or below `position` wait for a feed? */
bool qv_feed_lacks(const struct qv_shard *s, qv_lsn position);
void qv_feed_wait(struct qv_write *w); /* it waits; s->wait_feeds */
/* Ends the waits, with QV_EUNKNOWN: the shard goes. */
void qv_feed_fail_waits(struct qv_shard *s, const char *why);
void qv_feed_end_takes(struct qv_shard *s);  /* the shard goes: those who take are told */
bool qv_feed_idle(const struct qv_shard *s); /* no job, nobody waits */
/* What the log must keep for feeds; `from`: for all else. */
qv_lsn qv_feed_needed_from(const struct qv_shard *s, qv_lsn from);
void qv_feed_discard(struct qv_shard *s); /* no job can run any more */

/* shard_replay.c; owner */
void qv_replay_pump(struct qv_shard *s);
void qv_replay_fail(struct qv_shard *s, int err, const char *why); /* those not logged */
/* shard_keys.c */
static inline bool qv_shard_hides(const struct qv_shard *s)
{
    return atomic_load_explicit(&((struct qv_shard *)(uintptr_t)s)->hides, memory_order_acquire);
}
static inline bool qv_shard_hidden(const struct qv_shard *s, qv_slot slot)
{
    return qv_shard_hides(s) && qv_slot_table_is_hidden(&s->slots, slot);
}
/* At an open: takes them before anything is read. */
QV_MUST_USE int qv_shard_init_keys(struct qv_shard *s, const struct qv_shard_keys *keys);
void qv_shard_begin_purge(struct qv_shard *s); /* owner, once the log is replayed */
void qv_shard_purge_step(struct qv_shard *s);
/* Before the id is published in the slot; exclusive lock. */
void qv_shard_mark_keys(struct qv_shard *s, qv_slot slot, const struct qv_id *id);
/* May these be written here? QV_ESTALE. */
QV_MUST_USE int qv_shard_check_keys(const struct qv_shard *s, const struct qv_group *g,
                                    struct qv_errmsg *msg);
/* The same of all that an operation names, before it is asked what they hold. */
QV_MUST_USE int qv_shard_check_op(const struct qv_shard *s, const struct qv_write_op *op,
                                  struct qv_errmsg *msg);
/* Leaves of the ids those that may be written here. */
void qv_shard_own_ids(const struct qv_shard *s, struct qv_matching *m);

static inline const struct qv_key_set *qv_shard_keep(const struct qv_shard *s)
{
    return s->keep;
}
void qv_replay_discard(struct qv_shard *s); /* nothing runs any more */
/* What was replayed of the stream is applied up to there. */
void qv_stream_cover(struct qv_shard *s, uint64_t stream, uint64_t position);

/* shard_checkpoint.c */
void qv_shard_checkpoint_start(struct qv_shard *s); /* owner; nothing when one is under way */
bool qv_shard_needs_checkpoint(const struct qv_shard *s, bool force);
/* The first one, of a new shard: a shard whose payload store has none is damaged. Blocks. */
QV_MUST_USE int qv_shard_checkpoint_first(struct qv_shard *s, struct qv_errmsg *msg);
/* A checkpoint whose flush failed is asked for once more after a second (force: now), since the
 * store may have it or not; true while one is under way. */
bool qv_shard_checkpoint_step(struct qv_shard *s);
/* Gives such a checkpoint up: its files stay, in case the payload store has it. */
void qv_shard_checkpoint_give_up(struct qv_shard *s);
void qv_shard_discard_checkpoint(struct qv_shard *s); /* no job can run any more */

/* shard_snapshot.c; owner */
/* Grants or refuses pins that wait; starts the checkpoint that they need. After each checkpoint,
 * before the next one begins. */
void qv_shard_pin_step(struct qv_shard *s);
/* Is a file number, or a slot that died before capture `seq`, held by a pin? */
bool qv_shard_pins_file(const struct qv_shard *s, uint64_t file_number);
bool qv_shard_pins_slot(const struct qv_shard *s, uint64_t seq);
void qv_shard_discard_pins(struct qv_shard *s); /* their holders are gone, as after a crash */
/* Files of a checkpoint that nobody needs any more. */
void qv_shard_remove_files(struct qv_shard *s, uint64_t number);

/* Is one being written right now (not: waiting for its flush to be asked for again)? */
bool qv_shard_checkpoint_busy(const struct qv_shard *s);

/* shard_heal.c, all but the last three on the owner */
/* Writes stop until the heal step succeeds; reads go on. Told once. */
void qv_shard_stall(struct qv_shard *s, int err, const char *why);
/* As stall; the group, durable in the log, is kept and applied then. */
void qv_shard_stall_group(struct qv_shard *s, const struct qv_group *g, int err, const char *why);
/* Does what is due: a failed row file goes to a new one, kept groups are applied, writes return. */
void qv_shard_heal_step(struct qv_shard *s);
bool qv_shard_heal_idle(const struct qv_shard *s);
bool qv_shard_rows_failed(const struct qv_shard *s);
void qv_shard_heal_discard(struct qv_shard *s); /* no job can run any more */
/* One of the shard's texts, which other threads read. */
void qv_shard_set_text(struct qv_shard *s, char to[256], const char *text);
/* Does the row match its checksum? For a slot that is live, or was when the reader came in. */
bool qv_shard_row_good(const struct qv_shard *s, uint32_t vector, qv_slot slot);
/* A row that does not: it is answered by nobody from now on. Fills msg; QV_ECORRUPT. */
int qv_shard_row_bad(struct qv_shard *s, uint32_t vector, qv_slot slot, struct qv_errmsg *msg);
/* Something else of the shard's fails its checksum: told once, shown in its status. */
void qv_shard_note_damage(struct qv_shard *s, const char *what);

/* shard_open.c */
/* Opens what an import has built; damage is an error here, not a quarantine. Any thread. */
QV_MUST_USE int qv_shard_open_built(struct qv_store *store, const struct qv_shard_spec *spec,
                                    struct qv_shard **out, struct qv_errmsg *msg);
QV_MUST_USE int qv_shard_create(struct qv_store *store, const struct qv_shard_spec *spec,
                                struct qv_shard **out, struct qv_errmsg *msg);
QV_MUST_USE int qv_shard_open(struct qv_store *store, const struct qv_shard_spec *spec,
                              struct qv_shard **out, struct qv_errmsg *msg);
/* After replay: what is live and not in a graph is queued for it. */
void qv_shard_queue_unindexed(struct qv_shard *s);
void qv_shard_destroy(struct qv_shard *s); /* at rest: nothing under way */
void qv_shard_discard(struct qv_shard *s); /* as after a crash: whatever was under way is gone */
void qv_shard_quarantine(struct qv_shard *s, int err, const char *why);

/* store.c */
/* Of a shard that is being dropped: why requests fail. */
int qv_shard_gone(const struct qv_shard *s, struct qv_errmsg *msg);
void qv_store_shard_step(struct qv_store *st); /* something ended: go on with close, drops, log */

#define QV_META_KEY "\0checkpoint"
#define QV_META_KEY_BYTES 11

#endif
