/* Answers, read back with the code generated from quiver_answer.proto. */
#include "suite.h"

#include "core/limits.h"
#include "pb_gen.h"
#include "proto/quiver_answer.pb-c.h"
#include "sample_plan.h"
#include "wire/pb_answer.h"
#include "wire/pb_guard.h"
#include "wire/pb_out.h"
#include "wire/pb_point.h"
#include "wire/pb_request.h"

#include <math.h>
#include <stdlib.h>

struct world {
    struct qv_arena arena;
    struct qv_buf out;
    struct qv_errmsg msg;
};

static int setup(void **state)
{
    static struct world w;
    memset(&w, 0, sizeof w);
    qv_arena_init(&w.arena, (size_t)64 << 20);
    qv_buf_init(&w.out, 0);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    qv_arena_close(&w->arena);
    qv_buf_close(&w->out);
    return 0;
}

/* The answer as a message; it passes the guard, too. */
static const void *read_back(struct world *w, const ProtobufCMessageDescriptor *desc)
{
    ProtobufCMessage *m;
    assert_false(w->out.failed);
    int err =
        qv_pb_unpack(desc, (struct qv_bytes){w->out.data, w->out.len}, &w->arena, &m, &w->msg);
    if (err != 0)
        print_error("%s: %s\n", desc->name, w->msg.text);
    assert_int_equal(err, 0);
    assert_int_equal(m->n_unknown_fields, 0);
    qv_buf_clear(&w->out);
    return m;
}

static struct qv_doc sample_payload(struct qv_buf *b)
{
    qv_buf_clear(b);
    size_t root = qv_doc_begin_object(b);
    qv_doc_put_key(b, "color", 5);
    qv_doc_put_str(b, "red", 3);
    qv_doc_put_key(b, "n", 1);
    qv_doc_put_int(b, -7);
    qv_doc_put_key(b, "list", 4);
    size_t list = qv_doc_begin_array(b);
    qv_doc_put_null(b);
    qv_doc_put_bool(b, true);
    qv_doc_put_double(b, 0.25);
    qv_doc_end_array(b, list, 3);
    qv_doc_put_key(b, "in", 2);
    size_t in = qv_doc_begin_object(b);
    qv_doc_put_key(b, "x", 1);
    qv_doc_put_str(b, "a\0b", 3);
    qv_doc_end_object(b, in, 1);
    qv_doc_end_object(b, root, 4);
    return (struct qv_doc){b->data, b->len};
}

static void check_payload(QvPb__ScoredPoint__PayloadEntry **e, size_t n)
{
    assert_int_equal(n, 4);
    assert_string_equal(e[0]->key, "color");
    assert_memory_equal(e[0]->value->string_value.data, "red", 3);
    assert_int_equal(e[1]->value->kind_case, QV_PB__VALUE__KIND_INTEGER_VALUE);
    assert_int_equal(e[1]->value->integer_value, -7);
    const QvPb__ListValue *list = e[2]->value->list_value;
    assert_int_equal(list->n_values, 3);
    assert_int_equal(list->values[0]->kind_case, QV_PB__VALUE__KIND_NULL_VALUE);
    assert_true(list->values[1]->bool_value);
    assert_true(list->values[2]->double_value == 0.25);
    const QvPb__Struct *in = e[3]->value->struct_value;
    assert_string_equal(in->fields[0]->key, "x");
    assert_int_equal(in->fields[0]->value->string_value.len, 3);
    assert_memory_equal(in->fields[0]->value->string_value.data, "a\0b", 3);
}

/* Two points: one with three named vectors, one with the unnamed. */
struct two_points {
    struct qv_buf doc;
    float values[200];
    uint32_t indices[2];
    struct qv_named_vec vecs[3];
    struct qv_point_out points[2];
    struct qv_points_out out;
};

