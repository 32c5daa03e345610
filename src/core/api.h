/* Requests and answers of the point and collection API in C: what both protocols (JSON, protobuf)
 * decode into and encode from, and what the engine below takes and gives. No protocol knows the
 * other; the engine knows neither.
 *
 * Requests borrow the request's arena and body. Answers live in the arena of their call. */
#ifndef QV_CORE_API_H
#define QV_CORE_API_H

#include "core/config.h"
#include "core/filter.h"
#include "core/id.h"
#include "core/limits.h"
#include "core/vector.h"
#include "core/version.h"

/* ---- selectors ---- */

enum qv_select_mode { QV_SELECT_NONE, QV_SELECT_ALL, QV_SELECT_INCLUDE, QV_SELECT_EXCLUDE };

struct qv_payload_select { /* with_payload */
    enum qv_select_mode mode;
    const struct qv_path *paths; /* INCLUDE, EXCLUDE */
    uint32_t path_count;
};

struct qv_vector_select {     /* with_vector */
    enum qv_select_mode mode; /* NONE, ALL, INCLUDE */
    const struct qv_str *names;
    uint32_t name_count;
};

struct qv_point_select { /* ids or a filter; which one: filter != NULL */
    const struct qv_id *ids;
    uint32_t id_count;
    const struct qv_filter *filter;
};

/* ---- writes ---- */

struct qv_point_in {
    struct qv_id id;
    const struct qv_named_vec *vecs; /* distinct names */
    uint32_t vec_count;
    struct qv_doc payload; /* object; p == NULL: none (same as {}) */
};

enum qv_write_type {
    QV_WRITE_UPSERT,
    QV_WRITE_DELETE,
    QV_WRITE_UPDATE_VECTORS,
    QV_WRITE_DELETE_VECTORS,
    QV_WRITE_SET_PAYLOAD,
    QV_WRITE_OVERWRITE_PAYLOAD,
    QV_WRITE_DELETE_PAYLOAD,
    QV_WRITE_CLEAR_PAYLOAD
};

enum qv_update_mode {
    QV_UPDATE_UPSERT,      /* new points are made, those that exist replaced */
    QV_UPDATE_INSERT_ONLY, /* points that exist stay as they are */
    QV_UPDATE_UPDATE_ONLY  /* points that do not exist are not made */
};

struct qv_write_op {
    enum qv_write_type type;
    const struct qv_point_in *points; /* UPSERT, UPDATE_VECTORS (payload unused) */
    uint32_t point_count;
    enum qv_update_mode update_mode;       /* UPSERT */
    const struct qv_filter *update_filter; /* UPSERT, UPDATE_VECTORS: points that exist and do not
                                              match are left as they are; NULL: all match */
    struct qv_point_select select;         /* all others */
    const struct qv_str *names;            /* DELETE_VECTORS: vector names */
    uint32_t name_count;
    struct qv_doc payload; /* SET_PAYLOAD, OVERWRITE_PAYLOAD: object */
    bool has_key;          /* SET_PAYLOAD with `key`: merge below this path */
    struct qv_path key;
    const struct qv_path *keys; /* DELETE_PAYLOAD */
    uint32_t key_count;
};

enum qv_ordering { QV_ORDERING_WEAK, QV_ORDERING_MEDIUM, QV_ORDERING_STRONG };

struct qv_write_req {
    const struct qv_write_op *ops; /* one, or a points/batch */
    uint32_t op_count;
    bool wait;
    enum qv_ordering ordering;
    uint64_t timeout_ms;        /* 0: none given */
    const struct qv_stop *stop; /* asked while the request waits for its turn; NULL: never */
};

/* One per op. status "acknowledged" (durable) or "completed" (also indexed). */
struct qv_write_result {
    uint64_t operation_id; /* log position */
    bool completed;
};

/* ---- reads ---- */

/* Asked now and then by work that takes long; the asker passes on what ask returns, unless it is
 * 0. Any thread; ctx is valid as long as the request. */
