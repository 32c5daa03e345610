#include "cli/bench_memory.h"

#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096u

/* The number behind a name at the begin of a line of the file; 0: there is none. */
static long long read_field(const char *path, const char *name)
{
    char line[256];
    long long found = 0;
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            found = strtoll(line + strlen(name), NULL, 10);
    if (f != NULL)
        (void)fclose(f);
    return found;
}

static long long cached_bytes(int fd, size_t bytes)
{
    const size_t pages = (bytes + PAGE - 1) / PAGE;
    unsigned char *in_core = qv_mem_try_calloc(pages, 1);
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0); /* looking touches no page */
    long long found = 0;
    if (in_core != NULL && map != MAP_FAILED && mincore(map, bytes, in_core) == 0)
        for (size_t i = 0; i < pages; i++)
            found += (in_core[i] & 1) != 0 ? PAGE : 0;
    if (map != MAP_FAILED)
        (void)munmap(map, bytes);
    qv_mem_free(in_core);
    return found;
}

/* Of the file's pages those that are resident here already, by its inode. */
static long long mapped_bytes(const struct stat *st)
{
    char line[512];
    long long found = 0;
    bool its = false;
    FILE *f = fopen("/proc/self/smaps", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        unsigned long long from, to, offset, inode;
        unsigned major, minor;
        char rights[8];
        if (sscanf(line, "%llx-%llx %7s %llx %x:%x %llu", &from, &to, rights, &offset, &major,
                   &minor, &inode) == 7)
            its = inode == (unsigned long long)st->st_ino;
        else if (its && strncmp(line, "Rss:", 4) == 0)
            found += strtoll(line + 4, NULL, 10) * 1024;
    }
    if (f != NULL)
        (void)fclose(f);
    return found;
}

static long long unmapped_cache(void)
{
    long long found = 0;
    DIR *dir = opendir("/proc/self/fd");
    for (const struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        struct stat st;
        const long fd = e->d_name[0] == '.' ? 0 : strtol(e->d_name, NULL, 10);
        if (fd <= STDERR_FILENO || fstat((int)fd, &st) != 0 || !S_ISREG(st.st_mode) ||
            st.st_size <= 0)
            continue;
        const long long only = cached_bytes((int)fd, (size_t)st.st_size) - mapped_bytes(&st);
        found += only > 0 ? only : 0;
    }
    if (dir != NULL)
        (void)closedir(dir);
    return found;
}

void qv_cli_bench_memory_read(struct qv_cli_bench_memory *out)
{
    *out = (struct qv_cli_bench_memory){
        .rss = read_field("/proc/self/status", "VmRSS:") * 1024,
        .anon = read_field("/proc/self/status", "RssAnon:") * 1024,
        .page_cache = unmapped_cache(),
        .read = read_field("/proc/self/io", "read_bytes:"),
    };
}
