#include "query_world.h"

#include "base/hash.h"
#include "suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- points ---- */

static float score_of(const struct world *w, const struct qv_query *q, const struct world_point *p)
{
    float sum = 0.0f;
    for (uint32_t i = 0; i < WORLD_DIM; i++) {
        const float d = q->vec.values[i] - p->vec[i];
        sum += w->vector.distance == QV_DISTANCE_DOT ? q->vec.values[i] * p->vec[i] : d * d;
    }
    return w->vector.distance == QV_DISTANCE_DOT ? sum : sqrtf(sum);
}

static void make_points(struct world *w)
{
    w->point_count =
        (uint32_t)qv_rng_below(&w->rng, qv_rng_below(&w->rng, 8) == 0 ? 5 : WORLD_POINTS_MAX / 2);
    for (uint32_t i = 0; i < w->point_count; i++) {
        struct world_point *p = &w->points[i];
        p->id = qv_id_num(i * 3 + 1);
        if (qv_rng_below(&w->rng, 4) == 0)
            p->id = (struct qv_id){qv_rng_u64(&w->rng), i, QV_ID_UUID};
        p->version = (struct qv_version){1000 + qv_rng_below(&w->rng, 1000), 1};
        for (uint32_t d = 0; d < WORLD_DIM; d++) /* few different ones: many ties */
            p->vec[d] = (float)qv_rng_below(&w->rng, 4);
        p->value_count = (uint32_t)qv_rng_below(&w->rng, 4);
        for (uint32_t v = 0; v < p->value_count; v++)
            p->values[v] = (int64_t)(v * 10 + qv_rng_below(&w->rng, 10));
        p->tag = (int64_t)qv_rng_below(&w->rng, 1 + qv_rng_below(&w->rng, 200));
    }
}

/* A point's older copy, which an update left behind in another shard. */
static const struct world_point *ghost_of(struct world *w, const struct world_point *p)
{
    struct world_point *g = qv_arena_dup(&w->arena, p, sizeof *p);
    assert_non_null(g);
    g->version.clock -= 1 + qv_rng_below(&w->rng, 900);
    for (uint32_t d = 0; d < WORLD_DIM; d++)
        g->vec[d] = (float)qv_rng_below(&w->rng, 4);
    return g;
}

/* ---- shards ---- */

static struct world_shard *add_shard(struct world *w)
{
    struct world_shard *s = &w->shards[w->shard_count];
    s->number = w->shard_count++;
    s->epoch = 1 + qv_rng_below(&w->rng, 100);
    s->candidate_count = 1 + (uint32_t)qv_rng_below(&w->rng, w->leaf_count < 3 ? w->leaf_count : 3);
    const uint64_t first = qv_rng_below(&w->rng, w->leaf_count);
    for (uint32_t i = 0; i < s->candidate_count; i++)
        s->candidates[i] = (struct qv_candidate){
            .node = 1 + (first + i) % w->leaf_count,
            .p95_ns = qv_rng_below(&w->rng, 2) * (1 + qv_rng_below(&w->rng, 20)) * QV_NS_PER_MS};
    return s;
}

/* Every key to one shard, in a few hundred pieces, as rings do. */
static void make_covers(struct world *w, uint32_t n)
{
    const struct qv_interval *all = qv_cover_all.list;
    struct qv_cover left = {all, 1};
    for (uint32_t i = 0; i + 1 < n; i++) {
        struct qv_cover *c = &w->shards[i].cover;
        const uint32_t pieces = (uint32_t)qv_rng_below(&w->rng, 6); /* none: an empty shard */
        for (uint32_t k = 0; k < pieces; k++) {
            const uint64_t first = qv_rng_u64(&w->rng);
            const uint64_t keys = (UINT64_MAX / n / 4) - 1 + qv_rng_below(&w->rng, 1000);
            const struct qv_interval piece = {first, first > UINT64_MAX - keys ? UINT64_MAX
                                                                               : first + keys};
            const struct qv_cover one = {&piece, 1};
            assert_int_equal(qv_cover_union(&w->arena, c, &one, c), 0);
        }
        assert_int_equal(qv_cover_intersect(&w->arena, c, &left, c), 0);
        assert_int_equal(qv_cover_subtract(&w->arena, &left, c, &left), 0);
    }
    w->shards[n - 1].cover = left;
}

