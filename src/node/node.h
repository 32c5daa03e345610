/* One node: its store, its metadata, the topology that requests see, and the operations on
 * collections. The edge (REST, gRPC, commands) works on this and knows nothing deeper.
 *
 * Threads: the store's owner changes collections and answers writes; compute workers read; anyone
 * may take the topology. */
#ifndef QV_SERVER_NODE_H
#define QV_SERVER_NODE_H

#include "cluster/membership.h"
#include "core/api.h"
#include "core/env.h"
#include "core/kv.h"
#include "core/records.h"
#include "shard/store.h"

struct qv_node;

/* What a node of a cluster needs beside what a node alone needs. */
struct qv_node_cluster_config {
    struct qv_meta *meta;   /* taken: closed with the node */
    struct qv_peers *peers; /* borrowed; open until the node is closed */
    struct qv_member self;  /* id and incarnation: of qv_node_identify */
    uint32_t writer;        /* likewise; unused by a proxy */
    bool rebalance;         /* as the controller it gives nodes equal parts by itself */
};

struct qv_node_config {
    struct qv_env *env;      /* borrowed; the store's */
    struct qv_kv_driver *kv; /* borrowed */
    const char *dir;         /* storage.storage_path; copied */
    uint64_t segment_bytes;  /* 0: defaults, as in shard/store.h */
    uint64_t checkpoint_bytes;
    uint64_t checkpoint_ms;
    uint32_t bulk_rows_min;
    const char *snapshots_dir;     /* storage.snapshots_path; NULL: no snapshots; copied */
    uint64_t snapshot_bytes_per_s; /* a task's pace; 0: as fast as it goes */
    uint64_t scrub_bytes_per_s;
    uint64_t scrub_rest_ms;
    const struct qv_node_cluster_config *cluster; /* NULL: alone */
};

/* Who a node is: its data directory's, made with its first start. A proxy has none and is somebody
 * else at each start. */
struct qv_node_identity {
    uint64_t id;          /* never 0 */
    uint64_t incarnation; /* +1 at each call: durable on return */
    uint32_t writer;      /* what its changes are stamped with; 0: none was claimed yet */
    uint8_t cluster[QV_CLUSTER_ID_BYTES]; /* zeros: it was in none yet */
};
/* Before qv_node_open. On the owner; blocks. QV_EINVAL: the directory holds the collections of a
 * node alone. */
QV_MUST_USE int qv_node_identify(const struct qv_node_config *config, uint8_t role,
                                 struct qv_node_identity *out, struct qv_errmsg *msg);
/* What cluster/founding.h told it, durable on return: writer and cluster. */
QV_MUST_USE int qv_node_found(const struct qv_node_config *config,
                              const struct qv_node_identity *identity, struct qv_errmsg *msg);

/* Opens or creates the node's data: metadata, shards, log. On the owner; blocks. QV_ECORRUPT names
 * the file. Gives. */
QV_MUST_USE int qv_node_open(const struct qv_node_config *config, struct qv_node **out,
                             struct qv_errmsg *msg);
/* Checkpoints and closes everything, then calls done on the owner. Readers and calls must be gone.
 * Takes n. */
void qv_node_close(struct qv_node *n, void (*done)(void *arg, int err), void *arg);

/* Frees without writing, as a crash would; only when no job can run any more (simulator). */
void qv_node_abandon(struct qv_node *n);

/* Checkpoints what needs it, then calls done (NULL: nobody waits) on the owner. Owner. */
void qv_node_checkpoint(struct qv_node *n, void (*done)(void *arg, int err), void *arg);

struct qv_env *qv_node_env(struct qv_node *n);

/* The present topology; give the reference back with qv_topology_unref. Any thread. */
const struct qv_topology *qv_node_topology(struct qv_node *n);

/* The first shard of a collection, with a reference (qv_shard_unref). Any thread. QV_ENOTFOUND when
 * the collection does not exist, with the API's text. */
QV_MUST_USE int qv_node_shard(struct qv_node *n, struct qv_str collection, struct qv_shard **out,
                              struct qv_errmsg *msg);
/* The i-th shard of a collection that a topology held by the caller names, with a reference. Any
 * thread. QV_ENOTFOUND when it is not here, or not any more. */
