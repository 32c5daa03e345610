/* Seeded lives of a shard that another one follows: batches are lost, repeated, late, cut anywhere;
 * both crash at any time. In the end they hold the same, and in `required` nothing was answered
 * that the follower had not confirmed. */
#include "quiet.h"
#include "suite.h"

#include "base/mem.h"
#include "shard/shard_private.h"
#include "shard_world.h"

#include <stdlib.h>

#define FOLLOWER 100u
#define STREAM 77u

static uint64_t from_env(const char *name, uint64_t otherwise)
{
    const char *s = getenv(name);
    return s != NULL ? strtoull(s, NULL, 10) : otherwise;
}

struct totals {
    uint64_t batches, repeated, lost, from_log, crashes, waited, late, reopened, records, stale;
};

struct follow {
    struct world w; /* first */
    struct totals *t;
    struct qv_feed *feed;
    struct qv_feed_take take;
    struct qv_replay replay;
    bool taking, took, replaying, replayed;
    int take_err, replay_err;
    bool required;
    qv_lsn required_from; /* what was applied before is answered as it was */
};

/* ---- what a shard holds ---- */

static void dump(struct qv_shard *s, struct qv_buf *out)
{
    struct qv_arena arena;
    struct qv_scroll_out got;
    struct qv_errmsg msg = {""};
    const struct qv_scroll_req req = {.limit = 100000,
                                      .with_payload = {.mode = QV_SELECT_ALL},
                                      .with_vector = {.mode = QV_SELECT_ALL}};
    qv_arena_init(&arena, (size_t)256 << 20);
    qv_buf_clear(out);
    int err = qv_shard_scroll(s, 0, &arena, &req, &got, &msg);
    if (err != 0)
        qv_buf_printf(out, "%s: %s", qv_err_name(err), msg.text);
    for (uint32_t i = 0; err == 0 && i < got.points.count; i++) {
        const struct qv_point_out *p = &got.points.points[i];
        char id[QV_ID_TEXT_MAX];
        qv_id_format(&p->id, id);
        qv_buf_printf(out, "\n%s %llu:%u ", id, (unsigned long long)p->version.clock,
                      p->version.writer);
        qv_buf_append(out, p->payload.p, p->payload.n);
        for (uint32_t v = 0; v < p->vec_count; v++) {
            qv_buf_append(out, p->vecs[v].name.p, p->vecs[v].name.n);
            qv_vec_encode(out, &p->vecs[v].vec, QV_DTYPE_F32);
        }
    }
    qv_arena_close(&arena);
}

/* ---- following ---- */

static struct qv_shard *source(struct follow *f)
{
    return qv_store_shard(f->w.store, 1);
}

static struct qv_shard *target(struct follow *f)
{
    return qv_store_shard(f->w.store, FOLLOWER);
}

static uint64_t covered(struct follow *f)
{
    uint64_t position;
    (void)qv_shard_coverage(target(f), STREAM, &position);
    return position;
}

static void late(void *arg, int err)
{
    struct follow *f = arg;
    assert_int_equal(err, QV_ETIMEOUT);
    f->t->late++;
}

static void open_feed(struct follow *f)
{
    struct qv_errmsg msg = {""};
    const struct qv_feed_config config = {.from = covered(f),
                                          .memory_bytes =
                                              qv_rng_below(&f->w.rng, 3) == 0 ? 100 : 3000,
                                          .late = late,
                                          .arg = f};
    int err = qv_feed_open(source(f), &config, &f->feed, &msg);
    if (err != 0)
        snprintf(f->w.wrong, sizeof f->w.wrong, "feed from %llu: %s: %s",
                 (unsigned long long)config.from, qv_err_name(err), msg.text);
    f->required_from = qv_shard_position(source(f));
    if (err == 0 && f->required)
        qv_feed_require(f->feed, true, 50 * QV_NS_PER_MS);
}

static void take_done(struct qv_feed_take *t, int err)
{
    struct follow *f = t->arg;
    f->taking = false;
    f->took = err == 0;
    f->take_err = err;
}

static void replay_done(struct qv_replay *r, int err)
{
    struct follow *f = r->arg;
    f->replaying = false;
    f->replayed = true;
    f->replay_err = err;
}

static void begin_take(struct follow *f)
{
    qv_buf_clear(&f->take.bytes);
    f->take.from = covered(f);
    qv_feed_confirm(f->feed, f->take.from); /* who asks from there has it */
    f->take.bytes_max = 1 + qv_rng_below(&f->w.rng, 5000);
    f->take.done = take_done;
    f->take.arg = f;
    f->taking = true;
    f->took = false;
    qv_feed_take(f->feed, &f->take);
}

