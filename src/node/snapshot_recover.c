/* Restoring from a snapshot. Verify the whole file; then for each collection in it: its
 * configuration against what is here, new shards beside the old ones in slices, and the switch: the
 * store takes the shards, one transaction of the metadata names them (and makes the collection,
 * where there was none), requests see them, the old shards go. Whatever fails before the
 * transaction leaves everything as it was; a crash leaves directories that the next start removes.
 *
 * A shard's points are those that its number owns in a collection of that many shards, so they go
 * where the same numbers are, or make a collection: nothing is divided anew. */
#include "node/snapshots_private.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "core/limits.h"
#include "wire/json_answer.h"

#include <stdio.h>
#include <string.h>

#define PART_BYTES_MAX ((uint64_t)2 << 20)
#define WAIT_NS (20 * QV_NS_PER_MS)

enum phase { PHASE_OPEN, PHASE_VERIFY, PHASE_CONFIG, PHASE_BUILD, PHASE_DISCARD, PHASE_ALIASES };

struct new_shard {
    uint32_t number; /* in the collection */
    uint32_t store;  /* in the store */
    uint32_t old;    /* the one that it replaces there; 0: none */
    struct qv_shard_import *im;
    bool built;
    bool adopted; /* by the store */
};

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
    uint32_t owners;       /* collections in the file */
    uint32_t part;         /* where the present one's begins */
    struct qv_arena arena; /* of one collection */
    struct qv_str collection;
    struct qv_collection_config config; /* the snapshot's */
    uint32_t *numbers;                  /* of its shards in the file */
    uint32_t number_count;
    const struct qv_topology *seen;     /* what the decision was made on */
    const struct qv_collection *before; /* in seen; NULL: a new one */
    const struct qv_collection *made;   /* a reference, until the topology has it */
    struct new_shard *shards;           /* number_count; in the arena */
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

/* The numbers of the shards that the file holds of a collection. */
static int read_numbers(struct task *t, uint32_t format, struct qv_rd *rd)
{
    uint32_t n = format == QV_NODE_PART_FORMAT_ONE ? 1 : qv_rd_u32(rd);
    if (rd->failed || n == 0 || n > QV_SHARDS_MAX)
        return qv_fail(&t->msg, QV_EINVAL, "the snapshot's collection has %u shards", n);
    t->numbers = QV_ARENA_ARRAY(&t->arena, uint32_t, n);
    t->shards = QV_ARENA_ARRAY(&t->arena, struct new_shard, n);
    if (t->numbers == NULL || t->shards == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < n && format != QV_NODE_PART_FORMAT_ONE; i++) {
        t->numbers[i] = qv_rd_u32(rd);
        if (i > 0 && t->numbers[i] <= t->numbers[i - 1])
            return qv_fail(&t->msg, QV_EINVAL, "the snapshot's shards are out of order");
    }
    t->number_count = n;
    return 0;
}

static int check_numbers(struct task *t)
{
    if (t->req.shard) {
        if (t->number_count == 1 && t->numbers[0] == t->req.number)
            return 0;
        return qv_fail(&t->msg, QV_EINVAL, "the snapshot is not of shard %u alone", t->req.number);
    }
    if (t->number_count != t->config.shard_number)
        return qv_fail(&t->msg, QV_EINVAL,
                       "the snapshot holds %u of its collection's %u shards: restore it as a shard",
                       t->number_count, t->config.shard_number);
    return 0;
}

static int read_config(struct task *t)
{
    struct qv_bytes bytes;
    struct qv_rd rd;
    uint64_t generation;
    qv_arena_close(&t->arena);
    qv_arena_init(&t->arena, QV_NODE_RECORD_ARENA_BYTES);
    t->shards = NULL;
    t->number_count = 0;
    while (qv_snapshot_part(t->r, t->part)->kind != QV_NODE_PART_COLLECTION)
        t->part++; /* there are as many as were counted */
    int err = read_part(t, QV_NODE_PART_COLLECTION, qv_snapshot_part(t->r, t->part)->owner, &bytes);
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
        return qv_fail(&t->msg, QV_EINVAL, "the snapshot's part %u can't be read", t->part);
    err = read_numbers(t, format, &rd);
    if (err != 0)
        return err;
    err = qv_json_config_read((struct qv_bytes){rd.p, qv_rd_left(&rd)}, &t->arena, &t->config,
                              &generation, &t->msg);
    if (err == 0)
        err = qv_config_check(&t->config, &t->msg);
    if (err == 0)
        err = check_numbers(t);
    t->collection = t->name != NULL ? qv_str_of(t->name) : name;
    return input_error(t, err);
}

