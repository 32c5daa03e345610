/* The source's end: answers what the target asks. What was promised is on disk (the host's); what
 * is here can be lost: the target begins again where it is.
 *
 * Invariants
 *  1. One call of the host at a time, but `take` beside another; an end waits for both.
 *  2. A position is confirmed to the host only once the target has said that it has it.
 *  3. An id that the target ended stays refused until the node says that the transfer is over. */
#include "repl/transfer_private.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "cluster/methods.h"

#include <string.h>

#define CHUNKS_WAITING_MAX 16u

struct qv_transfer_source {
    struct qv_transfer_source *next;
    struct qv_transfers *t;
    struct qv_transfer_spec spec;
    bool ready;        /* manifest and feed are there */
    bool dropped;      /* the chunks are not: the target has installed them */
    bool preparing;    /* io */
    bool reading;      /* io */
    bool taking;       /* take */
    bool took;         /* take's batch waits for who asks for it */
    bool ending, over; /* over: the host has been told */
    bool forget;       /* the node says so, too: freed when over */
    int end_err;
    uint64_t from; /* what prepare is asked for */
    uint64_t confirmed;
    struct qv_transfer_manifest manifest;
    struct qv_buf manifest_bytes;
    struct qv_transfer_io io, take;
    int prepare_err; /* told to the next who asks */
    struct qv_errmsg prepare_msg;
    uint32_t take_bytes_max;
    uint64_t take_from;
    /* questions */
    struct qv_peer_request *chunks[CHUNKS_WAITING_MAX];
    uint32_t chunk_numbers[CHUNKS_WAITING_MAX];
    uint32_t chunk_count;
    struct qv_peer_request *feed; /* NULL: nobody asks now */
    uint64_t feed_from;
    uint32_t feed_bytes_max;
    struct qv_timer feed_timer;
};

static struct qv_transfer_source *find(struct qv_transfers *t, uint64_t id)
{
    struct qv_transfer_source *x = t->sources;
    while (x != NULL && x->spec.id != id)
        x = x->next;
    return x;
}

static void refuse(struct qv_peer_request *r, int err, const char *why)
{
    struct qv_errmsg msg;
    (void)qv_fail(&msg, err, "%s", why);
    qv_peer_answer(r, err, &msg, NULL);
}

static void free_source(struct qv_transfer_source *x)
{
    qv_transfer_spec_free(&x->spec);
    qv_buf_close(&x->manifest_bytes);
    qv_buf_close(&x->io.bytes);
    qv_buf_close(&x->take.bytes);
    qv_mem_free(x);
}

static void unlink_source(struct qv_transfer_source *x)
{
    struct qv_transfer_source **at = &x->t->sources;
    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    x->t->source_count--;
    qv_env_timer_stop(x->t->config.env, &x->feed_timer);
    free_source(x);
}

static void feed_due(struct qv_timer *timer);

/* ---- ends ---- */

static void answer_all(struct qv_transfer_source *x, int err, const char *why)
{
    for (uint32_t i = 0; i < x->chunk_count; i++)
        refuse(x->chunks[i], err, why);
    x->chunk_count = 0;
    if (x->feed != NULL)
        refuse(x->feed, err, why);
    x->feed = NULL;
    qv_env_timer_stop(x->t->config.env, &x->feed_timer);
}

/* Ends when it may; false: x may be gone. */
static bool go_on(struct qv_transfer_source *x)
{
    struct qv_transfer_host *h = x->t->config.host;
    if (x->t->closing) {
        qv_transfers_post(x->t);
        return false;
    }
    if (!x->ending)
        return true;
    if (x->preparing || x->reading || x->taking)
        return false;
    if (!x->over)
        h->ops->end_source(h, x->spec.id, x->end_err);
    x->over = true;
    if (x->forget)
        unlink_source(x);
    return false;
}

static void begin_end(struct qv_transfer_source *x, int err)
{
    struct qv_transfer_host *h = x->t->config.host;
    if (!x->ending) {
        x->ending = true;
        x->end_err = err;
        answer_all(x, QV_ESTALE, "the transfer is over");
        if (x->taking)
            h->ops->stop_taking(h, x->spec.id);
    }
    (void)go_on(x);
}

void qv_transfer_source_end(struct qv_transfers *t, uint64_t id, int err)
{
    struct qv_transfer_source *x = find(t, id);
    if (x == NULL) {
        t->config.host->ops->end_source(t->config.host, id, err);
        return;
    }
    x->forget = true;
    begin_end(x, err);
}

/* ---- the manifest ---- */

