/* Seeded lives of a transfer between two nodes whose disks are played here: either crashes at any
 * time, messages are lost, late and repeated, the disk says no, the owner gives it up. In the end
 * the target has all that the source has, or nothing of it is anywhere; no chunk that was kept is
 * asked for again; nothing is confirmed that the target does not have on its disk. */
#include "quiet.h"
#include "suite.h"

#include "base/hash.h"
#include "base/mem.h"
#include "cluster/methods.h"
#include "io/sim_net.h"
#include "repl/transfer_codec.h"

#include <stdlib.h>
#include <string.h>

#define CHUNKS_MAX 12u
#define SOURCE 1u
#define TARGET 2u
#define LIVES 3000u

struct totals {
    uint64_t full, aborted, crashes, chunks, again, batches, refused, fresh, rows, failed;
};

/* What a node's disk holds of the transfer. */
struct disk {
    /* the source's */
    uint64_t position; /* of its shard: 1 is the first */
    uint64_t log_from; /* changes above it are in the log */
    uint64_t written;  /* the state that was written down; 0: none */
    bool chunks;       /* and its chunks are there */
    uint32_t chunk_count;
    /* the target's */
    struct qv_buf manifest;
    uint8_t have[CHUNKS_MAX];
    uint64_t covered; /* 0: there is no shard */
};

struct world;

struct op {
    struct op *next;
    struct host *h;
    struct qv_transfer_io *io;
    struct qv_timer timer;
    void (*act)(struct host *h, struct op *op);
    int err;
    uint64_t arg;
};

struct host {
    struct qv_transfer_host host; /* first */
    struct world *w;
    struct op *ops;
    struct op *take; /* waits for changes */
    uint64_t feed;   /* confirmed so far; 0: no feed */
};

struct node {
    uint64_t id, incarnation;
    struct qv_sim_node *sim;
    struct qv_peers *peers;
    struct qv_peers spy; /* what the transfers see */
    struct qv_transfers *transfers;
    struct host host;
    struct disk disk;
    uint64_t back_ns; /* 0: it is up */
};

struct world {
    struct qv_rng rng;
    struct qv_sim *sim;
    struct qv_sim_net *net;
    struct node nodes[2];
    struct qv_transfer_spec spec;
    bool over; /* the topology does not know the transfer any more */
    bool faults;
    uint64_t told; /* how often `changed` came */
    struct totals *t;
    char wrong[200];
};

static uint64_t below(struct world *w, uint64_t n)
{
    return qv_rng_below(&w->rng, n);
}

static struct disk *source_disk(struct world *w)
{
    return &w->nodes[0].disk;
}

static struct disk *target_disk(struct world *w)
{
    return &w->nodes[1].disk;
}

#define WRONG(w, ...)                                                                              \
    do {                                                                                           \
        if ((w)->wrong[0] == '\0')                                                                 \
            snprintf((w)->wrong, sizeof(w)->wrong, __VA_ARGS__);                                   \
    } while (0)

static struct qv_bytes bytes_of(const struct qv_buf *b)
{
    return (struct qv_bytes){b->data, b->len};
}

/* ---- a state, its chunks and its changes ---- */

static void put_chunk(uint64_t position, uint32_t chunk, struct qv_buf *out)
{
    uint64_t x = position * 1000 + chunk;
    for (uint32_t i = 0; i < 8 + chunk; i++, x = qv_hash_mix(x + 1))
        qv_buf_u64(out, x);
}

static void put_manifest(const struct disk *d, struct qv_buf *out)
{
    struct qv_buf chunk;
    qv_buf_init(&chunk, 0);
    qv_transfer_manifest_begin(out, d->written);
    for (uint32_t i = 0; i < d->chunk_count; i++) {
        qv_buf_clear(&chunk);
        put_chunk(d->written, i, &chunk);
        qv_transfer_manifest_add(out, bytes_of(&chunk));
    }
    qv_transfer_manifest_end(out);
    qv_buf_close(&chunk);
}

