/* Bodies of reads: query, search, get, scroll, count. */
#include "core/datetime.h"
#include "wire/json_doc.h"
#include "wire/json_parts.h"
#include "wire/json_request.h"

/* ---- params ---- */

static void read_acorn(struct qv_json *j)
{
    struct qv_str key;
    if (qv_json_null(j))
        return;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        bool on = qv_str_is(key, "enable") && !qv_json_null(j);
        struct qv_json_mark m = qv_json_mark(j);
        if (on && qv_json_bool(j)) { /* switched off it asks for nothing */
            qv_json_restore(j, m);
            qv_json_refuse(j, QV_NOT_SERVED_ACORN);
        } else if (!on) {
            if (!qv_str_is(key, "enable"))
                qv_json_skip(j);
        }
    }
}

static void read_quantization(struct qv_json *j, struct qv_query *q)
{
    struct qv_str key;
    if (qv_json_null(j))
        return;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "ignore"))
            qv_json_opt_bool(j, &q->quant_ignore);
        else if (qv_str_is(key, "rescore"))
            qv_json_opt_bool(j, &q->quant_rescore);
        else if (qv_str_is(key, "oversampling"))
            qv_json_opt_f64(j, &q->quant_oversampling);
        else
            qv_json_skip(j);
    }
}

/* What of ours changes nothing on one node (cache, route) is taken as it is. */
static void read_quiver_params(struct qv_json *j, struct qv_query *q)
{
    struct qv_str key;
    if (qv_json_null(j))
        return;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "explain"))
            q->explain = !qv_json_null(j) && qv_json_bool(j);
        else if (qv_str_is(key, "allow_partial"))
            q->allow_partial = !qv_json_null(j) && qv_json_bool(j);
        else if (qv_str_is(key, "n_probe"))
            qv_json_opt_u64(j, &q->n_probe);
        else if (qv_str_is(key, "recall_target"))
            qv_json_opt_f64(j, &q->recall_target);
        else
            qv_json_skip(j);
    }
}

static void read_params(struct qv_json *j, struct qv_query *q)
{
    struct qv_str key;
    if (qv_json_null(j))
        return;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "hnsw_ef"))
            qv_json_opt_u64(j, &q->hnsw_ef);
        else if (qv_str_is(key, "exact"))
            q->exact = !qv_json_null(j) && qv_json_bool(j);
        else if (qv_str_is(key, "indexed_only"))
            q->indexed_only = !qv_json_null(j) && qv_json_bool(j);
        else if (qv_str_is(key, "quantization"))
            read_quantization(j, q);
        else if (qv_str_is(key, "acorn"))
            read_acorn(j);
        else if (qv_str_is(key, "idf"))
            qv_json_refuse(j, QV_NOT_SERVED_IDF);
        else if (qv_str_is(key, "quiver"))
            read_quiver_params(j, q);
        else
            qv_json_skip(j);
    }
    struct qv_errmsg msg;
    if (j->err == 0)
        qv_json_fail_below(j, qv_query_check_params(q, &msg), &msg);
}

/* ---- what is asked ---- */

static void read_vector_query(struct qv_json *j, struct qv_query *q)
{
    enum qv_json_type type = qv_json_peek(j);
    if (type == QV_JSON_NUMBER || type == QV_JSON_STRING) {
        q->kind = QV_QUERY_ID;
        q->id = qv_json_id(j);
    } else {
        q->kind = QV_QUERY_VECTOR;
        q->vec = qv_json_vec(j);
    }
}

/* A number or a date. */
static void read_start_from(struct qv_json *j, struct qv_order_value *out)
{
    *out = (struct qv_order_value){.type = QV_ORDER_NONE};
    if (qv_json_null(j))
        return;
    struct qv_doc d = qv_json_doc(j);
    if (j->err != 0)
        return;
    switch (qv_doc_type(d)) {
    case QV_DOC_INT:
        *out = (struct qv_order_value){.type = QV_ORDER_INT, .i = qv_doc_int(d)};
        return;
    case QV_DOC_DOUBLE:
        *out = (struct qv_order_value){.type = QV_ORDER_FLOAT, .f = qv_doc_double(d)};
        return;
    case QV_DOC_STRING:
        out->type = QV_ORDER_DATETIME;
        if (qv_datetime_parse(qv_doc_str(d), &out->i))
            return;
        break;
    default:
        break;
    }
    qv_json_fail_at(j, j->p - 1, "data did not match any variant of untagged enum StartFrom");
}

