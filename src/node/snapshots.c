#include "node/snapshots.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "node/snapshots_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUFFIX ".snapshot"
#define LIST_MAX 10000u

/* ---- names and places ---- */

static int no_snapshot(struct qv_str name, struct qv_errmsg *msg)
{
    return qv_fail(msg, QV_ENOTFOUND, "Snapshot %.*s not found", (int)(name.n < 200 ? name.n : 200),
                   name.p);
}

/* One segment of a path, and not one of ours. */
static bool name_is_plain(struct qv_str name)
{
    static const char suffix[] = SUFFIX;
    size_t s = sizeof suffix - 1;
    return name.n > s && name.n < QV_SNAPSHOT_NAME_MAX && name.p[0] != '.' && name.p[0] != ':' &&
           memchr(name.p, '/', name.n) == NULL && memchr(name.p, '\0', name.n) == NULL &&
           memcmp(name.p + name.n - s, suffix, s) == 0;
}

int qv_snapshot_dir(const struct qv_node *n, const struct qv_snapshot_scope *scope, char *out)
{
    const struct qv_str *c = &scope->collection;
    char shard[32] = "";
    if (scope->shard)
        snprintf(shard, sizeof shard, "/shards/%u", scope->number);
    int k = c->n == 0 ? snprintf(out, QV_SNAPSHOT_PATH_MAX, "%s", n->snapshots.dir)
                      : snprintf(out, QV_SNAPSHOT_PATH_MAX, "%s/%.*s%s", n->snapshots.dir,
                                 (int)c->n, c->p, shard);
    return k > 0 && k < QV_SNAPSHOT_PATH_MAX - 2 * QV_SNAPSHOT_NAME_MAX ? 0 : QV_ETOOBIG;
}

const char *qv_node_snapshot_dir(const struct qv_node *n)
{
    return n->snapshots.dir;
}

int qv_snapshot_check_here(struct qv_node *n, const struct qv_collection *c, struct qv_errmsg *msg)
{
    for (uint32_t i = 0; i < c->shard_count; i++) {
        if (qv_node_reader_of(n, &c->shards[i]) != 0 || qv_node_writer_of(n, &c->shards[i]) != 0)
            return qv_fail(msg, QV_ENOTIMPL,
                           "Not implemented: snapshots of a collection with shards on other nodes");
    }
    return 0;
}

int qv_snapshot_check_enabled(const struct qv_node *n, struct qv_errmsg *msg)
{
    return n->snapshots.dir != NULL
               ? 0
               : qv_fail(msg, QV_EUNAVAILABLE, "this node has no directory for snapshots");
}

static int check_scope(struct qv_node *n, const struct qv_snapshot_scope *scope,
                       struct qv_errmsg *msg)
{
    int err = qv_snapshot_check_enabled(n, msg);
    if (err != 0 || scope->collection.n == 0)
        return err;
    const struct qv_topology *t = qv_node_topology(n);
    const struct qv_collection *c = qv_topology_find_own(t, scope->collection);
    if (c == NULL)
        err = qv_node_missing(scope->collection, msg);
    else if (scope->shard && qv_collection_shard(c, scope->number) == NULL)
        err = qv_fail(msg, QV_ENOTFOUND, "Shard %u not found", scope->number);
    qv_topology_unref(t);
    return err;
}

int qv_node_snapshot_path(struct qv_node *n, const struct qv_snapshot_scope *scope,
                          struct qv_str name, char *out, struct qv_errmsg *msg)
{
    char dir[QV_SNAPSHOT_PATH_MAX];
    struct qv_file *f = NULL;
    int err = check_scope(n, scope, msg);
    if (err != 0)
        return err;
    if (!name_is_plain(name) || qv_snapshot_dir(n, scope, dir) != 0)
        return no_snapshot(name, msg);
    snprintf(out, QV_SNAPSHOT_PATH_MAX, "%.*s/%.*s",
             QV_SNAPSHOT_PATH_MAX - QV_SNAPSHOT_NAME_MAX - 2, dir, (int)name.n, name.p);
    err = qv_disk_open(n->env->disk, out, QV_OPEN_READ | QV_OPEN_PLAIN, &f, msg);
    qv_file_close(f);
    return err == QV_ENOTFOUND ? no_snapshot(name, msg) : err;
}

int qv_node_snapshot_tmp(struct qv_node *n, char *out, struct qv_errmsg *msg)
{
    int err = qv_snapshot_check_enabled(n, msg);
    if (err != 0)
        return err;
    snprintf(out, QV_SNAPSHOT_PATH_MAX, "%s/" QV_SNAPSHOT_TMP, n->snapshots.dir);
    return qv_disk_mkdir_all(n->env->disk, out, msg);
}

struct cleaning {
    struct qv_disk *disk;
    const char *dir;
};

