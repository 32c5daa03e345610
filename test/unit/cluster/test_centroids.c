/* Centroids by property: random trees and rows, printed seeds. */
#include "suite.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cluster/centroids.h"
#include "cluster/placement.h"
#include "simd/convert.h"
#include "simd/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NODES 40u
#define DIM_MAX 24u
#define ROWS 1500u

static uint64_t seed;

struct world {
    struct qv_rng rng;
    enum qv_metric metric;
    uint32_t dim, n;
    uint64_t training;          /* its seed */
    float rows[ROWS * DIM_MAX]; /* n x dim, of several blobs of different sizes */
    uint32_t shards[NODES];
    uint32_t shard_count;
    const struct qv_centroids *c;
    float *scratch;
};

static float *row_of(struct world *w, uint32_t i)
{
    return w->rows + (size_t)i * w->dim;
}

static void fill_rows(struct world *w)
{
    float centres[8 * DIM_MAX];
    float spread[8];
    for (uint32_t i = 0; i < 8 * DIM_MAX; i++)
        centres[i] = 3 * qv_rng_gauss(&w->rng);
    for (uint32_t i = 0; i < 8; i++)
        spread[i] = 0.2F + (float)qv_rng_unit(&w->rng) * 2;
    for (uint32_t i = 0; i < w->n; i++) {
        const uint32_t blob = (uint32_t)(8 * pow(qv_rng_unit(&w->rng), 2));
        for (uint32_t x = 0; x < w->dim; x++)
            row_of(w, i)[x] = centres[blob * w->dim + x] + spread[blob] * qv_rng_gauss(&w->rng);
    }
}

static const struct qv_centroids *train(struct world *w, double storage,
                                        const struct qv_centroids *warm,
                                        struct qv_centroids_report *report)
{
    struct qv_errmsg msg = {""};
    const struct qv_centroids *c = NULL;
    const struct qv_centroids_training t = {.metric = w->metric,
                                            .dim = w->dim,
                                            .sample = w->rows,
                                            .n = w->n,
                                            .shards = w->shards,
                                            .shard_count = w->shard_count,
                                            .seed = w->training,
                                            .balance = 1.2,
                                            .storage_max = storage,
                                            .warm = warm};
    int err = qv_centroids_train(&t, &c, report, &msg);
    if (err != 0)
        print_message("%s\n", msg.text);
    assert_int_equal(err, 0);
    return c;
}

static void take(struct world *w, const struct qv_centroids *c)
{
    qv_centroids_unref(w->c);
    qv_mem_free(w->scratch);
    w->c = c;
    w->scratch = qv_mem_calloc(qv_centroids_scratch(c), sizeof(float));
}

static struct world *world_create(uint64_t run, enum qv_metric metric, double storage)
{
    struct world *w = qv_mem_calloc(1, sizeof *w);
    struct qv_centroids_report report;
    qv_rng_init(&w->rng, seed + run);
    w->metric = metric;
    w->dim = 1 + (uint32_t)qv_rng_below(&w->rng, DIM_MAX);
    w->n = 200 + (uint32_t)qv_rng_below(&w->rng, ROWS - 200);
    w->shard_count = 1 + (uint32_t)qv_rng_below(&w->rng, 16);
    for (uint32_t i = 0; i < w->shard_count; i++)
        w->shards[i] = (i == 0 ? 0 : w->shards[i - 1]) + 1 + (uint32_t)qv_rng_below(&w->rng, 3);
    fill_rows(w);
    take(w, train(w, storage, NULL, &report));
    return w;
}

static void world_destroy(struct world *w)
{
    qv_centroids_unref(w->c);
    qv_mem_free(w->scratch);
    qv_mem_free(w);
}

