#include "cli/import_run.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "base/rng.h"
#include "net/grpc.h"
#include "wire/pb_out.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BATCH_BYTES ((size_t)12 << 20) /* a batch is closed once it holds more */
#define BACKOFF_MS_MIN 50u
#define BACKOFF_MS_MAX 4000u
#define SAVE_EVERY_NS 500000000ull

enum slot_state { SLOT_IDLE, SLOT_FLYING, SLOT_WAITING };

struct pump;

struct slot {
    struct pump *pump;
    enum slot_state state;
    struct qv_buf message;
    uint64_t first; /* number of its first point */
    uint32_t count;
    uint32_t tries;
    uint64_t failing_since_ns;
    uint64_t due_ns; /* WAITING: when to send it again */
};

struct pump {
    struct qv_import_run *x;
    struct slot *slots;
    uint32_t flying;
    bool ended; /* the source has no more */
    int err;
    struct qv_errmsg *msg;
    uint64_t saved_ns;
    struct qv_rng rng;
};

static bool may_repeat(const struct qv_client_response *r)
{
    if (r->err != 0)
        return r->err == QV_EUNAVAILABLE || r->err == QV_EUNKNOWN || r->err == QV_ETIMEOUT;
    if (r->grpc_status == QV_GRPC_RESOURCE_EXHAUSTED) /* too busy, but also too large */
        return strncmp(r->grpc_message, "Payload too large", 17) != 0;
    return r->grpc_status == QV_GRPC_UNAVAILABLE || r->grpc_status == QV_GRPC_DEADLINE_EXCEEDED;
}

static void fail(struct pump *p, const struct slot *s, const struct qv_client_response *r)
{
    if (p->err != 0)
        return;
    int err = r->err != 0 ? r->err : QV_EINVAL;
    p->err = qv_fail(p->msg, err, "points %llu to %llu: %s%s%s", (unsigned long long)s->first,
                     (unsigned long long)(s->first + s->count - 1),
                     r->err != 0 ? qv_err_text(r->err) : qv_grpc_status_name(r->grpc_status),
                     r->err != 0 ? "" : ": ", r->err != 0 ? "" : r->grpc_message);
}

/* Doubling pauses, or what the server asks for, spread so that batches don't come back at once. */
static uint64_t pause_ns(struct pump *p, const struct slot *s, const struct qv_client_response *r)
{
    uint64_t ms = (uint64_t)BACKOFF_MS_MIN << (s->tries < 8 ? s->tries : 8);
    const char *after = r->err == 0 ? qv_client_header(r, "retry-after") : NULL;
    unsigned long long seconds = after != NULL ? strtoull(after, NULL, 10) : 0;
    if (seconds > 0 && seconds <= 60)
        ms = seconds * 1000;
    else if (ms > BACKOFF_MS_MAX)
        ms = BACKOFF_MS_MAX;
    return (ms / 2 + qv_rng_below(&p->rng, ms / 2 + 1)) * 1000000;
}

static void on_answer(void *arg, const struct qv_client_response *r)
{
    struct slot *s = arg;
    struct pump *p = s->pump;
    uint64_t now = qv_progress_now_ns();
    QV_ASSERT(s->state == SLOT_FLYING && p->flying > 0);
    p->flying--;
    qv_client_stop(p->x->target->client);
    if (r->err == 0 && r->grpc_status == QV_GRPC_OK) {
        s->state = SLOT_IDLE;
        p->x->sent_points += s->count;
        p->x->bytes += s->message.len;
        p->x->batches++;
        return;
    }
    if (s->tries == 0)
        s->failing_since_ns = now;
    s->state = SLOT_WAITING;
    if (!may_repeat(r) || now - s->failing_since_ns > p->x->retry_ms * 1000000ull) {
        fail(p, s, r);
        return;
    }
    s->due_ns = now + pause_ns(p, s, r);
    s->tries++;
    p->x->retries++;
}

static void send_slot(struct pump *p, struct slot *s)
{
    struct qv_net_header slot[1];
    struct qv_client_request request = {.path = "/qdrant.Points/Upsert",
                                        .grpc = true,
                                        .body = {s->message.data, s->message.len},
                                        .timeout_ms = 60000};
    request.headers = qv_target_headers(p->x->target, slot, &request.n_headers);
    s->state = SLOT_FLYING;
    p->flying++;
    int err = qv_client_send(p->x->target->client, &request, on_answer, s);
    if (err == 0)
        return;
    p->flying--;
    s->state = SLOT_WAITING;
    if (p->err == 0)
        p->err = qv_fail(p->msg, err, "a batch can't be sent: %s", qv_err_text(err));
}