/* "key" or {"key", "direction", "start_from"}; NULL for null. */
static const struct qv_order_by *read_order_by(struct qv_json *j)
{
    static const char *const directions[] = {"asc", "desc", NULL};
    struct qv_str key;
    bool found = false;
    if (qv_json_null(j))
        return NULL;
    struct qv_order_by *by = QV_ARENA_NEW(j->arena, struct qv_order_by);
    if (by == NULL) {
        qv_json_fail_full(j);
        return NULL;
    }
    if (qv_json_peek(j) == QV_JSON_STRING) {
        qv_json_key_path(j, &by->key, &by->path);
        return by;
    }
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "key")) {
            qv_json_key_path(j, &by->key, &by->path);
            found = true;
        } else if (qv_str_is(key, "direction")) {
            by->desc = !qv_json_null(j) && qv_json_variant(j, directions) == 1;
        } else if (qv_str_is(key, "start_from")) {
            read_start_from(j, &by->start_from);
        } else {
            qv_json_skip(j);
        }
    }
    if (!found)
        qv_json_fail_missing(j, "key");
    return by;
}

static void read_sample(struct qv_json *j, struct qv_query *q)
{
    static const char *const words[] = {"random", NULL};
    (void)qv_json_variant(j, words);
    q->kind = QV_QUERY_SAMPLE;
}

/* An unserved kind of query by its key; false when the key is none. */
static bool refuse_query_kind(struct qv_json *j, struct qv_str key)
{
    static const struct {
        const char *key;
        enum qv_not_served what;
    } kinds[] = {
        {"recommend", QV_NOT_SERVED_RECOMMEND},
        {"discover", QV_NOT_SERVED_DISCOVER},
        {"context", QV_NOT_SERVED_CONTEXT},
        {"fusion", QV_NOT_SERVED_FUSION},
        {"rrf", QV_NOT_SERVED_RRF},
        {"formula", QV_NOT_SERVED_FORMULA},
        {"relevance_feedback", QV_NOT_SERVED_RELEVANCE_FEEDBACK},
        {"mmr", QV_NOT_SERVED_MMR},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (qv_str_is(key, kinds[i].key)) {
            qv_json_refuse(j, kinds[i].what);
            return true;
        }
    }
    return qv_json_refuse_inference(j, key);
}

static void read_query_object(struct qv_json *j, struct qv_query *q)
{
    struct qv_json_sparse s = {0};
    struct qv_str key;
    bool known = false;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "nearest")) {
            read_vector_query(j, q);
            known = true;
        } else if (qv_str_is(key, "order_by")) {
            q->kind = QV_QUERY_ORDER_BY;
            q->order_by = read_order_by(j);
            known = q->order_by != NULL;
        } else if (qv_str_is(key, "sample")) {
            read_sample(j, q);
            known = true;
        } else if (!qv_json_sparse_field(j, key, &s) && !refuse_query_kind(j, key)) {
            qv_json_skip(j);
        }
    }
    if (j->err != 0 || known)
        return;
    if (!s.has_indices && !s.has_values) {
        qv_json_fail_at(j, j->p - 1,
                        "data did not match any variant of untagged enum QueryInterface");
        return;
    }
    q->kind = QV_QUERY_VECTOR;
    q->vec = qv_json_sparse_end(j, &s);
}

static void read_query_value(struct qv_json *j, struct qv_query *q)
{
    if (qv_json_null(j))
        q->kind = QV_QUERY_SCROLL;
    else if (qv_json_peek(j) == QV_JSON_OBJECT)
        read_query_object(j, q);
    else
        read_vector_query(j, q);
}

/* "vector" of the older search: [..] or {"name", "vector"}. */
static void read_search_vector(struct qv_json *j, struct qv_query *q)
{
    struct qv_str key;
    bool has_name = false;
    bool has_vector = false;
    q->kind = QV_QUERY_VECTOR;
    q->using_ = (struct qv_str){"", 0};
    if (qv_json_peek(j) != QV_JSON_OBJECT) {
        q->vec = qv_json_vec(j);
        return;
    }
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "name")) {
            q->using_ = qv_json_name(j);
            has_name = true;
        } else if (qv_str_is(key, "vector")) {
            q->vec = qv_json_vec(j);
            has_vector = true;
        } else {
            qv_json_skip(j);
        }
    }
    if (!has_name || !has_vector)
        qv_json_fail_missing(j, has_name ? "vector" : "name");
}

static void read_threshold(struct qv_json *j, struct qv_query *q)
{
    q->has_threshold = !qv_json_null(j);
    q->threshold = q->has_threshold ? qv_json_f32(j) : 0.0f;
}