QV_MUST_USE int qv_node_shard_at(struct qv_node *n, const struct qv_collection *c, uint32_t i,
                                 struct qv_shard **out, struct qv_errmsg *msg);
/* Does its first shard lie on another node, or is it only on its way here? Any thread. */
bool qv_node_reads_elsewhere(struct qv_node *n, const struct qv_collection *c);
/* What the collection's shards on this node say, in one: sums, and the worst of their states. Any
 * thread. */
void qv_node_shard_info(struct qv_node *n, const struct qv_collection *c,
                        struct qv_shard_info *out);

/* ---- collections; on the owner ---- */

/* QV_EEXISTS, QV_EVALIDATION (name), QV_ELIMIT, QV_ENOTIMPL. Durable on return. */
QV_MUST_USE int qv_node_create_collection(struct qv_node *n, struct qv_str name,
                                          const struct qv_collection_config *config,
                                          struct qv_errmsg *msg);
/* By its own name; its aliases go with it. *existed false: there was none. */
QV_MUST_USE int qv_node_delete_collection(struct qv_node *n, struct qv_str name, bool *existed,
                                          struct qv_errmsg *msg);
/* Changes the configuration, generation + 1. A graph whose m or ef_construct is another now is
 * built anew in the background. QV_ENOTFOUND, QV_EINVAL (an unknown vector), QV_EVALIDATION,
 * QV_ENOTIMPL. */
QV_MUST_USE int qv_node_update_collection(struct qv_node *n, struct qv_str name,
                                          const struct qv_config_diff *diff, struct qv_errmsg *msg);
/* Adds a named vector, empty; 0 when it is there and defined alike. QV_ENOTFOUND, QV_EINVAL (there
 * and different), QV_EVALIDATION. */
QV_MUST_USE int qv_node_create_vector(struct qv_node *n, struct qv_str name,
                                      const struct qv_vector_spec *spec, struct qv_errmsg *msg);
/* Removes a named vector with what the points hold of it; 0 when there is none. */
QV_MUST_USE int qv_node_delete_vector(struct qv_node *n, struct qv_str name, struct qv_str vector,
                                      struct qv_errmsg *msg);
/* Runs the actions in order, all of them or none. QV_ENOTFOUND (a collection to name, an alias to
 * rename), QV_EEXISTS (a collection has that name), QV_EVALIDATION (name), QV_ELIMIT. */
QV_MUST_USE int qv_node_update_aliases(struct qv_node *n, const struct qv_alias_req *req,
                                       struct qv_errmsg *msg);
/* Adds or replaces the declaration of a payload index, whose options are checked (QV_EINVAL);
 * without index: removes that of field. */
QV_MUST_USE int qv_node_set_payload_index(struct qv_node *n, struct qv_str name,
                                          struct qv_str field, const struct qv_payload_index *index,
                                          struct qv_errmsg *msg);

/* ---- telling; any thread ---- */

/* Lives in the arena and borrows c. On a compute worker. */
QV_MUST_USE int qv_node_collection_info(struct qv_node *n, const struct qv_collection *c,
                                        unsigned reader, struct qv_arena *arena,
                                        struct qv_collection_info *out, struct qv_errmsg *msg);
/* Fills msg with the API's text for a collection that is not there; QV_ENOTFOUND. */
int qv_node_missing(struct qv_str name, struct qv_errmsg *msg);

/* A snapshot that the owner takes every 100 ms. */
void qv_node_stats(struct qv_node *n, struct qv_store_stats *out);

/* storage.storage_path */
const char *qv_node_dir(const struct qv_node *n);

/* ---- quotas ---- */

void qv_node_quota(struct qv_node *n, struct qv_quota *out); /* any thread */
/* Durable on return. On the owner. */
QV_MUST_USE int qv_node_set_quota(struct qv_node *n, const struct qv_quota *quota,
                                  struct qv_errmsg *msg);

/* Names of collections as the API allows them. QV_EVALIDATION. */
QV_MUST_USE int qv_node_check_name(struct qv_str name, struct qv_errmsg *msg);

/* ---- a stopped node: `quiver check` ---- */

QV_MUST_USE int qv_node_check(const struct qv_node_config *config,
                              const struct qv_store_listener *listener,
                              struct qv_store_check_summary *out, struct qv_errmsg *msg);

#endif
