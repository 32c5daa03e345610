#include "cluster/topology.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdatomic.h>
#include <string.h>

#define COLLECTION_ARENA_BYTES ((size_t)64 << 20)

struct collection_box {
    struct qv_collection value; /* first: a collection is its box */
    atomic_uint refs;
    struct qv_arena arena;
    const struct qv_collection *before;
};

struct topology_box {
    struct qv_topology value; /* first */
    atomic_uint refs;
    const struct qv_collection *collections[];
};

static struct collection_box *collection_box(const struct qv_collection *c)
{
    return (struct collection_box *)(uintptr_t)c;
}

static struct topology_box *topology_box(const struct qv_topology *t)
{
    return (struct topology_box *)(uintptr_t)t;
}

int qv_collection_create(const struct qv_collection_spec *spec, const struct qv_collection **out)
{
    struct collection_box *box = qv_mem_calloc(1, sizeof *box);
    struct qv_collection *c = &box->value;
    QV_ASSERT(spec->name.n > 0 && spec->shard_count > 0);
    qv_arena_init(&box->arena, COLLECTION_ARENA_BYTES);
    atomic_init(&box->refs, 1);
    c->name =
        (struct qv_str){qv_arena_strndup(&box->arena, spec->name.p, spec->name.n), spec->name.n};
    memcpy(c->uuid, spec->uuid, sizeof c->uuid);
    c->generation = spec->generation;
    c->config = qv_config_copy(&box->arena, spec->config);
    c->shards = qv_arena_dup(&box->arena, spec->shards, spec->shard_count * sizeof *spec->shards);
    c->shard_count = spec->shard_count;
    if (c->name.p == NULL || c->config == NULL || c->shards == NULL) {
        qv_arena_close(&box->arena);
        qv_mem_free(box);
        return QV_ENOMEM;
    }
    box->before = spec->before;
    if (box->before != NULL)
        qv_collection_ref(box->before);
    *out = c;
    return 0;
}

void qv_collection_ref(const struct qv_collection *c)
{
    atomic_fetch_add(&collection_box(c)->refs, 1);
}

void qv_collection_unref(const struct qv_collection *c)
{
    while (c != NULL) { /* down the chain of earlier values */
        struct collection_box *box = collection_box(c);
        if (atomic_fetch_sub(&box->refs, 1) != 1)
            return;
        c = box->before;
        qv_arena_close(&box->arena);
        qv_mem_free(box);
    }
}

static struct topology_box *tree_alloc(uint64_t epoch, uint32_t room)
{
    struct topology_box *box =
        qv_mem_calloc(1, sizeof *box + room * sizeof(struct qv_collection *));
    atomic_init(&box->refs, 1);
    box->value.epoch = epoch;
    box->value.collections = box->collections;
    return box;
}

const struct qv_topology *qv_topology_create(uint64_t epoch)
{
    return &tree_alloc(epoch, 0)->value;
}

static void tree_add(struct topology_box *box, const struct qv_collection *c)
{
    box->collections[box->value.count++] = c;
}

const struct qv_topology *qv_topology_with(const struct qv_topology *t, uint64_t epoch,
                                           const struct qv_collection *c)
{
    struct topology_box *box = tree_alloc(epoch, t->count + 1);
    bool placed = false;
    for (uint32_t i = 0; i < t->count; i++) {
        int order = qv_str_compare(t->collections[i]->name, c->name);
        if (order >= 0 && !placed) {
            tree_add(box, c);
            placed = true;
        }
        if (order != 0) {
            qv_collection_ref(t->collections[i]);
            tree_add(box, t->collections[i]);
        }
    }
    if (!placed)
        tree_add(box, c);
    return &box->value;
}

const struct qv_topology *qv_topology_without(const struct qv_topology *t, uint64_t epoch,
                                              struct qv_str name)
{
    struct topology_box *box = tree_alloc(epoch, t->count);
    for (uint32_t i = 0; i < t->count; i++) {
        if (qv_str_equal(t->collections[i]->name, name))
            continue;
        qv_collection_ref(t->collections[i]);
        tree_add(box, t->collections[i]);
    }
    return &box->value;
}

void qv_topology_ref(const struct qv_topology *t)
{
    atomic_fetch_add(&topology_box(t)->refs, 1);
}

void qv_topology_unref(const struct qv_topology *t)
{
    if (t == NULL || atomic_fetch_sub(&topology_box(t)->refs, 1) != 1)
        return;
    for (uint32_t i = 0; i < t->count; i++)
        qv_collection_unref(t->collections[i]);
    qv_mem_free(topology_box(t));
}

const struct qv_collection *qv_topology_find(const struct qv_topology *t, struct qv_str name)
{
    uint32_t lo = 0;
    uint32_t hi = t->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int order = qv_str_compare(t->collections[mid]->name, name);
        if (order == 0)
            return t->collections[mid];
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}
