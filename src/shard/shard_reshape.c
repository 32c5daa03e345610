/* Changes of what a shard is made of, while it is read and written: vectors come and go, graphs are
 * built anew with other parameters.
 *
 *   add      its files are made and synced before the metadata names the vector; then it has a
 *            place like any other, and no point has it
 *   drop     the configuration has forgotten it: nothing finds it and no point has it from now on;
 *            rows and graph go when no job and no reader can stand on them
 *   rebuild  `next` is built beside the present graph: of many rows at once (shard_bulk.c), then
 * every live slot that it lacks passes through the pending ring once more, jobs link into both
 * graphs, searches use the present one. When the last of them is through, next takes its place, and
 * the old one goes with its last reader
 *
 * Places are changed while the shard rests: no index job, no checkpoint. Only readers are about, in
 * epochs. Rest is a matter of milliseconds, except behind a checkpoint, which is waited for with
 * the jobs going on.
 *
 * Whatever moment the process ends at: a vector that the metadata names and the checkpoint does not
 * has all its rows in the log; rows that no configuration names are removed by the next open; a
 * graph file of other parameters is not loaded but built anew (the open queues what is missing, and
 * searches scan until that is through). */
#include "shard/checkpoint.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "shard/prepare.h"

#include <stdio.h>
#include <string.h>

#define STAGE_BYTES ((size_t)1 << 20)
#define RETRY_NS (10 * QV_NS_PER_S)
#define REBUILD_AHEAD 2048u /* rows in the ring at a time: every search scans them */

/* ---- places ---- */

static void set_place(struct qv_shard_vector *v, const struct qv_vector_config *vc)
{
    v->config = vc;
    v->id = vc->number;
    v->normalise = qv_prepare_normalises(vc);
    v->metric = v->normalise ? QV_METRIC_DOT : qv_distance_metric(vc->distance);
    v->row_bytes = vc->size * (uint32_t)qv_dtype_bytes(vc->datatype);
    v->life = QV_VECTOR_IN;
}

int qv_shard_init_vectors(struct qv_shard *s)
{
    const struct qv_collection_config *config = atomic_load(&s->config);
    size_t bytes = QV_SHARD_VECTORS_MAX * sizeof *s->vectors;
    int err = qv_vmem_reserve(&s->vectors_mem, bytes, false);
    if (err == 0)
        err = qv_vmem_grow(&s->vectors_mem, bytes);
    if (err != 0)
        return err;
    s->vectors = (struct qv_shard_vector *)(void *)s->vectors_mem.base;
    for (uint32_t i = 0; i < config->vector_count; i++) {
        const struct qv_vector_config *vc = &config->vectors[i];
        if (vc->multivector)
            continue; /* kept in the record */
        struct qv_shard_vector *v = &s->vectors[s->vector_count];
        set_place(v, vc);
        atomic_init(&v->number, vc->number);
        s->vector_count++;
    }
    return 0;
}

static void destroy_graph(struct qv_shard_vector *v)
{
    struct qv_hnsw *graph = v->graph;
    qv_hnsw_destroy(&graph);
    v->graph = NULL;
}

static void close_place(struct qv_shard_vector *v)
{
    destroy_graph(v);
    qv_hnsw_destroy(&v->next);
    qv_hnsw_destroy(&v->old);
    qv_rowfile_close(v->rows);
    qv_mem_free(v->stage);
    v->rows = NULL;
    v->stage = NULL;
    v->stage_count = 0;
    v->effort = (struct qv_effort){0};
    v->effort_of = NULL;
    v->life = QV_VECTOR_NONE;
}

void qv_shard_close_vectors(struct qv_shard *s)
{
    qv_effort_trace_destroy(&s->effort.trace);
    for (uint32_t v = 0; v < s->vector_count; v++) {
        qv_shard_bulk_discard(s, v);
        close_place(&s->vectors[v]);
    }
    qv_vmem_close(&s->vectors_mem);
}

static void rows_path(const struct qv_shard *s, const struct qv_shard_vector *v, char *out,
                      size_t n)
{
    snprintf(out, n, "%s/rows-%u", s->dir, v->id);
}

