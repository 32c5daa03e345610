#include "suite.h"

#include "base/rng.h"
#include "wire/json_request.h"
#include "wire/json_write.h"

#include <stdlib.h>
#include <string.h>

static struct qv_arena arena;
static struct qv_errmsg msg;

static int setup(void **state)
{
    (void)state;
    qv_arena_init(&arena, QV_REQUEST_ARENA_BYTES);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    qv_arena_close(&arena);
    return 0;
}

static struct qv_bytes body(const char *text)
{
    return (struct qv_bytes){(const uint8_t *)text, strlen(text)};
}

static bool str_is(struct qv_str s, const char *want)
{
    return s.n == strlen(want) && memcmp(s.p, want, s.n) == 0;
}

static struct qv_write_op write_ok(enum qv_write_type type, const char *text)
{
    struct qv_write_op op;
    int err = qv_json_read_write(type, body(text), &arena, &op, &msg);
    if (err != 0)
        fail_msg("%s: %d %s", text, err, msg.text);
    assert_int_equal(op.type, type);
    return op;
}

static struct qv_query query_ok(enum qv_json_query_form form, const char *text)
{
    struct qv_query_req req;
    int err = qv_json_read_query(form, body(text), &arena, &req, &msg);
    if (err != 0)
        fail_msg("%s: %d %s", text, err, msg.text);
    assert_int_equal(req.query_count, 1);
    return req.queries[0];
}

/* ---- upsert ---- */

static void test_upsert_list(void **state)
{
    (void)state;
    struct qv_write_op op = write_ok(
        QV_WRITE_UPSERT,
        "{\"points\": [{\"id\": 7, \"vector\": [1, 2.5, -3], \"payload\": {\"a\": 1}, \"x\": []},"
        "{\"vector\": {\"\": [1], \"s\": {\"indices\": [5, 2], \"values\": [0.5, 1]},"
        " \"m\": [[1, 2], [3, 4]]}, \"id\": \"550e8400-e29b-41d4-a716-446655440000\","
        " \"payload\": null}], \"update_mode\": \"upsert\", \"update_filter\": null,"
        " \"shard_key\": null, \"whatever\": {\"deep\": [1]}}");
    assert_int_equal(op.point_count, 2);
    const struct qv_point_in *p = &op.points[0];
    assert_int_equal(p->id.type, QV_ID_NUM);
    assert_int_equal(p->id.lo, 7);
    assert_int_equal(p->vec_count, 1);
    assert_int_equal(p->vecs[0].name.n, 0);
    assert_int_equal(p->vecs[0].vec.kind, QV_VEC_DENSE);
    assert_int_equal(p->vecs[0].vec.dim, 3);
    assert_true(p->vecs[0].vec.values[1] == 2.5f);
    assert_non_null(p->payload.p);
    assert_int_equal(qv_doc_count(p->payload), 1);
    p = &op.points[1];
    assert_int_equal(p->id.type, QV_ID_UUID);
    assert_null(p->payload.p);
    assert_int_equal(p->vec_count, 3);
    assert_int_equal(p->vecs[0].name.n, 0);
    assert_true(str_is(p->vecs[1].name, "s"));
    assert_int_equal(p->vecs[1].vec.kind, QV_VEC_SPARSE);
    assert_int_equal(p->vecs[1].vec.dim, 2);
    assert_int_equal(p->vecs[1].vec.indices[0], 2); /* put in order */
    assert_true(p->vecs[1].vec.values[0] == 1.0f);
    assert_int_equal(p->vecs[2].vec.kind, QV_VEC_MULTI);
    assert_int_equal(p->vecs[2].vec.rows, 2);
    assert_int_equal(p->vecs[2].vec.dim, 2);
    assert_true(p->vecs[2].vec.values[3] == 4.0f);
}

static void test_conditions(void **state)
{
    (void)state;
    static const char *const modes[] = {"upsert", "insert_only", "update_only"};
    static const char filter[] = "{\"must\": [{\"has_id\": [1]}]}";
    char body[300];
    for (int i = 0; i < 3; i++) {
        snprintf(body, sizeof body,
                 "{\"update_mode\": \"%s\", \"points\": [], \"update_filter\": %s}", modes[i],
                 filter);
        struct qv_write_op op = write_ok(QV_WRITE_UPSERT, body);
        assert_int_equal(op.update_mode, i);
        assert_int_equal(op.update_filter->must_count, 1);
    }
    assert_null(write_ok(QV_WRITE_UPSERT, "{\"points\": []}").update_filter);
    snprintf(body, sizeof body,
             "{\"points\": [{\"id\": 1, \"vector\": [1]}], \"update_filter\": %s}", filter);
    assert_int_equal(write_ok(QV_WRITE_UPDATE_VECTORS, body).update_filter->must_count, 1);
}

static void test_upsert_columns(void **state)
{
    (void)state;
    struct qv_write_op op = write_ok(
        QV_WRITE_UPSERT, "{\"batch\": {\"payloads\": [null, {\"k\": \"v\"}], \"ids\": [1, 2],"
                         " \"vectors\": [[1, 2], [3, 4]]}}");
    assert_int_equal(op.point_count, 2);
    assert_null(op.points[0].payload.p);
    assert_non_null(op.points[1].payload.p);
    assert_true(op.points[1].vecs[0].vec.values[1] == 4.0f);
    op = write_ok(
        QV_WRITE_UPSERT,
        "{\"batch\": {\"ids\": [1, 2], \"vectors\": {\"a\": [[1], [2]],"
        " \"m\": [[[1, 2]], [[3, 4]]],"
        " \"s\": [{\"indices\": [1], \"values\": [1]}, {\"indices\": [], \"values\": []}]}}}");
    assert_int_equal(op.points[1].vec_count, 3);
    assert_int_equal(op.points[1].vecs[1].vec.kind, QV_VEC_MULTI);
    assert_int_equal(op.points[1].vecs[2].vec.dim, 0);
    op = write_ok(QV_WRITE_UPSERT, "{\"batch\": {\"ids\": [], \"vectors\": []}}");
    assert_int_equal(op.point_count, 0);
}

