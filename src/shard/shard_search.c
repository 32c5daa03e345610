/* Nearest neighbours of one vector, and everything that makes the answer honest: what the graph
 * does not hold yet is scanned, a point that moves meanwhile is followed, scores are canonical.
 *
 * Plan: `exact`, no graph, or an unfinished backlog: an exact scan of everything live, or of what
 * passes the filter; else the graph and the pending ring, under a filter in the way that
 * index/filter_plan.h chooses by how many rows its bitmap holds.
 *
 * Why nothing acknowledged before the search began is missed: `low` is read first. Below it a slot
 * was in the graph before the walk began. What is at or above it, up to `high` read after the walk,
 * is scanned; that includes every slot that an update published during the walk, and an update
 * publishes the new slot before the old one dies. In an exact scan the live bits are copied first,
 * and the slot of a hit that has died since leads, by its id, to its successor. */
#include "shard/read.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "core/rank.h"
#include "core/vector.h"
#include "index/filter_plan.h"
#include "index/flat.h"
#include "shard/prepare.h"
#include "simd/convert.h"
#include "simd/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct search {
    struct qv_shard *s;
    struct qv_arena *arena;
    const struct qv_query *q;
    struct qv_shard_vector *v;
    struct qv_hnsw *graph; /* of v; NULL: none */
    uint32_t ef;           /* of its configuration */
    uint32_t vector;       /* index of v */
    const void *row;       /* the query in the storage dtype */
    bool has_self;         /* by id: that point is left out */
    struct qv_id self;
    uint32_t k;
    qv_slot *slots; /* candidates, distinct */
    uint32_t count;
    bool walked;                /* they are the graph's already; what waits for it is to be added */
    uint64_t low;               /* of the pending ring, from before that walk */
    struct qv_plan_report plan; /* of a filtered search */
    struct qv_plan_out *told;
    uint32_t gone; /* candidates that came to nothing: deleted meanwhile, or an id's second slot */
    struct qv_errmsg *msg;
};

/* ---- the query vector ---- */

static int query_row(struct search *x, const float *values)
{
    const struct qv_vector_config *vc = x->v->config;
    if (x->v->normalise && !x->q->vec_stored) {
        float *unit = qv_arena_dup(x->arena, values, (size_t)vc->size * 4);
        if (unit == NULL)
            return QV_ENOMEM;
        qv_simd_normalise_f32(unit, vc->size);
        values = unit;
    }
    /* Lines of the row that straddle two cache lines cost a walk 8 %. */
    void *row = qv_arena_alloc_aligned(x->arena, x->v->row_bytes, QV_CACHE_LINE);
    if (row == NULL)
        return QV_ENOMEM;
    qv_simd_from_f32(vc->datatype, values, row, vc->size);
    x->row = row;
    return 0;
}

static int given_vector(struct search *x)
{
    const struct qv_vec *v = &x->q->vec;
    const struct qv_vector_config *vc = x->v->config;
    if (v->kind == QV_VEC_SPARSE)
        return qv_fail(x->msg, QV_EINVAL, "Conversion between sparse and regular vectors failed");
    if (v->kind == QV_VEC_MULTI)
        return qv_fail(x->msg, QV_ENOTIMPL, "Not implemented: multi vector search");
    if (v->dim != vc->size)
        return qv_fail(x->msg, QV_EINVAL, "Vector dimension error: expected dim: %u, got %u",
                       vc->size, v->dim);
    for (uint32_t i = 0; i < v->dim; i++) {
        if (!isfinite(v->values[i]))
            return qv_fail(x->msg, QV_EINVAL, "Vector element %u is not a finite number", i);
    }
    return query_row(x, v->values);
}

static int vector_of_point(struct search *x)
{
    char text[QV_ID_TEXT_MAX];
    qv_id_format(&x->q->id, text);
    pthread_rwlock_rdlock(&x->s->lock);
    qv_slot slot = qv_slot_table_find(&x->s->slots, &x->q->id);
    if (slot != QV_SLOT_NONE && qv_shard_hidden(x->s, slot))
        slot = QV_SLOT_NONE;
    bool has = slot != QV_SLOT_NONE && qv_slot_table_is_live(&x->s->slots, x->vector, slot);
    pthread_rwlock_unlock(&x->s->lock);
    if (slot == QV_SLOT_NONE)
        return qv_fail(x->msg, QV_ENOTFOUND, "No point with id %s found", text);
    if (!has)
        return qv_fail(x->msg, QV_EINVAL, "Point %s does not have the required vector", text);
    void *row = qv_arena_alloc_aligned(x->arena, x->v->row_bytes, QV_CACHE_LINE);
    if (row == NULL)
        return QV_ENOMEM;
    if (!qv_shard_row_good(x->s, x->vector, slot))
        return qv_shard_row_bad(x->s, x->vector, slot, x->msg);
    memcpy(row, qv_rows_at(&x->v->view, slot), x->v->row_bytes);
    x->row = row;
    x->has_self = true;
    x->self = x->q->id;
    return 0;
}

