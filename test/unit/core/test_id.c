#include "suite.h"

#include "base/hash.h"
#include "base/rng.h"
#include "core/id.h"

#include <stdlib.h>
#include <string.h>

static struct qv_id random_id(struct qv_rng *rng)
{
    struct qv_id id = {.hi = qv_rng_u64(rng), .lo = qv_rng_u64(rng), .type = QV_ID_UUID};
    if (qv_rng_below(rng, 2) == 0)
        id = qv_id_num(id.lo >> qv_rng_below(rng, 64));
    return id;
}

static void test_canonical_bytes(void **state)
{
    (void)state;
    const uint8_t number[] = {1, 1, 2, 3, 4, 5, 6, 7, 8};
    const uint8_t uuid[] = {2,    0x55, 0x0e, 0x84, 0x00, 0xe2, 0x9b, 0x41, 0xd4,
                            0xa7, 0x16, 0x44, 0x66, 0x55, 0x44, 0x00, 0x00};
    uint8_t out[QV_ID_BYTES_MAX];
    struct qv_id id = qv_id_num(0x0102030405060708);
    assert_int_equal(qv_id_encode(&id, out), sizeof number);
    assert_memory_equal(out, number, sizeof number);
    assert_true(qv_id_key_hash(&id) == qv_hash_64(number, sizeof number));
    assert_int_equal(qv_id_parse_uuid("550E8400-e29b-41d4-a716-446655440000", 36, &id), 0);
    assert_int_equal(qv_id_encode(&id, out), sizeof uuid);
    assert_memory_equal(out, uuid, sizeof uuid);
    assert_true(qv_id_key_hash(&id) == qv_hash_64(uuid, sizeof uuid));
}

static void test_bytes_round_trip_and_order(void **state)
{
    (void)state;
    struct qv_rng rng;
    qv_rng_init(&rng, 7);
    for (int i = 0; i < 20000; i++) {
        uint8_t a[QV_ID_BYTES_MAX];
        uint8_t b[QV_ID_BYTES_MAX];
        struct qv_id x = random_id(&rng);
        struct qv_id y = qv_rng_below(&rng, 8) == 0 ? x : random_id(&rng);
        struct qv_id back;
        size_t used;
        size_t nx = qv_id_encode(&x, a);
        size_t ny = qv_id_encode(&y, b);
        assert_int_equal(qv_id_decode(a, nx, &back, &used), 0);
        assert_int_equal(used, nx);
        assert_true(qv_id_equal(&back, &x));
        assert_int_equal(qv_id_decode(a, nx - 1, &back, &used), QV_ECORRUPT);
        int bytes = memcmp(a, b, nx < ny ? nx : ny);
        int order = qv_id_compare(&x, &y);
        assert_int_equal((bytes > 0) - (bytes < 0), (order > 0) - (order < 0));
        assert_int_equal(order == 0, qv_id_equal(&x, &y));
    }
    uint8_t odd[QV_ID_BYTES_MAX] = {3};
    struct qv_id back;
    size_t used;
    assert_int_equal(qv_id_decode(odd, sizeof odd, &back, &used), QV_ECORRUPT);
    assert_int_equal(qv_id_decode(odd, 0, &back, &used), QV_ECORRUPT);
}

static void test_text_round_trip(void **state)
{
    (void)state;
    struct qv_rng rng;
    qv_rng_init(&rng, 8);
    for (int i = 0; i < 5000; i++) {
        char text[QV_ID_TEXT_MAX];
        struct qv_id id = random_id(&rng);
        struct qv_id back = qv_id_num(0);
        size_t n = qv_id_format(&id, text);
        assert_int_equal(n, strlen(text));
        if (id.type == QV_ID_UUID) {
            assert_int_equal(n, 36);
            assert_int_equal(qv_id_parse_uuid(text, n, &back), 0);
        } else {
            back = qv_id_num(strtoull(text, NULL, 10));
        }
        assert_true(qv_id_equal(&id, &back));
    }
    char text[QV_ID_TEXT_MAX];
    struct qv_id most = qv_id_num(UINT64_MAX);
    qv_id_format(&most, text);
    assert_string_equal(text, "18446744073709551615");
}

static void test_uuid_forms(void **state)
{
    (void)state;
    const char *good[] = {"550e8400-e29b-41d4-a716-446655440000",
                          "550e8400e29b41d4a716446655440000", "550E8400E29B41D4A716446655440000",
                          "{550e8400-e29b-41d4-a716-446655440000}",
                          "urn:uuid:550e8400-e29b-41d4-a716-446655440000"};
    const char *wrong[] = {"",
                           "5",
                           "550e8400-e29b-41d4-a716-44665544000",
                           "550e8400-e29b-41d4-a716-4466554400000",
                           "550e8400-e29b-41d4-a716-44665544000g",
                           "550e8400e-29b-41d4-a716-446655440000",
                           "550e8400-e29b-41d4-a716+446655440000",
                           "{550e8400e29b41d4a716446655440000}",
                           "[550e8400-e29b-41d4-a716-446655440000]",
                           "URN:UUID:550e8400-e29b-41d4-a716-446655440000",
                           " 50e8400-e29b-41d4-a716-446655440000"};
    struct qv_id first = {0};
    struct qv_id id = {0};
    assert_int_equal(qv_id_parse_uuid(good[0], 36, &first), 0);
    assert_true(first.hi == 0x550e8400e29b41d4 && first.lo == 0xa716446655440000);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(qv_id_parse_uuid(good[i], strlen(good[i]), &id), 0);
        assert_true(qv_id_equal(&id, &first));
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(qv_id_parse_uuid(wrong[i], strlen(wrong[i]), &id), QV_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canonical_bytes),
        cmocka_unit_test(test_bytes_round_trip_and_order),
        cmocka_unit_test(test_text_round_trip),
        cmocka_unit_test(test_uuid_forms),
    };
    return RUN_SUITE(tests);
}
