#include "base/mem.h"

#include <stdbool.h>
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

/* ---- what there is ---- */

#define TEXT_MAX 8192
#define CGROUP_PATH_MAX 1024

/* The beginning of a file as text; false: it can't be read. */
static bool read_text(const char *path, char *out, size_t n)
{
    FILE *f = fopen(path, "rbe");
    if (f == NULL)
        return false;
    const size_t got = fread(out, 1, n - 1, f);
    (void)fclose(f);
    out[got] = '\0';
    return got > 0;
}

/* The number behind `name` where a line of the text begins with it. */
static bool find_number(const char *text, const char *name, uint64_t *out)
{
    const size_t n = strlen(name);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n' ? 1 : 0;
        if (strncmp(line, name, n) != 0)
            continue;
        char *end;
        *out = strtoull(line + n, &end, 10);
        return end != line + n;
    }
    return false;
}

/* The number in a file of the cgroup of this process; false: none, "max" for one. */
static bool read_cgroup(const char *cgroup, const char *file, const char *name, uint64_t *out)
{
    char path[CGROUP_PATH_MAX];
    char text[TEXT_MAX];
    const int n = snprintf(path, sizeof path, "/sys/fs/cgroup%s/%s", cgroup, file);
    return n > 0 && (size_t)n < sizeof path && read_text(path, text, sizeof text) &&
           find_number(text, name, out);
}

/* What its limit leaves: its page cache can be dropped. */
static uint64_t cgroup_available(void)
{
    char text[CGROUP_PATH_MAX];
    uint64_t limit;
    uint64_t used;
    uint64_t cache = 0;
    if (!read_text("/proc/self/cgroup", text, sizeof text) || strncmp(text, "0::/", 4) != 0)
        return UINT64_MAX;
    text[strcspn(text, "\n")] = '\0';
    if (!read_cgroup(text + 3, "memory.max", "", &limit) ||
        !read_cgroup(text + 3, "memory.current", "", &used))
        return UINT64_MAX;
    (void)read_cgroup(text + 3, "memory.stat", "file ", &cache);
    used -= cache < used ? cache : used;
    return used < limit ? limit - used : 0;
}

uint64_t qv_mem_available(void)
{
    char text[TEXT_MAX];
    uint64_t kb;
    const uint64_t cgroup = cgroup_available();
    if (!read_text("/proc/meminfo", text, sizeof text) || !find_number(text, "MemAvailable:", &kb))
        return cgroup;
    return kb * 1024 < cgroup ? kb * 1024 : cgroup;
}
