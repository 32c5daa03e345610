/* A shard's birth, opening and end. An open reads the payload store's checkpoint record, the files
 * it names, verifies every row, removes files that it does not name, and leaves the shard at the
 * checkpoint's position: the store replays the log from there. */
#include "shard/checkpoint.h"

#include "base/hash.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "shard/prepare.h"

#include <stdio.h>
#include <string.h>

/* ---- memory ---- */

static void shard_free(struct qv_shard *s)
{
    qv_shard_discard_checkpoint(s);
    qv_shard_discard_jobs(s);
    qv_shard_heal_discard(s);
    qv_feed_discard(s);
    qv_replay_discard(s);
    qv_mem_free(s->streams);
    qv_mem_free(s->reads);
    qv_mem_free(s->writes);
    qv_mem_free(s->keep);
    qv_mem_free(s->scan);
    qv_shard_close_vectors(s);
    qv_shard_fields_close(s);
    qv_shard_discard_pins(s);
    qv_kv_close(s->kv);
    qv_slot_table_close(&s->slots);
    qv_dirty_close(&s->dirty);
    qv_dirty_close(&s->frozen);
    qv_ghosts_close(&s->ghosts);
    qv_vmem_close(&s->pending_mem);
    qv_mem_free(s->repair_queue);
    qv_mem_free(s->limbo);
    qv_mem_free(s->backlog_slots);
    qv_mem_free(s->durable);
    pthread_rwlock_destroy(&s->lock);
    pthread_mutex_destroy(&s->reason_lock);
    qv_mem_free(s->dir);
    qv_mem_free(s);
}

void qv_shard_destroy(struct qv_shard *s)
{
    QV_ASSERT(s->index_jobs == 0 && s->repair_jobs == 0 && s->checkpoint == NULL);
    QV_ASSERT(s->waiting == NULL && s->inflight == 0);
    shard_free(s);
}

void qv_shard_discard(struct qv_shard *s)
{
    shard_free(s);
}

/* The owner must get through however many readers there are; they don't nest. */
static void lock_init(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(lock, &attr);
    pthread_rwlockattr_destroy(&attr);
}

static struct qv_shard *shard_alloc(struct qv_store *store, const struct qv_shard_spec *spec)
{
    struct qv_shard *s = qv_mem_calloc(1, sizeof *s);
    char dir[QV_SHARD_PATH_MAX];
    snprintf(dir, sizeof dir, "%s/shards/%u", store->dir, spec->number);
    s->store = store;
    s->env = store->env;
    s->number = spec->number;
    memcpy(s->uuid, spec->uuid, sizeof s->uuid);
    s->dir = qv_mem_strdup(dir);
    s->generation = spec->generation;
    atomic_init(&s->refs, 1);
    atomic_init(&s->config, spec->config);
    atomic_init(&s->state, QV_SHARD_OPEN);
    lock_init(&s->lock);
    pthread_mutex_init(&s->reason_lock, NULL);
    qv_epoch_init(&s->epoch);
    qv_shard_fields_init(s);
    qv_ghosts_init(&s->ghosts);
    s->waiting_tail = &s->waiting;
    s->wait_index_tail = &s->wait_index;
    s->wait_feeds_tail = &s->wait_feeds;
    s->replays_tail = &s->replays;
    s->pin_reqs_tail = &s->pin_reqs;
    return s;
}

/* Mapped, so that a shard with few points has few pages of it: 640 KiB were most of what an empty
 * one cost. */
static int ring_init(struct qv_shard *s)
{
    const size_t slots = QV_PENDING_RING * sizeof *s->pending.ring;
    int err = qv_vmem_reserve(&s->pending_mem, slots + QV_PENDING_RING, false);
    if (err == 0)
        err = qv_vmem_grow(&s->pending_mem, slots + QV_PENDING_RING);
    s->pending.ring = (void *)s->pending_mem.base;
    s->pending.done = s->pending_mem.base + slots;
    return err;
}

/* ---- parts ---- */

