#include "wire/pb_parts.h"

#include "base/qv_assert.h"
#include "core/limits.h"
#include "wire/not_served.h"

#include <stdlib.h>

/* ---- small things ---- */

struct qv_str qv_pb_str(const char *s)
{
    return s == NULL ? (struct qv_str){"", 0} : qv_str_of(s);
}

void *qv_pb_array(struct qv_pb_ctx *c, size_t n, size_t bytes)
{
    void *p = qv_arena_calloc(c->arena, n == 0 ? 1 : n, bytes);
    if (p == NULL)
        (void)qv_fail(c->msg, QV_ETOOBIG, "request needs too much memory");
    return p;
}

int qv_pb_check_count(struct qv_pb_ctx *c, const char *what, size_t n, size_t max)
{
    if (n > max)
        return qv_fail(c->msg, QV_ETOOBIG, "more than %zu %s in one request", max, what);
    return 0;
}

int qv_pb_timeout(struct qv_pb_ctx *c, bool has, uint64_t seconds, uint64_t *ms)
{
    *ms = 0;
    if (!has)
        return 0;
    if (seconds == 0)
        return qv_fail(c->msg, QV_EVALIDATION, "timeout: value 0 invalid, must be 1 or larger");
    *ms = seconds > UINT64_MAX / 1000 ? UINT64_MAX : seconds * 1000;
    return 0;
}

/* ---- ids ---- */

int qv_pb_id(struct qv_pb_ctx *c, const QvPb__PointId *m, struct qv_id *out)
{
    if (m != NULL && m->point_id_options_case == QV_PB__POINT_ID__POINT_ID_OPTIONS_NUM) {
        *out = qv_id_num(m->num);
        return 0;
    }
    if (m == NULL || m->point_id_options_case != QV_PB__POINT_ID__POINT_ID_OPTIONS_UUID)
        return qv_fail(c->msg, QV_EINVAL, "a point id is empty");
    if (qv_id_parse_uuid(m->uuid, strlen(m->uuid), out) != 0)
        return qv_fail(c->msg, QV_EINVAL, "Unable to parse UUID: %.80s", m->uuid);
    return 0;
}

int qv_pb_ids(struct qv_pb_ctx *c, QvPb__PointId *const *m, size_t n, const struct qv_id **out,
              uint32_t *count)
{
    int err = qv_pb_check_count(c, "ids", n, QV_BATCH_POINTS_MAX);
    if (err != 0)
        return err;
    struct qv_id *ids = QV_PB_ARRAY(c, struct qv_id, n);
    if (ids == NULL)
        return QV_ETOOBIG;
    for (size_t i = 0; i < n && err == 0; i++)
        err = qv_pb_id(c, m[i], &ids[i]);
    *out = ids;
    *count = (uint32_t)n;
    return err;
}

/* ---- vectors ---- */

bool qv_pb_all_finite(const float *v, size_t n)
{
    const uint32_t exponent = 0x7F800000u;
    uint32_t bad = 0; /* no way out of the loop, so that it is done four at a time */
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &v[i], sizeof bits);
        bad |= (bits & exponent) == exponent;
    }
    return bad == 0;
}

static int check_values(struct qv_pb_ctx *c, const float *v, size_t n)
{
    if (!qv_pb_all_finite(v, n))
        return qv_fail(c->msg, QV_EINVAL, "a vector holds a value that is not finite");
    return 0;
}

int qv_pb_dense(struct qv_pb_ctx *c, const float *v, size_t n, struct qv_vec *out)
{
    int err = qv_pb_check_count(c, "elements of a vector", n, QV_DIM_MAX);
    *out = (struct qv_vec){.kind = QV_VEC_DENSE, .dim = (uint32_t)n, .rows = 1, .values = v};
    return err != 0 ? err : check_values(c, v, n);
}

struct pair {
    uint32_t index;
    float value;
};

static int compare_pairs(const void *a, const void *b)
{
    uint32_t x = ((const struct pair *)a)->index, y = ((const struct pair *)b)->index;
    return (x > y) - (x < y);
}

