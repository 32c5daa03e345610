/* Files written by the first version, kept in test/golden/storage: every later one must read them,
 * and as long as a format's number is what it was must write the same bytes. QV_GOLDEN_WRITE=1
 * writes them anew: only together with a new format number. */
#include "suite.h"

#include "base/mem.h"
#include "io/disk_posix.h"
#include "io/sim_disk.h"
#include "io/sim_env.h"
#include "storage/log.h"
#include "storage/rowfile.h"
#include "storage/statefile.h"

#include <stdlib.h>
#include <string.h>

enum { RECORDS = 5, ROWS = 6, PAYLOAD = 500 };

static const struct qv_rowfile_config row_config = {
    .row_bytes = 10, .slot_max = 1000, .id = 0x1122334455667788, .create = true};

static void ignore(struct qv_log_waiter *w, int err)
{
    *(int *)w->arg += err == 0;
}

static struct qv_log_record record_of(uint64_t i)
{
    return (struct qv_log_record){.shard = (uint32_t)(100 + i),
                                  .generation = (uint32_t)i,
                                  .version = {.clock = 1000 + i, .writer = 0x01000002},
                                  .prev_clock = 999 + i,
                                  .type = (uint8_t)(1 + i % 2)};
}

static void make_log(struct qv_disk *disk)
{
    struct qv_sim *sim = qv_sim_create(&(struct qv_sim_config){.seed = 42});
    struct qv_sim_node *node = qv_sim_node_create(sim, disk, 0);
    struct qv_log_config config = {.segment_bytes = 32768, .group_bytes = 8192};
    struct qv_log *log = NULL;
    int durable = 0;
    assert_int_equal(qv_log_open(qv_sim_node_env(node), "log", &config, &log, NULL), 0);
    for (uint64_t i = 0; i < RECORDS; i++) {
        char text[32];
        struct qv_log_record rec = record_of(i);
        struct qv_log_waiter w = {.done = ignore, .arg = &durable};
        struct qv_bytes part = {(const uint8_t *)text, 0};
        part.n = (size_t)snprintf(text, sizeof text, "change number %llu", (unsigned long long)i);
        if (i == 3)
            qv_log_reserve_clock(log, 77777);
        assert_int_equal(qv_log_append(log, &rec, &part, 1, NULL), 0);
        if (i % 2 == 1)
            continue;
        qv_log_commit(log, &w);
        qv_sim_run(sim, 1000);
    }
    assert_int_equal(durable, 3);
    qv_log_close(log, NULL, NULL);
    qv_sim_run(sim, 1000);
    qv_sim_node_destroy(&node);
    qv_sim_destroy(&sim);
}

static void make_files(struct qv_disk *disk)
{
    uint8_t payload[PAYLOAD];
    uint8_t row[10];
    struct qv_rowfile *rows = NULL;
    struct qv_statefile_writer *w = NULL;
    assert_int_equal(qv_rowfile_open(disk, "rows", &row_config, &rows, NULL), 0);
    for (uint32_t i = 0; i < ROWS; i++) {
        memset(row, (int)i + 1, sizeof row);
        assert_int_equal(qv_rowfile_write_row(rows, i, row, NULL), 0);
    }
    qv_rowfile_close(rows);
    for (size_t i = 0; i < PAYLOAD; i++)
        payload[i] = (uint8_t)(i * 7);
    assert_int_equal(qv_statefile_create(disk, "state", 9, 3, &w, NULL), 0);
    assert_int_equal(qv_statefile_append(w, payload, PAYLOAD, NULL), 0);
    assert_int_equal(qv_statefile_finish(w, NULL, NULL), 0);
}

/* Only what a file has written, without the allocated zeros behind it. */
static size_t written_bytes(const struct qv_buf *b)
{
    size_t n = b->len;
    while (n > 0 && b->data[n - 1] == 0)
        n--;
    return n;
}

static const char *const names[] = {"log/0000000000000001.qlog", "rows", "state"};
static const char *const kept[] = {"segment.qlog", "rows", "state"};

static void golden_path(char *out, size_t n, size_t i)
{
    snprintf(out, n, "%s/storage/%s", GOLDEN_DIR, kept[i]);
}

