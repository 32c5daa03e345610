/* Every kernel of every ISA this machine has, against a serial double reference. */
#include "rows.h"
#include "simd/kernel_list.h"
#include "simd/kernels.h"
#include "suite.h"

#define SEED 20240817u

/* One rounding error per addition of a lane's chain (16 lanes at the narrowest), a few for the
 * products, differences and the final folding. */
static double budget(size_t dim, double scale)
{
    return ((double)dim / 16 + 12) * 0x1p-24 * scale + (double)(dim + 1) * 0x1p-149;
}

#define FOR_EACH_KERNEL(isa, metric, dtype)                                                        \
    for (int isa = 0; isa < QV_ISA_COUNT; ++isa)                                                   \
        for (int metric = 0; metric < QV_METRIC_COUNT; ++metric)                                   \
            for (int dtype = 0; dtype < QV_DTYPE_COUNT; ++dtype)                                   \
                if (qv_simd_dist_isa((enum qv_isa)isa, (enum qv_metric)metric,                     \
                                     (enum qv_dtype)dtype) != NULL)

struct subject {
    int isa;
    int metric;
    int dtype;
    size_t dim;
};

static void fail_kernel(const char *what, struct subject s, double got, double wanted)
{
    fail_msg("%s: %s %s %s dim %zu: %.9g, reference %.9g (seed %u)", what, metric_names[s.metric],
             dtype_names[s.dtype], qv_simd_isa_name((enum qv_isa)s.isa), s.dim, got, wanted, SEED);
}

static void check_pair(int isa, int metric, int dtype, const uint8_t *a, const uint8_t *b,
                       size_t dim)
{
    qv_dist_f fn = qv_simd_dist_isa((enum qv_isa)isa, (enum qv_metric)metric, (enum qv_dtype)dtype);
    const struct reference want =
        reference_dist((enum qv_metric)metric, (enum qv_dtype)dtype, a, b, dim);
    const float got = fn(a, b, dim);
    const float mirrored = fn(b, a, dim);

    if (bits_of(got) != bits_of(mirrored))
        fail_kernel("not symmetric", (struct subject){isa, metric, dtype, dim}, got, mirrored);
    if (dtype == QV_DTYPE_U8) {
        if (got != (float)want.distance)
            fail_kernel("u8 not exact", (struct subject){isa, metric, dtype, dim}, got,
                        want.distance);
    } else if (!(fabs(got - want.distance) <= budget(dim, want.scale))) {
        fail_kernel("beyond the error budget", (struct subject){isa, metric, dtype, dim}, got,
                    want.distance);
    }
}

/* Rows that end at a faulting page, rows that start at one (at every offset within a register,
 * by way of the dims), each content. */
static void kernels_agree_with_double(void **state)
{
    struct qv_rng rng;
    struct guarded ga;
    struct guarded gb;
    (void)state;
    qv_rng_init(&rng, SEED);
    guarded_init(&ga);
    guarded_init(&gb);
    FOR_EACH_KERNEL(isa, metric, dtype)
    {
        FOR_EACH_DIM(dim)
        {
            enum content content = (enum content)qv_rng_below(&rng, CONTENT_COUNT);
            /* Squares of f32 denormals are zero: no direction, as kernels.h says. */
            if (metric == QV_METRIC_COSINE && content == CONTENT_DENORMAL)
                content = CONTENT_GAUSS;
            const size_t bytes = dim * qv_dtype_bytes((enum qv_dtype)dtype);
            uint8_t *a = guarded_at_end(&ga, bytes);
            uint8_t *b = guarded_at_end(&gb, bytes);
            fill_row(&rng, (enum qv_dtype)dtype, content, a, dim);
            fill_row(&rng, (enum qv_dtype)dtype, content, b, dim);
            check_pair(isa, metric, dtype, a, b, dim);
            check_pair(isa, metric, dtype, a, a, dim);
            /* The other end, and an odd address beside an even one. */
            memmove(ga.room, a, bytes);
            memmove(gb.room + 1, b, bytes);
            check_pair(isa, metric, dtype, ga.room, gb.room + 1, dim);
        }
    }
    guarded_close(&ga);
    guarded_close(&gb);
}

