#include "core/strict.h"

#include "base/qv_assert.h"

#include <math.h>
#include <stddef.h>

/* ---- parsing ---- */

enum kind { KIND_U64, KIND_BOOL, KIND_F64, KIND_DOC };

struct field {
    const char *key;
    enum kind kind;
    size_t at;
    uint64_t min, max;
};

#define NUMBER(name, min, max)                                                                     \
    {                                                                                              \
#name, KIND_U64, offsetof(struct qv_strict, name), (min), (max)                            \
    }
#define SWITCH(name)                                                                               \
    {                                                                                              \
#name, KIND_BOOL, offsetof(struct qv_strict, name), 0, 0                                   \
    }

static const struct field fields[] = {
    SWITCH(enabled),
    NUMBER(max_query_limit, 1, UINT64_MAX),
    NUMBER(max_timeout, 1, UINT64_MAX),
    SWITCH(unindexed_filtering_retrieve),
    SWITCH(unindexed_filtering_update),
    NUMBER(search_max_hnsw_ef, 0, UINT64_MAX),
    SWITCH(search_allow_exact),
    {"search_max_oversampling", KIND_F64, offsetof(struct qv_strict, search_max_oversampling), 0,
     0},
    NUMBER(upsert_max_batchsize, 0, UINT64_MAX),
    NUMBER(search_max_batchsize, 0, UINT64_MAX),
    NUMBER(max_collection_vector_size_bytes, 0, UINT64_MAX),
    NUMBER(read_rate_limit, 1, UINT64_MAX),
    NUMBER(write_rate_limit, 1, UINT64_MAX),
    NUMBER(max_collection_payload_size_bytes, 0, UINT64_MAX),
    NUMBER(max_points_count, 1, UINT64_MAX),
    NUMBER(filter_max_conditions, 0, UINT64_MAX),
    NUMBER(condition_max_size, 0, UINT64_MAX),
    NUMBER(max_payload_index_count, 0, UINT64_MAX),
    NUMBER(max_resident_memory_percent, 1, 100),
    {"multivector_config", KIND_DOC, offsetof(struct qv_strict, multivector_config), 0, 0},
    {"sparse_config", KIND_DOC, offsetof(struct qv_strict, sparse_config), 0, 0},
};

static int wrong_type(const char *key, const char *expected, struct qv_errmsg *msg)
{
    return qv_fail(msg, QV_EFORMAT, "strict_mode_config.%s: invalid type, expected %s", key,
                   expected);
}

static int parse_number(const struct field *f, struct qv_doc d, struct qv_opt_u64 *out,
                        struct qv_errmsg *msg)
{
    if (qv_doc_type(d) != QV_DOC_INT || qv_doc_int(d) < 0)
        return wrong_type(f->key, "an unsigned number", msg);
    *out = (struct qv_opt_u64){true, (uint64_t)qv_doc_int(d)};
    if (out->v < f->min)
        return qv_fail(msg, QV_EVALIDATION,
                       "strict_mode_config.%s: value %llu invalid, must be %llu or larger", f->key,
                       (unsigned long long)out->v, (unsigned long long)f->min);
    if (out->v > f->max)
        return qv_fail(msg, QV_EVALIDATION,
                       "strict_mode_config.%s: value %llu invalid, must be from %llu to %llu",
                       f->key, (unsigned long long)out->v, (unsigned long long)f->min,
                       (unsigned long long)f->max);
    return 0;
}

/* {"name": {"max_...": number}} */
static int parse_names(const struct field *f, struct qv_doc d, struct qv_errmsg *msg)
{
    struct qv_doc_iter it;
    struct qv_str name;
    struct qv_doc bounds;
    if (qv_doc_type(d) != QV_DOC_OBJECT)
        return wrong_type(f->key, "a map", msg);
    qv_doc_iter_init(&it, d);
    while (qv_doc_next(&it, &name, &bounds)) {
        struct qv_doc_iter inner;
        struct qv_doc value;
        if (qv_doc_type(bounds) != QV_DOC_OBJECT)
            return wrong_type(f->key, "a map of maps", msg);
        qv_doc_iter_init(&inner, bounds);
        while (qv_doc_next(&inner, &name, &value)) {
            if (qv_doc_type(value) != QV_DOC_NULL &&
                (qv_doc_type(value) != QV_DOC_INT || qv_doc_int(value) < 0))
                return wrong_type(f->key, "an unsigned number", msg);
        }
    }
    return 0;
}