static int missing_vector(const struct search *x)
{
    struct qv_str name = x->q->using_;
    return qv_fail(x->msg, QV_EINVAL, "Not existing vector name error: %.*s",
                   (int)(name.n < 200 ? name.n : 200), name.n == 0 ? "" : name.p);
}

static int choose_vector(struct search *x)
{
    const struct qv_collection_config *config = atomic_load(&x->s->config);
    struct qv_str name = x->q->using_;
    const struct qv_vector_config *vc = qv_config_vector(config, name);
    if (vc == NULL) {
        if (qv_config_sparse(config, name) != NULL)
            return qv_fail(x->msg, QV_ENOTIMPL, "Not implemented: sparse vector search");
        return missing_vector(x);
    }
    if (vc->multivector)
        return qv_fail(x->msg, QV_ENOTIMPL, "Not implemented: multi vector search");
    int index = qv_shard_vector_index(x->s, vc->number);
    if (index < 0) /* it was dropped this moment */
        return missing_vector(x);
    uint32_t m;
    x->vector = (uint32_t)index;
    x->v = &x->s->vectors[index];
    x->graph = x->v->graph;
    qv_config_hnsw(config, vc, &m, &x->ef);
    return x->q->kind == QV_QUERY_ID ? vector_of_point(x) : given_vector(x);
}

/* ---- what is told of it ---- */

#define WHY_EFFORT "there is no filter; the breadth is what `recall_target` needs"

static void tell_way(struct search *x, const char *way, const char *why)
{
    x->told->way = way;
    x->told->answered = way;
    x->told->why = why;
}

static void tell_walk(struct search *x, uint32_t ef, uint32_t ranked,
                      const struct qv_hnsw_work *work)
{
    x->told->ef = ef;
    x->told->ranked = ranked;
    x->told->distances = work->distances;
    x->told->hops = work->hops;
    x->told->bridges = work->bridges;
}

static void tell_filter(struct search *x, const struct qv_read_facts *facts)
{
    x->told->filter_by = facts->by;
    x->told->points = facts->points;
    x->told->passing = facts->matched;
    x->told->passing_min = facts->min;
    x->told->passing_max = facts->max;
    x->told->payloads_read = facts->read;
}

/* After a planned search. */
static void tell_planned(struct search *x, uint32_t ranked)
{
    static const char *const why[QV_PLAN_WAYS] = {
        [QV_PLAN_PLAIN] = "there is no filter",
        [QV_PLAN_SCAN] = "comparing all that pass is expected to cost least",
        [QV_PLAN_BRIDGES] = "a walk over what passes is expected to cost least",
        [QV_PLAN_CHECK] = "a walk whose result is checked is expected to cost least"};
    _Static_assert(QV_PLAN_WAYS == QV_PLAN_COSTS, "one cost a way");
    const struct qv_plan_report *r = &x->plan;
    tell_way(x, qv_plan_name(r->plan.way), why[r->plan.way]);
    x->told->answered = qv_plan_name(r->answered);
    x->told->planned = true;
    for (int way = 0; way < QV_PLAN_WAYS; way++)
        x->told->cost_us[way] = r->plan.cost_ns[way] / 1000;
    tell_walk(x, r->facts.ef, ranked, &r->work);
}

/* ---- candidates ---- */

#define SCAN_BLOCK (1u << 16) /* rows between two looks at whether to go on */

/* The nearest `keep` of the marked slots into *hits, in the arena. */
static int scan_nearest(struct search *x, uint32_t n, const uint64_t *bits, uint32_t keep,
                        struct qv_topk_hit **hits)
{
    struct qv_flat flat = {.rows = x->v->view,
                           .metric = x->v->metric,
                           .dtype = x->v->config->datatype,
                           .dim = x->v->config->size,
                           .bits = bits};
    struct qv_topk top;
    const void *row = x->row;
    uint64_t *keys = QV_ARENA_ARRAY(x->arena, uint64_t, keep);
    *hits = QV_ARENA_ARRAY(x->arena, struct qv_topk_hit, keep);
    if (keys == NULL || *hits == NULL)
        return QV_ENOMEM;
    qv_topk_init(&top, keys, keep);
    for (qv_slot at = 0; at < n; at = flat.end) {
        int err = qv_stop_ask(x->q->stop, x->msg);
        if (err != 0)
            return err;
        flat.begin = at;
        flat.end = n - at > SCAN_BLOCK ? at + SCAN_BLOCK : n;
        qv_flat_scan(&flat, &row, &top, 1);
    }
    x->count = qv_topk_finish(&top, *hits);
    return 0;
}

#define TIES_MAX (1u << 20) /* candidates, where many have the last one's score */

