/* The log's rules one by one; test_log_sim.c has them all at once. */
#include "quiet.h"
#include "suite.h"

#include "log_world.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "storage/log_internal.h"

#include <stdlib.h>
#include <string.h>

static struct world w;

static void begin(uint64_t seed)
{
    struct qv_errmsg msg = {""};
    world_init(&w, seed);
    assert_int_equal(world_open(&w, &msg), 0);
    assert_true(world_check(&w));
}

static void append_durable(size_t n, uint32_t bytes)
{
    for (size_t i = 0; i < n; i++) {
        world_append(&w, bytes);
        world_commit(&w);
        world_run(&w);
    }
    assert_int_equal(w.acked_n, w.record_n);
}

static void reopen_right(void)
{
    struct qv_errmsg msg = {""};
    if (world_open(&w, &msg) != 0)
        fail_msg("%s", msg.text);
    if (!world_check(&w))
        fail_msg("%s", w.wrong);
}

/* The file and offset of the block that holds the n-th record, from the segments on the disk. */
static void find_block(size_t n, char path[LOG_PATH_BYTES], uint64_t *offset)
{
    struct log_scan s;
    struct qv_log_config c = {.replay_from = QV_LOG_FROM_OLDEST};
    assert_int_equal(log_scan_open(&s, w.disk, WORLD_DIR, &c, NULL), 0);
    assert_int_equal(log_scan_replay(&s, NULL), 0);
    bool found = false;
    for (size_t i = 0; i < s.segment_n && !found; i++) {
        for (size_t k = 0; k < s.segments[i].block_n && !found; k++) {
            const struct log_block_at *b = &s.segments[i].blocks[k];
            qv_lsn end = w.record[n].end;
            found = b->lsn < end && end <= b->lsn + b->bytes && b->lsn < s.segments[i].limit;
            if (!found)
                continue;
            char name[LOG_NAME_BYTES];
            log_segment_name(name, s.segments[i].seq);
            assert_int_equal(log_path(path, WORLD_DIR, name), 0);
            *offset = b->offset;
        }
    }
    log_scan_close(&s);
    assert_true(found);
}

/* ---- the tail rule ---- */

static void flip_before_durable(uint64_t in_block, bool tolerate)
{
    char path[LOG_PATH_BYTES];
    uint64_t offset;
    struct qv_errmsg msg = {""};
    begin(1);
    append_durable(8, 100);
    world_crash(&w, true);
    find_block(3, path, &offset);
    assert_int_equal(qv_sim_disk_flip(w.disk, path, offset + in_block, 3), 0);
    uint64_t used = qv_sim_disk_used(w.disk);
    w.tolerate = tolerate;
    int err = world_open(&w, &msg);
    assert_int_equal(w.damages, 1);
    assert_int_equal(w.bad, 0);
    if (tolerate) { /* the records of the one block are missing, those behind it are there */
        assert_int_equal(err, 0);
        assert_int_equal(w.seen_n, 7);
        assert_int_equal(w.seen[2].number, w.record[2].number);
        assert_int_equal(w.seen[3].number, w.record[4].number);
        assert_int_equal(w.seen[6].end, w.record[7].end);
    } else {
        char where[64];
        assert_int_equal(err, QV_ECORRUPT);
        snprintf(where, sizeof where, "offset %llu", (unsigned long long)offset);
        assert_non_null(strstr(msg.text, where));
        assert_non_null(strstr(msg.text, path));
        assert_true(qv_sim_disk_used(w.disk) == used);       /* nothing was truncated or removed */
        assert_int_equal(world_open(&w, &msg), QV_ECORRUPT); /* and it stays so */
        assert_int_equal(qv_sim_disk_flip(w.disk, path, offset + in_block, 3), 0);
        w.wrong = NULL;
        reopen_right(); /* the bit put right: all is there */
    }
    world_close(&w);
}

