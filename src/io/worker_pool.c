/* Guards: everything mutable is under `lock`. A worker that goes to sleep counts itself in `idle`;
 * `waking` of them have been signalled and are not up yet, so that a burst of submits signals each
 * sleeper once. */
#include "io/worker_pool.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

#define QUEUE_MAX_DEFAULT 65536u
#define THREADS_MAX 256u
#define BATCH_MAX 16u
#define REPORT_NS 200000ull /* finished jobs wait at most so long for the rest of their batch */

struct queue {
    struct qv_job *head;
    struct qv_job *tail;
};

struct worker {
    struct qv_worker_pool *pool;
    unsigned index;
    pthread_t thread;
};

struct qv_worker_pool {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct queue queue[2]; /* [0] interactive, [1] batch */
    size_t waiting;
    size_t waiting_max;
    unsigned idle;
    unsigned waking;
    bool stopping;
    unsigned threads;
    void (*finished)(void *arg, struct qv_job *first, struct qv_job *last, size_t n);
    void *arg;
    struct worker worker[];
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * QV_NS_PER_S + (uint64_t)t.tv_nsec;
}

static void queue_push(struct queue *q, struct qv_job *first, struct qv_job *last)
{
    last->next = NULL;
    if (q->head == NULL)
        q->head = first;
    else
        q->tail->next = first;
    q->tail = last;
}

static struct qv_job *queue_pop(struct queue *q)
{
    struct qv_job *j = q->head;
    if (j != NULL)
        q->head = j->next;
    return j;
}

/* With the lock: waits for work and takes some; 0 when the pool stops and nothing is left. */
static unsigned take(struct qv_worker_pool *p, struct qv_job *out[BATCH_MAX])
{
    while (p->waiting == 0 && !p->stopping) {
        p->idle++;
        pthread_cond_wait(&p->wake, &p->lock);
        p->idle--;
        if (p->waking > 0)
            p->waking--;
    }
    size_t share = p->waiting / ((size_t)p->threads * 2) + 1;
    unsigned want = share < BATCH_MAX ? (unsigned)share : BATCH_MAX;
    unsigned n = 0;
    while (n < want && p->waiting > 0) {
        struct qv_job *j = queue_pop(&p->queue[0]);
        if (j == NULL && n > 0)
            break; /* batch jobs are long: one at a time, and interactive ones look again first */
        if (j == NULL)
            j = queue_pop(&p->queue[1]);
        QV_ASSERT(j != NULL);
        p->waiting--;
        out[n++] = j;
        if (p->queue[0].head == NULL)
            break;
    }
    return n;
}

static void report(struct qv_worker_pool *p, struct queue *ready, size_t *n)
{
    if (*n > 0)
        p->finished(p->arg, ready->head, ready->tail, *n);
    *ready = (struct queue){NULL, NULL};
    *n = 0;
}

static void run_batch(struct worker *w, struct qv_job **jobs, unsigned n)
{
    struct qv_worker_pool *p = w->pool;
    struct queue ready = {NULL, NULL};
    size_t ready_n = 0;
    uint64_t since = n > 1 ? now_ns() : 0;
    for (unsigned i = 0; i < n; i++)
        jobs[i]->next = i + 1 < n ? jobs[i + 1] : NULL;
    for (unsigned i = 0; i < n; i++) {
        bool has_done = jobs[i]->done != NULL;
        jobs[i]->run(jobs[i], w->index);
        if (has_done) {
            queue_push(&ready, jobs[i], jobs[i]);
            ready_n++;
        }
        if (i + 1 < n && now_ns() - since > REPORT_NS) {
            report(p, &ready, &ready_n);
            since = now_ns();
        }
    }
    report(p, &ready, &ready_n);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct qv_worker_pool *p = w->pool;
    struct qv_job *jobs[BATCH_MAX];
    for (;;) {
        pthread_mutex_lock(&p->lock);
        unsigned n = take(p, jobs);
        pthread_mutex_unlock(&p->lock);
        if (n == 0)
            break;
        run_batch(w, jobs, n);
    }
    return NULL;
}

