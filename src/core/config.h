/* What a collection is: its configuration as the API states it, with defaults filled in.
 *
 * A decoded config borrows an arena. The topology keeps one immutable copy per collection and
 * generation; a change makes a new value with generation + 1. Names live here and nowhere deeper:
 * inside, a vector is its number, which is never used again within its collection. */
#ifndef QV_CORE_CONFIG_H
#define QV_CORE_CONFIG_H

#include "base/metric.h"
#include "core/doc.h"
#include "core/placement_config.h"
#include "core/vector.h"

/* Optional settings: unset means "default", and is echoed as the API echoes it. */
struct qv_opt_u64 {
    bool has;
    uint64_t v;
};
struct qv_opt_f64 {
    bool has;
    double v;
};
struct qv_opt_bool {
    bool has;
    bool v;
};

enum qv_distance { /* as the API names them; the metric follows from it */
                   QV_DISTANCE_COSINE,
                   QV_DISTANCE_EUCLID,
                   QV_DISTANCE_DOT,
                   QV_DISTANCE_MANHATTAN
};

static inline enum qv_metric qv_distance_metric(enum qv_distance d)
{
    return d == QV_DISTANCE_COSINE   ? QV_METRIC_COSINE
           : d == QV_DISTANCE_EUCLID ? QV_METRIC_L2
           : d == QV_DISTANCE_DOT    ? QV_METRIC_DOT
                                     : QV_METRIC_L1;
}

/* As given: a diff over defaults (collection) or over the collection's (a vector). Effective
 * values: qv_config_hnsw below. */
struct qv_hnsw_config {
    struct qv_opt_u64 m;                    /* 16; 0 = no graph; <= 128 */
    struct qv_opt_u64 ef_construct;         /* 100; 4 .. 4096 */
    struct qv_opt_u64 full_scan_threshold;  /* KB, 10000 */
    struct qv_opt_u64 max_indexing_threads; /* 0 */
    struct qv_opt_bool on_disk;             /* false */
    struct qv_opt_u64 payload_m;
    struct qv_opt_bool inline_storage;
};

struct qv_optimizer_config {
    struct qv_opt_f64 deleted_threshold;        /* 0.2 */
    struct qv_opt_u64 vacuum_min_vector_number; /* 1000 */
    struct qv_opt_u64 default_segment_number;   /* 0 */
    struct qv_opt_u64 max_segment_size;
    struct qv_opt_u64 memmap_threshold;
    struct qv_opt_u64 indexing_threshold; /* 20000: rows that may wait for the graph */
    struct qv_opt_u64 flush_interval_sec; /* 5 */
    struct qv_opt_u64 max_optimization_threads;
};

struct qv_wal_config {
    struct qv_opt_u64 wal_capacity_mb;    /* 32 */
    struct qv_opt_u64 wal_segments_ahead; /* 0 */
    struct qv_opt_u64 wal_retain_closed;  /* 1 */
};

enum qv_quant_kind { QV_QUANT_NONE, QV_QUANT_SCALAR, QV_QUANT_BINARY }; /* product: 501 */

/* What a search's walk compares: codes beside the stored vectors, both kinds of 8 bits an element
 * with a scale and an offset a row (simd/lvq.h). No result's score changes: those are always
 * computed on the stored vectors. The rest is stored and echoed: no element is cut off at a
 * quantile, and codes always lie in memory. */
struct qv_quant_config {
    enum qv_quant_kind kind;
    struct qv_opt_f64 quantile;
    struct qv_opt_bool always_ram;
    struct qv_str encoding;       /* binary: "one_bit", ...; empty = unset */
    struct qv_str query_encoding; /* binary: "default", ...; empty = unset */
};

