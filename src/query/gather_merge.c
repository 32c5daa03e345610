/* What the gatherer does with answers: queries by id made into queries by vector, merges, asking
 * on, coverage, the plan that is told. */
#include "query/gather_private.h"

#include "base/hash.h"
#include "base/qv_assert.h"

#include <string.h>

#define MORE_ROUNDS_MAX 8u

/* ---- queries, as shards get them ---- */

/* A query by the vector of a point that some shard has. What is wrong with it otherwise, every
 * shard says alike: it is sent as it is. */
static bool needs_lookup(const struct qv_gather *g, const struct qv_query *q)
{
    const struct qv_vector_config *vc =
        q->kind == QV_QUERY_ID ? qv_config_vector(g->view->config, q->using_) : NULL;
    return vc != NULL && !vc->multivector;
}

int qv_gather_copy_queries(struct qv_gather *g)
{
    const struct qv_query_req *req = g->config.what.req.query;
    struct qv_arena *arena = g->config.arena;
    struct qv_query *queries =
        qv_arena_dup(arena, req->queries, req->query_count * sizeof *queries);
    struct qv_str *names = QV_ARENA_ARRAY(arena, struct qv_str, req->query_count);
    g->lookup_ids = QV_ARENA_ARRAY(arena, struct qv_id, req->query_count);
    g->lookup_queries = QV_ARENA_ARRAY(arena, uint32_t, req->query_count);
    g->result.out.lists = QV_ARENA_ARRAY(arena, struct qv_points_out, req->query_count);
    if (queries == NULL || names == NULL || g->lookup_ids == NULL || g->lookup_queries == NULL ||
        g->result.out.lists == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < req->query_count; i++) {
        struct qv_query *q = &queries[i];
        if (q->kind == QV_QUERY_SAMPLE && !q->has_seed) {
            q->has_seed = true;
            q->seed = qv_hash_mix(g->config.seed + i);
        }
        if (!needs_lookup(g, q))
            continue;
        g->lookup_ids[g->lookup_count] = q->id;
        g->lookup_queries[g->lookup_count] = i;
        names[g->lookup_count++] = q->using_;
    }
    g->queries = *req;
    g->queries.queries = queries;
    g->what.req.query = &g->queries;
    g->lookup = (struct qv_get_req){
        .with_vector = {.mode = QV_SELECT_INCLUDE, .names = names, .name_count = g->lookup_count},
        .opts = req->opts};
    return 0;
}

static const struct qv_vec *dense_of(const struct qv_point_out *p, struct qv_str name)
{
    for (uint32_t i = 0; i < p->vec_count; i++) {
        if (qv_str_equal(p->vecs[i].name, name) && p->vecs[i].vec.kind == QV_VEC_DENSE)
            return &p->vecs[i].vec;
    }
    return NULL;
}

/* The answers of the phase's wants that have one, by want; others NULL. */
static int answers_of(const struct qv_gather *g, const struct qv_points_out ***out)
{
    const struct qv_points_out **lists =
        qv_arena_calloc(g->config.arena, g->want_count - g->first, sizeof(void *));
    *out = lists;
    if (lists == NULL)
        return QV_ENOMEM;
    for (uint32_t i = g->first; i < g->want_count; i++) {
        if (g->wants[i].state == QV_WANT_ANSWERED)
            lists[i - g->first] = &g->wants[i].answer->fetch;
    }
    return 0;
}

/* A query whose vector is not there ends the batch, once those before it went well: as if they were
 * asked one after the other. */
static int fail_query(struct qv_gather *g, uint32_t query, bool found)
{
    char text[QV_ID_TEXT_MAX];
    qv_id_format(&g->queries.queries[query].id, text);
    g->late_err =
        found ? qv_fail(&g->late_msg, QV_EINVAL, "Point %s does not have the required vector", text)
              : qv_fail(&g->late_msg, QV_ENOTFOUND, "No point with id %s found", text);
    g->queries.query_count = query;
    if (query > 0)
        return 0;
    g->msg = g->late_msg;
    return g->late_err;
}