static uint32_t slots_max_of(const struct qv_shard *s)
{
    uint32_t n = s->store->config.slots_max;
    for (uint32_t v = 0; v < s->vector_count; v++) {
        uint64_t fit = ((uint64_t)1 << 40) / s->vectors[v].row_bytes; /* 1 TiB of rows a vector */
        if (fit < n)
            n = (uint32_t)fit;
    }
    return n;
}

static int create_graph(struct qv_shard *s, uint32_t index, struct qv_errmsg *msg)
{
    struct qv_shard_vector *v = &s->vectors[index];
    struct qv_hnsw_params p = qv_shard_graph_params(s, index);
    struct qv_hnsw *graph = NULL;
    int err = p.m == 0 ? 0 : qv_hnsw_create(&p, &v->view, &graph, msg);
    v->graph = graph;
    return err;
}

static int kv_open(struct qv_shard *s, bool create, struct qv_errmsg *msg)
{
    char path[QV_SHARD_PATH_MAX];
    snprintf(path, sizeof path, "%s/kv", s->dir);
    if (s->store->checking)
        return qv_kv_open_read_only(s->store->config.kv, path, &s->kv, msg);
    int err = qv_kv_open(s->store->config.kv, path, create, &s->kv, msg);
    if (err != QV_ENOSPC || create)
        return err;
    /* An open writes: without room for that it is read as it is, until a checkpoint finds some. */
    QV_WARN("shard", "%s is open for reading only: %s", path, msg->text);
    s->store_failed = true;
    return qv_kv_open_read_only(s->store->config.kv, path, &s->kv, msg);
}

/* ---- create ---- */

int qv_shard_create(struct qv_store *store, const struct qv_shard_spec *spec, struct qv_shard **out,
                    struct qv_errmsg *msg)
{
    struct qv_shard *s = shard_alloc(store, spec);
    int err = ring_init(s);
    if (err == 0)
        err = qv_shard_init_keys(s, spec->keys);
    if (err == 0)
        err = qv_shard_init_vectors(s);
    if (err == 0)
        err = qv_slot_table_init(&s->slots, s->vector_count, slots_max_of(s));
    if (err == 0)
        qv_shard_fields_config(s);
    if (err == 0)
        err = qv_disk_mkdir_all(s->env->disk, s->dir, msg);
    for (uint32_t v = 0; v < s->vector_count && err == 0; v++) {
        err = qv_shard_open_rows(s, v, true, msg);
        if (err == 0)
            err = create_graph(s, v, msg);
    }
    if (err == 0)
        err = qv_disk_sync_dir(s->env->disk, s->dir, msg);
    if (err == 0)
        err = kv_open(s, true, msg);
    s->applied_lsn = qv_log_end(store->log);
    if (err == 0)
        err = qv_shard_checkpoint_first(s, msg);
    if (err != 0) {
        shard_free(s);
        return err;
    }
    *out = s;
    return 0;
}

/* ---- open ---- */

struct slot_reader {
    struct qv_statefile_reader *r;
    struct qv_errmsg *msg;
    int err;
};

static void take(struct slot_reader *in, void *p, size_t n)
{
    if (in->err == 0)
        in->err = qv_statefile_read(in->r, p, n, in->msg);
    if (in->err != 0)
        memset(p, 0, n);
}

/* The vectors of a slots file: where each is in the shard; -1: it was dropped since. */
struct columns {
    uint32_t count;
    int index[QV_SHARD_VECTORS_MAX];
};

static void columns_of(const struct qv_shard *s, const struct qv_checkpoint_record *rec,
                       struct columns *out)
{
    out->count = rec->vector_count;
    for (uint32_t i = 0; i < rec->vector_count; i++)
        out->index[i] = qv_shard_vector_index(s, rec->vectors[i].number);
}

