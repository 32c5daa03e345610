/* Reading points: by id, by filter, in order of ids; and what every answer shares, the fetching of
 * payloads and vectors.
 *
 * A point's record is in memory when it is newer than the last checkpoint (its slot's record
 * pointer, under the shared lock), else in the payload store. A record moves from the one to the
 * other only after it is in the payload store, so looking in memory first never misses it. */
#include "shard/read.h"

#include "base/qv_assert.h"
#include "core/vector.h"
#include "simd/convert.h"

#include <stdlib.h>
#include <string.h>

#define SCAN_ARENA_BYTES ((size_t)64 << 20) /* one record at a time, however large */

int qv_read_begin(struct qv_shard *s, unsigned reader, struct qv_errmsg *msg)
{
    int state = atomic_load(&s->state);
    if (state == QV_SHARD_DROPPING)
        return qv_shard_gone(s, msg);
    if (state == QV_SHARD_QUARANTINED) {
        pthread_mutex_lock(&s->reason_lock);
        qv_fail(msg, QV_EUNAVAILABLE, "shard %u has no healthy replica: %s", s->number, s->reason);
        pthread_mutex_unlock(&s->reason_lock);
        return QV_EUNAVAILABLE;
    }
    qv_epoch_enter(&s->epoch, reader);
    s->epoch.readers[reader].note = atomic_load(&s->keys_seq);
    return 0;
}

void qv_read_end(struct qv_shard *s, unsigned reader)
{
    qv_epoch_leave(&s->epoch, reader);
}

int qv_read_finish(struct qv_shard *s, unsigned reader, int err, struct qv_errmsg *msg)
{
    /* What was read before is before this: a change made since is seen by now. */
    atomic_thread_fence(memory_order_acquire);
    const bool same = atomic_load(&s->keys_seq) == s->epoch.readers[reader].note;
    qv_read_end(s, reader);
    if (same || err != 0)
        return err;
    return qv_fail(msg, QV_ESTALE, "what the shard answers for was changed meanwhile");
}

/* ---- records ---- */

/* The id's slot and, when it is in memory, a copy of its record (else out->p == NULL). */
static int memory_record(struct qv_shard *s, struct qv_arena *arena, const struct qv_id *id,
                         qv_slot *slot, struct qv_bytes *out)
{
    int err = 0;
    *out = (struct qv_bytes){NULL, 0};
    pthread_rwlock_rdlock(&s->lock);
    *slot = qv_slot_table_find(&s->slots, id);
    const struct qv_record *r =
        *slot == QV_SLOT_NONE ? NULL : *qv_slot_table_record(&s->slots, *slot);
    if (r != NULL) {
        *out = (struct qv_bytes){qv_arena_dup(arena, r->data, r->bytes), r->bytes};
        err = out->p == NULL ? QV_ENOMEM : 0;
    }
    pthread_rwlock_unlock(&s->lock);
    return err;
}

/* The record as the payload store has it now, into the arena; p == NULL: it has none. */
static int stored_record(struct qv_shard *s, struct qv_arena *arena, const struct qv_id *id,
                         struct qv_bytes *out, struct qv_errmsg *msg)
{
    uint8_t key[QV_ID_BYTES_MAX];
    struct qv_kv_value value = {0};
    *out = (struct qv_bytes){NULL, 0};
    int err = qv_kv_get(s->kv, NULL, (struct qv_bytes){key, qv_id_encode(id, key)}, &value, msg);
    if (err == QV_ECORRUPT && msg != NULL)
        qv_shard_note_damage(s, msg->text);
    if (err != 0 || value.p == NULL)
        return err;
    *out = (struct qv_bytes){qv_arena_dup(arena, value.p, value.n), value.n};
    qv_kv_value_close(&value);
    return out->p == NULL ? QV_ENOMEM : 0;
}

int qv_read_copy(struct qv_shard *s, struct qv_arena *arena, const struct qv_id *id,
                 struct qv_present *out, struct qv_errmsg *msg)
{
    struct qv_bytes bytes;
    uint32_t generation;
    out->found = false;
    int err = memory_record(s, arena, id, &out->slot, &bytes);
    if (err != 0 || out->slot == QV_SLOT_NONE)
        return err;
    if (bytes.p == NULL) {
        err = stored_record(s, arena, id, &bytes, msg);
        if (err != 0 || bytes.p == NULL) /* NULL: deleted, and the deletion checkpointed, between */
            return err;                  /* the two looks */
    }
    err = qv_record_decode(bytes, arena, &out->slot, &generation, &out->copy, msg);
    out->found = err == 0 && qv_copy_visible(&out->copy);
    return err;
}

/* ---- filters ---- */

struct vectors_of {
    const struct qv_collection_config *config;
    const struct qv_copy *copy;
};

