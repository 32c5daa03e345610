/* Segment files: made, given their names, recycled. The background job (`care`) does one of these
 * at a time on an IO worker; while it runs it owns care_segment and care_old. */
#include "storage/log_internal.h"

#include "base/hash.h"
#include "base/logger.h"
#include "base/mem.h"

static int spare_path(const struct qv_log *log, uint64_t n, char path[LOG_PATH_BYTES])
{
    char name[LOG_NAME_BYTES];
    log_spare_name(name, n);
    return log_path(path, log->dir, name);
}

static int segment_path(const struct qv_log *log, uint64_t seq, char path[LOG_PATH_BYTES])
{
    char name[LOG_NAME_BYTES];
    log_segment_name(name, seq);
    return log_path(path, log->dir, name);
}

void log_segment_add(struct qv_log *log, struct log_segment s)
{
    if (log->segment_n == log->segment_cap) {
        log->segment_cap = log->segment_cap == 0 ? 16 : log->segment_cap * 2;
        log->segments = qv_mem_realloc(log->segments, log->segment_cap * sizeof *log->segments);
    }
    log->segments[log->segment_n++] = s;
}

void log_spare_add(struct qv_log *log, uint64_t n)
{
    if (log->spare_n == log->spare_cap) {
        log->spare_cap = log->spare_cap == 0 ? 8 : log->spare_cap * 2;
        log->spares = qv_mem_realloc(log->spares, log->spare_cap * sizeof *log->spares);
    }
    log->spares[log->spare_n++] = n;
}

uint64_t log_spare_take(struct qv_log *log)
{
    return log->spare_n > 0 ? log->spares[--log->spare_n] : LOG_NO_SPARE;
}

static int header_write(struct qv_log *log, struct log_open_segment *s, struct qv_errmsg *msg)
{
    uint8_t *page = qv_mem_try_aligned(LOG_PAGE, LOG_PAGE);
    if (page == NULL)
        return qv_fail(msg, QV_ENOMEM, "no memory for a log page");
    memset(page, 0, LOG_PAGE);
    struct log_segment_header *h = (struct log_segment_header *)(void *)page;
    log_segment_header_make(h, log->log_id, s->seq, s->salt, s->bytes);
    s->prev_crc = h->crc;
    s->offset = LOG_PAGE;
    int err = qv_file_pwrite_full(s->file, 0, page, LOG_PAGE, msg);
    qv_mem_free(page);
    return err;
}

int log_segment_make(struct qv_log *log, struct log_open_segment *out, bool reused,
                     struct qv_errmsg *msg)
{
    char path[LOG_PATH_BYTES];
    uint64_t size = 0;
    QV_ASSERT(out->file == NULL && out->bytes % LOG_PAGE == 0);
    int err = spare_path(log, out->spare, path);
    unsigned flags = QV_OPEN_WRITE | (reused ? 0u : QV_OPEN_CREATE | QV_OPEN_TRUNC);
    if (err == 0)
        err = qv_disk_open(log->env->disk, path, flags, &out->file, msg);
    if (err == 0)
        err = qv_file_size(out->file, &size, msg);
    if (err == 0 && size != out->bytes)
        err = qv_file_truncate(out->file, 0, msg);
    if (err == 0)
        err = qv_file_allocate(out->file, 0, out->bytes, msg);
    if (err == 0)
        err = header_write(log, out, msg);
    if (err != 0) {
        int ignored = out->file != NULL ? qv_disk_unlink(log->env->disk, path, NULL) : 0;
        (void)ignored; /* it is a spare: the next open looks after it */
        qv_file_close(out->file);
        out->file = NULL;
    }
    return err;
}

/* Written anew each time: a failed try leaves the one before. */
static int newest_write(const struct qv_log *log, uint64_t seq, uint64_t current,
                        struct qv_errmsg *msg)
{
    char path[LOG_PATH_BYTES];
    struct log_newest n = {.format = LOG_FORMAT, .log_id = log->log_id};
    memcpy(n.magic, LOG_NEWEST_MAGIC, sizeof n.magic);
    n.seq = seq;
    n.current = current;
    n.crc = qv_hash_crc32c(0, &n, offsetof(struct log_newest, crc));
    int err = log_path(path, log->dir, LOG_NEWEST_NAME);
    return err != 0 ? err : qv_disk_replace_file(log->env->disk, path, &n, sizeof n, msg);
}

int log_segment_publish(struct qv_log *log, const struct log_open_segment *s, uint64_t current,
                        struct qv_errmsg *msg)
{
    char from[LOG_PATH_BYTES];
    char to[LOG_PATH_BYTES];
    int err = qv_file_sync(s->file, msg);
    if (err == 0)
        err = spare_path(log, s->spare, from);
    if (err == 0)
        err = segment_path(log, s->seq, to);
    if (err == 0)
        err = qv_disk_rename(log->env->disk, from, to, msg);
    if (err == 0)
        err = qv_disk_sync_dir(log->env->disk, log->dir, msg);
    return err == 0 ? newest_write(log, s->seq, current, msg) : err;
}

/* ---- the background job ---- */

