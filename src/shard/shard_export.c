/* A pinned checkpoint into a snapshot: head, slot columns, rows and graph of each vector, records.
 * Everything is verified on its way: state files by their checksums, rows by the CRC of their
 * slots, records by the payload store. */
#include "shard/snapshot_private.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <string.h>

enum phase { PHASE_HEAD, PHASE_SLOTS, PHASE_ROWS, PHASE_GRAPH, PHASE_RECORDS, PHASE_DONE };

struct qv_shard_export {
    struct qv_shard_pin *pin;
    struct qv_snapshot_writer *w;
    uint32_t owner;
    enum phase phase;
    bool begun; /* the part of this phase (and vector) */
    uint32_t vector;
    struct qv_statefile_reader *file;
    struct qv_slot_stream slots;
    qv_slot next_row;
    struct qv_kv_iter *records;
    uint64_t record_count;
};

struct qv_shard_export *qv_shard_export_create(struct qv_shard_pin *pin,
                                               struct qv_snapshot_writer *w, uint32_t owner)
{
    struct qv_shard_export *e = qv_mem_calloc(1, sizeof *e);
    e->pin = pin;
    e->w = w;
    e->owner = owner;
    return e;
}

void qv_shard_export_destroy(struct qv_shard_export **at)
{
    struct qv_shard_export *e = *at;
    *at = NULL;
    if (e == NULL)
        return;
    qv_statefile_close(e->file);
    qv_kv_iter_close(e->records);
    qv_slot_stream_close(&e->slots);
    qv_mem_free(e);
}

static int begin_part(struct qv_shard_export *e, uint32_t kind, uint32_t number,
                      struct qv_errmsg *msg)
{
    e->begun = true;
    return qv_snapshot_begin_part(e->w, kind, e->owner, number, msg);
}

/* The end of a part: on with the next vector of this phase, or with the next phase. */
static void go_on(struct qv_shard_export *e)
{
    bool by_vector = e->phase == PHASE_ROWS || e->phase == PHASE_GRAPH;
    e->begun = false;
    e->next_row = 0;
    if (by_vector && e->vector + 1 < e->pin->rec.vector_count) {
        e->vector++;
        return;
    }
    e->vector = 0;
    e->phase++;
    if ((e->phase == PHASE_ROWS || e->phase == PHASE_GRAPH) && e->pin->rec.vector_count == 0)
        e->phase = PHASE_RECORDS;
}

static int step_head(struct qv_shard_export *e, struct qv_errmsg *msg)
{
    struct qv_buf b;
    struct qv_checkpoint_record rec = e->pin->rec;
    rec.stream_count = 0; /* whom it followed is this shard's own */
    qv_buf_init(&b, 0);
    qv_buf_u32(&b, QV_SNAPSHOT_HEAD_FORMAT);
    qv_buf_u32(&b, QV_SNAPSHOT_SLOTS_VERSION);
    qv_buf_u32(&b, QV_SNAPSHOT_GRAPH_VERSION);
    qv_checkpoint_encode(&rec, &b);
    int err = b.failed ? QV_ENOMEM : begin_part(e, QV_SHARD_PART_HEAD, 0, msg);
    if (err == 0)
        err = qv_snapshot_append(e->w, b.data, b.len, msg);
    qv_buf_close(&b);
    go_on(e);
    return err;
}

static int open_file(struct qv_shard_export *e, int vector, uint32_t kind,
                     const struct qv_statefile_info *want, struct qv_errmsg *msg)
{
    char path[QV_SHARD_PATH_MAX];
    struct qv_shard *s = e->pin->shard;
    qv_checkpoint_path(s, path, sizeof path, vector, e->pin->rec.file_number);
    int err = qv_statefile_open(s->env->disk, path, kind, 1, &e->file, msg);
    if (err == 0 && qv_statefile_get_info(e->file).payload_hash != want->payload_hash)
        err = QV_CORRUPT(msg, "%s is not the checkpoint's", path);
    return err;
}

