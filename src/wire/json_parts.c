/* Ids, names, paths, vectors, selectors: see json_parts.h. */
#include "wire/json_parts.h"

#include "base/qv_assert.h"

#include <stdlib.h>

void *qv_json_grow(struct qv_json *j, void *items, uint32_t count, uint32_t *cap,
                   const struct qv_json_list *list)
{
    if (j->err != 0)
        return NULL;
    if (count < *cap)
        return items;
    if (count >= list->max) {
        qv_json_fail(j, QV_ETOOBIG, "more than %u %s in one request", list->max, list->what);
        return NULL;
    }
    uint32_t grown = *cap == 0 ? 4 : *cap * 2;
    grown = grown > list->max ? list->max : grown;
    void *out = qv_arena_alloc(j->arena, grown * list->item_bytes);
    if (out == NULL) {
        qv_json_fail_full(j);
        return NULL;
    }
    if (count != 0)
        memcpy(out, items, count * list->item_bytes);
    *cap = grown;
    return out;
}

void qv_json_refuse(struct qv_json *j, enum qv_not_served what)
{
    struct qv_errmsg msg;
    if (qv_json_null(j) || j->err != 0)
        return;
    int err = qv_not_served_fail(what, &msg);
    qv_json_fail(j, err, "%s", msg.text);
}

void qv_json_fail_missing(struct qv_json *j, const char *field)
{
    qv_json_fail_at(j, j->p > j->start ? j->p - 1 : j->p, "missing field `%s`", field);
}

void qv_json_fail_below(struct qv_json *j, int err, const struct qv_errmsg *msg)
{
    if (err == QV_ENOMEM)
        qv_json_fail_full(j);
    else if (err != 0)
        qv_json_fail(j, err, "%s", msg->text);
}

void qv_json_opt_u64(struct qv_json *j, struct qv_opt_u64 *out)
{
    out->has = !qv_json_null(j);
    out->v = out->has ? qv_json_u64(j) : 0;
}

void qv_json_opt_f64(struct qv_json *j, struct qv_opt_f64 *out)
{
    out->has = !qv_json_null(j);
    out->v = out->has ? qv_json_f64(j) : 0;
}

void qv_json_opt_bool(struct qv_json *j, struct qv_opt_bool *out)
{
    out->has = !qv_json_null(j);
    out->v = out->has && qv_json_bool(j);
}

/* ---- ids, names, paths ---- */

struct qv_id qv_json_id(struct qv_json *j)
{
    struct qv_id id = qv_id_num(0);
    struct qv_json_mark m;
    enum qv_json_type type = qv_json_peek(j);
    m = qv_json_mark(j);
    if (type == QV_JSON_NUMBER) {
        struct qv_json_number n = qv_json_number(j);
        if (n.is_uint || (n.is_int && n.i >= 0))
            return qv_id_num(n.u);
    } else if (type == QV_JSON_STRING) {
        struct qv_str s = qv_json_string(j);
        if (j->err == 0 && qv_id_parse_uuid(s.p, s.n, &id) == 0)
            return id;
    } else {
        qv_json_skip(j);
    }
    if (j->err != 0)
        return qv_id_num(0);
    int shown = (int)(j->p - m.p > 48 ? 48 : j->p - m.p);
    while (shown > 0 && m.p + shown < j->p && ((unsigned char)m.p[shown] & 0xC0) == 0x80)
        shown--; /* not in the middle of a character */
    qv_json_fail_at(j, j->p - 1,
                    "value %.*s is not a valid point ID, valid values are either an unsigned "
                    "integer or a UUID",
                    shown, m.p);
    return qv_id_num(0);
}

const struct qv_id *qv_json_ids(struct qv_json *j, uint32_t max, uint32_t *count)
{
    struct qv_id *ids = NULL;
    uint32_t cap = 0;
    uint32_t n = 0;
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        struct qv_id id = qv_json_id(j);
        ids = qv_json_grow(j, ids, n, &cap, QV_JSON_LIST(*ids, max, "ids"));
        if (ids == NULL)
            break;
        ids[n++] = id;
    }
    *count = j->err == 0 ? n : 0;
    return ids;
}

