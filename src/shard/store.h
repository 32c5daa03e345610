/* The node's store: one log, its shards, and what they share (workers' scratch, clock,
 * checkpoints).
 *
 * Directory:  log/  shards/<number>/{kv/ rows-<vector> slots-<n> graph-<vector>-<n>}
 *
 * Everything here runs on the env's owner unless a declaration says otherwise. */
#ifndef QV_SHARD_STORE_H
#define QV_SHARD_STORE_H

#include "core/kv.h"
#include "shard/shard.h"

struct qv_store_config {
    struct qv_env *env; /* borrowed, as all below */
    struct qv_kv_driver *kv;
    const char *dir;            /* copied */
    uint32_t writer;            /* this data directory's writer id */
    uint64_t segment_bytes;     /* of the log; 0: its default */
    uint64_t checkpoint_bytes;  /* dirty records of a shard that start a checkpoint; 0: 64 MiB */
    uint64_t log_bytes_max;     /* log kept for replay before shards checkpoint; 0: 1 GiB */
    uint64_t checkpoint_ms;     /* longest time a change waits for a checkpoint; 0: 60,000 */
    uint32_t slots_max;         /* of one shard: address space; 0: 2^26 */
    uint64_t pending_bytes_max; /* writes waiting; beyond it QV_EBUSY; 0: 256 MiB */
    uint32_t unindexed_max;     /* 0: QV_UNINDEXED_ROWS_MAX */
    uint32_t bulk_rows_min;     /* a graph of so many is built anew at once; 0: 5,000 */
    uint64_t reserve_bytes;     /* kept for a start on a full disk; 0: nothing is */
    uint64_t scrub_bytes_per_s; /* read in the background to verify it; 0: nothing is */
    uint64_t scrub_rest_ms;     /* from the end of a pass to the next; 0: 6 hours */
    uint64_t log_from;          /* feeds will be opened at positions from here on; 0: none */
};

/* Opens the shards named by specs (each from its last checkpoint), replays the log, starts
 * background work. A shard whose files are corrupt is quarantined, not an error. Blocks. Gives. */
QV_MUST_USE int qv_store_open(const struct qv_store_config *config,
                              const struct qv_shard_spec *specs, uint32_t spec_count,
                              struct qv_store **out, struct qv_errmsg *msg);

/* The shard of that number, borrowed; NULL when there is none. */
struct qv_shard *qv_store_shard(struct qv_store *s, uint32_t number);

/* Creates the shard's directory and files, durable on return. Blocks. */
QV_MUST_USE int qv_store_add_shard(struct qv_store *s, const struct qv_shard_spec *spec,
                                   struct qv_shard **out, struct qv_errmsg *msg);
/* Takes the shard out of service: its waiting writes fail with QV_ENOTFOUND, its files are removed
 * once its last job and reader are done, and then gone(arg) is called (NULL: nobody asks); until
 * then its configuration must stay. The metadata must have forgotten it already. */
void qv_store_drop_shard(struct qv_store *s, uint32_t number, void (*gone)(void *arg), void *arg);
/* Makes what a new configuration needs before the metadata names it: files of the vectors that it
 * adds. Blocks. On an error nothing is left; set_config with the old configuration takes it back.
 */
QV_MUST_USE int qv_store_prepare_config(struct qv_store *s, uint32_t number,
                                        const struct qv_collection_config *config,
                                        struct qv_errmsg *msg);
/* The same for a shard that another one has replaced: its waiting writes fail with QV_EUNAVAILABLE.
 */
void qv_store_replace_shard(struct qv_store *s, uint32_t number, void (*gone)(void *arg),
                            void *arg);
/* The shard's configuration has changed: from the next change on. What it no longer names goes,
 * graphs whose parameters changed are built anew in the background. */
void qv_store_set_config(struct qv_store *s, uint32_t number,
                         const struct qv_collection_config *config, uint32_t generation);

struct qv_store_stats {
    struct qv_log_stats log;
    uint64_t shards;
    uint64_t quarantined;
    uint64_t stalled; /* shards that take no writes because of the disk */
    uint64_t damaged; /* shards of which a part failed its checksum while the rest serves */
    uint64_t checkpoints;
    uint64_t checkpoint_failures;
    uint64_t writes_waiting_bytes;
    uint64_t writes_refused;  /* by a full or failing disk: nothing of them is there */
    uint64_t writes_in_doubt; /* answered "outcome unknown" */
    uint64_t scrub_bytes, scrub_passes, scrub_findings;
    double scrub_done; /* of the pass under way: 0 to 1 */
    uint64_t points;
    uint64_t payload_index_bytes; /* of memory, about */
};
void qv_store_get_stats(struct qv_store *s, struct qv_store_stats *out);

/* A start, and the deletion of a collection, must succeed on a full disk: for them a file of some
 * MiB is kept (<dir>/reserve). Gives its space free; it is made again when there is room. false:
 * there is none. Owner. */
bool qv_store_use_reserve(struct qv_store *s);

/* Checkpoints every shard that needs it now, then calls done (NULL: nobody waits). */
void qv_store_checkpoint(struct qv_store *s, void (*done)(void *arg, int err), void *arg);

/* Refuses new writes (QV_EUNAVAILABLE), waits for jobs, checkpoints, closes the log, frees, calls
 * done. Readers must be gone. Takes s. */
void qv_store_close(struct qv_store *s, void (*done)(void *arg, int err), void *arg);
/* Frees without writing, as a crash would; only when no job can run any more (simulator). */
void qv_store_abandon(struct qv_store *s);

/* `quiver check`: verifies a stopped store in dir, shard by shard; tells the listener everything
 * that is wrong (file, what it affects) and counts it in *out. Any thread. */
struct qv_store_finding {
    uint32_t shard;           /* 0: of none */
    struct qv_str collection; /* set by the node; n == 0: of none */
    const char *file;
    const char *what; /* with the place in it: offset, row, point, lsn */
};
struct qv_store_listener {
    void (*report)(void *arg, const struct qv_store_finding *f); /* borrows f for the call */
    void (*progress)(void *arg, uint64_t done, uint64_t total);  /* points; NULL: nobody asks */
    void *arg;
};
struct qv_store_check_summary {
    uint64_t shards, points, findings;
    uint64_t log_records;
};
QV_MUST_USE int qv_store_check(const struct qv_store_config *config,
                               const struct qv_shard_spec *specs, uint32_t spec_count,
                               const struct qv_store_listener *listener,
                               struct qv_store_check_summary *out, struct qv_errmsg *msg);

#endif
