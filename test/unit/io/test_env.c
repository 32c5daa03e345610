/* Tasks, timers and jobs: the real environment with its threads, and the simulated one. */
#include "suite.h"

#include "base/mem.h"
#include "io/disk_posix.h"
#include "io/sim_disk.h"
#include "io/sim_env.h"
#include "io/timer_heap.h"
#include "io/uv_env.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

/* ---- the worker pool ---- */

enum { JOBS = 20000 };

struct pool_test {
    struct qv_job job[JOBS];
    atomic_uint ran[JOBS];
    atomic_uint in_use[8]; /* scratch of a worker: one job at a time */
    atomic_uint clashes;
    atomic_uint finished;
};

static void pool_run(struct qv_job *job, unsigned worker)
{
    struct pool_test *t = job->arg;
    if (atomic_fetch_add(&t->in_use[worker], 1) != 0)
        atomic_fetch_add(&t->clashes, 1);
    atomic_fetch_add(&t->ran[job - t->job], 1);
    atomic_fetch_sub(&t->in_use[worker], 1);
}

static void job_never_done(struct qv_job *job)
{
    (void)job;
}

static void pool_finished(void *arg, struct qv_job *first, struct qv_job *last, size_t n)
{
    struct pool_test *t = arg;
    size_t seen = 1;
    while (first != last) {
        first = first->next;
        seen++;
    }
    assert_null(last->next);
    assert_int_equal(seen, n);
    atomic_fetch_add(&t->finished, (unsigned)n);
}

struct submitter {
    struct qv_worker_pool *pool;
    struct pool_test *test;
    size_t from, to;
};

static void *submit_some(void *arg)
{
    struct submitter *s = arg;
    for (size_t i = s->from; i < s->to; i++) {
        while (qv_worker_pool_submit(s->pool, i % 3 != 0, &s->test->job[i]) != 0)
            usleep(50);
    }
    return NULL;
}

static void test_pool_runs_every_job_once(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 4; threads += 3) {
        struct pool_test *t = qv_mem_calloc(1, sizeof *t);
        struct qv_worker_pool_config c = {
            .threads = threads, .queue_max = 300, .finished = pool_finished, .arg = t};
        struct qv_worker_pool *p = NULL;
        assert_int_equal(qv_worker_pool_create(&c, &p, NULL), 0);
        assert_int_equal(qv_worker_pool_threads(p), threads);
        for (size_t i = 0; i < JOBS; i++)
            t->job[i] = (struct qv_job){
                .run = pool_run, .done = i % 5 != 0 ? job_never_done : NULL, .arg = t};
        struct submitter s[2] = {{p, t, 0, JOBS / 2}, {p, t, JOBS / 2, JOBS}};
        pthread_t other;
        assert_int_equal(pthread_create(&other, NULL, submit_some, &s[1]), 0);
        submit_some(&s[0]);
        pthread_join(other, NULL);
        qv_worker_pool_destroy(&p);
        assert_null(p);
        for (size_t i = 0; i < JOBS; i++)
            assert_int_equal(atomic_load(&t->ran[i]), 1);
        assert_int_equal(atomic_load(&t->clashes), 0);
        assert_int_equal(atomic_load(&t->finished), JOBS / 5 * 4);
        qv_mem_free(t);
    }
}

struct gate {
    struct qv_job job; /* first */
    pthread_mutex_t lock;
    atomic_bool entered;
};

static void gate_run(struct qv_job *job, unsigned worker)
{
    struct gate *g = job->arg;
    (void)worker;
    atomic_store(&g->entered, true);
    pthread_mutex_lock(&g->lock);
    pthread_mutex_unlock(&g->lock);
}

static atomic_uint order_next;

static void order_run(struct qv_job *job, unsigned worker)
{
    (void)worker;
    *(unsigned *)job->arg = atomic_fetch_add(&order_next, 1);
}