static void prepared(struct qv_transfer_io *io, int err)
{
    struct qv_transfer_source *x = io->arg;
    struct qv_bytes bytes = {io->bytes.data, io->bytes.len};
    x->preparing = false;
    if (!go_on(x))
        return;
    if (err == 0)
        err = qv_transfer_manifest_decode(bytes, &x->manifest, &io->msg);
    if (err != 0) {
        x->prepare_err = err;
        x->prepare_msg = io->msg;
        return;
    }
    struct qv_buf was = x->manifest_bytes;
    x->manifest_bytes = io->bytes;
    io->bytes = was;
    x->ready = true;
    x->confirmed = x->from != 0 ? x->from : x->manifest.position;
    x->dropped = false; /* told to the host once more: it may have crashed before it did so */
}

static void prepare(struct qv_transfer_source *x, uint64_t from)
{
    struct qv_transfer_host *h = x->t->config.host;
    QV_ASSERT(!x->preparing && !x->reading && !x->taking);
    x->ready = false;
    x->took = false;
    x->preparing = true;
    x->prepare_err = 0;
    x->from = from;
    qv_buf_clear(&x->io.bytes);
    x->io.position = from;
    x->io.done = prepared;
    x->io.msg.text[0] = '\0';
    h->ops->prepare(h, &x->spec, &x->io);
}

static void answer_begin(struct qv_transfer_source *x, const struct qv_transfer_begin *ask,
                         struct qv_peer_request *r)
{
    struct qv_transfer_host *h = x->t->config.host;
    struct qv_buf body;
    qv_buf_init(&body, QV_PEER_BODY_BYTES_MAX);
    qv_buf_u64(&body, h->ops->position(h, x->spec.id));
    if (ask->covered == 0 && ask->known != x->manifest.hash)
        qv_buf_append(&body, x->manifest_bytes.data, x->manifest_bytes.len);
    qv_peer_answer(r, 0, NULL, &body);
    qv_buf_close(&body);
}

/* Can it go on from there with what is open? */
static bool suits(const struct qv_transfer_source *x, uint64_t covered)
{
    if (!x->ready)
        return false;
    return covered == 0 ? !x->dropped && x->confirmed == x->manifest.position
                        : covered >= x->confirmed;
}

static void ask_prepare(struct qv_transfer_source *x, uint64_t covered, struct qv_peer_request *r)
{
    struct qv_transfer_host *h = x->t->config.host;
    int err = x->prepare_err;
    /* the log does not reach so far back: who has nothing gets a new state, who has one can't */
    if (err != 0 && x->from == covered && (err != QV_ESTALE || covered != 0)) {
        struct qv_errmsg msg = x->prepare_msg;
        x->prepare_err = 0;
        qv_peer_answer(r, err == QV_ESTALE ? QV_ENOTFOUND : err, &msg, NULL);
        return;
    }
    if (x->taking)
        h->ops->stop_taking(h, x->spec.id);
    else if (!x->reading && !x->preparing)
        prepare(x, covered);
    refuse(r, QV_EBUSY, "the state is being written down");
}

static void on_begin(void *arg, struct qv_peer_request *r)
{
    struct qv_transfers *t = arg;
    struct qv_transfer_host *h = t->config.host;
    struct qv_transfer_begin ask;
    struct qv_errmsg msg = {""};
    int err = qv_transfer_begin_decode(r->body, r->arena, &ask, &msg);
    if (err == 0 && ask.spec.to_node != r->from)
        err = qv_fail(&msg, QV_ESTALE, "a transfer to another node");
    if (err == 0)
        err = h->ops->allowed(h, &ask.spec);
    struct qv_transfer_source *x = err == 0 ? find(t, ask.spec.id) : NULL;
    if (x != NULL && (x->ending || !qv_transfer_spec_same(&x->spec, &ask.spec)))
        err = qv_fail(&msg, QV_ESTALE, "the transfer is over");
    if (err == 0 && x == NULL && t->source_count == QV_TRANSFER_ENDS_MAX)
        err = qv_fail(&msg, QV_EBUSY, "%u transfers are served", t->source_count);
    if (err != 0) {
        qv_peer_answer(r, err, &msg, NULL);
        return;
    }
    if (x == NULL) {
        x = qv_mem_calloc(1, sizeof *x);
        x->t = t;
        x->next = t->sources;
        x->io.arg = x->take.arg = x;
        x->feed_timer = (struct qv_timer){.run = feed_due, .arg = x};
        qv_transfer_spec_copy(&x->spec, &ask.spec);
        t->sources = x;
        t->source_count++;
    }
    if (suits(x, ask.covered))
        answer_begin(x, &ask, r);
    else
        ask_prepare(x, ask.covered, r);
}

/* ---- chunks ---- */

static void read_next(struct qv_transfer_source *x);

