/* Making a snapshot: the collections one after the other, of each its shards one after the other,
 * each pinned, copied in slices, unpinned; then the file is ended, its checksum written beside it,
 * and both are renamed into place. Each shard is what it was at its own pin. All of a collection
 * have one configuration: where it changes between two pins nothing is made. */
#include "node/snapshots_private.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "wire/json_answer.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define NAME_PART_MAX 150 /* of the collection's name in the file's: names end at 255 bytes */
#define SAME_SECOND_MAX 1000

enum phase { PHASE_OPEN, PHASE_COPY, PHASE_END };

struct task {
    struct qv_node *n;
    struct qv_snapshot_create_req req;
    struct qv_slices slices;
    enum phase phase;
    const struct qv_topology *topology; /* whose collections */
    const struct qv_collection **list;
    uint32_t count, next;
    uint32_t first, end;  /* of the shards of the collection that are wanted: places */
    uint32_t at;          /* the one that is copied */
    uint32_t section;     /* its owner in the file: counts on through the collections */
    struct qv_buf config; /* of the collection, as its first shard was pinned with */
    char dir[QV_SNAPSHOT_PATH_MAX];
    char tmp[QV_SNAPSHOT_PATH_MAX];
    struct qv_snapshot_desc made;
    struct qv_snapshot_writer *w;
    struct qv_shard *shard; /* a reference */
    struct qv_shard_pin_req pin;
    struct qv_shard_export *exp;
    bool copied; /* this shard */
    struct qv_errmsg msg;
};

static void finish(struct task *t, int err)
{
    struct qv_node *n = t->n;
    qv_shard_export_destroy(&t->exp);
    qv_shard_unpin(&t->pin.pin);
    if (t->shard != NULL)
        qv_shard_unref(t->shard);
    qv_snapshot_abort(t->w);
    const struct qv_str *c = &t->req.scope.collection;
    if (err != 0) /* it may have failed before it had a name */
        QV_WARN("snapshot", "of %s%.*s: not made: %s", c->n > 0 ? "collection " : "everything",
                (int)(c->n < 200 ? c->n : 200), c->p != NULL ? c->p : "",
                t->msg.text[0] != '\0' ? t->msg.text : qv_err_text(err));
    t->req.done(t->req.arg, err, &t->made, &t->msg);
    qv_topology_unref(t->topology);
    qv_buf_close(&t->config);
    qv_mem_free(t->list);
    qv_mem_free((void *)(uintptr_t)t->req.scope.collection.p);
    qv_mem_free(t);
    qv_snapshot_task_end(n);
}

/* ---- slices (jobs) ---- */

static void cut_name(struct qv_str name, char *out)
{
    size_t n = name.n;
    if (n > NAME_PART_MAX) { /* at a character's beginning */
        n = NAME_PART_MAX;
        while (n > 0 && ((unsigned char)name.p[n] & 0xC0) == 0x80)
            n--;
    }
    memcpy(out, name.p, n);
    out[n] = '\0';
}

static void make_name(struct task *t, unsigned k)
{
    const struct qv_snapshot_scope *scope = &t->req.scope;
    struct tm tm;
    char when[32];
    char whose[NAME_PART_MAX + 32];
    char again[16] = "";
    time_t seconds = (time_t)(t->made.created_ms / 1000);
    (void)gmtime_r(&seconds, &tm);
    (void)strftime(when, sizeof when, "%Y-%m-%d-%H-%M-%S", &tm);
    if (scope->collection.n == 0) {
        snprintf(whose, sizeof whose, "full-snapshot");
    } else {
        char part[NAME_PART_MAX + 1];
        char shard[24] = "";
        cut_name(scope->collection, part);
        if (scope->shard)
            snprintf(shard, sizeof shard, "-shard-%u", scope->number);
        snprintf(whose, sizeof whose, "%s%s-%u", part, shard, t->n->writer);
    }
    if (k > 0)
        snprintf(again, sizeof again, "-%u", k);
    snprintf(t->made.name, sizeof t->made.name, "%s-%s%s.snapshot", whose, when, again);
}

static bool is_there(struct qv_disk *disk, const char *path)
{
    struct qv_file *f = NULL;
    int err = qv_disk_open(disk, path, QV_OPEN_READ, &f, NULL);
    qv_file_close(f);
    return err != QV_ENOTFOUND;
}

