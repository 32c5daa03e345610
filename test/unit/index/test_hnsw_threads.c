/* Threads that insert, delete, repair, save and search one graph at once. What they see must be
 * right at every moment, and the graph whole at the end; ThreadSanitizer runs this suite too. */
#include "hnsw_fixture.h"

#include "base/mem.h"
#include "base/rng.h"
#include "index/hnsw_link.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#define SEED 99u
#define WRITERS 2u
#define SEARCHERS 2u
#define CHURNERS 4u
#define DIM 12u

struct stress {
    struct fixture f;
    _Atomic uint8_t *phase;   /* by slot: 0 absent, 1 inserted, 2 removed, 3 inserted again */
    _Atomic uint32_t running; /* writers */
    _Atomic uint64_t epoch[SEARCHERS + WRITERS]; /* odd: inside a call that may hold slots */
    _Atomic uint64_t searches;
    uint32_t rounds;
};

struct thread {
    struct stress *s;
    uint32_t id;
    pthread_t handle;
};

static void enter(struct stress *s, uint32_t id)
{
    atomic_fetch_add(&s->epoch[id], 1);
}

/* Waits until every other call that runs now has ended: what a shard's epochs vouch for. */
static void wait_for_others(struct stress *s, uint32_t id)
{
    for (uint32_t i = 0; i < SEARCHERS + WRITERS; i++) {
        uint64_t was = atomic_load(&s->epoch[i]);
        if (i == id || was % 2 == 0)
            continue;
        while (atomic_load(&s->epoch[i]) == was)
            sched_yield();
    }
}

/* Inserts its share of the slots; deletes some of them, and puts new rows into their places. */
static void *write_loop(void *arg)
{
    struct thread *t = arg;
    struct stress *s = t->s;
    struct qv_hnsw_ctx *ctx = qv_hnsw_ctx_create();
    struct qv_rng rng;
    qv_rng_init(&rng, SEED + t->id);
    for (qv_slot slot = t->id; slot < s->f.n; slot += WRITERS) {
        enter(s, t->id);
        assert_int_equal(qv_hnsw_insert(s->f.h, ctx, slot, 1), 0);
        atomic_store(&s->phase[slot], 1);
        enter(s, t->id);
        if (slot < 64 || qv_rng_below(&rng, 3) != 0)
            continue;
        qv_slot old = (qv_slot)(qv_rng_below(&rng, slot / WRITERS) * WRITERS + t->id);
        if (atomic_load(&s->phase[old]) != 1)
            continue;
        enter(s, t->id);
        assert_int_equal(qv_hnsw_remove(s->f.h, old), 0);
        atomic_store(&s->phase[old], 2);
        assert_int_equal(qv_hnsw_repair(s->f.h, ctx, old), 0);
        enter(s, t->id);
        if (qv_rng_below(&rng, 2) == 0)
            continue;
        wait_for_others(s, t->id);
        assert_int_equal(qv_hnsw_release(s->f.h, old), 0);
        fixture_new_row(&s->f, old, SEED + slot);
        enter(s, t->id);
        assert_int_equal(qv_hnsw_insert(s->f.h, ctx, old, 2), 0);
        atomic_store(&s->phase[old], 3);
        enter(s, t->id);
    }
    qv_hnsw_ctx_destroy(&ctx);
    atomic_fetch_sub(&s->running, 1);
    return NULL;
}

/* One of five in turns. */
static void search_with_others(struct stress *s, struct qv_hnsw_ctx *ctx,
                               const struct qv_hnsw_query *query, struct qv_hnsw_hit *hits,
                               uint32_t *n)
{
    struct qv_hnsw_hit others[5][20];
    struct qv_hnsw_query queries[5];
    struct qv_hnsw_found found[5];
    for (uint32_t i = 0; i < 5; i++) {
        queries[i] = *query;
        queries[i].row = qv_rows_at(&s->f.rows, s->f.n + i);
        found[i].hits = others[i];
    }
    queries[3].row = query->row;
    assert_int_equal(qv_hnsw_search_many(s->f.h, ctx, queries, 5, found), 0);
    *n = found[3].n;
    memcpy(hits, others[3], *n * sizeof *hits);
}

