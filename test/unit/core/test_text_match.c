/* Text conditions with text indexes: 10,000 random (options, texts, query) against the naive
 * matcher, every type of payload, which index is a condition's, bounds, and options refused. */
#include "suite.h"

#include "base/rng.h"
#include "core/api.h"
#include "core/config.h"
#include "core/text_index.h"
#include "doc_gen.h"
#include "naive_text.h"
#include "text/stop_words.h"

#include <stdio.h>
#include <stdlib.h>

#define SEED 31337u
#define ROUNDS 10000

static struct qv_arena arena;
static struct qv_errmsg msg;

static int set_up(void **state)
{
    (void)state;
    qv_arena_init(&arena, (size_t)32 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    qv_arena_close(&arena);
    return 0;
}

static struct qv_filter *filter_on(const char *key, enum qv_cond_type type, struct qv_str text)
{
    struct qv_filter *f = QV_ARENA_NEW(&arena, struct qv_filter);
    struct qv_cond *c = QV_ARENA_NEW(&arena, struct qv_cond);
    *c = (struct qv_cond){.type = type, .key = qv_str_of(key), .u.text = text};
    assert_int_equal(qv_path_parse(&arena, c->key, &c->path, &msg), 0);
    f->must = c;
    f->must_count = 1;
    assert_int_equal(qv_filter_seal(f, &arena, &msg), 0);
    return f;
}

static struct qv_doc doc_of(const char *json)
{
    struct qv_buf b = doc_gen_new(json);
    const struct qv_doc d = {qv_arena_dup(&arena, b.data, b.len), b.len};
    qv_buf_close(&b);
    return d;
}

/* A collection with one text index. */
static struct qv_collection_config config_of(const char *field, struct qv_doc params)
{
    struct qv_payload_index *x = QV_ARENA_NEW(&arena, struct qv_payload_index);
    *x = (struct qv_payload_index){
        .field = qv_str_of(field), .type = qv_str_of("text"), .params = params};
    return (struct qv_collection_config){.payload_indexes = x, .payload_index_count = 1};
}

static bool bound_says(const struct qv_filter *f, const struct qv_collection_config *config,
                       struct qv_doc payload)
{
    struct qv_filter_binding *b;
    if (qv_filter_bind(f, config, NULL, &b, &msg) != 0)
        fail_msg("%s", msg.text);
    struct qv_filter_point p = {.id = qv_id_num(1), .payload = payload, .binding = b};
    const bool first = qv_filter_match(f, &p);
    assert_int_equal(qv_filter_match(f, &p), first); /* nothing stays from one to the next */
    qv_filter_unbind(&b);
    assert_null(b);
    return first;
}

/* ---- random ---- */

static const char *const pieces[] = {
    "fox",     "Foxes",  "FOXING",  "quick",  "the",
    "The",     "of",     "été",     "ÉTÉ",    "e\xCC\x81te\xCC\x81",
    "über",    "straße", "STRASSE", "łódź",   "ﬁsh",
    "ΟΔΟΣ",    "οδος",   "東京",    "東京都", "京",
    "すし",    "ไทย",    "น้ำ",      "x1",     "2024",
    "a",       "Привет", "мира",    "ｆｏｘ", "ø",
    "jumping", "jumps",  "new",     "york"};
static const char *const between[] = {
    " ", " ", " ", "  ", ", ", ".", "-", "\n", "", "\xE3\x80\x80", "_", "'", "\xCC\x81"};

static struct qv_str random_text(struct qv_rng *rng, uint64_t most)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    for (uint64_t n = qv_rng_below(rng, most + 1); n > 0; n--) {
        qv_buf_str(&b, pieces[qv_rng_below(rng, sizeof pieces / sizeof *pieces)]);
        qv_buf_str(&b, between[qv_rng_below(rng, sizeof between / sizeof *between)]);
    }
    const struct qv_str s = {b.len > 0 ? qv_arena_strndup(&arena, (const char *)b.data, b.len) : "",
                             b.len};
    qv_buf_close(&b);
    return s;
}

