#include "wire/pb_config.h"

#include "base/qv_assert.h"
#include "core/limits.h"
#include "wire/not_served.h"
#include "wire/pb_fields.h"

const struct qv_pb_index_type qv_pb_index_types[QV_PB_INDEX_TYPES] = {
    {"keyword", 0, 1, 3, &qv_pb__keyword_index_params__descriptor},
    {"integer", 1, 2, 2, &qv_pb__integer_index_params__descriptor},
    {"float", 2, 3, 4, &qv_pb__float_index_params__descriptor},
    {"geo", 3, 4, 5, &qv_pb__geo_index_params__descriptor},
    {"text", 4, 5, 1, &qv_pb__text_index_params__descriptor},
    {"bool", 5, 6, 6, &qv_pb__bool_index_params__descriptor},
    {"datetime", 6, 7, 7, &qv_pb__datetime_index_params__descriptor},
    {"uuid", 7, 8, 8, &qv_pb__uuid_index_params__descriptor},
};

const char *const qv_pb_encodings[3] = {"one_bit", "two_bits", "one_and_half_bits"};
const char *const qv_pb_query_encodings[4] = {"default", "binary", "scalar4bits", "scalar8bits"};

#define OPT_U64(m, field) ((struct qv_opt_u64){(m)->has_##field != 0, (m)->field})
#define OPT_BOOL(m, field) ((struct qv_opt_bool){(m)->has_##field != 0, (m)->field != 0})
#define OPT_F64(m, field) ((struct qv_opt_f64){(m)->has_##field != 0, (double)(m)->field})

static int refuse_memory(struct qv_pb_ctx *c, bool given)
{
    return given ? qv_not_served_fail(QV_NOT_SERVED_MEMORY, c->msg) : 0;
}

static int read_hnsw(struct qv_pb_ctx *c, const QvPb__HnswConfigDiff *m, struct qv_hnsw_config *out)
{
    if (m == NULL)
        return 0;
    *out = (struct qv_hnsw_config){.m = OPT_U64(m, m),
                                   .ef_construct = OPT_U64(m, ef_construct),
                                   .full_scan_threshold = OPT_U64(m, full_scan_threshold),
                                   .max_indexing_threads = OPT_U64(m, max_indexing_threads),
                                   .on_disk = OPT_BOOL(m, on_disk),
                                   .payload_m = OPT_U64(m, payload_m),
                                   .inline_storage = OPT_BOOL(m, inline_storage)};
    return refuse_memory(c, m->has_memory);
}

static int read_optimizer(struct qv_pb_ctx *c, const QvPb__OptimizersConfigDiff *m,
                          struct qv_optimizer_config *out)
{
    if (m == NULL)
        return 0;
    if (m->has_prevent_unoptimized)
        return qv_not_served_fail(QV_NOT_SERVED_PREVENT_UNOPTIMIZED, c->msg);
    if (m->has_deleted_threshold && !(m->deleted_threshold >= 0.0 && m->deleted_threshold <= 1.0))
        return qv_fail(c->msg, QV_EVALIDATION,
                       "optimizers_config.deleted_threshold: value %g invalid, must be from 0 to 1",
                       m->deleted_threshold);
    *out = (struct qv_optimizer_config){
        .deleted_threshold = OPT_F64(m, deleted_threshold),
        .vacuum_min_vector_number = OPT_U64(m, vacuum_min_vector_number),
        .default_segment_number = OPT_U64(m, default_segment_number),
        .max_segment_size = OPT_U64(m, max_segment_size),
        .memmap_threshold = OPT_U64(m, memmap_threshold),
        .indexing_threshold = OPT_U64(m, indexing_threshold),
        .flush_interval_sec = OPT_U64(m, flush_interval_sec),
        .max_optimization_threads = OPT_U64(m, deprecated_max_optimization_threads)};
    const QvPb__MaxOptimizationThreads *t = m->max_optimization_threads;
    if (t != NULL) /* "auto" is the same as none given */
        out->max_optimization_threads = (struct qv_opt_u64){
            t->variant_case == QV_PB__MAX_OPTIMIZATION_THREADS__VARIANT_VALUE, t->value};
    return 0;
}