/* With the one worker held: the queue is bounded, and interactive jobs overtake batch ones. */
static void test_pool_bound_and_priority(void **state)
{
    (void)state;
    struct gate g = {.lock = PTHREAD_MUTEX_INITIALIZER};
    g.job = (struct qv_job){.run = gate_run, .arg = &g};
    struct qv_worker_pool_config c = {.threads = 1, .queue_max = 6};
    struct qv_worker_pool *p = NULL;
    struct qv_job job[7];
    unsigned order[7];
    assert_int_equal(qv_worker_pool_create(&c, &p, NULL), 0);
    pthread_mutex_lock(&g.lock);
    assert_int_equal(qv_worker_pool_submit(p, true, &g.job), 0);
    while (!atomic_load(&g.entered))
        usleep(100);
    for (int i = 0; i < 7; i++)
        job[i] = (struct qv_job){.run = order_run, .arg = &order[i]};
    for (int i = 0; i < 6; i++)
        assert_int_equal(qv_worker_pool_submit(p, i >= 3, &job[i]), 0);
    assert_int_equal(qv_worker_pool_submit(p, true, &job[6]), QV_EBUSY);
    assert_int_equal(qv_worker_pool_waiting(p), 6);
    pthread_mutex_unlock(&g.lock);
    qv_worker_pool_destroy(&p);
    for (int i = 0; i < 3; i++)
        assert_true(order[i] == (unsigned)i + 3 && order[i + 3] == (unsigned)i);
    struct qv_errmsg msg = {""};
    c.threads = 0;
    assert_int_equal(qv_worker_pool_create(&c, &p, &msg), QV_EINVAL);
    int cpu = 5000;
    c = (struct qv_worker_pool_config){.threads = 1, .pin_cpus = &cpu, .pin_count = 1};
    assert_int_equal(qv_worker_pool_create(&c, &p, &msg), QV_EINVAL);
    assert_non_null(strstr(msg.text, "5000"));
}

/* ---- the real environment ---- */

struct env_test {
    struct qv_env *env;
    pthread_t owner;
    bool on_owner;
    unsigned tasks, jobs;
    atomic_uint timers;
    unsigned wrong;
    unsigned last_task;
    unsigned job_runs_left;
    struct qv_timer timer[3];
    uint64_t timer_at[3];
    struct qv_job job[8];
    struct qv_task task[500];
};

static void note_owner(struct env_test *t)
{
    if (!t->on_owner) {
        t->owner = pthread_self();
        t->on_owner = true;
    }
    t->wrong += !pthread_equal(t->owner, pthread_self());
}

static void task_run(struct qv_task *task)
{
    struct env_test *t = task->arg;
    note_owner(t);
    unsigned i = (unsigned)(task - t->task);
    t->wrong += i != t->last_task; /* in posted order */
    t->last_task = i + 1;
    t->tasks++;
}

static void timer_run(struct qv_timer *timer)
{
    struct env_test *t = timer->arg;
    note_owner(t);
    t->timer_at[timer - t->timer] = qv_env_mono_ns(t->env);
    t->wrong += qv_env_timer_active(timer);
    t->timers++;
}

static void env_job_run(struct qv_job *job, unsigned worker)
{
    struct env_test *t = job->arg;
    if (worker >= qv_env_worker_count(t->env, QV_JOB_BATCH) ||
        (t->on_owner && pthread_equal(t->owner, pthread_self())))
        abort();
}

static void env_job_done(struct qv_job *job)
{
    struct env_test *t = job->arg;
    note_owner(t);
    t->jobs++;
    if (t->job_runs_left > 0) {
        t->job_runs_left--;
        t->wrong += qv_env_submit(t->env, QV_JOB_INTERACTIVE, job) != 0;
    }
}

static void env_start(void *arg)
{
    struct env_test *t = arg;
    note_owner(t);
    for (int i = 0; i < 3; i++) {
        t->timer[i] = (struct qv_timer){.run = timer_run, .arg = t};
        qv_env_timer_start(t->env, &t->timer[i], (uint64_t)(3 - i) * 10 * QV_NS_PER_MS);
    }
    qv_env_timer_stop(t->env, &t->timer[1]);
    qv_env_timer_stop(t->env, &t->timer[1]);
    for (int i = 0; i < 8; i++) {
        t->job[i] = (struct qv_job){.run = env_job_run, .done = env_job_done, .arg = t};
        t->wrong += qv_env_submit(t->env,
                                  i % 3 == 0   ? QV_JOB_BATCH
                                  : i % 3 == 1 ? QV_JOB_IO
                                               : QV_JOB_LOG,
                                  &t->job[i]) != 0;
    }
}

static void env_look(void *arg)
{
    (void)arg;
}