/* Splits random shards some times, of a sample of all rows. */
static void split_some(struct world *w, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        uint32_t count;
        const uint32_t *shards = qv_centroids_shards(w->c, &count);
        const struct qv_centroids_split split = {.shard = shards[qv_rng_below(&w->rng, count)],
                                                 .to_shard = shards[count - 1] + 1 +
                                                             (uint32_t)qv_rng_below(&w->rng, 3),
                                                 .sample = w->rows,
                                                 .n = w->n,
                                                 .seed = 3};
        const struct qv_centroids *c = NULL;
        struct qv_errmsg msg = {""};
        if (qv_centroids_split(w->c, &split, &c, &msg) == 0)
            take(w, c);
        else
            assert_true(msg.text[0] != 0);
    }
}

/* ---- where rows lie ---- */

/* The place by its definition, slowly and in double. */
static double power_of(const struct world *w, const float *mapped, uint32_t node, bool summed)
{
    const struct qv_centroids_spec *s = qv_centroids_spec_of(w->c);
    const uint32_t width = qv_centroids_width(s->metric, s->dim);
    double power = 0;
    for (uint32_t x = 0; x < width; x++) {
        const double d = (double)mapped[x] - (double)s->rows[(size_t)node * width + x];
        power += d * d;
    }
    for (uint32_t i = node; i != QV_CENTROID_NONE; i = summed ? s->parents[i] : QV_CENTROID_NONE)
        power += (double)s->weights[i];
    return power;
}

static void map_row(const struct world *w, const float *row, float *mapped)
{
    const struct qv_centroids_spec *s = qv_centroids_spec_of(w->c);
    double sum = 0;
    memcpy(mapped, row, w->dim * sizeof *mapped);
    for (uint32_t x = 0; x < w->dim; x++)
        sum += (double)row[x] * (double)row[x];
    if (s->metric == QV_METRIC_COSINE)
        qv_simd_normalise_f32(mapped, w->dim);
    if (s->metric == QV_METRIC_DOT) {
        const double left = (double)s->norm_max * (double)s->norm_max - sum;
        mapped[w->dim] = left > 0 ? (float)sqrt(left) : 0;
    }
}

/* Every choice on the way is within rounding of the least; the second is in reach and no nearer one
 * of another shard was passed over. */
static void check_place(const struct world *w, const float *row, const struct qv_centroids_place *p)
{
    const struct qv_centroids_spec *s = qv_centroids_spec_of(w->c);
    float mapped[DIM_MAX + 1];
    map_row(w, row, mapped);
    assert_int_equal(s->shards[p->leaves[0]], p->shards[0]);
    for (uint32_t at = p->leaves[0]; at != QV_CENTROID_NONE; at = s->parents[at])
        for (uint32_t i = 0; i < s->count; i++)
            if (s->parents[i] == s->parents[at])
                assert_true(power_of(w, mapped, at, false) <=
                            power_of(w, mapped, i, false) * (1 + 1e-5) + 1e-5);
    const double first = power_of(w, mapped, p->leaves[0], true);
    const double reach = (1 + (double)s->border) * (1 + (double)s->border) * first;
    double least = INFINITY;
    for (uint32_t i = 0; i < s->count; i++)
        if (s->shards[i] != QV_CENTROID_NONE && s->shards[i] != p->shards[0])
            least = fmin(least, power_of(w, mapped, i, true));
    if (p->count == 1)
        assert_true(s->border == 0 || least >= reach * (1 - 1e-5) - 1e-5);
    if (p->count == 2) {
        const double second = power_of(w, mapped, p->leaves[1], true);
        assert_true(p->shards[1] != p->shards[0]);
        assert_int_equal(s->shards[p->leaves[1]], p->shards[1]);
        assert_true(second <= least * (1 + 1e-5) + 1e-5);
        assert_true(second <= reach * (1 + 1e-5) + 1e-5);
    }
    for (uint32_t i = 0; i < p->count; i++) {
        const double d =
            power_of(w, mapped, p->leaves[i], true) -
            (power_of(w, mapped, p->leaves[i], true) - power_of(w, mapped, p->leaves[i], false)) -
            (double)s->weights[p->leaves[i]];
        assert_true(fabs((double)p->distances[i] * (double)p->distances[i] - d) <=
                    1e-4 * (1 + fabs(d) + (double)s->weights[p->leaves[i]]));
    }
}

