/* Filters: the table of docs/filters.md cell by cell, 10,000 random pairs against the naive
 * evaluator, examples of paths, and the bounds that seal holds. */
#include "suite.h"

#include "base/hash.h"
#include "doc_gen.h"
#include "naive_filter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SEED 424242u
#define PAIRS 10000
#define ARENA_BYTES ((size_t)8 << 20)

static struct qv_arena arena;

static int set_up(void **state)
{
    (void)state;
    qv_arena_init(&arena, ARENA_BYTES);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    qv_arena_close(&arena);
    return 0;
}

/* ---- making conditions ---- */

static struct qv_match match_str(const char *s)
{
    return (struct qv_match){.type = QV_MATCH_STRING, .s = qv_str_of(s)};
}

static struct qv_match match_int(int64_t i)
{
    return (struct qv_match){.type = QV_MATCH_INT, .i = i};
}

static struct qv_match match_bool(bool b)
{
    return (struct qv_match){.type = QV_MATCH_BOOL, .b = b};
}

static struct qv_cond on_key(enum qv_cond_type type, const char *key)
{
    struct qv_cond c = {.type = type, .key = qv_str_of(key)};
    struct qv_errmsg msg;
    if (qv_path_parse(&arena, c.key, &c.path, &msg) != 0)
        fail_msg("%s", msg.text);
    return c;
}

static struct qv_cond match(const char *key, struct qv_match m)
{
    struct qv_cond c = on_key(QV_COND_MATCH, key);
    c.u.match = m;
    return c;
}

static struct qv_cond list(const char *key, enum qv_cond_type type, struct qv_match a,
                           struct qv_match b)
{
    struct qv_cond c = on_key(type, key);
    const struct qv_match items[2] = {a, b};
    c.u.any.items = qv_arena_dup(&arena, items, sizeof items);
    c.u.any.count = 2;
    return c;
}

static struct qv_cond range(const char *key, enum qv_cond_type type, double gte, double lt)
{
    struct qv_cond c = on_key(type, key);
    c.u.range = (struct qv_range){.has_gte = true, .gte = gte, .has_lt = true, .lt = lt};
    return c;
}

static struct qv_cond with_text(const char *key, enum qv_cond_type type, const char *text)
{
    struct qv_cond c = on_key(type, key);
    c.u.text = qv_str_of(text);
    return c;
}

static struct qv_cond from_2023(const char *key)
{
    struct qv_cond c = on_key(QV_COND_DATETIME_RANGE, key);
    c.u.times = (struct qv_datetime_range){.has_gte = true, .gte = 1672531200000000};
    return c;
}

static struct qv_cond near_10_50(const char *key)
{
    struct qv_cond c = on_key(QV_COND_GEO_RADIUS, key);
    c.u.geo_circle = (struct qv_geo_circle){{10.001, 50.001}, 1000};
    return c;
}

static struct qv_cond want(const char *key, enum qv_cond_type type, bool w)
{
    struct qv_cond c = on_key(type, key);
    c.u.want = w;
    return c;
}

static struct qv_cond nested(const char *key, enum qv_cond_type type, const struct qv_filter *f)
{
    struct qv_cond c = {.type = QV_COND_FILTER};
    if (type == QV_COND_NESTED)
        c = on_key(type, key);
    c.u.filter = f;
    return c;
}

/* must: [c] */
static struct qv_filter *only(struct qv_cond c)
{
    struct qv_filter *f = QV_ARENA_NEW(&arena, struct qv_filter);
    f->must = qv_arena_dup(&arena, &c, sizeof c);
    f->must_count = 1;
    return f;
}

static bool has_vector(void *ctx, struct qv_str name)
{
    const unsigned *bits = ctx;
    return *bits >> (name.n == 0 ? 0 : name.p[0] - 'a' + 1) & 1;
}

static bool both_say(struct qv_filter *f, const struct qv_filter_point *point)
{
    struct qv_errmsg msg;
    if (qv_filter_seal(f, &arena, &msg) != 0)
        fail_msg("%s", msg.text);
    const bool fast = qv_filter_match(f, point);
    assert_int_equal(fast, naive_filter(f, point));
    return fast;
}

static bool says(struct qv_cond c, const char *json)
{
    struct qv_buf b;
    unsigned bits = 0;
    qv_buf_init(&b, 0);
    if (json != NULL)
        doc_gen_json(&b, json);
    const struct qv_filter_point point = {
        .id = qv_id_num(7), .payload = {b.data, b.len}, .has_vector = has_vector, .ctx = &bits};
    const bool answer = both_say(only(c), &point);
    qv_buf_close(&b);
    return answer;
}

