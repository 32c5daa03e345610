/* quiver bench placement: how a data set lies under each placement, what growing moves, and what
 * visiting few shards finds.
 *
 * Rows have their number as id. Growing: 50 shards are added one after the other. hash and the
 * ring: the exact share of the hash space that changes its shard; range: the largest range is split
 * at the median of a sample of its ids; cluster: the largest shard's centroid is split, the share
 * is of a sample. Recall: a true neighbour is found exactly when a shard that holds it is visited,
 * since inside it the search is exact. Shards are visited nearest first under cluster, at random
 * under the others (and for `recall_random` under cluster too). */
#include "cli/bench_placement.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "base/rng.h"
#include "cli/bench_commit.h"
#include "cli/bench_kit.h"
#include "cli/bench_placement_set.h"
#include "cli/options.h"
#include "cli/picture.h"
#include "cli/progress.h"
#include "cluster/placement.h"
#include "simd/score.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define K QV_PLACEMENT_BENCH_K
#define COUNTS_MAX 8u
#define SHARDS_MAX 256u
#define ADDITIONS 50u
#define BLOCK 512u
#define THREADS_MAX 64u
#define GROWTH_SAMPLE 16384u /* rows that tell what splitting centroids moves */
#define SPLIT_SAMPLE 1000u
#define NONE UINT32_MAX

struct options {
    const char *data, *set, *metric, *shards, *png, *storage, *balance;
    uint64_t sample, seed, threads, queries;
    bool json;
};

struct row {
    enum qv_placement_strategy strategy;
    uint32_t shards;
    double max_over_mean, storage;
    double moved_mean, moved_max; /* shares of all keys */
    double over_mean, over_max;   /* times n + 1, where n + 1 shards are there then */
    double recall[SHARDS_MAX];    /* of 1 .. shards visited */
    double recall_random[SHARDS_MAX];
    double stop_needed;            /* cluster: shards that the true tenth does not rule out */
    double retrain_moved, train_s; /* cluster */
};

struct bench {
    struct options opt;
    struct qv_placement_set set;
    uint32_t counts[COUNTS_MAX], count;
    double storage, balance;
    float *sample, *other_sample; /* sample_n x dim */
    uint32_t sample_n;
    uint32_t *first, *second; /* a row: places of its shards; NONE: there is no second */
    float *far;               /* a row: distances to the first and second centroid */
    float *norms;             /* of blocks of rows: the longest */
    struct row *rows;
    uint32_t row_count;
    struct qv_progress progress;
    uint64_t done;
    uint64_t start_ns;
    struct qv_errmsg msg;
};

static const char usage[] =
    "usage: quiver bench placement --data DIR [options]\n"
    "\n"
    "How the four placements spread a data set over shards: balance, what 50 added shards move,\n"
    "and recall@10 by the number of shards visited (exact inside them).\n"
    "\n"
    "  --data DIR           holds NAME.base.fbin, NAME.query.fbin and NAME.gt.ibin\n"
    "  --set NAME           which, where DIR holds several\n"
    "  --metric M           l2, cosine, dot (default: by which the true neighbours are in order)\n"
    "  --shards A,B,...     numbers of shards, 2 to 256 (default 4,16,64)\n"
    "  --storage X          rows kept a row under cluster, 1 to 2 (default 1.25)\n"
    "  --balance X          largest over mean shard that training aims at (default 1.1)\n"
    "  --sample N           rows that centroids are trained on (default 40000)\n"
    "  --queries N          use the first N only\n"
    "  --seed N             of samples and training (default 1)\n"
    "  --threads N          that place rows (default 2)\n"
    "  --png FILE           draws recall against the share of shards visited\n"
    "  --json               one JSON object instead of a table\n"
    "\n"
    "example: quiver bench placement --data build/data/sift --shards 4,16,64 --json\n";

/* ---- options and samples ---- */

static int take_counts(struct bench *b)
{
    const char *at = b->opt.shards;
    for (;;) {
        char *end;
        const unsigned long v = strtoul(at, &end, 10);
        if (end == at || v < 2 || v > SHARDS_MAX || (*end != ',' && *end != '\0') ||
            b->count == COUNTS_MAX)
            return qv_fail(&b->msg, QV_EINVAL, "--shards: up to %u numbers from 2 to %u",
                           COUNTS_MAX, SHARDS_MAX);
        b->counts[b->count++] = (uint32_t)v;
        if (*end == '\0')
            return 0;
        at = end + 1;
    }
}