/* ---- a host's calls: they take a while, and a crash may come before or after they have acted ----
 */

static void finish_op(struct op *op)
{
    struct host *h = op->h;
    struct qv_transfer_io *io = op->io;
    int err = op->err;
    for (struct op **at = &h->ops; *at != NULL; at = &(*at)->next) {
        if (*at == op) {
            *at = op->next;
            break;
        }
    }
    qv_mem_free(op);
    io->done(io, err);
}

static void op_due(struct qv_timer *timer)
{
    struct op *op = timer->arg;
    struct world *w = op->h->w;
    if (w->faults && op->err == 0 && below(w, 40) == 0) {
        op->err = QV_ENOSPC;
        w->t->refused++;
    }
    if (op->err == 0 && op->act != NULL)
        op->act(op->h, op);
    finish_op(op);
}

static struct node *node_of(struct host *h)
{
    return h == &h->w->nodes[0].host ? &h->w->nodes[0] : &h->w->nodes[1];
}

static struct op *begin_op(struct qv_transfer_host *host, struct qv_transfer_io *io,
                           void (*act)(struct host *h, struct op *op))
{
    struct host *h = (struct host *)host;
    struct op *op = qv_mem_calloc(1, sizeof *op);
    op->h = h;
    op->io = io;
    op->act = act;
    op->next = h->ops;
    op->timer = (struct qv_timer){.run = op_due, .arg = op};
    h->ops = op;
    qv_env_timer_start(qv_sim_node_env(node_of(h)->sim), &op->timer,
                       1 + below(h->w, 3 * QV_NS_PER_MS));
    return op;
}

/* The source's. */

static int allowed(struct qv_transfer_host *host, const struct qv_transfer_spec *spec)
{
    struct world *w = ((struct host *)host)->w;
    assert_int_equal(spec->id, w->spec.id);
    return w->over ? QV_ESTALE : w->faults && below(w, 10) == 0 ? QV_EBUSY : 0;
}

static void act_prepare(struct host *h, struct op *op)
{
    struct disk *d = &node_of(h)->disk;
    uint64_t from = op->io->position;
    if (from == 0 && !d->chunks) {
        d->written = 0;
        h->w->t->fresh++;
    }
    if (d->written == 0 && from == 0) {
        d->written = d->position;
        d->chunk_count = (uint32_t)below(h->w, CHUNKS_MAX + 1);
        d->chunks = true;
    }
    h->feed = from != 0 ? from : d->written;
    if (h->feed < d->log_from || h->feed > d->position || d->written == 0) {
        d->written = 0;
        d->chunks = false;
        h->feed = 0;
        op->err = QV_ESTALE;
        return;
    }
    op->io->position = d->written;
    put_manifest(d, &op->io->bytes);
}

static void prepare(struct qv_transfer_host *host, const struct qv_transfer_spec *spec,
                    struct qv_transfer_io *io)
{
    (void)spec;
    (void)begin_op(host, io, act_prepare);
}

static void act_read(struct host *h, struct op *op)
{
    struct disk *d = &node_of(h)->disk;
    if (!d->chunks || op->io->chunk >= d->chunk_count)
        WRONG(h->w, "chunk %u is read and not there", op->io->chunk);
    put_chunk(d->written, op->io->chunk, &op->io->bytes);
}

static void read_chunk(struct qv_transfer_host *host, uint64_t id, struct qv_transfer_io *io)
{
    (void)id;
    (void)begin_op(host, io, act_read);
}

static void act_take(struct host *h, struct op *op)
{
    struct disk *d = &node_of(h)->disk;
    uint64_t from = op->io->position;
    uint64_t to = from + 1 + below(h->w, d->position - from);
    if (from < h->feed) { /* a late question's: it is confirmed by now */
        op->err = QV_ESTALE;
        return;
    }
    if (from < d->log_from)
        WRONG(h->w, "the log is cut at %llu, asked from %llu", (unsigned long long)d->log_from,
              (unsigned long long)from);
    for (uint64_t at = from + 1; at <= to; at++)
        qv_buf_u64(&op->io->bytes, qv_hash_mix(at));
    op->io->position = to;
}

