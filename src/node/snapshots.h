/* A node's snapshots: where they lie, and the background tasks that make them and restore from
 * them.
 *
 *   <dir>/<collection>/<name>                of a collection, beside it <name>.checksum (SHA-256)
 *   <dir>/<collection>/shards/<n>/<name>     of a shard
 *   <dir>/<name>                             of everything
 *   <dir>/:tmp/                              what is being made; emptied at a start
 *
 * A task works in slices of a few MiB on the IO threads, at most `bytes_per_s`, so that checkpoints
 * and other tasks get their turn. A snapshot appears under its name complete and durable, or not at
 * all. Restoring verifies the whole file before anything is made of it, builds new shards beside
 * the old ones, and switches to all of a collection in one transaction of the metadata; until then
 * nothing has changed. */
#ifndef QV_NODE_SNAPSHOTS_H
#define QV_NODE_SNAPSHOTS_H

#include "base/sha256.h"
#include "node/node.h"

#define QV_SNAPSHOT_PATH_MAX 4096
#define QV_SNAPSHOT_TASKS_MAX 16u

/* ---- files; any worker, they block on the disk ---- */

QV_MUST_USE int qv_node_snapshot_list(struct qv_node *n, const struct qv_snapshot_scope *scope,
                                      struct qv_arena *arena, struct qv_snapshot_desc **out,
                                      uint32_t *count, struct qv_errmsg *msg);
QV_MUST_USE int qv_node_snapshot_delete(struct qv_node *n, const struct qv_snapshot_scope *scope,
                                        struct qv_str name, struct qv_errmsg *msg);
/* Where it lies; QV_ENOTFOUND when it does not. out: QV_SNAPSHOT_PATH_MAX bytes. */
QV_MUST_USE int qv_node_snapshot_path(struct qv_node *n, const struct qv_snapshot_scope *scope,
                                      struct qv_str name, char *out, struct qv_errmsg *msg);
/* <dir>/:tmp, made when it is missing; for downloads and uploads. */
const char *qv_node_snapshot_dir(const struct qv_node *n); /* NULL: there is none */
QV_MUST_USE int qv_node_snapshot_tmp(struct qv_node *n, char *out, struct qv_errmsg *msg);
/* Removes what was never finished; at a start. */
QV_MUST_USE int qv_node_snapshot_clean(struct qv_node *n, struct qv_errmsg *msg);

/* ---- tasks; on the owner ---- */

/* Once, on the owner. made: what was made (creation), borrowed for the call. */
typedef void (*qv_snapshot_done_f)(void *arg, int err, const struct qv_snapshot_desc *made,
                                   const struct qv_errmsg *msg);

struct qv_snapshot_create_req {
    struct qv_snapshot_scope scope;
    qv_snapshot_done_f done;
    void *arg;
};
/* Copies req. done is always called, perhaps before it returns. */
void qv_node_snapshot_create(struct qv_node *n, const struct qv_snapshot_create_req *req);

struct qv_snapshot_recover_req {
    struct qv_str collection; /* empty: a full snapshot, all its collections and aliases */
    bool shard;               /* of an existing collection: the one of that number */
    uint32_t number;
    bool force;               /* full: collections that exist are replaced, else QV_EEXISTS */
    const char *path;         /* of the file ... */
    int fd;                   /* ... or -1; open while the task runs: taken, closed by close_fd */
    void (*close_fd)(int fd); /* NULL when fd is -1 */
    uint64_t offset, bytes;   /* the snapshot in it; bytes 0: to its end */
    bool remove;              /* the file is removed when done */
    const char *checksum;     /* SHA-256 in hex, or NULL */
    qv_snapshot_done_f done;
    void *arg;
};
/* Copies req. QV_EINVAL: the file is no sound snapshot, has another checksum, or its vectors are
 * not the collection's. A failure leaves everything as it was. */
void qv_node_snapshot_recover(struct qv_node *n, const struct qv_snapshot_recover_req *req);

/* Tasks end as soon as they can, with QV_EUNAVAILABLE; new ones are refused. */
void qv_node_snapshot_stop(struct qv_node *n);

#endif
