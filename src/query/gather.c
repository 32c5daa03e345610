#include "query/gather_private.h"

#include "base/qv_assert.h"

#include <stdio.h>
#include <string.h>

#define STALE_MAX 16u
#define RESTARTS_MAX 16u
#define TRIES_MAX 4u
#define PAUSE_NS_MAX 320000000ull
#define PAUSE_NS 10000000ull /* before the second round; doubles */

void qv_read_budget_init(struct qv_read_budget *b)
{
    b->left = QV_BUDGET_BURST;
}

static bool take_budget(struct qv_read_budget *b)
{
    if (b->left < 1.0)
        return false;
    b->left -= 1.0;
    return true;
}

/* ---- growing in the arena ---- */

/* Makes room for one more; what was there before stays in the arena, unused. */
static int make_room(struct qv_arena *arena, void **list, uint32_t count, uint32_t *cap,
                     size_t bytes)
{
    if (count < *cap)
        return 0;
    const uint32_t more = *cap == 0 ? 16 : *cap * 2;
    void *p = qv_arena_alloc(arena, more * bytes);
    if (p == NULL)
        return QV_ENOMEM;
    if (count > 0)
        memcpy(p, *list, count * bytes);
    *list = p;
    *cap = more;
    return 0;
}

static void end_read(struct qv_gather *g, int err);

static void out_of_memory(struct qv_gather *g)
{
    qv_fail(&g->msg, QV_ENOMEM, "the read's memory is used up");
    end_read(g, QV_ENOMEM);
}

/* Room for one effect more, and still for what a step may have to say at any time: a cancel of each
 * attempt under way, and four others. */
static int reserve_effect(struct qv_gather *g)
{
    struct qv_effects *fx = &g->effects;
    const uint32_t need = fx->count + g->live + 6;
    if (need <= fx->cap)
        return 0;
    struct qv_effect *list = QV_ARENA_ARRAY(g->config.arena, struct qv_effect, 2 * need);
    if (list == NULL)
        return QV_ENOMEM;
    if (fx->count > 0)
        memcpy(list, fx->list, fx->count * sizeof *list);
    fx->list = list;
    fx->cap = 2 * need;
    return 0;
}

static void effect(struct qv_gather *g, struct qv_effect e)
{
    QV_ASSERT(g->effects.count < g->effects.cap);
    g->effects.list[g->effects.count++] = e;
}

static void wish_time(struct qv_gather *g, uint64_t at_ns)
{
    if (at_ns < g->due_ns)
        g->due_ns = at_ns;
}

/* ---- attempts ---- */

static uint64_t time_left(const struct qv_gather *g)
{
    return g->config.deadline_ns > g->now_ns ? g->config.deadline_ns - g->now_ns : 0;
}

static void send(struct qv_gather *g, uint32_t want)
{
    struct qv_want *w = &g->wants[want];
    void *list = g->tries;
    const struct qv_candidate *c = &w->candidates[w->next % w->candidate_count];
    if (reserve_effect(g) != 0 ||
        make_room(g->config.arena, &list, g->try_count, &g->try_cap, sizeof *g->tries) != 0) {
        out_of_memory(g);
        return;
    }
    g->tries = list;
    /* Deadlines are split: something is left for another candidate, and for the merge. */
    const bool other = w->candidate_count > 1 && w->tries + 1 < w->candidate_count;
    const uint64_t left = time_left(g);
    const uint64_t deadline = g->now_ns + (other ? left / 2 : left - left / 16);
    g->tries[g->try_count] = (struct qv_try){want, c->node, deadline, false, false};
    effect(g, (struct qv_effect){.type = QV_EFFECT_SEND, .attempt = g->try_count, .node = c->node});
    g->try_count++;
    g->live++;
    w->state = QV_WANT_ASKED;
    w->live++;
    w->tries++;
    w->next++;
    wish_time(g, deadline);
    if (!w->hedged && w->candidate_count > 1 && c->p95_ns != 0) {
        w->hedge_ns = g->now_ns + c->p95_ns;
        wish_time(g, w->hedge_ns);
    }
}