/* Of x->count hits, nearest first, as many as the k-th's score reaches: which of equal ones stand
 * in the answer is for their ids to say, and not for their slots. False: there may be more such. */
static bool cut_ties(struct search *x, const struct qv_topk_hit *hits, uint32_t kept)
{
    const struct qv_ranking ranking = {.distance = x->v->config->distance,
                                       .unit_rows = x->v->normalise};
    if (x->count <= x->k)
        return true;
    const float last = qv_rank_score(&ranking, hits[x->k - 1].dist);
    uint32_t n = x->k;
    while (n < x->count && qv_rank_score(&ranking, hits[n].dist) == last)
        n++;
    const bool all = n < x->count || x->count < kept;
    x->count = n;
    return all;
}

static int scan_bits(struct search *x, uint32_t n, const uint64_t *bits)
{
    struct qv_topk_hit *hits;
    for (uint64_t keep = (uint64_t)x->k + 1;; keep *= 8) {
        keep = keep < TIES_MAX || keep <= x->k + 1 ? keep : TIES_MAX;
        int err = scan_nearest(x, n, bits, (uint32_t)keep, &hits);
        if (err != 0)
            return err;
        if (cut_ties(x, hits, (uint32_t)keep) || keep >= TIES_MAX)
            break;
    }
    x->slots = QV_ARENA_ARRAY(x->arena, qv_slot, x->count);
    if (x->slots == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < x->count; i++)
        x->slots[i] = hits[i].slot;
    return 0;
}

static int scan_all(struct search *x)
{
    struct qv_live live;
    int err = qv_read_live(x->s, x->arena, x->vector, &live);
    for (uint32_t w = 0; err == 0 && w < (live.n + 63) / 64; w++)
        x->told->distances += (uint64_t)__builtin_popcountll(live.with[w]);
    return err != 0 ? err : scan_bits(x, live.n, live.with);
}

static int slot_compare(const void *a, const void *b)
{
    qv_slot x = *(const qv_slot *)a;
    qv_slot y = *(const qv_slot *)b;
    return x < y ? -1 : x > y;
}

/* The candidates are all[0..n), each once. */
static void keep_distinct(struct search *x, qv_slot *all, uint32_t n)
{
    qsort(all, n, sizeof *all, slot_compare);
    x->count = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (i == 0 || all[i] != all[i - 1])
            all[x->count++] = all[i];
    }
    x->slots = all;
}

/* Adds the ring's positions [low, high) to the candidates, each slot once. */
static int add_pending(struct search *x, uint64_t low)
{
    const struct qv_pending *p = &x->s->pending;
    uint64_t high = atomic_load_explicit(&x->s->pending.high, memory_order_acquire);
    if (high - low >= QV_PENDING_RING / 2)
        return scan_all(x); /* so many writes during one walk that the ring may have turned */
    x->told->waiting = high - low;
    if (high == low)
        return 0;
    qv_slot *all = QV_ARENA_ARRAY(x->arena, qv_slot, x->count + (high - low));
    if (all == NULL)
        return QV_ENOMEM;
    uint32_t n = x->count;
    memcpy(all, x->slots, n * sizeof *all);
    for (uint64_t at = low; at < high; at++) {
        qv_slot slot = atomic_load_explicit(&p->ring[at % QV_PENDING_RING], memory_order_relaxed);
        if (qv_slot_table_is_live(&x->s->slots, x->vector, slot))
            all[n++] = slot;
    }
    keep_distinct(x, all, n);
    return 0;
}

#define RESCORED_MIN 10u /* beyond what is asked, where oversampling is not given */

/* How many of the walk's nearest are ranked by their rows. By codes those are near their true
 * order: what is asked for lies among somewhat more of them. */
static uint32_t ranked_count(const struct search *x, bool by_rows)
{
    const struct qv_query *q = x->q;
    if (by_rows || (q->quant_rescore.has && !q->quant_rescore.v))
        return x->k;
    double most = (double)QV_HNSW_EF_MAX;
    double n = q->quant_oversampling.has ? ceil((double)x->k * q->quant_oversampling.v)
                                         : (double)x->k + fmax(RESCORED_MIN, x->k / 4.0);
    return n < most ? (uint32_t)n : QV_HNSW_EF_MAX;
}

/* The plan for the recall that is asked for; false: none is, or it is not known yet. */
static bool find_effort(const struct search *x, struct qv_effort_plan *out)
{
    return !x->q->hnsw_ef.has && x->q->recall_target.has &&
           qv_shard_effort_plan(x->s, x->vector, x->q->recall_target.v, out);
}

static uint32_t walk_ef(const struct search *x, uint32_t k)
{
    uint32_t ef = x->ef;
    struct qv_effort_plan effort;
    if (x->q->hnsw_ef.has)
        ef = x->q->hnsw_ef.v < QV_EF_MAX ? (uint32_t)x->q->hnsw_ef.v : QV_EF_MAX;
    else if (find_effort(x, &effort))
        ef = effort.goal.fixed;
    else if (x->q->recall_target.has)
        ef = qv_shard_effort_unknown(x->q->recall_target.v);
    return ef < k ? k : ef;
}

