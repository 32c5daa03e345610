/* Requests, built with protobuf-c and packed, come out as core's structs say. */
#include "suite.h"

#include "core/limits.h"
#include "pb_gen.h"
#include "proto/quiver_health.pb-c.h"
#include "proto/quiver_points.pb-c.h"
#include "wire/pb_out.h"
#include "wire/pb_request.h"

#include <math.h>
#include <stdlib.h>

struct world {
    struct qv_arena arena;
    struct qv_buf body;
    struct qv_pb_request req;
    struct qv_errmsg msg;
};

static int setup(void **state)
{
    static struct world w;
    memset(&w, 0, sizeof w);
    qv_arena_init(&w.arena, (size_t)64 << 20);
    qv_buf_init(&w.body, 0);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    qv_arena_close(&w->arena);
    qv_buf_close(&w->body);
    return 0;
}

static int decode(struct world *w, enum qv_pb_call call, const void *message)
{
    const ProtobufCMessage *m = message;
    qv_arena_reset(&w->arena);
    qv_buf_clear(&w->body);
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *p = qv_buf_reserve(&w->body, n + 1);
    assert_non_null(p);
    w->body.len = protobuf_c_message_pack(m, p);
    w->msg.text[0] = '\0';
    return qv_pb_request_decode(call, (struct qv_bytes){w->body.data, w->body.len}, &w->arena,
                                &w->req, &w->msg);
}

static void expect(struct world *w, enum qv_pb_call call, const void *message, int err,
                   const char *text)
{
    int got = decode(w, call, message);
    if (got != err || (text != NULL && strstr(w->msg.text, text) == NULL))
        print_error("wanted %s (%s), got %s: %s\n", qv_err_name(err), text, qv_err_name(got),
                    w->msg.text);
    assert_int_equal(got, err);
    if (text != NULL)
        assert_non_null(strstr(w->msg.text, text));
}

static char things[] = "things";
static char uuid_text[] = "0b1d8a7e4f534c2e9d5c7f4f2a1b3c4d";

static QvPb__PointId num_id(uint64_t n)
{
    QvPb__PointId id = QV_PB__POINT_ID__INIT;
    id.point_id_options_case = QV_PB__POINT_ID__POINT_ID_OPTIONS_NUM;
    id.num = n;
    return id;
}

static QvPb__PointId uuid_id(char *text)
{
    QvPb__PointId id = QV_PB__POINT_ID__INIT;
    id.point_id_options_case = QV_PB__POINT_ID__POINT_ID_OPTIONS_UUID;
    id.uuid = text;
    return id;
}

static bool is_str(struct qv_str s, const char *text)
{
    return qv_str_equal(s, qv_str_of(text));
}

/* ---- paths ---- */

static void paths_are_found(void **state)
{
    struct qv_errmsg msg;
    enum qv_pb_call call;
    (void)state;
    for (int i = 0; i < QV_PB_CALL_COUNT; i++) {
        const char *path = qv_pb_method_path((enum qv_pb_call)i);
        assert_int_equal(qv_pb_method_find(path, strlen(path), &call, &msg), 0);
        assert_int_equal(call, i);
    }
    static const char later[] = "/qdrant.Points/SearchMatrixPairs";
    assert_int_equal(qv_pb_method_find(later, strlen(later), &call, &msg), QV_ENOTIMPL);
    assert_string_equal(msg.text, "Not implemented: search_matrix_pairs");
    static const char none[] = "/qdrant.Points/Nothing";
    assert_int_equal(qv_pb_method_find(none, strlen(none), &call, &msg), QV_ENOTFOUND);
    assert_int_equal(qv_pb_method_find("", 0, &call, &msg), QV_ENOTFOUND);
}

/* ---- searches ---- */

/* A search that says everything. Parts refer to each other: init in place. */
struct full_search {
    float vector[3];
    char image[8], color[8];
    char *fields[1];
    QvPb__PayloadIncludeSelector include;
    QvPb__WithPayloadSelector with;
    QvPb__WithVectorsSelector vectors;
    QvPb__QuantizationSearchParams quant;
    QvPb__SearchParams params;
    QvPb__ReadConsistency all;
    QvPb__SearchPoints m;
};

static void full_search_init(struct full_search *f)
{
    *f = (struct full_search){.vector = {1, 2, 3},
                              .image = "image",
                              .color = "color",
                              .include = QV_PB__PAYLOAD_INCLUDE_SELECTOR__INIT,
                              .with = QV_PB__WITH_PAYLOAD_SELECTOR__INIT,
                              .vectors = QV_PB__WITH_VECTORS_SELECTOR__INIT,
                              .quant = QV_PB__QUANTIZATION_SEARCH_PARAMS__INIT,
                              .params = QV_PB__SEARCH_PARAMS__INIT,
                              .all = QV_PB__READ_CONSISTENCY__INIT,
                              .m = QV_PB__SEARCH_POINTS__INIT};
    f->fields[0] = f->color;
    f->include.n_fields = 1;
    f->include.fields = f->fields;
    f->with.selector_options_case = QV_PB__WITH_PAYLOAD_SELECTOR__SELECTOR_OPTIONS_INCLUDE;
    f->with.include = &f->include;
    f->vectors.selector_options_case = QV_PB__WITH_VECTORS_SELECTOR__SELECTOR_OPTIONS_ENABLE;
    f->vectors.enable = true;
    f->quant.has_rescore = f->quant.rescore = true;
    f->quant.has_oversampling = true;
    f->quant.oversampling = 2.5;
    f->params.has_hnsw_ef = true;
    f->params.hnsw_ef = 77;
    f->params.has_exact = f->params.exact = true;
    f->params.quantization = &f->quant;
    f->all.value_case = QV_PB__READ_CONSISTENCY__VALUE_TYPE;
    f->all.type = QV_PB__READ_CONSISTENCY_TYPE__All;
    f->m.collection_name = things;
    f->m.n_vector = 3;
    f->m.vector = f->vector;
    f->m.has_limit = true;
    f->m.limit = 5;
    f->m.has_offset = true;
    f->m.offset = 2;
    f->m.vector_name = f->image;
    f->m.has_score_threshold = true;
    f->m.score_threshold = 0.5f;
    f->m.with_payload = &f->with;
    f->m.with_vectors = &f->vectors;
    f->m.params = &f->params;
    f->m.read_consistency = &f->all;
    f->m.has_timeout = true;
    f->m.timeout = 3;
}