static bool copy_has_vector(void *ctx, struct qv_str name)
{
    const struct vectors_of *of = ctx;
    const struct qv_vector_config *vc = qv_config_vector(of->config, name);
    const struct qv_sparse_config *sc = vc == NULL ? qv_config_sparse(of->config, name) : NULL;
    if (vc == NULL && sc == NULL)
        return false;
    return qv_copy_find(of->copy, QV_PART_VECTOR, vc != NULL ? vc->number : sc->number,
                        (struct qv_str){NULL, 0}) != NULL;
}

int qv_read_bind(struct qv_shard *s, const struct qv_filter *filter, const struct qv_stop *stop,
                 struct qv_bound_filter *out, struct qv_errmsg *msg)
{
    *out = (struct qv_bound_filter){.filter = filter,
                                    .needs_payload = qv_filter_needs_payload(filter)};
    return qv_filter_bind(filter, atomic_load(&s->config), stop, &out->binding, msg);
}

void qv_read_unbind(struct qv_bound_filter *b)
{
    qv_filter_unbind(&b->binding);
}

int qv_read_match(struct qv_shard *s, const struct qv_bound_filter *filter, const struct qv_id *id,
                  const struct qv_copy *copy, bool *match)
{
    struct vectors_of of = {.config = atomic_load(&s->config), .copy = copy};
    struct qv_filter_point point = {
        .id = *id, .has_vector = copy_has_vector, .ctx = &of, .binding = filter->binding};
    struct qv_buf payload;
    qv_buf_init(&payload, 0);
    if (filter->needs_payload) {
        qv_copy_payload(copy, &payload);
        point.payload = (struct qv_doc){payload.data, payload.len};
    }
    int err = payload.failed ? QV_ENOMEM : 0;
    *match = err == 0 && qv_filter_match(filter->filter, &point);
    qv_buf_close(&payload);
    return err != 0 ? err : qv_filter_stopped(filter->binding);
}

/* A filter that is asked of one record after another. */
struct matcher {
    struct qv_shard *s;
    struct qv_bound_filter filter;
    struct qv_arena scratch; /* of one record */
};

/* `filter` is kept; NULL: everything matches. End it also after an error. */
static int matcher_begin(struct matcher *m, struct qv_shard *s, const struct qv_filter *filter,
                         const struct qv_stop *stop, struct qv_errmsg *msg)
{
    m->s = s;
    qv_arena_init(&m->scratch, SCAN_ARENA_BYTES);
    return qv_read_bind(s, filter, stop, &m->filter, msg);
}

static void matcher_end(struct matcher *m)
{
    qv_arena_close(&m->scratch);
    qv_read_unbind(&m->filter);
}

static int match_record(struct matcher *m, const struct qv_id *id, struct qv_bytes record,
                        bool *match, struct qv_errmsg *msg)
{
    struct qv_copy copy;
    qv_slot slot;
    uint32_t generation;
    qv_arena_reset(&m->scratch);
    int err = qv_record_decode(record, &m->scratch, &slot, &generation, &copy, msg);
    *match = false;
    if (err == 0 && qv_copy_visible(&copy))
        err = qv_read_match(m->s, &m->filter, id, &copy, match);
    return err;
}

/* ---- walking every point ---- */

#define ASK_EVERY 256 /* records between two looks at whether to go on */

struct walk {
    struct qv_shard *s;
    struct qv_arena scratch; /* of one record */
    const struct qv_stop *stop;
    uint32_t until_asked;
    struct qv_errmsg *msg;
    /* Called once or more for a live point (more: while it changes); *end ends the walk. */
    int (*visit)(void *arg, qv_slot slot, const struct qv_id *id, struct qv_bytes record, bool *end,
                 struct qv_errmsg *msg);
    void *arg;
};

static int ask(struct walk *w)
{
    if (w->until_asked-- != 0)
        return 0;
    w->until_asked = ASK_EVERY;
    return qv_stop_ask(w->stop, w->msg);
}

static int read_live(struct qv_shard *s, struct qv_arena *arena, uint32_t vector, bool stored,
                     struct qv_live *out)
{
    memset(out, 0, sizeof *out);
    pthread_rwlock_rdlock(&s->lock); /* between two publications: a moving point is in one place */
    out->n = qv_slot_table_high(&s->slots);
    out->all = QV_ARENA_ARRAY(arena, uint64_t, out->n / 64 + 1);
    if (vector != QV_READ_ANY)
        out->with = QV_ARENA_ARRAY(arena, uint64_t, out->n / 64 + 1);
    bool ok = out->all != NULL && (vector == QV_READ_ANY || out->with != NULL);
    if (ok)
        qv_slot_table_copy_live(&s->slots, QV_SLOT_ANY_VECTOR, out->n, out->all);
    if (ok && out->with != NULL)
        qv_slot_table_copy_live(&s->slots, vector, out->n, out->with);
    if (ok && !stored && qv_shard_hides(s)) {
        qv_slot_table_drop_hidden(&s->slots, out->n, out->all);
        if (out->with != NULL)
            qv_slot_table_drop_hidden(&s->slots, out->n, out->with);
    }
    pthread_rwlock_unlock(&s->lock);
    return ok ? 0 : QV_ENOMEM;
}

