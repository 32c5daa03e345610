/* One conformance suite over RocksDB and its simulated twin. */
#include "quiet.h"
#include "suite.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "base/rng.h"
#include "core/kv.h"
#include "io/disk_posix.h"
#include "io/sim_disk.h"
#include "io/sim_kv.h"
#include "storage/kv_rocks.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct fixture {
    bool real;
    struct qv_disk *disk;
    struct qv_kv_driver *driver;
    struct qv_kv *kv;
    char root[64];
    char dir[96];
};

static struct qv_bytes text(const char *s)
{
    return (struct qv_bytes){(const uint8_t *)s, strlen(s)};
}

static void reopen(struct fixture *f)
{
    struct qv_errmsg msg = {""};
    qv_kv_close(f->kv);
    f->kv = NULL;
    if (qv_kv_open(f->driver, f->dir, true, &f->kv, &msg) != 0)
        fail_msg("%s", msg.text);
}

static void fixture_open(struct fixture *f, bool real)
{
    memset(f, 0, sizeof *f);
    f->real = real;
    if (real) {
        snprintf(f->root, sizeof f->root, "/tmp/qv_kv_XXXXXX");
        assert_non_null(mkdtemp(f->root));
        f->disk = qv_disk_posix_create();
        f->driver = qv_kv_rocks_create(NULL);
    } else {
        snprintf(f->root, sizeof f->root, "root");
        f->disk = qv_sim_disk_create(7, 0);
        assert_int_equal(qv_disk_mkdir(f->disk, f->root, NULL), 0);
        f->driver = qv_sim_kv_create(f->disk);
    }
    snprintf(f->dir, sizeof f->dir, "%s/kv", f->root);
    reopen(f);
}

static void fixture_close(struct fixture *f)
{
    qv_kv_close(f->kv);
    assert_int_equal(qv_kv_destroy(f->driver, f->dir, NULL), 0);
    assert_int_equal(qv_kv_destroy(f->driver, f->dir, NULL), 0);
    assert_int_equal(qv_disk_rmdir(f->disk, f->root, NULL), 0);
    if (f->real) {
        qv_kv_rocks_destroy(&f->driver);
        qv_disk_posix_destroy(&f->disk);
    } else {
        qv_sim_kv_destroy(&f->driver);
        qv_sim_disk_destroy(&f->disk);
    }
}

static void put(struct fixture *f, const char *key, const char *value)
{
    struct qv_kv_batch b;
    qv_kv_batch_init(&b);
    qv_kv_batch_put(&b, text(key), text(value));
    assert_int_equal(qv_kv_write(f->kv, &b, NULL), 0);
    qv_kv_batch_close(&b);
}

static bool has(struct fixture *f, const struct qv_kv_snapshot *snap, const char *key,
                const char *value)
{
    struct qv_kv_value v;
    assert_int_equal(qv_kv_get(f->kv, snap, text(key), &v, NULL), 0);
    bool same = v.p == NULL ? value == NULL
                            : value != NULL && v.n == strlen(value) &&
                                  (v.n == 0 || memcmp(v.p, value, v.n) == 0);
    qv_kv_value_close(&v);
    return same;
}

static void check_basics(bool real)
{
    struct fixture f;
    fixture_open(&f, real);
    assert_true(has(&f, NULL, "a", NULL));
    put(&f, "a", "1");
    put(&f, "b", "");
    assert_true(has(&f, NULL, "a", "1"));
    assert_true(has(&f, NULL, "b", ""));
    struct qv_kv_snapshot *snap = NULL;
    assert_int_equal(qv_kv_snapshot(f.kv, &snap), 0);
    put(&f, "a", "2");
    assert_true(has(&f, NULL, "a", "2"));
    assert_true(has(&f, snap, "a", "1"));
    qv_kv_snapshot_release(f.kv, snap);

    struct qv_bytes keys[3] = {text("b"), text("nothing"), text("a")};
    struct qv_kv_value values[3];
    assert_int_equal(qv_kv_multi_get(f.kv, NULL, 3, keys, values, NULL), 0);
    assert_true(values[0].p != NULL && values[0].n == 0);
    assert_null(values[1].p);
    assert_true(values[2].n == 1 && values[2].p[0] == '2');
    for (int i = 0; i < 3; i++)
        qv_kv_value_close(&values[i]);

    assert_int_equal(qv_kv_flush(f.kv, NULL), 0);
    reopen(&f);
    assert_true(has(&f, NULL, "a", "2"));
    assert_int_equal(qv_kv_verify(f.kv, NULL), 0);
    assert_true(qv_kv_disk_bytes(f.kv) > 0);
    struct qv_kv *none = NULL;
    char missing[128];
    snprintf(missing, sizeof missing, "%s/missing", f.root);
    assert_int_equal(qv_kv_open(f.driver, missing, false, &none, NULL), QV_ENOTFOUND);
    fixture_close(&f);
}

