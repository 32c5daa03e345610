/* Pins: durable checkpoints that snapshots read while the shard goes on. */
#include "shard/snapshot_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"

static void answer(struct qv_shard *s, int err)
{
    struct qv_shard_pin_req *req = s->pin_reqs;
    s->pin_reqs = req->next;
    if (s->pin_reqs == NULL)
        s->pin_reqs_tail = &s->pin_reqs;
    req->next = NULL;
    req->done(req, err);
}

/* The durable checkpoint as it stands: none is under way, so the payload store holds it and nothing
 * newer. */
static int grant(struct qv_shard *s, struct qv_shard_pin_req *req)
{
    struct qv_shard_pin *pin = qv_mem_calloc(1, sizeof *pin);
    QV_ASSERT(s->checkpoint == NULL && s->durable != NULL);
    int err = qv_kv_snapshot(s->kv, &pin->kv);
    if (err != 0) {
        qv_mem_free(pin);
        return qv_fail(&req->msg, err, "%s/kv: %s", s->dir, qv_err_text(err));
    }
    pin->shard = s;
    pin->seq = s->durable_seq;
    pin->rec = *s->durable;
    pin->config = s->durable_config;
    pin->position = s->durable->lsn;
    /* Of a clean shard the log may have been released: nothing of it lay between. */
    const qv_lsn kept = s->store->release_running ? s->store->releasing : s->store->released;
    if (pin->position < kept && kept <= s->applied_lsn)
        pin->position = kept;
    pin->next = s->pins;
    s->pins = pin;
    qv_shard_ref(s);
    req->pin = pin;
    return 0;
}

/* Everything applied is in the durable checkpoint. */
static bool is_clean(const struct qv_shard *s)
{
    return qv_dirty_empty(&s->dirty) && s->graph_changes == 0 && s->durable != NULL;
}

static int refusal(struct qv_shard *s, struct qv_shard_pin_req *req)
{
    int state = atomic_load(&s->state);
    if (state == QV_SHARD_DROPPING)
        return qv_shard_gone(s, &req->msg);
    if (s->store->closing)
        return qv_fail(&req->msg, QV_EUNAVAILABLE, "the node is shutting down");
    if (state == QV_SHARD_QUARANTINED) {
        pthread_mutex_lock(&s->reason_lock);
        qv_fail(&req->msg, QV_EUNAVAILABLE, "shard %u has no healthy replica: %s", s->number,
                s->reason);
        pthread_mutex_unlock(&s->reason_lock);
        return QV_EUNAVAILABLE;
    }
    if (s->checkpoint_failures != req->failures)
        return qv_fail(&req->msg, s->checkpoint_err == QV_ENOSPC ? QV_ENOSPC : QV_EIO,
                       "the checkpoint that the snapshot needs failed: %s",
                       qv_err_text(s->checkpoint_err));
    return 0;
}

void qv_shard_pin_step(struct qv_shard *s)
{
    while (s->pin_reqs != NULL) {
        struct qv_shard_pin_req *req = s->pin_reqs;
        int err = refusal(s, req);
        if (err == 0 && s->checkpoint != NULL)
            return; /* it comes back here when that one has ended */
        if (err == 0 && s->durable_seq < req->seq && !is_clean(s)) {
            qv_shard_checkpoint_start(s);
            if (s->checkpoint != NULL)
                return;
            continue; /* it failed at once */
        }
        if (err == 0)
            err = grant(s, req);
        answer(s, err);
    }
}

void qv_shard_pin(struct qv_shard *s, struct qv_shard_pin_req *req)
{
    req->pin = NULL;
    req->next = NULL;
    req->msg.text[0] = '\0';
    req->seq = s->capture_seq + 1;
    req->failures = s->checkpoint_failures;
    *s->pin_reqs_tail = req;
    s->pin_reqs_tail = &req->next;
    qv_shard_pin_step(s);
}

void qv_shard_unpin(struct qv_shard_pin **at)
{
    struct qv_shard_pin *pin = *at;
    *at = NULL;
    if (pin == NULL)
        return;
    struct qv_shard *s = pin->shard;
    struct qv_shard_pin **link = &s->pins;
    while (*link != pin)
        link = &(*link)->next;
    *link = pin->next;
    qv_kv_snapshot_release(s->kv, pin->kv);
    uint64_t file = pin->rec.file_number;
    if (file != s->durable_file && !qv_shard_pins_file(s, file))
        qv_shard_remove_files(s, file);
    qv_mem_free(pin);
    qv_shard_reclaim(s);
    struct qv_store *st = s->store;
    qv_shard_unref(s);
    qv_store_shard_step(st);
}

void qv_shard_discard_pins(struct qv_shard *s)
{
    while (s->pins != NULL) {
        struct qv_shard_pin *pin = s->pins;
        s->pins = pin->next;
        qv_kv_snapshot_release(s->kv, pin->kv);
        qv_mem_free(pin);
    }
}

uint64_t qv_shard_pin_position(const struct qv_shard_pin *pin)
{
    return pin->position;
}

const struct qv_collection_config *qv_shard_pin_config(const struct qv_shard_pin *pin)
{
    return pin->config;
}

bool qv_shard_pins_file(const struct qv_shard *s, uint64_t file_number)
{
    for (const struct qv_shard_pin *p = s->pins; p != NULL; p = p->next) {
        if (p->rec.file_number == file_number)
            return true;
    }
    return false;
}

bool qv_shard_pins_slot(const struct qv_shard *s, uint64_t seq)
{
    for (const struct qv_shard_pin *p = s->pins; p != NULL; p = p->next) {
        if (seq > p->seq)
            return true;
    }
    return false;
}
