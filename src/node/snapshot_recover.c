/* Restoring from a snapshot. Verify the whole file; then for each collection in it: its
 * configuration against what is here, a new shard beside the old one in slices, and the switch: the
 * store takes the shard, one transaction of the metadata names it (and makes the collection, where
 * there was none), requests see it, the old shard goes. Whatever fails before the transaction
 * leaves everything as it was; a crash leaves a directory that the next start removes. */
#include "node/snapshots_private.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "wire/json_answer.h"

#include <stdio.h>
#include <string.h>

#define PART_BYTES_MAX ((uint64_t)2 << 20)
#define WAIT_NS (20 * QV_NS_PER_MS)

enum phase { PHASE_OPEN, PHASE_VERIFY, PHASE_CONFIG, PHASE_BUILD, PHASE_DISCARD, PHASE_ALIASES };

struct task {
    struct qv_node *n;
    struct qv_snapshot_recover_req req;
    char *name, *path, *checksum; /* copies */
    struct qv_slices slices;
    struct qv_timer timer;
    bool turn; /* it is the one that restores */
    enum phase phase;
    bool slice_done;
    struct qv_snapshot_reader *r;
    uint32_t owner, owners;
    struct qv_arena arena; /* of one collection */
    struct qv_str collection;
    struct qv_collection_config config; /* the snapshot's */
    const struct qv_topology *seen;     /* what the decision was made on */
    const struct qv_collection *before; /* in seen; NULL: a new one */
    const struct qv_collection *made;   /* a reference, until the topology has it */
    uint32_t store;                     /* the new shard's number in the store */
    struct qv_shard_import *im;
    struct qv_buf aliases;
    int err;
    struct qv_errmsg msg;
};

/* What is wrong with a snapshot is the caller's, not this node's; where in the source it was found
 * is not for them. */
static int input_error(struct task *t, int err)
{
    if (err != QV_ECORRUPT && err != QV_EEOF && err != QV_EFORMAT && err != QV_EVALIDATION)
        return err;
    char *place = strstr(t->msg.text, " [../");
    if (err == QV_ECORRUPT && place != NULL)
        *place = '\0';
    return QV_EINVAL;
}

/* ---- slices (jobs) ---- */

static int open_file(struct task *t)
{
    char path[64];
    const char *from = t->path;
    if (t->req.fd >= 0) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", t->req.fd);
        from = path;
    }
    int err = qv_snapshot_open(t->n->env->disk, from, t->req.offset, t->req.bytes, &t->r, &t->msg);
    if (err != 0)
        return input_error(t, err);
    bool full = t->name == NULL;
    if (full != (qv_snapshot_kind(t->r) == QV_SNAPSHOT_FULL))
        return qv_fail(&t->msg, QV_EINVAL,
                       full ? "the snapshot is of one collection, not of all"
                            : "the snapshot is of all collections, not of one");
    for (uint32_t i = 0; i < qv_snapshot_part_count(t->r); i++)
        t->owners += qv_snapshot_part(t->r, i)->kind == QV_NODE_PART_COLLECTION;
    if (t->owners > QV_COLLECTIONS_MAX || (!full && t->owners != 1))
        return qv_fail(&t->msg, QV_EINVAL, "the snapshot holds %u collections", t->owners);
    return 0;
}

static bool same_hex(const char *a, const char *b)
{
    size_t n = strlen(a);
    if (n != strlen(b))
        return false;
    for (size_t i = 0; i < n; i++) {
        char x = a[i] >= 'A' && a[i] <= 'F' ? (char)(a[i] + 32) : a[i];
        if (x != b[i])
            return false;
    }
    return true;
}