static int parse_field(const struct field *f, struct qv_doc d, struct qv_strict *out,
                       struct qv_errmsg *msg)
{
    char *at = (char *)out + f->at;
    enum qv_doc_type t = qv_doc_type(d);
    if (t == QV_DOC_NULL)
        return 0;
    switch (f->kind) {
    case KIND_U64:
        return parse_number(f, d, (struct qv_opt_u64 *)(void *)at, msg);
    case KIND_BOOL:
        if (t != QV_DOC_TRUE && t != QV_DOC_FALSE)
            return wrong_type(f->key, "a boolean", msg);
        *(struct qv_opt_bool *)(void *)at = (struct qv_opt_bool){true, t == QV_DOC_TRUE};
        return 0;
    case KIND_F64:
        if (t != QV_DOC_INT && t != QV_DOC_DOUBLE)
            return wrong_type(f->key, "a number", msg);
        *(struct qv_opt_f64 *)(void *)at = (struct qv_opt_f64){true, qv_doc_double(d)};
        return 0;
    case KIND_DOC:
        *(struct qv_doc *)(void *)at = d;
        return parse_names(f, d, msg);
    }
    QV_UNREACHABLE();
}

int qv_strict_parse(struct qv_doc doc, struct qv_strict *out, struct qv_errmsg *msg)
{
    *out = (struct qv_strict){0};
    if (doc.p == NULL)
        return 0;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        struct qv_doc value;
        if (!qv_doc_find(doc, qv_str_of(fields[i].key), &value))
            continue;
        int err = parse_field(&fields[i], value, out, msg);
        if (err != 0)
            return err;
    }
    return 0;
}

/* ---- bounds ---- */

static bool enabled(const struct qv_collection_config *c)
{
    return c->strict.enabled.has && c->strict.enabled.v;
}

static int check_limit(const struct qv_opt_u64 *limit, uint64_t value, const char *name,
                       struct qv_errmsg *msg)
{
    if (!limit->has || value <= limit->v)
        return 0;
    return qv_fail(msg, QV_EBADREQ,
                   "Limit exceeded %llu > %llu for \"%s\". Help: Reduce the \"%s\" parameter to or "
                   "below %llu.",
                   (unsigned long long)value, (unsigned long long)limit->v, name, name,
                   (unsigned long long)limit->v);
}

int qv_strict_timeout(const struct qv_collection_config *c, uint64_t timeout_ms,
                      struct qv_errmsg *msg)
{
    if (!enabled(c) || timeout_ms == 0)
        return 0;
    return check_limit(&c->strict.max_timeout, timeout_ms / 1000, "timeout", msg);
}

/* ---- filters ---- */

enum ability { /* what a payload index is good for */
               CAN_INT_MATCH = 1,
               CAN_INT_RANGE = 2,
               CAN_KEYWORD = 4,
               CAN_PREFIX = 8,
               CAN_FLOAT = 16,
               CAN_TEXT = 32,
               CAN_PHRASE = 64,
               CAN_BOOL = 128,
               CAN_UUID = 256,
               CAN_DATETIME = 512,
               CAN_GEO = 1024
};
#define CAN_ANYTHING 2047u

static bool option(const struct qv_payload_index *index, const char *name, bool otherwise)
{
    struct qv_doc value;
    if (index->params.p == NULL || !qv_doc_find(index->params, qv_str_of(name), &value))
        return otherwise;
    enum qv_doc_type t = qv_doc_type(value);
    return t == QV_DOC_TRUE ||
           (t != QV_DOC_FALSE && t != QV_DOC_OBJECT ? otherwise : t == QV_DOC_OBJECT);
}