static void take(struct qv_transfer_host *host, uint64_t id, size_t bytes_max,
                 struct qv_transfer_io *io)
{
    struct host *h = (struct host *)host;
    (void)id;
    assert_true(bytes_max > 0 && h->take == NULL);
    struct op *op = begin_op(host, io, act_take);
    if (io->position < h->feed)
        op->err = QV_ESTALE;
    else if (io->position >= node_of(h)->disk.position) {
        qv_env_timer_stop(qv_sim_node_env(node_of(h)->sim), &op->timer);
        h->take = op;
    }
}

static void wake(struct host *h, int err)
{
    struct op *op = h->take;
    h->take = NULL;
    if (op == NULL)
        return;
    op->err = err;
    qv_env_timer_start(qv_sim_node_env(node_of(h)->sim), &op->timer, 1);
}

static void stop_taking(struct qv_transfer_host *host, uint64_t id)
{
    (void)id;
    wake((struct host *)host, QV_ECANCELED);
}

static uint64_t position(struct qv_transfer_host *host, uint64_t id)
{
    (void)id;
    return node_of((struct host *)host)->disk.position;
}

static void confirm(struct qv_transfer_host *host, uint64_t id, uint64_t at)
{
    struct host *h = (struct host *)host;
    (void)id;
    if (at > target_disk(h->w)->covered)
        WRONG(h->w, "%llu is confirmed, the target has %llu", (unsigned long long)at,
              (unsigned long long)target_disk(h->w)->covered);
    h->feed = at;
}

static void drop_chunks(struct qv_transfer_host *host, uint64_t id)
{
    struct host *h = (struct host *)host;
    (void)id;
    if (target_disk(h->w)->covered == 0)
        WRONG(h->w, "chunks are dropped, the target has not installed them");
    node_of(h)->disk.chunks = false;
}

static void end_source(struct qv_transfer_host *host, uint64_t id, int err)
{
    struct host *h = (struct host *)host;
    (void)id;
    (void)err;
    assert_null(h->take);
    node_of(h)->disk.written = 0;
    node_of(h)->disk.chunks = false;
    h->feed = 0;
}

/* The target's. */

static void act_recall(struct host *h, struct op *op)
{
    struct disk *d = &node_of(h)->disk;
    uint8_t bits[CHUNKS_MAX / 8 + 1] = {0};
    op->io->position = d->covered;
    for (uint32_t i = 0; i < CHUNKS_MAX; i++)
        bits[i / 8] |= (uint8_t)(d->have[i] << (i % 8));
    if (d->manifest.len > 0)
        qv_transfer_state_encode(&op->io->bytes, bytes_of(&d->manifest), bits);
}

static void recall(struct qv_transfer_host *host, const struct qv_transfer_spec *spec,
                   struct qv_transfer_io *io)
{
    (void)spec;
    (void)begin_op(host, io, act_recall);
}

static void act_manifest(struct host *h, struct op *op)
{
    struct disk *d = &node_of(h)->disk;
    qv_buf_clear(&d->manifest);
    qv_buf_append(&d->manifest, op->io->bytes.data, op->io->bytes.len);
    memset(d->have, 0, sizeof d->have);
}

static void keep_manifest(struct qv_transfer_host *host, const struct qv_transfer_spec *spec,
                          struct qv_transfer_io *io)
{
    (void)spec;
    (void)begin_op(host, io, act_manifest);
}

static void act_chunk(struct host *h, struct op *op)
{
    struct disk *d = &node_of(h)->disk;
    struct qv_transfer_manifest m;
    assert_int_equal(qv_transfer_manifest_decode(bytes_of(&d->manifest), &m, NULL), 0);
    if (!qv_transfer_chunk_is(&m, op->io->chunk, bytes_of(&op->io->bytes)))
        WRONG(h->w, "chunk %u is another", op->io->chunk);
    d->have[op->io->chunk] = 1;
    h->w->t->chunks++;
}