static void give_up(struct qv_gather *g, uint32_t attempt)
{
    struct qv_try *t = &g->tries[attempt];
    QV_ASSERT(!t->ended && !t->given_up);
    t->given_up = true;
    QV_ASSERT(g->wants[t->want].live > 0);
    g->wants[t->want].live--;
    effect(g, (struct qv_effect){.type = QV_EFFECT_CANCEL, .attempt = attempt, .node = t->node});
}

static void give_up_all(struct qv_gather *g, uint32_t want)
{
    for (uint32_t i = 0; i < g->try_count && g->wants[want].live > 0; i++) {
        const struct qv_try *t = &g->tries[i];
        if (t->want == want && !t->ended && !t->given_up)
            give_up(g, i);
    }
}

/* ---- the end ---- */

static void maybe_done(struct qv_gather *g)
{
    if (g->phase != QV_PHASE_END || g->live > 0 || g->view_owed || g->done)
        return;
    g->done = true;
    effect(g, (struct qv_effect){.type = QV_EFFECT_DONE});
}

static void end_read(struct qv_gather *g, int err)
{
    if (g->phase == QV_PHASE_END)
        return;
    g->phase = QV_PHASE_END;
    g->err = err;
    for (uint32_t i = 0; i < g->try_count; i++) {
        if (!g->tries[i].ended && !g->tries[i].given_up)
            give_up(g, i);
    }
}

/* Names what did not answer. */
static void end_incomplete(struct qv_gather *g)
{
    char names[160] = "";
    size_t n = 0;
    uint32_t missing = 0;
    const struct qv_want *why = NULL;
    bool late = true;
    for (uint32_t i = 0; i < g->want_count; i++) {
        const struct qv_want *w = &g->wants[i];
        if (w->state != QV_WANT_FAILED && !(w->state == QV_WANT_ANSWERED && w->partial))
            continue;
        late = late && w->err == QV_ETIMEOUT;
        why = why == NULL ? w : why;
        if (n + 16 < sizeof names)
            n += (size_t)snprintf(names + n, sizeof names - n, missing == 0 ? "%u" : ", %u",
                                  w->leg.shard);
        missing++;
    }
    QV_ASSERT(why != NULL);
    const int err = late ? QV_ETIMEOUT : QV_EUNAVAILABLE;
    qv_fail(&g->msg, err, "%s %s %s%s%.200s%s", missing == 1 ? "shard" : "shards", names,
            late ? "did not answer in time" : "did not answer",
            why->msg.text[0] != '\0' ? " (" : "", why->msg.text,
            why->msg.text[0] != '\0' ? ")" : "");
    end_read(g, err);
}

static bool may_be_partial(const struct qv_gather *g)
{
    if (g->config.what.kind != QV_READ_QUERY || g->phase == QV_PHASE_LOOKUP)
        return false;
    const struct qv_query_req *req = g->config.what.req.query;
    for (uint32_t i = 0; i < req->query_count; i++) {
        if (!req->queries[i].allow_partial)
            return false;
    }
    return true;
}

/* ---- phases ---- */

static void phase_end(struct qv_gather *g);

int qv_gather_add_want(struct qv_gather *g, const struct qv_leg *leg, uint32_t shard,
                       uint32_t *index)
{
    const struct qv_view_shard *s = &g->view->shards[shard];
    void *list = g->wants;
    int err = make_room(g->config.arena, &list, g->want_count, &g->want_cap, sizeof *g->wants);
    if (err != 0)
        return err;
    g->wants = list;
    struct qv_want *w = &g->wants[g->want_count];
    memset(w, 0, sizeof *w);
    w->leg = *leg;
    w->candidates = s->candidates;
    w->candidate_count = s->candidate_count;
    w->points = s->points;
    w->keys = s->keys;
    w->root = g->want_count;
    if (g->kind == QV_ASK_SEARCH || g->kind == QV_ASK_SCROLL) {
        w->lists = qv_arena_calloc(g->config.arena, leg->limit_count, sizeof(void *));
        if (w->lists == NULL)
            return QV_ENOMEM;
    }
    *index = g->want_count++;
    return 0;
}

