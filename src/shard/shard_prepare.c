/* From requests to changes, on any thread: everything that does not depend on the present state is
 * checked, converted (normalising and rounding are done here, once) and encoded before the owner
 * sees it. What does depend on it becomes a pattern that the owner fills in at the op's turn. */
#include "shard/prepare.h"

#include "base/qv_assert.h"
#include "core/vector.h"
#include "simd/convert.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PAYLOAD_KEYS_MAX (QV_POINT_PARTS_MAX - QV_VECTORS_PER_POINT_MAX)
#define GROUP_BYTES_MAX                                                                            \
    ((size_t)2 << 20) /* of one log record, unless a single change is larger                       \
                       */

static int part_compare(const void *pa, const void *pb)
{
    const struct qv_part *a = pa;
    const struct qv_part *b = pb;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->kind == QV_PART_VECTOR)
        return a->number < b->number ? -1 : a->number > b->number;
    return qv_str_compare(a->key, b->key);
}

/* ---- vectors ---- */

static int check_finite(const struct qv_vec *v, struct qv_errmsg *msg)
{
    size_t n = (size_t)v->dim * (v->kind == QV_VEC_MULTI ? v->rows : 1);
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(v->values[i]))
            return qv_fail(msg, QV_EINVAL, "Vector element %zu is not a finite number", i);
    }
    return 0;
}

static int check_dense(const struct qv_vector_config *vc, const struct qv_vec *v,
                       struct qv_errmsg *msg)
{
    if (v->kind == QV_VEC_SPARSE || (v->kind == QV_VEC_MULTI) != vc->multivector) {
        if (!vc->multivector && v->kind == QV_VEC_MULTI)
            return qv_fail(msg, QV_EINVAL, "Conversion between multi and regular vectors failed");
        if (v->kind == QV_VEC_SPARSE)
            return qv_fail(msg, QV_EINVAL, "Conversion between sparse and regular vectors failed");
    }
    if (v->dim != vc->size)
        return qv_fail(msg, QV_EINVAL, "Vector dimension error: expected dim: %u, got %u", vc->size,
                       v->dim);
    if (v->kind == QV_VEC_MULTI && (v->rows == 0 || v->rows > QV_MULTI_ROWS_MAX))
        return qv_fail(msg, QV_EINVAL, "Multivector of %u rows: 1 to %u are allowed", v->rows,
                       QV_MULTI_ROWS_MAX);
    return check_finite(v, msg);
}

bool qv_prepare_normalises(const struct qv_vector_config *vc)
{
    return vc->distance == QV_DISTANCE_COSINE && vc->datatype != QV_DTYPE_U8;
}

/* kind, dtype, dim, [rows,] elements: the stored form of core/vector.h, made in one allocation. */
static int store_dense(struct qv_arena *arena, const struct qv_vector_config *vc,
                       const struct qv_vec *v, struct qv_bytes *out)
{
    bool multi = vc->multivector;
    uint32_t rows = v->kind == QV_VEC_MULTI ? v->rows : 1;
    size_t row_bytes = (size_t)v->dim * qv_dtype_bytes(vc->datatype);
    size_t head = multi ? 10 : 6;
    uint8_t *p = qv_arena_alloc(arena, head + rows * row_bytes);
    float *unit = qv_prepare_normalises(vc) ? qv_arena_alloc(arena, (size_t)v->dim * 4) : NULL;
    if (p == NULL || (unit == NULL && qv_prepare_normalises(vc)))
        return QV_ENOMEM;
    p[0] = multi ? QV_VEC_MULTI : QV_VEC_DENSE;
    p[1] = (uint8_t)vc->datatype;
    memcpy(p + 2, &v->dim, 4);
    if (multi)
        memcpy(p + 6, &rows, 4);
    for (uint32_t r = 0; r < rows; r++) {
        const float *row = v->values + (size_t)r * v->dim;
        if (unit != NULL) {
            memcpy(unit, row, (size_t)v->dim * 4);
            qv_simd_normalise_f32(unit, v->dim);
            row = unit;
        }
        qv_simd_from_f32(vc->datatype, row, p + head + r * row_bytes, v->dim);
    }
    *out = (struct qv_bytes){p, head + rows * row_bytes};
    return 0;
}

