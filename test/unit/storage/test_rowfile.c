#include "quiet.h"
#include "suite.h"

#include "base/mem.h"
#include "base/rng.h"
#include "io/disk_posix.h"
#include "io/sim_disk.h"
#include "storage/rowfile.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void row_make(uint8_t *row, uint32_t n, uint64_t seed)
{
    struct qv_rng rng;
    qv_rng_init(&rng, seed);
    for (uint32_t i = 0; i < n; i++)
        row[i] = (uint8_t)qv_rng_u64(&rng);
}

static const struct qv_rowfile_config base_config = {
    .row_bytes = 515, .stride = 516, .slot_max = 100000, .id = 77, .create = true};

/* Random writes against a model, growing; base never moves; open again and read. */
static void check_rows(struct qv_disk *disk, const char *path)
{
    struct qv_rowfile *f = NULL;
    struct qv_errmsg msg = {""};
    enum { SLOTS = 3000 };
    static uint64_t seed_of[SLOTS];
    memset(seed_of, 0, sizeof seed_of);
    if (qv_rowfile_open(disk, path, &base_config, &f, &msg) != 0)
        fail_msg("%s", msg.text);
    const uint8_t *base = qv_rowfile_base(f);
    struct qv_rng rng;
    qv_rng_init(&rng, 3);
    static uint8_t rows[8 * 516];
    uint8_t row[516];
    for (uint64_t step = 1; step < 2000; step++) {
        uint32_t most =
            (uint32_t)(step * 3 / 2 + 1) < SLOTS - 8 ? (uint32_t)(step * 3 / 2 + 1) : SLOTS - 8;
        uint32_t slot = (uint32_t)qv_rng_below(&rng, most);
        uint32_t n = 1 + (uint32_t)qv_rng_below(&rng, 8);
        memset(rows, 0, sizeof rows);
        for (uint32_t i = 0; i < n; i++) {
            seed_of[slot + i] = step * 16 + i;
            row_make(rows + i * 516, 515, seed_of[slot + i]);
        }
        if (n == 1)
            assert_int_equal(qv_rowfile_write_row(f, slot, rows, &msg), 0);
        else
            assert_int_equal(qv_rowfile_write(f, slot, n, rows, &msg), 0);
        assert_memory_equal(qv_rowfile_row(base, 516, slot), rows, n * 516);
        assert_ptr_equal(qv_rowfile_base(f), base);
    }
    assert_true(qv_rowfile_capacity(f) >= SLOTS / 2);
    qv_rowfile_prefetch(f, 0, 100);
    assert_int_equal(qv_rowfile_sync(f, &msg), 0);
    qv_rowfile_close(f);
    struct qv_rowfile_config c = base_config;
    c.create = false;
    assert_int_equal(qv_rowfile_open(disk, path, &c, &f, &msg), 0);
    base = qv_rowfile_base(f);
    for (uint32_t i = 0; i < qv_rowfile_capacity(f) && i < SLOTS; i++) {
        memset(row, 0, sizeof row);
        if (seed_of[i] != 0)
            row_make(row, 515, seed_of[i]);
        assert_memory_equal(qv_rowfile_row(base, 516, i), row, 516);
    }
    qv_rowfile_close(f);
}

static void test_rows_posix(void **state)
{
    (void)state;
    char dir[] = "/tmp/qv_rows_XXXXXX";
    char path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/rows", dir);
    struct qv_disk *d = qv_disk_posix_create();
    check_rows(d, path);
    assert_int_equal(qv_disk_unlink(d, path, NULL), 0);
    assert_int_equal(qv_disk_rmdir(d, dir, NULL), 0);
    qv_disk_posix_destroy(&d);
}

static void test_rows_sim(void **state)
{
    (void)state;
    struct qv_disk *d = qv_sim_disk_create(1, 0);
    check_rows(d, "rows");
    qv_sim_disk_destroy(&d);
}