static int read_wal(struct qv_pb_ctx *c, const QvPb__WalConfigDiff *m, struct qv_wal_config *out)
{
    if (m == NULL)
        return 0;
    if (m->has_wal_capacity_mb && m->wal_capacity_mb == 0)
        return qv_fail(c->msg, QV_EVALIDATION,
                       "wal_config.wal_capacity_mb: value 0 invalid, must be 1 or larger");
    *out = (struct qv_wal_config){.wal_capacity_mb = OPT_U64(m, wal_capacity_mb),
                                  .wal_segments_ahead = OPT_U64(m, wal_segments_ahead),
                                  .wal_retain_closed = OPT_U64(m, wal_retain_closed)};
    return 0;
}

static int read_binary(struct qv_pb_ctx *c, const QvPb__BinaryQuantization *m,
                       struct qv_quant_config *out)
{
    out->kind = QV_QUANT_BINARY;
    out->always_ram = OPT_BOOL(m, always_ram);
    if (m->has_encoding) {
        if ((unsigned)m->encoding > 2)
            return qv_fail(c->msg, QV_EINVAL, "binary quantization: unknown encoding %d",
                           (int)m->encoding);
        out->encoding = qv_str_of(qv_pb_encodings[m->encoding]);
    }
    const QvPb__BinaryQuantizationQueryEncoding *q = m->query_encoding;
    if (q != NULL &&
        q->variant_case == QV_PB__BINARY_QUANTIZATION_QUERY_ENCODING__VARIANT_SETTING) {
        if ((unsigned)q->setting > 3)
            return qv_fail(c->msg, QV_EINVAL, "binary quantization: unknown query encoding %d",
                           (int)q->setting);
        out->query_encoding = qv_str_of(qv_pb_query_encodings[q->setting]);
    }
    return refuse_memory(c, m->has_memory);
}

static int read_quant(struct qv_pb_ctx *c, const QvPb__QuantizationConfig *m,
                      struct qv_quant_config *out)
{
    if (m == NULL)
        return 0;
    switch (m->quantization_case) {
    case QV_PB__QUANTIZATION_CONFIG__QUANTIZATION_SCALAR:
        if (m->scalar->has_type && m->scalar->type != QV_PB__QUANTIZATION_TYPE__Int8)
            return qv_fail(c->msg, QV_EINVAL, "scalar quantization: unknown type %d",
                           (int)m->scalar->type);
        out->kind = QV_QUANT_SCALAR;
        out->quantile = OPT_F64(m->scalar, quantile);
        out->always_ram = OPT_BOOL(m->scalar, always_ram);
        return refuse_memory(c, m->scalar->has_memory);
    case QV_PB__QUANTIZATION_CONFIG__QUANTIZATION_BINARY:
        return read_binary(c, m->binary, out);
    case QV_PB__QUANTIZATION_CONFIG__QUANTIZATION_PRODUCT:
        return qv_not_served_fail(QV_NOT_SERVED_QUANT_PRODUCT, c->msg);
    case QV_PB__QUANTIZATION_CONFIG__QUANTIZATION_TURBOQUANT:
        return qv_not_served_fail(QV_NOT_SERVED_QUANT_TURBO, c->msg);
    default:
        return qv_fail(c->msg, QV_EINVAL, "quantization_config: empty");
    }
}

