/* The fast reader of points against the general one, and what both cost. */
#include "suite.h"

#include "pb_gen.h"
#include "wire/pb_guard.h"
#include "wire/pb_method.h"
#include "wire/pb_out.h"
#include "wire/pb_point.h"
#include "wire/pb_request.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 20000

static uint64_t seed_of(const char *test)
{
    const char *env = getenv("SEED");
    uint64_t seed = env != NULL ? strtoull(env, NULL, 0) : 20240602u;
    printf("%s: SEED=%llu\n", test, (unsigned long long)seed);
    return seed;
}

struct world {
    struct qv_arena arena;
    struct qv_pb_ctx ctx;
    struct qv_errmsg msg;
};

static void world_init(struct world *w)
{
    memset(w, 0, sizeof *w);
    qv_arena_init(&w->arena, (size_t)64 << 20);
    w->ctx.arena = &w->arena;
    w->ctx.msg = &w->msg;
    qv_buf_init(&w->ctx.scratch, 1u << 24);
}

static void world_close(struct world *w)
{
    qv_buf_close(&w->ctx.scratch);
    qv_arena_close(&w->arena);
}

static int general(struct world *w, struct qv_bytes in, struct qv_point_in *out)
{
    ProtobufCMessage *m;
    memset(out, 0, sizeof *out);
    int err = qv_pb_unpack(&qv_pb__point_struct__descriptor, in, &w->arena, &m, &w->msg);
    return err != 0 ? err : qv_pb_point(&w->ctx, (const QvPb__PointStruct *)m, out);
}

static void check_same(const struct qv_point_in *a, const struct qv_point_in *b)
{
    assert_true(qv_id_equal(&a->id, &b->id));
    assert_int_equal(a->vec_count, b->vec_count);
    for (uint32_t i = 0; i < a->vec_count; i++) {
        const struct qv_vec *x = &a->vecs[i].vec, *y = &b->vecs[i].vec;
        assert_true(qv_str_equal(a->vecs[i].name, b->vecs[i].name));
        assert_int_equal(x->kind, y->kind);
        assert_int_equal(x->dim, y->dim);
        assert_int_equal(x->rows, y->rows);
        assert_memory_equal(x->values, y->values, (size_t)x->dim * x->rows * sizeof(float));
    }
    assert_int_equal(a->payload.p == NULL, b->payload.p == NULL);
    assert_int_equal(a->payload.n, b->payload.n);
    if (a->payload.p != NULL)
        assert_memory_equal(a->payload.p, b->payload.p, a->payload.n);
}

/* What clients write: an id, one dense vector or two named ones, some payload. */
static void usual_point(struct qv_rng *rng, unsigned dim, unsigned payload, struct qv_buf *b)
{
    size_t id = qv_pb_begin(b, 1);
    if (qv_rng_below(rng, 2) == 0)
        qv_pb_put_u64(b, 1, qv_rng_u64(rng) >> qv_rng_below(rng, 64));
    else
        qv_pb_put_str(b, 2, qv_str_of("0b1d8a7e-4f53-4c2e-9d5c-7f4f2a1b3c4d"));
    qv_pb_end(b, id);
    struct pb_gen g = {.rng = rng, .depth_max = 6, .repeat_max = 4, .presence = 50};
    for (unsigned i = 0; i < payload; i++) {
        char key[16];
        size_t entry = qv_pb_begin(b, 3);
        snprintf(key, sizeof key, "key%u", (unsigned)qv_rng_below(rng, 20));
        qv_pb_put_str(b, 1, qv_str_of(key));
        size_t value = qv_pb_begin(b, 2);
        pb_gen_message(&g, &qv_pb__value__descriptor, b);
        qv_pb_end(b, value);
        qv_pb_end(b, entry);
    }
    bool named = qv_rng_below(rng, 2) == 0;
    size_t vectors = qv_pb_begin(b, 4);
    size_t group = named ? qv_pb_begin(b, 2) : 0;
    for (unsigned k = 0; k < (named ? 2u : 1u); k++) {
        size_t entry = named ? qv_pb_begin(b, 1) : 0;
        if (named)
            qv_pb_put_str(b, 1, qv_str_of(k == 0 ? "image" : "text"));
        size_t vector = qv_pb_begin(b, named ? 2 : 1);
        bool old = qv_rng_below(rng, 2) == 0;
        size_t dense = old ? 0 : qv_pb_begin(b, 101);
        size_t data = qv_pb_begin(b, 1);
        for (unsigned i = 0; i < dim; i++) {
            float v = qv_rng_gauss(rng);
            qv_buf_append(b, &v, sizeof v);
        }
        qv_pb_end(b, data);
        if (!old)
            qv_pb_end(b, dense);
        qv_pb_end(b, vector);
        if (named)
            qv_pb_end(b, entry);
    }
    if (named)
        qv_pb_end(b, group);
    qv_pb_end(b, vectors);
}