int qv_read_live(struct qv_shard *s, struct qv_arena *arena, uint32_t vector, struct qv_live *out)
{
    return read_live(s, arena, vector, false, out);
}

int qv_read_stored(struct qv_shard *s, struct qv_arena *arena, uint32_t vector, struct qv_live *out)
{
    return read_live(s, arena, vector, true, out);
}

static bool bit(const uint64_t *bits, qv_slot slot)
{
    return bits[slot / 64] >> (slot & 63) & 1;
}

/* The record in memory of the point that is, or was when `live` was taken, in the slot. */
static int slot_record(struct walk *w, qv_slot slot, struct qv_id *id, struct qv_bytes *record)
{
    struct qv_shard *s = w->s;
    int err = 0;
    *record = (struct qv_bytes){NULL, 0};
    pthread_rwlock_rdlock(&s->lock);
    *id = qv_slot_table_id(&s->slots, slot);
    if (!qv_slot_table_is_live(&s->slots, QV_SLOT_ANY_VECTOR, slot))
        slot = qv_slot_table_find(&s->slots, id);
    const struct qv_record *r =
        slot == QV_SLOT_NONE ? NULL : *qv_slot_table_record(&s->slots, slot);
    if (r != NULL) {
        *record = (struct qv_bytes){qv_arena_dup(&w->scratch, r->data, r->bytes), r->bytes};
        err = record->p == NULL ? QV_ENOMEM : 0;
    }
    pthread_rwlock_unlock(&s->lock);
    return err;
}

/* Records in memory of the points that were live then, wherever they are now. */
static int walk_memory(struct walk *w, const struct qv_live *live)
{
    struct qv_shard *s = w->s;
    bool end = false;
    int err = 0;
    for (qv_slot slot = 0; slot < live->n && err == 0 && !end; slot++) {
        struct qv_bytes record;
        struct qv_id id;
        if (!bit(live->all, slot))
            continue;
        /* in this order: a point's death clears its live bit first, its record after that */
        if (__atomic_load_n(qv_slot_table_record(&s->slots, slot), __ATOMIC_ACQUIRE) == NULL &&
            qv_slot_table_is_live(&s->slots, QV_SLOT_ANY_VECTOR, slot))
            continue;
        qv_arena_reset(&w->scratch);
        err = ask(w);
        if (err == 0)
            err = slot_record(w, slot, &id, &record);
        if (err == 0 && record.p != NULL)
            err = w->visit(w->arg, slot, &id, record, &end, w->msg);
    }
    return err;
}

/* The slot of a point and its record. */
struct placed {
    qv_slot slot;
    struct qv_bytes record;
};

/* The newest record of a point that the iterator has met: from memory, from the iterator
 * (p->record), or, when a checkpoint may have moved a newer one from memory to the store since the
 * iterator was opened (there were `checkpoints` then), from the store once more. */
static int newest_record(struct walk *w, const struct qv_id *id, uint64_t checkpoints,
                         struct placed *p)
{
    struct qv_shard *s = w->s;
    struct qv_bytes in_memory;
    int err = memory_record(s, &w->scratch, id, &p->slot, &in_memory);
    if (err != 0 || p->slot == QV_SLOT_NONE || in_memory.p != NULL) {
        p->record = in_memory;
        return err;
    }
    if (atomic_load(&s->checkpoints_shared) != checkpoints)
        return stored_record(s, &w->scratch, id, &p->record, w->msg);
    p->record.p = qv_arena_dup(&w->scratch, p->record.p, p->record.n);
    return p->record.p == NULL ? QV_ENOMEM : 0;
}

/* Records of the payload store from key `from` on, in order of ids. One that is also in memory is
 * given as memory has it. */
static int walk_store(struct walk *w, struct qv_bytes from)
{
    static const uint8_t first_id[1] = {QV_ID_NUM};
    struct qv_shard *s = w->s;
    struct qv_kv_iter *it = NULL;
    bool end = false;
    if (from.n == 0)
        from = (struct qv_bytes){first_id, 1};
    uint64_t checkpoints = atomic_load(&s->checkpoints_shared);
    int err = qv_kv_iter_open(s->kv, NULL, from, (struct qv_bytes){NULL, 0}, &it);
    while (err == 0 && !end) {
        struct qv_bytes key;
        struct placed p;
        struct qv_id id;
        size_t used;
        err = qv_kv_iter_next(it, &key, &p.record, w->msg);
        if (err == QV_ECORRUPT && w->msg != NULL)
            qv_shard_note_damage(s, w->msg->text);
        if (err != 0)
            break;
        if (qv_id_decode(key.p, key.n, &id, &used) != 0 || used != key.n) {
            err = QV_CORRUPT(w->msg, "shard %u: a key of %zu bytes is no id", s->number, key.n);
            break;
        }
        qv_arena_reset(&w->scratch);
        err = ask(w);
        if (err == 0)
            err = newest_record(w, &id, checkpoints, &p);
        if (err == 0 && p.slot != QV_SLOT_NONE && p.record.p != NULL)
            err = w->visit(w->arg, p.slot, &id, p.record, &end, w->msg);
    }
    qv_kv_iter_close(it);
    return err == QV_EEOF ? 0 : err;
}

