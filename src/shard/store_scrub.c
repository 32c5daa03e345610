/* The scrubber: reads everything the shards keep, slowly, to find bits that flipped on the disk
 * before somebody asks for them. One job at a time, at most STEP_BYTES each (a state file: all of
 * it, paid off afterwards), so many bytes a second.
 *
 *   rows         by slot, against the CRC of the slot columns
 *   payloads     by key; the payload store verifies each block that it reads
 *   state files  slots and graphs of the durable checkpoint
 *   log          closed segments that a start would read, after the last shard
 *
 * A row is suspected by the job and judged by the owner, since the slot may have changed hands
 * while it was read. A bad row or payload is named and not answered (shard_heal.c). A bad state
 * file is replaced by a checkpoint: what it was made from is in memory, and sound. A bad block of
 * the log is made needless the same way, by a checkpoint of every shard: what it holds was applied.
 * A pass that finds nothing in a shard ends what was told of it.
 *
 * What the kernel has cached is verified as it is cached: the disk's copy of it is read when the
 * pages have gone. */
#include "shard/checkpoint.h"
#include "shard/store_private.h"

#include "base/hash.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <string.h>

#define STEP_BYTES ((uint64_t)1 << 20)
#define REST_DEFAULT_NS ((uint64_t)6 * 3600 * QV_NS_PER_S)

/* ---- jobs ---- */

static void scrub_rows(struct qv_scrub *x)
{
    struct qv_shard *s = x->shard;
    const struct qv_shard_vector *v = &s->vectors[x->part];
    uint32_t high = qv_slot_table_high(&s->slots);
    uint32_t capacity = qv_rowfile_capacity(v->rows);
    high = high < capacity ? high : capacity;
    while (x->slot < high && x->bytes < STEP_BYTES && x->suspect_n < QV_SCRUB_SUSPECTS) {
        qv_slot slot = x->slot++;
        x->bytes += v->view.stride_bytes;
        if (qv_slot_table_is_live(&s->slots, x->part, slot) && !qv_shard_row_good(s, x->part, slot))
            x->suspects[x->suspect_n++] = slot;
    }
    x->part_done = x->slot >= high;
}

static void scrub_payloads(struct qv_scrub *x)
{
    struct qv_kv_iter *it = NULL;
    struct qv_bytes none = {NULL, 0};
    struct qv_bytes key;
    struct qv_bytes value;
    x->err = qv_kv_iter_open(x->shard->kv, NULL, (struct qv_bytes){x->key, x->key_n}, none, &it);
    while (x->err == 0 && x->bytes < STEP_BYTES) {
        x->err = qv_kv_iter_next(it, &key, &value, &x->msg);
        if (x->err != 0)
            break;
        x->bytes += key.n + value.n;
        x->key_n = (uint32_t)key.n;
        memcpy(x->key, key.p, key.n); /* read again by the next step: it may be gone by then */
    }
    x->part_done = x->err != 0;
    x->err = x->err == QV_EEOF ? 0 : x->err;
    qv_kv_iter_close(it);
}

static void scrub_file(struct qv_scrub *x)
{
    struct qv_statefile_info info = {0};
    x->err = qv_statefile_check(x->shard->env->disk, x->path, &info, &x->msg);
    x->bytes += info.payload_bytes;
    x->part_done = true;
}

static void scrub_run(struct qv_job *job, unsigned worker)
{
    struct qv_scrub *x = job->arg;
    (void)worker;
    if (x->phase == QV_SCRUB_ROWS)
        scrub_rows(x);
    else if (x->phase == QV_SCRUB_PAYLOADS)
        scrub_payloads(x);
    else
        scrub_file(x);
}

/* ---- owner ---- */