int qv_gather_use_vectors(struct qv_gather *g)
{
    const struct qv_points_out **lists;
    int err = answers_of(g, &lists);
    if (err != 0)
        return err;
    /* our own copy, which nobody has been sent yet */
    struct qv_query *queries = (struct qv_query *)(uintptr_t)g->queries.queries;
    for (uint32_t i = 0; i < g->lookup_count; i++) {
        struct qv_query *q = &queries[g->lookup_queries[i]];
        struct qv_points_out found;
        err = qv_merge_points(&g->lookup_ids[i], 1, lists, g->want_count - g->first,
                              g->config.arena, &found);
        if (err != 0)
            return err;
        const struct qv_vec *vec = found.count == 0 ? NULL : dense_of(found.points, q->using_);
        if (vec == NULL)
            return fail_query(g, g->lookup_queries[i], found.count > 0);
        q->kind = QV_QUERY_VECTOR;
        q->vec = *vec;
        q->vec_stored = true;
    }
    return 0;
}

/* ---- asking on ---- */

/* A want that asks root on: for more of those lists that are lacking. limits: by list. */
static int ask_on(struct qv_gather *g, uint32_t root, const uint32_t *limits)
{
    uint32_t index;
    struct qv_leg leg = g->wants[root].leg;
    leg.limits = limits;
    const struct qv_want *r = &g->wants[root];
    struct qv_want like = *r;
    int err = qv_gather_add_want(g, &leg, 0, &index);
    if (err != 0)
        return err;
    struct qv_want *w = &g->wants[index];
    w->candidates = like.candidates;
    w->candidate_count = like.candidate_count;
    w->points = like.points;
    w->keys = like.keys;
    w->root = root;
    return 0;
}

/* The next limit of a list that was asked for `asked` and is needed up to `wanted`. */
static uint32_t more_of(uint32_t asked, uint32_t wanted, uint32_t times)
{
    uint64_t n = asked < wanted ? wanted : (uint64_t)times * asked;
    return n > QV_LIMIT_MAX ? QV_LIMIT_MAX : (uint32_t)n;
}

/* How much of list `query` root has been asked for so far. */
static uint32_t asked_of(const struct qv_gather *g, uint32_t root, uint32_t query)
{
    uint32_t most = 0;
    for (uint32_t i = root; i < g->want_count; i++) {
        const struct qv_want *w = &g->wants[i];
        if (w->root == root && w->leg.limit_count > query && w->leg.limits[query] > most)
            most = w->leg.limits[query];
    }
    return most;
}

/* lacking: by want of this phase, and list. */
static int ask_lacking(struct qv_gather *g, const bool *lacking, uint32_t lists,
                       const uint32_t *wanted, bool *again)
{
    const uint32_t end = g->want_count;
    const uint32_t times = g->kind == QV_ASK_FACET ? 16 : 4;
    for (uint32_t i = g->first; i < end; i++) {
        const bool *of = lacking + (size_t)(i - g->first) * lists;
        uint32_t *limits = NULL;
        for (uint32_t q = 0; q < lists; q++) {
            const uint32_t asked = of[q] ? asked_of(g, i, q) : 0;
            if (!of[q] || asked >= QV_LIMIT_MAX)
                continue;
            if (limits == NULL)
                limits = QV_ARENA_ARRAY(g->config.arena, uint32_t, lists);
            if (limits == NULL)
                return QV_ENOMEM;
            limits[q] = more_of(asked, wanted[q], times);
        }
        int err = limits != NULL ? ask_on(g, i, limits) : 0;
        if (err != 0)
            return err;
        *again = *again || limits != NULL;
    }
    return 0;
}

