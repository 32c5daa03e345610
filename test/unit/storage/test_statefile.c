#include "quiet.h"
#include "suite.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "base/rng.h"
#include "io/sim_disk.h"
#include "storage/statefile.h"

#include <stdlib.h>
#include <string.h>

#define PATH "dir/state"
enum { KIND = 3, VERSION = 2 };

static void bytes_make(uint8_t *p, size_t n, uint64_t seed)
{
    struct qv_rng rng;
    qv_rng_init(&rng, seed);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)qv_rng_u64(&rng);
}

static struct qv_disk *disk_make(uint64_t seed)
{
    struct qv_disk *d = qv_sim_disk_create(seed, 0);
    assert_int_equal(qv_disk_mkdir(d, "dir", NULL), 0);
    return d;
}

static int write_in_pieces(struct qv_disk *d, const uint8_t *p, size_t n, struct qv_rng *rng,
                           struct qv_statefile_info *info)
{
    struct qv_statefile_writer *w = NULL;
    int err = qv_statefile_create(d, PATH, KIND, VERSION, &w, NULL);
    if (err != 0)
        return err;
    for (size_t done = 0; done < n && err == 0;) {
        size_t part = 1 + (size_t)qv_rng_below(rng, qv_rng_below(rng, 2) == 0 ? 100 : 600000);
        if (part > n - done)
            part = n - done;
        err = qv_statefile_append(w, p + done, part, NULL);
        done += part;
    }
    if (err != 0) {
        qv_statefile_abort(w);
        return err;
    }
    return qv_statefile_finish(w, info, NULL);
}

static int read_in_pieces(struct qv_disk *d, const uint8_t *want, size_t n, struct qv_rng *rng,
                          struct qv_errmsg *msg)
{
    struct qv_statefile_reader *r = NULL;
    int err = qv_statefile_open(d, PATH, KIND, VERSION, &r, msg);
    if (err != 0)
        return err;
    uint8_t *got = qv_mem_alloc(n + 1);
    for (size_t done = 0; done < n && err == 0;) {
        size_t part = 1 + (size_t)qv_rng_below(rng, 300000);
        if (part > n - done)
            part = n - done;
        err = qv_statefile_read(r, got + done, part, msg);
        if (err == 0 && memcmp(got + done, want + done, part) != 0)
            err = QV_EINTERNAL; /* other bytes: what no test accepts for a file of these */
        done += part;
    }
    if (err == 0)
        err = qv_statefile_end(r, msg);
    qv_mem_free(got);
    qv_statefile_close(r);
    return err;
}

static void test_what_was_written_is_read(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,      1,      63,     4096,   262143, 262144,
                                   262145, 524288, 524289, 700001, 1 << 20};
    struct qv_rng rng;
    qv_rng_init(&rng, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t n = sizes[i];
        struct qv_disk *d = disk_make(1);
        uint8_t *p = qv_mem_alloc(n + 1);
        struct qv_statefile_info info;
        struct qv_statefile_info again;
        bytes_make(p, n, i);
        assert_int_equal(write_in_pieces(d, p, n, &rng, &info), 0);
        assert_int_equal(info.payload_bytes, n);
        assert_int_equal(read_in_pieces(d, p, n, &rng, NULL), 0);
        assert_int_equal(qv_statefile_check(d, PATH, &again, NULL), 0);
        assert_memory_equal(&info, &again, sizeof info);
        qv_mem_free(p);
        qv_sim_disk_destroy(&d);
    }
}

static void test_every_flip_is_found(void **state)
{
    (void)state;
    enum { N = 300000 };
    static uint8_t p[N];
    struct qv_rng rng;
    struct qv_errmsg msg;
    struct qv_disk *d = disk_make(1);
    qv_rng_init(&rng, 2);
    bytes_make(p, N, 2);
    assert_int_equal(write_in_pieces(d, p, N, &rng, NULL), 0);
    uint64_t size = 64 + 2 * 16 + N + 32;
    unsigned long count = qv_corrupt_count();
    unsigned long flips = 0;
    for (uint64_t at = 0; at < size;) {
        struct qv_statefile_info info;
        unsigned bit = (unsigned)qv_rng_below(&rng, 8);
        assert_int_equal(qv_sim_disk_flip(d, PATH, at, bit), 0);
        assert_int_equal(read_in_pieces(d, p, N, &rng, &msg), QV_ECORRUPT);
        assert_non_null(strstr(msg.text, PATH));
        assert_int_equal(qv_statefile_check(d, PATH, &info, &msg), QV_ECORRUPT);
        assert_int_equal(qv_sim_disk_flip(d, PATH, at, bit), 0);
        flips++;
        bool ends = at < 100 || at > size - 40 || (at >= 64 + 16 + 262144 && at < 64 + 32 + 262144);
        at += ends ? 1 : 997;
    }
    assert_true(qv_corrupt_count() - count >= 2 * flips);
    assert_int_equal(read_in_pieces(d, p, N, &rng, &msg), 0);
    qv_sim_disk_destroy(&d);
}

