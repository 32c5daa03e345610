#include "io/sim_env.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "io/timer_heap.h"

#define JOB_NS_MIN (20 * QV_NS_PER_US)
#define JOB_NS_MAX (2 * QV_NS_PER_MS)
#define START_WALL_NS (1700000000ull * QV_NS_PER_S)

enum event_kind { EV_TASK, EV_TIMER, EV_RUN, EV_DONE };

/* Every queued thing is a timer in the world's one heap: a task, a timer of the core, a job's run
 * or its done. */
struct event {
    struct qv_timer at; /* first */
    struct qv_sim_node *node;
    struct event *prev, *next; /* of the node's list */
    enum event_kind kind;
    void *what;
};

struct qv_sim {
    uint64_t now_ns;
    struct qv_timer_heap heap;
    struct qv_rng rng;
    uint64_t job_ns_min, job_ns_max;
    unsigned nodes;
};

struct qv_sim_node {
    struct qv_env env; /* first */
    struct qv_sim *sim;
    struct event *events;
    struct qv_rng rng;
    int64_t skew_ns;
    uint64_t task_order_ns; /* posted tasks keep their order: none is due before this */
};

static struct qv_sim_node *node_of(struct qv_env *env)
{
    return (struct qv_sim_node *)env;
}

static void event_run(struct qv_timer *t)
{
    (void)t; /* qv_sim_step looks at the event itself */
}

static struct event *event_add(struct qv_sim_node *n, enum event_kind kind, void *what,
                               uint64_t due_ns)
{
    struct event *e = qv_mem_calloc(1, sizeof *e);
    e->at.run = event_run;
    e->node = n;
    e->kind = kind;
    e->what = what;
    e->next = n->events;
    if (n->events != NULL)
        n->events->prev = e;
    n->events = e;
    qv_timer_heap_start(&n->sim->heap, &e->at, due_ns);
    return e;
}

static void event_remove(struct event *e)
{
    qv_timer_heap_stop(&e->node->sim->heap, &e->at);
    if (e->prev != NULL)
        e->prev->next = e->next;
    else
        e->node->events = e->next;
    if (e->next != NULL)
        e->next->prev = e->prev;
    qv_mem_free(e);
}

static uint64_t sim_mono(struct qv_env *env)
{
    return node_of(env)->sim->now_ns;
}

static uint64_t sim_wall(struct qv_env *env)
{
    struct qv_sim_node *n = node_of(env);
    return START_WALL_NS + n->sim->now_ns + (uint64_t)n->skew_ns;
}

static uint64_t sim_random(struct qv_env *env)
{
    return qv_rng_u64(&node_of(env)->rng);
}

static void sim_post(struct qv_env *env, struct qv_task *task)
{
    struct qv_sim_node *n = node_of(env);
    uint64_t due = n->sim->now_ns + qv_rng_below(&n->sim->rng, 5 * QV_NS_PER_US);
    if (due < n->task_order_ns)
        due = n->task_order_ns;
    n->task_order_ns = due;
    event_add(n, EV_TASK, task, due);
}

/* Where a started timer's event is: kept in `order`, which is env's and means nothing here. */
static struct event *timer_event(const struct qv_timer *t)
{
    struct event *e = (struct event *)(uintptr_t)t->order; // NOLINT(performance-no-int-to-ptr)
    QV_ASSERT(e->kind == EV_TIMER && e->what == t);
    return e;
}

static void sim_timer_stop(struct qv_env *env, struct qv_timer *t)
{
    if (t->heap_index == 0)
        return;
    (void)env;
    t->heap_index = 0;
    event_remove(timer_event(t));
}

static void sim_timer_start(struct qv_env *env, struct qv_timer *t, uint64_t delay_ns)
{
    struct qv_sim_node *n = node_of(env);
    QV_ASSERT(t->run != NULL);
    sim_timer_stop(env, t);
    t->heap_index = 1;
    t->due_ns = n->sim->now_ns + delay_ns;
    t->order = (uintptr_t)event_add(n, EV_TIMER, t, t->due_ns);
}

static int sim_submit(struct qv_env *env, enum qv_job_class job_class, struct qv_job *job)
{
    struct qv_sim_node *n = node_of(env);
    struct qv_sim *s = n->sim;
    (void)job_class;
    job->env = env;
    uint64_t span = s->job_ns_max - s->job_ns_min;
    event_add(n, EV_RUN, job, s->now_ns + s->job_ns_min + qv_rng_below(&s->rng, span + 1));
    return 0;
}