static void place_points(struct world *w, bool by_hash)
{
    for (uint32_t i = 0; i < w->point_count; i++) {
        const struct world_point *p = &w->points[i];
        for (uint32_t s = 0; s < w->shard_count && by_hash; s++) {
            if (qv_cover_holds(&w->shards[s].cover, qv_id_key_hash(&p->id)))
                w->shards[s].points[w->shards[s].count++] = p;
        }
        if (by_hash)
            continue;
        const uint64_t home = qv_rng_below(&w->rng, w->shard_count);
        w->shards[home].points[w->shards[home].count++] = p;
        const uint64_t other = qv_rng_below(&w->rng, w->shard_count);
        if (other != home && qv_rng_below(&w->rng, 4) == 0)
            w->shards[other].points[w->shards[other].count++] =
                !w->faults.ghosts || qv_rng_below(&w->rng, 2) == 0 ? p : ghost_of(w, p);
    }
}

/* The shard becomes two: a new one with the upper half of its keys. */
static void split_shard(struct world *w, uint32_t i)
{
    struct world_shard *old = &w->shards[i];
    const struct qv_interval upper = {1ull << 63, UINT64_MAX};
    const struct qv_cover half = {&upper, 1};
    struct world_shard *s = add_shard(w);
    uint32_t kept = 0;
    assert_int_equal(qv_cover_intersect(&w->arena, &old->cover, &half, &s->cover), 0);
    assert_int_equal(qv_cover_subtract(&w->arena, &old->cover, &half, &old->cover), 0);
    for (uint32_t k = 0; k < old->count; k++) {
        const struct world_point *p = old->points[k];
        if (qv_cover_holds(&s->cover, qv_id_key_hash(&p->id)))
            s->points[s->count++] = p;
        else
            old->points[kept++] = p;
    }
    old->count = kept;
}

static void view_shard(struct qv_view_shard *v, const struct world_shard *s)
{
    *v = (struct qv_view_shard){.number = s->number,
                                .epoch = s->epoch,
                                .cover = s->cover,
                                .points = s->count,
                                .candidates = s->candidates,
                                .candidate_count = s->candidate_count};
}

/* As a placement by ranges shows a shard: any key hash, some of the ids. */
static void hide_cover(struct qv_view_shard *v, struct qv_key_set *keys)
{
    *keys = (struct qv_key_set){.keys = v->cover};
    v->keys = keys;
    v->cover = qv_cover_all;
}

static void make_views(struct world *w, bool by_hash)
{
    const uint32_t n = w->shard_count;
    for (uint32_t i = 0; i < n; i++)
        view_shard(&w->seen[i], &w->shards[i]);
    for (uint32_t i = 0; i < n && w->faults.by_keys; i++)
        hide_cover(&w->seen[i], &w->shards[i].keys[0]);
    w->view = (struct qv_view){.config = &w->config,
                               .shards = w->seen,
                               .shard_count = n,
                               .by_hash = by_hash && !w->faults.by_keys,
                               .twice = by_hash ? 0.0 : 0.25,
                               .enough = qv_rng_below(&w->rng, 2) == 0 ? 0.2 : 0.0};
    for (uint32_t i = 0; i < n; i++) {
        if (qv_rng_below(&w->rng, 1000) >= w->faults.stale_per_mille)
            continue;
        w->shards[i].epoch++; /* what the read knows is old */
        if (by_hash && qv_rng_below(&w->rng, 1000) < w->faults.split_per_mille)
            split_shard(w, i);
    }
    for (uint32_t i = 0; i < w->shard_count; i++)
        view_shard(&w->newer_shards[i], &w->shards[i]);
    for (uint32_t i = 0; i < w->shard_count && w->faults.by_keys; i++)
        hide_cover(&w->newer_shards[i], &w->shards[i].keys[1]);
    w->newer = w->view;
    w->newer.shards = w->newer_shards;
    w->newer.shard_count = w->shard_count;
}

