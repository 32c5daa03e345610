#include "core/config.h"

#include "base/qv_assert.h"
#include "core/limits.h"
#include "core/strict.h"

static uint32_t effective(struct qv_opt_u64 own, struct qv_opt_u64 shared, uint32_t otherwise)
{
    uint64_t v = own.has ? own.v : shared.has ? shared.v : otherwise;
    return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

void qv_config_hnsw(const struct qv_collection_config *c, const struct qv_vector_config *v,
                    uint32_t *m, uint32_t *ef_construct)
{
    static const struct qv_hnsw_config none;
    const struct qv_hnsw_config *own = v->has_hnsw ? &v->hnsw : &none;
    *m = effective(own->m, c->hnsw.m, QV_HNSW_M_DEFAULT);
    *ef_construct =
        effective(own->ef_construct, c->hnsw.ef_construct, QV_HNSW_EF_CONSTRUCT_DEFAULT);
}

const struct qv_quant_config *qv_config_quant(const struct qv_collection_config *c,
                                              const struct qv_vector_config *v)
{
    return v->quant.kind != QV_QUANT_NONE ? &v->quant : &c->quant;
}

const struct qv_vector_config *qv_config_vector(const struct qv_collection_config *c,
                                                struct qv_str name)
{
    for (uint32_t i = 0; i < c->vector_count; i++) {
        if (qv_str_equal(c->vectors[i].name, name))
            return &c->vectors[i];
    }
    return NULL;
}

const struct qv_sparse_config *qv_config_sparse(const struct qv_collection_config *c,
                                                struct qv_str name)
{
    for (uint32_t i = 0; i < c->sparse_count; i++) {
        if (qv_str_equal(c->sparse[i].name, name))
            return &c->sparse[i];
    }
    return NULL;
}

struct qv_str qv_config_vector_name(const struct qv_collection_config *c, uint32_t number)
{
    static const char unnamed[] = "";
    for (uint32_t i = 0; i < c->vector_count; i++) {
        if (c->vectors[i].number == number)
            return c->vectors[i].name.n == 0 ? (struct qv_str){unnamed, 0} : c->vectors[i].name;
    }
    for (uint32_t i = 0; i < c->sparse_count; i++) {
        if (c->sparse[i].number == number)
            return c->sparse[i].name;
    }
    return (struct qv_str){NULL, 0};
}

/* ---- check ---- */

static int check_opt(const char *where, const char *field, struct qv_opt_u64 v, uint64_t min,
                     uint64_t max, struct qv_errmsg *msg)
{
    if (v.has && (v.v < min || v.v > max))
        return qv_fail(msg, QV_EVALIDATION, "%s.%s: value %llu invalid, must be %llu to %llu",
                       where, field, (unsigned long long)v.v, (unsigned long long)min,
                       (unsigned long long)max);
    return 0;
}

static int check_hnsw(const char *where, const struct qv_hnsw_config *h, struct qv_errmsg *msg)
{
    int err = check_opt(where, "m", h->m, 0, 512, msg);
    if (err == 0)
        err = check_opt(where, "ef_construct", h->ef_construct, 4, 4096, msg);
    return err;
}

static int check_quant(const struct qv_quant_config *q, struct qv_errmsg *msg)
{
    if (q->quantile.has && !(q->quantile.v >= 0.5 && q->quantile.v <= 1.0))
        return qv_fail(
            msg, QV_EVALIDATION,
            "quantization_config.scalar.quantile: value %g invalid, must be from 0.5 to 1",
            q->quantile.v);
    return 0;
}

static int check_name(struct qv_str name, struct qv_errmsg *msg)
{
    if (name.n > QV_NAME_BYTES_MAX)
        return qv_fail(msg, QV_EVALIDATION, "vectors: a name of %zu bytes, at most %u are allowed",
                       name.n, QV_NAME_BYTES_MAX);
    if (name.n > 0 && memchr(name.p, 0, name.n) != NULL)
        return qv_fail(msg, QV_EVALIDATION, "vectors: a name holds a NUL character");
    return 0;
}

static int check_vector(const struct qv_collection_config *c, uint32_t i, struct qv_errmsg *msg)
{
    const struct qv_vector_config *v = &c->vectors[i];
    int err = check_name(v->name, msg);
    if (err != 0)
        return err;
    if (v->size < 1 || v->size > QV_DIM_MAX)
        return qv_fail(msg, QV_EVALIDATION, "vectors.size: value %u invalid, must be 1 to %u",
                       v->size, QV_DIM_MAX);
    for (uint32_t k = 0; k < i; k++) {
        if (qv_str_equal(v->name, c->vectors[k].name) || v->number == c->vectors[k].number)
            return qv_fail(msg, QV_EVALIDATION, "vectors: a name occurs twice");
    }
    if (v->has_hnsw)
        err = check_hnsw("vectors.hnsw_config", &v->hnsw, msg);
    return err != 0 ? err : check_quant(&v->quant, msg);
}

static int check_sparse(const struct qv_collection_config *c, uint32_t i, struct qv_errmsg *msg)
{
    const struct qv_sparse_config *s = &c->sparse[i];
    int err = check_name(s->name, msg);
    if (err == 0 && s->name.n == 0)
        err = qv_fail(msg, QV_EVALIDATION, "sparse_vectors: a name is empty");
    if (err == 0 && qv_config_vector(c, s->name) != NULL)
        err = qv_fail(msg, QV_EVALIDATION, "sparse_vectors: a name is taken by a dense vector");
    for (uint32_t k = 0; k < i && err == 0; k++) {
        if (qv_str_equal(s->name, c->sparse[k].name))
            err = qv_fail(msg, QV_EVALIDATION, "sparse_vectors: a name occurs twice");
    }
    return err;
}

int qv_config_check(const struct qv_collection_config *c, struct qv_errmsg *msg)
{
    if (c->vector_count + c->sparse_count > QV_VECTORS_PER_POINT_MAX)
        return qv_fail(msg, QV_EVALIDATION, "vectors: %u named vectors, at most %u are allowed",
                       c->vector_count + c->sparse_count, QV_VECTORS_PER_POINT_MAX);
    if (c->shard_number < 1 || c->replication_factor < 1 || c->write_consistency_factor < 1)
        return qv_fail(msg, QV_EVALIDATION,
                       "shard_number, replication_factor, write_consistency_factor: value 0 "
                       "invalid, must be 1 or larger");
    struct qv_strict strict;
    int err = check_hnsw("hnsw_config", &c->hnsw, msg);
    if (err == 0)
        err = qv_strict_parse(c->strict_mode, &strict, msg);
    for (uint32_t i = 0; i < c->vector_count && err == 0; i++)
        err = check_vector(c, i, msg);
    if (err == 0)
        err = check_quant(&c->quant, msg);
    for (uint32_t i = 0; i < c->sparse_count && err == 0; i++)
        err = check_sparse(c, i, msg);
    return err;
}

/* ---- copy ---- */

static bool copy_str(struct qv_arena *a, struct qv_str *s)
{
    if (s->n == 0) {
        s->p = "";
        return true;
    }
    s->p = qv_arena_strndup(a, s->p, s->n);
    return s->p != NULL;
}

static bool copy_doc(struct qv_arena *a, struct qv_doc *d)
{
    if (d->p == NULL)
        return true;
    d->p = qv_arena_dup(a, d->p, d->n);
    return d->p != NULL;
}

static bool copy_quant(struct qv_arena *a, struct qv_quant_config *q)
{
    return copy_str(a, &q->encoding) && copy_str(a, &q->query_encoding);
}

static bool copy_vectors(struct qv_arena *a, struct qv_collection_config *c)
{
    struct qv_vector_config *v = qv_arena_dup(a, c->vectors, c->vector_count * sizeof *c->vectors);
    struct qv_sparse_config *s = qv_arena_dup(a, c->sparse, c->sparse_count * sizeof *c->sparse);
    bool ok = v != NULL && s != NULL;
    for (uint32_t i = 0; i < c->vector_count && ok; i++)
        ok = copy_str(a, &v[i].name) && copy_quant(a, &v[i].quant);
    for (uint32_t i = 0; i < c->sparse_count && ok; i++)
        ok = copy_str(a, &s[i].name);
    c->vectors = v;
    c->sparse = s;
    return ok;
}

struct qv_collection_config *qv_config_copy(struct qv_arena *a,
                                            const struct qv_collection_config *c)
{
    struct qv_collection_config *out = qv_arena_dup(a, c, sizeof *c);
    if (out == NULL)
        return NULL;
    bool ok = copy_vectors(a, out) && copy_quant(a, &out->quant) &&
              copy_doc(a, &out->strict_mode) && copy_doc(a, &out->metadata);
    if (ok && qv_strict_parse(out->strict_mode, &out->strict, NULL) != 0)
        out->strict = (struct qv_strict){0}; /* checked before it was written down */
    struct qv_payload_index *p =
        qv_arena_dup(a, c->payload_indexes, c->payload_index_count * sizeof *p);
    ok = ok && p != NULL;
    for (uint32_t i = 0; i < c->payload_index_count && ok; i++)
        ok = copy_str(a, &p[i].field) && copy_str(a, &p[i].type) && copy_doc(a, &p[i].params);
    out->payload_indexes = p;
    out->placement.ranges = qv_arena_dup(a, c->placement.ranges,
                                         c->placement.range_count * sizeof *c->placement.ranges);
    return ok && out->placement.ranges != NULL ? out : NULL;
}
