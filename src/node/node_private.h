/* Private to src/node: the node's fields, and what its files share. */
#ifndef QV_NODE_NODE_PRIVATE_H
#define QV_NODE_NODE_PRIVATE_H

#include "node/node_cluster.h"
#include "query/leaf_remote.h"
#include "query/reader.h"

#include <pthread.h>

#define QV_NODE_RECORD_ARENA_BYTES ((size_t)64 << 20)

/* A shard that lies here. */
struct qv_node_local {
    uint8_t uuid[QV_UUID_BYTES]; /* of its collection */
    uint32_t number;             /* in it */
    uint32_t store;              /* this node's store knows it by this number */
    uint64_t generation;         /* in a cluster: of the configuration it has */
    struct qv_shard *shard;      /* that requests may reach; NULL: none yet, or none any more */
};

struct qv_node {
    struct qv_env *env;
    struct qv_records *records;
    struct qv_store *store;
    char *dir;
    pthread_mutex_t lock; /* guards topology, locals, stats, quota */
    const struct qv_topology *topology;
    struct qv_node_local *locals; /* by uuid and number; owner writes under the lock */
    uint32_t local_count, local_cap;
    struct qv_store_stats stats;
    struct qv_quota quota;
    struct qv_timer timer;
    uint32_t next_shard;
    uint32_t writer;
    void (*closed)(void *arg, int err);
    void *closed_arg;
    struct {
        char *dir; /* NULL: none are made */
        uint64_t bytes_per_s;
        uint32_t tasks;  /* owner: under way */
        bool recovering; /* owner: one at a time */
        bool stopping;   /* owner */
    } snapshots;
    bool closing;                         /* owner: the store is closed once no task is under way */
    struct {                              /* owner; zeros: alone */
        struct qv_node_identity identity; /* of the records */
        struct qv_member self;
        struct qv_peers *peers;
        struct qv_membership *membership;
        const struct qv_topology *known; /* whose members the peers were told of */
        struct qv_buf copy;              /* of the last tree, until it is opened */
        uint32_t pieces;                 /* of the copy in the records */
        uint64_t saved_epoch;
        uint32_t serving; /* requests of other nodes under way */
        bool left;        /* closing waits for them */
        bool complete;    /* lock: what the tree asks for is done */
        int follow_err;   /* why what the tree asks for could not all be done */
        struct qv_errmsg follow_msg;
        struct qv_timer again;
        struct qv_node_waiting *waiting; /* node_confirm.c */
        struct qv_node_remote *remotes;  /* node_read.c */
        struct qv_node_moving *moving;   /* node_move.c, as all below */
        struct qv_timer move_timer;
        bool balancing;                      /* a move is being asked for */
        bool rebalance;                      /* nodes get equal parts by themselves */
        struct qv_node_transfers *transfers; /* node_transfer.c; NULL: none are served */
        void (*moves_closed)(struct qv_node *n);
        void (*closed)(void *arg); /* of the whole, when it is being closed */
        void *closed_arg;
    } cluster;
    struct qv_leaf leaf;       /* the shards here */
    struct qv_read_host reads; /* owner: what reads over several shards share */
};

/* node_leaf.c */
#define QV_NODE_HERE 0u /* the leaf of a node alone */
extern const struct qv_shard_ops qv_node_leaf_ops;
/* node_read.c */
void qv_node_init_reads(struct qv_node *n);

/* node.c; on the owner. Takes the reference to next: swaps the tree that requests see. */
void qv_node_set_topology(struct qv_node *n, const struct qv_topology *next);
/* Writes the collection's record. */
QV_MUST_USE int qv_node_save_collection(struct qv_node *n, const struct qv_collection *c,
                                        struct qv_errmsg *msg);

/* How the store is told of a collection's i-th shard. */
struct qv_shard_spec qv_node_spec_of(const struct qv_collection *c, uint32_t i, uint32_t store);
/* May a collection of that name and configuration be made? */
QV_MUST_USE int qv_node_check_new(struct qv_node *n, struct qv_str name,
                                  const struct qv_collection_config *config, struct qv_errmsg *msg);
void qv_node_new_uuid(struct qv_node *n, uint8_t out[QV_UUID_BYTES]);
/* node_local.c; on the owner. Pointers are valid until the next add or remove. */
struct qv_node_local *qv_node_local_find(struct qv_node *n, const uint8_t uuid[QV_UUID_BYTES],
                                         uint32_t number);
struct qv_node_local *qv_node_local_add(struct qv_node *n, const uint8_t uuid[QV_UUID_BYTES],
                                        uint32_t number, uint32_t store);
void qv_node_local_remove(struct qv_node *n, const uint8_t uuid[QV_UUID_BYTES], uint32_t number);
/* Requests reach the store's shard of that number from now on. */
void qv_node_local_reach(struct qv_node *n, struct qv_node_local *l, uint32_t store);
uint32_t qv_node_store_number(struct qv_node *n, const struct qv_collection *c,
                              uint32_t i); /* 0: it is not here */
/* Who takes a shard's changes, who answers its reads: a node's id; 0: this one. Any thread. */
uint64_t qv_node_writer_of(const struct qv_node *n, const struct qv_shard_place *s);
uint64_t qv_node_reader_of(const struct qv_node *n, const struct qv_shard_place *s);