static void read_rows(struct qv_shard *s, qv_slot slot, struct slot_reader *in,
                      const struct columns *columns, uint8_t *present)
{
    uint8_t in_file[QV_SHARD_VECTORS_MAX / 8] = {0};
    take(in, in_file, (columns->count + 7) / 8);
    for (uint32_t i = 0; i < columns->count; i++) {
        uint32_t crc;
        int v = columns->index[i];
        if (!(in_file[i / 8] >> (i & 7) & 1))
            continue;
        take(in, &crc, sizeof crc);
        if (v < 0)
            continue;
        present[v / 8] |= (uint8_t)(1u << (v & 7));
        *qv_slot_table_row_crc(&s->slots, (uint32_t)v, slot) = crc;
    }
}

static void read_slot(struct qv_shard *s, qv_slot slot, struct slot_reader *in,
                      const struct columns *columns, uint8_t *present)
{
    uint8_t flags;
    uint32_t generation;
    struct qv_id id = {0};
    struct qv_version version = QV_VERSION_NONE;
    take(in, &flags, sizeof flags);
    take(in, &generation, sizeof generation);
    id.type = flags & 2 ? QV_ID_UUID : QV_ID_NUM;
    if (flags & 1) {
        take(in, &id.lo, sizeof id.lo);
        if (flags & 2)
            take(in, &id.hi, sizeof id.hi);
        take(in, &version.clock, sizeof version.clock);
        take(in, &version.writer, sizeof version.writer);
        read_rows(s, slot, in, columns, present);
    }
    qv_slot_table_restore(&s->slots, slot, &id, version, generation, flags & 1);
}

static int read_ghosts(struct qv_shard *s, uint32_t n, struct slot_reader *in)
{
    for (uint32_t i = 0; i < n && in->err == 0; i++) {
        uint8_t key[UINT8_MAX];
        uint8_t key_bytes;
        struct qv_version newest;
        uint32_t bytes;
        struct qv_id id;
        size_t used;
        take(in, &key_bytes, sizeof key_bytes);
        take(in, key, key_bytes);
        take(in, &newest.clock, sizeof newest.clock);
        take(in, &newest.writer, sizeof newest.writer);
        take(in, &bytes, sizeof bytes);
        if (in->err != 0)
            break;
        if (qv_id_decode(key, key_bytes, &id, &used) != 0 || used != key_bytes ||
            bytes > QV_RECORD_BYTES_MAX)
            return QV_CORRUPT(in->msg, "tombstone %u of %u", i, n);
        uint8_t *record = qv_mem_try_alloc(bytes);
        if (record == NULL)
            return QV_ENOMEM;
        take(in, record, bytes);
        if (in->err == 0)
            qv_ghosts_put(&s->ghosts, &id, newest, (struct qv_bytes){record, bytes});
        qv_mem_free(record);
    }
    return in->err;
}

int qv_checkpoint_read_slots(struct qv_shard *s, const struct qv_checkpoint_record *rec,
                             uint8_t **present, struct qv_errmsg *msg)
{
    struct slot_reader in = {.msg = msg};
    uint32_t head[4] = {0};
    struct columns columns;
    char path[QV_SHARD_PATH_MAX];
    size_t stride = (s->vector_count + 7) / 8;
    *present = NULL;
    columns_of(s, rec, &columns);
    qv_checkpoint_path(s, path, sizeof path, -1, rec->file_number);
    int err = qv_statefile_open(s->env->disk, path, QV_SLOTS_FILE_KIND, 1, &in.r, msg);
    if (err != 0)
        return err;
    struct qv_statefile_info info = qv_statefile_get_info(in.r);
    take(&in, head, sizeof head);
    uint32_t high = head[1];
    if (in.err == 0 &&
        (info.payload_hash != rec->slots.payload_hash || head[0] != rec->vector_count ||
         high > s->slots.max_slots || (uint64_t)high * 5 > info.payload_bytes))
        in.err = QV_CORRUPT(msg, "%s is not the checkpoint's", path);
    if (in.err == 0)
        in.err = qv_slot_table_reserve(&s->slots, high);
    if (in.err == 0) {
        *present = qv_mem_try_calloc((size_t)high + 1, stride);
        in.err = *present == NULL ? QV_ENOMEM : 0;
    }
    for (qv_slot slot = 0; slot < high && in.err == 0; slot++)
        read_slot(s, slot, &in, &columns, *present + slot * stride);
    if (in.err == 0)
        in.err = read_ghosts(s, head[3], &in);
    if (in.err == 0)
        in.err = qv_statefile_end(in.r, msg);
    qv_statefile_close(in.r);
    if (in.err == 0)
        s->restored_high = high;
    return in.err;
}

