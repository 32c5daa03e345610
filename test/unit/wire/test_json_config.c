#include "suite.h"

#include "base/rng.h"
#include "wire/json_answer.h"
#include "wire/json_doc.h"
#include "wire/json_request.h"

#include <string.h>

static struct qv_arena arena;
static struct qv_errmsg msg;

static struct qv_bytes bytes(const char *text)
{
    return (struct qv_bytes){(const uint8_t *)text, strlen(text)};
}

static struct qv_collection_config create_ok(const char *text)
{
    struct qv_collection_config c;
    int err = qv_json_read_create_collection(bytes(text), &arena, &c, &msg);
    if (err != 0)
        fail_msg("%s: %d %s", text, err, msg.text);
    return c;
}

static void test_create_with_everything(void **state)
{
    (void)state;
    qv_arena_init(&arena, 1 << 20);
    struct qv_collection_config c = create_ok(
        "{\"vectors\": {\"a\": {\"size\": 4, \"distance\": \"Dot\", \"on_disk\": true,"
        " \"datatype\": \"float16\", \"hnsw_config\": {\"m\": 8, \"ef_construct\": null},"
        " \"quantization_config\": {\"scalar\": {\"type\": \"int8\", \"quantile\": 0.99,"
        " \"always_ram\": true}}},"
        " \"b\": {\"distance\": \"Manhattan\", \"size\": 8, \"datatype\": \"uint8\","
        " \"multivector_config\": {\"comparator\": \"max_sim\"}}},"
        " \"sparse_vectors\": {\"s\": {\"index\": {\"on_disk\": false, \"full_scan_threshold\": 9,"
        " \"datatype\": \"float16\"}, \"modifier\": \"idf\"}, \"t\": {}},"
        " \"shard_number\": 2, \"replication_factor\": 3, \"write_consistency_factor\": 2,"
        " \"sharding_method\": \"auto\", \"on_disk_payload\": false,"
        " \"hnsw_config\": {\"m\": 32, \"on_disk\": true, \"payload_m\": 4},"
        " \"optimizers_config\": {\"indexing_threshold\": 10, \"max_optimization_threads\":"
        " \"auto\", \"deleted_threshold\": 0.5},"
        " \"wal_config\": {\"wal_capacity_mb\": 64}, \"metadata\": {\"x\": [1]},"
        " \"strict_mode_config\": {\"enabled\": false},"
        " \"quantization_config\": {\"binary\": {\"encoding\": \"two_bits\"}},"
        " \"quiver\": {\"placement\": {\"strategy\": \"hash\"}, \"replication\": {\"mode\":"
        " \"leader\"}, \"regions\": null}, \"unheard_of\": 1}");
    assert_int_equal(c.vector_count, 2);
    assert_false(c.vectors_unnamed);
    assert_int_equal(c.vectors[0].number, 0);
    assert_int_equal(c.vectors[0].datatype, QV_DTYPE_F16);
    assert_true(c.vectors[0].has_hnsw && c.vectors[0].hnsw.m.v == 8);
    assert_false(c.vectors[0].hnsw.ef_construct.has);
    assert_int_equal(c.vectors[0].quant.kind, QV_QUANT_SCALAR);
    assert_int_equal(c.vectors[1].number, 1);
    assert_int_equal(c.vectors[1].distance, QV_DISTANCE_MANHATTAN);
    assert_true(c.vectors[1].multivector);
    assert_int_equal(c.sparse_count, 2);
    assert_int_equal(c.sparse[0].number, 2);
    assert_true(c.sparse[0].modifier_idf);
    assert_int_equal(c.sparse[1].number, 3);
    assert_int_equal(c.next_number, 4);
    assert_int_equal(c.shard_number, 2);
    assert_int_equal(c.replication_factor, 3);
    assert_false(c.on_disk_payload);
    assert_int_equal(c.hnsw.m.v, 32);
    assert_false(c.optimizer.max_optimization_threads.has);
    assert_int_equal(c.quant.kind, QV_QUANT_BINARY);
    assert_non_null(c.metadata.p);
    c = create_ok("{\"vectors\": {\"size\": 768, \"distance\": \"Cosine\"}}");
    assert_true(c.vectors_unnamed);
    assert_int_equal(c.vectors[0].name.n, 0);
    assert_true(c.on_disk_payload);
    c = create_ok("{}");
    assert_int_equal(c.vector_count, 0);
    c = create_ok("{\"vectors\": {\"size\": {\"size\": 2, \"distance\": \"Dot\"}}}");
    assert_false(c.vectors_unnamed);
    qv_arena_close(&arena);
}

