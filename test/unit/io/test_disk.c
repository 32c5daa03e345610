/* The disk contract on both disks, and what only the simulated one can do. */
#include "suite.h"

#include "base/mem.h"
#include "base/rng.h"
#include "io/disk_posix.h"
#include "io/sim_disk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct fixture {
    struct qv_disk *disk;
    bool real;
    char dir[64];
    char path[128];
};

static void open_fixture(struct fixture *f, bool real)
{
    f->real = real;
    f->disk = real ? qv_disk_posix_create() : qv_sim_disk_create(1, 0);
    snprintf(f->dir, sizeof f->dir, real ? "/tmp/qv_disk_XXXXXX" : "dir");
    if (real)
        assert_non_null(mkdtemp(f->dir));
    else
        assert_int_equal(qv_disk_mkdir(f->disk, f->dir, NULL), 0);
    snprintf(f->path, sizeof f->path, "%s/file", f->dir);
}

static void close_fixture(struct fixture *f)
{
    assert_int_equal(qv_disk_rmdir(f->disk, f->dir, NULL), 0);
    if (f->real)
        qv_disk_posix_destroy(&f->disk);
    else
        qv_sim_disk_destroy(&f->disk);
}

static bool count_name(void *arg, const char *name, bool is_dir)
{
    size_t *n = arg;
    assert_true(strcmp(name, "file") == 0 || strcmp(name, "sub") == 0);
    assert_int_equal(is_dir, strcmp(name, "sub") == 0);
    (*n)++;
    return true;
}

static void check_names(bool real)
{
    struct fixture f;
    struct qv_file *file = NULL;
    struct qv_errmsg msg = {""};
    char other[128];
    char sub[128];
    size_t names = 0;
    open_fixture(&f, real);
    snprintf(other, sizeof other, "%s/other", f.dir);
    snprintf(sub, sizeof sub, "%s/sub", f.dir);
    assert_int_equal(qv_disk_open(f.disk, f.path, QV_OPEN_READ, &file, &msg), QV_ENOTFOUND);
    assert_non_null(strstr(msg.text, f.path));
    unsigned create = QV_OPEN_WRITE | QV_OPEN_CREATE;
    assert_int_equal(qv_disk_open(f.disk, other, create | QV_OPEN_EXCL, &file, NULL), 0);
    qv_file_close(file);
    assert_int_equal(qv_disk_open(f.disk, other, create | QV_OPEN_EXCL, &file, NULL), QV_EEXISTS);
    assert_int_equal(qv_disk_rename(f.disk, other, f.path, NULL), 0);
    assert_int_equal(qv_disk_rename(f.disk, other, f.path, NULL), QV_ENOTFOUND);
    assert_int_equal(qv_disk_mkdir(f.disk, sub, NULL), 0);
    assert_int_equal(qv_disk_mkdir(f.disk, sub, NULL), QV_EEXISTS);
    assert_int_equal(qv_disk_sync_dir(f.disk, f.dir, NULL), 0);
    assert_int_equal(qv_disk_list(f.disk, f.dir, count_name, &names, NULL), 0);
    assert_int_equal(names, 2);
    assert_int_equal(qv_disk_list(f.disk, other, count_name, &names, NULL), QV_ENOTFOUND);
    assert_int_equal(qv_disk_unlink(f.disk, f.path, NULL), 0);
    assert_int_equal(qv_disk_unlink(f.disk, f.path, NULL), QV_ENOTFOUND);
    assert_int_equal(qv_disk_rmdir(f.disk, sub, NULL), 0);
    char deep[160];
    snprintf(deep, sizeof deep, "%s/sub/a/b", f.dir);
    assert_int_equal(qv_disk_mkdir_all(f.disk, deep, NULL), 0);
    assert_int_equal(qv_disk_mkdir_all(f.disk, deep, NULL), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(qv_disk_rmdir(f.disk, deep, NULL), 0);
        *strrchr(deep, '/') = '\0';
    }
    struct qv_disk_space space;
    assert_int_equal(qv_disk_space(f.disk, f.dir, &space, NULL), 0);
    assert_true(space.free_bytes <= space.total_bytes && space.free_bytes > 0);
    close_fixture(&f);
}