static void test_same_name_twice_keeps_the_last(void **state)
{
    (void)state;
    struct qv_write_op op =
        write_ok(QV_WRITE_UPSERT, "{\"points\": [{\"id\": 1, \"id\": 2, \"vector\": {\"a\": [1],"
                                  " \"b\": [2], \"a\": [3, 4]}}]}");
    assert_int_equal(op.points[0].id.lo, 2);
    assert_int_equal(op.points[0].vec_count, 2);
    assert_int_equal(op.points[0].vecs[0].vec.dim, 2);
    op = write_ok(QV_WRITE_UPSERT, "{\"batch\": {\"ids\": [1], \"vectors\": {\"a\": [[1]],"
                                   " \"b\": [[2]], \"a\": [[3, 4]]}}}");
    assert_int_equal(op.points[0].vec_count, 2);
    assert_true(str_is(op.points[0].vecs[0].name, "a"));
    assert_int_equal(op.points[0].vecs[0].vec.dim, 2);
}

/* ---- other changes ---- */

static void test_selected_changes(void **state)
{
    (void)state;
    struct qv_write_op op = write_ok(QV_WRITE_DELETE, "{\"points\": [1, 2, 3]}");
    assert_int_equal(op.select.id_count, 3);
    assert_null(op.select.filter);
    op = write_ok(QV_WRITE_CLEAR_PAYLOAD, "{\"filter\": {\"must\": []}, \"points\": null}");
    assert_non_null(op.select.filter);
    op = write_ok(QV_WRITE_DELETE, "{\"points\": []}");
    assert_int_equal(op.select.id_count, 0);
    assert_null(op.select.filter);
    op = write_ok(QV_WRITE_DELETE, "{\"points\": [1], \"filter\": {}}");
    assert_null(op.select.filter);
    op = write_ok(QV_WRITE_DELETE_VECTORS, "{\"points\": [1], \"vector\": [\"a\", \"\"]}");
    assert_int_equal(op.name_count, 2);
    op = write_ok(QV_WRITE_UPDATE_VECTORS, "{\"points\": [{\"id\": 1, \"vector\": [1]}]}");
    assert_int_equal(op.point_count, 1);
    op = write_ok(QV_WRITE_SET_PAYLOAD,
                  "{\"payload\": {\"a\": null}, \"points\": [1], \"key\": \"b.c\"}");
    assert_true(op.has_key);
    assert_int_equal(op.key.count, 2);
    assert_int_equal(qv_doc_count(op.payload), 1);
    op = write_ok(QV_WRITE_OVERWRITE_PAYLOAD, "{\"payload\": {}, \"filter\": {}, \"key\": \"b\"}");
    assert_false(op.has_key);
    assert_non_null(op.select.filter);
    op = write_ok(QV_WRITE_DELETE_PAYLOAD, "{\"keys\": [\"a\", \"b[].c\"], \"points\": [4]}");
    assert_int_equal(op.key_count, 2);
}

static void test_batch(void **state)
{
    (void)state;
    struct qv_write_req req;
    const char *text = "{\"operations\": ["
                       "{\"upsert\": {\"points\": [{\"id\": 1, \"vector\": {}}]}},"
                       "{\"update_vectors\": {\"points\": [{\"id\": 1, \"vector\": [1]}]}},"
                       "{\"delete_vectors\": {\"points\": [1], \"vector\": [\"\"]}},"
                       "{\"set_payload\": {\"payload\": {}, \"points\": [1]}},"
                       "{\"overwrite_payload\": {\"payload\": {}, \"points\": [1]}},"
                       "{\"delete_payload\": {\"keys\": [], \"points\": [1]}},"
                       "{\"clear_payload\": {\"points\": [1]}},"
                       "{\"delete\": {\"filter\": {}}}]}";
    static const enum qv_write_type types[] = {QV_WRITE_UPSERT,
                                               QV_WRITE_UPDATE_VECTORS,
                                               QV_WRITE_DELETE_VECTORS,
                                               QV_WRITE_SET_PAYLOAD,
                                               QV_WRITE_OVERWRITE_PAYLOAD,
                                               QV_WRITE_DELETE_PAYLOAD,
                                               QV_WRITE_CLEAR_PAYLOAD,
                                               QV_WRITE_DELETE};
    assert_int_equal(qv_json_read_batch(body(text), &arena, &req, &msg), 0);
    assert_int_equal(req.op_count, 8);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(req.ops[i].type, types[i]);
    assert_false(req.wait);
    assert_int_equal(req.ordering, QV_ORDERING_WEAK);
}

/* ---- reads ---- */

static void test_query_forms(void **state)
{
    (void)state;
    struct qv_query q = query_ok(QV_JSON_QUERY, "{}");
    assert_int_equal(q.kind, QV_QUERY_SCROLL);
    assert_int_equal(q.limit, 10);
    assert_int_equal(q.with_payload.mode, QV_SELECT_NONE);
    q = query_ok(QV_JSON_QUERY, "{\"query\": null, \"prefetch\": []}");
    assert_int_equal(q.kind, QV_QUERY_SCROLL);
    q = query_ok(QV_JSON_QUERY, "{\"query\": [1, 2]}");
    assert_int_equal(q.kind, QV_QUERY_VECTOR);
    assert_int_equal(q.vec.dim, 2);
    q = query_ok(QV_JSON_QUERY, "{\"query\": [[1, 2], [3, 4]]}");
    assert_int_equal(q.vec.kind, QV_VEC_MULTI);
    q = query_ok(QV_JSON_QUERY, "{\"query\": {\"indices\": [1], \"values\": [2]}}");
    assert_int_equal(q.vec.kind, QV_VEC_SPARSE);
    q = query_ok(QV_JSON_QUERY, "{\"query\": {\"nearest\": {\"indices\": [1], \"values\": [2]}}}");
    assert_int_equal(q.vec.kind, QV_VEC_SPARSE);
    q = query_ok(QV_JSON_QUERY, "{\"query\": {\"nearest\": [1, 2, 3], \"mmr\": null}}");
    assert_int_equal(q.vec.dim, 3);
    q = query_ok(QV_JSON_QUERY, "{\"query\": 5}");
    assert_int_equal(q.kind, QV_QUERY_ID);
    assert_int_equal(q.id.lo, 5);
    q = query_ok(QV_JSON_QUERY, "{\"query\": \"550e8400e29b41d4a716446655440000\"}");
    assert_int_equal(q.id.type, QV_ID_UUID);
    q = query_ok(QV_JSON_QUERY, "{\"query\": {\"nearest\": 5}}");
    assert_int_equal(q.kind, QV_QUERY_ID);
}