/* A slot that was removed before the search began and not inserted again must not come back. */
static void *search_loop(void *arg)
{
    struct thread *t = arg;
    struct stress *s = t->s;
    struct qv_hnsw_ctx *ctx = qv_hnsw_ctx_create();
    uint8_t *before = qv_mem_alloc(s->f.n);
    uint64_t *odd = qv_mem_alloc((s->f.n / 64 + 1) * sizeof *odd);
    memset(odd, 0xaa, (s->f.n / 64 + 1) * sizeof *odd);
    for (uint32_t round = 0; atomic_load(&s->running) > 0; round++) {
        struct qv_hnsw_query query = {
            .row = qv_rows_at(&s->f.rows, s->f.n + round % s->f.queries), .k = 20, .ef = 40};
        struct qv_hnsw_hit hits[20];
        uint32_t n;
        if (round % 3 > 0) {
            query.bitmap = odd;
            query.bitmap_slots = s->f.n;
            query.way = QV_HNSW_WAY_BRIDGES;
            query.share = 0.5F;
        }
        for (uint32_t i = 0; i < s->f.n; i++)
            before[i] = atomic_load(&s->phase[i]);
        enter(s, t->id);
        if (round % 3 == 2)
            assert_int_equal(qv_hnsw_scan(s->f.h, ctx, &query, hits, &n), 0);
        else if (round % 2 == 0)
            search_with_others(s, ctx, &query, hits, &n);
        else
            assert_int_equal(qv_hnsw_search(s->f.h, ctx, &query, hits, &n), 0);
        enter(s, t->id);
        for (uint32_t i = 0; i < n; i++) {
            assert_true(hits[i].slot < s->f.n);
            assert_true(round % 3 == 0 || hits[i].slot % 2 == 1);
            assert_true(i == 0 || hits[i - 1].dist <= hits[i].dist);
            if (before[hits[i].slot] == 2) { /* only if it came again meanwhile */
                enum qv_hnsw_state now = qv_hnsw_slot_state(s->f.h, hits[i].slot, NULL);
                assert_true(now == QV_HNSW_LIVE || now == QV_HNSW_LINKING);
            }
        }
        atomic_fetch_add(&s->searches, 1);
    }
    qv_mem_free(before);
    qv_mem_free(odd);
    qv_hnsw_ctx_destroy(&ctx);
    return NULL;
}

static void run(struct stress *s)
{
    struct thread threads[WRITERS + SEARCHERS];
    atomic_store(&s->running, WRITERS);
    for (uint32_t i = 0; i < WRITERS + SEARCHERS; i++) {
        threads[i] = (struct thread){.s = s, .id = i};
        assert_int_equal(pthread_create(&threads[i].handle, NULL,
                                        i < WRITERS ? write_loop : search_loop, &threads[i]),
                         0);
    }
    while (atomic_load(&s->running) > 0) {
        sched_yield();
        (void)qv_hnsw_stats(s->f.h);
        (void)qv_hnsw_slot_state(s->f.h, 5, NULL);
    }
    for (uint32_t i = 0; i < WRITERS + SEARCHERS; i++)
        assert_int_equal(pthread_join(threads[i].handle, NULL), 0);
}

static void everything_at_once(void **state)
{
    struct stress s = {0};
    (void)state;
    fixture_open(&s.f, QV_METRIC_L2, QV_DTYPE_F32, 4000, DIM, SEED);
    s.phase = qv_mem_calloc(s.f.n, 1);
    run(&s);
    uint32_t live = 0;
    for (qv_slot i = 0; i < s.f.n; i++) {
        bool is = atomic_load(&s.phase[i]) % 2 == 1;
        fixture_mark(&s.f, i, is);
        live += is ? 1 : 0;
        assert_int_equal(qv_hnsw_slot_state(s.f.h, i, NULL) == QV_HNSW_LIVE, is);
    }
    print_message("%llu searches beside, %u live at the end\n",
                  (unsigned long long)atomic_load(&s.searches), live);
    assert_int_equal(qv_hnsw_stats(s.f.h).live, live);
    assert_true(live < s.f.n);
    assert_true(fixture_check(&s.f) <= 2);
    assert_true(fixture_recall(&s.f, 100, NULL) >= 0.99);
    qv_mem_free((void *)s.phase);
    fixture_close(&s.f);
}