static void fail_want(struct qv_gather *g, uint32_t want)
{
    struct qv_want *w = &g->wants[want];
    QV_ASSERT(w->live == 0);
#ifdef QV_MUTANT_COVERAGE_COUNTS_FAILED
    w->state = QV_WANT_ANSWERED;
    g->open--;
    if (g->open == 0)
        phase_end(g);
    return;
#endif
    w->state = QV_WANT_FAILED;
    if (w->root != want) /* what it asked on is not known to be enough: not answered */
        g->wants[w->root].partial = true;
    g->open--;
    if (!may_be_partial(g))
        end_incomplete(g);
    else if (g->open == 0)
        phase_end(g);
}

static void ask_want(struct qv_gather *g, uint32_t want)
{
    struct qv_want *w = &g->wants[want];
    if (w->candidate_count > 0) {
        send(g, want);
        return;
    }
    w->err = qv_fail(&w->msg, QV_EUNAVAILABLE, "it has no live replica");
    fail_want(g, want);
}

/* Asks those from `from` on: all in one step, so that those to one node make one message. */
static void ask_wants(struct qv_gather *g, uint32_t from)
{
    const uint32_t end = g->want_count;
    g->open += end - from;
    g->open++; /* none of them ends the phase before all are sent */
    for (uint32_t i = from; i < end && g->phase != QV_PHASE_END; i++)
        ask_want(g, i);
    if (g->phase != QV_PHASE_END && --g->open == 0)
        phase_end(g);
}

static void begin_phase(struct qv_gather *g, const struct qv_read_plan *plan)
{
    uint32_t want;
    g->kind = plan->kind;
    g->first = g->want_count;
    g->config.budget->left += QV_BUDGET_SHARE * plan->leg_count;
    if (g->config.budget->left > 10 * QV_BUDGET_BURST)
        g->config.budget->left = 10 * QV_BUDGET_BURST;
    for (uint32_t i = 0; i < plan->leg_count; i++) {
        if (qv_gather_add_want(g, &plan->legs[i], plan->shards[i], &want) != 0) {
            out_of_memory(g);
            return;
        }
    }
    ask_wants(g, g->first);
}

static void begin_read(struct qv_gather *g)
{
    struct qv_read_plan plan;
    g->phase = QV_PHASE_READ;
    if (qv_read_plan_make(g->view, &g->what, g->config.arena, &plan) != 0)
        out_of_memory(g);
    else
        begin_phase(g, &plan);
}

static void begin_lookup(struct qv_gather *g)
{
    struct qv_read_plan plan;
    g->phase = QV_PHASE_LOOKUP;
    if (qv_read_plan_fetch(g->view, g->lookup_ids, g->lookup_count, g->config.arena, &plan) != 0)
        out_of_memory(g);
    else
        begin_phase(g, &plan);
}

static void end_well(struct qv_gather *g)
{
    int err = qv_gather_cover(g);
    if (err != 0) {
        qv_fail(&g->msg, err, "%s", qv_err_text(err));
        end_read(g, err);
        return;
    }
    const struct qv_coverage *c = &g->result.coverage;
    if (c->answered < c->asked && (!may_be_partial(g) || c->answered == 0)) {
        end_incomplete(g);
        return;
    }
    if (g->late_err != 0)
        g->msg = g->late_msg;
    end_read(g, g->late_err);
}

/* Every want of the phase is settled. */
static void phase_end(struct qv_gather *g)
{
    const uint32_t before = g->want_count;
    bool again = false;
    int err;
    QV_ASSERT(g->open == 0);
    if (g->phase == QV_PHASE_LOOKUP) {
        err = qv_gather_use_vectors(g);
        if (err == 0) {
            begin_read(g);
            return;
        }
    } else {
        err = qv_gather_merge(g, time_left(g) > 0, &again);
        if (err == 0 && again) {
            ask_wants(g, before);
            return;
        }
        if (err == 0) {
            end_well(g);
            return;
        }
    }
    if (g->msg.text[0] == '\0')
        qv_fail(&g->msg, err, "the shards' answers: %s", qv_err_text(err));
    end_read(g, err);
}

/* ---- answers ---- */

