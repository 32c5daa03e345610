/* A shard out of a snapshot: its files are written into a new directory, the commit last, then
 * opened and verified like any shard's; only its own checks (is every record that of its slot?) are
 * added, since a snapshot may come from anywhere. */
#include "shard/snapshot_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "shard/store_private.h"

#include <stdio.h>
#include <string.h>

#define BATCH_BYTES ((size_t)4 << 20)
#define RUN_BYTES ((size_t)1 << 20)
#define FILE_NUMBER 1u
#define RECORD_ARENA_BYTES ((size_t)256 << 20)

enum phase {
    PHASE_HEAD,
    PHASE_SLOTS,
    PHASE_ROWS,
    PHASE_GRAPH,
    PHASE_RECORDS,
    PHASE_COMMIT,
    PHASE_OPEN,
    PHASE_VERIFY,
    PHASE_DONE
};

struct qv_shard_import {
    struct qv_store *st;
    struct qv_shard_spec spec;
    struct qv_snapshot_reader *r;
    uint32_t owner;
    qv_lsn lsn; /* the log has nothing of this shard, below or above */
    char dir[QV_SHARD_PATH_MAX / 2];
    bool built; /* the directory was begun */
    bool adopted;
    struct qv_stream stream; /* the shard follows it from there on; stream 0: none */
    enum phase phase;
    bool begun;
    uint32_t vector;
    struct qv_checkpoint_record rec;
    uint32_t slots_version, graph_version;
    struct qv_slot_stream slots;
    struct qv_statefile_writer *file;
    struct qv_rowfile *rows;
    uint8_t *run; /* rows of consecutive slots, one write */
    uint32_t run_count, run_cap;
    qv_slot run_first, next_row;
    struct qv_kv *kv;
    struct qv_kv_batch batch;
    struct qv_shard *shard;
    struct qv_kv_iter *records;
    uint64_t verified;
    struct qv_buf value;
};

struct qv_shard_import *qv_shard_import_create(struct qv_store *st,
                                               const struct qv_shard_spec *spec,
                                               struct qv_snapshot_reader *r, uint32_t owner)
{
    struct qv_shard_import *im = qv_mem_calloc(1, sizeof *im);
    QV_ASSERT(qv_store_shard(st, spec->number) == NULL);
    im->st = st;
    im->spec = *spec;
    im->r = r;
    im->owner = owner;
    im->lsn = qv_log_durable(st->log);
    snprintf(im->dir, sizeof im->dir, "%s/shards/%u", st->dir, spec->number);
    qv_kv_batch_init(&im->batch);
    qv_buf_init(&im->value, 0);
    return im;
}

void qv_shard_import_stream(struct qv_shard_import *im, uint64_t stream, uint64_t position)
{
    QV_ASSERT(im->phase < PHASE_COMMIT && stream != 0);
    im->stream = (struct qv_stream){stream, position};
}

static void close_parts(struct qv_shard_import *im)
{
    qv_statefile_abort(im->file);
    im->file = NULL;
    qv_rowfile_close(im->rows);
    im->rows = NULL;
    qv_kv_iter_close(im->records);
    im->records = NULL;
    qv_kv_close(im->kv);
    im->kv = NULL;
}

void qv_shard_import_destroy(struct qv_shard_import **at)
{
    struct qv_shard_import *im = *at;
    *at = NULL;
    if (im == NULL)
        return;
    close_parts(im);
    if (im->shard != NULL && !im->adopted)
        qv_shard_destroy(im->shard);
    if (im->built && !im->adopted)
        qv_store_remove_shard_dir(im->st, im->dir);
    qv_slot_stream_close(&im->slots);
    qv_kv_batch_close(&im->batch);
    qv_buf_close(&im->value);
    qv_mem_free(im->run);
    qv_mem_free(im);
}

/* ---- parts ---- */

static int begin_part(struct qv_shard_import *im, uint32_t kind, uint32_t number,
                      struct qv_errmsg *msg)
{
    uint32_t part = qv_snapshot_find(im->r, kind, im->owner, number);
    if (part == UINT32_MAX)
        return QV_CORRUPT(msg, "the snapshot lacks part 0x%x.%u of a shard", kind, number);
    qv_snapshot_begin_read(im->r, part);
    im->begun = true;
    return 0;
}

