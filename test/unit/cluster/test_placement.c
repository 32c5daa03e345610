/* Placements by property: random specs, random ids, printed seeds. */
#include "suite.h"

#include "base/mem.h"
#include "base/rng.h"
#include "cluster/placement_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS 80u
#define IDS 2000u

static uint64_t seed;

struct world {
    struct qv_rng rng;
    struct qv_arena arena;
    uint32_t shards[SHARDS];
    struct qv_placement_range ranges[SHARDS * 2];
    float rows[SHARDS * 3];
    float weights[SHARDS];
    uint32_t parents[SHARDS];
    struct qv_placement_spec spec;
};

static struct world *world_create(uint64_t n)
{
    struct world *w = qv_mem_calloc(1, sizeof *w);
    qv_rng_init(&w->rng, seed + n);
    qv_arena_init(&w->arena, 64u << 20);
    return w;
}

static void world_destroy(struct world *w)
{
    qv_centroids_unref(w->spec.centroids);
    qv_arena_close(&w->arena);
    qv_mem_free(w);
}

static struct qv_id random_id(struct qv_rng *rng)
{
    if (qv_rng_below(rng, 2) == 0)
        return qv_id_num(qv_rng_below(rng, 2) == 0 ? qv_rng_below(rng, 1000) : qv_rng_u64(rng));
    return (struct qv_id){.hi = qv_rng_u64(rng), .lo = qv_rng_u64(rng), .type = QV_ID_UUID};
}

static int by_id(const void *a, const void *b)
{
    return qv_id_compare(a, b);
}

static void fill_ranges(struct world *w)
{
    struct qv_id keys[SHARDS * 2];
    const uint32_t n = w->spec.shard_count + (uint32_t)qv_rng_below(&w->rng, w->spec.shard_count);
    for (uint32_t i = 0; i < n; i++)
        keys[i] = i % 3 == 0
                      ? qv_id_num(qv_rng_u64(&w->rng))
                      : (struct qv_id){.hi = qv_rng_u64(&w->rng), .lo = i, .type = QV_ID_UUID};
    qsort(keys, n, sizeof *keys, by_id);
    uint32_t count = 0;
    struct qv_id from = {0};
    for (uint32_t i = 0; i + 1 < n; i++) {
        w->ranges[count++].ids = (struct qv_id_range){from, keys[i]};
        from = keys[i];
    }
    w->ranges[count++].ids = (struct qv_id_range){.from = from};
    for (uint32_t i = 0; i < count; i++)
        w->ranges[i].shard =
            w->spec
                .shards[i < w->spec.shard_count ? i : qv_rng_below(&w->rng, w->spec.shard_count)];
    w->spec.ranges = w->ranges;
    w->spec.range_count = count;
}

static void fill_centroids(struct world *w)
{
    struct qv_centroids_spec s = {.metric = QV_METRIC_L2,
                                  .dim = 3,
                                  .count = w->spec.shard_count,
                                  .rows = w->rows,
                                  .weights = w->weights,
                                  .parents = w->parents,
                                  .shards = w->shards};
    for (uint32_t i = 0; i < 3 * s.count; i++)
        w->rows[i] = qv_rng_gauss(&w->rng);
    memset(w->parents, 0xff, sizeof w->parents);
    qv_centroids_unref(w->spec.centroids);
    assert_int_equal(qv_centroids_create(&s, &w->spec.centroids, NULL), 0);
    w->spec.dim = 3;
}

/* A spec of n shards with random ascending numbers. */
static void world_spec(struct world *w, enum qv_placement_strategy strategy, uint32_t n)
{
    uint32_t shard = (uint32_t)qv_rng_below(&w->rng, 5);
    for (uint32_t i = 0; i < n; i++) {
        w->shards[i] = shard;
        shard += 1 + (uint32_t)qv_rng_below(&w->rng, 4);
    }
    w->spec.strategy = strategy;
    w->spec.shards = w->shards;
    w->spec.shard_count = n;
    w->spec.virtual_nodes = 1 + (uint32_t)qv_rng_below(&w->rng, 120);
    if (strategy == QV_PLACEMENT_RANGE)
        fill_ranges(w);
    if (strategy == QV_PLACEMENT_CLUSTER)
        fill_centroids(w);
}

