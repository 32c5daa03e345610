/* Changes of a collection's configuration: each makes a new value, the old one stays as it is. */
#include "core/config.h"

#include "core/limits.h"

/* ---- diffs ---- */

#define TAKE(field)                                                                                \
    if (d->field.has)                                                                              \
    to->field = d->field

static void take_hnsw(struct qv_hnsw_config *to, const struct qv_hnsw_config *d)
{
    TAKE(m);
    TAKE(ef_construct);
    TAKE(full_scan_threshold);
    TAKE(max_indexing_threads);
    TAKE(on_disk);
    TAKE(payload_m);
    TAKE(inline_storage);
}

static void take_optimizer(struct qv_optimizer_config *to, const struct qv_optimizer_config *d)
{
    TAKE(deleted_threshold);
    TAKE(vacuum_min_vector_number);
    TAKE(default_segment_number);
    TAKE(max_segment_size);
    TAKE(memmap_threshold);
    TAKE(indexing_threshold);
    TAKE(flush_interval_sec);
    TAKE(max_optimization_threads);
}

static int take_params(struct qv_collection_config *to, const struct qv_config_diff *d,
                       struct qv_errmsg *msg)
{
    if (d->replication_factor.has && d->replication_factor.v != 1)
        return qv_fail(msg, QV_ENOTIMPL, "Not implemented: replication_factor > 1");
    if (d->write_consistency_factor.has && d->write_consistency_factor.v != 1)
        return qv_fail(msg, QV_ENOTIMPL, "Not implemented: write_consistency_factor > 1");
    TAKE(read_fan_out_factor);
    TAKE(read_fan_out_delay_ms);
    if (d->on_disk_payload.has)
        to->on_disk_payload = d->on_disk_payload.v;
    return 0;
}

static int missing_vector(struct qv_str name, struct qv_errmsg *msg)
{
    return qv_fail(msg, QV_EINVAL, "Not existing vector name error: %.*s",
                   (int)(name.n < 200 ? name.n : 200), name.n == 0 ? "" : name.p);
}

static int take_vector(struct qv_collection_config *to, struct qv_vector_config *vectors,
                       const struct qv_vector_diff *d, struct qv_errmsg *msg)
{
    for (uint32_t i = 0; i < to->vector_count; i++) {
        struct qv_vector_config *v = &vectors[i];
        if (!qv_str_equal(v->name, d->name))
            continue;
        if (d->has_hnsw) {
            if (!v->has_hnsw)
                v->hnsw = (struct qv_hnsw_config){0};
            v->has_hnsw = true;
            take_hnsw(&v->hnsw, &d->hnsw);
        }
        if (d->has_quant)
            v->quant = d->quant;
        if (d->on_disk.has)
            v->on_disk = d->on_disk;
        return 0;
    }
    return missing_vector(d->name, msg);
}

static int take_sparse(struct qv_collection_config *c, struct qv_sparse_config *sparse,
                       const struct qv_sparse_config *d, struct qv_errmsg *msg)
{
    for (uint32_t i = 0; i < c->sparse_count; i++) {
        struct qv_sparse_config *to = &sparse[i];
        if (!qv_str_equal(to->name, d->name))
            continue;
        if (d->has_modifier) {
            to->has_modifier = true;
            to->modifier_idf = d->modifier_idf;
        }
        if (d->has_index) {
            to->has_index = true;
            TAKE(full_scan_threshold);
            TAKE(on_disk);
            if (d->has_datatype) {
                to->has_datatype = true;
                to->datatype = d->datatype;
            }
        }
        return 0;
    }
    return missing_vector(d->name, msg);
}

/* The keys of have and more; more's win. nulls_remove: a null of more takes the key away. */
static int merge_objects(struct qv_arena *a, struct qv_doc have, struct qv_doc more,
                         bool nulls_remove, struct qv_doc *out)
{
    struct qv_buf b;
    struct qv_doc_iter it;
    struct qv_str key;
    struct qv_doc value;
    struct qv_doc other;
    uint32_t n = 0;
    *out = have;
    if (more.p == NULL)
        return 0;
    qv_buf_init(&b, 0);
    size_t mark = qv_doc_begin_object(&b);
    const struct qv_doc none = {NULL, 0};
    struct qv_doc parts[2] = {have, more};
    for (int i = have.p == NULL; i < 2; i++) {
        struct qv_doc against = i == 0 ? more : none;
        qv_doc_iter_init(&it, parts[i]);
        while (qv_doc_next(&it, &key, &value)) {
            bool replaced = against.p != NULL && qv_doc_find(against, key, &other);
            if (replaced || (i == 1 && nulls_remove && qv_doc_type(value) == QV_DOC_NULL))
                continue;
            qv_doc_put_key(&b, key.p, key.n);
            qv_doc_put_doc(&b, value);
            n++;
        }
    }
    qv_doc_end_object(&b, mark, n);
    *out = (struct qv_doc){b.failed ? NULL : qv_arena_dup(a, b.data, b.len), b.len};
    qv_buf_close(&b);
    return out->p == NULL ? QV_ENOMEM : 0;
}

