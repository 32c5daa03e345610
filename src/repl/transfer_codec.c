#include "repl/transfer_codec.h"

#include "base/hash.h"
#include "base/qv_assert.h"

#include <string.h>

#define VERSION 1u
#define HEAD_BYTES (sizeof(uint16_t) + sizeof(uint64_t))
#define ENTRY_BYTES (sizeof(uint32_t) + sizeof(uint64_t))
#define TAIL_BYTES sizeof(uint64_t)

/* ---- manifest ---- */

void qv_transfer_manifest_begin(struct qv_buf *b, uint64_t position)
{
    QV_ASSERT(position != 0 && b->len == 0);
    qv_buf_u16(b, VERSION);
    qv_buf_u64(b, position);
}

void qv_transfer_manifest_add(struct qv_buf *b, struct qv_bytes chunk)
{
    QV_ASSERT(chunk.n > 0 && chunk.n <= QV_TRANSFER_CHUNK_BYTES);
    qv_buf_u32(b, (uint32_t)chunk.n);
    qv_buf_u64(b, qv_hash_64(chunk.p, chunk.n));
}

void qv_transfer_manifest_end(struct qv_buf *b)
{
    if (!b->failed)
        qv_buf_u64(b, qv_hash_64(b->data, b->len));
}

int qv_transfer_manifest_decode(struct qv_bytes in, struct qv_transfer_manifest *out,
                                struct qv_errmsg *msg)
{
    struct qv_rd rd;
    memset(out, 0, sizeof *out);
    if (in.n < HEAD_BYTES + TAIL_BYTES ||
        (in.n - HEAD_BYTES - TAIL_BYTES) / ENTRY_BYTES > QV_TRANSFER_CHUNKS_MAX)
        return QV_CORRUPT(msg, "a transfer's manifest of %zu bytes", in.n);
    qv_rd_init(&rd, in.p, in.n);
    uint16_t version = qv_rd_u16(&rd);
    if (version > VERSION)
        return qv_fail(msg, QV_ENOTIMPL, "a transfer's manifest of version %u", version);
    out->position = qv_rd_u64(&rd);
    out->count = (uint32_t)((in.n - HEAD_BYTES - TAIL_BYTES) / ENTRY_BYTES);
    out->chunks = rd.p;
    for (uint32_t i = 0; i < out->count; i++) {
        uint32_t bytes = qv_transfer_chunk_bytes(out, i);
        if (bytes == 0 || bytes > QV_TRANSFER_CHUNK_BYTES)
            return QV_CORRUPT(msg, "a transfer's manifest: chunk %u of %u bytes", i, bytes);
        out->bytes += bytes;
    }
    (void)qv_rd_take(&rd, out->count * ENTRY_BYTES);
    out->hash = qv_rd_u64(&rd);
    if (rd.failed || qv_rd_left(&rd) != 0 || version == 0 || out->position == 0 ||
        out->hash != qv_hash_64(in.p, in.n - TAIL_BYTES))
        return QV_CORRUPT(msg, "a transfer's manifest");
    return 0;
}

uint32_t qv_transfer_chunk_bytes(const struct qv_transfer_manifest *m, uint32_t chunk)
{
    uint32_t bytes;
    QV_ASSERT(chunk < m->count);
    memcpy(&bytes, m->chunks + chunk * ENTRY_BYTES, sizeof bytes);
    return bytes;
}

bool qv_transfer_chunk_is(const struct qv_transfer_manifest *m, uint32_t chunk,
                          struct qv_bytes bytes)
{
    uint64_t hash;
    QV_ASSERT(chunk < m->count);
    memcpy(&hash, m->chunks + chunk * ENTRY_BYTES + sizeof(uint32_t), sizeof hash);
    return bytes.n == qv_transfer_chunk_bytes(m, chunk) && qv_hash_64(bytes.p, bytes.n) == hash;
}

/* ---- what a target has ---- */

static size_t bits_bytes(uint32_t count)
{
    return ((size_t)count + 7) / 8;
}

void qv_transfer_state_encode(struct qv_buf *b, struct qv_bytes manifest, const uint8_t *have)
{
    struct qv_transfer_manifest m;
    int err = qv_transfer_manifest_decode(manifest, &m, NULL);
    QV_ASSERT(err == 0);
    qv_buf_u32(b, (uint32_t)manifest.n);
    qv_buf_append(b, manifest.p, manifest.n);
    qv_buf_append(b, have, bits_bytes(m.count));
}

int qv_transfer_state_decode(struct qv_bytes in, struct qv_bytes *manifest,
                             struct qv_transfer_manifest *out, const uint8_t **have,
                             struct qv_errmsg *msg)
{
    struct qv_rd rd;
    qv_rd_init(&rd, in.p, in.n);
    manifest->n = qv_rd_u32(&rd);
    manifest->p = qv_rd_take(&rd, manifest->n);
    if (rd.failed)
        return QV_CORRUPT(msg, "what was kept of a transfer");
    int err = qv_transfer_manifest_decode(*manifest, out, msg);
    if (err != 0)
        return err;
    *have = rd.p;
    if (qv_rd_left(&rd) != bits_bytes(out->count))
        return QV_CORRUPT(msg, "what was kept of a transfer");
    return 0;
}

/* ---- messages ---- */