static void check_batch_limits(bool real)
{
    struct fixture f;
    static const uint8_t big[QV_KV_KEY_BYTES_MAX + 1] = {1};
    fixture_open(&f, real);
    struct qv_kv_batch b;
    qv_kv_batch_init(&b);
    qv_kv_batch_put(&b, text("k"), text("v"));
    qv_kv_batch_put(&b, (struct qv_bytes){big, sizeof big}, text("v"));
    assert_int_equal(qv_kv_write(f.kv, &b, NULL), QV_ENOMEM);
    assert_true(has(&f, NULL, "k", NULL));
    qv_kv_batch_clear(&b);
    qv_kv_batch_put(&b, (struct qv_bytes){big, sizeof big - 1}, text("v"));
    assert_int_equal(qv_kv_write(f.kv, &b, NULL), 0);
    qv_kv_batch_close(&b);
    fixture_close(&f);
}

/* ---- against a plain model ---- */

enum { KEYS = 64 };

struct model {
    int value[KEYS]; /* 0: none */
};

static size_t key_of(int i, char out[8])
{
    return (size_t)snprintf(out, 8, "%c%02d", 'a' + i / 16, i);
}

static void check_iteration(struct fixture *f, const struct qv_kv_snapshot *snap,
                            const struct model *m, struct qv_rng *rng)
{
    char lower[8];
    char upper[8];
    int from = (int)qv_rng_below(rng, KEYS);
    int to = from + (int)qv_rng_below(rng, (uint64_t)(KEYS - from));
    struct qv_bytes lo = {(const uint8_t *)lower, key_of(from, lower)};
    struct qv_bytes hi = {(const uint8_t *)upper, key_of(to, upper)};
    bool bounded = qv_rng_below(rng, 2) == 0;
    struct qv_kv_iter *it = NULL;
    assert_int_equal(qv_kv_iter_open(f->kv, snap, lo, bounded ? hi : (struct qv_bytes){0}, &it), 0);
    memset(lower, 0, sizeof lower); /* the bounds were copied */
    memset(upper, 0, sizeof upper);
    int start = from;
    if (qv_rng_below(rng, 3) == 0) {
        char seek[8];
        int at = (int)qv_rng_below(rng, KEYS);
        qv_kv_iter_seek(it, (struct qv_bytes){(const uint8_t *)seek, key_of(at, seek)});
        start = at > from ? at : from;
    }
    struct qv_bytes key;
    struct qv_bytes value;
    for (int i = start; i < (bounded ? to : KEYS); i++) {
        char want[8];
        char text_value[16];
        if (m->value[i] == 0)
            continue;
        assert_int_equal(qv_kv_iter_next(it, &key, &value, NULL), 0);
        assert_int_equal(key.n, key_of(i, want));
        assert_memory_equal(key.p, want, key.n);
        assert_int_equal(value.n, snprintf(text_value, sizeof text_value, "%d", m->value[i]));
        assert_memory_equal(value.p, text_value, value.n);
    }
    assert_int_equal(qv_kv_iter_next(it, &key, &value, NULL), QV_EEOF);
    assert_int_equal(qv_kv_iter_next(it, &key, &value, NULL), QV_EEOF);
    qv_kv_iter_close(it);
}

