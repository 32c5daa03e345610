#include "wire/pb_request.h"

#include "base/qv_assert.h"
#include "core/datetime.h"
#include "core/limits.h"
#include "proto/quiver_change.pb-c.h"
#include "proto/quiver_health.pb-c.h"
#include "wire/not_served.h"
#include "wire/pb_config.h"
#include "wire/pb_geo.h"
#include "wire/pb_guard.h"
#include "wire/pb_point.h"
#include "wire/pb_write.h"

#include <math.h>

#define LIMIT_DEFAULT 10u

typedef int decode_f(struct qv_pb_ctx *c, const ProtobufCMessage *base, struct qv_pb_request *out);

static int set_collection(struct qv_pb_ctx *c, const char *name, struct qv_pb_request *out)
{
    out->collection = qv_pb_str(name);
    if (out->collection.n == 0)
        return qv_fail(c->msg, QV_EVALIDATION, "collection_name: must not be empty");
    if (out->collection.n > QV_NAME_BYTES_MAX)
        return qv_fail(c->msg, QV_EVALIDATION, "collection_name: longer than %u bytes",
                       QV_NAME_BYTES_MAX);
    return 0;
}

/* The collection and how long it may take. */
static int set_timed(struct qv_pb_ctx *c, const char *name, bool has_timeout, uint64_t timeout,
                     struct qv_pb_request *out, uint64_t *timeout_ms)
{
    int err = set_collection(c, name, out);
    return err != 0 ? err : qv_pb_timeout(c, has_timeout, timeout, timeout_ms);
}

/* ---- service and collections ---- */

static int decode_none(struct qv_pb_ctx *c, const ProtobufCMessage *base, struct qv_pb_request *out)
{
    (void)c;
    (void)base;
    (void)out;
    return 0;
}

static int decode_grpc_health(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                              struct qv_pb_request *out)
{
    (void)c;
    out->u.service = qv_pb_str(((const QvPbGrpc__HealthCheckRequest *)base)->service);
    return 0;
}

static int decode_collection_get(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                                 struct qv_pb_request *out)
{
    return set_collection(c, ((const QvPb__GetCollectionInfoRequest *)base)->collection_name, out);
}

static int decode_collection_exists(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                                    struct qv_pb_request *out)
{
    return set_collection(c, ((const QvPb__CollectionExistsRequest *)base)->collection_name, out);
}

static int decode_collection_cluster(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                                     struct qv_pb_request *out)
{
    return set_collection(c, ((const QvPb__CollectionClusterInfoRequest *)base)->collection_name,
                          out);
}

static int decode_collection_delete(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                                    struct qv_pb_request *out)
{
    const QvPb__DeleteCollection *m = (const QvPb__DeleteCollection *)base;
    return set_timed(c, m->collection_name, m->has_timeout, m->timeout, out, &out->timeout_ms);
}

static int decode_collection_create(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                                    struct qv_pb_request *out)
{
    const QvPb__CreateCollection *m = (const QvPb__CreateCollection *)base;
    int err = set_timed(c, m->collection_name, m->has_timeout, m->timeout, out, &out->timeout_ms);
    return err != 0 ? err : qv_pb_config(c, m, &out->u.config);
}

static int decode_collection_update(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                                    struct qv_pb_request *out)
{
    const QvPb__UpdateCollection *m = (const QvPb__UpdateCollection *)base;
    int err = set_timed(c, m->collection_name, m->has_timeout, m->timeout, out, &out->timeout_ms);
    return err != 0 ? err : qv_pb_config_diff(c, m, &out->u.diff);
}

static int set_vector(struct qv_pb_ctx *c, const char *name, const QvPb__WriteOrdering *ordering,
                      struct qv_pb_request *out)
{
    enum qv_ordering unused;
    out->u.vector.name = qv_pb_str(name);
    return qv_pb_ordering(c, ordering, &unused);
}

