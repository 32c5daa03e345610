/* A store of two shards on a simulated disk, driven by random writes, with a model beside it: for
 * every id the states it may be in. Acknowledged writes leave one state; writes whose outcome is
 * unknown (a crash, a failed log) leave several, until an open shows which. One thread. */
#ifndef QV_TEST_SHARD_WORLD_H
#define QV_TEST_SHARD_WORLD_H

#include "base/rng.h"
#include "core/api.h"
#include "io/sim_disk.h"
#include "io/sim_env.h"
#include "io/sim_kv.h"
#include "shard/store.h"

#define WORLD_SHARDS 2
#define WORLD_IDS 160 /* of a shard; every fourth is a UUID */
#define WORLD_STATES_MAX 24

/* What an id holds; all zeros: it is not there. */
struct world_state {
    uint32_t alive;
    uint32_t stamp[4]; /* vectors a, b, m, s by what their values are made from; 0: absent */
    int32_t n, t;      /* payload "n" (int), "t" (string); 0: absent */
    int32_t o, ox, oy; /* payload "o": object with x, y; o 0: absent; ox, oy 0: absent */
};

struct world_model {
    struct world_state states[WORLD_STATES_MAX];
    uint32_t count; /* 0: too many to tell */
};

struct world_write;

struct world {
    uint64_t seed;
    struct qv_rng rng;
    struct qv_sim *sim;
    struct qv_disk *disk;
    struct qv_sim_node *node;
    struct qv_kv_driver *kv;
    struct qv_store *store;
    struct qv_store_config config;
    struct qv_collection_config collection;
    struct qv_vector_config vectors[3];
    struct qv_sparse_config sparse;
    struct qv_shard_spec specs[WORLD_SHARDS + 1]; /* the last: a test's own, once it is made */
    bool extra;                                   /* it is made */
    void (*on_answer)(struct world *w, const struct qv_write *write, int err); /* NULL: none */
    void *arg;                                                                 /* the test's */
    bool created;

    struct world_model model[WORLD_SHARDS][WORLD_IDS];
    bool disowned[WORLD_SHARDS][WORLD_IDS]; /* filters of writes don't meet them */
    struct world_write *first, **last;      /* under way, in the order of their submission */
    uint32_t stamp;
    bool settling; /* opened, nothing written since: what is there is the truth */
    bool closed;
    int close_err;

    char wrong[1024]; /* what the checker found; empty: nothing */
    /* what happened */
    uint64_t acked, refused, unknown, lives, replays_unknown_kept, replays_unknown_lost;
    uint64_t recall_hits, recall_of, quarantined, open_refused, read_errors;
};

void world_init(struct world *w, uint64_t seed);
void world_close(struct world *w);
/* Opens (and at first creates) the store; a result other than 0: msg. */
int world_open(struct world *w, struct qv_errmsg *msg);
/* Submits one random request; false: not while so much is in doubt. */
bool world_write_some(struct world *w);
void world_run(struct world *w); /* until nothing is under way */
void world_crash(struct world *w, bool power);
int world_shut(struct world *w); /* a clean close */
/* Compares what the store answers with the model; after an open, before anything is written, what
 * is there becomes the truth. strict:
 * an error of a read is wrong, too. false: w->wrong says what. Shards that are quarantined are
 * passed over (counted). */
bool world_verify(struct world *w, bool strict);
/* Slot tables and graphs, at rest. */
bool world_check_structures(struct world *w);

#endif
