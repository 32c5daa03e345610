/* A shard on a disk that fails or flips bits while it serves: what is told, and how it comes back.
 */
#include "quiet.h"
#include "suite.h"

#include "shard/store_private.h"
#include "shard_world.h"
#include "storage/log_internal.h"

#include <stdlib.h>
#include <string.h>

static struct world w;

static struct qv_shard *shard(void)
{
    return qv_store_shard(w.store, 1);
}

static void begin(uint64_t seed)
{
    struct qv_errmsg msg = {""};
    world_init(&w, seed);
    assert_int_equal(world_open(&w, &msg), 0);
    for (int i = 0; i < 60; i++) {
        (void)world_write_some(&w);
        world_run(&w);
    }
    qv_sim_run_for(w.sim, 2 * QV_NS_PER_S); /* checkpoints, and a pass of the scrubber */
    assert_true(world_verify(&w, true));
}

static struct qv_shard_info info(void)
{
    struct qv_shard_info i;
    qv_shard_info(shard(), &i);
    return i;
}

static uint64_t wait_for_err(int wanted)
{
    uint64_t ms = 0;
    while (info().err != wanted && ms < 30000) {
        qv_sim_run_for(w.sim, 50 * QV_NS_PER_MS);
        ms += 50;
    }
    return ms;
}

static void write_until_refused(int err)
{
    for (int i = 0; i < 400 && info().err != err; i++) {
        (void)world_write_some(&w);
        world_run(&w);
        qv_sim_run_for(w.sim, 20 * QV_NS_PER_MS);
    }
    assert_int_equal(info().err, err);
}

/* The rows can't be written, then not even copied, for a while: writes stop with the file's name,
 * reads go on, and then all of it is there in a new file. */
static void rows_fail(unsigned op)
{
    begin(3 + op);
    qv_sim_disk_fail(w.disk, op, "shards/1/rows-", 1, 6, QV_EIO);
    write_until_refused(QV_EIO);
    assert_non_null(strstr(info().reason, "rows-"));
    assert_true(world_verify(&w, false));
    assert_true(wait_for_err(0) < 30000);
    assert_string_equal(info().reason, "");
    assert_int_equal(w.open_refused, 0);
    for (int i = 0; i < 20; i++) {
        (void)world_write_some(&w);
        world_run(&w);
    }
    assert_true(world_verify(&w, false));
    qv_sim_run_for(w.sim, 2 * QV_NS_PER_S);
    world_crash(&w, true);
    struct qv_errmsg msg = {""};
    assert_int_equal(world_open(&w, &msg), 0);
    if (!world_verify(&w, true))
        fail_msg("%s", w.wrong);
    world_close(&w);
}

static void test_failed_row_writes(void **state)
{
    (void)state;
    rows_fail(QV_SIM_OP_WRITE);
}

static void test_failed_row_syncs(void **state)
{
    (void)state;
    rows_fail(QV_SIM_OP_SYNC);
}

/* Failing checkpoints keep the log and are told until one succeeds. */
static void test_failed_checkpoints(void **state)
{
    (void)state;
    begin(5);
    uint64_t before = info().checkpoints;
    qv_sim_disk_fail(w.disk, QV_SIM_OP_SYNC, "shards/1/kv", 1, 3, QV_EIO);
    for (int i = 0; i < 200 && info().failing[0] == '\0'; i++) {
        (void)world_write_some(&w);
        world_run(&w);
        qv_sim_run_for(w.sim, 50 * QV_NS_PER_MS);
    }
    assert_non_null(strstr(info().failing, "kv"));
    assert_int_equal(info().err, 0); /* writes go on */
    qv_sim_run_for(w.sim, 30 * QV_NS_PER_S);
    assert_string_equal(info().failing, "");
    assert_true(info().checkpoints > before);
    assert_true(world_verify(&w, false));
    world_close(&w);
}

/* The row of some live point of vector 0. */
static qv_slot live_slot(void)
{
    const struct qv_shard *s = shard();
    qv_slot slot = 0;
    while (slot < qv_slot_table_high(&s->slots) && !qv_slot_table_is_live(&s->slots, 0, slot))
        slot++;
    assert_true(slot < qv_slot_table_high(&s->slots));
    return slot;
}

static void flip_row(qv_slot slot)
{
    const struct qv_shard *s = shard();
    uint64_t offset = 4096 + (uint64_t)slot * qv_rowfile_stride(s->vectors[0].rows) + 5;
    assert_int_equal(qv_sim_disk_flip(w.disk, qv_rowfile_path(s->vectors[0].rows), offset, 3), 0);
}

/* Nobody asks for it: the scrubber finds it and names it, once. With the bit back, a pass that
 * finds nothing ends the alarm. */