static void search_is_read(void **state)
{
    struct world *w = *state;
    struct full_search f;
    full_search_init(&f);
    expect(w, QV_PB_SEARCH, &f.m, 0, NULL);
    const struct qv_query *q = w->req.u.query.queries;
    assert_int_equal(w->req.u.query.query_count, 1);
    assert_true(is_str(w->req.collection, "things"));
    assert_int_equal(q->kind, QV_QUERY_VECTOR);
    assert_int_equal(q->vec.dim, 3);
    assert_memory_equal(q->vec.values, f.vector, sizeof f.vector);
    assert_true(is_str(q->using_, "image"));
    assert_int_equal(q->limit, 5);
    assert_int_equal(q->offset, 2);
    assert_true(q->has_threshold && q->threshold == 0.5f);
    assert_true(q->exact && q->hnsw_ef.has && q->hnsw_ef.v == 77);
    assert_true(q->quant_rescore.has && q->quant_rescore.v && !q->quant_ignore.has);
    assert_true(q->quant_oversampling.v == 2.5);
    assert_int_equal(q->with_payload.mode, QV_SELECT_INCLUDE);
    assert_int_equal(q->with_payload.path_count, 1);
    assert_true(is_str(q->with_payload.paths[0].steps[0].key, "color"));
    assert_int_equal(q->with_vector.mode, QV_SELECT_ALL);
    assert_int_equal(w->req.u.query.opts.timeout_ms, 3000);
    assert_int_equal(w->req.u.query.opts.consistency_factor, QV_CONSISTENCY_ALL);

    QvPb__SearchPoints *both[] = {&f.m, &f.m};
    QvPb__SearchBatchPoints batch = QV_PB__SEARCH_BATCH_POINTS__INIT;
    batch.collection_name = things;
    batch.n_search_points = 2;
    batch.search_points = both;
    expect(w, QV_PB_SEARCH_BATCH, &batch, 0, NULL);
    assert_int_equal(w->req.u.query.query_count, 2);
    assert_int_equal(w->req.u.query.queries[1].limit, 5);
}

static void bad_searches_are_refused(void **state)
{
    struct world *w = *state;
    struct full_search f;
    full_search_init(&f);
    f.m.limit = 0;
    expect(w, QV_PB_SEARCH, &f.m, QV_EVALIDATION, "limit");
    f.m.limit = UINT64_MAX;
    expect(w, QV_PB_SEARCH, &f.m, QV_EVALIDATION, "limit");
    full_search_init(&f);
    f.m.offset = UINT64_MAX;
    expect(w, QV_PB_SEARCH, &f.m, QV_EVALIDATION, "limit");
    full_search_init(&f);
    f.vector[1] = NAN;
    expect(w, QV_PB_SEARCH, &f.m, QV_EINVAL, "finite");
    f.vector[1] = INFINITY;
    expect(w, QV_PB_SEARCH, &f.m, QV_EINVAL, "finite");
    full_search_init(&f);
    f.params.hnsw_ef = 1u << 20;
    expect(w, QV_PB_SEARCH, &f.m, QV_EVALIDATION, "hnsw_ef");
    full_search_init(&f);
    f.quant.oversampling = 0.5;
    expect(w, QV_PB_SEARCH, &f.m, QV_EVALIDATION, "oversampling");
    full_search_init(&f);
    f.m.score_threshold = NAN;
    expect(w, QV_PB_SEARCH, &f.m, QV_EVALIDATION, "score_threshold");
    full_search_init(&f);
    f.m.timeout = 0;
    expect(w, QV_PB_SEARCH, &f.m, QV_EVALIDATION, "timeout");
    full_search_init(&f);
    f.m.collection_name = NULL;
    expect(w, QV_PB_SEARCH, &f.m, QV_EVALIDATION, "collection_name");
}

static void query_is_read(void **state)
{
    struct world *w = *state;
    float vector[] = {1, 2};
    QvPb__QueryPoints m = QV_PB__QUERY_POINTS__INIT;
    m.collection_name = things;
    expect(w, QV_PB_QUERY, &m, 0, NULL);
    const struct qv_query *q = w->req.u.query.queries;
    assert_int_equal(q->kind, QV_QUERY_SCROLL);
    assert_int_equal(q->limit, 10);
    assert_int_equal(q->with_payload.mode, QV_SELECT_NONE);

    QvPb__DenseVector dense = QV_PB__DENSE_VECTOR__INIT;
    dense.n_data = 2;
    dense.data = vector;
    QvPb__VectorInput input = QV_PB__VECTOR_INPUT__INIT;
    input.variant_case = QV_PB__VECTOR_INPUT__VARIANT_DENSE;
    input.dense = &dense;
    QvPb__Query query = QV_PB__QUERY__INIT;
    query.variant_case = QV_PB__QUERY__VARIANT_NEAREST;
    query.nearest = &input;
    m.query = &query;
    expect(w, QV_PB_QUERY, &m, 0, NULL);
    assert_int_equal(w->req.u.query.queries->kind, QV_QUERY_VECTOR);
    assert_int_equal(w->req.u.query.queries->vec.dim, 2);

    QvPb__PointId id = uuid_id(uuid_text);
    input.variant_case = QV_PB__VECTOR_INPUT__VARIANT_ID;
    input.id = &id;
    expect(w, QV_PB_QUERY, &m, 0, NULL);
    assert_int_equal(w->req.u.query.queries->kind, QV_QUERY_ID);
    assert_int_equal(w->req.u.query.queries->id.type, QV_ID_UUID);
    id.uuid = things;
    expect(w, QV_PB_QUERY, &m, QV_EINVAL, "Unable to parse UUID: things");

    uint32_t indices[] = {9, 4};
    QvPb__SparseVector sparse = QV_PB__SPARSE_VECTOR__INIT;
    sparse.n_values = sparse.n_indices = 2;
    sparse.values = vector;
    sparse.indices = indices;
    input.variant_case = QV_PB__VECTOR_INPUT__VARIANT_SPARSE;
    input.sparse = &sparse;
    expect(w, QV_PB_QUERY, &m, 0, NULL);
    q = w->req.u.query.queries;
    assert_int_equal(q->vec.kind, QV_VEC_SPARSE);
    assert_int_equal(q->vec.indices[0], 4);
    assert_true(q->vec.values[0] == 2.0f);
    indices[1] = 9;
    expect(w, QV_PB_QUERY, &m, QV_EVALIDATION, "unique");
    sparse.n_indices = 1;
    expect(w, QV_PB_QUERY, &m, QV_EVALIDATION, "same length");
    sparse.n_indices = 2;

    QvPb__QueryPoints *one[] = {&m};
    QvPb__QueryBatchPoints batch = QV_PB__QUERY_BATCH_POINTS__INIT;
    batch.collection_name = things;
    batch.n_query_points = 1;
    batch.query_points = one;
    indices[1] = 4;
    expect(w, QV_PB_QUERY_BATCH, &batch, 0, NULL);
    assert_int_equal(w->req.u.query.query_count, 1);
}

