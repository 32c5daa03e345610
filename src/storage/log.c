/* The running log: records gather in groups, one group at a time is written and synced.
 *
 * A group is free -> open -> sealed -> writing -> free. log_step moves whatever can move and is
 * called after every event; it never calls back. Callbacks come from write_done (in lsn order) and
 * from the posted task, with nothing of the log held on the stack but the log itself, which is only
 * ever freed from a task of its own. */
#include "storage/log_internal.h"

#include "base/logger.h"
#include "base/mem.h"

#define HEADER sizeof(struct log_block_header)
#define LSN_REFUSED UINT64_MAX        /* a waiter's: nothing of it was written */
#define LSN_IN_DOUBT (UINT64_MAX - 1) /* its write was begun and failed */

/* ---- groups ---- */

static void waiter_push(struct qv_log_waiter **head, struct qv_log_waiter **tail,
                        struct qv_log_waiter *w)
{
    w->next = NULL;
    if (*head == NULL)
        *head = w;
    else
        (*tail)->next = w;
    *tail = w;
}

static void group_release(struct qv_log *log, struct log_group *g)
{
    if (g->cap > log->group_bytes) { /* grown for one large record */
        qv_mem_free(g->buf);
        g->buf = NULL;
        g->cap = 0;
    }
    g->waiters = NULL;
    g->next = log->free;
    log->free = g;
}

/* An empty group with room for `bytes` behind its header becomes the open one. */
static int group_open(struct qv_log *log, size_t bytes)
{
    struct log_group *g = log->free;
    QV_ASSERT(log->open == NULL);
    if (g == NULL) {
        log->starved = true;
        return QV_EBUSY;
    }
    size_t need = (size_t)log_round_page(HEADER + bytes);
    if (need < log->group_bytes)
        need = log->group_bytes;
    if (g->cap < need) {
        uint8_t *buf = qv_mem_try_aligned(LOG_PAGE, need);
        if (buf == NULL)
            return QV_ENOMEM;
        qv_mem_free(g->buf);
        g->buf = buf;
        g->cap = need;
    }
    log->free = g->next;
    g->next = NULL;
    g->used = HEADER;
    g->records = 0;
    g->flags = 0;
    g->lsn = log->next_lsn;
    g->retried = false;
    QV_ASSERT(g->waiters == NULL);
    log->open = g;
    return 0;
}

static void group_seal(struct qv_log *log)
{
    struct log_group *g = log->open;
    log->open = NULL;
    log->next_lsn = g->lsn + log_round_page(g->used);
    if (log->sealed == NULL)
        log->sealed = g;
    else
        log->sealed_tail->next = g;
    log->sealed_tail = g;
}

/* ---- waiters ---- */

static void waiter_done(struct qv_log *log, struct qv_log_waiter *w)
{
    bool doubt = w->lsn == LSN_IN_DOUBT || log->error == 0;
    int err = w->lsn <= log->durable ? 0 : doubt ? QV_EUNKNOWN : log->error;
    w->done(w, err);
}

static void waiters_done(struct qv_log *log, struct qv_log_waiter *w)
{
    while (w != NULL) {
        struct qv_log_waiter *next = w->next; /* w is the caller's again once it ran */
        waiter_done(log, w);
        w = next;
    }
}

static void ready_run(struct qv_log *log)
{
    struct qv_log_waiter *w = log->ready;
    log->ready = NULL;
    waiters_done(log, w);
}

static void room_tell(struct qv_log *log)
{
    if (!log->starved || (log->free == NULL && log->error == 0))
        return;
    log->starved = false;
    if (log->room_fn != NULL)
        log->room_fn(log->room_arg);
}

static void ready_task(struct qv_task *task)
{
    struct qv_log *log = task->arg;
    log->ready_posted = false;
    ready_run(log);
    room_tell(log);
    log_step(log);
}

static void ready_post(struct qv_log *log)
{
    if (log->ready_posted)
        return;
    log->ready_posted = true;
    log->ready_task.run = ready_task;
    log->ready_task.arg = log;
    qv_env_post(log->env, &log->ready_task);
}

static void waiter_ready(struct qv_log *log, struct qv_log_waiter *w)
{
    waiter_push(&log->ready, &log->ready_tail, w);
    ready_post(log);
}

/* ---- writing ---- */

/* Gives up: everyone who waits gets err, or QV_EUNKNOWN where a write was begun. What was appended
 * and is not durable is void: what comes after a resume takes its place in the stream. */
