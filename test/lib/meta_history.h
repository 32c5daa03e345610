/* Random clients of a metadata store, and the proof that what they saw was linearizable.
 *
 * Each client lists or changes a few keys, one request at a time; every value is written once. An
 * observer lists and watches, so that at the end the state of the store is known at every revision
 * (but for what a compaction took away from it). Then each answer must fit: a change stands at its
 * revision, whole, under compares that held right before it; a refused one stands nowhere, and its
 * compare fails at the revision it was refused at; one of unknown outcome stands once or nowhere;
 * a list is the state at its revision; and no answer lies before what was acknowledged when it was
 * asked. The observer itself refuses gaps, repeats and disorder as they come. */
#ifndef QV_TEST_META_HISTORY_H
#define QV_TEST_META_HISTORY_H

#include "base/rng.h"
#include "core/meta.h"

#define MH_CLIENTS_MAX 5u
#define MH_KEYS 6u
#define MH_OPS_MAX 8192u
#define MH_REVISIONS_MAX 16384u

struct mh_state {
    struct {
        uint64_t mod, value; /* 0: there is none */
    } keys[MH_KEYS];
    bool known;
};

struct mh_op {
    bool list, finished;
    int err;
    uint64_t acked; /* the newest revision acknowledged when it was asked */
    uint64_t revision;
    uint32_t compare_count, change_count;
    struct {
        unsigned key;
        enum qv_meta_compare_kind kind;
        uint64_t what;
    } compares[2];
    struct {
        unsigned key;
        uint64_t value; /* 0: removed */
    } changes[3];
    struct mh_state seen; /* of a list */
    unsigned stands;      /* how often it was found */
};

struct mh_client {
    struct mh *h;
    unsigned number;
    struct qv_meta *meta; /* NULL: none just now */
    struct qv_timer timer;
    struct qv_rng rng;
    struct mh_op *op; /* under way */
    struct mh_state seen;
    struct qv_meta_listing list;
    struct qv_meta_txn txn;
    struct qv_meta_compare compares[2];
    struct qv_meta_change changes[3];
    char values[3][24], compare_value[24];
    char keys[5][16];
};

struct mh_observer {
    struct mh *h;
    struct qv_meta *meta;
    struct qv_timer timer;
    struct qv_meta_listing list;
    struct qv_meta_watch watch;
    bool begun;
    uint64_t at; /* everything up to it is known */
    struct mh_state now;
    unsigned compacted, batches;
};

struct mh {
    struct mh_client clients[MH_CLIENTS_MAX];
    unsigned client_count;
    struct mh_observer observer;
    struct mh_op *ops;
    unsigned op_count;
    struct mh_state *states; /* by revision - first */
    uint64_t first;
    uint64_t acked;
    uint64_t next_value;
    uint64_t pause_ns_max; /* between two requests of a client */
    bool stopping;
    unsigned done_ok, done_stale, done_unknown, done_away, lists_ok;
};

/* metas[0] is the observer's too. The metas are borrowed until mh_free or mh_detach. */
struct mh *mh_create(struct qv_meta **metas, unsigned count, uint64_t seed);
void mh_stop(struct mh *h); /* no new requests */
bool mh_idle(const struct mh *h);
/* The observer has seen all that was acknowledged: the check can begin. Asks for nothing. */
bool mh_level(const struct mh *h);
/* After a crash of a client's node: its request is forgotten, its outcome unknown. meta NULL: none
 * until mh_attach. */
void mh_detach(struct mh *h, unsigned client);
void mh_attach(struct mh *h, unsigned client, struct qv_meta *meta);
/* Fails the test where an answer does not fit. */
void mh_check(struct mh *h);
void mh_free(struct mh *h); /* the metas must be closed or idle */

#endif