int qv_shard_open_rows(struct qv_shard *s, uint32_t index, bool create, struct qv_errmsg *msg)
{
    struct qv_shard_vector *v = &s->vectors[index];
    char path[QV_SHARD_PATH_MAX];
    uint64_t id;
    memcpy(&id, s->uuid, sizeof id);
    rows_path(s, v, path, sizeof path);
    struct qv_rowfile_config config = {
        .row_bytes = v->row_bytes, .slot_max = s->slots.max_slots, .id = id, .create = create};
    config.read_only = s->store->checking;
    int err = qv_rowfile_open(s->env->disk, path, &config, &v->rows, msg);
    if (err != 0)
        return err;
    v->view.base = qv_rowfile_base(v->rows);
    v->view.stride_bytes = qv_rowfile_stride(v->rows);
    v->stage_cap = (uint32_t)(STAGE_BYTES / v->view.stride_bytes);
    if (v->stage_cap == 0)
        v->stage_cap = 1;
    v->stage = qv_mem_alloc(v->stage_cap * v->view.stride_bytes);
    return create ? qv_rowfile_sync(v->rows, msg) : 0;
}

static const struct qv_vector_config *config_of(const struct qv_collection_config *c,
                                                uint32_t number)
{
    for (uint32_t i = 0; i < c->vector_count; i++) {
        if (c->vectors[i].number == number)
            return &c->vectors[i];
    }
    return NULL;
}

struct qv_hnsw_params qv_shard_graph_params(const struct qv_shard *s, uint32_t index)
{
    const struct qv_collection_config *config =
        atomic_load(&((struct qv_shard *)(uintptr_t)s)->config);
    const struct qv_shard_vector *v = &s->vectors[index];
    const struct qv_vector_config *vc = config_of(config, v->id);
    uint32_t m;
    uint32_t ef;
    qv_config_hnsw(config, vc != NULL ? vc : v->config, &m, &ef);
    struct qv_hnsw_params p =
        qv_hnsw_params_default(v->metric, v->config->datatype, v->config->size);
    p.m = m > 0 && m < QV_HNSW_M_MIN ? QV_HNSW_M_MIN : m;
    p.ef_construct = ef;
    p.max_slots = s->slots.max_slots;
    p.seed = s->number;
    if (qv_config_quant(config, vc != NULL ? vc : v->config)->kind != QV_QUANT_NONE)
        p.coding = QV_HNSW_CODING_LVQ8;
    return p;
}

/* ---- adding ---- */

static void remove_file(struct qv_shard *s, const char *path)
{
    int err = qv_disk_unlink(s->env->disk, path, NULL);
    if (err != 0 && err != QV_ENOTFOUND)
        QV_WARN("shard", "%s stays behind: %s", path, qv_err_text(err));
}

/* A place that was left, where nothing can look at it now, or the next one. */
static int find_place(struct qv_shard *s, uint32_t *out, struct qv_errmsg *msg)
{
    bool rests = qv_shard_index_idle(s) && s->checkpoint == NULL && qv_shard_heal_idle(s) &&
                 !s->scrubbing && s->pins == NULL;
    for (uint32_t v = 0; v < s->vector_count && rests; v++) {
        if (s->vectors[v].life == QV_VECTOR_NONE) {
            *out = v;
            return 0;
        }
    }
    *out = s->vector_count;
    return *out < QV_SHARD_VECTORS_MAX
               ? 0
               : qv_fail(msg, QV_EBUSY, "dropped vectors are being removed: try again");
}

/* 1 TiB of rows a vector: what a start with this configuration would allow. */
static int fit_slots(struct qv_shard *s, uint32_t row_bytes, struct qv_errmsg *msg)
{
    uint64_t fit = ((uint64_t)1 << 40) / row_bytes;
    if (fit < qv_slot_table_high(&s->slots))
        return qv_fail(msg, QV_ELIMIT, "rows of %u bytes: %llu points are the most, there are more",
                       row_bytes, (unsigned long long)fit);
    if (fit < s->slots.max_slots)
        s->slots.max_slots = (uint32_t)fit;
    return 0;
}