struct qv_stop {
    int (*ask)(void *ctx, struct qv_errmsg *msg); /* QV_ETIMEOUT, QV_ECANCELED; 0: go on */
    void *ctx;
};
static inline int qv_stop_ask(const struct qv_stop *stop, struct qv_errmsg *msg)
{
    return stop == NULL ? 0 : stop->ask(stop->ctx, msg);
}

struct qv_read_opts {
    const struct qv_stop *stop;  /* NULL: never */
    uint64_t timeout_ms;         /* 0: none given */
    uint32_t consistency_factor; /* 0: default; UINT32_MAX-2 majority, -1 quorum, -0 all */
};
#define QV_CONSISTENCY_MAJORITY (UINT32_MAX - 2)
#define QV_CONSISTENCY_QUORUM (UINT32_MAX - 1)
#define QV_CONSISTENCY_ALL UINT32_MAX

/* Points in the order of a payload value. A point that holds several values at key stands once for
 * each of them, one without any not at all. Equal values are in the order of ids, in the same
 * direction. */
enum qv_order_type { QV_ORDER_NONE, QV_ORDER_INT, QV_ORDER_FLOAT, QV_ORDER_DATETIME };
struct qv_order_value {
    enum qv_order_type type;
    int64_t i; /* INT; DATETIME: microseconds since 1970 */
    double f;  /* FLOAT */
};
struct qv_order_by {
    struct qv_str key; /* as written */
    struct qv_path path;
    bool desc;
    struct qv_order_value start_from; /* the first value (and its equals); NONE: no bound */
};

enum qv_query_kind {
    QV_QUERY_VECTOR,   /* nearest to a given vector */
    QV_QUERY_ID,       /* nearest to a stored point's vector, itself left out */
    QV_QUERY_SCROLL,   /* no query given: by id */
    QV_QUERY_ORDER_BY, /* by a payload value */
    QV_QUERY_SAMPLE    /* points by chance, each with the same */
};

struct qv_query {
    enum qv_query_kind kind;
    struct qv_vec vec; /* VECTOR */
    bool vec_stored;   /* VECTOR: as a stored point has it, to be taken as it is (not normalised) */
    bool has_seed;     /* SAMPLE: several shards that sample under one seed make one sample: */
    uint64_t seed;     /* qv_sample_chance's, smallest first */
    struct qv_id id;   /* ID */
    const struct qv_order_by *order_by; /* ORDER_BY */
    const struct qv_stop *stop;         /* as in qv_read_opts; set by who runs it */
    struct qv_str using_;               /* vector name; empty: the unnamed */
    const struct qv_filter *filter;
    uint64_t limit;  /* default 10 */
    uint64_t offset; /* default 0 */
    bool has_threshold;
    float threshold;
    struct qv_opt_u64 hnsw_ef;
    bool exact;
    bool indexed_only;
    /* params.quantization; scores are the stored vectors' in any case */
    struct qv_opt_bool quant_ignore;      /* false */
    struct qv_opt_bool quant_rescore;     /* true: the stored vectors choose among the candidates */
    struct qv_opt_f64 quant_oversampling; /* candidates a result */
    struct qv_opt_f64 recall_target;      /* params.quiver: picks ef where hnsw_ef is not given */
    bool explain;                         /* params.quiver: tells the plan in the answer */
    bool allow_partial;        /* params.quiver: an answer though some shards gave none */
    struct qv_opt_u64 n_probe; /* params.quiver: shards to ask, where the placement can choose */
    struct qv_payload_select with_payload; /* default: none */
    struct qv_vector_select with_vector;   /* default: none */
};

/* A sample is the points whose chance is smallest. */
int64_t qv_sample_chance(uint64_t seed, const struct qv_id *id);

/* Are the params (hnsw_ef, quantization, recall_target) within what is allowed? QV_EVALIDATION and
 * why. Both protocols ask once a query is read, so that of several faults they name the same. */
QV_MUST_USE int qv_query_check_params(const struct qv_query *q, struct qv_errmsg *msg);