static void put(int dtype, uint8_t *row, size_t i, float v)
{
    const uint16_t h = qv_half_from_f32(v);
    if (dtype == QV_DTYPE_F32)
        memcpy(row + 4 * i, &v, sizeof v);
    else
        memcpy(row + 2 * i, &h, sizeof h);
}

/* Which of the classes NaN, +Inf, -Inf, finite. */
static int class_of(double v)
{
    return isnan(v) ? 0 : isinf(v) ? (v > 0 ? 1 : 2) : 3;
}

/* A NaN or Inf at any one place comes out as the reference has it, whichever step reads it. */
static void special_values_propagate(void **state)
{
    static const float specials[] = {NAN, INFINITY, -INFINITY};
    struct qv_rng rng;
    uint8_t a[4 * 130];
    uint8_t b[4 * 130];
    (void)state;
    qv_rng_init(&rng, SEED);
    FOR_EACH_KERNEL(isa, metric, dtype)
    {
        if (dtype == QV_DTYPE_U8)
            continue;
        qv_dist_f fn =
            qv_simd_dist_isa((enum qv_isa)isa, (enum qv_metric)metric, (enum qv_dtype)dtype);
        for (size_t dim = 1; dim <= 130; dim += 1 + dim / 8) {
            for (size_t at = 0; at < dim; ++at) {
                const float v = specials[qv_rng_below(&rng, 3)];
                fill_row(&rng, (enum qv_dtype)dtype, CONTENT_GAUSS, a, dim);
                fill_row(&rng, (enum qv_dtype)dtype, CONTENT_GAUSS, b, dim);
                put(dtype, a, at, v);
                if (qv_rng_below(&rng, 3) == 0)
                    put(dtype, b, at, v); /* Inf - Inf */
                const struct reference want =
                    reference_dist((enum qv_metric)metric, (enum qv_dtype)dtype, a, b, dim);
                const float got = fn(a, b, dim);
                if (class_of(got) != class_of(want.distance))
                    fail_kernel("special value", (struct subject){isa, metric, dtype, dim}, got,
                                want.distance);
            }
        }
    }
}

/* Sums of denormals are exact in float: a kernel that flushes them to zero gives less. */
static void denormals_count(void **state)
{
    struct qv_rng rng;
    uint8_t a[4 * 100];
    uint8_t b[4 * 100];
    (void)state;
    qv_rng_init(&rng, SEED);
    for (int isa = 0; isa < QV_ISA_COUNT; ++isa) {
        for (int dtype = 0; dtype <= QV_DTYPE_F16; ++dtype) {
            qv_dist_f fn = qv_simd_dist_isa((enum qv_isa)isa, QV_METRIC_L1, (enum qv_dtype)dtype);
            if (fn == NULL)
                continue;
            for (size_t dim = 1; dim <= 100; ++dim) {
                fill_row(&rng, (enum qv_dtype)dtype, CONTENT_DENORMAL, a, dim);
                fill_row(&rng, (enum qv_dtype)dtype, CONTENT_DENORMAL, b, dim);
                const double want =
                    reference_dist(QV_METRIC_L1, (enum qv_dtype)dtype, a, b, dim).distance;
                const float got = fn(a, b, dim);
                assert_true(want > 0 || dim < 4); /* the test itself doesn't flush them */
                if (got != want)
                    fail_kernel("denormals", (struct subject){isa, QV_METRIC_L1, dtype, dim}, got,
                                want);
            }
        }
    }
}