int qv_pb_sparse(struct qv_pb_ctx *c, const float *values, size_t n_values, const uint32_t *indices,
                 size_t n_indices, struct qv_vec *out)
{
    if (n_values != n_indices)
        return qv_fail(c->msg, QV_EVALIDATION, "values: must be the same length as indices");
    int err = qv_pb_check_count(c, "non-zeros of a sparse vector", n_values, QV_SPARSE_NNZ_MAX);
    if (err == 0)
        err = check_values(c, values, n_values);
    if (err != 0)
        return err;
    struct pair *pairs = QV_PB_ARRAY(c, struct pair, n_values);
    float *v = QV_PB_ARRAY(c, float, n_values);
    uint32_t *ix = QV_PB_ARRAY(c, uint32_t, n_values);
    if (pairs == NULL || v == NULL || ix == NULL)
        return QV_ETOOBIG;
    for (size_t i = 0; i < n_values; i++)
        pairs[i] = (struct pair){indices[i], values[i]};
    qsort(pairs, n_values, sizeof *pairs, compare_pairs);
    for (size_t i = 0; i < n_values; i++) {
        if (i > 0 && pairs[i].index == pairs[i - 1].index)
            return qv_fail(c->msg, QV_EVALIDATION, "indices: must be unique");
        ix[i] = pairs[i].index;
        v[i] = pairs[i].value;
    }
    *out = (struct qv_vec){
        .kind = QV_VEC_SPARSE, .dim = (uint32_t)n_values, .rows = 1, .values = v, .indices = ix};
    return 0;
}

int qv_pb_multi(struct qv_pb_ctx *c, const QvPb__MultiDenseVector *m, struct qv_vec *out)
{
    size_t rows = m->n_vectors;
    size_t dim = rows == 0 ? 0 : m->vectors[0]->n_data;
    int err = qv_pb_check_count(c, "rows of a multivector", rows, QV_MULTI_ROWS_MAX);
    if (err == 0)
        err = qv_pb_check_count(c, "elements of a vector", dim, QV_DIM_MAX);
    if (err != 0)
        return err;
    if (rows == 0 || dim == 0)
        return qv_fail(c->msg, QV_EVALIDATION, "vector: all vectors must be non-empty");
    for (size_t i = 0; i < rows; i++) {
        if (m->vectors[i]->n_data != dim)
            return qv_fail(c->msg, QV_EVALIDATION,
                           "multivector: all rows must have the same length, found %zu and %zu",
                           dim, m->vectors[i]->n_data);
    }
    float *v = QV_PB_ARRAY(c, float, rows *dim);
    if (v == NULL)
        return QV_ETOOBIG;
    for (size_t i = 0; i < rows; i++)
        memcpy(v + i * dim, m->vectors[i]->data, dim * sizeof *v);
    *out = (struct qv_vec){
        .kind = QV_VEC_MULTI, .dim = (uint32_t)dim, .rows = (uint32_t)rows, .values = v};
    return check_values(c, v, rows * dim);
}

/* The deprecated form: data alone, data with indices, data cut into vectors_count rows. */
static int old_vector(struct qv_pb_ctx *c, const QvPb__Vector *m, struct qv_vec *out)
{
    if (m->indices != NULL)
        return qv_pb_sparse(c, m->data, m->n_data, m->indices->data, m->indices->n_data, out);
    if (!m->has_vectors_count)
        return qv_pb_dense(c, m->data, m->n_data, out);
    uint32_t rows = m->vectors_count;
    int err = qv_pb_check_count(c, "rows of a multivector", rows, QV_MULTI_ROWS_MAX);
    if (err != 0)
        return err;
    if (rows == 0 || m->n_data == 0 || m->n_data % rows != 0)
        return qv_fail(c->msg, QV_EVALIDATION,
                       "multivector: %zu values can't be cut into %u vectors", m->n_data, rows);
    err = qv_pb_dense(c, m->data, m->n_data / rows, out);
    out->kind = QV_VEC_MULTI;
    out->rows = rows;
    return err != 0 ? err : check_values(c, m->data, m->n_data);
}

static int one_vector(struct qv_pb_ctx *c, const QvPb__Vector *m, struct qv_vec *out)
{
    switch (m->vector_case) {
    case QV_PB__VECTOR__VECTOR_DENSE:
        return qv_pb_dense(c, m->dense->data, m->dense->n_data, out);
    case QV_PB__VECTOR__VECTOR_SPARSE:
        return qv_pb_sparse(c, m->sparse->values, m->sparse->n_values, m->sparse->indices,
                            m->sparse->n_indices, out);
    case QV_PB__VECTOR__VECTOR_MULTI_DENSE:
        return qv_pb_multi(c, m->multi_dense, out);
    case QV_PB__VECTOR__VECTOR_DOCUMENT:
        return qv_not_served_fail(QV_NOT_SERVED_DOCUMENT, c->msg);
    case QV_PB__VECTOR__VECTOR_IMAGE:
        return qv_not_served_fail(QV_NOT_SERVED_IMAGE, c->msg);
    case QV_PB__VECTOR__VECTOR_OBJECT:
        return qv_not_served_fail(QV_NOT_SERVED_OBJECT, c->msg);
    default:
        return old_vector(c, m, out);
    }
}

