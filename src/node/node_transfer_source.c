/* The source's host: the state written down, the feeds. */
#include "node/node_transfer_private.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdio.h>
#include <string.h>

#define HOLD_BYTES ((uint64_t)4 << 20) /* of the log: how far `held` may lag behind */
#define LATE_NS (3 * QV_NS_PER_S)

enum phase { PHASE_CLEAR, PHASE_OPEN, PHASE_COPY, PHASE_END, PHASE_HASH };

static struct qv_node *node_of(struct qv_transfer_host *h)
{
    return ((struct qv_node_transfers *)h)->n;
}

struct qv_node_source *qv_node_source_find(struct qv_node *n, uint64_t id)
{
    struct qv_node_source *s = n->cluster.transfers->sources;
    while (s != NULL && s->spec.id != id)
        s = s->next;
    return s;
}

static struct qv_node_source *add(struct qv_node *n, const struct qv_transfer_spec *spec)
{
    struct qv_node_transfers *x = n->cluster.transfers;
    struct qv_node_source *s = qv_mem_calloc(1, sizeof *s);
    s->n = n;
    s->spec = *spec;
    s->spec.keys = qv_key_set_all;
    s->spec.kept = NULL;
    qv_node_transfer_dir(n, spec->id, s->dir);
    qv_buf_init(&s->manifest, QV_TRANSFER_MANIFEST_BYTES_MAX);
    s->next = x->sources;
    x->sources = s;
    return s;
}

static void path_of(const struct qv_node_source *s, const char *name, char *out)
{
    (void)snprintf(out, QV_SNAPSHOT_PATH_MAX + 16, "%s/%s", s->dir, name);
}

/* ---- feeds ---- */

static void late(void *arg, int err)
{
    const struct qv_node_source *s = arg;
    (void)err;
    QV_WARN("transfer", "shard %u: node %016llx has not confirmed a change for 3 s; writes wait",
            s->spec.from_shard, (unsigned long long)s->spec.to_node);
}

static void close_feeds(struct qv_node_source *s, int err)
{
    qv_feed_close(&s->feed, err);
    qv_feed_close(&s->hold, 0);
}

static int open_feeds(struct qv_node_source *s, uint64_t lsn, struct qv_errmsg *msg)
{
    const struct qv_feed_config hold = {.from = lsn, .memory_bytes = 1};
    const struct qv_feed_config feed = {.from = lsn, .late = late, .arg = s};
    int err = qv_feed_open(s->shard, &hold, &s->hold, msg);
    if (err == 0)
        err = qv_feed_open(s->shard, &feed, &s->feed, msg);
    if (err != 0)
        close_feeds(s, 0);
    else if (s->required)
        qv_feed_require(s->feed, true, LATE_NS);
    s->held = s->holding = lsn;
    return err;
}

void qv_node_source_require(struct qv_node_source *s, bool required)
{
    if (s->required != required && s->feed != NULL)
        qv_feed_require(s->feed, required, required ? LATE_NS : 0);
    s->required = required;
}

/* ---- the state (slices) ---- */

static int open_files(struct qv_node_source *s)
{
    char path[QV_SNAPSHOT_PATH_MAX + 16];
    struct qv_buf b;
    const struct qv_transfer_begin spec = {.spec = s->spec};
    const uint64_t held = s->held;
    qv_buf_init(&b, QV_TRANSFER_SPEC_BYTES_MAX);
    qv_transfer_begin_encode(&b, &spec);
    int err = qv_disk_mkdir_all(s->n->env->disk, s->dir, &s->msg);
    path_of(s, "spec", path);
    if (err == 0)
        err = qv_disk_replace_file(s->n->env->disk, path, b.data, b.len, &s->msg);
    path_of(s, "held", path);
    if (err == 0)
        err = qv_disk_replace_file(s->n->env->disk, path, &held, sizeof held, &s->msg);
    path_of(s, "data", path);
    if (err == 0)
        err = qv_snapshot_create(s->n->env->disk, path, QV_SNAPSHOT_COLLECTION, 0, &s->w, &s->msg);
    qv_buf_close(&b);
    return err;
}

