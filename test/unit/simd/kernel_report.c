/* What the kernels of this machine's best ISA give, as JSON: for each its number of cases, its
 * largest error in units in the last place (of the sum of the magnitudes that were added, since
 * terms may cancel), and whether all were within what its contract allows. Walk kernels are
 * compared with the double reference (their allowance grows with the row: ok says whether it was
 * kept), canonical scores, conversions and bits with the plain C (their bits must be the same).
 * `make neon` runs this under an emulator. */
#include "rows.h"
#include "simd/bits.h"
#include "simd/kernels.h"
#include "simd/score.h"

#define SEED 606u
#define ROUNDS 6

struct tally {
    unsigned long cases;
    double max_ulp;
    bool ok;
};

static double ulps(float got, double want, double scale)
{
    const float size = (float)fmax(fabs(want), scale);
    return fabs((double)got - want) / (double)(nextafterf(size, INFINITY) - size);
}

static void print_tally(const char *name, struct tally t)
{
    static int printed; /* of a program with one thread */
    printf("%s\n  {\"name\": \"%s\", \"cases\": %lu, \"max_ulp\": %.2f, \"ok\": %s}",
           printed++ == 0 ? "" : ",", name, t.cases, t.max_ulp, t.ok ? "true" : "false");
}

static struct tally try_walk(struct qv_rng *rng, enum qv_metric metric, enum qv_dtype dtype)
{
    static uint8_t a[4 * 4096 + 1];
    static uint8_t b[4 * 4096];
    struct tally t = {.ok = true};
    const qv_dist_f fn = qv_simd_dist(metric, dtype);
    for (int round = 0; round < ROUNDS; ++round) {
        FOR_EACH_DIM(dim)
        {
            fill_row(rng, dtype, CONTENT_GAUSS, a + 1, dim);
            fill_row(rng, dtype, CONTENT_GAUSS, b, dim);
            const struct reference want = reference_dist(metric, dtype, a + 1, b, dim);
            const float got = fn(a + 1, b, dim);
            const double allowed = dtype == QV_DTYPE_U8
                                       ? fabs((double)(float)want.distance - want.distance)
                                       : ((double)dim / 16 + 12) * 0x1p-24 * want.scale;
            const double off = ulps(got, want.distance, want.scale);
            t.cases++;
            t.max_ulp = off > t.max_ulp ? off : t.max_ulp;
            t.ok = t.ok && fabs((double)got - want.distance) <= allowed;
        }
    }
    return t;
}

static struct tally try_score(struct qv_rng *rng, enum qv_metric metric, enum qv_dtype dtype)
{
    static uint8_t a[4 * 4096];
    static uint8_t b[4 * 4096];
    const uint32_t slots[1] = {0};
    struct tally t = {.ok = true};
    for (int round = 0; round < ROUNDS; ++round) {
        FOR_EACH_DIM(dim)
        {
            struct qv_scorer best;
            struct qv_scorer plain;
            float got;
            float want;
            const struct qv_gather gather = {
                .base = b, .stride_bytes = sizeof b, .slots = slots, .n = 1};
            fill_row(rng, dtype, (enum content)qv_rng_below(rng, CONTENT_COUNT), a, dim);
            fill_row(rng, dtype, (enum content)qv_rng_below(rng, CONTENT_COUNT), b, dim);
            qv_score_init(&best, metric, dtype, dim);
            if (qv_score_init_isa(&plain, QV_ISA_SERIAL, metric, dtype, dim) != QV_OK)
                return (struct tally){.ok = false};
            qv_score_batch(&best, a, &gather, &got);
            qv_score_batch(&plain, a, &gather, &want);
            t.cases++;
            if (bits_of(got) != bits_of(want)) {
                t.ok = false;
                t.max_ulp = fmax(t.max_ulp, ulps(got, want, 0));
            }
        }
    }
    return t;
}

static struct tally try_bits(struct qv_rng *rng, enum qv_bits_op op)
{
    static uint8_t a[4096];
    static uint8_t b[4096];
    struct tally t = {.ok = true};
    FOR_EACH_DIM(bytes)
    {
        fill_row(rng, QV_DTYPE_U8, CONTENT_GAUSS, a, bytes);
        fill_row(rng, QV_DTYPE_U8, CONTENT_GAUSS, b, bytes);
        t.cases++;
        t.ok = t.ok &&
               qv_simd_bits(op)(a, b, bytes) == qv_simd_bits_isa(QV_ISA_SERIAL, op)(a, b, bytes);
    }
    return t;
}

/* Halves to floats and back: every half there is. */
static struct tally try_halves(void)
{
    static uint16_t halves[65536];
    static uint16_t back[65536];
    static float wide[65536];
    struct tally t = {.ok = true};
    for (uint32_t i = 0; i < 65536; ++i)
        halves[i] = (uint16_t)i;
    qv_simd_f16_to_f32(halves, wide, 65536);
    qv_simd_f32_to_f16(wide, back, 65536);
    for (uint32_t i = 0; i < 65536; ++i) {
        t.cases += 2;
        t.ok = t.ok && bits_of(wide[i]) == bits_of(qv_half_to_f32(halves[i])) &&
               back[i] == qv_half_from_f32(wide[i]);
    }
    return t;
}

int main(void)
{
    static const char *const ops[] = {"hamming_bits", "dot_bits"};
    struct qv_rng rng;
    char name[64];
    qv_rng_init(&rng, SEED);
    printf("{\"isa\": \"%s\", \"kernels\": [", qv_simd_isa_name(qv_simd_isa()));
    for (int metric = 0; metric < QV_METRIC_COUNT; ++metric) {
        for (int dtype = 0; dtype < QV_DTYPE_COUNT; ++dtype) {
            snprintf(name, sizeof name, "%s_%s", metric_names[metric], dtype_names[dtype]);
            print_tally(name, try_walk(&rng, (enum qv_metric)metric, (enum qv_dtype)dtype));
            snprintf(name, sizeof name, "score_%s_%s", metric_names[metric], dtype_names[dtype]);
            print_tally(name, try_score(&rng, (enum qv_metric)metric, (enum qv_dtype)dtype));
        }
    }
    for (int op = 0; op < QV_BITS_OP_COUNT; ++op)
        print_tally(ops[op], try_bits(&rng, (enum qv_bits_op)op));
    print_tally("convert_f16", try_halves());
    printf("\n]}\n");
    return 0;
}