static void go_on(struct qv_shard_import *im)
{
    bool by_vector = im->phase == PHASE_ROWS || im->phase == PHASE_GRAPH;
    im->begun = false;
    im->next_row = 0;
    if (by_vector && im->vector + 1 < im->rec.vector_count) {
        im->vector++;
        return;
    }
    im->vector = 0;
    im->phase++;
    if ((im->phase == PHASE_ROWS || im->phase == PHASE_GRAPH) && im->rec.vector_count == 0)
        im->phase = PHASE_RECORDS;
}

/* Of a vector of the snapshot; NULL: it had been dropped from the configuration meanwhile, and is
 * not restored. */
static const struct qv_vector_config *dense_config(const struct qv_shard_import *im)
{
    const struct qv_collection_config *c = im->spec.config;
    for (uint32_t i = 0; i < c->vector_count; i++) {
        if (!c->vectors[i].multivector &&
            c->vectors[i].number == im->rec.vectors[im->vector].number)
            return &c->vectors[i];
    }
    return NULL;
}

static bool has_vector(const struct qv_shard_import *im, uint32_t number)
{
    for (uint32_t v = 0; v < im->rec.vector_count; v++) {
        if (im->rec.vectors[v].number == number)
            return true;
    }
    return false;
}

static int create_rows(struct qv_shard_import *im, const struct qv_vector_config *vc,
                       struct qv_errmsg *msg)
{
    char path[QV_SHARD_PATH_MAX];
    struct qv_rowfile_config config = {.row_bytes =
                                           vc->size * (uint32_t)qv_dtype_bytes(vc->datatype),
                                       .slot_max = im->slots.high + 1,
                                       .create = true};
    memcpy(&config.id, im->spec.uuid, sizeof config.id);
    snprintf(path, sizeof path, "%s/rows-%u", im->dir, vc->number);
    return qv_rowfile_open(im->st->env->disk, path, &config, &im->rows, msg);
}

/* A vector that was added when the checkpoint stood already: no point has it. */
static int create_empty_rows(struct qv_shard_import *im, struct qv_errmsg *msg)
{
    const struct qv_collection_config *c = im->spec.config;
    int err = 0;
    for (uint32_t i = 0; i < c->vector_count && err == 0; i++) {
        if (c->vectors[i].multivector || has_vector(im, c->vectors[i].number))
            continue;
        err = create_rows(im, &c->vectors[i], msg);
        if (err == 0)
            err = qv_rowfile_reserve(im->rows, im->slots.high, msg);
        if (err == 0)
            err = qv_rowfile_sync(im->rows, msg);
        qv_rowfile_close(im->rows);
        im->rows = NULL;
    }
    return err;
}

static int read_head(struct qv_shard_import *im, struct qv_errmsg *msg)
{
    uint8_t bytes[16384];
    struct qv_rd rd;
    int err = begin_part(im, QV_SHARD_PART_HEAD, 0, msg);
    if (err != 0)
        return err;
    uint64_t n = qv_snapshot_left(im->r);
    if (n > sizeof bytes)
        return QV_CORRUPT(msg, "the snapshot's head of a shard has %llu bytes",
                          (unsigned long long)n);
    err = qv_snapshot_read(im->r, bytes, (size_t)n, msg);
    if (err == 0)
        err = qv_snapshot_end_read(im->r, msg);
    if (err != 0)
        return err;
    qv_rd_init(&rd, bytes, (size_t)n);
    uint32_t format = qv_rd_u32(&rd);
    im->slots_version = qv_rd_u32(&rd);
    im->graph_version = qv_rd_u32(&rd);
    if (rd.failed || format == 0)
        return QV_CORRUPT(msg, "the snapshot's head of a shard, format %u", format);
    if (format > QV_SNAPSHOT_HEAD_FORMAT || im->slots_version > QV_SNAPSHOT_SLOTS_VERSION ||
        im->graph_version > QV_SNAPSHOT_GRAPH_VERSION)
        return qv_fail(msg, QV_ENOTIMPL, "a shard of formats %u, %u, %u: made by a newer version",
                       format, im->slots_version, im->graph_version);
    return qv_checkpoint_decode((struct qv_bytes){rd.p, qv_rd_left(&rd)}, &im->rec, msg);
}

