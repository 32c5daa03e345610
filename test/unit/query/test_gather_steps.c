/* The machine alone, under any order of events: it ends once, last, and owes nothing. */
#include "suite.h"

#include "base/rng.h"
#include "query/gather.h"

#include <string.h>

#define SHARDS 6u
#define ATTEMPTS_MAX 4096u

struct driver {
    struct qv_rng rng;
    struct qv_arena arena;
    struct qv_gather *gather;
    struct qv_view views[2];
    struct qv_view_shard shards[2][SHARDS];
    struct qv_interval covers[SHARDS];
    struct qv_candidate candidates[3];
    struct qv_collection_config config;
    uint32_t owed[ATTEMPTS_MAX]; /* attempts whose answer is */
    uint32_t owed_count;
    uint32_t sent;
    bool canceled[ATTEMPTS_MAX];
    bool view_owed, done;
    uint64_t now_ns, due_ns;
};

static void make_views(struct driver *d)
{
    const uint32_t candidates = (uint32_t)qv_rng_below(&d->rng, 4);
    const uint64_t step = UINT64_MAX / SHARDS;
    for (uint32_t i = 0; i < 3; i++)
        d->candidates[i] = (struct qv_candidate){
            .node = 1 + i, .p95_ns = qv_rng_below(&d->rng, 2) * 5 * 1000000ull};
    for (uint32_t i = 0; i < SHARDS; i++) {
        d->covers[i] = (struct qv_interval){i == 0 ? 0 : i * step + 1,
                                            i + 1 == SHARDS ? UINT64_MAX : (i + 1) * step};
        for (uint32_t v = 0; v < 2; v++)
            d->shards[v][i] =
                (struct qv_view_shard){.number = i,
                                       .epoch = 1 + v,
                                       .cover = {&d->covers[i], 1},
                                       .candidates = d->candidates,
                                       .candidate_count = v == 0 ? candidates : 1 + i % 3};
    }
    for (uint32_t v = 0; v < 2; v++) {
        d->views[v] = (struct qv_view){.config = &d->config,
                                       .shards = d->shards[v],
                                       .shard_count = SHARDS,
                                       .by_hash = true,
                                       .enough = 0.3};
    }
    /* by the second, the last two shards are one */
    if (qv_rng_below(&d->rng, 2) == 0) {
        d->views[1].shard_count = SHARDS - 1;
        static const struct qv_interval both = {UINT64_MAX / SHARDS * (SHARDS - 2) + 1, UINT64_MAX};
        d->shards[1][SHARDS - 2].cover = (struct qv_cover){&both, 1};
    }
}

static void take_effects(struct driver *d, const struct qv_effects *fx)
{
    for (uint32_t i = 0; i < fx->count; i++) {
        const struct qv_effect *e = &fx->list[i];
        assert_false(d->done); /* it is the last */
        switch (e->type) {
        case QV_EFFECT_SEND: {
            struct qv_attempt a;
            assert_true(e->attempt < ATTEMPTS_MAX);
            qv_gather_attempt(d->gather, e->attempt, &a);
            assert_int_equal(a.node, e->node);
            assert_non_null(a.req);
            d->owed[d->owed_count++] = e->attempt;
            d->sent++;
            break;
        }
        case QV_EFFECT_CANCEL:
            assert_false(d->canceled[e->attempt]);
            d->canceled[e->attempt] = true;
            break;
        case QV_EFFECT_TIMER:
            d->due_ns = e->at_ns;
            break;
        case QV_EFFECT_REFRESH:
            assert_false(d->view_owed);
            d->view_owed = true;
            break;
        case QV_EFFECT_DONE:
            d->done = true;
            break;
        }
    }
}

static void step(struct driver *d, struct qv_gather_event e)
{
    e.now_ns = d->now_ns;
    take_effects(d, qv_gather_step(d->gather, &e));
}

/* Points of the shard, as many as are asked for, or fewer. */
static void give_points(struct driver *d, const struct qv_attempt *a, struct qv_leg_answer *answer)
{
    answer->cover = qv_rng_below(&d->rng, 30) == 0 ? qv_cover_none : a->leg.cover;
    answer->lists = QV_ARENA_ARRAY(&d->arena, struct qv_leg_list, a->leg.limit_count);
    for (uint32_t q = 0; q < a->leg.limit_count; q++) {
        struct qv_leg_list *l = &answer->lists[q];
        const uint32_t n = (uint32_t)qv_rng_below(&d->rng, a->leg.limits[q] + 1);
        l->points.points = QV_ARENA_ARRAY(&d->arena, struct qv_point_out, n);
        l->points.count = n;
        for (uint32_t i = 0; i < n; i++)
            l->points.points[i] = (struct qv_point_out){.id = qv_id_num(100 * i + a->leg.shard)};
        l->bound.all = n < a->leg.limits[q] || qv_rng_below(&d->rng, 2) == 0;
        l->bound.id = qv_id_num(n == 0 ? 0 : 100 * (n - 1) + a->leg.shard);
    }
}

