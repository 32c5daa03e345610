/* Configurations -> JSON: the echo of a collection's info, and the metadata file's form. The two
 * differ in that the echo fills defaults in and the file leaves unset what was unset. */
#include "wire/json_answer.h"
#include "wire/json_collection.h"
#include "wire/json_doc.h"
#include "wire/json_write.h"

static void put_u64(struct qv_buf *b, bool *first, const char *key, uint64_t v)
{
    qv_json_write_key(b, first, key);
    qv_json_write_u64(b, v);
}

static void put_bool(struct qv_buf *b, bool *first, const char *key, bool v)
{
    qv_json_write_key(b, first, key);
    qv_json_write_bool(b, v);
}

static void put_text(struct qv_buf *b, bool *first, const char *key, const char *v)
{
    qv_json_write_key(b, first, key);
    qv_json_write_text(b, v);
}

static void put_opt_u64(struct qv_buf *b, bool *first, const char *key, struct qv_opt_u64 v)
{
    if (v.has)
        put_u64(b, first, key, v.v);
}

static void put_opt_f64(struct qv_buf *b, bool *first, const char *key, struct qv_opt_f64 v)
{
    if (!v.has)
        return;
    qv_json_write_key(b, first, key);
    qv_json_write_f64(b, v.v);
}

static void put_opt_bool(struct qv_buf *b, bool *first, const char *key, struct qv_opt_bool v)
{
    if (v.has)
        put_bool(b, first, key, v.v);
}

/* A number or null. */
static void put_or_null(struct qv_buf *b, bool *first, const char *key, struct qv_opt_u64 v)
{
    qv_json_write_key(b, first, key);
    if (v.has)
        qv_json_write_u64(b, v.v);
    else
        qv_buf_str(b, "null");
}

static uint64_t or_u64(struct qv_opt_u64 v, uint64_t otherwise)
{
    return v.has ? v.v : otherwise;
}

static void put_open(struct qv_buf *b, bool *first, const char *key, bool *inner)
{
    qv_json_write_key(b, first, key);
    qv_buf_append(b, "{", 1);
    *inner = true;
}

static void put_close(struct qv_buf *b)
{
    qv_buf_append(b, "}", 1);
}

/* ---- pieces that both forms share: only what is set ---- */

static void put_hnsw_diff(struct qv_buf *b, bool *first, const struct qv_hnsw_config *h)
{
    bool in;
    put_open(b, first, "hnsw_config", &in);
    put_opt_u64(b, &in, "m", h->m);
    put_opt_u64(b, &in, "ef_construct", h->ef_construct);
    put_opt_u64(b, &in, "full_scan_threshold", h->full_scan_threshold);
    put_opt_u64(b, &in, "max_indexing_threads", h->max_indexing_threads);
    put_opt_bool(b, &in, "on_disk", h->on_disk);
    put_opt_u64(b, &in, "payload_m", h->payload_m);
    put_opt_bool(b, &in, "inline_storage", h->inline_storage);
    put_close(b);
}

static void put_quant(struct qv_buf *b, bool *first, const struct qv_quant_config *q)
{
    bool in;
    bool deep;
    if (q->kind == QV_QUANT_NONE)
        return;
    put_open(b, first, "quantization_config", &in);
    put_open(b, &in, q->kind == QV_QUANT_SCALAR ? "scalar" : "binary", &deep);
    if (q->kind == QV_QUANT_SCALAR)
        put_text(b, &deep, "type", "int8");
    put_opt_f64(b, &deep, "quantile", q->quantile);
    put_opt_bool(b, &deep, "always_ram", q->always_ram);
    if (q->encoding.n != 0) {
        qv_json_write_key(b, &deep, "encoding");
        qv_json_write_str(b, q->encoding);
    }
    if (q->query_encoding.n != 0) {
        qv_json_write_key(b, &deep, "query_encoding");
        qv_json_write_str(b, q->query_encoding);
    }
    put_close(b);
    put_close(b);
}

