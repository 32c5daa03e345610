/* Bodies of changes. */
#include "wire/json_doc.h"
#include "wire/json_parts.h"
#include "wire/json_request.h"

#include "base/qv_assert.h"

/* "points": [ids], "filter": {...}. */
struct selector {
    const struct qv_id *ids;
    uint32_t id_count;
    bool has_ids;
    const struct qv_filter *filter;
};

/* True when the key was the selector's (or one that stands beside it everywhere). */
static bool selector_field(struct qv_json *j, struct qv_str key, struct selector *s)
{
    if (qv_str_is(key, "points")) {
        s->has_ids = !qv_json_null(j);
        s->ids = s->has_ids ? qv_json_ids(j, QV_BATCH_POINTS_MAX, &s->id_count) : NULL;
    } else if (qv_str_is(key, "filter")) {
        s->filter = qv_json_filter(j);
    } else if (qv_str_is(key, "shard_key")) {
        qv_json_refuse(j, QV_NOT_SERVED_SHARD_KEY);
    } else {
        return false;
    }
    return true;
}

/* Ids win where both are given. */
static void selector_end(struct qv_json *j, const struct selector *s, struct qv_point_select *out)
{
    *out = (struct qv_point_select){.ids = s->ids, .id_count = s->id_count};
    if (s->has_ids)
        return;
    out->filter = s->filter;
    if (s->filter == NULL)
        qv_json_fail(j, QV_EBADREQ, "No filter or points provided");
}

/* ---- upsert ---- */

static void read_point(struct qv_json *j, bool with_payload, struct qv_point_in *out)
{
    struct qv_str key;
    bool has_id = false;
    bool has_vector = false;
    *out = (struct qv_point_in){0};
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "id")) {
            out->id = qv_json_id(j);
            has_id = true;
        } else if (qv_str_is(key, "vector") || qv_str_is(key, "vectors")) {
            out->vecs = qv_json_vectors(j, &out->vec_count);
            has_vector = true;
        } else if (with_payload && qv_str_is(key, "payload")) {
            out->payload = (struct qv_doc){NULL, 0};
            if (!qv_json_null(j))
                out->payload = qv_json_doc_object(j, "a map");
        } else {
            qv_json_skip(j);
        }
    }
    if (!has_id || !has_vector)
        qv_json_fail_missing(j, has_id ? "vector" : "id");
}

static void read_points(struct qv_json *j, bool with_payload, struct qv_write_op *out)
{
    struct qv_point_in *points = NULL;
    uint32_t cap = 0;
    uint32_t n = 0;
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        points =
            qv_json_grow(j, points, n, &cap, QV_JSON_LIST(*points, QV_BATCH_POINTS_MAX, "points"));
        if (points == NULL)
            return;
        read_point(j, with_payload, &points[n]);
        n++;
    }
    out->points = points;
    out->point_count = n;
}

/* One name's vectors, a row each. */
struct column {
    struct qv_str name;
    struct qv_vec *vecs;
};

/* The columns of {"batch": {"ids", "vectors", "payloads"}}. */
struct columns {
    const struct qv_id *ids;
    uint32_t id_count;
    bool has_ids;
    bool has_vectors;
    bool has_payloads;
    struct column *items;
    uint32_t count;
    uint32_t cap;
    uint32_t row_count; /* of each column */
    struct qv_doc *payloads;
    uint32_t payload_count;
};

static void check_lengths(struct qv_json *j, const char *what, uint32_t ids, uint32_t others)
{
    if (ids != others)
        qv_json_fail(j, QV_EVALIDATION, "batch: number of ids and %s must be equal (%u != %u)",
                     what, ids, others);
}

static struct qv_vec *read_column(struct qv_json *j, uint32_t *count)
{
    struct qv_vec *vecs = NULL;
    uint32_t cap = 0;
    uint32_t n = 0;
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        vecs = qv_json_grow(j, vecs, n, &cap, QV_JSON_LIST(*vecs, QV_BATCH_POINTS_MAX, "vectors"));
        if (vecs == NULL)
            break;
        vecs[n++] = qv_json_vec(j);
    }
    *count = j->err == 0 ? n : 0;
    return vecs;
}