static unsigned abilities(const struct qv_payload_index *index)
{
    static const struct {
        const char *type;
        unsigned can;
    } simple[] = {{"float", CAN_FLOAT},
                  {"bool", CAN_BOOL},
                  {"uuid", CAN_UUID},
                  {"datetime", CAN_DATETIME},
                  {"geo", CAN_GEO}};
    if (qv_str_equal(index->type, qv_str_of("integer")))
        return (option(index, "lookup", true) ? CAN_INT_MATCH : 0u) |
               (option(index, "range", true) ? CAN_INT_RANGE : 0u);
    if (qv_str_equal(index->type, qv_str_of("keyword")))
        return CAN_KEYWORD | (option(index, "prefix", false) ? CAN_PREFIX : 0u);
    if (qv_str_equal(index->type, qv_str_of("text")))
        return CAN_TEXT | (option(index, "phrase_matching", false) ? CAN_PHRASE : 0u);
    for (size_t i = 0; i < sizeof simple / sizeof simple[0]; i++) {
        if (qv_str_equal(index->type, qv_str_of(simple[i].type)))
            return simple[i].can;
    }
    return 0;
}

static unsigned for_value(const struct qv_match *m)
{
    struct qv_id uuid;
    if (m->type == QV_MATCH_INT)
        return CAN_INT_MATCH;
    if (m->type == QV_MATCH_BOOL)
        return CAN_BOOL;
    return CAN_KEYWORD | (qv_id_parse_uuid(m->s.p, m->s.n, &uuid) == 0 ? CAN_UUID : 0u);
}

/* One of these would do; 0: the condition needs none. */
static unsigned needed(const struct qv_cond *c)
{
    switch (c->type) {
    case QV_COND_MATCH:
        return for_value(&c->u.match);
    case QV_COND_MATCH_ANY:
    case QV_COND_MATCH_EXCEPT: {
        unsigned can = c->u.any.count == 0 ? 0 : CAN_ANYTHING;
        for (uint32_t i = 0; i < c->u.any.count; i++)
            can &= for_value(&c->u.any.items[i]);
        return can;
    }
    case QV_COND_MATCH_TEXT:
    case QV_COND_MATCH_TEXT_ANY:
        return CAN_TEXT;
    case QV_COND_MATCH_PHRASE:
        return CAN_PHRASE;
    case QV_COND_MATCH_PREFIX:
        return CAN_PREFIX;
    case QV_COND_RANGE:
        return CAN_FLOAT | CAN_INT_RANGE;
    case QV_COND_DATETIME_RANGE:
        return CAN_DATETIME;
    case QV_COND_GEO_BOX:
    case QV_COND_GEO_RADIUS:
    case QV_COND_GEO_POLYGON:
        return CAN_GEO;
    case QV_COND_VALUES_COUNT:
    case QV_COND_IS_EMPTY:
    case QV_COND_IS_NULL:
    case QV_COND_KEY_IS_EMPTY:
    case QV_COND_KEY_IS_NULL:
        return CAN_ANYTHING;
    case QV_COND_HAS_ID:
    case QV_COND_HAS_VECTOR:
    case QV_COND_SLICE:
    case QV_COND_NESTED:
    case QV_COND_FILTER:
        return 0;
    }
    QV_UNREACHABLE();
}

static uint64_t list_size(const struct qv_cond *c)
{
    return c->type == QV_COND_MATCH_ANY || c->type == QV_COND_MATCH_EXCEPT ? c->u.any.count
           : c->type == QV_COND_HAS_ID                                     ? c->u.has_id.count
                                                                           : 0;
}

#define KEY_MAX 1024 /* of keys inside nested filters, put together */

struct look {
    const struct qv_collection_config *config;
    bool indexes; /* must fields be indexed? */
    uint64_t conditions, largest;
    struct qv_str key; /* the first field that lacks one; p == NULL: none */
    unsigned could;
    char prefix[KEY_MAX]; /* of the nested filter that is looked at */
    size_t prefix_n;
    char found[KEY_MAX];
};

static void look_at(struct look *l, const struct qv_filter *f);

/* "a" inside "list" is "list[].a". */
static struct qv_str full_key(const struct look *l, struct qv_str key, char out[KEY_MAX])
{
    if (l->prefix_n == 0 || l->prefix_n + key.n > KEY_MAX)
        return key;
    memcpy(out, l->prefix, l->prefix_n);
    memcpy(out + l->prefix_n, key.p, key.n);
    return (struct qv_str){out, l->prefix_n + key.n};
}

static bool has_index(const struct qv_collection_config *c, struct qv_str key, unsigned could)
{
    for (uint32_t i = 0; i < c->payload_index_count; i++) {
        if (qv_str_equal(c->payload_indexes[i].field, key))
            return (abilities(&c->payload_indexes[i]) & could) != 0;
    }
    return false;
}