static void put_vector(struct qv_buf *b, const struct qv_vector_config *v, bool stored)
{
    bool in = true;
    bool deep;
    qv_buf_append(b, "{", 1);
    put_u64(b, &in, "size", v->size);
    put_text(b, &in, "distance", qv_json_distances[v->distance]);
    if (v->has_hnsw)
        put_hnsw_diff(b, &in, &v->hnsw);
    put_quant(b, &in, &v->quant);
    put_opt_bool(b, &in, "on_disk", v->on_disk);
    if (v->has_datatype)
        put_text(b, &in, "datatype", qv_json_datatypes[v->datatype]);
    if (v->multivector) {
        put_open(b, &in, "multivector_config", &deep);
        put_text(b, &deep, "comparator", "max_sim");
        put_close(b);
    }
    if (stored)
        put_u64(b, &in, "number", v->number);
    put_close(b);
}

static void put_vectors(struct qv_buf *b, bool *first, const struct qv_collection_config *c,
                        bool stored)
{
    qv_json_write_key(b, first, "vectors");
    if (c->vectors_unnamed && c->vector_count == 1) {
        put_vector(b, &c->vectors[0], stored);
        return;
    }
    qv_buf_append(b, "{", 1);
    for (uint32_t i = 0; i < c->vector_count; i++) {
        if (i != 0)
            qv_buf_append(b, ",", 1);
        qv_json_write_str(b, c->vectors[i].name);
        qv_buf_append(b, ":", 1);
        put_vector(b, &c->vectors[i], stored);
    }
    put_close(b);
}

static void put_sparse(struct qv_buf *b, const struct qv_sparse_config *s, bool stored)
{
    bool in = true;
    bool deep;
    qv_buf_append(b, "{", 1);
    if (s->has_index) {
        put_open(b, &in, "index", &deep);
        put_opt_u64(b, &deep, "full_scan_threshold", s->full_scan_threshold);
        put_opt_bool(b, &deep, "on_disk", s->on_disk);
        if (s->has_datatype)
            put_text(b, &deep, "datatype", qv_json_datatypes[s->datatype]);
        put_close(b);
    }
    if (s->has_modifier)
        put_text(b, &in, "modifier", s->modifier_idf ? "idf" : "none");
    if (stored)
        put_u64(b, &in, "number", s->number);
    put_close(b);
}

static void put_sparse_vectors(struct qv_buf *b, bool *first, const struct qv_collection_config *c,
                               bool stored)
{
    if (c->sparse_count == 0)
        return;
    qv_json_write_key(b, first, "sparse_vectors");
    qv_buf_append(b, "{", 1);
    for (uint32_t i = 0; i < c->sparse_count; i++) {
        if (i != 0)
            qv_buf_append(b, ",", 1);
        qv_json_write_str(b, c->sparse[i].name);
        qv_buf_append(b, ":", 1);
        put_sparse(b, &c->sparse[i], stored);
    }
    put_close(b);
}

/* vectors .. sparse_vectors: the same in "params" of the echo and at the top of the file. */
static void put_params(struct qv_buf *b, bool *in, const struct qv_collection_config *c,
                       bool stored)
{
    put_vectors(b, in, c, stored);
    put_u64(b, in, "shard_number", c->shard_number);
    if (c->has_sharding_custom)
        put_text(b, in, "sharding_method", "custom");
    put_u64(b, in, "replication_factor", c->replication_factor);
    put_u64(b, in, "write_consistency_factor", c->write_consistency_factor);
    put_opt_u64(b, in, "read_fan_out_factor", c->read_fan_out_factor);
    put_opt_u64(b, in, "read_fan_out_delay_ms", c->read_fan_out_delay_ms);
    put_bool(b, in, "on_disk_payload", c->on_disk_payload);
    put_sparse_vectors(b, in, c, stored);
}

/* ---- the echo ---- */

static void echo_hnsw(struct qv_buf *b, bool *first, const struct qv_hnsw_config *h)
{
    bool in;
    put_open(b, first, "hnsw_config", &in);
    put_u64(b, &in, "m", or_u64(h->m, QV_HNSW_M_DEFAULT));
    put_u64(b, &in, "ef_construct", or_u64(h->ef_construct, QV_HNSW_EF_CONSTRUCT_DEFAULT));
    put_u64(b, &in, "full_scan_threshold", or_u64(h->full_scan_threshold, 10000));
    put_u64(b, &in, "max_indexing_threads", or_u64(h->max_indexing_threads, 0));
    put_bool(b, &in, "on_disk", h->on_disk.has && h->on_disk.v);
    put_opt_u64(b, &in, "payload_m", h->payload_m);
    put_opt_bool(b, &in, "inline_storage", h->inline_storage);
    put_close(b);
}

