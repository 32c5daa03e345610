/* A node's links divided by a filter: every ISA against a plain loop, on lists of every length. */
#include "rows.h"

#include "base/mem.h"
#include "simd/links.h"
#include "suite.h"

#define SEED 4711u
#define SLOTS 1000u
#define CAP_MAX 70u
#define EPOCH 7u

struct world {
    uint64_t bits[SLOTS / 64 + 1];
    uint8_t seen[SLOTS + QV_LINKS_SLACK];
    _Atomic uint32_t list[CAP_MAX];
    uint32_t passing[2 * CAP_MAX + QV_LINKS_SLACK], failing[2 * CAP_MAX + QV_LINKS_SLACK];
    uint32_t cap, links, bound;
};

static bool passes(const struct world *w, uint32_t slot)
{
    return (w->bits[slot / 64] >> (slot % 64) & 1) != 0;
}

/* What is left in a list behind its end means nothing, so it is anything. */
static void draw(struct world *w, struct qv_rng *rng)
{
    for (uint32_t i = 0; i < SLOTS / 64 + 1; i++)
        w->bits[i] = qv_rng_below(rng, 3) == 0 ? 0 : qv_rng_u64(rng);
    for (uint32_t i = 0; i < SLOTS; i++)
        w->seen[i] = (uint8_t)(EPOCH - qv_rng_below(rng, 2));
    w->cap = 1 + (uint32_t)qv_rng_below(rng, CAP_MAX);
    w->links = (uint32_t)qv_rng_below(rng, w->cap + 1);
    w->bound = (uint32_t)qv_rng_below(rng, 2) == 0 ? SLOTS : (uint32_t)qv_rng_below(rng, SLOTS);
    for (uint32_t i = 0; i < w->cap; i++)
        atomic_store(&w->list[i], (uint32_t)qv_rng_below(rng, SLOTS));
    if (w->links < w->cap)
        atomic_store(&w->list[w->links], UINT32_MAX);
}

static void check(struct world *w, qv_links_split_f split, uint32_t before)
{
    const struct qv_links_filter filter = {
        .bits = w->bits, .seen = w->seen, .bound = w->bound, .epoch = EPOCH};
    struct qv_links_parts parts = {.passing = w->passing,
                                   .failing = w->failing,
                                   .passing_count = before,
                                   .failing_count = before};
    memset(w->passing, 0xAA, sizeof w->passing);
    memset(w->failing, 0xAA, sizeof w->failing);
    assert_int_equal(split(w->list, w->cap, &filter, &parts), w->links);
    uint32_t passing = before;
    uint32_t failing = before;
    for (uint32_t i = 0; i < w->links; i++) {
        const uint32_t slot = atomic_load(&w->list[i]);
        if (slot >= w->bound)
            continue;
        if (!passes(w, slot))
            assert_int_equal(w->failing[failing++], slot);
        else if (w->seen[slot] != EPOCH)
            assert_int_equal(w->passing[passing++], slot);
    }
    assert_int_equal(parts.passing_count, passing);
    assert_int_equal(parts.failing_count, failing);
    for (uint32_t i = 0; i < before; i++) /* what was there stays */
        assert_true(w->passing[i] == 0xAAAAAAAAu && w->failing[i] == 0xAAAAAAAAu);
}

static void links_are_divided_alike_by_every_isa(void **state)
{
    struct qv_rng rng;
    struct world *w = qv_mem_calloc(1, sizeof *w);
    (void)state;
    qv_rng_init(&rng, SEED);
    QV_FOR_EACH_ISA(isa)
    {
        const qv_links_split_f split = qv_simd_links_split_isa((enum qv_isa)isa);
        assert_non_null(split);
        for (int i = 0; i < 5000; i++) {
            draw(w, &rng);
            check(w, split, (uint32_t)qv_rng_below(&rng, CAP_MAX));
        }
    }
    assert_non_null(qv_simd_links_split());
    qv_mem_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_are_divided_alike_by_every_isa),
    };
    return RUN_SUITE(tests);
}
