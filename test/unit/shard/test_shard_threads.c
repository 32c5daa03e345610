/* A store over real threads and files: searches, scrolls and counts on workers while points move,
 * come and go, and checkpoints follow each other. Points of the "steady" set are rewritten all the
 * time and never deleted: every answer must hold all of them, each once. Meant for TSan, too. */
#include "suite.h"

#include "base/rng.h"
#include "io/disk_posix.h"
#include "io/uv_env.h"
#include "shard/store.h"
#include "storage/kv_rocks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DIM 8
#define STEADY 60
#define CHURN 400
#define READERS 3
#define SECONDS 2.0

struct stress {
    struct qv_disk *disk;
    struct qv_kv_driver *kv;
    struct qv_uv_env *env;
    struct qv_store *store;
    struct qv_store_config config;
    struct qv_vector_config vector;
    struct qv_collection_config collection, collections[30];
    unsigned changes; /* of the configuration */
    struct qv_shard_spec spec;
    struct qv_shard *shard;
    struct qv_errmsg msg;
    int err;
    bool create;
    atomic_bool stop;
    atomic_uint reads, writes;
    const char *volatile wrong; /* first thing found; set under lock */
    unsigned missing;
    pthread_mutex_t lock;
    pthread_cond_t cond;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void complain(struct stress *x, const char *what, unsigned n)
{
    pthread_mutex_lock(&x->lock);
    if (x->wrong == NULL) {
        x->wrong = what;
        x->missing = n;
    }
    pthread_mutex_unlock(&x->lock);
}

/* ---- one request, waited for ---- */

struct call {
    struct qv_write w; /* first */
    struct stress *x;
    bool done;
    int err;
};

static void write_done(struct qv_write *w, int err)
{
    struct call *c = (struct call *)w;
    pthread_mutex_lock(&c->x->lock);
    c->done = true;
    c->err = err;
    pthread_cond_broadcast(&c->x->cond);
    pthread_mutex_unlock(&c->x->lock);
}

static int write_now(struct stress *x, struct qv_arena *arena, const struct qv_write_op *op,
                     bool wait)
{
    struct qv_write_req req = {.ops = op, .op_count = 1, .wait = wait};
    struct call c = {.x = x};
    c.w.req = &req;
    c.w.arena = arena;
    c.w.shard = x->shard;
    c.w.done = write_done;
    int err = qv_write_prepare(&c.w);
    if (err != 0)
        return err;
    qv_write_submit(&c.w);
    pthread_mutex_lock(&x->lock);
    while (!c.done)
        pthread_cond_wait(&x->cond, &x->lock);
    pthread_mutex_unlock(&x->lock);
    return c.err;
}

/* ---- writers ---- */

static struct qv_doc payload_of(struct qv_arena *arena, int k, int n)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    size_t mark = qv_doc_begin_object(&b);
    qv_doc_put_key(&b, "k", 1);
    qv_doc_put_int(&b, k);
    qv_doc_put_key(&b, "n", 1);
    qv_doc_put_int(&b, n);
    qv_doc_end_object(&b, mark, 2);
    struct qv_doc doc = {qv_arena_dup(arena, b.data, b.len), b.len};
    qv_buf_close(&b);
    return doc;
}

/* Points that are treated alike. */
struct herd {
    uint64_t first, span; /* ids */
    int k;                /* in their payload */
};
static const struct herd steady = {.first = 0, .span = STEADY, .k = 1};
static const struct herd churning = {.first = 1000, .span = CHURN, .k = 2};

