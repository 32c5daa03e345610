/* The store in memory against a naive one: an array of keys and a list of changes. */
#include "suite.h"

#include "base/mem.h"
#include "base/rng.h"
#include "core/meta_tree.h"

#define KEYS 40u
#define CHANGES_MAX 8u

struct naive {
    uint64_t mod[KEYS], lease[KEYS], value[KEYS]; /* mod 0: there is none */
    struct {
        unsigned key;
        uint64_t revision, value;
    } log[20000];
    unsigned log_count;
    uint64_t revision;
};

static const char *key_of(unsigned k, char *out)
{
    snprintf(out, 8, "%c%02u", k % 2 ? 'a' : 'b', k);
    return out;
}

static unsigned number_of(const char *key)
{
    return (unsigned)(key[1] - '0') * 10 + (unsigned)(key[2] - '0');
}

static uint64_t value_of(struct qv_bytes v)
{
    uint64_t out;
    assert_int_equal(v.n, sizeof out);
    memcpy(&out, v.p, sizeof out);
    return out;
}

static void naive_apply(struct naive *n, const struct qv_meta_change *c, uint32_t count)
{
    bool moved = false;
    for (uint32_t i = 0; i < count; i++)
        moved |= c[i].value.p != NULL || n->mod[number_of(c[i].key)] != 0;
    n->revision += moved;
    for (uint32_t i = 0; i < count; i++) {
        unsigned k = number_of(c[i].key);
        if (c[i].value.p == NULL && n->mod[k] == 0)
            continue;
        n->mod[k] = c[i].value.p == NULL ? 0 : n->revision;
        n->value[k] = c[i].value.p == NULL ? 0 : value_of(c[i].value);
        n->lease[k] = c[i].value.p == NULL ? 0 : c[i].lease;
        n->log[n->log_count].key = k;
        n->log[n->log_count].revision = n->revision;
        n->log[n->log_count++].value = n->value[k];
    }
}

static void check_list(const struct naive *n, const struct qv_meta_tree *t, const char *prefix)
{
    struct qv_meta_events e;
    unsigned expected = 0;
    char key[8];
    qv_meta_tree_list(t, prefix, &e);
    for (unsigned k = 0; k < KEYS; k++)
        expected += n->mod[k] != 0 && strncmp(key_of(k, key), prefix, strlen(prefix)) == 0;
    assert_int_equal(e.count, expected);
    for (uint32_t i = 0; i < e.count; i++) {
        unsigned k = number_of(e.entries[i].key);
        assert_true(i == 0 || strcmp(e.entries[i - 1].key, e.entries[i].key) < 0);
        assert_int_equal(e.entries[i].mod_revision, n->mod[k]);
        assert_int_equal(e.entries[i].lease, n->lease[k]);
        assert_int_equal(value_of(e.entries[i].value), n->value[k]);
    }
    qv_meta_events_close(&e);
}

static void check_events(const struct naive *n, const struct qv_meta_tree *t, const char *prefix,
                         uint64_t from, uint64_t to)
{
    struct qv_meta_events e;
    char key[8];
    uint32_t at = 0;
    qv_meta_tree_events(t, prefix, from, to, &e);
    for (unsigned i = 0; i < n->log_count; i++) {
        if (n->log[i].revision < from || n->log[i].revision > to ||
            strncmp(key_of(n->log[i].key, key), prefix, strlen(prefix)) != 0)
            continue;
        assert_true(at < e.count);
        assert_string_equal(e.entries[at].key, key);
        assert_int_equal(e.entries[at].mod_revision, n->log[i].revision);
        assert_int_equal(e.entries[at].value.p == NULL ? 0 : value_of(e.entries[at].value),
                         n->log[i].value);
        at++;
    }
    assert_int_equal(at, e.count);
    qv_meta_events_close(&e);
}