static const struct qv_placement *make(const struct qv_placement_spec *spec)
{
    struct qv_errmsg msg = {""};
    const struct qv_placement *p = NULL;
    int err = qv_placement_create(spec, &p, &msg);
    if (err != 0)
        print_message("%s\n", msg.text);
    assert_int_equal(err, 0);
    return p;
}

static bool named(const struct qv_placement_spec *s, uint32_t shard)
{
    for (uint32_t i = 0; i < s->shard_count; i++)
        if (s->shards[i] == shard)
            return true;
    return false;
}

/* ---- keys ---- */

/* One owner, the same on two nodes; a shard's cover holds exactly the keys it owns. */
static void check_ids(struct world *w, const struct qv_placement *p, const struct qv_placement *q)
{
    struct qv_key_set sets[SHARDS];
    for (uint32_t s = 0; s < w->spec.shard_count; s++) {
        const char *reason = NULL;
        assert_int_equal(qv_placement_key_set(&w->arena, p, w->shards[s], &sets[s]), 0);
        assert_true(qv_key_set_check(&sets[s], &reason));
    }
    struct qv_key_set none;
    assert_int_equal(qv_placement_key_set(&w->arena, p, 100000, &none), 0);
    assert_true(qv_key_set_equal(&none, &qv_key_set_none));
    for (uint32_t i = 0; i < IDS; i++) {
        const struct qv_id id = random_id(&w->rng);
        const uint32_t owner = qv_placement_owner(p, &id);
        assert_true(named(&w->spec, owner));
        assert_int_equal(qv_placement_owner(q, &id), owner);
        uint32_t owners = 0;
        for (uint32_t s = 0; s < w->spec.shard_count; s++) {
            const bool owns = qv_placement_owns(p, w->shards[s], &id);
            const bool covers =
                qv_cover_holds(qv_placement_keys(p, w->shards[s]), qv_id_key_hash(&id));
            owners += owns;
            assert_true(qv_key_set_has(&sets[s], &id) == owns);
            assert_true(covers == (owns || w->spec.strategy == QV_PLACEMENT_RANGE));
        }
        assert_int_equal(owners, 1);
    }
}

/* The covers of all legs: disjoint under the hash kinds, and everything together. */
static void check_legs(struct world *w, const struct qv_placement *p)
{
    const struct qv_placement_query query = {.ask = QV_PLACEMENT_ASK_ALL};
    const struct qv_placement_leg *legs;
    uint32_t n;
    struct qv_cover all = qv_cover_none;
    double share = 0;
    assert_int_equal(qv_placement_cover(p, &w->arena, &query, &legs, &n), 0);
    for (uint32_t i = 0; i < n; i++) {
        const char *reason = NULL;
        assert_true(qv_cover_check(&legs[i].cover, &reason));
        assert_true(named(&w->spec, legs[i].shard) && isinf(legs[i].bound));
        assert_true(i == 0 || legs[i - 1].shard < legs[i].shard);
        assert_true(qv_placement_leg_matters(&legs[i], -1e30F));
        share += qv_cover_share(&legs[i].cover);
        assert_int_equal(qv_cover_union(&w->arena, &all, &legs[i].cover, &all), 0);
    }
    assert_true(qv_cover_equal(&all, &qv_cover_all));
    if (w->spec.strategy <= QV_PLACEMENT_CONSISTENT_HASH)
        assert_true(fabs(share - 1) < 1e-12); /* so none overlap */
}

static void test_every_key_has_one_owner(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < SANITIZED_LESS(40) + 4; run++)
        for (unsigned strategy = 0; strategy < QV_PLACEMENT_STRATEGY_COUNT; strategy++) {
            struct world *w = world_create(run * 16 + strategy);
            world_spec(w, (enum qv_placement_strategy)strategy,
                       1 + (uint32_t)qv_rng_below(&w->rng, run % 4 == 0 ? 3 : SHARDS - 1));
            const struct qv_placement *p = make(&w->spec);
            const struct qv_placement *q = make(qv_placement_spec_of(p)); /* another node */
            check_ids(w, p, q);
            check_legs(w, p);
            assert_int_equal(qv_placement_keys(p, 100000)->count, 0);
            struct qv_placement_moves none;
            assert_int_equal(qv_placement_moves(&w->arena, p, q, &none), 0);
            assert_int_equal(none.count, 0);
            qv_placement_unref(q);
            qv_placement_unref(p);
            world_destroy(w);
        }
}

