#include "shard/shard_fields.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "core/limits.h"
#include "shard/read.h"

#define JOB_SLOTS 1024u /* a few milliseconds of reading: others get their turn */

void qv_shard_fields_init(struct qv_shard *s)
{
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&s->fields.lock, &attr);
    pthread_rwlockattr_destroy(&attr);
}

void qv_shard_fields_close(struct qv_shard *s)
{
    for (uint32_t i = 0; i < s->fields.count; i++)
        qv_field_index_destroy(&s->fields.list[i]);
    qv_mem_free(s->fields.list);
    pthread_rwlock_destroy(&s->fields.lock);
}

/* ---- which there are ---- */

static bool is_declared(const struct qv_collection_config *config, uint32_t number)
{
    for (uint32_t i = 0; i < config->payload_index_count; i++) {
        if (config->payload_indexes[i].number == number)
            return true;
    }
    return false;
}

const struct qv_field_index *qv_shard_fields_find(const struct qv_shard_fields *f, uint32_t number)
{
    for (uint32_t i = 0; i < f->count; i++) {
        if (qv_field_index_number(f->list[i]) == number)
            return f->list[i];
    }
    return NULL;
}

static void add_field(struct qv_shard *s, const struct qv_payload_index *declared)
{
    struct qv_shard_fields *f = &s->fields;
    struct qv_field_index *x;
    struct qv_errmsg msg = {""};
    int err = qv_field_index_create(declared, s->slots.max_slots, &x, &msg);
    if (err != 0) { /* conditions on it are answered by reading */
        QV_WARN("shard", "shard %u: the index of `%.*s` is not kept: %s", s->number,
                declared->field.n < 200 ? (int)declared->field.n : 200, declared->field.p,
                msg.text[0] ? msg.text : qv_err_text(err));
        return;
    }
    f->list = qv_mem_realloc(f->list, (f->count + 1) * sizeof(struct qv_field_index *));
    f->list[f->count++] = x;
    f->wanted = true;
    f->at = 0;
}

void qv_shard_fields_config(struct qv_shard *s)
{
    struct qv_shard_fields *f = &s->fields;
    const struct qv_collection_config *config = atomic_load(&s->config);
    uint32_t kept = 0;
    pthread_rwlock_wrlock(&f->lock);
    for (uint32_t i = 0; i < f->count; i++) {
        if (is_declared(config, qv_field_index_number(f->list[i])))
            f->list[kept++] = f->list[i];
        else
            qv_field_index_destroy(&f->list[i]);
    }
    f->count = kept;
    for (uint32_t i = 0; i < config->payload_index_count; i++) {
        if (qv_shard_fields_find(f, config->payload_indexes[i].number) == NULL)
            add_field(s, &config->payload_indexes[i]);
    }
    pthread_rwlock_unlock(&f->lock);
}

uint64_t qv_shard_fields_bytes(struct qv_shard *s)
{
    struct qv_shard_fields *f = &s->fields;
    uint64_t bytes = 0;
    pthread_rwlock_rdlock(&f->lock);
    for (uint32_t i = 0; i < f->count; i++)
        bytes += qv_field_index_bytes(f->list[i]);
    pthread_rwlock_unlock(&f->lock);
    return bytes;
}

/* ---- describing ---- */

static bool visit(void *ctx, struct qv_doc value)
{
    qv_field_index_add(ctx, value);
    return true;
}

/* Under the exclusive lock. Without memory the slot stays undescribed. */
static void describe(struct qv_field_index *x, qv_slot slot, const struct qv_copy *copy,
                     struct qv_buf *scratch)
{
    qv_field_index_begin(x);
    int err = qv_read_values(copy, qv_field_index_path(x), scratch, visit, x);
    if (err == 0)
        err = qv_field_index_end(x, slot);
    if (err != 0)
        qv_field_index_forget(x, slot);
}