struct qv_query_req {
    const struct qv_query *queries; /* one, or a batch */
    uint32_t query_count;
    struct qv_read_opts opts;
};

struct qv_get_req {
    const struct qv_id *ids;
    uint32_t id_count;
    struct qv_payload_select with_payload; /* default: all */
    struct qv_vector_select with_vector;
    struct qv_read_opts opts;
};

struct qv_scroll_req {
    const struct qv_filter *filter;
    const struct qv_order_by *order_by; /* NULL: by id; else no offset, and no next page */
    bool has_offset;
    struct qv_id offset;                   /* first id to give */
    uint64_t limit;                        /* default 10 */
    struct qv_payload_select with_payload; /* default: all */
    struct qv_vector_select with_vector;
    struct qv_read_opts opts;
};

struct qv_count_req {
    const struct qv_filter *filter;
    bool exact; /* default true */
    struct qv_read_opts opts;
};

struct qv_facet_req {
    struct qv_str key; /* as written */
    struct qv_path path;
    const struct qv_filter *filter;
    uint64_t limit; /* default 10 */
    bool exact;     /* taken; counts are always exact */
    struct qv_read_opts opts;
};

/* One point of an answer. */
struct qv_point_out {
    struct qv_id id;
    struct qv_version version; /* its newest change; the API shows the clock */
    float score;               /* searches only */
    struct qv_doc payload;     /* p == NULL: not asked for */
    const struct qv_named_vec *vecs;
    uint32_t vec_count;
    bool vecs_unnamed; /* the collection has the one unnamed vector: answer it bare */
    bool has_vecs;     /* asked for */
    struct qv_order_value order_value; /* where points are ordered by one */
};

/* How a search was answered. Texts are static. */
enum qv_plan_cost { QV_COST_PLAIN, QV_COST_SCAN, QV_COST_BRIDGES, QV_COST_CHECK };
#define QV_PLAN_COSTS (QV_COST_CHECK + 1)
struct qv_plan_out {
    const char *way;      /* exact, plain, scan, bridges, check: docs/filters.md */
    const char *answered; /* another of them where the way was given up; else the same */
    const char *why;
    const char *filter_by;             /* index, index and payloads, payloads; NULL: no filter */
    uint64_t points;                   /* live, when it was asked */
    uint64_t passing;                  /* of them */
    uint64_t passing_min, passing_max; /* as the payload indexes know it */
    uint64_t payloads_read;            /* for the filter */
    uint64_t ef, ranked;               /* of a walk; and its hits that are ranked by their rows */
    uint64_t distances, hops, bridges; /* rows compared, nodes expanded, stepped over */
    uint64_t waiting;                  /* points not in the graph yet, looked at one by one */
    bool planned;
    double cost_us[QV_PLAN_COSTS];      /* planned: what each was expected to cost */
    const struct qv_plan_leg_out *legs; /* over several shards: what each did; the rest is their
                                           sum, or where there is none the first one's */
    uint32_t leg_count;
};

struct qv_plan_leg_out {
    uint32_t shard;
    uint64_t asked;    /* hits asked of it */
    uint64_t asked_on; /* and then, because those were too few; 0: they were not */
    uint64_t given;
    const struct qv_plan_out *plan;
};

/* Adds another shard's counts. */
void qv_plan_add(struct qv_plan_out *sum, const struct qv_plan_out *p);

/* What of a collection a read has seen. */
struct qv_coverage {
    double share;             /* of the keys it was to see; 1: all of them */
    uint32_t asked, answered; /* shards */
    const uint32_t *missing;  /* the numbers of those that did not answer */
};

struct qv_points_out {
    struct qv_point_out *points;
    uint32_t count;
    const struct qv_plan_out *plan;     /* of a search by a vector, in the arena; else NULL */
    bool explain;                       /* the plan is asked for */
    bool more;                          /* from a shard: there may be further ones behind these */
    const struct qv_coverage *coverage; /* of what was read, where that may be a part; else NULL */
};

