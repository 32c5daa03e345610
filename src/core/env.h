/* The world as the core sees it: time, randomness, deferred work, blocking jobs and a disk.
 *
 * One env belongs to one thread, its *owner* (a uv loop in production, the simulator's step loop in
 * tests). Everything without a remark is called on the owner. Production: io/uv_env.h; simulation:
 * io/sim_env.h, where a job is one event and the disk is io/sim_disk.h.
 *
 * Tasks, timers and jobs are embedded in the caller's structs (nothing is allocated, posting can't
 * fail); each may be queued once at a time and must stay valid until it has run. */
#ifndef QV_CORE_ENV_H
#define QV_CORE_ENV_H

#include "core/disk.h"

#include <stdbool.h>
#include <stdint.h>

#define QV_NS_PER_US 1000ull
#define QV_NS_PER_MS 1000000ull
#define QV_NS_PER_S 1000000000ull

struct qv_env;

/* Runs once on the owner. */
struct qv_task {
    void (*run)(struct qv_task *task);
    void *arg;            /* the caller's */
    struct qv_task *next; /* env's */
};

/* Runs once on the owner, `delay` after it was started. Zero before the first start. */
struct qv_timer {
    void (*run)(struct qv_timer *timer);
    void *arg;
    uint64_t due_ns;     /* env's */
    uint64_t order;      /* env's: equal times run in the order they were started */
    uint32_t heap_index; /* env's: 1-based place in its heap, 0 = not started */
};

/* INTERACTIVE and BATCH share the compute workers, interactive first. IO and LOG have threads of
 * their own, for jobs that wait for the disk rather than compute; LOG is the operation log's alone:
 * its sync, which writers wait for, never queues behind searches or checkpoints. */
enum qv_job_class { QV_JOB_INTERACTIVE, QV_JOB_BATCH, QV_JOB_IO, QV_JOB_LOG, QV_JOB_CLASS_COUNT };

struct qv_job {
    /* On a worker thread; worker = 0 .. qv_env_worker_count(class) - 1, the index of a scratch that
     * no other job of these workers uses meanwhile. */
    void (*run)(struct qv_job *job, unsigned worker);
    void (*done)(
        struct qv_job *job); /* on the owner, after run; NULL: none, run may free the job */
    void *arg;
    struct qv_env *env;  /* env's */
    struct qv_job *next; /* env's; in run: what this worker runs right after it; NULL: not known */
};

struct qv_env_ops {
    uint64_t (*mono_ns)(struct qv_env *env);
    uint64_t (*boot_ns)(struct qv_env *env);
    uint64_t (*wall_ns)(struct qv_env *env);
    uint64_t (*random_u64)(struct qv_env *env);
    void (*post)(struct qv_env *env, struct qv_task *task);
    void (*timer_start)(struct qv_env *env, struct qv_timer *timer, uint64_t delay_ns);
    void (*timer_stop)(struct qv_env *env, struct qv_timer *timer);
    int (*submit)(struct qv_env *env, enum qv_job_class job_class, struct qv_job *job);
    unsigned (*worker_count)(struct qv_env *env, enum qv_job_class job_class);
};

struct qv_env {
    const struct qv_env_ops *ops;
    struct qv_disk *disk; /* borrows; its operations block: call them in jobs, or at open */
};

/* CLOCK_MONOTONIC, CLOCK_BOOTTIME (goes on in suspend: leases), CLOCK_REALTIME. Any thread. */
static inline uint64_t qv_env_mono_ns(struct qv_env *env)
{
    return env->ops->mono_ns(env);
}
static inline uint64_t qv_env_boot_ns(struct qv_env *env)
{
    return env->ops->boot_ns(env);
}
static inline uint64_t qv_env_wall_ns(struct qv_env *env)
{
    return env->ops->wall_ns(env);
}

/* From the node's stream: seeds for modules' own streams, salts, jitter. Owner only. */
static inline uint64_t qv_env_random_u64(struct qv_env *env)
{
    return env->ops->random_u64(env);
}

/* Runs the task on the owner, later, never from inside this call; tasks run in posted order.
 * ANY thread. */
static inline void qv_env_post(struct qv_env *env, struct qv_task *task)
{
    env->ops->post(env, task);
}

/* Starting a started timer moves it. Resolution about 1 ms in production. */
static inline void qv_env_timer_start(struct qv_env *env, struct qv_timer *timer, uint64_t delay_ns)
{
    env->ops->timer_start(env, timer, delay_ns);
}
static inline void qv_env_timer_stop(struct qv_env *env, struct qv_timer *timer)
{
    env->ops->timer_stop(env, timer); /* fine when not started */
}
static inline bool qv_env_timer_active(const struct qv_timer *timer)
{
    return timer->heap_index != 0;
}

/* Queues the job; QV_EBUSY when that queue is full (the job was not taken). ANY thread; done runs
 * on env's owner. Jobs of one class may run at once and in any order. */
QV_MUST_USE static inline int qv_env_submit(struct qv_env *env, enum qv_job_class job_class,
                                            struct qv_job *job)
{
    return env->ops->submit(env, job_class, job);
}
static inline unsigned qv_env_worker_count(struct qv_env *env, enum qv_job_class job_class)
{
    return env->ops->worker_count(env, job_class);
}

#endif