static void test_rows_lie_within_their_closure(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < SANITIZED_LESS(40) + 8; run++) {
        struct world *w =
            world_create(run, (enum qv_metric)(run % QV_METRIC_COUNT), run % 3 == 0 ? 1 : 1.3);
        split_some(w, (uint32_t)(run % 4));
        for (uint32_t i = 0; i < w->n; i += 3) {
            struct qv_centroids_place p;
            qv_centroids_place(w->c, row_of(w, i), w->scratch, &p);
            assert_true(p.count == 1 || p.count == 2);
            check_place(w, row_of(w, i), &p);
        }
        world_destroy(w);
    }
}

/* Two nodes that have the blob agree on every row; so do two that train on the same sample. */
static void test_nodes_agree(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < SANITIZED_LESS(20) + 4; run++) {
        struct world *w = world_create(100 + run, (enum qv_metric)(run % QV_METRIC_COUNT), 1.2);
        struct world *again = world_create(100 + run, (enum qv_metric)(run % QV_METRIC_COUNT), 1.2);
        struct qv_buf a;
        struct qv_buf b;
        char name[QV_SHA256_TEXT];
        char other[QV_SHA256_TEXT];
        qv_buf_init(&a, 0);
        qv_buf_init(&b, 0);
        qv_centroids_encode(w->c, &a);
        qv_centroids_encode(again->c, &b);
        assert_true(a.len == b.len && memcmp(a.data, b.data, a.len) == 0);
        qv_centroids_name((struct qv_bytes){a.data, a.len}, name);
        const struct qv_centroids *before = w->c;
        qv_centroids_ref(before);
        split_some(w, 1 + (uint32_t)(run % 3));
        qv_buf_clear(&a);
        qv_centroids_encode(w->c, &a);
        qv_centroids_name((struct qv_bytes){a.data, a.len}, other);
        assert_true(strlen(name) == 64 && (w->c == before) == (strcmp(name, other) == 0));
        qv_centroids_unref(before);
        assert_int_equal(qv_centroids_check_blob((struct qv_bytes){a.data, a.len}, NULL), 0);
        const struct qv_centroids *back = NULL;
        assert_int_equal(qv_centroids_decode((struct qv_bytes){a.data, a.len}, &back, NULL), 0);
        for (uint32_t i = 0; i < w->n; i++) {
            struct qv_centroids_place p;
            struct qv_centroids_place q;
            qv_centroids_place(w->c, row_of(w, i), w->scratch, &p);
            qv_centroids_place(back, row_of(w, i), w->scratch, &q);
            assert_memory_equal(&p, &q, sizeof p);
        }
        qv_centroids_unref(back);
        qv_buf_close(&a);
        qv_buf_close(&b);
        world_destroy(again);
        world_destroy(w);
    }
}

/* ---- movement ---- */