static int step_head(struct qv_shard_import *im, struct qv_errmsg *msg)
{
    struct qv_disk *disk = im->st->env->disk;
    int err = read_head(im, msg);
    if (err != 0)
        return err;
    qv_store_remove_shard_dir(im->st, im->dir); /* of a try before a crash */
    im->built = true;
    err = qv_disk_mkdir_all(disk, im->dir, msg);
    go_on(im);
    return err;
}

static int create_file(struct qv_shard_import *im, int vector, struct qv_errmsg *msg)
{
    char path[QV_SHARD_PATH_MAX];
    if (vector < 0)
        snprintf(path, sizeof path, "%s/slots-%u", im->dir, FILE_NUMBER);
    else
        snprintf(path, sizeof path, "%s/graph-%u-%u", im->dir, im->rec.vectors[vector].number,
                 FILE_NUMBER);
    return qv_statefile_create(im->st->env->disk, path,
                               vector < 0 ? QV_SLOTS_FILE_KIND : QV_GRAPH_FILE_KIND,
                               vector < 0 ? im->slots_version : im->graph_version, &im->file, msg);
}

static int finish_file(struct qv_shard_import *im, struct qv_statefile_info *want,
                       struct qv_errmsg *msg)
{
    struct qv_statefile_info info;
    int err = qv_snapshot_end_read(im->r, msg);
    if (err != 0)
        return err;
    struct qv_statefile_writer *w = im->file;
    im->file = NULL;
    err = qv_statefile_finish(w, &info, msg);
    if (err == 0 &&
        (info.payload_hash != want->payload_hash || info.payload_bytes != want->payload_bytes))
        err = QV_CORRUPT(msg, "a part of the snapshot is not that of its checkpoint");
    return err;
}

static int slots_read(void *arg, void *p, size_t n, struct qv_errmsg *msg)
{
    struct qv_shard_import *im = arg;
    return qv_snapshot_read(im->r, p, n, msg);
}

static int slots_write(void *arg, const void *p, size_t n, struct qv_errmsg *msg)
{
    struct qv_shard_import *im = arg;
    return qv_statefile_append(im->file, p, n, msg);
}

static int step_slots(struct qv_shard_import *im, uint64_t bytes_max, struct qv_errmsg *msg)
{
    bool done = false;
    int err = 0;
    if (!im->begun) {
        err = begin_part(im, QV_SHARD_PART_SLOTS, 0, msg);
        if (err == 0)
            err = create_file(im, -1, msg);
        if (err != 0)
            return err;
        im->slots = (struct qv_slot_stream){.read = slots_read,
                                            .write = slots_write,
                                            .arg = im,
                                            .vectors = im->rec.vector_count,
                                            .bytes = qv_snapshot_left(im->r)};
    }
    err = qv_slot_stream_step(&im->slots, bytes_max, &done, msg);
    if (err == 0 && done) {
        err = finish_file(im, &im->rec.slots, msg);
        if (err == 0)
            err = create_empty_rows(im, msg);
        go_on(im);
    }
    return err;
}

/* ---- rows ---- */

/* A small file may ask for many rows: they are not begun on a disk that can't hold them. */
static int check_space(struct qv_shard_import *im, uint32_t row_bytes, struct qv_errmsg *msg)
{
    struct qv_disk_space space;
    uint64_t need = (uint64_t)im->slots.high * row_bytes;
    int err = qv_disk_space(im->st->env->disk, im->dir, &space, msg);
    if (err == 0 && need > space.free_bytes)
        return qv_fail(msg, QV_ENOSPC, "the snapshot needs %llu bytes of rows, %llu are free",
                       (unsigned long long)need, (unsigned long long)space.free_bytes);
    return err;
}