static unsigned sim_worker_count(struct qv_env *env, enum qv_job_class job_class)
{
    (void)env;
    (void)job_class;
    return 1;
}

static const struct qv_env_ops sim_ops = {
    .mono_ns = sim_mono,
    .boot_ns = sim_mono,
    .wall_ns = sim_wall,
    .random_u64 = sim_random,
    .post = sim_post,
    .timer_start = sim_timer_start,
    .timer_stop = sim_timer_stop,
    .submit = sim_submit,
    .worker_count = sim_worker_count,
};

struct qv_sim *qv_sim_create(const struct qv_sim_config *config)
{
    struct qv_sim *s = qv_mem_calloc(1, sizeof *s);
    qv_rng_init(&s->rng, config->seed);
    s->now_ns = QV_NS_PER_S;
    s->job_ns_min = config->job_ns_max != 0 ? config->job_ns_min : JOB_NS_MIN;
    s->job_ns_max = config->job_ns_max != 0 ? config->job_ns_max : JOB_NS_MAX;
    QV_ASSERT(s->job_ns_min <= s->job_ns_max);
    return s;
}

void qv_sim_destroy(struct qv_sim **s)
{
    if (*s == NULL)
        return;
    QV_ASSERT((*s)->nodes == 0);
    qv_timer_heap_close(&(*s)->heap);
    qv_mem_free(*s);
    *s = NULL;
}

struct qv_sim_node *qv_sim_node_create(struct qv_sim *s, struct qv_disk *disk, int64_t skew_ns)
{
    struct qv_sim_node *n = qv_mem_calloc(1, sizeof *n);
    n->env.ops = &sim_ops;
    n->env.disk = disk;
    n->sim = s;
    n->skew_ns = skew_ns;
    qv_rng_init(&n->rng, qv_rng_u64(&s->rng));
    s->nodes++;
    return n;
}

struct qv_env *qv_sim_node_env(struct qv_sim_node *n)
{
    return &n->env;
}

void qv_sim_node_crash(struct qv_sim_node *n)
{
    while (n->events != NULL) {
        if (n->events->kind == EV_TIMER)
            ((struct qv_timer *)n->events->what)->heap_index = 0;
        event_remove(n->events);
    }
}

void qv_sim_node_destroy(struct qv_sim_node **n)
{
    if (*n == NULL)
        return;
    qv_sim_node_crash(*n);
    (*n)->sim->nodes--;
    qv_mem_free(*n);
    *n = NULL;
}

bool qv_sim_step(struct qv_sim *s)
{
    struct qv_timer *first = qv_timer_heap_first(&s->heap);
    if (first == NULL)
        return false;
    struct event e = *(struct event *)first;
    if (e.at.due_ns > s->now_ns)
        s->now_ns = e.at.due_ns;
    event_remove((struct event *)first);
    if (e.kind == EV_TASK) {
        struct qv_task *t = e.what;
        t->run(t);
    } else if (e.kind == EV_TIMER) {
        struct qv_timer *t = e.what;
        t->heap_index = 0;
        t->run(t);
    } else if (e.kind == EV_RUN) {
        struct qv_job *j = e.what;
        bool has_done = j->done != NULL; /* otherwise run may free it */
        j->next = NULL;
        j->run(j, 0);
        if (has_done)
            event_add(e.node, EV_DONE, j, s->now_ns + qv_rng_below(&s->rng, 20 * QV_NS_PER_US));
    } else {
        struct qv_job *j = e.what;
        j->done(j);
    }
    return true;
}

uint64_t qv_sim_run(struct qv_sim *s, uint64_t steps)
{
    uint64_t n = 0;
    while (n < steps && qv_sim_step(s))
        n++;
    return n;
}

void qv_sim_run_for(struct qv_sim *s, uint64_t ns)
{
    uint64_t end = s->now_ns + ns;
    struct qv_timer *first;
    while ((first = qv_timer_heap_first(&s->heap)) != NULL && first->due_ns <= end)
        qv_sim_step(s);
    s->now_ns = end;
}

uint64_t qv_sim_now_ns(const struct qv_sim *s)
{
    return s->now_ns;
}

struct qv_rng *qv_sim_rng(struct qv_sim *s)
{
    return &s->rng;
}
