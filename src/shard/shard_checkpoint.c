/* Checkpoints: the shard's state at one position of its changes, made durable as one commit.
 *
 *   capture (owner)   the position, the slot columns encoded, which records are new, which ids
 * went; write (IO job)    rows synced, graphs and slot columns written and synced as new files,
 * then one batch into the payload store: the records and the checkpoint's own record, which names
 * the files, their hashes and the log position; flushed. The flush is the commit; end (owner) old
 * files removed, log released, slots that died before the capture reusable.
 *
 * A failure before the batch changes nothing: the new files go. A batch that was taken but whose
 * flush failed may be durable or not: the payload store is opened anew, and what it then holds says
 * which. While that fails too, both its files and its predecessor's stay, and it is tried again
 * until it succeeds (or the shard closes).
 *
 * slots-<n> := u32 vectors, u32 high, u32 live, u32 ghosts, then by slot
 *     { flags u8 (1 live, 2 UUID), generation u32,
 *       live: id lo u64, [hi u64], clock u64, writer u32, presence bits (vectors + 7) / 8 bytes,
 *             row CRC32C u32 a vector present },
 *   then by ghost { u8 n, id, clock u64, writer u32, u32 n, record }.
 * graph-<v>-<n> := as index/hnsw_file.c says. Both inside a state file (storage/statefile.h).
 *
 * The graph is saved while it changes: it may hold newer nodes and lack late ones. An open drops
 * nodes whose generation is not the slot's and queues what is missing. */
#include "shard/checkpoint.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdio.h>
#include <string.h>

#define WAIT_MIN_NS (QV_NS_PER_S / 2)
#define WAIT_MAX_NS (4 * QV_NS_PER_S)

struct pending_record {
    struct qv_id id;
    const struct qv_record *record; /* in the frozen set */
};

struct qv_checkpoint {
    struct qv_job job;
    struct qv_shard *shard;
    uint64_t seq;
    uint64_t graph_changes;               /* that it saves */
    uint32_t place[QV_SHARD_VECTORS_MAX]; /* in the shard, of each vector in rec */
    struct qv_checkpoint_record rec;
    const struct qv_collection_config *config; /* that it is made under */
    struct qv_buf slots;
    struct pending_record *records;
    size_t record_count;
    struct qv_id *gone;
    size_t gone_count;
    bool written;      /* the payload store has taken the batch */
    bool waiting;      /* for its flush to be asked for again */
    bool asked_again;  /* it was waiting before this try */
    bool store_failed; /* it takes nothing more */
    int err;
    struct qv_errmsg msg;
};

/* ---- the checkpoint's own record ---- */

/* Format 2 says up to where others' changes were replayed; without any it is 1. */
#define CHECKPOINT_FORMAT 2

void qv_checkpoint_encode(const struct qv_checkpoint_record *r, struct qv_buf *b)
{
    QV_ASSERT(r->stream_count <= sizeof r->streams / sizeof *r->streams);
    qv_buf_u8(b, r->stream_count > 0 ? CHECKPOINT_FORMAT : 1);
    qv_buf_u32(b, r->shard);
    qv_buf_append(b, r->uuid, sizeof r->uuid);
    qv_buf_u32(b, r->generation);
    qv_buf_u64(b, r->lsn);
    qv_buf_u64(b, r->file_number);
    qv_buf_u64(b, r->last_version.clock);
    qv_buf_u32(b, r->last_version.writer);
    qv_buf_u64(b, r->prev_clock);
    qv_buf_u64(b, r->slots.payload_bytes);
    qv_buf_u64(b, r->slots.payload_hash);
    qv_buf_u32(b, r->vector_count);
    for (uint32_t v = 0; v < r->vector_count; v++) {
        qv_buf_u32(b, r->vectors[v].number);
        qv_buf_u8(b, r->vectors[v].has_graph);
        qv_buf_u64(b, r->vectors[v].graph.payload_bytes);
        qv_buf_u64(b, r->vectors[v].graph.payload_hash);
    }
    if (r->stream_count > 0)
        qv_buf_u32(b, r->stream_count);
    for (uint32_t i = 0; i < r->stream_count; i++) {
        qv_buf_u64(b, r->streams[i].stream);
        qv_buf_u64(b, r->streams[i].position);
    }
}