static void test_field_index(void **state)
{
    (void)state;
    struct qv_payload_index x;
    qv_arena_init(&arena, 1 << 20);
    assert_int_equal(
        qv_json_read_field_index(bytes("{\"field_name\": \"a.b\", \"field_schema\": \"keyword\"}"),
                                 &arena, &x, &msg),
        0);
    assert_memory_equal(x.field.p, "a.b", 3);
    assert_memory_equal(x.type.p, "keyword", 7);
    assert_null(x.params.p);
    assert_int_equal(
        qv_json_read_field_index(bytes("{\"field_name\": \"t\", \"field_schema\":"
                                       " {\"on_disk\": true, \"type\": \"text\"}, \"number\": 9}"),
                                 &arena, &x, &msg),
        0);
    assert_memory_equal(x.type.p, "text", 4);
    assert_int_equal(qv_doc_count(x.params), 2);
    assert_int_equal(x.number, 0);
    qv_arena_close(&arena);
}

static void check_echo(const char *create, const char *want)
{
    struct qv_buf b;
    struct qv_collection_config c = create_ok(create);
    struct qv_payload_index index = {.field = qv_str_of("k"), .type = qv_str_of("keyword")};
    struct qv_payload_schema_entry entry = {&index, 5};
    struct qv_collection_info info = {.config = &c,
                                      .status = QV_COLLECTION_YELLOW,
                                      .points_count = 7,
                                      .indexed_vectors_count = 3,
                                      .segments_count = 1,
                                      .schema = &entry,
                                      .schema_count = 1};
    qv_buf_init(&b, 0);
    qv_json_write_collection(&b, &info);
    qv_buf_u8(&b, 0);
    assert_string_equal((char *)b.data, want);
    qv_buf_close(&b);
}

static void test_echo(void **state)
{
    (void)state;
    qv_arena_init(&arena, 1 << 20);
    check_echo(
        "{\"vectors\": {\"size\": 4, \"distance\": \"Dot\"}}",
        "{\"status\":\"yellow\",\"optimizer_status\":\"ok\",\"indexed_vectors_count\":3,"
        "\"points_count\":7,\"segments_count\":1,\"config\":{\"params\":{\"vectors\":{\"size\":4,"
        "\"distance\":\"Dot\"},\"shard_number\":1,\"replication_factor\":1,"
        "\"write_consistency_factor\":1,\"on_disk_payload\":true},\"hnsw_config\":{\"m\":16,"
        "\"ef_construct\":100,\"full_scan_threshold\":10000,\"max_indexing_threads\":0,"
        "\"on_disk\":false},\"optimizer_config\":{\"deleted_threshold\":0.2,"
        "\"vacuum_min_vector_number\":1000,\"default_segment_number\":0,\"max_segment_size\":null,"
        "\"memmap_threshold\":null,\"indexing_threshold\":20000,\"flush_interval_sec\":5,"
        "\"max_optimization_threads\":null},\"wal_config\":{\"wal_capacity_mb\":32,"
        "\"wal_segments_ahead\":0,\"wal_retain_closed\":1},\"quantization_config\":null,"
        "\"strict_mode_config\":{\"enabled\":false}},\"payload_schema\":{\"k\":{\"data_type\":"
        "\"keyword\",\"points\":5}}}");
    check_echo(
        "{\"vectors\": {\"a\": {\"size\": 4, \"distance\": \"Cosine\", \"datatype\": \"uint8\","
        " \"hnsw_config\": {\"m\": 0}, \"multivector_config\": {\"comparator\": \"max_sim\"},"
        " \"on_disk\": false}}, \"sparse_vectors\": {\"s\": {\"modifier\": \"none\", \"index\": "
        "{}}},"
        " \"quantization_config\": {\"scalar\": {\"type\": \"int8\"}}, \"hnsw_config\": {\"m\": 5},"
        " \"metadata\": {\"o\": \"w\"}}",
        "{\"status\":\"yellow\",\"optimizer_status\":\"ok\",\"indexed_vectors_count\":3,"
        "\"points_count\":7,\"segments_count\":1,\"config\":{\"params\":{\"vectors\":{\"a\":"
        "{\"size\":4,\"distance\":\"Cosine\",\"hnsw_config\":{\"m\":0},\"on_disk\":false,"
        "\"datatype\":\"uint8\",\"multivector_config\":{\"comparator\":\"max_sim\"}}},"
        "\"shard_number\":1,\"replication_factor\":1,\"write_consistency_factor\":1,"
        "\"on_disk_payload\":true,\"sparse_vectors\":{\"s\":{\"index\":{},\"modifier\":\"none\"}}},"
        "\"hnsw_config\":{\"m\":5,\"ef_construct\":100,\"full_scan_threshold\":10000,"
        "\"max_indexing_threads\":0,\"on_disk\":false},\"optimizer_config\":{"
        "\"deleted_threshold\":0.2,\"vacuum_min_vector_number\":1000,\"default_segment_number\":0,"
        "\"max_segment_size\":null,\"memmap_threshold\":null,\"indexing_threshold\":20000,"
        "\"flush_interval_sec\":5,\"max_optimization_threads\":null},\"wal_config\":{"
        "\"wal_capacity_mb\":32,\"wal_segments_ahead\":0,\"wal_retain_closed\":1},"
        "\"quantization_config\":{\"scalar\":{\"type\":\"int8\"}},"
        "\"strict_mode_config\":{\"enabled\":false},\"metadata\":{\"o\":\"w\"}},"
        "\"payload_schema\":{\"k\":{\"data_type\":\"keyword\",\"points\":5}}}");
    qv_arena_close(&arena);
}

