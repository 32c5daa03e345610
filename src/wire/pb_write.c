#include "wire/pb_write.h"

#include "base/qv_assert.h"
#include "core/limits.h"
#include "wire/not_served.h"
#include "wire/pb_point.h"

int qv_pb_refuse_shard_key(struct qv_pb_ctx *c, const QvPb__ShardKeySelector *m)
{
    if (m != NULL && (m->n_shard_keys > 0 || m->fallback != NULL))
        return qv_not_served_fail(QV_NOT_SERVED_SHARD_KEY, c->msg);
    return 0;
}

static int put_mode(struct qv_pb_ctx *c, bool has, int mode, struct qv_write_op *op)
{
    switch (has ? mode : (int)QV_PB__UPDATE_MODE__Upsert) {
    case QV_PB__UPDATE_MODE__Upsert:
        op->update_mode = QV_UPDATE_UPSERT;
        return 0;
    case QV_PB__UPDATE_MODE__InsertOnly:
        op->update_mode = QV_UPDATE_INSERT_ONLY;
        return 0;
    case QV_PB__UPDATE_MODE__UpdateOnly:
        op->update_mode = QV_UPDATE_UPDATE_ONLY;
        return 0;
    default:
        return qv_fail(c->msg, QV_EINVAL, "update_mode: unknown mode %d", mode);
    }
}

/* ---- pieces: each fills one operation ---- */

static int put_point_vectors(struct qv_pb_ctx *c, QvPb__PointVectors *const *m, size_t n,
                             struct qv_write_op *op)
{
    op->type = QV_WRITE_UPDATE_VECTORS;
    if (n == 0)
        return qv_fail(c->msg, QV_EVALIDATION, "points: Length of list must be at least 1");
    int err = qv_pb_check_count(c, "points", n, QV_BATCH_POINTS_MAX);
    if (err != 0)
        return err;
    struct qv_point_in *points = QV_PB_ARRAY(c, struct qv_point_in, n);
    if (points == NULL)
        return QV_ETOOBIG;
    for (size_t i = 0; i < n && err == 0; i++) {
        err = qv_pb_id(c, m[i]->id, &points[i].id);
        if (err == 0)
            err = qv_pb_vectors(c, m[i]->vectors, &points[i].vecs, &points[i].vec_count);
    }
    op->points = points;
    op->point_count = (uint32_t)n;
    return err;
}

static int put_payload(struct qv_pb_ctx *c, enum qv_write_type type,
                       ProtobufCMessage *const *payload, size_t n, const char *key,
                       struct qv_write_op *op)
{
    op->type = type;
    int err = qv_pb_map_doc(c, payload, n, &op->payload);
    if (err == 0 && n == 0) {
        size_t from = c->scratch.len;
        qv_doc_end_object(&c->scratch, qv_doc_begin_object(&c->scratch), 0);
        err = qv_pb_take_doc(c, from, &op->payload);
    }
    if (err != 0 || key == NULL || type != QV_WRITE_SET_PAYLOAD)
        return err; /* overwriting has no key: as that API, it is passed over */
    op->has_key = true;
    return qv_pb_path(c, qv_pb_str(key), &op->key);
}

static int put_delete_payload(struct qv_pb_ctx *c, char *const *keys, size_t n,
                              const QvPb__PointsSelector *select, struct qv_write_op *op)
{
    op->type = QV_WRITE_DELETE_PAYLOAD;
    int err = qv_pb_point_select(c, select, &op->select);
    return err != 0 ? err : qv_pb_paths(c, keys, n, &op->keys, &op->key_count);
}

static int put_delete_vectors(struct qv_pb_ctx *c, const QvPb__VectorsSelector *names,
                              const QvPb__PointsSelector *select, struct qv_write_op *op)
{
    op->type = QV_WRITE_DELETE_VECTORS;
    int err = qv_pb_point_select(c, select, &op->select);
    if (err == 0 && (names == NULL || names->n_names == 0))
        err = qv_fail(c->msg, QV_EVALIDATION, "vector: Length of list must be at least 1");
    return err != 0 ? err
                    : qv_pb_names(c, names->names, names->n_names, &op->names, &op->name_count);
}

