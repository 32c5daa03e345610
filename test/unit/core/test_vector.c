#include "suite.h"

#include "base/rng.h"
#include "core/limits.h"
#include "core/vector.h"

#include <math.h>
#include <stdlib.h>

#define ARENA_BYTES ((size_t)64 << 20)

static float f16_exact(uint16_t h)
{
    const int exponent = h >> 10 & 31;
    const float sign = h & 0x8000 ? -1.0f : 1.0f;
    const float mantissa = (float)(h & 0x3FF);
    if (exponent == 31)
        return mantissa == 0 ? sign * INFINITY : NAN;
    return sign * (exponent == 0 ? ldexpf(mantissa, -24) : ldexpf(1024 + mantissa, exponent - 25));
}

static struct qv_vec dense(const float *values, uint32_t dim)
{
    return (struct qv_vec){.kind = QV_VEC_DENSE, .dim = dim, .rows = 1, .values = values};
}

static uint16_t encode_f16(float x)
{
    struct qv_buf b;
    uint16_t h;
    const struct qv_vec v = dense(&x, 1);
    qv_buf_init(&b, 0);
    qv_vec_encode(&b, &v, QV_DTYPE_F16);
    memcpy(&h, b.data + QV_VEC_DENSE_HEAD_BYTES, sizeof h);
    qv_buf_close(&b);
    return h;
}

/* All 65,536 halves decode exactly; each comes back; what lies between two goes to the nearer one,
 * to the even one in the middle. */
static void test_f16(void **state)
{
    (void)state;
    struct qv_arena a;
    uint8_t stored[QV_VEC_DENSE_HEAD_BYTES + 2] = {QV_VEC_DENSE, QV_DTYPE_F16, 1};
    qv_arena_init(&a, ARENA_BYTES);
    for (uint32_t i = 0; i < 65536; i++) {
        const uint16_t h = (uint16_t)i;
        struct qv_vec v;
        memcpy(stored + QV_VEC_DENSE_HEAD_BYTES, &h, sizeof h);
        assert_int_equal(qv_vec_decode(&a, (struct qv_bytes){stored, sizeof stored}, &v), 0);
        const float x = v.values[0];
        const float exact = f16_exact(h);
        if (isnan(exact)) {
            assert_true(isnan(x) && isnan(f16_exact(encode_f16(x))));
            continue;
        }
        assert_true(x == exact && !signbit(x) == !signbit(exact));
        assert_int_equal(encode_f16(x), h);
        if ((h & 0x7FFF) >= 0x7BFF)
            continue;
        const float next = f16_exact((uint16_t)(h + 1));
        const float middle = exact + (next - exact) / 2; /* exact in f32 */
        const uint16_t even = h & 1 ? (uint16_t)(h + 1) : h;
        assert_int_equal(encode_f16(middle), even);
        assert_int_equal(encode_f16(nextafterf(middle, exact)), h);
        assert_int_equal(encode_f16(nextafterf(middle, next)), h + 1);
        qv_arena_reset(&a);
    }
    assert_int_equal(encode_f16(65519.0f), 0x7BFF);
    assert_int_equal(encode_f16(65520.0f), 0x7C00);
    assert_int_equal(encode_f16(-1e30f), 0xFC00);
    assert_int_equal(encode_f16(0x1p-25f), 0);
    assert_int_equal(encode_f16(0x1.000002p-25f), 1);
    qv_arena_close(&a);
}

static void test_u8(void **state)
{
    (void)state;
    const float x[] = {0.0f,   -0.5f,  -3.0f, 0.99f, 1.0f,    254.5f,
                       255.0f, 255.9f, 1e30f, NAN,   INFINITY};
    const uint8_t expected[] = {0, 0, 0, 0, 1, 254, 255, 255, 255, 0, 255};
    struct qv_buf b;
    const struct qv_vec v = dense(x, sizeof expected);
    qv_buf_init(&b, 0);
    qv_vec_encode(&b, &v, QV_DTYPE_U8);
    assert_int_equal(b.len, QV_VEC_DENSE_HEAD_BYTES + sizeof expected);
    assert_memory_equal(b.data + QV_VEC_DENSE_HEAD_BYTES, expected, sizeof expected);
    qv_buf_close(&b);
}

static void random_vec(struct qv_rng *rng, float *values, uint32_t *indices, struct qv_vec *v)
{
    v->kind = (enum qv_vec_kind)qv_rng_below(rng, 3);
    v->rows = v->kind == QV_VEC_MULTI ? 1 + (uint32_t)qv_rng_below(rng, 5) : 1;
    v->dim = (v->kind == QV_VEC_SPARSE ? 0 : 1) + (uint32_t)qv_rng_below(rng, 70);
    v->values = values;
    v->indices = v->kind == QV_VEC_SPARSE ? indices : NULL;
    for (uint32_t i = 0; i < v->dim * v->rows; i++)
        values[i] = (float)(int)qv_rng_below(rng, 256); /* exact in every element type */
    for (uint32_t i = 0; i < v->dim && v->indices != NULL; i++)
        indices[i] = (i == 0 ? 0 : indices[i - 1] + 1) + (uint32_t)qv_rng_below(rng, 1000);
}

