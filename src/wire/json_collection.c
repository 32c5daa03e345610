/* Bodies of create-collection and create-index, and the configuration's stored form. */
#include "wire/json_collection.h"

#include "wire/json_doc.h"
#include "wire/json_parts.h"
#include "wire/json_request.h"

const char *const qv_json_distances[] = {
    [QV_DISTANCE_COSINE] = "Cosine",    [QV_DISTANCE_EUCLID] = "Euclid",
    [QV_DISTANCE_DOT] = "Dot",          [QV_DISTANCE_MANHATTAN] = "Manhattan",
    [QV_DISTANCE_MANHATTAN + 1] = NULL,
};

const char *const qv_json_datatypes[] = {
    [QV_DTYPE_F32] = "float32",  [QV_DTYPE_F16] = "float16",
    [QV_DTYPE_U8] = "uint8",     [QV_DTYPE_COUNT] = "turbo4", /* known, not served */
    [QV_DTYPE_COUNT + 1] = NULL,
};

/* ---- pieces ---- */

static void read_memory(struct qv_json *j)
{
    qv_json_refuse(j, QV_NOT_SERVED_MEMORY);
}

/* Enters an object; false: it is null. */
static bool begin_optional(struct qv_json *j)
{
    if (qv_json_null(j))
        return false;
    qv_json_begin_object(j);
    return true;
}

/* A key whose value is a plain optional: where it goes in its structure. */
struct plain {
    const char *key;
    enum { PLAIN_U64, PLAIN_F64, PLAIN_BOOL, PLAIN_MEMORY } kind;
    size_t at;
};
#define PLAIN_END                                                                                  \
    {                                                                                              \
        .key = NULL                                                                                \
    }

static bool plain_field(struct qv_json *j, struct qv_str key, const struct plain *fields, void *out)
{
    const struct plain *f = fields;
    while (f->key != NULL && !qv_str_is(key, f->key))
        f++;
    if (f->key == NULL)
        return false;
    void *to = (char *)out + f->at;
    switch (f->kind) {
    case PLAIN_U64:
        qv_json_opt_u64(j, to);
        break;
    case PLAIN_F64:
        qv_json_opt_f64(j, to);
        break;
    case PLAIN_BOOL:
        qv_json_opt_bool(j, to);
        break;
    case PLAIN_MEMORY:
        read_memory(j);
        break;
    }
    return true;
}

/* An object that holds nothing else, or null (false: *out stays as it is). */
static bool read_plain(struct qv_json *j, const struct plain *fields, void *out)
{
    struct qv_str key;
    if (!begin_optional(j))
        return false;
    while (qv_json_next_key(j, &key)) {
        if (!plain_field(j, key, fields, out))
            qv_json_skip(j);
    }
    return true;
}

static bool read_datatype(struct qv_json *j, enum qv_dtype *out)
{
    *out = QV_DTYPE_F32;
    if (qv_json_null(j))
        return false;
    (void)qv_json_peek(j);
    struct qv_json_mark m = qv_json_mark(j);
    uint32_t word = qv_json_variant(j, qv_json_datatypes);
    if (word == QV_DTYPE_COUNT) {
        qv_json_restore(j, m);
        qv_json_refuse(j, QV_NOT_SERVED_DATATYPE_TURBO4);
        return false;
    }
    *out = (enum qv_dtype)word;
    return true;
}

static const struct plain hnsw_fields[] = {
    {"m", PLAIN_U64, offsetof(struct qv_hnsw_config, m)},
    {"ef_construct", PLAIN_U64, offsetof(struct qv_hnsw_config, ef_construct)},
    {"full_scan_threshold", PLAIN_U64, offsetof(struct qv_hnsw_config, full_scan_threshold)},
    {"max_indexing_threads", PLAIN_U64, offsetof(struct qv_hnsw_config, max_indexing_threads)},
    {"on_disk", PLAIN_BOOL, offsetof(struct qv_hnsw_config, on_disk)},
    {"payload_m", PLAIN_U64, offsetof(struct qv_hnsw_config, payload_m)},
    {"inline_storage", PLAIN_BOOL, offsetof(struct qv_hnsw_config, inline_storage)},
    {"memory", PLAIN_MEMORY, 0},
    PLAIN_END};