static void test_wrong_length_kind_and_version(void **state)
{
    (void)state;
    static uint8_t p[1000];
    struct qv_rng rng;
    struct qv_statefile_reader *r = NULL;
    struct qv_disk *d = disk_make(1);
    qv_rng_init(&rng, 3);
    assert_int_equal(write_in_pieces(d, p, sizeof p, &rng, NULL), 0);
    assert_int_equal(qv_statefile_open(d, PATH, KIND + 1, VERSION, &r, NULL), QV_ECORRUPT);
    assert_int_equal(qv_statefile_open(d, PATH, KIND, VERSION - 1, &r, NULL), QV_ENOTIMPL);
    assert_int_equal(qv_statefile_open(d, "dir/nothing", KIND, VERSION, &r, NULL), QV_ENOTFOUND);
    assert_int_equal(qv_statefile_open(d, PATH, KIND, VERSION + 9, &r, NULL), 0);
    uint8_t more[1001];
    assert_int_equal(qv_statefile_read(r, more, 1001, NULL), QV_ECORRUPT);
    assert_int_equal(qv_statefile_end(r, NULL), QV_ECORRUPT); /* bytes left */
    assert_int_equal(qv_statefile_read(r, more, 1000, NULL), 0);
    assert_int_equal(qv_statefile_left(r), 0);
    assert_int_equal(qv_statefile_end(r, NULL), 0);
    qv_statefile_close(r);
    struct qv_file *f = NULL;
    uint64_t size = 64 + 16 + 1000 + 32;
    assert_int_equal(qv_disk_open(d, PATH, QV_OPEN_WRITE, &f, NULL), 0);
    for (uint64_t cut = 0; cut < size; cut += 7) {
        assert_int_equal(qv_file_truncate(f, size - 1 - cut, NULL), 0);
        assert_int_equal(qv_statefile_open(d, PATH, KIND, VERSION, &r, NULL), QV_ECORRUPT);
    }
    qv_file_close(f);
    qv_sim_disk_destroy(&d);
}

/* Power fails anywhere while a file is replaced: the old one or the new one, whole. */
static void test_crash_gives_old_or_new(void **state)
{
    (void)state;
    enum { OLD = 5000, NEW = 400000 };
    static uint8_t older[OLD];
    static uint8_t newer[NEW];
    size_t news = 0;
    size_t olds = 0;
    bytes_make(older, OLD, 10);
    bytes_make(newer, NEW, 11);
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct qv_disk *d = disk_make(seed);
        struct qv_rng rng;
        qv_rng_init(&rng, seed);
        assert_int_equal(write_in_pieces(d, older, OLD, &rng, NULL), 0);
        qv_sim_disk_die_after(d, 1 + qv_rng_below(&rng, 12));
        int err = write_in_pieces(d, newer, NEW, &rng, NULL);
        qv_sim_disk_crash(d);
        bool is_new = read_in_pieces(d, newer, NEW, &rng, NULL) == 0;
        if (err == 0)
            assert_true(is_new);
        if (!is_new)
            assert_int_equal(read_in_pieces(d, older, OLD, &rng, NULL), 0);
        news += is_new;
        olds += !is_new;
        qv_sim_disk_destroy(&d);
    }
    assert_true(news > 0 && olds > 0);
}

static void test_errors_leave_no_file(void **state)
{
    (void)state;
    static uint8_t p[600000];
    struct qv_rng rng;
    qv_rng_init(&rng, 5);
    for (uint64_t n = 1; n < 10; n++) {
        struct qv_disk *d = disk_make(n);
        qv_sim_disk_fail(d, QV_SIM_OP_WRITE | QV_SIM_OP_SYNC, "state", n, 1, QV_ENOSPC);
        int err = write_in_pieces(d, p, sizeof p, &rng, NULL);
        assert_true(err == 0 || err == QV_ENOSPC);
        assert_int_equal(err == 0, qv_sim_disk_find(d, "state", 0) != NULL);
        qv_sim_disk_destroy(&d);
    }
}

int main(void)
{
    quiet_log();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_written_is_read),
        cmocka_unit_test(test_every_flip_is_found),
        cmocka_unit_test(test_wrong_length_kind_and_version),
        cmocka_unit_test(test_crash_gives_old_or_new),
        cmocka_unit_test(test_errors_leave_no_file),
    };
    return RUN_SUITE(tests);
}
