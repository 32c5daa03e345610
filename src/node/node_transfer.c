#include "node/node_transfer.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "cluster/methods.h"
#include "node/node_transfer_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_NS (500 * QV_NS_PER_MS)
#define WHY_BYTES_MAX 255u

/* ---- what both sides use ---- */

void qv_node_transfer_dir(const struct qv_node *n, uint64_t id, char out[QV_SNAPSHOT_PATH_MAX])
{
    (void)snprintf(out, QV_SNAPSHOT_PATH_MAX, "%s/" QV_NODE_TRANSFERS "/%016llx", n->dir,
                   (unsigned long long)id);
}

static void end_run(struct qv_task *task)
{
    struct qv_node_transfer_call *c = task->arg;
    struct qv_transfer_io *io = c->io;
    c->io = NULL;
    io->done(io, c->err);
}

void qv_node_transfer_end(struct qv_node *n, struct qv_node_transfer_call *c, int err)
{
    QV_ASSERT(c->io != NULL);
    c->err = err;
    c->task = (struct qv_task){.run = end_run, .arg = c};
    qv_env_post(n->env, &c->task);
}

struct removing {
    struct qv_disk *disk;
    const char *dir;
};

static bool remove_one(void *arg, const char *name, bool is_dir)
{
    const struct removing *r = arg;
    char path[QV_SNAPSHOT_PATH_MAX + 300];
    (void)snprintf(path, sizeof path, "%s/%s", r->dir, name);
    int err = is_dir ? 0 : qv_disk_unlink(r->disk, path, NULL);
    if (err != 0)
        QV_WARN("transfer", "%.200s stays behind: %s", path, qv_err_text(err));
    return true;
}

void qv_node_transfer_remove(struct qv_node *n, const char *dir)
{
    struct removing r = {n->env->disk, dir};
    int err = qv_disk_list(r.disk, dir, remove_one, &r, NULL);
    if (err == 0)
        err = qv_disk_rmdir(r.disk, dir, NULL);
    if (err != 0 && err != QV_ENOTFOUND)
        QV_WARN("transfer", "%.200s stays behind: %s", dir, qv_err_text(err));
}

static const struct qv_slot_place *find_slot(const struct qv_topology *t,
                                             const struct qv_transfer_spec *spec)
{
    const struct qv_collection *c = qv_topology_by_uuid(t, spec->collection);
    const struct qv_shard_place *s = c != NULL ? qv_collection_shard(c, spec->from_shard) : NULL;
    for (uint32_t i = 0; s != NULL && i < s->slot_count; i++) {
        const struct qv_slot_place *p = &s->slots[i];
        if (p->step != QV_STEP_NONE && p->transfer == spec->id)
            return p;
    }
    return NULL;
}

const struct qv_slot_place *qv_node_transfer_slot(const struct qv_node *n,
                                                  const struct qv_transfer_spec *spec)
{
    return find_slot(n->topology, spec);
}

static bool is_holder(const struct qv_node *n, const struct qv_transfer_spec *spec)
{
    const struct qv_collection *c = qv_topology_by_uuid(n->topology, spec->collection);
    const struct qv_shard_place *s = c != NULL ? qv_collection_shard(c, spec->to_shard) : NULL;
    for (uint32_t i = 0; s != NULL && i < s->slot_count; i++) {
        if (s->slots[i].holder == n->cluster.self.id)
            return true;
    }
    return false;
}

static const struct qv_transfer_host_ops host_ops = {
    .allowed = qv_node_source_allowed,
    .prepare = qv_node_source_prepare,
    .read_chunk = qv_node_source_read_chunk,
    .take = qv_node_source_take,
    .stop_taking = qv_node_source_stop_taking,
    .position = qv_node_source_position,
    .confirm = qv_node_source_confirm,
    .drop_chunks = qv_node_source_drop_chunks,
    .end_source = qv_node_source_end,
    .recall = qv_node_target_recall,
    .keep_manifest = qv_node_target_keep_manifest,
    .keep_chunk = qv_node_target_keep_chunk,
    .install = qv_node_target_install,
    .replay = qv_node_target_replay,
    .discard = qv_node_target_discard,
};

/* ---- the target follows the tree ---- */

static void try_later(struct qv_node *n)
{
    struct qv_node_transfers *x = n->cluster.transfers;
    if (!x->closing && !qv_env_timer_active(&x->retry))
        qv_env_timer_start(n->env, &x->retry, RETRY_NS);
}

