/* Applying changes: the join of a change with what is here, and where the result goes.
 *
 * A group is applied in two steps. First, unlocked: every new copy is joined, gets its slot, its
 * rows are staged and written, its record is kept. Then, under the exclusive lock, all of it is
 * published at once. Ids of a group are distinct, so the first step never sees its own effects. */
#include "shard/shard_private.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "core/vector.h"

#include <string.h>

#define PREFETCH_AHEAD 8u
#define DENSE_HEADER_BYTES 6u /* kind, dtype, dim: before the elements (core/vector.h) */

enum outcome { OUT_NONE, OUT_RECORD, OUT_MOVE, OUT_DEAD };

/* What the first step found for one change. */
struct plan {
    enum outcome outcome;
    qv_slot before; /* where the id lives; NONE: nowhere */
    qv_slot slot;   /* OUT_MOVE: the new one; OUT_RECORD: the same as before */
    struct qv_version newest;
    struct qv_bytes record;
    uint8_t present[QV_SHARD_VECTORS_MAX / 8];
};

int qv_shard_vector_index(const struct qv_shard *s, uint32_t number)
{
    for (uint32_t v = 0; v < s->vector_count; v++) {
        if (s->vectors[v].number == number)
            return (int)v;
    }
    return -1;
}

int qv_shard_reserve(struct qv_shard *s, uint32_t n, struct qv_errmsg *msg)
{
    pthread_rwlock_wrlock(&s->lock); /* the id hash may move */
    int err = qv_slot_table_reserve(&s->slots, n);
    pthread_rwlock_unlock(&s->lock);
    if (err != 0)
        return qv_fail(msg, err, "no room for %u more points: %s", n, qv_err_text(err));
    uint32_t slots = qv_slot_table_high(&s->slots);
    slots += n > s->slots.free_count ? n - s->slots.free_count : 0;
    for (uint32_t v = 0; v < s->vector_count && err == 0; v++) {
        if (s->vectors[v].life == QV_VECTOR_IN)
            err = qv_rowfile_reserve(s->vectors[v].rows, slots, msg);
    }
    return err;
}

int qv_shard_load_copy(struct qv_shard *s, struct qv_arena *arena, const struct qv_id *id,
                       struct qv_copy *out, bool *found, struct qv_errmsg *msg)
{
    qv_slot in_record;
    uint32_t generation;
    qv_slot slot = qv_slot_table_find(&s->slots, id);
    *found = true;
    if (slot == QV_SLOT_NONE) {
        const struct qv_ghost *g = qv_ghosts_find(&s->ghosts, id);
        *found = g != NULL;
        if (g == NULL)
            return 0;
        return qv_record_decode((struct qv_bytes){g->data, g->bytes}, arena, &in_record,
                                &generation, out, msg);
    }
    const struct qv_record *r = *qv_slot_table_record(&s->slots, slot);
    if (r != NULL)
        return qv_record_decode((struct qv_bytes){r->data, r->bytes}, arena, &in_record,
                                &generation, out, msg);
    uint8_t key[QV_ID_BYTES_MAX];
    struct qv_kv_value value = {0};
    size_t n = qv_id_encode(id, key);
    int err = qv_kv_get(s->kv, NULL, (struct qv_bytes){key, n}, &value, msg);
    if (err != 0)
        return err;
    if (value.p == NULL)
        return QV_CORRUPT(msg, "shard %u: slot %u has no record in the payload store", s->number,
                          slot);
    const uint8_t *copy = qv_arena_dup(arena, value.p, value.n);
    n = value.n;
    qv_kv_value_close(&value);
    if (copy == NULL)
        return QV_ENOMEM;
    return qv_record_decode((struct qv_bytes){copy, n}, arena, &in_record, &generation, out, msg);
}

/* The newest version known of the id, without reading its record. */
static bool newest_known(const struct qv_shard *s, const struct qv_id *id, qv_slot slot,
                         struct qv_version *out)
{
    if (slot != QV_SLOT_NONE) {
        *out = qv_slot_table_version(&s->slots, slot);
        return true;
    }
    const struct qv_ghost *g = qv_ghosts_find(&s->ghosts, id);
    if (g != NULL)
        *out = g->newest;
    return g != NULL;
}

/* ---- rows ---- */

static int stage_flush(struct qv_shard_vector *v, struct qv_errmsg *msg)
{
    if (v->stage_count == 0)
        return 0;
    uint32_t n = v->stage_count;
    v->stage_count = 0;
    return qv_rowfile_write(v->rows, v->stage_first, n, v->stage, msg);
}