struct sparse_pair {
    uint32_t index;
    float value;
};

static int pair_compare(const void *a, const void *b)
{
    uint32_t x = ((const struct sparse_pair *)a)->index;
    uint32_t y = ((const struct sparse_pair *)b)->index;
    return x < y ? -1 : x > y;
}

static int store_sparse(struct qv_arena *arena, const struct qv_vec *v, struct qv_bytes *out,
                        struct qv_errmsg *msg)
{
    if (v->kind != QV_VEC_SPARSE)
        return qv_fail(msg, QV_EINVAL, "Conversion between regular and sparse vectors failed");
    if (v->dim > QV_SPARSE_NNZ_MAX)
        return qv_fail(msg, QV_EINVAL, "Sparse vector of %u values: at most %u are allowed", v->dim,
                       QV_SPARSE_NNZ_MAX);
    int err = check_finite(v, msg);
    if (err != 0)
        return err;
    struct sparse_pair *pairs = QV_ARENA_ARRAY(arena, struct sparse_pair, v->dim);
    uint8_t *p = qv_arena_alloc(arena, 5 + (size_t)8 * v->dim);
    if (pairs == NULL || p == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < v->dim; i++)
        pairs[i] = (struct sparse_pair){v->indices[i], v->values[i]};
    qsort(pairs, v->dim, sizeof *pairs, pair_compare);
    p[0] = QV_VEC_SPARSE;
    memcpy(p + 1, &v->dim, 4);
    for (uint32_t i = 0; i < v->dim; i++) {
        if (i > 0 && pairs[i].index == pairs[i - 1].index)
            return qv_fail(msg, QV_EVALIDATION, "indices: must be unique");
        memcpy(p + 5 + (size_t)4 * i, &pairs[i].index, 4);
        memcpy(p + 5 + (size_t)4 * v->dim + (size_t)4 * i, &pairs[i].value, 4);
    }
    *out = (struct qv_bytes){p, 5 + (size_t)8 * v->dim};
    return 0;
}

static int name_unknown(struct qv_str name, struct qv_errmsg *msg)
{
    return qv_fail(msg, QV_EINVAL, "Not existing vector name error: %.*s",
                   (int)(name.n < 200 ? name.n : 200), name.n == 0 ? "" : name.p);
}

static int vector_part(struct qv_arena *arena, const struct qv_collection_config *config,
                       const struct qv_named_vec *nv, struct qv_part *part, struct qv_errmsg *msg)
{
    memset(part, 0, sizeof *part);
    part->kind = QV_PART_VECTOR;
    part->state = QV_PART_INLINE;
    const struct qv_vector_config *vc = qv_config_vector(config, nv->name);
    if (vc != NULL) {
        struct qv_vec v = nv->vec;
        part->number = vc->number;
        if (vc->multivector && v.kind == QV_VEC_DENSE) { /* one row */
            v.kind = QV_VEC_MULTI;
            v.rows = 1;
        }
        int err = check_dense(vc, &v, msg);
        return err != 0 ? err : store_dense(arena, vc, &v, &part->value);
    }
    const struct qv_sparse_config *sc = qv_config_sparse(config, nv->name);
    if (sc == NULL)
        return name_unknown(nv->name, msg);
    part->number = sc->number;
    return store_sparse(arena, &nv->vec, &part->value, msg);
}

/* ---- payloads ---- */

/* One part per key of the object; null removes the key where remove_null. */
static int payload_parts(struct qv_doc payload, bool remove_null, struct qv_part *parts,
                         uint32_t *count)
{
    struct qv_doc_iter it;
    struct qv_str key;
    struct qv_doc value;
    *count = 0;
    if (payload.p == NULL)
        return 0;
    qv_doc_iter_init(&it, payload);
    while (qv_doc_next(&it, &key, &value)) {
        struct qv_part *part = &parts[(*count)++];
        memset(part, 0, sizeof *part);
        part->kind = QV_PART_PAYLOAD;
        part->key = key;
        if (remove_null && qv_doc_type(value) == QV_DOC_NULL)
            part->state = QV_PART_ABSENT;
        else
            part->value = (struct qv_bytes){value.p, value.n};
    }
    return 0;
}