/* ---- not served: by the wire's bytes, so that each field is named once ---- */

static void put_in(struct qv_buf *b, uint32_t number, const char *content, size_t n)
{
    qv_pb_put_bytes(b, number, content, n);
}

struct refusal {
    enum qv_pb_call call;
    const char *bytes; /* after collection_name */
    size_t n;
    const char *name;
};
#define REFUSE(call, text, name)                                                                   \
    {                                                                                              \
        QV_PB_##call, text, sizeof(text) - 1, name                                                 \
    }

static const struct refusal refusals[] = {
    REFUSE(QUERY, "\x12\x00", "prefetch"),
    REFUSE(QUERY, "\x72\x00", "lookup_from"),
    REFUSE(QUERY, "\x1A\x02\x12\x00", "recommend"),
    REFUSE(QUERY, "\x1A\x02\x1A\x00", "discover"),
    REFUSE(QUERY, "\x1A\x02\x22\x00", "context"),
    REFUSE(QUERY, "\x1A\x02\x30\x00", "fusion"),
    REFUSE(QUERY, "\x1A\x02\x42\x00", "formula"),
    REFUSE(QUERY, "\x1A\x02\x4A\x00", "mmr"),
    REFUSE(QUERY, "\x1A\x02\x52\x00", "rrf"),
    REFUSE(QUERY, "\x1A\x02\x5A\x00", "relevance_feedback"),
    REFUSE(QUERY, "\x1A\x04\x0A\x02\x2A\x00", "document"),
    REFUSE(QUERY, "\x1A\x04\x0A\x02\x32\x00", "image"),
    REFUSE(QUERY, "\x1A\x04\x0A\x02\x3A\x00", "object"),
    REFUSE(QUERY, "\x32\x04\x2A\x02\x08\x01", "params.acorn"),
    REFUSE(QUERY, "\x32\x02\x32\x00", "params.idf"),
    REFUSE(QUERY, "\x6A\x02\x0A\x00", "shard_key"),
    REFUSE(SEARCH, "\x20\x01\x72\x02\x0A\x00", "shard_key"),
    REFUSE(GET, "\x3A\x02\x12\x00", "shard_key"),
    REFUSE(SCROLL, "\x4A\x02\x0A\x00", "shard_key"),
    REFUSE(COUNT, "\x2A\x02\x0A\x00", "shard_key"),
    REFUSE(COUNT, "\x12\x07\x12\x05\x0A\x03\x22\x01\x00", NULL), /* cut: malformed */
    REFUSE(UPSERT, "\x2A\x02\x0A\x00", "shard_key"),
    REFUSE(UPSERT, "\x1A\x0D\x0A\x02\x08\x01\x22\x07\x0A\x05\xC2\x06\x02\x0A\x00", "document"),
    REFUSE(UPDATE_VECTORS, "\x2A\x02\x0A\x00", "shard_key"),
    REFUSE(DELETE, "\x2A\x02\x0A\x00", "shard_key"),
    REFUSE(DELETE_VECTORS, "\x32\x02\x0A\x00", "shard_key"),
    REFUSE(SET_PAYLOAD, "\x3A\x02\x0A\x00", "shard_key"),
    REFUSE(DELETE_PAYLOAD, "\x3A\x02\x0A\x00", "shard_key"),
    REFUSE(CLEAR_PAYLOAD, "\x2A\x02\x0A\x00", "shard_key"),
    REFUSE(UPDATE_BATCH, "\x1A\x06\x0A\x04\x12\x02\x0A\x00", "shard_key"),
    REFUSE(COLLECTION_CREATE, "\x22\x02\x40\x02", "memory"),
    REFUSE(COLLECTION_CREATE, "\x9A\x01\x02\x08\x01", "memory"),
    REFUSE(COLLECTION_CREATE, "\x52\x08\x0A\x06\x08\x04\x10\x01\x40\x01", "memory"),
    REFUSE(COLLECTION_CREATE, "\x52\x08\x0A\x06\x08\x04\x10\x01\x30\x04", "datatype turbo4"),
    REFUSE(COLLECTION_CREATE, "\x32\x02\x50\x01", "optimizers_config.prevent_unoptimized"),
    REFUSE(COLLECTION_CREATE, "\x72\x02\x12\x00", "quantization_config.product"),
    REFUSE(COLLECTION_CREATE, "\x72\x02\x22\x00", "quantization_config.turbo"),
    REFUSE(COLLECTION_CREATE, "\x78\x01", "sharding_method custom"),
};