static int begin_rows(struct qv_shard_import *im, const struct qv_vector_config *vc,
                      struct qv_errmsg *msg)
{
    int err = begin_part(im, QV_SHARD_PART_ROWS, vc->number, msg);
    if (err == 0)
        err = check_space(im, vc->size * (uint32_t)qv_dtype_bytes(vc->datatype), msg);
    if (err == 0)
        err = create_rows(im, vc, msg);
    if (err == 0)
        err = qv_rowfile_reserve(im->rows, im->slots.high, msg);
    if (err != 0)
        return err;
    uint32_t stride = qv_rowfile_stride(im->rows);
    im->run_cap = stride < RUN_BYTES ? (uint32_t)(RUN_BYTES / stride) : 1;
    im->run_count = 0;
    qv_mem_free(im->run);
    im->run = qv_mem_calloc(im->run_cap, stride);
    return 0;
}

static int flush_run(struct qv_shard_import *im, struct qv_errmsg *msg)
{
    uint32_t n = im->run_count;
    im->run_count = 0;
    return n > 0 ? qv_rowfile_write(im->rows, im->run_first, n, im->run, msg) : 0;
}

static int end_rows(struct qv_shard_import *im, struct qv_errmsg *msg)
{
    int err = flush_run(im, msg);
    if (err == 0)
        err = qv_snapshot_end_read(im->r, msg);
    if (err == 0)
        err = qv_rowfile_sync(im->rows, msg);
    qv_rowfile_close(im->rows);
    im->rows = NULL;
    go_on(im);
    return err;
}

static int step_rows(struct qv_shard_import *im, uint64_t bytes_max, struct qv_errmsg *msg)
{
    const struct qv_vector_config *vc = dense_config(im);
    if (vc == NULL) {
        go_on(im);
        return 0;
    }
    uint32_t row_bytes = vc->size * (uint32_t)qv_dtype_bytes(vc->datatype);
    int err = im->begun ? 0 : begin_rows(im, vc, msg);
    for (uint64_t done = 0; err == 0 && im->next_row < im->slots.high && done < bytes_max;
         im->next_row++) {
        if (!qv_slot_stream_has(&im->slots, im->vector, im->next_row))
            continue;
        if (im->run_count > 0 &&
            (im->run_count == im->run_cap || im->next_row != im->run_first + im->run_count))
            err = flush_run(im, msg);
        if (im->run_count == 0)
            im->run_first = im->next_row;
        if (err == 0)
            err = qv_snapshot_read(im->r,
                                   im->run + (size_t)im->run_count * qv_rowfile_stride(im->rows),
                                   row_bytes, msg);
        im->run_count++;
        done += row_bytes;
    }
    return err == 0 && im->next_row == im->slots.high ? end_rows(im, msg) : err;
}

/* ---- graph ---- */

static int step_graph(struct qv_shard_import *im, uint64_t bytes_max, struct qv_errmsg *msg)
{
    struct qv_checkpoint_vector *v = &im->rec.vectors[im->vector];
    uint8_t copy[8192];
    int err = 0;
    if (!v->has_graph || dense_config(im) == NULL) {
        go_on(im);
        return 0;
    }
    if (!im->begun) {
        err = begin_part(im, QV_SHARD_PART_GRAPH, v->number, msg);
        if (err == 0)
            err = create_file(im, (int)im->vector, msg);
    }
    for (uint64_t done = 0; err == 0 && done < bytes_max;) {
        uint64_t left = qv_snapshot_left(im->r);
        size_t n = left < sizeof copy ? (size_t)left : sizeof copy;
        if (n == 0) {
            err = finish_file(im, &v->graph, msg);
            go_on(im);
            return err;
        }
        err = qv_snapshot_read(im->r, copy, n, msg);
        if (err == 0)
            err = qv_statefile_append(im->file, copy, n, msg);
        done += n;
    }
    return err;
}

/* ---- records ---- */

static int write_batch(struct qv_shard_import *im, struct qv_errmsg *msg)
{
    int err = qv_kv_write(im->kv, &im->batch, msg);
    qv_kv_batch_clear(&im->batch);
    return err;
}

