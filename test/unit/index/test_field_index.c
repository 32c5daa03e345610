/* Payload indexes against the naive evaluator (of texts by tokens: against the filter itself, which
 * has a naive one of its own): random payloads in slots that are described anew and forgotten,
 * every type of index, every condition on a key. What the index says for certain must hold, what it
 * excludes must not, and of each kind of condition it must decide most by itself. */
#include "suite.h"

#include "base/rng.h"
#include "doc_gen.h"
#include "index/field_index.h"
#include "naive_filter.h"

#include <stdio.h>
#include <stdlib.h>

#define SLOTS 150u
#define WORDS ((SLOTS + 63) / 64)
#define ROUNDS 12u
#define CONDS 40u /* a round, each on 150 payloads under eight types of index */

static struct qv_arena arena;

static const char *const types[] = {"keyword", "integer",  "float", "bool",
                                    "uuid",    "datetime", "geo",   "text"};
static const char *const paths[] = {"a", "b[]", "a.b", "c[].a", "d"};
#define TYPES (sizeof types / sizeof *types)
#define PATHS (sizeof paths / sizeof *paths)

/* The text indexes, one a path. */
static const char *const text_options[PATHS] = {
    "{\"phrase_matching\": true}",
    "{\"tokenizer\": \"prefix\", \"phrase_matching\": true}",
    "{\"tokenizer\": \"whitespace\", \"lowercase\": false, \"stopwords\": {\"custom\": [\"red\"]}}",
    "{\"tokenizer\": \"multilingual\", \"phrase_matching\": true}",
    ("{\"phrase_matching\": true, \"stemmer\": {\"type\": \"snowball\", \"language\": "
     "\"english\"}}"),
};

struct places {
    struct qv_buf doc[SLOTS]; /* len 0: not described */
    struct qv_field_index *index[TYPES][PATHS];
    struct qv_payload_index texts[PATHS];
    struct qv_buf options[PATHS];
    struct qv_collection_config config; /* with those of texts */
    /* of slots that are described, by condition: asked, decided, and those that hold */
    uint64_t asked[QV_COND_TYPES], decided[QV_COND_TYPES], held[QV_COND_TYPES];
};

static struct qv_str word(struct qv_rng *rng)
{
    static const char *const all[] = {"",
                                      "red",
                                      "blue",
                                      "a",
                                      "7",
                                      "2023-02-08",
                                      "red blue coat",
                                      "Blue Red",
                                      "coat blue re",
                                      "日本語の本",
                                      "coats, blue",
                                      "日本",
                                      "1999-01-01"};
    return qv_str_of(all[qv_rng_below(rng, sizeof all / sizeof *all)]);
}

static struct qv_match some_match(struct qv_rng *rng, uint64_t kind)
{
    struct qv_match m = {.type = QV_MATCH_STRING, .s = word(rng)};
    if (kind == 1)
        m = (struct qv_match){.type = QV_MATCH_INT, .i = (int64_t)qv_rng_below(rng, 7) - 3};
    if (kind == 2)
        m = (struct qv_match){.type = QV_MATCH_BOOL, .b = qv_rng_below(rng, 2)};
    return m;
}

static void fill_list(struct qv_rng *rng, struct qv_cond *c)
{
    const uint64_t kind = qv_rng_below(rng, 2);
    struct qv_match *items = QV_ARENA_ARRAY(&arena, struct qv_match, 3);
    c->u.any.count = (uint32_t)qv_rng_below(rng, 4);
    for (uint32_t i = 0; i < c->u.any.count; i++)
        items[i] = some_match(rng, kind);
    c->u.any.items = items;
}

static struct qv_range some_range(struct qv_rng *rng)
{
    return (struct qv_range){.gte = ((double)qv_rng_below(rng, 15) - 7) / 2,
                             .lt = ((double)qv_rng_below(rng, 15) - 7) / 2,
                             .has_gte = qv_rng_below(rng, 3) != 0,
                             .has_lt = qv_rng_below(rng, 3) != 0};
}

static struct qv_geo_point some_place(struct qv_rng *rng)
{
    return (struct qv_geo_point){.lon = (double)qv_rng_below(rng, 36) * 10 - 170,
                                 .lat = (double)qv_rng_below(rng, 19) * 10 - 90};
}

