#include "suite.h"

#include "base/arena.h"
#include "base/mem.h"
#include "base/rng.h"

#include <string.h>

/* Blocks of any size and alignment: aligned, apart from each other, within the bound. */
static void test_blocks_are_aligned_and_apart(void **state)
{
    (void)state;
    struct qv_arena a;
    qv_arena_init(&a, (size_t)1 << 20);
    struct qv_rng rng;
    qv_rng_init(&rng, 5);
    unsigned char *blocks[200];
    size_t sizes[200];
    for (uint32_t i = 0; i < 200; i++) {
        const size_t align = (size_t)16 << qv_rng_below(&rng, 5);
        sizes[i] = 1 + qv_rng_below(&rng, 3000);
        blocks[i] = qv_arena_alloc_aligned(&a, sizes[i], align);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % align, 0);
        memset(blocks[i], (int)i, sizes[i]);
    }
    for (uint32_t i = 0; i < 200; i++) {
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(blocks[i][k], i);
    }
    qv_arena_close(&a);
}

static void test_the_bound_holds_with_its_padding(void **state)
{
    (void)state;
    struct qv_arena a;
    qv_arena_init(&a, 4096);
    assert_null(qv_arena_alloc_aligned(&a, 4096, QV_CACHE_LINE));
    assert_true(a.failed);
    qv_arena_reset(&a);
    assert_null(qv_arena_alloc_aligned(&a, SIZE_MAX - 8, QV_CACHE_LINE));
    assert_true(a.failed);
    qv_arena_reset(&a);
    assert_non_null(qv_arena_alloc_aligned(&a, 4000, QV_CACHE_LINE));
    assert_false(a.failed);
    qv_arena_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_aligned_and_apart),
        cmocka_unit_test(test_the_bound_holds_with_its_padding),
    };
    return RUN_SUITE(tests);
}