/* n points of the herd: all of it, or any. */
static int upsert(struct stress *x, struct qv_rng *rng, struct qv_arena *arena,
                  const struct herd *herd, uint32_t n)
{
    struct qv_point_in *points = QV_ARENA_ARRAY(arena, struct qv_point_in, n);
    for (uint32_t i = 0; i < n; i++) {
        float *values = QV_ARENA_ARRAY(arena, float, DIM);
        struct qv_named_vec *vec = QV_ARENA_NEW(arena, struct qv_named_vec);
        for (int d = 0; d < DIM; d++)
            values[d] = qv_rng_gauss(rng);
        vec->vec = (struct qv_vec){.dim = DIM, .rows = 1, .values = values};
        points[i].id =
            qv_id_num(herd->first + (n == herd->span ? i : qv_rng_below(rng, herd->span)));
        points[i].vecs = vec;
        points[i].vec_count = 1;
        points[i].payload = payload_of(arena, herd->k, (int)qv_rng_below(rng, 1000));
    }
    struct qv_write_op op = {.type = QV_WRITE_UPSERT, .points = points, .point_count = n};
    const bool all = n == herd->span;
    return write_now(x, arena, &op, all || qv_rng_below(rng, 4) == 0);
}

static int change_payload(struct stress *x, struct qv_rng *rng, struct qv_arena *arena)
{
    struct qv_id id = qv_id_num(qv_rng_below(rng, STEADY));
    struct qv_write_op op = {.type = QV_WRITE_OVERWRITE_PAYLOAD,
                             .select = {.ids = &id, .id_count = 1},
                             .payload = payload_of(arena, 1, (int)qv_rng_below(rng, 1000))};
    return write_now(x, arena, &op, false);
}

static int delete_some(struct stress *x, struct qv_rng *rng, struct qv_arena *arena)
{
    struct qv_id ids[8];
    for (int i = 0; i < 8; i++)
        ids[i] = qv_id_num(1000 + qv_rng_below(rng, CHURN));
    struct qv_write_op op = {.type = QV_WRITE_DELETE, .select = {.ids = ids, .id_count = 8}};
    return write_now(x, arena, &op, false);
}

/* Other graphs, which are built anew from all rows at once while everything goes on. */
static void change_graphs(void *arg)
{
    struct stress *x = arg;
    static const uint64_t ms[] = {16, 8, 24};
    const unsigned n = x->changes++;
    x->collections[n] = x->collection;
    x->collections[n].hnsw.m = (struct qv_opt_u64){true, ms[n % 3]};
    qv_store_set_config(x->store, 1, &x->collections[n], x->changes + 1);
}

static void *writer_main(void *arg)
{
    struct stress *x = arg;
    struct qv_rng rng;
    qv_rng_init(&rng, 17);
    for (double end = now_s() + SECONDS; now_s() < end && x->wrong == NULL;) {
        struct qv_arena arena;
        int err;
        qv_arena_init(&arena, (size_t)4 << 20);
        switch (qv_rng_below(&rng, 6)) {
        case 0:
            err = change_payload(x, &rng, &arena);
            break;
        case 1:
            err = delete_some(x, &rng, &arena);
            break;
        case 2:
        case 3:
            err = upsert(x, &rng, &arena, &churning, 12);
            break;
        default:
            err = upsert(x, &rng, &arena, &steady, 10);
            break;
        }
        qv_arena_close(&arena);
        if (atomic_fetch_add(&x->writes, 1) % 4 == 3 && x->changes < 30)
            qv_uv_env_call(x->env, change_graphs, x);
        if (err != 0)
            complain(x, "a write failed", (unsigned)-err);
    }
    atomic_store(&x->stop, true);
    return NULL;
}

/* ---- readers: jobs on the workers ---- */

struct reader {
    struct qv_job job;
    struct stress *x;
    struct qv_rng rng;
    bool done;
};

static const struct qv_payload_index steady_index = {
    .field = {"k", 1}, .number = 1, .type = {"integer", 7}};

