/* The records of a pin's payload store in the order of ids, those of the keys made whole: dense
 * vectors come from the rows of their slots, which stay what they are while the pin is held. */
#include "shard/shard_rows.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "core/vector.h"
#include "shard/snapshot_private.h"

#include <string.h>

#define ARENA_BYTES ((size_t)256 << 20) /* of one record */
#define DENSE_HEADER_BYTES 6u           /* kind, dtype, dim: core/vector.h */

struct qv_shard_rows {
    struct qv_shard_pin *pin;
    struct qv_key_set *keys;
    uint64_t at; /* points passed */
    uint64_t from;
    struct qv_kv_iter *records;
    struct qv_arena arena;
    struct qv_buf body;
    bool done;
};

struct qv_shard_rows *qv_shard_rows_create(struct qv_shard_pin *pin, const struct qv_key_set *keys,
                                           uint64_t from)
{
    struct qv_key_set *copy = qv_key_set_dup(keys);
    if (copy == NULL)
        return NULL;
    struct qv_shard_rows *r = qv_mem_calloc(1, sizeof *r);
    r->pin = pin;
    r->keys = copy;
    r->from = from;
    qv_arena_init(&r->arena, ARENA_BYTES);
    qv_buf_init(&r->body, 0);
    return r;
}

void qv_shard_rows_destroy(struct qv_shard_rows **at)
{
    struct qv_shard_rows *r = *at;
    *at = NULL;
    if (r == NULL)
        return;
    qv_kv_iter_close(r->records);
    qv_arena_close(&r->arena);
    qv_buf_close(&r->body);
    qv_mem_free(r->keys);
    qv_mem_free(r);
}

/* Its elements, out of the row of the slot that the record names. */
static int inline_row(struct qv_shard_rows *r, struct qv_part *part, qv_slot slot,
                      struct qv_errmsg *msg)
{
    struct qv_shard *s = r->pin->shard;
    uint32_t v = 0;
    while (v < s->vector_count && s->vectors[v].id != part->number)
        v++; /* places keep what they hold while a checkpoint is pinned */
    if (v == s->vector_count || slot >= qv_slot_table_high(&s->slots))
        return QV_CORRUPT(msg, "%s: a record names slot %u of vector %u", s->dir, slot,
                          part->number);
    const struct qv_shard_vector *vec = &s->vectors[v];
    const uint8_t *row = qv_rows_at(&vec->view, slot);
    if (qv_hash_crc32c(0, row, vec->row_bytes) != *qv_slot_table_row_crc(&s->slots, v, slot))
        return QV_CORRUPT(msg, "%s/rows-%u: row %u fails its checksum", s->dir, vec->id, slot);
    uint8_t *bytes = qv_arena_alloc(&r->arena, DENSE_HEADER_BYTES + (size_t)vec->row_bytes);
    if (bytes == NULL)
        return QV_ENOMEM;
    bytes[0] = QV_VEC_DENSE;
    bytes[1] = (uint8_t)vec->config->datatype;
    memcpy(bytes + 2, &vec->config->size, sizeof vec->config->size);
    memcpy(bytes + DENSE_HEADER_BYTES, row, vec->row_bytes);
    part->state = QV_PART_INLINE;
    part->value = (struct qv_bytes){bytes, DENSE_HEADER_BYTES + (size_t)vec->row_bytes};
    return 0;
}

/* Appends the point to the body; its newest version goes into the batch's record. */
static int put_copy(struct qv_shard_rows *r, struct qv_bytes key, struct qv_bytes record,
                    struct qv_batch_record *batch, struct qv_errmsg *msg)
{
    struct qv_copy copy;
    qv_slot slot;
    uint32_t generation;
    qv_arena_reset(&r->arena);
    int err = qv_record_decode(record, &r->arena, &slot, &generation, &copy, msg);
    for (uint32_t i = 0; err == 0 && i < copy.part_count; i++) {
        if (copy.parts[i].state == QV_PART_IN_ROW)
            err = inline_row(r, &copy.parts[i], slot, msg);
    }
    if (err != 0)
        return err;
    qv_buf_append(&r->body, key.p, key.n);
    qv_copy_encode(&r->body, &copy);
    batch->version = qv_version_max(batch->version, qv_copy_newest(&copy));
    return r->body.failed ? QV_ENOMEM : 0;
}

/* Ids begin with their type, which is not 0: what begins with 0 is the shard's own. */
static const uint8_t first_id_key[1] = {1};

static int fill(struct qv_shard_rows *r, size_t bytes_max, struct qv_batch_record *batch,
                uint32_t *count, struct qv_errmsg *msg)
{
    uint64_t passed = 0;
    int err = 0;
    if (r->records == NULL)
        err = qv_kv_iter_open(r->pin->shard->kv, r->pin->kv, (struct qv_bytes){first_id_key, 1},
                              (struct qv_bytes){NULL, 0}, &r->records);
    while (err == 0 && r->body.len <= bytes_max + sizeof *count && *count < QV_CHANGE_IDS_MAX &&
           passed < bytes_max + 1024) { /* points of other keys are read, too */
        struct qv_bytes key;
        struct qv_bytes value;
        struct qv_id id;
        size_t used;
        err = qv_kv_iter_next(r->records, &key, &value, msg);
        if (err == QV_EEOF) {
            r->done = true;
            return 0;
        }
        if (err == 0 && qv_id_decode(key.p, key.n, &id, &used) != 0)
            err = QV_CORRUPT(msg, "%s/kv: a key of %zu bytes is no id", r->pin->shard->dir, key.n);
        if (err != 0)
            break;
        r->at++;
        passed += key.n + value.n;
        if (r->at <= r->from || !qv_key_set_has(r->keys, &id))
            continue;
        err = put_copy(r, key, value, batch, msg);
        *count += err == 0;
    }
    return err;
}

int qv_shard_rows_step(struct qv_shard_rows *r, size_t bytes_max, struct qv_buf *out,
                       struct qv_rows_part *part, struct qv_errmsg *msg)
{
    struct qv_batch_record batch = {.kind = QV_BODY_COPIES, .generation = r->pin->rec.generation};
    uint32_t count = 0;
    QV_ASSERT(out->len == 0);
    if (atomic_load(&r->pin->shard->state) == QV_SHARD_DROPPING)
        return qv_shard_gone(r->pin->shard, msg);
    part->from = r->at > r->from ? r->at : r->from;
    qv_buf_clear(&r->body);
    qv_buf_u32(&r->body, 0);
    int err = r->done ? 0 : fill(r, bytes_max, &batch, &count, msg);
    if (err != 0)
        return err;
    part->to = r->at > r->from ? r->at : r->from;
    part->done = r->done;
    qv_batch_begin(out);
    if (count > 0) {
        memcpy(r->body.data, &count, sizeof count);
        batch.position = part->to;
        batch.body = (struct qv_bytes){r->body.data, r->body.len};
        qv_batch_put(out, &batch);
    }
    return out->failed || r->body.failed ? QV_ENOMEM : 0;
}