/* ---- a leaf's answers ---- */

struct sorted {
    const struct world_point *p;
    float score;
    int64_t value;
};

struct sorter {
    const struct world *w;
    const struct qv_query *q;
};

static const struct sorter *sorting; /* qsort has no argument; one thread */

static int by_query(const void *pa, const void *pb)
{
    const struct sorted *a = pa;
    const struct sorted *b = pb;
    int c = 0;
    if (sorting->q->kind == QV_QUERY_VECTOR || sorting->q->kind == QV_QUERY_ID) {
        const bool larger = sorting->w->vector.distance == QV_DISTANCE_DOT;
        c = a->score < b->score ? -1 : a->score > b->score;
        c = larger ? -c : c;
    } else if (sorting->q->kind == QV_QUERY_ORDER_BY) {
        c = a->value < b->value ? -1 : a->value > b->value;
        if (c == 0)
            c = qv_id_compare(&a->p->id, &b->p->id);
        return sorting->q->order_by->desc ? -c : c;
    } else if (sorting->q->kind == QV_QUERY_SAMPLE) {
        const int64_t x = qv_sample_chance(sorting->q->seed, &a->p->id);
        const int64_t y = qv_sample_chance(sorting->q->seed, &b->p->id);
        c = x < y ? -1 : x > y;
    }
    return c != 0 ? c : qv_id_compare(&a->p->id, &b->p->id);
}

/* All the points as the query has them, in its order. Returns how many. */
static uint32_t sort_points(const struct world *w, const struct qv_query *q,
                            const struct world_point *const *points, uint32_t count,
                            struct sorted *out)
{
    const struct sorter s = {w, q};
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        const bool search = q->kind == QV_QUERY_VECTOR || q->kind == QV_QUERY_ID;
        const float score = search ? score_of(w, q, points[i]) : 1.0f;
        if (search && q->has_threshold &&
            !(w->vector.distance == QV_DISTANCE_DOT ? score > q->threshold : score < q->threshold))
            continue;
        if (q->kind != QV_QUERY_ORDER_BY)
            out[n++] = (struct sorted){points[i], score, 0};
        for (uint32_t v = 0; q->kind == QV_QUERY_ORDER_BY && v < points[i]->value_count; v++)
            out[n++] = (struct sorted){points[i], score, points[i]->values[v]};
    }
    sorting = &s;
    if (n > 1)
        qsort(out, n, sizeof *out, by_query);
    sorting = NULL;
    return n;
}

static void give_point(struct qv_arena *arena, const struct sorted *s, bool vectors,
                       struct qv_point_out *out)
{
    *out = (struct qv_point_out){.id = s->p->id, .version = s->p->version, .score = s->score};
    out->order_value = (struct qv_order_value){.type = QV_ORDER_INT, .i = s->value};
    if (!vectors)
        return;
    struct qv_named_vec *v = QV_ARENA_NEW(arena, struct qv_named_vec);
    float *values = qv_arena_dup(arena, s->p->vec, sizeof s->p->vec);
    assert_true(v != NULL && values != NULL);
    v->vec = (struct qv_vec){QV_VEC_DENSE, WORLD_DIM, 1, values, NULL};
    out->vecs = v;
    out->vec_count = 1;
    out->has_vecs = true;
}

static void give_list(const struct world *w, const struct world_shard *s, const struct qv_query *q,
                      uint32_t limit, struct qv_arena *arena, struct qv_leg_list *out)
{
    struct sorted all[3 * WORLD_POINTS_MAX];
    const uint32_t n = sort_points(w, q, s->points, s->count, all);
    const uint32_t given = n < limit ? n : limit;
    out->points.points = QV_ARENA_ARRAY(arena, struct qv_point_out, given);
    out->points.count = given;
    assert_non_null(out->points.points);
    for (uint32_t i = 0; i < given; i++)
        give_point(arena, &all[i], false, &out->points.points[i]);
    out->bound.all = given == n;
    if (given > 0) {
        const struct qv_point_out *last = &out->points.points[given - 1];
        out->bound.id = last->id;
        out->bound.score = last->score;
        out->bound.order_value = last->order_value;
    }
}

