/* The owner's side of a write: in arrival order, stamped, logged, applied, answered.
 *
 * Writes of a shard wait in one queue. The first one's ops are stamped and appended as fast as the
 * log takes them; an op that depends on the present state waits until everything before it is
 * applied (and then a filter is resolved by a job while the queue stands still, so that what it
 * finds is what it changes). Groups are applied in log order. */
#include "shard/prepare.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdio.h>
#include <string.h>

struct qv_scan { /* a filter being resolved for the first waiting write */
    struct qv_job job;
    struct qv_shard *shard;
    struct qv_write *write;
    struct qv_matching matching;
    int err;
};

void qv_shard_finish_write(struct qv_write *w)
{
    struct qv_shard *s = w->shard;
    struct qv_store *st = s->store;
    QV_ASSERT(st->waiting_bytes >= w->bytes);
    st->waiting_bytes -= w->bytes;
    st->writes_refused += w->err == QV_ENOSPC || w->err == QV_EIO;
    st->writes_in_doubt += w->err == QV_EUNKNOWN;
    w->done(w, w->err);
}

/* All groups applied (or failed): answer now, or when those who follow have it, or the graph. */
static void settle(struct qv_write *w)
{
    struct qv_shard *s = w->shard;
    for (uint32_t i = 0; i < w->next_op; i++)
        if (w->results[i].operation_id == 0)
            w->results[i].operation_id = s->applied_lsn; /* it changed nothing */
    w->feed_pos = s->applied_lsn;                        /* what it changed, and what it saw */
    if (s->handed_over != 0 && w->begun && w->err == 0)
        w->err = qv_fail(&w->msg, QV_EUNKNOWN,
                         "the shard has gone to another node meanwhile: outcome unknown");
    if (s->feeds != NULL && (w->begun || w->err == 0) && qv_feed_lacks(s, w->feed_pos))
        qv_feed_wait(w);
    else
        qv_shard_settle_confirmed(w);
}

void qv_shard_settle_confirmed(struct qv_write *w)
{
    struct qv_shard *s = w->shard;
    if (w->err == 0 && w->req->wait) {
        uint64_t low = atomic_load_explicit(&s->pending.low, memory_order_relaxed);
        w->wait_pos = atomic_load_explicit(&s->pending.high, memory_order_relaxed);
        for (uint32_t i = 0; i < w->req->op_count; i++)
            w->results[i].completed = true;
        if (low < w->wait_pos) {
            w->next = NULL;
            *s->wait_index_tail = w;
            s->wait_index_tail = &w->next;
            return;
        }
    }
    qv_shard_finish_write(w);
}

void qv_shard_indexed(struct qv_shard *s)
{
    uint64_t low = atomic_load_explicit(&s->pending.low, memory_order_relaxed);
    while (s->wait_index != NULL && s->wait_index->wait_pos <= low) {
        struct qv_write *w = s->wait_index;
        s->wait_index = w->next;
        if (s->wait_index == NULL)
            s->wait_index_tail = &s->wait_index;
        qv_shard_finish_write(w);
    }
    qv_shard_pump(s);
}

/* The graph will not come to them: their changes are durable and visible all the same. */
void qv_shard_end_index_waits(struct qv_shard *s)
{
    while (s->wait_index != NULL) {
        struct qv_write *w = s->wait_index;
        s->wait_index = w->next;
        if (s->wait_index == NULL)
            s->wait_index_tail = &s->wait_index;
        for (uint32_t i = 0; i < w->req->op_count; i++)
            w->results[i].completed = false;
        qv_shard_finish_write(w);
    }
}

static void pop_waiting(struct qv_shard *s)
{
    struct qv_write *w = s->waiting;
    s->waiting = w->next;
    if (s->waiting == NULL)
        s->waiting_tail = &s->waiting;
    w->next = NULL;
    w->stamped = true;
    if (w->groups_open == 0)
        settle(w);
}

static void fail_first(struct qv_shard *s, int err)
{
    struct qv_write *w = s->waiting;
    if (w->err == 0) { /* an op before this one may have failed in the log already */
        w->err = err;
        w->failed_op = w->next_op;
    }
    pop_waiting(s);
}

