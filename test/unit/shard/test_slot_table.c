/* The slot table beside a plain array of what each id should have: random lives of ids. */
#include "suite.h"

#include "base/rng.h"
#include "shard/slot_table.h"

#include <stdlib.h>
#include <string.h>

#define IDS 3000
#define VECTORS 3

struct known { /* of an id */
    bool live;
    qv_slot slot;
    struct qv_version version;
    uint8_t present;
};

static struct qv_id id_of(uint32_t i)
{
    struct qv_id id = qv_id_num(i);
    if (i % 2 == 1) /* the same low half as its neighbour's number: the type tells them apart */
        id = (struct qv_id){.type = QV_ID_UUID, .hi = i % 6 == 1 ? 0 : i, .lo = i - 1};
    return id;
}

static void check_all(const struct qv_slot_table *t, const struct known *k)
{
    struct qv_errmsg msg = {""};
    uint32_t live = 0;
    assert_int_equal(qv_slot_table_check(t, &msg), 0);
    for (uint32_t i = 0; i < IDS; i++) {
        struct qv_id id = id_of(i);
        qv_slot slot = qv_slot_table_find(t, &id);
        assert_int_equal(slot, k[i].live ? k[i].slot : QV_SLOT_NONE);
        if (!k[i].live)
            continue;
        struct qv_id got = qv_slot_table_id(t, slot);
        assert_true(qv_id_equal(&got, &id));
        assert_int_equal(qv_version_compare(qv_slot_table_version(t, slot), k[i].version), 0);
        for (uint32_t v = 0; v < VECTORS; v++)
            assert_int_equal(qv_slot_table_is_live(t, v, slot), k[i].present >> v & 1);
        assert_true(qv_slot_table_is_live(t, QV_SLOT_ANY_VECTOR, slot));
        live++;
    }
    assert_int_equal(atomic_load(&t->live_shared), live);
}

static void bury(struct qv_slot_table *t, qv_slot slot, uint32_t *generation)
{
    uint32_t before = *qv_slot_table_generation(t, slot);
    assert_int_equal(before, generation[slot]);
    qv_slot_table_free(t, slot);
    generation[slot] = before + 1;
    assert_int_equal(*qv_slot_table_generation(t, slot), before + 1);
}

static void test_random_lives(void **state)
{
    (void)state;
    static struct known k[IDS];
    static uint32_t generation[1 << 14];
    struct qv_slot_table t;
    struct qv_rng rng;
    qv_rng_init(&rng, 11);
    assert_int_equal(qv_slot_table_init(&t, VECTORS, 1 << 14), 0);
    for (uint32_t step = 0; step < 60000; step++) {
        uint32_t i = (uint32_t)qv_rng_below(&rng, step < 3000 ? 50 : IDS);
        struct qv_id id = id_of(i);
        if (k[i].live && qv_rng_below(&rng, 2) == 0) {
            qv_slot_table_kill(&t, k[i].slot);
            k[i].live = false;
            bury(&t, k[i].slot, generation);
        } else {
            struct qv_version version = {step + 1, (uint32_t)qv_rng_below(&rng, 3)};
            uint8_t present = (uint8_t)qv_rng_below(&rng, 1 << VECTORS);
            assert_int_equal(qv_slot_table_reserve(&t, 1), 0);
            qv_slot slot = qv_slot_table_take(&t);
            qv_slot died = qv_slot_table_publish(&t, slot, &id, version, &present);
            assert_int_equal(died, k[i].live ? k[i].slot : QV_SLOT_NONE);
            k[i] = (struct known){true, slot, version, present};
            if (died != QV_SLOT_NONE)
                bury(&t, died, generation);
        }
        if (step % 3000 == 0)
            check_all(&t, k);
    }
    check_all(&t, k);
    uint32_t n = qv_slot_table_high(&t);
    uint64_t *bits = calloc(n / 64 + 1, sizeof *bits);
    qv_slot_table_copy_live(&t, 1, n, bits);
    for (qv_slot slot = 0; slot < n; slot++)
        assert_int_equal(bits[slot / 64] >> (slot & 63) & 1, qv_slot_table_is_live(&t, 1, slot));
    free(bits);
    qv_slot_table_close(&t);
}

struct given {
    const struct known *of_slot[64];
};

static const uint8_t *present_of(void *arg, qv_slot slot)
{
    return &((struct given *)arg)->of_slot[slot]->present;
}

