/* Collections while they are changed: named vectors added and dropped, graphs built anew, points
 * written, on a disk that loses power at any moment. A model says what every point holds; what was
 * under way when the power went may be there or not, everything else is as it was answered. */
#include "quiet.h"
#include "suite.h"

#include "base/rng.h"
#include "io/sim_disk.h"
#include "io/sim_env.h"
#include "io/sim_kv.h"
#include "node/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES 5
#define POINTS 60
#define DIM 4

static const char *const names[NAMES] = {"a", "b", "c", "d", "e"};

struct model {
    bool there[NAMES];
    uint32_t stamp[POINTS][NAMES]; /* 0: not there */
    bool point[POINTS];
};

struct world {
    uint64_t seed;
    struct qv_rng rng;
    struct qv_sim *sim;
    struct qv_disk *disk;
    struct qv_sim_node *node;
    struct qv_kv_driver *kv;
    struct qv_node *n;
    struct model now;
    uint32_t stamp;
    uint64_t crashes, rebuilds, drops, searches;
};

static void wrong(const struct world *w, const char *what)
{
    fail_msg("seed %llu: %s", (unsigned long long)w->seed, what);
}

static void open_node(struct world *w)
{
    struct qv_errmsg msg = {""};
    w->node = qv_sim_node_create(w->sim, w->disk, 0);
    struct qv_node_config config = {.env = qv_sim_node_env(w->node),
                                    .kv = w->kv,
                                    .dir = "data",
                                    .segment_bytes = 1 << 20,
                                    .checkpoint_bytes = 1 << 12,
                                    .checkpoint_ms = 300,
                                    .bulk_rows_min = w->seed % 2 == 0 ? 8 : 0};
    if (qv_node_open(&config, &w->n, &msg) != 0)
        wrong(w, msg.text);
}

static void crash(struct world *w)
{
    w->crashes++;
    qv_sim_node_crash(w->node);
    qv_node_abandon(w->n);
    qv_sim_disk_crash(w->disk);
    qv_sim_node_destroy(&w->node);
    qv_sim_kv_destroy(&w->kv);
    w->kv = qv_sim_kv_create(w->disk);
    open_node(w);
}

static struct qv_shard *shard(struct world *w)
{
    struct qv_shard *s;
    assert_int_equal(qv_node_shard(w->n, qv_str_of("c"), &s, NULL), 0);
    return s;
}

/* ---- what is there ---- */

static void check_point(struct world *w, struct qv_shard *s, uint32_t i, bool adopt)
{
    struct qv_arena arena;
    struct qv_points_out out;
    struct qv_id id = {.type = QV_ID_NUM, .lo = i};
    struct qv_get_req req = {.ids = &id, .id_count = 1, .with_vector.mode = QV_SELECT_ALL};
    uint32_t got[NAMES] = {0};
    qv_arena_init(&arena, 1 << 20);
    assert_int_equal(qv_shard_get(s, 0, &arena, &req, &out, NULL), 0);
    for (uint32_t v = 0; out.count == 1 && v < out.points[0].vec_count; v++) {
        const struct qv_named_vec *nv = &out.points[0].vecs[v];
        if (nv->vec.dim != DIM || nv->vec.values[1] != (float)i)
            wrong(w, "a vector is another's");
        got[nv->name.p[0] - 'a'] = (uint32_t)nv->vec.values[0];
    }
    if (adopt) {
        memcpy(w->now.stamp[i], got, sizeof got);
        w->now.point[i] = out.count == 1;
    }
    bool same =
        (out.count == 1) == w->now.point[i] && memcmp(got, w->now.stamp[i], sizeof got) == 0;
    qv_arena_close(&arena);
    if (!same)
        wrong(w, "a point is not as it was answered");
}

/* Every point that has the vector, and no other, whatever way it is looked for. */
static void check_search(struct world *w, struct qv_shard *s, uint32_t name)
{
    struct qv_arena arena;
    struct qv_points_out out;
    float values[DIM] = {1, (float)qv_rng_below(&w->rng, POINTS), 0, 0};
    struct qv_query q = {.kind = QV_QUERY_VECTOR,
                         .vec = {.kind = QV_VEC_DENSE, .dim = DIM, .rows = 1, .values = values},
                         .using_ = qv_str_of(names[name]),
                         .limit = POINTS + 10,
                         .exact = qv_rng_below(&w->rng, 2) == 0};
    uint32_t want = 0;
    for (uint32_t i = 0; i < POINTS; i++)
        want += w->now.stamp[i][name] != 0;
    w->searches++;
    qv_arena_init(&arena, 8 << 20);
    int err = qv_shard_query(s, 0, &arena, &q, &out, NULL);
    bool ok = w->now.there[name] ? err == 0 && out.count == want : err == QV_EINVAL;
    for (uint32_t i = 0; ok && err == 0 && i < out.count; i++)
        ok = w->now.stamp[out.points[i].id.lo][name] != 0;
    qv_arena_close(&arena);
    if (!ok)
        wrong(w, q.exact ? "an exact search" : "a search");
}

