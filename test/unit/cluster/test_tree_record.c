/* Records of the metadata come back as they were; cut ones do not, newer ones say so. */
#include "suite.h"

#include "base/rng.h"
#include "cluster/mirror.h"

#include <stdlib.h>

#define ROUNDS SANITIZED_LESS(2000)

struct world {
    struct qv_rng rng;
    struct qv_arena arena;
    struct qv_buf b;
    struct qv_errmsg msg;
};

static void world_open(struct world *w, const char *test)
{
    const char *env = getenv("SEED");
    const uint64_t seed = env != NULL ? strtoull(env, NULL, 0) : 20252u;
    printf("%s: SEED=%llu\n", test, (unsigned long long)seed);
    qv_rng_init(&w->rng, seed);
    qv_arena_init(&w->arena, (size_t)16 << 20);
    qv_buf_init(&w->b, 0);
}

static void world_close(struct world *w)
{
    qv_arena_close(&w->arena);
    qv_buf_close(&w->b);
}

static struct qv_bytes bytes_of(const struct qv_buf *b)
{
    return (struct qv_bytes){b->data, b->len};
}

/* For the fuzz target, behind the byte that selects the record there. */
static void keep_seed(uint8_t selector, unsigned round, const struct qv_buf *b)
{
    const char *dir = getenv("QV_SEEDS");
    char path[512];
    if (dir == NULL || round >= 8)
        return;
    (void)snprintf(path, sizeof path, "%s/tree_record/made-%u-%02u", dir, selector, round);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(&selector, 1, 1, f), 1);
    assert_int_equal(fwrite(b->data, 1, b->len, f), b->len);
    assert_int_equal(fclose(f), 0);
}

static uint64_t any_u64(struct world *w)
{
    return qv_rng_u64(&w->rng) >> qv_rng_below(&w->rng, 64);
}

static void any_text(struct world *w, char *out, size_t room)
{
    const size_t n = (size_t)qv_rng_below(&w->rng, qv_rng_below(&w->rng, 4) == 0 ? room : 20);
    for (size_t i = 0; i < n; i++)
        out[i] = (char)('a' + qv_rng_below(&w->rng, 26));
    out[n] = '\0';
}

static void any_member(struct world *w, struct qv_member *m)
{
    memset(m, 0, sizeof *m);
    m->id = any_u64(w) | 1;
    m->incarnation = any_u64(w);
    m->role = (uint8_t)qv_rng_below(&w->rng, QV_ROLE_SHARD + 1);
    m->state = (uint8_t)qv_rng_below(&w->rng, QV_MEMBER_STATE_COUNT);
    any_text(w, m->host, sizeof m->host);
    any_text(w, m->zone, sizeof m->zone);
    m->peer_port = (uint16_t)any_u64(w);
    m->http_port = (uint16_t)any_u64(w);
    m->grpc_port = (uint16_t)any_u64(w);
    m->protocol_min = (uint32_t)any_u64(w);
    m->protocol_max = (uint32_t)any_u64(w);
    m->feature_level = (uint32_t)any_u64(w);
}

static void any_shard(struct world *w, struct qv_shard_place *s)
{
    memset(s, 0, sizeof *s);
    s->number = (uint32_t)any_u64(w);
    s->incarnation = (uint32_t)any_u64(w);
    s->epoch = any_u64(w);
    s->slot_count = 1 + (uint32_t)qv_rng_below(&w->rng, QV_SHARD_SLOTS_MAX);
    for (uint32_t i = 0; i < s->slot_count; i++) {
        s->slots[i].holder = any_u64(w) | 1;
        s->slots[i].step = (uint8_t)qv_rng_below(&w->rng, QV_STEP_COUNT);
        s->slots[i].next = s->slots[i].step == QV_STEP_NONE ? 0 : any_u64(w) | 1;
        s->slots[i].transfer = any_u64(w);
    }
}

static void members_come_back(void **state)
{
    (void)state;
    struct world w;
    struct qv_member m, got;
    world_open(&w, "members_come_back");
    for (unsigned i = 0; i < ROUNDS; i++) {
        any_member(&w, &m);
        qv_buf_clear(&w.b);
        qv_tree_encode_member(&w.b, &m);
        keep_seed(0, i, &w.b);
        assert_true(w.b.len <= 4096);
        assert_int_equal(qv_tree_decode_member(bytes_of(&w.b), &got, &w.msg), 0);
        assert_int_equal(got.id, m.id);
        assert_int_equal(got.incarnation, m.incarnation);
        assert_int_equal(got.role, m.role);
        assert_int_equal(got.state, m.state);
        assert_string_equal(got.host, m.host);
        assert_string_equal(got.zone, m.zone);
        assert_int_equal(got.peer_port, m.peer_port);
        assert_int_equal(got.http_port, m.http_port);
        assert_int_equal(got.grpc_port, m.grpc_port);
        assert_int_equal(got.protocol_min, m.protocol_min);
        assert_int_equal(got.protocol_max, m.protocol_max);
        assert_int_equal(got.feature_level, m.feature_level);
        w.b.len = (size_t)qv_rng_below(&w.rng, w.b.len);
        assert_int_equal(qv_tree_decode_member(bytes_of(&w.b), &got, &w.msg), QV_ECORRUPT);
    }
    world_close(&w);
}