/* What the graph is asked without a filter, and room for what it finds. QV_ENOMEM. */
static int plain_walk(struct search *x, struct qv_hnsw_query *query, struct qv_hnsw_hit **hits)
{
    const bool by_rows =
        !qv_hnsw_has_codes(x->graph) || (x->q->quant_ignore.has && x->q->quant_ignore.v);
    const uint32_t k = ranked_count(x, by_rows);
    *query = (struct qv_hnsw_query){.row = x->row, .k = k, .ef = walk_ef(x, k), .by_rows = by_rows};
    *hits = QV_ARENA_ARRAY(x->arena, struct qv_hnsw_hit, k);
    x->slots = QV_ARENA_ARRAY(x->arena, qv_slot, k);
    return *hits == NULL || x->slots == NULL ? QV_ENOMEM : 0;
}

static int walk_graph(struct search *x, struct qv_hnsw_ctx *ctx, uint64_t low)
{
    struct qv_effort_plan effort;
    const bool planned = find_effort(x, &effort);
    struct qv_hnsw_query query;
    struct qv_hnsw_hit *hits;
    if (plain_walk(x, &query, &hits) != 0)
        return QV_ENOMEM;
    const struct qv_effort_query wanted = {.query = query, .plan = &effort, .k = x->k};
    const struct qv_hnsw_work before = qv_hnsw_ctx_work(ctx);
    int err = planned ? qv_effort_search(x->graph, ctx, &wanted, hits, &x->count)
                      : qv_hnsw_search(x->graph, ctx, &query, hits, &x->count);
    if (err != 0)
        return qv_fail(x->msg, err, "search: %s", qv_err_text(err));
    const struct qv_hnsw_work now = qv_hnsw_ctx_work(ctx);
    tell_way(x, "plain", planned ? WHY_EFFORT : "there is no filter");
    tell_walk(x, query.ef, query.k,
              &(struct qv_hnsw_work){.distances = now.distances - before.distances,
                                     .hops = now.hops - before.hops,
                                     .bridges = now.bridges - before.bridges});
    for (uint32_t i = 0; i < x->count; i++)
        x->slots[i] = hits[i].slot;
    return x->q->indexed_only ? 0 : add_pending(x, low);
}

/* ---- from slots to hits ---- */

/* A candidate that died since: its id's present slot, if that point still belongs here. */
static int follow_moved(struct search *x, qv_slot slot, qv_slot *out)
{
    struct qv_shard *s = x->s;
    struct qv_id id = qv_slot_table_id(&s->slots, slot);
    *out = QV_SLOT_NONE;
    pthread_rwlock_rdlock(&s->lock);
    qv_slot now = qv_slot_table_find(&s->slots, &id);
    bool hidden = now != QV_SLOT_NONE && qv_shard_hidden(s, now);
    pthread_rwlock_unlock(&s->lock);
    if (now == QV_SLOT_NONE || hidden || !qv_slot_table_is_live(&s->slots, x->vector, now))
        return 0;
    if (x->q->filter != NULL) {
        struct qv_bound_filter filter;
        struct qv_present present = {.found = false};
        bool match = false;
        int err = qv_read_bind(s, x->q->filter, x->q->stop, &filter, x->msg);
        if (err == 0)
            err = qv_read_copy(s, x->arena, &id, &present, x->msg);
        if (err == 0 && present.found)
            err = qv_read_match(s, &filter, &id, &present.copy, &match);
        qv_read_unbind(&filter);
        if (err != 0 || !present.found || !match)
            return err;
        now = present.slot;
    }
    *out = now;
    return 0;
}

/* ---- candidates under a filter ---- */

static bool bit(const uint64_t *bits, qv_slot slot)
{
    return (bits[slot / 64] >> (slot & 63) & 1) != 0;
}

#define FRESH_MAX 4096u /* points published during one walk that are asked one by one */

/* Adds those of the ring's positions [low, high) that pass: what was there when the filter was
 * asked by its bitmap, what came since as it is now. */
