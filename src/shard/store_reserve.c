/* A few MiB kept for what must succeed on a full disk: a start (a segment of the log, the payload
 * stores' own files) and the deletion of a collection. */
#include "shard/store_private.h"

#include "base/logger.h"

#include <stdio.h>

#define WAIT_NS (10 * QV_NS_PER_S)
#define PATH_MAX_BYTES 4096

static void reserve_path(const char *dir, char path[PATH_MAX_BYTES])
{
    snprintf(path, PATH_MAX_BYTES, "%s/reserve", dir);
}

bool qv_reserve_use(struct qv_disk *disk, const char *dir)
{
    char path[PATH_MAX_BYTES];
    reserve_path(dir, path);
    int err = qv_disk_unlink(disk, path, NULL);
    if (err == 0)
        QV_WARN("store", "the disk is full: %s is given free", path);
    return err == 0;
}

bool qv_store_use_reserve(struct qv_store *st)
{
    st->reserve_next_ns = qv_env_mono_ns(st->env) + WAIT_NS;
    st->reserved = false;
    return qv_reserve_use(st->env->disk, st->dir);
}

static void make_run(struct qv_job *job, unsigned worker)
{
    struct qv_store *st = job->arg;
    char path[PATH_MAX_BYTES];
    struct qv_file *f = NULL;
    (void)worker;
    reserve_path(st->dir, path);
    int err = qv_disk_open(st->env->disk, path, QV_OPEN_WRITE | QV_OPEN_CREATE, &f, NULL);
    if (err == 0)
        err = qv_file_allocate(f, 0, st->config.reserve_bytes, NULL);
    qv_file_close(f);
    if (err != 0 && qv_disk_unlink(st->env->disk, path, NULL) != 0)
        QV_DEBUG("store", "%s stays behind", path);
    st->reserve_err = err;
}

static void make_done(struct qv_job *job)
{
    struct qv_store *st = job->arg;
    st->reserve_running = false;
    st->reserved = st->reserve_err == 0;
    qv_store_shard_step(st);
}

void qv_store_reserve_step(struct qv_store *st)
{
    uint64_t now = qv_env_mono_ns(st->env);
    if (st->config.reserve_bytes == 0 || st->reserved || st->reserve_running || st->closing ||
        qv_log_error(st->log) != 0 || now < st->reserve_next_ns)
        return;
    st->reserve_next_ns = now + WAIT_NS;
    st->reserve_job = (struct qv_job){.run = make_run, .done = make_done, .arg = st};
    st->reserve_running = qv_env_submit(st->env, QV_JOB_IO, &st->reserve_job) == 0;
}
