/* Loading a saved graph, and making it whole for what the owner still has.
 *
 * 1. Read: every field is checked, every node of the file is put into the columns; what is not kept
 *    is there as a leaving node, whose links serve to bridge it and whose row is not read.
 * 2. Cut links to what is not there, count the others.
 * 3. Replace links to leaving nodes by their neighbours (as a repair does), let them leave, free
 *    their slots.
 * 4. Attach what can't be reached: nodes inserted during the save, whose neighbours were written
 *    before, or whose only way led over dropped ones.
 * The graph is the loader's own until the end; the locks inside are taken for the asserts' sake. */
#include "index/hnsw_delete.h"
#include "index/hnsw_file.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdlib.h>

#define FILTER_BITS_LOG2 12
#define FILTER_BITS (1u << FILTER_BITS_LOG2)

struct in {
    const struct qv_hnsw_source *source;
    struct qv_errmsg *msg;
    uint8_t *frame;  /* QV_HNSW_FRAME_BYTES */
    uint32_t at, n;  /* in the frame */
    uint64_t frames; /* read so far */
    uint64_t bytes;  /* payload bytes read so far */
};

struct loading {
    struct in in;
    struct qv_hnsw *h;
    struct qv_hnsw_ctx *ctx;
    uint32_t bound; /* the file's slot_bound */
    uint32_t nodes; /* records read */
    struct qv_hnsw_load_report report;
};

/* ---- frames ---- */

/* n bytes from the source; fewer are corruption. */
static int read_exact(struct in *in, void *to, size_t n)
{
    uint8_t *p = to;
    size_t have = 0;
    while (have < n) {
        size_t got = 0;
        int err = in->source->read(in->source->read_arg, p + have, n - have, &got);
        if (err != 0)
            return err;
        if (got == 0 || got > n - have)
            return QV_CORRUPT(in->msg, "graph file ends in frame %llu",
                              (unsigned long long)in->frames);
        have += got;
    }
    return 0;
}

/* The next frame; in->n is 0 after the closing one. */
static int next_frame(struct in *in)
{
    uint64_t hash = 0;
    in->at = 0;
    in->n = 0;
    uint32_t n = 0;
    int err = read_exact(in, &n, sizeof n);
    if (err != 0)
        return err;
    if (n > QV_HNSW_FRAME_BYTES)
        return QV_CORRUPT(in->msg, "frame %llu: %u bytes, at most %u are written",
                          (unsigned long long)in->frames, n, QV_HNSW_FRAME_BYTES);
    err = read_exact(in, in->frame, n);
    if (err == 0)
        err = read_exact(in, &hash, sizeof hash);
    if (err != 0)
        return err;
    uint64_t want = n > 0 ? qv_hash_64_seed(in->frame, n, in->frames)
                          : qv_hash_64_seed(&in->bytes, sizeof in->bytes, in->frames);
    if (hash != want)
        return QV_CORRUPT(in->msg, "frame %llu: wrong checksum", (unsigned long long)in->frames);
    in->n = n;
    in->frames++;
    in->bytes += n;
    return 0;
}

static int take(struct in *in, void *to, size_t n)
{
    uint8_t *p = to;
    while (n > 0) {
        if (in->at == in->n) {
            int err = next_frame(in);
            if (err != 0)
                return err;
            if (in->n == 0)
                return QV_CORRUPT(in->msg, "graph file ends within a record");
        }
        size_t part = in->n - in->at < n ? in->n - in->at : n;
        memcpy(p, in->frame + in->at, part);
        in->at += (uint32_t)part;
        p += part;
        n -= part;
    }
    return 0;
}

/* ---- header ---- */

static int read_header(struct loading *g, const struct qv_hnsw_params *want)
{
    struct {
        uint8_t magic[QV_HNSW_MAGIC_BYTES];
        uint32_t version, metric, dtype, dim, m, m0, ef_construct, bound;
        uint64_t seed;
    } head;
    _Static_assert(sizeof head == QV_HNSW_HEADER_BYTES, "the header has no holes");
    struct qv_errmsg *msg = g->in.msg;
    int err = take(&g->in, &head, sizeof head);
    if (err != 0)
        return err;
    if (memcmp(head.magic, QV_HNSW_MAGIC, QV_HNSW_MAGIC_BYTES) != 0)
        return QV_CORRUPT(msg, "not a graph file");
    if (head.version != QV_HNSW_VERSION)
        return QV_CORRUPT(msg, "graph file version %u; this program reads %u", head.version,
                          QV_HNSW_VERSION);
    if (head.metric >= QV_METRIC_COUNT || head.dtype >= QV_DTYPE_COUNT || head.bound > QV_SLOTS_MAX)
        return QV_CORRUPT(msg, "graph file: metric %u, dtype %u, slot bound %u", head.metric,
                          head.dtype, head.bound);
    if (head.metric != (uint32_t)want->metric || head.dtype != (uint32_t)want->dtype ||
        head.dim != want->dim || head.m != want->m || head.m0 != want->m0)
        return qv_fail(msg, QV_EINVAL,
                       "graph file of metric %u, dtype %u, dim %u, m %u, m0 %u; expected %u, %u, "
                       "%u, %u, %u",
                       head.metric, head.dtype, head.dim, head.m, head.m0, (unsigned)want->metric,
                       (unsigned)want->dtype, want->dim, want->m, want->m0);
    g->bound = head.bound;
    g->report.ef_construct = head.ef_construct;
    return 0;
}

