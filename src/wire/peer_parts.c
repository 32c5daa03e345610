/* Ids, vectors, paths, selectors, orders, covers, documents in messages between nodes. */
#include "wire/peer_codec_private.h"

#include "base/qv_assert.h"
#include "core/limits.h"
#include "wire/pb_parts.h"

#include <stdalign.h>

QV_STATIC_ASSERT(sizeof(struct qv_interval) == 16, "intervals travel as they lie");

#define TEXT_BYTES_MAX QV_REQUEST_BYTES_DEFAULT

/* ---- ids ---- */

void qv_peer_put_id(struct qv_peer_out *o, uint32_t number, const struct qv_id *id)
{
    uint8_t bytes[QV_ID_BYTES_MAX];
    if (id->type != 0)
        qv_pb_put_bytes(o->b, number, bytes, qv_id_encode(id, bytes));
}

void qv_peer_put_ids(struct qv_peer_out *o, uint32_t number, const struct qv_id *ids, size_t n)
{
    if (n == 0)
        return;
    const size_t mark = qv_peer_begin(o, number);
    for (size_t i = 0; i < n; i++) {
        uint8_t bytes[QV_ID_BYTES_MAX];
        qv_pb_put_raw(o->b, bytes, qv_id_encode(&ids[i], bytes));
    }
    qv_peer_end(o, mark);
}

struct qv_id qv_peer_id(struct qv_peer_in *m)
{
    const struct qv_bytes v = qv_peer_bytes(m);
    struct qv_id id = {0};
    size_t used = 0;
    if (qv_id_decode(v.p, v.n, &id, &used) != 0 || used != v.n)
        qv_peer_fail(m, "not an id");
    return id;
}

void qv_peer_ids(struct qv_peer_in *m, uint32_t max, const struct qv_id **out, uint32_t *count)
{
    const struct qv_bytes v = qv_peer_bytes(m);
    const size_t most = v.n / 9;
    struct qv_id *ids = QV_PEER_ARRAY(m->c, struct qv_id, most);
    size_t at = 0;
    uint32_t n = 0;
    *out = NULL;
    *count = 0;
    while (m->c->err == 0 && at < v.n) {
        size_t used;
        if (n == most || qv_id_decode(v.p + at, v.n - at, &ids[n], &used) != 0)
            qv_peer_fail(m, "not ids");
        else if (++n > max)
            qv_peer_fail(m, "too many ids");
        else
            at += used;
    }
    if (m->c->err != 0)
        return;
    *out = ids;
    *count = n;
}

/* ---- vectors ---- */

/* A field of n bytes that begin at a multiple of four of the message. */
static void put_aligned(struct qv_peer_out *o, uint32_t number, const void *p, size_t n)
{
    size_t head = 2; /* tag and length */
    if (n == 0)
        return;
    for (size_t v = n >> 7; v != 0; v >>= 7)
        head++;
    const size_t at = o->b->len - o->base + head;
    if (at % 4 != 0) /* the pad's tag and length, and 0 .. 3 bytes */
        qv_pb_put_bytes(o->b, 6, "\0\0\0", (8 - (at + 2) % 4) % 4);
    qv_pb_put_bytes(o->b, number, p, n);
}

static size_t values_of(const struct qv_vec *v)
{
    return (size_t)v->dim * (v->kind == QV_VEC_MULTI ? v->rows : 1);
}

void qv_peer_put_vec(struct qv_peer_out *o, uint32_t number, const struct qv_vec *v)
{
    const size_t mark = qv_peer_begin(o, number);
    qv_peer_put_u64(o, 1, (uint64_t)v->kind);
    qv_peer_put_u64(o, 2, v->dim);
    if (v->kind == QV_VEC_MULTI)
        qv_peer_put_u64(o, 3, v->rows);
    if (v->kind == QV_VEC_SPARSE)
        put_aligned(o, 4, v->indices, (size_t)v->dim * sizeof *v->indices);
    put_aligned(o, 5, v->values, values_of(v) * sizeof *v->values);
    qv_peer_end(o, mark);
}

/* Words of four bytes: where they lie, if they can be used there, else a copy. */
static const void *words(struct qv_peer_in *m, struct qv_bytes v)
{
    if (v.n == 0 || (uintptr_t)v.p % alignof(uint32_t) == 0)
        return v.p;
    const void *copy = qv_arena_dup(m->c->arena, v.p, v.n);
    if (copy == NULL)
        qv_peer_fail_full(m->c);
    return copy;
}