/* False for null. */
static bool read_hnsw(struct qv_json *j, struct qv_hnsw_config *out)
{
    *out = (struct qv_hnsw_config){0};
    return read_plain(j, hnsw_fields, out);
}

static void read_scalar(struct qv_json *j, struct qv_quant_config *out)
{
    static const char *const types[] = {"int8", NULL};
    static const struct plain fields[] = {
        {"quantile", PLAIN_F64, offsetof(struct qv_quant_config, quantile)},
        {"always_ram", PLAIN_BOOL, offsetof(struct qv_quant_config, always_ram)},
        {"memory", PLAIN_MEMORY, 0},
        PLAIN_END};
    struct qv_str key;
    bool has_type = false;
    *out = (struct qv_quant_config){.kind = QV_QUANT_SCALAR};
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "type")) {
            (void)qv_json_variant(j, types);
            has_type = true;
        } else if (!plain_field(j, key, fields, out)) {
            qv_json_skip(j);
        }
    }
    if (!has_type)
        qv_json_fail_missing(j, "type");
}

static struct qv_str read_word(struct qv_json *j, const char *const *words)
{
    if (qv_json_null(j))
        return (struct qv_str){"", 0};
    return qv_str_of(words[qv_json_variant(j, words)]);
}

static void read_binary(struct qv_json *j, struct qv_quant_config *out)
{
    static const char *const encodings[] = {"one_bit", "two_bits", "one_and_half_bits", NULL};
    static const char *const queries[] = {"default", "binary", "scalar4bits", "scalar8bits", NULL};
    struct qv_str key;
    *out = (struct qv_quant_config){.kind = QV_QUANT_BINARY};
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "always_ram"))
            qv_json_opt_bool(j, &out->always_ram);
        else if (qv_str_is(key, "encoding"))
            out->encoding = read_word(j, encodings);
        else if (qv_str_is(key, "query_encoding"))
            out->query_encoding = read_word(j, queries);
        else if (qv_str_is(key, "memory"))
            read_memory(j);
        else
            qv_json_skip(j);
    }
}

static void read_quantization(struct qv_json *j, struct qv_quant_config *out)
{
    struct qv_str key;
    *out = (struct qv_quant_config){.kind = QV_QUANT_NONE};
    if (!begin_optional(j))
        return;
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "scalar"))
            read_scalar(j, out);
        else if (qv_str_is(key, "binary"))
            read_binary(j, out);
        else if (qv_str_is(key, "product"))
            qv_json_refuse(j, QV_NOT_SERVED_QUANT_PRODUCT);
        else if (qv_str_is(key, "turbo"))
            qv_json_refuse(j, QV_NOT_SERVED_QUANT_TURBO);
        else
            qv_json_skip(j);
    }
    if (j->err == 0 && out->kind == QV_QUANT_NONE)
        qv_json_fail_at(j, j->p - 1,
                        "data did not match any variant of untagged enum QuantizationConfig");
}

static void read_multivector(struct qv_json *j, bool *out)
{
    static const char *const comparators[] = {"max_sim", NULL};
    struct qv_str key;
    bool found = false;
    *out = !qv_json_null(j);
    if (!*out)
        return;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "comparator")) {
            (void)qv_json_variant(j, comparators);
            found = true;
        } else {
            qv_json_skip(j);
        }
    }
    if (!found)
        qv_json_fail_missing(j, "comparator");
}

/* ---- vectors ---- */

/* A key of dense parameters beside size and distance. */
static void read_vector_field(struct qv_json *j, struct qv_str key, bool stored,
                              struct qv_vector_config *out)
{
    if (qv_str_is(key, "hnsw_config"))
        out->has_hnsw = read_hnsw(j, &out->hnsw);
    else if (qv_str_is(key, "quantization_config"))
        read_quantization(j, &out->quant);
    else if (qv_str_is(key, "on_disk"))
        qv_json_opt_bool(j, &out->on_disk);
    else if (qv_str_is(key, "datatype"))
        out->has_datatype = read_datatype(j, &out->datatype);
    else if (qv_str_is(key, "multivector_config"))
        read_multivector(j, &out->multivector);
    else if (qv_str_is(key, "memory"))
        read_memory(j);
    else if (stored && qv_str_is(key, "number"))
        out->number = qv_json_u32(j);
    else
        qv_json_skip(j);
}