static void echo_optimizer(struct qv_buf *b, bool *first, const struct qv_optimizer_config *o)
{
    bool in;
    put_open(b, first, "optimizer_config", &in);
    qv_json_write_key(b, &in, "deleted_threshold");
    qv_json_write_f64(b, o->deleted_threshold.has ? o->deleted_threshold.v : 0.2);
    put_u64(b, &in, "vacuum_min_vector_number", or_u64(o->vacuum_min_vector_number, 1000));
    put_u64(b, &in, "default_segment_number", or_u64(o->default_segment_number, 0));
    put_or_null(b, &in, "max_segment_size", o->max_segment_size);
    put_or_null(b, &in, "memmap_threshold", o->memmap_threshold);
    put_u64(b, &in, "indexing_threshold",
            or_u64(o->indexing_threshold, QV_INDEXING_THRESHOLD_DEFAULT));
    put_u64(b, &in, "flush_interval_sec", or_u64(o->flush_interval_sec, 5));
    put_or_null(b, &in, "max_optimization_threads", o->max_optimization_threads);
    put_close(b);
}

static void echo_config(struct qv_buf *b, bool *first, const struct qv_collection_config *c)
{
    bool in;
    bool deep;
    put_open(b, first, "config", &in);
    put_open(b, &in, "params", &deep);
    put_params(b, &deep, c, false);
    put_close(b);
    echo_hnsw(b, &in, &c->hnsw);
    echo_optimizer(b, &in, &c->optimizer);
    put_open(b, &in, "wal_config", &deep);
    put_u64(b, &deep, "wal_capacity_mb", or_u64(c->wal.wal_capacity_mb, 32));
    put_u64(b, &deep, "wal_segments_ahead", or_u64(c->wal.wal_segments_ahead, 0));
    put_u64(b, &deep, "wal_retain_closed", or_u64(c->wal.wal_retain_closed, 1));
    put_close(b);
    if (c->quant.kind == QV_QUANT_NONE) {
        qv_json_write_key(b, &in, "quantization_config");
        qv_buf_str(b, "null");
    }
    put_quant(b, &in, &c->quant);
    qv_json_write_key(b, &in, "strict_mode_config");
    if (c->strict_mode.p != NULL)
        qv_json_write_doc(b, c->strict_mode);
    else
        qv_buf_str(b, "{\"enabled\":false}");
    if (c->metadata.p != NULL) {
        qv_json_write_key(b, &in, "metadata");
        qv_json_write_doc(b, c->metadata);
    }
    qv_json_write_quiver(b, &in, c);
    put_close(b);
}

static void echo_schema(struct qv_buf *b, bool *first, const struct qv_collection_info *info)
{
    qv_json_write_key(b, first, "payload_schema");
    qv_buf_append(b, "{", 1);
    for (uint32_t i = 0; i < info->schema_count; i++) {
        const struct qv_payload_schema_entry *e = &info->schema[i];
        bool in = true;
        if (i != 0)
            qv_buf_append(b, ",", 1);
        qv_json_write_str(b, e->index->field);
        qv_buf_str(b, ":{");
        qv_json_write_key(b, &in, "data_type");
        qv_json_write_str(b, e->index->type);
        if (e->index->params.p != NULL) {
            qv_json_write_key(b, &in, "params");
            qv_json_write_doc(b, e->index->params);
        }
        put_u64(b, &in, "points", e->points);
        put_close(b);
    }
    put_close(b);
}