void qv_shard_fail_waiting(struct qv_shard *s, int err, const char *why)
{
    while (s->waiting != NULL) {
        if (s->scan != NULL && s->scan->write == s->waiting)
            return; /* its job still uses it; the rest follows when it is done */
        snprintf(s->waiting->msg.text, sizeof s->waiting->msg.text, "%s", why);
        fail_first(s, err);
    }
}

/* ---- the log ---- */

void qv_shard_applied(struct qv_shard *s, const struct qv_group *g)
{
    QV_ASSERT(g->end > s->applied_lsn);
    s->applied_lsn = g->end;
    qv_feed_note(s, g);
}

/* The record is durable: it is applied now, or when the disk allows it, or by the next start. */
int qv_shard_take_over(struct qv_group *g, struct qv_errmsg *msg)
{
    struct qv_shard *s = g->shard;
    struct qv_errmsg why = {""};
    bool stopped = atomic_load(&s->err) != 0;
    int err = stopped ? atomic_load(&s->err) : qv_shard_apply(s, g, &why);
    if (err == 0) {
        qv_shard_applied(s, g);
        return 0;
    }
    if (err == QV_ECORRUPT)
        qv_shard_quarantine(s, err, why.text);
    else if (!stopped || s->heal.since_ns != 0)
        qv_shard_stall_group(s, g, err, why.text[0] != '\0' ? why.text : qv_err_text(err));
    return qv_fail(msg, QV_EUNKNOWN,
                   "the change is in the log but could not be applied (%.300s): outcome unknown",
                   s->reason);
}

static int not_logged(const struct qv_group *g, int err, struct qv_errmsg *msg)
{
    struct qv_shard *s = g->shard;
    const char *reason = qv_log_reason(s->store->log);
    bool part = g->write->results[g->op].operation_id != 0;
    s->prev_clock = s->logged_clock; /* the chain goes on behind what is there */
    if (err == QV_EUNKNOWN)
        return qv_fail(msg, err, "the log could not be written (%.300s): outcome unknown",
                       reason[0] != '\0' ? reason : qv_err_text(QV_EIO));
    return qv_fail(msg, err, "the log takes no writes: %.300s%s",
                   reason[0] != '\0' ? reason : qv_err_text(err),
                   part ? "; of this operation a part was stored" : "");
}

static void group_done(struct qv_log_waiter *waiter, int err)
{
    struct qv_group *g = waiter->arg;
    struct qv_write *w = g->write;
    struct qv_shard *s = g->shard;
    struct qv_errmsg msg = {""};
    s->inflight--;
    s->inflight_rows -= g->count;
    w->groups_open--;
    if (err == 0) {
        s->logged_clock = g->version.clock;
        err = qv_shard_take_over(g, &msg);
        if (err == 0)
            w->results[g->op].operation_id = g->end;
    } else {
        err = not_logged(g, err, &msg);
    }
    if (err != 0 && (w->err == 0 || g->op < w->failed_op)) {
        w->failed_op = g->op;
        w->err = err;
        w->msg = msg;
    } else if (err == QV_EUNKNOWN && g->op == w->failed_op) {
        w->err = err; /* of one operation's parts the least certain counts */
        w->msg = msg;
    }
    if (w->stamped && w->groups_open == 0)
        settle(w);
    qv_shard_index_step(s);
    qv_shard_pump(s);
    qv_store_shard_step(s->store);
}

#define CLOCK_AHEAD ((uint64_t)1000 << QV_CLOCK_COUNTER_BITS)

void qv_shard_reserve_clock(struct qv_store *st, uint64_t clock)
{
    if (clock + CLOCK_AHEAD / 2 > st->clock_reserved) {
        st->clock_reserved = clock + CLOCK_AHEAD;
        qv_log_reserve_clock(st->log, st->clock_reserved);
    }
}

static void stamp(struct qv_shard *s, struct qv_group *g)
{
    struct qv_store *st = s->store;
    g->version = qv_clock_tick(&st->clock, qv_env_wall_ns(s->env) / QV_NS_PER_MS);
    qv_shard_reserve_clock(st, g->version.clock);
}