static void look_nested(struct look *l, const struct qv_cond *c)
{
    size_t before = l->prefix_n;
    bool open = c->key.n < 2 || memcmp(c->key.p + c->key.n - 2, "[]", 2) != 0;
    if (before + c->key.n + 3 <= KEY_MAX) {
        memcpy(l->prefix + before, c->key.p, c->key.n);
        l->prefix_n += c->key.n;
        memcpy(l->prefix + l->prefix_n, "[].", 3);
        if (!open)
            l->prefix[l->prefix_n] = '.';
        l->prefix_n += open ? 3 : 1;
    }
    look_at(l, c->u.filter);
    l->prefix_n = before;
}

static void look_cond(struct look *l, const struct qv_cond *c)
{
    if (c->type == QV_COND_FILTER) {
        look_at(l, c->u.filter);
        return;
    }
    if (c->type == QV_COND_NESTED) {
        look_nested(l, c);
        return;
    }
    l->conditions++;
    if (list_size(c) > l->largest)
        l->largest = list_size(c);
    unsigned could = l->indexes && l->key.p == NULL ? needed(c) : 0;
    if (could == 0)
        return;
    struct qv_str key = full_key(l, c->key, l->found);
    if (!has_index(l->config, key, could)) {
        l->key = key;
        l->could = could;
    }
}

static void look_list(struct look *l, const struct qv_cond *list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        look_cond(l, &list[i]);
}

static void look_at(struct look *l, const struct qv_filter *f)
{
    if (f == NULL)
        return;
    look_list(l, f->should, f->should_count);
    look_list(l, f->min_should, f->min_should_count);
    look_list(l, f->must, f->must_count);
    look_list(l, f->must_not, f->must_not_count);
}

static int no_index(const struct look *l, struct qv_errmsg *msg)
{
    static const struct {
        const char *type;
        unsigned can;
    } types[] = {{"bool", CAN_BOOL},
                 {"datetime", CAN_DATETIME},
                 {"float", CAN_FLOAT},
                 {"geo", CAN_GEO},
                 {"integer", CAN_INT_MATCH | CAN_INT_RANGE},
                 {"keyword", CAN_KEYWORD | CAN_PREFIX},
                 {"text", CAN_TEXT | CAN_PHRASE},
                 {"uuid", CAN_UUID}};
    char list[128] = "";
    size_t n = 0;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if ((types[i].can & l->could) == 0)
            continue;
        const char *comma = n == 0 ? "" : ", ";
        size_t a = strlen(comma), b = strlen(types[i].type);
        QV_ASSERT(n + a + b < sizeof list);
        memcpy(list + n, comma, a);
        memcpy(list + n + a, types[i].type, b + 1);
        n += a + b;
    }
    return qv_fail(msg, QV_EBADREQ,
                   "Index required but not found for \"%.*s\" of one of the following types: [%s]. "
                   "Help: Create an index for this key or use a different filter.",
                   (int)(l->key.n < 200 ? l->key.n : 200), l->key.p, list);
}

static int check_filter(const struct qv_collection_config *c, const struct qv_filter *f,
                        const struct qv_opt_bool *unindexed, struct qv_errmsg *msg)
{
    const struct qv_strict *s = &c->strict;
    struct look l = {.config = c, .indexes = unindexed->has && !unindexed->v};
    if (f == NULL)
        return 0;
    look_at(&l, f);
    if (s->filter_max_conditions.has && l.conditions > s->filter_max_conditions.v)
        return qv_fail(msg, QV_EBADREQ,
                       "Filter condition limit reached (%llu > %llu). Help: Reduce the amount of "
                       "conditions of your filter.",
                       (unsigned long long)l.conditions,
                       (unsigned long long)s->filter_max_conditions.v);
    if (s->condition_max_size.has && l.largest > s->condition_max_size.v)
        return qv_fail(msg, QV_EBADREQ,
                       "Condition size limit reached (%llu > %llu). Help: Reduce the size of your "
                       "condition.",
                       (unsigned long long)l.largest, (unsigned long long)s->condition_max_size.v);
    return l.key.p != NULL ? no_index(&l, msg) : 0;
}