static void test_full_disk_is_an_error(void **state)
{
    (void)state;
    struct qv_disk *d = qv_sim_disk_create(1, 1 << 20);
    struct qv_rowfile *f = NULL;
    static uint8_t row[516];
    int err = qv_rowfile_open(d, "rows", &base_config, &f, NULL);
    assert_int_equal(err, 0);
    uint32_t n = 0;
    while ((err = qv_rowfile_write_row(f, n, row, NULL)) == 0)
        n++;
    assert_int_equal(err, QV_ENOSPC);
    assert_in_range(n, ((1 << 20) - 4096) / 516 - 8, ((1 << 20) - 4096) / 516);
    memset(row, 7, sizeof row);
    assert_int_equal(qv_rowfile_write_row(f, n - 1, row, NULL), 0); /* what has blocks goes on */
    qv_sim_disk_set_capacity(d, 4 << 20);
    assert_int_equal(qv_rowfile_write_row(f, n, row, NULL), 0);
    assert_int_equal(qv_rowfile_write_row(f, base_config.slot_max, row, NULL), QV_ELIMIT);
    assert_int_equal(qv_rowfile_write(f, UINT32_MAX, 2, row, NULL), QV_ELIMIT);
    qv_rowfile_close(f);
    qv_sim_disk_destroy(&d);
}

static void test_failed_write_is_sticky(void **state)
{
    (void)state;
    struct qv_disk *d = qv_sim_disk_create(1, 0);
    struct qv_rowfile *f = NULL;
    static uint8_t row[516];
    assert_int_equal(qv_rowfile_open(d, "rows", &base_config, &f, NULL), 0);
    assert_int_equal(qv_rowfile_write_row(f, 0, row, NULL), 0);
    qv_sim_disk_fail(d, QV_SIM_OP_SYNC, "rows", 1, 1, QV_EIO);
    assert_int_equal(qv_rowfile_sync(f, NULL), QV_EIO);
    assert_int_equal(qv_rowfile_sync(f, NULL), QV_EIO); /* not tried again: it would say yes */
    assert_int_equal(qv_rowfile_write_row(f, 0, row, NULL), QV_EIO);
    qv_rowfile_close(f);
    qv_sim_disk_destroy(&d);
}

/* After a failed sync all rows go to a new file, at the same addresses for who reads; power fails
 * then, and everything that was synced since is there. */
static void test_failed_file_is_renewed(void **state)
{
    (void)state;
    struct qv_disk *disk = qv_sim_disk_create(5, 0);
    struct qv_rowfile *f = NULL;
    struct qv_file *copy = NULL;
    uint8_t row[516] = {0};
    assert_int_equal(qv_rowfile_open(disk, "rows", &base_config, &f, NULL), 0);
    row_make(row, 515, 1);
    assert_int_equal(qv_rowfile_write_row(f, 0, row, NULL), 0);
    const uint8_t *base = qv_rowfile_base(f);
    qv_sim_disk_fail(disk, QV_SIM_OP_SYNC, "rows", 1, 1, QV_EIO);
    assert_int_equal(qv_rowfile_sync(f, NULL), QV_EIO);
    assert_true(qv_rowfile_failed(f));
    assert_int_equal(qv_rowfile_sync(f, NULL), QV_EIO);
    assert_int_equal(qv_rowfile_write_row(f, 1, row, NULL), QV_EIO);
    qv_sim_disk_fail(disk, QV_SIM_OP_SYNC, "rows", 1, 1, QV_EIO);
    assert_int_equal(qv_rowfile_copy(f, &copy, NULL), QV_EIO); /* the disk fails still */
    assert_null(copy);
    assert_true(qv_rowfile_failed(f));
    assert_int_equal(qv_rowfile_copy(f, &copy, NULL), 0);
    assert_int_equal(qv_rowfile_adopt(f, copy, NULL), 0);
    assert_false(qv_rowfile_failed(f));
    assert_ptr_equal(qv_rowfile_base(f), base);
    assert_memory_equal(base, row, 515);
    row_make(row, 515, 2);
    assert_int_equal(qv_rowfile_write_row(f, 5000, row, NULL), 0); /* it grows as before */
    assert_int_equal(qv_rowfile_sync(f, NULL), 0);
    qv_rowfile_close(f);
    qv_sim_disk_crash(disk);
    struct qv_rowfile_config config = base_config;
    config.create = false;
    assert_int_equal(qv_rowfile_open(disk, "rows", &config, &f, NULL), 0);
    assert_memory_equal(qv_rowfile_base(f) + (size_t)5000 * 516, row, 515);
    row_make(row, 515, 1);
    assert_memory_equal(qv_rowfile_base(f), row, 515);
    qv_rowfile_close(f);
    qv_sim_disk_destroy(&disk);
}