static void test_query_options(void **state)
{
    (void)state;
    struct qv_query q = query_ok(
        QV_JSON_QUERY,
        "{\"query\": [1], \"using\": \"a\", \"limit\": 3, \"offset\": 2, \"score_threshold\": 1,"
        " \"filter\": {\"must\": {\"has_id\": [1]}}, \"with_payload\": [\"a\", \"b.c\"],"
        " \"with_vector\": [\"x\"], \"prefetch\": null, \"lookup_from\": null,"
        " \"params\": {\"hnsw_ef\": 128, \"exact\": true, \"indexed_only\": true,"
        " \"quantization\": {\"ignore\": true, \"rescore\": false, \"oversampling\": 2},"
        " \"acorn\": {\"enable\": false}, \"idf\": null,"
        " \"quiver\": {\"explain\": true, \"cache\": false, \"n_probe\": null,"
        " \"recall_target\": 0.9}}}");
    assert_true(q.recall_target.has && q.recall_target.v == 0.9 && q.explain);
    assert_true(str_is(q.using_, "a"));
    assert_int_equal(q.limit, 3);
    assert_int_equal(q.offset, 2);
    assert_true(q.has_threshold && q.threshold == 1.0f);
    assert_int_equal(q.filter->must_count, 1);
    assert_int_equal(q.with_payload.mode, QV_SELECT_INCLUDE);
    assert_int_equal(q.with_payload.path_count, 2);
    assert_int_equal(q.with_vector.mode, QV_SELECT_INCLUDE);
    assert_int_equal(q.hnsw_ef.v, 128);
    assert_true(q.exact && q.indexed_only);
    assert_true(q.quant_ignore.v && !q.quant_rescore.v && q.quant_rescore.has);
    assert_true(q.quant_oversampling.v == 2.0);
    q = query_ok(QV_JSON_QUERY, "{\"with_payload\": {\"exclude\": [\"a\"]}, \"with_vectors\": true,"
                                " \"score_threshold\": null, \"params\": null, \"filter\": null}");
    assert_int_equal(q.with_payload.mode, QV_SELECT_EXCLUDE);
    assert_int_equal(q.with_vector.mode, QV_SELECT_ALL);
    assert_false(q.has_threshold);
    assert_null(q.filter);
}

static void test_older_search(void **state)
{
    (void)state;
    struct qv_query_req req;
    struct qv_query q = query_ok(QV_JSON_SEARCH, "{\"vector\": [1, 2], \"limit\": 3}");
    assert_int_equal(q.kind, QV_QUERY_VECTOR);
    assert_int_equal(q.limit, 3);
    q = query_ok(QV_JSON_SEARCH, "{\"vector\": {\"name\": \"a\", \"vector\": [1]}, \"limit\": 1,"
                                 " \"with_payload\": true}");
    assert_true(str_is(q.using_, "a"));
    assert_int_equal(q.with_payload.mode, QV_SELECT_ALL);
    q = query_ok(QV_JSON_SEARCH, "{\"vector\": {\"name\": \"s\", \"vector\":"
                                 " {\"indices\": [1], \"values\": [1]}}, \"limit\": 1}");
    assert_int_equal(q.vec.kind, QV_VEC_SPARSE);
    const char *batch = "{\"searches\": [{\"vector\": [1], \"limit\": 1},"
                        " {\"vector\": [2], \"limit\": 2}]}";
    assert_int_equal(qv_json_read_query(QV_JSON_SEARCH_BATCH, body(batch), &arena, &req, &msg), 0);
    assert_int_equal(req.query_count, 2);
    assert_int_equal(req.queries[1].limit, 2);
    assert_int_equal(qv_json_read_query(QV_JSON_QUERY_BATCH, body("{\"searches\": [{}, {}, {}]}"),
                                        &arena, &req, &msg),
                     0);
    assert_int_equal(req.query_count, 3);
}

static void test_get_scroll_count(void **state)
{
    (void)state;
    struct qv_get_req get;
    struct qv_scroll_req scroll;
    struct qv_count_req count;
    assert_int_equal(qv_json_read_get(body("{\"ids\": [1, 2]}"), &arena, &get, &msg), 0);
    assert_int_equal(get.id_count, 2);
    assert_int_equal(get.with_payload.mode, QV_SELECT_ALL);
    assert_int_equal(get.with_vector.mode, QV_SELECT_NONE);
    assert_int_equal(qv_json_read_get(body("{\"ids\": [], \"with_payload\": false,"
                                           " \"with_vector\": true}"),
                                      &arena, &get, &msg),
                     0);
    assert_int_equal(get.with_payload.mode, QV_SELECT_NONE);
    assert_int_equal(get.with_vector.mode, QV_SELECT_ALL);
    assert_int_equal(qv_json_read_scroll(body("{}"), &arena, &scroll, &msg), 0);
    assert_int_equal(scroll.limit, 10);
    assert_false(scroll.has_offset);
    assert_int_equal(scroll.with_payload.mode, QV_SELECT_ALL);
    assert_int_equal(qv_json_read_scroll(body("{\"offset\": 9, \"limit\": 3, \"order_by\": null,"
                                              " \"filter\": {\"must_not\": [{\"has_id\": [3]}]}}"),
                                         &arena, &scroll, &msg),
                     0);
    assert_true(scroll.has_offset);
    assert_int_equal(scroll.offset.lo, 9);
    assert_int_equal(scroll.filter->must_not_count, 1);
    assert_int_equal(qv_json_read_count(body("{}"), &arena, &count, &msg), 0);
    assert_true(count.exact);
    assert_int_equal(
        qv_json_read_count(body("{\"exact\": false, \"filter\": null}"), &arena, &count, &msg), 0);
    assert_false(count.exact);
}

/* ---- what is refused ---- */

enum op { /* the first eight are qv_write_type */
          OP_BATCH = 8,
          OP_GET,
          OP_SCROLL,
          OP_COUNT,
          OP_QUERY,
          OP_QUERY_BATCH,
          OP_SEARCH,
          OP_SEARCH_BATCH,
          OP_CREATE,
          OP_INDEX,
          OP_FILTER,
          OP_COUNT_OF
};

