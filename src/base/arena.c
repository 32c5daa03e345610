#include "base/arena.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdalign.h>
#include <string.h>

#define ARENA_BLOCK_BYTES ((size_t)32 * 1024)
#define ARENA_ALIGN ((size_t)16)

struct qv_arena_block {
    struct qv_arena_block *next;
    size_t size_bytes; /* of data */
    size_t used_bytes;
    alignas(16) unsigned char data[];
};

void qv_arena_init(struct qv_arena *a, size_t limit_bytes)
{
    memset(a, 0, sizeof *a);
    a->limit_bytes = limit_bytes;
}

static void arena_free_from(struct qv_arena_block *b)
{
    while (b != NULL) {
        struct qv_arena_block *next = b->next;
        qv_mem_free(b);
        b = next;
    }
}

void qv_arena_close(struct qv_arena *a)
{
    arena_free_from(a->head);
    a->head = NULL;
    a->used_bytes = 0;
}

void qv_arena_reset(struct qv_arena *a)
{
    struct qv_arena_block *keep = a->head;
    if (keep != NULL && keep->size_bytes > 4 * ARENA_BLOCK_BYTES)
        keep = NULL;
    if (keep == NULL) {
        arena_free_from(a->head);
    } else {
        arena_free_from(keep->next);
        keep->next = NULL;
        keep->used_bytes = 0;
    }
    a->head = keep;
    a->used_bytes = 0;
    a->failed = false;
}

static struct qv_arena_block *arena_grow(struct qv_arena *a, size_t bytes)
{
    size_t size = bytes > ARENA_BLOCK_BYTES / 4 ? bytes : ARENA_BLOCK_BYTES;
    struct qv_arena_block *b = qv_mem_try_alloc(sizeof *b + size);
    if (b == NULL)
        return NULL;
    b->size_bytes = size;
    b->used_bytes = 0;
    if (size != ARENA_BLOCK_BYTES && a->head != NULL) {
        /* A block of its own goes behind the head, whose free rest stays in use. */
        b->next = a->head->next;
        a->head->next = b;
    } else {
        b->next = a->head;
        a->head = b;
    }
    return b;
}

void *qv_arena_alloc(struct qv_arena *a, size_t bytes)
{
    size_t need = (bytes + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
    if (need < bytes || need > a->limit_bytes - a->used_bytes) {
        a->failed = true;
        return NULL;
    }
    struct qv_arena_block *b = a->head;
    if (b == NULL || b->size_bytes - b->used_bytes < need) {
        b = arena_grow(a, need);
        if (b == NULL) {
            a->failed = true;
            return NULL;
        }
    }
    void *p = b->data + b->used_bytes;
    b->used_bytes += need;
    a->used_bytes += need;
    QV_ASSERT(a->used_bytes <= a->limit_bytes);
    return p;
}

void *qv_arena_alloc_aligned(struct qv_arena *a, size_t bytes, size_t align)
{
    QV_ASSERT(align >= ARENA_ALIGN && align <= 4096 && (align & (align - 1)) == 0);
    const size_t slack = align - ARENA_ALIGN;
    if (bytes > SIZE_MAX - slack) {
        a->failed = true;
        return NULL;
    }
    const uintptr_t p = (uintptr_t)qv_arena_alloc(a, bytes + slack);
    return p == 0 ? NULL : (void *)((p + slack) & ~(uintptr_t)(align - 1));
}

void *qv_arena_calloc(struct qv_arena *a, size_t count, size_t bytes)
{
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total)) {
        a->failed = true;
        return NULL;
    }
    void *p = qv_arena_alloc(a, total);
    if (p != NULL)
        memset(p, 0, total);
    return p;
}

void *qv_arena_dup(struct qv_arena *a, const void *p, size_t bytes)
{
    void *out = qv_arena_alloc(a, bytes);
    if (out != NULL && bytes != 0)
        memcpy(out, p, bytes);
    return out;
}

char *qv_arena_strndup(struct qv_arena *a, const char *s, size_t n)
{
    char *out = n == SIZE_MAX ? NULL : qv_arena_alloc(a, n + 1);
    if (out != NULL) {
        memcpy(out, s, n);
        out[n] = '\0';
    }
    return out;
}