int qv_checkpoint_decode(struct qv_bytes bytes, struct qv_checkpoint_record *r,
                         struct qv_errmsg *msg)
{
    struct qv_rd rd;
    memset(r, 0, sizeof *r);
    qv_rd_init(&rd, bytes.p, bytes.n);
    uint8_t format = qv_rd_u8(&rd);
    if (!rd.failed && format > CHECKPOINT_FORMAT)
        return qv_fail(msg, QV_ENOTIMPL, "checkpoint of format %u: written by a newer version",
                       format);
    r->shard = qv_rd_u32(&rd);
    const uint8_t *uuid = qv_rd_take(&rd, sizeof r->uuid);
    if (uuid != NULL)
        memcpy(r->uuid, uuid, sizeof r->uuid);
    r->generation = qv_rd_u32(&rd);
    r->lsn = qv_rd_u64(&rd);
    r->file_number = qv_rd_u64(&rd);
    r->last_version.clock = qv_rd_u64(&rd);
    r->last_version.writer = qv_rd_u32(&rd);
    r->prev_clock = qv_rd_u64(&rd);
    r->slots.payload_bytes = qv_rd_u64(&rd);
    r->slots.payload_hash = qv_rd_u64(&rd);
    r->vector_count = qv_rd_u32(&rd);
    if (rd.failed || format == 0 || r->vector_count > QV_SHARD_VECTORS_MAX)
        return QV_CORRUPT(msg, "checkpoint record of %zu bytes, format %u", bytes.n, format);
    for (uint32_t v = 0; v < r->vector_count; v++) {
        r->vectors[v].number = qv_rd_u32(&rd);
        r->vectors[v].has_graph = qv_rd_u8(&rd) != 0;
        r->vectors[v].graph.payload_bytes = qv_rd_u64(&rd);
        r->vectors[v].graph.payload_hash = qv_rd_u64(&rd);
    }
    r->stream_count = format > 1 ? qv_rd_u32(&rd) : 0;
    if (r->stream_count > sizeof r->streams / sizeof *r->streams)
        return QV_CORRUPT(msg, "checkpoint record of %u streams", r->stream_count);
    for (uint32_t i = 0; i < r->stream_count; i++) {
        r->streams[i].stream = qv_rd_u64(&rd);
        r->streams[i].position = qv_rd_u64(&rd);
    }
    if (rd.failed || qv_rd_left(&rd) != 0)
        return QV_CORRUPT(msg, "checkpoint record of %zu bytes", bytes.n);
    return 0;
}

void qv_checkpoint_path(const struct qv_shard *s, char *out, size_t n, int vector, uint64_t number)
{
    if (vector < 0)
        snprintf(out, n, "%s/slots-%llu", s->dir, (unsigned long long)number);
    else
        snprintf(out, n, "%s/graph-%u-%llu", s->dir, s->vectors[vector].id,
                 (unsigned long long)number);
}

/* ---- capture ---- */

static uint8_t *put(uint8_t *to, const void *p, size_t n)
{
    memcpy(to, p, n);
    return to + n;
}

#define SLOT_BYTES_MAX (5 + 16 + 12 + QV_SHARD_VECTORS_MAX / 8 + 4 * QV_SHARD_VECTORS_MAX)

/* At p, where there is room for the largest; gives its end. This runs on the owner for every slot,
 * while writers wait. */