static void check_bytes(bool real)
{
    struct fixture f;
    struct qv_file *file = NULL;
    uint8_t out[64];
    size_t got;
    uint64_t size;
    open_fixture(&f, real);
    assert_int_equal(qv_disk_open(f.disk, f.path, QV_OPEN_WRITE | QV_OPEN_CREATE, &file, NULL), 0);
    assert_int_equal(qv_file_pwrite_full(file, 10, "hello", 5, NULL), 0);
    assert_int_equal(qv_file_pread_full(file, 8, out, 7, NULL), 0);
    assert_memory_equal(out, "\0\0hello", 7);
    assert_int_equal(qv_file_pread_full(file, 12, out, 7, NULL), QV_EEOF);
    assert_int_equal(qv_file_pread(file, 12, out, 7, &got, NULL), 0);
    assert_int_equal(got, 3);
    assert_int_equal(qv_file_allocate(file, 0, 100000, NULL), 0);
    assert_int_equal(qv_file_size(file, &size, NULL), 0);
    assert_int_equal(size, 100000);
    assert_int_equal(qv_file_allocate(file, 0, 5, NULL), 0);
    assert_int_equal(qv_file_size(file, &size, NULL), 0);
    assert_int_equal(size, 100000);
    uint64_t at = 0;
    assert_int_equal(qv_file_next_data(file, 10, &at, NULL), 0);
    assert_int_equal(at, 10);
    assert_int_equal(qv_file_next_data(file, 60000, &at, NULL), 0);
    assert_true(at >= 60000 && at <= 100000); /* a hint */
    assert_int_equal(qv_file_next_data(file, 200000, &at, NULL), 0);
    assert_int_equal(at, 200000);
    const uint8_t *map = NULL;
    assert_int_equal(qv_file_map(file, 0, 8192, NULL, &map, NULL), 0);
    assert_memory_equal(map + 10, "hello", 5);
    assert_int_equal(qv_file_pwrite_full(file, 4096, "later", 5, NULL), 0);
    assert_memory_equal(map + 4096, "later", 5); /* writes show through */
    assert_int_equal(qv_file_map(file, 0, 200000, NULL, &(const uint8_t *){NULL}, NULL), QV_EEOF);
    void *range = mmap(NULL, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(range, MAP_FAILED);
    const uint8_t *fixed = NULL;
    assert_int_equal(qv_file_map(file, 4096, 4096, (uint8_t *)range + 4096, &fixed, NULL), 0);
    assert_ptr_equal(fixed, (uint8_t *)range + 4096);
    assert_memory_equal(fixed, "later", 5);
    munmap(range, 3 * 4096);
    qv_disk_unmap(f.disk, map, 8192);
    assert_int_equal(qv_file_truncate(file, 12, NULL), 0);
    assert_int_equal(qv_file_allocate(file, 0, 20, NULL), 0);
    assert_int_equal(qv_file_pread_full(file, 10, out, 10, NULL), 0);
    assert_memory_equal(out, "he\0\0\0\0\0\0\0\0", 10);
    assert_int_equal(qv_file_sync(file, NULL), 0);
    qv_file_close(file);
    assert_int_equal(qv_disk_replace_file(f.disk, f.path, "new", 3, NULL), 0);
    struct qv_buf b;
    qv_buf_init(&b, 0);
    assert_int_equal(qv_disk_read_file(f.disk, f.path, 2, &b, NULL), QV_ETOOBIG);
    assert_int_equal(qv_disk_read_file(f.disk, f.path, 3, &b, NULL), 0);
    assert_memory_equal(b.data, "new", 3);
    qv_buf_close(&b);
    assert_int_equal(qv_disk_unlink(f.disk, f.path, NULL), 0);
    close_fixture(&f);
}

#define BOTH(check)                                                                                \
    static void check##_posix(void **state)                                                        \
    {                                                                                              \
        (void)state;                                                                               \
        check(true);                                                                               \
    }                                                                                              \
    static void check##_sim(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        check(false);                                                                              \
    }