static void read_vector_params(struct qv_json *j, bool stored, struct qv_vector_config *out)
{
    struct qv_str key;
    bool has_size = false;
    bool has_distance = false;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "size")) {
            uint64_t size = qv_json_u64(j);
            out->size = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
            has_size = true;
        } else if (qv_str_is(key, "distance")) {
            out->distance = (enum qv_distance)qv_json_variant(j, qv_json_distances);
            has_distance = true;
        } else {
            read_vector_field(j, key, stored, out);
        }
    }
    if (!has_size || !has_distance)
        qv_json_fail_missing(j, has_size ? "distance" : "size");
}

/* Is the object that is next one vector's parameters, not a map of names? */
static bool is_single_vector(struct qv_json *j)
{
    struct qv_json_mark m = qv_json_mark(j);
    struct qv_str key;
    bool single = false;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        enum qv_json_type type = qv_json_peek(j);
        single = single || (qv_str_is(key, "size") && type == QV_JSON_NUMBER) ||
                 (qv_str_is(key, "distance") && type == QV_JSON_STRING);
        qv_json_skip(j);
    }
    if (j->err == 0)
        qv_json_restore(j, m);
    return single;
}

/* The maps of what has a name: the next key, a name that is allowed. */
static bool next_name(struct qv_json *j, struct qv_str *name)
{
    if (!qv_json_next_key(j, name))
        return false;
    qv_json_check_name(j, *name);
    return j->err == 0;
}

#define NAMED_LIST(item, what) QV_JSON_LIST(item, QV_VECTORS_PER_POINT_MAX, what)

/* Where a name goes among n items, each of which begins with its name: of equal names the last one
 * counts, as protobuf's maps have it. */
static uint32_t place_of(const void *items, size_t stride, uint32_t n, struct qv_str name)
{
    uint32_t i = 0;
    while (i < n && !qv_str_equal(*(const struct qv_str *)((const char *)items + i * stride), name))
        i++;
    return i;
}
_Static_assert(offsetof(struct qv_vector_config, name) == 0, "place_of");
_Static_assert(offsetof(struct qv_vector_diff, name) == 0, "place_of");
_Static_assert(offsetof(struct qv_sparse_config, name) == 0, "place_of");

static void read_vectors(struct qv_json *j, bool stored, struct qv_collection_config *out)
{
    struct qv_vector_config *v = NULL;
    struct qv_str name;
    uint32_t cap = 0;
    out->vector_count = 0;
    out->vectors_unnamed = false;
    if (qv_json_null(j))
        return;
    if (is_single_vector(j)) {
        v = QV_ARENA_NEW(j->arena, struct qv_vector_config);
        if (v == NULL) {
            qv_json_fail_full(j);
            return;
        }
        v->name = (struct qv_str){"", 0};
        read_vector_params(j, stored, v);
        out->vectors_unnamed = true;
        out->vectors = v;
        out->vector_count = 1;
        return;
    }
    qv_json_begin_object(j);
    while (next_name(j, &name)) {
        v = qv_json_grow(j, v, out->vector_count, &cap, NAMED_LIST(*v, "vectors"));
        if (v == NULL)
            return;
        uint32_t i = place_of(v, sizeof *v, out->vector_count, name);
        out->vector_count += i == out->vector_count;
        v[i] = (struct qv_vector_config){.name = name, .number = i};
        read_vector_params(j, stored, &v[i]);
    }
    out->vectors = v;
}

static void read_sparse_index(struct qv_json *j, struct qv_sparse_config *out)
{
    struct qv_str key;
    out->has_index = !qv_json_null(j);
    if (!out->has_index)
        return;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "full_scan_threshold"))
            qv_json_opt_u64(j, &out->full_scan_threshold);
        else if (qv_str_is(key, "on_disk"))
            qv_json_opt_bool(j, &out->on_disk);
        else if (qv_str_is(key, "datatype"))
            out->has_datatype = read_datatype(j, &out->datatype);
        else if (qv_str_is(key, "memory"))
            read_memory(j);
        else
            qv_json_skip(j);
    }
}

