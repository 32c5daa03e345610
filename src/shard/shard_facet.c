/* Facets: how many points hold each value of a key. From the index's dictionary where it knows all
 * points that are asked about (not of UUIDs, which it holds as they were written); otherwise, as
 * exactly, by one scan or more, in bounded memory:
 * the values of a pass are those whose hash lies in a range, at first all of them. When they become
 * too many, the upper half of the range is put off to a later pass, and what is known of it is
 * forgotten. Most fields need one pass; 10 million different values about 40. */
#include "shard/read.h"

#include "base/hash.h"
#include "base/qv_assert.h"
#include "core/limits.h"

#include <stdlib.h>
#include <string.h>

#define FACET_VALUES_MAX (1u << 18)        /* of one pass */
#define FACET_BYTES_MAX ((size_t)48 << 20) /* of their text */
#define FACET_TABLE (2 * FACET_VALUES_MAX) /* power of two */
#define FACET_TABLE_FIRST 1024u            /* most fields need no more of it */
#define PASSES_MAX 4096u                   /* a field of a billion values: not by this way */

enum facet_type { FACET_NONE, FACET_STRING, FACET_INT, FACET_BOOL, FACET_UUID };

struct value {
    struct qv_doc doc;
    uint64_t hash;
    uint64_t count;
    uint64_t seen_in; /* the last point that held it: each counts once */
};

struct facet {
    const struct qv_facet_req *req;
    enum facet_type type;
    uint32_t index;     /* its number */
    uint64_t low, high; /* hashes of this pass, both included */
    struct value *values;
    uint32_t *table;     /* index + 1, by hash; FACET_TABLE of them */
    uint32_t table_used; /* a power of two */
    uint32_t count;
    uint64_t point;
    struct qv_arena bytes, spare; /* of the values; where they go when half of them are dropped */
    struct qv_buf scratch, text;
    int err;
};

/* ---- the values of a pass ---- */

static uint32_t *place(struct facet *f, uint64_t hash, struct qv_doc d)
{
    uint32_t at = (uint32_t)hash & (f->table_used - 1);
    for (; f->table[at] != 0; at = (at + 1) & (f->table_used - 1)) {
        const struct value *v = &f->values[f->table[at] - 1];
        if (v->hash == hash && v->doc.n == d.n && memcmp(v->doc.p, d.p, d.n) == 0)
            break;
    }
    return &f->table[at];
}

static void use_table(struct facet *f, uint32_t n)
{
    QV_ASSERT(n <= FACET_TABLE);
    f->table_used = n;
    memset(f->table, 0, n * sizeof *f->table);
    for (uint32_t i = 0; i < f->count; i++)
        *place(f, f->values[i].hash, f->values[i].doc) = i + 1;
}

/* Puts off the upper half of the range. Nothing of it may be known; QV_ETOOBIG when the range has
 * no half. */
static int halve(struct facet *f)
{
    uint32_t kept = 0;
    if (f->low == f->high)
        return QV_ETOOBIG;
    f->high = f->low + (f->high - f->low) / 2;
    memset(f->table, 0, f->table_used * sizeof *f->table);
    qv_arena_reset(&f->spare);
    for (uint32_t i = 0; i < f->count; i++) {
        struct value v = f->values[i];
        if (v.hash > f->high)
            continue;
        v.doc.p = qv_arena_dup(&f->spare, v.doc.p, v.doc.n);
        if (v.doc.p == NULL)
            return QV_ENOMEM;
        *place(f, v.hash, v.doc) = kept + 1;
        f->values[kept++] = v;
    }
    f->count = kept;
    struct qv_arena a = f->bytes;
    f->bytes = f->spare;
    f->spare = a;
    qv_arena_reset(&f->spare);
    return 0;
}

static int add(struct facet *f, struct qv_doc d)
{
    uint64_t hash = qv_hash_64(d.p, d.n);
    while (hash >= f->low && hash <= f->high) {
        uint32_t *at = place(f, hash, d);
        if (*at != 0) {
            struct value *v = &f->values[*at - 1];
            v->count += v->seen_in != f->point;
            v->seen_in = f->point;
            return 0;
        }
        const uint8_t *p = f->count < FACET_VALUES_MAX ? qv_arena_dup(&f->bytes, d.p, d.n) : NULL;
        if (p != NULL) {
            f->values[f->count] = (struct value){{p, d.n}, hash, 1, f->point};
            *at = ++f->count;
            if (f->count > f->table_used / 2)
                use_table(f, 2 * f->table_used);
            return 0;
        }
        int err = halve(f);
        if (err != 0)
            return err;
    }
    return 0; /* of another pass */
}

/* ---- points ---- */