static void random_batch(struct fixture *f, struct model *m, struct qv_rng *rng, int *next)
{
    struct qv_kv_batch b;
    qv_kv_batch_init(&b);
    size_t n = (size_t)qv_rng_below(rng, 12);
    for (size_t i = 0; i < n; i++) {
        char key[8];
        char other[8];
        char value[16];
        int k = (int)qv_rng_below(rng, KEYS);
        int to = k + (int)qv_rng_below(rng, (uint64_t)(KEYS - k));
        struct qv_bytes kb = {(const uint8_t *)key, key_of(k, key)};
        switch (qv_rng_below(rng, 6)) {
        case 0:
            qv_kv_batch_delete(&b, kb);
            m->value[k] = 0;
            break;
        case 1:
            if (qv_rng_below(rng, 4) == 0) {
                qv_kv_batch_delete_range(
                    &b, kb, (struct qv_bytes){(const uint8_t *)other, key_of(to, other)});
                memset(&m->value[k], 0, (size_t)(to - k) * sizeof m->value[0]);
            }
            break;
        default:
            m->value[k] = (*next)++;
            qv_kv_batch_put(
                &b, kb,
                (struct qv_bytes){(const uint8_t *)value,
                                  (size_t)snprintf(value, sizeof value, "%d", m->value[k])});
            break;
        }
    }
    assert_int_equal(qv_kv_write(f->kv, &b, NULL), 0);
    qv_kv_batch_close(&b);
}

static void check_model(bool real)
{
    struct fixture f;
    fixture_open(&f, real);
    struct qv_rng rng;
    qv_rng_init(&rng, 11);
    struct model now = {{0}};
    struct model then = {{0}};
    struct qv_kv_snapshot *snap = NULL;
    int next = 1;
    for (int step = 0; step < 300; step++) {
        random_batch(&f, &now, &rng, &next);
        if (qv_rng_below(&rng, 10) == 0)
            assert_int_equal(qv_kv_flush(f.kv, NULL), 0);
        if (snap == NULL && qv_rng_below(&rng, 10) == 0) {
            assert_int_equal(qv_kv_snapshot(f.kv, &snap), 0);
            then = now;
        }
        check_iteration(&f, NULL, &now, &rng);
        if (snap != NULL) {
            check_iteration(&f, snap, &then, &rng);
            if (qv_rng_below(&rng, 10) == 0) {
                qv_kv_snapshot_release(f.kv, snap);
                snap = NULL;
            }
        }
        if (snap == NULL && qv_rng_below(&rng, 40) == 0) {
            assert_int_equal(qv_kv_flush(f.kv, NULL), 0);
            reopen(&f);
        }
    }
    if (snap != NULL)
        qv_kv_snapshot_release(f.kv, snap);
    char copy[128];
    snprintf(copy, sizeof copy, "%s/copy", f.root);
    assert_int_equal(qv_kv_checkpoint(f.kv, copy, NULL), 0);
    put(&f, "zz", "later");
    struct qv_kv *main_kv = f.kv;
    assert_int_equal(qv_kv_open(f.driver, copy, false, &f.kv, NULL), 0);
    check_iteration(&f, NULL, &now, &rng);
    assert_true(has(&f, NULL, "zz", NULL));
    qv_kv_close(f.kv);
    f.kv = main_kv;
    assert_int_equal(qv_kv_destroy(f.driver, copy, NULL), 0);
    fixture_close(&f);
}

/* ---- flipped bits ---- */

struct flip_list {
    char name[32][64];
    size_t n;
};

static bool flip_name(void *arg, const char *name, bool is_dir)
{
    struct flip_list *l = arg;
    /* LOG is RocksDB's diary, LOCK is empty, IDENTITY and OPTIONS hold no data of ours. */
    bool data = strstr(name, ".sst") != NULL || strstr(name, ".kv") != NULL ||
                strncmp(name, "MANIFEST", 8) == 0 || strcmp(name, "CURRENT") == 0;
    if (!is_dir && data && l->n < 32)
        snprintf(l->name[l->n++], 64, "%s", name);
    return true;
}

static void flip(struct fixture *f, const char *path, uint64_t offset, unsigned bit)
{
    struct qv_file *file = NULL;
    uint8_t byte;
    if (!f->real) {
        assert_int_equal(qv_sim_disk_flip(f->disk, path, offset, bit), 0);
        return;
    }
    assert_int_equal(qv_disk_open(f->disk, path, QV_OPEN_WRITE, &file, NULL), 0);
    assert_int_equal(qv_file_pread_full(file, offset, &byte, 1, NULL), 0);
    byte ^= (uint8_t)(1u << bit);
    assert_int_equal(qv_file_pwrite_full(file, offset, &byte, 1, NULL), 0);
    qv_file_close(file);
}