/* Few nodes, much contention: each thread puts its slots in and out at random. */
static void *churn_loop(void *arg)
{
    struct thread *t = arg;
    struct stress *s = t->s;
    struct qv_hnsw_ctx *ctx = qv_hnsw_ctx_create();
    struct qv_rng rng;
    const uint32_t own = s->f.n / CHURNERS;
    qv_rng_init(&rng, SEED * 31 + t->id);
    for (uint32_t round = 0; round < s->rounds; round++) {
        qv_slot slot = (qv_slot)qv_rng_below(&rng, own) * CHURNERS + t->id;
        if (atomic_load(&s->phase[slot]) == 0) {
            enter(s, t->id);
            assert_int_equal(qv_hnsw_insert(s->f.h, ctx, slot, round), 0);
            enter(s, t->id);
        } else {
            enter(s, t->id);
            assert_int_equal(qv_hnsw_remove(s->f.h, slot), 0);
            assert_int_equal(qv_hnsw_repair(s->f.h, ctx, slot), 0);
            enter(s, t->id);
            wait_for_others(s, t->id);
            assert_int_equal(qv_hnsw_release(s->f.h, slot), 0);
        }
        atomic_fetch_xor(&s->phase[slot], 1);
    }
    qv_hnsw_ctx_destroy(&ctx);
    return NULL;
}

static void tiny_graphs_under_contention(void **state)
{
    static const uint32_t sizes[] = {1, 2, 4, 30};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct stress s = {.rounds = 4000};
        struct thread threads[CHURNERS];
        fixture_open(&s.f, QV_METRIC_L2, QV_DTYPE_F32, sizes[i] * CHURNERS, 4, SEED);
        s.f.params.m = 3; /* lists overflow, levels are many */
        s.f.params.m0 = 0;
        qv_hnsw_destroy(&s.f.h);
        assert_int_equal(qv_hnsw_create(&s.f.params, &s.f.rows, &s.f.h, NULL), 0);
        s.phase = qv_mem_calloc(s.f.n, 1);
        for (uint32_t j = 0; j < CHURNERS; j++) {
            threads[j] = (struct thread){.s = &s, .id = j};
            assert_int_equal(pthread_create(&threads[j].handle, NULL, churn_loop, &threads[j]), 0);
        }
        for (uint32_t j = 0; j < CHURNERS; j++)
            assert_int_equal(pthread_join(threads[j].handle, NULL), 0);
        for (qv_slot slot = 0; slot < s.f.n; slot++)
            fixture_mark(&s.f, slot, atomic_load(&s.phase[slot]) == 1);
        (void)fixture_check(&s.f);
        for (qv_slot slot = 0; slot < s.f.n; slot++) /* what is left can be taken out */
            if (fixture_is_marked(&s.f, slot))
                fixture_delete(&s.f, slot);
        assert_int_equal(fixture_check(&s.f), 0);
        assert_int_equal(qv_hnsw_stats(s.f.h).live, 0);
        qv_mem_free((void *)s.phase);
        fixture_close(&s.f);
    }
}

struct saver {
    struct fixture *f;
    _Atomic uint32_t inserted;
};

static void *insert_rest(void *arg)
{
    struct saver *s = arg;
    struct qv_hnsw_ctx *ctx = qv_hnsw_ctx_create();
    for (qv_slot slot = atomic_load(&s->inserted); slot < s->f->n; slot++) {
        assert_int_equal(qv_hnsw_insert(s->f->h, ctx, slot, 1), 0);
        atomic_store(&s->inserted, slot + 1);
        if (slot % 5 == 0) {
            assert_int_equal(qv_hnsw_remove(s->f->h, slot - 300), 0);
            assert_int_equal(qv_hnsw_repair(s->f->h, ctx, slot - 300), 0);
        }
    }
    qv_hnsw_ctx_destroy(&ctx);
    return NULL;
}

