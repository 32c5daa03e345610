/* Saving a graph while it lives: each node is copied under its lock, nothing else is held. The
 * format is in hnsw_file.h. */
#include "index/hnsw_file.h"
#include "index/hnsw_graph.h"

#include "base/buf.h"
#include "base/hash.h"
#include "base/qv_assert.h"

struct out {
    qv_hnsw_write_f write;
    void *arg;
    struct qv_buf buf; /* payload of the frame being filled */
    uint64_t frames;   /* written so far */
    uint64_t bytes;    /* payload bytes written so far */
};

static int write_frame(struct out *o, const uint8_t *payload, uint32_t n)
{
    uint64_t total = o->bytes;
    uint64_t hash = n > 0 ? qv_hash_64_seed(payload, n, o->frames)
                          : qv_hash_64_seed(&total, sizeof total, o->frames);
    int err = o->write(o->arg, &n, sizeof n);
    if (err == 0 && n > 0)
        err = o->write(o->arg, payload, n);
    if (err == 0)
        err = o->write(o->arg, &hash, sizeof hash);
    o->frames++;
    o->bytes += n;
    return err;
}

/* Writes the full frames that the buffer holds. */
static int drain(struct out *o, bool all)
{
    if (o->buf.failed)
        return QV_ENOMEM;
    size_t at = 0;
    int err = 0;
    while (err == 0 && o->buf.len - at >= QV_HNSW_FRAME_BYTES) {
        err = write_frame(o, o->buf.data + at, QV_HNSW_FRAME_BYTES);
        at += QV_HNSW_FRAME_BYTES;
    }
    if (err == 0 && all && o->buf.len > at) {
        err = write_frame(o, o->buf.data + at, (uint32_t)(o->buf.len - at));
        at = o->buf.len;
    }
    memmove(o->buf.data, o->buf.data + at, o->buf.len - at);
    o->buf.len -= at;
    return err;
}

static void put_header(struct qv_buf *b, const struct qv_hnsw_params *p, uint32_t bound)
{
    const size_t begin = b->len;
    qv_buf_append(b, QV_HNSW_MAGIC, QV_HNSW_MAGIC_BYTES);
    qv_buf_u32(b, QV_HNSW_VERSION);
    qv_buf_u32(b, (uint32_t)p->metric);
    qv_buf_u32(b, (uint32_t)p->dtype);
    qv_buf_u32(b, p->dim);
    qv_buf_u32(b, p->m);
    qv_buf_u32(b, p->m0);
    qv_buf_u32(b, p->ef_construct);
    qv_buf_u32(b, bound);
    qv_buf_u64(b, p->seed);
    QV_ASSERT(b->failed || b->len - begin == QV_HNSW_HEADER_BYTES);
}

/* The node's record, if it is in the graph. The copy is made under its lock, into b. */
static bool put_node(struct qv_hnsw *h, struct qv_buf *b, qv_slot slot)
{
    if (!qv_hnsw_state_in_graph(qv_hnsw_node_state(h, slot)))
        return false;
    const size_t most =
        12 + (2 + (size_t)h->params.m0 * 4) + QV_HNSW_LEVEL_MAX * (2 + (size_t)h->params.m * 4);
    if (qv_buf_reserve(b, most) == NULL) /* so that nothing is allocated under the lock */
        return false;
    qv_slot links[QV_HNSW_M0_MAX];
    qv_hnsw_node_lock(h, slot);
    uint32_t word = qv_hnsw_node_word(h, slot);
    bool in = qv_hnsw_state_in_graph(qv_hnsw_word_state(word));
    if (in) {
        bool live = qv_hnsw_word_state(word) == QV_HNSW_NODE_LINKED && qv_hnsw_live_get(h, slot);
        qv_buf_u32(b, slot);
        qv_buf_u32(b, atomic_load_explicit(&h->nodes[slot].generation, memory_order_relaxed));
        qv_buf_u8(b, (uint8_t)qv_hnsw_word_level(word));
        qv_buf_u8(b, live ? 1 : 0);
        qv_buf_u16(b, 0);
        for (uint32_t l = 0; l <= qv_hnsw_word_level(word); l++) {
            uint32_t n = qv_hnsw_list_copy(h, slot, l, links);
            qv_buf_u16(b, (uint16_t)n);
            qv_buf_append(b, links, n * sizeof links[0]);
        }
    }
    qv_hnsw_node_unlock(h, slot);
    return in;
}

int qv_hnsw_save(struct qv_hnsw *h, qv_hnsw_write_f write, void *arg)
{
    struct out o = {.write = write, .arg = arg};
    qv_buf_init(&o.buf, 0);
    const uint32_t bound = atomic_load_explicit(&h->slot_bound, memory_order_acquire);
    put_header(&o.buf, &h->params, bound);
    uint32_t nodes = 0;
    int err = 0;
    for (qv_slot s = 0; s < bound && err == 0; s++) {
        nodes += put_node(h, &o.buf, s) ? 1 : 0;
        if (o.buf.failed || o.buf.len >= QV_HNSW_FRAME_BYTES)
            err = drain(&o, false);
    }
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
    qv_buf_u32(&o.buf, QV_SLOT_NONE);
    qv_buf_u32(&o.buf, nodes);
    qv_buf_u32(&o.buf, entry == QV_HNSW_ENTRY_NONE ? QV_SLOT_NONE : qv_hnsw_entry_slot(entry));
    if (err == 0)
        err = drain(&o, true);
    if (err == 0)
        err = write_frame(&o, NULL, 0);
    qv_buf_close(&o.buf);
    return err;
}