static int stage_row(struct qv_shard *s, uint32_t index, qv_slot slot, const uint8_t *row,
                     struct qv_errmsg *msg)
{
    struct qv_shard_vector *v = &s->vectors[index];
    size_t stride = v->view.stride_bytes;
    if (v->stage_count > 0 &&
        (slot != v->stage_first + v->stage_count || v->stage_count == v->stage_cap)) {
        int err = stage_flush(v, msg);
        if (err != 0)
            return err;
    }
    if (v->stage_count == 0)
        v->stage_first = slot;
    uint8_t *to = v->stage + v->stage_count * stride;
    memcpy(to, row, v->row_bytes);
    memset(to + v->row_bytes, 0, stride - v->row_bytes);
    v->stage_count++;
    return 0;
}

/* ---- one change ---- */

/* Takes the dense vectors of the copy into the slot's rows: from the change, or from the row that
 * the point has now. Their parts become IN_ROW. */
static int move_rows(struct qv_shard *s, const struct qv_copy *copy, struct plan *p,
                     struct qv_errmsg *msg)
{
    for (uint32_t i = 0; i < copy->part_count; i++) {
        struct qv_part *part = &copy->parts[i];
        int v = part->kind == QV_PART_VECTOR && part->state != QV_PART_ABSENT
                    ? qv_shard_vector_index(s, part->number)
                    : -1;
        if (v < 0)
            continue;
        const uint8_t *row;
        uint32_t crc;
        if (part->state == QV_PART_INLINE) {
            QV_ASSERT(part->value.n == DENSE_HEADER_BYTES + s->vectors[v].row_bytes);
            row = part->value.p + DENSE_HEADER_BYTES;
            crc = qv_hash_crc32c(0, row, s->vectors[v].row_bytes);
        } else { /* with its checksum: a bit that flipped there stays to be found */
            QV_ASSERT(p->before != QV_SLOT_NONE);
            row = qv_rows_at(&s->vectors[v].view, p->before);
            crc = *qv_slot_table_row_crc(&s->slots, (uint32_t)v, p->before);
        }
        int err = stage_row(s, (uint32_t)v, p->slot, row, msg);
        if (err != 0)
            return err;
        __atomic_store_n(qv_slot_table_row_crc(&s->slots, (uint32_t)v, p->slot), crc,
                         __ATOMIC_RELAXED); /* the scrubber may be looking at the slot's last use */
    }
    return 0;
}

/* Does the copy need other rows than those of the slot it has? Fills p->present. */
static bool rows_differ(const struct qv_shard *s, const struct qv_copy *copy, struct plan *p)
{
    bool differ = p->before == QV_SLOT_NONE;
    memset(p->present, 0, sizeof p->present);
    for (uint32_t i = 0; i < copy->part_count; i++) {
        const struct qv_part *part = &copy->parts[i];
        if (part->kind != QV_PART_VECTOR || part->state == QV_PART_ABSENT)
            continue;
        int v = qv_shard_vector_index(s, part->number);
        if (v < 0)
            continue;
        p->present[v / 8] |= (uint8_t)(1u << (v & 7));
        differ = differ || part->state == QV_PART_INLINE;
    }
    for (uint32_t v = 0; v < s->vector_count && !differ; v++) {
        bool has = p->present[v / 8] & (1u << (v & 7));
        differ = has != qv_slot_table_is_live(&s->slots, v, p->before);
    }
    return differ;
}

/* A dead point has no slot and so no rows: a vector that was set after its death (an older put may
 * still arrive) is kept in the record. */
static int inline_row(struct qv_shard *s, struct qv_arena *arena, uint32_t index,
                      const struct plan *p, struct qv_part *part)
{
    if (!qv_shard_row_good(s, index, p->before)) /* the record would take it in under its own sum */
        return QV_ECORRUPT;
    const struct qv_shard_vector *v = &s->vectors[index];
    uint8_t *bytes = qv_arena_alloc(arena, DENSE_HEADER_BYTES + (size_t)v->row_bytes);
    if (bytes == NULL)
        return QV_ENOMEM;
    QV_ASSERT(p->before != QV_SLOT_NONE);
    bytes[0] = QV_VEC_DENSE;
    bytes[1] = (uint8_t)v->config->datatype;
    memcpy(bytes + 2, &v->config->size, sizeof v->config->size);
    memcpy(bytes + DENSE_HEADER_BYTES, qv_rows_at(&v->view, p->before), v->row_bytes);
    part->state = QV_PART_INLINE;
    part->value = (struct qv_bytes){bytes, DENSE_HEADER_BYTES + (size_t)v->row_bytes};
    return 0;
}