/* Whatever the fast way accepts, the general way accepts with the same result. */
static bool compare_ways(struct world *w, const struct qv_buf *b)
{
    struct qv_point_in fast, slow;
    struct qv_bytes in = {b->data, b->len};
    size_t before = w->ctx.scratch.len;
    int err = qv_pb_point_scan(&w->ctx, in, &fast);
    assert_int_equal(w->ctx.scratch.len, before);
    assert_true(err == 0 || err == 1);
    int err_slow = general(w, in, &slow);
    if (err == 0) {
        if (err_slow != 0)
            print_error("%s\n", w->msg.text);
        assert_int_equal(err_slow, 0);
        check_same(&fast, &slow);
    }
    qv_arena_reset(&w->arena);
    w->ctx.scratch.len = 0;
    return err == 0;
}

static void usual_points_take_the_fast_way(void **state)
{
    struct world w;
    struct qv_rng rng;
    struct qv_buf b;
    (void)state;
    qv_rng_init(&rng, seed_of(__func__));
    qv_buf_init(&b, 0);
    world_init(&w);
    unsigned fast = 0;
    for (int i = 0; i < ROUNDS / 4; i++) {
        qv_buf_clear(&b);
        usual_point(&rng, 1 + (unsigned)qv_rng_below(&rng, 20), (unsigned)qv_rng_below(&rng, 6),
                    &b);
        fast += compare_ways(&w, &b);
    }
    printf("fast: %u of %d\n", fast, ROUNDS / 4);
    /* The generator repeats keys, which is not plain; four in five are. */
    assert_true(fast > ROUNDS / 4 * 7 / 10);
    world_close(&w);
    qv_buf_close(&b);
}

static void odd_points_agree(void **state)
{
    struct world w;
    struct qv_rng rng;
    struct qv_buf b;
    unsigned fast = 0;
    (void)state;
    qv_rng_init(&rng, seed_of(__func__));
    qv_buf_init(&b, 0);
    world_init(&w);
    for (int i = 0; i < ROUNDS; i++) {
        struct pb_gen g = {.rng = &rng,
                           .depth_max = 7,
                           .repeat_max = 4,
                           .presence = 60,
                           .unpacked = 20,
                           .unknown = 10,
                           .second_variant = 10};
        qv_buf_clear(&b);
        if (i % 2 == 0)
            pb_gen_message(&g, &qv_pb__point_struct__descriptor, &b);
        else
            usual_point(&rng, 4, 3, &b);
        if (i % 3 != 0)
            pb_gen_mutate(&rng, &b);
        fast += compare_ways(&w, &b);
    }
    printf("fast: %u of %d\n", fast, ROUNDS);
    assert_true(fast > ROUNDS / 100);
    world_close(&w);
    qv_buf_close(&b);
}

/* ---- whole upserts ---- */