static void read_sparse_params(struct qv_json *j, bool stored, struct qv_sparse_config *out)
{
    static const char *const modifiers[] = {"none", "idf", NULL};
    struct qv_str key;
    if (!begin_optional(j))
        return;
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "index")) {
            read_sparse_index(j, out);
        } else if (qv_str_is(key, "modifier")) {
            out->has_modifier = !qv_json_null(j);
            out->modifier_idf = out->has_modifier && qv_json_variant(j, modifiers) == 1;
        } else if (stored && qv_str_is(key, "number")) {
            out->number = qv_json_u32(j);
        } else {
            qv_json_skip(j);
        }
    }
}

static void read_sparse_vectors(struct qv_json *j, bool stored, struct qv_collection_config *out)
{
    struct qv_sparse_config *v = NULL;
    struct qv_str name;
    uint32_t cap = 0;
    out->sparse_count = 0;
    out->sparse = NULL;
    if (!begin_optional(j))
        return;
    while (next_name(j, &name)) {
        v = qv_json_grow(j, v, out->sparse_count, &cap, NAMED_LIST(*v, "sparse vectors"));
        if (v == NULL)
            return;
        uint32_t i = place_of(v, sizeof *v, out->sparse_count, name);
        out->sparse_count += i == out->sparse_count;
        v[i] = (struct qv_sparse_config){.name = name};
        read_sparse_params(j, stored, &v[i]);
        out->sparse = v;
    }
}

/* ---- the rest of the body ---- */

static void read_threads(struct qv_json *j, struct qv_opt_u64 *out)
{
    static const char *const words[] = {"auto", NULL};
    if (qv_json_peek(j) == QV_JSON_STRING) {
        (void)qv_json_variant(j, words);
        *out = (struct qv_opt_u64){0};
    } else {
        qv_json_opt_u64(j, out);
    }
}

static const struct plain optimizer_fields[] = {
    {"deleted_threshold", PLAIN_F64, offsetof(struct qv_optimizer_config, deleted_threshold)},
    {"vacuum_min_vector_number", PLAIN_U64,
     offsetof(struct qv_optimizer_config, vacuum_min_vector_number)},
    {"default_segment_number", PLAIN_U64,
     offsetof(struct qv_optimizer_config, default_segment_number)},
    {"max_segment_size", PLAIN_U64, offsetof(struct qv_optimizer_config, max_segment_size)},
    {"memmap_threshold", PLAIN_U64, offsetof(struct qv_optimizer_config, memmap_threshold)},
    {"indexing_threshold", PLAIN_U64, offsetof(struct qv_optimizer_config, indexing_threshold)},
    {"flush_interval_sec", PLAIN_U64, offsetof(struct qv_optimizer_config, flush_interval_sec)},
    PLAIN_END};

static void read_optimizers(struct qv_json *j, struct qv_optimizer_config *out)
{
    struct qv_str key;
    *out = (struct qv_optimizer_config){0};
    if (!begin_optional(j))
        return;
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "max_optimization_threads"))
            read_threads(j, &out->max_optimization_threads);
        else if (qv_str_is(key, "prevent_unoptimized"))
            qv_json_refuse(j, QV_NOT_SERVED_PREVENT_UNOPTIMIZED);
        else if (!plain_field(j, key, optimizer_fields, out))
            qv_json_skip(j);
    }
    if (out->deleted_threshold.has &&
        !(out->deleted_threshold.v >= 0.0 && out->deleted_threshold.v <= 1.0))
        qv_json_fail(j, QV_EVALIDATION,
                     "optimizers_config.deleted_threshold: value %g invalid, must be from 0 to 1",
                     out->deleted_threshold.v);
}

static const struct plain wal_fields[] = {
    {"wal_capacity_mb", PLAIN_U64, offsetof(struct qv_wal_config, wal_capacity_mb)},
    {"wal_segments_ahead", PLAIN_U64, offsetof(struct qv_wal_config, wal_segments_ahead)},
    {"wal_retain_closed", PLAIN_U64, offsetof(struct qv_wal_config, wal_retain_closed)},
    PLAIN_END};

