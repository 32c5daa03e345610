/* Feeds: the tail of a shard's changes in memory, the rest of them from the log.
 *
 * The tail is a list of records, the newest last; `tail_from` is the position before its first. It
 * is noted when a group has been applied, and cut at its old end when it grows beyond its bound, so
 * it never waits for a subscriber. Who is at or above tail_from is served by the owner; who is
 * below by a job that reads the log, at most what was applied when it began.
 *
 * Invariants
 *  1. The tail holds every change of the shard in (tail_from, applied_lsn], in order.
 *  2. The log is held at `confirmed` while anything of the shard lies above it: whatever a take may
 *     ask for is in the log. Where nothing lies above it, what comes will.
 *  3. s->wait_feeds is in the order of its positions: answers leave it from the front. */
#include "shard/shard_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdio.h>
#include <string.h>

#define MEMORY_BYTES ((size_t)4 << 20)
#define READ_BYTES                                                                                 \
    ((size_t)1 << 20) /* of the log in one job: most of it may be of other shards                  \
                       */
#define JOB_ARENA_BYTES ((size_t)1 << 30)

struct tail_entry {
    struct tail_entry *next;
    struct qv_batch_record rec; /* body: bytes */
    uint8_t bytes[];
};

struct qv_feed {
    struct qv_shard *shard;
    struct qv_feed *next;
    struct qv_key_set *keys; /* NULL: all */
    void (*late)(void *arg, int err);
    void *arg;
    struct tail_entry *first, **last;
    size_t tail_bytes, tail_bytes_max;
    qv_lsn tail_from;
    qv_lsn confirmed;
    qv_lsn floor; /* nothing of the shard that it may be asked for lies below */
    bool required;
    bool told_late;
    uint64_t timeout_ns;
    struct qv_timer timer;
    /* a take */
    struct qv_feed_take *take;
    bool stop;    /* it is to end with QV_ECANCELED */
    bool posted;  /* task */
    bool reading; /* job */
    bool closed;  /* freed when neither is under way */
    int take_err;
    struct qv_task task;
    struct qv_job job;
    struct qv_log_read cursor;
    struct qv_arena arena; /* of the job */
};

static void step(struct qv_feed *f);

qv_lsn qv_shard_position(const struct qv_shard *s)
{
    return s->applied_lsn;
}

/* ---- the tail ---- */

static void tail_pop(struct qv_feed *f)
{
    struct tail_entry *e = f->first;
    f->tail_from = e->rec.position;
    f->tail_bytes -= sizeof *e + e->rec.body.n;
    f->first = e->next;
    if (f->first == NULL)
        f->last = &f->first;
    qv_mem_free(e);
}

static void tail_clear(struct qv_feed *f, qv_lsn from)
{
    while (f->first != NULL)
        tail_pop(f);
    f->tail_from = from;
}

static void tail_add(struct qv_feed *f, const struct qv_group *g)
{
    const size_t n = sizeof g->count + g->bytes.n;
    struct tail_entry *e = n <= f->tail_bytes_max ? qv_mem_try_alloc(sizeof *e + n) : NULL;
    if (e == NULL) { /* from the log then */
        tail_clear(f, g->end);
        return;
    }
    memcpy(e->bytes, &g->count, sizeof g->count);
    memcpy(e->bytes + sizeof g->count, g->bytes.p, g->bytes.n);
    e->next = NULL;
    e->rec = (struct qv_batch_record){.kind = g->stream != 0 ? g->kind : QV_BODY_CHANGES,
                                      .generation = g->generation,
                                      .version = g->version,
                                      .position = g->end,
                                      .body = {e->bytes, n}};
    *f->last = e;
    f->last = &e->next;
    f->tail_bytes += sizeof *e + n;
    while (f->tail_bytes > f->tail_bytes_max)
        tail_pop(f);
}

void qv_feed_note(struct qv_shard *s, const struct qv_group *g)
{
    if (g->stream != 0)
        qv_stream_cover(s, g->stream, g->position);
    for (struct qv_feed *f = s->feeds; f != NULL; f = f->next) {
        if (g->count > 0)
            tail_add(f, g);
        step(f);
    }
}

/* ---- a take ---- */

static void task_run(struct qv_task *task);