static void log_stop(struct qv_log *log, int err, const struct qv_errmsg *why)
{
    struct qv_log_waiter *w = NULL;
    struct qv_log_waiter *tail = NULL;
    qv_lsn begun = 0; /* records below it may be on the disk */
    QV_ASSERT(err != 0 && log->writing == NULL);
    qv_fail(&log->stop_msg, err, "%s", why->text[0] != '\0' ? why->text : qv_err_text(err));
    QV_ERROR("log", "%s: writing stopped: %s", log->dir, log->stop_msg.text);
    log->stopped_ns = qv_env_mono_ns(log->env);
    log->stats.stops++;
    log->error = err;
    if (log->open != NULL)
        group_seal(log);
    while (log->sealed != NULL) {
        struct log_group *g = log->sealed;
        log->sealed = g->next;
        if (g->retried)
            begun = g->lsn + log_round_page(g->used);
        for (struct qv_log_waiter *i = g->waiters; i != NULL;) {
            struct qv_log_waiter *next = i->next;
            i->lsn = i->lsn <= begun ? LSN_IN_DOUBT : LSN_REFUSED;
            waiter_push(&w, &tail, i);
            i = next;
        }
        group_release(log, g);
    }
    log->next_lsn = log->durable;
    while (w != NULL) { /* by the task: log_step never calls back */
        struct qv_log_waiter *next = w->next;
        waiter_ready(log, w);
        w = next;
    }
    ready_post(log); /* who waits for room is to hear of it too */
}

static void current_retire(struct qv_log *log, qv_lsn end, bool failed)
{
    log_segment_add(log,
                    (struct log_segment){.seq = log->current.seq, .end = end, .failed = failed});
    qv_file_close(log->current.file);
    log->current.file = NULL;
}

static void write_run(struct qv_job *job, unsigned worker)
{
    struct qv_log *log = job->arg;
    struct log_group *g = log->writing;
    size_t n = (size_t)log_round_page(g->used);
    (void)worker;
    QV_ASSERT(n <= g->cap && log->current.offset + n <= log->current.bytes);
    struct qv_errmsg *msg = &log->write_msg;
    uint64_t begin = qv_env_mono_ns(log->env);
    log_block_seal(g->buf);
    log->write_err = qv_file_pwrite_full(log->current.file, log->current.offset, g->buf, n, msg);
    if (log->write_err == 0)
        log->write_err = qv_file_sync(log->current.file, msg);
    if (log->write_err != 0)
        QV_WARN("log", "a group goes to another segment: %s", msg->text);
    log->write_ns = qv_env_mono_ns(log->env) - begin;
}

static void write_failed(struct qv_log *log, struct log_group *g, int err)
{
    log->stats.write_failures++;
    current_retire(log, g->lsn, true);
    g->next = log->sealed;
    if (log->sealed == NULL)
        log->sealed_tail = g;
    log->sealed = g;
    bool again = g->retried;
    g->retried = true;
    if (again)
        log_stop(log, err, &log->write_msg);
}

static void write_done(struct qv_job *job)
{
    struct qv_log *log = job->arg;
    struct log_group *g = log->writing;
    struct qv_log_waiter *waiters = NULL;
    QV_ASSERT(g != NULL);
    log->writing = NULL;
    if (log->write_err != 0) {
        write_failed(log, g, log->write_err);
    } else {
        const struct log_block_header *h = (const struct log_block_header *)(const void *)g->buf;
        size_t n = (size_t)log_round_page(g->used);
        log->current.offset += n;
        log->current.prev_crc = h->body_crc;
        log->durable = g->lsn + n;
        log->clock_durable = h->clock;
        log->unsettled = log->unsettled || g->records > 0;
        if (g->records == 0)
            log->unsettled = false; /* its header says that all before it was durable */
        log->stats.bytes += n;
        log->stats.records += g->records;
        log->stats.syncs++;
        log->stats.sync_ns_last = log->write_ns;
        waiters = g->waiters;
        group_release(log, g);
    }
    log_step(log); /* the next write is under way while the callers are told */
    ready_run(log);
    waiters_done(log, waiters);
    room_tell(log);
    log_step(log);
}

static void write_start(struct qv_log *log, struct log_group *g)
{
    struct log_block_header *h = (struct log_block_header *)(void *)g->buf;
    QV_ASSERT(log->writing == NULL && log->sealed == g && g->lsn == log->durable);
    memset(h, 0, sizeof *h);
    h->salt = log->current.salt;
    h->lsn = g->lsn;
    h->durable = log->durable;
    h->clock = log->clock;
    h->bytes = (uint32_t)g->used;
    h->records = g->records;
    h->prev_crc = log->current.prev_crc;
    h->flags = g->flags;
    log->write_job.run = write_run;
    log->write_job.done = write_done;
    log->write_job.arg = log;
    log->sealed = g->next;
    g->next = NULL;
    log->writing = g;
    int err = qv_env_submit(log->env, QV_JOB_LOG, &log->write_job);
    if (err == 0)
        return;
    log->writing = NULL; /* the workers' queue is full: nothing was written, the file is fine */
    g->next = log->sealed;
    if (log->sealed == NULL)
        log->sealed_tail = g;
    log->sealed = g;
    struct qv_errmsg why;
    log_stop(log, qv_fail(&why, err, "too many jobs are waiting"), &why);
}