static int decode_vector_create(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                                struct qv_pb_request *out)
{
    const QvPb__CreateVectorNameRequest *m = (const QvPb__CreateVectorNameRequest *)base;
    int err = set_timed(c, m->collection_name, m->has_timeout, m->timeout, out,
                        &out->u.vector.timeout_ms);
    if (err == 0)
        err = set_vector(c, m->vector_name, m->ordering, out);
    return err != 0 ? err : qv_pb_vector_spec(c, m, &out->u.vector.spec);
}

static int decode_vector_delete(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                                struct qv_pb_request *out)
{
    const QvPb__DeleteVectorNameRequest *m = (const QvPb__DeleteVectorNameRequest *)base;
    int err = set_timed(c, m->collection_name, m->has_timeout, m->timeout, out,
                        &out->u.vector.timeout_ms);
    return err != 0 ? err : set_vector(c, m->vector_name, m->ordering, out);
}

static int read_alias_action(struct qv_pb_ctx *c, const QvPb__AliasOperations *m,
                             struct qv_alias_action *out)
{
    switch (m->action_case) {
    case QV_PB__ALIAS_OPERATIONS__ACTION_CREATE_ALIAS:
        *out = (struct qv_alias_action){QV_ALIAS_CREATE, qv_pb_str(m->create_alias->alias_name),
                                        qv_pb_str(m->create_alias->collection_name)};
        return 0;
    case QV_PB__ALIAS_OPERATIONS__ACTION_RENAME_ALIAS:
        *out = (struct qv_alias_action){QV_ALIAS_RENAME, qv_pb_str(m->rename_alias->old_alias_name),
                                        qv_pb_str(m->rename_alias->new_alias_name)};
        return 0;
    case QV_PB__ALIAS_OPERATIONS__ACTION_DELETE_ALIAS:
        *out = (struct qv_alias_action){.type = QV_ALIAS_DELETE,
                                        .name = qv_pb_str(m->delete_alias->alias_name)};
        return 0;
    default:
        return qv_fail(c->msg, QV_EINVAL, "actions: an action is empty");
    }
}

static int decode_aliases(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                          struct qv_pb_request *out)
{
    const QvPb__ChangeAliases *m = (const QvPb__ChangeAliases *)base;
    int err = qv_pb_timeout(c, m->has_timeout, m->timeout, &out->timeout_ms);
    if (err == 0)
        err = qv_pb_check_count(c, "actions", m->n_actions, QV_BATCH_OPS_MAX);
    if (err != 0)
        return err;
    struct qv_alias_action *list = QV_PB_ARRAY(c, struct qv_alias_action, m->n_actions);
    if (list == NULL)
        return QV_ETOOBIG;
    for (size_t i = 0; i < m->n_actions && err == 0; i++)
        err = read_alias_action(c, m->actions[i], &list[i]);
    out->u.aliases = (struct qv_alias_req){list, (uint32_t)m->n_actions};
    return err;
}

static int decode_aliases_of(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                             struct qv_pb_request *out)
{
    return set_collection(c, ((const QvPb__ListCollectionAliasesRequest *)base)->collection_name,
                          out);
}

static int decode_create_index(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                               struct qv_pb_request *out)
{
    const QvPb__CreateFieldIndexCollection *m = (const QvPb__CreateFieldIndexCollection *)base;
    struct qv_pb_index_req *req = &out->u.index;
    int err = set_timed(c, m->collection_name, m->has_timeout, m->timeout, out, &req->timeout_ms);
    req->wait = m->has_wait && m->wait;
    if (err == 0)
        err = qv_pb_ordering(c, m->ordering, &req->ordering);
    return err != 0 ? err : qv_pb_index(c, m, &req->index);
}

static int decode_delete_index(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                               struct qv_pb_request *out)
{
    const QvPb__DeleteFieldIndexCollection *m = (const QvPb__DeleteFieldIndexCollection *)base;
    struct qv_pb_index_req *req = &out->u.index;
    int err = set_timed(c, m->collection_name, m->has_timeout, m->timeout, out, &req->timeout_ms);
    req->wait = m->has_wait && m->wait;
    if (err == 0)
        err = qv_pb_ordering(c, m->ordering, &req->ordering);
    req->index.field = qv_pb_str(m->field_name);
    if (err == 0 && req->index.field.n == 0)
        err = qv_fail(c->msg, QV_EVALIDATION, "field_name: must not be empty");
    return err;
}