static int take_ratio(const char *name, const char *value, double max, double *out,
                      struct qv_errmsg *msg)
{
    char *end;
    *out = strtod(value, &end);
    if (end == value || *end != '\0' || !(*out >= 1) || !(*out <= max))
        return qv_fail(msg, QV_EINVAL, "%s: a number from 1 to %g", name, max);
    return 0;
}

/* Rows drawn without repetition, in order (Knuth's algorithm S). */
static int draw_sample(struct bench *b, uint64_t seed, float *out)
{
    struct qv_rng rng;
    uint32_t taken = 0;
    int err = 0;
    qv_rng_init(&rng, seed);
    for (uint32_t i = 0; i < b->set.n && taken < b->sample_n && err == 0; i++)
        if (qv_rng_below(&rng, b->set.n - i) < b->sample_n - taken)
            err = qv_placement_set_row(&b->set, i, out + (size_t)taken++ * b->set.dim, &b->msg);
    return err;
}

static int prepare(struct bench *b)
{
    if (b->opt.data == NULL)
        return qv_fail(&b->msg, QV_EINVAL, "--data is needed; --help tells more");
    int err = take_counts(b);
    if (err == 0)
        err = take_ratio("--storage", b->opt.storage, 2, &b->storage, &b->msg);
    if (err == 0)
        err = take_ratio("--balance", b->opt.balance, 100, &b->balance, &b->msg);
    if (err == 0)
        err = qv_placement_set_open(b->opt.data, b->opt.set, b->opt.metric, &b->set, &b->msg);
    if (err != 0)
        return err;
    for (uint32_t i = 0; i < b->count; i++)
        if (b->set.n < 4 * (b->counts[i] + ADDITIONS))
            return qv_fail(&b->msg, QV_EINVAL, "%u rows are too few for %u shards", b->set.n,
                           b->counts[i]);
    if (b->opt.queries < b->set.queries)
        b->set.queries = (uint32_t)b->opt.queries;
    b->sample_n = b->opt.sample < b->set.n ? (uint32_t)b->opt.sample : b->set.n;
    const size_t floats = (size_t)b->sample_n * b->set.dim;
    b->sample = qv_mem_try_calloc(floats, sizeof *b->sample);
    b->other_sample = qv_mem_try_calloc(floats, sizeof *b->sample);
    b->first = qv_mem_try_calloc(b->set.n, sizeof *b->first);
    b->second = qv_mem_try_calloc(b->set.n, sizeof *b->second);
    b->far = qv_mem_try_calloc(b->set.n, 2 * sizeof *b->far);
    b->norms = qv_mem_try_calloc(b->set.n / BLOCK + 1, sizeof *b->norms);
    b->rows = qv_mem_try_calloc((size_t)b->count * QV_PLACEMENT_STRATEGY_COUNT, sizeof *b->rows);
    if (b->sample == NULL || b->other_sample == NULL || b->first == NULL || b->second == NULL ||
        b->far == NULL || b->norms == NULL || b->rows == NULL)
        return qv_fail(&b->msg, QV_ENOMEM, "no memory for %u rows", b->set.n);
    err = draw_sample(b, b->opt.seed, b->sample);
    return err == 0 ? draw_sample(b, b->opt.seed + 1, b->other_sample) : err;
}

static void tell(struct bench *b, uint64_t more)
{
    b->done += more;
    qv_progress_update(&b->progress, b->done, 0);
}

/* ---- where rows lie ---- */

static void number_shards(uint32_t *shards, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        shards[i] = i;
}

/* By their ids; a shard's number is its place. */
static void place_by_id(struct bench *b, const struct qv_placement *p)
{
    for (uint32_t i = 0; i < b->set.n; i++) {
        const struct qv_id id = qv_id_num(i);
        b->first[i] = qv_placement_owner(p, &id);
        b->second[i] = NONE;
    }
}

struct placing {
    struct bench *b;
    const struct qv_centroids *c;
    _Atomic uint32_t next;
    _Atomic int err;
};

static void place_block(struct placing *j, uint32_t block, float *row, float *scratch)
{
    struct bench *b = j->b;
    const uint32_t end = (block + 1) * BLOCK < b->set.n ? (block + 1) * BLOCK : b->set.n;
    b->norms[block] = 0;
    for (uint32_t i = block * BLOCK; i < end; i++) {
        struct qv_centroids_place p;
        struct qv_errmsg msg;
        if (qv_placement_set_row(&b->set, i, row, &msg) != 0) {
            atomic_store(&j->err, QV_EINVAL);
            return;
        }
        qv_centroids_place(j->c, row, scratch, &p);
        b->first[i] = p.leaves[0]; /* one a shard, in the order of shards */
        b->second[i] = p.count == 2 ? p.leaves[1] : NONE;
        b->far[2 * (size_t)i] = p.distances[0];
        b->far[2 * (size_t)i + 1] = p.distances[1];
        b->norms[block] = fmaxf(b->norms[block], p.norm);
    }
}