/* The bounds that the decoders of requests leave to the shard are left to it here, too. */
static void check_vec(struct qv_peer_in *m, const struct qv_vec *v, size_t indices, size_t values)
{
    const bool sparse = v->kind == QV_VEC_SPARSE;
    if (v->dim > (sparse ? QV_SPARSE_NNZ_MAX : QV_DIM_MAX))
        qv_peer_fail(m, "the vector has too many elements");
    else if (v->rows > QV_MULTI_ROWS_MAX || v->rows == 0)
        qv_peer_fail(m, "impossible number of rows");
    else if (values != values_of(v) * sizeof(float))
        qv_peer_fail(m, "values and dimension differ");
    else if (indices != (sparse ? values : 0))
        qv_peer_fail(m, "values and indices differ");
}

static void check_indices(struct qv_peer_in *m, const struct qv_vec *v)
{
    for (uint32_t i = 1; v->kind == QV_VEC_SPARSE && i < v->dim; i++) {
        if (v->indices[i] <= v->indices[i - 1]) {
            qv_peer_fail(m, "indices do not ascend");
            return;
        }
    }
}

struct qv_vec qv_peer_vec(struct qv_peer_in *m, bool finite)
{
    struct qv_peer_in in = qv_peer_sub(m, "Vector");
    struct qv_vec v = {.rows = 1};
    struct qv_bytes indices = {NULL, 0};
    struct qv_bytes values = {NULL, 0};
    uint32_t kind = 0;
    while (qv_peer_next(&in)) {
        switch (in.number) {
        case 1:
            kind = qv_peer_u32(&in, UINT32_MAX);
            if (kind > QV_VEC_MULTI)
                qv_peer_fail_newer(&in, "kind of vector", kind);
            break;
        case 2:
            v.dim = qv_peer_u32(&in, UINT32_MAX);
            break;
        case 3:
            v.rows = qv_peer_u32(&in, UINT32_MAX);
            break;
        case 4:
            indices = qv_peer_bytes(&in);
            break;
        case 5:
            values = qv_peer_bytes(&in);
            break;
        default:
            break;
        }
    }
    v.kind = (enum qv_vec_kind)kind;
    v.rows = v.kind == QV_VEC_MULTI ? v.rows : 1;
    check_vec(&in, &v, indices.n, values.n);
    if (in.c->err == 0) {
        v.indices = words(&in, indices);
        v.values = words(&in, values);
    }
    if (in.c->err == 0)
        check_indices(&in, &v);
    if (in.c->err == 0 && finite && !qv_pb_all_finite(v.values, values_of(&v)))
        qv_peer_fail(&in, "a value is not finite");
    return in.c->err == 0 ? v : (struct qv_vec){.rows = 1};
}

void qv_peer_put_named(struct qv_peer_out *o, uint32_t number, const struct qv_named_vec *v)
{
    const size_t mark = qv_peer_begin(o, number);
    qv_peer_put_str(o, 1, v->name);
    qv_peer_put_vec(o, 2, &v->vec);
    qv_peer_end(o, mark);
}

struct qv_named_vec qv_peer_named(struct qv_peer_in *m, bool finite)
{
    struct qv_peer_in in = qv_peer_sub(m, "NamedVector");
    struct qv_named_vec v = {.name = {"", 0}, .vec = {.rows = 1}};
    while (qv_peer_next(&in)) {
        if (in.number == 1)
            v.name = qv_peer_text(&in, TEXT_BYTES_MAX);
        else if (in.number == 2)
            v.vec = qv_peer_vec(&in, finite);
    }
    return v;
}

/* ---- paths: as text; qv_path_parse gives the same path back ---- */

static bool plain_key(struct qv_str key)
{
    for (size_t i = 0; i < key.n; i++) {
        const char c = key.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-' || (unsigned char)c >= 0x80))
            return false;
    }
    return key.n > 0;
}

void qv_peer_put_path(struct qv_peer_out *o, uint32_t number, const struct qv_path *path)
{
    const size_t mark = qv_pb_begin(o->b, number);
    for (uint32_t i = 0; i < path->count; i++) {
        const struct qv_path_step *step = &path->steps[i];
        if (step->kind == QV_STEP_ALL) {
            qv_pb_put_raw(o->b, "[]", 2);
        } else if (step->kind == QV_STEP_INDEX) {
            qv_buf_printf(o->b, "[%u]", step->index);
        } else {
            const bool plain = plain_key(step->key);
            qv_pb_put_raw(o->b, ".\"", i > 0 ? 1 : 0);
            qv_pb_put_raw(o->b, "\"", plain ? 0 : 1);
            if (step->key.n > 0)
                qv_pb_put_raw(o->b, step->key.p, step->key.n);
            qv_pb_put_raw(o->b, "\"", plain ? 0 : 1);
        }
    }
    qv_pb_end(o->b, mark);
}