static void begin_replay(struct follow *f)
{
    const char *why;
    assert_true(qv_batch_check((struct qv_bytes){f->take.bytes.data, f->take.bytes.len}, &why));
    f->replay = (struct qv_replay){.stream = STREAM,
                                   .from = f->take.from,
                                   .to = f->take.to,
                                   .bytes = {f->take.bytes.data, f->take.bytes.len},
                                   .done = replay_done,
                                   .arg = f};
    f->replaying = true;
    qv_shard_replay(target(f), &f->replay);
}

/* One thing that may happen between the two. */
static void step(struct follow *f)
{
    struct qv_rng *r = &f->w.rng;
    if (f->taking || f->replaying)
        return;
    if (f->replayed) {
        f->replayed = false;
        if (f->replay_err ==
            QV_ESTALE) { /* there were such before it: a batch of an earlier take */
            f->t->stale++;
            f->took = false;
            return;
        }
        if (f->replay_err != 0) {
            snprintf(f->w.wrong, sizeof f->w.wrong, "replay: %s: %s", qv_err_name(f->replay_err),
                     f->replay.msg.text);
            return;
        }
        f->t->batches++;
        f->t->records += f->take.records;
        if (f->replay.covered < f->take.to)
            snprintf(f->w.wrong, sizeof f->w.wrong, "covered %llu after %llu",
                     (unsigned long long)f->replay.covered, (unsigned long long)f->take.to);
        switch (qv_rng_below(r, 8)) {
        case 0: /* given again */
            f->t->repeated++;
            begin_replay(f);
            return;
        case 1: /* the confirmation is lost */
            f->t->lost++;
            break;
        default:
            qv_feed_confirm(f->feed, f->take.to);
            break;
        }
        f->took = false;
    }
    if (f->took) {
        f->t->from_log += f->take.from < f->take.to && f->take.records > 0;
        if (qv_rng_below(r, 10) == 0)
            f->took = false; /* lost */
        else
            begin_replay(f);
        return;
    }
    if (f->take_err != 0 && f->take_err != QV_ECANCELED) {
        snprintf(f->w.wrong, sizeof f->w.wrong, "take: %s: %s", qv_err_name(f->take_err),
                 f->take.msg.text);
        return;
    }
    if (qv_rng_below(r, 20) == 0) {
        qv_feed_close(&f->feed, 0);
        open_feed(f);
        f->t->reopened++;
    }
    if (f->feed != NULL)
        begin_take(f);
}

static void on_answer(struct world *w, const struct qv_write *write, int err)
{
    struct follow *f = w->arg;
    if (!f->required || write->shard->number != 1 || f->feed == NULL || err != 0)
        return;
    for (uint32_t i = 0; i < write->req->op_count; i++) {
        f->t->waited++;
        if (write->results[i].operation_id > f->required_from &&
            write->results[i].operation_id > qv_feed_confirmed(f->feed))
            snprintf(w->wrong, sizeof w->wrong, "answered at %llu, confirmed %llu",
                     (unsigned long long)write->results[i].operation_id,
                     (unsigned long long)qv_feed_confirmed(f->feed));
    }
}

static void crash(struct follow *f)
{
    struct qv_errmsg msg = {""};
    bool power = qv_rng_below(&f->w.rng, 2) == 0;
    f->feed = NULL;
    f->w.config.log_from = covered(f) != 0 ? 1 : 0;
    world_crash(&f->w, power);
    f->taking = f->took = f->replaying = f->replayed = false;
    f->take_err = 0;
    f->t->crashes++;
    int err = world_open(&f->w, &msg);
    if (err != 0)
        snprintf(f->w.wrong, sizeof f->w.wrong, "open: %s: %s", qv_err_name(err), msg.text);
    else
        open_feed(f);
}

/* Until the follower has everything. */
static void drain(struct follow *f)
{
    for (int i = 0; i < 200000 && f->w.wrong[0] == '\0'; i++) {
        if (!f->taking && !f->replaying && !f->replayed && !f->took && f->w.first == NULL &&
            covered(f) >= qv_shard_position(source(f)))
            return;
        if (f->taking && covered(f) >= qv_shard_position(source(f)) && f->w.first == NULL) {
            qv_feed_stop_taking(f->feed);
        }
        step(f);
        qv_sim_step(f->w.sim);
        if (f->take_err == QV_ECANCELED)
            f->take_err = 0;
    }
    if (f->w.wrong[0] == '\0')
        snprintf(f->w.wrong, sizeof f->w.wrong, "the follower never has everything");
}

