/* The node's store: opens shards and log together, and keeps them going.
 *
 * <dir>/store := { magic u32, format u32, released lsn u64, CRC32C u32 }: no shard needs the log
 * below `released`. It is durable before the log is freed there, so that a shard which is clean and
 * whose checkpoint is old does not ask for records that are gone. */
#include "shard/store_private.h"

#include "base/hash.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STORE_MAGIC 0x52545351u /* "QSTR" */
#define STORE_FORMAT 1
#define STORE_FILE_BYTES 20
#define TICK_NS (100 * QV_NS_PER_MS)
#define PATH_MAX_BYTES 4096

/* ---- the store's file ---- */

static void store_path(const char *dir, char *out, size_t n)
{
    snprintf(out, n, "%s/store", dir);
}

static int write_store_file(struct qv_disk *disk, const char *dir, qv_lsn released,
                            struct qv_errmsg *msg)
{
    struct qv_buf b;
    char path[PATH_MAX_BYTES];
    qv_buf_init(&b, 0);
    qv_buf_u32(&b, STORE_MAGIC);
    qv_buf_u32(&b, STORE_FORMAT);
    qv_buf_u64(&b, released);
    qv_buf_u32(&b, qv_hash_crc32c(0, b.data, b.len));
    QV_ASSERT(b.len == STORE_FILE_BYTES);
    store_path(dir, path, sizeof path);
    int err = qv_disk_replace_file(disk, path, b.data, b.len, msg);
    qv_buf_close(&b);
    return err;
}

int qv_store_read_file(struct qv_disk *disk, const char *dir, qv_lsn *released,
                       struct qv_errmsg *msg)
{
    struct qv_buf b;
    struct qv_rd rd;
    char path[PATH_MAX_BYTES];
    *released = 0;
    qv_buf_init(&b, 0);
    store_path(dir, path, sizeof path);
    int err = qv_disk_read_file(disk, path, 4096, &b, msg);
    if (err == 0) {
        qv_rd_init(&rd, b.data, b.len);
        uint32_t magic = qv_rd_u32(&rd);
        uint32_t format = qv_rd_u32(&rd);
        *released = qv_rd_u64(&rd);
        uint32_t crc = qv_rd_u32(&rd);
        if (rd.failed || b.len != STORE_FILE_BYTES || magic != STORE_MAGIC ||
            crc != qv_hash_crc32c(0, b.data, STORE_FILE_BYTES - 4))
            err = QV_CORRUPT(msg, "%s is damaged", path);
        else if (format > STORE_FORMAT)
            err = qv_fail(msg, QV_ENOTIMPL, "%s: format %u of a newer version", path, format);
    }
    qv_buf_close(&b);
    return err == QV_ENOTFOUND ? 0 : err;
}

/* ---- shards ---- */

struct qv_shard *qv_store_shard(struct qv_store *st, uint32_t number)
{
    for (uint32_t i = 0; i < st->shard_count; i++) {
        if (st->shards[i]->number == number)
            return st->shards[i];
    }
    return NULL;
}

void qv_store_keep_shard(struct qv_store *st, struct qv_shard *s)
{
    if (st->shard_count == st->shard_cap) {
        st->shard_cap = st->shard_cap ? st->shard_cap * 2 : 16;
        st->shards = qv_mem_realloc(st->shards, st->shard_cap * sizeof(struct qv_shard *));
    }
    st->shards[st->shard_count++] = s;
}

int qv_store_add_shard(struct qv_store *st, const struct qv_shard_spec *spec, struct qv_shard **out,
                       struct qv_errmsg *msg)
{
    QV_ASSERT(qv_store_shard(st, spec->number) == NULL);
    if (st->closing)
        return qv_fail(msg, QV_EUNAVAILABLE, "the node is shutting down");
    int err = qv_shard_create(st, spec, out, msg);
    if (err == 0) {
        qv_store_keep_shard(st, *out);
    } else { /* what was made of it goes: the disk may be full */
        char dir[PATH_MAX_BYTES];
        snprintf(dir, sizeof dir, "%s/shards/%u", st->dir, spec->number);
        qv_store_remove_shard_dir(st, dir);
    }
    return err;
}

