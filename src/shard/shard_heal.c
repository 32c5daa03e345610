/* What becomes of a shard whose disk fails, and of what is found flipped while it serves.
 *
 * A change that is durable in the log and can't be applied (a row could not be written) is kept;
 * writes are refused with the reason, reads go on. From then on the shard tries, at growing
 * distances, until it succeeds:
 *
 *   a row file whose write or sync failed is copied to a new file (job) and given up
 *   what was kept is applied, in the order of the log
 *   writes are taken again
 *
 * Nothing is lost when the process ends before that: the log has it, and is not released.
 *
 * A row that fails its checksum makes its point unanswerable, not the shard: searches pass it over,
 * a read of its vectors names it. A new vector for the point, or its deletion, ends that. Any
 * thread may find one. */
#include "shard/shard_private.h"

#include "base/hash.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdio.h>
#include <string.h>

#define WAIT_MIN_NS (100 * QV_NS_PER_MS)
#define WAIT_MAX_NS (2 * QV_NS_PER_S)
#define KEPT_ARENA_BYTES ((size_t)1 << 30)

/* ---- the disk fails ---- */

void qv_shard_set_text(struct qv_shard *s, char to[256], const char *text)
{
    pthread_mutex_lock(&s->reason_lock);
    snprintf(to, 256, "%.255s", text);
    pthread_mutex_unlock(&s->reason_lock);
}

void qv_shard_stall(struct qv_shard *s, int err, const char *why)
{
    QV_ASSERT(err != 0 && err != QV_ECORRUPT);
    if (atomic_load(&s->err) != 0)
        return;
    s->heal.since_ns = qv_env_mono_ns(s->env);
    s->heal.next_ns = s->heal.since_ns + WAIT_MIN_NS;
    s->heal.wait_ns = WAIT_MIN_NS;
    qv_shard_set_text(s, s->reason, why[0] != '\0' ? why : qv_err_text(err));
    atomic_store(&s->err, err);
    QV_ERROR("shard", "shard %u (%s) takes no writes: %s", s->number, s->dir, why);
}

void qv_shard_stall_group(struct qv_shard *s, const struct qv_group *g, int err, const char *why)
{
    struct qv_heal *h = &s->heal;
    uint8_t head[QV_REPLAY_HEAD_BYTES] = {0};
    const size_t head_bytes = g->stream != 0 ? sizeof head : 0;
    const size_t count_bytes = g->kind == QV_BODY_NONE && g->stream != 0 ? 0 : sizeof g->count;
    struct qv_stalled *k = qv_mem_alloc(sizeof *k + head_bytes + count_bytes + g->bytes.n);
    qv_shard_stall(s, err, why);
    k->next = NULL;
    k->version = g->version;
    k->end = g->end;
    k->type = g->stream != 0 ? QV_RECORD_TYPE_REPLAY : QV_RECORD_TYPE_CHANGES;
    k->generation = g->generation;
    k->n = head_bytes + count_bytes + g->bytes.n;
    qv_replay_head(g->stream, g->position, g->kind, head);
    memcpy(k->bytes, head, head_bytes);
    memcpy(k->bytes + head_bytes, &g->count, count_bytes);
    if (g->bytes.n > 0)
        memcpy(k->bytes + head_bytes + count_bytes, g->bytes.p, g->bytes.n);
    if (h->first == NULL)
        h->last = &h->first;
    *h->last = k;
    h->last = &k->next;
}

void qv_shard_heal_discard(struct qv_shard *s)
{
    struct qv_heal *h = &s->heal;
    qv_file_close(h->copy);
    h->copy = NULL;
    while (h->first != NULL) {
        struct qv_stalled *k = h->first;
        h->first = k->next;
        qv_mem_free(k);
    }
}

bool qv_shard_heal_idle(const struct qv_shard *s)
{
    return !s->heal.running;
}

/* ---- a new row file ---- */

static uint32_t failed_rows(const struct qv_shard *s)
{
    uint32_t v = 0;
    while (v < s->vector_count &&
           (s->vectors[v].life != QV_VECTOR_IN || !qv_rowfile_failed(s->vectors[v].rows)))
        v++;
    return v;
}

bool qv_shard_rows_failed(const struct qv_shard *s)
{
    return failed_rows(s) < s->vector_count;
}

static void wait_longer(struct qv_shard *s)
{
    struct qv_heal *h = &s->heal;
    h->wait_ns = h->wait_ns * 2 < WAIT_MAX_NS ? h->wait_ns * 2 : WAIT_MAX_NS;
    h->next_ns = qv_env_mono_ns(s->env) + h->wait_ns;
}

static void copy_run(struct qv_job *job, unsigned worker)
{
    struct qv_shard *s = job->arg;
    (void)worker;
    s->heal.err = qv_rowfile_copy(s->vectors[s->heal.vector].rows, &s->heal.copy, &s->heal.msg);
}

static void copy_done(struct qv_job *job)
{
    struct qv_shard *s = job->arg;
    struct qv_heal *h = &s->heal;
    h->running = false;
    if (h->err == 0) {
        struct qv_file *copy = h->copy;
        h->copy = NULL;
        h->err = qv_rowfile_adopt(s->vectors[h->vector].rows, copy, &h->msg);
    }
    if (h->err == 0) {
        QV_INFO("shard", "shard %u: %s is a new file", s->number,
                qv_rowfile_path(s->vectors[h->vector].rows));
        h->next_ns = 0;
    } else {
        qv_shard_set_text(s, s->reason, h->msg.text);
        wait_longer(s);
    }
    qv_shard_heal_step(s);
    qv_store_shard_step(s->store);
}