static void end_take(struct qv_feed *f, int err)
{
    f->take_err = err;
    f->posted = true;
    f->task = (struct qv_task){.run = task_run, .arg = f};
    qv_env_post(f->shard->env, &f->task);
}

static void take_tail(struct qv_feed *f)
{
    struct qv_feed_take *t = f->take;
    int err = 0;
    t->to = t->from;
    qv_arena_init(&f->arena, JOB_ARENA_BYTES);
    for (const struct tail_entry *e = f->first; e != NULL && err == 0; e = e->next) {
        if (e->rec.position <= t->from)
            continue;
        if (t->records > 0 && t->bytes.len + e->rec.body.n > t->bytes_max)
            break;
        const size_t before = t->bytes.len;
        err = qv_batch_put_some(&t->bytes, &e->rec, f->keys, &f->arena, &t->msg);
        t->records += t->bytes.len != before;
        t->to = e->rec.position;
    }
    qv_arena_close(&f->arena);
    end_take(f, err != 0 ? err : t->bytes.failed ? QV_ENOMEM : 0);
}

/* One record of the log, on a worker. */
static int read_record(void *arg, const struct qv_log_record *rec, struct qv_bytes change,
                       qv_lsn lsn_end)
{
    struct qv_feed *f = arg;
    struct qv_feed_take *t = f->take;
    struct qv_logged logged;
    if (t->records > 0 && t->bytes.len + change.n > t->bytes_max)
        return QV_EBUSY;
    int err = qv_logged_decode(rec->type, change, &logged, &t->msg);
    if (err != 0 || logged.kind == QV_BODY_NONE)
        return err;
    const struct qv_batch_record out = {.kind = logged.kind,
                                        .generation = rec->generation,
                                        .version = rec->version,
                                        .prev_clock = rec->prev_clock,
                                        .position = lsn_end,
                                        .body = logged.body};
    const size_t before = t->bytes.len;
    err = qv_batch_put_some(&t->bytes, &out, f->keys, &f->arena, &t->msg);
    t->records += t->bytes.len != before;
    return err != 0 ? err : t->bytes.failed ? QV_ENOMEM : 0;
}

static void read_run(struct qv_job *job, unsigned worker)
{
    struct qv_feed *f = job->arg;
    (void)worker;
    qv_arena_init(&f->arena, JOB_ARENA_BYTES);
    const size_t bytes = f->take->bytes_max > READ_BYTES ? f->take->bytes_max : READ_BYTES;
    f->take_err =
        qv_log_read_step(f->shard->env->disk, &f->cursor, bytes, read_record, f, &f->take->msg);
    qv_arena_close(&f->arena);
}

static void read_done(struct qv_job *job)
{
    struct qv_feed *f = job->arg;
    struct qv_feed_take *t = f->take;
    struct qv_store *st = f->shard->store;
    bool full = f->take_err == QV_EBUSY;
    f->reading = false;
    t->to = f->cursor.from;
    if ((f->take_err != 0 && !full) || full || t->records > 0 || t->to >= f->shard->applied_lsn ||
        f->stop)
        end_take(f, full ? 0 : f->take_err);
    else
        step(f); /* nothing of it concerns the keys: on */
    qv_store_shard_step(st);
}

static void take_log(struct qv_feed *f, qv_lsn from)
{
    struct qv_shard *s = f->shard;
    f->cursor.shard = s->number;
    f->cursor.from = from;
    f->cursor.to = s->applied_lsn;
    int err = qv_log_read_find(s->store->log, &f->cursor);
    if (err == 0) {
        f->job = (struct qv_job){.run = read_run, .done = read_done, .arg = f};
        err = qv_env_submit(s->env, QV_JOB_IO, &f->job);
        f->reading = err == 0;
    } else if (err == QV_ENOTFOUND || err == QV_EEOF) {
        err = qv_fail(&f->take->msg, QV_ESTALE, "the log does not reach back to the position");
    }
    if (err != 0)
        end_take(f, err);
}