/* ---- each live point once ---- */

struct each {
    struct qv_shard *s;
    const struct qv_read_each *want;
    struct qv_bound_filter filter;
    const struct qv_live *live;
    uint64_t *seen;
    struct qv_arena scratch; /* of one record */
};

static int each_copy(struct each *e, const struct qv_id *id, const struct qv_copy *copy,
                     struct qv_errmsg *msg)
{
    bool match = true;
    int err = e->want->filter == NULL ? 0 : qv_read_match(e->s, &e->filter, id, copy, &match);
    return err == 0 && match ? e->want->visit(e->want->arg, id, copy, msg) : err;
}

static int each_visit(void *arg, qv_slot slot, const struct qv_id *id, struct qv_bytes record,
                      bool *end, struct qv_errmsg *msg)
{
    struct each *e = arg;
    struct qv_copy copy;
    uint32_t generation;
    qv_slot unused;
    (void)end;
    if (slot >= e->live->n || !bit(e->live->all, slot) || bit(e->seen, slot))
        return 0; /* published after the walk began; or its turn has been */
    e->seen[slot / 64] |= 1ull << (slot & 63);
    qv_arena_reset(&e->scratch);
    int err = qv_record_decode(record, &e->scratch, &unused, &generation, &copy, msg);
    return err == 0 && qv_copy_visible(&copy) ? each_copy(e, id, &copy, msg) : err;
}

/* Those that left their slot before their turn: as they are now. */
static int each_moved(struct each *e, struct walk *w)
{
    int err = 0;
    for (qv_slot slot = 0; slot < e->live->n && err == 0; slot++) {
        struct qv_present now;
        if (!bit(e->live->all, slot) || bit(e->seen, slot))
            continue;
        struct qv_id id = qv_slot_table_id(&e->s->slots, slot);
        qv_arena_reset(&w->scratch);
        err = ask(w);
        if (err == 0)
            err = qv_read_copy(e->s, &w->scratch, &id, &now, w->msg);
        if (err == 0 && now.found)
            err = each_copy(e, &id, &now.copy, w->msg);
    }
    return err;
}

int qv_read_each(struct qv_shard *s, struct qv_arena *arena, const struct qv_read_each *want,
                 struct qv_errmsg *msg)
{
    struct qv_live live;
    struct each e = {.s = s, .want = want, .live = &live};
    struct walk w = {.s = s, .stop = want->stop, .msg = msg, .visit = each_visit, .arg = &e};
    int err = qv_read_live(s, arena, QV_READ_ANY, &live);
    if (err == 0)
        e.seen = QV_ARENA_ARRAY(arena, uint64_t, live.n / 64 + 1);
    if (err == 0 && e.seen == NULL)
        err = QV_ENOMEM;
    if (err != 0)
        return err;
    qv_arena_init(&w.scratch, SCAN_ARENA_BYTES);
    qv_arena_init(&e.scratch, SCAN_ARENA_BYTES);
    err = qv_read_bind(s, want->filter, want->stop, &e.filter, msg);
    if (err == 0)
        err = walk_memory(&w, &live);
    if (err == 0)
        err = walk_store(&w, (struct qv_bytes){NULL, 0});
    if (err == 0)
        err = each_moved(&e, &w);
    qv_arena_close(&w.scratch);
    qv_arena_close(&e.scratch);
    qv_read_unbind(&e.filter);
    return err;
}

int qv_read_values(const struct qv_copy *copy, const struct qv_path *path, struct qv_buf *scratch,
                   qv_path_visit_f visit, void *ctx)
{
    const struct qv_str top = path->steps[0].key;
    const struct qv_part *part = qv_copy_find(copy, QV_PART_PAYLOAD, 0, top);
    if (part == NULL)
        return 0;
    struct qv_doc value = {part->value.p, part->value.n};
    if (path->count == 1) {
        visit(ctx, value);
        return 0;
    }
    qv_buf_clear(scratch);
    size_t mark = qv_doc_begin_object(scratch);
    qv_doc_put_key(scratch, top.p, top.n);
    qv_doc_put_doc(scratch, value);
    qv_doc_end_object(scratch, mark, 1);
    if (scratch->failed)
        return QV_ENOMEM;
    qv_path_walk((struct qv_doc){scratch->data, scratch->len}, path, visit, ctx);
    return 0;
}

const struct qv_payload_index *qv_read_index(struct qv_shard *s, struct qv_str key)
{
    const struct qv_collection_config *config = atomic_load(&s->config);
    for (uint32_t i = 0; i < config->payload_index_count; i++) {
        if (qv_str_equal(config->payload_indexes[i].field, key))
            return &config->payload_indexes[i];
    }
    return NULL;
}