static void chunk_read(struct qv_transfer_io *io, int err)
{
    struct qv_transfer_source *x = io->arg;
    x->reading = false;
    if (!go_on(x))
        return;
    if (x->chunk_count == 0)
        return;
    struct qv_peer_request *r = x->chunks[0];
    x->chunk_count--;
    memmove(&x->chunks[0], &x->chunks[1], x->chunk_count * sizeof(struct qv_peer_request *));
    memmove(x->chunk_numbers, x->chunk_numbers + 1, x->chunk_count * sizeof *x->chunk_numbers);
    if (err == 0 && !qv_transfer_chunk_is(&x->manifest, io->chunk,
                                          (struct qv_bytes){io->bytes.data, io->bytes.len}))
        err = QV_CORRUPT(&io->msg, "chunk %u of what was written down for a transfer", io->chunk);
    qv_peer_answer(r, err, &io->msg, err == 0 ? &io->bytes : NULL);
    read_next(x);
}

static void read_next(struct qv_transfer_source *x)
{
    struct qv_transfer_host *h = x->t->config.host;
    if (x->chunk_count == 0 || x->reading || x->preparing)
        return;
    x->reading = true;
    qv_buf_clear(&x->io.bytes);
    x->io.chunk = x->chunk_numbers[0];
    x->io.done = chunk_read;
    x->io.msg.text[0] = '\0';
    h->ops->read_chunk(h, x->spec.id, &x->io);
}

/* Who asks is the target of a transfer that is served; otherwise answered. */
static struct qv_transfer_source *known(struct qv_transfers *t, uint64_t id,
                                        struct qv_peer_request *r)
{
    struct qv_transfer_source *x = find(t, id);
    if (x != NULL && x->ready && !x->ending && x->spec.to_node == r->from)
        return x;
    refuse(r, QV_ESTALE, "the transfer is not known here, or not any more");
    return NULL;
}

static void on_chunk(void *arg, struct qv_peer_request *r)
{
    struct qv_transfer_chunk_ask ask;
    struct qv_errmsg msg = {""};
    int err = qv_transfer_chunk_decode(r->body, &ask, &msg);
    if (err != 0) {
        qv_peer_answer(r, err, &msg, NULL);
        return;
    }
    struct qv_transfer_source *x = known(arg, ask.id, r);
    if (x == NULL)
        return;
    if (x->dropped || ask.manifest != x->manifest.hash || ask.chunk >= x->manifest.count) {
        refuse(r, QV_ESTALE, "the chunk is of another state than the present one");
    } else if (x->chunk_count == CHUNKS_WAITING_MAX) {
        refuse(r, QV_EBUSY, "too many chunks are asked for");
    } else {
        x->chunks[x->chunk_count] = r;
        x->chunk_numbers[x->chunk_count++] = ask.chunk;
        read_next(x);
    }
}

/* ---- the feed ---- */

static void feed_step(struct qv_transfer_source *x);

static void answer_feed(struct qv_transfer_source *x, uint64_t to, struct qv_bytes bytes)
{
    struct qv_transfer_host *h = x->t->config.host;
    const struct qv_transfer_batch batch = {.from = x->feed_from,
                                            .to = to,
                                            .source_position = h->ops->position(h, x->spec.id),
                                            .bytes = bytes};
    struct qv_buf body;
    struct qv_peer_request *r = x->feed;
    x->feed = NULL;
    qv_env_timer_stop(x->t->config.env, &x->feed_timer);
    qv_buf_init(&body, QV_PEER_BODY_BYTES_MAX);
    qv_transfer_batch_encode(&body, &batch);
    qv_peer_answer(r, 0, NULL, &body);
    qv_buf_close(&body);
}

static void taken(struct qv_transfer_io *io, int err)
{
    struct qv_transfer_source *x = io->arg;
    x->taking = false;
    if (!go_on(x))
        return;
    x->took = err == 0;
    if (err != 0 && err != QV_ECANCELED && x->feed != NULL && x->take_from == x->feed_from) {
        struct qv_peer_request *r = x->feed;
        x->feed = NULL;
        qv_env_timer_stop(x->t->config.env, &x->feed_timer);
        qv_peer_answer(r, err, &io->msg, NULL);
    }
    feed_step(x);
}

static void feed_step(struct qv_transfer_source *x)
{
    struct qv_transfer_host *h = x->t->config.host;
    if (x->feed == NULL || x->preparing)
        return;
    if (x->took && x->take_from == x->feed_from) {
        x->took = false;
        answer_feed(x, x->take.position, (struct qv_bytes){x->take.bytes.data, x->take.bytes.len});
        return;
    }
    if (x->taking) {
        if (x->take_from != x->feed_from)
            h->ops->stop_taking(h, x->spec.id);
        return;
    }
    x->took = false;
    x->taking = true;
    x->take_from = x->feed_from;
    qv_buf_clear(&x->take.bytes);
    x->take.position = x->take_from;
    x->take.done = taken;
    x->take.msg.text[0] = '\0';
    h->ops->take(h, x->spec.id, x->feed_bytes_max, &x->take);
}