/* Only rows of the split shard move, to the new one, and both halves are worth having. */
static void test_split_keeps_every_other_row(void **state)
{
    (void)state;
    uint32_t runs = 0;
    uint32_t done = 0;
    for (uint64_t run = 0; run < SANITIZED_LESS(40) + 8; run++) {
        struct world *w = world_create(200 + run, (enum qv_metric)(run % QV_METRIC_COUNT), 1.2);
        split_some(w, (uint32_t)(run % 5));
        uint32_t count;
        const uint32_t *shards = qv_centroids_shards(w->c, &count);
        const struct qv_centroids_split split = {.shard = shards[qv_rng_below(&w->rng, count)],
                                                 .to_shard = shards[count - 1] + 5,
                                                 .sample = w->rows,
                                                 .n = w->n,
                                                 .seed = run};
        const struct qv_centroids *after = NULL;
        struct qv_errmsg msg;
        uint32_t stayed = 0;
        uint32_t went = 0;
        runs++;
        if (qv_centroids_split(w->c, &split, &after, &msg) != 0) {
            world_destroy(w);
            continue; /* a shard of less than two rows of the sample */
        }
        done++;
        float *scratch = qv_mem_calloc(qv_centroids_scratch(after), sizeof *scratch);
        for (uint32_t i = 0; i < w->n; i++) {
            struct qv_centroids_place p;
            struct qv_centroids_place q;
            qv_centroids_place(w->c, row_of(w, i), w->scratch, &p);
            qv_centroids_place(after, row_of(w, i), scratch, &q);
            if (p.shards[0] != split.shard)
                assert_int_equal(q.shards[0], p.shards[0]);
            else
                assert_true(q.shards[0] == split.shard || q.shards[0] == split.to_shard);
            stayed += q.shards[0] == split.shard;
            went += q.shards[0] == split.to_shard;
        }
        assert_true(stayed > 0 && went > 0);
        if (run % 5 == 0 && w->dim > 3) /* one leaf: halves */
            assert_true(stayed < 2 * went + 8 && went < 2 * stayed + 8);
        const struct qv_centroids *none = NULL;
        assert_int_equal(qv_centroids_split(after, &split, &none, &msg), QV_EINVAL);
        qv_mem_free(scratch);
        qv_centroids_unref(after);
        world_destroy(w);
    }
    assert_true(10 * done >= 9 * runs);
}

/* Of a shard with several leaves some go, whole, about half of the rows with them. */
static void test_split_shares_leaves(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < SANITIZED_LESS(20) + 4; run++) {
        struct world *w = world_create(250 + run, QV_METRIC_L2, 1);
        struct qv_centroids_report report;
        uint32_t shards[12];
        const struct qv_centroids *c = NULL;
        const struct qv_centroids *after = NULL;
        w->dim = 8;
        w->shard_count = 12;
        for (uint32_t i = 0; i < 12; i++)
            w->shards[i] = i;
        fill_rows(w);
        take(w, train(w, 1, NULL, &report));
        struct qv_centroids_spec s = *qv_centroids_spec_of(w->c);
        for (uint32_t i = 0; i < 12; i++)
            shards[i] = i % 3;
        s.shards = shards;
        assert_int_equal(qv_centroids_create(&s, &c, NULL), 0);
        take(w, c);
        const struct qv_centroids_split split = {
            .shard = 1, .to_shard = 3, .sample = w->rows, .n = w->n};
        assert_int_equal(qv_centroids_split(c, &split, &after, NULL), 0);
        uint32_t count[4] = {0};
        for (uint32_t i = 0; i < w->n; i++) {
            struct qv_centroids_place p;
            struct qv_centroids_place q;
            qv_centroids_place(c, row_of(w, i), w->scratch, &p);
            qv_centroids_place(after, row_of(w, i), w->scratch, &q);
            assert_int_equal(p.leaves[0], q.leaves[0]);
            assert_true(p.shards[0] == q.shards[0] || (p.shards[0] == 1 && q.shards[0] == 3));
            count[q.shards[0]]++;
        }
        assert_true(count[3] <= 2 * count[1] && count[1] <= 3 * count[3]);
        qv_centroids_unref(after);
        world_destroy(w);
    }
}

