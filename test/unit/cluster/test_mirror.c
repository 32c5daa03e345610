#include "suite.h"

#include "base/rng.h"
#include "cluster/mirror.h"

#include <stdio.h>

#define COLLECTIONS 6

struct world {
    struct qv_mirror *m;
    struct qv_rng rng;
    uint64_t epoch;
};

static void put(struct qv_mirror *m, const char *key, struct qv_buf *b)
{
    assert_false(b->failed);
    qv_mirror_put(m, &(struct qv_mirror_entry){key, {b->data, b->len}});
    qv_buf_close(b);
}

static void drop(struct qv_mirror *m, const char *key)
{
    qv_mirror_put(m, &(struct qv_mirror_entry){key, {NULL, 0}});
}

static void uuid_of(uint32_t i, uint8_t out[QV_UUID_BYTES])
{
    memset(out, 0, QV_UUID_BYTES);
    out[0] = (uint8_t)(7 * i + 1);
    out[15] = (uint8_t)i;
}

static void put_collection(struct world *w, uint32_t i, uint64_t generation, uint32_t size)
{
    struct qv_vector_config vector = {.size = size, .name = {"", 0}};
    struct qv_collection_config config = {.vector_count = 1,
                                          .vectors = &vector,
                                          .vectors_unnamed = true,
                                          .shard_number = 1,
                                          .replication_factor = 1,
                                          .write_consistency_factor = 1};
    char name[16];
    char key[QV_TREE_KEY_BYTES];
    struct qv_buf b;
    snprintf(name, sizeof name, "c%u", i);
    struct qv_collection c = {
        .name = {name, strlen(name)}, .generation = generation, .config = &config};
    uuid_of(i, c.uuid);
    qv_buf_init(&b, 0);
    qv_tree_encode_collection(&b, &c);
    qv_tree_collection_key(c.uuid, key);
    put(w->m, key, &b);
}

static void put_shard(struct world *w, uint32_t i, uint32_t number)
{
    struct qv_shard_place s = {.number = number, .epoch = w->epoch, .slot_count = 1};
    uint8_t uuid[QV_UUID_BYTES];
    char key[QV_TREE_KEY_BYTES];
    struct qv_buf b;
    s.slots[0].holder = 1 + qv_rng_below(&w->rng, 5);
    if (qv_rng_below(&w->rng, 2) == 0) {
        s.slots[0].next = 9;
        s.slots[0].step = QV_STEP_BOTH;
    }
    uuid_of(i, uuid);
    qv_buf_init(&b, 0);
    qv_tree_encode_shard(&b, &s);
    qv_tree_shard_key(uuid, number, key);
    put(w->m, key, &b);
}

static void put_epoch(struct world *w)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    qv_buf_u64(&b, ++w->epoch);
    put(w->m, QV_TREE_EPOCH, &b);
}

static void put_member(struct world *w, uint64_t id)
{
    struct qv_member m = {.id = id, .incarnation = w->epoch, .peer_port = 6335, .host = "h"};
    char key[QV_TREE_KEY_BYTES];
    struct qv_buf b;
    qv_buf_init(&b, 0);
    qv_tree_encode_member(&b, &m);
    qv_tree_member_key(id, key);
    put(w->m, key, &b);
}

static void put_aliases(struct world *w, uint32_t to)
{
    char name[16];
    snprintf(name, sizeof name, "c%u", to);
    struct qv_alias list[] = {{{"al", 2}, {name, strlen(name)}}};
    struct qv_buf b;
    qv_buf_init(&b, 0);
    qv_tree_encode_aliases(&b, list, 1);
    put(w->m, QV_TREE_ALIASES, &b);
}

static void drop_collection(struct world *w, uint32_t i)
{
    uint8_t uuid[QV_UUID_BYTES];
    char key[QV_TREE_KEY_BYTES];
    uuid_of(i, uuid);
    qv_tree_collection_key(uuid, key);
    drop(w->m, key);
    for (uint32_t s = 0; s < 4; s++) {
        qv_tree_shard_key(uuid, s, key);
        drop(w->m, key);
    }
}