static void add_column(struct qv_json *j, struct qv_str name, struct columns *c)
{
    uint32_t at = 0;
    uint32_t rows;
    struct qv_vec *vecs = read_column(j, &rows);
    while (at < c->count && !qv_str_equal(c->items[at].name, name))
        at++;
    c->items =
        qv_json_grow(j, c->items, c->count, &c->cap,
                     QV_JSON_LIST(struct column, QV_VECTORS_PER_POINT_MAX, "vectors of one point"));
    if (c->items == NULL)
        return;
    if (c->count != 0 && rows != c->row_count)
        qv_json_fail(j, QV_EVALIDATION,
                     "batch: number of vectors must be equal under all names (%u != %u)",
                     c->row_count, rows);
    c->items[at] = (struct column){name, vecs};
    c->count += at == c->count;
    c->row_count = rows;
}

static void read_batch_vectors(struct qv_json *j, struct columns *c)
{
    struct qv_str name;
    c->count = 0;
    c->has_vectors = true;
    if (qv_json_peek(j) == QV_JSON_ARRAY) {
        add_column(j, (struct qv_str){"", 0}, c);
        return;
    }
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &name)) {
        qv_json_check_name(j, name);
        add_column(j, name, c);
    }
}

static void read_batch_payloads(struct qv_json *j, struct columns *c)
{
    uint32_t cap = 0;
    uint32_t n = 0;
    c->payloads = NULL;
    c->has_payloads = !qv_json_null(j);
    c->payload_count = 0;
    if (!c->has_payloads)
        return;
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        c->payloads = qv_json_grow(j, c->payloads, n, &cap,
                                   QV_JSON_LIST(*c->payloads, QV_BATCH_POINTS_MAX, "payloads"));
        if (c->payloads == NULL)
            return;
        c->payloads[n] = (struct qv_doc){NULL, 0};
        if (!qv_json_null(j))
            c->payloads[n] = qv_json_doc_object(j, "a map");
        n++;
    }
    c->payload_count = n;
}

/* Columns -> points. */
static void transpose(struct qv_json *j, const struct columns *c, struct qv_write_op *out)
{
    if (!c->has_ids || !c->has_vectors)
        qv_json_fail_missing(j, c->has_ids ? "vectors" : "ids");
    if (c->count != 0)
        check_lengths(j, "vectors", c->id_count, c->row_count);
    if (c->has_payloads)
        check_lengths(j, "payloads", c->id_count, c->payload_count);
    if (j->err != 0)
        return;
    struct qv_point_in *points = QV_ARENA_ARRAY(j->arena, struct qv_point_in, c->id_count);
    struct qv_named_vec *vecs =
        QV_ARENA_ARRAY(j->arena, struct qv_named_vec, (size_t)c->id_count * c->count);
    if (points == NULL || vecs == NULL) {
        qv_json_fail_full(j);
        return;
    }
    for (uint32_t i = 0; i < c->id_count; i++) {
        points[i].id = c->ids[i];
        points[i].vecs = vecs + (size_t)i * c->count;
        points[i].vec_count = c->count;
        if (c->has_payloads)
            points[i].payload = c->payloads[i];
        for (uint32_t k = 0; k < c->count; k++)
            vecs[(size_t)i * c->count + k] =
                (struct qv_named_vec){c->items[k].name, c->items[k].vecs[i]};
    }
    out->points = points;
    out->point_count = c->id_count;
}

static void read_batch_columns(struct qv_json *j, struct qv_write_op *out)
{
    struct columns c = {0};
    struct qv_str key;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "ids")) {
            c.ids = qv_json_ids(j, QV_BATCH_POINTS_MAX, &c.id_count);
            c.has_ids = true;
        } else if (qv_str_is(key, "vectors")) {
            read_batch_vectors(j, &c);
        } else if (qv_str_is(key, "payloads")) {
            read_batch_payloads(j, &c);
        } else {
            qv_json_skip(j);
        }
    }
    transpose(j, &c, out);
}

