/* How far a walk must go for a wanted recall: learned from a sample of the graph's own rows, asked
 * as queries against the exact scan, and applied to each query by what its steps show.
 *
 * Queries differ: on word vectors the median needs a breadth of 40 for recall 0.95, one in ten 500.
 * A fixed breadth pays for the hard ones everywhere. Here a search walks rung by rung up a ladder
 * of breadths (hnsw_stages.h). At each rung its state (how far the hits are, how long they have not
 * changed, how many rows still come in) gives a score, linear in these: how many hits are still to
 * be found, as a logistic regression on the sample foretells it. Below the rung's cut the search
 * ends. Score and rung are the same for all targets; the cuts are a target's own. They follow from
 * one price, hits per distance: from the last rung back, a cut is where going on (to wherever later
 * cuts would stop) gains as many hits as its distances are worth. The price is the highest whose
 * cuts give the sample the target, so the mean is kept and the effort goes where it finds most
 * (an optimal stopping problem, solved as Longstaff and Schwartz do, 2001; searches that stop
 * themselves: learned early termination, Li et al., SIGMOD 2020; DARTH, arXiv 2505.19001).
 *
 * A sampled row is asked as if it were not in the graph (its own node is passed over), which makes
 * it no easier than a query that is not stored. Recall is that of the QV_EFFORT_K nearest; who
 * wants more of them gets a breadth that grows with it.
 *
 * Threads: sampling may run beside inserts, removes and searches; a trace by one thread at a time.
 * A finished qv_effort is a value. */
#ifndef QV_INDEX_EFFORT_H
#define QV_INDEX_EFFORT_H

#include "base/buf.h"
#include "index/hnsw_stages.h"

#define QV_EFFORT_K 10u
#define QV_EFFORT_RUNGS 37u /* breadths 5 .. 2,560, four an octave */
#define QV_EFFORT_FEATURES 8u
#define QV_EFFORT_GOALS 11u
#define QV_EFFORT_RANKED 20u /* by codes, ranked by the rows: what the caller does, too */

/* For one target. */
struct qv_effort_goal {
    float target;
    float expected; /* recall of the sample */
    uint32_t fixed; /* one breadth for all that reaches it; where no score can be taken */
    float cuts[QV_EFFORT_RUNGS - 1]; /* of the scores */
};

struct qv_effort {
    uint32_t samples; /* 0: nothing is known */
    uint32_t rows;    /* that the graph held then */
    float weights[QV_EFFORT_RUNGS - 1][QV_EFFORT_FEATURES];
    struct qv_effort_goal goals[QV_EFFORT_GOALS]; /* targets ascending */
};

/* What a search needs for its target. */
struct qv_effort_plan {
    struct qv_effort_goal goal;
    float weights[QV_EFFORT_RUNGS - 1][QV_EFFORT_FEATURES];
};

/* The plan for a target in (0, 1]: of the next goal at or above it. false: nothing is known. */
bool qv_effort_plan(const struct qv_effort *e, double target, struct qv_effort_plan *out);

/* The breadth of a rung, below QV_EFFORT_RUNGS. */
uint32_t qv_effort_rung(uint32_t rung);

struct qv_effort_query {
    struct qv_hnsw_query query; /* k: how many candidates; ef is not read */
    const struct qv_effort_plan *plan;
    uint32_t k; /* results wanted of the candidates in the end */
};

/* One search that goes as far as the plan says. As qv_hnsw_search. */
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
/* What the sample teaches; samples 0 when it is empty. Some tenths of a second for 2,000. */
void qv_effort_trace_fit(const struct qv_effort_trace *t, struct qv_effort *out);

/* ---- keeping ---- */

#define QV_EFFORT_BYTES_MAX 4096u

/* Appends what was learned on the graph; e->samples > 0. Format: effort_file.c. */
void qv_effort_encode(const struct qv_effort *e, const struct qv_hnsw *h, struct qv_buf *out);
/* QV_EINVAL: of a graph with other parameters, or by a version that walks otherwise.
 * QV_ECORRUPT. On an error *out knows nothing. */
int qv_effort_decode(struct qv_bytes bytes, const struct qv_hnsw *h, struct qv_effort *out,
                     struct qv_errmsg *msg) QV_MUST_USE;

#endif
