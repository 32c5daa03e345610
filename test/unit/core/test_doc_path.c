#include "suite.h"

#include "doc_gen.h"

#include <stdio.h>
#include <stdlib.h>

static struct qv_path parse(struct qv_arena *a, const char *text)
{
    struct qv_path path;
    struct qv_errmsg msg;
    if (qv_path_parse(a, qv_str_of(text), &path, &msg) != 0)
        fail_msg("%s: %s", text, msg.text);
    return path;
}

static void test_parse(void **state)
{
    (void)state;
    struct qv_arena a;
    qv_arena_init(&a, 1 << 20);
    struct qv_path p = parse(&a, "foo[1][50].bar-baz[].\"qux[.]qu ux\".größe_9");
    assert_int_equal(p.count, 7);
    assert_true(qv_str_equal(p.steps[0].key, qv_str_of("foo")));
    assert_true(p.steps[1].kind == QV_STEP_INDEX && p.steps[1].index == 1);
    assert_true(p.steps[2].kind == QV_STEP_INDEX && p.steps[2].index == 50);
    assert_true(qv_str_equal(p.steps[3].key, qv_str_of("bar-baz")));
    assert_true(p.steps[4].kind == QV_STEP_ALL);
    assert_true(qv_str_equal(p.steps[5].key, qv_str_of("qux[.]qu ux")));
    assert_true(qv_str_equal(p.steps[6].key, qv_str_of("größe_9")));
    p = parse(&a, "\"\"");
    assert_true(p.count == 1 && p.steps[0].kind == QV_STEP_KEY && p.steps[0].key.n == 0);
    p = parse(&a, "a[4294967296]"); /* past every array, and not element 0 */
    assert_true(p.steps[1].index == UINT32_MAX);
    p = parse(&a, "a[18446744073709551615]");
    assert_true(p.steps[1].index == UINT32_MAX);
    qv_arena_close(&a);
}

static void test_parse_refuses(void **state)
{
    (void)state;
    const char *wrong[] = {"",      ".",      "a.",         ".a",    "a..b",
                           "[]",    "[0]",    "a b",        "a[",    "a[0",
                           "a[0]b", "a[-1]",  "a[x]",       "a]",    "\"a",
                           "a.\"",  "a\"b\"", "\"a\\\"b\"", "a[ 0]", "a[18446744073709551616]",
                           "a.[0]", "a\xE1",  "a[]]",       "a$b"};
    struct qv_arena a;
    struct qv_path path;
    struct qv_errmsg msg;
    qv_arena_init(&a, 1 << 20);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        msg.text[0] = '\0';
        if (qv_path_parse(&a, qv_str_of(wrong[i]), &path, &msg) != QV_EINVAL)
            fail_msg("accepted: %s", wrong[i]);
        assert_non_null(strstr(msg.text, "Invalid json path"));
    }
    char deep[200];
    for (uint32_t i = 0; i < sizeof deep; i++)
        deep[i] = i % 2 ? '.' : 'a';
    const struct qv_str most = {deep, 2 * QV_DOC_DEPTH_MAX - 1};
    const struct qv_str more = {deep, 2 * QV_DOC_DEPTH_MAX + 1};
    assert_int_equal(qv_path_parse(&a, most, &path, &msg), 0);
    assert_int_equal(path.count, QV_DOC_DEPTH_MAX);
    assert_int_equal(qv_path_parse(&a, more, &path, &msg), QV_EINVAL);
    qv_arena_close(&a);
    qv_arena_init(&a, 16);
    assert_int_equal(qv_path_parse(&a, most, &path, &msg), QV_ENOMEM);
    qv_arena_close(&a);
}

struct seen {
    struct qv_buf all; /* an array of what was visited */
    uint32_t count;
    uint32_t stop_after;
};

static bool see(void *ctx, struct qv_doc value)
{
    struct seen *s = ctx;
    qv_doc_put_doc(&s->all, value);
    return ++s->count != s->stop_after;
}

