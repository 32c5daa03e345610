/* Records newer than the last checkpoint: bump-allocated, freed as a whole once one is durable. */
#include "shard/dirty.h"

#include "base/mem.h"

#include <string.h>

#define CHUNK_BYTES ((size_t)1 << 20)

struct qv_record_chunk {
    struct qv_record_chunk *next;
    size_t used, size;
    _Alignas(16) uint8_t data[];
};

static void *dirty_alloc(struct qv_dirty *d, size_t bytes)
{
    size_t need = (bytes + 7) & ~(size_t)7;
    struct qv_record_chunk *c = d->chunks;
    if (c == NULL || c->size - c->used < need) {
        size_t size = need > CHUNK_BYTES ? need : CHUNK_BYTES;
        c = qv_mem_alloc(sizeof *c + size);
        c->size = size;
        c->used = 0;
        c->next = d->chunks;
        d->chunks = c;
    }
    void *p = c->data + c->used;
    c->used += need;
    d->bytes += need;
    return p;
}

struct qv_record *qv_dirty_add(struct qv_dirty *d, qv_slot slot, struct qv_bytes bytes)
{
    struct qv_record *r = dirty_alloc(d, sizeof *r + bytes.n);
    r->bytes = (uint32_t)bytes.n;
    memcpy(r->data, bytes.p, bytes.n);
    if (d->count == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 1024;
        d->entries = qv_mem_realloc(d->entries, d->cap * sizeof *d->entries);
    }
    d->entries[d->count].slot = slot;
    d->entries[d->count].record = r;
    d->count++;
    return r;
}

void qv_dirty_add_dead(struct qv_dirty *d, const struct qv_id *id)
{
    if (d->dead_count == d->dead_cap) {
        d->dead_cap = d->dead_cap ? d->dead_cap * 2 : 256;
        d->dead = qv_mem_realloc(d->dead, d->dead_cap * sizeof *d->dead);
    }
    d->dead[d->dead_count++] = *id;
    d->bytes += sizeof *id;
}

void qv_dirty_take(struct qv_dirty *into, struct qv_dirty *from)
{
    for (size_t i = 0; i < from->count; i++) {
        if (into->count == into->cap) {
            into->cap = into->cap ? into->cap * 2 : 1024;
            into->entries = qv_mem_realloc(into->entries, into->cap * sizeof *into->entries);
        }
        into->entries[into->count++] = from->entries[i];
    }
    for (size_t i = 0; i < from->dead_count; i++)
        qv_dirty_add_dead(into, &from->dead[i]);
    struct qv_record_chunk **tail = &into->chunks;
    while (*tail != NULL)
        tail = &(*tail)->next;
    *tail = from->chunks;
    from->chunks = NULL;
    into->bytes += from->bytes - from->dead_count * sizeof *from->dead; /* counted just now */
    if (into->since_ns == 0 || (from->since_ns != 0 && from->since_ns < into->since_ns))
        into->since_ns = from->since_ns;
    qv_dirty_close(from);
}

void qv_dirty_close(struct qv_dirty *d)
{
    for (struct qv_record_chunk *c = d->chunks, *next; c != NULL; c = next) {
        next = c->next;
        qv_mem_free(c);
    }
    qv_mem_free(d->entries);
    qv_mem_free(d->dead);
    memset(d, 0, sizeof *d);
}
