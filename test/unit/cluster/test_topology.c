#include "suite.h"

#include "base/rng.h"
#include "cluster/topology.h"

#include <string.h>

static const struct qv_collection *make(const char *name, uint64_t generation, uint32_t shard,
                                        const struct qv_collection *before)
{
    struct qv_vector_config vector = {.size = 4, .name = {"", 0}};
    struct qv_collection_config config = {.vector_count = 1,
                                          .vectors = &vector,
                                          .vectors_unnamed = true,
                                          .shard_number = 1,
                                          .replication_factor = 1,
                                          .write_consistency_factor = 1};
    struct qv_shard_place place = {.number = shard};
    struct qv_collection_spec spec = {.name = qv_str_of(name),
                                      .generation = generation,
                                      .config = &config,
                                      .shard_count = 1,
                                      .shards = &place,
                                      .before = before};
    const struct qv_collection *c;
    assert_int_equal(qv_collection_create(&spec, &c), 0);
    return c;
}

static void expect_names(const struct qv_topology *t, const char *want)
{
    char got[256] = "";
    for (uint32_t i = 0; i < t->count; i++) {
        strncat(got, t->collections[i]->name.p, 20);
        strcat(got, " ");
    }
    assert_string_equal(got, want);
}

static void test_changes_make_new_trees(void **state)
{
    (void)state;
    const struct qv_topology *t0 = qv_topology_create(7);
    const struct qv_topology *t1 = qv_topology_with(t0, 8, make("m", 1, 1, NULL));
    const struct qv_topology *t2 = qv_topology_with(t1, 9, make("a", 1, 2, NULL));
    const struct qv_topology *t3 = qv_topology_with(t2, 10, make("z", 1, 3, NULL));
    const struct qv_topology *t4 = qv_topology_without(t3, 11, qv_str_of("m"));
    expect_names(t0, "");
    expect_names(t1, "m ");
    expect_names(t2, "a m ");
    expect_names(t3, "a m z ");
    expect_names(t4, "a z ");
    assert_int_equal(t4->epoch, 11);
    assert_ptr_equal(t4->collections[1], t3->collections[2]); /* branches are shared */
    assert_int_equal(qv_topology_find(t3, qv_str_of("m"))->shards[0].number, 1);
    assert_null(qv_topology_find(t4, qv_str_of("m")));
    assert_null(qv_topology_find(t4, qv_str_of("zz")));
    qv_topology_unref(t3);
    qv_topology_unref(t1);
    expect_names(t4, "a z ");
    qv_topology_unref(t0);
    qv_topology_unref(t2);
    qv_topology_unref(t4);
}

/* A new generation keeps the one before alive: shards may still read its configuration. */
static void test_a_generation_keeps_the_one_before(void **state)
{
    (void)state;
    const struct qv_collection *first = make("c", 1, 1, NULL);
    const struct qv_collection_config *read_by_a_shard = first->config;
    const struct qv_topology *t0 = qv_topology_create(0);
    const struct qv_topology *t1 = qv_topology_with(t0, 1, first);
    const struct qv_topology *t2 = qv_topology_with(t1, 2, make("c", 2, 1, first));
    qv_topology_unref(t0);
    qv_topology_unref(t1);
    assert_int_equal(t2->count, 1);
    assert_int_equal(t2->collections[0]->generation, 2);
    assert_int_equal(read_by_a_shard->vectors[0].size, 4); /* ASan: not freed */
    qv_topology_unref(t2);
}

/* Random changes against a plain sorted list. */
static void test_random_changes(void **state)
{
    (void)state;
    struct qv_rng rng;
    bool there[26] = {false};
    const struct qv_topology *t = qv_topology_create(0);
    qv_rng_init(&rng, 42);
    for (uint64_t epoch = 1; epoch <= 2000; epoch++) {
        uint32_t i = (uint32_t)qv_rng_below(&rng, 26);
        char name[2] = {(char)('a' + i), '\0'};
        bool add = qv_rng_below(&rng, 2) == 0;
        const struct qv_topology *next =
            add ? qv_topology_with(t, epoch, make(name, epoch, i, NULL))
                : qv_topology_without(t, epoch, qv_str_of(name));
        qv_topology_unref(t);
        t = next;
        there[i] = add;
        uint32_t n = 0;
        for (uint32_t k = 0; k < 26; k++) {
            char other[2] = {(char)('a' + k), '\0'};
            assert_int_equal(qv_topology_find(t, qv_str_of(other)) != NULL, there[k]);
            n += there[k];
        }
        assert_int_equal(t->count, n);
    }
    qv_topology_unref(t);
}

static void test_members_are_kept_by_every_change(void **state)
{
    (void)state;
    const struct qv_member members[] = {{.id = 9, .role = QV_ROLE_PROXY}, {.id = 3}};
    const struct qv_topology *t0 = qv_topology_create(1);
    const struct qv_topology *t1 = qv_topology_with_members(t0, 2, members, 2);
    const struct qv_topology *t2 = qv_topology_with(t1, 3, make("c", 1, 1, NULL));
    const struct qv_topology *t3 = qv_topology_with_aliases(t2, 4, NULL, 0);
    const struct qv_topology *t4 = qv_topology_without(t3, 5, qv_str_of("c"));
    assert_int_equal(t4->member_count, 2);
    assert_ptr_equal(t4->members, t1->members);
    assert_int_equal(t4->members[0].id, 3);
    assert_int_equal(qv_topology_member(t4, 9)->role, QV_ROLE_PROXY);
    assert_null(qv_topology_member(t4, 4));
    assert_null(qv_topology_member(t0, 9));
    const struct qv_topology *t5 = qv_topology_with_members(t4, 6, members, 1);
    assert_null(qv_topology_member(t5, 3));
    qv_topology_unref(t0);
    qv_topology_unref(t1);
    qv_topology_unref(t2);
    qv_topology_unref(t3);
    qv_topology_unref(t4);
    qv_topology_unref(t5);
}