/* ---- reads ---- */

static int check_exact(const struct qv_collection_config *c, const struct qv_query *q,
                       struct qv_errmsg *msg)
{
    uint32_t m, ef;
    const struct qv_opt_bool *allowed = &c->strict.search_allow_exact;
    if (!allowed->has || allowed->v)
        return 0;
    if (q->exact)
        return qv_fail(msg, QV_EBADREQ, "Exact search disabled!. Help: Set exact=false.");
    if (q->kind != QV_QUERY_VECTOR && q->kind != QV_QUERY_ID)
        return 0;
    const struct qv_vector_config *v = qv_config_vector(c, q->using_);
    if (v == NULL)
        return 0;
    qv_config_hnsw(c, v, &m, &ef);
    if (m > 0)
        return 0;
    return qv_fail(msg, QV_EBADREQ,
                   "Request is forbidden%s%.*s%s because global vector indexing is disabled "
                   "(hnsw_config.m = 0). Help: Enable global vector indexing or enable strict mode "
                   "`search_allow_exact` option",
                   q->using_.n > 0 ? " on '" : "", (int)(q->using_.n < 200 ? q->using_.n : 200),
                   q->using_.n > 0 ? q->using_.p : "", q->using_.n > 0 ? "'" : "");
}

static int check_query(const struct qv_collection_config *c, const struct qv_query *q,
                       struct qv_errmsg *msg)
{
    const struct qv_strict *s = &c->strict;
    int err = check_limit(&s->max_query_limit, q->limit, "limit", msg);
    if (err == 0)
        err = check_filter(c, q->filter, &s->unindexed_filtering_retrieve, msg);
    if (err == 0)
        err = check_exact(c, q, msg);
    if (err == 0 && s->search_max_oversampling.has && q->quant_oversampling.has &&
        q->quant_oversampling.v > s->search_max_oversampling.v)
        err = qv_fail(msg, QV_EBADREQ,
                      "Limit exceeded %g > %g for \"oversampling\". Help: Reduce the "
                      "\"oversampling\" parameter to or below %g.",
                      q->quant_oversampling.v, s->search_max_oversampling.v,
                      s->search_max_oversampling.v);
    if (err == 0 && q->hnsw_ef.has)
        err = check_limit(&s->search_max_hnsw_ef, q->hnsw_ef.v, "hnsw_ef", msg);
    return err;
}

int qv_strict_queries(const struct qv_collection_config *c, const struct qv_query_req *req,
                      struct qv_errmsg *msg)
{
    if (!enabled(c))
        return 0;
    int err =
        check_limit(&c->strict.search_max_batchsize, req->query_count, "search batch size", msg);
    for (uint32_t i = 0; i < req->query_count && err == 0; i++)
        err = check_query(c, &req->queries[i], msg);
    return err;
}

int qv_strict_scroll(const struct qv_collection_config *c, const struct qv_scroll_req *req,
                     struct qv_errmsg *msg)
{
    if (!enabled(c))
        return 0;
    int err = check_limit(&c->strict.max_query_limit, req->limit, "limit", msg);
    return err != 0 ? err
                    : check_filter(c, req->filter, &c->strict.unindexed_filtering_retrieve, msg);
}

int qv_strict_count(const struct qv_collection_config *c, const struct qv_count_req *req,
                    struct qv_errmsg *msg)
{
    return enabled(c) ? check_filter(c, req->filter, &c->strict.unindexed_filtering_retrieve, msg)
                      : 0;
}

int qv_strict_facet(const struct qv_collection_config *c, const struct qv_facet_req *req,
                    struct qv_errmsg *msg)
{
    if (!enabled(c))
        return 0;
    int err = check_limit(&c->strict.max_query_limit, req->limit, "limit", msg);
    return err != 0 ? err
                    : check_filter(c, req->filter, &c->strict.unindexed_filtering_retrieve, msg);
}

/* ---- writes ---- */

bool qv_strict_needs_usage(const struct qv_strict *s)
{
    return s->enabled.has && s->enabled.v &&
           (s->max_points_count.has || s->max_collection_vector_size_bytes.has ||
            s->max_collection_payload_size_bytes.has || s->max_resident_memory_percent.has);
}