void qv_store_set_config(struct qv_store *st, uint32_t number,
                         const struct qv_collection_config *config, uint32_t generation)
{
    struct qv_shard *s = qv_store_shard(st, number);
    QV_ASSERT(s != NULL);
    qv_shard_set_config(s, config, generation);
}

int qv_store_prepare_config(struct qv_store *st, uint32_t number,
                            const struct qv_collection_config *config, struct qv_errmsg *msg)
{
    struct qv_shard *s = qv_store_shard(st, number);
    QV_ASSERT(s != NULL);
    return qv_shard_add_vectors(s, config, msg);
}

struct removal {
    struct qv_disk *disk;
    const char *dir;
};

static bool remove_entry(void *arg, const char *name, bool is_dir)
{
    const struct removal *r = arg;
    char path[PATH_MAX_BYTES];
    if (is_dir)
        return true; /* kv: removed by its driver */
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    int err = qv_disk_unlink(r->disk, path, NULL);
    if (err != 0)
        QV_WARN("store", "%s stays behind: %s", path, qv_err_text(err));
    return true;
}

void qv_store_remove_shard_dir(struct qv_store *st, const char *dir)
{
    struct removal r = {.disk = st->env->disk, .dir = dir};
    char kv[PATH_MAX_BYTES];
    snprintf(kv, sizeof kv, "%s/kv", dir);
    int err = qv_kv_destroy(st->config.kv, kv, NULL);
    if (err == 0)
        err = qv_disk_list(st->env->disk, dir, remove_entry, &r, NULL);
    if (err == 0)
        err = qv_disk_rmdir(st->env->disk, dir, NULL);
    if (err != 0 && err != QV_ENOTFOUND)
        QV_WARN("store", "%s stays behind: %s", dir, qv_err_text(err));
}

int qv_shard_gone(const struct qv_shard *s, struct qv_errmsg *msg)
{
    return s->replaced ? qv_fail(msg, QV_EUNAVAILABLE,
                                 "the collection was restored from a snapshot meanwhile")
                       : qv_fail(msg, QV_ENOTFOUND, "the collection was deleted");
}

static void fail_waiting_of(struct qv_shard *s)
{
    struct qv_errmsg msg;
    int err = qv_shard_gone(s, &msg);
    qv_shard_fail_waiting(s, err, msg.text);
}

/* Who follows the shard, and whom it follows: nothing more comes. */
static void fail_followers(struct qv_shard *s, const char *why)
{
    qv_replay_fail(s, QV_EUNAVAILABLE, why);
    qv_feed_end_takes(s);
    qv_feed_fail_waits(s, why);
}

void qv_store_replace_shard(struct qv_store *st, uint32_t number, void (*gone)(void *arg),
                            void *arg)
{
    struct qv_shard *s = qv_store_shard(st, number);
    QV_ASSERT(s != NULL);
    s->replaced = true;
    qv_store_drop_shard(st, number, gone, arg);
}

void qv_store_drop_shard(struct qv_store *st, uint32_t number, void (*gone)(void *arg), void *arg)
{
    struct qv_shard *s = qv_store_shard(st, number);
    if (s == NULL)
        return;
    s->gone = gone;
    s->gone_arg = arg;
    atomic_store(&s->state, QV_SHARD_DROPPING);
    fail_waiting_of(s);
    qv_store_shard_step(st);
}

static bool shard_at_rest(const struct qv_shard *s)
{
    return qv_shard_heal_idle(s) && !s->scrubbing && s->waiting == NULL && s->inflight == 0 &&
           s->scan == NULL && s->checkpoint == NULL && s->pins == NULL && s->pin_reqs == NULL &&
           s->replays == NULL && qv_feed_idle(s) && qv_shard_index_idle(s);
}