static void place_blocks(struct placing *j, bool tells)
{
    struct bench *b = j->b;
    float *row = qv_mem_alloc(b->set.dim * sizeof *row);
    float *scratch = qv_mem_alloc(qv_centroids_scratch(j->c) * sizeof *scratch);
    const uint32_t blocks = (b->set.n + BLOCK - 1) / BLOCK;
    uint32_t block = atomic_fetch_add(&j->next, 1);
    for (; block < blocks && atomic_load(&j->err) == 0; block = atomic_fetch_add(&j->next, 1)) {
        place_block(j, block, row, scratch);
        if (tells)
            qv_progress_update(&b->progress, b->done + (uint64_t)block * BLOCK, 0);
    }
    qv_mem_free(scratch);
    qv_mem_free(row);
}

static void *place_thread(void *arg)
{
    place_blocks(arg, false);
    return NULL;
}

static int place_by_centroids(struct bench *b, const struct qv_centroids *c)
{
    struct placing j = {.b = b, .c = c};
    pthread_t threads[THREADS_MAX];
    uint32_t started = 0;
    while (started + 1 < b->opt.threads &&
           pthread_create(&threads[started], NULL, place_thread, &j) == 0)
        started++;
    place_blocks(&j, true);
    for (uint32_t i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL);
    tell(b, b->set.n);
    return atomic_load(&j.err) == 0
               ? 0
               : qv_fail(&b->msg, QV_EINVAL, "%s: a row is not finite", b->set.base_path);
}

static void measure_sizes(const struct bench *b, struct row *r)
{
    uint64_t held[SHARDS_MAX] = {0};
    uint64_t all = 0;
    uint64_t most = 0;
    for (uint32_t i = 0; i < b->set.n; i++) {
        held[b->first[i]]++;
        all++;
        if (b->second[i] != NONE) {
            held[b->second[i]]++;
            all++;
        }
    }
    for (uint32_t s = 0; s < r->shards; s++)
        most = held[s] > most ? held[s] : most;
    r->max_over_mean = (double)most * r->shards / (double)all;
    r->storage = (double)all / b->set.n;
}

/* ---- what visiting finds ---- */

static void shuffle(struct qv_rng *rng, uint32_t *list, uint32_t n)
{
    for (uint32_t i = n; i > 1; i--) {
        const uint32_t j = (uint32_t)qv_rng_below(rng, i);
        const uint32_t swap = list[i - 1];
        list[i - 1] = list[j];
        list[j] = swap;
    }
}

/* hits[v]: true neighbours of the query that shard number v + 1 of those visited is the first to
 * hold. order: a place of a shard -> when it is visited. */
static void count_hits(const struct bench *b, uint32_t q, const uint32_t *order, uint64_t *hits)
{
    for (uint32_t i = 0; i < K; i++) {
        const uint32_t row = qv_placement_set_true(&b->set, q, i);
        uint32_t when = order[b->first[row]];
        if (b->second[row] != NONE && order[b->second[row]] < when)
            when = order[b->second[row]];
        hits[when]++;
    }
}

static void sum_up(const struct bench *b, const uint64_t *hits, uint32_t shards, double *recall)
{
    uint64_t sum = 0;
    for (uint32_t v = 0; v < shards; v++) {
        sum += hits[v];
        recall[v] = (double)sum / ((double)b->set.queries * K);
    }
}

static void measure_random(const struct bench *b, struct row *r)
{
    uint64_t hits[SHARDS_MAX] = {0};
    uint32_t order[SHARDS_MAX];
    struct qv_rng rng;
    qv_rng_init(&rng, b->opt.seed + 2);
    number_shards(order, r->shards);
    for (uint32_t q = 0; q < b->set.queries; q++) {
        shuffle(&rng, order, r->shards);
        count_hits(b, q, order, hits);
    }
    sum_up(b, hits, r->shards, r->recall_random);
}