static void test_walk(void **state)
{
    (void)state;
    const char *payload = "{\"a\":{\"b\":[{\"c\":1},{\"c\":2},{\"d\":{\"e\":3}}],\"x\":null},"
                          "\"g\":[\"g0\",[\"g1\"],\"g2\"],\"f\":3}";
    const struct {
        const char *path, *reached;
    } rows[] = {
        {"f", "[3]"},
        {"a.x", "[null]"},
        {"a.y", "[]"},
        {"f.x", "[]"},
        {"f[]", "[]"},
        {"f[0]", "[]"},
        {"a.b.c", "[]"},
        {"a.b[].c", "[1,2]"},
        {"a.b[].d", "[{\"e\":3}]"},
        {"a.b[].d.e", "[3]"},
        {"a.b[1]", "[{\"c\":2}]"},
        {"a.b[1].c", "[2]"},
        {"a.b[3].c", "[]"},
        {"g[]", "[\"g0\",[\"g1\"],\"g2\"]"},
        {"g[][]", "[\"g1\"]"},
        {"g[1][0]", "[\"g1\"]"},
        {"g", "[[\"g0\",[\"g1\"],\"g2\"]]"},
        {"a[]", "[]"},
    };
    struct qv_arena a;
    qv_arena_init(&a, 1 << 20);
    struct qv_buf root = doc_gen_new(payload);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct seen s = {.count = 0};
        struct qv_buf expected = doc_gen_new(rows[i].reached);
        struct qv_path path = parse(&a, rows[i].path);
        qv_buf_init(&s.all, 0);
        size_t mark = qv_doc_begin_array(&s.all);
        const size_t visited = qv_path_walk(doc_gen_view(&root), &path, see, &s);
        assert_int_equal(visited, s.count);
        qv_doc_end_array(&s.all, mark, s.count);
        if (!qv_doc_equal(doc_gen_view(&s.all), doc_gen_view(&expected)))
            fail_msg("%s", rows[i].path);
        qv_buf_close(&s.all);
        qv_buf_close(&expected);
    }
    struct seen s = {.stop_after = 2};
    struct qv_path path = parse(&a, "g[]");
    assert_int_equal(qv_path_walk(doc_gen_view(&root), &path, see, &s), 2);
    assert_int_equal(qv_path_walk((struct qv_doc){NULL, 0}, &path, see, &s), 0);
    qv_buf_close(&s.all);
    qv_buf_close(&root);
    qv_arena_close(&a);
}

static void expect(const struct qv_buf *got, const char *json, const char *what)
{
    struct qv_buf expected = doc_gen_new(json);
    assert_int_equal(qv_doc_check(got->data, got->len, NULL), 0);
    if (!qv_doc_equal(doc_gen_view(got), doc_gen_view(&expected)))
        fail_msg("%s does not give %s", what, json);
    qv_buf_close(&expected);
}

static void test_set(void **state)
{
    (void)state;
    const struct {
        const char *root, *path, *value, *result;
    } rows[] = {
        {"{}", "a", "{\"x\":1}", "{\"a\":{\"x\":1}}"},
        {"{}", "a.b", "{\"x\":1}", "{\"a\":{\"b\":{\"x\":1}}}"},
        {"{\"a\":{\"y\":2}}", "a", "{\"x\":1}", "{\"a\":{\"y\":2,\"x\":1}}"},
        {"{\"a\":{\"x\":2}}", "a", "{\"x\":1}", "{\"a\":{\"x\":1}}"},
        {"{\"a\":{\"x\":2,\"y\":3}}", "a", "{\"x\":null}", "{\"a\":{\"y\":3}}"},
        {"{\"a\":{\"x\":2}}", "a", "{\"z\":null}", "{\"a\":{\"x\":2}}"},
        {"{\"a\":{\"x\":null}}", "a", "{\"y\":1}", "{\"a\":{\"x\":null,\"y\":1}}"},
        {"{\"a\":3,\"b\":4}", "a", "{\"x\":1}", "{\"a\":{\"x\":1},\"b\":4}"},
        {"{\"a\":[1]}", "a.b", "{\"x\":1}", "{\"a\":{\"b\":{\"x\":1}}}"},
        {"{\"a\":[1,{\"y\":2}]}", "a[]", "{\"x\":1}", "{\"a\":[{\"x\":1},{\"y\":2,\"x\":1}]}"},
        {"{\"a\":[{\"b\":1},{}]}", "a[].b", "{\"x\":1}",
         "{\"a\":[{\"b\":{\"x\":1}},{\"b\":{\"x\":1}}]}"},
        {"{\"a\":[0,1,2]}", "a[1]", "{\"x\":1}", "{\"a\":[0,{\"x\":1},2]}"},
        {"{\"a\":[0]}", "a[1]", "{\"x\":1}", "{\"a\":[0]}"},
        {"{\"a\":1}", "a[1]", "{\"x\":1}", "{\"a\":[]}"},
        {"{\"a\":1}", "a[]", "{\"x\":1}", "{\"a\":[]}"},
        {"{}", "a[].b", "{\"x\":1}", "{\"a\":[]}"},
        {"{\"b\":1}", "a", "{}", "{\"b\":1,\"a\":{}}"},
    };
    struct qv_arena a;
    qv_arena_init(&a, 1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct qv_buf root = doc_gen_new(rows[i].root);
        struct qv_buf value = doc_gen_new(rows[i].value);
        struct qv_buf out;
        struct qv_path path = parse(&a, rows[i].path);
        qv_buf_init(&out, 0);
        assert_int_equal(qv_path_set(doc_gen_view(&root), &path, doc_gen_view(&value), &out), 0);
        expect(&out, rows[i].result, rows[i].path);
        qv_buf_close(&root);
        qv_buf_close(&value);
        qv_buf_close(&out);
    }
    qv_arena_close(&a);
}

