/* CollectionInfo with the whole configuration, defaults filled in: GetCollectionInfoResponse. */
#include "wire/pb_answer.h"

#include "base/qv_assert.h"
#include "wire/pb_config.h"
#include "wire/pb_fields.h"
#include "wire/pb_out.h"

static void put_opt_u64(struct qv_buf *b, uint32_t number, struct qv_opt_u64 v)
{
    if (v.has)
        qv_pb_put_u64(b, number, v.v);
}

static void put_opt_bool(struct qv_buf *b, uint32_t number, struct qv_opt_bool v)
{
    if (v.has)
        qv_pb_put_bool(b, number, v.v);
}

static void put_u64_or(struct qv_buf *b, uint32_t number, struct qv_opt_u64 v, uint64_t otherwise)
{
    qv_pb_put_u64(b, number, v.has ? v.v : otherwise);
}

static void put_hnsw_diff(struct qv_buf *b, uint32_t number, const struct qv_hnsw_config *h)
{
    size_t mark = qv_pb_begin(b, number);
    put_opt_u64(b, 1, h->m);
    put_opt_u64(b, 2, h->ef_construct);
    put_opt_u64(b, 3, h->full_scan_threshold);
    put_opt_u64(b, 4, h->max_indexing_threads);
    put_opt_bool(b, 5, h->on_disk);
    put_opt_u64(b, 6, h->payload_m);
    put_opt_bool(b, 7, h->inline_storage);
    qv_pb_end(b, mark);
}

static void put_hnsw(struct qv_buf *b, uint32_t number, struct qv_hnsw_config h)
{
#define FILL(field, otherwise)                                                                     \
    if (!h.field.has)                                                                              \
    h.field.has = true, h.field.v = (otherwise)
    FILL(m, QV_HNSW_M_DEFAULT);
    FILL(ef_construct, QV_HNSW_EF_CONSTRUCT_DEFAULT);
    FILL(full_scan_threshold, 10000);
    FILL(max_indexing_threads, 0);
    FILL(on_disk, false);
#undef FILL
    put_hnsw_diff(b, number, &h);
}

static void put_optimizer(struct qv_buf *b, uint32_t number, const struct qv_optimizer_config *o)
{
    size_t mark = qv_pb_begin(b, number);
    qv_pb_put_f64(b, 1, o->deleted_threshold.has ? o->deleted_threshold.v : 0.2);
    put_u64_or(b, 2, o->vacuum_min_vector_number, 1000);
    put_u64_or(b, 3, o->default_segment_number, 0);
    put_opt_u64(b, 4, o->max_segment_size);
    put_opt_u64(b, 5, o->memmap_threshold);
    put_u64_or(b, 6, o->indexing_threshold, QV_INDEXING_THRESHOLD_DEFAULT);
    put_u64_or(b, 7, o->flush_interval_sec, 5);
    put_opt_u64(b, 8, o->max_optimization_threads);
    if (o->max_optimization_threads.has) {
        size_t threads = qv_pb_begin(b, 9);
        put_opt_u64(b, 1, o->max_optimization_threads);
        qv_pb_end(b, threads);
    }
    qv_pb_end(b, mark);
}

static void put_wal(struct qv_buf *b, uint32_t number, const struct qv_wal_config *w)
{
    size_t mark = qv_pb_begin(b, number);
    put_u64_or(b, 1, w->wal_capacity_mb, 32);
    put_u64_or(b, 2, w->wal_segments_ahead, 0);
    put_u64_or(b, 3, w->wal_retain_closed, 1);
    qv_pb_end(b, mark);
}

/* Index of s in list, or -1. */
static int index_of(const char *const *list, int n, struct qv_str s)
{
    for (int i = 0; i < n; i++) {
        if (qv_str_equal(qv_str_of(list[i]), s))
            return i;
    }
    return -1;
}

static void put_binary(struct qv_buf *b, const struct qv_quant_config *q)
{
    int encoding = index_of(qv_pb_encodings, 3, q->encoding);
    int query = index_of(qv_pb_query_encodings, 4, q->query_encoding);
    size_t inner = qv_pb_begin(b, 3);
    put_opt_bool(b, 1, q->always_ram);
    if (encoding >= 0)
        qv_pb_put_u64(b, 2, (uint64_t)encoding);
    if (query >= 0) {
        size_t setting = qv_pb_begin(b, 3);
        qv_pb_put_u64(b, 4, (uint64_t)query);
        qv_pb_end(b, setting);
    }
    qv_pb_end(b, inner);
}