static uint32_t payload_keys(struct qv_doc payload)
{
    return payload.p == NULL ? 0 : qv_doc_count(payload);
}

static int check_payload(struct qv_doc payload, struct qv_errmsg *msg)
{
    if (payload.p != NULL && payload.n > QV_PAYLOAD_BYTES_MAX)
        return qv_fail(msg, QV_EINVAL, "Payload of %zu bytes: at most %u are allowed", payload.n,
                       QV_PAYLOAD_BYTES_MAX);
    const uint32_t keys = payload_keys(payload);
    if (keys > PAYLOAD_KEYS_MAX)
        return qv_fail(msg, QV_EINVAL, "Payload of %u keys: at most %u are allowed", keys,
                       PAYLOAD_KEYS_MAX);
    return 0;
}

static int point_change(struct qv_arena *arena, const struct qv_collection_config *config,
                        const struct qv_point_in *in, enum qv_change_type type,
                        struct qv_change *out, struct qv_errmsg *msg)
{
    bool with_payload = type == QV_CHANGE_PUT;
    uint32_t keys = with_payload ? payload_keys(in->payload) : 0;
    if (in->vec_count > QV_VECTORS_PER_POINT_MAX)
        return qv_fail(msg, QV_EINVAL, "%u vectors in one point: at most %u are allowed",
                       in->vec_count, QV_VECTORS_PER_POINT_MAX);
    struct qv_part *parts = QV_ARENA_ARRAY(arena, struct qv_part, in->vec_count + keys);
    if (parts == NULL)
        return QV_ENOMEM;
    out->type = (uint8_t)type;
    out->id = in->id;
    out->parts = parts;
    for (uint32_t i = 0; i < in->vec_count; i++) {
        int err = vector_part(arena, config, &in->vecs[i], &parts[i], msg);
        if (err != 0)
            return err;
    }
    int err = with_payload ? check_payload(in->payload, msg) : 0;
    if (err == 0 && with_payload)
        err = payload_parts(in->payload, false, parts + in->vec_count, &keys);
    out->part_count = in->vec_count + keys;
    if (out->part_count > 1)
        qsort(parts, out->part_count, sizeof *parts, part_compare);
    for (uint32_t i = 1; i < out->part_count && err == 0; i++) {
        if (part_compare(&parts[i - 1], &parts[i]) == 0)
            err = qv_fail(msg, QV_EINVAL, "a vector name or payload key occurs twice in a point");
    }
    return err;
}

/* ---- groups ---- */

/* What the earlier change of the same id set and the later one does not goes into the later one. */
static int merge_parts(struct qv_arena *arena, const struct qv_change *earlier,
                       struct qv_change *later)
{
    struct qv_part *parts =
        QV_ARENA_ARRAY(arena, struct qv_part, earlier->part_count + later->part_count);
    uint32_t n = 0;
    uint32_t i = 0;
    uint32_t k = 0;
    if (parts == NULL)
        return QV_ENOMEM;
    while (i < earlier->part_count || k < later->part_count) {
        int c = i == earlier->part_count ? 1
                : k == later->part_count ? -1
                                         : part_compare(&earlier->parts[i], &later->parts[k]);
        parts[n++] = c < 0 ? earlier->parts[i] : later->parts[k];
        i += c <= 0;
        k += c >= 0;
    }
    later->parts = parts;
    later->part_count = n;
    return 0;
}

/* Keeps the last change of every id (an id twice in one request: the later one counts), order kept.
 * A whole-point change replaces what came before it; a SET takes over what it does not set itself.
 * Returns how many are left; negative: no memory. */