static void check_placement_echo(const char *placement, const char *want)
{
    char text[512];
    char quiver[512];
    struct qv_buf b;
    snprintf(text, sizeof text,
             "{\"vectors\": {\"size\": 4, \"distance\": \"Dot\"}, \"shard_number\": 2, "
             "\"quiver\": {\"placement\": %s}}",
             placement);
    struct qv_collection_config c = create_ok(text);
    struct qv_collection_info info = {.config = &c};
    qv_buf_init(&b, 0);
    qv_json_write_collection(&b, &info);
    qv_buf_u8(&b, 0);
    snprintf(quiver, sizeof quiver,
             "\"strict_mode_config\":{\"enabled\":false}%s},\"payload_schema\"", want);
    if (strstr((char *)b.data, quiver) == NULL)
        fail_msg("%s instead of %s", (char *)b.data, quiver);
    qv_buf_close(&b);
}

static void test_placements(void **state)
{
    (void)state;
    qv_arena_init(&arena, 1 << 20);
    check_placement_echo("null", "");
    check_placement_echo("{\"strategy\": \"hash\", \"virtual_nodes\": null, \"ranges\": null}", "");
    check_placement_echo("{\"strategy\": \"consistent_hash\"}",
                         ",\"quiver\":{\"placement\":{\"strategy\":\"consistent_hash\"}}");
    check_placement_echo("{\"virtual_nodes\": 7, \"strategy\": \"consistent_hash\"}",
                         ",\"quiver\":{\"placement\":{\"strategy\":\"consistent_hash\","
                         "\"virtual_nodes\":7}}");
    check_placement_echo(
        "{\"strategy\": \"range\", \"ranges\": [{\"to\": 1000, \"shard\": 1},"
        " {\"from\": 1000, \"to\": \"550e8400-e29b-41d4-a716-446655440000\", \"shard\": 0, \"x\": "
        "1},"
        " {\"shard\": 1, \"to\": null, \"from\": \"550e8400e29b41d4a716446655440000\"}]}",
        ",\"quiver\":{\"placement\":{\"strategy\":\"range\",\"ranges\":[{\"to\":1000,\"shard\":1},"
        "{\"from\":1000,\"to\":\"550e8400-e29b-41d4-a716-446655440000\",\"shard\":0},"
        "{\"from\":\"550e8400-e29b-41d4-a716-446655440000\",\"shard\":1}]}}");
    qv_arena_close(&arena);
}

