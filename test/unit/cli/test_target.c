/* How a collection is named on the command line. */
#include "suite.h"

#include "cli/target.h"

#include <stdlib.h>

static const struct qv_target_access nobody = {0};
static const struct qv_target_access given = {.api_key = "given"};

static void test_names(void **state)
{
    static const struct {
        const char *text;
        const char *base; /* NULL: refused */
        const char *collection;
    } rows[] = {
        {"localhost/a", "http://localhost:6333", "a"},
        {"localhost:7000/a", "http://localhost:7000", "a"},
        {"http://127.0.0.1:1/a", "http://127.0.0.1:1", "a"},
        {"http://127.0.0.1:1/collections/a", "http://127.0.0.1:1", "a"},
        {"http://127.0.0.1:1/collections/a/", "http://127.0.0.1:1", "a"},
        {"http://127.0.0.1:1/collections/collections", "http://127.0.0.1:1", "collections"},
        {"http://127.0.0.1:1/prefix/a", "http://127.0.0.1:1/prefix", "a"},
        {"http://127.0.0.1:1/prefix/collections/a", "http://127.0.0.1:1/prefix", "a"},
        {"127.0.0.1/prefix/a", "http://127.0.0.1:6333/prefix", "a"},
        {"[::1]/a", "http://[::1]:6333", "a"},
        {"[::1]:9/a", "http://[::1]:9", "a"},
        {"127.0.0.1/a%20b", "http://127.0.0.1:6333", "a b"},
        {"https://127.0.0.1/a", "https://127.0.0.1:6333", "a"},
        {"https://127.0.0.1:1/p/collections/a", "https://127.0.0.1:1/p", "a"},
        {"ftp://h/a", NULL, NULL},
        {"localhost", NULL, NULL},
        {"localhost:6333", NULL, NULL},
        {"http://localhost:6333", NULL, NULL},
        {"/a", NULL, NULL},
        {"", NULL, NULL},
        {"127.0.0.1:99999/a", NULL, NULL},
        {"127.0.0.1/a%2", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct qv_target t;
        struct qv_errmsg msg = {""};
        int err = qv_target_open(rows[i].text, &nobody, &t, &msg);
        if (rows[i].base == NULL) {
            if (err != QV_EINVAL || msg.text[0] == '\0')
                fail_msg("'%s' is accepted: %d '%s'", rows[i].text, err, msg.text);
        } else if (err != 0 || strcmp(t.base, rows[i].base) != 0 ||
                   strcmp(t.collection, rows[i].collection) != 0) {
            fail_msg("'%s': %d '%s' '%s' '%s'", rows[i].text, err, msg.text, t.base, t.collection);
        }
        qv_target_close(&t);
        qv_target_close(&t);
    }
}

static void test_wrong_port_is_named(void **state)
{
    static const char *const rows[][2] = {
        {"h:99999/a", "':99999'"}, {"h:0/a", "':0'"}, {"h:/a", "':'"}, {"h:x1/a", "':x1'"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct qv_target t;
        struct qv_errmsg msg = {""};
        assert_int_equal(qv_target_open(rows[i][0], &nobody, &t, &msg), QV_EINVAL);
        assert_non_null(strstr(msg.text, rows[i][1]));
        assert_non_null(strstr(msg.text, "65535"));
        qv_target_close(&t);
    }
}

static void test_key(void **state)
{
    struct qv_target t;
    struct qv_errmsg msg;
    struct qv_net_header slot[1];
    size_t n;
    (void)state;
    assert_int_equal(unsetenv("QUIVER_API_KEY"), 0);
    assert_int_equal(setenv("QDRANT_API_KEY", "theirs", 1), 0);
    assert_int_equal(qv_target_open("127.0.0.1/a", &nobody, &t, &msg), 0);
    assert_string_equal(qv_target_headers(&t, slot, &n)[0].value, "theirs");
    assert_int_equal(n, 1);
    qv_target_close(&t);
    assert_int_equal(setenv("QUIVER_API_KEY", "ours", 1), 0);
    assert_int_equal(qv_target_open("127.0.0.1/a", &nobody, &t, &msg), 0);
    assert_string_equal(qv_target_headers(&t, slot, &n)[0].value, "ours");
    qv_target_close(&t);
    assert_int_equal(qv_target_open("127.0.0.1/a", &given, &t, &msg), 0);
    assert_string_equal(qv_target_headers(&t, slot, &n)[0].value, "given");
    qv_target_close(&t);
    assert_int_equal(unsetenv("QUIVER_API_KEY"), 0);
    assert_int_equal(unsetenv("QDRANT_API_KEY"), 0);
    assert_int_equal(qv_target_open("127.0.0.1/a", &nobody, &t, &msg), 0);
    (void)qv_target_headers(&t, slot, &n);
    assert_int_equal(n, 0);
    qv_target_close(&t);
}

static void test_away(void **state)
{
    struct qv_target t;
    struct qv_target_info info;
    struct qv_errmsg msg;
    (void)state;
    assert_int_equal(qv_target_open("127.0.0.1:1/a", &nobody, &t, &msg), 0);
    assert_int_equal(qv_target_read_info(&t, &info, &msg), QV_EUNAVAILABLE);
    assert_non_null(strstr(msg.text, "no server answers there"));
    qv_target_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_wrong_port_is_named),
                                       cmocka_unit_test(test_key), cmocka_unit_test(test_away)};
    return RUN_SUITE(tests);
}