static void random_change(struct world *w)
{
    char key[QV_TREE_KEY_BYTES];
    uint32_t i = (uint32_t)qv_rng_below(&w->rng, COLLECTIONS);
    uint8_t uuid[QV_UUID_BYTES];
    uuid_of(i, uuid);
    qv_tree_collection_key(uuid, key);
    bool there = qv_mirror_get(w->m, key).p != NULL;
    switch (qv_rng_below(&w->rng, 6)) {
    case 0:
        put_member(w, 1 + qv_rng_below(&w->rng, 5));
        break;
    case 1:
        qv_tree_member_key(1 + qv_rng_below(&w->rng, 5), key);
        drop(w->m, key);
        break;
    case 2:
        put_aliases(w, i);
        break;
    case 3:
        drop_collection(w, i);
        break;
    default:
        put_collection(w, i, w->epoch + 1, 4 + (uint32_t)qv_rng_below(&w->rng, 4));
        put_shard(w, i, 0);
        if (there)
            put_shard(w, i, (uint32_t)qv_rng_below(&w->rng, 4));
    }
    put_epoch(w);
}

static void dump(const struct qv_topology *t, struct qv_buf *b)
{
    qv_buf_init(b, 0);
    qv_buf_u64(b, t->epoch);
    for (uint32_t i = 0; i < t->member_count; i++)
        qv_tree_encode_member(b, &t->members[i]);
    for (uint32_t i = 0; i < t->count; i++) {
        qv_buf_append(b, t->collections[i]->uuid, QV_UUID_BYTES);
        qv_tree_encode_collection(b, t->collections[i]);
        for (uint32_t s = 0; s < t->collections[i]->shard_count; s++)
            qv_tree_encode_shard(b, &t->collections[i]->shards[s]);
    }
    qv_tree_encode_aliases(b, t->aliases.list, t->aliases.count);
}

static void expect_same(const struct qv_topology *a, const struct qv_topology *b)
{
    struct qv_buf x;
    struct qv_buf y;
    dump(a, &x);
    dump(b, &y);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.data, y.data, x.len);
    qv_buf_close(&x);
    qv_buf_close(&y);
}

/* What is folded step by step is what is built from all records at once, also after a way through
 * bytes. */
static void test_folding_is_building(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct world w = {.m = qv_mirror_create()};
        struct qv_errmsg msg = {""};
        const struct qv_topology *tree = qv_topology_create(0);
        qv_rng_init(&w.rng, seed);
        for (int step = 0; step < 60; step++) {
            const struct qv_topology *next;
            const struct qv_topology *whole;
            const struct qv_topology *empty = qv_topology_create(0);
            struct qv_mirror *copy = qv_mirror_create();
            struct qv_buf bytes;
            for (uint64_t n = 1 + qv_rng_below(&w.rng, 3); n > 0; n--)
                random_change(&w);
            assert_int_equal(qv_mirror_tree(w.m, tree, &next, &msg), 0);
            qv_topology_unref(tree);
            tree = next;
            qv_buf_init(&bytes, 0);
            qv_mirror_encode(w.m, &bytes);
            assert_int_equal(qv_mirror_decode(copy, (struct qv_bytes){bytes.data, bytes.len}, &msg),
                             0);
            assert_int_equal(qv_mirror_tree(copy, empty, &whole, &msg), 0);
            expect_same(tree, whole);
            qv_buf_close(&bytes);
            qv_mirror_destroy(&copy);
            qv_topology_unref(whole);
            qv_topology_unref(empty);
        }
        qv_topology_unref(tree);
        qv_mirror_destroy(&w.m);
    }
}