struct qv_path qv_peer_path(struct qv_peer_in *m, struct qv_str *text)
{
    struct qv_path path = {NULL, 0};
    const struct qv_str s = qv_peer_text(m, TEXT_BYTES_MAX);
    if (text != NULL)
        *text = s;
    if (m->c->err != 0)
        return path;
    const int err = qv_path_parse(m->c->arena, s, &path, NULL);
    if (err == QV_ENOMEM)
        qv_peer_fail_full(m->c);
    else if (err != 0)
        qv_peer_fail(m, "not a path");
    return path;
}

/* ---- selectors ---- */

void qv_peer_put_payload_select(struct qv_peer_out *o, uint32_t number,
                                const struct qv_payload_select *s)
{
    if (s->mode == QV_SELECT_NONE)
        return;
    const size_t mark = qv_peer_begin(o, number);
    qv_peer_put_u64(o, 1, (uint64_t)s->mode);
    for (uint32_t i = 0; i < s->path_count; i++)
        qv_peer_put_path(o, 2, &s->paths[i]);
    qv_peer_end(o, mark);
}

void qv_peer_put_vector_select(struct qv_peer_out *o, uint32_t number,
                               const struct qv_vector_select *s)
{
    if (s->mode == QV_SELECT_NONE)
        return;
    const size_t mark = qv_peer_begin(o, number);
    qv_peer_put_u64(o, 1, (uint64_t)s->mode);
    for (uint32_t i = 0; i < s->name_count; i++)
        qv_pb_put_str(o->b, 2, s->names[i]);
    qv_peer_end(o, mark);
}

static enum qv_select_mode select_mode(struct qv_peer_in *m)
{
    const uint32_t mode = qv_peer_u32(m, UINT32_MAX);
    if (mode > QV_SELECT_EXCLUDE)
        qv_peer_fail_newer(m, "mode of a selector", mode);
    return mode > QV_SELECT_EXCLUDE ? QV_SELECT_NONE : (enum qv_select_mode)mode;
}

struct qv_payload_select qv_peer_payload_select(struct qv_peer_in *m)
{
    struct qv_peer_in in = qv_peer_sub(m, "PayloadSelect");
    struct qv_payload_select s = {.mode = QV_SELECT_NONE};
    struct qv_path *paths = NULL;
    while (qv_peer_next(&in)) {
        if (in.number == 1) {
            s.mode = select_mode(&in);
        } else if (in.number == 2) {
            if (paths == NULL)
                paths = QV_PEER_ARRAY(in.c, struct qv_path,
                                      1 + qv_peer_count(&in, 2, QV_BATCH_POINTS_MAX - 1));
            if (paths != NULL && in.c->err == 0)
                paths[s.path_count++] = qv_peer_path(&in, NULL);
        }
    }
    const bool listed = s.mode == QV_SELECT_INCLUDE || s.mode == QV_SELECT_EXCLUDE;
    s.paths = listed ? paths : NULL;
    s.path_count = listed ? s.path_count : 0;
    return s;
}

struct qv_vector_select qv_peer_vector_select(struct qv_peer_in *m)
{
    struct qv_peer_in in = qv_peer_sub(m, "VectorSelect");
    struct qv_vector_select s = {.mode = QV_SELECT_NONE};
    struct qv_str *names = NULL;
    while (qv_peer_next(&in)) {
        if (in.number == 1) {
            s.mode = select_mode(&in);
            if (s.mode == QV_SELECT_EXCLUDE)
                qv_peer_fail(&in, "vectors can't be excluded");
        } else if (in.number == 2) {
            if (names == NULL)
                names = QV_PEER_ARRAY(in.c, struct qv_str,
                                      1 + qv_peer_count(&in, 2, QV_BATCH_POINTS_MAX - 1));
            if (names != NULL && in.c->err == 0)
                names[s.name_count++] = qv_peer_text(&in, TEXT_BYTES_MAX);
        }
    }
    s.names = s.mode == QV_SELECT_INCLUDE ? names : NULL;
    s.name_count = s.mode == QV_SELECT_INCLUDE ? s.name_count : 0;
    return s;
}

/* ---- orders ---- */