static bool is_own_fault(int err)
{
    return qv_err_class(err) == QV_CLASS_PERMANENT && err != QV_EPROTO && err != QV_EEOF;
}

static bool may_help_again(int err)
{
    return err == QV_EUNAVAILABLE || err == QV_EBUSY || err == QV_EUNKNOWN;
}

/* Asks it again later: the n-th time in a row. */
static void pause_want(struct qv_gather *g, struct qv_want *w, uint32_t n)
{
    const uint64_t ns = PAUSE_NS << (n < 6 ? n : 6);
    w->state = QV_WANT_PAUSED;
    w->retry_ns = g->now_ns + (ns < PAUSE_NS_MAX ? ns : PAUSE_NS_MAX);
    wish_time(g, w->retry_ns);
}

/* Nobody else has the shard, and its node can't be reached: there is nothing to do but to wait
 * until it is back, as long as the read has time. Nothing reaches a node by that, so it costs no
 * budget. */
static bool waits_for(const struct qv_gather *g, const struct qv_want *w)
{
    return w->candidate_count == 1 && w->err == QV_EUNAVAILABLE && g->config.same_tries > 0 &&
           !may_be_partial(g) && time_left(g) > 0;
}

/* After an attempt of it failed with w->err, and none is under way. */
static void retry(struct qv_gather *g, uint32_t want)
{
    struct qv_want *w = &g->wants[want];
    const bool others = w->candidate_count > 1;
    bool again = w->tries < TRIES_MAX && time_left(g) > 0;
    if (waits_for(g, w)) {
        pause_want(g, w, w->tries);
        return;
    }
    if (!others)
        again = again && w->tries <= g->config.same_tries && may_help_again(w->err);
    if (!again || !take_budget(g->config.budget)) {
        fail_want(g, want);
        return;
    }
    if (others && w->tries < w->candidate_count) {
        send(g, want);
        return;
    }
    pause_want(g, w, w->tries); /* all were asked: a moment later it may be another matter */
}

static void refresh(struct qv_gather *g, struct qv_want *w)
{
    w->state = QV_WANT_REFRESHING;
    if (g->view_owed)
        return;
    g->view_owed = true;
    effect(g, (struct qv_effect){.type = QV_EFFECT_REFRESH});
}

static void attempt_failed(struct qv_gather *g, uint32_t want, int err, const char *text)
{
    struct qv_want *w = &g->wants[want];
    w->err = err;
    snprintf(w->msg.text, sizeof w->msg.text, "%s", text);
    if (w->live > 0) /* the other one may still do */
        return;
    if (err != QV_ESTALE) {
        w->stale = 0;
        retry(g, want);
        return;
    }
    w->tries--; /* it was refused before it cost anything */
    w->next--;
    if (++w->stale == 1)
        refresh(g, w);
    else if (w->stale < STALE_MAX && time_left(g) > 0)
        pause_want(g, w, w->stale); /* one of the two has not heard of the change yet */
    else
        fail_want(g, want);
}

static void keep_answer(struct qv_gather *g, uint32_t want, const struct qv_leg_answer *a)
{
    struct qv_want *w = &g->wants[want];
    struct qv_want *root = &g->wants[w->root];
    w->answer = a;
    w->state = QV_WANT_ANSWERED;
    if (g->kind == QV_ASK_SEARCH) {
        for (uint32_t i = 0; i < w->leg.limit_count; i++) {
            if (w->leg.limits[i] != 0)
                root->lists[i] = &a->lists[i];
        }
    } else if (g->kind == QV_ASK_SCROLL) {
        root->lists[0] = &a->scroll;
    }
    if (!qv_cover_equal(&a->cover, &w->leg.cover)) {
        root->partial = true;
        root->err = qv_fail(&root->msg, QV_EUNAVAILABLE, "a part of its keys was not searched");
    }
    root->answer = a;
}