void qv_shard_fields_apply(struct qv_shard *s, qv_slot slot, struct qv_bytes record)
{
    struct qv_shard_fields *f = &s->fields;
    struct qv_arena arena;
    struct qv_copy copy;
    struct qv_buf scratch;
    qv_slot in_record;
    uint32_t generation;
    if (f->count == 0)
        return;
    qv_arena_init(&arena, QV_REQUEST_ARENA_BYTES);
    qv_buf_init(&scratch, 0);
    int err = qv_record_decode(record, &arena, &in_record, &generation, &copy, NULL);
    pthread_rwlock_wrlock(&f->lock);
    for (uint32_t i = 0; i < f->count; i++) {
        if (err == 0)
            describe(f->list[i], slot, &copy, &scratch);
        else
            qv_field_index_forget(f->list[i], slot);
    }
    pthread_rwlock_unlock(&f->lock);
    qv_buf_close(&scratch);
    qv_arena_close(&arena);
}

/* ---- what was there before ---- */

static bool all_know(struct qv_shard_fields *f, qv_slot slot)
{
    bool know = true;
    pthread_rwlock_rdlock(&f->lock);
    for (uint32_t i = 0; i < f->count && know; i++)
        know = qv_field_index_knows(f->list[i], slot);
    pthread_rwlock_unlock(&f->lock);
    return know;
}

/* A point that can't be read, or that moves, stays undescribed here: where it is now it is known.
 */
static void catch_up(struct qv_shard *s, struct qv_arena *arena, struct qv_buf *scratch,
                     qv_slot slot)
{
    struct qv_shard_fields *f = &s->fields;
    const struct qv_id id = qv_slot_table_id(&s->slots, slot);
    struct qv_present now;
    qv_arena_reset(arena);
    if (qv_read_copy(s, arena, &id, &now, NULL) != 0 || !now.found || now.slot != slot)
        return;
    pthread_rwlock_wrlock(&f->lock);
    for (uint32_t i = 0; i < f->count; i++) {
        if (!qv_field_index_knows(f->list[i], slot))
            describe(f->list[i], slot, &now.copy, scratch);
    }
    pthread_rwlock_unlock(&f->lock);
}

static void job_run(struct qv_job *job, unsigned worker)
{
    struct qv_shard *s = job->arg;
    struct qv_shard_fields *f = &s->fields;
    struct qv_arena arena;
    struct qv_buf scratch;
    qv_arena_init(&arena, QV_REQUEST_ARENA_BYTES);
    qv_buf_init(&scratch, 0);
    qv_epoch_enter(&s->epoch, worker);
    for (qv_slot slot = f->from; slot < f->to; slot++) {
        if (qv_slot_table_is_live(&s->slots, QV_SLOT_ANY_VECTOR, slot) && !all_know(f, slot))
            catch_up(s, &arena, &scratch, slot);
    }
    qv_epoch_leave(&s->epoch, worker);
    qv_buf_close(&scratch);
    qv_arena_close(&arena);
}

static void job_done(struct qv_job *job)
{
    struct qv_shard *s = job->arg;
    struct qv_shard_fields *f = &s->fields;
    f->running = false;
    if (f->at == f->from) /* no index came meanwhile, unless at the very beginning */
        f->at = f->to;
    f->wanted = f->wanted && f->at < qv_slot_table_high(&s->slots);
    qv_shard_reclaim(s);
    qv_shard_reshape_step(s);
    qv_shard_index_step(s);
    qv_store_shard_step(s->store);
}

void qv_shard_fields_step(struct qv_shard *s)
{
    struct qv_shard_fields *f = &s->fields;
    const uint32_t high = qv_slot_table_high(&s->slots);
    if (!f->wanted || f->running || s->store->closing)
        return;
    if (f->at >= high) {
        f->wanted = false;
        return;
    }
    f->from = f->at;
    f->to = high - f->at < JOB_SLOTS ? high : f->at + JOB_SLOTS;
    f->job = (struct qv_job){.run = job_run, .done = job_done, .arg = s};
    f->running = qv_env_submit(s->env, QV_JOB_BATCH, &f->job) == 0;
}