static void test_scrubber_finds_a_row(void **state)
{
    (void)state;
    begin(6);
    qv_slot slot = live_slot();
    struct qv_store_stats stats;
    qv_store_get_stats(w.store, &stats);
    assert_true(stats.scrub_passes > 0 && stats.scrub_bytes > 0);
    assert_int_equal(stats.scrub_findings, 0);
    flip_row(slot);
    qv_sim_run_for(w.sim, 5 * QV_NS_PER_S);
    assert_non_null(strstr(info().damage, "rows-"));
    assert_int_equal(info().err, 0); /* the rest is in service */
    qv_store_get_stats(w.store, &stats);
    assert_true(stats.scrub_findings > 0 && stats.damaged == 1);
    assert_true(world_verify(&w, false));
    flip_row(slot);
    qv_sim_run_for(w.sim, 10 * QV_NS_PER_S);
    assert_string_equal(info().damage, "");
    assert_true(world_verify(&w, true));
    world_close(&w);
}

/* A state file of the durable checkpoint is replaced by a checkpoint from memory. */
static void replaced(const char *part)
{
    char path[512];
    begin(7);
    uint64_t before = info().checkpoints;
    snprintf(path, sizeof path, "%s", qv_sim_disk_find(w.disk, part, 0));
    assert_int_equal(qv_sim_disk_flip(w.disk, path, 100, 1), 0);
    qv_sim_run_for(w.sim, 10 * QV_NS_PER_S);
    assert_true(info().checkpoints > before);
    world_crash(&w, true);
    struct qv_errmsg msg = {""};
    assert_int_equal(world_open(&w, &msg), 0);
    if (!world_verify(&w, true))
        fail_msg("%s", w.wrong);
    world_close(&w);
}

static void test_scrubber_replaces_state_files(void **state)
{
    (void)state;
    replaced("shards/1/slots-");
    replaced("shards/1/graph-");
}

/* A closed segment of the log that a start would read: a bit in it is found, and checkpoints make
 * the segment needless before anybody has to start. */
static void flip_in_log(uint64_t offset)
{
    struct qv_errmsg msg = {""};
    struct qv_store_stats stats;
    char path[512];
    world_init(&w, 11 + offset);
    w.config.checkpoint_bytes = w.config.log_bytes_max = 1 << 30;
    w.config.checkpoint_ms = 3600000;
    assert_int_equal(world_open(&w, &msg), 0);
    for (int i = 0; i < 4000 && w.store->log->segment_n < 2; i++) {
        (void)world_write_some(&w);
        world_run(&w);
    }
    qv_sim_run_for(w.sim, 3 * QV_NS_PER_S);
    qv_store_get_stats(w.store, &stats);
    assert_int_equal(stats.scrub_findings, 0);
    assert_true(w.store->log->segment_n >= 2);
    snprintf(path, sizeof path, "node/log/%016llx.qlog",
             (unsigned long long)w.store->log->segments[0].seq);
    uint64_t before = info().checkpoints;
    assert_int_equal(qv_sim_disk_flip(w.disk, path, offset, 1), 0);
    qv_sim_run_for(w.sim, 20 * QV_NS_PER_S);
    qv_store_get_stats(w.store, &stats);
    assert_true(stats.scrub_findings > 0);
    assert_true(info().checkpoints > before);
    world_crash(&w, true);
    assert_int_equal(world_open(&w, &msg), 0);
    assert_int_equal(info().err, 0);
    if (!world_verify(&w, true))
        fail_msg("%s", w.wrong);
    world_close(&w);
}

static void test_scrubber_reads_the_log(void **state)
{
    (void)state;
    flip_in_log(20);             /* the segment's header */
    flip_in_log(4096 + 30);      /* a block's */
    flip_in_log(4096 + 64 + 50); /* what it holds */
    flip_in_log(40000);
}

/* A start that finds no room at all has the reserve. */
static void test_start_on_a_full_disk(void **state)
{
    (void)state;
    struct qv_errmsg msg = {""};
    begin(8);
    w.config.reserve_bytes = 1 << 20;
    world_crash(&w, true);
    assert_int_equal(world_open(&w, &msg), 0);
    qv_sim_run_for(w.sim, QV_NS_PER_S);
    assert_non_null(qv_sim_disk_find(w.disk, "node/reserve", 0));
    world_crash(&w, true);
    qv_sim_disk_set_capacity(w.disk, qv_sim_disk_used(w.disk));
    assert_int_equal(world_open(&w, &msg), 0);
    assert_null(qv_sim_disk_find(w.disk, "node/reserve", 0));
    assert_true(world_verify(&w, true));
    qv_sim_disk_set_capacity(w.disk, 0);
    qv_sim_run_for(w.sim, 15 * QV_NS_PER_S);
    assert_non_null(qv_sim_disk_find(w.disk, "node/reserve", 0));
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failed_row_writes),
        cmocka_unit_test(test_failed_row_syncs),
        cmocka_unit_test(test_failed_checkpoints),
        cmocka_unit_test(test_scrubber_finds_a_row),
        cmocka_unit_test(test_scrubber_replaces_state_files),
        cmocka_unit_test(test_scrubber_reads_the_log),
        cmocka_unit_test(test_start_on_a_full_disk),
    };
    quiet_log();
    return RUN_SUITE(tests);
}