static void put_quant(struct qv_buf *b, uint32_t number, const struct qv_quant_config *q)
{
    if (q->kind == QV_QUANT_NONE)
        return;
    size_t mark = qv_pb_begin(b, number);
    if (q->kind == QV_QUANT_BINARY) {
        put_binary(b, q);
    } else {
        QV_ASSERT(q->kind == QV_QUANT_SCALAR);
        size_t inner = qv_pb_begin(b, 1);
        qv_pb_put_u64(b, 1, QV_PB__QUANTIZATION_TYPE__Int8);
        if (q->quantile.has)
            qv_pb_put_f32(b, 2, (float)q->quantile.v);
        put_opt_bool(b, 3, q->always_ram);
        qv_pb_end(b, inner);
    }
    qv_pb_end(b, mark);
}

static uint64_t datatype_of(enum qv_dtype t)
{
    return t == QV_DTYPE_F16  ? QV_PB__DATATYPE__Float16
           : t == QV_DTYPE_U8 ? QV_PB__DATATYPE__Uint8
                              : QV_PB__DATATYPE__Float32;
}

static uint64_t distance_of(enum qv_distance d)
{
    switch (d) {
    case QV_DISTANCE_COSINE:
        return QV_PB__DISTANCE__Cosine;
    case QV_DISTANCE_EUCLID:
        return QV_PB__DISTANCE__Euclid;
    case QV_DISTANCE_DOT:
        return QV_PB__DISTANCE__Dot;
    case QV_DISTANCE_MANHATTAN:
        return QV_PB__DISTANCE__Manhattan;
    }
    QV_UNREACHABLE();
}

static void put_vector(struct qv_buf *b, uint32_t number, const struct qv_vector_config *v)
{
    size_t mark = qv_pb_begin(b, number);
    qv_pb_put_u64(b, 1, v->size);
    qv_pb_put_u64(b, 2, distance_of(v->distance));
    if (v->has_hnsw)
        put_hnsw_diff(b, 3, &v->hnsw);
    put_quant(b, 4, &v->quant);
    put_opt_bool(b, 5, v->on_disk);
    if (v->has_datatype)
        qv_pb_put_u64(b, 6, datatype_of(v->datatype));
    if (v->multivector) {
        size_t multi = qv_pb_begin(b, 7);
        qv_pb_put_u64(b, 1, QV_PB__MULTI_VECTOR_COMPARATOR__MaxSim);
        qv_pb_end(b, multi);
    }
    qv_pb_end(b, mark);
}

static void put_vectors_config(struct qv_buf *b, uint32_t number,
                               const struct qv_collection_config *c)
{
    size_t mark = qv_pb_begin(b, number);
    if (c->vectors_unnamed) {
        QV_ASSERT(c->vector_count == 1);
        put_vector(b, 1, &c->vectors[0]);
    } else {
        size_t map = qv_pb_begin(b, 2);
        for (uint32_t i = 0; i < c->vector_count; i++) {
            size_t entry = qv_pb_begin(b, 1);
            qv_pb_put_str(b, 1, c->vectors[i].name);
            put_vector(b, 2, &c->vectors[i]);
            qv_pb_end(b, entry);
        }
        qv_pb_end(b, map);
    }
    qv_pb_end(b, mark);
}

static void put_one_sparse(struct qv_buf *b, const struct qv_sparse_config *s)
{
    size_t mark = qv_pb_begin(b, 2);
    if (s->has_index || s->full_scan_threshold.has || s->on_disk.has || s->has_datatype) {
        size_t index = qv_pb_begin(b, 1);
        put_opt_u64(b, 1, s->full_scan_threshold);
        put_opt_bool(b, 2, s->on_disk);
        if (s->has_datatype)
            qv_pb_put_u64(b, 3, datatype_of(s->datatype));
        qv_pb_end(b, index);
    }
    if (s->has_modifier)
        qv_pb_put_u64(b, 2, s->modifier_idf ? QV_PB__MODIFIER__Idf : QV_PB__MODIFIER__None);
    qv_pb_end(b, mark);
}

static void put_sparse(struct qv_buf *b, uint32_t number, const struct qv_collection_config *c)
{
    if (c->sparse_count == 0)
        return;
    size_t mark = qv_pb_begin(b, number);
    for (uint32_t i = 0; i < c->sparse_count; i++) {
        size_t entry = qv_pb_begin(b, 1);
        qv_pb_put_str(b, 1, c->sparse[i].name);
        put_one_sparse(b, &c->sparse[i]);
        qv_pb_end(b, entry);
    }
    qv_pb_end(b, mark);
}