void qv_transfer_begin_encode(struct qv_buf *b, const struct qv_transfer_begin *m)
{
    const struct qv_transfer_spec *s = &m->spec;
    qv_buf_u16(b, VERSION);
    qv_buf_u64(b, s->id);
    qv_buf_append(b, s->collection, sizeof s->collection);
    qv_buf_u32(b, s->from_shard);
    qv_buf_u32(b, s->to_shard);
    qv_buf_u64(b, s->from_node);
    qv_buf_u64(b, s->to_node);
    qv_buf_u8(b, s->whole);
    qv_buf_u64(b, m->covered);
    qv_buf_u64(b, m->known);
    if (!s->whole)
        qv_key_set_encode(b, &s->keys);
}

int qv_transfer_begin_decode(struct qv_bytes in, struct qv_arena *arena,
                             struct qv_transfer_begin *out, struct qv_errmsg *msg)
{
    struct qv_transfer_spec *s = &out->spec;
    struct qv_rd rd;
    memset(out, 0, sizeof *out);
    qv_rd_init(&rd, in.p, in.n);
    uint16_t version = qv_rd_u16(&rd);
    if (version > VERSION)
        return qv_fail(msg, QV_ENOTIMPL, "a transfer's beginning of version %u", version);
    s->id = qv_rd_u64(&rd);
    const uint8_t *uuid = qv_rd_take(&rd, sizeof s->collection);
    s->from_shard = qv_rd_u32(&rd);
    s->to_shard = qv_rd_u32(&rd);
    s->from_node = qv_rd_u64(&rd);
    s->to_node = qv_rd_u64(&rd);
    uint8_t whole = qv_rd_u8(&rd);
    out->covered = qv_rd_u64(&rd);
    out->known = qv_rd_u64(&rd);
    if (rd.failed || version == 0 || whole > 1 || s->id == 0 || s->to_node == 0)
        return QV_CORRUPT(msg, "a transfer's beginning");
    memcpy(s->collection, uuid, sizeof s->collection);
    s->whole = whole != 0;
    s->keys = qv_key_set_all;
    int err = s->whole ? 0 : qv_key_set_decode(&rd, arena, &s->keys, msg);
    if (err == 0 &&
        (rd.failed || qv_rd_left(&rd) != 0 || (s->whole && s->from_shard != s->to_shard)))
        err = QV_CORRUPT(msg, "a transfer's beginning");
    return err;
}

void qv_transfer_chunk_encode(struct qv_buf *b, const struct qv_transfer_chunk_ask *m)
{
    qv_buf_u64(b, m->id);
    qv_buf_u64(b, m->manifest);
    qv_buf_u32(b, m->chunk);
}

static int ended(const struct qv_rd *rd, const char *what, struct qv_errmsg *msg)
{
    return rd->failed || qv_rd_left(rd) != 0 ? QV_CORRUPT(msg, "a transfer's %s", what) : 0;
}

int qv_transfer_chunk_decode(struct qv_bytes in, struct qv_transfer_chunk_ask *out,
                             struct qv_errmsg *msg)
{
    struct qv_rd rd;
    qv_rd_init(&rd, in.p, in.n);
    out->id = qv_rd_u64(&rd);
    out->manifest = qv_rd_u64(&rd);
    out->chunk = qv_rd_u32(&rd);
    return ended(&rd, "question for a chunk", msg);
}

void qv_transfer_feed_encode(struct qv_buf *b, const struct qv_transfer_feed_ask *m)
{
    qv_buf_u64(b, m->id);
    qv_buf_u64(b, m->from);
    qv_buf_u32(b, m->bytes_max);
    qv_buf_u32(b, m->wait_ms);
}

int qv_transfer_feed_decode(struct qv_bytes in, struct qv_transfer_feed_ask *out,
                            struct qv_errmsg *msg)
{
    struct qv_rd rd;
    qv_rd_init(&rd, in.p, in.n);
    out->id = qv_rd_u64(&rd);
    out->from = qv_rd_u64(&rd);
    out->bytes_max = qv_rd_u32(&rd);
    out->wait_ms = qv_rd_u32(&rd);
    int err = ended(&rd, "question for changes", msg);
    if (err == 0 &&
        (out->from == 0 || out->bytes_max == 0 || out->bytes_max > QV_TRANSFER_FEED_BYTES_MAX ||
         out->wait_ms > QV_TRANSFER_WAIT_MS_MAX))
        err = QV_CORRUPT(msg, "a transfer's question for changes");
    return err;
}

void qv_transfer_batch_encode(struct qv_buf *b, const struct qv_transfer_batch *m)
{
    qv_buf_u64(b, m->from);
    qv_buf_u64(b, m->to);
    qv_buf_u64(b, m->source_position);
    qv_buf_append(b, m->bytes.p, m->bytes.n);
}

int qv_transfer_batch_decode(struct qv_bytes in, struct qv_transfer_batch *out,
                             struct qv_errmsg *msg)
{
    struct qv_rd rd;
    qv_rd_init(&rd, in.p, in.n);
    out->from = qv_rd_u64(&rd);
    out->to = qv_rd_u64(&rd);
    out->source_position = qv_rd_u64(&rd);
    out->bytes = (struct qv_bytes){rd.p, qv_rd_left(&rd)};
    if (rd.failed || out->to < out->from || (out->to == out->from && out->bytes.n != 0))
        return QV_CORRUPT(msg, "a transfer's changes");
    return 0;
}

int qv_transfer_end_decode(struct qv_bytes in, uint64_t *id, struct qv_errmsg *msg)
{
    struct qv_rd rd;
    qv_rd_init(&rd, in.p, in.n);
    *id = qv_rd_u64(&rd);
    return ended(&rd, "end", msg);
}