static void test_restore_rebuilds(void **state)
{
    (void)state;
    static struct known k[IDS];
    struct given given = {{NULL}};
    struct qv_slot_table t;
    struct qv_errmsg msg = {""};
    assert_int_equal(qv_slot_table_init(&t, VECTORS, 64), 0);
    assert_int_equal(qv_slot_table_reserve(&t, 40), 0);
    for (qv_slot slot = 0; slot < 40; slot++) {
        bool live = slot % 3 != 0;
        struct qv_id id = id_of(slot);
        k[slot] = (struct known){live, slot, {slot + 5, 1}, (uint8_t)(slot % 8)};
        given.of_slot[slot] = &k[slot];
        qv_slot_table_restore(&t, slot, &id, k[slot].version, 9, live);
    }
    assert_int_equal(qv_slot_table_rebuild(&t, 40, present_of, &given, &msg), 0);
    check_all(&t, k);
    assert_int_equal(*qv_slot_table_generation(&t, 3), 9); /* free or not, as it was */
    assert_int_equal(qv_slot_table_take(&t), 0);           /* the lowest free one first */
    qv_slot_table_close(&t);
}

static void test_one_id_in_two_slots_is_refused(void **state)
{
    (void)state;
    struct known one = {true, 0, {1, 1}, 1};
    struct given given = {{&one, &one}};
    struct qv_slot_table t;
    struct qv_errmsg msg = {""};
    struct qv_id id = id_of(4);
    assert_int_equal(qv_slot_table_init(&t, VECTORS, 64), 0);
    assert_int_equal(qv_slot_table_reserve(&t, 2), 0);
    qv_slot_table_restore(&t, 0, &id, one.version, 1, true);
    qv_slot_table_restore(&t, 1, &id, one.version, 1, true);
    assert_int_equal(qv_slot_table_rebuild(&t, 2, present_of, &given, &msg), QV_ECORRUPT);
    qv_slot_table_close(&t);
}

static void test_a_full_table_says_so(void **state)
{
    (void)state;
    struct qv_slot_table t;
    assert_int_equal(qv_slot_table_init(&t, 0, 4), 0);
    assert_int_equal(qv_slot_table_reserve(&t, 5), QV_ELIMIT);
    assert_int_equal(qv_slot_table_reserve(&t, 4), 0);
    qv_slot_table_close(&t);
}

/* More vectors than the list of columns had room for; slots written before keep theirs. */
static void test_vectors_come_and_go(void **state)
{
    (void)state;
    struct qv_slot_table t;
    struct qv_errmsg msg = {""};
    uint8_t present[32] = {0};
    assert_int_equal(qv_slot_table_init(&t, 1, 1 << 12), 0);
    present[0] = 1;
    for (uint32_t i = 0; i < 100; i++) {
        struct qv_id id = {.type = QV_ID_NUM, .lo = i};
        assert_int_equal(qv_slot_table_reserve(&t, 1), 0);
        qv_slot slot = qv_slot_table_take(&t);
        qv_slot_table_publish(&t, slot, &id, (struct qv_version){i + 1, 1}, present);
        *qv_slot_table_row_crc(&t, 0, slot) = i;
        assert_int_equal(qv_slot_table_add_vector(&t), 0);
        uint32_t added = i + 1;
        for (qv_slot k = 0; k <= i; k++)
            assert_false(qv_slot_table_is_live(&t, added, k));
        *qv_slot_table_row_crc(&t, added, slot) = 7;
        present[added / 8] |= (uint8_t)(1u << (added & 7));
        if (i % 3 == 0) {
            qv_slot_table_clear_vector(&t, added);
            present[added / 8] &= (uint8_t) ~(1u << (added & 7));
        }
    }
    for (qv_slot slot = 0; slot < 100; slot++) {
        assert_int_equal(*qv_slot_table_row_crc(&t, 0, slot), slot);
        assert_int_equal(qv_slot_table_is_live(&t, 2, slot), slot >= 2); /* i = 1 added it */
        assert_false(qv_slot_table_is_live(&t, 1, slot));
    }
    qv_slot_table_clear_vector(&t, 2);
    assert_false(qv_slot_table_is_live(&t, 2, 50));
    assert_true(qv_slot_table_is_live(&t, QV_SLOT_ANY_VECTOR, 50));
    assert_int_equal(qv_slot_table_check(&t, &msg), 0);
    qv_slot_table_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_lives),
        cmocka_unit_test(test_vectors_come_and_go),
        cmocka_unit_test(test_restore_rebuilds),
        cmocka_unit_test(test_one_id_in_two_slots_is_refused),
        cmocka_unit_test(test_a_full_table_says_so),
    };
    return RUN_SUITE(tests);
}