static int read_datatype(struct qv_pb_ctx *c, bool has, int value, bool *given, enum qv_dtype *out)
{
    *given = has && value != QV_PB__DATATYPE__Default;
    *out = QV_DTYPE_F32;
    switch (has ? value : QV_PB__DATATYPE__Default) {
    case QV_PB__DATATYPE__Default:
    case QV_PB__DATATYPE__Float32:
        return 0;
    case QV_PB__DATATYPE__Uint8:
        *out = QV_DTYPE_U8;
        return 0;
    case QV_PB__DATATYPE__Float16:
        *out = QV_DTYPE_F16;
        return 0;
    case QV_PB__DATATYPE__Turbo4:
        return qv_not_served_fail(QV_NOT_SERVED_DATATYPE_TURBO4, c->msg);
    default:
        return qv_fail(c->msg, QV_EINVAL, "unknown datatype %d", value);
    }
}

static int read_distance(struct qv_pb_ctx *c, bool has, int value, enum qv_distance *out)
{
    switch (has ? value : QV_PB__DISTANCE__UnknownDistance) {
    case QV_PB__DISTANCE__Cosine:
        *out = QV_DISTANCE_COSINE;
        return 0;
    case QV_PB__DISTANCE__Euclid:
        *out = QV_DISTANCE_EUCLID;
        return 0;
    case QV_PB__DISTANCE__Dot:
        *out = QV_DISTANCE_DOT;
        return 0;
    case QV_PB__DISTANCE__Manhattan:
        *out = QV_DISTANCE_MANHATTAN;
        return 0;
    default:
        return qv_fail(c->msg, QV_EINVAL, "unknown distance");
    }
}

static int read_vector(struct qv_pb_ctx *c, const QvPb__VectorParams *m, struct qv_str name,
                       uint32_t number, struct qv_vector_config *out)
{
    if (m == NULL)
        return qv_fail(c->msg, QV_EINVAL, "vectors: empty parameters");
    *out = (struct qv_vector_config){.name = name,
                                     .number = number,
                                     .on_disk = OPT_BOOL(m, on_disk),
                                     .has_hnsw = m->hnsw_config != NULL,
                                     .multivector = m->multivector_config != NULL};
    if (!m->has_size || m->size == 0 || m->size > QV_DIM_MAX)
        return qv_fail(c->msg, QV_EVALIDATION, "vectors.size: value %llu invalid, must be 1 to %u",
                       (unsigned long long)m->size, QV_DIM_MAX);
    out->size = (uint32_t)m->size;
    int err = read_distance(c, m->has_distance, (int)m->distance, &out->distance);
    if (err == 0)
        err =
            read_datatype(c, m->has_datatype, (int)m->datatype, &out->has_datatype, &out->datatype);
    if (err == 0)
        err = read_hnsw(c, m->hnsw_config, &out->hnsw);
    if (err == 0)
        err = read_quant(c, m->quantization_config, &out->quant);
    return err != 0 ? err : refuse_memory(c, m->has_memory);
}

static int read_vectors(struct qv_pb_ctx *c, const QvPb__VectorsConfig *m,
                        struct qv_collection_config *out)
{
    if (m == NULL || m->config_case == QV_PB__VECTORS_CONFIG__CONFIG__NOT_SET)
        return 0;
    bool one = m->config_case == QV_PB__VECTORS_CONFIG__CONFIG_PARAMS;
    size_t n = one ? 1 : m->params_map->n_map;
    struct qv_pb_entry *e = NULL;
    out->vectors_unnamed = one;
    out->vector_count = 1;
    int err = qv_pb_check_count(c, "named vectors", n, QV_VECTORS_PER_POINT_MAX);
    if (err == 0 && !one)
        err = qv_pb_entries_read(c, (ProtobufCMessage *const *)m->params_map->map, n, &e,
                                 &out->vector_count);
    if (err != 0)
        return err;
    struct qv_vector_config *v = QV_PB_ARRAY(c, struct qv_vector_config, out->vector_count);
    if (v == NULL)
        return QV_ETOOBIG;
    out->vectors = v;
    if (one)
        err = read_vector(c, m->params, (struct qv_str){"", 0}, out->next_number++, v);
    for (size_t i = 0; i < n && err == 0 && !one; i++) {
        if (!e[i].dropped)
            err = read_vector(c, (const QvPb__VectorParams *)e[i].value, e[i].key,
                              out->next_number++, v++);
    }
    return err;
}

