/* What `quiver bench filter` searches: rows, queries, a graph, filters as bitmaps, and the true
 * answers under each.
 *
 * Filters. For each selectivity: bits drawn at random (RANDOM); and balls around pivots, rows drawn
 * at random: as many rows as the selectivity says, those nearest to the pivot. A query's CORRELATED
 * filter is the ball of the pivot nearest to it, its ANTI filter that of the farthest.
 *
 * The graph and the truth are kept in a folder, under a name made of all they depend on. */
#ifndef QV_CLI_BENCH_FILTER_SET_H
#define QV_CLI_BENCH_FILTER_SET_H

#include "base/err.h"
#include "base/metric.h"
#include "base/vmem.h"
#include "index/hnsw.h"

#include <stdbool.h>
#include <stdint.h>

#define QV_FILTER_SET_K 10u
#define QV_FILTER_SET_SELS 8u
#define QV_FILTER_SET_PIVOTS 32u
#define QV_FILTER_SET_RANDOM 4u /* bitmaps a selectivity */

enum qv_filter_kind { QV_FILTER_RANDOM, QV_FILTER_CORRELATED, QV_FILTER_ANTI, QV_FILTER_KINDS };

struct qv_filter_set_options {
    const char *base, *query, *metric, *cache;
    uint32_t queries_max, m, ef_construct, threads;
    bool codes;
};

struct qv_filter_set {
    struct qv_rows rows, queries;
    struct qv_vmem rows_mem, queries_mem;
    enum qv_metric metric;
    enum qv_dtype dtype;
    uint32_t n, dim, q;
    struct qv_hnsw *graph;
    uint32_t words;                       /* of a bitmap */
    uint32_t members[QV_FILTER_SET_SELS]; /* rows of each ball, and of a random filter */
    uint64_t *balls;                      /* [sel][pivot][words] */
    uint64_t *random;                     /* [sel][variant][words] */
    uint32_t *near, *far;                 /* by query: its pivots */
    float *bounds[QV_FILTER_SET_SELS][QV_FILTER_KINDS]; /* by query: distance of the true tenth */
};

double qv_filter_set_selectivity(uint32_t sel); /* 1 .. 0.0001, sel < SELS */
const char *qv_filter_kind_name(enum qv_filter_kind kind);

/* Reads, builds or takes from the cache; tells what it does on stderr. 0 or an exit code. */
int qv_filter_set_open(const struct qv_filter_set_options *o, struct qv_filter_set *s) QV_MUST_USE;
void qv_filter_set_close(struct qv_filter_set *s);

/* The query's filter; valid while s is. */
const uint64_t *qv_filter_set_bits(const struct qv_filter_set *s, uint32_t sel,
                                   enum qv_filter_kind kind, uint32_t query);

#endif