static void read_wal(struct qv_json *j, struct qv_wal_config *out)
{
    *out = (struct qv_wal_config){0};
    (void)read_plain(j, wal_fields, out);
    if (out->wal_capacity_mb.has && out->wal_capacity_mb.v == 0)
        qv_json_fail(j, QV_EVALIDATION,
                     "wal_config.wal_capacity_mb: value 0 invalid, must be 1 or larger");
}

static struct qv_doc read_object(struct qv_json *j)
{
    return qv_json_null(j) ? (struct qv_doc){NULL, 0} : qv_json_doc_object(j, "a map");
}

static void read_payload_storage(struct qv_json *j)
{
    static const struct plain fields[] = {{"memory", PLAIN_MEMORY, 0}, PLAIN_END};
    char none; /* nothing of it is kept */
    (void)read_plain(j, fields, &none);
}

static uint32_t read_count(struct qv_json *j, const char *field, uint32_t otherwise)
{
    if (qv_json_null(j))
        return otherwise;
    uint32_t v = qv_json_u32(j);
    if (j->err == 0 && v == 0)
        qv_json_fail(j, QV_EVALIDATION, "%s: value 0 invalid, must be 1 or larger", field);
    return v;
}

static void read_sharding_method(struct qv_json *j, bool stored, bool *custom)
{
    static const char *const words[] = {"auto", "custom", NULL};
    struct qv_json_mark m;
    *custom = false;
    if (qv_json_null(j))
        return;
    (void)qv_json_peek(j);
    m = qv_json_mark(j);
    *custom = qv_json_variant(j, words) == 1;
    if (*custom && !stored) {
        qv_json_restore(j, m);
        qv_json_refuse(j, QV_NOT_SERVED_SHARDING_CUSTOM);
    }
}

static bool counted_field(struct qv_json *j, struct qv_str key, bool stored,
                          struct qv_collection_config *out)
{
    if (qv_str_is(key, "shard_number"))
        out->shard_number = read_count(j, "shard_number", 1);
    else if (qv_str_is(key, "replication_factor"))
        out->replication_factor = read_count(j, "replication_factor", 1);
    else if (qv_str_is(key, "write_consistency_factor"))
        out->write_consistency_factor = read_count(j, "write_consistency_factor", 1);
    else if (qv_str_is(key, "sharding_method"))
        read_sharding_method(j, stored, &out->has_sharding_custom);
    else
        return false;
    return true;
}

static bool fan_out_field(struct qv_json *j, struct qv_str key, struct qv_opt_u64 *factor,
                          struct qv_opt_u64 *delay_ms)
{
    if (qv_str_is(key, "read_fan_out_factor"))
        qv_json_opt_u64(j, factor);
    else if (qv_str_is(key, "read_fan_out_delay_ms"))
        qv_json_opt_u64(j, delay_ms);
    else
        return false;
    return true;
}

static bool config_field(struct qv_json *j, struct qv_str key, bool stored,
                         struct qv_collection_config *out)
{
    if (counted_field(j, key, stored, out) ||
        (stored && fan_out_field(j, key, &out->read_fan_out_factor, &out->read_fan_out_delay_ms)))
        return true;
    if (qv_str_is(key, "vectors"))
        read_vectors(j, stored, out);
    else if (qv_str_is(key, "sparse_vectors"))
        read_sparse_vectors(j, stored, out);
    else if (qv_str_is(key, "hnsw_config"))
        (void)read_hnsw(j, &out->hnsw);
    else if (qv_str_is(key, "optimizers_config"))
        read_optimizers(j, &out->optimizer);
    else if (qv_str_is(key, "wal_config"))
        read_wal(j, &out->wal);
    else if (qv_str_is(key, "quantization_config"))
        read_quantization(j, &out->quant);
    else if (qv_str_is(key, "on_disk_payload"))
        out->on_disk_payload = qv_json_null(j) || qv_json_bool(j);
    else if (qv_str_is(key, "strict_mode_config"))
        out->strict_mode = read_object(j);
    else if (qv_str_is(key, "metadata"))
        out->metadata = read_object(j);
    else if (qv_str_is(key, "payload"))
        read_payload_storage(j);
    else if (qv_str_is(key, "init_from"))
        qv_json_refuse(j, QV_NOT_SERVED_INIT_FROM);
    else if (qv_str_is(key, "quiver"))
        qv_json_quiver(j, out);
    else
        return false;
    return true;
}

