/* The bytes of changes and copies: golden ones (docs/formats-points.md shows them), every cut,
 * every refusal. */
#include "suite.h"

#include "base/hash.h"
#include "core/point.h"
#include "core/vector.h"

#define ARENA_BYTES ((size_t)8 << 20)

static struct qv_arena arena;

static int set_up(void **state)
{
    (void)state;
    qv_arena_init(&arena, ARENA_BYTES);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    qv_arena_close(&arena);
    return 0;
}

/* Hex digits and blanks -> bytes in the arena. */
static struct qv_bytes hex(const char *text)
{
    uint8_t *out = qv_arena_alloc(&arena, strlen(text) + 1);
    size_t n = 0;
    unsigned half = 0;
    for (; *text != '\0'; text++) {
        if (*text == ' ')
            continue;
        const unsigned digit = (unsigned)(*text <= '9' ? *text - '0' : *text - 'a' + 10);
        if (half++ % 2 == 0)
            out[n] = (uint8_t)(digit << 4);
        else
            out[n++] |= (uint8_t)digit;
    }
    return (struct qv_bytes){out, n};
}

static int decode_change(struct qv_bytes b, struct qv_change *out)
{
    struct qv_rd r;
    struct qv_errmsg msg = {""};
    qv_rd_init(&r, b.p, b.n);
    int err = qv_change_decode(&r, &arena, out, &msg);
    if (err == QV_ECORRUPT)
        assert_true(strlen(msg.text) > 10);
    return err == 0 && qv_rd_left(&r) != 0 ? QV_ECORRUPT : err;
}

static int decode_copy(struct qv_bytes b, struct qv_copy *out)
{
    struct qv_rd r;
    struct qv_errmsg msg = {""};
    qv_rd_init(&r, b.p, b.n);
    int err = qv_copy_decode(&r, &arena, out, &msg);
    if (err == QV_ECORRUPT)
        assert_true(strlen(msg.text) > 10);
    return err == 0 && qv_rd_left(&r) != 0 ? QV_ECORRUPT : err;
}

/* PUT of id 42: vector 0 = [1.0], color = "red". */
#define GOLDEN_CHANGE                                                                              \
    "01 01000000000000002a 02 00 00 0a 00 00 01000000 0000803f"                                    \
    "01 05 636f6c6f72 08 05 03000000 726564"
/* Base (5, 1) alive, floor (6, 1); vector 0 in its row at the base, vector 7 absent at (7, 2), key
 * a = null at the floor. */
#define GOLDEN_COPY                                                                                \
    "07 0500000000000000 01000000 0600000000000000 01000000 03"                                    \
    "20 00  90 0700000000000000 02000000 07  81 0600000000000000 01000000 01 61 01 00"
#define GOLDEN_COPY_DIGEST 0xE12F7E54D0E7E4BEu
#define GOLDEN_BASE_DIGEST 0x2DCF2313BF3EC3BBu /* of base (5, 1), alive */

static void test_golden_bytes(void **state)
{
    (void)state;
    struct qv_change c;
    struct qv_copy copy;
    struct qv_buf b;
    qv_buf_init(&b, 0);
    const struct qv_bytes change = hex(GOLDEN_CHANGE);
    assert_int_equal(decode_change(change, &c), 0);
    assert_int_equal(c.type, QV_CHANGE_PUT);
    assert_true(c.id.type == QV_ID_NUM && c.id.lo == 42 && c.part_count == 2);
    assert_int_equal(c.parts[0].kind, QV_PART_VECTOR);
    assert_true(qv_str_equal(c.parts[1].key, qv_str_of("color")));
    qv_change_encode(&b, &c);
    assert_int_equal(b.len, change.n);
    assert_memory_equal(b.data, change.p, change.n);

    qv_buf_clear(&b);
    const struct qv_bytes bytes = hex(GOLDEN_COPY);
    assert_int_equal(decode_copy(bytes, &copy), 0);
    assert_true(copy.alive && copy.part_count == 3);
    assert_true(copy.parts[0].state == QV_PART_IN_ROW && copy.parts[1].state == QV_PART_ABSENT);
    assert_true(copy.parts[1].number == 7 && copy.parts[1].version.writer == 2);
    assert_true(copy.parts[2].version.clock == 6);
    qv_copy_encode(&b, &copy);
    assert_int_equal(b.len, bytes.n);
    assert_memory_equal(b.data, bytes.p, bytes.n);
    print_message("digests %016llx %016llx\n", (unsigned long long)qv_copy_digest(&copy),
                  (unsigned long long)qv_copy_digest_of_base(copy.base, true));
    assert_true(qv_copy_digest(&copy) == GOLDEN_COPY_DIGEST);
    assert_true(qv_copy_digest_of_base(copy.base, true) == GOLDEN_BASE_DIGEST);
    qv_buf_close(&b);
}