/* ---- reads ---- */

static int read_opts(struct qv_pb_ctx *c, bool has_timeout, uint64_t timeout,
                     const QvPb__ReadConsistency *consistency, struct qv_read_opts *out)
{
    int err = qv_pb_timeout(c, has_timeout, timeout, &out->timeout_ms);
    return err != 0 ? err : qv_pb_consistency(c, consistency, &out->consistency_factor);
}

static int check_limit(struct qv_pb_ctx *c, uint64_t limit, uint64_t offset)
{
    if (limit == 0)
        return qv_fail(c->msg, QV_EVALIDATION, "limit: value 0 invalid, must be 1 or larger");
    if (limit > QV_LIMIT_MAX || offset > QV_LIMIT_MAX - limit)
        return qv_fail(c->msg, QV_EVALIDATION,
                       "limit: value %llu invalid, limit + offset must be %u at most",
                       (unsigned long long)limit, QV_LIMIT_MAX);
    return 0;
}

static int read_start_from(struct qv_pb_ctx *c, const QvPb__StartFrom *m,
                           struct qv_order_value *out)
{
    switch (m->value_case) {
    case QV_PB__START_FROM__VALUE_FLOAT:
        *out = (struct qv_order_value){.type = QV_ORDER_FLOAT, .f = m->float_};
        if (!isfinite(m->float_))
            return qv_fail(c->msg, QV_EINVAL, "order_by.start_from: not a finite number");
        return 0;
    case QV_PB__START_FROM__VALUE_INTEGER:
        *out = (struct qv_order_value){.type = QV_ORDER_INT, .i = m->integer};
        return 0;
    case QV_PB__START_FROM__VALUE_TIMESTAMP:
        out->type = QV_ORDER_DATETIME;
        return qv_pb_micros(c, m->timestamp, &out->i);
    case QV_PB__START_FROM__VALUE_DATETIME:
        out->type = QV_ORDER_DATETIME;
        if (!qv_datetime_parse(qv_pb_str(m->datetime), &out->i))
            return qv_fail(c->msg, QV_EINVAL, "Unable to parse datetime: %.80s", m->datetime);
        return 0;
    default:
        return qv_fail(c->msg, QV_EINVAL, "order_by.start_from: empty");
    }
}

static int read_key(struct qv_pb_ctx *c, const char *text, struct qv_str *key, struct qv_path *path)
{
    *key = qv_pb_str(text);
    return qv_pb_path(c, *key, path);
}

static int read_order_by(struct qv_pb_ctx *c, const QvPb__OrderBy *m,
                         const struct qv_order_by **out)
{
    struct qv_order_by *by = QV_PB_ARRAY(c, struct qv_order_by, 1);
    if (by == NULL)
        return QV_ETOOBIG;
    *out = by;
    if (m->has_direction && m->direction != QV_PB__DIRECTION__Asc &&
        m->direction != QV_PB__DIRECTION__Desc)
        return qv_fail(c->msg, QV_EINVAL, "order_by.direction: unknown direction %d",
                       (int)m->direction);
    by->desc = m->has_direction && m->direction == QV_PB__DIRECTION__Desc;
    int err = read_key(c, m->key, &by->key, &by->path);
    if (err == 0 && m->start_from != NULL)
        err = read_start_from(c, m->start_from, &by->start_from);
    return err;
}

static int decode_facet(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                        struct qv_pb_request *out)
{
    const QvPb__FacetCounts *m = (const QvPb__FacetCounts *)base;
    struct qv_facet_req *req = &out->u.facet;
    int err = set_collection(c, m->collection_name, out);
    if (err == 0)
        err = qv_pb_refuse_shard_key(c, m->shard_key_selector);
    req->limit = m->has_limit ? m->limit : LIMIT_DEFAULT;
    req->exact = m->has_exact && m->exact;
    if (err == 0)
        err = read_key(c, m->key, &req->key, &req->path);
    if (err == 0)
        err = qv_pb_filter(c, m->filter, &req->filter);
    if (err == 0)
        err = check_limit(c, req->limit, 0);
    return err != 0 ? err
                    : read_opts(c, m->has_timeout, m->timeout, m->read_consistency, &req->opts);
}