static void keep_chunk(struct qv_transfer_host *host, uint64_t id, struct qv_transfer_io *io)
{
    (void)id;
    (void)begin_op(host, io, act_chunk);
}

static void act_install(struct host *h, struct op *op)
{
    struct disk *d = &node_of(h)->disk;
    struct qv_transfer_manifest m;
    assert_int_equal(qv_transfer_manifest_decode(bytes_of(&d->manifest), &m, NULL), 0);
    for (uint32_t i = 0; i < m.count; i++) {
        if (!d->have[i])
            WRONG(h->w, "installed without chunk %u", i);
    }
    if (op->io->position != m.position)
        WRONG(h->w, "installed at another position");
    d->covered = m.position;
}

static void install(struct qv_transfer_host *host, uint64_t id, struct qv_transfer_io *io)
{
    (void)id;
    (void)begin_op(host, io, act_install);
}

static void act_replay(struct host *h, struct op *op)
{
    struct disk *d = &node_of(h)->disk;
    struct qv_rd rd;
    if (op->io->position > d->covered) {
        op->io->position = d->covered;
        op->err = QV_ESTALE;
        return;
    }
    qv_rd_init(&rd, op->io->bytes.data, op->io->bytes.len);
    for (uint64_t at = op->io->position + 1; at <= op->arg; at++) {
        if (qv_rd_u64(&rd) != qv_hash_mix(at))
            WRONG(h->w, "the change at %llu is another", (unsigned long long)at);
    }
    if (op->arg > d->covered)
        d->covered = op->arg;
    op->io->position = d->covered;
    h->w->t->batches++;
}

static void replay(struct qv_transfer_host *host, uint64_t id, uint64_t to,
                   struct qv_transfer_io *io)
{
    (void)id;
    begin_op(host, io, act_replay)->arg = to;
}

static void act_discard(struct host *h, struct op *op)
{
    struct disk *d = &node_of(h)->disk;
    (void)op;
    qv_buf_clear(&d->manifest);
    memset(d->have, 0, sizeof d->have);
    d->covered = 0;
}

static void discard(struct qv_transfer_host *host, uint64_t id, struct qv_transfer_io *io)
{
    (void)id;
    (void)begin_op(host, io, act_discard);
}

static const struct qv_transfer_host_ops host_ops = {.allowed = allowed,
                                                     .prepare = prepare,
                                                     .read_chunk = read_chunk,
                                                     .take = take,
                                                     .stop_taking = stop_taking,
                                                     .position = position,
                                                     .confirm = confirm,
                                                     .drop_chunks = drop_chunks,
                                                     .end_source = end_source,
                                                     .recall = recall,
                                                     .keep_manifest = keep_manifest,
                                                     .keep_chunk = keep_chunk,
                                                     .install = install,
                                                     .replay = replay,
                                                     .discard = discard};

/* ---- what the target sends is looked at ---- */

static struct node *spied(struct qv_peers *p)
{
    return (struct node *)((char *)p - offsetof(struct node, spy));
}

static void spy_serve(struct qv_peers *p, uint16_t method, qv_peer_handler_f *handler, void *arg)
{
    qv_peers_serve(spied(p)->peers, method, handler, arg);
}

static void spy_cancel(struct qv_peers *p, struct qv_peer_call *call)
{
    qv_peer_cancel(spied(p)->peers, call);
}

static void spy_send(struct qv_peers *p, struct qv_peer_call *call)
{
    struct node *n = spied(p);
    struct qv_transfer_chunk_ask ask;
    struct qv_transfer_manifest m;
    if (call->method == QV_PEER_TRANSFER_CHUNK) {
        assert_int_equal(qv_transfer_chunk_decode(call->body, &ask, NULL), 0);
        assert_int_equal(qv_transfer_manifest_decode(bytes_of(&n->disk.manifest), &m, NULL), 0);
        if (ask.manifest != m.hash || n->disk.have[ask.chunk])
            WRONG(n->host.w, "chunk %u is asked for and here", ask.chunk);
    }
    qv_peer_send(n->peers, call);
}