static int named_vectors(struct qv_pb_ctx *c, const QvPb__NamedVectors *m,
                         const struct qv_named_vec **out, uint32_t *count)
{
    struct qv_pb_entry *e;
    int err = qv_pb_check_count(c, "vectors of one point", m->n_vectors, QV_VECTORS_PER_POINT_MAX);
    if (err != 0)
        return err;
    err = qv_pb_entries_read(c, (ProtobufCMessage *const *)m->vectors, m->n_vectors, &e, count);
    if (err != 0)
        return err;
    struct qv_named_vec *vecs = QV_PB_ARRAY(c, struct qv_named_vec, *count);
    if (vecs == NULL)
        return QV_ETOOBIG;
    *out = vecs;
    for (size_t i = 0; i < m->n_vectors; i++) {
        if (e[i].dropped)
            continue;
        if (e[i].value == NULL)
            return qv_fail(c->msg, QV_EINVAL, "vector %.*s is empty", (int)e[i].key.n, e[i].key.p);
        vecs->name = e[i].key;
        err = one_vector(c, (const QvPb__Vector *)e[i].value, &vecs->vec);
        if (err != 0)
            return err;
        vecs++;
    }
    return 0;
}

int qv_pb_vectors(struct qv_pb_ctx *c, const QvPb__Vectors *m, const struct qv_named_vec **out,
                  uint32_t *count)
{
    *out = NULL;
    *count = 0;
    if (m == NULL || m->vectors_options_case == QV_PB__VECTORS__VECTORS_OPTIONS__NOT_SET)
        return 0;
    if (m->vectors_options_case == QV_PB__VECTORS__VECTORS_OPTIONS_VECTORS)
        return named_vectors(c, m->vectors, out, count);
    struct qv_named_vec *one = QV_PB_ARRAY(c, struct qv_named_vec, 1);
    if (one == NULL)
        return QV_ETOOBIG;
    one->name = (struct qv_str){"", 0};
    *out = one;
    *count = 1;
    return one_vector(c, m->vector, &one->vec);
}

/* ---- selectors ---- */

int qv_pb_path(struct qv_pb_ctx *c, struct qv_str text, struct qv_path *out)
{
    int err = qv_path_parse(c->arena, text, out, c->msg);
    return err != QV_ENOMEM ? err : qv_fail(c->msg, QV_ETOOBIG, "request needs too much memory");
}

int qv_pb_paths(struct qv_pb_ctx *c, char *const *text, size_t n, const struct qv_path **out,
                uint32_t *count)
{
    int err = qv_pb_check_count(c, "keys", n, QV_BATCH_POINTS_MAX);
    if (err != 0)
        return err;
    struct qv_path *paths = QV_PB_ARRAY(c, struct qv_path, n);
    if (paths == NULL)
        return QV_ETOOBIG;
    for (size_t i = 0; i < n && err == 0; i++)
        err = qv_pb_path(c, qv_pb_str(text[i]), &paths[i]);
    *out = paths;
    *count = (uint32_t)n;
    return err;
}

int qv_pb_names(struct qv_pb_ctx *c, char *const *text, size_t n, const struct qv_str **out,
                uint32_t *count)
{
    int err = qv_pb_check_count(c, "vector names", n, QV_VECTORS_PER_POINT_MAX);
    if (err != 0)
        return err;
    struct qv_str *names = QV_PB_ARRAY(c, struct qv_str, n);
    if (names == NULL)
        return QV_ETOOBIG;
    for (size_t i = 0; i < n; i++)
        names[i] = qv_pb_str(text[i]);
    *out = names;
    *count = (uint32_t)n;
    return 0;
}

int qv_pb_payload_select(struct qv_pb_ctx *c, const QvPb__WithPayloadSelector *m,
                         enum qv_select_mode absent, struct qv_payload_select *out)
{
    *out = (struct qv_payload_select){.mode = absent};
    if (m == NULL)
        return 0;
    switch (m->selector_options_case) {
    case QV_PB__WITH_PAYLOAD_SELECTOR__SELECTOR_OPTIONS_ENABLE:
        out->mode = m->enable ? QV_SELECT_ALL : QV_SELECT_NONE;
        return 0;
    case QV_PB__WITH_PAYLOAD_SELECTOR__SELECTOR_OPTIONS_INCLUDE:
        out->mode = QV_SELECT_INCLUDE;
        return qv_pb_paths(c, m->include->fields, m->include->n_fields, &out->paths,
                           &out->path_count);
    case QV_PB__WITH_PAYLOAD_SELECTOR__SELECTOR_OPTIONS_EXCLUDE:
        out->mode = QV_SELECT_EXCLUDE;
        return qv_pb_paths(c, m->exclude->fields, m->exclude->n_fields, &out->paths,
                           &out->path_count);
    default:
        return qv_fail(c->msg, QV_EINVAL, "with_payload: an empty selector");
    }
}

