/* What the benches send is what the server reads, and what it answers is what they read. */
#include "base/rng.h"
#include "cli/bench_wire.h"
#include "wire/json_request.h"
#include "wire/pb_answer.h"
#include "wire/pb_request.h"

#include "suite.h"

#include <string.h>

#define DIM 7u
#define SEED 20260u

static void fill(float *rows, uint32_t n)
{
    struct qv_rng rng;
    qv_rng_init(&rng, SEED);
    for (uint32_t i = 0; i < n; i++)
        rows[i] = qv_rng_gauss(&rng);
}

static struct qv_bytes bytes_of(const struct qv_buf *b)
{
    return (struct qv_bytes){b->data, b->len};
}

static void test_upsert(void **state)
{
    static const uint64_t firsts[] = {0, 127, 128, QV_BENCH_ID_FIRST, ((uint64_t)1 << 35) - 3};
    float rows[3 * DIM];
    (void)state;
    fill(rows, 3 * DIM);
    for (size_t f = 0; f < sizeof firsts / sizeof firsts[0]; f++) {
        struct qv_buf b;
        struct qv_arena arena;
        struct qv_pb_request r;
        struct qv_errmsg msg;
        uint32_t ids_at[3];
        uint64_t first = firsts[f];
        qv_buf_init(&b, 0);
        qv_arena_init(&arena, 1 << 20);
        const struct qv_bench_points points = {
            .first_id = first, .rows = rows, .count = 3, .dim = DIM};
        qv_bench_put_upsert(&b, "name", &points, ids_at);
        if (first >= QV_BENCH_ID_FIRST) {
            first = QV_BENCH_ID_FIRST + 77;
            for (uint32_t i = 0; i < 3; i++)
                qv_bench_set_id(b.data + ids_at[i], first + i);
        }
        assert_int_equal(qv_pb_request_decode(QV_PB_UPSERT, bytes_of(&b), &arena, &r, &msg), 0);
        const struct qv_write_op *op = &r.u.write.ops[0];
        assert_false(r.u.write.wait);
        assert_int_equal(op->point_count, 3);
        for (uint32_t i = 0; i < 3; i++) {
            struct qv_id id = qv_id_num(first + i);
            assert_true(qv_id_equal(&op->points[i].id, &id));
            assert_int_equal(op->points[i].vecs[0].vec.dim, DIM);
            assert_memory_equal(op->points[i].vecs[0].vec.values, rows + (size_t)i * DIM,
                                DIM * sizeof(float));
        }
        qv_arena_close(&arena);
        qv_buf_close(&b);
    }
}

static void check_query(const struct qv_query_req *req, const float *row, uint32_t ef)
{
    const struct qv_query *q = &req->queries[0];
    assert_int_equal(req->query_count, 1);
    assert_int_equal(q->kind, QV_QUERY_VECTOR);
    assert_int_equal(q->limit, 12);
    assert_int_equal(q->hnsw_ef.has, ef != 0);
    assert_true(ef == 0 || q->hnsw_ef.v == ef);
    assert_int_equal(q->vec.dim, DIM);
    assert_memory_equal(q->vec.values, row, DIM * sizeof(float));
}

static void test_query(void **state)
{
    static const uint32_t efs[] = {0, 16, 300};
    float row[DIM];
    (void)state;
    fill(row, DIM);
    for (size_t i = 0; i < sizeof efs / sizeof efs[0]; i++) {
        struct qv_buf b;
        struct qv_arena arena;
        struct qv_pb_request r;
        struct qv_query_req json;
        struct qv_errmsg msg;
        qv_buf_init(&b, 0);
        qv_arena_init(&arena, 1 << 20);
        qv_bench_put_query(&b, "name", row, DIM, 12, efs[i]);
        assert_int_equal(qv_pb_request_decode(QV_PB_QUERY, bytes_of(&b), &arena, &r, &msg), 0);
        check_query(&r.u.query, row, efs[i]);
        qv_buf_clear(&b);
        qv_bench_put_query_json(&b, row, DIM, 12, efs[i]);
        assert_int_equal(qv_json_read_query(QV_JSON_QUERY, bytes_of(&b), &arena, &json, &msg), 0);
        check_query(&json, row, efs[i]);
        qv_arena_close(&arena);
        qv_buf_close(&b);
    }
}

static void test_hits(void **state)
{
    static const uint64_t want[] = {0, 5, 300, UINT64_MAX - 1};
    struct qv_point_out points[4] = {0};
    struct qv_points_out out = {.points = points, .count = 4};
    uint64_t ids[4];
    uint32_t n;
    struct qv_buf b;
    (void)state;
    for (int i = 0; i < 4; i++) {
        points[i].id = qv_id_num(want[i]);
        points[i].score = 0.5f;
    }
    qv_buf_init(&b, 0);
    qv_pb_answer_hits(&b, &out, 0.25);
    assert_int_equal(qv_bench_read_hits(bytes_of(&b), ids, 4, &n), 0);
    assert_int_equal(n, 4);
    assert_memory_equal(ids, want, sizeof want);
    assert_int_equal(qv_bench_read_hits(bytes_of(&b), ids, 3, &n),
                     QV_EFORMAT); /* more than asked */
    b.len -= 3;
    assert_int_equal(qv_bench_read_hits(bytes_of(&b), ids, 4, &n), QV_EFORMAT); /* cut */
    qv_buf_clear(&b);
    qv_buf_str(&b, "{\"result\":[{\"id\":0,\"score\":1},{\"id\":300}]}");
    assert_int_equal(qv_bench_read_hits_json(bytes_of(&b), ids, 4, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(ids[1], 300);
    assert_int_equal(qv_bench_read_hits_json(bytes_of(&b), ids, 1, &n), QV_EFORMAT);
    qv_buf_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upsert),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_hits),
    };
    return RUN_SUITE(tests);
}