static enum qv_update_mode read_update_mode(struct qv_json *j)
{
    static const char *const words[] = {[QV_UPDATE_UPSERT] = "upsert",
                                        [QV_UPDATE_INSERT_ONLY] = "insert_only",
                                        [QV_UPDATE_UPDATE_ONLY] = "update_only",
                                        NULL};
    return qv_json_null(j) ? QV_UPDATE_UPSERT : (enum qv_update_mode)qv_json_variant(j, words);
}

static void read_upsert(struct qv_json *j, struct qv_write_op *out)
{
    struct qv_str key;
    bool found = false;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "points")) {
            read_points(j, true, out);
            found = true;
        } else if (qv_str_is(key, "batch")) {
            read_batch_columns(j, out);
            found = true;
        } else if (qv_str_is(key, "shard_key")) {
            qv_json_refuse(j, QV_NOT_SERVED_SHARD_KEY);
        } else if (qv_str_is(key, "update_filter")) {
            out->update_filter = qv_json_filter(j);
        } else if (qv_str_is(key, "update_mode")) {
            out->update_mode = read_update_mode(j);
        } else {
            qv_json_skip(j);
        }
    }
    if (!found)
        qv_json_fail_missing(j, "points");
}

static void read_update_vectors(struct qv_json *j, struct qv_write_op *out)
{
    struct qv_str key;
    bool found = false;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "points")) {
            read_points(j, false, out);
            found = true;
        } else if (qv_str_is(key, "shard_key")) {
            qv_json_refuse(j, QV_NOT_SERVED_SHARD_KEY);
        } else if (qv_str_is(key, "update_filter")) {
            out->update_filter = qv_json_filter(j);
        } else {
            qv_json_skip(j);
        }
    }
    if (!found)
        qv_json_fail_missing(j, "points");
    else if (out->point_count == 0)
        qv_json_fail(j, QV_EVALIDATION, "points: Length of list must be at least 1");
}

/* ---- changes of what a selector selects ---- */

static void read_selected(struct qv_json *j, struct qv_write_op *out)
{
    struct selector s = {0};
    struct qv_str key;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (!selector_field(j, key, &s))
            qv_json_skip(j);
    }
    if (j->err == 0 && !s.has_ids && s.filter == NULL)
        qv_json_fail_at(j, j->p - 1,
                        "data did not match any variant of untagged enum PointsSelector");
    selector_end(j, &s, &out->select);
}

static void read_delete_vectors(struct qv_json *j, struct qv_write_op *out)
{
    struct selector s = {0};
    struct qv_str key;
    bool found = false;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "vector") || qv_str_is(key, "vectors")) {
            out->names = qv_json_names(j, QV_VECTORS_PER_POINT_MAX, &out->name_count);
            found = true;
        } else if (!selector_field(j, key, &s)) {
            qv_json_skip(j);
        }
    }
    if (!found)
        qv_json_fail_missing(j, "vector");
    else if (out->name_count == 0)
        qv_json_fail(j, QV_EVALIDATION, "vector: Length of list must be at least 1");
    selector_end(j, &s, &out->select);
}

static void read_set_payload(struct qv_json *j, struct qv_write_op *out)
{
    struct selector s = {0};
    struct qv_str key;
    bool found = false;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "payload")) {
            out->payload = qv_json_doc_object(j, "a map");
            found = true;
        } else if (out->type == QV_WRITE_SET_PAYLOAD && qv_str_is(key, "key")) {
            out->has_key = !qv_json_null(j);
            out->key = out->has_key ? qv_json_path(j) : (struct qv_path){NULL, 0};
        } else if (!selector_field(j, key, &s)) {
            qv_json_skip(j);
        }
    }
    if (!found)
        qv_json_fail_missing(j, "payload");
    selector_end(j, &s, &out->select);
}