static int add_pending_passing(struct search *x, uint64_t low, const struct qv_live *live)
{
    const struct qv_pending *p = &x->s->pending;
    uint64_t high = atomic_load_explicit(&x->s->pending.high, memory_order_acquire);
    if (high - low >= QV_PENDING_RING / 2)
        return scan_bits(x, live->n, live->with);
    x->told->waiting = high - low;
    qv_slot *all = QV_ARENA_ARRAY(x->arena, qv_slot, x->count + (high - low) + 1);
    if (all == NULL)
        return QV_ENOMEM;
    uint32_t fresh = 0;
    uint32_t n = x->count;
    memcpy(all, x->slots, n * sizeof *all);
    for (uint64_t at = low; at < high; at++) {
        qv_slot slot = atomic_load_explicit(&p->ring[at % QV_PENDING_RING], memory_order_relaxed);
        if (slot < live->n && bit(live->all, slot)) {
            if (bit(live->with, slot))
                all[n++] = slot;
            continue;
        }
        if (!qv_slot_table_is_live(&x->s->slots, x->vector, slot))
            continue;
        if (++fresh > FRESH_MAX)
            return scan_bits(x, live->n, live->with);
        int err = follow_moved(x, slot, &slot);
        if (err != 0)
            return err;
        if (slot != QV_SLOT_NONE)
            all[n++] = slot;
    }
    keep_distinct(x, all, n);
    return 0;
}

static int ask_stop(void *arg)
{
    struct search *x = arg;
    return qv_stop_ask(x->q->stop, x->msg);
}

/* Through the graph as planned. live->with: the slots that pass. */
static int search_planned(struct search *x, struct qv_hnsw_ctx *ctx, uint64_t low,
                          const struct qv_live *live, uint32_t passing)
{
    const bool by_rows =
        !qv_hnsw_has_codes(x->graph) || (x->q->quant_ignore.has && x->q->quant_ignore.v);
    const uint32_t k = ranked_count(x, by_rows);
    const struct qv_plan_query query = {.query = {.row = x->row,
                                                  .k = k,
                                                  .ef = walk_ef(x, k),
                                                  .bitmap = live->with,
                                                  .bitmap_slots = live->n,
                                                  .by_rows = by_rows,
                                                  .stop = ask_stop,
                                                  .stop_arg = x},
                                        .passing = passing};
    qv_plan_make(x->graph, &query, &x->plan);
    if (x->plan.plan.way == QV_PLAN_SCAN && by_rows) {
        x->plan.work.distances = passing;
        tell_planned(x, k);
        return scan_bits(x, live->n, live->with);
    }
    struct qv_hnsw_hit *hits = QV_ARENA_ARRAY(x->arena, struct qv_hnsw_hit, k);
    x->slots = QV_ARENA_ARRAY(x->arena, qv_slot, k);
    if (hits == NULL || x->slots == NULL)
        return QV_ENOMEM;
    int err = qv_plan_search(x->graph, ctx, &query, hits, &x->count, &x->plan);
    if (err == QV_ENOMEM || err == QV_EINVAL)
        return qv_fail(x->msg, err, "search: %s", qv_err_text(err));
    if (err != 0) /* it was stopped: ask_stop has said why */
        return err;
    tell_planned(x, k);
    for (uint32_t i = 0; i < x->count; i++)
        x->slots[i] = hits[i].slot;
    return x->q->indexed_only ? 0 : add_pending_passing(x, low, live);
}

/* Nothing is asked but that the keys are the shard's to answer for. */
static void tell_keys(const struct qv_live *live, struct qv_read_facts *facts, uint64_t **match)
{
    *match = live->all;
    facts->by = "keys";
    for (uint32_t w = 0; w < (live->n + 63) / 64; w++)
        facts->points += (uint64_t)__builtin_popcountll(live->all[w]);
    facts->matched = facts->min = facts->max = facts->points;
}

/* ctx NULL: exactly. */
static int search_filtered(struct search *x, struct qv_hnsw_ctx *ctx, uint64_t low)
{
    struct qv_live live;
    struct qv_read_facts facts = {.by = "payloads"};
    uint64_t *match;
    uint32_t passing = 0;
    int err = qv_read_live(x->s, x->arena, x->vector, &live);
    live.stop = x->q->stop;
    live.facts = &facts;
    if (err == 0 && x->q->filter != NULL)
        err = qv_read_bitmap(x->s, x->arena, x->q->filter, &live, &match, x->msg);
    else if (err == 0)
        tell_keys(&live, &facts, &match);
    if (err != 0)
        return err;
    tell_filter(x, &facts);
    for (uint32_t w = 0; w < (live.n + 63) / 64; w++) {
        live.with[w] &= match[w];
        passing += (uint32_t)__builtin_popcountll(live.with[w]);
    }
    if (ctx != NULL)
        return search_planned(x, ctx, low, &live, passing);
    x->told->distances = passing;
    return scan_bits(x, live.n, live.with);
}

/* Why no graph is walked; NULL: one is. After pending.low was read. */
static const char *why_exact(const struct search *x)
{
    if (x->q->exact)
        return "`exact` was asked for";
    if (x->graph == NULL)
        return "the vector has no graph";
    if (x->k > QV_HNSW_EF_MAX)
        return "more is asked for than a walk keeps";
    if (atomic_load_explicit(&x->s->backlog, memory_order_acquire) > 0)
        return "too many points wait for the graph";
    return NULL;
}

