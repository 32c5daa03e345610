/* The target's end: drives the transfer. Where it is follows from what is on its disk (recall) and
 * what the source says (BEGIN), so every trouble leads back to asking the source, and a crash to
 * asking the disk.
 *
 * Invariants
 *  1. A chunk is asked for when it is neither kept nor on its way.
 *  2. One call of the host at a time.
 *  3. What was asked under one step is answered, or given up, before the next step begins. */
#include "repl/transfer_private.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "cluster/methods.h"

#include <stdio.h>
#include <string.h>

#define FETCHES 4u
#define BAD_CHUNKS_MAX 3u
#define RETRY_NS_MIN (20 * QV_NS_PER_MS)
#define RETRY_SHIFT_MAX 6u
#define CALL_NS (10 * QV_NS_PER_S)
#define FEED_CALL_NS (4 * QV_NS_PER_S)
#define FEED_WAIT_MS 1000u
#define FEED_BYTES ((uint32_t)1 << 20)
#define RATE_NS (10 * QV_NS_PER_S)

enum step {
    STEP_RECALL,
    STEP_BEGIN,
    STEP_KEEP_MANIFEST,
    STEP_COPY,
    STEP_INSTALL,
    STEP_FEED,
    STEP_REPLAY,
    STEP_DISCARD,
    STEP_OVER
};

enum fetch_state { FETCH_IDLE, FETCH_ASKED, FETCH_CAME };

struct fetch {
    struct qv_transfer_target *x;
    enum fetch_state state;
    uint32_t chunk;
    struct qv_peer_call call;
    struct qv_buf ask, bytes;
};

struct qv_transfer_target {
    struct qv_transfer_target *next;
    struct qv_transfers *t;
    struct qv_transfer_spec spec;
    qv_transfer_changed_f *changed;
    void *arg;
    bool tell;   /* changed is to be called */
    bool forget; /* freed when quiet */
    bool abort, finish;
    enum step step;
    struct qv_transfer_progress progress;
    uint64_t position; /* the shard has everything up to here; 0: there is none */
    bool full;         /* it once had all that the source had */
    /* the state that is copied */
    struct qv_buf manifest_bytes;
    struct qv_transfer_manifest manifest; /* count 0 and hash 0: none */
    uint8_t *have;
    uint32_t have_count;
    uint32_t lowest; /* no chunk below is missing */
    struct fetch fetches[FETCHES];
    uint32_t bad_chunks;
    /* the host's */
    struct qv_transfer_io io;
    bool io_busy;
    uint64_t replay_to;
    /* BEGIN, FEED, END */
    struct qv_peer_call call;
    struct qv_buf ask;
    bool asking;
    bool told_end;
    /* trouble: what is under way ends, then on from the last sound place */
    int trouble;
    bool fatal;
    uint32_t attempts;
    struct qv_timer retry;
    /* progress */
    uint64_t began_ns, rated_ns;
};

static void advance(struct qv_transfer_target *x);

static struct qv_transfer_target *find(const struct qv_transfers *t, uint64_t id)
{
    struct qv_transfer_target *x = t->targets;
    while (x != NULL && (x->spec.id != id || x->forget))
        x = x->next;
    return x;
}

static bool has(const struct qv_transfer_target *x, uint32_t chunk)
{
    return (x->have[chunk / 8] >> (chunk % 8) & 1) != 0;
}

static uint64_t now(const struct qv_transfer_target *x)
{
    return qv_env_mono_ns(x->t->config.env);
}

/* ---- what is told ---- */

static void set_stage(struct qv_transfer_target *x, enum qv_transfer_stage stage)
{
    if (x->progress.stage == stage)
        return;
    x->progress.stage = stage;
    x->tell = stage == QV_TRANSFER_FAILED || stage == QV_TRANSFER_ENDED;
    qv_transfers_post(x->t);
}

static void set_full(struct qv_transfer_target *x)
{
    if (!x->full) {
        x->full = x->tell = true;
        qv_transfers_post(x->t);
    }
}