static struct qv_doc random_options(struct qv_rng *rng)
{
    static const char *const tokenizers[] = {"word", "whitespace", "prefix", "multilingual"};
    static const char *const stops[] = {"", "", ",\"stopwords\":\"english\"",
                                        (",\"stopwords\":{\"languages\":[\"en\",\"German\"],"
                                         "\"custom\":[\"Fox\",\"\xC3\x89t\xC3\xA9\",\"京\"]}"),
                                        ",\"stopwords\":{\"custom\":[\"new\"]}"};
    static const char *const stemmers[] = {
        "", "", ",\"stemmer\":{\"type\":\"snowball\",\"language\":\"english\"}",
        ",\"stemmer\":{\"type\":\"snowball\",\"language\":\"ru\"}",
        ",\"stemmer\":{\"type\":\"none\"}"};
    char json[400];
    int n =
        snprintf(json, sizeof json,
                 "{\"type\":\"text\",\"tokenizer\":\"%s\",\"lowercase\":%s,\"ascii_folding\":%s,"
                 "\"phrase_matching\":%s%s%s",
                 tokenizers[qv_rng_below(rng, 4)], qv_rng_below(rng, 4) ? "true" : "false",
                 qv_rng_below(rng, 2) ? "true" : "false", qv_rng_below(rng, 5) ? "true" : "false",
                 stops[qv_rng_below(rng, 5)], stemmers[qv_rng_below(rng, 5)]);
    if (qv_rng_below(rng, 3) == 0)
        n += snprintf(json + n, sizeof json - (size_t)n, ",\"min_token_len\":%d",
                      (int)qv_rng_below(rng, 4));
    if (qv_rng_below(rng, 3) == 0)
        n += snprintf(json + n, sizeof json - (size_t)n, ",\"max_token_len\":%d",
                      3 + (int)qv_rng_below(rng, 4));
    snprintf(json + n, sizeof json - (size_t)n, "}");
    return doc_of(json);
}

/* Part of a text, so that phrases are met. */
static struct qv_str piece_of(struct qv_rng *rng, struct qv_str s)
{
    size_t from = (size_t)qv_rng_below(rng, s.n + 1);
    size_t to = from + (size_t)qv_rng_below(rng, s.n - from + 1);
    while (from < s.n && ((unsigned char)s.p[from] & 0xC0) == 0x80)
        from++;
    while (to < s.n && ((unsigned char)s.p[to] & 0xC0) == 0x80)
        to++;
    return (struct qv_str){s.p + from, to > from ? to - from : 0};
}

/* {"t": ..}: a string, or an array of strings with other things between. */
static struct qv_doc payload_of(struct qv_rng *rng, const struct qv_str *values, size_t count)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    const bool array = count != 1 || qv_rng_below(rng, 2) == 0;
    size_t object = qv_doc_begin_object(&b);
    qv_doc_put_key(&b, "t", 1);
    size_t mark = array ? qv_doc_begin_array(&b) : 0;
    for (size_t i = 0; i < count; i++)
        qv_doc_put_str(&b, values[i].p, values[i].n);
    if (array) {
        qv_doc_put_int(&b, 5);
        qv_doc_put_null(&b);
        qv_doc_end_array(&b, mark, (uint32_t)count + 2);
    }
    qv_doc_end_object(&b, object, 1);
    const struct qv_doc d = {qv_arena_dup(&arena, b.data, b.len), b.len};
    qv_buf_close(&b);
    return d;
}

static void test_random(void **state)
{
    (void)state;
    struct qv_rng rng;
    int by_type[3][2] = {{0}};
    qv_rng_init(&rng, SEED);
    for (int i = 0; i < ROUNDS; i++) {
        qv_arena_reset(&arena);
        struct qv_text_options options;
        struct qv_str values[3];
        const size_t count = (size_t)qv_rng_below(&rng, 4);
        const enum qv_cond_type type =
            QV_COND_MATCH_TEXT + (enum qv_cond_type)qv_rng_below(&rng, 3);
        for (size_t v = 0; v < count; v++)
            values[v] = random_text(&rng, 8);
        const struct qv_str query = count > 0 && qv_rng_below(&rng, 3) > 0
                                        ? piece_of(&rng, values[qv_rng_below(&rng, count)])
                                        : random_text(&rng, 3);
        const struct qv_doc params = random_options(&rng);
        const struct qv_collection_config config = config_of("t", params);
        assert_int_equal(qv_text_index_options(params, &arena, &options, &msg), 0);
        const bool want = naive_text(&options, type, query, values, count);
        const bool got =
            bound_says(filter_on("t", type, query), &config, payload_of(&rng, values, count));
        if (got != want)
            fail_msg("round %d: type %d, '%.*s' in '%.*s'.. (%zu), tokenizer %d: %d, want %d", i,
                     (int)type, (int)query.n, query.p, count ? (int)values[0].n : 0,
                     count ? values[0].p : "", count, (int)options.tokenizer, got, want);
        by_type[type - QV_COND_MATCH_TEXT][want]++;
    }
    printf("seed %u: text %d of %d, any %d of %d, phrase %d of %d\n", SEED, by_type[0][1],
           by_type[0][0] + by_type[0][1], by_type[1][1], by_type[1][0] + by_type[1][1],
           by_type[2][1], by_type[2][0] + by_type[2][1]);
    for (int t = 0; t < 3; t++)
        assert_true(by_type[t][0] > 150 && by_type[t][1] > 150);
}

