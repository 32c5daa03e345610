/* How a search under a filter is answered: by comparing every row that passes, by a walk that steps
 * over what fails, or by a plain walk whose result is checked. Chosen by what each is expected to
 * cost. A walk that turns out a quarter dearer than the scan would have been becomes one, so the
 * worst case is 2.25 scans; so does one that ends lost, far from the query among rows that all lie
 * about equally far. A checked walk that found too few becomes the other walk.
 *
 * The choice is a pure function of counts: equal filters have equal plans. */
#ifndef QV_INDEX_FILTER_PLAN_H
#define QV_INDEX_FILTER_PLAN_H

#include "index/hnsw.h"

enum qv_plan_way {
    QV_PLAN_PLAIN,   /* no filter */
    QV_PLAN_SCAN,    /* every row that passes is compared */
    QV_PLAN_BRIDGES, /* a walk over what passes, failing nodes as bridges */
    QV_PLAN_CHECK    /* a plain walk, a little broader; its result is checked */
};
#define QV_PLAN_WAYS (QV_PLAN_CHECK + 1)

struct qv_plan_facts {
    uint32_t rows;      /* in the graph */
    uint32_t passing;   /* of them */
    uint32_t ef;        /* max(ef, k) */
    uint32_t m0;        /* links a node may have */
    uint32_t row_bytes; /* of what is compared */
};

struct qv_plan {
    enum qv_plan_way way;
    double cost_ns[QV_PLAN_WAYS]; /* expected, of each way */
    double share;                 /* of the rows, those that pass */
    uint64_t visits_max;          /* of a walk: what costs as much as the scan; 0: no bound */
};

/* Any thread. */
void qv_plan_choose(const struct qv_plan_facts *facts, struct qv_plan *out);

const char *qv_plan_name(enum qv_plan_way way); /* "plain", "scan", "bridges", "check"; static */

struct qv_plan_query {
    struct qv_hnsw_query query; /* with a bitmap and no accept; way and visits_max are not read */
    uint32_t passing;           /* bits set in it, of live slots: about */
    enum qv_plan_way forced;    /* PLAIN: choose; for tests and benchmarks */
};

/* What came of it. */
struct qv_plan_report {
    struct qv_plan_facts facts;
    struct qv_plan plan;
    enum qv_plan_way answered; /* where the plan was given up: what answered instead */
    struct qv_hnsw_work work;  /* of this search */
};

/* The plan alone, and what it is made of, into *report; nothing is searched. */
void qv_plan_make(const struct qv_hnsw *h, const struct qv_plan_query *query,
                  struct qv_plan_report *report);

/* Plans and runs. Hits and errors as qv_hnsw_search's, never QV_ELIMIT. report may be NULL. */
int qv_plan_search(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                   const struct qv_plan_query *query, struct qv_hnsw_hit *hits, uint32_t *n_out,
                   struct qv_plan_report *report) QV_MUST_USE;

#endif