static void give_scroll(const struct world *w, const struct world_shard *s,
                        const struct qv_scroll_req *req, uint32_t limit, struct qv_arena *arena,
                        struct qv_leg_list *out)
{
    const struct qv_query q = {.kind = QV_QUERY_SCROLL};
    struct sorted all[WORLD_POINTS_MAX];
    const uint32_t n = sort_points(w, &q, s->points, s->count, all);
    uint32_t at = 0;
    while (at < n && req->has_offset && qv_id_compare(&all[at].p->id, &req->offset) < 0)
        at++;
    const uint32_t given = n - at < limit ? n - at : limit;
    out->points.points = QV_ARENA_ARRAY(arena, struct qv_point_out, given);
    out->points.count = given;
    for (uint32_t i = 0; i < given; i++)
        give_point(arena, &all[at + i], false, &out->points.points[i]);
    out->bound.all = at + given == n;
    if (!out->bound.all)
        out->bound.id = all[at + given].p->id;
}

static int by_tag(const void *pa, const void *pb)
{
    const struct qv_facet_hit *a = pa;
    const struct qv_facet_hit *b = pb;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    const int64_t x = qv_doc_int(a->value);
    const int64_t y = qv_doc_int(b->value);
    return x < y ? -1 : x > y;
}

uint32_t oracle_facet(const struct world_point *const *points, uint32_t count,
                      struct qv_arena *arena, struct qv_facet_hit *out)
{
    uint32_t n = 0;
    for (int64_t tag = 0; tag < 200; tag++) {
        uint64_t c = 0;
        for (uint32_t i = 0; i < count; i++)
            c += points[i]->tag == tag;
        if (c == 0)
            continue;
        struct qv_buf b;
        qv_buf_init(&b, 0);
        qv_doc_put_int(&b, tag);
        out[n++] = (struct qv_facet_hit){{qv_arena_dup(arena, b.data, b.len), b.len}, c};
        qv_buf_close(&b);
    }
    if (n > 1)
        qsort(out, n, sizeof *out, by_tag);
    return n;
}

static void give_facet(const struct world_shard *s, uint32_t limit, struct qv_leg_answer *a)
{
    struct qv_facet_hit hits[200];
    const uint32_t n = oracle_facet(s->points, s->count, &a->arena, hits);
    a->facet.count = n < limit ? n : limit;
    a->facet.hits = qv_arena_dup(&a->arena, hits, a->facet.count * sizeof *hits);
    a->facet_all = a->facet.count == n;
}

static void give_fetch(const struct world_shard *s, const struct qv_leg *leg,
                       const struct qv_get_req *req, struct qv_leg_answer *a)
{
    a->fetch.points = QV_ARENA_ARRAY(&a->arena, struct qv_point_out, leg->id_count);
    for (uint32_t i = 0; i < leg->id_count; i++) {
        for (uint32_t k = 0; k < s->count; k++) {
            const struct sorted found = {s->points[k], 0, 0};
            if (qv_id_equal(&leg->ids[i], &s->points[k]->id))
                give_point(&a->arena, &found, req->with_vector.mode != QV_SELECT_NONE,
                           &a->fetch.points[a->fetch.count++]);
        }
    }
}

static void give(struct world *w, const struct world_shard *s, const struct qv_ask *ask,
                 uint32_t leg_index)
{
    const struct qv_leg *leg = &ask->legs[leg_index];
    struct qv_leg_answer *a = ask->answers[leg_index];
    a->cover = leg->cover;
    switch (ask->kind) {
    case QV_ASK_SEARCH:
        assert_int_equal(leg->limit_count, ask->req.query->query_count);
        a->lists = QV_ARENA_ARRAY(&a->arena, struct qv_leg_list, leg->limit_count);
        for (uint32_t i = 0; i < leg->limit_count; i++) {
            if (leg->limits[i] != 0)
                give_list(w, s, &ask->req.query->queries[i], leg->limits[i], &a->arena,
                          &a->lists[i]);
        }
        break;
    case QV_ASK_FETCH:
        give_fetch(s, leg, ask->req.get, a);
        break;
    case QV_ASK_SCROLL:
        give_scroll(w, s, ask->req.scroll, leg->limits[0], &a->arena, &a->scroll);
        break;
    case QV_ASK_COUNT:
        a->count = s->count;
        break;
    case QV_ASK_FACET:
        give_facet(s, leg->limits[0], a);
        break;
    default:
        a->err = QV_ENOTIMPL;
    }
}

