#include "io/machine.h"

#include "io/memory_use.h"

#include <sys/statvfs.h>

void qv_machine_usage(const char *dir, struct qv_machine_usage *out)
{
    struct statvfs fs;
    *out = (struct qv_machine_usage){.has_memory = true, .memory = qv_memory_use_percent()};
    if (statvfs(dir, &fs) != 0 || fs.f_blocks == 0)
        return;
    uint64_t used = fs.f_blocks - fs.f_bfree;
    uint64_t usable = used + fs.f_bavail; /* without being root */
    out->has_disk = usable > 0;
    out->disk = usable > 0 ? (uint32_t)((used * 100 + usable - 1) / usable) : 0;
}
