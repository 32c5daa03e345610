/* Private to src/shard: what a checkpoint writes and an open reads. */
#ifndef QV_SHARD_CHECKPOINT_H
#define QV_SHARD_CHECKPOINT_H

#include "shard/shard_private.h"
#include "storage/statefile.h"

#define QV_SLOTS_FILE_KIND 0x544F4C53u /* "SLOT" */
#define QV_GRAPH_FILE_KIND 0x48505247u /* "GRPH" */
#define QV_SHARD_PATH_MAX 4096

struct qv_checkpoint_vector {
    uint32_t number;
    bool has_graph;
    struct qv_statefile_info graph;
};

/* The value under QV_META_KEY: the commit. */
struct qv_checkpoint_record {
    uint32_t shard;
    uint8_t uuid[16];
    uint32_t generation;
    qv_lsn lsn; /* everything below it is in here */
    uint64_t file_number;
    struct qv_version last_version;
    uint64_t prev_clock;
    struct qv_statefile_info slots;
    uint32_t vector_count;
    struct qv_checkpoint_vector vectors[QV_SHARD_VECTORS_MAX];
    uint32_t stream_count;
    struct qv_stream streams[2 * QV_STREAMS_MAX]; /* what was replayed, up to where */
};

void qv_checkpoint_encode(const struct qv_checkpoint_record *r, struct qv_buf *b);
QV_MUST_USE int qv_checkpoint_decode(struct qv_bytes bytes, struct qv_checkpoint_record *r,
                                     struct qv_errmsg *msg);
/* The payload store's commit; *found false when it holds none. Blocks. */
QV_MUST_USE int qv_checkpoint_read(struct qv_shard *s, struct qv_checkpoint_record *r, bool *found,
                                   struct qv_errmsg *msg);
/* slots-<number> (vector < 0) or graph-<its number>-<number>. */
void qv_checkpoint_path(const struct qv_shard *s, char *out, size_t n, int vector, uint64_t number);

/* Reads slots-<n> into the (empty) table, with ghosts and the presence bits (owned by the caller:
 * (vectors + 7) / 8 bytes a slot). QV_ECORRUPT names what is wrong. */
QV_MUST_USE int qv_checkpoint_read_slots(struct qv_shard *s, const struct qv_checkpoint_record *r,
                                         uint8_t **present, struct qv_errmsg *msg);

#endif
