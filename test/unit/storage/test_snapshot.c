#include "quiet.h"
#include "suite.h"

#include "base/mem.h"
#include "base/rng.h"
#include "io/sim_disk.h"
#include "storage/snapshot.h"

#include <string.h>

#define PATH "dir/one.snapshot"
#define PARTS_MAX 12

struct made {
    uint32_t count;
    uint32_t kind[PARTS_MAX];
    size_t bytes[PARTS_MAX];
    uint8_t *data[PARTS_MAX];
    struct qv_snapshot_info info;
};

static void made_close(struct made *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        qv_mem_free(m->data[i]);
}

static void make(struct qv_disk *d, struct qv_rng *rng, size_t most, struct made *m)
{
    struct qv_snapshot_writer *w = NULL;
    memset(m, 0, sizeof *m);
    assert_int_equal(qv_snapshot_create(d, PATH, QV_SNAPSHOT_COLLECTION, 5, &w, NULL), 0);
    m->count = (uint32_t)qv_rng_below(rng, PARTS_MAX);
    for (uint32_t i = 0; i < m->count; i++) {
        m->kind[i] = (uint32_t)qv_rng_below(rng, 4);
        m->bytes[i] = (size_t)qv_rng_below(rng, qv_rng_below(rng, 3) == 0 ? most : 300);
        m->data[i] = qv_mem_alloc(m->bytes[i] + 1);
        for (size_t k = 0; k < m->bytes[i]; k++)
            m->data[i][k] = (uint8_t)qv_rng_u64(rng);
        assert_int_equal(qv_snapshot_begin_part(w, m->kind[i], i, 7, NULL), 0);
        for (size_t done = 0; done < m->bytes[i];) {
            size_t part = 1 + (size_t)qv_rng_below(rng, m->bytes[i] - done);
            assert_int_equal(qv_snapshot_append(w, m->data[i] + done, part, NULL), 0);
            done += part;
        }
    }
    assert_int_equal(qv_snapshot_finish(w, &m->info, NULL), 0);
}

static int verify_all(struct qv_snapshot_reader *r, struct qv_rng *rng, bool sha,
                      struct qv_errmsg *msg)
{
    bool done = false;
    int err = 0;
    while (err == 0 && !done)
        err = qv_snapshot_verify_step(r, 1 + qv_rng_below(rng, 700000), sha, &done, msg);
    return err;
}

static void sha_of_file(struct qv_disk *d, uint8_t out[QV_SHA256_BYTES])
{
    struct qv_buf b;
    struct qv_sha256 h;
    qv_buf_init(&b, 0);
    assert_int_equal(qv_disk_read_file(d, PATH, (size_t)1 << 30, &b, NULL), 0);
    qv_sha256_init(&h);
    qv_sha256_add(&h, b.data, b.len);
    qv_sha256_end(&h, out);
    qv_buf_close(&b);
}

static void read_back(struct qv_snapshot_reader *r, struct made *m, struct qv_rng *rng)
{
    assert_int_equal(qv_snapshot_part_count(r), m->count);
    for (uint32_t i = m->count; i-- > 0;) {
        uint8_t *got = qv_mem_alloc(m->bytes[i] + 1);
        assert_int_equal(qv_snapshot_find(r, m->kind[i], i, 7), i);
        assert_int_equal(qv_snapshot_part(r, i)->bytes, m->bytes[i]);
        qv_snapshot_begin_read(r, i);
        for (size_t done = 0; done < m->bytes[i];) {
            size_t part = 1 + (size_t)qv_rng_below(rng, m->bytes[i] - done);
            assert_int_equal(qv_snapshot_read(r, got + done, part, NULL), 0);
            done += part;
        }
        assert_int_equal(qv_snapshot_end_read(r, NULL), 0);
        assert_memory_equal(got, m->data[i], m->bytes[i]);
        assert_int_equal(qv_snapshot_read(r, got, 1, NULL), QV_ECORRUPT);
        qv_mem_free(got);
    }
    assert_int_equal(qv_snapshot_find(r, 99, 0, 7), UINT32_MAX);
}

static void round_trips(void **state)
{
    struct qv_rng rng;
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct qv_disk *d = qv_sim_disk_create(seed, 0);
        struct qv_snapshot_reader *r = NULL;
        struct made m;
        uint8_t sha[QV_SHA256_BYTES];
        uint8_t sha_read[QV_SHA256_BYTES];
        qv_rng_init(&rng, seed);
        assert_int_equal(qv_disk_mkdir(d, "dir", NULL), 0);
        make(d, &rng, 900000, &m);
        assert_int_equal(qv_snapshot_open(d, PATH, 0, 0, &r, NULL), 0);
        assert_int_equal(qv_snapshot_bytes(r), m.info.bytes);
        assert_int_equal(verify_all(r, &rng, true, NULL), 0);
        qv_snapshot_sha256(r, sha_read);
        sha_of_file(d, sha);
        assert_memory_equal(sha, m.info.sha256, sizeof sha);
        assert_memory_equal(sha, sha_read, sizeof sha);
        read_back(r, &m, &rng);
        qv_snapshot_close(r);
        made_close(&m);
        qv_sim_disk_destroy(&d);
    }
}