static void answer(struct driver *d, int wrong_per_mille)
{
    static const int errs[] = {QV_ESTALE,   QV_EUNAVAILABLE, QV_EBUSY,  QV_ETIMEOUT,
                               QV_ECORRUPT, QV_EUNKNOWN,     QV_EINVAL, QV_EPROTO};
    const uint32_t at = (uint32_t)qv_rng_below(&d->rng, d->owed_count);
    const uint32_t attempt = d->owed[at];
    struct qv_leg_answer *a = QV_ARENA_NEW(&d->arena, struct qv_leg_answer);
    struct qv_attempt of;
    d->owed[at] = d->owed[--d->owed_count];
    qv_gather_attempt(d->gather, attempt, &of);
    assert_non_null(a);
    if (d->canceled[attempt])
        a->err = QV_ECANCELED;
    else if (qv_rng_below(&d->rng, 1000) < (uint64_t)wrong_per_mille)
        a->err = errs[qv_rng_below(&d->rng, wrong_per_mille > 500 ? 6 : 8)];
    if (a->err == 0 && of.kind == QV_ASK_SEARCH)
        give_points(d, &of, a);
    else if (a->err == 0)
        a->cover = of.leg.cover;
    step(d, (struct qv_gather_event){.type = QV_GATHER_ANSWER, .attempt = attempt, .answer = a});
}

static void random_event(struct driver *d, int wrong_per_mille)
{
    const uint64_t dice = qv_rng_below(&d->rng, 100);
    if (dice < 60 && d->owed_count > 0) {
        answer(d, wrong_per_mille);
    } else if (dice < 75 && d->view_owed) {
        d->view_owed = false;
        step(d, (struct qv_gather_event){.type = QV_GATHER_VIEW,
                                         .view = dice % 4 == 0 ? NULL : &d->views[1]});
    } else if (dice < 98) {
        const bool at_due = qv_rng_below(&d->rng, 2) == 0 && d->due_ns < UINT64_MAX;
        const uint64_t next = at_due ? d->due_ns : d->now_ns + qv_rng_below(&d->rng, 3000000);
        d->now_ns = next > d->now_ns ? next : d->now_ns;
        step(d, (struct qv_gather_event){.type = QV_GATHER_TIME});
    } else if (dice == 99 && qv_rng_below(&d->rng, 10) == 0) {
        step(d, (struct qv_gather_event){.type = QV_GATHER_STOP});
    }
}

static int run(struct driver *d, uint64_t seed, uint32_t *sent)
{
    struct qv_read_budget budget;
    struct qv_read_result result;
    struct qv_errmsg msg;
    struct qv_query queries[3];
    memset(d, 0, sizeof *d);
    memset(queries, 0, sizeof queries);
    qv_rng_init(&d->rng, seed);
    qv_arena_init(&d->arena, 64 << 20);
    qv_read_budget_init(&budget);
    make_views(d);
    for (uint32_t i = 0; i < 3; i++)
        queries[i] = (struct qv_query){.kind = QV_QUERY_SCROLL,
                                       .limit = qv_rng_below(&d->rng, 20),
                                       .offset = qv_rng_below(&d->rng, 5),
                                       .allow_partial = seed % 2 == 0};
    const struct qv_query_req req = {.queries = queries, .query_count = 3};
    const struct qv_gather_config config = {.view = &d->views[0],
                                            .what = {QV_READ_QUERY, {.query = &req}},
                                            .arena = &d->arena,
                                            .budget = &budget,
                                            .deadline_ns = 100000000,
                                            .same_tries = (uint32_t)(seed % 3)};
    const int wrong = (int)qv_rng_below(&d->rng, 1001);
    assert_int_equal(qv_gather_create(&config, &d->gather), 0);
    d->due_ns = UINT64_MAX;
    step(d, (struct qv_gather_event){.type = QV_GATHER_START});
    uint64_t events = 0;
    while (!d->done) {
        if (++events > 100000)
            fail_msg("seed %llu does not end", (unsigned long long)seed);
        random_event(d, wrong);
    }
    assert_int_equal(d->owed_count, 0);
    assert_false(d->view_owed);
    msg.text[0] = '\0';
    const int err = qv_gather_result(d->gather, &result, &msg);
    assert_true(err == 0 || msg.text[0] != '\0');
    *sent = d->sent;
    qv_arena_close(&d->arena);
    return err;
}

static void test_any_order_of_events_ends_once(void **state)
{
    (void)state;
    static struct driver d;
    uint64_t ends[6] = {0};
    uint32_t most = 0;
    const uint64_t seeds = SANITIZED_LESS(20000);
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        uint32_t sent;
        const int err = run(&d, seed, &sent);
        const int known[] = {0,         QV_EUNAVAILABLE, QV_ETIMEOUT, QV_ECANCELED,
                             QV_EINVAL, QV_ENOTFOUND};
        int i = 0;
        while (i < 6 && known[i] != err)
            i++;
        if (i == 6)
            fail_msg("seed %llu ends with %s", (unsigned long long)seed, qv_err_name(err));
        ends[i]++;
        most = sent > most ? sent : most;
    }
    printf("# well %llu, unavailable %llu, late %llu, given up %llu, wrong %llu; at most %u sent\n",
           (unsigned long long)ends[0], (unsigned long long)ends[1], (unsigned long long)ends[2],
           (unsigned long long)ends[3], (unsigned long long)ends[4], most);
    for (int i = 0; i < 6; i++)
        assert_true(ends[i] > 0);
    assert_true(most < 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_order_of_events_ends_once),
    };
    return RUN_SUITE(tests);
}
