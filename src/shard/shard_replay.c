/* Taking another shard's changes: one batch at a time, whole or up to where the log failed.
 *
 * A batch is decoded and checked before anything of it is logged. Its records become records of
 * this shard's log, each with the stream's position behind it, so that the coverage comes back with
 * the records themselves. What is at or below the coverage is passed over: a batch may be given
 * again as often as one likes. The last record carries the batch's end, which may be further on
 * (what lay between was of other keys); without any there is a record of the position alone.
 *
 * Keys that are not kept here are taken out before the log: a replay of this node's log would bring
 * them back after they were purged. */
#include "shard/shard_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdio.h>
#include <string.h>

#define ARENA_BYTES ((size_t)1 << 30)

struct qv_replay_group {
    struct qv_group group;
    struct qv_replay *replay;
    struct qv_replay_group *next;
    struct qv_bytes body;
    uint64_t prev_clock;
};

/* ---- coverage ---- */

static struct qv_stream *find_stream(const struct qv_shard *s, uint64_t stream)
{
    for (uint32_t i = 0; i < s->stream_count; i++) {
        if (s->streams[i].stream == stream)
            return &s->streams[i];
    }
    return NULL;
}

bool qv_shard_coverage(const struct qv_shard *s, uint64_t stream, uint64_t *position)
{
    const struct qv_stream *x = find_stream(s, stream);
    *position = x != NULL ? x->position : 0;
#ifdef QV_MUTANT_TRANSFER_POSITION /* it goes on behind what it has */
    *position += x != NULL ? 200 : 0;
#endif
    return x != NULL;
}

void qv_stream_cover(struct qv_shard *s, uint64_t stream, uint64_t position)
{
    struct qv_stream *x = find_stream(s, stream);
    if (x == NULL) {
        s->streams = qv_mem_realloc(s->streams, (s->stream_count + 1) * sizeof *s->streams);
        x = &s->streams[s->stream_count++];
        *x = (struct qv_stream){stream, 0};
    }
    if (position > x->position)
        x->position = position;
}

void qv_shard_forget_stream(struct qv_shard *s, uint64_t stream)
{
    struct qv_stream *x = find_stream(s, stream);
    if (x != NULL)
        *x = s->streams[--s->stream_count];
}

/* ---- one batch ---- */

static void finish(struct qv_replay *r, int err)
{
    struct qv_shard *s = r->shard;
    QV_ASSERT(s->replays == r && r->open == 0);
    s->replays = r->next;
    if (s->replays == NULL)
        s->replays_tail = &s->replays;
    (void)qv_shard_coverage(s, r->stream, &r->covered);
    qv_arena_close(&r->arena);
    r->done(r, err);
}

/* Why nothing is taken now; 0: it is. */
static int refusal(struct qv_shard *s, struct qv_errmsg *msg)
{
    if (s->store->closing)
        return qv_fail(msg, QV_EUNAVAILABLE, "the node is shutting down");
    if (atomic_load(&s->state) == QV_SHARD_DROPPING)
        return qv_shard_gone(s, msg);
    int err = atomic_load(&s->err);
    if (err == 0)
        return 0;
    return qv_fail(msg, err == QV_ECORRUPT ? QV_EUNAVAILABLE : err, "the shard takes no writes: %s",
                   s->reason);
}

static struct qv_replay_group *add_group(struct qv_replay *r, struct qv_replay_group **last)
{
    struct qv_replay_group *x = qv_arena_calloc(&r->arena, 1, sizeof *x);
    if (x == NULL)
        return NULL;
    x->replay = r;
    x->group.shard = r->shard;
    x->group.stream = r->stream;
    x->group.position = r->to;
    x->group.version = r->shard->last_version;
    x->group.generation = r->shard->generation;
    if (*last != NULL)
        (*last)->next = x;
    else
        r->unlogged = x;
    *last = x;
    return x;
}

