/* What recall targets have learned over the lives of a store, on a simulated disk. */
#include "quiet.h"
#include "suite.h"

#include "shard/checkpoint.h"
#include "shard_world.h"

#include <stdlib.h>
#include <string.h>

#define SEED 5u
#define TARGET 0.9

static struct world *start(uint64_t seed)
{
    struct qv_errmsg msg = {""};
    struct world *w = calloc(1, sizeof *w);
    quiet_log(); /* damage is planted */
    world_init(w, seed);
    assert_int_equal(world_open(w, &msg), 0);
    for (uint32_t i = 0; i < 400; i++) {
        (void)world_write_some(w);
        world_run(w);
    }
    return w;
}

static void end(struct world *w)
{
    assert_int_equal(world_shut(w), 0);
    world_close(w);
    free(w);
}

static struct qv_shard *shard(struct world *w)
{
    return w->store->shards[0];
}

static bool knows(struct world *w, struct qv_effort_plan *out)
{
    return qv_shard_effort_plan(shard(w), 0, TARGET, out);
}

static void again(struct world *w)
{
    struct qv_errmsg msg = {""};
    assert_int_equal(world_shut(w), 0);
    assert_int_equal(world_open(w, &msg), 0);
    assert_int_equal(atomic_load(&shard(w)->state), QV_SHARD_OPEN);
}

static void learn(struct world *w, struct qv_effort_plan *out)
{
    for (uint32_t i = 0; i < 200 && !knows(w, out); i++)
        qv_sim_run_for(w->sim, QV_NS_PER_S);
    assert_true(knows(w, out));
}

static void path_of(struct world *w, char *out, size_t n)
{
    snprintf(out, n, "%s/effort-%u", shard(w)->dir, shard(w)->vectors[0].id);
}

static void test_a_start_knows_what_was_learned(void **state)
{
    (void)state;
    struct world *w = start(SEED);
    struct qv_effort_plan before;
    struct qv_effort_plan after;
    assert_false(knows(w, &before));
    learn(w, &before);
    again(w);
    assert_true(knows(w, &after));
    assert_memory_equal(&before, &after, sizeof before);
    end(w);
}

/* Any byte of the file changed: it is learned again, and nothing else is the matter. */
static void test_a_damaged_file_is_learned_again(void **state)
{
    (void)state;
    struct world *w = start(SEED + 1);
    struct qv_effort_plan plan;
    struct qv_file *f = NULL;
    char path[QV_SHARD_PATH_MAX];
    uint64_t size = 0;
    learn(w, &plan);
    for (uint32_t i = 0; i < 12; i++) {
        uint8_t byte;
        path_of(w, path, sizeof path);
        assert_int_equal(qv_disk_open(w->disk, path, QV_OPEN_READ | QV_OPEN_WRITE, &f, NULL), 0);
        assert_int_equal(qv_file_size(f, &size, NULL), 0);
        const uint64_t at = qv_rng_below(&w->rng, size);
        assert_int_equal(qv_file_pread_full(f, at, &byte, 1, NULL), 0);
        byte ^= (uint8_t)(1u << qv_rng_below(&w->rng, 8));
        assert_int_equal(qv_file_pwrite_full(f, at, &byte, 1, NULL), 0);
        assert_int_equal(qv_file_sync(f, NULL), 0);
        qv_file_close(f);
        again(w);
        if (knows(w, &plan))
            fail_msg("seed %u: byte %llu of %llu", SEED + 1, (unsigned long long)at,
                     (unsigned long long)size);
        learn(w, &plan);
    }
    end(w);
}

/* A graph with other links is not the one it was learned on. */
static void test_another_graph_is_learned_anew(void **state)
{
    (void)state;
    struct world *w = start(SEED + 2);
    struct qv_effort_plan plan;
    struct qv_effort e;
    struct qv_buf b;
    learn(w, &plan);
    qv_buf_init(&b, QV_EFFORT_BYTES_MAX);
    qv_effort_encode(&shard(w)->vectors[0].effort, shard(w)->vectors[0].graph, &b);
    assert_false(b.failed);
    const struct qv_hnsw *graph = shard(w)->vectors[0].graph;
    assert_int_equal(qv_effort_decode((struct qv_bytes){b.data, b.len}, graph, &e, NULL), 0);
    for (uint32_t word = 0; word < 5; word++) { /* version, coding, m, m0, ef_construct */
        b.data[word * 4]++;
        assert_int_equal(qv_effort_decode((struct qv_bytes){b.data, b.len}, graph, &e, NULL),
                         QV_EINVAL);
        assert_int_equal(e.samples, 0);
        b.data[word * 4]--;
    }
    for (size_t n = 0; n < b.len; n++)
        assert_int_not_equal(qv_effort_decode((struct qv_bytes){b.data, n}, graph, &e, NULL), 0);
    memset(b.data + b.len - 4, 0xFF, 4); /* NaN */
    assert_int_equal(qv_effort_decode((struct qv_bytes){b.data, b.len}, graph, &e, NULL),
                     QV_ECORRUPT);
    qv_buf_close(&b);
    end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_start_knows_what_was_learned),
        cmocka_unit_test(test_a_damaged_file_is_learned_again),
        cmocka_unit_test(test_another_graph_is_learned_anew),
    };
    return RUN_SUITE(tests);
}