static void test_uv_env_with_its_own_thread(void **state)
{
    (void)state;
    struct env_test *t = qv_mem_calloc(1, sizeof *t);
    struct qv_uv_env *u = NULL;
    struct qv_uv_env_config c = {.compute_threads = 3, .io_threads = 3, .seed = 5, .pin_cpu = -1};
    assert_int_equal(qv_uv_env_create(&c, &u, NULL), 0);
    t->env = qv_uv_env_env(u);
    t->job_runs_left = 5000;
    uint64_t begin = qv_env_mono_ns(t->env);
    qv_uv_env_call(u, env_start, t);
    for (int i = 0; i < 500; i++) {
        t->task[i] = (struct qv_task){.run = task_run, .arg = t};
        qv_env_post(t->env, &t->task[i]);
    }
    qv_uv_env_call(u, env_look, NULL);
    assert_int_equal(t->tasks, 500);
    for (int i = 0; i < 2000 && t->timers < 2; i++) {
        usleep(1000);
        qv_uv_env_call(u, env_look, NULL);
    }
    qv_uv_env_destroy(&u); /* waits for every job */
    assert_int_equal(t->wrong, 0);
    assert_int_equal(t->timers, 2);
    assert_int_equal(t->jobs, 5008);
    assert_true(t->timer_at[2] - begin >= 10 * QV_NS_PER_MS);
    assert_true(t->timer_at[0] - begin >= 30 * QV_NS_PER_MS && t->timer_at[1] == 0);
    qv_mem_free(t);
}

static void test_uv_env_on_a_loop_of_the_caller(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct env_test *t = qv_mem_calloc(1, sizeof *t);
    struct qv_uv_env *u = NULL;
    struct qv_worker_pool *shared = NULL;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(qv_uv_env_pool_create(2, 0, NULL, 0, &shared, NULL), 0);
    struct qv_uv_env_config c = {.loop = &loop, .compute = shared, .io = shared, .pin_cpu = -1};
    assert_int_equal(qv_uv_env_create(&c, &u, NULL), 0);
    t->env = qv_uv_env_env(u);
    assert_ptr_equal(qv_uv_env_loop(u), &loop);
    t->job_runs_left = 100;
    env_start(t);
    while (t->timers < 2)
        uv_run(&loop, UV_RUN_ONCE);
    qv_uv_env_destroy(&u);
    assert_int_equal(t->wrong, 0);
    assert_int_equal(t->jobs, 108);
    assert_int_equal(uv_loop_close(&loop), 0);
    qv_worker_pool_destroy(&shared);
    qv_mem_free(t);
}

static void test_uv_env_clocks_and_random(void **state)
{
    (void)state;
    struct qv_uv_env *u = NULL;
    struct qv_uv_env_config c = {.pin_cpu = 0};
    assert_int_equal(qv_uv_env_create(&c, &u, NULL), 0);
    struct qv_env *e = qv_uv_env_env(u);
    uint64_t mono = qv_env_mono_ns(e);
    assert_true(qv_env_mono_ns(e) >= mono);
    assert_true(qv_env_boot_ns(e) >= mono);
    assert_true(qv_env_wall_ns(e) > 1600000000ull * QV_NS_PER_S);
    assert_true(qv_env_random_u64(e) != qv_env_random_u64(e));
    qv_uv_env_destroy(&u);
    qv_uv_env_destroy(&u);
}

/* ---- timers and the simulator ---- */

static void heap_timer_run(struct qv_timer *t)
{
    (void)t;
}

static void test_timer_heap_is_a_sorted_list(void **state)
{
    (void)state;
    enum { N = 200 };
    static struct qv_timer t[N];
    struct qv_timer_heap h = {0};
    struct qv_rng rng;
    qv_rng_init(&rng, 9);
    for (int i = 0; i < N; i++)
        t[i].run = heap_timer_run;
    for (int step = 0; step < 20000; step++) {
        struct qv_timer *x = &t[qv_rng_below(&rng, N)];
        if (qv_rng_below(&rng, 3) == 0)
            qv_timer_heap_stop(&h, x);
        else
            qv_timer_heap_start(&h, x, qv_rng_below(&rng, 50));
        struct qv_timer *best = NULL;
        uint32_t n = 0;
        for (int i = 0; i < N; i++) {
            if (!qv_env_timer_active(&t[i]))
                continue;
            n++;
            if (best == NULL || t[i].due_ns < best->due_ns ||
                (t[i].due_ns == best->due_ns && t[i].order < best->order))
                best = &t[i];
        }
        assert_ptr_equal(qv_timer_heap_first(&h), best);
        assert_int_equal(h.n, n);
    }
    qv_timer_heap_close(&h);
    for (int i = 0; i < N; i++)
        assert_false(qv_env_timer_active(&t[i]));
}