static int verify(struct task *t, uint64_t *bytes)
{
    uint8_t sha[QV_SHA256_BYTES];
    char text[QV_SHA256_TEXT];
    bool with_sha = t->checksum != NULL;
    int err =
        qv_snapshot_verify_step(t->r, QV_SNAPSHOT_SLICE_BYTES, with_sha, &t->slice_done, &t->msg);
    *bytes = QV_SNAPSHOT_SLICE_BYTES;
    if (err != 0 || !t->slice_done || !with_sha)
        return input_error(t, err);
    qv_snapshot_sha256(t->r, sha);
    qv_sha256_format(sha, text);
    if (!same_hex(t->checksum, text))
        return qv_fail(&t->msg, QV_EINVAL, "Snapshot checksum mismatch: expected %.100s, got %s",
                       t->checksum, text);
    return 0;
}

/* A whole part in the arena. */
static int read_part(struct task *t, uint32_t kind, uint32_t owner, struct qv_bytes *out)
{
    uint32_t part = qv_snapshot_find(t->r, kind, owner, 0);
    if (part == UINT32_MAX || qv_snapshot_part(t->r, part)->bytes > PART_BYTES_MAX)
        return qv_fail(&t->msg, QV_EINVAL, "the snapshot lacks its part %u.%u", kind, owner);
    out->n = (size_t)qv_snapshot_part(t->r, part)->bytes;
    uint8_t *p = qv_arena_alloc(&t->arena, out->n + 1);
    if (p == NULL)
        return QV_ENOMEM;
    out->p = p;
    qv_snapshot_begin_read(t->r, part);
    int err = qv_snapshot_read(t->r, p, out->n, &t->msg);
    if (err == 0)
        err = qv_snapshot_end_read(t->r, &t->msg);
    return input_error(t, err);
}

static int read_config(struct task *t)
{
    struct qv_bytes bytes;
    struct qv_rd rd;
    uint64_t generation;
    qv_arena_close(&t->arena);
    qv_arena_init(&t->arena, QV_NODE_RECORD_ARENA_BYTES);
    int err = read_part(t, QV_NODE_PART_COLLECTION, t->owner, &bytes);
    if (err != 0)
        return err;
    qv_rd_init(&rd, bytes.p, bytes.n);
    uint32_t format = qv_rd_u32(&rd);
    struct qv_str name = {.n = qv_rd_u32(&rd)};
    name.p = (const char *)qv_rd_take(&rd, name.n);
    (void)qv_rd_take(&rd, QV_UUID_BYTES);
    if (!rd.failed && format > QV_NODE_PART_FORMAT)
        return qv_fail(&t->msg, QV_ENOTIMPL, "a collection of format %u: made by a newer version",
                       format);
    if (rd.failed || format == 0 || name.n == 0)
        return qv_fail(&t->msg, QV_EINVAL, "the snapshot's collection %u can't be read", t->owner);
    err = qv_json_config_read((struct qv_bytes){rd.p, qv_rd_left(&rd)}, &t->arena, &t->config,
                              &generation, &t->msg);
    if (err == 0)
        err = qv_config_check(&t->config, &t->msg);
    t->collection = t->name != NULL ? qv_str_of(t->name) : name;
    return input_error(t, err);
}

static int slice(void *arg, uint64_t *bytes)
{
    struct task *t = arg;
    struct qv_bytes part;
    int err;
    switch (t->phase) {
    case PHASE_OPEN:
        return open_file(t);
    case PHASE_VERIFY:
        return verify(t, bytes);
    case PHASE_CONFIG:
        return read_config(t);
    case PHASE_BUILD:
        *bytes = QV_SNAPSHOT_SLICE_BYTES;
        return input_error(
            t, qv_shard_import_step(t->im, QV_SNAPSHOT_SLICE_BYTES, &t->slice_done, &t->msg));
    case PHASE_DISCARD: /* t->err is told, not what happens here */
        qv_shard_import_destroy(&t->im);
        if (t->req.remove) {
            int gone = qv_disk_unlink(t->n->env->disk, t->path, NULL); /* or at the next start */
            (void)gone;
        }
        return 0;
    default:
        err = read_part(t, QV_NODE_PART_ALIASES, 0, &part);
        if (err == 0)
            qv_buf_append(&t->aliases, part.p, part.n);
        return err;
    }
}