/* There is no time to ask on: what is lacking is not known. */
static void leave_lacking(struct qv_gather *g, const bool *lacking, uint32_t lists)
{
    for (uint32_t i = g->first; i < g->want_count; i++) {
        for (uint32_t q = 0; q < lists; q++) {
            if (!lacking[(size_t)(i - g->first) * lists + q])
                continue;
            g->wants[i].partial = true;
            g->wants[i].err = QV_ETIMEOUT;
        }
    }
}

struct lacks {
    bool *all; /* by want of this phase, and list */
    uint32_t *wanted;
    uint32_t lists;
    bool any;
};

static int lacks_init(struct lacks *l, struct qv_gather *g, uint32_t lists)
{
    *l = (struct lacks){.lists = lists};
    l->all = qv_arena_calloc(g->config.arena, (size_t)(g->want_count - g->first) * lists,
                             sizeof *l->all);
    l->wanted = QV_ARENA_ARRAY(g->config.arena, uint32_t, lists);
    return l->all != NULL && l->wanted != NULL ? 0 : QV_ENOMEM;
}

static int settle(struct qv_gather *g, const struct lacks *l, bool in_time, bool *again)
{
    if (!l->any)
        return 0;
    if (!in_time)
        leave_lacking(g, l->all, l->lists);
    else if (g->more_rounds++ < MORE_ROUNDS_MAX)
        return ask_lacking(g, l->all, l->lists, l->wanted, again);
    return 0;
}

/* ---- merges ---- */

/* The lists that the roots have of one query (or scroll), by want of this phase. */
static int lists_of(const struct qv_gather *g, uint32_t query, const struct qv_leg_list ***out)
{
    const struct qv_leg_list **lists =
        qv_arena_calloc(g->config.arena, g->want_count - g->first, sizeof(void *));
    *out = lists;
    if (lists == NULL)
        return QV_ENOMEM;
    for (uint32_t i = g->first; i < g->want_count; i++) {
        if (qv_want_is_root(g, i))
            lists[i - g->first] = g->wants[i].lists[query];
    }
    return 0;
}

static void note_lacks(const struct qv_gather *g, struct lacks *l, uint32_t list,
                       const bool *lacking)
{
    for (uint32_t i = 0; i < g->want_count - g->first; i++) {
        l->all[(size_t)i * l->lists + list] = lacking[i];
        l->any = l->any || lacking[i];
    }
}

/* What a merged search tells of its plan: the first leg's, with sums over all of them. */
static int tell_plan(struct qv_gather *g, uint32_t query, struct qv_points_out *out)
{
    const struct qv_query *asked = &g->config.what.req.query->queries[query];
    out->explain = asked->explain;
    if (!asked->explain)
        return 0;
    uint32_t n = 0;
    struct qv_plan_out *sum = QV_ARENA_NEW(g->config.arena, struct qv_plan_out);
    struct qv_plan_leg_out *legs =
        QV_ARENA_ARRAY(g->config.arena, struct qv_plan_leg_out, g->want_count - g->first);
    if (sum == NULL || legs == NULL)
        return QV_ENOMEM;
    for (uint32_t i = g->first; i < g->want_count; i++) {
        const struct qv_leg_list *list = qv_want_is_root(g, i) ? g->wants[i].lists[query] : NULL;
        const struct qv_plan_out *p = list == NULL ? NULL : list->points.plan;
        if (p == NULL)
            continue;
        if (n == 0)
            *sum = *p;
        else
            qv_plan_add(sum, p);
        const uint32_t last = asked_of(g, i, query);
        legs[n++] =
            (struct qv_plan_leg_out){.shard = g->wants[i].leg.shard,
                                     .asked = g->wants[i].leg.limits[query],
                                     .asked_on = last > g->wants[i].leg.limits[query] ? last : 0,
                                     .given = list->points.count,
                                     .plan = p};
    }
    sum->legs = legs;
    sum->leg_count = n;
    out->plan = n > 0 ? sum : NULL;
    return 0;
}