void qv_peer_put_order_value(struct qv_peer_out *o, uint32_t number, const struct qv_order_value *v)
{
    const size_t mark = qv_pb_begin(o->b, number);
    qv_peer_put_u64(o, 1, (uint64_t)v->type);
    if (v->type == QV_ORDER_FLOAT)
        qv_pb_put_f64(o->b, 3, v->f);
    else if (v->type != QV_ORDER_NONE)
        qv_peer_put_sint(o, 2, v->i);
    qv_pb_end(o->b, mark);
}

struct qv_order_value qv_peer_order_value(struct qv_peer_in *m)
{
    struct qv_peer_in in = qv_peer_sub(m, "OrderValue");
    struct qv_order_value v = {.type = QV_ORDER_NONE};
    uint32_t type = 0;
    while (qv_peer_next(&in)) {
        if (in.number == 1) {
            type = qv_peer_u32(&in, UINT32_MAX);
            if (type > QV_ORDER_DATETIME)
                qv_peer_fail_newer(&in, "type of an order", type);
        } else if (in.number == 2) {
            v.i = qv_peer_sint(&in);
        } else if (in.number == 3) {
            v.f = qv_peer_f64(&in);
        }
    }
    v.type = (enum qv_order_type)type;
    return v;
}

void qv_peer_put_order_by(struct qv_peer_out *o, uint32_t number, const struct qv_order_by *by)
{
    const size_t mark = qv_pb_begin(o->b, number);
    qv_pb_put_str(o->b, 1, by->key);
    qv_peer_put_bool(o, 2, by->desc);
    if (by->start_from.type != QV_ORDER_NONE)
        qv_peer_put_order_value(o, 3, &by->start_from);
    qv_pb_end(o->b, mark);
}

const struct qv_order_by *qv_peer_order_by(struct qv_peer_in *m)
{
    struct qv_peer_in in = qv_peer_sub(m, "OrderBy");
    struct qv_order_by *by = QV_PEER_ARRAY(in.c, struct qv_order_by, 1);
    while (by != NULL && qv_peer_next(&in)) {
        if (in.number == 1)
            by->path = qv_peer_path(&in, &by->key);
        else if (in.number == 2)
            by->desc = qv_peer_bool(&in);
        else if (in.number == 3)
            by->start_from = qv_peer_order_value(&in);
    }
    if (by != NULL && by->path.count == 0)
        qv_peer_fail(&in, "an order without a key");
    return by;
}

/* ---- the rest ---- */

void qv_peer_put_cover(struct qv_peer_out *o, uint32_t number, const struct qv_cover *cover)
{
    qv_peer_put_bytes(o, number, cover->list, cover->count * sizeof *cover->list);
}

struct qv_cover qv_peer_cover(struct qv_peer_in *m)
{
    const struct qv_bytes v = qv_peer_bytes(m);
    struct qv_cover cover = {NULL, 0};
    const char *why;
    if (v.n % sizeof *cover.list != 0 || v.n / sizeof *cover.list > QV_COVER_INTERVALS_MAX) {
        qv_peer_fail(m, "not a cover");
        return cover;
    }
    cover.list = qv_arena_dup(m->c->arena, v.n > 0 ? v.p : (const uint8_t *)"", v.n);
    cover.count = (uint32_t)(v.n / sizeof *cover.list);
    if (cover.list == NULL)
        qv_peer_fail_full(m->c);
    else if (!qv_cover_check(&cover, &why))
        qv_peer_fail(m, why);
    return m->c->err == 0 ? cover : (struct qv_cover){NULL, 0};
}

struct qv_doc qv_peer_doc(struct qv_peer_in *m)
{
    const struct qv_bytes v = qv_peer_bytes(m);
    if (v.n == 0)
        return (struct qv_doc){NULL, 0};
    const int err = qv_doc_check(v.p, v.n, NULL);
    if (err == QV_ENOMEM)
        qv_peer_fail_full(m->c);
    else if (err != 0)
        qv_peer_fail(m, "not a document");
    return err == 0 ? (struct qv_doc){v.p, v.n} : (struct qv_doc){NULL, 0};
}

struct qv_doc qv_peer_object(struct qv_peer_in *m)
{
    const struct qv_doc d = qv_peer_doc(m);
    if (d.p != NULL && qv_doc_type(d) != QV_DOC_OBJECT)
        qv_peer_fail(m, "the document is not an object");
    return d;
}

void qv_peer_uuid(struct qv_peer_in *m, uint8_t out[16])
{
    const struct qv_bytes v = qv_peer_bytes(m);
    if (v.n == 16)
        memcpy(out, v.p, 16);
    else
        qv_peer_fail(m, "not a uuid");
}