static int size_reached(const char *what, uint64_t limit, struct qv_errmsg *msg)
{
    return qv_fail(msg, QV_EBADREQ, "Max %s storage size limit of %gMB reached!", what,
                   (double)limit / (1024.0 * 1024.0));
}

static int check_memory(const struct qv_strict *s, const struct qv_strict_usage *usage,
                        struct qv_errmsg *msg)
{
    const struct qv_opt_u64 *limit = &s->max_resident_memory_percent;
    if (!limit->has || usage->memory_percent < limit->v)
        return 0;
    return qv_fail(msg, QV_EBADREQ,
                   "Resident memory usage is at %u%% of total memory, exceeding the configured "
                   "limit of %llu%%. Help: Delete points or collections, or raise "
                   "`max_resident_memory_percent` in the strict mode config of this collection.",
                   usage->memory_percent, (unsigned long long)limit->v);
}

static int check_sizes(const struct qv_strict *s, const struct qv_strict_usage *usage, bool points,
                       struct qv_errmsg *msg)
{
    const struct qv_opt_u64 *vectors = &s->max_collection_vector_size_bytes;
    const struct qv_opt_u64 *payload = &s->max_collection_payload_size_bytes;
    if (points && vectors->has && usage->vector_bytes >= vectors->v)
        return size_reached("vector", vectors->v, msg);
    if (payload->has && usage->payload_bytes >= payload->v)
        return size_reached("payload", payload->v, msg);
    if (points && s->max_points_count.has && usage->points >= s->max_points_count.v)
        return qv_fail(msg, QV_EBADREQ, "Max points count limit of %llu reached!",
                       (unsigned long long)s->max_points_count.v);
    return 0;
}

/* The bound of one vector name; false: none. */
static bool name_bound(struct qv_doc config, struct qv_str name, const char *key, uint64_t *out)
{
    struct qv_doc bounds, value;
    if (config.p == NULL || !qv_doc_find(config, name, &bounds) ||
        !qv_doc_find(bounds, qv_str_of(key), &value) || qv_doc_type(value) != QV_DOC_INT)
        return false;
    *out = (uint64_t)qv_doc_int(value);
    return true;
}

static int check_vector(const struct qv_strict *s, const struct qv_named_vec *v,
                        struct qv_errmsg *msg)
{
    uint64_t max;
    int n = (int)(v->name.n < 200 ? v->name.n : 200);
    if (v->vec.kind == QV_VEC_MULTI &&
        name_bound(s->multivector_config, v->name, "max_vectors", &max) && v->vec.rows > max)
        return qv_fail(msg, QV_EBADREQ,
                       "Multivector '%.*s' has a limit of %llu vectors, but %u were provided!", n,
                       v->name.p, (unsigned long long)max, v->vec.rows);
    if (v->vec.kind == QV_VEC_SPARSE && name_bound(s->sparse_config, v->name, "max_length", &max) &&
        v->vec.dim > max)
        return qv_fail(msg, QV_EBADREQ,
                       "Sparse vector '%.*s' has a limit of %llu indices, but %u were provided!", n,
                       v->name.p, (unsigned long long)max, v->vec.dim);
    return 0;
}

static int check_points(const struct qv_strict *s, const struct qv_write_op *op,
                        const struct qv_strict_usage *usage, struct qv_errmsg *msg)
{
    const char *what = op->type == QV_WRITE_UPSERT ? "upsert limit" : "update limit";
    int err = check_limit(&s->upsert_max_batchsize, op->point_count, what, msg);
    if (err == 0)
        err = check_sizes(s, usage, true, msg);
    bool bounded = s->multivector_config.p != NULL || s->sparse_config.p != NULL;
    for (uint32_t i = 0; bounded && i < op->point_count && err == 0; i++) {
        for (uint32_t k = 0; k < op->points[i].vec_count && err == 0; k++)
            err = check_vector(s, &op->points[i].vecs[k], msg);
    }
    return err;
}

