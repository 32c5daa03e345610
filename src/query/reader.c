#include "query/reader.h"

#include "base/qv_assert.h"

#include <string.h>

/* Of the answers of one leg. */
#define LEG_ARENA_MIN ((size_t)64 << 20)

/* Legs of one step to one node. In the read's arena. */
struct qv_read_message {
    struct qv_ask ask;
    struct qv_read *read;
    struct qv_leaf *leaf; /* NULL: nobody */
    uint64_t node;
    struct qv_leg *legs;
    uint32_t *attempts;
    uint32_t cap;
    uint32_t wanted; /* legs that are not cancelled */
    bool started, ended;
    struct qv_task task;
    struct qv_read_message *next; /* newest first */
};

static void step(struct qv_read *r, struct qv_gather_event event);

/* ---- the end ---- */

static void finish(struct qv_read *r)
{
    qv_env_timer_stop(r->host->env, &r->timer);
    int err = r->gather == NULL ? qv_fail(&r->msg, QV_ENOMEM, "the read's memory is used up")
                                : qv_gather_result(r->gather, &r->result, &r->msg);
    r->done(r, err); /* may free r */
}

static void finish_task(struct qv_task *task)
{
    finish(task->arg);
}

/* ---- messages ---- */

/* Answers of a message, as events; ends the read when they were the last. */
static void message_ended(struct qv_read_message *m)
{
    struct qv_read *r = m->read;
    const uint32_t count = m->ask.leg_count;
    QV_ASSERT(!m->ended);
    m->ended = true;
    for (uint32_t i = 0; i < count; i++)
        step(r, (struct qv_gather_event){.type = QV_GATHER_ANSWER,
                                         .attempt = m->attempts[i],
                                         .answer = m->ask.answers[i]});
    if (r->ended)
        finish(r);
}

static void ask_done(struct qv_ask *ask)
{
    message_ended(ask->arg);
}

static void nobody_task(struct qv_task *task)
{
    struct qv_read_message *m = task->arg;
    for (uint32_t i = 0; i < m->ask.leg_count; i++)
        m->ask.answers[i]->err =
            qv_fail(&m->ask.answers[i]->msg, QV_EUNAVAILABLE, "its node is not known");
    message_ended(m);
}

#define LEGS_FIRST 4u

/* Room for one leg more in a message. */
static int grow_message(struct qv_read *r, struct qv_read_message *m)
{
    const uint32_t n = m->ask.leg_count;
    if (n < m->cap)
        return 0;
    const uint32_t cap = m->cap == 0 ? LEGS_FIRST : 2 * m->cap;
    struct qv_leg *legs = QV_ARENA_ARRAY(&r->arena, struct qv_leg, cap);
    uint32_t *attempts = QV_ARENA_ARRAY(&r->arena, uint32_t, cap);
    struct qv_leg_answer **answers = qv_arena_calloc(&r->arena, cap, sizeof(void *));
    if (legs == NULL || attempts == NULL || answers == NULL)
        return QV_ENOMEM;
    if (n > 0) {
        memcpy(legs, m->legs, n * sizeof *legs);
        memcpy(attempts, m->attempts, n * sizeof *attempts);
        memcpy(answers, m->ask.answers, n * sizeof(void *));
    }
    m->legs = legs;
    m->attempts = attempts;
    m->ask.legs = legs;
    m->ask.answers = answers;
    m->cap = cap;
    return 0;
}

/* The message of this step (those before `sent` are under way) to that node, or a new one. NULL: no
 * memory. */
static struct qv_read_message *message_for(struct qv_read *r, const struct qv_attempt *a,
                                           const struct qv_read_message *sent)
{
    struct qv_read_message *m = r->messages;
    for (; m != sent; m = m->next) {
        if (m->node == a->node && m->ask.kind == a->kind) {
            if (m->ask.deadline_ns < a->deadline_ns)
                m->ask.deadline_ns = a->deadline_ns;
            return m;
        }
    }
    m = QV_ARENA_NEW(&r->arena, struct qv_read_message);
    if (m == NULL)
        return NULL;
    m->read = r;
    m->node = a->node;
    m->ask = (struct qv_ask){.kind = a->kind,
                             .req.query = a->req,
                             .deadline_ns = a->deadline_ns,
                             .stop = r->stop,
                             .hops_left = r->hops_left,
                             .done = ask_done,
                             .arg = m};
    m->next = r->messages;
    r->messages = m;
    return m;
}

/* Adds the attempt to a message; one of `sends`. */
static int put_leg(struct qv_read *r, uint32_t attempt, const struct qv_read_message *sent,
                   uint32_t sends)
{
    struct qv_attempt a;
    qv_gather_attempt(r->gather, attempt, &a);
    struct qv_read_message *m = message_for(r, &a, sent);
    struct qv_leg_answer *answer = QV_ARENA_NEW(&r->arena, struct qv_leg_answer);
    if (m == NULL || answer == NULL || grow_message(r, m) != 0)
        return QV_ENOMEM;
    const size_t share = 2 * (size_t)QV_REQUEST_ARENA_BYTES / sends;
    qv_arena_init(&answer->arena, share > LEG_ARENA_MIN ? share : LEG_ARENA_MIN);
    const uint32_t at = m->ask.leg_count++;
    m->legs[at] = a.leg;
    m->attempts[at] = attempt;
    m->ask.answers[at] = answer;
    m->wanted++;
    return 0;
}