static void put_upsert(struct qv_rng *rng, unsigned n, unsigned dim, unsigned payload, bool plain,
                       struct qv_buf *b)
{
    qv_pb_put_str(b, 1, qv_str_of("things"));
    qv_pb_put_bool(b, 2, true);
    for (unsigned i = 0; i < n; i++) {
        size_t point = qv_pb_begin(b, 3);
        if (!plain) {
            usual_point(rng, dim, payload, b);
        } else {
            size_t id = qv_pb_begin(b, 1);
            qv_pb_put_u64(b, 1, i);
            qv_pb_end(b, id);
            size_t vectors = qv_pb_begin(b, 4);
            size_t vector = qv_pb_begin(b, 1);
            size_t data = qv_pb_begin(b, 1);
            for (unsigned k = 0; k < dim; k++) {
                float v = qv_rng_gauss(rng);
                qv_buf_append(b, &v, sizeof v);
            }
            qv_pb_end(b, data);
            qv_pb_end(b, vector);
            qv_pb_end(b, vectors);
        }
        qv_pb_end(b, point);
    }
}

static void upserts_agree(void **state)
{
    struct world w, v;
    struct qv_rng rng;
    struct qv_buf b;
    (void)state;
    qv_rng_init(&rng, seed_of(__func__));
    qv_buf_init(&b, 0);
    world_init(&w);
    world_init(&v);
    for (int round = 0; round < 200; round++) {
        qv_buf_clear(&b);
        put_upsert(&rng, (unsigned)qv_rng_below(&rng, 20), 8, 3, false, &b);
        struct qv_pb_request req;
        struct qv_bytes in = {b.data, b.len};
        assert_int_equal(qv_pb_request_decode(QV_PB_UPSERT, in, &w.arena, &req, &w.msg), 0);
        assert_true(qv_str_equal(req.collection, qv_str_of("things")));
        assert_true(req.u.write.wait);
        assert_int_equal(req.u.write.op_count, 1);
        ProtobufCMessage *m;
        assert_int_equal(qv_pb_unpack(&qv_pb__upsert_points__descriptor, in, &v.arena, &m, &v.msg),
                         0);
        const QvPb__UpsertPoints *u = (const QvPb__UpsertPoints *)m;
        assert_int_equal(u->n_points, req.u.write.ops[0].point_count);
        for (size_t i = 0; i < u->n_points; i++) {
            struct qv_point_in slow = {0};
            assert_int_equal(qv_pb_point(&v.ctx, u->points[i], &slow), 0);
            check_same(&req.u.write.ops[0].points[i], &slow);
        }
        qv_arena_reset(&w.arena);
        qv_arena_reset(&v.arena);
    }
    world_close(&w);
    world_close(&v);
    qv_buf_close(&b);
}

/* ---- rules that random points seldom meet ---- */

static void put_dense(struct qv_buf *b, const char *name, float value)
{
    size_t entry = qv_pb_begin(b, 1);
    qv_pb_put_str(b, 1, qv_str_of(name));
    size_t vector = qv_pb_begin(b, 2);
    qv_pb_put_bytes(b, 1, &value, sizeof value);
    qv_pb_end(b, vector);
    qv_pb_end(b, entry);
}

/* One point, id 1, with named vectors a = first, b = second when it has a name, payload x = x. */
static int decode_one(struct world *w, float first, const char *name, float second, double x,
                      struct qv_pb_request *req)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    qv_pb_put_str(&b, 1, qv_str_of("things"));
    size_t point = qv_pb_begin(&b, 3);
    qv_pb_put_bytes(&b, 1, "\x08\x01", 2);
    size_t entry = qv_pb_begin(&b, 3);
    qv_pb_put_str(&b, 1, qv_str_of("x"));
    size_t value = qv_pb_begin(&b, 2);
    qv_pb_put_f64(&b, 2, x);
    qv_pb_end(&b, value);
    qv_pb_end(&b, entry);
    size_t vectors = qv_pb_begin(&b, 4);
    size_t map = qv_pb_begin(&b, 2);
    put_dense(&b, "a", first);
    put_dense(&b, name, second);
    qv_pb_end(&b, map);
    qv_pb_end(&b, vectors);
    qv_pb_end(&b, point);
    void *body = qv_arena_dup(&w->arena, b.data, b.len);
    int err =
        qv_pb_request_decode(QV_PB_UPSERT, (struct qv_bytes){body, b.len}, &w->arena, req, &w->msg);
    qv_buf_close(&b);
    return err;
}