/* false: there was nothing left to read, or an error. */
static bool fill_slot(struct pump *p, struct slot *s)
{
    struct qv_import_run *x = p->x;
    qv_buf_clear(&s->message);
    qv_pb_put_str(&s->message, 1, qv_str_of(x->target->collection));
    qv_pb_put_bool(&s->message, 2, false);
    s->first = x->source->next;
    s->count = 0;
    s->tries = 0;
    while (s->count < x->batch && s->message.len < BATCH_BYTES) {
        int err = qv_source_put(x->source, &s->message, p->msg);
        if (err == QV_EEOF)
            p->ended = true;
        else if (err != 0)
            p->err = err;
        if (err != 0)
            break;
        s->count++;
    }
    if (p->err != 0 && s->count > 0) { /* read and not sent: not to be counted as acknowledged */
        s->state = SLOT_WAITING;
        s->due_ns = UINT64_MAX;
    }
    return p->err == 0 && s->count > 0;
}

/* The earliest point that is not acknowledged. */
static uint64_t acked_prefix(const struct pump *p)
{
    uint64_t at = p->x->source->next;
    for (uint32_t i = 0; i < p->x->in_flight; i++) {
        const struct slot *s = &p->slots[i];
        if (s->state != SLOT_IDLE && s->first < at)
            at = s->first;
    }
    return at;
}

static void save(struct pump *p, bool now)
{
    uint64_t t = qv_progress_now_ns();
    struct qv_errmsg msg;
    p->x->acked = acked_prefix(p);
    if (p->x->state == NULL || (!now && t - p->saved_ns < SAVE_EVERY_NS))
        return;
    p->saved_ns = t;
    if (qv_import_state_save(p->x->state, p->x->acked, &msg) != 0 && p->err == 0) {
        p->err = QV_EIO;
        *p->msg = msg;
    }
}

static void step(struct pump *p)
{
    uint64_t now = qv_progress_now_ns();
    for (uint32_t i = 0; i < p->x->in_flight && p->err == 0; i++) {
        struct slot *s = &p->slots[i];
        bool due = s->state == SLOT_WAITING && s->due_ns <= now;
        if (due || (s->state == SLOT_IDLE && !p->ended && fill_slot(p, s)))
            send_slot(p, s);
    }
}

/* Nothing is in flight: sleeps until the first batch is due. */
static bool sleep_until_due(const struct pump *p)
{
    uint64_t due = UINT64_MAX;
    for (uint32_t i = 0; i < p->x->in_flight; i++) {
        if (p->slots[i].state == SLOT_WAITING && p->slots[i].due_ns < due)
            due = p->slots[i].due_ns;
    }
    if (due == UINT64_MAX)
        return false;
    uint64_t now = qv_progress_now_ns();
    uint64_t ns = due > now ? due - now : 0;
    struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    (void)nanosleep(&t, NULL);
    return true;
}

static void run(struct pump *p)
{
    struct qv_import_run *x = p->x;
    while (p->err == 0) {
        step(p);
        if (p->err != 0)
            break;
        if (p->flying > 0)
            qv_client_run(x->target->client);
        else if (!sleep_until_due(p))
            break;
        save(p, false);
        qv_progress_update(x->progress, x->progress->start_done + x->sent_points, x->bytes);
    }
    while (p->flying > 0)
        qv_client_run(x->target->client);
    save(p, true);
}

int qv_import_run(struct qv_import_run *x, struct qv_errmsg *msg)
{
    struct pump p = {.x = x, .msg = msg, .saved_ns = qv_progress_now_ns()};
    QV_ASSERT(x->in_flight >= 1 && x->in_flight <= QV_IMPORT_IN_FLIGHT_MAX && x->batch >= 1);
    qv_rng_init(&p.rng, p.saved_ns);
    p.slots = qv_mem_calloc(x->in_flight, sizeof *p.slots);
    for (uint32_t i = 0; i < x->in_flight; i++) {
        p.slots[i].pump = &p;
        qv_buf_init(&p.slots[i].message, 0);
    }
    run(&p);
    QV_ASSERT(p.flying == 0 && (p.err != 0 || x->acked == x->source->total));
    for (uint32_t i = 0; i < x->in_flight; i++)
        qv_buf_close(&p.slots[i].message);
    qv_mem_free(p.slots);
    return p.err;
}