void qv_json_check_name(struct qv_json *j, struct qv_str name)
{
    if (j->err != 0)
        return;
    if (name.n > QV_NAME_BYTES_MAX)
        qv_json_fail(j, QV_EVALIDATION, "name: value invalid, must be at most %u bytes",
                     QV_NAME_BYTES_MAX);
    else if (name.n != 0 && memchr(name.p, '\0', name.n) != NULL)
        qv_json_fail_at(j, j->p > j->start ? j->p - 1 : j->p, "a name must not hold NUL");
}

struct qv_str qv_json_name(struct qv_json *j)
{
    struct qv_str s = qv_json_string(j);
    qv_json_check_name(j, s);
    return s;
}

const struct qv_str *qv_json_names(struct qv_json *j, uint32_t max, uint32_t *count)
{
    struct qv_str *names = NULL;
    uint32_t cap = 0;
    uint32_t n = 0;
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        struct qv_str s = qv_json_name(j);
        names = qv_json_grow(j, names, n, &cap, QV_JSON_LIST(*names, max, "names"));
        if (names == NULL)
            break;
        names[n++] = s;
    }
    *count = j->err == 0 ? n : 0;
    return names;
}

void qv_json_key_path(struct qv_json *j, struct qv_str *key, struct qv_path *path)
{
    struct qv_errmsg msg;
    struct qv_str s = qv_json_string(j);
    *key = s;
    *path = (struct qv_path){NULL, 0};
    if (j->err != 0)
        return;
    if (s.n != 0 && memchr(s.p, '\0', s.n) != NULL) {
        qv_json_fail_at(j, j->p - 1, "a key must not hold NUL");
        return;
    }
    int err = qv_path_parse(j->arena, s, path, &msg);
    if (err == QV_ENOMEM)
        qv_json_fail_full(j);
    else if (err != 0)
        qv_json_fail_at(j, j->p - 1, "Invalid json path: '%.*s' (%s)", s.n > 64 ? 0 : (int)s.n, s.p,
                        msg.text);
}

struct qv_path qv_json_path(struct qv_json *j)
{
    struct qv_str text;
    struct qv_path path;
    qv_json_key_path(j, &text, &path);
    return path;
}

const struct qv_path *qv_json_paths(struct qv_json *j, uint32_t max, uint32_t *count)
{
    struct qv_path *paths = NULL;
    uint32_t cap = 0;
    uint32_t n = 0;
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        struct qv_path path = qv_json_path(j);
        paths = qv_json_grow(j, paths, n, &cap, QV_JSON_LIST(*paths, max, "keys"));
        if (paths == NULL)
            break;
        paths[n++] = path;
    }
    *count = j->err == 0 ? n : 0;
    return paths;
}

uint32_t qv_json_variant(struct qv_json *j, const char *const *words)
{
    char all[256];
    size_t n = 0;
    struct qv_str s = qv_json_string(j);
    all[0] = '\0';
    for (uint32_t i = 0; words[i] != NULL; i++) {
        if (qv_str_is(s, words[i]))
            return i;
        size_t len = strlen(words[i]);
        if (n + len + 5 < sizeof all) {
            memcpy(all + n, i == 0 ? "`" : ", `", i == 0 ? 1 : 3);
            n += i == 0 ? 1 : 3;
            memcpy(all + n, words[i], len);
            n += len;
            memcpy(all + n, "`", 2);
            n += 1;
        }
    }
    qv_json_fail_at(j, j->p > j->start ? j->p - 1 : j->p,
                    "unknown variant `%.*s`, expected one of %s", s.n > 32 ? 0 : (int)s.n, s.p,
                    all);
    return 0;
}

/* ---- vectors ---- */