/* Opens and verifies what stands in the file, which is not what was written. */
static void must_refuse(struct qv_disk *d, const uint8_t *p, size_t n, struct qv_rng *rng)
{
    struct qv_snapshot_reader *r = NULL;
    struct qv_errmsg msg = {""};
    assert_int_equal(qv_disk_replace_file(d, "dir/bad", p, n, NULL), 0);
    int err = qv_snapshot_open(d, "dir/bad", 0, 0, &r, &msg);
    if (err == 0)
        err = verify_all(r, rng, false, &msg);
    if (err != QV_ENOTIMPL)
        assert_int_equal(err, QV_ECORRUPT);
    assert_true(msg.text[0] != '\0');
    qv_snapshot_close(r);
}

static void every_flip_is_found(void **state)
{
    struct qv_rng rng;
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct qv_disk *d = qv_sim_disk_create(seed, 0);
        struct made m;
        struct qv_buf b;
        qv_rng_init(&rng, seed);
        qv_buf_init(&b, 0);
        assert_int_equal(qv_disk_mkdir(d, "dir", NULL), 0);
        make(d, &rng, 400, &m);
        assert_int_equal(qv_disk_read_file(d, PATH, (size_t)1 << 30, &b, NULL), 0);
        for (size_t i = 0; i < b.len; i++) {
            uint8_t bit = (uint8_t)(1u << qv_rng_below(&rng, 8));
            b.data[i] ^= bit;
            must_refuse(d, b.data, b.len, &rng);
            b.data[i] ^= bit;
        }
        for (size_t n = 0; n < b.len; n += 1 + (size_t)qv_rng_below(&rng, 20))
            must_refuse(d, b.data, n, &rng);
        qv_buf_u8(&b, 0); /* longer, too */
        must_refuse(d, b.data, b.len, &rng);
        qv_buf_close(&b);
        made_close(&m);
        qv_sim_disk_destroy(&d);
    }
}

/* Inside a larger file, as an upload brings it. */
static void lies_inside_a_file(void **state)
{
    struct qv_disk *d = qv_sim_disk_create(3, 0);
    struct qv_snapshot_reader *r = NULL;
    struct made m;
    struct qv_buf b;
    struct qv_rng rng;
    (void)state;
    qv_rng_init(&rng, 3);
    qv_buf_init(&b, 0);
    assert_int_equal(qv_disk_mkdir(d, "dir", NULL), 0);
    make(d, &rng, 5000, &m);
    qv_buf_str(&b, "before");
    assert_int_equal(qv_disk_read_file(d, PATH, (size_t)1 << 30, &b, NULL), 0);
    size_t bytes = b.len - 6;
    qv_buf_str(&b, "behind");
    assert_int_equal(qv_disk_replace_file(d, "dir/upload", b.data, b.len, NULL), 0);
    assert_int_equal(qv_snapshot_open(d, "dir/upload", 6, bytes, &r, NULL), 0);
    assert_int_equal(verify_all(r, &rng, true, NULL), 0);
    read_back(r, &m, &rng);
    qv_snapshot_close(r);
    assert_int_equal(qv_snapshot_open(d, "dir/upload", 5, bytes, &r, NULL), QV_ECORRUPT);
    assert_int_equal(qv_snapshot_open(d, "dir/upload", 6, bytes + 7, &r, NULL), QV_ECORRUPT);
    assert_int_equal(qv_snapshot_open(d, "dir/upload", bytes * 9, 1, &r, NULL), QV_ECORRUPT);
    assert_int_equal(qv_snapshot_open(d, "dir/none", 0, 0, &r, NULL), QV_ENOTFOUND);
    qv_buf_close(&b);
    made_close(&m);
    qv_sim_disk_destroy(&d);
}

/* A disk that fills up leaves an error and no file. */
static void full_disk(void **state)
{
    struct qv_disk *d = qv_sim_disk_create(5, 200000);
    struct qv_snapshot_writer *w = NULL;
    struct qv_snapshot_info info;
    static uint8_t zeros[300000];
    struct qv_file *f = NULL;
    (void)state;
    assert_int_equal(qv_disk_mkdir(d, "dir", NULL), 0);
    assert_int_equal(qv_snapshot_create(d, PATH, QV_SNAPSHOT_FULL, 1, &w, NULL), 0);
    assert_int_equal(qv_snapshot_begin_part(w, 1, 0, 0, NULL), 0);
    assert_int_equal(qv_snapshot_append(w, zeros, sizeof zeros, NULL), QV_ENOSPC);
    assert_int_equal(qv_snapshot_append(w, zeros, 1, NULL), QV_ENOSPC);
    assert_int_equal(qv_snapshot_finish(w, &info, NULL), QV_ENOSPC);
    assert_int_equal(qv_disk_open(d, PATH, QV_OPEN_READ, &f, NULL), QV_ENOTFOUND);
    qv_sim_disk_destroy(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),
        cmocka_unit_test(every_flip_is_found),
        cmocka_unit_test(lies_inside_a_file),
        cmocka_unit_test(full_disk),
    };
    return RUN_SUITE(tests);
}