bool qv_read_index_has(const struct qv_payload_index *index, const char *option)
{
    struct qv_doc value;
    return index->params.p == NULL || !qv_doc_find(index->params, qv_str_of(option), &value) ||
           qv_doc_type(value) != QV_DOC_FALSE;
}

/* ---- the bitmap of a filter ---- */

struct bitmap_walk {
    struct matcher matcher;
    const struct qv_live *live;
    uint64_t *bits;
};

static int bitmap_visit(void *arg, qv_slot slot, const struct qv_id *id, struct qv_bytes record,
                        bool *end, struct qv_errmsg *msg)
{
    struct bitmap_walk *b = arg;
    bool match;
    (void)end;
    if (slot >= b->live->n || !bit(b->live->all, slot))
        return 0; /* published after the walk began */
    int err = match_record(&b->matcher, id, record, &match, msg);
    if (err == 0 && match)
        b->bits[slot / 64] |= 1ull << (slot & 63);
    return err;
}

/* Points that have left their slot since: asked again as they are. */
static int bitmap_moved(struct bitmap_walk *b, struct walk *w)
{
    struct qv_shard *s = w->s;
    int err = 0;
    for (qv_slot slot = 0; slot < b->live->n && err == 0; slot++) {
        struct qv_present now;
        bool match = false;
        if (!bit(b->live->all, slot) || qv_slot_table_is_live(&s->slots, QV_SLOT_ANY_VECTOR, slot))
            continue;
        struct qv_id id = qv_slot_table_id(&s->slots, slot);
        qv_arena_reset(&w->scratch);
        err = ask(w);
        if (err == 0)
            err = qv_read_copy(s, &w->scratch, &id, &now, w->msg);
        if (err == 0 && now.found)
            err = qv_read_match(s, &b->matcher.filter, &id, &now.copy, &match);
        b->bits[slot / 64] &= ~(1ull << (slot & 63));
        b->bits[slot / 64] |= (uint64_t)match << (slot & 63);
    }
    return err;
}

static uint64_t count_bits(const uint64_t *bits, uint32_t n)
{
    uint64_t total = 0;
    for (uint32_t w = 0; w < (n + 63) / 64; w++)
        total += (uint64_t)__builtin_popcountll(bits[w]);
    return total;
}

/* Slots of bits that the indexes leave open, each read by its id. */
static int bitmap_read(struct bitmap_walk *b, struct walk *w, const uint64_t *open)
{
    int err = 0;
    for (qv_slot slot = 0; slot < b->live->n && err == 0; slot++) {
        struct qv_present now;
        bool match = false;
        if (!bit(open, slot))
            continue;
        const struct qv_id id = qv_slot_table_id(&w->s->slots, slot);
        qv_arena_reset(&w->scratch);
        err = ask(w);
        if (err == 0)
            err = qv_read_copy(w->s, &w->scratch, &id, &now, w->msg);
        if (err == 0 && now.found)
            err = qv_read_match(w->s, &b->matcher.filter, &id, &now.copy, &match);
        b->bits[slot / 64] |= (uint64_t)match << (slot & 63);
    }
    return err;
}

/* By the indexes, where they leave little to read: a point by its id costs four times what it does
 * in a walk over all. *done false: nothing was decided. */
static int bitmap_by_fields(struct bitmap_walk *b, struct walk *w, struct qv_arena *arena,
                            bool *done)
{
    const struct qv_live *live = b->live;
    const uint32_t words = live->n / 64 + 1;
    uint64_t *open = QV_ARENA_ARRAY(arena, uint64_t, words);
    *done = false;
    if (open == NULL)
        return QV_ENOMEM;
    int err = qv_read_bounds(w->s, &b->matcher.filter, live, b->bits, open);
    for (uint32_t i = 0; i < words; i++)
        open[i] &= ~b->bits[i];
    const uint64_t points = count_bits(live->all, live->n);
    const uint64_t read = count_bits(open, live->n);
    *done = err == 0 && read <= points / 4;
    if (live->facts != NULL) {
        const uint64_t min = count_bits(b->bits, live->n);
        *live->facts = (struct qv_read_facts){.by = !*done     ? "payloads"
                                                    : read > 0 ? "index and payloads"
                                                               : "index",
                                              .min = min,
                                              .max = min + read,
                                              .points = points,
                                              .read = *done ? read : points};
    }
    if (*done) {
        return bitmap_read(b, w, open);
    }
    memset(b->bits, 0, words * sizeof *b->bits);
    return err;
}