static uint8_t *encode_slot(const struct qv_checkpoint *c, qv_slot slot, uint8_t *p)
{
    const struct qv_slot_table *t = &c->shard->slots;
    const uint32_t vectors = c->rec.vector_count;
    bool live = qv_slot_table_is_live(t, QV_SLOT_ANY_VECTOR, slot);
    if (!live) {
        *p++ = 0;
        return put(p, qv_slot_table_generation(t, slot), sizeof(uint32_t));
    }
    struct qv_id id = qv_slot_table_id(t, slot);
    struct qv_version version = qv_slot_table_version(t, slot);
    bool uuid = id.type == QV_ID_UUID;
    uint8_t present[QV_SHARD_VECTORS_MAX / 8] = {0};
    *p++ = uuid ? 3 : 1;
    p = put(p, qv_slot_table_generation(t, slot), sizeof(uint32_t));
    p = put(p, &id.lo, sizeof id.lo);
    if (uuid)
        p = put(p, &id.hi, sizeof id.hi);
    p = put(p, &version.clock, sizeof version.clock);
    p = put(p, &version.writer, sizeof version.writer);
    for (uint32_t v = 0; v < vectors; v++)
        present[v / 8] |= (uint8_t)(qv_slot_table_is_live(t, c->place[v], slot) << (v & 7));
    p = put(p, present, (vectors + 7) / 8);
    for (uint32_t v = 0; v < vectors; v++) {
        if (present[v / 8] >> (v & 7) & 1)
            p = put(p, qv_slot_table_row_crc(t, c->place[v], slot), sizeof(uint32_t));
    }
    return p;
}

/* Everything at or below it has reached every member of the group: this one, while a shard has one
 * copy. Tombstones at or below it are not needed any more. */
static struct qv_version stable_version(const struct qv_shard *s)
{
    return s->last_version;
}

static bool ghost_is_needed(const struct qv_shard *s, const struct qv_ghost *g)
{
    return qv_version_compare(g->newest, stable_version(s)) > 0;
}

static uint32_t encode_ghosts(const struct qv_shard *s, struct qv_buf *b)
{
    uint32_t n = 0;
    for (uint32_t i = 0; s->ghosts.count > 0 && i <= s->ghosts.mask; i++) {
        for (const struct qv_ghost *g = s->ghosts.buckets[i]; g != NULL; g = g->next) {
            uint8_t key[QV_ID_BYTES_MAX];
            if (!ghost_is_needed(s, g))
                continue;
            size_t bytes = qv_id_encode(&g->id, key);
            qv_buf_u8(b, (uint8_t)bytes);
            qv_buf_append(b, key, bytes);
            qv_buf_u64(b, g->newest.clock);
            qv_buf_u32(b, g->newest.writer);
            qv_buf_u32(b, (uint32_t)g->bytes);
            qv_buf_append(b, g->data, g->bytes);
            n++;
        }
    }
    return n;
}

static void capture_slots(struct qv_checkpoint *c)
{
    const struct qv_shard *s = c->shard;
    struct qv_buf *b = &c->slots;
    uint32_t high = qv_slot_table_high(&s->slots);
    qv_buf_u32(b, c->rec.vector_count);
    qv_buf_u32(b, high);
    qv_buf_u32(b, s->slots.live_count);
    size_t ghosts_at = b->len;
    qv_buf_u32(b, 0);
    /* Room for plain ids at once: a buffer that grows is copied each time. */
    (void)qv_buf_reserve(
        b, (size_t)high * (25 + (c->rec.vector_count + 7) / 8 + (size_t)4 * c->rec.vector_count));
    for (qv_slot slot = 0; slot < high; slot++) {
        uint8_t *p = qv_buf_reserve(b, SLOT_BYTES_MAX);
        if (p == NULL)
            break;
        b->len += (size_t)(encode_slot(c, slot, p) - p);
    }
    uint32_t ghosts = encode_ghosts(s, b);
    if (!b->failed)
        memcpy(b->data + ghosts_at, &ghosts, sizeof ghosts);
}

/* From the frozen set: the records that are their point's newest, and the ids that are gone. */
static void capture_records(struct qv_shard *s, struct qv_checkpoint *c)
{
    const struct qv_dirty *d = &s->frozen;
    c->records = qv_mem_alloc(d->count * sizeof *c->records);
    c->gone = qv_mem_alloc(d->dead_count * sizeof *c->gone);
    for (size_t i = 0; i < d->count; i++) {
        const struct qv_dirty_entry *e = &d->entries[i];
        if (*qv_slot_table_record(&s->slots, e->slot) != e->record)
            continue;
        c->records[c->record_count].id = qv_slot_table_id(&s->slots, e->slot);
        c->records[c->record_count].record = e->record;
        c->record_count++;
    }
    for (size_t i = 0; i < d->dead_count; i++) {
        if (qv_slot_table_find(&s->slots, &d->dead[i]) == QV_SLOT_NONE)
            c->gone[c->gone_count++] = d->dead[i];
    }
}