/* ---- stored only ---- */

static void read_payload_indexes(struct qv_json *j, struct qv_collection_config *out)
{
    struct qv_payload_index *items = NULL;
    uint32_t cap = 0;
    out->payload_index_count = 0;
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        items = qv_json_grow(j, items, out->payload_index_count, &cap,
                             QV_JSON_LIST(*items, QV_BATCH_OPS_MAX, "payload indexes"));
        if (items == NULL)
            return;
        qv_json_payload_index(j, &items[out->payload_index_count]);
        out->payload_index_count++;
    }
    out->payload_indexes = items;
}

static void stored_field(struct qv_json *j, struct qv_str key, struct qv_json_stored *stored,
                         struct qv_collection_config *out)
{
    if (stored != NULL && qv_str_is(key, "next_number"))
        out->next_number = qv_json_u32(j);
    else if (stored != NULL && qv_str_is(key, "generation"))
        stored->generation = qv_json_u64(j);
    else if (stored != NULL && qv_str_is(key, "payload_indexes"))
        read_payload_indexes(j, out);
    else
        qv_json_skip(j);
}

/* Numbers of a new collection: dense vectors from 0 as they stand, then the sparse ones. */
static void assign_numbers(struct qv_json *j, struct qv_collection_config *c)
{
    struct qv_sparse_config *sparse = NULL;
    c->next_number = c->vector_count;
    if (c->sparse_count != 0) {
        sparse = qv_arena_dup(j->arena, c->sparse, c->sparse_count * sizeof *sparse);
        if (sparse == NULL) {
            qv_json_fail_full(j);
            return;
        }
        for (uint32_t i = 0; i < c->sparse_count; i++)
            sparse[i].number = c->next_number++;
        c->sparse = sparse;
    }
}

void qv_json_collection_config(struct qv_json *j, struct qv_json_stored *stored,
                               struct qv_collection_config *out)
{
    struct qv_str key;
    struct qv_errmsg msg = {{0}};
    *out = (struct qv_collection_config){.shard_number = 1,
                                         .replication_factor = 1,
                                         .write_consistency_factor = 1,
                                         .on_disk_payload = true};
    if (stored != NULL)
        *stored = (struct qv_json_stored){0};
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (!config_field(j, key, stored != NULL, out))
            stored_field(j, key, stored, out);
    }
    if (j->err == 0 && stored == NULL)
        assign_numbers(j, out);
    if (j->err == 0)
        qv_json_fail_below(j, qv_config_check(out, &msg), &msg);
}

int qv_json_read_create_collection(struct qv_bytes body, struct qv_arena *a,
                                   struct qv_collection_config *out, struct qv_errmsg *msg)
{
    struct qv_json j;
    qv_json_init(&j, body, a, msg);
    qv_json_collection_config(&j, NULL, out);
    return qv_json_finish(&j);
}

/* ---- changes of a collection ---- */

/* {"scalar": ..} as at creation, or "Disabled". */
static bool read_quantization_diff(struct qv_json *j, struct qv_quant_config *out)
{
    static const char *const words[] = {"Disabled", NULL};
    *out = (struct qv_quant_config){.kind = QV_QUANT_NONE};
    if (qv_json_null(j))
        return false;
    if (qv_json_peek(j) == QV_JSON_STRING)
        (void)qv_json_variant(j, words);
    else
        read_quantization(j, out);
    return true;
}

static void read_vector_diff(struct qv_json *j, struct qv_vector_diff *out)
{
    struct qv_str key;
    if (!begin_optional(j))
        return;
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "hnsw_config"))
            out->has_hnsw = read_hnsw(j, &out->hnsw);
        else if (qv_str_is(key, "quantization_config"))
            out->has_quant = read_quantization_diff(j, &out->quant);
        else if (qv_str_is(key, "on_disk"))
            qv_json_opt_bool(j, &out->on_disk);
        else if (qv_str_is(key, "memory"))
            read_memory(j);
        else
            qv_json_skip(j);
    }
}

