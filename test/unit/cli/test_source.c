/* What an import reads: points from vectors and from JSON lines, as the server's own decoder sees
 * them. */
#include "suite.h"

#include "cli/source.h"
#include "wire/json_doc.h"
#include "wire/pb_out.h"
#include "wire/pb_request.h"

#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/tmp/source-XXXXXX";

static const char *put_text(const char *name, const char *text, size_t n)
{
    static char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return path;
}

/* Reads everything into one upsert and decodes it. */
static void decode(struct qv_source *s, struct qv_arena *arena, struct qv_buf *body,
                   struct qv_pb_request *out)
{
    struct qv_errmsg msg = {""};
    int err;
    qv_buf_init(body, 0);
    qv_pb_put_str(body, 1, qv_str_of("c"));
    do {
        err = qv_source_put(s, body, &msg);
    } while (err == 0);
    if (err != QV_EEOF)
        fail_msg("%s", msg.text);
    qv_arena_init(arena, (size_t)64 << 20);
    err = qv_pb_request_decode(QV_PB_UPSERT, (struct qv_bytes){body->data, body->len}, arena, out,
                               &msg);
    if (err != 0)
        fail_msg("%s", msg.text);
}

static void check_doc(struct qv_doc got, const char *json)
{
    struct qv_arena arena;
    struct qv_doc want;
    struct qv_errmsg msg;
    qv_arena_init(&arena, 65536);
    struct qv_bytes text = {(const uint8_t *)json, strlen(json)};
    assert_int_equal(qv_json_read_doc(text, &arena, &want, &msg), 0);
    assert_non_null(got.p);
    assert_true(qv_doc_equal(got, want));
    qv_arena_close(&arena);
}

static void test_json_lines(void **state)
{
    static const char lines[] =
        "{\"id\": 7, \"vector\": {\"a\": [1, 2.5], \"s\": {\"indices\": [9, 3], \"values\": [1, "
        "2]},"
        " \"m\": [[1, 2], [3, 4]]}, \"payload\": {\"t\": [1, null, {\"x\": 2.5}], \"u\": "
        "\"\\u00e9\"}}\n"
        " \r\n"
        "{\"vectors\": [0.25]}\r\n"
        "{\"payload\": null, \"vector\": [1], \"id\": \"550E8400-E29B-41D4-A716-446655440000\"}";
    struct qv_source s;
    struct qv_errmsg msg;
    struct qv_arena arena;
    struct qv_buf body;
    struct qv_pb_request r;
    (void)state;
    struct qv_source_config c = {.path = put_text("a.jsonl", lines, sizeof lines - 1),
                                 .start_id = 100};
    assert_int_equal(qv_source_open(&c, &s, &msg), 0);
    assert_int_equal(s.total, 3);
    decode(&s, &arena, &body, &r);
    const struct qv_write_op *op = &r.u.write.ops[0];
    assert_int_equal(op->point_count, 3);
    const struct qv_point_in *p = op->points;
    assert_int_equal(p[0].id.lo, 7);
    assert_int_equal(p[0].vec_count, 3);
    check_doc(p[0].payload, "{\"t\":[1,null,{\"x\":2.5}],\"u\":\"\xc3\xa9\"}");
    for (uint32_t i = 0; i < 3; i++) {
        const struct qv_named_vec *v = &p[0].vecs[i];
        if (v->name.p[0] == 'a') {
            assert_int_equal(v->vec.kind, QV_VEC_DENSE);
            assert_true(v->vec.dim == 2 && v->vec.values[1] == 2.5f);
        } else if (v->name.p[0] == 's') {
            assert_int_equal(v->vec.kind, QV_VEC_SPARSE);
            assert_true(v->vec.dim == 2 && v->vec.indices[0] == 3 && v->vec.values[0] == 2.0f);
        } else {
            assert_int_equal(v->vec.kind, QV_VEC_MULTI);
            assert_true(v->vec.rows == 2 && v->vec.dim == 2 && v->vec.values[3] == 4.0f);
        }
    }
    assert_true(p[1].id.type == QV_ID_NUM && p[1].id.lo == 101); /* second point: start + 1 */
    assert_true(p[1].vecs[0].name.n == 0 && p[1].vecs[0].vec.values[0] == 0.25f);
    assert_true(p[2].id.type == QV_ID_UUID && p[2].id.hi == 0x550e8400e29b41d4u);
    assert_null(p[2].payload.p);
    qv_buf_close(&body);
    qv_arena_close(&arena);
    qv_source_close(&s);
}

static void test_schema(void **state)
{
    static const char lines[] = "{\"vector\": {\"a\": [1, 2], \"s\": {\"indices\": [], \"values\": "
                                "[]}, \"m\": [[1]]}}\n";
    struct qv_source s;
    struct qv_errmsg msg;
    struct qv_buf b;
    (void)state;
    struct qv_source_config c = {.path = put_text("a.jsonl", lines, sizeof lines - 1)};
    assert_int_equal(qv_source_open(&c, &s, &msg), 0);
    qv_buf_init(&b, 0);
    assert_int_equal(qv_source_put_schema(&s, "Dot", NULL, &b, &msg), 0);
    qv_buf_u8(&b, 0);
    assert_string_equal(
        (char *)b.data,
        "\"vectors\":{\"a\":{\"size\":2,\"distance\":\"Dot\"},\"m\":{\"size\":1,\"distance\":"
        "\"Dot\","
        "\"multivector_config\":{\"comparator\":\"max_sim\"}}},\"sparse_vectors\":{\"s\":{}}");
    assert_int_equal(s.next, 0);
    qv_buf_clear(&b);
    assert_int_equal(qv_source_put(&s, &b, &msg), 0); /* the first is still there */
    assert_int_equal(qv_source_put(&s, &b, &msg), QV_EEOF);
    qv_buf_close(&b);
    qv_source_close(&s);
}