static void two_points_init(struct two_points *t)
{
    *t = (struct two_points){.indices = {3, 900}};
    qv_buf_init(&t->doc, 0);
    for (int i = 0; i < 200; i++)
        t->values[i] = (float)i;
    t->vecs[0] = (struct qv_named_vec){
        {"image", 5}, {.kind = QV_VEC_DENSE, .dim = 200, .rows = 1, .values = t->values}};
    t->vecs[1] = (struct qv_named_vec){
        {"words", 5},
        {.kind = QV_VEC_SPARSE, .dim = 2, .rows = 1, .values = t->values, .indices = t->indices}};
    t->vecs[2] = (struct qv_named_vec){
        {"rows", 4}, {.kind = QV_VEC_MULTI, .dim = 2, .rows = 3, .values = t->values}};
    t->points[0] = (struct qv_point_out){.id = qv_id_num(UINT64_MAX),
                                         .version = {77, 1},
                                         .score = 0.5f,
                                         .payload = sample_payload(&t->doc),
                                         .vecs = t->vecs,
                                         .vec_count = 3,
                                         .has_vecs = true};
    t->points[1] = (struct qv_point_out){
        .score = -1.0f, .vecs = t->vecs, .vec_count = 1, .vecs_unnamed = true, .has_vecs = true};
    assert_int_equal(qv_id_parse_uuid("0b1d8a7e4f534c2e9d5c7f4f2a1b3c4d", 32, &t->points[1].id), 0);
    t->out = (struct qv_points_out){.points = t->points, .count = 2};
}

static void check_named(const QvPb__NamedVectorsOutput *named, const struct two_points *t)
{
    assert_int_equal(named->n_vectors, 3);
    const QvPb__VectorOutput *v = named->vectors[0]->value;
    assert_string_equal(named->vectors[0]->key, "image");
    assert_int_equal(v->n_data, 200);
    assert_memory_equal(v->dense->data, t->values, sizeof t->values);
    v = named->vectors[1]->value;
    assert_int_equal(v->indices->data[1], 900);
    assert_int_equal(v->sparse->indices[0], 3);
    assert_true(v->sparse->values[1] == 1.0f);
    v = named->vectors[2]->value;
    assert_int_equal(v->vectors_count, 3);
    assert_int_equal(v->multi_dense->n_vectors, 3);
    assert_true(v->multi_dense->vectors[2]->data[1] == 5.0f);
}

static void hits_are_written(void **state)
{
    struct world *w = *state;
    struct two_points t;
    two_points_init(&t);
    qv_pb_answer_hits(&w->out, &t.out, 0.125);
    const QvPb__QueryResponse *m = read_back(w, &qv_pb__query_response__descriptor);
    assert_true(m->time == 0.125);
    assert_int_equal(m->n_result, 2);
    const QvPb__ScoredPoint *p = m->result[0];
    assert_int_equal(p->id->num, UINT64_MAX);
    assert_int_equal(p->version, 77);
    assert_true(p->score == 0.5f);
    check_payload(p->payload, p->n_payload);
    check_named(p->vectors->vectors, &t);
    p = m->result[1];
    assert_string_equal(p->id->uuid, "0b1d8a7e-4f53-4c2e-9d5c-7f4f2a1b3c4d");
    assert_int_equal(p->n_payload, 0);
    assert_int_equal(p->vectors->vector->n_data, 200);

    struct qv_points_out lists[] = {t.out, {.points = t.points}};
    qv_pb_answer_hits_batch(&w->out, lists, 2, 1);
    const QvPb__SearchBatchResponse *batch =
        read_back(w, &qv_pb__search_batch_response__descriptor);
    assert_int_equal(batch->n_result, 2);
    assert_int_equal(batch->result[0]->n_result, 2);
    assert_int_equal(batch->result[1]->n_result, 0);
    assert_null(batch->result[0]->quiver);
    qv_buf_close(&t.doc);
}

