/* The topology as records of the metadata (core/meta.h): one a node, a collection, a shard, and one
 * for all aliases.
 *
 *   cluster                  16 bytes: the cluster's id, made once
 *   writers                  u32: the last writer id that was given
 *   epoch                    u64: of the newest change; every change compares and advances it
 *   change                   u64: chance's name for the newest change; tells its maker, whose
 *                            answer was lost, whether it was done
 *   controller               u64: the elected node; lives as long as its lease
 *   nodes/<id>               16 hex digits
 *   collections/<uuid>       32 hex digits
 *   shards/<uuid>/<number>   and 8 hex digits
 *   aliases
 *
 * A value is a version u16 and then its fields, little-endian, texts with a u16 length. A newer
 * version adds fields at the end: what follows the known ones is passed over. Nothing here is ever
 * larger than a few hundred bytes but a collection's configuration and the aliases. */
#ifndef QV_CLUSTER_TREE_RECORD_H
#define QV_CLUSTER_TREE_RECORD_H

#include "cluster/topology.h"

#include "base/buf.h"

#define QV_TREE_CLUSTER "cluster"
#define QV_TREE_WRITERS "writers"
#define QV_TREE_EPOCH "epoch"
#define QV_TREE_CHANGE "change"
#define QV_TREE_CONTROLLER "controller"
#define QV_TREE_ALIASES "aliases"
#define QV_TREE_NODES "nodes/"
#define QV_TREE_COLLECTIONS "collections/"
#define QV_TREE_SHARDS "shards/"
#define QV_TREE_KEY_BYTES 64u

void qv_tree_member_key(uint64_t id, char out[QV_TREE_KEY_BYTES]);
void qv_tree_collection_key(const uint8_t uuid[QV_UUID_BYTES], char out[QV_TREE_KEY_BYTES]);
void qv_tree_shard_key(const uint8_t uuid[QV_UUID_BYTES], uint32_t number,
                       char out[QV_TREE_KEY_BYTES]);
/* Of "collections/<uuid>" and "shards/<uuid>/<number>" (number NULL: not wanted). False: it is no
 * such key. */
bool qv_tree_key_uuid(const char *key, uint8_t uuid[QV_UUID_BYTES], uint32_t *number);

void qv_tree_encode_member(struct qv_buf *b, const struct qv_member *m);
void qv_tree_encode_shard(struct qv_buf *b, const struct qv_shard_place *s);
/* Name, generation, configuration; its shards are records of their own. */
void qv_tree_encode_collection(struct qv_buf *b, const struct qv_collection *c);
void qv_tree_encode_aliases(struct qv_buf *b, const struct qv_alias *list, uint32_t count);

/* QV_ECORRUPT with a reason; QV_ENOTIMPL: of a version that this build does not know. */
QV_MUST_USE int qv_tree_decode_member(struct qv_bytes value, struct qv_member *out,
                                      struct qv_errmsg *msg);
QV_MUST_USE int qv_tree_decode_shard(struct qv_bytes value, struct qv_shard_place *out,
                                     struct qv_errmsg *msg);
/* Borrows value; config lies in the arena. */
struct qv_tree_collection {
    struct qv_str name;
    uint64_t generation;
    struct qv_bytes config; /* JSON; qv_tree_decode_config reads it */
};
QV_MUST_USE int qv_tree_decode_collection(struct qv_bytes value, struct qv_tree_collection *out,
                                          struct qv_errmsg *msg);
QV_MUST_USE int qv_tree_decode_config(struct qv_bytes json, struct qv_arena *arena,
                                      struct qv_collection_config *out, struct qv_errmsg *msg);
/* The list lies in the arena and borrows value. */
QV_MUST_USE int qv_tree_decode_aliases(struct qv_bytes value, struct qv_arena *arena,
                                       struct qv_aliases_out *out, struct qv_errmsg *msg);

#endif