/* A segment that takes `need` bytes is current; otherwise one is being prepared, or the log
 * stopped. */
static bool current_ready(struct qv_log *log, const struct log_group *g, size_t need)
{
    if (log->current.file != NULL && log->current.offset + need > log->current.bytes)
        current_retire(log, g->lsn, false);
    if (log->current.file != NULL)
        return true;
    if (log->next_state == LOG_NEXT_READY) {
        log->current = log->next;
        log->next.file = NULL;
        log->next_state = LOG_NEXT_NONE;
        return true;
    }
    if (log->care == LOG_CARE_NONE && log->next_state == LOG_NEXT_FAILED && log->prepare_needed) {
        log->prepare_needed = false;
        log_stop(log, log->care_err, &log->care_msg);
    } else if (log->care == LOG_CARE_NONE) {
        log->prepare_needed = true; /* if this one fails too, writing stops */
        log_care_prepare(log);
        if (log->care == LOG_CARE_NONE)
            log_stop(log, log->care_err, &log->care_msg);
    }
    return false;
}

static void write_step(struct qv_log *log)
{
    if (log->writing != NULL || log->error != 0)
        return;
    bool wanted = log->open != NULL && (log->open->waiters != NULL || log->closing);
    if (log->sealed == NULL && wanted)
        group_seal(log);
    bool last = log->closing && log->sealed == NULL && !log->close_written;
    if (last) {
        log->close_written = true;
        bool room =
            log->current.file != NULL && log->current.offset + LOG_PAGE <= log->current.bytes;
        if (room && group_open(log, 0) == 0) {
            log->open->flags = LOG_FLAG_CLOSE;
            group_seal(log);
        }
    }
    struct log_group *g = log->sealed;
    if (g == NULL || !current_ready(log, g, (size_t)log_round_page(g->used)))
        return;
    log->prepare_needed = false;
    write_start(log, g);
}

static void care_step(struct qv_log *log)
{
    if (log->care != LOG_CARE_NONE)
        return;
    bool half = log->current.file != NULL && log->current.offset > log->current.bytes / 2;
    if (half && log->next_state == LOG_NEXT_NONE && !log->closing && log->error == 0)
        log_care_prepare(log);
    else
        (void)log_care_recycle(log);
}

static void close_task(struct qv_task *task)
{
    struct qv_log *log = task->arg;
    void (*fn)(void *arg, int err) = log->close_fn;
    void *arg = log->close_arg;
    int err = log->error;
    ready_run(log);
    log_free(log);
    if (fn != NULL)
        fn(arg, err);
}

static void close_step(struct qv_log *log)
{
    bool idle = log->writing == NULL && log->sealed == NULL && log->care == LOG_CARE_NONE &&
                !log->ready_posted;
    if (!log->closing || !idle || (log->error == 0 && !log->close_written) || log->close_posted)
        return;
    log->close_posted = true;
    log->close_task.run = close_task;
    log->close_task.arg = log;
    qv_env_post(log->env, &log->close_task);
}

void log_step(struct qv_log *log)
{
    if (log->close_posted)
        return;
    write_step(log);
    care_step(log);
    close_step(log);
}

/* ---- the interface ---- */

int qv_log_append(struct qv_log *log, const struct qv_log_record *rec, const struct qv_bytes *parts,
                  size_t part_count, qv_lsn *out)
{
    size_t change = 0;
    QV_ASSERT(!log->closing && part_count <= QV_LOG_PARTS_MAX);
    if (log->error != 0)
        return log->error;
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].n > QV_RECORD_BYTES_MAX - change)
            return QV_ETOOBIG;
        change += parts[i].n;
    }
    size_t need = log_record_bytes(change);
    if (HEADER + need > log->segment_bytes - LOG_PAGE)
        return QV_ETOOBIG;
    if (log->open != NULL && log->open->used + need > log->open->cap) {
        group_seal(log);
        log_step(log);
        if (log->error != 0)
            return log->error;
    }
    int err = log->open == NULL ? group_open(log, need) : 0;
    if (err != 0)
        return err;
    struct log_group *g = log->open;
    struct log_record_header h = {
        .change_bytes = (uint32_t)change,
        .shard = rec->shard,
        .generation = rec->generation,
        .writer = rec->version.writer,
        .clock = rec->version.clock,
        .prev_clock = rec->prev_clock,
        .type = rec->type,
    };
    uint8_t *p = g->buf + g->used;
    memcpy(p, &h, sizeof h);
    p += sizeof h;
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].n > 0)
            memcpy(p, parts[i].p, parts[i].n);
        p += parts[i].n;
    }
    memset(p, 0, need - sizeof h - change);
    g->used += need;
    g->records++;
    QV_ASSERT(g->used <= g->cap);
    if (out != NULL)
        *out = g->lsn + g->used;
    return 0;
}