static void plans_are_written(void **state)
{
    struct world *w = *state;
    const struct qv_plan_out plan = sample_plan();
    struct qv_points_out lists[] = {{.plan = &plan}, {.plan = &plan, .explain = true}};
    qv_pb_answer_hits(&w->out, &lists[0], 1);
    const QvPb__QueryResponse *m = read_back(w, &qv_pb__query_response__descriptor);
    assert_null(m->quiver); /* nobody asked */
    qv_pb_answer_hits(&w->out, &lists[1], 1);
    m = read_back(w, &qv_pb__query_response__descriptor);
    const QvPb__QuiverPlan *p = m->quiver->plan;
    assert_string_equal(p->way, "bridges");
    assert_string_equal(p->answered, "scan");
    assert_string_equal(p->why, "so");
    assert_string_equal(p->filter->by, "index");
    assert_true(p->filter->points == 9 && p->filter->passing == 5 && p->filter->passing_min == 4);
    assert_true(p->filter->passing_max == 6 && p->filter->payloads_read == 2);
    assert_true(p->ef == 100 && p->ranked == 20);
    assert_true(p->work->distances == 300 && p->work->hops == 40);
    assert_true(p->work->bridges == 50 && p->work->waiting == 7);
    assert_true(p->expected_us->plain == 0.5 && p->expected_us->scan == 1.5);
    assert_true(p->expected_us->bridges == 2.5 && p->expected_us->check == 3.5);
    qv_pb_answer_hits_batch(&w->out, lists, 2, 1);
    const QvPb__SearchBatchResponse *batch =
        read_back(w, &qv_pb__search_batch_response__descriptor);
    assert_null(batch->result[0]->quiver);
    assert_string_equal(batch->result[1]->quiver->plan->why, "so");
    const struct qv_plan_leg_out legs[] = {{.shard = 3, .asked = 7, .given = 6, .plan = &plan},
                                           {.shard = 9, .asked = 7, .asked_on = 10, .plan = &plan}};
    struct qv_plan_out sum = plan;
    sum.legs = legs;
    sum.leg_count = 2;
    const uint32_t missing[] = {4, 11};
    const struct qv_coverage part = {.share = 0.5, .asked = 4, .answered = 2, .missing = missing};
    const struct qv_points_out out = {.plan = &sum, .explain = true, .coverage = &part};
    qv_pb_answer_hits(&w->out, &out, 1);
    m = read_back(w, &qv_pb__query_response__descriptor);
    assert_int_equal(m->quiver->plan->n_shards, 2);
    assert_int_equal(m->quiver->plan->shards[1]->shard, 9);
    assert_true(m->quiver->plan->shards[1]->asked_on == 10 &&
                m->quiver->plan->shards[0]->given == 6);
    assert_int_equal(m->quiver->plan->shards[0]->plan->work->hops, 40);
    assert_true(m->quiver->coverage->share == 0.5 && m->quiver->coverage->shards == 4);
    assert_true(m->quiver->coverage->answered == 2 && m->quiver->coverage->n_missing == 2);
    assert_int_equal(m->quiver->coverage->missing[1], 11);
}

static void records_are_written(void **state)
{
    struct world *w = *state;
    struct two_points t;
    two_points_init(&t);
    qv_pb_answer_records(&w->out, &t.out, 1);
    const QvPb__GetResponse *get = read_back(w, &qv_pb__get_response__descriptor);
    assert_int_equal(get->n_result, 2);
    assert_int_equal(get->result[0]->n_payload, 4);
    check_named(get->result[0]->vectors->vectors, &t);

    struct qv_scroll_out scroll = {.points = t.out, .has_next = true, .next = qv_id_num(0)};
    qv_pb_answer_scroll(&w->out, &scroll, 1);
    const QvPb__ScrollResponse *s = read_back(w, &qv_pb__scroll_response__descriptor);
    assert_int_equal(s->n_result, 2);
    assert_int_equal(s->next_page_offset->point_id_options_case,
                     QV_PB__POINT_ID__POINT_ID_OPTIONS_NUM);
    scroll.has_next = false;
    qv_pb_answer_scroll(&w->out, &scroll, 1);
    s = read_back(w, &qv_pb__scroll_response__descriptor);
    assert_null(s->next_page_offset);
    qv_buf_close(&t.doc);
}

static void small_answers_are_written(void **state)
{
    struct world *w = *state;
    qv_pb_answer_count(&w->out, 300, 1);
    assert_int_equal(((const QvPb__CountResponse *)read_back(w, &qv_pb__count_response__descriptor))
                         ->result->count,
                     300);
    struct qv_write_result r[] = {{5, false}, {6, true}};
    qv_pb_answer_update(&w->out, &r[0], 2);
    const QvPb__PointsOperationResponse *u =
        read_back(w, &qv_pb__points_operation_response__descriptor);
    assert_int_equal(u->result->operation_id, 5);
    assert_int_equal(u->result->status, QV_PB__UPDATE_STATUS__Acknowledged);
    assert_true(u->time == 2);
    qv_pb_answer_updates(&w->out, r, 2, 1);
    const QvPb__UpdateBatchResponse *batch =
        read_back(w, &qv_pb__update_batch_response__descriptor);
    assert_int_equal(batch->n_result, 2);
    assert_int_equal(batch->result[1]->status, QV_PB__UPDATE_STATUS__Completed);
    qv_pb_answer_done(&w->out, true, 1);
    const QvPb__CollectionOperationResponse *done =
        read_back(w, &qv_pb__collection_operation_response__descriptor);
    assert_true(done->result);
    qv_pb_answer_exists(&w->out, true, 1);
    const QvPb__CollectionExistsResponse *exists =
        read_back(w, &qv_pb__collection_exists_response__descriptor);
    assert_true(exists->result->exists);
    struct qv_str names[] = {{"a", 1}, {"b", 1}};
    qv_pb_answer_collections(&w->out, names, 2, 1);
    const QvPb__ListCollectionsResponse *list =
        read_back(w, &qv_pb__list_collections_response__descriptor);
    assert_int_equal(list->n_collections, 2);
    assert_string_equal(list->collections[1]->name, "b");
    qv_pb_answer_health(&w->out, "qdrant - vector search engine", "1.19.0", NULL);
    const QvPb__HealthCheckReply *health = read_back(w, &qv_pb__health_check_reply__descriptor);
    assert_string_equal(health->version, "1.19.0");
    assert_null(health->commit);
    qv_pb_answer_grpc_health(&w->out, true);
    assert_int_equal(w->out.len, 2);
    assert_int_equal(w->out.data[1], 1);
}

