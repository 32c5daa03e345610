/* Points in the order of a payload value, and by chance. One pass with a bounded heap: the best
 * limit + offset entries are kept, a point stands once for each value it holds. What decides is the
 * entry (value, id), so that equal values have an order, too; for a sample the value is a hash of
 * the id under a fresh seed. Values are the index's; what it does not tell (points it has not
 * reached yet, several floats or times of one point) is read, and where that is much, all is. */
#include "shard/read.h"

#include "base/hash.h"
#include "base/qv_assert.h"
#include "core/datetime.h"
#include "core/limits.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    struct qv_order_value value;
    struct qv_id id;
};

struct order {
    struct qv_shard *s;
    const struct qv_order_by *by; /* NULL: a sample */
    enum qv_order_type type;      /* of the values, from the index */
    uint32_t index;               /* its number */
    uint64_t seed;                /* of the sample */
    struct entry *heap;           /* the last of the kept first */
    uint32_t count, max;
    struct qv_buf scratch; /* the part of a payload that the path may reach */
    struct qv_buf values;  /* of one point: entries' values */
};

/* ---- order ---- */

static int compare_values(const struct qv_order_value *a, const struct qv_order_value *b)
{
    bool fa = a->type == QV_ORDER_FLOAT;
    bool fb = b->type == QV_ORDER_FLOAT;
    if (!fa && !fb)
        return (a->i > b->i) - (a->i < b->i);
    double x = fa ? a->f : (double)a->i;
    double y = fb ? b->f : (double)b->i;
    return (x > y) - (x < y);
}

static int compare_entries(const struct entry *a, const struct entry *b)
{
    int c = compare_values(&a->value, &b->value);
    return c != 0 ? c : qv_id_compare(&a->id, &b->id);
}

/* Does a come before b in the answer? */
static bool before(const struct order *o, const struct entry *a, const struct entry *b)
{
    int c = compare_entries(a, b);
    return o->by != NULL && o->by->desc ? c > 0 : c < 0;
}

/* ---- the kept entries ---- */

static void sift_down(struct order *o, uint32_t at, uint32_t n)
{
    struct entry *h = o->heap;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= n)
            return;
        if (child + 1 < n && before(o, &h[child], &h[child + 1]))
            child++;
        if (!before(o, &h[at], &h[child]))
            return;
        struct entry e = h[at];
        h[at] = h[child];
        h[child] = e;
        at = child;
    }
}

