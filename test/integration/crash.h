/* The crash test: what its two halves share. crash.c writes, kills and compares; crash_snapshot.c
 * takes snapshots meanwhile, restores them and compares. */
#ifndef QV_TEST_CRASH_H
#define QV_TEST_CRASH_H

#include "base/buf.h"
#include "base/rng.h"
#include "net/client.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define DIM 32
#define IDS 3000
#define SLOTS 4
#define PAST_MAX 16
#define BATCH 48
#define CENTRES 20
#define RECALL_FLOOR 0.97
#define QUERIES 40
#define LIFE_MS_MAX 6000
#define START_MS_MAX 60000
#define SERVING "700" /* ms after its start it serves and is written to */

enum phase {
    LOG_APPEND,
    LOG_SYNC,
    CHECKPOINT,
    RECYCLING,
    GRAPH_SAVE,
    VECTOR_WRITE,
    START_UP,
    RECOVERY,
    SNAPSHOT,
    RESTORE,
    RANDOM,
    PHASES
};

struct state { /* of a point; all zeros: not there */
    bool alive;
    uint32_t stamp; /* of its vector */
    int n, t;       /* payload; 0: absent */
};

/* A state that a snapshot may have found, and when the change that made it was sent and answered
 * (0: the state at the beginning; not answered). */
struct past {
    struct state s;
    uint32_t sent, acked;
};

struct point {
    struct state now, maybe;
    bool doubt; /* maybe may be it */
    bool busy;
    struct past past[PAST_MAX]; /* since the snapshot was asked for */
    uint32_t past_count;        /* more than PAST_MAX: not all are known */
};

enum kind { UPSERT, VECTORS, DELETE, SET, OVERWRITE, CLEAR, DELETE_KEY, KINDS };

struct crash;

struct slot { /* one request in flight */
    struct crash *c;
    struct qv_buf body;
    char path[128];
    enum kind kind;
    bool grpc;
    uint32_t ids[BATCH];
    struct state after[BATCH];
    uint32_t past_at[BATCH]; /* in past, of each */
    uint32_t count;
};

struct crash {
    unsigned mode; /* what the graph's walk compares */
    struct qv_rng rng;
    const char *quiver, *dir;
    struct point points[IDS];
    uint32_t stamp;
    struct slot slots[SLOTS];
    struct qv_client *client; /* of this life: HTTP/2 */
    pid_t pid;
    int out_fd;
    unsigned port;
    uint64_t deadline_ns; /* the parent's own kill */
    bool dead, struck_by_us;
    unsigned first_ops; /* at most so many operations into a start */
    /* the snapshot of this life: crash_snapshot.c */
    enum snap { SNAP_NONE, SNAP_MAKING, SNAP_MADE } snap;
    bool recording; /* changes become past */
    uint32_t events;
    char snap_name[256];
    struct qv_buf snap_body;
    char snap_path[512];
    unsigned snap_round;  /* its collection has its number */
    bool snap_again;      /* one after the other, until the kill */
    uint32_t snap_newest; /* when the newest change in the restored collection was sent */
    uint64_t snapshots, restores, snapshot_failures;
    /* results */
    uint64_t kills, by_phase[PHASES], acked, unknown, lost, resurrected, wrong_vector,
        wrong_payload, check_failures, checks, refused;
    double recall_min, restart_ms_max;
};

/* crash.c */
/* A request and its answer; the HTTP status, or negative: the server died. */
int crash_call(struct crash *c, const char *method, const char *path, const char *body,
               json_t **answer);
bool crash_same_payload(const json_t *payload, const struct state *s);
bool crash_same_vector(const json_t *vector, uint32_t stamp);

/* crash_snapshot.c */
/* Before the writers of a life begin, when nothing is in doubt: asks for a snapshot. What follows
 * happens in callbacks: it is restored into another collection, which is compared. */
void crash_snapshot_begin(struct crash *c);
/* A change is sent, or was answered with success. */
void crash_snapshot_sent(struct slot *s);
void crash_snapshot_acked(struct slot *s);
/* After a start: nothing unfinished lies about; a collection that was being restored when the
 * server died is whole, or not there. false: the server died. */
bool crash_snapshot_check(struct crash *c);

#endif
