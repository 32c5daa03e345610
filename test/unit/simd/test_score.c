/* The canonical score: the same bits from every ISA, every compiler and every build. */
#include "base/hash.h"
#include "rows.h"
#include "simd/score.h"
#include "suite.h"

#include <stdlib.h>

#define SEED 77003311u
#define ROWS 11

#ifndef GOLDEN_FILE
#error "GOLDEN_FILE: the path of the committed bits"
#endif

/* A plain transcription of the definition in score.h, apart from the code under test. */
static float define_score(enum qv_metric metric, enum qv_dtype dtype, const uint8_t *a,
                          const uint8_t *b, size_t dim)
{
    volatile float s[3][16] = {{0}, {0}, {0}};
    for (size_t i = 0; i < dim; ++i) {
        const volatile float x = (float)element(dtype, a, i);
        const volatile float y = (float)element(dtype, b, i);
        const volatile float d = x - y;
        const volatile float square = d * d;
        const volatile float xy = x * y;
        const volatile float xx = x * x;
        const volatile float yy = y * y;
        s[0][i % 16] += metric == QV_METRIC_L2 ? square : metric == QV_METRIC_L1 ? fabsf(d) : xy;
        s[1][i % 16] += xx;
        s[2][i % 16] += yy;
    }
    for (size_t w = 8; w != 0; w /= 2)
        for (size_t j = 0; j < w; ++j)
            for (size_t t = 0; t < 3; ++t)
                s[t][j] += s[t][j + w];
    const volatile float ra = sqrtf(s[1][0]);
    const volatile float rb = sqrtf(s[2][0]);
    const volatile float lengths = ra * rb;
    const volatile float cosine = s[0][0] / lengths;
    const float got = metric == QV_METRIC_DOT        ? 0.0f - s[0][0]
                      : metric != QV_METRIC_COSINE   ? s[0][0]
                      : s[1][0] == 0 || s[2][0] == 0 ? 1.0f
                                                     : 1.0f - cosine;
    const uint32_t quiet = 0x7FC00000u;
    float nan_value;
    memcpy(&nan_value, &quiet, sizeof quiet);
    return isnan(got) ? nan_value : got;
}

/* Rows of one case: ROWS of them behind one another, ending at the guard; now and then a NaN, an
 * Inf or a huge value. */
static uint8_t *fill_case(struct qv_rng *rng, const struct guarded *g, enum qv_dtype dtype,
                          size_t dim)
{
    const size_t bytes = dim * qv_dtype_bytes(dtype);
    uint8_t *base = guarded_at_end(g, ROWS * bytes);
    for (size_t r = 0; r < ROWS; ++r)
        fill_row(rng, dtype, (enum content)qv_rng_below(rng, CONTENT_COUNT), base + r * bytes, dim);
    if (dtype != QV_DTYPE_U8 && qv_rng_below(rng, 8) == 0) {
        static const float odd[] = {NAN, -NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 65504.0f, -0.0f};
        const float v = odd[qv_rng_below(rng, sizeof odd / sizeof odd[0])];
        const uint16_t h = qv_half_from_f32(v);
        uint8_t *at = base + qv_rng_below(rng, ROWS * dim) * qv_dtype_bytes(dtype);
        if (dtype == QV_DTYPE_F32)
            memcpy(at, &v, sizeof v);
        else
            memcpy(at, &h, sizeof h);
    }
    return base;
}

static void compare(int isa, int metric, int dtype, size_t dim, float got, float want)
{
    if (bits_of(got) != bits_of(want))
        fail_msg("%s %s %s dim %zu: %08x, defined as %08x (seed %u)", metric_names[metric],
                 dtype_names[dtype], qv_simd_isa_name((enum qv_isa)isa), dim, bits_of(got),
                 bits_of(want), SEED);
}

/* Single and batched form of every ISA against the transcription, up to 512 elements (ROWS rows
 * must fit before the guard), then 4,096 for the narrow types. */