struct qv_vector_config {
    struct qv_str name; /* empty: the unnamed vector */
    uint32_t number;    /* assigned at creation, from 0, never used again */
    uint32_t size;      /* 1 .. QV_DIM_MAX */
    enum qv_distance distance;
    bool has_datatype; /* was it given? (echo) */
    enum qv_dtype datatype;
    struct qv_opt_bool on_disk;
    bool has_hnsw;
    struct qv_hnsw_config hnsw; /* diff over the collection's */
    struct qv_quant_config quant;
    bool multivector; /* multivector_config given; comparator max_sim is the only one */
};

struct qv_sparse_config {
    struct qv_str name;
    uint32_t number; /* shares the number space with dense vectors */
    bool has_index;
    struct qv_opt_u64 full_scan_threshold;
    struct qv_opt_bool on_disk;
    bool has_datatype;
    enum qv_dtype datatype;
    bool modifier_idf; /* modifier: "idf"; otherwise none */
    bool has_modifier;
};

struct qv_payload_index {
    struct qv_str field;  /* a path as given */
    uint32_t number;      /* never used again within the collection */
    struct qv_str type;   /* keyword, integer, float, bool, geo, datetime, text, uuid */
    struct qv_doc params; /* the options object as given (with "type"), or p == NULL */
};

/* strict_mode_config in numbers (core/strict.h); a bound that is not given holds nothing back.
 * Borrows the object it was made from. */
struct qv_strict {
    struct qv_opt_bool enabled;
    struct qv_opt_u64 max_query_limit;
    struct qv_opt_u64 max_timeout; /* seconds */
    struct qv_opt_bool unindexed_filtering_retrieve;
    struct qv_opt_bool unindexed_filtering_update;
    struct qv_opt_u64 search_max_hnsw_ef;
    struct qv_opt_bool search_allow_exact;
    struct qv_opt_f64 search_max_oversampling;
    struct qv_opt_u64 upsert_max_batchsize;
    struct qv_opt_u64 search_max_batchsize;
    struct qv_opt_u64 max_collection_vector_size_bytes;
    struct qv_opt_u64 read_rate_limit;  /* a minute */
    struct qv_opt_u64 write_rate_limit; /* a minute */
    struct qv_opt_u64 max_collection_payload_size_bytes;
    struct qv_opt_u64 max_points_count;
    struct qv_opt_u64 filter_max_conditions;
    struct qv_opt_u64 condition_max_size;
    struct qv_opt_u64 max_payload_index_count;
    struct qv_opt_u64 max_resident_memory_percent;
    struct qv_doc multivector_config; /* {name: {"max_vectors"}} or p == NULL */
    struct qv_doc sparse_config;      /* {name: {"max_length"}} or p == NULL */
};

struct qv_collection_config {
    uint32_t vector_count;
    const struct qv_vector_config *vectors;
    bool vectors_unnamed; /* given as one object: the only vector, without a name */
    uint32_t sparse_count;
    const struct qv_sparse_config *sparse;
    uint32_t shard_number;                   /* 1 */
    struct qv_placement_config placement;    /* of the points over the shards */
    bool has_sharding_custom;                /* sharding_method: custom */
    uint32_t replication_factor;             /* 1 */
    uint32_t write_consistency_factor;       /* 1 */
    struct qv_opt_u64 read_fan_out_factor;   /* stored and echoed: there is one copy */
    struct qv_opt_u64 read_fan_out_delay_ms; /* likewise */
    bool on_disk_payload;                    /* true */
    struct qv_hnsw_config hnsw;
    struct qv_optimizer_config optimizer;
    struct qv_wal_config wal;
    struct qv_quant_config quant;
    struct qv_doc strict_mode; /* object as given, or p == NULL */
    struct qv_strict strict;   /* the same in numbers: set by qv_config_copy */
    struct qv_doc metadata;    /* object as given, or p == NULL */
    uint32_t payload_index_count;
    const struct qv_payload_index *payload_indexes;
    uint32_t next_number; /* next vector or index number */
};

/* ---- changes of a configuration ---- */

struct qv_vector_diff {
    struct qv_str name; /* empty: the unnamed vector */
    bool has_hnsw;
    struct qv_hnsw_config hnsw; /* what is set replaces */
    bool has_quant;
    struct qv_quant_config quant; /* as a whole; kind NONE: disabled */
    struct qv_opt_bool on_disk;
};