/* ---- leaves ---- */

struct pending {
    struct world_leaf *leaf;
    struct qv_ask *ask;
    struct qv_timer timer;
};

static bool is_dead(const struct world *w, uint32_t number)
{
    for (uint32_t i = 0; i < w->faults.dead_shards; i++) {
        if (w->dead[i] == number)
            return true;
    }
    return false;
}

static void answer_leg(struct world *w, const struct qv_ask *ask, uint32_t i, uint64_t node)
{
    const struct qv_leg *leg = &ask->legs[i];
    struct qv_leg_answer *a = ask->answers[i];
    w->legs_asked++;
    if (is_dead(w, leg->shard) || qv_rng_below(&w->rng, 1000) < w->faults.fail_per_mille) {
        static const int errs[] = {QV_EUNAVAILABLE, QV_EBUSY, QV_EUNKNOWN, QV_ECORRUPT, QV_EIO};
        w->faults_met++;
        a->err = qv_fail(&a->msg, errs[qv_rng_below(&w->rng, 5)], "planted");
        return;
    }
    if (node == 1 && qv_env_mono_ns(w->host.env) < w->faults.away_ns) {
        a->err = qv_fail(&a->msg, QV_EUNAVAILABLE, "planted: away");
        return;
    }
    const struct world_shard *s = &w->shards[leg->shard];
    assert_true(leg->shard < w->shard_count);
    if (leg->epoch < s->epoch) {
        w->stale_met++;
        a->epoch = s->epoch;
        a->err = qv_fail(&a->msg, QV_ESTALE, "planted");
        return;
    }
    give(w, s, ask, i);
    if (w->faults.part && qv_rng_below(&w->rng, 10) == 0) {
        w->faults_met++;
        a->cover.count /= 2;
    }
}

static void answer(struct qv_timer *timer)
{
    struct pending *p = timer->arg;
    for (uint32_t i = 0; i < p->ask->leg_count; i++)
        answer_leg(p->leaf->world, p->ask, i, p->leaf->leaf.node);
    p->ask->leaf = NULL;
    p->ask->done(p->ask);
}

static void leaf_start(struct qv_leaf *leaf, struct qv_ask *ask)
{
    struct world_leaf *l = (struct world_leaf *)leaf;
    struct world *w = l->world;
    struct pending *p = QV_ARENA_NEW(&w->arena, struct pending);
    const uint64_t dice = qv_rng_below(&w->rng, 1000);
    assert_non_null(p);
    assert_true(ask->leg_count > 0);
    *p = (struct pending){.leaf = l, .ask = ask, .timer = {.run = answer, .arg = p}};
    ask->leaf = p;
    w->messages++;
    uint64_t delay = qv_rng_below(&w->rng, 4 * QV_NS_PER_MS);
    if (dice < w->faults.lost_per_mille) {
        w->faults_met++;
        return;
    }
    if (dice < w->faults.lost_per_mille + w->faults.slow_per_mille) {
        w->faults_met++;
        delay = qv_rng_below(&w->rng, 3000 * QV_NS_PER_MS);
    }
    qv_env_timer_start(w->host.env, &p->timer, delay);
}

static void canceled(struct qv_timer *timer)
{
    struct pending *p = timer->arg;
    for (uint32_t i = 0; i < p->ask->leg_count; i++)
        p->ask->answers[i]->err = QV_ECANCELED;
    p->ask->leaf = NULL;
    p->ask->done(p->ask);
}

static void leaf_cancel(struct qv_leaf *leaf, struct qv_ask *ask)
{
    struct world_leaf *l = (struct world_leaf *)leaf;
    struct pending *p = ask->leaf;
    l->world->cancels++;
    assert_non_null(p);
    if (qv_rng_below(&l->world->rng, 4) == 0 && qv_env_timer_active(&p->timer))
        return; /* it does not hear it, and answers all the same */
    p->timer.run = canceled;
    qv_env_timer_start(l->world->host.env, &p->timer, qv_rng_below(&l->world->rng, QV_NS_PER_MS));
}

