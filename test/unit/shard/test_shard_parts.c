/* Epochs, ghosts, dirty sets; and what a prepared request becomes. */
#include "suite.h"

#include "base/rng.h"
#include "shard/dirty.h"
#include "shard/epoch.h"
#include "shard/ghosts.h"
#include "shard/prepare.h"

#include <stdlib.h>
#include <string.h>

static void test_epoch_waits_for_who_was_inside(void **state)
{
    (void)state;
    struct qv_epoch *e = calloc(1, sizeof *e);
    qv_epoch_init(e);
    uint64_t quiet = qv_epoch_advance(e);
    assert_true(qv_epoch_oldest(e) > quiet); /* nobody was inside */
    qv_epoch_enter(e, 3);
    uint64_t tag = qv_epoch_advance(e);
    assert_false(qv_epoch_oldest(e) > tag);
    qv_epoch_enter(e, 4); /* came after: does not hold it back */
    assert_false(qv_epoch_oldest(e) > tag);
    qv_epoch_leave(e, 3);
    assert_true(qv_epoch_oldest(e) > tag);
    uint64_t later = qv_epoch_advance(e);
    assert_false(qv_epoch_oldest(e) > later);
    qv_epoch_leave(e, 4);
    assert_true(qv_epoch_oldest(e) > later);
    free(e);
}

static void test_ghosts_are_found_until_removed(void **state)
{
    (void)state;
    static uint64_t version[500];
    struct qv_ghosts g;
    struct qv_rng rng;
    qv_rng_init(&rng, 5);
    qv_ghosts_init(&g);
    for (uint32_t step = 1; step < 20000; step++) {
        uint32_t i = (uint32_t)qv_rng_below(&rng, 500);
        struct qv_id id = qv_id_num(i);
        if (qv_rng_below(&rng, 3) == 0) {
            qv_ghosts_remove(&g, &id);
            version[i] = 0;
        } else {
            struct qv_bytes record = {(const uint8_t *)&step, sizeof step};
            qv_ghosts_put(&g, &id, (struct qv_version){step, 1}, record);
            version[i] = step;
        }
        const struct qv_ghost *ghost = qv_ghosts_find(&g, &id);
        assert_int_equal(ghost != NULL, version[i] != 0);
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < 500; i++) {
        struct qv_id id = qv_id_num(i);
        const struct qv_ghost *ghost = qv_ghosts_find(&g, &id);
        assert_int_equal(ghost != NULL ? ghost->newest.clock : 0, version[i]);
        count += ghost != NULL;
    }
    assert_int_equal(g.count, count);
    qv_ghosts_close(&g);
}

static void test_dirty_sets_join(void **state)
{
    (void)state;
    struct qv_dirty older = {0};
    struct qv_dirty newer = {0};
    struct qv_id id = qv_id_num(7);
    older.since_ns = 10;
    newer.since_ns = 20;
    struct qv_record *a = qv_dirty_add(&older, 1, (struct qv_bytes){(const uint8_t *)"old", 3});
    qv_dirty_add_dead(&older, &id);
    struct qv_record *b = qv_dirty_add(&newer, 1, (struct qv_bytes){(const uint8_t *)"new!", 4});
    size_t bytes = older.bytes + newer.bytes;
    qv_dirty_take(&newer, &older);
    assert_true(qv_dirty_empty(&older));
    assert_int_equal(newer.bytes, bytes);
    assert_int_equal(newer.count, 2);
    assert_int_equal(newer.dead_count, 1);
    assert_int_equal(newer.since_ns, 10);
    assert_memory_equal(a->data, "old", 3); /* records keep their place */
    assert_memory_equal(b->data, "new!", 4);
    qv_dirty_close(&newer);
    assert_true(qv_dirty_empty(&newer));
}

/* ---- preparing ---- */

static struct qv_part vector_part(uint32_t number, const char *value)
{
    return (struct qv_part){
        .kind = QV_PART_VECTOR, .number = number, .value = {(const uint8_t *)value, strlen(value)}};
}