static int end_data(struct qv_node_source *s)
{
    struct qv_snapshot_info info;
    struct qv_snapshot_writer *w = s->w;
    s->w = NULL;
    qv_shard_export_destroy(&s->exp);
    int err = qv_snapshot_finish(w, &info, &s->msg);
    s->data_bytes = err == 0 ? info.bytes : 0;
    s->hashed = 0;
    qv_buf_clear(&s->manifest);
    qv_transfer_manifest_begin(&s->manifest, s->position);
    return err;
}

static int read_data(struct qv_node_source *s, uint64_t offset, size_t bytes, struct qv_buf *out,
                     struct qv_errmsg *msg)
{
    char path[QV_SNAPSHOT_PATH_MAX + 16];
    struct qv_file *f = NULL;
    path_of(s, "data", path);
    uint8_t *to = qv_buf_reserve(out, bytes);
    if (to == NULL)
        return QV_ENOMEM;
    int err = qv_disk_open(s->n->env->disk, path, QV_OPEN_READ, &f, msg);
    if (err == 0)
        err = qv_file_pread_full(f, offset, to, bytes, msg);
    if (err == 0)
        out->len += bytes;
    qv_file_close(f);
    return err == QV_EEOF || err == QV_ENOTFOUND ? QV_CORRUPT(msg, "%s is not whole", path) : err;
}

static size_t chunk_bytes(uint64_t left)
{
    return left < QV_TRANSFER_CHUNK_BYTES ? (size_t)left : QV_TRANSFER_CHUNK_BYTES;
}

static int hash_some(struct qv_node_source *s, uint64_t *bytes)
{
    char path[QV_SNAPSHOT_PATH_MAX + 16];
    struct qv_buf b;
    int err = 0;
    qv_buf_init(&b, 0);
    for (int i = 0; i < 4 && err == 0 && s->hashed < s->data_bytes; i++) {
        size_t n = chunk_bytes(s->data_bytes - s->hashed);
        qv_buf_clear(&b);
        err = read_data(s, s->hashed, n, &b, &s->msg);
        if (err == 0)
            qv_transfer_manifest_add(&s->manifest, (struct qv_bytes){b.data, b.len});
        s->hashed += n;
        *bytes += n;
    }
    qv_buf_close(&b);
    s->slice_done = s->hashed >= s->data_bytes;
    if (err != 0 || !s->slice_done)
        return err;
    qv_transfer_manifest_end(&s->manifest);
    path_of(s, "manifest", path);
    if (s->manifest.failed)
        return qv_fail(&s->msg, QV_ETOOBIG, "the shard is too large to move");
    return qv_disk_replace_file(s->n->env->disk, path, s->manifest.data, s->manifest.len, &s->msg);
}

static int slice(void *arg, uint64_t *bytes)
{
    struct qv_node_source *s = arg;
    switch (s->phase) {
    case PHASE_CLEAR:
        qv_node_transfer_remove(s->n, s->dir);
        return 0;
    case PHASE_OPEN:
        return open_files(s);
    case PHASE_COPY: {
        uint64_t before = qv_snapshot_written(s->w);
        if (s->exp == NULL)
            s->exp = qv_shard_export_create(s->pin.pin, s->w, 0);
        int err = qv_shard_export_step(s->exp, QV_SNAPSHOT_SLICE_BYTES, &s->slice_done, &s->msg);
        *bytes = qv_snapshot_written(s->w) - before;
        return err;
    }
    case PHASE_END:
        return end_data(s);
    default:
        return hash_some(s, bytes);
    }
}

