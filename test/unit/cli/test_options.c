/* What the commands share of reading options. */
#include "suite.h"

#include "cli/options.h"

#include <string.h>

struct taken {
    int count, last;
    const char *value;
};

static int take(void *arg, int option, const char *value, struct qv_errmsg *msg)
{
    struct taken *t = arg;
    t->count++;
    t->last = option;
    t->value = value;
    return option == 'b' ? qv_fail(msg, QV_EINVAL, "b is refused") : 0;
}

static const struct option table[] = {{"one", no_argument, NULL, 'a'},
                                      {"bad", no_argument, NULL, 'b'},
                                      {"text", required_argument, NULL, 'c'},
                                      {"help", no_argument, NULL, QV_CLI_HELP},
                                      {NULL, 0, NULL, 0}};
static const struct qv_cli_options options = {"the help\n", table, take};

static int read_args(const char *const *args, struct taken *t, struct qv_errmsg *msg)
{
    char *argv[8] = {(char *)(uintptr_t) "quiver"};
    int argc = 1;
    *t = (struct taken){0};
    *msg = (struct qv_errmsg){""};
    for (; args[argc - 1] != NULL; argc++)
        argv[argc] = (char *)(uintptr_t)args[argc - 1];
    return qv_cli_read_options(&options, argc, argv, t, msg);
}

static void test_table(void **state)
{
    struct taken t;
    struct qv_errmsg msg;
    (void)state;
    assert_int_equal(read_args((const char *[]){"--one", "--text", "x", "rest", NULL}, &t, &msg),
                     0);
    assert_int_equal(t.count, 2);
    assert_string_equal(t.value, "x");
    assert_int_equal(optind, 4);
    assert_int_equal(read_args((const char *[]){"--bad", "--one", NULL}, &t, &msg), QV_EINVAL);
    assert_int_equal(t.count, 1);
    assert_string_equal(msg.text, "b is refused");
    assert_int_equal(read_args((const char *[]){"--help", "--bad", NULL}, &t, &msg), 1);
    assert_int_equal(read_args((const char *[]){"-h", NULL}, &t, &msg), 1);
    assert_int_equal(t.count, 0);
}

static void test_unknown_is_named(void **state)
{
    static const char *const rows[][3] = {
        {"--unknown", NULL}, {"--text", NULL}, {"--one=1", NULL}, {"-x", NULL}};
    struct taken t;
    struct qv_errmsg msg;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(read_args(rows[i], &t, &msg), QV_EINVAL);
        assert_non_null(strstr(msg.text, "see --help"));
    }
}

static void test_numbers(void **state)
{
    static const char *const refused[] = {"",   "-1",  "+1", " 1", "1 ",
                                          "0x", "1e3", "4",  "11", "18446744073709551616"};
    struct qv_errmsg msg;
    uint64_t v = 77;
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_int_equal(qv_cli_take_number("--n", refused[i], 5, 10, &v, &msg), QV_EINVAL);
        assert_non_null(strstr(msg.text, "5 to 10 is"));
        assert_int_equal(v, 77);
    }
    assert_int_equal(qv_cli_take_number("--n", "10", 5, 10, &v, &msg), 0);
    assert_int_equal(v, 10);
    assert_int_equal(qv_cli_take_number("--n", "18446744073709551615", 0, UINT64_MAX, &v, &msg), 0);
    assert_true(v == UINT64_MAX);
}

static void test_exit_codes(void **state)
{
    struct qv_errmsg msg = {""};
    (void)state;
    assert_int_equal(qv_cli_end("none", 0, &msg), 0);
    assert_int_equal(qv_cli_end("wrong", QV_EINVAL, &msg), 2);
    assert_int_equal(qv_cli_end("failed", QV_EIO, &msg), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_unknown_is_named),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_exit_codes),
    };
    return RUN_SUITE(tests);
}