void qv_json_write_collection(struct qv_buf *b, const struct qv_collection_info *info)
{
    static const char *const statuses[] = {
        [QV_COLLECTION_GREEN] = "green",
        [QV_COLLECTION_YELLOW] = "yellow",
        [QV_COLLECTION_GREY] = "grey",
        [QV_COLLECTION_RED] = "red",
    };
    bool in = true;
    qv_buf_append(b, "{", 1);
    put_text(b, &in, "status", statuses[info->status]);
    if (info->optimizer_error == NULL) {
        put_text(b, &in, "optimizer_status", "ok");
    } else {
        bool error = true;
        put_open(b, &in, "optimizer_status", &error);
        put_text(b, &error, "error", info->optimizer_error);
        put_close(b);
    }
    put_u64(b, &in, "indexed_vectors_count", info->indexed_vectors_count);
    put_u64(b, &in, "points_count", info->points_count);
    put_u64(b, &in, "segments_count", info->segments_count);
    echo_config(b, &in, info->config);
    echo_schema(b, &in, info);
    put_close(b);
}

/* ---- the metadata file's form ---- */

static void store_optimizer(struct qv_buf *b, bool *first, const struct qv_optimizer_config *o)
{
    bool in;
    put_open(b, first, "optimizers_config", &in);
    put_opt_f64(b, &in, "deleted_threshold", o->deleted_threshold);
    put_opt_u64(b, &in, "vacuum_min_vector_number", o->vacuum_min_vector_number);
    put_opt_u64(b, &in, "default_segment_number", o->default_segment_number);
    put_opt_u64(b, &in, "max_segment_size", o->max_segment_size);
    put_opt_u64(b, &in, "memmap_threshold", o->memmap_threshold);
    put_opt_u64(b, &in, "indexing_threshold", o->indexing_threshold);
    put_opt_u64(b, &in, "flush_interval_sec", o->flush_interval_sec);
    put_opt_u64(b, &in, "max_optimization_threads", o->max_optimization_threads);
    put_close(b);
}

static void store_wal(struct qv_buf *b, bool *first, const struct qv_wal_config *w)
{
    bool in;
    put_open(b, first, "wal_config", &in);
    put_opt_u64(b, &in, "wal_capacity_mb", w->wal_capacity_mb);
    put_opt_u64(b, &in, "wal_segments_ahead", w->wal_segments_ahead);
    put_opt_u64(b, &in, "wal_retain_closed", w->wal_retain_closed);
    put_close(b);
}

static void store_index(struct qv_buf *b, const struct qv_payload_index *x)
{
    bool in = true;
    qv_buf_append(b, "{", 1);
    qv_json_write_key(b, &in, "field_name");
    qv_json_write_str(b, x->field);
    qv_json_write_key(b, &in, "field_schema");
    if (x->params.p != NULL)
        qv_json_write_doc(b, x->params);
    else
        qv_json_write_str(b, x->type);
    put_u64(b, &in, "number", x->number);
    put_close(b);
}

void qv_json_config_write(struct qv_buf *b, const struct qv_collection_config *c,
                          uint64_t generation)
{
    bool in = true;
    qv_buf_append(b, "{", 1);
    put_u64(b, &in, "generation", generation);
    put_params(b, &in, c, true);
    qv_json_write_quiver(b, &in, c);
    put_hnsw_diff(b, &in, &c->hnsw);
    store_optimizer(b, &in, &c->optimizer);
    store_wal(b, &in, &c->wal);
    put_quant(b, &in, &c->quant);
    if (c->strict_mode.p != NULL) {
        qv_json_write_key(b, &in, "strict_mode_config");
        qv_json_write_doc(b, c->strict_mode);
    }
    if (c->metadata.p != NULL) {
        qv_json_write_key(b, &in, "metadata");
        qv_json_write_doc(b, c->metadata);
    }
    qv_json_write_key(b, &in, "payload_indexes");
    qv_buf_append(b, "[", 1);
    for (uint32_t i = 0; i < c->payload_index_count; i++) {
        if (i != 0)
            qv_buf_append(b, ",", 1);
        store_index(b, &c->payload_indexes[i]);
    }
    qv_buf_append(b, "]", 1);
    put_u64(b, &in, "next_number", c->next_number);
    put_close(b);
}

int qv_json_config_read(struct qv_bytes text, struct qv_arena *a, struct qv_collection_config *out,
                        uint64_t *generation, struct qv_errmsg *msg)
{
    struct qv_json_stored stored = {0};
    struct qv_json j;
    qv_json_init(&j, text, a, msg);
    qv_json_collection_config(&j, &stored, out);
    *generation = stored.generation;
    return qv_json_finish(&j);
}
