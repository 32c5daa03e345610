/* What the guard lets through, protobuf-c unpacks, within the memory the guard predicted. */
#include "suite.h"

#include "base/mem.h"
#include "pb_gen.h"
#include "proto/quiver_points.pb-c.h"
#include "wire/pb_guard.h"
#include "wire/pb_method.h"
#include "wire/pb_out.h"

#include <stdlib.h>

#define ROUNDS 3000

static const struct qv_pb_limits wide = {QV_PB_DEPTH_MAX, QV_PB_MESSAGES_MAX, (size_t)1 << 28};

static uint64_t seed_of(const char *test)
{
    const char *env = getenv("SEED");
    uint64_t seed = env != NULL ? strtoull(env, NULL, 0) : 20240601u;
    printf("%s: SEED=%llu\n", test, (unsigned long long)seed);
    return seed;
}

static struct qv_bytes bytes_of(const struct qv_buf *b)
{
    return (struct qv_bytes){b->data, b->len};
}

static const ProtobufCMessageDescriptor *any_request(struct qv_rng *rng)
{
    return qv_pb_method_message((enum qv_pb_call)qv_rng_below(rng, QV_PB_CALL_COUNT));
}

/* Unpacks what passed and compares what it took with what was predicted. */
static void check_passed(const ProtobufCMessageDescriptor *desc, struct qv_bytes in,
                         const struct qv_pb_cost *cost)
{
    struct qv_arena arena;
    struct qv_errmsg msg;
    ProtobufCMessage *m;
    qv_arena_init(&arena, cost->bytes);
    int err = qv_pb_unpack(desc, in, &arena, &m, &msg);
    if (err != 0)
        print_error("%s: %d %s\n", desc->name, err, msg.text);
    assert_int_equal(err, 0);
    assert_true(arena.used_bytes <= cost->bytes);
    assert_false(arena.failed);
    qv_arena_close(&arena);
}

static struct pb_gen some_gen(struct qv_rng *rng)
{
    return (struct pb_gen){.rng = rng,
                           .depth_max = 2 + (unsigned)qv_rng_below(rng, 6),
                           .repeat_max = 1 + (unsigned)qv_rng_below(rng, 20),
                           .presence = 10 + (unsigned)qv_rng_below(rng, 50),
                           .unpacked = 30,
                           .unknown = 20,
                           .second_variant = 10};
}

static void valid_messages_pass(void **state)
{
    struct qv_rng rng;
    struct qv_buf b;
    (void)state;
    qv_rng_init(&rng, seed_of(__func__));
    qv_buf_init(&b, 1u << 20);
    uint64_t passed = 0;
    for (int i = 0; i < ROUNDS; i++) {
        const ProtobufCMessageDescriptor *desc = any_request(&rng);
        struct pb_gen g = some_gen(&rng);
        struct qv_pb_cost cost;
        struct qv_errmsg msg;
        qv_buf_clear(&b);
        pb_gen_message(&g, desc, &b);
        if (b.failed)
            continue;
        int err = qv_pb_guard(desc, bytes_of(&b), &wide, &cost, &msg);
        if (err != 0)
            print_error("%s: %s\n", desc->name, msg.text);
        assert_int_equal(err, 0);
        check_passed(desc, bytes_of(&b), &cost);
        passed++;
    }
    assert_true(passed > ROUNDS / 2);
    qv_buf_close(&b);
}

static void mutated_messages_never_surprise(void **state)
{
    struct qv_rng rng;
    struct qv_buf b;
    unsigned passed = 0, refused = 0;
    (void)state;
    qv_rng_init(&rng, seed_of(__func__));
    qv_buf_init(&b, 1u << 18);
    for (int i = 0; i < 2 * ROUNDS; i++) {
        const ProtobufCMessageDescriptor *desc = any_request(&rng);
        struct pb_gen g = some_gen(&rng);
        struct qv_pb_cost cost;
        g.repeat_max = 3;
        qv_buf_clear(&b);
        pb_gen_message(&g, desc, &b);
        if (b.failed)
            continue;
        for (uint64_t n = 1 + qv_rng_below(&rng, 3); n > 0; n--)
            pb_gen_mutate(&rng, &b);
        /* A copy of the exact size, so that a read past it is seen. */
        uint8_t *copy = qv_mem_alloc(b.len + 1);
        memcpy(copy, b.data, b.len);
        struct qv_bytes in = {copy, b.len};
        if (qv_pb_guard(desc, in, &wide, &cost, NULL) == 0) {
            check_passed(desc, in, &cost);
            passed++;
        } else {
            refused++;
        }
        qv_mem_free(copy);
    }
    printf("passed %u, refused %u\n", passed, refused);
    assert_true(passed > 100 && refused > 100);
    qv_buf_close(&b);
}

