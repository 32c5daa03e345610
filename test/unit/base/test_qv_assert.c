/* Bad bytes are reported once for everybody: a count, a text for users, a place for us. */
#include "suite.h"

#include "base/logger.h"
#include "base/qv_assert.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What report writes to the log at a level. */
static void log_of(enum qv_log_level level, char *out, size_t max, struct qv_errmsg *msg)
{
    FILE *f = tmpfile();
    enum qv_log_level before = qv_logger_level();
    int kept = dup(STDERR_FILENO);
    assert_non_null(f);
    assert_true(kept >= 0 && dup2(fileno(f), STDERR_FILENO) >= 0);
    qv_logger_set_level(level);
    int err = QV_CORRUPT(msg, "block %d is not its own", 7);
    qv_logger_set_level(before);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    (void)close(kept);
    assert_int_equal(err, QV_ECORRUPT);
    rewind(f);
    size_t n = fread(out, 1, max - 1, f);
    out[n] = '\0';
    (void)fclose(f);
}

static void test_users_see_no_place(void **state)
{
    char log[1024];
    struct qv_errmsg msg = {""};
    unsigned long before = qv_corrupt_count();
    (void)state;
    log_of(QV_LOG_INFO, log, sizeof log, &msg);
    assert_string_equal(msg.text, "block 7 is not its own");
    assert_string_equal(log, "");
    log_of(QV_LOG_DEBUG, log, sizeof log, &msg);
    assert_string_equal(msg.text, "block 7 is not its own");
    assert_non_null(strstr(log, "block 7 is not its own ["));
    assert_non_null(strstr(log, "test_qv_assert.c:"));
    assert_int_equal(qv_corrupt_count(), before + 2);
    assert_int_equal(QV_CORRUPT(NULL, "nobody asks"), QV_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_users_see_no_place)};
    return RUN_SUITE(tests);
}
