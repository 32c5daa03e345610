#include "suite.h"

#include "base/rng.h"
#include "cluster/rebalance.h"

#include <stdio.h>

#define NODES_MAX 9u

struct world {
    const struct qv_topology *t;
    struct qv_rng rng;
};

static void put_collection(struct world *w, const struct qv_collection *before,
                           const struct qv_shard_place *shards, uint32_t count, uint32_t i)
{
    struct qv_vector_config vector = {.size = 4, .name = {"", 0}};
    struct qv_collection_config config = {.vector_count = 1,
                                          .vectors = &vector,
                                          .vectors_unnamed = true,
                                          .shard_number = count,
                                          .replication_factor = 1,
                                          .write_consistency_factor = 1};
    char name[8];
    const struct qv_collection *c;
    snprintf(name, sizeof name, "c%u", i);
    struct qv_collection_spec spec = {.name = {name, strlen(name)},
                                      .generation = 1,
                                      .config = before != NULL ? before->config : &config,
                                      .shard_count = count,
                                      .shards = shards,
                                      .before = before};
    spec.uuid[0] = (uint8_t)i;
    if (before != NULL)
        memcpy(spec.uuid, before->uuid, sizeof spec.uuid);
    assert_int_equal(qv_collection_create(&spec, &c), 0);
    const struct qv_topology *next = qv_topology_with(w->t, w->t->epoch + 1, c);
    qv_topology_unref(w->t);
    w->t = next;
}

static void put_members(struct world *w, const struct qv_member *list, uint32_t n)
{
    const struct qv_topology *next = qv_topology_with_members(w->t, w->t->epoch + 1, list, n);
    qv_topology_unref(w->t);
    w->t = next;
}

/* Begins the move, or ends it, in the tree. */
static void step(struct world *w, const struct qv_rebalance_move *m, bool done)
{
    const struct qv_collection *c = qv_topology_by_uuid(w->t, m->uuid);
    struct qv_shard_place shards[QV_SHARDS_MAX];
    assert_non_null(c);
    memcpy(shards, c->shards, c->shard_count * sizeof *shards);
    for (uint32_t i = 0; i < c->shard_count; i++) {
        struct qv_slot_place *p = &shards[i].slots[m->slot];
        if (shards[i].number != m->shard)
            continue;
        if (done) {
            *p = (struct qv_slot_place){.holder = m->to};
            continue;
        }
        assert_int_equal(p->holder, m->from);
        assert_int_equal(p->step, QV_STEP_NONE);
        p->next = m->to;
        p->step = QV_STEP_FOLLOW;
    }
    put_collection(w, c, shards, c->shard_count, c->uuid[0]);
}

static uint32_t all_slots(const struct qv_topology *t)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->count; i++)
        n += t->collections[i]->shard_count;
    return n;
}

/* Whatever the start: it ends, the drained are empty, the others differ by one at most, nothing is
 * lost, no more moves than it takes. */
static void test_it_ends_balanced(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct world w = {.t = qv_topology_create(1)};
        struct qv_member members[NODES_MAX] = {0};
        struct qv_shard_place shards[12] = {0};
        uint32_t eligible = 0;
        qv_rng_init(&w.rng, seed);
        uint32_t n = 2 + (uint32_t)qv_rng_below(&w.rng, NODES_MAX - 1);
        for (uint32_t i = 0; i < n; i++) {
            members[i].id = i + 1;
            members[i].role = i == 1 ? QV_ROLE_PROXY : QV_ROLE_ALL;
            members[i].state =
                i > 1 && qv_rng_below(&w.rng, 4) == 0 ? QV_MEMBER_DRAINING : QV_MEMBER_ACTIVE;
            eligible += i != 1 && members[i].state == QV_MEMBER_ACTIVE;
        }
        put_members(&w, members, n);
        for (uint32_t c = 0; c < 1 + qv_rng_below(&w.rng, 5); c++) {
            uint32_t count = 1 + (uint32_t)qv_rng_below(&w.rng, 12);
            for (uint32_t i = 0; i < count; i++) {
                uint64_t id = 1 + qv_rng_below(&w.rng, n);
                shards[i] = (struct qv_shard_place){.number = i, .slot_count = 1};
                shards[i].slots[0].holder = id == 2 ? 1 : id; /* not the proxy */
            }
            put_collection(&w, NULL, shards, count, c);
        }
        uint32_t total = all_slots(w.t);
        struct qv_rebalance_move open[QV_MOVES_AT_ONCE];
        uint32_t under_way = 0;
        uint32_t moves = 0;
        for (;;) {
            struct qv_rebalance_move m;
            if (under_way < QV_MOVES_AT_ONCE && qv_rebalance_next(w.t, true, &m)) {
                assert_true(m.from != m.to && m.to != 2);
                step(&w, &m, false);
                open[under_way++] = m;
                moves++;
                assert_true(moves <= total);
            } else if (under_way > 0) {
                step(&w, &open[--under_way], true);
            } else {
                break;
            }
        }
        uint32_t low = UINT32_MAX;
        uint32_t high = 0;
        uint32_t sum = 0;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t load = qv_rebalance_load(w.t, members[i].id);
            sum += load;
            if (i == 1 || members[i].state == QV_MEMBER_DRAINING) {
                assert_int_equal(load, 0);
                continue;
            }
            low = load < low ? load : low;
            high = load > high ? load : high;
        }
        assert_int_equal(sum, total);
        assert_true(eligible == 0 || high <= low + 1);
        qv_topology_unref(w.t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_ends_balanced),
    };
    return RUN_SUITE(tests);
}
