/* Strict mode: each bound, just kept and just broken, by requests as they are decoded. */
#include "suite.h"

#include "base/rng.h"
#include "core/strict.h"
#include "wire/json_request.h"

#include <stdio.h>
#include <stdlib.h>

enum op { READ, SCROLL, COUNT, FACET, UPSERT, VECTORS, SET, DELETE, INDEX, CREATE };

static struct qv_bytes bytes_of(const char *text)
{
    return (struct qv_bytes){(const uint8_t *)text, strlen(text)};
}

/* The config with this strict mode, one vector "v" of 2, a sparse "s", a multivector "m". */
static const struct qv_collection_config *
config_of(struct qv_arena *a, const char *strict, const char *hnsw, int *err, struct qv_errmsg *msg)
{
    static const struct qv_payload_index indexes[] = {
        {.field = {"int", 3}, .type = {"integer", 7}},
        {.field = {"word", 4}, .type = {"keyword", 7}},
        {.field = {"list[].x", 8}, .type = {"float", 5}},
        {.field = {"text", 4}, .type = {"text", 4}},
    };
    char body[800];
    snprintf(body, sizeof body,
             "{\"vectors\": {\"v\": {\"size\": 2, \"distance\": \"Dot\"%s}, \"m\": {\"size\": 2,"
             " \"distance\": \"Dot\", \"multivector_config\": {\"comparator\": \"max_sim\"}}},"
             " \"sparse_vectors\": {\"s\": {}}, \"strict_mode_config\": %s}",
             hnsw, strict);
    struct qv_collection_config c;
    char *kept = qv_arena_strndup(a, body, strlen(body));
    *err = qv_json_read_create_collection(bytes_of(kept), a, &c, msg);
    if (*err != 0)
        return NULL;
    c.payload_indexes = indexes;
    c.payload_index_count = sizeof indexes / sizeof indexes[0];
    return qv_config_copy(a, &c);
}

static int check(struct qv_arena *a, const struct qv_collection_config *c, enum op op,
                 const char *text, struct qv_errmsg *msg)
{
    static const enum qv_write_type types[] = {[UPSERT] = QV_WRITE_UPSERT,
                                               [VECTORS] = QV_WRITE_UPDATE_VECTORS,
                                               [SET] = QV_WRITE_SET_PAYLOAD,
                                               [DELETE] = QV_WRITE_DELETE};
    const struct qv_strict_usage usage = {
        .points = 100, .vector_bytes = 1u << 20, .payload_bytes = 3u << 19, .memory_percent = 40};
    struct qv_query_req query;
    struct qv_scroll_req scroll;
    struct qv_count_req count;
    struct qv_facet_req facet;
    struct qv_write_op write;
    struct qv_write_req req = {.ops = &write, .op_count = 1};
    int err;
    switch (op) {
    case READ:
        err = qv_json_read_query(strstr(text, "searches") ? QV_JSON_QUERY_BATCH : QV_JSON_QUERY,
                                 bytes_of(text), a, &query, msg);
        return err != 0 ? err : qv_strict_queries(c, &query, msg);
    case SCROLL:
        err = qv_json_read_scroll(bytes_of(text), a, &scroll, msg);
        return err != 0 ? err : qv_strict_scroll(c, &scroll, msg);
    case COUNT:
        err = qv_json_read_count(bytes_of(text), a, &count, msg);
        return err != 0 ? err : qv_strict_count(c, &count, msg);
    case FACET:
        err = qv_json_read_facet(bytes_of(text), a, &facet, msg);
        return err != 0 ? err : qv_strict_facet(c, &facet, msg);
    case INDEX:
        return qv_strict_index(c, qv_str_of(text), &usage, msg);
    case CREATE:
        return 0;
    default:
        err = qv_json_read_write(types[op], bytes_of(text), a, &write, msg);
        return err != 0 ? err : qv_strict_writes(c, &req, &usage, msg);
    }
}

#define ONE "{\"points\": [{\"id\": 1, \"vector\": {\"v\": [1, 2]}}]}"
#define TWO "{\"points\": [{\"id\": 1, \"vector\": {}}, {\"id\": 2, \"vector\": {}}]}"
#define IF(c) "{\"filter\": {\"must\": [" c "]}}"
#define UNINDEXED "{\"unindexed_filtering_retrieve\": false}"
#define NEEDS "Index required but not found for "