static void step(struct qv_feed *f)
{
    struct qv_shard *s = f->shard;
    struct qv_feed_take *t = f->take;
    if (t == NULL || f->posted || f->reading)
        return;
    qv_lsn from = t->to > t->from ? t->to : t->from;
    if (f->stop || s->store->closing || atomic_load(&s->state) != QV_SHARD_OPEN) {
        end_take(f, f->stop && t->to > t->from ? 0 : f->stop ? QV_ECANCELED : QV_EUNAVAILABLE);
        return;
    }
    if (from < f->confirmed) {
        end_take(f, qv_fail(&t->msg, QV_ESTALE, "more than that was confirmed"));
        return;
    }
    if (from >= s->applied_lsn)
        return; /* when there is more */
    if (from >= f->tail_from && t->records == 0)
        take_tail(f);
    else
        take_log(f, from > f->floor ? from : f->floor);
}

static void free_feed(struct qv_feed *f)
{
    struct qv_feed **link = &f->shard->feeds;
    while (*link != f)
        link = &(*link)->next;
    *link = f->next;
    tail_clear(f, 0);
    qv_mem_free(f->keys);
    qv_mem_free(f);
}

static void task_run(struct qv_task *task)
{
    struct qv_feed *f = task->arg;
    struct qv_feed_take *t = f->take;
    struct qv_store *st = f->shard->store;
    f->posted = false;
    f->take = NULL;
    int err = f->closed ? QV_ECANCELED : f->take_err;
    f->stop = false;
    if (f->closed)
        free_feed(f);
    t->done(t, err);
    qv_store_shard_step(st);
}

void qv_feed_take(struct qv_feed *f, struct qv_feed_take *t)
{
    QV_ASSERT(f->take == NULL && !f->closed);
    t->to = 0;
    t->records = 0;
    t->msg.text[0] = '\0';
    qv_batch_begin(&t->bytes);
    f->stop = false;
    f->take = t;
    step(f);
}

void qv_feed_stop_taking(struct qv_feed *f)
{
    if (f->take == NULL)
        return;
    f->stop = true;
    step(f);
}

/* ---- confirmations ---- */

bool qv_feed_lacks(const struct qv_shard *s, qv_lsn position)
{
    for (const struct qv_feed *f = s->feeds; f != NULL; f = f->next) {
        if (f->required && f->confirmed < position)
            return true;
    }
    return false;
}

static void late_run(struct qv_timer *timer);

static void start_timers(struct qv_shard *s)
{
    const struct qv_write *w = s->wait_feeds;
    if (w == NULL)
        return;
    const uint64_t waited = qv_env_mono_ns(s->env) - w->feed_ns;
    for (struct qv_feed *f = s->feeds; f != NULL; f = f->next) {
        if (!f->required || f->timeout_ns == 0 || f->told_late || f->confirmed >= w->feed_pos ||
            qv_env_timer_active(&f->timer))
            continue;
        f->timer = (struct qv_timer){.run = late_run, .arg = f};
        qv_env_timer_start(s->env, &f->timer, waited < f->timeout_ns ? f->timeout_ns - waited : 0);
    }
}

static void late_run(struct qv_timer *timer)
{
    struct qv_feed *f = timer->arg;
    struct qv_shard *s = f->shard;
    const struct qv_write *w = s->wait_feeds;
    if (w == NULL || !f->required || f->confirmed >= w->feed_pos)
        return;
    if (qv_env_mono_ns(s->env) - w->feed_ns < f->timeout_ns) {
        start_timers(s);
        return;
    }
    f->told_late = true;
    if (f->late != NULL)
        f->late(f->arg, QV_ETIMEOUT);
}

void qv_feed_wait(struct qv_write *w)
{
    struct qv_shard *s = w->shard;
    w->next = NULL;
    w->feed_ns = qv_env_mono_ns(s->env);
    *s->wait_feeds_tail = w;
    s->wait_feeds_tail = &w->next;
    start_timers(s);
}

static struct qv_write *pop_wait(struct qv_shard *s)
{
    struct qv_write *w = s->wait_feeds;
    s->wait_feeds = w->next;
    if (s->wait_feeds == NULL)
        s->wait_feeds_tail = &s->wait_feeds;
    w->next = NULL;
    return w;
}

/* Answers whoever waits no more. */
static void answer_waits(struct qv_shard *s)
{
    while (s->wait_feeds != NULL && !qv_feed_lacks(s, s->wait_feeds->feed_pos))
        qv_shard_settle_confirmed(pop_wait(s));
    for (struct qv_feed *f = s->feeds; f != NULL; f = f->next) {
        if (s->wait_feeds == NULL || f->confirmed >= s->wait_feeds->feed_pos)
            f->told_late = false;
    }
    start_timers(s);
    qv_shard_pump(s);
    qv_store_shard_step(s->store);
}