static void copy_start(struct qv_shard *s, uint32_t vector)
{
    struct qv_heal *h = &s->heal;
    h->vector = vector;
    h->running = true;
    h->msg.text[0] = '\0';
    h->job = (struct qv_job){.run = copy_run, .done = copy_done, .arg = s};
    if (qv_env_submit(s->env, QV_JOB_IO, &h->job) != 0) {
        h->running = false;
        wait_longer(s);
    }
}

/* ---- what was kept ---- */

static int apply_kept(struct qv_shard *s, const struct qv_stalled *k, struct qv_errmsg *msg)
{
    struct qv_arena arena;
    struct qv_group g = {.version = k->version, .end = k->end, .generation = k->generation};
    qv_arena_init(&arena, KEPT_ARENA_BYTES);
    int err = qv_shard_decode_group(s, &arena, k->type, (struct qv_bytes){k->bytes, k->n}, &g, msg);
    if (err == 0)
        err = qv_shard_reserve(s, g.count, msg);
    if (err == 0)
        err = qv_shard_apply(s, &g, msg);
    if (err == 0)
        qv_shard_applied(s, &g);
    qv_arena_close(&arena);
    return err;
}

static void resume(struct qv_shard *s)
{
    struct qv_heal *h = &s->heal;
    while (h->first != NULL) {
        struct qv_stalled *k = h->first;
        struct qv_errmsg msg = {""};
        int err = apply_kept(s, k, &msg);
        if (err == QV_ECORRUPT) {
            qv_shard_quarantine(s, err, msg.text);
            return;
        }
        if (err != 0) {
            qv_shard_set_text(s, s->reason, msg.text);
            wait_longer(s);
            return;
        }
        h->first = k->next;
        qv_mem_free(k);
    }
    QV_INFO("shard", "shard %u takes writes again after %.1f s", s->number,
            (double)(qv_env_mono_ns(s->env) - h->since_ns) / (double)QV_NS_PER_S);
    h->since_ns = 0;
    qv_shard_set_text(s, s->reason, "");
    atomic_store(&s->err, 0);
    qv_shard_index_step(s);
    qv_shard_pump(s);
}

void qv_shard_heal_step(struct qv_shard *s)
{
    struct qv_heal *h = &s->heal;
    /* A checkpoint that is being written holds the row files. */
    if (h->running || atomic_load(&s->state) != QV_SHARD_OPEN || s->store->closing ||
        qv_shard_checkpoint_busy(s))
        return;
    uint32_t failed = failed_rows(s);
    if (failed < s->vector_count && atomic_load(&s->err) == 0) {
        struct qv_errmsg why;
        qv_fail(&why, QV_EIO, "%s: a write or sync failed",
                qv_rowfile_path(s->vectors[failed].rows));
        qv_shard_stall(s, QV_EIO, s->failing[0] != '\0' ? s->failing : why.text);
    }
    if (h->since_ns == 0 || qv_env_mono_ns(s->env) < h->next_ns)
        return;
    if (failed < s->vector_count)
        copy_start(s, failed);
    else
        resume(s);
}

/* ---- what is found flipped ---- */

bool qv_shard_row_good(const struct qv_shard *s, uint32_t vector, qv_slot slot)
{
    const struct qv_shard_vector *v = &s->vectors[vector];
    return qv_hash_crc32c(0, qv_rows_at(&v->view, slot), v->row_bytes) ==
           __atomic_load_n(qv_slot_table_row_crc(&s->slots, vector, slot), __ATOMIC_RELAXED);
}

int qv_shard_row_bad(struct qv_shard *s, uint32_t vector, qv_slot slot, struct qv_errmsg *msg)
{
    char id[QV_ID_TEXT_MAX];
    struct qv_errmsg own;
    struct qv_errmsg *m = msg != NULL ? msg : &own;
    struct qv_id point = qv_slot_table_id(&s->slots, slot);
    uint8_t before = atomic_fetch_or(qv_slot_table_state(&s->slots, slot), QV_SLOT_DAMAGED);
    qv_id_format(&point, id);
    qv_fail(m, QV_ECORRUPT, "%s: row %u, a vector of point %s, fails its checksum",
            qv_rowfile_path(s->vectors[vector].rows), slot, id);
    if (before & QV_SLOT_DAMAGED)
        return QV_ECORRUPT;
    int err = QV_CORRUPT(NULL, "%s", m->text);
    qv_shard_note_damage(s, m->text);
    return err;
}

void qv_shard_note_damage(struct qv_shard *s, const char *what)
{
    pthread_mutex_lock(&s->reason_lock);
    bool known = strncmp(s->damage, what, sizeof s->damage - 1) == 0;
    if (s->damage[0] == '\0')
        snprintf(s->damage, sizeof s->damage, "%.*s", (int)sizeof s->damage - 1, what);
    pthread_mutex_unlock(&s->reason_lock);
    if (known)
        return;
    atomic_fetch_add(&s->damages, 1);
    QV_ERROR("shard", "shard %u: damaged: %s", s->number, what);
}