static const struct qv_filter *steady_filter(struct qv_arena *arena)
{
    struct qv_filter *f = QV_ARENA_NEW(arena, struct qv_filter);
    struct qv_cond *c = QV_ARENA_NEW(arena, struct qv_cond);
    c->type = QV_COND_MATCH;
    c->key = qv_str_of("k");
    int err = qv_path_parse(arena, c->key, &c->path, NULL);
    c->u.match.type = QV_MATCH_INT;
    c->u.match.i = 1;
    f->must = c;
    f->must_count = 1;
    if (err == 0)
        err = qv_filter_seal(f, arena, NULL);
    assert_int_equal(err, 0);
    return f;
}

/* Each of the steady ids, once. */
static void whole(struct stress *x, const struct qv_points_out *out, const char *what)
{
    bool seen[STEADY] = {false};
    unsigned n = 0;
    for (uint32_t i = 0; i < out->count; i++) {
        uint64_t id = out->points[i].id.lo;
        if (id >= STEADY)
            continue;
        if (seen[id])
            complain(x, "an id twice", (unsigned)id);
        seen[id] = true;
        n++;
    }
    if (n != STEADY)
        complain(x, what, STEADY - n);
}

static void read_once(struct reader *r, unsigned worker, struct qv_arena *arena)
{
    struct stress *x = r->x;
    struct qv_points_out out = {0};
    struct qv_errmsg msg = {""};
    float q[DIM];
    for (int d = 0; d < DIM; d++)
        q[d] = qv_rng_gauss(&r->rng);
    struct qv_query query = {.kind = QV_QUERY_VECTOR,
                             .vec = {.dim = DIM, .rows = 1, .values = q},
                             .limit = 10,
                             .hnsw_ef = {true, 64}};
    uint64_t what = qv_rng_below(&r->rng, 6);
    uint64_t count = STEADY;
    int err = 0;
    if (what == 0) {
        const struct qv_count_req req = {.filter = steady_filter(arena)};
        err = qv_shard_count(x->shard, worker, arena, &req, &count, &msg);
        if (err == 0 && count != STEADY)
            complain(x, "a count misses a point that is there, or has it twice", (unsigned)count);
    } else if (what == 1) {
        struct qv_scroll_req req = {.filter = steady_filter(arena),
                                    .limit = STEADY + CHURN,
                                    .with_payload = {.mode = QV_SELECT_ALL},
                                    .with_vector = {.mode = QV_SELECT_ALL}};
        struct qv_scroll_out scroll;
        err = qv_shard_scroll(x->shard, worker, arena, &req, &scroll, &msg);
        if (err == 0)
            whole(x, &scroll.points, "a scroll misses a point that is there");
    } else if (what == 2) {
        query.filter = steady_filter(arena);
        query.limit = STEADY + 10;
        err = qv_shard_query(x->shard, worker, arena, &query, &out, &msg);
        if (err == 0)
            whole(x, &out, "a filtered search misses a point that is there");
    } else {
        query.limit = what == 4 ? STEADY + CHURN : 10;
        query.exact = what == 4;
        query.with_payload.mode = QV_SELECT_ALL;
        struct qv_points_out outs[3];
        const struct qv_query queries[3] = {query, query, query};
        const struct qv_batch batch = {.arena = arena, .queries = queries, .count = 3};
        if (what == 3)
            err = qv_shard_query_batch(x->shard, worker, &batch, outs, &msg);
        else
            err = qv_shard_query(x->shard, worker, arena, &query, &outs[1], &msg);
        out = outs[1];
        if (err == 0 && what == 4)
            whole(x, &out, "an exact search misses a point that is there");
        if (err == 0 && what != 4 && out.count < 10)
            complain(x, "too few hits", out.count);
    }
    if (err != 0)
        complain(x, "a read failed", (unsigned)-err);
}

static void reader_run(struct qv_job *job, unsigned worker)
{
    struct reader *r = job->arg;
    struct qv_arena arena;
    qv_arena_init(&arena, (size_t)16 << 20);
    read_once(r, worker, &arena);
    qv_arena_close(&arena);
    atomic_fetch_add(&r->x->reads, 1);
}

