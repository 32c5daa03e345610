/* Merges by their properties: what is told as settled is what brute force over everything gives.
 * (Lists of hits go against the oracle in test_gather.c.) */
#include "suite.h"

#include "base/rng.h"
#include "query/merge.h"

#include <stdlib.h>
#include <string.h>

#define LISTS 5u
#define VALUES 60u

static struct qv_doc doc_of(struct qv_arena *arena, uint32_t kind, uint32_t v)
{
    struct qv_buf b;
    char text[16];
    qv_buf_init(&b, 0);
    const int n = snprintf(text, sizeof text, "v%u", v);
    if (kind == 0)
        qv_doc_put_int(&b, (int64_t)v - 30);
    else
        qv_doc_put_str(&b, text, (size_t)n);
    const struct qv_doc d = {qv_arena_dup(arena, b.data, b.len), b.len};
    qv_buf_close(&b);
    return d;
}

struct counted {
    uint32_t value;
    uint64_t count;
    struct qv_doc doc;
};

static int by_count(const void *pa, const void *pb)
{
    const struct counted *a = pa;
    const struct counted *b = pb;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    if (qv_doc_type(a->doc) == QV_DOC_INT)
        return qv_doc_int(a->doc) < qv_doc_int(b->doc) ? -1 : 1;
    return qv_str_compare(qv_doc_str(a->doc), qv_doc_str(b->doc));
}

static uint32_t sorted(struct counted *c)
{
    uint32_t n = 0;
    for (uint32_t v = 0; v < VALUES; v++) {
        if (c[v].count > 0)
            c[n++] = c[v];
    }
    qsort(c, n, sizeof *c, by_count);
    return n;
}

static void test_settled_facets_are_exact(void **state)
{
    (void)state;
    struct qv_rng rng;
    struct qv_arena arena;
    uint32_t settled_early = 0;
    uint32_t unsettled = 0;
    qv_rng_init(&rng, 20261123);
    qv_arena_init(&arena, 64 << 20);
    for (int run = 0; run < SANITIZED_LESS(4000); run++) {
        struct counted total[VALUES], own[LISTS][VALUES];
        struct qv_facet_out facets[LISTS];
        const struct qv_facet_out *lists[LISTS];
        bool all[LISTS], lacking[LISTS];
        struct qv_facet_out out;
        const uint32_t kind = (uint32_t)qv_rng_below(&rng, 2);
        const uint32_t skew = 1 + (uint32_t)qv_rng_below(&rng, 4);
        const uint32_t kept = 1 + (uint32_t)qv_rng_below(&rng, VALUES);
        const uint32_t limit = 1 + (uint32_t)qv_rng_below(&rng, 20);
        bool any = false;
        qv_arena_reset(&arena);
        memset(total, 0, sizeof total);
        for (uint32_t l = 0; l < LISTS; l++) {
            memset(own[l], 0, sizeof own[l]);
            for (uint32_t v = 0; v < VALUES; v++) {
                const uint64_t c = qv_rng_below(&rng, 1 + (skew == 1 ? 3 : 2000 / (1 + v * skew)));
                own[l][v] = (struct counted){v, c, doc_of(&arena, kind, v)};
                total[v] = (struct counted){v, total[v].count + c, own[l][v].doc};
            }
            const uint32_t n = sorted(own[l]);
            const uint32_t given = n < kept ? n : kept;
            facets[l].hits = QV_ARENA_ARRAY(&arena, struct qv_facet_hit, given);
            facets[l].count = given;
            for (uint32_t i = 0; i < given; i++)
                facets[l].hits[i] = (struct qv_facet_hit){own[l][i].doc, own[l][i].count};
            all[l] = given == n;
            lists[l] = &facets[l];
        }
        const uint32_t n = sorted(total);
        const struct qv_merge_facets m = {lists, all, LISTS, limit};
        assert_int_equal(qv_merge_facets(&m, &arena, &out, lacking), 0);
        bool truncated = false;
        for (uint32_t l = 0; l < LISTS; l++) {
            any = any || lacking[l];
            truncated = truncated || !all[l];
            assert_true(!lacking[l] || !all[l]); /* who told all is not asked on */
        }
        if (any) {
            unsettled++;
            continue;
        }
        settled_early += truncated;
        assert_int_equal(out.count, n < limit ? n : limit);
        for (uint32_t i = 0; i < out.count; i++) {
            assert_int_equal(out.hits[i].count, total[i].count);
            assert_true(qv_doc_equal(out.hits[i].value, total[i].doc));
        }
    }
    printf("# %u settled though values were left out, %u not\n", settled_early, unsettled);
    assert_true(settled_early > 0 && unsettled > 0);
    qv_arena_close(&arena);
}

static void test_lists_out_of_order_are_refused(void **state)
{
    (void)state;
    struct qv_arena arena;
    struct qv_points_out out;
    struct qv_point_out points[] = {{.id = {0, 2, QV_ID_NUM}}, {.id = {0, 1, QV_ID_NUM}}};
    const struct qv_leg_list list = {.points = {.points = points, .count = 2},
                                     .bound = {.all = true}};
    const struct qv_leg_list *lists[] = {NULL, &list};
    const struct qv_merge m = {
        .order = {.by = QV_MERGE_ID}, .lists = lists, .count = 2, .limit = 5};
    qv_arena_init(&arena, 1 << 20);
    assert_int_equal(qv_merge_lists(&m, &arena, &out, NULL, NULL), QV_EPROTO);
    qv_arena_close(&arena);
}

static void test_the_newest_copy_counts_wherever_it_ranks(void **state)
{
    (void)state;
    struct qv_arena arena;
    struct qv_points_out out;
    struct qv_point_out old[] = {{.id = {0, 7, QV_ID_NUM}, .version = {5, 1}, .score = 0.1f},
                                 {.id = {0, 8, QV_ID_NUM}, .version = {5, 1}, .score = 0.2f}};
    struct qv_point_out new[] = {{.id = {0, 9, QV_ID_NUM}, .version = {6, 1}, .score = 0.3f},
                                 {.id = {0, 7, QV_ID_NUM}, .version = {6, 1}, .score = 0.9f}};
    const struct qv_leg_list a = {.points = {.points = old, .count = 2}, .bound = {.all = true}};
    const struct qv_leg_list b = {.points = {.points = new, .count = 2}, .bound = {.all = true}};
    const struct qv_leg_list *lists[] = {&a, &b};
    const struct qv_merge m = {.order = {.ranking = {.distance = QV_DISTANCE_EUCLID}},
                               .lists = lists,
                               .count = 2,
                               .skip = 1,
                               .limit = 5};
    qv_arena_init(&arena, 1 << 20);
    assert_int_equal(qv_merge_lists(&m, &arena, &out, NULL, NULL), 0);
    assert_int_equal(out.count, 2);
    assert_int_equal(out.points[0].id.lo, 9);
    assert_int_equal(out.points[1].id.lo, 7);
    assert_int_equal(out.points[1].version.clock, 6);
    qv_arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settled_facets_are_exact),
        cmocka_unit_test(test_lists_out_of_order_are_refused),
        cmocka_unit_test(test_the_newest_copy_counts_wherever_it_ranks),
    };
    return RUN_SUITE(tests);
}
