/* Worker threads behind one bounded queue with two priorities: interactive jobs go first, batch
 * jobs when there is none. Made for searches of 20 to 200 us: a submit to a busy pool is one lock,
 * no system call; a worker takes several jobs at a time when the queue is long; one wake for many.
 *
 * Threads: submit from any; create and destroy by one. */
#ifndef QV_IO_WORKER_POOL_H
#define QV_IO_WORKER_POOL_H

#include "core/env.h"

struct qv_worker_pool;

struct qv_worker_pool_config {
    unsigned threads;    /* 1 .. 256 */
    unsigned queue_max;  /* jobs waiting, both priorities together; 0: 65536 */
    const int *pin_cpus; /* thread i runs on pin_cpus[i % pin_count]; borrowed for create */
    unsigned pin_count;  /* 0: not pinned */
    const char *name;    /* of the threads, at most 10 bytes; borrowed for create */
    /* What to do with a finished job that has a done function; called on the worker. */
    void (*finished)(void *arg, struct qv_job *first, struct qv_job *last, size_t n); /* a chain */
    void *arg;
};

QV_MUST_USE int qv_worker_pool_create(const struct qv_worker_pool_config *config,
                                      struct qv_worker_pool **out, struct qv_errmsg *msg);
/* QV_EBUSY when the queue is full: the job was not taken. */
QV_MUST_USE int qv_worker_pool_submit(struct qv_worker_pool *p, bool interactive,
                                      struct qv_job *job);
/* A chain of n jobs by `next`, all or none; one lock, one wake. */
QV_MUST_USE int qv_worker_pool_submit_many(struct qv_worker_pool *p, bool interactive,
                                           struct qv_job *first, struct qv_job *last, size_t n);
unsigned qv_worker_pool_threads(const struct qv_worker_pool *p);
size_t qv_worker_pool_waiting(struct qv_worker_pool *p);
/* Runs what is queued, then ends the threads. */
void qv_worker_pool_destroy(struct qv_worker_pool **p);

#endif
