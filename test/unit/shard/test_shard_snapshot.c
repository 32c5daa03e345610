/* Seeded lives of a store from which snapshots are taken while it is written to, and restored into
 * new shards beside it: what comes out is what was there when the snapshot was asked for. */
#include "quiet.h"
#include "suite.h"

#include "base/mem.h"
#include "shard/shard_private.h"
#include "shard/shard_snapshot.h"
#include "shard_world.h"

#include <stdlib.h>

#define FILE_PATH "snap/one"
#define RESTORED 100u

static uint64_t from_env(const char *name, uint64_t otherwise)
{
    const char *s = getenv(name);
    return s != NULL ? strtoull(s, NULL, 10) : otherwise;
}

struct totals {
    uint64_t restored, crashed, refused, points, abandoned;
};

/* Everything that a read gives of a shard, in the order of ids. */
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

static void pinned(struct qv_shard_pin_req *req, int err)
{
    *(int *)req->arg = err;
}

static void some_writes(struct world *w)
{
    for (uint64_t n = qv_rng_below(&w->rng, 4); n > 0; n--)
        (void)world_write_some(w);
    if (qv_rng_below(&w->rng, 2) == 0)
        qv_sim_run(w->sim, qv_rng_below(&w->rng, 60));
    if (qv_rng_below(&w->rng, 6) == 0)
        qv_sim_run_for(w->sim, qv_rng_below(&w->rng, 500) * QV_NS_PER_MS);
}

/* Takes the shard as it is now into FILE_PATH, with writes going on; crash: gives up on the way. */
static int take(struct world *w, struct qv_shard *s, struct qv_buf *want, bool crash)
{
    int err = 1;
    bool done = false;
    struct qv_errmsg msg = {""};
    struct qv_shard_pin_req req = {.done = pinned, .arg = &err};
    struct qv_snapshot_writer *file = NULL;
    struct qv_snapshot_info info;
    world_run(w);
    while (s->checkpoint != NULL) /* with one under way it would be the moment of the next */
        qv_sim_run_for(w->sim, QV_NS_PER_MS);
    dump(s, want);
    qv_shard_pin(s, &req);
    for (int i = 0; i < 100000 && err == 1; i++)
        some_writes(w);
    if (err != 0)
        return err;
    int gone = qv_disk_unlink(w->disk, FILE_PATH, NULL);
    (void)gone;
    assert_int_equal(qv_snapshot_create(w->disk, FILE_PATH, QV_SNAPSHOT_COLLECTION, 1, &file, NULL),
                     0);
    struct qv_shard_export *e = qv_shard_export_create(req.pin, file, 0);
    while (err == 0 && !done && !(crash && qv_rng_below(&w->rng, 20) == 0)) {
        err = qv_shard_export_step(e, 1 + qv_rng_below(&w->rng, 20000), &done, &msg);
        some_writes(w);
    }
    if (err != 0)
        print_error("export: %s\n", msg.text);
    qv_shard_export_destroy(&e);
    if (done)
        return qv_shard_unpin(&req.pin), qv_snapshot_finish(file, &info, NULL);
    qv_snapshot_abort(file);
    if (!crash)
        qv_shard_unpin(&req.pin);
    return err != 0 ? err : QV_ECANCELED;
}

static int restore(struct world *w, uint32_t number, bool crash, struct qv_shard **out,
                   struct qv_errmsg *msg)
{
    struct qv_snapshot_reader *r = NULL;
    bool done = false;
    struct qv_shard_spec spec = {
        .number = number, .uuid = {9, 9, 9}, .generation = 3, .config = &w->collection};
    int err = qv_snapshot_open(w->disk, FILE_PATH, 0, 0, &r, msg);
    while (err == 0 && !done)
        err = qv_snapshot_verify_step(r, 1 + qv_rng_below(&w->rng, 50000), false, &done, msg);
    done = false;
    struct qv_shard_import *im = err == 0 ? qv_shard_import_create(w->store, &spec, r, 0) : NULL;
    while (err == 0 && !done && !(crash && qv_rng_below(&w->rng, 20) == 0)) {
        err = qv_shard_import_step(im, 1 + qv_rng_below(&w->rng, 20000), &done, msg);
        some_writes(w);
    }
    if (err == 0 && done)
        err = qv_shard_import_adopt(im, out, msg);
    else if (err == 0)
        err = QV_ECANCELED;
    qv_shard_import_destroy(&im);
    qv_snapshot_close(r);
    return err;
}