static void zero_rows_have_cosine_distance_one(void **state)
{
    uint8_t zero[4 * 70] = {0};
    uint8_t other[4 * 70];
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, SEED);
    FOR_EACH_KERNEL(isa, metric, dtype)
    {
        if (metric != QV_METRIC_COSINE)
            continue;
        qv_dist_f fn = qv_simd_dist_isa((enum qv_isa)isa, QV_METRIC_COSINE, (enum qv_dtype)dtype);
        for (size_t dim = 1; dim <= 70; ++dim) {
            fill_row(&rng, (enum qv_dtype)dtype, CONTENT_GAUSS, other, dim);
            assert_true(fn(zero, other, dim) == 1.0f);
            assert_true(fn(other, zero, dim) == 1.0f);
            assert_true(fn(zero, zero, dim) == 1.0f);
        }
    }
}

/* The largest u8 sums still fit. */
static void u8_extremes_are_exact(void **state)
{
    static uint8_t high[QV_SIMD_DIM_MAX];
    static uint8_t low[QV_SIMD_DIM_MAX];
    (void)state;
    memset(high, 255, sizeof high);
    FOR_EACH_KERNEL(isa, metric, dtype)
    {
        if (dtype != QV_DTYPE_U8)
            continue;
        check_pair(isa, metric, dtype, high, low, QV_SIMD_DIM_MAX);
        check_pair(isa, metric, dtype, high, high, QV_SIMD_DIM_MAX);
    }
}

#ifdef __x86_64__
/* The AVX-512 kernels without VNNI, which the table hides where the machine has it. */
static void u8_without_vnni_is_the_same(void **state)
{
    static const struct {
        enum qv_metric metric;
        qv_dist_f one;
    } plain[] = {
        {QV_METRIC_L2, qv_l2_u8_avx512},
        {QV_METRIC_DOT, qv_dot_u8_avx512},
        {QV_METRIC_COSINE, qv_cosine_u8_avx512},
    };
    struct qv_rng rng;
    struct guarded ga;
    struct guarded gb;
    (void)state;
    if (!qv_isa_have(QV_ISA_AVX512))
        skip();
    qv_rng_init(&rng, SEED);
    guarded_init(&ga);
    guarded_init(&gb);
    for (size_t m = 0; m < sizeof plain / sizeof plain[0]; ++m) {
        FOR_EACH_DIM(dim)
        {
            uint8_t *a = guarded_at_end(&ga, dim);
            uint8_t *b = guarded_at_end(&gb, dim);
            fill_row(&rng, QV_DTYPE_U8, (enum content)qv_rng_below(&rng, 3), a, dim);
            fill_row(&rng, QV_DTYPE_U8, (enum content)qv_rng_below(&rng, 3), b, dim);
            const double want = reference_dist(plain[m].metric, QV_DTYPE_U8, a, b, dim).distance;
            const float got = plain[m].one(a, b, dim);
            if (got != (float)want)
                fail_kernel("without VNNI",
                            (struct subject){QV_ISA_AVX512, (int)plain[m].metric, QV_DTYPE_U8, dim},
                            got, want);
        }
    }
    guarded_close(&ga);
    guarded_close(&gb);
}
#endif