static void unserved_fields_are_named(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *r = &refusals[i];
        char text[128];
        qv_buf_clear(&w->body);
        qv_arena_reset(&w->arena);
        put_in(&w->body, 1, "things", 6);
        /* What is needed to get that far: ids where a selector is asked for. */
        if (r->call == QV_PB_DELETE || r->call == QV_PB_CLEAR_PAYLOAD)
            put_in(&w->body, 3, "\x0A\x00", 2);
        qv_buf_append(&w->body, r->bytes, r->n);
        int err = qv_pb_request_decode(r->call, (struct qv_bytes){w->body.data, w->body.len},
                                       &w->arena, &w->req, &w->msg);
        snprintf(text, sizeof text, "Not implemented: %s", r->name == NULL ? "" : r->name);
        if (r->name == NULL) {
            assert_int_equal(err, QV_EBADREQ);
            continue;
        }
        if (err != QV_ENOTIMPL || strcmp(w->msg.text, text) != 0)
            print_error("row %zu, %s: %s, %s\n", i, r->name, qv_err_name(err), w->msg.text);
        assert_int_equal(err, QV_ENOTIMPL);
        assert_string_equal(w->msg.text, text);
    }
}

/* ---- filters ---- */

/* must: color in [red, blue], items[].price >= 2.5 or not null; must_not: id 9 or 3; at least one
 * of: nested color { id 9 or 3 }, color in [red, blue]. */
struct full_filter {
    char color[8], price[16], red[4], blue[8];
    char *list[2];
    QvPb__RepeatedStrings strings;
    QvPb__Match match;
    QvPb__Range range;
    QvPb__FieldCondition by_color, by_price;
    QvPb__Condition c[4];
    QvPb__PointId ids[2];
    QvPb__PointId *id_list[2];
    QvPb__HasIdCondition has;
    QvPb__NestedCondition nested;
    QvPb__Condition *must[2], *must_not[1], *least[2];
    QvPb__MinShould min;
    QvPb__Filter inner, f;
    QvPb__CountPoints m;
};

static void full_filter_conditions(struct full_filter *f)
{
    f->match.match_value_case = QV_PB__MATCH__MATCH_VALUE_KEYWORDS;
    f->match.keywords = &f->strings;
    f->range.has_gte = true;
    f->range.gte = 2.5;
    f->by_color.key = f->color;
    f->by_color.match = &f->match;
    f->by_price.key = f->price;
    f->by_price.range = &f->range;
    f->by_price.has_is_null = true;
    f->by_price.is_null = false;
    f->has.n_has_id = 2;
    f->has.has_id = f->id_list;
    f->nested.key = f->color;
    f->nested.filter = &f->inner;
    f->c[0].condition_one_of_case = QV_PB__CONDITION__CONDITION_ONE_OF_FIELD;
    f->c[0].field = &f->by_color;
    f->c[1].condition_one_of_case = QV_PB__CONDITION__CONDITION_ONE_OF_FIELD;
    f->c[1].field = &f->by_price;
    f->c[2].condition_one_of_case = QV_PB__CONDITION__CONDITION_ONE_OF_HAS_ID;
    f->c[2].has_id = &f->has;
    f->c[3].condition_one_of_case = QV_PB__CONDITION__CONDITION_ONE_OF_NESTED;
    f->c[3].nested = &f->nested;
}

static void full_filter_init(struct full_filter *f)
{
    *f = (struct full_filter){.color = "color",
                              .price = "items[].price",
                              .red = "red",
                              .blue = "blue",
                              .strings = QV_PB__REPEATED_STRINGS__INIT,
                              .match = QV_PB__MATCH__INIT,
                              .range = QV_PB__RANGE__INIT,
                              .by_color = QV_PB__FIELD_CONDITION__INIT,
                              .by_price = QV_PB__FIELD_CONDITION__INIT,
                              .ids = {num_id(9), num_id(3)},
                              .has = QV_PB__HAS_ID_CONDITION__INIT,
                              .nested = QV_PB__NESTED_CONDITION__INIT,
                              .min = QV_PB__MIN_SHOULD__INIT,
                              .inner = QV_PB__FILTER__INIT,
                              .f = QV_PB__FILTER__INIT,
                              .m = QV_PB__COUNT_POINTS__INIT};
    for (int i = 0; i < 4; i++)
        f->c[i] = (QvPb__Condition)QV_PB__CONDITION__INIT;
    f->list[0] = f->red;
    f->list[1] = f->blue;
    f->strings.n_strings = 2;
    f->strings.strings = f->list;
    f->id_list[0] = &f->ids[0];
    f->id_list[1] = &f->ids[1];
    full_filter_conditions(f);
    f->inner.n_must = 1;
    f->inner.must = f->must_not;
    f->must[0] = f->least[1] = &f->c[0];
    f->must[1] = &f->c[1];
    f->must_not[0] = &f->c[2];
    f->least[0] = &f->c[3];
    f->min.n_conditions = 2;
    f->min.conditions = f->least;
    f->min.has_min_count = true;
    f->min.min_count = 1;
    f->f.n_must = 2;
    f->f.must = f->must;
    f->f.n_must_not = 1;
    f->f.must_not = f->must_not;
    f->f.min_should = &f->min;
    f->m.collection_name = things;
    f->m.filter = &f->f;
}

static void filters_are_read(void **state)
{
    struct world *w = *state;
    struct full_filter f;
    full_filter_init(&f);
    expect(w, QV_PB_COUNT, &f.m, 0, NULL);
    const struct qv_filter *out = w->req.u.count.filter;
    assert_true(w->req.u.count.exact);
    assert_int_equal(out->must_count, 2);
    assert_int_equal(out->must[0].type, QV_COND_MATCH_ANY);
    assert_true(is_str(out->must[0].key, "color"));
    assert_int_equal(out->must[0].u.any.count, 2);
    assert_true(is_str(out->must[0].u.any.items[0].s, "blue")); /* sealed: sorted */
    /* Two predicates on one key are alternatives. */
    assert_int_equal(out->must[1].type, QV_COND_FILTER);
    const struct qv_filter *either = out->must[1].u.filter;
    assert_int_equal(either->should_count, 2);
    assert_int_equal(either->should[0].type, QV_COND_RANGE);
    assert_true(either->should[0].u.range.has_gte && either->should[0].u.range.gte == 2.5);
    assert_int_equal(either->should[1].type, QV_COND_KEY_IS_NULL);
    assert_false(either->should[1].u.want);
    assert_int_equal(out->must_not[0].type, QV_COND_HAS_ID);
    assert_int_equal(out->must_not[0].u.has_id.ids[0].lo, 3);
    assert_true(out->has_min_should && out->min_should_min == 1);
    assert_int_equal(out->min_should[0].type, QV_COND_NESTED);
    assert_int_equal(out->min_should[0].u.filter->must_count, 1);
}