static int take_record(struct qv_replay *r, const struct qv_batch_record *rec,
                       struct qv_replay_group **last)
{
    struct qv_shard *s = r->shard;
    if (rec->generation > s->generation)
        return qv_fail(&r->msg, QV_EBUSY,
                       "a change of configuration %u; this node still has number %u",
                       rec->generation, s->generation);
    struct qv_replay_group *x = add_group(r, last);
    if (x == NULL)
        return QV_ENOMEM;
    x->body = rec->body;
    x->prev_clock = rec->prev_clock;
    x->group.position = rec->position;
    x->group.version = rec->version;
    x->group.generation = rec->generation;
    x->group.kind = rec->kind;
    int err = qv_shard_decode_body(s, &r->arena, x->body, &x->group, &r->msg);
    x->group.bytes =
        (struct qv_bytes){x->body.p + sizeof x->group.count, x->body.n - sizeof x->group.count};
    return err;
}

/* The batch without the keys that are not kept here. */
static int kept_only(struct qv_replay *r, struct qv_bytes *bytes)
{
    const struct qv_key_set *keep = qv_shard_keep(r->shard);
    struct qv_arena scratch;
    struct qv_buf some;
    struct qv_rd rd;
    if (keep == NULL)
        return 0;
    int err = qv_batch_open(&rd, *bytes, &r->msg);
    qv_arena_init(&scratch, ARENA_BYTES);
    qv_buf_init(&some, 0);
    qv_batch_begin(&some);
    while (err == 0 && qv_rd_left(&rd) > 0) {
        struct qv_batch_record rec;
        err = qv_batch_next(&rd, &rec, &r->msg);
        if (err == 0)
            err = qv_batch_put_some(&some, &rec, keep, &scratch, &r->msg);
    }
    qv_arena_close(&scratch);
    if (err == 0) {
        bytes->p = qv_arena_dup(&r->arena, some.data, some.len);
        bytes->n = some.len;
        err = some.failed || bytes->p == NULL ? QV_ENOMEM : 0;
    }
    qv_buf_close(&some);
    return err;
}

/* The groups of what is new in the batch. */
static int take_records(struct qv_replay *r)
{
    struct qv_replay_group *last = NULL;
    struct qv_bytes bytes = r->bytes;
    uint64_t newest = 0;
    uint64_t at = 0;
    struct qv_rd rd;
    int err = kept_only(r, &bytes);
    if (err == 0)
        err = qv_batch_open(&rd, bytes, &r->msg);
    while (err == 0 && qv_rd_left(&rd) > 0) {
        struct qv_batch_record rec;
        err = qv_batch_next(&rd, &rec, &r->msg);
        if (err == 0 && (rec.position <= at || rec.position > r->to))
            err = qv_fail(&r->msg, QV_ECORRUPT, "a batch of changes whose positions don't ascend");
        at = err == 0 ? rec.position : at;
        if (err == 0 && rec.position > r->covered) {
            err = take_record(r, &rec, &last);
            newest = rec.version.clock > newest ? rec.version.clock : newest;
        }
    }
    if (err == 0 && last != NULL)
        last->group.position = r->to; /* with it, all of the batch is here */
    if (err == 0 && newest > r->shard->store->clock.last) {
        err = qv_clock_observe(&r->shard->store->clock, newest,
                               qv_env_wall_ns(r->shard->env) / QV_NS_PER_MS);
        if (err != 0)
            return qv_fail(&r->msg, err, "a change from further ahead than a clock may be");
        qv_shard_reserve_clock(r->shard->store, newest);
    }
    return err;
}

/* *through: there is nothing to do. */
static int check(struct qv_replay *r, bool *through)
{
    struct qv_shard *s = r->shard;
    struct qv_replay_group *last = NULL;
    bool known = qv_shard_coverage(s, r->stream, &r->covered);
    *through = false;
    int err = refusal(s, &r->msg);
    if (err != 0)
        return err;
    if (known && r->to <= r->covered) {
        *through = true;
        return 0;
    }
    if (r->from > r->covered)
        return qv_fail(&r->msg, QV_ESTALE, "changes from %llu on: those from %llu on are missing",
                       (unsigned long long)r->from, (unsigned long long)r->covered);
    if (!known && s->stream_count >= QV_STREAMS_MAX)
        return qv_fail(&r->msg, QV_ELIMIT, "too many streams");
    if (r->to < r->from)
        return qv_fail(&r->msg, QV_ECORRUPT, "a batch of changes that ends before it begins");
    if (r->bytes.n > 0)
        err = take_records(r);
    if (err == 0 && r->unlogged == NULL && add_group(r, &last) == NULL)
        err = QV_ENOMEM;
    return err;
}

/* ---- the log ---- */

