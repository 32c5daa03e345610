#include "io/memory_use.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The beginning of a file as text; false: it can't be read. */
static bool read_text(const char *path, char *out, size_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, out, n - 1);
    close(fd);
    out[got > 0 ? got : 0] = '\0';
    return got > 0;
}

uint32_t qv_memory_use_percent(void)
{
    char text[128];
    char *end;
    if (!read_text("/proc/self/statm", text, sizeof text))
        return 0;
    (void)strtoull(text, &end, 10); /* the whole size; behind it what is resident */
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t resident = strtoull(end, NULL, 10) * page;
    uint64_t total = (uint64_t)sysconf(_SC_PHYS_PAGES) * page;
    if (read_text("/sys/fs/cgroup/memory.max", text, sizeof text)) {
        uint64_t limit = strtoull(text, &end, 10); /* or "max" */
        if (end != text && limit > 0 && limit < total)
            total = limit;
    }
    return total == 0 ? 0 : (uint32_t)(resident * 100 / total);
}
