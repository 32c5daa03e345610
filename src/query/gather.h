/* A read over many shards, as a pure step machine: (state, event) -> effects. No clock, no message,
 * no thread: it is told what happened and when, and says what to do. It is the only place that
 * retries, hedges, cancels, merges and counts coverage.
 *
 * One read: [LOOKUP: fetch the vectors that queries by id name] -> READ: the plan's legs ->
 * [MORE: ask on those whose bound shows that k' was too few, until none is] -> DONE.
 *
 * Invariants
 *  1. DONE comes exactly once, and last: after every attempt that was sent has ended (an answer
 * came, if only to its cancel) and no VIEW is owed. So what attempts borrow may go with it.
 *  2. A leg that failed is never counted as answered, nor is a part of a cover that an answer does
 * not name; hits that came from it before stay, they are true.
 *  3. The result depends on the answers, not on the order in which they come.
 *  4. A request's own fault (a PERMANENT error) ends the read at once and is never retried.
 *
 * A failed attempt is made again with another candidate; with the same one where there is no other,
 * after a pause, `same_tries` times, and while it can't be reached as long as there is time (not
 * where a partial answer will do); with the same one at once when it knew another record of its
 * shard (the VIEW event brings the newest here), and after a pause while they differ. A leg is
 * hedged after its candidate's p95 where there is another. Retries and hedges together are at most
 * QV_BUDGET_SHARE of what was asked, over all reads that share a budget, and a burst. An attempt
 * refused as stale, or that reached nobody, has cost no leaf anything and counts for nothing. */
#ifndef QV_QUERY_GATHER_H
#define QV_QUERY_GATHER_H

#include "query/read_plan.h"

#define QV_BUDGET_SHARE 0.1
#define QV_BUDGET_BURST 16.0

/* Retries and hedges that may be made; shared by the reads of one owner. */
struct qv_read_budget {
    double left;
};

struct qv_gather;

struct qv_gather_config {
    const struct qv_view *view; /* held until DONE, later ones too */
    struct qv_read_what what;   /* borrowed until DONE */
    struct qv_arena *arena;     /* for the machine and the result; its user's alone */
    struct qv_read_budget *budget;
    uint64_t deadline_ns;
    uint64_t seed;       /* of samples */
    uint32_t same_tries; /* how often a lone candidate is asked again; 0: nor waited for */
};

/* What was read, of what. */
struct qv_read_result {
    union { /* by kind */
        struct qv_points_out *lists;
        struct qv_points_out points;
        struct qv_scroll_out scroll;
        struct qv_facet_out facet;
        uint64_t count;
    } out;
    struct qv_coverage coverage;
};

enum qv_gather_event_type {
    QV_GATHER_START,
    QV_GATHER_ANSWER,
    QV_GATHER_TIME, /* what TIMER asked for; earlier or later does no harm */
    QV_GATHER_VIEW, /* what REFRESH asked for */
    QV_GATHER_STOP  /* nobody waits any more */
};

struct qv_gather_event {
    enum qv_gather_event_type type;
    uint64_t now_ns;
    uint32_t attempt;                   /* ANSWER */
    const struct qv_leg_answer *answer; /* ANSWER; held until DONE */
    const struct qv_view *view;         /* VIEW, may be an old one; NULL: it is gone */
};

enum qv_effect_type {
    QV_EFFECT_SEND,    /* `attempt` to `node`; those of one step to one node make one message */
    QV_EFFECT_CANCEL,  /* `attempt` is not wanted any more; its ANSWER is still owed */
    QV_EFFECT_TIMER,   /* TIME at `at_ns`, instead of an earlier wish */
    QV_EFFECT_REFRESH, /* VIEW, as it is now */
    QV_EFFECT_DONE     /* the last effect of all */
};

struct qv_effect {
    enum qv_effect_type type;
    uint32_t attempt;
    uint64_t node;
    uint64_t at_ns;
};

struct qv_effects {
    struct qv_effect *list; /* the machine's, until the next step */
    uint32_t count, cap;
};

/* What to send for an attempt; pointers are valid until DONE. */
struct qv_attempt {
    enum qv_ask_kind kind;
    const void *req; /* as qv_ask.req */
    struct qv_leg leg;
    uint64_t node;
    uint64_t deadline_ns;
};

void qv_read_budget_init(struct qv_read_budget *b);

/* In the config's arena, and goes with it. QV_ENOMEM. */
QV_MUST_USE int qv_gather_create(const struct qv_gather_config *config, struct qv_gather **out);
/* START first, once. */
const struct qv_effects *qv_gather_step(struct qv_gather *g, const struct qv_gather_event *event);
void qv_gather_attempt(const struct qv_gather *g, uint32_t attempt, struct qv_attempt *out);
/* After DONE: 0 and the result, or why there is none: the request's own fault, QV_ETIMEOUT,
 * QV_EUNAVAILABLE (msg names what is missing), QV_ECANCELED. */
QV_MUST_USE int qv_gather_result(const struct qv_gather *g, struct qv_read_result *out,
                                 struct qv_errmsg *msg);

#endif