static void step_drops(struct qv_store *st)
{
    for (uint32_t i = 0; i < st->shard_count; i++) {
        struct qv_shard *s = st->shards[i];
        if (atomic_load(&s->state) != QV_SHARD_DROPPING)
            continue;
        fail_waiting_of(s);
        fail_followers(s, "the collection was deleted");
        qv_shard_end_index_waits(s);
        qv_shard_checkpoint_give_up(s);
        qv_shard_pin_step(s);
        if (!shard_at_rest(s) || atomic_load(&s->refs) != 1)
            continue;
        char *dir = qv_mem_strdup(s->dir);
        void (*gone)(void *arg) = s->gone;
        void *arg = s->gone_arg;
        qv_shard_destroy(s);
        if (gone != NULL)
            gone(arg);
        qv_store_remove_shard_dir(st, dir);
        qv_mem_free(dir);
        st->shards[i--] = st->shards[--st->shard_count];
    }
}

/* ---- releasing the log ---- */

/* Nothing below it is needed by any shard. A shard that takes no more writes keeps what it has not
 * checkpointed, however long: quarantined or not, only the log can say what is missing there.
 * healthy: by none of the others. */
static qv_lsn needed_from(const struct qv_store *st, bool healthy)
{
    qv_lsn from = qv_log_durable(st->log);
    for (uint32_t i = 0; i < st->shard_count; i++) {
        const struct qv_shard *s = st->shards[i];
        bool stopped = atomic_load(&((struct qv_shard *)(uintptr_t)s)->err) != 0;
        bool clean = qv_dirty_empty(&s->dirty) && s->checkpoint == NULL && s->inflight == 0;
        if (stopped ? healthy : clean)
            continue;
        if (s->checkpoint_lsn < from)
            from = s->checkpoint_lsn;
    }
    return from;
}

static void release_run(struct qv_job *job, unsigned worker)
{
    struct qv_store *st = job->arg;
    (void)worker;
    st->release_err = write_store_file(st->env->disk, st->dir, st->releasing, NULL);
}

static void release_done(struct qv_job *job)
{
    struct qv_store *st = job->arg;
    st->release_running = false;
    st->release_failed_ns = st->release_err == 0 ? 0 : qv_env_mono_ns(st->env);
    if (st->release_err == 0) {
        st->released = st->releasing;
        qv_log_release(st->log, st->released);
    }
    qv_store_shard_step(st);
}

#define RELEASE_STEP_BYTES ((qv_lsn)4 << 20)

static void step_release(struct qv_store *st, bool all)
{
    if (st->release_running || st->log_closing)
        return;
    if (st->release_failed_ns != 0 && qv_env_mono_ns(st->env) - st->release_failed_ns < QV_NS_PER_S)
        return; /* a full disk is given a second; a close goes on without: the next start replays
                   more */
    qv_lsn from = needed_from(st, false);
    for (uint32_t i = 0; i < st->shard_count; i++)
        from = qv_feed_needed_from(st->shards[i], from);
    if (from <= st->released || (!all && from - st->released < RELEASE_STEP_BYTES))
        return;
    st->releasing = from;
    st->release_running = true;
    st->release_job = (struct qv_job){.run = release_run, .done = release_done, .arg = st};
    if (qv_env_submit(st->env, QV_JOB_IO, &st->release_job) != 0)
        st->release_running = false;
}

/* ---- going on ---- */

static bool log_is_long(struct qv_store *st)
{
    return qv_log_durable(st->log) - needed_from(st, true) > st->config.log_bytes_max;
}