/* It has ended, or something about it has changed. */
static void changed(void *arg, uint64_t id)
{
    struct qv_node *n = arg;
    struct qv_node_transfers *x = n->cluster.transfers;
    struct qv_node_target *t = qv_node_target_find(n, id);
    struct qv_transfer_progress p;
    if (t == NULL || !qv_transfer_get_progress(x->repl, id, &p) || p.stage < QV_TRANSFER_FAILED ||
        !(t->finishing || t->aborting))
        return;
    if (p.stage == QV_TRANSFER_FAILED && t->aborting)
        return; /* it is being discarded */
    struct qv_node_local *l = qv_node_local_find(n, t->spec.collection, t->spec.to_shard);
    if (t->finishing && l != NULL && l->shard != NULL)
        qv_shard_forget_stream(l->shard, id);
    qv_transfer_forget(x->repl, id);
    qv_node_target_end(t);
}

static void begin_target(struct qv_node *n, const struct qv_collection *c,
                         const struct qv_shard_place *s, const struct qv_slot_place *p)
{
    struct qv_transfer_spec spec = {.id = p->transfer,
                                    .from_shard = s->number,
                                    .to_shard = s->number,
                                    .from_node = p->holder,
                                    .to_node = n->cluster.self.id,
                                    .whole = true,
                                    .keys = qv_key_set_all};
    memcpy(spec.collection, c->uuid, sizeof spec.collection);
    /* an earlier transfer of the shard leaves first */
    for (struct qv_node_target *t = n->cluster.transfers->targets; t != NULL; t = t->next) {
        if (t->spec.to_shard == s->number &&
            memcmp(t->spec.collection, c->uuid, QV_UUID_BYTES) == 0) {
            if (t->spec.id != p->transfer || t->ended)
                try_later(n);
            return;
        }
    }
    struct qv_node_target *t = qv_node_target_add(n, &spec);
    if (qv_transfer_start(n->cluster.transfers->repl, &spec, changed, n) != 0) {
        qv_node_target_free(t, false);
        try_later(n);
    }
}

static void follow_targets(struct qv_node *n, const struct qv_topology *tree)
{
    struct qv_transfers *repl = n->cluster.transfers->repl;
    for (struct qv_node_target *t = n->cluster.transfers->targets; t != NULL; t = t->next) {
        if (t->finishing || t->aborting || find_slot(tree, &t->spec) != NULL)
            continue;
        if (is_holder(n, &t->spec)) {
            t->finishing = true;
            qv_transfer_finish(repl, t->spec.id);
        } else {
            t->aborting = true;
            qv_transfer_abort(repl, t->spec.id);
        }
        try_later(n); /* what had failed before is told by nobody any more */
    }
    for (uint32_t i = 0; i < tree->count && n->store != NULL; i++) {
        const struct qv_collection *c = tree->collections[i];
        for (uint32_t k = 0; k < c->shard_count; k++) {
            const struct qv_shard_place *s = &c->shards[k];
            for (uint32_t j = 0; j < s->slot_count; j++) {
                if (s->slots[j].step != QV_STEP_NONE && s->slots[j].next == n->cluster.self.id)
                    begin_target(n, c, s, &s->slots[j]);
            }
        }
    }
}

/* ---- the source follows the tree ---- */

static void follow_sources(struct qv_node *n, const struct qv_topology *tree)
{
    struct qv_node_transfers *x = n->cluster.transfers;
    struct qv_node_source *next;
    for (struct qv_node_source *s = x->sources; s != NULL; s = next) {
        const struct qv_slot_place *p = find_slot(tree, &s->spec);
        next = s->next;
        if (p != NULL && p->holder == n->cluster.self.id)
            qv_node_source_require(s, p->step >= QV_STEP_BOTH);
        else if (!s->over)
            qv_transfer_source_end(x->repl, s->spec.id, is_holder(n, &s->spec) ? 0 : QV_EUNKNOWN);
    }
}

void qv_node_transfer_changed(struct qv_node *n)
{
    struct qv_node_transfers *x = n->cluster.transfers;
    if (x == NULL || x->closing)
        return;
    const struct qv_topology *tree = n->topology;
    qv_topology_ref(tree);
    follow_sources(n, tree);
    follow_targets(n, tree);
    qv_topology_unref(tree);
}