static int64_t drop_repeated(struct qv_arena *arena, struct qv_change *changes, uint32_t n)
{
    uint32_t size = 64;
    while (size < n * 2)
        size *= 2;
    uint32_t *table = qv_arena_calloc(arena, size, sizeof *table); /* index + 1 */
    if (table == NULL)
        return -1;
    uint32_t kept = n;
    for (uint32_t i = n; i-- > 0;) { /* from the back: the first met is the last given */
        uint32_t at = (uint32_t)qv_id_key_hash(&changes[i].id) & (size - 1);
        while (table[at] != 0 && !qv_id_equal(&changes[table[at] - 1].id, &changes[i].id))
            at = (at + 1) & (size - 1);
        if (table[at] != 0) {
            struct qv_change *later = &changes[table[at] - 1];
            if (later->type == QV_CHANGE_SET && merge_parts(arena, &changes[i], later) != 0)
                return -1;
            changes[i].type = 0;
            kept--;
        } else {
            table[at] = i + 1;
        }
    }
    if (kept != n) {
        uint32_t out = 0;
        for (uint32_t i = 0; i < n; i++) {
            if (changes[i].type != 0)
                changes[out++] = changes[i];
        }
        QV_ASSERT(out == kept);
    }
    return kept;
}

int qv_prepare_groups(struct qv_write *w, uint32_t op, struct qv_change *changes, uint32_t n)
{
    struct qv_group **tail = &w->prepared[op].groups;
    struct qv_buf buf;
    qv_buf_init(&buf, 0);
    int err = 0;
    int64_t kept = drop_repeated(w->arena, changes, n);
    if (kept < 0)
        return QV_ENOMEM;
    for (uint32_t at = 0; at < (uint32_t)kept && err == 0;) {
        uint32_t first = at;
        qv_buf_clear(&buf);
        while (at < (uint32_t)kept && at - first < QV_CHANGE_IDS_MAX && buf.len < GROUP_BYTES_MAX)
            qv_change_encode(&buf, &changes[at++]);
        struct qv_group *g = QV_ARENA_NEW(w->arena, struct qv_group);
        const uint8_t *bytes = buf.failed ? NULL : qv_arena_dup(w->arena, buf.data, buf.len);
        if (g == NULL || bytes == NULL) {
            err = QV_ENOMEM;
        } else if (buf.len > QV_RECORD_BYTES_MAX) {
            err = qv_fail(&w->msg, QV_ETOOBIG, "a point of %zu bytes: at most %u are allowed",
                          buf.len, QV_RECORD_BYTES_MAX);
        } else {
            g->shard = w->shard;
            g->write = w;
            g->op = op;
            g->changes = changes + first;
            g->count = at - first;
            g->bytes = (struct qv_bytes){bytes, buf.len};
            w->bytes += buf.len;
            *tail = g;
            tail = &g->next;
        }
    }
    qv_buf_close(&buf);
    return err;
}

/* ---- operations ---- */

static size_t changes_bytes(const struct qv_change *changes, uint32_t n)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < changes[i].part_count; k++)
            bytes += changes[i].parts[k].value.n + sizeof changes[i].parts[k];
    }
    return bytes;
}

static int prepare_points(struct qv_write *w, uint32_t op,
                          const struct qv_collection_config *config)
{
    const struct qv_write_op *in = &w->req->ops[op];
    struct qv_prepared *p = &w->prepared[op];
    bool upsert = in->type == QV_WRITE_UPSERT;
    struct qv_change *changes = QV_ARENA_ARRAY(w->arena, struct qv_change, in->point_count);
    if (changes == NULL)
        return QV_ENOMEM;
    if (in->point_count > QV_BATCH_POINTS_MAX)
        return qv_fail(&w->msg, QV_EINVAL, "%u points in one request: at most %u are allowed",
                       in->point_count, QV_BATCH_POINTS_MAX);
    for (uint32_t i = 0; i < in->point_count; i++) {
        int err = point_change(w->arena, config, &in->points[i],
                               upsert ? QV_CHANGE_PUT : QV_CHANGE_SET, &changes[i], &w->msg);
        if (err != 0)
            return err;
    }
    if (upsert && in->update_mode == QV_UPDATE_UPSERT && in->update_filter == NULL)
        return qv_prepare_groups(w, op, changes, in->point_count);
    p->conditional = true;
    p->changes = changes;
    p->change_count = in->point_count;
    w->bytes += changes_bytes(changes, in->point_count); /* held until its turn */
    return 0;
}