/* ---- the configuration (owner) ---- */

static bool same_vector(const struct qv_vector_config *a, const struct qv_vector_config *b)
{
    return a->size == b->size && a->distance == b->distance && a->datatype == b->datatype &&
           a->multivector == b->multivector;
}

static int mismatch(struct task *t, const char *what)
{
    return qv_fail(&t->msg, QV_EINVAL,
                   "Snapshot is not compatible with existing collection: %s differ", what);
}

/* What is here stays, with the numbers that the snapshot's records know the vectors by. */
static int merge(struct task *t, const struct qv_collection_config *here,
                 struct qv_collection_config *out)
{
    const struct qv_collection_config *theirs = &t->config;
    *out = *here;
    if (here->vector_count != theirs->vector_count ||
        here->vectors_unnamed != theirs->vectors_unnamed)
        return mismatch(t, "vectors");
    if (here->sparse_count != theirs->sparse_count)
        return mismatch(t, "sparse vectors");
    if (here->shard_number != theirs->shard_number)
        return mismatch(t, "shard numbers");
    struct qv_vector_config *vectors =
        QV_ARENA_ARRAY(&t->arena, struct qv_vector_config, here->vector_count + 1);
    struct qv_sparse_config *sparse =
        QV_ARENA_ARRAY(&t->arena, struct qv_sparse_config, here->sparse_count + 1);
    struct qv_payload_index *indexes =
        QV_ARENA_ARRAY(&t->arena, struct qv_payload_index, here->payload_index_count + 1);
    if (vectors == NULL || sparse == NULL || indexes == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < theirs->vector_count; i++) { /* in the snapshot's order */
        const struct qv_vector_config *v = qv_config_vector(here, theirs->vectors[i].name);
        if (v == NULL || !same_vector(v, &theirs->vectors[i]))
            return mismatch(t, "vectors");
        vectors[i] = *v;
        vectors[i].number = theirs->vectors[i].number;
    }
    for (uint32_t i = 0; i < theirs->sparse_count; i++) {
        const struct qv_sparse_config *s = qv_config_sparse(here, theirs->sparse[i].name);
        if (s == NULL)
            return mismatch(t, "sparse vectors");
        sparse[i] = *s;
        sparse[i].number = theirs->sparse[i].number;
    }
    if (theirs->next_number > out->next_number)
        out->next_number = theirs->next_number;
    for (uint32_t i = 0; i < here->payload_index_count; i++) { /* theirs may be a vector's now */
        indexes[i] = here->payload_indexes[i];
        indexes[i].number = out->next_number++;
    }
    out->vectors = vectors;
    out->sparse = sparse;
    out->payload_indexes = indexes;
    return 0;
}

static int decide(struct task *t)
{
    struct qv_node *n = t->n;
    struct qv_collection_config config = t->config;
    struct qv_shard_place place = {.number = 0};
    struct qv_collection_spec spec = {.name = t->collection,
                                      .generation = 1,
                                      .config = &config,
                                      .shard_count = 1,
                                      .shards = &place};
    int err = 0;
    t->seen = qv_node_topology(n);
    t->before = qv_topology_find_own(t->seen, t->collection);
    if (t->before != NULL && t->name == NULL && !t->req.force)
        return qv_fail(&t->msg, QV_EEXISTS, "Collection `%.*s` already exists!",
                       (int)t->collection.n, t->collection.p);
    if (t->before == NULL && t->req.shard)
        return qv_node_missing(t->collection, &t->msg);
    if (t->before != NULL) {
        err = merge(t, t->before->config, &config);
        memcpy(spec.uuid, t->before->uuid, sizeof spec.uuid);
        spec.generation = t->before->generation + 1;
    } else {
        err = qv_node_check_new(n, t->collection, &config, &t->msg);
        qv_node_new_uuid(n, spec.uuid);
    }
    if (err == 0)
        err = qv_collection_create(&spec, &t->made);
    if (err != 0)
        return err;
    t->store = n->next_shard++; /* never used again, whatever happens */
    struct qv_shard_spec shard = qv_node_spec_of(t->made, 0, t->store);
    t->im = qv_shard_import_create(n->store, &shard, t->r, t->owner);
    return 0;
}

