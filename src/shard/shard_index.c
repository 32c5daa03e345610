/* Keeping the graphs level with the rows: insertion of what was published, repair around what died,
 * and the way of a dead slot back to the free list.
 *
 *   published -> pending ring -> insert job -> INDEXED
 *   died while INDEXED: hnsw remove at once -> repair job -> limbo
 *   died before its insert job: the job skips or inserts it; either way it is retired afterwards
 *   limbo -> free when a checkpoint captured after its death is durable and every reader that was
 *   inside at its unlinking has left
 *
 * All functions run on the owner; jobs touch graphs and their own struct only. */
#include "shard/shard_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <string.h>

#define INDEX_JOB_SLOTS 32u /* a few milliseconds of work: jobs of other shards get their turn */
#define REPAIR_JOB_SLOTS 16u

struct index_job {
    struct qv_job job;
    struct qv_shard *shard;
    uint64_t first; /* ring position */
    uint32_t count;
    uint32_t through; /* of them done; the rest waits for a restart (err is set) */
    int err;
    struct index_job *next, **at; /* in the shard's list of jobs */
    qv_slot slots[INDEX_JOB_SLOTS];
    bool inserted[INDEX_JOB_SLOTS];
    enum qv_hnsw_step step; /* of a build at once */
};

static uint64_t pending_low(const struct qv_pending *p)
{
    return atomic_load_explicit(&((struct qv_pending *)(uintptr_t)p)->low, memory_order_acquire);
}

static uint64_t pending_high(const struct qv_pending *p)
{
    return atomic_load_explicit(&((struct qv_pending *)(uintptr_t)p)->high, memory_order_acquire);
}

uint64_t qv_shard_pending(const struct qv_shard *s)
{
    uint64_t low = pending_low(&s->pending);
    uint64_t high = pending_high(&s->pending);
    return high > low ? high - low : 0;
}

static bool slot_is_live(const struct qv_shard *s, qv_slot slot)
{
    return qv_slot_table_is_live(&s->slots, QV_SLOT_ANY_VECTOR, slot);
}

void qv_shard_push_pending(struct qv_shard *s, qv_slot slot)
{
    struct qv_pending *p = &s->pending;
    bool wanted = false;
    for (uint32_t v = 0; v < s->vector_count && !wanted && !s->replaying; v++)
        wanted = (s->vectors[v].graph != NULL || s->vectors[v].next != NULL) &&
                 qv_slot_table_is_live(&s->slots, v, slot);
    if (!wanted)
        return;
    uint64_t high = pending_high(p);
    QV_ASSERT(high - pending_low(p) < QV_PENDING_RING);
    atomic_store_explicit(&p->ring[high % QV_PENDING_RING], slot, memory_order_relaxed);
    p->done[high % QV_PENDING_RING] = 0;
    atomic_fetch_or_explicit(qv_slot_table_state(&s->slots, slot), QV_SLOT_PENDING,
                             memory_order_relaxed);
    atomic_store_explicit(&p->high, high + 1, memory_order_release);
}

/* ---- jobs ---- */

/* The graphs that are kept level: each vector's present one (even) and the one that is being built
 * to replace it (odd), unless it is being built at once, which is for nobody else to touch. */
static struct qv_hnsw *graph_of(const struct qv_shard *s, uint32_t g)
{
    struct qv_shard_vector *v = &s->vectors[g / 2];
    if (g % 2 == 0)
        return atomic_load_explicit(&v->graph, memory_order_relaxed);
    return qv_shard_bulk_hides(s, g / 2) ? NULL : v->next;
}

static struct index_job *job_create(struct qv_shard *s)
{
    struct index_job *j = qv_mem_calloc(1, sizeof *j);
    j->shard = s;
    j->next = s->jobs;
    j->at = &s->jobs;
    if (j->next != NULL)
        j->next->at = &j->next;
    s->jobs = j;
    return j;
}

static void job_free(struct index_job *j)
{
    *j->at = j->next;
    if (j->next != NULL)
        j->next->at = j->at;
    qv_mem_free(j);
}