/* ---- write (job) ---- */

struct graph_out {
    struct qv_statefile_writer *w;
    struct qv_errmsg *msg;
};

static int graph_write(void *arg, const void *bytes, size_t n)
{
    struct graph_out *out = arg;
    return qv_statefile_append(out->w, bytes, n, out->msg);
}

static int write_graph(struct qv_checkpoint *c, uint32_t v)
{
    struct qv_shard *s = c->shard;
    struct qv_checkpoint_vector *rec = &c->rec.vectors[v];
    struct graph_out out = {.msg = &c->msg};
    char path[QV_SHARD_PATH_MAX];
    struct qv_hnsw *graph = s->vectors[c->place[v]].graph;
    rec->has_graph = graph != NULL;
    if (!rec->has_graph)
        return 0;
    qv_checkpoint_path(s, path, sizeof path, (int)c->place[v], c->rec.file_number);
    int err = qv_statefile_create(s->env->disk, path, QV_GRAPH_FILE_KIND, 1, &out.w, &c->msg);
    if (err != 0)
        return err;
    err = qv_hnsw_save(graph, graph_write, &out);
    if (err != 0) {
        qv_statefile_abort(out.w);
        return err;
    }
    return qv_statefile_finish(out.w, &rec->graph, &c->msg);
}

static int write_slots(struct qv_checkpoint *c)
{
    struct qv_shard *s = c->shard;
    struct qv_statefile_writer *w;
    char path[QV_SHARD_PATH_MAX];
    qv_checkpoint_path(s, path, sizeof path, -1, c->rec.file_number);
    int err = qv_statefile_create(s->env->disk, path, QV_SLOTS_FILE_KIND, 1, &w, &c->msg);
    if (err != 0)
        return err;
    err = qv_statefile_append(w, c->slots.data, c->slots.len, &c->msg);
    if (err != 0) {
        qv_statefile_abort(w);
        return err;
    }
    return qv_statefile_finish(w, &c->rec.slots, &c->msg);
}

static int write_records(struct qv_checkpoint *c)
{
    struct qv_shard *s = c->shard;
    struct qv_kv_batch batch;
    struct qv_buf own;
    uint8_t key[QV_ID_BYTES_MAX];
    qv_kv_batch_init(&batch);
    qv_buf_init(&own, 0);
    for (size_t i = 0; i < c->gone_count; i++)
        qv_kv_batch_delete(&batch, (struct qv_bytes){key, qv_id_encode(&c->gone[i], key)});
    for (size_t i = 0; i < c->record_count; i++) {
        const struct qv_record *r = c->records[i].record;
        size_t n = qv_id_encode(&c->records[i].id, key);
        qv_kv_batch_put(&batch, (struct qv_bytes){key, n}, (struct qv_bytes){r->data, r->bytes});
    }
    qv_checkpoint_encode(&c->rec, &own);
    qv_kv_batch_put(&batch, (struct qv_bytes){(const uint8_t *)QV_META_KEY, QV_META_KEY_BYTES},
                    (struct qv_bytes){own.data, own.len});
    int err = own.failed ? QV_ENOMEM : qv_kv_write(s->kv, &batch, &c->msg);
    c->written = err == 0;
    c->store_failed = err != 0 && err != QV_ENOMEM;
    qv_buf_close(&own);
    qv_kv_batch_close(&batch);
    return err;
}

static int write_all(struct qv_checkpoint *c)
{
    struct qv_shard *s = c->shard;
    int err = c->slots.failed ? QV_ENOMEM : 0;
    for (uint32_t v = 0; v < c->rec.vector_count && err == 0; v++)
        err = qv_rowfile_sync(s->vectors[c->place[v]].rows, &c->msg);
    for (uint32_t v = 0; v < c->rec.vector_count && err == 0; v++)
        err = write_graph(c, v);
    if (err == 0)
        err = write_slots(c);
    return err == 0 ? write_records(c) : err;
}