static int candidates(struct search *x, unsigned reader)
{
    struct qv_shard *s = x->s;
    if (x->walked) {
        x->walked = false;
        tell_way(x, "plain", "there is no filter");
        return x->q->indexed_only ? 0 : add_pending(x, x->low);
    }
    uint64_t low = atomic_load_explicit(&s->pending.low, memory_order_acquire);
    QV_ASSERT(x->v != NULL);
    const char *why = why_exact(x);
    const bool exact = why != NULL;
    if (exact)
        tell_way(x, "exact", why);
    struct qv_hnsw_ctx **ctx = &s->store->ctx[reader];
    if (*ctx == NULL && !exact)
        *ctx = qv_hnsw_ctx_create();
    if (x->q->filter != NULL || (!exact && qv_shard_hides(s)))
        return search_filtered(x, exact ? NULL : *ctx, low);
    return exact ? scan_all(x) : walk_graph(x, *ctx, low);
}

/* ---- ranking ---- */

struct ranked {
    float score;
    float order; /* the score, less is better */
    struct qv_id id;
    qv_slot slot;
};

static int ranked_compare(const void *pa, const void *pb)
{
    const struct ranked *a = pa;
    const struct ranked *b = pb;
    if (a->order < b->order || a->order > b->order)
        return a->order < b->order ? -1 : 1;
    return qv_id_compare(&a->id, &b->id);
}

/* Live slots of the candidates with their canonical scores, in the order of an answer: by score
 * (two distances may have one), then id. */
static int rank(struct search *x, struct ranked **out, uint32_t *count)
{
    struct qv_scorer scorer;
    const struct qv_ranking ranking = {.distance = x->v->config->distance,
                                       .unit_rows = x->v->normalise};
    const bool larger = qv_rank_larger_is_better(ranking.distance);
    struct ranked *r = QV_ARENA_ARRAY(x->arena, struct ranked, x->count);
    float *dist = QV_ARENA_ARRAY(x->arena, float, x->count);
    if (r == NULL || dist == NULL)
        return QV_ENOMEM;
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->count; i++) {
        qv_slot slot = x->slots[i];
        if (!qv_slot_table_is_live(&x->s->slots, x->vector, slot)) {
            int err = follow_moved(x, slot, &slot);
            if (err != 0)
                return err;
        }
        if (slot != QV_SLOT_NONE)
            x->slots[n++] = slot;
        else
            x->gone++;
    }
    qv_score_init(&scorer, x->v->metric, x->v->config->datatype, x->v->config->size);
    struct qv_gather gather = {.base = x->v->view.base,
                               .stride_bytes = x->v->view.stride_bytes,
                               .slots = x->slots,
                               .n = n};
    qv_score_batch(&scorer, x->row, &gather, dist);
    for (uint32_t i = 0; i < n; i++) {
        r[i].score = qv_rank_score(&ranking, dist[i]);
        r[i].order = larger ? -r[i].score : r[i].score;
        r[i].slot = x->slots[i];
        r[i].id = qv_slot_table_id(&x->s->slots, x->slots[i]);
    }
    qsort(r, n, sizeof *r, ranked_compare);
    *out = r;
    *count = n;
    return 0;
}

/* Seen before? An update under way can leave both slots of one id among the candidates; the nearer
 * copy is answered. set: a power of two, at least twice what is asked, of index + 1. */
static bool seen_id(const struct ranked *r, uint32_t i, uint32_t *set, uint32_t mask)
{
    uint32_t at = (uint32_t)qv_id_key_hash(&r[i].id) & mask;
    while (set[at] != 0 && !qv_id_equal(&r[set[at] - 1].id, &r[i].id))
        at = (at + 1) & mask;
    bool seen = set[at] != 0;
    set[at] = i + 1;
    return seen;
}

static uint32_t pick(struct search *x, const struct ranked *r, uint32_t n, struct qv_pick *picks,
                     uint32_t *set, uint32_t mask)
{
    const struct qv_ranking ranking = {.distance = x->v->config->distance,
                                       .unit_rows = x->v->normalise};
    uint32_t count = 0;
    uint64_t skip = x->q->offset;
    for (uint32_t i = 0; i < n && count < x->q->limit; i++) {
        if (seen_id(r, i, set, mask)) {
            x->gone++;
            continue;
        }
        if (x->has_self && qv_id_equal(&r[i].id, &x->self))
            continue;
        if (!qv_shard_row_good(x->s, x->vector, r[i].slot)) {
            int err = qv_shard_row_bad(x->s, x->vector, r[i].slot, NULL);
            (void)err; /* told once; its distance means nothing: passed over */
            x->gone++;
            continue;
        }
        const float score = r[i].score;
        if (x->q->has_threshold && !qv_rank_passes(&ranking, score, x->q->threshold))
            break;
        if (skip > 0) {
            skip--;
            continue;
        }
        picks[count++] = (struct qv_pick){.slot = r[i].slot,
                                          .id = r[i].id,
                                          .version = qv_slot_table_version(&x->s->slots, r[i].slot),
                                          .score = score};
    }
    return count;
}