static void judge(struct qv_store *st, struct qv_scrub *x)
{
    struct qv_shard *s = x->shard;
    for (uint32_t i = 0; i < x->suspect_n; i++) {
        qv_slot slot = x->suspects[i];
        if (!qv_slot_table_is_live(&s->slots, x->part, slot) || qv_shard_row_good(s, x->part, slot))
            continue; /* it changed hands while it was read */
        int err = qv_shard_row_bad(s, x->part, slot, NULL);
        x->found += err != 0;
        st->scrub_findings++;
    }
    if (x->err != QV_ECORRUPT)
        return; /* a state file may have gone with its checkpoint; a disk that fails is told
                   elsewhere */
    bool file = x->phase == QV_SCRUB_FILES;
    if (file && s->durable_file != x->file_number)
        return;
    st->scrub_findings++;
    x->found++;
    if (!file) {
        qv_shard_note_damage(s, x->msg.text);
        return;
    }
    QV_ERROR("scrub", "shard %u: %s; a checkpoint replaces it", s->number, x->msg.text);
    s->checkpoint_wanted = true;
}

static void shard_end(struct qv_store *st, struct qv_scrub *x)
{
    struct qv_shard *s = x->shard;
    if (x->found == 0 && atomic_load(&s->damages) != 0) {
        atomic_store(&s->damages, 0);
        qv_shard_set_text(s, s->damage, "");
        QV_INFO("scrub", "shard %u: no damage is left", s->number);
    }
    x->after = s->number;
    x->inside = false;
    x->found = 0;
    (void)st;
}

static void next_part(struct qv_store *st, struct qv_scrub *x)
{
    x->part_done = false;
    x->slot = 0;
    x->key_n = 0;
    x->part++;
    if (x->phase == QV_SCRUB_PAYLOADS ||
        (x->phase == QV_SCRUB_ROWS && x->part >= x->shard->vector_count)) {
        x->phase = x->phase == QV_SCRUB_ROWS ? QV_SCRUB_PAYLOADS : QV_SCRUB_FILES;
        x->part = 0;
    } else if (x->phase == QV_SCRUB_FILES && x->part > x->shard->vector_count) {
        shard_end(st, x);
    }
}

static void scrub_done(struct qv_job *job)
{
    struct qv_scrub *x = job->arg;
    struct qv_shard *s = x->shard;
    struct qv_store *st = s->store;
    st->scrub_bytes += x->bytes;
    x->debt += x->bytes;
    x->running = false;
    s->scrubbing = false;
    judge(st, x);
    if (x->part_done)
        next_part(st, x);
    qv_shard_unref(s);
    qv_store_scrub_step(st);
    qv_store_shard_step(st);
}

/* ---- the log ---- */

static void log_run(struct qv_job *job, unsigned worker)
{
    struct qv_store *st = job->arg;
    struct qv_scrub *x = &st->scrub;
    (void)worker;
    x->err = qv_log_verify_step(st->env->disk, &x->log, STEP_BYTES, &x->msg);
}

static void log_found(struct qv_store *st, const struct qv_scrub *x)
{
    struct qv_errmsg msg;
    int err = QV_CORRUPT(&msg, "%s", x->msg.text);
    st->scrub_findings += err != 0;
    QV_ERROR("scrub", "%s; checkpoints make it needless", msg.text);
    for (uint32_t i = 0; i < st->shard_count; i++) {
        struct qv_shard *s = st->shards[i];
        bool needs = !qv_dirty_empty(&s->dirty) && s->checkpoint_lsn < x->log.end;
        s->checkpoint_wanted |= needs && atomic_load(&s->state) == QV_SHARD_OPEN;
    }
}

static void log_done(struct qv_job *job)
{
    struct qv_store *st = job->arg;
    struct qv_scrub *x = &st->scrub;
    uint64_t bytes = x->log.bytes - x->bytes;
    st->scrub_bytes += bytes;
    x->debt += bytes;
    x->running = false;
    x->in_log = !x->log.done && x->err == 0;
    if (x->err == QV_ECORRUPT && qv_log_verify_counts(st->log, &x->log))
        log_found(st, x);
    qv_store_scrub_step(st);
    qv_store_shard_step(st);
}

/* False: nothing of the log is left to read in this pass. */
static bool log_step(struct qv_store *st, struct qv_scrub *x)
{
    uint64_t after = x->log.seq;
    if (!x->in_log && !qv_log_verify_next(st->log, after, &x->log)) {
        x->log.seq = 0;
        return false;
    }
    x->bytes = x->log.bytes;
    x->err = 0;
    x->msg.text[0] = '\0';
    x->job = (struct qv_job){.run = log_run, .done = log_done, .arg = st};
    x->in_log = true;
    x->running = qv_env_submit(st->env, QV_JOB_IO, &x->job) == 0;
    return true;
}