static const struct row {
    const char *strict; /* without "enabled": true */
    enum op op;
    const char *body;
    const char *want; /* NULL: it passes */
} rows[] = {
    {"{}", READ, "{\"query\": [1, 2], \"limit\": 1000, \"params\": {\"exact\": true}}", NULL},
    {"{\"max_query_limit\": 5}", READ, "{\"limit\": 5}", NULL},
    {"{\"max_query_limit\": 5}", READ, "{\"limit\": 6}",
     "Limit exceeded 6 > 5 for \"limit\". Help: Reduce the \"limit\" parameter to or below 5."},
    {"{\"max_query_limit\": 5}", SCROLL, "{}", "Limit exceeded 10 > 5 for \"limit\""},
    {"{\"max_query_limit\": 5}", FACET, "{\"key\": \"int\"}", "Limit exceeded 10 > 5"},
    {"{\"search_max_batchsize\": 1}", READ, "{\"searches\": [{}, {}]}",
     "Limit exceeded 2 > 1 for \"search batch size\""},
    {"{\"search_max_hnsw_ef\": 50}", READ, "{\"params\": {\"hnsw_ef\": 50}}", NULL},
    {"{\"search_max_hnsw_ef\": 50}", READ, "{\"params\": {\"hnsw_ef\": 51}}",
     "Limit exceeded 51 > 50 for \"hnsw_ef\""},
    {"{\"search_allow_exact\": false}", READ, "{\"params\": {\"exact\": true}}",
     "Exact search disabled!. Help: Set exact=false."},
    {"{\"search_allow_exact\": false}", READ, "{\"query\": [1, 2], \"using\": \"v\"}", NULL},
    {"{\"search_max_oversampling\": 2}", READ,
     "{\"params\": {\"quantization\": {\"oversampling\": 2.5}}}",
     "Limit exceeded 2.5 > 2 for \"oversampling\""},
    {UNINDEXED, READ, IF("{\"key\": \"int\", \"match\": {\"value\": 1}}"), NULL},
    {UNINDEXED, READ, IF("{\"key\": \"int\", \"match\": {\"value\": \"a\"}}"),
     NEEDS "\"int\" of one of the following types: [keyword]. Help: Create an index for this key or"
           " use a different filter."},
    {UNINDEXED, SCROLL,
     IF("{\"key\": \"no\", \"match\": {\"value\": \"550e8400-e29b-41d4-a716-446655440000\"}}"),
     NEEDS "\"no\" of one of the following types: [keyword, uuid]"},
    {UNINDEXED, COUNT, IF("{\"key\": \"no\", \"range\": {\"gt\": 1}}"),
     NEEDS "\"no\" of one of the following types: [float, integer]"},
    {UNINDEXED, FACET,
     "{\"key\": \"word\", \"filter\": {\"must_not\": [{\"key\": \"no\", \"match\": {\"any\": "
     "[1]}}]}}",
     NEEDS "\"no\" of one of the following types: [integer]"},
    {UNINDEXED, COUNT, IF("{\"key\": \"no\", \"match\": {\"any\": []}}"), NULL},
    {UNINDEXED, COUNT, IF("{\"is_empty\": {\"key\": \"no\"}}"),
     NEEDS "\"no\" of one of the following types: [bool, datetime, float, geo, integer, keyword, "
           "text, uuid]"},
    {UNINDEXED, COUNT, IF("{\"is_empty\": {\"key\": \"text\"}}"), NULL},
    {UNINDEXED, COUNT, IF("{\"has_id\": [1]}"), NULL},
    {UNINDEXED, COUNT, IF("{\"key\": \"text\", \"match\": {\"text\": \"a\"}}"), NULL},
    {UNINDEXED, COUNT, IF("{\"key\": \"text\", \"match\": {\"phrase\": \"a\"}}"),
     NEEDS "\"text\" of one of the following types: [text]"},
    {UNINDEXED, COUNT,
     IF("{\"nested\": {\"key\": \"list\", \"filter\": {\"must\": [{\"key\": \"x\", \"range\": "
        "{\"gt\": 1}}]}}}"),
     NULL},
    {UNINDEXED, COUNT,
     IF("{\"nested\": {\"key\": \"list\", \"filter\": {\"must\": [{\"key\": \"y\", \"range\": "
        "{\"gt\": 1}}]}}}"),
     NEEDS "\"list[].y\""},
    {UNINDEXED, DELETE, IF("{\"key\": \"no\", \"match\": {\"value\": 1}}"), NULL},
    {"{\"unindexed_filtering_update\": false}", DELETE,
     IF("{\"key\": \"no\", \"match\": {\"value\": 1}}"), NEEDS "\"no\""},
    {"{\"unindexed_filtering_update\": false}", UPSERT,
     "{\"points\": [], \"update_filter\": {\"must\": [{\"key\": \"no\", \"match\": {\"value\": "
     "true}}]}}",
     NEEDS "\"no\" of one of the following types: [bool]"},
    {"{\"filter_max_conditions\": 2}", COUNT,
     "{\"filter\": {\"must\": [{\"has_id\": [1]}, {\"must\": [{\"has_id\": [1]}, {\"has_id\": "
     "[2]}]}]}}",
     "Filter condition limit reached (3 > 2)"},
    {"{\"condition_max_size\": 2}", COUNT, IF("{\"has_id\": [1, 2, 3]}"),
     "Condition size limit reached (3 > 2)"},
    {"{\"condition_max_size\": 2}", COUNT, IF("{\"key\": \"a\", \"match\": {\"any\": [1, 2]}}"),
     NULL},
    {"{\"upsert_max_batchsize\": 1}", UPSERT, ONE, NULL},
    {"{\"upsert_max_batchsize\": 1}", UPSERT, TWO, "Limit exceeded 2 > 1 for \"upsert limit\""},
    {"{\"upsert_max_batchsize\": 1}", VECTORS, TWO, "Limit exceeded 2 > 1 for \"update limit\""},
    {"{\"max_points_count\": 100}", UPSERT, ONE, "Max points count limit of 100 reached!"},
    {"{\"max_points_count\": 101}", UPSERT, ONE, NULL},
    {"{\"max_points_count\": 1}", SET, "{\"payload\": {}, \"points\": [1]}", NULL},
    {"{\"max_collection_vector_size_bytes\": 1048576}", UPSERT, ONE,
     "Max vector storage size limit of 1MB reached!"},
    {"{\"max_collection_payload_size_bytes\": 1572864}", SET, "{\"payload\": {}, \"points\": [1]}",
     "Max payload storage size limit of 1.5MB reached!"},
    {"{\"max_collection_payload_size_bytes\": 1}", DELETE, "{\"points\": [1]}", NULL},
    {"{\"max_resident_memory_percent\": 40}", UPSERT, ONE,
     "Resident memory usage is at 40% of total memory, exceeding the configured limit of 40%"},
    {"{\"max_resident_memory_percent\": 41}", UPSERT, ONE, NULL},
    {"{\"max_resident_memory_percent\": 1}", DELETE, "{\"points\": [1]}", NULL},
    {"{\"multivector_config\": {\"m\": {\"max_vectors\": 1}}}", UPSERT,
     "{\"points\": [{\"id\": 1, \"vector\": {\"m\": [[1, 2], [3, 4]]}}]}",
     "Multivector 'm' has a limit of 1 vectors, but 2 were provided!"},
    {"{\"sparse_config\": {\"s\": {\"max_length\": 1}}}", VECTORS,
     "{\"points\": [{\"id\": 1, \"vector\": {\"s\": {\"indices\": [1, 2], \"values\": [1, 2]}}}]}",
     "Sparse vector 's' has a limit of 1 indices, but 2 were provided!"},
    {"{\"max_payload_index_count\": 4}", INDEX, "more",
     "Collection already has the maximum number of payload indices (4)"},
    {"{\"max_payload_index_count\": 4}", INDEX, "word", NULL},
    {"{\"max_payload_index_count\": 5}", INDEX, "more", NULL},
    {"{\"max_timeout\": 0}", CREATE, "", "strict_mode_config.max_timeout: value 0 invalid"},
    {"{\"max_timeout\": -1}", CREATE, "", "strict_mode_config.max_timeout: invalid type"},
    {"{\"max_resident_memory_percent\": 101}", CREATE, "",
     "strict_mode_config.max_resident_memory_percent: value 101 invalid, must be from 1 to 100"},
    {"{\"search_allow_exact\": 1}", CREATE, "", "strict_mode_config.search_allow_exact: invalid"},
    {"{\"sparse_config\": {\"s\": 1}}", CREATE, "", "strict_mode_config.sparse_config: invalid"},
    {"{\"max_query_limit\": null}", READ, "{}", NULL},
};