static int refused_by_log(struct qv_shard *s, int err, size_t bytes, struct qv_errmsg *msg)
{
    struct qv_log *log = s->store->log;
    if (err == QV_EBUSY)
        return err;
    if (err == QV_ETOOBIG)
        return qv_fail(msg, err,
                       "a change of %zu bytes does not fit into a segment of the log "
                       "(storage.log.segment_mb)",
                       bytes);
    return qv_fail(msg, err, "the log takes no writes: %.300s",
                   qv_log_error(log) != 0 ? qv_log_reason(log) : qv_err_text(err));
}

static int log_group(struct qv_shard *s, struct qv_group *g, struct qv_errmsg *msg)
{
    /* the groups under way take their slots only when they are applied */
    int err = qv_shard_reserve(s, (uint32_t)s->inflight_rows + g->count, msg);
    if (err != 0)
        return err;
    stamp(s, g);
    g->generation = s->generation;
    struct qv_log_record rec = {.shard = s->number,
                                .generation = g->generation,
                                .version = g->version,
                                .prev_clock = s->prev_clock,
                                .type = QV_RECORD_TYPE_CHANGES};
    uint32_t count = g->count;
    struct qv_bytes parts[2] = {{(const uint8_t *)&count, sizeof count}, g->bytes};
    err = qv_log_append(s->store->log, &rec, parts, 2, &g->end);
    if (err != 0)
        return refused_by_log(s, err, g->bytes.n, msg);
    s->prev_clock = g->version.clock;
    s->inflight++;
    s->inflight_rows += g->count;
    g->write->groups_open++;
    g->write->begun = true;
    g->waiter.done = group_done;
    g->waiter.arg = g;
    qv_log_commit(s->store->log, &g->waiter);
    return 0;
}

/* ---- conditional ops ---- */

static void scan_run(struct qv_job *job, unsigned worker)
{
    struct qv_scan *scan = job->arg;
    struct qv_write *w = scan->write;
    const struct qv_write_op *op = &w->req->ops[w->next_op];
    struct qv_prepared *p = &w->prepared[w->next_op];
    const struct qv_stop *stop = w->begun ? NULL : w->req->stop; /* begun is ended */
    if (p->changes != NULL) {
        const struct qv_count_req req = {.filter = op->update_filter, .opts = {.stop = stop}};
        scan->err = qv_condition_check(scan->shard, worker, &req, p, &w->msg);
    } else {
        const struct qv_count_req req = {.filter = op->select.filter, .opts = {.stop = stop}};
        scan->err =
            qv_shard_matching(scan->shard, worker, w->arena, &req, &scan->matching, &w->msg);
    }
}

static void scan_done(struct qv_job *job)
{
    struct qv_scan *scan = job->arg;
    struct qv_shard *s = scan->shard;
    struct qv_write *w = scan->write;
    struct qv_prepared *p = &w->prepared[w->next_op];
    QV_ASSERT(s->waiting == w && s->scan == scan);
    s->scan = NULL;
    p->checked = true;
    if (p->changes == NULL) {
        qv_shard_own_ids(s, &scan->matching);
        p->ids = scan->matching.ids;
        p->id_count = scan->matching.count;
        p->has_ids = true;
    }
    int err = scan->err;
    qv_mem_free(scan);
    if (err != 0)
        fail_first(s, err);
    qv_shard_pump(s);
    qv_store_shard_step(s->store);
}

static int start_scan(struct qv_shard *s, struct qv_write *w)
{
    struct qv_scan *scan = qv_mem_calloc(1, sizeof *scan);
    scan->job = (struct qv_job){.run = scan_run, .done = scan_done, .arg = scan};
    scan->shard = s;
    scan->write = w;
    int err = qv_env_submit(s->env, QV_JOB_INTERACTIVE, &scan->job);
    if (err != 0) {
        qv_mem_free(scan);
        return qv_fail(&w->msg, QV_EBUSY, "too many requests are waiting");
    }
    s->scan = scan;
    return 0;
}

enum step { STEP_ON, STEP_WAIT, STEP_FAILED };