static void reader_done(struct qv_job *job)
{
    struct reader *r = job->arg;
    if (!atomic_load(&r->x->stop) &&
        qv_env_submit(qv_uv_env_env(r->x->env), QV_JOB_INTERACTIVE, job) == 0)
        return;
    pthread_mutex_lock(&r->x->lock);
    r->done = true;
    pthread_cond_broadcast(&r->x->cond);
    pthread_mutex_unlock(&r->x->lock);
}

/* ---- the store ---- */

static void open_store(void *arg)
{
    struct stress *x = arg;
    x->err = qv_store_open(&x->config, &x->spec, x->create ? 0 : 1, &x->store, &x->msg);
    if (x->err == 0 && x->create)
        x->err = qv_store_add_shard(x->store, &x->spec, &x->shard, &x->msg);
    else if (x->err == 0)
        x->shard = qv_store_shard(x->store, 1);
}

static void store_closed(void *arg, int err)
{
    struct stress *x = arg;
    pthread_mutex_lock(&x->lock);
    x->err = err;
    x->store = NULL;
    pthread_cond_broadcast(&x->cond);
    pthread_mutex_unlock(&x->lock);
}

static void close_store(void *arg)
{
    struct stress *x = arg;
    qv_store_close(x->store, store_closed, x);
}

static void shut(struct stress *x)
{
    qv_uv_env_call(x->env, close_store, x);
    pthread_mutex_lock(&x->lock);
    while (x->store != NULL)
        pthread_cond_wait(&x->cond, &x->lock);
    pthread_mutex_unlock(&x->lock);
    assert_int_equal(x->err, 0);
}

static void setup(struct stress *x, const char *dir)
{
    memset(x, 0, sizeof *x);
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->cond, NULL);
    x->disk = qv_disk_posix_create();
    x->kv = qv_kv_rocks_create(NULL);
    struct qv_uv_env_config config = {
        .disk = x->disk, .compute_threads = 3, .io_threads = 2, .seed = 5, .pin_cpu = -1};
    assert_int_equal(qv_uv_env_create(&config, &x->env, &x->msg), 0);
    x->vector = (struct qv_vector_config){
        .size = DIM, .distance = QV_DISTANCE_EUCLID, .datatype = QV_DTYPE_F32};
    x->collection = (struct qv_collection_config){.vector_count = 1,
                                                  .vectors = &x->vector,
                                                  .vectors_unnamed = true,
                                                  .shard_number = 1,
                                                  .payload_index_count = 1,
                                                  .payload_indexes = &steady_index,
                                                  .next_number = 2};
    x->spec = (struct qv_shard_spec){.number = 1, .generation = 1, .config = &x->collection};
    x->config = (struct qv_store_config){.env = qv_uv_env_env(x->env),
                                         .kv = x->kv,
                                         .dir = dir,
                                         .writer = 3,
                                         .segment_bytes = 1 << 20,
                                         .checkpoint_bytes = 40000,
                                         .checkpoint_ms = 50,
                                         .bulk_rows_min = 50,
                                         .slots_max = 1 << 16};
    x->create = true;
    qv_uv_env_call(x->env, open_store, x);
    assert_int_equal(x->err, 0);
}