static void test_training_balances(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < SANITIZED_LESS(20) + 4; run++) {
        struct world *w = world_create(300 + run, (enum qv_metric)(run % QV_METRIC_COUNT), 1.25);
        struct qv_centroids_report r;
        w->dim = w->dim < 4 ? 4 : w->dim; /* few values can't be told apart any way one likes */
        fill_rows(w);
        take(w, train(w, 1, NULL, &r));
        assert_true(r.max_over_mean <= 1.21); /* 1.2 was asked for */
        assert_true(r.storage_factor == 1 && r.moved_share == 0);
        take(w, train(w, 1.25, NULL, &r));
        assert_true(r.storage_factor <= 1.26 + 10.0 / w->n);
        assert_true(w->shard_count == 1 || r.storage_factor > 1.01);
        world_destroy(w);
    }
}

/* Retraining on the same rows moves little; on others' it says how much, and covers new shards. */
static void test_retraining_starts_warm(void **state)
{
    (void)state;
    double sum = 0;
    uint32_t runs = 0;
    for (uint64_t run = 0; run < SANITIZED_LESS(20) + 4; run++) {
        struct world *w = world_create(400 + run, (enum qv_metric)(run % QV_METRIC_COUNT), 1);
        struct qv_centroids_report r;
        uint32_t moved = 0;
        w->training = 1000; /* from elsewhere, were it not warm */
        const struct qv_centroids *c = train(w, 1, w->c, &r);
        float *scratch = qv_mem_calloc(qv_centroids_scratch(c), sizeof *scratch);
        for (uint32_t i = 0; i < w->n; i++) {
            struct qv_centroids_place p;
            struct qv_centroids_place q;
            qv_centroids_place(w->c, row_of(w, i), w->scratch, &p);
            qv_centroids_place(c, row_of(w, i), scratch, &q);
            moved += p.shards[0] != q.shards[0];
        }
        assert_true(fabs(r.moved_share - (double)moved / w->n) < 1e-9);
        sum += r.moved_share;
        runs++;
        w->shards[w->shard_count] = w->shards[w->shard_count - 1] + 1;
        w->shard_count++;
        const struct qv_centroids *more = train(w, 1, c, &r);
        uint32_t count;
        const uint32_t *named = qv_centroids_shards(more, &count);
        assert_int_equal(count, w->shard_count);
        assert_memory_equal(named, w->shards, count * sizeof *named);
        qv_mem_free(scratch);
        qv_centroids_unref(c);
        qv_centroids_unref(more);
        world_destroy(w);
    }
    print_message("moved %.4f on average\n", sum / runs);
    assert_true(sum / runs < 0.1);
}

/* ---- the stop rule ---- */

struct asked {
    float radii[2 * NODES];
    float norm_max;
    struct qv_centroids_place *places;
};

static void observe(struct world *w, struct asked *a)
{
    memset(a->radii, 0, sizeof a->radii);
    a->norm_max = 0;
    a->places = qv_mem_calloc(w->n, sizeof *a->places);
    for (uint32_t i = 0; i < w->n; i++) {
        struct qv_centroids_place *p = &a->places[i];
        qv_centroids_place(w->c, row_of(w, i), w->scratch, p);
        for (uint32_t j = 0; j < p->count; j++)
            a->radii[p->leaves[j]] = fmaxf(a->radii[p->leaves[j]], p->distances[j]);
        a->norm_max = fmaxf(a->norm_max, p->norm);
    }
}

/* Shards are asked in order until no other matters: is every row of the true top k among them?
 * Every bound holds for every row whose own shard it is, copies too where radii tell. Gives the
 * shards that were ruled out. */