/* ---- the table ---- */

#define COLUMNS 21

static void table_columns(struct qv_cond out[COLUMNS])
{
    static struct qv_filter all;
    const struct qv_match red = match_str("red");
    const struct qv_match blue = match_str("blue");
    size_t n = 0;
    out[n++] = match("k", red);
    out[n++] = match("k", match_int(3));
    out[n++] = match("k", match_bool(true));
    out[n++] = list("k", QV_COND_MATCH_ANY, red, blue);
    out[n++] = list("k", QV_COND_MATCH_ANY, match_int(3), match_int(5));
    out[n++] = list("k", QV_COND_MATCH_EXCEPT, red, blue);
    out[n++] = list("k", QV_COND_MATCH_EXCEPT, match_int(3), match_int(5));
    out[n++] = range("k", QV_COND_RANGE, 2, 4);
    out[n++] = with_text("k", QV_COND_MATCH_TEXT, "re");
    out[n++] = with_text("k", QV_COND_MATCH_PREFIX, "re");
    out[n++] = from_2023("k");
    out[n++] = near_10_50("k");
    out[n++] = range("k", QV_COND_VALUES_COUNT, 1, INFINITY);
    out[n++] = range("k", QV_COND_VALUES_COUNT, 0, 1);
    out[n++] = on_key(QV_COND_IS_EMPTY, "k");
    out[n++] = on_key(QV_COND_IS_NULL, "k");
    out[n++] = want("k", QV_COND_KEY_IS_EMPTY, true);
    out[n++] = want("k", QV_COND_KEY_IS_EMPTY, false);
    out[n++] = want("k", QV_COND_KEY_IS_NULL, true);
    out[n++] = want("k", QV_COND_KEY_IS_NULL, false);
    out[n++] = nested("k", QV_COND_NESTED, &all);
    assert_int_equal(n, COLUMNS);
}

/* Checks one line of the table; returns how many cells it had. */
static size_t check_line(char *line)
{
    struct qv_cond columns[COLUMNS];
    char payload[200] = "{}";
    size_t cells = 0;
    char *save = NULL;
    char *cell = strtok_r(line, "|", &save);
    char *open = strchr(cell, '`');

    table_columns(columns);
    if (open != NULL) {
        *strrchr(cell, '`') = '\0';
        snprintf(payload, sizeof payload, "{\"k\": %s}", open + 1);
    }
    while ((cell = strtok_r(NULL, "|\n", &save)) != NULL) {
        assert_true(cells < COLUMNS);
        const bool yes = strcmp(cell, " yes ") == 0;
        assert_true(yes || strcmp(cell, " no ") == 0);
        if (says(columns[cells], payload) != yes)
            fail_msg("%s, column %zu: the table says %s", payload, cells + 1, cell);
        cells++;
    }
    return cells;
}

static void test_the_table_of_the_docs(void **state)
{
    (void)state;
    char line[2000];
    size_t rows = 0;
    bool inside = false;
    FILE *f = fopen(QV_DOCS_DIR "/filters.md", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "## ", 3) == 0)
            inside = strcmp(line, "## The table\n") == 0;
        if (!inside || (strncmp(line, "| `", 3) != 0 && strncmp(line, "| missing", 9) != 0) ||
            strncmp(line, "| `k` is", 8) == 0)
            continue;
        assert_int_equal(check_line(line), COLUMNS);
        rows++;
        qv_arena_reset(&arena);
    }
    fclose(f);
    assert_int_equal(rows, 24);
}

/* ---- paths and combinations ---- */