struct present_of {
    const uint8_t *bytes;
    size_t stride;
};

static const uint8_t *present_at(void *arg, qv_slot slot)
{
    const struct present_of *p = arg;
    return p->bytes + slot * p->stride;
}

static int verify_rows(struct qv_shard *s, uint32_t index, struct qv_errmsg *msg)
{
    const struct qv_shard_vector *v = &s->vectors[index];
    uint32_t high = qv_slot_table_high(&s->slots);
    const uint32_t ahead = 8192;
    uint32_t bad = 0;
    for (qv_slot slot = 0; slot < high; slot++) {
        if (slot % ahead == 0 && slot + ahead < high)
            qv_rowfile_prefetch(v->rows, slot + ahead,
                                high - slot - ahead < ahead ? high - slot - ahead : ahead);
        if (!qv_slot_table_is_live(&s->slots, index, slot))
            continue;
        if (slot >= qv_rowfile_capacity(v->rows))
            return QV_CORRUPT(msg, "%s/rows-%u holds %u rows, the checkpoint has row %u", s->dir,
                              v->id, qv_rowfile_capacity(v->rows), slot);
        if (qv_shard_row_good(s, index, slot))
            continue;
        int err = qv_shard_row_bad(s, index, slot, msg);
        if (++bad > QV_DAMAGED_ROWS_MAX) /* nothing of it is trusted any more */
            return err;
    }
    return 0;
}

struct graph_in {
    struct qv_shard *shard;
    uint32_t vector;
    struct qv_statefile_reader *r;
    struct qv_errmsg *msg;
};

static int graph_read(void *arg, void *bytes, size_t n, size_t *got)
{
    struct graph_in *in = arg;
    uint64_t left = qv_statefile_left(in->r);
    *got = left < n ? (size_t)left : n;
    return qv_statefile_read(in->r, bytes, *got, in->msg);
}

static bool graph_keep(void *arg, qv_slot slot, uint32_t generation)
{
    const struct graph_in *in = arg;
    const struct qv_slot_table *t = &in->shard->slots;
    return slot < qv_slot_table_high(t) && qv_slot_table_is_live(t, in->vector, slot) &&
           *qv_slot_table_generation(t, slot) == generation;
}

static int load_graph(struct qv_shard *s, uint32_t index, const struct qv_checkpoint_vector *rec,
                      uint64_t file_number, struct qv_errmsg *msg)
{
    struct qv_shard_vector *v = &s->vectors[index];
    struct graph_in in = {.shard = s, .vector = index, .msg = msg};
    char path[QV_SHARD_PATH_MAX];
    struct qv_hnsw_params p = qv_shard_graph_params(s, index);
    if (p.m == 0 || rec == NULL || !rec->has_graph)
        return create_graph(s, index, msg);
    qv_checkpoint_path(s, path, sizeof path, (int)index, file_number);
    int err = qv_statefile_open(s->env->disk, path, QV_GRAPH_FILE_KIND, 1, &in.r, msg);
    if (err != 0)
        return err;
    if (qv_statefile_get_info(in.r).payload_hash != rec->graph.payload_hash)
        err = QV_CORRUPT(msg, "%s is not the checkpoint's", path);
    struct qv_hnsw_source source = {
        .read = graph_read, .read_arg = &in, .keep = graph_keep, .keep_arg = &in};
    struct qv_hnsw_load_report report;
    struct qv_hnsw *graph = NULL;
    if (err == 0)
        err = qv_hnsw_load(&p, &v->view, &source, &graph, &report, msg);
    bool anew = err == QV_EINVAL || (err == 0 && report.ef_construct != p.ef_construct);
    if (err == 0)
        err = qv_statefile_end(in.r, msg);
    qv_statefile_close(in.r);
    if (err == 0 && !anew) {
        v->graph = graph;
        qv_shard_effort_load(s, index);
        return 0;
    }
    qv_hnsw_destroy(&graph);
    return anew && (err == 0 || err == QV_EINVAL) ? create_graph(s, index, msg) : err;
}