static void read_vector_diffs(struct qv_json *j, struct qv_config_diff *out)
{
    struct qv_vector_diff *v = NULL;
    struct qv_str name;
    uint32_t cap = 0;
    out->vector_count = 0;
    out->vectors = NULL;
    if (!begin_optional(j))
        return;
    while (next_name(j, &name)) {
        v = qv_json_grow(j, v, out->vector_count, &cap, NAMED_LIST(*v, "vectors"));
        if (v == NULL)
            return;
        uint32_t i = place_of(v, sizeof *v, out->vector_count, name);
        out->vector_count += i == out->vector_count;
        v[i] = (struct qv_vector_diff){.name = name};
        read_vector_diff(j, &v[i]);
        out->vectors = v;
    }
}

static void read_params_diff(struct qv_json *j, struct qv_config_diff *out)
{
    struct qv_str key;
    if (!begin_optional(j))
        return;
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "replication_factor"))
            qv_json_opt_u64(j, &out->replication_factor);
        else if (qv_str_is(key, "write_consistency_factor"))
            qv_json_opt_u64(j, &out->write_consistency_factor);
        else if (qv_str_is(key, "on_disk_payload"))
            qv_json_opt_bool(j, &out->on_disk_payload);
        else if (qv_str_is(key, "payload"))
            read_payload_storage(j);
        else if (!fan_out_field(j, key, &out->read_fan_out_factor, &out->read_fan_out_delay_ms))
            qv_json_skip(j);
    }
}

static void read_sparse_diffs(struct qv_json *j, struct qv_config_diff *out)
{
    struct qv_collection_config c = {0};
    read_sparse_vectors(j, false, &c);
    out->sparse = c.sparse;
    out->sparse_count = c.sparse_count;
}

static void diff_field(struct qv_json *j, struct qv_str key, struct qv_config_diff *out)
{
    if (qv_str_is(key, "vectors"))
        read_vector_diffs(j, out);
    else if (qv_str_is(key, "sparse_vectors"))
        read_sparse_diffs(j, out);
    else if (qv_str_is(key, "params"))
        read_params_diff(j, out);
    else if (qv_str_is(key, "hnsw_config"))
        out->has_hnsw = read_hnsw(j, &out->hnsw);
    else if (qv_str_is(key, "optimizers_config"))
        read_optimizers(j, &out->optimizer);
    else if (qv_str_is(key, "quantization_config"))
        out->has_quant = read_quantization_diff(j, &out->quant);
    else if (qv_str_is(key, "strict_mode_config"))
        out->strict_mode = read_object(j);
    else if (qv_str_is(key, "metadata"))
        out->metadata = read_object(j);
    else if (qv_str_is(key, "quiver"))
        qv_json_refuse(j, QV_NOT_SERVED_QUIVER_CHANGE);
    else
        qv_json_skip(j);
}

static void check_not_zero(struct qv_json *j, const char *field, struct qv_opt_u64 v)
{
    if (v.has && v.v == 0)
        qv_json_fail(j, QV_EVALIDATION, "params.%s: value 0 invalid, must be 1 or larger", field);
}

int qv_json_read_update_collection(struct qv_bytes body, struct qv_arena *a,
                                   struct qv_config_diff *out, struct qv_errmsg *msg)
{
    struct qv_json j;
    struct qv_str key;
    *out = (struct qv_config_diff){0};
    qv_json_init(&j, body, a, msg);
    qv_json_begin_object(&j);
    while (qv_json_next_key(&j, &key))
        diff_field(&j, key, out);
    check_not_zero(&j, "replication_factor", out->replication_factor);
    check_not_zero(&j, "write_consistency_factor", out->write_consistency_factor);
    return qv_json_finish(&j);
}