/* All that the rows tell, so that legs can be ruled out. */
static struct qv_centroids_extent extent_of(const struct bench *b, float *radii)
{
    struct qv_centroids_extent e = {.radii = radii, .settled = true};
    for (uint32_t i = 0; i < b->set.n; i++)
        for (uint32_t j = 0; j < 2; j++) {
            const uint32_t at = j == 0 ? b->first[i] : b->second[i];
            if (at != NONE)
                radii[at] = fmaxf(radii[at], b->far[2 * (size_t)i + j]);
        }
    for (uint32_t i = 0; i < (b->set.n + BLOCK - 1) / BLOCK; i++)
        e.norm_max = fmaxf(e.norm_max, b->norms[i]);
    return e;
}

/* Distance of the query's true K-th. */
static int true_kth(struct bench *b, uint32_t q, const float *query, float *row, float *out)
{
    int err = qv_placement_set_row(&b->set, qv_placement_set_true(&b->set, q, K - 1), row, &b->msg);
    *out = err == 0 ? qv_score_dist(b->set.metric, QV_DTYPE_F32, query, row, b->set.dim) : 0;
    return err;
}

/* Asks the placement whom to visit, query by query. */
static int measure_nearest(struct bench *b, const struct qv_placement *p, struct row *r)
{
    uint64_t hits[SHARDS_MAX] = {0};
    uint32_t order[SHARDS_MAX];
    float radii[SHARDS_MAX] = {0};
    uint64_t needed = 0;
    struct qv_arena arena;
    float *row = qv_mem_alloc(2 * (size_t)b->set.dim * sizeof *row);
    float *query = row + b->set.dim;
    int err = 0;
    struct qv_placement_query ask = {
        .ask = QV_PLACEMENT_ASK_NEAREST, .vector = query, .dim = b->set.dim};
    ask.extent = extent_of(b, radii);
    qv_arena_init(&arena, 64u << 20);
    for (uint32_t q = 0; q < b->set.queries && err == 0; q++) {
        const struct qv_placement_leg *legs = NULL;
        uint32_t n = 0;
        float kth = 0;
        err = qv_vecfile_read_f32(&b->set.query, b->set.name, q, query, &b->msg);
        if (err == 0)
            err = qv_placement_cover(p, &arena, &ask, &legs, &n);
        if (err == 0)
            err = true_kth(b, q, query, row, &kth);
        for (uint32_t i = 0; i < n && err == 0; i++) {
            order[legs[i].shard] = i;
            needed += qv_placement_leg_matters(&legs[i], kth);
        }
        if (err == 0)
            count_hits(b, q, order, hits);
        qv_arena_reset(&arena);
    }
    qv_arena_close(&arena);
    qv_mem_free(row);
    r->stop_needed = (double)needed / b->set.queries;
    sum_up(b, hits, r->shards, r->recall);
    return err;
}

/* ---- what growing moves ---- */

struct growth {
    double sum, most, over_sum, over_most;
    uint32_t steps;
};

static void grown(struct growth *g, double share, uint32_t shards)
{
    g->sum += share;
    g->most = fmax(g->most, share);
    g->over_sum += share * shards;
    g->over_most = fmax(g->over_most, share * shards);
    g->steps++;
}

static void keep_growth(const struct growth *g, struct row *r)
{
    r->moved_mean = g->sum / g->steps;
    r->moved_max = g->most;
    r->over_mean = g->over_sum / g->steps;
    r->over_max = g->over_most;
}

static int grow_hash(struct bench *b, struct qv_placement_spec spec, struct row *r)
{
    uint32_t shards[SHARDS_MAX + ADDITIONS];
    const struct qv_placement *before = NULL;
    struct growth g = {0};
    struct qv_arena arena;
    number_shards(shards, r->shards + ADDITIONS);
    spec.shards = shards;
    qv_arena_init(&arena, 64u << 20);
    int err = qv_placement_create(&spec, &before, &b->msg);
    for (uint32_t i = 0; i < ADDITIONS && err == 0; i++) {
        const struct qv_placement *after = NULL;
        struct qv_placement_moves moves = {0};
        spec.shard_count++;
        err = qv_placement_create(&spec, &after, &b->msg);
        if (err == 0)
            err = qv_placement_moves(&arena, before, after, &moves);
        grown(&g, moves.share, spec.shard_count);
        qv_placement_unref(before);
        before = after;
        qv_arena_reset(&arena);
    }
    qv_placement_unref(before);
    qv_arena_close(&arena);
    keep_growth(&g, r);
    return err;
}

/* Rows are numbered, so a range's bounds tell how many it holds. */
static void bounds_of(const struct bench *b, const struct qv_placement_range *r, uint64_t out[2])
{
    out[0] = r->ids.from.type == 0 ? 0 : r->ids.from.lo;
    out[1] = r->ids.to.type == 0 ? b->set.n : r->ids.to.lo;
}