static void test_flip_before_durable_blocks_is_corruption(void **state)
{
    (void)state;
    static const uint64_t places[] = {0, 5, 16, 24, 40, 52, 63, 64, 70, 130, 4095};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        flip_before_durable(places[i], false);
        flip_before_durable(places[i], true);
    }
}

static void test_torn_last_block_ends_the_log(void **state)
{
    (void)state;
    size_t ended = 0;
    size_t survived = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        begin(seed);
        append_durable(5, 700);
        /* A block of five sectors and more, written and not synced when the power fails. */
        world_append(&w, 3000);
        world_commit(&w);
        qv_sim_disk_fail(w.disk, QV_SIM_OP_SYNC, ".qlog", 1, 1, QV_EIO);
        qv_sim_disk_die_after(w.disk, 2);
        world_run(&w);
        assert_true(qv_sim_disk_is_dead(w.disk));
        world_crash(&w, true);
        reopen_right();
        assert_int_equal(w.damages, 0);
        assert_true(w.seen_n == 5 || w.seen_n == 6);
        ended += w.seen_n == 5;
        survived += w.seen_n == 6;
        append_durable(2, 50);
        world_crash(&w, true);
        reopen_right();
        world_close(&w);
    }
    assert_true(ended > 0 && survived > 0);
}

/* A flip in the last block written before the power failed can't be told from a torn write. After a
 * clean close, or once anything else was written, it can. */
static void test_every_flip_after_a_close_is_noticed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct qv_errmsg msg = {""};
        begin(seed);
        append_durable(6, (uint32_t)qv_rng_below(&w.rng, 3000));
        world_shut(&w);
        const char *path = qv_sim_disk_find(w.disk, ".qlog", 0);
        assert_non_null(path);
        uint64_t offset = qv_rng_below(&w.rng, 40000);
        assert_int_equal(qv_sim_disk_flip(w.disk, path, offset, (unsigned)seed), 0);
        int err = world_open(&w, &msg);
        if (err == 0) {
            assert_true(world_check(&w));
            assert_int_equal(w.damages, 0);
        } else {
            assert_int_equal(err, QV_ECORRUPT);
            assert_true(w.damages > 0 && strstr(msg.text, path) != NULL);
        }
        world_close(&w);
    }
}

static void test_lost_segment_is_corruption(void **state)
{
    (void)state;
    struct qv_errmsg msg = {""};
    begin(3);
    append_durable(60, 3000); /* several segments */
    world_crash(&w, false);
    const char *second = qv_sim_disk_find(w.disk, "log/0", 1);
    assert_non_null(second);
    assert_int_equal(qv_disk_unlink(w.disk, second, NULL), 0);
    assert_int_equal(world_open(&w, &msg), QV_ECORRUPT);
    assert_int_equal(w.damages, 1);
    world_close(&w);
}

/* Nothing says what a segment with a bad header held. Whoever goes on behind it is told again at
 * each open until it is released: one that forgot it would pass for whole. */
static void test_bad_header_of_the_newest_segment_is_not_forgotten(void **state)
{
    (void)state;
    for (unsigned variant = 0; variant < 4; variant++) {
        char path[LOG_PATH_BYTES];
        uint64_t offset;
        struct qv_errmsg msg = {""};
        begin(5);
        append_durable(3, 100);
        world_crash(&w, true);
        reopen_right();
        append_durable(3, 100);
        world_crash(&w, true);
        find_block(5, path, &offset);
        assert_int_equal(qv_sim_disk_flip(w.disk, path, 20, 3), 0);
        if (variant & 1)
            w.checkpoint = w.record[2].end;
        w.tolerate = true;
        for (int life = 0; life < 3; life++) {
            assert_int_equal(world_open(&w, &msg), 0);
            assert_int_equal(w.damages, 1);
            if (variant & 2) {
                world_append(&w, 200);
                world_commit(&w);
                world_run(&w);
            }
            world_crash(&w, life == 1);
        }
        w.tolerate = false;
        assert_int_equal(world_open(&w, &msg), QV_ECORRUPT);
        assert_non_null(strstr(msg.text, path));
        world_close(&w);
    }
}

