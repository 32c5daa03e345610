/* The target's host: chunks on the disk, the shard made of them, its replay. */
#include "node/node_transfer_private.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdio.h>
#include <string.h>

#define COMPARE_CHUNKS 4

enum phase {
    PHASE_RECALL,
    PHASE_COMPARE,
    PHASE_MANIFEST,
    PHASE_CHUNK,
    PHASE_OPEN,
    PHASE_VERIFY,
    PHASE_BUILD,
    PHASE_CLEAN,
    PHASE_DISCARD,
    PHASE_GONE
};

static struct qv_node *node_of(struct qv_transfer_host *h)
{
    return ((struct qv_node_transfers *)h)->n;
}

struct qv_node_target *qv_node_target_find(struct qv_node *n, uint64_t id)
{
    struct qv_node_target *t = n->cluster.transfers->targets;
    while (t != NULL && t->spec.id != id)
        t = t->next;
    return t;
}

struct qv_node_target *qv_node_target_add(struct qv_node *n, const struct qv_transfer_spec *spec)
{
    struct qv_node_target *t = qv_mem_calloc(1, sizeof *t);
    t->n = n;
    t->spec = *spec;
    qv_node_transfer_dir(n, spec->id, t->dir);
    qv_buf_init(&t->manifest, QV_TRANSFER_MANIFEST_BYTES_MAX);
    t->next = n->cluster.transfers->targets;
    n->cluster.transfers->targets = t;
    return t;
}

void qv_node_target_free(struct qv_node_target *t, bool crash)
{
    struct qv_node_target **at = &t->n->cluster.transfers->targets;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    QV_ASSERT(crash || t->call.io == NULL);
    qv_shard_import_destroy(&t->im);
    qv_snapshot_close(t->r);
    qv_collection_unref(t->c);
    qv_buf_close(&t->manifest);
    qv_mem_free(t->have);
    qv_mem_free(t);
}

static void path_of(const struct qv_node_target *t, const char *name, char *out)
{
    (void)snprintf(out, QV_SNAPSHOT_PATH_MAX + 16, "%s/%s", t->dir, name);
}

static int manifest_of(struct qv_node_target *t, struct qv_transfer_manifest *out)
{
    return qv_transfer_manifest_decode((struct qv_bytes){t->manifest.data, t->manifest.len}, out,
                                       &t->msg);
}

/* ---- slices ---- */

static int read_manifest(struct qv_node_target *t)
{
    char path[QV_SNAPSHOT_PATH_MAX + 16];
    struct qv_transfer_manifest m;
    path_of(t, "manifest", path);
    qv_buf_clear(&t->manifest);
    int err = qv_disk_read_file(t->n->env->disk, path, QV_TRANSFER_MANIFEST_BYTES_MAX, &t->manifest,
                                &t->msg);
    if (err == 0)
        err = manifest_of(t, &m);
    if (err != 0) { /* nothing, or nothing sound, is here: begun anew */
        qv_buf_clear(&t->manifest);
        return err == QV_ENOTFOUND || err == QV_ECORRUPT ? 0 : err;
    }
    qv_mem_free(t->have);
    t->have = qv_mem_try_calloc((size_t)m.count / 8 + 1, 1);
    t->at = 0;
    return t->have != NULL ? 0 : QV_ENOMEM;
}

/* Which chunks are what they should be. */
static int compare_some(struct qv_node_target *t, uint64_t *bytes)
{
    char path[QV_SNAPSHOT_PATH_MAX + 16];
    struct qv_transfer_manifest m;
    struct qv_file *f = NULL;
    path_of(t, "data", path);
    int err = manifest_of(t, &m);
    if (err == 0)
        err = qv_disk_open(t->n->env->disk, path, QV_OPEN_READ, &f, &t->msg);
    if (err == QV_ENOTFOUND) {
        t->at = m.count;
        err = 0;
    }
    uint8_t *chunk = err == 0 ? qv_mem_try_alloc(QV_TRANSFER_CHUNK_BYTES) : NULL;
    if (err == 0 && chunk == NULL)
        err = QV_ENOMEM;
    for (int i = 0; i < COMPARE_CHUNKS && err == 0 && t->at < m.count; i++, t->at++) {
        size_t got;
        err = qv_file_pread(f, (uint64_t)t->at * QV_TRANSFER_CHUNK_BYTES, chunk,
                            qv_transfer_chunk_bytes(&m, t->at), &got, &t->msg);
        if (err == 0 && qv_transfer_chunk_is(&m, t->at, (struct qv_bytes){chunk, got}))
            t->have[t->at / 8] |= (uint8_t)(1u << (t->at % 8));
        *bytes += QV_TRANSFER_CHUNK_BYTES;
    }
    qv_mem_free(chunk);
    qv_file_close(f);
    t->slice_done = err != 0 || t->at == m.count;
    return err;
}