static void remove_dir(const char *dir)
{
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

static void test_reads_hold_while_points_move(void **state)
{
    (void)state;
    static struct stress x;
    struct qv_arena arena;
    struct qv_rng rng;
    pthread_t writer;
    static struct reader readers[READERS];
    char dir[] = "/tmp/qv-shard-XXXXXX";
    assert_non_null(mkdtemp(dir));
    setup(&x, dir);
    qv_rng_init(&rng, 1);
    qv_arena_init(&arena, (size_t)4 << 20);
    assert_int_equal(upsert(&x, &rng, &arena, &steady, STEADY), 0);
    qv_arena_close(&arena);
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.x = &x};
        readers[i].job =
            (struct qv_job){.run = reader_run, .done = reader_done, .arg = &readers[i]};
        qv_rng_init(&readers[i].rng, i + 100);
        assert_int_equal(qv_env_submit(qv_uv_env_env(x.env), QV_JOB_INTERACTIVE, &readers[i].job),
                         0);
    }
    assert_int_equal(pthread_create(&writer, NULL, writer_main, &x), 0);
    pthread_join(writer, NULL);
    pthread_mutex_lock(&x.lock);
    for (unsigned i = 0; i < READERS; i++) {
        while (!readers[i].done)
            pthread_cond_wait(&x.cond, &x.lock);
    }
    pthread_mutex_unlock(&x.lock);
    struct qv_shard_info info;
    qv_shard_info(x.shard, &info);
    printf("%u reads, %u writes, %llu checkpoints\n", atomic_load(&x.reads), atomic_load(&x.writes),
           (unsigned long long)info.checkpoints);
    if (x.wrong != NULL)
        printf("%s (%u)\n", x.wrong, x.missing);
    assert_null(x.wrong);
    assert_true(info.checkpoints > 3);
    shut(&x);
    x.create = false;
    if (x.changes > 0)
        x.spec.config = &x.collections[x.changes - 1];
    qv_uv_env_call(x.env, open_store, &x);
    assert_int_equal(x.err, 0);
    struct qv_shard_info again;
    qv_shard_info(x.shard, &again);
    assert_int_equal(again.points, info.points);
    shut(&x);
    qv_uv_env_destroy(&x.env);
    qv_kv_rocks_destroy(&x.kv);
    qv_disk_posix_destroy(&x.disk);
    remove_dir(dir);
}

/* ---- batches ---- */

#define BATCHES 150
#define BATCH_MAX 130

struct batched {
    struct qv_job job;
    struct stress *x;
    struct qv_rng rng;
    uint32_t failed; /* batches that had to */
    bool done;
};

static void random_query(struct batched *b, struct qv_arena *arena, struct qv_query *q)
{
    struct qv_rng *rng = &b->rng;
    float *values = QV_ARENA_ARRAY(arena, float, DIM);
    for (int d = 0; d < DIM; d++)
        values[d] = qv_rng_gauss(rng);
    *q = (struct qv_query){.kind = QV_QUERY_VECTOR,
                           .vec = {.dim = DIM, .rows = 1, .values = values},
                           .limit = qv_rng_below(rng, 30),
                           .offset = qv_rng_below(rng, 3),
                           .hnsw_ef = {qv_rng_below(rng, 2) == 0, qv_rng_below(rng, 200)},
                           .exact = qv_rng_below(rng, 10) == 0,
                           .has_threshold = qv_rng_below(rng, 5) == 0,
                           .threshold = 2.0F,
                           .indexed_only = qv_rng_below(rng, 8) == 0};
    q->with_payload.mode = qv_rng_below(rng, 2) == 0 ? QV_SELECT_ALL : QV_SELECT_NONE;
    if (qv_rng_below(rng, 6) == 0) {
        q->kind = QV_QUERY_ID;
        q->id = qv_id_num(qv_rng_below(rng, STEADY));
    } else if (qv_rng_below(rng, 20) == 0) {
        q->kind = QV_QUERY_SCROLL;
    }
    if (qv_rng_below(rng, 10) == 0)
        q->filter = steady_filter(arena);
    const uint64_t fault = qv_rng_below(rng, 400);
    if (fault == 0)
        q->vec.dim = DIM - 1;
    if (fault == 1)
        q->using_ = qv_str_of("none");
}