/* The formula that finds a key's interval and the intervals are one thing, on every border. */
static void test_hash_intervals_are_equal(void **state)
{
    (void)state;
    uint32_t shards[QV_PLACEMENT_SHARDS_MAX];
    for (uint32_t i = 0; i < QV_PLACEMENT_SHARDS_MAX; i++)
        shards[i] = i;
    for (uint32_t n = 1; n <= QV_PLACEMENT_SHARDS_MAX; n += n < 70 ? 1 : n / 7) {
        const struct qv_placement_spec spec = {.shard_count = n, .shards = shards};
        const struct qv_placement *p = make(&spec);
        uint64_t next = 0;
        for (uint32_t i = 0; i < n; i++) {
            const struct qv_cover *c = qv_placement_keys(p, i);
            assert_int_equal(c->count, 1);
            assert_true(c->list[0].first == next);
            assert_true(fabs(qv_cover_share(c) * n - 1) < 1e-9);
            next = c->list[0].last + 1;
        }
        assert_true(next == 0); /* around */
        qv_placement_unref(p);
    }
}

/* The last hash of a segment is its shard's, the one behind it is the next one's. */
static void test_borders_are_exact(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < 200; run++) {
        struct world *w = world_create(500 + run);
        world_spec(w, run % 2 == 0 ? QV_PLACEMENT_HASH : QV_PLACEMENT_CONSISTENT_HASH,
                   1 + (uint32_t)qv_rng_below(&w->rng, SHARDS - 1));
        const struct qv_placement *p = make(&w->spec);
        const struct qv_segments *s = &p->segments;
        for (uint32_t i = 0; i < s->count; i++) {
            const uint64_t firsts[2] = {i == 0 ? 0 : s->lasts[i - 1] + 1, s->lasts[i]};
            for (uint32_t j = 0; j < 2; j++) {
                const uint32_t owner = run % 2 == 0
                                           ? qv_placement_hash_owner(w->spec.shard_count, firsts[j])
                                           : qv_placement_ring_owner(s, firsts[j]);
                assert_int_equal(owner, s->owners[i]);
                assert_true(qv_cover_holds(&p->keys[owner], firsts[j]));
            }
        }
        qv_placement_unref(p);
        world_destroy(w);
    }
}

/* ---- movement ---- */

/* Exactly the ids that change their shard are in one move, the right one; the share is the ids'. */
static void check_moves(struct world *w, const struct qv_placement *a, const struct qv_placement *b)
{
    struct qv_placement_moves moves;
    assert_int_equal(qv_placement_moves(&w->arena, a, b, &moves), 0);
    for (uint32_t i = 0; i < IDS; i++) {
        const struct qv_id id = random_id(&w->rng);
        const uint32_t from = qv_placement_owner(a, &id);
        const uint32_t to = qv_placement_owner(b, &id);
        uint32_t found = 0;
        for (uint32_t m = 0; m < moves.count; m++) {
            const struct qv_placement_move *move = &moves.list[m];
            assert_true(move->from != move->to);
            const struct qv_key_set set = qv_placement_move_set(move);
            const bool moves_it = qv_id_range_holds(&move->ids, &id) &&
                                  qv_cover_holds(&move->keys, qv_id_key_hash(&id));
            assert_true(qv_key_set_has(&set, &id) == moves_it);
            if (!moves_it)
                continue;
            assert_true(move->from == from && move->to == to);
            found++;
        }
        assert_int_equal(found, from != to);
    }
    double share = 0;
    for (uint32_t m = 0; m < moves.count; m++) {
        const char *reason = NULL;
        const struct qv_key_set set = qv_placement_move_set(&moves.list[m]);
        assert_true(qv_key_set_check(&set, &reason));
        share += qv_cover_share(&moves.list[m].keys);
    }
    if (qv_placement_spec_of(a)->strategy != QV_PLACEMENT_RANGE &&
        qv_placement_spec_of(b)->strategy != QV_PLACEMENT_RANGE)
        assert_true(fabs(share - moves.share) < 1e-12);
    else
        assert_true(isnan(moves.share));
}

static void test_moves_are_what_changes(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < SANITIZED_LESS(100) + 16; run++) {
        struct world *w = world_create(1000 + run);
        struct world *v = world_create(2000 + run);
        world_spec(w, (enum qv_placement_strategy)(run % 4),
                   1 + (uint32_t)qv_rng_below(&w->rng, 30));
        world_spec(v, (enum qv_placement_strategy)(run / 4 % 4),
                   1 + (uint32_t)qv_rng_below(&v->rng, 30));
        const struct qv_placement *a = make(&w->spec);
        const struct qv_placement *b = make(&v->spec);
        check_moves(w, a, b);
        qv_placement_unref(a);
        qv_placement_unref(b);
        world_destroy(w);
        world_destroy(v);
    }
}