static void step_checkpoints(struct qv_store *st)
{
    bool force = st->closing || st->checkpoint_all || log_is_long(st);
    bool running = false;
    bool failing = false;
    for (uint32_t i = 0; i < st->shard_count; i++) {
        struct qv_shard *s = st->shards[i];
        bool ready = !st->closing || (s->inflight == 0 && qv_shard_index_idle(s));
        qv_shard_pin_step(s);
        if (ready && qv_shard_needs_checkpoint(s, force))
            qv_shard_checkpoint_start(s);
        running = qv_shard_checkpoint_step(s) || running;
        if (atomic_load(&s->err) != 0)
            qv_shard_end_index_waits(s);
        failing = failing || s->checkpoint_failed_ns != 0;
    }
    if (st->checkpoint_all && !running) {
        st->checkpoint_all = false;
        void (*done)(void *arg, int err) = st->checkpointed;
        st->checkpointed = NULL;
        if (done != NULL)
            done(st->checkpointed_arg, failing ? QV_EIO : 0);
    }
}

static void log_closed(void *arg, int err)
{
    struct qv_store *st = arg;
    void (*closed)(void *arg, int err) = st->closed;
    void *closed_arg = st->closed_arg;
    if (st->close_err == 0)
        st->close_err = err;
    int result = st->close_err;
    st->log = NULL;
    qv_store_free(st);
    closed(closed_arg, result);
}

static void step_close(struct qv_store *st)
{
    bool rest = true;
    if (!st->closing || st->log_closing)
        return;
    for (uint32_t i = 0; i < st->shard_count; i++) {
        struct qv_shard *s = st->shards[i];
        qv_shard_fail_waiting(s, QV_EUNAVAILABLE, "the node is shutting down");
        if (s->inflight == 0) /* what is in the log is told what became of it */
            fail_followers(s, "the node is shutting down");
        qv_shard_checkpoint_give_up(s);
        if (shard_at_rest(s))
            qv_shard_end_index_waits(s);
        rest = rest && shard_at_rest(s) && s->wait_index == NULL;
        if (rest && !qv_dirty_empty(&s->dirty) && atomic_load(&s->err) == 0) {
            if (s->checkpoint_failed_ns == 0)
                return;             /* its checkpoint starts at the next step */
            st->close_err = QV_EIO; /* the log has it */
        }
    }
    if (!rest)
        return;
    if (st->release_running || st->reserve_running || st->scrub.running)
        return;
    step_release(st, true);
    if (st->release_running)
        return;
    st->log_closing = true;
    qv_env_timer_stop(st->env, &st->timer);
    qv_log_close(st->log, log_closed, st);
}

void qv_store_shard_step(struct qv_store *st)
{
    if (st->log_closing)
        return;
    step_drops(st);
    step_checkpoints(st);
    step_release(st, false);
    step_close(st);
}

static void pump_all(struct qv_store *st)
{
    for (uint32_t i = 0; i < st->shard_count; i++)
        qv_shard_pump(st->shards[i]);
}

static void log_has_room(void *arg)
{
    struct qv_store *st = arg;
    if (!st->log_full)
        return;
    st->log_full = false;
    pump_all(st);
}

#define LOG_WAIT_MAX_NS (2 * QV_NS_PER_S)

/* A stopped log is asked to go on, at growing distances; one that is idle is settled. */
static void step_log(struct qv_store *st)
{
    uint64_t now = qv_env_mono_ns(st->env);
    qv_lsn durable = qv_log_durable(st->log);
    pthread_mutex_lock(&st->text_lock);
    snprintf(st->log_reason, sizeof st->log_reason, "%.255s", qv_log_reason(st->log));
    pthread_mutex_unlock(&st->text_lock);
    if (qv_log_error(st->log) == 0) {
        if (durable != st->log_seen)
            st->log_wait_ns = 0; /* it has written since */
        else if (!st->closing)
            qv_log_settle(st->log);
        st->log_seen = durable;
        return;
    }
    if (st->closing || now < st->log_next_ns)
        return;
    st->log_wait_ns = st->log_wait_ns == 0 ? TICK_NS : st->log_wait_ns * 2;
    if (st->log_wait_ns > LOG_WAIT_MAX_NS)
        st->log_wait_ns = LOG_WAIT_MAX_NS;
    st->log_next_ns = now + st->log_wait_ns;
    qv_log_resume(st->log);
}