static const struct qv_peers_ops spy_ops = {
    .serve = spy_serve, .send = spy_send, .cancel = spy_cancel};

/* ---- nodes ---- */

static void changed(void *arg, uint64_t id)
{
    struct world *w = arg;
    assert_int_equal(id, w->spec.id);
    w->told++;
}

static void start(struct node *n)
{
    struct world *w = n->host.w;
    const struct qv_peer_self self = {.cluster = {7}, .id = n->id, .incarnation = ++n->incarnation};
    struct qv_errmsg msg;
    n->back_ns = 0;
    n->peers = qv_sim_net_join(w->net, n->sim, &self, n->id == SOURCE ? "s" : "t", 1);
    assert_int_equal(qv_peers_set(n->peers, 3 - n->id, n->id == SOURCE ? "t" : "s", 1, &msg), 0);
    n->spy = (struct qv_peers){.ops = &spy_ops, .env = qv_sim_node_env(n->sim)};
    const struct qv_transfer_config config = {.env = qv_sim_node_env(n->sim),
                                              .peers = &n->spy,
                                              .host = &n->host.host,
                                              .bytes_per_s =
                                                  below(w, 3) == 0 ? 1 + below(w, 20000) : 0};
    n->transfers = qv_transfers_create(&config);
    if (n->id == TARGET && !w->over)
        assert_int_equal(qv_transfer_start(n->transfers, &w->spec, changed, w), 0);
    if (n->id == TARGET && w->over && n->disk.manifest.len + n->disk.covered > 0) {
        /* as the agent does with what a crash left */
        assert_int_equal(qv_transfer_start(n->transfers, &w->spec, changed, w), 0);
        qv_transfer_abort(n->transfers, w->spec.id);
    }
    if (n->id == SOURCE && w->over)
        qv_transfer_source_end(n->transfers, w->spec.id, 0);
}

static void crash(struct node *n)
{
    struct world *w = n->host.w;
    if (n->transfers == NULL)
        return;
    qv_sim_net_crash(w->net, n->id, below(w, 2) == 0 ? QV_SIM_NET_KILLED : QV_SIM_NET_POWER_OFF);
    qv_sim_node_crash(n->sim);
    while (n->host.ops != NULL) {
        struct op *op = n->host.ops;
        n->host.ops = op->next;
        if (op != n->host.take && op->err == 0 && op->act != NULL && below(w, 2) == 0)
            op->act(&n->host, op); /* nobody heard of it */
        qv_mem_free(op);
    }
    n->host.take = NULL;
    n->host.feed = 0;
    qv_transfers_destroy(&n->transfers);
    n->back_ns = qv_sim_now_ns(w->sim) + 1 + below(w, 200 * QV_NS_PER_MS);
    w->t->crashes++;
}

static void tend(struct world *w)
{
    for (int i = 0; i < 2; i++) {
        if (w->nodes[i].transfers == NULL && qv_sim_now_ns(w->sim) >= w->nodes[i].back_ns)
            start(&w->nodes[i]);
    }
}

/* The source writes; its log is cut where nothing holds it. */
static void write_some(struct world *w)
{
    struct node *s = &w->nodes[0];
    if (s->transfers == NULL)
        return;
    s->disk.position += 1 + below(w, 4);
    uint64_t held = s->host.feed != 0 ? s->host.feed : s->disk.written;
    if (held == 0 && s->host.ops == NULL)
        s->disk.log_from = s->disk.position;
    else if (s->host.feed != 0 && target_disk(w)->covered >= held)
        s->disk.log_from = held;
    wake(&s->host, 0);
}