static void push(struct order *o, const struct entry *e)
{
    struct entry *h = o->heap;
    if (o->count == o->max) {
        if (!before(o, e, &h[0]))
            return;
        h[0] = *e;
        sift_down(o, 0, o->count);
        return;
    }
    uint32_t at = o->count++;
    while (at > 0 && before(o, &h[(at - 1) / 2], e)) {
        h[at] = h[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    h[at] = *e;
}

/* The heap as a list, first to last. */
static void sort(struct order *o)
{
    for (uint32_t n = o->count; n > 1; n--) {
        struct entry e = o->heap[0];
        o->heap[0] = o->heap[n - 1];
        o->heap[n - 1] = e;
        sift_down(o, 0, n - 1);
    }
}

/* ---- values ---- */

static bool value_of(enum qv_order_type type, struct qv_doc d, struct qv_order_value *out)
{
    enum qv_doc_type t = qv_doc_type(d);
    *out = (struct qv_order_value){.type = type};
    switch (type) {
    case QV_ORDER_INT:
        out->i = t == QV_DOC_INT ? qv_doc_int(d) : 0;
        return t == QV_DOC_INT;
    case QV_ORDER_FLOAT:
        if (t != QV_DOC_INT && t != QV_DOC_DOUBLE)
            return false;
        out->f = qv_doc_double(d);
        return true;
    case QV_ORDER_DATETIME:
        return t == QV_DOC_STRING && qv_datetime_parse(qv_doc_str(d), &out->i);
    default:
        return false;
    }
}

static void keep_value(void *ctx, const struct qv_order_value *v)
{
    struct order *o = ctx;
    const struct qv_order_by *by = o->by;
    if (by->start_from.type != QV_ORDER_NONE) {
        int c = compare_values(v, &by->start_from);
        if (by->desc ? c > 0 : c < 0)
            return;
    }
    qv_buf_append(&o->values, v, sizeof *v);
}

static void take_value(struct order *o, struct qv_doc d)
{
    struct qv_order_value v;
    if (value_of(o->type, d, &v))
        keep_value(o, &v);
}

static bool visit_value(void *ctx, struct qv_doc value)
{
    struct order *o = ctx;
    struct qv_doc_iter it;
    struct qv_doc item;
    if (qv_doc_type(value) != QV_DOC_ARRAY) {
        take_value(o, value);
        return true;
    }
    qv_doc_iter_init(&it, value);
    while (qv_doc_next(&it, NULL, &item))
        take_value(o, item);
    return true;
}

static int value_order(const void *a, const void *b)
{
    return compare_values(a, b);
}

static void push_chance(struct order *o, const struct qv_id *id)
{
    const struct entry e = {.value = {.type = QV_ORDER_INT, .i = qv_sample_chance(o->seed, id)},
                            .id = *id};
    push(o, &e);
}

/* The point's values, each once. QV_ENOMEM. */
static int push_values(struct order *o, const struct qv_id *id)
{
    struct entry e = {.id = *id};
    if (o->values.failed)
        return QV_ENOMEM;
    size_t n = o->values.len / sizeof e.value;
    if (n > 1)
        qsort(o->values.data, n, sizeof e.value, value_order);
    struct qv_order_value last = {.type = QV_ORDER_NONE};
    for (size_t i = 0; i < n; i++) {
        memcpy(&e.value, o->values.data + i * sizeof e.value, sizeof e.value);
        if (last.type == QV_ORDER_NONE || compare_values(&last, &e.value) != 0)
            push(o, &e);
        last = e.value;
    }
    return 0;
}

static int visit_point(void *arg, const struct qv_id *id, const struct qv_copy *copy,
                       struct qv_errmsg *msg)
{
    struct order *o = arg;
    (void)msg;
    if (o->by == NULL) {
        push_chance(o, id);
        return 0;
    }
    qv_buf_clear(&o->values);
    int err = qv_read_values(copy, &o->by->path, &o->scratch, visit_value, o);
    return err != 0 ? QV_ENOMEM : push_values(o, id);
}

/* ---- by the index ---- */

/* Takes out of bits those whose values the index tells. */
static int take_indexed(struct order *o, uint32_t n, uint64_t *bits)
{
    struct qv_shard_fields *f = &o->s->fields;
    int err = 0;
    pthread_rwlock_rdlock(&f->lock);
    const struct qv_field_index *x = o->by == NULL ? NULL : qv_shard_fields_find(f, o->index);
    for (uint32_t w = 0; w < (n + 63) / 64 && (x != NULL || o->by == NULL); w++) {
        for (uint64_t left = bits[w]; left != 0 && err == 0; left &= left - 1) {
            const qv_slot slot = w * 64 + (uint32_t)__builtin_ctzll(left);
            const struct qv_id id = qv_slot_table_id(&o->s->slots, slot);
            qv_buf_clear(&o->values);
            if (o->by == NULL)
                push_chance(o, &id);
            else if (qv_field_index_values(x, slot, keep_value, o))
                err = push_values(o, &id);
            else
                continue;
            bits[w] &= ~(left & -left);
        }
    }
    pthread_rwlock_unlock(&f->lock);
    return err;
}

#define ASK_EVERY 256u /* points read between two looks at whether to go on */

static int read_rest(struct order *o, const struct qv_live *live, const uint64_t *bits,
                     struct qv_errmsg *msg)
{
    struct qv_arena scratch;
    int err = 0;
    uint32_t done = 0;
    qv_arena_init(&scratch, QV_REQUEST_ARENA_BYTES);
    for (qv_slot slot = 0; slot < live->n && err == 0; slot++) {
        struct qv_present now;
        if (!(bits[slot / 64] >> (slot & 63) & 1))
            continue;
        const struct qv_id id = qv_slot_table_id(&o->s->slots, slot);
        qv_arena_reset(&scratch);
        if (done++ % ASK_EVERY == 0)
            err = qv_stop_ask(live->stop, msg);
        if (err == 0)
            err = qv_read_copy(o->s, &scratch, &id, &now, msg);
        if (err == 0 && now.found)
            err = visit_point(o, &id, &now.copy, msg);
    }
    qv_arena_close(&scratch);
    return err;
}

static uint64_t count_bits(const uint64_t *bits, uint32_t n)
{
    uint64_t total = 0;
    for (uint32_t w = 0; w < (n + 63) / 64; w++)
        total += (uint64_t)__builtin_popcountll(bits[w]);
    return total;
}

/* ---- requests ---- */

/* What the key's index holds; NONE: it keeps no order. */
static enum qv_order_type index_type(struct qv_shard *s, struct qv_str key, uint32_t *number)
{
    const struct qv_payload_index *index = qv_read_index(s, key);
    if (index == NULL)
        return QV_ORDER_NONE;
    *number = index->number;
    if (qv_str_equal(index->type, qv_str_of("integer")))
        return qv_read_index_has(index, "range") ? QV_ORDER_INT : QV_ORDER_NONE;
    if (qv_str_equal(index->type, qv_str_of("float")))
        return QV_ORDER_FLOAT;
    return qv_str_equal(index->type, qv_str_of("datetime")) ? QV_ORDER_DATETIME : QV_ORDER_NONE;
}

static int no_index(struct qv_str key, struct qv_errmsg *msg)
{
    return qv_fail(msg, QV_EINVAL,
                   "No range index for `order_by` key: `%.*s`. Please create one to use "
                   "`order_by`: integer, float and datetime indexes support it",
                   (int)(key.n < 200 ? key.n : 200), key.p);
}

struct ask {
    const struct qv_order_by *by; /* NULL: a sample */
    const struct qv_filter *filter;
    const struct qv_stop *stop;
    uint64_t offset, limit;
    bool has_seed; /* of a sample; otherwise a fresh one */
    uint64_t seed;
    const struct qv_payload_select *with_payload;
    const struct qv_vector_select *with_vector;
};

/* *done false: the index tells too little, nothing was decided. */
static int scan_indexed(struct order *o, struct qv_arena *arena, const struct ask *a, bool *done,
                        struct qv_errmsg *msg)
{
    struct qv_live live;
    uint64_t *bits;
    *done = false;
    int err = qv_read_live(o->s, arena, QV_READ_ANY, &live);
    live.stop = a->stop;
    bits = live.all;
    if (err == 0 && a->filter != NULL)
        err = qv_read_bitmap(o->s, arena, a->filter, &live, &bits, msg);
    if (err != 0)
        return err;
    const uint64_t points = count_bits(bits, live.n);
    err = take_indexed(o, live.n, bits);
    *done = count_bits(bits, live.n) <= points / 4;
    if (err == 0 && *done)
        return read_rest(o, &live, bits, msg);
    o->count = 0;
    return err;
}

static int scan(struct order *o, struct qv_arena *arena, const struct ask *a, struct qv_errmsg *msg)
{
    const struct qv_read_each each = {
        .filter = a->filter, .stop = a->stop, .visit = visit_point, .arg = o};
    bool done;
    qv_buf_init(&o->scratch, 0);
    qv_buf_init(&o->values, 0);
    int err = scan_indexed(o, arena, a, &done, msg);
    if (err == 0 && !done)
        err = qv_read_each(o->s, arena, &each, msg);
    qv_buf_close(&o->scratch);
    qv_buf_close(&o->values);
    if (err == 0)
        sort(o);
    return err;
}

/* Entries of points that are (still) there. */
static uint32_t pick(struct order *o, uint64_t offset, struct qv_pick *picks)
{
    struct qv_shard *s = o->s;
    uint32_t n = 0;
    for (uint64_t i = offset; i < o->count; i++) {
        const struct entry *e = &o->heap[i];
        pthread_rwlock_rdlock(&s->lock);
        qv_slot slot = qv_slot_table_find(&s->slots, &e->id);
        bool hidden = slot != QV_SLOT_NONE && qv_shard_hidden(s, slot);
        pthread_rwlock_unlock(&s->lock);
        if (slot == QV_SLOT_NONE || hidden)
            continue;
        picks[n] = (struct qv_pick){.slot = slot,
                                    .id = e->id,
                                    .version = qv_slot_table_version(&s->slots, slot),
                                    .score = 1.0f};
        if (o->by != NULL)
            picks[n].order_value = e->value;
        n++;
    }
    return n;
}

static int run(struct qv_shard *s, struct qv_arena *arena, const struct ask *a,
               struct qv_points_out *out, struct qv_errmsg *msg)
{
    struct order o = {.s = s, .by = a->by, .max = (uint32_t)(a->limit + a->offset)};
    QV_ASSERT(a->limit <= QV_LIMIT_MAX && a->offset <= QV_LIMIT_MAX);
    memset(out, 0, sizeof *out);
    if (a->by != NULL) {
        o.type = index_type(s, a->by->key, &o.index);
        if (o.type == QV_ORDER_NONE)
            return no_index(a->by->key, msg);
    } else {
        o.seed = a->has_seed ? a->seed : qv_hash_mix(qv_env_mono_ns(s->env));
    }
    if (a->limit == 0)
        return 0;
    o.heap = QV_ARENA_ARRAY(arena, struct entry, o.max);
    struct qv_pick *picks = QV_ARENA_ARRAY(arena, struct qv_pick, a->limit);
    if (o.heap == NULL || picks == NULL)
        return QV_ENOMEM;
    int err = scan(&o, arena, a, msg);
    if (err != 0)
        return err;
    const struct qv_read_order order = {.picks = picks,
                                        .n = pick(&o, a->offset, picks),
                                        .with_payload = a->with_payload,
                                        .with_vector = a->with_vector};
    err = qv_read_points(s, arena, &order, out, msg);
    out->more = o.count == o.max;
    return err;
}

int qv_order_scroll(struct qv_shard *s, unsigned reader, struct qv_arena *arena,
                    const struct qv_scroll_req *req, struct qv_scroll_out *out,
                    struct qv_errmsg *msg)
{
    const struct ask a = {.by = req->order_by,
                          .filter = req->filter,
                          .stop = req->opts.stop,
                          .limit = req->limit,
                          .with_payload = &req->with_payload,
                          .with_vector = &req->with_vector};
    memset(out, 0, sizeof *out);
    if (req->has_offset)
        return qv_fail(msg, QV_EINVAL,
                       "Cannot use an `offset` when using `order_by`. Page by "
                       "`order_by.start_from` and a filter that leaves out the ids already seen");
    int err = qv_read_begin(s, reader, msg);
    if (err != 0)
        return err;
    err = run(s, arena, &a, &out->points, msg);
    return qv_read_finish(s, reader, err, msg);
}

int qv_order_query(struct qv_shard *s, struct qv_arena *arena, const struct qv_query *q,
                   struct qv_points_out *out, struct qv_errmsg *msg)
{
    const struct ask a = {.by = q->kind == QV_QUERY_ORDER_BY ? q->order_by : NULL,
                          .filter = q->filter,
                          .stop = q->stop,
                          .offset = q->offset,
                          .limit = q->limit,
                          .has_seed = q->has_seed,
                          .seed = q->seed,
                          .with_payload = &q->with_payload,
                          .with_vector = &q->with_vector};
    return run(s, arena, &a, out, msg);
}