static void test_everything_moves(void **state)
{
    (void)state;
    struct world *w = world_create(1);
    const uint32_t one = 1;
    const uint32_t two = 2;
    const struct qv_placement_spec a = {.shard_count = 1, .shards = &one};
    const struct qv_placement_spec b = {
        .shard_count = 1, .shards = &two, .strategy = QV_PLACEMENT_CONSISTENT_HASH};
    const struct qv_placement *p = make(&a);
    const struct qv_placement *q = make(&b);
    struct qv_placement_moves moves;
    assert_int_equal(qv_placement_moves(&w->arena, p, q, &moves), 0);
    assert_true(moves.share == 1 && moves.count == 1 && moves.list[0].keys.count == 1);
    qv_placement_unref(p);
    qv_placement_unref(q);
    world_destroy(w);
}

/* A shard comes: only it receives. One goes: only it gives. */
static void test_ring_moves_only_to_and_from_the_changed(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < SANITIZED_LESS(60) + 4; run++) {
        struct world *w = world_create(3000 + run);
        uint32_t rest[SHARDS];
        world_spec(w, run % 3 == 0 ? QV_PLACEMENT_CLUSTER : QV_PLACEMENT_CONSISTENT_HASH,
                   2 + (uint32_t)qv_rng_below(&w->rng, SHARDS - 2));
        const struct qv_placement *all = make(&w->spec);
        const uint32_t out = (uint32_t)qv_rng_below(&w->rng, w->spec.shard_count);
        uint32_t n = 0;
        for (uint32_t i = 0; i < w->spec.shard_count; i++)
            if (i != out)
                rest[n++] = w->shards[i];
        struct qv_placement_spec fewer = w->spec;
        fewer.strategy = QV_PLACEMENT_CONSISTENT_HASH;
        fewer.shards = rest;
        fewer.shard_count = n;
        const struct qv_placement *without = make(&fewer);
        struct qv_placement_moves moves;
        assert_int_equal(qv_placement_moves(&w->arena, without, all, &moves), 0);
        for (uint32_t m = 0; m < moves.count; m++)
            assert_int_equal(moves.list[m].to, w->shards[out]);
        assert_true(fabs(moves.share - qv_cover_share(qv_placement_keys(all, w->shards[out]))) <
                    1e-12);
        assert_int_equal(qv_placement_moves(&w->arena, all, without, &moves), 0);
        for (uint32_t m = 0; m < moves.count; m++)
            assert_int_equal(moves.list[m].from, w->shards[out]);
        qv_placement_unref(without);
        qv_placement_unref(all);
        world_destroy(w);
    }
}

/* What the ring of 100 points promises, for shards as they are numbered: from n, 50 come. */
static void check_ring_growth(uint32_t first, uint32_t n)
{
    uint32_t shards[128];
    struct qv_arena arena;
    double sum = 0;
    qv_arena_init(&arena, 64u << 20);
    for (uint32_t i = 0; i < 128; i++)
        shards[i] = first + i;
    struct qv_placement_spec spec = {
        .strategy = QV_PLACEMENT_CONSISTENT_HASH, .shards = shards, .shard_count = n};
    const struct qv_placement *before = make(&spec);
    for (uint32_t i = 0; i < 50; i++) {
        struct qv_placement_moves moves;
        spec.shard_count++;
        const struct qv_placement *after = make(&spec);
        assert_int_equal(qv_placement_moves(&arena, before, after, &moves), 0);
        assert_true(moves.share * spec.shard_count <= 1.5);
        sum += moves.share * spec.shard_count;
        qv_placement_unref(before);
        before = after;
        qv_arena_reset(&arena);
    }
    qv_placement_unref(before);
    qv_arena_close(&arena);
    print_message("from %u shards, numbered from %u: %.4f of 1/(n+1) moved\n", n, first, sum / 50);
    assert_true(sum / 50 <= 1.03);
}

static void test_ring_grows_evenly(void **state)
{
    (void)state;
    for (uint32_t first = 0; first < 2; first++) {
        check_ring_growth(first, 4);
        check_ring_growth(first, 16);
        check_ring_growth(first, 64);
    }
}