/* node_serve.c: shares of writes that other nodes send. */
void qv_node_serve(struct qv_node *n, bool on);
/* node.c; owner: a request of another node is under way; the node is not freed meanwhile. */
void qv_node_serve_begin(struct qv_node *n);
void qv_node_serve_end(struct qv_node *n);
void qv_node_serve_reads(struct qv_node *n, bool on); /* node_serve_read.c */

void qv_node_survey_serve(struct qv_node *n, bool on); /* node_survey.c */

/* node_info.c: adds to the list how many of the shard's points hold a value at each indexed field;
 * and fills what sums and states of a collection's shards come to. */
QV_MUST_USE int qv_node_count_fields(struct qv_shard *s, unsigned reader, struct qv_arena *arena,
                                     const struct qv_collection_config *config,
                                     struct qv_payload_schema_entry *list, struct qv_errmsg *msg);
QV_MUST_USE int qv_node_tell_collection(const struct qv_collection *c,
                                        const struct qv_shard_info *info, struct qv_arena *arena,
                                        struct qv_collection_info *out);

/* node_read.c: who answers reads as that member; made when it is first asked for. */
struct qv_node_remote {
    struct qv_remote_leaf leaf;
    struct qv_node_remote *next;
};
void qv_node_free_remotes(struct qv_node *n);
void qv_node_close_store(struct qv_node *n);
void qv_node_collection_gone(void *arg); /* gives a reference to a collection back */
/* A collection whose shards leave the node: each holds a reference to c, whose configuration it
 * reads until it is gone. */
void qv_node_drop_shards(struct qv_node *n, const struct qv_collection *c);

#define QV_NODE_KEY_BYTES 80
void qv_node_collection_key(const struct qv_collection *c, char out[QV_NODE_KEY_BYTES]);

/* node.c: the records alone, without a store. Gives. */
QV_MUST_USE int qv_node_load_records(const struct qv_node_config *config, struct qv_node **out,
                                     struct qv_errmsg *msg);
QV_MUST_USE int qv_node_save_identity(struct qv_node *n, const struct qv_node_identity *identity,
                                      struct qv_errmsg *msg);
void qv_node_free_records(struct qv_node *n);

/* node_cluster.c */
void qv_node_cluster_encode_identity(const struct qv_node_identity *id, struct qv_buf *b);
QV_MUST_USE int qv_node_cluster_load(struct qv_node *n, const char *key, struct qv_bytes value,
                                     struct qv_errmsg *msg);
QV_MUST_USE int qv_node_cluster_recall(struct qv_node *n, struct qv_errmsg *msg);
QV_MUST_USE int qv_node_cluster_open(struct qv_node *n, const struct qv_node_cluster_config *config,
                                     struct qv_errmsg *msg);
/* What lies here and the tree, as one transaction of the records. */
QV_MUST_USE int qv_node_cluster_save(struct qv_node *n, struct qv_errmsg *msg);
void qv_node_cluster_changed(void *n); /* the tree is another, or it is tried again */
void qv_node_cluster_close(struct qv_node *n, void (*closed)(void *arg), void *arg);

/* node_confirm.c */
void qv_node_confirm_serve(struct qv_node *n, bool on);
void qv_node_confirm_settle(struct qv_node *n);
void qv_node_confirm_forget(struct qv_node *n); /* of a crash: without an answer */

/* node_move.c */
void qv_node_move_open(struct qv_node *n);
void qv_node_move_changed(struct qv_node *n); /* the tree is another */
void qv_node_move_close(struct qv_node *n, void (*closed)(struct qv_node *n));
void qv_node_move_forget(struct qv_node *n); /* frees without waiting */

/* node_change.c: the configuration that a change leaves; config == c's own: nothing changes. */
struct qv_node_change;
QV_MUST_USE int qv_node_changed_config(const struct qv_node_change *x,
                                       const struct qv_collection *c, struct qv_arena *arena,
                                       const struct qv_collection_config **config,
                                       struct qv_errmsg *msg);
/* node_alias.c: the list that the actions leave, in the arena. */
QV_MUST_USE int qv_node_changed_aliases(const struct qv_topology *t, const struct qv_alias_req *req,
                                        struct qv_arena *arena, struct qv_aliases_out *out,
                                        struct qv_errmsg *msg);
/* node_collection.c: may a collection of that name be made in that tree? */
QV_MUST_USE int qv_node_check_new_in(const struct qv_topology *t, struct qv_str name,
                                     const struct qv_collection_config *config,
                                     struct qv_errmsg *msg);

/* node_quota.c */
#define QV_NODE_QUOTA_KEY "quotas"
QV_MUST_USE int qv_node_decode_quota(struct qv_node *n, struct qv_bytes value,
                                     struct qv_errmsg *msg);

/* node_alias.c: the record of all aliases. */
#define QV_NODE_ALIAS_KEY "aliases"
void qv_node_encode_aliases(const struct qv_alias *list, uint32_t count, struct qv_buf *b);
/* The tree with the aliases that the record holds. Gives. */
QV_MUST_USE int qv_node_decode_aliases(const struct qv_topology *t, struct qv_bytes value,
                                       const struct qv_topology **out, struct qv_errmsg *msg);

#endif