/* The payload store failed and takes nothing more. Opened anew it is what its files hold: the
 * commit is among them, or it is not and never will be. */
static int decide(struct qv_checkpoint *c, int err)
{
    struct qv_shard *s = c->shard;
    struct qv_checkpoint_record *have = qv_mem_calloc(1, sizeof *have);
    struct qv_errmsg msg = {""};
    bool found = false;
    int again = qv_kv_reopen(s->kv, &msg);
    s->store_failed = again != 0;
    if (again == 0)
        again = qv_checkpoint_read(s, have, &found, &msg);
    if (again == 0) {
        bool durable = c->written && found && have->file_number == c->rec.file_number;
        c->written = false;
        err = durable ? 0 : err;
    }
    qv_mem_free(have);
    return err;
}

static void checkpoint_run(struct qv_job *job, unsigned worker)
{
    struct qv_checkpoint *c = job->arg;
    (void)worker;
    c->store_failed = false;
    c->err = 0;
    if (!c->written && c->shard->store_failed) { /* one that was given up left it so */
        c->err = qv_kv_reopen(c->shard->kv, &c->msg);
        c->shard->store_failed = c->err != 0;
    }
    if (c->err == 0 && !c->written)
        c->err = write_all(c);
    if (c->err == 0) {
        c->err = qv_kv_flush(c->shard->kv, &c->msg);
        c->store_failed = c->err != 0;
    }
    if (c->store_failed && c->err != QV_ECORRUPT)
        c->err = decide(c, c->err);
}

/* ---- end ---- */

void qv_shard_remove_files(struct qv_shard *s, uint64_t number)
{
    char path[QV_SHARD_PATH_MAX];
    for (int v = -1; v < (int)s->vector_count; v++) {
        if (v >= 0 && s->vectors[v].life == QV_VECTOR_NONE)
            continue;
        qv_checkpoint_path(s, path, sizeof path, v, number);
        int err = qv_disk_unlink(s->env->disk, path, NULL);
        if (err != 0 && err != QV_ENOTFOUND)
            QV_WARN("shard", "%s stays behind: %s", path, qv_err_text(err));
    }
}

static void forget_frozen(struct qv_shard *s)
{
    pthread_rwlock_wrlock(&s->lock);
    for (size_t i = 0; i < s->frozen.count; i++) {
        const struct qv_dirty_entry *e = &s->frozen.entries[i];
        struct qv_record **at = qv_slot_table_record(&s->slots, e->slot);
        if (*at == e->record)
            __atomic_store_n(at, NULL, __ATOMIC_RELAXED);
    }
    pthread_rwlock_unlock(&s->lock);
    qv_dirty_close(&s->frozen);
}

/* Tombstones that every member has are dropped once their checkpoint is durable. */
static void drop_ghosts(struct qv_shard *s, const struct qv_checkpoint *c)
{
    for (size_t i = 0; i < c->gone_count; i++) {
        const struct qv_ghost *g = qv_ghosts_find(&s->ghosts, &c->gone[i]);
        if (g != NULL && qv_version_compare(g->newest, c->rec.last_version) <= 0)
            qv_ghosts_remove(&s->ghosts, &c->gone[i]);
    }
}

static void checkpoint_free(struct qv_checkpoint *c)
{
    c->shard->checkpoint = NULL;
    qv_buf_close(&c->slots);
    qv_mem_free(c->records);
    qv_mem_free(c->gone);
    qv_mem_free(c);
}

void qv_shard_discard_checkpoint(struct qv_shard *s)
{
    if (s->checkpoint != NULL)
        checkpoint_free(s->checkpoint);
}

/* What was frozen is dirty again. */
static void thaw(struct qv_shard *s)
{
    pthread_rwlock_wrlock(&s->lock);
    qv_dirty_take(&s->dirty, &s->frozen);
    pthread_rwlock_unlock(&s->lock);
}

void qv_shard_checkpoint_give_up(struct qv_shard *s)
{
    if (s->checkpoint == NULL || !s->checkpoint->waiting)
        return;
    thaw(s);
    checkpoint_free(s->checkpoint);
}