/* The batched form is the single one, n times, for rows anywhere and in any order. */
static void batches_equal_single_calls(void **state)
{
    enum { ROWS = 37, BATCH_MAX = 50 };
    struct qv_rng rng;
    struct guarded query_at;
    struct guarded rows_at;
    (void)state;
    qv_rng_init(&rng, SEED);
    guarded_init(&query_at);
    guarded_init(&rows_at);
    FOR_EACH_KERNEL(isa, metric, dtype)
    {
        qv_dist_f one =
            qv_simd_dist_isa((enum qv_isa)isa, (enum qv_metric)metric, (enum qv_dtype)dtype);
        qv_dist_batch_f batch =
            qv_simd_dist_batch_isa((enum qv_isa)isa, (enum qv_metric)metric, (enum qv_dtype)dtype);
        for (size_t dim = 1; dim <= 130; ++dim) {
            const size_t bytes = dim * qv_dtype_bytes((enum qv_dtype)dtype);
            const size_t stride = bytes + (size_t)qv_rng_below(&rng, 9);
            uint8_t *query = guarded_at_end(&query_at, bytes);
            uint8_t *base = guarded_at_end(&rows_at, stride * (ROWS - 1) + bytes);
            uint32_t slots[BATCH_MAX];
            float out[BATCH_MAX + 1];
            const size_t n = (size_t)qv_rng_below(&rng, BATCH_MAX + 1);
            fill_row(&rng, (enum qv_dtype)dtype, CONTENT_GAUSS, query, dim);
            for (size_t r = 0; r < ROWS; ++r)
                fill_row(&rng, (enum qv_dtype)dtype, CONTENT_GAUSS, base + r * stride, dim);
            for (size_t i = 0; i < n; ++i)
                slots[i] = (uint32_t)qv_rng_below(&rng, ROWS);
            out[n] = 12345.0f;
            batch(query, base, stride, slots, n, dim, out);
            assert_true(out[n] == 12345.0f);
            for (size_t i = 0; i < n; ++i) {
                const float want = one(query, base + slots[i] * stride, dim);
                if (bits_of(out[i]) != bits_of(want))
                    fail_kernel("batch", (struct subject){isa, metric, dtype, dim}, out[i], want);
            }
        }
    }
    guarded_close(&query_at);
    guarded_close(&rows_at);
}

static void select_takes_names_and_refuses_others(void **state)
{
    struct qv_errmsg msg;
    const enum qv_isa best = qv_simd_isa_best();
    (void)state;
    assert_int_equal(qv_simd_isa(), best);
    assert_int_equal(qv_simd_select("serial", &msg), QV_OK);
    assert_int_equal(qv_simd_isa(), QV_ISA_SERIAL);
    assert_ptr_equal(qv_simd_dist(QV_METRIC_L2, QV_DTYPE_F32),
                     qv_simd_dist_isa(QV_ISA_SERIAL, QV_METRIC_L2, QV_DTYPE_F32));
    assert_int_equal(qv_simd_select("avx1024", &msg), QV_EINVAL);
    assert_non_null(strstr(msg.text, "serial"));
    assert_int_equal(qv_simd_select("SERIAL", NULL), QV_EINVAL);
    assert_int_equal(qv_simd_select("serially", NULL), QV_EINVAL);
    assert_int_equal(qv_simd_select("avx", NULL), QV_EINVAL);
    assert_int_equal(qv_simd_isa(), QV_ISA_SERIAL); /* a refused choice changes nothing */
    for (int isa = 0; isa < QV_ISA_COUNT; ++isa) {
        const int rc = qv_simd_select(qv_simd_isa_name((enum qv_isa)isa), &msg);
        assert_int_equal(rc, qv_isa_have((enum qv_isa)isa) ? QV_OK : QV_EINVAL);
    }
    assert_int_equal(qv_simd_select("", &msg), QV_OK);
    assert_int_equal(qv_simd_select(NULL, &msg), QV_OK);
    assert_int_equal(qv_simd_isa(), best);
    for (int metric = 0; metric < QV_METRIC_COUNT; ++metric)
        for (int dtype = 0; dtype < QV_DTYPE_COUNT; ++dtype) {
            assert_non_null(qv_simd_dist((enum qv_metric)metric, (enum qv_dtype)dtype));
            assert_non_null(qv_simd_dist_batch((enum qv_metric)metric, (enum qv_dtype)dtype));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(select_takes_names_and_refuses_others),
        cmocka_unit_test(kernels_agree_with_double),
        cmocka_unit_test(special_values_propagate),
        cmocka_unit_test(denormals_count),
        cmocka_unit_test(zero_rows_have_cosine_distance_one),
        cmocka_unit_test(u8_extremes_are_exact),
#ifdef __x86_64__
        cmocka_unit_test(u8_without_vnni_is_the_same),
#endif
        cmocka_unit_test(batches_equal_single_calls),
    };
    printf("best: %s, seed %u\n", qv_simd_isa_name(qv_simd_isa_best()), SEED);
    return RUN_SUITE(tests);
}