static int nearest(struct search *x, unsigned reader, struct qv_pick *picks, uint32_t *count)
{
    struct ranked *ranked;
    uint32_t n;
    int err = candidates(x, reader);
    if (err == 0)
        err = rank(x, &ranked, &n);
    if (err != 0)
        return err;
    uint32_t size = 16;
    while (size < n * 2)
        size *= 2;
    uint32_t *set = QV_ARENA_ARRAY(x->arena, uint32_t, size);
    if (set == NULL)
        return QV_ENOMEM;
    *count = pick(x, ranked, n, picks, set, size - 1);
    return 0;
}

#define TRIES_MAX 3 /* while points are deleted faster than they are found */

static int begin_search(struct search *x)
{
    x->k = (uint32_t)(x->q->limit + x->q->offset) + (x->q->kind == QV_QUERY_ID);
    return choose_vector(x);
}

static int end_search(struct search *x, unsigned reader, struct qv_points_out *out)
{
    uint32_t n = 0;
    int err = 0;
    if (x->q->limit == 0)
        return 0;
    x->told = QV_ARENA_NEW(x->arena, struct qv_plan_out);
    if (x->told == NULL)
        return QV_ENOMEM;
    struct qv_pick *picks = QV_ARENA_ARRAY(x->arena, struct qv_pick, x->q->limit);
    if (picks == NULL)
        return QV_ENOMEM;
    for (int tries = 0; tries < TRIES_MAX; tries++) {
        x->gone = 0;
        *x->told = (struct qv_plan_out){.way = NULL};
        err = nearest(x, reader, picks, &n);
        if (err != 0)
            return err;
        const struct qv_read_order order = {.picks = picks,
                                            .n = n,
                                            .with_payload = &x->q->with_payload,
                                            .with_vector = &x->q->with_vector};
        err = qv_read_points(x->s, x->arena, &order, out, x->msg);
        if (err != 0)
            return err;
        QV_ASSERT(x->told->way != NULL);
        out->plan = x->told;
        out->explain = x->q->explain;
        x->gone += n - out->count;
        out->more = x->gone != 0 || out->count == x->q->limit;
        if (x->gone == 0 || out->count == x->q->limit)
            break;
        x->k += x->gone; /* they have crowded out others */
    }
    return 0;
}

static int search(struct search *x, unsigned reader, struct qv_points_out *out)
{
    int err = begin_search(x);
    return err == 0 ? end_search(x, reader, out) : err;
}

static int by_id(struct qv_shard *s, unsigned reader, struct qv_arena *arena,
                 const struct qv_query *q, struct qv_points_out *out, struct qv_errmsg *msg)
{
    struct qv_scroll_out scroll;
    struct qv_scroll_req req = {.filter = q->filter,
                                .limit = q->limit + q->offset,
                                .opts = {.stop = q->stop},
                                .with_payload = q->with_payload,
                                .with_vector = q->with_vector};
    int err = qv_shard_scroll(s, reader, arena, &req, &scroll, msg);
    if (err != 0)
        return err;
    uint32_t skip = scroll.points.count < q->offset ? scroll.points.count : (uint32_t)q->offset;
    out->points = scroll.points.points + skip;
    out->count = scroll.points.count - skip;
    out->more = scroll.has_next;
    for (uint32_t i = 0; i < out->count; i++)
        out->points[i].score = 1.0f; /* as that API has it */
    return 0;
}

int qv_shard_query(struct qv_shard *s, unsigned reader, struct qv_arena *arena,
                   const struct qv_query *q, struct qv_points_out *out, struct qv_errmsg *msg)
{
    struct search x = {.s = s, .arena = arena, .q = q, .msg = msg};
    memset(out, 0, sizeof *out);
    QV_ASSERT(q->limit <= QV_LIMIT_MAX && q->offset <= QV_LIMIT_MAX);
    if (q->kind == QV_QUERY_SCROLL)
        return by_id(s, reader, arena, q, out, msg);
    int err = qv_read_begin(s, reader, msg);
    if (err != 0)
        return err;
    if (q->kind == QV_QUERY_ORDER_BY || q->kind == QV_QUERY_SAMPLE)
        err = qv_order_query(s, arena, q, out, msg);
    else
        err = search(&x, reader, out);
    return qv_read_finish(s, reader, err, msg);
}

/* ---- batches ---- */

#define TURNS_MAX 100u /* searches between two looks at whether to go on */

/* Some of a batch, whose walks take turns. */
struct turns {
    struct search *searches; /* by item */
    bool *done;              /* likewise */
    uint32_t *items;         /* those that walk */
    struct qv_hnsw_query *queries;
    struct qv_hnsw_found *found;
    uint32_t n;
    struct qv_hnsw *graph; /* of all of them */
};