static void prepared(struct qv_node_source *s, int err)
{
    struct qv_transfer_io *io = s->call.io;
    qv_shard_export_destroy(&s->exp);
    qv_snapshot_abort(s->w);
    s->w = NULL;
    qv_shard_unpin(&s->pin.pin);
    if (err != 0) {
        qv_buf_clear(&s->manifest);
        close_feeds(s, 0);
        io->msg = s->msg;
    } else {
        s->dropped = false;
        io->position = s->position;
        qv_buf_append(&io->bytes, s->manifest.data, s->manifest.len);
        err = io->bytes.failed ? QV_ENOMEM : 0;
    }
    qv_node_transfer_end(s->n, &s->call, err);
}

static void pinned(struct qv_shard_pin_req *req, int err)
{
    struct qv_node_source *s = req->arg;
    s->msg = req->msg;
    const uint64_t lsn = err == 0 ? qv_shard_pin_position(req->pin) : 0;
    if (err == 0)
        err = open_feeds(s, lsn, &s->msg);
    if (err != 0) {
        prepared(s, err);
        return;
    }
    s->position = lsn + 1;
    s->phase = PHASE_OPEN;
    qv_slices_next(&s->slices);
}

static void after(void *arg, int err)
{
    struct qv_node_source *s = arg;
    if (err == 0 && s->n->snapshots.stopping)
        err = qv_fail(&s->msg, QV_EUNAVAILABLE, "the node is shutting down");
    if (err != 0) {
        prepared(s, err);
        return;
    }
    const bool again = (s->phase == PHASE_COPY || s->phase == PHASE_HASH) && !s->slice_done;
    if (s->phase == PHASE_HASH && !again) {
        prepared(s, 0);
        return;
    }
    if (s->phase == PHASE_CLEAR) {
        s->pin = (struct qv_shard_pin_req){.done = pinned, .arg = s};
        qv_shard_pin(s->shard, &s->pin);
        return;
    }
    if (!again) {
        s->phase++;
        s->slice_done = false;
    }
    qv_slices_next(&s->slices);
}

static int find_shard(struct qv_node_source *s)
{
    struct qv_node_local *l = qv_node_local_find(s->n, s->spec.collection, s->spec.from_shard);
    if (s->shard != NULL)
        return 0;
    if (l == NULL || l->shard == NULL)
        return qv_fail(&s->msg, QV_EUNAVAILABLE, "the shard is not here");
    s->shard = l->shard;
    qv_shard_ref(s->shard);
    return 0;
}

/* Can the target go on from there with what there is? */
static int go_on_from(struct qv_node_source *s, uint64_t from)
{
    if (s->manifest.len == 0 || s->feed == NULL)
        return QV_ESTALE;
    const uint64_t lsn = (from != 0 ? from : s->position) - 1;
    if (from == 0 && s->dropped)
        return QV_ESTALE;
    if (lsn < qv_feed_confirmed(s->feed) || lsn > qv_shard_position(s->shard))
        return QV_ESTALE;
    qv_feed_confirm(s->feed, lsn);
    return 0;
}

void qv_node_source_prepare(struct qv_transfer_host *h, const struct qv_transfer_spec *spec,
                            struct qv_transfer_io *io)
{
    struct qv_node *n = node_of(h);
    struct qv_node_source *s = qv_node_source_find(n, spec->id);
    if (s == NULL)
        s = add(n, spec);
    QV_ASSERT(s->call.io == NULL);
    s->call.io = io;
    s->msg.text[0] = '\0';
    int err =
        spec->whole ? find_shard(s) : qv_fail(&s->msg, QV_ENOTIMPL, "only whole shards move yet");
    if (err == 0 && go_on_from(s, io->position) == 0) {
        io->position = s->position;
        qv_buf_append(&io->bytes, s->manifest.data, s->manifest.len);
        qv_node_transfer_end(n, &s->call, io->bytes.failed ? QV_ENOMEM : 0);
        return;
    }
    if (err == 0 && s->required && s->feed != NULL) /* a late question must not end the feed */
        err = qv_fail(&s->msg, QV_EBUSY, "writes wait for what the target has already");
    if (err == 0 && io->position != 0)
        err = qv_fail(&s->msg, QV_ESTALE, "the log does not reach back to what the target has");
    if (err != 0) {
        io->msg = s->msg;
        qv_node_transfer_end(n, &s->call, err);
        return;
    }
    close_feeds(s, 0);
    qv_buf_clear(&s->manifest);
    s->phase = PHASE_CLEAR;
    s->slices = (struct qv_slices){.n = n, .slice = slice, .after = after, .arg = s};
    qv_slices_next(&s->slices);
}