/* Everything reads as it was, or an error says that it doesn't: never other bytes. */
static bool detected_or_right(struct fixture *f, int rows)
{
    struct qv_errmsg msg = {""};
    struct qv_kv_iter *it = NULL;
    struct qv_bytes none = {0};
    struct qv_bytes key;
    struct qv_bytes value;
    int err = qv_kv_open(f->driver, f->dir, false, &f->kv, &msg);
    int seen = 0;
    if (err != 0) {
        assert_true(err == QV_ECORRUPT || err == QV_EIO);
        assert_true(strlen(msg.text) > 0);
        return true;
    }
    assert_int_equal(qv_kv_iter_open(f->kv, NULL, none, none, &it), 0);
    while ((err = qv_kv_iter_next(it, &key, &value, &msg)) == 0) {
        char want_key[16];
        char want[64];
        assert_int_equal(key.n, snprintf(want_key, sizeof want_key, "key%05d", seen));
        assert_memory_equal(key.p, want_key, key.n);
        assert_int_equal(value.n, snprintf(want, sizeof want, "value %d %d", seen, seen * 7919));
        assert_memory_equal(value.p, want, value.n);
        seen++;
    }
    qv_kv_iter_close(it);
    bool right = err == QV_EEOF && seen == rows;
    bool detected = err == QV_ECORRUPT && strstr(msg.text, f->dir) != NULL;
    int again = qv_kv_verify(f->kv, &msg);
    qv_kv_close(f->kv);
    f->kv = NULL;
    return (right && (again == 0 || again == QV_ECORRUPT)) || (detected && again == QV_ECORRUPT);
}

static void check_flips(bool real)
{
    struct fixture f;
    fixture_open(&f, real);
    enum { ROWS = 2000 };
    int flips = real ? 100 : 300;
    struct qv_kv_batch b;
    qv_kv_batch_init(&b);
    for (int i = 0; i < ROWS; i++) {
        char key[16];
        char value[64];
        snprintf(key, sizeof key, "key%05d", i);
        snprintf(value, sizeof value, "value %d %d", i, i * 7919);
        qv_kv_batch_put(&b, text(key), text(value));
    }
    assert_int_equal(qv_kv_write(f.kv, &b, NULL), 0);
    qv_kv_batch_close(&b);
    assert_int_equal(qv_kv_flush(f.kv, NULL), 0);
    qv_kv_close(f.kv);
    f.kv = NULL;
    struct flip_list files = {.n = 0};
    assert_int_equal(qv_disk_list(f.disk, f.dir, flip_name, &files, NULL), 0);
    assert_true(files.n >= 1);
    struct qv_rng rng;
    qv_rng_init(&rng, 5);
    unsigned long corrupt = qv_corrupt_count();
    for (int i = 0; i < flips; i++) {
        char path[256];
        struct qv_disk *d = f.disk;
        struct qv_file *file = NULL;
        uint64_t size = 0;
        snprintf(path, sizeof path, "%s/%s", f.dir, files.name[(size_t)i % files.n]);
        assert_int_equal(qv_disk_open(d, path, QV_OPEN_READ, &file, NULL), 0);
        assert_int_equal(qv_file_size(file, &size, NULL), 0);
        qv_file_close(file);
        uint64_t offset = qv_rng_below(&rng, size);
        unsigned bit = (unsigned)qv_rng_below(&rng, 8);
        flip(&f, path, offset, bit);
        if (!detected_or_right(&f, ROWS))
            fail_msg("%s, offset %llu, bit %u", path, (unsigned long long)offset, bit);
        struct qv_file *again =
            NULL; /* a store that opened may have replaced MANIFEST and CURRENT */
        int err = qv_disk_open(d, path, QV_OPEN_READ, &again, NULL);
        qv_file_close(again);
        if (err == 0)
            flip(&f, path, offset, bit);
        files.n = 0;
        assert_int_equal(qv_disk_list(f.disk, f.dir, flip_name, &files, NULL), 0);
    }
    assert_true(qv_corrupt_count() > corrupt);
    reopen(&f);
    fixture_close(&f);
}