/* In the place of an earlier one, whose chunks go. Chunks lie at multiples of a chunk's size. */
static int write_manifest(struct qv_node_target *t)
{
    char path[QV_SNAPSHOT_PATH_MAX + 16];
    struct qv_transfer_manifest m;
    struct qv_file *f = NULL;
    int err = manifest_of(t, &m);
    for (uint32_t i = 0; err == 0 && i + 1 < m.count; i++) {
        if (qv_transfer_chunk_bytes(&m, i) != QV_TRANSFER_CHUNK_BYTES)
            err = QV_CORRUPT(&t->msg, "a manifest whose chunk %u is short", i);
    }
    if (err == 0)
        err = qv_disk_mkdir_all(t->n->env->disk, t->dir, &t->msg);
    path_of(t, "data", path);
    if (err == 0)
        err = qv_disk_open(t->n->env->disk, path, QV_OPEN_WRITE | QV_OPEN_CREATE | QV_OPEN_TRUNC,
                           &f, &t->msg);
    qv_file_close(f);
    path_of(t, "manifest", path);
    if (err == 0)
        err =
            qv_disk_replace_file(t->n->env->disk, path, t->manifest.data, t->manifest.len, &t->msg);
    return err;
}

static int write_chunk(struct qv_node_target *t)
{
    char path[QV_SNAPSHOT_PATH_MAX + 16];
    const struct qv_transfer_io *io = t->call.io;
    struct qv_file *f = NULL;
    path_of(t, "data", path);
    int err = qv_disk_open(t->n->env->disk, path, QV_OPEN_WRITE | QV_OPEN_CREATE, &f, &t->msg);
    if (err == 0)
        err = qv_file_pwrite_full(f, (uint64_t)io->chunk * QV_TRANSFER_CHUNK_BYTES, io->bytes.data,
                                  io->bytes.len, &t->msg);
    if (err == 0)
        err = qv_file_sync(f, &t->msg);
    qv_file_close(f);
    return err;
}

static int slice(void *arg, uint64_t *bytes)
{
    struct qv_node_target *t = arg;
    char path[QV_SNAPSHOT_PATH_MAX + 16];
    int err;
    switch (t->phase) {
    case PHASE_RECALL:
        return read_manifest(t);
    case PHASE_COMPARE:
        return compare_some(t, bytes);
    case PHASE_MANIFEST:
        return write_manifest(t);
    case PHASE_CHUNK:
        return write_chunk(t);
    case PHASE_OPEN:
        path_of(t, "data", path);
        return qv_snapshot_open(t->n->env->disk, path, 0, 0, &t->r, &t->msg);
    case PHASE_VERIFY:
        *bytes = QV_SNAPSHOT_SLICE_BYTES;
        return qv_snapshot_verify_step(t->r, QV_SNAPSHOT_SLICE_BYTES, false, &t->slice_done,
                                       &t->msg);
    case PHASE_BUILD:
        *bytes = QV_SNAPSHOT_SLICE_BYTES;
        return qv_shard_import_step(t->im, QV_SNAPSHOT_SLICE_BYTES, &t->slice_done, &t->msg);
    case PHASE_CLEAN: /* the shard is there, or could not be made */
        qv_shard_import_destroy(&t->im);
        qv_snapshot_close(t->r);
        t->r = NULL;
        path_of(t, "data", path);
        err = t->ended ? qv_disk_unlink(t->n->env->disk, path, NULL) : 0; /* or at the end */
        (void)err;
        return 0;
    default:
        qv_node_transfer_remove(t->n, t->dir);
        return 0;
    }
}

static void run_phase(struct qv_node_target *t, int phase)
{
    t->phase = phase;
    t->slice_done = false;
    qv_slices_next(&t->slices);
}

static void end_call(struct qv_node_target *t, int err)
{
    if (err != 0)
        t->call.io->msg = t->msg;
    qv_node_transfer_end(t->n, &t->call, err);
}

/* ---- install ---- */

static struct qv_shard *shard_of(struct qv_node_target *t)
{
    const struct qv_node_local *l = qv_node_local_find(t->n, t->spec.collection, t->spec.to_shard);
    return l != NULL ? qv_store_shard(t->n->store, l->store) : NULL;
}

