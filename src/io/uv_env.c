/* Work reaches the owner through two lock-free stacks (posted tasks, finished jobs) that are pushed
 * from any thread and taken whole by the owner, who reverses them into order. Whoever finds a stack
 * empty wakes the loop; everyone else's push costs one compare-and-swap.
 *
 * `open_jobs` counts jobs submitted and not yet done: destroy waits for it. */
#include "io/uv_env.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "base/rng.h"
#include "io/disk_posix.h"
#include "io/timer_heap.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <time.h>
#include <uv.h>

#define LOG_THREADS 2u /* one writes, the other prepares and recycles segments */

struct qv_uv_env {
    struct qv_env env; /* first */
    uv_loop_t *loop;
    uv_loop_t own_loop;
    uv_async_t async;
    uv_timer_t timer;
    struct qv_timer_heap timers; /* owner only */
    struct qv_rng rng;           /* owner only */
    _Atomic(struct qv_task *) tasks;
    _Atomic(struct qv_job *) finished;
    atomic_size_t open_jobs;
    atomic_bool stopping;
    bool closing; /* owner only: handles are being closed */
    unsigned handles_open;
    bool has_thread;
    pthread_t thread;
    struct qv_worker_pool *compute;
    struct qv_worker_pool *io;
    struct qv_worker_pool *log;         /* its own */
    struct qv_worker_pool *own_compute; /* NULL when borrowed */
    struct qv_worker_pool *own_io;
    struct qv_disk *own_disk;
};

static struct qv_uv_env *uv_of(struct qv_env *env)
{
    return (struct qv_uv_env *)env;
}