/* The largest of 64 is 1.35 of the mean at most as shards are numbered; any numbers: 1.6. */
static void test_ring_is_balanced(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < 50; run++) {
        struct world *w = world_create(4000 + run);
        double most = 0;
        world_spec(w, QV_PLACEMENT_CONSISTENT_HASH, 64);
        w->spec.virtual_nodes = 0;
        for (uint32_t i = 0; run < 2 && i < 64; i++)
            w->shards[i] = (uint32_t)run + i;
        const struct qv_placement *p = make(&w->spec);
        for (uint32_t i = 0; i < 64; i++)
            most = fmax(most, 64 * qv_cover_share(qv_placement_keys(p, w->shards[i])));
        if (run < 2)
            print_message("64 shards from %u: the largest holds %.3f of the mean\n", (unsigned)run,
                          most);
        assert_true(most <= (run < 2 ? 1.35 : 1.6));
        qv_placement_unref(p);
        world_destroy(w);
    }
}

/* ---- ranges ---- */

static uint32_t unused_shard(const struct world *w)
{
    return w->shards[w->spec.shard_count - 1] + 1;
}

/* A split moves the upper part of one range to the new shard and nothing else; joining undoes it.
 */
static void test_split_keeps_every_other_key(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < SANITIZED_LESS(60) + 4; run++) {
        struct world *w = world_create(5000 + run);
        struct qv_errmsg msg;
        world_spec(w, QV_PLACEMENT_RANGE, 1 + (uint32_t)qv_rng_below(&w->rng, 30));
        const struct qv_placement *p = make(&w->spec);
        const struct qv_placement *q = NULL;
        const struct qv_placement *back = NULL;
        const struct qv_id key = random_id(&w->rng);
        const uint32_t fresh = unused_shard(w);
        const uint32_t owner = qv_placement_owner(p, &key);
        assert_int_equal(qv_placement_split_range(p, &key, fresh, &q, &msg), 0);
        check_moves(w, p, q);
        for (uint32_t i = 0; i < IDS; i++) {
            const struct qv_id id = random_id(&w->rng);
            const uint32_t was = qv_placement_owner(p, &id);
            const uint32_t is = qv_placement_owner(q, &id);
            assert_true(is == was || (is == fresh && was == owner));
            assert_true(is != fresh || qv_id_compare(&id, &key) >= 0);
        }
        assert_int_equal(qv_placement_owner(q, &key), fresh);
        assert_int_equal(qv_placement_split_range(q, &key, fresh + 1, &back, &msg), QV_EINVAL);
        assert_int_equal(qv_placement_split_range(p, &key, owner, &back, &msg), QV_EINVAL);
        assert_int_equal(qv_placement_merge_ranges(q, owner, fresh, &back, &msg), 0);
        struct qv_placement_moves moves;
        assert_int_equal(qv_placement_moves(&w->arena, p, back, &moves), 0);
        assert_int_equal(moves.count, 0);
        const struct qv_placement *other = NULL; /* the new one takes over the old one's place */
        uint32_t owned = 0;
        for (uint32_t r = 0; r < w->spec.range_count; r++)
            owned += w->ranges[r].shard == owner;
        const int err = qv_placement_merge_ranges(q, fresh, owner, &other, &msg);
        assert_true(err == 0 || owned > 1); /* ranges that don't touch are refused */
        if (err == 0) {
            assert_false(named(qv_placement_spec_of(other), owner));
            assert_int_equal(qv_placement_moves(&w->arena, p, other, &moves), 0);
            for (uint32_t m = 0; m < moves.count; m++)
                assert_true(moves.list[m].from == owner && moves.list[m].to == fresh);
            assert_true(moves.count > 0);
            qv_placement_unref(other);
        }
        qv_placement_unref(back);
        qv_placement_unref(q);
        qv_placement_unref(p);
        world_destroy(w);
    }
}