/* The digest of the golden copy, step by step as docs/formats-points.md has it. */
static void test_digest_by_hand(void **state)
{
    (void)state;
    const struct qv_bytes base = hex("0500000000000000 01000000 01000000");
    const struct qv_bytes floor = hex("0600000000000000 01000000 02000000");
    const struct qv_bytes number = hex("07000000");
    const struct qv_bytes vector = hex("0700000000000000 02000000 83000000");
    const struct qv_bytes payload = hex("0600000000000000 01000000 04000000");
    uint64_t h = qv_hash_64(base.p, base.n);
    assert_true(h == GOLDEN_BASE_DIGEST);
    h = qv_hash_64_seed(floor.p, floor.n, h);
    h = qv_hash_64_seed(number.p, number.n, h);
    h = qv_hash_64_seed(vector.p, vector.n, h);
    h = qv_hash_64_seed("a", 1, h);
    h = qv_hash_64_seed(payload.p, payload.n, h);
    assert_true(h == GOLDEN_COPY_DIGEST);
}

static void test_every_cut_is_refused(void **state)
{
    (void)state;
    struct qv_change c;
    struct qv_copy copy;
    const struct qv_bytes change = hex(GOLDEN_CHANGE);
    const struct qv_bytes bytes = hex(GOLDEN_COPY);
    for (size_t n = 0; n < change.n; n++)
        assert_int_equal(decode_change((struct qv_bytes){change.p, n}, &c), QV_ECORRUPT);
    for (size_t n = 0; n < bytes.n; n++)
        assert_int_equal(decode_copy((struct qv_bytes){bytes.p, n}, &copy), QV_ECORRUPT);
}

#define ID "01000000000000002a"
#define V5 "0500000000000000 01000000"
#define V6 "0600000000000000 01000000"

static void test_changes_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "00 " ID " 00",                                                 /* type */
        "06 " ID " 00",                                                 /* type */
        "01 03000000000000002a 00",                                     /* id */
        "01 " ID " ffffffffffffffffffff01",                             /* count overflows */
        "01 " ID " 8180 04 00",                                         /* 65537 parts */
        "01 " ID " 03 01 01 61",                                        /* more parts than bytes */
        "01 " ID " 01 02 00 01 00",                                     /* kind */
        "01 " ID " 01 31 01 61 01 00",                                  /* state */
        "03 " ID " 01 90 " V5 " 00",                                    /* a version of its own */
        "01 " ID " 01 00 ffffffffff01 00",                              /* vector's number */
        "01 " ID " 01 01 05 61 01 00",                                  /* key cut */
        "01 " ID " 01 01 01 ff 01 00",                                  /* key not UTF-8 */
        "01 " ID " 01 01 01 61 05 00",                                  /* value cut */
        "01 " ID " 01 01 01 61 01 09",                                  /* not a document */
        "01 " ID " 01 01 01 61 02 0000",                                /* two documents */
        "01 " ID " 01 00 00 01 00",                                     /* not a vector */
        "01 " ID " 02 01 01 62 01 00 01 01 61 01 00",                   /* order */
        "01 " ID " 02 01 01 61 01 00 01 01 61 01 00",                   /* twice */
        "01 " ID " 02 01 01 61 01 00 00 00 0a 00 00 01000000 0000803f", /* vectors come first */
        "01 " ID " 01 20 00",                                           /* a row in a change */
        "01 " ID " 01 11 01 61",                                        /* PUT of an absence */
        "02 " ID " 01 11 01 61",                                        /* DELETE with parts */
        "05 " ID " 01 11 01 61",                                        /* CLEAR with parts */
        "04 " ID " 01 11 01 61",                         /* REPLACE with an absence */
        "04 " ID " 01 00 00 0a 00 00 01000000 0000803f", /* REPLACE with a vector */
    };
    struct qv_change c;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (decode_change(hex(wrong[i]), &c) != QV_ECORRUPT)
            fail_msg("accepted: %s", wrong[i]);
    }
    assert_int_equal(decode_change(hex("03 " ID " 02 10 00 11 01 61"), &c), 0);
    assert_int_equal(decode_change(hex("04 " ID " 01 01 01 61 01 00"), &c), 0);
    assert_int_equal(decode_change(hex("05 " ID " 00"), &c), 0);
}