/* Fields that query and the older search share. */
static bool shared_field(struct qv_json *j, struct qv_str key, struct qv_query *q)
{
    if (qv_str_is(key, "filter")) {
        q->filter = qv_json_filter(j);
    } else if (qv_str_is(key, "params")) {
        read_params(j, q);
    } else if (qv_str_is(key, "score_threshold")) {
        read_threshold(j, q);
    } else if (qv_str_is(key, "limit")) {
        q->limit = qv_json_null(j) ? 10 : qv_json_u64(j);
    } else if (qv_str_is(key, "offset")) {
        q->offset = qv_json_null(j) ? 0 : qv_json_u64(j);
    } else if (qv_str_is(key, "with_payload")) {
        qv_json_payload_select(j, &q->with_payload);
    } else if (qv_str_is(key, "with_vector") || qv_str_is(key, "with_vectors")) {
        qv_json_vector_select(j, &q->with_vector);
    } else if (qv_str_is(key, "shard_key")) {
        qv_json_refuse(j, QV_NOT_SERVED_SHARD_KEY);
    } else {
        return false;
    }
    return true;
}

/* An empty list asks for nothing. */
static void read_prefetch(struct qv_json *j)
{
    if (qv_json_peek(j) == QV_JSON_ARRAY) {
        struct qv_json_mark m = qv_json_mark(j);
        qv_json_begin_array(j);
        if (!qv_json_next_item(j))
            return;
        qv_json_restore(j, m);
    }
    qv_json_refuse(j, QV_NOT_SERVED_PREFETCH);
}

static void init_query(struct qv_query *q, enum qv_query_kind kind)
{
    *q = (struct qv_query){.kind = kind,
                           .using_ = {"", 0},
                           .limit = 10,
                           .with_payload = {.mode = QV_SELECT_NONE},
                           .with_vector = {.mode = QV_SELECT_NONE}};
}

static void read_one_query(struct qv_json *j, struct qv_query *q)
{
    struct qv_str key;
    init_query(q, QV_QUERY_SCROLL);
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "query"))
            read_query_value(j, q);
        else if (qv_str_is(key, "using"))
            q->using_ = qv_json_null(j) ? (struct qv_str){"", 0} : qv_json_name(j);
        else if (qv_str_is(key, "prefetch"))
            read_prefetch(j);
        else if (qv_str_is(key, "lookup_from"))
            qv_json_refuse(j, QV_NOT_SERVED_LOOKUP_FROM);
        else if (!shared_field(j, key, q))
            qv_json_skip(j);
    }
    qv_json_check_limit(j, q->limit, q->offset);
}

static void read_one_search(struct qv_json *j, struct qv_query *q)
{
    struct qv_str key;
    bool has_vector = false;
    bool has_limit = false;
    init_query(q, QV_QUERY_VECTOR);
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "vector")) {
            read_search_vector(j, q);
            has_vector = true;
        } else if (shared_field(j, key, q)) {
            has_limit = has_limit || qv_str_is(key, "limit");
        } else {
            qv_json_skip(j);
        }
    }
    if (!has_vector || !has_limit)
        qv_json_fail_missing(j, has_vector ? "limit" : "vector");
    qv_json_check_limit(j, q->limit, q->offset);
}

static void read_any(struct qv_json *j, bool search, struct qv_query *q)
{
    if (search)
        read_one_search(j, q);
    else
        read_one_query(j, q);
}

static void read_many(struct qv_json *j, bool search, struct qv_query_req *out)
{
    struct qv_query *queries = NULL;
    struct qv_str key;
    uint32_t cap = 0;
    bool found = false;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (!qv_str_is(key, "searches")) {
            qv_json_skip(j);
            continue;
        }
        found = true;
        out->query_count = 0;
        qv_json_begin_array(j);
        while (qv_json_next_item(j)) {
            queries = qv_json_grow(j, queries, out->query_count, &cap,
                                   QV_JSON_LIST(*queries, QV_BATCH_OPS_MAX, "searches"));
            if (queries == NULL)
                break;
            read_any(j, search, &queries[out->query_count]);
            out->query_count++;
        }
    }
    if (!found)
        qv_json_fail_missing(j, "searches");
    out->queries = queries;
}

int qv_json_read_query(enum qv_json_query_form form, struct qv_bytes body, struct qv_arena *a,
                       struct qv_query_req *out, struct qv_errmsg *msg)
{
    struct qv_json j;
    bool search = form == QV_JSON_SEARCH || form == QV_JSON_SEARCH_BATCH;
    *out = (struct qv_query_req){0};
    qv_json_init(&j, body, a, msg);
    if (form == QV_JSON_QUERY_BATCH || form == QV_JSON_SEARCH_BATCH) {
        read_many(&j, search, out);
        return qv_json_finish(&j);
    }
    struct qv_query *q = QV_ARENA_NEW(a, struct qv_query);
    if (q == NULL)
        qv_json_fail_full(&j);
    else
        read_any(&j, search, q);
    out->queries = q;
    out->query_count = 1;
    return qv_json_finish(&j);
}

/* ---- get, scroll, count ---- */