static int read_any(enum op op, struct qv_bytes b)
{
    struct qv_write_op write;
    struct qv_write_req batch;
    struct qv_get_req get;
    struct qv_scroll_req scroll;
    struct qv_count_req count;
    struct qv_query_req query;
    struct qv_collection_config config;
    struct qv_payload_index index;
    const struct qv_filter *filter;
    switch (op) {
    case OP_BATCH:
        return qv_json_read_batch(b, &arena, &batch, &msg);
    case OP_GET:
        return qv_json_read_get(b, &arena, &get, &msg);
    case OP_SCROLL:
        return qv_json_read_scroll(b, &arena, &scroll, &msg);
    case OP_COUNT:
        return qv_json_read_count(b, &arena, &count, &msg);
    case OP_QUERY:
    case OP_QUERY_BATCH:
    case OP_SEARCH:
    case OP_SEARCH_BATCH:
        return qv_json_read_query((enum qv_json_query_form)(op - OP_QUERY), b, &arena, &query,
                                  &msg);
    case OP_CREATE:
        return qv_json_read_create_collection(b, &arena, &config, &msg);
    case OP_INDEX:
        return qv_json_read_field_index(b, &arena, &index, &msg);
    case OP_FILTER:
        return qv_json_read_filter(b, &arena, &filter, &msg);
    default:
        return qv_json_read_write((enum qv_write_type)op, b, &arena, &write, &msg);
    }
}

#define VEC "\"vectors\": {\"size\": 4, \"distance\": \"Dot\"}"
#define PLACED(text) ", \"quiver\": {\"placement\": {" text "}}}"