/* ---- examples ---- */

static bool finds(const char *params, enum qv_cond_type type, const char *text, const char *query)
{
    char json[600];
    snprintf(json, sizeof json, "{\"t\":%s}", text);
    const struct qv_collection_config config = config_of("t", doc_of(params));
    return bound_says(filter_on("t", type, qv_str_of(query)), &config, doc_of(json));
}

static void test_examples(void **state)
{
    (void)state;
    const enum qv_cond_type all = QV_COND_MATCH_TEXT;
    const enum qv_cond_type any = QV_COND_MATCH_TEXT_ANY;
    const enum qv_cond_type phrase = QV_COND_MATCH_PHRASE;
    const char *stem = "{\"stopwords\":\"english\",\"stemmer\":{\"type\":\"snowball\",\"language\":"
                       "\"english\"}}";
    const char *order = "{\"phrase_matching\":true}";
    const char *many = "{\"tokenizer\":\"multilingual\",\"phrase_matching\":true}";
    assert_true(finds("{}", all, "\"The quick, brown fox\"", "FOX quick"));
    assert_false(finds("{}", all, "\"The quick, brown fox\"", "fox quic"));
    assert_true(finds("{}", any, "\"The quick, brown fox\"", "dog fox"));
    assert_true(finds(stem, all, "\"foxes were jumping\"", "the fox jumps"));
    assert_false(finds(stem, all, "\"the\"", "the")); /* nothing is asked for */
    assert_false(finds("{}", all, "\"x\"", ""));
    assert_false(finds("{}", any, "\"x\"", " .,"));
    assert_true(finds(order, phrase, "\"new york new jersey\"", "new jersey"));
    assert_true(finds(order, phrase, "\"a a a b\"", "a a b"));
    assert_false(finds(order, phrase, "\"york new\"", "new york"));
    assert_false(finds(order, phrase, "[\"new\", \"york\"]", "new york")); /* in one string */
    assert_false(finds("{}", phrase, "\"new york\"", "new york"));         /* no positions */
    assert_true(finds("{}", all, "[\"new\", 5, \"york\"]", "york new"));   /* over all strings */
    assert_false(finds("{}", all, "[[\"new\"]]", "new"));
    assert_true(finds("{\"tokenizer\":\"prefix\"}", all, "\"Hello world\"", "wor he"));
    assert_false(finds("{\"tokenizer\":\"prefix\"}", all, "\"Hello world\"", "ello"));
    assert_true(finds("{\"tokenizer\":\"whitespace\"}", all, "\"C++ and c#\"", "C++"));
    assert_false(finds("{\"tokenizer\":\"whitespace\"}", all, "\"C++, c#\"", "C++"));
    assert_true(finds(many, all, "\"東京都に住む\"", "東京 住む"));
    assert_false(finds(many, all, "\"東京都に住む\"", "京東"));
    assert_true(finds(many, phrase, "\"東京都に住む\"", "京都に"));
    assert_true(finds(many, all, "\"Über Été\"", "ete uber"));
    assert_true(finds("{\"ascii_folding\":true}", all,
                      "\"Stra\xC3\x9F"
                      "e \xC5\x81\xC3\xB3"
                      "d\xC5\xBA\"",
                      "STRASSE lodz"));
    static const char *const others[] = {"null", "5", "2.5", "true", "{\"t\":\"new\"}", "[]", "{}"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(finds("{}", all, others[i], "new"));
}

/* Below nested, keys are relative; an index is the one whose whole path is written the same. */
static void test_which_index(void **state)
{
    (void)state;
    const struct qv_doc payload = doc_of("{\"n\":[{\"x\":\"Red Coat\"}],\"t\":\"Red Coat\"}");
    const struct qv_doc none = {NULL, 0};
    struct qv_filter *inner = filter_on("x", QV_COND_MATCH_TEXT, qv_str_of("coat RED"));
    for (int all = 0; all < 2; all++) {
        struct qv_filter *outer = filter_on(all ? "n[]" : "n", QV_COND_MATCH_TEXT, qv_str_of(""));
        struct qv_cond *c = (struct qv_cond *)(uintptr_t)outer->must;
        c->type = QV_COND_NESTED;
        c->u.filter = inner;
        assert_int_equal(qv_filter_seal(outer, &arena, &msg), 0);
        struct qv_collection_config config = config_of("n[].x", none);
        assert_true(bound_says(outer, &config, payload));
        config = config_of("n.x", none);
        assert_false(bound_says(outer, &config, payload));
        config = config_of("x", none);
        assert_false(bound_says(outer, &config, payload));
    }
    struct qv_collection_config config = config_of("t", none);
    assert_true(
        bound_says(filter_on("t", QV_COND_MATCH_TEXT, qv_str_of("coat")), &config, payload));
    config = config_of("u", none);
    assert_false(
        bound_says(filter_on("t", QV_COND_MATCH_TEXT, qv_str_of("coat")), &config, payload));
    assert_true(
        bound_says(filter_on("t", QV_COND_MATCH_TEXT, qv_str_of("Coat")), &config, payload));
}

static void test_bounds(void **state)
{
    (void)state;
    struct qv_filter_binding *b;
    struct qv_buf text;
    const struct qv_collection_config config = config_of("t", (struct qv_doc){NULL, 0});
    qv_buf_init(&text, 0);
    for (unsigned i = 0; i < QV_TEXT_QUERY_TOKENS_MAX; i++)
        qv_buf_printf(&text, "w%u ", i % 700);
    const struct qv_str most = {qv_arena_strndup(&arena, (char *)text.data, text.len), text.len};
    qv_buf_str(&text, "more");
    const struct qv_str more = {qv_arena_strndup(&arena, (char *)text.data, text.len), text.len};
    qv_buf_close(&text);
    struct qv_collection_config order = config_of("t", doc_of("{\"phrase_matching\":true}"));
    struct qv_buf payload;
    qv_buf_init(&payload, 0);
    size_t mark = qv_doc_begin_object(&payload);
    qv_doc_put_key(&payload, "t", 1);
    qv_doc_put_str(&payload, more.p, more.n);
    qv_doc_end_object(&payload, mark, 1);
    const struct qv_doc d = {payload.data, payload.len};
    assert_true(bound_says(filter_on("t", QV_COND_MATCH_TEXT, most), &config, d));
    assert_true(bound_says(filter_on("t", QV_COND_MATCH_PHRASE, most), &order, d));
    assert_int_equal(
        qv_filter_bind(filter_on("t", QV_COND_MATCH_TEXT_ANY, more), &config, NULL, &b, &msg),
        QV_EINVAL);
    assert_null(b);
    assert_non_null(strstr(msg.text, "1024"));
    struct qv_collection_config bad = config_of("t", doc_of("{\"tokenizer\":\"x\"}"));
    assert_int_equal(qv_filter_bind(filter_on("t", QV_COND_MATCH_TEXT, most), &bad, NULL, &b, &msg),
                     QV_EINVAL);
    assert_null(b);
    qv_buf_close(&payload);
}

static int stop_at_third(void *ctx, struct qv_errmsg *m)
{
    int *asked = ctx;
    return ++*asked < 3 ? 0 : qv_fail(m, QV_ETIMEOUT, "late");
}

/* A long text is given up where the deadline passes, and everything after it at once. */
static void test_stop(void **state)
{
    (void)state;
    int asked = 0;
    const struct qv_stop stop = {.ask = stop_at_third, .ctx = &asked};
    const struct qv_collection_config config = config_of("t", (struct qv_doc){NULL, 0});
    struct qv_filter *f = filter_on("t", QV_COND_MATCH_TEXT, qv_str_of("absent"));
    struct qv_filter_binding *b;
    struct qv_buf d;
    qv_buf_init(&d, 0);
    size_t mark = qv_doc_begin_object(&d);
    qv_doc_put_key(&d, "t", 1);
    size_t array = qv_doc_begin_array(&d);
    for (int i = 0; i < 20000; i++)
        qv_doc_put_str(&d, "word", 4);
    qv_doc_end_array(&d, array, 20000);
    qv_doc_end_object(&d, mark, 1);
    const struct qv_doc payload = {d.data, d.len};
    assert_int_equal(qv_filter_bind(f, &config, &stop, &b, &msg), 0);
    const struct qv_filter_point p = {.id = qv_id_num(1), .payload = payload, .binding = b};
    assert_int_equal(qv_filter_stopped(b), 0);
    assert_false(qv_filter_match(f, &p));
    assert_int_equal(qv_filter_stopped(b), QV_ETIMEOUT);
    assert_string_equal(msg.text, "late");
    assert_false(qv_filter_match(f, &p));
    assert_int_equal(asked, 3);
    qv_filter_unbind(&b);
    assert_int_equal(qv_filter_stopped(NULL), 0);
    qv_buf_close(&d);
}

static void test_options_refused(void **state)
{
    (void)state;
    static const struct {
        const char *type, *params, *want; /* want NULL: it is fine */
    } rows[] = {
        {"text", "{}", NULL},
        {"text", "{\"tokenizer\":null,\"stopwords\":null,\"stemmer\":null}", NULL},
        {"text", "{\"stopwords\":{\"languages\":null,\"custom\":[]}}", NULL},
        {"text", "{\"tokenizer\":\"klingon\"}", "unknown tokenizer 'klingon'"},
        {"text", "{\"tokenizer\":5}", "field_schema.tokenizer: wrong type"},
        {"text", "{\"lowercase\":1}", "field_schema.lowercase: wrong type"},
        {"text", "{\"min_token_len\":-1}", "field_schema.min_token_len: less than 0"},
        {"text", "{\"min_token_len\":1.5}", "field_schema.min_token_len: wrong type"},
        {"text", "{\"min_token_len\":5,\"max_token_len\":4}", "less than min_token_len"},
        {"text", "{\"stopwords\":\"klingon\"}", "no list for language 'klingon'; there are danish"},
        {"text", "{\"stopwords\":\"arabic\"}", "no list for language 'arabic'"},
        {"text", "{\"stopwords\":{\"languages\":[\"english\",\"zz\"]}}",
         "no list for language 'zz'"},
        {"text", "{\"stopwords\":{\"languages\":\"english\"}}",
         "field_schema.languages: wrong type"},
        {"text", "{\"stopwords\":{\"custom\":[1]}}", "field_schema.stopwords.custom: not a text"},
        {"text", "{\"stopwords\":7}", "field_schema.stopwords: wrong type"},
        {"text", "{\"stemmer\":{\"type\":\"porter\"}}", "unknown stemmer 'porter'"},
        {"text", "{\"stemmer\":{\"type\":\"snowball\"}}", "language must be given"},
        {"text", "{\"stemmer\":{}}", "type and language must be given"},
        {"text", "{\"stemmer\":{\"type\":\"snowball\",\"language\":\"klingon\"}}",
         "no stemmer for language 'klingon'"},
        {"text", "{\"stemmer\":\"english\"}", "field_schema.stemmer: wrong type"},
        {"integer", "{\"lookup\":false,\"range\":false}", "can't be both disabled"},
        {"integer", "{\"lookup\":false}", NULL},
        {"float", "{\"lookup\":false,\"range\":false}", NULL},
        {"keyword", "{\"is_tenant\":\"yes\"}", "field_schema.is_tenant: wrong type"},
        {"geo", "{\"on_disk\":true}", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct qv_payload_index x = {.field = qv_str_of("t"),
                                           .type = qv_str_of(rows[i].type),
                                           .params = doc_of(rows[i].params)};
        const int err = qv_payload_index_check(&x, &msg);
        if ((err == 0) != (rows[i].want == NULL) ||
            (err != 0 && strstr(msg.text, rows[i].want) == NULL))
            fail_msg("%s: %d %s", rows[i].params, err, err != 0 ? msg.text : "");
    }
    const struct qv_payload_index bare = {.field = qv_str_of("t"), .type = qv_str_of("text")};
    assert_int_equal(qv_payload_index_check(&bare, &msg), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_stop),   TEST(test_examples), TEST(test_which_index),
        TEST(test_bounds), TEST(test_random),   TEST(test_options_refused),
    };
    return RUN_SUITE(tests);
}