/* ---- nodes ---- */

static int by_value(const void *a, const void *b)
{
    qv_slot x = *(const qv_slot *)a;
    qv_slot y = *(const qv_slot *)b;
    return x < y ? -1 : x > y;
}

/* A small filter answers most lists; a list that collides in it is sorted. */
static bool has_duplicates(qv_slot *scratch, const qv_slot *links, uint32_t n)
{
    uint64_t seen[FILTER_BITS / 64] = {0};
    bool maybe = false;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bit = (links[i] * 0x9E3779B1u) >> (32 - FILTER_BITS_LOG2);
        maybe = maybe || (seen[bit / 64] >> (bit % 64) & 1) != 0;
        seen[bit / 64] |= UINT64_C(1) << (bit % 64);
    }
    if (!maybe)
        return false;
    memcpy(scratch, links, n * sizeof *links);
    qsort(scratch, n, sizeof *scratch, by_value);
    for (uint32_t i = 1; i < n; i++)
        if (scratch[i] == scratch[i - 1])
            return true;
    return false;
}

static int read_list(struct loading *g, qv_slot slot, uint32_t level, qv_slot *links, uint16_t *n)
{
    struct qv_errmsg *msg = g->in.msg;
    int err = take(&g->in, n, sizeof *n);
    if (err != 0)
        return err;
    if (*n > qv_hnsw_list_cap(g->h, level))
        return QV_CORRUPT(msg, "slot %u level %u: %u links", slot, level, *n);
    err = take(&g->in, links, *n * sizeof *links);
    if (err != 0)
        return err;
    for (uint32_t i = 0; i < *n; i++)
        if (links[i] >= QV_SLOTS_MAX || links[i] == slot)
            return QV_CORRUPT(msg, "slot %u level %u: link to %u", slot, level, links[i]);
    if (has_duplicates(g->ctx->chosen, links, *n))
        return QV_CORRUPT(msg, "slot %u level %u: two links to one slot", slot, level);
    return 0;
}

/* A node's record into the columns: LINKED and live, or UNLINKING when it is not kept. */
static int read_node(struct loading *g, qv_slot slot, qv_slot *above)
{
    struct {
        uint32_t generation;
        uint8_t level, live;
        uint16_t zero;
    } rec;
    struct qv_errmsg *msg = g->in.msg;
    struct qv_hnsw *h = g->h;
    int err = take(&g->in, &rec, sizeof rec);
    if (err != 0)
        return err;
    if (slot < *above || slot >= g->bound)
        return QV_CORRUPT(msg, "slot %u after %u, below %u expected", slot, *above, g->bound);
    if (rec.level > QV_HNSW_LEVEL_MAX || rec.live > 1 || rec.zero != 0)
        return QV_CORRUPT(msg, "slot %u: level %u, flags %u %u", slot, rec.level, rec.live,
                          rec.zero);
    *above = slot + 1;
    if (slot >= h->params.max_slots)
        return qv_fail(msg, QV_ELIMIT, "slot %u in the graph file, %u slots allowed", slot,
                       h->params.max_slots);
    uint32_t level = rec.level;
    err = qv_hnsw_node_claim_slot(h, slot, rec.generation, &level);
    if (err != 0)
        return err;
    for (uint32_t l = 0; l <= rec.level; l++) {
        uint16_t n;
        err = read_list(g, slot, l, g->ctx->list, &n);
        if (err != 0)
            return err;
        for (uint32_t i = 0; i < n && l <= level; i++)
            qv_hnsw_list_put(qv_hnsw_list(h, slot, l), i, g->ctx->list[i]);
    }
    bool keep = rec.live == 1 && (g->in.source->keep == NULL ||
                                  g->in.source->keep(g->in.source->keep_arg, slot, rec.generation));
    if (keep)
        qv_hnsw_code_make(h, slot);
    qv_hnsw_node_lock(h, slot);
    qv_hnsw_node_set_state(h, slot, keep ? QV_HNSW_NODE_LINKED : QV_HNSW_NODE_UNLINKING);
    qv_hnsw_node_unlock(h, slot);
    if (keep) {
        qv_hnsw_live_set(h, slot);
        atomic_fetch_add_explicit(&h->live_count, 1, memory_order_relaxed);
        g->report.kept++;
    } else {
        atomic_fetch_add_explicit(&h->dead_count, 1, memory_order_relaxed);
        g->report.dropped++;
    }
    return 0;
}