static int grow_range(struct bench *b, const struct qv_placement *start, struct row *r)
{
    const struct qv_placement *p = start;
    struct growth g = {0};
    struct qv_rng rng;
    int err = 0;
    qv_rng_init(&rng, b->opt.seed + 3);
    qv_placement_ref(p);
    for (uint32_t i = 0; i < ADDITIONS && err == 0; i++) {
        const struct qv_placement_spec *s = qv_placement_spec_of(p);
        struct qv_id sample[SPLIT_SAMPLE];
        uint64_t largest[2] = {0, 0};
        for (uint32_t j = 0; j < s->range_count; j++) {
            uint64_t at[2];
            bounds_of(b, &s->ranges[j], at);
            if (at[1] - at[0] > largest[1] - largest[0])
                memcpy(largest, at, sizeof at);
        }
        for (uint32_t j = 0; j < SPLIT_SAMPLE; j++)
            sample[j] = qv_id_num(largest[0] + qv_rng_below(&rng, largest[1] - largest[0]));
        struct qv_id key = {0};
        const struct qv_placement *after = NULL;
        err = qv_placement_split_key(sample, SPLIT_SAMPLE, &key);
        if (err == 0)
            err = qv_placement_split_range(p, &key, r->shards + i, &after, &b->msg);
        if (err == 0) {
            grown(&g, (double)(largest[1] - key.lo) / b->set.n, r->shards + i + 1);
            qv_placement_unref(p);
            p = after;
        }
    }
    qv_placement_unref(p);
    keep_growth(&g, r);
    return err;
}

/* The shard that holds most rows of the sample. */
static int largest_shard(const struct qv_centroids *c, const float *sample, uint32_t n,
                         uint32_t *out)
{
    const struct qv_centroids_spec *s = qv_centroids_spec_of(c);
    float *scratch = qv_mem_alloc(qv_centroids_scratch(c) * sizeof *scratch);
    uint32_t held[SHARDS_MAX + ADDITIONS] = {0};
    *out = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct qv_centroids_place p;
        qv_centroids_place(c, sample + (size_t)i * s->dim, scratch, &p);
        held[p.shards[0]]++;
    }
    for (uint32_t i = 0; i < SHARDS_MAX + ADDITIONS; i++)
        if (held[i] > held[*out])
            *out = i;
    qv_mem_free(scratch);
    return held[*out] >= 2 ? 0 : QV_ENOTFOUND;
}

static int grow_cluster(struct bench *b, const struct qv_centroids *start, struct row *r)
{
    const uint32_t n = b->sample_n < GROWTH_SAMPLE ? b->sample_n : GROWTH_SAMPLE;
    const struct qv_centroids *c = start;
    struct growth g = {0};
    int err = 0;
    qv_centroids_ref(c);
    for (uint32_t i = 0; i < ADDITIONS && err == 0; i++) {
        struct qv_centroids_split split = {
            .to_shard = r->shards + i, .sample = b->other_sample, .n = n, .seed = b->opt.seed};
        struct qv_centroids_report report = {0};
        const struct qv_centroids *after = NULL;
        if (largest_shard(c, split.sample, n, &split.shard) != 0)
            break; /* the sample is used up */
        err = qv_centroids_split(c, &split, &after, &b->msg);
        if (err != 0)
            break;
        err = qv_centroids_measure(after, c, split.sample, n, &report);
        grown(&g, report.moved_share, r->shards + i + 1);
        qv_centroids_unref(c);
        c = after;
        tell(b, n);
    }
    qv_centroids_unref(c);
    if (err == 0 && g.steps == 0)
        err = qv_fail(&b->msg, QV_EINVAL, "--sample is too small for %u shards", r->shards);
    else
        keep_growth(&g, r);
    return err;
}

/* ---- the four ---- */

static int measure_by_id(struct bench *b, struct qv_placement_spec spec, struct row *r)
{
    const struct qv_placement *p = NULL;
    struct qv_placement_range ranges[SHARDS_MAX];
    if (spec.strategy == QV_PLACEMENT_RANGE) {
        for (uint32_t i = 0; i < r->shards; i++) {
            const uint64_t end = (uint64_t)(i + 1) * b->set.n / r->shards;
            ranges[i] = (struct qv_placement_range){{{0}, qv_id_num(end)}, i};
            if (i > 0)
                ranges[i].ids.from = ranges[i - 1].ids.to;
        }
        ranges[r->shards - 1].ids.to = (struct qv_id){0};
        spec.ranges = ranges;
        spec.range_count = r->shards;
    }
    int err = qv_placement_create(&spec, &p, &b->msg);
    if (err != 0)
        return err;
    place_by_id(b, p);
    measure_sizes(b, r);
    measure_random(b, r);
    memcpy(r->recall, r->recall_random, sizeof r->recall);
    err = spec.strategy == QV_PLACEMENT_RANGE ? grow_range(b, p, r) : grow_hash(b, spec, r);
    qv_placement_unref(p);
    return err;
}