int qv_read_bitmap(struct qv_shard *s, struct qv_arena *arena, const struct qv_filter *filter,
                   const struct qv_live *live, uint64_t **out, struct qv_errmsg *msg)
{
    struct bitmap_walk b = {.live = live};
    struct walk w = {.s = s, .stop = live->stop, .msg = msg, .visit = bitmap_visit, .arg = &b};
    b.bits = QV_ARENA_ARRAY(arena, uint64_t, live->n / 64 + 1);
    *out = b.bits;
    if (b.bits == NULL)
        return QV_ENOMEM;
    qv_arena_init(&w.scratch, SCAN_ARENA_BYTES);
    int err = matcher_begin(&b.matcher, s, filter, live->stop, msg);
    bool done = false;
    if (err == 0 && filter != NULL)
        err = bitmap_by_fields(&b, &w, arena, &done);
    if (err == 0 && !done)
        err = walk_memory(&w, live);
    if (err == 0 && !done)
        err = walk_store(&w, (struct qv_bytes){NULL, 0});
    if (err == 0)
        err = bitmap_moved(&b, &w);
    if (live->facts != NULL)
        live->facts->matched = count_bits(b.bits, live->n);
    qv_arena_close(&w.scratch);
    matcher_end(&b.matcher);
    return err;
}

int qv_shard_count(struct qv_shard *s, unsigned reader, struct qv_arena *arena,
                   const struct qv_count_req *req, uint64_t *out, struct qv_errmsg *msg)
{
    int err = qv_read_begin(s, reader, msg);
    *out = 0;
    if (err != 0)
        return err;
    if (req->filter == NULL && qv_shard_hides(s)) {
        struct qv_live live;
        err = qv_read_live(s, arena, QV_READ_ANY, &live);
        if (err == 0)
            *out = count_bits(live.all, live.n);
    } else if (req->filter == NULL) {
        *out = atomic_load_explicit(&s->slots.live_shared, memory_order_relaxed);
    } else {
        struct qv_live live;
        uint64_t *bits;
        err = qv_read_live(s, arena, QV_READ_ANY, &live);
        live.stop = req->opts.stop;
        if (err == 0)
            err = qv_read_bitmap(s, arena, req->filter, &live, &bits, msg);
        if (err == 0)
            *out = count_bits(bits, live.n);
    }
    return qv_read_finish(s, reader, err, msg);
}

int qv_shard_matching(struct qv_shard *s, unsigned reader, struct qv_arena *arena,
                      const struct qv_count_req *req, struct qv_matching *out,
                      struct qv_errmsg *msg)
{
    struct qv_live live;
    uint64_t *bits;
    uint64_t total = 0;
    *out = (struct qv_matching){NULL, 0};
    int err = qv_read_begin(s, reader, msg);
    if (err != 0)
        return err;
    err = qv_read_stored(s, arena, QV_READ_ANY, &live);
    live.stop = req->opts.stop;
    if (err == 0)
        err = qv_read_bitmap(s, arena, req->filter, &live, &bits, msg);
    if (err == 0)
        total = count_bits(bits, live.n);
    if (err == 0)
        out->ids = QV_ARENA_ARRAY(arena, struct qv_id, total);
    if (err == 0 && out->ids == NULL)
        err = QV_ENOMEM;
    for (qv_slot slot = 0; err == 0 && slot < live.n; slot++) {
        if (bits[slot / 64] >> (slot & 63) & 1)
            out->ids[out->count++] = qv_slot_table_id(&s->slots, slot);
    }
    return qv_read_finish(s, reader, err, msg);
}

/* ---- scroll ---- */

/* The smallest `max` ids at or above `from` that match, each once, as a sorted array. */
struct id_walk {
    struct matcher matcher;
    struct qv_id from;
    bool has_from;
    struct qv_id *ids;
    uint32_t n, max;
    bool ordered; /* the walk gives ids in order: full means done */
};

static int id_visit(void *arg, qv_slot slot, const struct qv_id *id, struct qv_bytes record,
                    bool *end, struct qv_errmsg *msg)
{
    struct id_walk *w = arg;
    if (qv_shard_hidden(w->matcher.s, slot))
        return 0;
    if (w->has_from && qv_id_compare(id, &w->from) < 0)
        return 0;
    if (w->n == w->max && qv_id_compare(id, &w->ids[w->n - 1]) >= 0) {
        *end = w->ordered;
        return 0;
    }
    uint32_t lo = 0;
    uint32_t hi = w->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (qv_id_compare(&w->ids[mid], id) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < w->n && qv_id_equal(&w->ids[lo], id))
        return 0;
    bool match = true;
    int err =
        w->matcher.filter.filter == NULL ? 0 : match_record(&w->matcher, id, record, &match, msg);
    if (err != 0 || !match)
        return err;
    uint32_t last = w->n < w->max ? w->n++ : w->n - 1;
    memmove(w->ids + lo + 1, w->ids + lo, (last - lo) * sizeof *w->ids);
    w->ids[lo] = *id;
    return 0;
}