static void on_answer(struct qv_gather *g, uint32_t attempt, const struct qv_leg_answer *a)
{
    QV_ASSERT(attempt < g->try_count && !g->tries[attempt].ended);
    struct qv_try *t = &g->tries[attempt];
    const uint32_t want = t->want;
    t->ended = true;
    g->live--;
    if (t->given_up || g->phase == QV_PHASE_END)
        return;
    struct qv_want *w = &g->wants[want];
    w->live--;
    if (a->err == 0) {
        give_up_all(g, want);
        keep_answer(g, want, a);
        if (--g->open == 0)
            phase_end(g);
        return;
    }
    if (is_own_fault(a->err)) {
        qv_fail(&g->msg, a->err, "%s", a->msg.text[0] != '\0' ? a->msg.text : qv_err_text(a->err));
        end_read(g, a->err);
        return;
    }
    attempt_failed(g, want, a->err, a->msg.text);
}

/* ---- time ---- */

static void expire(struct qv_gather *g)
{
    for (uint32_t i = 0; i < g->try_count && g->phase != QV_PHASE_END; i++) {
        const struct qv_try *t = &g->tries[i];
        if (t->ended || t->given_up)
            continue;
        if (g->now_ns < t->deadline_ns) {
            wish_time(g, t->deadline_ns);
            continue;
        }
        const uint32_t want = t->want;
        give_up(g, i);
        attempt_failed(g, want, QV_ETIMEOUT, "it did not answer in time");
    }
}

/* The whole read is out of time: what is not settled has failed. */
static void out_of_time(struct qv_gather *g)
{
    for (uint32_t i = g->first; i < g->want_count && g->phase != QV_PHASE_END; i++) {
        struct qv_want *w = &g->wants[i];
        if (w->state > QV_WANT_REFRESHING)
            continue;
        give_up_all(g, i);
        if (w->state == QV_WANT_ASKED || w->err == 0) { /* otherwise it has failed, and says why */
            w->err = QV_ETIMEOUT;
            w->msg.text[0] = '\0';
        }
        fail_want(g, i);
    }
}

static void on_time(struct qv_gather *g)
{
    g->due_ns = UINT64_MAX;
    if (g->now_ns >= g->config.deadline_ns) {
        /* a phase that this ends may begin another, which is out of time as well */
        while (g->phase != QV_PHASE_END)
            out_of_time(g);
        return;
    }
    wish_time(g, g->config.deadline_ns);
    expire(g);
    for (uint32_t i = g->first; i < g->want_count && g->phase != QV_PHASE_END; i++) {
        struct qv_want *w = &g->wants[i];
        if (w->state == QV_WANT_PAUSED) {
            if (g->now_ns < w->retry_ns)
                wish_time(g, w->retry_ns);
            else if (w->stale > 0)
                refresh(g, w);
            else
                send(g, i);
        } else if (w->state == QV_WANT_ASKED && w->hedge_ns != 0 && !w->hedged && w->live == 1) {
            if (g->now_ns < w->hedge_ns) {
                wish_time(g, w->hedge_ns);
                continue;
            }
            w->hedged = true; /* or it never will be: the budget is as good as its refusal */
            if (w->tries < w->candidate_count && take_budget(g->config.budget))
                send(g, i);
        }
    }
}

/* ---- a newer view ---- */

static uint32_t find_shard(const struct qv_view *v, uint32_t number)
{
    uint32_t i = 0;
    while (i < v->shard_count && v->shards[i].number != number)
        i++;
    return i;
}