static void group_done(struct qv_log_waiter *waiter, int err)
{
    struct qv_replay_group *x = waiter->arg;
    struct qv_replay *r = x->replay;
    struct qv_shard *s = r->shard;
    struct qv_errmsg msg = {""};
    s->inflight--;
    s->inflight_rows -= x->group.count;
    r->open--;
    if (err == 0)
        err = qv_shard_take_over(&x->group, &msg);
    else
        qv_fail(&msg, err, "the log takes no writes: %.300s", qv_log_reason(s->store->log));
    if (err != 0 && r->err == 0) {
        r->err = err;
        r->msg = msg;
    }
    qv_shard_index_step(s);
    qv_shard_pump(s);
    qv_store_shard_step(s->store);
}

static int log_group(struct qv_replay *r, struct qv_replay_group *x)
{
    struct qv_shard *s = r->shard;
    struct qv_group *g = &x->group;
    uint8_t head[QV_REPLAY_HEAD_BYTES];
    int err = qv_shard_reserve(s, (uint32_t)s->inflight_rows + g->count, &r->msg);
    if (err != 0)
        return err;
    struct qv_log_record rec = {.shard = s->number,
                                .generation = g->generation,
                                .version = g->version,
                                .prev_clock = x->prev_clock,
                                .type = QV_RECORD_TYPE_REPLAY};
    struct qv_bytes parts[2] = {{head, sizeof head}, x->body};
    qv_replay_head(g->stream, g->position, g->kind, head);
    err = qv_log_append(s->store->log, &rec, parts, 2, &g->end);
    if (err == QV_EBUSY)
        return err;
    if (err != 0)
        return qv_fail(&r->msg, err, "the log takes no writes: %.300s",
                       qv_log_reason(s->store->log));
    s->inflight++;
    s->inflight_rows += g->count;
    r->open++;
    g->waiter.done = group_done;
    g->waiter.arg = x;
    qv_log_commit(s->store->log, &g->waiter);
    return 0;
}

/* Logs what there is room for; false: more has to wait. */
static bool log_groups(struct qv_replay *r)
{
    struct qv_shard *s = r->shard;
    while (r->unlogged != NULL && r->err == 0) {
        if (qv_shard_must_slow(s))
            return false;
        int err = log_group(r, r->unlogged);
        if (err == QV_EBUSY) {
            s->store->log_full = true;
            return false;
        }
        r->err = err;
        if (err == 0)
            r->unlogged = r->unlogged->next;
    }
    return true;
}

void qv_replay_pump(struct qv_shard *s)
{
    while (s->replays != NULL) {
        struct qv_replay *r = s->replays;
        bool through = false;
        if (!r->checked) {
            r->checked = true;
            r->err = check(r, &through);
            if (r->err != 0 || through)
                r->unlogged = NULL;
        }
        if (!log_groups(r) || r->open > 0)
            return;
        finish(r, r->err);
    }
}

static void submit_run(struct qv_task *task)
{
    struct qv_replay *r = task->arg;
    struct qv_shard *s = r->shard;
    qv_arena_init(&r->arena, ARENA_BYTES);
    *s->replays_tail = r;
    s->replays_tail = &r->next;
    qv_shard_pump(s);
    qv_store_shard_step(s->store);
}

void qv_shard_replay(struct qv_shard *s, struct qv_replay *r)
{
    QV_ASSERT(r->stream != 0 && r->done != NULL);
    r->shard = s;
    r->next = NULL;
    r->unlogged = NULL;
    r->open = 0;
    r->checked = false;
    r->err = 0;
    r->msg.text[0] = '\0';
    r->task = (struct qv_task){.run = submit_run, .arg = r};
    qv_env_post(s->env, &r->task);
}

void qv_replay_fail(struct qv_shard *s, int err, const char *why)
{
    struct qv_replay *r = s->replays;
    if (r == NULL)
        return;
    if (r->err == 0 && (r->unlogged != NULL || !r->checked))
        r->err = qv_fail(&r->msg, err, "%s", why);
    r->checked = true;
    qv_replay_pump(s);
}

void qv_replay_discard(struct qv_shard *s)
{
    for (struct qv_replay *r = s->replays; r != NULL; r = r->next)
        qv_arena_close(&r->arena);
    s->replays = NULL;
}
