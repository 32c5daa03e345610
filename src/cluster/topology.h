/* The topology: which nodes, collections and shards there are, and who holds what, as one immutable
 * value.
 *
 * A change makes a new tree that shares the branches it does not touch; readers take a reference to
 * the tree and keep it for a request, so what they see is one state. Names exist here and at the
 * edge only: a collection is its uuid, a shard its number in it (both never used again).
 *
 * A shard's record carries its incarnation and the epoch of its own last change: that is what
 * requests between nodes name. Changes elsewhere make no request stale.
 *
 * Trees and collections are reference-counted; any thread may hold and give back references. */
#ifndef QV_CLUSTER_TOPOLOGY_H
#define QV_CLUSTER_TOPOLOGY_H

#include "cluster/placement.h"
#include "core/api.h"

#define QV_UUID_BYTES 16

#define QV_MEMBER_HOST_BYTES_MAX 256u
#define QV_MEMBER_ZONE_BYTES_MAX 64u
#define QV_SHARD_SLOTS_MAX 8u /* copies of a shard */

enum qv_role { QV_ROLE_ALL, QV_ROLE_PROXY, QV_ROLE_SHARD };

enum qv_member_state {
    QV_MEMBER_ACTIVE,
    QV_MEMBER_DRAINING, /* what it holds goes elsewhere, it gets nothing new */
    QV_MEMBER_STATE_COUNT
};

/* A node as the cluster knows it. */
struct qv_member {
    uint64_t id;          /* of its data directory (a proxy's: of its process); never 0 */
    uint64_t incarnation; /* grows with each start */
    uint8_t role;         /* enum qv_role */
    uint8_t state;        /* enum qv_member_state */
    char host[QV_MEMBER_HOST_BYTES_MAX];
    char zone[QV_MEMBER_ZONE_BYTES_MAX]; /* "": none given */
    uint16_t peer_port, http_port, grpc_port;
    uint32_t protocol_min, protocol_max; /* of messages between nodes */
    uint32_t feature_level;
};

/* A slot is a copy's place. How far it is on its way from one holder to the next (CONSISTENCY.md,
 * "A slot changes hands"). */
enum qv_step {
    QV_STEP_NONE,      /* its holder has it, nobody else */
    QV_STEP_FOLLOW,    /* next copies and is sent every change; it counts for nothing */
    QV_STEP_BOTH,      /* a write counts when both have it; reads use holder */
    QV_STEP_NEW_READS, /* writes as before; reads use next */
    QV_STEP_COUNT
};

struct qv_slot_place {
    uint64_t holder;   /* a member's id */
    uint64_t next;     /* 0: none */
    uint64_t transfer; /* fences late messages of an earlier transfer */
    uint8_t step;      /* enum qv_step */
};

/* One shard of a collection. */
struct qv_shard_place {
    uint32_t number;      /* within the collection; never used again */
    uint32_t incarnation; /* grows when a snapshot is restored into it */
    uint32_t slot_count;  /* 0: a node alone, which holds everything */
    uint64_t epoch;       /* of the tree in which it last changed */
    struct qv_slot_place slots[QV_SHARD_SLOTS_MAX];
};

struct qv_collection {
    struct qv_str name;
    uint8_t uuid[QV_UUID_BYTES];
    uint64_t generation; /* of the configuration */
    const struct qv_collection_config *config;
    uint32_t shard_count;
    const struct qv_shard_place *shards;  /* ascending by number */
    const struct qv_placement *placement; /* of the points over these shards */
};

struct qv_topology {
    uint64_t epoch;
    uint32_t count;
    const struct qv_collection *const *collections; /* ascending by name */
    struct qv_aliases_out aliases;
    uint32_t member_count;           /* 0: a node alone */
    const struct qv_member *members; /* ascending by id */
};

/* What a new collection value is made of; copied. before: the same collection's previous value
 * (NULL when it is new). A config that is before's own is shared with it; where it is another, the
 * earlier one is kept alive with it, since shards may still read it. */
struct qv_collection_spec {
    struct qv_str name;
    uint8_t uuid[QV_UUID_BYTES];
    uint64_t generation;
    const struct qv_collection_config *config;
    uint32_t shard_count;
    const struct qv_shard_place *shards; /* ascending by number */
    const struct qv_collection *before;
};

/* Gives a reference. QV_EINVAL: the configuration's placement does not fit the shards
 * (qv_placement_check tells why); QV_ENOMEM. The placement is before's own where both were made of
 * the same. */
QV_MUST_USE int qv_collection_create(const struct qv_collection_spec *spec,
                                     const struct qv_collection **out);
void qv_collection_ref(const struct qv_collection *c);
void qv_collection_unref(const struct qv_collection *c); /* NULL is fine */

/* Which of c->shards holds the point of that id: an index. */
uint32_t qv_collection_owner(const struct qv_collection *c, const struct qv_id *id);
/* The points that the i-th of c->shards may hold. Borrowed from c. */
const struct qv_key_set *qv_collection_keys(const struct qv_collection *c, uint32_t i);
/* The shards' numbers into out[c->shard_count]: what a placement of them is made with. */
void qv_collection_numbers(const struct qv_collection *c, uint32_t *out);

/* The empty tree at an epoch. Gives a reference. */
const struct qv_topology *qv_topology_create(uint64_t epoch);
/* The tree at `epoch` in which c (its reference is taken over) stands for its name; it replaces a
 * collection of that name. Gives; t is only read. */
const struct qv_topology *qv_topology_with(const struct qv_topology *t, uint64_t epoch,
                                           const struct qv_collection *c);
/* The tree without that name and its aliases. */
const struct qv_topology *qv_topology_without(const struct qv_topology *t, uint64_t epoch,
                                              struct qv_str name);
/* The tree with these aliases instead of its own: distinct names in any order, copied. */
const struct qv_topology *qv_topology_with_aliases(const struct qv_topology *t, uint64_t epoch,
                                                   const struct qv_alias *list, uint32_t count);
/* The tree with these members instead of its own: distinct ids in any order, copied. */
const struct qv_topology *qv_topology_with_members(const struct qv_topology *t, uint64_t epoch,
                                                   const struct qv_member *list, uint32_t count);
void qv_topology_ref(const struct qv_topology *t);
void qv_topology_unref(const struct qv_topology *t); /* NULL is fine */

/* By its name or an alias. NULL when there is none. Borrowed from t. */
const struct qv_collection *qv_topology_find(const struct qv_topology *t, struct qv_str name);
/* By its own name only: what makes, removes and names collections. */
const struct qv_collection *qv_topology_find_own(const struct qv_topology *t, struct qv_str name);
const struct qv_collection *qv_topology_by_uuid(const struct qv_topology *t,
                                                const uint8_t uuid[QV_UUID_BYTES]);
/* NULL when there is none of that number. Borrowed from c. */
const struct qv_shard_place *qv_collection_shard(const struct qv_collection *c, uint32_t number);
/* NULL when there is none of that id. Borrowed from t. */
const struct qv_member *qv_topology_member(const struct qv_topology *t, uint64_t id);
/* NULL when no alias has that name. Borrowed from t. */
const struct qv_alias *qv_topology_alias(const struct qv_topology *t, struct qv_str name);

#endif
