/* How wide searches with a recall target walk: learned in the background for the vectors that such
 * searches ask for (index/effort.h), a few sampled rows a job, and again when the graph was
 * replaced or its points have doubled or halved. Until it is known, a breadth that is wide for the
 * target.
 *
 * What was learned is kept in a state file of its own, `effort-<number of the vector>`, written by
 * the job that has learned it. No checkpoint names it: an open takes it if it is whole and of a
 * graph like the one it has loaded; else it is learned again.
 *
 * Steps run on the owner; a job touches its trace and reads graph and rows, inside the epoch. A
 * graph is not taken away while it runs (qv_shard_index_idle). */
#include "shard/checkpoint.h"

#include "base/logger.h"
#include "base/qv_assert.h"
#include "storage/statefile.h"

#include <math.h>
#include <stdio.h>

#define SAMPLES 2000u
#define SAMPLES_A_JOB 8u /* one pass over the rows */
#define RETRY_NS (10 * QV_NS_PER_S)
#define PENDING_MAX 1000u  /* while more wait for the graph it is not what it will be */
#define UNKNOWN_EF_MIN 64u /* at recall 0 */
#define UNKNOWN_EF_MAX 1024u

#define FILE_KIND 0x54524645u /* "EFRT" */

/* ---- the file ---- */

static void file_path(const struct qv_shard *s, uint32_t vector, char *out, size_t n)
{
    snprintf(out, n, "%s/effort-%u", s->dir, s->vectors[vector].id);
}

static int write_file(struct qv_shard *s, struct qv_errmsg *msg)
{
    const struct qv_shard_effort *e = &s->effort;
    struct qv_statefile_writer *w;
    struct qv_buf b;
    char path[QV_SHARD_PATH_MAX];
    file_path(s, e->vector, path, sizeof path);
    qv_buf_init(&b, QV_EFFORT_BYTES_MAX);
    qv_effort_encode(&e->learned, e->graph, &b);
    QV_ASSERT(b.len <= QV_EFFORT_BYTES_MAX);
    int err = b.failed ? qv_fail(msg, QV_ENOMEM, "no memory")
                       : qv_statefile_create(s->env->disk, path, FILE_KIND, 1, &w, msg);
    if (err == 0) {
        err = qv_statefile_append(w, b.data, b.len, msg);
        if (err == 0)
            err = qv_statefile_finish(w, NULL, msg);
        else
            qv_statefile_abort(w);
    }
    qv_buf_close(&b);
    return err;
}

static int read_file(struct qv_shard *s, uint32_t vector, struct qv_effort *out,
                     struct qv_errmsg *msg)
{
    struct qv_statefile_reader *r = NULL;
    uint8_t bytes[QV_EFFORT_BYTES_MAX];
    char path[QV_SHARD_PATH_MAX];
    file_path(s, vector, path, sizeof path);
    int err = qv_statefile_open(s->env->disk, path, FILE_KIND, 1, &r, msg);
    if (err != 0)
        return err;
    const uint64_t n = qv_statefile_left(r);
    if (n > sizeof bytes)
        err = QV_CORRUPT(msg, "%s: %llu bytes", path, (unsigned long long)n);
    if (err == 0)
        err = qv_statefile_read(r, bytes, (size_t)n, msg);
    if (err == 0)
        err = qv_statefile_end(r, msg);
    if (err == 0)
        err = qv_effort_decode((struct qv_bytes){bytes, (size_t)n}, s->vectors[vector].graph, out,
                               msg);
    qv_statefile_close(r);
    return err;
}

void qv_shard_effort_load(struct qv_shard *s, uint32_t vector)
{
    struct qv_shard_vector *v = &s->vectors[vector];
    struct qv_errmsg msg = {0};
    struct qv_effort learned;
    const int err = read_file(s, vector, &learned, &msg);
    if (err == 0) {
        v->effort = learned;
        v->effort_of = v->graph;
    } else if (err != QV_ENOTFOUND && err != QV_EINVAL) {
        QV_WARN("shard", "%s: what recall targets have learned is learned again: %s", s->dir,
                msg.text);
    }
}

void qv_shard_effort_forget(struct qv_shard *s, uint32_t vector)
{
    char path[QV_SHARD_PATH_MAX];
    file_path(s, vector, path, sizeof path);
    const int err = qv_disk_unlink(s->env->disk, path, NULL);
    if (err != 0 && err != QV_ENOTFOUND)
        QV_WARN("shard", "%s stays behind: %s", path, qv_err_text(err));
}

/* ---- learning ---- */