static const struct qv_geo_polygon *some_polygon(struct qv_rng *rng)
{
    struct qv_geo_polygon *p = QV_ARENA_NEW(&arena, struct qv_geo_polygon);
    struct qv_geo_point *ring = QV_ARENA_ARRAY(&arena, struct qv_geo_point, 4);
    for (int i = 0; i < 3; i++)
        ring[i] = some_place(rng);
    ring[3] = ring[0];
    p->exterior = (struct qv_geo_ring){ring, 4};
    assert_int_equal(qv_geo_polygon_seal(p, NULL), 0);
    return p;
}

static void fill_area(struct qv_rng *rng, struct qv_cond *c)
{
    if (c->type == QV_COND_GEO_BOX) {
        c->u.geo_box.top_left = some_place(rng);
        c->u.geo_box.bottom_right = some_place(rng);
    } else if (c->type == QV_COND_GEO_RADIUS) {
        c->u.geo_circle.center = some_place(rng);
        c->u.geo_circle.radius = qv_rng_unit(rng) * 12e6;
    } else {
        c->u.geo_polygon = some_polygon(rng);
    }
}

static void fill_cond(struct qv_rng *rng, struct qv_cond *c)
{
    switch (c->type) {
    case QV_COND_GEO_BOX:
    case QV_COND_GEO_RADIUS:
    case QV_COND_GEO_POLYGON:
        fill_area(rng, c);
        break;
    case QV_COND_MATCH:
        c->u.match = some_match(rng, qv_rng_below(rng, 3));
        break;
    case QV_COND_MATCH_ANY:
    case QV_COND_MATCH_EXCEPT:
        fill_list(rng, c);
        break;
    case QV_COND_MATCH_PREFIX:
    case QV_COND_MATCH_TEXT:
    case QV_COND_MATCH_TEXT_ANY:
    case QV_COND_MATCH_PHRASE:
        c->u.text = word(rng);
        break;
    case QV_COND_RANGE:
    case QV_COND_VALUES_COUNT:
        c->u.range = some_range(rng);
        break;
    case QV_COND_DATETIME_RANGE:
        c->u.times.gte = qv_rng_below(rng, 2) ? 0 : 1600000000000000;
        c->u.times.has_gte = qv_rng_below(rng, 2);
        break;
    default:
        c->u.want = qv_rng_below(rng, 2);
    }
}

static struct qv_filter *some_filter(struct qv_rng *rng, size_t path)
{
    static const enum qv_cond_type of[] = {
        QV_COND_MATCH,          QV_COND_MATCH_ANY,    QV_COND_MATCH_EXCEPT, QV_COND_MATCH_TEXT,
        QV_COND_MATCH_TEXT_ANY, QV_COND_MATCH_PHRASE, QV_COND_MATCH_PREFIX, QV_COND_RANGE,
        QV_COND_DATETIME_RANGE, QV_COND_VALUES_COUNT, QV_COND_GEO_BOX,      QV_COND_GEO_RADIUS,
        QV_COND_GEO_POLYGON,    QV_COND_IS_EMPTY,     QV_COND_IS_NULL,      QV_COND_KEY_IS_EMPTY,
        QV_COND_KEY_IS_NULL};
    struct qv_filter *f = QV_ARENA_NEW(&arena, struct qv_filter);
    struct qv_cond *c = QV_ARENA_NEW(&arena, struct qv_cond);
    c->type = of[qv_rng_below(rng, sizeof of / sizeof *of)];
    c->key = qv_str_of(paths[path]);
    assert_int_equal(qv_path_parse(&arena, c->key, &c->path, NULL), 0);
    fill_cond(rng, c);
    f->must = c;
    f->must_count = 1;
    assert_int_equal(qv_filter_seal(f, &arena, NULL), 0);
    return f;
}

static bool add(void *ctx, struct qv_doc value)
{
    qv_field_index_add(ctx, value);
    return true;
}

