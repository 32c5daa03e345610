/* Searches in turns: what each finds is what it finds alone, whatever searches it is with. */
#include "hnsw_fixture.h"

#include "base/mem.h"
#include "base/rng.h"

#include <string.h>

#define SEED 20261123u
#define RUNS 24u
#define MANY 70u
#define K_MAX 40u

struct many {
    struct qv_hnsw_query queries[MANY];
    struct qv_hnsw_found found[MANY];
    struct qv_hnsw_hit hits[MANY][K_MAX];
    uint32_t n;
};

static void ask(struct many *m, const struct fixture *f, struct qv_rng *rng, const uint64_t *bits)
{
    m->n = (uint32_t)qv_rng_below(rng, MANY) + 1;
    for (uint32_t i = 0; i < m->n; i++) {
        struct qv_hnsw_query *q = &m->queries[i];
        *q = (struct qv_hnsw_query){
            .row = qv_rows_at(&f->rows, f->n + (uint32_t)qv_rng_below(rng, f->queries)),
            .k = (uint32_t)qv_rng_below(rng, K_MAX) + 1,
            .ef = (uint32_t)qv_rng_below(rng, qv_rng_below(rng, 10) == 0 ? 2000 : 120),
            .by_rows = qv_rng_below(rng, 4) == 0};
        if (qv_rng_below(rng, 8) == 0) {
            q->bitmap = bits;
            q->bitmap_slots = f->n;
        }
        m->found[i] = (struct qv_hnsw_found){.hits = m->hits[i], .n = UINT32_MAX};
    }
}

static void expect_same(const struct many *m, const struct fixture *f)
{
    struct qv_hnsw_hit hits[K_MAX];
    for (uint32_t i = 0; i < m->n; i++) {
        uint32_t n;
        assert_int_equal(qv_hnsw_search(f->h, f->ctx, &m->queries[i], hits, &n), 0);
        assert_int_equal(m->found[i].n, n);
        for (uint32_t at = 0; at < n; at++) {
            assert_int_equal(m->found[i].hits[at].slot, hits[at].slot);
            assert_memory_equal(&m->found[i].hits[at].dist, &hits[at].dist, sizeof(float));
        }
    }
}

/* Any metric, type, coding, degree and size; with and without dead nodes. */
static void turns_change_no_answer(void **state)
{
    (void)state;
    struct many *m = qv_mem_calloc(1, sizeof *m);
    for (uint32_t run = 0; run < RUNS; run++) {
        struct fixture f;
        struct qv_rng rng;
        qv_rng_init(&rng, SEED + run);
        const uint32_t n = (uint32_t)qv_rng_below(&rng, 1500 / FIXTURE_LESS) + 1;
        fixture_open(&f, (enum qv_metric)qv_rng_below(&rng, QV_METRIC_COUNT),
                     (enum qv_dtype)qv_rng_below(&rng, QV_DTYPE_COUNT), n,
                     (uint32_t)qv_rng_below(&rng, 40) + 1, SEED + run);
        qv_hnsw_destroy(&f.h);
        f.params.coding = (enum qv_hnsw_coding)(run % 2);
        f.params.m = (uint32_t)qv_rng_below(&rng, 20) + 2;
        f.params.m0 = run % 5 == 0 ? QV_HNSW_M0_MAX : 0;
        assert_int_equal(qv_hnsw_create(&f.params, &f.rows, &f.h, NULL), 0);
        ask(m, &f, &rng, f.bits);
        assert_int_equal(qv_hnsw_search_many(f.h, f.ctx, m->queries, m->n, m->found), 0);
        expect_same(m, &f); /* an empty graph */
        for (qv_slot s = 0; s < n; s++)
            fixture_insert(&f, s, run);
        for (uint32_t round = 0; round < 6; round++) {
            if (round == 4) {
                fixture_mark(&f, n / 2, false);
                assert_int_equal(qv_hnsw_remove(f.h, n / 2), 0);
            }
            ask(m, &f, &rng, f.bits);
            const struct qv_hnsw_work before = qv_hnsw_ctx_work(f.ctx);
            assert_int_equal(qv_hnsw_search_many(f.h, f.ctx, m->queries, m->n, m->found), 0);
            const struct qv_hnsw_work between = qv_hnsw_ctx_work(f.ctx);
            expect_same(m, &f);
            const struct qv_hnsw_work after = qv_hnsw_ctx_work(f.ctx);
            assert_int_equal(between.distances - before.distances,
                             after.distances - between.distances);
            assert_int_equal(between.hops - before.hops, after.hops - between.hops);
        }
        fixture_close(&f);
    }
    qv_mem_free(m);
}

static void one_wrong_query_is_an_error(void **state)
{
    (void)state;
    struct fixture f;
    struct many *m = qv_mem_calloc(1, sizeof *m);
    struct qv_rng rng;
    qv_rng_init(&rng, SEED);
    fixture_open(&f, QV_METRIC_L2, QV_DTYPE_F32, 200, 8, SEED);
    for (qv_slot s = 0; s < f.n; s++)
        fixture_insert(&f, s, 1);
    ask(m, &f, &rng, f.bits);
    m->queries[m->n - 1].k = 0;
    assert_int_equal(qv_hnsw_search_many(f.h, f.ctx, m->queries, m->n, m->found), QV_EINVAL);
    m->queries[m->n - 1].k = 1;
    m->queries[m->n - 1].ef = QV_HNSW_EF_MAX + 1;
    assert_int_equal(qv_hnsw_search_many(f.h, f.ctx, m->queries, m->n, m->found), QV_EINVAL);
    m->queries[m->n - 1].ef = 1; /* what was under way then is not in the way now */
    assert_int_equal(qv_hnsw_search_many(f.h, f.ctx, m->queries, m->n, m->found), 0);
    expect_same(m, &f);
    assert_int_equal(qv_hnsw_search_many(f.h, f.ctx, m->queries, 0, m->found), 0);
    fixture_close(&f);
    qv_mem_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_change_no_answer),
        cmocka_unit_test(one_wrong_query_is_an_error),
    };
    return RUN_SUITE(tests);
}