static uint64_t clock_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * QV_NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t env_mono(struct qv_env *env)
{
    (void)env;
    return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t env_boot(struct qv_env *env)
{
    (void)env;
    return clock_ns(CLOCK_BOOTTIME);
}

static uint64_t env_wall(struct qv_env *env)
{
    (void)env;
    return clock_ns(CLOCK_REALTIME);
}

static uint64_t env_random(struct qv_env *env)
{
    return qv_rng_u64(&uv_of(env)->rng);
}

static void env_post(struct qv_env *env, struct qv_task *task)
{
    struct qv_uv_env *u = uv_of(env);
    struct qv_task *old = atomic_load_explicit(&u->tasks, memory_order_relaxed);
    do
        task->next = old;
    while (!atomic_compare_exchange_weak(&u->tasks, &old, task));
    if (old == NULL)
        uv_async_send(&u->async);
}

/* A chain of jobs of one env, in order: pushed reversed, since the owner reverses all. */
static void finished_push(struct qv_uv_env *u, struct qv_job *first)
{
    struct qv_job *bottom = first;
    struct qv_job *top = NULL;
    while (first != NULL) {
        struct qv_job *next = first->next;
        first->next = top;
        top = first;
        first = next;
    }
    struct qv_job *old = atomic_load_explicit(&u->finished, memory_order_relaxed);
    do
        bottom->next = old;
    while (!atomic_compare_exchange_weak(&u->finished, &old, top));
    if (old == NULL)
        uv_async_send(&u->async);
}

/* On a worker: hands each run of jobs of one env to it. */
static void pool_finished(void *arg, struct qv_job *first, struct qv_job *last, size_t n)
{
    (void)arg;
    (void)last;
    (void)n;
    while (first != NULL) {
        struct qv_job *end = first;
        while (end->next != NULL && end->next->env == first->env)
            end = end->next;
        struct qv_job *next = end->next;
        end->next = NULL;
        finished_push(uv_of(first->env), first);
        first = next;
    }
}

static void timers_arm(struct qv_uv_env *u);

static void timers_run(uv_timer_t *t)
{
    struct qv_uv_env *u = t->data;
    uint64_t now = env_mono(&u->env);
    struct qv_timer *first;
    while ((first = qv_timer_heap_first(&u->timers)) != NULL && first->due_ns <= now) {
        qv_timer_heap_stop(&u->timers, first);
        first->run(first);
    }
    timers_arm(u);
}

static void timers_arm(struct qv_uv_env *u)
{
    struct qv_timer *first = qv_timer_heap_first(&u->timers);
    if (u->closing)
        return;
    if (first == NULL) {
        uv_timer_stop(&u->timer);
        return;
    }
    uint64_t now = env_mono(&u->env);
    uint64_t wait_ns = first->due_ns > now ? first->due_ns - now : 0;
    uv_update_time(u->loop);
    uv_timer_start(&u->timer, timers_run, (wait_ns + QV_NS_PER_MS - 1) / QV_NS_PER_MS, 0);
}

static void env_timer_start(struct qv_env *env, struct qv_timer *t, uint64_t delay_ns)
{
    struct qv_uv_env *u = uv_of(env);
    qv_timer_heap_start(&u->timers, t, env_mono(env) + delay_ns);
    if (qv_timer_heap_first(&u->timers) == t)
        timers_arm(u);
}

/* Leaves the uv timer as it is: it then fires for nothing, once. */
static void env_timer_stop(struct qv_env *env, struct qv_timer *t)
{
    qv_timer_heap_stop(&uv_of(env)->timers, t);
}

static struct qv_worker_pool *pool_of(struct qv_uv_env *u, enum qv_job_class job_class)
{
    if (job_class == QV_JOB_LOG)
        return u->log;
    return job_class == QV_JOB_IO ? u->io : u->compute;
}

static int env_submit(struct qv_env *env, enum qv_job_class job_class, struct qv_job *job)
{
    struct qv_uv_env *u = uv_of(env);
    struct qv_worker_pool *pool = pool_of(u, job_class);
    job->env = env;
    bool counted = job->done != NULL; /* otherwise run may free the job and nothing comes back */
    if (counted)
        atomic_fetch_add(&u->open_jobs, 1);
    int err = qv_worker_pool_submit(pool, job_class != QV_JOB_BATCH, job);
    if (err != 0 && counted)
        atomic_fetch_sub(&u->open_jobs, 1);
    return err;
}

static unsigned env_worker_count(struct qv_env *env, enum qv_job_class job_class)
{
    return qv_worker_pool_threads(pool_of(uv_of(env), job_class));
}

static const struct qv_env_ops env_ops = {
    .mono_ns = env_mono,
    .boot_ns = env_boot,
    .wall_ns = env_wall,
    .random_u64 = env_random,
    .post = env_post,
    .timer_start = env_timer_start,
    .timer_stop = env_timer_stop,
    .submit = env_submit,
    .worker_count = env_worker_count,
};

static void tasks_run(struct qv_uv_env *u)
{
    struct qv_task *list = atomic_exchange(&u->tasks, NULL);
    struct qv_task *order = NULL;
    while (list != NULL) {
        struct qv_task *next = list->next;
        list->next = order;
        order = list;
        list = next;
    }
    while (order != NULL) {
        struct qv_task *next = order->next; /* run may free it or post it again */
        order->run(order);
        order = next;
    }
}

static void jobs_run(struct qv_uv_env *u)
{
    struct qv_job *list = atomic_exchange(&u->finished, NULL);
    struct qv_job *order = NULL;
    while (list != NULL) {
        struct qv_job *next = list->next;
        list->next = order;
        order = list;
        list = next;
    }
    while (order != NULL) {
        struct qv_job *next = order->next;
        order->done(order);
        atomic_fetch_sub(&u->open_jobs, 1);
        order = next;
    }
}

static void handle_closed(uv_handle_t *h)
{
    struct qv_uv_env *u = h->data;
    u->handles_open--;
}

static bool is_idle(struct qv_uv_env *u)
{
    return atomic_load(&u->open_jobs) == 0 && atomic_load(&u->tasks) == NULL &&
           atomic_load(&u->finished) == NULL;
}

static void on_async(uv_async_t *a)
{
    struct qv_uv_env *u = a->data;
    jobs_run(u);
    tasks_run(u);
    if (atomic_load(&u->stopping) && !u->closing) {
        if (is_idle(u)) {
            u->closing = true;
            qv_timer_heap_close(&u->timers);
            uv_close((uv_handle_t *)&u->async, handle_closed);
            uv_close((uv_handle_t *)&u->timer, handle_closed);
        } else if (atomic_load(&u->tasks) != NULL || atomic_load(&u->finished) != NULL) {
            uv_async_send(&u->async);
        } /* otherwise a job is running, and its end wakes the loop */
    }
}

static void *loop_main(void *arg)
{
    struct qv_uv_env *u = arg;
    uv_run(u->loop, UV_RUN_DEFAULT);
    return NULL;
}

int qv_uv_env_pool_create(unsigned threads, unsigned queue_max, const int *pin_cpus,
                          unsigned pin_count, struct qv_worker_pool **out, struct qv_errmsg *msg)
{
    struct qv_worker_pool_config c = {
        .threads = threads,
        .queue_max = queue_max,
        .pin_cpus = pin_cpus,
        .pin_count = pin_count,
        .name = "compute",
        .finished = pool_finished,
    };
    return qv_worker_pool_create(&c, out, msg);
}

static int pools_open(struct qv_uv_env *u, const struct qv_uv_env_config *config,
                      struct qv_errmsg *msg)
{
    int err = 0;
    u->compute = config->compute;
    u->io = config->io;
    if (u->compute == NULL) {
        unsigned n = config->compute_threads != 0 ? config->compute_threads : 1;
        err = qv_uv_env_pool_create(n, config->queue_max, NULL, 0, &u->own_compute, msg);
        u->compute = u->own_compute;
    }
    struct qv_worker_pool_config c = {
        .threads = config->io_threads != 0 ? config->io_threads : 2,
        .name = "io",
        .finished = pool_finished,
    };
    if (err == 0 && u->io == NULL) {
        err = qv_worker_pool_create(&c, &u->own_io, msg);
        u->io = u->own_io;
    }
    c.threads = LOG_THREADS;
    c.name = "log";
    return err == 0 ? qv_worker_pool_create(&c, &u->log, msg) : err;
}

static int loop_open(struct qv_uv_env *u, const struct qv_uv_env_config *config,
                     struct qv_errmsg *msg)
{
    u->loop = config->loop != NULL ? config->loop : &u->own_loop;
    int r = config->loop != NULL ? 0 : uv_loop_init(&u->own_loop);
    if (r == 0)
        r = uv_async_init(u->loop, &u->async, on_async);
    if (r != 0)
        return qv_fail(msg, QV_ENOMEM, "can't make an event loop: %s", uv_strerror(r));
    uv_timer_init(u->loop, &u->timer);
    u->async.data = u;
    u->timer.data = u;
    u->handles_open = 2;
    return 0;
}

static int thread_open(struct qv_uv_env *u, const struct qv_uv_env_config *config,
                       struct qv_errmsg *msg)
{
    if (config->loop != NULL)
        return 0;
    int r = pthread_create(&u->thread, NULL, loop_main, u);
    if (r != 0)
        return qv_fail(msg, QV_ENOMEM, "can't start the loop's thread: error %d", r);
    u->has_thread = true;
    pthread_setname_np(u->thread, "env");
    if (config->pin_cpu >= 0 && config->pin_cpu < CPU_SETSIZE) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((unsigned)config->pin_cpu, &set);
        if (pthread_setaffinity_np(u->thread, sizeof set, &set) != 0)
            return qv_fail(msg, QV_EINVAL, "can't pin to cpu %d", config->pin_cpu);
    }
    return 0;
}