/* The disk takes no files of more than a few bytes any more, or all again. */
static void starve(struct fixture *f, bool on)
{
    if (f->real) {
        struct rlimit limit;
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
        limit.rlim_cur = on ? 64 : limit.rlim_max;
        (void)signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    } else {
        qv_sim_disk_set_capacity(f->disk, on ? 1 : 0);
    }
}

static int put_flush(struct fixture *f, const char *key, const char *value)
{
    struct qv_kv_batch b;
    qv_kv_batch_init(&b);
    qv_kv_batch_put(&b, text(key), text(value));
    int err = qv_kv_write(f->kv, &b, NULL);
    qv_kv_batch_close(&b);
    return err == 0 ? qv_kv_flush(f->kv, NULL) : err;
}

static bool stored(struct fixture *f, const char *key)
{
    struct qv_kv_value v = {0};
    assert_int_equal(qv_kv_get(f->kv, NULL, text(key), &v, NULL), 0);
    bool there = v.p != NULL;
    qv_kv_value_close(&v);
    return there;
}

/* What was flushed stays and is read; nothing more is taken, whatever the disk does, until the
 * store is opened anew: then it is what was flushed. */
static void check_failed_flush(bool real)
{
    struct fixture f;
    struct qv_errmsg msg = {""};
    fixture_open(&f, real);
    assert_int_equal(put_flush(&f, "a", "1"), 0);
    starve(&f, true);
    assert_int_equal(put_flush(&f, "b", "2"), QV_ENOSPC);
    assert_true(stored(&f, "a"));
    assert_int_not_equal(qv_kv_flush(f.kv, &msg), 0);
    assert_int_equal(qv_kv_reopen(f.kv, &msg), QV_ENOSPC);
    assert_non_null(strstr(msg.text, f.dir));
    assert_true(stored(&f, "a"));
    starve(&f, false);
    assert_int_not_equal(qv_kv_flush(f.kv, NULL), 0); /* never as if nothing had been */
    assert_int_not_equal(put_flush(&f, "c", "3"), 0);
    struct qv_kv_iter *it = NULL;
    assert_int_equal(qv_kv_reopen(f.kv, &msg), 0);
    assert_true(stored(&f, "a"));
    assert_false(stored(&f, "b"));
    assert_false(stored(&f, "c"));
    assert_int_equal(put_flush(&f, "d", "4"), 0);
    reopen(&f);
    assert_true(stored(&f, "a") && stored(&f, "d") && !stored(&f, "b"));
    struct qv_bytes none = {NULL, 0};
    struct qv_bytes key;
    struct qv_bytes value;
    assert_int_equal(qv_kv_iter_open(f.kv, NULL, none, none, &it), 0);
    assert_int_equal(qv_kv_iter_next(it, &key, &value, NULL), 0);
    assert_int_equal(qv_kv_iter_next(it, &key, &value, NULL), 0);
    assert_int_equal(qv_kv_iter_next(it, &key, &value, NULL), QV_EEOF);
    qv_kv_iter_close(it);
    fixture_close(&f);
}

static void check_failed_flush_rocks(void **state)
{
    (void)state;
    check_failed_flush(true);
}

static void check_failed_flush_sim(void **state)
{
    (void)state;
    check_failed_flush(false);
}

struct listing {
    uint64_t names; /* a sum that does not depend on the order */
    uint32_t n;
};

static bool add_name(void *arg, const char *name, bool is_dir)
{
    struct listing *l = arg;
    (void)is_dir;
    l->n++;
    l->names += qv_hash_64(name, strlen(name));
    return true;
}