/* Is the reserved clock in no block that is durable or on the way? */
static bool clock_pending(const struct qv_log *log)
{
    uint64_t written = log->clock_durable;
    if (log->writing != NULL)
        written = ((const struct log_block_header *)(const void *)log->writing->buf)->clock;
    return log->clock > written;
}

void qv_log_commit(struct qv_log *log, struct qv_log_waiter *w)
{
    QV_ASSERT(w->done != NULL && !log->closing);
    if (log->error != 0) {
        w->lsn = LSN_REFUSED;
        waiter_ready(log, w);
        return;
    }
    if (log->open == NULL && log->sealed == NULL && clock_pending(log)) {
        int err = group_open(log, 0);
        QV_ASSERT(err != QV_EBUSY); /* one may be writing, and there are at least two */
        if (err != 0) {
            w->lsn = LSN_REFUSED;
            waiter_ready(log, w);
            return;
        }
    }
    struct log_group *g = log->open != NULL     ? log->open
                          : log->sealed != NULL ? log->sealed_tail
                                                : log->writing;
    w->lsn = qv_log_end(log);
    if (g == NULL)
        waiter_ready(log, w);
    else
        waiter_push(&g->waiters, &g->waiters_tail, w);
    log_step(log);
}

void qv_log_on_room(struct qv_log *log, void (*fn)(void *arg), void *arg)
{
    log->room_fn = fn;
    log->room_arg = arg;
}

void qv_log_release(struct qv_log *log, qv_lsn lsn)
{
    QV_ASSERT(lsn <= log->durable);
    if (lsn > log->released)
        log->released = lsn;
    log_step(log);
}

void qv_log_reserve_clock(struct qv_log *log, uint64_t clock)
{
    if (clock > log->clock)
        log->clock = clock;
}

uint64_t qv_log_clock(const struct qv_log *log)
{
    return log->clock;
}

qv_lsn qv_log_end(const struct qv_log *log)
{
    if (log->open != NULL && log->open->records > 0)
        return log->open->lsn + log->open->used;
    return log->next_lsn;
}

qv_lsn qv_log_durable(const struct qv_log *log)
{
    return log->durable;
}

int qv_log_error(const struct qv_log *log)
{
    return log->error;
}

const char *qv_log_reason(const struct qv_log *log)
{
    return log->error != 0 ? log->stop_msg.text : "";
}

void log_resumed(struct qv_log *log)
{
    QV_ASSERT(log->error != 0 && log->next_state == LOG_NEXT_READY);
    QV_ASSERT(log->writing == NULL && log->sealed == NULL && log->open == NULL);
    if (log->current.file != NULL && log->current.file->failed)
        current_retire(log, log->durable, true);
    ready_run(log); /* they wait for the error */
    log->error = 0;
    log->prepare_needed = false;
    QV_INFO("log", "%s: writing goes on after %.1f s", log->dir,
            (double)(qv_env_mono_ns(log->env) - log->stopped_ns) / (double)QV_NS_PER_S);
}

void qv_log_resume(struct qv_log *log)
{
    if (log->closing || log->error == 0 || log->care != LOG_CARE_NONE)
        return;
    if (log->next_state == LOG_NEXT_READY)
        log_resumed(log);
    else
        log_care_prepare(log);
    log_step(log);
}

void qv_log_settle(struct qv_log *log)
{
    bool idle = log->error == 0 && log->writing == NULL && log->sealed == NULL &&
                log->open == NULL && !log->closing;
    if (!idle || !log->unsettled || log->current.file == NULL ||
        log->current.offset + LOG_PAGE > log->current.bytes)
        return;
    if (group_open(log, 0) == 0)
        group_seal(log);
    log_step(log);
}

void qv_log_get_stats(const struct qv_log *log, struct qv_log_stats *out)
{
    *out = log->stats;
    bool current = log->current.file != NULL;
    bool next = log->next_state == LOG_NEXT_READY;
    out->segments = log->segment_n + current;
    out->disk_bytes =
        (log->segment_n + log->spare_n + current + next) * (uint64_t)log->segment_bytes;
    out->pending_bytes = (size_t)(qv_log_end(log) - log->durable);
    out->stopped = log->error != 0;
}

void qv_log_close(struct qv_log *log, void (*done)(void *arg, int err), void *arg)
{
    QV_ASSERT(!log->closing);
    log->closing = true;
    log->close_fn = done;
    log->close_arg = arg;
    log_step(log);
}

void qv_log_abandon(struct qv_log *log)
{
    log_free(log);
}
