#include "suite.h"

#include "base/rng.h"
#include "base/sha256.h"

#include <string.h>

static void hash_of(const void *p, size_t n, char out[QV_SHA256_TEXT])
{
    struct qv_sha256 h;
    uint8_t bytes[QV_SHA256_BYTES];
    qv_sha256_init(&h);
    qv_sha256_add(&h, p, n);
    qv_sha256_end(&h, bytes);
    qv_sha256_format(bytes, out);
}

/* FIPS 180-4's examples. */
static void known_answers(void **state)
{
    char out[QV_SHA256_TEXT];
    (void)state;
    hash_of("", 0, out);
    assert_string_equal(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    hash_of("abc", 3, out);
    assert_string_equal(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    hash_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, out);
    assert_string_equal(out, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    static uint8_t many[1000000];
    memset(many, 'a', sizeof many);
    hash_of(many, sizeof many, out);
    assert_string_equal(out, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* In whatever pieces it comes, and by whatever instructions. */
static void pieces_are_the_whole(void **state)
{
    static uint8_t bytes[5000];
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, 7);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)qv_rng_u64(&rng);
    for (int round = 0; round < 300; round++) {
        size_t n = (size_t)qv_rng_below(&rng, sizeof bytes);
        char whole[QV_SHA256_TEXT];
        char parts[QV_SHA256_TEXT];
        uint8_t result[QV_SHA256_BYTES];
        struct qv_sha256 h;
        struct qv_sha256 slow;
        hash_of(bytes, n, whole);
        qv_sha256_init(&h);
        for (size_t done = 0; done < n;) {
            size_t part = 1 + (size_t)qv_rng_below(&rng, n - done);
            qv_sha256_add(&h, bytes + done, part);
            done += part;
        }
        qv_sha256_end(&h, result);
        qv_sha256_format(result, parts);
        assert_string_equal(whole, parts);
        qv_sha256_init(&h);
        qv_sha256_init(&slow);
        qv_sha256_add(&h, bytes, n / 64 * 64);
        qv_sha256_blocks_portable(slow.state, bytes, n / 64);
        assert_memory_equal(h.state, slow.state, sizeof h.state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(pieces_are_the_whole),
    };
    return RUN_SUITE(tests);
}