static void prepare_run(struct qv_job *job, unsigned worker)
{
    struct qv_log *log = job->arg;
    struct log_open_segment *s = &log->care_segment;
    struct qv_errmsg *msg = &log->care_msg;
    (void)worker;
    QV_ASSERT(log->care == LOG_CARE_PREPARE);
    log->care_err = log_segment_make(log, s, log->care_spare != LOG_NO_SPARE, msg);
    if (log->care_err == 0)
        log->care_err = log_segment_publish(log, s, log->care_current, msg);
    if (log->care_err != 0) {
        qv_file_close(s->file);
        s->file = NULL;
    }
}

static void prepare_done(struct qv_job *job)
{
    struct qv_log *log = job->arg;
    log->care = LOG_CARE_NONE;
    if (log->care_err == 0) {
        log->next = log->care_segment;
        log->next_state = LOG_NEXT_READY;
        log->noted = log->next.seq;
        if (log->error != 0 && !log->closing)
            log_resumed(log);
        if (log->care_spare != LOG_NO_SPARE)
            log->stats.segments_reused++;
        else
            log->stats.segments_created++;
    } else {
        /* Its rename may have happened: the number is not used again, the file removed. */
        log->next_state = LOG_NEXT_FAILED;
        if (log->error != 0) { /* the newest reason is the one to tell */
            log->error = log->care_err;
            log->stop_msg = log->care_msg;
        }
        log_segment_add(log, (struct log_segment){.seq = log->care_segment.seq, .failed = true});
    }
    log_step(log);
}

void log_care_prepare(struct qv_log *log)
{
    QV_ASSERT(log->care == LOG_CARE_NONE && log->next_state != LOG_NEXT_READY);
    log->care_job.run = prepare_run;
    log->care_job.done = prepare_done;
    log->care_job.arg = log;
    log->care_spare = log_spare_take(log);
    log->care_segment = (struct log_open_segment){
        .seq = ++log->seq_last,
        .spare = log->care_spare != LOG_NO_SPARE ? log->care_spare : log->spare_next++,
        .bytes = log->segment_bytes,
        .salt = qv_env_random_u64(log->env),
    };
    log->care_current = log->current.file != NULL ? log->current.seq : 0;
    log->care_msg.text[0] = '\0';
    log->care = LOG_CARE_PREPARE;
    log->next_state = LOG_NEXT_NONE;
    int err = qv_env_submit(log->env, QV_JOB_LOG, &log->care_job);
    if (err == 0)
        return; /* care_err is the job's from here on */
    log->care_err = qv_fail(&log->care_msg, err, "too many jobs are waiting");
    log->care = LOG_CARE_NONE;
    log->next_state = LOG_NEXT_FAILED;
    if (log->care_spare != LOG_NO_SPARE)
        log_spare_add(log, log->care_spare);
}

static void recycle_run(struct qv_job *job, unsigned worker)
{
    struct qv_log *log = job->arg;
    struct qv_disk *disk = log->env->disk;
    char from[LOG_PATH_BYTES];
    char to[LOG_PATH_BYTES];
    (void)worker;
    QV_ASSERT(log->care == LOG_CARE_RECYCLE);
    int err = segment_path(log, log->care_old.seq, from);
    if (err == 0 && log->care_spare != LOG_NO_SPARE)
        err = spare_path(log, log->care_spare, to);
    if (err == 0)
        err = log->care_spare != LOG_NO_SPARE ? qv_disk_rename(disk, from, to, NULL)
                                              : qv_disk_unlink(disk, from, NULL);
    /* Durable before the spare's header is overwritten (invariant 1). */
    if (err == 0)
        err = qv_disk_sync_dir(disk, log->dir, NULL);
    log->care_err = err;
}

static void recycle_done(struct qv_job *job)
{
    struct qv_log *log = job->arg;
    log->care = LOG_CARE_NONE;
    if (log->care_err == 0 && log->care_spare != LOG_NO_SPARE)
        log_spare_add(log, log->care_spare);
    if (log->care_err == 0 && !log->care_old.failed && log->next_state == LOG_NEXT_FAILED)
        log->next_state = LOG_NEXT_NONE; /* there is room again */
    log_step(log);
}

bool log_care_recycle(struct qv_log *log)
{
    size_t i = 0;
    QV_ASSERT(log->care == LOG_CARE_NONE);
    /* Not before a block behind it is durable, nor while the note may name it (invariant 7). */
    while (i < log->segment_n &&
           (log->segments[i].end > log->released || log->segments[i].end == log->durable ||
            log->segments[i].seq > log->noted))
        i++;
    if (i == log->segment_n)
        return false;
    log->care_old = log->segments[i];
    bool keep = !log->care_old.failed && log->spare_n < log->spare_max;
    log->care_spare = keep ? log->spare_next++ : LOG_NO_SPARE;
    log->care_job.run = recycle_run;
    log->care_job.done = recycle_done;
    log->care_job.arg = log;
    log->care = LOG_CARE_RECYCLE;
    if (qv_env_submit(log->env, QV_JOB_LOG, &log->care_job) != 0) {
        log->care = LOG_CARE_NONE;
        return false; /* it stays in the list: the next event tries again */
    }
    log->segment_n--;
    memmove(&log->segments[i], &log->segments[i + 1], (log->segment_n - i) * sizeof *log->segments);
    return true;
}