/* A shard's change makes a new value of the collection; its configuration is the same object. */
static void test_a_configuration_is_shared(void **state)
{
    (void)state;
    const struct qv_collection *a = make("c", 1, 1, NULL);
    struct qv_shard_place places[] = {{.number = 0, .epoch = 5}, {.number = 7, .incarnation = 2}};
    struct qv_collection_spec spec = {.name = a->name,
                                      .generation = 1,
                                      .config = a->config,
                                      .shard_count = 2,
                                      .shards = places,
                                      .before = a};
    const struct qv_collection *b;
    assert_int_equal(qv_collection_create(&spec, &b), 0);
    assert_ptr_equal(b->config, a->config);
    qv_collection_unref(a);
    assert_int_equal(b->config->vectors[0].size, 4);
    assert_int_equal(qv_collection_shard(b, 7)->incarnation, 2);
    assert_null(qv_collection_shard(b, 1));
    qv_collection_unref(b);
}

static struct qv_id any_id(struct qv_rng *rng)
{
    return qv_rng_below(rng, 2) == 0 ? qv_id_num(qv_rng_below(rng, 3000))
                                     : (struct qv_id){qv_rng_u64(rng), qv_rng_u64(rng), QV_ID_UUID};
}

/* Numbers up to 1,000 * n in n ranges, UUIDs in the last. */
static void make_ranges(struct qv_placement_range *list, const struct qv_shard_place *places,
                        uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        list[i] = (struct qv_placement_range){.shard = places[i].number};
        if (i > 0)
            list[i].ids.from = qv_id_num(i * 1000);
        if (i + 1 < n)
            list[i].ids.to = qv_id_num((i + 1) * 1000);
    }
}

/* Every id is in the set of exactly one shard: its owner. Under a new generation or a new epoch of
 * a shard the placement is the same object, under another division it is not. */
static void test_points_have_one_owner(void **state)
{
    (void)state;
    struct qv_rng rng;
    struct qv_placement_range ranges[5];
    struct qv_shard_place places[6] = {{.number = 1}, {.number = 2}, {.number = 5},
                                       {.number = 8}, {.number = 9}, {.number = 30}};
    qv_rng_init(&rng, 5);
    for (int strategy = QV_PLACEMENT_HASH; strategy <= QV_PLACEMENT_RANGE; strategy++) {
        struct qv_collection_config config = {.shard_number = 5};
        struct qv_collection_spec spec = {.name = qv_str_of("c"),
                                          .generation = 1,
                                          .config = &config,
                                          .shard_count = 5,
                                          .shards = places};
        const struct qv_collection *c;
        const struct qv_collection *next;
        uint32_t counts[5] = {0};
        config.placement.strategy = (enum qv_placement_strategy)strategy;
        if (strategy == QV_PLACEMENT_RANGE) {
            make_ranges(ranges, places, 5);
            config.placement.range_count = 5;
            config.placement.ranges = ranges;
        }
        assert_int_equal(qv_collection_create(&spec, &c), 0);
        assert_int_equal(qv_placement_by_hash(c->placement), strategy != QV_PLACEMENT_RANGE);
        for (int i = 0; i < 2000; i++) {
            const struct qv_id id = any_id(&rng);
            const uint32_t owner = qv_collection_owner(c, &id);
            for (uint32_t s = 0; s < 5; s++)
                assert_int_equal(qv_key_set_has(qv_collection_keys(c, s), &id), s == owner);
            counts[owner]++;
        }
        for (uint32_t s = 0; s < 5; s++)
            assert_true(strategy == QV_PLACEMENT_RANGE ? (counts[s] > 0) == (s != 3)
                                                       : counts[s] > 200);
        places[2].epoch++;
        spec.before = c;
        config.metadata = (struct qv_doc){0};
        assert_int_equal(qv_collection_create(&spec, &next), 0);
        assert_ptr_equal(next->placement, c->placement);
        qv_collection_unref(next);
        spec.shard_count = 6;
        const int err = qv_collection_create(&spec, &next);
        assert_int_equal(err, strategy == QV_PLACEMENT_RANGE ? QV_EINVAL : 0);
        if (err == 0) {
            assert_ptr_not_equal(next->placement, c->placement);
            qv_collection_unref(next);
        }
        qv_collection_unref(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes_make_new_trees),
        cmocka_unit_test(test_a_generation_keeps_the_one_before),
        cmocka_unit_test(test_random_changes),
        cmocka_unit_test(test_members_are_kept_by_every_change),
        cmocka_unit_test(test_a_configuration_is_shared),
        cmocka_unit_test(test_points_have_one_owner),
    };
    return RUN_SUITE(tests);
}
