#include "suite.h"

#include "base/rng.h"
#include "io/sim_disk.h"
#include "storage/records_file.h"

#include <string.h>

#define PATH "/data/meta"

static struct qv_disk *new_disk(uint64_t seed)
{
    struct qv_disk *d = qv_sim_disk_create(seed, 0);
    assert_int_equal(qv_disk_mkdir_all(d, "/data", NULL), 0);
    return d;
}

static struct qv_records *open_records(struct qv_disk *d)
{
    struct qv_records *r;
    assert_int_equal(qv_records_file_open(d, PATH, &r, NULL), 0);
    return r;
}

static struct qv_records_change change(const char *key, const char *value)
{
    return (struct qv_records_change){key,
                                      {(const uint8_t *)value, value != NULL ? strlen(value) : 0}};
}

struct listing {
    char text[1024];
    int stop_with;
};

static int collect(void *arg, const char *key, struct qv_bytes value)
{
    struct listing *l = arg;
    size_t n = strlen(l->text);
    (void)snprintf(l->text + n, sizeof l->text - n, "%s=%.*s;", key, (int)value.n,
                   (const char *)value.p);
    return l->stop_with;
}

static void expect_listing(struct qv_records *r, const char *prefix, const char *want)
{
    struct listing l = {.text = ""};
    assert_int_equal(qv_records_list(r, prefix, collect, &l), 0);
    assert_string_equal(l.text, want);
}

static void test_changes_survive_reopening(void **state)
{
    (void)state;
    struct qv_disk *d = new_disk(1);
    struct qv_records *r = open_records(d);
    struct qv_records_change first[] = {change("b/2", "two"), change("a", "one"),
                                        change("b/1", "")};
    struct qv_records_change second[] = {change("b/2", "changed"), change("a", NULL),
                                         change("not/there", NULL)};
    assert_int_equal(r->epoch, 0);
    assert_int_equal(qv_records_txn(r, 0, first, 3, NULL), 0);
    expect_listing(r, "", "a=one;b/1=;b/2=two;");
    expect_listing(r, "b/", "b/1=;b/2=two;");
    assert_int_equal(qv_records_txn(r, 1, second, 3, NULL), 0);
    qv_records_close(r);
    qv_sim_disk_crash(d);
    r = open_records(d);
    assert_int_equal(r->epoch, 2);
    expect_listing(r, "", "b/1=;b/2=changed;");
    qv_records_close(r);
    qv_sim_disk_destroy(&d);
}

static void test_another_epoch_is_stale(void **state)
{
    (void)state;
    struct qv_disk *d = new_disk(2);
    struct qv_records *r = open_records(d);
    struct qv_records_change c = change("k", "v");
    struct qv_errmsg msg;
    assert_int_equal(qv_records_txn(r, 1, &c, 1, &msg), QV_ESTALE);
    assert_int_equal(qv_records_txn(r, 0, &c, 1, &msg), 0);
    assert_int_equal(qv_records_txn(r, 0, &c, 1, &msg), QV_ESTALE); /* an attempt repeated */
    assert_int_equal(r->epoch, 1);
    qv_records_close(r);
    qv_sim_disk_destroy(&d);
}

static void test_limits(void **state)
{
    (void)state;
    struct qv_disk *d = new_disk(3);
    struct qv_records *r = open_records(d);
    char key[QV_RECORDS_KEY_BYTES_MAX + 2];
    static const uint8_t big[QV_RECORDS_VALUE_BYTES_MAX + 1];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    struct qv_records_change c = change(key, "v");
    assert_int_equal(qv_records_txn(r, 0, &c, 1, NULL), QV_ELIMIT);
    c = (struct qv_records_change){"k", {big, sizeof big}};
    assert_int_equal(qv_records_txn(r, 0, &c, 1, NULL), QV_ELIMIT);
    c.key = "";
    assert_int_equal(qv_records_txn(r, 0, &c, 1, NULL), QV_ELIMIT);
    expect_listing(r, "", "");
    qv_records_close(r);
    qv_sim_disk_destroy(&d);
}

/* A crash inside a transaction leaves the one before or the one after, never anything else. */
static void test_crash_keeps_one_or_the_other(void **state)
{
    (void)state;
    uint32_t kept = 0;
    uint32_t lost = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct qv_disk *d = new_disk(seed);
        struct qv_records *r = open_records(d);
        struct qv_records_change before = change("k", "before");
        struct qv_records_change after = change("k", "after");
        assert_int_equal(qv_records_txn(r, 0, &before, 1, NULL), 0);
        qv_sim_disk_die_after(d, seed % 8);
        int err = qv_records_txn(r, 1, &after, 1, NULL);
        qv_records_close(r);
        qv_sim_disk_crash(d);
        r = open_records(d);
        struct listing l = {.text = ""};
        assert_int_equal(qv_records_list(r, "", collect, &l), 0);
        if (err == 0 || r->epoch == 2) {
            assert_int_equal(r->epoch, 2);
            assert_string_equal(l.text, "k=after;");
            kept++;
        } else {
            assert_int_equal(r->epoch, 1);
            assert_string_equal(l.text, "k=before;");
            lost++;
        }
        qv_records_close(r);
        qv_sim_disk_destroy(&d);
    }
    assert_true(kept > 0 && lost > 0); /* both happened, else the test shows nothing */
}

/* Every single flipped bit is found. */
static void test_flipped_bits_are_found(void **state)
{
    (void)state;
    struct qv_disk *d = new_disk(5);
    struct qv_records *r = open_records(d);
    struct qv_records_change c[] = {change("collections/1", "some value"), change("writer", "1")};
    struct qv_buf file;
    assert_int_equal(qv_records_txn(r, 0, c, 2, NULL), 0);
    qv_records_close(r);
    qv_buf_init(&file, 0);
    assert_int_equal(qv_disk_read_file(d, PATH, 4096, &file, NULL), 0);
    for (size_t bit = 0; bit < file.len * 8; bit++) {
        struct qv_errmsg msg;
        assert_int_equal(qv_sim_disk_flip(d, PATH, bit / 8, (unsigned)(bit % 8)), 0);
        assert_int_equal(qv_records_file_open(d, PATH, &r, &msg), QV_ECORRUPT);
        assert_non_null(strstr(msg.text, PATH));
        assert_int_equal(qv_sim_disk_flip(d, PATH, bit / 8, (unsigned)(bit % 8)), 0);
    }
    qv_buf_close(&file);
    qv_sim_disk_destroy(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes_survive_reopening),
        cmocka_unit_test(test_another_epoch_is_stale),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_crash_keeps_one_or_the_other),
        cmocka_unit_test(test_flipped_bits_are_found),
    };
    return RUN_SUITE(tests);
}