static int decode_get(struct qv_pb_ctx *c, const ProtobufCMessage *base, struct qv_pb_request *out)
{
    const QvPb__GetPoints *m = (const QvPb__GetPoints *)base;
    struct qv_get_req *req = &out->u.get;
    int err = set_collection(c, m->collection_name, out);
    if (err == 0)
        err = qv_pb_refuse_shard_key(c, m->shard_key_selector);
    if (err == 0)
        err = qv_pb_ids(c, m->ids, m->n_ids, &req->ids, &req->id_count);
    if (err == 0)
        err = qv_pb_payload_select(c, m->with_payload, QV_SELECT_NONE, &req->with_payload);
    if (err == 0)
        err = qv_pb_vector_select(c, m->with_vectors, &req->with_vector);
    return err != 0 ? err
                    : read_opts(c, m->has_timeout, m->timeout, m->read_consistency, &req->opts);
}

static int decode_scroll(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                         struct qv_pb_request *out)
{
    const QvPb__ScrollPoints *m = (const QvPb__ScrollPoints *)base;
    struct qv_scroll_req *req = &out->u.scroll;
    int err = set_collection(c, m->collection_name, out);
    if (err == 0)
        err = qv_pb_refuse_shard_key(c, m->shard_key_selector);
    if (err == 0 && m->order_by != NULL)
        err = read_order_by(c, m->order_by, &req->order_by);
    req->limit = m->has_limit ? m->limit : LIMIT_DEFAULT;
    req->has_offset = m->offset != NULL;
    if (err == 0 && req->has_offset)
        err = qv_pb_id(c, m->offset, &req->offset);
    if (err == 0)
        err = qv_pb_filter(c, m->filter, &req->filter);
    if (err == 0)
        err = qv_pb_payload_select(c, m->with_payload, QV_SELECT_ALL, &req->with_payload);
    if (err == 0)
        err = qv_pb_vector_select(c, m->with_vectors, &req->with_vector);
    if (err == 0)
        err = check_limit(c, req->limit, 0);
    return err != 0 ? err
                    : read_opts(c, m->has_timeout, m->timeout, m->read_consistency, &req->opts);
}

static int decode_count(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                        struct qv_pb_request *out)
{
    const QvPb__CountPoints *m = (const QvPb__CountPoints *)base;
    struct qv_count_req *req = &out->u.count;
    int err = set_collection(c, m->collection_name, out);
    if (err == 0)
        err = qv_pb_refuse_shard_key(c, m->shard_key_selector);
    req->exact = !m->has_exact || m->exact;
    if (err == 0)
        err = qv_pb_filter(c, m->filter, &req->filter);
    return err != 0 ? err
                    : read_opts(c, m->has_timeout, m->timeout, m->read_consistency, &req->opts);
}

/* ---- searches ---- */

static void read_quantization(const QvPb__QuantizationSearchParams *z, struct qv_query *q)
{
    if (z == NULL)
        return;
    q->quant_ignore = (struct qv_opt_bool){z->has_ignore != 0, z->ignore != 0};
    q->quant_rescore = (struct qv_opt_bool){z->has_rescore != 0, z->rescore != 0};
    q->quant_oversampling = (struct qv_opt_f64){z->has_oversampling != 0, z->oversampling};
}