static void compare(struct follow *f)
{
    struct qv_buf want;
    struct qv_buf got;
    struct qv_errmsg msg;
    qv_buf_init(&want, 0);
    qv_buf_init(&got, 0);
    dump(source(f), &want);
    dump(target(f), &got);
    if (want.len != got.len || (got.len > 0 && memcmp(want.data, got.data, got.len) != 0))
        snprintf(f->w.wrong, sizeof f->w.wrong, "%zu bytes there, %zu bytes here", want.len,
                 got.len);
    if (qv_slot_table_check(&target(f)->slots, &msg) != 0)
        snprintf(f->w.wrong, sizeof f->w.wrong, "slots: %s", msg.text);
    qv_buf_close(&want);
    qv_buf_close(&got);
}

static void begin(struct follow *f)
{
    struct qv_errmsg msg = {""};
    struct qv_shard *made;
    assert_int_equal(world_open(&f->w, &msg), 0);
    f->w.specs[WORLD_SHARDS] = (struct qv_shard_spec){
        .number = FOLLOWER, .uuid = {9, 9}, .generation = 1, .config = &f->w.collection};
    assert_int_equal(qv_store_add_shard(f->w.store, &f->w.specs[WORLD_SHARDS], &made, &msg), 0);
    f->w.extra = true;
    f->replay = (struct qv_replay){
        .stream = STREAM, .to = qv_shard_position(source(f)), .done = replay_done, .arg = f};
    qv_shard_replay(made, &f->replay);
    f->replaying = true;
    while (f->replaying)
        qv_sim_step(f->w.sim);
    assert_int_equal(f->replay_err, 0);
    f->replayed = false;
    open_feed(f);
}

static bool one_life(uint64_t seed, struct totals *t)
{
    static struct follow f;
    memset(&f, 0, sizeof f);
    world_init(&f.w, seed);
    f.t = t;
    f.w.arg = &f;
    f.w.on_answer = on_answer;
    qv_buf_init(&f.take.bytes, 0);
    begin(&f);
    for (int round = 0; round < 160 && f.w.wrong[0] == '\0'; round++) {
        if (qv_rng_below(&f.w.rng, 2) == 0)
            (void)world_write_some(&f.w);
        if (qv_rng_below(&f.w.rng, 3) > 0)
            step(&f);
        qv_sim_run(f.w.sim, qv_rng_below(&f.w.rng, 30));
        if (qv_rng_below(&f.w.rng, 12) == 0)
            qv_sim_run_for(f.w.sim, qv_rng_below(&f.w.rng, 300) * QV_NS_PER_MS);
        if (qv_rng_below(&f.w.rng, 25) == 0 && f.feed != NULL) {
            f.required = !f.required;
            f.required_from = qv_shard_position(source(&f));
            qv_feed_require(f.feed, f.required, 50 * QV_NS_PER_MS);
        }
        if (qv_rng_below(&f.w.rng, 50) == 0)
            crash(&f);
    }
    if (f.w.wrong[0] == '\0')
        drain(&f);
    if (f.w.wrong[0] == '\0')
        compare(&f);
    bool ok = f.w.wrong[0] == '\0';
    if (!ok)
        print_error("seed %llu: %s (replay with QV_SEED=%llu QV_RUNS=1)\n",
                    (unsigned long long)seed, f.w.wrong, (unsigned long long)seed);
    world_close(&f.w);
    qv_buf_close(&f.take.bytes);
    return ok;
}

static void test_followers(void **state)
{
    (void)state;
    struct totals t = {0};
    uint64_t seed = from_env("QV_SEED", 1);
    uint64_t runs = from_env("QV_RUNS", SANITIZED_LESS(150));
    for (uint64_t i = 0; i < runs; i++)
        assert_true(one_life(seed + i, &t));
    print_message("%llu batches of %llu records, %llu repeated, %llu lost, %llu stale, %llu feeds "
                  "opened again, %llu crashes, %llu answers waited, %llu late\n",
                  (unsigned long long)t.batches, (unsigned long long)t.records,
                  (unsigned long long)t.repeated, (unsigned long long)t.lost,
                  (unsigned long long)t.stale, (unsigned long long)t.reopened,
                  (unsigned long long)t.crashes, (unsigned long long)t.waited,
                  (unsigned long long)t.late);
    if (runs >= 100)
        assert_true(t.batches > 1000 && t.repeated > 0 && t.lost > 0 && t.crashes > 0 &&
                    t.waited > 0 && t.late > 0 && t.reopened > 0);
}

int main(void)
{
    quiet_log();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_followers)};
    return RUN_SUITE(tests);
}