static void leaf_describe(struct qv_leaf *leaf, struct qv_leaf_state *out)
{
    (void)leaf;
    *out = (struct qv_leaf_state){.kind = "simulated"};
}

static const struct qv_shard_ops leaf_ops = {leaf_start, leaf_cancel, leaf_describe};

/* ---- the world ---- */

static struct qv_leaf *find_leaf(struct qv_read_host *h, uint64_t node)
{
    struct world *w = (struct world *)((char *)h - offsetof(struct world, host));
    assert_true(node >= 1 && node <= w->leaf_count);
    return &w->leaves[node - 1].leaf;
}

static void refreshed(struct qv_timer *timer)
{
    struct world *w = timer->arg;
    struct qv_read *r = w->refreshing;
    w->refreshing = NULL;
    qv_read_refreshed(r, w->late_views > 0 ? &w->view : &w->newer);
    w->late_views -= w->late_views > 0;
}

static void refresh(struct qv_read_host *h, struct qv_read *r)
{
    struct world *w = (struct world *)((char *)h - offsetof(struct world, host));
    assert_null(w->refreshing);
    w->refreshing = r;
    w->refresh_timer = (struct qv_timer){.run = refreshed, .arg = w};
    qv_env_timer_start(h->env, &w->refresh_timer, qv_rng_below(&w->rng, 5 * QV_NS_PER_MS));
}

void world_open(struct world *w, uint64_t seed, bool by_hash, const struct world_faults *faults)
{
    memset(w, 0, sizeof *w);
    w->seed = seed;
    w->faults = *faults;
    qv_rng_init(&w->rng, seed);
    qv_arena_init(&w->arena, (size_t)256 << 20);
    w->sim = qv_sim_create(&(struct qv_sim_config){.seed = seed});
    w->node = qv_sim_node_create(w->sim, NULL, 0);
    w->leaf_count = 1 + (uint32_t)qv_rng_below(&w->rng, WORLD_NODES_MAX);
    for (uint32_t i = 0; i < w->leaf_count; i++)
        w->leaves[i] = (struct world_leaf){{&leaf_ops, i + 1}, w};
    w->host = (struct qv_read_host){.env = qv_sim_node_env(w->node),
                                    .same_tries = (uint32_t)qv_rng_below(&w->rng, 3),
                                    .leaf = find_leaf,
                                    .refresh = refresh};
    w->late_views = (uint32_t)qv_rng_below(&w->rng, 4);
    qv_read_budget_init(&w->host.budget);
    w->vector = (struct qv_vector_config){
        .size = WORLD_DIM,
        .distance = qv_rng_below(&w->rng, 2) == 0 ? QV_DISTANCE_DOT : QV_DISTANCE_EUCLID,
        .name = {"", 0}};
    w->config = (struct qv_collection_config){
        .vector_count = 1, .vectors = &w->vector, .vectors_unnamed = true};
    make_points(w);
    const uint32_t n = 1 + (uint32_t)qv_rng_below(&w->rng, WORLD_SHARDS_MAX);
    for (uint32_t i = 0; i < n; i++)
        (void)add_shard(w);
    for (uint32_t i = 0; i < n && !by_hash; i++)
        w->shards[i].cover = qv_cover_all;
    if (by_hash)
        make_covers(w, n);
    place_points(w, by_hash);
    for (uint32_t i = 0; i < faults->dead_shards; i++)
        w->dead[i] = (uint32_t)qv_rng_below(&w->rng, n);
    make_views(w, by_hash);
}

void world_close(struct world *w)
{
    qv_sim_node_destroy(&w->node);
    qv_sim_destroy(&w->sim);
    qv_arena_close(&w->arena);
}

struct ending {
    int count, err;
};

static void read_done(struct qv_read *r, int err)
{
    struct ending *e = r->arg;
    e->count++;
    e->err = err;
}

