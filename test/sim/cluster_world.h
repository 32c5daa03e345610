/* A whole cluster in one process: nodes of src/node over simulated disks, network and metadata,
 * clients that write and read through any of them, faults of every kind, and a history by which
 * each answer is judged. One thread; everything follows from the seed. */
#ifndef QV_TEST_CLUSTER_WORLD_H
#define QV_TEST_CLUSTER_WORLD_H

#include "base/rng.h"
#include "cluster/founding.h"
#include "io/sim_disk.h"
#include "io/sim_kv.h"
#include "io/sim_meta.h"
#include "io/sim_net.h"
#include "node/node_cluster.h"
#include "node/node_read.h"
#include "node/node_write.h"

#define CW_NODES_MAX 8u
#define CW_KEYS 20u
#define CW_DIM 4u
#define CW_OPS_MAX 24u
#define CW_SHARDS_MAX 6u
#define CW_WRITES_MAX 4000u /* of one key, in one life of the world */

/* What was written to a key. value 0: it was deleted. acked 0: not known (yet). */
struct cw_write {
    uint64_t value;
    uint64_t invoked_ns, acked_ns;
    uint64_t seen_ns; /* the first answer that showed it had come; 0: none yet */
    uint64_t over_ns; /* an answer that showed another value after that had come; 0: none yet */
};

struct cw_key {
    struct cw_write *writes; /* the first: never there, acknowledged before everything */
    uint32_t count;
};

struct cw_node {
    struct cluster_world *w;
    uint64_t id, incarnation;
    uint8_t role;
    char host[16];
    struct qv_sim_node *sim;
    struct qv_disk *disk;
    struct qv_kv_driver *kv;
    struct qv_meta *meta;
    struct qv_peers *peers;
    struct qv_node *node; /* NULL: it is down */
    struct qv_node_identity identity;
    uint64_t back_ns; /* when it starts again; 0: it is up, or on its way */
    struct qv_founding founding;
    bool founding_busy, founded;
    int founding_err;
    uint64_t life; /* of the process: calls begun in another one have ended with it */
};

enum cw_op_kind { CW_UPSERT, CW_DELETE, CW_GET, CW_SEARCH, CW_SCROLL, CW_COUNT, CW_ADMIN };

struct cw_op {
    struct cluster_world *w;
    struct cw_node *at;
    uint64_t life;
    enum cw_op_kind kind;
    bool busy;
    uint64_t begun_ns;
    uint32_t keys[4], writes[4]; /* of a write: key and place in its history */
    uint32_t key_count;
    struct qv_arena arena;
    const struct qv_topology *topology;
    struct qv_node_write write;
    struct qv_write_req write_req;
    struct qv_write_op write_op;
    struct qv_node_read read;
    struct qv_query query;
    struct qv_query_req query_req;
    struct qv_get_req get;
    struct qv_scroll_req scroll;
    struct qv_count_req count;
    struct qv_node_change change;
    struct qv_collection_config config;
    struct qv_placement_range ranges[2 * CW_SHARDS_MAX]; /* config's */
    float vector[CW_DIM];
};

/* How often what happened; a run in which one never did says so. */
#define CW_BRANCHES(X)                                                                             \
    X(writes_acked)                                                                                \
    X(writes_unknown)                                                                              \
    X(writes_refused)                                                                              \
    X(reads_answered)                                                                              \
    X(reads_refused)                                                                               \
    X(changes_done)                                                                                \
    X(changes_refused)                                                                             \
    X(processes_killed)                                                                            \
    X(powers_off)                                                                                  \
    X(starts)                                                                                      \
    X(controllers)                                                                                 \
    X(moves_begun)                                                                                 \
    X(moves_done)                                                                                  \
    X(moves_taken_back)                                                                            \
    X(through_proxy)                                                                               \
    X(by_hash)                                                                                     \
    X(by_ring)                                                                                     \
    X(by_range)                                                                                    \
    X(metadata_away)

struct cw_branches {
#define X(name) uint64_t name;
    CW_BRANCHES(X)
#undef X
};

struct cw_config {
    uint64_t seed;
    uint32_t nodes, proxies; /* proxies are of the nodes */
    uint32_t shards;         /* of the collection */
    bool faults;
    bool moves; /* clients move shards, too */
};

struct cluster_world {
    struct cw_config config;
    struct qv_rng rng;
    struct qv_sim *sim;
    struct qv_sim_meta *store;
    struct qv_sim_net *net;
    struct cw_node nodes[CW_NODES_MAX];
    struct cw_key keys[CW_KEYS];
    struct cw_op ops[CW_OPS_MAX];
    uint64_t value;                             /* the last that was written */
    struct qv_slot_place places[QV_SHARDS_MAX]; /* of the collection, as last seen */
    uint64_t controller;
    struct qv_vector_config vector_config;
    struct qv_collection_config collection;
    struct qv_placement_range ranges[2 * CW_SHARDS_MAX]; /* collection's */
    struct cw_branches *branches;
    bool settled;    /* all faults healed: nothing may be refused */
    char wrong[600]; /* what a checker found; "": nothing */
    const char *checker;
};

void cw_open(struct cluster_world *w, const struct cw_config *config, struct cw_branches *branches);
void cw_close(struct cluster_world *w);
/* Lives for so long: clients work, parts fail and return. Ends early when something is wrong. */
void cw_run(struct cluster_world *w, uint64_t ns);
/* Everything returns; then all that was acknowledged is there, on every node alike. */
void cw_settle(struct cluster_world *w);

void cw_tend(struct cluster_world *w); /* starts nodes whose time has come */

/* cluster_clients.c */
void cw_client_step(struct cluster_world *w); /* begins an operation at some node */
void cw_forget_ops(struct cluster_world *w, const struct cw_node *n); /* its process has gone */
bool cw_busy(const struct cluster_world *w);
void cw_read_all(struct cluster_world *w); /* through every node that is up */
void cw_make_collection(struct cluster_world *w);
void cw_fail(struct cluster_world *w, const char *checker, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