static int retrain(struct bench *b, struct qv_centroids_training t, const struct qv_centroids *c,
                   struct row *r)
{
    struct qv_centroids_report report = {0};
    const struct qv_centroids *again = NULL;
    t.warm = c;
    t.sample = b->other_sample;
    int err = qv_centroids_train(&t, &again, &report, &b->msg);
    if (err == 0)
        qv_centroids_unref(again);
    r->retrain_moved = report.moved_share;
    return err;
}

static int measure_cluster(struct bench *b, struct qv_placement_spec spec, struct row *r)
{
    const struct qv_placement *p = NULL;
    const struct qv_centroids *c = NULL;
    struct qv_centroids_report report;
    const struct qv_centroids_training t = {.metric = b->set.metric,
                                            .dim = b->set.dim,
                                            .sample = b->sample,
                                            .n = b->sample_n,
                                            .shards = spec.shards,
                                            .shard_count = r->shards,
                                            .seed = b->opt.seed,
                                            .balance = b->balance,
                                            .storage_max = b->storage};
    const uint64_t begin = qv_bench_now_ns();
    int err = qv_centroids_train(&t, &c, &report, &b->msg);
    r->train_s = (double)(qv_bench_now_ns() - begin) / 1e9;
    if (err != 0)
        return err;
    tell(b, b->set.n);
    spec.centroids = c;
    spec.dim = b->set.dim;
    err = qv_placement_create(&spec, &p, &b->msg);
    if (err == 0)
        err = place_by_centroids(b, c);
    if (err == 0) {
        measure_sizes(b, r);
        measure_random(b, r);
        err = measure_nearest(b, p, r);
    }
    if (err == 0)
        err = retrain(b, t, c, r);
    tell(b, b->set.n);
    if (err == 0)
        err = grow_cluster(b, c, r);
    qv_placement_unref(p);
    qv_centroids_unref(c);
    return err;
}

/* ---- telling ---- */

static void print_list(const char *key, const double *v, uint32_t n)
{
    printf(",\"%s\":[", key);
    for (uint32_t i = 0; i < n; i++)
        printf("%s%.5f", i == 0 ? "" : ",", v[i]);
    printf("]");
}

/* Of a quarter of the shards. */
static double quarter(const struct row *r)
{
    return r->recall[r->shards / 4 > 0 ? r->shards / 4 - 1 : 0];
}

static void print_keys(const struct row *r)
{
    printf("\"max_over_mean\":%.4f,\"moved_share_mean\":%.6f,\"moved_share_max\":%.6f,"
           "\"moved_over_ideal_mean\":%.4f,\"moved_over_ideal_max\":%.4f,"
           "\"storage_factor\":%.4f,\"recall_quarter\":%.5f",
           r->max_over_mean, r->moved_mean, r->moved_max, r->over_mean, r->over_max, r->storage,
           quarter(r));
    if (r->strategy == QV_PLACEMENT_CLUSTER)
        printf(",\"stop_needed_mean\":%.3f,\"retrain_moved_share\":%.4f,\"train_s\":%.2f",
               r->stop_needed, r->retrain_moved, r->train_s);
}

/* In quotes, as JSON has it; control characters are left out. */
static void print_text(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        if ((unsigned char)*text >= ' ')
            putchar(*text);
    }
    putchar('"');
}