BOTH(check_names)
BOTH(check_bytes)

/* ---- crashes, against a model of sectors ---- */

enum { SECTORS = 40 };

/* Every sector after a crash is the synced one or one written since; the synced ones never change.
 */
static void test_crash_keeps_any_subset_of_sectors(void **state)
{
    (void)state;
    uint64_t mixed = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct qv_disk *d = qv_sim_disk_create(seed, 0);
        struct qv_file *f = NULL;
        struct qv_rng rng;
        uint8_t synced[SECTORS] = {0};
        uint8_t now[SECTORS] = {0};
        qv_rng_init(&rng, seed);
        assert_int_equal(qv_disk_open(d, "f", QV_OPEN_WRITE | QV_OPEN_CREATE, &f, NULL), 0);
        assert_int_equal(qv_file_allocate(f, 0, SECTORS * 512, NULL), 0);
        assert_int_equal(qv_file_sync(f, NULL), 0);
        assert_int_equal(qv_disk_sync_dir(d, ".", NULL), 0);
        for (int i = 1; i < 60; i++) {
            uint8_t block[512 * 4];
            size_t s = (size_t)qv_rng_below(&rng, SECTORS - 4);
            size_t n = 1 + (size_t)qv_rng_below(&rng, 4);
            memset(block, i, sizeof block);
            assert_int_equal(qv_file_pwrite_full(f, s * 512, block, n * 512, NULL), 0);
            memset(now + s, i, n);
            if (qv_rng_below(&rng, 20) == 0) {
                assert_int_equal(qv_file_sync(f, NULL), 0);
                memcpy(synced, now, sizeof now);
            }
        }
        qv_sim_disk_crash(d);
        uint8_t byte;
        assert_int_equal(qv_file_pread_full(f, 0, &byte, 1, NULL), QV_EIO); /* a stale handle */
        qv_file_close(f);
        assert_int_equal(qv_disk_open(d, "f", QV_OPEN_READ, &f, NULL), 0);
        size_t old = 0;
        size_t new = 0;
        for (size_t s = 0; s < SECTORS; s++) {
            uint8_t got[512];
            assert_int_equal(qv_file_pread_full(f, s * 512, got, 512, NULL), 0);
            assert_true(got[0] == synced[s] || got[0] == now[s]);
            old += got[0] != now[s];
            new += got[0] != synced[s];
            for (int i = 1; i < 512; i++)
                assert_int_equal(got[i], got[0]); /* a sector is never torn */
        }
        mixed += old > 0 && new > 0;
        qv_file_close(f);
        qv_sim_disk_destroy(&d);
    }
    assert_true(mixed > 50);
}

static bool exists(struct qv_disk *d, const char *path)
{
    struct qv_file *f = NULL;
    int err = qv_disk_open(d, path, QV_OPEN_READ, &f, NULL);
    qv_file_close(f);
    return err == 0;
}

static void test_crash_keeps_any_subset_of_names(void **state)
{
    (void)state;
    unsigned seen = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct qv_disk *d = qv_sim_disk_create(seed, 0);
        assert_int_equal(qv_disk_replace_file(d, "kept", "k", 1, NULL), 0);
        assert_int_equal(qv_disk_replace_file(d, "old", "o", 1, NULL), 0);
        struct qv_file *f = NULL;
        assert_int_equal(qv_disk_open(d, "new", QV_OPEN_WRITE | QV_OPEN_CREATE, &f, NULL), 0);
        assert_int_equal(qv_file_pwrite_full(f, 0, "n", 1, NULL), 0);
        assert_int_equal(qv_file_sync(f, NULL), 0);
        qv_file_close(f);
        assert_int_equal(qv_disk_rename(d, "old", "moved", NULL), 0);
        qv_sim_disk_crash(d);
        assert_true(exists(d, "kept"));
        assert_true(exists(d, "old") != exists(d, "moved")); /* a rename is atomic */
        seen |= 1u << ((exists(d, "new") ? 1 : 0) + (exists(d, "moved") ? 2 : 0));
        qv_sim_disk_destroy(&d);
    }
    assert_int_equal(seen, 15); /* all four outcomes */
}