static void test_copies_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "08 00",                                        /* flags */
        "01 00",                                        /* alive without a base */
        "02 0000000000000000 00000000 00",              /* a base that is none */
        "06 " V5 V5 " 00",                              /* a floor not above the base */
        "06 " V6 V5 " 00",                              /* a floor below it */
        "03 " V5 " 01 90 " V5 " 00",                    /* a version that goes without saying */
        "03 " V6 " 01 91 " V5 " 01 61",                 /* hidden by the base */
        "06 " V5 V6 " 01 11 01 61",                     /* hidden by the floor */
        "03 " V5 " 01 21 01 61",                        /* a payload key in a row */
        "00 01 11 01 61",                               /* a part without a version */
        "03 " V5 " 02 91 " V6 " 01 62 91 " V6 " 01 61", /* order */
    };
    struct qv_copy c;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (decode_copy(hex(wrong[i]), &c) != QV_ECORRUPT)
            fail_msg("accepted: %s", wrong[i]);
    }
    assert_int_equal(decode_copy(hex("00 00"), &c), 0);
    assert_int_equal(decode_copy(hex("04 " V6 " 00"), &c), 0);
    assert_int_equal(decode_copy(hex("06 " V5 V6 " 01 10 00"), &c), 0); /* vectors stay */
}

static void test_as_many_parts_as_allowed(void **state)
{
    (void)state;
    for (uint32_t count = QV_POINT_PARTS_MAX; count <= QV_POINT_PARTS_MAX + 1; count++) {
        struct qv_change c;
        struct qv_buf b;
        const struct qv_bytes head = hex("03 " ID);
        qv_buf_init(&b, 0);
        qv_buf_append(&b, head.p, head.n);
        qv_buf_varint(&b, count);
        for (uint32_t i = 0; i < count; i++) {
            qv_buf_u8(&b, QV_PART_ABSENT << 4);
            qv_buf_varint(&b, i);
        }
        assert_int_equal(decode_change((struct qv_bytes){b.data, b.len}, &c),
                         count <= QV_POINT_PARTS_MAX ? 0 : QV_ECORRUPT);
        qv_buf_close(&b);
    }
}

/* A flipped bit is refused or decodes to something in order. */
static void test_flipped_bits(void **state)
{
    (void)state;
    struct qv_copy c;
    const char *reason = "";
    const struct qv_bytes good = hex(GOLDEN_COPY);
    uint8_t *p = qv_arena_dup(&arena, good.p, good.n);
    for (size_t bit = 0; bit < good.n * 8; bit++) {
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (decode_copy((struct qv_bytes){p, good.n}, &c) == 0)
            assert_true(qv_copy_check(&c, &reason));
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void test_memory_runs_out(void **state)
{
    (void)state;
    struct qv_arena small;
    struct qv_change c;
    struct qv_rd r;
    struct qv_buf b;
    const struct qv_bytes change = hex(GOLDEN_CHANGE);
    qv_arena_init(&small, 64);
    qv_rd_init(&r, change.p, change.n);
    assert_int_equal(qv_change_decode(&r, &small, &c, NULL), QV_ENOMEM);
    qv_arena_close(&small);
    assert_int_equal(decode_change(change, &c), 0);
    qv_buf_init(&b, 16);
    qv_change_encode(&b, &c);
    assert_true(b.failed && b.len == 0);
    qv_buf_close(&b);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_golden_bytes),    TEST(test_digest_by_hand),  TEST(test_every_cut_is_refused),
        TEST(test_changes_refused), TEST(test_copies_refused),  TEST(test_as_many_parts_as_allowed),
        TEST(test_flipped_bits),    TEST(test_memory_runs_out),
    };
    return RUN_SUITE(tests);
}