static int put_select(struct qv_pb_ctx *c, enum qv_write_type type,
                      const QvPb__PointsSelector *select, struct qv_write_op *op)
{
    op->type = type;
    return qv_pb_point_select(c, select, &op->select);
}

/* ---- a batch ---- */

static int batch_upsert(struct qv_pb_ctx *c, const QvPb__PointsUpdateOperation__PointStructList *m,
                        struct qv_write_op *op)
{
    op->type = QV_WRITE_UPSERT;
    int err = qv_pb_refuse_shard_key(c, m->shard_key_selector);
    if (err == 0)
        err = qv_pb_filter(c, m->update_filter, &op->update_filter);
    if (err == 0)
        err = put_mode(c, m->has_update_mode, (int)m->update_mode, op);
    return err != 0 ? err : qv_pb_points(c, m->points, m->n_points, &op->points, &op->point_count);
}

static int batch_set(struct qv_pb_ctx *c, const QvPb__PointsUpdateOperation__SetPayload *m,
                     struct qv_write_op *op)
{
    int err = qv_pb_refuse_shard_key(c, m->shard_key_selector);
    if (err == 0)
        err = qv_pb_point_select(c, m->points_selector, &op->select);
    return err != 0 ? err
                    : put_payload(c, QV_WRITE_SET_PAYLOAD, (ProtobufCMessage *const *)m->payload,
                                  m->n_payload, m->key, op);
}

static int batch_overwrite(struct qv_pb_ctx *c,
                           const QvPb__PointsUpdateOperation__OverwritePayload *m,
                           struct qv_write_op *op)
{
    int err = qv_pb_refuse_shard_key(c, m->shard_key_selector);
    if (err == 0)
        err = qv_pb_point_select(c, m->points_selector, &op->select);
    return err != 0 ? err
                    : put_payload(c, QV_WRITE_OVERWRITE_PAYLOAD,
                                  (ProtobufCMessage *const *)m->payload, m->n_payload, m->key, op);
}

static int batch_update_vectors(struct qv_pb_ctx *c,
                                const QvPb__PointsUpdateOperation__UpdateVectors *m,
                                struct qv_write_op *op)
{
    int err = qv_pb_refuse_shard_key(c, m->shard_key_selector);
    if (err == 0)
        err = qv_pb_filter(c, m->update_filter, &op->update_filter);
    return err != 0 ? err : put_point_vectors(c, m->points, m->n_points, op);
}

static int batch_others(struct qv_pb_ctx *c, const QvPb__PointsUpdateOperation *m,
                        struct qv_write_op *op)
{
    const QvPb__ShardKeySelector *shard_key;
    int err;
    switch (m->operation_case) {
    case QV_PB__POINTS_UPDATE_OPERATION__OPERATION_DELETE_PAYLOAD:
        shard_key = m->delete_payload->shard_key_selector;
        err = put_delete_payload(c, m->delete_payload->keys, m->delete_payload->n_keys,
                                 m->delete_payload->points_selector, op);
        break;
    case QV_PB__POINTS_UPDATE_OPERATION__OPERATION_DELETE_VECTORS:
        shard_key = m->delete_vectors->shard_key_selector;
        err = put_delete_vectors(c, m->delete_vectors->vectors, m->delete_vectors->points_selector,
                                 op);
        break;
    case QV_PB__POINTS_UPDATE_OPERATION__OPERATION_DELETE_POINTS:
        shard_key = m->delete_points->shard_key_selector;
        err = put_select(c, QV_WRITE_DELETE, m->delete_points->points, op);
        break;
    case QV_PB__POINTS_UPDATE_OPERATION__OPERATION_CLEAR_PAYLOAD:
        shard_key = m->clear_payload->shard_key_selector;
        err = put_select(c, QV_WRITE_CLEAR_PAYLOAD, m->clear_payload->points, op);
        break;
    default:
        return qv_fail(c->msg, QV_EINVAL, "an operation of the batch is empty");
    }
    return err != 0 ? err : qv_pb_refuse_shard_key(c, shard_key);
}

