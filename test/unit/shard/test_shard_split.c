/* Seeded splits of a shard that is written to: rows of some keys from a pin, the changes behind it,
 * `both`, the change of keys, the purge; crashes at any step. In the end each half is where it
 * belongs, once, as it was acknowledged. */
#include "quiet.h"
#include "suite.h"

#include "base/mem.h"
#include "shard/shard_private.h"
#include "shard/shard_rows.h"
#include "shard_world_private.h"

#include <stdlib.h>

static uint64_t from_env(const char *name, uint64_t otherwise)
{
    const char *s = getenv(name);
    return s != NULL ? strtoull(s, NULL, 10) : otherwise;
}

struct totals {
    uint64_t splits, begun_anew, crashes, moved, repeated, waited;
};

struct split {
    struct world w; /* first */
    struct totals *t;
    struct qv_interval kept_list[2], moved_list[1];
    struct qv_key_set kept, moved;
    struct qv_shard_keys source_keys, target_keys;
    uint32_t number; /* of the target; 0: none */
    uint64_t stream; /* of its rows; the feed's is the next */
    struct qv_feed *feed;
    struct qv_shard_pin_req pin;
    int pin_err;
    uint64_t position; /* of the pin */
    bool required;
    qv_lsn required_from;
};

static struct qv_shard *source(struct split *x)
{
    return qv_store_shard(x->w.store, 1);
}

static struct qv_shard *target(struct split *x)
{
    return qv_store_shard(x->w.store, x->number);
}

static bool wrong(const struct split *x)
{
    return x->w.wrong[0] != '\0';
}

/* ---- what they hold ---- */

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

static void set_keys(struct split *x)
{
    struct qv_errmsg msg = {""};
    int err = qv_shard_set_keys(source(x), &x->source_keys, &msg);
    if (err == 0)
        err = qv_shard_set_keys(target(x), &x->target_keys, &msg);
    if (err != 0)
        snprintf(x->w.wrong, sizeof x->w.wrong, "keys: %s: %s", qv_err_name(err), msg.text);
    for (uint32_t i = 0; i < WORLD_IDS; i++) {
        struct qv_id id = world_id_of(0, i);
        x->w.disowned[0][i] = !qv_key_set_has(&x->source_keys.writes, &id);
    }
}

static void some_writes(struct split *x, int n)
{
    for (; n > 0 && !wrong(x); n--) {
        (void)world_write_some(&x->w);
        qv_sim_run(x->w.sim, qv_rng_below(&x->w.rng, 60));
    }
}

/* ---- the target ---- */

static void make_target(struct split *x)
{
    struct qv_errmsg msg = {""};
    struct qv_shard *made;
    if (x->number != 0)
        qv_store_drop_shard(x->w.store, x->number, NULL, NULL);
    x->number = x->number != 0 ? x->number + 1 : 100;
    x->stream += 2;
    x->target_keys = (struct qv_shard_keys){
        .reads = qv_key_set_none, .writes = qv_key_set_none, .keep = x->moved};
    x->w.specs[WORLD_SHARDS] = (struct qv_shard_spec){.number = x->number,
                                                      .uuid = {9, 9},
                                                      .generation = 1,
                                                      .config = &x->w.collection,
                                                      .keys = &x->target_keys};
    int err = qv_store_add_shard(x->w.store, &x->w.specs[WORLD_SHARDS], &made, &msg);
    if (err != 0)
        snprintf(x->w.wrong, sizeof x->w.wrong, "target: %s", msg.text);
    x->w.extra = true;
}

static void open_feed(struct split *x, uint64_t from)
{
    struct qv_errmsg msg = {""};
    const struct qv_feed_config config = {.from = from,
                                          .memory_bytes =
                                              qv_rng_below(&x->w.rng, 3) == 0 ? 100 : 3000,
                                          .keys = &x->moved};
    int err = qv_feed_open(source(x), &config, &x->feed, &msg);
    if (err != 0)
        snprintf(x->w.wrong, sizeof x->w.wrong, "feed: %s: %s", qv_err_name(err), msg.text);
    else if (x->required)
        qv_feed_require(x->feed, true, QV_NS_PER_S);
}

