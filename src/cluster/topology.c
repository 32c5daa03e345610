#include "cluster/topology.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define COLLECTION_ARENA_BYTES ((size_t)64 << 20)

/* A configuration, shared by the values of a collection that differ in their shards only. */
struct config_box {
    atomic_uint refs;
    struct qv_arena arena;
    const struct qv_collection_config *config;
    struct config_box *before; /* shards may still read it */
};

struct collection_box {
    struct qv_collection value; /* first: a collection is its box */
    atomic_uint refs;
    struct qv_arena arena;
    struct config_box *config;
};

/* The members of a tree, shared by the trees that have the same. */
struct member_box {
    atomic_uint refs;
    struct qv_member list[];
};

/* The aliases of a tree, shared by the trees that have the same. */
struct alias_box {
    atomic_uint refs;
    struct qv_alias list[]; /* then the text of the names */
};

struct topology_box {
    struct qv_topology value; /* first */
    atomic_uint refs;
    struct alias_box *aliases;  /* NULL: none */
    struct member_box *members; /* NULL: none */
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

/* ---- configurations ---- */

static void config_unref(struct config_box *box)
{
    while (box != NULL) { /* down the chain of earlier ones */
        if (atomic_fetch_sub(&box->refs, 1) != 1)
            return;
        struct config_box *before = box->before;
        qv_arena_close(&box->arena);
        qv_mem_free(box);
        box = before;
    }
}

/* Gives a reference; NULL without memory. */
static struct config_box *config_of(const struct qv_collection_spec *spec)
{
    struct config_box *before = spec->before != NULL ? collection_box(spec->before)->config : NULL;
    if (before != NULL)
        atomic_fetch_add(&before->refs, 1);
    if (before != NULL && spec->config == before->config)
        return before;
    struct config_box *box = qv_mem_calloc(1, sizeof *box);
    qv_arena_init(&box->arena, COLLECTION_ARENA_BYTES);
    atomic_init(&box->refs, 1);
    box->before = before;
    box->config = qv_config_copy(&box->arena, spec->config);
    if (box->config != NULL)
        return box;
    config_unref(box);
    return NULL;
}

/* ---- collections ---- */

/* What divides c's points: that of the value before where nothing of it changes. Gives a
 * reference. */
static int placement_of(const struct qv_collection *c, const struct qv_collection *before,
                        const struct qv_placement **out)
{
    uint32_t *numbers = qv_mem_alloc(c->shard_count * sizeof *numbers);
    qv_collection_numbers(c, numbers);
    const struct qv_placement_spec spec =
        qv_placement_spec_of_config(&c->config->placement, numbers, c->shard_count);
    int err = 0;
    if (before != NULL && qv_placement_is_of(before->placement, &spec)) {
        *out = before->placement;
        qv_placement_ref(*out);
    } else {
        err = qv_placement_create(&spec, out, NULL);
    }
    qv_mem_free(numbers);
    return err;
}

int qv_collection_create(const struct qv_collection_spec *spec, const struct qv_collection **out)
{
    struct collection_box *box = qv_mem_calloc(1, sizeof *box);
    struct qv_collection *c = &box->value;
    QV_ASSERT(spec->name.n > 0 && spec->shard_count > 0);
    for (uint32_t i = 1; i < spec->shard_count; i++)
        QV_ASSERT(spec->shards[i - 1].number < spec->shards[i].number);
    qv_arena_init(&box->arena, COLLECTION_ARENA_BYTES);
    atomic_init(&box->refs, 1);
    c->name =
        (struct qv_str){qv_arena_strndup(&box->arena, spec->name.p, spec->name.n), spec->name.n};
    memcpy(c->uuid, spec->uuid, sizeof c->uuid);
    c->generation = spec->generation;
    c->shards = qv_arena_dup(&box->arena, spec->shards, spec->shard_count * sizeof *spec->shards);
    c->shard_count = spec->shard_count;
    box->config = config_of(spec);
    int err = QV_ENOMEM;
    if (c->name.p != NULL && box->config != NULL && c->shards != NULL) {
        c->config = box->config->config;
        err = placement_of(c, spec->before, &c->placement);
    }
    if (err != 0) {
        config_unref(box->config);
        qv_arena_close(&box->arena);
        qv_mem_free(box);
        return err;
    }
    *out = c;
    return 0;
}

void qv_collection_ref(const struct qv_collection *c)
{
    atomic_fetch_add(&collection_box(c)->refs, 1);
}

void qv_collection_unref(const struct qv_collection *c)
{
    if (c == NULL || atomic_fetch_sub(&collection_box(c)->refs, 1) != 1)
        return;
    struct collection_box *box = collection_box(c);
    qv_placement_unref(box->value.placement);
    config_unref(box->config);
    qv_arena_close(&box->arena);
    qv_mem_free(box);
}

const struct qv_shard_place *qv_collection_shard(const struct qv_collection *c, uint32_t number)
{
    uint32_t lo = 0;
    uint32_t hi = c->shard_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (c->shards[mid].number == number)
            return &c->shards[mid];
        if (c->shards[mid].number < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

uint32_t qv_collection_owner(const struct qv_collection *c, const struct qv_id *id)
{
    return qv_placement_owner_at(c->placement, id);
}

const struct qv_key_set *qv_collection_keys(const struct qv_collection *c, uint32_t i)
{
    return qv_placement_holds(c->placement, i);
}

void qv_collection_numbers(const struct qv_collection *c, uint32_t *out)
{
    for (uint32_t i = 0; i < c->shard_count; i++)
        out[i] = c->shards[i].number;
}

/* ---- aliases ---- */

static int alias_compare(const void *a, const void *b)
{
    return qv_str_compare(((const struct qv_alias *)a)->name, ((const struct qv_alias *)b)->name);
}

static struct qv_str put_text(char **at, struct qv_str s)
{
    struct qv_str copy = {*at, s.n};
    memcpy(*at, s.p, s.n);
    *at += s.n;
    return copy;
}

static struct alias_box *alias_box_create(const struct qv_alias *list, uint32_t count)
{
    size_t bytes = sizeof(struct alias_box) + count * sizeof *list;
    size_t text = 0;
    for (uint32_t i = 0; i < count; i++)
        text += list[i].name.n + list[i].collection.n;
    struct alias_box *box = qv_mem_alloc(bytes + text);
    char *at = (char *)box + bytes;
    atomic_init(&box->refs, 1);
    for (uint32_t i = 0; i < count; i++) {
        box->list[i].name = put_text(&at, list[i].name);
        box->list[i].collection = put_text(&at, list[i].collection);
    }
    qsort(box->list, count, sizeof *list, alias_compare);
    return box;
}

static void alias_box_unref(struct alias_box *box)
{
    if (box != NULL && atomic_fetch_sub(&box->refs, 1) == 1)
        qv_mem_free(box);
}

/* ---- members ---- */

static int member_compare(const void *a, const void *b)
{
    const struct qv_member *x = a;
    const struct qv_member *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static void set_members(struct topology_box *box, const struct qv_member *list, uint32_t count)
{
    if (count == 0)
        return;
    box->members = qv_mem_alloc(sizeof *box->members + count * sizeof *list);
    atomic_init(&box->members->refs, 1);
    memcpy(box->members->list, list, count * sizeof *list);
    qsort(box->members->list, count, sizeof *list, member_compare);
    box->value.members = box->members->list;
    box->value.member_count = count;
}

/* The tree gets the members of t. */
static void share_members(struct topology_box *box, const struct qv_topology *t)
{
    box->members = topology_box(t)->members;
    box->value.members = t->members;
    box->value.member_count = t->member_count;
    if (box->members != NULL)
        atomic_fetch_add(&box->members->refs, 1);
}

static void members_unref(struct member_box *box)
{
    if (box != NULL && atomic_fetch_sub(&box->refs, 1) == 1)
        qv_mem_free(box);
}

const struct qv_member *qv_topology_member(const struct qv_topology *t, uint64_t id)
{
    struct qv_member key = {.id = id};
    if (t->member_count == 0)
        return NULL;
    return bsearch(&key, t->members, t->member_count, sizeof key, member_compare);
}

/* ---- aliases of trees ---- */

/* The tree gets the aliases of t. */
static void share_aliases(struct topology_box *box, const struct qv_topology *t)
{
    box->aliases = topology_box(t)->aliases;
    box->value.aliases = t->aliases;
    if (box->aliases != NULL)
        atomic_fetch_add(&box->aliases->refs, 1);
}

static void set_aliases(struct topology_box *box, const struct qv_alias *list, uint32_t count)
{
    if (count == 0)
        return;
    box->aliases = alias_box_create(list, count);
    box->value.aliases = (struct qv_aliases_out){box->aliases->list, count};
}

/* ---- trees ---- */

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
    share_aliases(box, t);
    share_members(box, t);
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
    const struct qv_aliases_out *before = &t->aliases;
    struct qv_alias *left = qv_mem_alloc(before->count * sizeof *left);
    uint32_t n = 0;
    for (uint32_t i = 0; i < before->count; i++) {
        if (!qv_str_equal(before->list[i].collection, name))
            left[n++] = before->list[i];
    }
    if (n == before->count)
        share_aliases(box, t);
    else
        set_aliases(box, left, n);
    qv_mem_free(left);
    share_members(box, t);
    return &box->value;
}

static struct topology_box *same_collections(const struct qv_topology *t, uint64_t epoch)
{
    struct topology_box *box = tree_alloc(epoch, t->count);
    for (uint32_t i = 0; i < t->count; i++) {
        qv_collection_ref(t->collections[i]);
        tree_add(box, t->collections[i]);
    }
    return box;
}

const struct qv_topology *qv_topology_with_aliases(const struct qv_topology *t, uint64_t epoch,
                                                   const struct qv_alias *list, uint32_t count)
{
    struct topology_box *box = same_collections(t, epoch);
    set_aliases(box, list, count);
    share_members(box, t);
    return &box->value;
}

const struct qv_topology *qv_topology_with_members(const struct qv_topology *t, uint64_t epoch,
                                                   const struct qv_member *list, uint32_t count)
{
    struct topology_box *box = same_collections(t, epoch);
    share_aliases(box, t);
    set_members(box, list, count);
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
    alias_box_unref(topology_box(t)->aliases);
    members_unref(topology_box(t)->members);
    qv_mem_free(topology_box(t));
}

const struct qv_collection *qv_topology_find_own(const struct qv_topology *t, struct qv_str name)
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

const struct qv_alias *qv_topology_alias(const struct qv_topology *t, struct qv_str name)
{
    struct qv_alias key = {.name = name};
    if (t->aliases.count == 0)
        return NULL;
    return bsearch(&key, t->aliases.list, t->aliases.count, sizeof key, alias_compare);
}

const struct qv_collection *qv_topology_find(const struct qv_topology *t, struct qv_str name)
{
    const struct qv_collection *c = qv_topology_find_own(t, name);
    const struct qv_alias *alias = c == NULL ? qv_topology_alias(t, name) : NULL;
    return alias != NULL ? qv_topology_find_own(t, alias->collection) : c;
}

const struct qv_collection *qv_topology_by_uuid(const struct qv_topology *t,
                                                const uint8_t uuid[QV_UUID_BYTES])
{
    for (uint32_t i = 0; i < t->count; i++) {
        if (memcmp(t->collections[i]->uuid, uuid, QV_UUID_BYTES) == 0)
            return t->collections[i];
    }
    return NULL;
}
