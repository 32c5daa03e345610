/* Seeded lives of a shard whose keys change under writes, searches and crashes: what it does not
 * answer for is in no answer, what it does not take is refused, what it does not keep goes and
 * never returns. The world's model, cut down to the keys, says what every kind of read gives. */
#include "quiet.h"
#include "suite.h"

#include "base/mem.h"
#include "shard/shard_private.h"
#include "shard_world_private.h"

#include <stdlib.h>

static uint64_t from_env(const char *name, uint64_t otherwise)
{
    const char *s = getenv(name);
    return s != NULL ? strtoull(s, NULL, 10) : otherwise;
}

struct totals {
    uint64_t verified, stale, purged, crashes, busy, hidden, taken_back;
};

struct life {
    struct world w; /* first */
    struct totals *t;
    struct qv_interval list[4];
    struct qv_id_range ranges[2];
    struct qv_shard_keys keys;
};

static struct qv_shard_keys everything(void)
{
    return (struct qv_shard_keys){qv_key_set_all, qv_key_set_all, qv_key_set_all};
}

/* About half of the keys, by hash or by id. */
static struct qv_key_set some_keys(struct life *l)
{
    struct qv_rng *r = &l->w.rng;
    struct qv_key_set s = qv_key_set_all;
    if (qv_rng_below(r, 3) == 0) {
        l->ranges[0] = (struct qv_id_range){qv_id_num(qv_rng_below(r, 40)),
                                            qv_id_num(50 + qv_rng_below(r, 50))};
        l->ranges[1] = (struct qv_id_range){.from = world_id_of(0, 4 * 30 + 3)};
        s.some_ids = true;
        s.ranges = l->ranges;
        s.range_count = 2;
        return s;
    }
    uint64_t at = qv_rng_u64(r) / 8;
    uint32_t n = 1 + (uint32_t)qv_rng_below(r, 3);
    for (uint32_t i = 0; i < n; i++) {
        l->list[i].first = at + qv_rng_u64(r) / 16;
        l->list[i].last = l->list[i].first + qv_rng_u64(r) / 6;
        at = l->list[i].last + 2;
    }
    s.keys = (struct qv_cover){l->list, n};
    return s;
}

static bool has(const struct qv_key_set *s, uint32_t i)
{
    struct qv_id id = world_id_of(0, i);
    return qv_key_set_has(s, &id);
}

static void set_keys(struct life *l)
{
    struct qv_errmsg msg = {""};
    int err = qv_shard_set_keys(qv_store_shard(l->w.store, 1), &l->keys, &msg);
    if (err != 0)
        snprintf(l->w.wrong, sizeof l->w.wrong, "set keys: %s: %s", qv_err_name(err), msg.text);
    for (uint32_t i = 0; i < WORLD_IDS; i++)
        l->w.disowned[0][i] = !has(&l->keys.writes, i);
}

/* As the model says of the keys that are read. */
static void verify(struct life *l)
{
    static struct world_model saved[WORLD_IDS];
    struct world *w = &l->w;
    world_run(w);
    if (w->wrong[0] != '\0' || !world_all_certain(w, 0))
        return;
    memcpy(saved, w->model[0], sizeof saved);
    for (uint32_t i = 0; i < WORLD_IDS; i++) {
        if (has(&l->keys.reads, i))
            continue;
        l->t->hidden += w->model[0][i].states[0].alive;
        w->model[0][i] = (struct world_model){.count = 1};
    }
    (void)world_verify(w, true);
    l->t->verified++;
    memcpy(w->model[0], saved, sizeof saved);
}

static void write_some(struct life *l, int n)
{
    for (; n > 0 && l->w.wrong[0] == '\0'; n--) {
        (void)world_write_some(&l->w);
        if (qv_rng_below(&l->w.rng, 2) == 0)
            qv_sim_run(l->w.sim, qv_rng_below(&l->w.rng, 60));
    }
}