static void shards_come_back(void **state)
{
    (void)state;
    struct world w;
    struct qv_shard_place s, got;
    world_open(&w, "shards_come_back");
    for (unsigned i = 0; i < ROUNDS; i++) {
        any_shard(&w, &s);
        qv_buf_clear(&w.b);
        qv_tree_encode_shard(&w.b, &s);
        keep_seed(1, i, &w.b);
        assert_true(w.b.len <= 4096);
        qv_buf_append(&w.b, "what a newer node adds", i % 2 == 0 ? 22 : 0);
        assert_int_equal(qv_tree_decode_shard(bytes_of(&w.b), &got, &w.msg), 0);
        assert_int_equal(got.number, s.number);
        assert_int_equal(got.incarnation, s.incarnation);
        assert_int_equal(got.epoch, s.epoch);
        assert_int_equal(got.slot_count, s.slot_count);
        for (uint32_t k = 0; k < s.slot_count; k++) {
            assert_int_equal(got.slots[k].holder, s.slots[k].holder);
            assert_int_equal(got.slots[k].next, s.slots[k].next);
            assert_int_equal(got.slots[k].transfer, s.slots[k].transfer);
            assert_int_equal(got.slots[k].step, s.slots[k].step);
        }
    }
    s.slot_count = 1;
    s.slots[0] = (struct qv_slot_place){.holder = 1, .step = QV_STEP_BOTH}; /* with whom? */
    qv_buf_clear(&w.b);
    qv_tree_encode_shard(&w.b, &s);
    assert_int_equal(qv_tree_decode_shard(bytes_of(&w.b), &got, &w.msg), QV_ECORRUPT);
    world_close(&w);
}

static void aliases_come_back(void **state)
{
    (void)state;
    struct world w;
    struct qv_aliases_out got;
    world_open(&w, "aliases_come_back");
    for (unsigned i = 0; i < ROUNDS / 10; i++) {
        struct qv_alias list[20];
        char texts[20][2][24];
        const uint32_t n = (uint32_t)qv_rng_below(&w.rng, 20);
        for (uint32_t k = 0; k < n; k++) {
            (void)snprintf(texts[k][0], 24, "alias-%u", k);
            (void)snprintf(texts[k][1], 24, "c-%u", (unsigned)qv_rng_below(&w.rng, 1000));
            list[k] = (struct qv_alias){qv_str_of(texts[k][0]), qv_str_of(texts[k][1])};
        }
        qv_buf_clear(&w.b);
        qv_arena_reset(&w.arena);
        qv_tree_encode_aliases(&w.b, list, n);
        keep_seed(3, i, &w.b);
        assert_int_equal(qv_tree_decode_aliases(bytes_of(&w.b), &w.arena, &got, &w.msg), 0);
        assert_int_equal(got.count, n);
        for (uint32_t k = 0; k < n; k++) {
            assert_true(qv_str_equal(got.list[k].name, list[k].name));
            assert_true(qv_str_equal(got.list[k].collection, list[k].collection));
        }
    }
    world_close(&w);
}

static void collections_come_back(void **state)
{
    (void)state;
    struct world w;
    struct qv_tree_collection got;
    struct qv_collection_config config;
    const struct qv_vector_config vector = {.size = 128, .name = {"", 0}};
    const struct qv_collection_config given = {.vector_count = 1,
                                               .vectors = &vector,
                                               .vectors_unnamed = true,
                                               .shard_number = 4,
                                               .replication_factor = 1,
                                               .write_consistency_factor = 1};
    const struct qv_collection c = {.name = {"köln", 5}, .generation = 7, .config = &given};
    world_open(&w, "collections_come_back");
    qv_tree_encode_collection(&w.b, &c);
    keep_seed(2, 0, &w.b);
    assert_int_equal(qv_tree_decode_collection(bytes_of(&w.b), &got, &w.msg), 0);
    assert_true(qv_str_equal(got.name, c.name));
    assert_int_equal(got.generation, 7);
    assert_int_equal(qv_tree_decode_config(got.config, &w.arena, &config, &w.msg), 0);
    assert_int_equal(config.vectors[0].size, 128);
    assert_int_equal(config.shard_number, 4);
    for (size_t n = 0; n < w.b.len; n++) {
        const struct qv_bytes cut = {w.b.data, n};
        assert_int_equal(qv_tree_decode_collection(cut, &got, &w.msg), QV_ECORRUPT);
    }
    world_close(&w);
}

static void newer_versions_say_so(void **state)
{
    (void)state;
    struct world w;
    struct qv_member m;
    struct qv_shard_place s;
    const struct qv_bytes newer = {(const uint8_t *)"\x02\x00 and more", 11};
    world_open(&w, "newer_versions_say_so");
    assert_int_equal(qv_tree_decode_member(newer, &m, &w.msg), QV_ENOTIMPL);
    assert_non_null(strstr(w.msg.text, "version 2"));
    assert_int_equal(qv_tree_decode_shard(newer, &s, &w.msg), QV_ENOTIMPL);
    world_close(&w);
}