static int take_record(struct qv_shard_import *im, size_t *bytes, struct qv_errmsg *msg)
{
    uint8_t head[6];
    uint8_t key[QV_ID_BYTES_MAX];
    uint16_t key_bytes;
    uint32_t value_bytes;
    struct qv_id id;
    size_t used = 0;
    int err = qv_snapshot_read(im->r, head, sizeof head, msg);
    if (err != 0)
        return err;
    memcpy(&key_bytes, head, sizeof key_bytes);
    memcpy(&value_bytes, head + 2, sizeof value_bytes);
    if (key_bytes == 0 || key_bytes > sizeof key || value_bytes > QV_KV_VALUE_BYTES_MAX)
        return QV_CORRUPT(msg, "a record of %u + %u bytes in the snapshot", key_bytes, value_bytes);
    err = qv_snapshot_read(im->r, key, key_bytes, msg);
    if (err == 0 && (qv_id_decode(key, key_bytes, &id, &used) != 0 || used != key_bytes))
        err = QV_CORRUPT(msg, "a record of no id in the snapshot");
    qv_buf_clear(&im->value);
    uint8_t *value = err == 0 ? qv_buf_reserve(&im->value, (size_t)value_bytes + 1) : NULL;
    if (err == 0 && value == NULL)
        err = QV_ENOMEM;
    if (err == 0)
        err = qv_snapshot_read(im->r, value, value_bytes, msg);
    if (err == 0)
        qv_kv_batch_put(&im->batch, (struct qv_bytes){key, key_bytes},
                        (struct qv_bytes){value, value_bytes});
    *bytes = sizeof head + key_bytes + value_bytes;
    return err;
}

static int step_records(struct qv_shard_import *im, uint64_t bytes_max, struct qv_errmsg *msg)
{
    int err = 0;
    if (!im->begun) {
        char path[QV_SHARD_PATH_MAX];
        snprintf(path, sizeof path, "%s/kv", im->dir);
        err = begin_part(im, QV_SHARD_PART_RECORDS, 0, msg);
        if (err == 0)
            err = qv_kv_open(im->st->config.kv, path, true, &im->kv, msg);
    }
    for (uint64_t done = 0; err == 0 && done < bytes_max && qv_snapshot_left(im->r) > 0;) {
        size_t n = 0;
        err = take_record(im, &n, msg);
        if (err == 0 && im->batch.ops.len >= BATCH_BYTES)
            err = write_batch(im, msg);
        done += n;
    }
    if (err == 0 && qv_snapshot_left(im->r) == 0) {
        err = qv_snapshot_end_read(im->r, msg);
        go_on(im);
    }
    return err;
}

/* As of a checkpoint of the new shard: everything up to where the log was when this began. */
static int step_commit(struct qv_shard_import *im, struct qv_errmsg *msg)
{
    struct qv_buf own;
    struct qv_disk *disk = im->st->env->disk;
    qv_buf_init(&own, 0);
    im->rec.shard = im->spec.number;
    memcpy(im->rec.uuid, im->spec.uuid, sizeof im->rec.uuid);
    im->rec.generation = im->spec.generation;
    im->rec.stream_count = im->stream.stream != 0;
    im->rec.streams[0] = im->stream;
    im->rec.lsn = im->lsn;
    im->rec.file_number = FILE_NUMBER;
    qv_checkpoint_encode(&im->rec, &own);
    qv_kv_batch_put(&im->batch, (struct qv_bytes){(const uint8_t *)QV_META_KEY, QV_META_KEY_BYTES},
                    (struct qv_bytes){own.data, own.len});
    int err = qv_disk_sync_dir(disk, im->dir, msg);
    if (err == 0)
        err = write_batch(im, msg);
    if (err == 0)
        err = qv_kv_flush(im->kv, msg);
    qv_buf_close(&own);
    close_parts(im);
    go_on(im);
    return err;
}

/* ---- what was built ---- */