/* ---- the switch (owner) ---- */

static int switch_over(struct task *t)
{
    struct qv_node *n = t->n;
    struct qv_shard *shard;
    if (qv_topology_find_own(n->topology, t->collection) != t->before ||
        (t->before == NULL && qv_topology_alias(n->topology, t->collection) != NULL))
        return qv_fail(&t->msg, QV_ESTALE,
                       "the collection was changed while it was being restored: try again");
    int err = qv_shard_import_adopt(t->im, &shard, &t->msg);
    if (err != 0)
        return err;
    const struct qv_collection *made = t->made;
    const uint32_t old = t->before != NULL ? qv_node_store_number(n, t->before, 0) : 0;
    struct qv_node_local *l = old != 0 ? qv_node_local_find(n, made->uuid, made->shards[0].number)
                                       : qv_node_local_add(n, made->uuid, 0, t->store);
    t->made = NULL;
    l->store = t->store; /* what the record says */
    err = qv_node_save_collection(n, made, &t->msg);
    if (err != 0) {
        l->store = old;
        if (old == 0)
            qv_node_local_remove(n, made->uuid, 0);
        qv_store_drop_shard(n->store, t->store, qv_node_collection_gone, (void *)(uintptr_t)made);
        return err;
    }
    qv_node_local_reach(n, l, t->store);
    if (t->before != NULL)
        qv_collection_ref(t->before); /* its shard reads the configuration until it is gone */
    qv_node_set_topology(n, qv_topology_with(n->topology, n->records->epoch, made));
    if (old != 0)
        qv_store_replace_shard(n->store, old, qv_node_collection_gone,
                               (void *)(uintptr_t)t->before);
    QV_INFO("snapshot", "collection %.*s is restored", (int)t->collection.n, t->collection.p);
    return 0;
}

static int restore_aliases(struct task *t)
{
    struct qv_node *n = t->n;
    const struct qv_topology *with = NULL;
    int err = qv_node_decode_aliases(
        n->topology, (struct qv_bytes){t->aliases.data, t->aliases.len}, &with, &t->msg);
    if (err != 0)
        return input_error(t, err);
    const struct qv_aliases_out *a = &with->aliases;
    struct qv_alias_action *actions = qv_mem_calloc(a->count + 1, sizeof *actions);
    for (uint32_t i = 0; i < a->count; i++)
        actions[i] = (struct qv_alias_action){
            .type = QV_ALIAS_CREATE, .name = a->list[i].name, .target = a->list[i].collection};
    const struct qv_alias_req req = {.actions = actions, .count = a->count};
    err = qv_node_update_aliases(n, &req, &t->msg);
    qv_mem_free(actions);
    qv_topology_unref(with);
    return err;
}

/* ---- from slice to slice (owner) ---- */

static void end(struct task *t)
{
    struct qv_node *n = t->n;
    if (t->turn)
        n->snapshots.recovering = false;
    if (t->err != 0)
        QV_WARN("snapshot", "not restored: %s",
                t->msg.text[0] != '\0' ? t->msg.text : qv_err_text(t->err));
    qv_snapshot_close(t->r);
    if (t->req.fd >= 0)
        t->req.close_fd(t->req.fd);
    t->req.done(t->req.arg, t->err, NULL, &t->msg);
    qv_collection_unref(t->made);
    qv_topology_unref(t->seen);
    qv_arena_close(&t->arena);
    qv_buf_close(&t->aliases);
    qv_mem_free(t->name);
    qv_mem_free(t->path);
    qv_mem_free(t->checksum);
    qv_mem_free(t);
    qv_snapshot_task_end(n);
}