static uint32_t check_query(struct world *w, const struct asked *a, const float *query,
                            struct qv_centroids_extent extent)
{
    struct qv_centroids_rank ranks[NODES];
    uint32_t count;
    (void)qv_centroids_shards(w->c, &count);
    qv_centroids_rank(w->c, query, &extent, w->scratch, ranks);
    float kth = INFINITY; /* of the true top 5 */
    float nearest[5] = {INFINITY, INFINITY, INFINITY, INFINITY, INFINITY};
    for (uint32_t i = 0; i < w->n; i++) {
        const float d = qv_score_dist(w->metric, QV_DTYPE_F32, query, row_of(w, i), w->dim);
        for (uint32_t s = 0; s < count; s++)
            for (uint32_t j = 0; j < (extent.settled ? 1 : a->places[i].count); j++)
                if (ranks[s].shard == a->places[i].shards[j])
                    assert_true(ranks[s].bound <= d);
        uint32_t at = 5;
        while (at > 0 && d < nearest[at - 1])
            at--;
        if (at < 5) {
            memmove(nearest + at + 1, nearest + at, (4 - at) * sizeof *nearest);
            nearest[at] = d;
        }
    }
    kth = nearest[4];
    uint32_t out = 0;
    for (uint32_t s = 0; s < count; s++) {
        const struct qv_placement_leg leg = {.bound = ranks[s].bound};
        assert_true(s == 0 || ranks[s - 1].power <= ranks[s].power);
        out += !qv_placement_leg_matters(&leg, kth);
    }
    return out;
}

static void test_stop_rule_loses_no_true_hit(void **state)
{
    (void)state;
    uint32_t ruled_out[QV_METRIC_COUNT][4] = {{0}};
    for (uint64_t run = 0; run < SANITIZED_LESS(60) + 8; run++) {
        const enum qv_metric metric = (enum qv_metric)(run % QV_METRIC_COUNT);
        struct world *w = world_create(500 + run, metric, run % 3 == 0 ? 1 : 1.3);
        struct asked a;
        split_some(w, (uint32_t)(run % 3));
        for (uint32_t i = 0; i < w->n && run / 4 % 2 == 0;
             i += 40) /* longer than any in training */
            for (uint32_t x = 0; x < w->dim; x++)
                row_of(w, i)[x] *= 4;
        observe(w, &a);
        for (uint32_t q = 0; q < 12; q++) {
            float query[DIM_MAX];
            for (uint32_t x = 0; x < w->dim; x++)
                query[x] = q < 6 ? row_of(w, q)[x] + 0.3F * qv_rng_gauss(&w->rng)
                                 : 4 * qv_rng_gauss(&w->rng);
            if (q == 11)
                memset(query, 0, sizeof query);
            for (uint32_t known = 0; known < 4; known++) {
                const struct qv_centroids_extent extent = {.radii = known & 1 ? a.radii : NULL,
                                                           .settled = (known & 2) != 0,
                                                           .norm_max = a.norm_max};
                ruled_out[metric][known] += check_query(w, &a, query, extent);
            }
        }
        qv_mem_free(a.places);
        world_destroy(w);
    }
    for (uint32_t m = 0; m < QV_METRIC_COUNT;
         m++) { /* it does rule out, and nothing from nothing */
        print_message("ruled out by nothing, radii, cells, both: %u %u %u %u\n", ruled_out[m][0],
                      ruled_out[m][1], ruled_out[m][2], ruled_out[m][3]);
        assert_int_equal(ruled_out[m][0], 0);
        assert_true(ruled_out[m][1] > 0 && ruled_out[m][2] > 0);
        assert_true(ruled_out[m][3] >= ruled_out[m][1] && ruled_out[m][3] >= ruled_out[m][2]);
    }
}

/* Without the longest norm a bound under DOT would be a guess. */
static void test_dot_needs_the_longest_norm(void **state)
{
    (void)state;
    struct world *w = world_create(900, QV_METRIC_DOT, 1);
    struct qv_centroids_rank ranks[NODES];
    uint32_t count;
    (void)qv_centroids_shards(w->c, &count);
    const struct qv_centroids_extent extent = {.settled = true};
    qv_centroids_rank(w->c, row_of(w, 0), &extent, w->scratch, ranks);
    for (uint32_t s = 0; s < count; s++)
        assert_true(isinf(ranks[s].bound) && ranks[s].bound < 0);
    world_destroy(w);
}