static uint32_t draw(struct qv_rng *rng, struct qv_meta_change *c, char (*keys)[8],
                     uint64_t *values)
{
    uint32_t count = 1 + (uint32_t)qv_rng_below(rng, CHANGES_MAX);
    unsigned first = (unsigned)qv_rng_below(rng, KEYS);
    for (uint32_t i = 0; i < count; i++) {
        c[i] = (struct qv_meta_change){.key = key_of((first + 7 * i) % KEYS, keys[i])};
        values[i] = qv_rng_u64(rng) | 1;
        if (qv_rng_below(rng, 3) == 0)
            continue;
        c[i].value = (struct qv_bytes){(const uint8_t *)&values[i], sizeof values[i]};
        c[i].lease = qv_rng_below(rng, 3);
    }
    return count;
}

static void run_random(uint64_t seed, struct naive *n)
{
    static const char *const prefixes[] = {"", "a", "b1", "zz", "a07"};
    struct qv_rng rng;
    struct qv_meta_tree t;
    char keys[CHANGES_MAX][8];
    uint64_t values[CHANGES_MAX];
    struct qv_meta_change c[CHANGES_MAX];
    struct qv_meta_change *bound;
    qv_rng_init(&rng, seed);
    qv_meta_tree_init(&t, 1);
    *n = (struct naive){.revision = 1};
    uint64_t compacted = 2;
    for (unsigned step = 0; step < 600; step++) {
        uint32_t count = draw(&rng, c, keys, values);
        if (qv_rng_below(&rng, 12) == 0) {
            count = qv_meta_tree_bound(&t, 1, &bound);
            naive_apply(n, bound, count);
            qv_meta_tree_apply(&t, bound, count);
            qv_mem_free(bound);
        } else {
            naive_apply(n, c, count);
            qv_meta_tree_apply(&t, c, count);
        }
        assert_int_equal(t.revision, n->revision);
        const char *prefix = prefixes[qv_rng_below(&rng, 5)];
        check_list(n, &t, prefix);
        if (qv_rng_below(&rng, 50) == 0 && n->revision > compacted) {
            compacted += qv_rng_below(&rng, n->revision - compacted + 1);
            qv_meta_tree_compact(&t, compacted);
        }
        uint64_t from = compacted + qv_rng_below(&rng, n->revision - compacted + 2);
        check_events(n, &t, prefix, from, from + qv_rng_below(&rng, 20));
    }
    qv_meta_tree_close(&t);
}

static void test_random(void **state)
{
    (void)state;
    struct naive *n = qv_mem_calloc(1, sizeof *n);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        run_random(seed, n);
    }
    qv_mem_free(n);
}

static void test_compares(void **state)
{
    (void)state;
    struct qv_meta_tree t;
    const uint8_t v[] = "v";
    qv_meta_tree_init(&t, 1);
    qv_meta_tree_apply(&t, &(struct qv_meta_change){.key = "k", .value = {v, 1}}, 1);
    qv_meta_tree_apply(&t, &(struct qv_meta_change){.key = "e", .value = {v, 0}}, 1);
    const struct {
        struct qv_meta_compare c;
        bool holds;
    } rows[] = {
        {{QV_META_MOD, "k", 2, {NULL, 0}}, true},     {{QV_META_MOD, "k", 3, {NULL, 0}}, false},
        {{QV_META_MOD, "k", 0, {NULL, 0}}, false},    {{QV_META_MOD, "x", 0, {NULL, 0}}, true},
        {{QV_META_ABSENT, "k", 0, {NULL, 0}}, false}, {{QV_META_ABSENT, "x", 0, {NULL, 0}}, true},
        {{QV_META_VALUE, "k", 0, {v, 1}}, true},      {{QV_META_VALUE, "k", 0, {v, 0}}, false},
        {{QV_META_VALUE, "e", 0, {v, 0}}, true},      {{QV_META_VALUE, "x", 0, {v, 0}}, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(qv_meta_tree_holds(&t, &rows[i].c, 1), rows[i].holds);
    qv_meta_tree_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_compares),
    };
    return RUN_SUITE(tests);
}
