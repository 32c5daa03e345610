/* This node's shards as a leaf: an ask's legs are jobs of the compute workers, one each. */
#include "node/node_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdatomic.h>
#include <string.h>

struct leaf_ask;

struct leaf_job {
    struct qv_job job;
    struct leaf_ask *all;
    uint32_t leg;
};

struct leaf_ask {
    struct qv_node *node;
    struct qv_ask *ask;
    struct qv_stop stop;
    atomic_bool canceled;
    uint32_t open; /* jobs; owner */
    struct qv_task task;
    struct leaf_job jobs[];
};

/* ---- legs (workers) ---- */

static int stop_ask(void *ctx, struct qv_errmsg *msg)
{
    struct leaf_ask *all = ctx;
    if (atomic_load_explicit(&all->canceled, memory_order_relaxed))
        return qv_fail(msg, QV_ECANCELED, "it was canceled");
    if (qv_env_mono_ns(all->node->env) >= all->ask->deadline_ns)
        return qv_fail(msg, QV_ETIMEOUT, "it did not answer in time");
    return qv_stop_ask(all->ask->stop, msg);
}

/* The place up to which a list left nothing out. */
static int set_bound(const struct qv_points_out *points, struct qv_bound *out,
                     struct qv_errmsg *msg)
{
    *out = (struct qv_bound){.all = !points->more};
    if (out->all)
        return 0;
    if (points->count == 0)
        return qv_fail(msg, QV_EBUSY, "points were deleted faster than they were found");
    const struct qv_point_out *last = &points->points[points->count - 1];
    out->score = last->score;
    out->order_value = last->order_value;
    out->id = last->id;
    return 0;
}

/* A leg's run: what it reads, where its answer goes. */
struct run {
    struct leaf_ask *all;
    const struct qv_leg *leg;
    struct qv_leg_answer *answer;
    struct qv_shard *shard;
    unsigned reader;
};

static int run_search(const struct run *x)
{
    const struct qv_query_req *req = x->all->ask->req.query;
    struct qv_leg_answer *a = x->answer;
    struct qv_query *queries = QV_ARENA_ARRAY(&a->arena, struct qv_query, req->query_count);
    struct qv_points_out *out = QV_ARENA_ARRAY(&a->arena, struct qv_points_out, req->query_count);
    uint32_t *places = QV_ARENA_ARRAY(&a->arena, uint32_t, req->query_count);
    a->lists = QV_ARENA_ARRAY(&a->arena, struct qv_leg_list, req->query_count);
    if (queries == NULL || out == NULL || places == NULL || a->lists == NULL)
        return QV_ENOMEM;
    uint32_t n = 0;
    for (uint32_t i = 0; i < req->query_count; i++) {
        if (x->leg->limits[i] == 0)
            continue;
        queries[n] = req->queries[i];
        queries[n].limit = x->leg->limits[i];
        queries[n].offset = 0;
        queries[n].stop = &x->all->stop;
        places[n++] = i;
    }
    if (n == 0)
        return 0;
    const struct qv_batch batch = {.arena = &a->arena, .queries = queries, .count = n};
    int err = qv_shard_query_batch(x->shard, x->reader, &batch, out, &a->msg);
    for (uint32_t i = 0; i < n && err == 0; i++) {
        struct qv_leg_list *list = &a->lists[places[i]];
        list->points = out[i];
        err = set_bound(&out[i], &list->bound, &a->msg);
    }
    return err;
}

static int run_fetch(const struct run *x)
{
    struct qv_get_req req = *x->all->ask->req.get;
    req.ids = x->leg->ids;
    req.id_count = x->leg->id_count;
    req.opts.stop = &x->all->stop;
    return qv_shard_get(x->shard, x->reader, &x->answer->arena, &req, &x->answer->fetch,
                        &x->answer->msg);
}

static int run_scroll(const struct run *x)
{
    struct qv_leg_answer *a = x->answer;
    struct qv_scroll_req req = *x->all->ask->req.scroll;
    struct qv_scroll_out out;
    req.limit = x->leg->limits[0];
    req.opts.stop = &x->all->stop;
    int err = qv_shard_scroll(x->shard, x->reader, &a->arena, &req, &out, &a->msg);
    if (err != 0)
        return err;
    a->scroll.points = out.points;
    if (req.order_by != NULL)
        return set_bound(&out.points, &a->scroll.bound, &a->msg);
    a->scroll.bound = (struct qv_bound){.all = !out.has_next, .id = out.next};
    return 0;
}

static int run_count(const struct run *x)
{
    struct qv_count_req req = *x->all->ask->req.count;
    req.opts.stop = &x->all->stop;
    return qv_shard_count(x->shard, x->reader, &x->answer->arena, &req, &x->answer->count,
                          &x->answer->msg);
}

static int run_facet(const struct run *x)
{
    struct qv_leg_answer *a = x->answer;
    struct qv_facet_req req = *x->all->ask->req.facet;
    req.limit = x->leg->limits[0];
    req.opts.stop = &x->all->stop;
    int err = qv_shard_facet(x->shard, x->reader, &a->arena, &req, &a->facet, &a->msg);
    a->facet_all = a->facet.count < req.limit;
    return err;
}