static void on_answer(struct world *w, const struct qv_write *write, int err)
{
    struct life *l = w->arg;
    l->t->stale += err == QV_ESTALE;
    if (err != QV_ESTALE)
        return;
    const struct qv_write_op *op = &write->req->ops[write->failed_op];
    bool outside = op->select.filter != NULL;
    for (uint32_t i = 0; i < op->select.id_count; i++)
        outside = outside || !qv_key_set_has(&l->keys.writes, &op->select.ids[i]);
    for (uint32_t i = 0; i < op->point_count; i++)
        outside = outside || !qv_key_set_has(&l->keys.writes, &op->points[i].id);
    if (!outside || write->shard->number != 1)
        snprintf(w->wrong, sizeof w->wrong, "refused for its keys, which are all right");
}

static void crash(struct life *l)
{
    struct qv_errmsg msg = {""};
    l->w.specs[0].keys = &l->keys;
    world_crash(&l->w, qv_rng_below(&l->w.rng, 2) == 0);
    l->t->crashes++;
    int err = world_open(&l->w, &msg);
    if (err != 0)
        snprintf(l->w.wrong, sizeof l->w.wrong, "open: %s: %s", qv_err_name(err), msg.text);
    else
        (void)world_verify(&l->w, true); /* settles what was in doubt: all of it is read here */
}

/* Purged points are nobody's. */
static void forget(struct life *l)
{
    for (uint32_t i = 0; i < WORLD_IDS; i++) {
        if (!has(&l->keys.keep, i))
            l->w.model[0][i] = (struct world_model){.count = 1};
    }
}

static void purge(struct life *l)
{
    struct qv_shard_purge state;
    world_run(&l->w);
    if (!world_all_certain(&l->w, 0))
        return;
    for (int i = 0; i < 3; i++) /* in the log, applied when their keys are given up */
        (void)world_write_some(&l->w);
    qv_sim_run(l->w.sim, 2 + qv_rng_below(&l->w.rng, 8));
    l->keys.reads = l->keys.writes = l->keys.keep = some_keys(l);
    set_keys(l);
    world_run(&l->w);
    forget(l);
    verify(l);
    write_some(l, 6);
    for (uint64_t n = qv_rng_below(&l->w.rng, 3); n > 0 && l->w.wrong[0] == '\0'; n--) {
        qv_sim_run_for(l->w.sim, qv_rng_below(&l->w.rng, 400) * QV_NS_PER_MS);
        forget(l);
        crash(l);
        forget(l);
    }
    if (l->w.wrong[0] != '\0')
        return;
    struct qv_shard_keys wide = everything();
    struct qv_shard *s = qv_store_shard(l->w.store, 1);
    int err = QV_EBUSY;
    for (int i = 0; i < 1000 && err == QV_EBUSY; i++) {
        err = qv_shard_set_keys(s, &wide, NULL);
        l->t->busy += err == QV_EBUSY;
        if (err == QV_EBUSY)
            qv_sim_run_for(l->w.sim, 100 * QV_NS_PER_MS);
    }
    qv_shard_purge_state(s, &state);
    l->t->purged += state.purged;
    if (err != 0 || state.running) {
        snprintf(l->w.wrong, sizeof l->w.wrong, "keys can't be taken back: %s", qv_err_name(err));
        return;
    }
    l->keys = wide;
    l->t->taken_back++;
    memset(l->w.disowned, 0, sizeof l->w.disowned);
    world_run(&l->w);
    forget(l);
    verify(l);
    if (qv_rng_below(&l->w.rng, 2) == 0) /* the log does not bring it back */
        crash(l);
}

static void checkpointed(void *arg, int err)
{
    *(int *)arg = err;
}