static int batch_operation(struct qv_pb_ctx *c, const QvPb__PointsUpdateOperation *m,
                           struct qv_write_op *op)
{
    switch (m->operation_case) {
    case QV_PB__POINTS_UPDATE_OPERATION__OPERATION_UPSERT:
        return batch_upsert(c, m->upsert, op);
    case QV_PB__POINTS_UPDATE_OPERATION__OPERATION_DELETE_DEPRECATED:
        return put_select(c, QV_WRITE_DELETE, m->delete_deprecated, op);
    case QV_PB__POINTS_UPDATE_OPERATION__OPERATION_CLEAR_PAYLOAD_DEPRECATED:
        return put_select(c, QV_WRITE_CLEAR_PAYLOAD, m->clear_payload_deprecated, op);
    case QV_PB__POINTS_UPDATE_OPERATION__OPERATION_SET_PAYLOAD:
        return batch_set(c, m->set_payload, op);
    case QV_PB__POINTS_UPDATE_OPERATION__OPERATION_OVERWRITE_PAYLOAD:
        return batch_overwrite(c, m->overwrite_payload, op);
    case QV_PB__POINTS_UPDATE_OPERATION__OPERATION_UPDATE_VECTORS:
        return batch_update_vectors(c, m->update_vectors, op);
    default:
        return batch_others(c, m, op);
    }
}

/* ---- requests ---- */

/* What every request that writes carries. */
static int finish(struct qv_pb_ctx *c, bool wait, const QvPb__WriteOrdering *ordering,
                  bool has_timeout, uint64_t timeout, struct qv_write_req *out)
{
    out->wait = wait;
    int err = qv_pb_ordering(c, ordering, &out->ordering);
    return err != 0 ? err : qv_pb_timeout(c, has_timeout, timeout, &out->timeout_ms);
}

/* The common fields of request m, whatever its type. */
#define FINISH(c, m, out)                                                                          \
    finish((c), (m)->has_wait && (m)->wait, (m)->ordering, (m)->has_timeout, (m)->timeout, (out))

static int write_batch(struct qv_pb_ctx *c, const QvPb__UpdateBatchPoints *m,
                       struct qv_write_req *out)
{
    size_t n = m->n_operations;
    int err = qv_pb_check_count(c, "operations", n, QV_BATCH_OPS_MAX);
    if (err != 0)
        return err;
    struct qv_write_op *ops = QV_PB_ARRAY(c, struct qv_write_op, n);
    if (ops == NULL)
        return QV_ETOOBIG;
    for (size_t i = 0; i < n && err == 0; i++)
        err = batch_operation(c, m->operations[i], &ops[i]);
    out->ops = ops;
    out->op_count = (uint32_t)n;
    return err != 0 ? err : FINISH(c, m, out);
}

static int write_delete(struct qv_pb_ctx *c, const QvPb__DeletePoints *m, struct qv_write_op *op,
                        struct qv_write_req *out)
{
    int err = qv_pb_refuse_shard_key(c, m->shard_key_selector);
    if (err == 0)
        err = put_select(c, QV_WRITE_DELETE, m->points, op);
    return err != 0 ? err : FINISH(c, m, out);
}

static int write_update_vectors(struct qv_pb_ctx *c, const QvPb__UpdatePointVectors *m,
                                struct qv_write_op *op, struct qv_write_req *out)
{
    int err = qv_pb_refuse_shard_key(c, m->shard_key_selector);
    if (err == 0)
        err = qv_pb_filter(c, m->update_filter, &op->update_filter);
    if (err == 0)
        err = put_point_vectors(c, m->points, m->n_points, op);
    return err != 0 ? err : FINISH(c, m, out);
}

static int write_delete_vectors(struct qv_pb_ctx *c, const QvPb__DeletePointVectors *m,
                                struct qv_write_op *op, struct qv_write_req *out)
{
    int err = qv_pb_refuse_shard_key(c, m->shard_key_selector);
    if (err == 0)
        err = put_delete_vectors(c, m->vectors, m->points_selector, op);
    return err != 0 ? err : FINISH(c, m, out);
}

static int write_set_payload(struct qv_pb_ctx *c, enum qv_write_type type,
                             const QvPb__SetPayloadPoints *m, struct qv_write_op *op,
                             struct qv_write_req *out)
{
    int err = qv_pb_refuse_shard_key(c, m->shard_key_selector);
    if (err == 0)
        err = qv_pb_point_select(c, m->points_selector, &op->select);
    if (err == 0)
        err = put_payload(c, type, (ProtobufCMessage *const *)m->payload, m->n_payload, m->key, op);
    return err != 0 ? err : FINISH(c, m, out);
}