/* ---- the stored form ---- */

static struct qv_rng rng;

static struct qv_opt_u64 any_u64(uint64_t low, uint64_t high)
{
    struct qv_opt_u64 v = {.has = qv_rng_below(&rng, 2) == 0};
    if (v.has)
        v.v = low + qv_rng_below(&rng, high - low + 1);
    return v;
}

static struct qv_opt_bool any_bool(void)
{
    uint64_t r = qv_rng_below(&rng, 3);
    return (struct qv_opt_bool){.has = r != 0, .v = r == 2};
}

static struct qv_opt_f64 any_f64(double low, double high)
{
    struct qv_opt_f64 v = {.has = qv_rng_below(&rng, 2) == 0};
    if (v.has)
        v.v = low + qv_rng_unit(&rng) * (high - low);
    return v;
}

static struct qv_hnsw_config any_hnsw(void)
{
    return (struct qv_hnsw_config){.m = any_u64(0, 128),
                                   .ef_construct = any_u64(4, 4096),
                                   .full_scan_threshold = any_u64(10, 1 << 30),
                                   .max_indexing_threads = any_u64(0, 100),
                                   .on_disk = any_bool(),
                                   .payload_m = any_u64(0, 64),
                                   .inline_storage = any_bool()};
}

static struct qv_quant_config any_quant(void)
{
    struct qv_quant_config q = {.kind = (enum qv_quant_kind)qv_rng_below(&rng, 3)};
    if (q.kind != QV_QUANT_NONE)
        q.always_ram = any_bool();
    if (q.kind == QV_QUANT_SCALAR)
        q.quantile = any_f64(0.5, 1.0);
    if (q.kind == QV_QUANT_BINARY && qv_rng_below(&rng, 2) == 0) {
        q.encoding = qv_str_of("one_and_half_bits");
        q.query_encoding = qv_str_of("scalar4bits");
    }
    return q;
}

static struct qv_str any_name(uint32_t i)
{
    static const char *const kinds[] = {"v%u", "\xC3\xA9 %u", "\"\\%u", "size%u", "{%u"};
    char text[32];
    int n = snprintf(text, sizeof text, kinds[qv_rng_below(&rng, 5)], i);
    return (struct qv_str){qv_arena_strndup(&arena, text, (size_t)n), (size_t)n};
}

static void any_vectors(struct qv_collection_config *c)
{
    c->vectors_unnamed = qv_rng_below(&rng, 3) == 0;
    c->vector_count = c->vectors_unnamed ? 1 : (uint32_t)qv_rng_below(&rng, 4);
    c->sparse_count = (uint32_t)qv_rng_below(&rng, 3);
    struct qv_vector_config *v = QV_ARENA_ARRAY(&arena, struct qv_vector_config, 4);
    struct qv_sparse_config *s = QV_ARENA_ARRAY(&arena, struct qv_sparse_config, 4);
    for (uint32_t i = 0; i < c->vector_count; i++) {
        v[i] = (struct qv_vector_config){
            .name = c->vectors_unnamed ? (struct qv_str){"", 0} : any_name(i),
            .number = c->next_number += 1 + (uint32_t)qv_rng_below(&rng, 3),
            .size = 1 + (uint32_t)qv_rng_below(&rng, 65536),
            .distance = (enum qv_distance)qv_rng_below(&rng, 4),
            .has_datatype = qv_rng_below(&rng, 2) == 0,
            .on_disk = any_bool(),
            .has_hnsw = qv_rng_below(&rng, 2) == 0,
            .quant = any_quant(),
            .multivector = qv_rng_below(&rng, 4) == 0};
        if (v[i].has_datatype)
            v[i].datatype = (enum qv_dtype)qv_rng_below(&rng, 3);
        if (v[i].has_hnsw)
            v[i].hnsw = any_hnsw();
    }
    for (uint32_t i = 0; i < c->sparse_count; i++) {
        s[i] = (struct qv_sparse_config){.name = any_name(100 + i),
                                         .number = ++c->next_number,
                                         .has_index = qv_rng_below(&rng, 2) == 0,
                                         .has_modifier = qv_rng_below(&rng, 2) == 0};
        s[i].modifier_idf = s[i].has_modifier && qv_rng_below(&rng, 2) == 0;
        if (s[i].has_index) {
            s[i].full_scan_threshold = any_u64(0, 1000);
            s[i].on_disk = any_bool();
            s[i].has_datatype = qv_rng_below(&rng, 2) == 0;
            s[i].datatype = s[i].has_datatype ? QV_DTYPE_U8 : QV_DTYPE_F32;
        }
    }
    c->vectors = v;
    c->sparse = s;
}

