/* The two protocols say the same: what a gRPC request means, written down as JSON by plain code
 * here, means the same to the JSON half. Filters, payloads, configurations. */
#include "suite.h"

#include "pb_gen.h"
#include "proto/quiver_points.pb-c.h"
#include "wire/json_answer.h"
#include "wire/json_doc.h"
#include "wire/json_request.h"
#include "wire/json_write.h"
#include "wire/pb_answer.h"
#include "wire/pb_guard.h"
#include "wire/pb_parts.h"
#include "wire/pb_request.h"

#include <stdlib.h>

struct world {
    struct qv_arena arena;
    struct qv_buf body, json;
    struct qv_errmsg msg;
    struct qv_rng rng;
};

static int setup(void **state)
{
    static struct world w;
    const char *env = getenv("SEED");
    uint64_t seed = env != NULL ? strtoull(env, NULL, 0) : 20240607u;
    memset(&w, 0, sizeof w);
    printf("SEED=%llu\n", (unsigned long long)seed);
    qv_rng_init(&w.rng, seed);
    qv_arena_init(&w.arena, (size_t)64 << 20);
    qv_buf_init(&w.body, 0);
    qv_buf_init(&w.json, 0);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    qv_arena_close(&w->arena);
    qv_buf_close(&w->body);
    qv_buf_close(&w->json);
    return 0;
}

static struct qv_bytes bytes_of(const struct qv_buf *b)
{
    return (struct qv_bytes){b->data, b->len};
}

/* ---- filters as JSON ---- */

static void put_filter(struct qv_buf *b, const struct qv_filter *f);

static void put_match(struct qv_buf *b, const struct qv_match *m)
{
    if (m->type == QV_MATCH_STRING)
        qv_json_write_str(b, m->s);
    else if (m->type == QV_MATCH_INT)
        qv_json_write_i64(b, m->i);
    else
        qv_json_write_bool(b, m->b);
}

static void put_any(struct qv_buf *b, const char *word, const struct qv_cond *c)
{
    qv_buf_printf(b, ",\"match\":{\"%s\":[", word);
    for (uint32_t i = 0; i < c->u.any.count; i++) {
        qv_buf_str(b, i > 0 ? "," : "");
        put_match(b, &c->u.any.items[i]);
    }
    qv_buf_str(b, "]}");
}

static void put_range(struct qv_buf *b, const char *word, const struct qv_range *r, bool whole)
{
    const char *const names[] = {"lt", "gt", "lte", "gte"};
    const bool has[] = {r->has_lt, r->has_gt, r->has_lte, r->has_gte};
    const double values[] = {r->lt, r->gt, r->lte, r->gte};
    bool first = true;
    qv_buf_printf(b, ",\"%s\":{", word);
    for (int i = 0; i < 4; i++) {
        if (!has[i])
            continue;
        qv_json_write_key(b, &first, names[i]);
        if (whole)
            qv_json_write_u64(b, (uint64_t)values[i]);
        else
            qv_json_write_f64(b, values[i]);
    }
    qv_buf_str(b, "}");
}

static void put_ids(struct qv_buf *b, const struct qv_cond *c)
{
    qv_buf_str(b, "\"has_id\":[");
    for (uint32_t i = 0; i < c->u.has_id.count; i++) {
        char text[QV_ID_TEXT_MAX];
        bool quoted = c->u.has_id.ids[i].type == QV_ID_UUID;
        qv_id_format(&c->u.has_id.ids[i], text);
        qv_buf_printf(b, "%s%s%s%s", i > 0 ? "," : "", quoted ? "\"" : "", text,
                      quoted ? "\"" : "");
    }
    qv_buf_str(b, "]");
}

static void put_keyed(struct qv_buf *b, const struct qv_cond *c)
{
    qv_buf_str(b, "\"key\":");
    qv_json_write_str(b, c->key);
    switch (c->type) {
    case QV_COND_MATCH:
        qv_buf_str(b, ",\"match\":{\"value\":");
        put_match(b, &c->u.match);
        qv_buf_str(b, "}");
        break;
    case QV_COND_MATCH_ANY:
        put_any(b, "any", c);
        break;
    case QV_COND_MATCH_EXCEPT:
        put_any(b, "except", c);
        break;
    case QV_COND_RANGE:
        put_range(b, "range", &c->u.range, false);
        break;
    default:
        put_range(b, "values_count", &c->u.range, true);
        break;
    }
}