static void the_last_of_equal_names_counts(void **state)
{
    struct world w;
    struct qv_pb_request req;
    (void)state;
    world_init(&w);
    assert_int_equal(decode_one(&w, 1, "b", 2, 0.5, &req), 0);
    assert_int_equal(req.u.write.ops->points->vec_count, 2);
    assert_int_equal(decode_one(&w, 1, "a", 2, 0.5, &req), 0);
    assert_int_equal(req.u.write.ops->points->vec_count, 1);
    assert_true(req.u.write.ops->points->vecs[0].vec.values[0] == 2);
    world_close(&w);
}

static void numbers_must_be_finite(void **state)
{
    struct world w;
    struct qv_pb_request req;
    (void)state;
    world_init(&w);
    assert_int_equal(decode_one(&w, NAN, "b", 2, 0.5, &req), QV_EINVAL);
    assert_int_equal(decode_one(&w, 1, "b", -INFINITY, 0.5, &req), QV_EINVAL);
    assert_int_equal(decode_one(&w, 1, "b", 2, (double)NAN, &req), QV_EINVAL);
    assert_int_equal(decode_one(&w, 1, "b", 2, (double)INFINITY, &req), QV_EINVAL);
    assert_non_null(strstr(w.msg.text, "finite"));
    world_close(&w);
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Prints, asserts nothing about time: the machine is shared. */
static void costs_are_printed(void **state)
{
    enum { N = 1000, PASSES = 9 };
    struct world w;
    struct qv_rng rng;
    struct qv_buf b;
    double best_fast = 1e18, best_slow = 1e18;
    (void)state;
    qv_rng_init(&rng, 7);
    qv_buf_init(&b, 0);
    put_upsert(&rng, N, 128, 0, true, &b);
    struct qv_bytes in = {b.data, b.len};
    world_init(&w);
    for (int pass = 0; pass < PASSES; pass++) {
        struct qv_pb_request req;
        double t0 = now_ns();
        assert_int_equal(qv_pb_request_decode(QV_PB_UPSERT, in, &w.arena, &req, &w.msg), 0);
        double t1 = now_ns();
        qv_arena_reset(&w.arena);
        ProtobufCMessage *m;
        double t2 = now_ns();
        assert_int_equal(qv_pb_unpack(&qv_pb__upsert_points__descriptor, in, &w.arena, &m, &w.msg),
                         0);
        const struct qv_point_in *points;
        uint32_t count;
        const QvPb__UpsertPoints *u = (const QvPb__UpsertPoints *)m;
        assert_int_equal(qv_pb_points(&w.ctx, u->points, u->n_points, &points, &count), 0);
        double t3 = now_ns();
        qv_arena_reset(&w.arena);
        best_fast = t1 - t0 < best_fast ? t1 - t0 : best_fast;
        best_slow = t3 - t2 < best_slow ? t3 - t2 : best_slow;
    }
    printf("upsert of %d x 128: %.0f ns a point, in the general way %.0f\n", N, best_fast / N,
           best_slow / N);
    world_close(&w);
    qv_buf_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usual_points_take_the_fast_way),
        cmocka_unit_test(odd_points_agree),
        cmocka_unit_test(upserts_agree),
        cmocka_unit_test(the_last_of_equal_names_counts),
        cmocka_unit_test(numbers_must_be_finite),
        cmocka_unit_test(costs_are_printed),
    };
    return RUN_SUITE(tests);
}