struct qv_scroll_out {
    struct qv_points_out points;
    bool has_next;
    struct qv_id next; /* next_page_offset */
};

/* A value and in how many points it stands. */
struct qv_facet_hit {
    struct qv_doc value; /* string, int or bool; a UUID as its text */
    uint64_t count;
};
struct qv_facet_out {
    struct qv_facet_hit *hits; /* most frequent first, equal counts by value */
    uint32_t count;
};

/* ---- collections ---- */

enum qv_collection_status {
    QV_COLLECTION_GREEN,
    QV_COLLECTION_YELLOW,
    QV_COLLECTION_GREY,
    QV_COLLECTION_RED
};

/* Limits on what the node's process may use; enforced while enabled. */
struct qv_quota {
    bool enabled;
    struct qv_opt_u64 memory_percent; /* 1 .. 100; unset: no limit */
    struct qv_opt_u64 disk_percent;
    struct qv_opt_u64 margin_percent; /* below a limit, before writes are taken again; 5 */
};

struct qv_quota_usage { /* unset: the system does not say */
    struct qv_opt_u64 memory_percent;
    struct qv_opt_u64 disk_percent;
};

/* Another name of a collection, at the edge as names are. */
struct qv_alias {
    struct qv_str name;
    struct qv_str collection;
};

struct qv_aliases_out {
    const struct qv_alias *list; /* ascending by name */
    uint32_t count;
};

enum qv_alias_action_type { QV_ALIAS_CREATE, QV_ALIAS_DELETE, QV_ALIAS_RENAME };

struct qv_alias_action {
    enum qv_alias_action_type type;
    struct qv_str name;   /* the alias */
    struct qv_str target; /* CREATE: its collection; RENAME: its new name */
};

struct qv_alias_req { /* all of them or none */
    const struct qv_alias_action *actions;
    uint32_t count;
};

/* ---- clusters ---- */

enum qv_cluster_update_kind { QV_CLUSTER_MOVE_SHARD, QV_CLUSTER_ABORT_TRANSFER };

/* POST of a collection's cluster. */
struct qv_cluster_update {
    enum qv_cluster_update_kind kind;
    uint64_t shard;
    uint64_t from, to; /* members */
};

/* ---- snapshots ---- */

/* Whose: an empty collection means everything; shard: those of its one shard. */
struct qv_snapshot_scope {
    struct qv_str collection; /* empty: everything */
    bool shard;               /* of one of its shards: */
    uint32_t number;
};

struct qv_snapshot_req {
    struct qv_snapshot_scope scope;
    struct qv_str name;     /* of one of them */
    struct qv_str location; /* recover: file://, http://, https:// */
    struct qv_str checksum; /* recover, upload: SHA-256 in hex; p == NULL: none given */
    struct qv_str api_key;  /* recover: for the location; p == NULL: none given */
    bool wait;              /* default true */
};

#define QV_SNAPSHOT_NAME_MAX 256
#define QV_SNAPSHOT_CHECKSUM_MAX 65

struct qv_snapshot_desc {
    char name[QV_SNAPSHOT_NAME_MAX];
    uint64_t created_ms; /* 0: not known */
    uint64_t size;
    char checksum[QV_SNAPSHOT_CHECKSUM_MAX]; /* SHA-256 in hex; empty: not known */
};

struct qv_snapshots_out {
    const struct qv_snapshot_desc *list; /* by age */
    uint32_t count;
};

struct qv_payload_schema_entry {
    const struct qv_payload_index *index;
    uint64_t points; /* points that hold a value there */
};

struct qv_collection_info {
    const struct qv_collection_config *config;
    enum qv_collection_status status;
    const char *optimizer_error; /* what is wrong with it, borrowed; NULL: "ok" */
    uint64_t points_count;
    uint64_t indexed_vectors_count;
    uint64_t segments_count;
    const struct qv_payload_schema_entry *schema;
    uint32_t schema_count;
};

#endif