static enum step resolve(struct qv_shard *s, struct qv_write *w, int *err)
{
    struct qv_prepared *p = &w->prepared[w->next_op];
    if (s->inflight > 0)
        return STEP_WAIT;
    const struct qv_write_op *op = &w->req->ops[w->next_op];
    bool known = p->changes != NULL ? op->update_filter == NULL || p->checked : p->has_ids;
    if (!known) {
        *err = start_scan(s, w);
        return *err == 0 ? STEP_WAIT : STEP_FAILED;
    }
    size_t before = w->bytes;
    *err = qv_prepare_resolve(s, w, w->next_op);
    s->store->waiting_bytes += w->bytes - before;
    p->conditional = false;
    return *err == 0 ? STEP_ON : STEP_FAILED;
}

/* The configuration has changed since the write was prepared: are its vectors still there? */
static int check_vectors(const struct qv_shard *s, const struct qv_group *g, struct qv_errmsg *msg)
{
    const struct qv_collection_config *now =
        atomic_load(&((struct qv_shard *)(uintptr_t)s)->config);
    for (uint32_t i = 0; i < g->count && g->write->config != now; i++) {
        for (uint32_t k = 0; k < g->changes[i].part_count; k++) {
            const struct qv_part *part = &g->changes[i].parts[k];
            if (part->kind == QV_PART_VECTOR && qv_config_vector_name(now, part->number).p == NULL)
                return qv_fail(msg, QV_EINVAL,
                               "Not existing vector name error: one was dropped meanwhile");
        }
    }
    return 0;
}

bool qv_shard_must_slow(const struct qv_shard *s)
{
    if (qv_shard_pending(s) + s->inflight_rows >= s->store->config.unindexed_max &&
        qv_shard_pending(s) > 0)
        return true; /* to the pace of the graph */
    return s->inflight_rows >= QV_PENDING_RING / 4;
}

static enum step advance(struct qv_shard *s, struct qv_write *w, int *err)
{
    struct qv_prepared *p = &w->prepared[w->next_op];
    if (p->conditional) {
        *err = qv_shard_check_op(s, &w->req->ops[w->next_op], &w->msg);
        if (*err != 0)
            return STEP_FAILED;
        enum step step = resolve(s, w, err);
        if (step != STEP_ON)
            return step;
    }
    while (p->groups != NULL) {
        if (qv_shard_must_slow(s))
            return STEP_WAIT;
        *err = check_vectors(s, p->groups, &w->msg);
        if (*err == 0)
            *err = qv_shard_check_keys(s, p->groups, &w->msg);
        if (*err == 0)
            *err = log_group(s, p->groups, &w->msg);
        if (*err == QV_EBUSY) {
            s->store->log_full = true;
            return STEP_WAIT;
        }
        if (*err != 0)
            return STEP_FAILED;
        p->groups = p->groups->next;
    }
    w->next_op++;
    return STEP_ON;
}

/* Why it takes no writes; 0: it does. Damage is no fault of the request's: as for reads. */
static int refusal(const struct qv_shard *s)
{
    const int err = atomic_load(&s->err);
    return err == QV_ECORRUPT ? QV_EUNAVAILABLE : err;
}

void qv_shard_pump(struct qv_shard *s)
{
    qv_replay_pump(s);
    while (s->waiting != NULL && s->scan == NULL) {
        struct qv_write *w = s->waiting;
        int err = refusal(s);
        if (err == 0 && w->err == 0 && !w->begun)
            w->err = qv_stop_ask(w->req->stop, &w->msg);
        if (err != 0 || w->err != 0) {
            if (w->err == 0)
                qv_fail(&w->msg, err, "the shard takes no writes: %s", s->reason);
            fail_first(s, w->err != 0 ? w->err : err);
            continue;
        }
        if (w->next_op == w->req->op_count) {
            pop_waiting(s);
            continue;
        }
        enum step step = advance(s, w, &err);
        if (step == STEP_WAIT)
            return;
        if (step == STEP_FAILED)
            fail_first(s, err);
    }
}