static void retry_due(struct qv_timer *timer)
{
    struct qv_node *n = timer->arg;
    struct qv_node_transfers *x = n->cluster.transfers;
    struct qv_node_target *next;
    for (struct qv_node_target *t = x->targets; t != NULL; t = next) {
        next = t->next;
        if (!t->ended && t->call.io == NULL)
            changed(n, t->spec.id);
    }
    qv_node_transfer_changed(n);
}

/* ---- QV_PEER_MOVE ---- */

static bool tell_target(struct qv_node *n, uint64_t id, struct qv_buf *out)
{
    struct qv_transfer_progress p;
    if (!qv_transfer_get_progress(n->cluster.transfers->repl, id, &p))
        return false;
    size_t why = strlen(p.why) < WHY_BYTES_MAX ? strlen(p.why) : WHY_BYTES_MAX;
    qv_buf_u64(out, p.position);
    qv_buf_u8(out, (uint8_t)p.stage);
    qv_buf_u64(out, p.bytes_done);
    qv_buf_u64(out, p.bytes_total);
    qv_buf_u64(out, p.bytes_per_s);
    qv_buf_u64(out, p.eta_ms);
    qv_buf_u16(out, (uint16_t)why);
    qv_buf_append(out, p.why, why);
    return true;
}

static bool tell_source(struct qv_node *n, const uint8_t *uuid, uint32_t shard, struct qv_buf *out)
{
    const struct qv_node_local *l = qv_node_local_find(n, uuid, shard);
    if (l == NULL || l->shard == NULL)
        return false;
    qv_buf_u64(out, qv_shard_position(l->shard) + 1);
    qv_buf_u8(out, QV_TRANSFER_FOLLOWING);
    for (int i = 0; i < 4; i++)
        qv_buf_u64(out, 0);
    qv_buf_u16(out, 0);
    return true;
}

static void serve_move(void *arg, struct qv_peer_request *r)
{
    struct qv_node *n = arg;
    struct qv_errmsg msg = {""};
    struct qv_rd rd;
    struct qv_buf out;
    qv_rd_init(&rd, r->body.p, r->body.n);
    const uint8_t *uuid = qv_rd_take(&rd, QV_UUID_BYTES);
    uint32_t shard = qv_rd_u32(&rd);
    uint32_t side = qv_rd_u32(&rd);
    uint64_t id = qv_rd_u64(&rd);
    if (rd.failed || side > 1) {
        qv_peer_answer(r, QV_CORRUPT(&msg, "a question for a transfer"), &msg, NULL);
        return;
    }
    qv_buf_init(&out, 4096);
    bool known = side == 1 ? tell_target(n, id, &out) : tell_source(n, uuid, shard, &out);
    int err = known ? 0 : qv_fail(&msg, QV_ENOTFOUND, "the transfer is not known here");
    qv_peer_answer(r, err, &msg, &out);
    qv_buf_close(&out);
}

/* ---- life ---- */

struct dirs {
    uint64_t *ids;
    uint32_t count, cap;
};

static bool find_dir(void *arg, const char *name, bool is_dir)
{
    struct dirs *d = arg;
    char *end;
    uint64_t id = strtoull(name, &end, 16);
    if (!is_dir || id == 0 || *end != '\0')
        return true;
    if (d->count == d->cap) {
        d->cap = d->cap != 0 ? d->cap * 2 : 16;
        d->ids = qv_mem_realloc(d->ids, d->cap * sizeof *d->ids);
    }
    d->ids[d->count++] = id;
    return true;
}

static int list_dirs(struct qv_node *n, struct dirs *out, struct qv_errmsg *msg)
{
    char dir[QV_SNAPSHOT_PATH_MAX];
    (void)snprintf(dir, sizeof dir, "%s/" QV_NODE_TRANSFERS, n->dir);
    int err = qv_disk_list(n->env->disk, dir, find_dir, out, msg);
    return err == QV_ENOTFOUND ? 0 : err;
}

int qv_node_transfer_log_from(struct qv_node *n, uint64_t *out, struct qv_errmsg *msg)
{
    struct dirs d = {0};
    int err = list_dirs(n, &d, msg);
    *out = 0;
    for (uint32_t i = 0; i < d.count && err == 0; i++) {
        char dir[QV_SNAPSHOT_PATH_MAX];
        char path[QV_SNAPSHOT_PATH_MAX + 16];
        struct qv_buf b;
        uint64_t lsn = 0;
        qv_node_transfer_dir(n, d.ids[i], dir);
        (void)snprintf(path, sizeof path, "%s/held", dir);
        qv_buf_init(&b, sizeof lsn);
        if (qv_disk_read_file(n->env->disk, path, sizeof lsn, &b, NULL) == 0 &&
            b.len == sizeof lsn) {
            memcpy(&lsn, b.data, sizeof lsn);
            if (*out == 0 || lsn < *out)
                *out = lsn != 0 ? lsn : 1;
        }
        qv_buf_close(&b);
    }
    qv_mem_free(d.ids);
    return err;
}