void qv_feed_fail_waits(struct qv_shard *s, const char *why)
{
    while (s->wait_feeds != NULL) {
        struct qv_write *w = pop_wait(s);
        if (w->err == 0)
            w->failed_op = 0;
        w->err =
            qv_fail(&w->msg, QV_EUNKNOWN,
                    "the change is stored here, its next holder has not confirmed it (%.200s): "
                    "outcome unknown",
                    why);
        qv_shard_finish_write(w);
    }
}

void qv_feed_confirm(struct qv_feed *f, qv_lsn to)
{
    if (to <= f->confirmed || to > f->shard->applied_lsn) /* more than there is: not of this feed */
        return;
    f->confirmed = to;
    answer_waits(f->shard);
}

qv_lsn qv_feed_confirmed(const struct qv_feed *f)
{
    return f->confirmed;
}

void qv_feed_require(struct qv_feed *f, bool required, uint64_t timeout_ns)
{
    f->required = required;
    f->timeout_ns = timeout_ns;
    f->told_late = false;
    qv_env_timer_stop(f->shard->env, &f->timer);
    answer_waits(f->shard);
}

/* ---- life ---- */

int qv_feed_open(struct qv_shard *s, const struct qv_feed_config *config, struct qv_feed **out,
                 struct qv_errmsg *msg)
{
    const struct qv_store *st = s->store;
    const qv_lsn kept = st->release_running ? st->releasing : st->released;
    *out = NULL;
    if (st->closing || atomic_load(&s->state) != QV_SHARD_OPEN)
        return qv_fail(msg, QV_EUNAVAILABLE, "the shard is not in service");
    /* Above its checkpoint nothing of the shard's was ever released. */
    if ((config->from < kept && config->from < s->checkpoint_lsn) || config->from > s->applied_lsn)
        return qv_fail(msg, QV_ESTALE, "the log does not reach back to the position");
    struct qv_feed *f = qv_mem_calloc(1, sizeof *f);
    f->shard = s;
    f->late = config->late;
    f->arg = config->arg;
    f->confirmed = config->from;
    f->floor = kept;
    f->tail_from = s->applied_lsn;
    f->tail_bytes_max = config->memory_bytes != 0 ? config->memory_bytes : MEMORY_BYTES;
    f->last = &f->first;
    f->keys = config->keys != NULL ? qv_key_set_dup(config->keys) : NULL;
    if (config->keys != NULL && f->keys == NULL) {
        qv_mem_free(f);
        return QV_ENOMEM;
    }
    f->next = s->feeds;
    s->feeds = f;
    *out = f;
    return 0;
}

void qv_feed_close(struct qv_feed **at, int err)
{
    struct qv_feed *f = *at;
    *at = NULL;
    if (f == NULL)
        return;
    struct qv_shard *s = f->shard;
    qv_env_timer_stop(s->env, &f->timer);
    if (err != 0 && f->required)
        s->handed_over = err; /* what is in the log's hands now comes too late as well */
    if (err != 0 && f->required && s->wait_feeds != NULL)
        qv_feed_fail_waits(s, qv_err_text(err));
    f->required = false;
    f->closed = true;
    f->stop = true;
    if (f->take == NULL)
        free_feed(f);
    else
        step(f); /* it goes with the end of that */
    answer_waits(s);
}

void qv_feed_end_takes(struct qv_shard *s)
{
    for (struct qv_feed *f = s->feeds; f != NULL; f = f->next)
        step(f);
}

bool qv_feed_idle(const struct qv_shard *s)
{
    bool idle = s->wait_feeds == NULL;
    for (const struct qv_feed *f = s->feeds; f != NULL; f = f->next)
        idle = idle && !f->reading && !f->posted;
    return idle;
}

qv_lsn qv_feed_needed_from(const struct qv_shard *s, qv_lsn from)
{
    for (const struct qv_feed *f = s->feeds; f != NULL; f = f->next) {
        bool all = f->closed || (f->confirmed >= s->applied_lsn && s->inflight == 0);
        if (!all && f->confirmed < from)
            from = f->confirmed;
    }
    return from;
}

void qv_feed_discard(struct qv_shard *s)
{
    while (s->feeds != NULL)
        free_feed(s->feeds);
}
