#include "suite.h"

#include "base/hash.h"
#include "base/rng.h"

static uint32_t crc_bitwise(const uint8_t *p, size_t n)
{
    uint32_t crc = ~0u;
    while (n-- > 0) {
        crc ^= *p++;
        for (int i = 0; i < 8; i++)
            crc = (crc >> 1) ^ (0x82F63B78u & (0u - (crc & 1u)));
    }
    return ~crc;
}

static void test_crc32c_check_value(void **state)
{
    (void)state;
    assert_int_equal(qv_hash_crc32c(0, "123456789", 9), 0xE3069283); /* RFC 3720 B.4 */
}

static void test_crc32c_equals_bitwise_and_chains(void **state)
{
    (void)state;
    static uint8_t bytes[20000];
    struct qv_rng rng;
    qv_rng_init(&rng, 1);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)qv_rng_u64(&rng);
    for (size_t n = 0; n < sizeof bytes; n += 41) {
        uint32_t whole = qv_hash_crc32c(0, bytes, n);
        size_t cut = (size_t)qv_rng_below(&rng, n + 1);
        assert_int_equal(whole, crc_bitwise(bytes, n));
        assert_int_equal(whole,
                         qv_hash_crc32c(qv_hash_crc32c(0, bytes, cut), bytes + cut, n - cut));
    }
}

static void test_sip24(void **state)
{
    (void)state;
    /* of nothing under a zero key, as the reference implementation has it */
    assert_true(qv_hash_sip24("", 0) == 0x1e924b9d737700d7u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sip24),
        cmocka_unit_test(test_crc32c_check_value),
        cmocka_unit_test(test_crc32c_equals_bitwise_and_chains),
    };
    return RUN_SUITE(tests);
}