/* A mean that forgets with RATE_NS, or with the time it has run when that is shorter. */
static void rate(struct qv_transfer_target *x, uint32_t bytes)
{
    struct qv_transfer_progress *p = &x->progress;
    uint64_t at = now(x);
    uint64_t passed = at - x->rated_ns;
    uint64_t window = at - x->began_ns < RATE_NS ? x->rated_ns - x->began_ns : RATE_NS;
    double sum = (double)p->bytes_per_s * (double)window / 1e9 + bytes;
    double span = (double)(window + passed) / 1e9;
    p->bytes_per_s = span > 1e-6 ? (uint64_t)(sum / span) : 0;
    x->rated_ns = at;
    p->bytes_done += bytes;
    uint64_t left = p->bytes_total - p->bytes_done;
    p->eta_ms =
        p->bytes_per_s == 0 ? UINT64_MAX : (uint64_t)((double)left * 1e3 / (double)p->bytes_per_s);
}

/* Once what is under way has ended: on from the last sound place, or the end. */
static void in_trouble(struct qv_transfer_target *x, int err, bool fatal, const char *why)
{
    if (x->trouble != 0 && !fatal)
        return;
    x->trouble = err;
    x->fatal = x->fatal || fatal;
    x->progress.err = err;
    (void)snprintf(x->progress.why, sizeof x->progress.why, "%.250s",
                   why[0] != '\0' ? why : qv_err_text(err));
}

static void went_well(struct qv_transfer_target *x)
{
    x->attempts = 0;
    x->progress.err = 0;
    x->progress.why[0] = '\0';
}

/* ---- calls ---- */

/* What the source said against it: is there no use in asking again? */
static bool is_fatal_answer(const struct qv_peer_answer *a)
{
    return a->remote && (a->err == QV_ECORRUPT || a->err == QV_EIO || a->err == QV_EINVAL ||
                         a->err == QV_ETOOBIG || a->err == QV_ENOTFOUND);
}

static void send(struct qv_transfer_target *x, uint16_t method,
                 void (*done)(struct qv_peer_call *, const struct qv_peer_answer *))
{
    x->call = (struct qv_peer_call){
        .to = x->spec.from_node,
        .method = method,
        .priority = QV_PEER_MOVEMENT,
        .deadline_ns = now(x) + (method == QV_PEER_TRANSFER_FEED ? FEED_CALL_NS : CALL_NS),
        .body = {x->ask.data, x->ask.len},
        .done = done,
        .arg = x};
    x->asking = true;
    qv_peer_send(x->t->config.peers, &x->call);
}

static void take_manifest(struct qv_transfer_target *x, struct qv_bytes bytes)
{
    struct qv_errmsg msg = {""};
    struct qv_transfer_manifest m;
    if (bytes.n == 0) { /* ours still stands */
        if (x->manifest.hash == 0)
            in_trouble(x, QV_EPROTO, true, "the source gave no manifest");
        else
            x->step = STEP_COPY;
        return;
    }
    int err = qv_transfer_manifest_decode(bytes, &m, &msg);
    if (err != 0) {
        in_trouble(x, err, true, msg.text);
        return;
    }
    qv_buf_clear(&x->io.bytes);
    qv_buf_append(&x->io.bytes, bytes.p, bytes.n);
    if (x->io.bytes.failed)
        in_trouble(x, QV_ENOMEM, false, "");
    else
        x->step = STEP_KEEP_MANIFEST;
}

static void began(struct qv_peer_call *call, const struct qv_peer_answer *a)
{
    struct qv_transfer_target *x = call->arg;
    struct qv_rd rd;
    x->asking = false;
    qv_rd_init(&rd, a->body.p, a->body.n);
    if (a->err != 0) {
        in_trouble(x, a->err, is_fatal_answer(a), a->text);
    } else {
        x->progress.source_position = qv_rd_u64(&rd);
        if (rd.failed)
            in_trouble(x, QV_EPROTO, true, "an answer that can't be read");
        else if (x->position != 0)
            x->step = STEP_FEED;
        else
            take_manifest(x, (struct qv_bytes){rd.p, qv_rd_left(&rd)});
    }
    advance(x);
}