/* The payload store has a record of each point and none besides. */
static void check_records(struct life *l)
{
    static const uint8_t first[1] = {QV_ID_NUM};
    struct qv_shard *s = qv_store_shard(l->w.store, 1);
    struct qv_kv_iter *it = NULL;
    struct qv_bytes key;
    struct qv_bytes value;
    uint32_t records = 0;
    int err = 1;
    world_run(&l->w);
    qv_store_checkpoint(l->w.store, checkpointed, &err);
    while (err == 1)
        qv_sim_step(l->w.sim);
    assert_int_equal(
        qv_kv_iter_open(s->kv, NULL, (struct qv_bytes){first, 1}, (struct qv_bytes){NULL, 0}, &it),
        0);
    while (qv_kv_iter_next(it, &key, &value, NULL) == 0)
        records++;
    qv_kv_iter_close(it);
    if (records != s->slots.live_count && l->w.wrong[0] == '\0')
        snprintf(l->w.wrong, sizeof l->w.wrong, "%u records of %u points", records,
                 s->slots.live_count);
}

static void hide(struct life *l)
{
    world_run(&l->w);
    if (!world_all_certain(&l->w, 0))
        return;
    l->keys = everything();
    l->keys.reads = some_keys(l);
    set_keys(l);
    verify(l);
    write_some(l, 10); /* of all keys */
    verify(l);
    qv_sim_run_for(l->w.sim, qv_rng_below(&l->w.rng, 800) * QV_NS_PER_MS);
    verify(l);
    l->keys.writes = l->keys.reads;
    set_keys(l);
    write_some(l, 10);
    verify(l);
    l->keys = everything();
    set_keys(l);
    verify(l);
}

static bool one_life(uint64_t seed, struct totals *t)
{
    static struct life l;
    struct qv_errmsg msg = {""};
    memset(&l, 0, sizeof l);
    world_init(&l.w, seed);
    l.t = t;
    l.w.arg = &l;
    l.w.on_answer = on_answer;
    l.keys = everything();
    assert_int_equal(world_open(&l.w, &msg), 0);
    for (int round = 0; round < 5 && l.w.wrong[0] == '\0'; round++) {
        write_some(&l, 25);
        if (l.w.wrong[0] == '\0' && qv_rng_below(&l.w.rng, 2) == 0)
            hide(&l);
        if (l.w.wrong[0] == '\0' && qv_rng_below(&l.w.rng, 2) == 0)
            purge(&l);
        if (l.w.wrong[0] == '\0' && qv_rng_below(&l.w.rng, 3) == 0)
            crash(&l);
    }
    if (l.w.wrong[0] == '\0')
        check_records(&l);
    if (l.w.wrong[0] == '\0')
        (void)world_check_structures(&l.w);
    bool ok = l.w.wrong[0] == '\0';
    if (!ok)
        print_error("seed %llu: %s (replay with QV_SEED=%llu QV_RUNS=1)\n",
                    (unsigned long long)seed, l.w.wrong, (unsigned long long)seed);
    world_close(&l.w);
    return ok;
}

static void test_keys(void **state)
{
    (void)state;
    struct totals t = {0};
    uint64_t seed = from_env("QV_SEED", 1);
    uint64_t runs = from_env("QV_RUNS", SANITIZED_LESS(100));
    for (uint64_t i = 0; i < runs; i++)
        assert_true(one_life(seed + i, &t));
    print_message("%llu verified, %llu points hidden, %llu writes refused, %llu purged, %llu "
                  "crashes, %llu times busy, %llu taken back\n",
                  (unsigned long long)t.verified, (unsigned long long)t.hidden,
                  (unsigned long long)t.stale, (unsigned long long)t.purged,
                  (unsigned long long)t.crashes, (unsigned long long)t.busy,
                  (unsigned long long)t.taken_back);
    if (runs >= 50)
        assert_true(t.verified > 100 && t.hidden > 100 && t.stale > 50 && t.purged > 100 &&
                    t.crashes > 20 && t.busy > 10 && t.taken_back > 10);
}

int main(void)
{
    quiet_log();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_keys)};
    return RUN_SUITE(tests);
}