static void print_json(const struct bench *b)
{
    printf("{\"set\":");
    print_text(b->set.name);
    printf(",\"metric\":\"%s\",\"n\":%u,\"dim\":%u,\"queries\":%u,",
           qv_placement_set_metric_name(&b->set), b->set.n, b->set.dim, b->set.queries);
    if (b->opt.png != NULL) {
        printf("\"picture\":");
        print_text(b->opt.png);
        printf(",");
    }
    printf("\"rows\":[");
    for (uint32_t i = 0; i < b->row_count; i++) {
        const struct row *r = &b->rows[i];
        printf("%s\n {\"placement\":\"%s\",\"shards\":%u,", i == 0 ? "" : ",",
               qv_placement_strategy_name(r->strategy), r->shards);
        print_keys(r);
        print_list("recall_by_visited", r->recall, r->shards);
        print_list("recall_random_by_visited", r->recall_random, r->shards);
        printf("}");
    }
    printf("],\n \"at\":{"); /* the same by name, without the lists: for bounds */
    for (unsigned s = 0; s < QV_PLACEMENT_STRATEGY_COUNT; s++) {
        printf("%s\"%s\":{", s == 0 ? "" : ",",
               qv_placement_strategy_name((enum qv_placement_strategy)s));
        for (uint32_t i = 0; i < b->count; i++) {
            printf("%s\"s%u\":{", i == 0 ? "" : ",", b->counts[i]);
            print_keys(&b->rows[i * QV_PLACEMENT_STRATEGY_COUNT + s]);
            printf("}");
        }
        printf("}");
    }
    printf("},\n ");
    qv_bench_print_head(qv_bench_commit_own(), b->start_ns);
    printf("}\n");
}

static void print_table(const struct bench *b)
{
    printf("%s: %u x %u, %s, %u queries\n", b->set.name, b->set.n, b->set.dim,
           qv_placement_set_metric_name(&b->set), b->set.queries);
    printf("%-16s %6s %9s %10s %9s %8s  %s\n", "placement", "shards", "max/mean", "moved_mean",
           "x ideal", "storage", "recall@10 visiting 1, 2, 4, 8, ... shards");
    for (uint32_t i = 0; i < b->row_count; i++) {
        const struct row *r = &b->rows[i];
        printf("%-16s %6u %9.3f %10.4f %9.3f %8.3f ", qv_placement_strategy_name(r->strategy),
               r->shards, r->max_over_mean, r->moved_mean, r->over_mean, r->storage);
        for (uint32_t v = 1; v <= r->shards; v *= 2)
            printf(" %.4f", r->recall[v - 1]);
        printf("\n");
    }
}

/* ---- the picture ---- */

#define LEFT 70
#define TOP 50
#define SIDE 480
#define INK 0x202020u
#define FAINT 0xe0e0e0u
#define GREY 0x909090u

static const uint32_t colours[COUNTS_MAX] = {0x1f77b4, 0xd62728, 0x2ca02c, 0x9467bd,
                                             0xff7f0e, 0x17becf, 0x8c564b, 0xe377c2};

static void draw_curve(struct qv_picture *p, const double *recall, uint32_t shards, uint32_t thick,
                       uint32_t colour)
{
    int32_t from[2] = {LEFT, TOP + SIDE};
    for (uint32_t v = 1; v <= shards; v++) {
        const int32_t to[2] = {LEFT + (int32_t)(SIDE * v / shards),
                               TOP + SIDE - (int32_t)(SIDE * recall[v - 1])};
        qv_picture_line(p, from, to, thick, colour);
        memcpy(from, to, sizeof from);
    }
}

static void draw_axes(struct qv_picture *p, const struct bench *b)
{
    char text[128];
    for (int32_t i = 0; i <= 10; i++) {
        const int32_t at = SIDE * i / 10;
        const int32_t h[2][2] = {{LEFT, TOP + at}, {LEFT + SIDE, TOP + at}};
        const int32_t v[2][2] = {{LEFT + at, TOP}, {LEFT + at, TOP + SIDE}};
        qv_picture_line(p, h[0], h[1], 1, i == 10 ? INK : FAINT);
        qv_picture_line(p, v[0], v[1], 1, i == 0 ? INK : FAINT);
        snprintf(text, sizeof text, "%.1f", 1 - i / 10.0);
        qv_picture_text(p, LEFT - 46, (uint32_t)(TOP + at - 7), text, 2, INK);
        snprintf(text, sizeof text, "%d%%", 10 * i);
        if (i % 2 == 0)
            qv_picture_text(p, (uint32_t)(LEFT + at - 18), TOP + SIDE + 12, text, 2, INK);
    }
    snprintf(text, sizeof text, "%.40s: recall@10 by share of shards visited", b->set.name);
    qv_picture_text(p, LEFT - 40, 16, text, 2, INK);
}