int qv_uv_env_create(const struct qv_uv_env_config *config, struct qv_uv_env **out,
                     struct qv_errmsg *msg)
{
    struct qv_uv_env *u = qv_mem_calloc(1, sizeof *u);
    uint64_t seed = config->seed;
    *out = NULL;
    if (seed == 0 && getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = clock_ns(CLOCK_REALTIME) ^ clock_ns(CLOCK_MONOTONIC) << 20;
    qv_rng_init(&u->rng, seed);
    u->env.ops = &env_ops;
    u->own_disk = config->disk == NULL ? qv_disk_posix_create() : NULL;
    u->env.disk = config->disk != NULL ? config->disk : u->own_disk;
    int err = loop_open(u, config, msg);
    if (err != 0) {
        qv_disk_posix_destroy(&u->own_disk);
        qv_mem_free(u);
        return err;
    }
    err = pools_open(u, config, msg);
    if (err == 0)
        err = thread_open(u, config, msg);
    if (err != 0)
        qv_uv_env_destroy(&u);
    *out = u;
    return err;
}

struct qv_env *qv_uv_env_env(struct qv_uv_env *u)
{
    return &u->env;
}

struct uv_loop_s *qv_uv_env_loop(struct qv_uv_env *u)
{
    return u->loop;
}

struct call {
    struct qv_task task;
    void (*fn)(void *arg);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool finished;
};

static void call_run(struct qv_task *task)
{
    struct call *c = task->arg;
    c->fn(c->arg);
    pthread_mutex_lock(&c->lock);
    c->finished = true;
    pthread_cond_signal(&c->wake); /* with the lock held: c is the waiter's */
    pthread_mutex_unlock(&c->lock);
}

void qv_uv_env_call(struct qv_uv_env *u, void (*fn)(void *arg), void *arg)
{
    struct call c = {.task = {.run = call_run}, .fn = fn, .arg = arg};
    c.task.arg = &c;
    QV_ASSERT(!u->has_thread || !pthread_equal(pthread_self(), u->thread));
    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.wake, NULL);
    qv_env_post(&u->env, &c.task);
    pthread_mutex_lock(&c.lock);
    while (!c.finished)
        pthread_cond_wait(&c.wake, &c.lock);
    pthread_mutex_unlock(&c.lock);
    pthread_cond_destroy(&c.wake);
    pthread_mutex_destroy(&c.lock);
}

void qv_uv_env_destroy(struct qv_uv_env **env)
{
    struct qv_uv_env *u = *env;
    if (u == NULL)
        return;
    atomic_store(&u->stopping, true);
    uv_async_send(&u->async);
    if (u->has_thread)
        pthread_join(u->thread, NULL);
    while (u->handles_open > 0)
        uv_run(u->loop, UV_RUN_ONCE);
    if (u->loop == &u->own_loop) {
        int r = uv_loop_close(&u->own_loop);
        QV_ASSERT(r == 0);
    }
    qv_worker_pool_destroy(&u->own_compute);
    qv_worker_pool_destroy(&u->own_io);
    qv_worker_pool_destroy(&u->log);
    qv_disk_posix_destroy(&u->own_disk);
    qv_mem_free(u);
    *env = NULL;
}