static void test_synced_rows_survive_a_crash(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct qv_disk *d = qv_sim_disk_create(seed, 0);
        struct qv_rowfile *f = NULL;
        static uint8_t row[516];
        static uint8_t got[516];
        assert_int_equal(qv_rowfile_open(d, "rows", &base_config, &f, NULL), 0);
        for (uint32_t i = 0; i < 700; i++) {
            row_make(row, 515, i + 1);
            assert_int_equal(qv_rowfile_write_row(f, i, row, NULL), 0);
        }
        assert_int_equal(qv_rowfile_sync(f, NULL), 0);
        assert_int_equal(qv_disk_sync_dir(d, ".", NULL), 0);
        for (uint32_t i = 700; i < 1500; i++)
            assert_int_equal(qv_rowfile_write_row(f, i, row, NULL), 0);
        qv_rowfile_close(f);
        qv_sim_disk_crash(d);
        struct qv_rowfile_config c = base_config;
        c.create = false;
        assert_int_equal(qv_rowfile_open(d, "rows", &c, &f, NULL), 0);
        assert_true(qv_rowfile_capacity(f) >= 700);
        for (uint32_t i = 0; i < 700; i++) {
            memset(got, 0, sizeof got);
            row_make(got, 515, i + 1);
            assert_memory_equal(qv_rowfile_row(qv_rowfile_base(f), 516, i), got, 516);
        }
        qv_rowfile_close(f);
        qv_sim_disk_destroy(&d);
    }
}

static void test_header_is_checked(void **state)
{
    (void)state;
    struct qv_disk *d = qv_sim_disk_create(1, 0);
    struct qv_rowfile *f = NULL;
    struct qv_errmsg msg = {""};
    assert_int_equal(qv_rowfile_open(d, "rows", &base_config, &f, NULL), 0);
    qv_rowfile_close(f);
    assert_int_equal(qv_rowfile_open(d, "rows", &base_config, &f, NULL), QV_EEXISTS);
    struct qv_rowfile_config c = base_config;
    c.create = false;
    for (uint64_t byte = 0; byte < 64; byte++) {
        assert_int_equal(qv_sim_disk_flip(d, "rows", byte, (unsigned)byte), 0);
        assert_int_equal(qv_rowfile_open(d, "rows", &c, &f, &msg), QV_ECORRUPT);
        assert_non_null(strstr(msg.text, "rows"));
        assert_int_equal(qv_sim_disk_flip(d, "rows", byte, (unsigned)byte), 0);
    }
    struct qv_rowfile_config other = c;
    other.id = 78;
    assert_int_equal(qv_rowfile_open(d, "rows", &other, &f, &msg), QV_ECORRUPT);
    other = c;
    other.stride = 520;
    assert_int_equal(qv_rowfile_open(d, "rows", &other, &f, &msg), QV_ECORRUPT);
    other.row_bytes = 0;
    assert_int_equal(qv_rowfile_open(d, "rows", &other, &f, &msg), QV_EINVAL);
    other = c;
    other.stride = 100;
    assert_int_equal(qv_rowfile_open(d, "rows", &other, &f, &msg), QV_EINVAL);
    assert_int_equal(qv_rowfile_open(d, "nothing", &c, &f, &msg), QV_ENOTFOUND);
    struct qv_file *file = NULL;
    assert_int_equal(qv_disk_open(d, "rows", QV_OPEN_WRITE, &file, NULL), 0);
    assert_int_equal(qv_file_truncate(file, 100, NULL), 0);
    qv_file_close(file);
    assert_int_equal(qv_rowfile_open(d, "rows", &c, &f, &msg), QV_ECORRUPT);
    qv_sim_disk_destroy(&d);
}

int main(void)
{
    quiet_log();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_posix),
        cmocka_unit_test(test_rows_sim),
        cmocka_unit_test(test_full_disk_is_an_error),
        cmocka_unit_test(test_failed_write_is_sticky),
        cmocka_unit_test(test_failed_file_is_renewed),
        cmocka_unit_test(test_synced_rows_survive_a_crash),
        cmocka_unit_test(test_header_is_checked),
    };
    return RUN_SUITE(tests);
}