/* Many keys in both: through the indexes; the order stays, what is new comes last. */
static void test_set_many_keys(void **state)
{
    (void)state;
    struct qv_arena a;
    struct qv_buf root;
    struct qv_buf value;
    struct qv_buf out;
    struct qv_doc found;
    char key[16];
    uint32_t kept = 0;
    qv_arena_init(&a, 1 << 20);
    qv_buf_init(&root, 0);
    qv_buf_init(&value, 0);
    qv_buf_init(&out, 0);
    size_t top = qv_doc_begin_object(&root);
    qv_doc_put_key(&root, "a", 1);
    size_t in = qv_doc_begin_object(&root);
    size_t mark = qv_doc_begin_object(&value);
    for (int i = 0; i < 300; i++) { /* old: 0 .. 299; given: 150 .. 449, every third null */
        int n = snprintf(key, sizeof key, "k%d", i);
        qv_doc_put_key(&root, key, (size_t)n);
        qv_doc_put_int(&root, i);
        n = snprintf(key, sizeof key, "k%d", i + 150);
        qv_doc_put_key(&value, key, (size_t)n);
        if (i % 3 == 0)
            qv_doc_put_null(&value);
        else
            qv_doc_put_int(&value, i + 1150);
    }
    qv_doc_end_object(&root, in, 300);
    qv_doc_end_object(&root, top, 1);
    qv_doc_end_object(&value, mark, 300);
    struct qv_path path = parse(&a, "a");
    assert_int_equal(qv_path_set(doc_gen_view(&root), &path, doc_gen_view(&value), &out), 0);
    assert_int_equal(qv_doc_check(out.data, out.len, NULL), 0);
    assert_true(qv_doc_find(doc_gen_view(&out), qv_str_of("a"), &found));
    struct qv_doc merged = found;
    for (int i = 0; i < 450; i++) {
        int n = snprintf(key, sizeof key, "k%d", i);
        const bool there = qv_doc_find(merged, (struct qv_str){key, (size_t)n}, &found);
        const bool expected = i < 150 || (i - 150) % 3 != 0;
        assert_int_equal(there, expected);
        if (there)
            assert_int_equal(qv_doc_int(found), i < 150 ? i : i + 1000);
        kept += expected;
    }
    assert_int_equal(qv_doc_count(merged), kept);
    qv_buf_close(&root);
    qv_buf_close(&value);
    qv_buf_close(&out);
    qv_arena_close(&a);
}

static void test_remove(void **state)
{
    (void)state;
    const struct {
        const char *root, *path, *result;
    } rows[] = {
        {"{\"a\":1,\"b\":2}", "a", "{\"b\":2}"},
        {"{\"a\":1}", "b", "{\"a\":1}"},
        {"{\"a\":{\"b\":1,\"c\":2}}", "a.b", "{\"a\":{\"c\":2}}"},
        {"{\"a\":[{\"b\":1,\"c\":2},{\"b\":3}]}", "a[].b", "{\"a\":[{\"c\":2},{}]}"},
        {"{\"a\":[{\"b\":1,\"c\":2},{\"b\":3}]}", "a[1].b", "{\"a\":[{\"b\":1,\"c\":2},{}]}"},
        {"{\"a\":[{\"b\":1}]}", "a.b", "{\"a\":[{\"b\":1}]}"},
        {"{\"a\":[1,2]}", "a[]", "{\"a\":[]}"},
        {"{\"a\":[1,2]}", "a[0]", "{\"a\":[1,2]}"},
        {"{\"a\":[1,[2]]}", "a[][]", "{\"a\":[1,[]]}"},
        {"{\"a\":3}", "a[]", "{\"a\":3}"},
        {"{\"a\":3}", "a.b.c", "{\"a\":3}"},
    };
    struct qv_arena a;
    qv_arena_init(&a, 1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct qv_buf root = doc_gen_new(rows[i].root);
        struct qv_buf out;
        struct qv_path path = parse(&a, rows[i].path);
        qv_buf_init(&out, 0);
        assert_int_equal(qv_path_remove(doc_gen_view(&root), &path, &out), 0);
        expect(&out, rows[i].result, rows[i].path);
        qv_buf_close(&root);
        qv_buf_close(&out);
    }
    qv_arena_close(&a);
}