static void take_value(struct facet *f, struct qv_doc d)
{
    enum qv_doc_type t = qv_doc_type(d);
    struct qv_id uuid;
    char text[QV_ID_TEXT_MAX];
    bool fits = f->type == FACET_STRING ? t == QV_DOC_STRING
                : f->type == FACET_INT  ? t == QV_DOC_INT
                : f->type == FACET_BOOL ? t == QV_DOC_TRUE || t == QV_DOC_FALSE
                                        : false;
    if (f->type == FACET_UUID && t == QV_DOC_STRING &&
        qv_id_parse_uuid(qv_doc_str(d).p, qv_doc_str(d).n, &uuid) == 0) {
        size_t n = qv_id_format(&uuid, text);
        qv_buf_clear(&f->text);
        qv_doc_put_str(&f->text, text, n);
        d = (struct qv_doc){f->text.data, f->text.len};
        fits = !f->text.failed;
    }
    if (fits && f->err == 0)
        f->err = add(f, d);
}

static bool visit_value(void *ctx, struct qv_doc value)
{
    struct facet *f = ctx;
    struct qv_doc_iter it;
    struct qv_doc item;
    if (qv_doc_type(value) != QV_DOC_ARRAY) {
        take_value(f, value);
        return f->err == 0;
    }
    qv_doc_iter_init(&it, value);
    while (f->err == 0 && qv_doc_next(&it, NULL, &item))
        take_value(f, item);
    return f->err == 0;
}

static int visit_point(void *arg, const struct qv_id *id, const struct qv_copy *copy,
                       struct qv_errmsg *msg)
{
    struct facet *f = arg;
    (void)id;
    (void)msg;
    f->point++;
    int err = qv_read_values(copy, &f->req->path, &f->scratch, visit_value, f);
    return err != 0 ? err : f->err;
}

/* ---- the result ---- */

static int compare_docs(struct qv_doc a, struct qv_doc b)
{
    if (qv_doc_type(a) == QV_DOC_STRING)
        return qv_str_compare(qv_doc_str(a), qv_doc_str(b));
    if (qv_doc_type(a) == QV_DOC_INT)
        return (qv_doc_int(a) > qv_doc_int(b)) - (qv_doc_int(a) < qv_doc_int(b));
    return (int)qv_doc_bool(a) - (int)qv_doc_bool(b);
}

/* Most frequent first; equal counts by value. */
static int hit_order(const void *pa, const void *pb)
{
    const struct qv_facet_hit *a = pa;
    const struct qv_facet_hit *b = pb;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return compare_docs(a->value, b->value);
}

/* The best of what is there already and the values of this pass. */
static int merge(struct facet *f, struct qv_arena *arena, struct qv_facet_out *out)
{
    uint32_t n = out->count;
    uint32_t limit = (uint32_t)f->req->limit;
    struct qv_facet_hit *all = qv_arena_calloc(&f->spare, n + f->count, sizeof *all);
    if (all == NULL)
        return QV_ENOMEM;
    if (n > 0)
        memcpy(all, out->hits, n * sizeof *all);
    for (uint32_t i = 0; i < f->count; i++)
        all[n++] = (struct qv_facet_hit){f->values[i].doc, f->values[i].count};
    if (n > 1)
        qsort(all, n, sizeof *all, hit_order);
    if (n > limit)
        n = limit;
    out->hits = qv_arena_dup(arena, all, n * sizeof *all);
    out->count = n;
    if (out->hits == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < n; i++) {
        struct qv_doc *d = &out->hits[i].value;
        d->p = qv_arena_dup(arena, d->p, d->n);
        if (d->p == NULL)
            return QV_ENOMEM;
    }
    return 0;
}

static int run_passes(struct qv_shard *s, struct facet *f, struct qv_arena *arena,
                      struct qv_facet_out *out, struct qv_errmsg *msg)
{
    const struct qv_read_each each = {
        .filter = f->req->filter, .stop = f->req->opts.stop, .visit = visit_point, .arg = f};
    for (unsigned pass = 0; pass < PASSES_MAX; pass++) {
        f->high = UINT64_MAX;
        f->count = 0;
        use_table(f, FACET_TABLE_FIRST);
        qv_arena_reset(&f->bytes);
        qv_arena_reset(&f->spare);
        int err = qv_read_each(s, arena, &each, msg);
        if (err == 0)
            err = merge(f, arena, out);
        if (err != 0 || f->high == UINT64_MAX)
            return err;
        f->low = f->high + 1;
    }
    return qv_fail(msg, QV_ETOOBIG, "`%.*s` has too many different values for a facet",
                   (int)(f->req->key.n < 200 ? f->req->key.n : 200), f->req->key.p);
}

/* ---- from the index ---- */

/* The best so far, and those that came since: when it is full, what is not among the best goes. */
struct best {
    struct qv_facet_hit *hits;
    uint32_t count, cap, limit;
};

static void keep_best(struct best *b)
{
    if (b->count > 1)
        qsort(b->hits, b->count, sizeof *b->hits, hit_order);
    if (b->count > b->limit)
        b->count = b->limit;
}

