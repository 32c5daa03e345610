#include "sample_plan.h"
#include "suite.h"

#include "wire/json_answer.h"
#include "wire/json_doc.h"
#include "wire/not_served.h"

#include <string.h>

static struct qv_buf b;

static int setup(void **state)
{
    (void)state;
    qv_buf_init(&b, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    qv_buf_close(&b);
    return 0;
}

static void check(const char *want)
{
    qv_buf_u8(&b, 0);
    assert_false(b.failed);
    assert_string_equal((char *)b.data, want);
    qv_buf_clear(&b);
}

static void test_envelope(void **state)
{
    (void)state;
    qv_json_begin_answer(&b);
    qv_json_write_true(&b, true);
    qv_json_end_answer(&b, false, 0.001234);
    check("{\"result\":true,\"status\":\"ok\",\"time\":0.001234}");
    qv_json_begin_answer(&b);
    qv_json_write_exists(&b, false);
    qv_json_end_answer(&b, true, 0);
    check("{\"result\":{\"exists\":false},\"status\":\"accepted\",\"time\":0.0}");
    qv_json_write_error(&b, "Wrong input: \"x\"", 1.5);
    check("{\"status\":{\"error\":\"Wrong input: \\\"x\\\"\"},\"time\":1.5}");
    qv_json_write_error(&b, "bad \xFF\xC3 bytes", -1);
    check("{\"status\":{\"error\":\"bad ?? bytes\"},\"time\":0.0}");
}

#define PLAN                                                                                       \
    "\"quiver\":{\"plan\":{\"way\":\"bridges\",\"answered\":\"scan\",\"why\":\"so\","              \
    "\"filter\":{\"by\":\"index\",\"points\":9,\"passing\":5,\"passing_min\":4,\"passing_max\":6," \
    "\"payloads_read\":2},\"ef\":100,\"ranked\":20,\"work\":{\"distances\":300,\"hops\":40,"       \
    "\"bridges\":50,\"waiting\":7},\"expected_us\":{\"plain\":0.5,\"scan\":1.5,\"bridges\":2.5,"   \
    "\"check\":3.5}}}"

static void check_plans(struct qv_point_out *points)
{
    struct qv_plan_out plan = sample_plan();
    struct qv_points_out lists[] = {{.points = points, .plan = &plan},
                                    {.points = points, .plan = &plan, .explain = true}};
    qv_json_write_query(&b, &lists[0]);
    check("{\"points\":[]}");
    qv_json_write_query(&b, &lists[1]);
    check("{\"points\":[]," PLAN "}");
    qv_json_write_hits(&b, &lists[1]);
    check("[]," PLAN);
    plan.filter_by = NULL;
    plan.planned = false;
    qv_json_write_hits_batch(&b, lists, 2);
    check("[[],[]],\"quiver\":[null,{\"plan\":{\"way\":\"bridges\",\"answered\":\"scan\","
          "\"why\":\"so\",\"ef\":100,\"ranked\":20,\"work\":{\"distances\":300,\"hops\":40,"
          "\"bridges\":50,\"waiting\":7}}}]");
}

static void test_plans_over_shards(void **state)
{
    (void)state;
    struct qv_point_out points[1];
    const struct qv_plan_out one = {.way = "exact", .answered = "exact", .why = "so"};
    const struct qv_plan_leg_out legs[] = {{.shard = 3, .asked = 7, .given = 6, .plan = &one},
                                           {.shard = 9, .asked = 7, .asked_on = 10, .plan = &one}};
    struct qv_plan_out sum = one;
    sum.legs = legs;
    sum.leg_count = 2;
    const uint32_t missing[] = {4, 11};
    const struct qv_coverage part = {.share = 0.5, .asked = 4, .answered = 2, .missing = missing};
    struct qv_points_out out = {.points = points, .plan = &sum, .explain = true, .coverage = &part};
#define ONE                                                                                        \
    "\"way\":\"exact\",\"answered\":\"exact\",\"why\":\"so\",\"ef\":0,\"ranked\":0,"               \
    "\"work\":{\"distances\":0,\"hops\":0,\"bridges\":0,\"waiting\":0}"
#define COVERAGE "\"coverage\":{\"share\":0.5,\"shards\":4,\"answered\":2,\"missing\":[4,11]}"
    qv_json_write_query(&b, &out);
    check("{\"points\":[],\"quiver\":{\"plan\":{" ONE
          ",\"shards\":[{\"shard\":3,\"asked\":7,\"given\":6,\"plan\":{" ONE "}},"
          "{\"shard\":9,\"asked\":7,\"asked_on\":10,\"given\":0,\"plan\":{" ONE "}}]}," COVERAGE
          "}}");
    out.explain = false; /* coverage alone was asked for */
    qv_json_write_hits_batch(&b, &out, 1);
    check("[[]],\"quiver\":[{" COVERAGE "}]");
}

static void test_points(void **state)
{
    (void)state;
    const float dense[] = {1.0f, -0.5f};
    const float multi[] = {1.0f, 2.0f, 3.0f, 4.0f};
    const uint32_t indices[] = {3, 9};
    struct qv_named_vec vecs[] = {
        {{"", 0}, {.kind = QV_VEC_DENSE, .dim = 2, .rows = 1, .values = dense}},
        {qv_str_of("s\""),
         {.kind = QV_VEC_SPARSE, .dim = 2, .rows = 1, .values = dense, .indices = indices}},
        {qv_str_of("m"), {.kind = QV_VEC_MULTI, .dim = 2, .rows = 2, .values = multi}},
    };
    struct qv_buf payload;
    qv_buf_init(&payload, 0);
    size_t mark = qv_doc_begin_object(&payload);
    qv_doc_end_object(&payload, mark, 0);
    struct qv_point_out points[2] = {
        {.id = qv_id_num(5), .version = {77, 1}, .score = 0.25f},
        {.id = {.hi = 0x550e8400e29b41d4, .lo = 0xa716446655440000, .type = QV_ID_UUID},
         .payload = {payload.data, payload.len},
         .vecs = vecs,
         .vec_count = 1,
         .vecs_unnamed = true,
         .has_vecs = true},
    };
    struct qv_points_out list = {.points = points, .count = 2};
    qv_json_write_records(&b, &list);
    check("[{\"id\":5},{\"id\":\"550e8400-e29b-41d4-a716-446655440000\",\"payload\":{},"
          "\"vector\":[1.0,-0.5]}]");
    points[1].vecs_unnamed = false; /* a vector that is named "" */
    qv_json_write_records(&b, &list);
    check("[{\"id\":5},{\"id\":\"550e8400-e29b-41d4-a716-446655440000\",\"payload\":{},"
          "\"vector\":{\"\":[1.0,-0.5]}}]");
    points[1].vec_count = 3;
    qv_json_write_record(&b, &points[1]);
    check("{\"id\":\"550e8400-e29b-41d4-a716-446655440000\",\"payload\":{},\"vector\":{"
          "\"\":[1.0,-0.5],\"s\\\"\":{\"indices\":[3,9],\"values\":[1.0,-0.5]},"
          "\"m\":[[1.0,2.0],[3.0,4.0]]}}");
    list.count = 1;
    qv_json_write_hits(&b, &list);
    check("[{\"id\":5,\"version\":77,\"score\":0.25}]");
    qv_json_write_query(&b, &list);
    check("{\"points\":[{\"id\":5,\"version\":77,\"score\":0.25}]}");
    struct qv_points_out lists[] = {{.points = points, .count = 1}, {.points = points}};
    qv_json_write_hits_batch(&b, lists, 2);
    check("[[{\"id\":5,\"version\":77,\"score\":0.25}],[]]");
    qv_json_write_query_batch(&b, lists, 2);
    check("[{\"points\":[{\"id\":5,\"version\":77,\"score\":0.25}]},{\"points\":[]}]");
    check_plans(points);
    struct qv_scroll_out scroll = {
        .points = {.points = points, .count = 1}, .has_next = true, .next = qv_id_num(6)};
    qv_json_write_scroll(&b, &scroll);
    check("{\"points\":[{\"id\":5}],\"next_page_offset\":6}");
    scroll.has_next = false;
    scroll.points.count = 0;
    qv_json_write_scroll(&b, &scroll);
    check("{\"points\":[],\"next_page_offset\":null}");
    qv_buf_close(&payload);
}

static void test_small_ones(void **state)
{
    (void)state;
    const struct qv_write_result results[] = {{7, true}, {8, false}};
    const struct qv_str names[] = {{"a", 1}, {"b\n", 2}};
    qv_json_write_update(&b, &results[0]);
    check("{\"operation_id\":7,\"status\":\"completed\"}");
    qv_json_write_updates(&b, results, 2);
    check("[{\"operation_id\":7,\"status\":\"completed\"},"
          "{\"operation_id\":8,\"status\":\"acknowledged\"}]");
    qv_json_write_count(&b, UINT64_MAX);
    check("{\"count\":18446744073709551615}");
    qv_json_write_collections(&b, names, 2);
    check("{\"collections\":[{\"name\":\"a\"},{\"name\":\"b\\n\"}]}");
    qv_json_write_collections(&b, names, 0);
    check("{\"collections\":[]}");
    qv_json_write_service(&b, "1.19.0", "c0ffee", "0.1.0");
    check("{\"title\":\"qdrant - vector search engine\",\"version\":\"1.19.0\","
          "\"commit\":\"c0ffee\",\"engine\":\"quiver\",\"engine_version\":\"0.1.0\"}");
}

/* A buffer that is full stays failed and nothing is written behind its bound. */
static void test_full_buffer(void **state)
{
    (void)state;
    const float v[64] = {0.1f};
    struct qv_buf small;
    qv_buf_init(&small, 100);
    qv_json_begin_answer(&small);
    qv_json_write_vec(&small,
                      &(struct qv_vec){.kind = QV_VEC_DENSE, .dim = 64, .rows = 1, .values = v});
    qv_json_end_answer(&small, false, 0.1);
    assert_true(small.failed);
    assert_true(small.len <= 100);
    qv_buf_close(&small);
}

static void test_not_served_table(void **state)
{
    (void)state;
    struct qv_errmsg msg;
    assert_int_equal(qv_not_served_fail(QV_NOT_SERVED_PREFETCH, &msg), QV_ENOTIMPL);
    assert_string_equal(msg.text, "Not implemented: prefetch");
    assert_true(qv_not_served_operation_count > 10);
    for (size_t i = 0; i < qv_not_served_operation_count; i++) {
        const struct qv_not_served_operation *o = &qv_not_served_operations[i];
        assert_true(o->path[0] == '/' || (o->path[0] == 0 && o->grpc[0] != 0));
        assert_true((o->path[0] == 0) == (o->method[0] == 0));
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_envelope),   T(test_plans_over_shards), T(test_points),
        T(test_small_ones), T(test_full_buffer),       T(test_not_served_table),
    };
    return RUN_SUITE(tests);
}