static int encode_record(struct qv_shard *s, struct qv_arena *arena, const struct qv_copy *copy,
                         struct plan *p, struct qv_buf *scratch)
{
    for (uint32_t i = 0; i < copy->part_count; i++) {
        struct qv_part *part = &copy->parts[i];
        int v = part->kind == QV_PART_VECTOR && part->state != QV_PART_ABSENT
                    ? qv_shard_vector_index(s, part->number)
                    : -1;
        if (v < 0)
            continue;
        if (p->slot != QV_SLOT_NONE) {
            part->state = QV_PART_IN_ROW;
            part->value = (struct qv_bytes){NULL, 0};
        } else if (part->state == QV_PART_IN_ROW) {
            int err = inline_row(s, arena, (uint32_t)v, p, part);
            if (err != 0)
                return err;
        }
    }
    uint32_t generation =
        p->slot == QV_SLOT_NONE ? 0 : *qv_slot_table_generation(&s->slots, p->slot);
    qv_buf_clear(scratch);
    qv_record_encode(scratch, p->slot, generation, copy);
    if (scratch->failed)
        return QV_ENOMEM;
    p->record.p = qv_arena_dup(arena, scratch->data, scratch->len);
    p->record.n = scratch->len;
    return p->record.p == NULL ? QV_ENOMEM : 0;
}

/* What the planning of a group's changes shares. */
struct planner {
    struct qv_shard *s;
    struct qv_arena *arena;
    struct qv_version version; /* of the group */
    struct qv_buf scratch;     /* of one record */
};

/* Takes away the parts of vectors that were dropped: what the change says of them (it was logged
 * before), and what the point held. */
static void forget_dropped(const struct qv_shard *s, struct qv_copy *copy)
{
    const struct qv_collection_config *config =
        atomic_load(&((struct qv_shard *)(uintptr_t)s)->config);
    uint32_t n = 0;
    for (uint32_t i = 0; i < copy->part_count; i++) {
        struct qv_part *part = &copy->parts[i];
        if (part->kind == QV_PART_VECTOR && qv_config_vector_name(config, part->number).p == NULL)
            continue;
        if (n != i)
            copy->parts[n] = *part;
        n++;
    }
    copy->part_count = n;
}

/* What the i-th item of a group says of its point; borrows. */
static int copy_of_item(struct planner *x, const struct qv_group *g, uint32_t i,
                        struct qv_copy *out)
{
    const struct qv_change *c = &g->changes[i];
    const struct qv_copy *given = g->copies != NULL ? &g->copies[i] : NULL;
    const struct qv_part *from = given != NULL ? given->parts : c->parts;
    const uint32_t count = given != NULL ? given->part_count : c->part_count;
    struct qv_part *parts = qv_arena_dup(x->arena, from, count * sizeof *parts);
    if (parts == NULL && count > 0)
        return QV_ENOMEM;
    if (given != NULL) {
        *out = *given;
        out->parts = parts;
        return 0;
    }
    struct qv_change own = *c;
    own.parts = parts;
    qv_copy_of_change(&own, x->version, out);
    return 0;
}

static int plan_change(struct planner *x, const struct qv_group *g, uint32_t i, struct plan *p,
                       struct qv_errmsg *msg)
{
    const struct qv_change *c = &g->changes[i];
    struct qv_shard *s = x->s;
    struct qv_arena *arena = x->arena;
    const struct qv_version version = x->version;
    struct qv_copy copy;
    struct qv_version known = QV_VERSION_NONE;
    p->before = qv_slot_table_find(&s->slots, &c->id);
    p->slot = QV_SLOT_NONE;
    bool any = newest_known(s, &c->id, p->before, &known);
    if (any && g->copies == NULL && qv_version_compare(version, known) == 0) {
        p->outcome = OUT_NONE; /* replayed over a checkpoint that has it */
        return 0;
    }
    int made = copy_of_item(x, g, i, &copy);
    if (made != 0)
        return made;
    bool whole = c->type == QV_CHANGE_PUT || c->type == QV_CHANGE_DELETE;
    if (any && !(whole && qv_version_compare(version, known) > 0)) {
        struct qv_copy have;
        struct qv_copy joined;
        bool found;
        int err = qv_shard_load_copy(s, arena, &c->id, &have, &found, msg);
        if (err == 0 && found)
            err = qv_copy_join(arena, &have, &copy, &joined);
        if (err != 0)
            return err;
        if (found)
            copy = joined;
    }
    p->newest = qv_copy_newest(&copy);
    forget_dropped(s, &copy);
    if (!qv_copy_visible(&copy)) {
        p->outcome = OUT_DEAD;
    } else if (rows_differ(s, &copy, p)) {
        p->outcome = OUT_MOVE;
        p->slot = qv_slot_table_take(&s->slots);
        int err = move_rows(s, &copy, p, msg);
        if (err != 0)
            return err;
    } else {
        p->outcome = OUT_RECORD;
        p->slot = p->before;
    }
    return encode_record(s, arena, &copy, p, &x->scratch);
}

