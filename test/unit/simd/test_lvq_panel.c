/* Panels of LVQ codes against single calls, wherever rows stand in them. */
#include "rows.h"
#include "simd/lvq_panel.h"
#include "suite.h"

#include "base/mem.h"

#define SEED 4099u
#define ROWS_MAX 130u

static void fill_codes(struct qv_rng *rng, uint8_t *codes, size_t stride, uint32_t n, size_t dim)
{
    float row[900];
    for (uint32_t i = 0; i < n; i++) {
        const bool zero = qv_rng_below(rng, 20) == 0;
        for (size_t j = 0; j < dim; j++)
            row[j] = zero ? 0.0f : (float)qv_rng_below(rng, 2001) / 500.0f - 1.0f;
        qv_lvq_encode(QV_DTYPE_F32, row, dim, codes + i * stride);
    }
}

static void a_panel_computes_what_single_calls_do(void **state)
{
    static const size_t dims[] = {1, 3, 4, 63, 64, 65, 100, 128, 784, 900};
    static const enum qv_metric metrics[] = {QV_METRIC_L2, QV_METRIC_COSINE};
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, SEED);
    printf("seed %u\n", SEED);
    QV_FOR_EACH_ISA(isa)
    {
        qv_isa_force((enum qv_isa)isa);
        for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
            const size_t dim = dims[d];
            const enum qv_metric metric = metrics[d % 2];
            const size_t stride = qv_lvq_row_bytes(dim) + 3;
            uint8_t *codes = qv_mem_alloc(stride * ROWS_MAX);
            const uint32_t n = 1 + (uint32_t)qv_rng_below(&rng, ROWS_MAX);
            uint32_t slots[ROWS_MAX];
            struct qv_lvq_panel p;
            fill_codes(&rng, codes, stride, ROWS_MAX, dim);
            for (uint32_t i = 0; i < n; i++)
                slots[i] = (uint32_t)qv_rng_below(&rng, ROWS_MAX);
            assert_int_equal(qv_lvq_panel_init(&p, metric, dim, n), 0);
            qv_lvq_panel_fill(&p, codes, stride, slots, n);
            struct qv_lvq_tile t = {.b_n = n, .out_stride = p.cap};
            t.a_first = (uint32_t)qv_rng_below(&rng, n);
            t.a_n = 1 + (uint32_t)qv_rng_below(&rng, n - t.a_first);
            t.b_first = n > 32 && qv_rng_below(&rng, 2) == 0 ? 32 : 0;
            t.b_n = n - t.b_first;
            t.out = qv_mem_alloc(sizeof(float) * t.a_n * p.cap);
            qv_lvq_panel_distances(&p, &p, &t);
            for (uint32_t i = 0; i < t.a_n; i++) {
                for (uint32_t j = 0; j < t.b_n; j++) {
                    const uint8_t *x = codes + slots[t.a_first + i] * stride;
                    const uint8_t *y = codes + slots[t.b_first + j] * stride;
                    const float want = qv_lvq_dist(metric)(x, y, dim);
                    const float got = t.out[i * t.out_stride + j];
                    assert_true(fabsf(got - want) <= 1e-5f * (float)dim + 1e-5f * want);
                }
            }
            qv_mem_free(t.out);
            qv_mem_free(codes);
            qv_lvq_panel_close(&p);
            qv_lvq_panel_close(&p);
        }
    }
    qv_isa_force(qv_isa_best());
}

/* The same two rows have the same distance, to the bit, in any place of any panel. */
static void places_do_not_matter(void **state)
{
    enum { DIM = 100, N = 77 };
    const size_t stride = qv_lvq_row_bytes(DIM);
    uint8_t *codes = qv_mem_alloc(stride * N);
    struct qv_lvq_panel a;
    struct qv_lvq_panel b;
    uint32_t up[N];
    uint32_t down[N];
    static float out_a[N * 96];
    static float out_b[N * 96];
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, SEED);
    fill_codes(&rng, codes, stride, N, DIM);
    for (uint32_t i = 0; i < N; i++) {
        up[i] = i;
        down[i] = N - 1 - i;
    }
    assert_int_equal(qv_lvq_panel_init(&a, QV_METRIC_COSINE, DIM, N), 0);
    assert_int_equal(qv_lvq_panel_init(&b, QV_METRIC_COSINE, DIM, N), 0);
    qv_lvq_panel_fill(&a, codes, stride, up, N);
    qv_lvq_panel_fill(&b, codes, stride, down, N);
    struct qv_lvq_tile t = {.a_n = N, .b_n = N, .out = out_a, .out_stride = 96};
    qv_lvq_panel_distances(&a, &a, &t);
    t.out = out_b;
    qv_lvq_panel_distances(&b, &b, &t);
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = 0; j < N; j++)
            assert_memory_equal(&out_a[i * 96 + j], &out_b[(N - 1 - i) * 96 + (N - 1 - j)],
                                sizeof(float));
    qv_lvq_panel_close(&a);
    qv_lvq_panel_close(&b);
    qv_mem_free(codes);
}

static void below_is_a_bound_left_out(void **state)
{
    float d[96];
    uint32_t out[96 + QV_LVQ_PANEL_GROUP];
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, SEED);
    QV_FOR_EACH_ISA(isa)
    {
        qv_isa_force((enum qv_isa)isa);
        for (uint32_t n = 0; n <= 70; n++) {
            for (uint32_t i = 0; i < 96; i++)
                d[i] = (float)qv_rng_below(&rng, 10);
            uint32_t found = qv_lvq_panel_below(d, n, 4.0f, out);
            uint32_t want = 0;
            for (uint32_t i = 0; i < n; i++)
                if (d[i] < 4.0f)
                    assert_int_equal(out[want++], i);
            assert_int_equal(found, want);
        }
    }
    qv_isa_force(qv_isa_best());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_panel_computes_what_single_calls_do),
        cmocka_unit_test(places_do_not_matter),
        cmocka_unit_test(below_is_a_bound_left_out),
    };
    return RUN_SUITE(tests);
}