struct stray {
    struct qv_shard *shard;
    uint64_t keep;
    bool remove; /* else it is only looked whether there is one */
    bool found;
};

/* Rows of a vector that was dropped, or that was to be added when the process ended. */
static bool is_present_vector(const struct qv_shard *s, const char *digits)
{
    char want[16];
    for (uint32_t v = 0; v < s->vector_count; v++) {
        snprintf(want, sizeof want, "%u", s->vectors[v].id);
        if (strcmp(want, digits) == 0)
            return true;
    }
    return false;
}

static bool remove_stray(void *arg, const char *name, bool is_dir)
{
    struct stray *x = arg;
    char path[QV_SHARD_PATH_MAX];
    char keep[64];
    snprintf(keep, sizeof keep, "-%llu", (unsigned long long)x->keep);
    size_t n = strlen(name);
    size_t k = strlen(keep);
    bool state = strncmp(name, "slots-", 6) == 0 || strncmp(name, "graph-", 6) == 0;
    bool unfinished = n > 4 && strcmp(name + n - 4, ".tmp") == 0;
    bool rows = strncmp(name, "rows-", 5) == 0 && !is_present_vector(x->shard, name + 5);
    bool effort = strncmp(name, "effort-", 7) == 0 && !is_present_vector(x->shard, name + 7);
    if (is_dir || (!state && !unfinished && !rows && !effort) ||
        (state && n > k && strcmp(name + n - k, keep) == 0))
        return true;
    x->found = true;
    if (!x->remove)
        return false;
    snprintf(path, sizeof path, "%s/%s", x->shard->dir, name);
    int err = qv_disk_unlink(x->shard->env->disk, path, NULL);
    if (err != 0)
        QV_WARN("shard", "%s stays behind: %s", path, qv_err_text(err));
    return true;
}

/* State files of other checkpoints. What was read may be a commit whose flush failed before the
 * process ended: it is made durable before its predecessor's files go. Where there are none of a
 * predecessor the flush had succeeded, and the payload store need not be opened for writing. */
static int remove_strays(struct qv_shard *s, uint64_t keep, struct qv_errmsg *msg)
{
    struct stray x = {.shard = s, .keep = keep};
    int err = qv_disk_list(s->env->disk, s->dir, remove_stray, &x, msg);
    if (err != 0 || !x.found)
        return err;
    err = qv_kv_flush(s->kv, msg);
    if (err != 0) {
        QV_WARN("shard", "%s: files of other checkpoints stay: %s", s->dir, msg->text);
        return 0;
    }
    x.remove = true;
    return qv_disk_list(s->env->disk, s->dir, remove_stray, &x, msg);
}

/* In a graph at all? *missing: in none of those that some vector of it belongs in. */
static bool slot_indexed(const struct qv_shard *s, qv_slot slot, bool *missing)
{
    bool in = false;
    *missing = false;
    for (uint32_t v = 0; v < s->vector_count; v++) {
        if (s->vectors[v].graph == NULL || !qv_slot_table_is_live(&s->slots, v, slot))
            continue;
        if (qv_hnsw_slot_state(s->vectors[v].graph, slot, NULL) == QV_HNSW_LIVE)
            in = true;
        else
            *missing = true;
    }
    return in;
}