static void failed(struct qv_checkpoint *c)
{
    struct qv_shard *s = c->shard;
    s->store->checkpoint_failures++;
    s->checkpoint_failures++;
    s->checkpoint_err = c->err;
    s->checkpoint_failed_ns = qv_env_mono_ns(s->env);
    s->checkpoint_wait_ns = s->checkpoint_wait_ns == 0            ? WAIT_MIN_NS
                            : s->checkpoint_wait_ns < WAIT_MAX_NS ? s->checkpoint_wait_ns * 2
                                                                  : WAIT_MAX_NS;
    if (s->failing[0] == '\0') /* told when it begins and when it ends */
        QV_ERROR("shard", "shard %u: checkpoint failed: %s (%s)", s->number, c->msg.text,
                 qv_err_name(c->err));
    qv_shard_set_text(s, s->failing, c->msg.text[0] != '\0' ? c->msg.text : qv_err_text(c->err));
    if (c->err == QV_ECORRUPT)
        qv_shard_note_damage(s, c->msg.text);
    c->waiting = c->written;
    if (c->waiting)
        return;
    if (c->asked_again)
        s->checkpoint_failed_ns = 0; /* void, and the store works again: a new one at once */
    s->graph_changes += c->graph_changes;
    thaw(s);
    qv_shard_remove_files(s, c->rec.file_number);
    checkpoint_free(c);
}

static void succeeded(struct qv_checkpoint *c)
{
    struct qv_shard *s = c->shard;
    uint64_t before = s->durable_file;
    s->checkpoint_failed_ns = 0;
    s->checkpoint_wait_ns = 0;
    if (s->failing[0] != '\0')
        QV_INFO("shard", "shard %u: checkpoints succeed again", s->number);
    qv_shard_set_text(s, s->failing, "");
    s->checkpoint_lsn = c->rec.lsn;
    s->durable_seq = c->seq;
    s->durable_file = c->rec.file_number;
    s->store->checkpoints++;
    atomic_fetch_add(&s->checkpoints_shared, 1); /* before records leave the memory: shard_read.c */
    drop_ghosts(s, c);
    forget_frozen(s);
    if (before != 0 && !qv_shard_pins_file(s, before))
        qv_shard_remove_files(s, before);
    if (s->durable == NULL)
        s->durable = qv_mem_alloc(sizeof *s->durable);
    *s->durable = c->rec;
    s->durable_config = c->config;
    checkpoint_free(c);
    qv_shard_pin_step(s); /* before another one begins */
}

static void checkpoint_done(struct qv_job *job)
{
    struct qv_checkpoint *c = job->arg;
    struct qv_shard *s = c->shard;
    if (c->err != 0)
        failed(c);
    else
        succeeded(c);
    atomic_store_explicit(&s->dirty_bytes_shared, s->dirty.bytes + s->frozen.bytes,
                          memory_order_relaxed);
    qv_shard_reclaim(s);
    qv_shard_reshape_step(s);
    qv_store_shard_step(s->store);
}

static void submit(struct qv_checkpoint *c)
{
    c->waiting = false;
    int err = qv_env_submit(c->shard->env, QV_JOB_IO, &c->job);
    if (err != 0) {
        c->err = err;
        checkpoint_done(&c->job);
    }
}

bool qv_shard_checkpoint_busy(const struct qv_shard *s)
{
    return s->checkpoint != NULL && !s->checkpoint->waiting;
}

bool qv_shard_checkpoint_step(struct qv_shard *s)
{
    struct qv_checkpoint *c = s->checkpoint;
    if (c == NULL || !c->waiting)
        return c != NULL;
    if (qv_env_mono_ns(s->env) - s->checkpoint_failed_ns < s->checkpoint_wait_ns)
        return false;
    c->asked_again = true;
    submit(c);
    return s->checkpoint != NULL && !s->checkpoint->waiting;
}

