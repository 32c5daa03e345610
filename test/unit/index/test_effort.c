/* Searches in stages against plain ones; learning a breadth against queries that are not stored. */
#include "suite.h"

#include "base/rng.h"
#include "index/effort.h"
#include "index/flat.h"
#include "index/hnsw_walk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DIM 16u
#define ROWS 4000u
#define QUERIES 300u
#define CENTRES 30u

struct world {
    float *rows; /* ROWS, then QUERIES that are not stored */
    struct qv_rows view;
    struct qv_hnsw *h;
    struct qv_hnsw_ctx *ctx;
};

static void fill(struct world *w, uint64_t seed, enum qv_hnsw_coding coding, uint32_t n)
{
    struct qv_rng rng;
    float centres[CENTRES][DIM];
    struct qv_errmsg msg;
    qv_rng_init(&rng, seed);
    w->rows = malloc((size_t)(n + QUERIES) * DIM * sizeof(float));
    for (uint32_t c = 0; c < CENTRES; c++)
        for (uint32_t d = 0; d < DIM; d++)
            centres[c][d] = qv_rng_gauss(&rng);
    for (uint32_t i = 0; i < n + QUERIES; i++) {
        const float *centre = centres[qv_rng_below(&rng, CENTRES)];
        const float spread = i % 4 == 0 ? 1.0F : 0.3F; /* hard ones and easy ones */
        for (uint32_t d = 0; d < DIM; d++)
            w->rows[i * DIM + d] = centre[d] + spread * qv_rng_gauss(&rng);
    }
    w->view =
        (struct qv_rows){.base = (const uint8_t *)w->rows, .stride_bytes = DIM * sizeof(float)};
    struct qv_hnsw_params p = qv_hnsw_params_default(QV_METRIC_L2, QV_DTYPE_F32, DIM);
    p.m = 6;
    p.ef_construct = 40;
    p.max_slots = n;
    p.coding = coding;
    w->ctx = qv_hnsw_ctx_create();
    assert_int_equal(qv_hnsw_create(&p, &w->view, &w->h, &msg), 0);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(qv_hnsw_insert(w->h, w->ctx, i, 0), 0);
}

static void empty(struct world *w)
{
    qv_hnsw_destroy(&w->h);
    qv_hnsw_ctx_destroy(&w->ctx);
    free(w->rows);
}

static uint32_t next_of(void *arg, const struct qv_hnsw_stage *stage)
{
    const uint32_t *to = arg;
    assert_true(stage->n > 0 && stage->near_hop <= stage->hops && stage->next_hop <= stage->hops);
    for (uint32_t i = 1; i < stage->n; i++)
        assert_true(stage->cands[i - 1] < stage->cands[i]);
    return stage->ef * 2 < *to ? stage->ef * 2 : *to;
}

/* Whatever the stages on the way, what is found is what one walk of the last breadth finds. */
static void test_stages_find_what_one_walk_finds(void **state)
{
    (void)state;
    for (int coding = QV_HNSW_CODING_ROWS; coding <= QV_HNSW_CODING_LVQ8; coding++) {
        struct world w;
        fill(&w, 7, (enum qv_hnsw_coding)coding, ROWS);
        uint32_t same = 0;
        for (uint32_t i = 0; i < QUERIES; i++) {
            struct qv_hnsw_hit a[10];
            struct qv_hnsw_hit b[10];
            uint32_t n;
            uint32_t m;
            uint32_t to = i % 7 == 0 ? 600 : 20 + i % 3 * 50;
            struct qv_hnsw_query q = {.row = w.rows + (ROWS + i) * DIM, .k = 10, .ef = to};
            assert_int_equal(qv_hnsw_search(w.h, w.ctx, &q, a, &n), 0);
            const struct qv_hnsw_stages stages = {
                .ef_max = to, .next = next_of, .arg = &to, .without = QV_SLOT_NONE, .ef_else = to};
            q.ef = i % 2 == 0 ? to / 2 : 5;
            assert_int_equal(qv_hnsw_search_stages(w.h, w.ctx, &q, &stages, b, &m), 0);
            assert_int_equal(n, m);
            for (uint32_t k = 0; k < n; k++)
                same += a[k].slot == b[k].slot;
        }
        /* The approach is as broad as the first stage: a few begin elsewhere. */
        assert_true(same >= QUERIES * 10 * 98 / 100);
        empty(&w);
    }
}

static void test_a_row_is_asked_as_if_not_there(void **state)
{
    (void)state;
    struct world w;
    fill(&w, 8, QV_HNSW_CODING_ROWS, 500);
    for (uint32_t i = 0; i < 500; i++) {
        struct qv_hnsw_hit hits[10];
        uint32_t n;
        uint32_t to = 100;
        const struct qv_hnsw_query q = {.row = w.rows + i * DIM, .k = 10, .ef = 20};
        const struct qv_hnsw_stages stages = {
            .ef_max = to, .next = next_of, .arg = &to, .without = i, .ef_else = to};
        assert_int_equal(qv_hnsw_search_stages(w.h, w.ctx, &q, &stages, hits, &n), 0);
        for (uint32_t k = 0; k < n; k++)
            assert_int_not_equal(hits[k].slot, i);
    }
    empty(&w);
}