static void check_read_only(bool real)
{
    struct fixture f;
    struct listing before = {0};
    struct listing after = {0};
    fixture_open(&f, real);
    assert_int_equal(put_flush(&f, "a", "1"), 0);
    qv_kv_close(f.kv);
    assert_int_equal(qv_disk_list(f.disk, f.dir, add_name, &before, NULL), 0);
    assert_int_equal(qv_kv_open_read_only(f.driver, f.dir, &f.kv, NULL), 0);
    assert_true(stored(&f, "a"));
    assert_int_equal(qv_kv_verify(f.kv, NULL), 0);
    assert_int_equal(put_flush(&f, "b", "2"), QV_EIO);
    assert_int_equal(qv_kv_flush(f.kv, NULL), QV_EIO);
    assert_int_equal(qv_disk_list(f.disk, f.dir, add_name, &after, NULL), 0);
    assert_true(before.n == after.n && before.names == after.names);
    qv_kv_close(f.kv);
    assert_int_equal(qv_kv_open_read_only(f.driver, "nowhere", &f.kv, NULL), QV_ENOTFOUND);
    assert_null(f.kv);
    reopen(&f);
    assert_false(stored(&f, "b"));
    fixture_close(&f);
}

static void check_read_only_rocks(void **state)
{
    (void)state;
    check_read_only(true);
}

static void check_read_only_sim(void **state)
{
    (void)state;
    check_read_only(false);
}

/* An open and reads leave the files as they are; the first write makes new ones, while who reads
 * goes on reading what was there: also when it is overwritten, compacted and gone. */
static void test_rocks_opens_for_writing_late(void **state)
{
    struct fixture f;
    struct listing before = {0};
    struct listing after = {0};
    struct qv_kv_snapshot *snap = NULL;
    struct qv_kv_iter *it = NULL;
    struct qv_bytes none = {NULL, 0};
    struct qv_bytes key;
    struct qv_bytes value;
    char name[16];
    (void)state;
    fixture_open(&f, true);
    for (int file = 0; file < 7; file++) { /* one more file, and they are merged */
        for (int i = 0; i < 50; i++) {
            snprintf(name, sizeof name, "k%03d", i * 7 + file);
            put(&f, name, "old");
        }
        assert_int_equal(qv_kv_flush(f.kv, NULL), 0);
    }
    qv_kv_close(f.kv);
    assert_int_equal(qv_disk_list(f.disk, f.dir, add_name, &before, NULL), 0);
    assert_int_equal(qv_kv_open(f.driver, f.dir, false, &f.kv, NULL), 0);
    assert_true(has(&f, NULL, "k007", "old"));
    assert_true(qv_kv_disk_bytes(f.kv) > 0);
    assert_int_equal(qv_disk_list(f.disk, f.dir, add_name, &after, NULL), 0);
    assert_true(before.n == after.n && before.names == after.names);
    assert_int_equal(qv_kv_snapshot(f.kv, &snap), 0);
    assert_int_equal(qv_kv_iter_open(f.kv, NULL, none, none, &it), 0);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 350; i++) {
            snprintf(name, sizeof name, "k%03d", i);
            put(&f, name, "new");
        }
        assert_int_equal(qv_kv_flush(f.kv, NULL), 0);
    }
    assert_true(has(&f, NULL, "k007", "new"));
    assert_true(has(&f, snap, "k007", "old"));
    struct qv_kv_value out;
    struct qv_bytes wanted = text("k008");
    assert_int_equal(qv_kv_multi_get(f.kv, snap, 1, &wanted, &out, NULL), 0);
    assert_true(out.n == 3 && memcmp(out.p, "old", 3) == 0);
    qv_kv_value_close(&out);
    int n = 0;
    while (qv_kv_iter_next(it, &key, &value, NULL) == 0)
        n += value.n == 3 && memcmp(value.p, "old", 3) == 0;
    assert_int_equal(n, 350);
    qv_kv_iter_close(it);
    assert_int_equal(qv_kv_iter_open(f.kv, snap, none, none, &it), 0);
    for (n = 0; qv_kv_iter_next(it, &key, &value, NULL) == 0;)
        n += value.n == 3 && memcmp(value.p, "old", 3) == 0;
    assert_int_equal(n, 350);
    qv_kv_iter_close(it);
    qv_kv_snapshot_release(f.kv, snap);
    put(&f, "k007", "newer"); /* the older one is closed here */
    assert_int_equal(qv_kv_flush(f.kv, NULL), 0);
    assert_true(has(&f, NULL, "k007", "newer"));
    assert_int_equal(qv_kv_verify(f.kv, NULL), 0);
    reopen(&f);
    assert_true(has(&f, NULL, "k007", "newer") && has(&f, NULL, "k008", "new"));
    fixture_close(&f);
}