static void crash(struct split *x)
{
    struct qv_errmsg msg = {""};
    x->feed = NULL;
    x->w.config.log_from = 1;
    x->w.specs[0].keys = &x->source_keys;
    x->w.specs[WORLD_SHARDS].keys = &x->target_keys;
    world_crash(&x->w, qv_rng_below(&x->w.rng, 2) == 0);
    x->t->crashes++;
    int err = world_open(&x->w, &msg);
    if (err != 0)
        snprintf(x->w.wrong, sizeof x->w.wrong, "open: %s: %s", qv_err_name(err), msg.text);
    x->required_from = qv_shard_position(source(x));
}

struct replayed {
    struct qv_replay replay;
    bool done;
    int err;
};

static void replay_done(struct qv_replay *r, int err)
{
    struct replayed *x = r->arg;
    x->done = true;
    x->err = err;
}

static void replay(struct split *x, const struct qv_replay *what)
{
    struct replayed r = {.replay = *what};
    r.replay.done = replay_done;
    r.replay.arg = &r;
    qv_shard_replay(target(x), &r.replay);
    for (int i = 0; i < 1000000 && !r.done; i++)
        qv_sim_step(x->w.sim);
    if (!r.done || r.err != 0)
        snprintf(x->w.wrong, sizeof x->w.wrong, "replay: %s: %s", qv_err_name(r.err),
                 r.replay.msg.text);
}

/* ---- rows ---- */

static void pinned(struct qv_shard_pin_req *req, int err)
{
    struct split *x = req->arg;
    x->pin_err = err;
    if (err != 0)
        return;
    x->position = qv_shard_pin_position(req->pin);
    open_feed(x, x->position);
}

/* False: a crash came between; what there is of it is good for nothing. */
static bool move_rows(struct split *x)
{
    struct qv_errmsg msg = {""};
    struct qv_buf batch;
    struct qv_rows_part part = {0};
    bool ok = true;
    x->pin_err = 1;
    x->pin = (struct qv_shard_pin_req){.done = pinned, .arg = x};
    qv_shard_pin(source(x), &x->pin);
    for (int i = 0; i < 100000 && x->pin_err == 1; i++)
        some_writes(x, 1);
    if (x->pin_err != 0 || wrong(x))
        return false;
    struct qv_shard_rows *rows = qv_shard_rows_create(x->pin.pin, &x->moved, 0);
    qv_buf_init(&batch, 0);
    while (ok && !part.done && !wrong(x)) {
        struct qv_replay what = {.stream = x->stream};
        qv_buf_clear(&batch);
        int err = qv_shard_rows_step(rows, qv_rng_below(&x->w.rng, 2000), &batch, &part, &msg);
        what.from = part.from;
        what.to = part.to;
        if (err != 0)
            snprintf(x->w.wrong, sizeof x->w.wrong, "rows: %s", msg.text);
        what.bytes = (struct qv_bytes){batch.data, batch.len};
        assert_true(qv_batch_check(what.bytes, NULL));
        if (err == 0)
            replay(x, &what);
        if (err == 0 && qv_rng_below(&x->w.rng, 4) == 0) {
            replay(x, &what);
            x->t->repeated++;
        }
        some_writes(x, 1);
        ok = qv_rng_below(&x->w.rng, 40) != 0;
    }
    qv_buf_close(&batch);
    qv_shard_rows_destroy(&rows);
    if (!ok && !wrong(x)) {
        crash(x);
        x->t->begun_anew++;
        return false;
    }
    qv_shard_unpin(&x->pin.pin);
    const struct qv_replay begin = {.stream = x->stream + 1, .to = x->position};
    if (!wrong(x))
        replay(x, &begin);
    return !wrong(x);
}

/* ---- changes ---- */

static uint64_t covered(struct split *x)
{
    uint64_t position;
    (void)qv_shard_coverage(target(x), x->stream + 1, &position);
    return position;
}

static void take_done(struct qv_feed_take *t, int err)
{
    *(int *)t->arg = err;
}