/* A checkpoint that names a position says that everything before it was durable. */
static void test_checkpoint_is_evidence(void **state)
{
    (void)state;
    char path[LOG_PATH_BYTES];
    uint64_t offset;
    struct qv_errmsg msg = {""};
    begin(4);
    append_durable(4, 100);
    world_crash(&w, true);
    find_block(3, path, &offset);
    assert_int_equal(qv_sim_disk_flip(w.disk, path, offset + 80, 0), 0);
    w.config.on_damage = NULL;
    w.checkpoint = w.record[3].end;
    w.released_n = 4;
    reopen_right(); /* all of it is behind the checkpoint: nothing is needed */
    world_crash(&w, true);
    world_close(&w);

    begin(4);
    append_durable(4, 100);
    world_crash(&w, true);
    find_block(3, path, &offset);
    assert_int_equal(qv_sim_disk_flip(w.disk, path, offset + 80, 0), 0);
    struct qv_log_config c = w.config;
    c.replay_from = w.record[1].end; /* one shard's checkpoint ... */
    c.durable_to = w.record[3].end;  /* ... and another's, further on */
    struct qv_log *log = NULL;
    assert_int_equal(qv_log_open(qv_sim_node_env(w.node), WORLD_DIR, &c, &log, &msg), QV_ECORRUPT);
    world_close(&w);
}

/* ---- recycling ---- */

static void test_recycled_leftovers_never_parse(void **state)
{
    (void)state;
    begin(5);
    struct qv_log_stats stats;
    for (int round = 0; round < 40; round++) {
        append_durable(10, 2000); /* equal sizes: old blocks lie exactly where new ones go */
        world_checkpoint(&w, w.acked_n);
        world_run(&w);
    }
    qv_log_get_stats(w.log, &stats);
    assert_true(stats.segments_reused > 10);
    assert_true(stats.disk_bytes <= 6 * 65536);
    size_t n = 0;
    while (qv_sim_disk_find(w.disk, ".qlog", n) != NULL)
        n++;
    assert_true(n <= 6);
    append_durable(1, 2000);
    world_crash(&w, true);
    reopen_right();
    assert_int_equal(w.seen_n, 1);
    world_close(&w);
}

static void test_unreleased_segments_stay(void **state)
{
    (void)state;
    begin(6);
    append_durable(100, 3000);
    world_checkpoint(&w, 50);
    world_run(&w);
    world_crash(&w, true);
    reopen_right();
    assert_int_equal(w.seen_n, 50);
    world_close(&w);
}

/* ---- bounds and errors ---- */

static void room(void *arg)
{
    (*(int *)arg)++;
}

static void test_full_buffers_are_busy(void **state)
{
    (void)state;
    begin(7);
    int told = 0;
    struct qv_log_record head = {.shard = 1};
    static const uint8_t bytes[4000];
    struct qv_bytes part = {bytes, sizeof bytes};
    qv_log_on_room(w.log, room, &told);
    int err = 0;
    int n = 0;
    while (err == 0 && n < 100) {
        err = qv_log_append(w.log, &head, &part, 1, NULL);
        n++;
    }
    assert_int_equal(err, QV_EBUSY);
    assert_true(n < 12); /* three buffers of 8 KiB */
    struct qv_log_stats stats;
    qv_log_get_stats(w.log, &stats);
    assert_true(stats.pending_bytes > 8192 && stats.pending_bytes <= 3 * 8192);
    world_run(&w);
    assert_true(told > 0);
    assert_int_equal(qv_log_append(w.log, &head, &part, 1, NULL), 0);
    world_close(&w);
}

static void test_stop_is_told_to_who_waits_for_room(void **state)
{
    (void)state;
    begin(14);
    int told = 0;
    struct qv_log_record head = {.shard = 1};
    static const uint8_t bytes[4000];
    struct qv_bytes part = {bytes, sizeof bytes};
    qv_log_on_room(w.log, room, &told);
    qv_sim_disk_fail(w.disk, QV_SIM_OP_WRITE, ".qlog", 1, 1000, QV_EIO);
    while (qv_log_append(w.log, &head, &part, 1, NULL) == 0)
        ;
    world_run(&w);
    assert_int_equal(qv_log_error(w.log), QV_EIO);
    assert_int_equal(told, 1);
    world_close(&w);
}

