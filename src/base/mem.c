#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *mem_must(void *p, size_t bytes)
{
    if (p == NULL && bytes != 0) {
        fprintf(stderr, "quiver: out of memory for %zu bytes\n", bytes);
        abort();
    }
    return p;
}

void *qv_mem_alloc(size_t bytes)
{
    return mem_must(malloc(bytes ? bytes : 1), bytes);
}

void *qv_mem_calloc(size_t count, size_t bytes)
{
    return mem_must(calloc(count ? count : 1, bytes ? bytes : 1), bytes);
}

void *qv_mem_realloc(void *p, size_t bytes)
{
    return mem_must(realloc(p, bytes ? bytes : 1), bytes);
}

char *qv_mem_strndup(const char *s, size_t n)
{
    char *out = qv_mem_alloc(n + 1);
    memcpy(out, s, n);
    out[n] = '\0';
    return out;
}

char *qv_mem_strdup(const char *s)
{
    return qv_mem_strndup(s, strlen(s));
}

void *qv_mem_try_alloc(size_t bytes)
{
    return malloc(bytes ? bytes : 1);
}

void *qv_mem_try_calloc(size_t count, size_t bytes)
{
    return calloc(count ? count : 1, bytes ? bytes : 1);
}

void *qv_mem_try_realloc(void *p, size_t bytes)
{
    return realloc(p, bytes ? bytes : 1);
}

void *qv_mem_try_aligned(size_t align, size_t bytes)
{
    void *p = NULL;
    return posix_memalign(&p, align, bytes ? bytes : 1) == 0 ? p : NULL;
}

void qv_mem_free(void *p)
{
    free(p);
}