static int read_nodes(struct loading *g, qv_slot *entry)
{
    struct {
        uint32_t nodes;
        qv_slot entry;
    } end;
    qv_slot above = 0;
    for (;;) {
        qv_slot slot;
        int err = take(&g->in, &slot, sizeof slot);
        if (err == 0 && slot == QV_SLOT_NONE)
            break;
        if (err == 0)
            err = read_node(g, slot, &above);
        if (err != 0)
            return err;
        g->nodes++;
    }
    int err = take(&g->in, &end, sizeof end);
    if (err != 0)
        return err;
    if (end.nodes != g->nodes || g->in.at != g->in.n)
        return QV_CORRUPT(g->in.msg, "%u nodes, %u expected; %u bytes behind them", g->nodes,
                          end.nodes, g->in.n - g->in.at);
    *entry = end.entry;
    err = next_frame(&g->in);
    if (err == 0 && g->in.n != 0)
        err = QV_CORRUPT(g->in.msg, "a frame behind the graph's end");
    return err;
}

/* ---- making it whole ---- */

/* Cuts links of one list to what is not there on that level; counts the others. */
static void settle_list(struct loading *g, qv_slot slot, uint32_t level)
{
    struct qv_hnsw *h = g->h;
    _Atomic uint32_t *list = qv_hnsw_list(h, slot, level);
    uint32_t n = qv_hnsw_list_copy(h, slot, level, g->ctx->list);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (g->ctx->list[i] < h->slot_bound)
            __builtin_prefetch(&h->nodes[g->ctx->list[i]], 1, 3);
    for (uint32_t i = 0; i < n; i++) {
        qv_slot to = g->ctx->list[i];
        uint32_t word = to < h->slot_bound ? qv_hnsw_node_word(h, to) : 0;
        if (!qv_hnsw_state_in_graph(qv_hnsw_word_state(word)) || qv_hnsw_word_level(word) < level) {
            g->report.cut_links++;
            continue;
        }
        _Atomic uint32_t *in = qv_hnsw_in_count(h, to, level); /* nobody else is here: no RMW */
        atomic_store_explicit(in, atomic_load_explicit(in, memory_order_relaxed) + 1,
                              memory_order_relaxed);
        qv_hnsw_list_put(list, kept++, to);
    }
    for (uint32_t i = kept; i < n; i++)
        qv_hnsw_list_put(list, i, QV_SLOT_NONE);
}

static void settle_links(struct loading *g)
{
    struct qv_hnsw *h = g->h;
    for (qv_slot s = 0; s < h->slot_bound; s++) {
        uint32_t word = qv_hnsw_node_word(h, s);
        if (!qv_hnsw_state_in_graph(qv_hnsw_word_state(word)))
            continue;
        for (uint32_t l = 0; l <= qv_hnsw_word_level(word); l++)
            settle_list(g, s, l);
    }
}

static void choose_entry(struct loading *g, qv_slot saved)
{
    struct qv_hnsw *h = g->h;
    qv_slot best = qv_hnsw_entry_highest(h, QV_SLOT_NONE);
    if (best == QV_SLOT_NONE)
        return; /* nothing was kept */
    if (saved < h->slot_bound && qv_hnsw_node_state(h, saved) == QV_HNSW_NODE_LINKED &&
        qv_hnsw_node_level(h, saved) == qv_hnsw_node_level(h, best))
        best = saved;
    atomic_store_explicit(&h->entry, qv_hnsw_entry_pack(best, qv_hnsw_node_level(h, best)),
                          memory_order_release);
}