static void test_vectors_payload(void **state)
{
    static const char vectors[] = "\3\0\0\0\2\0\0\0\1\2\3\4\5\6";
    static const char payload[] = "{\"a\":1}\n\n{\"a\":2}\n{}\n";
    struct qv_source s;
    struct qv_errmsg msg;
    struct qv_arena arena;
    struct qv_buf body;
    struct qv_pb_request r;
    char path[256];
    (void)state;
    (void)snprintf(path, sizeof path, "%s", put_text("v.u8bin", vectors, sizeof vectors - 1));
    struct qv_source_config c = {
        .path = path, .payload = put_text("p.jsonl", payload, sizeof payload - 1), .start_id = 5};
    for (uint32_t skip = 0; skip <= 3; skip++) { /* a resumed import sends the rest, the same way */
        assert_int_equal(qv_source_open(&c, &s, &msg), 0);
        qv_source_skip(&s, skip);
        decode(&s, &arena, &body, &r);
        const struct qv_write_op *op = &r.u.write.ops[0];
        assert_int_equal(op->point_count, 3 - skip);
        for (uint32_t i = 0; i < op->point_count; i++) {
            assert_int_equal(op->points[i].id.lo, 5 + skip + i);
            assert_true(op->points[i].vecs[0].vec.values[1] == (float)(2 * (skip + i) + 2));
        }
        if (skip <= 1)
            check_doc(op->points[1 - skip].payload, "{\"a\":2}");
        qv_buf_close(&body);
        qv_arena_close(&arena);
        qv_source_close(&s);
    }
    c.limit = 2;
    assert_int_equal(qv_source_open(&c, &s, &msg), 0);
    assert_int_equal(s.total, 2);
    qv_source_close(&s);
}

static void test_malformed(void **state)
{
    static const struct {
        const char *lines;
        const char *says;
    } rows[] = {
        {"{\"id\":1}", "line 1: no key \"vector\""},
        {"\n\n{\"id\":1,\"vector\":[1,2,NaN]}", "line 3: expected value at column 23"},
        {"{\"id\":-1,\"vector\":[1]}", "line 1: "},
        {"{\"id\":\"x\",\"vector\":[1]}", "line 1: "},
        {"{\"id\":1,\"vector\":[1]}]", "line 1: trailing characters"},
        {"[1]", "line 1: "},
        {"{\"id\":1,\"vector\":[1],\"paylaod\":{}}", "key \"paylaod\" is not allowed"},
        {"{\"id\":1,\"vector\":[1],\"payload\":[]}", "line 1: "},
        {"{\"id\":1,\"vector\":[1e39]}", "line 1: "},
        {"{\"id\":1,\"vector\":[]}", NULL}, /* the server's to refuse */
    };
    struct qv_source s;
    struct qv_errmsg msg;
    struct qv_buf b;
    (void)state;
    qv_buf_init(&b, 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct qv_source_config c = {.path =
                                         put_text("b.jsonl", rows[i].lines, strlen(rows[i].lines))};
        assert_int_equal(qv_source_open(&c, &s, &msg), 0);
        int err = qv_source_put(&s, &b, &msg);
        if (rows[i].says != NULL &&
            (err != QV_EINVAL || strstr(msg.text, rows[i].says) == NULL || s.next != 0))
            fail_msg("row %zu: %d '%s', not '%s'", i, err, msg.text, rows[i].says);
        qv_source_close(&s);
    }
    struct qv_source_config c = {.path = put_text("c.jsonl", "\n \n", 3)};
    assert_int_equal(qv_source_open(&c, &s, &msg), QV_EINVAL);
    c = (struct qv_source_config){.path = put_text("c.ibin", "\1\0\0\0\1\0\0\0abcd", 12)};
    assert_int_equal(qv_source_open(&c, &s, &msg), QV_EINVAL);
    assert_non_null(strstr(msg.text, "allowed: f32, f16, u8"));
    c = (struct qv_source_config){.path = put_text("c.u8bin", "\2\0\0\0\1\0\0\0ab", 10),
                                  .start_id = UINT64_MAX - 1};
    assert_int_equal(qv_source_open(&c, &s, &msg), QV_EINVAL);
    assert_non_null(strstr(msg.text, "overflow"));
    c.start_id = 0;
    char payload[300];
    char path[256];
    (void)snprintf(path, sizeof path, "%s", c.path);
    (void)snprintf(payload, sizeof payload, "%s", put_text("d.jsonl", "{}\n", 3));
    c.path = path;
    c.payload = payload;
    assert_int_equal(qv_source_open(&c, &s, &msg), QV_EINVAL);
    assert_non_null(strstr(msg.text, "1 lines; 2 are needed"));
    qv_buf_close(&b);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"a.jsonl", "b.jsonl", "c.jsonl", "c.ibin",
                                        "c.u8bin", "d.jsonl", "v.u8bin", "p.jsonl"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[256];
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_lines),
        cmocka_unit_test(test_schema),
        cmocka_unit_test(test_vectors_payload),
        cmocka_unit_test(test_malformed),
    };
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    return suite_close((int)(sizeof tests / sizeof tests[0]), failed);
}