static int pattern_payload(struct qv_write *w, uint32_t op, enum qv_change_type type)
{
    const struct qv_write_op *in = &w->req->ops[op];
    struct qv_change *pattern = &w->prepared[op].pattern;
    pattern->type = (uint8_t)type;
    int err = check_payload(in->payload, &w->msg);
    if (err != 0 || in->has_key)
        return err;
    pattern->parts = QV_ARENA_ARRAY(w->arena, struct qv_part, payload_keys(in->payload));
    if (pattern->parts == NULL)
        return QV_ENOMEM;
    err = payload_parts(in->payload, type == QV_CHANGE_SET, pattern->parts, &pattern->part_count);
    if (pattern->part_count > 1)
        qsort(pattern->parts, pattern->part_count, sizeof *pattern->parts, part_compare);
    return err;
}

static int pattern_absent_vectors(struct qv_write *w, uint32_t op,
                                  const struct qv_collection_config *config)
{
    const struct qv_write_op *in = &w->req->ops[op];
    struct qv_change *pattern = &w->prepared[op].pattern;
    pattern->type = QV_CHANGE_SET;
    pattern->parts = QV_ARENA_ARRAY(w->arena, struct qv_part, in->name_count);
    if (pattern->parts == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < in->name_count; i++) {
        const struct qv_vector_config *vc = qv_config_vector(config, in->names[i]);
        const struct qv_sparse_config *sc = qv_config_sparse(config, in->names[i]);
        if (vc == NULL && sc == NULL)
            return name_unknown(in->names[i], &w->msg);
        pattern->parts[i] = (struct qv_part){.kind = QV_PART_VECTOR,
                                             .state = QV_PART_ABSENT,
                                             .number = vc != NULL ? vc->number : sc->number};
    }
    qsort(pattern->parts, in->name_count, sizeof *pattern->parts, part_compare);
    uint32_t out = 0;
    for (uint32_t i = 0; i < in->name_count; i++) {
        if (i == 0 || part_compare(&pattern->parts[i], &pattern->parts[out - 1]) != 0)
            pattern->parts[out++] = pattern->parts[i];
    }
    pattern->part_count = out;
    return 0;
}

static int prepare_delete(struct qv_write *w, uint32_t op)
{
    const struct qv_write_op *in = &w->req->ops[op];
    if (in->select.filter != NULL) {
        w->prepared[op].conditional = true;
        w->prepared[op].pattern.type = QV_CHANGE_DELETE;
        return 0;
    }
    struct qv_change *changes = QV_ARENA_ARRAY(w->arena, struct qv_change, in->select.id_count);
    if (changes == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < in->select.id_count; i++) {
        changes[i].type = QV_CHANGE_DELETE;
        changes[i].id = in->select.ids[i];
    }
    return qv_prepare_groups(w, op, changes, in->select.id_count);
}

static int prepare_op(struct qv_write *w, uint32_t op, const struct qv_collection_config *config)
{
    const struct qv_write_op *in = &w->req->ops[op];
    struct qv_prepared *p = &w->prepared[op];
    int err = 0;
    switch (in->type) {
    case QV_WRITE_UPSERT:
    case QV_WRITE_UPDATE_VECTORS:
        return prepare_points(w, op, config);
    case QV_WRITE_DELETE:
        err = prepare_delete(w, op);
        break;
    case QV_WRITE_DELETE_VECTORS:
        err = pattern_absent_vectors(w, op, config);
        p->conditional = true;
        break;
    case QV_WRITE_SET_PAYLOAD:
        err = pattern_payload(w, op, QV_CHANGE_SET);
        p->conditional = true;
        break;
    case QV_WRITE_OVERWRITE_PAYLOAD:
        err = pattern_payload(w, op, QV_CHANGE_REPLACE);
        p->conditional = true;
        break;
    case QV_WRITE_DELETE_PAYLOAD:
        p->pattern.type = QV_CHANGE_SET;
        p->conditional = true;
        break;
    case QV_WRITE_CLEAR_PAYLOAD:
        p->pattern.type = QV_CHANGE_CLEAR;
        p->conditional = true;
        break;
    }
    p->ids = in->select.ids;
    p->id_count = in->select.id_count;
    p->has_ids = in->select.filter == NULL;
    return err;
}