static int scroll_ids(struct id_walk *ids, struct qv_arena *arena, const struct qv_stop *stop,
                      struct qv_errmsg *msg)
{
    struct qv_shard *s = ids->matcher.s;
    struct walk w = {.s = s, .stop = stop, .msg = msg, .visit = id_visit, .arg = ids};
    struct qv_live live;
    uint8_t key[QV_ID_BYTES_MAX];
    struct qv_bytes from = {NULL, 0};
    ids->ids = QV_ARENA_ARRAY(arena, struct qv_id, ids->max);
    if (ids->ids == NULL)
        return QV_ENOMEM;
    if (ids->has_from)
        from = (struct qv_bytes){key, qv_id_encode(&ids->from, key)};
    int err = qv_read_live(s, arena, QV_READ_ANY, &live);
    if (err != 0)
        return err;
    qv_arena_init(&w.scratch, SCAN_ARENA_BYTES);
    err = matcher_begin(&ids->matcher, s, ids->matcher.filter.filter, w.stop, msg);
    if (err == 0)
        err = walk_memory(&w, &live);
    ids->ordered = true;
    if (err == 0)
        err = walk_store(&w, from);
    qv_arena_close(&w.scratch);
    matcher_end(&ids->matcher);
    return err;
}

/* The picks of ids that are (still) there; picks has room for n. */
static uint32_t pick_ids(struct qv_shard *s, const struct qv_id *ids, uint32_t n,
                         struct qv_pick *picks)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++) {
        pthread_rwlock_rdlock(&s->lock);
        qv_slot slot = qv_slot_table_find(&s->slots, &ids[i]);
        bool hidden = slot != QV_SLOT_NONE && qv_shard_hidden(s, slot);
        pthread_rwlock_unlock(&s->lock);
        if (slot == QV_SLOT_NONE || hidden)
            continue;
        picks[count].slot = slot;
        picks[count].id = ids[i];
        picks[count].version = qv_slot_table_version(&s->slots, slot);
        count++;
    }
    return count;
}

int qv_shard_scroll(struct qv_shard *s, unsigned reader, struct qv_arena *arena,
                    const struct qv_scroll_req *req, struct qv_scroll_out *out,
                    struct qv_errmsg *msg)
{
    struct id_walk w = {.matcher = {.s = s, .filter = {.filter = req->filter}},
                        .from = req->offset,
                        .has_from = req->has_offset,
                        .max = (uint32_t)req->limit + 1};
    memset(out, 0, sizeof *out);
    QV_ASSERT(req->limit <= QV_LIMIT_MAX);
    if (req->order_by != NULL)
        return qv_order_scroll(s, reader, arena, req, out, msg);
    int err = qv_read_begin(s, reader, msg);
    if (err != 0)
        return err;
    err = scroll_ids(&w, arena, req->opts.stop, msg);
    struct qv_pick *picks = err == 0 ? QV_ARENA_ARRAY(arena, struct qv_pick, w.max) : NULL;
    if (err == 0 && picks == NULL)
        err = QV_ENOMEM;
    if (err == 0) {
        uint32_t n = w.n;
        if (n == w.max) {
            out->has_next = true;
            out->next = w.ids[--n];
        }
        struct qv_read_order order = {.picks = picks,
                                      .n = pick_ids(s, w.ids, n, picks),
                                      .with_payload = &req->with_payload,
                                      .with_vector = &req->with_vector};
        err = qv_read_points(s, arena, &order, &out->points, msg);
    }
    return qv_read_finish(s, reader, err, msg);
}

int qv_shard_get(struct qv_shard *s, unsigned reader, struct qv_arena *arena,
                 const struct qv_get_req *req, struct qv_points_out *out, struct qv_errmsg *msg)
{
    int err = qv_read_begin(s, reader, msg);
    if (err != 0)
        return err;
    struct qv_pick *picks = QV_ARENA_ARRAY(arena, struct qv_pick, req->id_count);
    if (picks == NULL) {
        err = QV_ENOMEM;
    } else {
        struct qv_read_order order = {.picks = picks,
                                      .n = pick_ids(s, req->ids, req->id_count, picks),
                                      .with_payload = &req->with_payload,
                                      .with_vector = &req->with_vector};
        err = qv_read_points(s, arena, &order, out, msg);
    }
    return qv_read_finish(s, reader, err, msg);
}

/* ---- answers ---- */

static bool name_wanted(const struct qv_vector_select *sel, struct qv_str name)
{
    if (sel->mode != QV_SELECT_INCLUDE)
        return sel->mode == QV_SELECT_ALL;
    for (uint32_t i = 0; i < sel->name_count; i++) {
        if (qv_str_equal(sel->names[i], name))
            return true;
    }
    return false;
}

static int row_vector(struct qv_shard *s, struct qv_arena *arena, uint32_t v, qv_slot slot,
                      struct qv_vec *out, struct qv_errmsg *msg)
{
    const struct qv_vector_config *vc = s->vectors[v].config;
    if (!qv_shard_row_good(s, v, slot))
        return qv_shard_row_bad(s, v, slot, msg);
    float *values = qv_arena_alloc(arena, (size_t)vc->size * sizeof *values);
    if (values == NULL)
        return QV_ENOMEM;
    qv_simd_to_f32(vc->datatype, qv_rows_at(&s->vectors[v].view, slot), values, vc->size);
    *out = (struct qv_vec){.kind = QV_VEC_DENSE, .dim = vc->size, .rows = 1, .values = values};
    return 0;
}