/* Values written and read again, in both ways, are the same documents. */
static void payloads_come_back(void **state)
{
    struct world *w = *state;
    struct qv_rng rng;
    const char *env = getenv("SEED");
    uint64_t seed = env != NULL ? strtoull(env, NULL, 0) : 20240604u;
    struct qv_pb_ctx c = {.arena = &w->arena, .msg = &w->msg};
    printf("%s: SEED=%llu\n", __func__, (unsigned long long)seed);
    qv_rng_init(&rng, seed);
    qv_buf_init(&c.scratch, 1u << 24);
    for (int i = 0; i < 3000; i++) {
        struct pb_gen g = {.rng = &rng, .depth_max = 8, .repeat_max = 5, .presence = 80};
        ProtobufCMessage *m;
        struct qv_doc first, again;
        qv_arena_reset(&w->arena);
        qv_buf_clear(&w->out);
        pb_gen_message(&g, &qv_pb__struct__descriptor, &w->out);
        struct qv_bytes in = {w->out.data, w->out.len};
        assert_int_equal(qv_pb_unpack(&qv_pb__struct__descriptor, in, &w->arena, &m, &w->msg), 0);
        const QvPb__Struct *s = (const QvPb__Struct *)m;
        assert_int_equal(
            qv_pb_map_doc(&c, (ProtobufCMessage *const *)s->fields, s->n_fields, &first), 0);
        if (first.p == NULL)
            continue;
        assert_int_equal(qv_doc_check(first.p, first.n, &w->msg), 0);
        qv_buf_clear(&w->out);
        qv_pb_map_write(&w->out, 1, first);
        in = (struct qv_bytes){w->out.data, w->out.len};
        assert_int_equal(qv_pb_unpack(&qv_pb__struct__descriptor, in, &w->arena, &m, &w->msg), 0);
        s = (const QvPb__Struct *)m;
        assert_int_equal(
            qv_pb_map_doc(&c, (ProtobufCMessage *const *)s->fields, s->n_fields, &again), 0);
        assert_int_equal(first.n, again.n);
        assert_memory_equal(first.p, again.p, first.n);
    }
    qv_buf_close(&c.scratch);
}

/* ---- configuration ---- */

static const QvPb__CollectionInfo *echo(struct world *w, const struct qv_collection_config *config,
                                        const struct qv_payload_schema_entry *schema, uint32_t n)
{
    struct qv_collection_info info = {.config = config,
                                      .status = QV_COLLECTION_GREY,
                                      .points_count = 12,
                                      .indexed_vectors_count = 11,
                                      .segments_count = 1,
                                      .schema = schema,
                                      .schema_count = n};
    qv_buf_clear(&w->out);
    qv_pb_answer_collection(&w->out, &info, 1);
    const QvPb__GetCollectionInfoResponse *m =
        read_back(w, &qv_pb__get_collection_info_response__descriptor);
    assert_int_equal(m->result->status, QV_PB__COLLECTION_STATUS__Grey);
    assert_true(m->result->optimizer_status->ok);
    assert_int_equal(m->result->points_count, 12);
    assert_int_equal(m->result->indexed_vectors_count, 11);
    assert_int_equal(m->result->segments_count, 1);
    return m->result;
}