static int close_file(struct qv_shard_export *e, struct qv_errmsg *msg)
{
    int err = qv_statefile_end(e->file, msg);
    qv_statefile_close(e->file);
    e->file = NULL;
    return err;
}

static int slots_read(void *arg, void *p, size_t n, struct qv_errmsg *msg)
{
    struct qv_shard_export *e = arg;
    return qv_statefile_read(e->file, p, n, msg);
}

static int slots_write(void *arg, const void *p, size_t n, struct qv_errmsg *msg)
{
    struct qv_shard_export *e = arg;
    return qv_snapshot_append(e->w, p, n, msg);
}

static int step_slots(struct qv_shard_export *e, uint64_t bytes_max, struct qv_errmsg *msg)
{
    bool done = false;
    int err = 0;
    if (!e->begun) {
        err = begin_part(e, QV_SHARD_PART_SLOTS, 0, msg);
        if (err == 0)
            err = open_file(e, -1, QV_SLOTS_FILE_KIND, &e->pin->rec.slots, msg);
        e->slots = (struct qv_slot_stream){.read = slots_read,
                                           .write = slots_write,
                                           .arg = e,
                                           .vectors = e->pin->rec.vector_count,
                                           .bytes = e->pin->rec.slots.payload_bytes};
    }
    if (err == 0)
        err = qv_slot_stream_step(&e->slots, bytes_max, &done, msg);
    if (err == 0 && done) {
        err = close_file(e, msg);
        go_on(e);
    }
    return err;
}

/* Where the vector is in the shard: places keep what they hold while a checkpoint is pinned. */
static uint32_t place(const struct qv_shard_export *e)
{
    const struct qv_shard *s = e->pin->shard;
    uint32_t v = 0;
    while (v < s->vector_count && s->vectors[v].id != e->pin->rec.vectors[e->vector].number)
        v++;
    QV_ASSERT(v < s->vector_count);
    return v;
}

/* A slot that the checkpoint holds keeps row and CRC while it is pinned. */
static int put_row(struct qv_shard_export *e, qv_slot slot, struct qv_errmsg *msg)
{
    struct qv_shard *s = e->pin->shard;
    uint32_t at = place(e);
    const struct qv_shard_vector *v = &s->vectors[at];
    const uint8_t *row = qv_rows_at(&v->view, slot);
    if (qv_hash_crc32c(0, row, v->row_bytes) != *qv_slot_table_row_crc(&s->slots, at, slot))
        return QV_CORRUPT(msg, "%s/rows-%u: row %u fails its checksum", s->dir, v->id, slot);
    return qv_snapshot_append(e->w, row, v->row_bytes, msg);
}

static int step_rows(struct qv_shard_export *e, uint64_t bytes_max, struct qv_errmsg *msg)
{
    const uint64_t to = qv_snapshot_written(e->w) + bytes_max;
    int err = e->begun
                  ? 0
                  : begin_part(e, QV_SHARD_PART_ROWS, e->pin->rec.vectors[e->vector].number, msg);
    for (; err == 0 && e->next_row < e->slots.high && qv_snapshot_written(e->w) < to;
         e->next_row++) {
        if (qv_slot_stream_has(&e->slots, e->vector, e->next_row))
            err = put_row(e, e->next_row, msg);
    }
    if (err == 0 && e->next_row == e->slots.high)
        go_on(e);
    return err;
}