/* One batch, if there is any. */
static void follow(struct split *x)
{
    struct qv_feed_take take;
    int err = 1;
    memset(&take, 0, sizeof take);
    qv_buf_init(&take.bytes, 0);
    take.from = covered(x);
    take.bytes_max = 1 + qv_rng_below(&x->w.rng, 4000);
    take.done = take_done;
    take.arg = &err;
    qv_feed_confirm(x->feed, take.from);
    qv_feed_take(x->feed, &take);
    for (int i = 0; i < 40 && err == 1; i++)
        qv_sim_step(x->w.sim);
    if (err == 1)
        qv_feed_stop_taking(x->feed);
    while (err == 1)
        qv_sim_step(x->w.sim);
    const struct qv_replay what = {.stream = x->stream + 1,
                                   .from = take.from,
                                   .to = take.to,
                                   .bytes = {take.bytes.data, take.bytes.len}};
    if (err == 0)
        replay(x, &what);
    else if (err != QV_ECANCELED)
        snprintf(x->w.wrong, sizeof x->w.wrong, "take: %s: %s", qv_err_name(err), take.msg.text);
    qv_buf_close(&take.bytes);
}

static void drain(struct split *x)
{
    for (int i = 0; i < 20000 && !wrong(x); i++) {
        if (x->w.first == NULL && covered(x) >= qv_shard_position(source(x)))
            break;
        follow(x);
        qv_sim_run(x->w.sim, 10);
    }
    if (!wrong(x) && covered(x) < qv_shard_position(source(x)))
        snprintf(x->w.wrong, sizeof x->w.wrong, "never full");
}

static void go_on(struct split *x, int rounds)
{
    for (; rounds > 0 && !wrong(x); rounds--) {
        some_writes(x, 1);
        if (qv_rng_below(&x->w.rng, 2) == 0)
            follow(x);
        if (!wrong(x) && qv_rng_below(&x->w.rng, 25) == 0) {
            crash(x);
            if (!wrong(x))
                open_feed(x, covered(x));
        }
    }
}

static void on_answer(struct world *w, const struct qv_write *write, int err)
{
    struct split *x = w->arg;
    if (!x->required || write->shard->number != 1 || err != 0 || x->feed == NULL)
        return;
    for (uint32_t i = 0; i < write->req->op_count; i++) {
        x->t->waited++;
        if (write->results[i].operation_id > x->required_from &&
            write->results[i].operation_id > covered(x))
            snprintf(w->wrong, sizeof w->wrong, "answered before the target had it");
    }
}

/* ---- the whole of it ---- */

static void choose_keys(struct split *x)
{
    uint64_t first = 1 + qv_rng_u64(&x->w.rng) / 2;
    uint64_t last = first + UINT64_MAX / 8 + qv_rng_u64(&x->w.rng) / 4;
    x->moved_list[0] = (struct qv_interval){first, last};
    x->kept_list[0] = (struct qv_interval){0, first - 1};
    x->kept_list[1] = (struct qv_interval){last + 1, UINT64_MAX};
    x->moved = (struct qv_key_set){.keys = {x->moved_list, 1}};
    x->kept = (struct qv_key_set){.keys = {x->kept_list, 2}};
    x->source_keys = (struct qv_shard_keys){qv_key_set_all, qv_key_set_all, qv_key_set_all};
}

static void expect(struct split *x, const struct qv_buf *want)
{
    struct qv_buf got;
    qv_buf_init(&got, 0);
    dump(target(x), &got);
    if (!wrong(x) &&
        (got.len != want->len || (got.len > 0 && memcmp(got.data, want->data, got.len) != 0)))
        snprintf(x->w.wrong, sizeof x->w.wrong, "%zu bytes were to move, %zu are there", want->len,
                 got.len);
    qv_buf_close(&got);
}

/* What moved is nobody's business here any more. */
static void forget_moved(struct split *x)
{
    for (uint32_t i = 0; i < WORLD_IDS; i++) {
        struct qv_id id = world_id_of(0, i);
        if (qv_key_set_has(&x->moved, &id))
            x->w.model[0][i] = (struct world_model){.count = 1};
    }
}