static void send_begin(struct qv_transfer_target *x)
{
    const struct qv_transfer_begin ask = {
        .spec = x->spec, .covered = x->position, .known = x->manifest.hash};
    set_stage(x, x->position != 0 ? QV_TRANSFER_FOLLOWING : QV_TRANSFER_ASKING);
    qv_buf_clear(&x->ask);
    qv_transfer_begin_encode(&x->ask, &ask);
    send(x, QV_PEER_TRANSFER_BEGIN, began);
}

static void fed(struct qv_peer_call *call, const struct qv_peer_answer *a)
{
    struct qv_transfer_target *x = call->arg;
    struct qv_transfer_batch batch;
    struct qv_errmsg msg = {""};
    x->asking = false;
    int err = a->err != 0 ? a->err : qv_transfer_batch_decode(a->body, &batch, &msg);
    if (a->err == QV_ECANCELED &&
        a->remote) { /* a question of ours that came late took its place */
        advance(x);
        return;
    }
    if (err == 0 && batch.from != x->position)
        err = qv_fail(&msg, QV_EPROTO, "changes that were not asked for");
    if (err != 0) {
        in_trouble(x, err, is_fatal_answer(a), a->err != 0 ? a->text : msg.text);
        advance(x);
        return;
    }
    went_well(x);
    x->progress.source_position = batch.source_position;
    if (batch.to > batch.from) {
        qv_buf_clear(&x->io.bytes);
        qv_buf_append(&x->io.bytes, batch.bytes.p, batch.bytes.n);
        x->replay_to = batch.to;
        if (x->io.bytes.failed)
            in_trouble(x, QV_ENOMEM, false, "");
        else
            x->step = STEP_REPLAY;
    } else if (x->position >= batch.source_position && batch.source_position != 0) {
        set_full(x);
    }
    advance(x);
}

static void send_feed(struct qv_transfer_target *x)
{
    const struct qv_transfer_feed_ask ask = {.id = x->spec.id,
                                             .from = x->position,
                                             .bytes_max = FEED_BYTES,
                                             .wait_ms = x->full ? FEED_WAIT_MS : 0};
    set_stage(x, QV_TRANSFER_FOLLOWING);
    qv_buf_clear(&x->ask);
    qv_transfer_feed_encode(&x->ask, &ask);
    send(x, QV_PEER_TRANSFER_FEED, fed);
}

static void end_told(struct qv_peer_call *call, const struct qv_peer_answer *a)
{
    struct qv_transfer_target *x = call->arg;
    (void)a; /* or it learns it from the topology */
    x->asking = false;
    advance(x);
}

static void send_end(struct qv_transfer_target *x)
{
    x->told_end = true;
    qv_buf_clear(&x->ask);
    qv_buf_u64(&x->ask, x->spec.id);
    send(x, QV_PEER_TRANSFER_END, end_told);
}

/* ---- chunks ---- */

static void fetched(struct qv_peer_call *call, const struct qv_peer_answer *a)
{
    struct fetch *f = call->arg;
    struct qv_transfer_target *x = f->x;
    f->state = FETCH_IDLE;
    if (a->err != 0) {
        in_trouble(x, a->err, is_fatal_answer(a), a->text);
    } else if (!qv_transfer_chunk_is(&x->manifest, f->chunk, a->body)) {
        bool often = ++x->bad_chunks >= BAD_CHUNKS_MAX;
        in_trouble(x, QV_ECORRUPT, often, "a chunk is not what the manifest says");
    } else {
        qv_buf_clear(&f->bytes);
        qv_buf_append(&f->bytes, a->body.p, a->body.n);
        x->progress.chunks_received++;
        if (f->bytes.failed)
            in_trouble(x, QV_ENOMEM, false, "");
        else
            f->state = FETCH_CAME;
    }
    advance(x);
}

/* The next that is neither here nor on its way; count: none. */
static uint32_t next_chunk(struct qv_transfer_target *x)
{
    const uint32_t count = x->manifest.count;
    while (x->lowest < count && has(x, x->lowest))
        x->lowest++;
    for (uint32_t chunk = x->lowest; chunk < count; chunk++) {
        bool coming = has(x, chunk) || (x->io_busy && x->io.chunk == chunk);
        for (uint32_t i = 0; i < FETCHES && !coming; i++)
            coming = x->fetches[i].state != FETCH_IDLE && x->fetches[i].chunk == chunk;
        if (!coming)
            return chunk;
    }
    return count;
}