static void check_all(struct world *w)
{
    struct qv_shard *s = shard(w);
    for (uint32_t i = 0; i < POINTS; i++)
        check_point(w, s, i, false);
    for (uint32_t v = 0; v < NAMES; v++)
        check_search(w, s, v);
    qv_shard_unref(s);
}

/* ---- what is done: each gives an error when the disk died under it ---- */

static int add_or_drop(struct world *w, uint32_t name)
{
    struct qv_vector_config v = {.name = qv_str_of(names[name]),
                                 .size = DIM,
                                 .distance = QV_DISTANCE_EUCLID,
                                 .datatype = QV_DTYPE_F32};
    struct qv_vector_spec spec = {.dense = &v};
    bool drop = w->now.there[name];
    int err = drop ? qv_node_delete_vector(w->n, qv_str_of("c"), v.name, NULL)
                   : qv_node_create_vector(w->n, qv_str_of("c"), &spec, NULL);
    if (err != 0)
        return err;
    w->now.there[name] = !drop;
    w->drops += drop;
    for (uint32_t i = 0; i < POINTS; i++)
        w->now.stamp[i][name] = 0;
    return 0;
}

static int patch(struct world *w)
{
    static const uint64_t ms[] = {0, 4, 8, 16, 32};
    struct qv_config_diff diff = {.has_hnsw = true};
    diff.hnsw.m = (struct qv_opt_u64){true, ms[qv_rng_below(&w->rng, 5)]};
    diff.hnsw.ef_construct = (struct qv_opt_u64){true, 100 + qv_rng_below(&w->rng, 3)};
    w->rebuilds++;
    return qv_node_update_collection(w->n, qv_str_of("c"), &diff, NULL);
}

static void write_done(struct qv_write *write, int err)
{
    *(int *)write->arg = err;
}

static int run_write(struct world *w, const struct qv_write_op *op, struct qv_arena *arena)
{
    int err = 1;
    struct qv_shard *s = shard(w);
    struct qv_write_req req = {.ops = op, .op_count = 1};
    struct qv_write write = {
        .req = &req, .arena = arena, .shard = s, .done = write_done, .arg = &err};
    assert_int_equal(qv_write_prepare(&write), 0);
    qv_write_submit(&write);
    while (err == 1 && !qv_sim_disk_is_dead(w->disk) && qv_sim_step(w->sim))
        ;
    qv_shard_unref(s);
    return err == 1 ? QV_EIO : err;
}

static int upsert(struct world *w, uint32_t i)
{
    struct qv_arena arena;
    float values[NAMES][DIM];
    struct qv_named_vec vecs[NAMES];
    uint32_t stamps[NAMES] = {0};
    struct qv_point_in point = {.id = {.type = QV_ID_NUM, .lo = i}, .vecs = vecs};
    struct qv_write_op op = {.type = QV_WRITE_UPSERT, .points = &point, .point_count = 1};
    for (uint32_t v = 0; v < NAMES; v++) {
        if (!w->now.there[v] || qv_rng_below(&w->rng, 4) == 0)
            continue;
        stamps[v] = ++w->stamp % 100000 + 1;
        values[v][0] = (float)stamps[v];
        values[v][1] = (float)i;
        values[v][2] = (float)qv_rng_below(&w->rng, 100);
        values[v][3] = (float)v;
        vecs[point.vec_count++] = (struct qv_named_vec){
            qv_str_of(names[v]),
            {.kind = QV_VEC_DENSE, .dim = DIM, .rows = 1, .values = values[v]}};
    }
    qv_arena_init(&arena, 1 << 20);
    int err = run_write(w, &op, &arena);
    if (err == 0) {
        memcpy(w->now.stamp[i], stamps, sizeof stamps);
        w->now.point[i] = true;
    }
    qv_arena_close(&arena);
    return err;
}

static int delete_point(struct world *w, uint32_t i)
{
    struct qv_arena arena;
    struct qv_id id = {.type = QV_ID_NUM, .lo = i};
    struct qv_write_op op = {.type = QV_WRITE_DELETE, .select = {.ids = &id, .id_count = 1}};
    qv_arena_init(&arena, 1 << 20);
    int err = run_write(w, &op, &arena);
    if (err == 0) {
        memset(w->now.stamp[i], 0, sizeof w->now.stamp[i]);
        w->now.point[i] = false;
    }
    qv_arena_close(&arena);
    return err;
}

/* ---- lives ---- */

/* The names that the configuration has after an operation that was cut. */
static void adopt_name(struct world *w, uint32_t name)
{
    const struct qv_topology *t = qv_node_topology(w->n);
    const struct qv_collection *c = qv_topology_find(t, qv_str_of("c"));
    bool there = qv_config_vector(c->config, qv_str_of(names[name])) != NULL;
    if (there != w->now.there[name]) {
        w->now.there[name] = there;
        for (uint32_t i = 0; i < POINTS; i++)
            w->now.stamp[i][name] = 0;
    }
    qv_topology_unref(t);
}