static const struct {
    int op;
    const char *text;
    int err;
    const char *want; /* how the message begins */
} refused[] = {
    /* form */
    {QV_WRITE_UPSERT, "", QV_EFORMAT, "EOF while parsing a value at line 1 column 0"},
    {QV_WRITE_UPSERT, "[]", QV_EFORMAT, "invalid type: sequence, expected a map"},
    {QV_WRITE_UPSERT, "{}", QV_EFORMAT, "missing field `points` at line 1 column 2"},
    {QV_WRITE_UPSERT, "{\"points\": {}}", QV_EFORMAT, "invalid type: map, expected a sequence"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"vector\": [1]}]}", QV_EFORMAT, "missing field `id`"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"id\": 1}]}", QV_EFORMAT, "missing field `vector`"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"id\": -1, \"vector\": [1]}]}", QV_EFORMAT,
     "value -1 is not a valid point ID, valid values are either an unsigned integer or a UUID"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"id\": 1.5, \"vector\": [1]}]}", QV_EFORMAT,
     "value 1.5 is not a valid point ID"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"id\": \"abc\", \"vector\": [1]}]}", QV_EFORMAT,
     "value \"abc\" is not a valid point ID"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"id\": null, \"vector\": [1]}]}", QV_EFORMAT,
     "value null is not a valid point ID"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"id\": 18446744073709551616, \"vector\": [1]}]}", QV_EFORMAT,
     "value 18446744073709551616 is not a valid point ID"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"id\": 1, \"vector\": [1, \"a\"]}]}", QV_EFORMAT,
     "invalid type: string \"a\", expected f32"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"id\": 1, \"vector\": [NaN]}]}", QV_EFORMAT,
     "expected value"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"id\": 1, \"vector\": [1e40]}]}", QV_EFORMAT,
     "number out of range"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"id\": 1, \"vector\": null}]}", QV_EFORMAT,
     "invalid type: null, expected a vector"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"id\": 1, \"vector\": {\"a\": 5}}]}", QV_EFORMAT,
     "invalid type: integer `5`, expected a vector"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"id\": 1, \"vector\": {\"a\": {\"indices\": [1]}}}]}",
     QV_EFORMAT, "missing field `values`"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"id\": 1, \"vector\": [1], \"payload\": [1]}]}", QV_EFORMAT,
     "invalid type: sequence, expected a map"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"id\": 1, \"vector\": {\"a\\u0000\": [1]}}]}", QV_EFORMAT,
     "a key must not hold NUL"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"id\": 1, \"vector\": [1], \"payload\": {\"\xFF\": 1}}]}",
     QV_EFORMAT, "invalid unicode code point"},
    {QV_WRITE_UPSERT, "{\"points\": []} x", QV_EFORMAT, "trailing characters"},
    {QV_WRITE_UPSERT, "{\"batch\": {\"vectors\": []}}", QV_EFORMAT, "missing field `ids`"},
    {QV_WRITE_UPSERT, "{\"batch\": {\"ids\": []}}", QV_EFORMAT, "missing field `vectors`"},
    {QV_WRITE_UPSERT, "{\"points\": [], \"update_mode\": \"mad\"}", QV_EFORMAT,
     "unknown variant `mad`, expected one of `upsert`, `insert_only`, `update_only`"},
    {QV_WRITE_DELETE, "{}", QV_EFORMAT, "data did not match any variant"},
    {QV_WRITE_DELETE, "{\"points\": 5}", QV_EFORMAT, "invalid type: integer `5`"},
    {QV_WRITE_DELETE, "{\"filter\": {\"mst\": []}}", QV_EFORMAT, "unknown field `mst`"},
    {QV_WRITE_DELETE_VECTORS, "{\"points\": [1]}", QV_EFORMAT, "missing field `vector`"},
    {QV_WRITE_DELETE_VECTORS, "{\"points\": [1], \"vector\": [\"a\\u0000\"]}", QV_EFORMAT,
     "a name must not hold NUL"},
    {QV_WRITE_SET_PAYLOAD, "{\"points\": [1]}", QV_EFORMAT, "missing field `payload`"},
    {QV_WRITE_SET_PAYLOAD, "{\"payload\": {}, \"points\": [1], \"key\": \"a[\"}", QV_EFORMAT,
     "Invalid json path: 'a['"},
    {QV_WRITE_SET_PAYLOAD, "{\"payload\": null, \"points\": [1]}", QV_EFORMAT,
     "invalid type: null, expected a map"},
    {QV_WRITE_DELETE_PAYLOAD, "{\"points\": [1]}", QV_EFORMAT, "missing field `keys`"},
    {QV_WRITE_DELETE_PAYLOAD, "{\"points\": [1], \"keys\": [\"a\\u0000b\"]}", QV_EFORMAT,
     "a key must not hold NUL"},
    {QV_WRITE_UPDATE_VECTORS, "{}", QV_EFORMAT, "missing field `points`"},
    {OP_BATCH, "{}", QV_EFORMAT, "missing field `operations`"},
    {OP_BATCH, "{\"operations\": [{\"upset\": {}}]}", QV_EFORMAT,
     "data did not match any variant of untagged enum UpdateOperation"},
    {OP_GET, "{}", QV_EFORMAT, "missing field `ids`"},
    {OP_GET, "{\"ids\": [1], \"with_payload\": 5}", QV_EFORMAT, "invalid type: integer `5`"},
    {OP_GET, "{\"ids\": [1], \"with_payload\": {}}", QV_EFORMAT, "data did not match any variant"},
    {OP_GET, "{\"ids\": [1], \"with_vector\": {}}", QV_EFORMAT, "invalid type: map"},
    {OP_SCROLL, "{\"offset\":\",9lr{i\"", QV_EFORMAT, ""}, /* found by the fuzzer */
    {OP_SCROLL, "{\"offset\": [1", QV_EFORMAT, "EOF while parsing a list"},
    {OP_FILTER, "{}\xDA", QV_EFORMAT, "trailing characters"},
    {OP_SCROLL, "{\"limit\": \"a\"}", QV_EFORMAT, "invalid type: string \"a\", expected u64"},
    {OP_SCROLL, "{\"limit\": -1}", QV_EFORMAT, "invalid value: integer `-1`, expected u64"},
    {OP_COUNT, "{\"exact\": 1}", QV_EFORMAT, "invalid type: integer `1`, expected a boolean"},
    {OP_QUERY, "{\"query\": true}", QV_EFORMAT, "invalid type: boolean `true`"},
    {OP_QUERY, "{\"query\": {}}", QV_EFORMAT, "data did not match any variant"},
    {OP_QUERY, "{\"query\": \"not-a-uuid\"}", QV_EFORMAT, "value \"not-a-uuid\" is not a valid"},
    {OP_QUERY_BATCH, "{}", QV_EFORMAT, "missing field `searches`"},
    {OP_SEARCH, "{\"limit\": 1}", QV_EFORMAT, "missing field `vector`"},
    {OP_SEARCH, "{\"vector\": [1]}", QV_EFORMAT, "missing field `limit`"},
    {OP_SEARCH, "{\"vector\": {\"vector\": [1]}, \"limit\": 1}", QV_EFORMAT,
     "missing field `name`"},
    {OP_CREATE, "{\"vectors\": {\"size\": 4}}", QV_EFORMAT, "missing field `distance`"},
    {OP_CREATE, "{\"vectors\": {\"distance\": \"Dot\"}}", QV_EFORMAT, "missing field `size`"},
    {OP_CREATE, "{\"vectors\": {\"size\": 4, \"distance\": \"Foo\"}}", QV_EFORMAT,
     "unknown variant `Foo`, expected one of `Cosine`, `Euclid`, `Dot`, `Manhattan`"},
    {OP_CREATE, "{\"vectors\": {\"a\": 5}}", QV_EFORMAT, "invalid type: integer `5`"},
    {OP_CREATE, "{\"vectors\": [1]}", QV_EFORMAT, "invalid type: sequence"},
    {OP_CREATE, "{" VEC ", \"quantization_config\": {}}", QV_EFORMAT,
     "data did not match any variant of untagged enum QuantizationConfig"},
    {OP_CREATE, "{" VEC ", \"quantization_config\": {\"scalar\": {}}}", QV_EFORMAT,
     "missing field `type`"},
    {OP_CREATE, "{" VEC ", \"hnsw_config\": {\"m\": \"a\"}}", QV_EFORMAT, "invalid type: string"},
    {OP_CREATE, "{" VEC ", \"metadata\": 5}", QV_EFORMAT, "invalid type: integer `5`"},
    {OP_INDEX, "{\"field_schema\": \"keyword\"}", QV_EFORMAT, "missing field `field_name`"},
    {OP_INDEX, "{\"field_name\": \"a\", \"field_schema\": \"kw\"}", QV_EFORMAT,
     "unknown variant `kw`"},
    {OP_INDEX, "{\"field_name\": \"a\", \"field_schema\": {\"on_disk\": true}}", QV_EFORMAT,
     "missing field `type`"},
    {OP_INDEX, "{\"field_name\": \"a..b\", \"field_schema\": \"keyword\"}", QV_EFORMAT,
     "Invalid json path"},
    /* bounds */
    {QV_WRITE_UPSERT, "{\"batch\": {\"ids\": [1, 2], \"vectors\": [[1]]}}", QV_EVALIDATION,
     "batch: number of ids and vectors must be equal (2 != 1)"},
    {QV_WRITE_UPSERT, "{\"batch\": {\"ids\": [1], \"vectors\": [[1]], \"payloads\": []}}",
     QV_EVALIDATION, "batch: number of ids and payloads must be equal (1 != 0)"},
    {QV_WRITE_UPSERT, "{\"batch\": {\"ids\": [1], \"vectors\": {\"a\": [[1]], \"b\": []}}}",
     QV_EVALIDATION, "batch: number of vectors must be equal"},
    {QV_WRITE_UPSERT,
     "{\"points\": [{\"id\": 1, \"vector\": {\"s\": {\"indices\": [1, 1],"
     " \"values\": [1, 2]}}}]}",
     QV_EVALIDATION, "indices: must be unique"},
    {QV_WRITE_UPSERT,
     "{\"points\": [{\"id\": 1, \"vector\": {\"s\": {\"indices\": [1],"
     " \"values\": [1, 2]}}}]}",
     QV_EVALIDATION, "values: must be the same length as indices"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"id\": 1, \"vector\": [[1, 2], [3]]}]}", QV_EVALIDATION,
     "vector: all vectors must have the same dimension, found vector with dimension 1"},
    {QV_WRITE_UPSERT, "{\"points\": [{\"id\": 1, \"vector\": [[]]}]}", QV_EVALIDATION,
     "vector: all vectors must be non-empty"},
    {QV_WRITE_UPDATE_VECTORS, "{\"points\": []}", QV_EVALIDATION, "points: Length of list"},
    {QV_WRITE_DELETE_VECTORS, "{\"points\": [1], \"vector\": []}", QV_EVALIDATION, "vector: "},
    {OP_QUERY, "{\"limit\": 0}", QV_EVALIDATION, "limit: value 0 invalid, must be 1 or larger"},
    {OP_QUERY, "{\"limit\": 100001}", QV_EVALIDATION, "limit: value 100001 invalid"},
    {OP_QUERY, "{\"limit\": 10, \"offset\": 18446744073709551615}", QV_EVALIDATION, "limit: "},
    {OP_SCROLL, "{\"limit\": 0}", QV_EVALIDATION, "limit: value 0 invalid"},
    {OP_SEARCH, "{\"vector\": [1], \"limit\": 0}", QV_EVALIDATION, "limit: value 0 invalid"},
    {OP_QUERY, "{\"params\": {\"hnsw_ef\": 1000000}}", QV_EVALIDATION,
     "params.hnsw_ef: value 1000000 invalid, must be 65536 or smaller"},
    {OP_QUERY, "{\"params\": {\"quantization\": {\"oversampling\": 0.5}}}", QV_EVALIDATION,
     "params.quantization.oversampling: value 0.5 invalid"},
    {OP_CREATE, "{\"vectors\": {\"size\": 0, \"distance\": \"Dot\"}}", QV_EVALIDATION, ""},
    {OP_CREATE, "{\"vectors\": {\"size\": 70000, \"distance\": \"Dot\"}}", QV_EVALIDATION, ""},
    {OP_CREATE, "{" VEC ", \"shard_number\": 0}", QV_EVALIDATION,
     "shard_number: value 0 invalid, must be 1 or larger"},
    {OP_CREATE, "{" VEC ", \"sparse_vectors\": {\"\": {}}}", QV_EVALIDATION, ""},
    {OP_CREATE,
     "{\"vectors\": {\"a\": {\"size\": 1, \"distance\": \"Dot\"}},"
     " \"sparse_vectors\": {\"a\": {}}}",
     QV_EVALIDATION, ""},
    {OP_CREATE, "{" VEC ", \"hnsw_config\": {\"m\": 100000}}", QV_EVALIDATION, ""},
    {OP_CREATE, "{" VEC ", \"optimizers_config\": {\"deleted_threshold\": 2}}", QV_EVALIDATION,
     "optimizers_config.deleted_threshold"},
    {OP_CREATE, "{" VEC ", \"wal_config\": {\"wal_capacity_mb\": 0}}", QV_EVALIDATION,
     "wal_config.wal_capacity_mb"},
    {OP_CREATE,
     "{" VEC ", \"quantization_config\": {\"scalar\": {\"type\": \"int8\", \"quantile\": 2}}}",
     QV_EVALIDATION, "quantization_config.scalar.quantile"},
    /* meaning */
    {QV_WRITE_SET_PAYLOAD, "{\"payload\": {}}", QV_EBADREQ, "No filter or points provided"},
    {QV_WRITE_DELETE_PAYLOAD, "{\"keys\": []}", QV_EBADREQ, "No filter or points provided"},
    {OP_INDEX, "{\"field_name\": \"a\"}", QV_EBADREQ, "field_schema must be given"},
    /* not served */
    {QV_WRITE_UPSERT, "{\"points\": [], \"shard_key\": \"a\"}", QV_ENOTIMPL,
     "Not implemented: shard_key"},
    {QV_WRITE_UPSERT,
     "{\"points\": [{\"id\": 1, \"vector\": {\"text\": \"a\", \"model\": \"m\"}}]}", QV_ENOTIMPL,
     "Not implemented: document"},
    {QV_WRITE_UPSERT,
     "{\"points\": [{\"id\": 1, \"vector\": {\"model\": \"m\", \"image\": \"x\"}}]}", QV_ENOTIMPL,
     "Not implemented: image"},
    {QV_WRITE_UPSERT,
     "{\"points\": [{\"id\": 1, \"vector\": {\"a\": {\"object\": {}, \"model\": \"m\"}}}]}",
     QV_ENOTIMPL, "Not implemented: object"},
    {QV_WRITE_DELETE, "{\"points\": [1], \"shard_key\": 5}", QV_ENOTIMPL,
     "Not implemented: shard_key"},
    {QV_WRITE_UPDATE_VECTORS, "{\"points\": [], \"update_filter\": {\"must\": 5}}", QV_EFORMAT,
     "invalid type: integer `5`"},
    {OP_SCROLL, "{\"order_by\": \"a[\"}", QV_EFORMAT, "Invalid json path"},
    {OP_SCROLL, "{\"order_by\": {}}", QV_EFORMAT, "missing field `key`"},
    {OP_SCROLL, "{\"order_by\": 7}", QV_EFORMAT, "invalid type: integer `7`"},
    {OP_SCROLL, "{\"order_by\": {\"key\": \"a\", \"direction\": \"up\"}}", QV_EFORMAT,
     "unknown variant `up`, expected one of `asc`, `desc`"},
    {OP_SCROLL, "{\"order_by\": {\"key\": \"a\", \"start_from\": []}}", QV_EFORMAT,
     "data did not match any variant of untagged enum StartFrom"},
    {OP_GET, "{\"ids\": [], \"shard_key\": [\"a\"]}", QV_ENOTIMPL, "Not implemented: shard_key"},
    {OP_COUNT, "{\"shard_key\": [\"a\"]}", QV_ENOTIMPL, "Not implemented: shard_key"},
    {OP_QUERY, "{\"prefetch\": [{}]}", QV_ENOTIMPL, "Not implemented: prefetch"},
    {OP_QUERY, "{\"prefetch\": {}}", QV_ENOTIMPL, "Not implemented: prefetch"},
    {OP_QUERY, "{\"prefetch\": [", QV_EFORMAT, "EOF while parsing a list"},
    {OP_QUERY, "{\"lookup_from\": {\"collection\": \"a\"}}", QV_ENOTIMPL,
     "Not implemented: lookup_from"},
    {OP_QUERY, "{\"query\": {\"recommend\": {}}}", QV_ENOTIMPL, "Not implemented: recommend"},
    {OP_QUERY, "{\"query\": {\"fusion\": \"rrf\"}}", QV_ENOTIMPL, "Not implemented: fusion"},
    {OP_QUERY, "{\"query\": {\"nearest\": [1], \"mmr\": {}}}", QV_ENOTIMPL, "Not implemented: mmr"},
    {OP_QUERY, "{\"query\": {\"text\": \"a\", \"model\": \"b\"}}", QV_ENOTIMPL,
     "Not implemented: document"},
    {OP_QUERY, "{\"query\": {\"nearest\": {\"text\": \"a\", \"model\": \"b\"}}}", QV_ENOTIMPL,
     "Not implemented: document"},
    {OP_QUERY, "{\"params\": {\"acorn\": {\"enable\": true}}}", QV_ENOTIMPL,
     "Not implemented: params.acorn"},
    {OP_QUERY, "{\"params\": {\"idf\": \"global\"}}", QV_ENOTIMPL, "Not implemented: params.idf"},
    {OP_QUERY, "{\"params\": {\"quiver\": {\"n_probe\": 0}}}", QV_EVALIDATION,
     "params.quiver.n_probe: value 0 invalid, must be 1 or larger"},
    {OP_QUERY, "{\"params\": {\"quiver\": {\"recall_target\": 0}}}", QV_EVALIDATION,
     "params.quiver.recall_target: value 0 invalid"},
    {OP_QUERY, "{\"params\": {\"quiver\": {\"recall_target\": 1.01}}}", QV_EVALIDATION,
     "params.quiver.recall_target: value 1.01 invalid"},
    {OP_CREATE, "{" VEC ", \"quantization_config\": {\"product\": {\"compression\": \"x4\"}}}",
     QV_ENOTIMPL, "Not implemented: quantization_config.product"},
    {OP_CREATE, "{" VEC ", \"quantization_config\": {\"turbo\": {}}}", QV_ENOTIMPL,
     "Not implemented: quantization_config.turbo"},
    {OP_CREATE, "{\"vectors\": {\"size\": 4, \"distance\": \"Dot\", \"datatype\": \"turbo4\"}}",
     QV_ENOTIMPL, "Not implemented: datatype turbo4"},
    {OP_CREATE, "{\"vectors\": {\"size\": 4, \"distance\": \"Dot\", \"memory\": \"cold\"}}",
     QV_ENOTIMPL, "Not implemented: memory"},
    {OP_CREATE, "{" VEC ", \"payload\": {\"memory\": \"cold\"}}", QV_ENOTIMPL,
     "Not implemented: memory"},
    {OP_CREATE, "{" VEC ", \"sharding_method\": \"custom\"}", QV_ENOTIMPL,
     "Not implemented: sharding_method custom"},
    {OP_CREATE, "{" VEC ", \"init_from\": {\"collection\": \"a\"}}", QV_ENOTIMPL,
     "Not implemented: init_from"},
    {OP_CREATE, "{" VEC ", \"optimizers_config\": {\"prevent_unoptimized\": true}}", QV_ENOTIMPL,
     "Not implemented: optimizers_config.prevent_unoptimized"},
    {OP_CREATE, "{" VEC PLACED("\"strategy\": \"cluster\""), QV_ENOTIMPL,
     "Not implemented: quiver.placement.strategy cluster"},
    {OP_CREATE, "{" VEC PLACED("\"centroids\": {}"), QV_ENOTIMPL,
     "Not implemented: quiver.placement.strategy cluster"},
    {OP_CREATE, "{" VEC PLACED("\"strategy\": \"ring\""), QV_EINVAL,
     "placement: unknown strategy 'ring'; there are hash, consistent_hash, range and cluster"},
    {OP_CREATE, "{" VEC PLACED("\"strategy\": \"hash\", \"virtual_nodes\": 5"), QV_EINVAL,
     "placement: hash has no virtual_nodes"},
    {OP_CREATE, "{" VEC PLACED("\"virtual_nodes\": 0, \"strategy\": \"consistent_hash\""),
     QV_EINVAL, "placement: 0 virtual nodes, not 1 to 10000"},
    {OP_CREATE, "{" VEC PLACED("\"virtual_nodes\": 4294967396, \"strategy\": \"consistent_hash\""),
     QV_EINVAL, "placement: 4294967396 virtual nodes, not 1 to 10000"},
    {OP_CREATE, "{" VEC PLACED("\"ranges\": [{\"shard\": 0}]"), QV_EINVAL,
     "placement: hash has no ranges"},
    {OP_CREATE, "{" VEC PLACED("\"strategy\": \"range\", \"ranges\": [{\"from\": 1}]"), QV_EFORMAT,
     "missing field `shard` at line 1 column 112"},
    {OP_CREATE,
     "{" VEC PLACED("\"strategy\": \"range\", \"ranges\": [{\"from\": -1, \"shard\": 0}]"),
     QV_EFORMAT, "value -1 is not a valid point ID"},
    {OP_CREATE, "{" VEC PLACED("\"n\": 1"), QV_EINVAL,
     "placement: unknown field 'n'; there are strategy, virtual_nodes and ranges"},
    {OP_CREATE, "{" VEC ", \"quiver\": {\"replication\": {\"mode\": \"quorum\"}}}", QV_ENOTIMPL,
     "Not implemented: quiver.replication"},
    {OP_CREATE, "{" VEC ", \"quiver\": {\"regions\": [\"a\"]}}", QV_ENOTIMPL,
     "Not implemented: quiver.regions"},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        /* a copy of exactly its size: nothing may be read behind it */
        size_t n = strlen(refused[i].text);
        uint8_t *text = malloc(n == 0 ? 1 : n);
        memcpy(text, refused[i].text, n);
        int err = read_any((enum op)refused[i].op, (struct qv_bytes){text, n});
        free(text);
        if (err != refused[i].err ||
            strncmp(msg.text, refused[i].want, strlen(refused[i].want)) != 0)
            fail_msg("%s: %d %s, want %d %s", refused[i].text, err, msg.text, refused[i].err,
                     refused[i].want);
    }
}