static void put_record(struct world *w, struct qv_mirror *m, const char *key)
{
    assert_false(w->b.failed);
    qv_mirror_put(m, &(struct qv_mirror_entry){key, bytes_of(&w->b)});
    qv_buf_clear(&w->b);
}

static void put_members(struct world *w, struct qv_mirror *m)
{
    for (uint64_t k = qv_rng_below(&w->rng, 10); k > 0; k--) {
        struct qv_member member;
        char key[QV_TREE_KEY_BYTES];
        any_member(w, &member);
        qv_tree_encode_member(&w->b, &member);
        qv_tree_member_key(member.id, key);
        put_record(w, m, key);
    }
}

/* Collections of one shard or more, and aliases of them. */
static void put_collections(struct world *w, struct qv_mirror *m, uint32_t count)
{
    const struct qv_vector_config vector = {.size = 4, .name = {"", 0}};
    const struct qv_collection_config config = {.vector_count = 1,
                                                .vectors = &vector,
                                                .vectors_unnamed = true,
                                                .shard_number = 1,
                                                .replication_factor = 1,
                                                .write_consistency_factor = 1};
    struct qv_alias aliases[4];
    char names[4][2][16];
    char key[QV_TREE_KEY_BYTES];
    assert_true(count <= 4);
    for (uint32_t k = 0; k < count; k++) {
        (void)snprintf(names[k][0], sizeof names[k][0], "alias-%u", k % 10);
        (void)snprintf(names[k][1], sizeof names[k][1], "name-%u", k % 10);
        aliases[k] = (struct qv_alias){qv_str_of(names[k][0]), qv_str_of(names[k][1])};
        struct qv_collection c = {
            .name = aliases[k].collection, .generation = 1 + k, .config = &config};
        memset(c.uuid, (int)k + 1, sizeof c.uuid);
        qv_tree_encode_collection(&w->b, &c);
        qv_tree_collection_key(c.uuid, key);
        put_record(w, m, key);
        for (uint32_t s = 0; s <= qv_rng_below(&w->rng, 3); s++) {
            struct qv_shard_place shard;
            any_shard(w, &shard);
            shard.number = s;
            qv_tree_encode_shard(&w->b, &shard);
            qv_tree_shard_key(c.uuid, s, key);
            put_record(w, m, key);
        }
    }
    qv_tree_encode_aliases(&w->b, aliases, count);
    put_record(w, m, QV_TREE_ALIASES);
    qv_buf_u64(&w->b, 100);
    put_record(w, m, QV_TREE_EPOCH);
}

static void check_tree(struct world *w, struct qv_mirror *m, uint32_t collections)
{
    const struct qv_topology *empty = qv_topology_create(0);
    const struct qv_topology *tree;
    const int err = qv_mirror_tree(m, empty, &tree, &w->msg);
    if (err != 0)
        print_error("%s\n", w->msg.text);
    assert_int_equal(err, 0);
    assert_int_equal(tree->count, collections);
    assert_int_equal(tree->aliases.count, collections);
    qv_topology_unref(tree);
    qv_topology_unref(empty);
}

/* Everything in one: what a node keeps on disk and gives to one that is behind. */
static void copies_come_back(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "copies_come_back");
    for (unsigned i = 0; i < ROUNDS / 20; i++) {
        struct qv_mirror *m = qv_mirror_create();
        struct qv_mirror *other = qv_mirror_create();
        const uint32_t collections = (uint32_t)qv_rng_below(&w.rng, 5);
        qv_buf_clear(&w.b);
        put_members(&w, m);
        put_collections(&w, m, collections);
        qv_mirror_encode(m, &w.b);
        keep_seed(4, i, &w.b);
        assert_int_equal(qv_mirror_decode(other, bytes_of(&w.b), &w.msg), 0);
        assert_int_equal(qv_mirror_count(other), qv_mirror_count(m));
        for (uint32_t k = 0; k < qv_mirror_count(m); k++) {
            const struct qv_mirror_entry a = qv_mirror_at(m, k), b = qv_mirror_at(other, k);
            assert_string_equal(a.key, b.key);
            assert_int_equal(a.value.n, b.value.n);
            assert_memory_equal(a.value.p, b.value.p, a.value.n);
        }
        check_tree(&w, other, collections);
        const struct qv_bytes cut = {w.b.data, (size_t)qv_rng_below(&w.rng, w.b.len)};
        assert_int_equal(qv_mirror_decode(other, cut, &w.msg), QV_ECORRUPT);
        qv_buf_u8(&w.b, 0);
        assert_int_equal(qv_mirror_decode(other, bytes_of(&w.b), &w.msg), QV_ECORRUPT);
        qv_mirror_destroy(&m);
        qv_mirror_destroy(&other);
    }
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_come_back),     cmocka_unit_test(shards_come_back),
        cmocka_unit_test(aliases_come_back),     cmocka_unit_test(collections_come_back),
        cmocka_unit_test(newer_versions_say_so), cmocka_unit_test(copies_come_back),
    };
    return RUN_SUITE(tests);
}
