#include "suite.h"

#include "app/settings.h"
#include "base/logger.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int load_text(struct qv_settings *s, const char *text, struct qv_errmsg *msg)
{
    char path[] = "/tmp/quiver-settings-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    int err = qv_settings_load_file(s, path, msg);
    unlink(path);
    return err;
}

static void test_the_later_source_wins(void **state)
{
    (void)state;
    struct qv_settings s;
    struct qv_errmsg msg;
    char *const environment[] = {
        (char[]){"QUIVER__SERVICE__GRPC_PORT=3"}, (char[]){"QDRANT__SERVICE__GRPC_PORT=2"},
        (char[]){"QDRANT__STORAGE__STORAGE_PATH=/env"}, (char[]){"PATH=/bin"}, NULL};
    qv_settings_init(&s);
    assert_int_equal(s.http_port, 6333);
    assert_string_equal(s.storage_path, "./storage");
    assert_int_equal(load_text(&s,
                               "log_level: INFO\nservice:\n  http_port: 1\n  grpc_port: 1\n"
                               "storage:\n  storage_path: /file\n  performance:\n"
                               "    max_search_threads: 3\n  snapshots_path: null\n",
                               &msg),
                     0);
    assert_int_equal(s.http_port, 1);
    assert_int_equal(s.max_search_threads, 3);
    assert_string_equal(s.storage_path, "/file");
    assert_string_equal(s.snapshots_path, "./snapshots");
    assert_int_equal(qv_settings_load_env(&s, environment, &msg), 0);
    assert_int_equal(s.http_port, 1);
    assert_int_equal(s.grpc_port, 3); /* QUIVER__ after QDRANT__ */
    assert_string_equal(s.storage_path, "/env");
    assert_int_equal(qv_settings_set(&s, "service.grpc_port", "4", &msg), 0);
    assert_int_equal(s.grpc_port, 4);
    qv_settings_close(&s);
}

static void test_bad_values_name_key_value_and_what_is_allowed(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *says;
    } bad[] = {
        {"service.http_port", "65536", "0 to 65535"},
        {"service.http_port", "-1", "0 to 65535"},
        {"service.http_port", "80x", "80x"},
        {"service.http_port", "", "whole number"},
        {"service.http_port", "99999999999999999999", "0 to 65535"},
        {"service.max_request_size_mb", "0", "1 to 1024"},
        {"service.enable_cors", "maybe", "true or false"},
        {"log_level", "LOUD", "ERROR, WARN, INFO or DEBUG"},
        {"service.enable_tls", "yes", "true or false"},
        {"tls.cert_ttl", "1h", "0 to 31536000"},
        {"cluster.p2p.enable_tls", "on", "true or false"},
        {"cluster.role", "leader", "all, proxy or shard"},
        {"cluster.role", "", "all"},
        {"cluster.p2p.port", "65536", "0 to 65535"},
    };
    struct qv_settings s;
    qv_settings_init(&s);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct qv_errmsg msg;
        assert_int_equal(qv_settings_set(&s, bad[i].key, bad[i].value, &msg), QV_EINVAL);
        assert_non_null(strstr(msg.text, bad[i].key));
        assert_non_null(strstr(msg.text, bad[i].says));
        assert_null(strchr(msg.text, '\n'));
    }
    assert_int_equal(s.http_port, 6333); /* nothing was taken over */
    qv_settings_close(&s);
}

static void test_files(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int want;
    } files[] = {
        {"", 0},
        {"# nothing\n", 0},
        {"unknown: 1\nservice:\n  also_unknown: [1, 2, {a: b}]\n", 0},
        {"service:\n  http_port: many\n", QV_EINVAL},
        {"service: [\n", QV_EINVAL},
        {"- a\n- b\n", QV_EINVAL},
        {"just text\n", QV_EINVAL},
        {"a: {b: {c: {d: {e: {f: {g: {h: {i: {j: {k: {l: {m: {n: {o: {p: {q: {r: 1}}}}}}}}}}}}}}}"
         "}}}\n",
         QV_EINVAL},
        {"tls:\n  cert: x\n", 0},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct qv_settings s;
        struct qv_errmsg msg = {""};
        qv_settings_init(&s);
        assert_int_equal(load_text(&s, files[i].text, &msg), files[i].want);
        qv_settings_close(&s);
    }
    struct qv_settings s;
    struct qv_errmsg msg;
    qv_settings_init(&s);
    assert_int_equal(qv_settings_load_file(&s, "/not/there.yaml", &msg), QV_EINVAL);
    assert_non_null(strstr(msg.text, "/not/there.yaml"));
    assert_int_equal(qv_settings_set(&s, "no.such.key", "1", &msg), QV_ENOTFOUND);
    qv_settings_close(&s);
}

/* A setting that has a default can't be empty: "" as a folder is no folder. */
static void test_nothing_is_no_path(void **state)
{
    (void)state;
    struct qv_settings s;
    struct qv_errmsg msg = {""};
    qv_settings_init(&s);
    assert_int_equal(qv_settings_set(&s, "storage.storage_path", "", &msg), QV_EINVAL);
    assert_non_null(strstr(msg.text, "storage.storage_path: '' is not allowed"));
    assert_int_equal(qv_settings_set(&s, "service.host", "", &msg), QV_EINVAL);
    assert_int_equal(qv_settings_set(&s, "service.api_key", "", &msg), 0);
    assert_string_equal(s.storage_path, "./storage");
    qv_settings_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_later_source_wins),
        cmocka_unit_test(test_nothing_is_no_path),
        cmocka_unit_test(test_bad_values_name_key_value_and_what_is_allowed),
        cmocka_unit_test(test_files),
    };
    qv_logger_set_level(QV_LOG_ERROR); /* the warnings are meant */
    return RUN_SUITE(tests);
}