static int read_params(struct qv_pb_ctx *c, const QvPb__SearchParams *m, struct qv_query *q)
{
    if (m == NULL)
        return 0;
    if (m->acorn != NULL && m->acorn->has_enable && m->acorn->enable)
        return qv_not_served_fail(QV_NOT_SERVED_ACORN, c->msg);
    if (m->idf != NULL)
        return qv_not_served_fail(QV_NOT_SERVED_IDF, c->msg);
    read_quantization(m->quantization, q);
    q->hnsw_ef = (struct qv_opt_u64){m->has_hnsw_ef != 0, m->hnsw_ef};
    const QvPb__QuiverSearchParams *ours = m->quiver;
    if (ours != NULL) {
        q->recall_target = (struct qv_opt_f64){ours->has_recall_target != 0, ours->recall_target};
        q->explain = ours->has_explain && ours->explain;
        q->allow_partial = ours->has_allow_partial && ours->allow_partial;
        q->n_probe = (struct qv_opt_u64){ours->has_n_probe != 0, ours->n_probe};
    }
    q->exact = m->has_exact && m->exact;
    q->indexed_only = m->has_indexed_only && m->indexed_only;
    return qv_query_check_params(q, c->msg);
}

static int set_threshold(struct qv_pb_ctx *c, bool has, float value, struct qv_query *q)
{
    q->has_threshold = has;
    q->threshold = value;
    if (has && isnan(value))
        return qv_fail(c->msg, QV_EVALIDATION, "score_threshold: not a number");
    return 0;
}

static int read_search(struct qv_pb_ctx *c, const QvPb__SearchPoints *m, struct qv_query *q)
{
    q->kind = QV_QUERY_VECTOR;
    q->using_ = qv_pb_str(m->vector_name);
    q->limit = m->limit;
    q->offset = m->has_offset ? m->offset : 0;
    int err = qv_pb_refuse_shard_key(c, m->shard_key_selector);
    if (err == 0 && m->sparse_indices != NULL)
        err = qv_pb_sparse(c, m->vector, m->n_vector, m->sparse_indices->data,
                           m->sparse_indices->n_data, &q->vec);
    else if (err == 0)
        err = qv_pb_dense(c, m->vector, m->n_vector, &q->vec);
    if (err == 0)
        err = set_threshold(c, m->has_score_threshold, m->score_threshold, q);
    if (err == 0)
        err = qv_pb_filter(c, m->filter, &q->filter);
    if (err == 0)
        err = read_params(c, m->params, q);
    if (err == 0)
        err = qv_pb_payload_select(c, m->with_payload, QV_SELECT_NONE, &q->with_payload);
    if (err == 0)
        err = qv_pb_vector_select(c, m->with_vectors, &q->with_vector);
    return err != 0 ? err : check_limit(c, q->limit, q->offset); /* last, as in JSON */
}

static int read_nearest(struct qv_pb_ctx *c, const QvPb__VectorInput *m, struct qv_query *q)
{
    q->kind = QV_QUERY_VECTOR;
    switch (m->variant_case) {
    case QV_PB__VECTOR_INPUT__VARIANT_ID:
        q->kind = QV_QUERY_ID;
        return qv_pb_id(c, m->id, &q->id);
    case QV_PB__VECTOR_INPUT__VARIANT_DENSE:
        return qv_pb_dense(c, m->dense->data, m->dense->n_data, &q->vec);
    case QV_PB__VECTOR_INPUT__VARIANT_SPARSE:
        return qv_pb_sparse(c, m->sparse->values, m->sparse->n_values, m->sparse->indices,
                            m->sparse->n_indices, &q->vec);
    case QV_PB__VECTOR_INPUT__VARIANT_MULTI_DENSE:
        return qv_pb_multi(c, m->multi_dense, &q->vec);
    case QV_PB__VECTOR_INPUT__VARIANT_DOCUMENT:
        return qv_not_served_fail(QV_NOT_SERVED_DOCUMENT, c->msg);
    case QV_PB__VECTOR_INPUT__VARIANT_IMAGE:
        return qv_not_served_fail(QV_NOT_SERVED_IMAGE, c->msg);
    case QV_PB__VECTOR_INPUT__VARIANT_OBJECT:
        return qv_not_served_fail(QV_NOT_SERVED_OBJECT, c->msg);
    default:
        return qv_fail(c->msg, QV_EINVAL, "query.nearest: empty");
    }
}