static int run_leg(const struct run *x)
{
    int err = stop_ask(x->all, &x->answer->msg); /* it may have waited too long */
    if (err != 0)
        return err;
    switch (x->all->ask->kind) {
    case QV_ASK_SEARCH:
        return run_search(x);
    case QV_ASK_FETCH:
        return run_fetch(x);
    case QV_ASK_SCROLL:
        return run_scroll(x);
    case QV_ASK_COUNT:
        return run_count(x);
    case QV_ASK_FACET:
        return run_facet(x);
    case QV_ASK_DIGESTS:
        return 0; /* not known */
    case QV_ASK_KIND_COUNT:
        break;
    }
    QV_UNREACHABLE();
}

static void release(struct qv_leg_answer *a)
{
    qv_shard_unref(a->held);
}

/* The leg's shard, with a reference that the answer holds: names in it are the configuration's. */
static int find_shard(struct qv_node *n, const struct qv_leg *leg, struct qv_shard **out,
                      uint64_t *epoch, struct qv_errmsg *msg)
{
    const struct qv_topology *t = qv_node_topology(n);
    const struct qv_collection *c = qv_topology_by_uuid(t, leg->collection);
    uint32_t i = 0;
    while (c != NULL && i < c->shard_count && c->shards[i].number != leg->shard)
        i++;
    int err;
    if (c == NULL)
        err = qv_fail(msg, QV_ENOTFOUND, "the collection does not exist any more");
    else if (i == c->shard_count || c->shards[i].epoch != leg->epoch)
        err = qv_fail(msg, QV_ESTALE, "its record is another one here");
    else if (qv_node_shard_at(n, c, i, out, NULL) != 0)
        err = qv_fail(msg, QV_EUNAVAILABLE, "it is not on this node");
    else
        err = 0;
    *epoch = c != NULL && i < c->shard_count ? c->shards[i].epoch : 0;
    qv_topology_unref(t);
    return err;
}

/* A shard that left the node meanwhile is to be had elsewhere, or the collection is gone: the
 * topology knows. One that is quarantined won't be had by waiting. */
static int leg_error(int err)
{
    return err == QV_ENOTFOUND ? QV_ESTALE : err == QV_EUNAVAILABLE ? QV_ECORRUPT : err;
}

static void leg_job(struct qv_job *job, unsigned worker)
{
    struct leaf_job *j = job->arg;
    struct run x = {.all = j->all,
                    .leg = &j->all->ask->legs[j->leg],
                    .answer = j->all->ask->answers[j->leg],
                    .reader = worker};
    x.answer->err = find_shard(j->all->node, x.leg, &x.shard, &x.answer->epoch, &x.answer->msg);
    if (x.answer->err != 0)
        return;
    x.answer->held = x.shard;
    x.answer->release = release;
    x.answer->cover = x.leg->cover; /* a shard holds its own keys and nothing else */
    x.answer->err = leg_error(run_leg(&x));
}

/* ---- asks (owner) ---- */

static void end_ask(struct leaf_ask *all)
{
    struct qv_ask *ask = all->ask;
    ask->leaf = NULL;
    qv_mem_free(all);
    ask->done(ask);
}

static void leg_done(struct qv_job *job)
{
    struct leaf_job *j = job->arg;
    if (--j->all->open == 0)
        end_ask(j->all);
}

static void refused_task(struct qv_task *task)
{
    struct leaf_ask *all = task->arg;
    if (--all->open == 0)
        end_ask(all);
}

static void start(struct qv_leaf *leaf, struct qv_ask *ask)
{
    struct qv_node *n = (struct qv_node *)((char *)leaf - offsetof(struct qv_node, leaf));
    struct leaf_ask *all = qv_mem_calloc(1, sizeof *all + ask->leg_count * sizeof all->jobs[0]);
    bool refused = false;
    all->node = n;
    all->ask = ask;
    all->stop = (struct qv_stop){stop_ask, all};
    ask->leaf = all;
    for (uint32_t i = 0; i < ask->leg_count; i++) {
        struct leaf_job *j = &all->jobs[i];
        *j = (struct leaf_job){.all = all, .leg = i};
        j->job = (struct qv_job){.run = leg_job, .done = leg_done, .arg = j};
        if (qv_env_submit(n->env, QV_JOB_INTERACTIVE, &j->job) == 0) {
            all->open++;
            continue;
        }
        ask->answers[i]->err =
            qv_fail(&ask->answers[i]->msg, QV_EBUSY, "too many requests are waiting");
        refused = true;
    }
    if (!refused)
        return;
    all->open++; /* done is never called from here */
    all->task = (struct qv_task){.run = refused_task, .arg = all};
    qv_env_post(n->env, &all->task);
}

static void cancel(struct qv_leaf *leaf, struct qv_ask *ask)
{
    struct leaf_ask *all = ask->leaf;
    (void)leaf;
    if (all != NULL)
        atomic_store_explicit(&all->canceled, true, memory_order_relaxed);
}

static void describe(struct qv_leaf *leaf, struct qv_leaf_state *out)
{
    (void)leaf;
    *out = (struct qv_leaf_state){.kind = "local"};
}

const struct qv_shard_ops qv_node_leaf_ops = {
    .start = start, .cancel = cancel, .describe = describe};