static void drop_leaving(struct loading *g)
{
    struct qv_hnsw *h = g->h;
    struct qv_hnsw_starved starved = {0}; /* attach_unreached finds those that stay so */
    if (g->report.dropped == 0)
        return;
    for (qv_slot s = 0; s < h->slot_bound; s++) {
        uint32_t word = qv_hnsw_node_word(h, s);
        if (qv_hnsw_word_state(word) != QV_HNSW_NODE_LINKED)
            continue;
        for (uint32_t l = 0; l <= qv_hnsw_word_level(word); l++)
            g->report.cut_links += qv_hnsw_leaving_bridge(h, g->ctx, s, l, false, &starved);
    }
    for (qv_slot s = 0; s < h->slot_bound; s++)
        if (qv_hnsw_node_state(h, s) == QV_HNSW_NODE_UNLINKING)
            qv_hnsw_leaving_finish(h, g->ctx, s);
    for (qv_slot s = 0; s < h->slot_bound; s++)
        if (qv_hnsw_node_state(h, s) == QV_HNSW_NODE_UNLINKED)
            qv_hnsw_node_free_slot(h, s);
}

struct reach {
    uint8_t *seen;
    qv_slot *queue;
    uint32_t n;
    uint32_t at;
};

/* Marks what a slot leads to, by a tree of parents. */
static void reach_from(struct qv_hnsw *h, struct reach *r, qv_slot slot)
{
    if (r->seen[slot] == 0) {
        r->seen[slot] = 1;
        r->queue[r->n++] = slot;
    }
    for (; r->at < r->n; r->at++) {
        const _Atomic uint32_t *list = qv_hnsw_list(h, r->queue[r->at], 0);
        if (r->at + 4 < r->n)
            __builtin_prefetch(qv_hnsw_list(h, r->queue[r->at + 4], 0), 0, 3);
        for (uint32_t i = 0; i < h->params.m0; i++) {
            qv_slot to = qv_hnsw_list_get(list, i);
            if (to == QV_SLOT_NONE)
                break;
            if (r->seen[to] == 0) {
                r->seen[to] = 1;
                qv_hnsw_parent_set(h, to, r->queue[r->at]);
                r->queue[r->n++] = to;
            }
        }
    }
}

/* What no path leads to, and what leads nowhere. */
static int attach_unreached(struct loading *g)
{
    struct qv_hnsw *h = g->h;
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
    if (entry == QV_HNSW_ENTRY_NONE)
        return 0;
    struct reach r = {.seen = qv_mem_try_calloc(h->slot_bound, 1),
                      .queue = qv_mem_try_alloc((size_t)h->slot_bound * sizeof *r.queue)};
    int err = r.seen != NULL && r.queue != NULL ? 0 : QV_ENOMEM;
    if (err == 0)
        reach_from(h, &r, qv_hnsw_entry_slot(entry));
    for (qv_slot s = 0; s < h->slot_bound && err == 0; s++) {
        if (qv_hnsw_node_state(h, s) != QV_HNSW_NODE_LINKED)
            continue;
        if (r.seen[s] == 0) {
            err = qv_hnsw_link_attach(h, g->ctx, s);
            g->report.reattached++;
            reach_from(h, &r, s);
        } else {
            err = qv_hnsw_link_feed(h, g->ctx, s);
        }
    }
    qv_mem_free(r.seen);
    qv_mem_free(r.queue);
    return err;
}

static int load_into(struct loading *g)
{
    struct qv_hnsw *h = g->h;
    qv_slot entry = QV_SLOT_NONE;
    int err = read_header(g, &h->params);
    if (err == 0)
        err = read_nodes(g, &entry);
    if (err == 0) /* what the steps below may not fail for */
        err = qv_hnsw_cands_reserve(&g->ctx->pool, h->params.ef_construct);
    if (err == 0)
        err = qv_hnsw_walk_begin(h, g->ctx);
    if (err != 0)
        return err;
    settle_links(g);
    choose_entry(g, entry);
    drop_leaving(g);
    return attach_unreached(g);
}

int qv_hnsw_load(const struct qv_hnsw_params *params, const struct qv_rows *rows,
                 const struct qv_hnsw_source *source, struct qv_hnsw **out,
                 struct qv_hnsw_load_report *report, struct qv_errmsg *msg)
{
    struct loading g = {.in = {.source = source, .msg = msg}};
    *out = NULL;
    int err = qv_hnsw_create(params, rows, &g.h, msg);
    if (err != 0)
        return err;
    g.ctx = qv_hnsw_ctx_create();
    g.in.frame = qv_mem_alloc(QV_HNSW_FRAME_BYTES);
    err = load_into(&g);
    qv_mem_free(g.in.frame);
    qv_hnsw_ctx_destroy(&g.ctx);
    if (report != NULL)
        *report = g.report;
    if (err != 0)
        qv_hnsw_destroy(&g.h);
    *out = g.h;
    return err;
}