static void any_indexes(struct qv_collection_config *c)
{
    static const char *const types[] = {"keyword", "integer", "text", "uuid"};
    c->payload_index_count = (uint32_t)qv_rng_below(&rng, 4);
    struct qv_payload_index *x = QV_ARENA_ARRAY(&arena, struct qv_payload_index, 4);
    for (uint32_t i = 0; i < c->payload_index_count; i++) {
        const char *type = types[qv_rng_below(&rng, 4)];
        x[i].field = qv_rng_below(&rng, 2) == 0 ? qv_str_of("a.b[].c") : qv_str_of("\"x y\".z");
        x[i].number = ++c->next_number;
        x[i].type = qv_str_of(type);
        if (qv_rng_below(&rng, 2) == 0) {
            char text[64];
            snprintf(text, sizeof text, "{\"type\":\"%s\",\"on_disk\":true}", type);
            assert_int_equal(qv_json_read_doc(bytes(text), &arena, &x[i].params, &msg), 0);
        }
    }
    c->payload_indexes = x;
}

static struct qv_id any_bound(void)
{
    switch (qv_rng_below(&rng, 3)) {
    case 0:
        return (struct qv_id){0};
    case 1:
        return qv_id_num(qv_rng_u64(&rng));
    default:
        return (struct qv_id){qv_rng_u64(&rng), qv_rng_u64(&rng), QV_ID_UUID};
    }
}

/* As it may stand in a body, whether or not a placement can be made of it. */
static struct qv_placement_config any_placement(void)
{
    struct qv_placement_config p = {
        .strategy = (enum qv_placement_strategy)qv_rng_below(&rng, QV_PLACEMENT_CLUSTER)};
    if (p.strategy == QV_PLACEMENT_CONSISTENT_HASH && qv_rng_below(&rng, 2) == 0)
        p.virtual_nodes = 1 + (uint32_t)qv_rng_below(&rng, QV_PLACEMENT_VIRTUAL_NODES_MAX);
    if (p.strategy != QV_PLACEMENT_RANGE)
        return p;
    p.range_count = (uint32_t)qv_rng_below(&rng, 9);
    struct qv_placement_range *list = QV_ARENA_ARRAY(&arena, struct qv_placement_range, 9);
    for (uint32_t i = 0; i < p.range_count; i++)
        list[i] = (struct qv_placement_range){.ids = {any_bound(), any_bound()},
                                              .shard = (uint32_t)qv_rng_below(&rng, 9)};
    p.ranges = list;
    return p;
}

static struct qv_collection_config any_config(void)
{
    struct qv_collection_config c = {.shard_number = 1 + (uint32_t)qv_rng_below(&rng, 64),
                                     .has_sharding_custom = qv_rng_below(&rng, 4) == 0,
                                     .replication_factor = 1 + (uint32_t)qv_rng_below(&rng, 5),
                                     .write_consistency_factor = 1,
                                     .on_disk_payload = qv_rng_below(&rng, 2) == 0,
                                     .placement = any_placement(),
                                     .hnsw = any_hnsw(),
                                     .quant = any_quant()};
    c.optimizer = (struct qv_optimizer_config){.deleted_threshold = any_f64(0, 1),
                                               .vacuum_min_vector_number = any_u64(100, 1 << 20),
                                               .default_segment_number = any_u64(0, 16),
                                               .max_segment_size = any_u64(1, UINT64_MAX - 2),
                                               .memmap_threshold = any_u64(0, 1 << 20),
                                               .indexing_threshold = any_u64(0, 1 << 20),
                                               .flush_interval_sec = any_u64(1, 100),
                                               .max_optimization_threads = any_u64(0, 16)};
    c.wal = (struct qv_wal_config){.wal_capacity_mb = any_u64(1, 1000),
                                   .wal_segments_ahead = any_u64(0, 10),
                                   .wal_retain_closed = any_u64(1, 10)};
    any_vectors(&c);
    any_indexes(&c);
    if (qv_rng_below(&rng, 2) == 0) {
        assert_int_equal(qv_json_read_doc(bytes("{\"enabled\":false,\"max_timeout\":null}"), &arena,
                                          &c.strict_mode, &msg),
                         0);
        assert_int_equal(qv_json_read_doc(bytes("{\"k\":[1,2.0,{}]}"), &arena, &c.metadata, &msg),
                         0);
    }
    c.next_number += 1 + (uint32_t)qv_rng_below(&rng, 3);
    return c;
}