int qv_node_source_allowed(struct qv_transfer_host *h, const struct qv_transfer_spec *spec)
{
    const struct qv_node *n = node_of(h);
    const struct qv_slot_place *p = qv_node_transfer_slot(n, spec);
    return p != NULL && p->holder == n->cluster.self.id && p->next == spec->to_node ? 0 : QV_ESTALE;
}

/* ---- chunks ---- */

static void maybe_over(struct qv_node_source *s);

static void read_run(struct qv_job *job, unsigned worker)
{
    struct qv_node_source *s = job->arg;
    struct qv_transfer_manifest m;
    struct qv_transfer_io *io = s->call.io;
    (void)worker;
    const struct qv_bytes bytes = {s->manifest.data, s->manifest.len};
    s->job_err = qv_transfer_manifest_decode(bytes, &m, &io->msg);
    if (s->job_err == 0)
        s->job_err = read_data(s, (uint64_t)io->chunk * QV_TRANSFER_CHUNK_BYTES,
                               qv_transfer_chunk_bytes(&m, io->chunk), &io->bytes, &io->msg);
}

static void read_done(struct qv_job *job)
{
    struct qv_node_source *s = job->arg;
    s->job_busy = false;
    qv_node_transfer_end(s->n, &s->call, s->job_err);
}

void qv_node_source_read_chunk(struct qv_transfer_host *h, uint64_t id, struct qv_transfer_io *io)
{
    struct qv_node *n = node_of(h);
    struct qv_node_source *s = qv_node_source_find(n, id);
    QV_ASSERT(s != NULL && s->call.io == NULL);
    s->call.io = io;
    if (s->job_busy) {
        qv_node_transfer_end(n, &s->call, QV_EBUSY);
        return;
    }
    s->job = (struct qv_job){.run = read_run, .done = read_done, .arg = s};
    int err = qv_env_submit(n->env, QV_JOB_IO, &s->job);
    s->job_busy = err == 0;
    if (err != 0)
        qv_node_transfer_end(n, &s->call, err);
}

/* ---- the feed ---- */

static void taken(struct qv_feed_take *t, int err)
{
    struct qv_node_source *s = t->arg;
    struct qv_transfer_io *io = s->take_call.io;
    struct qv_buf was = io->bytes;
    io->bytes = t->bytes;
    t->bytes = was;
    io->msg = t->msg;
    if (err == 0)
        io->position = t->to + 1;
    qv_node_transfer_end(s->n, &s->take_call, err);
}

void qv_node_source_take(struct qv_transfer_host *h, uint64_t id, size_t bytes_max,
                         struct qv_transfer_io *io)
{
    struct qv_node *n = node_of(h);
    struct qv_node_source *s = qv_node_source_find(n, id);
    QV_ASSERT(s != NULL && s->take_call.io == NULL && io->position != 0);
    s->take_call.io = io;
    if (s->feed == NULL) {
        qv_node_transfer_end(n, &s->take_call, QV_ESTALE);
        return;
    }
    qv_buf_clear(&s->take.bytes);
    s->take.from = io->position - 1;
    s->take.bytes_max = bytes_max;
    s->take.done = taken;
    s->take.arg = s;
    qv_feed_take(s->feed, &s->take);
}

void qv_node_source_stop_taking(struct qv_transfer_host *h, uint64_t id)
{
    struct qv_node_source *s = qv_node_source_find(node_of(h), id);
    if (s != NULL && s->feed != NULL)
        qv_feed_stop_taking(s->feed);
}