static void test_failed_sync_saves_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct qv_disk *d = qv_sim_disk_create(seed, 0);
        struct qv_file *f = NULL;
        assert_int_equal(qv_disk_replace_file(d, "f", "old", 3, NULL), 0);
        assert_int_equal(qv_disk_open(d, "f", QV_OPEN_WRITE, &f, NULL), 0);
        assert_int_equal(qv_file_pwrite_full(f, 0, "new", 3, NULL), 0);
        qv_sim_disk_fail(d, QV_SIM_OP_SYNC, "f", 1, 1, QV_EIO);
        assert_int_equal(qv_file_sync(f, NULL), QV_EIO);
        assert_int_equal(qv_file_sync(f, NULL), QV_EIO);
        assert_int_equal(d->ops->sync(f, NULL), 0); /* what a retry would be told: a lie */
        qv_file_close(f);
        qv_sim_disk_crash(d);
        struct qv_buf b;
        qv_buf_init(&b, 0);
        assert_int_equal(qv_disk_read_file(d, "f", 10, &b, NULL), 0);
        assert_memory_equal(b.data, "old", 3);
        qv_buf_close(&b);
        qv_sim_disk_destroy(&d);
    }
}

static void test_faults_fire_and_are_counted(void **state)
{
    (void)state;
    struct qv_disk *d = qv_sim_disk_create(1, 10000);
    struct qv_file *f = NULL;
    static uint8_t p[8000];
    assert_int_equal(qv_disk_open(d, "f", QV_OPEN_WRITE | QV_OPEN_CREATE, &f, NULL), 0);
    qv_sim_disk_fail(d, QV_SIM_OP_WRITE, "f", 2, 1, QV_EIO);
    assert_int_equal(qv_file_pwrite_full(f, 0, p, 10, NULL), 0);
    assert_int_equal(qv_file_pwrite_full(f, 0, p, 10, NULL), QV_EIO);
    qv_file_close(f);
    assert_int_equal(qv_disk_open(d, "f", QV_OPEN_WRITE, &f, NULL), 0);
    assert_int_equal(qv_file_allocate(f, 0, 20000, NULL), QV_ENOSPC);
    assert_int_equal(qv_file_allocate(f, 0, 8000, NULL), 0);
    assert_int_equal(qv_file_pwrite_full(f, 0, p, 8000, NULL), 0);
    assert_int_equal(qv_file_pwrite_full(f, 8000, p, 8000, NULL), QV_ENOSPC);
    qv_file_close(f);
    assert_int_equal(qv_sim_disk_flip(d, "f", 7, 3), 0);
    assert_int_equal(qv_sim_disk_flip(d, "f", 8000, 3), QV_EINVAL);
    assert_int_equal(qv_sim_disk_flip(d, "g", 7, 3), QV_ENOTFOUND);
    assert_int_equal(qv_sim_disk_used(d), 8000);
    qv_sim_disk_die_after(d, 2);
    assert_true(exists(d, "f"));
    assert_false(exists(d, "f"));
    assert_true(qv_sim_disk_is_dead(d));
    qv_sim_disk_kill(d);
    assert_true(exists(d, "f"));
    const struct qv_sim_disk_counts *c = qv_sim_disk_counts(d);
    assert_true(c->errors_io == 1 && c->errors_space == 2 && c->flips == 1 && c->ops > 5);
    assert_int_equal(qv_disk_unlink(d, "f", NULL), 0);
    assert_int_equal(qv_sim_disk_used(d), 0);
    qv_sim_disk_destroy(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_names_posix),
        cmocka_unit_test(check_names_sim),
        cmocka_unit_test(check_bytes_posix),
        cmocka_unit_test(check_bytes_sim),
        cmocka_unit_test(test_crash_keeps_any_subset_of_sectors),
        cmocka_unit_test(test_crash_keeps_any_subset_of_names),
        cmocka_unit_test(test_failed_sync_saves_nothing),
        cmocka_unit_test(test_faults_fire_and_are_counted),
    };
    return RUN_SUITE(tests);
}