static void test_bounds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *r = &rows[i];
        struct qv_arena a;
        qv_arena_init(&a, (size_t)8 << 20);
        for (int on = 1; on >= 0; on--) { /* switched off it holds nothing back */
            struct qv_errmsg msg = {""};
            char strict[400];
            int err;
            snprintf(strict, sizeof strict, "{\"enabled\": %s%s%s", on ? "true" : "false",
                     r->strict[1] == '}' ? "" : ", ", r->strict + 1);
            const struct qv_collection_config *c = config_of(&a, strict, "", &err, &msg);
            if (c != NULL)
                err = check(&a, c, r->op, r->body, &msg);
            bool bad = r->want != NULL && (on || r->op == CREATE);
            if ((err != 0) != bad || (bad && strstr(msg.text, r->want) == NULL))
                fail_msg("%s %s: %d %s", strict, r->body, err, msg.text);
        }
        qv_arena_close(&a);
    }
}

static void test_a_vector_without_a_graph(void **state)
{
    (void)state;
    struct qv_arena a;
    struct qv_errmsg msg = {""};
    int err;
    qv_arena_init(&a, (size_t)8 << 20);
    const struct qv_collection_config *c =
        config_of(&a, "{\"enabled\": true, \"search_allow_exact\": false}",
                  ", \"hnsw_config\": {\"m\": 0}", &err, &msg);
    assert_non_null(c);
    err = check(&a, c, READ, "{\"query\": [1, 2], \"using\": \"v\"}", &msg);
    assert_int_equal(err, QV_EBADREQ);
    assert_non_null(strstr(msg.text, "Request is forbidden on 'v' because global vector indexing"));
    assert_int_equal(check(&a, c, SCROLL, "{}", &msg), 0);
    assert_int_equal(qv_strict_timeout(c, 5000, &msg), 0);
    qv_arena_close(&a);
}