uint64_t qv_node_source_position(struct qv_transfer_host *h, uint64_t id)
{
    const struct qv_node_source *s = qv_node_source_find(node_of(h), id);
    return s != NULL && s->shard != NULL ? qv_shard_position(s->shard) + 1 : 0;
}

/* `held` says how far: only then the log below may go. */
static void hold_run(struct qv_job *job, unsigned worker)
{
    struct qv_node_source *s = job->arg;
    char path[QV_SNAPSHOT_PATH_MAX + 16];
    (void)worker;
    path_of(s, "held", path);
    s->job_err = qv_disk_replace_file(s->n->env->disk, path, &s->holding, sizeof s->holding, NULL);
}

static void hold_done(struct qv_job *job)
{
    struct qv_node_source *s = job->arg;
    struct qv_node *n = s->n;
    s->job_busy = false;
    if (s->job_err == 0 && s->hold != NULL) {
        s->held = s->holding;
        qv_feed_confirm(s->hold, s->held);
    }
    maybe_over(s);
    qv_node_transfer_job_ended(n);
}

void qv_node_source_confirm(struct qv_transfer_host *h, uint64_t id, uint64_t position)
{
    struct qv_node *n = node_of(h);
    struct qv_node_source *s = qv_node_source_find(n, id);
    QV_ASSERT(s != NULL && position != 0);
    if (s->feed == NULL)
        return;
    qv_feed_confirm(s->feed, position - 1);
    const uint64_t lsn = qv_feed_confirmed(s->feed);
    if (!s->dropped || s->job_busy || lsn < s->held + HOLD_BYTES)
        return;
    s->holding = lsn;
    s->job = (struct qv_job){.run = hold_run, .done = hold_done, .arg = s};
    s->job_busy = qv_env_submit(n->env, QV_JOB_IO, &s->job) == 0; /* or with the next */
    n->cluster.transfers->jobs += s->job_busy;
}

/* ---- ends ---- */

static void drop_run(struct qv_job *job, unsigned worker)
{
    struct qv_node_source *s = job->arg;
    char path[QV_SNAPSHOT_PATH_MAX + 16];
    (void)worker;
    path_of(s, "data", path);
    int gone = qv_disk_unlink(s->n->env->disk, path, NULL); /* or with the rest of it */
    (void)gone;
}

static void drop_done(struct qv_job *job)
{
    struct qv_node_source *s = job->arg;
    struct qv_node *n = s->n;
    s->job_busy = false;
    maybe_over(s);
    qv_node_transfer_job_ended(n);
}

void qv_node_source_drop_chunks(struct qv_transfer_host *h, uint64_t id)
{
    struct qv_node *n = node_of(h);
    struct qv_node_source *s = qv_node_source_find(n, id);
    if (s == NULL || s->dropped)
        return;
    s->dropped = true;
    if (s->job_busy)
        return; /* it goes with the rest */
    s->job = (struct qv_job){.run = drop_run, .done = drop_done, .arg = s};
    s->job_busy = qv_env_submit(n->env, QV_JOB_IO, &s->job) == 0;
    n->cluster.transfers->jobs += s->job_busy;
}

void qv_node_source_free(struct qv_node_source *s, int err, bool crash)
{
    struct qv_node_source **at = &s->n->cluster.transfers->sources;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    if (!crash) {
        close_feeds(s, err);
        if (s->shard != NULL)
            qv_shard_unref(s->shard);
    }
    qv_buf_close(&s->manifest);
    qv_buf_close(&s->take.bytes);
    qv_mem_free(s);
}

static void gone_run(struct qv_job *job, unsigned worker)
{
    struct qv_node_source *s = job->arg;
    (void)worker;
    qv_node_transfer_remove(s->n, s->dir);
}

static void gone_done(struct qv_job *job)
{
    struct qv_node_source *s = job->arg;
    struct qv_node *n = s->n;
    qv_node_source_free(s, 0, false);
    qv_node_transfer_job_ended(n);
}

