/* Which shards lie on this node, and what its store knows them by.
 *
 * A shard is named by its collection's uuid and its number there; the store numbers its own, and
 * never uses a number again. The list is the owner's; which shard requests may reach is guarded by
 * the node's lock. */
#include "node/node_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <string.h>

static int compare(const struct qv_node_local *l, const uint8_t uuid[QV_UUID_BYTES],
                   uint32_t number)
{
    int order = memcmp(l->uuid, uuid, QV_UUID_BYTES);
    return order != 0 ? order : (l->number > number) - (l->number < number);
}

static uint32_t place_of(const struct qv_node *n, const uint8_t uuid[QV_UUID_BYTES],
                         uint32_t number, bool *found)
{
    uint32_t lo = 0;
    uint32_t hi = n->local_count;
    *found = false;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int order = compare(&n->locals[mid], uuid, number);
        if (order == 0) {
            *found = true;
            return mid;
        }
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct qv_node_local *qv_node_local_find(struct qv_node *n, const uint8_t uuid[QV_UUID_BYTES],
                                         uint32_t number)
{
    bool found;
    uint32_t at = place_of(n, uuid, number, &found);
    return found ? &n->locals[at] : NULL;
}

struct qv_node_local *qv_node_local_add(struct qv_node *n, const uint8_t uuid[QV_UUID_BYTES],
                                        uint32_t number, uint32_t store)
{
    bool found;
    pthread_mutex_lock(&n->lock);
    uint32_t at = place_of(n, uuid, number, &found);
    QV_ASSERT(!found && store != 0);
    if (n->local_count == n->local_cap) {
        n->local_cap = n->local_cap != 0 ? n->local_cap * 2 : 16;
        n->locals = qv_mem_realloc(n->locals, n->local_cap * sizeof *n->locals);
    }
    memmove(&n->locals[at + 1], &n->locals[at], (n->local_count - at) * sizeof *n->locals);
    n->local_count++;
    n->locals[at] = (struct qv_node_local){.number = number, .store = store};
    memcpy(n->locals[at].uuid, uuid, QV_UUID_BYTES);
    pthread_mutex_unlock(&n->lock);
    return &n->locals[at];
}

void qv_node_local_remove(struct qv_node *n, const uint8_t uuid[QV_UUID_BYTES], uint32_t number)
{
    bool found;
    pthread_mutex_lock(&n->lock);
    uint32_t at = place_of(n, uuid, number, &found);
    if (found) {
        n->local_count--;
        memmove(&n->locals[at], &n->locals[at + 1], (n->local_count - at) * sizeof *n->locals);
    }
    pthread_mutex_unlock(&n->lock);
}

void qv_node_local_reach(struct qv_node *n, struct qv_node_local *l, uint32_t store)
{
    struct qv_shard *shard = qv_store_shard(n->store, store);
    pthread_mutex_lock(&n->lock);
    l->store = store;
    l->shard = shard;
    pthread_mutex_unlock(&n->lock);
}

uint32_t qv_node_store_number(struct qv_node *n, const struct qv_collection *c, uint32_t i)
{
    const struct qv_node_local *l = qv_node_local_find(n, c->uuid, c->shards[i].number);
    return l != NULL ? l->store : 0;
}

int qv_node_shard_at(struct qv_node *n, const struct qv_collection *c, uint32_t i,
                     struct qv_shard **out, struct qv_errmsg *msg)
{
    QV_ASSERT(i < c->shard_count);
    *out = NULL;
    pthread_mutex_lock(&n->lock);
    const struct qv_node_local *l = qv_node_local_find(n, c->uuid, c->shards[i].number);
    if (l != NULL && l->shard != NULL) {
        *out = l->shard;
        qv_shard_ref(*out);
    }
    pthread_mutex_unlock(&n->lock);
    return *out != NULL ? 0 : qv_node_missing(c->name, msg);
}

struct qv_shard_spec qv_node_spec_of(const struct qv_collection *c, uint32_t i, uint32_t store)
{
    struct qv_shard_spec spec = {
        .number = store, .generation = (uint32_t)c->generation, .config = c->config};
    uint32_t word;
    memcpy(spec.uuid, c->uuid, sizeof spec.uuid);
    memcpy(&word, spec.uuid + 12, sizeof word);
    word ^= c->shards[i].number; /* a shard's identity: (collection, number) */
    memcpy(spec.uuid + 12, &word, sizeof word);
    return spec;
}

uint64_t qv_node_writer_of(const struct qv_node *n, const struct qv_shard_place *s)
{
    if (s->slot_count == 0 || s->slots[0].holder == n->cluster.self.id)
        return 0;
    return s->slots[0].holder;
}

uint64_t qv_node_reader_of(const struct qv_node *n, const struct qv_shard_place *s)
{
    if (s->slot_count == 0)
        return 0;
    const struct qv_slot_place *p = &s->slots[0];
    uint64_t id = p->step == QV_STEP_NEW_READS ? p->next : p->holder;
    return id == n->cluster.self.id ? 0 : id;
}

bool qv_node_reads_elsewhere(struct qv_node *n, const struct qv_collection *c)
{
    struct qv_shard *s;
    if (!qv_node_in_cluster(n))
        return false;
    if (qv_node_reader_of(n, &c->shards[0]) != 0 || qv_node_shard_at(n, c, 0, &s, NULL) != 0)
        return true;
    qv_shard_unref(s);
    return false;
}
