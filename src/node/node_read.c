#include "node/node_read.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "node/node_private.h"

#include <string.h>

#define VIEW_ARENA_BYTES ((size_t)4 << 20)
#define HOPS_MAX 3u /* proxies and regions */

struct qv_node_held {
    const struct qv_topology *topology;
    struct qv_node_held *next;
};

/* ---- the view ---- */

static int make_view(struct qv_node_read *r, const struct qv_collection *c, struct qv_view *out)
{
    const uint32_t n = c->shard_count;
    struct qv_view_shard *shards = QV_ARENA_ARRAY(&r->arena, struct qv_view_shard, n);
    struct qv_candidate *who = QV_ARENA_ARRAY(&r->arena, struct qv_candidate, n);
    if (shards == NULL || who == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < n; i++) {
        const struct qv_key_set *keys = qv_collection_keys(c, i);
        who[i].node = qv_node_reader_of(r->node, &c->shards[i]); /* 0 is QV_NODE_HERE */
        shards[i] = (struct qv_view_shard){.number = c->shards[i].number,
                                           .incarnation = c->shards[i].incarnation,
                                           .epoch = c->shards[i].epoch,
                                           .cover = keys->keys,
                                           .keys = keys,
                                           .candidates = &who[i],
                                           .candidate_count = 1};
    }
    *out = (struct qv_view){.config = c->config,
                            .shards = shards,
                            .shard_count = n,
                            .by_hash = qv_placement_by_hash(c->placement)};
    memcpy(out->collection, c->uuid, sizeof out->collection);
    return 0;
}

/* ---- a read ---- */

static void answer_job(struct qv_job *job, unsigned worker)
{
    struct qv_node_read *r = job->arg;
    (void)worker;
    r->done(r, r->err, false);
}

/* The answer is made on a worker: encoding it would hold up every write. */
static void read_done(struct qv_read *read, int err)
{
    struct qv_node_read *r = read->arg;
    r->err = err;
    r->job = (struct qv_job){.run = answer_job, .arg = r};
    if (qv_env_submit(r->node->env, QV_JOB_INTERACTIVE, &r->job) != 0)
        r->done(r, err, true);
}

static void start_task(struct qv_task *task)
{
    struct qv_node_read *r = task->arg;
    r->read.host = &r->node->reads;
    r->read.view = &r->view;
    r->read.what = r->what;
    r->read.deadline_ns = r->deadline_ns;
    r->read.stop = &r->stop;
    r->read.hops_left = HOPS_MAX;
    r->read.done = read_done;
    r->read.arg = r;
    qv_read_start(&r->read);
}

static void fail_task(struct qv_task *task)
{
    struct qv_node_read *r = task->arg;
    read_done(&r->read, qv_fail(&r->read.msg, QV_ENOMEM, "%s", qv_err_text(QV_ENOMEM)));
}

void qv_node_read_start(struct qv_node_read *r)
{
    QV_ASSERT(r->done != NULL && r->collection->shard_count > 0);
    qv_arena_init(&r->arena, VIEW_ARENA_BYTES);
    r->read.arg = r;
    const bool ok = make_view(r, r->collection, &r->view) == 0;
    r->task = (struct qv_task){.run = ok ? start_task : fail_task, .arg = r};
    qv_env_post(r->node->env, &r->task);
}

void qv_node_read_close(struct qv_node_read *r)
{
    qv_read_close(&r->read);
    for (struct qv_node_held *h = r->held; h != NULL; h = h->next)
        qv_topology_unref(h->topology);
    r->held = NULL;
    qv_arena_close(&r->arena);
}

/* ---- who shares the owner ---- */

/* The collection as it is now, for a read that began before it changed. */
static void refresh_task(struct qv_task *task)
{
    struct qv_node_read *r = task->arg;
    const struct qv_topology *t = qv_node_topology(r->node);
    const struct qv_collection *c = qv_topology_by_uuid(t, r->collection->uuid);
    struct qv_node_held *held = QV_ARENA_NEW(&r->arena, struct qv_node_held);
    const bool ok = held != NULL && c != NULL && make_view(r, c, &r->newer) == 0;
    if (held != NULL) {
        *held = (struct qv_node_held){.topology = t, .next = r->held};
        r->held = held;
    } else {
        qv_topology_unref(t);
    }
    qv_read_refreshed(&r->read, ok ? &r->newer : NULL);
}

static void refresh(struct qv_read_host *h, struct qv_read *read)
{
    struct qv_node_read *r = read->arg;
    r->task = (struct qv_task){.run = refresh_task, .arg = r};
    qv_env_post(h->env, &r->task);
}

/* ---- members ---- */

static void newer_there(void *arg, uint64_t node, uint64_t epoch)
{
    struct qv_node *n = arg;
    if (n->cluster.membership != NULL)
        qv_membership_hint(n->cluster.membership, node, epoch);
}

static struct qv_leaf *remote_of(struct qv_node *n, uint64_t node)
{
    struct qv_node_remote *x = n->cluster.remotes;
    while (x != NULL && x->leaf.leaf.node != node)
        x = x->next;
    if (x == NULL && qv_topology_member(n->topology, node) != NULL) {
        x = qv_mem_calloc(1, sizeof *x);
        qv_remote_leaf_init(&x->leaf, n->cluster.peers, node);
        x->leaf.newer = newer_there;
        x->leaf.arg = n;
        x->next = n->cluster.remotes;
        n->cluster.remotes = x;
    }
    return x != NULL ? &x->leaf.leaf : NULL;
}

void qv_node_free_remotes(struct qv_node *n)
{
    while (n->cluster.remotes != NULL) {
        struct qv_node_remote *x = n->cluster.remotes;
        n->cluster.remotes = x->next;
        qv_remote_leaf_forget(&x->leaf);
        qv_mem_free(x);
    }
}

static struct qv_leaf *leaf_of(struct qv_read_host *h, uint64_t node)
{
    struct qv_node *n = (struct qv_node *)((char *)h - offsetof(struct qv_node, reads));
    return node == QV_NODE_HERE ? &n->leaf : remote_of(n, node);
}

void qv_node_init_reads(struct qv_node *n)
{
    n->leaf = (struct qv_leaf){.ops = &qv_node_leaf_ops, .node = QV_NODE_HERE};
    n->reads =
        (struct qv_read_host){.env = n->env, .leaf = leaf_of, .refresh = refresh, .same_tries = 2};
    qv_read_budget_init(&n->reads.budget);
}