static int draw(struct bench *b)
{
    struct qv_picture p;
    uint32_t line = 0;
    int err = qv_picture_create(LEFT + SIDE + 290, TOP + SIDE + 50, 0xffffff, &p);
    if (err != 0)
        return qv_fail(&b->msg, err, "no memory for the picture");
    draw_axes(&p, b);
    for (uint32_t i = 0; i < b->row_count; i++)
        if (b->rows[i].strategy == QV_PLACEMENT_CLUSTER)
            draw_curve(&p, b->rows[i].recall_random, b->rows[i].shards, 1, GREY);
    for (uint32_t i = 0; i < b->row_count; i++) {
        const struct row *r = &b->rows[i];
        char text[64];
        if (r->strategy != QV_PLACEMENT_CLUSTER)
            continue;
        draw_curve(&p, r->recall, r->shards, 3, colours[line]);
        snprintf(text, sizeof text, "%u shards x%.2f", r->shards, r->storage);
        qv_picture_text(&p, LEFT + SIDE + 30, TOP + 30 * line, text, 2, colours[line]);
        line++;
    }
    qv_picture_text(&p, LEFT + SIDE + 30, TOP + 30 * line, "at random", 2, GREY);
    err = qv_picture_write(&p, b->opt.png, &b->msg);
    qv_picture_destroy(&p);
    return err;
}

/* ---- the whole ---- */

static int run(struct bench *b)
{
    uint32_t shards[SHARDS_MAX];
    int err = prepare(b);
    if (err != 0)
        return err;
    const uint64_t growth =
        ADDITIONS * (uint64_t)(b->sample_n < GROWTH_SAMPLE ? b->sample_n : GROWTH_SAMPLE);
    qv_progress_init(&b->progress, "placement", "rows", 0,
                     b->count * ((uint64_t)b->set.n * 6 + growth));
    number_shards(shards, SHARDS_MAX);
    for (uint32_t i = 0; i < b->count && err == 0; i++)
        for (unsigned s = 0; s < QV_PLACEMENT_STRATEGY_COUNT && err == 0; s++) {
            struct row *r = &b->rows[b->row_count++];
            struct qv_placement_spec spec = {.strategy = (enum qv_placement_strategy)s,
                                             .shards = shards,
                                             .shard_count = b->counts[i]};
            r->strategy = spec.strategy;
            r->shards = spec.shard_count;
            err =
                s == QV_PLACEMENT_CLUSTER ? measure_cluster(b, spec, r) : measure_by_id(b, spec, r);
            if (s != QV_PLACEMENT_CLUSTER)
                tell(b, b->set.n);
        }
    qv_progress_finish(&b->progress);
    if (err == 0 && b->opt.png != NULL)
        err = draw(b);
    if (err == 0 && b->opt.json)
        print_json(b);
    else if (err == 0)
        print_table(b);
    return err;
}

int qv_cli_bench_placement(int argc, char **argv)
{
    struct bench *b = qv_mem_calloc(1, sizeof *b);
    b->opt = (struct options){.shards = "4,16,64",
                              .storage = "1.25",
                              .balance = "1.1",
                              .sample = 40000,
                              .seed = 1,
                              .threads = 2,
                              .queries = UINT32_MAX};
    b->start_ns = qv_bench_now_ns();
    const struct qv_bench_option table[] = {
        {"--data", QV_BENCH_TEXT, &b->opt.data, 0, 0},
        {"--set", QV_BENCH_TEXT, &b->opt.set, 0, 0},
        {"--metric", QV_BENCH_TEXT, &b->opt.metric, 0, 0},
        {"--shards", QV_BENCH_TEXT, &b->opt.shards, 0, 0},
        {"--storage", QV_BENCH_TEXT, &b->opt.storage, 0, 0},
        {"--balance", QV_BENCH_TEXT, &b->opt.balance, 0, 0},
        {"--sample", QV_BENCH_NUMBER, &b->opt.sample, 1000, 400000},
        {"--queries", QV_BENCH_NUMBER, &b->opt.queries, 1, UINT32_MAX},
        {"--seed", QV_BENCH_NUMBER, &b->opt.seed, 0, UINT32_MAX},
        {"--threads", QV_BENCH_NUMBER, &b->opt.threads, 1, THREADS_MAX},
        {"--png", QV_BENCH_TEXT, &b->opt.png, 0, 0},
        {"--json", QV_BENCH_FLAG, &b->opt.json, 0, 0},
    };
    int err = qv_bench_read_options(usage, table, sizeof table / sizeof table[0], argc, argv);
    if (err == 0)
        err = qv_cli_end("bench placement", run(b), &b->msg);
    qv_placement_set_close(&b->set);
    qv_mem_free(b->sample);
    qv_mem_free(b->other_sample);
    qv_mem_free(b->first);
    qv_mem_free(b->second);
    qv_mem_free(b->far);
    qv_mem_free(b->norms);
    qv_mem_free(b->rows);
    qv_mem_free(b);
    return err < 0 ? 0 : err;
}
