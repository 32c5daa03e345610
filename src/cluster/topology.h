/* The topology: which collections and shards there are, as one immutable value.
 *
 * A change makes a new tree that shares the collections it does not touch; readers take a reference
 * to the tree and keep it for a request, so what they see is one state. Names exist here and at the
 * edge only: a collection is its uuid, a shard its number (both never used again).
 *
 * Trees and collections are reference-counted; any thread may hold and give back references. */
#ifndef QV_CLUSTER_TOPOLOGY_H
#define QV_CLUSTER_TOPOLOGY_H

#include "core/api.h"

#define QV_UUID_BYTES 16

/* One shard of a collection. */
struct qv_shard_place {
    uint32_t number; /* within the collection; never used again */
    uint32_t store;  /* this node's store knows it by this number; 0: it is not here */
};

struct qv_collection {
    struct qv_str name;
    uint8_t uuid[QV_UUID_BYTES];
    uint64_t generation; /* of the configuration */
    const struct qv_collection_config *config;
    uint32_t shard_count;
    const struct qv_shard_place *shards; /* ascending by number */
};

struct qv_topology {
    uint64_t epoch;
    uint32_t count;
    const struct qv_collection *const *collections; /* ascending by name */
    struct qv_aliases_out aliases;
};

/* What a new collection value is made of; copied. before: the same collection's previous value
 * (NULL when it is new): it is kept alive with the new one, since shards may still read its
 * configuration. */
struct qv_collection_spec {
    struct qv_str name;
    uint8_t uuid[QV_UUID_BYTES];
    uint64_t generation;
    const struct qv_collection_config *config;
    uint32_t shard_count;
    const struct qv_shard_place *shards; /* ascending by number */
    const struct qv_collection *before;
};

/* Gives a reference. QV_ENOMEM. */
QV_MUST_USE int qv_collection_create(const struct qv_collection_spec *spec,
                                     const struct qv_collection **out);
void qv_collection_ref(const struct qv_collection *c);
void qv_collection_unref(const struct qv_collection *c); /* NULL is fine */

/* Which of c->shards holds the point of that id: an index. */
uint32_t qv_collection_owner(const struct qv_collection *c, const struct qv_id *id);

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
void qv_topology_ref(const struct qv_topology *t);
void qv_topology_unref(const struct qv_topology *t); /* NULL is fine */

/* By its name or an alias. NULL when there is none. Borrowed from t. */
const struct qv_collection *qv_topology_find(const struct qv_topology *t, struct qv_str name);
/* By its own name only: what makes, removes and names collections. */
const struct qv_collection *qv_topology_find_own(const struct qv_topology *t, struct qv_str name);
/* NULL when no alias has that name. Borrowed from t. */
const struct qv_alias *qv_topology_alias(const struct qv_topology *t, struct qv_str name);

#endif