static int refuse_variant(struct qv_pb_ctx *c, const QvPb__Query *m)
{
    switch (m->variant_case) {
    case QV_PB__QUERY__VARIANT_RECOMMEND:
        return qv_not_served_fail(QV_NOT_SERVED_RECOMMEND, c->msg);
    case QV_PB__QUERY__VARIANT_DISCOVER:
        return qv_not_served_fail(QV_NOT_SERVED_DISCOVER, c->msg);
    case QV_PB__QUERY__VARIANT_CONTEXT:
        return qv_not_served_fail(QV_NOT_SERVED_CONTEXT, c->msg);
    case QV_PB__QUERY__VARIANT_FUSION:
        return qv_not_served_fail(QV_NOT_SERVED_FUSION, c->msg);
    case QV_PB__QUERY__VARIANT_FORMULA:
        return qv_not_served_fail(QV_NOT_SERVED_FORMULA, c->msg);
    case QV_PB__QUERY__VARIANT_NEAREST_WITH_MMR:
        return qv_not_served_fail(QV_NOT_SERVED_MMR, c->msg);
    case QV_PB__QUERY__VARIANT_RRF:
        return qv_not_served_fail(QV_NOT_SERVED_RRF, c->msg);
    case QV_PB__QUERY__VARIANT_RELEVANCE_FEEDBACK:
        return qv_not_served_fail(QV_NOT_SERVED_RELEVANCE_FEEDBACK, c->msg);
    default:
        return qv_fail(c->msg, QV_EINVAL, "query: empty");
    }
}

static int read_variant(struct qv_pb_ctx *c, const QvPb__QueryPoints *m, struct qv_query *q)
{
    if (m->n_prefetch > 0)
        return qv_not_served_fail(QV_NOT_SERVED_PREFETCH, c->msg);
    if (m->lookup_from != NULL)
        return qv_not_served_fail(QV_NOT_SERVED_LOOKUP_FROM, c->msg);
    q->kind = QV_QUERY_SCROLL;
    if (m->query == NULL)
        return 0;
    switch (m->query->variant_case) {
    case QV_PB__QUERY__VARIANT_NEAREST:
        return read_nearest(c, m->query->nearest, q);
    case QV_PB__QUERY__VARIANT_ORDER_BY:
        q->kind = QV_QUERY_ORDER_BY;
        return read_order_by(c, m->query->order_by, &q->order_by);
    case QV_PB__QUERY__VARIANT_SAMPLE:
        q->kind = QV_QUERY_SAMPLE;
        return m->query->sample == QV_PB__SAMPLE__Random
                   ? 0
                   : qv_fail(c->msg, QV_EINVAL, "query.sample: unknown kind %d",
                             (int)m->query->sample);
    default:
        return refuse_variant(c, m->query);
    }
}

static int read_query(struct qv_pb_ctx *c, const QvPb__QueryPoints *m, struct qv_query *q)
{
    q->using_ = qv_pb_str(m->using_);
    q->limit = m->has_limit ? m->limit : LIMIT_DEFAULT;
    q->offset = m->has_offset ? m->offset : 0;
    int err = qv_pb_refuse_shard_key(c, m->shard_key_selector);
    if (err == 0)
        err = read_variant(c, m, q);
    if (err == 0)
        err = set_threshold(c, m->has_score_threshold, m->score_threshold, q);
    if (err == 0)
        err = qv_pb_filter(c, m->filter, &q->filter);
    if (err == 0)
        err = read_params(c, m->params, q);
    if (err == 0)
        err = qv_pb_payload_select(c, m->with_payload, QV_SELECT_NONE, &q->with_payload);
    if (err == 0)
        err = qv_pb_vector_select(c, m->with_vectors, &q->with_vector);
    return err != 0 ? err : check_limit(c, q->limit, q->offset); /* last, as in JSON */
}

/* Room for n queries in the request. */
static struct qv_query *begin_queries(struct qv_pb_ctx *c, size_t n, struct qv_pb_request *out)
{
    if (qv_pb_check_count(c, "searches", n, QV_BATCH_OPS_MAX) != 0)
        return NULL;
    struct qv_query *q = QV_PB_ARRAY(c, struct qv_query, n);
    out->u.query.queries = q;
    out->u.query.query_count = (uint32_t)n;
    return q;
}