static void compare(struct world *w, struct qv_shard *s, const struct qv_buf *want,
                    struct qv_buf *got)
{
    struct qv_errmsg msg = {""};
    dump(s, got);
    if (want->len != got->len || (got->len > 0 && memcmp(want->data, got->data, got->len) != 0))
        snprintf(w->wrong, sizeof w->wrong, "restored %zu bytes, expected %zu", got->len,
                 want->len);
    if (qv_slot_table_check(&s->slots, &msg) != 0)
        snprintf(w->wrong, sizeof w->wrong, "restored slots: %s", msg.text);
}

static void one_life(uint64_t seed, struct totals *t)
{
    struct world w;
    struct qv_buf want;
    struct qv_buf got;
    struct qv_errmsg msg = {""};
    qv_buf_init(&want, 0);
    qv_buf_init(&got, 0);
    world_init(&w, seed);
    assert_int_equal(qv_disk_mkdir_all(w.disk, "snap", NULL), 0);
    for (int life = 0; life < 4 && w.wrong[0] == '\0'; life++) {
        assert_int_equal(world_open(&w, &msg), 0);
        assert_int_equal(qv_disk_mkdir_all(w.disk, "snap", NULL), 0);
        for (uint64_t n = qv_rng_below(&w.rng, 80); n > 0; n--)
            some_writes(&w);
        struct qv_shard *s = qv_store_shard(w.store, 1 + (uint32_t)qv_rng_below(&w.rng, 2));
        struct qv_shard *out = NULL;
        int err = take(&w, s, &want, qv_rng_below(&w.rng, 4) == 0);
        t->abandoned += err == QV_ECANCELED;
        if (err == 0)
            err = restore(&w, RESTORED + (uint32_t)life, qv_rng_below(&w.rng, 4) == 0, &out, &msg);
        if (err != 0 && err != QV_ECANCELED)
            snprintf(w.wrong, sizeof w.wrong, "%s: %s", qv_err_name(err), msg.text);
        if (err == 0) {
            t->restored++;
            t->points += out->slots.live_count;
            compare(&w, out, &want, &got);
            world_run(&w); /* indexed, checkpointed beside the others */
            compare(&w, out, &want, &got);
        }
        world_run(&w);
        if (w.wrong[0] != '\0' || !world_verify(&w, true) || !world_check_structures(&w))
            break;
        if (s->pins != NULL || qv_rng_below(&w.rng, 2) == 0) {
            t->crashed++;
            world_crash(&w, true);
        } else {
            assert_int_equal(world_shut(&w), 0);
        }
    }
    if (w.wrong[0] != '\0')
        fail_msg("seed %llu: %s", (unsigned long long)seed, w.wrong);
    qv_buf_close(&want);
    qv_buf_close(&got);
    world_close(&w);
}

static void snapshots_hold_one_moment(void **state)
{
    uint64_t first = from_env("QV_SEED", 1);
    uint64_t runs = from_env("QV_RUNS", SANITIZED_LESS(60));
    struct totals t = {0};
    (void)state;
    for (uint64_t seed = first; seed < first + runs; seed++)
        one_life(seed, &t);
    print_message("seeds %llu..%llu: %llu restored (%llu points), %llu given up, %llu crashes\n",
                  (unsigned long long)first, (unsigned long long)(first + runs - 1),
                  (unsigned long long)t.restored, (unsigned long long)t.points,
                  (unsigned long long)t.abandoned, (unsigned long long)t.crashed);
    assert_true(t.restored > 0 || runs < 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snapshots_hold_one_moment),
    };
    return RUN_SUITE(tests);
}