void qv_shard_discard_jobs(struct qv_shard *s)
{
    while (s->jobs != NULL)
        job_free(s->jobs);
}

static void insert_run(struct qv_job *job, unsigned worker)
{
    struct index_job *j = job->arg;
    struct qv_shard *s = j->shard;
    struct qv_hnsw_ctx **ctx = &s->store->ctx[worker];
    if (*ctx == NULL)
        *ctx = qv_hnsw_ctx_create();
    qv_epoch_enter(&s->epoch, worker); /* it walks over nodes as searches do */
    for (uint32_t i = 0; i < j->count && j->err == 0; i++) {
        qv_slot slot = j->slots[i];
        uint32_t generation = *qv_slot_table_generation(&s->slots, slot);
        for (uint32_t g = 0; g < 2 * s->vector_count && j->err == 0; g++) {
            struct qv_hnsw *graph = graph_of(s, g);
            if (graph == NULL || !qv_slot_table_is_live(&s->slots, g / 2, slot))
                continue;
            int err = qv_hnsw_insert(graph, *ctx, slot, generation);
            if (err == 0)
                j->inserted[i] = true;
            else if (err != QV_EEXISTS) /* in this graph already: queued for another one */
                j->err = err;
        }
        j->through += j->err == 0;
    }
    qv_epoch_leave(&s->epoch, worker);
}

static void repair_run(struct qv_job *job, unsigned worker)
{
    struct index_job *j = job->arg;
    struct qv_shard *s = j->shard;
    struct qv_hnsw_ctx **ctx = &s->store->ctx[worker];
    if (*ctx == NULL)
        *ctx = qv_hnsw_ctx_create();
    qv_epoch_enter(&s->epoch, worker);
    for (uint32_t i = 0; i < j->count && j->err == 0; i++) {
        for (uint32_t g = 0; g < 2 * s->vector_count && j->err == 0; g++) {
            struct qv_hnsw *graph = graph_of(s, g);
            if (graph == NULL || qv_hnsw_slot_state(graph, j->slots[i], NULL) != QV_HNSW_DEAD)
                continue;
            int err = qv_hnsw_repair(graph, *ctx, j->slots[i]);
            if (err != 0 && err != QV_ENOTFOUND)
                j->err = err;
        }
        j->through += j->err == 0;
    }
    qv_epoch_leave(&s->epoch, worker);
}

static void job_end(struct index_job *j)
{
    struct qv_shard *s = j->shard;
    job_free(j);
    qv_shard_reclaim(s);
    qv_shard_reshape_step(s);
    qv_shard_index_step(s);
    qv_store_shard_step(s->store);
}

static void add_limbo(struct qv_shard *s, qv_slot slot)
{
    if (s->limbo_count == s->limbo_cap) {
        s->limbo_cap = s->limbo_cap ? s->limbo_cap * 2 : 256;
        s->limbo = qv_mem_realloc(s->limbo, s->limbo_cap * sizeof *s->limbo);
    }
    s->limbo[s->limbo_count++] = (struct qv_limbo){
        .slot = slot, .epoch = qv_epoch_advance(&s->epoch), .checkpoint = s->capture_seq + 1};
}

void qv_shard_push_repair(struct qv_shard *s, qv_slot slot)
{
    if (s->repair_count == s->repair_cap) {
        s->repair_cap = s->repair_cap ? s->repair_cap * 2 : 256;
        s->repair_queue = qv_mem_realloc(s->repair_queue, s->repair_cap * sizeof(qv_slot));
    }
    s->repair_queue[s->repair_count++] = slot;
}

static void queue_repair(struct qv_shard *s, qv_slot slot)
{
    for (uint32_t g = 0; g < 2 * s->vector_count; g++) {
        struct qv_hnsw *graph = graph_of(s, g);
        if (graph != NULL && qv_hnsw_slot_state(graph, slot, NULL) == QV_HNSW_LIVE) {
            int err = qv_hnsw_remove(graph, slot);
            QV_ASSERT(err == 0);
        }
    }
    qv_shard_push_repair(s, slot);
}