static void assert_str(struct qv_str a, struct qv_str b)
{
    assert_true(qv_str_equal(a, b));
}

static void assert_doc(struct qv_doc a, struct qv_doc b)
{
    assert_int_equal(a.n, b.n);
    if (a.p != NULL)
        assert_memory_equal(a.p, b.p, a.n);
}

/* Structs of numbers and bools only, built with designated initialisers: fields one by one through
 * their written form would miss what the writer misses, so compare what is in memory. */
#define ASSERT_U64(a, b) assert_true((a).has == (b).has && (a).v == (b).v)

static void assert_hnsw(const struct qv_hnsw_config *a, const struct qv_hnsw_config *b)
{
    ASSERT_U64(a->m, b->m);
    ASSERT_U64(a->ef_construct, b->ef_construct);
    ASSERT_U64(a->full_scan_threshold, b->full_scan_threshold);
    ASSERT_U64(a->max_indexing_threads, b->max_indexing_threads);
    ASSERT_U64(a->on_disk, b->on_disk);
    ASSERT_U64(a->payload_m, b->payload_m);
    ASSERT_U64(a->inline_storage, b->inline_storage);
}

static void assert_quant(const struct qv_quant_config *a, const struct qv_quant_config *b)
{
    assert_int_equal(a->kind, b->kind);
    ASSERT_U64(a->quantile, b->quantile);
    ASSERT_U64(a->always_ram, b->always_ram);
    assert_str(a->encoding, b->encoding);
    assert_str(a->query_encoding, b->query_encoding);
}

static void assert_vectors(const struct qv_collection_config *a,
                           const struct qv_collection_config *b)
{
    assert_int_equal(a->vector_count, b->vector_count);
    assert_int_equal(a->vectors_unnamed, b->vectors_unnamed);
    for (uint32_t i = 0; i < a->vector_count; i++) {
        const struct qv_vector_config *x = &a->vectors[i];
        const struct qv_vector_config *y = &b->vectors[i];
        assert_str(x->name, y->name);
        assert_int_equal(x->number, y->number);
        assert_int_equal(x->size, y->size);
        assert_int_equal(x->distance, y->distance);
        assert_int_equal(x->has_datatype, y->has_datatype);
        assert_int_equal(x->datatype, y->datatype);
        ASSERT_U64(x->on_disk, y->on_disk);
        assert_int_equal(x->has_hnsw, y->has_hnsw);
        assert_hnsw(&x->hnsw, &y->hnsw);
        assert_quant(&x->quant, &y->quant);
        assert_int_equal(x->multivector, y->multivector);
    }
    assert_int_equal(a->sparse_count, b->sparse_count);
    for (uint32_t i = 0; i < a->sparse_count; i++) {
        const struct qv_sparse_config *x = &a->sparse[i];
        const struct qv_sparse_config *y = &b->sparse[i];
        assert_str(x->name, y->name);
        assert_int_equal(x->number, y->number);
        assert_int_equal(x->has_index, y->has_index);
        ASSERT_U64(x->full_scan_threshold, y->full_scan_threshold);
        ASSERT_U64(x->on_disk, y->on_disk);
        assert_int_equal(x->has_datatype, y->has_datatype);
        assert_int_equal(x->datatype, y->datatype);
        assert_int_equal(x->modifier_idf, y->modifier_idf);
        assert_int_equal(x->has_modifier, y->has_modifier);
    }
}