/* What lists are made of, where chance alone would seldom put several of a kind side by side. */
static void put_element(struct qv_buf *b, struct qv_rng *rng, uint64_t kind)
{
    const struct qv_str s = word(rng);
    const struct qv_geo_point place = some_place(rng);
    if (kind == 0) {
        qv_doc_put_int(b, (int64_t)qv_rng_below(rng, 7) - 3);
    } else if (kind == 1) {
        qv_doc_put_double(b, (double)qv_rng_below(rng, 15) / 2 - 3.5);
    } else if (kind == 2) {
        qv_doc_put_str(b, s.p, s.n);
    } else if (kind == 3) {
        const size_t mark = qv_doc_begin_object(b);
        qv_doc_put_key(b, "lon", 3);
        qv_doc_put_double(b, place.lon);
        qv_doc_put_key(b, "lat", 3);
        qv_doc_put_double(b, place.lat);
        qv_doc_end_object(b, mark, 2);
    } else {
        qv_doc_put_bool(b, qv_rng_below(rng, 2));
    }
}

static void put_list(struct qv_buf *b, struct qv_rng *rng)
{
    const uint32_t n = (uint32_t)qv_rng_below(rng, 4);
    const uint64_t kind = qv_rng_below(rng, 5);
    const size_t mark = qv_doc_begin_array(b);
    for (uint32_t i = 0; i < n; i++)
        put_element(b, rng, qv_rng_below(rng, 6) != 0 ? kind : qv_rng_below(rng, 5));
    qv_doc_end_array(b, mark, n);
}

/* {"a": LIST, "b": [LIST, LIST], "d": LIST or one element} */
static void put_lists(struct qv_buf *b, struct qv_rng *rng)
{
    const size_t mark = qv_doc_begin_object(b);
    qv_doc_put_key(b, "a", 1);
    put_list(b, rng);
    qv_doc_put_key(b, "b", 1);
    const size_t both = qv_doc_begin_array(b);
    put_list(b, rng);
    put_list(b, rng);
    qv_doc_end_array(b, both, 2);
    qv_doc_put_key(b, "d", 1);
    if (qv_rng_below(rng, 2) != 0)
        put_list(b, rng);
    else
        put_element(b, rng, qv_rng_below(rng, 5));
    qv_doc_end_object(b, mark, 3);
}

static void change_slot(struct places *p, struct qv_rng *rng, qv_slot slot)
{
    qv_buf_clear(&p->doc[slot]);
    if (qv_rng_below(rng, 8) != 0) {
        if (qv_rng_below(rng, 2) != 0)
            doc_gen_random_object(&p->doc[slot], rng, 3);
        else
            put_lists(&p->doc[slot], rng);
    }
    for (size_t i = 0; i < TYPES * PATHS; i++) {
        struct qv_field_index *x = p->index[i / PATHS][i % PATHS];
        if (p->doc[slot].len == 0) {
            qv_field_index_forget(x, slot);
            continue;
        }
        qv_field_index_begin(x);
        (void)qv_path_walk(doc_gen_view(&p->doc[slot]), qv_field_index_path(x), add, x);
        assert_int_equal(qv_field_index_end(x, slot), 0);
    }
}

static bool bit(const uint64_t *bits, qv_slot slot)
{
    return bits[slot / 64] >> (slot & 63) & 1;
}

static bool truth(const struct qv_filter *f, struct qv_filter_binding *binding,
                  struct qv_doc payload)
{
    const struct qv_filter_point point = {.payload = payload, .binding = binding};
    return binding != NULL ? qv_filter_match(f, &point) : naive_filter(f, &point);
}

/* One answer against the truth. */
static void compare(struct places *p, const struct qv_filter *f, struct qv_filter_binding *binding,
                    size_t i)
{
    uint64_t lower[WORDS] = {0};
    uint64_t upper[WORDS] = {0};
    struct qv_field_answer answer = {.n = SLOTS, .lower = lower, .upper = upper};
    const enum qv_cond_type type = f->must->type;
    if (!qv_field_index_ask(p->index[i / PATHS][i % PATHS], f->must, binding, &answer))
        return;
    for (qv_slot slot = 0; slot < SLOTS; slot++) {
        if (p->doc[slot].len == 0) {
            assert_false(bit(lower, slot));
            assert_true(bit(upper, slot));
            continue;
        }
        const bool holds = truth(f, binding, doc_gen_view(&p->doc[slot]));
        if ((bit(lower, slot) && !holds) || (!bit(upper, slot) && holds))
            fail_msg("%s index on %s, condition %d, slot %u: says %d to %d, is %d",
                     types[i / PATHS], paths[i % PATHS], type, slot, bit(lower, slot),
                     bit(upper, slot), holds);
        p->asked[type]++;
        p->decided[type] += bit(lower, slot) == bit(upper, slot);
        p->held[type] += holds;
    }
}