static void test_same_bytes(void **state)
{
    (void)state;
    struct qv_disk *sim = qv_sim_disk_create(1, 0);
    struct qv_disk *real = qv_disk_posix_create();
    make_log(sim);
    make_files(sim);
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        struct qv_buf made;
        struct qv_buf golden;
        qv_buf_init(&made, 0);
        qv_buf_init(&golden, 0);
        golden_path(path, sizeof path, i);
        assert_int_equal(qv_disk_read_file(sim, names[i], 1 << 20, &made, NULL), 0);
        made.len = written_bytes(&made);
        if (getenv("QV_GOLDEN_WRITE") != NULL)
            assert_int_equal(qv_disk_replace_file(real, path, made.data, made.len, NULL), 0);
        assert_int_equal(qv_disk_read_file(real, path, 1 << 20, &golden, NULL), 0);
        assert_int_equal(made.len, golden.len);
        assert_memory_equal(made.data, golden.data, made.len);
        qv_buf_close(&made);
        qv_buf_close(&golden);
    }
    qv_disk_posix_destroy(&real);
    qv_sim_disk_destroy(&sim);
}

static int check_record(void *arg, const struct qv_log_record *rec, struct qv_bytes change,
                        qv_lsn lsn, qv_lsn lsn_end)
{
    uint64_t *n = arg;
    char text[32];
    struct qv_log_record want = record_of(*n);
    size_t len = (size_t)snprintf(text, sizeof text, "change number %llu", (unsigned long long)*n);
    assert_int_equal(rec->shard, want.shard);
    assert_int_equal(rec->generation, want.generation);
    assert_int_equal(rec->version.clock, want.version.clock);
    assert_int_equal(rec->version.writer, want.version.writer);
    assert_int_equal(rec->prev_clock, want.prev_clock);
    assert_int_equal(rec->type, want.type);
    assert_int_equal(change.n, len);
    assert_memory_equal(change.p, text, len);
    assert_true(lsn_end > lsn);
    (*n)++;
    return 0;
}

static void test_old_files_are_read(void **state)
{
    (void)state;
    struct qv_disk *sim = qv_sim_disk_create(1, 0);
    struct qv_disk *real = qv_disk_posix_create();
    assert_int_equal(qv_disk_mkdir(sim, "log", NULL), 0);
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        struct qv_buf golden;
        qv_buf_init(&golden, 0);
        golden_path(path, sizeof path, i);
        assert_int_equal(qv_disk_read_file(real, path, 1 << 20, &golden, NULL), 0);
        while (i != 2 && golden.len % 4096 != 0)
            qv_buf_u8(&golden, 0); /* the zeros that were cut off */
        assert_int_equal(qv_disk_replace_file(sim, names[i], golden.data, golden.len, NULL), 0);
        qv_buf_close(&golden);
    }
    uint64_t records = 0;
    struct qv_log_summary sum;
    struct qv_log_config c = {.on_record = check_record, .arg = &records};
    assert_int_equal(qv_log_check(sim, "log", &c, &sum, NULL), 0);
    assert_int_equal(records, RECORDS);
    assert_int_equal(sum.clock, 77777);
    struct qv_rowfile_config rc = row_config;
    struct qv_rowfile *rows = NULL;
    rc.create = false;
    assert_int_equal(qv_rowfile_open(sim, "rows", &rc, &rows, NULL), 0);
    for (uint32_t i = 0; i < ROWS; i++)
        assert_int_equal(qv_rowfile_row(qv_rowfile_base(rows), 12, i)[9], i + 1);
    qv_rowfile_close(rows);
    struct qv_statefile_reader *r = NULL;
    uint8_t payload[PAYLOAD];
    assert_int_equal(qv_statefile_open(sim, "state", 9, 3, &r, NULL), 0);
    assert_int_equal(qv_statefile_read(r, payload, PAYLOAD, NULL), 0);
    assert_int_equal(qv_statefile_end(r, NULL), 0);
    assert_int_equal(payload[PAYLOAD - 1], (uint8_t)((PAYLOAD - 1) * 7));
    qv_statefile_close(r);
    qv_disk_posix_destroy(&real);
    qv_sim_disk_destroy(&sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_old_files_are_read),
    };
    return RUN_SUITE(tests);
}