static bool clean_one(void *arg, const char *name, bool is_dir)
{
    struct cleaning *c = arg;
    char path[QV_SNAPSHOT_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", c->dir, name);
    int err = is_dir ? 0 : qv_disk_unlink(c->disk, path, NULL);
    if (err != 0)
        QV_WARN("snapshot", "%s stays behind: %s", path, qv_err_text(err));
    else
        QV_INFO("snapshot", "removed %s: it was never finished", path);
    return true;
}

int qv_node_snapshot_clean(struct qv_node *n, struct qv_errmsg *msg)
{
    char dir[QV_SNAPSHOT_PATH_MAX];
    if (n->snapshots.dir == NULL)
        return 0;
    snprintf(dir, sizeof dir, "%s/" QV_SNAPSHOT_TMP, n->snapshots.dir);
    struct cleaning c = {.disk = n->env->disk, .dir = dir};
    int err = qv_disk_list(c.disk, dir, clean_one, &c, msg);
    return err == QV_ENOTFOUND ? 0 : err;
}

/* ---- list, delete ---- */

struct listing {
    struct qv_disk *disk;
    const char *dir;
    struct qv_snapshot_desc *items;
    uint32_t count, cap;
};

/* False: it is no file of its own, and so no snapshot. */
static bool describe(struct listing *l, struct qv_snapshot_desc *d)
{
    char path[QV_SNAPSHOT_PATH_MAX];
    uint8_t head[24];
    struct qv_file *f = NULL;
    struct qv_buf b;
    snprintf(path, sizeof path, "%s/%s", l->dir, d->name);
    int err = qv_disk_open(l->disk, path, QV_OPEN_READ | QV_OPEN_PLAIN, &f, NULL);
    if (err == QV_ENOTFOUND)
        return false;
    if (err == 0)
        err = qv_file_size(f, &d->size, NULL);
    if (err == 0 && qv_file_pread_full(f, 0, head, sizeof head, NULL) == 0 &&
        memcmp(head, "QVSNAPS\n", 8) == 0)
        memcpy(&d->created_ms, head + 16, sizeof d->created_ms);
    qv_file_close(f);
    qv_buf_init(&b, 0);
    snprintf(path, sizeof path, "%s/%s.checksum", l->dir, d->name);
    if (qv_disk_read_file(l->disk, path, QV_SHA256_TEXT - 1, &b, NULL) == 0 &&
        b.len == QV_SHA256_TEXT - 1 && memchr(b.data, '\0', b.len) == NULL)
        memcpy(d->checksum, b.data, b.len);
    qv_buf_close(&b);
    return true;
}

static bool list_one(void *arg, const char *name, bool is_dir)
{
    struct listing *l = arg;
    if (is_dir || !name_is_plain(qv_str_of(name)))
        return true;
    if (l->count == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 8;
        l->items = qv_mem_realloc(l->items, l->cap * sizeof *l->items);
    }
    struct qv_snapshot_desc *d = &l->items[l->count++];
    memset(d, 0, sizeof *d);
    snprintf(d->name, sizeof d->name, "%s", name);
    return l->count < LIST_MAX;
}

static int desc_compare(const void *a, const void *b)
{
    const struct qv_snapshot_desc *x = a;
    const struct qv_snapshot_desc *y = b;
    if (x->created_ms != y->created_ms)
        return x->created_ms < y->created_ms ? -1 : 1;
    return strcmp(x->name, y->name);
}

int qv_node_snapshot_list(struct qv_node *n, const struct qv_snapshot_scope *scope,
                          struct qv_arena *arena, struct qv_snapshot_desc **out, uint32_t *count,
                          struct qv_errmsg *msg)
{
    char dir[QV_SNAPSHOT_PATH_MAX];
    struct listing l = {.disk = n->env->disk, .dir = dir};
    *out = NULL;
    *count = 0;
    int err = check_scope(n, scope, msg);
    if (err == 0)
        err = qv_snapshot_dir(n, scope, dir);
    if (err != 0)
        return err;
    err = qv_disk_list(l.disk, dir, list_one, &l, msg);
    if (err == QV_ENOTFOUND) /* none was made yet */
        err = 0;
    uint32_t kept = 0;
    for (uint32_t i = 0; err == 0 && i < l.count; i++) {
        if (describe(&l, &l.items[i]))
            l.items[kept++] = l.items[i];
    }
    l.count = kept;
    if (err == 0 && l.count > 0) {
        qsort(l.items, l.count, sizeof *l.items, desc_compare);
        *out = qv_arena_dup(arena, l.items, l.count * sizeof *l.items);
        *count = l.count;
        err = *out == NULL ? QV_ETOOBIG : 0;
    }
    qv_mem_free(l.items);
    return err;
}

int qv_node_snapshot_delete(struct qv_node *n, const struct qv_snapshot_scope *scope,
                            struct qv_str name, struct qv_errmsg *msg)
{
    char path[QV_SNAPSHOT_PATH_MAX];
    char side[QV_SNAPSHOT_PATH_MAX + 16];
    char dir[QV_SNAPSHOT_PATH_MAX];
    int err = qv_node_snapshot_path(n, scope, name, path, msg);
    if (err == 0)
        err = qv_snapshot_dir(n, scope, dir);
    if (err == 0)
        err = qv_disk_unlink(n->env->disk, path, msg);
    if (err != 0)
        return err == QV_ENOTFOUND ? no_snapshot(name, msg) : err;
    snprintf(side, sizeof side, "%s.checksum", path);
    err = qv_disk_unlink(n->env->disk, side, msg);
    if (err == 0 || err == QV_ENOTFOUND)
        err = qv_disk_sync_dir(n->env->disk, dir, msg);
    return err;
}