static bool turns_alloc(struct turns *t, struct qv_arena *arena, uint32_t n)
{
    t->searches = QV_ARENA_ARRAY(arena, struct search, n);
    t->done = QV_ARENA_ARRAY(arena, bool, n);
    t->items = QV_ARENA_ARRAY(arena, uint32_t, n);
    t->queries = QV_ARENA_ARRAY(arena, struct qv_hnsw_query, n);
    t->found = QV_ARENA_ARRAY(arena, struct qv_hnsw_found, n);
    return t->searches != NULL && t->done != NULL && t->items != NULL && t->queries != NULL &&
           t->found != NULL;
}

/* Adds the search if it is a plain walk over the graph of those before it, and nobody asks what it
 * cost: that is counted for all of them together. */
static void add_turn(struct turns *t, struct search *x, uint32_t item)
{
    struct qv_effort_plan effort;
    if ((x->q->kind != QV_QUERY_VECTOR && x->q->kind != QV_QUERY_ID) || x->q->filter != NULL ||
        qv_shard_hides(x->s) || x->q->limit == 0 || x->q->explain || begin_search(x) != 0 ||
        why_exact(x) != NULL || find_effort(x, &effort) || (t->n > 0 && x->graph != t->graph))
        return;
    struct qv_hnsw_hit *hits;
    if (plain_walk(x, &t->queries[t->n], &hits) != 0)
        return;
    t->graph = x->graph;
    t->found[t->n].hits = hits;
    t->items[t->n++] = item;
}

static void take_turns(struct turns *t, struct qv_shard *s, unsigned reader,
                       struct qv_points_out *out)
{
    struct qv_hnsw_ctx **ctx = &s->store->ctx[reader];
    if (*ctx == NULL)
        *ctx = qv_hnsw_ctx_create();
    if (qv_hnsw_search_many(t->graph, *ctx, t->queries, t->n, t->found) != 0)
        return;
    for (uint32_t i = 0; i < t->n; i++) {
        const uint32_t item = t->items[i];
        struct search *x = &t->searches[item];
        for (uint32_t hit = 0; hit < t->found[i].n; hit++)
            x->slots[hit] = t->found[i].hits[hit].slot;
        x->count = t->found[i].n;
        x->walked = true;
        t->done[item] = end_search(x, reader, &out[item]) == 0;
    }
}

/* Those of the n items that walk plainly, in turns; of what fails here t->done tells nothing. */
static int query_in_turns(struct turns *t, struct qv_shard *s, unsigned reader,
                          const struct qv_batch *b, uint32_t n, struct qv_points_out *out)
{
    struct qv_errmsg msg;
    int err = qv_read_begin(s, reader, &msg);
    if (err != 0)
        return err;
    const uint64_t low = atomic_load_explicit(&s->pending.low, memory_order_acquire);
    t->n = 0;
    for (uint32_t i = 0; i < n; i++) {
        t->done[i] = false;
        t->searches[i] = (struct search){
            .s = s, .arena = b->arena, .q = &b->queries[i], .low = low, .msg = &msg};
        memset(&out[i], 0, sizeof out[i]);
        add_turn(t, &t->searches[i], i);
    }
    if (t->n > 1)
        take_turns(t, s, reader, out);
    err = qv_read_finish(s, reader, 0, &msg);
    for (uint32_t i = 0; err != 0 && i < n; i++)
        t->done[i] = false;
    return err;
}

/* What takes turns does so first; whatever that did not answer is asked alone, in its order: so an
 * error is that of the first item that fails, as if all were. */
int qv_shard_query_batch(struct qv_shard *s, unsigned reader, const struct qv_batch *batch,
                         struct qv_points_out *out, struct qv_errmsg *msg)
{
    struct turns t = {0};
    const uint32_t most = batch->count < TURNS_MAX ? batch->count : TURNS_MAX;
    if (most > 1 && !turns_alloc(&t, batch->arena, most))
        return QV_ENOMEM;
    for (uint32_t at = 0; at < batch->count; at += TURNS_MAX) {
        const uint32_t n = batch->count - at < TURNS_MAX ? batch->count - at : TURNS_MAX;
        const struct qv_batch part = {
            .arena = batch->arena, .queries = &batch->queries[at], .count = n};
        int err = qv_stop_ask(part.queries->stop, msg);
        if (err == 0 && n > 1)
            (void)query_in_turns(&t, s, reader, &part, n, &out[at]); /* what fails is asked again */
        for (uint32_t i = 0; i < n && err == 0; i++) {
            if (n > 1 && t.done[i])
                continue;
            err = qv_stop_ask(part.queries[i].stop, msg);
            if (err == 0)
                err = qv_shard_query(s, reader, batch->arena, &part.queries[i], &out[at + i], msg);
        }
        if (err != 0)
            return err;
    }
    return 0;
}