static void change_hands(struct split *x, struct qv_buf *want)
{
    x->required = true;
    x->required_from = qv_shard_position(source(x));
    qv_feed_require(x->feed, true, QV_NS_PER_S);
    go_on(x, 20);
    drain(x);
    if (wrong(x))
        return;
    x->source_keys.reads = x->kept; /* new reads; writes as before */
    x->target_keys.reads = x->moved;
    set_keys(x);
    go_on(x, 20);
    drain(x);
    if (wrong(x))
        return;
    x->source_keys.writes = x->kept; /* done; the last writes are through */
    set_keys(x);
    drain(x);
    if (wrong(x))
        return;
    x->source_keys.reads = x->moved; /* what the source has of them, to be compared */
    set_keys(x);
    dump(source(x), want);
    expect(x, want);
    x->source_keys.reads = x->source_keys.keep = x->kept;
    x->target_keys.writes = x->moved;
    set_keys(x);
    forget_moved(x);
    x->t->moved += want->len > 0;
}

static void after(struct split *x, struct qv_buf *want)
{
    struct qv_shard_purge purge = {.running = true};
    for (int i = 0; i < 200 && !wrong(x) && !purge.durable; i++) {
        qv_sim_run_for(x->w.sim, 50 * QV_NS_PER_MS);
        follow(x); /* the feed is still open: nothing of the purge comes through it */
        some_writes(x, 1);
        if (!wrong(x) && qv_rng_below(&x->w.rng, 30) == 0) {
            crash(x);
            forget_moved(x);
            if (!wrong(x))
                open_feed(x, covered(x));
        }
        qv_shard_purge_state(source(x), &purge);
    }
    if (!wrong(x) && !purge.durable)
        snprintf(x->w.wrong, sizeof x->w.wrong, "the purge does not end");
    drain(x);
    if (wrong(x))
        return;
    expect(x, want);
    x->required = false;
    qv_feed_close(&x->feed, 0);
    crash(x);
    forget_moved(x);
    if (!wrong(x))
        (void)world_verify(&x->w, true);
    expect(x, want);
}

static bool one_split(uint64_t seed, struct totals *t)
{
    static struct split x;
    struct qv_errmsg msg = {""};
    struct qv_buf want;
    memset(&x, 0, sizeof x);
    qv_buf_init(&want, 0);
    world_init(&x.w, seed);
    x.t = t;
    x.w.arg = &x;
    x.w.on_answer = on_answer;
    x.stream = 10;
    choose_keys(&x);
    assert_int_equal(world_open(&x.w, &msg), 0);
    some_writes(&x, 60);
    make_target(&x);
    while (!wrong(&x) && !move_rows(&x)) {
        if (!wrong(&x))
            make_target(&x);
    }
    if (!wrong(&x))
        go_on(&x, 30);
    if (!wrong(&x))
        change_hands(&x, &want);
    if (!wrong(&x))
        after(&x, &want);
    bool ok = !wrong(&x);
    if (!ok)
        print_error("seed %llu: %s (replay with QV_SEED=%llu QV_RUNS=1)\n",
                    (unsigned long long)seed, x.w.wrong, (unsigned long long)seed);
    t->splits += ok;
    world_close(&x.w);
    qv_buf_close(&want);
    return ok;
}

static void test_splits(void **state)
{
    (void)state;
    struct totals t = {0};
    uint64_t seed = from_env("QV_SEED", 1);
    uint64_t runs = from_env("QV_RUNS", SANITIZED_LESS(100));
    for (uint64_t i = 0; i < runs; i++)
        assert_true(one_split(seed + i, &t));
    print_message("%llu splits, %llu with points, %llu begun anew, %llu crashes, %llu batches "
                  "repeated, %llu answers waited\n",
                  (unsigned long long)t.splits, (unsigned long long)t.moved,
                  (unsigned long long)t.begun_anew, (unsigned long long)t.crashes,
                  (unsigned long long)t.repeated, (unsigned long long)t.waited);
    if (runs >= 50)
        assert_true(t.begun_anew > 3 && t.crashes > 50 && t.repeated > 20 && t.waited > 50);
}

int main(void)
{
    quiet_log();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_splits)};
    return RUN_SUITE(tests);
}