/* Legs of a range of ids: exactly the shards that own one of them. */
static void test_range_of_ids_asks_its_shards(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < SANITIZED_LESS(100) + 4; run++) {
        struct world *w = world_create(6000 + run);
        world_spec(w, QV_PLACEMENT_RANGE, 1 + (uint32_t)qv_rng_below(&w->rng, 20));
        const struct qv_placement *p = make(&w->spec);
        struct qv_placement_query query = {.ask = QV_PLACEMENT_ASK_IDS};
        const struct qv_placement_leg *legs;
        uint32_t n;
        query.ids.from = random_id(&w->rng);
        query.ids.to = random_id(&w->rng);
        if (run % 3 == 0) /* borders */
            query.ids.to = w->ranges[qv_rng_below(&w->rng, w->spec.range_count)].ids.to;
        if (run % 4 == 0)
            query.ids.from = w->ranges[qv_rng_below(&w->rng, w->spec.range_count)].ids.from;
        if (run % 5 == 0)
            query.ids.to = (struct qv_id){0};
        if (run % 7 == 0)
            query.ids.from = (struct qv_id){0};
        assert_int_equal(qv_placement_cover(p, &w->arena, &query, &legs, &n), 0);
        uint32_t wanted = 0;
        for (uint32_t s = 0; s < w->spec.shard_count; s++) {
            bool asked = false;
            bool needed = false;
            for (uint32_t i = 0; i < n; i++)
                asked = asked || legs[i].shard == w->shards[s];
            for (uint32_t r = 0; r < w->spec.range_count;
                 r++) { /* the later begin, the first end */
                const struct qv_id_range *x = &w->ranges[r].ids;
                const struct qv_id *from = &query.ids.from;
                if (from->type == 0 || (x->from.type != 0 && qv_id_compare(from, &x->from) < 0))
                    from = &x->from;
                const struct qv_id low = from->type == 0 ? qv_id_num(0) : *from;
                needed =
                    needed || (w->ranges[r].shard == w->shards[s] && qv_id_range_holds(x, &low) &&
                               qv_id_range_holds(&query.ids, &low));
            }
            assert_true(asked == needed);
            wanted += needed;
        }
        assert_int_equal(n, wanted);
        qv_placement_unref(p);
        world_destroy(w);
    }
}

static void test_split_key_halves(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < 300; run++) {
        struct world *w = world_create(7000 + run);
        struct qv_id sample[200];
        struct qv_id key;
        const size_t n = 2 + qv_rng_below(&w->rng, 199);
        const uint64_t kinds = 1 + qv_rng_below(&w->rng, run % 2 == 0 ? 4 : 1000000);
        size_t below = 0;
        size_t different = 0;
        size_t most = 0; /* of one id: what can't be divided */
        size_t equal = 0;
        for (size_t i = 0; i < n; i++)
            sample[i] = qv_id_num(qv_rng_below(&w->rng, kinds));
        const int err = qv_placement_split_key(sample, n, &key);
        for (size_t i = 1; i < n; i++)
            different += !qv_id_equal(&sample[i], &sample[0]);
        assert_int_equal(err, different > 0 ? 0 : QV_ENOTFOUND);
        for (size_t i = 0; i < n && err == 0; i++) {
            equal = i > 0 && qv_id_equal(&sample[i], &sample[i - 1]) ? equal + 1 : 1;
            most = equal > most ? equal : most;
            below += qv_id_compare(&sample[i], &key) < 0;
        }
        if (err == 0) {
            assert_true(below > 0 && below < n);
            assert_true(2 * below + most >= n - 1 && 2 * below <= n + most + 1);
        }
        world_destroy(w);
    }
    struct qv_id one = qv_id_num(1);
    assert_int_equal(qv_placement_split_key(&one, 1, &one), QV_ENOTFOUND);
}

/* Loads that halve with a split, add up with a join and swing by less than threefold never make it
 * go back and forth. */