int world_read(struct world *w, struct qv_read *r, const struct qv_read_what *what,
               uint64_t timeout_ns)
{
    struct ending e = {0, 0};
    memset(r, 0, sizeof *r);
    r->host = &w->host;
    r->view = &w->view;
    r->what = *what;
    r->deadline_ns = qv_env_mono_ns(w->host.env) + timeout_ns;
    r->done = read_done;
    r->arg = &e;
    qv_read_start(r);
    assert_int_equal(e.count, 0);
    while (e.count == 0 && qv_sim_step(w->sim))
        ;
    assert_int_equal(e.count, 1);
    qv_sim_run(w->sim, 100000); /* nothing of it comes later */
    assert_int_equal(e.count, 1);
    return e.err;
}

bool world_is_missing(const struct qv_coverage *c, uint32_t shard)
{
    for (uint32_t i = 0; c != NULL && i < c->asked - c->answered; i++) {
        if (c->missing[i] == shard)
            return true;
    }
    return false;
}

/* ---- the oracle ---- */

const struct world_tree *oracle_tree(struct world *w)
{
    struct world_tree *level[2 * WORLD_SHARDS_MAX];
    uint32_t n = w->shard_count;
    for (uint32_t i = 0; i < n; i++) {
        level[i] = QV_ARENA_NEW(&w->arena, struct world_tree);
        assert_non_null(level[i]);
        level[i]->shard = &w->shards[i];
    }
    while (n > 1) { /* some of them below a new one */
        struct world_tree *t = QV_ARENA_NEW(&w->arena, struct world_tree);
        assert_non_null(t);
        const uint32_t take = 2 + (uint32_t)qv_rng_below(&w->rng, n < 4 ? n - 1 : 3);
        for (uint32_t i = 0; i < take && n > 0; i++)
            t->children[t->count++] = level[--n];
        level[n++] = t;
    }
    return level[0];
}

static void join(const struct world_point **out, uint32_t *n, const struct world_point *p)
{
    for (uint32_t i = 0; i < *n; i++) {
        if (!qv_id_equal(&out[i]->id, &p->id))
            continue;
        if (qv_version_compare(p->version, out[i]->version) > 0)
            out[i] = p;
        return;
    }
    out[(*n)++] = p;
}

uint32_t oracle_points(const struct world_tree *t, const struct qv_coverage *missing,
                       const struct world_point **out)
{
    uint32_t n = 0;
    if (t->shard != NULL) {
        for (uint32_t i = 0; i < t->shard->count && !world_is_missing(missing, t->shard->number);
             i++)
            join(out, &n, t->shard->points[i]);
        return n;
    }
    for (uint32_t c = 0; c < t->count; c++) {
        const struct world_point *of[WORLD_POINTS_MAX];
        const uint32_t more = oracle_points(t->children[c], missing, of);
        for (uint32_t i = 0; i < more; i++)
            join(out, &n, of[i]);
    }
    return n;
}

uint32_t oracle_query(struct world *w, const struct qv_query *q, const struct qv_coverage *missing,
                      struct oracle_hit *out)
{
    const struct world_point *points[WORLD_POINTS_MAX];
    struct sorted all[3 * WORLD_POINTS_MAX];
    struct qv_query by = *q;
    uint32_t n = oracle_points(oracle_tree(w), missing, points);
    for (uint32_t i = 0; i < w->point_count && q->kind == QV_QUERY_ID; i++) {
        if (qv_id_equal(&w->points[i].id, &q->id)) /* it was looked up, if it is covered or not */
            by.vec = (struct qv_vec){QV_VEC_DENSE, WORLD_DIM, 1, w->points[i].vec, NULL};
    }
    n = sort_points(w, &by, points, n, all);
    uint32_t given = 0;
    uint64_t skip = q->offset;
    for (uint32_t i = 0; i < n && given < q->limit; i++) {
        if (q->kind == QV_QUERY_ID && qv_id_equal(&all[i].p->id, &q->id))
            continue;
        if (skip > 0) {
            skip--;
            continue;
        }
        out[given++] =
            (struct oracle_hit){all[i].p->id, all[i].p->version, all[i].score, all[i].value};
    }
    return given;
}
