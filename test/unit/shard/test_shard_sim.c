/* Seeded lives of a store: random writes, checkpoints, crashes at any moment, reopening; what it
 * answers is compared with a model (test/lib/shard_world.h). */
#include "quiet.h"
#include "suite.h"

#include "shard_world.h"

#include <stdlib.h>

static uint64_t from_env(const char *name, uint64_t otherwise)
{
    const char *s = getenv(name);
    return s != NULL ? strtoull(s, NULL, 10) : otherwise;
}

struct totals {
    uint64_t acked, refused, unknown, kept, lost, lives, hits, of;
};

static bool some_work(struct world *w, bool verify)
{
    uint64_t writes = 1 + qv_rng_below(&w->rng, 60);
    for (uint64_t i = 0; i < writes && w->wrong[0] == '\0'; i++) {
        (void)world_write_some(w);
        if (qv_rng_below(&w->rng, 3) == 0)
            qv_sim_run(w->sim, qv_rng_below(&w->rng, 40));
        if (qv_rng_below(&w->rng, 12) == 0)
            qv_sim_run_for(w->sim, qv_rng_below(&w->rng, 500) * QV_NS_PER_MS);
        if (verify && qv_rng_below(&w->rng, 10) == 0) {
            world_run(w);
            if (!world_verify(w, true) || !world_check_structures(w))
                return false;
        }
    }
    return w->wrong[0] == '\0';
}

/* An open that may itself die, several times. */
static bool open_somehow(struct world *w)
{
    for (;;) {
        struct qv_errmsg msg = {""};
        if (w->created && qv_rng_below(&w->rng, 3) == 0)
            qv_sim_disk_die_after(w->disk, 1 + qv_rng_below(&w->rng, 60));
        int err = world_open(w, &msg);
        if (err == 0 && !qv_sim_disk_is_dead(w->disk)) {
            qv_sim_disk_die_after(w->disk, 0);
            return true;
        }
        if (err == 0) { /* it opened, with what it could still read; the disk died under it */
            world_crash(w, qv_rng_below(&w->rng, 2) == 0);
            continue;
        }
        if (!qv_sim_disk_is_dead(w->disk)) {
            snprintf(w->wrong, sizeof w->wrong, "open: %s: %s", qv_err_name(err), msg.text);
            return false;
        }
        if (qv_rng_below(&w->rng, 2) == 0)
            qv_sim_disk_crash(w->disk);
        else
            qv_sim_disk_kill(w->disk);
    }
}

static bool one_end(struct world *w)
{
    switch (qv_rng_below(&w->rng, 4)) {
    case 0:
        world_run(w);
        if (world_shut(w) != 0 && w->wrong[0] == '\0')
            snprintf(w->wrong, sizeof w->wrong, "a clean close failed");
        break;
    case 1: /* inside whatever is going on */
        qv_sim_disk_die_after(w->disk, 1 + qv_rng_below(&w->rng, 80));
        some_work(w, false);
        qv_sim_run_for(w->sim, qv_rng_below(&w->rng, 600) * QV_NS_PER_MS);
        world_crash(w, qv_rng_below(&w->rng, 3) > 0);
        break;
    default:
        world_crash(w, qv_rng_below(&w->rng, 4) > 0);
        break;
    }
    return w->wrong[0] == '\0';
}

static bool one_run(uint64_t seed, struct totals *t)
{
    struct world *w = calloc(1, sizeof *w);
    world_init(w, seed);
    bool ok = true;
    for (int life = 0; life < 6 && ok; life++) {
        ok = open_somehow(w) && world_verify(w, true) && world_check_structures(w) &&
             some_work(w, true) && one_end(w);
    }
    t->acked += w->acked;
    t->refused += w->refused;
    t->unknown += w->unknown;
    t->kept += w->replays_unknown_kept;
    t->lost += w->replays_unknown_lost;
    t->lives += w->lives;
    t->hits += w->recall_hits;
    t->of += w->recall_of;
    if (!ok)
        printf("seed %llu: %s (replay with QV_SEED=%llu QV_RUNS=1)\n", (unsigned long long)seed,
               w->wrong, (unsigned long long)seed);
    world_close(w);
    free(w);
    return ok;
}

static void test_acknowledged_changes_survive(void **state)
{
    (void)state;
    uint64_t seed = from_env("QV_SEED", 1);
    uint64_t runs = from_env("QV_RUNS", SANITIZED_LESS(150));
    struct totals t = {0};
    for (uint64_t i = 0; i < runs; i++)
        assert_true(one_run(seed + i, &t));
    double recall = t.of > 0 ? (double)t.hits / (double)t.of : 1;
    printf("%llu lives, %llu acked, %llu refused, %llu unknown (kept %llu, lost %llu), recall "
           "%.4f\n",
           (unsigned long long)t.lives, (unsigned long long)t.acked, (unsigned long long)t.refused,
           (unsigned long long)t.unknown, (unsigned long long)t.kept, (unsigned long long)t.lost,
           recall);
    if (runs >= 100) {
        assert_true(t.acked > 1000 && t.refused > 0 && t.unknown > 0 && t.kept > 0 && t.lost > 0);
        assert_true(recall >= 0.995); /* 0.979 when what waits for the graph is not scanned */
    }
}

/* A disk that takes no more of the store's own file must not keep a close from ending; the log has
 * everything, so the next start only replays more. */
static void test_a_close_ends_on_a_full_disk(void **state)
{
    (void)state;
    struct world *w = calloc(1, sizeof *w);
    struct qv_errmsg msg = {""};
    world_init(w, 7);
    assert_int_equal(world_open(w, &msg), 0);
    for (int i = 0; i < 40; i++)
        (void)world_write_some(w);
    world_run(w);
    assert_true(w->acked > 0);
    qv_sim_disk_fail(w->disk, QV_SIM_OP_ANY, "node/store", 1, UINT64_MAX, QV_ENOSPC);
    (void)world_shut(w);
    assert_string_equal(w->wrong, "");
    qv_sim_disk_fail(w->disk, 0, NULL, 0, 0, 0);
    assert_int_equal(world_open(w, &msg), 0);
    assert_true(world_verify(w, true));
    world_close(w);
    free(w);
}

int main(void)
{
    quiet_log();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acknowledged_changes_survive),
        cmocka_unit_test(test_a_close_ends_on_a_full_disk),
    };
    return RUN_SUITE(tests);
}