/* What ends the four messages of queries, whose fields are called the same. */
#define END_QUERIES(c, err, m, out)                                                                \
    ((err) != 0 ? (err)                                                                            \
                : read_opts((c), (m)->has_timeout, (m)->timeout, (m)->read_consistency,            \
                            &(out)->u.query.opts))

static int decode_search(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                         struct qv_pb_request *out)
{
    const QvPb__SearchPoints *m = (const QvPb__SearchPoints *)base;
    struct qv_query *q = begin_queries(c, 1, out);
    if (q == NULL)
        return QV_ETOOBIG;
    int err = set_collection(c, m->collection_name, out);
    if (err == 0)
        err = read_search(c, m, q);
    return END_QUERIES(c, err, m, out);
}

static int decode_search_batch(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                               struct qv_pb_request *out)
{
    const QvPb__SearchBatchPoints *m = (const QvPb__SearchBatchPoints *)base;
    struct qv_query *q = begin_queries(c, m->n_search_points, out);
    if (q == NULL)
        return QV_ETOOBIG;
    int err = set_collection(c, m->collection_name, out);
    for (size_t i = 0; i < m->n_search_points && err == 0; i++)
        err = read_search(c, m->search_points[i], &q[i]);
    return END_QUERIES(c, err, m, out);
}

static int decode_query(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                        struct qv_pb_request *out)
{
    const QvPb__QueryPoints *m = (const QvPb__QueryPoints *)base;
    struct qv_query *q = begin_queries(c, 1, out);
    if (q == NULL)
        return QV_ETOOBIG;
    int err = set_collection(c, m->collection_name, out);
    if (err == 0)
        err = read_query(c, m, q);
    return END_QUERIES(c, err, m, out);
}

static int decode_query_batch(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                              struct qv_pb_request *out)
{
    const QvPb__QueryBatchPoints *m = (const QvPb__QueryBatchPoints *)base;
    struct qv_query *q = begin_queries(c, m->n_query_points, out);
    if (q == NULL)
        return QV_ETOOBIG;
    int err = set_collection(c, m->collection_name, out);
    for (size_t i = 0; i < m->n_query_points && err == 0; i++)
        err = read_query(c, m->query_points[i], &q[i]);
    return END_QUERIES(c, err, m, out);
}

/* ---- writes: pb_write.c has their operations ---- */

static int decode_write(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                        struct qv_pb_request *out)
{
    const char *collection = NULL;
    int err = qv_pb_write(c, out->call, base, &collection, &out->u.write);
    return err != 0 ? err : set_collection(c, collection, out);
}

static int decode_upsert(struct qv_pb_ctx *c, struct qv_bytes body, struct qv_pb_request *out)
{
    const char *collection = NULL;
    int err = qv_pb_write_upsert(c, body, &collection, &out->u.write);
    return err != 0 ? err : set_collection(c, collection, out);
}

/* ---- snapshots ---- */

static int decode_snapshots(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                            struct qv_pb_request *out)
{
    const char *collection;
    out->u.snapshot = (struct qv_snapshot_req){.wait = true};
    if (out->call == QV_PB_SNAPSHOT_DELETE) {
        const QvPb__DeleteSnapshotRequest *m = (const QvPb__DeleteSnapshotRequest *)base;
        collection = m->collection_name;
        out->u.snapshot.name = qv_pb_str(m->snapshot_name);
    } else if (out->call == QV_PB_SNAPSHOT_CREATE) {
        collection = ((const QvPb__CreateSnapshotRequest *)base)->collection_name;
    } else {
        collection = ((const QvPb__ListSnapshotsRequest *)base)->collection_name;
    }
    return set_collection(c, collection, out);
}

static int decode_full_snapshots(struct qv_pb_ctx *c, const ProtobufCMessage *base,
                                 struct qv_pb_request *out)
{
    (void)c;
    out->u.snapshot = (struct qv_snapshot_req){.wait = true};
    if (out->call == QV_PB_FULL_SNAPSHOT_DELETE)
        out->u.snapshot.name =
            qv_pb_str(((const QvPb__DeleteFullSnapshotRequest *)base)->snapshot_name);
    return 0;
}