/* ---- publication ---- */

static void keep_record(struct qv_shard *s, qv_slot slot, struct qv_bytes record)
{
    __atomic_store_n(qv_slot_table_record(&s->slots, slot), qv_dirty_add(&s->dirty, slot, record),
                     __ATOMIC_RELAXED); /* readers peek without the lock whether there is one */
}

static void publish(struct qv_shard *s, const struct qv_change *c, const struct plan *p,
                    qv_slot *died)
{
    *died = QV_SLOT_NONE;
    switch (p->outcome) {
    case OUT_NONE:
        return;
    case OUT_RECORD:
        qv_slot_table_set_version(&s->slots, p->slot, p->newest);
        keep_record(s, p->slot, p->record);
        return;
    case OUT_MOVE:
        qv_shard_mark_keys(s, p->slot, &c->id);
        keep_record(s, p->slot, p->record);
        *died = qv_slot_table_publish(&s->slots, p->slot, &c->id, p->newest, p->present);
        qv_shard_push_pending(s, p->slot);
        qv_ghosts_remove(&s->ghosts, &c->id);
        break;
    case OUT_DEAD:
        qv_ghosts_put(&s->ghosts, &c->id, p->newest, p->record);
        qv_dirty_add_dead(&s->dirty, &c->id);
        if (p->before != QV_SLOT_NONE) {
            qv_slot_table_kill(&s->slots, p->before);
            *died = p->before;
        }
        break;
    }
    if (*died != QV_SLOT_NONE)
        __atomic_store_n(qv_slot_table_record(&s->slots, *died), NULL, __ATOMIC_RELEASE);
}

static int plan_all(struct qv_shard *s, struct qv_group *g, struct qv_arena *arena,
                    struct plan *plans, struct qv_errmsg *msg)
{
    struct planner x = {.s = s, .arena = arena, .version = g->version};
    qv_buf_init(&x.scratch, 0);
    int err = 0;
    for (uint32_t i = 0; i < g->count && err == 0; i++) {
        if (i + PREFETCH_AHEAD < g->count)
            qv_slot_table_prefetch(&s->slots, &g->changes[i + PREFETCH_AHEAD].id);
        err = plan_change(&x, g, i, &plans[i], msg);
    }
    for (uint32_t v = 0; v < s->vector_count; v++) {
        int flushed = s->vectors[v].life == QV_VECTOR_NONE ? 0 : stage_flush(&s->vectors[v], msg);
        if (err == 0)
            err = flushed;
    }
    qv_buf_close(&x.scratch);
    return err;
}

/* What was planned does not happen: the slots that it took are nobody's. */
static void plans_void(struct qv_shard *s, const struct plan *plans, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (plans[i].outcome == OUT_MOVE && plans[i].slot != QV_SLOT_NONE)
            qv_slot_table_give_back(&s->slots, plans[i].slot);
    }
}

int qv_shard_apply(struct qv_shard *s, struct qv_group *g, struct qv_errmsg *msg)
{
    struct qv_arena arena;
    if (g->count == 0)
        return 0;
    qv_arena_init(&arena, (size_t)1 << 30);
    struct plan *plans = qv_arena_calloc(&arena, g->count, sizeof *plans);
    qv_slot *died = qv_arena_calloc(&arena, g->count, sizeof *died);
    int err = plans == NULL || died == NULL ? QV_ENOMEM : plan_all(s, g, &arena, plans, msg);
    if (err != 0) {
        if (plans != NULL)
            plans_void(s, plans, g->count);
        qv_arena_close(&arena);
        return err;
    }
    for (uint32_t i = 0; i < g->count; i++) {
        if (plans[i].outcome == OUT_MOVE || plans[i].outcome == OUT_RECORD)
            qv_shard_fields_apply(s, plans[i].slot, plans[i].record);
    }
    pthread_rwlock_wrlock(&s->lock);
    if (s->dirty.since_ns == 0)
        s->dirty.since_ns = qv_env_mono_ns(s->env);
    for (uint32_t i = 0; i < g->count; i++)
        publish(s, &g->changes[i], &plans[i], &died[i]);
    pthread_rwlock_unlock(&s->lock);
    for (uint32_t i = 0; i < g->count; i++) {
        if (died[i] != QV_SLOT_NONE)
            qv_shard_retire(s, died[i]);
    }
    atomic_store_explicit(&s->dirty_bytes_shared, s->dirty.bytes + s->frozen.bytes,
                          memory_order_relaxed);
    s->last_version = qv_version_max(s->last_version, g->version);
    qv_arena_close(&arena);
    return 0;
}