struct trace {
    struct qv_env *env;
    struct qv_sim *sim;
    uint64_t hash;
    struct qv_task task[4];
    struct qv_timer timer[4];
    struct qv_job job[4];
    uint64_t left;
};

static void trace_note(struct trace *t, uint64_t what)
{
    t->hash = (t->hash ^ what ^ qv_sim_now_ns(t->sim)) * 0x100000001b3ull;
}

static void trace_go(struct trace *t)
{
    if (t->left == 0)
        return;
    t->left--;
    size_t i = (size_t)(qv_env_random_u64(t->env) % 4);
    if (!qv_env_timer_active(&t->timer[i]))
        qv_env_timer_start(t->env, &t->timer[i], qv_env_random_u64(t->env) % QV_NS_PER_MS);
}

static void trace_task(struct qv_task *task)
{
    struct trace *t = task->arg;
    trace_note(t, 1);
    trace_go(t);
}

static void trace_timer(struct qv_timer *timer)
{
    struct trace *t = timer->arg;
    size_t i = (size_t)(timer - t->timer);
    trace_note(t, 2 + i);
    assert_int_equal(qv_env_submit(t->env, QV_JOB_BATCH, &t->job[i]), 0);
}

static void trace_job(struct qv_job *job, unsigned worker)
{
    trace_note(job->arg, 10 + worker);
}

static void trace_done(struct qv_job *job)
{
    struct trace *t = job->arg;
    trace_note(t, 20);
    qv_env_post(t->env, &t->task[job - t->job]);
    trace_go(t);
}

static uint64_t trace_of(uint64_t seed, bool crash)
{
    struct qv_sim_config c = {.seed = seed};
    struct trace t = {.left = 300};
    struct qv_disk *d = qv_sim_disk_create(seed, 0);
    t.sim = qv_sim_create(&c);
    struct qv_sim_node *n = qv_sim_node_create(t.sim, d, -5000000);
    t.env = qv_sim_node_env(n);
    for (int i = 0; i < 4; i++) {
        t.task[i] = (struct qv_task){.run = trace_task, .arg = &t};
        t.timer[i] = (struct qv_timer){.run = trace_timer, .arg = &t};
        t.job[i] = (struct qv_job){.run = trace_job, .done = trace_done, .arg = &t};
        qv_env_post(t.env, &t.task[i]);
    }
    if (crash) {
        qv_sim_run(t.sim, 50);
        qv_sim_node_crash(n);
        assert_false(qv_sim_step(t.sim));
        for (int i = 0; i < 4; i++)
            assert_false(qv_env_timer_active(&t.timer[i]));
        uint64_t before = t.left;
        qv_env_post(t.env, &t.task[0]);
        qv_sim_run(t.sim, 1);
        assert_true(t.left == before - 1 || before == 0);
        qv_sim_node_crash(n);
    } else {
        uint64_t begin = qv_sim_now_ns(t.sim);
        qv_sim_run_for(t.sim, 10 * QV_NS_PER_MS);
        assert_int_equal(qv_sim_now_ns(t.sim) - begin, 10 * QV_NS_PER_MS);
        qv_sim_run(t.sim, 1000000);
        assert_true(t.left < 300);
        assert_true(qv_env_boot_ns(t.env) == qv_env_mono_ns(t.env));
        assert_true(qv_env_wall_ns(t.env) > qv_env_mono_ns(t.env));
    }
    qv_sim_node_destroy(&n);
    qv_sim_destroy(&t.sim);
    qv_sim_disk_destroy(&d);
    return t.hash;
}

static void test_sim_replays_from_its_seed(void **state)
{
    (void)state;
    assert_true(trace_of(1, false) == trace_of(1, false));
    assert_true(trace_of(2, false) == trace_of(2, false));
    assert_true(trace_of(1, false) != trace_of(2, false));
    for (uint64_t seed = 1; seed < 50; seed++)
        trace_of(seed, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool_runs_every_job_once),
        cmocka_unit_test(test_pool_bound_and_priority),
        cmocka_unit_test(test_uv_env_with_its_own_thread),
        cmocka_unit_test(test_uv_env_on_a_loop_of_the_caller),
        cmocka_unit_test(test_uv_env_clocks_and_random),
        cmocka_unit_test(test_timer_heap_is_a_sorted_list),
        cmocka_unit_test(test_sim_replays_from_its_seed),
    };
    return RUN_SUITE(tests);
}