static void test_paths(void **state)
{
    (void)state;
    const struct {
        const char *payload, *key;
        bool three, range, empty, null;
    } rows[] = {
        {"{\"a\":{\"b\":3}}", "a.b", true, true, false, false},
        {"{\"a\":[{\"b\":3}]}", "a.b", false, false, true, false},
        {"{\"a\":[{\"b\":3}]}", "a[].b", true, true, false, false},
        {"{\"a\":[{\"b\":1},{\"b\":3}]}", "a[].b", true, true, false, false},
        {"{\"a\":[{\"b\":1},{\"b\":3}]}", "a[1].b", true, true, false, false},
        {"{\"a\":[{\"b\":1},{\"b\":3}]}", "a[0].b", false, false, false, false},
        {"{\"a\":[{\"b\":1},{\"b\":3}]}", "a[2].b", false, false, true, false},
        {"{\"a\":[{\"b\":[1,3]}]}", "a[].b", true, true, false, false},
        {"{\"a\":[{\"b\":[[3]]}]}", "a[].b", false, false, false, false},
        {"{\"a\":[[3]]}", "a", false, false, false, false},
        {"{\"a\":[[3]]}", "a[]", true, true, false, false},
        {"{\"a\":[[[3]]]}", "a[]", false, false, false, false},
        {"{\"a\":[[[3]]]}", "a[][]", true, true, false, false},
        {"{\"a\":3}", "a[]", false, false, true, false},
        {"{\"a\":[{\"b\":null},{\"c\":3}]}", "a[].b", false, false, true, true},
        {"{\"a\":[{\"b\":null},{\"b\":3}]}", "a[].b", true, true, false, true},
        {"{\"a\":[{\"b\":[]},{\"b\":null}]}", "a[].b", false, false, true, true},
        {"{\"a.b\":3}", "a.b", false, false, true, false},
        {"{\"a.b\":3}", "\"a.b\"", true, true, false, false},
        {"{\"a\":{\"b c\":[3]}}", "a.\"b c\"", true, true, false, false},
        {"{\"größe\":3}", "größe", true, true, false, false},
        {"{\"a\":null}", "a.b", false, false, true, false},
        {"{\"a\":[null]}", "a[]", false, false, true, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *p = rows[i].payload;
        const char *k = rows[i].key;
        assert_int_equal(says(match(k, match_int(3)), p), rows[i].three);
        assert_int_equal(says(range(k, QV_COND_RANGE, 2, 4), p), rows[i].range);
        assert_int_equal(says(on_key(QV_COND_IS_EMPTY, k), p), rows[i].empty);
        assert_int_equal(says(on_key(QV_COND_IS_NULL, k), p), rows[i].null);
    }
    assert_true(says(on_key(QV_COND_IS_EMPTY, "a"), NULL)); /* no payload at all */
    assert_false(says(match("a", match_int(3)), NULL));
}

/* Where one path reaches an empty value and one that is not, the spellings differ. */
static void test_empty_and_null_by_key(void **state)
{
    (void)state;
    const char *mixed = "{\"a\":[{\"b\":null},{\"b\":1},{\"b\":[null,2]}]}";
    assert_false(says(on_key(QV_COND_IS_EMPTY, "a[].b"), mixed));
    assert_true(says(want("a[].b", QV_COND_KEY_IS_EMPTY, true), mixed));
    assert_true(says(want("a[].b", QV_COND_KEY_IS_EMPTY, false), mixed));
    assert_true(says(want("a[].b", QV_COND_KEY_IS_NULL, true), mixed));
    assert_true(says(want("a[].b", QV_COND_KEY_IS_NULL, false), mixed));
    assert_false(says(on_key(QV_COND_IS_NULL, "a[2].b"), mixed));
    assert_true(says(want("a[2].b", QV_COND_KEY_IS_NULL, true), mixed));
}

static void test_nested_is_about_one_object(void **state)
{
    (void)state;
    const char *split = "{\"a\":[{\"x\":3,\"y\":1},{\"x\":1,\"y\":3}]}";
    const char *one = "{\"a\":[{\"x\":1},{\"x\":3,\"y\":3}]}";
    const char *bare = "{\"a\":{\"x\":3,\"y\":3}}";
    struct qv_cond pair[2] = {match("x", match_int(3)), match("y", match_int(3))};
    struct qv_filter f = {.must = pair, .must_count = 2};
    struct qv_cond flat[2] = {match("a[].x", match_int(3)), match("a[].y", match_int(3))};
    struct qv_filter g = {.must = flat, .must_count = 2};
    assert_false(says(nested("a", QV_COND_NESTED, &f), split));
    assert_true(says(nested("a", QV_COND_FILTER, &g), split));
    assert_true(says(nested("a", QV_COND_NESTED, &f), one));
    assert_true(says(nested("a[]", QV_COND_NESTED, &f), one));
    assert_false(says(nested("a", QV_COND_NESTED, &f), bare));
    struct qv_id seven = qv_id_num(7);
    struct qv_cond id = {.type = QV_COND_HAS_ID, .u.has_id = {&seven, 1}};
    assert_true(says(id, one));
    assert_false(says(nested("a", QV_COND_NESTED, only(id)), one));
    assert_true(says(nested("a", QV_COND_FILTER, only(id)), one));
}

static void test_lists_of_conditions(void **state)
{
    (void)state;
    struct qv_cond yes = match("k", match_int(3));
    struct qv_cond no = match("k", match_int(4));
    struct qv_cond mixed[4] = {yes, no, yes, no};
    struct qv_buf b = doc_gen_new("{\"k\":3}");
    const struct qv_filter_point p = {.id = qv_id_num(1), .payload = doc_gen_view(&b)};
    struct qv_filter f = {0};
    assert_true(both_say(&f, &p));
    assert_true(qv_filter_match(NULL, &p));
    f = (struct qv_filter){.should = mixed, .should_count = 4};
    assert_true(both_say(&f, &p));
    f = (struct qv_filter){.should = &no, .should_count = 1, .must = &yes, .must_count = 1};
    assert_false(both_say(&f, &p));
    f = (struct qv_filter){.must_not = mixed, .must_not_count = 4};
    assert_false(both_say(&f, &p));
    f = (struct qv_filter){.must_not = &no, .must_not_count = 1};
    assert_true(both_say(&f, &p));
    for (uint32_t least = 0; least <= 5; least++) {
        f = (struct qv_filter){.min_should = mixed,
                               .min_should_count = 4,
                               .min_should_min = least,
                               .has_min_should = true};
        assert_int_equal(both_say(&f, &p), least <= 2);
    }
    f = (struct qv_filter){.min_should_min = 3, .has_min_should = true};
    assert_true(both_say(&f, &p));
    qv_buf_close(&b);
}

/* Slices of one total are disjoint and cover all ids; those of a multiple lie within them. */
static void test_slices(void **state)
{
    (void)state;
    struct qv_rng rng;
    unsigned sizes[7] = {0};
    qv_rng_init(&rng, SEED);
    for (int i = 0; i < 7000; i++) {
        struct qv_id id = qv_id_num(i < 3500 ? (uint64_t)i : qv_rng_u64(&rng));
        if (i % 3 == 0)
            id = (struct qv_id){qv_rng_u64(&rng), qv_rng_u64(&rng), QV_ID_UUID};
        const struct qv_filter_point p = {.id = id};
        unsigned found = 0;
        for (uint32_t k = 0; k < 14; k++) {
            struct qv_cond c = {.type = QV_COND_SLICE, .u.slice = {7, k % 7}};
            struct qv_cond fine = {.type = QV_COND_SLICE, .u.slice = {14, k}};
            const bool in = both_say(only(c), &p);
            assert_true(in || !both_say(only(fine), &p));
            found += k < 7 && in;
            sizes[k % 7] += k < 7 && in;
        }
        assert_int_equal(found, 1);
        qv_arena_reset(&arena);
    }
    for (int k = 0; k < 7; k++)
        assert_true(sizes[k] > 800 && sizes[k] < 1200);
    /* the bytes that are hashed: a number's from the lowest, a UUID's as it is written */
    const struct qv_id n = qv_id_num(0x0807060504030201u);
    const struct qv_id u = {0x0102030405060708u, 0x090a0b0c0d0e0f10u, QV_ID_UUID};
    const char bytes[] = "\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20";
    assert_true(qv_filter_slice_hash(&n) == qv_hash_sip24(bytes, 8));
    assert_true(qv_filter_slice_hash(&u) == qv_hash_sip24(bytes, 16));
    struct qv_errmsg msg;
    struct qv_cond bad = {.type = QV_COND_SLICE, .u.slice = {2, 2}};
    assert_int_equal(qv_filter_seal(only(bad), &arena, &msg), QV_EVALIDATION);
}

static void test_needs_payload(void **state)
{
    (void)state;
    struct qv_id one = qv_id_num(1);
    struct qv_cond id = {.type = QV_COND_HAS_ID, .u.has_id = {&one, 1}};
    struct qv_cond vec = {.type = QV_COND_HAS_VECTOR, .u.vector = qv_str_of("a")};
    struct qv_filter empty = {0};
    assert_false(qv_filter_needs_payload(NULL));
    assert_false(qv_filter_needs_payload(&empty));
    assert_false(qv_filter_needs_payload(only(id)));
    assert_false(qv_filter_needs_payload(only(nested("", QV_COND_FILTER, only(vec)))));
    assert_true(qv_filter_needs_payload(only(on_key(QV_COND_IS_EMPTY, "a"))));
    assert_true(
        qv_filter_needs_payload(only(nested("", QV_COND_FILTER, only(match("a", match_int(1)))))));
}

/* ---- bounds ---- */

static void test_seal_refuses(void **state)
{
    (void)state;
    struct qv_errmsg msg;
    struct qv_cond bad = list("k", QV_COND_MATCH_ANY, match_int(3), match_str("3"));
    assert_int_equal(qv_filter_seal(only(bad), &arena, &msg), QV_EINVAL);
    bad = list("k", QV_COND_MATCH_EXCEPT, match_bool(true), match_bool(false));
    assert_int_equal(qv_filter_seal(only(bad), &arena, &msg), QV_EINVAL);
    bad = range("k", QV_COND_RANGE, (double)NAN, 4);
    assert_int_equal(qv_filter_seal(only(bad), &arena, &msg), QV_EINVAL);
    assert_non_null(strstr(msg.text, "'k'"));

    struct qv_filter *deep = only(match("k", match_int(3)));
    for (int depth = 2; depth <= QV_FILTER_DEPTH_MAX + 1; depth++) {
        deep = only(nested("k", depth % 2 ? QV_COND_NESTED : QV_COND_FILTER, deep));
        assert_int_equal(qv_filter_seal(deep, &arena, &msg),
                         depth <= QV_FILTER_DEPTH_MAX ? 0 : QV_EINVAL);
    }
    struct qv_cond *many = QV_ARENA_ARRAY(&arena, struct qv_cond, QV_FILTER_CONDS_MAX + 1);
    for (uint32_t i = 0; i <= QV_FILTER_CONDS_MAX; i++)
        many[i] = (struct qv_cond){.type = QV_COND_HAS_VECTOR};
    struct qv_filter wide = {.should = many, .should_count = QV_FILTER_CONDS_MAX};
    assert_int_equal(qv_filter_seal(&wide, &arena, &msg), 0);
    wide.must = &many[QV_FILTER_CONDS_MAX];
    wide.must_count = 1;
    assert_int_equal(qv_filter_seal(&wide, &arena, &msg), QV_EINVAL);
}

static void test_long_lists(void **state)
{
    (void)state;
    struct qv_rng rng;
    qv_rng_init(&rng, 1);
    struct qv_match *items = QV_ARENA_ARRAY(&arena, struct qv_match, 2000);
    struct qv_id *ids = QV_ARENA_ARRAY(&arena, struct qv_id, 2000);
    for (uint32_t i = 0; i < 2000; i++) {
        items[i] = match_int((int64_t)(i * 7919u % 2000u) * 2 - 2000);
        ids[i] = qv_id_num(i * 7919u % 2000u * 2);
    }
    struct qv_cond c = on_key(QV_COND_MATCH_ANY, "k");
    c.u.any.items = items;
    c.u.any.count = 2000;
    struct qv_cond has = {.type = QV_COND_HAS_ID, .u.has_id = {ids, 2000}};
    for (int i = 0; i < 400; i++) {
        char json[64];
        int64_t k = (int64_t)qv_rng_below(&rng, 4400) - 2200;
        snprintf(json, sizeof json, "{\"k\":%lld}", (long long)k);
        assert_int_equal(says(c, json), k % 2 == 0 && k >= -2000 && k < 2000);
        const struct qv_filter_point p = {.id = qv_id_num((uint64_t)i)};
        assert_int_equal(both_say(only(has), &p), i % 2 == 0);
    }
}

/* ---- random pairs ---- */

static const char *random_path(struct qv_rng *rng)
{
    static const char *const keys[] = {"a", "b", "c", "d", "\"a b\"", "é"};
    struct qv_buf b;
    qv_buf_init(&b, 0);
    const int steps = 1 + (qv_rng_below(rng, 3) == 0) + (qv_rng_below(rng, 6) == 0);
    for (int i = 0; i < steps; i++) {
        if (i > 0)
            qv_buf_str(&b, ".");
        qv_buf_str(&b, keys[qv_rng_below(rng, 6)]);
        if (qv_rng_below(rng, 4) == 0)
            qv_buf_str(&b, "[]");
        else if (qv_rng_below(rng, 8) == 0)
            qv_buf_str(&b, qv_rng_below(rng, 2) ? "[0]" : "[1]");
    }
    const char *text = qv_arena_strndup(&arena, (const char *)b.data, b.len);
    qv_buf_close(&b);
    return text;
}

static struct qv_match random_match(struct qv_rng *rng, uint64_t kind)
{
    static const char *const words[] = {"", "red", "blue", "a", "b", "köln", "7", "true", "日本"};
    if (kind == 0)
        return match_str(words[qv_rng_below(rng, 9)]);
    if (kind == 1)
        return match_int((int64_t)qv_rng_below(rng, 7) - 3);
    return match_bool(qv_rng_below(rng, 2));
}

static struct qv_range random_range(struct qv_rng *rng)
{
    struct qv_range r = {0};
    double *const bounds[] = {&r.lt, &r.gt, &r.lte, &r.gte};
    bool *const has[] = {&r.has_lt, &r.has_gt, &r.has_lte, &r.has_gte};
    for (int i = 0; i < 4; i++) {
        *bounds[i] = ((double)qv_rng_below(rng, 13) - 6) / 2;
        *has[i] = qv_rng_below(rng, 3) == 0;
    }
    return r;
}

static struct qv_cond random_text(struct qv_rng *rng, const char *path, enum qv_cond_type type)
{
    static const char *const texts[] = {"",       "r", "re",   "e", "red blue",
                                        " a\tb ", "ö", "2023", "本"};
    return with_text(path, type, texts[qv_rng_below(rng, 9)]);
}

static struct qv_cond random_times(struct qv_rng *rng, const char *path)
{
    struct qv_cond c = on_key(QV_COND_DATETIME_RANGE, path);
    struct qv_datetime_range *r = &c.u.times;
    int64_t *const bounds[] = {&r->lt, &r->gt, &r->lte, &r->gte};
    bool *const has[] = {&r->has_lt, &r->has_gt, &r->has_lte, &r->has_gte};
    const int64_t times[] = {-86400000000, 1675814400000000, 1675853340000000, 1675853340000001};
    for (int i = 0; i < 4; i++) {
        *bounds[i] = times[qv_rng_below(rng, 4)];
        *has[i] = qv_rng_below(rng, 3) == 0;
    }
    return c;
}

/* Whole degrees, so that edges are met; not the antimeridian itself, which has two names. */
static struct qv_geo_point random_place(struct qv_rng *rng)
{
    return (struct qv_geo_point){.lon = (double)qv_rng_below(rng, 359) - 179,
                                 .lat = (double)qv_rng_below(rng, 181) - 90};
}

/* A triangle: a ring of which inside and outside are beyond doubt. */
static struct qv_geo_ring random_ring(struct qv_rng *rng)
{
    struct qv_geo_point *p = QV_ARENA_ARRAY(&arena, struct qv_geo_point, 4);
    for (int i = 0; i < 3; i++)
        p[i] = random_place(rng);
    p[3] = p[0];
    return (struct qv_geo_ring){p, 4};
}

static struct qv_cond random_area(struct qv_rng *rng, const char *path, enum qv_cond_type type)
{
    struct qv_cond c = on_key(type, path);
    if (type == QV_COND_GEO_BOX) {
        c.u.geo_box = (struct qv_geo_box){random_place(rng), random_place(rng)};
    } else if (type == QV_COND_GEO_RADIUS) {
        c.u.geo_circle = (struct qv_geo_circle){random_place(rng), qv_rng_unit(rng) * 12e6};
    } else {
        struct qv_geo_polygon *g = QV_ARENA_NEW(&arena, struct qv_geo_polygon);
        struct qv_geo_ring *holes = QV_ARENA_ARRAY(&arena, struct qv_geo_ring, 2);
        g->exterior = random_ring(rng);
        g->interior_count = (uint32_t)qv_rng_below(rng, 3);
        for (uint32_t i = 0; i < g->interior_count; i++)
            holes[i] = random_ring(rng);
        g->interiors = holes;
        c.u.geo_polygon = g;
    }
    return c;
}

static struct qv_filter *random_filter(struct qv_rng *rng, unsigned depth);

static struct qv_cond random_list(struct qv_rng *rng, const char *path, enum qv_cond_type type)
{
    struct qv_cond c = on_key(type, path);
    const uint64_t kind = qv_rng_below(rng, 2);
    struct qv_match *items = QV_ARENA_ARRAY(&arena, struct qv_match, 4);
    c.u.any.count = (uint32_t)qv_rng_below(rng, 5);
    for (uint32_t i = 0; i < c.u.any.count; i++)
        items[i] = random_match(rng, kind);
    c.u.any.items = items;
    return c;
}

static struct qv_cond random_ids(struct qv_rng *rng)
{
    struct qv_cond c = {.type = QV_COND_HAS_ID};
    struct qv_id *ids = QV_ARENA_ARRAY(&arena, struct qv_id, 3);
    c.u.has_id.count = (uint32_t)qv_rng_below(rng, 4);
    for (uint32_t i = 0; i < c.u.has_id.count; i++)
        ids[i] = qv_id_num(qv_rng_below(rng, 4));
    c.u.has_id.ids = ids;
    return c;
}

static struct qv_cond random_cond(struct qv_rng *rng, unsigned depth)
{
    static const char *const names[] = {"", "a", "b"};
    const char *path = random_path(rng);
    const enum qv_cond_type type = (enum qv_cond_type)qv_rng_below(rng, QV_COND_TYPES);
    struct qv_cond c;
    switch (type) {
    case QV_COND_MATCH:
        return match(path, random_match(rng, qv_rng_below(rng, 3)));
    case QV_COND_MATCH_ANY:
    case QV_COND_MATCH_EXCEPT:
        return random_list(rng, path, type);
    case QV_COND_RANGE:
    case QV_COND_VALUES_COUNT:
        c = on_key(type, path);
        c.u.range = random_range(rng);
        return c;
    case QV_COND_MATCH_TEXT:
    case QV_COND_MATCH_TEXT_ANY:
    case QV_COND_MATCH_PHRASE:
    case QV_COND_MATCH_PREFIX:
        return random_text(rng, path, type);
    case QV_COND_DATETIME_RANGE:
        return random_times(rng, path);
    case QV_COND_GEO_BOX:
    case QV_COND_GEO_RADIUS:
    case QV_COND_GEO_POLYGON:
        return random_area(rng, path, type);
    case QV_COND_SLICE:
        c = (struct qv_cond){.type = type, .u.slice.total = 1 + (uint32_t)qv_rng_below(rng, 3)};
        c.u.slice.index = (uint32_t)qv_rng_below(rng, c.u.slice.total);
        return c;
    case QV_COND_HAS_ID:
        return random_ids(rng);
    case QV_COND_HAS_VECTOR:
        c = (struct qv_cond){.type = type};
        c.u.vector = qv_str_of(names[qv_rng_below(rng, 3)]);
        return c;
    case QV_COND_NESTED:
    case QV_COND_FILTER:
        if (depth > 0)
            return nested(path, type, random_filter(rng, depth - 1));
        return on_key(QV_COND_IS_EMPTY, path);
    default:
        return want(path, type, qv_rng_below(rng, 2));
    }
}

static const struct qv_cond *random_conds(struct qv_rng *rng, unsigned depth, uint32_t *count)
{
    *count = (uint32_t)qv_rng_below(rng, 3);
    struct qv_cond *c = QV_ARENA_ARRAY(&arena, struct qv_cond, 3);
    for (uint32_t i = 0; i < *count; i++)
        c[i] = random_cond(rng, depth);
    return c;
}

static struct qv_filter *random_filter(struct qv_rng *rng, unsigned depth)
{
    struct qv_filter *f = QV_ARENA_NEW(&arena, struct qv_filter);
    f->must = random_conds(rng, depth, &f->must_count);
    f->should = random_conds(rng, depth, &f->should_count);
    if (qv_rng_below(rng, 2) == 0)
        f->must_not = random_conds(rng, depth, &f->must_not_count);
    if (qv_rng_below(rng, 4) == 0) {
        f->has_min_should = true;
        f->min_should = random_conds(rng, depth, &f->min_should_count);
        f->min_should_min = (uint32_t)qv_rng_below(rng, 4);
    }
    return f;
}

static void test_random_pairs(void **state)
{
    (void)state;
    struct qv_rng rng;
    int matched = 0;
    int by_type[QV_COND_TYPES][2] = {{0}};
    qv_rng_init(&rng, SEED);
    for (int i = 0; i < PAIRS; i++) {
        struct qv_buf b;
        unsigned bits = (unsigned)qv_rng_below(&rng, 8);
        qv_arena_reset(&arena);
        qv_buf_init(&b, 0);
        if (qv_rng_below(&rng, 50) != 0)
            doc_gen_random_object(&b, &rng, 5);
        const struct qv_filter_point p = {.id = qv_id_num(qv_rng_below(&rng, 4)),
                                          .payload = {b.data, b.len},
                                          .has_vector = has_vector,
                                          .ctx = &bits};
        matched += both_say(random_filter(&rng, 2), &p);
        for (int k = 0; k < 16; k++) { /* and conditions by themselves */
            struct qv_cond c = random_cond(&rng, 2);
            by_type[c.type][both_say(only(c), &p)]++;
        }
        qv_buf_close(&b);
    }
    print_message("seed %u: %d of %d filters matched\n", SEED, matched, PAIRS);
    assert_true(matched > PAIRS / 20 && matched < PAIRS - PAIRS / 20);
    for (int t = 0; t < QV_COND_TYPES; t++) {
        print_message("condition %d: %d held, %d did not\n", t, by_type[t][1], by_type[t][0]);
        assert_true(by_type[t][0] > 10 && by_type[t][1] > 10);
    }
}

/* The same conditions backwards, and once more where that says nothing new. */
static const struct qv_cond *otherwise(const struct qv_cond *conds, uint32_t *count, bool twice)
{
    const uint32_t n = *count;
    struct qv_cond *c = QV_ARENA_ARRAY(&arena, struct qv_cond, 2 * n + 1);
    for (uint32_t i = 0; i < n; i++)
        c[i] = conds[n - 1 - i];
    for (uint32_t i = 0; i < n && twice; i++)
        c[(*count)++] = conds[i];
    return c;
}

static struct qv_filter *said_otherwise(struct qv_rng *rng, const struct qv_filter *f)
{
    struct qv_filter *g = QV_ARENA_NEW(&arena, struct qv_filter);
    *g = *f;
    g->must = otherwise(f->must, &g->must_count, qv_rng_below(rng, 2) == 0);
    g->should = otherwise(f->should, &g->should_count, qv_rng_below(rng, 2) == 0);
    g->must_not = otherwise(f->must_not, &g->must_not_count, qv_rng_below(rng, 2) == 0);
    g->min_should = otherwise(f->min_should, &g->min_should_count, false);
    for (uint64_t wraps = qv_rng_below(rng, 3); wraps > 0; wraps--) {
        struct qv_cond *c = QV_ARENA_NEW(&arena, struct qv_cond);
        *c = (struct qv_cond){.type = QV_COND_FILTER, .u.filter = g};
        g = QV_ARENA_NEW(&arena, struct qv_filter);
        *g = (struct qv_filter){0};
        if (qv_rng_below(rng, 2) == 0) {
            g->must = c;
            g->must_count = 1;
            continue;
        }
        struct qv_cond *no = QV_ARENA_NEW(&arena, struct qv_cond);
        struct qv_filter *inner = QV_ARENA_NEW(&arena, struct qv_filter);
        *inner = (struct qv_filter){.must_not = c, .must_not_count = 1};
        *no = (struct qv_cond){.type = QV_COND_FILTER, .u.filter = inner};
        g->must_not = no;
        g->must_not_count = 1;
    }
    return g;
}

/* A filter says the same in another order, said twice, nested and negated twice: its bitmap, and
 * with it the plan of a search, is the same. */
static void test_said_otherwise_is_the_same(void **state)
{
    (void)state;
    struct qv_rng rng;
    int matched = 0;
    qv_rng_init(&rng, SEED + 1);
    for (int i = 0; i < PAIRS / 4; i++) {
        struct qv_buf b;
        unsigned bits = (unsigned)qv_rng_below(&rng, 8);
        qv_arena_reset(&arena);
        qv_buf_init(&b, 0);
        doc_gen_random_object(&b, &rng, 5);
        const struct qv_filter_point p = {.id = qv_id_num(qv_rng_below(&rng, 4)),
                                          .payload = {b.data, b.len},
                                          .has_vector = has_vector,
                                          .ctx = &bits};
        struct qv_filter *f = random_filter(&rng, 1);
        const bool first = both_say(f, &p) != 0;
        assert_true((both_say(said_otherwise(&rng, f), &p) != 0) == first);
        matched += first;
        qv_buf_close(&b);
    }
    print_message("seed %u: %d of %d filters matched\n", SEED + 1, matched, PAIRS / 4);
    assert_true(matched > PAIRS / 100 && matched < PAIRS / 4 - PAIRS / 100);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_the_table_of_the_docs),
        TEST(test_paths),
        TEST(test_empty_and_null_by_key),
        TEST(test_nested_is_about_one_object),
        TEST(test_lists_of_conditions),
        TEST(test_slices),
        TEST(test_needs_payload),
        TEST(test_seal_refuses),
        TEST(test_long_lists),
        TEST(test_random_pairs),
        TEST(test_said_otherwise_is_the_same),
    };
    return RUN_SUITE(tests);
}