static void submit_run(struct qv_task *task)
{
    struct qv_write *w = task->arg;
    struct qv_shard *s = w->shard;
    struct qv_store *st = s->store;
    int err = st->closing ? QV_EUNAVAILABLE : refusal(s);
    st->waiting_bytes += w->bytes;
    if (err != 0)
        qv_fail(&w->msg, err,
                st->closing ? "the node is shutting down" : "the shard takes no writes: %s",
                s->reason);
    else if (atomic_load(&s->state) == QV_SHARD_DROPPING)
        err = qv_shard_gone(s, &w->msg);
    else if (st->waiting_bytes > st->config.pending_bytes_max)
        err = qv_fail(&w->msg, QV_EBUSY, "too many writes are waiting");
    if (err != 0) {
        w->err = err;
        qv_shard_finish_write(w);
        return;
    }
    *s->waiting_tail = w;
    s->waiting_tail = &w->next;
    qv_shard_pump(s);
}

void qv_write_submit(struct qv_write *w)
{
    w->task = (struct qv_task){.run = submit_run, .arg = w};
    qv_env_post(w->shard->env, &w->task);
}

/* ---- the log's records ---- */

static int check_rows(const struct qv_shard *s, const struct qv_part *parts, uint32_t count,
                      struct qv_errmsg *msg)
{
    for (uint32_t k = 0; k < count; k++) {
        const struct qv_part *part = &parts[k];
        int v = part->kind == QV_PART_VECTOR ? qv_shard_vector_index(s, part->number) : -1;
        if (v >= 0 && part->state == QV_PART_INLINE &&
            part->value.n != 6 + (size_t)s->vectors[v].row_bytes)
            return qv_fail(msg, QV_ECORRUPT, "a record: a vector of %zu bytes", part->value.n);
        if (part->state == QV_PART_IN_ROW)
            return qv_fail(msg, QV_ECORRUPT, "a record: a vector that is elsewhere");
    }
    return 0;
}

static int decode_items(struct qv_shard *s, struct qv_arena *arena, struct qv_rd *rd,
                        struct qv_group *g, struct qv_errmsg *msg)
{
    int err = 0;
    for (uint32_t i = 0; i < g->count && err == 0; i++) {
        struct qv_body_item item;
        err = qv_body_next(rd, g->kind, arena, &item, msg);
        if (err != 0)
            break;
        g->changes[i] = item.change;
        if (g->copies != NULL)
            g->copies[i] = item.copy;
        err = g->copies != NULL ? check_rows(s, item.copy.parts, item.copy.part_count, msg)
                                : check_rows(s, item.change.parts, item.change.part_count, msg);
    }
    if (err == 0 && qv_rd_left(rd) != 0)
        err = qv_fail(msg, QV_ECORRUPT, "a record with %zu bytes too many", qv_rd_left(rd));
    return err;
}

int qv_shard_decode_group(struct qv_shard *s, struct qv_arena *arena, uint8_t type,
                          struct qv_bytes bytes, struct qv_group *g, struct qv_errmsg *msg)
{
    struct qv_logged logged;
    int err = qv_logged_decode(type, bytes, &logged, msg);
    if (err != 0)
        return err;
    g->shard = s;
    g->stream = logged.stream;
    g->position = logged.position;
    g->kind = logged.kind;
    return qv_shard_decode_body(s, arena, logged.body, g, msg);
}

int qv_shard_decode_body(struct qv_shard *s, struct qv_arena *arena, struct qv_bytes body,
                         struct qv_group *g, struct qv_errmsg *msg)
{
    struct qv_rd rd;
    g->count = 0;
    if (g->kind == QV_BODY_NONE)
        return 0;
    qv_rd_init(&rd, body.p, body.n);
    g->count = qv_rd_u32(&rd);
    if (rd.failed || g->count == 0 || g->count > QV_CHANGE_IDS_MAX)
        return qv_fail(msg, QV_ECORRUPT, "a record with %u changes", g->count);
    g->bytes = (struct qv_bytes){rd.p, qv_rd_left(&rd)};
    g->changes = QV_ARENA_ARRAY(arena, struct qv_change, g->count);
    g->copies = g->kind == QV_BODY_COPIES ? QV_ARENA_ARRAY(arena, struct qv_copy, g->count) : NULL;
    if (g->changes == NULL || (g->kind == QV_BODY_COPIES && g->copies == NULL))
        return QV_ENOMEM;
    return decode_items(s, arena, &rd, g, msg);
}