static void every_isa_gives_the_defined_bits(void **state)
{
    struct qv_rng rng;
    struct guarded g;
    uint32_t slots[ROWS];
    float out[ROWS];
    (void)state;
    qv_rng_init(&rng, SEED);
    guarded_init(&g);
    QV_FOR_EACH_ISA(isa)
    {
        for (int metric = 0; metric < QV_METRIC_COUNT; ++metric) {
            for (int dtype = 0; dtype < QV_DTYPE_COUNT; ++dtype) {
                const size_t width = qv_dtype_bytes((enum qv_dtype)dtype);
                FOR_EACH_DIM(dim)
                {
                    struct qv_scorer scorer;
                    if (ROWS * dim * width > ROOM_BYTES)
                        break;
                    const uint8_t *base = fill_case(&rng, &g, (enum qv_dtype)dtype, dim);
                    const size_t n = 1 + (size_t)qv_rng_below(&rng, ROWS);
                    for (size_t i = 0; i < n; ++i)
                        slots[i] = (uint32_t)qv_rng_below(&rng, ROWS);
                    assert_int_equal(qv_score_init_isa(&scorer, (enum qv_isa)isa,
                                                       (enum qv_metric)metric, (enum qv_dtype)dtype,
                                                       dim),
                                     QV_OK);
                    const struct qv_gather gather = {base, dim * width, slots, n};
                    qv_score_batch(&scorer, base, &gather, out);
                    for (size_t i = 0; i < n; ++i)
                        compare(isa, metric, dtype, dim, out[i],
                                define_score((enum qv_metric)metric, (enum qv_dtype)dtype, base,
                                             base + slots[i] * dim * width, dim));
                }
            }
        }
    }
    guarded_close(&g);
}

static void pairs_of_large_rows_agree(void **state)
{
    struct qv_rng rng;
    struct guarded ga;
    struct guarded gb;
    const uint32_t slot = 0;
    (void)state;
    qv_rng_init(&rng, SEED + 1);
    guarded_init(&ga);
    guarded_init(&gb);
    QV_FOR_EACH_ISA(isa)
    for (int metric = 0; metric < QV_METRIC_COUNT; ++metric)
        for (int dtype = 0; dtype < QV_DTYPE_COUNT; ++dtype)
            FOR_EACH_DIM(dim)
            {
                struct qv_scorer scorer;
                const size_t bytes = dim * qv_dtype_bytes((enum qv_dtype)dtype);
                uint8_t *a = guarded_at_end(&ga, bytes);
                uint8_t *b = guarded_at_end(&gb, bytes);
                const struct qv_gather gather = {b, bytes, &slot, 1};
                float out;
                fill_row(&rng, (enum qv_dtype)dtype, CONTENT_WIDE, a, dim);
                fill_row(&rng, (enum qv_dtype)dtype, CONTENT_GAUSS, b, dim);
                assert_int_equal(qv_score_init_isa(&scorer, (enum qv_isa)isa,
                                                   (enum qv_metric)metric, (enum qv_dtype)dtype,
                                                   dim),
                                 QV_OK);
                qv_score_batch(&scorer, a, &gather, &out);
                const float want =
                    define_score((enum qv_metric)metric, (enum qv_dtype)dtype, a, b, dim);
                compare(isa, metric, dtype, dim, out, want);
                compare(isa, metric, dtype, dim,
                        qv_score_dist((enum qv_metric)metric, (enum qv_dtype)dtype, a, b, dim),
                        want);
            }
    guarded_close(&ga);
    guarded_close(&gb);
}

/* Content for the golden file: integers only, so that no library function of another compiler or
 * libc can change the input. */