int qv_json_read_get(struct qv_bytes body, struct qv_arena *a, struct qv_get_req *out,
                     struct qv_errmsg *msg)
{
    struct qv_json j;
    struct qv_str key;
    bool found = false;
    *out = (struct qv_get_req){.with_payload = {.mode = QV_SELECT_ALL}};
    qv_json_init(&j, body, a, msg);
    qv_json_begin_object(&j);
    while (qv_json_next_key(&j, &key)) {
        if (qv_str_is(key, "ids")) {
            out->ids = qv_json_ids(&j, QV_BATCH_POINTS_MAX, &out->id_count);
            found = true;
        } else if (qv_str_is(key, "with_payload")) {
            qv_json_payload_select(&j, &out->with_payload);
        } else if (qv_str_is(key, "with_vector") || qv_str_is(key, "with_vectors")) {
            qv_json_vector_select(&j, &out->with_vector);
        } else if (qv_str_is(key, "shard_key")) {
            qv_json_refuse(&j, QV_NOT_SERVED_SHARD_KEY);
        } else {
            qv_json_skip(&j);
        }
    }
    if (!found)
        qv_json_fail_missing(&j, "ids");
    return qv_json_finish(&j);
}

static void scroll_field(struct qv_json *j, struct qv_str key, struct qv_scroll_req *out)
{
    if (qv_str_is(key, "offset")) {
        out->has_offset = !qv_json_null(j);
        out->offset = out->has_offset ? qv_json_id(j) : qv_id_num(0);
    } else if (qv_str_is(key, "limit")) {
        out->limit = qv_json_null(j) ? 10 : qv_json_u64(j);
    } else if (qv_str_is(key, "filter")) {
        out->filter = qv_json_filter(j);
    } else if (qv_str_is(key, "with_payload")) {
        qv_json_payload_select(j, &out->with_payload);
    } else if (qv_str_is(key, "with_vector") || qv_str_is(key, "with_vectors")) {
        qv_json_vector_select(j, &out->with_vector);
    } else if (qv_str_is(key, "order_by")) {
        out->order_by = read_order_by(j);
    } else if (qv_str_is(key, "shard_key")) {
        qv_json_refuse(j, QV_NOT_SERVED_SHARD_KEY);
    } else {
        qv_json_skip(j);
    }
}

int qv_json_read_scroll(struct qv_bytes body, struct qv_arena *a, struct qv_scroll_req *out,
                        struct qv_errmsg *msg)
{
    struct qv_json j;
    struct qv_str key;
    *out = (struct qv_scroll_req){.limit = 10, .with_payload = {.mode = QV_SELECT_ALL}};
    qv_json_init(&j, body, a, msg);
    qv_json_begin_object(&j);
    while (qv_json_next_key(&j, &key))
        scroll_field(&j, key, out);
    qv_json_check_limit(&j, out->limit, 0);
    return qv_json_finish(&j);
}

int qv_json_read_count(struct qv_bytes body, struct qv_arena *a, struct qv_count_req *out,
                       struct qv_errmsg *msg)
{
    struct qv_json j;
    struct qv_str key;
    *out = (struct qv_count_req){.exact = true};
    qv_json_init(&j, body, a, msg);
    qv_json_begin_object(&j);
    while (qv_json_next_key(&j, &key)) {
        if (qv_str_is(key, "filter"))
            out->filter = qv_json_filter(&j);
        else if (qv_str_is(key, "exact"))
            out->exact = qv_json_null(&j) || qv_json_bool(&j);
        else if (qv_str_is(key, "shard_key"))
            qv_json_refuse(&j, QV_NOT_SERVED_SHARD_KEY);
        else
            qv_json_skip(&j);
    }
    return qv_json_finish(&j);
}

int qv_json_read_facet(struct qv_bytes body, struct qv_arena *a, struct qv_facet_req *out,
                       struct qv_errmsg *msg)
{
    struct qv_json j;
    struct qv_str key;
    bool found = false;
    *out = (struct qv_facet_req){.limit = 10};
    qv_json_init(&j, body, a, msg);
    qv_json_begin_object(&j);
    while (qv_json_next_key(&j, &key)) {
        if (qv_str_is(key, "key")) {
            qv_json_key_path(&j, &out->key, &out->path);
            found = true;
        } else if (qv_str_is(key, "limit")) {
            out->limit = qv_json_null(&j) ? 10 : qv_json_u64(&j);
        } else if (qv_str_is(key, "filter")) {
            out->filter = qv_json_filter(&j);
        } else if (qv_str_is(key, "exact")) {
            out->exact = !qv_json_null(&j) && qv_json_bool(&j);
        } else if (qv_str_is(key, "shard_key")) {
            qv_json_refuse(&j, QV_NOT_SERVED_SHARD_KEY);
        } else {
            qv_json_skip(&j);
        }
    }
    if (!found)
        qv_json_fail_missing(&j, "key");
    qv_json_check_limit(&j, out->limit, 0);
    return qv_json_finish(&j);
}