static void one_step(struct world *w)
{
    uint32_t name = (uint32_t)qv_rng_below(&w->rng, NAMES);
    uint32_t point = (uint32_t)qv_rng_below(&w->rng, POINTS);
    uint64_t what = qv_rng_below(&w->rng, 40);
    if (qv_rng_below(&w->rng, 40) == 0)
        qv_sim_disk_die_after(w->disk, 1 + qv_rng_below(&w->rng, 60));
    int err = what < 4    ? add_or_drop(w, name)
              : what < 6  ? patch(w)
              : what < 10 ? delete_point(w, point)
                          : upsert(w, point);
    if (err == 0 && !qv_sim_disk_is_dead(w->disk)) {
        qv_sim_run(w->sim, qv_rng_below(&w->rng, 30));
        if (qv_rng_below(&w->rng, 20) == 0)
            qv_sim_run_for(w->sim, qv_rng_below(&w->rng, 800) * QV_NS_PER_MS);
    }
    if (err != 0 && !qv_sim_disk_is_dead(w->disk))
        wrong(w, "an operation failed on a disk that is well");
    bool dead = qv_sim_disk_is_dead(w->disk);
    if (dead || qv_rng_below(&w->rng, 60) == 0) {
        crash(w);
        struct qv_shard *s = shard(w);
        if (err != 0 && what < 4)
            adopt_name(w, name);
        else if (err != 0 && what >= 6)
            check_point(w, s, point, true);
        qv_shard_unref(s);
        check_all(w);
    } else if (qv_rng_below(&w->rng, 4) == 0) {
        check_all(w);
    }
}

static void closed(void *arg, int err)
{
    assert_int_equal(err, 0);
    *(bool *)arg = true;
}

static void one_life(struct world *w)
{
    struct qv_vector_config vector = {
        .name = qv_str_of("a"), .size = DIM, .distance = QV_DISTANCE_EUCLID};
    struct qv_collection_config config = {.vector_count = 1,
                                          .vectors = &vector,
                                          .shard_number = 1,
                                          .replication_factor = 1,
                                          .write_consistency_factor = 1,
                                          .next_number = 1};
    qv_rng_init(&w->rng, w->seed);
    w->sim = qv_sim_create(&(struct qv_sim_config){.seed = w->seed});
    w->disk = qv_sim_disk_create(w->seed, 0);
    w->kv = qv_sim_kv_create(w->disk);
    open_node(w);
    assert_int_equal(qv_node_create_collection(w->n, qv_str_of("c"), &config, NULL), 0);
    w->now.there[0] = true;
    for (int step = 0; step < 400; step++)
        one_step(w);
    qv_sim_disk_die_after(w->disk, 0);
    qv_sim_run_for(w->sim, 3 * QV_NS_PER_S); /* everything comes to rest */
    check_all(w);
    for (size_t i = 0; qv_sim_disk_find(w->disk, "rows-", i) != NULL; i++) {
        const char *path = qv_sim_disk_find(w->disk, "rows-", i);
        unsigned number = (unsigned)strtoul(strrchr(path, '-') + 1, NULL, 10);
        const struct qv_topology *t = qv_node_topology(w->n);
        const struct qv_collection_config *now = t->collections[0]->config;
        if (qv_config_vector_name(now, number).p == NULL)
            wrong(w, "rows of a dropped vector stayed");
        qv_topology_unref(t);
    }
    bool done = false;
    qv_node_close(w->n, closed, &done);
    while (!done && qv_sim_step(w->sim))
        ;
    assert_true(done);
    qv_sim_node_destroy(&w->node);
    qv_sim_kv_destroy(&w->kv);
    qv_sim_disk_destroy(&w->disk);
    qv_sim_destroy(&w->sim);
}

static void changes_survive_power_failures(void **state)
{
    const char *env = getenv("QV_SEED");
    uint64_t first = env != NULL ? strtoull(env, NULL, 10) : 1;
    env = getenv("QV_RUNS");
    uint64_t runs = env != NULL ? strtoull(env, NULL, 10) : SANITIZED_LESS(24);
    struct world sum = {0};
    (void)state;
    for (uint64_t seed = first; seed < first + runs; seed++) {
        struct world w = {.seed = seed};
        one_life(&w);
        sum.crashes += w.crashes;
        sum.rebuilds += w.rebuilds;
        sum.drops += w.drops;
        sum.searches += w.searches;
    }
    print_message("seeds %llu..%llu: %llu power failures, %llu vectors dropped, %llu graphs built "
                  "anew, %llu searches\n",
                  (unsigned long long)first, (unsigned long long)(first + runs - 1),
                  (unsigned long long)sum.crashes, (unsigned long long)sum.drops,
                  (unsigned long long)sum.rebuilds, (unsigned long long)sum.searches);
    assert_true(sum.drops > 0 && sum.rebuilds > 0);
}

int main(void)
{
    quiet_log();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_survive_power_failures),
    };
    return RUN_SUITE(tests);
}