static void bad_filters_are_refused(void **state)
{
    struct world *w = *state;
    char broken[] = "a[";
    struct full_filter f;
    full_filter_init(&f);
    f.by_color.key = broken;
    expect(w, QV_PB_COUNT, &f.m, QV_EINVAL, NULL);
    full_filter_init(&f);
    f.by_color.match = NULL;
    expect(w, QV_PB_COUNT, &f.m, QV_EVALIDATION, "At least one");
    full_filter_init(&f);
    f.c[0].condition_one_of_case = QV_PB__CONDITION__CONDITION_ONE_OF__NOT_SET;
    expect(w, QV_PB_COUNT, &f.m, QV_EINVAL, "empty");
    full_filter_init(&f);
    f.match.match_value_case = QV_PB__MATCH__MATCH_VALUE__NOT_SET;
    expect(w, QV_PB_COUNT, &f.m, QV_EINVAL, "empty");
    full_filter_init(&f);
    f.nested.filter = NULL;
    expect(w, QV_PB_COUNT, &f.m, QV_EINVAL, "nested");
}

static void every_match_is_read(void **state)
{
    struct world *w = *state;
    struct {
        const char *bytes;
        size_t n;
        enum qv_cond_type type;
    } rows[] = {
        {"\x0A\x01z", 3, QV_COND_MATCH},
        {"\x10\x05", 2, QV_COND_MATCH},
        {"\x18\x01", 2, QV_COND_MATCH},
        {"\x32\x02\x0A\x00", 4, QV_COND_MATCH_ANY},
        {"\x3A\x02\x08\x07", 4, QV_COND_MATCH_EXCEPT},
        {"\x42\x03\x0A\x01q", 5, QV_COND_MATCH_EXCEPT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qv_buf_clear(&w->body);
        qv_arena_reset(&w->arena);
        put_in(&w->body, 1, "things", 6);
        size_t filter = qv_pb_begin(&w->body, 2);
        size_t cond = qv_pb_begin(&w->body, 1);
        size_t field = qv_pb_begin(&w->body, 1);
        put_in(&w->body, 1, "k", 1);
        put_in(&w->body, 2, rows[i].bytes, rows[i].n);
        qv_pb_end(&w->body, field);
        qv_pb_end(&w->body, cond);
        qv_pb_end(&w->body, filter);
        int err = qv_pb_request_decode(QV_PB_COUNT, (struct qv_bytes){w->body.data, w->body.len},
                                       &w->arena, &w->req, &w->msg);
        if (err != 0)
            print_error("row %zu: %s\n", i, w->msg.text);
        assert_int_equal(err, 0);
        assert_int_equal(w->req.u.count.filter->should[0].type, rows[i].type);
    }
}

/* ---- the other reads ---- */

static void get_and_scroll_are_read(void **state)
{
    struct world *w = *state;
    QvPb__PointId a = num_id(7), b = uuid_id(uuid_text);
    QvPb__PointId *ids[] = {&a, &b};
    QvPb__GetPoints get = QV_PB__GET_POINTS__INIT;
    get.collection_name = things;
    get.n_ids = 2;
    get.ids = ids;
    expect(w, QV_PB_GET, &get, 0, NULL);
    assert_int_equal(w->req.u.get.id_count, 2);
    assert_int_equal(w->req.u.get.ids[0].lo, 7);
    assert_int_equal(w->req.u.get.ids[1].type, QV_ID_UUID);
    assert_int_equal(w->req.u.get.with_payload.mode, QV_SELECT_NONE);
    QvPb__ReadConsistency two = QV_PB__READ_CONSISTENCY__INIT;
    two.value_case = QV_PB__READ_CONSISTENCY__VALUE_FACTOR;
    two.factor = 2;
    get.read_consistency = &two;
    expect(w, QV_PB_GET, &get, 0, NULL);
    assert_int_equal(w->req.u.get.opts.consistency_factor, 2);
    two.factor = 0;
    expect(w, QV_PB_GET, &get, QV_EINVAL, "consistency");
    a.point_id_options_case = QV_PB__POINT_ID__POINT_ID_OPTIONS__NOT_SET;
    expect(w, QV_PB_GET, &get, QV_EINVAL, "id");

    QvPb__ScrollPoints scroll = QV_PB__SCROLL_POINTS__INIT;
    scroll.collection_name = things;
    expect(w, QV_PB_SCROLL, &scroll, 0, NULL);
    assert_int_equal(w->req.u.scroll.limit, 10);
    assert_false(w->req.u.scroll.has_offset);
    assert_int_equal(w->req.u.scroll.with_payload.mode, QV_SELECT_ALL);
    scroll.offset = &b;
    scroll.has_limit = true;
    scroll.limit = 3;
    expect(w, QV_PB_SCROLL, &scroll, 0, NULL);
    assert_true(w->req.u.scroll.has_offset);
    assert_int_equal(w->req.u.scroll.limit, 3);
}

/* ---- writes ---- */

static void payload_changes_are_read(void **state)
{
    struct world *w = *state;
    char key[] = "a.b", name[] = "n";
    QvPb__PointId id = num_id(1);
    QvPb__PointId *ids[] = {&id};
    QvPb__PointsIdsList list = QV_PB__POINTS_IDS_LIST__INIT;
    list.n_ids = 1;
    list.ids = ids;
    QvPb__PointsSelector select = QV_PB__POINTS_SELECTOR__INIT;
    select.points_selector_one_of_case = QV_PB__POINTS_SELECTOR__POINTS_SELECTOR_ONE_OF_POINTS;
    select.points = &list;
    QvPb__Value five = QV_PB__VALUE__INIT;
    five.kind_case = QV_PB__VALUE__KIND_INTEGER_VALUE;
    five.integer_value = 5;
    QvPb__SetPayloadPoints__PayloadEntry entry = QV_PB__SET_PAYLOAD_POINTS__PAYLOAD_ENTRY__INIT;
    entry.key = name;
    entry.value = &five;
    QvPb__SetPayloadPoints__PayloadEntry *entries[] = {&entry};
    QvPb__WriteOrdering strong = QV_PB__WRITE_ORDERING__INIT;
    strong.has_type = true;
    strong.type = QV_PB__WRITE_ORDERING_TYPE__Strong;
    QvPb__SetPayloadPoints set = QV_PB__SET_PAYLOAD_POINTS__INIT;
    set.collection_name = things;
    set.points_selector = &select;
    set.n_payload = 1;
    set.payload = entries;
    set.key = key;
    set.ordering = &strong;
    set.has_wait = set.wait = true;
    expect(w, QV_PB_SET_PAYLOAD, &set, 0, NULL);
    const struct qv_write_op *op = w->req.u.write.ops;
    assert_int_equal(op->type, QV_WRITE_SET_PAYLOAD);
    assert_true(w->req.u.write.wait);
    assert_int_equal(w->req.u.write.ordering, QV_ORDERING_STRONG);
    assert_int_equal(op->select.id_count, 1);
    assert_true(op->has_key);
    assert_int_equal(op->key.count, 2);
    struct qv_doc n;
    assert_true(qv_doc_find(op->payload, qv_str_of("n"), &n));
    assert_int_equal(qv_doc_int(n), 5);
    set.n_payload = 0;
    expect(w, QV_PB_OVERWRITE_PAYLOAD, &set, 0, NULL);
    assert_int_equal(w->req.u.write.ops->type, QV_WRITE_OVERWRITE_PAYLOAD);
    assert_int_equal(qv_doc_type(w->req.u.write.ops->payload), QV_DOC_OBJECT);
    assert_int_equal(qv_doc_count(w->req.u.write.ops->payload), 0);
    set.points_selector = NULL;
    expect(w, QV_PB_SET_PAYLOAD, &set, QV_EINVAL, "No filter");
}

static void selections_are_read(void **state)
{
    struct world *w = *state;
    char key[] = "a.b";
    char *keys[] = {key};
    QvPb__Filter filter = QV_PB__FILTER__INIT;
    QvPb__PointsSelector select = QV_PB__POINTS_SELECTOR__INIT;
    select.points_selector_one_of_case = QV_PB__POINTS_SELECTOR__POINTS_SELECTOR_ONE_OF_FILTER;
    select.filter = &filter;
    QvPb__DeletePayloadPoints del = QV_PB__DELETE_PAYLOAD_POINTS__INIT;
    del.collection_name = things;
    del.points_selector = &select;
    del.n_keys = 1;
    del.keys = keys;
    expect(w, QV_PB_DELETE_PAYLOAD, &del, 0, NULL);
    assert_int_equal(w->req.u.write.ops->key_count, 1);
    QvPb__ClearPayloadPoints clear = QV_PB__CLEAR_PAYLOAD_POINTS__INIT;
    clear.collection_name = things;
    clear.points = &select;
    expect(w, QV_PB_CLEAR_PAYLOAD, &clear, 0, NULL);
    assert_non_null(w->req.u.write.ops->select.filter);
    QvPb__DeletePoints points = QV_PB__DELETE_POINTS__INIT;
    points.collection_name = things;
    points.points = &select;
    expect(w, QV_PB_DELETE, &points, 0, NULL);
    assert_int_equal(w->req.u.write.ops->type, QV_WRITE_DELETE);
    assert_false(w->req.u.write.wait);
}

/* UpdatePointVectors of one point with one unnamed vector `v`. */
struct one_vector {
    QvPb__PointId id;
    QvPb__Vector v;
    QvPb__Vectors vectors;
    QvPb__PointVectors point;
    QvPb__PointVectors *points[1];
    QvPb__UpdatePointVectors m;
};

static void one_vector_init(struct one_vector *o)
{
    *o = (struct one_vector){.id = num_id(1),
                             .v = QV_PB__VECTOR__INIT,
                             .vectors = QV_PB__VECTORS__INIT,
                             .point = QV_PB__POINT_VECTORS__INIT,
                             .m = QV_PB__UPDATE_POINT_VECTORS__INIT};
    o->vectors.vectors_options_case = QV_PB__VECTORS__VECTORS_OPTIONS_VECTOR;
    o->vectors.vector = &o->v;
    o->point.id = &o->id;
    o->point.vectors = &o->vectors;
    o->points[0] = &o->point;
    o->m.collection_name = things;
    o->m.n_points = 1;
    o->m.points = o->points;
}

static const struct qv_vec *read_vec(struct world *w, const struct one_vector *o)
{
    expect(w, QV_PB_UPDATE_VECTORS, &o->m, 0, NULL);
    return &w->req.u.write.ops->points->vecs->vec;
}

static void old_vectors_are_read(void **state)
{
    struct world *w = *state;
    float data[] = {1, 2, 3, 4};
    uint32_t where[] = {8, 1, 5, 2};
    struct one_vector o;
    one_vector_init(&o);
    o.v.n_data = 4;
    o.v.data = data;
    const struct qv_vec *out = read_vec(w, &o);
    assert_int_equal(out->kind, QV_VEC_DENSE);
    assert_int_equal(out->dim, 4);
    o.v.has_vectors_count = true;
    o.v.vectors_count = 2;
    out = read_vec(w, &o);
    assert_int_equal(out->kind, QV_VEC_MULTI);
    assert_int_equal(out->rows, 2);
    assert_int_equal(out->dim, 2);
    o.v.vectors_count = 3;
    expect(w, QV_PB_UPDATE_VECTORS, &o.m, QV_EVALIDATION, "multivector");
    o.v.has_vectors_count = false;
    QvPb__SparseIndices indices = QV_PB__SPARSE_INDICES__INIT;
    indices.n_data = 4;
    indices.data = where;
    o.v.indices = &indices;
    out = read_vec(w, &o);
    assert_int_equal(out->kind, QV_VEC_SPARSE);
    assert_int_equal(out->indices[3], 8);
    assert_true(out->values[3] == 1.0f);
}

static void multivectors_are_read(void **state)
{
    struct world *w = *state;
    float data[] = {1, 2, 3, 4};
    struct one_vector o;
    one_vector_init(&o);
    QvPb__DenseVector row = QV_PB__DENSE_VECTOR__INIT, other = QV_PB__DENSE_VECTOR__INIT;
    row.n_data = other.n_data = 2;
    row.data = data;
    other.data = data + 2;
    QvPb__DenseVector *rows[] = {&row, &other};
    QvPb__MultiDenseVector multi = QV_PB__MULTI_DENSE_VECTOR__INIT;
    multi.n_vectors = 2;
    multi.vectors = rows;
    o.v.vector_case = QV_PB__VECTOR__VECTOR_MULTI_DENSE;
    o.v.multi_dense = &multi;
    const struct qv_vec *out = read_vec(w, &o);
    assert_int_equal(out->kind, QV_VEC_MULTI);
    assert_int_equal(out->rows, 2);
    assert_memory_equal(out->values, data, sizeof data);
    other.n_data = 1;
    expect(w, QV_PB_UPDATE_VECTORS, &o.m, QV_EVALIDATION, "same length");
    multi.n_vectors = 0;
    expect(w, QV_PB_UPDATE_VECTORS, &o.m, QV_EVALIDATION, "empty");
}

static void names_of_vectors_are_read(void **state)
{
    struct world *w = *state;
    char text[] = "text";
    char *names[] = {text};
    QvPb__VectorsSelector selector = QV_PB__VECTORS_SELECTOR__INIT;
    selector.n_names = 1;
    selector.names = names;
    QvPb__Filter filter = QV_PB__FILTER__INIT;
    QvPb__PointsSelector select = QV_PB__POINTS_SELECTOR__INIT;
    select.points_selector_one_of_case = QV_PB__POINTS_SELECTOR__POINTS_SELECTOR_ONE_OF_FILTER;
    select.filter = &filter;
    QvPb__DeletePointVectors del = QV_PB__DELETE_POINT_VECTORS__INIT;
    del.collection_name = things;
    del.points_selector = &select;
    del.vectors = &selector;
    expect(w, QV_PB_DELETE_VECTORS, &del, 0, NULL);
    assert_int_equal(w->req.u.write.ops->name_count, 1);
    assert_true(is_str(w->req.u.write.ops->names[0], "text"));
    selector.n_names = 0;
    expect(w, QV_PB_DELETE_VECTORS, &del, QV_EVALIDATION, "at least 1");
}

static void batches_are_read(void **state)
{
    struct world *w = *state;
    /* Each operation with as little in it as it takes. */
    static const char ids[] = "\x0A\x04\x0A\x02\x08\x01"; /* PointsSelector { points { ids: 1 } } */
    enum qv_write_type want[] = {QV_WRITE_UPSERT,         QV_WRITE_DELETE,
                                 QV_WRITE_SET_PAYLOAD,    QV_WRITE_OVERWRITE_PAYLOAD,
                                 QV_WRITE_DELETE_PAYLOAD, QV_WRITE_CLEAR_PAYLOAD,
                                 QV_WRITE_UPDATE_VECTORS, QV_WRITE_DELETE_VECTORS,
                                 QV_WRITE_DELETE,         QV_WRITE_CLEAR_PAYLOAD};
    static const uint32_t selector_at[] = {0, 0, 2, 2, 2, 0, 0, 1, 1, 1};
    put_in(&w->body, 1, "things", 6);
    for (uint32_t i = 0; i < 10; i++) {
        size_t op = qv_pb_begin(&w->body, 3);
        size_t one = qv_pb_begin(&w->body, i + 1);
        if (i == 1 || i == 5 || i == 6)
            qv_buf_append(&w->body, ids, sizeof ids - 1);
        else if (selector_at[i] != 0)
            put_in(&w->body, selector_at[i], ids, sizeof ids - 1);
        if (i == 7)
            put_in(&w->body, 2, "\x0A\x01t", 3);
        qv_pb_end(&w->body, one);
        qv_pb_end(&w->body, op);
    }
    int err = qv_pb_request_decode(QV_PB_UPDATE_BATCH, (struct qv_bytes){w->body.data, w->body.len},
                                   &w->arena, &w->req, &w->msg);
    if (err != 0)
        print_error("%s\n", w->msg.text);
    assert_int_equal(err, 0);
    assert_int_equal(w->req.u.write.op_count, 10);
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(w->req.u.write.ops[i].type, want[i]);
        bool selects = i != 0 && i != 6;
        assert_int_equal(w->req.u.write.ops[i].select.id_count, selects ? 1 : 0);
    }
}