/* {"modifier", "datatype"}: the latter stands in the index of the stored form. */
static void read_sparse_name(struct qv_json *j, struct qv_sparse_config *out)
{
    struct qv_str key;
    struct qv_json_mark m = qv_json_mark(j);
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "datatype"))
            out->has_index = out->has_datatype = read_datatype(j, &out->datatype);
        else
            qv_json_skip(j);
    }
    if (j->err != 0)
        return;
    qv_json_restore(j, m);
    struct qv_sparse_config words = {.name = out->name};
    read_sparse_params(j, false, &words);
    out->has_modifier = words.has_modifier;
    out->modifier_idf = words.modifier_idf;
}

int qv_json_read_vector_name(struct qv_bytes body, struct qv_arena *a, struct qv_str name,
                             struct qv_vector_spec *out, struct qv_errmsg *msg)
{
    struct qv_json j;
    struct qv_str key;
    struct qv_vector_config *v = QV_ARENA_NEW(a, struct qv_vector_config);
    struct qv_sparse_config *s = QV_ARENA_NEW(a, struct qv_sparse_config);
    if (v == NULL || s == NULL)
        return QV_ETOOBIG;
    *out = (struct qv_vector_spec){0};
    v->name = s->name = name;
    qv_json_init(&j, body, a, msg);
    qv_json_begin_object(&j);
    while (qv_json_next_key(&j, &key)) {
        if (qv_str_is(key, "dense")) {
            read_vector_params(&j, false, v);
            *out = (struct qv_vector_spec){.dense = v};
        } else if (qv_str_is(key, "sparse")) {
            read_sparse_name(&j, s);
            *out = (struct qv_vector_spec){.sparse = s};
        } else {
            qv_json_skip(&j);
        }
    }
    if (j.err == 0 && out->dense == NULL && out->sparse == NULL)
        qv_json_fail_at(&j, j.p - 1,
                        "data did not match any variant of untagged enum VectorNameConfig");
    return qv_json_finish(&j);
}

/* ---- payload index ---- */

static const char *const index_types[] = {"keyword",  "integer", "float", "bool", "geo",
                                          "datetime", "text",    "uuid",  NULL};

static void read_field_schema(struct qv_json *j, struct qv_payload_index *out)
{
    struct qv_str key;
    bool found = false;
    if (qv_json_peek(j) == QV_JSON_STRING) {
        out->type = qv_str_of(index_types[qv_json_variant(j, index_types)]);
        return;
    }
    struct qv_json_mark m = qv_json_mark(j);
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "type")) {
            out->type = qv_str_of(index_types[qv_json_variant(j, index_types)]);
            found = true;
        } else {
            qv_json_skip(j);
        }
    }
    if (!found)
        qv_json_fail_missing(j, "type");
    if (j->err != 0)
        return;
    qv_json_restore(j, m);
    out->params = qv_json_doc(j);
}

/* A field's name is a path; it is kept as it is written. */
static struct qv_str read_field_name(struct qv_json *j)
{
    struct qv_json_mark m = qv_json_mark(j);
    (void)qv_json_path(j);
    if (j->err != 0)
        return (struct qv_str){"", 0};
    qv_json_restore(j, m);
    return qv_json_name(j);
}

void qv_json_payload_index(struct qv_json *j, struct qv_payload_index *out)
{
    struct qv_str key;
    bool has_name = false;
    *out = (struct qv_payload_index){.type = {"", 0}};
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "field_name")) {
            out->field = read_field_name(j);
            has_name = true;
        } else if (qv_str_is(key, "field_schema") || qv_str_is(key, "field_type")) {
            out->params = (struct qv_doc){NULL, 0};
            if (!qv_json_null(j))
                read_field_schema(j, out);
        } else if (qv_str_is(key, "number")) {
            out->number = qv_json_u32(j);
        } else {
            qv_json_skip(j);
        }
    }
    if (!has_name)
        qv_json_fail_missing(j, "field_name");
    if (out->type.n == 0)
        qv_json_fail(j, QV_EBADREQ, "field_schema must be given");
}

int qv_json_read_field_index(struct qv_bytes body, struct qv_arena *a, struct qv_payload_index *out,
                             struct qv_errmsg *msg)
{
    struct qv_json j;
    qv_json_init(&j, body, a, msg);
    qv_json_payload_index(&j, out);
    out->number = 0;
    return qv_json_finish(&j);
}