/* Each body cut short at every byte, and with each byte changed, is refused or read: never more. */
static void test_mutations_are_harmless(void **state)
{
    (void)state;
    struct qv_rng rng;
    qv_rng_init(&rng, 5);
    printf("seed 5\n");
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        size_t n = strlen(refused[i].text);
        uint8_t *text = malloc(n == 0 ? 1 : n);
        for (int round = 0; round < 60; round++) {
            memcpy(text, refused[i].text, n);
            size_t keep = (size_t)qv_rng_below(&rng, n + 1);
            if (round % 2 == 0 && keep > 0) {
                static const char bytes[] = "{}[]\",:0123456789.eE-\\unfalsetrue\x00\xFF";
                text[qv_rng_below(&rng, keep)] =
                    (uint8_t)bytes[qv_rng_below(&rng, sizeof bytes - 1)];
                keep = n;
            }
            qv_arena_reset(&arena);
            int err = read_any(
                (enum op)(round < 40 ? (uint64_t)refused[i].op : qv_rng_below(&rng, OP_COUNT_OF)),
                (struct qv_bytes){text, keep});
            assert_true(err == 0 || err == QV_EFORMAT || err == QV_EVALIDATION ||
                        err == QV_EINVAL || err == QV_EBADREQ || err == QV_ENOTIMPL ||
                        err == QV_ETOOBIG);
        }
        free(text);
    }
}