/* PATCH of a collection: what is set replaces, the rest stays. */
struct qv_config_diff {
    uint32_t vector_count;
    const struct qv_vector_diff *vectors;
    uint32_t sparse_count;
    const struct qv_sparse_config *sparse; /* index fields and modifier that are set */
    bool has_hnsw;
    struct qv_hnsw_config hnsw;
    struct qv_optimizer_config optimizer;
    bool has_quant;
    struct qv_quant_config quant;
    struct qv_opt_u64 replication_factor;
    struct qv_opt_u64 write_consistency_factor;
    struct qv_opt_u64 read_fan_out_factor;
    struct qv_opt_u64 read_fan_out_delay_ms;
    struct qv_opt_bool on_disk_payload;
    struct qv_doc strict_mode; /* its keys replace those of the same name; p == NULL: unchanged */
    struct qv_doc metadata;    /* likewise; a null removes a key */
};

/* c with the changes of d, in the arena, checked. QV_EINVAL (a vector that c has not), what
 * qv_config_check says, QV_ENOMEM. */
QV_MUST_USE int qv_config_apply(struct qv_arena *a, const struct qv_collection_config *c,
                                const struct qv_config_diff *d, struct qv_collection_config **out,
                                struct qv_errmsg *msg);

/* A named vector to add: dense, or sparse where vector is NULL. */
struct qv_vector_spec {
    const struct qv_vector_config *dense; /* number unset */
    const struct qv_sparse_config *sparse;
};
/* c with one more vector under the next number. *out == c: it was there already, defined alike.
 * QV_EINVAL: it was there and differs. */
QV_MUST_USE int qv_config_add_vector(struct qv_arena *a, const struct qv_collection_config *c,
                                     const struct qv_vector_spec *spec,
                                     const struct qv_collection_config **out,
                                     struct qv_errmsg *msg);
/* c without the vector. *out == c: there was none. */
QV_MUST_USE int qv_config_drop_vector(struct qv_arena *a, const struct qv_collection_config *c,
                                      struct qv_str name, const struct qv_collection_config **out);

#define QV_HNSW_M_DEFAULT 16
#define QV_HNSW_EF_CONSTRUCT_DEFAULT 100
#define QV_INDEXING_THRESHOLD_DEFAULT 20000

/* Effective m and ef_construct of one vector: its own, else the collection's, else the default. */
void qv_config_hnsw(const struct qv_collection_config *c, const struct qv_vector_config *v,
                    uint32_t *m, uint32_t *ef_construct);
/* Effective quantization of one vector: its own, else the collection's. Borrows. */
const struct qv_quant_config *qv_config_quant(const struct qv_collection_config *c,
                                              const struct qv_vector_config *v);
/* Finds by name; NULL when there is none. An empty name finds the unnamed vector. */
const struct qv_vector_config *qv_config_vector(const struct qv_collection_config *c,
                                                struct qv_str name);
const struct qv_sparse_config *qv_config_sparse(const struct qv_collection_config *c,
                                                struct qv_str name);
/* Name of a vector or sparse vector by number; p == NULL when it is gone. */
struct qv_str qv_config_vector_name(const struct qv_collection_config *c, uint32_t number);
/* Bounds that hold however a config was written down: sizes, m, counts, distinct names.
 * QV_EVALIDATION with "path: why" in msg. */
QV_MUST_USE int qv_config_check(const struct qv_collection_config *c, struct qv_errmsg *msg);
/* May a payload index be declared so? QV_EINVAL with "field_schema.NAME: why". */
QV_MUST_USE int qv_payload_index_check(const struct qv_payload_index *x, struct qv_errmsg *msg);
/* A deep copy in the arena. NULL when it is full. */
struct qv_collection_config *qv_config_copy(struct qv_arena *a,
                                            const struct qv_collection_config *c);

#endif