/* No minute lets more through than its bound and what had gathered before. */
static void test_rates(void **state)
{
    (void)state;
    struct qv_rng rng;
    qv_rng_init(&rng, 77);
    for (int run = 0; run < 200; run++) {
        const uint64_t limit = 1 + qv_rng_below(&rng, 100);
        struct qv_rate rate = {0};
        uint64_t now = 1 + qv_rng_below(&rng, 1u << 30), begin = now, taken = 0;
        for (int i = 0; i < 300; i++) {
            uint64_t retry_s = 0;
            uint64_t cost = 1 + qv_rng_below(&rng, limit + limit / 4 + 1);
            int err = qv_rate_take(&rate, limit, cost, now, &retry_s);
            taken += err == 0 ? cost : 0;
            assert_true(err == 0 || err == QV_EBUSY);
            assert_true(cost <= limit || err != 0);
            if (err != 0)
                assert_int_equal(retry_s == 0, cost > limit);
            double allowed = (double)limit * (1 + (double)(now - begin) / 60e9);
            assert_true((double)taken <= allowed + 1e-6);
            if (err != 0 && retry_s != 0 && qv_rng_below(&rng, 2) == 0) {
                now += retry_s * 1000000000u; /* when it said so, there is enough */
                assert_int_equal(qv_rate_take(&rate, limit, cost, now, &retry_s), 0);
                taken += cost;
            }
            now += qv_rng_below(&rng, 2000000000u);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_a_vector_without_a_graph),
        cmocka_unit_test(test_rates),
    };
    return RUN_SUITE(tests);
}