static void tick(struct qv_timer *timer)
{
    struct qv_store *st = timer->arg;
    qv_env_timer_start(st->env, timer, TICK_NS);
    step_log(st);
    for (uint32_t i = 0; i < st->shard_count; i++) {
        qv_shard_heal_step(st->shards[i]);
        qv_shard_reclaim(st->shards[i]);
        qv_shard_reshape_step(st->shards[i]);
        if (!st->closing)
            qv_shard_index_step(st->shards[i]);
        qv_shard_effort_step(st->shards[i]);
        qv_shard_purge_step(st->shards[i]);
    }
    pump_all(st);
    qv_store_scrub_step(st);
    qv_store_reserve_step(st);
    qv_store_shard_step(st);
}

void qv_store_start(struct qv_store *st)
{
    qv_log_on_room(st->log, log_has_room, st);
    st->timer = (struct qv_timer){.run = tick, .arg = st};
    qv_env_timer_start(st->env, &st->timer, TICK_NS);
    for (uint32_t i = 0; i < st->shard_count; i++)
        qv_shard_queue_unindexed(st->shards[i]);
}

void qv_store_checkpoint(struct qv_store *st, void (*done)(void *arg, int err), void *arg)
{
    QV_ASSERT(st->checkpointed == NULL);
    st->checkpointed = done;
    st->checkpointed_arg = arg;
    st->checkpoint_all = true;
    qv_store_shard_step(st);
}

void qv_store_close(struct qv_store *st, void (*done)(void *arg, int err), void *arg)
{
    QV_ASSERT(!st->closing);
    st->closing = true;
    st->closed = done;
    st->closed_arg = arg;
    for (uint32_t i = 0; i < st->shard_count; i++) {
        qv_shard_fail_waiting(st->shards[i], QV_EUNAVAILABLE, "the node is shutting down");
        st->shards[i]->checkpoint_failed_ns = 0; /* one more try, at once */
    }
    qv_store_shard_step(st);
}

void qv_store_free(struct qv_store *st)
{
    for (uint32_t i = 0; i < st->shard_count; i++) {
        struct qv_shard *s = st->shards[i];
        void (*gone)(void *arg) = s->gone;
        void *arg = s->gone_arg;
        qv_shard_discard(s);
        if (gone != NULL)
            gone(arg);
    }
    for (unsigned i = 0; st->ctx != NULL && i < QV_EPOCH_READERS_MAX; i++)
        qv_hnsw_ctx_destroy(&st->ctx[i]);
    qv_mem_free(st->ctx);
    qv_mem_free(st->shards);
    pthread_mutex_destroy(&st->text_lock);
    qv_mem_free(st->dir);
    qv_mem_free(st);
}

void qv_store_abandon(struct qv_store *st)
{
    if (st->log != NULL)
        qv_log_abandon(st->log);
    qv_store_free(st);
}

/* ---- telling ---- */

void qv_store_get_stats(struct qv_store *st, struct qv_store_stats *out)
{
    memset(out, 0, sizeof *out);
    qv_log_get_stats(st->log, &out->log);
    out->shards = st->shard_count;
    out->checkpoints = st->checkpoints;
    out->checkpoint_failures = st->checkpoint_failures;
    out->writes_waiting_bytes = st->waiting_bytes;
    out->writes_refused = st->writes_refused;
    out->writes_in_doubt = st->writes_in_doubt;
    out->scrub_bytes = st->scrub_bytes;
    out->scrub_passes = st->scrub_passes;
    out->scrub_findings = st->scrub_findings;
    out->scrub_done = qv_store_scrub_progress(st);
    for (uint32_t i = 0; i < st->shard_count; i++) {
        out->points += st->shards[i]->slots.live_count;
        out->payload_index_bytes += qv_shard_fields_bytes(st->shards[i]);
        out->quarantined += atomic_load(&st->shards[i]->state) == QV_SHARD_QUARANTINED;
        out->stalled += st->shards[i]->heal.since_ns != 0;
        out->damaged += atomic_load(&st->shards[i]->damages) != 0;
    }
}