static void test_counts_are_limited(void **state)
{
    (void)state;
    struct qv_buf b;
    struct qv_write_op op;
    qv_buf_init(&b, 0);
    qv_buf_str(&b, "{\"points\":[0");
    for (uint32_t i = 0; i < QV_BATCH_POINTS_MAX; i++)
        qv_buf_str(&b, ",0");
    qv_buf_str(&b, "]}");
    assert_int_equal(
        qv_json_read_write(QV_WRITE_DELETE, (struct qv_bytes){b.data, b.len}, &arena, &op, &msg),
        QV_ETOOBIG);
    qv_buf_clear(&b);
    qv_buf_str(&b, "{\"points\":[{\"id\":1,\"vector\":[0");
    for (uint32_t i = 0; i < QV_DIM_MAX; i++)
        qv_buf_str(&b, ",0");
    qv_buf_str(&b, "]}]}");
    assert_int_equal(
        qv_json_read_write(QV_WRITE_UPSERT, (struct qv_bytes){b.data, b.len}, &arena, &op, &msg),
        QV_EFORMAT);
    assert_non_null(strstr(msg.text, "an array of more than 65536 numbers"));
    qv_buf_close(&b);
}

/* Random upserts, written and read again: every bit of every vector comes back. */
static void test_random_upserts(void **state)
{
    (void)state;
    struct qv_rng rng;
    struct qv_buf b;
    static float values[64 * 128];
    qv_rng_init(&rng, 6);
    printf("seed 6\n");
    qv_buf_init(&b, 0);
    for (int round = 0; round < 200; round++) {
        uint32_t points = 1 + (uint32_t)qv_rng_below(&rng, 64);
        uint32_t dim = 1 + (uint32_t)qv_rng_below(&rng, 128);
        bool columns = qv_rng_below(&rng, 2) == 0;
        struct qv_write_op op;
        for (uint32_t i = 0; i < points * dim; i++)
            values[i] = qv_rng_gauss(&rng);
        qv_buf_clear(&b);
        qv_buf_str(&b, columns ? "{\"batch\":{\"ids\":[" : "{\"points\":[");
        for (uint32_t i = 0; i < points; i++) {
            qv_buf_printf(&b, columns ? "%s%u" : "%s{\"id\":%u,\"vector\":", i == 0 ? "" : ",", i);
            if (!columns) {
                qv_json_write_floats(&b, values + i * dim, dim);
                qv_buf_str(&b, "}");
            }
        }
        qv_buf_str(&b, columns ? "],\"vectors\":[" : "]}");
        for (uint32_t i = 0; columns && i < points; i++) {
            qv_buf_str(&b, i == 0 ? "" : ",");
            qv_json_write_floats(&b, values + i * dim, dim);
        }
        qv_buf_str(&b, columns ? "]}}" : "");
        qv_arena_reset(&arena);
        assert_int_equal(qv_json_read_write(QV_WRITE_UPSERT, (struct qv_bytes){b.data, b.len},
                                            &arena, &op, &msg),
                         0);
        assert_int_equal(op.point_count, points);
        for (uint32_t i = 0; i < points; i++) {
            assert_int_equal(op.points[i].id.lo, i);
            assert_int_equal(op.points[i].vecs[0].vec.dim, dim);
            assert_memory_equal(op.points[i].vecs[0].vec.values, values + i * dim,
                                dim * sizeof(float));
        }
    }
    qv_buf_close(&b);
}