static void test_records_of_every_size(void **state)
{
    (void)state;
    struct qv_errmsg msg = {""};
    world_init(&w, 8);
    w.config.segment_bytes = 0; /* the defaults */
    w.config.group_bytes = 0;
    assert_int_equal(world_open(&w, &msg), 0);
    struct qv_log_record head = {.shard = 1};
    uint8_t *bytes = qv_mem_calloc(1, QV_RECORD_BYTES_MAX + 1);
    struct qv_bytes part = {bytes, QV_RECORD_BYTES_MAX + 1};
    assert_int_equal(qv_log_append(w.log, &head, &part, 1, NULL), QV_ETOOBIG);
    qv_mem_free(bytes);
    world_append(&w, 0);
    world_append(&w, QV_RECORD_BYTES_MAX);
    world_append(&w, 1);
    world_append(&w, 5 << 20);
    world_commit(&w);
    world_run(&w);
    assert_int_equal(w.acked_n, 4);
    world_crash(&w, true);
    reopen_right();
    assert_int_equal(w.seen_n, 4);
    world_close(&w);
}

/* One write fails: its group goes to another segment, nobody notices; the file is not touched
 * again. */
static void test_failed_sync_moves_on(void **state)
{
    (void)state;
    begin(9);
    append_durable(3, 100);
    qv_sim_disk_fail(w.disk, QV_SIM_OP_SYNC, ".qlog", 1, 1, QV_EIO);
    append_durable(3, 100);
    assert_int_equal(w.waiter_errors, 0);
    assert_int_equal(qv_log_error(w.log), 0);
    struct qv_log_stats stats;
    qv_log_get_stats(w.log, &stats);
    assert_int_equal(stats.write_failures, 1);
    world_crash(&w, true);
    reopen_right();
    assert_int_equal(w.seen_n, 6);
    world_close(&w);
}

static void test_stop_and_resume(void **state)
{
    (void)state;
    begin(10);
    append_durable(3, 100);
    qv_sim_disk_fail(w.disk, QV_SIM_OP_WRITE | QV_SIM_OP_SYNC, ".qlog", 1, 1000, QV_EIO);
    world_append(&w, 100);
    world_commit(&w);
    world_run(&w);
    assert_int_equal(w.waiter_errors, 1);
    assert_int_equal(w.waiter_doubts, 1); /* it was being written */
    assert_int_equal(qv_log_error(w.log), QV_EIO);
    assert_non_null(strstr(qv_log_reason(w.log), ".qlog"));
    qv_log_resume(w.log); /* the disk fails still */
    world_run(&w);
    assert_int_equal(qv_log_error(w.log), QV_EIO);
    struct qv_log_record head = {.shard = 1};
    assert_int_equal(qv_log_append(w.log, &head, NULL, 0, NULL), QV_EIO);
    world_commit(&w);
    world_run(&w);
    assert_int_equal(w.waiter_errors, 2);
    assert_int_equal(w.waiter_doubts, 1); /* nothing of the second was written */
    qv_sim_disk_fail(w.disk, 0, NULL, 0, 0, 0);
    world_resume(&w);
    assert_string_equal(qv_log_reason(w.log), "");
    world_append(&w, 100);
    world_commit(&w);
    world_run(&w);
    assert_int_equal(w.waiter_errors, 2);
    world_crash(&w, true);
    reopen_right();
    assert_int_equal(w.seen_n, 4);
    world_close(&w);
}