static int build(struct task *t)
{
    uint32_t i = 0;
    while (t->shards[i].built)
        i++;
    struct new_shard *s = &t->shards[i];
    int err = qv_shard_import_step(s->im, QV_SNAPSHOT_SLICE_BYTES, &s->built, &t->msg);
    t->slice_done = err == 0 && s->built && i + 1 == t->number_count;
    return input_error(t, err);
}

/* Of those that were adopted nothing is on the disk. */
static void destroy_imports(struct task *t)
{
    for (uint32_t i = 0; i < t->number_count; i++)
        qv_shard_import_destroy(&t->shards[i].im);
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
        return build(t);
    case PHASE_DISCARD: /* t->err is told, not what happens here */
        destroy_imports(t);
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
        return qv_fail(&t->msg, QV_EINVAL,
                       "Snapshot is not compatible with existing collection: it has %u shards, the "
                       "snapshot %u, and points are not divided anew: restore it under another "
                       "name",
                       here->shard_number, theirs->shard_number);
    if (!qv_placement_config_equal(&here->placement, &theirs->placement))
        return mismatch(t, "placements");
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

/* A shard alone takes over nothing: the others' records know the vectors by the numbers here. */
static int check_shard(struct task *t, const struct qv_collection *before)
{
    const struct qv_collection_config *here = before->config;
    for (uint32_t i = 0; i < t->config.vector_count; i++) {
        const struct qv_vector_config *v = qv_config_vector(here, t->config.vectors[i].name);
        if (v->number != t->config.vectors[i].number)
            return mismatch(t, "the numbers of vectors");
    }
    for (uint32_t i = 0; i < t->config.sparse_count; i++) {
        const struct qv_sparse_config *s = qv_config_sparse(here, t->config.sparse[i].name);
        if (s->number != t->config.sparse[i].number)
            return mismatch(t, "the numbers of vectors");
    }
    return 0;
}

/* A collection of several shards has them under the numbers that the file has. */
static int check_places(struct task *t, const struct qv_collection *before)
{
    if (before->shard_count != t->config.shard_number)
        return mismatch(t, "shards");
    for (uint32_t i = 0; i < t->number_count; i++) {
        if (qv_collection_shard(before, t->numbers[i]) == NULL)
            return mismatch(t, "the numbers of shards");
    }
    return 0;
}

static int decide_on(struct task *t, struct qv_collection_config *config,
                     struct qv_collection_spec *spec)
{
    const struct qv_collection *before = t->before;
    memcpy(spec->uuid, before->uuid, sizeof spec->uuid);
    spec->generation = before->generation + 1;
    spec->shard_count = before->shard_count;
    spec->shards = before->shards;
    int err = qv_snapshot_check_here(t->n, before, &t->msg);
    if (err == 0)
        err = merge(t, before->config, config);
    if (err == 0)
        err = check_places(t, before);
    if (err == 0 && t->req.shard && before->shard_count > 1) {
        err = check_shard(t, before);
        spec->generation = before->generation;
        spec->config = before->config; /* shared: the other shards go on reading it */
        spec->before = before;
    }
    return err;
}

static int begin_imports(struct task *t)
{
    struct qv_node *n = t->n;
    const struct qv_collection *c = t->made;
    const uint32_t owner = qv_snapshot_part(t->r, t->part)->owner;
    if (owner > UINT32_MAX - QV_SHARDS_MAX)
        return qv_fail(&t->msg, QV_EINVAL, "the snapshot's shards have no numbers");
    for (uint32_t i = 0; i < t->number_count; i++) {
        struct new_shard *s = &t->shards[i];
        const uint32_t at = (uint32_t)(qv_collection_shard(c, t->numbers[i]) - c->shards);
        s->number = t->numbers[i];
        s->old = t->before != NULL ? qv_node_store_number(n, t->before, at) : 0;
        s->store = n->next_shard++; /* never used again, whatever happens */
        const struct qv_shard_spec spec = qv_node_spec_of(c, at, s->store);
        s->im = qv_shard_import_create(n->store, &spec, t->r, owner + i);
    }
    return 0;
}

static int decide(struct task *t)
{
    struct qv_node *n = t->n;
    struct qv_collection_config config = t->config;
    struct qv_shard_place places[QV_SHARDS_MAX];
    struct qv_collection_spec spec = {.name = t->collection,
                                      .generation = 1,
                                      .config = &config,
                                      .shard_count = t->number_count,
                                      .shards = places};
    int err = 0;
    t->seen = qv_node_topology(n);
    t->before = qv_topology_find_own(t->seen, t->collection);
    if (t->before != NULL && t->name == NULL && !t->req.force)
        return qv_fail(&t->msg, QV_EEXISTS, "Collection `%.*s` already exists!",
                       (int)t->collection.n, t->collection.p);
    if (t->before == NULL && t->req.shard)
        return qv_node_missing(t->collection, &t->msg);
    if (t->before != NULL) {
        err = decide_on(t, &config, &spec);
    } else {
        for (uint32_t i = 0; i < t->number_count; i++)
            places[i] = (struct qv_shard_place){.number = t->numbers[i]};
        err = qv_node_check_new(n, t->collection, &config, &t->msg);
        qv_node_new_uuid(n, spec.uuid);
    }
    if (err == 0)
        err = qv_collection_create(&spec, &t->made);
    return err == 0 ? begin_imports(t) : err;
}

/* ---- the switch (owner) ---- */

/* The store's shards read the configuration of c until they are gone. */
static void give_up(struct task *t, const struct qv_collection *c)
{
    for (uint32_t i = 0; i < t->number_count; i++) {
        struct new_shard *s = &t->shards[i];
        if (!s->adopted)
            continue;
        s->adopted = false;
        qv_collection_ref(c);
        qv_store_drop_shard(t->n->store, s->store, qv_node_collection_gone, (void *)(uintptr_t)c);
    }
}

static int adopt(struct task *t)
{
    struct qv_shard *shard;
    int err = 0;
    for (uint32_t i = 0; i < t->number_count && err == 0; i++) {
        err = qv_shard_import_adopt(t->shards[i].im, &shard, &t->msg);
        t->shards[i].adopted = err == 0;
    }
    return err;
}

/* What the collection's record says of its shards; undone where it can't be written. */
static int save(struct task *t)
{
    struct qv_node *n = t->n;
    const uint8_t *uuid = t->made->uuid;
    for (uint32_t i = 0; i < t->number_count; i++) {
        struct new_shard *s = &t->shards[i];
        if (s->old != 0)
            qv_node_local_find(n, uuid, s->number)->store = s->store;
        else
            qv_node_local_add(n, uuid, s->number, s->store);
    }
    int err = qv_node_save_collection(n, t->made, &t->msg);
    for (uint32_t i = 0; i < t->number_count && err != 0; i++) {
        struct new_shard *s = &t->shards[i];
        if (s->old != 0)
            qv_node_local_find(n, uuid, s->number)->store = s->old;
        else
            qv_node_local_remove(n, uuid, s->number);
    }
    return err;
}

static int switch_over(struct task *t)
{
    struct qv_node *n = t->n;
    if (qv_topology_find_own(n->topology, t->collection) != t->before ||
        (t->before == NULL && qv_topology_alias(n->topology, t->collection) != NULL))
        return qv_fail(&t->msg, QV_ESTALE,
                       "the collection was changed while it was being restored: try again");
    int err = adopt(t);
    if (err == 0)
        err = save(t);
    if (err != 0) {
        give_up(t, t->made);
        return err;
    }
    const struct qv_collection *made = t->made;
    for (uint32_t i = 0; i < t->number_count; i++) {
        const struct new_shard *s = &t->shards[i];
        qv_node_local_reach(n, qv_node_local_find(n, made->uuid, s->number), s->store);
        if (s->old != 0) /* the old one reads its configuration until it is gone */
            qv_collection_ref(t->before);
    }
    t->made = NULL;
    qv_node_set_topology(n, qv_topology_with(n->topology, n->records->epoch, made));
    for (uint32_t i = 0; i < t->number_count; i++) {
        if (t->shards[i].old != 0)
            qv_store_replace_shard(n->store, t->shards[i].old, qv_node_collection_gone,
                                   (void *)(uintptr_t)t->before);
    }
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
    destroy_imports(t);
    qv_topology_unref(t->seen);
    t->seen = NULL;
    t->before = NULL;
    t->part++;
    t->owners--;
    if (t->owners > 0)
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

/* What can be said before the file is read. */
static int check_target(struct task *t)
{
    if (qv_node_in_cluster(t->n))
        return qv_fail(&t->msg, QV_ENOTIMPL, "Not implemented: restoring snapshots in a cluster");
    if (!t->req.shard)
        return 0;
    const struct qv_collection *c =
        qv_topology_find_own(t->n->topology, t->name != NULL ? qv_str_of(t->name) : t->collection);
    if (c != NULL && qv_collection_shard(c, t->req.number) == NULL)
        return qv_fail(&t->msg, QV_ENOTFOUND, "Shard %u not found", t->req.number);
    return 0;
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
    err = check_target(t);
    if (err != 0)
        finish(t, err);
    else
        run_phase(t, PHASE_OPEN);
}