static bool tree_knows(const struct qv_topology *t, uint64_t id)
{
    for (uint32_t i = 0; i < t->count; i++) {
        const struct qv_collection *c = t->collections[i];
        for (uint32_t k = 0; k < c->shard_count; k++) {
            for (uint32_t j = 0; j < c->shards[k].slot_count; j++) {
                if (c->shards[k].slots[j].step != QV_STEP_NONE &&
                    c->shards[k].slots[j].transfer == id)
                    return true;
            }
        }
    }
    return false;
}

/* What the last run left: sources go on, what the tree does not know goes. */
static void recall(struct qv_node *n)
{
    struct qv_errmsg msg = {""};
    struct dirs d = {0};
    int err = list_dirs(n, &d, &msg);
    for (uint32_t i = 0; i < d.count && err == 0; i++) {
        char dir[QV_SNAPSHOT_PATH_MAX];
        qv_node_transfer_dir(n, d.ids[i], dir);
        if (!tree_knows(n->topology, d.ids[i])) {
            qv_node_transfer_remove(n, dir);
            continue;
        }
        int one = qv_node_source_recall(n, d.ids[i], &msg);
        if (one != 0 && one != QV_ENOTFOUND)
            QV_WARN("transfer", "%.200s: %.250s", dir, msg.text);
    }
    if (err != 0)
        QV_WARN("transfer", "%.300s", msg.text);
    qv_mem_free(d.ids);
}

void qv_node_transfer_open(struct qv_node *n)
{
    struct qv_node_transfers *x = qv_mem_calloc(1, sizeof *x);
    x->host.ops = &host_ops;
    x->n = n;
    x->retry = (struct qv_timer){.run = retry_due, .arg = n};
    n->cluster.transfers = x;
    if (n->store != NULL)
        recall(n);
    const struct qv_transfer_config config = {.env = n->env,
                                              .peers = n->cluster.peers,
                                              .host = &x->host,
                                              .bytes_per_s = n->snapshots.bytes_per_s};
    x->repl = qv_transfers_create(&config);
    qv_peers_serve(n->cluster.peers, QV_PEER_MOVE, serve_move, n);
}

static void maybe_closed(struct qv_node *n)
{
    struct qv_node_transfers *x = n->cluster.transfers;
    if (!x->closing || !x->repl_closed || x->jobs != 0)
        return;
    while (x->sources != NULL)
        qv_node_source_free(x->sources, QV_EUNKNOWN, false);
    while (x->targets != NULL)
        qv_node_target_free(x->targets, false);
    void (*closed)(void *arg) = x->closed;
    void *arg = x->closed_arg;
    n->cluster.transfers = NULL;
    qv_mem_free(x);
    closed(arg);
}

void qv_node_transfer_job_ended(struct qv_node *n)
{
    QV_ASSERT(n->cluster.transfers->jobs > 0);
    n->cluster.transfers->jobs--;
    maybe_closed(n);
}

static void repl_closed(void *arg)
{
    struct qv_node *n = arg;
    n->cluster.transfers->repl_closed = true;
    maybe_closed(n);
}

void qv_node_transfer_close(struct qv_node *n, void (*closed)(void *arg), void *arg)
{
    struct qv_node_transfers *x = n->cluster.transfers;
    x->closing = true;
    x->closed = closed;
    x->closed_arg = arg;
    qv_env_timer_stop(n->env, &x->retry);
    qv_peers_serve(n->cluster.peers, QV_PEER_MOVE, NULL, NULL);
    qv_transfers_close(&x->repl, repl_closed, n);
}

void qv_node_transfer_forget(struct qv_node *n)
{
    struct qv_node_transfers *x = n->cluster.transfers;
    if (x == NULL)
        return;
    qv_transfers_destroy(&x->repl);
    while (x->sources != NULL)
        qv_node_source_free(x->sources, 0, true);
    while (x->targets != NULL)
        qv_node_target_free(x->targets, true);
    n->cluster.transfers = NULL;
    qv_mem_free(x);
}