/* The vectors that it holds, ascending by number: the order of every configuration. */
static void capture_vectors(struct qv_checkpoint *c)
{
    const struct qv_shard *s = c->shard;
    uint32_t n = 0;
    for (uint32_t v = 0; v < s->vector_count; v++) {
        if (s->vectors[v].life != QV_VECTOR_IN)
            continue;
        uint32_t at = n++;
        for (; at > 0 && c->rec.vectors[at - 1].number > s->vectors[v].id; at--) {
            c->rec.vectors[at] = c->rec.vectors[at - 1];
            c->place[at] = c->place[at - 1];
        }
        c->rec.vectors[at].number = s->vectors[v].id;
        c->place[at] = v;
    }
    c->rec.vector_count = n;
}

static struct qv_checkpoint *capture(struct qv_shard *s)
{
    QV_ASSERT(s->checkpoint == NULL && qv_dirty_empty(&s->frozen));
    struct qv_checkpoint *c = qv_mem_calloc(1, sizeof *c);
    c->job = (struct qv_job){.run = checkpoint_run, .done = checkpoint_done, .arg = c};
    c->shard = s;
    c->seq = ++s->capture_seq;
    s->checkpoint_wanted = false;
    c->graph_changes = s->graph_changes;
    s->graph_changes = 0;
    c->rec.shard = s->number;
    memcpy(c->rec.uuid, s->uuid, sizeof c->rec.uuid);
    c->rec.generation = s->generation;
    c->config = atomic_load(&s->config);
    c->rec.lsn = s->applied_lsn;
    c->rec.file_number = ++s->file_number;
    c->rec.last_version = s->last_version;
    c->rec.prev_clock = s->last_version.clock;
    capture_vectors(c);
    c->rec.stream_count = s->stream_count;
    QV_ASSERT(s->stream_count <= sizeof c->rec.streams / sizeof *c->rec.streams);
    if (s->stream_count > 0)
        memcpy(c->rec.streams, s->streams, s->stream_count * sizeof *s->streams);
    qv_buf_init(&c->slots, 0);
    capture_slots(c);
    pthread_rwlock_wrlock(&s->lock);
    s->frozen = s->dirty;
    memset(&s->dirty, 0, sizeof s->dirty);
    pthread_rwlock_unlock(&s->lock);
    capture_records(s, c);
    s->checkpoint = c;
    return c;
}

void qv_shard_checkpoint_start(struct qv_shard *s)
{
    if (s->checkpoint == NULL && atomic_load(&s->state) == QV_SHARD_OPEN)
        submit(capture(s));
}

int qv_shard_checkpoint_first(struct qv_shard *s, struct qv_errmsg *msg)
{
    struct qv_checkpoint *c = capture(s);
    checkpoint_run(&c->job, 0);
    int err = c->err;
    if (err != 0) {
        qv_fail(msg, err, "%s", c->msg.text);
        checkpoint_free(c);
    } else {
        succeeded(c);
    }
    return err;
}

#define GRAPH_CHANGES_MIN 10000u /* some seconds of linking */

/* A graph that has taken in a load (a tenth of its points, and not few) is worth keeping: after a
 * crash its nodes would have to be linked again. */
static bool graph_caught_up(const struct qv_shard *s)
{
    return s->graph_changes >= GRAPH_CHANGES_MIN && s->graph_changes >= s->slots.live_count / 10 &&
           qv_shard_pending(s) == 0;
}

bool qv_shard_needs_checkpoint(const struct qv_shard *s, bool force)
{
    const struct qv_store *st = s->store;
    if (atomic_load(&((struct qv_shard *)(uintptr_t)s)->state) != QV_SHARD_OPEN ||
        s->checkpoint != NULL || s->reshape || !qv_shard_heal_idle(s) || qv_shard_rows_failed(s))
        return false;
    bool caught_up = graph_caught_up(s) || s->checkpoint_wanted;
    if (qv_dirty_empty(&s->dirty) && !caught_up && (!force || s->graph_changes == 0))
        return false;
    uint64_t now = qv_env_mono_ns(s->env);
    if (s->checkpoint_failed_ns != 0 && now - s->checkpoint_failed_ns < s->checkpoint_wait_ns)
        return false; /* the disk is given some time before it is asked again */
    if (force || caught_up || s->dirty.bytes >= st->config.checkpoint_bytes)
        return true;
    return now - s->dirty.since_ns >= st->config.checkpoint_ms * QV_NS_PER_MS;
}
