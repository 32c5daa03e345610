/* What nodes tell each other of themselves and of the shards that lie on them, as bytes: bodies of
 * QV_PEER_INFO. The messages are InfoAsk and InfoAnswer of proto/quiver_internal_shard.proto; how
 * they are read and written, and the errors, are wire/peer_codec.h's. Any thread; no state. */
#ifndef QV_WIRE_PEER_INFO_H
#define QV_WIRE_PEER_INFO_H

#include "base/arena.h"
#include "core/config.h"

#define QV_TELL_UUID_BYTES 16
#define QV_TELL_SHARDS_MAX 65536u
#define QV_TELL_FIELDS_MAX 65536u
#define QV_TELL_TEXT_BYTES_MAX 512u

struct qv_tell_ask {
    bool one; /* only the shards of this collection */
    uint8_t collection[QV_TELL_UUID_BYTES];
    bool fields; /* also how many points hold a value at each indexed field: reads payloads */
};

/* How many points of a shard hold a value at a field, by the number of its payload index. */
struct qv_tell_field {
    uint32_t index;
    uint64_t points;
};

/* A shard. Sums and texts as in shard/shard.h. */
struct qv_shard_tell {
    uint8_t collection[QV_TELL_UUID_BYTES];
    uint32_t number;
    uint64_t points, indexed_vectors, pending;
    uint64_t dirty_bytes, disk_bytes, vector_bytes, payload_bytes, payload_index_bytes;
    int err; /* why it is quarantined or read-only; 0: healthy */
    struct qv_str reason, log_reason, damage, failing;
    const struct qv_tell_field *fields;
    uint32_t field_count;
};

/* A node. */
struct qv_node_tell {
    uint64_t epoch;        /* of the tree that it follows */
    bool reachable;        /* the metadata, from there */
    struct qv_str why;     /* what is wrong with it; "": nothing */
    struct qv_str version; /* of the program */
    const struct qv_shard_tell *shards;
    uint32_t shard_count;
};

void qv_peer_encode_tell_ask(struct qv_buf *b, const struct qv_tell_ask *ask);
QV_MUST_USE int qv_peer_decode_tell_ask(struct qv_bytes in, struct qv_tell_ask *out,
                                        struct qv_errmsg *msg);

void qv_peer_encode_tell(struct qv_buf *b, const struct qv_node_tell *t);
/* Borrows `in`; lists lie in the arena. */
QV_MUST_USE int qv_peer_decode_tell(struct qv_bytes in, struct qv_arena *arena,
                                    struct qv_node_tell *out, struct qv_errmsg *msg);

#endif