/* The placement's legs are the ranks, n_probe of them. */
static void test_placement_asks_the_nearest(void **state)
{
    (void)state;
    struct world *w = world_create(901, QV_METRIC_L2, 1.2);
    struct qv_arena arena;
    const struct qv_placement *p = NULL;
    const struct qv_placement_leg *legs;
    struct qv_centroids_rank ranks[NODES];
    uint32_t count;
    uint32_t n;
    const uint32_t *shards = qv_centroids_shards(w->c, &count);
    const struct qv_placement_spec spec = {.strategy = QV_PLACEMENT_CLUSTER,
                                           .shards = shards,
                                           .shard_count = count,
                                           .centroids = w->c,
                                           .dim = w->dim};
    qv_arena_init(&arena, 1u << 20);
    assert_int_equal(qv_placement_create(&spec, &p, NULL), 0);
    struct qv_placement_query query = {.ask = QV_PLACEMENT_ASK_NEAREST,
                                       .vector = row_of(w, 3),
                                       .dim = w->dim,
                                       .extent.settled = true};
    qv_centroids_rank(w->c, query.vector, &query.extent, w->scratch, ranks);
    for (query.n_probe = 0; query.n_probe <= count + 1; query.n_probe++) {
        assert_int_equal(qv_placement_cover(p, &arena, &query, &legs, &n), 0);
        assert_int_equal(n, query.n_probe == 0 || query.n_probe > count ? count : query.n_probe);
        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(legs[i].shard, ranks[i].shard);
            assert_true(legs[i].bound == ranks[i].bound);
            assert_true(qv_cover_equal(&legs[i].cover, &qv_cover_all));
        }
    }
    qv_placement_unref(p);
    qv_arena_close(&arena);
    world_destroy(w);
}

/* ---- from outside ---- */

static void test_spoiled_blobs_are_refused(void **state)
{
    (void)state;
    struct world *w = world_create(902, QV_METRIC_DOT, 1.2);
    struct qv_buf b;
    struct qv_errmsg msg;
    qv_buf_init(&b, 0);
    split_some(w, 2);
    qv_centroids_encode(w->c, &b);
    for (size_t n = 0; n < b.len; n += 1 + n / 40) {
        const struct qv_centroids *c = NULL;
        assert_int_not_equal(qv_centroids_decode((struct qv_bytes){b.data, n}, &c, &msg), 0);
        assert_null(c);
        b.data[n] ^= 1;
        assert_int_not_equal(qv_centroids_check_blob((struct qv_bytes){b.data, b.len}, &msg), 0);
        b.data[n] ^= 1;
    }
    b.data[4] = 2; /* another version, whole */
    const uint32_t sum = qv_hash_crc32c(0, b.data, b.len - 4);
    memcpy(b.data + b.len - 4, &sum, sizeof sum);
    assert_int_equal(qv_centroids_check_blob((struct qv_bytes){b.data, b.len}, &msg), QV_EINVAL);
    assert_non_null(strstr(msg.text, "version 2"));
    qv_buf_close(&b);
    world_destroy(w);
}

static void refuse(const struct qv_centroids_spec *s, const char *text)
{
    struct qv_errmsg msg = {""};
    assert_int_equal(qv_centroids_check(s, &msg), QV_EINVAL);
    if (strstr(msg.text, text) == NULL)
        print_message("'%s' lacks '%s'\n", msg.text, text);
    assert_non_null(strstr(msg.text, text));
}

