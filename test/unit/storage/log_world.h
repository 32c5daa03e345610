/* A log on a simulated disk with a model beside it: what was appended, what was acknowledged, and
 * the check of what a recovery gives. Used by the log's tests. */
#ifndef QV_TEST_LOG_WORLD_H
#define QV_TEST_LOG_WORLD_H

#include "base/rng.h"
#include "io/sim_disk.h"
#include "io/sim_env.h"
#include "storage/log.h"

#define WORLD_DIR "log"
#define WORLD_RECORDS 4096

struct world_record {
    uint64_t number; /* of its bytes: every append has another */
    uint32_t bytes;
    qv_lsn end;
    unsigned chain; /* appends between two failures of the log */
    bool refused;   /* a commit said that it never was written */
};

struct world_waiter;

struct world {
    struct qv_sim *sim;
    struct qv_disk *disk;
    struct qv_sim_node *node;
    struct qv_log *log;
    struct qv_log_config config;
    struct qv_rng rng;
    struct qv_rng read_rng; /* of world_read_back alone */

    struct world_record record[WORLD_RECORDS]; /* in the log or on the way to it, in order */
    size_t record_n;
    size_t acked_n;    /* the first so many are acknowledged */
    size_t released_n; /* the first so many are behind a durable checkpoint */
    qv_lsn checkpoint;
    uint64_t next_number;
    unsigned chain;
    uint64_t clock_acked; /* a reserved clock that a commit confirmed */

    struct world_record seen[WORLD_RECORDS]; /* by the last replay */
    size_t seen_n;
    size_t bad;     /* records whose bytes are not what was appended */
    size_t damages; /* reported */
    bool tolerate;  /* what on_damage answers */
    size_t waiters, waiter_errors, waiter_doubts;
    struct world_waiter *waiting;
    const char *wrong;       /* what the checker found; NULL: nothing */
    uint64_t recovered_tail; /* unacknowledged records that survived, over the run */
    uint64_t lost_tail;
    uint64_t read_back; /* records that were read back out of the log in use */
};

void world_init(struct world *w, uint64_t seed);
void world_close(struct world *w);
int world_open(struct world *w, struct qv_errmsg *msg); /* replays into seen */
void world_append(struct world *w, uint32_t bytes);
void world_commit(struct world *w);
void world_resume(struct world *w); /* after a stop */
void world_run(struct world *w);    /* until nothing is under way */
void world_shut(struct world *w);   /* a clean close */
void world_crash(struct world *w, bool power);
/* After an open: seen = the acknowledged, then a prefix of one chain; takes that as the new truth.
 * false: wrong says what. */
bool world_check(struct world *w);
/* Reads one shard's acknowledged records back from a random place on, in random steps, and compares
 * them. false: wrong says what. */
bool world_read_back(struct world *w);
void world_checkpoint(struct world *w, size_t n); /* of the first n records; n <= acked_n */

#endif