static int write_delete_payload(struct qv_pb_ctx *c, const QvPb__DeletePayloadPoints *m,
                                struct qv_write_op *op, struct qv_write_req *out)
{
    int err = qv_pb_refuse_shard_key(c, m->shard_key_selector);
    if (err == 0)
        err = put_delete_payload(c, m->keys, m->n_keys, m->points_selector, op);
    return err != 0 ? err : FINISH(c, m, out);
}

static int write_clear_payload(struct qv_pb_ctx *c, const QvPb__ClearPayloadPoints *m,
                               struct qv_write_op *op, struct qv_write_req *out)
{
    int err = qv_pb_refuse_shard_key(c, m->shard_key_selector);
    if (err == 0)
        err = put_select(c, QV_WRITE_CLEAR_PAYLOAD, m->points, op);
    return err != 0 ? err : FINISH(c, m, out);
}

/* One operation in a request. */
static struct qv_write_op *begin_one(struct qv_pb_ctx *c, struct qv_write_req *out)
{
    struct qv_write_op *op = QV_PB_ARRAY(c, struct qv_write_op, 1);
    out->ops = op;
    out->op_count = 1;
    return op;
}

int qv_pb_write(struct qv_pb_ctx *c, enum qv_pb_call call, const ProtobufCMessage *base,
                const char **collection, struct qv_write_req *out)
{
    /* collection_name is field 1 of every request here. */
    memcpy(collection, (const char *)base + base->descriptor->fields[0].offset, sizeof *collection);
    QV_ASSERT(strcmp(base->descriptor->fields[0].name, "collection_name") == 0);
    if (call == QV_PB_UPDATE_BATCH)
        return write_batch(c, (const QvPb__UpdateBatchPoints *)base, out);
    struct qv_write_op *op = begin_one(c, out);
    if (op == NULL)
        return QV_ETOOBIG;
    switch (call) {
    case QV_PB_DELETE:
        return write_delete(c, (const QvPb__DeletePoints *)base, op, out);
    case QV_PB_UPDATE_VECTORS:
        return write_update_vectors(c, (const QvPb__UpdatePointVectors *)base, op, out);
    case QV_PB_DELETE_VECTORS:
        return write_delete_vectors(c, (const QvPb__DeletePointVectors *)base, op, out);
    case QV_PB_SET_PAYLOAD:
        return write_set_payload(c, QV_WRITE_SET_PAYLOAD, (const QvPb__SetPayloadPoints *)base, op,
                                 out);
    case QV_PB_OVERWRITE_PAYLOAD:
        return write_set_payload(c, QV_WRITE_OVERWRITE_PAYLOAD,
                                 (const QvPb__SetPayloadPoints *)base, op, out);
    case QV_PB_DELETE_PAYLOAD:
        return write_delete_payload(c, (const QvPb__DeletePayloadPoints *)base, op, out);
    case QV_PB_CLEAR_PAYLOAD:
        return write_clear_payload(c, (const QvPb__ClearPayloadPoints *)base, op, out);
    default:
        QV_UNREACHABLE();
    }
}

int qv_pb_write_upsert(struct qv_pb_ctx *c, struct qv_bytes body, const char **collection,
                       struct qv_write_req *out)
{
    const QvPb__UpsertPoints *m;
    struct qv_write_op *op = begin_one(c, out);
    if (op == NULL)
        return QV_ETOOBIG;
    op->type = QV_WRITE_UPSERT;
    int err = qv_pb_upsert_scan(c, body, &m, &op->points, &op->point_count);
    if (err != 0)
        return err;
    *collection = m->collection_name;
    err = qv_pb_refuse_shard_key(c, m->shard_key_selector);
    if (err == 0)
        err = qv_pb_filter(c, m->update_filter, &op->update_filter);
    if (err == 0)
        err = put_mode(c, m->has_update_mode, (int)m->update_mode, op);
    return err != 0 ? err : FINISH(c, m, out);
}