int qv_pb_vector_select(struct qv_pb_ctx *c, const QvPb__WithVectorsSelector *m,
                        struct qv_vector_select *out)
{
    *out = (struct qv_vector_select){.mode = QV_SELECT_NONE};
    if (m == NULL)
        return 0;
    switch (m->selector_options_case) {
    case QV_PB__WITH_VECTORS_SELECTOR__SELECTOR_OPTIONS_ENABLE:
        out->mode = m->enable ? QV_SELECT_ALL : QV_SELECT_NONE;
        return 0;
    case QV_PB__WITH_VECTORS_SELECTOR__SELECTOR_OPTIONS_INCLUDE:
        out->mode = QV_SELECT_INCLUDE;
        return qv_pb_names(c, m->include->names, m->include->n_names, &out->names,
                           &out->name_count);
    default:
        return qv_fail(c->msg, QV_EINVAL, "with_vectors: an empty selector");
    }
}

int qv_pb_point_select(struct qv_pb_ctx *c, const QvPb__PointsSelector *m,
                       struct qv_point_select *out)
{
    *out = (struct qv_point_select){0};
    switch (m == NULL ? QV_PB__POINTS_SELECTOR__POINTS_SELECTOR_ONE_OF__NOT_SET
                      : m->points_selector_one_of_case) {
    case QV_PB__POINTS_SELECTOR__POINTS_SELECTOR_ONE_OF_POINTS:
        return qv_pb_ids(c, m->points->ids, m->points->n_ids, &out->ids, &out->id_count);
    case QV_PB__POINTS_SELECTOR__POINTS_SELECTOR_ONE_OF_FILTER:
        return qv_pb_filter(c, m->filter, &out->filter);
    default:
        return qv_fail(c->msg, QV_EINVAL, "No filter or points provided");
    }
}

/* ---- consistency ---- */

int qv_pb_consistency(struct qv_pb_ctx *c, const QvPb__ReadConsistency *m, uint32_t *out)
{
    *out = 0;
    if (m == NULL)
        return 0;
    if (m->value_case == QV_PB__READ_CONSISTENCY__VALUE_FACTOR) {
        if (m->factor == 0 || m->factor >= QV_CONSISTENCY_MAJORITY)
            return qv_fail(c->msg, QV_EINVAL, "read consistency factor %llu is out of bounds",
                           (unsigned long long)m->factor);
        *out = (uint32_t)m->factor;
        return 0;
    }
    if (m->value_case != QV_PB__READ_CONSISTENCY__VALUE_TYPE)
        return qv_fail(c->msg, QV_EINVAL, "read consistency: neither type nor factor");
    switch (m->type) {
    case QV_PB__READ_CONSISTENCY_TYPE__All:
        *out = QV_CONSISTENCY_ALL;
        return 0;
    case QV_PB__READ_CONSISTENCY_TYPE__Majority:
        *out = QV_CONSISTENCY_MAJORITY;
        return 0;
    case QV_PB__READ_CONSISTENCY_TYPE__Quorum:
        *out = QV_CONSISTENCY_QUORUM;
        return 0;
    default:
        return qv_fail(c->msg, QV_EINVAL, "read consistency: unknown type %d", (int)m->type);
    }
}

int qv_pb_ordering(struct qv_pb_ctx *c, const QvPb__WriteOrdering *m, enum qv_ordering *out)
{
    *out = QV_ORDERING_WEAK;
    switch (m == NULL || !m->has_type ? QV_PB__WRITE_ORDERING_TYPE__Weak : m->type) {
    case QV_PB__WRITE_ORDERING_TYPE__Weak:
        return 0;
    case QV_PB__WRITE_ORDERING_TYPE__Medium:
        *out = QV_ORDERING_MEDIUM;
        return 0;
    case QV_PB__WRITE_ORDERING_TYPE__Strong:
        *out = QV_ORDERING_STRONG;
        return 0;
    default:
        return qv_fail(c->msg, QV_EINVAL, "write ordering: unknown type %d", (int)m->type);
    }
}