static const uint32_t *read_indices(struct qv_json *j, uint32_t *count)
{
    uint32_t *items = NULL;
    uint32_t cap = 0;
    uint32_t n = 0;
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        uint32_t v = qv_json_u32(j);
        items = qv_json_grow(j, items, n, &cap, QV_JSON_LIST(*items, QV_SPARSE_NNZ_MAX, "indices"));
        if (items == NULL)
            break;
        items[n++] = v;
    }
    *count = j->err == 0 ? n : 0;
    return items;
}

bool qv_json_sparse_field(struct qv_json *j, struct qv_str key, struct qv_json_sparse *s)
{
    if (qv_str_is(key, "indices")) {
        s->indices = read_indices(j, &s->index_count);
        s->has_indices = true;
        return true;
    }
    if (qv_str_is(key, "values")) {
        s->values = qv_json_floats(j, QV_SPARSE_NNZ_MAX, &s->value_count);
        s->has_values = true;
        return true;
    }
    return false;
}

struct entry {
    uint32_t index;
    float value;
};

static int compare_entries(const void *a, const void *b)
{
    uint32_t x = ((const struct entry *)a)->index;
    uint32_t y = ((const struct entry *)b)->index;
    return (x > y) - (x < y);
}

/* Puts the entries into ascending order, in new arrays. */
static void sort_sparse(struct qv_json *j, struct qv_json_sparse *s)
{
    uint32_t n = s->index_count;
    struct entry *e = qv_arena_alloc(j->arena, n * sizeof *e);
    uint32_t *indices = qv_arena_alloc(j->arena, n * sizeof *indices);
    float *values = qv_arena_alloc(j->arena, n * sizeof *values);
    if (e == NULL || indices == NULL || values == NULL) {
        qv_json_fail_full(j);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        e[i] = (struct entry){s->indices[i], s->values[i]};
    qsort(e, n, sizeof *e, compare_entries);
    for (uint32_t i = 0; i < n; i++) {
        indices[i] = e[i].index;
        values[i] = e[i].value;
    }
    s->indices = indices;
    s->values = values;
}

struct qv_vec qv_json_sparse_end(struct qv_json *j, struct qv_json_sparse *s)
{
    struct qv_vec vec = {.kind = QV_VEC_SPARSE, .rows = 1};
    bool ascending = true;
    if (!s->has_indices || !s->has_values)
        qv_json_fail_missing(j, s->has_indices ? "values" : "indices");
    if (s->index_count != s->value_count)
        qv_json_fail(j, QV_EVALIDATION, "values: must be the same length as indices");
    if (j->err != 0)
        return vec;
    for (uint32_t i = 1; i < s->index_count; i++)
        ascending = ascending && s->indices[i - 1] < s->indices[i];
    if (!ascending)
        sort_sparse(j, s);
    for (uint32_t i = 1; i < s->index_count && j->err == 0; i++) {
        if (s->indices[i - 1] == s->indices[i])
            qv_json_fail(j, QV_EVALIDATION, "indices: must be unique");
    }
    vec.dim = s->index_count;
    vec.indices = s->indices;
    vec.values = s->values;
    return vec;
}

bool qv_json_refuse_inference(struct qv_json *j, struct qv_str key)
{
    enum qv_not_served what = qv_str_is(key, "text")     ? QV_NOT_SERVED_DOCUMENT
                              : qv_str_is(key, "image")  ? QV_NOT_SERVED_IMAGE
                              : qv_str_is(key, "object") ? QV_NOT_SERVED_OBJECT
                                                         : QV_NOT_SERVED_COUNT;
    if (what == QV_NOT_SERVED_COUNT)
        return false;
    qv_json_refuse(j, what);
    return true;
}

static struct qv_vec read_sparse(struct qv_json *j)
{
    struct qv_json_sparse s = {0};
    struct qv_str key;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (!qv_json_sparse_field(j, key, &s) && !qv_json_refuse_inference(j, key))
            qv_json_skip(j);
    }
    return qv_json_sparse_end(j, &s);
}

