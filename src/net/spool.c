#include "net/spool.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPOOL_DIR_BYTES_MAX 4000u

/* ---- in ------------------------------------------------------------------------------------- */

static int spool_open(const char *dir, int *out)
{
    char path[SPOOL_DIR_BYTES_MAX + 32];
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        /* A file system without nameless files: a name for a moment. */
        if (strlen(dir) > SPOOL_DIR_BYTES_MAX)
            return QV_EINVAL;
        snprintf(path, sizeof path, "%s/upload-XXXXXX", dir);
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0 && unlink(path) != 0)
            QV_WARN("net", "%s stays: %s", path, strerror(errno));
    }
    if (fd < 0)
        return qv_err_from_errno(errno);
    *out = fd;
    return 0;
}

int qv_spool_create(struct qv_call_priv *call, const char *dir, uint64_t bytes_max,
                    struct qv_spool **out)
{
    struct qv_spool *spool = qv_mem_try_calloc(1, sizeof *spool);
    if (spool == NULL)
        return QV_ENOMEM;
    int err = spool_open(dir, &spool->fd);
    if (err != 0) {
        qv_mem_free(spool);
        return err;
    }
    spool->core = call->core;
    spool->call = call;
    spool->bytes_max = bytes_max;
    *out = spool;
    return 0;
}

static void spool_free(struct qv_net_job *job)
{
    struct qv_spool *spool = job->arg;
    qv_buf_close(&spool->filling);
    qv_buf_close(&spool->writing);
    qv_mem_free(spool);
}

/* Closing frees the blocks of a large file: no work for the loop. */
static void spool_run_close(struct qv_net_job *job)
{
    struct qv_spool *spool = job->arg;
    close(spool->fd);
}

static void spool_end(struct qv_spool *spool)
{
    spool->job = (struct qv_net_job){.run = spool_run_close, .done = spool_free, .arg = spool};
    qv_net_core_offload(spool->core, &spool->job);
}

void qv_spool_release(struct qv_spool **pspool)
{
    struct qv_spool *spool = *pspool;
    *pspool = NULL;
    if (spool == NULL)
        return;
    spool->call = NULL;
    if (!spool->busy)
        spool_end(spool);
}