static void defaults_are_filled_in(void **state)
{
    struct world *w = *state;
    struct qv_pb_request req;
    /* {collection_name: "c", vectors_config: {params: {size: 4, distance: Dot}}} */
    static const uint8_t body[] = "\x0A\x01"
                                  "c"
                                  "\x52\x06\x0A\x04\x08\x04\x10\x03";
    int err =
        qv_pb_request_decode(QV_PB_COLLECTION_CREATE, (struct qv_bytes){body, sizeof body - 1},
                             &w->arena, &req, &w->msg);
    assert_int_equal(err, 0);
    assert_true(req.u.config->vectors_unnamed);
    assert_int_equal(req.u.config->next_number, 1);
    const QvPb__CollectionConfig *c = echo(w, req.u.config, NULL, 0)->config;
    assert_int_equal(c->params->shard_number, 1);
    assert_int_equal(c->params->replication_factor, 1);
    assert_true(c->params->on_disk_payload);
    assert_int_equal(c->params->vectors_config->params->size, 4);
    assert_int_equal(c->params->vectors_config->params->distance, QV_PB__DISTANCE__Dot);
    assert_null(c->params->vectors_config->params->hnsw_config);
    assert_int_equal(c->hnsw_config->m, 16);
    assert_int_equal(c->hnsw_config->ef_construct, 100);
    assert_int_equal(c->hnsw_config->full_scan_threshold, 10000);
    assert_true(c->hnsw_config->has_on_disk && !c->hnsw_config->on_disk);
    assert_true(c->optimizer_config->deleted_threshold == 0.2);
    assert_int_equal(c->optimizer_config->indexing_threshold, QV_INDEXING_THRESHOLD_DEFAULT);
    assert_false(c->optimizer_config->has_max_segment_size);
    assert_int_equal(c->wal_config->wal_capacity_mb, 32);
    assert_null(c->quantization_config);
}

static void bounds_are_kept(void **state)
{
    struct world *w = *state;
    struct qv_pb_request req;
    static const struct {
        const char *bytes;
        size_t n;
        int err;
    } rows[] = {
#define ROW(text, err) {text, sizeof(text) - 1, err}
        ROW("\x52\x06\x0A\x04\x08\x00\x10\x03", QV_EVALIDATION),         /* size 0 */
        ROW("\x52\x08\x0A\x06\x08\xFF\xFF\x7F\x10\x03", QV_EVALIDATION), /* size 2,097,151 */
        ROW("\x52\x06\x0A\x04\x08\x04\x10\x00", QV_EINVAL),              /* no distance */
        ROW("\x52\x06\x0A\x04\x08\x04\x10\x09", QV_EINVAL),              /* distance 9 */
        ROW("\x52\x08\x0A\x06\x08\x04\x10\x01\x30\x09", QV_EINVAL),      /* datatype 9 */
        ROW("\x72\x00", QV_EINVAL),                                      /* empty quantization */
        ROW("\x72\x04\x0A\x02\x08\x07", QV_EINVAL),                      /* scalar of type 7 */
        ROW("\x72\x04\x1A\x02\x10\x09", QV_EINVAL),                      /* binary, encoding 9 */
        ROW("\x48\x00", QV_EVALIDATION),                                 /* timeout 0 */
#undef ROW
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qv_buf_clear(&w->out);
        qv_pb_put_str(&w->out, 1, qv_str_of("c"));
        qv_buf_append(&w->out, rows[i].bytes, rows[i].n);
        int err = qv_pb_request_decode(QV_PB_COLLECTION_CREATE,
                                       (struct qv_bytes){w->out.data, w->out.len}, &w->arena, &req,
                                       &w->msg);
        if (err != rows[i].err)
            print_error("row %zu: %d %s\n", i, err, w->msg.text);
        assert_int_equal(err, rows[i].err);
    }
}

/* Same bytes when packed: for messages that are echoed as they were given. */
static void check_same_message(const void *want, const void *got)
{
    uint8_t a[4096], b[4096];
    if (want == NULL) {
        assert_null(got);
        return;
    }
    assert_non_null(got);
    size_t n = protobuf_c_message_get_packed_size(want);
    assert_int_equal(n, protobuf_c_message_get_packed_size(got));
    assert_true(n <= sizeof a);
    protobuf_c_message_pack(want, a);
    protobuf_c_message_pack(got, b);
    assert_memory_equal(a, b, n);
}

/* ---- whatever `want` says, `got` says too ---- */

static void check_within(const ProtobufCMessage *want, const ProtobufCMessage *got);

static bool is_given(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    const char *p = (const char *)m;
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)(const void *)(p + f->quantifier_offset) > 0;
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)(const void *)(p + f->quantifier_offset) == f->id;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING)
        return *(void *const *)(const void *)(p + f->offset) != NULL;
    return *(const protobuf_c_boolean *)(const void *)(p + f->quantifier_offset) != 0;
}