static void assert_config(const struct qv_collection_config *a,
                          const struct qv_collection_config *b)
{
    assert_vectors(a, b);
    assert_true(qv_placement_config_equal(&a->placement, &b->placement));
    assert_int_equal(a->shard_number, b->shard_number);
    assert_int_equal(a->has_sharding_custom, b->has_sharding_custom);
    assert_int_equal(a->replication_factor, b->replication_factor);
    assert_int_equal(a->write_consistency_factor, b->write_consistency_factor);
    assert_int_equal(a->on_disk_payload, b->on_disk_payload);
    assert_hnsw(&a->hnsw, &b->hnsw);
    assert_quant(&a->quant, &b->quant);
    ASSERT_U64(a->optimizer.deleted_threshold, b->optimizer.deleted_threshold);
    ASSERT_U64(a->optimizer.vacuum_min_vector_number, b->optimizer.vacuum_min_vector_number);
    ASSERT_U64(a->optimizer.default_segment_number, b->optimizer.default_segment_number);
    ASSERT_U64(a->optimizer.max_segment_size, b->optimizer.max_segment_size);
    ASSERT_U64(a->optimizer.memmap_threshold, b->optimizer.memmap_threshold);
    ASSERT_U64(a->optimizer.indexing_threshold, b->optimizer.indexing_threshold);
    ASSERT_U64(a->optimizer.flush_interval_sec, b->optimizer.flush_interval_sec);
    ASSERT_U64(a->optimizer.max_optimization_threads, b->optimizer.max_optimization_threads);
    ASSERT_U64(a->wal.wal_capacity_mb, b->wal.wal_capacity_mb);
    ASSERT_U64(a->wal.wal_segments_ahead, b->wal.wal_segments_ahead);
    ASSERT_U64(a->wal.wal_retain_closed, b->wal.wal_retain_closed);
    assert_doc(a->strict_mode, b->strict_mode);
    assert_doc(a->metadata, b->metadata);
    assert_int_equal(a->next_number, b->next_number);
    assert_int_equal(a->payload_index_count, b->payload_index_count);
    for (uint32_t i = 0; i < a->payload_index_count; i++) {
        assert_str(a->payload_indexes[i].field, b->payload_indexes[i].field);
        assert_str(a->payload_indexes[i].type, b->payload_indexes[i].type);
        assert_int_equal(a->payload_indexes[i].number, b->payload_indexes[i].number);
        assert_doc(a->payload_indexes[i].params, b->payload_indexes[i].params);
    }
}

static void test_stored_form_round_trips(void **state)
{
    (void)state;
    struct qv_buf b;
    uint32_t accepted = 0;
    qv_rng_init(&rng, 9);
    printf("seed 9\n");
    qv_buf_init(&b, 0);
    qv_arena_init(&arena, 16 << 20);
    for (int i = 0; i < 3000; i++) {
        qv_arena_reset(&arena);
        struct qv_collection_config back;
        uint64_t generation = qv_rng_u64(&rng);
        uint64_t generation_back;
        struct qv_collection_config c = any_config();
        if (qv_config_check(&c, &msg) != 0)
            continue;
        accepted++;
        qv_buf_clear(&b);
        qv_json_config_write(&b, &c, generation);
        int err = qv_json_config_read((struct qv_bytes){b.data, b.len}, &arena, &back,
                                      &generation_back, &msg);
        if (err != 0)
            fail_msg("%.*s: %s", (int)b.len, (char *)b.data, msg.text);
        assert_true(generation == generation_back);
        assert_config(&c, &back);
        const struct qv_collection_config *copy = qv_config_copy(&arena, &back);
        if (back.placement.range_count > 0) /* the copy does not lean on it */
            memset((void *)(uintptr_t)back.placement.ranges, 0x5A,
                   back.placement.range_count * sizeof *back.placement.ranges);
        assert_config(&c, copy);
    }
    printf("%u configurations\n", accepted);
    assert_true(accepted > 1000);
    qv_arena_close(&arena);
    qv_buf_close(&b);
}

