#include "shard/ghosts.h"

#include "base/hash.h"
#include "base/mem.h"

#include <string.h>

void qv_ghosts_init(struct qv_ghosts *g)
{
    g->mask = 63;
    g->count = 0;
    g->buckets = qv_mem_calloc(g->mask + 1, sizeof(struct qv_ghost *));
}

void qv_ghosts_close(struct qv_ghosts *g)
{
    for (uint32_t i = 0; g->buckets != NULL && i <= g->mask; i++) {
        for (struct qv_ghost *e = g->buckets[i], *next; e != NULL; e = next) {
            next = e->next;
            qv_mem_free(e);
        }
    }
    qv_mem_free(g->buckets);
    memset(g, 0, sizeof *g);
}

static struct qv_ghost **ghost_place(const struct qv_ghosts *g, const struct qv_id *id)
{
    uint64_t h = qv_hash_mix(id->lo ^ qv_hash_mix(id->hi + id->type));
    struct qv_ghost **at = &g->buckets[h & g->mask];
    while (*at != NULL && !qv_id_equal(&(*at)->id, id))
        at = &(*at)->next;
    return at;
}

struct qv_ghost *qv_ghosts_find(const struct qv_ghosts *g, const struct qv_id *id)
{
    return g->count == 0 ? NULL : *ghost_place(g, id);
}

static void ghosts_grow(struct qv_ghosts *g)
{
    struct qv_ghosts old = *g;
    g->mask = old.mask * 2 + 1;
    g->buckets = qv_mem_calloc((size_t)g->mask + 1, sizeof(struct qv_ghost *));
    for (uint32_t i = 0; i <= old.mask; i++) {
        for (struct qv_ghost *e = old.buckets[i], *next; e != NULL; e = next) {
            next = e->next;
            struct qv_ghost **at = ghost_place(g, &e->id);
            e->next = NULL;
            *at = e;
        }
    }
    qv_mem_free(old.buckets);
}

void qv_ghosts_put(struct qv_ghosts *g, const struct qv_id *id, struct qv_version newest,
                   struct qv_bytes record)
{
    qv_ghosts_remove(g, id);
    if (g->count > g->mask && g->mask < (1u << 30))
        ghosts_grow(g);
    struct qv_ghost *e = qv_mem_alloc(sizeof *e + record.n);
    e->id = *id;
    e->newest = newest;
    e->bytes = record.n;
    memcpy(e->data, record.p, record.n);
    struct qv_ghost **at = ghost_place(g, id);
    e->next = NULL;
    *at = e;
    g->count++;
}

void qv_ghosts_remove(struct qv_ghosts *g, const struct qv_id *id)
{
    if (g->count == 0)
        return;
    struct qv_ghost **at = ghost_place(g, id);
    struct qv_ghost *e = *at;
    if (e == NULL)
        return;
    *at = e->next;
    qv_mem_free(e);
    g->count--;
}