/* Of equal keys in want the last counts. */
static void check_map(const ProtobufCMessage *want, const ProtobufCMessage *got,
                      const ProtobufCFieldDescriptor *f)
{
    size_t n, m;
    ProtobufCMessage **a, **b;
    memcpy(&n, (const char *)want + f->quantifier_offset, sizeof n);
    memcpy(&m, (const char *)got + f->quantifier_offset, sizeof m);
    memcpy(&a, (const char *)want + f->offset, sizeof a);
    memcpy(&b, (const char *)got + f->offset, sizeof b);
    for (size_t i = 0; i < n; i++) {
        const QvPb__VectorParamsMap__MapEntry *e = (const void *)a[i];
        const char *key = e->key == NULL ? "" : e->key;
        bool found = false, later = false;
        for (size_t j = i + 1; j < n && !later; j++) {
            const char *other = ((const QvPb__VectorParamsMap__MapEntry *)(const void *)a[j])->key;
            later = strcmp(other == NULL ? "" : other, key) == 0;
        }
        for (size_t j = 0; j < m && !later && !found; j++) {
            found = strcmp(((const QvPb__VectorParamsMap__MapEntry *)(const void *)b[j])->key,
                           key) == 0;
            if (found)
                check_within(a[i], b[j]);
        }
        assert_true(later || found);
    }
}

static size_t scalar_bytes(ProtobufCType t)
{
    return t == PROTOBUF_C_TYPE_UINT64 || t == PROTOBUF_C_TYPE_INT64 || t == PROTOBUF_C_TYPE_DOUBLE
               ? 8
               : 4;
}

/* What is not echoed as it was said: the default datatype, "auto" threads, and the older field for
 * threads where the newer one is given; a query encoding that says nothing. */
static bool is_silent(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    const char *name = f->name;
    if (strcmp(name, "datatype") == 0)
        return *(const int *)(const void *)((const char *)m + f->offset) == 0;
    return strcmp(name, "max_optimization_threads") == 0 || strcmp(name, "query_encoding") == 0 ||
           strcmp(name, "deprecated_max_optimization_threads") == 0 || strcmp(name, "key") == 0 ||
           (strcmp(name, "type") == 0 && m->descriptor == &qv_pb__scalar_quantization__descriptor);
}

static void check_field(const ProtobufCMessage *want, const ProtobufCMessage *got,
                        const ProtobufCFieldDescriptor *f)
{
    const char *a = (const char *)want + f->offset, *b = (const char *)got + f->offset;
    if (!is_given(got, f))
        print_error("%s.%s is missing\n", want->descriptor->name, f->name);
    assert_true(is_given(got, f));
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        check_within(*(ProtobufCMessage *const *)(const void *)a,
                     *(ProtobufCMessage *const *)(const void *)b);
        break;
    case PROTOBUF_C_TYPE_STRING:
        assert_string_equal(*(char *const *)(const void *)a, *(char *const *)(const void *)b);
        break;
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *x = (const void *)a, *y = (const void *)b;
        assert_int_equal(x->len, y->len);
        if (x->len > 0)
            assert_memory_equal(x->data, y->data, x->len);
        break;
    }
    default:
        assert_memory_equal(a, b, scalar_bytes(f->type));
    }
}

static void check_list(const QvPb__ListValue *want, const QvPb__ListValue *got)
{
    assert_int_equal(want->n_values, got->n_values);
    for (size_t i = 0; i < want->n_values; i++)
        check_within(&want->values[i]->base, &got->values[i]->base);
}

static void check_within(const ProtobufCMessage *want, const ProtobufCMessage *got)
{
    if (want == NULL)
        return;
    assert_non_null(got);
    assert_ptr_equal(want->descriptor, got->descriptor);
    if (want->descriptor == &qv_pb__list_value__descriptor) {
        check_list((const QvPb__ListValue *)want, (const QvPb__ListValue *)got);
        return;
    }
    for (unsigned i = 0; i < want->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &want->descriptor->fields[i];
        if (!is_given(want, f) || is_silent(want, f))
            continue;
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
            check_map(want, got, f);
        else
            check_field(want, got, f);
    }
}