static void saves_beside_a_writer_load_whole(void **state)
{
    struct fixture f;
    struct saver s = {.f = &f};
    struct qv_buf files[8];
    uint32_t before[8];
    uint32_t n = 0;
    pthread_t writer;
    (void)state;
    fixture_open(&f, QV_METRIC_L2, QV_DTYPE_F32, 3000, DIM, SEED);
    for (qv_slot slot = 0; slot < 500; slot++)
        fixture_insert(&f, slot, 1);
    atomic_store(&s.inserted, 500);
    assert_int_equal(pthread_create(&writer, NULL, insert_rest, &s), 0);
    for (; n < 8; n++) {
        before[n] = atomic_load(&s.inserted);
        qv_buf_init(&files[n], 0);
        assert_int_equal(qv_hnsw_save(f.h, fixture_write, &files[n]), 0);
    }
    assert_int_equal(pthread_join(writer, NULL), 0);
    for (uint32_t i = 0; i < n; i++) {
        struct fixture_reader reader = {.p = files[i].data, .n = files[i].len};
        struct qv_hnsw_source source = {.read = fixture_read, .read_arg = &reader};
        struct qv_errmsg msg;
        qv_hnsw_destroy(&f.h);
        assert_int_equal(qv_hnsw_load(&f.params, &f.rows, &source, &f.h, NULL, &msg), 0);
        assert_int_equal(fixture_check(&f), 0);
        uint32_t missing = 0;
        for (qv_slot slot = 0; slot < before[i]; slot++) {
            bool live = qv_hnsw_slot_state(f.h, slot, NULL) == QV_HNSW_LIVE;
            missing += !live && slot % 5 != 0 ? 1 : 0;
            fixture_mark(&f, slot, live);
        }
        for (qv_slot slot = before[i]; slot < f.n; slot++)
            fixture_mark(&f, slot, qv_hnsw_slot_state(f.h, slot, NULL) == QV_HNSW_LIVE);
        assert_int_equal(missing, 0);
        assert_true(fixture_recall(&f, 100, NULL) >= 0.99);
        qv_buf_close(&files[i]);
    }
    fixture_close(&f);
}

/* ---- the rules that the above rests on, one by one ---- */

static void only_linked_nodes_are_claimed(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, QV_METRIC_L2, QV_DTYPE_F32, 10, 4, SEED);
    for (qv_slot slot = 0; slot < 5; slot++)
        fixture_insert(&f, slot, 1);
    uint32_t count = qv_hnsw_in_get(f.h, 3, 0);
    assert_true(qv_hnsw_in_claim(f.h, 3, 0));
    assert_int_equal(qv_hnsw_in_get(f.h, 3, 0), count + 1);
    assert_int_equal(qv_hnsw_in_drop(f.h, 3, 0), count);
    assert_false(qv_hnsw_in_claim(f.h, 3, qv_hnsw_node_level(f.h, 3) + 1));
    assert_false(qv_hnsw_in_claim(f.h, 7, 0)); /* free */
    assert_int_equal(qv_hnsw_remove(f.h, 3), 0);
    assert_true(qv_hnsw_in_claim(f.h, 3, 0)); /* dead ones are walked through */
    (void)qv_hnsw_in_drop(f.h, 3, 0);
    qv_hnsw_node_lock(f.h, 3);
    qv_hnsw_node_set_state(f.h, 3, QV_HNSW_NODE_UNLINKING);
    qv_hnsw_node_unlock(f.h, 3);
    assert_false(qv_hnsw_in_claim(f.h, 3, 0));
    assert_int_equal(qv_hnsw_in_get(f.h, 3, 0), count);
    assert_false(qv_hnsw_link_append(f.h, 2, 3, 0));
    assert_false(qv_hnsw_link_append(f.h, 3, 2, 0));
    assert_int_equal(qv_hnsw_repair(f.h, f.ctx, 3), 0);
    assert_int_equal(qv_hnsw_in_get(f.h, 3, 0), 0);
    assert_false(qv_hnsw_in_claim(f.h, 3, 0));
    assert_int_equal(fixture_check(&f), 0);
    fixture_close(&f);
}

struct locking {
    struct qv_hnsw *h;
    uint64_t plain; /* guarded by the lock of slot 0 */
};

static void *count_locked(void *arg)
{
    struct locking *l = arg;
    for (uint32_t i = 0; i < 20000; i++) {
        qv_hnsw_node_lock(l->h, 0);
        uint64_t was = l->plain;
        if (i % 64 == 0)
            sched_yield(); /* others get their chance to come in */
        l->plain = was + 1;
        qv_hnsw_node_unlock(l->h, 0);
    }
    return NULL;
}

static void node_locks_exclude(void **state)
{
    struct fixture f;
    pthread_t threads[4];
    (void)state;
    fixture_open(&f, QV_METRIC_L2, QV_DTYPE_F32, 10, 4, SEED);
    fixture_insert(&f, 0, 1);
    struct locking l = {.h = f.h};
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_locked, &l), 0);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(l.plain, 80000);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_at_once),
        cmocka_unit_test(tiny_graphs_under_contention),
        cmocka_unit_test(saves_beside_a_writer_load_whole),
        cmocka_unit_test(only_linked_nodes_are_claimed),
        cmocka_unit_test(node_locks_exclude),
    };
    return RUN_SUITE(tests);
}