static void worker_name(const struct qv_worker_pool_config *config, pthread_t thread, unsigned i)
{
    char name[24]; /* the kernel takes 15 */
    snprintf(name, sizeof name, "%.10s-%u", config->name != NULL ? config->name : "work", i % 1000);
    pthread_setname_np(thread, name);
}

static int worker_start(struct qv_worker_pool *p, const struct qv_worker_pool_config *config,
                        unsigned i, struct qv_errmsg *msg)
{
    struct worker *w = &p->worker[i];
    w->pool = p;
    w->index = i;
    int r = pthread_create(&w->thread, NULL, worker_main, w);
    if (r != 0)
        return qv_fail(msg, QV_ENOMEM, "can't start worker thread %u: error %d", i, r);
    p->threads++;
    worker_name(config, w->thread, i);
    if (config->pin_count > 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        int cpu = config->pin_cpus[i % config->pin_count];
        if (cpu < 0 || cpu >= CPU_SETSIZE)
            return qv_fail(msg, QV_EINVAL, "can't pin to cpu %d", cpu);
        CPU_SET((unsigned)cpu, &set);
        if (pthread_setaffinity_np(w->thread, sizeof set, &set) != 0)
            return qv_fail(msg, QV_EINVAL, "can't pin to cpu %d", cpu);
    }
    return 0;
}

int qv_worker_pool_create(const struct qv_worker_pool_config *config, struct qv_worker_pool **out,
                          struct qv_errmsg *msg)
{
    *out = NULL;
    if (config->threads == 0 || config->threads > THREADS_MAX)
        return qv_fail(msg, QV_EINVAL, "%u worker threads; 1 to %u are possible", config->threads,
                       THREADS_MAX);
    struct qv_worker_pool *p =
        qv_mem_calloc(1, sizeof *p + config->threads * sizeof(struct worker));
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->waiting_max = config->queue_max != 0 ? config->queue_max : QUEUE_MAX_DEFAULT;
    p->finished = config->finished;
    p->arg = config->arg;
    int err = 0;
    pthread_mutex_lock(&p->lock); /* workers see `threads` complete */
    for (unsigned i = 0; i < config->threads && err == 0; i++)
        err = worker_start(p, config, i, msg);
    pthread_mutex_unlock(&p->lock);
    if (err != 0)
        qv_worker_pool_destroy(&p);
    *out = p;
    return err;
}

int qv_worker_pool_submit_many(struct qv_worker_pool *p, bool interactive, struct qv_job *first,
                               struct qv_job *last, size_t n)
{
    int err = QV_EBUSY;
    unsigned signals = 0;
    pthread_mutex_lock(&p->lock);
    QV_ASSERT(!p->stopping);
    if (n <= p->waiting_max - p->waiting) {
        queue_push(&p->queue[interactive ? 0 : 1], first, last);
        p->waiting += n;
        while (p->waking < p->idle && p->waking < p->waiting) {
            p->waking++;
            signals++;
        }
        err = 0;
    }
    pthread_mutex_unlock(&p->lock);
    while (signals-- > 0)
        pthread_cond_signal(&p->wake);
    return err;
}

int qv_worker_pool_submit(struct qv_worker_pool *p, bool interactive, struct qv_job *job)
{
    QV_ASSERT(job->run != NULL && (job->done == NULL || p->finished != NULL));
    return qv_worker_pool_submit_many(p, interactive, job, job, 1);
}

unsigned qv_worker_pool_threads(const struct qv_worker_pool *p)
{
    return p->threads;
}

size_t qv_worker_pool_waiting(struct qv_worker_pool *p)
{
    pthread_mutex_lock(&p->lock);
    size_t n = p->waiting;
    pthread_mutex_unlock(&p->lock);
    return n;
}

void qv_worker_pool_destroy(struct qv_worker_pool **pool)
{
    struct qv_worker_pool *p = *pool;
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_mutex_unlock(&p->lock);
    pthread_cond_broadcast(&p->wake);
    for (unsigned i = 0; i < p->threads; i++)
        pthread_join(p->worker[i].thread, NULL);
    QV_ASSERT(p->waiting == 0);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    qv_mem_free(p);
    *pool = NULL;
}