static void test_full_disk_stops_writes_and_release_frees_it(void **state)
{
    (void)state;
    begin(11);
    qv_sim_disk_set_capacity(w.disk, 4 * 65536);
    for (int i = 0; i < 200 && qv_log_error(w.log) == 0; i++) {
        world_append(&w, 3000);
        world_commit(&w);
        world_run(&w);
    }
    assert_int_equal(qv_log_error(w.log), QV_ENOSPC);
    assert_int_equal(w.waiter_errors, 1);
    assert_int_equal(w.waiter_doubts, 0); /* a full disk is met before anything is written */
    size_t acked = w.acked_n;
    assert_true(acked > 30);
    world_checkpoint(&w, acked); /* frees segments */
    world_run(&w);
    world_resume(&w);
    world_append(&w, 3000);
    world_commit(&w);
    world_run(&w);
    assert_int_equal(w.acked_n, acked + 1);
    world_crash(&w, true);
    qv_sim_disk_set_capacity(w.disk, qv_sim_disk_used(w.disk) + 3 * LOG_PAGE); /* full again */
    reopen_right();
    world_close(&w);
}

static void path_of_newest(char path[512], size_t back)
{
    char last[3][512] = {"", "", ""};
    for (size_t i = 0; qv_sim_disk_find(w.disk, ".qlog", i) != NULL; i++) {
        const char *p = qv_sim_disk_find(w.disk, ".qlog", i);
        if (strstr(p, "spare") != NULL)
            continue;
        memcpy(last[2], last[1], sizeof last[0]);
        memcpy(last[1], last[0], sizeof last[0]);
        snprintf(last[0], sizeof last[0], "%s", p);
    }
    memcpy(path, last[back], sizeof last[0]);
}

/* Acknowledged records are gone with the file; nothing else says that they ever were. */
static void lost_segment_is_named(size_t back, bool cut)
{
    char path[512];
    struct qv_errmsg msg = {""};
    begin(15);
    append_durable(2, 100);
    append_durable(back == 0 ? 3 : 9, 3000); /* beyond half of it the next one is made */
    world_crash(&w, true);
    path_of_newest(path, back);
    if (cut) {
        struct qv_file *f;
        assert_int_equal(qv_disk_open(w.disk, path, QV_OPEN_WRITE, &f, NULL), 0);
        assert_int_equal(qv_file_truncate(f, 3 * LOG_PAGE, NULL), 0);
        qv_file_close(f);
    } else {
        assert_int_equal(qv_disk_unlink(w.disk, path, NULL), 0);
    }
    assert_int_equal(world_open(&w, &msg), QV_ECORRUPT);
    assert_non_null(strstr(msg.text, strrchr(path, '/')));
    w.tolerate = true;
    assert_int_equal(world_open(&w, &msg), 0);
    assert_int_equal(w.damages, 1);
    assert_true(w.seen_n < w.acked_n);
    world_crash(&w, true);
    assert_int_equal(world_open(&w, &msg), 0); /* it stays damage */
    assert_int_equal(w.damages, 1);
    world_close(&w);
}

static void test_missing_newest_segment(void **state)
{
    (void)state;
    lost_segment_is_named(0, false);
}

/* The one that took records, while the newest, made ahead, holds none. */
static void test_missing_segment_before_an_empty_one(void **state)
{
    (void)state;
    lost_segment_is_named(1, false);
}

static void test_cut_newest_segment(void **state)
{
    (void)state;
    lost_segment_is_named(0, true);
}

/* A bit flips in the last record of a burst: a torn end, unless the log was settled behind it. */
static void flip_the_last(bool settle)
{
    char path[512];
    struct qv_errmsg msg = {""};
    begin(16);
    append_durable(3, 100);
    if (settle) {
        struct qv_log_stats before;
        struct qv_log_stats after;
        qv_log_settle(w.log);
        world_run(&w);
        qv_log_get_stats(w.log, &before);
        qv_log_settle(w.log); /* it is */
        world_run(&w);
        qv_log_get_stats(w.log, &after);
        assert_int_equal(before.syncs, after.syncs);
    }
    path_of_newest(path, 0);
    qv_lsn last = w.record[2].end - 1;
    world_crash(&w, true);
    assert_int_equal(qv_sim_disk_flip(w.disk, path, last, 0), 0); /* lsn == offset: the first one */
    int err = world_open(&w, &msg);
    assert_int_equal(err, settle ? QV_ECORRUPT : 0);
    if (!settle)
        assert_int_equal(w.seen_n, 2);
    world_close(&w);
}