/* Rows of a multivector: each in the arena first, then all behind one another. */
static struct qv_vec read_multi(struct qv_json *j)
{
    struct qv_vec vec = {.kind = QV_VEC_MULTI};
    const float **rows = NULL;
    uint32_t cap = 0;
    uint32_t n = 0;
    uint32_t dim = 0;
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        uint32_t count;
        const float *row = qv_json_floats(j, QV_DIM_MAX, &count);
        if (n > 0 && count != dim)
            qv_json_fail(j, QV_EVALIDATION,
                         "vector: all vectors must have the same dimension, found vector with "
                         "dimension %u",
                         count);
        else if (count == 0)
            qv_json_fail(j, QV_EVALIDATION, "vector: all vectors must be non-empty");
        rows = qv_json_grow(j, rows, n, &cap,
                            QV_JSON_LIST(*rows, QV_MULTI_ROWS_MAX, "rows of a multivector"));
        if (rows == NULL)
            return vec;
        dim = count;
        rows[n++] = row;
    }
    if (j->err != 0)
        return vec;
    float *values = qv_arena_alloc(j->arena, (size_t)n * dim * sizeof *values);
    if (values == NULL) {
        qv_json_fail_full(j);
        return vec;
    }
    for (uint32_t i = 0; i < n; i++)
        memcpy(values + (size_t)i * dim, rows[i], dim * sizeof *values);
    vec.dim = dim;
    vec.rows = n;
    vec.values = values;
    return vec;
}

static bool is_array_of_arrays(struct qv_json *j)
{
    if (qv_json_peek(j) != QV_JSON_ARRAY || j->depth >= QV_JSON_DEPTH_MAX)
        return false;
    const char *p = j->p + 1;
    while (p < j->end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
        p++;
    return p < j->end && *p == '[';
}

struct qv_vec qv_json_vec(struct qv_json *j)
{
    struct qv_vec vec = {.kind = QV_VEC_DENSE, .rows = 1};
    enum qv_json_type type = qv_json_peek(j);
    if (type == QV_JSON_OBJECT)
        return read_sparse(j);
    if (type != QV_JSON_ARRAY) {
        qv_json_fail_type(j, "a vector");
        return vec;
    }
    if (is_array_of_arrays(j))
        return read_multi(j);
    vec.values = qv_json_floats(j, QV_DIM_MAX, &vec.dim);
    return vec;
}

/* A value in a map of vectors that is no vector: part of an object for a model? */
static void refuse_not_a_vector(struct qv_json *j, struct qv_str key, struct qv_json_mark start)
{
    struct qv_json_mark here = qv_json_mark(j);
    struct qv_str k;
    if (!qv_json_refuse_inference(j, key) && qv_str_is(key, "model")) {
        qv_json_restore(j, start);
        qv_json_begin_object(j);
        while (qv_json_next_key(j, &k)) {
            if (!qv_json_refuse_inference(j, k))
                qv_json_skip(j);
        }
        qv_json_restore(j, here);
    }
    qv_json_fail_type(j, "a vector");
}

static const struct qv_named_vec *read_vector_map(struct qv_json *j, uint32_t *count)
{
    struct qv_named_vec *vecs = NULL;
    struct qv_json_mark start = qv_json_mark(j);
    struct qv_str name;
    uint32_t cap = 0;
    uint32_t n = 0;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &name)) {
        uint32_t at = 0;
        enum qv_json_type type = qv_json_peek(j);
        if (type != QV_JSON_ARRAY && type != QV_JSON_OBJECT && type != QV_JSON_NONE) {
            refuse_not_a_vector(j, name, start);
            break;
        }
        qv_json_check_name(j, name);
        while (at < n && !qv_str_equal(vecs[at].name, name))
            at++; /* the same name again: the last one counts */
        vecs = qv_json_grow(j, vecs, n, &cap,
                            QV_JSON_LIST(*vecs, QV_VECTORS_PER_POINT_MAX, "vectors of one point"));
        if (vecs == NULL)
            break;
        vecs[at] = (struct qv_named_vec){name, qv_json_vec(j)};
        n += at == n;
    }
    *count = j->err == 0 ? n : 0;
    return vecs;
}