static int prepare(struct qv_write *w, const struct qv_collection_config *config)
{
    w->results = QV_ARENA_ARRAY(w->arena, struct qv_write_result, w->req->op_count);
    w->prepared = QV_ARENA_ARRAY(w->arena, struct qv_prepared, w->req->op_count);
    w->config = config;
    w->next_op = 0;
    w->groups_open = 0;
    w->begun = false;
    w->stamped = false;
    w->err = 0;
    w->bytes = 0;
    w->next = NULL;
    if (w->results == NULL || w->prepared == NULL)
        return QV_ENOMEM;
    for (uint32_t op = 0; op < w->req->op_count; op++) {
        int err = prepare_op(w, op, config);
        if (err != 0) {
            w->failed_op = op;
            if (err == QV_ENOMEM)
                return qv_fail(&w->msg, QV_ETOOBIG, "the request needs too much memory");
            return err;
        }
    }
    return 0;
}

int qv_write_prepare(struct qv_write *w)
{
    return prepare(w, atomic_load(&w->shard->config));
}

int qv_write_check(const struct qv_collection_config *config, const struct qv_write_req *req,
                   struct qv_arena *arena, uint32_t *failed_op, struct qv_errmsg *msg)
{
    struct qv_write w = {.req = req, .arena = arena};
    int err = prepare(&w, config);
    *failed_op = w.failed_op;
    *msg = w.msg;
    return err;
}

/* ---- at the op's turn: present state known (owner) ---- */

/* The top-level part that a change below it leaves: its new value, or absent. */
static int edited_part(struct qv_arena *arena, const struct qv_copy *have,
                       const struct qv_path *path, const struct qv_doc *set, struct qv_part *out)
{
    struct qv_str top = path->steps[0].key;
    const struct qv_part *now = qv_copy_find(have, QV_PART_PAYLOAD, 0, top);
    struct qv_buf root;
    struct qv_buf edited;
    struct qv_doc value;
    qv_buf_init(&root, 0);
    qv_buf_init(&edited, 0);
    size_t mark = qv_doc_begin_object(&root);
    if (now != NULL) {
        qv_doc_put_key(&root, top.p, top.n);
        qv_doc_put_doc(&root, (struct qv_doc){now->value.p, now->value.n});
    }
    qv_doc_end_object(&root, mark, now != NULL);
    struct qv_doc doc = {root.data, root.len};
    int err = root.failed   ? QV_ENOMEM
              : set != NULL ? qv_path_set(doc, path, *set, &edited)
                            : qv_path_remove(doc, path, &edited);
    *out = (struct qv_part){.kind = QV_PART_PAYLOAD, .state = QV_PART_ABSENT, .key = top};
    if (err == 0 && edited.failed)
        err = QV_ENOMEM;
    if (err == 0 && qv_doc_find((struct qv_doc){edited.data, edited.len}, top, &value)) {
        out->state = QV_PART_INLINE;
        out->value = (struct qv_bytes){qv_arena_dup(arena, value.p, value.n), value.n};
        err = out->value.p == NULL ? QV_ENOMEM : 0;
    }
    qv_buf_close(&root);
    qv_buf_close(&edited);
    return err;
}

/* SET_PAYLOAD with a key, DELETE_PAYLOAD: what the paths make of the point as it is. Paths below
 * one top-level key are applied one after the other. */
static int edit_payload(struct qv_shard *s, struct qv_write *w, const struct qv_write_op *in,
                        struct qv_change *c)
{
    struct qv_copy have = {0};
    bool found;
    const struct qv_path *paths = in->has_key ? &in->key : in->keys;
    uint32_t n = in->has_key ? 1 : in->key_count;
    int err = qv_shard_load_copy(s, w->arena, &c->id, &have, &found, &w->msg);
    if (err != 0)
        return err;
    c->parts = QV_ARENA_ARRAY(w->arena, struct qv_part, n);
    if (c->parts == NULL)
        return QV_ENOMEM;
    c->part_count = 0;
    for (uint32_t i = 0; i < n && err == 0; i++) {
        struct qv_part part;
        struct qv_copy joined;
        if (paths[i].steps[0].kind != QV_STEP_KEY)
            continue;
        err = edited_part(w->arena, &have, &paths[i], in->has_key ? &in->payload : NULL, &part);
        if (err != 0)
            break;
        uint32_t at = 0;
        while (at < c->part_count && !qv_str_equal(c->parts[at].key, part.key))
            at++;
        c->parts[at] = part;
        c->part_count += at == c->part_count;
        /* the next path sees this one's effect */
        struct qv_change step = {.type = QV_CHANGE_SET, .id = c->id, .part_count = 1};
        struct qv_copy effect;
        step.parts = qv_arena_dup(w->arena, &part, sizeof part);
        if (step.parts == NULL)
            return QV_ENOMEM;
        struct qv_version later = qv_copy_newest(&have);
        later.clock++;
        qv_copy_of_change(&step, later, &effect);
        err = qv_copy_join(w->arena, &have, &effect, &joined);
        have = joined;
    }
    qsort(c->parts, c->part_count, sizeof *c->parts, part_compare);
    return err;
}