static void cancel_leg(struct qv_read *r, uint32_t attempt)
{
    for (struct qv_read_message *m = r->messages; m != NULL; m = m->next) {
        for (uint32_t i = 0; i < m->ask.leg_count; i++) {
            if (m->attempts[i] != attempt)
                continue;
            QV_ASSERT(m->wanted > 0);
            m->wanted--;
            if (m->wanted == 0 && m->started && !m->ended && m->leaf != NULL)
                m->leaf->ops->cancel(m->leaf, &m->ask);
            return;
        }
    }
}

/* Sends what this step made: those before `last` were sent already. */
static void send_messages(struct qv_read *r, const struct qv_read_message *last)
{
    for (struct qv_read_message *m = r->messages; m != last; m = m->next) {
        m->started = true;
        if (m->ask.leg_count == 0) /* its leg found no memory */
            continue;
        r->sent++;
        m->leaf = r->host->leaf(r->host, m->node);
        if (m->leaf == NULL) {
            m->task = (struct qv_task){.run = nobody_task, .arg = m};
            qv_env_post(r->host->env, &m->task);
            continue;
        }
        m->leaf->ops->start(m->leaf, &m->ask);
        if (m->wanted == 0)
            m->leaf->ops->cancel(m->leaf, &m->ask);
    }
}

/* ---- steps ---- */

static uint32_t count_sends(const struct qv_effects *fx)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < fx->count; i++)
        n += fx->list[i].type == QV_EFFECT_SEND;
    return n;
}

static void set_timer(struct qv_read *r, uint64_t at_ns)
{
    const uint64_t now = qv_env_mono_ns(r->host->env);
    qv_env_timer_start(r->host->env, &r->timer, at_ns > now ? at_ns - now : 0);
}

/* An attempt that can't be sent for want of memory. */
static void refuse(struct qv_read *r, uint32_t attempt)
{
    static const struct qv_leg_answer no_memory = {.err = QV_ETOOBIG,
                                                   .msg = {"the read's memory is used up"}};
    step(r, (struct qv_gather_event){
                .type = QV_GATHER_ANSWER, .attempt = attempt, .answer = &no_memory});
}

static void step(struct qv_read *r, struct qv_gather_event event)
{
    event.now_ns = qv_env_mono_ns(r->host->env);
    const struct qv_effects *fx = qv_gather_step(r->gather, &event);
    const struct qv_read_message *sent = r->messages;
    const uint32_t sends = count_sends(fx);
    uint32_t refused = UINT32_MAX; /* the first of them; attempts of a step are numbered in turn */
    uint32_t refused_end = 0;
    bool no_view = false;
    for (uint32_t i = 0; i < fx->count; i++) {
        const struct qv_effect *e = &fx->list[i];
        switch (e->type) {
        case QV_EFFECT_SEND:
            if (refused == UINT32_MAX && put_leg(r, e->attempt, sent, sends) != 0)
                refused = e->attempt;
            refused_end = e->attempt + 1;
            break;
        case QV_EFFECT_CANCEL:
            cancel_leg(r, e->attempt);
            break;
        case QV_EFFECT_TIMER:
            set_timer(r, e->at_ns);
            break;
        case QV_EFFECT_REFRESH:
            no_view = r->host->refresh == NULL;
            if (!no_view)
                r->host->refresh(r->host, r);
            break;
        case QV_EFFECT_DONE:
            r->ended = true;
            break;
        }
    }
    send_messages(r, sent);
    for (; refused < refused_end; refused++)
        refuse(r, refused);
    if (no_view)
        step(r, (struct qv_gather_event){.type = QV_GATHER_VIEW, .view = r->view});
}

static void on_timer(struct qv_timer *timer)
{
    struct qv_read *r = timer->arg;
    const bool stopped = qv_stop_ask(r->stop, &r->msg) == QV_ECANCELED;
    step(r, (struct qv_gather_event){.type = stopped ? QV_GATHER_STOP : QV_GATHER_TIME});
    if (r->ended)
        finish(r);
}

/* ---- a read ---- */

void qv_read_start(struct qv_read *r)
{
    struct qv_gather_config config = {.view = r->view,
                                      .what = r->what,
                                      .arena = &r->arena,
                                      .budget = &r->host->budget,
                                      .deadline_ns = r->deadline_ns,
                                      .seed = qv_env_random_u64(r->host->env),
                                      .same_tries = r->host->same_tries};
    qv_arena_init(&r->arena, QV_REQUEST_ARENA_BYTES);
    r->timer = (struct qv_timer){.run = on_timer, .arg = r};
    r->task = (struct qv_task){.run = finish_task, .arg = r};
    if (qv_gather_create(&config, &r->gather) == 0) {
        step(r, (struct qv_gather_event){.type = QV_GATHER_START});
        if (!r->ended)
            return;
    }
    qv_env_post(r->host->env, &r->task);
}

void qv_read_cancel(struct qv_read *r)
{
    if (r->ended || r->gather == NULL)
        return;
    step(r, (struct qv_gather_event){.type = QV_GATHER_STOP});
    if (r->ended)
        qv_env_post(r->host->env, &r->task);
}

void qv_read_refreshed(struct qv_read *r, const struct qv_view *view)
{
    step(r, (struct qv_gather_event){.type = QV_GATHER_VIEW, .view = view});
    if (r->ended)
        finish(r);
}

void qv_read_close(struct qv_read *r)
{
    for (struct qv_read_message *m = r->messages; m != NULL; m = m->next) {
        for (uint32_t i = 0; i < m->ask.leg_count; i++) {
            struct qv_leg_answer *a = m->ask.answers[i];
            if (a->release != NULL)
                a->release(a);
            qv_arena_close(&a->arena);
        }
    }
    qv_arena_close(&r->arena);
    r->messages = NULL;
    r->gather = NULL;
}