static int step_graph(struct qv_shard_export *e, uint64_t bytes_max, struct qv_errmsg *msg)
{
    const struct qv_checkpoint_vector *rec = &e->pin->rec.vectors[e->vector];
    uint8_t copy[8192];
    int err = 0;
    if (!rec->has_graph) {
        go_on(e);
        return 0;
    }
    if (!e->begun) {
        err = begin_part(e, QV_SHARD_PART_GRAPH, rec->number, msg);
        if (err == 0)
            err = open_file(e, (int)place(e), QV_GRAPH_FILE_KIND, &rec->graph, msg);
    }
    for (uint64_t done = 0; err == 0 && done < bytes_max;) {
        uint64_t left = qv_statefile_left(e->file);
        size_t n = left < sizeof copy ? (size_t)left : sizeof copy;
        if (n == 0) {
            err = close_file(e, msg);
            go_on(e);
            return err;
        }
        err = qv_statefile_read(e->file, copy, n, msg);
        if (err == 0)
            err = qv_snapshot_append(e->w, copy, n, msg);
        done += n;
    }
    return err;
}

static int put_record(struct qv_shard_export *e, struct qv_bytes key, struct qv_bytes value,
                      struct qv_errmsg *msg)
{
    uint8_t head[6];
    uint16_t key_bytes = (uint16_t)key.n;
    uint32_t value_bytes = (uint32_t)value.n;
    QV_ASSERT(key.n > 0 && key.n <= QV_KV_KEY_BYTES_MAX && value.n <= QV_KV_VALUE_BYTES_MAX);
    memcpy(head, &key_bytes, sizeof key_bytes);
    memcpy(head + 2, &value_bytes, sizeof value_bytes);
    e->record_count++;
    int err = qv_snapshot_append(e->w, head, sizeof head, msg);
    if (err == 0)
        err = qv_snapshot_append(e->w, key.p, key.n, msg);
    return err == 0 ? qv_snapshot_append(e->w, value.p, value.n, msg) : err;
}

/* Ids begin with their type, which is not 0: what begins with 0 is the shard's own. */
static const uint8_t first_id_key[1] = {1};

static int step_records(struct qv_shard_export *e, uint64_t bytes_max, struct qv_errmsg *msg)
{
    const uint64_t to = qv_snapshot_written(e->w) + bytes_max;
    struct qv_bytes key;
    struct qv_bytes value;
    int err = 0;
    if (!e->begun) {
        err = begin_part(e, QV_SHARD_PART_RECORDS, 0, msg);
        if (err == 0)
            err = qv_kv_iter_open(e->pin->shard->kv, e->pin->kv, (struct qv_bytes){first_id_key, 1},
                                  (struct qv_bytes){NULL, 0}, &e->records);
    }
    while (err == 0 && qv_snapshot_written(e->w) < to) {
        err = qv_kv_iter_next(e->records, &key, &value, msg);
        if (err == 0)
            err = put_record(e, key, value, msg);
    }
    if (err != QV_EEOF)
        return err;
    if (e->record_count != e->slots.live)
        return QV_CORRUPT(msg, "%s/kv holds %llu records of %u points", e->pin->shard->dir,
                          (unsigned long long)e->record_count, e->slots.live);
    qv_kv_iter_close(e->records);
    e->records = NULL;
    go_on(e);
    return 0;
}

int qv_shard_export_step(struct qv_shard_export *e, uint64_t bytes_max, bool *done,
                         struct qv_errmsg *msg)
{
    int err = 0;
    *done = false;
    if (atomic_load(&e->pin->shard->state) == QV_SHARD_DROPPING)
        return qv_shard_gone(e->pin->shard, msg);
    switch (e->phase) {
    case PHASE_HEAD:
        err = step_head(e, msg);
        break;
    case PHASE_SLOTS:
        err = step_slots(e, bytes_max, msg);
        break;
    case PHASE_ROWS:
        err = step_rows(e, bytes_max, msg);
        break;
    case PHASE_GRAPH:
        err = step_graph(e, bytes_max, msg);
        break;
    case PHASE_RECORDS:
        err = step_records(e, bytes_max, msg);
        break;
    case PHASE_DONE:
        break;
    }
    *done = err == 0 && e->phase == PHASE_DONE;
    return err;
}
