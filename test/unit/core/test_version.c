#include "suite.h"

#include "base/rng.h"
#include "core/version.h"

/* Three writers whose wall clocks jump about; some clocks travel between them. */
static void test_ticks_are_above_everything_seen(void **state)
{
    (void)state;
    struct qv_rng rng;
    struct qv_clock c[3];
    uint64_t seen[3] = {0, 0, 0};
    qv_rng_init(&rng, 3);
    for (uint32_t i = 0; i < 3; i++)
        qv_clock_init(&c[i], i + 1, 0);
    uint64_t wall = UINT64_C(1700000000000);
    for (int step = 0; step < 50000; step++) {
        size_t i = (size_t)qv_rng_below(&rng, 3);
        size_t j = (size_t)qv_rng_below(&rng, 3);
        wall += qv_rng_below(&rng, 3);
        uint64_t mine = wall - 200 + qv_rng_below(&rng, 400);
        if (qv_rng_below(&rng, 3) == 0) {
            uint64_t before = c[i].last;
            int err = qv_clock_observe(&c[i], c[j].last, mine);
            if (err == 0)
                seen[i] = seen[i] > c[j].last ? seen[i] : c[j].last;
            else
                assert_true(err == QV_ESTALE && c[i].last == before);
        } else {
            struct qv_version v = qv_clock_tick(&c[i], mine);
            assert_true(v.clock > seen[i] && v.writer == i + 1);
            assert_true(v.clock >= mine << QV_CLOCK_COUNTER_BITS);
            seen[i] = v.clock;
        }
    }
}

static void test_counter_carries(void **state)
{
    (void)state;
    struct qv_clock c;
    qv_clock_init(&c, 9, UINT64_C(5) << 16 | 0xFFFF);
    assert_true(qv_clock_tick(&c, 5).clock == UINT64_C(6) << 16);
    assert_true(qv_clock_tick(&c, 6).clock == (UINT64_C(6) << 16 | 1));
    assert_true(qv_clock_tick(&c, 8).clock == UINT64_C(8) << 16);
    assert_true(qv_clock_tick(&c, 1).clock == (UINT64_C(8) << 16 | 1));
}

static void test_far_ahead_is_refused(void **state)
{
    (void)state;
    struct qv_clock c;
    qv_clock_init(&c, 1, 0);
    uint64_t edge = (UINT64_C(1000) + QV_CLOCK_AHEAD_MS_MAX) << 16;
    assert_int_equal(qv_clock_observe(&c, edge + 0x10000, 1000), QV_ESTALE);
    assert_true(c.last == 0);
    assert_int_equal(qv_clock_observe(&c, edge | 0xFFFF, 1000), 0);
    assert_true(c.last == (edge | 0xFFFF));
    assert_int_equal(qv_clock_observe(&c, 1, 1000), 0); /* older: nothing to take over */
    assert_true(c.last == (edge | 0xFFFF));
    assert_int_equal(qv_clock_observe(&c, UINT64_MAX, 1000), QV_ESTALE);
}

static void test_order(void **state)
{
    (void)state;
    const struct qv_version v[] = {{0, 0}, {0, 1}, {1, 0}, {1, 5}, {1, UINT32_MAX}, {2, 0}};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        for (size_t j = 0; j < sizeof v / sizeof *v; j++) {
            int c = qv_version_compare(v[i], v[j]);
            assert_int_equal((c > 0) - (c < 0), (i > j) - (i < j));
            assert_int_equal(qv_version_compare(qv_version_max(v[i], v[j]), v[i > j ? i : j]), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ticks_are_above_everything_seen),
        cmocka_unit_test(test_counter_carries),
        cmocka_unit_test(test_far_ahead_is_refused),
        cmocka_unit_test(test_order),
    };
    return RUN_SUITE(tests);
}
