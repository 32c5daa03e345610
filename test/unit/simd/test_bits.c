/* Kernels over packed bits against counting bit by bit. */
#include "rows.h"
#include "simd/bits.h"
#include "simd/kernels.h"
#include "suite.h"

#define SEED 5150u

static uint32_t count_plainly(enum qv_bits_op op, const uint8_t *a, const uint8_t *b, size_t bytes)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < bytes * 8; ++i) {
        const unsigned x = a[i / 8] >> (i % 8) & 1u;
        const unsigned y = b[i / 8] >> (i % 8) & 1u;
        sum += op == QV_BITS_HAMMING ? x ^ y : x & y;
    }
    return sum;
}

/* Rows that end at a faulting page and rows that begin at one, of every length to 300 bytes. */
static void bits_are_counted_exactly(void **state)
{
    struct qv_rng rng;
    struct guarded ga;
    struct guarded gb;
    (void)state;
    qv_rng_init(&rng, SEED);
    guarded_init(&ga);
    guarded_init(&gb);
    QV_FOR_EACH_ISA(isa)
    {
        for (int op = 0; op < QV_BITS_OP_COUNT; ++op) {
            const qv_bits_f fn = qv_simd_bits_isa((enum qv_isa)isa, (enum qv_bits_op)op);
            for (size_t bytes = 1; bytes <= 300; ++bytes) {
                uint8_t *a = guarded_at_end(&ga, bytes);
                uint8_t *b = guarded_at_end(&gb, bytes);
                fill_row(&rng, QV_DTYPE_U8, CONTENT_GAUSS, a, bytes);
                fill_row(&rng, QV_DTYPE_U8, CONTENT_GAUSS, b, bytes);
                const uint32_t want = count_plainly((enum qv_bits_op)op, a, b, bytes);
                assert_int_equal(fn(a, b, bytes), want);
                memmove(ga.room, a, bytes);
                memmove(gb.room + 1, b, bytes);
                assert_int_equal(fn(ga.room, gb.room + 1, bytes), want);
            }
        }
    }
    guarded_close(&ga);
    guarded_close(&gb);
}

/* A register's lanes hold long rows of ones. */
static void long_rows_of_ones_fit(void **state)
{
    static uint8_t ones[1 << 20];
    static uint8_t zeros[1 << 20];
    (void)state;
    memset(ones, 255, sizeof ones);
    QV_FOR_EACH_ISA(isa)
    {
        const qv_bits_f hamming = qv_simd_bits_isa((enum qv_isa)isa, QV_BITS_HAMMING);
        const qv_bits_f dot = qv_simd_bits_isa((enum qv_isa)isa, QV_BITS_DOT);
        assert_int_equal(hamming(ones, zeros, sizeof ones), 8 * sizeof ones);
        assert_int_equal(dot(ones, ones, sizeof ones), 8 * sizeof ones);
        assert_int_equal(dot(ones, zeros, sizeof ones), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_are_counted_exactly),
        cmocka_unit_test(long_rows_of_ones_fit),
    };
    printf("best: %s, seed %u\n", qv_simd_isa_name(qv_simd_isa_best()), SEED);
    return RUN_SUITE(tests);
}