/* What the root was asked for, or more where it was asked on. */
static int piece_limits(struct qv_gather *g, const struct qv_want *w, struct qv_leg *leg)
{
    const struct qv_want *root = &g->wants[w->root];
    const uint32_t n = w->leg.limit_count;
    if (n == 0)
        return 0;
    uint32_t *limits = QV_ARENA_ARRAY(g->config.arena, uint32_t, n);
    if (limits == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        limits[i] = w->leg.limits[i] > root->leg.limits[i] ? w->leg.limits[i] : root->leg.limits[i];
    leg->limits = limits;
    leg->limit_count = n;
    return 0;
}

static int piece_ids(struct qv_gather *g, const struct qv_want *w, struct qv_leg *leg)
{
    struct qv_id *ids = QV_ARENA_ARRAY(g->config.arena, struct qv_id, w->leg.id_count);
    if (ids == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < w->leg.id_count; i++) {
        if (qv_cover_holds(&leg->cover, qv_id_key_hash(&w->leg.ids[i])))
            ids[leg->id_count++] = w->leg.ids[i];
    }
    leg->ids = ids;
    return 0;
}

/* The want's shard is not what it was: other shards' parts of its cover stand for it. */
static int replace_want(struct qv_gather *g, uint32_t want)
{
    const struct qv_cover cover = g->wants[want].leg.cover;
    g->wants[g->wants[want].root].state = QV_WANT_REPLACED;
    g->wants[want].state = QV_WANT_REPLACED;
    g->open--;
    for (uint32_t s = 0; s < g->view->shard_count; s++) {
        struct qv_leg leg = qv_read_plan_leg(g->view, s);
        uint32_t piece;
        int err = qv_cover_intersect(g->config.arena, &leg.cover, &cover, &leg.cover);
        if (err != 0)
            return err;
        if (leg.cover.count == 0)
            continue;
        err = piece_limits(g, &g->wants[want], &leg);
        if (err == 0)
            err = piece_ids(g, &g->wants[want], &leg);
        if (err == 0)
            err = qv_gather_add_want(g, &leg, s, &piece);
        if (err != 0)
            return err;
    }
    return 0;
}

static bool same_keys(const struct qv_key_set *a, const struct qv_key_set *b)
{
    return a == b || (a != NULL && b != NULL && qv_key_set_equal(a, b));
}

/* Is the want's shard there, with the keys that it had? */
static bool is_as_it_was(const struct qv_gather *g, const struct qv_want *w, uint32_t s)
{
    if (s == g->view->shard_count)
        return false;
    const struct qv_view_shard *shard = &g->view->shards[s];
    return g->view->by_hash ? qv_cover_equal(&shard->cover, &g->wants[w->root].leg.cover)
                            : same_keys(shard->keys, w->keys);
}

/* The same shard, as it is now. False: it is not there any more, or has other keys. */
static bool renew_want(struct qv_gather *g, uint32_t want)
{
    struct qv_want *w = &g->wants[want];
    const uint32_t s = find_shard(g->view, w->leg.shard);
    if (!is_as_it_was(g, w, s))
        return false;
    const struct qv_view_shard *shard = &g->view->shards[s];
    w->leg.incarnation = shard->incarnation;
    w->leg.epoch = shard->epoch;
    w->candidates = shard->candidates;
    w->candidate_count = shard->candidate_count;
    return true;
}

static void use_view(struct qv_gather *g, uint32_t want)
{
    if (renew_want(g, want)) {
        ask_want(g, want);
    } else {
        QV_ASSERT(g->view->by_hash);
        if (replace_want(g, want) != 0)
            out_of_memory(g);
    }
}

/* Does the phase have to begin anew? Where covers don't tell who holds what (ranges of ids), the
 * parts of a shard that was divided or joined can't be had one by one: what answered under the old
 * view might be counted twice, or missed. */
static bool must_restart(const struct qv_gather *g)
{
    for (uint32_t i = g->first; i < g->want_count && !g->view->by_hash; i++) {
        const struct qv_want *w = &g->wants[i];
        if (w->state == QV_WANT_REFRESHING &&
            !is_as_it_was(g, w, find_shard(g->view, w->leg.shard)))
            return true;
    }
    return false;
}

static void restart_phase(struct qv_gather *g)
{
    if (g->restarts++ == RESTARTS_MAX) {
        qv_fail(&g->msg, QV_EUNAVAILABLE, "its shards change faster than they can be read");
        end_read(g, QV_EUNAVAILABLE);
        return;
    }
    for (uint32_t i = g->first; i < g->want_count; i++) {
        give_up_all(g, i);
        g->wants[i].state = QV_WANT_REPLACED;
    }
    g->open = 0;
    g->more_rounds = 0;
    if (g->phase == QV_PHASE_LOOKUP)
        begin_lookup(g);
    else
        begin_read(g);
}

static void on_view(struct qv_gather *g, const struct qv_view *view)
{
    QV_ASSERT(g->view_owed);
    g->view_owed = false;
    if (g->phase == QV_PHASE_END)
        return;
    if (view == NULL) {
        qv_fail(&g->msg, QV_ENOTFOUND, "the collection does not exist any more");
        end_read(g, QV_ENOTFOUND);
        return;
    }
    g->view = view;
    if (must_restart(g)) {
        restart_phase(g);
        return;
    }
    const uint32_t before = g->want_count;
    g->open++; /* nothing ends the phase before all are looked at */
    for (uint32_t i = g->first; i < before && g->phase != QV_PHASE_END; i++) {
        if (g->wants[i].state == QV_WANT_REFRESHING)
            use_view(g, i);
    }
    if (g->phase == QV_PHASE_END)
        return;
    g->open--;
    ask_wants(g, before);
}

/* ---- the machine ---- */

int qv_gather_create(const struct qv_gather_config *config, struct qv_gather **out)
{
    struct qv_gather *g = QV_ARENA_NEW(config->arena, struct qv_gather);
    *out = NULL;
    if (g == NULL)
        return QV_ENOMEM;
    g->config = *config;
    g->view = config->view;
    g->what = config->what;
    g->due_ns = UINT64_MAX;
    int err = config->what.kind == QV_READ_QUERY ? qv_gather_copy_queries(g) : 0;
    if (err == 0)
        err = reserve_effect(g);
    *out = err == 0 ? g : NULL;
    return err;
}

static void on_start(struct qv_gather *g)
{
    QV_ASSERT(!g->started);
    g->started = true;
    wish_time(g, g->config.deadline_ns);
    if (g->lookup_count > 0)
        begin_lookup(g);
    else
        begin_read(g);
}

const struct qv_effects *qv_gather_step(struct qv_gather *g, const struct qv_gather_event *event)
{
    QV_ASSERT(!g->done);
    QV_ASSERT(g->started || event->type == QV_GATHER_START);
    g->now_ns = event->now_ns > g->now_ns ? event->now_ns : g->now_ns;
    g->effects.count = 0;
    const uint64_t due = g->due_ns;
    switch (event->type) {
    case QV_GATHER_START:
        on_start(g);
        break;
    case QV_GATHER_ANSWER:
        on_answer(g, event->attempt, event->answer);
        break;
    case QV_GATHER_TIME:
        if (g->phase != QV_PHASE_END)
            on_time(g);
        break;
    case QV_GATHER_VIEW:
        on_view(g, event->view);
        break;
    case QV_GATHER_STOP:
        if (g->phase != QV_PHASE_END) {
            qv_fail(&g->msg, QV_ECANCELED, "the request was given up before its end");
            end_read(g, QV_ECANCELED);
        }
        break;
    }
    if (g->phase != QV_PHASE_END && (g->due_ns != due || event->type == QV_GATHER_TIME))
        effect(g, (struct qv_effect){.type = QV_EFFECT_TIMER, .at_ns = g->due_ns});
    maybe_done(g);
    return &g->effects;
}

void qv_gather_attempt(const struct qv_gather *g, uint32_t attempt, struct qv_attempt *out)
{
    QV_ASSERT(attempt < g->try_count);
    const struct qv_try *t = &g->tries[attempt];
    *out = (struct qv_attempt){.kind = g->kind,
                               .leg = g->wants[t->want].leg,
                               .node = t->node,
                               .deadline_ns = t->deadline_ns};
    switch (g->kind) {
    case QV_ASK_SEARCH:
        out->req = &g->queries;
        break;
    case QV_ASK_FETCH:
        out->req = g->phase == QV_PHASE_LOOKUP ? &g->lookup : g->config.what.req.get;
        break;
    case QV_ASK_SCROLL:
        out->req = g->config.what.req.scroll;
        break;
    case QV_ASK_COUNT:
        out->req = g->config.what.req.count;
        break;
    default:
        out->req = g->config.what.req.facet;
    }
}

int qv_gather_result(const struct qv_gather *g, struct qv_read_result *out, struct qv_errmsg *msg)
{
    QV_ASSERT(g->done);
    *out = g->result;
    if (g->err != 0 && msg != NULL)
        *msg = g->msg;
    return g->err;
}