/* Nothing has come in the time that the target waits: it learns where the source is. */
static void feed_due(struct qv_timer *timer)
{
    struct qv_transfer_source *x = timer->arg;
    answer_feed(x, x->feed_from, (struct qv_bytes){NULL, 0});
}

static void feed_canceled(struct qv_peer_request *r)
{
    struct qv_transfer_source *x = r->user;
    x->feed = NULL;
    qv_env_timer_stop(x->t->config.env, &x->feed_timer);
    qv_peer_answer(r, QV_ECANCELED, NULL, NULL);
}

static void confirm(struct qv_transfer_source *x, uint64_t from)
{
    struct qv_transfer_host *h = x->t->config.host;
    if (from > x->confirmed)
        h->ops->confirm(h, x->spec.id, from);
    x->confirmed = from;
    if (!x->dropped && !x->reading && x->chunk_count == 0) {
        x->dropped = true;
        h->ops->drop_chunks(h, x->spec.id);
    }
}

static void on_feed(void *arg, struct qv_peer_request *r)
{
    struct qv_transfers *t = arg;
    struct qv_transfer_feed_ask ask;
    struct qv_errmsg msg = {""};
    int err = qv_transfer_feed_decode(r->body, &ask, &msg);
    if (err != 0) {
        qv_peer_answer(r, err, &msg, NULL);
        return;
    }
    struct qv_transfer_source *x = known(t, ask.id, r);
    if (x == NULL)
        return;
    if (ask.from < x->confirmed) { /* late, or the target lost what it had */
        refuse(r, QV_ESTALE, "more than that was confirmed");
        return;
    }
    confirm(x, ask.from);
    if (x->feed != NULL)
        refuse(x->feed, QV_ECANCELED, "asked again");
    qv_env_timer_stop(t->config.env, &x->feed_timer);
    x->feed = r;
    x->feed_from = ask.from;
    x->feed_bytes_max = ask.bytes_max;
    r->user = x;
    r->on_cancel = feed_canceled;
    if (ask.wait_ms == 0 && t->config.host->ops->position(t->config.host, ask.id) <= ask.from) {
        answer_feed(x, ask.from, (struct qv_bytes){NULL, 0});
        return;
    }
    if (ask.wait_ms != 0)
        qv_env_timer_start(t->config.env, &x->feed_timer, ask.wait_ms * QV_NS_PER_MS);
    feed_step(x);
}

static void on_end(void *arg, struct qv_peer_request *r)
{
    struct qv_errmsg msg = {""};
    uint64_t id;
    int err = qv_transfer_end_decode(r->body, &id, &msg);
    struct qv_transfers *t = arg;
    struct qv_transfer_source *x = err == 0 ? find(t, id) : NULL;
    /* While the tree still names the transfer here, its end is not this node's to act on: a write
     * may wait for the target's word, and one that comes now must. The target knows of the
     * hand-over before the source does. */
    if (err == 0 && x != NULL && x->spec.to_node == r->from &&
        t->config.host->ops->allowed(t->config.host, &x->spec) != 0)
        begin_end(x, QV_EUNKNOWN);
    qv_peer_answer(r, err, &msg, NULL);
}

/* ---- all of them ---- */

void qv_transfer_sources_serve(struct qv_transfers *t, bool on)
{
    struct qv_peers *p = t->config.peers;
    qv_peers_serve(p, QV_PEER_TRANSFER_BEGIN, on ? on_begin : NULL, t);
    qv_peers_serve(p, QV_PEER_TRANSFER_CHUNK, on ? on_chunk : NULL, t);
    qv_peers_serve(p, QV_PEER_TRANSFER_FEED, on ? on_feed : NULL, t);
    qv_peers_serve(p, QV_PEER_TRANSFER_END, on ? on_end : NULL, t);
}

void qv_transfer_sources_stop(struct qv_transfers *t)
{
    struct qv_transfer_host *h = t->config.host;
    for (struct qv_transfer_source *x = t->sources; x != NULL; x = x->next) {
        answer_all(x, QV_EUNAVAILABLE, "the node is shutting down");
        if (x->taking)
            h->ops->stop_taking(h, x->spec.id);
    }
}

bool qv_transfer_sources_quiet(const struct qv_transfers *t)
{
    for (const struct qv_transfer_source *x = t->sources; x != NULL; x = x->next) {
        if (x->preparing || x->reading || x->taking)
            return false;
    }
    return true;
}

void qv_transfer_sources_free(struct qv_transfers *t)
{
    while (t->sources != NULL) {
        struct qv_transfer_source *x = t->sources;
        t->sources = x->next;
        free_source(x);
    }
}