static void test_watch_does_not_flap(void **state)
{
    (void)state;
    const struct qv_range_policy policy = {
        .split_rows = 900, .split_requests_per_s = 90, .observations = 3, .split_rows_min = 10};
    for (uint64_t run = 0; run < 200; run++) {
        struct world *w = world_create(8000 + run);
        double rows = (double)qv_rng_below(&w->rng, 2000); /* of a range and its neighbour */
        double requests = (double)qv_rng_below(&w->rng, 150);
        bool split = qv_rng_below(&w->rng, 2) == 0;
        struct qv_range_watch watch = {0};
        uint32_t changes = 0;
        for (uint32_t step = 0; step < 300; step++) {
            const double swing = step / 40 % 2 == 0 ? 0.55 : 1.45;
            const struct qv_range_load half = {(uint64_t)(rows * swing / 2), requests * swing / 2};
            const struct qv_range_load whole = {(uint64_t)(rows * swing), requests * swing};
            const enum qv_range_advice advice =
                qv_range_watch_step(&policy, split ? &half : &whole, split ? &half : NULL, &watch);
            if (advice == QV_RANGE_STAY)
                continue;
            if (split && advice == QV_RANGE_SPLIT)
                break; /* still too much: another split, of other loads */
            split = advice == QV_RANGE_SPLIT;
            changes++;
        }
        assert_true(changes <= 1);
        world_destroy(w);
    }
    struct qv_range_watch watch = {0};
    const struct qv_range_load heavy = {1000, 0};
    const struct qv_range_load hot = {5, 1000}; /* but of too few rows */
    const struct qv_range_load empty = {0, 0};
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(qv_range_watch_step(&policy, &heavy, NULL, &watch),
                         i < 2 ? QV_RANGE_STAY : QV_RANGE_SPLIT);
    for (uint32_t i = 0; i < 30; i++)
        assert_int_equal(qv_range_watch_step(&policy, &hot, NULL, &watch), QV_RANGE_STAY);
    for (uint32_t i = 0; i < 12; i++)
        assert_int_equal(qv_range_watch_step(&policy, &empty, &empty, &watch),
                         i < 11 ? QV_RANGE_STAY : QV_RANGE_MERGE);
    assert_int_equal(qv_range_watch_step(&policy, &heavy, NULL, &watch), QV_RANGE_STAY);
    assert_int_equal(qv_range_watch_step(&policy, &empty, NULL, &watch), QV_RANGE_STAY);
    assert_int_equal(watch.over, 0); /* in a row */
}

/* ---- specs from outside ---- */

static void refuse(const struct qv_placement_spec *spec, const char *text)
{
    struct qv_errmsg msg = {""};
    const struct qv_placement *p = NULL;
    assert_int_equal(qv_placement_check(spec, &msg), QV_EINVAL);
    if (strstr(msg.text, text) == NULL)
        print_message("'%s' lacks '%s'\n", msg.text, text);
    assert_non_null(strstr(msg.text, text));
    assert_null(strchr(msg.text, '\n'));
    assert_int_equal(qv_placement_create(spec, &p, &msg), QV_EINVAL);
    assert_null(p);
}

static void test_bad_shards_are_refused(void **state)
{
    (void)state;
    const uint32_t twice[] = {1, 2, 2};
    const uint32_t falling[] = {1, 3, 2};
    const uint32_t huge[] = {1, UINT32_MAX};
    struct qv_placement_spec s = {.shards = twice};
    refuse(&s, "0 shards");
    s.shard_count = QV_PLACEMENT_SHARDS_MAX + 1;
    refuse(&s, "4097 shards");
    s.shard_count = 3;
    refuse(&s, "shard 2 is named twice");
    s.shards = falling;
    refuse(&s, "shard 2 is not in ascending order");
    s.shards = huge;
    s.shard_count = 2;
    refuse(&s, "no shard number");
    s.strategy = QV_PLACEMENT_STRATEGY_COUNT;
    s.shard_count = 1;
    refuse(&s, "unknown strategy");
    s.strategy = QV_PLACEMENT_CONSISTENT_HASH;
    s.virtual_nodes = QV_PLACEMENT_VIRTUAL_NODES_MAX + 1;
    refuse(&s, "10001 virtual nodes");
    s.virtual_nodes = QV_PLACEMENT_VIRTUAL_NODES_MAX;
    uint32_t many[14];
    for (uint32_t i = 0; i < 14; i++)
        many[i] = i;
    s.shards = many;
    s.shard_count = 14;
    refuse(&s, "points");
}