static void prepare(struct qv_write *w, struct qv_arena *arena, struct qv_change *changes,
                    uint32_t n)
{
    memset(w, 0, sizeof *w);
    qv_arena_init(arena, (size_t)1 << 24);
    w->arena = arena;
    w->prepared = QV_ARENA_ARRAY(arena, struct qv_prepared, 1);
    assert_int_equal(qv_prepare_groups(w, 0, changes, n), 0);
}

static void test_the_last_put_of_an_id_counts(void **state)
{
    (void)state;
    struct qv_write w;
    struct qv_arena arena;
    struct qv_part a = vector_part(0, "a");
    struct qv_part b = vector_part(0, "b");
    struct qv_part c = vector_part(0, "c");
    struct qv_change changes[] = {{QV_CHANGE_PUT, qv_id_num(1), 1, &a},
                                  {QV_CHANGE_PUT, qv_id_num(2), 1, &b},
                                  {QV_CHANGE_PUT, qv_id_num(1), 1, &c}};
    prepare(&w, &arena, changes, 3);
    const struct qv_group *g = w.prepared[0].groups;
    assert_non_null(g);
    assert_null(g->next);
    assert_int_equal(g->count, 2);
    assert_int_equal(g->changes[0].id.lo, 2);
    assert_int_equal(g->changes[1].id.lo, 1);
    assert_memory_equal(g->changes[1].parts[0].value.p, "c", 1);
    qv_arena_close(&arena);
}

static void test_sets_of_one_id_are_merged(void **state)
{
    (void)state;
    struct qv_write w;
    struct qv_arena arena;
    struct qv_part a[] = {vector_part(0, "a0"), vector_part(1, "a1")};
    struct qv_part b[] = {vector_part(1, "b1"), vector_part(2, "b2")};
    struct qv_part c[] = {vector_part(0, "c0")};
    struct qv_change changes[] = {{QV_CHANGE_SET, qv_id_num(1), 2, a},
                                  {QV_CHANGE_SET, qv_id_num(1), 2, b},
                                  {QV_CHANGE_SET, qv_id_num(1), 1, c}};
    prepare(&w, &arena, changes, 3);
    const struct qv_group *g = w.prepared[0].groups;
    static const char *const want[] = {"c0", "b1", "b2"};
    assert_int_equal(g->count, 1);
    assert_int_equal(g->changes[0].part_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(g->changes[0].parts[i].number, i);
        assert_memory_equal(g->changes[0].parts[i].value.p, want[i], 2);
    }
    qv_arena_close(&arena);
}

static void test_groups_keep_to_their_bounds(void **state)
{
    (void)state;
    struct qv_write w;
    struct qv_arena arena;
    uint32_t n = QV_CHANGE_IDS_MAX + 5;
    struct qv_change *changes = calloc(n, sizeof *changes);
    for (uint32_t i = 0; i < n; i++)
        changes[i] = (struct qv_change){.type = QV_CHANGE_DELETE, .id = qv_id_num(i)};
    prepare(&w, &arena, changes, n);
    const struct qv_group *g = w.prepared[0].groups;
    assert_int_equal(g->count, QV_CHANGE_IDS_MAX);
    assert_int_equal(g->next->count, 5);
    assert_null(g->next->next);
    assert_int_equal(w.bytes, g->bytes.n + g->next->bytes.n);
    qv_arena_close(&arena);
    free(changes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_epoch_waits_for_who_was_inside),
        cmocka_unit_test(test_ghosts_are_found_until_removed),
        cmocka_unit_test(test_dirty_sets_join),
        cmocka_unit_test(test_the_last_put_of_an_id_counts),
        cmocka_unit_test(test_sets_of_one_id_are_merged),
        cmocka_unit_test(test_groups_keep_to_their_bounds),
    };
    return RUN_SUITE(tests);
}