static int read_one_sparse(struct qv_pb_ctx *c, const QvPb__SparseVectorParams *m,
                           struct qv_str name, uint32_t number, struct qv_sparse_config *out)
{
    *out = (struct qv_sparse_config){.name = name, .number = number};
    if (m == NULL)
        return 0;
    if (m->has_modifier && (unsigned)m->modifier > 1)
        return qv_fail(c->msg, QV_EINVAL, "sparse_vectors: unknown modifier %d", (int)m->modifier);
    out->has_modifier = m->has_modifier;
    out->modifier_idf = m->has_modifier && m->modifier == QV_PB__MODIFIER__Idf;
    const QvPb__SparseIndexConfig *ix = m->index;
    if (ix == NULL)
        return 0;
    out->has_index = true;
    out->full_scan_threshold = OPT_U64(ix, full_scan_threshold);
    out->on_disk = OPT_BOOL(ix, on_disk);
    int err =
        read_datatype(c, ix->has_datatype, (int)ix->datatype, &out->has_datatype, &out->datatype);
    return err != 0 ? err : refuse_memory(c, ix->has_memory);
}

static int read_sparse(struct qv_pb_ctx *c, const QvPb__SparseVectorConfig *m,
                       struct qv_collection_config *out)
{
    if (m == NULL)
        return 0;
    struct qv_pb_entry *e;
    int err = qv_pb_check_count(c, "sparse vectors", m->n_map, QV_VECTORS_PER_POINT_MAX);
    if (err == 0)
        err = qv_pb_entries_read(c, (ProtobufCMessage *const *)m->map, m->n_map, &e,
                                 &out->sparse_count);
    if (err != 0)
        return err;
    struct qv_sparse_config *v = QV_PB_ARRAY(c, struct qv_sparse_config, out->sparse_count);
    if (v == NULL)
        return QV_ETOOBIG;
    out->sparse = v;
    for (size_t i = 0; i < m->n_map && err == 0; i++) {
        if (!e[i].dropped)
            err = read_one_sparse(c, (const QvPb__SparseVectorParams *)e[i].value, e[i].key,
                                  out->next_number++, v++);
    }
    return err;
}

static int read_strict(struct qv_pb_ctx *c, const QvPb__StrictModeConfig *m, struct qv_doc *out)
{
    if (m == NULL)
        return 0;
    size_t from = c->scratch.len;
    int err = qv_pb_fields_doc(c, &m->base, NULL);
    return err != 0 ? err : qv_pb_take_doc(c, from, out);
}

static int read_count(struct qv_pb_ctx *c, const char *field, bool has, uint32_t value,
                      uint32_t *out)
{
    *out = has ? value : 1;
    if (*out == 0)
        return qv_fail(c->msg, QV_EVALIDATION, "%s: value 0 invalid, must be 1 or larger", field);
    return 0;
}

static int read_numbers(struct qv_pb_ctx *c, const QvPb__CreateCollection *m,
                        struct qv_collection_config *out)
{
    int err =
        read_count(c, "shard_number", m->has_shard_number, m->shard_number, &out->shard_number);
    if (err == 0)
        err = read_count(c, "replication_factor", m->has_replication_factor, m->replication_factor,
                         &out->replication_factor);
    if (err == 0)
        err = read_count(c, "write_consistency_factor", m->has_write_consistency_factor,
                         m->write_consistency_factor, &out->write_consistency_factor);
    if (err != 0)
        return err;
    out->on_disk_payload = !m->has_on_disk_payload || m->on_disk_payload;
    if (m->has_sharding_method && m->sharding_method != QV_PB__SHARDING_METHOD__Auto)
        return qv_not_served_fail(QV_NOT_SERVED_SHARDING_CUSTOM, c->msg);
    return refuse_memory(c, m->payload != NULL && m->payload->has_memory);
}