void qv_shard_info(struct qv_shard *s, struct qv_shard_info *out)
{
    memset(out, 0, sizeof *out);
    out->points = atomic_load_explicit(&s->slots.live_shared, memory_order_relaxed);
    out->pending = qv_shard_pending(s) + atomic_load_explicit(&s->backlog, memory_order_relaxed) +
                   atomic_load_explicit(&s->rebuild_left, memory_order_relaxed);
    out->dirty_bytes = atomic_load_explicit(&s->dirty_bytes_shared, memory_order_relaxed);
    out->checkpoints = atomic_load_explicit(&s->checkpoints_shared, memory_order_relaxed);
    out->err = atomic_load(&s->err);
    pthread_mutex_lock(&s->reason_lock);
    snprintf(out->reason, sizeof out->reason, "%s", s->reason);
    snprintf(out->damage, sizeof out->damage, "%s", s->damage);
    snprintf(out->failing, sizeof out->failing, "%s", s->failing);
    pthread_mutex_unlock(&s->reason_lock);
    pthread_mutex_lock(&s->store->text_lock);
    snprintf(out->log_reason, sizeof out->log_reason, "%s", s->store->log_reason);
    pthread_mutex_unlock(&s->store->text_lock);
    if (atomic_load(&s->state) != QV_SHARD_OPEN)
        return;
    bool lacking = false;
    pthread_rwlock_rdlock(
        &s->lock); /* what is taken down is taken out under the other lock first */
    for (uint32_t v = 0; v < s->vector_count; v++) {
        const struct qv_hnsw *graph = s->vectors[v].graph;
        if (s->vectors[v].number == QV_VECTOR_GONE)
            continue;
        if (graph != NULL)
            out->indexed_vectors += qv_hnsw_stats(graph).live;
        lacking = lacking || graph == NULL;
        out->disk_bytes += qv_rowfile_disk_bytes(s->vectors[v].rows);
        out->vector_bytes += out->points * s->vectors[v].row_bytes;
    }
    pthread_rwlock_unlock(&s->lock);
    if (lacking) /* a first graph, from all rows at once: as far as that is */
        out->indexed_vectors += atomic_load_explicit(&s->bulk_indexed, memory_order_relaxed);
    out->payload_index_bytes = qv_shard_fields_bytes(s);
    out->payload_bytes = qv_kv_disk_bytes(s->kv) + out->dirty_bytes;
    out->disk_bytes += qv_kv_disk_bytes(s->kv);
}

int qv_shard_take_rate(struct qv_shard *s, bool write, uint64_t per_minute, uint64_t cost,
                       uint64_t *retry_s, struct qv_errmsg *msg)
{
    pthread_mutex_lock(&s->reason_lock);
    int err = qv_rate_take(&s->rates[write], per_minute, cost, qv_env_mono_ns(s->env), retry_s);
    pthread_mutex_unlock(&s->reason_lock);
    return err == 0 ? 0 : qv_rate_fail(write ? "Write" : "Read", cost, *retry_s, msg);
}

uint32_t qv_shard_number(const struct qv_shard *s)
{
    return s->number;
}

void qv_shard_ref(struct qv_shard *s)
{
    atomic_fetch_add(&s->refs, 1);
}

void qv_shard_unref(struct qv_shard *s)
{
    unsigned before = atomic_fetch_sub(&s->refs, 1);
    QV_ASSERT(before > 1); /* the store holds the first */
}