static decode_f *const decoders[QV_PB_CALL_COUNT] = {
    [QV_PB_HEALTH] = decode_none,
    [QV_PB_GRPC_HEALTH] = decode_grpc_health,
    [QV_PB_COLLECTION_GET] = decode_collection_get,
    [QV_PB_COLLECTION_LIST] = decode_none,
    [QV_PB_COLLECTION_CREATE] = decode_collection_create,
    [QV_PB_COLLECTION_DELETE] = decode_collection_delete,
    [QV_PB_COLLECTION_EXISTS] = decode_collection_exists,
    [QV_PB_COLLECTION_CLUSTER] = decode_collection_cluster,
    [QV_PB_COLLECTION_UPDATE] = decode_collection_update,
    [QV_PB_VECTOR_CREATE] = decode_vector_create,
    [QV_PB_VECTOR_DELETE] = decode_vector_delete,
    [QV_PB_ALIASES_UPDATE] = decode_aliases,
    [QV_PB_ALIASES_OF] = decode_aliases_of,
    [QV_PB_ALIASES_LIST] = decode_none,
    [QV_PB_SNAPSHOT_CREATE] = decode_snapshots,
    [QV_PB_SNAPSHOT_LIST] = decode_snapshots,
    [QV_PB_SNAPSHOT_DELETE] = decode_snapshots,
    [QV_PB_FULL_SNAPSHOT_CREATE] = decode_full_snapshots,
    [QV_PB_FULL_SNAPSHOT_LIST] = decode_full_snapshots,
    [QV_PB_FULL_SNAPSHOT_DELETE] = decode_full_snapshots,
    [QV_PB_UPSERT] = NULL, /* its points are read from the bytes */
    [QV_PB_DELETE] = decode_write,
    [QV_PB_UPDATE_VECTORS] = decode_write,
    [QV_PB_DELETE_VECTORS] = decode_write,
    [QV_PB_SET_PAYLOAD] = decode_write,
    [QV_PB_OVERWRITE_PAYLOAD] = decode_write,
    [QV_PB_DELETE_PAYLOAD] = decode_write,
    [QV_PB_CLEAR_PAYLOAD] = decode_write,
    [QV_PB_UPDATE_BATCH] = decode_write,
    [QV_PB_CREATE_INDEX] = decode_create_index,
    [QV_PB_DELETE_INDEX] = decode_delete_index,
    [QV_PB_GET] = decode_get,
    [QV_PB_SCROLL] = decode_scroll,
    [QV_PB_COUNT] = decode_count,
    [QV_PB_FACET] = decode_facet,
    [QV_PB_SEARCH] = decode_search,
    [QV_PB_SEARCH_BATCH] = decode_search_batch,
    [QV_PB_QUERY] = decode_query,
    [QV_PB_QUERY_BATCH] = decode_query_batch,
};

int qv_pb_request_decode(enum qv_pb_call call, struct qv_bytes body, struct qv_arena *arena,
                         struct qv_pb_request *out, struct qv_errmsg *msg)
{
    QV_ASSERT((unsigned)call < QV_PB_CALL_COUNT);
    QV_ASSERT(body.n == 0 || body.p != NULL);
    memset(out, 0, sizeof *out);
    out->call = call;
    struct qv_pb_ctx c = {.arena = arena, .msg = msg};
    qv_buf_init(&c.scratch, QV_PAYLOAD_BYTES_MAX + 4096u);
    int err;
    if (decoders[call] == NULL) {
        err = decode_upsert(&c, body, out);
    } else {
        ProtobufCMessage *m;
        err = qv_pb_unpack(qv_pb_method_message(call), body, arena, &m, msg);
        if (err == 0)
            err = decoders[call](&c, m, out);
    }
    qv_buf_close(&c.scratch);
    QV_ASSERT(err <= 0);
    return err;
}