static void test_round_trips_and_cuts(void **state)
{
    (void)state;
    struct qv_rng rng;
    struct qv_arena a;
    float values[400];
    uint32_t indices[100];
    qv_rng_init(&rng, 11);
    qv_arena_init(&a, ARENA_BYTES);
    for (int i = 0; i < 2000; i++) {
        struct qv_vec v;
        struct qv_vec back;
        struct qv_buf b;
        qv_arena_reset(&a);
        qv_buf_init(&b, 0);
        random_vec(&rng, values, indices, &v);
        for (uint64_t pad = qv_rng_below(&rng, 4); pad > 0; pad--)
            qv_buf_u8(&b, 0xEE); /* unaligned */
        const size_t at = b.len;
        qv_vec_encode(&b, &v, (enum qv_dtype)qv_rng_below(&rng, QV_DTYPE_COUNT));
        const struct qv_bytes stored = {b.data + at, b.len - at};
        assert_int_equal(qv_vec_check_stored(stored.p, stored.n, NULL), 0);
        assert_int_equal(qv_vec_decode(&a, stored, &back), 0);
        assert_true(back.kind == v.kind && back.dim == v.dim && back.rows == v.rows);
        assert_memory_equal(back.values, values, (size_t)v.dim * v.rows * sizeof *values);
        if (v.kind == QV_VEC_SPARSE)
            assert_memory_equal(back.indices, indices, v.dim * sizeof *indices);
        for (size_t n = 0; n < stored.n; n++)
            assert_int_equal(qv_vec_check_stored(stored.p, n, NULL), QV_ECORRUPT);
        qv_buf_u8(&b, 0);
        assert_int_equal(qv_vec_check_stored(b.data + at, stored.n + 1, NULL), QV_ECORRUPT);
        qv_buf_close(&b);
    }
    qv_arena_close(&a);
}

static void test_aligned_f32_is_borrowed(void **state)
{
    (void)state;
    _Alignas(8)
        uint8_t bytes[2 + QV_VEC_DENSE_HEAD_BYTES + 8] = {0, 0, QV_VEC_DENSE, QV_DTYPE_F32, 2};
    struct qv_arena a;
    struct qv_vec v;
    qv_arena_init(&a, 16);
    assert_int_equal(qv_vec_decode(&a, (struct qv_bytes){bytes + 2, sizeof bytes - 2}, &v), 0);
    assert_ptr_equal(v.values, bytes + 2 + QV_VEC_DENSE_HEAD_BYTES);
    memmove(bytes + 1, bytes + 2, sizeof bytes - 2);
    assert_int_equal(qv_vec_decode(&a, (struct qv_bytes){bytes + 1, sizeof bytes - 2}, &v), 0);
    assert_int_equal((uintptr_t)v.values % 4, 0);
    assert_int_equal(qv_vec_decode(&a, (struct qv_bytes){bytes + 1, sizeof bytes - 2}, &v),
                     QV_ENOMEM);
    qv_arena_close(&a);
}

static void test_refusals(void **state)
{
    (void)state;
    const struct {
        const char *bytes;
        size_t n;
    } wrong[] = {
        {"\x03\0\x01\0\0\0\0\0\0\0", 10},                           /* kind */
        {"\0\x03\x01\0\0\0\0\0\0\0", 10},                           /* element type */
        {"\0\0\0\0\0\0", 6},                                        /* dim 0 */
        {"\0\x02\x01\0\x01\0a", 7},                                 /* dim 65537 */
        {"\x02\x02\x01\0\0\0\0\0\0\0", 10},                         /* no rows */
        {"\x02\x02\x01\0\0\0\x01\x10\0\0a", 11},                    /* 4097 rows */
        {"\x01\x01\0\x10\0\0\0\0\0", 9},                            /* 2^20 + 1 non-zeros */
        {"\x01\x02\0\0\0\x05\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0", 21}, /* an index twice */
        {"\x01\x02\0\0\0\x05\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0", 21}, /* descending */
    };
    struct qv_errmsg msg;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        msg.text[0] = '\0';
        assert_int_equal(qv_vec_check_stored(wrong[i].bytes, wrong[i].n, &msg), QV_ECORRUPT);
        assert_true(strlen(msg.text) > 10);
    }
    assert_int_equal(qv_vec_check_stored("\x01\0\0\0\0", 5, &msg), 0); /* empty sparse */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f16),
        cmocka_unit_test(test_u8),
        cmocka_unit_test(test_round_trips_and_cuts),
        cmocka_unit_test(test_aligned_f32_is_borrowed),
        cmocka_unit_test(test_refusals),
    };
    return RUN_SUITE(tests);
}