/* ---- collections ---- */

static void collection_calls_are_read(void **state)
{
    struct world *w = *state;
    QvPb__DeleteCollection del = QV_PB__DELETE_COLLECTION__INIT;
    del.collection_name = things;
    del.has_timeout = true;
    del.timeout = 4;
    expect(w, QV_PB_COLLECTION_DELETE, &del, 0, NULL);
    assert_int_equal(w->req.timeout_ms, 4000);
    QvPb__GetCollectionInfoRequest get = QV_PB__GET_COLLECTION_INFO_REQUEST__INIT;
    expect(w, QV_PB_COLLECTION_GET, &get, QV_EVALIDATION, "collection_name");
    get.collection_name = things;
    expect(w, QV_PB_COLLECTION_GET, &get, 0, NULL);
    QvPb__CollectionExistsRequest exists = QV_PB__COLLECTION_EXISTS_REQUEST__INIT;
    exists.collection_name = things;
    expect(w, QV_PB_COLLECTION_EXISTS, &exists, 0, NULL);
    QvPb__CollectionClusterInfoRequest cluster = QV_PB__COLLECTION_CLUSTER_INFO_REQUEST__INIT;
    cluster.collection_name = things;
    expect(w, QV_PB_COLLECTION_CLUSTER, &cluster, 0, NULL);
    QvPb__ListCollectionsRequest list = QV_PB__LIST_COLLECTIONS_REQUEST__INIT;
    expect(w, QV_PB_COLLECTION_LIST, &list, 0, NULL);
    QvPb__HealthCheckRequest health = QV_PB__HEALTH_CHECK_REQUEST__INIT;
    expect(w, QV_PB_HEALTH, &health, 0, NULL);
    char service[] = "qdrant.Points";
    QvPbGrpc__HealthCheckRequest check = QV_PB_GRPC__HEALTH_CHECK_REQUEST__INIT;
    check.service = service;
    expect(w, QV_PB_GRPC_HEALTH, &check, 0, NULL);
    assert_true(is_str(w->req.u.service, "qdrant.Points"));
}