int qv_config_apply(struct qv_arena *a, const struct qv_collection_config *c,
                    const struct qv_config_diff *d, struct qv_collection_config **out,
                    struct qv_errmsg *msg)
{
    struct qv_collection_config *to = qv_arena_dup(a, c, sizeof *c);
    struct qv_vector_config *vectors =
        qv_arena_dup(a, c->vectors, c->vector_count * sizeof *c->vectors);
    struct qv_sparse_config *sparse =
        qv_arena_dup(a, c->sparse, c->sparse_count * sizeof *c->sparse);
    if (to == NULL || vectors == NULL || sparse == NULL)
        return QV_ENOMEM;
    to->vectors = vectors;
    to->sparse = sparse;
    int err = take_params(to, d, msg);
    for (uint32_t i = 0; i < d->vector_count && err == 0; i++)
        err = take_vector(to, vectors, &d->vectors[i], msg);
    for (uint32_t i = 0; i < d->sparse_count && err == 0; i++)
        err = take_sparse(to, sparse, &d->sparse[i], msg);
    if (d->has_hnsw)
        take_hnsw(&to->hnsw, &d->hnsw);
    take_optimizer(&to->optimizer, &d->optimizer);
    if (d->has_quant)
        to->quant = d->quant;
    if (err == 0)
        err = merge_objects(a, c->strict_mode, d->strict_mode, false, &to->strict_mode);
    if (err == 0)
        err = merge_objects(a, c->metadata, d->metadata, true, &to->metadata);
    *out = to;
    return err == 0 ? qv_config_check(to, msg) : err;
}

/* ---- named vectors ---- */

static int other_definition(const char *what, struct qv_str name, const char *why,
                            struct qv_errmsg *msg)
{
    return qv_fail(msg, QV_EINVAL, "%s `%.*s` already exists %s", what, (int)name.n, name.p, why);
}

/* Is the name taken? *same: by a vector that is defined alike. */
static int compare_taken(const struct qv_collection_config *c, const struct qv_vector_spec *spec,
                         bool *same, struct qv_errmsg *msg)
{
    const struct qv_vector_config *v = spec->dense;
    const struct qv_sparse_config *s = spec->sparse;
    struct qv_str name = v != NULL ? v->name : s->name;
    const struct qv_vector_config *dense = qv_config_vector(c, name);
    const struct qv_sparse_config *sparse = qv_config_sparse(c, name);
    *same = false;
    if (v != NULL && sparse != NULL)
        return other_definition("Vector", name, "as a sparse vector", msg);
    if (s != NULL && dense != NULL)
        return other_definition("Vector", name, "as a dense vector", msg);
    if (dense != NULL) {
        *same = dense->size == v->size && dense->distance == v->distance &&
                dense->multivector == v->multivector && dense->has_datatype == v->has_datatype &&
                dense->datatype == v->datatype;
        return *same ? 0 : other_definition("Vector", name, "with a different configuration", msg);
    }
    if (sparse != NULL) {
        *same = sparse->has_modifier == s->has_modifier &&
                sparse->modifier_idf == s->modifier_idf &&
                sparse->has_datatype == s->has_datatype && sparse->datatype == s->datatype;
        return *same
                   ? 0
                   : other_definition("Sparse vector", name, "with a different configuration", msg);
    }
    return 0;
}

int qv_config_add_vector(struct qv_arena *a, const struct qv_collection_config *c,
                         const struct qv_vector_spec *spec, const struct qv_collection_config **out,
                         struct qv_errmsg *msg)
{
    bool same;
    *out = c;
    int err = compare_taken(c, spec, &same, msg);
    if (err != 0 || same)
        return err;
    struct qv_collection_config *to = qv_arena_dup(a, c, sizeof *c);
    struct qv_vector_config *vectors =
        QV_ARENA_ARRAY(a, struct qv_vector_config, c->vector_count + 1);
    struct qv_sparse_config *sparse =
        QV_ARENA_ARRAY(a, struct qv_sparse_config, c->sparse_count + 1);
    if (to == NULL || vectors == NULL || sparse == NULL)
        return QV_ENOMEM;
    if (c->vector_count > 0)
        memcpy(vectors, c->vectors, c->vector_count * sizeof *vectors);
    if (c->sparse_count > 0)
        memcpy(sparse, c->sparse, c->sparse_count * sizeof *sparse);
    to->vectors = vectors;
    to->sparse = sparse;
    if (spec->dense != NULL) {
        vectors[to->vector_count] = *spec->dense;
        vectors[to->vector_count++].number = to->next_number++;
        to->vectors_unnamed = false; /* a map of names, one of which may be empty */
    } else {
        sparse[to->sparse_count] = *spec->sparse;
        sparse[to->sparse_count++].number = to->next_number++;
    }
    *out = to;
    return qv_config_check(to, msg);
}

int qv_config_drop_vector(struct qv_arena *a, const struct qv_collection_config *c,
                          struct qv_str name, const struct qv_collection_config **out)
{
    const struct qv_vector_config *dense = qv_config_vector(c, name);
    const struct qv_sparse_config *sparse = qv_config_sparse(c, name);
    *out = c;
    if (dense == NULL && sparse == NULL)
        return 0;
    struct qv_collection_config *to = qv_arena_dup(a, c, sizeof *c);
    struct qv_vector_config *vectors = QV_ARENA_ARRAY(a, struct qv_vector_config, c->vector_count);
    struct qv_sparse_config *rest = QV_ARENA_ARRAY(a, struct qv_sparse_config, c->sparse_count);
    if (to == NULL || vectors == NULL || rest == NULL)
        return QV_ENOMEM;
    to->vector_count = 0;
    to->sparse_count = 0;
    for (uint32_t i = 0; i < c->vector_count; i++) {
        if (&c->vectors[i] != dense)
            vectors[to->vector_count++] = c->vectors[i];
    }
    for (uint32_t i = 0; i < c->sparse_count; i++) {
        if (&c->sparse[i] != sparse)
            rest[to->sparse_count++] = c->sparse[i];
    }
    to->vectors = vectors;
    to->sparse = rest;
    to->vectors_unnamed = c->vectors_unnamed && to->vector_count == 1;
    *out = to;
    return 0;
}