/* Threads and query encodings, which check_within passes over. */
static void check_rest(const QvPb__CreateCollection *in, const QvPb__CollectionConfig *out)
{
    const QvPb__OptimizersConfigDiff *o = in->optimizers_config;
    const QvPb__QuantizationConfig *q = in->quantization_config;
    if (o != NULL && o->max_optimization_threads != NULL) {
        bool given = o->max_optimization_threads->variant_case ==
                     QV_PB__MAX_OPTIMIZATION_THREADS__VARIANT_VALUE;
        assert_int_equal(out->optimizer_config->max_optimization_threads != NULL, given);
        if (given)
            assert_int_equal(out->optimizer_config->max_optimization_threads->value,
                             o->max_optimization_threads->value);
    } else if (o != NULL && o->has_deprecated_max_optimization_threads) {
        assert_int_equal(out->optimizer_config->deprecated_max_optimization_threads,
                         o->deprecated_max_optimization_threads);
    }
    if (q != NULL && q->quantization_case == QV_PB__QUANTIZATION_CONFIG__QUANTIZATION_BINARY &&
        q->binary->query_encoding != NULL && q->binary->query_encoding->variant_case != 0)
        assert_int_equal(q->binary->query_encoding->setting,
                         out->quantization_config->binary->query_encoding->setting);
}

/* A random create-collection that is accepted is echoed with what it said. */
static void check_echo(const QvPb__CreateCollection *in, const QvPb__CollectionConfig *out)
{
    const QvPb__CollectionParams *p = out->params;
    assert_int_equal(p->shard_number, in->has_shard_number ? in->shard_number : 1);
    assert_int_equal(p->replication_factor,
                     in->has_replication_factor ? in->replication_factor : 1);
    assert_int_equal(p->write_consistency_factor,
                     in->has_write_consistency_factor ? in->write_consistency_factor : 1);
    assert_int_equal(p->on_disk_payload, in->has_on_disk_payload ? in->on_disk_payload : 1);
    check_within((const void *)in->hnsw_config, (const void *)out->hnsw_config);
    check_within((const void *)in->wal_config, (const void *)out->wal_config);
    check_within((const void *)in->optimizers_config, (const void *)out->optimizer_config);
    check_within((const void *)in->quantization_config, (const void *)out->quantization_config);
    check_within((const void *)in->strict_mode_config, (const void *)out->strict_mode_config);
    if (in->vectors_config != NULL && in->vectors_config->config_case != 0)
        check_within((const void *)in->vectors_config, (const void *)p->vectors_config);
    if (in->sparse_vectors_config != NULL && in->sparse_vectors_config->n_map > 0)
        check_within((const void *)in->sparse_vectors_config,
                     (const void *)p->sparse_vectors_config);
    check_rest(in, out);
}

static void accepted_configurations_are_echoed(void **state)
{
    struct world *w = *state;
    struct qv_rng rng;
    unsigned accepted = 0;
    const char *env = getenv("SEED");
    uint64_t seed = env != NULL ? strtoull(env, NULL, 0) : 20240605u;
    printf("%s: SEED=%llu\n", __func__, (unsigned long long)seed);
    qv_rng_init(&rng, seed);
    for (int i = 0; i < 20000; i++) {
        struct pb_gen g = {.rng = &rng,
                           .depth_max = 4,
                           .repeat_max = 2,
                           .presence = 5 + (unsigned)qv_rng_below(&rng, 50)};
        struct qv_pb_request req;
        ProtobufCMessage *m;
        qv_arena_reset(&w->arena);
        qv_buf_clear(&w->out);
        pb_gen_message(&g, &qv_pb__create_collection__descriptor, &w->out);
        struct qv_bytes in = {w->out.data, w->out.len};
        if (qv_pb_request_decode(QV_PB_COLLECTION_CREATE, in, &w->arena, &req, &w->msg) != 0)
            continue;
        assert_int_equal(
            qv_pb_unpack(&qv_pb__create_collection__descriptor, in, &w->arena, &m, &w->msg), 0);
        check_echo((const QvPb__CreateCollection *)m, echo(w, req.u.config, NULL, 0)->config);
        accepted++;
    }
    printf("accepted %u\n", accepted);
    assert_true(accepted > 100);
}