int qv_pb_config(struct qv_pb_ctx *c, const QvPb__CreateCollection *m,
                 struct qv_collection_config **out)
{
    struct qv_collection_config *cfg = QV_PB_ARRAY(c, struct qv_collection_config, 1);
    if (cfg == NULL)
        return QV_ETOOBIG;
    int err = read_numbers(c, m, cfg);
    if (err == 0)
        err = read_wal(c, m->wal_config, &cfg->wal);
    if (err == 0)
        err = read_vectors(c, m->vectors_config, cfg);
    if (err == 0)
        err = read_sparse(c, m->sparse_vectors_config, cfg);
    if (err == 0)
        err = read_hnsw(c, m->hnsw_config, &cfg->hnsw);
    if (err == 0)
        err = read_optimizer(c, m->optimizers_config, &cfg->optimizer);
    if (err == 0)
        err = read_quant(c, m->quantization_config, &cfg->quant);
    if (err == 0)
        err = read_strict(c, m->strict_mode_config, &cfg->strict_mode);
    if (err == 0)
        err =
            qv_pb_map_doc(c, (ProtobufCMessage *const *)m->metadata, m->n_metadata, &cfg->metadata);
    if (err != 0)
        return err;
    *out = cfg;
    return qv_config_check(cfg, c->msg);
}

/* ---- changes ---- */

/* The same message with one kind more: disabled. */
static int read_quant_diff(struct qv_pb_ctx *c, const QvPb__QuantizationConfigDiff *m, bool *given,
                           struct qv_quant_config *out)
{
    QvPb__QuantizationConfig same = QV_PB__QUANTIZATION_CONFIG__INIT;
    *given = m != NULL;
    if (m == NULL)
        return 0;
    switch (m->quantization_case) {
    case QV_PB__QUANTIZATION_CONFIG_DIFF__QUANTIZATION_DISABLED:
        return 0;
    case QV_PB__QUANTIZATION_CONFIG_DIFF__QUANTIZATION_SCALAR:
        same.quantization_case = QV_PB__QUANTIZATION_CONFIG__QUANTIZATION_SCALAR;
        same.scalar = m->scalar;
        break;
    case QV_PB__QUANTIZATION_CONFIG_DIFF__QUANTIZATION_BINARY:
        same.quantization_case = QV_PB__QUANTIZATION_CONFIG__QUANTIZATION_BINARY;
        same.binary = m->binary;
        break;
    case QV_PB__QUANTIZATION_CONFIG_DIFF__QUANTIZATION_PRODUCT:
        same.quantization_case = QV_PB__QUANTIZATION_CONFIG__QUANTIZATION_PRODUCT;
        break;
    case QV_PB__QUANTIZATION_CONFIG_DIFF__QUANTIZATION_TURBOQUANT:
        same.quantization_case = QV_PB__QUANTIZATION_CONFIG__QUANTIZATION_TURBOQUANT;
        break;
    default:
        break;
    }
    return read_quant(c, &same, out);
}

static int read_vector_diff(struct qv_pb_ctx *c, const QvPb__VectorParamsDiff *m,
                            struct qv_str name, struct qv_vector_diff *out)
{
    *out = (struct qv_vector_diff){.name = name};
    if (m == NULL)
        return 0;
    out->has_hnsw = m->hnsw_config != NULL;
    out->on_disk = OPT_BOOL(m, on_disk);
    int err = read_hnsw(c, m->hnsw_config, &out->hnsw);
    if (err == 0)
        err = read_quant_diff(c, m->quantization_config, &out->has_quant, &out->quant);
    return err != 0 ? err : refuse_memory(c, m->has_memory);
}

