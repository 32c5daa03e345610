#include "suite.h"

#include "base/rng.h"
#include "core/cover.h"

#include <stdlib.h>

/* A small world of 64 blocks of hashes, each in or out: a cover as a bit set. */
#define BLOCKS 64u
#define BLOCK_BITS 58

static struct qv_cover cover_of(struct qv_arena *arena, uint64_t bits)
{
    struct qv_interval *list = QV_ARENA_ARRAY(arena, struct qv_interval, BLOCKS);
    uint32_t n = 0;
    assert_non_null(list);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        const uint64_t first = i << BLOCK_BITS;
        const uint64_t last = first + ((1ull << BLOCK_BITS) - 1);
        if (!(bits >> i & 1))
            continue;
        if (i > 0 && bits >> (i - 1) & 1)
            list[n - 1].last = last;
        else
            list[n++] = (struct qv_interval){first, last};
    }
    return (struct qv_cover){list, n};
}

static void expect(struct qv_arena *arena, const struct qv_cover *got, uint64_t bits)
{
    const struct qv_cover want = cover_of(arena, bits);
    const char *why;
    if (!qv_cover_check(got, &why))
        fail_msg("%s", why);
    assert_true(qv_cover_equal(got, &want));
    for (uint64_t i = 0; i < BLOCKS; i++) {
        const uint64_t first = i << BLOCK_BITS;
        assert_int_equal(qv_cover_holds(got, first), bits >> i & 1);
        assert_int_equal(qv_cover_holds(got, first + ((1ull << BLOCK_BITS) - 1)), bits >> i & 1);
    }
    const double share = qv_cover_share(got);
    assert_true(share == (double)__builtin_popcountll(bits) / BLOCKS);
}

static uint64_t some_bits(struct qv_rng *rng)
{
    switch (qv_rng_below(rng, 5)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return qv_rng_u64(rng) & qv_rng_u64(rng) & qv_rng_u64(rng);
    case 3:
        return qv_rng_u64(rng) | qv_rng_u64(rng) | qv_rng_u64(rng);
    default:
        return qv_rng_u64(rng);
    }
}

static void test_operations_are_those_of_sets(void **state)
{
    (void)state;
    const uint64_t seed = 20261123;
    struct qv_rng rng;
    struct qv_arena arena;
    qv_rng_init(&rng, seed);
    qv_arena_init(&arena, 1 << 24);
    for (int i = 0; i < 2000; i++) {
        const uint64_t x = some_bits(&rng);
        const uint64_t y = some_bits(&rng);
        struct qv_cover a = cover_of(&arena, x);
        const struct qv_cover b = cover_of(&arena, y);
        struct qv_cover c;
        assert_int_equal(qv_cover_union(&arena, &a, &b, &c), 0);
        expect(&arena, &c, x | y);
        assert_int_equal(qv_cover_intersect(&arena, &a, &b, &c), 0);
        expect(&arena, &c, x & y);
        assert_int_equal(qv_cover_subtract(&arena, &a, &b, &a), 0); /* out may be an operand */
        expect(&arena, &a, x & ~y);
        qv_arena_reset(&arena);
    }
    qv_arena_close(&arena);
}

static void test_borders(void **state)
{
    (void)state;
    struct qv_arena arena;
    struct qv_cover c;
    const struct qv_interval touching[] = {{0, 5}, {6, 9}};
    const struct qv_interval backwards[] = {{7, 5}};
    const struct qv_interval disorder[] = {{10, 12}, {2, 3}};
    const struct qv_interval behind_all[] = {{4, UINT64_MAX}, {3, 3}};
    const struct qv_interval almost[] = {{0, UINT64_MAX - 1}};
    qv_arena_init(&arena, 1 << 16);
    assert_false(qv_cover_check(&(struct qv_cover){touching, 2}, NULL));
    assert_false(qv_cover_check(&(struct qv_cover){backwards, 1}, NULL));
    assert_false(qv_cover_check(&(struct qv_cover){disorder, 2}, NULL));
    assert_false(qv_cover_check(&(struct qv_cover){behind_all, 2}, NULL));
    assert_true(qv_cover_check(&qv_cover_all, NULL));
    assert_true(qv_cover_check(&qv_cover_none, NULL));
    assert_true(qv_cover_share(&qv_cover_all) == 1.0);
    assert_true(qv_cover_share(&qv_cover_none) == 0.0);
    const struct qv_cover nearly = {almost, 1};
    assert_true(qv_cover_share(&nearly) < 1.0); /* what is missing stays missing */
    assert_int_equal(qv_cover_subtract(&arena, &qv_cover_all, &nearly, &c), 0);
    assert_int_equal(c.count, 1);
    assert_true(c.list[0].first == UINT64_MAX && c.list[0].last == UINT64_MAX);
    assert_int_equal(qv_cover_union(&arena, &c, &nearly, &c), 0);
    assert_true(qv_cover_equal(&c, &qv_cover_all));
    qv_arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operations_are_those_of_sets),
        cmocka_unit_test(test_borders),
    };
    return RUN_SUITE(tests);
}