static int begin_import(struct qv_node_target *t)
{
    struct qv_node *n = t->n;
    const struct qv_collection *c = qv_topology_by_uuid(n->topology, t->spec.collection);
    const struct qv_shard_place *s = c != NULL ? qv_collection_shard(c, t->spec.to_shard) : NULL;
    if (s == NULL)
        return qv_fail(&t->msg, QV_ESTALE, "the shard is not known any more");
    qv_collection_ref(c);
    qv_collection_unref(t->c);
    t->c = c;
    t->generation = c->generation;
    t->store = n->next_shard++;
    struct qv_shard_spec spec = qv_node_spec_of(c, (uint32_t)(s - c->shards), t->store);
    t->im = qv_shard_import_create(n->store, &spec, t->r, 0);
    qv_shard_import_stream(t->im, t->spec.id, t->call.io->position - 1);
    return 0;
}

/* The store has it, the records name it, requests may reach it. */
static int take_over(struct qv_node_target *t)
{
    struct qv_node *n = t->n;
    struct qv_shard *shard;
    if (qv_node_transfer_slot(n, &t->spec) == NULL || shard_of(t) != NULL)
        return qv_fail(&t->msg, QV_ESTALE, "the shard does not come here any more");
    int err = qv_shard_import_adopt(t->im, &shard, &t->msg);
    if (err != 0)
        return err;
    struct qv_node_local *l = qv_node_local_add(n, t->spec.collection, t->spec.to_shard, t->store);
    l->generation = t->generation;
    err = qv_node_cluster_save(n, &t->msg);
    if (err != 0) {
        qv_node_local_remove(n, t->spec.collection, t->spec.to_shard);
        qv_collection_ref(t->c);
        qv_store_drop_shard(n->store, t->store, qv_node_collection_gone, (void *)(uintptr_t)t->c);
        return err;
    }
    qv_node_local_reach(n, l, t->store);
    QV_INFO("transfer", "shard %u came from node %016llx", t->spec.to_shard,
            (unsigned long long)t->spec.from_node);
    return 0;
}

/* What was being built goes, too; then the call ends with err. */
static void clean(struct qv_node_target *t, int err)
{
    t->call.err = err;
    t->ended = err == 0;
    run_phase(t, PHASE_CLEAN);
}

static void cleaned(struct qv_node_target *t)
{
    int err = t->call.err;
    t->ended = false;
    qv_collection_unref(t->c);
    t->c = NULL;
    end_call(t, err);
    if (err == 0)
        qv_node_cluster_changed(t->n); /* its configuration may have changed meanwhile */
}

/* ---- from slice to slice ---- */

static void recalled(struct qv_node_target *t)
{
    struct qv_transfer_io *io = t->call.io;
    if (t->manifest.len > 0)
        qv_transfer_state_encode(&io->bytes, (struct qv_bytes){t->manifest.data, t->manifest.len},
                                 t->have);
    end_call(t, io->bytes.failed ? QV_ENOMEM : 0);
}

static void gone(struct qv_node_target *t)
{
    struct qv_node *n = t->n;
    qv_node_target_free(t, false);
    qv_node_transfer_job_ended(n);
}

static void step(struct qv_node_target *t)
{
    int err;
    switch (t->phase) {
    case PHASE_RECALL:
        if (t->manifest.len == 0)
            recalled(t);
        else
            run_phase(t, PHASE_COMPARE);
        break;
    case PHASE_COMPARE:
        recalled(t);
        break;
    case PHASE_OPEN:
        run_phase(t, PHASE_VERIFY);
        break;
    case PHASE_VERIFY:
        err = begin_import(t);
        if (err == 0)
            run_phase(t, PHASE_BUILD);
        else
            clean(t, err);
        break;
    case PHASE_BUILD:
        clean(t, take_over(t));
        break;
    case PHASE_CLEAN:
        cleaned(t);
        break;
    case PHASE_GONE:
        gone(t);
        break;
    default:
        end_call(t, 0);
    }
}

static void after(void *arg, int err)
{
    struct qv_node_target *t = arg;
    const bool ends = t->phase >= PHASE_CLEAN;
    if (err == 0 && t->n->snapshots.stopping && !ends && t->phase > PHASE_CHUNK)
        err = qv_fail(&t->msg, QV_EUNAVAILABLE, "the node is shutting down");
    if (err == QV_EEOF)
        err = QV_ECORRUPT;
    if (err != 0 && (t->phase == PHASE_OPEN || t->phase == PHASE_VERIFY || t->phase == PHASE_BUILD))
        clean(t, err);
    else if (err != 0)
        end_call(t, err);
    else if ((t->phase == PHASE_COMPARE || t->phase == PHASE_VERIFY || t->phase == PHASE_BUILD) &&
             !t->slice_done)
        qv_slices_next(&t->slices);
    else
        step(t);
}