static void read_delete_payload(struct qv_json *j, struct qv_write_op *out)
{
    struct selector s = {0};
    struct qv_str key;
    bool found = false;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "keys")) {
            out->keys = qv_json_paths(j, QV_BATCH_OPS_MAX, &out->key_count);
            found = true;
        } else if (!selector_field(j, key, &s)) {
            qv_json_skip(j);
        }
    }
    if (!found)
        qv_json_fail_missing(j, "keys");
    selector_end(j, &s, &out->select);
}

static void read_write(struct qv_json *j, enum qv_write_type type, struct qv_write_op *out)
{
    *out = (struct qv_write_op){.type = type};
    switch (type) {
    case QV_WRITE_UPSERT:
        read_upsert(j, out);
        return;
    case QV_WRITE_DELETE:
    case QV_WRITE_CLEAR_PAYLOAD:
        read_selected(j, out);
        return;
    case QV_WRITE_UPDATE_VECTORS:
        read_update_vectors(j, out);
        return;
    case QV_WRITE_DELETE_VECTORS:
        read_delete_vectors(j, out);
        return;
    case QV_WRITE_SET_PAYLOAD:
    case QV_WRITE_OVERWRITE_PAYLOAD:
        read_set_payload(j, out);
        return;
    case QV_WRITE_DELETE_PAYLOAD:
        read_delete_payload(j, out);
        return;
    }
    QV_UNREACHABLE();
}

int qv_json_read_write(enum qv_write_type type, struct qv_bytes body, struct qv_arena *a,
                       struct qv_write_op *out, struct qv_errmsg *msg)
{
    struct qv_json j;
    qv_json_init(&j, body, a, msg);
    read_write(&j, type, out);
    return qv_json_finish(&j);
}

/* One of points/batch: {"upsert": {..}}. */
static void read_operation(struct qv_json *j, struct qv_write_op *out)
{
    static const char *const words[] = {
        [QV_WRITE_UPSERT] = "upsert",
        [QV_WRITE_DELETE] = "delete",
        [QV_WRITE_UPDATE_VECTORS] = "update_vectors",
        [QV_WRITE_DELETE_VECTORS] = "delete_vectors",
        [QV_WRITE_SET_PAYLOAD] = "set_payload",
        [QV_WRITE_OVERWRITE_PAYLOAD] = "overwrite_payload",
        [QV_WRITE_DELETE_PAYLOAD] = "delete_payload",
        [QV_WRITE_CLEAR_PAYLOAD] = "clear_payload",
    };
    const size_t word_count = sizeof words / sizeof words[0];
    struct qv_str key;
    bool found = false;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        size_t i = 0;
        while (i < word_count && !qv_str_is(key, words[i]))
            i++;
        if (i == word_count) {
            qv_json_skip(j);
        } else {
            read_write(j, (enum qv_write_type)i, out);
            found = true;
        }
    }
    if (!found && j->err == 0)
        qv_json_fail_at(j, j->p - 1,
                        "data did not match any variant of untagged enum UpdateOperation");
}

int qv_json_read_batch(struct qv_bytes body, struct qv_arena *a, struct qv_write_req *out,
                       struct qv_errmsg *msg)
{
    struct qv_write_op *ops = NULL;
    struct qv_str key;
    struct qv_json j;
    uint32_t cap = 0;
    bool found = false;
    *out = (struct qv_write_req){.ordering = QV_ORDERING_WEAK};
    qv_json_init(&j, body, a, msg);
    qv_json_begin_object(&j);
    while (qv_json_next_key(&j, &key)) {
        if (!qv_str_is(key, "operations")) {
            qv_json_skip(&j);
            continue;
        }
        found = true;
        out->op_count = 0;
        qv_json_begin_array(&j);
        while (qv_json_next_item(&j)) {
            ops = qv_json_grow(&j, ops, out->op_count, &cap,
                               QV_JSON_LIST(*ops, QV_BATCH_OPS_MAX, "operations"));
            if (ops == NULL)
                break;
            read_operation(&j, &ops[out->op_count]);
            out->op_count++;
        }
    }
    if (!found)
        qv_json_fail_missing(&j, "operations");
    out->ops = ops;
    return qv_json_finish(&j);
}