static int merge_query(struct qv_gather *g, uint32_t i, struct lacks *l)
{
    const struct qv_query *q = &g->queries.queries[i];
    const struct qv_query *asked = &g->config.what.req.query->queries[i];
    struct qv_points_out *out = &g->result.out.lists[i];
    const struct qv_leg_list **lists;
    bool *lacking = QV_ARENA_ARRAY(g->config.arena, bool, g->want_count - g->first);
    int err = lists_of(g, i, &lists);
    if (err != 0 || lacking == NULL)
        return QV_ENOMEM;
    const struct qv_merge m = {.order = qv_merge_order_of_query(q, g->view->config),
                               .lists = lists,
                               .count = g->want_count - g->first,
                               .skip = (uint32_t)asked->offset,
                               .limit = (uint32_t)asked->limit,
                               .except = asked->kind == QV_QUERY_ID ? &asked->id : NULL};
    l->wanted[i] = qv_read_plan_wanted(asked);
    err = qv_merge_lists(&m, g->config.arena, out, lacking, NULL);
    if (err == 0)
        err = tell_plan(g, i, out);
    note_lacks(g, l, i, lacking);
    return err;
}

static int merge_queries(struct qv_gather *g, bool in_time, bool *again)
{
    struct lacks l;
    int err = lacks_init(&l, g, g->config.what.req.query->query_count);
    for (uint32_t i = 0; i < g->queries.query_count && err == 0; i++)
        err = merge_query(g, i, &l);
    return err == 0 ? settle(g, &l, in_time, again) : err;
}

static int merge_scroll(struct qv_gather *g, bool in_time, bool *again)
{
    const struct qv_scroll_req *req = g->config.what.req.scroll;
    struct qv_scroll_out *out = &g->result.out.scroll;
    struct lacks l;
    struct qv_merge_next next = {.has = false};
    const struct qv_leg_list **lists;
    bool *lacking = QV_ARENA_ARRAY(g->config.arena, bool, g->want_count - g->first);
    int err = lacks_init(&l, g, 1);
    if (err == 0)
        err = lists_of(g, 0, &lists);
    if (err != 0 || lacking == NULL)
        return QV_ENOMEM;
    const struct qv_merge m = {.order = qv_merge_order_of_scroll(req),
                               .lists = lists,
                               .count = g->want_count - g->first,
                               .limit = (uint32_t)req->limit};
    l.wanted[0] = (uint32_t)req->limit;
    err = qv_merge_lists(&m, g->config.arena, &out->points, lacking,
                         req->order_by == NULL ? &next : NULL);
    out->has_next = next.has;
    out->next = next.id;
    note_lacks(g, &l, 0, lacking);
    return err == 0 ? settle(g, &l, in_time, again) : err;
}

static int merge_facet(struct qv_gather *g, bool in_time, bool *again)
{
    const uint32_t n = g->want_count - g->first;
    struct lacks l;
    int err = lacks_init(&l, g, 1);
    const struct qv_facet_out **lists = qv_arena_calloc(g->config.arena, n, sizeof(void *));
    bool *all = QV_ARENA_ARRAY(g->config.arena, bool, n);
    if (err != 0 || lists == NULL || all == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < n; i++) {
        const struct qv_want *w = &g->wants[g->first + i];
        if (!qv_want_is_root(g, g->first + i) || w->answer == NULL)
            continue;
        lists[i] = &w->answer->facet;
        all[i] = w->answer->facet_all;
    }
    const struct qv_merge_facets m = {
        .lists = lists, .all = all, .count = n, .limit = (uint32_t)g->config.what.req.facet->limit};
    err = qv_merge_facets(&m, g->config.arena, &g->result.out.facet, l.all);
    for (uint32_t i = 0; i < n; i++)
        l.any = l.any || l.all[i];
    if (err == 0)
        err = settle(g, &l, in_time, again);
    if (err == 0 && l.any && in_time && !*again)
        err = qv_fail(&g->msg, QV_ETOOBIG,
                      "the field has too many different values for a facet over several shards");
    return err;
}