static void spool_run_write(struct qv_net_job *job)
{
    struct qv_spool *spool = job->arg;
    size_t at = 0;
    while (at < spool->writing.len) {
        ssize_t n = pwrite(spool->fd, spool->writing.data + at, spool->writing.len - at,
                           (off_t)(spool->written + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) { /* EFBIG is the process's own limit: full, for what the sender can do */
            spool->job_err = n == 0 || errno == EFBIG ? QV_ENOSPC : qv_err_from_errno(errno);
            return;
        }
        at += (size_t)n;
    }
}

static void spool_written(struct qv_net_job *job);

static void spool_write(struct qv_spool *spool)
{
    if (spool->busy || spool->err != 0 || spool->filling.len == 0)
        return;
    struct qv_buf empty = spool->writing;
    spool->writing = spool->filling;
    spool->filling = empty;
    spool->busy = true;
    spool->job = (struct qv_net_job){.run = spool_run_write, .done = spool_written, .arg = spool};
    qv_net_core_offload(spool->core, &spool->job);
}

static void spool_written(struct qv_net_job *job)
{
    struct qv_spool *spool = job->arg;
    size_t n = spool->writing.len;
    spool->busy = false;
    spool->written += n;
    spool->err = spool->job_err;
    qv_buf_clear(&spool->writing);
    if (spool->call == NULL) {
        spool_end(spool);
        return;
    }
    if (spool->err != 0)
        QV_WARN("net", "an upload from %s can't be kept: %s", spool->call->pub.peer,
                qv_err_text(spool->err));
    spool_write(spool);
    qv_conn_spooled(spool->call, n);
}

int qv_spool_add(struct qv_spool *spool, const void *p, size_t n)
{
    if (spool->err != 0)
        return spool->err;
    if (n > spool->bytes_max - spool->bytes)
        return QV_ETOOBIG;
    qv_buf_append(&spool->filling, p, n);
    if (spool->filling.failed)
        return QV_ENOMEM;
    spool->bytes += n;
    spool_write(spool);
    return 0;
}

bool qv_spool_is_behind(const struct qv_spool *spool)
{
    return spool->busy || spool->filling.len > 0;
}

bool qv_spool_is_full(const struct qv_spool *spool)
{
    return spool->busy && spool->filling.len >= QV_SPOOL_AHEAD_BYTES;
}

/* ---- out ------------------------------------------------------------------------------------ */

struct qv_filebody *qv_filebody_create(const struct qv_net_file *file)
{
    struct qv_filebody *body = qv_mem_try_calloc(1, sizeof *body);
    if (body == NULL) {
        close(file->fd);
        return NULL;
    }
    body->fd = file->fd;
    body->offset = file->offset;
    body->unread = body->unsent = file->bytes;
    return body;
}

static void filebody_free(struct qv_net_job *job)
{
    struct qv_filebody *body = job->arg;
    qv_buf_close(&body->chunk);
    qv_mem_free(body);
}

/* It may be the last of a deleted file. */
static void filebody_run_close(struct qv_net_job *job)
{
    struct qv_filebody *body = job->arg;
    close(body->fd);
}

static void filebody_end(struct qv_filebody *body)
{
    body->job = (struct qv_net_job){.run = filebody_run_close, .done = filebody_free, .arg = body};
    qv_net_core_offload(body->core, &body->job);
}

static void filebody_run_read(struct qv_net_job *job)
{
    struct qv_filebody *body = job->arg;
    size_t want =
        body->unread < QV_FILEBODY_CHUNK_BYTES ? (size_t)body->unread : QV_FILEBODY_CHUNK_BYTES;
    uint8_t *p = qv_buf_reserve(&body->chunk, want);
    if (p == NULL) {
        body->job_err = QV_ENOMEM;
        return;
    }
    while (body->chunk.len < want) {
        ssize_t n = pread(body->fd, p + body->chunk.len, want - body->chunk.len,
                          (off_t)(body->offset + body->chunk.len));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            body->job_err = n == 0 ? QV_EEOF : qv_err_from_errno(errno);
            return;
        }
        body->chunk.len += (size_t)n;
    }
}

static void filebody_read(struct qv_net_job *job)
{
    struct qv_filebody *body = job->arg;
    body->busy = false;
    body->err = body->job_err;
    if (body->call == NULL) {
        filebody_end(body);
        return;
    }
    if (body->err != 0) {
        QV_ERROR("net", "a file for %s ends %llu bytes early: %s", body->call->pub.peer,
                 (unsigned long long)body->unread,
                 body->err == QV_EEOF ? "it is shorter than was said" : qv_err_text(body->err));
        qv_buf_clear(&body->chunk);
    }
    body->offset += body->chunk.len;
    body->unread -= body->chunk.len;
    qv_conn_file_ready(body->call);
}

void qv_filebody_pull(struct qv_filebody *body, struct qv_call_priv *call)
{
    body->call = call;
    body->core = call->core;
    if (body->busy || body->err != 0 || body->unread == 0 || body->chunk.len > body->sent_bytes)
        return;
    qv_buf_clear(&body->chunk);
    body->sent_bytes = 0;
    body->busy = true;
    body->job = (struct qv_net_job){.run = filebody_run_read, .done = filebody_read, .arg = body};
    qv_net_core_offload(body->core, &body->job);
}

struct qv_bytes qv_filebody_ready(const struct qv_filebody *body)
{
    if (body->busy || body->chunk.len == body->sent_bytes)
        return (struct qv_bytes){0};
    return (struct qv_bytes){body->chunk.data + body->sent_bytes,
                             body->chunk.len - body->sent_bytes};
}

void qv_filebody_took(struct qv_filebody *body, size_t n)
{
    QV_ASSERT(!body->busy && n <= body->chunk.len - body->sent_bytes && n <= body->unsent);
    body->sent_bytes += n;
    body->unsent -= n;
    qv_filebody_pull(body, body->call);
}

void qv_filebody_release(struct qv_filebody **pbody, struct qv_net_core *core)
{
    struct qv_filebody *body = *pbody;
    *pbody = NULL;
    if (body == NULL)
        return;
    body->core = core;
    body->call = NULL;
    if (!body->busy)
        filebody_end(body);
}