static void learn(struct world *w, struct qv_effort *out)
{
    struct qv_effort_trace *t = qv_effort_trace_create(600, 1);
    bool done = false;
    while (!done)
        assert_int_equal(qv_effort_trace_step(t, w->h, w->ctx, 32, &done), 0);
    qv_effort_trace_fit(t, out);
    qv_effort_trace_destroy(&t);
}

/* By the plan, or (NULL) with one breadth; *distances of all queries. */
static double recall_of(struct world *w, const struct qv_effort_plan *plan, uint32_t ef,
                        uint64_t *distances)
{
    uint32_t hits = 0;
    const uint64_t before = qv_hnsw_ctx_work(w->ctx).distances;
    const struct qv_flat flat = {
        .rows = w->view, .metric = QV_METRIC_L2, .dtype = QV_DTYPE_F32, .dim = DIM, .end = ROWS};
    for (uint32_t i = 0; i < QUERIES; i++) {
        struct qv_topk_hit near[QV_EFFORT_K];
        struct qv_hnsw_hit found[QV_EFFORT_RANKED];
        uint32_t n;
        uint32_t count;
        const struct qv_hnsw_query q = {.row = w->rows + (ROWS + i) * DIM,
                                        .k = qv_hnsw_has_codes(w->h) ? QV_EFFORT_RANKED
                                                                     : QV_EFFORT_K,
                                        .ef = ef};
        assert_int_equal(qv_flat_search(&flat, q.row, QV_EFFORT_K, near, &count), 0);
        const struct qv_effort_query wanted = {.query = q, .plan = plan, .k = QV_EFFORT_K};
        if (plan != NULL)
            assert_int_equal(qv_effort_search(w->h, w->ctx, &wanted, found, &n), 0);
        else
            assert_int_equal(qv_hnsw_search(w->h, w->ctx, &q, found, &n), 0);
        for (uint32_t k = 0; k < count; k++)
            for (uint32_t j = 0; j < n; j++)
                hits += found[j].slot == near[k].slot;
    }
    *distances = qv_hnsw_ctx_work(w->ctx).distances - before;
    return (double)hits / (QUERIES * QV_EFFORT_K);
}

/* Of the smallest breadth for all that finds as much. */
static uint64_t fixed_distances(struct world *w, double recall)
{
    uint64_t distances = 0;
    for (uint32_t ef = 10; ef < 2000; ef += 1 + ef / 20)
        if (recall_of(w, NULL, ef, &distances) >= recall)
            break;
    return distances;
}

static void test_targets_are_reached_by_queries_not_stored(void **state)
{
    (void)state;
    static const double targets[] = {0.8, 0.9, 0.95, 0.99};
    for (int coding = QV_HNSW_CODING_ROWS; coding <= QV_HNSW_CODING_LVQ8; coding++) {
        struct world w;
        struct qv_effort e;
        uint64_t less = 0;
        fill(&w, 9, (enum qv_hnsw_coding)coding, ROWS);
        learn(&w, &e);
        assert_true(e.samples >= 590);
        assert_int_equal(e.rows, ROWS);
        for (uint32_t p = 1; p < QV_EFFORT_GOALS; p++) {
            assert_true(e.goals[p].target > e.goals[p - 1].target);
            assert_true(e.goals[p].fixed >= e.goals[p - 1].fixed);
        }
        for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
            struct qv_effort_plan plan;
            uint64_t distances;
            assert_true(qv_effort_plan(&e, targets[i], &plan));
            assert_true((double)plan.goal.target >= targets[i] - 1e-6);
            const double recall = recall_of(&w, &plan, 0, &distances);
            const uint64_t fixed = fixed_distances(&w, recall);
            printf("coding %d, target %.2f: %.4f, of the sample %.4f; distances %llu, %llu of one "
                   "breadth for all\n",
                   coding, targets[i], recall, (double)plan.goal.expected,
                   (unsigned long long)distances, (unsigned long long)fixed);
            assert_true(recall >= targets[i] - 0.03); /* of 300 queries */
            assert_true((double)plan.goal.expected >= targets[i]);
            assert_true((double)plan.goal.expected <= targets[i] + 0.03);
            assert_true(distances > less); /* more is paid for more */
            if (targets[i] > 0.98)         /* below, breadth 10 to 15 is enough for all */
                assert_true((double)distances < 0.96 * (double)fixed);
            less = distances;
        }
        empty(&w);
    }
}

/* Too few rows to learn from teach nothing, and dead rows are walked around. */
static void test_small_and_dying_graphs(void **state)
{
    (void)state;
    struct world w;
    struct qv_effort e;
    fill(&w, 10, QV_HNSW_CODING_ROWS, 15);
    learn(&w, &e);
    assert_int_equal(e.samples, 0);
    struct qv_effort_plan plan;
    uint64_t distances;
    assert_false(qv_effort_plan(&e, 0.9, &plan));
    empty(&w);
    fill(&w, 11, QV_HNSW_CODING_ROWS, ROWS);
    learn(&w, &e);
    assert_int_equal(qv_hnsw_remove(w.h, 17), 0);
    assert_true(qv_effort_plan(&e, 0.95, &plan));
    assert_true(recall_of(&w, &plan, 0, &distances) >= 0.9); /* one breadth for all */
    empty(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stages_find_what_one_walk_finds),
        cmocka_unit_test(test_a_row_is_asked_as_if_not_there),
        cmocka_unit_test(test_targets_are_reached_by_queries_not_stored),
        cmocka_unit_test(test_small_and_dying_graphs),
    };
    return RUN_SUITE(tests);
}