/* A name that nobody has, also not one that is being made. */
static int open_file(struct task *t)
{
    struct qv_disk *disk = t->n->env->disk;
    char tmp_dir[QV_SNAPSHOT_PATH_MAX];
    char path[QV_SNAPSHOT_PATH_MAX];
    enum qv_snapshot_kind kind =
        t->req.scope.collection.n > 0 ? QV_SNAPSHOT_COLLECTION : QV_SNAPSHOT_FULL;
    int err = qv_node_snapshot_tmp(t->n, tmp_dir, &t->msg);
    if (err == 0)
        err = qv_disk_mkdir_all(disk, t->dir, &t->msg);
    for (unsigned k = 0; err == 0 && k < SAME_SECOND_MAX; k++) {
        make_name(t, k);
        int a = snprintf(path, sizeof path, "%s/%s", t->dir, t->made.name);
        int b = snprintf(t->tmp, sizeof t->tmp, "%s/%s", tmp_dir, t->made.name);
        if (a >= (int)sizeof path || b >= (int)sizeof t->tmp)
            return qv_fail(&t->msg, QV_ETOOBIG, "the path of the snapshot is too long");
        if (is_there(disk, path))
            continue;
        err = qv_snapshot_create(disk, t->tmp, kind, t->made.created_ms, &t->w, &t->msg);
        if (err != QV_EEXISTS)
            return err;
        err = 0;
    }
    return err != 0 ? err : qv_fail(&t->msg, QV_EBUSY, "too many snapshots in one second");
}

static int put_collection(struct task *t)
{
    const struct qv_collection *c = t->list[t->next];
    const bool one = c->shard_count == 1 && c->shards[0].number == 0;
    struct qv_buf b;
    qv_buf_init(&b, QV_RECORDS_VALUE_BYTES_MAX);
    qv_buf_u32(&b, one ? QV_NODE_PART_FORMAT_ONE : QV_NODE_PART_FORMAT);
    qv_buf_u32(&b, (uint32_t)c->name.n);
    qv_buf_append(&b, c->name.p, c->name.n);
    qv_buf_append(&b, c->uuid, sizeof c->uuid);
    if (!one)
        qv_buf_u32(&b, t->end - t->first);
    for (uint32_t i = t->first; i < t->end && !one; i++)
        qv_buf_u32(&b, c->shards[i].number);
    qv_buf_append(&b, t->config.data, t->config.len);
    int err = b.failed
                  ? qv_fail(&t->msg, QV_ETOOBIG, "the configuration is too large")
                  : qv_snapshot_begin_part(t->w, QV_NODE_PART_COLLECTION, t->section, 0, &t->msg);
    if (err == 0)
        err = qv_snapshot_append(t->w, b.data, b.len, &t->msg);
    qv_buf_close(&b);
    return err;
}

/* The first shard's configuration is the collection's; the others' must be the same. */
static int begin_shard(struct task *t)
{
    struct qv_buf b;
    int err = 0;
    qv_buf_init(&b, QV_RECORDS_VALUE_BYTES_MAX);
    qv_json_config_write(&b, qv_shard_pin_config(t->pin.pin), t->list[t->next]->generation);
    if (b.failed) {
        err = qv_fail(&t->msg, QV_ETOOBIG, "the configuration is too large");
    } else if (t->at == t->first) {
        qv_buf_clear(&t->config);
        qv_buf_append(&t->config, b.data, b.len);
        err = t->config.failed ? QV_ENOMEM : put_collection(t);
    } else if (b.len != t->config.len || memcmp(b.data, t->config.data, b.len) != 0) {
        err = qv_fail(&t->msg, QV_EUNAVAILABLE,
                      "the collection's configuration was changed meanwhile: try again");
    }
    qv_buf_close(&b);
    return err;
}

static int copy(struct task *t, uint64_t *bytes)
{
    uint64_t before = qv_snapshot_written(t->w);
    int err = 0;
    if (t->exp == NULL) {
        err = begin_shard(t);
        t->exp = qv_shard_export_create(t->pin.pin, t->w, t->section);
    }
    if (err == 0)
        err = qv_shard_export_step(t->exp, QV_SNAPSHOT_SLICE_BYTES, &t->copied, &t->msg);
    *bytes = qv_snapshot_written(t->w) - before;
    return err;
}

static int put_aliases(struct task *t)
{
    const struct qv_aliases_out *a = &t->topology->aliases;
    struct qv_buf b;
    qv_buf_init(&b, QV_RECORDS_VALUE_BYTES_MAX);
    qv_node_encode_aliases(a->list, a->count, &b);
    int err =
        b.failed ? QV_ENOMEM : qv_snapshot_begin_part(t->w, QV_NODE_PART_ALIASES, 0, 0, &t->msg);
    if (err == 0)
        err = qv_snapshot_append(t->w, b.data, b.len, &t->msg);
    qv_buf_close(&b);
    return err;
}

/* The checksum first: a snapshot that is there has one. */
static int end_file(struct task *t)
{
    struct qv_disk *disk = t->n->env->disk;
    char path[2 * QV_SNAPSHOT_PATH_MAX];
    char side[2 * QV_SNAPSHOT_PATH_MAX + 16];
    struct qv_snapshot_info info;
    int err = t->req.scope.collection.n == 0 ? put_aliases(t) : 0;
    struct qv_snapshot_writer *w = t->w;
    if (err != 0)
        return err;
    t->w = NULL;
    err = qv_snapshot_finish(w, &info, &t->msg);
    if (err != 0)
        return err;
    t->made.size = info.bytes;
    qv_sha256_format(info.sha256, t->made.checksum);
    snprintf(path, sizeof path, "%s/%s", t->dir, t->made.name);
    snprintf(side, sizeof side, "%s.checksum", path);
    err = qv_disk_replace_file(disk, side, t->made.checksum, strlen(t->made.checksum), &t->msg);
    if (err == 0)
        err = qv_disk_rename(disk, t->tmp, path, &t->msg);
    if (err == 0)
        err = qv_disk_sync_dir(disk, t->dir, &t->msg);
    if (err != 0) {
        int gone = qv_disk_unlink(disk, t->tmp, NULL); /* or the next start removes it */
        gone = gone != 0 ? gone : qv_disk_unlink(disk, side, NULL);
        (void)gone;
    }
    return err;
}

