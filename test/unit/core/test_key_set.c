/* Sets of keys against their definition, point by point. */
#include "suite.h"

#include "base/mem.h"
#include "base/rng.h"
#include "core/key_set.h"

#include <stdlib.h>

#define ROUNDS 3000
#define IDS 40u

/* A small world of ids, so that borders are met: numbers and UUIDs. */
static struct qv_id id_of(uint32_t i)
{
    struct qv_id id = qv_id_num(i);
    if (i >= IDS / 2)
        id = (struct qv_id){.hi = 7, .lo = i, .type = QV_ID_UUID};
    return id;
}

static void random_set(struct qv_rng *r, struct qv_interval *list, struct qv_id_range *ranges,
                       struct qv_key_set *out)
{
    *out = (struct qv_key_set){.keys = {list, 0}, .ranges = ranges};
    if (qv_rng_below(r, 3) == 0) {
        out->keys = qv_cover_all;
    } else {
        uint64_t at = 0;
        for (uint32_t n = (uint32_t)qv_rng_below(r, 4); n > 0; n--) {
            uint64_t first = at + qv_rng_below(r, UINT64_MAX / 5);
            uint64_t last = first + qv_rng_below(r, UINT64_MAX / 20);
            list[out->keys.count++] = (struct qv_interval){first, last};
            at = last + 2;
        }
    }
    out->some_ids = qv_rng_below(r, 2) == 0;
    uint32_t from = (uint32_t)qv_rng_below(r, 6);
    while (out->some_ids && out->range_count < 4 && from < IDS && qv_rng_below(r, 5) > 0) {
        uint32_t to = from + 1 + (uint32_t)qv_rng_below(r, 12);
        struct qv_id_range *range = &ranges[out->range_count++];
        range->from = from == 0 ? (struct qv_id){0} : id_of(from);
        range->to = to >= IDS ? (struct qv_id){0} : id_of(to);
        from = to + (uint32_t)qv_rng_below(r, 3);
    }
}

static bool naive_holds(const struct qv_key_set *s, const struct qv_id *id)
{
    bool key = false;
    bool in = !s->some_ids;
    for (uint32_t i = 0; i < s->keys.count; i++)
        key = key || (qv_id_key_hash(id) >= s->keys.list[i].first &&
                      qv_id_key_hash(id) <= s->keys.list[i].last);
    for (uint32_t i = 0; i < s->range_count; i++)
        in = in || qv_id_range_holds(&s->ranges[i], id);
    return key && in;
}

static void test_random(void **state)
{
    (void)state;
    const char *env = getenv("QV_SEED");
    uint64_t seed = env != NULL ? strtoull(env, NULL, 10) : 1;
    struct qv_rng rng;
    uint32_t within = 0;
    qv_rng_init(&rng, seed);
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < ROUNDS; round++) {
        struct qv_interval list[2][4];
        struct qv_id_range ranges[2][4];
        struct qv_key_set s[2];
        struct qv_key_set back;
        struct qv_arena arena;
        struct qv_buf b;
        struct qv_rd rd;
        const char *why = "";
        random_set(&rng, list[0], ranges[0], &s[0]);
        random_set(&rng, list[1], ranges[1], &s[1]);
        assert_true(qv_key_set_check(&s[0], &why));
        bool claims = qv_key_set_within(&s[0], &s[1]);
        within += claims;
        for (uint32_t i = 0; i < IDS; i++) {
            struct qv_id id = id_of(i);
            assert_int_equal(qv_key_set_has(&s[0], &id), naive_holds(&s[0], &id));
            if (claims && naive_holds(&s[0], &id))
                assert_true(naive_holds(&s[1], &id));
        }
        assert_true(qv_key_set_within(&s[0], &s[0]));
        assert_true(qv_key_set_within(&s[0], &qv_key_set_all));
        assert_true(qv_key_set_within(&qv_key_set_none, &s[0]));
        struct qv_key_set *copy = qv_key_set_dup(&s[0]);
        assert_true(qv_key_set_equal(copy, &s[0]));
        qv_arena_init(&arena, 1 << 20);
        qv_buf_init(&b, 0);
        qv_key_set_encode(&b, copy);
        qv_rd_init(&rd, b.data, b.len);
        assert_int_equal(qv_key_set_decode(&rd, &arena, &back, NULL), 0);
        assert_int_equal(qv_rd_left(&rd), 0);
        assert_true(qv_key_set_equal(&back, &s[0]));
        for (size_t n = 0; n < b.len; n++) { /* any beginning of it is none */
            qv_rd_init(&rd, b.data, n);
            assert_int_equal(qv_key_set_decode(&rd, &arena, &back, NULL), QV_ECORRUPT);
        }
        qv_mem_free(copy);
        qv_buf_close(&b);
        qv_arena_close(&arena);
    }
    assert_true(within > ROUNDS / 50); /* the claim is made, not only kept */
}

static void test_bad(void **state)
{
    (void)state;
    const char *why;
    struct qv_id_range touching[2] = {{qv_id_num(1), qv_id_num(5)}, {qv_id_num(4), qv_id_num(9)}};
    struct qv_id_range empty = {qv_id_num(3), qv_id_num(3)};
    struct qv_key_set s = {.keys = qv_cover_all, .some_ids = true, .range_count = 2};
    s.ranges = touching;
    assert_false(qv_key_set_check(&s, &why));
    touching[1].from = qv_id_num(5);
    assert_true(qv_key_set_check(&s, &why));
    s.some_ids = false;
    assert_false(qv_key_set_check(&s, &why));
    s = (struct qv_key_set){
        .keys = qv_cover_all, .some_ids = true, .range_count = 1, .ranges = &empty};
    assert_false(qv_key_set_check(&s, &why));
    assert_true(qv_key_set_is_all(&qv_key_set_all));
    assert_false(qv_key_set_is_all(&qv_key_set_none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random), cmocka_unit_test(test_bad)};
    return RUN_SUITE(tests);
}