static int make_files(struct qv_shard *s, uint32_t index, struct qv_errmsg *msg)
{
    struct qv_shard_vector *v = &s->vectors[index];
    char path[QV_SHARD_PATH_MAX];
    rows_path(s, v, path, sizeof path);
    remove_file(s, path); /* of an attempt that failed */
    int err = qv_shard_open_rows(s, index, true, msg);
    if (err == 0)
        err = qv_rowfile_reserve(v->rows, qv_slot_table_high(&s->slots), msg);
    if (err == 0)
        err = qv_disk_sync_dir(s->env->disk, s->dir, msg);
    struct qv_hnsw_params p = qv_shard_graph_params(s, index);
    struct qv_hnsw *graph = NULL;
    if (err == 0 && p.m != 0)
        err = qv_hnsw_create(&p, &v->view, &graph, msg);
    v->graph = graph;
    return err;
}

static int add_vector(struct qv_shard *s, const struct qv_vector_config *vc, struct qv_errmsg *msg)
{
    char path[QV_SHARD_PATH_MAX];
    uint32_t index = 0;
    int err = find_place(s, &index, msg);
    if (err == 0)
        err = fit_slots(s, vc->size * (uint32_t)qv_dtype_bytes(vc->datatype), msg);
    if (err != 0)
        return err;
    struct qv_shard_vector *v = &s->vectors[index];
    bool fresh = index == s->vector_count;
    if (fresh)
        atomic_init(&v->number, QV_VECTOR_GONE);
    set_place(v, vc);
    err = make_files(s, index, msg);
    if (err == 0 && fresh)
        err = qv_slot_table_add_vector(&s->slots);
    if (err != 0) {
        rows_path(s, v, path, sizeof path);
        close_place(v);
        remove_file(s, path);
        return err;
    }
    if (fresh)
        s->vector_count++; /* filled before: jobs that run see a vector which no point has */
    v->number = vc->number;
    return 0;
}

int qv_shard_add_vectors(struct qv_shard *s, const struct qv_collection_config *config,
                         struct qv_errmsg *msg)
{
    const struct qv_collection_config *before = atomic_load(&s->config);
    for (uint32_t i = 0; i < config->vector_count; i++) {
        const struct qv_vector_config *vc = &config->vectors[i];
        if (vc->multivector || config_of(before, vc->number) != NULL)
            continue;
        int err = atomic_load(&s->state) == QV_SHARD_OPEN ? atomic_load(&s->err) : QV_ECORRUPT;
        if (err != 0)
            err = qv_fail(msg, err, "the shard takes no changes: %s", s->reason);
        else
            err = add_vector(s, vc, msg);
        if (err != 0) {
            qv_shard_set_config(s, before, s->generation);
            return err;
        }
    }
    return 0;
}

/* ---- the new configuration ---- */

static void drop_vector(struct qv_shard *s, uint32_t index)
{
    struct qv_shard_vector *v = &s->vectors[index];
    pthread_rwlock_wrlock(&s->lock);
    v->number = QV_VECTOR_GONE;
    qv_slot_table_clear_vector(&s->slots, index);
    pthread_rwlock_unlock(&s->lock);
    v->life = QV_VECTOR_LEAVING;
    v->old_epoch = qv_epoch_advance(&s->epoch);
}

void qv_shard_set_config(struct qv_shard *s, const struct qv_collection_config *config,
                         uint32_t generation)
{
    atomic_store(&s->config, config);
    s->generation = generation;
    s->graph_changes++; /* a snapshot asks for a checkpoint of this configuration */
    if (atomic_load(&s->state) != QV_SHARD_OPEN)
        return; /* its files are as they were found */
    for (uint32_t v = 0; v < s->vector_count; v++) {
        if (s->vectors[v].life == QV_VECTOR_IN && config_of(config, s->vectors[v].id) == NULL)
            drop_vector(s, v);
    }
    qv_shard_fields_config(s);
    qv_shard_reshape_step(s);
    qv_shard_fields_step(s);
}

/* ---- what waits for rest ---- */