/* ---- attacks ---- */

static int guard_count(struct qv_bytes in, struct qv_pb_cost *cost)
{
    struct qv_errmsg msg;
    return qv_pb_guard(&qv_pb__count_points__descriptor, in, &wide, cost, &msg);
}

/* Filter { must { filter { must { ... } } } }, built from the inside out. */
static void nest_filters(struct qv_buf *b, unsigned levels)
{
    struct qv_buf in;
    qv_buf_init(&in, 0);
    for (unsigned i = 0; i < levels; i++) {
        struct qv_buf out;
        qv_buf_init(&out, 0);
        size_t cond = qv_pb_begin(&out, 2);
        size_t filter = qv_pb_begin(&out, 4);
        qv_buf_append(&out, in.data, in.len);
        qv_pb_end(&out, filter);
        qv_pb_end(&out, cond);
        qv_buf_close(&in);
        in = out;
    }
    qv_pb_put_bytes(b, 2, in.data, in.len);
    qv_buf_close(&in);
}

static void deep_nesting_is_refused(void **state)
{
    struct qv_buf b;
    struct qv_pb_cost cost;
    (void)state;
    qv_buf_init(&b, 0);
    nest_filters(&b, 30); /* CountPoints, Filter, 30 x (Condition, Filter): 62 */
    assert_int_equal(guard_count(bytes_of(&b), &cost), 0);
    assert_int_equal(cost.depth, 62);
    qv_buf_clear(&b);
    nest_filters(&b, 32);
    assert_int_equal(guard_count(bytes_of(&b), &cost), QV_EBADREQ);
    qv_buf_clear(&b);
    nest_filters(&b, 10000);
    assert_int_equal(guard_count(bytes_of(&b), &cost), QV_EBADREQ);
    assert_true(cost.depth <= QV_PB_DEPTH_MAX);
    qv_buf_close(&b);
}

static void empty_submessages_are_bounded(void **state)
{
    struct qv_buf b;
    struct qv_pb_cost cost;
    struct qv_errmsg msg;
    struct qv_arena arena;
    ProtobufCMessage *m;
    (void)state;
    qv_buf_init(&b, 0);
    size_t filter = qv_pb_begin(&b, 2);
    for (int i = 0; i < 3 << 20; i++)
        qv_pb_end(&b, qv_pb_begin(&b, 2));
    qv_pb_end(&b, filter);
    assert_int_equal(guard_count(bytes_of(&b), &cost), QV_ETOOBIG);
    /* Half as many are within the count, but not within 64 MB. */
    qv_buf_clear(&b);
    filter = qv_pb_begin(&b, 2);
    for (int i = 0; i < 1 << 20; i++)
        qv_pb_end(&b, qv_pb_begin(&b, 2));
    qv_pb_end(&b, filter);
    qv_arena_init(&arena, (size_t)64 << 20);
    assert_int_equal(qv_pb_unpack(&qv_pb__count_points__descriptor, bytes_of(&b), &arena, &m, &msg),
                     QV_ETOOBIG);
    assert_int_equal(arena.used_bytes, 0);
    qv_arena_close(&arena);
    qv_buf_close(&b);
}

static void floats_one_by_one_are_counted(void **state)
{
    struct qv_buf b;
    struct qv_pb_cost cost;
    (void)state;
    qv_buf_init(&b, 0);
    for (int i = 0; i < 100000; i++)
        qv_pb_put_f32(&b, 2, (float)i);
    const ProtobufCMessageDescriptor *desc = &qv_pb__search_points__descriptor;
    assert_int_equal(qv_pb_guard(desc, bytes_of(&b), &wide, &cost, NULL), 0);
    assert_true(cost.bytes >= 100000u * (4 + 32));
    check_passed(desc, bytes_of(&b), &cost);
    struct qv_pb_limits tight = {64, 100, 1u << 20};
    assert_int_equal(qv_pb_guard(desc, bytes_of(&b), &tight, &cost, NULL), QV_ETOOBIG);
    qv_buf_close(&b);
}

struct bad {
    const char *what;
    const char *bytes;
    size_t n;
};
#define BAD(what, text)                                                                            \
    {                                                                                              \
        what, text, sizeof(text) - 1                                                               \
    }