/* What is on the disk goes in a job; then the end. */
static void finish(struct task *t, int err)
{
    t->err = err;
    t->phase = PHASE_DISCARD;
    qv_slices_next(&t->slices);
}

static void run_phase(struct task *t, enum phase phase)
{
    t->phase = phase;
    t->slice_done = false;
    qv_slices_next(&t->slices);
}

/* One is restored: on with the next one, or to the end. */
static void next_collection(struct task *t)
{
    qv_shard_import_destroy(&t->im); /* adopted: nothing of it is on the disk */
    qv_topology_unref(t->seen);
    t->seen = NULL;
    t->before = NULL;
    t->owner++;
    if (t->owner < t->owners)
        run_phase(t, PHASE_CONFIG);
    else if (t->name == NULL)
        run_phase(t, PHASE_ALIASES);
    else
        finish(t, 0);
}

static void wait_turn(struct qv_timer *timer);

/* One at a time: opening a large shard keeps an IO thread for seconds. */
static void take_turn(struct task *t)
{
    if (t->n->snapshots.stopping) {
        finish(t, qv_fail(&t->msg, QV_EUNAVAILABLE, "the node is shutting down"));
        return;
    }
    if (t->n->snapshots.recovering) {
        t->timer = (struct qv_timer){.run = wait_turn, .arg = t};
        qv_env_timer_start(t->n->env, &t->timer, WAIT_NS);
        return;
    }
    t->turn = t->n->snapshots.recovering = true;
    run_phase(t, t->owners > 0 ? PHASE_CONFIG : PHASE_ALIASES);
}

static void wait_turn(struct qv_timer *timer)
{
    take_turn(timer->arg);
}

static void step(struct task *t)
{
    int err = 0;
    switch (t->phase) {
    case PHASE_OPEN:
        run_phase(t, PHASE_VERIFY);
        return;
    case PHASE_CONFIG:
        err = decide(t);
        if (err == 0)
            run_phase(t, PHASE_BUILD);
        break;
    case PHASE_ALIASES:
        finish(t, restore_aliases(t));
        return;
    default: /* VERIFY, BUILD */
        if (!t->slice_done) {
            qv_slices_next(&t->slices);
        } else if (t->phase == PHASE_VERIFY) {
            take_turn(t);
        } else {
            err = switch_over(t);
            if (err == 0)
                next_collection(t);
        }
    }
    if (err != 0)
        finish(t, err);
}

static void after(void *arg, int err)
{
    struct task *t = arg;
    if (t->phase == PHASE_DISCARD) {
        end(t);
        return;
    }
    if (err == 0 && t->n->snapshots.stopping)
        err = qv_fail(&t->msg, QV_EUNAVAILABLE, "the node is shutting down");
    if (err != 0)
        finish(t, err);
    else
        step(t);
}

void qv_node_snapshot_recover(struct qv_node *n, const struct qv_snapshot_recover_req *req)
{
    struct qv_errmsg msg = {""};
    int err = qv_snapshot_task_begin(n, &msg);
    if (err != 0) {
        if (req->fd >= 0)
            req->close_fd(req->fd);
        req->done(req->arg, err, NULL, &msg);
        return;
    }
    struct task *t = qv_mem_calloc(1, sizeof *t);
    t->n = n;
    t->req = *req;
    if (req->collection.n > 0) {
        t->name = qv_mem_calloc(1, req->collection.n + 1);
        memcpy(t->name, req->collection.p, req->collection.n);
    }
    t->path = req->path != NULL ? qv_mem_strdup(req->path) : NULL;
    t->checksum = req->checksum != NULL ? qv_mem_strdup(req->checksum) : NULL;
    qv_arena_init(&t->arena, QV_NODE_RECORD_ARENA_BYTES);
    qv_buf_init(&t->aliases, 0);
    t->slices = (struct qv_slices){.n = n, .slice = slice, .after = after, .arg = t};
    run_phase(t, PHASE_OPEN);
}