static void indexes_are_read(void **state)
{
    struct world *w = *state;
    char field[] = "a.b", english[] = "english";
    QvPb__CreateFieldIndexCollection m = QV_PB__CREATE_FIELD_INDEX_COLLECTION__INIT;
    m.collection_name = things;
    m.field_name = field;
    expect(w, QV_PB_CREATE_INDEX, &m, QV_EBADREQ, "field_type");
    m.has_field_type = true;
    m.field_type = QV_PB__FIELD_TYPE__FieldTypeUuid;
    expect(w, QV_PB_CREATE_INDEX, &m, 0, NULL);
    assert_true(is_str(w->req.u.index.index.type, "uuid"));
    assert_null(w->req.u.index.index.params.p);
    QvPb__SnowballParams snowball = QV_PB__SNOWBALL_PARAMS__INIT;
    snowball.language = english;
    QvPb__StemmingAlgorithm stemmer = QV_PB__STEMMING_ALGORITHM__INIT;
    stemmer.stemming_params_case = QV_PB__STEMMING_ALGORITHM__STEMMING_PARAMS_SNOWBALL;
    stemmer.snowball = &snowball;
    QvPb__TextIndexParams text = QV_PB__TEXT_INDEX_PARAMS__INIT;
    text.has_tokenizer = true;
    text.tokenizer = QV_PB__TOKENIZER_TYPE__Word;
    text.has_min_token_len = true;
    text.min_token_len = 2;
    text.stemmer = &stemmer;
    QvPb__PayloadIndexParams params = QV_PB__PAYLOAD_INDEX_PARAMS__INIT;
    params.index_params_case = QV_PB__PAYLOAD_INDEX_PARAMS__INDEX_PARAMS_TEXT_INDEX_PARAMS;
    params.text_index_params = &text;
    m.field_index_params = &params;
    expect(w, QV_PB_CREATE_INDEX, &m, 0, NULL);
    const struct qv_payload_index *ix = &w->req.u.index.index;
    struct qv_doc d;
    assert_true(is_str(ix->type, "text") && is_str(ix->field, "a.b"));
    assert_true(qv_doc_find(ix->params, qv_str_of("type"), &d) && is_str(qv_doc_str(d), "text"));
    assert_true(qv_doc_find(ix->params, qv_str_of("tokenizer"), &d));
    assert_true(is_str(qv_doc_str(d), "word"));
    assert_true(qv_doc_find(ix->params, qv_str_of("stemmer"), &d));
    assert_true(qv_doc_find(d, qv_str_of("language"), &d) && is_str(qv_doc_str(d), "english"));
    QvPb__DeleteFieldIndexCollection del = QV_PB__DELETE_FIELD_INDEX_COLLECTION__INIT;
    del.collection_name = things;
    expect(w, QV_PB_DELETE_INDEX, &del, QV_EVALIDATION, "field_name");
    del.field_name = field;
    expect(w, QV_PB_DELETE_INDEX, &del, 0, NULL);
    assert_true(is_str(w->req.u.index.index.field, "a.b"));
}

