#include "cli/bench_inproc.h"

#include "base/arena.h"
#include "base/mem.h"
#include "io/disk_posix.h"
#include "io/uv_env.h"
#include "node/node.h"
#include "storage/kv_rocks.h"

#include <pthread.h>
#include <time.h>

#define QUERY_ARENA_BYTES ((size_t)64 << 20)

struct qv_bench_inproc {
    struct qv_disk *disk;
    struct qv_kv_driver *kv;
    struct qv_worker_pool *pool;
    struct qv_uv_env *env;
    struct qv_node *node;
    struct qv_shard *shard;
    struct qv_arena arena;
    const char *dir;
    struct qv_errmsg *msg;
    struct qv_job job;
    struct qv_bench_pass *pass;
    pthread_mutex_t lock; /* done, err */
    pthread_cond_t cond;
    bool done;
    int err;
};

static uint64_t clock_of(clockid_t id)
{
    struct timespec t;
    (void)clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void begin_wait(struct qv_bench_inproc *x)
{
    pthread_mutex_lock(&x->lock);
    x->done = false;
    pthread_mutex_unlock(&x->lock);
}

static void end_wait(struct qv_bench_inproc *x, int err)
{
    pthread_mutex_lock(&x->lock);
    x->done = true;
    x->err = err;
    pthread_cond_signal(&x->cond);
    pthread_mutex_unlock(&x->lock);
}

static int wait_for(struct qv_bench_inproc *x)
{
    pthread_mutex_lock(&x->lock);
    while (!x->done)
        pthread_cond_wait(&x->cond, &x->lock);
    int err = x->err;
    pthread_mutex_unlock(&x->lock);
    return err;
}

static void open_node(void *arg)
{
    struct qv_bench_inproc *x = arg;
    struct qv_node_config config = {.env = qv_uv_env_env(x->env), .kv = x->kv, .dir = x->dir};
    x->err = qv_node_open(&config, &x->node, x->msg);
}

static void node_closed(void *arg, int err)
{
    end_wait(arg, err);
}

static void close_node(void *arg)
{
    struct qv_bench_inproc *x = arg;
    qv_node_close(x->node, node_closed, x);
}

int qv_bench_inproc_open(const char *dir, const char *collection, int cpu,
                         struct qv_bench_inproc **out, struct qv_errmsg *msg)
{
    struct qv_bench_inproc *x = qv_mem_calloc(1, sizeof *x);
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->cond, NULL);
    qv_arena_init(&x->arena, QUERY_ARENA_BYTES);
    x->dir = dir;
    x->msg = msg;
    x->disk = qv_disk_posix_create();
    x->kv = qv_kv_rocks_create(NULL);
    int err = qv_uv_env_pool_create(1, 0, &cpu, 1, &x->pool, msg);
    if (err == 0) {
        struct qv_uv_env_config config = {.disk = x->disk, .compute = x->pool, .pin_cpu = -1};
        err = qv_uv_env_create(&config, &x->env, msg);
    }
    if (err == 0) {
        qv_uv_env_call(x->env, open_node, x);
        err = x->err;
    }
    struct qv_str name = {collection, strlen(collection)};
    if (err == 0)
        err = qv_node_shard(x->node, name, &x->shard, msg);
    *out = x;
    if (err != 0)
        qv_bench_inproc_close(out);
    return err;
}

void qv_bench_inproc_close(struct qv_bench_inproc **p)
{
    struct qv_bench_inproc *x = *p;
    if (x == NULL)
        return;
    if (x->shard != NULL)
        qv_shard_unref(x->shard);
    if (x->node != NULL) {
        begin_wait(x);
        qv_uv_env_call(x->env, close_node, x);
        (void)wait_for(x);
    }
    if (x->env != NULL)
        qv_uv_env_destroy(&x->env);
    if (x->pool != NULL)
        qv_worker_pool_destroy(&x->pool);
    qv_kv_rocks_destroy(&x->kv);
    qv_disk_posix_destroy(&x->disk);
    qv_arena_close(&x->arena);
    pthread_cond_destroy(&x->cond);
    pthread_mutex_destroy(&x->lock);
    qv_mem_free(x);
    *p = NULL;
}

static void keep_ids(struct qv_bench_pass *p, uint32_t i, const struct qv_points_out *out)
{
    for (uint32_t j = 0; j < p->limit; j++)
        p->ids[(size_t)i * p->limit + j] = j < out->count ? out->points[j].id.lo : UINT64_MAX;
}

static void run_pass(struct qv_job *job, unsigned worker)
{
    struct qv_bench_inproc *x = job->arg;
    struct qv_bench_pass *p = x->pass;
    int err = 0;
    uint64_t wall = clock_of(CLOCK_MONOTONIC);
    uint64_t cpu = clock_of(CLOCK_THREAD_CPUTIME_ID);
    for (uint32_t i = 0; i < p->n && err == 0; i++) {
        struct qv_points_out out;
        struct qv_query q = {.kind = QV_QUERY_VECTOR,
                             .vec = {.kind = QV_VEC_DENSE,
                                     .dim = p->dim,
                                     .rows = 1,
                                     .values = p->rows + (size_t)i * p->dim},
                             .using_ = {"", 0},
                             .limit = p->limit,
                             .hnsw_ef = {p->ef != 0, p->ef}};
        qv_arena_reset(&x->arena);
        err = qv_shard_query(x->shard, worker, &x->arena, &q, &out, x->msg);
        if (err == 0 && p->ids != NULL)
            keep_ids(p, i, &out);
    }
    p->wall_ns = clock_of(CLOCK_MONOTONIC) - wall;
    p->cpu_ns = clock_of(CLOCK_THREAD_CPUTIME_ID) - cpu;
    end_wait(x, err);
}

int qv_bench_inproc_pass(struct qv_bench_inproc *x, struct qv_bench_pass *pass,
                         struct qv_errmsg *msg)
{
    x->pass = pass;
    x->msg = msg;
    begin_wait(x);
    x->job = (struct qv_job){.run = run_pass, .arg = x};
    int err = qv_env_submit(qv_uv_env_env(x->env), QV_JOB_INTERACTIVE, &x->job);
    return err != 0 ? err : wait_for(x);
}