/* Index options that were decoded are written as the same message. */
static void index_options_are_echoed(void **state)
{
    struct world *w = *state;
    struct qv_rng rng;
    unsigned accepted = 0;
    const char *env = getenv("SEED");
    uint64_t seed = env != NULL ? strtoull(env, NULL, 0) : 20240606u;
    printf("%s: SEED=%llu\n", __func__, (unsigned long long)seed);
    qv_rng_init(&rng, seed);
    static const uint8_t plain[] = "\x0A\x01"
                                   "c";
    for (int i = 0; i < 4000; i++) {
        struct pb_gen g = {.rng = &rng, .depth_max = 4, .repeat_max = 3, .presence = 60};
        struct qv_pb_request req;
        ProtobufCMessage *m;
        qv_arena_reset(&w->arena);
        qv_buf_clear(&w->out);
        qv_buf_append(&w->out, plain, 3);
        qv_pb_put_str(&w->out, 3, qv_str_of("field"));
        size_t params = qv_pb_begin(&w->out, 5);
        pb_gen_message(&g, &qv_pb__payload_index_params__descriptor, &w->out);
        qv_pb_end(&w->out, params);
        struct qv_bytes in = {w->out.data, w->out.len};
        if (qv_pb_request_decode(QV_PB_CREATE_INDEX, in, &w->arena, &req, &w->msg) != 0 ||
            req.u.index.index.params.p == NULL)
            continue;
        assert_int_equal(
            qv_doc_check(req.u.index.index.params.p, req.u.index.index.params.n, &w->msg), 0);
        struct qv_vector_config v = {.size = 1};
        struct qv_collection_config config = {
            .vector_count = 1, .vectors = &v, .vectors_unnamed = true};
        struct qv_payload_schema_entry schema = {&req.u.index.index, 3};
        assert_int_equal(qv_pb_unpack(&qv_pb__create_field_index_collection__descriptor, in,
                                      &w->arena, &m, &w->msg),
                         0);
        const QvPb__PayloadIndexParams *want =
            ((const QvPb__CreateFieldIndexCollection *)m)->field_index_params;
        const QvPb__CollectionInfo *info = echo(w, &config, &schema, 1);
        assert_int_equal(info->n_payload_schema, 1);
        assert_string_equal(info->payload_schema[0]->key, "field");
        assert_int_equal(info->payload_schema[0]->value->points, 3);
        const QvPb__PayloadIndexParams *got = info->payload_schema[0]->value->params;
        assert_int_equal(want->index_params_case, got->index_params_case);
        check_same_message(want->keyword_index_params, got->keyword_index_params);
        accepted++;
    }
    printf("accepted %u\n", accepted);
    assert_true(accepted > 1000);
}

static void named_vectors_are_echoed(void **state)
{
    struct world *w = *state;
    struct qv_vector_config v[] = {{.name = {"image", 5},
                                    .size = 8,
                                    .has_hnsw = true,
                                    .hnsw = {.m = {true, 0}},
                                    .quant = {.kind = QV_QUANT_SCALAR, .quantile = {true, 0.5}}},
                                   {.name = {"text", 4},
                                    .size = 2,
                                    .distance = QV_DISTANCE_MANHATTAN,
                                    .has_datatype = true,
                                    .datatype = QV_DTYPE_U8,
                                    .multivector = true,
                                    .on_disk = {true, true}}};
    struct qv_sparse_config s[] = {{.name = {"words", 5},
                                    .has_modifier = true,
                                    .modifier_idf = true,
                                    .has_index = true,
                                    .on_disk = {true, false}}};
    struct qv_collection_config config = {
        .vector_count = 2, .vectors = v, .sparse_count = 1, .sparse = s, .shard_number = 3};
    const QvPb__CollectionParams *p = echo(w, &config, NULL, 0)->config->params;
    const QvPb__VectorParamsMap *map = p->vectors_config->params_map;
    assert_int_equal(p->shard_number, 3);
    assert_int_equal(map->n_map, 2);
    assert_string_equal(map->map[0]->key, "image");
    assert_true(map->map[0]->value->hnsw_config->has_m);
    assert_true(map->map[0]->value->quantization_config->scalar->quantile == 0.5f);
    assert_int_equal(map->map[1]->value->datatype, QV_PB__DATATYPE__Uint8);
    assert_int_equal(map->map[1]->value->distance, QV_PB__DISTANCE__Manhattan);
    assert_non_null(map->map[1]->value->multivector_config);
    assert_int_equal(p->sparse_vectors_config->n_map, 1);
    assert_int_equal(p->sparse_vectors_config->map[0]->value->modifier, QV_PB__MODIFIER__Idf);
    assert_true(p->sparse_vectors_config->map[0]->value->index->has_on_disk);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(hits_are_written),         T(plans_are_written),
        T(records_are_written),      T(small_answers_are_written),
        T(payloads_come_back),       T(defaults_are_filled_in),
        T(bounds_are_kept),          T(accepted_configurations_are_echoed),
        T(index_options_are_echoed), T(named_vectors_are_echoed),
    };
    return RUN_SUITE(tests);
}