static void test_set_bounds(void **state)
{
    (void)state;
    struct qv_arena a;
    char text[2 * QV_DOC_DEPTH_MAX];
    struct qv_buf value = doc_gen_new("{\"x\":1}");
    struct qv_buf out;
    qv_arena_init(&a, 1 << 20);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 2 ? '.' : 'a';
    for (size_t steps = QV_DOC_DEPTH_MAX - 2; steps <= QV_DOC_DEPTH_MAX; steps++) {
        struct qv_path path;
        qv_buf_init(&out, 0);
        qv_buf_u8(&out, 0xEE);
        assert_int_equal(qv_path_parse(&a, (struct qv_str){text, 2 * steps - 1}, &path, NULL), 0);
        int err = qv_path_set((struct qv_doc){NULL, 0}, &path, doc_gen_view(&value), &out);
        assert_int_equal(err, steps + 1 <= QV_DOC_DEPTH_MAX ? 0 : QV_EINVAL);
        if (err == 0)
            assert_int_equal(qv_doc_check(out.data + 1, out.len - 1, NULL), 0);
        else
            assert_int_equal(out.len, 1);
        qv_buf_close(&out);
    }
    struct qv_path path = parse(&a, "a.b");
    qv_buf_init(&out, 12);
    assert_int_equal(qv_path_set((struct qv_doc){NULL, 0}, &path, doc_gen_view(&value), &out),
                     QV_ENOMEM);
    assert_true(out.failed);
    qv_buf_close(&out);
    qv_buf_close(&value);
    qv_arena_close(&a);
}

/* Setting {x: v} at a path without elements makes "path.x" reach exactly v; removing it, nothing.
 */
static void test_random_set_then_walk(void **state)
{
    (void)state;
    struct qv_rng rng;
    struct qv_arena a;
    static const char *const paths[] = {"a", "b", "a.b", "a.b.c", "d.\"a b\"", "é", "c.d.a.b"};
    const uint64_t seed = 99;
    print_message("seed %llu\n", (unsigned long long)seed);
    qv_rng_init(&rng, seed);
    qv_arena_init(&a, 1 << 20);
    for (int i = 0; i < 3000; i++) {
        char leaf[40];
        const char *text = paths[qv_rng_below(&rng, 7)];
        struct qv_buf root;
        struct qv_buf out;
        struct qv_buf cut;
        struct qv_buf value = doc_gen_new("{\"x\":[7,\"seven\"]}");
        qv_arena_reset(&a);
        qv_buf_init(&root, 0);
        qv_buf_init(&out, 0);
        qv_buf_init(&cut, 0);
        doc_gen_random_object(&root, &rng, 4);
        struct qv_path path = parse(&a, text);
        snprintf(leaf, sizeof leaf, "%s.x", text);
        struct qv_path to_leaf = parse(&a, leaf);
        assert_int_equal(qv_path_set(doc_gen_view(&root), &path, doc_gen_view(&value), &out), 0);
        assert_int_equal(qv_doc_check(out.data, out.len, NULL), 0);
        struct seen s = {.count = 0};
        assert_int_equal(qv_path_walk(doc_gen_view(&out), &to_leaf, see, &s), 1);
        expect(&s.all, "[7,\"seven\"]", leaf);
        assert_int_equal(qv_path_remove(doc_gen_view(&out), &to_leaf, &cut), 0);
        assert_int_equal(qv_doc_check(cut.data, cut.len, NULL), 0);
        assert_int_equal(qv_path_walk(doc_gen_view(&cut), &to_leaf, see, &s), 0);
        qv_buf_close(&s.all);
        qv_buf_close(&root);
        qv_buf_close(&out);
        qv_buf_close(&cut);
        qv_buf_close(&value);
    }
    qv_arena_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),         cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_walk),          cmocka_unit_test(test_set),
        cmocka_unit_test(test_set_many_keys), cmocka_unit_test(test_remove),
        cmocka_unit_test(test_set_bounds),    cmocka_unit_test(test_random_set_then_walk),
    };
    return RUN_SUITE(tests);
}