/* A step of a shard leaves the configuration's object and the other collections alone. */
static void test_what_is_untouched_is_shared(void **state)
{
    (void)state;
    struct world w = {.m = qv_mirror_create()};
    struct qv_errmsg msg = {""};
    const struct qv_topology *none = qv_topology_create(0);
    const struct qv_topology *a;
    const struct qv_topology *b;
    qv_rng_init(&w.rng, 1);
    put_collection(&w, 1, 1, 4);
    put_shard(&w, 1, 0);
    put_collection(&w, 2, 1, 4);
    put_shard(&w, 2, 0);
    put_epoch(&w);
    assert_int_equal(qv_mirror_tree(w.m, none, &a, &msg), 0);
    put_epoch(&w);
    put_shard(&w, 2, 0);
    assert_int_equal(qv_mirror_tree(w.m, a, &b, &msg), 0);
    assert_ptr_equal(a->collections[0], b->collections[0]);
    assert_ptr_not_equal(a->collections[1], b->collections[1]);
    assert_ptr_equal(a->collections[1]->config, b->collections[1]->config);
    qv_topology_unref(none);
    qv_topology_unref(a);
    qv_topology_unref(b);
    qv_mirror_destroy(&w.m);
}

/* A record that can't be read names its key, and the tree stays as it was until it is mended. */
static void test_bad_records(void **state)
{
    (void)state;
    static const uint8_t newer[] = {9, 0, 1, 2, 3};
    struct world w = {.m = qv_mirror_create()};
    struct qv_errmsg msg = {""};
    const struct qv_topology *none = qv_topology_create(0);
    const struct qv_topology *a = NULL;
    char key[QV_TREE_KEY_BYTES];
    uint8_t uuid[QV_UUID_BYTES];
    uuid_of(1, uuid);
    qv_tree_shard_key(uuid, 0, key);
    qv_rng_init(&w.rng, 1);
    put_collection(&w, 1, 1, 4);
    assert_int_equal(qv_mirror_tree(w.m, none, &a, &msg), QV_ECORRUPT); /* no shard */
    qv_mirror_put(w.m, &(struct qv_mirror_entry){key, {newer, sizeof newer}});
    assert_int_equal(qv_mirror_tree(w.m, none, &a, &msg), QV_ENOTIMPL);
    assert_non_null(strstr(msg.text, key));
    qv_mirror_put(w.m, &(struct qv_mirror_entry){key, {newer, 1}});
    assert_int_equal(qv_mirror_tree(w.m, none, &a, &msg), QV_ECORRUPT);
    put_shard(&w, 1, 0);
    assert_int_equal(qv_mirror_tree(w.m, none, &a, &msg), 0);
    assert_int_equal(a->count, 1);
    qv_topology_unref(none);
    qv_topology_unref(a);
    qv_mirror_destroy(&w.m);
}

/* Bytes that were cut or changed are refused, or are another sound copy; never more than that. */
static void test_hostile_copies(void **state)
{
    (void)state;
    struct world w = {.m = qv_mirror_create()};
    struct qv_errmsg msg = {""};
    struct qv_buf bytes;
    qv_rng_init(&w.rng, 5);
    for (int i = 0; i < 30; i++)
        random_change(&w);
    qv_buf_init(&bytes, 0);
    qv_mirror_encode(w.m, &bytes);
    for (int i = 0; i < 3000; i++) {
        struct qv_mirror *copy = qv_mirror_create();
        const struct qv_topology *none = qv_topology_create(0);
        const struct qv_topology *t = NULL;
        size_t at = qv_rng_below(&w.rng, bytes.len);
        size_t n = qv_rng_below(&w.rng, 2) == 0 ? bytes.len : at;
        uint8_t was = bytes.data[at];
        bytes.data[at] ^= (uint8_t)(1 + qv_rng_below(&w.rng, 255));
        if (qv_mirror_decode(copy, (struct qv_bytes){bytes.data, n}, &msg) == 0 &&
            qv_mirror_tree(copy, none, &t, &msg) == 0)
            qv_topology_unref(t);
        bytes.data[at] = was;
        qv_topology_unref(none);
        qv_mirror_destroy(&copy);
    }
    qv_buf_close(&bytes);
    qv_mirror_destroy(&w.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folding_is_building),
        cmocka_unit_test(test_what_is_untouched_is_shared),
        cmocka_unit_test(test_bad_records),
        cmocka_unit_test(test_hostile_copies),
    };
    return RUN_SUITE(tests);
}