/* The slot's turn has come: it is in the graphs, or it died before and goes its way. */
static void end_pending(struct qv_shard *s, qv_slot slot, bool inserted)
{
    _Atomic uint8_t *state = qv_slot_table_state(&s->slots, slot);
    atomic_fetch_and_explicit(state, (uint8_t)~QV_SLOT_PENDING, memory_order_relaxed);
    if (inserted)
        atomic_fetch_or_explicit(state, QV_SLOT_INDEXED, memory_order_relaxed);
    s->graph_changes += inserted;
    if (slot_is_live(s, slot))
        return;
    if (atomic_load_explicit(state, memory_order_relaxed) & QV_SLOT_INDEXED)
        queue_repair(s, slot);
    else
        add_limbo(s, slot);
}

static void insert_done(struct qv_job *job)
{
    struct index_job *j = job->arg;
    struct qv_shard *s = j->shard;
    struct qv_pending *p = &s->pending;
    s->index_jobs--;
    if (j->err != 0)
        qv_shard_quarantine(s, j->err, "a point could not be linked into the graph");
    for (uint32_t i = 0; i < j->through; i++) { /* what is left stays in the ring: scanned */
        qv_slot slot = j->slots[i];
        p->done[(j->first + i) % QV_PENDING_RING] = 1;
        end_pending(s, slot, j->inserted[i]);
    }
    uint64_t low = pending_low(p);
    uint64_t high = pending_high(p);
    while (low < high && low < p->next && p->done[low % QV_PENDING_RING])
        low++;
    atomic_store_explicit(&p->low, low, memory_order_release);
    qv_shard_indexed(s);
    job_end(j);
}

static void repair_done(struct qv_job *job)
{
    struct index_job *j = job->arg;
    struct qv_shard *s = j->shard;
    s->repair_jobs--;
    if (j->err != 0)
        qv_shard_quarantine(s, j->err, "a removed point could not be unlinked from the graph");
    for (uint32_t i = 0; i < j->through; i++)
        add_limbo(s, j->slots[i]);
    s->graph_changes += j->through;
    job_end(j);
}

/* After an open that found more unindexed points than the ring takes: the rest follows as there is
 * room. Searches scan everything until the backlog is in the ring. */
static void feed_backlog(struct qv_shard *s)
{
    uint64_t left = atomic_load_explicit(&s->backlog, memory_order_relaxed);
    while (left > 0 && qv_shard_pending(s) < QV_PENDING_RING / 2) {
        qv_slot slot = s->backlog_slots[--left];
        if (slot_is_live(s, slot))
            qv_shard_push_pending(s, slot);
        else
            end_pending(s, slot, false);
    }
    atomic_store_explicit(&s->backlog, left, memory_order_release);
}

static bool start_insert(struct qv_shard *s)
{
    feed_backlog(s);
    qv_shard_feed_rebuild(s);
    struct qv_pending *p = &s->pending;
    uint64_t high = pending_high(p);
    uint32_t count =
        (uint32_t)(high - p->next < INDEX_JOB_SLOTS ? high - p->next : INDEX_JOB_SLOTS);
    if (count == 0)
        return false;
    struct index_job *j = job_create(s);
    j->job = (struct qv_job){.run = insert_run, .done = insert_done, .arg = j};
    j->first = p->next;
    j->count = count;
    for (uint32_t i = 0; i < count; i++) {
        j->slots[i] =
            atomic_load_explicit(&p->ring[(p->next + i) % QV_PENDING_RING], memory_order_relaxed);
    }
    if (qv_env_submit(s->env, QV_JOB_BATCH, &j->job) != 0) {
        job_free(j);
        return false;
    }
    p->next += count;
    s->index_jobs++;
    return true;
}

static bool start_repair(struct qv_shard *s)
{
    if (s->repair_count == 0)
        return false;
    uint32_t count =
        s->repair_count < REPAIR_JOB_SLOTS ? (uint32_t)s->repair_count : REPAIR_JOB_SLOTS;
    struct index_job *j = job_create(s);
    j->job = (struct qv_job){.run = repair_run, .done = repair_done, .arg = j};
    j->count = count;
    memcpy(j->slots, s->repair_queue + s->repair_count - count, count * sizeof(qv_slot));
    if (qv_env_submit(s->env, QV_JOB_BATCH, &j->job) != 0) {
        job_free(j);
        return false;
    }
    s->repair_count -= count;
    s->repair_jobs++;
    return true;
}