/* The shard of the smallest number behind `after`; NULL: none. */
static struct qv_shard *next_shard(const struct qv_store *st, uint32_t after)
{
    struct qv_shard *best = NULL;
    for (uint32_t i = 0; i < st->shard_count; i++) {
        struct qv_shard *s = st->shards[i];
        if (s->number > after && atomic_load(&s->state) == QV_SHARD_OPEN &&
            (best == NULL || s->number < best->number))
            best = s;
    }
    return best;
}

/* Is there anything to read in the part? Fills path for a file. */
static bool part_ready(struct qv_scrub *x)
{
    struct qv_shard *s = x->shard;
    if (x->phase == QV_SCRUB_PAYLOADS)
        return true;
    if (x->phase == QV_SCRUB_ROWS)
        return x->part < s->vector_count && s->vectors[x->part].life == QV_VECTOR_IN;
    if (s->durable == NULL || (x->part > 0 && (s->vectors[x->part - 1].life != QV_VECTOR_IN ||
                                               s->vectors[x->part - 1].graph == NULL)))
        return false;
    x->file_number = s->durable_file;
    qv_checkpoint_path(s, x->path, sizeof x->path, (int)x->part - 1, x->file_number);
    return true;
}

static void enter_shard(struct qv_store *st, struct qv_scrub *x)
{
    struct qv_shard *s = next_shard(st, x->inside ? x->after_inside : x->after);
    bool same = x->inside && s != NULL && s->number == x->number;
    if (!same) {
        x->phase = QV_SCRUB_ROWS;
        x->part = 0;
        x->slot = 0;
        x->key_n = 0;
        x->found = 0;
    }
    x->shard = s;
    x->inside = s != NULL;
    x->number = s != NULL ? s->number : 0;
    x->after_inside = x->number > 0 ? x->number - 1 : 0;
}

static void pass_end(struct qv_store *st, struct qv_scrub *x, uint64_t now)
{
    uint64_t rest = st->config.scrub_rest_ms * QV_NS_PER_MS;
    x->after = 0;
    x->rest_until_ns = now + (rest != 0 ? rest : REST_DEFAULT_NS);
    st->scrub_passes += st->shard_count > 0;
}

void qv_store_scrub_step(struct qv_store *st)
{
    struct qv_scrub *x = &st->scrub;
    uint64_t now = qv_env_mono_ns(st->env);
    uint64_t rate = st->config.scrub_bytes_per_s;
    uint64_t paid = rate * ((now - x->paid_ns) / QV_NS_PER_MS) / 1000;
    if (rate == 0 || x->running || st->closing || now < x->rest_until_ns)
        return;
    x->debt = paid < x->debt ? x->debt - paid : 0;
    x->paid_ns = now;
    if (x->debt > 0)
        return;
    enter_shard(st, x);
    if (x->shard == NULL) {
        if (!log_step(st, x))
            pass_end(st, x, now);
        return;
    }
    if (!part_ready(x)) {
        next_part(st, x);
        return;
    }
    x->bytes = 0;
    x->suspect_n = 0;
    x->err = 0;
    x->msg.text[0] = '\0';
    x->job = (struct qv_job){.run = scrub_run, .done = scrub_done, .arg = x};
    x->running = true;
    x->shard->scrubbing = true;
    qv_shard_ref(x->shard);
    if (qv_env_submit(st->env, QV_JOB_IO, &x->job) != 0) {
        x->running = false;
        x->shard->scrubbing = false;
        qv_shard_unref(x->shard);
    }
}

double qv_store_scrub_progress(const struct qv_store *st)
{
    uint32_t behind = 0;
    for (uint32_t i = 0; i < st->shard_count; i++)
        behind += st->shards[i]->number <= st->scrub.after;
    return st->shard_count == 0 ? 0 : (double)behind / st->shard_count;
}