static struct qv_node_target *begin(struct qv_transfer_host *h, uint64_t id,
                                    struct qv_transfer_io *io)
{
    struct qv_node *n = node_of(h);
    struct qv_node_target *t = qv_node_target_find(n, id);
    QV_ASSERT(t != NULL && t->call.io == NULL);
    t->call.io = io;
    t->msg.text[0] = '\0';
    t->slices = (struct qv_slices){.n = n, .slice = slice, .after = after, .arg = t};
    return t;
}

/* ---- calls ---- */

void qv_node_target_recall(struct qv_transfer_host *h, const struct qv_transfer_spec *spec,
                           struct qv_transfer_io *io)
{
    struct qv_node_target *t = begin(h, spec->id, io);
    struct qv_shard *s = shard_of(t);
    uint64_t covered;
    if (s != NULL && qv_shard_coverage(s, spec->id, &covered)) {
        io->position = covered + 1;
        end_call(t, 0);
    } else if (s != NULL) {
        end_call(t, qv_fail(&t->msg, QV_EEXISTS, "the shard is here, and not of this transfer"));
    } else {
        run_phase(t, PHASE_RECALL);
    }
}

void qv_node_target_keep_manifest(struct qv_transfer_host *h, const struct qv_transfer_spec *spec,
                                  struct qv_transfer_io *io)
{
    struct qv_node_target *t = begin(h, spec->id, io);
    qv_buf_clear(&t->manifest);
    qv_buf_append(&t->manifest, io->bytes.data, io->bytes.len);
    if (t->manifest.failed)
        end_call(t, qv_fail(&t->msg, QV_ETOOBIG, "a manifest of %zu bytes", io->bytes.len));
    else
        run_phase(t, PHASE_MANIFEST);
}

void qv_node_target_keep_chunk(struct qv_transfer_host *h, uint64_t id, struct qv_transfer_io *io)
{
    run_phase(begin(h, id, io), PHASE_CHUNK);
}

void qv_node_target_install(struct qv_transfer_host *h, uint64_t id, struct qv_transfer_io *io)
{
    run_phase(begin(h, id, io), PHASE_OPEN);
}

static void replayed(struct qv_replay *r, int err)
{
    struct qv_node_target *t = r->arg;
    struct qv_shard *s = r->shard;
    t->msg = r->msg;
    t->call.io->position = r->covered + 1;
    qv_shard_unref(s);
    end_call(t, err);
}

void qv_node_target_replay(struct qv_transfer_host *h, uint64_t id, uint64_t to,
                           struct qv_transfer_io *io)
{
    struct qv_node_target *t = begin(h, id, io);
    struct qv_shard *s = shard_of(t);
    if (s == NULL) {
        io->position = 0;
        end_call(t, qv_fail(&t->msg, QV_EUNAVAILABLE, "the shard is not here any more"));
        return;
    }
    t->replay = (struct qv_replay){.stream = id,
                                   .from = io->position - 1,
                                   .to = to - 1,
                                   .bytes = {io->bytes.data, io->bytes.len},
                                   .done = replayed,
                                   .arg = t};
    qv_shard_ref(s);
    t->replay.shard = s;
    qv_shard_replay(s, &t->replay);
}

void qv_node_target_discard(struct qv_transfer_host *h, uint64_t id, struct qv_transfer_io *io)
{
    struct qv_node_target *t = begin(h, id, io);
    struct qv_node *n = t->n;
    struct qv_shard *s = shard_of(t);
    uint64_t covered;
    /* The tree has mostly dropped it already. */
    const struct qv_collection *c = qv_topology_by_uuid(n->topology, t->spec.collection);
    if (s != NULL && c != NULL && qv_shard_coverage(s, id, &covered)) {
        const uint32_t store = qv_node_local_find(n, t->spec.collection, t->spec.to_shard)->store;
        qv_node_local_remove(n, t->spec.collection, t->spec.to_shard);
        qv_collection_ref(c);
        qv_store_drop_shard(n->store, store, qv_node_collection_gone, (void *)(uintptr_t)c);
        if (qv_node_cluster_save(n, &t->msg) != 0)
            QV_WARN("transfer", "%.300s", t->msg.text); /* saved with the next change */
    }
    run_phase(t, PHASE_DISCARD);
}

void qv_node_target_end(struct qv_node_target *t)
{
    struct qv_node *n = t->n;
    QV_ASSERT(t->call.io == NULL);
    if (t->ended)
        return;
    t->ended = true;
    n->cluster.transfers->jobs++;
    t->slices = (struct qv_slices){.n = n, .slice = slice, .after = after, .arg = t};
    run_phase(t, PHASE_GONE);
}