/* Whether the rates allow a chunk of so many bytes to be asked for now. */
static bool pace(struct qv_transfers *t, uint32_t bytes)
{
    uint64_t at = qv_env_mono_ns(t->config.env);
    if (t->config.bytes_per_s == 0)
        return true;
    if (t->due_ns > at) {
        if (!qv_env_timer_active(&t->pace))
            qv_env_timer_start(t->config.env, &t->pace, t->due_ns - at);
        return false;
    }
    uint64_t cost = bytes * QV_NS_PER_S / t->config.bytes_per_s;
    t->due_ns = (t->due_ns + cost > at ? t->due_ns : at) + cost;
    return true;
}

static void send_fetch(struct qv_transfer_target *x, struct fetch *f, uint32_t chunk)
{
    const struct qv_transfer_chunk_ask ask = {
        .id = x->spec.id, .manifest = x->manifest.hash, .chunk = chunk};
    f->chunk = chunk;
    f->state = FETCH_ASKED;
    qv_buf_clear(&f->ask);
    qv_transfer_chunk_encode(&f->ask, &ask);
    f->call = (struct qv_peer_call){.to = x->spec.from_node,
                                    .method = QV_PEER_TRANSFER_CHUNK,
                                    .priority = QV_PEER_MOVEMENT,
                                    .deadline_ns = now(x) + CALL_NS,
                                    .body = {f->ask.data, f->ask.len},
                                    .done = fetched,
                                    .arg = f};
    qv_peer_send(x->t->config.peers, &f->call);
}

static void ended_io(struct qv_transfer_io *io, int err);

static void begin_io(struct qv_transfer_target *x)
{
    QV_ASSERT(!x->io_busy);
    x->io_busy = true;
    x->io.done = ended_io;
    x->io.msg.text[0] = '\0';
}

static void copy(struct qv_transfer_target *x)
{
    struct qv_transfer_host *h = x->t->config.host;
    set_stage(x, QV_TRANSFER_COPYING);
    for (uint32_t i = 0; i < FETCHES && !x->io_busy; i++) {
        struct fetch *f = &x->fetches[i];
        if (f->state != FETCH_CAME)
            continue;
        struct qv_buf was = x->io.bytes;
        x->io.bytes = f->bytes;
        f->bytes = was;
        f->state = FETCH_IDLE;
        x->io.chunk = f->chunk;
        begin_io(x);
        h->ops->keep_chunk(h, x->spec.id, &x->io);
    }
    for (uint32_t i = 0; i < FETCHES; i++) {
        struct fetch *f = &x->fetches[i];
        if (f->state != FETCH_IDLE)
            continue;
        uint32_t chunk = next_chunk(x);
        if (chunk == x->manifest.count || !pace(x->t, qv_transfer_chunk_bytes(&x->manifest, chunk)))
            break;
        send_fetch(x, f, chunk);
    }
    if (x->have_count == x->manifest.count) {
        x->step = STEP_INSTALL;
        advance(x);
    }
}

/* ---- the host's answers ---- */

/* The manifest that lies on the disk, and the chunks of it that do; have NULL: none. */
static void use_manifest(struct qv_transfer_target *x, struct qv_bytes bytes, const uint8_t *have)
{
    struct qv_transfer_progress *p = &x->progress;
    qv_buf_clear(&x->manifest_bytes);
    qv_buf_append(&x->manifest_bytes, bytes.p, bytes.n);
    int err = x->manifest_bytes.failed ? QV_ENOMEM : 0;
    if (err == 0)
        err = qv_transfer_manifest_decode(
            (struct qv_bytes){x->manifest_bytes.data, x->manifest_bytes.len}, &x->manifest, NULL);
    size_t n = err == 0 ? ((size_t)x->manifest.count + 7) / 8 : 0;
    qv_mem_free(x->have);
    x->have = err == 0 ? qv_mem_try_calloc(n + 1, 1) : NULL;
    x->have_count = x->lowest = 0;
    p->bytes_done = 0;
    if (x->have == NULL) {
        memset(&x->manifest, 0, sizeof x->manifest);
        in_trouble(x, err != 0 ? err : QV_ENOMEM, false, "");
        return;
    }
    p->bytes_total = x->manifest.bytes;
    if (have != NULL)
        memcpy(x->have, have, n);
    for (uint32_t i = 0; i < x->manifest.count; i++) {
        if (!has(x, i))
            continue;
        x->have_count++;
        p->bytes_done += qv_transfer_chunk_bytes(&x->manifest, i);
    }
    p->eta_ms = UINT64_MAX;
    p->bytes_per_s = 0;
    x->began_ns = x->rated_ns = now(x);
}