static int slice(void *arg, uint64_t *bytes)
{
    struct task *t = arg;
    switch (t->phase) {
    case PHASE_OPEN:
        return open_file(t);
    case PHASE_COPY:
        return copy(t, bytes);
    default:
        return end_file(t);
    }
}

/* ---- from slice to slice (owner) ---- */

static void pinned(struct qv_shard_pin_req *req, int err)
{
    struct task *t = req->arg;
    if (err != 0) {
        t->msg = req->msg;
        finish(t, err);
        return;
    }
    t->phase = PHASE_COPY;
    t->copied = false;
    qv_slices_next(&t->slices);
}

/* Which of the collection's shards go into the file. */
static int take_shards(struct task *t)
{
    const struct qv_collection *c = t->list[t->next];
    t->first = 0;
    t->end = c->shard_count;
    if (t->req.scope.shard) {
        const struct qv_shard_place *s = qv_collection_shard(c, t->req.scope.number);
        if (s == NULL)
            return qv_fail(&t->msg, QV_ENOTFOUND, "Shard %u not found", t->req.scope.number);
        t->first = (uint32_t)(s - c->shards);
        t->end = t->first + 1;
    }
    t->at = t->first;
    return qv_snapshot_check_here(t->n, c, &t->msg);
}

static void next_shard(struct task *t)
{
    if (t->next == t->count) {
        t->phase = PHASE_END;
        qv_slices_next(&t->slices);
        return;
    }
    int err = t->at == t->end ? take_shards(t) : 0;
    if (err == 0)
        err = qv_node_shard_at(t->n, t->list[t->next], t->at, &t->shard, &t->msg);
    if (err != 0) {
        finish(t, err);
        return;
    }
    t->pin.done = pinned;
    t->pin.arg = t;
    qv_shard_pin(t->shard, &t->pin);
}

static void after(void *arg, int err)
{
    struct task *t = arg;
    if (err == 0 && t->n->snapshots.stopping)
        err = qv_fail(&t->msg, QV_EUNAVAILABLE, "the node is shutting down");
    if (err != 0 || t->phase == PHASE_END) {
        finish(t, err);
        return;
    }
    if (t->phase == PHASE_COPY && !t->copied) {
        qv_slices_next(&t->slices);
        return;
    }
    if (t->phase == PHASE_COPY) {
        qv_shard_export_destroy(&t->exp);
        qv_shard_unpin(&t->pin.pin);
        qv_shard_unref(t->shard);
        t->shard = NULL;
        t->section++;
        t->at++;
        t->next += t->at == t->end;
    }
    next_shard(t);
}

static int take_collections(struct task *t)
{
    const struct qv_topology *all = t->topology;
    struct qv_str name = t->req.scope.collection;
    t->list = qv_mem_calloc(all->count + 1, sizeof(struct qv_collection *));
    if (name.n == 0) {
        t->count = all->count;
        for (uint32_t i = 0; i < t->count; i++)
            t->list[i] = all->collections[i];
        return 0;
    }
    t->list[0] = qv_topology_find_own(all, name);
    t->count = 1;
    return t->list[0] != NULL ? 0 : qv_node_missing(name, &t->msg);
}

void qv_node_snapshot_create(struct qv_node *n, const struct qv_snapshot_create_req *req)
{
    struct qv_errmsg msg = {""};
    int err = qv_snapshot_task_begin(n, &msg);
    if (err != 0) {
        req->done(req->arg, err, NULL, &msg);
        return;
    }
    struct task *t = qv_mem_calloc(1, sizeof *t);
    t->n = n;
    t->req = *req;
    t->req.scope.collection.p = NULL;
    if (req->scope.collection.n > 0) {
        char *name = qv_mem_alloc(req->scope.collection.n);
        memcpy(name, req->scope.collection.p, req->scope.collection.n);
        t->req.scope.collection.p = name;
    }
    t->slices = (struct qv_slices){.n = n, .slice = slice, .after = after, .arg = t};
    t->made.created_ms = qv_env_wall_ns(n->env) / QV_NS_PER_MS;
    t->topology = qv_node_topology(n);
    qv_buf_init(&t->config, QV_RECORDS_VALUE_BYTES_MAX);
    err = qv_snapshot_dir(n, &t->req.scope, t->dir);
    if (err == 0)
        err = take_collections(t);
    if (err != 0)
        finish(t, err);
    else
        qv_slices_next(&t->slices);
}