static void maybe_over(struct qv_node_source *s)
{
    struct qv_node *n = s->n;
    if (!s->over || s->job_busy)
        return;
    s->job = (struct qv_job){.run = gone_run, .done = gone_done, .arg = s};
    if (qv_env_submit(n->env, QV_JOB_IO, &s->job) == 0) {
        s->job_busy = true;
        n->cluster.transfers->jobs++;
    } else {
        qv_node_source_free(s, 0, false); /* the next start removes the files */
    }
}

void qv_node_source_end(struct qv_transfer_host *h, uint64_t id, int err)
{
    struct qv_node *n = node_of(h);
    struct qv_node_source *s = qv_node_source_find(n, id);
    if (s == NULL || s->over)
        return;
    QV_ASSERT(s->call.io == NULL && s->take_call.io == NULL);
    close_feeds(s, err);
    s->over = true;
    maybe_over(s);
}

/* ---- after a restart ---- */

static int read_small(struct qv_node *n, const char *path, size_t limit, struct qv_buf *out,
                      struct qv_errmsg *msg)
{
    qv_buf_init(out, limit);
    return qv_disk_read_file(n->env->disk, path, limit, out, msg);
}

int qv_node_source_recall(struct qv_node *n, uint64_t id, struct qv_errmsg *msg)
{
    char dir[QV_SNAPSHOT_PATH_MAX];
    char path[QV_SNAPSHOT_PATH_MAX + 16];
    struct qv_transfer_begin begin;
    struct qv_transfer_manifest m;
    struct qv_arena arena;
    struct qv_buf spec, manifest, held;
    uint64_t lsn = 0;
    qv_arena_init(&arena, QV_TRANSFER_SPEC_BYTES_MAX);
    qv_node_transfer_dir(n, id, dir);
    (void)snprintf(path, sizeof path, "%s/spec", dir);
    int err = read_small(n, path, QV_TRANSFER_SPEC_BYTES_MAX, &spec, msg);
    (void)snprintf(path, sizeof path, "%s/manifest", dir);
    int err2 = read_small(n, path, QV_TRANSFER_MANIFEST_BYTES_MAX, &manifest, msg);
    (void)snprintf(path, sizeof path, "%s/held", dir);
    int err3 = read_small(n, path, sizeof lsn, &held, msg);
    err = err != 0 ? err : err2 != 0 ? err2 : err3;
    if (err == 0 && held.len != sizeof lsn)
        err = QV_CORRUPT(msg, "%s", path);
    if (err == 0)
        err = qv_transfer_begin_decode((struct qv_bytes){spec.data, spec.len}, &arena, &begin, msg);
    if (err == 0)
        err = qv_transfer_manifest_decode((struct qv_bytes){manifest.data, manifest.len}, &m, msg);
    if (err == 0 && qv_node_transfer_slot(n, &begin.spec) == NULL)
        err = QV_ENOTFOUND;
    struct qv_node_source *s = NULL;
    if (err == 0) {
        memcpy(&lsn, held.data, sizeof lsn);
        s = add(n, &begin.spec);
        err = find_shard(s);
        if (err == 0)
            err = open_feeds(s, lsn, msg);
        s->position = m.position;
        s->dropped = false; /* known by its data, when they are asked for */
        if (err == 0) {
            qv_buf_append(&s->manifest, manifest.data, manifest.len);
            (void)snprintf(path, sizeof path, "%s/data", dir);
            struct qv_file *f = NULL;
            s->dropped = qv_disk_open(n->env->disk, path, QV_OPEN_READ, &f, NULL) != 0;
            qv_file_close(f);
        } else {
            qv_node_source_free(s, 0, false);
        }
    }
    qv_buf_close(&spec);
    qv_buf_close(&manifest);
    qv_buf_close(&held);
    qv_arena_close(&arena);
    return err;
}