static bool wanted_otherwise(const struct qv_shard *s, uint32_t index, const struct qv_hnsw *graph)
{
    struct qv_hnsw_params want = qv_shard_graph_params(s, index);
    if (graph == NULL)
        return want.m != 0;
    const struct qv_hnsw_params *have = qv_hnsw_get_params(graph);
    return want.m != have->m || want.ef_construct != have->ef_construct ||
           want.coding != have->coding;
}

/* Is the last of the points that the new graphs lacked in them? */
static bool rebuilt(const struct qv_shard *s)
{
    return s->rebuilding && s->rebuild_at >= s->rebuild_end &&
           atomic_load_explicit(&((struct qv_shard *)(uintptr_t)s)->pending.low,
                                memory_order_relaxed) >= s->rebuild_mark;
}

/* No reader stands on it, the scrubber is elsewhere, and no snapshot may read it. */
static bool may_go(const struct qv_shard *s, const struct qv_shard_vector *v, uint64_t oldest)
{
    const struct qv_scrub *scrub = &s->store->scrub;
    bool scrubbed = scrub->running && scrub->shard == s;
    return v->old_epoch < oldest && s->pins == NULL && !scrubbed;
}

static bool place_waits(struct qv_shard *s, uint32_t index, uint64_t oldest)
{
    const struct qv_shard_vector *v = &s->vectors[index];
    if (v->life == QV_VECTOR_LEAVING)
        return may_go(s, v, oldest);
    if (v->life != QV_VECTOR_IN)
        return false;
    if (v->old != NULL) /* one change at a time */
        return v->old_epoch < oldest;
    if (v->next != NULL)
        return rebuilt(s) || qv_shard_bulk_over(s, index) || wanted_otherwise(s, index, v->next);
    bool failed =
        s->rebuild_failed_ns != 0 && qv_env_mono_ns(s->env) - s->rebuild_failed_ns < RETRY_NS;
    return !failed && wanted_otherwise(s, index, v->graph);
}

static bool graph_wanted(const struct qv_shard *s)
{
    for (uint32_t v = 0; v < s->vector_count; v++) {
        if (s->vectors[v].life == QV_VECTOR_IN && wanted_otherwise(s, v, s->vectors[v].graph))
            return true;
    }
    return false;
}

static void remove_place(struct qv_shard *s, uint32_t index)
{
    struct qv_shard_vector *v = &s->vectors[index];
    char rows[QV_SHARD_PATH_MAX];
    char graph[QV_SHARD_PATH_MAX];
    rows_path(s, v, rows, sizeof rows);
    qv_checkpoint_path(s, graph, sizeof graph, (int)index, s->durable_file);
    qv_shard_bulk_discard(s, index);
    qv_shard_effort_forget(s, index);
    close_place(v);
    remove_file(s, rows);
    remove_file(s, graph);
}

/* m is 0 now, or a new graph takes the present one's place. */
static void replace_graph(struct qv_shard *s, struct qv_shard_vector *v)
{
    pthread_rwlock_wrlock(&s->lock);
    v->old = v->graph;
    v->graph = v->next;
    v->next = NULL;
    pthread_rwlock_unlock(&s->lock);
    v->old_epoch = qv_epoch_advance(&s->epoch);
    s->graph_changes += s->slots.live_count;
}

static void begin_graph(struct qv_shard *s, uint32_t index)
{
    struct qv_shard_vector *v = &s->vectors[index];
    struct qv_errmsg msg = {""};
    qv_shard_bulk_discard(s, index);
    qv_hnsw_destroy(&v->next);
    if (!wanted_otherwise(s, index, v->graph))
        return; /* changed back meanwhile */
    struct qv_hnsw_params p = qv_shard_graph_params(s, index);
    if (p.m == 0) {
        replace_graph(s, v);
        return;
    }
    int err = qv_hnsw_create(&p, &v->view, &v->next, &msg);
    s->rebuild_failed_ns = err == 0 ? 0 : qv_env_mono_ns(s->env);
    if (err != 0)
        QV_ERROR("shard", "shard %u: the graph of vector %u can't be built anew: %s", s->number,
                 v->id, msg.text[0] ? msg.text : qv_err_text(err));
    else
        s->rebuild_at = 0;
    if (err == 0)
        qv_shard_bulk_begin(s, index);
}