static int read_vector_diffs(struct qv_pb_ctx *c, const QvPb__VectorsConfigDiff *m,
                             struct qv_config_diff *out)
{
    if (m == NULL || m->config_case == QV_PB__VECTORS_CONFIG_DIFF__CONFIG__NOT_SET)
        return 0;
    bool one = m->config_case == QV_PB__VECTORS_CONFIG_DIFF__CONFIG_PARAMS;
    size_t n = one ? 1 : m->params_map->n_map;
    struct qv_pb_entry *e = NULL;
    out->vector_count = 1;
    int err = qv_pb_check_count(c, "named vectors", n, QV_VECTORS_PER_POINT_MAX);
    if (err == 0 && !one)
        err = qv_pb_entries_read(c, (ProtobufCMessage *const *)m->params_map->map, n, &e,
                                 &out->vector_count);
    struct qv_vector_diff *v =
        err == 0 ? QV_PB_ARRAY(c, struct qv_vector_diff, out->vector_count) : NULL;
    if (v == NULL)
        return err != 0 ? err : QV_ETOOBIG;
    out->vectors = v;
    if (one)
        return read_vector_diff(c, m->params, (struct qv_str){"", 0}, v);
    for (size_t i = 0; i < n && err == 0; i++) {
        if (!e[i].dropped)
            err = read_vector_diff(c, (const QvPb__VectorParamsDiff *)e[i].value, e[i].key, v++);
    }
    return err;
}

static int read_params_diff(struct qv_pb_ctx *c, const QvPb__CollectionParamsDiff *m,
                            struct qv_config_diff *out)
{
    uint32_t unused;
    if (m == NULL)
        return 0;
    out->replication_factor = OPT_U64(m, replication_factor);
    out->write_consistency_factor = OPT_U64(m, write_consistency_factor);
    out->read_fan_out_factor = OPT_U64(m, read_fan_out_factor);
    out->read_fan_out_delay_ms = OPT_U64(m, read_fan_out_delay_ms);
    out->on_disk_payload = OPT_BOOL(m, on_disk_payload);
    int err = read_count(c, "params.replication_factor", m->has_replication_factor,
                         m->replication_factor, &unused);
    if (err == 0)
        err = read_count(c, "params.write_consistency_factor", m->has_write_consistency_factor,
                         m->write_consistency_factor, &unused);
    return err != 0 ? err : refuse_memory(c, m->payload != NULL && m->payload->has_memory);
}

int qv_pb_config_diff(struct qv_pb_ctx *c, const QvPb__UpdateCollection *m,
                      struct qv_config_diff *out)
{
    struct qv_collection_config sparse = {0};
    *out = (struct qv_config_diff){.has_hnsw = m->hnsw_config != NULL};
    int err = read_vector_diffs(c, m->vectors_config, out);
    if (err == 0)
        err = read_sparse(c, m->sparse_vectors_config, &sparse);
    out->sparse = sparse.sparse;
    out->sparse_count = sparse.sparse_count;
    if (err == 0)
        err = read_hnsw(c, m->hnsw_config, &out->hnsw);
    if (err == 0)
        err = read_optimizer(c, m->optimizers_config, &out->optimizer);
    if (err == 0)
        err = read_quant_diff(c, m->quantization_config, &out->has_quant, &out->quant);
    if (err == 0)
        err = read_params_diff(c, m->params, out);
    if (err == 0)
        err = read_strict(c, m->strict_mode_config, &out->strict_mode);
    if (err == 0)
        err =
            qv_pb_map_doc(c, (ProtobufCMessage *const *)m->metadata, m->n_metadata, &out->metadata);
    return err;
}

static int read_dense_name(struct qv_pb_ctx *c, const QvPb__DenseVectorCreationConfig *m,
                           struct qv_vector_config *out)
{
    out->multivector = m->multivector_config != NULL;
    if (!m->has_size || m->size == 0 || m->size > QV_DIM_MAX)
        return qv_fail(c->msg, QV_EVALIDATION,
                       "dense_config.size: value %llu invalid, must be 1 to %u",
                       (unsigned long long)m->size, QV_DIM_MAX);
    out->size = (uint32_t)m->size;
    int err = read_distance(c, m->has_distance, (int)m->distance, &out->distance);
    return err != 0 ? err
                    : read_datatype(c, m->has_datatype, (int)m->datatype, &out->has_datatype,
                                    &out->datatype);
}