static int merge_points(struct qv_gather *g)
{
    const struct qv_get_req *req = g->config.what.req.get;
    const struct qv_points_out **lists;
    int err = answers_of(g, &lists);
    if (err == 0)
        err = qv_merge_points(req->ids, req->id_count, lists, g->want_count - g->first,
                              g->config.arena, &g->result.out.points);
    return err;
}

int qv_gather_merge(struct qv_gather *g, bool in_time, bool *again)
{
    *again = false;
    switch (g->config.what.kind) {
    case QV_READ_QUERY:
        return merge_queries(g, in_time, again);
    case QV_READ_GET:
        return merge_points(g);
    case QV_READ_SCROLL:
        return merge_scroll(g, in_time, again);
    case QV_READ_FACET:
        return merge_facet(g, in_time, again);
    case QV_READ_COUNT:
        break;
    }
    g->result.out.count = 0;
    for (uint32_t i = g->first; i < g->want_count; i++) {
        if (g->wants[i].state == QV_WANT_ANSWERED)
            g->result.out.count += g->wants[i].answer->count;
    }
    return 0;
}

/* ---- coverage ---- */

/* Of a leg that was asked, the part that an answer searched. */
static int searched_part(struct qv_gather *g, const struct qv_want *w, struct qv_cover *out)
{
    *out = qv_cover_none;
    if (w->state != QV_WANT_ANSWERED)
        return 0;
    const struct qv_cover *cover = &w->answer->cover;
    if (w->partial && qv_cover_equal(cover, &w->leg.cover))
        return 0; /* what it left out was not had */
    return qv_cover_intersect(g->config.arena, &w->leg.cover, cover, out);
}

static int cover_share(struct qv_gather *g, double *share)
{
    struct qv_cover wanted = qv_cover_none;
    struct qv_cover had = qv_cover_none;
    double points = 0.0;
    double points_had = 0.0;
    int err = 0;
    for (uint32_t i = g->first; i < g->want_count && err == 0; i++) {
        const struct qv_want *w = &g->wants[i];
        struct qv_cover part;
        if (!qv_want_is_root(g, i))
            continue;
        err = qv_cover_union(g->config.arena, &wanted, &w->leg.cover, &wanted);
        if (err == 0)
            err = searched_part(g, w, &part);
        if (err == 0)
            err = qv_cover_union(g->config.arena, &had, &part, &had);
        points += (double)w->points + 1.0;
        points_had += w->state == QV_WANT_ANSWERED && !w->partial ? (double)w->points + 1.0 : 0.0;
    }
    const double all = qv_cover_share(&wanted);
    if (g->view->by_hash)
        *share = all > 0.0 ? qv_cover_share(&had) / all : 1.0;
    else
        *share = points > 0.0 ? points_had / points : 1.0;
    return err;
}

int qv_gather_cover(struct qv_gather *g)
{
    struct qv_coverage *c = &g->result.coverage;
    uint32_t *missing = QV_ARENA_ARRAY(g->config.arena, uint32_t, g->want_count - g->first);
    uint32_t n = 0;
    if (missing == NULL)
        return QV_ENOMEM;
    *c = (struct qv_coverage){.share = 1.0, .missing = missing};
    for (uint32_t i = g->first; i < g->want_count; i++) {
        const struct qv_want *w = &g->wants[i];
        if (!qv_want_is_root(g, i))
            continue;
        c->asked++;
        if (w->state == QV_WANT_ANSWERED && !w->partial)
            c->answered++;
        else
            missing[n++] = w->leg.shard;
    }
    for (uint32_t i = 0; g->config.what.kind == QV_READ_QUERY && i < g->queries.query_count; i++) {
        struct qv_points_out *out = &g->result.out.lists[i];
        const bool told = out->explain && out->plan != NULL;
        out->coverage = g->queries.queries[i].allow_partial || told ? c : NULL;
    }
    return c->answered < c->asked ? cover_share(g, &c->share) : 0;
}