/* As CountPoints: 1 collection_name, 2 filter, 3 exact, 6 timeout. */
static const struct bad bad_counts[] = {
    BAD("cut in a length", "\x0A"),
    BAD("cut in a string", "\x0A\x05"
                           "abc"),
    BAD("length beyond the end of the parent", "\x12\x02\x12\x05"),
    BAD("field number 0", "\x02\x00"),
    BAD("group", "\x0B\x0C"),
    BAD("end of a group", "\x0C"),
    BAD("wire type 6", "\x0E\x00"),
    BAD("wire type 7", "\x0F\x00"),
    BAD("number as a string", "\x08\x01"),
    BAD("string as a number", "\x1A\x01x"),
    BAD("bool as fixed32", "\x1D\x01\x00\x00\x00"),
    BAD("varint of 11 bytes", "\x30\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"),
    BAD("varint above 64 bits", "\x30\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02"),
    BAD("tag of 11 bytes", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"),
    BAD("NUL in a name", "\x0A\x03"
                         "a\0b"),
    BAD("bad UTF-8", "\x0A\x02\xC3\x28"),
    BAD("overlong UTF-8", "\x0A\x02\xC0\x80"),
    BAD("surrogate in UTF-8", "\x0A\x03\xED\xA0\x80"),
    BAD("a single submessage twice", "\x12\x00\x12\x00"),
    BAD("unknown field, cut", "\xC2\x3E\x05"
                              "ab"),
    BAD("unknown fixed64, cut", "\xC1\x3E\x05"),
};

static void malformed_bytes_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_counts / sizeof bad_counts[0]; i++) {
        struct qv_pb_cost cost;
        struct qv_errmsg msg = {""};
        struct qv_bytes in = {(const uint8_t *)bad_counts[i].bytes, bad_counts[i].n};
        int err = qv_pb_guard(&qv_pb__count_points__descriptor, in, &wide, &cost, &msg);
        if (err != QV_EBADREQ)
            print_error("%s: %d\n", bad_counts[i].what, err);
        assert_int_equal(err, QV_EBADREQ);
        assert_true(strncmp(msg.text, "failed to decode Protobuf message: ", 35) == 0);
    }
}

static void broken_packed_arrays_are_refused(void **state)
{
    static const uint8_t odd_floats[] = {0x12, 3, 0, 0, 0};    /* SearchPoints.vector */
    static const uint8_t cut_varint[] = {0x0A, 2, 0x01, 0x80}; /* SparseIndices.data */
    struct qv_pb_cost cost;
    (void)state;
    assert_int_equal(qv_pb_guard(&qv_pb__search_points__descriptor,
                                 (struct qv_bytes){odd_floats, sizeof odd_floats}, &wide, &cost,
                                 NULL),
                     QV_EBADREQ);
    assert_int_equal(qv_pb_guard(&qv_pb__sparse_indices__descriptor,
                                 (struct qv_bytes){cut_varint, sizeof cut_varint}, &wide, &cost,
                                 NULL),
                     QV_EBADREQ);
}

static void payload_text_may_hold_a_nul_but_not_bad_utf8(void **state)
{
    static const uint8_t nul[] = {0x22, 3, 'a', 0, 'b'};
    static const uint8_t bad[] = {0x22, 2, 0xC3, 0x28};
    struct qv_pb_cost cost;
    (void)state;
    const ProtobufCMessageDescriptor *desc = &qv_pb__value__descriptor;
    assert_int_equal(qv_pb_guard(desc, (struct qv_bytes){nul, sizeof nul}, &wide, &cost, NULL), 0);
    assert_int_equal(qv_pb_guard(desc, (struct qv_bytes){bad, sizeof bad}, &wide, &cost, NULL),
                     QV_EBADREQ);
}

/* The walk keeps one bit a field in 64. */
static void check_fields(const ProtobufCMessageDescriptor *desc, unsigned depth)
{
    assert_true(desc->n_fields <= 64);
    for (unsigned i = 0; i < desc->n_fields && depth < 6; i++) {
        if (desc->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            check_fields(desc->fields[i].descriptor, depth + 1);
    }
}

static void messages_fit_the_walk(void **state)
{
    (void)state;
    for (int i = 0; i < QV_PB_CALL_COUNT; i++)
        check_fields(qv_pb_method_message((enum qv_pb_call)i), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_messages_pass),
        cmocka_unit_test(mutated_messages_never_surprise),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(empty_submessages_are_bounded),
        cmocka_unit_test(floats_one_by_one_are_counted),
        cmocka_unit_test(malformed_bytes_are_refused),
        cmocka_unit_test(broken_packed_arrays_are_refused),
        cmocka_unit_test(payload_text_may_hold_a_nul_but_not_bad_utf8),
        cmocka_unit_test(messages_fit_the_walk),
    };
    return RUN_SUITE(tests);
}