static int answer_vectors(struct qv_shard *s, struct qv_arena *arena, const struct qv_present *now,
                          const struct qv_vector_select *sel, struct qv_point_out *out,
                          struct qv_errmsg *msg)
{
    const struct qv_copy *copy = &now->copy;
    const struct qv_collection_config *config = atomic_load(&s->config);
    struct qv_named_vec *vecs = QV_ARENA_ARRAY(arena, struct qv_named_vec, copy->part_count);
    int err = vecs == NULL ? QV_ENOMEM : 0;
    out->has_vecs = true;
    out->vecs = vecs;
    out->vecs_unnamed = config->vectors_unnamed;
    for (uint32_t i = 0; i < copy->part_count && err == 0; i++) {
        const struct qv_part *part = &copy->parts[i];
        if (part->kind != QV_PART_VECTOR || part->state == QV_PART_ABSENT)
            continue;
        struct qv_str name = qv_config_vector_name(config, part->number);
        int v = qv_shard_vector_index(s, part->number);
        bool dropped = part->state == QV_PART_IN_ROW && v < 0; /* this moment */
        if (name.p == NULL || dropped || !name_wanted(sel, name))
            continue;
        struct qv_named_vec *nv = &vecs[out->vec_count];
        nv->name = name;
        if (part->state == QV_PART_IN_ROW)
            err = row_vector(s, arena, (uint32_t)v, now->slot, &nv->vec, msg);
        else
            err = qv_vec_decode(arena, part->value, &nv->vec);
        out->vec_count++;
    }
    return err;
}

/* The payload cut down to (or by) paths. */
static int select_payload(struct qv_arena *arena, struct qv_doc payload,
                          const struct qv_payload_select *sel, struct qv_doc *out)
{
    struct qv_buf buf;
    qv_buf_init(&buf, 0);
    *out = payload;
    int err = sel->mode == QV_SELECT_INCLUDE
                  ? qv_path_project(payload, sel->paths, sel->path_count, &buf)
                  : 0;
    for (uint32_t i = 0; sel->mode == QV_SELECT_EXCLUDE && i < sel->path_count && err == 0; i++) {
        struct qv_buf next;
        qv_buf_init(&next, 0);
        err = qv_path_remove(*out, &sel->paths[i], &next);
        qv_buf_close(&buf);
        buf = next;
        *out = (struct qv_doc){buf.data, buf.len};
    }
    if (err == 0 && buf.failed)
        err = QV_ENOMEM;
    if (err == 0 && buf.len > 0) {
        *out = (struct qv_doc){qv_arena_dup(arena, buf.data, buf.len), buf.len};
        err = out->p == NULL ? QV_ENOMEM : 0;
    }
    qv_buf_close(&buf);
    return err;
}

static int answer_payload(struct qv_arena *arena, const struct qv_copy *copy,
                          const struct qv_payload_select *sel, struct qv_doc *out)
{
    struct qv_buf buf;
    qv_buf_init(&buf, 0);
    qv_copy_payload(copy, &buf);
    struct qv_doc doc = {qv_arena_dup(arena, buf.data, buf.len), buf.len};
    bool failed = buf.failed;
    qv_buf_close(&buf);
    if (failed || doc.p == NULL)
        return QV_ENOMEM;
    return select_payload(arena, doc, sel, out);
}

int qv_read_points(struct qv_shard *s, struct qv_arena *arena, const struct qv_read_order *order,
                   struct qv_points_out *out, struct qv_errmsg *msg)
{
    bool payloads = order->with_payload->mode != QV_SELECT_NONE;
    bool vectors = order->with_vector->mode != QV_SELECT_NONE;
    out->count = 0;
    out->points = QV_ARENA_ARRAY(arena, struct qv_point_out, order->n);
    if (out->points == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < order->n; i++) {
        struct qv_point_out *p = &out->points[out->count];
        struct qv_present now; /* in a newer slot than picked when the point moved meanwhile */
        now.found = true;
        memset(p, 0, sizeof *p);
        p->id = order->picks[i].id;
        p->version = order->picks[i].version;
        p->score = order->picks[i].score;
        p->order_value = order->picks[i].order_value;
        int err = payloads || vectors ? qv_read_copy(s, arena, &p->id, &now, msg) : 0;
        if (err == 0 && now.found && payloads)
            err = answer_payload(arena, &now.copy, order->with_payload, &p->payload);
        if (err == 0 && now.found && vectors)
            err = answer_vectors(s, arena, &now, order->with_vector, p, msg);
        if (err != 0)
            return err;
        out->count += now.found; /* gone meanwhile: not answered */
    }
    return 0;
}