static void mark_indexed(struct qv_shard *s)
{
    bool missing;
    for (qv_slot slot = 0; slot < qv_slot_table_high(&s->slots); slot++) {
        if (slot_indexed(s, slot, &missing))
            atomic_fetch_or_explicit(qv_slot_table_state(&s->slots, slot), QV_SLOT_INDEXED,
                                     memory_order_relaxed);
    }
}

/* NULL: the vector is newer than the checkpoint. */
static const struct qv_checkpoint_vector *vector_of(const struct qv_checkpoint_record *rec,
                                                    uint32_t number)
{
    for (uint32_t i = 0; i < rec->vector_count; i++) {
        if (rec->vectors[i].number == number)
            return &rec->vectors[i];
    }
    return NULL;
}

/* From the checkpoint's record to a shard at its position. */
static int open_checkpoint(struct qv_shard *s, const struct qv_checkpoint_record *rec,
                           struct qv_errmsg *msg)
{
    struct present_of present = {.stride = (s->vector_count + 7) / 8};
    uint8_t *bytes = NULL;
    if (rec->shard != s->number || memcmp(rec->uuid, s->uuid, sizeof rec->uuid) != 0)
        return QV_CORRUPT(msg, "%s: the checkpoint is of another shard", s->dir);
    int err = qv_checkpoint_read_slots(s, rec, &bytes, msg);
    present.bytes = bytes;
    if (err == 0)
        err = qv_slot_table_rebuild(&s->slots, s->restored_high, present_at, &present, msg);
    qv_mem_free(bytes);
    for (uint32_t v = 0; v < s->vector_count && err == 0; v++) {
        err = verify_rows(s, v, msg);
        if (err == 0)
            err = load_graph(s, v, vector_of(rec, s->vectors[v].id), rec->file_number, msg);
    }
    if (err == 0)
        mark_indexed(s);
    s->applied_lsn = s->checkpoint_lsn = rec->lsn;
    s->file_number = s->durable_file = rec->file_number;
    s->last_version = rec->last_version;
    s->prev_clock = rec->prev_clock;
    for (uint32_t i = 0; i < rec->stream_count; i++)
        qv_stream_cover(s, rec->streams[i].stream, rec->streams[i].position);
    s->generation = s->generation > rec->generation ? s->generation : rec->generation;
    return err;
}

int qv_checkpoint_read(struct qv_shard *s, struct qv_checkpoint_record *rec, bool *found,
                       struct qv_errmsg *msg)
{
    struct qv_kv_value value = {0};
    int err =
        qv_kv_get(s->kv, NULL, (struct qv_bytes){(const uint8_t *)QV_META_KEY, QV_META_KEY_BYTES},
                  &value, msg);
    *found = err == 0 && value.p != NULL;
    if (*found)
        err = qv_checkpoint_decode((struct qv_bytes){value.p, value.n}, rec, msg);
    qv_kv_value_close(&value);
    return err;
}

static bool same_vectors(const struct qv_shard *s, const struct qv_checkpoint_record *rec)
{
    bool same = rec->vector_count == s->vector_count;
    for (uint32_t v = 0; v < s->vector_count && same; v++)
        same = rec->vectors[v].number == s->vectors[v].id;
    return same;
}