/* The disk is full when the first write comes: refused, reads go on, and as after any failed write
 * a reopen is needed. */
static void test_rocks_late_open_on_a_full_disk(void **state)
{
    struct fixture f;
    struct qv_kv_iter *it = NULL;
    struct qv_bytes none = {NULL, 0};
    (void)state;
    fixture_open(&f, true);
    assert_int_equal(put_flush(&f, "a", "1"), 0);
    reopen(&f);
    starve(&f, true);
    assert_int_equal(put_flush(&f, "b", "2"), QV_ENOSPC);
    assert_true(stored(&f, "a"));
    starve(&f, false);
    assert_int_not_equal(put_flush(&f, "b", "2"), 0);
    assert_int_equal(qv_kv_iter_open(f.kv, NULL, none, none, &it), 0);
    assert_int_equal(qv_kv_reopen(f.kv, NULL), 0); /* beside a reader */
    qv_kv_iter_close(it);
    assert_int_equal(put_flush(&f, "c", "3"), 0);
    assert_true(stored(&f, "a") && stored(&f, "c") && !stored(&f, "b"));
    fixture_close(&f);
}

static void test_sim_loses_what_was_not_flushed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct fixture f;
        fixture_open(&f, false);
        struct qv_rng rng;
        qv_rng_init(&rng, seed);
        struct model durable = {{0}};
        struct model now = {{0}};
        int next = 1;
        for (int i = 0; i < 6; i++) {
            random_batch(&f, &now, &rng, &next);
            if (qv_rng_below(&rng, 3) == 0) {
                assert_int_equal(qv_kv_flush(f.kv, NULL), 0);
                durable = now;
            }
        }
        bool cut = qv_rng_below(&rng, 2) == 0;
        if (cut)
            qv_sim_disk_die_after(f.disk, 1 + qv_rng_below(&rng, 6));
        bool flushed = cut && qv_kv_flush(f.kv, NULL) == 0;
        if (flushed)
            durable = now;
        qv_kv_close(f.kv);
        f.kv = NULL;
        qv_sim_disk_crash(f.disk);
        reopen(&f);
        struct qv_rng same = rng;
        bool is_now = false;
        if (cut && !flushed) { /* it may be there, whole */
            char key[8];
            is_now = true;
            for (int k = 0; k < KEYS; k++) {
                char value[16];
                snprintf(value, sizeof value, "%d", now.value[k]);
                key_of(k, key);
                is_now = is_now && has(&f, NULL, key, now.value[k] != 0 ? value : NULL);
            }
        }
        for (int i = 0; i < 10; i++)
            check_iteration(&f, NULL, is_now ? &now : &durable, &same);
        fixture_close(&f);
    }
}

#define BOTH(check)                                                                                \
    static void check##_rocks(void **state)                                                        \
    {                                                                                              \
        (void)state;                                                                               \
        check(true);                                                                               \
    }                                                                                              \
    static void check##_sim(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        check(false);                                                                              \
    }
BOTH(check_basics)
BOTH(check_batch_limits)
BOTH(check_model)
BOTH(check_flips)

int main(void)
{
    quiet_log();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_basics_rocks),
        cmocka_unit_test(check_basics_sim),
        cmocka_unit_test(check_batch_limits_rocks),
        cmocka_unit_test(check_batch_limits_sim),
        cmocka_unit_test(check_model_rocks),
        cmocka_unit_test(check_model_sim),
        cmocka_unit_test(check_flips_rocks),
        cmocka_unit_test(check_flips_sim),
        cmocka_unit_test(check_failed_flush_rocks),
        cmocka_unit_test(check_failed_flush_sim),
        cmocka_unit_test(check_read_only_rocks),
        cmocka_unit_test(check_read_only_sim),
        cmocka_unit_test(test_rocks_opens_for_writing_late),
        cmocka_unit_test(test_rocks_late_open_on_a_full_disk),
        cmocka_unit_test(test_sim_loses_what_was_not_flushed),
    };
    return RUN_SUITE(tests);
}
