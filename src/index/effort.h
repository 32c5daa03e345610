/* How wide a walk must be for a wanted recall: learned from a sample of the graph's own rows, asked
 * as queries against the exact scan, and applied to each query by what its first steps show.
 *
 * Queries differ: on word vectors the median needs a breadth of 40 for recall 0.95, one in ten 500.
 * A fixed breadth pays for the hard ones everywhere. Here a search walks with a small breadth first
 * (hnsw_stages.h); how far its hits are, how far apart, and how many rows were compared give a
 * score, linear in these, that tells easy from hard; the scores are cut into bins of equal share,
 * and each bin has a breadth of its own. The breadths of the bins are chosen together: from the
 * smallest on, the step that gains most hits for the distances it costs is taken until the mean
 * recall of the sample is the target (per-query effort as in Ada-ef, arXiv 2512.06636, and DARTH,
 * arXiv 2505.19001; theirs predict or stop a query alone, here the budget is shared by the margin).
 *
 * A sampled row is asked as if it were not in the graph (its own node is passed over), which makes
 * it no easier than a query that is not stored. Recall is that of the QV_EFFORT_K nearest; who
 * wants more of them gets a breadth that grows with it.
 *
 * Threads: sampling may run beside inserts, removes and searches; a trace by one thread at a time.
 * A finished qv_effort is a value. */
#ifndef QV_INDEX_EFFORT_H
#define QV_INDEX_EFFORT_H

#include "index/hnsw_stages.h"

#define QV_EFFORT_K 10u
#define QV_EFFORT_BINS 12u
#define QV_EFFORT_FEATURES 6u
#define QV_EFFORT_PLANS 11u
#define QV_EFFORT_RANKED 20u /* by codes, ranked by the rows: what the caller does, too */

/* For one target. */
struct qv_effort_plan {
    float target;
    float weights[QV_EFFORT_FEATURES];
    float bounds[QV_EFFORT_BINS - 1]; /* of the score, ascending */
    uint32_t first;                   /* breadth that the score is taken after */
    uint32_t fixed; /* one breadth for all that reaches it; where no score can be taken */
    uint32_t ef[QV_EFFORT_BINS];
    float expected; /* recall of the sample */
};

struct qv_effort {
    uint32_t samples;                             /* 0: nothing is known */
    uint32_t rows;                                /* that the graph held then */
    struct qv_effort_plan plans[QV_EFFORT_PLANS]; /* targets ascending */
};

/* The plan for a target in (0, 1]: the next one at or above it. NULL: nothing is known. */
const struct qv_effort_plan *qv_effort_plan(const struct qv_effort *e, double target);
/* Breadth for the query whose first stage this is, at least stage->ef. */
uint32_t qv_effort_breadth(const struct qv_effort_plan *plan, const struct qv_hnsw_stage *stage);

struct qv_effort_query {
    struct qv_hnsw_query query; /* k: how many candidates; ef is not read */
    const struct qv_effort_plan *plan;
    uint32_t k; /* results wanted of the candidates in the end */
};

/* One search with the plan's breadth. As qv_hnsw_search. */
int qv_effort_search(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                     const struct qv_effort_query *query, struct qv_hnsw_hit *hits,
                     uint32_t *n_out) QV_MUST_USE;

/* ---- learning ---- */

struct qv_effort_trace;

/* A sample of so many rows, by the seed. Gives; never NULL. */
struct qv_effort_trace *qv_effort_trace_create(uint32_t samples, uint64_t seed);
void qv_effort_trace_destroy(struct qv_effort_trace **t); /* NULL is fine; sets NULL */
/* Asks up to n more rows: an exact scan for all of them (n at once cost little more than one), and
 * a wide walk each. *done: the sample is complete (or the graph too small to give one).
 * QV_ENOMEM. */
int qv_effort_trace_step(struct qv_effort_trace *t, const struct qv_hnsw *h,
                         struct qv_hnsw_ctx *ctx, uint32_t n, bool *done) QV_MUST_USE;
/* What the sample teaches; samples 0 when it is empty. */
void qv_effort_trace_fit(const struct qv_effort_trace *t, struct qv_effort *out);

#endif