static void recalled(struct qv_transfer_target *x)
{
    struct qv_transfer_manifest m;
    struct qv_bytes manifest;
    const uint8_t *have;
    x->step = STEP_BEGIN;
    x->position = x->io.position;
    if (x->io.bytes.len == 0)
        return;
    const struct qv_bytes state = {x->io.bytes.data, x->io.bytes.len};
    struct qv_errmsg msg = {""};
    int err = qv_transfer_state_decode(state, &manifest, &m, &have, &msg);
    if (err == 0)
        use_manifest(x, manifest, have);
    else /* as if nothing were here: the next manifest takes its place */
        QV_WARN("transfer", "what was kept of a transfer: %.300s", msg.text);
}

static void chunk_kept(struct qv_transfer_target *x)
{
    uint32_t chunk = x->io.chunk;
    QV_ASSERT(!has(x, chunk));
    x->have[chunk / 8] |= (uint8_t)(1u << (chunk % 8));
    x->have_count++;
    x->bad_chunks = 0;
    rate(x, qv_transfer_chunk_bytes(&x->manifest, chunk));
}

static void io_failed(struct qv_transfer_target *x, int err)
{
    enum qv_err_class class = qv_err_class(err);
    if (x->step == STEP_REPLAY) {
        x->step = STEP_FEED; /* what it holds is asked for again */
        if (err == QV_ESTALE && x->io.position != 0 && x->io.position < x->position)
            x->position = x->io.position;
    }
    bool fatal = class != QV_CLASS_TRANSIENT && x->step != STEP_DISCARD;
    in_trouble(x, err, fatal, x->io.msg.text);
}

static void io_went_well(struct qv_transfer_target *x)
{
    switch (x->step) {
    case STEP_RECALL:
        recalled(x);
        break;
    case STEP_KEEP_MANIFEST: {
        const struct qv_bytes bytes = {x->io.bytes.data, x->io.bytes.len};
        x->step = STEP_COPY;
        use_manifest(x, bytes, NULL);
        break;
    }
    case STEP_COPY:
        chunk_kept(x);
        break;
    case STEP_INSTALL:
        x->position = x->manifest.position;
        x->step = STEP_FEED;
        break;
    case STEP_REPLAY:
        QV_ASSERT(x->io.position >= x->replay_to);
        x->position = x->io.position;
        x->step = STEP_FEED;
        if (x->position >= x->progress.source_position)
            set_full(x);
        break;
    case STEP_DISCARD:
        x->step = STEP_OVER;
        set_stage(x, QV_TRANSFER_ENDED);
        break;
    default:
        QV_ASSERT(false);
    }
}

static void ended_io(struct qv_transfer_io *io, int err)
{
    struct qv_transfer_target *x = io->arg;
    x->io_busy = false;
    if (err != 0) {
        io_failed(x, err);
    } else {
        if (x->trouble == 0)
            went_well(x);
        io_went_well(x);
    }
    advance(x);
}

static void run_io(struct qv_transfer_target *x)
{
    struct qv_transfer_host *h = x->t->config.host;
    const uint64_t id = x->spec.id;
    if (x->io_busy)
        return;
    begin_io(x);
    switch (x->step) {
    case STEP_RECALL:
        qv_buf_clear(&x->io.bytes);
        x->io.position = 0;
        h->ops->recall(h, &x->spec, &x->io);
        break;
    case STEP_KEEP_MANIFEST:
        h->ops->keep_manifest(h, &x->spec, &x->io);
        break;
    case STEP_INSTALL:
        set_stage(x, QV_TRANSFER_INSTALLING);
        x->io.position = x->manifest.position;
        h->ops->install(h, id, &x->io);
        break;
    case STEP_REPLAY:
        x->io.position = x->position;
        h->ops->replay(h, id, x->replay_to, &x->io);
        break;
    default:
        QV_ASSERT(x->step == STEP_DISCARD);
        h->ops->discard(h, id, &x->io);
    }
}

