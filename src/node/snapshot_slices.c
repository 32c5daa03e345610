#include "node/snapshots_private.h"

#define RETRY_NS (10 * QV_NS_PER_MS)

static void start(struct qv_slices *s);

static void run(struct qv_job *job, unsigned worker)
{
    struct qv_slices *s = job->arg;
    (void)worker;
    s->bytes = 0;
    s->err = s->slice(s->arg, &s->bytes);
}

static void done(struct qv_job *job)
{
    struct qv_slices *s = job->arg;
    s->after(s->arg, s->err);
}

static void due(struct qv_timer *timer)
{
    start(timer->arg);
}

static void start(struct qv_slices *s)
{
    s->job = (struct qv_job){.run = run, .done = done, .arg = s};
    s->started_ns = qv_env_mono_ns(s->n->env);
    if (qv_env_submit(s->n->env, QV_JOB_IO, &s->job) == 0)
        return;
    s->timer = (struct qv_timer){.run = due, .arg = s}; /* the queue is full */
    qv_env_timer_start(s->n->env, &s->timer, RETRY_NS);
}

void qv_slices_next(struct qv_slices *s)
{
    uint64_t rate = s->n->snapshots.bytes_per_s;
    uint64_t took = qv_env_mono_ns(s->n->env) - s->started_ns;
    uint64_t pace = rate > 0 ? s->bytes * QV_NS_PER_S / rate : 0; /* a slice: no overflow */
    if (pace <= took || s->n->snapshots.stopping) {
        start(s);
        return;
    }
    s->timer = (struct qv_timer){.run = due, .arg = s};
    qv_env_timer_start(s->n->env, &s->timer, pace - took);
}

int qv_snapshot_task_begin(struct qv_node *n, struct qv_errmsg *msg)
{
    int err = qv_snapshot_check_enabled(n, msg);
    if (err != 0)
        return err;
    if (n->snapshots.stopping)
        return qv_fail(msg, QV_EUNAVAILABLE, "the node is shutting down");
    if (n->snapshots.tasks >= QV_SNAPSHOT_TASKS_MAX)
        return qv_fail(msg, QV_EBUSY, "%u snapshots are being made or restored",
                       n->snapshots.tasks);
    n->snapshots.tasks++;
    return 0;
}

void qv_snapshot_task_end(struct qv_node *n)
{
    n->snapshots.tasks--;
    if (n->closing && n->snapshots.tasks == 0)
        qv_node_close_store(n);
}

void qv_node_snapshot_stop(struct qv_node *n)
{
    n->snapshots.stopping = true;
}
