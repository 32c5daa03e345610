#include "net_memory.h"

#include "base/qv_assert.h"

#include <string.h>

static void no_wake(void *arg)
{
    (void)arg;
}

static void offload(struct qv_net_core *core, struct qv_net_job *job)
{
    struct memory_conn *m = core->wake_arg;
    *m->jobs_end = job;
    m->jobs_end = &job->next;
}

static void run_jobs(struct memory_conn *m)
{
    while (m->jobs != NULL) {
        struct qv_net_job *job = m->jobs;
        m->jobs = job->next;
        if (m->jobs == NULL)
            m->jobs_end = &m->jobs;
        job->run(job);
        qv_net_core_job_done(job);
    }
}

void memory_conn_open(struct memory_conn *m, const struct qv_net_server_config *config)
{
    memset(m, 0, sizeof *m);
    qv_net_core_init(&m->core, config, &m->shared);
    m->core.wake = no_wake;
    m->core.wake_arg = m;
    m->core.offload = offload;
    m->jobs_end = &m->jobs;
    m->core.now_ns = 1000000000;
    qv_buf_init(&m->out, (size_t)64 << 20);
    m->conn = qv_conn_create(&m->core, "memory", 1, m);
    QV_ASSERT(m->conn != NULL);
}

void memory_conn_pump(struct memory_conn *m)
{
    struct qv_out_iov iov[16];
    qv_net_core_drain_posted(&m->core);
    for (;;) {
        run_jobs(m);
        qv_conn_fill(m->conn);
        size_t n = qv_outq_iov(&m->conn->out, iov, 16);
        if (m->conn->broken || (n == 0 && m->jobs == NULL))
            break;
        size_t total = 0;
        for (size_t i = 0; i < n; i++) {
            qv_buf_append(&m->out, iov[i].p, iov[i].n);
            total += iov[i].n;
        }
        qv_conn_sent(m->conn, total);
    }
    m->conn->is_dirty = false;
    m->core.dirty = NULL;
}

void memory_conn_feed(struct memory_conn *m, const void *p, size_t n)
{
    if (qv_conn_wants_read(m->conn))
        qv_conn_feed(m->conn, p, n);
    memory_conn_pump(m);
}

void memory_conn_close(struct memory_conn *m)
{
    qv_conn_destroy(&m->conn);
    run_jobs(m);
    qv_net_core_close(&m->core);
    QV_ASSERT(atomic_load(&m->shared.buffered_bytes) == 0);
    QV_ASSERT(atomic_load(&m->shared.calls) == 0);
    qv_buf_close(&m->out);
}