static void give_up(struct world *w)
{
    w->over = true;
    if (w->nodes[1].transfers != NULL)
        qv_transfer_abort(w->nodes[1].transfers, w->spec.id);
    if (w->nodes[0].transfers != NULL)
        qv_transfer_source_end(w->nodes[0].transfers, w->spec.id, 0);
}

static bool follows(struct world *w, struct qv_transfer_progress *p)
{
    struct node *t = &w->nodes[1];
    return t->transfers != NULL && qv_transfer_get_progress(t->transfers, w->spec.id, p);
}

static bool is_full(struct world *w)
{
    struct qv_transfer_progress p;
    return follows(w, &p) && p.stage == QV_TRANSFER_FOLLOWING &&
           p.position >= source_disk(w)->position;
}

static bool clean(struct world *w)
{
    const struct disk *s = source_disk(w);
    const struct disk *t = target_disk(w);
    return s->written == 0 && !s->chunks && t->manifest.len == 0 && t->covered == 0;
}

static void open_world(struct world *w, uint64_t seed, struct totals *t)
{
    const struct qv_sim_config sim = {.seed = seed};
    memset(w, 0, sizeof *w);
    qv_rng_init(&w->rng, seed);
    w->t = t;
    w->faults = below(w, 4) > 0;
    struct qv_sim_net_config net = {.seed = seed + 1};
    net.loss = w->faults && below(w, 2) == 0 ? 0.02 : 0;
    net.duplicate = w->faults && below(w, 2) == 0 ? 0.05 : 0;
    w->sim = qv_sim_create(&sim);
    w->net = qv_sim_net_create(w->sim, &net);
    w->spec = (struct qv_transfer_spec){.id = 1 + seed,
                                        .collection = {9},
                                        .from_shard = 4,
                                        .to_shard = 4,
                                        .from_node = SOURCE,
                                        .to_node = TARGET,
                                        .whole = below(w, 2) == 0,
                                        .keys = qv_key_set_all};
    w->t->rows += !w->spec.whole;
    for (int i = 0; i < 2; i++) {
        struct node *n = &w->nodes[i];
        n->id = i == 0 ? SOURCE : TARGET;
        n->sim = qv_sim_node_create(w->sim, NULL, 0);
        n->host = (struct host){.host = {&host_ops}, .w = w};
        n->disk.position = i == 0 ? 1 + below(w, 50) : 0;
        qv_buf_init(&n->disk.manifest, 0);
        start(n);
    }
}

static void closed(void *arg)
{
    *(bool *)arg = true;
}

static void close_world(struct world *w)
{
    for (int i = 0; i < 2; i++) {
        struct node *n = &w->nodes[i];
        bool done = n->transfers == NULL;
        if (!done) {
            qv_transfers_close(&n->transfers, closed, &done);
            for (int k = 0; k < 300 && !done; k++)
                qv_sim_run_for(w->sim, 100 * QV_NS_PER_MS);
            if (!done)
                WRONG(w, "node %d does not close", i);
            qv_sim_net_leave(w->net, n->id);
        }
        assert_true(w->wrong[0] != '\0' || n->host.ops == NULL);
    }
    for (int i = 0; i < 2; i++) {
        qv_buf_close(&w->nodes[i].disk.manifest);
        qv_sim_node_destroy(&w->nodes[i].sim);
    }
    qv_sim_net_destroy(&w->net);
    qv_sim_destroy(&w->sim);
}

static void live(struct world *w)
{
    bool crashes = w->faults && below(w, 3) > 0;
    bool aborts = below(w, 4) == 0;
    for (int i = 0; i < 150 && w->wrong[0] == '\0'; i++) {
        qv_sim_run_for(w->sim, 1 + below(w, 5 * QV_NS_PER_MS));
        tend(w);
        if (below(w, 3) == 0)
            write_some(w);
        if (crashes && below(w, 30) == 0)
            crash(&w->nodes[below(w, 2)]);
        if (crashes && below(w, 150) == 0 && w->nodes[0].transfers == NULL)
            source_disk(w)->written = source_disk(w)->chunks = 0; /* its disk lost it */
        if (aborts && !w->over && below(w, 100) == 0)
            give_up(w);
    }
}