static void put_cond(struct qv_buf *b, const struct qv_cond *c)
{
    if (c->type == QV_COND_FILTER) {
        put_filter(b, c->u.filter);
        return;
    }
    qv_buf_str(b, "{");
    switch (c->type) {
    case QV_COND_HAS_ID:
        put_ids(b, c);
        break;
    case QV_COND_HAS_VECTOR:
        qv_buf_str(b, "\"has_vector\":");
        qv_json_write_str(b, c->u.vector);
        break;
    case QV_COND_NESTED:
        qv_buf_str(b, "\"nested\":{\"key\":");
        qv_json_write_str(b, c->key);
        qv_buf_str(b, ",\"filter\":");
        put_filter(b, c->u.filter);
        qv_buf_str(b, "}");
        break;
    case QV_COND_IS_EMPTY:
    case QV_COND_IS_NULL:
        qv_buf_printf(b, "\"%s\":{\"key\":", c->type == QV_COND_IS_NULL ? "is_null" : "is_empty");
        qv_json_write_str(b, c->key);
        qv_buf_str(b, "}");
        break;
    default:
        put_keyed(b, c);
    }
    qv_buf_str(b, "}");
}

static void put_list(struct qv_buf *b, const struct qv_cond *c, uint32_t n)
{
    qv_buf_str(b, "[");
    for (uint32_t i = 0; i < n; i++) {
        qv_buf_str(b, i > 0 ? "," : "");
        put_cond(b, &c[i]);
    }
    qv_buf_str(b, "]");
}

/* All clauses, empty ones too: {} alone would not be a filter everywhere. */
static void put_filter(struct qv_buf *b, const struct qv_filter *f)
{
    qv_buf_str(b, "{\"must\":");
    put_list(b, f->must, f->must_count);
    qv_buf_str(b, ",\"should\":");
    put_list(b, f->should, f->should_count);
    qv_buf_str(b, ",\"must_not\":");
    put_list(b, f->must_not, f->must_not_count);
    if (f->has_min_should) {
        qv_buf_str(b, ",\"min_should\":{\"conditions\":");
        put_list(b, f->min_should, f->min_should_count);
        qv_buf_printf(b, ",\"min_count\":%u}", f->min_should_min);
    }
    qv_buf_str(b, "}");
}

static void filters_mean_the_same(void **state)
{
    struct world *w = *state;
    struct qv_buf again;
    unsigned compared = 0;
    qv_buf_init(&again, 0);
    for (int i = 0; i < 60000 && compared < 3000; i++) {
        struct pb_gen g = {.rng = &w->rng,
                           .depth_max = 2 + (unsigned)qv_rng_below(&w->rng, 5),
                           .repeat_max = 3,
                           .presence = 10 + (unsigned)qv_rng_below(&w->rng, 40)};
        struct qv_pb_request req;
        const struct qv_filter *f;
        qv_arena_reset(&w->arena);
        qv_buf_clear(&w->body);
        qv_buf_clear(&w->json);
        qv_buf_clear(&again);
        qv_buf_append(&w->body,
                      "\x0A\x01"
                      "c",
                      3);
        pb_gen_message(&g, &qv_pb__count_points__descriptor, &w->body);
        if (qv_pb_request_decode(QV_PB_COUNT, bytes_of(&w->body), &w->arena, &req, NULL) != 0 ||
            req.u.count.filter == NULL)
            continue;
        put_filter(&w->json, req.u.count.filter);
        int err = qv_json_read_filter(bytes_of(&w->json), &w->arena, &f, &w->msg);
        if (err != 0)
            print_error("%s\n%.*s\n", w->msg.text, (int)w->json.len, (char *)w->json.data);
        assert_int_equal(err, 0);
        put_filter(&again, f);
        assert_int_equal(w->json.len, again.len);
        assert_memory_equal(w->json.data, again.data, again.len);
        compared++;
    }
    printf("compared %u\n", compared);
    assert_true(compared > 500);
    qv_buf_close(&again);
}