static int read_sparse_name(struct qv_pb_ctx *c, const QvPb__SparseVectorCreationConfig *m,
                            struct qv_sparse_config *out)
{
    if (m->has_modifier && (unsigned)m->modifier > 1)
        return qv_fail(c->msg, QV_EINVAL, "sparse_config: unknown modifier %d", (int)m->modifier);
    out->has_modifier = m->has_modifier;
    out->modifier_idf = m->has_modifier && m->modifier == QV_PB__MODIFIER__Idf;
    int err =
        read_datatype(c, m->has_datatype, (int)m->datatype, &out->has_datatype, &out->datatype);
    out->has_index = out->has_datatype;
    return err;
}

int qv_pb_vector_spec(struct qv_pb_ctx *c, const QvPb__CreateVectorNameRequest *m,
                      struct qv_vector_spec *out)
{
    struct qv_vector_config *v = QV_PB_ARRAY(c, struct qv_vector_config, 1);
    struct qv_sparse_config *s = QV_PB_ARRAY(c, struct qv_sparse_config, 1);
    *out = (struct qv_vector_spec){0};
    if (v == NULL || s == NULL)
        return QV_ETOOBIG;
    v->name = s->name = qv_pb_str(m->vector_name);
    switch (m->vector_config_case) {
    case QV_PB__CREATE_VECTOR_NAME_REQUEST__VECTOR_CONFIG_DENSE_CONFIG:
        out->dense = v;
        return read_dense_name(c, m->dense_config, v);
    case QV_PB__CREATE_VECTOR_NAME_REQUEST__VECTOR_CONFIG_SPARSE_CONFIG:
        out->sparse = s;
        return read_sparse_name(c, m->sparse_config, s);
    default:
        return qv_fail(c->msg, QV_EINVAL, "vector_config: must be given");
    }
}

/* ---- payload indexes ---- */

static const struct qv_pb_index_type *find_type(const QvPb__CreateFieldIndexCollection *m)
{
    const QvPb__PayloadIndexParams *p = m->field_index_params;
    for (int i = 0; i < QV_PB_INDEX_TYPES; i++) {
        const struct qv_pb_index_type *t = &qv_pb_index_types[i];
        if (p != NULL && p->index_params_case != 0) {
            if (t->params == (uint32_t)p->index_params_case)
                return t;
        } else if (m->has_field_type && t->field_type == (uint32_t)m->field_type) {
            return t;
        }
    }
    return NULL;
}

int qv_pb_index(struct qv_pb_ctx *c, const QvPb__CreateFieldIndexCollection *m,
                struct qv_payload_index *out)
{
    *out = (struct qv_payload_index){.field = qv_pb_str(m->field_name)};
    struct qv_path path;
    int err = qv_pb_path(c, out->field, &path);
    if (err != 0)
        return err;
    if (out->field.n > QV_NAME_BYTES_MAX)
        return qv_fail(c->msg, QV_EVALIDATION, "field_name: longer than %u bytes",
                       QV_NAME_BYTES_MAX);
    const struct qv_pb_index_type *t = find_type(m);
    if (t == NULL)
        return qv_fail(c->msg, QV_EBADREQ, "field_type must be given");
    out->type = qv_str_of(t->name);
    const QvPb__PayloadIndexParams *p = m->field_index_params;
    if (p == NULL || p->index_params_case == 0)
        return 0;
    size_t from = c->scratch.len;
    err = qv_pb_fields_doc(c, &p->keyword_index_params->base, t->name);
    return err != 0 ? err : qv_pb_take_doc(c, from, &out->params);
}