static void fill_golden(struct qv_rng *rng, enum qv_dtype dtype, uint8_t *row, size_t dim)
{
    for (size_t i = 0; i < dim; ++i) {
        const uint64_t r = qv_rng_u64(rng);
        uint32_t f = (uint32_t)(r & 0x807FFFFFu) | (uint32_t)(118 + (r >> 32) % 18) << 23;
        uint16_t h = (uint16_t)((r & 0x83FFu) | (5 + (r >> 32) % 20) << 10);
        const uint8_t u = (uint8_t)r;
        if ((r >> 48) % 64 == 0) {
            f &= 0x807FFFFFu; /* denormal */
            h &= 0x83FFu;
        }
        if (dtype == QV_DTYPE_F32)
            memcpy(row + 4 * i, &f, sizeof f);
        else if (dtype == QV_DTYPE_F16)
            memcpy(row + 2 * i, &h, sizeof h);
        else
            row[i] = u;
    }
}

struct golden_line {
    uint64_t checksum; /* over the bits of all scores */
    uint32_t sample;   /* the score at dim 784 */
};

static struct golden_line compute_golden(int isa, int metric, int dtype)
{
    static uint8_t a[4 * 4096];
    static uint8_t b[4 * 4096];
    struct golden_line line = {0, 0};
    struct qv_rng rng;
    const uint32_t slot = 0;
    qv_rng_init(&rng, 4242);
    FOR_EACH_DIM(dim)
    {
        for (int round = 0; round < 8; ++round) {
            struct qv_scorer scorer;
            const struct qv_gather gather = {b, 4 * 4096, &slot, 1};
            float out;
            fill_golden(&rng, (enum qv_dtype)dtype, a, dim);
            fill_golden(&rng, (enum qv_dtype)dtype, b, dim);
            assert_int_equal(qv_score_init_isa(&scorer, (enum qv_isa)isa, (enum qv_metric)metric,
                                               (enum qv_dtype)dtype, dim),
                             QV_OK);
            qv_score_batch(&scorer, a, &gather, &out);
            const uint32_t bits = bits_of(out);
            line.checksum = qv_hash_64_seed(&bits, sizeof bits, line.checksum);
            if (dim == 784 && round == 0)
                line.sample = bits;
        }
    }
    return line;
}

/* The committed bits: what any build on any machine must compute. The file's lines are
 * "metric dtype checksum sample". QUIVER_PRINT_GOLDEN=1 prints them instead of comparing. */
static void bits_are_those_of_the_golden_file(void **state)
{
    FILE *f = fopen(GOLDEN_FILE, "r");
    const bool print = getenv("QUIVER_PRINT_GOLDEN") != NULL;
    int lines = 0;
    (void)state;
    for (int metric = 0; metric < QV_METRIC_COUNT; ++metric) {
        for (int dtype = 0; dtype < QV_DTYPE_COUNT; ++dtype) {
            char m[16] = "";
            char d[16] = "";
            unsigned long long checksum = 0;
            unsigned sample = 0;
            if (!print) {
                assert_non_null(f);
                assert_int_equal(fscanf(f, "%15s %15s %llx %x", m, d, &checksum, &sample), 4);
                assert_string_equal(m, metric_names[metric]);
                assert_string_equal(d, dtype_names[dtype]);
                ++lines;
            }
            QV_FOR_EACH_ISA(isa)
            {
                const struct golden_line got = compute_golden(isa, metric, dtype);
                if (print && isa == QV_ISA_SERIAL)
                    fprintf(stderr, "%s %s %016llx %08x\n", metric_names[metric],
                            dtype_names[dtype], (unsigned long long)got.checksum, got.sample);
                if (!print && (got.checksum != checksum || got.sample != sample))
                    fail_msg("%s %s %s: %016llx %08x, golden %016llx %08x", m, d,
                             qv_simd_isa_name((enum qv_isa)isa), (unsigned long long)got.checksum,
                             got.sample, checksum, sample);
            }
        }
    }
    if (f != NULL)
        fclose(f);
    assert_int_equal(lines, print ? 0 : QV_METRIC_COUNT * QV_DTYPE_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_isa_gives_the_defined_bits),
        cmocka_unit_test(pairs_of_large_rows_agree),
        cmocka_unit_test(bits_are_those_of_the_golden_file),
    };
    printf("best: %s, seed %u\n", qv_simd_isa_name(qv_simd_isa_best()), SEED);
    return RUN_SUITE(tests);
}