static int check_write(const struct qv_collection_config *c, const struct qv_write_op *op,
                       const struct qv_strict_usage *usage, struct qv_errmsg *msg)
{
    const struct qv_strict *s = &c->strict;
    bool points = op->type == QV_WRITE_UPSERT || op->type == QV_WRITE_UPDATE_VECTORS;
    bool payload = op->type == QV_WRITE_SET_PAYLOAD || op->type == QV_WRITE_OVERWRITE_PAYLOAD;
    int err = points || payload ? check_memory(s, usage, msg) : 0;
    if (err == 0 && points)
        err = check_points(s, op, usage, msg);
    if (err == 0 && payload)
        err = check_sizes(s, usage, false, msg);
    if (err == 0)
        err = check_filter(c, points ? op->update_filter : op->select.filter,
                           &s->unindexed_filtering_update, msg);
    return err;
}

int qv_strict_writes(const struct qv_collection_config *c, const struct qv_write_req *req,
                     const struct qv_strict_usage *usage, struct qv_errmsg *msg)
{
    int err = 0;
    for (uint32_t i = 0; enabled(c) && i < req->op_count && err == 0; i++)
        err = check_write(c, &req->ops[i], usage, msg);
    return err;
}

int qv_strict_index(const struct qv_collection_config *c, struct qv_str field,
                    const struct qv_strict_usage *usage, struct qv_errmsg *msg)
{
    const struct qv_opt_u64 *max = &c->strict.max_payload_index_count;
    if (!enabled(c))
        return 0;
    int err = check_memory(&c->strict, usage, msg);
    if (err != 0 || !max->has || c->payload_index_count < max->v)
        return err;
    for (uint32_t i = 0; i < c->payload_index_count; i++) {
        if (qv_str_equal(c->payload_indexes[i].field, field))
            return 0; /* it is there already */
    }
    return qv_fail(msg, QV_EBADREQ,
                   "Collection already has the maximum number of payload indices (%llu). Help: "
                   "Please delete an existing index before creating a new one.",
                   (unsigned long long)max->v);
}

/* ---- rates ---- */

static uint64_t conditions(const struct qv_filter *f)
{
    struct look l = {.indexes = false};
    look_at(&l, f);
    return l.conditions;
}

uint64_t qv_strict_read_cost(const struct qv_filter *const *filters, uint32_t count)
{
    uint64_t cost = count;
    for (uint32_t i = 0; i < count; i++)
        cost += conditions(filters[i]);
    return cost;
}

uint64_t qv_strict_query_cost(const struct qv_query_req *req)
{
    uint64_t cost = 0;
    for (uint32_t i = 0; i < req->query_count; i++)
        cost += qv_strict_read_cost(&req->queries[i].filter, 1);
    return cost;
}

uint64_t qv_strict_write_cost(const struct qv_write_req *req)
{
    uint64_t cost = 0;
    for (uint32_t i = 0; i < req->op_count; i++) {
        const struct qv_write_op *op = &req->ops[i];
        uint64_t points = op->point_count + op->select.id_count;
        cost += (points == 0 ? 1 : points) + conditions(op->select.filter) +
                conditions(op->update_filter);
    }
    return cost;
}

int qv_rate_take(struct qv_rate *r, uint64_t per_minute, uint64_t cost, uint64_t now_ns,
                 uint64_t *retry_s)
{
    const double pace = (double)per_minute / 60e9; /* a nanosecond */
    *retry_s = 0;
    if (cost > per_minute)
        return QV_EBUSY;
    if (now_ns > r->asked_ns)
        r->used -= (double)(now_ns - r->asked_ns) * pace;
    r->asked_ns = now_ns;
    if (r->used < 0)
        r->used = 0;
    if (r->used + (double)cost <= (double)per_minute) {
        r->used += (double)cost;
        return 0;
    }
    double wait_ns = (r->used + (double)cost - (double)per_minute) / pace;
    *retry_s = 1 + (uint64_t)(wait_ns / 1e9);
    return QV_EBUSY;
}

int qv_rate_fail(const char *what, uint64_t cost, uint64_t retry_s, struct qv_errmsg *msg)
{
    if (retry_s == 0)
        return qv_fail(msg, QV_EBUSY,
                       "%s rate limit exceeded: the request costs %llu, more than a minute allows; "
                       "please split it",
                       what, (unsigned long long)cost);
    return qv_fail(msg, QV_EBUSY,
                   "%s rate limit exceeded: Operation requires %llu tokens, which are not "
                   "available. Retry after %llus",
                   what, (unsigned long long)cost, (unsigned long long)retry_s);
}