static void put_params(struct qv_buf *b, uint32_t number, const struct qv_collection_config *c)
{
    size_t mark = qv_pb_begin(b, number);
    qv_pb_put_u64(b, 3, c->shard_number);
    qv_pb_put_bool(b, 4, c->on_disk_payload);
    put_vectors_config(b, 5, c);
    qv_pb_put_u64(b, 6, c->replication_factor);
    qv_pb_put_u64(b, 7, c->write_consistency_factor);
    put_opt_u64(b, 8, c->read_fan_out_factor);
    if (c->has_sharding_custom)
        qv_pb_put_u64(b, 9, QV_PB__SHARDING_METHOD__Custom);
    put_sparse(b, 10, c);
    put_opt_u64(b, 11, c->read_fan_out_delay_ms);
    qv_pb_end(b, mark);
}

static void put_config(struct qv_buf *b, uint32_t number, const struct qv_collection_config *c)
{
    size_t mark = qv_pb_begin(b, number);
    put_params(b, 1, c);
    put_hnsw(b, 2, c->hnsw);
    put_optimizer(b, 3, &c->optimizer);
    put_wal(b, 4, &c->wal);
    put_quant(b, 5, &c->quant);
    if (c->strict_mode.p != NULL) {
        size_t strict = qv_pb_begin(b, 6);
        qv_pb_fields_write(b, &qv_pb__strict_mode_config__descriptor, c->strict_mode);
        qv_pb_end(b, strict);
    }
    if (c->metadata.p != NULL)
        qv_pb_map_write(b, 7, c->metadata);
    qv_pb_end(b, mark);
}

static const struct qv_pb_index_type *find_type(struct qv_str name)
{
    for (int i = 0; i < QV_PB_INDEX_TYPES; i++) {
        if (qv_str_equal(qv_str_of(qv_pb_index_types[i].name), name))
            return &qv_pb_index_types[i];
    }
    return NULL;
}

static void put_schema(struct qv_buf *b, uint32_t number, const struct qv_payload_schema_entry *e)
{
    const struct qv_pb_index_type *t = find_type(e->index->type);
    size_t entry = qv_pb_begin(b, number);
    qv_pb_put_str(b, 1, e->index->field);
    size_t info = qv_pb_begin(b, 2);
    if (t != NULL)
        qv_pb_put_u64(b, 1, t->schema_type);
    if (t != NULL && e->index->params.p != NULL) {
        size_t params = qv_pb_begin(b, 2);
        size_t one = qv_pb_begin(b, t->params);
        qv_pb_fields_write(b, t->desc, e->index->params);
        qv_pb_end(b, one);
        qv_pb_end(b, params);
    }
    qv_pb_put_u64(b, 3, e->points);
    qv_pb_end(b, info);
    qv_pb_end(b, entry);
}

static uint64_t status_of(enum qv_collection_status s)
{
    switch (s) {
    case QV_COLLECTION_GREEN:
        return 1;
    case QV_COLLECTION_YELLOW:
        return 2;
    case QV_COLLECTION_RED:
        return 3;
    case QV_COLLECTION_GREY:
        return 4;
    }
    QV_UNREACHABLE();
}

void qv_pb_answer_collection(struct qv_buf *b, const struct qv_collection_info *info,
                             double seconds)
{
    size_t mark = qv_pb_begin(b, 1);
    qv_pb_put_u64(b, 1, status_of(info->status));
    size_t optimizer = qv_pb_begin(b, 2);
    qv_pb_put_bool(b, 1, info->optimizer_error == NULL);
    if (info->optimizer_error != NULL)
        qv_pb_put_str(b, 2, qv_str_of(info->optimizer_error));
    qv_pb_end(b, optimizer);
    qv_pb_put_u64(b, 4, info->segments_count);
    put_config(b, 7, info->config);
    for (uint32_t i = 0; i < info->schema_count; i++)
        put_schema(b, 8, &info->schema[i]);
    qv_pb_put_u64(b, 9, info->points_count);
    qv_pb_put_u64(b, 10, info->indexed_vectors_count);
    qv_pb_end(b, mark);
    qv_pb_put_f64(b, 2, seconds);
}