const struct qv_named_vec *qv_json_vectors(struct qv_json *j, uint32_t *count)
{
    enum qv_json_type type = qv_json_peek(j);
    *count = 0;
    if (type == QV_JSON_OBJECT)
        return read_vector_map(j, count);
    struct qv_named_vec *one = QV_ARENA_NEW(j->arena, struct qv_named_vec);
    if (one == NULL) {
        qv_json_fail_full(j);
        return NULL;
    }
    *one = (struct qv_named_vec){{"", 0}, qv_json_vec(j)};
    *count = j->err == 0;
    return one;
}

/* ---- selectors ---- */

static void select_paths(struct qv_json *j, enum qv_select_mode mode, struct qv_payload_select *out)
{
    out->mode = mode;
    out->paths = qv_json_paths(j, QV_BATCH_OPS_MAX, &out->path_count);
}

void qv_json_payload_select(struct qv_json *j, struct qv_payload_select *out)
{
    struct qv_str key;
    enum qv_json_type type = qv_json_peek(j);
    if (qv_json_null(j))
        return; /* as it was */
    *out = (struct qv_payload_select){.mode = QV_SELECT_NONE};
    if (type == QV_JSON_BOOL) {
        out->mode = qv_json_bool(j) ? QV_SELECT_ALL : QV_SELECT_NONE;
    } else if (type == QV_JSON_ARRAY) {
        select_paths(j, QV_SELECT_INCLUDE, out);
    } else if (type == QV_JSON_OBJECT) {
        bool found = false;
        qv_json_begin_object(j);
        while (qv_json_next_key(j, &key)) {
            bool include = qv_str_is(key, "include");
            if ((include || qv_str_is(key, "exclude")) && !qv_json_null(j)) {
                select_paths(j, include ? QV_SELECT_INCLUDE : QV_SELECT_EXCLUDE, out);
                found = true;
            } else if (!include && !qv_str_is(key, "exclude")) {
                qv_json_skip(j);
            }
        }
        if (!found)
            qv_json_fail_at(j, j->p > j->start ? j->p - 1 : j->p,
                            "data did not match any variant of untagged enum PayloadSelector");
    } else {
        qv_json_fail_type(j, "a boolean, a list of keys or a selector");
    }
}

void qv_json_vector_select(struct qv_json *j, struct qv_vector_select *out)
{
    enum qv_json_type type = qv_json_peek(j);
    if (qv_json_null(j))
        return;
    *out = (struct qv_vector_select){.mode = QV_SELECT_NONE};
    if (type == QV_JSON_BOOL) {
        out->mode = qv_json_bool(j) ? QV_SELECT_ALL : QV_SELECT_NONE;
    } else if (type == QV_JSON_ARRAY) {
        out->mode = QV_SELECT_INCLUDE;
        out->names = qv_json_names(j, QV_VECTORS_PER_POINT_MAX, &out->name_count);
    } else {
        qv_json_fail_type(j, "a boolean or a list of vector names");
    }
}

void qv_json_check_limit(struct qv_json *j, uint64_t limit, uint64_t offset)
{
    if (limit == 0)
        qv_json_fail(j, QV_EVALIDATION, "limit: value 0 invalid, must be 1 or larger");
    else if (limit > QV_LIMIT_MAX || offset > QV_LIMIT_MAX - limit)
        qv_json_fail(j, QV_EVALIDATION,
                     "limit: value %llu invalid, limit + offset must be %u at "
                     "most",
                     (unsigned long long)limit, QV_LIMIT_MAX);
}
