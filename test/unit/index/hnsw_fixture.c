#include "hnsw_fixture.h"

#include "base/mem.h"
#include "base/rng.h"
#include "index/flat.h"
#include "simd/convert.h"

#include <math.h>
#include <string.h>

#define QUERIES 100u
#define CLUSTERS 20u
#define K 10u

/* A point near one of CLUSTERS centres; for u8 within 0 .. 255. */
static void random_row(struct fixture *f, uint32_t row, uint64_t seed)
{
    const uint32_t dim = f->params.dim;
    float v[256];
    struct qv_rng centre, rng;
    assert_true(dim <= 256);
    qv_rng_init(&rng, seed * 1000003 + row);
    qv_rng_init(&centre, 77 + qv_rng_below(&rng, CLUSTERS));
    for (uint32_t i = 0; i < dim; i++) {
        v[i] = 2 * qv_rng_gauss(&centre) + qv_rng_gauss(&rng);
        if (f->params.dtype == QV_DTYPE_U8)
            v[i] = 128 + 20 * v[i];
    }
    qv_simd_from_f32(f->params.dtype, v, f->data + (size_t)row * f->rows.stride_bytes, dim);
}

void fixture_open(struct fixture *f, enum qv_metric metric, enum qv_dtype dtype, uint32_t n,
                  uint32_t dim, uint64_t seed)
{
    struct qv_errmsg msg;
    memset(f, 0, sizeof *f);
    f->params = qv_hnsw_params_default(metric, dtype, dim);
    f->params.max_slots = n;
    f->params.seed = seed;
    f->n = n;
    f->queries = QUERIES;
    f->rows.stride_bytes = dim * qv_dtype_bytes(dtype);
    f->data = qv_mem_calloc(n + QUERIES, f->rows.stride_bytes);
    f->rows.base = f->data;
    f->bits = qv_mem_calloc(n / 64 + 1, 8);
    for (uint32_t i = 0; i < n + QUERIES; i++)
        random_row(f, i, seed);
    assert_int_equal(qv_hnsw_create(&f->params, &f->rows, &f->h, &msg), 0);
    f->params.m0 = 2 * f->params.m;
    f->ctx = qv_hnsw_ctx_create();
}

void fixture_close(struct fixture *f)
{
    qv_hnsw_destroy(&f->h);
    qv_hnsw_ctx_destroy(&f->ctx);
    qv_mem_free(f->data);
    qv_mem_free(f->bits);
}

void fixture_new_row(struct fixture *f, qv_slot slot, uint64_t seed)
{
    random_row(f, slot, seed);
}

void fixture_mark(struct fixture *f, qv_slot slot, bool live)
{
    uint64_t bit = UINT64_C(1) << (slot & 63);
    f->bits[slot >> 6] = live ? f->bits[slot >> 6] | bit : f->bits[slot >> 6] & ~bit;
}

bool fixture_is_marked(const struct fixture *f, qv_slot slot)
{
    return (f->bits[slot >> 6] >> (slot & 63) & 1) != 0;
}

void fixture_insert(struct fixture *f, qv_slot slot, uint32_t generation)
{
    assert_int_equal(qv_hnsw_insert(f->h, f->ctx, slot, generation), 0);
    assert_int_equal(qv_hnsw_slot_state(f->h, slot, NULL), QV_HNSW_LIVE);
    fixture_mark(f, slot, true);
}

void fixture_delete(struct fixture *f, qv_slot slot)
{
    fixture_mark(f, slot, false);
    assert_int_equal(qv_hnsw_remove(f->h, slot), 0);
    assert_int_equal(qv_hnsw_repair(f->h, f->ctx, slot), 0);
    assert_int_equal(qv_hnsw_slot_state(f->h, slot, NULL), QV_HNSW_UNLINKED);
    assert_int_equal(qv_hnsw_release(f->h, slot), 0);
    assert_int_equal(qv_hnsw_slot_state(f->h, slot, NULL), QV_HNSW_FREE);
}

double fixture_recall(struct fixture *f, uint32_t ef, const uint64_t *filter)
{
    struct qv_flat flat = {.rows = f->rows,
                           .metric = f->params.metric,
                           .dtype = f->params.dtype,
                           .dim = f->params.dim,
                           .begin = 0,
                           .end = f->n,
                           .bits = f->bits};
    uint32_t hit = 0;
    uint32_t all = 0;
    for (uint32_t q = 0; q < f->queries; q++) {
        struct qv_topk_hit exact[K];
        struct qv_hnsw_hit hits[K];
        uint32_t n_exact;
        uint32_t n;
        struct qv_hnsw_query query = {.row = qv_rows_at(&f->rows, f->n + q), .k = K, .ef = ef};
        query.bitmap = filter;
        query.bitmap_slots = f->n;
        assert_int_equal(qv_flat_search(&flat, query.row, K, exact, &n_exact), 0);
        assert_int_equal(qv_hnsw_search(f->h, f->ctx, &query, hits, &n), 0);
        for (uint32_t i = 0; i < n; i++) {
            assert_true(hits[i].slot < f->n && fixture_is_marked(f, hits[i].slot));
            assert_true(i == 0 || hits[i - 1].dist < hits[i].dist ||
                        (hits[i - 1].dist == hits[i].dist && hits[i - 1].slot < hits[i].slot));
            /* kernels may differ from the exact score in the last bits */
            float bound = exact[n_exact - 1].dist;
            assert_true(hits[i].dist >= exact[0].dist - 1e-5F * fabsf(exact[0].dist) - 1e-6F);
            hit += hits[i].dist <= bound + 1e-5F * fabsf(bound) + 1e-6F;
        }
        all += n_exact;
    }
    return all == 0 ? 1.0 : (double)hit / all;
}

uint32_t fixture_check(struct fixture *f)
{
    struct qv_hnsw_check_report report;
    struct qv_errmsg msg;
    int err = qv_hnsw_check(f->h, &report, &msg);
    if (err != 0)
        print_error("check: %s\n", msg.text);
    assert_int_equal(err, 0);
    return report.unreachable;
}

int fixture_write(void *buf, const void *bytes, size_t n)
{
    qv_buf_append(buf, bytes, n);
    return 0;
}

int fixture_read(void *reader, void *bytes, size_t n, size_t *got)
{
    struct fixture_reader *r = reader;
    if (r->piece > 0 && n > r->piece)
        n = r->piece;
    if (n > r->n)
        n = r->n;
    if (n > 0)
        memcpy(bytes, r->p, n);
    r->p += n;
    r->n -= n;
    *got = n;
    return 0;
}