/* Everything returns: what is left of the transfer comes to its end. */
static void end(struct world *w)
{
    struct qv_transfer_progress p;
    qv_sim_net_heal(w->net);
    w->faults = false;
    for (int i = 0; i < 2; i++)
        w->nodes[i].back_ns = 0;
    for (int i = 0; i < 4000 && w->wrong[0] == '\0'; i++) {
        qv_sim_run_for(w->sim, 20 * QV_NS_PER_MS);
        tend(w);
        if (w->over ? clean(w) : is_full(w))
            break;
        if (!w->over && follows(w, &p) && p.stage == QV_TRANSFER_FAILED) {
            w->t->failed++; /* as the controller does */
            give_up(w);
        }
    }
    if (w->over && !clean(w))
        WRONG(w, "something is left: written %llu, covered %llu, manifest %zu",
              (unsigned long long)source_disk(w)->written,
              (unsigned long long)target_disk(w)->covered, target_disk(w)->manifest.len);
    if (!w->over && !is_full(w))
        WRONG(w, "the target has %llu of %llu", (unsigned long long)target_disk(w)->covered,
              (unsigned long long)source_disk(w)->position);
    if (w->over)
        w->t->aborted++;
    else
        w->t->full++;
}

static void hand_over(struct world *w)
{
    struct qv_transfer_progress p;
    uint64_t id = w->spec.id;
    struct node *t = &w->nodes[1];
    if (w->over || w->wrong[0] != '\0')
        return;
    assert_true(w->told > 0);
    qv_transfer_finish(t->transfers, id);
    qv_transfer_source_end(w->nodes[0].transfers, id, QV_EUNKNOWN);
    for (int i = 0; i < 1000; i++) {
        qv_sim_run_for(w->sim, 20 * QV_NS_PER_MS);
        assert_true(qv_transfer_get_progress(t->transfers, id, &p));
        if (p.stage == QV_TRANSFER_ENDED && source_disk(w)->written == 0)
            break;
    }
    if (p.stage != QV_TRANSFER_ENDED || target_disk(w)->covered < source_disk(w)->position ||
        source_disk(w)->written != 0)
        WRONG(w, "the hand-over does not end");
    qv_transfer_forget(t->transfers, id);
    assert_false(qv_transfer_get_progress(t->transfers, id, &p));
}

static bool one_life(uint64_t seed, struct totals *t)
{
    static struct world w;
    open_world(&w, seed, t);
    live(&w);
    end(&w);
    hand_over(&w);
    close_world(&w);
    if (w.wrong[0] != '\0')
        printf("seed %llu: %s\n", (unsigned long long)seed, w.wrong);
    return w.wrong[0] == '\0';
}

static void test_lives(void **state)
{
    const char *only = getenv("QV_SEED");
    uint64_t first = only != NULL ? strtoull(only, NULL, 10) : 1;
    uint64_t lives = only != NULL ? 1 : SANITIZED_LESS(LIVES);
    struct totals t = {0};
    (void)state;
    for (uint64_t seed = first; seed < first + lives; seed++)
        assert_true(one_life(seed, &t));
    printf("%llu lives: %llu full, %llu aborted (%llu failed), %llu of rows, %llu crashes, %llu "
           "chunks, %llu batches, %llu states written, %llu refused\n",
           (unsigned long long)lives, (unsigned long long)t.full, (unsigned long long)t.aborted,
           (unsigned long long)t.failed, (unsigned long long)t.rows, (unsigned long long)t.crashes,
           (unsigned long long)t.chunks, (unsigned long long)t.batches, (unsigned long long)t.fresh,
           (unsigned long long)t.refused);
    if (only == NULL)
        assert_true(t.full > 0 && t.aborted > 0 && t.crashes > 0 && t.chunks > 0 && t.batches > 0 &&
                    t.refused > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lives)};
    quiet_log();
    return RUN_SUITE(tests);
}