/* ---- payloads ---- */

static void payloads_mean_the_same(void **state)
{
    struct world *w = *state;
    struct qv_pb_ctx c = {.arena = &w->arena, .msg = &w->msg};
    unsigned compared = 0;
    qv_buf_init(&c.scratch, 1u << 24);
    for (int i = 0; i < 3000; i++) {
        struct pb_gen g = {.rng = &w->rng, .depth_max = 8, .repeat_max = 5, .presence = 80};
        ProtobufCMessage *m;
        struct qv_doc first, again;
        qv_arena_reset(&w->arena);
        qv_buf_clear(&w->body);
        qv_buf_clear(&w->json);
        pb_gen_message(&g, &qv_pb__struct__descriptor, &w->body);
        assert_int_equal(
            qv_pb_unpack(&qv_pb__struct__descriptor, bytes_of(&w->body), &w->arena, &m, &w->msg),
            0);
        const QvPb__Struct *s = (const QvPb__Struct *)m;
        assert_int_equal(
            qv_pb_map_doc(&c, (ProtobufCMessage *const *)s->fields, s->n_fields, &first), 0);
        if (first.p == NULL)
            continue;
        qv_json_write_doc(&w->json, first);
        assert_int_equal(qv_json_read_doc(bytes_of(&w->json), &w->arena, &again, &w->msg), 0);
        if (!qv_doc_equal(first, again))
            print_error("%.*s\n", (int)w->json.len, (char *)w->json.data);
        assert_true(qv_doc_equal(first, again));
        compared++;
    }
    assert_true(compared > 1000);
    qv_buf_close(&c.scratch);
}

/* ---- configurations: through the metadata file's form and back, the gRPC echo is the same ---- */

static void echo(struct qv_buf *out, const struct qv_collection_config *config)
{
    struct qv_collection_info info = {.config = config};
    qv_buf_clear(out);
    qv_pb_answer_collection(out, &info, 1);
    assert_false(out->failed);
}

static void configurations_mean_the_same(void **state)
{
    struct world *w = *state;
    struct qv_buf want, got;
    unsigned compared = 0;
    qv_buf_init(&want, 0);
    qv_buf_init(&got, 0);
    for (int i = 0; i < 20000; i++) {
        struct pb_gen g = {.rng = &w->rng,
                           .depth_max = 4,
                           .repeat_max = 2,
                           .presence = 5 + (unsigned)qv_rng_below(&w->rng, 50)};
        struct qv_pb_request req;
        struct qv_collection_config config;
        uint64_t generation;
        qv_arena_reset(&w->arena);
        qv_buf_clear(&w->body);
        qv_buf_clear(&w->json);
        pb_gen_message(&g, &qv_pb__create_collection__descriptor, &w->body);
        if (qv_pb_request_decode(QV_PB_COLLECTION_CREATE, bytes_of(&w->body), &w->arena, &req,
                                 NULL) != 0)
            continue;
        qv_json_config_write(&w->json, req.u.config, 7);
        int err = qv_json_config_read(bytes_of(&w->json), &w->arena, &config, &generation, &w->msg);
        if (err != 0)
            print_error("%s\n%.*s\n", w->msg.text, (int)w->json.len, (char *)w->json.data);
        assert_int_equal(err, 0);
        assert_int_equal(generation, 7);
        assert_int_equal(config.next_number, req.u.config->next_number);
        echo(&want, req.u.config);
        echo(&got, &config);
        if (want.len != got.len || memcmp(want.data, got.data, got.len) != 0)
            print_error("%.*s\n", (int)w->json.len, (char *)w->json.data);
        assert_int_equal(want.len, got.len);
        assert_memory_equal(want.data, got.data, got.len);
        compared++;
    }
    printf("compared %u\n", compared);
    assert_true(compared > 100);
    qv_buf_close(&want);
    qv_buf_close(&got);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(filters_mean_the_same),
        T(payloads_mean_the_same),
        T(configurations_mean_the_same),
    };
    return RUN_SUITE(tests);
}
