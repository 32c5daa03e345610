/* A bounded bump allocator: one per request. Everything taken from it lives until reset or close;
 * the bound is what keeps hostile input from growing memory (nothing is allocated past it).
 * One thread at a time. */
#ifndef QV_BASE_ARENA_H
#define QV_BASE_ARENA_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct qv_arena_block;

struct qv_arena {
    struct qv_arena_block *head; /* newest first */
    size_t used_bytes;           /* over all blocks, what was handed out plus padding */
    size_t limit_bytes;
    bool failed; /* an allocation was refused since the last reset */
};

void qv_arena_init(struct qv_arena *a, size_t limit_bytes);
void qv_arena_close(struct qv_arena *a); /* frees everything; may be called twice */
void qv_arena_reset(struct qv_arena *a); /* keeps one block for reuse */

/* 16-byte aligned, uninitialised; NULL past the limit or without memory (sets failed).
 * Borrowed until reset or close. */
void *qv_arena_alloc(struct qv_arena *a, size_t bytes);
/* The same at a multiple of align, a power of two <= 4096: what a kernel reads in whole lines. */
void *qv_arena_alloc_aligned(struct qv_arena *a, size_t bytes, size_t align);
void *qv_arena_calloc(struct qv_arena *a, size_t count, size_t bytes); /* checks the product */
void *qv_arena_dup(struct qv_arena *a, const void *p, size_t bytes);
char *qv_arena_strndup(struct qv_arena *a, const char *s, size_t n); /* adds the NUL */

#define QV_ARENA_NEW(a, type) ((type *)qv_arena_calloc((a), 1, sizeof(type)))
#define QV_ARENA_ARRAY(a, type, n) ((type *)qv_arena_calloc((a), (n), sizeof(type)))

#endif