/* ---- from step to step ---- */

static bool quiet(const struct qv_transfer_target *x)
{
    bool fetching = false;
    for (uint32_t i = 0; i < FETCHES; i++)
        fetching = fetching || x->fetches[i].state == FETCH_ASKED;
    return !x->io_busy && !x->asking && !fetching;
}

/* Asks what is under way to end; true: nothing is. */
static bool settle(struct qv_transfer_target *x)
{
    struct qv_peers *p = x->t->config.peers;
    for (uint32_t i = 0; i < FETCHES; i++) {
        if (x->fetches[i].state == FETCH_ASKED)
            qv_peer_cancel(p, &x->fetches[i].call);
        else
            x->fetches[i].state = FETCH_IDLE;
    }
    if (x->asking && x->step != STEP_DISCARD)
        qv_peer_cancel(p, &x->call);
    return quiet(x);
}

static void wait_and_retry(struct qv_transfer_target *x)
{
    uint32_t shift = x->attempts < RETRY_SHIFT_MAX ? x->attempts : RETRY_SHIFT_MAX;
    x->attempts++;
    qv_env_timer_start(x->t->config.env, &x->retry, RETRY_NS_MIN << shift);
}

static void leave_trouble(struct qv_transfer_target *x)
{
    int err = x->trouble;
    bool fatal = x->fatal;
    x->trouble = 0;
    x->fatal = false;
    if (fatal) {
        x->step = STEP_OVER;
        QV_WARN("transfer", "of shard %u from node %016llx: %s: %.250s", x->spec.from_shard,
                (unsigned long long)x->spec.from_node, qv_err_name(err), x->progress.why);
        set_stage(x, QV_TRANSFER_FAILED);
        return;
    }
    if (x->step == STEP_KEEP_MANIFEST || x->step == STEP_COPY || x->step == STEP_FEED ||
        x->step == STEP_REPLAY)
        x->step = STEP_BEGIN;
    wait_and_retry(x);
}

static void free_target(struct qv_transfer_target *x)
{
    qv_transfer_spec_free(&x->spec);
    for (uint32_t i = 0; i < FETCHES; i++) {
        qv_buf_close(&x->fetches[i].ask);
        qv_buf_close(&x->fetches[i].bytes);
    }
    qv_buf_close(&x->manifest_bytes);
    qv_buf_close(&x->io.bytes);
    qv_buf_close(&x->ask);
    qv_mem_free(x->have);
    qv_mem_free(x);
}

/* Its owner has decided, or the node closes: true when there is nothing else to do. */
static bool decided(struct qv_transfer_target *x)
{
    if (x->t->closing) {
        if (settle(x))
            qv_transfers_post(x->t);
        return true;
    }
    if (x->abort && x->step != STEP_DISCARD && x->progress.stage != QV_TRANSFER_ENDED) {
        qv_env_timer_stop(x->t->config.env, &x->retry);
        if (!settle(x))
            return true;
        x->trouble = 0;
        x->fatal = false;
        x->step = STEP_DISCARD;
        if (!x->told_end)
            send_end(x);
    } else if (x->finish && x->step != STEP_DISCARD && x->step != STEP_OVER) {
        qv_env_timer_stop(x->t->config.env, &x->retry);
        if (!settle(x))
            return true;
        x->trouble = 0; /* what was given up */
        x->fatal = false;
        x->step = STEP_OVER;
        set_stage(x, QV_TRANSFER_ENDED);
    }
    return false;
}

static void advance(struct qv_transfer_target *x)
{
    if (decided(x))
        return;
    if (x->trouble != 0) {
        if (settle(x))
            leave_trouble(x);
        return;
    }
    if (qv_env_timer_active(&x->retry))
        return;
    switch (x->step) {
    case STEP_BEGIN:
        if (!x->asking)
            send_begin(x);
        break;
    case STEP_COPY:
        copy(x);
        break;
    case STEP_FEED:
        if (!x->asking)
            send_feed(x);
        break;
    case STEP_OVER:
        if (x->forget)
            qv_transfers_post(x->t);
        break;
    default:
        run_io(x);
    }
}