/* ---- anything ---- */

static void random_requests_end_in_an_answer(void **state)
{
    struct world *w = *state;
    struct qv_rng rng;
    const char *env = getenv("SEED");
    uint64_t seed = env != NULL ? strtoull(env, NULL, 0) : 20240603u;
    unsigned ok = 0, total = 0;
    printf("%s: SEED=%llu\n", __func__, (unsigned long long)seed);
    qv_rng_init(&rng, seed);
    for (int i = 0; i < 6000; i++) {
        enum qv_pb_call call = (enum qv_pb_call)qv_rng_below(&rng, QV_PB_CALL_COUNT);
        struct pb_gen g = {.rng = &rng,
                           .depth_max = 2 + (unsigned)qv_rng_below(&rng, 5),
                           .repeat_max = 3,
                           .presence = 5 + (unsigned)qv_rng_below(&rng, 60),
                           .unpacked = 30,
                           .unknown = 5,
                           .second_variant = 5};
        qv_buf_clear(&w->body);
        pb_gen_message(&g, qv_pb_method_message(call), &w->body);
        for (uint64_t n = qv_rng_below(&rng, 3); n > 0; n--)
            pb_gen_mutate(&rng, &w->body);
        qv_arena_reset(&w->arena);
        w->msg.text[0] = '\0';
        int err = qv_pb_request_decode(call, (struct qv_bytes){w->body.data, w->body.len},
                                       &w->arena, &w->req, &w->msg);
        assert_true(err == 0 || w->msg.text[0] != '\0');
        assert_true(err == 0 || err == QV_EBADREQ || err == QV_EINVAL || err == QV_EVALIDATION ||
                    err == QV_ENOTIMPL || err == QV_ETOOBIG);
        ok += err == 0;
        total++;
    }
    printf("%u of %u decoded\n", ok, total);
    assert_true(ok > total / 20);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(paths_are_found),           T(search_is_read),
        T(bad_searches_are_refused),  T(query_is_read),
        T(unserved_fields_are_named), T(filters_are_read),
        T(bad_filters_are_refused),   T(every_match_is_read),
        T(get_and_scroll_are_read),   T(payload_changes_are_read),
        T(selections_are_read),       T(old_vectors_are_read),
        T(multivectors_are_read),     T(names_of_vectors_are_read),
        T(batches_are_read),          T(collection_calls_are_read),
        T(indexes_are_read),          T(random_requests_end_in_an_answer),
    };
    return RUN_SUITE(tests);
}
