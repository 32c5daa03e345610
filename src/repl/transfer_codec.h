/* The bytes of a transfer: its manifest, what a target keeps of it, and the messages between the
 * two ends (docs/protocol-shards.md). Integers are little-endian.
 *
 *   manifest   u16 version (1), u64 position, n x {u32 bytes, u64 hash}, u64 hash of all before.
 *              n follows from the length. hash: XXH3-64
 *   state      u32 bytes of the manifest, manifest, ceil(n / 8) bytes: bit i says that chunk i is
 *              here
 *   BEGIN      u16 version (1), u64 transfer, 16 bytes collection, u32 from shard, u32 to shard,
 *              u64 from node, u64 to node, u8 whole, u64 covered (the target has everything up to
 *              there; 0: it asks for the manifest), u64 hash of the manifest that it has (0: none),
 *              set of keys unless whole
 *    answer    u64 source's position, then the manifest; nothing when the target has that one
 *   CHUNK      u64 transfer, u64 the manifest's hash, u32 chunk; answer: its bytes
 *   FEED       u64 transfer, u64 from (confirms it), u32 bytes at most, u32 ms to wait at most
 *    answer    u64 from, u64 to, u64 source's position, the batch (docs/formats.md)
 *   END        u64 transfer; answer: nothing
 *
 * Decoders check everything; pure functions, any thread. */
#ifndef QV_REPL_TRANSFER_CODEC_H
#define QV_REPL_TRANSFER_CODEC_H

#include "base/arena.h"
#include "repl/transfer.h"

/* ---- manifest ---- */

struct qv_transfer_manifest {
    uint64_t position; /* of the state that the chunks are; not 0 */
    uint64_t bytes;    /* of all chunks */
    uint64_t hash;     /* of the manifest: what it is told from others by */
    uint32_t count;
    const uint8_t *chunks; /* borrowed from what was decoded */
};

void qv_transfer_manifest_begin(struct qv_buf *b, uint64_t position);
/* The next chunk: 1 to QV_TRANSFER_CHUNK_BYTES bytes. */
void qv_transfer_manifest_add(struct qv_buf *b, struct qv_bytes chunk);
void qv_transfer_manifest_end(struct qv_buf *b);
/* QV_ECORRUPT; QV_ENOTIMPL: a later version. */
QV_MUST_USE int qv_transfer_manifest_decode(struct qv_bytes in, struct qv_transfer_manifest *out,
                                            struct qv_errmsg *msg);
uint32_t qv_transfer_chunk_bytes(const struct qv_transfer_manifest *m, uint32_t chunk);
bool qv_transfer_chunk_is(const struct qv_transfer_manifest *m, uint32_t chunk,
                          struct qv_bytes bytes);

/* ---- what a target has ---- */

/* have: ceil(count / 8) bytes. */
void qv_transfer_state_encode(struct qv_buf *b, struct qv_bytes manifest, const uint8_t *have);
QV_MUST_USE int qv_transfer_state_decode(struct qv_bytes in, struct qv_bytes *manifest,
                                         struct qv_transfer_manifest *out, const uint8_t **have,
                                         struct qv_errmsg *msg);

/* ---- messages ---- */

struct qv_transfer_begin {
    struct qv_transfer_spec spec; /* its keys: in the arena */
    uint64_t covered;
    uint64_t known; /* hash of the manifest that the target has */
};
void qv_transfer_begin_encode(struct qv_buf *b, const struct qv_transfer_begin *m);
QV_MUST_USE int qv_transfer_begin_decode(struct qv_bytes in, struct qv_arena *arena,
                                         struct qv_transfer_begin *out, struct qv_errmsg *msg);

struct qv_transfer_chunk_ask {
    uint64_t id, manifest;
    uint32_t chunk;
};
void qv_transfer_chunk_encode(struct qv_buf *b, const struct qv_transfer_chunk_ask *m);
QV_MUST_USE int qv_transfer_chunk_decode(struct qv_bytes in, struct qv_transfer_chunk_ask *out,
                                         struct qv_errmsg *msg);

#define QV_TRANSFER_FEED_BYTES_MAX ((uint32_t)4 << 20) /* asked for; one change may be larger */
#define QV_TRANSFER_WAIT_MS_MAX 10000u

struct qv_transfer_feed_ask {
    uint64_t id, from;
    uint32_t bytes_max, wait_ms;
};
void qv_transfer_feed_encode(struct qv_buf *b, const struct qv_transfer_feed_ask *m);
QV_MUST_USE int qv_transfer_feed_decode(struct qv_bytes in, struct qv_transfer_feed_ask *out,
                                        struct qv_errmsg *msg);

struct qv_transfer_batch {
    uint64_t from, to, source_position;
    struct qv_bytes bytes; /* borrowed; n == 0: no changes */
};
void qv_transfer_batch_encode(struct qv_buf *b, const struct qv_transfer_batch *m);
QV_MUST_USE int qv_transfer_batch_decode(struct qv_bytes in, struct qv_transfer_batch *out,
                                         struct qv_errmsg *msg);

QV_MUST_USE int qv_transfer_end_decode(struct qv_bytes in, uint64_t *id, struct qv_errmsg *msg);

#endif