static void retry_due(struct qv_timer *timer)
{
    advance(timer->arg);
}

/* ---- for the owner ---- */

int qv_transfer_start(struct qv_transfers *t, const struct qv_transfer_spec *spec,
                      qv_transfer_changed_f *changed, void *arg)
{
    QV_ASSERT(spec->id != 0 && !t->closing);
    if (find(t, spec->id) != NULL)
        return QV_EEXISTS;
    if (t->target_count == QV_TRANSFER_ENDS_MAX)
        return QV_ELIMIT;
    struct qv_transfer_target *x = qv_mem_calloc(1, sizeof *x);
    x->t = t;
    qv_transfer_spec_copy(&x->spec, spec);
    x->changed = changed;
    x->arg = arg;
    x->io.arg = x;
    x->progress.eta_ms = UINT64_MAX;
    x->retry = (struct qv_timer){.run = retry_due, .arg = x};
    for (uint32_t i = 0; i < FETCHES; i++)
        x->fetches[i].x = x;
    x->next = t->targets;
    t->targets = x;
    t->target_count++;
    advance(x);
    return 0;
}

void qv_transfer_abort(struct qv_transfers *t, uint64_t id)
{
    struct qv_transfer_target *x = find(t, id);
    if (x == NULL || x->progress.stage == QV_TRANSFER_ENDED)
        return;
    x->abort = true;
    advance(x);
}

void qv_transfer_finish(struct qv_transfers *t, uint64_t id)
{
    struct qv_transfer_target *x = find(t, id);
    if (x == NULL || x->abort)
        return;
    x->finish = true;
    advance(x);
}

bool qv_transfer_get_progress(const struct qv_transfers *t, uint64_t id,
                              struct qv_transfer_progress *out)
{
    const struct qv_transfer_target *x = find(t, id);
    if (x == NULL)
        return false;
    *out = x->progress;
    out->position = x->full ? x->position : 0;
    return true;
}

void qv_transfer_forget(struct qv_transfers *t, uint64_t id)
{
    struct qv_transfer_target *x = find(t, id);
    if (x == NULL)
        return;
    QV_ASSERT(x->step == STEP_OVER);
    x->forget = true;
    qv_transfers_post(t);
}

/* ---- all of them ---- */

void qv_transfer_targets_pump(struct qv_transfers *t)
{
    for (struct qv_transfer_target *x = t->targets; x != NULL; x = x->next) {
        if (x->step == STEP_COPY)
            advance(x);
    }
}

static bool tell_one(struct qv_transfers *t)
{
    for (struct qv_transfer_target *x = t->targets; x != NULL; x = x->next) {
        if (!x->tell || x->forget)
            continue;
        x->tell = false;
        if (x->changed != NULL) {
            x->changed(x->arg, x->spec.id);
            return true;
        }
    }
    return false;
}

void qv_transfer_targets_tell(struct qv_transfers *t)
{
    while (!t->closing && tell_one(t))
        continue;
    for (struct qv_transfer_target **at = &t->targets; *at != NULL;) {
        struct qv_transfer_target *x = *at;
        QV_ASSERT(!x->forget || !qv_env_timer_active(&x->retry));
        if (!x->forget || !quiet(x)) {
            at = &x->next;
            continue;
        }
        *at = x->next;
        t->target_count--;
        free_target(x);
    }
}

void qv_transfer_targets_stop(struct qv_transfers *t)
{
    for (struct qv_transfer_target *x = t->targets; x != NULL; x = x->next) {
        qv_env_timer_stop(t->config.env, &x->retry);
        (void)settle(x);
    }
}

bool qv_transfer_targets_quiet(const struct qv_transfers *t)
{
    for (const struct qv_transfer_target *x = t->targets; x != NULL; x = x->next) {
        if (!quiet(x))
            return false;
    }
    return true;
}

void qv_transfer_targets_free(struct qv_transfers *t)
{
    while (t->targets != NULL) {
        struct qv_transfer_target *x = t->targets;
        t->targets = x->next;
        free_target(x);
    }
}