static void test_settled_records_are_never_a_torn_end(void **state)
{
    (void)state;
    flip_the_last(false);
    flip_the_last(true);
}

static void test_check_names_what_is_there(void **state)
{
    (void)state;
    struct qv_log_summary sum;
    begin(12);
    append_durable(20, 500);
    qv_log_reserve_clock(w.log, 12345);
    world_commit(&w);
    world_run(&w);
    world_shut(&w);
    struct qv_log_config c = {.replay_from = QV_LOG_FROM_OLDEST};
    assert_int_equal(qv_log_check(w.disk, WORLD_DIR, &c, &sum, NULL), 0);
    assert_int_equal(sum.records, 20);
    assert_int_equal(sum.clock, 12345);
    assert_int_equal(sum.damages, 0);
    assert_true(sum.end > w.record[19].end && sum.begin > 0);
    reopen_right();
    assert_int_equal(qv_log_clock(w.log), 12345);
    world_close(&w);
}

static void test_open_refuses_nonsense(void **state)
{
    (void)state;
    struct qv_errmsg msg = {""};
    world_init(&w, 13);
    w.config.segment_bytes = 5000;
    assert_int_equal(world_open(&w, &msg), QV_EINVAL);
    w.config.segment_bytes = 65536;
    w.config.group_count = 1;
    assert_int_equal(world_open(&w, &msg), QV_EINVAL);
    world_close(&w);
}

static void test_names(void **state)
{
    (void)state;
    uint64_t n;
    char name[LOG_NAME_BYTES];
    log_segment_name(name, 0xabc);
    assert_string_equal(name, "0000000000000abc.qlog");
    assert_int_equal(log_name_parse(name, &n), 's');
    assert_int_equal(n, 0xabc);
    assert_int_equal(log_name_parse("spare-17.qlog", &n), 'p');
    assert_int_equal(n, 17);
    static const char *const strangers[] = {"",
                                            "a",
                                            "0000000000000ABC.qlog",
                                            "abc.qlog",
                                            "spare.qlog",
                                            "spare-01.qlog",
                                            "spare-.qlog",
                                            "0000000000000abc.qlog.tmp"};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++)
        assert_int_equal(log_name_parse(strangers[i], &n), 0);
}

int main(void)
{
    quiet_log();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flip_before_durable_blocks_is_corruption),
        cmocka_unit_test(test_torn_last_block_ends_the_log),
        cmocka_unit_test(test_every_flip_after_a_close_is_noticed),
        cmocka_unit_test(test_lost_segment_is_corruption),
        cmocka_unit_test(test_bad_header_of_the_newest_segment_is_not_forgotten),
        cmocka_unit_test(test_checkpoint_is_evidence),
        cmocka_unit_test(test_recycled_leftovers_never_parse),
        cmocka_unit_test(test_unreleased_segments_stay),
        cmocka_unit_test(test_full_buffers_are_busy),
        cmocka_unit_test(test_stop_is_told_to_who_waits_for_room),
        cmocka_unit_test(test_records_of_every_size),
        cmocka_unit_test(test_failed_sync_moves_on),
        cmocka_unit_test(test_stop_and_resume),
        cmocka_unit_test(test_full_disk_stops_writes_and_release_frees_it),
        cmocka_unit_test(test_missing_newest_segment),
        cmocka_unit_test(test_missing_segment_before_an_empty_one),
        cmocka_unit_test(test_cut_newest_segment),
        cmocka_unit_test(test_settled_records_are_never_a_torn_end),
        cmocka_unit_test(test_check_names_what_is_there),
        cmocka_unit_test(test_open_refuses_nonsense),
        cmocka_unit_test(test_names),
    };
    return RUN_SUITE(tests);
}