static void test_bad_specs_are_refused(void **state)
{
    (void)state;
    const float rows[] = {0, 1, 2, NAN};
    float weights[] = {0, 1};
    uint32_t parents[] = {QV_CENTROID_NONE, QV_CENTROID_NONE};
    uint32_t shards[] = {1, 2};
    struct qv_centroids_spec s = {.dim = 2,
                                  .count = 2,
                                  .rows = rows,
                                  .weights = weights,
                                  .parents = parents,
                                  .shards = shards};
    refuse(&s, "centroid 1: a component is not a finite number");
    s.dim = 1;
    assert_int_equal(qv_centroids_check(&s, NULL), 0);
    weights[1] = -1;
    refuse(&s, "centroid 1: a weight of -1");
    weights[1] = 0;
    parents[0] = 1;
    refuse(&s, "its parent 1 does not come before it");
    parents[0] = QV_CENTROID_NONE;
    parents[1] = 0;
    refuse(&s, "it has children and a shard");
    shards[0] = QV_CENTROID_NONE;
    assert_int_equal(qv_centroids_check(&s, NULL), 0);
    shards[1] = QV_CENTROID_NONE;
    refuse(&s, "centroid 1: it has no shard");
    s.border = NAN;
    refuse(&s, "border");
    s.border = 0;
    s.norm_max = 1;
    refuse(&s, "longest norm");
    s.norm_max = 0;
    s.count = QV_CENTROIDS_MAX + 1;
    refuse(&s, "8193 of them");
    s.count = 8000;
    s.dim = 60000;
    refuse(&s, "bytes");
    s.dim = 0;
    refuse(&s, "dimension 0");
    s.metric = QV_METRIC_COUNT;
    refuse(&s, "unknown metric");
}

static void test_bad_training_is_refused(void **state)
{
    (void)state;
    const float same[] = {1, 1, 1, 1};
    const uint32_t shards[] = {1, 2};
    const uint32_t falling[] = {2, 1};
    struct qv_centroids_report r;
    struct qv_errmsg msg;
    const struct qv_centroids *c = NULL;
    const struct qv_centroids *d = NULL;
    struct qv_centroids_training t = {
        .dim = 1, .sample = same, .n = 4, .shards = falling, .shard_count = 2};
    assert_int_equal(qv_centroids_train(&t, &c, &r, &msg), QV_EINVAL);
    t.shards = shards;
    t.n = 1;
    assert_int_equal(qv_centroids_train(&t, &c, &r, &msg), QV_EINVAL);
    t.n = 4;
    assert_int_equal(qv_centroids_train(&t, &c, &r, &msg), 0); /* rows all alike: all in one */
    assert_true(r.max_over_mean == 2);
    struct qv_centroids_split split = {.shard = 1, .to_shard = 3, .sample = same, .n = 4};
    assert_int_equal(qv_centroids_split(c, &split, &d, &msg), QV_EINVAL);
    split.shard = 9;
    assert_int_equal(qv_centroids_split(c, &split, &d, &msg), QV_EINVAL);
    t.warm = c;
    t.dim = 2;
    t.n = 2;
    assert_int_equal(qv_centroids_train(&t, &d, &r, &msg), QV_EINVAL);
    assert_null(d);
    t.n = QV_CENTROIDS_TRAIN_FLOATS_MAX;
    assert_int_equal(qv_centroids_train(&t, &d, &r, &msg), QV_ELIMIT);
    qv_centroids_unref(c);
}

int main(void)
{
    const char *given = getenv("QV_SEED");
    seed = given != NULL ? strtoull(given, NULL, 10) : 30;
    print_message("seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_lie_within_their_closure),
        cmocka_unit_test(test_nodes_agree),
        cmocka_unit_test(test_split_keeps_every_other_row),
        cmocka_unit_test(test_split_shares_leaves),
        cmocka_unit_test(test_training_balances),
        cmocka_unit_test(test_retraining_starts_warm),
        cmocka_unit_test(test_stop_rule_loses_no_true_hit),
        cmocka_unit_test(test_dot_needs_the_longest_norm),
        cmocka_unit_test(test_placement_asks_the_nearest),
        cmocka_unit_test(test_spoiled_blobs_are_refused),
        cmocka_unit_test(test_bad_specs_are_refused),
        cmocka_unit_test(test_bad_training_is_refused),
    };
    return RUN_SUITE(tests);
}