static void test_params(void **state)
{
    (void)state;
    struct qv_json_params p;
    const char *q = "wait=true&ordering=strong&timeout=5&consistency=majority&x=%zz";
    assert_int_equal(qv_json_read_params(q, strlen(q), &p, &msg), 0);
    assert_true(p.wait);
    assert_int_equal(p.ordering, QV_ORDERING_STRONG);
    assert_int_equal(p.timeout_ms, 5000);
    assert_int_equal(p.read.timeout_ms, 5000);
    assert_true(p.read.consistency_factor == QV_CONSISTENCY_MAJORITY);
    assert_int_equal(qv_json_read_params("", 0, &p, &msg), 0);
    assert_false(p.wait);
    assert_int_equal(qv_json_read_params("%77ait=%74rue&consistency=2&&=", 30, &p, &msg), 0);
    assert_true(p.wait);
    assert_int_equal(p.read.consistency_factor, 2);
    static const struct {
        const char *query;
        int err;
    } bad[] = {
        {"wait=1", QV_EBADREQ},
        {"wait", QV_EBADREQ},
        {"ordering=odd", QV_EBADREQ},
        {"timeout=", QV_EBADREQ},
        {"timeout=-1", QV_EBADREQ},
        {"timeout=0", QV_EVALIDATION},
        {"timeout=99999999999999999999", QV_EBADREQ},
        {"consistency=0", QV_EBADREQ},
        {"consistency=most", QV_EBADREQ},
        {"wait=%", QV_EBADREQ},
        {"wait=true%00x", QV_EBADREQ},
        {"ordering=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         QV_EBADREQ},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(qv_json_read_params(bad[i].query, strlen(bad[i].query), &p, &msg),
                         bad[i].err);
}

static void test_path_ids(void **state)
{
    (void)state;
    struct qv_id id;
    assert_int_equal(qv_json_read_path_id("18446744073709551615", 20, &id, &msg), 0);
    assert_true(id.type == QV_ID_NUM && id.lo == UINT64_MAX);
    assert_int_equal(qv_json_read_path_id("550e8400-e29b-41d4-a716-446655440000", 36, &id, &msg),
                     0);
    assert_int_equal(id.type, QV_ID_UUID);
    static const char *const bad[] = {"", "-1", "abc", "18446744073709551616", "1 "};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(qv_json_read_path_id(bad[i], strlen(bad[i]), &id, &msg), QV_EINVAL);
    assert_string_equal(msg.text, "Can not recognize \"1 \" as point id");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_upsert_list),
        T(test_upsert_columns),
        T(test_conditions),
        T(test_same_name_twice_keeps_the_last),
        T(test_selected_changes),
        T(test_batch),
        T(test_query_forms),
        T(test_query_options),
        T(test_older_search),
        T(test_get_scroll_count),
        T(test_refused),
        T(test_mutations_are_harmless),
        T(test_counts_are_limited),
        T(test_random_upserts),
        T(test_params),
        T(test_path_ids),
    };
    return RUN_SUITE(tests);
}