static bool same_points(const struct qv_points_out *a, const struct qv_points_out *b)
{
    bool same = a->count == b->count;
    for (uint32_t i = 0; i < a->count && same; i++) {
        const struct qv_point_out *p = &a->points[i];
        const struct qv_point_out *q = &b->points[i];
        same = qv_id_equal(&p->id, &q->id) && p->score == q->score &&
               p->payload.n == q->payload.n &&
               (p->payload.n == 0 || memcmp(p->payload.p, q->payload.p, p->payload.n) == 0);
    }
    return same;
}

static void one_batch(struct batched *b, unsigned worker, struct qv_arena *arena)
{
    struct qv_shard *s = b->x->shard;
    struct qv_errmsg msg = {""};
    struct qv_errmsg alone = {""};
    struct qv_query queries[BATCH_MAX];
    struct qv_points_out outs[BATCH_MAX];
    const uint32_t n = (uint32_t)qv_rng_below(&b->rng, BATCH_MAX) + 1;
    const struct qv_batch batch = {.arena = arena, .queries = queries, .count = n};
    for (uint32_t i = 0; i < n; i++)
        random_query(b, arena, &queries[i]);
    const int err = qv_shard_query_batch(s, worker, &batch, outs, &msg);
    int first = 0;
    for (uint32_t i = 0; i < n && first == 0; i++) {
        struct qv_points_out out;
        first = qv_shard_query(s, worker, arena, &queries[i], &out, &alone);
        if (first == 0 && err == 0 && !same_points(&out, &outs[i]))
            complain(b->x, "a query answers otherwise in a batch", i);
    }
    if (err != first || strcmp(msg.text, alone.text) != 0)
        complain(b->x, "a batch fails otherwise than its queries", n);
    b->failed += err != 0;
}

static void batches_run(struct qv_job *job, unsigned worker)
{
    struct batched *b = job->arg;
    for (uint32_t i = 0; i < BATCHES && b->x->wrong == NULL; i++) {
        struct qv_arena arena;
        qv_arena_init(&arena, (size_t)64 << 20);
        one_batch(b, worker, &arena);
        qv_arena_close(&arena);
    }
}

static void batches_done(struct qv_job *job)
{
    struct batched *b = job->arg;
    pthread_mutex_lock(&b->x->lock);
    b->done = true;
    pthread_cond_broadcast(&b->x->cond);
    pthread_mutex_unlock(&b->x->lock);
}

/* Any queries, of which many walk and take turns: each answer and the error are as alone. */
static void test_batch_answers_as_its_queries_alone(void **state)
{
    (void)state;
    static struct stress x;
    static struct batched b;
    struct qv_arena arena;
    char dir[] = "/tmp/qv-shard-XXXXXX";
    assert_non_null(mkdtemp(dir));
    setup(&x, dir);
    b = (struct batched){.x = &x};
    b.job = (struct qv_job){.run = batches_run, .done = batches_done, .arg = &b};
    qv_rng_init(&b.rng, 20);
    qv_arena_init(&arena, (size_t)4 << 20);
    assert_int_equal(upsert(&x, &b.rng, &arena, &steady, STEADY), 0);
    assert_int_equal(upsert(&x, &b.rng, &arena, &churning, CHURN), 0);
    qv_arena_close(&arena);
    assert_int_equal(qv_env_submit(qv_uv_env_env(x.env), QV_JOB_INTERACTIVE, &b.job), 0);
    pthread_mutex_lock(&x.lock);
    while (!b.done)
        pthread_cond_wait(&x.cond, &x.lock);
    pthread_mutex_unlock(&x.lock);
    if (x.wrong != NULL)
        printf("%s (%u)\n", x.wrong, x.missing);
    assert_null(x.wrong);
    assert_true(b.failed > 0 && b.failed < BATCHES);
    shut(&x);
    qv_uv_env_destroy(&x.env);
    qv_kv_rocks_destroy(&x.kv);
    qv_disk_posix_destroy(&x.disk);
    remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_hold_while_points_move),
        cmocka_unit_test(test_batch_answers_as_its_queries_alone),
    };
    return RUN_SUITE(tests);
}
