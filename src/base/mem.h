/* Allocation. Small control structures: qv_mem_alloc never returns NULL (it ends the process with
 * a message: nothing sensible can be done without a few hundred bytes). Anything whose size comes
 * from data or from a request: qv_mem_try_alloc, whose NULL becomes QV_ENOMEM. */
#ifndef QV_BASE_MEM_H
#define QV_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#define QV_CACHE_LINE ((size_t)64)

/* Of a function that only prefetches. To gcc it has no effect: calls of it are dropped unless they
 * were inlined before that is found out. */
#define QV_PREFETCHES static inline __attribute__((always_inline))

void *qv_mem_alloc(size_t bytes);                /* uninitialised; gives; free with qv_mem_free */
void *qv_mem_calloc(size_t count, size_t bytes); /* zeroed; gives */
void *qv_mem_realloc(void *p, size_t bytes);     /* takes p, gives the new block */
char *qv_mem_strdup(const char *s);              /* gives */
char *qv_mem_strndup(const char *s, size_t n);   /* gives; adds the NUL */

void *qv_mem_try_alloc(size_t bytes); /* NULL when there is none */
void *qv_mem_try_calloc(size_t count, size_t bytes);
void *qv_mem_try_realloc(void *p, size_t bytes); /* p stays valid when NULL is returned */

/* align: a power of two >= 8. Free with qv_mem_free. NULL when there is none. */
void *qv_mem_try_aligned(size_t align, size_t bytes);

void qv_mem_free(void *p); /* NULL is fine */

/* Bytes that this process could take now without pushing anybody out: what Linux says is available,
 * or what is left of the limit of its cgroup (version 2) when that is less. UINT64_MAX: it is not
 * said. For work that takes much and can be done otherwise: malloc hardly ever says no. Reads four
 * small files. */
uint64_t qv_mem_available(void);

#endif