static void bulk_run(struct qv_job *job, unsigned worker)
{
    struct index_job *j = job->arg;
    struct qv_hnsw_ctx **ctx = &j->shard->store->ctx[worker];
    if (*ctx == NULL)
        *ctx = qv_hnsw_ctx_create();
    qv_shard_bulk_run(j->shard, *ctx, &j->step, &j->err);
}

static void bulk_done(struct qv_job *job)
{
    struct index_job *j = job->arg;
    qv_shard_bulk_done(j->shard, j->step, j->err);
    job_end(j);
}

static bool start_bulk(struct qv_shard *s)
{
    struct index_job *j = job_create(s);
    j->job = (struct qv_job){.run = bulk_run, .done = bulk_done, .arg = j};
    if (qv_env_submit(s->env, QV_JOB_BATCH, &j->job) != 0) {
        job_free(j);
        return false;
    }
    s->bulk.jobs++;
    return true;
}

void qv_shard_index_step(struct qv_shard *s)
{
    if (s->resting || s->replaying || atomic_load(&s->state) != QV_SHARD_OPEN ||
        atomic_load(&s->err) != 0)
        return; /* a shard that takes no more writes is searched as it is */
    qv_shard_fields_step(s);
    while (qv_shard_bulk_wants_job(s) && start_bulk(s)) {
    }
    unsigned jobs_max = s->store->workers + 1; /* one more than run, so that none waits for us */
    while (s->index_jobs + s->repair_jobs < jobs_max) {
        bool repair_first = s->repair_jobs == 0;
        bool started = repair_first && start_repair(s);
        if (!started && !start_insert(s) && (repair_first || !start_repair(s)))
            return;
    }
}

bool qv_shard_index_idle(const struct qv_shard *s)
{
    return s->index_jobs == 0 && s->repair_jobs == 0 && s->bulk.jobs == 0 && !s->effort.running &&
           !s->fields.running;
}

/* ---- dead slots ---- */

void qv_shard_retire(struct qv_shard *s, qv_slot slot)
{
    uint8_t state =
        atomic_load_explicit(qv_slot_table_state(&s->slots, slot), memory_order_relaxed);
    if (state & QV_SLOT_PENDING)
        return; /* when its turn in the ring comes */
    if (state & QV_SLOT_INDEXED)
        queue_repair(s, slot);
    else
        add_limbo(s, slot);
}

static void release_slot(struct qv_shard *s, qv_slot slot)
{
    for (uint32_t g = 0; g < 2 * s->vector_count; g++) {
        struct qv_hnsw *graph = graph_of(s, g);
        if (graph != NULL && qv_hnsw_slot_state(graph, slot, NULL) == QV_HNSW_UNLINKED) {
            int err = qv_hnsw_release(graph, slot);
            QV_ASSERT(err == 0);
        }
        QV_ASSERT(graph == NULL || qv_hnsw_slot_state(graph, slot, NULL) == QV_HNSW_FREE);
    }
    qv_slot_table_free(&s->slots, slot);
}

void qv_shard_reclaim(struct qv_shard *s)
{
    if (s->checkpoint != NULL) /* a graph being saved must not lose a slot to reuse */
        return;
    if (s->bulk.build != NULL) /* nor one that is built from the rows of these slots */
        return;
    uint64_t oldest = qv_epoch_oldest(&s->epoch);
    size_t n = 0; /* in the order of their deaths: the first that must wait ends it */
    for (; n < s->limbo_count; n++) {
        const struct qv_limbo *l = &s->limbo[n];
        if (l->checkpoint > s->durable_seq || l->epoch >= oldest ||
            qv_shard_pins_slot(s, l->checkpoint))
            break;
        release_slot(s, l->slot);
    }
    if (n == 0) /* there may be no array yet */
        return;
    s->limbo_count -= n;
    memmove(s->limbo, s->limbo + n, s->limbo_count * sizeof *s->limbo);
}
