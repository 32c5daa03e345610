/* Payload indexes against the naive evaluator: random payloads in slots that are described anew and
 * forgotten, every type of index, every condition on a key. What the index says for certain must
 * hold, what it excludes must not, and where it has to decide by itself it must. */
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

struct places {
    struct qv_buf doc[SLOTS]; /* len 0: not described */
    struct qv_field_index *index[TYPES][PATHS];
    uint64_t decided, asked; /* of slots that are described */
};

static struct qv_str word(struct qv_rng *rng)
{
    static const char *const all[] = {"", "red", "blue", "a", "7", "2023-02-08", "red blue coat"};
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

static void fill_cond(struct qv_rng *rng, struct qv_cond *c)
{
    switch (c->type) {
    case QV_COND_MATCH:
        c->u.match = some_match(rng, qv_rng_below(rng, 3));
        break;
    case QV_COND_MATCH_ANY:
    case QV_COND_MATCH_EXCEPT:
        fill_list(rng, c);
        break;
    case QV_COND_MATCH_PREFIX:
    case QV_COND_MATCH_TEXT:
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
        QV_COND_MATCH,        QV_COND_MATCH_ANY, QV_COND_MATCH_EXCEPT,   QV_COND_MATCH_TEXT,
        QV_COND_MATCH_PREFIX, QV_COND_RANGE,     QV_COND_DATETIME_RANGE, QV_COND_VALUES_COUNT,
        QV_COND_IS_EMPTY,     QV_COND_IS_NULL,   QV_COND_KEY_IS_EMPTY,   QV_COND_KEY_IS_NULL};
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

static void change_slot(struct places *p, struct qv_rng *rng, qv_slot slot)
{
    qv_buf_clear(&p->doc[slot]);
    if (qv_rng_below(rng, 8) != 0)
        doc_gen_random_object(&p->doc[slot], rng, 3);
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

/* One answer against the truth. */
static void compare(struct places *p, const struct qv_filter *f, size_t type, size_t path)
{
    uint64_t lower[WORDS] = {0};
    uint64_t upper[WORDS] = {0};
    struct qv_field_answer answer = {.n = SLOTS, .lower = lower, .upper = upper};
    if (!qv_field_index_ask(p->index[type][path], f->must, &answer))
        return;
    for (qv_slot slot = 0; slot < SLOTS; slot++) {
        const struct qv_filter_point point = {.payload = doc_gen_view(&p->doc[slot])};
        if (p->doc[slot].len == 0) {
            assert_false(bit(lower, slot));
            assert_true(bit(upper, slot));
            continue;
        }
        const bool holds = naive_filter(f, &point);
        if ((bit(lower, slot) && !holds) || (!bit(upper, slot) && holds))
            fail_msg("%s index on %s, condition %d, slot %u: says %d to %d, is %d", types[type],
                     paths[path], f->must->type, slot, bit(lower, slot), bit(upper, slot), holds);
        p->asked++;
        p->decided += bit(lower, slot) == bit(upper, slot);
    }
}

static void run_round(struct places *p, struct qv_rng *rng)
{
    for (uint32_t i = 0; i < SLOTS / 2; i++)
        change_slot(p, rng, (qv_slot)qv_rng_below(rng, SLOTS));
    for (uint32_t i = 0; i < CONDS; i++) {
        const size_t path = (size_t)qv_rng_below(rng, PATHS);
        const struct qv_filter *f = some_filter(rng, path);
        for (size_t t = 0; t < TYPES; t++)
            compare(p, f, t, path);
        qv_arena_reset(&arena);
    }
    for (size_t i = 0; i < TYPES * PATHS; i++) {
        const char *wrong = qv_field_index_check(p->index[i / PATHS][i % PATHS]);
        if (wrong != NULL)
            fail_msg("%s index on %s: %s", types[i / PATHS], paths[i % PATHS], wrong);
    }
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
    for (qv_slot slot = 0; slot < SLOTS; slot++)
        qv_buf_init(&p.doc[slot], 0);
    for (size_t i = 0; i < TYPES * PATHS; i++) {
        const struct qv_payload_index declared = {.field = qv_str_of(paths[i % PATHS]),
                                                  .type = qv_str_of(types[i / PATHS])};
        assert_int_equal(
            qv_field_index_create(&declared, SLOTS, &p.index[i / PATHS][i % PATHS], NULL), 0);
    }
    for (uint32_t round = 0; round < ROUNDS; round++)
        run_round(&p, &rng);
    printf("%llu of %llu decided\n", (unsigned long long)p.decided, (unsigned long long)p.asked);
    assert_true(p.asked > 100000 && p.decided > p.asked / 4 * 3);
    for (size_t i = 0; i < TYPES * PATHS; i++)
        qv_field_index_destroy(&p.index[i / PATHS][i % PATHS]);
    for (qv_slot slot = 0; slot < SLOTS; slot++)
        qv_buf_close(&p.doc[slot]);
    qv_arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_naive)};
    return RUN_SUITE(tests);
}