static int open_parts(struct qv_shard *s, struct qv_errmsg *msg)
{
    struct qv_checkpoint_record *rec = qv_mem_calloc(1, sizeof *rec);
    bool found = false;
    int err = ring_init(s);
    if (err == 0)
        err = qv_shard_init_vectors(s);
    if (err == 0)
        err = qv_slot_table_init(&s->slots, s->vector_count, slots_max_of(s));
    if (err == 0)
        qv_shard_fields_config(s);
    if (err == 0)
        err = kv_open(s, false, msg);
    if (err == 0)
        err = qv_checkpoint_read(s, rec, &found, msg);
    if (err == QV_ENOTFOUND || (err == 0 && !found))
        err = QV_CORRUPT(msg, "%s/kv holds no checkpoint", s->dir); /* its creation made one */
    for (uint32_t v = 0; v < s->vector_count && err == 0; v++) {
        bool newer = vector_of(rec, s->vectors[v].id) == NULL; /* all of its rows are in the log */
        err = qv_shard_open_rows(s, v, false, msg);
        if (err == QV_ENOTFOUND && newer && !s->store->checking)
            err = qv_shard_open_rows(s, v, true, msg);
        if (err == QV_ENOTFOUND && !newer)
            err = QV_CORRUPT(msg, "%s/rows-%u is missing", s->dir, s->vectors[v].id);
    }
    if (err == 0)
        err = open_checkpoint(s, rec, msg);
    if (err == 0 && !s->store->checking)
        err = remove_strays(s, rec->file_number, msg);
    if (err == 0 && !same_vectors(s, rec))
        s->graph_changes++; /* a snapshot asks for a checkpoint of this configuration */
    s->durable = rec;
    s->durable_config = atomic_load(&s->config);
    return err;
}

int qv_shard_open_built(struct qv_store *store, const struct qv_shard_spec *spec,
                        struct qv_shard **out, struct qv_errmsg *msg)
{
    struct qv_shard *s = shard_alloc(store, spec);
    s->replaying = true;
    int err = open_parts(s, msg);
    if (err == 0)
        err = qv_shard_init_keys(s, spec->keys);
    if (err != 0) {
        shard_free(s);
        return err;
    }
    *out = s;
    return 0;
}

int qv_shard_open(struct qv_store *store, const struct qv_shard_spec *spec, struct qv_shard **out,
                  struct qv_errmsg *msg)
{
    struct qv_shard *s = shard_alloc(store, spec);
    struct qv_errmsg why = {""};
    int err = open_parts(s, &why);
    if (err == 0)
        err = qv_shard_init_keys(s, spec->keys);
    s->replaying = true;
    if (err == QV_ECORRUPT || err == QV_ENOTFOUND || err == QV_EIO) {
        qv_shard_quarantine(s, QV_ECORRUPT, why.text);
    } else if (err != 0) {
        qv_fail(msg, err, "%s: %s", s->dir, why.text[0] ? why.text : qv_err_text(err));
        shard_free(s);
        return err;
    }
    *out = s;
    return 0;
}

void qv_shard_quarantine(struct qv_shard *s, int err, const char *why)
{
    pthread_mutex_lock(&s->reason_lock);
    if (s->reason[0] == '\0' || atomic_load(&s->err) != QV_ECORRUPT)
        snprintf(s->reason, sizeof s->reason, "%s", why[0] ? why : qv_err_text(err));
    pthread_mutex_unlock(&s->reason_lock);
    atomic_store(&s->err, err);
    int open = QV_SHARD_OPEN; /* one that is being dropped goes on going */
    if (err == QV_ECORRUPT)
        atomic_compare_exchange_strong(&s->state, &open, QV_SHARD_QUARANTINED);
    QV_ERROR("shard", "shard %u (%s): %s: %s", s->number, s->dir,
             err == QV_ECORRUPT ? "quarantined" : "takes no more writes", why);
}

void qv_shard_queue_unindexed(struct qv_shard *s)
{
    s->replaying = false;
    if (atomic_load(&s->state) != QV_SHARD_OPEN)
        return;
    qv_shard_begin_purge(s);
    uint32_t high = qv_slot_table_high(&s->slots);
    s->backlog_slots = qv_mem_alloc((size_t)high * sizeof *s->backlog_slots);
    uint64_t n = 0;
    for (qv_slot slot = high; slot-- > 0;) { /* taken from the end: the lowest slots first */
        bool missing;
        slot_indexed(s, slot, &missing);
        if (!missing)
            continue;
        s->backlog_slots[n++] = slot;
        atomic_fetch_or_explicit(qv_slot_table_state(&s->slots, slot), QV_SLOT_PENDING,
                                 memory_order_relaxed);
    }
    atomic_store(&s->backlog, n);
    qv_shard_index_step(s);
}