static int missing_point(const struct qv_id *id, struct qv_errmsg *msg)
{
    char text[QV_ID_TEXT_MAX];
    qv_id_format(id, text);
    return qv_fail(msg, QV_ENOTFOUND, "No point with id %s found", text);
}

static bool sets_payload(const struct qv_change *c)
{
    for (uint32_t i = 0; i < c->part_count; i++) {
        if (c->parts[i].kind == QV_PART_PAYLOAD && c->parts[i].state == QV_PART_INLINE)
            return c->type == QV_CHANGE_SET;
    }
    return false;
}

static size_t part_bytes(const struct qv_part *part)
{
    return part->kind == QV_PART_PAYLOAD ? part->key.n + part->value.n : 0;
}

/* A set adds to what is there: the whole may not outgrow what one put may hold, or a point grows
 * by small steps beyond what a checkpoint and an answer can hold. */
static int check_growth(struct qv_shard *s, struct qv_write *w, const struct qv_change *c)
{
    struct qv_copy have = {0};
    struct qv_arena arena;
    bool found;
    size_t bytes = 0;
    uint32_t parts = c->part_count;
    if (!sets_payload(c))
        return 0;
    for (uint32_t i = 0; i < c->part_count; i++)
        bytes += part_bytes(&c->parts[i]);
    qv_arena_init(&arena, QV_REQUEST_ARENA_BYTES);
    int err = qv_shard_load_copy(s, &arena, &c->id, &have, &found, &w->msg);
    for (uint32_t i = 0, k = 0; err == 0 && i < have.part_count; i++) {
        while (k < c->part_count && qv_part_compare(&c->parts[k], &have.parts[i]) < 0)
            k++;
        if (k < c->part_count && qv_part_compare(&c->parts[k], &have.parts[i]) == 0)
            continue; /* replaced */
        bytes += part_bytes(&have.parts[i]);
        parts++;
    }
    qv_arena_close(&arena);
    if (err == 0 && (bytes > QV_PAYLOAD_BYTES_MAX || parts > QV_POINT_PARTS_MAX))
        err = qv_fail(&w->msg, QV_EINVAL,
                      "Payload of %u keys and %zu bytes: at most %u and %u are allowed", parts,
                      bytes, PAYLOAD_KEYS_MAX, QV_PAYLOAD_BYTES_MAX);
    return err;
}

int qv_prepare_resolve(struct qv_shard *s, struct qv_write *w, uint32_t op)
{
    const struct qv_write_op *in = &w->req->ops[op];
    struct qv_prepared *p = &w->prepared[op];
    bool given = p->changes != NULL;
    if (given)
        qv_condition_keep(s, in, p);
    uint32_t n = given ? p->change_count : p->id_count;
    struct qv_change *changes = given ? p->changes : QV_ARENA_ARRAY(w->arena, struct qv_change, n);
    if (changes == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < n; i++) {
        if (!given) {
            changes[i] = p->pattern;
            changes[i].id = p->ids[i];
        }
        if (in->type != QV_WRITE_UPSERT &&
            qv_slot_table_find(&s->slots, &changes[i].id) == QV_SLOT_NONE)
            return missing_point(&changes[i].id, &w->msg);
        if (in->type == QV_WRITE_DELETE_PAYLOAD || in->has_key) {
            int err = edit_payload(s, w, in, &changes[i]);
            if (err != 0)
                return err;
        }
        int err = check_growth(s, w, &changes[i]);
        if (err != 0)
            return err;
    }
    return qv_prepare_groups(w, op, changes, n);
}
