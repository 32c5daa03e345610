/* Graphs that are built anew from all rows at once (qv_hnsw_bulk_* of index/hnsw.h): from
 * some ten thousand rows on less work than insertions, and higher recall.
 *
 *   begin   at rest, with a new `next`: the slots that are live and not on their way through the
 *           ring are its rows
 *   steps   jobs, as many as there are workers. Nobody else knows the new graph: insertions and
 *           repairs pass it over, so what is published meanwhile goes into the present one only.
 *           No slot is freed: the rows stay as they are
 *   end     at rest: what died meanwhile is removed from the new graph and repaired like
 *           everything that dies, also where it was in limbo already. What came meanwhile passes
 *           through the ring as in a rebuild by insertions (shard_reshape.c), which asks the graph
 *           what it lacks
 *
 * Where a build can't be made so (few rows, many equal rows, L1, no memory) the graph stays empty,
 * and the rebuild by insertions fills it.
 *
 * All on the owner; a job touches the build and its own struct. */
#include "shard/shard_private.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#define STEPS_A_JOB 4u /* some milliseconds */

static bool is_row(const struct qv_shard *s, uint32_t vector, qv_slot slot)
{
    const uint8_t state =
        atomic_load_explicit(qv_slot_table_state(&s->slots, slot), memory_order_relaxed);
    return (state & QV_SLOT_PENDING) == 0 && qv_slot_table_is_live(&s->slots, vector, slot);
}

/* Is there memory for a build of n rows? malloc would say yes, and the kernel would end the node.
 */
static bool has_room(const struct qv_hnsw *graph, uint32_t n)
{
    return qv_hnsw_bulk_bytes(graph, n) <= qv_mem_available() / 4 * 3;
}

void qv_shard_bulk_begin(struct qv_shard *s, uint32_t vector)
{
    struct qv_shard_bulk *b = &s->bulk;
    const qv_slot high = qv_slot_table_high(&s->slots);
    uint32_t n = 0;
    if (b->build != NULL || atomic_load_explicit(&s->backlog, memory_order_relaxed) > 0)
        return;
    for (qv_slot slot = 0; slot < high; slot++)
        n += is_row(s, vector, slot);
    if (n < s->store->config.bulk_rows_min)
        return;
    struct qv_hnsw_item *items =
        has_room(s->vectors[vector].next, n) ? qv_mem_try_alloc((size_t)n * sizeof *items) : NULL;
    n = 0;
    for (qv_slot slot = 0; slot < high && items != NULL; slot++) {
        if (is_row(s, vector, slot))
            items[n++] = (struct qv_hnsw_item){
                .slot = slot, .generation = *qv_slot_table_generation(&s->slots, slot)};
    }
    *b = (struct qv_shard_bulk){.vector = vector, .jobs_max = s->store->workers};
    int err = items == NULL ? QV_ENOMEM
                            : qv_hnsw_bulk_create(s->vectors[vector].next, items, n, &b->build);
    qv_mem_free(items);
    if (err != 0)
        QV_INFO("shard", "shard %u: the graph is built by insertions: %s", s->number,
                qv_err_text(err));
}

void qv_shard_bulk_discard(struct qv_shard *s, uint32_t vector)
{
    if (s->bulk.vector != vector)
        return;
    qv_hnsw_bulk_destroy(&s->bulk.build);
    atomic_store_explicit(&s->bulk_indexed, 0, memory_order_relaxed);
}

bool qv_shard_bulk_hides(const struct qv_shard *s, uint32_t vector)
{
    return s->bulk.build != NULL && s->bulk.vector == vector;
}

bool qv_shard_bulk_over(const struct qv_shard *s, uint32_t vector)
{
    return qv_shard_bulk_hides(s, vector) && (s->bulk.through || s->bulk.err != 0);
}

/* Those that died during the build and wait to be freed are still to be taken out of the graph. */
static void limbo_to_repair(struct qv_shard *s, const struct qv_hnsw *graph)
{
    size_t n = 0;
    for (size_t i = 0; i < s->limbo_count; i++) {
        const qv_slot slot = s->limbo[i].slot;
        if (qv_hnsw_slot_state(graph, slot, NULL) == QV_HNSW_DEAD)
            qv_shard_push_repair(s, slot);
        else
            s->limbo[n++] = s->limbo[i];
    }
    s->limbo_count = n;
}

void qv_shard_bulk_end(struct qv_shard *s)
{
    struct qv_shard_bulk *b = &s->bulk;
    struct qv_hnsw *graph = s->vectors[b->vector].next;
    const qv_slot high = qv_slot_table_high(&s->slots);
    QV_ASSERT(b->jobs == 0 && s->index_jobs == 0 && s->repair_jobs == 0 && graph != NULL);
    qv_hnsw_bulk_destroy(&b->build); /* it failed: the graph is empty again */
    atomic_store_explicit(&s->bulk_indexed, 0, memory_order_relaxed);
    for (qv_slot slot = 0; slot < high && b->err == 0; slot++) {
        if (qv_hnsw_slot_state(graph, slot, NULL) != QV_HNSW_LIVE)
            continue;
        if (qv_slot_table_is_live(&s->slots, b->vector, slot)) {
            atomic_fetch_or_explicit(qv_slot_table_state(&s->slots, slot), QV_SLOT_INDEXED,
                                     memory_order_relaxed);
            continue;
        }
        int err = qv_hnsw_remove(graph, slot);
        QV_ASSERT(err == 0);
    }
    if (b->err == 0)
        limbo_to_repair(s, graph);
    else
        QV_INFO("shard", "shard %u: the graph is built by insertions: %s", s->number,
                qv_err_text(b->err));
}

void qv_shard_bulk_run(struct qv_shard *s, struct qv_hnsw_ctx *ctx, enum qv_hnsw_step *step,
                       int *err)
{
    *err = 0;
    *step = QV_HNSW_STEP_MORE;
    for (uint32_t i = 0; i < STEPS_A_JOB && *err == 0 && *step == QV_HNSW_STEP_MORE; i++)
        *err = qv_hnsw_bulk_step(s->bulk.build, ctx, step);
}

bool qv_shard_bulk_wants_job(const struct qv_shard *s)
{
    const struct qv_shard_bulk *b = &s->bulk;
    return b->build != NULL && !b->through && b->err == 0 && b->jobs < b->jobs_max &&
           !s->store->closing;
}

void qv_shard_bulk_done(struct qv_shard *s, enum qv_hnsw_step step, int err)
{
    struct qv_shard_bulk *b = &s->bulk;
    b->jobs--;
    if (b->build != NULL)
        atomic_store_explicit(&s->bulk_indexed, qv_hnsw_bulk_done(b->build), memory_order_relaxed);
    b->err = b->err != 0 ? b->err : err;
    b->through = b->through || step == QV_HNSW_STEP_DONE;
    /* One that found nothing to do is not sent again before another has done something. */
    b->jobs_max = step != QV_HNSW_STEP_WAIT ? s->store->workers : b->jobs > 0 ? b->jobs : 1;
}
