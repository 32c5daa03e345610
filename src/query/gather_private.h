/* Private to src/query: the machine's state, and what its two files share. */
#ifndef QV_QUERY_GATHER_PRIVATE_H
#define QV_QUERY_GATHER_PRIVATE_H

#include "query/gather.h"
#include "query/merge.h"

#define QV_NO_WANT UINT32_MAX

enum qv_want_state {
    QV_WANT_ASKED,      /* an attempt is under way */
    QV_WANT_PAUSED,     /* will be asked again at retry_ns */
    QV_WANT_REFRESHING, /* waits for a newer view */
    QV_WANT_ANSWERED,
    QV_WANT_FAILED,
    QV_WANT_REPLACED /* others stand for it: its shard was divided meanwhile */
};

/* One leg to be had. */
struct qv_want {
    struct qv_leg leg;
    const struct qv_candidate *candidates;
    uint32_t candidate_count;
    uint32_t next;  /* candidate */
    uint32_t tries; /* attempts that were made, but for stale ones */
    uint32_t stale; /* stale ones in a row */
    uint32_t live;  /* attempts under way that are not given up */
    uint32_t root;  /* MORE: the want it asks on; otherwise itself */
    uint8_t state;  /* enum qv_want_state */
    bool hedged;
    bool partial; /* the answer names less than was asked */
    uint64_t hedge_ns, retry_ns;
    uint64_t points;               /* about */
    const struct qv_key_set *keys; /* that its shard had when it was asked; NULL: not told */
    int err;                       /* of the last attempt that failed */
    struct qv_errmsg msg;
    const struct qv_leg_answer *answer;
    const struct qv_leg_list **lists; /* of roots: the newest of each query */
};

struct qv_try {
    uint32_t want;
    uint64_t node;
    uint64_t deadline_ns;
    bool given_up, ended;
};

enum qv_gather_phase { QV_PHASE_LOOKUP, QV_PHASE_READ, QV_PHASE_END };

struct qv_gather {
    struct qv_gather_config config;
    const struct qv_view *view; /* the newest */
    enum qv_gather_phase phase;
    uint64_t now_ns;
    uint64_t due_ns; /* of the timer that was asked for */
    struct qv_want *wants;
    uint32_t want_count, want_cap;
    uint32_t first; /* of this phase */
    struct qv_try *tries;
    uint32_t try_count, try_cap;
    uint32_t open; /* wants of this phase that are not settled */
    uint32_t live; /* attempts whose answer is owed */
    uint32_t more_rounds;
    uint32_t restarts;
    bool view_owed, done;
    bool started;
    struct qv_effects effects;
    /* what is asked */
    enum qv_ask_kind kind;
    struct qv_read_what what;    /* READ: as the legs see it */
    struct qv_query_req queries; /* a copy with offsets taken off, ids looked up */
    struct qv_get_req lookup;
    struct qv_id *lookup_ids;
    uint32_t *lookup_queries; /* whose they are */
    uint32_t lookup_count;
    int late_err; /* what the read ends with when nothing else is wrong before */
    struct qv_errmsg late_msg;
    int err; /* of the whole */
    struct qv_errmsg msg;
    struct qv_read_result result;
};

static inline bool qv_want_is_root(const struct qv_gather *g, uint32_t i)
{
    return g->wants[i].root == i && g->wants[i].state != QV_WANT_REPLACED;
}

/* gather.c */
int qv_gather_add_want(struct qv_gather *g, const struct qv_leg *leg, uint32_t shard,
                       uint32_t *index);

/* gather_merge.c: looks at what the legs of the READ gave. *again: there are wants that ask on (as
 * far as time allows). */
QV_MUST_USE int qv_gather_merge(struct qv_gather *g, bool in_time, bool *again);
/* Before the READ: the queries as the shards get them. */
QV_MUST_USE int qv_gather_copy_queries(struct qv_gather *g);
/* After the LOOKUP: puts the vectors that were found into the queries. */
QV_MUST_USE int qv_gather_use_vectors(struct qv_gather *g);
/* Who answered, and who did not. */
QV_MUST_USE int qv_gather_cover(struct qv_gather *g);

#endif