static void effort_run(struct qv_job *job, unsigned worker)
{
    struct qv_shard *s = job->arg;
    struct qv_shard_effort *e = &s->effort;
    struct qv_hnsw_ctx **ctx = &s->store->ctx[worker];
    if (*ctx == NULL)
        *ctx = qv_hnsw_ctx_create();
    qv_epoch_enter(&s->epoch, worker);
    e->err = qv_effort_trace_step(e->trace, e->graph, *ctx, SAMPLES_A_JOB, &e->done);
    qv_epoch_leave(&s->epoch, worker);
    if (e->err == 0 && e->done)
        qv_effort_trace_fit(e->trace, &e->learned);
    struct qv_errmsg msg = {0};
    if (e->err == 0 && e->done && e->learned.samples > 0 && write_file(s, &msg) != 0)
        QV_WARN("shard", "%s: what recall targets have learned is not kept: %s", s->dir, msg.text);
}

static void end_trace(struct qv_shard *s)
{
    struct qv_shard_effort *e = &s->effort;
    struct qv_shard_vector *v = &s->vectors[e->vector];
    qv_effort_trace_destroy(&e->trace);
    if (e->learned.samples == 0)
        e->next_ns = qv_env_mono_ns(s->env) + RETRY_NS;
    pthread_rwlock_wrlock(&s->lock);
    v->effort = e->learned;
    v->effort_of = e->learned.samples == 0 ? NULL : e->graph;
    pthread_rwlock_unlock(&s->lock);
}

static void effort_done(struct qv_job *job)
{
    struct qv_shard *s = job->arg;
    struct qv_shard_effort *e = &s->effort;
    e->running = false;
    if (e->err != 0) {
        qv_effort_trace_destroy(&e->trace);
        e->next_ns = qv_env_mono_ns(s->env) + RETRY_NS;
    } else if (e->done) {
        end_trace(s);
    }
    qv_shard_reclaim(s);
    qv_shard_reshape_step(s);
    qv_shard_index_step(s);
    qv_shard_effort_step(s);
    qv_store_shard_step(s->store);
}

static bool wants(const struct qv_shard *s, uint32_t index)
{
    struct qv_shard_vector *v = &s->vectors[index];
    if (v->life != QV_VECTOR_IN || v->graph == NULL || v->next != NULL ||
        !atomic_load_explicit(&v->effort_wanted, memory_order_relaxed))
        return false;
    uint32_t rows = qv_hnsw_stats(v->graph).live;
    return v->effort_of != v->graph || rows / 2 > v->effort.rows || rows < v->effort.rows / 2;
}

void qv_shard_effort_step(struct qv_shard *s)
{
    struct qv_shard_effort *e = &s->effort;
    if (e->running || s->resting || s->replaying || s->store->closing ||
        atomic_load(&s->state) != QV_SHARD_OPEN || qv_shard_pending(s) > PENDING_MAX ||
        atomic_load_explicit(&s->backlog, memory_order_relaxed) > 0)
        return;
    if (e->trace != NULL &&
        (s->vectors[e->vector].life != QV_VECTOR_IN || s->vectors[e->vector].graph != e->graph))
        qv_effort_trace_destroy(&e->trace); /* of a graph that is gone */
    for (uint32_t v = 0; v < s->vector_count && e->trace == NULL; v++) {
        if (!wants(s, v) || qv_env_mono_ns(s->env) < e->next_ns)
            continue;
        e->vector = v;
        e->graph = s->vectors[v].graph;
        e->trace = qv_effort_trace_create(SAMPLES, s->number);
    }
    if (e->trace == NULL)
        return;
    e->done = false;
    e->job = (struct qv_job){.run = effort_run, .done = effort_done, .arg = s};
    e->running = qv_env_submit(s->env, QV_JOB_BATCH, &e->job) == 0;
}

/* ---- searches ---- */

bool qv_shard_effort_plan(struct qv_shard *s, uint32_t vector, double target,
                          struct qv_effort_plan *out)
{
    struct qv_shard_vector *v = &s->vectors[vector];
    if (!atomic_load_explicit(&v->effort_wanted, memory_order_relaxed))
        atomic_store_explicit(&v->effort_wanted, true, memory_order_relaxed);
    pthread_rwlock_rdlock(&s->lock);
    const bool known = qv_effort_plan(&v->effort, target, out);
    pthread_rwlock_unlock(&s->lock);
    return known;
}

uint32_t qv_shard_effort_unknown(double target)
{
    double ef = (double)UNKNOWN_EF_MIN / fmax(1.0 - target, 1e-3) / 2;
    return ef < UNKNOWN_EF_MIN   ? UNKNOWN_EF_MIN
           : ef > UNKNOWN_EF_MAX ? UNKNOWN_EF_MAX
                                 : (uint32_t)ef;
}