/* The metadata file of the first release, as it is: every later one must read it as the same. */
static void test_stored_form_stays_readable(void **state)
{
    (void)state;
    static const char golden[] =
        "{\"generation\":3,\"vectors\":{\"a\":{\"size\":4,\"distance\":\"Dot\",\"hnsw_config\":"
        "{\"m\":8},\"quantization_config\":{\"scalar\":{\"type\":\"int8\",\"quantile\":0.99,"
        "\"always_ram\":true}},\"on_disk\":true,\"datatype\":\"float16\",\"number\":0},"
        "\"b\":{\"size\":8,\"distance\":\"Cosine\",\"multivector_config\":{\"comparator\":"
        "\"max_sim\"},\"number\":4}},\"shard_number\":2,\"replication_factor\":3,"
        "\"write_consistency_factor\":2,\"on_disk_payload\":false,\"sparse_vectors\":{\"s\":{"
        "\"index\":{\"full_scan_threshold\":9,\"on_disk\":false,\"datatype\":\"uint8\"},"
        "\"modifier\":\"idf\",\"number\":2}},\"hnsw_config\":{\"ef_construct\":200,"
        "\"on_disk\":false},\"optimizers_config\":{\"deleted_threshold\":0.5,"
        "\"indexing_threshold\":10},\"wal_config\":{\"wal_capacity_mb\":64},"
        "\"quantization_config\":{\"binary\":{\"encoding\":\"two_bits\",\"query_encoding\":"
        "\"scalar8bits\"}},\"strict_mode_config\":{\"enabled\":false},\"metadata\":{\"k\":[1,2.5]},"
        "\"payload_indexes\":[{\"field_name\":\"a.b\",\"field_schema\":\"keyword\",\"number\":5},"
        "{\"field_name\":\"t\",\"field_schema\":{\"type\":\"text\",\"lowercase\":true},"
        "\"number\":6}],\"next_number\":7}";
    struct qv_collection_config c;
    struct qv_buf b;
    uint64_t generation;
    qv_buf_init(&b, 0);
    qv_arena_init(&arena, 1 << 20);
    int err = qv_json_config_read(bytes(golden), &arena, &c, &generation, &msg);
    if (err != 0)
        fail_msg("%s", msg.text);
    assert_int_equal(generation, 3);
    assert_int_equal(c.vectors[1].number, 4);
    assert_int_equal(c.payload_index_count, 2);
    qv_json_config_write(&b, &c, generation);
    qv_buf_u8(&b, 0);
    assert_string_equal((char *)b.data, golden);
    qv_buf_close(&b);
    qv_arena_close(&arena);
}

/* As protobuf's maps have it. */
static void test_last_of_equal_names_counts(void **state)
{
    (void)state;
    struct qv_config_diff d;
    qv_arena_init(&arena, 1 << 20);
    struct qv_collection_config c = create_ok(
        "{\"vectors\":{\"a\":{\"size\":1,\"distance\":\"Dot\",\"on_disk\":true},\"b\":{\"size\":2,"
        "\"distance\":\"Dot\"},\"a\":{\"size\":3,\"distance\":\"Cosine\"}},"
        "\"sparse_vectors\":{\"s\":{\"modifier\":\"idf\"},\"s\":{}}}");
    assert_int_equal(c.vector_count, 2);
    assert_true(c.vectors[0].size == 3 && !c.vectors[0].on_disk.has && c.vectors[1].size == 2);
    assert_true(c.vectors[0].number == 0 && c.vectors[1].number == 1);
    assert_true(c.sparse_count == 1 && !c.sparse[0].has_modifier);
    int err = qv_json_read_update_collection(
        bytes(
            "{\"vectors\":{\"a\":{\"on_disk\":true},\"b\":{},\"a\":{\"hnsw_config\":{\"m\":8}}}}"),
        &arena, &d, &msg);
    assert_int_equal(err, 0);
    assert_int_equal(d.vector_count, 2);
    assert_true(d.vectors[0].has_hnsw && !d.vectors[0].on_disk.has);
    qv_arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_with_everything),
        cmocka_unit_test(test_last_of_equal_names_counts),
        cmocka_unit_test(test_field_index),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_placements),
        cmocka_unit_test(test_stored_form_round_trips),
        cmocka_unit_test(test_stored_form_stays_readable),
    };
    return RUN_SUITE(tests);
}