static int verify_record(struct qv_shard_import *im, struct qv_bytes key, struct qv_bytes value,
                         struct qv_errmsg *msg)
{
    const struct qv_slot_table *t = &im->shard->slots;
    struct qv_arena arena;
    struct qv_copy copy;
    struct qv_id id = {0};
    qv_slot slot = QV_SLOT_NONE;
    uint32_t generation = 0;
    size_t used = 0;
    if (qv_id_decode(key.p, key.n, &id, &used) != 0)
        return QV_CORRUPT(msg, "a record of no id in the snapshot");
    qv_slot here = qv_slot_table_find(t, &id);
    qv_arena_init(&arena, RECORD_ARENA_BYTES);
    int err = qv_record_decode(value, &arena, &slot, &generation, &copy, msg);
    if (err == 0 &&
        (here == QV_SLOT_NONE || slot != here || generation != *qv_slot_table_generation(t, here) ||
         !qv_copy_visible(&copy) ||
         qv_version_compare(qv_copy_newest(&copy), qv_slot_table_version(t, here)) != 0 ||
         qv_version_compare(qv_copy_newest(&copy), im->rec.last_version) > 0))
        err = QV_CORRUPT(msg, "slot %u of the snapshot: its record is of another version", slot);
    qv_arena_close(&arena);
    return err;
}

static int step_verify(struct qv_shard_import *im, uint64_t bytes_max, struct qv_errmsg *msg)
{
    struct qv_bytes key;
    struct qv_bytes value;
    static const uint8_t first[1] = {1};
    int err = 0;
    if (im->records == NULL)
        err = qv_kv_iter_open(im->shard->kv, NULL, (struct qv_bytes){first, 1},
                              (struct qv_bytes){NULL, 0}, &im->records);
    for (uint64_t done = 0; err == 0 && done < bytes_max;) {
        err = qv_kv_iter_next(im->records, &key, &value, msg);
        if (err == 0)
            err = verify_record(im, key, value, msg);
        im->verified += err == 0;
        done += key.n + value.n;
    }
    if (err != QV_EEOF)
        return err;
    qv_kv_iter_close(im->records);
    im->records = NULL;
    if (im->verified != im->shard->slots.live_count)
        return QV_CORRUPT(msg, "the snapshot has %llu records of %u points",
                          (unsigned long long)im->verified, im->shard->slots.live_count);
    go_on(im);
    return 0;
}

int qv_shard_import_step(struct qv_shard_import *im, uint64_t bytes_max, bool *done,
                         struct qv_errmsg *msg)
{
    int err = 0;
    switch (im->phase) {
    case PHASE_HEAD:
        err = step_head(im, msg);
        break;
    case PHASE_SLOTS:
        err = step_slots(im, bytes_max, msg);
        break;
    case PHASE_ROWS:
        err = step_rows(im, bytes_max, msg);
        break;
    case PHASE_GRAPH:
        err = step_graph(im, bytes_max, msg);
        break;
    case PHASE_RECORDS:
        err = step_records(im, bytes_max, msg);
        break;
    case PHASE_COMMIT:
        err = step_commit(im, msg);
        break;
    case PHASE_OPEN:
        err = qv_shard_open_built(im->st, &im->spec, &im->shard, msg);
        go_on(im);
        break;
    case PHASE_VERIFY:
        err = step_verify(im, bytes_max, msg);
        break;
    case PHASE_DONE:
        break;
    }
    *done = err == 0 && im->phase == PHASE_DONE;
    return err;
}

/* ---- taking over; owner ---- */

int qv_shard_import_adopt(struct qv_shard_import *im, struct qv_shard **out, struct qv_errmsg *msg)
{
    struct qv_store *st = im->st;
    struct qv_shard *s = im->shard;
    uint64_t clock = im->rec.last_version.clock;
    uint64_t wall_ms = qv_env_wall_ns(st->env) / QV_NS_PER_MS;
    QV_ASSERT(im->phase == PHASE_DONE && !im->adopted);
    if (st->closing)
        return qv_fail(msg, QV_EUNAVAILABLE, "the node is shutting down");
    /* This node's own clock may be ahead of a wall clock that was set back. */
    if (clock > st->clock.last && qv_clock_observe(&st->clock, clock, wall_ms) != 0)
        return qv_fail(msg, QV_EINVAL,
                       "the snapshot's newest change is %llu ms ahead of this node's clock",
                       (unsigned long long)((clock >> QV_CLOCK_COUNTER_BITS) - wall_ms));
    s->applied_lsn = s->checkpoint_lsn = qv_log_end(st->log);
    qv_store_keep_shard(st, s);
    qv_shard_queue_unindexed(s);
    im->adopted = true;
    *out = s;
    return 0;
}
