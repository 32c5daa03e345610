#include "repl/transfer_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <string.h>

const char *qv_transfer_stage_name(enum qv_transfer_stage stage)
{
    static const char *const names[QV_TRANSFER_STAGE_COUNT] = {
        [QV_TRANSFER_ASKING] = "asking",         [QV_TRANSFER_COPYING] = "copying",
        [QV_TRANSFER_INSTALLING] = "installing", [QV_TRANSFER_FOLLOWING] = "following",
        [QV_TRANSFER_FAILED] = "failed",         [QV_TRANSFER_ENDED] = "ended"};
    QV_ASSERT(stage < QV_TRANSFER_STAGE_COUNT);
    return names[stage];
}

/* ---- specs ---- */

void qv_transfer_spec_copy(struct qv_transfer_spec *out, const struct qv_transfer_spec *s)
{
    *out = *s;
    out->keys = qv_key_set_all;
    if (s->whole)
        return;
    /* the copy is one block whose head is the set itself: found again by its lists' owner */
    struct qv_key_set *keys = qv_key_set_dup(&s->keys);
    out->keys = keys != NULL ? *keys : qv_key_set_none;
    out->kept = keys;
}

void qv_transfer_spec_free(struct qv_transfer_spec *s)
{
    qv_mem_free(s->kept);
    s->kept = NULL;
}

bool qv_transfer_spec_same(const struct qv_transfer_spec *a, const struct qv_transfer_spec *b)
{
    return a->id == b->id && memcmp(a->collection, b->collection, sizeof a->collection) == 0 &&
           a->from_shard == b->from_shard && a->to_shard == b->to_shard &&
           a->from_node == b->from_node && a->to_node == b->to_node && a->whole == b->whole &&
           (a->whole || qv_key_set_equal(&a->keys, &b->keys));
}

/* ---- life ---- */

static void free_all(struct qv_transfers *t)
{
    qv_transfer_sources_free(t);
    qv_transfer_targets_free(t);
    qv_mem_free(t);
}

static void task_run(struct qv_task *task)
{
    struct qv_transfers *t = task->arg;
    t->posted = false;
    qv_transfer_targets_tell(t);
    if (!t->closing || t->posted || !qv_transfer_sources_quiet(t) || !qv_transfer_targets_quiet(t))
        return;
    void (*closed)(void *arg) = t->closed;
    void *arg = t->closed_arg;
    free_all(t);
    closed(arg);
}

void qv_transfers_post(struct qv_transfers *t)
{
    if (t->posted)
        return;
    t->posted = true;
    t->task = (struct qv_task){.run = task_run, .arg = t};
    qv_env_post(t->config.env, &t->task);
}

static void pace_due(struct qv_timer *timer)
{
    qv_transfer_targets_pump(timer->arg);
}

struct qv_transfers *qv_transfers_create(const struct qv_transfer_config *config)
{
    struct qv_transfers *t = qv_mem_calloc(1, sizeof *t);
    t->config = *config;
    t->pace = (struct qv_timer){.run = pace_due, .arg = t};
    qv_transfer_sources_serve(t, true);
    return t;
}

void qv_transfers_close(struct qv_transfers **t, void (*closed)(void *arg), void *arg)
{
    struct qv_transfers *x = *t;
    *t = NULL;
    QV_ASSERT(!x->closing);
    x->closing = true;
    x->closed = closed;
    x->closed_arg = arg;
    qv_env_timer_stop(x->config.env, &x->pace);
    qv_transfer_sources_serve(x, false);
    qv_transfer_sources_stop(x);
    qv_transfer_targets_stop(x);
    qv_transfers_post(x);
}

void qv_transfers_destroy(struct qv_transfers **t)
{
    if (*t != NULL)
        free_all(*t);
    *t = NULL;
}

void qv_transfers_set_rate(struct qv_transfers *t, uint64_t bytes_per_s)
{
    t->config.bytes_per_s = bytes_per_s;
    t->due_ns = 0;
    qv_transfer_targets_pump(t);
}