static void take_count(void *ctx, struct qv_doc value, uint32_t count)
{
    struct best *b = ctx;
    if (b->count == b->cap)
        keep_best(b);
    b->hits[b->count++] = (struct qv_facet_hit){value, count};
}

/* Under the indexes' lock: values are theirs until they are copied here. */
static int count_values(struct qv_shard *s, const struct facet *f, struct qv_arena *arena,
                        struct qv_field_counting *c, bool *done)
{
    struct best *b = c->ctx;
    const struct qv_field_index *x = qv_shard_fields_find(&s->fields, f->index);
    if (x == NULL)
        return 0;
    int err = qv_field_index_count(x, c, done);
    keep_best(b);
    for (uint32_t i = 0; i < b->count && err == 0 && *done; i++) {
        struct qv_doc *d = &b->hits[i].value;
        d->p = qv_arena_dup(arena, d->p, d->n);
        err = d->p == NULL ? QV_ENOMEM : 0;
    }
    return err;
}

/* *done false: the index can't tell. */
static int by_index(struct qv_shard *s, const struct facet *f, struct qv_arena *arena,
                    struct qv_facet_out *out, bool *done, struct qv_errmsg *msg)
{
    struct best b = {.limit = (uint32_t)f->req->limit, .cap = 2 * (uint32_t)f->req->limit + 64};
    struct qv_field_counting c = {.f = take_count, .ctx = &b};
    struct qv_live live;
    uint64_t *bits;
    *done = false;
    int err = qv_read_live(s, arena, QV_READ_ANY, &live);
    live.stop = f->req->opts.stop;
    bits = live.all;
    if (err == 0 && f->req->filter != NULL)
        err = qv_read_bitmap(s, arena, f->req->filter, &live, &bits, msg);
    b.hits = err == 0 ? QV_ARENA_ARRAY(arena, struct qv_facet_hit, b.cap) : NULL;
    if (b.hits == NULL)
        return err != 0 ? err : QV_ENOMEM;
    c.n = live.n;
    c.bits = bits;
    pthread_rwlock_rdlock(&s->fields.lock);
    err = count_values(s, f, arena, &c, done);
    pthread_rwlock_unlock(&s->fields.lock);
    if (*done)
        *out = (struct qv_facet_out){b.hits, b.count};
    return err;
}

static int run(struct qv_shard *s, struct facet *f, struct qv_arena *arena,
               struct qv_facet_out *out, struct qv_errmsg *msg)
{
    f->values = qv_arena_alloc(arena, FACET_VALUES_MAX * sizeof *f->values);
    f->table = qv_arena_alloc(arena, FACET_TABLE * sizeof *f->table);
    if (f->values == NULL || f->table == NULL)
        return QV_ENOMEM;
    qv_arena_init(&f->bytes, FACET_BYTES_MAX);
    qv_arena_init(&f->spare, FACET_BYTES_MAX);
    qv_buf_init(&f->scratch, 0);
    qv_buf_init(&f->text, 0);
    int err = run_passes(s, f, arena, out, msg);
    qv_arena_close(&f->bytes);
    qv_arena_close(&f->spare);
    qv_buf_close(&f->scratch);
    qv_buf_close(&f->text);
    return err;
}

static enum facet_type index_type(struct qv_shard *s, struct qv_str key, uint32_t *number)
{
    const struct qv_payload_index *index = qv_read_index(s, key);
    if (index == NULL)
        return FACET_NONE;
    *number = index->number;
    if (qv_str_equal(index->type, qv_str_of("keyword")))
        return FACET_STRING;
    if (qv_str_equal(index->type, qv_str_of("integer")))
        return qv_read_index_has(index, "lookup") ? FACET_INT : FACET_NONE;
    if (qv_str_equal(index->type, qv_str_of("bool")))
        return FACET_BOOL;
    return qv_str_equal(index->type, qv_str_of("uuid")) ? FACET_UUID : FACET_NONE;
}

int qv_shard_facet(struct qv_shard *s, unsigned reader, struct qv_arena *arena,
                   const struct qv_facet_req *req, struct qv_facet_out *out, struct qv_errmsg *msg)
{
    struct facet f = {.req = req};
    bool done = false;
    f.type = index_type(s, req->key, &f.index);
    QV_ASSERT(req->limit >= 1 && req->limit <= QV_LIMIT_MAX);
    memset(out, 0, sizeof *out);
    if (f.type == FACET_NONE)
        return qv_fail(msg, QV_EINVAL,
                       "No appropriate index for faceting: `%.*s`. Please create one to facet on "
                       "this field: keyword, integer, bool and uuid indexes support it",
                       (int)(req->key.n < 200 ? req->key.n : 200), req->key.p);
    int err = qv_read_begin(s, reader, msg);
    if (err != 0)
        return err;
    if (f.type != FACET_UUID)
        err = by_index(s, &f, arena, out, &done, msg);
    if (err == 0 && !done)
        err = run(s, &f, arena, out, msg);
    return qv_read_finish(s, reader, err, msg);
}