static void change_place(struct qv_shard *s, uint32_t index, uint64_t oldest)
{
    struct qv_shard_vector *v = &s->vectors[index];
    if (v->life == QV_VECTOR_LEAVING) {
        if (may_go(s, v, oldest))
            remove_place(s, index);
        return;
    }
    if (v->life != QV_VECTOR_IN)
        return;
    if (v->old != NULL && v->old_epoch < oldest)
        qv_hnsw_destroy(&v->old);
    if (v->old != NULL)
        return;
    if (qv_shard_bulk_over(s, index))
        qv_shard_bulk_end(s);
    if (v->next != NULL && rebuilt(s) && !wanted_otherwise(s, index, v->next))
        replace_graph(s, v);
    else if (wanted_otherwise(s, index, v->next != NULL ? v->next : v->graph))
        begin_graph(s, index);
}

/* After the places were changed: what is being built, and from where. */
static void plan_rebuild(struct qv_shard *s)
{
    bool before = s->rebuilding;
    s->rebuilding = false;
    for (uint32_t v = 0; v < s->vector_count; v++)
        s->rebuilding = s->rebuilding || s->vectors[v].next != NULL;
    if (!s->rebuilding) {
        atomic_store(&s->rebuild_left, 0);
    } else if (!before || s->rebuild_at == 0) {
        s->rebuild_at = 0;
        s->rebuild_end = qv_slot_table_high(&s->slots);
        s->rebuild_mark = UINT64_MAX;
        atomic_store(&s->rebuild_left, s->rebuild_end + 1);
    }
}

void qv_shard_reshape_step(struct qv_shard *s)
{
    uint64_t oldest = qv_epoch_oldest(&s->epoch);
    s->reshape = false;
    s->resting = false;
    if (s->replaying || atomic_load(&s->state) != QV_SHARD_OPEN)
        return;
    for (uint32_t v = 0; v < s->vector_count; v++)
        s->reshape = s->reshape || place_waits(s, v, oldest);
    if (!s->rebuilding) /* a graph that is still to be begun is one that is not done */
        atomic_store(&s->rebuild_left, graph_wanted(s) ? 1 : 0);
    if (!s->reshape || s->checkpoint != NULL || !qv_shard_heal_idle(s) || s->scrubbing)
        return;
    s->resting = true;
    if (!qv_shard_index_idle(s))
        return;
    for (uint32_t v = 0; v < s->vector_count; v++)
        change_place(s, v, oldest);
    plan_rebuild(s);
    s->reshape = false;
    s->resting = false;
}

static bool lacks(const struct qv_shard *s, qv_slot slot)
{
    uint8_t state =
        atomic_load_explicit(qv_slot_table_state(&s->slots, slot), memory_order_relaxed);
    if (state & QV_SLOT_PENDING)
        return false; /* its turn comes anyway */
    for (uint32_t v = 0; v < s->vector_count; v++) {
        const struct qv_hnsw *next = s->vectors[v].next;
        if (next != NULL && qv_slot_table_is_live(&s->slots, v, slot) &&
            qv_hnsw_slot_state(next, slot, NULL) != QV_HNSW_LIVE)
            return true;
    }
    return false;
}

void qv_shard_feed_rebuild(struct qv_shard *s)
{
    if (!s->rebuilding || s->bulk.build != NULL || s->store->closing ||
        atomic_load_explicit(&s->backlog, memory_order_relaxed) > 0)
        return;
    while (s->rebuild_at < s->rebuild_end && qv_shard_pending(s) < REBUILD_AHEAD) {
        qv_slot slot = s->rebuild_at++;
        if (lacks(s, slot))
            qv_shard_push_pending(s, slot);
    }
    if (s->rebuild_at < s->rebuild_end) {
        atomic_store(&s->rebuild_left, s->rebuild_end - s->rebuild_at + 1);
    } else if (s->rebuild_mark == UINT64_MAX) {
        s->rebuild_mark = atomic_load_explicit(&s->pending.high, memory_order_relaxed);
        atomic_store(&s->rebuild_left, 1);
    }
}
