/* The file that a resumed import starts from. */
#include "suite.h"

#include "cli/import_state.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/state-XXXXXX";

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fputs(text, f) >= 0, 1);
    assert_int_equal(fclose(f), 0);
}

static void test_round(void **state)
{
    char input[128];
    struct qv_import_state s;
    struct qv_import_state other;
    struct qv_errmsg msg;
    uint64_t done = 5;
    (void)state;
    (void)snprintf(input, sizeof input, "%s/input", folder);
    write_text(input, "abc");
    assert_int_equal(setenv("XDG_STATE_HOME", folder, 1), 0);
    struct qv_import_identity id = {
        .base = "http://h:1", .collection = "c", .file = input, .start_id = 1};
    assert_int_equal(qv_import_state_init(&id, NULL, &s, &msg), 0);
    assert_int_equal(qv_import_state_load(&s, &done, &msg), 0);
    assert_int_equal(done, 0); /* none yet */
    assert_int_equal(qv_import_state_save(&s, 123456789012ull, &msg), 0);
    assert_int_equal(qv_import_state_load(&s, &done, &msg), 0);
    assert_int_equal(done, 123456789012ull);
    /* anything that makes other points is another import */
    for (int i = 0; i < 5; i++) {
        struct qv_import_identity x = id;
        x.base = i == 0 ? "http://h:2" : x.base;
        x.collection = i == 1 ? "d" : x.collection;
        x.start_id = i == 2 ? 2 : x.start_id;
        x.limit = i == 3 ? 7 : x.limit;
        x.payload = i == 4 ? input : NULL;
        assert_int_equal(qv_import_state_init(&x, NULL, &other, &msg), 0);
        assert_string_not_equal(other.path, s.path);
    }
    write_text(input, "abcd"); /* the file changed */
    assert_int_equal(qv_import_state_init(&id, s.path, &other, &msg), 0);
    assert_int_equal(qv_import_state_load(&other, &done, &msg), QV_EINVAL);
    assert_non_null(strstr(msg.text, "of another import"));
    qv_import_state_remove(&s);
    assert_int_equal(qv_import_state_load(&s, &done, &msg), 0);
    assert_int_equal(done, 0);
    assert_int_equal(unlink(input), 0);
}

static void test_damaged(void **state)
{
    static const char *const texts[] = {"",
                                        "{",
                                        "{}",
                                        "{\"import\":1}",
                                        "[]",
                                        "{\"done\":\"x\"}",
                                        "{\"import\":1,\"done\":-1}",
                                        "{\"import\":1,\"done\":5}"};
    struct qv_import_state s;
    struct qv_errmsg msg;
    uint64_t done;
    char path[128];
    (void)state;
    (void)snprintf(path, sizeof path, "%s/damaged", folder);
    struct qv_import_identity id = {.base = "b", .collection = "c", .file = "f"};
    assert_int_equal(qv_import_state_init(&id, path, &s, &msg), 0);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        write_text(path, texts[i]);
        assert_int_equal(qv_import_state_load(&s, &done, &msg), QV_EINVAL);
        assert_non_null(strstr(msg.text, path));
    }
    assert_int_equal(unlink(path), 0);
    (void)snprintf(s.path, sizeof s.path, "%s/no/such/folder", folder);
    assert_int_equal(qv_import_state_save(&s, 1, &msg), QV_EIO);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int tear_down(void **state)
{
    char path[128];
    (void)state;
    (void)snprintf(path, sizeof path, "%s/quiver", folder);
    (void)rmdir(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round),
                                       cmocka_unit_test(test_damaged)};
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    return suite_close((int)(sizeof tests / sizeof tests[0]), failed);
}