static void run_round(struct places *p, struct qv_rng *rng)
{
    for (uint32_t i = 0; i < SLOTS / 2; i++)
        change_slot(p, rng, (qv_slot)qv_rng_below(rng, SLOTS));
    for (uint32_t i = 0; i < CONDS; i++) {
        const size_t path = (size_t)qv_rng_below(rng, PATHS);
        const struct qv_filter *f = some_filter(rng, path);
        struct qv_filter_binding *binding;
        assert_int_equal(qv_filter_bind(f, &p->config, NULL, &binding, NULL), 0);
        for (size_t t = 0; t < TYPES; t++)
            compare(p, f, binding, t * PATHS + path);
        qv_filter_unbind(&binding);
        qv_arena_reset(&arena);
    }
    for (size_t i = 0; i < TYPES * PATHS; i++) {
        const char *wrong = qv_field_index_check(p->index[i / PATHS][i % PATHS]);
        if (wrong != NULL)
            fail_msg("%s index on %s: %s", types[i / PATHS], paths[i % PATHS], wrong);
    }
}

static void open_places(struct places *p)
{
    for (qv_slot slot = 0; slot < SLOTS; slot++)
        qv_buf_init(&p->doc[slot], 0);
    for (size_t i = 0; i < TYPES * PATHS; i++) {
        struct qv_payload_index declared = {.field = qv_str_of(paths[i % PATHS]),
                                            .number = (uint32_t)i,
                                            .type = qv_str_of(types[i / PATHS])};
        if (i / PATHS == TYPES - 1) {
            p->options[i % PATHS] = doc_gen_new(text_options[i % PATHS]);
            declared.params = doc_gen_view(&p->options[i % PATHS]);
            p->texts[i % PATHS] = declared;
        }
        assert_int_equal(
            qv_field_index_create(&declared, SLOTS, &p->index[i / PATHS][i % PATHS], NULL), 0);
    }
    p->config.payload_indexes = p->texts;
    p->config.payload_index_count = PATHS;
}

static void close_places(struct places *p)
{
    for (size_t i = 0; i < TYPES * PATHS; i++)
        qv_field_index_destroy(&p->index[i / PATHS][i % PATHS]);
    for (qv_slot slot = 0; slot < SLOTS; slot++)
        qv_buf_close(&p->doc[slot]);
    for (size_t i = 0; i < PATHS; i++)
        qv_buf_close(&p->options[i]);
}

static void test_against_naive(void **state)
{
    static struct places p;
    struct qv_rng rng;
    const char *given = getenv("QV_SEED");
    const uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : 20261123;
    (void)state;
    printf("seed %llu\n", (unsigned long long)seed);
    qv_rng_init(&rng, seed);
    qv_arena_init(&arena, (size_t)8 << 20);
    open_places(&p);
    for (uint32_t round = 0; round < ROUNDS; round++)
        run_round(&p, &rng);
    for (int type = 0; type < QV_COND_TYPES; type++) {
        const bool phrase = type == QV_COND_MATCH_PHRASE;
        printf("condition %d: asked %llu, decided %llu, held %llu\n", type,
               (unsigned long long)p.asked[type], (unsigned long long)p.decided[type],
               (unsigned long long)p.held[type]);
        if (type >= QV_COND_HAS_ID && type <= QV_COND_FILTER)
            continue;
        assert_true(p.asked[type] > 1000 && p.held[type] > 4);
        assert_true(p.decided[type] > p.asked[type] / 5 * (phrase ? 2 : 3));
    }
    close_places(&p);
    qv_arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_naive)};
    return RUN_SUITE(tests);
}