static void test_bad_ranges_are_refused(void **state)
{
    (void)state;
    const uint32_t shards[] = {1, 2};
    const struct qv_id open = {0};
    const struct qv_id bad = {.hi = 1, .type = QV_ID_NUM};
    struct qv_placement_range r[3] = {{{open, qv_id_num(10)}, 1}, {{qv_id_num(10), open}, 2}};
    struct qv_placement_spec s = {.strategy = QV_PLACEMENT_RANGE,
                                  .shards = shards,
                                  .shard_count = 2,
                                  .ranges = r,
                                  .range_count = 2};
    assert_int_equal(qv_placement_check(&s, NULL), 0);
    r[0].ids.to = qv_id_num(11);
    refuse(&s, "ranges 0 and 1 overlap at id 10");
    r[0].ids.to = open;
    refuse(&s, "overlap");
    r[0].ids.to = qv_id_num(9);
    refuse(&s, "ranges 0 and 1 leave a gap at id 10");
    r[0].ids.to = qv_id_num(10);
    r[1].ids.to = qv_id_num(10);
    refuse(&s, "range 1 ends before it begins");
    r[1].ids.to = qv_id_num(20);
    refuse(&s, "no range holds the highest ids");
    r[1].ids.to = bad;
    refuse(&s, "a bound is no id");
    r[1].ids.to = open;
    r[0].ids.from = qv_id_num(1);
    refuse(&s, "no range holds the lowest ids");
    r[0].ids.from = qv_id_num(0); /* says the same as none */
    assert_int_equal(qv_placement_check(&s, NULL), 0);
    r[1].shard = 7;
    refuse(&s, "range 1 is of shard 7");
    r[1].shard = 1;
    refuse(&s, "shard 2 has no range");
    s.range_count = 0;
    refuse(&s, "0 ranges");
    r[1] = (struct qv_placement_range){{qv_id_num(30), qv_id_num(40)}, 2};
    r[0] = (struct qv_placement_range){{open, qv_id_num(30)}, 1};
    r[2] = (struct qv_placement_range){{qv_id_num(20), open}, 2};
    s.range_count = 3;
    refuse(&s, "ranges 1 and 2 are not in order");
}

static void test_bad_clusters_are_refused(void **state)
{
    (void)state;
    struct world *w = world_create(9000);
    world_spec(w, QV_PLACEMENT_CLUSTER, 3);
    struct qv_placement_spec s = w->spec;
    const uint32_t other[] = {w->shards[0], w->shards[1], w->shards[2] + 1};
    const uint32_t more[] = {w->shards[0], w->shards[1], w->shards[2], w->shards[2] + 1};
    s.dim = 4;
    refuse(&s, "3 dimensions for vectors of 4");
    s.dim = 0;
    s.shards = other;
    refuse(&s, "which there is not");
    s.shards = more;
    s.shard_count = 4;
    refuse(&s, "has no centroid");
    s.centroids = NULL;
    refuse(&s, "needs centroids");
    const struct qv_placement *p = make(&w->spec);
    const float v[4] = {0};
    const struct qv_placement_query query = {
        .ask = QV_PLACEMENT_ASK_NEAREST, .vector = v, .dim = 4};
    const struct qv_placement_leg *legs;
    uint32_t n;
    assert_int_equal(qv_placement_cover(p, &w->arena, &query, &legs, &n), QV_EINVAL);
    qv_placement_unref(p);
    world_destroy(w);
}

static void test_strategies_have_names(void **state)
{
    (void)state;
    struct qv_errmsg msg;
    for (unsigned i = 0; i < QV_PLACEMENT_STRATEGY_COUNT; i++) {
        enum qv_placement_strategy back;
        const char *name = qv_placement_strategy_name((enum qv_placement_strategy)i);
        assert_int_equal(qv_placement_strategy_parse(qv_str_of(name), &back, &msg), 0);
        assert_int_equal(back, i);
    }
    enum qv_placement_strategy s;
    assert_int_equal(qv_placement_strategy_parse(qv_str_of("modulo"), &s, &msg), QV_EINVAL);
    assert_non_null(strstr(msg.text, "consistent_hash"));
}

int main(void)
{
    const char *given = getenv("QV_SEED");
    seed = given != NULL ? strtoull(given, NULL, 10) : 20;
    print_message("seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_key_has_one_owner),
        cmocka_unit_test(test_hash_intervals_are_equal),
        cmocka_unit_test(test_borders_are_exact),
        cmocka_unit_test(test_moves_are_what_changes),
        cmocka_unit_test(test_everything_moves),
        cmocka_unit_test(test_ring_moves_only_to_and_from_the_changed),
        cmocka_unit_test(test_ring_grows_evenly),
        cmocka_unit_test(test_ring_is_balanced),
        cmocka_unit_test(test_split_keeps_every_other_key),
        cmocka_unit_test(test_range_of_ids_asks_its_shards),
        cmocka_unit_test(test_split_key_halves),
        cmocka_unit_test(test_watch_does_not_flap),
        cmocka_unit_test(test_bad_shards_are_refused),
        cmocka_unit_test(test_bad_ranges_are_refused),
        cmocka_unit_test(test_bad_clusters_are_refused),
        cmocka_unit_test(test_strategies_have_names),
    };
    return RUN_SUITE(tests);
}
